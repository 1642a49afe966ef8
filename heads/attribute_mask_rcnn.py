"""Attribute-Mask R-CNN (Jia et al., 2020, https://arxiv.org/abs/2004.12276): a Mask R-CNN that reads attributes too.

From the paper's code (tensorflow/tpu, `models/official/detection/projects/fashionpedia`): a pyramid of strides 8 to
128, batch norm everywhere, a box branch of four convolutions and one dense layer, and beside its classes and boxes one
sigmoid an attribute. What a RoI says of attributes goes with its boxes through the suppression of doubles.

Ours: RoIs are proposed, sampled and kept by torchvision's rules, and the losses of proposals and the targets of masks
are torchvision's; the authors consider 2000 proposals of each level in training before they keep 1000. The paper's best
rows have SpineNet trunks, which timm lacks.

Shapes: B batch, R RoIs, C the pyramid's channels, K classes, A attributes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import MappingProxyType
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import ExtraFPNBlock

from ._blocks import Paper
from ._instances import Target
from ._proposals import RATIOS
from ._two_stage import Boxes, Limits, Sampled, TwoStage, taps

NAME = "attribute_mask_rcnn"
STRIDES = (8, 16, 32, 64, 128)
READ = (8, 16, 32)
"""Strides of the trunk's maps that the pyramid reads."""
EPSILON = 1e-3
"""Of every batch norm."""
BOX_SIDE = 7


