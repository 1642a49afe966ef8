"""Seeded changes of photos and of the maps that belong to them: what `benchmarks/kinds.py` makes kinds of photos by.

Each takes a `Shot` and a random generator and gives a new `Shot`. Where a change moves pixels, it moves maps alike, by
the nearest pixel, so that the truth and an answer to the unchanged photo can be compared on what is left.

Shapes: H W photo, M maps, C categories.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
BACKGROUND = 0
"""Of maps: what is no class. Pixels around a photo that a change adds are it."""
GAMMA = 2.2
LIGHT, SHOT_NOISE, READ_NOISE = 0.08, 0.0008, 0.004
"""Of `dark`: the share of light that is left, the variance of noise by light, and the deviation where there is none;
light is linear, 0..1."""
BLUR = 1 / 30
"""Length of the line that motion blurs over, of the photo's height."""
QUALITY = 8
"""Of a strong JPEG, 0..100."""
MARGIN = 0.05
"""What a crop keeps around the figure, of the figure's height."""
HEAD = 0.3
"""Of the figure's height: head and shoulders."""
SMALL = 3
"""The photo is so many times smaller where there is most background."""


class Shot(NamedTuple):
    """A photo with what is known and said of it."""

    photo: Pixels
    """(H, W, 3) RGB."""
    maps: Pixels
    """(M, H, W) class maps, the truth first; M may be 0."""
    unknown: NDArray[np.bool_]
    """(C,) categories of which nobody knows whether the photo shows them."""


Change = Callable[[Shot, np.random.Generator], Shot]


# -- light and files: pixels alone ------------------------------------------------------------------------------


def dark(shot: Shot, rng: np.random.Generator) -> Shot:
    """Less light, by a gamma of 2.2, and noise that dark photos have."""
    light = (shot.photo / np.float32(255)) ** GAMMA * LIGHT
    deviation = np.sqrt(light * SHOT_NOISE + READ_NOISE**2)
    light = (light + deviation * rng.standard_normal(light.shape, np.float32)).clip(0, 1)
    return shot._replace(photo=(light ** (1 / GAMMA) * 255).round().astype(np.uint8))


def gray(shot: Shot, rng: np.random.Generator) -> Shot:
    """Black and white: BT.601 luma in all three channels."""
    luma = np.asarray(cv2.cvtColor(shot.photo, cv2.COLOR_RGB2GRAY), np.uint8)
    return shot._replace(photo=np.repeat(luma[..., None], 3, axis=2))


def motion(shot: Shot, rng: np.random.Generator) -> Shot:
    """Blurred over a straight line, at an angle drawn from all."""
    length = max(3, round(shot.photo.shape[0] * BLUR))
    angle, middle = rng.uniform(0, np.pi), length / 2
    kernel = np.zeros((length + 1, length + 1), np.float32)
    way = np.array([np.cos(angle), np.sin(angle)]) * length / 2
    ends = [tuple(np.round((middle + sign * way) * 16).astype(int).tolist()) for sign in (-1, 1)]
    cv2.line(kernel, ends[0], ends[1], 1.0, 1, cv2.LINE_8, shift=4)
    blurred = cv2.filter2D(shot.photo, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REPLICATE)
    return shot._replace(photo=np.asarray(blurred, np.uint8))


