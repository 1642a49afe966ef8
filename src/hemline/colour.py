"""Colours of a garment: measured from its pixels, never learnt.

Light changes along a garment, its dye does not. Under weaker light the lightness and the chroma of a pixel shrink
together, so pixels are grouped by chroma relative to lightness, and lightness itself counts less the more colourful
a pixel is: a fold in a red dress stays red, while black and white stay apart. Each group is then named by the nearest
of a table of prototypes, and by a finer word where one is near. The same pixels give the same answer on every run.
`docs/colours.md` says how well that agrees with people, and what it was compared with.

All distances are in CIE Lab units (D65): lightness 0..100, and about 2 is a difference one just sees.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from hemline.coarse import CoarseMask

SAMPLES = 800
"""Pixels that are looked at, however large the garment; those of a small one more than once."""
MAX_CELLS = 25_000
"""Cells of a garment's box that pixels are chosen from, about."""
GROUPS = 6
"""Groups that k-means makes of them."""
ROUNDS = 3
"""Rounds of k-means."""
MIN_SHARE = 0.06
"""Share of the garment below which a colour is left out: buttons, seams, glare."""
SAME = 17.0
"""Groups closer than this are one colour."""
REACH = 6.5
"""A shade is said where one of its prototypes is at most this far from the colour."""
HALF = 0.5
"""A garment of three colours or more, none of which has this share, is multicolour."""

PROTOTYPES = {
    "black": "000000 141414 1c1a1c 262626 20242a 2a2624 34343c",
    "gray": "4e4e50 606468 707070 8c8680 808080 8a929c a0a0a0 b0b0b0 5a5754 a6a6b4 "
    "5b5448 6e675a 8a8274 a59c8e b8b0a4 3f3c36 565c6c 6e7686 8a93a3 36454f",
    "white": "d8d8d8 e6e6e6 f0f0f0 ffffff dde2ea e8ecf4 f4efe6 cccad8",
    "red": "ff0000 e01e28 c81e1e a81428 a01020 8b1a1a 6e1018 d0303c 5c141c ee6055",
    "orange": "ff7f00 ff9a3c e8722a d9621e f58a50 ff6a28",
    "yellow": "ffff00 f0f0b4 ffd91a e6c832 f5e678 d8b428 fff5a0 c8b428 b89030 fbe8b0",
    "green": "00ff00 228b22 2e8b57 1f4d2b 6b8e23 4f6b2f 9acd32 a8d8a0 3aa080 4a5a3a 5f6b45 78c850 00a050 3a4632 8ca078 "
    "6b694c 7f8a6c",
    "turquoise": "00ffff 40e0d0 20b2aa 008080 7fd8d8 5ac8c0 0a6e78 a0e0dc",
    "blue": "0000ff 0a14b4 1414a0 1e5ac8 4169e1 6495ed 87b5e5 add8f0 5b7fa6 3c5a86 7890b0 2846a0 96afcd 00a0f0 466482 "
    "9dadc4",
    "navy": "000080 14213d 1c2541 1a1f4b 202a44 0f1a33 2a3352 2b394b",
    "purple": "800080 6a3d9a 9b59b6 b39ddb 4b2a5a 5a2850 8c5a8c 7050c8 c8b4dc 6d3654 8878a8 a03c80",
    "pink": "ffc0cb ff69b4 f4a6b8 e75480 f8d0d8 d98fa0 ff1493 f08c96 e8b4b0 ff8ca0",
    "brown": "8b4513 6b4423 5a3a22 3d2618 a0693c 7a5c44 4e3b31 94643c 64503c 5a2d1e 4c4038 3b3026",
    "beige": "e8d9bc d2b48c c8b08a e0cfb0 b89f7c d8c8b0 f0e2c8 c4ae96 b4a58c",
}
"""Typical colours of clothes in photos (sRGB), several a name: the eleven basic terms, beige, navy, turquoise."""
SHADES = {
    "charcoal": "404246 45474c 4a4a4c 36454f",
    "light gray": "b0b0b0 b8b8ba a6a6a8",
    "silver gray": "c0c0c0 bcbec2",
    "stone": "c2b8aa b9ad9d cac0b2",
    "ivory": "fffff0 faf4e2 f6efdf",
    "cream": "fffdd0 f5ecd2 f3e6c4 efe3cb",
    "tan": "d2b48c c8a982 bf9f7a",
    "camel": "c19a6b b88d5c a97e4e",
    "khaki": "c3b091 b0a27c a3966e 948a64",
    "taupe": "8b7d6b 7d6f5f 978876 6e604f",
    "chocolate": "3d2618 4a2c1a 55331f 5c3a22",
    "rust": "b7410e a84a1e b5532a 9c4220",
    "burgundy": "800020 6e1018 5c141c 6b1a2c 4a1420 7b1e3a",
    "coral": "ff7f50 ff7f6e f88379 f4735c ff8488 e3787c fe6470",
    "peach": "ffcba4 ffc4a0 f9c8a8 fad0b4 fdb8a8",
    "mustard": "d8a81e c99a1c cfa02c b98a1a a9932e b39a38",
    "old gold": "d4af37 cfb053 c5a545",
    "olive": "808000 6b6b2f 556b2f 5a5f2c 4a4f28 6b694c",
    "sage": "9caf88 a3b18a 8ca078 b2b99a",
    "mint": "a8e6cf 98eec8 b8e8d0 a0e8c0",
    "lime": "9acd32 a4d830 b4e62a c0f04a",
    "forest green": "228b22 1f5a2b 1f4d2b 24603a",
    "emerald": "00a050 0b9a5c 2bb070 50c878",
    "teal": "008080 0a6e78 106b70 1c7a80",
    "light blue": "add8f0 b4d4ee a0c8ea c4dcf2 96afcd",
    "royal blue": "4169e1 1e5ac8 2850c8 3058d8",
    "lavender": "b39ddb c8b4dc b8a8e0 d0c0e8",
    "plum": "5a2850 6d3654 6a2c5c 4b2a5a",
    "blush": "f8d0d8 f4c6cc f0c4c4 efd0d0",
    "fuchsia": "ff1493 e0218a d81b80 f040a0",
    "rose": "e75480 d85a78 d0607c c86478",
}
"""Finer words of shops and typical colours of each (sRGB). A shade stands beside the names that these colours have
themselves: taupe beside brown and gray, never beside black. `old gold` and `silver gray` are colours of cloth: that
something is of metal or shines, flat colours cannot tell."""


