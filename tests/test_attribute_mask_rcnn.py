"""Attribute-Mask R-CNN by its counts, from plain operations, and by what it learns and says of attributes."""

import math

import pytest
import torch
from torch.nn import functional as F

from hemline.backbone import Backbone
from hemline.heads import HEADS
from hemline.heads import attribute_mask_rcnn as parts
from hemline.heads._instances import Target
from hemline.heads._two_stage import Boxes
from tests.formula import fill

NAME = "attribute_mask_rcnn"
CHANNELS, STRIDES = [3, 16, 24, 40, 112, 320], [1, 2, 4, 8, 16, 32]


def count(module):
    return sum(p.numel() for p in module.parameters())


def words(number):
    return [f"word {i}" for i in range(number)]


@pytest.mark.parametrize(("trunk", "of_trunk"), [("resnet50", 23_508_032), ("resnet101", 42_500_160)])
def test_counts(trunk, of_trunk):
    """46.4M and 65.4M in the table of tensorflow/tpu's fashionpedia project: 46 classes, 294 attributes."""
    with torch.device("meta"):
        backbone = Backbone(trunk)
        head = HEADS[NAME](backbone.channels, backbone.strides, words(46), words(294))
    assert count(backbone) == of_trunk
    assert {name: count(part) for name, part in head.named_children() if count(part)} == {
        "pyramid": 3_871_232,
        "rpn": 596_495,
        "box_branch": 15_752_721,
        "mask_branch": 2_637_359,
    }
    assert count(backbone) + count(head) == {"resnet50": 46_365_839, "resnet101": 65_357_967}[trunk]


def norm(x, state, name):
    """Batch norm by running statistics, epsilon 0.001."""
    mean, variance, weight, bias = (state[f"{name}.{n}"] for n in ("running_mean", "running_var", "weight", "bias"))
    shape = (1, -1, *[1] * (x.ndim - 2))
    return (x - mean.view(shape)) / (variance.view(shape) + 1e-3).sqrt() * weight.view(shape) + bias.view(shape)


def conv(x, state, name, **options):
    return F.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"], **options)


def four_convs(x, state, name):
    for i in (0, 3, 6, 9):
        x = norm(conv(x, state, f"{name}.{i}", padding=1), state, f"{name}.{i + 1}").relu()
    return x


