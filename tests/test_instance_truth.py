"""Samples divided into things: connected parts of classes, and the truth of instance scores."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from hemline.data.augment import place_sample
from hemline.data.instance_truth import separate
from hemline.data.sample import WHOLE_PHOTO, Region, Sample, collate

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
