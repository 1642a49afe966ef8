"""Thresholds chosen on known answers."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import f1_score

from hemline.metrics import IGNORED
from hemline.thresholds import FEWEST, LEAST, NEVER, best_thresholds, mask_thresholds


def best(scores: Any, truth: Any, fewest: int = FEWEST) -> float:
    (threshold,) = best_thresholds(np.array(scores, float)[:, None], np.array(truth, np.int8)[:, None], fewest=fewest)
    return threshold


def test_best_threshold_lies_halfway_between_yes_and_no() -> None:
    assert best([0.9, 0.8, 0.6, 0.2], [1, 1, 0, 0], fewest=2) == pytest.approx(0.7)


def test_a_wrong_yes_is_worth_a_right_one() -> None:
    # answering 1, 2, 3, 4 rows: F1 2/3, 1/2, 4/5, 2/3: the third is best
    assert best([0.9, 0.8, 0.6, 0.2], [1, 0, 1, 0], fewest=2) == pytest.approx(0.4)


def test_of_equal_thresholds_the_higher_one() -> None:
    # answering 1 to 5 rows: F1 2/3, 1/2, 2/5, 2/3, 4/7: the first and the fourth are equal
    assert best([0.9, 0.5, 0.4, 0.3, 0.1], [1, 0, 0, 1, 0], fewest=1) == pytest.approx(0.7)


def test_unknown_rows_have_no_say() -> None:
    assert best([0.9, 0.85, 0.8, 0.6, 0.2], [1, -1, 1, 0, 0], fewest=2) == pytest.approx(0.7)


def test_what_cannot_be_trusted_is_never_answered() -> None:
    assert best([0.9, 0.8, 0.1], [1, 1, 0]) == NEVER              # two positives are too few
    assert best([0.9, 0.8, 0.7], [1, 1, 1], fewest=1) == NEVER    # no negative
    assert best([0.1, 0.2, 0.8], [1, 1, 0], fewest=1) == NEVER    # worse than chance
    assert best([0.5, 0.5, 0.5], [1, 1, 0], fewest=1) == NEVER    # no better than chance
    assert best([0.9, 0.1], [-1, -1]) == NEVER                    # nothing known
    assert best([], []) == NEVER


def test_a_score_of_zero_is_never_answered() -> None:
    # two of three positives have score 0 (garments that were not found): answering them is impossible
    assert best([0.8, 0, 0, 0, 0], [1, 1, 1, 0, 0], fewest=2) == pytest.approx(0.4)


def test_scores_that_are_all_zero_are_never_answered() -> None:
    assert best([0, 0, 0, 0], [1, 1, 0, 0], fewest=2) == NEVER


def test_two_negatives_are_as_needed_as_two_positives() -> None:
    assert best([0.9, 0.8, 0.7, 0.1], [1, 1, 1, 0], fewest=2) == NEVER
    assert best([0.9, 0.8, 0.2, 0.1], [1, 1, 0, 0], fewest=2) == pytest.approx(0.5)


def f1(truth: NDArray[np.bool_], said: NDArray[np.bool_]) -> float:
    return float(2 * (truth & said).sum() / (truth.sum() + said.sum()))


@given(seed=st.integers(0, 10_000), num=st.integers(2, 30), distinct=st.integers(1, 12))
@settings(max_examples=60, deadline=None)
def test_no_other_threshold_has_a_higher_f1(seed: int, num: int, distinct: int) -> None:
    rng = np.random.default_rng(seed)
    scores, truth = rng.integers(1, distinct + 1, num) / distinct, rng.random(num) < 0.5
    threshold = best(scores, truth, fewest=1)
    if threshold == NEVER:
        return
    assert LEAST <= threshold < 1
    reached = f1(truth, scores > threshold)
    assert reached == pytest.approx(f1_score(truth, scores > threshold))
    assert reached >= max(f1(truth, scores > other) for other in np.linspace(LEAST, 1, 200)) - 1e-12


def test_neighbouring_floats_are_told_apart() -> None:
    low = 0.3
    high = np.nextafter(low, 1)
    threshold = best([high, high, low, low], [1, 1, 0, 0], fewest=2)
    assert low <= threshold < high


# -- masks ---------------------------------------------------------------------------------------------------


def logit(p: Any) -> Any:
    return np.log(p / (1 - p))


def stripes(*probabilities: list[float], num_masks: int = 3) -> NDArray[np.float32]:
    """(K, 1, W) logits of one row of pixels; a probability of each pixel for each class."""
    return np.array([logit(np.array(row)) for row in probabilities], np.float32).reshape(num_masks, 1, -1)


def test_a_class_that_is_too_shy_gets_a_lower_threshold() -> None:
    # class 0 is true where it says 0.35, and background says 0.1: any threshold between would do
    maps = stripes([0.35, 0.35, 0.1, 0.1], [0.1] * 4, [0.1] * 4)
    assert mask_thresholds([(maps, np.array([[1, 1, 0, 0]]))], [0, 1, 2], 3) == pytest.approx((0.3, 0.5, 0.5))


def test_a_class_that_is_too_bold_gets_a_higher_one() -> None:
    maps = stripes([0.9, 0.75, 0.75, 0.1], [0.1] * 4, [0.1] * 4)
    assert mask_thresholds([(maps, np.array([[1, 0, 0, 0]]))], [0, 1, 2], 3) == pytest.approx((0.8, 0.5, 0.5))


def test_what_need_not_move_stays() -> None:
    maps = stripes([0.9, 0.9, 0.1, 0.1], [0.1, 0.1, 0.9, 0.1], [0.9, 0.1, 0.9, 0.9])
    truth = np.array([[1, 1, 2, 0]])
    # channel 2 does not compete, however loud; a class that the truth never shows keeps 0.5 too
    assert mask_thresholds([(maps, truth)], [0, 1], 3) == (0.5, 0.5, 0.5)
    assert mask_thresholds([], [0, 1], 3) == (0.5, 0.5, 0.5)
    assert mask_thresholds([(maps, np.full((1, 4), IGNORED))], [0, 1], 3) == (0.5, 0.5, 0.5)


def test_thresholds_settle_a_contest() -> None:
    # where coat (0) and jacket (1) both say yes, coat says more and is wrong: coat's threshold must rise
    maps = stripes([0.95, 0.75, 0.75, 0.1], [0.1, 0.7, 0.7, 0.1], [0.1] * 4)
    coat, jacket, _ = mask_thresholds([(maps, np.array([[1, 2, 2, 0]]))], [0, 1, 2], 3)
    assert logit(0.7) - logit(jacket) > logit(0.75) - logit(coat)


def mean_iou(maps: NDArray[np.float64], truth: NDArray[np.int64], thresholds: Sequence[float]) -> float:
    margins = maps - logit(np.array(thresholds))[:, None, None]
    said = np.where(margins.max(0) > 0, margins.argmax(0) + 1, 0)
    pairs = [(((said == c) & (truth == c)).sum(), ((said == c) | (truth == c)).sum()) for c in np.unique(truth)]
    return float(np.mean([both / either for both, either in pairs]))


@given(seed=st.integers(0, 10_000))
@settings(max_examples=15, deadline=None)
def test_the_mean_iou_never_falls_and_the_choice_repeats(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 4, (12, 12))
    bias = rng.normal(size=3)[:, None, None] * 1.5
    maps = np.stack([(truth == c + 1) * 3.0 - 1.5 for c in range(3)]) + bias + rng.normal(size=(3, 12, 12))
    chosen = mask_thresholds([(maps, truth)], [0, 1, 2], 3)
    assert mean_iou(maps, truth, chosen) >= mean_iou(maps, truth, [0.5] * 3) - 1e-12
    assert chosen == mask_thresholds([(maps, truth)], [0, 1, 2], 3)


def test_few_pixels_of_each_photo_are_enough() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, (200, 200))
    maps = ((truth * 2 - 2.0) + rng.normal(size=(200, 200)) * 0.3)[None]
    (few,) = mask_thresholds([(maps, truth)] * 3, [0], 1, pixels_per_photo=300)
    assert mean_iou(maps, truth, [0.5]) < 0.7  # the class is too shy
    assert mean_iou(maps, truth, [few]) > 0.98
