"""Thresholds that suit the answers of one network best, chosen on photos it has not learnt from.

Figures measured at thresholds chosen on the same photos flatter a little; IoU and F1 do, average precision does not.

Shapes: N rows, L labels, K mask classes, H W a photo's map.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hemline._average_precision import average_precision
from hemline._bootstrap import Floats
from hemline.metrics import IGNORED

NEVER = 1.0
"""A threshold that no score is above: the label is never answered."""
LEAST = 0.25
"""The lowest threshold of a label: F1 of a rare one can be best at 0.02, and nobody wants to be told what is not so."""
FEWEST = 5
"""With fewer known positives, or fewer known negatives, than these no threshold can be trusted."""
GRID = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)


def best_thresholds(
    scores: NDArray[np.floating[Any]], truth: NDArray[np.int8], *, fewest: int = FEWEST, least: float = LEAST
) -> tuple[float, ...]:
    """For each label the threshold with the highest F1, halfway between two scores; the higher one of equals.

    A label gets `NEVER` where it has fewer than `fewest` positives or negatives, or an average precision that does
    not beat its frequency: a score that means nothing is better left unsaid.

    Args:
        scores: (N, L) probabilities.
        truth: (N, L) 1 yes, 0 no, -1 unknown.
        fewest: Known positives, and known negatives, that a label must have.
        least: No threshold is lower.

    Returns:
        L probabilities.
    """
    thresholds = []
    for column, said in zip(scores.T.astype(np.float64), truth.T, strict=True):
        known = said >= 0
        yes = said[known] == 1
        learnt = min(yes.sum(), (~yes).sum()) >= max(fewest, 1)
        learnt = learnt and average_precision(column[known], yes)[0] > yes.mean()
        thresholds.append(_best_threshold(column[known], yes, least) if learnt else NEVER)
    return tuple(thresholds)


def _best_threshold(scores: Floats, yes: NDArray[np.bool_], least: float) -> float:
    order = np.argsort(-scores, kind="stable")
    scores, yes = scores[order], yes[order]
    ends = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)  # answering the rows up to each distinct score
    ends = ends[scores[ends] > least]                                   # the others pass no threshold
    if not ends.size:                                                   # nothing was found of what is asked
        return NEVER
    f1 = 2 * np.cumsum(yes)[ends] / (ends + 1 + yes.sum())
    last = ends[f1.argmax()]                                            # the first of equals: fewest answers
    lowest = scores[last]
    below = scores[last + 1] if last + 1 < len(scores) else 0.0
    return float(max(min((lowest + below) / 2, np.nextafter(lowest, -1)), least))  # neighbours may have no half way


def mask_thresholds(
    photos: Iterable[tuple[NDArray[np.floating[Any]], NDArray[np.integer[Any]]]],
    competing: Sequence[int],
    num_masks: int,
    *,
    grid: Sequence[float] = GRID,
    rounds: int = 3,
    pixels_per_photo: int = 8192,
) -> tuple[float, ...]:
    """For each competing class the threshold of `grid` that serves the mean IoU best, one class at a time.

    Every class starts at 0.5 and keeps it unless another threshold is better; classes that the truth never shows, and
    those that do not compete, keep it too. Photos are read once, and `pixels_per_photo` evenly spaced pixels kept.

    Args:
        photos: For each photo the logits (K, H, W) and the truth (H, W): 0 background, 1 + i the class competing[i],
            `IGNORED` unknown.
        competing: Mask channels among which a pixel's answer is chosen.
        num_masks: K.
        grid: Probabilities to choose from.
        rounds: Passes over the classes, at most.
        pixels_per_photo: Pixels kept of each photo.

    Returns:
        K probabilities.
    """
    kept = [_sample_pixels(logits[list(competing)], truth, pixels_per_photo) for logits, truth in photos]
    chosen = np.full(num_masks, 0.5)
    if not kept:
        return tuple(chosen.tolist())
    logits = np.concatenate([columns for columns, _ in kept], axis=1)  # (C - 1, N): one row a competing class
    truth = np.concatenate([classes for _, classes in kept])
    shown = [c for c in range(len(competing)) if (truth == c + 1).any()]
    best = np.zeros(len(competing))                                    # as logits: 0 is the probability 0.5
    steps = sorted(np.log(np.divide(grid, np.subtract(1, grid))), key=abs)
    for _ in range(rounds):
        before = best.copy()
        for c in shown:
            best[c] = _best_step(logits, truth, best, c, steps)
        if (best == before).all():
            break
    chosen[list(competing)] = 1 / (1 + np.exp(-best))
    return tuple(chosen.tolist())


def _best_step(logits: Floats, truth: NDArray[np.int64], at: Floats, c: int, steps: Sequence[float]) -> float:
    """The best threshold (a logit) of class c while the others stay; the present one unless another is better."""
    num = len(logits) + 1
    margins = logits - at[:, None]
    margins[c] = -np.inf
    rival = np.maximum(margins.max(0), 0)                              # nothing is answered at margin 0
    other = np.where(rival > 0, margins.argmax(0) + 1, 0)
    best, highest = at[c], -1.0
    for step in [at[c], *steps]:
        said = np.where(logits[c] - step > rival, c + 1, other)
        pairs = np.bincount(truth * num + said, minlength=num * num).reshape(num, num)
        hit, true = np.diag(pairs), pairs.sum(1)
        iou = hit[true > 0] / (true + pairs.sum(0) - hit)[true > 0]
        if iou.mean() > highest:
            best, highest = step, float(iou.mean())
    return float(best)


def _sample_pixels(
    logits: NDArray[np.floating[Any]], truth: NDArray[np.integer[Any]], most: int
) -> tuple[Floats, NDArray[np.int64]]:
    known = np.flatnonzero(truth != IGNORED)
    known = known[np.linspace(0, len(known) - 1, min(most, len(known))).astype(np.int64)]
    return logits.reshape(len(logits), -1)[:, known].astype(np.float32), truth.ravel()[known].astype(np.int64)
