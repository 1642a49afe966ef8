"""ExFuse head (Zhang, Zhang, Peng, Xue, Sun, 2018, https://arxiv.org/abs/1804.03821).

From the paper: GCN (Peng et al., 2017, https://arxiv.org/abs/1703.02719) fuses scores of res-2 to res-5, and five parts
bring the fused maps closer in meaning and in resolution. LR: the trunk's blocks are rearranged from {3, 4, 23, 3} to
{8, 8, 9, 8}, so that early stages are deeper (`backbone.layers`). SS: early stages also answer what is on the photo.
SEB: a stage is multiplied by all higher ones. ECRE: the deepest scores grow by sub-pixels and have a loss of their own.
DAP: a cell predicts its neighbours too, and its answer is the mean of what its neighbours predict for it.

No code of the authors exists; the formulas of SEB and DAP are the paper's as others retell them. The GCN is that of
zijundeng/pytorch-semantic-segmentation: biases, no norms, nine boundary refinements, bilinear upsampling where GCN's
paper says deconvolution, scores at the photo's size. Our reading: SS's block (two 3x3 convolutions, mean, a linear
layer) on res-2 to res-4, asked of the photo's classes together with the masks, while the paper asks it of ImageNet's,
before; SEB's 3x3 convolutions without norm; the 3x3 convolutions that make ECRE's 4K and DAP's k²K maps from K; DAP's
one bias a class, added after the mean; where scores begin.

Shapes: B batch, Ci channels of res-i, K classes, H W the photo's size, k side of DAP's neighbourhood.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ._blocks import PRIOR_LOGIT, Auxiliary, ConvNormAct, Dense, MaskHead, Paper, bilinear_to, conv_with_prior

PARTS = ("SS", "SEB", "ECRE", "DAP")


class GCN(nn.Module):
    """Global convolution: a kernel of k x k as the sum of two ways through k x 1 and 1 x k."""

    def __init__(self, in_channels: int, num_classes: int, k: int) -> None:
        super().__init__()
        tall, wide = (k, 1), (1, k)
        self.left = nn.Sequential(
            nn.Conv2d(in_channels, num_classes, tall, padding=(k // 2, 0)),
            nn.Conv2d(num_classes, num_classes, wide, padding=(0, k // 2)),
        )
        self.right = nn.Sequential(
            nn.Conv2d(in_channels, num_classes, wide, padding=(0, k // 2)),
            nn.Conv2d(num_classes, num_classes, tall, padding=(k // 2, 0)),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> scores (B, K, h, w)."""
        scores: Tensor = self.left(x) + self.right(x)
        return scores


class BR(nn.Module):
    """Boundary refinement: a residual block on scores."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(num_classes, num_classes, 3, padding=1)
        self.conv2 = nn.Conv2d(num_classes, num_classes, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, K, h, w) -> the same."""
        refined: Tensor = x + self.conv2(F.relu(self.conv1(x)))
        return refined


class SS(nn.Sequential):
    """Semantic supervision: features of an early stage -> (B, K) logits of what is on the photo."""

    def __init__(self, in_channels: int, num_classes: int, width: int) -> None:
        super().__init__(
            ConvNormAct(in_channels, width, 3),
            ConvNormAct(width, width, 3),
            nn.AdaptiveAvgPool2d(1),                     # (B, width, 1, 1)
            nn.Flatten(),
            nn.Linear(width, num_classes),
        )


class SEB(nn.Module):
    """Semantic embedding branch: a stage, multiplied by every higher one after a convolution and upsampling."""

    def __init__(self, in_channels: int, higher: Sequence[int]) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(channels, in_channels, 3, padding=1) for channels in higher)

    def forward(self, x: Tensor, higher: list[Tensor]) -> Tensor:
        """(B, C, h, w) and the higher stages -> (B, C, h, w)."""
        for conv, high in zip(self.convs, higher, strict=True):
            x = x * bilinear_to(conv(high), x)
        return x


