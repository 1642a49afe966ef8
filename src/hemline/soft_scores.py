"""Soft IoU and F1, as Keras `segmentation_models` 1.0 computes them and clothing-segmentation reports them.

https://github.com/qubvel/segmentation_models, base/functional.py; https://github.com/mberkay0/clothing-segmentation.
Probabilities are summed as they are, without a threshold, over all pixels of a batch of photos, class by class, with
background as a class; a batch's score is the mean of its classes, and a set's the mean of its batches. So an unsure
answer scores less than the mask that is drawn from it, a class that a batch does not show scores nearly 0 there, and
figures depend on the order of the photos. They are no substitute for `hemline.metrics`, which says what users see.

The network reads photos as it always does, on its own canvas; its answer and the truth are then squashed to 256 x 256.
Where the truth is unknown, or two classes at once, a pixel counts in no sum (clothing-segmentation takes the class of
the larger number there).

Shapes: C classes with background as the first, K = C - 1 competing mask classes, P photos, H W a photo's map, h w the
mask head's map.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from hemline._regions import rivals
from hemline.metrics import IGNORED
from hemline.photo import Frame, unplace

SIDE = 256
"""Height and width of the maps that are compared."""
BATCH = 8
"""Photos whose pixels are summed before dividing."""
SMOOTH = 1e-5
"""Added to both sides of a quotient."""


@dataclass(frozen=True)
class SoftScore:
    """One class; 0..1."""

    name: str
    iou: float
    f1: float


@dataclass(frozen=True)
class SoftReport:
    """The scores of a set; 0..1."""

    photos: int
    """Those in whole batches."""
    batches: int
    iou: float
    """Mean of the classes."""
    f1: float
    classes: list[SoftScore]
    """Background first; each the mean of its batches."""


class SoftScores:
    """Soft scores of a set, collected photo by photo.

    Args:
        classes: Names of the C classes; the first is background.
    """

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = list(classes)
        self._photos: list[NDArray[np.float64]] = []

    def update(self, chance: NDArray[np.floating[Any]], truth: NDArray[np.uint8]) -> None:
        """Count one photo, unless nothing is known of it.

        Args:
            chance: (C, H, W) probabilities that sum to 1.
            truth: (H, W) the number of each pixel's class, or `IGNORED`.
        """
        if (truth != IGNORED).any():
            self._photos.append(sums(chance, truth))

    def extend(self, other: SoftScores) -> None:
        """Count the photos of another of the same classes after one's own."""
        self._photos += other._photos

    def compute(self) -> SoftReport | None:
        """The scores of all photos so far; None without any.

        A last batch that is not full is left out, unless it is the only one.
        """
        if not self._photos:
            return None
        batches = max(1, len(self._photos) // BATCH)
        photos = self._photos[: batches * BATCH]
        summed = [np.sum(photos[i : i + BATCH], axis=0) for i in range(0, len(photos), BATCH)]
        scores = np.mean([soft_scores(batch) for batch in summed], axis=0)                     # (2, C)
        iou, f1 = scores.mean(1)
        classes = [SoftScore(name, float(a), float(b)) for name, a, b in zip(self.classes, *scores, strict=True)]
        return SoftReport(len(photos), batches, float(iou), float(f1), classes)


def sums(chance: NDArray[np.floating[Any]], truth: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(3, C): over the known pixels, each class's probability where it is true, its probability, and its pixels.

    Args:
        chance: (C, H, W).
        truth: (H, W).
    """
    known = truth != IGNORED
    said = chance[:, known].astype(np.float64)                                 # (C, n)
    true = truth[known] == np.arange(len(chance))[:, None]                     # (C, n)
    return np.stack([(said * true).sum(1), said.sum(1), true.sum(1)])


def soft_scores(summed: NDArray[np.float64]) -> NDArray[np.float64]:
    """The sums (3, C) of a batch -> (2, C) IoU and F1 of each class."""
    overlap, said, true = summed
    iou = (overlap + SMOOTH) / (said + true - overlap + SMOOTH)
    f1 = (2 * overlap + SMOOTH) / (said + true + SMOOTH)
    return np.stack([iou, f1])


def chances(logits: NDArray[np.float32], frame: Frame, canvas: tuple[int, int]) -> NDArray[np.floating[Any]]:
    """Probabilities (1 + K, 256, 256) of background and each class, whose logits were brought to that size.

    They are the softmax over nobody, whose logit is 0, and the classes, whichever way the masks were trained: so reads
    `hemline.losses.answers`, on which the cross-entropy of the one answer of each pixel rests.

    Args:
        logits: (K, h, w) of the competing classes.
        frame: Where the photo lies on the canvas.
        canvas: (height, width).
    """
    return rivals(unplace(logits, frame, canvas, (SIDE, SIDE)).astype(np.float64))


def squashed(truth: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W) class numbers -> (256, 256), each the one under its centre."""
    return np.asarray(cv2.resize(truth, (SIDE, SIDE), interpolation=cv2.INTER_NEAREST_EXACT), np.uint8)
