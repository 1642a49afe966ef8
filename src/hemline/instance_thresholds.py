"""The least score and the least area that garments found one by one are reported with, chosen on validation photos.

Shapes: N garments found, T drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco  # type: ignore[import-untyped]  # pycocotools ships no types

from hemline._bootstrap import Floats
from hemline.instances import ScoredPhoto
from hemline.thresholds import NEVER

LEAST_IOU = 0.5
"""A garment is found where its mask and the drawn one have this much in common."""
FEWEST = 20
"""A category with fewer drawn garments takes what suits all categories together."""
AREAS = (0.0, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 0.01, 0.02, 0.05)
"""Shares of the photo to choose from."""


class _Compared(NamedTuple):
    """The garments of one category in one photo, surest first."""

    scores: Floats
    """(N,)."""
    areas: Floats
    """(N,) shares of the photo."""
    ious: Floats
    """(N, T) with the drawn ones."""
    ignored: NDArray[np.bool_]
    """(N,) lies on a crowd: neither right nor wrong, unless it is one of the drawn."""


def instance_thresholds(
    photos: Sequence[ScoredPhoto], categories: Sequence[int], *, fewest: int = FEWEST
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """For each category the least score and the least area with the highest F1 of what is found at IoU 0.5.

    Answers, surest first, each take the drawn garment that they overlap most and that none has taken. A category with
    fewer than `fewest` drawn garments takes the thresholds that suit all categories together best. Of equals, the
    higher score and the smaller area are chosen; where nothing found is right, the score is `NEVER`.

    Args:
        photos: What each shows, with everything that was found there.
        categories: The publisher's numbers, in the label space's order.
        fewest: Drawn garments that a category must have.

    Returns:
        Scores, one a category, and areas, shares of the photo; both empty where fewer than `fewest` are drawn in all.
    """
    each = {number: _compared(photos, number) for number in categories}
    drawn = {number: sum(one.ious.shape[1] for one in compared) for number, compared in each.items()}
    if sum(drawn.values()) < max(fewest, 1):
        return (), ()
    together = _best([one for compared in each.values() for one in compared])
    chosen = [_best(each[number]) if drawn[number] >= max(fewest, 1) else together for number in categories]
    return tuple(best.score for best in chosen), tuple(best.area for best in chosen)


def highest_f1(photos: Sequence[ScoredPhoto], categories: Sequence[int]) -> float:
    """F1 as of `found_f1`, over all garments, at the one least score and area for all categories that suit it best."""
    return _best([one for number in categories for one in _compared(photos, number)]).f1


def found_f1(
    photos: Sequence[ScoredPhoto],
    categories: Sequence[int],
    scores: Sequence[float] = (),
    areas: Sequence[float] = (),
) -> tuple[float, float]:
    """F1 of what is found at IoU 0.5 where only answers count that pass thresholds, 0..1; NaN where nothing is drawn.

    Args:
        photos: As of `instance_thresholds`.
        categories: Likewise.
        scores: Least score of each category; all answers pass where empty.
        areas: Least share of the photo of each category; likewise.

    Returns:
        F1 over all garments, and the mean of F1 over the categories that are drawn.
    """
    of_each, hits, rows = [], 0.0, 0.0
    for i, number in enumerate(categories):
        compared = _compared(photos, number)
        judged = [row for one in compared for row in _judge(one, areas[i] if areas else 0.0)]
        found = [right for score, right in judged if not scores or NEVER > scores[i] <= score]
        hit, counted = sum(found), len(found) + sum(one.ious.shape[1] for one in compared)
        hits, rows = hits + hit, rows + counted
        if any(one.ious.shape[1] for one in compared):
            of_each.append(2 * hit / counted)
    return (2 * hits / rows, float(np.mean(of_each))) if of_each else (float("nan"), float("nan"))


def _compared(photos: Sequence[ScoredPhoto], category: int) -> list[_Compared]:
    compared = []
    for photo in photos:
        truth = [one for one in photo.truth if one.category == category]
        drawn = [one.mask for one in truth if not one.crowd]
        crowds = [one.mask for one in truth if one.crowd]
        found = sorted((one for one in photo.found if one.category == category), key=lambda one: -one.score)
        masks = [one.mask for one in found]
        areas = coco.area(masks) if masks else np.zeros(0)
        on_crowds = _ious(masks, crowds, crowd=True)
        compared.append(
            _Compared(
                np.array([one.score for one in found], np.float64),
                np.asarray(areas, np.float64) / (photo.size[0] * photo.size[1]),
                _ious(masks, drawn, crowd=False),
                np.asarray((on_crowds >= LEAST_IOU).any(1)),
            )
        )
    return compared


def _ious(found: Sequence[object], truth: Sequence[object], *, crowd: bool) -> Floats:
    """(N, T); with crowds, the share of what was found that lies on them."""
    if not found or not truth:
        return np.zeros((len(found), len(truth)))
    return np.asarray(coco.iou(list(found), list(truth), [int(crowd)] * len(truth)), np.float64)


def _judge(one: _Compared, least_area: float) -> list[tuple[float, float]]:
    """The score of each answer that is large enough, and 1 where it is right, 0 where it is wrong."""
    judged, free = [], np.ones(one.ious.shape[1], np.bool_)
    for n in np.flatnonzero(one.areas >= least_area).tolist():
        ious = np.where(free, one.ious[n], 0.0)
        if ious.max(initial=0.0) >= LEAST_IOU:
            free[ious.argmax()] = False
            judged.append((float(one.scores[n]), 1.0))
        elif not one.ignored[n]:
            judged.append((float(one.scores[n]), 0.0))
    return judged


class _Best(NamedTuple):
    """The least score and the least area with the highest F1."""

    f1: float
    score: float
    area: float


def _best(compared: Sequence[_Compared]) -> _Best:
    drawn = sum(one.ious.shape[1] for one in compared)
    best = _Best(0.0, NEVER, 0.0)
    for area in AREAS:
        judged = np.array([row for one in compared for row in _judge(one, area)]).reshape(-1, 2)
        judged = judged[np.argsort(-judged[:, 0], kind="stable")]
        if not len(judged):
            break
        scores = judged[:, 0]
        ends = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)   # answering up to each distinct score
        f1 = 2 * np.cumsum(judged[:, 1])[ends] / (ends + 1 + drawn)
        last = int(ends[f1.argmax()])
        if f1.max() > best.f1:
            below = scores[last + 1] if last + 1 < len(scores) else 0.0
            best = _Best(float(f1.max()), float((scores[last] + below) / 2), area)
    return best
