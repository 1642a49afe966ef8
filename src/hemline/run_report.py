"""Writes `report.html` into a run's folder after each epoch, from the files that stand there and the network in hand.

The photos are answered anew only after the best epoch so far, by the weights of `best.safetensors`; other epochs, and a
resumed run, keep what the page before says of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hemline import console
from hemline.config import Config
from hemline.data.loading import Source
from hemline.evaluate import answerer
from hemline.metadata import read_metadata
from hemline.photo_answers import photo_answers
from hemline.run_folders import read_lines
from hemline.run_page import photos_of, run_page, taught_page
from hemline.whole_files import whole_file

if TYPE_CHECKING:
    from hemline._run import Run
    from hemline.watch import EpochReport

FILE = "report.html"


def write_run_report(run: Run, config: Config, sources: Sequence[Source], told: EpochReport) -> None:
    """Write the page, whole or not at all; what prevents it is said in a sentence, and training goes on.

    Args:
        run: Its folder holds the epoch's weights and figures already.
        config: Its recipe.
        sources: Its datasets.
        told: Of the epoch just done.
    """
    file = run.folder / FILE
    _write(file, lambda: _page(run, config, sources, told, file), f"after epoch {told.epoch}, and training goes on")


def write_taught_report(folder: Path, config: Config, taught: Sequence[Mapping[str, Any]]) -> None:
    """Write the page of a run that teaches new labels alone; what prevents it is said in a sentence.

    Args:
        folder: The run's.
        config: Its recipe.
        taught: Of each new label, what `hemline.enough` found.
    """
    _write(folder / FILE, lambda: taught_page(config, read_lines(folder / "environment.jsonl")[0], taught), "now")


def _write(file: Path, make: Callable[[], str], when: str) -> None:
    try:
        page = make()
        with whole_file(file) as temporary:
            temporary.write_text(page, encoding="utf-8")
    except Exception as error:  # whatever it is, the run is worth more than its page
        reason = " ".join(str(error).split()) or type(error).__name__
        console.note(f"{file} is not written anew {when}: {reason}")


def _page(run: Run, config: Config, sources: Sequence[Source], told: EpochReport, file: Path) -> str:
    lines = read_lines(run.folder / "metrics.jsonl", needs="epoch")[0]
    weights, photos = None, ""
    if any("headline" in line for line in lines):        # else files of a run before, by the same name, may stand there
        weights = read_metadata(run.folder / "last.safetensors")
        if told.report is not None and told.best:
            answer = answerer(run.average.module, run.device)
            photos = photo_answers(told.report, sources, answer, weights, after=f"after epoch {told.epoch}")
        elif file.exists():
            photos = photos_of(file.read_text(encoding="utf-8"))
    return run_page(config, lines, read_lines(run.folder / "environment.jsonl")[0], weights, photos)
