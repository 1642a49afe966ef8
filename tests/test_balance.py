"""Class weights: the papers' formulas on hand-made counts, what is counted, and what the losses do with them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from hemline.config import Config, Data, Loss
from hemline.data import DATASETS, build_dataset
from hemline.data.augment import place_sample
from hemline.data.balance import (
    BETA,
    MOST_POSITIVE,
    Counts,
    class_weights,
    count_pixels,
    positive_weights,
    weights_of,
)
from hemline.data.loading import open_sources
from hemline.data.sample import EITHER, Sample, collate
from hemline.errors import ConfigError
from hemline.labels import load_label_space
from hemline.losses import JointLoss, MaskTargets, answers
from hemline.mask_losses import Areas, bce, cross_entropy, dice
from hemline.model import build
from hemline.train import train
from tests.toy import CAPE, COAT, HAIR, NUM_MASKS, SHOE, SIDE_TO_SIDE, SPACE, Toy, coat_and_shoe, picture, row

NOBODY = NUM_MASKS
COUNTS = Counts(
    pixels=np.array([100.0, 10, 0, 890]),
    known=np.array([1000.0, 1000, 1000, 1000]),
    within=np.array([500.0, 100, 0, 1000]),
    photos=np.array([5.0, 1, 0, 10]),
)
"""Three classes, the third never seen, and nobody."""


@pytest.mark.parametrize(
    ("scheme", "raw"),
    [
        ("median_frequency", [1, 2, 0.2 / 0.89]),                        # shares 0.2, 0.1, 0.89; their median is 0.2
        ("inverse", [10, 100, 1000 / 890]),
        ("effective_number", [(1 - BETA) / (1 - BETA**n) for n in (5, 1, 10)]),
    ],
)
def test_the_formulas_by_hand(scheme, raw):
    weights = class_weights(COUNTS, scheme)
    np.testing.assert_allclose(weights[[0, 1, 3]], np.array(raw) / np.mean(raw))
    assert weights[2] == 1
    assert weights[[0, 1, 3]].mean() == pytest.approx(1)


def test_positive_weights_by_hand():
    """900 that are not beside 100 that are; 990 beside 10; a class never seen; 110 beside 890. Far more is cut off."""
    np.testing.assert_allclose(positive_weights(COUNTS, "balanced"), [9, 99, 1, 110 / 890])
    np.testing.assert_allclose(positive_weights(COUNTS, "root"), [3, 99**0.5, 1, (110 / 890) ** 0.5])
    few = COUNTS._replace(pixels=np.array([1.0, 1000, 0, 890]))
    np.testing.assert_allclose(positive_weights(few, "balanced"), [MOST_POSITIVE, 1 / MOST_POSITIVE, 1, 110 / 890])


def test_effective_numbers_are_those_of_the_paper():
    """E_1 = 1, E_2 = 1 + beta, and 1 / (1 - beta) at most: counts far above it weigh alike."""
    photos = np.array([1.0, 2, 1e5, 1e7])
    weights = class_weights(COUNTS._replace(pixels=np.ones(4), photos=photos), "effective_number")
    assert weights[0] / weights[1] == pytest.approx(1 + BETA)
    assert weights[0] / weights[2] == pytest.approx(1 / (1 - BETA))
    assert weights[2] == pytest.approx(weights[3])


def test_what_is_counted():
    """32 x 32 pixels: 8 rows of nobody, 16 of coat, 8 of shoe; twice. And one photo that is half unknown."""
    half = picture(0, (COAT, slice(0, 16), SIDE_TO_SIDE))
    half.targets = np.stack([row(unknown=(COAT, SHOE)), row(COAT, unknown=(HAIR,))])
    counts = count_pixels([(coat_and_shoe(1), 2), (half, 1)], SPACE)
    assert counts.pixels[[COAT, SHOE, HAIR, NOBODY]].tolist() == [2 * 512 + 512, 2 * 256, 0, 2 * 256]
    assert counts.known[[COAT, SHOE, HAIR, NOBODY]].tolist() == [2560, 2560, 2560, 2560]
    assert counts.within[[COAT, SHOE, HAIR, NOBODY]].tolist() == [2 * 1024 + 512, 2 * 1024, 0, 2 * 1024]
    assert counts.photos[[COAT, SHOE, HAIR, NOBODY]].tolist() == [3, 2, 0, 2]


def test_who_is_nobody():
    """A hidden class is not nobody, nor known to be another; one of several is somebody, and no class for sure."""
    rows = [row(), row(CAPE), row(COAT), row(unknown=(HAIR,)), row()]
    rows[4][[COAT, SHOE]] = EITHER
    segments = np.arange(5, dtype=np.uint8)[None]
    sample = Sample(np.zeros((1, 5, 3), np.uint8), segments, np.stack(rows))
    counts = count_pixels([(sample, 1)], SPACE)
    assert (counts.pixels[NOBODY], counts.known[NOBODY]) == (1, 3)         # the bare one; coat, and coat or shoe
    assert (counts.pixels[COAT], counts.known[COAT]) == (1, 4)
    assert (counts.pixels[CAPE], counts.known[CAPE]) == (1, 5)


# -- losses --------------------------------------------------------------------------------------------------


def random_targets(generator):
    share = torch.rand(2, 3, 4, 4, generator=generator)
    return MaskTargets(share, share, torch.rand(2, 3, 4, 4, generator=generator))


def test_a_weight_scales_the_cross_entropy_of_its_class_alone():
    generator = torch.Generator().manual_seed(0)
    targets, logits = random_targets(generator), torch.randn(2, 3, 4, 4, generator=generator)

    def slopes(weights):
        x = logits.clone().requires_grad_()
        told = targets.target, targets.known
        terms = {"bce": bce(x, *told, weights), "dice": dice(Areas(torch.sigmoid(x), *told))}
        (slope,) = torch.autograd.grad(terms["bce"].total, x)
        return slope, terms

    plain, before = slopes(None)
    weighed, after = slopes(torch.tensor([1.0, 3.0, 0.5]))
    torch.testing.assert_close(weighed, plain * torch.tensor([1, 3, 0.5]).view(3, 1, 1))
    assert torch.equal(before["bce"].known, after["bce"].known)
    for part in ("total", "known"):
        assert torch.equal(getattr(before["dice"], part), getattr(after["dice"], part))
    alike, ones = slopes(torch.ones(3))
    assert torch.equal(alike, plain)
    assert torch.equal(ones["bce"].total, before["bce"].total)


def test_the_answer_is_weighed_as_torch_weighs_classes():
    """Cells that are one class each, against torch's own weighted cross-entropy; nobody is class 0 there."""
    generator = torch.Generator().manual_seed(0)
    logits, which = torch.randn(1, 3, 2, 3, generator=generator), torch.tensor([0, 1, 2, 3, 3, 0])
    coverage = F.one_hot(torch.arange(6), 6).T.reshape(1, 6, 2, 3).float()
    targets = F.one_hot(which, 4)[None, :, 1:].to(torch.int8)
    weights = torch.tensor([2.0, 0.5, 4.0, 0.1])                           # three classes, nobody last
    term = cross_entropy(answers(logits, coverage, targets, [0, 1, 2], weights))
    scores = torch.cat([torch.zeros(1, 1, 2, 3), logits], 1).flatten(2)
    expected = F.cross_entropy(scores, which[None], weight=weights[[3, 0, 1, 2]])
    assert term.mean().item() == pytest.approx(expected.item(), rel=1e-4)
    plain = cross_entropy(answers(logits, coverage, targets, [0, 1, 2]))
    ones = cross_entropy(answers(logits, coverage, targets, [0, 1, 2], torch.ones(4)))
    assert torch.equal(plain.total, ones.total)
    assert torch.equal(plain.known, ones.known)


