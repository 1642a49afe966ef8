"""Platt scaling: logits made log odds by a slope and an intercept each, fitted by penalised maximum likelihood.

`logit' = slope * logit + intercept` (Platt, 1999: Probabilistic outputs for support vector machines). A label with few
positives would fit noise, so each is drawn towards the common fit of all labels: the penalty is that of a Gaussian
prior around it. Slopes stay above 0, so that no label's ranking changes.

Shapes: N rows, D features and the constant 1 behind them, L labels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hemline._bootstrap import Floats

LEAST_SLOPE = 0.05
"""No slope is less."""
PRIOR = (8.0, 2.0)
"""Weights of the squared distances from the common fit: of slopes and of the intercept. Chosen by the log loss of
photos that the fit has not seen."""
STEPS = 50
"""Of Newton's method, at most; a handful are enough."""


def fit_labels(logits: Floats, truth: NDArray[np.int8], prior: tuple[float, float] = PRIOR) -> tuple[Floats, Floats]:
    """The slope and the intercept of each label.

    Args:
        logits: (N, L); NaN where nothing was answered, which is left out.
        truth: (N, L) 1 yes, 0 no, -1 unknown.
        prior: Weights of the squared distances from the common fit, of slopes and of the intercept.

    Returns:
        (L,) and (L,); those of the common fit for labels of which nothing is known, and 1 and 0 where that is so of
        all.
    """
    labels = [np.flatnonzero((said >= 0) & np.isfinite(column)) for column, said in zip(logits.T, truth.T, strict=True)]
    features = [logits[rows, k, None] for k, rows in enumerate(labels)]
    fits = fit_alike(features, [truth[rows, k] == 1 for k, rows in enumerate(labels)], prior)
    return fits[:, 0], fits[:, 1]


def fit_alike(
    features: Sequence[Floats], yes: Sequence[NDArray[np.bool_]], prior: tuple[float, float] = PRIOR
) -> Floats:
    """Of several things alike, the weights of each: its features, then the constant.

    Args:
        features: Of each, (N, D).
        yes: Of each, (N,).
        prior: As of `fit_labels`.

    Returns:
        (things, D + 1).
    """
    count = features[0].shape[1]
    usual = np.r_[np.ones(1), np.zeros(count)]           # the first feature as it is
    weights = np.r_[np.full(count, prior[0]), prior[1]]
    every, said = np.concatenate(list(features)), np.concatenate(list(yes))
    common = fit_logistic(every, said, usual, weights)
    return np.stack([fit_logistic(x, y, common, weights) for x, y in zip(features, yes, strict=True)])


def fit_logistic(features: Floats, yes: NDArray[np.bool_], about: Floats, weights: Floats) -> Floats:
    """The (D + 1,) weights of least log loss, summed over rows, plus `weights / 2` times squared distances.

    All but the last, of the constant, are `LEAST_SLOPE` or more.

    Args:
        features: (N, D).
        yes: (N,).
        about: (D + 1,) what the weights are drawn to.
        weights: (D + 1,) how much; all above 0, so that there is one optimum.
    """
    rows = np.c_[features, np.ones(len(features))]
    least = np.r_[np.full(features.shape[1], LEAST_SLOPE), -np.inf]
    held = np.zeros(len(about), np.bool_)
    while True:
        start = np.where(held, least, np.maximum(about, least))
        found = _newton(rows, yes.astype(np.float64), start, ~held, about, weights)
        below = found < least
        if not below.any():
            return found
        held |= below                                    # the loss is convex: what would cross its bound lies on it


def _newton(
    rows: Floats, yes: Floats, start: Floats, free: NDArray[np.bool_], about: Floats, weights: Floats
) -> Floats:
    """Newton's method on the free weights, each step halved until the loss falls."""
    found, inside = start.copy(), rows[:, free]
    now = _loss(rows, yes, found, about, weights)
    for _ in range(STEPS):
        chance = _sigmoid(rows @ found)
        slope = inside.T @ (chance - yes) + (weights * (found - about))[free]
        curve = inside.T @ (inside * (chance * (1 - chance))[:, None]) + np.diag(weights[free])
        step = np.linalg.solve(curve, slope)
        size = 1.0
        while size > 1e-6:
            tried = found.copy()
            tried[free] -= size * step
            loss = _loss(rows, yes, tried, about, weights)
            if loss <= now:
                break
            size /= 2
        else:
            return found
        done = now - loss <= 1e-10 * (1 + abs(now))
        found, now = tried, loss
        if done:
            return found
    return found


def _loss(rows: Floats, yes: Floats, found: Floats, about: Floats, weights: Floats) -> float:
    logits = rows @ found
    return float(np.sum(np.logaddexp(0, logits) - yes * logits) + 0.5 * np.sum(weights * (found - about) ** 2))


def _sigmoid(logits: Floats) -> Floats:
    chance: Floats = 0.5 + 0.5 * np.tanh(0.5 * logits)
    return chance
