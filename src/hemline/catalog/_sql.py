"""DuckDB over the parts of an OUT: in bounded memory, without the network, the same rows for any number of threads.

Both forms read alike: where a CSV holds JSON text, lists and structures come back.
"""

from __future__ import annotations

import csv
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet

from hemline.catalog.parts import Manifest, Table
from hemline.errors import CatalogError, UnwritableError, in_short

MEMORY = "512MB"
"""What DuckDB holds before it writes to its temporary folder."""
MOST_THREADS = 4
"""Each holds buffers of its own."""
TEMPORARY = ".duckdb-"
"""What its temporary folders' names begin with."""
LONGEST_LINE = 1 << 26
"""Bytes of a CSV's row, at most: masks and embeddings are text there."""
SCORED = 'STRUCT("group" VARCHAR, label VARCHAR, id VARCHAR, score FLOAT)[]'
TYPES = {
    **dict.fromkeys(("position", "duplicate_of"), "BIGINT"),
    **dict.fromkeys(("occurrence", "width", "height", "garments", "main_garment", "garment"), "INTEGER"),
    "is_main": "BOOLEAN",
    "score": "FLOAT",
    "colours": "STRUCT(name VARCHAR, hex VARCHAR, share FLOAT)[]",
    "attributes": SCORED,
}
"""Of a CSV's columns that are not text."""


@contextmanager
def database(folder: Path | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    """A DuckDB in memory that writes what it cannot hold to a temporary folder, which is removed in the end.

    Args:
        folder: Where the temporary folder is made; None leaves it to the system.

    Raises:
        CatalogError: a part is damaged or missing.
        UnwritableError: the disk is full, or nothing can be written there.
    """
    try:
        with tempfile.TemporaryDirectory(prefix=TEMPORARY, dir=folder) as temporary:
            settings: dict[str, str | bool | int | float | list[str]] = {
                "memory_limit": MEMORY,
                "threads": min(MOST_THREADS, os.cpu_count() or 1),
                "temp_directory": temporary,
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
            }
            with duckdb.connect(":memory:", config=settings) as connection:
                yield connection
    except duckdb.Error as error:
        raise CatalogError(f"the tags cannot be read ({in_short(error)})") from error
    except OSError as error:
        raise UnwritableError(f"{error.filename or folder}: cannot be written: {error.strerror or error}") from error


def sweep(folder: Path) -> None:
    """Remove the temporary folders that killed processes left in a folder; nobody may be working in it now."""
    for left in folder.glob(f"{TEMPORARY}*"):
        shutil.rmtree(left, ignore_errors=True)


def schema(manifest: Manifest, table: Table) -> pa.Schema:
    """The columns of a table, in their order; those of a CSV are all text.

    Raises:
        CatalogError: no part is finished, or the first one cannot be read.
    """
    if not manifest.parts:
        raise CatalogError(f"{manifest.folder}: no part is finished yet: let `hemline tag` go on")
    file = manifest.files(table)[0]
    try:
        if manifest.form == "parquet":
            return pyarrow.parquet.read_schema(file)
        with file.open(encoding="utf-8", newline="") as lines:
            return pa.schema([(name, pa.string()) for name in next(csv.reader(lines))])
    except (OSError, pa.ArrowException, StopIteration, ValueError) as error:
        raise CatalogError(f"{file}: cannot be read ({in_short(error)}): bring it back, or tag anew") from error


def incoming(photos: pa.Schema) -> list[str]:
    """The columns of the photos table that came in with the catalogue."""
    return _between(photos.names, "occurrence", "sha256")


def groups(garments: pa.Schema) -> list[str]:
    """The columns of the garments table that are attribute groups."""
    return _between(garments.names, "colours", "attributes")


def _between(names: Sequence[str], before: str, after: str) -> list[str]:
    return list(names[names.index(before) + 1 : names.index(after)])


def read_parts(manifest: Manifest, table: Table, names: Sequence[str]) -> str:
    """Columns of a table as SQL that stands after FROM. Those of a CSV that `TYPES` does not know are text."""
    files = ", ".join(text(_no_glob(file)) for file in manifest.files(table))
    if manifest.form == "parquet":
        return f"(SELECT {', '.join(map(name, names))} FROM read_parquet([{files}], hive_partitioning = false))"
    there = ", ".join(f"{text(column)}: 'VARCHAR'" for column in schema(manifest, table).names)
    return (
        f"(SELECT {', '.join(map(_typed, names))} FROM read_csv([{files}], auto_detect = false, header = true, "
        f"delim = ',', quote = '\"', escape = '\"', new_line = '\\n', nullstr = '', allow_quoted_nulls = false, "
        f"max_line_size = {LONGEST_LINE}, hive_partitioning = false, columns = {{{there}}}))"
    )


def _typed(column: str) -> str:
    kind = TYPES.get(column, "VARCHAR")
    json = "::JSON" if kind.endswith("[]") else ""
    return f"CAST({name(column)}{json} AS {kind}) AS {name(column)}"


def words(column: pa.Field, of: str) -> str:
    """The words of a column, a group's or the photo's categories, as text in SQL; lists as sets.

    Args:
        column: From `schema`.
        of: Before the column's name in SQL: an alias of its table.
    """
    value = f"{of}.{name(column.name)}"
    if pa.types.is_list(column.type):
        return as_set(value)
    several = as_set(f"CAST(TRY_CAST({value} AS JSON) AS VARCHAR[])")
    return f"CASE WHEN {value} = '[]' OR starts_with({value}, '[\"') THEN {several} ELSE {value} END"


def as_set(words: str) -> str:
    """A list as text in SQL: the sorted JSON of its words, each once."""
    return f"CAST(to_json(list_sort(list_distinct({words}))) AS VARCHAR)"


def _no_glob(file: Path) -> str:
    """A path in which nothing is a pattern."""
    return "".join(f"[{sign}]" if sign in "*?[" else sign for sign in str(file))


def text(value: str) -> str:
    """A text in SQL."""
    return "'" + value.replace("'", "''") + "'"


def name(column: str) -> str:
    """A column's name in SQL."""
    return '"' + column.replace('"', '""') + '"'
