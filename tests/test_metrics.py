"""Figures of masks and labels, by hand and against slow independent ones."""

import json
import math
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, f1_score

from hemline._average_precision import average_precision
from hemline._bootstrap import resample
from hemline.metrics import FREQUENT, IGNORED, LabelReport, LabelScores, MaskReport, MaskScores

CLASSES = ["background", "coat", "shoe", "hat"]


def masks(*photos: tuple[Any, Any], frequent: int = FREQUENT, resamples: int = 100) -> MaskReport:
    scores = MaskScores(CLASSES)
    for predicted, truth in photos:
        scores.update(np.array(predicted, np.uint8), np.array(truth, np.uint8))
    return scores.compute(frequent=frequent, resamples=resamples)


def labels(
    scores: Any,
    truth: Any,
    photo: Any = None,
    *,
    names: list[str] | None = None,
    thresholds: list[float] | None = None,
    choices: dict[str, slice] | None = None,
    resamples: int = 200,
) -> LabelReport:
    """Rows (N, L) as one photo each, or as `photo` groups them."""
    scores, truth = np.array(scores, float), np.array(truth, np.int8)
    photo = range(len(truth)) if photo is None else photo
    names = names or [f"label {i}" for i in range(truth.shape[1])]
    collected = LabelScores(names, thresholds or [0.5] * len(names), choices)
    for number in sorted(set(photo)):
        rows = np.array(photo) == number
        collected.update(scores[rows], truth[rows])
    return collected.compute(resamples=resamples)


# -- masks, by hand ------------------------------------------------------------------------------------------


def test_masks_of_one_photo() -> None:
    report = masks(([[0, 1, 1, 0]], [[0, 0, 1, 1]]))
    background, coat = report.classes
    # background: right at 1 pixel; truth has 2, prediction has 2: IoU 1 / 3, dice 2 / 4
    assert background.iou.value == pytest.approx(1 / 3)
    assert background.dice.value == 0.5
    # coat: the same by symmetry
    assert coat.iou.value == pytest.approx(1 / 3)
    assert (coat.name, coat.photos, coat.pixels) == ("coat", 1, 2)
    assert report.mean_iou.value == pytest.approx(1 / 3)
    assert report.pixel_accuracy.value == 0.5       # 2 of 4 pixels
    assert report.foreground_accuracy.value == 0.5  # 1 of 2 coat pixels
    assert report.left_out == ["shoe", "hat"]       # in neither map
    assert report.confusion[:2] == [[1, 1, 0, 0], [1, 1, 0, 0]]
    assert report.confusion_classes == CLASSES


def test_all_background_is_the_baseline_of_every_figure() -> None:
    report = masks(([[1, 0, 0, 2]], [[1, 1, 0, 0]]))
    background, coat, shoe = report.classes
    assert background.iou.trivial == 0.5             # 2 true background pixels of 4 answered
    assert background.dice.trivial == pytest.approx(2 * 2 / (2 + 4))
    assert coat.iou.trivial == 0                     # never answered
    assert shoe.iou.trivial == 0 == shoe.iou.value   # predicted, never true
    assert report.mean_iou.trivial == 0.25           # background 0.5, coat 0; all background predicts no shoe
    assert report.pixel_accuracy.trivial == 0.5
    assert report.foreground_accuracy.trivial == 0
    said = masks(([[0, 0, 0, 0]], [[1, 1, 0, 0]]))   # and a network that answers so scores exactly that
    assert said.mean_iou.value == said.mean_iou.trivial == report.mean_iou.trivial
    assert said.pixel_accuracy.value == said.pixel_accuracy.trivial


def test_a_class_predicted_and_never_true_counts_as_zero_in_the_mean() -> None:
    report = masks(([[0, 0, 3]], [[0, 0, 0]]))
    assert [c.name for c in report.classes] == ["background", "hat"]
    assert report.mean_iou.value == pytest.approx((2 / 3 + 0) / 2)
    assert math.isnan(report.foreground_accuracy.value)  # there is no foreground to be right about


def test_a_perfect_answer_scores_one() -> None:
    truth = [[0, 1, 2, 3, IGNORED]]
    report = masks(([[0, 1, 2, 3, 2]], truth), ([[0, 1, 2, 3, 0]], truth))
    for figure in (report.mean_iou, report.mean_dice, report.pixel_accuracy, report.foreground_accuracy):
        assert (figure.value, figure.low, figure.high) == (1, 1, 1)
    assert not report.left_out


def test_ignored_pixels_do_not_count() -> None:
    seen = ([[0, 1], [1, 0]], [[0, 1], [0, 1]])
    hidden = ([[0, 1, 2], [1, 0, 3]], [[0, 1, IGNORED], [0, 1, IGNORED]])
    assert repr(masks(seen)) == repr(masks(hidden))  # as text, where NaN equals NaN


