"""How right masks and labels are: figures with support, 95 % interval, and what a trivial answer scores.

Nothing here knows networks, files or label spaces: arrays go in photo by photo, figures come out. Intervals
are bootstraps over photos, never over pixels or garments, which within one photo stand and fall together.

Shapes: P photos, N rows (what labels speak of: a photo or a garment), L labels, C classes (0 is background),
B bootstrap resamples, H W a photo's map.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hemline._average_precision import average_precision
from hemline._bootstrap import RESAMPLES, Figure, Floats, figure, mean, ratio, resample

IGNORED = 255
"""Value of a truth map where nothing is known: such pixels do not count."""
FREQUENT = 15
"""Photos that a class must be in to count in `MaskReport.frequent_mean_iou`."""
_MEANS = ("mean_iou", "mean_dice", "frequent_mean_iou", "pixel_accuracy", "foreground_accuracy")


@dataclass(frozen=True)
class ClassScore:
    """How well one mask class is drawn."""

    name: str
    photos: int
    """Photos whose truth shows it."""
    pixels: int
    """Its pixels in the truth."""
    iou: Figure
    dice: Figure


@dataclass(frozen=True)
class MaskReport:
    """How well masks are drawn; every figure is 0..1."""

    photos: int
    classes: list[ClassScore]
    """The classes that occur in the truth or in the prediction."""
    mean_iou: Figure
    """Over `classes`; one that is predicted and never true counts as 0."""
    mean_dice: Figure
    frequent_mean_iou: Figure
    """Over the classes that the truth shows in at least `FREQUENT` photos."""
    frequent_classes: int
    pixel_accuracy: Figure
    foreground_accuracy: Figure
    """Share of right pixels among those that are not background."""
    left_out: list[str]
    """Classes absent from both truth and prediction: nothing can be said of them."""
    confusion: list[list[int]]
    """(C, C) pixels of truth (row) answered as (column), in the order of `confusion_classes`."""
    confusion_classes: list[str]


@dataclass(frozen=True)
class LabelScore:
    """How well one label is answered."""

    name: str
    positives: int
    known: int
    """Rows that say yes or no."""
    prior: float
    """Its frequency among the known: the average precision of a score that means nothing."""
    threshold: float
    average_precision: Figure
    f1: Figure
    """At `threshold`; the trivial answer is always yes."""
    precision: float
    recall: float


@dataclass(frozen=True)
class ChoiceScore:
    """How often the best value of an exclusive group is the right one."""

    group: str
    rows: int
    top1: Figure
    """The trivial answer is always the commonest value."""


@dataclass(frozen=True)
class LabelReport:
    """How well labels are answered; every figure is 0..1."""

    photos: int
    labels: list[LabelScore]
    """The labels with at least one known positive and one known negative."""
    mean_average_precision: Figure
    choices: list[ChoiceScore]
    left_out: list[str]
    """Labels of which the set knows no positive or no negative."""


class MaskScores:
    """Class maps, collected photo by photo.

    Args:
        classes: Names of the C classes; the first is background, and there are at most 255.
    """

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = list(classes)
        self._photos: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []

    def __len__(self) -> int:
        """Photos counted so far."""
        return len(self._photos)

    def update(self, predicted: NDArray[np.integer[Any]], truth: NDArray[np.integer[Any]]) -> None:
        """Count one photo; one without a known pixel is passed over.

        Args:
            predicted: (H, W) class numbers, 0 to C - 1.
            truth: (H, W) class numbers, or `IGNORED`.

        Raises:
            ValueError: the maps differ in size, or hold a number that is no class.
        """
        if predicted.shape != truth.shape:
            raise ValueError(f"prediction is {predicted.shape}, truth {truth.shape}: resize the logits first")
        num = len(self.classes)
        known = truth != IGNORED
        said, true = predicted[known].astype(np.int64), truth[known].astype(np.int64)
        if not said.size:
            return
        if min(said.min(), true.min()) < 0 or max(said.max(), true.max()) >= num:
            raise ValueError(f"classes are 0 to {num - 1}, or {IGNORED} where unknown; a map holds others")
        pairs = np.bincount(true * num + said, minlength=num * num)
        filled = np.flatnonzero(pairs)
        self._photos.append((filled, pairs[filled]))  # few classes are in a photo: a few dozen pairs of C * C

    def extend(self, other: MaskScores) -> None:
        """Count the photos of another of the same classes after one's own."""
        self._photos += other._photos

    def compute(self, *, resamples: int = RESAMPLES, seed: int = 0, frequent: int = FREQUENT) -> MaskReport:
        """The figures of all photos so far.

        Raises:
            ValueError: no photo with a known pixel has been counted.
        """
        if not self._photos:
            raise ValueError("no photo with a known pixel has been counted")
        hit, true, said = self._sums(self._photos)
        background_hit, background = np.zeros_like(true), np.zeros_like(true)
        background_hit[:, 0], background[:, 0] = true[:, 0], true.sum(1)
        shown_in = (true > 0).sum(0)
        often = shown_in >= frequent
        whole = _Measured.of(hit.sum(0), true.sum(0), said.sum(0), often)
        trivial = _Measured.of(background_hit.sum(0), true.sum(0), background.sum(0), often)
        drawn = resample(len(self), resamples, seed)     # (B, P)
        spread = _Measured.of(drawn @ hit, drawn @ true, drawn @ said, often)
        figures = {name: figure(getattr(whole, name), getattr(spread, name), getattr(trivial, name)) for name in _MEANS}
        occurs = np.flatnonzero(true.sum(0) + said.sum(0))
        floor = np.nan_to_num([trivial.iou, trivial.dice])  # 0 too for what is only predicted
        return MaskReport(
            photos=len(self),
            classes=[
                ClassScore(
                    self.classes[c], int(shown_in[c]), int(true[:, c].sum()),
                    figure(whole.iou[c], spread.iou[:, c], floor[0][c]),
                    figure(whole.dice[c], spread.dice[:, c], floor[1][c]),
                )
                for c in occurs
            ],
            frequent_classes=int(often.sum()),
            left_out=[name for c, name in enumerate(self.classes) if c not in occurs],
            confusion=self.confusion().tolist(),
            confusion_classes=self.classes,
            **figures,
        )  # fmt: skip

    def last_mean_iou(self) -> float:
        """Of the photo counted last, over the classes that its truth or its prediction shows, 0..1."""
        hit, true, said = self._sums(self._photos[-1:])
        return float(mean(ratio(hit, true + said - hit))[0])

    def confusion(self) -> NDArray[np.int64]:
        """(C, C) pixels of truth (row) answered as (column), over all photos."""
        total = np.zeros(len(self.classes) ** 2, np.int64)
        for pairs, pixels in self._photos:
            total[pairs] += pixels
        return total.reshape(len(self.classes), -1)

    def sums(self) -> tuple[Floats, Floats, Floats]:
        """(P, C) pixels of each photo so far: right, in the truth, in the prediction."""
        return self._sums(self._photos)

    def _sums(self, photos: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]]) -> tuple[Floats, Floats, Floats]:
        """(P, C) pixels each: right, in the truth, in the prediction."""
        num = len(self.classes)
        hit, true, said = np.zeros((3, len(photos), num))
        for photo, (pairs, pixels) in enumerate(photos):
            row, column = np.divmod(pairs, num)
            np.add.at(true[photo], row, pixels)
            np.add.at(said[photo], column, pixels)
            hit[photo, row[row == column]] = pixels[row == column]
        return hit, true, said


