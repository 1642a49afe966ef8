"""Answers as the content of a COCO file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hemline.coarse import CoarseMask
from hemline.result import SCHEMA_VERSION, Garment, Result


def to_coco(results: Sequence[Result]) -> dict[str, Any]:
    """Results as the content of a COCO file, in Fashionpedia's dialect (`attribute_ids`).

    Garments without a mask have nothing that COCO could hold and are left out. `attribute_ids` holds the publisher's
    numbers only; `attribute_names` holds all words, also those that have no number. Parts are annotations of their own
    whose `part_of` is the id of the annotation of the garment that holds them.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id, result in enumerate(results, start=1):
        height, width = result.size
        images.append({"id": image_id, "file_name": result.photo, "height": height, "width": width})
        for garment in result.garments:
            holds = len(annotations) + 1
            for piece in (garment, *garment.parts):
                if piece.drawn is not None:
                    number = {"id": len(annotations) + 1, "image_id": image_id}
                    part_of = {} if piece is garment else {"part_of": holds}
                    annotations.append(number | _coco_annotation(piece, piece.drawn) | part_of)
    spaces = {result.space.name: result.space for result in results}.values()
    categories = {c.id: c for space in spaces for c in space.categories if c.shown}
    attributes = {x.id: x for space in spaces for x in space.labels if x.shown and isinstance(x.id, int)}
    return {
        "info": {"description": "garments found by Hemline", "version": SCHEMA_VERSION},
        "images": images,
        "annotations": annotations,
        "categories": [{"id": c.id, "name": c.name, "supercategory": c.supercategory} for c in categories.values()],
        "attributes": [{"id": x.id, "name": x.name, "supercategory": x.group} for x in attributes.values()],
    }


def _coco_annotation(garment: Garment, drawn: CoarseMask) -> dict[str, Any]:
    return {
        "category_id": garment.category_id,
        "segmentation": drawn.rle(),
        "bbox": list(drawn.box),
        "area": drawn.area,
        "iscrowd": 0,
        "score": round(garment.score, 4),
        "attribute_ids": [attribute.id for attribute in garment.attributes if isinstance(attribute.id, int)],
        "attribute_names": [attribute.label for attribute in garment.attributes],
    }