def test_a_photo_without_a_known_pixel_is_no_photo() -> None:
    seen = ([[0, 1]], [[0, 1]])
    assert repr(masks(seen, ([[0, 1]], [[IGNORED, IGNORED]]))) == repr(masks(seen))
    with pytest.raises(ValueError, match="no photo"):
        masks(([[0]], [[IGNORED]]))


def test_pixels_are_summed_over_photos_before_dividing() -> None:
    # coat: 1 of 1 pixel in one photo, 0 of 3 in the other: 1 / 4, not the mean 1 / 2
    report = masks(([[1, 0]], [[1, 0]]), ([[0, 0, 0]], [[1, 1, 1]]))
    assert report.classes[1].iou.value == 0.25
    assert report.classes[1].photos == 2


def test_frequent_classes_are_those_in_enough_photos() -> None:
    photos = [([[0, 1, 0]], [[0, 1, 0]])] * 2 + [([[0, 1, 0]], [[0, 1, 2]])]
    report = masks(*photos, frequent=2)
    assert report.frequent_classes == 2                      # background and coat; shoe is in one photo
    assert report.frequent_mean_iou.value == pytest.approx((5 / 6 + 1) / 2)
    assert report.frequent_mean_iou.value > report.mean_iou.value
    assert math.isnan(masks(*photos, frequent=9).frequent_mean_iou.value)


def test_maps_that_cannot_be_are_refused() -> None:
    scores = MaskScores(CLASSES)
    with pytest.raises(ValueError, match="resize the logits"):
        scores.update(np.zeros((2, 2), np.uint8), np.zeros((2, 3), np.uint8))
    with pytest.raises(ValueError, match="0 to 3"):
        scores.update(np.full((2, 2), 4, np.uint8), np.zeros((2, 2), np.uint8))
    with pytest.raises(ValueError, match="0 to 3"):
        scores.update(np.zeros((2, 2), np.uint8), np.full((2, 2), 200, np.uint8))


# -- masks, against a slow one -------------------------------------------------------------------------------


def slow_iou_and_dice(photos: list[tuple[Any, Any]], c: int) -> tuple[float, float]:
    both = either = sizes = 0
    for predicted, truth in photos:
        for p, t in zip(predicted.ravel().tolist(), truth.ravel().tolist(), strict=True):
            if t != IGNORED:
                both += p == c and t == c
                either += p == c or t == c
                sizes += (p == c) + (t == c)
    return (both / either, 2 * both / sizes) if either else (math.nan, math.nan)


@given(seed=st.integers(0, 10_000), num=st.integers(1, 4))
@settings(max_examples=40, deadline=None)
def test_iou_and_dice_are_what_counting_pixel_by_pixel_gives(seed: int, num: int) -> None:
    rng = np.random.default_rng(seed)
    photos = [
        (rng.integers(0, 4, size).astype(np.uint8), rng.choice([0, 1, 2, 3, IGNORED], size).astype(np.uint8))
        for size in rng.integers(1, 7, (num, 2)).tolist()
    ]
    if all((truth == IGNORED).all() for _, truth in photos):
        return
    report = masks(*photos, resamples=3)
    expected = {name: slow_iou_and_dice(photos, c) for c, name in enumerate(CLASSES)}
    occur = [name for name, (iou, _) in expected.items() if not math.isnan(iou)]
    assert [c.name for c in report.classes] == occur
    assert report.left_out == [name for name in CLASSES if name not in occur]
    assert [c.iou.value for c in report.classes] == pytest.approx([expected[name][0] for name in occur])
    assert [c.dice.value for c in report.classes] == pytest.approx([expected[name][1] for name in occur])
    assert report.mean_iou.value == pytest.approx(np.mean([expected[name][0] for name in occur]))
    assert np.sum(report.confusion) == sum(int((truth != IGNORED).sum()) for _, truth in photos)


# -- labels, by hand -----------------------------------------------------------------------------------------


def test_one_label() -> None:
    # ranked: yes no yes no; precision at the yeses is 1 and 2 / 3, each gains half the recall
    report = labels([[0.9], [0.8], [0.7], [0.1]], [[1], [0], [1], [0]], thresholds=[0.75])
    (label,) = report.labels
    assert label.average_precision.value == pytest.approx((1 + 2 / 3) / 2)
    assert label.average_precision.trivial == label.prior == 0.5
    assert (label.positives, label.known) == (2, 4)
    assert (label.precision, label.recall, label.f1.value) == (0.5, 0.5, 0.5)  # answered: one yes, one no
    assert label.f1.trivial == pytest.approx(2 / 3)                             # always yes: precision 1/2, recall 1
    assert report.mean_average_precision.value == label.average_precision.value


