"""Which photos are the same: byte for byte, or the same picture saved again at another size, quality or brightness.

A picture is known by its **look**: 64 bits of its lowest frequencies (a perceptual hash by cosine transform, Zauner,
2010, https://phash.org/docs/pubs/thesis_zauner.pdf) and a thumbnail. Photos whose bits agree but for a few are
candidates; their thumbnails decide. A mirrored, turned or cropped copy has another look and is not found.

No two photos are compared unless two of their hash's eight bytes agree, so that 50,000 photos take seconds.

Shapes: N photos, P pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

SIDE = 24
"""Height and width of a thumbnail."""
MOST_BITS = 6
"""Bits of the hash in which the same picture may differ: 8 bytes of which 6 differ leave 2 that agree."""
MOST_RESIDUE = 0.2
"""How much of a thumbnail may differ from another, in its own standard deviations."""
LEAST_CONTRAST = 4.0
"""Standard deviation, in grey levels of 255, below which a thumbnail is blank and like any other blank one."""
GAIN = (0.7, 1.4)
"""Factors of contrast between copies of a picture."""
ASPECT = 0.03
"""How far, as a share, the aspect ratio of a copy may be off: sizes are rounded."""
NEIGHBOURS = 64
"""Photos that a photo is compared with for each two bytes that agree: of thousands that are alike not all pairs."""
BLOCK = 1 << 13
"""Pairs whose thumbnails are compared at once."""


class Look(NamedTuple):
    """What a photo looks like."""

    bits: int
    """64 bits, one for each of the lowest frequencies."""
    thumbnail: NDArray[np.uint8]
    """(SIDE, SIDE, 3) RGB, stretched to a square."""
    aspect: float
    """Width by height."""
    contrast: float
    """Standard deviation of the thumbnail, in grey levels of 255."""


def look_of(photo: NDArray[np.uint8]) -> Look:
    """What a photo (H, W, 3) looks like."""
    aspect = photo.shape[1] / photo.shape[0]
    step = min(photo.shape[:2]) // 256                    # whole steps are several times as fast
    if step > 1:
        height, width = photo.shape[0] // step, photo.shape[1] // step
        inside = photo[: height * step, : width * step]
        photo = cv2.resize(inside, (width, height), interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
    small = cv2.resize(photo, (32, 32), interpolation=cv2.INTER_AREA)
    frequencies = cv2.dct(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32))
    low = frequencies[:9, :9].ravel()[_ORDER]
    signs = low > np.median(low)
    bits = int(np.packbits(signs).view(">u8")[0])
    thumbnail = cv2.resize(small, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return Look(bits, thumbnail, aspect, float(thumbnail.std()))  # type: ignore[arg-type]


def _lowest() -> NDArray[np.intp]:
    """Places of the 64 lowest frequencies but the mean, dealt out so that each byte has high and low ones."""
    rows, columns = np.divmod(np.arange(81), 9)
    lowest = np.argsort(rows + columns + rows / 100, kind="stable")[1:65]
    places: NDArray[np.intp] = lowest.reshape(8, 8).T.ravel()
    return places


_ORDER = _lowest()
_ONES = np.array([bin(x).count("1") for x in range(1 << 16)], np.uint8)


def same_bytes(digests: Sequence[bytes | None]) -> list[list[int]]:
    """Positions of the photos that are the same file, in lists of two or more; None is like nothing."""
    known: dict[bytes, list[int]] = {}
    for position, digest in enumerate(digests):
        if digest is not None:
            known.setdefault(digest, []).append(position)
    return [same for same in known.values() if len(same) > 1]


def same_look(looks: Sequence[Look]) -> list[tuple[int, int]]:
    """Positions of the pairs of photos that look the same, the first before the second, in order."""
    if len(looks) < 2:
        return []
    aspect = np.log([look.aspect for look in looks])
    first, second = _candidates(np.array([look.bits for look in looks], np.uint64))
    near = abs(aspect[first] - aspect[second]) < ASPECT
    near &= np.array([look.contrast >= LEAST_CONTRAST for look in looks])[first]
    first, second = first[near], second[near]
    found: list[tuple[int, int]] = []
    for begin in range(0, len(first), BLOCK):
        a, b = first[begin : begin + BLOCK].tolist(), second[begin : begin + BLOCK].tolist()
        left = residue(*(np.stack([looks[i].thumbnail.ravel() for i in side]) for side in (a, b)))
        found += [pair for pair, rest in zip(zip(a, b, strict=True), left, strict=True) if rest <= MOST_RESIDUE]
    return found


def residue(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(P,) what is left of one thumbnail when the other is taken away, as brightened as fits it best.

    Args:
        a: (P, D) thumbnails.
        b: (P, D) thumbnails to compare with.

    Returns:
        Root mean square over standard deviation, 0..1; infinity where the contrast differs by more than `GAIN`.
    """
    x, y = a.astype(np.float32), b.astype(np.float32)
    x -= x.mean(1, keepdims=True)
    y -= y.mean(1, keepdims=True)
    xx, yy, xy = (np.einsum("pd,pd->p", u, v) for u, v in ((x, x), (y, y), (x, y)))
    left = np.sqrt(np.clip(1 - xy**2 / np.maximum(xx * yy, 1e-9), 0, 1))
    gain = np.sqrt(yy / np.maximum(xx, 1e-9))
    alike = (xy > 0) & (gain > GAIN[0]) & (gain < GAIN[1])
    apart: NDArray[np.float64] = np.where(alike, left, np.inf)
    return apart


def _candidates(bits: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of positions, (P,) and (P,), whose bits differ in `MOST_BITS` or fewer, in order."""
    pairs = np.empty(0, np.int64)
    octets = bits.astype(">u8").view(np.uint8).reshape(-1, 8).astype(np.uint16)
    for one, other in combinations(range(8), 2):
        key = octets[:, one] << 8 | octets[:, other]
        order = np.lexsort((bits, key))                   # in a bucket, what is alike lies side by side
        found = [pairs]
        ordered, placed = key[order], bits[order]
        for step in range(1, min(NEIGHBOURS, len(bits) - 1) + 1):
            alike = ordered[step:] == ordered[:-step]
            if not alike.any():
                break
            at = np.flatnonzero(alike)
            at = at[_differing(placed[at], placed[at + step]) <= MOST_BITS]
            if len(at):
                a, b = order[at], order[at + step]
                found.append(np.minimum(a, b) * len(bits) + np.maximum(a, b))
        pairs = np.unique(np.concatenate(found))
    return pairs // len(bits), pairs % len(bits)


def _differing(a: NDArray[np.uint64], b: NDArray[np.uint64]) -> NDArray[np.int64]:
    """(P,) bits in which two hashes differ."""
    count: NDArray[np.int64] = _ONES[(a ^ b).view(np.uint16).reshape(-1, 4)].sum(1, dtype=np.int64)
    return count
