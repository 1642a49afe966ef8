"""Mask R-CNN with a deep mask head (Birodkar, Lu, Li, Rathod, Huang, 2021, https://arxiv.org/abs/2104.00613).

From the paper: a mask head that draws one mask whatever the class, that is an hourglass instead of four convolutions,
and that is trained on crops of the boxes drawn, never of proposals, learns to draw what it was never shown a mask of.
Its best-known form, DeepMAC, stands on CenterNet; the other, which is built here, is Mask R-CNN's. The hourglasses, and
the head around them, are those of `official/vision/beta/projects/deepmac_maskrcnn` in tensorflow/models. Boxes and
classes are found as our Mask R-CNN finds them: theirs has four convolutions in the box branch, and batch norms outside
the mask head too.

Ours: batch norms of the mask head see the crops whose masks are learnt and no others (theirs see every garment drawn),
their running statistics move by a tenth at each step (theirs by nine tenths), and where a channel has one value alone,
the running statistics serve; where weights begin; crops and masks of other sizes than 32 and 64.

Shapes: B batch, R RoIs, N garments of one photo, K classes, A attributes, C channels of a crop, s its side.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from types import MappingProxyType

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.detection.rpn import RPNHead
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from hemline._reading import nearest

from ._blocks import Paper
from ._instances import Target
from ._proposals import RATIOS
from ._two_stage import Limits, Sampled, TwoStage, taps
from .mask_rcnn import BOX_SIDE, BoxBranch

HOURGLASSES: dict[int, tuple[tuple[int, ...], tuple[int, ...]]] = {
    10: ((2, 2), (1, 1)),
    20: ((2, 2, 3), (1, 2, 2)),
    32: ((2, 2, 3, 3), (2, 2, 2, 2)),
    52: ((2, 2, 3, 3, 3, 4), (2, 2, 2, 2, 2, 4)),
    100: ((2, 2, 3, 3, 3, 4), (4, 4, 4, 4, 4, 8)),
}
"""Layers -> channels of each stage in units of `width`, outermost first, and residual blocks of each."""


class Norm(nn.BatchNorm2d):
    """Batch norm that needs no two values of a channel in training: with fewer, the running statistics serve."""

    def forward(self, x: Tensor) -> Tensor:
        """(R, C, h, w) -> the same."""
        if self.training and x.shape[0] * x.shape[2] * x.shape[3] < 2:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(x)


def conv_norm(in_channels: int, out_channels: int, kernel_size: int = 3, stride: int = 1) -> nn.Sequential:
    """Convolution without bias, batch norm."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size, stride, kernel_size // 2, bias=False), Norm(out_channels)
    )


class Residual(nn.Module):
    """Two 3x3 convolutions beside a skip, which has a 1x1 convolution where the stride or the width changes."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        same = stride == 1 and in_channels == out_channels
        self.conv1 = conv_norm(in_channels, out_channels, stride=stride)
        self.conv2 = conv_norm(out_channels, out_channels)
        self.skip = nn.Identity() if same else conv_norm(in_channels, out_channels, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(R, C, h, w) -> (R, C', h / stride, w / stride)."""
        return F.relu(self.conv2(F.relu(self.conv1(x))) + self.skip(x))


def residuals(in_channels: int, widths: Sequence[int], stride: int = 1) -> nn.Sequential:
    """Residual blocks of those widths; the first has the stride."""
    steps = pairwise([in_channels, *widths])
    return nn.Sequential(*(Residual(*pair, 1 if i else stride) for i, pair in enumerate(steps)))


class Stage(nn.Module):
    """Residual blocks at one resolution, and beside them the half resolution with every stage below it.

    Args:
        widths: Channels of this stage and of each below it, two or more.
        blocks: Residual blocks of each.
    """

    def __init__(self, widths: Sequence[int], blocks: Sequence[int]) -> None:
        super().__init__()
        (here, below), n = widths[:2], blocks[0]
        self.upper = residuals(here, [here] * n)
        self.down = residuals(here, [below] * n, stride=2)
        self.inner = Stage(widths[1:], blocks[1:]) if len(widths) > 2 else residuals(below, [below] * blocks[1])
        self.up = residuals(below, [below] * (n - 1) + [here])

    def forward(self, x: Tensor) -> Tensor:
        """(R, C, h, w) -> the same."""
        upper: Tensor = self.upper(x)
        lower: Tensor = self.up(self.inner(self.down(x)))
        return upper + F.interpolate(lower, scale_factor=2.0, mode="nearest")


