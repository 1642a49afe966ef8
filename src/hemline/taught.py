"""Whether the photos were enough for each new label, in words: what `hemline.enough` found, as plain data."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape as escape_html
from typing import Any, Literal

from rich import box
from rich.markup import escape
from rich.table import Table

from hemline.page import card, sort_table
from hemline.thresholds import FEWEST

Plain = Mapping[str, Any]
"""A `hemline.enough.Taught`; NaN may have become None."""
Verdict = Literal["enough", "not enough", "cannot be told"]
UNTOLD: Verdict = "cannot be told"

TITLE = "new labels: were the photos enough?"
HEADS = ("label", "yes", "no", "AP", "95 %", "chance", "half", "right", "found", "verdict")
SAID = (
    "Each photo is answered by rows that other photos taught. Half: AP where half of the photos teach; if AP is well "
    "above it, more photos would help. Right, found: share of the answers given, of the yes. Enough: the interval lies "
    "above chance, of 100 labels that no photo shows about 1 would do as well, and answers are surely (95 %) more "
    "often right than wrong. Other labels are never answered."
)


def taught_table(taught: Sequence[Plain]) -> Table:
    """The labels as a table for the terminal; of which nothing can be told, they stand below it."""
    table = Table(
        title=TITLE, title_justify="left", title_style="bold", caption_justify="left", box=box.SIMPLE_HEAD,
        header_style="bold dim",
    )  # fmt: skip
    table.add_column(HEADS[0], style="bold", overflow="fold")
    for head in HEADS[1:-1]:
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column(HEADS[-1], no_wrap=True)
    for one in _told(taught):
        style = "" if one["verdict"] == "enough" else "dim"
        table.add_row(*map(escape, [_name(one), *_cells(one)]), style=style)
    table.caption = escape(" ".join([SAID, *_untold(taught)]))
    return table


def taught_card(taught: Sequence[Plain]) -> str:
    """The same as a piece of an HTML page."""
    rows = []
    for one in _told(taught):
        cells = "".join(f"<td>{escape_html(cell)}</td>" for cell in _cells(one))
        rows.append(f"<tr><td>{escape_html(_name(one))}</td>{cells}</tr>")
    table = sort_table([(head, "") for head in HEADS], rows) if rows else ""
    return card(TITLE, " ".join([SAID, *_untold(taught)]), table)


def _told(taught: Sequence[Plain]) -> list[Plain]:
    return [one for one in taught if one["verdict"] != UNTOLD]


def _untold(taught: Sequence[Plain]) -> list[str]:
    """A sentence about the labels of which nothing can be told, if there are any."""
    names = [f"{_name(one)} ({one['positives']} yes, {one['negatives']} no)"
             for one in taught if one["verdict"] == UNTOLD]  # fmt: skip
    return [f"Cannot be told, for fewer than {FEWEST} say yes, or no: {'; '.join(names)}."] if names else []


def _name(one: Plain) -> str:
    """`group: label`; the label alone where that says its group."""
    group, label = str(one["group"]), str(one["label"])
    return label if label == group or label.startswith(f"{group}: ") else f"{group}: {label}"


def _cells(one: Plain) -> list[str]:
    ap = one["average_precision"]
    figures = [_number(one[key]) for key in ("half", "precision", "recall")]
    interval = f"{_number(ap['low'])}-{_number(ap['high'])}"
    counts = str(one["positives"]), str(one["negatives"])
    return [*counts, _number(ap["value"]), interval, _number(ap["trivial"]), *figures, str(one["verdict"])]


def _number(value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else f"{value:.2f}"
