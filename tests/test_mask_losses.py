"""Losses of masks: published values, identities, unknown and shared cells, gradients, and what a recipe asks."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from hemline.config import Loss, load_config
from hemline.data.augment import place_sample
from hemline.data.sample import EITHER, collate
from hemline.data.synthetic import Synthetic
from hemline.errors import ConfigError
from hemline.labels import load_label_space
from hemline.losses import JointLoss, answers, class_scores, mask_targets, rival_areas
from hemline.mask_losses import (
    Answers,
    Areas,
    Term,
    bce,
    bootstrapped,
    cross_entropy,
    dice,
    generalised_dice,
    jaccard,
    lovasz,
    ohem,
    sigmoid_focal,
    softmax_focal,
    tversky,
)
from hemline.task_weights import AUXILIARY, weighted_sum

LOGITS = torch.tensor([[[[2.0, 0], [0, 1]], [[0, 1], [0, 3]], [[1, 0], [2, 0]]]])
TARGET = torch.tensor([[[0, 1], [2, 1]]])
WEIGHTS = torch.tensor([1.0, 2, 4])
"""The example of the values below: three classes, four cells. Class 0 is nobody where there is one."""
EVERY = Loss(cross_entropy=1, focal=1, jaccard=1, generalised_dice=1, tversky=1, lovasz=1, bootstrapped=1, ohem=1,
             auxiliary=1)  # fmt: skip
AREA_LOSSES = {
    "dice": dice,
    "jaccard": jaccard,
    "generalised_dice": generalised_dice,
    "tversky": lambda areas: tversky(areas, 0.3, 0.7),
    "lovasz": lovasz,
}
ANSWER_LOSSES = {
    "cross_entropy": cross_entropy,
    "focal": lambda told: softmax_focal(told, 2.5),
    "bootstrapped": lambda told: bootstrapped(told, 0.4),
    "ohem": lambda told: ohem(told, 0.7, 0.1),
}


def segments_of(target, num_classes):
    """Each cell a segment of its own: (B, S, h, w) shares and (B, S, K) targets, class 0 being nobody."""
    photos, cells = target.flatten(1).shape
    coverage = torch.eye(cells).view(1, cells, *target.shape[1:]).expand(photos, -1, -1, -1)
    return coverage, F.one_hot(target.flatten(1), num_classes)[:, :, 1:].to(torch.int8)


def rivals(logits, target, weights=None):
    """What the losses read of exclusive masks, where channel 0 of the logits is nobody and each cell is one class."""
    coverage, told = segments_of(target, logits.shape[1])
    margins, competing = logits[:, 1:] - logits[:, :1], range(logits.shape[1] - 1)
    nobody_last = None if weights is None else weights.roll(-1)
    return answers(margins, coverage, told, competing, nobody_last), rival_areas(margins, coverage, told, competing)


def alone(scores, truth):
    return Areas(scores, truth, torch.ones_like(scores))


def test_published_values():
    """Of torch, torchvision and segmentation_models.pytorch 0.6.0 (DiceLoss, JaccardLoss, LovaszLoss 'multiclass')."""
    told, areas = rivals(LOGITS, TARGET)
    weighed, _ = rivals(LOGITS, TARGET, WEIGHTS)
    values = {
        "cross-entropy": (cross_entropy(told).mean(), 0.342110),
        "weighted, as a recipe gives it: torch's mean": (cross_entropy(weighed).mean(), 0.312041),
        "weighted, a mean over pixels": (cross_entropy(weighed).total / 4, 0.702092),
        "focal": (softmax_focal(told, 2).mean(), 0.039943),
        "focal, sum": (softmax_focal(told, 2).total, 0.159773),
        "focal, gamma 0: not 0.616759, the sigmoid form of each channel": (softmax_focal(told, 0).mean(), 0.342110),
        "dice without squares": (tversky(areas, 0.5, 0.5).mean(), 0.297306),
        "Jaccard": (jaccard(areas).mean(), 0.454701),
        "Lovász": (lovasz(areas).mean(), 0.284558),
        "generalised dice": (generalised_dice(areas).mean(), 0.316445),
    }
    for name, (value, expected) in values.items():
        assert value.item() == pytest.approx(expected, abs=5e-6), name
    for k, expected in enumerate((0.365798, 0.214748, 0.311373)):
        one = Areas(*(part[:, k : k + 1] for part in areas))
        assert tversky(one, 0.5, 0.5).mean().item() == pytest.approx(expected, abs=2e-6)


def test_published_values_of_sigmoids():
    logits, truth = torch.tensor([0.0, 2, -1, 0.5]).view(1, 1, 2, 2), torch.tensor([1.0, 1, 0, 0]).view(1, 1, 2, 2)
    known = torch.ones(1, 1, 2, 2)
    focal = sigmoid_focal(logits, truth, known, 2, 0.25)
    assert focal.mean().item() == pytest.approx(0.085956, abs=1e-6)
    assert focal.total.item() == pytest.approx(0.343825, abs=1e-6)
    assert sigmoid_focal(logits, truth, known, 0).mean().item() == pytest.approx(0.526854, abs=1e-6)
    assert bce(logits, truth, known).mean().item() == pytest.approx(0.526854, abs=1e-6)


@settings(deadline=None, max_examples=8)
@given(st.integers(0, 2**31), st.integers(2, 5))
def test_identities(seed, classes):
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(2, classes, 3, 4, generator=generator, dtype=torch.float64)
    target = torch.randint(classes, (2, 3, 4), generator=generator)
    told, areas = rivals(logits, target)
    same = pytest.approx
    assert softmax_focal(told, 0).mean() == same(cross_entropy(told).mean())
    assert bootstrapped(told, 1).mean() == same(cross_entropy(told).mean())
    assert ohem(told, 0.5, 1).mean() == same(cross_entropy(told).mean())
    known = torch.ones_like(logits)
    assert sigmoid_focal(logits, areas.truth, known, 0).mean() == same(bce(logits, areas.truth, known).mean())
    assert tversky(areas, 1, 1) == jaccard(areas)
    guess = F.one_hot(logits.argmax(1), classes).movedim(3, 1).double()
    for b in range(2):
        for k in range(classes):
            hard = alone(guess[b : b + 1, k : k + 1], areas.truth[b : b + 1, k : k + 1])
            overlap = 1 - jaccard(hard).mean()
            if hard.truth.any():
                assert 1 - tversky(hard, 0.5, 0.5).mean() == same(2 * overlap / (1 + overlap))
                assert lovasz(hard).mean() == same(1 - overlap)
    perfect, right = rivals(60 * F.one_hot(target, classes).movedim(3, 1).double(), target)
    for loss in ANSWER_LOSSES.values():
        assert loss(perfect).mean() == same(0, abs=1e-5)
    for loss in AREA_LOSSES.values():
        assert loss(right).mean() == same(0, abs=1e-5)


def jaccard_loss_of(wrong, truth, weight):
    """1 - intersection / union where a set of cells is wrong."""
    area, missed, in_vain = ((weight * part).sum() for part in (truth, truth & wrong, ~truth & wrong))
    return 1 - (area - missed) / (area + in_vain)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**31))
def test_lovasz_is_the_extension_of_the_jaccard_loss(seed):
    """By its definition: an integral over thresholds of the loss where the errors are above them."""
    generator = torch.Generator().manual_seed(seed)
    scores, weight = torch.rand(2, 6, generator=generator, dtype=torch.float64)
    truth = torch.rand(6, generator=generator) > 0.5
    truth[0], weight[0] = True, 1
    errors, expected, below = (truth.double() - scores).abs(), 0.0, 0.0
    for threshold in sorted(errors.tolist()):
        expected += (threshold - below) * float(jaccard_loss_of(errors >= threshold, truth, weight))
        below = threshold
    areas = Areas(*(x.double().view(1, 1, 2, 3) for x in (scores, truth, weight)))
    assert lovasz(areas).mean().item() == pytest.approx(expected)


def test_cells_shared_by_classes_ask_for_their_shares():
    """Of half a coat, one half is the best answer."""
    share = torch.tensor([0.5, 0.25, 1, 0]).view(1, 1, 2, 2)
    for name, loss in AREA_LOSSES.items():
        assert loss(alone(share, share)).mean().item() == pytest.approx(0, abs=1e-6)
        for other in (share.round(), share * 0.8, (share + 0.1).clamp(max=1)):
            assert loss(alone(other, share)).mean().item() > 0.003, name


def test_dice_and_tversky_by_hand():
    """Two of four cells are coat, all scores 0.5. Squares: 1 - (2 + 1) / (1 + 2 + 1). One shared, one in vain, one
    missed: 1 - 1 / (1 + 0.3 + 0.7). A hat in no cell does not count."""
    truth = torch.tensor([[1.0, 1, 0, 0], [0, 0, 0, 0]]).view(1, 2, 2, 2)
    areas = alone(torch.full((1, 2, 2, 2), 0.5), truth)
    assert dice(areas).mean() == 0.25
    assert tversky(areas, 0.3, 0.7).mean() == pytest.approx(0.5)
    assert tversky(areas, 0.25, 0).mean() == pytest.approx(0.2)
    assert [loss(areas).known for loss in AREA_LOSSES.values()] == [1] * 5
    nothing = alone(areas.scores, torch.zeros_like(truth))
    assert [loss(nothing).mean() for loss in AREA_LOSSES.values()] == [0] * 5


def test_positives_weigh_more_in_the_cross_entropy_of_their_class():
    logits, truth = torch.zeros(1, 2, 1, 2), torch.tensor([[1.0, 0], [1, 0]]).view(1, 2, 1, 2)
    term = bce(logits, truth, torch.ones_like(truth), torch.tensor([1.0, 10]), torch.tensor([3.0, 5]))
    assert term.mean().item() == pytest.approx(math.log(2) * ((3 + 1) + 10 * (5 + 1)) / 2)


def answers_of(*photos):
    """Cells of one segment each, of these probabilities; None is unknown."""
    likely = torch.tensor([[x or 0.001 for x in photo] for photo in photos])
    known = torch.tensor([[float(x is not None) for x in photo] for photo in photos])
    return Answers(likely[:, None, None], known[:, None, None])


def test_the_hardest_cells_by_hand():
    """Two of seven known cells in the first photo, one of two in the second, which may not make up for each other."""
    told = answers_of((0.9, 0.2, 0.8, 0.1, None, 0.7, 0.95, 0.99), (0.9, 0.8, *[None] * 6))
    expected = -(math.log(0.2) + math.log(0.1) + math.log(0.8))
    assert bootstrapped(told, 2 / 7 - 1e-6) == (pytest.approx(expected, abs=1e-4), 3)
    expected -= math.log(0.7 - 1e-6)
    assert ohem(told, 0.71, 2 / 7 - 1e-6) == (pytest.approx(expected, abs=1e-4), 4)
    assert ohem(told, 0.71, 0) == (pytest.approx(expected + math.log(0.8), abs=1e-4), 3)
    assert ohem(told, 0.05, 0).mean() == 0
    alike = answers_of((0.5,) * 8)
    assert bootstrapped(alike, 0.25).known == 2, "as many as were asked for, where many are as hard"


# -- what a batch is asked -----------------------------------------------------------------------------------


class Drawn(torch.nn.Module):
    """A network that answers one set of logits, and twice half of it as auxiliary outputs."""

    def __init__(self, logits, space, *, exclusive):
        super().__init__()
        self.logits, self.space, self.exclusive = logits, space, exclusive
        self.layers = (space.competing,) if exclusive else space.layers

    def dense_train(self, pixels):
        from hemline.heads import Auxiliary, Dense

        return Dense(self.logits, []), Auxiliary([self.logits / 2, self.logits / 2])

    def label_head(self, maps, masks):
        return torch.zeros(*masks.shape[:2], self.space.num_labels)


@pytest.fixture(scope="module")
def batch():
    """Two drawn photos, whose last rows are unknown; on the first one garment is one of several, on the other what else
    there may be is not known."""
    dataset = Synthetic(None, load_label_space("outfit5"), count=2)
    drawn = collate([place_sample(dataset[i], (64, 32)) for i in range(2)])
    valid, targets = drawn.valid.clone(), drawn.targets.clone()
    valid[:, 48:] = 0
    targets[0, 1, :3] = EITHER
    targets[1, 2][targets[1, 2] == 0] = -1
    return drawn._replace(valid=valid, targets=targets)


def joint(batch, logits, *, exclusive=False, loss=EVERY):
    space = load_label_space("outfit5")
    return JointLoss(Drawn(logits, space, exclusive=exclusive), space, loss, *WEIGHED)(batch)


WEIGHED = torch.tensor([1.0, 2, 3, 4, 5, 0.5]), torch.tensor([2.0, 3, 4, 5, 6])
MODES = pytest.mark.parametrize("exclusive", [False, True])


@MODES
def test_unknown_cells_change_nothing(batch, exclusive):
    logits = torch.randn(2, 5, 16, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
    assert all(EVERY.of_masks().values())
    first = joint(batch, logits, exclusive=exclusive)
    assert all(first[name].known > 0 for name in EVERY.of_masks())
    (slope,) = torch.autograd.grad(sum(first[name].mean() for name in EVERY.of_masks()), logits)
    unseen = mask_targets(batch, (16, 8)).coverage.sum(1, keepdim=True) == 0
    assert 0.2 < unseen.float().mean() < 0.6
    assert torch.equal((slope == 0).all(1, keepdim=True), unseen)
    other = torch.where(unseen, 50 * torch.randn(2, 5, 16, 8), logits.detach())
    second = joint(batch, other, exclusive=exclusive)
    for name in EVERY.of_masks():
        torch.testing.assert_close(second[name], first[name], msg=name)


@MODES
def test_terms_of_a_batch_are_the_sums_of_its_photos(batch, exclusive):
    logits = torch.randn(2, 5, 16, 8, generator=torch.Generator().manual_seed(1))
    whole = joint(batch, logits, exclusive=exclusive)
    halves = [
        joint(batch._replace(**{name: part[i : i + 1] for name, part in batch._asdict().items()
                                if not name.startswith("one_of")}), logits[i : i + 1], exclusive=exclusive)
        for i in range(2)
    ]  # fmt: skip
    for name in EVERY.of_masks():
        total = Term(*(halves[0][name][i] + halves[1][name][i] for i in range(2)))
        torch.testing.assert_close(whole[name], total, msg=name)


def test_what_is_one_of_several_is_unknown_to_these_and_none_of_the_others():
    told = torch.tensor([[[EITHER, EITHER, 0], [0, 1, 0], [0, 0, 0], [-1, -1, -1]]], dtype=torch.int8)
    coverage = torch.tensor([[0.25, 0], [0.25, 0], [0.5, 0], [0, 1]]).view(1, 4, 1, 2)   # three segments; the fourth
    areas = rival_areas(torch.zeros(1, 3, 1, 2), coverage, told, [0, 1, 2])
    assert areas.known[0, :, 0].tolist() == [[1, 0], [0.75, 0], [0.75, 0], [1, 0]]   # nobody, then three classes
    assert areas.truth[0, :, 0, 0].tolist() == pytest.approx([0.5, 0, 1 / 3, 0])
    assert areas.scores.unique().tolist() == [0.25]


def test_scores_of_exclusive_masks():
    logits = torch.tensor([1.0, 5, -2]).view(1, 3, 1, 1)
    odds = [math.e, 0, math.exp(-2)]                                                 # the second does not compete
    expected = [odds[k] / (1 + sum(odds)) for k in (2, 0, 1)]
    photo, classes = torch.tensor([0, 0, 0]), torch.tensor([2, 0, 1])
    assert class_scores(logits, photo, classes, [0, 2]).flatten().tolist() == pytest.approx(expected)
    assert torch.equal(class_scores(logits, photo, classes)[:, 0, 0], torch.sigmoid(logits[0, [2, 0, 1], 0, 0]))


@MODES
@pytest.mark.parametrize("name", EVERY.of_masks())
def test_gradients_are_those_of_finite_differences(name, exclusive):
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(1, 3, 2, 3, generator=generator, dtype=torch.float64).requires_grad_()
    truth, known = (torch.rand(1, 3, 2, 3, generator=generator, dtype=torch.float64) for _ in range(2))
    target = torch.tensor([[[0, 1, 2], [3, 1, 1]]])

    def total(x):
        told, areas = rivals(F.pad(x, (0, 0, 0, 0, 1, 0)), target, torch.tensor([1, 2.0, 3, 4]))
        if name == "bce":
            return bce(x, truth, known, WEIGHTS, WEIGHTS + 1).total
        if name == "focal" and not exclusive:
            return sigmoid_focal(x, truth, known, 2, 0.25, WEIGHTS).total
        if name in AREA_LOSSES:
            return AREA_LOSSES[name](areas if exclusive else Areas(torch.sigmoid(x), truth, known)).total
        return ANSWER_LOSSES[name](told).total

    assert torch.autograd.gradcheck(total, (logits,))


def test_the_terms_that_were_there_keep_their_values(batch):
    """The three formulas of version 0.1.0, to the last bit."""
    logits = torch.randn(2, 5, 16, 8, generator=torch.Generator().manual_seed(2))
    targets = mask_targets(batch, (16, 8))
    space = load_label_space("outfit5")
    terms = JointLoss(Drawn(logits, space, exclusive=False), space, Loss(cross_entropy=1))(batch)
    known, true = targets.known, targets.target * targets.known
    plain = F.binary_cross_entropy_with_logits(logits, targets.target, weight=known, reduction="sum")
    assert (terms["bce"].total, terms["bce"].known) == (plain, known.amax(1).sum())
    scores, present = torch.sigmoid(logits) * known, (true.sum((2, 3)) > 0.5).float()
    size = scores.pow(2).sum((2, 3)) + true.pow(2).sum((2, 3))
    losses = 1 - (2 * (scores * true).sum((2, 3)) + 1) / (size + 1)
    assert (terms["dice"].total, terms["dice"].known) == ((losses * present).sum(), present.sum())
    told = answers(logits, targets.coverage, batch.targets, space.competing)
    assert terms["cross_entropy"].total == -(told.known * torch.log(told.likely + 1e-6)).sum()
    assert set(JointLoss(Drawn(logits, space, exclusive=False), space)(batch)) == {
        "bce", "dice", *space.label_slices,
    }  # fmt: skip


@MODES
def test_only_what_has_a_weight_is_computed_and_all_of_it_is_summed(batch, exclusive):
    logits = torch.randn(2, 5, 16, 8, generator=torch.Generator().manual_seed(4))
    for name in EVERY.of_masks():
        loss = replace(Loss(bce=0, dice=0, category=0, attributes=0, auxiliary=0.5), **{name: 2.0})
        terms = joint(batch, logits, exclusive=exclusive, loss=loss)
        asked = {name, f"{AUXILIARY}0 {name}", f"{AUXILIARY}1 {name}"}
        assert {term for term in terms if term.split()[-1] in EVERY.of_masks()} == asked
        means = {term: value.mean() for term, value in terms.items()}
        expected = 2 * (means[name] + 0.5 * 2 * means[f"{AUXILIARY}0 {name}"])
        assert weighted_sum(means, loss).item() == pytest.approx(expected.item())


def test_mixed_precision_stops_before_the_losses(batch):
    logits = torch.randn(2, 5, 16, 8, generator=torch.Generator().manual_seed(5))
    whole = joint(batch, logits)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = joint(batch, logits)
    assert all(torch.equal(whole[name].total, mixed[name].total) for name in EVERY.of_masks())


@pytest.mark.parametrize(
    ("network", "override", "key"),
    [
        ("pspnet", "loss.presence=1", "presence"),
        ("pspnet", "head.auxiliary=false", "auxiliary"),
        ("debug", "loss.auxiliary=1", "auxiliary"),
        ("debug", "loss={auxiliary: 1, presence: 1}", "auxiliary and loss.presence"),
    ],
)
def test_a_recipe_may_not_weigh_an_output_that_its_head_has_not(network, override, key):
    small = ["labels=outfit5", "canvas=[64,64]", "backbone.pretrained=false", "backbone.name=resnet18"]
    head = load_config(network, small if network == "pspnet" else []).head.name
    with pytest.raises(ConfigError, match=rf"loss\.{key}: head {head}, with these options, has no such output; set"):
        load_config(network, [*(small if network == "pspnet" else []), override])


def test_recipes_of_exclusive_masks():
    base = ["labels=outfit5", "masks=exclusive", "canvas=[32,32]"]
    config = load_config("debug", [*base, "loss={bce: 0, cross_entropy: 1, focal: 1, lovasz: 1}"])
    assert config.masks == "exclusive"
    with pytest.raises(ConfigError, match=r"loss\.focal_alpha: weighs one class beside the rest"):
        load_config("debug", [*base, "loss={bce: 0, focal: 1, focal_alpha: 0.25}"])
