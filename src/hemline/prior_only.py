"""The same garments in every photo: what scores with no photo seen, which any answer has to beat.

It knows how often and where each category is worn, and nothing of the photo. It knows that from the very photos that
are measured, so nothing that looks at no photo and knows of others alone does better, but by chance.

Shapes: N garments, G side of the grid, H W a photo's size in pixels.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from statistics import median_low
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco  # type: ignore[import-untyped]  # pycocotools ships no types

from hemline.borders import borders_of_rle
from hemline.instances import RLE, Instance, ScoredPhoto

GRID = 64
"""Points down and across a photo at which masks are averaged."""
_LEVELS = np.linspace(0.05, 1, 20)
Grid = NDArray[np.bool_]


class _Prior(NamedTuple):
    """One garment that every photo is said to show."""

    category: int
    attributes: frozenset[int | str]
    score: float
    box: NDArray[np.float64]
    """(4,) x0, y0, x1, y1 as shares of the photo's width and height."""
    grid: Grid | None
    """(G, G) True on it; None where masks are not known."""


def prior_only(photos: Sequence[ScoredPhoto]) -> list[ScoredPhoto]:
    """The photos with the same answer for each, drawn from the truths of all of them.

    A category is answered as many times as the median photo that shows it has it, from left to right. Each time its
    box is the median box, and its mask the part of the photo where garments of it lie most often, as large as makes
    the mean IoU best. Its score is the share of the photos that have so many. Its attributes are those that half of
    its garments carry, or the commonest one where none is so common. Crowds are left out.

    Args:
        photos: What was found in them does not matter.
    """
    priors = _priors(photos)
    masks: dict[tuple[int, int], list[RLE | None]] = {}
    answered = []
    for photo in photos:
        if photo.size not in masks:
            masks[photo.size] = [None if p.grid is None else _drawn(p.grid, photo.size) for p in priors]
        height, width = photo.size
        found = []
        for prior, mask in zip(priors, masks[photo.size], strict=True):
            x0, y0, x1, y1 = (prior.box * [width, height, width, height]).tolist()
            found.append(Instance(prior.category, mask, (x0, y0, x1 - x0, y1 - y0), prior.attributes, prior.score))
        answered.append(photo._replace(found=found))
    return answered


def _priors(photos: Sequence[ScoredPhoto]) -> list[_Prior]:
    """Surest first."""
    worn: dict[int, list[tuple[tuple[int, int], list[Instance]]]] = defaultdict(list)
    for photo in photos:
        of_category: dict[int, list[Instance]] = defaultdict(list)
        for truth in photo.truth:
            if not truth.crowd:
                of_category[truth.category].append(truth)
        for category, truths in of_category.items():
            truths.sort(key=lambda truth: truth.box[0] + truth.box[2] / 2)
            worn[category].append((photo.size, truths))
    priors = []
    for category, seen in worn.items():
        attributes = _commonest([truth for _, truths in seen for truth in truths])
        times = median_low([len(truths) for _, truths in seen])
        whole = [(size, truths) for size, truths in seen if len(truths) >= times]
        for turn in range(times):
            share = sum(len(truths) > turn for _, truths in seen) / len(photos)
            own = [(size, x) for size, xs in whole for i, x in enumerate(xs) if i * times // len(xs) == turn]
            priors.append(_Prior(category, attributes, share, _median_box(own), _best_mask(own)))
    return sorted(priors, key=lambda prior: -prior.score)


def _commonest(garments: Sequence[Instance]) -> frozenset[int | str]:
    times = Counter(id for garment in garments for id in garment.attributes)
    half = frozenset(id for id, count in times.items() if 2 * count >= len(garments))
    return half or frozenset(id for id, _ in times.most_common(1))


def _median_box(garments: Sequence[tuple[tuple[int, int], Instance]]) -> NDArray[np.float64]:
    corners = []
    for (height, width), garment in garments:
        x, y, across, down = garment.box
        corners.append([x / width, y / height, (x + across) / width, (y + down) / height])
    return np.median(np.array(corners, np.float64), axis=0)


def _best_mask(garments: Sequence[tuple[tuple[int, int], Instance]]) -> Grid | None:
    """(G, G) the pixels that lie in enough of the masks, where enough is what makes the mean IoU with them best."""
    grids = [_sampled(garment.mask, size) for size, garment in garments if garment.mask is not None]
    if len(grids) < len(garments):
        return None
    masks = np.array(grids, np.float32).reshape(len(grids), -1)
    often = masks.mean(0)
    tried = (often >= _LEVELS[:, None] * max(often.max(), 1e-6)).astype(np.float32)                # (levels, G * G)
    shared = masks @ tried.T                                                                         # (N, levels)
    union = masks.sum(1)[:, None] + tried.sum(1) - shared
    best: Grid = tried[(shared / np.maximum(union, 1)).mean(0).argmax()] > 0
    return best.reshape(GRID, GRID)


def _sampled(mask: RLE, size: tuple[int, int]) -> Grid:
    """(G, G) whether the mask has the pixel under the middle of each cell."""
    rows, columns = (((np.arange(GRID) + 0.5) * side / GRID).astype(np.int64) for side in size)
    pixels = columns[None] * size[0] + rows[:, None]                                                 # down the columns
    inside: Grid = borders_of_rle(mask["counts"], size).searchsorted(pixels, "right") % 2 == 1
    return inside


def _drawn(grid: Grid, size: tuple[int, int]) -> RLE:
    """The grid as a mask of a photo, each pixel as its cell; made of runs, as the mask itself would be large."""
    height, width = size
    edges = np.ceil(np.arange(GRID + 1) * height / GRID - 0.5).astype(np.int64)       # first row of pixels of each cell
    turns = np.diff(grid.astype(np.int8), axis=0, prepend=0, append=0).T                             # (G, G + 1)
    column, row = np.nonzero(turns)                       # where runs begin and end, column by column
    in_column = np.bincount(column, minlength=GRID)
    first = np.cumsum(in_column) - in_column
    cells = ((np.arange(width) + 0.5) * GRID / width).astype(np.int64)                # (W,) the cell of each pixel
    times = in_column[cells]
    inner = np.arange(times.sum()) - np.repeat(np.cumsum(times) - times, times)
    borders = np.repeat(np.arange(width), times) * height + edges[row[np.repeat(first[cells], times) + inner]]
    counts = np.diff(borders, prepend=0, append=height * width)       # 0 where a run goes on in the next column
    return dict(coco.frPyObjects({"size": list(size), "counts": counts.tolist()}, *size))
