"""What a perfect network of class maps would find: the truth by the way that answers go.

Instance scores of such networks have a ceiling below 1: a pixel has one class, garments of one class that touch are
one thing, what lies across a garment divides it, and maps are coarser than photos.

Shapes: K mask classes, L labels, h w the mask head's map, H W photo.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from hemline._regions import Maps
from hemline.data.sample import Sample
from hemline.found import Found, of_maps
from hemline.labels import LabelSpace
from hemline.photo import Frame

SURE = 20.0
"""A logit that is sure."""


def perfect(sample: Sample, maps: Maps, space: LabelSpace) -> list[Found]:
    """The garments that `of_maps` makes of the truth, each of score 1 and with the labels of all its class.

    A pixel is the class that has fewest pixels, of those that it is: small things lie on large ones. A cell's logit
    says how much more of the cell is the class than is anything else, so that edges between cells are kept as far as
    bilinear logits can.

    Args:
        sample: At the photo's own size.
        maps: What a network answered: its map's size, its frame and the classes that compete count.
        space: The label space of both.
    """
    logits = np.full_like(maps.logits, -SURE)
    for layer in maps.layers:
        owner = _owners(sample, layer)
        here = np.flatnonzero(np.bincount(owner.ravel(), minlength=len(layer) + 1)).tolist()
        cells = np.stack([_cells(owner == i, maps) for i in here])                       # (n, h, w)
        if len(cells) == 1:
            cells = np.concatenate([cells, np.zeros_like(cells)])
        first, second = np.sort(cells, axis=0)[:-3:-1]
        for i, share in zip(here, cells, strict=False):
            if i:
                logits[layer[i - 1]] = SURE * (share - np.where(share == first, second, first))
    labels = np.full((1 + len(logits), space.num_labels), -SURE, np.float32)
    for region in (region for region in sample.regions if region.drawn and not region.doubt):
        for k in np.flatnonzero(region.labels[: len(space.categories)] == 1).tolist():
            labels[1 + k, region.labels == 1] = SURE
    truth = maps._replace(logits=logits, thresholds=np.zeros_like(maps.thresholds))
    return [one._replace(score=1.0) for one in of_maps(truth, labels, len(space.categories))]


def _owners(sample: Sample, layer: Sequence[int]) -> NDArray[np.intp]:
    """(H, W) what each pixel is: 0 nobody, 1 + i the class `layer[i]`."""
    said = sample.targets[:, list(layer)] == 1                                           # (S, C)
    pixels = np.bincount(sample.segments.ravel(), minlength=len(said)) @ said            # (C,)
    rarest = np.where(said, pixels, np.inf).argmin(1)
    owners: NDArray[np.intp] = np.where(said.any(1), 1 + rarest, 0)[sample.segments]
    return owners


def _cells(mask: NDArray[np.bool_], maps: Maps) -> NDArray[np.float32]:
    """The share (h, w) of each cell that a mask (H, W) covers; padding goes on as the photo's edge is."""
    frame: Frame = maps.frame
    placed = cv2.resize(mask.astype(np.float32), (frame.width, frame.height), interpolation=cv2.INTER_AREA)
    height, width = maps.canvas_size
    below, right = height - frame.top - frame.height, width - frame.left - frame.width
    canvas = np.pad(placed, ((frame.top, below), (frame.left, right)), mode="edge")
    cells = cv2.resize(canvas, maps.logits.shape[:0:-1], interpolation=cv2.INTER_AREA)
    return np.asarray(cells, np.float32)
