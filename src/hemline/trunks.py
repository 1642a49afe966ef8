"""Trunks of our own, where timm has none: one explicit table.

    none        the photo alone, for networks that bring their encoder
    xception39  the small Xception of BiSeNet

Each is built without arguments, answers its maps shallow to deep, and has a `feature_info` as timm's do.

Shapes: B batch, H W the photo's size.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F


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


class _Separable(nn.Sequential):
    """A 3x3 convolution of each channel by itself, a 1x1 of all, batch norm, and a ReLU but on the last of a block."""

    def __init__(self, in_channels: int, out_channels: int, *, stride: int = 1, relu: bool = True) -> None:
        super().__init__(
            nn.Conv2d(in_channels, in_channels, 3, stride, 1, groups=in_channels, bias=False),
            nn.Conv2d(in_channels, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
            *([nn.ReLU(inplace=True)] if relu else []),
        )


class _XceptionBlock(nn.Module):
    """Three separable convolutions beside a shortcut, which is separable too where the block is strided."""

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            _Separable(in_channels, width, stride=stride),
            _Separable(width, width),
            _Separable(width, 4 * width, relu=False),
        )
        strided = stride > 1
        self.shortcut = _Separable(in_channels, 4 * width, stride=stride, relu=False) if strided else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, 4 width, h/stride, w/stride)."""
        return F.relu(self.shortcut(x) + self.residual(x))


class Xception39(nn.Module):
    """The small Xception that BiSeNet was published with (https://arxiv.org/abs/1808.00897).

    As in their code (github.com/ycszen/TorchSeg): 4, 8 and 4 blocks, whose shortcut is a strided separable convolution
    where the map is halved, and no norm between the two convolutions of a separable one.
    """

    feature_info = Maps((8, 8, 64, 128, 256), (2, 4, 8, 16, 32))

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU(inplace=True))
        self.stages = nn.ModuleList()
        channels = 8
        for blocks, width in ((4, 16), (8, 32), (4, 64)):
            others = (_XceptionBlock(4 * width, width, 1) for _ in range(blocks - 1))
            self.stages.append(nn.Sequential(_XceptionBlock(channels, width, 2), *others))
            channels = 4 * width

    def forward(self, photo: Tensor) -> list[Tensor]:
        """(B, 3, H, W) -> five maps, of 8, 8, 64, 128 and 256 channels at strides 2, 4, 8, 16 and 32."""
        maps = [self.stem(photo)]                                    # (B, 8, H/2, W/2)
        maps.append(F.max_pool2d(maps[-1], 3, 2, 1))                 # (B, 8, H/4, W/4)
        for stage in self.stages:
            maps.append(stage(maps[-1]))
        return maps


OWN_TRUNKS: dict[str, Callable[[], nn.Module]] = {
    "none": NoTrunk,
    "xception39": Xception39,
}
