"""The IoU of all garments of a photo at once, by hand and beside the IoU of classes."""

import json
import math

import numpy as np
import pytest

from hemline.foreground_iou import ForegroundIoU
from hemline.metrics import IGNORED, MaskScores

TRUTH = np.array([[0, 1, 1, 2], [IGNORED, 0, 2, 2]], np.uint8)
SAID = np.array([[0, 1, 2, 2], [1, 1, 0, 2]], np.uint8)
NONE = np.zeros((2, 4), np.uint8)


def counted(*photos):
    scores = ForegroundIoU()
    for predicted, truth in photos:
        scores.update(predicted, truth)
    return scores.compute(resamples=200)


def test_sums_over_classes_are_divided_not_classes():
    """Class 1: 1 pixel of 3 in either; class 2: 2 of 4. Together 3 of 7; the unknown pixel counts nowhere."""
    assert counted((SAID, TRUTH)).iou.value == pytest.approx(3 / 7)
    classes = MaskScores(["background", "coat", "shoe"])
    classes.update(SAID, TRUTH)
    assert [one.iou.value for one in classes.compute().classes[1:]] == pytest.approx([1 / 3, 2 / 4])


def test_the_mean_is_that_of_photos_whatever_their_size():
    large = np.ones((50, 50), np.uint8)
    assert counted((SAID, TRUTH), (large, large)).iou.value == pytest.approx((3 / 7 + 1) / 2)


def test_a_garment_of_the_wrong_class_counts_twice_below():
    truth = np.array([[1, 1, 2]], np.uint8)
    assert counted((np.array([[1, 1, 1]], np.uint8), truth)).iou.value == pytest.approx(2 / 4)


def test_a_photo_with_neither_is_left_out_and_one_with_a_mistake_is_not():
    got = counted((NONE, NONE), (SAID, NONE), (SAID, SAID))
    assert (got.photos, got.empty) == (2, 1)
    assert got.iou.value == pytest.approx(1 / 2)
    assert got.iou.trivial == 0
    assert (got.iou.low, got.iou.high) == (0, 1)


def test_what_is_unknown_counts_nowhere():
    unknown = np.full((2, 4), IGNORED, np.uint8)
    got = counted((SAID, unknown))
    assert (got.photos, got.empty) == (0, 0)
    assert math.isnan(got.iou.value)
    assert json.loads(json.dumps(got.to_dict(), allow_nan=False))["iou"]["value"] is None


def test_against_one_class_at_a_time():
    random = np.random.default_rng(0)
    ious = []
    photos = []
    for _ in range(20):
        truth, said = random.integers(0, 5, (2, 9, 7), dtype=np.uint8)
        truth[random.random((9, 7)) < 0.1] = IGNORED
        known = truth != IGNORED
        hit = sum(((truth == c) & (said == c) & known).sum() for c in range(1, 5))
        either = sum((((truth == c) | (said == c)) & known).sum() for c in range(1, 5))
        ious.append(hit / either)
        photos.append((said, truth))
    assert counted(*photos).iou.value == pytest.approx(np.mean(ious), abs=1e-12)


def test_maps_of_two_sizes_are_refused():
    with pytest.raises(ValueError, match="resize the logits first"):
        counted((NONE, NONE[:1]))
