"""The losses of masks, one function each, with their papers.

Three kinds, by what they read:

    logits    bce, sigmoid_focal                               each class for itself, cell by cell
    Answers   cross_entropy, softmax_focal, bootstrapped, ohem the one answer of each cell, cell by cell
    Areas     dice, tversky, jaccard, generalised_dice, lovasz a photo's whole area of a class

The first two are means over known cells: a cell counts as much as is known of it, and where it is one of several
classes, their probabilities are added. The third are means over photos, or over the classes of each photo: only
classes that are there count, so a photo without any counts nothing, and what is unknown of a class is left out of its
area.

Every cell may hold several segments and be a class in part, so truths are shares. Dice aside, which is kept as it was
published, areas overlap by the smaller of score and truth: on whole cells this is their product, and on shared ones
the right share is the best answer, which of products it is not (Wang et al., 2023, "Jaccard Metric Losses",
https://arxiv.org/abs/2302.05666).

Shapes: B batch, C classes, h w a map's size, S segments.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import sigmoid_focal_loss

SMOOTH = 1.0
"""Cells added to both sides of dice, so that a class of a few cells does not swing between 0 and 1."""
LEAST_AREA = 0.5
"""Cells above which a class is there."""
LEAST_LIKELY = 1e-6
"""Added to probabilities before their logarithm: a cell costs 13.8 at most, and where its truth is less likely than
this, the slope fades."""


class Term(NamedTuple):
    """A loss as a sum, and the number of known things it was summed over."""

    total: Tensor
    known: Tensor

    def mean(self) -> Tensor:
        """The loss; 0 where nothing was known."""
        return self.total / self.known.clamp(min=1)


class Answers(NamedTuple):
    """How likely the network finds what is true of each segment, cell by cell."""

    likely: Tensor
    """(B, S, h, w) the probability of the segment's class, or the sum of those of the classes that it may be."""
    known: Tensor
    """(B, S, h, w) how much it counts: the share of the cell that it covers, times its class's weight; 0 where it may
    be anything."""


class Areas(NamedTuple):
    """The areas that are compared, of classes each for itself (sigmoid) or against each other and nobody (softmax)."""

    scores: Tensor
    """(B, C, h, w) probabilities."""
    truth: Tensor
    """(B, C, h, w) share of the known part that is the class, 0..1."""
    known: Tensor
    """(B, C, h, w) share of the cell where the class is known, 0..1."""


# -- each class for itself, cell by cell ---------------------------------------------------------------------


def rival_logits(logits: Tensor, competing: Sequence[int]) -> Tensor:
    """(B, 1 + C, h, w) of (B, K, h, w): 0 for nobody, then the logits of the competing classes."""
    return F.pad(logits[:, list(competing)], (0, 0, 0, 0, 1, 0))


def rival_scores(logits: Tensor, competing: Sequence[int]) -> Tensor:
    """(B, 1 + C, h, w) the softmax over nobody, at logit 0, and each competing class."""
    return rival_logits(logits, competing).softmax(1)


def bce(
    logits: Tensor, truth: Tensor, known: Tensor, weights: Tensor | None = None, positive: Tensor | None = None
) -> Term:
    """Binary cross-entropy, summed over classes and averaged over cells.

    Args:
        logits: (B, C, h, w).
        truth: (B, C, h, w) share of the known part that is the class.
        known: (B, C, h, w) share of the cell where the class is known.
        weights: (C,) factors of the classes.
        positive: (C,) factors of what is the class, beside 1 for what is not.
    """
    total = F.binary_cross_entropy_with_logits(
        logits,
        truth,
        weight=_weighed(known, weights),
        pos_weight=None if positive is None else positive[:, None, None],
        reduction="sum",
    )
    return Term(total, known.amax(1).sum())


