"""One row a product, voted over its photos by the rule of `hemline.catalog.vote`: `hemline tag --product COLUMN`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import groupby, islice
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from hemline.catalog import _sql
from hemline.catalog.parts import Form, Manifest, part_file, read_manifest
from hemline.catalog.tables import as_text, came_as
from hemline.catalog.vote import AFTER, BEFORE, Shown, vote
from hemline.errors import ConfigError
from hemline.whole_files import sweep, whole_file

PLAIN = (
    "string", "large_string", "int", "uint", "halffloat", "float", "double", "decimal",
    "dictionary<values=string", "dictionary<values=large_string",
)  # fmt: skip
"""How the types of texts and numbers begin, as pyarrow writes them."""
BATCH = 10_000
"""Photos, or products, that are in memory at a time."""


class Products(NamedTuple):
    """What `write_products` wrote."""

    path: Path
    """OUT/products/part-000000.parquet or .csv."""
    products: int
    photos: int
    """Rows of the catalogue that name a product."""
    without: int
    """Rows that name none, and are left out."""


def write_products(folder: Path, column: str) -> Products:
    """Write OUT/products anew, a row a product in the order of their keys.

    Its columns: the key (called as in the catalogue; `catalog_NAME` where that is one of ours), `photos`, of them
    `photos_ok` and `photos_failed` (a duplicate is what its twin is), `positions` (of all of them, ascending),
    `category`, `category_share` (of the answered photos, copies counted once, those whose main garment is of that
    category), `colour`, `colours` (share: the mean over the main garments of the category; hex: where its share is
    largest), a column a shown attribute group, `votes` (of the category, `colour` and each group: how many photos said
    a label and their mean score; a colour's is its mean share where it is seen), and `main_position` and
    `main_garment`: the row of the garments table that speaks best for the product, the surest main garment of the
    winning category.

    Args:
        folder: OUT, tagged to its end; nobody else writes there.
        column: A column that came in with the catalogue, of text or numbers.

    Raises:
        CatalogError: no tags stand in OUT, or they cannot be read.
        ConfigError: no such column came in, or it holds something else.
        UnwritableError: the table cannot be written.
    """
    manifest = read_manifest(folder)
    photos, garments = (_sql.schema(manifest, table) for table in ("photos", "garments"))
    key = _key(manifest, photos, column)
    path = part_file(manifest.folder, "products", 0, manifest.form)
    _sql.sweep(manifest.folder)
    with _sql.database(manifest.folder) as connection:
        groups = _groups(connection, manifest, garments)
        called = came_as([column], [*BEFORE.names, *groups.names, *AFTER.names])[0]
        schema = pa.schema([key.with_name(called), *BEFORE, *groups, *AFTER])
        named = _names_one(key, manifest.made["columns"][column])
        ((named_ones, rows_in_all),) = connection.execute(
            f"SELECT count(*) FILTER ({named}), count(*) FROM {_sql.read_parts(manifest, 'photos', [key.name])}"
        ).fetchall()
        rows = _rows(connection, _query(manifest, key, named))
        voted = (
            {called: value} | vote((Shown(*row[1:]) for row in seen), groups)
            for value, seen in groupby(rows, itemgetter(0))
        )
        path.parent.mkdir(exist_ok=True)
        sweep(path)
        with whole_file(path) as temporary:
            count = _write(voted, schema, temporary, manifest.form)
    return Products(path, count, named_ones, rows_in_all - named_ones)


def check_column(column: str, columns: Mapping[str, str]) -> None:
    """Refuse what cannot tell products apart, before a catalogue is tagged for nothing.

    Args:
        column: The one that is asked for.
        columns: Those that come in with the photos, with their types as pyarrow writes them (`Plan.made_with`).

    Raises:
        ConfigError: there is no such column, or it holds neither text nor numbers.
    """
    if column not in columns:
        there = ", ".join(columns) or "none: folders, globs and tar shards bring no columns"
        raise ConfigError(f"--product {column}: no such column came in with the photos; there are: {there}")
    if not columns[column].startswith(PLAIN):
        raise ConfigError(f"--product {column}: holds {columns[column]}, and a product's key is a text or a number")


def _key(manifest: Manifest, photos: pa.Schema, column: str) -> pa.Field:
    """The column of the photos table that the catalogue calls so."""
    columns = manifest.made["columns"]
    check_column(column, columns)
    return photos.field(dict(zip(columns, _sql.incoming(photos), strict=True))[column])


def _names_one(key: pa.Field, kind: str) -> str:
    """Whether a row names a product, in SQL: not null, no empty text, and a number where it is one."""
    name = _sql.name(key.name)
    if kind in ("halffloat", "float", "double"):
        return f"{name} IS NOT NULL AND NOT isnan(CAST({name} AS DOUBLE))"
    return f"{name} IS NOT NULL AND CAST({name} AS VARCHAR) != ''"


def _groups(connection: duckdb.DuckDBPyConnection, manifest: Manifest, garments: pa.Schema) -> pa.Schema:
    """The columns of attribute groups: text where one value is allowed, a list where many are."""
    names = _sql.groups(garments)
    if manifest.form == "parquet" or not names:
        return pa.schema([garments.field(name) for name in names])
    lists = ", ".join(f"coalesce(bool_or(starts_with({_sql.name(name)}, '[')), false)" for name in names)
    (found,) = connection.execute(f"SELECT {lists} FROM {_sql.read_parts(manifest, 'garments', names)}").fetchall()
    return pa.schema(
        [(name, pa.list_(pa.string()) if several else pa.string()) for name, several in zip(names, found, strict=True)]
    )


def _query(manifest: Manifest, key: pa.Field, named: str) -> str:
    """A row a photo that names a product: those of a product together, its copies of a photo side by side."""
    photos = _sql.read_parts(manifest, "photos", [key.name, "position", "status", "duplicate_of"])
    twins = _sql.read_parts(manifest, "photos", ["position", "status"])
    says = ["position", "garment", "is_main", "category", "score", "colours", "attributes"]
    garments = _sql.read_parts(manifest, "garments", says)
    return f"""
        SELECT p.{_sql.name(key.name)}, p.position, p.answered, coalesce(twin.status, p.status) = 'ok',
               g.garment, g.category, g.score, g.colours, g.attributes
        FROM (SELECT *, coalesce(duplicate_of, position) AS answered FROM {photos} WHERE {named}) p
        LEFT JOIN {twins} twin ON twin.position = p.duplicate_of
        LEFT JOIN (SELECT * FROM {garments} WHERE is_main) g ON g.position = p.answered
        ORDER BY 1, 3, 2
    """


def _rows(connection: duckdb.DuckDBPyConnection, query: str) -> Iterator[tuple[Any, ...]]:
    found = connection.execute(query)
    while rows := found.fetchmany(BATCH):
        yield from rows


def _write(rows: Iterator[Mapping[str, Any]], schema: pa.Schema, path: Path, form: Form) -> int:
    """Write rows, so many in memory at a time; how many there were."""
    count = 0
    with _writer(schema, path, form) as writer:
        while batch := list(islice(rows, BATCH)):
            table = pa.RecordBatch.from_pylist(batch, schema)
            writer.write_batch(table if form == "parquet" else as_text(table))
            count += len(batch)
    return count


def _writer(schema: pa.Schema, path: Path, form: Form) -> pyarrow.parquet.ParquetWriter | pyarrow.csv.CSVWriter:
    if form == "parquet":
        return pyarrow.parquet.ParquetWriter(path, schema, compression="zstd")
    return pyarrow.csv.CSVWriter(path, as_text(pa.RecordBatch.from_pylist([], schema)).schema)
