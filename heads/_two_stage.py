"""Networks of two stages: proposals first, then a class, a box and a mask of each.

From Faster R-CNN (Ren et al., 2015, https://arxiv.org/abs/1506.01497), Mask R-CNN (He et al., 2017,
https://arxiv.org/abs/1703.06870) and feature pyramids (Lin et al., 2017, https://arxiv.org/abs/1612.03144), built from
torchvision's parts and with its rules: which anchors and proposals are learnt, how many are kept, and what becomes of
those that overlap. Ours reads photos that lie on one canvas: nothing outside a photo's frame is proposed, learnt or
found.

Shapes: B batch, N garments drawn on one photo, R RoIs, K classes, A attributes, C the pyramid's channels, H W the
canvas, n anchors of one photo.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.detection._utils import BalancedPositiveNegativeSampler, BoxCoder, Matcher
from torchvision.ops import FeaturePyramidNetwork, MultiScaleRoIAlign, batched_nms, box_iou, roi_align
from torchvision.ops.poolers import initLevelMapper

from ._instances import Detections, InstanceHead, Instances, Target
from ._proposals import BETA, Proposals, clip, larger, take

LEAST_SIDE = 1e-2
"""Pixels under which boxes are dropped."""


class Boxes(NamedTuple):
    """What a box branch answers of R RoIs."""

    classes: Tensor
    """(R, 1 + K) logits, background first."""
    codes: Tensor
    """(R, 4 * (1 + K)): the box of each class, coded relative to the RoI."""
    attributes: Tensor | None = None
    """(R, A) logits."""

    def rows(self, start: int, stop: int) -> Boxes:
        """What is answered of some of the RoIs, in float32."""
        attributes = None if self.attributes is None else self.attributes[start:stop].float()
        return Boxes(self.classes[start:stop].float(), self.codes[start:stop].float(), attributes)


class Sampled(NamedTuple):
    """The RoIs of one photo that are learnt."""

    boxes: Tensor
    """(R, 4)."""
    classes: Tensor
    """(R,) int64: 0 background, 1 to K a garment."""
    matched: Tensor
    """(R,) int64: which garment drawn it overlaps most; 0 where none is drawn."""
    overlaps: Tensor
    """(R,) IoU with that garment."""


@dataclass(frozen=True)
class Limits:
    """What is proposed, learnt and kept.

    Args:
        head: The network's name, for messages.
        anchor_sizes: Side of the square anchor of each level of the pyramid, in pixels, fine to coarse.
        roi_size: Side of a RoI, in pixels, that is cropped from the level of stride 16; others from finer or coarser
            ones.
        proposals: Kept of one photo, and considered of each level, when answering.
        proposals_in_training: The same, when learning.
        proposal_nms: IoU above which the less sure of two proposals is dropped.
        sampled: RoIs learnt of one photo, a quarter of them garments at most.
        detections: Garments kept of one photo.
        nms: IoU above which the less sure of two garments of one class is dropped.
        least_score: Probability that a garment must exceed.
        box_beta: Where the box branch's loss of boxes turns from squares to absolute values.

    Raises:
        ValueError: one is out of range.
    """

    head: str
    anchor_sizes: Sequence[float] = (32, 64, 128, 256, 512)
    roi_size: float = 224
    proposals: int = 1000
    proposals_in_training: int = 2000
    proposal_nms: float = 0.7
    sampled: int = 512
    detections: int = 100
    nms: float = 0.5
    least_score: float = 0.05
    box_beta: float = BETA

    def __post_init__(self) -> None:
        if not all(size >= 1 for size in self.anchor_sizes):
            raise ValueError(f"{self.head}: anchor_sizes {list(self.anchor_sizes)} must be 1 pixel or more each")
        for name, least in (("roi_size", 1), ("proposals", 1), ("proposals_in_training", 1), ("sampled", 4)):
            if not getattr(self, name) >= least:
                raise ValueError(f"{self.head}: {name} {getattr(self, name)} must be {least} or more")
        if not 1 <= self.detections <= 100:
            raise ValueError(f"{self.head}: detections {self.detections} must be between 1 and 100")
        for name in ("proposal_nms", "nms"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"{self.head}: {name} {getattr(self, name)} must be above 0 and at most 1")
        if not 0 <= self.least_score < 1:
            raise ValueError(f"{self.head}: least_score {self.least_score} must be at least 0 and below 1")


def taps(head: str, strides: Sequence[int], asked: Sequence[int]) -> list[int]:
    """Which of the backbone's features have these strides; the last of each, where several do.

    Raises:
        ValueError: a stride is missing.
    """
    if missing := [s for s in asked if s not in strides]:
        raise ValueError(
            f"{head}: the trunk must have maps of strides {list(asked)}, and has none of {missing}, only "
            f"{list(strides[1:])}; take resnet50 at output_stride 32"
        )
    return [len(strides) - 1 - list(strides)[::-1].index(s) for s in asked]


class TwoStage(InstanceHead):
    """A pyramid, anchors that propose, and two branches that read crops of the pyramid.

    Args:
        channels: As of every instance head.
        strides: As of every instance head.
        classes: As of every instance head.
        attributes: As of every instance head.
        limits: What is proposed, learnt and kept.
        taps: Which features the pyramid reads.
        pyramid: Makes the levels.
        pyramid_strides: Of the levels that come out, fine to coarse; 32 is among them.
        cropped: How many of the finest levels RoIs are cropped from.
        rpn: Levels -> objectness [(B, 3, h, w), ...] and codes of boxes [(B, 12, h, w), ...], one each for every level.
        box_branch: (R, C, box_side, box_side) -> `Boxes`.
        mask_branch: (R, C, mask_side, mask_side) -> (R, 1 + K, m, m) logits, background first, or (R, 1, m, m) of
            whatever class.
        box_side: Cells of a RoI's side.
        mask_side: The same, for masks.
        least_rois: The branches never read fewer at once: batch norms ask for more than one value of a channel.
    """

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[int],
        classes: Sequence[str],
        attributes: Sequence[str],
        *,
        limits: Limits,
        taps: Sequence[int],
        pyramid: FeaturePyramidNetwork,
        pyramid_strides: Sequence[int],
        cropped: int,
        rpn: nn.Module,
        box_branch: nn.Module,
        mask_branch: nn.Module,
        box_side: int = 7,
        mask_side: int = 14,
        least_rois: int = 1,
    ) -> None:
        super().__init__(channels, strides, classes, attributes)
        if len(limits.anchor_sizes) != len(pyramid_strides):
            raise ValueError(
                f"{limits.head}: anchor_sizes {list(limits.anchor_sizes)} must have {len(pyramid_strides)} entries, "
                "one for each level of the pyramid"
            )
        self.limits = limits
        self.taps = list(taps)
        self.pyramid = pyramid
        self.pyramid_strides = list(pyramid_strides)
        self.rpn = Proposals(rpn, limits.anchor_sizes, pyramid_strides, limits.proposal_nms)
        self.box_branch = box_branch
        self.mask_branch = mask_branch
        self.least_rois = least_rois
        self.width: int = pyramid.layer_blocks[0][0].out_channels
        self.map_levels = [0, self.pyramid_strides.index(32)]
        self.map_channels = [self.width, self.width]
        self.box_crops = _crops(self.pyramid_strides[:cropped], box_side, limits.roi_size)
        self.mask_crops = _crops(self.pyramid_strides[:cropped], mask_side, limits.roi_size)
        self.coder = BoxCoder((10.0, 10.0, 5.0, 5.0))
        self.matcher = Matcher(0.5, 0.5, allow_low_quality_matches=False)
        self.sampler = BalancedPositiveNegativeSampler(limits.sampled, 0.25)

    def forward(self, features: list[Tensor], frames: Tensor) -> Instances:
        """As of every instance head."""
        frames = frames.float()
        levels = self.levels(features)
        anchors = self.rpn(levels)
        rois = [self.rpn.propose(anchors, i, frame, self.limits.proposals) for i, frame in enumerate(frames)]
        answer = self.read_boxes(levels, rois)
        found, start = [], 0
        for boxes, frame in zip(rois, frames, strict=True):
            found.append(self._detect(answer.rows(start, start + len(boxes)), boxes, frame))
            start += len(boxes)
        logits = self.read_masks(levels, [one.boxes for one in found])
        probabilities = _of_class(logits, torch.cat([one.classes for one in found]) + 1).sigmoid()
        masks = torch.split(probabilities, [len(one.boxes) for one in found])
        found = [one._replace(masks=mask) for one, mask in zip(found, masks, strict=True)]
        return Instances(found, [levels[i] for i in self.map_levels])

    def loss(
        self, features: list[Tensor], frames: Tensor, targets: list[Target]
    ) -> tuple[dict[str, Tensor], list[Tensor]]:
        """As of every instance head: `objectness` and `proposals`, `class` and `boxes`, `masks`."""
        frames = frames.float()
        levels = self.levels(features)
        anchors = self.rpn(levels)
        losses = self.rpn.loss(anchors, frames, targets)
        with torch.no_grad():
            sampled = []
            for i, (frame, target) in enumerate(zip(frames, targets, strict=True)):
                kept = self.limits.proposals_in_training if target.known else 0
                sampled.append(self._sample(self.rpn.propose(anchors, i, frame, kept), target))
        losses |= self.box_loss(self.read_boxes(levels, [one.boxes for one in sampled]), sampled, targets)
        losses["masks"] = self._mask_loss(levels, sampled, targets)
        return losses, [levels[i] for i in self.map_levels]

    def dry_run(self, features: list[Tensor]) -> None:
        """As of every instance head."""
        levels = self.levels(features)
        objectness, _ = self.rpn.head(levels)
        kept = self.limits.proposals
        of_levels = sum(min(kept, x[0].numel()) for x in objectness)
        for branch, crops, most in (
            (self.box_branch, self.box_crops, min(kept, of_levels)),
            (self.mask_branch, self.mask_crops, self.limits.detections),
        ):
            branch(levels[0].new_zeros(most * len(levels[0]), self.width, *crops.output_size))

    def levels(self, features: list[Tensor]) -> list[Tensor]:
        """The backbone's features -> the pyramid's levels [(B, C, h, w), ...], fine to coarse."""
        return list(self.pyramid({str(i): features[tap] for i, tap in enumerate(self.taps)}).values())

    def read_boxes(self, levels: list[Tensor], rois: list[Tensor]) -> Boxes:
        """RoIs [(Ri, 4), ...] of each photo -> what the box branch answers of all of them."""
        count = sum(len(boxes) for boxes in rois)
        answer: Boxes = self.box_branch(self._crop(self.box_crops, levels, rois))
        return answer.rows(0, count)

    def read_masks(self, levels: list[Tensor], rois: list[Tensor]) -> Tensor:
        """RoIs [(Ri, 4), ...] of each photo -> what the mask branch answers of all of them, in float32."""
        count = sum(len(boxes) for boxes in rois)
        logits: Tensor = self.mask_branch(self._crop(self.mask_crops, levels, rois))
        return logits[:count].float()

    def box_loss(self, answer: Boxes, sampled: list[Sampled], targets: list[Target]) -> dict[str, Tensor]:
        """The losses of the box branch.

        Args:
            answer: What it answers of all RoIs of all photos, R of them, as they follow in `sampled`.
            sampled: The RoIs of each photo.
            targets: What is drawn on each photo.
        """
        rois, classes = torch.cat([x.boxes for x in sampled]), torch.cat([x.classes for x in sampled])
        drawn = torch.cat([take(y.boxes.float(), x.matched) for x, y in zip(sampled, targets, strict=True)])
        garments = torch.where(classes > 0)[0]
        codes = answer.codes.view(len(classes), answer.classes.shape[1], 4)[garments, classes[garments]]
        asked = self.coder.encode_single(drawn[garments], rois[garments])
        count = max(1, len(classes))
        return {
            "class": F.cross_entropy(answer.classes, classes, reduction="sum") / count,
            "boxes": F.smooth_l1_loss(codes, asked, beta=self.limits.box_beta, reduction="sum") / count,
        }

    def mask_rois(self, sampled: Sampled, target: Target) -> tuple[Tensor, Tensor]:
        """The boxes (M, 4) of one photo whose masks are learnt, and which garment (M,) is drawn in each."""
        garments = sampled.classes > 0
        return sampled.boxes[garments], sampled.matched[garments]

    def mask_targets(self, masks: Tensor, boxes: Tensor, index: Tensor, side: int) -> Tensor:
        """How much of each cell of a box is the garment.

        torchvision's targets are the same, moved by half a pixel of the canvas: on a shoe of ten pixels that is much.

        Args:
            masks: (N, H, W).
            boxes: (M, 4).
            index: (M,) which of the masks is asked for in each box.
            side: Cells of a box's side.

        Returns:
            (M, side, side) in 0..1.
        """
        rois = torch.cat([index[:, None].to(boxes.dtype), boxes], 1)
        targets: Tensor = roi_align(masks[:, None].to(boxes.dtype), rois, side, aligned=True)[:, 0]
        return targets

    def _mask_loss(self, levels: list[Tensor], sampled: list[Sampled], targets: list[Target]) -> Tensor:
        pairs = [self.mask_rois(x, target) for x, target in zip(sampled, targets, strict=True)]
        logits = self.read_masks(levels, [boxes for boxes, _ in pairs])
        logits = _of_class(logits, torch.cat([y.classes[i] for (_, i), y in zip(pairs, targets, strict=True)]) + 1)
        side = logits.shape[-1]
        asked = torch.cat(
            [self.mask_targets(y.masks, boxes, i, side) if len(i) else logits.new_zeros(0, side, side)
             for (boxes, i), y in zip(pairs, targets, strict=True)]
        )  # fmt: skip
        return F.binary_cross_entropy_with_logits(logits, asked, reduction="sum") / max(1, asked.numel())

    def _crop(self, crops: MultiScaleRoIAlign, levels: list[Tensor], rois: list[Tensor]) -> Tensor:
        """RoIs -> (R, C, side, side), with empty crops after them where there are fewer than `least_rois`."""
        named = {str(i): levels[i].float() for i in range(len(crops.featmap_names))}
        cropped: Tensor = crops(named, rois, [])
        missing = max(0, self.least_rois - len(cropped))
        return torch.cat([cropped, cropped.new_zeros(missing, *cropped.shape[1:])]) if missing else cropped

    def _sample(self, proposals: Tensor, target: Target) -> Sampled:
        """Proposals and the boxes drawn -> those that are learnt, of which none overlaps a garment of unknown kind."""
        drawn = target.boxes.float()
        boxes = torch.cat([proposals, drawn])
        if len(drawn):
            overlaps, matched = (iou := box_iou(drawn, boxes)).max(0)
            kind = target.classes[matched]
            classes = torch.where(kind < 0, kind, kind + 1)
            classes[self.matcher(iou) == self.matcher.BELOW_LOW_THRESHOLD] = 0
        else:
            overlaps, matched = boxes.new_zeros(len(boxes)), boxes.new_zeros(len(boxes), dtype=torch.int64)
            classes = matched
        positive, negative = self.sampler([classes])
        index = torch.where(positive[0] | negative[0])[0]
        return Sampled(boxes[index], classes[index], matched[index], overlaps[index])

    def _detect(self, answer: Boxes, rois: Tensor, frame: Tensor) -> Detections:
        """What the box branch answers of one photo's RoIs -> the garments found, their masks still empty."""
        count, num_classes = answer.classes.shape[0], answer.classes.shape[1] - 1
        scores = answer.classes.softmax(1)[:, 1:].flatten()
        boxes = self.coder.decode_single(answer.codes, rois).view(count, 1 + num_classes, 4)[:, 1:]
        boxes = clip(boxes.reshape(-1, 4), frame)
        index = torch.where((scores > self.limits.least_score) & larger(boxes, LEAST_SIDE))[0]
        kept = batched_nms(boxes[index], scores[index], index % num_classes, self.limits.nms)
        index = index[kept[: self.limits.detections]]
        attributes = None if answer.attributes is None else answer.attributes[index // num_classes]
        empty = boxes.new_zeros(len(index), 0, 0)
        return Detections(boxes[index], index % num_classes, scores[index], empty, attributes)


def _crops(strides: Sequence[int], side: int, roi_size: float) -> MultiScaleRoIAlign:
    """Crops from maps of these strides, whatever the canvas: torchvision would infer them from the first it sees."""
    crops = MultiScaleRoIAlign([str(i) for i in range(len(strides))], side, sampling_ratio=2)
    crops.scales = [1 / stride for stride in strides]
    exponents = [stride.bit_length() - 1 for stride in strides]
    crops.map_levels = initLevelMapper(exponents[0], exponents[-1], canonical_scale=roi_size)
    return crops


def _of_class(logits: Tensor, classes: Tensor) -> Tensor:
    """(R, 1 + K, m, m) or (R, 1, m, m) logits -> (R, m, m), those of each RoI's class."""
    if logits.shape[1] == 1:
        return logits[:, 0]
    return logits[torch.arange(len(classes), device=logits.device), classes]