def sigmoid_focal(
    logits: Tensor,
    truth: Tensor,
    known: Tensor,
    gamma: float,
    alpha: float | None = None,
    weights: Tensor | None = None,
) -> Term:
    """Focal loss of each class for itself: binary cross-entropy times (1 - probability of the truth) ^ gamma.

    Lin et al., 2017, https://arxiv.org/abs/1708.02002. Summed over classes and averaged over cells, as `bce`, which
    it is at gamma 0; the paper divides by the number of positives instead. In a cell that is a class in part, the
    probability of the truth is the mean of both by their shares.

    Args:
        logits: (B, C, h, w).
        truth: (B, C, h, w) share of the known part that is the class.
        known: (B, C, h, w) share of the cell where the class is known.
        gamma: 0, or 1 or more.
        alpha: Factor of what is the class, beside 1 - alpha of what is not; None weighs both 1.
        weights: (C,) factors of the classes.
    """
    cost = sigmoid_focal_loss(logits, truth, alpha=-1 if alpha is None else alpha, gamma=gamma, reduction="none")
    return Term((cost * _weighed(known, weights)).sum(), known.amax(1).sum())


def _weighed(known: Tensor, weights: Tensor | None) -> Tensor:
    return known if weights is None else known * weights[:, None, None]


# -- the one answer of each cell -----------------------------------------------------------------------------


def cross_entropy(answers: Answers) -> Term:
    """Minus the log of the probability of what is true; class weights are divided out, as torch's mean does.

    Where a segment is known to be one of several classes, that is the log of their summed probability (Cour, Sapp,
    Taskar, 2011, "Learning from Partial Labels").
    """
    return Term((answers.known * _surprise(answers)).sum(), answers.known.sum())


def softmax_focal(answers: Answers, gamma: float) -> Term:
    """Focal loss among classes: cross-entropy times (1 - probability of the truth) ^ gamma, which is 0, or 1 or more.

    Lin et al., 2017, https://arxiv.org/abs/1708.02002. At gamma 0 it is `cross_entropy`.
    """
    unsure = (1 - answers.likely).clamp(min=0) ** gamma                 # a sum of several may round to above 1
    return Term((answers.known * unsure * _surprise(answers)).sum(), answers.known.sum())


def bootstrapped(answers: Answers, share: float) -> Term:
    """Cross-entropy of the hardest known cells of each photo, so large a share of them.

    Wu, Shen, van den Hengel, 2016, https://arxiv.org/abs/1605.06885; FRRN (https://arxiv.org/abs/1611.08323) takes
    the 512 x 64 hardest pixels of a photo. A cell is as hard as its segments are on average.
    """
    return _hardest(answers, share, math.inf)


def ohem(answers: Answers, threshold: float, share: float) -> Term:
    """Cross-entropy of the cells where the truth's probability is at most `threshold`, but a `share` of them at least.

    Online hard example mining (Shrivastava et al., 2016, https://arxiv.org/abs/1604.03540) of pixels, as BiSeNet's
    authors train (https://github.com/ycszen/TorchSeg: 0.7, a 16th); they count the least share over a batch, this
    counts it in each photo.
    """
    return _hardest(answers, share, -math.log(threshold))


def _hardest(answers: Answers, share: float, enough: float) -> Term:
    """Cross-entropy of the hardest `share` of each photo's known cells, and of all that cost `enough`."""
    cost = (answers.known * _surprise(answers)).sum(1).flatten(1)                                   # (B, h * w)
    known = answers.known.sum(1).flatten(1)
    mean = (cost.detach() / known).masked_fill(known == 0, -math.inf)
    rank = mean.argsort(dim=1, descending=True).argsort(dim=1)
    number = ((known > 0).sum(1, keepdim=True) * share).ceil()                                      # (B, 1)
    kept = ((rank < number) | (mean >= enough)).to(cost.dtype)
    return Term((cost * kept).sum(), (known * kept).sum())


def _surprise(answers: Answers) -> Tensor:
    return -torch.log(answers.likely + LEAST_LIKELY)


# -- areas ---------------------------------------------------------------------------------------------------


