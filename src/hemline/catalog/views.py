"""An OUT as views of a database in memory that can read the OUT's own files and nothing else.

`photos`, `garments` and, where `tag --product` wrote it, `products`. The database writes nothing, loads no extension,
reaches no network and sees no other file: what is asked of it may come from a web form. Both forms read alike: where a
CSV holds JSON text, lists and structures come back. `working_views` is for work of our own over whole tables.
"""

from __future__ import annotations

import csv
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import duckdb
import pyarrow as pa

from hemline.catalog.parts import Manifest, read_manifest
from hemline.errors import CatalogError, QueryError, UnwritableError, in_short

LABELS = 'STRUCT("group" VARCHAR, "label" VARCHAR, id VARCHAR, score FLOAT)[]'
OF_CSV = {
    "position": "BIGINT", "duplicate_of": "BIGINT", "occurrence": "INTEGER", "width": "INTEGER", "height": "INTEGER",
    "garments": "INTEGER", "main_garment": "INTEGER", "labels": LABELS, "garment": "INTEGER", "part_of": "INTEGER",
    "is_main": "BOOLEAN", "category_id": "INTEGER", "score": "FLOAT", "area": "FLOAT", "box_x": "INTEGER",
    "box_y": "INTEGER", "box_width": "INTEGER", "box_height": "INTEGER", "attributes": LABELS,
    "colours": 'STRUCT("name" VARCHAR, hex VARCHAR, "share" FLOAT, shade VARCHAR)[]', "embedding": "FLOAT[]",
    "shop_attributes": 'STRUCT(attribute VARCHAR, "value" VARCHAR)[]', "shop_colours": "VARCHAR[]",
}  # fmt: skip
"""Types of our own columns that are not text, in a CSV."""
COLOURS_BEFORE = 'STRUCT("name" VARCHAR, hex VARCHAR, "share" FLOAT)[]'
"""Type of `colours` in a CSV of before answers of version 1.3."""
CAME = {
    "int": "BIGINT", "uint": "UBIGINT", "float": "DOUBLE", "double": "DOUBLE", "bool": "BOOLEAN", "date32[day]": "DATE"
}  # fmt: skip
"""Types of columns that came in, by Arrow's names without the number of bits."""

ROWS = 20_000
"""That are in memory at a time."""
LONGEST_LINE = 1 << 26
"""Bytes of a CSV's row, at most: masks and embeddings are text there."""
MEMORY = "512MB"
"""What work of our own holds before it writes to its temporary folder."""
MOST_THREADS = 4
"""Of such work; each holds buffers of its own."""
TEMPORARY = ".duckdb-"
"""What its temporary folders' names begin with."""


class Views(NamedTuple):
    """An OUT that can be asked."""

    manifest: Manifest
    database: duckdb.DuckDBPyConnection
    photos: dict[str, str]
    """Its columns, and their types as DuckDB calls them."""
    garments: dict[str, str]

    @property
    def groups(self) -> list[str]:
        """The columns of the attribute groups: they stand between two of ours."""
        names = list(self.garments)
        return names[names.index("colours") + 1 : names.index("attributes")]

    @property
    def came(self) -> list[str]:
        """The columns of photos that came in."""
        names = list(self.photos)
        return names[names.index("occurrence") + 1 : names.index("sha256")]

    def read(self, sql: str) -> pa.RecordBatchReader:
        """The rows that one SELECT finds, as they are found; the next SELECT ends those of the last.

        Raises:
            QueryError: it is something else, or SQL that cannot be run.
        """
        try:
            statements = duckdb.extract_statements(sql)
            if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
                raise QueryError("SQL: one SELECT over the views photos and garments, nothing else")
            with _ctrl_c():
                return self.database.sql(sql).to_arrow_reader(ROWS)
        except (duckdb.Error, UnicodeError) as error:
            raise _not_run(error) from error


