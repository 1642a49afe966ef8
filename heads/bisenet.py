"""BiSeNet head (Yu et al., 2018, https://arxiv.org/abs/1808.00897).

From the paper: two paths. A spatial path of three strided convolutions keeps the detail of the photo at stride 8; a
context path takes a trunk's maps at strides 16 and 32, weighs their channels (attention refinement, ARM) and begins
with the mean of the deepest. Feature fusion (FFM) joins both. Two auxiliary outputs supervise the context path.

We build the authors' released code (github.com/ycszen/TorchSeg): an ARM begins with a 3x3 convolution to 128 channels,
the spatial path is 7x7, 3x3, 3x3 and 1x1, and the context is convolved after each upsampling. The counts in the paper's
table (5.8M, 49.0M) are not those of this code (1.5M with Xception39, 12.9M with ResNet-18). Its `width` and
`auxiliary_width` are 64 and 256 on ResNet-18, 64 and 128 on Xception39, 256 and 256 on ResNet-101 with a deep stem.

A batch of one photo cannot train: a batch norm stands behind the mean of a whole map.

Shapes: B batch, K classes, H W the photo's size, C16 and C32 channels of the trunk's maps at those strides.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ._blocks import Auxiliary, ConvNormAct, Dense, MaskHead, Paper, bilinear_to, conv_with_prior

WIDTH = 128
"""Channels of both paths."""


class SpatialPath(nn.Sequential):
    """(B, 3, H, W) -> (B, 128, H/8, W/8): detail, from 19 x 19 pixels a cell."""

    def __init__(self) -> None:
        super().__init__(
            ConvNormAct(3, 64, 7, stride=2),
            ConvNormAct(64, 64, 3, stride=2),
            ConvNormAct(64, 64, 3, stride=2),
            ConvNormAct(64, WIDTH),
        )


class AttentionRefinement(nn.Module):
    """ARM: a 3x3 convolution whose channels are weighed by their mean over the map."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.conv = ConvNormAct(in_channels, WIDTH, 3)
        self.attention = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(WIDTH, WIDTH, 1, bias=False), nn.BatchNorm2d(WIDTH), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, 128, h, w)."""
        x = self.conv(x)
        weighed: Tensor = x * self.attention(x)
        return weighed


class FeatureFusion(nn.Module):
    """FFM: both paths mixed by a 1x1 convolution; its channels are added once more as their mean weighs them."""

    def __init__(self) -> None:
        super().__init__()
        width = 2 * WIDTH
        self.conv = ConvNormAct(width, width)
        self.attention = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(width, width, 1, bias=False),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 1, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, spatial: Tensor, context: Tensor) -> Tensor:
        """Two of (B, 128, h, w) -> (B, 256, h, w)."""
        x = self.conv(torch.cat([spatial, context], dim=1))
        fused: Tensor = x + x * self.attention(x)
        return fused


class BiSeNet(MaskHead):
    """Detail from the photo, context from the trunk's maps at strides 16 and 32, fused at stride 8.

    Args:
        channels: Channels of each feature, the photo first.
        strides: Stride of each feature, 1 for the photo.
        num_classes: K, logit maps to answer.
        width: Channels before the classifier.
        auxiliary_width: Channels before the auxiliary classifiers.
        auxiliary: Build the two auxiliary outputs.

    Raises:
        ValueError: a width is below 1, or the trunk has no map at stride 16 or does not end at stride 32.
    """

    paper = Paper(
        "BiSeNet: Bilateral Segmentation Network for Real-time Semantic Segmentation",
        2018,
        "https://arxiv.org/abs/1808.00897",
    )
    variants = (
        ("backbone.name=xception39", "backbone.pretrained=false", "head.auxiliary_width=128"),
        ("backbone.name=resnet101s", "head.width=256"),
    )

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[int],
        num_classes: int,
        *,
        width: int = 64,
        auxiliary_width: int = 256,
        auxiliary: bool = True,
    ) -> None:
        super().__init__()
        if min(width, auxiliary_width) < 1:
            raise ValueError(f"bisenet: width {width} and auxiliary_width {auxiliary_width} must be 1 or more")
        if 16 not in strides or strides[-1] != 32:
            asked = "must have 16 and end with 32; take resnet18 with output_stride=32"
            raise ValueError(f"bisenet: the trunk's strides {list(strides[1:])} {asked}")
        self.at_16 = max(i for i, stride in enumerate(strides) if stride == 16)
        self.spatial_path = SpatialPath()
        self.global_context = nn.Sequential(nn.AdaptiveAvgPool2d(1), ConvNormAct(channels[-1], WIDTH))
        self.arms = nn.ModuleList(AttentionRefinement(c) for c in (channels[-1], channels[self.at_16]))
        self.refines = nn.ModuleList(ConvNormAct(WIDTH, WIDTH, 3) for _ in self.arms)
        self.ffm = FeatureFusion()
        self.conv = ConvNormAct(2 * WIDTH, width, 3)
        self.classifier = conv_with_prior(width, num_classes)
        self.auxiliary = nn.ModuleList(
            nn.Sequential(ConvNormAct(WIDTH, auxiliary_width, 3), conv_with_prior(auxiliary_width, num_classes))
            for _ in self.refines
            if auxiliary
        )
        self.map_channels = [2 * WIDTH, channels[-1]]

    def forward(self, features: list[Tensor]) -> Dense:
        """Features, the photo first -> logits (B, K, H/8, W/8), and maps at strides 8 and 32."""
        return self._run(features)[0]

    def forward_train(self, features: list[Tensor]) -> tuple[Dense, Auxiliary]:
        """What `forward` answers, and logits of the context at strides 16 and 8."""
        dense, contexts = self._run(features)
        outputs = zip(self.auxiliary, contexts, strict=False)              # none where they are not built
        return dense, Auxiliary([output(context) for output, context in outputs])

    def _run(self, features: list[Tensor]) -> tuple[Dense, list[Tensor]]:
        spatial = self.spatial_path(features[0])                           # (B, 128, H/8, W/8)
        at_16, at_32 = features[self.at_16], features[-1]                  # (B, C16, H/16, W/16), (B, C32, H/32, W/32)
        context, contexts = self.global_context(at_32), []                 # (B, 128, 1, 1)
        stages = ((at_32, at_16), (at_16, spatial))
        for (stage, finer), arm, refine in zip(stages, self.arms, self.refines, strict=True):
            context = arm(stage) + context
            context = refine(bilinear_to(context, finer, align_corners=True))  # (B, 128, H/16, W/16), then H/8, W/8
            contexts.append(context)
        fused = self.ffm(spatial, context)                                 # (B, 256, H/8, W/8)
        return Dense(self.classifier(self.conv(fused)), [fused, at_32]), contexts
