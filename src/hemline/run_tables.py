"""A comparison of runs as a table: for the terminal, and as Markdown, CSV and LaTeX."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from hemline.runs import Comparison, Row, Spread

WORDS = {
    "mean_average_precision": "AP",
    "mean_iou": "mean IoU",
    "foreground_iou": "foreground IoU",
    "mask.ap": "mask AP",
    "box.ap": "box AP",
    "photos_per_second": "photos/s",
    "seconds": "minutes",
}
"""Ends of figures in words; others are said as they are."""
LEAST_NAME = 22
"""Columns of the terminal that a run's name and recipe have at least."""
LONGEST = 28
"""Characters of a recipe's value in the terminal; of a longer one the middle is left out."""
LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "\n": " ",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}
MARKDOWN = {"\n": " ", **{sign: f"\\{sign}" for sign in "\\|`*_<[~"}}


# -- the terminal --------------------------------------------------------------------------------------------


def runs_table(comparison: Comparison, width: int) -> tuple[Table, list[str]]:
    """The comparison as a table; whoever calls prints it.

    Args:
        comparison: Runs.
        width: Columns that there are.

    Returns:
        The table, and the figures that have no place in it, the last ones.
    """
    console = Console(width=width)
    for count in range(len(comparison.figures), 0, -1):
        table = _table(comparison, comparison.figures[:count])
        if Measurement.get(console, console.options.update(max_width=10_000), table).minimum <= width:
            return table, comparison.figures[count:]
    return _table(comparison, comparison.figures[:1]), comparison.figures[1:]


def _table(comparison: Comparison, figures: Sequence[str]) -> Table:
    table = Table(
        box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), pad_edge=False,
        header_style="bold dim", caption_justify="left",
    )  # fmt: skip
    table.add_column("run", ratio=1, min_width=LEAST_NAME, overflow="fold")
    several = any(len(row.runs) > 1 for row in comparison.rows)
    sets, usual = _sets(figures), _usual(comparison)
    headings = [_heading(key, len(sets) > 1).replace(" ", "\n") for key in figures]
    for heading in (*(["n"] if several else []), "epochs,\nbest", *headings):
        table.add_column(Text(heading), justify="right", no_wrap=True)
    for i, row in enumerate(comparison.rows):
        if i and row.validation != comparison.rows[i - 1].validation:
            table.add_section()
        cells = [f"{_epochs(row)}\n{_cell('epoch', row.epoch, '±')}"]
        cells += [_cell(key, row.figures.get(key), "\n±") for key in figures]
        count = [str(len(row.runs))] if several else []
        table.add_row(_described(row, comparison.keys, usual), *count, *map(Text, cells))
    said = [f"Validated on {sets[0]}."] if len(sets) == 1 else []
    if usual:
        said.append(f"Where a run does not say otherwise: {' '.join(_set(key, value) for key, value in usual.items())}")
    table.caption = Text("\n".join(said))
    return table


def _usual(comparison: Comparison) -> dict[str, str]:
    """What most rows have of the keys that differ."""
    usual = {}
    recipes = [row for row in comparison.rows if row.recipe]
    for key in comparison.keys:
        values = Counter(_value(row, key) for row in recipes if key in row.recipe)
        value, count = values.most_common(1)[0]
        if 2 * count > len(recipes) and values.total() == len(recipes):  # what a run has not at all, it does not say
            usual[key] = value
    return usual


def _described(row: Row, keys: Sequence[str], usual: dict[str, str]) -> Text:
    """Name, recipe and problem of a row, below each other."""
    lines = [Text(_name(row), style="bold")]
    values = {key: _value(row, key) for key in keys if key in row.recipe}
    told = [_set(key, value) for key, value in values.items() if usual.get(key) != value]
    if told:
        lines.append(Text(" ".join(told), style="dim"))
    if row.problem:
        lines.append(Text(row.problem, style="yellow"))
    return Text("\n").join(lines)


def _set(key: str, value: str) -> str:
    """`key=value`; of a long value the middle is left out."""
    if len(value) > LONGEST:
        value = f"{value[: LONGEST // 3]}…{value[LONGEST // 3 + 1 - LONGEST :]}"
    return f"{_key(key)}={value}"


# -- text forms ----------------------------------------------------------------------------------------------


def markdown(comparison: Comparison) -> str:
    """The comparison as a table of Markdown, as GitHub has it."""
    headings, rows, words = _grid(comparison, " ± ")
    rows = [["".join(MARKDOWN.get(sign, sign) for sign in cell) for cell in row] for row in [headings, *rows]]
    rule = [":---" if i < words else "---:" for i in range(len(headings))]
    return "\n".join(f"| {' | '.join(row)} |" for row in [rows[0], rule, *rows[1:]])