class Coarser(ExtraFPNBlock):  # type: ignore[misc]  # torchvision does not say its types
    """Two levels coarser than the trunk's, each made of the one before."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(width, width, 3, stride=2) for _ in STRIDES[len(READ) :])
        for conv in self.convs:
            assert isinstance(conv, nn.Conv2d)
            nn.init.xavier_uniform_(conv.weight)
            _zero_bias(conv)

    def forward(self, results: list[Tensor], x: list[Tensor], names: list[str]) -> tuple[list[Tensor], list[str]]:
        """Levels (B, C, h, w), fine to coarse -> they and two more; `x`, what they are made of, is not read."""
        level = results[-1]
        for i, conv in enumerate(self.convs):
            level = level if i == 0 else F.relu(level)
            height, width = level.shape[-2:]
            level = conv(F.pad(level, (width % 2, 1, height % 2, 1)))  # TensorFlow's `same`: even sides pad their end
            results, names = [*results, level], [*names, f"coarser_{i}"]
        return results, names


class Pyramid(FeaturePyramidNetwork):  # type: ignore[misc]  # likewise
    """A feature pyramid of five levels, each with a batch norm of its own after the last convolution.

    Args:
        channels: Of the trunk's maps, fine to coarse.
        width: C.
    """

    def __init__(self, channels: Sequence[int], width: int) -> None:
        super().__init__(list(channels), width, extra_blocks=Coarser(width))
        self.norms = _norms(width)

    def forward(self, x: dict[str, Tensor]) -> dict[str, Tensor]:
        """{name: (B, Ci, h, w)} of the trunk, fine to coarse -> {name: (B, C, h, w)} of the five levels."""
        levels = super().forward(x)
        return {name: norm(levels[name]) for name, norm in zip(levels, self.norms, strict=True)}


class Proposer(nn.Module):
    """What looks for regions: a convolution and classifiers that all levels share, and a batch norm of each level.

    Args:
        width: C.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)
        self.norms = _norms(width)
        self.objectness = nn.Conv2d(width, len(RATIOS), 1)
        self.codes = nn.Conv2d(width, 4 * len(RATIOS), 1)
        for conv in (self.conv, self.objectness, self.codes):
            nn.init.normal_(conv.weight, std=0.01)
            _zero_bias(conv)

    def forward(self, levels: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """[(B, C, h, w), ...] -> objectness [(B, 3, h, w), ...] and codes of boxes [(B, 12, h, w), ...]."""
        hidden = [F.relu(norm(self.conv(level))) for norm, level in zip(self.norms, levels, strict=True)]
        return [self.objectness(x) for x in hidden], [self.codes(x) for x in hidden]


class BoxBranch(nn.Module):
    """Four convolutions and a dense layer, then the class, the boxes and the attributes of a RoI.

    Args:
        width: C.
        hidden: Width of the dense layer.
        num_classes: K.
        num_attributes: A.
    """

    def __init__(self, width: int, hidden: int, num_classes: int, num_attributes: int) -> None:
        super().__init__()
        self.convs = _four_convs(width)
        self.dense = nn.Linear(width * BOX_SIDE**2, hidden)
        self.norm = nn.BatchNorm1d(hidden, EPSILON)
        self.classes = nn.Linear(hidden, 1 + num_classes)
        self.codes = nn.Linear(hidden, 4 * (1 + num_classes))
        self.attributes = nn.Linear(hidden, num_attributes) if num_attributes else None
        nn.init.xavier_uniform_(self.dense.weight)
        nn.init.normal_(self.classes.weight, std=0.01)
        nn.init.normal_(self.codes.weight, std=0.001)
        for linear in (self.dense, self.classes, self.codes):
            _zero_bias(linear)
        if self.attributes is not None:
            nn.init.normal_(self.attributes.weight, std=0.01)
            nn.init.constant_(self.attributes.bias, -math.log(max(num_attributes - 1, 1)))  # as if one in A were true

    def forward(self, crops: Tensor) -> Boxes:
        """(R, C, 7, 7) -> classes (R, 1 + K), boxes (R, 4 * (1 + K)), attributes (R, A)."""
        x = F.relu(self.norm(self.dense(self.convs(crops).flatten(1))))
        attributes = x.new_zeros(len(x), 0) if self.attributes is None else self.attributes(x)
        return Boxes(self.classes(x), self.codes(x), attributes)


class MaskBranch(nn.Module):
    """Four convolutions, twice the size, and a map of each class.

    Args:
        width: C.
        num_classes: K.
    """

    def __init__(self, width: int, num_classes: int) -> None:
        super().__init__()
        self.convs = _four_convs(width)
        self.larger = nn.ConvTranspose2d(width, width, 2, stride=2)
        self.norm = nn.BatchNorm2d(width, EPSILON)
        self.classifier = nn.Conv2d(width, 1 + num_classes, 1)
        for conv in (self.larger, self.classifier):
            nn.init.normal_(conv.weight, std=(2 / (math.prod(conv.kernel_size) * conv.out_channels)) ** 0.5)
            _zero_bias(conv)

    def forward(self, crops: Tensor) -> Tensor:
        """(R, C, 14, 14) -> logits (R, 1 + K, 28, 28)."""
        logits: Tensor = self.classifier(F.relu(self.norm(self.larger(self.convs(crops)))))
        return logits


class AttributeMaskRCNN(TwoStage):
    """Propose, then class, box, mask and attributes of each proposal.

    Args:
        channels: Channels of the backbone's features; the photo comes first.
        strides: Their strides.
        classes: Names of the K classes.
        attributes: Names of the A attributes.
        width: C, channels of the pyramid and the branches.
        box_hidden: Width of the box branch's dense layer.
        anchor_scale: Side of each level's square anchor over its stride; two more are as large, but long and upright.
        roi_size: Side of a RoI, in pixels, that is cropped from stride 16; those of half the side are from stride 8.
        proposals: Kept of one photo, and considered of each level, when answering.
        proposals_in_training: The same, when learning.
        proposal_nms: IoU above which the less sure of two proposals is dropped.
        sampled: RoIs learnt of one photo, a quarter of them garments at most; masks are learnt of these.
        detections: Garments kept of one photo.
        nms: IoU above which the less sure of two garments of one class is dropped.
        least_score: Probability that a garment must exceed.
        attribute_loss: `bce`, or `focal`, as the winner of Kaggle's iMaterialist 2020 has it, with a weight of 50.
        attribute_weight: Of that loss in the sum.

    Raises:
        ValueError: an option is out of range, or the trunk lacks a map of stride 8, 16 or 32.
    """

    paper = Paper(
        "Fashionpedia: Ontology, Segmentation, and an Attribute Localization Dataset",
        2020,
        "https://arxiv.org/abs/2004.12276",
    )
    variants = (("backbone.name=resnet101",),)
    reads_attributes = True
    class_layers = MappingProxyType({"box_branch.classes": 1, "box_branch.codes": 4, "mask_branch.classifier": 1})
    attribute_layers = ("box_branch.attributes",)

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[int],
        classes: Sequence[str],
        attributes: Sequence[str],
        *,
        width: int = 256,
        box_hidden: int = 1024,
        anchor_scale: float = 3.0,
        roi_size: float = 224,
        proposals: int = 1000,
        proposals_in_training: int = 1000,
        proposal_nms: float = 0.7,
        sampled: int = 512,
        detections: int = 100,
        nms: float = 0.5,
        least_score: float = 0.05,
        attribute_loss: Literal["bce", "focal"] = "bce",
        attribute_weight: float = 1.0,
    ) -> None:
        if min(width, box_hidden) < 1:
            raise ValueError(f"{NAME}: width {width} and box_hidden {box_hidden} must be 1 or more")
        if not 1 / STRIDES[0] <= anchor_scale <= 100:
            raise ValueError(f"{NAME}: anchor_scale {anchor_scale} must be between 0.125 and 100")
        if attribute_loss not in ("bce", "focal"):
            raise ValueError(f"{NAME}: attribute_loss {attribute_loss} must be bce or focal")
        if not 0 <= attribute_weight < math.inf:
            raise ValueError(f"{NAME}: attribute_weight {attribute_weight} must be 0 or more")
        limits = Limits(
            NAME,
            anchor_sizes=[anchor_scale * stride for stride in STRIDES],
            roi_size=roi_size,
            proposals=proposals,
            proposals_in_training=proposals_in_training,
            proposal_nms=proposal_nms,
            sampled=sampled,
            detections=detections,
            nms=nms,
            least_score=least_score,
            box_beta=1.0,
        )
        read = taps(NAME, strides, READ)
        super().__init__(
            channels,
            strides,
            classes,
            attributes,
            limits=limits,
            taps=read,
            pyramid=Pyramid([channels[i] for i in read], width),
            pyramid_strides=STRIDES,
            cropped=len(STRIDES),
            rpn=Proposer(width),
            box_branch=BoxBranch(width, box_hidden, len(classes), len(attributes)),
            mask_branch=MaskBranch(width, len(classes)),
            box_side=BOX_SIDE,
            least_rois=2,
        )
        self.attribute_loss, self.attribute_weight = attribute_loss, attribute_weight
        self.rpn.anchors.cell_anchors = [_anchors(anchor_scale * stride, stride) for stride in STRIDES]
        for crops in (self.box_crops, self.mask_crops):
            crops.sampling_ratio = 1                     # the authors read one point in the middle of each cell

    def box_loss(self, answer: Boxes, sampled: list[Sampled], targets: list[Target]) -> dict[str, Tensor]:
        """As of every network of two stages, and `attributes` where there are any; `boxes` is a mean over garments."""
        losses = super().box_loss(answer, sampled, targets)
        garments = (torch.cat([one.classes for one in sampled]) > 0).sum().clamp(min=1)
        losses["boxes"] = losses["boxes"] * len(answer.classes) / (4 * garments)
        if answer.attributes is None or not answer.attributes.shape[1]:
            return losses
        asked = torch.cat([asked_attributes(one, target) for one, target in zip(sampled, targets, strict=True)])
        losses["attributes"] = self.attribute_weight * loss_of_attributes(
            answer.attributes, asked, focal=self.attribute_loss == "focal"
        )
        return losses


