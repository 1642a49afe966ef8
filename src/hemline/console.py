"""The terminal: the only place that prints. Answers go to stdout, everything else to stderr."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.rule import Rule
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:  # so that help does not wait for what answers photos
    from hemline.colour import Colour
    from hemline.config import Config
    from hemline.report import Report
    from hemline.result import Garment, Result
    from hemline.tagger import Failure
    from hemline.watch import EpochReport, StepReport
    from hemline.words_said import ScoredLabel

STDOUT = "stdout"
"""What an `OSError` names where stdout takes no more."""

PIPED_WIDTH = 100
"""Columns of a table that goes to a file or another program."""

NOTHING = "-"

LOG_EVERY = 60.0
"""Seconds between the lines of a training run whose messages do not go to a terminal."""


def answers() -> Console:
    """Stdout."""
    return _console(stderr=False)


def notes() -> Console:
    """Stderr."""
    return _console(stderr=True)


def _console(*, stderr: bool) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    wide = (stream is not None and stream.isatty()) or "COLUMNS" in os.environ
    return Console(stderr=stderr, width=None if wide else PIPED_WIDTH, highlight=False)


def note(text: str) -> None:
    """Say what happens, on stderr."""
    notes().print(Text(text, style="dim"), soft_wrap=True)


def error(text: str) -> None:
    """Say what went wrong, on stderr."""
    notes().print(Text.assemble(("error: ", "bold red"), text), soft_wrap=True)


def failure(failed: Failure) -> None:
    """Say which photo could not be read and why, on stderr."""
    text = failed.message if failed.photo in failed.message else f"{failed.photo}: {failed.message}"
    notes().print(Text.assemble(("no answer: ", "bold red"), text), soft_wrap=True)


@contextmanager
def on_stdout() -> Iterator[None]:
    """An error of writing within names stdout."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, STDOUT) from error


@on_stdout()
def plain(text: str, *, end: str = "\n") -> None:
    """Print a text on stdout as it is."""
    sys.stdout.write(text + end)
    sys.stdout.flush()


def plain_json(value: object) -> None:
    """Print plain data on stdout as one JSON text."""
    plain(json.dumps(value, allow_nan=False, indent=2))


class JsonList:
    """A JSON list on stdout, one entry a line as it is known; `lines` leaves out the list (JSON Lines)."""

    def __init__(self, *, lines: bool) -> None:
        self.lines = lines
        self.count = 0

    def add(self, entry: Mapping[str, object]) -> None:
        """Print one entry. ASCII, so that no file name and no terminal can break it."""
        before = "" if self.lines else ",\n" if self.count else "[\n"
        plain(before + json.dumps(entry, allow_nan=False), end="\n" if self.lines else "")
        self.count += 1

    def end(self) -> None:
        """Close the list."""
        if not self.lines:
            plain("\n]" if self.count else "[]")


# -- one photo -----------------------------------------------------------------------------------------------


@on_stdout()
def show(result: Result) -> None:
    """Print what is worn in a photo as a table, parts below their garment, then the labels of the photo as a whole."""
    height, width = result.size
    title = Text.assemble((result.photo, "bold"), (f"  {width} x {height} pixels", "dim"))
    parts: list[RenderableType] = [title]
    if title.cell_len < answers().width - 4:  # a rule would cut a long path
        parts = [Rule(title, align="left", style="dim")]
    parts.append(_garments(result.garments) if result.garments else Text("  no garment found", style="italic"))
    if result.labels:
        parts.append(_photo_labels(result.labels))
    answers().print(Group(*parts, ""))


def _garments(garments: Sequence[Garment]) -> RenderableType:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, expand=True, header_style="bold dim")
    table.add_column("garment", ratio=4)
    table.add_column("score", justify="right", no_wrap=True)
    table.add_column("share", justify="right", no_wrap=True)
    table.add_column("colours", no_wrap=True)
    table.add_column("attributes", ratio=7)
    for garment in garments:
        for piece in (garment, *garment.parts):
            table.add_row(
                Padding(_name(piece), (0, 0, 0, 0 if piece is garment else 2)),
                _score(piece.score),
                _percent(piece.area) if piece.mask is not None else NOTHING,
                _colours(piece.colours),
                _attributes(piece.attributes),
            )
    return Padding(table, (0, 0, 0, 2))


def _name(garment: Garment) -> Text:
    lines = [Text(garment.category, style="bold")]
    if garment.outfit_part is not None:
        lines.append(Text(garment.outfit_part, style="dim"))
    if garment.found_by == "label":
        drawn = "not drawn" if garment.mask is None else "best region"
        lines.append(Text(f"by label, {drawn}", style="dim italic"))
    return Text("\n").join(lines)


def _colours(colours: Sequence[Colour]) -> RenderableType:
    if not colours:
        return Text(NOTHING, style="dim")
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True, min_width=9)  # turquoise: so that the garments' columns stand in line
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True, min_width=5, justify="right")
    for colour in colours:
        swatch, code = Text("██", style=colour.hex), Text(colour.hex, style="dim")
        grid.add_row(swatch, colour.name, code, _percent(colour.share))
    return grid


def _attributes(attributes: Sequence[ScoredLabel]) -> RenderableType:
    if not attributes:
        return Text(NOTHING, style="dim")
    grid = Table.grid(padding=(0, 1, 0, 0), expand=True)
    grid.add_column(ratio=1)
    grid.add_column(no_wrap=True, justify="right")
    for label in attributes:
        grid.add_row(Text.assemble((f"{label.group}: ", "dim"), label.label), _score(label.score))
    return grid


