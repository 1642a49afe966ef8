"""`hemline evaluate --report DIR`: the figures of an evaluation as a page to read, and as JSON.

    write_page(...)              of weights: `DIR/index.html` and `DIR/figures.json`
    write_predictions_page(...)  of a file of predictions

The page is one file: its style, script and pictures are in it, and it loads nothing. All but the photos is made from
the figures alone.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from hemline._tally import Tally
from hemline.data import Dataset
from hemline.data.loading import Source
from hemline.errors import UnwritableError
from hemline.evaluate import Answerer
from hemline.evaluation_charts import CHART_STYLE
from hemline.evaluation_figures import evaluation_figures, prediction_figures
from hemline.evaluation_sections import sections, terms
from hemline.evaluation_summary import summary
from hemline.instance_report import InstanceReport
from hemline.metadata import Metadata
from hemline.page import document
from hemline.photo_answers import PHOTO_STYLE, photo_answers
from hemline.report import Report
from hemline.whole_files import whole_file

PAGE, FIGURES = "index.html", "figures.json"


def check_folder(folder: Path) -> None:
    """Make the folder, before anything is measured.

    Raises:
        UnwritableError: it cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UnwritableError(f"{folder}: cannot be made: {error.strerror or error}; name a folder") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UnwritableError(f"{folder}: nothing can be written there; choose another folder")


def write_page(
    folder: Path,
    weights: Path | str,
    report: Report,
    tallies: Sequence[Tally],
    sets: Sequence[tuple[Dataset, Sequence[int]]],
    answer: Answerer,
    metadata: Metadata,
) -> None:
    """Write the page and the figures of weights; some photos are answered again, to be shown.

    Args:
        folder: Where they go.
        weights: The file that was measured.
        report: What was found.
        tallies: What it was found from, in the order of its sets.
        sets: Each set's photos, and which of them were measured; in the same order.
        answer: What was measured.
        metadata: Its label space, canvas and thresholds.

    Raises:
        UnwritableError: the folder cannot be written to.
    """
    sources = [Source(dataset, [], np.zeros(0), indices) for dataset, indices in sets]
    photos = photo_answers(report, sources, answer, metadata, plain=True)
    _write(folder, evaluation_figures(report, tallies, weights), photos)


def write_predictions_page(folder: Path, found: InstanceReport, file: Path) -> None:
    """Write the page and the figures of a file of predictions.

    Args:
        folder: Where they go.
        found: What was found.
        file: The predictions.

    Raises:
        UnwritableError: the folder cannot be written to.
    """
    _write(folder, prediction_figures(found, file))


def evaluation_page(figures: Mapping[str, Any], photos: str = "") -> str:
    """The page as text.

    Args:
        figures: As `hemline.evaluation_figures` gives them.
        photos: Markup of `hemline.photo_answers`; "" where there is none.
    """
    report = figures["report"]
    count, names = sum(part["photos"] for part in report["sets"]), ", ".join(part["name"] for part in report["sets"])
    said = f"Measured on {count:,} {'photo' if count == 1 else 'photos'} of {names}"
    no_photos = (
        '<section id="photos"><h2>Worst and best answers</h2><p>None is shown: no photo has a score of its own here.'
        "</p></section>"
    )
    parts = {
        "summary": f"<section id='summary'><h2>In short</h2>{summary(figures)}</section>",
        **sections(figures),
        "photos": photos or no_photos,
        "terms": terms(figures, photos.count("<article")),
    }
    nav = "".join(f'<li><a href="#{key}">{escape(key.capitalize())}</a></li>' for key in parts)
    title = f"How well {report['weights']} answers"
    body = (
        f"<header><h1>{escape(title)}</h1><p class='said'>{escape(said)}</p></header><nav><ul>{nav}</ul></nav>"
        f"<main>{''.join(parts.values())}</main>"
    )
    return document(title, body, "evaluate", style=PHOTO_STYLE + CHART_STYLE)


def _write(folder: Path, figures: Mapping[str, Any], photos: str = "") -> None:
    check_folder(folder)
    texts = {FIGURES: json.dumps(figures, allow_nan=False, indent=1), PAGE: evaluation_page(figures, photos)}
    for name, text in texts.items():
        with whole_file(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
