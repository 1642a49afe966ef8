"""Masks as the borders of their runs, which Kaggle's texts and COCO's counts both say.

Pixels are numbered down the columns, one column after another, and the **borders** are where the mask begins and ends,
in turn. Kaggle writes "start length" pairs counted from 1, COCO counts of pixels without and with the mask.

Shapes: H W photo.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco  # type: ignore[import-untyped]

Borders = NDArray[np.int64]
"""(2 * runs,) never falling: where the mask begins, ends, begins, ... in pixels, down the columns."""


def borders_of_text(text: bytes | str, size: tuple[int, int]) -> Borders:
    """Borders of Kaggle's "start length start length ..." text, 1-based (Kaggle iMaterialist's data page).

    Args:
        text: The runs.
        size: (height, width) of the photo they lie on.

    Raises:
        ValueError: not whole numbers in pairs, a run of no pixels, runs that overlap or fall, or that leave the photo.
    """
    digits = (text.encode() if isinstance(text, str) else text).strip()
    if digits.translate(None, b"0123456789 \t\r\n"):
        raise ValueError("runs are whole numbers, start and length in turn")
    numbers = np.fromstring(digits, np.int64, sep=" ") if digits else np.empty(0, np.int64)  # 4 times np.array's pace
    if len(numbers) % 2:
        raise ValueError(f"{len(numbers)} numbers are no pairs of start and length")
    if (most := numbers.max(initial=0)) > size[0] * size[1]:                      # before sums of them run over
        raise ValueError(f"a start or a length of {most}; {_pixels(size)}")
    starts, lengths = numbers[::2] - 1, numbers[1::2]
    if (lengths < 1).any():
        raise ValueError(f"run {int((lengths < 1).argmax()) + 1} has no pixel")
    borders = np.stack([starts, starts + lengths], axis=1).ravel()
    _check(borders, size)
    return borders


def text_of_borders(borders: Borders) -> str:
    """The inverse of `borders_of_text`."""
    return " ".join(map(str, np.stack([borders[::2] + 1, borders[1::2] - borders[::2]], axis=1).ravel().tolist()))


def borders_of_counts(counts: Sequence[int] | NDArray[np.int64], size: tuple[int, int]) -> Borders:
    """Borders of COCO's uncompressed counts: pixels without the mask, with it, without, ... in turn.

    Raises:
        ValueError: counts below 0, or not as many in all as the photo has pixels.
    """
    pixels = size[0] * size[1]
    try:
        numbers = np.asarray(counts)
    except ValueError as error:                           # lists in a list
        raise ValueError("counts are whole numbers of 0 or more") from error
    if numbers.ndim != 1 or (len(numbers) and (numbers.dtype.kind not in "iu" or numbers.min() < 0)):
        raise ValueError("counts are whole numbers of 0 or more")
    numbers = numbers.astype(np.int64)
    if (most := numbers.max(initial=0)) > pixels:         # before sums of them run over
        raise ValueError(f"a count of {most} pixels; {_pixels(size)}")
    if numbers.sum() != pixels:
        raise ValueError(f"counts of {numbers.sum()} pixels in all; {_pixels(size)}")
    ends = np.cumsum(numbers)
    return _joined(ends[: len(ends) // 2 * 2] if len(ends) % 2 == 0 else ends[:-1])


def borders_of_rle(text: bytes, size: tuple[int, int]) -> Borders:
    """Borders of COCO's compressed counts, as pycocotools writes them.

    Each count is a number in base 32 with a sign, the lowest digit first, bit 6 of a character says that more follow;
    from the fourth on it is the difference to the count before the last one (rleToString in maskApi.c).

    Raises:
        ValueError: not such a text, or not as many pixels as the photo has.
    """
    characters = np.frombuffer(text, np.uint8).astype(np.int64) - 48
    if not len(characters) or ((characters < 0) | (characters > 63)).any() or characters[-1] & 32:
        raise ValueError("not a compressed RLE of COCO")
    last = (characters & 32) == 0
    first = np.concatenate([[0], np.flatnonzero(last)[:-1] + 1])
    place = np.arange(len(characters)) - np.repeat(first, np.diff(np.append(first, len(characters))))
    if place.max() > 11:
        raise ValueError("not a compressed RLE of COCO")
    numbers = np.add.reduceat((characters & 31) << (5 * place), first)
    ends = np.flatnonzero(last)
    numbers -= np.where(characters[ends] & 16, np.int64(1) << (5 * (place[ends] + 1)), 0)
    numbers[1::2] = np.cumsum(numbers[1::2])
    numbers[2::2] = np.cumsum(numbers[2::2])
    return borders_of_counts(numbers, size)


def are_rles(texts: Sequence[bytes], size: tuple[int, int]) -> NDArray[np.bool_]:
    """(N,) True where a text is certainly COCO's compressed counts of that many pixels: a quick look at many at once.

    Where it is False, `borders_of_rle` says what is wrong, or that nothing is.

    Args:
        texts: N texts.
        size: (H, W).
    """
    unsure = np.zeros(len(texts), np.bool_)
    characters = np.frombuffer(b"".join(texts), np.uint8) - np.uint8(48)
    ends = np.flatnonzero(characters < 32)                            # of each number, its last character
    stops = np.cumsum([len(text) for text in texts])
    after = np.searchsorted(ends, stops - 1)                          # of each text, its last number
    if not all(texts) or not len(ends) or characters.max() > 63 or not np.isin(stops - 1, ends).all():
        return unsure
    first = np.append(0, ends[:-1] + 1)
    digits = ends - first + 1
    if digits.max() > 7:                                              # more than a count of 32 bits needs
        return unsure
    numbers = np.zeros(len(ends), np.int64)
    for place in range(int(digits.max())):
        there = np.flatnonzero(digits > place)
        numbers[there] |= (characters[first[there] + place].astype(np.int64) & 31) << (5 * place)
    numbers -= np.where(characters[ends] & 16, np.int64(1) << (5 * digits), 0)
    begin = np.append(0, after[:-1] + 1)
    for start, stop in zip(begin.tolist(), (after + 1).tolist(), strict=True):
        for parity in (1, 2):
            counts = numbers[start + parity : stop : 2]
            np.cumsum(counts, out=counts)
    sound: NDArray[np.bool_] = np.add.reduceat(numbers, begin) == size[0] * size[1]
    sound &= np.minimum.reduceat(numbers, begin) >= 0
    return sound


def rle_of_borders(borders: Borders, size: tuple[int, int]) -> dict[str, object]:
    """COCO's compressed RLE, as pycocotools takes it."""
    ends = _joined(borders)
    if not len(ends) or ends[-1] < size[0] * size[1]:     # pycocotools writes no last count of 0
        ends = np.append(ends, size[0] * size[1])
    counts = np.diff(ends, prepend=0)
    rle: dict[str, object] = coco.frPyObjects({"size": list(size), "counts": counts.tolist()}, *size)
    return rle


