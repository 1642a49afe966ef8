"""DeepMAC: masks are learnt in the boxes drawn, whatever the class, of the classes that are asked for."""

import copy

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from hemline.found import of_detections
from hemline.heads import HEADS, Target
from hemline.heads._two_stage import TwoStage
from hemline.heads.deepmac import DeepMAC
from hemline.photo import Frame
from hemline.runtime import Detections
from tests.formula import fill

CLASSES = ["coat", "dress", "shoe"]
CHANNELS, STRIDES = [3, 8, 12, 16, 24, 32], [1, 2, 4, 8, 16, 32]
SIZE = (96, 64)
FRAMES = torch.tensor([[0, 0, 64, 96], [4, 0, 60, 96]])
BOXES = [[[8, 10, 40, 50], [30, 20, 61, 90]], [[5, 40, 21, 47]]]


def head_of(**options):
    torch.manual_seed(0)
    light = {
        "depth": 20, "mask_width": 4, "crop_size": 8, "width": 16, "box_hidden": 8, "anchor_sizes": (8, 16, 32, 64, 96),
        "roi_size": 32, "proposals": 20, "proposals_in_training": 20, "sampled": 16, "detections": 10,
    }  # fmt: skip
    return DeepMAC(CHANNELS, STRIDES, CLASSES, [], **{**light, **options})


