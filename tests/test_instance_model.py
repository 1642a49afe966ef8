"""The network around an instance head: frames, masks laid on maps, labels, targets and losses, answers."""

import numpy as np
import pytest
import torch

from hemline.config import Loss
from hemline.data.augment import place_sample
from hemline.data.sample import EITHER, PREDICTED, WHOLE_PHOTO, Region, Sample, collate
from hemline.data.synthetic import Synthetic
from hemline.found import of_detections
from hemline.heads import Detections, InstanceHead
from hemline.heads._two_stage import TwoStage
from hemline.instance_losses import InstanceLoss, boxes_of, targets_of
from hemline.instance_model import FAR, InstanceNetwork, frames_of, lay
from hemline.labels import load_label_space
from hemline.photo import Canvas, Frame, place
from hemline.result import read_detections
from hemline.runtime import Detections as Arrays
from hemline.task_weights import INSTANCES
from tests.seeing import Reading, Seeing, maps_of, seeing
from tests.toy import CAPE, COAT, NUM_LABELS, SHOE, SPACE, STRIPE, WINTER, metadata, picture, said

TOP, BOTTOM = slice(0, 16), slice(24, 32)
ALL = slice(0, 32)


def test_frames_are_where_the_photo_is() -> None:
    valid = torch.zeros(3, 6, 8, dtype=torch.uint8)
    valid[0, 1:4, 2:8] = valid[1] = valid[2, 5:, :1] = 1
    assert frames_of(valid).tolist() == [[2, 1, 8, 4], [0, 0, 8, 6], [0, 5, 1, 6]]
    assert boxes_of(torch.zeros(0, 6, 8, dtype=torch.bool)).shape == (0, 4)


def test_masks_are_laid_by_the_share_of_each_cell() -> None:
    """A box of 4 x 8 pixels whose right half is the garment, on cells of 4 x 4; a box of a quarter of a cell."""
    masks = torch.zeros(2, 28, 28)
    masks[0, :, 14:] = masks[1] = 1
    found = Detections(torch.tensor([[4.0, 4, 12, 8], [14, 2, 16, 4]]), torch.zeros(2).long(), torch.ones(2), masks)
    shares = lay(found, torch.Size((12, 16)), torch.Size((3, 4)))
    want = torch.zeros(2, 3, 4)
    want[0, 1, 2], want[1, 0, 3] = 1, 0.25
    assert torch.equal(shares, want)
    nothing = Detections(torch.zeros(0, 4), torch.zeros(0).long(), torch.zeros(0), torch.zeros(0, 28, 28))
    assert lay(nothing, torch.Size((12, 16)), torch.Size((3, 4))).shape == (0, 3, 4)


def test_laying_many_is_laying_each() -> None:
    generator = torch.Generator().manual_seed(0)
    corner = torch.rand(40, 2, generator=generator) * 20
    boxes = torch.cat([corner, corner + 1 + torch.rand(40, 2, generator=generator) * 12], dim=1)
    found = Detections(boxes, torch.zeros(40).long(), torch.ones(40), torch.rand(40, 7, 7, generator=generator))
    together = lay(found, torch.Size((32, 32)), torch.Size((8, 8)))
    for i in range(40):
        one = Detections(*(x[i : i + 1] for x in found[:4]))
        assert torch.equal(lay(one, torch.Size((32, 32)), torch.Size((8, 8)))[0], together[i])


def answer(sample: Sample, head: type[InstanceHead] = Seeing) -> tuple[InstanceNetwork, Canvas, Arrays]:
    network = seeing(SPACE, head)
    placed = place(sample.photo, (32, 32))
    return network, placed, network.find(placed.pixels[None], placed.valid[None])[0]


def test_labels_of_an_instance_are_pooled_under_its_own_mask() -> None:
    network, placed, found = answer(picture(0, (COAT, TOP, ALL), (SHOE, BOTTOM, ALL)))
    assert found.labels.shape == (3, NUM_LABELS)
    assert found.classes.tolist() == [COAT, SHOE]
    maps = maps_of(network.backbone(torch.from_numpy(placed.pixels[None])), torch.ones(()))
    for i, rows in enumerate((ALL, TOP, BOTTOM)):
        mask = torch.zeros(1, 1, 32, 32)
        mask[0, 0, rows] = 1
        with torch.inference_mode():
            want = network.label_head(maps, mask)[0, 0]
        np.testing.assert_allclose(found.labels[i], want.numpy(), atol=1e-5)


def test_a_head_that_reads_attributes_is_believed() -> None:
    _, _, found = answer(picture(0, (COAT, TOP, ALL), (SHOE, BOTTOM, ALL)), Reading)
    assert found.labels.shape == (3, NUM_LABELS)
    assert found.labels[1].tolist() == [FAR, -FAR, -FAR, 0, 1, 2]
    assert found.labels[2].tolist() == [-FAR, FAR, -FAR, 10, 11, 12]
    _, _, nothing = answer(picture(0), Reading)
    assert nothing.labels.shape == (1, NUM_LABELS)
    assert len(nothing.boxes) == 0


