"""Makes the scores of weights that exist probabilities, and gives them precision-recall curves: `hemline calibrate`.

Only the metadata change: what is fitted to the photos held out of training are lines through logits (`hemline.platt`),
thresholds and curves. Training and `hemline fit` end with the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from rich.table import Table

from hemline._bootstrap import Floats
from hemline._regions import logit, sigmoid
from hemline._settled import proven, settle
from hemline._tally import only_better_than_chance, rows_of
from hemline.checkpoint import fingerprint, halve, load, save
from hemline.errors import WeightsError
from hemline.evaluate import Progress, tally_of
from hemline.fitted_scores import (
    USES,
    CalibrationError,
    Kept,
    Rows,
    calibration_errors,
    chances,
    crossed,
    kept,
    own_chances,
    with_curves,
)
from hemline.measured_sets import check_request, open_sets
from hemline.metadata import with_teaching
from hemline.report_tables import error_cells, new_table, number
from hemline.runtime import Finder
from hemline.scores import Scores, Use
from hemline.tagger import Tagger
from hemline.thresholds import FEWEST

ASKED = (0.8, 0.9, 0.95)
"""Precisions that are tried out."""


@dataclass(frozen=True)
class Calibrated:
    """What calibrating did."""

    photos: dict[str, int]
    """Of each set."""
    before: list[CalibrationError]
    """By the scores that the weights had."""
    after: list[CalibrationError]
    """By scores that were fitted to four fifths of the photos, on the fifth, in turn."""
    kept: list[Kept]
    """What came of asking for a precision, likewise."""


def calibrate(
    weights: str | Path,
    data: Mapping[str, Path | None],
    out: str | Path,
    *,
    runtime: Literal["auto", "openvino", "onnxruntime", "torch"] = "auto",
    device: Literal["auto", "cpu", "cuda"] = "auto",
    batch_size: int = 8,
    progress: Progress | None = None,
) -> Calibrated:
    """Fit scores, thresholds and curves to the photos that the weights were not trained on, and write the weights.

    A label of which the photos know fewer than `FEWEST` yes or no keeps its threshold, at its new scores.

    Args:
        weights: A `.safetensors` checkpoint.
        data: As of `hemline.evaluate.evaluate`.
        out: The checkpoint to write.
        runtime: What runs the network.
        device: What it runs on.
        batch_size: Photos that the network sees at a time.
        progress: Told how far it is.

    Raises:
        ConfigError, DataError, LabelError, DeviceError: as of `evaluate`.
        WeightsError: the weights are missing or damaged, or `out` is no `.safetensors` file in a folder that is there.
        UnwritableError: `out` cannot be written.
    """
    out = Path(out)
    if out.suffix.lower() != ".safetensors" or not out.absolute().parent.is_dir():
        raise WeightsError(f"{out}: weights are written to a .safetensors file in a folder that is there")
    check_request(data, "validation", batch_size, None)
    state, known = load(weights)
    bare = replace(known, labels=with_teaching(known), scores=None)
    sets = open_sets(bare, data, "validation")
    tagger = Tagger.load(weights, runtime=runtime, device=device)
    answer = tagger.runtime.find if isinstance(tagger.runtime, Finder) else tagger.run
    tallies = [
        tally_of(name, dataset, answer, bare, indices, batch_size, progress, answers=False, instances=False)
        for name, dataset, indices in sets
    ]
    uses = rows_of(tallies, bare.labels)
    settled = settle(tallies, bare, uses)
    assert settled.scores is not None
    sets_said = [tally.report() for tally in tallies]
    best = settled.photo_thresholds, settled.label_thresholds
    of_photo, of_garment = only_better_than_chance(best, sets_said, bare.labels)
    may = proven(settled.scores, uses, of_photo, of_garment)
    done = Calibrated(
        photos={name: len(indices) for name, _, indices in sets},
        before=calibration_errors(uses, scores_before(uses, known.scores)),
        after=calibration_errors(uses, [crossed(rows) for rows in uses]),
        kept=[kept(use, rows, asked, m) for use, rows, m in zip(USES, uses, may, strict=True) for asked in ASKED],
    )
    was, now, count = known.scores, settled.scores, len(bare.labels.categories)
    of_photo = _where_known(uses[0], of_photo, known.of_photo, None if was is None else was.photo, now.photo)
    of_garment = _where_known(
        uses[1], of_garment, known.label_thresholds, None if was is None else was.garments, now.garments
    )
    calibrated = replace(
        known,
        label_thresholds=of_photo[:count] + of_garment[count:],
        photo_thresholds=of_photo,
        scores=with_curves(settled.scores, uses, may),
        metrics={**known.metrics, "calibrated": asdict(done)},
    )
    save(out, state, calibrated, half=fingerprint(halve(state)) == known.weights_sha256)
    return done


def scores_before(uses: Sequence[Rows], scores: Scores | None) -> list[Floats]:
    """(N, L) of each use, the scores that weights had: those of the network where they hold none."""
    if scores is None:
        return [own_chances(rows) for rows in uses]
    of_uses = (scores.photo, scores.garments, scores.masks)
    return [chances(rows, np.array(use.weights)) for rows, use in zip(uses, of_uses, strict=True)]


def _where_known(
    rows: Rows, chosen: Sequence[float], before: Sequence[float], was: Use | None, now: Use
) -> tuple[float, ...]:
    """The (L,) thresholds that were chosen, and of labels that few rows know, those before, at the scores now."""
    yes, no = (rows.truth == 1).sum(0), (rows.truth == 0).sum(0)
    logits = logit(before) if was is None else (logit(before) - was.lines[:, 1]) / was.lines[:, 0]
    kept_as = sigmoid(logits * now.lines[:, 0] + now.lines[:, 1]).astype(np.float64)
    few = np.minimum(yes, no) < FEWEST
    return tuple(np.where(few, kept_as, np.array(chosen)).tolist())


def calibration_tables(done: Calibrated) -> list[Table]:
    """What calibrating did, in tables."""
    errors = new_table("Are scores probabilities? Expected calibration error, before and after", "scores")
    errors.add_column("use", no_wrap=True)
    for heading in ("answers", "error", "labels", "their mean"):
        errors.add_column(heading, justify="right", no_wrap=True)
    for what, found in (("before", done.before), ("after", done.after)):
        for one in found:
            errors.add_row(what, *error_cells(one))
        errors.add_section()
    errors.caption = (
        "After: fitted to four fifths of the photos and measured on the fifth, in turn; the weights hold what was "
        "fitted to all. Error: of all answers alike. Their mean: of labels with 15 yes and 15 no, each judged alone."
    )
    promises = new_table("What asking for a precision gives", "use")
    for heading in ("asked", "right", "recall", "words that speak"):
        promises.add_column(heading, justify="right", no_wrap=True)
    for kept_one in done.kept:
        spoke = f"{kept_one.spoke:.1f} of {kept_one.labels}"
        promises.add_row(
            kept_one.use, number(kept_one.asked), number(kept_one.precision), number(kept_one.recall), spoke
        )
    promises.caption = "Thresholds by four fifths of the photos, answers to the fifth, in turn; right: of all of these."
    return [errors, promises]