class LabelScores:
    """Scores of labels, collected photo by photo.

    Args:
        names: Names of the L labels.
        thresholds: (L,) probabilities; a label is answered where its score is above.
        choices: Exclusive groups of labels, each a run of channels, whose top-1 accuracy is wanted.
    """

    def __init__(
        self, names: Sequence[str], thresholds: Sequence[float], choices: Mapping[str, slice] | None = None
    ) -> None:
        self.names = list(names)
        self.thresholds = np.asarray(thresholds, np.float64)
        self.choices = dict(choices or {})
        self._rows: list[tuple[Floats, NDArray[np.int8]]] = []

    def __len__(self) -> int:
        """Photos counted so far."""
        return len(self._rows)

    def update(self, scores: NDArray[np.floating[Any]], truth: NDArray[np.int8]) -> None:
        """Count one photo; one of which nothing is known is passed over.

        Args:
            scores: (N, L) probabilities of the photo's rows; 0 means surely not answered.
            truth: (N, L) 1 yes, 0 no, -1 unknown.

        Raises:
            ValueError: shapes differ, or L is not the number of names.
        """
        if scores.shape != truth.shape or scores.ndim != 2 or scores.shape[1] != len(self.names):
            raise ValueError(f"scores {scores.shape}, truth {truth.shape}: must be (N, {len(self.names)})")
        if (truth >= 0).any():
            self._rows.append((scores.astype(np.float64), truth.astype(np.int8)))

    def extend(self, other: LabelScores) -> None:
        """Count the photos of another of the same labels after one's own."""
        self._rows += other._rows

    def rescore(self, weights: Sequence[Sequence[float]]) -> None:
        """Turn the probabilities counted so far: their logits by the (L, 2) slopes and intercepts of their labels.

        Rows of nothing but 0, of garments that were not found, stay.
        """
        slope, intercept = np.array(weights, np.float64).T
        self._rows = [(_turned(scores, slope, intercept), truth) for scores, truth in self._rows]

    def compute(self, *, resamples: int = RESAMPLES, seed: int = 0) -> LabelReport:
        """The figures of all photos so far; with none of them every label is left out."""
        scores, truth, photo = self.stacked()
        drawn = resample(len(self), resamples, seed)
        labels, precisions = [], []
        for index, name in enumerate(self.names):
            known = truth[:, index] >= 0
            yes = truth[known, index] == 1
            if yes.any() and not yes.all():
                threshold = self.thresholds[index]
                score, spread = _score_label(name, threshold, scores[known, index], yes, photo[known], drawn)
                labels.append(score)
                precisions.append(spread)
        spreads = np.array(precisions).reshape(len(labels), resamples)
        named = {label.name for label in labels}
        return LabelReport(
            photos=len(self),
            labels=labels,
            mean_average_precision=figure(
                mean(np.array([label.average_precision.value for label in labels])),
                mean(spreads.T),
                mean(np.array([label.prior for label in labels])),
            ),
            choices=[
                _score_choice(group, scores[:, part], truth[:, part], photo, drawn)
                for group, part in self.choices.items()
                if _answerable(truth[:, part]).any()
            ],
            left_out=[name for name in self.names if name not in named],
        )

    def stacked(self) -> tuple[Floats, NDArray[np.int8], NDArray[np.int64]]:
        """All rows so far: scores (N, L), truth (N, L), and which photo (N,) each is of."""
        if not self._rows:
            num = len(self.names)
            return np.zeros((0, num)), np.zeros((0, num), np.int8), np.zeros(0, np.int64)
        photo = np.repeat(np.arange(len(self)), [len(truth) for _, truth in self._rows])
        return (
            np.concatenate([scores for scores, _ in self._rows]),
            np.concatenate([truth for _, truth in self._rows]),
            photo,
        )


