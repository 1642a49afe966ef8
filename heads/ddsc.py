"""DDSC head, dense decoder shortcut connections (Bilinski, Prisacariu, CVPR 2018).

From the paper: on an encoder of four levels, a decoder whose blocks (i) take context, (ii) generate semantic features
and (iii) fuse resolutions; blocks are built of ResNeXt's; each level reads the features of all higher levels, not of
the next one alone, so that one pass over a photo is enough.

No code of the authors exists. Widths and order of layers follow GeorgeSeif/Semantic-Segmentation-Suite, whose slips are
mended: there the grouped convolution's result is dropped, and shortcuts are narrowed and upsampled again and again, so
that they do not fit. Ours: each shortcut starts from its level's own features, and convolutions have no bias. The last
3x3 convolution of level 1 goes to K maps, and the 1x1 one that follows it there, with nothing between, is folded into
it: so it is the classifier. It answers at stride 4; the paper's upsampling to the photo is left to whoever reads it.

Shapes: B batch, D width of a level, K classes, H W the photo's size; level 1 is at stride 4, level 4 at stride 32.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ._blocks import Dense, MaskHead, Paper, bilinear_to, conv_with_prior

CARDINALITY = 32


class NormActConv(nn.Sequential):
    """Batch norm, ReLU, convolution without bias; the size is kept."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int = 3, *, groups: int = 1) -> None:
        super().__init__(
            nn.BatchNorm2d(in_channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, groups=groups, bias=False),
        )


class ResNeXtBlock(nn.Module):
    """Residual block whose 3x3 convolution has `CARDINALITY` groups and half the width."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.reduce = NormActConv(width, width // 2, 1)
        self.grouped = NormActConv(width // 2, width // 2, groups=CARDINALITY)
        self.expand = NormActConv(width // 2, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, D, h, w) -> the same."""
        y: Tensor = x + self.expand(self.grouped(self.reduce(x)))
        return y


class EncoderAdaptation(nn.Sequential):
    """The encoder's map of a level (B, C, h, w) -> (B, D, h, w)."""

    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__(
            NormActConv(in_channels, width), *(ResNeXtBlock(width) for _ in range(3)), NormActConv(width, width)
        )


class SemanticFeatureGeneration(nn.Module):
    """Context from a chain of four poolings, each of which gives a quarter of the width; then four ResNeXt blocks."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(NormActConv(width, width) for _ in range(4))
        self.pool = nn.MaxPool2d(5, stride=1, padding=2)
        self.quarters = nn.ModuleList(NormActConv(width, width // 4) for _ in range(4))
        self.join = NormActConv(width, width)
        self.blocks = nn.Sequential(*(ResNeXtBlock(width) for _ in range(4)))

    def forward(self, x: Tensor) -> Tensor:
        """(B, D, h, w) -> the same."""
        context = []
        for conv, quarter in zip(self.convs, self.quarters, strict=True):
            x = self.pool(conv(x))
            context.append(quarter(x))                   # (B, D/4, h, w)
        features: Tensor = self.blocks(self.join(torch.cat(context, dim=1)))
        return features


class Fusion(nn.Module):
    """Dense decoder shortcuts: the sum of a level's own map and the outputs of all higher levels, brought to it."""

    def __init__(self, width: int, higher: Sequence[int]) -> None:
        super().__init__()
        self.own = NormActConv(width, width)
        self.shortcuts = nn.ModuleList(NormActConv(channels, width) for channels in higher)

    def forward(self, own: Tensor, higher: list[Tensor]) -> Tensor:
        """(B, D, h, w) and the outputs of the higher levels, each at its own size -> (B, D, h, w)."""
        x: Tensor = self.own(own)
        for shortcut, high in zip(self.shortcuts, higher, strict=True):
            x = x + bilinear_to(shortcut(high), x)
        return x


class DDSC(MaskHead):
    """From level 4 down to 1: adapt the encoder's map, fuse it with all higher outputs, generate semantic features.

    Args:
        channels: Channels of each feature, the photo first.
        strides: Stride of each feature, 1 for the photo.
        num_classes: K, logit maps to answer.
        widths: D of levels 4, 3, 2 and 1, multiples of 64.

    Raises:
        ValueError: the trunk's last maps have not the strides 4, 8, 16, 32, or `widths` is not as above.
    """

    paper = Paper(
        "Dense Decoder Shortcut Connections for Single-Pass Semantic Segmentation",
        2018,
        "https://openaccess.thecvf.com/content_cvpr_2018/html/Bilinski_Dense_Decoder_Shortcut_CVPR_2018_paper.html",
    )
    variants = (("backbone.name=resnet101",), ("backbone.name=resnext101_32x8d",))

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[int],
        num_classes: int,
        *,
        widths: Sequence[int] = (1024, 512, 256, 128),
    ) -> None:
        super().__init__()
        if list(strides[-4:]) != [4, 8, 16, 32]:
            found = list(strides[1:])
            raise ValueError(f"ddsc: the trunk's strides {found} do not end in 4, 8, 16, 32: take resnext50_32x4d")
        if len(widths) != 4 or any(width < 64 or width % 64 for width in widths):
            raise ValueError(f"ddsc: widths {list(widths)} must be 4 multiples of 64, for levels 4, 3, 2 and 1")
        encoder = list(channels[-4:])[::-1]              # levels 4 to 1, as all that follows
        self.adapt = nn.ModuleList(EncoderAdaptation(c, width) for c, width in zip(encoder, widths, strict=True))
        self.fuse = nn.ModuleList(Fusion(widths[i], widths[:i]) for i in range(1, 4))    # level 4 has none above it
        self.generate = nn.ModuleList(SemanticFeatureGeneration(width) for width in widths)
        self.outputs = nn.ModuleList(NormActConv(width, width) for width in widths[:3])
        self.norm = nn.BatchNorm2d(widths[3])
        self.classifier = conv_with_prior(widths[3], num_classes, 3)
        self.map_channels = [widths[3], channels[-1]]

    def forward(self, features: list[Tensor]) -> Dense:
        """Features, the photo first -> logits (B, K, H/4, W/4), and the maps at strides 4 and 32, the trunk's."""
        higher: list[Tensor] = []                        # outputs of levels 4, 3 and 2: (B, D, H/32, W/32) and so on
        x = features[-1]
        for i, (adapt, generate) in enumerate(zip(self.adapt, self.generate, strict=True)):
            x = adapt(features[-1 - i])                  # (B, D, H/32, W/32), then H/16, H/8, H/4
            if i:
                x = self.fuse[i - 1](x, higher)
            x = generate(x)
            if i < len(self.outputs):
                higher.append(self.outputs[i](x))
        x = torch.relu(self.norm(x))                     # (B, D1, H/4, W/4)
        return Dense(self.classifier(x), [x, features[-1]])
