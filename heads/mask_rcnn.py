"""Mask R-CNN (He, Gkioxari, Dollar, Girshick, 2017, https://arxiv.org/abs/1703.06870), on a feature pyramid.

From the paper: every proposal is cropped from the pyramid by RoIAlign; one branch says what it is and where exactly,
another draws a mask of each class. With a ResNet-50 it is torchvision's `maskrcnn_resnet50_fpn`: the same parts, the
same answers on the same weights. Ours may take smaller anchors, for canvases smaller than the 800 pixels that
torchvision resizes photos to.

Shapes: R RoIs, K classes, C the pyramid's channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType

from torch import Tensor, nn
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.rpn import RPNHead
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from ._blocks import Paper
from ._proposals import RATIOS
from ._two_stage import Boxes, Limits, TwoStage, taps

BOX_SIDE = 7


class BoxBranch(nn.Module):
    """Two fully connected layers, then the class and the boxes of a RoI."""

    def __init__(self, channels: int, hidden: int, num_classes: int) -> None:
        super().__init__()
        self.hidden = TwoMLPHead(channels * BOX_SIDE**2, hidden)
        self.predictor = FastRCNNPredictor(hidden, 1 + num_classes)

    def forward(self, crops: Tensor) -> Boxes:
        """(R, C, 7, 7) -> classes (R, 1 + K), boxes (R, 4 * (1 + K))."""
        return Boxes(*self.predictor(self.hidden(crops)))


class MaskRCNN(TwoStage):
    """Propose, then class, box and mask of each proposal.

    Args:
        channels: Channels of the backbone's features; the photo comes first.
        strides: Their strides.
        classes: Names of the K classes.
        attributes: Names of the A attributes, which the label head reads.
        width: Channels of the pyramid and of the mask branch.
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
        ValueError: an option is out of range, or the trunk lacks a map of stride 4, 8, 16 or 32.
    """

    paper = Paper("Mask R-CNN", 2017, "https://arxiv.org/abs/1703.06870")
    variants = (("backbone.name=resnet101",),)
    class_layers = MappingProxyType({
        "box_branch.predictor.cls_score": 1, "box_branch.predictor.bbox_pred": 4, "mask_branch.1.mask_fcn_logits": 1,
    })  # fmt: skip

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[int],
        classes: Sequence[str],
        attributes: Sequence[str],
        *,
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
        if min(width, box_hidden) < 1:
            raise ValueError(f"mask_rcnn: width {width} and box_hidden {box_hidden} must be 1 or more")
        limits = Limits(
            "mask_rcnn",
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
        read = taps("mask_rcnn", strides, (4, 8, 16, 32))
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
            mask_branch=nn.Sequential(
                MaskRCNNHeads(width, (width,) * 4, 1), MaskRCNNPredictor(width, width, 1 + len(classes))
            ),
            box_side=BOX_SIDE,
        )