def jpeg(shot: Shot, rng: np.random.Generator) -> Shot:
    """Written as a JPEG of low quality and read again."""
    _, content = cv2.imencode(".jpg", shot.photo[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return shot._replace(photo=np.asarray(cv2.imdecode(content, cv2.IMREAD_COLOR), np.uint8)[..., ::-1].copy())


# -- geometry: maps move alike ------------------------------------------------------------------------------------


def resized(shot: Shot, height: int) -> Shot:
    """The shot so many pixels high."""
    size = max(1, round(shot.photo.shape[1] * height / shot.photo.shape[0])), height
    photo = np.asarray(cv2.resize(shot.photo, size, interpolation=cv2.INTER_AREA), np.uint8)
    maps = [cv2.resize(one, size, interpolation=cv2.INTER_NEAREST_EXACT) for one in shot.maps]
    return shot._replace(photo=photo, maps=_stack(maps, photo))


def tiny(height: int) -> Change:
    """Makes photos so many pixels high."""
    return lambda shot, rng: resized(shot, height)


def turned(shot: Shot, rng: np.random.Generator) -> Shot:
    """A quarter turn, to the left or to the right."""
    quarters = 1 if rng.random() < 0.5 else 3
    photo, maps = np.rot90(shot.photo, quarters), np.rot90(shot.maps, quarters, (1, 2))
    return shot._replace(photo=np.ascontiguousarray(photo), maps=np.ascontiguousarray(maps))


def figure_box(truth: Pixels) -> tuple[int, int, int, int]:
    """(top, left, bottom, right) around all that is not background, `bottom` and `right` past the last.

    Of a map without any it is the whole map.

    Args:
        truth: (H, W) class numbers; what is unknown counts as figure.
    """
    rows, columns = np.flatnonzero((truth != BACKGROUND).any(1)), np.flatnonzero((truth != BACKGROUND).any(0))
    if not len(rows):
        return 0, 0, truth.shape[0], truth.shape[1]
    return int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1


def cropped(first: float, last: float) -> Change:
    """Makes crops: of the figure's box by the truth, the rows from one share of its height to another.

    Left, right and at the figure's own ends a margin stays, of `MARGIN`.
    """

    def crop(shot: Shot, rng: np.random.Generator) -> Shot:
        top, left, bottom, right = figure_box(shot.maps[0])
        high = bottom - top
        margin = round(MARGIN * high)
        start = top + round(first * high) - (margin if first == 0 else 0)
        end = top + round(last * high) + (margin if last == 1 else 0)
        rows = slice(max(0, start), max(start + 1, end))
        columns = slice(max(0, left - margin), right + margin)
        photo = np.ascontiguousarray(shot.photo[rows, columns])
        return shot._replace(photo=photo, maps=np.ascontiguousarray(shot.maps[:, rows, columns]))

    return crop


def wide(shot: Shot, rng: np.random.Generator) -> Shot:
    """As high as it was, on a canvas twice as wide of the street beside it (`street`)."""
    return _placed(shot, street(shot.photo), rng)


def far(shot: Shot, rng: np.random.Generator) -> Shot:
    """At a `SMALL`th of its size on such a canvas."""
    return _placed(resized(shot, max(1, round(len(shot.photo) / SMALL))), street(shot.photo), rng)


def far_plain(shot: Shot, rng: np.random.Generator) -> Shot:
    """At a `SMALL`th of its size on a canvas twice as wide, of the median colour of its own border."""
    border = np.concatenate([shot.photo[0], shot.photo[-1], shot.photo[:, 0], shot.photo[:, -1]])
    canvas = np.empty((shot.photo.shape[0], 2 * shot.photo.shape[1], 3), np.uint8)
    canvas[:] = np.median(border, axis=0).astype(np.uint8)
    return _placed(resized(shot, max(1, round(len(canvas) / SMALL))), canvas, rng)


def street(photo: Pixels) -> Pixels:
    """A canvas as high as a photo and twice as wide: the photo's outer eighths, each stretched over a half."""
    height, width = photo.shape[:2]
    eighth = max(1, width // 8)
    halves = [
        cv2.resize(np.ascontiguousarray(side), (width, height), interpolation=cv2.INTER_LINEAR)
        for side in (photo[:, :eighth], photo[:, -eighth:])
    ]
    return np.asarray(np.concatenate(halves, axis=1), np.uint8)


def _placed(shot: Shot, canvas: Pixels, rng: np.random.Generator) -> Shot:
    """A shot somewhere on a canvas that is no smaller."""
    high, wide = shot.photo.shape[:2]
    top, left = (int(rng.integers(whole - part + 1)) for whole, part in zip(canvas.shape, (high, wide), strict=False))
    place = slice(top, top + high), slice(left, left + wide)
    maps = np.full((len(shot.maps), *canvas.shape[:2]), BACKGROUND, np.uint8)
    canvas[place], maps[:, place[0], place[1]] = shot.photo, shot.maps
    return shot._replace(photo=canvas, maps=maps)


def beside(one: Shot, two: Shot) -> Shot:
    """Two shots side by side, the second as high as the first; it shows what either shows."""
    two = resized(two, one.photo.shape[0])
    maps = np.concatenate([one.maps, two.maps], axis=2)
    return Shot(np.concatenate([one.photo, two.photo], axis=1), maps, one.unknown | two.unknown)


def _stack(maps: list[NDArray[np.uint8]], photo: Pixels) -> Pixels:
    return np.stack(maps) if maps else np.zeros((0, *photo.shape[:2]), np.uint8)


CHANGES: Mapping[str, Change | None] = {
    "as they are": None,
    "dark": dark,
    "64 pixels high": tiny(64),
    "128 pixels high": tiny(128),
    "black-and-white": gray,
    "blurred by motion": motion,
    "strong JPEG": jpeg,
    "turned by 90 degrees": turned,
    "on a wide canvas": wide,
    "a third of it, on a wide canvas": far,
    "a third of it, on a plain ground": far_plain,
    "upper half": cropped(0, 0.5),
    "lower half": cropped(0.5, 1),
    "head and shoulders": cropped(0, HEAD),
}
"""What one photo becomes, by the name of the kind."""
CROPS = ("upper half", "lower half", "head and shoulders")
"""Kinds that leave something of the photo out, so that its labels no longer hold."""
