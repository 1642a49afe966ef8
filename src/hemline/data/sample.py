"""What flows from a dataset to the network: `Sample` (numpy, one photo) and `Batch` (torch, a stack of them).

A photo's pixels are divided into **segments** (one map of segment ids; 0 is what no label speaks of), and each segment
says of every mask class whether its pixels are that class. Labels speak of **regions**: the whole photo, some segments,
or wherever the network itself finds some classes. Everything is three-valued: 1 yes, 0 no, -1 unknown, and unknown is
never a negative.

Garments that overlap stay whole: where a scarf lies on a coat, the pixels of both are a segment of their own, which is
both classes and belongs to both regions. So one map holds any number of overlapping masks, and stays one map until the
device.

Shapes: H W photo, S segments, R regions, K mask classes, L labels, B batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Segments = NDArray[np.uint8] | NDArray[np.uint16]
"""(H, W) segment ids; of uint16 where there are more than `MOST_SEGMENTS`."""
UNKNOWN = -1
EITHER = -2
"""In `Sample.targets`: the pixels are one of the classes with this mark, we know not which."""
WHOLE_PHOTO = (-1,)
"""`Region.segments` of labels that speak of the whole photo."""
PREDICTED = (-2,)
"""`Region.segments` of labels that speak of the garment the network finds under `Region.classes`."""
MOST_SEGMENTS = 256
"""Segments that a map of bytes holds; maps of more are of uint16."""


@dataclass
class Region:
    """One thing in a photo that labels speak of."""

    segments: tuple[int, ...]
    """Ids in `Sample.segments`, together the thing; or `WHOLE_PHOTO`, or `PREDICTED`."""
    labels: NDArray[np.int8]
    """(L,) 1, 0 or -1."""
    one_of: tuple[NDArray[np.bool_], ...] = ()
    """Sets of labels (L,) of which at least one is true, we know not which."""
    classes: NDArray[np.bool_] | None = None
    """(K,) where `segments` is `PREDICTED`: the mask classes that together are the garment spoken of."""
    doubt: float = 0.0
    """The share of such labels that is wrong, 0..1. Doubtful ones train, smoothed by it, and are never measured."""
    merged: bool = False
    """Its pixels are all there is of a class: things of one kind are not told apart."""

    @property
    def drawn(self) -> bool:
        """Whether it is made of segments."""
        return self.segments not in (WHOLE_PHOTO, PREDICTED)


@dataclass
class Sample:
    """One photo and what is known of it."""

    photo: NDArray[np.uint8]
    """(H, W, 3) RGB."""
    segments: Segments
    """(H, W) segment ids, 0 to S - 1; all 0 where nothing is drawn."""
    targets: NDArray[np.int8]
    """(S, K) what each segment's pixels say of each mask class: 1, 0, -1 or `EITHER`. Row 0 is all -1 where nothing is
    drawn."""
    regions: list[Region] = field(default_factory=list)
    valid: NDArray[np.uint8] | None = None
    """(H, W) 1 on the photo, 0 on padding; set when the photo is placed on its canvas."""
    key: str = ""
    """Where it comes from, for messages: `ccp/0001`."""


class Batch(NamedTuple):
    """A stack of samples on one canvas; padded segments and regions are unknown everywhere."""

    pixels: Tensor
    """(B, H, W, 3) uint8 RGB."""
    valid: Tensor
    """(B, H, W) uint8, 1 on the photo."""
    segments: Tensor
    """(B, H, W) uint8; int32 where a photo has more than `MOST_SEGMENTS`."""
    targets: Tensor
    """(B, S, K) int8."""
    region_segments: Tensor
    """(B, R, S) bool: the segments of each region."""
    region_classes: Tensor
    """(B, R, K) bool: the classes of a region that the network finds. One without segments and classes is the photo."""
    labels: Tensor
    """(B, R, L) int8."""
    doubt: Tensor
    """(B, R) float32, 0..1: how much the labels of each region are smoothed."""
    one_of: Tensor
    """(M, L) bool: sets of labels of which at least one is true."""
    one_of_region: Tensor
    """(M, 2) int64: the photo and the region each set speaks of."""

    def to(self, device: torch.device) -> Batch:
        """The same batch on another device."""
        return Batch(*(tensor.to(device, non_blocking=True) for tensor in self))

    def pin_memory(self) -> Batch:
        """The same batch in page-locked memory, for faster copies to a GPU."""
        return Batch(*(tensor.pin_memory() for tensor in self))


def collate(samples: Sequence[Sample]) -> Batch:
    """Stack samples that were placed on one canvas.

    Raises:
        ValueError: a sample has not been placed (`valid` is None), or canvases differ.
    """
    if any(sample.valid is None for sample in samples):
        raise ValueError("place every sample on its canvas before collate")
    num_segments = max(len(sample.targets) for sample in samples)
    kind = np.uint8 if num_segments <= MOST_SEGMENTS else np.int32
    num_regions = max(1, *(len(sample.regions) for sample in samples))
    num_classes = samples[0].targets.shape[1]
    num_labels = max((len(region.labels) for sample in samples for region in sample.regions), default=0)

    targets = np.full((len(samples), num_segments, num_classes), UNKNOWN, np.int8)
    region_segments = np.zeros((len(samples), num_regions, num_segments), bool)
    region_classes = np.zeros((len(samples), num_regions, num_classes), bool)
    labels = np.full((len(samples), num_regions, num_labels), UNKNOWN, np.int8)
    doubt = np.zeros((len(samples), num_regions), np.float32)
    one_of: list[NDArray[np.bool_]] = []
    one_of_region: list[tuple[int, int]] = []
    for b, sample in enumerate(samples):
        targets[b, : len(sample.targets)] = sample.targets
        for r, region in enumerate(sample.regions):
            if region.drawn:
                region_segments[b, r, list(region.segments)] = True
            labels[b, r] = region.labels
            doubt[b, r] = region.doubt
            if region.classes is not None:
                region_classes[b, r] = region.classes
            one_of.extend(region.one_of)
            one_of_region.extend([(b, r)] * len(region.one_of))
    return Batch(
        pixels=torch.from_numpy(np.stack([sample.photo for sample in samples])),
        valid=torch.from_numpy(np.stack([sample.valid for sample in samples if sample.valid is not None])),
        segments=torch.from_numpy(np.stack([sample.segments for sample in samples]).astype(kind, copy=False)),
        targets=torch.from_numpy(targets),
        region_segments=torch.from_numpy(region_segments),
        region_classes=torch.from_numpy(region_classes),
        labels=torch.from_numpy(labels),
        doubt=torch.from_numpy(doubt),
        one_of=torch.from_numpy(np.array(one_of, bool).reshape(len(one_of), num_labels)),
        one_of_region=torch.from_numpy(np.array(one_of_region, np.int64).reshape(-1, 2)),
    )
