"""Calibration, precision-recall curves and scores by size: hand-made cases, and each computed a second way."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import precision_recall_curve

from hemline.calibration import BINS, FEWEST, calibration
from hemline.metrics import IGNORED, MaskScores
from hemline.precision_recall import MOST_POINTS, precision_recall
from hemline.size_scores import size_scores

# -- calibration -------------------------------------------------------------------------------------------------------


def calibrated(scores, truth, names=("a",), photo=None):
    scores, truth = (np.array(values).reshape(-1, len(names)) for values in (scores, truth))
    photo = np.arange(len(scores)) if photo is None else np.array(photo)
    return calibration(names, scores.astype(np.float64), truth.astype(np.int8), photo)


def test_the_error_is_the_mean_gap_of_score_and_truth():
    found = calibrated([0.95, 0.95, 0.95, 0.95, 0.15], [1, 1, 1, 0, 0]).overall
    assert found.error == pytest.approx((4 * 0.2 + 1 * 0.15) / 5)
    assert [one.answers for one in found.bins] == [0, 1, 0, 0, 0, 0, 0, 0, 0, 4]
    assert (found.bins[9].score, found.bins[9].true) == (pytest.approx(0.95), 0.75)
    assert found.bins[0].score is found.bins[0].true is found.bins[0].true_low is None
    assert (found.positives, found.known) == (3, 5)


def test_the_interval_of_a_bin_is_that_of_what_is_true():
    bin_ = calibrated([0.95, 0.95, 0.95], [1, 1, 1]).overall.bins[9]
    assert (bin_.true, bin_.true_low, bin_.true_high) == (1, 1, 1)


def test_gaps_of_two_bins_do_not_make_up_for_each_other():
    assert calibrated([0.25, 0.75], [1, 0]).overall.error == pytest.approx(0.75)


def test_a_score_of_one_is_in_the_last_bin_and_edges_begin_a_bin():
    bins = calibrated([0.0625, 1.0, 0.5, 0.1], [0, 1, 1, 0]).overall.bins
    assert [one.answers for one in bins] == [1, 1, 0, 0, 0, 1, 0, 0, 0, 1]


def test_the_unknown_and_garments_that_were_not_found_do_not_count():
    found = calibrated([[0.5, 0.5], [0.0, 0.0], [0.0, 0.9]], [[-1, 1], [1, 1], [0, -1]], names=("a", "b"))
    assert found.overall.known == 2
    assert [(one.name, one.known, one.positives) for one in found.labels] == [("a", 1, 0), ("b", 1, 1)]
    assert calibrated([[0.0], [0.5]], [[1], [-1]]) is None


def test_the_worst_have_enough_of_both():
    ten, few = np.tile([1, 0], FEWEST), np.tile([1, 0], FEWEST).copy()
    few[0] = 0                                           # one yes too few
    truth = np.stack([ten, ten, few], axis=1)
    scores = np.where(truth == 1, [0.9, 0.6, 0.1], [0.1, 0.4, 0.9])
    found = calibrated(scores, truth, names=("good", "bad", "few"))
    assert [one.name for one in found.worst] == ["bad", "good"]
    assert found.labels[2].error > found.labels[1].error


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000))
def test_calibration_is_what_a_loop_finds(seed):
    rng = np.random.default_rng(seed)
    rows, labels = int(rng.integers(1, 60)), int(rng.integers(1, 4))
    scores = rng.choice([0.0, 0.1, 0.3, 0.7, 1.0, *rng.random(5)], (rows, labels))
    truth = rng.integers(-1, 2, (rows, labels))
    photo = np.sort(rng.integers(0, rows, rows))
    found = calibrated(scores, truth, [str(i) for i in range(labels)], photo)
    gathered = {}
    for n in range(rows):
        for k in range(labels):
            if truth[n, k] >= 0 and any(scores[n] > 0):
                bin_ = next(b for b in range(BINS) if scores[n, k] * BINS < b + 1 or b == BINS - 1)
                gathered.setdefault(bin_, []).append((scores[n, k], truth[n, k]))
    if not gathered:
        assert found is None
        return
    total = sum(map(len, gathered.values()))
    error = sum(abs(math.fsum(s for s, _ in g) - sum(t for _, t in g)) for g in gathered.values()) / total
    assert found.overall.error == pytest.approx(error)
    for number, one in enumerate(found.overall.bins):
        group = gathered.get(number, [])
        assert one.answers == len(group)
        if group:
            assert one.true == pytest.approx(np.mean([t for _, t in group]))
            assert 0 <= one.true_low <= one.true_high <= 1


# -- curves ------------------------------------------------------------------------------------------------------------


def test_equal_scores_are_one_point():
    points = precision_recall(np.array([0.9, 0.5, 0.5, 0.2, 0.1]), np.array([True, False, True, False, False]))
    assert points == [(0.9, 1.0, 0.5), (0.5, 2 / 3, 1.0), (0.1, 0.4, 1.0)]
    assert precision_recall(np.array([0.5]), np.array([False])) == []


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.booleans())
def test_points_are_those_of_scikit_learn(seed, many):
    rng = np.random.default_rng(seed)
    count = int(rng.integers(600, 900) if many else rng.integers(2, 40))
    scores = rng.random(count) if many else rng.integers(0, 8, count) / 8
    yes = rng.random(count) < 0.5
    yes[0] = True
    precision, recall, thresholds = precision_recall_curve(yes, scores)
    expected = {t: (p, r) for p, r, t in zip(precision[:-1], recall[:-1], thresholds, strict=True)}
    points = precision_recall(scores, yes)
    for score, p, r in points:
        assert (p, r) == pytest.approx(expected[score])
    recalls = [point.recall for point in points]
    assert recalls == sorted(recalls)
    assert recalls[-2:] == [1.0, 1.0] or points[-1].score == scores.min()
    assert len(points) <= MOST_POINTS + 1
    if many:
        assert max(np.diff([0, *recalls])) <= 0.02, "the points left out leave no gap"


# -- sizes -------------------------------------------------------------------------------------------------------------


def maps(*photos):
    scores = MaskScores(["background", "coat", "belt", "skin"])
    for said, true in photos:
        scores.update(np.array(said), np.array(true))
    return scores


def test_garments_are_sorted_by_their_share_of_the_photo():
    true = np.zeros((20, 20), np.int64)                          # 400 pixels
    true[:2, :2] = 2                                             # 4: the least of the medium ones
    true[10:, :] = 1                                             # half: large
    said = np.zeros_like(true)
    said[:2, :1] = 2                                             # IoU 0.5: found
    said[12:, :] = 1                                             # 0.8
    said[4, 4] = 3                                               # no garment
    small = np.zeros_like(true)
    small[0, :3] = 2                                             # 3 of 400
    medium, large = size_scores(maps((said, true)), {"coat", "belt"})
    assert (medium.size, medium.garments, medium.iou.value, medium.found.value) == ("medium", 1, 0.5, 1.0)
    assert (large.size, large.garments, large.iou.value) == ("large", 1, pytest.approx(0.8))
    first, *_ = size_scores(maps((said, true), (np.zeros_like(true), small)), {"coat", "belt"})
    assert (first.size, first.garments, first.photos, first.iou.value, first.found.value) == ("small", 1, 1, 0.0, 0.0)
    assert [x.size for x in size_scores(maps((said, true)), {"coat"})] == ["large"]


def test_ten_in_a_hundred_is_large_and_unknown_pixels_are_no_part_of_the_photo():
    true = np.zeros((10, 20), np.int64)
    true[:, 10:] = IGNORED
    true[0, :10] = 1                                             # 10 of the 100 that are known
    assert [x.size for x in size_scores(maps((true * 0, true)), {"coat"})] == ["large"]


def test_a_photo_full_of_coat_is_large_and_what_is_drawn_on_nothing_has_no_size():
    full = np.ones((4, 4), np.int64)
    (large,) = size_scores(maps((full, full)), {"coat"})
    assert (large.size, large.iou.value) == ("large", 1.0)
    assert size_scores(maps((full, full * 0)), {"coat"}) == []


def test_each_garment_counts_alike_and_intervals_are_over_photos():
    one, none = np.zeros((10, 10), np.int64), np.zeros((10, 10), np.int64)
    one[:5] = 1
    two = one.copy()
    two[5:] = 2
    (large,) = size_scores(maps((one, one), (none, two)), {"coat", "belt"})
    assert (large.garments, large.photos) == (3, 2)
    assert large.iou.value == pytest.approx(1 / 3)
    assert (large.iou.low, large.iou.high) == (0.0, 1.0)          # either photo alone may be drawn
