"""The tables that tagging writes, photos and garments: their columns, and the rows of an answer.

A group's column holds its words: text where a garment has one value of it, a list where it may have many. Every column
that may be unknown is null there, never an empty text.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from hemline.labels import Group, LabelSpace
from hemline.result import Garment, Result
from hemline.words_said import ScoredLabel

LABEL = pa.struct([("group", pa.string()), ("label", pa.string()), ("id", pa.string()), ("score", pa.float32())])
COLOUR = pa.struct([("name", pa.string()), ("hex", pa.string()), ("share", pa.float32()), ("shade", pa.string())])
SHOP_ATTRIBUTE = pa.struct([("attribute", pa.string()), ("value", pa.string())])
OK, FAILED, DUPLICATE = "ok", "failed", "duplicate"
"""What a photo's `status` may be."""
BEFORE = pa.schema([("position", pa.int64()), ("path", pa.string()), ("occurrence", pa.int32())])
"""The columns of a photo before those that came in."""
CLASHING = "catalog_"
"""Put before a column that came in and is called as one of ours."""


class Rows(NamedTuple):
    """What some photos of a catalogue show: the rows of both tables, in the catalogue's order."""

    photos: pa.RecordBatch
    garments: pa.RecordBatch


class Schemas(NamedTuple):
    """The columns of the two tables."""

    photos: pa.Schema
    garments: pa.Schema


def make_schemas(
    space: LabelSpace, incoming: pa.Schema, *, embedding: int | None = None, masks: bool = True, shop: bool = False
) -> Schemas:
    """The columns of the tables of one OUT.

    Args:
        space: The label space of the weights.
        incoming: The columns that come in with the photos.
        embedding: How many numbers a garment's embedding has; None leaves the column out.
        masks: Whether garments have theirs.
        shop: Whether garments have the words of a vocabulary.
    """
    groups = [(column_of(group.name), _type_of(group)) for group in space.groups if group.shown]
    photos = [
        ("sha256", pa.string()), ("status", pa.string()), ("error_message", pa.string()),
        ("duplicate_of", pa.int64()), ("width", pa.int32()), ("height", pa.int32()), ("garments", pa.int32()),
        ("main_garment", pa.int32()), ("category", pa.list_(pa.string())), *groups, ("labels", pa.list_(LABEL)),
        ("weights_sha256", pa.string()), ("label_space", pa.string()),
    ]  # fmt: skip
    names = came_as(incoming.names, [*BEFORE.names, *(name for name, _ in photos)])
    came = zip(names, incoming.types, strict=True)
    garments: list[tuple[str, pa.DataType]] = [
        ("position", pa.int64()), ("path", pa.string()), ("garment", pa.int32()), ("part_of", pa.int32()),
        ("is_main", pa.bool_()), ("category", pa.string()), ("category_id", pa.int32()),
        ("outfit_part", pa.string()), ("score", pa.float32()), ("found_by", pa.string()), ("area", pa.float32()),
        ("box_x", pa.int32()), ("box_y", pa.int32()), ("box_width", pa.int32()), ("box_height", pa.int32()),
        ("colour", pa.string()), ("colours", pa.list_(COLOUR)), *groups, ("attributes", pa.list_(LABEL)),
    ]  # fmt: skip
    if shop:
        garments += [
            ("shop_category", pa.string()), ("shop_category_id", pa.string()),
            ("shop_attributes", pa.list_(SHOP_ATTRIBUTE)), ("shop_colours", pa.list_(pa.string())),
        ]  # fmt: skip
    if masks:
        garments.append(("mask", pa.string()))
    if embedding is not None:
        garments.append(("embedding", pa.list_(pa.float16(), embedding)))
    return Schemas(pa.schema([*BEFORE, *came, *photos]), pa.schema(garments))


def column_of(group: str) -> str:
    """The column of a group, by its name: `sleeve_length`."""
    return group.replace(" ", "_")


def came_as(columns: Sequence[str], ours: Iterable[str]) -> list[str]:
    """What columns that came in are called in the photos table, where no two names may be alike."""
    taken = {name.lower() for name in ours}              # readers of SQL do not tell capitals apart
    names = []
    for column in columns:
        while column.lower() in taken:
            column = CLASHING + column
        names.append(column)
        taken.add(column.lower())
    return names


