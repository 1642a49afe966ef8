"""Tables that name photos: CSV, TSV and Parquet, read a few rows at a time, every cell as it stands."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
from pyarrow import parquet

from hemline._reading import nearest
from hemline.errors import DataError, in_short

PATH_COLUMNS = (
    "path", "file", "filename", "file_name", "filepath", "file_path", "photo", "photo_path", "photo_file", "photo_url",
    "image", "image_path", "image_file", "image_name", "image_url", "image_link", "image_src", "img", "img_path",
    "img_url", "picture", "picture_url", "url", "uri", "src", "link",
)  # fmt: skip
"""Names of columns that hold photos, in lower case; blanks and hyphens count as `_`."""

DELIMITERS = ",;\t"
BEGINNING = 65536
"""Characters that the delimiter is told from."""
VIEWS = {pa.string_view(): pa.string(), pa.binary_view(): pa.binary()}
MOST_IN_CELL = 10_000_000
"""Characters of the longest cell of a text; Python's own bound, 131,072, is less than some descriptions in HTML."""
ROWS = 1024
"""Rows of Parquet in memory at a time."""


class Row(NamedTuple):
    """One row."""

    place: str
    """Where it stands: `line 12` of a text (12 is its first), `row 12` of a Parquet file, counted from 1."""
    cell: str
    """What it has in the path column, without blanks around it; `""` where it names no photo."""
    values: dict[str, Any]
    """Every column, the path column, too."""
    problem: str | None
    """Why it names no photo; the rows after one that cannot be read are missing."""


class Sheet:
    """A table of photos.

    Args:
        file: The table, on this machine: CSV (with `,`, `;` or tab) or TSV in UTF-8, or Parquet, told by its content;
            of a name that ends in `.tsv` the delimiter is a tab.
        name: What it is called in errors.
        path_column: The column of paths or URLs; the only one of `PATH_COLUMNS` where it is not given.

    Raises:
        DataError: the file is no such table, or it has no such column, or several.
    """

    schema: pa.Schema
    """Its columns; text, if it is no Parquet file."""

    def __init__(self, file: Path, name: str, path_column: str | None = None) -> None:
        self.file, self.name, self._parquet = file, name, False
        try:
            with file.open("rb") as content:
                head = content.read(4)
            self._parquet = head == b"PAR1"
            self._refuse_foreign(head)
            self.schema = self._schema_of_parquet() if self._parquet else self._schema_of_text()
        except (OSError, ValueError, NotImplementedError, csv.Error) as error:  # pyarrow's own derive from these
            raise DataError(f"{name}: {self._why(error)}") from error
        self._refuse_twice()
        self.path_column = _path_column(self.schema.names, path_column, name)
        kind = self.schema.field(self.path_column).type
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or kind == pa.null()):
            raise DataError(f"{name}: column {self.path_column!r} holds {kind}, and no paths; name another with "
                            "--path-column")  # fmt: skip

    def __iter__(self) -> Iterator[Row]:
        """The rows in their order; what cannot be read is the last one, with its problem."""
        place = ""
        try:
            for row in self._parquet_rows() if self._parquet else self._text_rows():
                yield row
                place = row.place
        except (OSError, ValueError, NotImplementedError, csv.Error) as error:
            after = f"after {place}" if place else "its first row"
            values = dict.fromkeys(self.schema.names)
            yield Row(after, "", values, f"{self._why(error)}; the rows from here on are not read")

    def count(self) -> int:
        """How many rows there are, without reading them from Parquet; those of a text are read through."""
        if self._parquet:
            with parquet.ParquetFile(self.file) as table:
                return int(table.metadata.num_rows)
        return sum(1 for _ in self)

    def _schema_of_parquet(self) -> pa.Schema:
        with parquet.ParquetFile(self.file) as table:
            return pa.schema([pa.field(field.name, _plain(field.type)) for field in table.schema_arrow])

    def _schema_of_text(self) -> pa.Schema:
        with self._open() as text:
            beginning = text.read(BEGINNING)
        self._delimiter = "\t" if self.file.name.lower().endswith(".tsv") else _delimiter(beginning)
        with self._open() as text:
            names = next(csv.reader(text, delimiter=self._delimiter), [])
        names = [" ".join(name.split()) for name in names]
        while names and not names[-1]:  # a delimiter at the end of each line
            names.pop()
        if not names:
            raise ValueError("it is empty; its first line names its columns")
        return pa.schema([(name or f"column_{i}", pa.string()) for i, name in enumerate(names, start=1)])

    def _open(self) -> io.TextIOWrapper:
        return self.file.open(encoding="utf-8-sig", newline="")

    def _text_rows(self) -> Iterator[Row]:
        names = self.schema.names
        with self._open() as text:
            ended = False

            def lines() -> Iterator[str]:
                nonlocal ended
                yield from text
                ended = True

            reader = csv.reader(lines(), delimiter=self._delimiter)
            next(reader)
            begin = reader.line_num + 1
            while (cells := _next_cells(reader)) is not None:
                if ended:                                  # the reader looked for the rest of this row
                    raise csv.Error("the last row does not end")
                if any(cells):
                    problem = None
                    if len(cells) != len(names) and (len(cells) < len(names) or any(cells[len(names) :])):
                        problem = f"{len(cells)} cells; the header has {len(names)}"
                    values = dict.fromkeys(names) | dict(zip(names, cells, strict=False))
                    yield self._row(f"line {begin}", values, problem)
                begin = reader.line_num + 1

    def _parquet_rows(self) -> Iterator[Row]:
        number = 0
        with parquet.ParquetFile(self.file, pre_buffer=False) as table:
            for batch in table.iter_batches(batch_size=ROWS):
                columns = [
                    (column if column.type in (kind, *VIEWS) else column.cast(kind, safe=False)).to_pylist()
                    for column, kind in zip(batch.columns, self.schema.types, strict=True)
                ]
                for values in zip(*columns, strict=True):
                    number += 1
                    yield self._row(f"row {number}", dict(zip(self.schema.names, values, strict=True)), None)

    def _row(self, place: str, values: dict[str, Any], problem: str | None) -> Row:
        cell = (values[self.path_column] or "").strip()
        if problem is None and not cell:
            problem = f"no photo is named in column {self.path_column!r}"
        return Row(place, "" if problem else cell, values, problem)

    def _refuse_foreign(self, head: bytes) -> None:
        if head == b"PK\x03\x04":
            raise ValueError("it is a spreadsheet's own file; save it as CSV UTF-8 and give that")
        if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
            raise ValueError("it is UTF-16; save it as UTF-8")
        if self.file.name.lower().endswith((".parquet", ".pq")) and not self._parquet:
            raise ValueError("it is not a Parquet file, though it is named like one")

    def _refuse_twice(self) -> None:
        names = self.schema.names
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise DataError(
                f"{self.name}: two columns are called {', '.join(map(repr, twice))}; give each a name of its own"
            )

    def _why(self, error: Exception) -> str:
        if isinstance(error, UnicodeDecodeError):
            return f"{_not_utf8(self.file)}; save the table as UTF-8 (CSV UTF-8)"
        if isinstance(error, csv.Error):
            return f"not a readable table ({in_short(error)}); is there a quote that is not closed?"
        if self._parquet:
            return f"not a readable Parquet file ({in_short(error)})"
        return getattr(error, "strerror", None) or in_short(error)


