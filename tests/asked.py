"""Small OUTs of garments that are made by hand, for what asks them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from hemline.catalog.parts import Form, open_parts
from hemline.catalog.tables import Rows, make_schemas
from hemline.labels import load_label_space

INCOMING = pa.schema([("sku", pa.string()), ("price", pa.float64()), ("colour", pa.string()), ("new", pa.bool_())])
MADE = {"weights": "street", "weights_sha256": "f" * 64, "label_space": "street", "columns": {
    field.name: str(field.type) for field in INCOMING
}}  # fmt: skip


def garment(category: str, *colours: tuple[str, float], **columns: Any) -> dict[str, Any]:
    """A garment's row; attribute groups by their columns."""
    codes = {"navy": "#14213d", "white": "#f0f0f0", "black": "#141414", "red": "#c81e1e"}
    groups = {key: value for key, value in columns.items() if key not in ("score", "area", "embedding", "is_main")}
    said = [
        {"group": column.replace("_", " "), "label": label, "id": "1", "score": 0.75}
        for column, value in groups.items() for label in ([value] if isinstance(value, str) else value)
    ]  # fmt: skip
    listed = [{"name": name, "hex": codes[name], "share": share} for name, share in colours]
    return {"category": category, "category_id": 1, "score": 0.5, "area": 0.25, "found_by": "mask", "is_main": False,
            "colours": listed, "colour": colours[0][0] if colours else None, "attributes": said} | columns  # fmt: skip


def write_tags(
    folder: Path,
    photos: Sequence[tuple[Mapping[str, Any], Sequence[Mapping[str, Any]]]],
    *,
    form: Form = "parquet",
    embedding: int | None = None,
    part_size: int = 3,
) -> Path:
    """An OUT of photos (their columns) and their garments, or more of them in one that is there."""
    schemas = make_schemas(load_label_space("street"), INCOMING, embedding=embedding, masks=False)
    with open_parts(folder, MADE, form=form, part_size=part_size) as parts:
        for photo, garments in photos:
            position = parts.next_position
            path = f"photos/{position}.jpg"
            row = {"position": position, "path": path, "occurrence": 0, "sha256": f"{position:064x}", "status": "ok"}
            rows = [
                {"position": position, "path": path, "garment": number} | dict(one)
                for number, one in enumerate(garments)
            ]
            parts.add(Rows(
                pa.RecordBatch.from_pylist([row | dict(photo)], schemas.photos),
                pa.RecordBatch.from_pylist(rows, schemas.garments),
            ))  # fmt: skip
        parts.close()
    return folder
