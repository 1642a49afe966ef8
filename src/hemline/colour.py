"""Colours of a garment: measured from its pixels, never learnt.

Light changes along a garment, its dye does not. Under weaker light the lightness and the chroma of a pixel shrink
together, so pixels are grouped by chroma relative to lightness, and lightness itself counts less the more colourful
a pixel is: a fold in a red dress stays red, while black and white stay apart. Each group is then named by the nearest
of a table of prototypes. The same pixels give the same answer on every run.

All distances are in CIE Lab units (D65): lightness 0..100, and about 2 is a difference one just sees.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

MAX_SAMPLES = 2000
"""Pixels that are looked at, at most, however large the garment."""
MIN_SHARE = 0.06
"""Share of the garment below which a colour is left out: buttons, seams, glare."""
SAME = 17.0
"""Groups closer than this are one colour."""

PROTOTYPES = {
    "black": "000000 141414 1c1a1c 262626 20242a 2a2624",
    "gray": "4e4e50 606468 707070 8c8680 808080 8a929c a0a0a0 b0b0b0 5a5754 a6a6b4",
    "white": "d8d8d8 e6e6e6 f0f0f0 ffffff dde2ea e8ecf4 f4efe6 cccad8",
    "red": "ff0000 e01e28 c81e1e a81428 a01020 8b1a1a 6e1018 d0303c 5c141c ee6055",
    "orange": "ff7f00 ff9a3c e8722a d9621e f58a50 ff6a28",
    "yellow": "ffff00 f0f0b4 ffd91a e6c832 f5e678 d8b428 fff5a0 c8b428",
    "green": "00ff00 228b22 2e8b57 1f4d2b 6b8e23 4f6b2f 9acd32 a8d8a0 3aa080 4a5a3a 5f6b45 78c850 00a050 3a4632 8ca078",
    "turquoise": "00ffff 40e0d0 20b2aa 008080 7fd8d8 5ac8c0 0a6e78 a0e0dc",
    "blue": "0000ff 0a14b4 1414a0 1e5ac8 4169e1 6495ed 87b5e5 add8f0 5b7fa6 3c5a86 7890b0 2846a0 96afcd 00a0f0 466482",
    "navy": "000080 14213d 1c2541 1a1f4b 202a44 0f1a33 2a3352",
    "purple": "800080 6a3d9a 9b59b6 b39ddb 4b2a5a 5a2850 8c5a8c 7050c8 c8b4dc",
    "pink": "ffc0cb ff69b4 f4a6b8 e75480 f8d0d8 d98fa0 ff1493 f08c96 e8b4b0 ff8ca0",
    "brown": "8b4513 6b4423 5a3a22 3d2618 a0693c 7a5c44 4e3b31 94643c 64503c 5a2d1e",
    "beige": "e8d9bc d2b48c c8b08a e0cfb0 b89f7c d8c8b0 f0e2c8 c4ae96 b4a58c",
}
"""Typical colours of clothes in photos (sRGB), several a name: the eleven basic terms, beige, navy, turquoise."""


class Colour(NamedTuple):
    """One colour of a garment."""

    name: str
    """A key of `PROTOTYPES`."""
    hex: str
    """A typical pixel of it, sRGB: `#1c2541`."""
    share: float
    """Share of the garment's pixels, above 0 and at most 1."""


def colours(photo: NDArray[np.uint8], mask: NDArray[np.bool_], max_colours: int = 3) -> list[Colour]:
    """Measure the colours of a garment.

    Args:
        photo: (H, W, 3) RGB.
        mask: (H, W) True on the garment, or at another scale than the photo.
        max_colours: How many to report at most.

    Returns:
        The colours, largest share first, each name once; empty where the mask is empty.
    """
    pixels = _sample(photo, mask)
    if not len(pixels):
        return []
    lab: NDArray[np.float32] = cv2.cvtColor(pixels[None].astype(np.float32) / 255, cv2.COLOR_RGB2Lab)[0]
    groups = _group(_features(lab))
    found: dict[str, list[tuple[int, str]]] = {}
    for group in range(groups.max() + 1):
        members = lab[np.flatnonzero(groups == group)]
        typical = _typical(members)
        found.setdefault(_name(typical), []).append((len(members), _hex(typical)))
    result = [
        Colour(name, max(parts)[1], sum(size for size, _ in parts) / len(lab)) for name, parts in found.items()
    ]
    result.sort(key=lambda colour: -colour.share)
    return [colour for colour in result if colour.share >= MIN_SHARE][:max_colours] or result[:1]


