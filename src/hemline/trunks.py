"""Trunks of our own, where timm has none: one explicit table.

    none        the photo alone, for networks that bring their encoder

Each is built without arguments, answers its maps shallow to deep, and has a `feature_info` as timm's do.

Shapes: B batch, H W the photo's size.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor, nn


class Maps(NamedTuple):
    """What a trunk says of its maps, as timm's `FeatureInfo` does."""

    of_channels: tuple[int, ...]
    of_strides: tuple[int, ...]

    def channels(self) -> list[int]:
        """Channels of each map."""
        return list(self.of_channels)

    def reduction(self) -> list[int]:
        """Stride of each map."""
        return list(self.of_strides)


class NoTrunk(nn.Module):
    """No maps: the head reads the photo."""

    feature_info = Maps((), ())

    def forward(self, photo: Tensor) -> list[Tensor]:
        """(B, 3, H, W) -> nothing."""
        return []


OWN_TRUNKS: dict[str, Callable[[], nn.Module]] = {
    "none": NoTrunk,
}