def dice(areas: Areas) -> Term:
    """V-Net's dice, a mean over the classes of each photo: 1 - 2 * overlap / (squared scores + squared truths).

    Milletari et al., 2016, https://arxiv.org/abs/1606.04797, with `SMOOTH` cells on both sides.
    """
    scores, truth = areas.scores * areas.known, areas.truth * areas.known
    overlap = (scores * truth).sum((2, 3))                                                          # (B, C)
    size = scores.pow(2).sum((2, 3)) + truth.pow(2).sum((2, 3))
    return _of_present(1 - (2 * overlap + SMOOTH) / (size + SMOOTH), truth.sum((2, 3)))


def tversky(areas: Areas, alpha: float, beta: float) -> Term:
    """1 - shared / (shared + alpha * answered in vain + beta * missed), a mean over the classes of each photo.

    Salehi et al., 2017, https://arxiv.org/abs/1706.05721. With 0.5 and 0.5 it is dice without squares.
    """
    shared, answered, true = _overlap(areas)
    either = shared + alpha * (answered - shared) + beta * (true - shared)
    return _of_present(1 - shared / either.clamp(min=1e-6), true)


def jaccard(areas: Areas) -> Term:
    """1 - intersection / union, a mean over the classes of each photo.

    Rahman, Wang, 2016, "Optimizing Intersection-Over-Union in Deep Neural Networks for Image Segmentation".
    """
    return tversky(areas, 1, 1)


def generalised_dice(areas: Areas) -> Term:
    """Dice of all classes of a photo at once, each weighed by 1 / area ^ 2, a mean over photos.

    Sudre et al., 2017, https://arxiv.org/abs/1707.03237. Classes that are not there, whose weight would be infinite,
    are left out.
    """
    shared, answered, true = _overlap(areas)
    weights = (true > LEAST_AREA) / true.clamp(min=LEAST_AREA).pow(2)                               # (B, C)
    size = (weights * (answered + true)).sum(1)                                                     # (B,)
    there = (size > 0).to(size.dtype)
    loss = 1 - 2 * (weights * shared).sum(1) / torch.where(size > 0, size, 1)
    return Term((loss * there).sum(), there.sum())


def lovasz(areas: Areas) -> Term:
    """The Lovász extension of 1 - intersection / union in |truth - score|, a mean over the classes of each photo.

    Berman et al., 2018, https://arxiv.org/abs/1705.08790. The errors are sorted, the largest first, and each is weighed
    by how much the Jaccard loss grows when its cell is wrong too. Scores may be of a softmax or a sigmoid; the paper's
    hinge on logits is not built. A cell that is a class in part belongs in part to its area, and in part to the rest.
    """
    there = (areas.truth * areas.known).sum((2, 3)) > LEAST_AREA                                    # (B, C)
    scores, truth, known = (part[there].flatten(1) for part in areas)                               # (M, h * w)
    errors, order = (truth - scores).abs().sort(dim=1, descending=True)
    own, other = (truth * known).gather(1, order), ((1 - truth) * known).gather(1, order)
    area = own.sum(1, keepdim=True)
    wrong = 1 - (area - own.cumsum(1)) / (area + other.cumsum(1))       # Jaccard loss if so many cells are wrong
    steps = torch.diff(wrong, dim=1, prepend=torch.zeros_like(area))
    return Term((errors * steps).sum(), there.sum().to(errors.dtype))


def _overlap(areas: Areas) -> tuple[Tensor, Tensor, Tensor]:
    """(B, C) cells that the scores and the truth share, that the scores claim, and that are true."""
    shared = torch.minimum(areas.scores, areas.truth)
    return tuple((part * areas.known).sum((2, 3)) for part in (shared, areas.scores, areas.truth))  # type: ignore[return-value]


def _of_present(losses: Tensor, area: Tensor) -> Term:
    present = (area > LEAST_AREA).to(losses.dtype)
    return Term((losses * present).sum(), present.sum())
