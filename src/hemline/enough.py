"""Whether the photos were enough to teach a new label: cross-validation on pooled features, and a verdict in words.

Each label is fitted on four fifths of the products or photos and asked of the others, so that every photo is answered
by rows that never saw it, `REPEATS` times over with other fifths. The average precision of these answers, its 95 %
interval over groups of photos, and how often the answer at the threshold is right decide:

    enough            the interval lies above chance, of 100 labels that no photo shows about 1 would do as well,
                      and an answer is surely (95 %) more often right than wrong, among photos such as these
    not enough        one of these is not so: the label is never answered
    cannot be told    fewer than `FEWEST` groups of photos say yes, or no: the label is never answered

Shapes: N rows, H features, M new labels, G groups.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from hemline._average_precision import average_precision
from hemline._bootstrap import Figure, Floats, figure, ratio, resample
from hemline.taught import UNTOLD, Verdict
from hemline.thresholds import FEWEST, LEAST, NEVER

FOLDS = 5
"""Parts that the groups are dealt into."""
REPEATS = 3
"""Times that they are dealt anew, where they are few."""
MANY = 1000
"""Groups from which on they are dealt once."""
SHUFFLES = 1000
"""Times that yes and no are dealt among the groups by chance, to see what chance can do."""
AT_ONCE = 50
"""Of these, computed together."""
BY_CHANCE = 0.01
"""The largest share of these that may do as well."""
RIGHT = 0.5
"""Least share of right answers among those given, by the lower end of its interval."""
Z = 1.96
"""Of a 95 % interval."""
RIDGE = 5.0
"""Penalty on the squared weights, of features that are scaled to a mean square of 1; each photo's loss counts 1."""
TYPICAL = 0.1
"""Curvature of the loss of one row, about: it only decides how soon the optimum is found."""
STEPS = 100
"""Of L-BFGS, at most."""


class Rows(NamedTuple):
    """What the label head's classifiers read of each region, and what is known of it."""

    features: Tensor
    """(N, H) float16."""
    labels: Tensor
    """(N, M) int8: 1, 0 or -1."""
    photo: Tensor
    """(N,) int64: its photo."""
    group: Tensor
    """(N,) int64: the group of its photo, 0 to G - 1."""
    whole: Tensor
    """(N,) bool: of the whole photo, not of a garment."""


@dataclass(frozen=True)
class Taught:
    """One new label, and whether the photos were enough."""

    group: str
    label: str
    positives: int
    """Groups of photos with a yes."""
    negatives: int
    """Groups of photos with a no, and no yes."""
    average_precision: Figure
    """By cross-validation; the trivial answer is the share of rows that say yes."""
    half: float
    """The same where only half of the photos teach; NaN where too few are left."""
    by_chance: float
    """Share of random dealings of yes and no whose average precision is as high."""
    threshold: float
    """Probability above which it is answered; `NEVER` unless the verdict is `enough`."""
    precision: float
    """Share of right answers at the threshold that suits best, 0..1."""
    recall: float
    """Share of the yes that is answered there, 0..1."""
    verdict: Verdict


def fit_rows(features: Tensor, labels: Tensor, photo: Tensor) -> tuple[Tensor, Tensor]:
    """Logistic regression with a ridge, each label for itself; the optimum is unique.

    All rows of a photo that know a label together count as one.

    Args:
        features: (N, H) of any scale.
        labels: (N, M) 1, 0 or -1; every label has a yes and a no.
        photo: (N,) whose rows they are.

    Returns:
        The weight (M, H) and bias (M,) float32 of a linear layer that reads the features as they are.
    """
    known = (labels >= 0).double()
    often = torch.zeros(int(photo.max()) + 1, labels.shape[1], dtype=torch.float64).index_add_(0, photo, known)
    counts = known / often.clamp(min=1)[photo]                                          # (N, M)
    x = features.double()
    middle = x.mean(0)
    scale = (x - middle).square().mean().sqrt().clamp(min=1e-6)
    spread, sizes, turn = torch.linalg.svd((x - middle) / scale, full_matrices=False)
    shrunk = (TYPICAL * counts.sum(1).mean() / labels.shape[1] * sizes.square() + RIDGE).sqrt()
    x = spread * (sizes / shrunk)                        # turned and stretched until the optimum lies in a round hollow
    target = (labels == 1).double()
    share = (counts * target).sum(0) / counts.sum(0)
    weight = torch.zeros(labels.shape[1], x.shape[1], dtype=torch.float64, requires_grad=True)
    bias = torch.logit(share.clamp(0.01, 0.99)).requires_grad_()
    optimizer = torch.optim.LBFGS(
        [weight, bias], max_iter=STEPS, tolerance_grad=1e-4, tolerance_change=1e-9, line_search_fn="strong_wolfe"
    )

    def loss() -> float:
        optimizer.zero_grad()
        logits = F.linear(x, weight, bias)
        bce = F.binary_cross_entropy_with_logits(logits, target, weight=counts, reduction="sum")
        total = bce + RIDGE / 2 * (weight / shrunk).square().sum()
        torch.autograd.backward(total)
        return float(total.detach())

    with torch.enable_grad():
        optimizer.step(loss)  # type: ignore[no-untyped-call]
    final = (weight.detach() / shrunk) @ turn / scale
    return final.float(), (bias.detach() - final @ middle).float()


