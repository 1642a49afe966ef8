"""One row a product, voted over its photos by the rule of `hemline.catalog.vote`: `hemline tag --product COLUMN`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import groupby, islice
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import pyarrow as pa

from hemline.catalog.parts import part_file, read_manifest, write_rows
from hemline.catalog.tables import came_as
from hemline.catalog.views import Views, quoted, sweep_work, working_views
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

    def text(self) -> str:
        """One line for the terminal."""
        left_out = f"; {self.without:,} photos name none" if self.without else ""
        return f"{self.products:,} products of {self.photos:,} photos in {self.path}{left_out}"


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
    path = part_file(manifest.folder, "products", 0, manifest.form)
    sweep_work(manifest.folder)
    with working_views({"": manifest}, manifest.folder) as (views,):
        key = _key(views, column)
        groups = pa.schema([(name, _arrow_type(views.garments[name])) for name in views.groups])
        called = came_as([column], [*BEFORE.names, *groups.names, *AFTER.names])[0]
        named = _names_one(key, manifest.made["columns"][column])
        ((named_ones, rows_in_all),) = views.database.execute(
            f"SELECT count(*) FILTER ({named}), count(*) FROM photos"
        ).fetchall()
        kind = views.database.sql(f"SELECT {quoted(key)} FROM photos LIMIT 0").to_arrow_table().schema.types[0]
        schema = pa.schema([(called, kind), *BEFORE, *groups, *AFTER])
        rows = _rows(views.database, _query(key, named))
        voted = (
            {called: value} | vote((Shown(*row[1:]) for row in seen), groups)
            for value, seen in groupby(rows, itemgetter(0))
        )
        some_at_a_time = iter(lambda: list(islice(voted, BATCH)), [])
        path.parent.mkdir(exist_ok=True)
        sweep(path)
        with whole_file(path) as temporary:
            batches = (pa.RecordBatch.from_pylist(some, schema) for some in some_at_a_time)
            count = write_rows(temporary, schema, batches, manifest.form)
    return Products(path, count, named_ones, rows_in_all - named_ones)


def check_column(column: str, columns: Mapping[str, str], option: str = "--product") -> None:
    """Refuse a column that holds neither names nor words, before a catalogue is tagged for nothing.

    Args:
        column: The one that is asked for.
        columns: Those that come in with the photos, with their types as pyarrow writes them (`Plan.made_with`).
        option: Which asks for it: `--product` or `--hint`.

    Raises:
        ConfigError: there is no such column, or it holds neither text nor numbers.
    """
    if column not in columns:
        there = ", ".join(columns) or "none: folders, globs and tar shards bring no columns"
        raise ConfigError(f"{option} {column}: no such column came in with the photos; there are: {there}")
    if not columns[column].startswith(PLAIN):
        raise ConfigError(f"{option} {column}: holds {columns[column]}, and only text and numbers can be used")


def _key(views: Views, column: str) -> str:
    """What the photos table calls a column of the catalogue."""
    columns: dict[str, str] = views.manifest.made["columns"]
    check_column(column, columns)
    name: str = dict(zip(columns, views.came, strict=True))[column]
    return name


def _arrow_type(of_duckdb: str) -> pa.DataType:
    """Of a group's column, by its type in DuckDB: text where one value is allowed, a list where many are."""
    return pa.list_(pa.string()) if of_duckdb.endswith("[]") else pa.string()


def _names_one(key: str, kind: str) -> str:
    """Whether a row names a product, in SQL: not null, no empty text, and a number where it is one."""
    name = quoted(key)
    if kind in ("halffloat", "float", "double"):
        return f"{name} IS NOT NULL AND NOT isnan(CAST({name} AS DOUBLE))"
    return f"{name} IS NOT NULL AND CAST({name} AS VARCHAR) != ''"


def _query(key: str, named: str) -> str:
    """A row a photo that names a product: those of a product together, its copies of a photo side by side."""
    return f"""
        SELECT p.{quoted(key)}, p.position, coalesce(p.duplicate_of, p.position) AS answered,
               coalesce(twin.status, p.status) = 'ok', g.garment, g.category, g.score, g.colours, g.attributes
        FROM (SELECT * FROM photos WHERE {named}) p
        LEFT JOIN photos twin ON twin.position = p.duplicate_of
        LEFT JOIN (SELECT * FROM garments WHERE is_main) g ON g.position = coalesce(p.duplicate_of, p.position)
        ORDER BY 1, 3, 2
    """


def _rows(connection: duckdb.DuckDBPyConnection, query: str) -> Iterator[tuple[Any, ...]]:
    found = connection.execute(query)
    while rows := found.fetchmany(BATCH):
        yield from rows
