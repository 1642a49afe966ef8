"""An OUT as views of a database in memory that can read the OUT's own files and nothing else.

`photos`, `garments` and, where `tag --product` wrote it, `products`. The database writes nothing, loads no extension,
reaches no network and sees no other file: what is asked of it may come from a web form.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import duckdb
import pyarrow as pa

from hemline.catalog.parts import Manifest, read_manifest
from hemline.errors import CatalogError, QueryError, in_short

LABELS = 'STRUCT("group" VARCHAR, "label" VARCHAR, id VARCHAR, score FLOAT)[]'
OF_CSV = {
    "position": "BIGINT", "duplicate_of": "BIGINT", "occurrence": "INTEGER", "width": "INTEGER", "height": "INTEGER",
    "garments": "INTEGER", "main_garment": "INTEGER", "labels": LABELS, "garment": "INTEGER", "part_of": "INTEGER",
    "is_main": "BOOLEAN", "category_id": "INTEGER", "score": "FLOAT", "area": "FLOAT", "box_x": "INTEGER",
    "box_y": "INTEGER", "box_width": "INTEGER", "box_height": "INTEGER", "attributes": LABELS,
    "colours": 'STRUCT("name" VARCHAR, hex VARCHAR, "share" FLOAT)[]', "embedding": "FLOAT[]",
    "shop_attributes": 'STRUCT(attribute VARCHAR, "value" VARCHAR)[]', "shop_colours": "VARCHAR[]",
}  # fmt: skip
"""Types of our own columns that are not text, in a CSV."""
CAME = {
    "int": "BIGINT", "uint": "UBIGINT", "float": "DOUBLE", "double": "DOUBLE", "bool": "BOOLEAN", "date32[day]": "DATE"
}  # fmt: skip
"""Types of columns that came in, by Arrow's names without the number of bits."""


ROWS = 20_000
"""That are in memory at a time."""


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
            return self.database.sql(sql).to_arrow_reader(ROWS)
        except (duckdb.Error, UnicodeError) as error:
            raise QueryError(f"SQL: {' '.join(str(error).split())}") from error


def open_views(folder: Path | str) -> Views:
    """Open what stands in a folder that `hemline tag` wrote.

    Raises:
        CatalogError: it is no such folder, nothing stands there yet, or a file is missing or damaged.
    """
    manifest = read_manifest(Path(folder))
    if not manifest.parts:
        raise CatalogError(f"{folder}: no part is finished yet: let `hemline tag` run on")
    files = {table: [file.resolve() for file in manifest.files(table)] for table in ("photos", "garments")}
    files["products"] = sorted((manifest.folder / "products").resolve().glob(f"part-*.{manifest.form}"))
    names = [literal(str(file)) for paths in files.values() for file in paths]
    database = duckdb.connect(":memory:")
    try:
        for setting in ("autoinstall_known_extensions", "autoload_known_extensions", "python_enable_replacements"):
            database.execute(f"SET {setting} = false")
        database.execute("SET temp_directory = ''")
        database.execute(f"SET allowed_paths = [{', '.join(names)}]")
        database.execute("SET enable_external_access = false")
        columns = {table: _view(database, table, paths, manifest) for table, paths in files.items() if paths}
        database.execute("SET lock_configuration = true")
    except duckdb.Error as error:
        raise CatalogError(f"{folder}: cannot be read ({in_short(error)}): tag into another folder") from error
    return Views(manifest, database, columns["photos"], columns["garments"])


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


def _view(database: duckdb.DuckDBPyConnection, table: str, files: list[Path], manifest: Manifest) -> dict[str, str]:
    paths = f"[{', '.join(literal(str(file)) for file in files)}]"
    if manifest.form == "parquet":
        database.execute(f"CREATE VIEW {table} AS SELECT * FROM read_parquet({paths})")
    else:
        text = (
            f"read_csv({paths}, header = true, all_varchar = true, delim = ',', quote = '\"', escape = '\"', "
            "nullstr = '', allow_quoted_nulls = false, max_line_size = 100000000)"
        )
        names = [str(row[0]) for row in database.execute(f"DESCRIBE SELECT * FROM {text}").fetchall()]
        types = _types_of_csv(database, table, names, text, manifest)
        casts = ", ".join(_cast(name, types.get(name, "VARCHAR")) for name in names)
        database.execute(f"CREATE VIEW {table} AS SELECT {casts} FROM {text}")
    return {str(row[0]): str(row[1]) for row in database.execute(f"DESCRIBE {table}").fetchall()}


def _types_of_csv(
    database: duckdb.DuckDBPyConnection, table: str, names: list[str], text: str, manifest: Manifest
) -> dict[str, str]:
    """Types of the columns that are not text: ours, those that came in, and groups that may have many values."""
    if table == "products":
        return {}
    types = dict(OF_CSV)
    if table == "photos":
        came = names[names.index("occurrence") + 1 : names.index("sha256")]
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
