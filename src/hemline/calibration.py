"""Whether a score is a probability: of all answers that score 0.8, are eight of ten right?

Scores fall into `BINS` bins of equal width. In each, the mean score is compared with the share that is true; the
expected calibration error (Guo et al., 1706.04599) is the mean of the differences, weighed by the answers in the bins.

Shapes: N rows (what labels speak of: a photo or a garment), L labels, P photos, B bootstrap resamples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hemline._bootstrap import Floats, figure, ratio, resample

BINS = 10
FEWEST = 15
"""Yes and no each that a label must have to stand among the worst."""
RESAMPLES = 200


@dataclass(frozen=True)
class Bin:
    """Answers whose scores are alike."""

    low: float
    """The least score; the highest is `1 / BINS` above."""
    answers: int
    score: float | None
    """Their mean score, 0..1; None without an answer, as all that follows."""
    true: float | None
    """The share of them that is true, 0..1."""
    true_low: float | None = None
    """Lower end of its 95 % bootstrap interval over photos; None of single labels."""
    true_high: float | None = None


@dataclass(frozen=True)
class Calibration:
    """How well scores are probabilities."""

    name: str
    """The label, or `all`."""
    positives: int
    known: int
    error: float
    """Expected calibration error, 0..1; less is better."""
    bins: list[Bin]


@dataclass(frozen=True)
class CalibrationReport:
    """Of all labels together, and of each."""

    overall: Calibration
    """Each known answer of each label counts alike."""
    labels: list[Calibration]
    """In the order of the label space; labels of which nothing is known are left out."""

    @property
    def worst(self) -> list[Calibration]:
        """The labels with at least `FEWEST` yes and `FEWEST` no, the highest error first."""
        enough = [x for x in self.labels if min(x.positives, x.known - x.positives) >= FEWEST]
        return sorted(enough, key=lambda x: -x.error)


def calibration(
    names: Sequence[str], scores: Floats, truth: NDArray[np.int8], photo: NDArray[np.int64]
) -> CalibrationReport | None:
    """Compare scores with what is true.

    Args:
        names: Of the L labels.
        scores: (N, L) probabilities. Rows of nothing but 0 stand for a garment that was not found: they are left out,
            for nothing was said of it.
        truth: (N, L) 1 yes, 0 no, -1 unknown.
        photo: (N,) which photo each row is of, 0 to P - 1.

    Returns:
        None where nothing is known.
    """
    photos = int(photo.max()) + 1 if len(photo) else 0
    said = scores.any(1)
    overall, labels = np.zeros((photos, BINS, 3)), []
    for index, name in enumerate(names):
        rows = said & (truth[:, index] >= 0)
        sums = _sums(scores[rows, index], truth[rows, index] == 1, photo[rows], photos)
        overall += sums
        if rows.any():
            labels.append(_of_sums(name, sums.sum(0)))
    if not labels:
        return None
    drawn = resample(photos, RESAMPLES)
    spread = (drawn @ overall.reshape(photos, -1)).reshape(RESAMPLES, BINS, 3)
    return CalibrationReport(_of_sums("all", overall.sum(0), ratio(spread[..., 2], spread[..., 0])), labels)


def _sums(scores: Floats, yes: NDArray[np.bool_], photo: NDArray[np.int64], photos: int) -> Floats:
    """(P, BINS, 3) of each photo's answers in each bin: how many, their scores summed, how many are true."""
    place = photo * BINS + np.minimum((scores * BINS).astype(np.int64), BINS - 1)
    sums = [np.bincount(place, weights, photos * BINS) for weights in (np.ones(len(scores)), scores, yes)]
    return np.stack(sums, axis=1).reshape(photos, BINS, 3).astype(np.float64)


def _of_sums(name: str, sums: Floats, spread: Floats | None = None) -> Calibration:
    """Of (BINS, 3) sums, and of the (B, BINS) shares that are true in resamples."""
    answers, scores, true = sums.T
    bins = []
    for i in range(BINS):
        if not answers[i]:
            bins.append(Bin(i / BINS, 0, None, None))
            continue
        share = figure(true[i] / answers[i], np.zeros(0) if spread is None else spread[:, i], 0.0)
        ends = (None, None) if spread is None else (share.low, share.high)
        bins.append(Bin(i / BINS, int(answers[i]), float(scores[i] / answers[i]), share.value, *ends))
    error = float(abs(scores - true).sum() / answers.sum())
    return Calibration(name, int(true.sum()), int(answers.sum()), error, bins)