def features(seed=0, batch=2):
    torch.manual_seed(seed)
    return [torch.randn(batch, c, SIZE[0] // s, SIZE[1] // s) for c, s in zip(CHANNELS, STRIDES, strict=True)]


def drawn(classes=((0, 1), (2,)), boxes=BOXES):
    """Every garment fills the left half of its box."""
    targets = []
    for of_photo, kinds in zip(boxes, classes, strict=True):
        masks = torch.zeros(len(kinds), *SIZE, dtype=torch.uint8)
        for mask, (x0, y0, x1, y1) in zip(masks, of_photo, strict=True):
            mask[y0:y1, x0 : (x0 + x1) // 2] = 1
        box = torch.tensor(of_photo, dtype=torch.float32).view(-1, 4)
        kinds = torch.tensor(kinds, dtype=torch.int64)
        targets.append(Target(box, kinds, masks, torch.zeros(len(kinds), 0, dtype=torch.int8)))
    return targets


def losses(head, targets, seed=0):
    x = features()
    torch.manual_seed(seed)
    return copy.deepcopy(head).train().loss(x, FRAMES, targets)[0]


def crops_of(head, call):
    """The boxes that the mask branch's crops are cut from while something is called."""
    seen = []
    hook = head.mask_crops.register_forward_pre_hook(lambda _, args: seen.append([x.clone() for x in args[1]]))
    call()
    hook.remove()
    assert len(seen) == 1
    return seen[0]


def test_only_the_mask_branch_is_not_mask_rcnn():
    with torch.device("meta"):
        plain = HEADS["mask_rcnn"](CHANNELS, STRIDES, CLASSES, [])
        deep = DeepMAC(CHANNELS, STRIDES, CLASSES, [])
    shapes, others = (
        {name: x.shape for name, x in head.state_dict().items() if not name.startswith("mask_branch")}
        for head in (deep, plain)
    )
    assert shapes == others
    assert sum(x.numel() for x in deep.mask_branch.parameters()) == 23_606_145
    assert (deep.mask_crops.output_size, plain.mask_crops.output_size) == ((32, 32), (14, 14))


def test_masks_are_learnt_in_the_boxes_drawn(monkeypatch):
    """Whatever is proposed, here boxes that overlap them well: those are the box branch's to learn from."""
    head = head_of().train()
    near = [x.boxes + torch.tensor([1.0, -1, 2, 1]) for x in drawn()]
    monkeypatch.setattr(head.rpn, "propose", lambda anchors, photo, frame, kept: near[photo])
    sampled = head._sample(near[0], drawn()[0])
    assert len(TwoStage.mask_rois(head, sampled, drawn()[0])[0]) > 2, "Mask R-CNN learns masks of proposals"
    torch.manual_seed(1)
    seen = crops_of(head, lambda: head.loss(features(), FRAMES, drawn()))
    assert [x.tolist() for x in seen] == BOXES


def test_the_loss_is_the_mean_over_the_cells_of_the_masks_drawn():
    """Of 16 cells a side, the 8 on the left are the garment: half of each box, whose sides are 16 or 32 pixels."""
    head = fill(head_of())
    boxes = [[[8, 10, 40, 42], [24, 60, 56, 92]], [[16, 40, 32, 56]]]
    targets = drawn(boxes=boxes)
    logits = head.read_masks(head.levels(features()), [x.boxes for x in targets])
    asked = torch.zeros(3, 1, 16, 16)
    asked[..., :8] = 1
    one = targets[0]
    assert torch.equal(head.mask_targets(one.masks, one.boxes, torch.tensor([0, 1]), 16), asked[:2, 0])
    expected = F.softplus(logits).mean() - logits[..., :8].sum() / logits.numel()        # BCE, written out
    assert logits.std() > 0.1
    found = head.loss(features(), FRAMES, targets)[0]["masks"]
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


def test_what_is_taught_is_painted_where_it_was_drawn():
    """Masks of 64 cells, read back as answers are: the same pixels, but for a few on the edge."""
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    for y, x, radius in ((50, 30, 5), (40, 33, 18), (60, 20, 9.5)):
        mask = (rows - y) ** 2 + (columns - x) ** 2 < radius**2
        ys, xs = np.where(mask)
        box = torch.tensor([[xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]], dtype=torch.float32)
        masks = torch.from_numpy(mask.astype(np.uint8))[None]
        taught = head_of().mask_targets(masks, box, torch.tensor([0]), 64)
        one = Detections(box.numpy(), np.zeros(1, np.int64), np.ones(1, np.float32), taught.numpy(), np.zeros((2, 0)))
        (found,) = of_detections(one, Frame(0, 0, *SIZE, *SIZE))
        painted = found.mask(SIZE)
        assert (painted & mask).sum() / (painted | mask).sum() > 0.98


def test_the_class_does_not_matter_to_the_mask():
    head = head_of()
    one, other = losses(head, drawn()), losses(head, drawn([(2, 0), (1,)]))
    assert torch.equal(one["masks"], other["masks"])
    assert not torch.equal(one["class"], other["class"])
    assert one["masks"] > 0


def test_masks_of_some_classes():
    """Of two photos with a coat and a dress, and a shoe: only the dress is drawn, as if nothing else had been."""
    head = head_of(masks_of=["dress"]).train()
    assert [x.tolist() for x in crops_of(head, lambda: head.loss(features(), FRAMES, drawn()))] == [BOXES[0][1:], []]
    alone = drawn([(1,), ()], boxes=[BOXES[0][1:], []])
    assert torch.equal(losses(head, drawn())["masks"], losses(head, alone)["masks"])
    assert losses(head, drawn())["class"] > 0
    different = drawn()
    different[0].masks[0] = 1 - different[0].masks[0]
    different[1].masks[:] = 1
    assert torch.equal(losses(head, drawn())["masks"], losses(head, different)["masks"])


@pytest.mark.parametrize(
    ("options", "targets"),
    [
        ({"masks_of": ["dress"]}, drawn([(0, 0), (2,)])),
        ({}, drawn([(-1, -1), (-1,)])),
        ({}, drawn([(), ()], boxes=[[], []])),
        ({"depth": 52, "crop_size": 32, "masks_of": ["dress"]}, drawn([(0, 0), (2,)])),
    ],
    ids=["other classes", "unknown kind", "nothing drawn", "hourglass-52"],
)
def test_no_gradient_where_no_mask_is_learnt(options, targets):
    head = head_of(**options).train()
    before = copy.deepcopy(head.mask_branch.state_dict())
    found = head.loss(features(), FRAMES, targets)[0]
    assert found["masks"] == 0
    found["masks"].backward()
    assert all(p.grad is None or not p.grad.any() for p in head.parameters())
    after = head.mask_branch.state_dict()
    assert all(torch.equal(x, after[name]) for name, x in before.items()), "running statistics"
    assert all(torch.isfinite(x) for x in found.values())


def test_gradient_where_masks_are_learnt():
    """Into the whole mask branch and the pyramid, from one garment of two photos."""
    head = head_of(masks_of=["dress"]).train()
    head.loss(features(), FRAMES, drawn())[0]["masks"].backward()
    assert all(p.grad is not None and p.grad.any() for p in head.mask_branch.parameters())
    assert any(p.grad is not None and p.grad.any() for p in head.pyramid.parameters())
    assert all(p.grad is None or not p.grad.any() for p in head.box_branch.parameters())


def test_every_class_has_masks_when_answering():
    head = fill(head_of(masks_of=["dress"], least_score=0.0, nms=1.0))
    with torch.no_grad():
        found = head(features(), FRAMES).found
        drawn_again = head.masks_in_boxes(features(), [x.boxes for x in found])
    assert {0, 2} & set(torch.cat([x.classes for x in found]).tolist())
    for one, masks in zip(found, drawn_again, strict=True):
        assert one.masks.shape == (len(one.boxes), 16, 16)
        torch.testing.assert_close(one.masks, masks)


def test_masks_of_boxes_that_one_has():
    head = fill(head_of())
    boxes = [x.boxes for x in drawn()]
    with torch.no_grad():
        both = head.masks_in_boxes(features(), boxes)
        second = head.masks_in_boxes([x[1:] for x in features()], boxes[1:])
        none = head.masks_in_boxes(features(), [boxes[0], boxes[1][:0]])
    assert [x.shape for x in both] == [(2, 16, 16), (1, 16, 16)]
    assert [x.shape for x in none] == [(2, 16, 16), (0, 16, 16)]
    torch.testing.assert_close(both[1], second[0], rtol=1e-4, atol=1e-5)
    assert all(x.min() >= 0 and x.max() <= 1 for x in both)
    assert not torch.allclose(both[0][0], both[0][1]), "a mask hangs on its box"


def test_nothing_found_is_an_empty_answer():
    head = fill(head_of(least_score=0.99))
    found = head(features(), FRAMES).found
    assert [x.masks.shape for x in found] == [(0, 16, 16)] * 2


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"depth": 50}, "depth 50 must be one of 10, 20, 32, 52, 100"),
        ({"crop_size": 14}, "crop_size 14 must be a multiple of 4: a hourglass of depth 20 halves its crops 2 times"),
        ({"depth": 100, "crop_size": 16}, "crop_size 16 must be a multiple of 32"),
        ({"crop_size": 0}, "crop_size 0 must be a multiple of 4"),
        ({"mask_width": 0}, "mask_width 0, width 16 and box_hidden 8 must be 1 or more"),
        ({"masks_of": ["coat", "shoes"]}, "masks_of names 'shoes', which is no class; did you mean shoe"),
        ({"masks_of": []}, r"masks_of must be a list of one class or more, not \[\]"),
        ({"masks_of": "coat"}, "masks_of must be a list of one class or more, not 'coat'"),
        ({"detections": 0}, "deepmac: detections 0"),
    ],
)
def test_what_does_not_fit_is_said(options, sentence):
    with pytest.raises(ValueError, match=sentence), torch.device("meta"):
        head_of(**options)


def test_a_trunk_without_the_strides_is_refused():
    with pytest.raises(ValueError, match="deepmac: the trunk must have maps of strides"), torch.device("meta"):
        DeepMAC([3, 8, 16], [1, 4, 8], CLASSES, [])