class Colour(NamedTuple):
    """One colour of a garment."""

    name: str
    """A key of `PROTOTYPES`."""
    hex: str
    """A typical pixel of it, sRGB: `#1c2541`."""
    share: float
    """Share of the garment's pixels, above 0 and at most 1."""
    shade: str | None = None
    """A finer word for it, a key of `SHADES`; None where none is near, and `name` says it best."""


def colours(photo: NDArray[np.uint8], mask: NDArray[np.bool_], max_colours: int = 3) -> list[Colour]:
    """Measure the colours of a garment.

    Args:
        photo: (H, W, 3) RGB.
        mask: (H, W) True on the garment, or at another scale than the photo.
        max_colours: How many to report at most.

    Returns:
        The colours, largest share first, each name once; empty where the mask is empty.
    """
    return colours_of(photo, [CoarseMask.of(mask)], max_colours)[0]


def colours_of(photo: NDArray[np.uint8], garments: Sequence[CoarseMask], max_colours: int = 3) -> list[list[Colour]]:
    """As `colours`, of several garments of one photo at once: most of the time is numpy's for each call, not pixel.

    Args:
        photo: (H, W, 3) RGB, or at another scale.
        garments: G of them.
        max_colours: How many to report of each at most.

    Returns:
        The colours of each garment.
    """
    samples = [_sample(photo, garment) for garment in garments]
    there = [pixels for pixels in samples if len(pixels)]
    if not there:
        return [[] for _ in samples]
    lab = np.asarray(cv2.cvtColor(np.stack(there).astype(np.float32) / 255, cv2.COLOR_RGB2Lab), np.float32)
    groups = _group(_features(lab))
    members = [
        (pixels[label == group], some[label == group])
        for pixels, some, label in zip(there, lab, groups, strict=True) for group in range(label.max() + 1)
    ]  # fmt: skip
    typical = np.stack([_typical(some) for _, some in members])
    codes = [_hex(*member, middle) for member, middle in zip(members, typical, strict=True)]
    named = iter(zip((len(pixels) for pixels, _ in members), *_names(typical), codes, strict=True))
    found = iter([_found(islice(named, label.max() + 1), max_colours) for label in groups])
    return [next(found) if len(pixels) else [] for pixels in samples]


