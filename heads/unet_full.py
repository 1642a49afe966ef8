"""U-Net on any trunk, decoded to the photo's own size (Ronneberger et al., 2015, https://arxiv.org/abs/1505.04597).

From the paper: a decoder that climbs back from the deepest features, joins one skip at each step, and convolves twice.

The form is that of the U-Net of segmentation_models.pytorch, which most people mean by "U-Net with an encoder": the
contracting path is an image classifier, upsampling is by nearest neighbour, batch norm follows each convolution, the
widths are 256 to 16, and the last block, at the photo's size, has no skip. With the same weights it gives the same
answer.

Shapes: B batch, H W the photo's size, K classes; Ci channels and si stride of stage i.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ._blocks import ConvNormAct, Dense, MaskHead, Paper, conv_with_prior, upsample_to

STRIDES = [2, 4, 8, 16, 32]


class Block(nn.Module):
    """One step up: upsample, join the skip, convolve twice."""

    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__()
        self.conv1 = ConvNormAct(in_channels, width, 3)
        self.conv2 = ConvNormAct(width, width, 3)

    def forward(self, x: Tensor, skip: Tensor, *, join: bool) -> Tensor:
        """(B, C, h, w) and the skip (B, Cs, 2h, 2w), which gives its size alone unless `join` -> (B, width, 2h, 2w)."""
        x = upsample_to(x, skip)                                     # (B, C, 2h, 2w)
        x = torch.cat([x, skip], dim=1) if join else x               # (B, C + Cs, 2h, 2w)
        convolved: Tensor = self.conv2(self.conv1(x))
        return convolved


class UNetFull(MaskHead):
    """Upsample from the deepest features to the photo's size, joining one skip at each step but the last.

    Args:
        channels: Channels of each feature, the photo first.
        strides: Stride of each feature, 1 for the photo.
        num_classes: K, logit maps to answer.
        widths: Channels of the five blocks, deep to shallow.

    Raises:
        ValueError: the trunk has not one map at each of strides 2 to 32 (further maps at stride 1 are not read), or
            `widths` is not five numbers of 1 or more.

    `Dense.maps` are the decoder's at stride 4 and the trunk's deepest: at the photo's size the decoder has few
    channels.
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
        widths: Sequence[int] = (256, 128, 64, 32, 16),
    ) -> None:
        super().__init__()
        stages = [i for i, stride in enumerate(strides) if stride > 1]
        if [strides[i] for i in stages] != STRIDES:
            raise ValueError(
                f"unet_full: the trunk has strides {list(strides[1:])}, not one map at each of {STRIDES}: "
                "take resnet34, efficientnet_b0, vgg16_bn or another such trunk"
            )
        if len(widths) != 5 or min(widths) < 1:
            raise ValueError(f"unet_full: widths {list(widths)} must be five numbers of 1 or more")
        self.skips = stages[-2::-1]                                  # strides 16, 8, 4, 2
        ins = [channels[-1], *widths[:-1]]
        joined = [*(channels[i] for i in self.skips), 0]
        self.blocks = nn.ModuleList(Block(ins[i] + joined[i], width) for i, width in enumerate(widths))
        self.classifier = conv_with_prior(widths[-1], num_classes, 3)
        self.map_channels = [widths[2], channels[-1]]

    def forward(self, features: list[Tensor]) -> Dense:
        """Features, the photo first -> logits (B, K, H, W), and the maps at strides 4 and 32."""
        x, decoded = features[-1], []                                # (B, C5, H/32, W/32)
        for block, i in zip(self.blocks, [*self.skips, 0], strict=True):
            x = block(x, features[i], join=i > 0)                    # (B, width, H/si, W/si)
            decoded.append(x)
        return Dense(self.classifier(x), [decoded[2], features[-1]])
