"""The contract of networks that find instances: every garment by itself, with a box, a class and a mask.

An **instance head** reads the backbone's features, and the frames in which the photos lie on their canvases, and
answers `Instances`. In training it computes its own losses, for they hang on what it samples.

Shapes: B batch, N instances of one photo, H W the canvas, K classes, A attributes, m side of a mask's own grid.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar, NamedTuple

from torch import Tensor, nn

from ._blocks import Paper


class Detections(NamedTuple):
    """What was found in one photo, surest first."""

    boxes: Tensor
    """(N, 4) x0, y0, x1, y1 in pixels of the canvas, within the photo."""
    classes: Tensor
    """(N,) int64, 0 to K - 1."""
    scores: Tensor
    """(N,) probabilities."""
    masks: Tensor
    """(N, m, m) probability that each cell of the box is the garment."""
    attributes: Tensor | None = None
    """(N, A) logits, of heads that read attributes themselves."""


class Instances(NamedTuple):
    """An instance head's answer."""

    found: list[Detections]
    """One of each photo."""
    maps: list[Tensor]
    """[(B, Ci, hi, wi), ...]: what label heads pool, shallow to deep."""


class Target(NamedTuple):
    """What is drawn on one photo."""

    boxes: Tensor
    """(N, 4) x0, y0, x1, y1 in pixels of the canvas; each has an area."""
    classes: Tensor
    """(N,) int64, 0 to K - 1; -1 of a garment of unknown kind: it is one, and nothing is asked of its class or mask."""
    masks: Tensor
    """(N, H, W) uint8, 1 on the garment."""
    attributes: Tensor
    """(N, A) int8: 1 yes, 0 no, -1 unknown."""
    known: bool = True
    """False where nobody knows which garments the photo shows: N is 0, and nothing is learnt of it."""


class InstanceHead(nn.Module):
    """What every instance head of `HEADS` declares.

    Args:
        channels: Channels of the backbone's features; the photo comes first.
        strides: Their strides.
        classes: Names of the K classes; what is none of them is background, which heads add themselves.
        attributes: Names of the A attributes.
    """

    paper: ClassVar[Paper]
    variants: ClassVar[tuple[tuple[str, ...], ...]] = ()
    """Other forms that the paper publishes, each as the overrides of the recipe that make it."""
    reads_attributes: ClassVar[bool] = False
    """Whether `Detections.attributes` is answered; otherwise the label head reads garments under their masks."""
    class_layers: ClassVar[Mapping[str, int]] = MappingProxyType({})
    """Layers whose rows are the background's and then each class's, so many each: weights of another label space begin
    them by name."""
    attribute_layers: ClassVar[tuple[str, ...]] = ()
    """Layers with a row an attribute: likewise."""
    names_classes: ClassVar[tuple[str, ...]] = ()
    """Options that name classes, which cannot be tried before a set of its own words is read."""
    map_channels: list[int]
    """Channels of `Instances.maps`."""

    def __init__(
        self, channels: Sequence[int], strides: Sequence[int], classes: Sequence[str], attributes: Sequence[str]
    ) -> None:
        super().__init__()

    def forward(self, features: list[Tensor], frames: Tensor) -> Instances:
        """Find garments.

        Args:
            features: The backbone's.
            frames: (B, 4) x0, y0, x1, y1 of each photo on its canvas, in pixels.
        """
        raise NotImplementedError

    def loss(
        self, features: list[Tensor], frames: Tensor, targets: list[Target]
    ) -> tuple[dict[str, Tensor], list[Tensor]]:
        """The losses by name, each weighed as the head's options say, and `Instances.maps`.

        Each is a mean over the photos that are known; one without anything to learn from is 0. A known photo with
        nothing drawn, N = 0, shows no garment.

        Args:
            features: The backbone's.
            frames: As of `forward`.
            targets: One of each photo.
        """
        raise NotImplementedError

    def dry_run(self, features: list[Tensor]) -> None:
        """Whatever costs in one answer at the most garments it can hold, without choosing any: to count its work."""
        raise NotImplementedError