def _sample(photo: NDArray[np.uint8], mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Pixels (N, 3) of the garment, away from its edge where it is large enough: at most `MAX_SAMPLES`."""
    x, y, width, height = cv2.boundingRect(mask.view(np.uint8))
    if width == 0:
        return np.empty((0, 3), np.uint8)
    step = max(1, int((width * height / 100_000) ** 0.5))
    inside = np.ascontiguousarray(mask[y : y + height : step, x : x + width : step]).view(np.uint8)
    if not inside.any():                                       # the garment is thinner than a step
        step, inside = 1, np.ascontiguousarray(mask[y : y + height, x : x + width]).view(np.uint8)
    for margin in (2, 1):
        kernel = np.ones((2 * margin + 1, 2 * margin + 1), np.uint8)
        core = np.asarray(cv2.erode(inside, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0), np.uint8)
        if 2 * np.count_nonzero(core) >= np.count_nonzero(inside):
            inside = core
            break
    chosen = np.flatnonzero(inside)
    random = np.random.default_rng(0)                          # even strides would beat with stripes
    if len(chosen) > MAX_SAMPLES:
        chosen = chosen[random.integers(len(chosen), size=MAX_SAMPLES)]
    rows, columns = np.divmod(chosen, inside.shape[1])
    rows, columns = y + step * rows, x + step * columns
    if step > 1:
        shift = random.integers(step, size=(2, len(chosen)))
        near = np.minimum(rows + shift[0], mask.shape[0] - 1), np.minimum(columns + shift[1], mask.shape[1] - 1)
        rows, columns = np.where(mask[near], near, (rows, columns))
    if mask.shape != photo.shape[:2]:                          # the pixel that the middle of a mask's cell lies in
        rows, columns = (
            ((2 * np.arange(cells) + 1) * pixels // (2 * cells))[at]
            for at, cells, pixels in zip((rows, columns), mask.shape, photo.shape[:2], strict=True)
        )
    pixels: NDArray[np.uint8] = photo[rows, columns]
    return pixels


def _features(lab: NDArray[np.float32]) -> NDArray[np.float32]:
    """Lab -> (N, 3) in which light and shade of one dye lie close together."""
    lightness = lab[:, :1]
    # L + 16, a and b all grow with the cube root of the light; the 30 keeps the noise of dark pixels small.
    chroma = 80 * lab[:, 1:] / (lightness + 30)
    strength = np.hypot(chroma[:, :1], chroma[:, 1:])
    weight = 0.25 + 0.45 * np.exp(-((strength / 18) ** 2))
    return np.hstack([weight * lightness, chroma])


def _group(features: NDArray[np.float32], count: int = 8) -> NDArray[np.intp]:
    """Group index of each pixel: k-means from far-apart starts, then near groups merged."""
    columns = np.ascontiguousarray(features.T)                 # (3, N): numpy is slow along a side of 3
    starts = [int(np.argmin(_squares(columns, _median(columns))))]
    distance = np.full(len(features), np.inf, np.float32)
    for _ in range(min(count, len(features)) - 1):
        np.minimum(distance, _squares(columns, features[starts[-1]]), out=distance)
        starts.append(int(np.argmax(distance)))
    centres = features[starts]
    labels = _nearest(columns, centres)
    for _ in range(6):
        sizes = np.bincount(labels, minlength=len(centres))
        sums = np.stack([np.bincount(labels, column, len(centres)) for column in columns], axis=1)
        centres = np.where(sizes[:, None] > 0, sums / np.maximum(sizes, 1)[:, None], centres).astype(np.float32)
        before, labels = labels, _nearest(columns, centres)
        if np.array_equal(before, labels):                     # no more rounds would change anything
            break
    return _merge(centres, np.bincount(labels, minlength=len(centres)))[labels]


def _squares(columns: NDArray[np.float32], point: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N,) squared distance of columns (3, N) from a point (3,)."""
    x, y, z = (columns - point[:, None]) ** 2
    squares: NDArray[np.float32] = x + y + z
    return squares


def _nearest(columns: NDArray[np.float32], centres: NDArray[np.float32]) -> NDArray[np.intp]:
    """(N,) which centre of (C, 3) each of the columns (3, N) is nearest to; of two alike, the first."""
    distances = (centres**2).sum(1)[:, None] - centres @ (2 * columns)
    least, nearest = distances[0], np.zeros(columns.shape[1], np.intp)
    for i, distance in enumerate(distances[1:], start=1):
        np.copyto(nearest, i, where=distance < least)
        least = np.minimum(least, distance)
    return nearest


def _merge(centres: NDArray[np.float32], sizes: NDArray[np.intp]) -> NDArray[np.intp]:
    """New index of each group: the nearest two become one at their common centre, as long as they are near."""
    index = np.arange(len(centres))
    centres, sizes = centres.copy(), sizes.copy()
    while True:
        alive = np.flatnonzero(sizes)
        gaps = _gaps(centres[alive])
        one, two = np.unravel_index(int(np.argmin(gaps)), gaps.shape)
        if gaps[one, two] >= SAME:
            break
        keep, gone = alive[one], alive[two]
        centres[keep] = (centres[keep] * sizes[keep] + centres[gone] * sizes[gone]) / (sizes[keep] + sizes[gone])
        sizes[keep] += sizes[gone]
        sizes[gone] = 0
        index[index == gone] = keep
    return np.unique(index, return_inverse=True)[1]


def _gaps(centres: NDArray[np.float32]) -> NDArray[np.float32]:
    """Distance of each pair, infinite from itself; folds deepen a colour, so its strength counts less than its hue."""
    squares = ((centres[:, None] - centres) ** 2).sum(2)
    strength = np.hypot(centres[:, 1], centres[:, 2])
    squares -= (1 - 0.6**2) * (strength[:, None] - strength) ** 2
    np.fill_diagonal(squares, np.inf)
    gaps: NDArray[np.float32] = np.sqrt(np.maximum(squares, 0))
    return gaps


def _typical(lab: NDArray[np.float32]) -> NDArray[np.float32]:
    """The colour of the better lit half, for a white shirt in half shadow is white."""
    columns = np.ascontiguousarray(lab.T)
    return _median(columns[:, columns[0] >= _median(columns[:1])])


def _median(columns: NDArray[np.float32]) -> NDArray[np.float32]:
    """The median of each row of (D, N), in a third of the time that `np.median` takes of so few numbers."""
    half = columns.shape[1] // 2
    middle = [half] if columns.shape[1] % 2 else [half - 1, half]
    ranked = np.partition(columns, middle, axis=1)
    median: NDArray[np.float32] = (ranked[:, middle[0]] + ranked[:, middle[-1]]) / np.float32(2)
    return median


def _parse(text: str) -> NDArray[np.float32]:
    rgb = np.array([list(bytes.fromhex(word)) for word in text.split()], np.float32) / 255
    lab: NDArray[np.float32] = cv2.cvtColor(rgb[None], cv2.COLOR_RGB2Lab)[0]
    return lab


_TABLE = [(name, _parse(text)) for name, text in PROTOTYPES.items()]
_NAMES = [name for name, prototypes in _TABLE for _ in prototypes]
_POINTS = np.concatenate([prototypes for _, prototypes in _TABLE])


def _name(lab: NDArray[np.float32]) -> str:
    """The name of the nearest prototype, by CIE 1994 with lightness at two thirds of its weight."""
    chroma, wanted = float(np.hypot(lab[1], lab[2])), np.hypot(_POINTS[:, 1], _POINTS[:, 2])
    lightness = (_POINTS[:, 0] - lab[0]) / 1.5
    across = ((_POINTS[:, 1:] - lab[1:]) ** 2).sum(1) - (wanted - chroma) ** 2          # hue difference, squared
    mean = np.sqrt(chroma * wanted)
    distance = lightness**2 + ((wanted - chroma) / (1 + 0.045 * mean)) ** 2 + across / (1 + 0.015 * mean) ** 2
    return _NAMES[int(np.argmin(distance))]


def _hex(lab: NDArray[np.float32]) -> str:
    """A colour as `#rrggbb`, sRGB."""
    rgb = cv2.cvtColor(lab.astype(np.float32)[None, None], cv2.COLOR_Lab2RGB)[0, 0]
    return "#" + bytes(np.clip(np.rint(rgb * 255), 0, 255).astype(np.uint8)).hex()