def asked_attributes(sampled: Sampled, target: Target) -> Tensor:
    """What the RoIs of one photo are taught.

    The attributes of the garment that each overlaps most, however little: a RoI on the edge of a dress learns the
    dress's attributes while its class is background, as in the authors' code. One that touches no garment has none.

    Returns:
        (R, A): 1 yes, 0 no, -1 unknown.
    """
    none = target.attributes.new_zeros(len(sampled.boxes), target.attributes.shape[1])
    if not len(target.boxes):
        return none
    return torch.where(sampled.overlaps[:, None] > 0, target.attributes[sampled.matched], none)


def loss_of_attributes(logits: Tensor, asked: Tensor, *, focal: bool) -> Tensor:
    """The mean over all that is known of all RoIs, background or not.

    Args:
        logits: (R, A).
        asked: (R, A): 1 yes, 0 no, -1 unknown.
        focal: Focal loss (Lin et al., 2017, https://arxiv.org/abs/1708.02002), alpha 0.25 and gamma 2; cross-entropy
            otherwise.
    """
    known = asked >= 0
    logits, truth = logits[known], asked[known].to(logits.dtype)
    losses = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    if focal:
        wrong = torch.where(truth > 0, -logits, logits).sigmoid()
        losses = torch.where(truth > 0, 0.25, 0.75) * wrong**2 * losses
    return losses.sum() / max(1, len(losses))


def _anchors(size: float, stride: int) -> Tensor:
    """(3, 4): the anchors of a level's first cell, around its middle."""
    ratios = torch.tensor(RATIOS, device="cpu")                          # wherever the rest is made
    half = torch.stack([ratios**-0.5, ratios**0.5], 1) * size / 2       # (3, 2): half the width, half the height
    return torch.cat([stride / 2 - half, stride / 2 + half], 1)


def _four_convs(width: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(4):
        conv = nn.Conv2d(width, width, 3, padding=1)
        nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
        _zero_bias(conv)
        layers += [conv, nn.BatchNorm2d(width, EPSILON), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


def _norms(width: int) -> nn.ModuleList:
    """A batch norm of each level."""
    return nn.ModuleList(nn.BatchNorm2d(width, EPSILON) for _ in STRIDES)


def _zero_bias(layer: nn.Conv2d | nn.ConvTranspose2d | nn.Linear) -> None:
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
