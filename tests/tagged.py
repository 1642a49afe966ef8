"""Rows of a tagged catalogue, made by hand: what photos show, and an OUT that holds them."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from hemline.catalog.parts import Form, open_parts
from hemline.catalog.tables import DUPLICATE, FAILED, OK, Rows, Schemas, garment_rows, make_schemas, photo_row
from hemline.coarse import CoarseMask
from hemline.colour import Colour
from hemline.photo import ReadPhoto
from hemline.result import Garment, Result
from hemline.words_said import ScoredLabel

from .toy import SPACE

SKU = pa.schema([("sku", pa.string())])
MADE = {"weights": "toy", "weights_sha256": "ab" * 32, "label_space": "toy"}


def garment(category: str, *labels: str, score: float = 0.9, area: float = 0.25, colour: str = "navy") -> Garment:
    """A garment of SPACE; a label is `group=label`."""
    mask = np.zeros((4, 4), np.bool_)
    mask[:2, :2] = True
    found = next(c for c in SPACE.categories if c.name == category)
    attributes = [ScoredLabel(label.split("=")[0], label.split("=")[1], 0, 0.7) for label in labels]
    colours = [Colour(colour, "#14213d", 0.8)]
    vector = np.arange(3, dtype=np.float32)
    return Garment(category, found.id, found.outfit_part, score, area, (0, 0, 2, 2), CoarseMask.of(mask), "mask",
                   colours, attributes, embedding=vector)  # fmt: skip


def photo(*garments: Garment, labels: Sequence[ScoredLabel] = ()) -> Result:
    """What a photo of 4 x 4 pixels shows."""
    said = [ScoredLabel("category", one.category, one.category_id, 0.8) for one in garments]
    pixels = ReadPhoto.of(np.zeros((4, 4, 3), np.uint8))
    return Result("photo", (4, 4), list(garments), [*said, *labels], pixels, SPACE)


def schemas(incoming: pa.Schema = SKU, **options: Any) -> Schemas:
    """The columns of the tables that `rows` gives."""
    return make_schemas(SPACE, incoming, **{"embedding": 3, **options})


def rows(
    first: int,
    *answers: Result | str,
    columns: Schemas | None = None,
    came: Sequence[Any] | None = None,
    main: int = 0,
    **known: Any,
) -> Rows:
    """Rows of photos p0.jpg, p1.jpg, ... by their position: of one that failed, a sentence stands for the answer.

    A photo's sha256 says its position, unless `sha256` names another; its SKU is `s` and that number, unless
    `came` says what came in.
    """
    columns = columns or schemas()
    photos, garments = [], []
    for position, answer in enumerate(answers, start=first):
        about = {"position": position, "path": f"p{position}.jpg", "occurrence": 0, "sha256": f"{position:064x}",
                 "status": OK, "weights_sha256": MADE["weights_sha256"], "label_space": "toy"} | known  # fmt: skip
        result = None if isinstance(answer, str) else replace(answer, photo=str(about["path"]))
        if result is None:
            about |= {"status": FAILED, "error_message": answer}
        else:
            marked = main if result.garments else None
            garments += garment_rows(columns.garments, position, result, marked)
            about |= {"main_garment": marked}
        photos.append(photo_row(columns.photos, about, came or [f"s{position}"], result))
    return Rows(*(pa.RecordBatch.from_pylist(*x) for x in ((photos, columns.photos), (garments, columns.garments))))


def tagged(folder: Path, *answers: Result | str, form: Form = "parquet", part_size: int = 2, **known: Any) -> Path:
    """An OUT that holds these."""
    with open_parts(folder, MADE, form=form, part_size=part_size) as parts:
        parts.add(rows(parts.next_position, *answers, **known))
        parts.close()
    return folder


__all__ = ["DUPLICATE", "FAILED", "MADE", "OK", "garment", "photo", "rows", "schemas", "tagged"]