class ECRE(nn.Module):
    """Explicit channel resolution embedding: upsampling by 2 whose every cell is a channel of its own before."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.conv = conv_with_prior(num_classes, 4 * num_classes, 3)

    def forward(self, x: Tensor, reference: Tensor) -> Tensor:
        """Scores (B, K, h, w) -> (B, K, 2h, 2w), cut to the size of `reference`."""
        height, width = reference.shape[-2:]
        return F.pixel_shuffle(self.conv(x), 2)[..., :height, :width]


class DAP(nn.Module):
    """Densely adjacent prediction: map (l, m) of a cell is its prediction for the cell at (1 - l, 1 - m), if k is 3."""

    def __init__(self, num_classes: int, k: int) -> None:
        super().__init__()
        self.k = k
        self.conv = nn.Conv2d(num_classes, k * k * num_classes, 3, padding=1, bias=False)
        self.bias = nn.Parameter(torch.full((num_classes,), PRIOR_LOGIT))

    def forward(self, x: Tensor) -> Tensor:
        """Scores (B, K, h, w) -> (B, K, h, w): r[i, j] = mean over l, m of x[l * k + m][i + l - k//2, j + m - k//2]."""
        k, (height, width) = self.k, x.shape[-2:]
        adjacent = F.pad(self.conv(x), [k // 2] * 4)     # (B, kkK, h + k - 1, w + k - 1), zero beyond the border
        groups = adjacent.chunk(k * k, dim=1)            # kk of (B, K, h + k - 1, w + k - 1), l by l
        near = [maps[..., n // k : n // k + height, n % k : n % k + width] for n, maps in enumerate(groups)]
        return torch.stack(near).mean(0) + self.bias.view(1, -1, 1, 1)


class ExFuse(MaskHead):
    """GCN with the parts of ExFuse; LR is the trunk's.

    Args:
        channels: Channels of each feature, the photo first.
        strides: Stride of each feature, 1 for the photo.
        num_classes: K, logit maps to answer.
        kernel_size: Side of GCN's kernels, odd.
        dap_size: k, side of the neighbourhood that a cell predicts, odd.
        ss_width: Channels of SS's convolutions.
        parts: Of `PARTS`, those that are built; GCN alone if none.
        auxiliary: Build what answers in training alone: SS, and the loss on ECRE.

    Raises:
        ValueError: the trunk has not the strides 2 to 32, or an option is not as above.
    """

    paper = Paper(
        "ExFuse: Enhancing Feature Fusion for Semantic Segmentation", 2018, "https://arxiv.org/abs/1804.03821"
    )
    variants = (
        ("backbone.name=resnext101_32x4d", "backbone.layers=[8,8,9,8]", "backbone.pretrained=false"),
        ("head.parts=[]", "loss.auxiliary=0", "loss.presence=0"),
    )

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[int],
        num_classes: int,
        *,
        kernel_size: int = 7,
        dap_size: int = 3,
        ss_width: int = 256,
        parts: Sequence[str] = PARTS,
        auxiliary: bool = True,
    ) -> None:
        super().__init__()
        if list(strides) != [1, 2, 4, 8, 16, 32]:
            raise ValueError(f"exfuse: the trunk has strides {list(strides[1:])}, not 2, 4, 8, 16, 32: take resnet50")
        if min(kernel_size, dap_size) < 1 or kernel_size % 2 == 0 or dap_size % 2 == 0:
            raise ValueError(f"exfuse: kernel_size {kernel_size} and dap_size {dap_size} must be odd and 1 or more")
        if ss_width < 1:
            raise ValueError(f"exfuse: ss_width {ss_width} must be 1 or more")
        if unknown := sorted(set(parts) - set(PARTS)):
            raise ValueError(f"exfuse: parts {list(parts)} must be of {', '.join(PARTS)}, not {', '.join(unknown)}")
        res = channels[2:]                               # of res-2 to res-5
        self.auxiliary = auxiliary
        early = res[:3] if auxiliary and "SS" in parts else []
        self.ss = nn.ModuleList(SS(c, num_classes, ss_width) for c in early)
        self.seb = nn.ModuleList(SEB(res[i], res[i + 1 :]) for i in range(3) if "SEB" in parts)
        self.gcn = nn.ModuleList(GCN(c, num_classes, kernel_size) for c in res)
        self.br = nn.ModuleList(BR(num_classes) for _ in res)
        self.br_fused = nn.ModuleList(BR(num_classes) for _ in range(5))     # at 1/16, 1/8, 1/4, 1/2 and 1
        self.ecre = ECRE(num_classes) if "ECRE" in parts else None
        self.dap = DAP(num_classes, dap_size) if "DAP" in parts else None
        if self.ecre is None:                            # the deepest scores, which all others refine, begin near 0
            self.br[-1].conv2 = conv_with_prior(num_classes, num_classes, 3)
        self.map_channels = [res[0], res[-1]]

    def forward(self, features: list[Tensor]) -> Dense:
        """Features, the photo first -> logits (B, K, H, W), and the maps at strides 4, SEB's, and 32, the trunk's."""
        return self._decode(features)[0]

    def forward_train(self, features: list[Tensor]) -> tuple[Dense, Auxiliary]:
        """What `forward` answers; ECRE's scores (B, K, H/16, W/16), and for each early stage what is on the photo."""
        dense, embedded = self._decode(features)
        masks = [embedded] if self.auxiliary and self.ecre is not None else []
        return dense, Auxiliary(masks, [ss(x) for ss, x in zip(self.ss, features[2:], strict=False)])

    def _decode(self, features: list[Tensor]) -> tuple[Dense, Tensor]:
        photo, half, *res = features                     # res: (B, Ci, H/4, W/4) to (B, Ci, H/32, W/32)
        low = [seb(res[i], res[i + 1 :]) for i, seb in enumerate(self.seb)] or res[:3]
        scores = [br(gcn(x)) for x, gcn, br in zip([*low, res[3]], self.gcn, self.br, strict=True)]
        deepest = scores.pop()                           # (B, K, H/32, W/32)
        up = bilinear_to(deepest, scores[2]) if self.ecre is None else self.ecre(deepest, scores[2])
        y = self.br_fused[0](up + scores[2])             # (B, K, H/16, W/16)
        y = self.br_fused[1](bilinear_to(y, scores[1]) + scores[1])          # (B, K, H/8, W/8)
        y = self.br_fused[2](bilinear_to(y, scores[0]) + scores[0])          # (B, K, H/4, W/4)
        y = self.br_fused[3](bilinear_to(y, half))       # (B, K, H/2, W/2)
        y = self.br_fused[4](bilinear_to(y, photo))      # (B, K, H, W)
        return Dense(y if self.dap is None else self.dap(y), [low[0], res[3]]), up
