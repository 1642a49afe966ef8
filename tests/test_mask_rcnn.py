"""Mask R-CNN against torchvision's: counts, answers and losses on the same weights; and it learns."""

from functools import cache

import pytest
import torch
from torch import nn
from torchvision.models.detection import maskrcnn_resnet50_fpn
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import project_masks_on_boxes
from torchvision.ops import box_iou

from hemline.backbone import Backbone
from hemline.data.augment import place_sample
from hemline.data.synthetic import Synthetic
from hemline.heads import HEADS, Target
from hemline.heads.mask_rcnn import MaskRCNN
from hemline.labels import load_label_space
from tests.formula import fill, photo

SIZE = (128, 128)
"""Multiples of 64: otherwise torchvision lays the coarsest anchors closer than the cells of their level are."""
NUM_CLASSES = 6
FRAMES = torch.tensor([[0.0, 0.0, SIZE[1], SIZE[0]]] * 2)


@cache
def trunk():
    with torch.device("meta"):
        return Backbone("resnet50")


def count(module):
    return sum(x.numel() for x in module.parameters())


@pytest.mark.parametrize(
    ("trunk_name", "num_classes", "parameters", "frozen"),
    [  # torchvision's, background among its classes; `frozen`: with batch norms that count no parameters
        ("resnet50", 91, 44_454_513, 44_401_393),
        ("resnet50", 47, 44_217_705, 44_164_585),
        ("resnet50", 2, 43_975_515, 43_922_395),
        ("resnet101", 91, 44_454_513 + 42_500_160 - 23_508_032, None),
    ],
)
def test_parameters_are_torchvisions(trunk_name, num_classes, parameters, frozen):
    with torch.device("meta"):
        backbone = Backbone(trunk_name)
        names = [str(i) for i in range(num_classes - 1)]
        head = MaskRCNN(backbone.channels, backbone.strides, names, [])
    assert count(backbone) + count(head) == parameters
    norms = sum(count(x) for x in backbone.modules() if isinstance(x, nn.BatchNorm2d))
    if frozen:
        assert parameters - norms == frozen


def test_the_parts_have_torchvisions_parameters():
    with torch.device("meta"):
        head = MaskRCNN(trunk().channels, trunk().strides, [str(i) for i in range(46)], [])
    assert count(trunk()) + count(head.pyramid) == 26_852_416
    assert count(head.rpn) == 593_935
    assert count(head.box_branch.hidden) == 13_895_680
    assert count(head.box_branch.predictor) == 240_875
    assert count(head.mask_branch[0]) == 2_360_320
    assert count(head.mask_branch[1]) == 274_479


@cache
def both():
    """Ours on timm's trunk, and torchvision's, with the same weights."""
    limits = {"rpn_pre_nms_top_n_train": 300, "rpn_post_nms_top_n_train": 300, "rpn_pre_nms_top_n_test": 100,
              "rpn_post_nms_top_n_test": 100, "box_detections_per_img": 6, "box_batch_size_per_image": 64}  # fmt: skip
    theirs = maskrcnn_resnet50_fpn(weights=None, weights_backbone=None, num_classes=1 + NUM_CLASSES, **limits)
    fill(theirs)
    with torch.no_grad():                                # the trunk's blocks add up to thousands
        for layer in theirs.backbone.fpn.layer_blocks:
            layer[0].weight.mul_(2e-4)
        scores = theirs.roi_heads.box_predictor.cls_score.weight
        scores.sub_(scores.mean(1, keepdim=True)).mul_(4)  # no class is the surest everywhere
    backbone = Backbone("resnet50").eval()
    missing = backbone.trunk.load_state_dict(theirs.backbone.body.state_dict(), strict=False)
    assert not missing.missing_keys
    assert not missing.unexpected_keys
    head = MaskRCNN(
        backbone.channels, backbone.strides, [str(i) for i in range(NUM_CLASSES)], [],
        proposals=100, proposals_in_training=300, detections=6, sampled=64,
    ).eval()  # fmt: skip
    for part, own in (
        (head.pyramid, theirs.backbone.fpn),
        (head.rpn.head, theirs.rpn.head),
        (head.box_branch.hidden, theirs.roi_heads.box_head),
        (head.box_branch.predictor, theirs.roi_heads.box_predictor),
        (head.mask_branch[0], theirs.roi_heads.mask_head),
        (head.mask_branch[1], theirs.roi_heads.mask_predictor),
    ):
        part.load_state_dict(own.state_dict())
    return backbone, head, theirs


