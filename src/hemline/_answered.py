"""The answer to one photo as it is measured, whichever kind of network gave it.

Shapes: K mask classes, L labels, h w the mask head's map, H W photo.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from hemline._regions import Maps, contenders, decide, find_regions, logit, working_frame
from hemline.ceiling import perfect
from hemline.data.sample import Region, Sample
from hemline.found import Found, of_detections, of_maps, reported
from hemline.metadata import Metadata
from hemline.photo import Frame
from hemline.result import Result, read_answer, read_detections
from hemline.runtime import Detections


class Said(NamedTuple):
    """What was answered of one garment."""

    category: int
    labels: NDArray[np.float32]
    """(L,) log odds."""


class Answered(Protocol):
    """The answer to one photo."""

    @property
    def photo(self) -> NDArray[np.float32]:
        """(L,) log odds of the whole photo's labels: its logits, turned as `Metadata.scores` says."""

    @property
    def found(self) -> list[Found]:
        """The garments one by one, surest first, by the network's own scores; no threshold has chosen among them."""

    @property
    def garments(self) -> dict[int, tuple[float, float]]:
        """Of each category that was found, its garment's own score, and its label's logit in the photo as it was."""

    def class_map(self, layer: Sequence[int]) -> NDArray[np.intp]:
        """(H, W) what each pixel is among the classes of a layer, numbered as in `truth_map`."""

    def garment(self, sample: Sample, region: Region, may_be: Sequence[int]) -> Said | None:
        """What was answered of the garment that a region speaks of; None where it was not found.

        Args:
            sample: The photo.
            region: One of its regions, drawn or `PREDICTED`.
            may_be: The categories that the garment may be.
        """

    def ceiling(self, sample: Sample) -> list[Found] | None:
        """What would have been found, had the network known the truth; None of networks that find instances."""

    def result(self, sample: Sample) -> Result:
        """The answer as a user has it."""


@dataclass(frozen=True)
class MapsAnswer:
    """Of a network that draws classes."""

    masks: NDArray[np.float32]
    """(K, h, w) logits."""
    labels: NDArray[np.float32]
    """(1 + K, L) logits: of the whole photo, then under the mask of each class."""
    frame: Frame
    metadata: Metadata

    @cached_property
    def maps(self) -> Maps:
        thresholds = logit(self.metadata.mask_thresholds)
        return Maps(self.masks, self.metadata.canvas, self.frame, thresholds, self.metadata.layers)

    @cached_property
    def photo(self) -> NDArray[np.float32]:
        """(L,) log odds of the whole photo's labels."""
        return photo_odds(self.labels[0], self.metadata)

    @property
    def garments(self) -> dict[int, tuple[float, float]]:
        """Of each category that was found, its garment's own score, and its label's logit in the photo as it was."""
        maps = self.maps._replace(frame=working_frame(self.frame))
        regions = find_regions(maps, len(self.metadata.labels.categories))
        return {k: (region.score, float(self.labels[0, k])) for k, region in regions.items()}

    @property
    def found(self) -> list[Found]:
        """The connected parts of classes, surest first."""
        return of_maps(self.maps, self.labels, len(self.metadata.labels.categories))

    @cached_property
    def _class_maps(self) -> dict[tuple[int, ...], NDArray[np.intp]]:
        maps = {}
        for layer in self.maps.layers:
            owner, _, _ = decide(self.maps, layer)
            classes = np.zeros(len(self.masks) + 1, np.intp)         # the last entry is for nobody, -1
            classes[list(layer)] = np.arange(1, len(layer) + 1)
            maps[tuple(layer)] = classes[owner]
        return maps

    def class_map(self, layer: Sequence[int]) -> NDArray[np.intp]:
        """(H, W) what each pixel is among the classes of a layer, numbered as in `truth_map`."""
        return self._class_maps[tuple(layer)]

    @cached_property
    def _pooled(self) -> dict[int, int]:
        """The pixels of each class under whose mask labels are pooled."""
        pooled: dict[int, int] = {}
        for layer in self.maps.layers:
            area = np.bincount(self.class_map(layer).ravel(), minlength=1 + len(layer))
            pooled |= {k: int(area[1 + layer.index(k)]) for k in contenders(self.maps, layer)}
        return pooled

    def garment(self, sample: Sample, region: Region, may_be: Sequence[int]) -> Said | None:
        """What was answered under the mask of its class; of several classes it is the largest."""
        found = [k for k in may_be if k in self._pooled]
        if not found:
            return None
        largest = max(found, key=lambda k: self._pooled[k])
        return Said(largest, garment_odds(self.labels[1 + largest], self.metadata))

    def ceiling(self, sample: Sample) -> list[Found]:
        """What would have been found, had the network known the truth."""
        return perfect(sample, self.maps, self.metadata.labels)

    def result(self, sample: Sample) -> Result:
        """The answer as a user has it."""
        canvas, metadata = self.metadata.canvas, self.metadata
        return read_answer(self.masks, self.labels, canvas, self.frame, metadata, sample.photo, name=sample.key)


