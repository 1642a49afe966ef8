"""From a sample to its canvas: a random near crop, scale, turn, flip and colours, or none of it.

Where several segments are drawn, a photo can also be seen from near: head and shoulders, upper half or lower half of
the figure, so that a network taught on street photos knows portraits. Labels follow what is left in view: a garment
that left the photo is absent, one of which too little is left is something, nobody knows what.

Everything random is a function of the generator passed in, never of a worker's state.
"""

from __future__ import annotations

import os
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from hemline.config import Augment
from hemline.data.sample import EITHER, UNKNOWN, WHOLE_PHOTO, Region, Sample, Segments
from hemline.photo import place

if TYPE_CHECKING:
    import albumentations

PADDING = 127
"""Grey of the canvas around a photo, as in `hemline.photo.place`."""
IN_VIEW = 0.3
"""Share of a segment that must be left in view for its labels to stay true of the photo."""
WHOLE_VIEW = 0.9
"""Share of every segment, background too, that must be left in view for what is drawn nowhere to be still there."""
MIN_CELLS = 8
"""Pixels on the canvas below which a segment counts as out of sight."""
VIEWS = {"head and shoulders": (0.0, 0.30), "upper half": (0.0, 0.58), "lower half": (0.45, 1.0)}
"""Parts of a figure's height that near crops show."""


def place_sample(sample: Sample, canvas: tuple[int, int]) -> Sample:
    """Place a sample on its canvas as prediction does: no randomness.

    Args:
        sample: A sample at its photo's size.
        canvas: (height, width).
    """
    placed = place(sample.photo, canvas)
    frame = placed.frame
    kind = sample.segments.dtype
    segments = np.zeros(canvas, kind)
    inner = cv2.resize(sample.segments, (frame.width, frame.height), interpolation=cv2.INTER_NEAREST_EXACT)
    segments[frame.top : frame.top + frame.height, frame.left : frame.left + frame.width] = inner
    return replace(sample, photo=placed.pixels, valid=placed.valid, segments=segments)


def augment_sample(
    sample: Sample, canvas: tuple[int, int], settings: Augment, generator: np.random.Generator
) -> Sample:
    """Place a sample on its canvas under a random view.

    Args:
        sample: A sample at its photo's size.
        canvas: (height, width).
        settings: How strongly, see `hemline.config.Augment`.
        generator: The only source of randomness.
    """
    drawn = len(sample.targets) > 1
    near = _is_figure(sample) and generator.random() < settings.crop
    box = _near_box(sample.segments, generator) if near else (0, 0, *sample.segments.shape[::-1])
    zoom = float(np.exp(generator.uniform(*np.log(settings.scale))))
    if not drawn:
        zoom = min(zoom, 1.0)  # nobody knows which of the listed things a crop would cut off
    matrix, window = _view(box, canvas, zoom, settings, generator)
    placed = _warp(sample, matrix, window, canvas)
    if drawn:
        full = pixels(sample.segments, len(sample.targets)) * abs(float(np.linalg.det(matrix[:, :2])))
        seen = pixels(placed.segments, len(sample.targets), placed.valid)
        placed = replace(placed, regions=still_true(sample, full, seen))
    if generator.random() < settings.colour:
        colours = _colour_transform()
        colours.set_random_seed(int(generator.integers(2**31)))
        photo = colours(image=placed.photo)["image"]
        assert placed.valid is not None
        placed = replace(placed, photo=_grey_around(photo, placed.valid))
    return placed


def _is_figure(sample: Sample) -> bool:
    """Whether more than one thing is drawn: half of one thing alone would be another thing."""
    things = (sample.targets[1:] == 1) | (sample.targets[1:] == EITHER)
    return bool(things.any(1).sum() > 1)


