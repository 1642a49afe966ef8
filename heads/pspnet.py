"""PSPNet (Zhao, Shi, Qi, Wang, Jia, 2017, https://arxiv.org/abs/1612.01105), as the authors' code has it.

From the paper: the deepest features of a dilated ResNet are averaged over the whole photo and over grids of 2x2, 3x3
and 6x6 regions; each level is reduced, upsampled and joined to the features, so that every cell is classified with the
whole scene in view. An auxiliary classifier on the stage before helps to train the trunk.

What the paper leaves open is as in https://github.com/hszhao/semseg: the stem of three 3x3 convolutions (timm's
`resnet50s`, `resnet101s`), dilations of 2 and 4 in all blocks of the last two stages (`backbone.dilation: all`), widths
of 512 and 256 before the classifiers, bilinear upsampling with aligned corners, dropout of whole channels. That code
takes photos of 8n + 1 pixels alone; this one takes any. In training, the average over a whole photo needs two photos:
a batch norm has nothing to go by in one.

Shapes: B batch, Ci channels of stage i, N levels, K classes, H W the photo's size.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ._blocks import Auxiliary, ConvNormAct, Dense, MaskHead, Paper, bilinear_to, conv_with_prior, fcn_head

DROPOUT = 0.1
"""Probability that a channel is dropped ahead of a classifier."""


class PyramidPooling(nn.Module):
    """The features beside their averages over grids of regions."""

    def __init__(self, channels: int, bins: Sequence[int]) -> None:
        super().__init__()
        self.bins = list(bins)
        self.levels = nn.ModuleList(ConvNormAct(channels, channels // len(bins)) for _ in bins)
        self.out_channels = channels + len(bins) * (channels // len(bins))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, 2C, h, w)."""
        joined = [x]
        for bins, level in zip(self.bins, self.levels, strict=True):
            regions = level(F.adaptive_avg_pool2d(x, bins))                 # (B, C/N, bins, bins)
            joined.append(bilinear_to(regions, x, align_corners=True))      # (B, C/N, h, w)
        return torch.cat(joined, dim=1)


class PSPNet(MaskHead):
    """Classify every cell beside averages over the whole photo and its regions.

    Args:
        channels: Channels of each feature, the photo first.
        strides: Stride of each feature, 1 for the photo; the last two are 8.
        num_classes: K, logit maps to answer.
        bins: Regions along each side, one entry a level of the pyramid.
        auxiliary: Classify the stage before the deepest too, in training.

    Raises:
        ValueError: A level has no regions, there are none or more levels than channels, or the trunk's last two maps
            have another stride than 8.
    """

    paper = Paper("Pyramid Scene Parsing Network", 2017, "https://arxiv.org/abs/1612.01105")
    variants = (("backbone.name=resnet101s",),)

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[int],
        num_classes: int,
        *,
        bins: Sequence[int] = (1, 2, 3, 6),
        auxiliary: bool = True,
    ) -> None:
        super().__init__()
        if list(strides[-2:]) != [8, 8]:
            raise ValueError(
                f"pspnet: the trunk's last two maps must have stride 8, not {list(strides[-2:])}; "
                "take resnet50s with output_stride 8"
            )
        if not 1 <= len(bins) <= channels[-1] or min(bins) < 1:
            raise ValueError(f"pspnet: bins {list(bins)} must be 1 to {channels[-1]} numbers of 1 or more")
        self.ppm = PyramidPooling(channels[-1], bins)
        self.hidden = ConvNormAct(self.ppm.out_channels, 512, 3)
        self.dropout = nn.Dropout2d(DROPOUT)
        self.classifier = conv_with_prior(512, num_classes)
        self.auxiliary = fcn_head(channels[-2], 256, num_classes, nn.Dropout2d(DROPOUT)) if auxiliary else None
        self.map_channels = [512, channels[-1]]

    def forward(self, features: list[Tensor]) -> Dense:
        """Features, the photo first -> logits (B, K, H/8, W/8), and the maps before the classifier and the pyramid."""
        x = self.ppm(features[-1])                                          # (B, 2 C5, H/8, W/8)
        x = self.hidden(x)                                                  # (B, 512, H/8, W/8)
        return Dense(self.classifier(self.dropout(x)), [x, features[-1]])

    def forward_train(self, features: list[Tensor]) -> tuple[Dense, Auxiliary]:
        """What `forward` answers, and the logits (B, K, H/8, W/8) of the stage before the deepest."""
        masks = [] if self.auxiliary is None else [self.auxiliary(features[-2])]
        return self.forward(features), Auxiliary(masks)