def batches(found: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
    """What `Views.read` finds; some of what is wrong with a SELECT shows only as its rows are read.

    Raises:
        QueryError: it cannot be run on.
    """
    try:
        with _ctrl_c():
            yield from found
    except (OSError, pa.ArrowException, duckdb.Error) as error:
        raise _not_run(error) from error


def _not_run(error: Exception) -> QueryError:
    return QueryError(f"SQL: {' '.join(str(error).split())}")


@contextmanager
def _ctrl_c() -> Iterator[None]:
    """Ctrl-C while DuckDB works, of which it makes an error of its own."""
    try:
        yield
    except (RuntimeError, OSError, duckdb.InterruptException) as error:
        if str(error).startswith(("Query interrupted", "INTERRUPT Error")):
            raise KeyboardInterrupt from None
        raise


def open_views(folder: Path | str) -> Views:
    """Open what stands in a folder that `hemline tag` wrote.

    Raises:
        CatalogError: it is no such folder, nothing stands there yet, or a file is missing or damaged.
    """
    return _open({"": read_manifest(Path(folder))}, {"temp_directory": ""})[0]


@contextmanager
def working_views(outs: Mapping[str, Manifest], folder: Path | None = None) -> Iterator[list[Views]]:
    """Some OUTs in one database of bounded memory, which writes what it cannot hold to a temporary folder.

    Args:
        outs: What the names of each one's views begin with (`old_` makes `old_photos`), and what stands there.
        folder: Where the temporary folder is made, and removed in the end; None leaves it to the system.

    Raises:
        CatalogError: nothing stands there yet, or a part is damaged or missing.
        UnwritableError: the disk is full, or nothing can be written there.
    """
    try:
        with tempfile.TemporaryDirectory(prefix=TEMPORARY, dir=folder) as temporary:
            bounds = {"memory_limit": MEMORY, "threads": str(min(MOST_THREADS, os.cpu_count() or 1))}
            bounds |= {"preserve_insertion_order": "false", "temp_directory": temporary}
            views = _open(outs, bounds)
            with views[0].database, _ctrl_c():
                yield views
    except duckdb.Error as error:
        raise CatalogError(f"the tags cannot be read ({in_short(error)})") from error
    except OSError as error:
        raise UnwritableError(f"{error.filename or folder}: cannot be written: {error.strerror or error}") from error


def sweep_work(folder: Path) -> None:
    """Remove the temporary folders that killed processes left in a folder; nobody may be working in it now."""
    for left in folder.glob(f"{TEMPORARY}*"):
        shutil.rmtree(left, ignore_errors=True)


def _open(outs: Mapping[str, Manifest], settings: Mapping[str, str]) -> list[Views]:
    """Views of each OUT, in one database that is locked once they stand."""
    files = {prefix: _files(manifest) for prefix, manifest in outs.items()}
    readable = [literal(str(file)) for tables in files.values() for paths in tables.values() for file in paths]
    off = ("autoinstall_known_extensions", "autoload_known_extensions", "python_enable_replacements")
    database = duckdb.connect(":memory:")
    views = []
    for name, value in (*dict.fromkeys(off, "false").items(), *settings.items()):
        database.execute(f"SET {name} = {literal(value)}")
    database.execute(f"SET allowed_paths = [{', '.join(readable)}]")
    database.execute("SET enable_external_access = false")
    for prefix, manifest in outs.items():
        try:
            columns = {
                table: _view(database, prefix, table, paths, manifest)
                for table, paths in files[prefix].items() if paths
            }  # fmt: skip
        except (duckdb.Error, OSError, StopIteration, ValueError) as error:
            folder = manifest.folder
            raise CatalogError(f"{folder}: cannot be read ({in_short(error)}): tag into another folder") from error
        views.append(Views(manifest, database, columns["photos"], columns["garments"]))
    database.execute("SET lock_configuration = true")
    return views


def _files(manifest: Manifest) -> dict[str, list[Path]]:
    """The files of each table."""
    if not manifest.parts:
        raise CatalogError(f"{manifest.folder}: no part is finished yet: let `hemline tag` run on")
    files = {"photos": manifest.files("photos"), "garments": manifest.files("garments")}
    files["products"] = sorted((manifest.folder / "products").glob(f"part-*.{manifest.form}"))
    return {table: [file.resolve() for file in paths] for table, paths in files.items()}


def literal(text: str) -> str:
    """A text as SQL says it.

    Raises:
        QueryError: no text of a file or a terminal holds it.
    """
    if "\0" in text or any("\ud800" <= sign <= "\udfff" for sign in text):
        raise QueryError(f"{text!r} holds signs that are no text")
    return "'" + text.replace("'", "''") + "'"


def quoted(name: str) -> str:
    """The name of a column as SQL says it."""
    return '"' + name.replace('"', '""') + '"'


def _view(
    database: duckdb.DuckDBPyConnection, prefix: str, table: str, files: list[Path], manifest: Manifest
) -> dict[str, str]:
    """Make the view of a table; its columns and their types."""
    paths = f"[{', '.join(literal(str(file)) for file in files)}], hive_partitioning = false"
    if manifest.form == "parquet":
        rows = f"SELECT * FROM read_parquet({paths})"
    else:
        with files[0].open(encoding="utf-8", newline="") as lines:
            names = next(csv.reader(lines))
        there = ", ".join(f"{literal(name)}: 'VARCHAR'" for name in names)
        text = (
            f"read_csv({paths}, auto_detect = false, header = true, delim = ',', quote = '\"', escape = '\"', "
            f"new_line = '\\n', nullstr = '', allow_quoted_nulls = false, max_line_size = {LONGEST_LINE}, "
            f"columns = {{{there}}})"
        )
        types = _types_of_csv(database, table, names, text, manifest)
        rows = f"SELECT {', '.join(_cast(name, types.get(name, 'VARCHAR')) for name in names)} FROM {text}"
    view = quoted(prefix + table)
    database.execute(f"CREATE VIEW {view} AS {rows}")
    return {str(row[0]): str(row[1]) for row in database.execute(f"DESCRIBE {view}").fetchall()}


def _types_of_csv(
    database: duckdb.DuckDBPyConnection, table: str, names: list[str], text: str, manifest: Manifest
) -> dict[str, str]:
    """Types of the columns that are not text: ours, those that came in, and groups that may have many values."""
    if table == "products":
        return {}
    types = dict(OF_CSV)
    if table == "garments":
        colours = f"SELECT bool_or(colours LIKE '[{{%') AND NOT bool_or(colours LIKE '%\"shade\": %') FROM {text}"
        if (database.execute(colours).fetchone() or (None,))[0]:
            types["colours"] = COLOURS_BEFORE
    if table == "photos":
        came = names[names.index("occurrence") + 1 : names.index("sha256")]
        types = {name: type_ for name, type_ in types.items() if name not in came}  # one may be called as a garment's
        of_arrow = dict(zip(came, manifest.made.get("columns", {}).values(), strict=False))
        types |= {name: CAME[key] for name, was in of_arrow.items() if (key := was.rstrip("0123456789")) in CAME}
        groups = names[names.index("main_garment") + 2 : names.index("labels")]
        types["category"] = "VARCHAR[]"
    else:
        groups = names[names.index("colours") + 1 : names.index("attributes")]
    if groups:
        sums = ", ".join(f"bool_or({quoted(name)} LIKE '[%')" for name in groups)
        many = database.execute(f"SELECT {sums} FROM {text}").fetchone() or ()
        types |= {name: "VARCHAR[]" for name, is_many in zip(groups, many, strict=True) if is_many}
    return types


def _cast(name: str, type_: str) -> str:
    column = quoted(name)
    value = f"CAST({column} AS JSON)" if type_.endswith("]") else column
    return column if type_ == "VARCHAR" else f"CAST({value} AS {type_}) AS {column}"