def _turned(scores: Floats, slope: Floats, intercept: Floats) -> Floats:
    with np.errstate(divide="ignore"):
        odds = (np.log(scores) - np.log1p(-scores)) * slope + intercept
    return np.where(scores.any(1, keepdims=True), 0.5 + 0.5 * np.tanh(0.5 * odds), 0.0)


@dataclass(frozen=True)
class _Measured:
    """Figures of masks from pixels (..., C): arrays of the leading shape, `iou` and `dice` of (..., C)."""

    iou: Floats
    dice: Floats
    mean_iou: Floats
    mean_dice: Floats
    frequent_mean_iou: Floats
    pixel_accuracy: Floats
    foreground_accuracy: Floats

    @classmethod
    def of(cls, hit: Floats, true: Floats, said: Floats, often: NDArray[np.bool_]) -> _Measured:
        iou = ratio(hit, true + said - hit)
        dice = ratio(2 * hit, true + said)
        return cls(
            iou=iou,
            dice=dice,
            mean_iou=mean(iou),
            mean_dice=mean(dice),
            frequent_mean_iou=mean(iou[..., often]),
            pixel_accuracy=ratio(hit.sum(-1), true.sum(-1)),
            foreground_accuracy=ratio(hit[..., 1:].sum(-1), true[..., 1:].sum(-1)),
        )


def _score_label(
    name: str,
    threshold: float,
    scores: Floats,
    yes: NDArray[np.bool_],
    photo: NDArray[np.int64],
    drawn: Floats,
) -> tuple[LabelScore, Floats]:
    """One label's figures from its known rows (N,), and the spread (B,) of its average precision."""
    said = scores > threshold
    # (P, 3) rows of each photo: answered and true, answered, true
    sums = np.stack([np.bincount(photo, x, drawn.shape[1]) for x in (said & yes, said, yes)], axis=1)
    hit, answered, positives = sums.sum(0)
    prior = positives / len(yes)
    spread = average_precision(scores, yes, photo, drawn)
    score = LabelScore(
        name=name,
        positives=int(positives),
        known=len(yes),
        prior=float(prior),
        threshold=float(threshold),
        average_precision=figure(average_precision(scores, yes)[0], spread, prior),
        f1=figure(_f1(sums.sum(0)), _f1(drawn @ sums), 2 * prior / (1 + prior)),
        precision=float(ratio(hit, answered)),
        recall=float(hit / positives),
    )
    return score, spread


def _score_choice(
    group: str, scores: Floats, truth: NDArray[np.int8], photo: NDArray[np.int64], drawn: Floats
) -> ChoiceScore:
    """An exclusive group's figures from all rows (N, G); the answer is sought among the known values."""
    rows = _answerable(truth)
    scores, truth, photo = scores[rows], truth[rows], photo[rows]
    best = np.where(truth >= 0, scores, -1).argmax(1)
    each = np.arange(len(best))
    right = (truth[each, best] == 1) & (scores[each, best] > 0)
    sums = np.stack([np.bincount(photo, x, drawn.shape[1]) for x in (right, np.ones(len(right)))], axis=1)
    spread = ratio(*np.moveaxis(drawn @ sums, -1, 0))
    commonest = (truth == 1).sum(0).max() / len(truth)
    return ChoiceScore(group, len(truth), figure(right.mean(), spread, commonest))


def _answerable(truth: NDArray[np.int8]) -> NDArray[np.bool_]:
    """(N,) rows of an exclusive group (N, G) that say which value it is, and of another that it is not."""
    rows: NDArray[np.bool_] = ((truth == 1).sum(1) == 1) & (truth == 0).any(1)
    return rows


def _f1(sums: Floats) -> Floats:
    """F1 from (..., 3): answered and true, answered, true."""
    return ratio(2 * sums[..., 0], sums[..., 1] + sums[..., 2])
