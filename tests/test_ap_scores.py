"""COCO's average precision: by hand, and against pycocotools."""

import contextlib
import io
import json
import math
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from pycocotools import mask as coco  # type: ignore[import-untyped]
from pycocotools.coco import COCO  # type: ignore[import-untyped]
from pycocotools.cocoeval import COCOeval  # type: ignore[import-untyped]

from hemline.ap_scores import coco_scores
from hemline.errors import DataError
from hemline.instances import Vocabulary
from tests.scored import VOCABULARY, crowded, garment, mask_of, photo, photos

BOX = (8, 8, 10, 10)
FAR = (80, 80, 10, 10)
NAN = math.nan


def scores(*shown, kind="box", vocabulary=VOCABULARY):
    return coco_scores(shown, vocabulary, kind).iou


def official(shown, vocabulary, kind):
    """The twelve figures of `COCOeval.summarize`, then AP per category; NaN where it says -1."""
    sides = [], []
    for number, one in enumerate(shown, 1):
        for side, garments in zip(sides, (one.truth, one.found), strict=True):
            for thing in garments:
                area = thing.box[2] * thing.box[3] if side is sides[1] and kind == "box" else coco.area(thing.mask)
                side.append({"id": len(side) + 1, "image_id": number, "category_id": thing.category, "area": area,
                             "bbox": list(thing.box), "segmentation": thing.mask, "score": thing.score,
                             "iscrowd": int(thing.crowd)})  # fmt: skip
    held = []
    with contextlib.redirect_stdout(io.StringIO()):
        for side in sides:
            held.append(COCO())
            held[-1].dataset = {
                "images": [{"id": i + 1, "height": x.size[0], "width": x.size[1]} for i, x in enumerate(shown)],
                "categories": [{"id": number, "name": name} for number, name in vocabulary.categories.items()],
                "annotations": side,
            }
            held[-1].createIndex()
        evaluation = COCOeval(*held, {"box": "bbox", "mask": "segm"}[kind])
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    each = evaluation.eval["precision"][..., 0, 2].mean((0, 1))
    return np.array([NAN if value == -1 else value for value in [*evaluation.stats, *each]])


def ours(shown, vocabulary, kind):
    got = coco_scores(shown, vocabulary, kind).iou
    names = ("ap_small", "ap_medium", "ap_large", "ar_1", "ar_10", "ar_100", "ar_small", "ar_medium", "ar_large")
    each = [one.ap for one in got.categories]
    return np.array([got.ap, got.at["iou50"], got.at["iou75"], *(getattr(got, name) for name in names), *each])


# -- against pycocotools -------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(photos())
def test_figures_are_those_of_pycocotools(shown):
    if shown:
        for kind in ("box", "mask"):
            np.testing.assert_allclose(
                ours(shown, VOCABULARY, kind), official(shown, VOCABULARY, kind), rtol=0, atol=1e-12
            )


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("kind", ["box", "mask"])
def test_so_they_are_of_more_answers_than_count(seed, kind):
    shown = crowded(seed, 260)
    found = ours(shown, VOCABULARY, kind)
    np.testing.assert_allclose(found, official(shown, VOCABULARY, kind), rtol=0, atol=1e-12)
    assert 0 < found[0] < 1


# -- by hand -------------------------------------------------------------------------------------------------


def test_a_perfect_answer():
    got = scores(photo([garment(BOX)], [garment(BOX, score=0.3)]))
    assert got.ap == pytest.approx(1, abs=1e-12)
    assert got.at == pytest.approx({"iou50": 1, "iou75": 1})
    assert (got.ar_1, got.ar_10, got.ar_100, got.ar_small) == (1, 1, 1, 1)
    assert got.ap_small == pytest.approx(1)
    assert math.isnan(got.ap_medium)
    assert math.isnan(got.ar_large)


