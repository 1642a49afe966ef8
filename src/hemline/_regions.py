"""Machinery of `hemline.result`: mask logits on the canvas -> one cleaned region of the photo for each class.

Classes compete for pixels within their layer: parts of garments lie on garments, and take nothing from them.

Shapes: K mask classes, h w the mask head's map, H W photo.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from hemline.masks import Mask, fill_holes, remove_speckles
from hemline.photo import Frame, unplace

MAX_DECIDED = 500_000
"""Pixels that masks are decided at, about."""
NOBODY = -1
"""Owner of a pixel that no class wins."""
LEAST_RIVALRY = 0.4
"""Of the cells where a class passes its threshold, it must win this much of what any other class wins there. With less,
it is a second guess at the other's garment, and its slivers go to that one."""


class Region(NamedTuple):
    """What one class holds of the photo."""

    mask: Mask
    """(H, W)."""
    score: float
    """Mean over the pixels that it won of its probability, shifted so that the threshold is 0.5; 0.5..1."""


class Maps(NamedTuple):
    """The mask logits of one photo and what is needed to read them."""

    logits: NDArray[np.float32]
    """(K, h, w) on the canvas."""
    canvas_size: tuple[int, int]
    frame: Frame
    thresholds: NDArray[np.float32]
    """(K,) logits; infinite where a class wins always or never."""
    layers: Sequence[Sequence[int]]
    """Classes among which a pixel's owner is chosen; a pixel has one in each layer."""

    def at_full_size(self, index: int, out: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """The logits (H, W) of one class, at the photo's size; written over `out` (1, H, W) where it is given."""
        logits: NDArray[np.float32] = unplace(self.logits[index : index + 1], self.frame, self.canvas_size, out=out)[0]
        return logits

    def reach(self, index: int) -> tuple[slice, slice]:
        """Rows and columns of the photo beyond which one class passes its threshold nowhere.

        A logit between two cells is never above both, so a class reaches less than a cell beyond those where it
        passes, and the cells beside the photo count as the nearest that touch it.
        """
        frame, passing = self.frame, self.logits[index] > self.thresholds[index]
        if not np.isfinite(self.thresholds[index]):
            return slice(0, frame.photo_height), slice(0, frame.photo_width)
        sides = (frame.top, frame.height, frame.photo_height), (frame.left, frame.width, frame.photo_width)
        spans = []
        for axis, (start, length, pixels) in enumerate(sides):
            canvas, count = self.canvas_size[axis], passing.shape[axis]
            first, last = _cells(start, length, canvas, count)
            inside = np.flatnonzero(passing.any(1 - axis)[first:last])
            if not len(inside):
                return slice(0, 0), slice(0, 0)
            low, high = first + inside[0] - 1, first + inside[-1] + 2      # a cell more on each side, and one pixel
            scale = pixels / length
            spans.append(
                slice(
                    max(0, math.floor((low * canvas / count - start) * scale) - 1),
                    max(0, min(pixels, math.ceil((high * canvas / count - start) * scale) + 1)),
                )
            )
        return spans[0], spans[1]


def working_frame(frame: Frame) -> Frame:
    """The frame of the photo at the size that its masks are decided at: its own, or of a large photo a smaller one.

    The network's maps are coarser still: it has `MAX_DECIDED` pixels, or twice as many as it fills of the canvas along
    each side, whichever is more.
    """
    height, width = frame.photo_height, frame.photo_width
    scale = math.sqrt(max(MAX_DECIDED, 4 * frame.height * frame.width) / (height * width))
    if scale >= 1:
        return frame
    return frame._replace(photo_height=max(1, round(height * scale)), photo_width=max(1, round(width * scale)))


def logit(probability: ArrayLike) -> NDArray[np.float32]:
    """The logit of probabilities; minus infinity of 0, infinity of 1."""
    p = np.asarray(probability, np.float64)
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(p) - np.log1p(-p), np.float32)


def sigmoid(x: ArrayLike) -> NDArray[np.float32]:
    """The probability of logits, infinite ones too."""
    return np.asarray(0.5 + 0.5 * np.tanh(0.5 * np.asarray(x, np.float32)), np.float32)