def judge(
    rows: Rows,
    names: Sequence[tuple[str, str]],
    *,
    seed: int = 0,
    progress: Callable[[str, int, int], object] = lambda *_: None,
) -> list[Taught]:
    """Cross-validate every label.

    Args:
        rows: Of all photos.
        names: The group and the name of each label.
        seed: Of the dealings.
        progress: Is told of each fit: what, fits done, fits in all.
    """
    yes, no = (_per_group(rows, value) for value in (1, 0))                             # (G, M)
    no &= ~yes
    able = np.flatnonzero(np.minimum(yes.sum(0), no.sum(0)) >= FEWEST)
    whole, half = (np.zeros((2, *rows.labels.shape)) for _ in range(2))                 # sums of logits, and how many
    random = np.random.default_rng(seed)
    fits = FOLDS * (REPEATS if len(yes) < MANY else 1) if len(able) else 0
    for done in range(fits):
        if done % FOLDS == 0:
            fold = deal(yes[:, able], FOLDS, random)
        teaches = fold != done % FOLDS
        asked = np.flatnonzero(~teaches[rows.group])
        fewer = teaches.copy()
        fewer[teaches] = deal(yes[teaches][:, able], 2, random) == 0
        for sums, groups in ((whole, teaches), (half, fewer)):
            answers = _answers(rows, groups, asked, able)
            sums[0][np.ix_(asked, able)] += np.nan_to_num(answers)
            sums[1][np.ix_(asked, able)] += ~np.isnan(answers)
        progress("cross-validation", done + 1, fits)
    return [
        _taught(name, rows, m, yes[:, m], no[:, m], [ratio(*sums[:, :, m]) for sums in (whole, half)], random)
        for m, name in enumerate(names)
    ]


def deal(yes: NDArray[np.bool_], parts: int, random: np.random.Generator) -> NDArray[np.int64]:
    """Deal groups into parts, each label's yes evenly, the rarest label first.

    Args:
        yes: (G, M) the labels that each group shows.
        parts: How many.
        random: Shuffles the groups.

    Returns:
        (G,) the part of each, 0 to `parts` - 1.
    """
    part = np.full(len(yes), -1)
    order = random.permutation(len(yes))
    turns = [order[yes[order, label]] for label in np.argsort(yes.sum(0), kind="stable")]
    for groups in [*turns, order]:
        own = np.bincount(part[groups][part[groups] >= 0], minlength=parts)
        for group in groups[part[groups] < 0]:
            number = np.bincount(part[part >= 0], minlength=parts)
            part[group] = np.lexsort((number, own))[0]
            own[part[group]] += 1
    return part


def _per_group(rows: Rows, value: int) -> NDArray[np.bool_]:
    """(G, M) whether a row of the group says 1, or 0."""
    there = np.zeros((int(rows.group.max()) + 1, rows.labels.shape[1]), bool)
    np.logical_or.at(there, rows.group.numpy(), (rows.labels == value).numpy())
    return there


def _answers(
    rows: Rows, groups: NDArray[np.bool_], asked: NDArray[np.int64], labels: NDArray[np.int64]
) -> Floats:
    """(asked, labels) logits of what some groups teach; NaN of labels of which they know no yes, or no no."""
    own = torch.from_numpy(groups)[rows.group]
    told = rows.labels[own][:, labels]
    taught = ((told == 1).any(0) & (told == 0).any(0)).numpy()
    answers = np.full((len(asked), len(labels)), np.nan)
    if taught.any():
        weight, bias = fit_rows(rows.features[own], told[:, taught], rows.photo[own])
        answers[:, taught] = F.linear(rows.features[asked].float(), weight, bias).numpy()
    return answers