def is_multicolour(colours: Sequence[Colour]) -> bool:
    """Whether a garment of these colours has three or more of them, none of which has half of it."""
    return len(colours) > 2 and max(colour.share for colour in colours) < HALF


def _found(groups: Iterable[tuple[int, str, str | None, str]], most: int) -> list[Colour]:
    """The colours of one garment, of the size, name, shade and typical pixel of each group."""
    parts: dict[str, list[tuple[int, str, str | None]]] = {}
    for size, name, shade, code in groups:
        parts.setdefault(name, []).append((size, code, shade))
    result = []
    for name, some in parts.items():
        _, code, shade = max(some, key=lambda group: group[:2])
        result.append(Colour(name, code, sum(size for size, *_ in some) / SAMPLES, shade))
    result.sort(key=lambda colour: -colour.share)
    return [colour for colour in result if colour.share >= MIN_SHARE][:most] or result[:1]


def _sample(
    photo: NDArray[np.uint8], garment: CoarseMask, margins: Sequence[int] = (2, 1)
) -> NDArray[np.uint8]:
    """Pixels (`SAMPLES`, 3) of a garment, away from its edge where it is large enough; (0, 3) where it is empty."""
    mask = garment.cells
    x, y, width, height = garment.cell_box
    if width == 0:
        return np.empty((0, 3), np.uint8)
    step = max(1, int((width * height / MAX_CELLS) ** 0.5))
    inside = np.ascontiguousarray(mask[y : y + height : step, x : x + width : step]).view(np.uint8)
    count = cv2.countNonZero(inside)
    if not count:                                              # the garment is thinner than a step
        step, inside = 1, np.ascontiguousarray(mask[y : y + height, x : x + width]).view(np.uint8)
        count = cv2.countNonZero(inside)
    for margin in margins:
        core = cv2.erode(inside, _KERNELS[margin], borderType=cv2.BORDER_CONSTANT, borderValue=0)
        if 2 * cv2.countNonZero(core) >= count:
            inside = np.asarray(core, np.uint8)
            break
    chosen = np.flatnonzero(inside.view(np.bool_))
    chosen = chosen[(_ALONG * len(chosen)).astype(np.intp)]
    rows, columns = np.divmod(chosen, inside.shape[1])
    rows, columns = y + step * rows, x + step * columns
    if step > 1:
        down, right = (_ASIDE * step).astype(np.intp)
        near = np.minimum(rows + down, mask.shape[0] - 1), np.minimum(columns + right, mask.shape[1] - 1)
        rows, columns = np.where(mask[near], near, (rows, columns))
    if mask.shape != photo.shape[:2]:                          # the pixel that the middle of a mask's cell lies in
        rows, columns = (
            (2 * at + 1) * pixels // (2 * cells)
            for at, cells, pixels in zip((rows, columns), mask.shape, photo.shape[:2], strict=True)
        )
    pixels: NDArray[np.uint8] = photo[rows, columns]
    return pixels


def _features(lab: NDArray[np.float32]) -> NDArray[np.float32]:
    """Lab (G, N, 3) -> (3, G, N) in which light and shade of one dye lie close together."""
    lightness, a, b = np.ascontiguousarray(np.moveaxis(lab, 2, 0))
    # L + 16, a and b all grow with the cube root of the light; the 30 keeps the noise of dark pixels small.
    chroma = 80 / (lightness + 30)
    a, b = a * chroma, b * chroma
    weight = 0.25 + 0.45 * np.exp((a * a + b * b) / -(18**2))
    return np.stack([weight * lightness, a, b])