def halved(x, state, name):
    """3x3, stride 2, TensorFlow's `same`: ceil(n / 2) cells, and of an odd number of zeros one more at the end."""
    pads = []
    for size in (x.shape[-1], x.shape[-2]):
        total = (math.ceil(size / 2) - 1) * 2 + 3 - size
        pads += [total // 2, total - total // 2]
    return conv(F.pad(x, pads), state, name, stride=2)


def close(ours, plain):
    torch.testing.assert_close(ours / plain.abs().max(), plain / plain.abs().max(), rtol=1e-4, atol=1e-4)


def waves(*shape):
    return torch.sin(torch.arange(math.prod(shape)) * 12.9898).view(shape) * 2


def test_pyramid_and_proposer_from_plain_operations():
    """Sides of 5 and 3 cells, then 3 and 2, then 2 and 1: odd and even ones are padded differently."""
    pyramid, proposer = fill(parts.Pyramid([6, 10, 14], 8)), fill(parts.Proposer(8))
    state = pyramid.state_dict()
    p3, p4, p5 = waves(2, 6, 20, 12), waves(2, 10, 10, 6), waves(2, 14, 5, 3)
    x5 = conv(p5, state, "inner_blocks.2.0")
    x4 = conv(p4, state, "inner_blocks.1.0") + x5.repeat_interleave(2, 2).repeat_interleave(2, 3)
    x3 = conv(p3, state, "inner_blocks.0.0") + x4.repeat_interleave(2, 2).repeat_interleave(2, 3)
    levels = [conv(x, state, f"layer_blocks.{i}.0", padding=1) for i, x in enumerate((x3, x4, x5))]
    levels.append(halved(levels[2], state, "extra_blocks.convs.0"))
    levels.append(halved(levels[3].relu(), state, "extra_blocks.convs.1"))
    levels = [norm(level, state, f"norms.{i}") for i, level in enumerate(levels)]
    with torch.no_grad():
        ours = list(pyramid({"3": p3, "4": p4, "5": p5}).values())
        objectness, codes = proposer(ours)
    assert [tuple(level.shape[2:]) for level in ours] == [(20, 12), (10, 6), (5, 3), (3, 2), (2, 1)]
    assert (objectness[0].shape[1], codes[0].shape[1]) == (3, 12)
    state = proposer.state_dict()
    for i, plain in enumerate(levels):
        close(ours[i], plain)
        hidden = norm(conv(plain, state, "conv", padding=1), state, f"norms.{i}").relu()
        close(objectness[i], conv(hidden, state, "objectness"))
        close(codes[i], conv(hidden, state, "codes"))


def test_branches_from_plain_operations():
    box_branch, mask_branch = fill(parts.BoxBranch(8, 32, 5, 9)), fill(parts.MaskBranch(8, 5))
    crops, larger = waves(3, 8, 7, 7), waves(3, 8, 14, 14)
    state = box_branch.state_dict()
    x = four_convs(crops, state, "convs").reshape(3, -1)
    x = norm(F.linear(x, state["dense.weight"], state["dense.bias"]), state, "norm").relu()
    with torch.no_grad():
        boxes, masks = box_branch(crops), mask_branch(larger)
    assert [tuple(of.shape) for of in (*boxes, masks)] == [(3, 6), (3, 24), (3, 9), (3, 6, 28, 28)]
    for ours, name in zip(boxes, ("classes", "codes", "attributes"), strict=True):
        close(ours, F.linear(x, state[f"{name}.weight"], state[f"{name}.bias"]))
    state = mask_branch.state_dict()
    x = four_convs(larger, state, "convs")
    x = F.conv_transpose2d(x, state["larger.weight"], state["larger.bias"], stride=2)
    close(masks, conv(norm(x, state, "norm").relu(), state, "classifier"))


def test_where_the_box_branch_begins():
    """At one true attribute in A: the bias is -log(A - 1), and a RoI changes little."""
    torch.manual_seed(0)
    branch = parts.BoxBranch(8, 1024, 5, 294)
    assert branch.attributes.bias.detach().unique().item() == pytest.approx(-5.6802, abs=1e-4)
    assert branch.attributes.weight.std().item() == pytest.approx(0.01, rel=0.02)
    assert branch.codes.weight.std().item() == pytest.approx(0.001, rel=0.02)


def small(num_classes=3, num_attributes=3, **options):
    """A head of few channels."""
    torch.manual_seed(0)
    return HEADS[NAME](CHANNELS, STRIDES, words(num_classes), words(num_attributes), width=8, box_hidden=16, **options)


def test_anchors():
    """Three of each cell, around its middle: 24 x 24 at stride 8, and of the same area twice as wide or high."""
    head = small()
    steps = [[torch.tensor(stride)] * 2 for stride in (8, 16, 32, 64, 128)]
    levels = head.rpn.anchors.grid_anchors([[2, 3], [1, 1], [1, 1], [1, 1], [1, 1]], steps)
    centres = (levels[0][:, :2] + levels[0][:, 2:]) / 2
    assert centres.tolist() == [[x, y] for y in (4, 12) for x in (4, 12, 20) for _ in range(3)]
    sides = levels[0][:3, 2:] - levels[0][:3, :2]
    root = 24 * 2**0.5
    torch.testing.assert_close(sides, torch.tensor([[root, root / 2], [24, 24], [root / 2, root]]))
    for i, side in enumerate((24, 48, 96, 192, 384)):
        assert (levels[i][1, 2:] - levels[i][1, :2]).tolist() == [side, side]


def test_rois_are_read_at_one_point_in_the_middle_of_each_cell():
    """On a map of squares, where more points of a cell of 16 pixels have another mean."""
    head = small()
    squares = (torch.arange(20.0) ** 2).expand(1, 8, 20, 20)
    levels = [squares, *(torch.zeros(1, 8, side, side) for side in (10, 5, 3, 2))]
    named = {str(i): level for i, level in enumerate(levels)}
    for crops, side in ((head.box_crops, 7), (head.mask_crops, 14)):
        cells = 14 / side                                # of the map, in one of the RoI
        middles = 1 + (torch.arange(side) + 0.5) * cells
        read = torch.lerp(middles.floor() ** 2, (middles.floor() + 1) ** 2, middles.frac())
        seen = crops(named, [torch.tensor([[8.0, 8, 120, 120]])], [])[0, 0]
        torch.testing.assert_close(seen, read.expand(side, side))


def test_the_largest_rois_are_read_from_the_coarsest_level():
    head = small()
    named = {str(i): torch.full((1, 8, 20, 20), float(i)) for i in range(5)}
    for side, level in ((100, 0), (224, 1), (448, 2), (896, 3), (1792, 4), (2500, 4)):
        seen = head.box_crops(named, [torch.tensor([[0.0, 0, side, side]])], [])
        assert seen.unique().tolist() == [level]


def drawn(boxes, attributes):
    boxes = torch.tensor(boxes, dtype=torch.float32).view(-1, 4)
    number = len(boxes)
    return Target(
        boxes,
        torch.zeros(number, dtype=torch.int64),
        torch.zeros(number, 64, 64, dtype=torch.uint8),
        torch.tensor(attributes, dtype=torch.int8).view(number, 3),
    )


REGIONS = torch.tensor([
    [10.0, 10, 20, 20],   # the first garment itself
    [18.0, 10, 28, 20],   # an overlap of 20 with the first: background, a ninth of the union
    [40.0, 40, 60, 60],   # nothing
    [27.0, 8, 40, 20],    # nearly the second
    [20.0, 20, 24, 30],   # touches the first in a corner
])  # fmt: skip
TWO = drawn([[10, 10, 20, 20], [28, 8, 40, 20]], [[1, 0, -1], [0, -1, 1]])
ONE = drawn([[10, 10, 20, 20]], [[1, 0, -1]])
NOBODY = drawn([], [])
UNKNOWN = NOBODY._replace(known=False)


def test_what_rois_are_taught():
    """The garments drawn are RoIs themselves, after those proposed."""
    sampled = small()._sample(REGIONS, TWO)
    assert torch.equal(sampled.boxes, torch.cat([REGIONS, TWO.boxes]))
    assert sampled.classes.tolist() == [1, 0, 0, 1, 0, 1, 1]
    asked = parts.asked_attributes(sampled, TWO)
    assert asked.tolist() == [[1, 0, -1], [1, 0, -1], [0, 0, 0], [0, -1, 1], [0, 0, 0], [1, 0, -1], [0, -1, 1]]
    assert parts.asked_attributes(small()._sample(REGIONS, NOBODY), NOBODY).tolist() == [[0, 0, 0]] * 5


def test_losses_of_the_box_branch_by_hand():
    """Attributes: background and edges of garments count, what is unknown does not. Boxes: garments alone."""
    asked = [[1, 0, -1], [1, 0, -1], [0, 0, 0], [0, -1, 1], [0, 0, 0], [1, 0, -1], [0, -1, 1], [0, 0, 0]]
    head = small()
    sampled = [head._sample(REGIONS, TWO), head._sample(REGIONS[2:3], NOBODY)]
    logits, codes = waves(8, 3), waves(8, 16)
    answer = Boxes(waves(8, 4), codes, logits)
    entries, focal = [], []
    for i, row in enumerate(asked):
        for j, truth in enumerate(row):
            if truth >= 0:
                chance = 1 / (1 + math.exp(-logits[i, j].item()))
                right = chance if truth else 1 - chance
                entries.append(-math.log(right))
                focal.append((0.25 if truth else 0.75) * (1 - right) ** 2 * -math.log(right))
    assert len(entries) == 19
    # a RoI's offsets are 10 times those of its centre, in its sides, and 5 times the logarithms of the sides' ratios
    exact, wide = [0.0] * 4, [10 * 0.5 / 13, 0.0, 5 * math.log(12 / 13), 0.0]
    asked_of = {0: exact, 3: wide, 5: exact, 6: exact}   # the others are background
    errors = [abs(codes[i, 4 + j].item() - of[j]) for i, of in asked_of.items() for j in range(4)]
    assert min(errors) < 1 < max(errors)
    huber = sum(e * e / 2 if e < 1 else e - 0.5 for e in errors) / 16
    targets = [TWO, NOBODY]
    losses = head.box_loss(answer, sampled, targets)
    assert set(losses) == {"class", "boxes", "attributes"}
    assert losses["attributes"].item() == pytest.approx(sum(entries) / 19, rel=1e-5)
    assert losses["boxes"].item() == pytest.approx(huber, rel=1e-4)
    other = small(attribute_loss="focal", attribute_weight=50).box_loss(answer, sampled, targets)
    assert other["attributes"].item() == pytest.approx(50 * sum(focal) / 19, rel=1e-5)


def test_nothing_known_of_attributes_is_no_loss():
    target = TWO._replace(attributes=torch.full((2, 3), -1, dtype=torch.int8))
    head = small()
    sampled = head._sample(torch.zeros(0, 4), target)    # the garments alone
    logits = waves(2, 3).requires_grad_()
    loss = head.box_loss(Boxes(waves(2, 4), waves(2, 16), logits), [sampled], [target])["attributes"]
    loss.backward()
    assert loss.item() == 0
    assert not logits.grad.any()


def test_attributes_go_with_their_own_boxes():
    """Two photos; doubles are dropped, the surest comes first, and one RoI may be two garments."""
    place = {"a": [0, 0, 20, 20], "b": [30, 0, 50, 30], "c": [0, 30, 25, 60]}
    rois = [
        ("a", {1: 0.6}),              # 0: dropped, for 1 is surer
        ("a", {1: 0.9}),              # 1
        ("b", {2: 0.95}),             # 2
        ("a", {2: 0.7}),              # 3: another class stays
        ("c", {1: 0.5, 3: 0.4}),      # 4: two garments
        ("c", {3: 0.8}),              # 5: the first of the second photo
        ("b", {0: 0.96, 1: 0.04}),    # 6: background
        ("a", {3: 0.97}),             # 7
    ]
    chances = torch.full((8, 4), 1e-6)
    for i, (_, of) in enumerate(rois):
        chances[i, list(of)] = torch.tensor(list(of.values()))
        chances[i, 0] += 1 - chances[i].sum()
    logits = torch.arange(8.0)[:, None] + torch.tensor([0.0, 0.25, 0.5])
    head = small().eval()
    boxes = torch.tensor([place[name] for name, _ in rois], dtype=torch.float32)
    head.rpn.propose = lambda anchors, i, *_: boxes[:5] if i == 0 else boxes[5:]
    head.box_branch = torch.nn.Flatten()
    head.box_branch.forward = lambda crops: Boxes(chances.log(), torch.zeros(8, 16), logits)
    features = [torch.zeros(2, c, 64 // s, 64 // s) for c, s in zip(CHANNELS, STRIDES, strict=True)]
    with torch.no_grad():
        answer = head(features, torch.tensor([[0, 0, 64, 64]] * 2))
    seen = [
        [(int(one.attributes[i, 0]), int(one.classes[i]) + 1) for i in range(len(one.boxes))] for one in answer.found
    ]
    assert seen == [[(2, 2), (1, 1), (3, 2), (4, 1), (4, 3)], [(7, 3), (5, 3)]]
    for one in answer.found:
        assert one.attributes.tolist() == [[i, i + 0.25, i + 0.5] for i in one.attributes[:, 0].tolist()]
        assert one.boxes.tolist() == boxes[one.attributes[:, 0].long()].tolist()


@pytest.mark.parametrize("frame", [[0, 0, 64, 64], [33, 33, 35, 35]])
@pytest.mark.parametrize("photos", [(TWO, TWO), (ONE, NOBODY), (NOBODY, NOBODY), (TWO, UNKNOWN), (UNKNOWN, UNKNOWN)])
def test_losses_are_finite_and_reach_every_parameter(photos, frame):
    """The second frame holds no anchor: what is drawn is all that is learnt, once a single RoI.

    The coarsest level is one cell, of which batch norm needs two photos, known or not.
    """
    head = small()
    features = [waves(2, c, 64 // s, 64 // s) for c, s in zip(CHANNELS, STRIDES, strict=True)]
    losses, _ = head.loss(features, torch.tensor([frame] * 2), list(photos))
    assert set(losses) == {"objectness", "proposals", "class", "boxes", "masks", "attributes"}
    assert all(loss.ndim == 0 and loss.isfinite() for loss in losses.values())
    sum(losses.values()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in head.parameters())


@pytest.mark.parametrize(
    ("strides", "options", "sentence"),
    [
        ([1, 2, 4, 8, 16, 16], {}, r"the trunk must have maps of strides \[8, 16, 32\], and has none of \[32\], .*"),
        ([1, 4, 16, 32, 64, 64], {}, r"the trunk must have maps of strides \[8, 16, 32\], and has none of \[8\], .*"),
        (STRIDES, {"attribute_loss": "dice"}, "attribute_loss dice must be bce or focal"),
        (STRIDES, {"attribute_weight": -1}, "attribute_weight -1 must be 0 or more"),
        (STRIDES, {"anchor_scale": 0}, "anchor_scale 0 must be between 0.125 and 100"),
        (STRIDES, {"width": 0}, "width 0 and box_hidden 1024 must be 1 or more"),
    ],
)
def test_what_does_not_fit_is_told(strides, options, sentence):
    with pytest.raises(ValueError, match=f"^{NAME}: {sentence}$"):
        HEADS[NAME](CHANNELS, strides, words(3), words(3), **options)


def test_without_attributes():
    """A set may have none: the answer has none, and no loss is of them."""
    head = small(num_attributes=0)
    features = [torch.randn(2, c, 64 // s, 64 // s) for c, s in zip(CHANNELS, STRIDES, strict=True)]
    target = TWO._replace(attributes=torch.zeros(2, 0, dtype=torch.int8))
    losses, maps = head.loss(features, torch.tensor([[0, 0, 64, 64]] * 2), [target, target])
    assert "attributes" not in losses
    assert [tuple(x.shape[1:]) for x in maps] == [(8, 8, 8), (8, 2, 2)]
    found = head.eval()(features, torch.tensor([[0, 0, 64, 64]] * 2)).found
    assert all(one.attributes.shape == (len(one.boxes), 0) for one in found)
