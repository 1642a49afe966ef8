"""A shop's catalogue, tagged by hand: photos of products, in an OUT of either form."""

from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet

from hemline.catalog.parts import Form, open_parts, read_manifest
from hemline.catalog.tables import Schemas
from hemline.result import Result

from .tagged import MADE, SKU, rows, schemas


class Line(NamedTuple):
    """A row of the catalogue."""

    sku: Any
    shows: Result | str
    """What the photo shows, or why it cannot be read."""
    same_as: int | None = None
    """The row whose photo has the same bytes."""
    path: str | None = None
    main: int = 0


def stock(
    folder: Path,
    *lines: Line,
    incoming: pa.Schema = SKU,
    form: Form = "parquet",
    part_size: int = 2,
    columns: Schemas | None = None,
    **made: Any,
) -> Path:
    """An OUT that holds these."""
    columns = columns or schemas(incoming)
    shapes = MADE | {"columns": {x.name: str(x.type) for x in incoming}} | made
    with open_parts(folder, shapes, form=form, part_size=part_size) as parts:
        for position, line in enumerate(lines):
            path = line.path or f"p{position}.jpg"
            sha256 = f"{position if line.same_as is None else line.same_as:064x}"
            known = {"path": path, "occurrence": parts.occurrence(path), "sha256": sha256}
            known |= {name: shapes[name] for name in ("weights_sha256", "label_space")}
            parts.add(rows(position, line.shows, columns=columns, came=[line.sku], main=line.main, **known))
        parts.close()
    return folder


def table(folder: Path, name: Any) -> list[dict[str, Any]]:
    """The rows of an OUT in Parquet."""
    files = read_manifest(folder).files(name)
    return [row for file in files for row in pyarrow.parquet.read_table(file).to_pylist()]
