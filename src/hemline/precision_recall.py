"""Precision-recall curves: what a label's threshold gives, and what others would."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hemline._bootstrap import Floats

MOST_POINTS = 101
"""Of a curve: recalls as evenly spaced as there are."""


class Point(NamedTuple):
    """What answering at a score, and above, gives."""

    score: float
    precision: float
    """Share of the answers that is right, 0..1."""
    recall: float
    """Share of what is true that is answered, 0..1."""


def precision_recall(scores: Floats, yes: NDArray[np.bool_], most: int = MOST_POINTS) -> list[Point]:
    """The curve of a label, from the least recall to 1; empty where nothing is true.

    There is a point at each distinct score; of more than `most`, the first at or above evenly spaced recalls. Of
    those with recall 1 there are the first and the last, which answers everything.

    Args:
        scores: (N,) higher means yes.
        yes: (N,) the truth.
        most: Points of which recall is chosen; one more answers everything.
    """
    if not yes.any():
        return []
    order = np.argsort(-scores, kind="stable")
    scores, hits = scores[order], np.cumsum(yes[order])
    ends = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)     # the last row of each distinct score
    precision, recall = hits[ends] / (ends + 1), hits[ends] / hits[-1]
    chosen = np.arange(np.searchsorted(recall, 1.0) + 1)                   # beyond it nothing is gained
    if len(chosen) > most:
        chosen = np.unique(np.searchsorted(recall, np.linspace(recall[0], 1.0, most)))
    chosen = np.union1d(chosen, [len(ends) - 1])
    return [Point(float(scores[ends[i]]), float(precision[i]), float(recall[i])) for i in chosen]
