"""Masks of garments: cleaned of what no garment is, and written in the forms that other programs read.

Shapes: H W photo. A mask is True where the garment is.
"""

from __future__ import annotations

import base64
from io import BytesIO
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco  # type: ignore[import-untyped]  # pycocotools ships no types

Mask = NDArray[np.bool_]
MaskFormat = Literal["rle", "png", "polygons", "none"]
MASK_FORMATS: tuple[MaskFormat, ...] = ("rle", "png", "polygons", "none")

MIN_PART = 1e-4
"""Share of the photo below which a connected part is a speckle: on a 550 x 825 photo, about 7 x 7 pixels."""
MIN_OF_LARGEST = 0.02
"""Share of a garment's largest part below which another part of it is a speckle."""
MAX_HOLE = 0.01
"""Share of a garment that a hole may have to be filled: larger ones are real, as under a bent arm."""


def encode(mask: Mask | None, form: MaskFormat) -> Any:  # noqa: ANN401  each form is of another type
    """A mask as plain JSON.

    Args:
        mask: (H, W), or None where a garment has no mask.
        form: `rle`, `png`, `polygons` or `none`; see the function of that name.

    Raises:
        ValueError: there is no such form.
    """
    if form not in MASK_FORMATS:
        raise ValueError(f"mask format {form!r}: choose {', '.join(MASK_FORMATS)}")
    if mask is None or form == "none":
        return None
    return {"rle": rle, "png": png, "polygons": polygons}[form](mask)


def rle(mask: Mask) -> dict[str, Any]:
    """COCO's compressed run-length encoding: `{"size": [H, W], "counts": "..."}`."""
    packed = coco.encode(np.asfortranarray(mask.view(np.uint8)))
    return {"size": [int(side) for side in packed["size"]], "counts": packed["counts"].decode("ascii")}


def png(mask: Mask) -> str:
    """A PNG of the photo's size, one bit a pixel, in base64."""
    buffer = BytesIO()
    Image.fromarray(mask).save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def polygons(mask: Mask) -> list[list[int]]:
    """Outlines, one flat list `[x, y, x, y, ...]` a connected part, true to a pixel or so.

    Coordinates are those of pixel edges, so a garment that fills its box [x, y, w, h] has the corners (x, y) and
    (x + w, y + h). COCO's polygons know no holes: a hole is joined to its outline by a cut of no width, there and
    back, so that both usual rules of filling, even-odd and non-zero, leave it open.
    """
    # Doubled pixels put the outline that OpenCV draws through pixel centres beside the edges of the true pixels.
    x, y, width, height = box(mask)
    doubled = np.zeros((2 * height + 2, 2 * width + 2), np.uint8)
    doubled[1:-1, 1:-1] = mask[y : y + height, x : x + width].repeat(2, axis=0).repeat(2, axis=1)
    outlines, tree = cv2.findContours(doubled, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    corner = np.array([x, y], np.int32)
    rings = [_simplify(np.asarray(outline, np.int32)[:, 0] // 2) + corner for outline in outlines]
    result = []
    for i, ring in enumerate(rings):
        if tree[0, i, 3] >= 0:                                   # a hole: joined to the ring that it lies in
            continue
        hole = int(tree[0, i, 2])
        while hole >= 0:
            ring = _cut_in(ring, rings[hole])
            hole = int(tree[0, hole, 0])
        result.append([int(value) for value in ring.ravel()])
    return result


def box(mask: Mask) -> tuple[int, int, int, int]:
    """The smallest box (x, y, width, height) in pixels around a mask; all 0 where it is empty."""
    x, y, width, height = cv2.boundingRect(mask.view(np.uint8))
    return x, y, width, height


def remove_speckles(mask: Mask, photo_pixels: int) -> Mask:
    """The mask without the connected parts that are smaller than `MIN_PART` or `MIN_OF_LARGEST`.

    Args:
        mask: (H, W), or a crop that holds the whole garment.
        photo_pixels: H times W of the whole photo.
    """
    count, parts = _connected(mask, 8)
    if count == 2 and np.count_nonzero(mask) >= MIN_PART * photo_pixels:
        return mask
    areas = _areas(count, parts)
    smallest = max(MIN_PART * photo_pixels, MIN_OF_LARGEST * areas[1:].max(initial=0))
    keep = areas >= smallest
    keep[0] = False
    if keep.sum() == len(areas) - 1:
        return mask
    return _union(parts, keep)


def fill_holes(mask: Mask, free: Mask) -> Mask:
    """The mask with its holes up to `MAX_HOLE` of its area filled, but only where `free` is True.

    Args:
        mask: (H, W), or a crop around the whole garment.
        free: The same shape, True on pixels that no other garment has.
    """
    count, parts = _connected(~mask, 4)
    hole = np.ones(count, np.bool_)
    hole[0] = False
    for border in (parts[0], parts[-1], parts[:, 0], parts[:, -1]):  # what reaches the border is no hole
        hole[border] = False
    if not hole.any():
        return mask
    small = hole & (_areas(count, parts) <= MAX_HOLE * np.count_nonzero(mask))
    if not small.any():
        return mask
    filled: Mask = mask | (_union(parts, small) & free)
    return filled


def _connected(mask: Mask, connectivity: Literal[4, 8]) -> tuple[int, NDArray[np.int32]]:
    """How many numbers there are, and that of the connected part of each pixel (H, W); 0 is what is not the mask."""
    count, parts = cv2.connectedComponents(mask.view(np.uint8), connectivity=connectivity)
    return count, np.asarray(parts, np.int32)


def _areas(count: int, parts: NDArray[np.int32]) -> NDArray[np.float32] | NDArray[np.intp]:
    """(count,) pixels of each part."""
    if count >= 2**16 or parts.size >= 2**24:                    # more than OpenCV's histograms can tell exactly
        return np.bincount(parts.ravel(), minlength=count)
    return np.asarray(cv2.calcHist([parts.astype(np.uint16)], [0], None, [count], [0, count]), np.float32).ravel()


def _union(parts: NDArray[np.int32], chosen: NDArray[np.bool_]) -> Mask:
    """The mask of the parts that are chosen, of all."""
    numbers = np.flatnonzero(chosen).tolist()
    if len(numbers) > 16:
        union: Mask = chosen[parts]
        return union
    union = np.zeros(parts.shape, np.bool_)
    for number in numbers:
        union |= parts == number
    return union


def _simplify(ring: NDArray[np.int32]) -> NDArray[np.int32]:
    """A ring of pixel corners (N, 2) with fewer points, at most one pixel off; one that would shrink is kept."""
    ring = ring[(ring != np.roll(ring, 1, axis=0)).any(1)]
    short = np.asarray(cv2.approxPolyDP(ring, 1.0, True), np.int32)[:, 0]
    area = cv2.contourArea(ring)
    return short if abs(cv2.contourArea(short) - area) <= 0.1 * area else ring


def _cut_in(ring: NDArray[np.int32], hole: NDArray[np.int32]) -> NDArray[np.int32]:
    """One ring that runs round the outline, across to the hole, round it and back."""
    gaps = ((ring[:, None] - hole) ** 2).sum(2)
    i, j = np.unravel_index(int(np.argmin(gaps)), gaps.shape)
    around = np.concatenate([hole[j:], hole[: j + 1]])
    return np.concatenate([ring[: i + 1], around, ring[i:]])
