"""The terminal: the only place that prints. Answers go to stdout, everything else to stderr."""

from __future__ import annotations

import json
import os
import sys
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
    from hemline.at_precision import Silent
    from hemline.colour import Colour
    from hemline.report import Report
    from hemline.result import Garment, Result
    from hemline.tagger import Failure
    from hemline.vocabulary import Vocabulary
    from hemline.words_said import ScoredLabel

STDOUT = "stdout"
"""What an `OSError` names where stdout takes no more."""

PIPED_WIDTH = 100
"""Columns of a table that goes to a file or another program."""

NOTHING = "-"


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


def note_silent(silent: Silent | None, precision: float | None) -> None:
    """Say, on stderr, what is never answered at the precision that was asked for; nothing where none was."""
    if silent is None:
        return
    words = ", ".join(silent.altogether)
    note(f"precision {precision:g}: {f'never said: {words}' if words else 'all words can be said'}")


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
    parts.append(_garments(result) if result.garments else Text("  no garment found", style="italic"))
    if result.labels:
        parts.append(_photo_labels(result.labels))
    answers().print(Group(*parts, ""))


def _garments(result: Result) -> RenderableType:
    vocabulary = result.vocabulary
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, expand=True, header_style="bold dim")
    table.add_column("garment", ratio=4)
    table.add_column("score", justify="right", no_wrap=True)
    table.add_column("share", justify="right", no_wrap=True)
    table.add_column("colours", no_wrap=True)
    table.add_column("attributes", ratio=7)
    if vocabulary is not None:
        table.add_column(f"{vocabulary.name} {vocabulary.version}", ratio=6)
    for garment in result.garments:
        for piece in (garment, *garment.parts):
            table.add_row(
                Padding(_name(piece), (0, 0, 0, 0 if piece is garment else 2)),
                _score(piece.score),
                _percent(piece.area) if piece.drawn is not None else NOTHING,
                _colours(piece.colours),
                _attributes(piece.attributes),
                *([] if vocabulary is None else [_shop(piece, vocabulary) if piece is garment else ""]),
            )
    return Padding(table, (0, 0, 0, 2))


def _shop(garment: Garment, vocabulary: Vocabulary) -> Text:
    from hemline.vocabulary import shop_words

    words = shop_words(garment, vocabulary)
    name = NOTHING if words.category is None else " > ".join(words.category.split(" > ")[-2:])
    lines = [Text.assemble((name, "bold"), (f"  {words.category_id}" if words.category_id else "", "dim"))]
    lines += [Text.assemble((f"{attribute}: ", "dim"), value) for attribute, value in words.attributes]
    if words.colours:
        lines.append(Text.assemble((f"{vocabulary.colours.attribute or 'colour'}: ", "dim"), ", ".join(words.colours)))
    return Text("\n").join(lines)


def _name(garment: Garment) -> Text:
    lines = [Text(garment.category, style="bold")]
    if garment.outfit_part is not None:
        lines.append(Text(garment.outfit_part, style="dim"))
    if garment.found_by == "label":
        drawn = "not drawn" if garment.drawn is None else "best region"
        lines.append(Text(f"by label, {drawn}", style="dim italic"))
    return Text("\n").join(lines)


def _colours(colours: Sequence[Colour]) -> RenderableType:
    if not colours:
        return Text(NOTHING, style="dim")
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True, min_width=12)  # forest green: so that the garments' columns stand in line
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True, min_width=5, justify="right")
    for colour in colours:
        swatch, code = Text("██", style=colour.hex), Text(colour.hex, style="dim")
        grid.add_row(swatch, colour.shade or colour.name, code, _percent(colour.share))
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


# -- evaluations --------------------------------------------------------------------------------------------


@on_stdout()
def show_report(report: Report) -> None:
    """Print an evaluation's tables."""
    print_report(report, answers())


def print_report(report: Report, console: Console) -> None:
    """Print an evaluation's tables on stdout or stderr."""
    from hemline.report_tables import report_table

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
    from hemline.taught import taught_table

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