def _photo_labels(labels: Sequence[ScoredLabel]) -> RenderableType:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column()
    for group, members in groupby(labels, key=lambda label: label.group):
        words = [Text.assemble(member.label, " ", _score(member.score)) for member in members]
        grid.add_row(group, Text(" · ").join(words))
    return Padding(Group("", Text("the photo as a whole", style="bold dim"), grid), (0, 0, 0, 2))


def _percent(share: float) -> str:
    return "<1 %" if 0 < share < 0.01 else f"{share:.0%}".replace("%", " %")


def _score(score: float) -> Text:
    return Text(f"{score:.2f}", style="green" if score >= 0.8 else "yellow" if score >= 0.5 else "dim")


# -- many photos ---------------------------------------------------------------------------------------------


class Bar:
    """A progress bar on stderr, drawn where stderr is a terminal."""

    def __init__(self, what: str, total: int) -> None:
        self._progress = _progress(wanted=total > 1)
        self._task = self._progress.add_task(what, total=total)

    def __enter__(self) -> Bar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Take the bar away while something is printed, and count one photo more."""
        self._progress.stop()
        yield
        self._progress.advance(self._task)
        if not self._progress.finished:
            self._progress.start()


class Counter:
    """Bars on stderr, one for each set that is measured."""

    def __init__(self) -> None:
        self._progress = _progress()
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Counter:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def __call__(self, name: str, done: int, total: int) -> None:
        """Show how many photos of a set are done."""
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(name, total=total)
        self._progress.update(self._tasks[name], completed=done)


def _progress(*, wanted: bool = True) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=notes(),
        transient=True,
        disable=not (wanted and sys.stderr.isatty()),
    )


# -- training ------------------------------------------------------------------------------------------------


class TrainingView:
    """Shows how a training run goes: a bar an epoch, then a line of figures. A `hemline.watch.Watcher`."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[said]}"),
            console=notes(),
            transient=True,
            disable=not sys.stderr.isatty(),
        )
        self._task = self._progress.add_task("", said="", start=True)
        self._epochs = 0
        self._said_at = time.monotonic()
        self._last: Report | None = None

    def __enter__(self) -> TrainingView:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def begin(self, config: Config, folder: Path, device: str, num_photos: int) -> None:
        """Say what is trained, on what, and where its files go."""
        self._epochs = config.epochs
        photos = f"{num_photos} photos an epoch, {config.epochs} epochs"
        note(f"training {config.name} on {device}: {photos}, files in {folder}")

    def weighed(self, kind: str, weights: dict[str, float]) -> None:
        """Say how much each class counts in the mask losses."""
        note(f"{kind}: " + ", ".join(f"{name} {weight:.3g}" for name, weight in weights.items()))

    def note(self, text: str) -> None:
        """As `note`."""
        note(text)

    def step(self, report: StepReport) -> None:
        """Move the bar."""
        losses = " ".join(f"{name.split(': ')[-1]} {value:.3f}" for name, value in report.losses.items() if value)
        said = f"{_time(report.seconds_left)} left  {report.photos_per_second:.0f} photos/s  {losses}"
        self._progress.update(
            self._task,
            description=f"epoch {report.epoch + 1}/{self._epochs}",
            completed=report.step,
            total=report.num_steps,
            said=said,
        )
        if not sys.stderr.isatty() and time.monotonic() - self._said_at > LOG_EVERY:
            self._said_at = time.monotonic()
            note(f"epoch {report.epoch + 1}/{self._epochs}  {report.step}/{report.num_steps}  {said}")

    def epoch(self, told: EpochReport) -> None:
        """Print the main figures of an epoch on a line; the tables of the last one stand in `tables`."""
        report, epoch, best = told.report, told.epoch, told.best
        if report is None:
            return
        main = ("headline", "mean_iou", "pixel_accuracy", "mean_average_precision")
        figures = [
            f"{name.replace('mean_average_precision', 'AP').replace('_', ' ')} {value:.3f}"
            for name, value in report.summary().items()
            if value is not None and (name.rpartition(".")[2] in main or name.endswith(".mask.ap"))
        ]
        said = ("  best yet", "green") if best else ""
        notes().print(Text.assemble((f"epoch {epoch}/{self._epochs}  ", "bold"), "  ".join(figures), said))
        self._last = report

    def end(self) -> None:
        """Nothing is left to close."""

    def tables(self) -> None:
        """Print the tables of the last validation."""
        if self._last is not None:
            _print_report(self._last, notes())


def _time(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


@on_stdout()
def show_report(report: Report) -> None:
    """Print an evaluation's tables."""
    _print_report(report, answers())


def _print_report(report: Report, console: Console) -> None:
    from hemline.report import report_table

    for table in report_table(report):
        console.print(table)


@on_stdout()
def show_tables(tables: Iterable[Table]) -> None:
    """Print what a command answers in tables."""
    for table in tables:
        answers().print(table)


def show_taught(weights: Path) -> None:
    """Print, on stderr, whether the photos were enough for each label that was taught to weights later."""
    from hemline.metadata import TAUGHT, read_metadata
    from hemline.report import taught_table

    if taught := read_metadata(weights).metrics.get(TAUGHT):
        notes().print(taught_table(taught))


# -- recipes -------------------------------------------------------------------------------------------------


@on_stdout()
def show_configs(configs: Mapping[str, str]) -> None:
    """Print the recipes in the package, each with what it is for."""
    table = Table(box=box.SIMPLE_HEAD, header_style="bold dim")
    table.add_column("recipe", style="bold", no_wrap=True)
    table.add_column("what it is for")
    for name, description in configs.items():
        table.add_row(name, Text(description))
    answers().print(table)


@on_stdout()
def show_yaml(text: str) -> None:
    """Print a YAML, coloured on a terminal and as it is elsewhere."""
    if sys.stdout.isatty():
        answers().print(Syntax(text, "yaml", background_color="default"))
    else:
        plain(text, end="")