def test_an_answer_is_the_same_beside_another() -> None:
    one, other = (place(picture(i, (k, TOP, ALL)).photo, (32, 32)) for i, k in enumerate((COAT, SHOE)))
    network = seeing(SPACE)
    alone = network.find(one.pixels[None], one.valid[None])[0]
    beside = network.find(np.stack([other.pixels, one.pixels]), np.stack([other.valid, one.valid]))[1]
    for field in Arrays._fields:
        np.testing.assert_allclose(getattr(alone, field), getattr(beside, field), atol=1e-5)


def tagged(labels) -> Sample:
    """A photo of which nothing is drawn."""
    photo, nowhere = np.zeros((32, 32, 3), np.uint8), np.zeros((32, 32), np.uint8)
    return Sample(photo, nowhere, np.full((1, 4), -1, np.int8), [Region(WHOLE_PHOTO, labels)])


def batch_of(*samples: Sample):
    return collate([place_sample(sample, (32, 32)) for sample in samples])


def test_targets_are_the_garments_drawn() -> None:
    drawn = picture(0, (COAT, TOP, slice(4, 20)), (SHOE, BOTTOM, slice(0, 8)), (SHOE, BOTTOM, slice(20, 32)))
    drawn.regions = [
        Region(WHOLE_PHOTO, said(coat=1, shoe=1)),
        Region((1,), said(coat=1, stripe=1, dot=0)),
        Region((2,), said(shoe=1)),
        Region((2, 3), said()),                          # of unknown kind
    ]
    tags = tagged(said())
    bare = picture(1)
    first, second, third = targets_of(batch_of(drawn, tags, bare), SPACE)
    assert not second.known, "nobody knows what is on a photo with tags alone"
    assert first.known
    assert third.known, "a photo that is known to be bare has no garment"
    for bare_one in (second, third):
        assert [len(x) for x in bare_one[:4]] == [0] * 4
        assert bare_one.boxes.shape == (0, 4)
    assert first.boxes.tolist() == [[4, 0, 20, 16], [0, 24, 8, 32], [0, 24, 32, 32]]
    assert first.classes.tolist() == [COAT, SHOE, -1]
    assert first.masks.sum((1, 2)).tolist() == [256, 64, 160]
    assert first.attributes.tolist() == [[1, 0, -1], [-1] * 3, [-1] * 3]


def test_a_garment_that_may_be_one_of_several_is_of_unknown_kind_and_drawn() -> None:
    sample = picture(0, (COAT, TOP, ALL))
    sample.targets[1, [COAT, CAPE]] = EITHER
    sample.regions = [Region((1,), said())]
    (target,) = targets_of(batch_of(sample), SPACE)
    assert target.classes.tolist() == [-1]


def test_what_is_doubtful_is_no_second_garment() -> None:
    sample = picture(0, (COAT, TOP, ALL))
    sample.regions = [Region((1,), said(coat=1)), Region((1,), said(stripe=1), doubt=0.2)]
    (target,) = targets_of(batch_of(sample), SPACE)
    assert (target.classes.tolist(), target.attributes.tolist()) == ([COAT], [[-1, -1, -1]])


def terms_of(network, *samples: Sample):
    return InstanceLoss(network, SPACE, Loss(bce=0, dice=0))(batch_of(*samples))


def test_losses_are_of_what_is_known() -> None:
    drawn = picture(0, (COAT, TOP, ALL))
    drawn.regions = [Region((1,), said(coat=1, stripe=1, dot=0))]
    tags = tagged(said(shoe=1))
    network = seeing(SPACE)
    terms = terms_of(network, drawn, tags)
    count = terms[INSTANCES + "count"]
    assert (count.total.item(), count.known.item()) == (1, 1)
    assert terms["category"].known == 2, "the coat of one photo, the shoe of the other"
    assert terms["pattern"].known == 2
    alone = terms_of(network, tags)
    assert alone[INSTANCES + "count"].known == 0
    assert set(alone) == set(terms), "every term is always there"
    (alone[INSTANCES + "count"].total + alone["category"].total).backward()
    assert network.head.weight.grad is not None


def test_labels_of_what_the_network_finds_are_left_out() -> None:
    """Stanford's speak of the upper-body garment, wherever the network finds it."""
    sample = picture(0)
    classes = np.array([True, False, False, False])
    sample.regions = [Region(PREDICTED, said(stripe=1), (np.arange(NUM_LABELS) == STRIPE,), classes)]
    terms = terms_of(seeing(SPACE), sample)
    assert all(terms[name].known == 0 for name in ("category", "pattern", "season"))


def test_a_head_that_reads_attributes_leaves_the_label_head_the_photo() -> None:
    drawn = picture(0, (COAT, TOP, ALL))
    drawn.regions = [Region(WHOLE_PHOTO, said(coat=1, shoe=0, winter=1)), Region((1,), said(coat=1, stripe=1, dot=0))]
    terms = terms_of(seeing(SPACE, Reading), drawn)
    assert [terms[name].known.item() for name in ("category", "pattern", "season")] == [2, 0, 1]


