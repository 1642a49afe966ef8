"""What networks of two stages share: frames, sampling, hooks, and losses where there is nothing to learn from."""

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.ops import box_iou

from hemline.heads import Target
from hemline.heads._proposals import Proposals
from hemline.heads._two_stage import Boxes, TwoStage
from hemline.heads.mask_rcnn import MaskRCNN

CHANNELS, STRIDES = [3, 8, 12, 16, 20], [1, 4, 8, 16, 32]
CLASSES = ["shirt", "pants", "hat"]
SIDE = 64
WHOLE = torch.tensor([[0.0, 0, SIDE, SIDE]])
SMALL = {"width": 8, "box_hidden": 16, "anchor_sizes": (8, 16, 32, 48, 64), "roi_size": 56, "proposals": 40,
         "proposals_in_training": 80, "sampled": 32, "detections": 20}  # fmt: skip


def tiny(kind=MaskRCNN, seed=0, **options):
    torch.manual_seed(seed)
    head = kind(CHANNELS, STRIDES, CLASSES, [], **{**SMALL, **options}).eval()
    with torch.no_grad():                                # surer of itself than a network that has learnt nothing
        for layer in (head.rpn.head.cls_logits, head.rpn.head.bbox_pred, *head.box_branch.predictor.children()):
            layer.weight.mul_(30)
    return head


