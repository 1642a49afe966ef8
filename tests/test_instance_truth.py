"""Samples divided into things: connected parts of classes, and the truth of instance scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage

from hemline.borders import borders_of_rle
from hemline.data.augment import place_sample
from hemline.data.folder import Folder
from hemline.data.instance_truth import draws, separate, truth_of
from hemline.data.sample import EITHER, WHOLE_PHOTO, Region, Sample, collate
from hemline.instances import Instance
from tests.toy import CAPE, COAT, SHOE, SPACE, picture, row, said

LABELS = 4


def sample_of(segments: np.ndarray, regions: list[Region], num: int | None = None) -> Sample:
    num = int(segments.max()) + 1 if num is None else num
    targets = np.arange(num * 3).reshape(num, 3).astype(np.int8)                # each row tells its segment
    photo = np.zeros((*segments.shape, 3), np.uint8)
    return Sample(photo, segments.astype(np.uint8), targets, regions, key="toy/1")


def merged(*segments: int, value: int = 1, doubt: float = 0.0) -> Region:
    return Region(segments, np.full(LABELS, value, np.int8), doubt=doubt, merged=True)


def mask_of(sample: Sample, region: Region) -> np.ndarray:
    return np.isin(sample.segments, region.segments)


def test_separate_divides_a_class_into_its_connected_parts() -> None:
    ids = np.zeros((6, 8), np.uint8)
    ids[0:2, 0:2], ids[2, 2] = 1, 1                          # touch by a corner: one thing
    ids[4:6, 5:8] = 1
    ids[0, 7] = 2
    whole = Region(WHOLE_PHOTO, np.zeros(LABELS, np.int8))
    sample = sample_of(ids, [whole, merged(1), merged(2, value=0)])
    told = separate(sample, 0.0)
    assert told.regions[0] is whole
    first, second, other = told.regions[1:]
    assert np.argwhere(mask_of(told, first)).tolist() == [[0, 0], [0, 1], [1, 0], [1, 1], [2, 2]]
    assert mask_of(told, second).sum() == 6
    assert mask_of(told, second)[4:6, 5:8].all()
    assert np.argwhere(mask_of(told, other)).tolist() == [[0, 7]]
    assert [region.labels[0] for region in told.regions[1:]] == [1, 1, 0]
    assert not any(region.merged for region in told.regions)
    np.testing.assert_array_equal(told.targets[told.segments], sample.targets[sample.segments])
    assert len(told.targets) == 4


def test_small_parts_stay_their_class_and_are_nobodys() -> None:
    ids = np.zeros((10, 10), np.uint8)
    ids[:3, :3] = 1
    ids[8, 1:4], ids[5, 8] = 1, 1                            # 3 % and 1 % of the photo
    sample = sample_of(ids, [merged(1)])
    told = separate(sample, 0.03)
    assert [int(mask_of(told, region).sum()) for region in told.regions] == [9, 3]
    np.testing.assert_array_equal(told.targets[told.segments], sample.targets[sample.segments])
    assert [int(mask_of(told, r).sum()) for r in separate(sample, 0.031).regions] == [9]
    assert separate(sample, 0.5).regions == []


def test_what_is_not_merged_stays() -> None:
    ids = np.zeros((4, 9), np.uint8)
    ids[:, 0], ids[:, 4], ids[:, 8] = 1, 2, 1
    drawn = Region((1, 2), np.ones(LABELS, np.int8))
    sample = sample_of(ids, [drawn])
    assert separate(sample, 0.0) is sample
    sample = sample_of(ids, [drawn, merged(1), merged(1, value=0, doubt=0.3)])    # two that say things of one segment
    told = separate(sample, 0.0)
    np.testing.assert_array_equal(mask_of(told, told.regions[0]), ids > 0)
    assert [region.doubt for region in told.regions] == [0, 0, 0, 0.3, 0.3]
    columns = [sorted(set(np.argwhere(mask_of(told, region))[:, 1].tolist())) for region in told.regions[1:]]
    assert columns == [[0], [8], [0], [8]]


def test_merged_regions_that_overlap_divide_each_other() -> None:
    ids = np.array([[1, 2, 3, 0, 1, 0, 3]], np.uint8)        # 2 is both
    sample = sample_of(ids, [merged(1, 2), merged(2, 3)])
    told = separate(sample, 0.0)
    masks = [np.flatnonzero(mask_of(told, region)[0]).tolist() for region in told.regions]
    assert masks == [[0, 1], [4], [1, 2], [6]]
    sample = sample_of(np.array([[2, 2, 1, 1, 1, 2, 0, 1]]), [merged(1), merged(1, 2)])
    masks = [np.flatnonzero(mask_of(t, r)[0]).tolist() for t in [separate(sample, 0.0)] for r in t.regions]
    assert masks == [[2, 3, 4], [7], [0, 1, 2, 3, 4, 5], [7]]
    sample = sample_of(np.array([[2, 1, 0, 1, 2, 0, 2]]), [merged(1, 2), merged(2)])    # the later divides the earlier
    masks = [np.flatnonzero(mask_of(t, r)[0]).tolist() for t in [separate(sample, 0.0)] for r in t.regions]
    assert masks == [[0, 1], [3, 4], [6], [0], [4], [6]]


def test_many_parts_need_a_wider_map() -> None:
    ids = np.zeros((40, 40), np.uint8)
    ids[::2, ::2] = 1
    told = separate(sample_of(ids, [merged(1)]), 0.0)
    assert told.segments.dtype == np.uint16
    assert len(told.regions) == 400
    assert all(mask_of(told, region).sum() == 1 for region in told.regions)
    wide = np.zeros((600, 600), np.uint8)
    wide[::2, ::2] = 1
    with pytest.raises(ValueError, match="toy/1: 90000 parts"):
        separate(sample_of(wide, [merged(1)]), 0.0)


def test_padding_is_no_part_of_anything_and_a_placed_sample_stacks() -> None:
    ids = np.ones((8, 4), np.uint8)
    ids[3:5] = 0
    sample = sample_of(ids, [merged(1)])
    placed = place_sample(sample, (16, 16))
    told = separate(placed, 0.0)
    assert [int(mask_of(told, region).sum()) for region in told.regions] == [48, 48]
    assert placed.valid is not None
    half = separate(placed, 0.375)                           # of the valid pixels, 128
    assert [int(mask_of(half, region).sum()) for region in half.regions] == [48, 48]
    assert separate(placed, 0.376).regions == []
    batch = collate([told])
    assert batch.region_segments.shape == (1, 2, len(told.targets))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.02, 0.1]))
def test_separate_agrees_with_scipy(seed: int, least: float) -> None:
    generator = np.random.default_rng(seed)
    ids = generator.integers(0, 4, (9, 11)).astype(np.uint8)
    owns = [(1,), (1, 2), (3,), (2, 3)]
    regions = [
        Region(own, np.full(LABELS, i, np.int8), merged=bool(generator.integers(2))) for i, own in enumerate(owns)
    ]
    sample = sample_of(ids, regions, 4)
    told = separate(sample, least)
    wanted = []
    for region in regions:
        inside = np.isin(ids, region.segments)
        if not region.merged:
            wanted.append(inside)
            continue
        of_part, number = ndimage.label(inside, np.ones((3, 3)))
        wanted += [of_part == i for i in range(1, number + 1) if (of_part == i).sum() >= least * ids.size]
    have = [mask_of(told, region) for region in told.regions]
    assert sorted(mask.tobytes() for mask in have) == sorted(mask.tobytes() for mask in wanted)
    np.testing.assert_array_equal(told.targets[told.segments], sample.targets[ids])


# -- the truth -------------------------------------------------------------------------------------------------------


def decoded(one: Instance) -> np.ndarray:
    assert one.mask is not None
    size = one.mask["size"]
    flat = np.zeros(size[0] * size[1], bool)
    for begin, end in borders_of_rle(one.mask["counts"], size).reshape(-1, 2).tolist():
        flat[begin:end] = True
    return flat.reshape(size, order="F")


def area(one: Instance) -> int:
    return int(decoded(one).sum())


def test_drawn_garments_are_the_truth_by_the_publishers_numbers() -> None:
    boxes = ((COAT, slice(0, 8), slice(0, 8)), (SHOE, slice(16, 20), slice(4, 14)), (CAPE, slice(24, 28), slice(0, 8)))
    sample = picture(1, *boxes)
    sample.regions = [
        Region(WHOLE_PHOTO, said(coat=1, shoe=1)),
        Region((1,), said(coat=1, shoe=0, stripe=1, dot=0)),
        Region((2,), said(shoe=1, winter=1)),
        Region((3,), said(cape=1)),                          # hidden: no answer says it
        Region((2,), said(shoe=1, stripe=1), doubt=0.4),     # doubtful: never measured
    ]
    coat, shoe = truth_of(sample, SPACE)
    assert (coat.category, coat.box, coat.attributes, coat.crowd) == (0, (0, 0, 8, 8), frozenset(["stripe"]), False)
    assert (shoe.category, shoe.box, shoe.score) == (1, (4, 16, 10, 4), 1.0)
    assert (area(coat), area(shoe)) == (64, 40)
    assert decoded(shoe)[16:20, 4:14].all()


def test_pixels_that_may_be_a_category_are_a_crowd_of_it() -> None:
    boxes = ((COAT, slice(0, 8), slice(0, 8)), (SHOE, slice(16, 20), slice(0, 8)), (COAT, slice(24, 28), slice(0, 8)))
    sample = picture(1, *boxes)
    sample.targets[2, [COAT, SHOE]] = EITHER                 # drawn, and one of the two
    either = np.zeros(6, np.bool_)
    either[[COAT, SHOE]] = True
    sample.regions = [Region((1,), said(coat=1)), Region((2,), said(), (either,))]   # 3 is a coat that nobody counts
    coat, *crowds = truth_of(sample, SPACE)
    assert (coat.crowd, area(coat)) == (False, 64)
    assert [(one.category, one.crowd, area(one)) for one in crowds] == [(0, True, 64), (1, True, 32)]
    assert decoded(crowds[0])[[16, 24]].sum() == 16
    sample.targets[0, SHOE] = -1                             # anything else may be a shoe
    assert area(truth_of(sample, SPACE)[-1]) == 32 * 32 - 64 - 32


def test_parts_too_small_to_be_things_are_crowds() -> None:
    sample = picture(1, (SHOE, slice(0, 8), slice(0, 32)))
    sample.segments[16:18, 3:5] = 1
    sample.regions = [Region((1,), said(shoe=1), merged=True)]
    truth = truth_of(separate(sample, 0.01), SPACE)
    assert [(one.crowd, area(one)) for one in truth] == [(False, 256), (True, 4)]
    assert [(one.crowd, area(one)) for one in truth_of(separate(sample, 0.0), SPACE)] == [(False, 256), (False, 4)]


def test_what_is_drawn() -> None:
    nothing = Sample(np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), np.uint8), row()[None], [])
    assert not draws(nothing)
    assert draws(picture(1, (COAT, slice(0, 8), slice(0, 8))))


def test_which_sets_merge(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    for name in ("map", "one"):
        Image.new("RGB", (8, 6)).save(tmp_path / "images" / f"{name}.png")
    ids = np.zeros((6, 8), np.uint8)
    ids[:, 0], ids[:, 4] = 1, 1
    Image.fromarray(ids).save(tmp_path / "masks" / "map.png")
    Image.fromarray(ids * 255).save(tmp_path / "masks" / "one_coat.png")
    (tmp_path / "classes.txt").write_text("background\ncoat\n")
    space = Folder.label_space(tmp_path)
    drawn = Folder(tmp_path, space)
    of_map, alone = (drawn[drawn.keys.index(f"folder/images/{name}.png")] for name in ("map", "one"))
    assert [region.merged for region in of_map.regions if region.drawn] == [True]
    assert [region.merged for region in alone.regions if region.drawn] == [False]
    assert len(truth_of(separate(of_map, 0.0), space)) == 2
    assert len(truth_of(separate(alone, 0.0), space)) == 1
