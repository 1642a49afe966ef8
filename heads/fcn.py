"""FCN (Long, Shelhamer, Darrell, 2015, https://arxiv.org/abs/1411.4038), on a dilated ResNet.

From the paper: a classifying network without its last pooling and with convolutions for its dense layers scores every
cell of its deepest map, and the scores are upsampled. Two published forms of it on a ResNet are built. torchvision's
`fcn_resnet50`, the recipe: a trunk dilated to output stride 8, one hidden 3x3 convolution, and an auxiliary classifier
of the same form on the stage before. And the Keras form of clothing parsers, FCN-32s on a ResNet-50 (`FCN_Resnet50_32s`
of https://github.com/hasslercastro/fashion): a trunk of stride 32 and nothing but the classifier. Neither has the
paper's VGG trunk or its skips (FCN-16s, FCN-8s).

Shapes: B batch, Ci channels of stage i, K classes, H W the photo's size, s the trunk's output stride.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from ._blocks import Auxiliary, ConvNormAct, Dense, MaskHead, Paper, conv_with_prior, fcn_head

DROPOUT = 0.1


class FCN(MaskHead):
    """Score every cell of the deepest features.

    Args:
        channels: Channels of each feature, the photo first.
        strides: Stride of each feature, 1 for the photo.
        num_classes: K, logit maps to answer.
        hidden: Convolve once before the classifier, to a quarter of the channels.
        auxiliary: Score the stage before the deepest too, in training.

    Raises:
        ValueError: The trunk has no map of stride 8.
    """

    paper = Paper("Fully Convolutional Networks for Semantic Segmentation", 2015, "https://arxiv.org/abs/1411.4038")
    variants = (
        ("backbone.name=resnet101",),
        ("backbone.output_stride=32", "head.hidden=false", "head.auxiliary=false", "loss.auxiliary=0"),
    )

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[int],
        num_classes: int,
        *,
        hidden: bool = True,
        auxiliary: bool = True,
    ) -> None:
        super().__init__()
        if 8 not in strides:
            raise ValueError(f"fcn: the trunk must have a map of stride 8, not only {list(strides)}; take resnet50")
        self.fine = list(strides).index(8)
        self.map_channels = [channels[self.fine], channels[-1]]
        c4, c5 = channels[-2:]
        width = c5 // 4 if hidden else c5
        self.hidden = nn.Sequential(ConvNormAct(c5, width, 3), nn.Dropout(DROPOUT)) if hidden else nn.Identity()
        self.classifier = conv_with_prior(width, num_classes)
        self.auxiliary = fcn_head(c4, c4 // 4, num_classes, nn.Dropout(DROPOUT)) if auxiliary else None

    def forward(self, features: list[Tensor]) -> Dense:
        """Features, the photo first -> logits (B, K, H/s, W/s), and the trunk's maps of stride 8 and s."""
        x = self.hidden(features[-1])                                       # (B, C5/4, H/s, W/s)
        return Dense(self.classifier(x), [features[self.fine], features[-1]])

    def forward_train(self, features: list[Tensor]) -> tuple[Dense, Auxiliary]:
        """What `forward` answers, and the logits (B, K, h, w) of the stage before the deepest."""
        masks = [] if self.auxiliary is None else [self.auxiliary(features[-2])]
        return self.forward(features), Auxiliary(masks)