def features(height=SIDE, width=SIDE, batch=1, seed=1):
    generator = torch.Generator().manual_seed(seed)
    sizes = [(c, -(-height // s), -(-width // s)) for c, s in zip(CHANNELS, STRIDES, strict=True)]
    return [torch.randn(batch, *size, generator=generator) for size in sizes]


def target(*garments: tuple[list[float], int], side=SIDE):
    """Garments as (box, class), each filling its box."""
    masks = torch.zeros(len(garments), side, side, dtype=torch.uint8)
    for mask, ((x0, y0, x1, y1), _) in zip(masks, garments, strict=True):
        mask[int(y0) : int(y1), int(x0) : int(x1)] = 1
    boxes = torch.tensor([box for box, _ in garments], dtype=torch.float32).view(-1, 4)
    classes = torch.tensor([kind for _, kind in garments], dtype=torch.int64)
    return Target(boxes, classes, masks, torch.zeros(len(garments), 0, dtype=torch.int8))


DRAWN = target(([8, 8, 40, 40], 0), ([30, 20, 60, 62], 2))


def losses(head, targets=(DRAWN,), frames=WHOLE, seed=2, given=None):
    torch.manual_seed(seed)
    given = features(batch=len(targets)) if given is None else given
    return head.loss(given, frames.expand(len(targets), 4), list(targets))[0]


class Said(nn.Module):
    """An RPN head that says what it was given: one level of stride 16, whose anchors are the boxes."""

    def __init__(self, objectness: Tensor) -> None:
        super().__init__()
        self.objectness = objectness                     # (h, w), of the square anchor

    def forward(self, levels):
        logits = torch.stack([self.objectness - 50, self.objectness, self.objectness - 50])[None]
        return [logits], [torch.zeros(1, 12, *self.objectness.shape)]


def test_what_lies_outside_the_photo_proposes_nothing_however_sure_it_is():
    said = torch.arange(16.0).view(4, 4)                 # centres at 0, 16, 32, 48 each way
    rpn = Proposals(Said(said), [16], [16], 0.7)
    anchors = rpn([torch.zeros(1, 8, 4, 4)])
    frame = torch.tensor([10.0, 0, 40, 40])              # centres 16, 32 across; 0, 16, 32 down
    proposed = rpn.propose(anchors, 0, frame, kept=3)
    assert proposed.tolist() == [[24, 24, 40, 40], [10, 24, 24, 40], [24, 8, 40, 24]]


def test_what_lies_outside_the_photo_learns_nothing():
    said = torch.zeros(4, 4, requires_grad=True)
    rpn = Proposals(Said(said), [16], [16], 0.7)
    frame = torch.tensor([[10.0, 0, 40, 40]])
    rpn.loss(rpn([torch.zeros(1, 8, 4, 4)]), frame, [target(([24, 24, 40, 40], -1))])["objectness"].backward()
    assert (said.grad[:3, 1:3] != 0).all()
    assert said.grad[2, 2] < 0, "a garment of unknown kind is one, for proposals"
    assert said.grad[3].abs().sum() == said.grad[:, 0].abs().sum() == said.grad[:, 3].abs().sum() == 0


@pytest.mark.parametrize("frame", [[0, 0, 64, 64], [11, 0, 53, 64], [0, 20.5, 64, 41.5], [33, 33, 37, 64]])
def test_no_box_leaves_its_photo(frame):
    frame = torch.tensor([frame], dtype=torch.float32)
    found = tiny(least_score=0.0)(features(), frame).found[0]
    assert len(found.boxes) > 0
    assert (found.boxes[:, :2] >= frame[0, :2]).all()
    assert (found.boxes[:, 2:] <= frame[0, 2:]).all()
    assert (found.boxes[:, 2:] > found.boxes[:, :2]).all()


def test_a_photo_without_a_cell_of_its_own_shows_nothing_and_can_be_learnt():
    frame = torch.tensor([[33.0, 33, 35, 35]])           # no anchor is centred in it
    head = tiny()
    found = head(features(), frame).found[0]
    assert found.boxes.shape == (0, 4)
    assert found.masks.shape == (0, 28, 28)
    assert all(torch.isfinite(x) for x in losses(head, [target(([33, 33, 35, 35], 1))], frame).values())
    assert all(torch.isfinite(x) and x == 0 for x in losses(head, [target()], frame).values())


def test_photos_do_not_see_each_other():
    head = tiny(least_score=0.0)
    both = features(batch=3)
    frames = torch.tensor([[0.0, 0, 64, 64], [16, 0, 48, 64], [0, 0, 64, 64]])
    with torch.inference_mode():
        together = head(both, frames)
        for i in range(3):
            alone = head([x[i : i + 1] for x in both], frames[i : i + 1])
            for ours, theirs in zip(together.found[i][:4], alone.found[0][:4], strict=True):
                torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
            for ours, theirs in zip(together.maps, alone.maps, strict=True):
                torch.testing.assert_close(ours[i : i + 1], theirs, rtol=1e-4, atol=1e-4)


def test_the_canvas_read_first_does_not_change_the_answer_to_the_next():
    """Crops know the strides of their maps; torchvision's infer them from the first canvas, 40 pixels being 2 cells."""
    head = tiny()
    other = features(40, 40)
    first = head(other, torch.tensor([[0.0, 0, 40, 40]])).found[0]
    again = head(features(), WHOLE).found[0]
    fresh = tiny()(features(), WHOLE).found[0]
    assert torch.equal(again.masks, fresh.masks)
    assert torch.equal(first.masks, tiny()(other, torch.tensor([[0.0, 0, 40, 40]])).found[0].masks)


def test_detections_are_sure_apart_and_carry_their_attributes():
    """Three RoIs, boxes as proposed: 0 and 1 overlap by IoU 0.6, 2 stands alone."""
    head = tiny(least_score=0.2)
    rois = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 6], [30, 30, 80, 50]])
    chances = torch.tensor([[0.1, 0.3, 0.6, 0.0], [0.2, 0.05, 0.75, 0.0], [0.45, 0.25, 0.1, 0.2]])  # background first
    answer = Boxes((chances + 1e-9).log(), torch.zeros(3, 16), torch.arange(6.0).view(3, 2))
    found = head._detect(answer, rois, WHOLE[0])
    assert found.classes.tolist() == [1, 0, 0], "the less sure of two pants falls, a shirt in its place stands"
    torch.testing.assert_close(found.scores, torch.tensor([0.75, 0.3, 0.25]))                        # 0.2 is not above
    assert found.boxes.tolist() == [[0, 0, 10, 6], [0, 0, 10, 10], [30, 30, 64, 50]]
    assert found.attributes.tolist() == [[2, 3], [0, 1], [4, 5]]
    few = tiny(least_score=0.2, detections=1)._detect(answer, rois, WHOLE[0])
    assert few.scores.tolist() == found.scores[:1].tolist()


class Watched(MaskRCNN):
    """Remembers what was sampled."""

    def box_loss(self, answer, sampled, targets):
        self.sampled = sampled
        return super().box_loss(answer, sampled, targets)


