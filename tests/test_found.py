"""Garments one by one out of maps of classes: connected parts, their scores, their ceiling, and their answers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from hemline import Tagger
from hemline._regions import Maps, find_regions, logit, sigmoid
from hemline.ceiling import perfect
from hemline.data.sample import Region, Sample
from hemline.found import Found, of_maps, reported
from hemline.photo import place
from hemline.result import read_answer
from hemline.thresholds import NEVER
from tests.toy import CANVAS, COAT, HAIR, NUM_LABELS, NUM_MASKS, SHOE, SPACE, Oracle, logits, metadata, picture, said

FULL = slice(0, 32)


def maps_of(cells: NDArray[np.float32], size: tuple[int, int] = CANVAS, thresholds: Any = 0.5) -> Maps:
    frame = place(np.zeros((*size, 3), np.uint8), CANVAS).frame
    return Maps(cells, CANVAS, frame, logit(np.full(NUM_MASKS, thresholds)), SPACE.layers)


def nothing() -> NDArray[np.float32]:
    return np.full((NUM_MASKS, 8, 8), -4, np.float32)


LABELS = logits(photo=[0, 0, 0, 0, 0, 0], coat=[1, 0, 0, 3, -3, 0], shoe=[0, 1, 0, 0, 0, 2])


def test_each_connected_part_is_a_garment_with_the_score_of_its_own_pixels() -> None:
    cells = nothing()
    cells[COAT, 0:2] = 4
    cells[SHOE, 4:, 0:2] = 1
    cells[SHOE, 4:, 5:8] = 3
    coat, sure, unsure = of_maps(maps_of(cells), LABELS, 3)
    assert [one.category for one in (coat, sure, unsure)] == [COAT, SHOE, SHOE]
    assert coat.score > sure.score > unsure.score > 0.5
    assert sure.box[0] > 16 > unsure.box[0] + unsure.box[2]
    enlarged = maps_of(cells).at_full_size(SHOE)
    for one in (sure, unsure):
        own = one.mask(CANVAS)
        np.testing.assert_allclose(one.score, sigmoid(enlarged[own]).mean(), rtol=1e-6)
        np.testing.assert_array_equal(one.labels, LABELS[1 + SHOE])
        assert own.any(0).sum() == one.box[2]
        assert own.any(1).sum() == one.box[3]
    assert not (sure.mask(CANVAS) & unsure.mask(CANVAS)).any()


def test_pixels_are_no_garment_and_corners_touch() -> None:
    cells = nothing()
    cells[HAIR, 0:2] = 4
    assert of_maps(maps_of(cells), LABELS, 3) == []
    cells[SHOE, 4:6, 2:4] = 4
    cells[SHOE, 6:8, 4:6] = 4
    (shoe,) = of_maps(maps_of(cells), LABELS, 3)
    assert shoe.box[3] > 12


def test_a_score_is_shifted_by_its_threshold() -> None:
    cells = nothing()
    cells[COAT, 0:4] = 1
    (lenient,), (strict,) = (of_maps(maps_of(cells, thresholds=t), LABELS, 3) for t in (0.5, 0.7))
    inner = sigmoid(np.float32(1) - logit(0.7))
    assert lenient.score > strict.score
    assert 0.5 < strict.score <= inner + 1e-6


@pytest.mark.parametrize("seed", range(12))
def test_the_parts_are_those_of_the_regions(seed: int) -> None:
    cells = ndimage.gaussian_filter(np.random.default_rng(seed).normal(0, 9, (NUM_MASKS, 8, 8)), (0, 0.7, 0.7))
    maps = maps_of(cells.astype(np.float32), (90, 70))
    regions, found = find_regions(maps, 3), of_maps(maps, LABELS, 3)
    for k, region in regions.items():
        of_part, number = ndimage.label(region.mask, np.ones((3, 3)))
        own = [one for one in found if one.category == k]
        wanted = sorted((of_part == i).tobytes() for i in range(1, number + 1))
        assert sorted(one.mask((90, 70)).tobytes() for one in own) == wanted
    assert {one.category for one in found} == set(regions)
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)


def test_small_and_unsure_parts_are_not_reported() -> None:
    cells = nothing()
    cells[SHOE, 4:, 0:2] = 1
    cells[SHOE, 4:, 4:8] = 3
    found = of_maps(maps_of(cells), LABELS, 3)
    assert len(reported(found, metadata(), CANVAS)) == 2
    shares = [np.count_nonzero(one.crop) / 1024 for one in found]
    assert shares[0] > shares[1]
    between = (0.0, sum(shares) / 2, 0.0)
    assert reported(found, metadata(instance_areas=between), CANVAS) == found[:1]
    assert reported(found, metadata(instance_scores=(0.0, found[0].score, 0.0)), CANVAS) == found[:1]
    sure = [one._replace(score=1.0) for one in found]
    assert reported(sure, metadata(instance_scores=(NEVER,) * 3), CANVAS) == []
    assert reported(found, metadata(instance_areas=(1.0, 0.0, 1.0)), CANVAS) == found


# -- answers -------------------------------------------------------------------------------------------------------


def two_shoes() -> NDArray[np.float32]:
    cells = nothing()
    cells[COAT, 0:3] = 4
    cells[SHOE, 5:, 0:2] = 2
    cells[SHOE, 5:, 5:8] = 4
    return cells


def test_an_answer_of_instances_has_a_garment_a_part() -> None:
    photo = np.zeros((*CANVAS, 3), np.uint8)
    frame = place(photo, CANVAS).frame
    about = metadata()
    plain, parts = (
        read_answer(two_shoes(), LABELS, CANVAS, frame, about, photo, name="x", one_by_one=one) for one in (False, True)
    )
    assert [g.category for g in plain.garments] == ["coat", "shoe"]
    assert [g.category for g in parts.garments] == ["coat", "shoe", "shoe"]
    coat, large, small = parts.garments
    assert coat.box == plain.garments[0].box
    assert coat.score == pytest.approx(plain.garments[0].score)
    assert large.mask is not None
    assert small.mask is not None
    np.testing.assert_array_equal(large.mask | small.mask, plain.garments[1].mask)
    assert [x.label for x in large.attributes] == [x.label for x in small.attributes] == ["winter"]
    assert len(parts.to_coco()["annotations"]) == 3
    strict = replace(about, instance_scores=(0.0, large.score - 1e-6, 0.0))
    kept = read_answer(two_shoes(), LABELS, CANVAS, frame, strict, photo, name="x", one_by_one=True)
    assert [g.box for g in kept.garments] == [coat.box, large.box]


def test_what_a_label_alone_names_has_no_mask_in_an_answer_of_instances() -> None:
    photo = np.zeros((*CANVAS, 3), np.uint8)
    frame = place(photo, CANVAS).frame
    cells = nothing()
    cells[SHOE, 0] = -1
    labels = logits(photo=[-5, 5, 0, 0, 0, 0])
    plain, parts = (
        read_answer(cells, labels, CANVAS, frame, metadata(), photo, name="x", one_by_one=one) for one in (False, True)
    )
    assert [(g.category, g.found_by, g.mask is None) for g in plain.garments] == [("shoe", "label", False)]
    assert [(g.category, g.found_by, g.mask is None) for g in parts.garments] == [("shoe", "label", True)]


def test_the_tagger_answers_instances_where_it_is_asked_to() -> None:
    sample = picture(9, (SHOE, slice(16, 32), slice(0, 8)), (SHOE, slice(16, 32), slice(20, 32)))
    plain, parts = (Tagger(Oracle(), metadata(), instances=one)(sample.photo) for one in (False, True))
    assert [g.category for g in plain.garments] == ["shoe"]
    assert [g.category for g in parts.garments] == ["shoe", "shoe"]


# -- the ceiling -----------------------------------------------------------------------------------------------------


def ceiling_of(sample: Sample, cells: int = 8) -> list[Found]:
    frame = place(sample.photo, CANVAS).frame
    maps = Maps(np.zeros((NUM_MASKS, cells, cells), np.float32), CANVAS, frame, logit(np.full(4, 0.3)), SPACE.layers)
    return perfect(sample, maps, SPACE)


def test_a_perfect_network_draws_what_is_drawn() -> None:
    sample = picture(1, (COAT, slice(0, 8), FULL), (SHOE, slice(8, 16), FULL), (SHOE, slice(24, 32), FULL))
    sample.regions = [Region((2,), said(shoe=1, winter=1)), Region((3,), said(shoe=1, winter=0))]
    coat, *shoes = ceiling_of(sample)
    assert (coat.category, coat.box, coat.score) == (COAT, (0, 0, 32, 8), 1.0)
    assert sorted(one.box for one in shoes) == [(0, 8, 32, 8), (0, 24, 32, 8)]
    assert all(one.labels[5] > 0 and one.labels[3] < 0 for one in shoes)     # one label head speaks of the whole class
    assert all(one.score == 1 for one in shoes)


def test_edges_within_a_cell_are_kept() -> None:
    for top in range(9, 16):
        (coat,) = ceiling_of(picture(1, (COAT, slice(top, 24), FULL)))
        assert abs(coat.box[1] - top) <= 1


def test_what_is_too_small_for_the_map_is_lost_and_touching_things_are_one() -> None:
    low = slice(16, 32)
    sample = picture(1, (SHOE, slice(2, 5), slice(3, 6)), (SHOE, low, slice(0, 8)), (SHOE, low, slice(8, 16)))
    sample.regions = [Region((1,), said(shoe=1)), Region((2,), said(shoe=1)), Region((3,), said(shoe=1))]
    (shoes,) = ceiling_of(sample)
    assert shoes.box[2] >= 15
    assert len(ceiling_of(sample, 32)) == 2                  # a finer map keeps the small one


def test_small_things_lie_on_large_ones() -> None:
    sample = picture(1, (COAT, slice(0, 32), FULL), (SHOE, slice(8, 16), slice(8, 24)))
    sample.targets[2, COAT] = 1                              # its pixels are both
    found = {one.category: one.mask(CANVAS) for one in ceiling_of(sample)}
    assert found[SHOE][9:15, 9:23].all()
    assert not found[COAT][9:15, 9:23].any()
    assert found[COAT][24:].all()


def test_a_photo_of_another_shape_and_a_garment_at_its_edge() -> None:
    sample = picture(1, (COAT, slice(0, 40), slice(0, 12)), size=(40, 24))
    (coat,) = ceiling_of(sample)
    assert coat.box[:2] == (0, 0)
    assert coat.box[3] == 40
    assert abs(coat.box[2] - 12) <= 1
    assert len(coat.labels) == NUM_LABELS
    bare = picture(1, size=(40, 24))
    assert ceiling_of(bare) == []