# -- to a result ---------------------------------------------------------------------------------------------


def test_the_answer_is_a_garment_an_instance_and_masks_may_overlap() -> None:
    """A photo of 64 x 128 on a canvas of 32: half as large, with padding above and below."""
    frame = Frame(8, 0, 16, 32, 64, 128)
    labels = np.full((4, NUM_LABELS), -4, np.float32)
    labels[1, STRIPE], labels[3, STRIPE], labels[2, WINTER] = 4, 4, 4
    masks = np.ones((3, 28, 28), np.float32)
    masks[2, :, 14:] = 0                                 # its right half is not the garment
    boxes = np.array([[0, 8, 16, 16], [8, 8, 24, 24], [2, 16, 10, 20]], np.float32)
    found = Arrays(boxes, np.array([COAT, SHOE, COAT]), np.array([0.9, 0.8, 0.7], np.float32), masks, labels)
    photo = np.zeros((64, 128, 3), np.uint8)
    result = read_detections(found, frame, metadata(finds="instances"), photo, name="p")
    assert [(g.category, g.box, round(g.score, 3)) for g in result.garments] == [
        ("shoe", (32, 0, 64, 64), 0.8), ("coat", (0, 0, 64, 32), 0.9), ("coat", (8, 32, 16, 16), 0.7),
    ]  # fmt: skip
    shoe, coat, other = result.garments
    assert shoe.mask is not None
    assert coat.mask is not None
    assert (shoe.mask & coat.mask).sum() == 32 * 32
    assert [x.label for x in coat.attributes] == [x.label for x in other.attributes] == ["stripe"]
    assert [x.label for x in shoe.attributes] == ["winter"]
    strict = read_detections(
        found, frame, metadata(instance_scores=(0.75, 0.0, 0.0), instance_areas=(0.0, 0.6, 0.0)), photo, name="p"
    )
    assert [(g.category, round(g.score, 1)) for g in strict.garments] == [("coat", 0.9)]
    less = found._replace(scores=found.scores / 1.7)
    unsure = read_detections(less, frame, metadata(finds="instances"), photo, name="p")
    assert [round(g.score, 2) for g in unsure.garments] == [0.53], "where nothing was chosen, more likely than not"


@pytest.mark.parametrize("box", [[-4, -4, 0, 0], [5, 5, 5, 9], [40, 8, 60, 20], [3, 3, 3.01, 3.01]])
def test_a_box_without_a_pixel_of_the_photo_is_nothing(box: list[float]) -> None:
    found = Arrays(
        np.array([box], np.float32), np.zeros(1, np.int64), np.ones(1, np.float32), np.ones((1, 28, 28), np.float32),
        np.zeros((2, NUM_LABELS), np.float32),
    )  # fmt: skip
    for one in of_detections(found, Frame(0, 0, 32, 32, 16, 16)):
        assert one.crop.any()
        assert one.mask((16, 16)).sum() == one.crop.sum() <= 1


def test_a_mask_is_read_at_the_middle_of_each_pixel() -> None:
    """A grid of 2 x 2 in a box of 4 x 4 pixels: the upper left cell alone is sure, so its quarter passes one half."""
    cells = np.array([[[1, 0], [0, 0]]], np.float32)
    found = Arrays(
        np.array([[4, 4, 8, 8]], np.float32), np.zeros(1, np.int64), np.ones(1, np.float32), cells,
        np.zeros((2, NUM_LABELS), np.float32),
    )  # fmt: skip
    (one,) = of_detections(found, Frame(0, 0, 16, 16, 16, 16))
    assert one.box == (4, 4, 2, 2)
    assert one.crop.tolist() == [[True, True], [True, True]]


def test_what_masks_are_taught_lies_where_it_was_drawn() -> None:
    """Targets in true boxes, laid back on the photo: small garments, too, are where they were, not half a pixel off."""
    space = load_label_space("outfit5")
    dataset = Synthetic(None, space, count=12, canvas=(192, 128))
    ious = []
    for i in range(len(dataset)):
        sample = place_sample(dataset[i], (192, 128))
        (target,) = targets_of(collate([sample]), space)
        assert target is not None
        count = len(target.boxes)
        cells = TwoStage.mask_targets(None, target.masks, target.boxes, torch.arange(count), 28)  # type: ignore[arg-type]
        found = Arrays(
            target.boxes.numpy(), target.classes.numpy(), np.linspace(1, 0.5, count, dtype=np.float32), cells.numpy(),
            np.zeros((1 + count, space.num_labels), np.float32),
        )  # fmt: skip
        for one, mask in zip(of_detections(found, Frame(0, 0, 192, 128, 192, 128)), target.masks.numpy(), strict=True):
            said = one.mask((192, 128))
            ious.append((said & (mask > 0)).sum() / (said | (mask > 0)).sum())
    assert len(ious) > 40
    assert np.mean(ious) > 0.95
    assert np.median(ious) > 0.97