def test_rois_learn_what_they_overlap_by_half():
    head = tiny(Watched)
    losses(head)
    (sampled,) = head.sampled
    overlaps = box_iou(DRAWN.boxes, sampled.boxes)
    best = overlaps.max(0)
    torch.testing.assert_close(sampled.overlaps, best.values)
    assert torch.equal(sampled.matched, best.indices)
    expected = torch.where(best.values >= 0.5, DRAWN.classes[best.indices] + 1, 0)
    assert torch.equal(sampled.classes, expected)
    assert {1, 3} <= set(sampled.classes.tolist()), "what is drawn is among the RoIs"
    assert 0 < (sampled.classes > 0).sum() <= 8, "a quarter at most"
    assert len(sampled.boxes) <= 32


def test_nothing_is_asked_of_a_garment_of_unknown_kind():
    head = tiny(Watched, sampled=400)                    # all there are
    box = [4.0, 4, 60, 60]                               # itself a RoI, and what others overlap
    losses(head, [target((box, -1))])
    (sampled,) = head.sampled
    assert (sampled.classes == 0).all()
    assert (sampled.overlaps < 0.5).all(), "it is no background either"
    known = target((box, 0), ([8, 8, 20, 20], 2))
    unknown = known._replace(classes=torch.tensor([-1, 2]))
    turned = unknown._replace(masks=torch.stack([1 - unknown.masks[0], unknown.masks[1]]))
    assert losses(head, [unknown]) == losses(head, [turned])
    assert losses(head, [unknown])["proposals"] == losses(head, [known])["proposals"] > 0
    assert losses(head, [unknown])["masks"] != losses(head, [known])["masks"]


def test_photos_with_nothing_drawn_are_background():
    head = tiny(Watched)
    found = losses(head, [target(), target()])
    assert all((x.classes == 0).all() and len(x.boxes) == 32 for x in head.sampled)
    assert found["masks"] == found["boxes"] == found["proposals"] == 0
    assert min(found["class"], found["objectness"]) > 0


@pytest.mark.parametrize("targets", [(DRAWN,), (target(),), (target(([8, 8, 40, 40], -1)),), (target(), DRAWN)])
@pytest.mark.parametrize("frame", [[0, 0, 64, 64], [33, 33, 35, 35]])
def test_losses_are_finite_and_every_parameter_has_a_gradient(targets, frame):
    head = tiny().train()
    found = losses(head, targets, torch.tensor([frame], dtype=torch.float32))
    assert list(found) == ["objectness", "proposals", "class", "boxes", "masks"]
    sum(found.values()).backward()
    for name, parameter in head.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


class OfAnyClass(TwoStage):
    """One mask for all classes, learnt within the boxes drawn, of shirts alone; with batch norms."""

    def __init__(self, channels, strides, classes, attributes, **options):
        whole = tiny(**options)
        nn.Module.__init__(self)
        super().__init__(
            channels, strides, classes, attributes, limits=whole.limits, taps=whole.taps, pyramid=whole.pyramid,
            pyramid_strides=whole.pyramid_strides, cropped=4, rpn=whole.rpn.head, box_branch=whole.box_branch,
            mask_branch=nn.Sequential(
                nn.Conv2d(8, 8, 8, 8), nn.BatchNorm2d(8), nn.ReLU(), nn.ConvTranspose2d(8, 1, 16)
            ),
            mask_side=8, least_rois=2,
        )  # fmt: skip

    def mask_rois(self, sampled, target):
        index = torch.where(target.classes == 0)[0]
        return target.boxes[index], index

    def read_masks(self, levels, rois):
        self.read = rois
        return super().read_masks(levels, rois)


def test_a_head_may_learn_masks_in_the_boxes_drawn_whatever_their_class():
    head = tiny(OfAnyClass)
    found = losses(head)
    assert [x.tolist() for x in head.read] == [DRAWN.boxes[:1].tolist()]
    bare = DRAWN._replace(masks=torch.stack([DRAWN.masks[0], torch.zeros_like(DRAWN.masks[1])]))
    assert losses(head, [bare])["masks"] == found["masks"]
    assert losses(head, [DRAWN._replace(masks=bare.masks.flip(0))])["masks"] != found["masks"]
    assert head(features(), WHOLE).found[0].masks.shape[1:] == (16, 16)


