"""RefineNet head (Lin, Milan, Shen, Reid, 2016, https://arxiv.org/abs/1611.06612).

The paper keeps a strided trunk as it is and climbs back through four RefineNet blocks, deep to shallow, each of which
fuses the trunk's map of its stride with what the coarser block answers. Every part adds to an identity path, so that
gradients reach all stages unhindered, and none has batch norm.

Built is the 4-cascaded network with one scale, as the authors' models have it (MATLAB, guosheng/refinenet) and their
conversion to PyTorch (DrSleep/refinenet-pytorch), from which also come what the paper leaves open: which convolutions
have a bias (the first of each residual unit), dropout at the two deepest stages and before the classifier, corners
aligned where maps are upsampled, and four stages of pooling, where the paper draws two. The authors' code also has a
later pooling that convolves before it pools; ours pools first, as in the paper.

Shapes: B batch, Ci channels of stage i, hi wi its size, Wi the width of its block, K classes, H W the photo's size.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from ._blocks import Dense, MaskHead, Paper, bilinear_to, conv_with_prior


def conv3x3(in_channels: int, out_channels: int, *, bias: bool = False) -> nn.Conv2d:
    """A 3x3 convolution that keeps the size."""
    return nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=bias)


class ResidualConvUnit(nn.Module):
    """A residual block without batch norm: the input, and two convolutions of it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = conv3x3(width, width, bias=True)
        self.conv2 = conv3x3(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, W, h, w) -> the same shape."""
        residual: Tensor = self.conv2(F.relu(self.conv1(F.relu(x))))
        return x + residual


class ChainedResidualPooling(nn.Module):
    """Pool what the stage before pooled, convolve, and add each stage's answer: context from ever larger windows."""

    def __init__(self, width: int, pools: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(conv3x3(width, width) for _ in range(pools))

    def forward(self, x: Tensor) -> Tensor:
        """(B, W, h, w) -> the same shape."""
        total = x = F.relu(x)
        for conv in self.convs:
            x = conv(F.max_pool2d(x, 5, stride=1, padding=2))
            total = total + x
        return total


class RefineNetBlock(nn.Module):
    """Adapt the trunk's map, fuse it with the coarser block's answer if there is one, pool, and refine."""

    def __init__(self, in_channels: int, coarser_width: int | None, width: int, pools: int) -> None:
        super().__init__()
        self.reduce = conv3x3(in_channels, width)
        self.adapt = nn.Sequential(ResidualConvUnit(width), ResidualConvUnit(width))
        if coarser_width is not None:
            self.fuse_coarser = conv3x3(coarser_width, width)
            self.fuse_own = conv3x3(width, width)
        self.pool = ChainedResidualPooling(width, pools)
        self.output = nn.Sequential(ResidualConvUnit(width), ResidualConvUnit(width), ResidualConvUnit(width))

    def forward(self, x: Tensor, coarser: Tensor | None) -> Tensor:
        """A stage (B, Ci, hi, wi) and the coarser answer (B, W, h, w) or None -> (B, Wi, hi, wi)."""
        x = self.adapt(self.reduce(x))                                              # (B, Wi, hi, wi)
        if coarser is not None:
            x = self.fuse_own(x) + bilinear_to(self.fuse_coarser(coarser), x, align_corners=True)
        refined: Tensor = self.output(self.pool(x))
        return refined


class RefineNet(MaskHead):
    """Refine from the deepest stage to stride 4, one block a stage.

    Args:
        channels: Channels of each feature, the photo first.
        strides: Stride of each feature, 1 for the photo.
        num_classes: K, logit maps to answer.
        widths: Channels of each block, deep to shallow, one for each stage from stride 4 on.
        pools: Stages of pooling in each block.
        dropout: Share of the values of the two deepest stages, and of the last block's, dropped in training.

    Raises:
        ValueError: the trunk has no map at stride 4, or an option is out of range.
    """

    paper = Paper(
        "RefineNet: Multi-Path Refinement Networks for High-Resolution Semantic Segmentation",
        2016,
        "https://arxiv.org/abs/1611.06612",
    )
    variants = (("backbone.name=resnet101",), ("backbone.name=resnet152",), ("head.pools=2",))

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[int],
        num_classes: int,
        *,
        widths: Sequence[int] = (512, 256, 256, 256),
        pools: int = 4,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.stages = [i for i in range(len(strides)) if strides[i] >= 4][::-1]     # deep to shallow
        if 4 not in strides:
            raise ValueError(
                f"refinenet: the trunk has strides {list(strides[1:])}, none of them 4; take one such as resnet50"
            )
        if len(widths) != len(self.stages) or min(widths) < 1:
            raise ValueError(
                f"refinenet: widths {list(widths)} must have {len(self.stages)} entries of 1 or more, one for each "
                "stage from stride 4 on"
            )
        if pools < 1:
            raise ValueError(f"refinenet: pools {pools} must be 1 or more")
        if not 0 <= dropout < 1:
            raise ValueError(f"refinenet: dropout {dropout} must be from 0 to below 1")
        coarser = [None, *widths[:-1]]
        self.blocks = nn.ModuleList(
            RefineNetBlock(channels[i], before, width, pools)
            for i, before, width in zip(self.stages, coarser, widths, strict=True)
        )
        self.dropout = nn.Dropout(dropout)
        self.classifier = conv_with_prior(widths[-1], num_classes, 3)
        self.map_channels = [widths[-1], channels[-1]]

    def forward(self, features: list[Tensor]) -> Dense:
        """Features, the photo first -> logits (B, K, H/4, W/4), and the last block's and the trunk's deepest map."""
        x = None
        for number, (block, i) in enumerate(zip(self.blocks, self.stages, strict=True)):
            stage = self.dropout(features[i]) if number < 2 else features[i]
            x = block(stage, x)                                                     # (B, Wi, hi, wi), at last H/4, W/4
        assert x is not None
        return Dense(self.classifier(self.dropout(x)), [x, features[-1]])
