"""Masks of many garments as runs, and runs as one map of segments.

A mask is kept as the **borders** of its runs: pixels are numbered down the columns, one column after another, and the
borders are where the mask begins and ends, in turn. Kaggle's "start length" text (1-based) and COCO's counts both say
that, so a mask is never unpacked alone: `overlay` draws the masks of a photo, overlaps included, as one map of
segments, at about the cost of one of them.

Shapes: H W photo, N masks, S segments.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco  # type: ignore[import-untyped]

from hemline.data.sample import MOST_SEGMENTS, Segments

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
    if not all(texts) or not len(texts):
        return unsure
    characters = np.frombuffer(b"".join(texts), np.uint8).astype(np.int64) - 48
    stops = np.cumsum([len(text) for text in texts])
    last = (characters & 32) == 0
    if characters.min() < 0 or characters.max() > 63 or not last[stops - 1].all():
        return unsure
    ends = np.flatnonzero(last)
    first = np.append(0, ends[:-1] + 1)
    place = np.arange(len(characters)) - np.repeat(first, np.diff(np.append(first, len(characters))))
    if place.max() > 6:                                   # more than a count of 32 bits needs
        return unsure
    numbers = np.add.reduceat((characters & 31) << (5 * place), first)
    numbers -= np.where(characters[ends] & 16, np.int64(1) << (5 * (place[ends] + 1)), 0)
    begin = np.searchsorted(first, np.append(0, stops[:-1]))          # of each text, its first number
    times = np.diff(np.append(begin, len(numbers)))
    turn = np.arange(len(numbers)) - np.repeat(begin, times)          # of each number, its place in its text
    counts = np.where(turn == 0, numbers, 0)
    for odd in (0, 1):                                    # one is its number and those two, four, ... before
        own = (turn > 0) & (turn % 2 == odd)
        sums = np.cumsum(np.where(own, numbers, 0))       # of all texts; what stood before a text goes off again
        counts += np.where(own, sums - np.repeat(sums[begin], times), 0)
    sound: NDArray[np.bool_] = np.add.reduceat(counts, begin) == size[0] * size[1]
    sound &= np.minimum.reduceat(counts, begin) >= 0
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


def overlay(masks: Sequence[Borders], size: tuple[int, int]) -> tuple[Segments, list[tuple[int, ...]]]:
    """Draw masks on one map, where they overlap a segment of its own.

    Args:
        masks: N masks.
        size: (H, W).

    Returns:
        (H, W) segment ids, 0 where there is no mask, and for each of the S segments the masks that cover it.

    Raises:
        ValueError: more segments than 65,536.
    """
    # a stretch of pixels is told by the exclusive or of the random keys of the masks that have begun and not ended
    keys = np.random.default_rng(0).integers(1, 2**63, len(masks), dtype=np.uint64)
    places = np.concatenate([np.zeros(1, np.int64), *masks])
    toggles = np.concatenate([np.zeros(1, np.uint64), np.repeat(keys, [len(mask) for mask in masks])])
    order = np.argsort(places, kind="stable")
    places = places[order]
    lengths = np.diff(places, append=size[0] * size[1])
    some = lengths > 0
    places, lengths = places[some], lengths[some]
    stretch = np.bitwise_xor.accumulate(toggles[order])[some]
    kinds, where, of_kind = np.unique(stretch, return_index=True, return_inverse=True)
    if len(kinds) + (0 not in kinds) > 65536:
        raise ValueError(f"{len(masks)} masks overlap in {len(kinds)} ways; 65,536 at most")
    bare = [()] * (0 not in kinds)                        # keys are sorted: where some pixels are bare, they are first
    covering = np.stack([mask.searchsorted(places[where], "right") % 2 == 1 for mask in masks] or [kinds != 0])
    members = bare + [tuple(np.flatnonzero(column).tolist()) for column in covering.T]
    ids = np.arange(len(kinds)) + len(bare)
    small = np.uint8 if len(members) <= MOST_SEGMENTS else np.uint16
    columns = np.repeat(ids[of_kind].astype(small), lengths).reshape(size[1], size[0])
    return cv2.transpose(columns), members  # type: ignore[return-value]


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
