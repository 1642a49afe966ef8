"""Atrous ResNet (Chen et al., 2017, https://arxiv.org/abs/1706.05587), as clothing parsers use it.

From the paper: the last stage of a ResNet keeps stride 16, or the last two keep 8, by convolutions that step over
cells ("atrous", dilated), and the deepest map is classified there. This is its plain form without pyramid pooling or a
cascade of further stages: `AtrousFCN_Resnet50_16s` of https://github.com/hasslercastro/fashion (Castro & Ramirez, 2020,
https://arxiv.org/abs/2006.11375), one 1x1 convolution on a ResNet-50 of stride 16.

Its Keras trunk dilates all three blocks of the last stage, the first too (`backbone.dilation: all`), which changes what
the stage computes; `library` leaves the first block as it is, so that the strided network's maps are found in the
dilated one's. Keras has biases in the trunk's convolutions, ahead of batch norms that cancel them; timm's has none.

Shapes: B batch, K classes, H W the photo's size, s the trunk's output stride.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ._blocks import Dense, MaskHead, Paper, conv_with_prior


class Atrous(MaskHead):
    """One classifier on the deepest features of a dilated trunk.

    Args:
        channels: Channels of each feature, the photo first.
        strides: Stride of each feature, 1 for the photo.
        num_classes: K, logit maps to answer.

    Raises:
        ValueError: The trunk has no map of stride 8, or its deepest has a stride beyond 16.
    """

    paper = Paper(
        "Rethinking Atrous Convolution for Semantic Image Segmentation", 2017, "https://arxiv.org/abs/1706.05587"
    )
    variants = (("backbone.dilation=library",), ("backbone.output_stride=8",))

    def __init__(self, channels: Sequence[int], strides: Sequence[int], num_classes: int) -> None:
        super().__init__()
        if 8 not in strides:
            raise ValueError(f"atrous: the trunk must have a map of stride 8, not only {list(strides)}; take resnet50")
        if strides[-1] > 16:
            raise ValueError(f"atrous: the trunk's stride must be 8 or 16, not {strides[-1]}; set output_stride")
        self.fine = list(strides).index(8)
        self.map_channels = [channels[self.fine], channels[-1]]
        self.classifier = conv_with_prior(channels[-1], num_classes)

    def forward(self, features: list[Tensor]) -> Dense:
        """Features, the photo first -> logits (B, K, H/s, W/s), and the trunk's maps of stride 8 and s."""
        return Dense(self.classifier(features[-1]), [features[self.fine], features[-1]])
