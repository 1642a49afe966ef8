"""Full-Resolution Residual Network (Pohlen, Hermans, Mathias, Leibe, 2016, https://arxiv.org/abs/1611.08323).

Two streams from start to end. It brings its encoder: take the trunk `none`.

From the paper: the residual stream stays at the photo's resolution and is only ever added to, so that it keeps where
things are; the pooling stream goes down and up and finds out what they are. Full-resolution residual units (FRRUs) join
the two: each reads both and answers a new pooling stream and what is added to the residual one.

Built as in the authors' code (github.com/TobyPDE/FRRN), from which the channels come: residual units (RUs) have no ReLU
behind their sum, the split into the residual stream is a 1x1 convolution with BN and no ReLU, the 1x1 convolution of an
FRRU has a bias and no BN, and a shortcut between different channels is a 1x1 convolution without either.

Our reading: a size that is no multiple of the poolings ends in a smaller pooling cell, and what is upscaled is cut to
the size it came from; so each cell stays over the pixels it was made of, and no pixel is left out. Bilinear upscaling
takes a cell's value as that of its centre; in the authors' code it is that of its first pixel.

Shapes: B batch, K classes, H W the photo's size, p the pooling, C channels of the pooling stream, hp wp its size, which
is H/p W/p rounded up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ._blocks import ConvNormAct, Dense, MaskHead, Paper, conv_with_prior, refuse_trunk

BASE = 48
"""Channels at full resolution."""
LANES = 32
"""Channels of the residual stream."""
FORMS: dict[str, tuple[tuple[int, int, int], ...]] = {
    "A": ((2, 96, 3), (4, 192, 4), (8, 384, 2), (16, 384, 2), (8, 192, 2), (4, 192, 2), (2, 96, 2)),
    "B": (
        *((2, 96, 3), (4, 192, 4), (8, 384, 2), (16, 384, 2), (32, 384, 2)),
        *((16, 192, 2), (8, 192, 2), (4, 192, 2), (2, 96, 2)),
    ),
}
"""p, C and number of the FRRUs, in order."""


class RU(nn.Module):
    """Residual unit: two 3x3 convolutions beside an identity."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = ConvNormAct(in_channels, out_channels, 3)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(out_channels)
        same = in_channels == out_channels
        self.shortcut = nn.Identity() if same else nn.Conv2d(in_channels, out_channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, `in_channels`, H, W) -> (B, `out_channels`, H, W)."""
        total: Tensor = self.norm2(self.conv2(self.conv1(x))) + self.shortcut(x)
        return total


class FRRU(nn.Module):
    """Full-resolution residual unit of the pooling p."""

    def __init__(self, in_channels: int, channels: int, pooling: int) -> None:
        super().__init__()
        self.pooling = pooling
        self.conv1 = ConvNormAct(in_channels + LANES, channels, 3)
        self.conv2 = ConvNormAct(channels, channels, 3)
        self.residual = nn.Conv2d(channels, LANES, 1)

    def forward(self, y: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """Pooling stream (B, C, hp, wp) and residual stream (B, 32, H, W) -> both, the first with its new channels."""
        pooled = F.max_pool2d(z, self.pooling, ceil_mode=True)                # (B, 32, hp, wp)
        y = self.conv2(self.conv1(torch.cat([y, pooled], dim=1)))             # (B, C', hp, wp)
        return y, z + upscale(self.residual(y), self.pooling, z.shape, "nearest")       # (B, 32, H, W)


class Group(nn.ModuleList):
    """The FRRUs of one resolution, one after another."""

    def forward(self, y: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """As an FRRU."""
        for unit in self:
            y, z = unit(y, z)
        return y, z


def upscale(x: Tensor, factor: int, shape: torch.Size, mode: Literal["nearest", "bilinear"]) -> Tensor:
    """(B, C, h, w) by a factor, cut to the height and width of `shape`, which are at most that."""
    return F.interpolate(x, scale_factor=factor, mode=mode)[:, :, : shape[2], : shape[3]]


class FRRN(MaskHead):
    """RUs, FRRUs down and up, RUs.

    Label heads pool the pooling stream on the way up at stride 4, and where it is deepest.

    Args:
        channels: Channels of each feature; the photo's alone, as the network brings its encoder.
        strides: Stride of each feature, 1 for the photo.
        num_classes: K, logit maps to answer.
        form: FRRN A, which pools down to stride 16, or B, to 32.

    Raises:
        ValueError: the trunk has stages, or `form` is another.
    """

    paper = Paper(
        "Full-Resolution Residual Networks for Semantic Segmentation in Street Scenes",
        2016,
        "https://arxiv.org/abs/1611.08323",
    )
    variants = (("head.form=B",),)

    def __init__(
        self, channels: Sequence[int], strides: Sequence[int], num_classes: int, *, form: Literal["A", "B"] = "A"
    ) -> None:
        super().__init__()
        refuse_trunk("frrn", channels)
        if form not in FORMS:
            raise ValueError(f"frrn: form {form} must be A or B")
        self.first = ConvNormAct(channels[0], BASE, 5)
        self.units = nn.Sequential(*(RU(BASE, BASE) for _ in range(3)))
        self.split = nn.Sequential(nn.Conv2d(BASE, LANES, 1, bias=False), nn.BatchNorm2d(LANES))
        self.poolings = [pooling for pooling, _, _ in FORMS[form]]
        self.groups = nn.ModuleList()
        in_channels = BASE
        for pooling, width, number in FORMS[form]:
            inputs = [in_channels] + [width] * (number - 1)
            self.groups.append(Group(FRRU(before, width, pooling) for before in inputs))
            in_channels = width
        self.last_units = nn.Sequential(RU(in_channels + LANES, BASE), RU(BASE, BASE), RU(BASE, BASE))
        self.classifier = conv_with_prior(BASE, num_classes)
        self.pooled = [len(self.poolings) - 2, self.poolings.index(max(self.poolings))]   # groups that label heads read
        self.map_channels = [FORMS[form][i][1] for i in self.pooled]

    def forward(self, features: list[Tensor]) -> Dense:
        """The photo (B, 3, H, W) -> logits (B, K, H, W), and the pooling stream at strides 4 and 16 or 32."""
        y = self.units(self.first(features[0]))           # (B, 48, H, W)
        z = self.split(y)                                 # (B, 32, H, W), the residual stream from here on
        shapes, maps = {1: y.shape}, []
        for pooling, group in zip(self.poolings, self.groups, strict=True):
            if pooling in shapes:
                y = upscale(y, 2, shapes[pooling], "bilinear")                # (B, C, hp, wp) of the finer p
            else:
                y = F.max_pool2d(y, 2, ceil_mode=True)                        # (B, C, hp, wp) of the coarser p
                shapes[pooling] = y.shape
            y, z = group(y, z)
            maps.append(y)
        y = upscale(y, 2, shapes[1], "bilinear")          # (B, 96, H, W)
        x = self.last_units(torch.cat([y, z], dim=1))     # (B, 48, H, W)
        return Dense(self.classifier(x), [maps[i] for i in self.pooled])