def test_batch_norms_have_enough_to_read_where_one_garment_or_none_is_learnt():
    head = tiny(OfAnyClass).train()
    for targets in ((target(),), (DRAWN,)):
        found = losses(head, targets)
        found["masks"].backward()
        assert torch.isfinite(found["masks"])
    assert torch.isfinite(head.mask_branch[1].running_mean).all()


def test_the_loss_of_masks_is_that_of_the_class_drawn():
    """Binary cross-entropy of one map of each RoI that is a garment; where masks fill the canvas, each cell is 1."""
    head = tiny(Watched)
    everywhere = DRAWN._replace(masks=torch.ones_like(DRAWN.masks))
    found = losses(head, [everywhere])
    garments = head.sampled[0].classes > 0
    rois, classes = head.sampled[0].boxes[garments], head.sampled[0].classes[garments]
    logits = head.read_masks(head.levels(features()), [rois])
    own = torch.stack([x[k] for x, k in zip(logits, classes, strict=True)])
    torch.testing.assert_close(found["masks"], -torch.nn.functional.logsigmoid(own).mean())


def test_the_same_answer_twice_and_a_finite_one_in_bfloat16():
    head = tiny()
    with torch.inference_mode():
        first, again = head(features(), WHOLE), head(features(), WHOLE)
        with torch.autocast("cpu", torch.bfloat16):
            rough = head(features(), WHOLE)
            low = losses(head)
    assert len(first.found[0].boxes) > 3
    assert all(torch.equal(x, y) for x, y in zip(first.found[0][:4], again.found[0][:4], strict=True))
    assert rough.found[0].boxes.dtype == rough.found[0].scores.dtype == rough.found[0].masks.dtype == torch.float32
    assert all(x.dtype == torch.float32 and torch.isfinite(x) for x in low.values())
    assert [x.shape[1] for x in first.maps] == head.map_channels
    assert [x.shape[2] for x in first.maps] == [16, 2]


def test_a_dry_run_costs_what_an_answer_costs_that_is_full():
    head = tiny(proposals=5, detections=3, least_score=0.0)
    counts = []
    for run in (lambda: head(features(), WHOLE), lambda: head.dry_run(features())):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            run()
        counts.append(counter.get_total_flops())
    assert counts[0] == counts[1]
    with torch.device("meta"), FlopCounterMode(display=False) as counter, torch.no_grad():
        meta = MaskRCNN(CHANNELS, STRIDES, CLASSES, [], **{**SMALL, "proposals": 5, "detections": 3})
        meta.dry_run([x.to("meta") for x in features()])
    assert counter.get_total_flops() == counts[0]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"anchor_sizes": [8, 16, 32]}, r"anchor_sizes \[8, 16, 32\] must have 5 entries"),
        ({"anchor_sizes": [8, 16, 32, 64, 0]}, r"must be 1 pixel or more each"),
        ({"roi_size": 0}, "roi_size 0 must be 1 or more"),
        ({"proposals": 0}, "proposals 0 must be 1 or more"),
        ({"proposals_in_training": 0}, "proposals_in_training 0 must"),
        ({"sampled": 3}, "sampled 3 must be 4 or more"),
        ({"detections": 101}, "detections 101 must be between 1 and 100"),
        ({"nms": 0}, "nms 0 must be above 0 and at most 1"),
        ({"proposal_nms": 1.5}, "proposal_nms 1.5 must be"),
        ({"least_score": 1.0}, "least_score 1.0 must be at least 0 and below 1"),
        ({"width": 0}, "width 0"),
    ],
)
def test_options_out_of_range_are_refused_in_a_sentence(options, complaint):
    with pytest.raises(ValueError, match="^mask_rcnn: .*" + complaint):
        MaskRCNN(CHANNELS, STRIDES, CLASSES, [], **{**SMALL, **options})


def test_a_trunk_without_the_strides_is_refused_in_a_sentence():
    with pytest.raises(ValueError, match=r"^mask_rcnn: .*has none of \[32\], only \[4, 8, 16, 16\]; take resnet50"):
        MaskRCNN(CHANNELS, [1, 4, 8, 16, 16], CLASSES, [])
