"""How long it takes to ask a catalogue of a million garments, beside reading it all.

    python -m benchmarks.query [--garments 1000000] [--keep FOLDER]

Rows are drawn from a seed, a part at a time, with `hemline tag`'s own schemas and part size. Embeddings lie around
centres of their category, as real ones do. Prints a JSON of figures; every ratio is within this run.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset
import pyarrow.parquet as pq
from numpy.typing import NDArray

from hemline.catalog.parts import FORMAT, MANIFEST, PART_SIZE, TABLES, Part, part_file, read_manifest
from hemline.catalog.query import query
from hemline.catalog.similar import Similar, colour_vectors, join_vectors
from hemline.catalog.tables import COLOUR, LABEL, column_of, make_schemas
from hemline.colour import PROTOTYPES
from hemline.labels import load_label_space
from hemline.metadata import read_metadata
from hemline.result import Garment
from hemline.runtime import weights_file

DIMENSIONS = 256
CENTRES = 40
"""Of the embeddings of a category."""
EACH = 3
"""Garments of a photo."""
ASKED = "coat and colour=navy and pattern=stripe"
SPACE = load_label_space("street")
CATEGORIES = [category for category in SPACE.categories if category.shown]
GROUPS = [group for group in SPACE.groups if group.shown]
COLOURS = list(PROTOTYPES)
HEXES = {name: ["#" + code for code in codes.split()] for name, codes in PROTOTYPES.items()}


def make(folder: Path, garments: int, seed: int = 0) -> None:
    """Write an OUT of so many garments, a part at a time."""
    schemas = make_schemas(SPACE, pa.schema([("sku", pa.string()), ("price", pa.float64())]), embedding=DIMENSIONS,
                           masks=False)  # fmt: skip
    made = {"weights": "street", "weights_sha256": "0" * 64, "label_space": SPACE.name, "embeddings": True,
            "columns": {"sku": "string", "price": "double"}}  # fmt: skip
    for table in TABLES:
        (folder / table).mkdir(parents=True)
    head = {"format": FORMAT, "form": "parquet", "made_with": made}
    lines = [json.dumps(head)]
    random = np.random.default_rng(seed)
    centres = np.maximum(random.normal(-0.4, 1, (len(CATEGORIES), CENTRES, DIMENSIONS)), 0).astype(np.float32)
    photos = -(-garments // EACH)
    for number, first in enumerate(range(0, photos, PART_SIZE)):
        count = min(PART_SIZE, photos - first)
        rows = _garments(random, centres, first, count, schemas.garments)
        pq.write_table(rows, part_file(folder, "garments", number, "parquet"), compression="zstd")
        pq.write_table(_photos(random, first, count, schemas.photos),
                       part_file(folder, "photos", number, "parquet"), compression="zstd")  # fmt: skip
        lines.append(json.dumps(Part(number, first, count, rows.num_rows, count, 0, 0)._asdict()))
    (folder / MANIFEST).write_text("\n".join(lines) + "\n")


def _photos(random: np.random.Generator, first: int, count: int, schema: pa.Schema) -> pa.Table:
    position = np.arange(first, first + count)
    columns: dict[str, Any] = {
        "position": position,
        "path": [f"photos/{i:08d}.jpg" for i in position],
        "occurrence": np.zeros(count, np.int32),
        "sku": [f"SKU-{i // 4:07d}" for i in position],
        "price": np.round(random.gamma(3, 20, count), 2),
        "sha256": [f"{i:064x}" for i in position],
        "status": ["ok"] * count,
    }
    return _table(columns, schema, count)


def _garments(
    random: np.random.Generator, centres: NDArray[np.float32], first: int, photos: int, schema: pa.Schema
) -> pa.Table:
    count = photos * EACH
    position = np.repeat(np.arange(first, first + photos), EACH)
    kind = random.integers(len(CATEGORIES), size=count)
    near = centres[kind, random.integers(CENTRES, size=count)]
    embedding = np.maximum(near + random.normal(0, 0.35, near.shape).astype(np.float32), 0).astype(np.float16)
    colour = random.integers(len(COLOURS), size=count)
    colours = [
        [{"name": COLOURS[i], "hex": HEXES[COLOURS[i]][j % len(HEXES[COLOURS[i]])], "share": 1.0}]
        for i, j in zip(colour, random.integers(100, size=count), strict=True)
    ]
    columns: dict[str, Any] = {
        "position": position,
        "path": [f"photos/{i:08d}.jpg" for i in position],
        "garment": np.tile(np.arange(EACH, dtype=np.int32), photos),
        "is_main": np.tile(np.arange(EACH) == 0, photos),
        "category": [CATEGORIES[i].name for i in kind],
        "category_id": np.array([category.id for category in CATEGORIES], np.int32)[kind],
        "score": random.beta(5, 2, count).astype(np.float32).round(4),
        "found_by": ["mask"] * count,
        "area": random.beta(1, 8, count).astype(np.float32),
        "colour": [COLOURS[i] for i in colour],
        "colours": pa.array(colours, pa.list_(COLOUR)),
        "embedding": pa.FixedSizeListArray.from_arrays(pa.array(embedding.ravel()), DIMENSIONS),
    }
    attributes: list[list[dict[str, Any]]] = [[] for _ in range(count)]
    for group in GROUPS:
        chosen = random.integers(-2 * len(group.labels), len(group.labels), size=count)
        names = [group.labels[i].name if i >= 0 else None for i in chosen]
        columns[column_of(group)] = names if group.choice == "one" else [name and [name] for name in names]
        for row, i in enumerate(chosen):
            if i >= 0:
                label = group.labels[i]
                attributes[row].append({"group": group.name, "label": label.name, "id": str(label.id), "score": 0.9})
    columns["attributes"] = pa.array(attributes, pa.list_(LABEL))
    return _table(columns, schema, count)


def _table(columns: dict[str, Any], schema: pa.Schema, count: int) -> pa.Table:
    arrays = [
        pa.nulls(count, field.type) if field.name not in columns else
        columns[field.name] if isinstance(columns[field.name], pa.Array) else pa.array(columns[field.name], field.type)
        for field in schema
    ]  # fmt: skip
    return pa.table(arrays, schema=schema)


def scan(folder: Path) -> pa.Table:
    """The same question answered by reading both tables whole with pyarrow alone."""
    manifest = read_manifest(folder)
    read = {table: pa.dataset.dataset([str(x) for x in manifest.files(table)]).to_table() for table in TABLES}
    garments = read["garments"]
    keep = pc.and_(
        pc.and_(pc.equal(garments["category"], "coat"), pc.equal(garments["colour"], "navy")),
        pc.list_contains_stripe(garments) if False else _has(garments["textile_pattern"], "stripe"),
    )
    found = garments.filter(keep).drop_columns(["path"])
    return found.join(read["photos"].select(["position", "path", "sku", "price"]), "position").sort_by(
        [("score", "descending"), ("position", "ascending"), ("garment", "ascending")]
    )
