"""`hemline query`: the garments of an OUT that words or SQL ask for. The words are those of `language.py`."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from hemline.catalog.language import condition
from hemline.catalog.views import Views, batches, open_views, quoted
from hemline.catalog.words import Words

SHOWN = ("garment", "part_of", "is_main", "category", "outfit_part", "score", "found_by", "area", "colour", "colours")
"""Columns of the garments table in an answer, before those of the groups."""
SHOP = ("shop_category", "shop_category_id", "shop_attributes", "shop_colours")


def query(folder: Path | str, text: str, *, limit: int | None = None) -> pa.Table:
    """Find garments in what `hemline tag` wrote.

    Args:
        folder: OUT.
        text: What to find, such as `coat and colour=navy and pattern=stripe`; may come from anybody.
        limit: At most so many rows.

    Returns:
        A row for each garment, surest first, then in the catalogue's order: `position`, `path` and `duplicate_of` of
        the photo, what is known of the garment, then the columns that came in. A garment of a photo that stands in the
        catalogue several times has a row for each.

    Raises:
        CatalogError: the folder does not hold tags, or a file of it is missing or damaged.
        QueryError: the text says nothing that could be found.
    """
    views = open_views(folder)
    found = views.read(query_sql(views, text, limit=limit))
    return pa.Table.from_batches(batches(found), found.schema)


def query_sql(views: Views, text: str, *, limit: int | None = None, count: bool = False) -> str:
    """The SQL that a query becomes, over the views of `open_views`: its rows, or how many they are.

    Raises:
        QueryError: the text says nothing that could be found.
    """

    def fits(value: str, type_: str) -> bool:
        found = views.read(f"SELECT TRY_CAST({value} AS {type_}) IS NOT NULL AS fits").read_all()
        return bool(found["fits"][0].as_py())

    joins, asked = condition(text, Words(views), fits)
    photo = "g.position = coalesce(p.duplicate_of, p.position)"
    tables = f"FROM garments AS g JOIN photos AS p ON {photo}{joins}\nWHERE {asked}"
    if count:
        return f"SELECT count(*) AS count\n{tables}"
    columns = ["p.position", "p.path", "p.duplicate_of"]
    columns += [f"g.{name}" for name in SHOWN]
    columns += [f"g.{quoted(name)}" for name in views.groups] + ["g.attributes"]
    columns += [f"g.{name}" for name in SHOP if name in views.garments]
    taken = {column.partition(".")[2].strip('"').lower() for column in columns}
    for name in views.came:
        columns.append(f"p.{quoted(name)}" + f" AS {quoted('photos.' + name)}" * (name.lower() in taken))
    at_most = "" if limit is None else f"\nLIMIT {int(limit)}"
    return f"SELECT {', '.join(columns)}\n{tables}\nORDER BY g.score DESC, p.position, g.garment{at_most}"