def test_equal_scores_are_one_step() -> None:
    # nothing tells the rows apart: the average precision is the prior, in whatever order they come
    for truth in ([1, 0, 0, 0], [0, 0, 0, 1]):
        assert average_precision(np.full(4, 0.3), np.array(truth) == 1)[0] == 0.25


def test_a_threshold_must_be_passed_not_met() -> None:
    (label,) = labels([[0.5], [0.5]], [[1], [0]], thresholds=[0.5]).labels
    assert label.recall == 0 == label.f1.value
    assert math.isnan(label.precision)                  # nothing was answered
    (never,) = labels([[1.0], [0.5]], [[1], [0]], thresholds=[1.0]).labels
    assert never.recall == 0                            # 1.0 is never passed


def test_unknown_is_left_out() -> None:
    known = labels([[0.9], [0.2]], [[1], [0]])
    with_unknown = labels([[0.9], [0.99], [0.2]], [[1], [-1], [0]])
    assert known == with_unknown                        # a row of which nothing is known is no photo either
    assert with_unknown.photos == 2


def test_a_label_without_a_positive_or_a_negative_is_left_out_and_said() -> None:
    report = labels([[0.9, 0.9, 0.9, 0.9], [0.1] * 4], [[1, 1, 0, -1], [0, 1, 0, -1]], names=list("abcd"))
    assert [label.name for label in report.labels] == ["a"]
    assert report.left_out == ["b", "c", "d"]
    assert report.mean_average_precision.value == 1


def test_no_label_at_all() -> None:
    report = LabelScores(["a", "b"], [0.5, 0.5]).compute()
    assert (report.photos, report.labels, report.left_out) == (0, [], ["a", "b"])
    assert math.isnan(report.mean_average_precision.value)


def test_perfect_scores() -> None:
    report = labels([[0.9, 0.1], [0.1, 0.9]] * 5, [[1, 0], [0, 1]] * 5, choices={"item": slice(0, 2)})
    assert report.mean_average_precision.value == 1
    assert [label.f1.value for label in report.labels] == [1, 1]
    (choice,) = report.choices
    assert (choice.top1.value, choice.top1.low, choice.top1.trivial) == (1, 1, 0.5)


def test_top1() -> None:
    scores = [[0.6, 0.3, 0.9], [0.2, 0.1, 0.0], [0.3, 0.4, 0.0], [0.9, 0.0, 0.0], [0.0, 0.0, 0.0]]
    truth = [[1, 0, -1],    # right: the third value, unknown here, does not compete
             [0, 1, 0],     # wrong: the first is higher
             [0, 1, 0],     # right
             [1, -1, -1],   # no row: nothing is known to be wrong
             [1, 0, 0]]     # wrong: a score of 0 is no answer  # fmt: skip
    (choice,) = labels(scores, truth, choices={"item": slice(0, 3)}).choices
    assert (choice.group, choice.rows, choice.top1.value) == ("item", 4, 0.5)
    assert choice.top1.trivial == 0.5  # always the second value (or the first): right in 2 of 4


def test_rows_of_other_width_are_refused() -> None:
    with pytest.raises(ValueError, match=r"must be \(N, 2\)"):
        LabelScores(["a", "b"], [0.5, 0.5]).update(np.zeros((1, 3)), np.zeros((1, 3), np.int8))


# -- labels, against scikit-learn ----------------------------------------------------------------------------


@given(seed=st.integers(0, 10_000), num=st.integers(2, 40), distinct=st.integers(1, 10))
@settings(max_examples=60, deadline=None)
def test_average_precision_and_f1_are_scikit_learns(seed: int, num: int, distinct: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, distinct + 1, num) / distinct  # many equal scores
    truth = rng.integers(0, 2, num)
    truth[:2] = 0, 1
    (label,) = labels(scores[:, None], truth[:, None], thresholds=[0.45], resamples=2).labels
    assert label.average_precision.value == pytest.approx(average_precision_score(truth, scores))
    assert label.f1.value == pytest.approx(f1_score(truth, scores > 0.45, zero_division=0))