def test_iou_of_three_fifths_passes_three_thresholds_of_ten():
    got = scores(photo([garment(BOX)], [garment((8, 8, 10, 6))]))        # 60 of 100 pixels: 0.50, 0.55 and 0.60
    assert got.ap == pytest.approx(0.3)
    assert got.at == pytest.approx({"iou50": 1, "iou75": 0})
    assert got.ar_100 == pytest.approx(0.3)


def test_precision_is_read_at_101_recalls():
    """Right, wrong, right: precision 1 up to recall 0.5 (51 recalls), then 2/3 (50 of them)."""
    first = photo([garment(BOX)], [garment(BOX, score=0.9), garment(FAR, score=0.8)])
    second = photo([garment(BOX)], [garment(BOX, score=0.7)])
    assert scores(first, second).ap == pytest.approx((51 + 50 * 2 / 3) / 101, abs=1e-12)


def test_a_mistake_before_the_first_right_answer_costs_everywhere():
    shown = photo([garment(BOX)], [garment(FAR, score=0.8), garment(BOX, score=0.7)])
    assert scores(shown).ap == pytest.approx(0.5)


def test_of_equal_scores_the_first_is_the_better():
    right, wrong = garment(BOX, score=0.5), garment(FAR, score=0.5)
    assert scores(photo([garment(BOX)], [right, wrong])).ap == pytest.approx(1)
    assert scores(photo([garment(BOX)], [wrong, right])).ap == pytest.approx(0.5)


def test_a_truth_is_taken_once():
    """Two answers on one truth, the other truth missed: recall 1/2 at precision 1."""
    shown = photo([garment(BOX), garment(FAR)], [garment(BOX, score=0.9), garment(BOX, score=0.8)])
    assert scores(shown).ap == pytest.approx(51 / 101)
    assert scores(shown).ar_100 == 0.5


def test_what_lies_on_a_crowd_is_no_mistake():
    crowd = garment((60, 60, 60, 60), crowd=True)
    inside = [garment((62 + 8 * i, 62, 6, 6), score=0.9) for i in range(3)]
    shown = photo([garment(BOX), crowd], [*inside, garment(BOX, score=0.1)])
    assert scores(shown).ap == pytest.approx(1)
    assert scores(shown).categories[0].drawn == 1
    assert math.isnan(scores(photo([crowd], inside)).ap)                 # a crowd alone is nothing to find


def test_a_truth_goes_before_a_crowd():
    """The answer lies wholly on the crowd, and has IoU 0.8 with the truth: it takes that at 0.50 to 0.80."""
    shown = photo([garment((0, 0, 60, 60), crowd=True), garment(BOX)], [garment((8, 8, 10, 8))])
    assert scores(shown).ap == pytest.approx(0.7)


def test_areas_choose_truths_and_set_aside_what_is_found_outside_them():
    small, large = garment((0, 0, 20, 20)), garment((0, 24, 100, 100))   # 400 and 10,000 pixels
    wrong = garment((20, 20, 100, 100), score=0.9)                       # IoU 0.62 with the large one
    got = scores(photo([small, large], [wrong, garment((0, 0, 20, 20), score=0.8)]))
    assert got.ap_small == pytest.approx(1)                              # the large mistake is none here
    assert got.ap_large == pytest.approx(0.3)
    assert math.isnan(got.ap_medium)


def test_the_area_of_a_truth_is_its_masks_also_where_boxes_are_compared():
    """A frame: its box is large, its mask is not."""
    frame = garment((0, 0, 100, 100))
    thin = type(frame)(3, mask_of((0, 0, 100, 1), (0, 99, 100, 1)), frame.box)
    bare = garment((0, 0, 100, 100), mask=False)
    assert scores(photo([thin], [frame])).ap_small == pytest.approx(1)
    assert math.isnan(scores(photo([thin], [frame])).ap_large)
    assert scores(photo([bare], [frame])).ap_large == pytest.approx(1)