def rivals(logits: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """(K, H, W) logits -> (1 + K, H, W) the softmax over nobody, whose logit is 0, and the classes; -inf never wins."""
    scores = np.concatenate([np.zeros_like(logits[:1]), logits])
    odds = np.exp(scores - scores.max(0))
    chance: NDArray[np.floating[Any]] = odds / odds.sum(0)
    return chance


def find_regions(maps: Maps, wanted: int) -> dict[int, Region]:
    """The region of each class below `wanted` that holds any pixel; no two regions of a layer share a pixel.

    Speckles of every class go to nobody, then small holes that are nobody's are filled.
    """
    regions: dict[int, Region] = {}
    for layer in maps.layers:
        regions |= _regions_of(maps, layer, wanted)
    return regions


def _regions_of(maps: Maps, layer: Sequence[int], wanted: int) -> dict[int, Region]:
    owner, margin, reach = _decide(maps, layer)
    boxes: dict[int, tuple[slice, slice]] = {}
    for k, within in reach.items():
        crop = _box(owner, k, within)
        won = owner[crop] == k
        if not won.size:
            continue
        kept = remove_speckles(won, owner.size)
        if kept is not won:
            _give(owner[crop], won & ~kept, NOBODY)
        if kept.any():
            boxes[k] = crop
    regions = {}
    for k, crop in boxes.items():
        if k < wanted:
            won = owner[crop] == k
            score = float(sigmoid(margin[crop][won]).mean())
            mask = np.zeros(owner.shape, np.bool_)
            filled = fill_holes(won, owner[crop] == NOBODY)
            mask[crop] = filled
            if filled is not won:
                _give(owner[crop], filled, k)
            regions[k] = Region(mask, score)
    return regions


def decide(maps: Maps, layer: Sequence[int]) -> tuple[NDArray[np.int16], NDArray[np.float32], list[int]]:
    """The owner (H, W) of each pixel among the classes of a layer, its margin, and the classes that own any.

    A logit between cells is never above its cells, so only the classes that compete on the small map are enlarged, one
    at a time.
    """
    owner, best, reach = _decide(maps, layer)
    return owner, best, [k for k, within in reach.items() if (owner[within] == k).any()]


def _decide(
    maps: Maps, layer: Sequence[int]
) -> tuple[NDArray[np.int16], NDArray[np.float32], dict[int, tuple[slice, slice]]]:
    """As `decide`, with the rows and columns beyond which each class that competes owns nothing."""
    shape = maps.frame.photo_height, maps.frame.photo_width
    owner = np.full(shape, NOBODY, np.int16)
    best = np.zeros(shape, np.float32)
    reach = {k: maps.reach(k) for k in contenders(maps, layer)}
    full = np.empty((1, *shape), np.float32)
    for k, within in reach.items():
        margin, highest = maps.at_full_size(k, full)[within], best[within]
        if not margin.size:
            continue
        margin -= maps.thresholds[k]
        better: Mask = margin > highest
        cv2.copyTo(margin, better.view(np.uint8), highest)
        _give(owner[within], better, k)
    return owner, best, reach


def contenders(maps: Maps, layer: Sequence[int]) -> list[int]:
    """The classes of a layer that compete for this photo's pixels: those that pass and are no second guess at another.

    Each wins a cell at least, on the cells that touch the photo, so the network has pooled labels under its mask.
    """
    (height, width), frame = maps.logits.shape[1:], maps.frame
    top, bottom = _cells(frame.top, frame.height, maps.canvas_size[0], height)
    left, right = _cells(frame.left, frame.width, maps.canvas_size[1], width)
    inside = maps.logits[:, top:bottom, left:right]
    competing = [k for k in layer if inside[k].max() > maps.thresholds[k]]
    if not competing:
        return []
    margins = (inside[competing] - maps.thresholds[competing, None, None]).reshape(len(competing), -1)
    passing = margins > 0
    won = passing & (margins >= margins.max(0))
    there = passing.astype(np.float32) @ won.astype(np.float32).T        # (C, C): cells where k passes that j wins
    good = passing.any(1) & (won.sum(1) >= LEAST_RIVALRY * there.max(1))
    return [competing[i] for i in np.flatnonzero(good)]


def _give(owner: NDArray[np.int16], where: Mask, k: int) -> None:
    """`owner[where] = k`, in a twentieth of the time that numpy takes."""
    cv2.copyTo(np.full(owner.shape, k, np.int16), where.view(np.uint8), owner)


def _box(owner: NDArray[np.int16], k: int, within: tuple[slice, slice]) -> tuple[slice, slice]:
    """The smallest rows and columns that hold all that class `k` owns, all of it `within` those; empty of nothing."""
    x, y, width, height = cv2.boundingRect((owner[within] == k).view(np.uint8))
    top, left = within[0].start + y, within[1].start + x
    return slice(top, top + height), slice(left, left + width)


def _cells(start: int, length: int, canvas: int, cells: int) -> tuple[int, int]:
    """The cells, first and one past the last, that touch canvas pixels `start` to `start + length`."""
    return start * cells // canvas, -(-(start + length) * cells // canvas)


def best_region(maps: Maps, index: int, least: float) -> Mask | None:
    """Where a class that won no pixel is likeliest: its probability is at least half of its maximum there.

    Args:
        maps: The logits.
        index: The class.
        least: The maximum that makes it worth saying, a probability; below it the answer is None.
    """
    logits = maps.at_full_size(index)
    highest = float(sigmoid(logits.max()))
    if not highest >= least:
        return None
    mask = remove_speckles(logits >= logit(highest / 2), logits.size)
    return mask if mask.any() else None
