"""FC-DenseNet (Jegou, Drozdzal, Vazquez, Romero, Bengio, 2016, https://arxiv.org/abs/1611.09326).

The One Hundred Layers Tiramisu: a DenseNet that goes down and up again. It brings its encoder: take the trunk `none`.

From the paper: a layer is BN, ReLU, convolution, dropout, and makes k maps of all maps before it at its resolution; a
dense block stacks them. Going down, the whole stack is pooled. Going up, only the maps that the block before has made
are upsampled, or the stack would grow with every block; the rest of what is known at a resolution comes by its skip.

Built as in the authors' code (github.com/SimJeg/FC-DenseNet): convolutions have biases, and transposed convolutions no
padding. These answer 2n + 1 cells for n, which is what an odd skip has; where the skip has 2n, the last is cut off. So
the logits have the photo's own size, whatever it is, from 32 pixels on.

Differs from the paper: at test time we normalise by running statistics, they by those of the test batch, which makes an
answer depend on what stands beside it. From the bottleneck on, the stacks of FC-DenseNet103 in the paper's table 2 are
16 maps too small, as the authors say themselves; ours have the sizes of their code.

Shapes: B batch, K classes, H W the photo's size, h w that of a block, m the maps of a stack.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ._blocks import Dense, MaskHead, Paper, conv_with_prior, refuse_trunk

FIRST = 48
"""Maps of the first convolution."""
GROWTH: dict[int, int] = {56: 12, 67: 16, 103: 16}
"""k, the maps that a layer makes, by the network's number of layers."""
DOWN: dict[int, tuple[int, ...]] = {56: (4,) * 5, 67: (5,) * 5, 103: (4, 5, 7, 10, 12)}
"""Layers of each dense block on the way down; on the way up the same, reversed."""
BOTTLENECK: dict[int, int] = {56: 4, 67: 5, 103: 15}


class Layer(nn.Sequential):
    """BN, ReLU, convolution, dropout: (B, m, h, w) -> (B, `out_channels`, h, w)."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, dropout: float) -> None:
        super().__init__(
            nn.BatchNorm2d(in_channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2),
            nn.Dropout(dropout),
        )


class DenseBlock(nn.Module):
    """Each layer reads the stack and adds k maps to it."""

    def __init__(self, in_channels: int, num_layers: int, growth: int, dropout: float) -> None:
        super().__init__()
        self.new = num_layers * growth
        self.out_channels = in_channels + self.new
        self.layers = nn.ModuleList(Layer(in_channels + i * growth, growth, 3, dropout) for i in range(num_layers))

    def forward(self, stack: Tensor) -> Tensor:
        """(B, m, h, w) -> (B, m + new, h, w); the last `new` maps are its own."""
        for layer in self.layers:
            stack = torch.cat([stack, layer(stack)], dim=1)
        return stack


class TransitionUp(nn.Module):
    """Upsample the maps that the block before has made, then join the skip."""

    def __init__(self, new: int) -> None:
        super().__init__()
        self.new = new
        self.conv = nn.ConvTranspose2d(new, new, 3, stride=2)

    def forward(self, stack: Tensor, skip: Tensor) -> Tensor:
        """(B, m, h/2, w/2), the last `new` maps being new, and the skip (B, ms, h, w) -> (B, new + ms, h, w)."""
        x = self.conv(stack[:, -self.new :])              # (B, new, h or h + 1, w or w + 1)
        height, width = skip.shape[-2:]
        top, left = (x.shape[2] - height) // 2, (x.shape[3] - width) // 2     # 0: of one cell, the centre is the first
        return torch.cat([x[:, :, top : top + height, left : left + width], skip], dim=1)


class FCDenseNet(MaskHead):
    """Dense blocks down to stride 32 and up again.

    Label heads pool the stack on the way up at stride 4, and the bottleneck's at stride 32.

    Args:
        channels: Channels of each feature; the photo's alone, as the network brings its encoder.
        strides: Stride of each feature, 1 for the photo.
        num_classes: K, logit maps to answer.
        layers: Convolutions and transposed convolutions in the network: 56, 67 or 103.
        dropout: Share of each layer's cells dropped in training, 0..1.

    Raises:
        ValueError: the trunk has stages, `layers` is another number, or `dropout` is no share.
    """

    paper = Paper(
        "The One Hundred Layers Tiramisu: Fully Convolutional DenseNets for Semantic Segmentation",
        2016,
        "https://arxiv.org/abs/1611.09326",
    )
    variants = (("head.layers=67",), ("head.layers=56",))

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[int],
        num_classes: int,
        *,
        layers: Literal[56, 67, 103] = 103,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        refuse_trunk("fc_densenet", channels)
        if layers not in GROWTH:
            raise ValueError(f"fc_densenet: layers {layers} must be 56, 67 or 103")
        if not 0 <= dropout < 1:
            raise ValueError(f"fc_densenet: dropout {dropout} must be at least 0 and below 1")
        growth = GROWTH[layers]
        self.first = nn.Conv2d(channels[0], FIRST, 3, padding=1)
        self.down, self.transitions_down = nn.ModuleList(), nn.ModuleList()
        self.transitions_up, self.up = nn.ModuleList(), nn.ModuleList()
        m, skips = FIRST, []
        for num_layers in DOWN[layers]:
            self.down.append(DenseBlock(m, num_layers, growth, dropout))
            m += num_layers * growth
            self.transitions_down.append(Layer(m, m, 1, dropout))
            skips.append(m)
        self.bottleneck = DenseBlock(m, BOTTLENECK[layers], growth, dropout)
        stacks, new = [self.bottleneck.out_channels], self.bottleneck.new
        for num_layers, skip in zip(reversed(DOWN[layers]), reversed(skips), strict=True):
            self.transitions_up.append(TransitionUp(new))
            block = DenseBlock(new + skip, num_layers, growth, dropout)
            self.up.append(block)
            stacks.append(block.out_channels)
            new = block.new
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                assert module.bias is not None
                nn.init.kaiming_uniform_(module.weight, nonlinearity="relu")  # "HeUniform" in the paper
                nn.init.zeros_(module.bias)
        self.classifier = conv_with_prior(stacks[-1], num_classes)
        self.map_channels = [stacks[3], stacks[0]]        # strides 4 and 32

    def forward(self, features: list[Tensor]) -> Dense:
        """The photo (B, 3, H, W) -> logits (B, K, H, W), and the stacks at strides 4 and 32."""
        stack = self.first(features[0])                   # (B, 48, H, W)
        skips = []
        for block, transition in zip(self.down, self.transitions_down, strict=True):
            stack = block(stack)                          # (B, m, h, w)
            skips.append(stack)
            stack = F.max_pool2d(transition(stack), 2)    # (B, m, h/2, w/2)
        stacks = [self.bottleneck(stack)]                 # (B, m, H/32, W/32)
        for transition, block in zip(self.transitions_up, self.up, strict=True):
            stacks.append(block(transition(stacks[-1], skips.pop())))         # (B, m, h, w)
        return Dense(self.classifier(stacks[-1]), [stacks[3], stacks[0]])
