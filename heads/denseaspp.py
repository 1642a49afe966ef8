"""DenseASPP head (Yang et al., CVPR 2018), on a DenseNet of output stride 8.

From the paper: atrous convolutions of rates 3, 6, 12, 18 and 24, where atrous spatial pyramid pooling runs them side by
side, read one another as in a DenseNet, each everything before it. The last thus sees 127 x 127 cells, every third of
them (all rates are multiples of 3).

We build the authors' released code (github.com/DeepMotionAIResearch/DenseASPP). There a fourth transition halves the
channels of the last dense block; its norm and ReLU are timm's last layer of a DenseNet, and stand in the trunk. The
first ReLU of the first block works in place, so that everything after reads the rectified map: ours stands before the
blocks. The paper names c/2 and c/8 channels for the two convolutions of a block, where c is what the transition leaves;
the code has its own for each trunk, which are our `widths`: 128 and 64 on DenseNet-121 (c = 512), 512 and 128 on 161
(1104), 336 and 168 on 169 (832), 480 and 240 on 201 (960).

Not followed: the code gives the norms of the five blocks a momentum of 0.0003 (in PyTorch's sense, the share of the new
batch), which needs tens of thousands of steps to settle; ours is PyTorch's 0.1, as it is in all networks here.

Shapes: B batch, C channels of the trunk's last map, c = C/2, d1 the second width, K classes, H W the photo's size.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ._blocks import Dense, MaskHead, Paper, conv_with_prior

RATES = (3, 6, 12, 18, 24)
DROPOUT = 0.1
"""Share of whole maps dropped behind each block, and again before the classifier."""


class DenseAsppBlock(nn.Sequential):
    """One atrous convolution of the pyramid: norm, ReLU, 1x1, norm, ReLU, 3x3 atrous, dropout.

    The first block reads a map that is normed and rectified already.
    """

    def __init__(self, in_channels: int, d0: int, d1: int, rate: int, *, first: bool) -> None:
        super().__init__(
            *([] if first else [nn.BatchNorm2d(in_channels), nn.ReLU(inplace=True)]),
            nn.Conv2d(in_channels, d0, 1),
            nn.BatchNorm2d(d0),
            nn.ReLU(inplace=True),
            nn.Conv2d(d0, d1, 3, padding=rate, dilation=rate),
            nn.Dropout2d(DROPOUT),
        )


class DenseASPP(MaskHead):
    """Five atrous convolutions, each on all before it, on the trunk's last map.

    Args:
        channels: Channels of each feature, the photo first.
        strides: Stride of each feature, 1 for the photo.
        num_classes: K, logit maps to answer.
        widths: Channels that the 1x1 and the atrous convolution of each block leave, d0 and d1.

    Raises:
        ValueError: `widths` are not two of 1 or more, or the trunk's last map is not at stride 8 or finer.
    """

    paper = Paper(
        "DenseASPP for Semantic Segmentation in Street Scenes",
        2018,
        "https://openaccess.thecvf.com/content_cvpr_2018/html/Yang_DenseASPP_for_Semantic_CVPR_2018_paper.html",
    )
    variants = (
        ("backbone.name=densenet161", "head.widths=[512, 128]"),
        ("backbone.name=densenet169", "head.widths=[336, 168]"),
        ("backbone.name=densenet201", "head.widths=[480, 240]"),
    )

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[int],
        num_classes: int,
        *,
        widths: Sequence[int] = (128, 64),
    ) -> None:
        super().__init__()
        if len(widths) != 2 or min(widths) < 1:
            raise ValueError(f"denseaspp: widths {list(widths)} must be two, 1 or more each")
        if not 1 < strides[-1] <= 8:
            asked = "must end with 8; take densenet121 with output_stride=8"
            raise ValueError(f"denseaspp: the trunk's strides {list(strides[1:])} {asked}")
        d0, d1 = widths
        width = channels[-1] // 2
        self.transition = nn.Conv2d(channels[-1], width, 1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.aspp = nn.ModuleList(
            DenseAsppBlock(width + i * d1, d0, d1, rate, first=i == 0) for i, rate in enumerate(RATES)
        )
        width += len(RATES) * d1
        self.dropout = nn.Dropout2d(DROPOUT)
        self.classifier = conv_with_prior(width, num_classes)
        self.map_channels = [width, channels[-1]]

    def forward(self, features: list[Tensor]) -> Dense:
        """Features, the photo first -> logits (B, K, H/8, W/8), and the maps behind and before the pyramid."""
        x = F.relu(self.norm(self.transition(features[-1])))           # (B, c, H/8, W/8)
        for block in self.aspp:
            x = torch.cat([block(x), x], dim=1)                        # d1 channels more, in front
        return Dense(self.classifier(self.dropout(x)), [x, features[-1]])
