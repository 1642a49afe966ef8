"""A shop's catalogue, tagged by hand: photos of products, in an OUT of either form."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from hemline.catalog.parts import Form, open_parts, read_manifest
from hemline.catalog.tables import FAILED, OK, Rows, Schemas, garment_rows, photo_row
from hemline.result import Result

from .tagged import MADE, SKU, schemas


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
            parts.add(_rows(position, line, columns, parts.occurrence(line.path or f"p{position}.jpg"), shapes))
        parts.close()
    return folder


def _rows(position: int, line: Line, columns: Schemas, occurrence: int, made: dict[str, Any]) -> Rows:
    sha256 = f"{position if line.same_as is None else line.same_as:064x}"
    known = {"position": position, "path": line.path or f"p{position}.jpg", "occurrence": occurrence, "sha256": sha256,
             "status": OK, "weights_sha256": made["weights_sha256"], "label_space": made["label_space"]}  # fmt: skip
    if isinstance(line.shows, str):
        row = photo_row(columns.photos, known | {"status": FAILED, "error_message": line.shows}, [line.sku], None)
        return _batches([row], [], columns)
    result = replace(line.shows, photo=known["path"])
    main = line.main if result.garments else None
    row = photo_row(columns.photos, known | {"main_garment": main}, [line.sku], result)
    return _batches([row], garment_rows(columns.garments, position, result, main), columns)


def _batches(photos: Sequence[Any], garments: Sequence[Any], columns: Schemas) -> Rows:
    return Rows(*(pa.RecordBatch.from_pylist(*x) for x in ((photos, columns.photos), (garments, columns.garments))))


def table(folder: Path, name: Any) -> list[dict[str, Any]]:
    """The rows of an OUT in Parquet."""
    files = read_manifest(folder).files(name)
    return [row for file in files for row in pyarrow.parquet.read_table(file).to_pylist()]