def latex(comparison: Comparison) -> str:
    """The comparison as a LaTeX `tabular` for the package booktabs, with a rule between rows validated unlike."""
    headings, rows, words = _grid(comparison, " ± ")
    written = [" & ".join(_latex(cell) for cell in row) + r" \\" for row in [headings, *rows]]
    for i in range(len(rows) - 1, 0, -1):
        if comparison.rows[i].validation != comparison.rows[i - 1].validation:
            written.insert(i + 1, r"\midrule")
    columns = "l" * words + "r" * (len(headings) - words)
    return "\n".join(
        [
            r"% \usepackage{booktabs}",
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            written[0],
            r"\midrule",
            *written[1:],
            r"\bottomrule",
            r"\end{tabular}",
        ]
    )


def _latex(cell: str) -> str:
    return "".join(LATEX.get(sign, sign) for sign in cell).replace(" ± ", r" $\pm$ ")


def comma_separated(comparison: Comparison) -> str:
    """The comparison as CSV: keys as headings, all digits, and a column `KEY sd` for the deviation of grouped runs.

    `validation` numbers what rows were validated on, so that figures are compared only where it is the same.
    """
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    figures = ["epoch", *comparison.figures]
    if comparison.grouped:
        figures = [name for key in figures for name in (key, f"{key} sd")]
    writer.writerow(["run", "n", "validation", *comparison.keys, "epochs done", "epochs", *figures, "problem"])
    for row in comparison.rows:
        spreads = [row.epoch, *(row.figures.get(key) for key in comparison.figures)]
        numbers = [number for each in spreads for number in (each or (None, None))[: 1 + comparison.grouped]]
        recipe = [_value(row, key) if key in row.recipe else "" for key in comparison.keys]
        epochs = [_done(row), row.runs[0].epochs]
        names = ", ".join(run.name for run in row.runs)
        writer.writerow([names, len(row.runs), row.validation or None, *recipe, *epochs, *numbers, row.problem])
    return file.getvalue().removesuffix("\n")


def _grid(comparison: Comparison, between: str) -> tuple[list[str], list[list[str]], int]:
    """Headings and cells of a table for people, and how many of its columns are words."""
    several = any(len(row.runs) > 1 for row in comparison.rows)
    unlike = comparison.validations > 1
    problems = any(row.problem for row in comparison.rows)
    headings = ["run", *(["problem"] if problems else []), *map(_key, comparison.keys)]
    words = len(headings)
    headings += [*(["n"] if several else []), *(["validation"] if unlike else []), "epochs", "best epoch"]
    headings += [_heading(key, True) for key in comparison.figures]
    rows = []
    for row in comparison.rows:
        cells = [_name(row), *([row.problem] if problems else [])]
        cells += [_value(row, key) if key in row.recipe else "" for key in comparison.keys]
        cells += [*([str(len(row.runs))] if several else []), *([str(row.validation or "")] if unlike else [])]
        cells += [_epochs(row), _cell("epoch", row.epoch, between)]
        rows.append([*cells, *(_cell(key, row.figures.get(key), between) for key in comparison.figures)])
    return headings, rows, words


# -- cells ---------------------------------------------------------------------------------------------------


def _name(row: Row) -> str:
    names = [run.name for run in row.runs]
    return ", ".join(names) if len(names) <= 3 else f"{', '.join(names[:2])} and {len(names) - 2} more"


def _key(key: str) -> str:
    """A recipe's key, shortly: what is called `head.name` may be set as `head`."""
    return key.removesuffix(".name")


def _value(row: Row, key: str) -> str:
    """A recipe's value, as one would set it on the command line."""
    value = row.recipe[key]
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _done(row: Row) -> int:
    return min(run.done for run in row.runs)


def _epochs(row: Row) -> str:
    return f"{_done(row)}/{row.runs[0].epochs or '?'}"


def _sets(figures: Sequence[str]) -> list[str]:
    """The datasets that figures are of."""
    return list(dict.fromkeys(key.partition(".")[0] for key in figures if "." in key and not key.startswith("losses.")))


def _heading(key: str, named: bool) -> str:
    """A figure in words, with the name of its set or without."""
    name, dot, rest = key.partition(".")
    if not dot or name == "losses":
        name, rest = "", rest or name
    for end, words in WORDS.items():
        if rest == end or rest.endswith(f".{end}"):
            rest = rest.removesuffix(end) + words
    rest = rest.replace(".", " ").replace("_", " ")
    return f"{name} {rest}" if name and named else rest


def _cell(key: str, spread: Spread | None, between: str) -> str:
    """A mean, and its deviation where there is one, to as many digits."""
    if spread is None:
        return ""
    mean, deviation = (x if key != "seconds" or x is None else x / 60 for x in spread)
    assert mean is not None
    size = abs(mean)
    form = ".2g" if 0 < size < 0.001 else ".3f" if size < 10 else ".1f" if size < 1000 else ".0f"
    if key == "epoch":
        form = "g" if deviation is None else ".1f"
    return f"{mean:{form}}" if deviation is None else f"{mean:{form}}{between}{deviation:{form}}"