class Hourglass(nn.Module):
    """One hourglass that does not shrink its input first.

    Args:
        in_channels: C.
        depth: Convolutions on the longest way through, a key of `HOURGLASSES`.
        width: Channels of the first convolution.
    """

    def __init__(self, in_channels: int, depth: int, width: int) -> None:
        super().__init__()
        units, blocks = HOURGLASSES[depth]
        widths = [width * unit for unit in units]
        self.conv_in = conv_norm(in_channels, width)
        self.residual = Residual(width, widths[0])
        self.stages = Stage(widths, blocks)
        self.conv_out = conv_norm(widths[0], widths[0])

    def forward(self, x: Tensor) -> Tensor:
        """(R, C, s, s) -> (R, 2 width, s, s)."""
        x = self.residual(F.relu(self.conv_in(x)))
        return F.relu(self.conv_out(self.stages(x)))


class DeepMaskHead(nn.Module):
    """An hourglass, one step of upsampling, one map: a mask, whatever the class.

    Args:
        in_channels: C.
        depth: As of `Hourglass`.
        width: As of `Hourglass`.
    """

    def __init__(self, in_channels: int, depth: int, width: int) -> None:
        super().__init__()
        self.hourglass = Hourglass(in_channels, depth, width)
        self.upsample = nn.ConvTranspose2d(2 * width, width, 2, 2)
        self.norm = Norm(width, eps=1e-4)
        self.mask = nn.Conv2d(width, 1, 1)

    def forward(self, crops: Tensor) -> Tensor:
        """(R, C, s, s) -> logits (R, 1, 2s, 2s)."""
        x = F.relu(self.norm(self.upsample(self.hourglass(crops))))
        logits: Tensor = self.mask(x)
        return logits


