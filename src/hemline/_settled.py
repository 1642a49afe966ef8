"""What weights say once they were measured: scores that are probabilities, thresholds, curves.

Shapes: C categories, L labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hemline._tally import Tally, instance_thresholds_of, thresholds_of
from hemline.fitted_scores import Rows, chances, fitted
from hemline.metadata import Metadata
from hemline.metrics import LabelScores
from hemline.report import Report
from hemline.scores import Scores
from hemline.thresholds import NEVER


def settle(tallies: Sequence[Tally], metadata: Metadata, uses: Sequence[Rows] | None) -> Metadata:
    """Fit the scores to what was counted, turn it by them, and choose the thresholds that suit it best.

    Args:
        tallies: Changed in place: they count what these thresholds let pass.
        metadata: That they were counted by.
        uses: What `rows_of` makes of the tallies, counted without `Metadata.scores`; None leaves scores as they are.

    Returns:
        The metadata with scores without curves, and with thresholds.
    """
    if uses is not None:
        scores = fitted(uses)
        metadata = replace(metadata, scores=scores)
        for tally in tallies:
            tally.rescore(scores)
    of_photo, of_garment = thresholds_of(tallies, metadata)
    least, areas = instance_thresholds_of(tallies, metadata)
    settled = replace(
        metadata, label_thresholds=of_garment, photo_thresholds=of_photo, instance_scores=least, instance_areas=areas
    )
    for tally in tallies:                                # F1 is that of the file these thresholds are saved with
        tally.whole.thresholds, tally.garments.thresholds = np.asarray(of_photo), np.asarray(of_garment)
        tally.metadata = settled
    return settled


def proven(
    scores: Scores, uses: Sequence[Rows], of_photo: Sequence[float], of_garment: Sequence[float]
) -> tuple[NDArray[np.bool_], ...]:
    """Of each use, the labels (L,) or categories (C,) that answers can hold and that are better than chance.

    Of garments found by their masks, it is the score of their category among all photos that must be: 0 where none was
    found.

    Args:
        scores: That suit the rows.
        uses: Of `rows_of`.
        of_photo: (L,) thresholds of the whole photo, `NEVER` of what is not better (`only_better_than_chance`).
        of_garment: (L,) of garments, likewise.
    """
    photo, garments, masks = uses
    counted = LabelScores(masks.names, [0.5] * len(masks.names))
    for one, truth in zip(chances(masks, np.array(scores.masks.weights)), masks.truth, strict=True):
        counted.update(one[None], truth[None])
    better = {x.name for x in counted.compute().labels if x.average_precision.low > x.prior}
    return (
        (np.array(of_photo) < NEVER) & photo.shown,
        (np.array(of_garment) < NEVER) & garments.shown,
        masks.shown & [name in better for name in masks.names],
    )


def at_best(metadata: Metadata, report: Report) -> Metadata:
    """The metadata of weights with what the report of `score_network` chose, and its figures."""
    return replace(
        metadata,
        label_thresholds=report.label_thresholds,
        photo_thresholds=report.photo_thresholds,
        instance_scores=report.instance_scores or metadata.instance_scores,
        instance_areas=report.instance_areas or metadata.instance_areas,
        scores=report.scores or metadata.scores,
        metrics=report.to_dict(),
    )
