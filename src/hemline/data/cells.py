"""Tables as columns of codes: CSV, TSV and Parquet, read without an object for each cell.

Each column is kept as its distinct cells and, for each row, which of them stands there: a million rows of a shop's
export have a few hundred distinct cells in most columns, and whatever is asked of a cell is asked once.

Shapes: N rows.
"""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hemline.errors import DataError, in_short

if TYPE_CHECKING:
    import pyarrow as pa

DELIMITERS = ",;\t"
CHUNK = 1024
"""Rows read at a time: few, so that they are let go before Python looks for garbage among them."""
BEGINNING = 65536
"""Characters that the delimiter is told from."""


class Column(NamedTuple):
    """One column."""

    codes: NDArray[np.int32]
    """(N,) positions in `cells`."""
    cells: Sequence[str | tuple[str, ...]]
    """Distinct cells as they stand in the file; a tuple where a cell is itself a list. An empty one is `""` or `()`."""


@dataclass(frozen=True)
class Cells:
    """A table."""

    file: Path
    rows: int
    columns: dict[str, Column]
    damaged: dict[int, str]
    """Rows (0-based) that have another number of cells than the header, and what is wrong with them."""
    delimiter: str | None
    """None of a Parquet file."""

    def places(self, rows: Sequence[int]) -> list[str]:
        """Where rows (0-based, rising) stand in the file: `line 12`, or `row 12` of a Parquet file."""
        if self.delimiter is None:
            return [f"row {row + 1}" for row in rows]
        wanted, found = iter(rows), []
        row = next(wanted, None)
        with self.file.open(encoding="utf-8-sig", newline="") as text:
            reader = csv.reader(text, delimiter=self.delimiter)
            next(reader)
            number, begin = 0, reader.line_num + 1
            for cells in reader:
                if any(cells):
                    while number == row:
                        found.append(f"line {begin}")
                        row = next(wanted, None)
                    number += 1
                if row is None:
                    break
                begin = reader.line_num + 1
        return found


def read_cells(file: Path) -> Cells:
    """Read a table.

    The delimiter is the one of `,` `;` and tab that parts the header into most columns. Rows without any text are
    not counted.

    Args:
        file: CSV or TSV in UTF-8 with or without its mark, or Parquet, told by its content.

    Raises:
        DataError: it is no such table, two columns share a name, or it has no row.
    """
    if not file.is_file():
        raise DataError(f"table: {file} is no file; give the table itself, a .csv, .tsv or .parquet")
    with file.open("rb") as content:
        head = content.read(4)
    if head == b"PK\x03\x04":
        raise DataError(f"table: {file} is a spreadsheet's own file; save it as CSV UTF-8 and give that")
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise DataError(f"table: {file} is UTF-16; save it as UTF-8")
    cells = _read_parquet(file) if head == b"PAR1" else _read_text(file)
    if not cells.rows:
        raise DataError(f"table: {file} has a header and no row")
    return cells


def _read_text(file: Path) -> Cells:
    try:
        with file.open(encoding="utf-8-sig", newline="") as text:
            delimiter = _delimiter(text.read(BEGINNING))
            text.seek(0)
            return _coded(file, csv.reader(text, delimiter=delimiter), delimiter)
    except UnicodeDecodeError as error:
        raise DataError(f"table: {file}, {_not_utf8(file)}; save the table as UTF-8 (CSV UTF-8)") from error
    except csv.Error as error:
        raise DataError(
            f"table: {file} is not a readable table ({in_short(error)}); is there a quote that is not closed?"
        ) from error
    except OSError as error:
        raise DataError(f"table: {file} cannot be read ({in_short(error)})") from error


def _delimiter(beginning: str) -> str:
    def columns(delimiter: str) -> int:
        return len(next(csv.reader(io.StringIO(beginning, newline=""), delimiter=delimiter), []))

    return max(DELIMITERS, key=columns)


