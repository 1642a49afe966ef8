"""The least score and the least area of garments found one by one, chosen by F1."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hemline.data.instance_truth import instance
from hemline.instance_thresholds import AREAS, found_f1, instance_thresholds
from hemline.instances import Instance, ScoredPhoto
from hemline.thresholds import NEVER

SIZE = (20, 50)


def box(x: int, width: int = 10, category: int = 7, score: float = 1.0, *, crowd: bool = False) -> Instance:
    """Columns `x` to `x + width` of a photo of 20 x 50."""
    mask = np.zeros(SIZE, np.bool_)
    mask[:, x : x + width] = True
    one = instance(mask, category)
    return Instance(one.category, one.mask, one.box, score=score, crowd=crowd)


def photo(truth: Sequence[Instance], found: Sequence[Instance]) -> ScoredPhoto:
    return ScoredPhoto("x", SIZE, list(truth), list(found))


def test_the_score_with_the_best_f1_is_half_way_between_two() -> None:
    right = photo([box(0)], [box(0, score=0.9), box(30, score=0.2)])
    shy = photo([box(10)], [box(10, score=0.6), box(30, score=0.4)])
    scores, areas = instance_thresholds([right, shy], [7], fewest=2)
    assert scores == pytest.approx((0.5,))
    assert areas == (0.0,)
    assert found_f1([right, shy], [7]) == pytest.approx((4 / 6, 4 / 6))
    assert found_f1([right, shy], [7], scores, areas) == (1, 1)


def test_a_drawn_garment_is_found_once() -> None:
    twice = photo([box(0, 20)], [box(0, 18, score=0.9), box(0, 20, score=0.8)])
    assert found_f1([twice], [7])[0] == pytest.approx(2 / 3)
    scores, _ = instance_thresholds([twice] * 5, [7], fewest=5)
    assert scores == pytest.approx((0.85,))
    beside = photo([box(0, 20), box(20, 20)], [box(0, 20, score=0.9), box(20, 20, score=0.8)])
    assert found_f1([beside], [7])[0] == 1


def test_half_in_common_is_found_and_less_is_not() -> None:
    assert found_f1([photo([box(0, 20)], [box(0, 10)])], [7])[0] == 1
    assert found_f1([photo([box(0, 20)], [box(0, 9)])], [7])[0] == 0
    assert found_f1([photo([box(0, 20, 3)], [box(0, 20, 7)])], [3, 7])[0] == 0


def test_small_ones_are_left_out_where_they_are_wrong() -> None:
    photos = [photo([box(0, 20)], [box(0, 20, score=0.6), box(45, 1, score=0.9)]) for _ in range(5)]
    scores, areas = instance_thresholds(photos, [7], fewest=5)                # the speck covers 2 %
    assert areas == (0.05,)
    assert scores[0] <= 0.6
    assert found_f1(photos, [7], scores, areas)[0] == 1
    assert found_f1(photos, [7], scores)[0] == pytest.approx(2 / 3)


def test_what_lies_on_a_crowd_is_neither_right_nor_wrong() -> None:
    crowd = photo([box(0), box(20, 30, crowd=True)], [box(0, score=0.5), box(25, score=0.9), box(40, score=0.8)])
    assert found_f1([crowd], [7])[0] == 1
    scores, _ = instance_thresholds([crowd] * 5, [7], fewest=5)
    assert scores[0] <= 0.5
    other = photo([box(0), box(20, 30, 3, crowd=True)], [box(0, score=0.5), box(25, score=0.9)])
    assert found_f1([other], [7])[0] == pytest.approx(2 / 3)                  # a crowd of another category


def test_what_is_never_right_is_never_found_however_sure() -> None:
    photos = [photo([box(0)], [box(30)])] * 5
    scores, areas = instance_thresholds([*photos], [7], fewest=5)
    assert scores == (NEVER,)
    both = [photo([box(0)], [box(0), box(30)])]
    assert found_f1(both, [7], scores, areas)[0] == 0
    assert found_f1(both, [7])[0] == pytest.approx(2 / 3)


def test_rare_categories_take_what_suits_all() -> None:
    common = [photo([box(0)], [box(0, score=0.9), box(30, score=0.6)]) for _ in range(9)]
    rare = photo([box(0, category=3)], [box(0, category=3, score=0.3)])
    scores, _ = instance_thresholds([*common, rare], [3, 7], fewest=5)
    assert scores == pytest.approx((0.75, 0.75))
    own, _ = instance_thresholds([*common, rare], [3, 7], fewest=1)
    assert own == pytest.approx((0.15, 0.75))
    assert instance_thresholds([rare], [3, 7], fewest=2) == ((), ())
    assert instance_thresholds([], [3]) == ((), ())


def test_what_is_never_right_is_not_said() -> None:
    photos = [photo([box(0)], [box(30, score=0.9)]) for _ in range(5)]
    assert instance_thresholds(photos, [7], fewest=5) == ((NEVER,), (0.0,))
    assert instance_thresholds([photo([box(0)], [])] * 5, [7], fewest=5) == ((NEVER,), (0.0,))
    assert all(math.isnan(value) for value in found_f1([photo([], [box(0)])], [7]))


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_no_other_thresholds_are_better(seed: int) -> None:
    generator = np.random.default_rng(seed)

    def some(number: int) -> list[Instance]:
        return [
            box(int(x), int(w), score=float(s))
            for x, w, s in zip(
                generator.integers(0, 45, number), generator.integers(1, 20, number),
                generator.integers(1, 9, number) / 10, strict=True,
            )
        ]  # fmt: skip

    photos = [photo(some(3), some(5)) for _ in range(4)]
    scores, areas = instance_thresholds(photos, [7], fewest=1)
    best = found_f1(photos, [7], scores, areas)[0]
    others = [found_f1(photos, [7], [s], [a])[0] for s in np.arange(0.05, 1, 0.1) for a in AREAS]
    assert best >= max(others) - 1e-12
