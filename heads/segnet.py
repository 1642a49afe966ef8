"""SegNet (Badrinarayanan, Kendall, Cipolla, 2015, https://arxiv.org/abs/1511.00561).

From the paper: the 13 convolutions of VGG16 encode; each max pooling remembers where its maxima lay, and the decoder,
which mirrors the encoder, unpools each value to that position, between zeros, and makes the sparse map dense with
convolutions. No feature map is carried across, only the positions.

We build the form of the authors' `segnet` Caffe model: all convolutions are 3x3 with bias, batch norm and ReLU follow
each but the last, and the last is the classifier. The encoder is a VGG of timm, whose maps are those before each
pooling; the head pools them once more, which costs little, to have the positions. Poolings round down, and unpooling
restores the size that was pooled, so that a last odd row or column comes back as zeros and any photo keeps its size.

Shapes: B batch, H W the photo's size, K classes; Ci channels of the encoder's stage i, 1 to 5.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from ._blocks import Dense, MaskHead, Paper, conv_with_prior

STAGES = (5, 4, 3, 2, 1)
"""Of the encoder, in the order in which they are decoded; `features[i]` is what stage i pools."""


def decode(in_channels: int, out_channels: int, depth: int) -> nn.Sequential:
    """So many convolutions, the last of which changes the channels; (B, in, h, w) -> (B, out, h, w)."""
    layers: list[nn.Module] = []
    for i in range(depth):
        width = out_channels if i == depth - 1 else in_channels
        layers += [nn.Conv2d(in_channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


class SegNet(MaskHead):
    """The decoder of SegNet, on a VGG.

    Args:
        channels: Channels of each feature, the photo first.
        strides: Stride of each feature, 1 for the photo.
        num_classes: K, logit maps to answer.
        depths: Convolutions of each stage of the decoder, deep to shallow, the classifier among them; the decoder
            mirrors the encoder where they are those of the trunk: (4, 4, 4, 2, 2) for vgg19_bn, (2, 2, 2, 2, 2) for
            vgg13_bn.

    Raises:
        ValueError: the trunk is no VGG, or `depths` is not five numbers of 1 or more.

    `Dense.maps` are the decoder's at stride 4 and the bottleneck at stride 32: the map before the classifier is as
    large as the photo, costly to pool.
    """

    paper = Paper(
        "SegNet: A Deep Convolutional Encoder-Decoder Architecture for Image Segmentation",
        2015,
        "https://arxiv.org/abs/1511.00561",
    )

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[int],
        num_classes: int,
        *,
        depths: Sequence[int] = (3, 3, 3, 2, 2),
    ) -> None:
        super().__init__()
        if list(strides) != [1, 1, 2, 4, 8, 16, 32] or channels[5] != channels[6]:
            raise ValueError(
                "segnet: it unpools what five poolings of a VGG have pooled, which this trunk has not: take vgg16_bn"
            )
        if len(depths) != 5 or min(depths) < 1:
            raise ValueError(f"segnet: depths {list(depths)} must be five numbers of 1 or more")
        self.pool = nn.MaxPool2d(2, return_indices=True)
        self.unpool = nn.MaxUnpool2d(2)
        self.decoders = nn.ModuleList(
            decode(channels[i], channels[i - 1], depth) for i, depth in zip(STAGES[:4], depths[:4], strict=True)
        )
        self.decoders.append(decode(channels[1], channels[1], depths[4] - 1))
        self.classifier = conv_with_prior(channels[1], num_classes, 3)
        self.map_channels = [channels[2], channels[5]]

    def forward(self, features: list[Tensor]) -> Dense:
        """Features, the photo first -> logits (B, K, H, W), and the maps at strides 4 and 32."""
        indices, decoded = {}, {}
        for i in reversed(STAGES):
            pooled, indices[i] = self.pool(features[i])              # (B, Ci, H/2si, W/2si), twice
        x = pooled                                                   # (B, C5, H/32, W/32)
        for i, decoder in zip(STAGES, self.decoders, strict=True):
            x = self.unpool(x, indices[i], output_size=features[i].shape[-2:])      # (B, Ci, H/si, W/si)
            x = decoded[i] = decoder(x)                              # (B, C of the stage above, H/si, W/si)
        return Dense(self.classifier(x), [decoded[3], pooled])
