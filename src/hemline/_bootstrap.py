"""Figures with their 95 % intervals: percentile bootstraps over photos, vectorised.

Shapes: P photos, B bootstrap resamples.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
RESAMPLES = 1000


@dataclass(frozen=True)
class Figure:
    """One measured number; NaN where it cannot be said."""

    value: float
    low: float
    """Lower end of the 95 % bootstrap interval over photos."""
    high: float
    """Upper end of it."""
    trivial: float
    """What the trivial answer scores: all background, or the label's frequency."""


def resample(photos: int, resamples: int = RESAMPLES, seed: int = 0) -> Floats:
    """(B, P) how often each photo is drawn in each bootstrap resample; the same seed gives the same draws."""
    if not photos:
        return np.zeros((resamples, 0))
    drawn = np.random.default_rng(seed).integers(photos, size=(resamples, photos))
    drawn += photos * np.arange(resamples)[:, None]  # a bin of its own for each photo of each resample
    counts = np.bincount(drawn.ravel(), minlength=resamples * photos)
    return counts.reshape(resamples, photos).astype(np.float64)


def figure(value: float | Floats, spread: Floats, trivial: float | Floats) -> Figure:
    """A number with the 95 % interval of its bootstrap `spread` (B,), of which NaN draws are left out."""
    spread = spread[~np.isnan(spread)]
    low, high = np.percentile(spread, (2.5, 97.5)) if spread.size else (np.nan, np.nan)
    return Figure(float(value), float(low), float(high), float(trivial))


def ratio(part: float | Floats, whole: float | Floats) -> Floats:
    """Their quotient; NaN where the whole is 0."""
    part, whole = np.asarray(part, np.float64), np.asarray(whole, np.float64)
    quotient: Floats = np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)
    return quotient


def mean(values: Floats) -> Floats:
    """The mean over the last axis without NaN; NaN where nothing is left."""
    there = ~np.isnan(values)
    return ratio(np.where(there, values, 0).sum(-1), there.sum(-1))