def _taught(
    name: tuple[str, str],
    rows: Rows,
    label: int,
    yes: NDArray[np.bool_],
    no: NDArray[np.bool_],
    logits: Sequence[Floats],
    random: np.random.Generator,
) -> Taught:
    """The figures of one label from the (N,) logits that all groups but its own teach, and half of them."""
    said = rows.labels[:, label].numpy()
    known = (said >= 0)
    garments = known & ~rows.whole.numpy()               # what an answer says it of, where any is known
    asked = garments if garments.any() else known
    asked &= ~np.isnan(logits[0])
    if not asked.any():
        nothing = Figure(*[np.nan] * 4)
        return Taught(*name, int(yes.sum()), int(no.sum()), nothing, np.nan, np.nan, NEVER, np.nan, np.nan, UNTOLD)
    scores, true = logits[0][asked], said[asked] == 1
    _, group = np.unique(rows.group.numpy()[asked], return_inverse=True)
    number = int(group.max()) + 1
    value, base = float(average_precision(scores, true)[0]), float(true.mean())
    precision = figure(value, average_precision(scores, true, group, resample(number)), base)
    chance = _by_chance(scores, true, group, random)
    threshold, right, found, surely = best_answer(1 / (1 + np.exp(-scores)), true, group)
    fewer = ~np.isnan(logits[1][asked])
    halved = float(average_precision(logits[1][asked][fewer], true[fewer])[0]) if fewer.any() else np.nan
    passes = precision.low > base and chance <= BY_CHANCE and surely >= RIGHT
    return Taught(
        *name, int(yes.sum()), int(no.sum()), precision, halved, float(chance), threshold if passes else NEVER,
        right, found, "enough" if passes else "not enough",
    )  # fmt: skip


def best_answer(
    scores: Floats, true: NDArray[np.bool_], group: NDArray[np.int64]
) -> tuple[float, float, float, float]:
    """The threshold of the best F1 among those whose answers are surely more often right than wrong, and their figures.

    Args:
        scores: (N,) probabilities.
        true: (N,) the truth.
        group: (N,) the group of photos of each: its answers stand or fall together, and weigh as one in the interval.

    Returns:
        The threshold, at least `LEAST`; precision and recall there; the lower end of Wilson's 95 % interval of the
        precision. Where no threshold is so sure, those of the best F1.
    """
    order = np.argsort(-scores, kind="stable")
    scores, true, group = scores[order], true[order], group[order]
    ends = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)
    ends = ends[scores[ends] > LEAST]
    if not ends.size:
        return NEVER, 0.0, 0.0, 0.0
    hits = np.cumsum(true)[ends]
    right, found = hits / (ends + 1), hits / max(true.sum(), 1)
    f1 = 2 * hits / (ends + 1 + true.sum())
    first = np.unique(group, return_index=True)[1]
    number = np.searchsorted(np.sort(first), ends, side="right")                         # groups that are answered
    middle, spread = right + Z**2 / (2 * number), Z * np.sqrt(right * (1 - right) / number + (Z / (2 * number)) ** 2)
    surely = (middle - spread) / (1 + Z**2 / number)
    best = int((f1 + (surely >= RIGHT)).argmax())         # F1 is 1 at most
    last = ends[best]
    below = max(scores[last + 1], LEAST) if last + 1 < len(scores) else LEAST
    return float((scores[last] + below) / 2), float(right[best]), float(found[best]), float(surely[best])


def _by_chance(scores: Floats, true: NDArray[np.bool_], group: NDArray[np.int64], random: np.random.Generator) -> float:
    """The share of dealings of yes and no among groups whose average precision is as high; groups have their mean."""
    mean = np.bincount(group, scores) / np.maximum(np.bincount(group), 1)
    yes = (np.bincount(group, true) > 0)[np.argsort(-mean, kind="stable")]
    value = _precision_of_ranks(yes[None])[0]
    as_high = 0
    for _ in range(SHUFFLES // AT_ONCE):
        dealt = random.permuted(np.tile(yes, (AT_ONCE, 1)), axis=1)
        as_high += int((_precision_of_ranks(dealt) >= value - 1e-9).sum())
    return (1 + as_high) / (1 + SHUFFLES)


def _precision_of_ranks(yes: NDArray[np.bool_]) -> Floats:
    """(B,) average precision of the truth (B, G), best score first."""
    precision = np.cumsum(yes, axis=1) / np.arange(1, yes.shape[1] + 1)
    return np.asarray((precision * yes).sum(1) / np.maximum(yes.sum(1), 1), np.float64)