@given(seed=st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_bootstrapped_average_precision_is_that_of_the_repeated_rows(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores, yes, photo = rng.integers(0, 6, 12) / 6, rng.integers(0, 2, 12) == 1, rng.integers(0, 5, 12)
    drawn = resample(5, 8, seed)
    for got, counts in zip(average_precision(scores, yes, photo, drawn), drawn, strict=True):
        rows = np.repeat(np.arange(12), counts[photo].astype(int))
        if 0 < yes[rows].sum() < len(rows):
            assert got == pytest.approx(average_precision_score(yes[rows], scores[rows]))
        else:
            assert math.isnan(got)


def test_a_large_set_is_bootstrapped_in_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    scores, yes, photo = rng.random(60), rng.random(60) < 0.3, np.repeat(np.arange(20), 3)
    drawn = resample(20, 50)
    whole = average_precision(scores, yes, photo, drawn)
    monkeypatch.setattr("hemline._average_precision.MOST_CELLS", 60 * 7)  # 50 resamples in steps of 7
    np.testing.assert_allclose(average_precision(scores, yes, photo, drawn), whole, rtol=1e-12)


# -- intervals -----------------------------------------------------------------------------------------------


def test_resampling_draws_as_many_photos_as_there_are_and_repeats_with_its_seed() -> None:
    drawn = resample(7, 200, seed=3)
    assert drawn.shape == (200, 7)
    assert (drawn.sum(1) == 7).all()
    assert abs(drawn.mean() - 1) < 1e-12
    assert 0.1 < (drawn == 0).mean() < 0.6              # about 0.34 of the photos stay out of a resample
    np.testing.assert_array_equal(drawn, resample(7, 200, seed=3))
    assert (drawn != resample(7, 200, seed=4)).any()


def noisy_masks(num: int, seed: int = 0) -> MaskReport:
    rng = np.random.default_rng(seed)
    photos = []
    for _ in range(num):
        truth = rng.integers(0, 3, (6, 6))
        wrong = rng.random((6, 6)) < rng.random() * 0.6  # photos differ in difficulty
        photos.append((np.where(wrong, rng.integers(0, 3, (6, 6)), truth), truth))
    return masks(*photos)


def noisy_labels(num: int, seed: int = 0) -> LabelReport:
    rng = np.random.default_rng(seed)
    truth = (rng.random((num, 3)) < 0.4).astype(int)
    return labels(truth * 0.8 + rng.normal(size=(num, 3)), truth, choices={"all": slice(0, 3)})


def test_intervals_hold_the_estimate_and_narrow_with_more_photos() -> None:
    wide_masks, narrow_masks = noisy_masks(20), noisy_masks(320)
    wide_labels, narrow_labels = noisy_labels(40), noisy_labels(640)
    for narrow, wide in (
        (narrow_masks.mean_iou, wide_masks.mean_iou),
        (narrow_masks.mean_dice, wide_masks.mean_dice),
        (narrow_masks.pixel_accuracy, wide_masks.pixel_accuracy),
        (narrow_masks.foreground_accuracy, wide_masks.foreground_accuracy),
        (narrow_labels.mean_average_precision, wide_labels.mean_average_precision),
        (narrow_labels.labels[0].f1, wide_labels.labels[0].f1),
        (narrow_labels.labels[0].average_precision, wide_labels.labels[0].average_precision),
        (narrow_labels.choices[0].top1, wide_labels.choices[0].top1),
    ):
        assert narrow.low < narrow.value < narrow.high
        assert wide.low < wide.value < wide.high
        assert narrow.high - narrow.low < 0.6 * (wide.high - wide.low)  # 16 times the photos: about a quarter


def test_the_interval_of_an_accuracy_is_the_binomial_one() -> None:
    # 400 photos of one pixel, right with probability 0.8: the standard error is sqrt(.8 * .2 / 400) = 0.02
    photos = [([[1]], [[1]])] * 320 + [([[0]], [[1]])] * 80
    figure = masks(*photos, resamples=1000).pixel_accuracy
    assert figure.value == 0.8
    assert figure.high - figure.low == pytest.approx(2 * 1.96 * 0.02, rel=0.1)


def test_rows_of_one_photo_are_drawn_together() -> None:
    scores, truth = np.random.default_rng(0).random((40, 1)), np.arange(40)[:, None] % 2
    apart = labels(np.repeat(scores, 10, 0), np.repeat(truth, 10, 0))
    together = labels(np.repeat(scores, 10, 0), np.repeat(truth, 10, 0), photo=np.repeat(np.arange(40), 10))
    assert apart.labels[0].average_precision.value == together.labels[0].average_precision.value
    width = [r.labels[0].average_precision.high - r.labels[0].average_precision.low for r in (apart, together)]
    assert width[1] > 2 * width[0]                       # ten copies of a photo teach nothing new


def test_the_same_photos_give_the_same_report() -> None:
    assert repr(noisy_masks(10)) == repr(noisy_masks(10))
    assert repr(noisy_labels(30)) == repr(noisy_labels(30))
    json.dumps(asdict(noisy_masks(3)))                   # plain numbers all through