def test_a_segment_that_may_be_several_has_their_mean_weight():
    """Coat or shoe, and, apart from it, anything at all, which stays out."""
    targets = torch.tensor([[[EITHER, EITHER, 0], [-1, -1, -1]]], dtype=torch.int8)
    coverage = torch.tensor([0.25, 0.75]).view(1, 2, 1, 1)
    weights = torch.tensor([2.0, 4.0, 50, 50])
    term = cross_entropy(answers(torch.zeros(1, 3, 1, 1), coverage, targets, [0, 1, 2], weights))
    assert term.known.item() == pytest.approx(0.25 * 3)
    assert (term.total / term.known).item() == pytest.approx(np.log(2), abs=1e-5)


# -- in a run ------------------------------------------------------------------------------------------------


def config_of(*data, scheme="inverse", **changes):
    loss = Loss(cross_entropy=1.0, class_weights=scheme)
    return Config(**{"name": "x", "epochs": 1, "data": data, "validation": 0.0, "loss": loss} | changes)


def test_datasets_count_as_often_as_they_are_drawn(monkeypatch):
    """Coats in one set, shoes, of as many pixels, in the other, which is drawn three times as often."""
    coats, shoes = ([picture(i, (k, slice(0, 16), SIDE_TO_SIDE)) for i in range(10)] for k in (COAT, SHOE))
    monkeypatch.setitem(DATASETS, "coats", lambda path, space: Toy(coats))
    monkeypatch.setitem(DATASETS, "shoes", lambda path, space: Toy(shoes))
    config = config_of(Data(name="coats"), Data(name="shoes", weight=3.0))
    weights = weights_of(open_sources(config, SPACE), config, SPACE).classes
    assert weights[COAT] == pytest.approx(3 * weights[SHOE])
    assert weights[HAIR] == 1
    assert weights[[COAT, SHOE, NOBODY]].mean() == pytest.approx(1)
    np.testing.assert_array_equal(weights, weights_of(open_sources(config, SPACE), config, SPACE).classes)
    config = config_of(Data(name="coats"), scheme="none")
    assert weights_of(open_sources(config, SPACE), config, SPACE) == (None, None)


