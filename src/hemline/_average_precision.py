"""Average precision, vectorised over the resamples of a bootstrap.

Shapes: N rows (what labels speak of: a photo or a garment), P photos, B bootstrap resamples.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hemline._bootstrap import Floats, ratio

MOST_CELLS = 4_000_000
"""Numbers that one step of a bootstrap may hold, so that large sets stay small in memory."""


def average_precision(
    scores: Floats,
    yes: NDArray[np.bool_],
    photo: NDArray[np.int64] | None = None,
    drawn: Floats | None = None,
) -> Floats:
    """Average precision as scikit-learn defines it (a step at each distinct score), for B weightings at once.

    Args:
        scores: (N,) higher means yes.
        yes: (N,) the truth.
        photo: (N,) which photo each row is of.
        drawn: (B, P) how often each photo counts; without it every row counts once, and B is 1.

    Returns:
        (B,) 0..1; NaN where the rows that count are all yes or all no.
    """
    order = np.argsort(-scores, kind="stable")
    scores, yes = scores[order], yes[order]
    weights = np.ones((1, len(yes))) if drawn is None or photo is None else drawn
    rows = np.arange(len(yes)) if drawn is None or photo is None else photo[order]
    ends = np.append(np.flatnonzero(np.diff(scores)), len(yes) - 1)  # the last row of each distinct score
    step = max(1, MOST_CELLS // len(yes))
    results = []
    for start in range(0, len(weights), step):
        counted = weights[start : start + step, rows]                # (b, N)
        answered = np.cumsum(counted, axis=1)[:, ends]
        hits = np.cumsum(counted * yes, axis=1)[:, ends]
        gained = np.diff(hits, prepend=0, axis=1)
        total = hits[:, -1]
        area = (gained * hits / np.maximum(answered, 1)).sum(1)
        results.append(np.where(total < answered[:, -1], ratio(area, total), np.nan))
    return np.concatenate(results)
