"""How far a graph answers otherwise than what it was made from, on photos: of masks, pixels; of labels, probabilities.

Both are read as an answer is (`hemline.result`): a pixel is of the class that holds it, at the canvas's size and on the
photo alone. Labels are those of the photo, and apart from them the attributes of each garment that both answers draw
alike (an IoU of `ALIKE`). Labels that the weights never report do not count.

Shapes: K mask classes, L labels, H W the photo on its canvas.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hemline._regions import NOBODY, Maps, decide, logit, sigmoid
from hemline.errors import WeightsError
from hemline.metadata import Metadata
from hemline.photo import Canvas
from hemline.runtime import Answer
from hemline.scores import odds

ALIKE = 0.5
"""IoU of a garment's masks in both answers from which on its attributes are compared."""
Runs = Callable[[NDArray[np.uint8], NDArray[np.uint8]], Answer]
"""Canvases (B, H, W, 3) and their valid pixels (B, H, W) -> `Answer`."""


class Bounds(NamedTuple):
    """What a graph may drift, at most."""

    pixels: float
    """Share of a photo's pixels whose class differs, mean over the photos."""
    score: float
    """Largest difference of a probability of a photo's labels."""
    mean_score: float
    """Mean difference of these."""
    garment_score: float
    """Mean difference of the probabilities of garments' attributes."""


EXACT = Bounds(pixels=0.001, score=0.002, mean_score=0.0002, garment_score=0.001)
"""Of graphs that compute as torch does. A pixel may change hands where two classes tie, and with it what is pooled."""
INT8 = Bounds(pixels=0.015, score=0.3, mean_score=0.015, garment_score=0.02)
"""Of quantised graphs."""


@dataclass(frozen=True)
class LabelDrift:
    """What became of one label or mask class."""

    name: str
    kind: str
    """`mask`, `category`, or the attribute's group."""
    before: int
    """Photos whose label passed its threshold, or in which the mask class held a pixel, before."""
    changed: int
    """Photos in which that is otherwise now."""
    drift: float
    """Of a label, the mean difference of its probability; of a mask class, 1 - IoU of its pixels before and now."""


@dataclass(frozen=True)
class Drift:
    """What became of answers."""

    photos: int
    pixels: float
    """As of `Bounds`, all four."""
    score: float
    mean_score: float
    garment_score: float
    worst_pixels: float
    """Share of pixels in the photo with the largest."""
    labels: list[LabelDrift] = field(default_factory=list)
    """Mask classes, then labels; those that no photo shows before or now are left out."""

    def check(self, bounds: Bounds, name: str) -> None:
        """Refuse what drifted further.

        Raises:
            WeightsError: it did; says what, by how much.
        """
        over = [
            f"{what} by {now:.2g}, more than {most:g}"
            for what, now, most in (
                ("the class of pixels differs for a share", self.pixels, bounds.pixels),
                ("a score differs", self.score, bounds.score),
                ("scores differ on average", self.mean_score, bounds.mean_score),
                ("scores of garments differ on average", self.garment_score, bounds.garment_score),
            )
            if not now <= most
        ]
        if over:
            raise WeightsError(
                f"{name}: on {self.photos} photos, {'; '.join(over)}, from what the checkpoint answers; nothing is "
                "written"
            )


class _Pair(NamedTuple):
    """Both answers to one photo."""

    owners: tuple[NDArray[np.int16], NDArray[np.int16]]
    """(layers, H, W) each."""
    scores: tuple[NDArray[np.float32], NDArray[np.float32]]
    """(1 + K, L) each."""


def measure(before: Runs, now: Runs, canvases: Sequence[Canvas], metadata: Metadata) -> Drift:
    """Compare two runtimes on photos.

    Args:
        before: Answers as the checkpoint does.
        now: Answers by the graph.
        canvases: At least one photo.
        metadata: Of both.
    """
    space = metadata.labels
    thresholds = np.asarray(metadata.of_photo)
    reported = thresholds < 1
    attributes = np.asarray(metadata.label_thresholds) < 1
    attributes &= np.arange(space.num_labels) >= len(space.categories)
    pixels: list[float] = []
    largest, of_garments = 0.0, [np.zeros(0)]
    areas = np.zeros((3, space.num_masks), np.int64)                     # before, now, both
    held = np.zeros((2, space.num_masks), np.int64)                      # photos: before, changed
    said = np.zeros((2, space.num_labels), np.int64)                     # the same of labels
    moved = np.zeros(space.num_labels)
    for owners, scores in _pairs(before, now, canvases, metadata):
        same = owners[0] == owners[1]
        pixels.append(float((~same).any(0).mean()))
        area = np.stack([_areas(x, space.num_masks) for x in (*owners, np.where(same, owners[0], NOBODY))])
        areas += area
        held += np.stack([area[0] > 0, (area[0] > 0) != (area[1] > 0)])
        difference = np.abs(scores[0] - scores[1])                       # (1 + K, L)
        passing = [part[0] > thresholds for part in scores]
        said += np.stack([passing[0], passing[0] != passing[1]])
        moved += difference[0]
        alike = area[2] > ALIKE * (area[0] + area[1] - area[2])
        of_garments.append(difference[1:][alike][:, attributes].ravel())
        largest = max(largest, float(difference[0, reported].max(initial=0)))
    moved /= len(canvases)
    union = areas[0] + areas[1] - areas[2]
    drifts = [
        LabelDrift(name, "mask", int(held[0, k]), int(held[1, k]), 1 - float(areas[2, k] / union[k]))
        for k, name in enumerate(space.mask_names)
        if union[k]
    ]
    kinds = [(c.name, "category") for c in space.categories]
    kinds += [(label.name, group.name) for group in space.groups for label in group.labels]
    drifts += [
        LabelDrift(name, kind, int(said[0, i]), int(said[1, i]), float(moved[i]))
        for i, (name, kind) in enumerate(kinds)
        if reported[i] and said[:, i].any()
    ]
    mean_score = float(moved[reported].mean()) if reported.any() else 0.0
    garments = np.concatenate(of_garments)
    garment_score = float(garments.mean()) if len(garments) else 0.0
    return Drift(len(canvases), float(np.mean(pixels)), largest, mean_score, garment_score, max(pixels), drifts)


def _pairs(before: Runs, now: Runs, canvases: Sequence[Canvas], metadata: Metadata) -> Iterator[_Pair]:
    """Both answers to each photo, one photo at a time."""
    for canvas in canvases:
        owners, scores = [], []
        for runs in (before, now):
            answer = runs(canvas.pixels[None], canvas.valid[None])
            owners.append(_owners(answer.masks[0], canvas, metadata))
            scores.append(sigmoid(odds(answer.labels[0], metadata)))
        yield _Pair((owners[0], owners[1]), (scores[0], scores[1]))


def _owners(masks: NDArray[np.float32], canvas: Canvas, metadata: Metadata) -> NDArray[np.int16]:
    """The class of each pixel in each layer (layers, H, W)."""
    frame = canvas.frame._replace(photo_height=canvas.frame.height, photo_width=canvas.frame.width)
    maps = Maps(masks, metadata.canvas, frame, logit(metadata.mask_thresholds), metadata.layers)
    return np.stack([decide(maps, layer)[0] for layer in maps.layers])


def _areas(owners: NDArray[np.int16], num_masks: int) -> NDArray[np.int64]:
    """The pixels of each class (K,)."""
    return np.asarray(np.bincount(owners[owners != NOBODY].ravel(), minlength=num_masks), np.int64)