def test_the_same_weights_give_torchvisions_answers():
    backbone, head, theirs = both()
    sizes = [SIZE] * 2
    with torch.no_grad():
        features = backbone(photo(*SIZE, batch=2))
        levels = theirs.backbone(features[0])            # the photo, normalised as theirs are
        proposals, _ = theirs.rpn(ImageList(features[0], sizes), levels)
        expected, _ = theirs.roi_heads(levels, proposals, sizes)
        found, maps = head(features, FRAMES)
    for ours, one in zip(found, expected, strict=True):
        assert len(ours.boxes) == 6
        assert len(set(ours.classes.tolist())) > 1
        assert ours.scores.max() - ours.scores.min() > 0.01
        torch.testing.assert_close(ours.boxes, one["boxes"], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(ours.scores, one["scores"], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(ours.masks, one["masks"][:, 0], rtol=1e-4, atol=1e-4)
        assert ours.masks.std() > 0.01
        assert torch.equal(ours.classes, one["labels"] - 1)
    for ours, name in zip(maps, ("0", "3"), strict=True):
        torch.testing.assert_close(ours, levels[name], rtol=1e-4, atol=1e-4)


def drawn():
    """A photo with three garments, their masks discs, and one with none."""
    boxes = torch.tensor([[10.0, 12, 70, 100], [50, 40, 128, 128], [5, 90, 30, 120]])
    ys, xs = torch.arange(SIZE[0])[None, :, None], torch.arange(SIZE[1])[None, None]
    x0, y0, x1, y1 = boxes[:, :, None, None].unbind(1)
    across, down = (2 * xs - x0 - x1) / (x1 - x0), (2 * ys - y0 - y1) / (y1 - y0)
    masks = (across**2 + down**2 <= 1).to(torch.uint8)
    nothing = Target(boxes[:0], torch.zeros(0, dtype=torch.int64), masks[:0], torch.zeros(0, 0, dtype=torch.int8))
    return [Target(boxes, torch.tensor([0, 3, 5]), masks, torch.zeros(3, 0, dtype=torch.int8)), nothing]


def test_the_same_weights_and_samples_give_torchvisions_losses(monkeypatch):
    """Targets of masks apart, which are torchvision's half a pixel further; see `test_two_stage`."""
    backbone, head, theirs = both()
    monkeypatch.setattr(head, "mask_targets", project_masks_on_boxes)
    sizes = [SIZE] * 2
    truth = [{"boxes": one.boxes, "labels": one.classes + 1, "masks": one.masks} for one in drawn()]
    with torch.no_grad():
        features = backbone(photo(*SIZE, batch=2))
        levels = theirs.backbone(features[0])
        torch.manual_seed(3)
        theirs.rpn.train()                               # without norms, so that they answer alike
        theirs.roi_heads.train()
        proposals, first = theirs.rpn(ImageList(features[0], sizes), levels, truth)
        _, second = theirs.roi_heads(levels, proposals, sizes, truth)
        theirs.eval()
        torch.manual_seed(3)
        losses, _ = head.loss(features, FRAMES, drawn())
    expected = first | second
    for ours, name in (
        ("objectness", "loss_objectness"),
        ("proposals", "loss_rpn_box_reg"),
        ("class", "loss_classifier"),
        ("boxes", "loss_box_reg"),
        ("masks", "loss_mask"),
    ):
        assert expected[name] > 0
        torch.testing.assert_close(losses[ours], expected[name], rtol=1e-4, atol=1e-5)


def test_its_defaults_are_torchvisions():
    theirs = maskrcnn_resnet50_fpn(weights=None, weights_backbone=None)
    with torch.device("meta"):
        head = MaskRCNN(trunk().channels, trunk().strides, ["shirt"], [])
    limits, rpn, roi = head.limits, theirs.rpn, theirs.roi_heads
    assert tuple((x,) for x in limits.anchor_sizes) == rpn.anchor_generator.sizes
    assert rpn._pre_nms_top_n == rpn._post_nms_top_n
    assert rpn._pre_nms_top_n == {"training": limits.proposals_in_training, "testing": limits.proposals}
    assert limits.proposal_nms == rpn.nms_thresh
    assert (limits.detections, limits.nms, limits.least_score) == (
        roi.detections_per_img, roi.nms_thresh, roi.score_thresh
    )  # fmt: skip
    assert vars(head.sampler) == vars(roi.fg_bg_sampler)
    assert vars(head.rpn.sampler) == vars(rpn.fg_bg_sampler)
    assert vars(head.matcher) == vars(roi.proposal_matcher)
    assert vars(head.rpn.matcher) == vars(rpn.proposal_matcher)
    assert vars(head.coder) == vars(roi.box_coder)
    assert vars(head.rpn.coder) == vars(rpn.box_coder)
    assert limits.roi_size == roi.box_roi_pool.canonical_scale
    assert head.box_crops.output_size == roi.box_roi_pool.output_size
    assert head.mask_crops.output_size == roi.mask_roi_pool.output_size


def truth_of(sample):
    """The garments of a drawn figure, one by one."""
    kinds = load_label_space("outfit5").categories
    garments = []
    for region in sample.regions:
        told = [c.index for c in kinds if region.labels[c.index] == 1]
        mask = torch.zeros(sample.segments.shape, dtype=torch.uint8)
        for segment in region.segments:
            mask[torch.from_numpy(sample.segments == segment)] = 1
        if -1 not in region.segments and len(told) == 1 and mask.any():
            garments.append((mask, told[0]))
    masks = torch.stack([mask for mask, _ in garments])
    sides = [(mask.any(0).nonzero(), mask.any(1).nonzero()) for mask in masks]
    boxes = torch.tensor([[x.min(), y.min(), x.max() + 1, y.max() + 1] for x, y in sides], dtype=torch.float32)
    attributes = torch.zeros(len(masks), 0, dtype=torch.int8)
    return Target(boxes, torch.tensor([kind for _, kind in garments]), masks, attributes)


@pytest.mark.slow
def test_a_small_one_learns_two_photos_by_heart():
    space = load_label_space("outfit5")
    samples = [place_sample(Synthetic(None, space, count=2, canvas=(64, 64))[i], (64, 64)) for i in range(2)]
    pixels = torch.stack([torch.from_numpy(sample.photo) for sample in samples])
    truth = [truth_of(sample) for sample in samples]
    assert sum(len(one.boxes) for one in truth) > 4
    torch.manual_seed(0)
    backbone = Backbone("test_resnet")
    head = MaskRCNN(
        backbone.channels, backbone.strides, [c.name for c in space.categories], [], width=32, box_hidden=64,
        anchor_sizes=(8, 16, 32, 64, 128), roi_size=56, proposals=50, proposals_in_training=100, sampled=32,
    )  # fmt: skip
    frames = torch.tensor([[0.0, 0, 64, 64]] * 2)
    optimizer = torch.optim.AdamW([*backbone.parameters(), *head.parameters()], lr=3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=200)
    for _ in range(200):
        losses, _ = head.loss(backbone(pixels), frames, truth)
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
        schedule.step()
    backbone.eval()
    with torch.inference_mode():
        found = head(backbone(pixels), frames).found
    for one, asked in zip(found, truth, strict=True):
        sure = one.scores > 0.5
        overlaps = box_iou(asked.boxes, one.boxes[sure]) * (asked.classes[:, None] == one.classes[sure])
        assert (overlaps.max(1).values > 0.7).all()
        assert sure.sum() <= len(asked.boxes) + 2


def test_it_stands_in_the_table():
    assert HEADS["mask_rcnn"] is MaskRCNN
    assert MaskRCNN.paper.year == 2017
    assert not MaskRCNN.reads_attributes
