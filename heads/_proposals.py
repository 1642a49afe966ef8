"""The region proposal network (Ren et al., 2015, https://arxiv.org/abs/1506.01497): which boxes may hold a garment.

Built from torchvision's parts and with its rules: which anchors are learnt, how many proposals are kept, and which of
those that overlap. Ours reads photos that lie on one canvas: an anchor whose centre lies outside a photo's frame learns
and proposes nothing, and proposals are cut at the photo's edges.

Shapes: B batch, N garments drawn on one photo, n anchors of one photo, R proposals.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.detection._utils import BalancedPositiveNegativeSampler, BoxCoder, Matcher
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.rpn import concat_box_prediction_layers
from torchvision.ops import batched_nms, box_iou

from ._instances import Target

RATIOS = (0.5, 1.0, 2.0)
"""Heights of anchors over their widths."""
LEAST_SIDE = 1e-3
"""Pixels under which proposals are dropped."""
BETA = 1 / 9
"""Where the loss of boxes turns from squares to absolute values."""


class Anchors(NamedTuple):
    """What is said of every anchor."""

    objectness: Tensor
    """(B, n) logits."""
    codes: Tensor
    """(B, n, 4): the box proposed, coded relative to the anchor."""
    boxes: Tensor
    """(n, 4)."""
    counts: list[int]
    """Anchors of each level."""


class Proposals(nn.Module):
    """Anchors on every level of a pyramid, and what a small network says of each.

    Args:
        head: Levels -> objectness [(B, 3, h, w), ...] and codes of boxes [(B, 12, h, w), ...], one each a level.
        anchor_sizes: Side of the square anchor of each level, in pixels.
        strides: Of the levels.
        nms: IoU above which the less sure of two proposals of one level is dropped.
    """

    def __init__(self, head: nn.Module, anchor_sizes: Sequence[float], strides: Sequence[int], nms: float) -> None:
        super().__init__()
        self.head = head
        self.strides = list(strides)
        self.nms = nms
        self.anchors = AnchorGenerator(tuple((size,) for size in anchor_sizes), (RATIOS,) * len(self.strides))
        self.coder = BoxCoder((1.0, 1.0, 1.0, 1.0))
        self.matcher = Matcher(0.7, 0.3, allow_low_quality_matches=True)
        self.sampler = BalancedPositiveNegativeSampler(256, 0.5)

    def forward(self, levels: list[Tensor]) -> Anchors:
        """What is said of every anchor, in float32."""
        objectness, codes = self.head(levels)
        counts = [x[0].numel() for x in objectness]
        objectness, codes = concat_box_prediction_layers(objectness, codes)
        batch = len(levels[0])
        self.anchors.set_cell_anchors(torch.float32, levels[0].device)
        steps = [[stride] * 2 for stride in self.strides]
        boxes = torch.cat(self.anchors.grid_anchors([list(x.shape[-2:]) for x in levels], steps))
        return Anchors(objectness.view(batch, -1).float(), codes.view(batch, -1, 4).float(), boxes, counts)

    def loss(self, anchors: Anchors, frames: Tensor, targets: list[Target]) -> dict[str, Tensor]:
        """`objectness`, whether an anchor is a garment, and `proposals`, its box: of 256 anchors sampled a photo."""
        objectness, boxes, count = [anchors.objectness[0, :0].sum()], [anchors.codes[0, :0].sum()], 0
        for i, (frame, target) in enumerate(zip(frames, targets, strict=True)):
            if not target.known:
                continue
            wanted, matched = self._ask(anchors.boxes, frame, target.boxes.float())
            positive, negative = (torch.where(x[0])[0] for x in self.sampler([wanted]))
            both = torch.cat([positive, negative])
            logits = anchors.objectness[i, both]
            objectness.append(F.binary_cross_entropy_with_logits(logits, wanted[both], reduction="sum"))
            drawn = take(target.boxes.float(), matched[positive])
            asked = self.coder.encode_single(drawn, anchors.boxes[positive])
            boxes.append(F.smooth_l1_loss(anchors.codes[i, positive], asked, beta=BETA, reduction="sum"))
            count += len(both)
        count = max(1, count)
        return {"objectness": torch.stack(objectness).sum() / count, "proposals": torch.stack(boxes).sum() / count}

    def _ask(self, boxes: Tensor, frame: Tensor, drawn: Tensor) -> tuple[Tensor, Tensor]:
        """What is asked of each anchor (n,): 1 a garment, 0 none, -1 nothing; and which garment it is (n,)."""
        wanted, matched = boxes.new_full((len(boxes),), -1), boxes.new_zeros(len(boxes), dtype=torch.int64)
        inside = torch.where(_centred_in(boxes, frame))[0]
        if not len(drawn) or not len(inside):
            wanted[inside] = 0
            return wanted, matched
        match = self.matcher(box_iou(drawn, boxes[inside]))
        wanted[inside] = (match >= 0).to(wanted.dtype)
        wanted[inside[match == self.matcher.BETWEEN_THRESHOLDS]] = -1
        matched[inside] = match.clamp(min=0)
        return wanted, matched

    def propose(self, anchors: Anchors, photo: int, frame: Tensor, kept: int) -> Tensor:
        """The boxes (R, 4) of one photo that may be garments, surest first.

        Args:
            anchors: What is said of every anchor.
            photo: Which photo of the batch.
            frame: (4,) where it lies on its canvas.
            kept: How many, of each level before `nms` and of all levels after.
        """
        outside = ~_centred_in(anchors.boxes, frame)
        objectness = anchors.objectness[photo].detach().masked_fill(outside, -torch.inf)
        best, start = [], 0
        for count in anchors.counts:
            best.append(objectness[start : start + count].topk(min(kept, count)).indices + start)
            start += count
        index = torch.cat(best)
        level = torch.cat([torch.full_like(top, number) for number, top in enumerate(best)])
        boxes = self.coder.decode_single(anchors.codes[photo, index].detach(), anchors.boxes[index])
        boxes = clip(boxes, frame)
        there = larger(boxes, LEAST_SIDE) & ~outside[index]
        boxes, scores, level = boxes[there], objectness[index[there]].sigmoid(), level[there]
        return boxes[batched_nms(boxes, scores, level, self.nms)[:kept]]


def take(boxes: Tensor, index: Tensor) -> Tensor:
    """(N, 4) -> (R, 4); of nothing drawn, where N = 0, empty boxes."""
    return boxes[index] if len(boxes) else boxes.new_zeros(len(index), 4)


def _centred_in(boxes: Tensor, frame: Tensor) -> Tensor:
    """(n,) whether the centre of each box lies in the photo."""
    x, y = (boxes[:, 0] + boxes[:, 2]) / 2, (boxes[:, 1] + boxes[:, 3]) / 2
    return (x >= frame[0]) & (y >= frame[1]) & (x < frame[2]) & (y < frame[3])


def clip(boxes: Tensor, frame: Tensor) -> Tensor:
    """Boxes (R, 4), cut at the photo's edges."""
    return torch.minimum(torch.maximum(boxes, frame[:2].repeat(2)), frame[2:].repeat(2))


def larger(boxes: Tensor, side: float) -> Tensor:
    """(R,) whether each box is so wide and so high."""
    return (boxes[:, 2] - boxes[:, 0] >= side) & (boxes[:, 3] - boxes[:, 1] >= side)
