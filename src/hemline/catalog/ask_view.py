"""Answers of `hemline query` and `hemline similar` on stdout: tables, JSON, CSV, paths."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa
from rich import box
from rich.table import Table
from rich.text import Text

from hemline import console
from hemline.catalog.similar import Hit
from hemline.catalog.views import batches
from hemline.errors import QueryError

COLUMN = "path"
"""What `--paths` prints."""


def rows_of(found: pa.RecordBatchReader) -> Iterator[dict[str, Any]]:
    """Rows as plain JSON, some in memory at a time."""
    for batch in batches(found):
        names = batch.schema.names
        columns = [batch.column(i).to_pylist() for i in range(len(names))]
        for row in zip(*columns, strict=True):
            yield {name: plain(value) for name, value in zip(names, row, strict=True)}


def plain(value: object) -> object:
    """A value as JSON holds it: single floats with their own digits, dates and the like as text, NaN as null."""
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        with np.errstate(over="ignore"):
            single = np.float32(value)
        return float(str(single)) if float(single) == value else value
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def print_rows(found: pa.RecordBatchReader, form: str, most: int | None, *, of_words: bool) -> int:
    """Print what a query found.

    Args:
        found: Its rows, or one row of one column `count` that says how many they are.
        form: `table`, `json`, `jsonl`, `csv`, `paths` or `count`.
        most: At most so many.
        of_words: The rows are garments; otherwise anything.

    Returns:
        How many they are.

    Raises:
        QueryError: two columns have one name, or the rows cannot be read on.
    """
    names = found.schema.names
    for name in names:
        if names.count(name) > 1:
            raise QueryError(f"two columns are called {name!r}: name one with AS")
    rows = islice(rows_of(found), most)
    if form == "count":
        count = int(next(rows)["count"]) if of_words and names == ["count"] else sum(1 for _ in rows)
        console.plain(str(count))
        return count
    if form in ("json", "jsonl"):
        return print_json(rows, lines=form == "jsonl")
    if form == "csv":
        return print_csv(names, rows)
    if form == "paths":
        return print_paths(names, rows)
    listed = list(rows)
    if listed:
        console.show_tables([garments_table(listed) if of_words else plain_table(names, listed)])
    if not listed:
        console.note("nothing found")
    elif len(listed) == most:
        console.note(f"the first {most}; --limit shows more, --count says how many there are")
    return len(listed)


def print_json(rows: Iterator[dict[str, Any]], *, lines: bool) -> int:
    """Print rows as a JSON list or JSON Lines; says how many they were."""
    listing = console.JsonList(lines=lines)
    try:
        for row in rows:
            listing.add(row)
    finally:
        listing.end()
    return listing.count


def print_csv(names: Sequence[str], rows: Iterator[dict[str, Any]]) -> int:
    """Print rows as CSV, lists and structures as JSON text; says how many they were."""
    count, lines = 0, [list[object](names)]
    while lines:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(lines)
        console.plain(text.getvalue(), end="")
        lines = [[_csv_cell(value) for value in row.values()] for row in islice(rows, 1000)]
        count += len(lines)
    return count


def print_paths(names: Sequence[str], rows: Iterator[dict[str, Any]]) -> int:
    """Print the path of each photo once, one a line; says how many they were.

    Raises:
        QueryError: the rows have no column `path`.
    """
    if COLUMN not in names:
        raise QueryError(f"--paths prints the column {COLUMN}, and there is none: {', '.join(names)}")
    seen: set[str] = set()
    for row in rows:
        if (path := row[COLUMN]) is not None and path not in seen:
            seen.add(path)
            console.plain(str(path))
    return len(seen)


def garments_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """What a query of words found."""
    table = _table()
    for name in ("photo", "garment", "colours", "attributes"):
        table.add_column(name, overflow="fold")
    table.add_column("score", justify="right", no_wrap=True)
    for row in rows:
        attributes = ", ".join(label["label"] for label in row["attributes"] or [])
        garment = f"{row['category']} ({row['garment']})"
        table.add_row(
            _text(row["path"]), _text(garment), _colours(row["colours"] or []), _text(attributes), f"{row['score']:.2f}"
        )
    return table


def plain_table(names: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> Table:
    """What a query of SQL found."""
    table = _table()
    for name in names:
        table.add_column(_text(name), overflow="fold")
    for row in rows:
        table.add_row(*(_text(console.NOTHING if value is None else _csv_cell(value)) for value in row.values()))
    return table


def hits_table(hits: Sequence[Hit]) -> Table:
    """Similar garments."""
    table = _table()
    table.add_column("alike", justify="right", no_wrap=True)
    for name in ("photo", "garment", "colours", "the same file"):
        table.add_column(name, overflow="fold")
    for hit in hits:
        colours = _colours([colour._asdict() for colour in hit.colours])
        garment = f"{hit.category} ({hit.garment})"
        table.add_row(f"{hit.similarity:.3f}", _text(hit.path), _text(garment), colours, _text(", ".join(hit.copies)))
    return table


def _table() -> Table:
    return Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold dim")


def _text(value: object) -> Text:
    """A text of the tables, which may hold what a terminal would obey."""
    return Text("".join(sign if sign.isprintable() else "?" for sign in str(value)))


def _colours(colours: Sequence[Mapping[str, Any]]) -> Text:
    line = Text()
    for colour in colours:
        line.append("██", style=str(colour["hex"]))
        line.append(f" {colour.get('shade') or colour['name']} {colour['share']:.0%} ")
    return line


def _csv_cell(value: object) -> object:
    return json.dumps(value) if isinstance(value, list | dict) else value