class DeepMAC(TwoStage):
    """Propose, then class and box of each proposal, then a mask of each box, whatever its class.

    Args:
        channels: Channels of the backbone's features; the photo comes first.
        strides: Their strides.
        classes: Names of the K classes.
        attributes: Names of the A attributes, which the label head reads.
        depth: Layers of the mask head's hourglass: 10, 20, 32, 52 or 100.
        mask_width: Channels of its first convolution; its stages have two to four times as many.
        crop_size: Side of the crops it reads, in cells; masks have twice as many.
        masks_of: Names of the classes whose masks are learnt; all if None. Boxes are learnt of all.
        width: Channels of the pyramid.
        box_hidden: Width of the box branch's fully connected layers.
        anchor_sizes: Side of the square anchor at strides 4, 8, 16, 32 and 64, in pixels.
        roi_size: Side of a RoI, in pixels, that is cropped from stride 16; those of half the side are from stride 8.
        proposals: Kept of one photo, and considered of each level, when answering.
        proposals_in_training: The same, when learning.
        proposal_nms: IoU above which the less sure of two proposals is dropped.
        sampled: RoIs learnt of one photo, a quarter of them garments at most.
        detections: Garments kept of one photo.
        nms: IoU above which the less sure of two garments of one class is dropped.
        least_score: Probability that a garment must exceed.

    Raises:
        ValueError: an option is out of range, `masks_of` names what is no class, or the trunk lacks a map of stride 4,
            8, 16 or 32.
    """

    paper = Paper(
        "The Surprising Impact of Mask-Head Architecture on Novel Class Segmentation",
        2021,
        "https://arxiv.org/abs/2104.00613",
    )
    variants = (
        ("head.depth=10",),
        ("head.depth=20",),
        ("head.depth=32",),
        ("head.depth=100",),
        ("backbone.name=resnet101",),
    )
    class_layers = MappingProxyType({"box_branch.predictor.cls_score": 1, "box_branch.predictor.bbox_pred": 4})
    names_classes = ("masks_of",)

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[int],
        classes: Sequence[str],
        attributes: Sequence[str],
        *,
        depth: int = 52,
        mask_width: int = 64,
        crop_size: int = 32,
        masks_of: Sequence[str] | None = None,
        width: int = 256,
        box_hidden: int = 1024,
        anchor_sizes: Sequence[float] = (32, 64, 128, 256, 512),
        roi_size: float = 224,
        proposals: int = 1000,
        proposals_in_training: int = 2000,
        proposal_nms: float = 0.7,
        sampled: int = 512,
        detections: int = 100,
        nms: float = 0.5,
        least_score: float = 0.05,
    ) -> None:
        if depth not in HOURGLASSES:
            raise ValueError(f"deepmac: depth {depth} must be one of {', '.join(map(str, HOURGLASSES))}")
        if min(mask_width, width, box_hidden) < 1:
            raise ValueError(
                f"deepmac: mask_width {mask_width}, width {width} and box_hidden {box_hidden} must be 1 or more"
            )
        halved = 2 ** (len(HOURGLASSES[depth][0]) - 1)
        if crop_size < 1 or crop_size % halved:
            raise ValueError(
                f"deepmac: crop_size {crop_size} must be a multiple of {halved}: a hourglass of depth {depth} halves "
                f"its crops {halved.bit_length() - 1} times"
            )
        limits = Limits(
            "deepmac",
            anchor_sizes=anchor_sizes,
            roi_size=roi_size,
            proposals=proposals,
            proposals_in_training=proposals_in_training,
            proposal_nms=proposal_nms,
            sampled=sampled,
            detections=detections,
            nms=nms,
            least_score=least_score,
        )
        read = taps("deepmac", strides, (4, 8, 16, 32))
        super().__init__(
            channels,
            strides,
            classes,
            attributes,
            limits=limits,
            taps=read,
            pyramid=FeaturePyramidNetwork([channels[i] for i in read], width, extra_blocks=LastLevelMaxPool()),
            pyramid_strides=(4, 8, 16, 32, 64),
            cropped=4,
            rpn=RPNHead(width, len(RATIOS)),
            box_branch=BoxBranch(width, box_hidden, len(classes)),
            mask_branch=DeepMaskHead(width, depth, mask_width),
            box_side=BOX_SIDE,
            mask_side=crop_size,
            least_rois=0,
        )
        self.learnt = _learnt(classes, masks_of)

    def mask_rois(self, sampled: Sampled, target: Target) -> tuple[Tensor, Tensor]:
        """The boxes drawn of the classes whose masks are learnt, whatever was sampled."""
        learnt = torch.tensor(self.learnt, device=target.classes.device)
        index = torch.where(torch.isin(target.classes, learnt))[0]
        return target.boxes[index].float(), index

    def masks_in_boxes(self, features: list[Tensor], boxes: list[Tensor]) -> list[Tensor]:
        """Draw the masks of boxes that one has.

        Args:
            features: The backbone's.
            boxes: Of each photo (N, 4) x0, y0, x1, y1 in pixels of the canvas.

        Returns:
            Of each photo (N, m, m) probability that each cell of the box is the thing, m twice `crop_size`.
        """
        logits = self.read_masks(self.levels(features), [x.float() for x in boxes])
        return list(torch.split(logits[:, 0].sigmoid(), [len(x) for x in boxes]))


def _learnt(classes: Sequence[str], masks_of: Sequence[str] | None) -> list[int]:
    """Which classes' masks are learnt.

    Raises:
        ValueError: a name is no class, or there are none.
    """
    if masks_of is None:
        return list(range(len(classes)))
    if isinstance(masks_of, str) or not masks_of:
        raise ValueError(f"deepmac: masks_of must be a list of one class or more, not {masks_of!r}")
    for name in masks_of:
        if name not in classes:
            raise ValueError(f"deepmac: masks_of names {name!r}, which is no class{nearest(name, classes)}")
    return [i for i, name in enumerate(classes) if name in masks_of]