def _near_box(segments: Segments, generator: np.random.Generator) -> tuple[int, int, int, int]:
    """(x0, y0, x1, y1) of a random near view of what is drawn."""
    x, y, width, height = cv2.boundingRect((segments > 0).astype(np.uint8))  # what is unsure is mostly someone too
    if width < 16 or height < 16:
        return 0, 0, segments.shape[1], segments.shape[0]
    top, bottom = VIEWS[str(generator.choice(list(VIEWS)))]
    margin = generator.uniform(0.02, 0.12, 2) * height
    jitter = generator.uniform(-0.06, 0.06, 2) * height
    y0 = y + top * height - margin[0] + (jitter[0] if top > 0 else 0)
    y1 = y + bottom * height + (jitter[1] if bottom < 1 else margin[1])
    want = (y1 - y0) * generator.uniform(0.67, 1.3)  # a portrait's sides are nearer to each other than a street photo's
    middle = x + width / 2 + generator.uniform(-0.1, 0.1) * width
    half = max(want, width * generator.uniform(0.6, 1.1)) / 2
    x0, x1 = max(0, middle - half), min(segments.shape[1], middle + half)
    y0, y1 = max(0, y0), min(segments.shape[0], y1)
    return round(x0), round(y0), max(round(x1), round(x0) + 16), max(round(y1), round(y0) + 16)


def _view(
    box: tuple[int, int, int, int],
    canvas: tuple[int, int],
    zoom: float,
    settings: Augment,
    generator: np.random.Generator,
) -> tuple[NDArray[np.float64], tuple[int, int, int, int]]:
    """The 2x3 matrix from photo to canvas, and the window (x0, y0, x1, y1) of the canvas that the view fills."""
    x0, y0, x1, y1 = box
    height, width = canvas
    fit = min(width / (x1 - x0), height / (y1 - y0))
    scale = fit * zoom
    half_width = min((x1 - x0) * scale, width) / 2
    half_height = min((y1 - y0) * scale, height) / 2
    slack = np.array([(x1 - x0) - 2 * half_width / scale, (y1 - y0) - 2 * half_height / scale]) / 2
    centre = np.array([(x0 + x1) / 2, (y0 + y1) / 2]) + generator.uniform(-1, 1, 2) * slack
    angle = np.deg2rad(generator.uniform(-settings.rotate, settings.rotate))
    mirror = -1.0 if generator.random() < settings.flip else 1.0
    turn = scale * np.array([[np.cos(angle) * mirror, -np.sin(angle)], [np.sin(angle) * mirror, np.cos(angle)]])
    shift = np.array([width / 2, height / 2]) - turn @ centre
    window = (
        round(width / 2 - half_width), round(height / 2 - half_height),
        round(width / 2 + half_width), round(height / 2 + half_height),
    )  # fmt: skip
    return np.column_stack([turn, shift]), window


