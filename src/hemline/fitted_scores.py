"""Fits `hemline.scores.Scores` to measured photos, and says how well they hold on photos that the fit has not seen.

Shapes: N rows (a photo or a garment), L labels or categories, D logits that one is judged by, F folds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hemline._bootstrap import Floats
from hemline.calibration import CalibrationReport, calibration
from hemline.labels import LabelSpace
from hemline.platt import fit_alike
from hemline.precision_recall import Point, precision_recall
from hemline.scores import SUREST, Curve, Scores, Use
from hemline.thresholds import FEWEST

FOLDS = 5
"""Parts that photos are dealt into, each measured by what was fitted to the others."""
MOST_POINTS = 33
"""Of a curve in the weights."""
STEPS = 10_000
"""Scores of these curves are rounded down to so many steps from 0 to 1."""
FARTHEST = 30.0
"""Logits are taken for no larger: they come from probabilities."""
USES = ("labels of photos", "attributes of garments", "garments found by masks")


class Rows(NamedTuple):
    """What the scores of one use are made of, and what is true."""

    names: list[str]
    """(L,)."""
    shown: NDArray[np.bool_]
    """(L,) whether answers can hold it."""
    logits: Floats
    """(N, L, D) as the network says them; NaN where nothing was found."""
    truth: NDArray[np.int8]
    """(N, L) 1 yes, 0 no, -1 unknown."""
    photo: NDArray[np.int64]
    """(N,) which photo each row is of."""

    @property
    def answered(self) -> NDArray[np.bool_]:
        """(N, L) where something was found and the truth is known."""
        known: NDArray[np.bool_] = np.isfinite(self.logits).all(2) & (self.truth >= 0)
        return known


@dataclass(frozen=True)
class CalibrationError:
    """How far scores of one use are from being probabilities."""

    use: str
    """One of `USES`."""
    answers: int
    error: float
    """Expected calibration error of all answers together, 0..1; each counts alike."""
    labels: int
    """Labels with enough yes and no to be judged alone (`calibration.FEWEST`)."""
    mean: float | None
    """The mean of these labels' own errors; None without any."""


class Kept(NamedTuple):
    """What came of a precision that was asked for, on photos that chose no threshold."""

    use: str
    asked: float
    precision: float
    """Share of the answers that was right, NaN without any."""
    recall: float
    """Share of what is true that was answered."""
    spoke: float
    """Labels with a threshold, the mean over folds."""
    labels: int
    """Labels in all."""


def logits_of(chances: Floats) -> Floats:
    """The logits of probabilities (N, L), at most `FARTHEST`; NaN in rows of nothing but 0, of what was not found."""
    with np.errstate(divide="ignore"):
        logits: Floats = np.clip(np.log(chances) - np.log1p(-chances), -FARTHEST, FARTHEST)
    logits[~chances.any(1)] = np.nan
    return logits


def mask_logits(own: Floats, label: Floats) -> Floats:
    """(P, C, 2) what the score of a garment found by its mask is made of; its own scores (P, C), NaN if not found."""
    own = np.clip(own, SUREST, 1 - SUREST)
    return np.stack([np.log(own) - np.log1p(-own), np.where(np.isnan(own), np.nan, label)], axis=2)


def fit_use(rows: Rows) -> Floats:
    """The (L, D + 1) weights of one use."""
    answered = rows.answered
    columns = range(len(rows.names))
    return fit_alike(
        [rows.logits[answered[:, k], k] for k in columns], [rows.truth[answered[:, k], k] == 1 for k in columns]
    )


def chances(rows: Rows, weights: Floats) -> Floats:
    """(N, L) the probabilities that weights (L, D + 1) make of logits; 0 where nothing was found."""
    odds = (rows.logits * weights[:, :-1]).sum(2) + weights[:, -1]
    return np.where(np.isnan(odds), 0.0, 0.5 + 0.5 * np.tanh(0.5 * odds))


def own_chances(rows: Rows) -> Floats:
    """The same of scores as the network says them: of the first logit alone."""
    usual = np.zeros((len(rows.names), rows.logits.shape[2] + 1))
    usual[:, 0] = 1
    return chances(rows, usual)


def fitted(uses: Sequence[Rows]) -> Scores:
    """The scores that suit the rows of the three `USES` best, without curves."""
    photo, garments, masks = (Use(_rounded(fit_use(rows))) for rows in uses)
    return Scores(photo, garments, masks)


def with_curves(scores: Scores, uses: Sequence[Rows], proven: Sequence[NDArray[np.bool_]]) -> Scores:
    """The scores with the curve of each label that is `proven` (L,), one array a use."""
    made = [
        replace(use, curves=curves(rows, chances(rows, np.array(use.weights)), may))
        for use, rows, may in zip((scores.photo, scores.garments, scores.masks), uses, proven, strict=True)
    ]
    return Scores(*made)


