"""DeepLabv3+ (Chen, Zhu, Papandreou, Schroff, Adam, 2018, https://arxiv.org/abs/1802.02611).

The paper proposes a decoder for DeepLabv3: atrous spatial pyramid pooling (ASPP) looks at the deepest map, kept at
stride 16 or 8 by atrous convolutions, through several rates at once; its answer is enlarged to stride 4, joined with a
few channels of a low-level map, and refined by two 3x3 convolutions. With `separable`, the 3x3 convolutions of both are
atrous separable ones, depthwise and then pointwise.

The form is that of the paper and of the authors' code
(https://github.com/tensorflow/models/tree/master/research/deeplab): batch norm and ReLU after the depthwise
convolution too, 48 low-level channels, a tenth of ASPP's answer dropped in training. Their code pools over a crop of
fixed size and aligns corners where it enlarges; here any size is pooled whole, and pixels have half-pixel centres.

Shapes: B batch, Cl channels of the map at stride 4, C channels of the deepest one and s its stride, K classes, H W the
photo's size.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ._blocks import ConvNormAct, Dense, MaskHead, Paper, bilinear_to, conv_with_prior

DEPTH = 256
LOW_LEVEL = 48
"""Channels kept of the low-level map: few, so that they do not outweigh ASPP's."""
DROPOUT = 0.1


def conv3x3(in_channels: int, *, dilation: int = 1, separable: bool) -> nn.Sequential:
    """A 3x3 convolution to `DEPTH` channels, separable or not; the size is kept."""
    if not separable:
        return ConvNormAct(in_channels, DEPTH, 3, dilation=dilation)
    depthwise = ConvNormAct(in_channels, in_channels, 3, dilation=dilation, groups=in_channels)
    return nn.Sequential(depthwise, ConvNormAct(in_channels, DEPTH))


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling: one map seen through a cell, through each rate, and as a whole."""

    def __init__(self, in_channels: int, rates: Sequence[int], *, separable: bool) -> None:
        super().__init__()
        self.conv1x1 = ConvNormAct(in_channels, DEPTH)
        self.atrous = nn.ModuleList([conv3x3(in_channels, dilation=rate, separable=separable) for rate in rates])
        self.image_pooling = ConvNormAct(in_channels, DEPTH)
        self.project = ConvNormAct((2 + len(rates)) * DEPTH, DEPTH)
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H/s, W/s) -> (B, 256, H/s, W/s)."""
        whole = self.image_pooling(x.mean((2, 3), keepdim=True))                     # (B, 256, 1, 1)
        branches = [self.conv1x1(x), *(conv(x) for conv in self.atrous), whole.expand(-1, -1, *x.shape[2:])]
        x = self.project(torch.cat(branches, dim=1))                                 # (B, 1280 -> 256, H/s, W/s)
        dropped: Tensor = self.dropout(x)
        return dropped


class DeepLabV3Plus(MaskHead):
    """ASPP on the deepest map, and the decoder that joins its answer with the first map at stride 4.

    Args:
        channels: Channels of each feature, the photo first.
        strides: Stride of each feature, 1 for the photo.
        num_classes: K, logit maps to answer.
        rates: Rates of ASPP's atrous convolutions; the paper's, 6, 12 and 18 at stride 16 and twice these at stride 8,
            if None.
        separable: The 3x3 convolutions are separable, as the paper has them with Xception; False is the form that it
            begins from, with ResNet-101.

    Raises:
        ValueError: the trunk has no map at stride 4, its deepest one is not at stride 8 or 16, or a rate is below 1.
    """

    paper = Paper(
        "Encoder-Decoder with Atrous Separable Convolution for Semantic Image Segmentation",
        2018,
        "https://arxiv.org/abs/1802.02611",
    )
    variants = (
        ("backbone.output_stride=8",),
        ("backbone.name=resnet101",),
        ("backbone.name=resnet101", "head.separable=false"),
        ("backbone.name=inception_resnet_v2",),
    )

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[int],
        num_classes: int,
        *,
        rates: Sequence[int] | None = None,
        separable: bool = True,
    ) -> None:
        super().__init__()
        if 4 not in strides or strides[-1] not in (8, 16):
            raise ValueError(
                f"deeplabv3plus: needs a map at stride 4 and the deepest at 16 or 8, not strides {list(strides[1:])}; "
                "take resnet50 or inception_resnet_v2 with backbone.output_stride=16"
            )
        if rates is None:
            rates = (6, 12, 18) if strides[-1] == 16 else (12, 24, 36)
        if not rates or min(rates) < 1:
            raise ValueError(f"deeplabv3plus: rates {list(rates)} must be one or more numbers, each 1 or more")
        self.low_level = list(strides).index(4)
        self.aspp = ASPP(channels[-1], rates, separable=separable)
        self.project_low_level = ConvNormAct(channels[self.low_level], LOW_LEVEL)
        self.decoder = nn.Sequential(
            conv3x3(DEPTH + LOW_LEVEL, separable=separable), conv3x3(DEPTH, separable=separable)
        )
        self.classifier = conv_with_prior(DEPTH, num_classes)
        self.map_channels = [DEPTH, channels[-1]]

    def forward(self, features: list[Tensor]) -> Dense:
        """Features, the photo first -> logits (B, K, H/4, W/4), and the decoder's map and the deepest one."""
        x = self.aspp(features[-1])                                                  # (B, 256, H/s, W/s)
        low_level = self.project_low_level(features[self.low_level])                 # (B, Cl -> 48, H/4, W/4)
        x = torch.cat([bilinear_to(x, low_level), low_level], dim=1)                 # (B, 304, H/4, W/4)
        x = self.decoder(x)                                                          # (B, 256, H/4, W/4)
        return Dense(self.classifier(x), [x, features[-1]])