def _warp(
    sample: Sample, matrix: NDArray[np.float64], window: tuple[int, int, int, int], canvas: tuple[int, int]
) -> Sample:
    size = (canvas[1], canvas[0])
    matrix = matrix.copy()
    matrix[:, 2] += matrix[:, :2] @ [0.5, 0.5] - 0.5  # OpenCV's coordinates are of pixel centres
    valid = np.zeros(canvas, np.uint8)
    valid[window[1] : window[3], window[0] : window[2]] = 1
    ones = np.ones(sample.segments.shape, np.uint8)
    valid &= np.asarray(cv2.warpAffine(ones, matrix, size, flags=cv2.INTER_NEAREST), np.uint8)
    segments = np.where(valid, cv2.warpAffine(sample.segments, matrix, size, flags=cv2.INTER_NEAREST), 0)
    segments = segments.astype(sample.segments.dtype)
    shrink = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    photo = sample.photo
    if shrink < 0.7:  # bilinear sampling alone would skip pixels
        smaller = cv2.resize(photo, None, fx=1.4 * shrink, fy=1.4 * shrink, interpolation=cv2.INTER_AREA)
        photo = np.asarray(smaller, np.uint8)
        ratio = np.array([sample.photo.shape[1] / photo.shape[1], sample.photo.shape[0] / photo.shape[0]])
        matrix[:, 2] += matrix[:, :2] @ (0.5 * ratio - 0.5)
        matrix[:, :2] *= ratio
    warped = cv2.warpAffine(photo, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    pixels = _grey_around(np.asarray(warped, np.uint8), valid)
    return replace(sample, photo=pixels, segments=segments, valid=valid)


def _grey_around(photo: NDArray[np.uint8], valid: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The photo (H, W, 3), grey where `valid` (H, W) is 0 and not 1; OpenCV is many times quicker at it than numpy."""
    filled = cv2.copyTo(np.full_like(photo, PADDING), 1 - valid, np.ascontiguousarray(photo))
    return np.asarray(filled, np.uint8)


def still_true(
    before: Sample, full: NDArray[np.float64], seen: NDArray[np.float64], share: float = IN_VIEW
) -> list[Region]:
    """The regions that are left in view, and what the photo then shows.

    Args:
        before: A sample on which something is drawn.
        full: (S,) pixels that each segment had, at the scale at which it is seen now.
        seen: (S,) pixels that are left of it.
        share: Share of a segment that must be left for its labels to stay true of the photo.
    """
    in_view = (full == 0) | ((seen >= MIN_CELLS) & (seen >= share * full))
    whole = (seen >= WHOLE_VIEW * full).all()
    gone = (seen == 0) & (full > 0)
    parts = [region for region in before.regions if region.drawn]

    def in_sight(region: Region) -> bool:
        own = list(region.segments)
        return bool(seen[own].sum() >= max(MIN_CELLS, share * full[own].sum()))

    regions = []
    for region in before.regions:
        if region.segments == WHOLE_PHOTO:
            labels = region.labels.copy()
            for label in np.flatnonzero(labels == 1):
                shows = [part for part in parts if part.labels[label] == 1]
                if not (any(map(in_sight, shows)) if shows else whole):
                    lost = shows and all(gone[list(part.segments)].all() for part in shows)
                    labels[label] = 0 if lost else UNKNOWN
            regions.append(Region(WHOLE_PHOTO, labels, region.one_of if in_view.all() else ()))
        elif in_sight(region) if region.drawn else whole:
            regions.append(region)
        elif region.drawn and not region.doubt and seen[list(region.segments)].sum() >= MIN_CELLS:
            regions.append(replace(region, labels=np.full_like(region.labels, UNKNOWN), one_of=()))
    return regions


def pixels(segments: Segments, num: int, where: NDArray[np.uint8] | None = None) -> NDArray[np.float64]:
    """(S,) pixels of each segment, of those where `where` (H, W) is not 0."""
    # np.bincount would first make a map of eight times the size
    return cv2.calcHist([segments], [0], where, [num], [0, num]).ravel().astype(np.float64)


def on_segments(chosen: NDArray[np.bool_], segments: Segments) -> NDArray[np.uint8]:
    """(H, W) 1 on the segments chosen (S,), 0 elsewhere."""
    if segments.dtype != np.uint8:
        return chosen.astype(np.uint8)[segments]
    table = np.zeros(256, np.uint8)
    table[: len(chosen)] = chosen
    return np.asarray(cv2.LUT(segments, table), np.uint8)  # many times quicker than numpy


@cache
def _colour_transform() -> albumentations.Compose:
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # it would ask the network for a newer version
    import albumentations as A

    return A.Compose(
        [
            A.RandomBrightnessContrast(brightness_limit=0.25, contrast_limit=0.25, p=0.8),
            A.HueSaturationValue(hue_shift_limit=8, sat_shift_limit=30, val_shift_limit=0, p=0.6),
            A.RandomGamma(gamma_limit=(75, 130), p=0.3),
            A.ToGray(p=0.04),
            A.GaussianBlur(blur_limit=(3, 5), p=0.08),
            A.ImageCompression(quality_range=(40, 90), p=0.2),
        ]
    )