def _coded(file: Path, reader: Iterator[list[str]], delimiter: str) -> Cells:
    names = [clean(name) for name in next(reader, [])]
    if not any(names):
        raise DataError(f"table: {file} is empty; its first line names its columns")
    _refuse_twice(file, names)
    known = [_numbered() for _ in names]
    parts: list[list[NDArray[np.int32]]] = [[np.empty(0, np.int32)] for _ in names]
    damaged: dict[int, str] = {}
    rows = 0
    while taken := list(islice(reader, CHUNK)):
        chunk = list(filter(any, taken))
        if set(map(len, chunk)) - {len(names)}:
            chunk = [_fitted(row, len(names), rows + i, damaged) for i, row in enumerate(chunk)]
        rows += len(chunk)
        for cells, numbers, part in zip(zip(*chunk, strict=True), known, parts, strict=False):   # no row: no column
            part.append(np.fromiter(map(numbers.__getitem__, cells), np.int32, len(cells)))
    columns = {
        name: Column(np.concatenate(part), list(numbers))
        for name, part, numbers in zip(names, parts, known, strict=True)
        if name
    }
    return Cells(file, rows, columns, damaged, delimiter)


def _numbered() -> defaultdict[Any, int]:
    """A mapping that gives each new key the next number."""
    numbers: defaultdict[Any, int] = defaultdict()
    numbers.default_factory = numbers.__len__
    return numbers


def _fitted(row: list[str], width: int, number: int, damaged: dict[int, str]) -> list[str]:
    if len(row) < width or any(cell.strip() for cell in row[width:]):
        damaged[number] = f"{len(row)} cells; the header has {width}"
    return [*row[:width], *[""] * (width - len(row))]


def _not_utf8(file: Path) -> str:
    content = file.read_bytes()
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        return f"line {line}: byte 0x{content[error.start]:02x} is not UTF-8"
    return "it is not UTF-8"                              # it changed while it was read


def _refuse_twice(file: Path, names: Sequence[str]) -> None:
    if twice := sorted({name for name in names if name and names.count(name) > 1}):
        raise DataError(f"table: {file} has two columns {', '.join(map(repr, twice))}; give each a name of its own")


def _read_parquet(file: Path) -> Cells:
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise DataError(f'table: {file}: Parquet needs one more package: pip install "hemline[parquet]"') from error
    try:
        table = parquet.ParquetFile(file).read()
        names = [clean(name) for name in table.column_names]
        _refuse_twice(file, names)
        read = {name: _parquet_column(table.column(i)) for i, name in enumerate(names) if name}
    except (OSError, ValueError, NotImplementedError) as error:      # pyarrow's own errors derive from these
        if isinstance(error, DataError):
            raise
        raise DataError(f"table: {file} is not a readable Parquet file ({in_short(error)})") from error
    columns = {name: column for name, column in read.items() if column is not None}
    return Cells(file, table.num_rows, columns, {}, None)


def _parquet_column(values: pa.ChunkedArray) -> Column | None:
    """One column; None of a kind that holds no words, such as bytes or records."""
    import pyarrow as pa

    kind = values.type
    if pa.types.is_dictionary(kind):
        values, kind = values.cast(kind.value_type), kind.value_type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        numbers = _numbered()
        lists: Iterable[list[Any] | None] = values.to_pylist()
        cells = (tuple([_text(value) for value in row or ()]) for row in lists)
        codes = np.fromiter(map(numbers.__getitem__, cells), np.int32, len(values))
        return Column(codes, list(numbers))
    if pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return None
    if pa.types.is_null(kind):
        return Column(np.zeros(len(values), np.int32), [""])
    if not len(values):
        return Column(np.empty(0, np.int32), [""])
    encoded = pa.concat_arrays(values.dictionary_encode().unify_dictionaries().chunks)
    texts = [_text(value) for value in encoded.dictionary.to_pylist()]
    return Column(encoded.indices.fill_null(len(texts)).to_numpy().astype(np.int32), [*texts, ""])


def clean(value: str) -> str:
    """A text as a name: without blanks around it, and on one line."""
    if not value.isprintable():
        value = "".join(character if character.isprintable() else " " for character in value)
    return " ".join(value.split())


def _text(value: object) -> str:
    """A value as a person would write it: 36 for 36.0, nothing for no number."""
    if value is None or value != value:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