def test_photos_are_counted_for_a_whole_epoch_from_a_part_of_it(monkeypatch):
    """Twenty photos, of which ten are looked at: a class in all of them is in twenty."""
    monkeypatch.setattr("hemline.data.balance.PHOTOS", 10)
    seen = []

    class Counted(Toy):
        def __getitem__(self, index):
            seen.append(index)
            return super().__getitem__(index)

    monkeypatch.setitem(DATASETS, "toy", lambda path, space: Counted([coat_and_shoe(i) for i in range(20)]))
    monkeypatch.setattr("hemline.data.balance.class_weights", lambda counts, scheme: counts.photos)
    config = config_of(Data(name="toy"))
    photos = weights_of(open_sources(config, SPACE), config, SPACE).classes
    assert len(seen) == 10
    assert photos[[COAT, SHOE, HAIR, NOBODY]].tolist() == [20, 20, 0, 20]


def test_where_nothing_is_drawn_no_class_can_be_weighed(monkeypatch):
    bare = picture(0)
    bare.targets[:] = -1
    monkeypatch.setitem(DATASETS, "toy", lambda path, space: Toy([bare] * 3))
    config = config_of(Data(name="toy"))
    with pytest.raises(ConfigError, match=r"loss\.class_weights: no class is drawn in 3 photos, so none can"):
        weights_of(open_sources(config, SPACE), config, SPACE)


def test_the_joint_loss_weighs_masks_alone(tiny_config):
    config = replace(tiny_config, data=(Data(name="synthetic", options={"count": 2, "canvas": [64, 64]}),))
    space = load_label_space("outfit5")
    network = build(config, space, trunk_weights=False).eval()
    asked = Loss(cross_entropy=1, focal=1, jaccard=1, lovasz=1, bootstrapped=1, ohem=1)
    dataset = build_dataset(config.data[0], space)
    batch = collate([place_sample(dataset[i], (64, 64)) for i in range(2)])
    with torch.no_grad():
        plain, ones, weighed = (
            {name: term.mean().item() for name, term in JointLoss(network, space, asked, weights)(batch).items()}
            for weights in (None, torch.ones(6), torch.tensor([1, 2, 3, 4, 5, 0.5]))
        )
    assert plain == ones
    assert {name for name in plain if plain[name] != weighed[name]} == {
        "bce", "cross_entropy", "focal", "bootstrapped", "ohem"
    }  # fmt: skip


def test_a_run_says_the_weights_that_it_trains_by(tiny_config, tmp_path, monkeypatch):
    given, told = [], []

    class Noted(JointLoss):
        def __init__(self, network, space, loss, class_weights, positive_weights, teachers):
            given.extend([class_weights, positive_weights])
            super().__init__(network, space, loss, class_weights, positive_weights, teachers)

    class Watch:
        begin = step = epoch = end = lambda *_: None

        def weighed(self, kind, weights):
            told.append((kind, weights))

    monkeypatch.setattr("hemline.begin.JointLoss", Noted)
    data = (Data(name="synthetic", options={"count": 4, "canvas": [64, 64]}),)
    loss = Loss(class_weights="median_frequency", positive_weights="root")
    config = replace(tiny_config, labels="outfit5", data=data, validation=0.0, out=str(tmp_path), loss=loss)
    train(config, watcher=Watch())
    (kind, classes), (other, positives) = told
    assert (kind, other) == ("class weights", "positive weights")
    assert list(positives) == ["upper body", "lower body", "whole body", "feet", "accessories"]
    assert list(classes) == [*positives, "nobody"]
    assert given[0].tolist() == pytest.approx(list(classes.values()))
    assert given[1].tolist() == pytest.approx(list(positives.values()))
    assert given[0][-1] < given[0][:-1].min(), "background is what there is most of"
    assert min(positives.values()) > 1, "there is less of every class than of the rest"
