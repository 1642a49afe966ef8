"""How well garments are drawn by their size: the share of the photo that they take.

A garment is all that a photo's truth shows of one class. What is drawn where the photo shows nothing of the class has
no true size, and counts in no row.

Shapes: P photos, C classes (0 is background).
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from hemline._bootstrap import Figure, figure, ratio, resample
from hemline.metrics import MaskScores

SIZES = ("small", "medium", "large")
EDGES = (0.0, 0.01, 0.1, 1.0)
"""Shares of the photo's known pixels between which the sizes lie; each edge belongs to the larger size."""
FOUND = 0.5
"""IoU from which on a garment counts as found."""


@dataclass(frozen=True)
class SizeScore:
    """Garments of one size."""

    size: str
    """One of `SIZES`."""
    least: float
    """Share of the photo's known pixels, 0..1."""
    garments: int
    photos: int
    """Photos that show any."""
    iou: Figure
    """Mean IoU of the garments, each of its photo alone; beside it 0, what all background scores."""
    found: Figure
    """Share of them with an IoU of at least `FOUND`."""


def size_scores(masks: MaskScores, garments: Set[str]) -> list[SizeScore]:
    """The scores of each size; one that no garment has is left out.

    Args:
        masks: The photos' maps.
        garments: The classes that are garments; the others are background, skin, hair and the like.
    """
    hit, true, said = masks.sums()
    taken = [c for c, name in enumerate(masks.classes) if c and name in garments]
    share = ratio(true, np.broadcast_to(true.sum(1, keepdims=True), true.shape))[:, taken]
    iou = ratio(hit, true + said - hit)[:, taken]
    drawn = resample(len(masks))
    scores = []
    for size, (least, most) in zip(SIZES, pairwise(EDGES), strict=True):
        here = (share > 0) & (share >= least) & ((share < most) | (most == EDGES[-1]))
        if not here.any():
            continue
        count = here.sum(1)                                                        # (P,)
        figures = []
        for value in (iou, iou >= FOUND):
            of_photo = np.where(here, value, 0).sum(1)
            figures.append(figure(of_photo.sum() / count.sum(), ratio(drawn @ of_photo, drawn @ count), 0.0))
        scores.append(SizeScore(size, least, int(count.sum()), int((count > 0).sum()), *figures))
    return scores
