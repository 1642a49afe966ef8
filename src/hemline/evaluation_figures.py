"""All that an evaluation found, as plain data: `figures.json`, and what the page of `evaluate_page` is made of.

It holds the report that `hemline evaluate --json` prints, and of each set what only the page shows: precision-recall
curves, calibration, and scores by garment size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hemline import __version__
from hemline._bootstrap import Floats
from hemline._tally import Tally
from hemline.calibration import calibration
from hemline.instance_report import InstanceReport
from hemline.labels import LabelSpace
from hemline.licenses import licenses
from hemline.metadata import finite
from hemline.metrics import LabelReport, LabelScores
from hemline.precision_recall import precision_recall
from hemline.report import Report
from hemline.size_scores import size_scores

SCHEMA_VERSION = 1


def evaluation_figures(report: Report, tallies: Sequence[Tally], weights: Path | str) -> dict[str, Any]:
    """Plain data for JSON; what cannot be said is None.

    Args:
        report: What was measured.
        tallies: What it was measured from, in the order of its sets.
        weights: The file, which names its licence and its data.
    """
    terms = licenses(weights)
    return {
        "schema_version": SCHEMA_VERSION,
        "hemline": __version__,
        "license": {"weights": terms.weights_license, "data": [asdict(source) for source in terms.data]},
        "report": report.to_dict(),
        "sets": [finite(_of_set(tally, part.labels, part.garments))
                 for tally, part in zip(tallies, report.sets, strict=True)],
    }  # fmt: skip


def prediction_figures(found: InstanceReport, file: Path) -> dict[str, Any]:
    """The same of a file of predictions, of which only garments one by one are scored."""
    part = {"name": found.name, "photos": found.photos, "terms": "", "instances": found.to_dict()}
    return {
        "schema_version": SCHEMA_VERSION,
        "hemline": __version__,
        "license": None,
        "report": {"weights": file.name, "split": None, "finds": "instances", "sets": [part]},
        "sets": [{"name": found.name, "sizes": [], "labels": None, "garments": None}],
    }


def _of_set(tally: Tally, labels: LabelReport | None, garments: LabelReport | None) -> dict[str, Any]:
    sizes = size_scores(tally.masks[0], _garments(tally.metadata.labels)) if len(tally.masks[0]) else []
    return {
        "name": tally.name,
        "sizes": [asdict(size) for size in sizes],
        "labels": of_labels(tally.whole, labels),
        "garments": of_labels(tally.garments, garments),
    }


def _garments(space: LabelSpace) -> frozenset[str]:
    """The mask classes that are garments, and no parts of any."""
    return frozenset(c.name for c in space.categories if c.index not in space.parts)


def of_labels(scores: LabelScores, report: LabelReport | None) -> dict[str, Any] | None:
    """Curves and calibration of the labels that are scored; None without any."""
    if report is None:
        return None
    said, truth, photo = scores.stacked()
    column = {name: index for index, name in enumerate(scores.names)}
    chosen = [column[label.name] for label in report.labels]
    found = calibration([label.name for label in report.labels], said[:, chosen], truth[:, chosen], photo)
    return {
        "curves": [_curve(label.name, said[:, k], truth[:, k])
                   for label, k in zip(report.labels, chosen, strict=True)],
        "in_use": _in_use(report, said[:, chosen], truth[:, chosen]),
        "calibration": None if found is None else
        asdict(found) | {"worst": [label.name for label in found.worst]},
    }  # fmt: skip


def _in_use(report: LabelReport, said: Floats, truth: NDArray[np.int8]) -> dict[str, int]:
    """What the thresholds in use give, of all (N, L) known answers together: counts."""
    answered = (said > [label.threshold for label in report.labels]) & (truth >= 0)
    return {
        "answered": int(answered.sum()),
        "right": int((answered & (truth == 1)).sum()),
        "true": int((truth == 1).sum()),
        "never_answered": int((~answered.any(0)).sum()),
    }


def _curve(name: str, scores: Floats, truth: NDArray[np.int8]) -> dict[str, Any]:
    known = truth >= 0
    points = precision_recall(scores[known], truth[known] == 1)
    return {"name": name, "points": [[round(value, 6) for value in point] for point in points]}