def _group(features: NDArray[np.float32]) -> NDArray[np.intp]:
    """Group index of each pixel (G, N): k-means from far-apart starts, then near groups merged."""
    each = np.arange(features.shape[1])
    start = features[:, each, np.argmin(_squares(features, np.median(features, axis=2)), axis=1)]
    centres = [start]
    distance = _squares(features, start)
    for _ in range(GROUPS - 1):
        centres.append(features[:, each, np.argmax(distance, axis=1)])
        np.minimum(distance, _squares(features, centres[-1]), out=distance)
    means = np.stack(centres, axis=2).transpose(1, 2, 0)       # (G, GROUPS, 3)
    pixels = features.transpose(1, 0, 2)                       # (G, 3, N)
    labels = _nearest(pixels, means)
    for _ in range(ROUNDS):
        among = (labels[:, None] == _INDEX).astype(np.float32)
        sizes = among.sum(2)
        sums = among @ pixels.transpose(0, 2, 1)
        means = np.where(sizes[:, :, None] > 0, sums / np.maximum(sizes, 1)[:, :, None], means)
        labels = _nearest(pixels, means)
    sizes = (labels[:, None] == _INDEX).sum(2)
    merged = np.array([_merge(some, size) for some, size in zip(means.tolist(), sizes.tolist(), strict=True)])
    return np.take_along_axis(merged, labels, axis=1)


def _squares(features: NDArray[np.float32], points: NDArray[np.float32]) -> NDArray[np.float32]:
    """(G, N) squared distances of features (3, G, N) from a point (3, G) for each garment."""
    apart = features - points[:, :, None]
    apart *= apart
    squares: NDArray[np.float32] = apart[0] + apart[1] + apart[2]
    return squares


def _nearest(pixels: NDArray[np.float32], centres: NDArray[np.float32]) -> NDArray[np.intp]:
    """(G, N) which centre of (G, C, 3) each pixel of (G, 3, N) is nearest to; of two alike, the first."""
    distances = (centres**2).sum(2)[:, :, None] - (2 * centres) @ pixels
    least, nearest = distances[:, 0], np.zeros(distances[:, 0].shape, np.intp)
    for i in range(1, distances.shape[1]):
        distance = distances[:, i]
        np.copyto(nearest, i, where=distance < least)
        least = np.minimum(least, distance)
    return nearest


def _merge(centres: list[list[float]], sizes: list[int]) -> list[int]:
    """New index of each group: the nearest two become one at their common centre, as long as they are near."""
    index = list(range(len(centres)))
    alive = [i for i in index if sizes[i]]
    gaps = {(i, j): _gap(centres[i], centres[j]) for i in alive for j in alive if i < j}
    while gaps and min(gaps.values()) < SAME**2:
        keep, gone = min(gaps, key=gaps.__getitem__)
        size = sizes[keep] + sizes[gone]
        weight = sizes[gone] / size
        centres[keep] = [x + weight * (y - x) for x, y in zip(centres[keep], centres[gone], strict=True)]
        sizes[keep] = size
        alive.remove(gone)
        index = [keep if i == gone else i for i in index]
        gaps = {pair: gap for pair, gap in gaps.items() if gone not in pair}
        for i in alive:
            if i != keep:
                gaps[min(i, keep), max(i, keep)] = _gap(centres[i], centres[keep])
    return [alive.index(i) if i in alive else 0 for i in index]


def _gap(one: list[float], two: list[float]) -> float:
    """Squared distance of two groups; folds deepen a colour, so its strength counts less than its hue."""
    x, y, z = one[0] - two[0], one[1] - two[1], one[2] - two[2]
    strength = math.hypot(one[1], one[2]) - math.hypot(two[1], two[2])
    return x * x + y * y + z * z - (1 - 0.6**2) * strength * strength