def curves(rows: Rows, scores: Floats, may: NDArray[np.bool_]) -> dict[str, Curve]:
    """The curves of labels that may have one and have `FEWEST` yes and no, at least.

    Args:
        rows: What is true.
        scores: (N, L) probabilities.
        may: (L,).
    """
    found = {}
    for k, name in enumerate(rows.names):
        known = rows.truth[:, k] >= 0
        yes = rows.truth[known, k] == 1
        if may[k] and min(yes.sum(), (~yes).sum()) >= FEWEST:
            found[name] = curve(scores[known, k], yes)
    return found


def curve(scores: Floats, yes: NDArray[np.bool_]) -> Curve:
    """The curve of one label (N,), at scores that are rounded down, so that each point is what its score gives."""
    low = np.minimum(np.floor(scores * STEPS + 1e-6), STEPS - 1)      # the little makes 0.8 * STEPS whole
    points = precision_recall(low, yes, MOST_POINTS - 1)
    said = [Point(p.score / STEPS, _down(p.precision), round(p.recall, 6)) for p in points if p.score > 0]
    return Curve(int(yes.sum()), len(yes), tuple(said))


def _down(share: float) -> float:
    return float(np.floor(share * 1e6) / 1e6)


def _rounded(weights: Floats) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(round(value, 5) for value in line) for line in weights.tolist())


# -- how well they hold --------------------------------------------------------------------------------------


def crossed(rows: Rows, seed: int = 0) -> Floats:
    """(N, L) probabilities, each by weights that were fitted to the photos of other folds."""
    found = np.zeros(rows.truth.shape)
    for inside in _folds(rows, seed):
        weights = fit_use(_part(rows, ~inside))
        found[inside] = chances(_part(rows, inside), weights)
    return found


def calibration_of(rows: Rows, scores: Floats) -> CalibrationReport | None:
    """`hemline.calibration` of the labels that answers can hold; what was not found has no score there."""
    truth = np.where(np.isfinite(rows.logits).all(2), rows.truth, -1).astype(np.int8)
    names = [name for name, shown in zip(rows.names, rows.shown, strict=True) if shown]
    return calibration(names, scores[:, rows.shown], truth[:, rows.shown], rows.photo)


def calibration_errors(uses: Sequence[Rows], scores: Sequence[Floats]) -> list[CalibrationError]:
    """The errors of each of the `USES` of which anything is known, by scores (N, L) of each."""
    errors = []
    for use, rows, said in zip(USES, uses, scores, strict=True):
        report = calibration_of(rows, said)
        if report is not None:
            alone = [label.error for label in report.worst]
            mean = float(np.mean(alone)) if alone else None
            errors.append(CalibrationError(use, report.overall.known, report.overall.error, len(alone), mean))
    return errors


def kept(use: str, rows: Rows, asked: float, may: NDArray[np.bool_], seed: int = 0) -> Kept:
    """What comes of asking for a precision: weights and thresholds by the photos of other folds.

    Args:
        use: Its name.
        rows: What is true.
        asked: The precision.
        may: (L,) labels that have curves.
        seed: Of the folds.
    """
    answers = right = true = 0
    spoke = []
    for inside in _folds(rows, seed):
        others, these = _part(rows, ~inside), _part(rows, inside)
        weights = fit_use(others)
        thresholds = {name: c.threshold(asked) for name, c in curves(others, chances(others, weights), may).items()}
        scores = chances(these, weights)
        spoke.append(sum(threshold is not None for threshold in thresholds.values()))
        for k, name in enumerate(rows.names):
            if not may[k]:
                continue
            threshold, known = thresholds.get(name), these.truth[:, k] >= 0
            said = scores[known, k] > (1.0 if threshold is None else threshold)
            yes = these.truth[known, k] == 1
            answers, right, true = answers + said.sum(), right + (said & yes).sum(), true + yes.sum()
    return Kept(
        use, asked, float(right / answers) if answers else np.nan, float(right / true) if true else np.nan,
        float(np.mean(spoke)) if spoke else 0.0, int(may.sum()),
    )  # fmt: skip


def _folds(rows: Rows, seed: int) -> list[NDArray[np.bool_]]:
    """(N,) which rows each fold measures; photos are dealt alike, and the same ones with the same seed."""
    photos = int(rows.photo.max()) + 1 if len(rows.photo) else 0
    dealt = np.random.default_rng(seed).permutation(photos) % FOLDS
    return [dealt[rows.photo] == fold for fold in range(FOLDS) if (dealt == fold).any()]


def _part(rows: Rows, inside: NDArray[np.bool_]) -> Rows:
    return rows._replace(logits=rows.logits[inside], truth=rows.truth[inside], photo=rows.photo[inside])


def shown_of(space: LabelSpace) -> NDArray[np.bool_]:
    """(L,) whether answers can hold a label."""
    return np.array([c.shown for c in space.categories] + [x.shown for x in space.labels], np.bool_)