@dataclass(frozen=True)
class InstancesAnswer:
    """Of a network that finds instances."""

    detections: Detections
    frame: Frame
    metadata: Metadata

    @cached_property
    def photo(self) -> NDArray[np.float32]:
        """(L,) log odds of the whole photo's labels."""
        return photo_odds(self.detections.labels[0], self.metadata)

    @property
    def garments(self) -> dict[int, tuple[float, float]]:
        """Of each category that is reported, its surest garment's own score, and the network's logit of its label."""
        surest = {one.category: one.score for one in reversed(self._reported)}
        return {k: (score, float(self.detections.labels[0, k])) for k, score in surest.items()}

    @cached_property
    def found(self) -> list[Found]:
        """The instances, surest first."""
        return of_detections(self.detections, self.frame)

    @property
    def _size(self) -> tuple[int, int]:
        return self.frame.photo_height, self.frame.photo_width

    @cached_property
    def _reported(self) -> list[Found]:
        return reported(self.found, self.metadata, self._size)

    def class_map(self, layer: Sequence[int]) -> NDArray[np.intp]:
        """(H, W) what each pixel is among the classes of a layer: the surest instance that covers it."""
        classes = np.zeros(self._size, np.intp)
        for one in reversed(self._reported):
            if one.category in layer:
                x, y, width, height = one.box
                classes[y : y + height, x : x + width][one.crop] = 1 + layer.index(one.category)
        return classes

    def garment(self, sample: Sample, region: Region, may_be: Sequence[int]) -> Said | None:
        """What was answered of the instance that the region has most in common with; of one undrawn, the largest."""
        found = [one for one in self._reported if one.category in may_be]
        if region.drawn:
            members = np.zeros(len(sample.targets), np.bool_)
            members[list(region.segments)] = True
            mask = members[sample.segments]
            sizes = [_iou(one, mask) for one in found]
        else:
            sizes = [float(np.count_nonzero(one.crop)) for one in found]
        if not max(sizes, default=0.0) > 0:
            return None
        best = found[int(np.argmax(sizes))]
        return Said(best.category, garment_odds(best.labels, self.metadata))

    def ceiling(self, sample: Sample) -> None:
        """None: such a network can answer the truth itself."""

    def result(self, sample: Sample) -> Result:
        """The answer as a user has it."""
        return read_detections(self.detections, self.frame, self.metadata, sample.photo, name=sample.key)


def photo_odds(logits: NDArray[np.float32], metadata: Metadata) -> NDArray[np.float32]:
    """(L,) logits of the whole photo -> log odds; as they are where the weights hold no `scores`."""
    return logits if metadata.scores is None else metadata.scores.of_photo(logits)


def garment_odds(logits: NDArray[np.float32], metadata: Metadata) -> NDArray[np.float32]:
    """(L,) logits of a garment -> log odds; as they are where the weights hold no `scores`."""
    return logits if metadata.scores is None else metadata.scores.of_garment(logits)


def _iou(one: Found, mask: NDArray[np.bool_]) -> float:
    x, y, width, height = one.box
    both = np.count_nonzero(mask[y : y + height, x : x + width] & one.crop)
    return both / (np.count_nonzero(mask) + np.count_nonzero(one.crop) - both)