def _type_of(group: Group) -> pa.DataType:
    return pa.string() if group.choice == "one" else pa.list_(pa.string())


def photo_row(
    schema: pa.Schema, known: Mapping[str, Any], came: Sequence[Any], result: Result | None
) -> dict[str, Any]:
    """A row of the photos table.

    Args:
        schema: Its columns.
        known: What is known of a photo whether it was answered or not: position, path, status, sha256, ...
        came: What came in with it, in the order of its columns.
        result: What it shows; None where there is no answer.
    """
    row: dict[str, Any] = dict.fromkeys(schema.names)
    row |= dict(known) | dict(zip(schema.names[len(BEFORE) :], came, strict=False))
    if result is not None:
        space = result.space
        said = [label.label for label in result.labels if label.group == "category"]
        row |= {"height": result.size[0], "width": result.size[1], "garments": len(result.garments_and_parts)}
        row |= {"category": said, "labels": [_label(label) for label in result.labels]}
        row |= _by_group(space, result.labels)
    return row


def garment_rows(
    schema: pa.Schema,
    position: int,
    result: Result,
    main: int | None,
) -> list[dict[str, Any]]:
    """The rows of the garments table of one photo: each garment, followed by its parts.

    Args:
        schema: Its columns.
        position: Of the photo.
        result: What it shows.
        main: Which of `result.garments` is the main one.
    """
    rows: list[dict[str, Any]] = []
    for number, garment in enumerate(result.garments):
        holder = len(rows)
        for piece in (garment, *garment.parts):
            row = _garment(schema, piece, result)
            row |= {"position": position, "path": result.photo, "garment": len(rows)}
            row |= {"part_of": None if piece is garment else holder, "is_main": piece is garment and number == main}
            rows.append(row)
    return rows


def main_row(result: Result, main: int | None) -> int | None:
    """In which of its photo's rows the main garment stands."""
    return None if main is None else main + sum(len(garment.parts) for garment in result.garments[:main])


def _garment(schema: pa.Schema, garment: Garment, result: Result) -> dict[str, Any]:
    plain = garment.to_dict("rle" if "mask" in schema.names else "none", result.vocabulary)
    row = {name: plain.get(name) for name in schema.names}
    box = dict(zip(("box_x", "box_y", "box_width", "box_height"), plain["box"] or [None] * 4, strict=True))
    row |= box | {"colour": next((colour.name for colour in garment.colours), None)}
    row |= {"attributes": [_label(label) for label in garment.attributes]}
    row |= _by_group(result.space, garment.attributes)
    if "shop" in plain:
        category = plain["shop"]["category"] or {}
        row |= {"shop_category": category.get("name"), "shop_category_id": category.get("id")}
        row |= {f"shop_{key}": plain["shop"][key] for key in ("attributes", "colours")}
    if "mask" in row:
        row["mask"] = plain["mask"] and plain["mask"]["counts"]
    if "embedding" in row:
        row["embedding"] = None if garment.embedding is None else garment.embedding.astype(np.float16)
    return row


def _label(label: ScoredLabel) -> dict[str, Any]:
    return label.to_dict() | {"id": str(label.id)}


def _by_group(space: LabelSpace, labels: Iterable[ScoredLabel]) -> dict[str, Any]:
    found: dict[str, list[str]] = {}
    for label in labels:
        found.setdefault(label.group, []).append(label.label)
    return {
        column_of(group.name): found[group.name][0] if group.choice == "one" else found[group.name]
        for group in space.groups if group.shown and group.name in found
    }  # fmt: skip


def as_text(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The same rows for a CSV: lists and structures become JSON text; what JSON has no word for is text there."""
    columns, names = [], []
    for field, column in zip(batch.schema, batch.columns, strict=True):
        nested = pa.types.is_nested(field.type)
        values = [None if value is None else _json(value) for value in column.to_pylist()] if nested else None
        columns.append(column if values is None else pa.array(values, pa.string()))
        names.append(field.name)
    return pa.RecordBatch.from_arrays(columns, names)


def _json(value: object) -> str:
    return json.dumps(value, default=lambda one: float(one) if isinstance(one, np.floating) else str(one))