def _typical(lab: NDArray[np.float32]) -> NDArray[np.float32]:
    """The colour of the better lit half, for a white shirt in half shadow is white."""
    lightness = lab[:, 0]
    lit = np.sort(lab[lightness >= np.sort(lightness)[len(lab) // 2]], axis=0)
    middle: NDArray[np.float32] = (lit[(len(lit) - 1) // 2] + lit[len(lit) // 2]) / 2
    return middle


_INDEX = np.arange(GROUPS)[:, None]
_KERNELS = [np.ones((2 * margin + 1, 2 * margin + 1), np.uint8) for margin in range(5)]
_random = np.random.default_rng(0)                             # even strides would beat with stripes
_ALONG = (np.arange(SAMPLES) + _random.random(SAMPLES)) / SAMPLES
_ASIDE = _random.random((2, SAMPLES))


def _distances(lab: NDArray[np.float32], points: NDArray[np.float32]) -> NDArray[np.float32]:
    """(M, P) of (M, 3) from (P, 3), squared, by CIE 1994 with lightness at two thirds of its weight."""
    lightness, a, b = np.moveaxis(lab[:, None] - points, 2, 0)
    chroma, wanted = np.hypot(lab[:, 1:2], lab[:, 2:]), np.hypot(points[:, 1], points[:, 2])
    deeper = (wanted - chroma) ** 2
    across = a**2 + b**2 - deeper                                           # hue difference, squared
    mean = np.sqrt(chroma * wanted)
    distances: NDArray[np.float32] = (
        (lightness / 1.5) ** 2 + deeper / (1 + 0.045 * mean) ** 2 + across / (1 + 0.015 * mean) ** 2
    )
    return distances


def _names(lab: NDArray[np.float32]) -> tuple[list[str], list[str | None]]:
    """The name of the nearest prototype of each of (M, 3), and the nearest shade that may stand beside it."""
    distances = _distances(lab, _POINTS)
    nearest = np.argmin(distances[:, : len(_NAMES)], axis=1)
    names = [_NAMES[i] for i in nearest]
    finer = np.where(_BESIDE[nearest], distances[:, len(_NAMES) :], np.inf)
    which = np.argmin(finer, axis=1)
    near = finer[np.arange(len(lab)), which] <= REACH**2
    return names, [_WORDS[i] if said else None for i, said in zip(which, near, strict=True)]


def _hex(pixels: NDArray[np.uint8], lab: NDArray[np.float32], typical: NDArray[np.float32]) -> str:
    """`#rrggbb` of the pixel (N, 3), also given in Lab, that is nearest to a typical colour (3,)."""
    apart = lab - typical
    nearest: NDArray[np.uint8] = pixels[np.einsum("ni,ni->n", apart, apart).argmin()]
    return "#" + nearest.tobytes().hex()


def _points(table: Mapping[str, str]) -> tuple[list[str], NDArray[np.float32]]:
    """The key of each colour of a table, and (P, 3) Lab."""
    codes = [(key, code) for key, text in table.items() for code in text.split()]
    rgb = np.array([list(bytes.fromhex(code)) for _, code in codes], np.float32) / 255
    return [key for key, _ in codes], np.asarray(cv2.cvtColor(rgb[None], cv2.COLOR_RGB2Lab)[0], np.float32)


def _beside() -> NDArray[np.bool_]:
    """(P, S) whether a prototype's name is one of those that a shade's own colours have."""
    own = np.argmin(_distances(_POINTS[len(_NAMES) :], _POINTS[: len(_NAMES)]), axis=1)
    pairs = {(_NAMES[i], word) for i, word in zip(own, _WORDS, strict=True)}
    return np.array([[(name, word) in pairs for word in _WORDS] for name in _NAMES])


_NAMES, _of_names = _points(PROTOTYPES)
_WORDS, _of_shades = _points(SHADES)
_POINTS = np.concatenate([_of_names, _of_shades])
_BESIDE = _beside()
