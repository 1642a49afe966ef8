"""Losses: hand-made cases, and the rule that unknown is never a negative."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hemline.config import Loss
from hemline.data.sample import EITHER, PREDICTED, WHOLE_PHOTO, Batch
from hemline.labels import LabelSpace
from hemline.losses import (
    JointLoss,
    MaskTargets,
    answers,
    choice_terms,
    label_terms,
    mask_targets,
    presence_term,
    region_masks,
    segment_shares,
)
from hemline.mask_losses import Areas, Term, bce, cross_entropy, dice
from hemline.task_weights import CHOICE

SPACE = LabelSpace.from_dict(
    {
        "name": "two",
        "version": 1,
        "categories": [
            {"id": 5, "name": "coat", "supercategory": "x", "outfit_part": "whole body"},
            {"id": 9, "name": "hat", "supercategory": "x", "outfit_part": "accessories"},
        ],
        "groups": [
            {"name": "pattern", "choice": "one", "labels": [{"id": 1, "name": "plain"}, {"id": 2, "name": "dot"}]},
        ],
    }
)


def batch_of(segments, targets, *, valid=None, regions=((WHOLE_PHOTO, (-1, -1, -1, -1)),), one_of=(), classes=None):
    """A batch of one photo; regions are (segments, labels), maybe with a doubt, one_of are (region, set of labels)."""
    segments = torch.tensor(segments, dtype=torch.uint8)[None]
    num = len(regions)
    return Batch(
        pixels=torch.zeros(1, *segments.shape[1:], 3, dtype=torch.uint8),
        valid=torch.ones_like(segments) if valid is None else torch.tensor(valid, dtype=torch.uint8)[None],
        segments=segments,
        targets=torch.tensor(targets, dtype=torch.int8)[None],
        region_segments=torch.tensor([[[s in r[0] for s in range(len(targets))] for r in regions]]),
        region_classes=torch.zeros(1, num, 2, dtype=torch.bool) if classes is None else torch.tensor([classes]),
        labels=torch.tensor([[r[1] for r in regions]], dtype=torch.int8),
        doubt=torch.tensor([[r[2] if len(r) > 2 else 0.0 for r in regions]]),
        one_of=torch.tensor([[i in s for i in range(4)] for _, s in one_of]).reshape(-1, 4),
        one_of_region=torch.tensor([(0, r) for r, _ in one_of], dtype=torch.int64).reshape(-1, 2),
    )


def mask_terms(logits, targets):
    """What a recipe of `bce` and `dice` asks for."""
    told = targets.target, targets.known
    return {"bce": bce(logits, *told), "dice": dice(Areas(torch.sigmoid(logits), *told))}


def test_targets_are_averaged_over_cells():
    segments = [[0, 1, 1, 1], [0, 0, 1, 1], [2, 2, 0, 0], [2, 2, 0, 0]]
    batch = batch_of(segments, [[0, 0], [1, 0], [-1, 1]])
    targets = mask_targets(batch, (2, 2))
    assert targets.target[0, 0].tolist() == [[0.25, 1.0], [0.0, 0.0]]  # a quarter of the first cell is coat
    assert targets.known[0, 0].tolist() == [[1.0, 1.0], [0.0, 1.0]]    # segment 2 says nothing of coats
    assert targets.target[0, 1].tolist() == [[0.0, 0.0], [1.0, 0.0]]
    assert targets.known[0, 1].tolist() == [[1.0, 1.0], [1.0, 1.0]]


def test_padding_is_unknown():
    batch = batch_of([[1, 1], [1, 1]], [[0, 0], [1, 0]], valid=[[1, 0], [1, 0]])
    targets = mask_targets(batch, (1, 1))
    assert targets.known[0, :, 0, 0].tolist() == [0.5, 0.5]
    assert targets.target[0, :, 0, 0].tolist() == [1.0, 0.0]


def test_unknown_pixels_change_nothing():
    """Cells about which nothing is known may hold any logit: no loss, no gradient."""
    batch = batch_of([[0, 1], [0, 1]], [[0, 0], [-1, -1]])
    targets = mask_targets(batch, (2, 2))
    logits = torch.randn(1, 2, 2, 2, requires_grad=True)
    first = mask_terms(logits, targets)
    sum(term.total for term in first.values()).backward()
    assert torch.equal(logits.grad[..., 1], torch.zeros(1, 2, 2))
    other = logits.detach().clone()
    other[..., 1] = 100 * torch.randn(1, 2, 2)
    for name, term in mask_terms(other, targets).items():
        assert torch.equal(term.mean(), first[name].mean().detach())


def test_bce_by_hand():
    """One cell, coat true with logit 0, hat false with logit 2: ln 2 + ln(1 + e^2), over one cell."""
    targets = MaskTargets(torch.ones(1, 1, 1, 1), torch.tensor([1.0, 0.0]).view(1, 2, 1, 1), torch.ones(1, 2, 1, 1))
    terms = mask_terms(torch.tensor([0.0, 2.0]).view(1, 2, 1, 1), targets)
    assert terms["bce"].mean().item() == pytest.approx(math.log(2) + math.log(1 + math.e**2), rel=1e-5)


def test_dice_by_hand():
    """Four cells, coat in two of them, all scores 0.5: 1 - (2 * 1 + 1) / (4 * 0.25 + 2 + 1) = 0.25; hat is absent."""
    target = torch.tensor([[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]]).view(1, 2, 2, 2)
    terms = mask_terms(torch.zeros(1, 2, 2, 2), MaskTargets(target, target, torch.ones(1, 2, 2, 2)))
    assert terms["dice"].known.item() == 1
    assert terms["dice"].mean().item() == pytest.approx(1 - 3 / 4)


@settings(deadline=None)
@given(st.lists(st.floats(0.01, 0.99), min_size=4, max_size=4))
def test_the_right_answer_is_the_cheapest(shares):
    """Whatever share of each cell is coat, that very share has the lowest cross-entropy, and dice near 0."""
    share = torch.tensor(shares).view(1, 1, 2, 2)
    targets = MaskTargets(share, share, torch.ones_like(share))
    right = torch.logit(share.clamp(1e-4, 1 - 1e-4))
    for wrong in (right + 1, right - 1):
        assert mask_terms(right, targets)["bce"].mean() < mask_terms(wrong, targets)["bce"].mean()
    assert mask_terms(right, targets)["dice"].mean().item() < 1e-3


@pytest.mark.parametrize(
    ("targets", "allowed"),
    [
        ([1, 0, 0], [1]),        # coat
        ([0, 0, 0], [0]),        # nobody
        ([-1, -1, 0], None),     # coat or hat or nobody
        ([1, -1, 0], [1]),       # coat, whatever else it may be
        ([0, -1, 0], [0, 2]),    # not a coat
        ([0, 0, 1], None),       # a belt: hidden, so no answer is wrong
        ([-1, -1, -1], None),    # unknown
    ],
)
def test_the_answer_of_a_cell_by_hand(targets, allowed):
    """Nobody, coat and hat answer, belt is hidden; a cell that is one segment, at logits 0 (nobody), 1 and -2."""
    logits = torch.tensor([1.0, -2.0, 5.0]).view(1, 3, 1, 1)
    term = cross_entropy(answers(logits, torch.ones(1, 1, 1, 1), torch.tensor([[targets]], dtype=torch.int8), [0, 1]))
    odds = [1.0, math.e, math.exp(-2)]
    expected = 0.0 if allowed is None else -math.log(sum(odds[i] for i in allowed) / sum(odds))
    assert term.mean().item() == pytest.approx(expected, abs=1e-5)
    assert term.known.item() == (allowed is not None)


def test_a_shared_cell_asks_for_both_answers():
    """Three quarters coat, a quarter nobody, on half a cell: cross-entropy against the shares, over half a cell."""
    coverage = torch.tensor([0.125, 0.375]).view(1, 2, 1, 1)
    targets = torch.tensor([[[0, 0], [1, 0]]], dtype=torch.int8)
    term = cross_entropy(answers(torch.tensor([2.0, 0.0]).view(1, 2, 1, 1), coverage, targets, [0, 1]))
    whole = math.log(1 + math.exp(2) + 1)
    assert term.known.item() == pytest.approx(0.5)
    assert term.total.item() == pytest.approx(0.125 * whole + 0.375 * (whole - 2), abs=1e-5)


def test_regions_pool_where_their_labels_speak():
    batch = batch_of(
        [[0, 1], [2, 2]],
        [[0, 0], [1, 0], [0, 1]],
        valid=[[1, 1], [1, 0]],
        regions=((WHOLE_PHOTO, (-1,) * 4), ((1,), (-1,) * 4), ((2,), (-1,) * 4), (PREDICTED, (-1,) * 4)),
        classes=[[False, False]] * 3 + [[True, True]],
    )
    logits = torch.logit(torch.tensor([[[0.2, 0.9], [0.1, 0.5]], [[0.3, 0.4], [0.6, 0.9]]]))[None]
    masks = region_masks(logits, batch, mask_targets(batch, (2, 2)))
    assert masks[0, 0].tolist() == [[1, 1], [1, 0]]
    assert masks[0, 1].tolist() == [[0, 1], [0, 0]]
    assert masks[0, 2].tolist() == [[0, 0], [1, 0]]                    # the padded pixel of segment 2 is left out
    assert masks[0, 3].flatten().tolist() == pytest.approx([0.3, 0.9, 0.6, 0.0])


def test_label_terms_by_hand():
    """Known: coat yes at logit 0, hat no at logit 1; pattern: only "plain or dot" at logits 0 and 0."""
    batch = batch_of([[0]], [[0, 0]], regions=((WHOLE_PHOTO, (1, 0, -1, -1)),), one_of=[(0, {2, 3})])
    terms = label_terms(torch.tensor([[[0.0, 1.0, 0.0, 0.0]]]), batch, SPACE)
    assert terms["category"].mean().item() == pytest.approx((math.log(2) + math.log(1 + math.e)) / 2)
    assert terms["pattern"].mean().item() == pytest.approx(-math.log(1 - 0.5 * 0.5))  # neither has probability 1/4


def test_overlapping_garments_stay_whole():
    """A hat lies on a coat: segment 2 is both, and belongs to the regions of both."""
    batch = batch_of(
        [[1, 2], [1, 3]],
        [[0, 0], [1, 0], [1, 1], [0, 1]],
        regions=(((1, 2), (-1,) * 4), ((2, 3), (-1,) * 4)),
    )
    targets = mask_targets(batch, (2, 2))
    assert targets.target[0].tolist() == [[[1, 1], [1, 0]], [[0, 1], [0, 1]]]
    masks = region_masks(torch.zeros(1, 2, 2, 2), batch, targets)
    assert masks[0].tolist() == [[[1, 1], [1, 0]], [[0, 1], [0, 1]]]


def test_cells_count_their_pixels_segment_by_segment():
    """Against a plain loop, with padding, cells that are not square, and more segments than a byte holds."""
    rng = np.random.default_rng(0)
    segments, valid = rng.integers(0, 300, (2, 8, 12)), rng.integers(0, 2, (2, 8, 12))
    batch = batch_of(segments[0] * 0, [[0, 0]] * 300)._replace(
        segments=torch.from_numpy(segments.astype(np.int32)), valid=torch.from_numpy(valid.astype(np.uint8))
    )
    shares = segment_shares(batch, (4, 3))
    for b, s, y, x in rng.integers(0, (2, 300, 4, 3), (500, 4)):
        cell = np.s_[b, 2 * y : 2 * y + 2, 4 * x : 4 * x + 4]
        assert shares[b, s, y, x] == ((segments[cell] == s) & (valid[cell] > 0)).mean()
    assert shares.sum() * 8 == valid.sum()


def test_of_one_choice_the_true_value_is_to_be_the_largest():
    """Only regions with one true value, none of them in doubt, and only values of which something is known."""
    logits = torch.tensor([[[9.0, 9.0, 1.0, 3.0], [9.0, 9.0, 1.0, 3.0], [9.0, 9.0, 1.0, 3.0], [9.0, 9.0, 1.0, 3.0]]])
    regions = [
        (WHOLE_PHOTO, (1, 0, 1, 0)), (WHOLE_PHOTO, (-1, -1, 0, 0)), (WHOLE_PHOTO, (-1, -1, 1, -1)),
        (WHOLE_PHOTO, (-1, -1, 0, 1), 0.1),
    ]  # fmt: skip
    terms = choice_terms(logits, batch_of([[0]], [[0, 0]], regions=regions), SPACE)
    assert set(terms) == {CHOICE + "pattern"}
    assert terms[CHOICE + "pattern"].known == 1
    assert terms[CHOICE + "pattern"].mean().item() == pytest.approx(math.log(1 + math.exp(2)))


def test_the_presence_of_nobody_is_what_its_pixels_are_taught():
    """Coat and hat answer, a belt is hidden. Nobody is on a photo for sure where a cell is neither and no belt."""
    rows = {
        (0, 0, 0): 1, (1, 0, 0): 0, (EITHER, EITHER, 0): 0,     # bare; coat; coat or hat, so somebody
        (0, 0, 1): None, (-1, 0, 0): None,                      # a belt, whose pixels no answer tells; coat or nobody
    }  # fmt: skip
    for row, answer in rows.items():
        targets = MaskTargets(torch.ones(1, 1, 1, 1), torch.empty(0), torch.empty(0))
        logits = torch.tensor([[0.0, 0, 0, 3]])
        told = torch.tensor([[row]], dtype=torch.int8)
        term = presence_term([logits], targets, told, [0, 1])
        others = presence_term([logits[:, :3]], targets, told, [0, 1])
        cost = {None: 0, 1: math.log(1 + math.exp(-3)), 0: math.log(1 + math.exp(3))}[answer]
        assert (term.total - others.total).item() == pytest.approx(cost, abs=1e-5), row
        assert (term.known - others.known).item() == (answer is not None), row


def test_doubtful_labels_are_smoothed():
    """At logit 2 a yes costs log(1 + e^-2), a no 2 more; with a doubt of 0.1 a tenth of the other is asked for."""
    regions = ((WHOLE_PHOTO, (1, 0, -1, -1), 0.1), (WHOLE_PHOTO, (1, -1, -1, -1)))
    terms = label_terms(torch.full((1, 2, 4), 2.0), batch_of([[0]], [[0, 0]], regions=regions), SPACE)
    yes = math.log(1 + math.exp(-2))
    assert terms["category"].total.item() == pytest.approx(yes + 0.1 * 2 + yes + 0.9 * 2 + yes)
    assert terms["category"].known.item() == 3


@settings(deadline=None)
@given(st.lists(st.floats(-60, 60), min_size=4, max_size=4))
def test_one_of_is_finite_and_falls_as_scores_rise(values):
    batch = batch_of([[0]], [[0, 0]], one_of=[(0, {0, 1})])
    logits = torch.tensor([[values]], requires_grad=True)
    loss = label_terms(logits, batch, SPACE)["category"].mean()
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()
    assert (logits.grad[..., :2] <= 0).all()
    assert (logits.grad[..., 2:] == 0).all()


def test_nothing_known_costs_nothing():
    batch = batch_of([[0, 0], [0, 0]], [[-1, -1]])
    logits = torch.randn(1, 2, 2, 2, requires_grad=True)
    labels = torch.randn(1, 1, 4, requires_grad=True)
    terms = mask_terms(logits, mask_targets(batch, (2, 2))) | label_terms(labels, batch, SPACE)
    assert set(terms) == {"bce", "dice", "category", "pattern"}
    assert all(term.mean().item() == 0 for term in terms.values())
    sum(term.mean() for term in terms.values()).backward()             # every term is in the graph all the same
    assert (logits.grad == 0).all()
    assert (labels.grad == 0).all()


def test_sums_and_counts_add_up_over_halves():
    """Adding terms of two batches gives the terms of both: what several processes need."""
    generator = torch.Generator().manual_seed(0)
    halves = []
    for regions in (((WHOLE_PHOTO, (1, 0, -1, 1)),), ((WHOLE_PHOTO, (0, 0, 1, -1)),)):
        logits = torch.randn(1, 1, 4, generator=generator)
        halves.append((logits, batch_of([[0]], [[0, 0]], regions=regions)))
    both = Batch(*(torch.cat(pair) for pair in zip(halves[0][1], halves[1][1], strict=True)))
    whole = label_terms(torch.cat([half[0] for half in halves]), both, SPACE)
    parts = [label_terms(logits, batch, SPACE) for logits, batch in halves]
    for name, term in whole.items():
        total = Term(parts[0][name].total + parts[1][name].total, parts[0][name].known + parts[1][name].known)
        assert term.mean().item() == pytest.approx(total.mean().item())


def test_joint_loss_reads_masks_and_labels_together(tiny_network):
    space, network = tiny_network
    rng = np.random.default_rng(0)
    num = space.num_labels
    batch = Batch(
        pixels=torch.from_numpy(rng.integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)),
        valid=torch.ones(2, 64, 64, dtype=torch.uint8),
        segments=torch.from_numpy(rng.integers(0, 2, (2, 64, 64), dtype=np.uint8)),
        targets=torch.from_numpy(rng.integers(0, 2, (2, 2, space.num_masks)).astype(np.int8)),
        region_segments=torch.tensor([[[False, False], [False, True]], [[False, False], [False, False]]]),
        region_classes=torch.tensor([[False, False], [False, True]])[:, :, None].expand(2, 2, space.num_masks),
        labels=torch.from_numpy(rng.integers(-1, 2, (2, 2, num)).astype(np.int8)),
        doubt=torch.zeros(2, 2),
        one_of=torch.ones(1, num, dtype=torch.bool),
        one_of_region=torch.zeros(1, 2, dtype=torch.int64),
    )
    loss = JointLoss(network, space, Loss(cross_entropy=1, choice=1))
    terms = loss(batch)
    choices = {CHOICE + group.name for group in space.groups if group.choice == "one"}
    assert set(terms) == {"bce", "dice", "cross_entropy", *space.label_slices, *choices}
    sum(term.mean() for term in terms.values()).backward()
    still = [name for name, p in loss.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not still, f"no gradient reaches {still}"
