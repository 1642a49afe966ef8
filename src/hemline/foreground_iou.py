"""The "IoU" that Tangseng et al. report of clothing parsing: one number a photo, over all its garments at once.

"Looking at Outfit to Parse Clothing", https://arxiv.org/abs/1703.01386, as its code computes it
(https://github.com/pongsate1/fashion-parsing, `compute_IOU`): of each photo the sum over classes, background left
out, of pixels in truth and prediction, divided by the sum over the same classes of pixels in either; then the mean of
the photos. It is **not the mean IoU of classes** (`hemline.metrics`): large classes weigh more, a class that is never
found hardly shows, and a garment of the wrong class counts twice below the line.

Shapes: H W a photo's map, P photos.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hemline._bootstrap import RESAMPLES, Figure, figure, mean, resample
from hemline.metadata import finite
from hemline.metrics import IGNORED


@dataclass(frozen=True)
class ForegroundReport:
    """What it comes to."""

    photos: int
    """Those with foreground in the truth or in the prediction."""
    empty: int
    """Those with neither, which are left out. (The authors' code divides 0 by 0 there, and then has no mean.)"""
    iou: Figure
    """0..1; NaN without photos. The trivial answer is all background."""

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; what cannot be said is None."""
        plain: dict[str, Any] = finite(asdict(self))
        return plain


class ForegroundIoU:
    """Class maps, photo by photo; 0 is background."""

    def __init__(self) -> None:
        self._ious: list[float] = []
        self._drawn = self._empty = 0

    def update(self, predicted: NDArray[np.integer[Any]], truth: NDArray[np.integer[Any]]) -> None:
        """Count one photo; one without a known pixel is passed over.

        Args:
            predicted: (H, W) class numbers.
            truth: (H, W) class numbers, or `hemline.metrics.IGNORED`: such pixels count nowhere.

        Raises:
            ValueError: the maps differ in size.
        """
        if predicted.shape != truth.shape:
            raise ValueError(f"prediction is {predicted.shape}, truth {truth.shape}: resize the logits first")
        known = truth != IGNORED
        if not known.any():
            return
        said, true = predicted[known], truth[known]
        hit = np.count_nonzero((said == true) & (true != 0))
        either = np.count_nonzero(true) + np.count_nonzero(said) - hit
        if either:
            self._ious.append(hit / either)
            self._drawn += bool(true.any())
        else:
            self._empty += 1

    def extend(self, other: ForegroundIoU) -> None:
        """Count the photos of another after one's own."""
        self._ious += other._ious
        self._drawn += other._drawn
        self._empty += other._empty

    def compute(self, *, resamples: int = RESAMPLES, seed: int = 0) -> ForegroundReport:
        """The mean of all photos so far, with its 95 % interval over photos."""
        ious = np.array(self._ious)
        spread = resample(len(ious), resamples, seed) @ ious / len(ious) if len(ious) else ious
        trivial = 0.0 if self._drawn else np.nan          # where nothing is drawn, all background has no IoU
        return ForegroundReport(len(ious), self._empty, figure(mean(ious), spread, trivial))
