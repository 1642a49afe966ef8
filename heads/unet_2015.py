"""U-Net as it was published (Ronneberger, Fischer, Brox, 2015, https://arxiv.org/abs/1505.04597).

From the paper: a contracting path of 3x3 convolutions and poolings that doubles the channels at each of five levels,
and an expansive path that halves them again; each level of it begins with a 2x2 up-convolution and the cropped map of
the contracting path. 23 convolutions, ReLU after the 3x3 ones, no batch norm, dropout at the end of the contracting
path, weights from a Gaussian of standard deviation sqrt(2 / N), N being the inputs of one neuron.

Ours: the 3x3 convolutions pad by 1, so that the answer covers the photo, where the paper cuts large photos into tiles.
Poolings round up, as those of Caffe, in which the paper's network is written: where a side is odd, the up-convolution
is one cell longer than the skip and loses that cell, and the logits have the size of any photo. The paper leaves open
which levels drop; the authors' network drops half of the last two, before the skip is taken. That network also has a
ReLU after each up-convolution and 128 channels in the last; we follow the paper's figure, which has neither.

Shapes: B batch, H W the photo's size, K classes; i level, 0 at the top.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from ._blocks import ConvNormAct, Dense, MaskHead, Paper, conv_with_prior, refuse_trunk

DROPOUT = 0.5


def two_convolutions(in_channels: int, width: int, norm: bool) -> nn.Sequential:
    """Two 3x3 convolutions, each followed by a ReLU; (B, in, h, w) -> (B, width, h, w)."""
    if norm:
        return nn.Sequential(ConvNormAct(in_channels, width, 3), ConvNormAct(width, width, 3))
    return nn.Sequential(
        nn.Conv2d(in_channels, width, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(width, width, 3, padding=1),
        nn.ReLU(inplace=True),
    )


def up_convolution(width: int, upsample: str) -> nn.Module:
    """Twice the size, half the channels; (B, width, h, w) -> (B, width / 2, 2h, 2w)."""
    if upsample == "transposed":
        up = nn.ConvTranspose2d(width, width // 2, 2, stride=2)
        nn.init.normal_(up.weight, std=(2 / width) ** 0.5)           # kernels do not overlap: one cell is all inputs
        return up
    keep_size = nn.ZeroPad2d((0, 1, 0, 1))                           # as `same` padding of an even kernel in Keras
    return nn.Sequential(nn.Upsample(scale_factor=2), keep_size, nn.Conv2d(width, width // 2, 2), nn.ReLU(inplace=True))


def join(skip: Tensor, x: Tensor) -> Tensor:
    """Concatenate (B, C, h, w) and the up-convolved (B, C, h', w'), cropped to the area that both cover.

    A larger `x` has cells beyond the last row and column of the skip; of a larger skip the centre is taken, which is
    where unpadded convolutions leave `x`.
    """
    x = x[..., : skip.shape[-2], : skip.shape[-1]]
    height, width = x.shape[-2:]
    top, left = (skip.shape[-2] - height) // 2, (skip.shape[-1] - width) // 2
    return torch.cat([skip[..., top : top + height, left : left + width], x], dim=1)


class UNet2015(MaskHead):
    """The whole network: it reads the photo.

    Args:
        channels: Channels of each feature: of the photo alone.
        strides: Stride of each feature: 1 of the photo alone.
        num_classes: K, logit maps to answer.
        width: Channels of the top level; each level below has twice as many.
        norm: Batch norm after each 3x3 convolution, which then has no bias.
        upsample: `transposed`, the paper's up-convolution; or `nearest`, nearest neighbours, a 2x2 convolution and a
            ReLU, as in many Keras networks.

    Raises:
        ValueError: there is a trunk, `width` is below 1, or `upsample` is neither.

    `Dense.maps` are the expansive path's at stride 4 and the bottleneck at stride 16.
    """

    paper = Paper(
        "U-Net: Convolutional Networks for Biomedical Image Segmentation", 2015, "https://arxiv.org/abs/1505.04597"
    )
    variants = (("head.norm=true",), ("head.upsample=nearest",))

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[int],
        num_classes: int,
        *,
        width: int = 64,
        norm: bool = False,
        upsample: Literal["transposed", "nearest"] = "transposed",
    ) -> None:
        super().__init__()
        refuse_trunk("unet_2015", channels)
        if width < 1:
            raise ValueError(f"unet_2015: width {width} must be 1 or more")
        if upsample not in ("transposed", "nearest"):
            raise ValueError(f"unet_2015: upsample {upsample!r} must be transposed or nearest")
        widths = [width * 2**i for i in range(5)]                    # 64 to 1024
        ins = [channels[0], *widths]
        self.contracting = nn.ModuleList(two_convolutions(ins[i], widths[i], norm) for i in range(5))
        self.pool = nn.MaxPool2d(2, ceil_mode=True)
        self.dropout = nn.Dropout(DROPOUT)
        self.up = nn.ModuleList(up_convolution(widths[i], upsample) for i in (4, 3, 2, 1))
        self.expansive = nn.ModuleList(two_convolutions(widths[i], widths[i - 1], norm) for i in (4, 3, 2, 1))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        self.classifier = conv_with_prior(width, num_classes)
        self.map_channels = [widths[2], widths[4]]

    def forward(self, features: list[Tensor]) -> Dense:
        """The photo (B, 3, H, W) -> logits (B, K, H, W), and the maps at strides 4 and 16."""
        x, path = features[0], []
        for i, convolve in enumerate(self.contracting):
            x = convolve(self.pool(x) if i else x)                   # (B, width * 2^i, H / 2^i, W / 2^i)
            path.append(self.dropout(x) if i >= 3 else x)
            x = path[i]
        maps = [x]
        for up, convolve, skip in zip(self.up, self.expansive, path[3::-1], strict=True):
            x = convolve(join(skip, up(x)))                          # (B, width * 2^i, H / 2^i, W / 2^i), i from 3 to 0
            maps.append(x)
        return Dense(self.classifier(x), [maps[2], maps[0]])