def _next_cells(reader: Iterator[list[str]]) -> list[str] | None:
    before = csv.field_size_limit(MOST_IN_CELL)            # of all readers of this process
    try:
        return next(reader, None)
    finally:
        csv.field_size_limit(before)


def _path_column(names: Sequence[str], wanted: str | None, table: str) -> str:
    if wanted is not None:
        if wanted not in names:
            raise DataError(f"{table}: no column {wanted!r}{nearest(wanted, names)}")
        return wanted
    found = [name for name in names if re.sub(r"[\s-]+", "_", name.strip().lower()) in PATH_COLUMNS]
    if len(found) == 1:
        return found[0]
    listed = ", ".join(found or names)
    if found:
        raise DataError(f"{table}: which column names the photos, {listed}? Say it with --path-column")
    raise DataError(f"{table}: no column is named as one of photos (path, image, image_url, ...); say with "
                    f"--path-column which it is: {listed}")  # fmt: skip


def _delimiter(beginning: str) -> str:
    def columns(delimiter: str) -> int:
        return len(next(csv.reader(io.StringIO(beginning, newline=""), delimiter=delimiter), []))

    return max(DELIMITERS, key=columns)


def _not_utf8(file: Path) -> str:
    with file.open("rb") as content:
        for number, line in enumerate(content, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                return f"line {number}: byte 0x{line[error.start]:02x} is not UTF-8"
    return "it is not UTF-8"  # a surrogate cut by the end of a line, or it changed while it was read


def _plain(kind: pa.DataType) -> pa.DataType:
    """The type as Python's own values, and a CSV, can hold it: no dictionaries or views, microseconds at best."""
    if kind in VIEWS:
        return VIEWS[kind]
    if pa.types.is_dictionary(kind):
        return _plain(kind.value_type)
    if pa.types.is_timestamp(kind) and kind.unit == "ns":
        return pa.timestamp("us", kind.tz)
    if pa.types.is_duration(kind) and kind.unit == "ns":
        return pa.duration("us")
    return pa.time64("us") if kind == pa.time64("ns") else kind
