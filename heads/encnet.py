"""EncNet head (Zhang et al., 2018, "Context Encoding for Semantic Segmentation", https://arxiv.org/abs/1803.08904).

What a photo shows as a whole says which classes are likely on it. The Context Encoding Module sums the whole map up in
the residuals to a learnt codebook, and from these predicts a factor for each channel, and, in training, which classes
are on the photo at all (semantic encoding loss).

Built is the authors' released form (zhanghang1989/PyTorch-Encoding): a trunk of stride 8 with a deep stem, whose first
dilated blocks keep the dilation of the stage before, 32 codes, a mean over the codes where the paper sums them, and an
FCN head on the stage before the last in training. `lateral` is their form for PASCAL and COCO, which joins that stage
and the one before it to the deepest.

The residuals are summed over all cells, as in the paper, so their size grows with the map, and batch norm learns it:
answer at the canvas that was trained on.

Shapes: B batch, N cells of a map at h w, H W the photo's size, D channels, J codes, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ._blocks import Auxiliary, ConvNormAct, Dense, MaskHead, Paper, conv_with_prior, fcn_head

WIDTH = 512
"""D, channels of the head."""


class Encoding(nn.Module):
    """Softly assign every cell to a codebook, and sum the residuals of each code.

    e_j = sum_i a_ij (x_i - d_j), where a_ij is the softmax over j of s_j |x_i - d_j|^2. The squares and the sums are
    expanded, so that no (B, N, J, D) tensor of residuals is made. As in the authors' code, a smoothing factor s_j
    stands without the paper's minus sign and begins below 0.
    """

    def __init__(self, channels: int, num_codes: int) -> None:
        super().__init__()
        reach = (channels * num_codes) ** -0.5
        self.codewords = nn.Parameter(torch.empty(num_codes, channels).uniform_(-reach, reach))
        self.scale = nn.Parameter(torch.empty(num_codes).uniform_(-1, 0))

    def forward(self, x: Tensor) -> Tensor:
        """(B, D, h, w) -> (B, J, D)."""
        x = x.flatten(2).transpose(1, 2)                                                    # (B, N, D)
        codes = self.codewords
        distances = x.square().sum(2, keepdim=True) - 2 * x @ codes.T + codes.square().sum(1)
        assigned = (self.scale * distances).softmax(2)                                      # (B, N, J)
        return assigned.transpose(1, 2) @ x - assigned.sum(1)[:, :, None] * codes           # (B, J, D)


class ContextEncoding(nn.Module):
    """Encode the whole map, and scale its channels by what that says."""

    def __init__(self, channels: int, num_codes: int) -> None:
        super().__init__()
        self.reduce = ConvNormAct(channels, channels)
        self.encoding = Encoding(channels, num_codes)
        self.norm = nn.BatchNorm1d(num_codes)
        self.fc = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, D, h, w) -> the same scaled, and the encoded semantics (B, D)."""
        encoded = F.relu(self.norm(self.encoding(self.reduce(x)))).mean(1)                  # (B, D)
        factors = self.fc(encoded).sigmoid()[:, :, None, None]                              # (B, D, 1, 1)
        return F.relu(x + x * factors), encoded


class EncNet(MaskHead):
    """The Context Encoding Module on the deepest stage of a dilated trunk, then a pointwise classifier.

    Args:
        channels: Channels of each feature, the photo first.
        strides: Stride of each feature, 1 for the photo.
        num_classes: K, logit maps to answer.
        codes: Words in the codebook.
        lateral: Join the two stages before the deepest to it.
        dropout: Share of channels dropped before each classifier in training.
        auxiliary: Have the outputs that only training reads: the FCN head's masks and the presence of each class.

    Raises:
        ValueError: the last three maps of the trunk are not all at stride 8, or an option is out of range.
    """

    paper = Paper("Context Encoding for Semantic Segmentation", 2018, "https://arxiv.org/abs/1803.08904")
    variants = (
        ("head.lateral=true",),
        ("backbone.name=resnet101s",),
        ("backbone.name=resnet101s", "head.lateral=true"),
    )

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[int],
        num_classes: int,
        *,
        codes: int = 32,
        lateral: bool = False,
        dropout: float = 0.1,
        auxiliary: bool = True,
    ) -> None:
        super().__init__()
        if list(strides[-3:]) != [8, 8, 8]:
            raise ValueError(
                f"encnet: the trunk has strides {list(strides[1:])}, where the last three must be 8; "
                "take one such as resnet50s with backbone.output_stride=8"
            )
        if codes < 1:
            raise ValueError(f"encnet: codes {codes} must be 1 or more")
        if not 0 <= dropout < 1:
            raise ValueError(f"encnet: dropout {dropout} must be from 0 to below 1")
        c2, c3, c4 = channels[-3:]
        self.conv5 = ConvNormAct(c4, WIDTH, 3)
        self.lateral = lateral
        if lateral:
            self.connect = nn.ModuleList([ConvNormAct(c2, WIDTH), ConvNormAct(c3, WIDTH)])
            self.fusion = ConvNormAct(3 * WIDTH, WIDTH, 3)
        self.context = ContextEncoding(WIDTH, codes)
        self.dropout = nn.Dropout2d(dropout)
        self.classifier = conv_with_prior(WIDTH, num_classes)
        self.presence = nn.Linear(WIDTH, num_classes) if auxiliary else None
        self.auxiliary = fcn_head(c3, c3 // 4, num_classes, nn.Dropout2d(dropout)) if auxiliary else None
        self.map_channels = [WIDTH, c4]

    def forward(self, features: list[Tensor]) -> Dense:
        """Features, the photo first -> logits (B, K, H/8, W/8), and the maps before the classifier and of the trunk."""
        return self._answer(features)[0]

    def forward_train(self, features: list[Tensor]) -> tuple[Dense, Auxiliary]:
        """What `forward` answers; the FCN head's logits (B, K, H/8, W/8) and the presence logits (B, K)."""
        dense, encoded = self._answer(features)
        if self.auxiliary is None or self.presence is None:
            return dense, Auxiliary([])
        return dense, Auxiliary([self.auxiliary(features[-2])], [self.presence(encoded)])

    def _answer(self, features: list[Tensor]) -> tuple[Dense, Tensor]:
        c2, c3, c4 = features[-3:]
        x = self.conv5(c4)                                                                  # (B, D, H/8, W/8)
        if self.lateral:
            x = self.fusion(torch.cat([x, self.connect[0](c2), self.connect[1](c3)], dim=1))
        x, encoded = self.context(x)                                                        # the same, and (B, D)
        return Dense(self.classifier(self.dropout(x)), [x, c4]), encoded
