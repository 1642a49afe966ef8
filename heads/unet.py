"""U-Net head (Ronneberger, Fischer, Brox, 2015, https://arxiv.org/abs/1505.04597), made light for a CPU.

From the paper: a decoder that climbs back from the deepest features and joins one skip at each step. Ours stops at
stride 4, upsamples by nearest neighbour and convolves with pointwise and depthwise kernels, which keeps the whole
network within half again the cost of its trunk (a decoder to full resolution costs several times the trunk).

Shapes: B batch, Ci channels of stage i, si its stride, K classes, H W the photo's size.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ._blocks import ConvNormAct, Dense, MaskHead, Paper, conv_with_prior, upsample_to


class Step(nn.Module):
    """One step up: join the skip, mix channels, look around, mix again."""

    def __init__(self, in_channels: int, skip_channels: int, width: int, kernel_size: int) -> None:
        super().__init__()
        self.reduce = ConvNormAct(in_channels, width)
        self.join = ConvNormAct(width + skip_channels, width)
        self.look = ConvNormAct(width, width, kernel_size, groups=width)
        self.mix = ConvNormAct(width, width)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """(B, C, h, w) and the skip (B, Cs, 2h, 2w) -> (B, width, 2h, 2w)."""
        x = upsample_to(self.reduce(x), skip)            # (B, width, H/si, W/si)
        x = self.join(torch.cat([x, skip], dim=1))
        mixed: Tensor = self.mix(self.look(x))
        return mixed


class UNet(MaskHead):
    """Upsample from the deepest features to stride 4, joining one skip at each step.

    Args:
        channels: Channels of each feature, the photo first.
        strides: Stride of each feature, 1 for the photo.
        num_classes: K, logit maps to answer.
        widths: Channels of the decoder, deep to shallow, one for each stage between the deepest and stride 4.
        kernel_size: Side of the depthwise kernels, odd.
        pooled: Strides of the maps that the label head pools: 4 is the decoder's own, the others are the trunk's. 4 and
            the deepest, if None.

    Raises:
        ValueError: `widths` does not have one entry, 1 or more, for each step up, `kernel_size` is no odd number, or
            the trunk has no map of a stride in `pooled`.
    """

    paper = Paper(
        "U-Net: Convolutional Networks for Biomedical Image Segmentation", 2015, "https://arxiv.org/abs/1505.04597"
    )

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[int],
        num_classes: int,
        *,
        widths: Sequence[int] = (192, 128, 96),
        kernel_size: int = 3,
        pooled: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        pooled = (4, strides[-1]) if pooled is None else pooled
        if unknown := sorted(set(pooled) - {4, *strides[1:]}):
            raise ValueError(f"unet: pooled {list(pooled)}: the trunk has strides {list(strides[1:])}, not {unknown}")
        self.skips = [i for i in range(len(strides) - 1) if strides[i] >= 4][::-1]  # deep to shallow
        if len(widths) != len(self.skips):
            raise ValueError(f"unet: widths {list(widths)} must have {len(self.skips)} entries, one for each step")
        if min(widths, default=1) < 1:
            raise ValueError(f"unet: widths {list(widths)} must be 1 or more")
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(f"unet: kernel_size {kernel_size} must be odd and 1 or more")
        steps, in_channels = [], channels[-1]
        for i, width in zip(self.skips, widths, strict=True):
            steps.append(Step(in_channels, channels[i], width, kernel_size))
            in_channels = width
        self.steps = nn.ModuleList(steps)
        self.classifier = conv_with_prior(in_channels, num_classes)
        self.pooled = [None if stride == 4 else list(strides).index(stride) for stride in pooled]
        self.map_channels = [in_channels if i is None else channels[i] for i in self.pooled]

    def forward(self, features: list[Tensor]) -> Dense:
        """Features, the photo first -> logits (B, K, H/4, W/4), and the maps at the strides of `pooled`."""
        x = features[-1]                                 # (B, C5, H/32, W/32)
        for step, i in zip(self.steps, self.skips, strict=True):
            x = step(x, features[i])                     # (B, widths[i], H/si, W/si)
        return Dense(self.classifier(x), [x if i is None else features[i] for i in self.pooled])