def test_the_area_of_an_answer_is_that_of_what_is_compared():
    """A mistake with a large box and a small mask: among small truths it counts with masks, and not with boxes."""
    frame = type(garment(BOX))(3, mask_of((0, 20, 100, 1), (0, 119, 100, 1)), (0.0, 20.0, 100.0, 100.0))
    shown = photo([garment((0, 0, 10, 10))], [frame, garment((0, 0, 10, 10), score=0.5)])
    assert scores(shown).ap_small == pytest.approx(1)
    assert scores(shown, kind="mask").ap_small == pytest.approx(0.5)


def test_recall_counts_the_best_answers_of_each_photo_and_category():
    spots = [(10 * i, 0, 8, 8) for i in range(12)]
    truth = [garment(spot) for spot in spots]
    found = [garment(spot, score=0.9 - 0.01 * i) for i, spot in enumerate(spots)]
    got = scores(photo(truth, found))
    assert (got.ar_1, got.ar_10, got.ar_100) == pytest.approx((1 / 12, 10 / 12, 1))


def test_the_hundred_and_first_answer_is_not_looked_at():
    wrong = [garment(FAR, score=0.9)] * 99
    assert scores(photo([garment(BOX)], [*wrong, garment(BOX, score=0.1)])).ap == pytest.approx(1 / 100)
    assert scores(photo([garment(BOX)], [*wrong, wrong[0], garment(BOX, score=0.1)])).ap == 0


def test_a_category_never_drawn_is_left_out_of_the_mean():
    found = [garment(BOX, category=5), garment(BOX, category=77), garment(BOX)]
    got = scores(photo([garment(BOX), garment(FAR, category=77)], found))
    assert got.ap == pytest.approx(1)                                    # neither mistakes nor misses of 77 count
    assert [(one.number, one.name, one.drawn) for one in got.categories] == [
        (3, "coat", 1), (5, "dress", 0), (8, "bag", 0), (9, "sleeve", 0),
    ]  # fmt: skip
    assert [math.isnan(one.ap) for one in got.categories] == [False, True, True, True]


def test_groups_are_means_of_their_categories():
    shown = photo([garment(BOX), garment(FAR, category=5)], [garment(BOX)])
    got = scores(shown).groups
    assert got["outerwear"] == pytest.approx(0.5)
    assert math.isnan(got["accessory"])


def test_nothing_at_all():
    got = scores()
    assert math.isnan(got.ap)
    assert math.isnan(got.ar_1)
    plain = coco_scores([], VOCABULARY, "mask").to_dict()
    assert json.loads(json.dumps(plain, allow_nan=False))["iou"]["ap"] is None
    assert plain.keys() == asdict(coco_scores([], VOCABULARY, "mask")).keys()
    assert math.isnan(scores(photo([garment(BOX)], []), vocabulary=Vocabulary({})).ap)


def test_more_masks_than_pycocotools_measures_at_once():
    found = [garment(FAR, category=5, score=0.5)] * 300
    got = scores(photo([garment(BOX)], [*found, garment(BOX)]), kind="mask")
    assert got.ap_small == pytest.approx(1)


@pytest.mark.parametrize("side", ["drawn", "found"])
def test_masks_are_wanted_where_masks_are_compared(side):
    sides = {"drawn": [garment(BOX)], "found": [garment(BOX)]}
    boxed = sides | {side: [garment(BOX, mask=False)]}
    assert scores(photo(*boxed.values())).ap == pytest.approx(1)
    with pytest.raises(DataError, match=rf"b\.jpg: something {side} of category 3 has a box and no mask"):
        scores(photo(*boxed.values(), "b.jpg"), kind="mask")
    other = sides | {side: [garment(BOX, size=(64, 128))]}
    with pytest.raises(DataError, match=rf"a mask {side} of category 3 is of size \[64, 128\], .* \[128, 128\]"):
        scores(photo(*other.values()), kind="mask")