def borders_of_polygons(polygons: Sequence[Sequence[float]], size: tuple[int, int]) -> Borders:
    """Borders of the union of COCO polygons, each x, y, x, y, ... in pixels, drawn as pycocotools draws them.

    Raises:
        ValueError: a polygon of under three points, that is not made of finite numbers, or that lies far off the photo.
    """
    flat = []
    for polygon in polygons:
        try:
            points = np.asarray(polygon, np.float64)
        except (ValueError, TypeError) as error:
            raise ValueError("a polygon is x, y of three points or more") from error
        if points.ndim != 1 or len(points) < 6 or len(points) % 2 or not np.isfinite(points).all():
            raise ValueError("a polygon is x, y of three points or more")
        if points.min() < -max(size) or points.max() > 2 * max(size):   # pycocotools would walk there, or crash
            far = max(points.tolist(), key=abs)
            raise ValueError(f"a polygon goes to {far:g}, far off a photo of {size[0]} x {size[1]}")
        flat.append(points.tolist())
    if not flat:
        return np.empty(0, np.int64)
    rle = coco.merge(coco.frPyObjects(flat, *size))
    return borders_of_rle(rle["counts"], size)


def borders_of_mask(mask: NDArray[np.bool_] | NDArray[np.uint8]) -> Borders:
    """Borders of a mask (H, W)."""
    flat = np.asarray(mask > 0).ravel(order="F").view(np.int8)
    return np.flatnonzero(np.diff(flat, prepend=0, append=0)).astype(np.int64)


def area(borders: Borders) -> int:
    """Pixels of the mask."""
    return int((borders[1::2] - borders[::2]).sum())


def _check(borders: Borders, size: tuple[int, int]) -> None:
    if not len(borders):
        return
    if (np.diff(borders) < 0).any():
        run = int((np.diff(borders) < 0).argmax()) // 2 + 2
        raise ValueError(f"run {run} begins before the one before it ends")
    if borders[0] < 0:
        raise ValueError("pixels are counted from 1")
    if borders[-1] > size[0] * size[1]:
        raise ValueError(f"runs go to pixel {borders[-1]}; {_pixels(size)}")


def _pixels(size: tuple[int, int]) -> str:
    return f"a photo of {size[0]} x {size[1]} has {size[0] * size[1]}"


def _joined(borders: Borders) -> Borders:
    """Without runs of no pixels and gaps of none: borders that meet in pairs cancel."""
    places, times = np.unique(borders, return_counts=True)
    kept: Borders = places[times % 2 == 1]
    return kept
