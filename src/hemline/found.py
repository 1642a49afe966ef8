"""Garments that were found in one photo, one by one, whatever network found them: what `hemline.result` reports.

Shapes: N garments, L labels, H W photo, h w a garment's box, m side of a mask's own grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from hemline._regions import Maps, find_regions, sigmoid
from hemline.masks import Mask
from hemline.metadata import Metadata
from hemline.photo import Frame
from hemline.runtime import Detections
from hemline.thresholds import NEVER

MASK_PROBABILITY = 0.5
"""Above it, a pixel within a found box is the garment."""

LIKELY = 0.5
"""Least score of an instance that is reported by weights whose least scores were never chosen."""


class Found(NamedTuple):
    """One garment, before thresholds choose."""

    category: int
    """Its position in `LabelSpace.categories`."""
    score: float
    """0..1."""
    box: tuple[int, int, int, int]
    """(x, y, width, height) in pixels, around the mask."""
    crop: Mask
    """(height, width) of the box: True on the garment, somewhere at least."""
    labels: NDArray[np.float32]
    """(L,) logits of what is said of it."""

    def mask(self, size: tuple[int, int]) -> Mask:
        """(H, W) True on the garment, in a photo of that size."""
        whole = np.zeros(size, np.bool_)
        x, y, width, height = self.box
        whole[y : y + height, x : x + width] = self.crop
        return whole


def of_detections(detections: Detections, frame: Frame) -> list[Found]:
    """What an instance network answers on the canvas -> garments of the photo, surest first.

    A mask's cells are read bilinearly at the middle of each pixel of its box. What has no pixel is left out.

    Args:
        detections: Of one photo.
        frame: Where the photo lies on the canvas.
    """
    found = []
    for i in np.argsort(-detections.scores, kind="stable").tolist():
        drawn = _paste(detections.masks[i], detections.boxes[i], frame)
        if drawn is not None:
            box, crop = drawn
            found.append(
                Found(int(detections.classes[i]), float(detections.scores[i]), box, crop, detections.labels[1 + i])
            )
    return found


def of_maps(maps: Maps, labels: NDArray[np.float32], wanted: int) -> list[Found]:
    """What a network that draws classes answers -> garments of the photo, surest first: connected parts of classes.

    Pixels touch by their sides and corners. A part scores the mean probability of its pixels, shifted so that the
    threshold is 0.5; what is said of it is what the network says of all its class.

    Args:
        maps: The mask logits of one photo.
        labels: (1 + K, L) logits: of the whole photo, then under the mask of each class.
        wanted: Classes below it are garments.
    """
    found = []
    for k, region in find_regions(maps, wanted).items():
        x, y, width, height = cv2.boundingRect(region.mask.view(np.uint8))
        inside = region.mask[y : y + height, x : x + width]
        chance = sigmoid(maps.at_full_size(k)[y : y + height, x : x + width] - maps.thresholds[k])
        number, of_part, stats, _ = cv2.connectedComponentsWithStats(inside.view(np.uint8), connectivity=8)
        for part in range(1, number):
            left, top, across, down, _ = stats[part].tolist()
            crop = slice(top, top + down), slice(left, left + across)
            mask = of_part[crop] == part
            score = float(chance[crop][mask].mean())
            found.append(Found(k, score, (x + left, y + top, across, down), mask, labels[1 + k]))
    return sorted(found, key=lambda one: -one.score)


def reported(found: Sequence[Found], metadata: Metadata, size: tuple[int, int]) -> list[Found]:
    """Those that score and cover as much as the weights ask of their category.

    Args:
        found: Garments.
        metadata: Of the weights; `instance_scores` and `instance_areas` count. Where no scores were chosen, a network
            that finds instances must be `LIKELY` right.
        size: (H, W) of the photo.
    """
    count = len(metadata.labels.categories)
    usual = LIKELY if metadata.finds == "instances" else 0.0
    scores, areas = metadata.instance_scores or (usual,) * count, metadata.instance_areas or (0.0,) * count
    return [
        one for one in found
        if NEVER > scores[one.category] <= one.score
        and np.count_nonzero(one.crop) >= areas[one.category] * size[0] * size[1]
    ]  # fmt: skip


def _paste(
    cells: NDArray[np.float32], box: NDArray[np.float32], frame: Frame
) -> tuple[tuple[int, int, int, int], Mask] | None:
    """The box around the pixels of a mask, and they; None where there are none.

    Args:
        cells: (m, m) probabilities.
        box: (4,) x0, y0, x1, y1 on the canvas.
        frame: Where the photo lies on the canvas.
    """
    scale = np.array([frame.photo_width / frame.width, frame.photo_height / frame.height] * 2)
    x0, y0, x1, y1 = ((box - [frame.left, frame.top, frame.left, frame.top]) * scale).tolist()
    left, top = max(0, int(np.floor(x0))), max(0, int(np.floor(y0)))
    right, bottom = min(frame.photo_width, int(np.ceil(x1))), min(frame.photo_height, int(np.ceil(y1)))
    if right <= left or bottom <= top or x1 <= x0 or y1 <= y0:
        return None
    across, down = cells.shape[1] / (x1 - x0), cells.shape[0] / (y1 - y0)
    to_cells = np.array(
        [[across, 0, (left + 0.5 - x0) * across - 0.5], [0, down, (top + 0.5 - y0) * down - 0.5]], np.float64
    )
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    size = (right - left, bottom - top)
    chance = cv2.warpAffine(cells, to_cells, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    mask = np.asarray(chance) > MASK_PROBABILITY
    if not mask.any():
        return None
    x, y, width, height = cv2.boundingRect(mask.view(np.uint8))
    return (left + x, top + y, width, height), mask[y : y + height, x : x + width]
