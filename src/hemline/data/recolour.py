"""Garments in other colours, and rectangles of a photo hidden: both change pixels, and no label.

Shapes: H W canvas, S segments, K mask classes.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from hemline.config import Augment
from hemline.data.augment import on_segments, pixels
from hemline.data.sample import EITHER, UNKNOWN, Sample

LIGHTER = 40.0
"""Largest change of a garment's lightness, of 100."""
LIGHTNESS = (14.0, 88.0)
"""Between these lies the mean lightness that a garment is given."""
CHROMA = 60.0
"""Largest mean chroma (distance from grey in Lab) that a garment is given."""
CONTRAST = (0.6, 1.4)
"""Between these lies the factor of a garment's shading, which follows its lightness."""
AROUND = 0.02
"""Width of the ring around a garment in which unsure pixels are counted, as a share of the canvas."""
MOST_UNSURE = 0.35
"""Share of that ring above which what is drawn may be a patch of a garment, which is not repainted."""
RECTANGLE = (0.02, 0.15)
"""Least and largest share of the canvas that a rectangle hides."""
LONGEST = 3.0
"""Largest ratio of a rectangle's sides."""
MOST_HIDDEN = 0.5
"""Share of any drawn garment that a rectangle may hide."""
TRIES = 4
"""Rectangles that are drawn until one does."""


def recolour_sample(
    sample: Sample, settings: Augment, num_categories: int, generator: np.random.Generator
) -> Sample:
    """Give some garments another colour, and hide a rectangle.

    Args:
        sample: A sample on its canvas.
        settings: How often, see `hemline.config.Augment`.
        num_categories: Mask classes below it are garments, the others are hair, skin and the like.
        generator: The only source of randomness.
    """
    if settings.repaint > 0:
        sample = replace(sample, photo=_repainted(sample, settings.repaint, num_categories, generator))
    if generator.random() < settings.erase and len(sample.targets) > 1:
        sample = replace(sample, photo=_erased(sample, generator))
    return sample


def _repainted(
    sample: Sample, share: float, num_categories: int, generator: np.random.Generator
) -> NDArray[np.uint8]:
    """The photo (H, W, 3) with other colours on some of its drawn garments."""
    is_some = (sample.targets == 1) | (sample.targets == EITHER)
    paintable = is_some[:, :num_categories].any(1) & ~is_some[:, num_categories:].any(1)
    unsure = (sample.targets == UNKNOWN).any(1) & ~is_some.any(1)
    unsure[0] = False                                     # of the background
    perhaps = on_segments(unsure, sample.segments)
    photo = sample.photo.copy()
    for segments in dict.fromkeys(region.segments for region in sample.regions if region.drawn):
        if generator.random() < share:
            members = np.zeros(len(sample.targets), np.bool_)
            members[list(segments)] = True
            mask = on_segments(members & paintable, sample.segments)
            if not _is_patch(mask, perhaps):
                _paint(photo, mask, generator)
    return photo


def _is_patch(mask: NDArray[np.uint8], perhaps: NDArray[np.uint8]) -> bool:
    """Whether so much around a mask is unsure that it may be a patch of a larger garment; both are (H, W)."""
    side = 2 * round(AROUND * max(mask.shape)) + 1
    x, y, width, height = cv2.boundingRect(mask)
    box = slice(max(y - side, 0), y + height + side), slice(max(x - side, 0), x + width + side)
    ring = np.asarray(cv2.dilate(mask[box], np.ones((side, side), np.uint8)), np.uint8) & (1 - mask[box])
    return bool(np.count_nonzero(ring & perhaps[box]) > MOST_UNSURE * np.count_nonzero(ring))


def _paint(photo: NDArray[np.uint8], mask: NDArray[np.uint8], generator: np.random.Generator) -> None:
    """Give what lies under a mask (H, W) another mean colour, in place; its shading and its pattern stay.

    In Lab, colours move by their mean's way to another lightness, hue and chroma, and their differences from the mean
    turn with the hue.
    """
    lighter, hue, chroma = generator.uniform((-LIGHTER, 0, 0), (LIGHTER, 2 * np.pi, CHROMA))
    x, y, width, height = cv2.boundingRect(mask)
    if min(width, height) == 0:
        return
    box = slice(max(y - 2, 0), y + height + 2), slice(max(x - 2, 0), x + width + 2)
    crop, inside = photo[box].astype(np.float32) / 255, mask[box]
    lab = cv2.cvtColor(crop, cv2.COLOR_RGB2Lab)
    mean = np.array(cv2.mean(lab, inside)[:3])
    lightness = float(np.clip(mean[0] + lighter, *LIGHTNESS))
    contrast = np.clip(lightness / max(mean[0], 1.0), *CONTRAST)
    turn = hue - np.arctan2(mean[2], mean[1])
    matrix = np.array([[contrast, 0, 0], [0, np.cos(turn), -np.sin(turn)], [0, np.sin(turn), np.cos(turn)]])
    shift = np.array([lightness, chroma * np.cos(hue), chroma * np.sin(hue)]) - matrix @ mean
    other = cv2.cvtColor(cv2.transform(lab, np.column_stack([matrix, shift])), cv2.COLOR_Lab2RGB)
    alpha = (cv2.GaussianBlur(inside.astype(np.float32), (5, 5), 0) * inside)[..., None]
    photo[box] = np.rint(255 * (crop + alpha * (np.clip(other, 0, 1) - crop))).astype(np.uint8)


def _erased(sample: Sample, generator: np.random.Generator) -> NDArray[np.uint8]:
    """The photo (H, W, 3) with a rectangle of noise or of one colour (Zhong et al., 2017).

    https://arxiv.org/abs/1708.04896. One that would hide most of a drawn garment is not taken: its labels could be
    read from nothing.
    """
    assert sample.valid is not None
    rows, columns = sample.segments.shape
    full = pixels(sample.segments, len(sample.targets), sample.valid)
    garments = [list(region.segments) for region in sample.regions if region.drawn]
    for _ in range(TRIES):
        area = generator.uniform(*RECTANGLE) * rows * columns
        ratio = np.exp(generator.uniform(-np.log(LONGEST), np.log(LONGEST)))
        height, width = min(rows, round(np.sqrt(area * ratio))), min(columns, round(np.sqrt(area / ratio)))
        top, left = generator.integers(rows - height + 1), generator.integers(columns - width + 1)
        box = slice(top, top + height), slice(left, left + width)
        seen = sample.valid.copy()
        seen[box] = 0
        hidden = full - pixels(sample.segments, len(full), seen)
        if all(hidden[own].sum() <= MOST_HIDDEN * full[own].sum() for own in garments):
            noise = generator.random() < 0.5
            fill = generator.integers(0, 256, (height, width, 3) if noise else (1, 1, 3), np.uint8)
            photo = sample.photo.copy()
            photo[box] = np.where(sample.valid[box][..., None] > 0, fill, photo[box])
            return photo
    return sample.photo
