"""How long it takes to ask a catalogue of a million garments, beside reading it all.

    python -m benchmarks.query [--garments 1000000] [--keep FOLDER]

Rows are drawn from a seed, a part at a time, with `hemline tag`'s own schemas and part size. Embeddings lie around
centres of their category, as real ones do. Prints a JSON of figures; every ratio is within this run.
"""

from __future__ import annotations

import argparse
import json
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
from hemline.catalog.query import query, query_sql
from hemline.catalog.similar import Similar, garment_vector
from hemline.catalog.similar_index import keys_of
from hemline.catalog.tables import COLOUR, LABEL, column_of, make_schemas
from hemline.catalog.vectors import colour_vectors, join_vectors
from hemline.catalog.views import open_views
from hemline.colour import PROTOTYPES, Colour
from hemline.environment import cores
from hemline.labels import load_label_space
from hemline.result import Garment

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
    keep = pc.and_(pc.equal(garments["category"], "coat"), pc.equal(garments["colour"], "navy"))
    found = garments.filter(pc.and_(keep, pc.equal(garments["textile_pattern"], "stripe")))
    photos = read["photos"].select(["position", "sku", "price"])
    return found.select(["position", "path", "garment", "score"]).join(photos, "position").sort_by(
        [("score", "descending"), ("position", "ascending"), ("garment", "ascending")]
    )


def seconds(call: Callable[[], object], times: int = 5) -> float:
    """Median time of a call, after one that is not counted."""
    call()
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def queries(folder: Path) -> dict[str, Any]:
    """Figures of `hemline query`, and whether a scan by pyarrow finds the same."""
    found, scanned = query(folder, ASKED), scan(folder)
    columns = ["position", "garment", "path", "score", "sku", "price"]
    same = found.select(columns).to_pylist() == scanned.select(columns).to_pylist()
    texts = {"words": ASKED, "another garment": "coat and navy with skirt and stripe", "sku": "sku=SKU-0000700"}
    asked = {name: seconds(lambda text=text: query(folder, text, limit=20)) for name, text in texts.items()}
    whole = seconds(lambda: scan(folder), times=2)
    views = open_views(folder)
    sql = query_sql(views, ASKED, limit=20)
    opened = seconds(lambda: views.read(sql).read_all())
    return {
        "rows found": found.num_rows,
        "the same rows as the scan": same,
        "query, seconds": asked,
        "query of an OUT that is open, seconds": opened,
        "scan by pyarrow, seconds": whole,
        "query / scan": asked["words"] / whole,
    }


def similars(folder: Path, asked: int = 50, top: int = 10) -> dict[str, Any]:
    """Figures of `hemline similar` beside brute force over the same category in numpy."""
    start = time.perf_counter()
    catalogue = Similar.open(folder)
    built = time.perf_counter() - start
    again = seconds(lambda: Similar.open(folder), times=3)
    keys, vectors = _category(folder, "coat")
    coats = _coats(folder, asked)
    recalls: list[float] = []
    found_in: list[float] = []
    brute_in: list[float] = []
    for garment in coats:
        start = time.perf_counter()
        found = catalogue.nearest(garment, top)
        found_in.append(time.perf_counter() - start)
        wanted = garment_vector(garment)
        start = time.perf_counter()
        order = np.argsort(-(vectors @ wanted), kind="stable")[:top]
        brute_in.append(time.perf_counter() - start)
        true = set(keys[order].tolist())
        recalls.append(len(true & {key for key, _ in found}) / top)
    whole = statistics.median(_timed(lambda one=one: catalogue.find(one, top=top)) for one in coats[:10])
    return {
        "garments in the index": len(catalogue),
        "index built, seconds": built,
        "index opened, seconds": again,
        "index, megabytes": sum(file.stat().st_size for file in (folder / "index").iterdir()) / 1e6,
        "coats": len(keys),
        "search, seconds": statistics.median(found_in),
        "search with paths, colours and copies, seconds": whole,
        "brute force among coats in numpy, seconds": statistics.median(brute_in),
        "search / brute force": statistics.median(found_in) / statistics.median(brute_in),
        "recall@10": statistics.mean(recalls),
    }


def _timed(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _category(folder: Path, name: str) -> tuple[NDArray[np.uint64], NDArray[np.float32]]:
    """Keys and exact vectors of a category."""
    keys, vectors = [], []
    for file in read_manifest(folder).files("garments"):
        rows = pq.read_table(file, columns=["position", "garment", "category", "colours", "embedding"])
        rows = rows.filter(pc.equal(rows["category"], name)).combine_chunks()
        embedding = rows["embedding"].combine_chunks().flatten().to_numpy().reshape(-1, DIMENSIONS)
        vectors.append(join_vectors(embedding.astype(np.float32), colour_vectors(rows["colours"].combine_chunks())))
        keys.append(keys_of(rows["position"].combine_chunks(), rows["garment"].combine_chunks()))
    return np.concatenate(keys), np.concatenate(vectors)


def _coats(folder: Path, count: int, seed: int = 1) -> list[Garment]:
    """Coats that are not in the catalogue: those of its first parts, a little changed."""
    random = np.random.default_rng(seed)
    coats: list[Garment] = []
    for file in read_manifest(folder).files("garments"):
        rows = pq.read_table(file, columns=["category", "colours", "embedding"]).to_pylist()
        for row in (row for row in rows if row["category"] == "coat"):
            changed = np.array(row["embedding"], np.float32)
            changed = np.maximum(changed + random.normal(0, 0.2, changed.shape), 0).astype(np.float32)
            colours = [Colour(**colour) for colour in row["colours"]]
            coats.append(Garment("coat", 9, None, 1.0, 0.1, None, None, "mask", colours, [], embedding=changed))
            if len(coats) == count:
                return coats
    return coats


def main() -> None:
    """Make the rows, ask, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--garments", type=int, default=1_000_000)
    parser.add_argument("--keep", type=Path, help="make the rows here and keep them; used again if they are there")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hemline-query-") as temporary:
        folder = arguments.keep or Path(temporary, "tags")
        start = time.perf_counter()
        if not (folder / MANIFEST).exists():
            make(folder, arguments.garments)
        made = time.perf_counter() - start
        size = sum(file.stat().st_size for file in folder.rglob("*.parquet")) / 1e6
        figures = {
            "cores": cores(), "garments": arguments.garments, "rows made, seconds": made, "tables, megabytes": size,
            "query": queries(folder), "similar": similars(folder),
            "most memory, megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }  # fmt: skip
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
