"""How long it takes to ask a catalogue of a million garments, beside a plain scan; some four minutes.

    python -m benchmarks.query [--garments 1000000] [--indexed 500000] [--keep FOLDER] [--json]

Rows are drawn from a seed, a part at a time, with `hemline tag`'s own schemas and part size. Embeddings lie around
centres of their category, as real ones do. Words are asked of all rows; like garments are looked for among the first
`--indexed`, as the index is the slowest to make. The scan reads the columns that it needs and no others, with all
threads of pyarrow. Prints figures, by `--json` the ratios alone, for `speed.py`; every ratio is within this run.
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
        columns[column_of(group.name)] = names if group.choice == "one" else [name and [name] for name in names]
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
    """The same question answered with pyarrow alone, which reads the columns that it needs."""
    manifest = read_manifest(folder)
    needed = {"garments": ["position", "path", "garment", "score", "category", "colour", "textile_pattern"],
              "photos": ["position", "sku", "price"]}  # fmt: skip
    sets = {table: pa.dataset.dataset([str(x) for x in manifest.files(table)]) for table in TABLES}
    category, colour, pattern = (pc.field(name) for name in ("category", "colour", "textile_pattern"))
    asked = (category == "coat") & (colour == "navy") & (pattern == "stripe")
    found = sets["garments"].to_table(needed["garments"], filter=asked)
    photos = sets["photos"].to_table(needed["photos"], filter=pc.field("position").isin(found["position"]))
    return found.select(["position", "path", "garment", "score"]).join(photos, "position").sort_by(
        [("score", "descending"), ("position", "ascending"), ("garment", "ascending")]
    )


def queries(folder: Path, rounds: int) -> dict[str, Any]:
    """Seconds of `hemline query` and of the scan in each round, one after the other; and whether both find the same."""
    found, scanned = query(folder, ASKED), scan(folder)
    columns = ["position", "garment", "path", "score", "sku", "price"]
    if found.select(columns).to_pylist() != scanned.select(columns).to_pylist():
        raise SystemExit("the query and the scan find different rows")
    views = open_views(folder)
    sql = query_sql(views, ASKED)
    calls: dict[str, Callable[[], object]] = {
        "query": lambda: query(folder, ASKED),
        "scan": lambda: scan(folder),
        "query of an OUT that is open": lambda: views.read(sql).read_all(),
        "query with another garment": lambda: query(folder, "coat and navy with skirt and stripe", limit=20),
        "query of a sku": lambda: query(folder, "sku=SKU-0000700", limit=20),
    }
    taken = [{name: _timed(call) for name, call in calls.items()} for _ in range(rounds + 1)][1:]
    return {"rows found": found.num_rows, **{name: [one[name] for one in taken] for name in calls}}


def first_of(folder: Path, garments: int, other: Path) -> Path:
    """An OUT of the first parts of one, so many that these hold so many garments."""
    head, *lines = (folder / MANIFEST).read_text().splitlines(keepends=True)
    other.mkdir()
    for table in TABLES:
        (other / table).symlink_to((folder / table).resolve(), target_is_directory=True)
    parts = -(-garments // (EACH * PART_SIZE))
    (other / MANIFEST).write_text("".join([head, *lines[:parts]]))
    return other


def similars(folder: Path, asked: int = 50, top: int = 10) -> dict[str, Any]:
    """Seconds of `hemline similar` for some coats, and of brute force over all coats in numpy."""
    start = time.perf_counter()
    catalogue = Similar.open(folder)
    built = time.perf_counter() - start
    again = _timed(lambda: Similar.open(folder))
    keys, vectors = _category(folder, "coat")
    figures: dict[str, list[float]] = {"search": [], "brute force": [], "recall@10": [], "search and look-up": []}
    for garment in _coats(folder, asked):
        start = time.perf_counter()
        found = catalogue.nearest(garment, top)
        figures["search"].append(time.perf_counter() - start)
        start = time.perf_counter()
        likeness = vectors @ garment_vector(garment)
        order = np.argpartition(-likeness, top)[:top]
        figures["brute force"].append(time.perf_counter() - start)
        figures["search and look-up"].append(_timed(lambda one=garment: catalogue.find(one, top=top)))
        true = set(keys[order].tolist())
        figures["recall@10"].append(len(true & {key for key, _ in found}) / top)
    return {
        "garments in the index": len(catalogue),
        "index built": built,
        "index opened": again,
        "index, megabytes": sum(file.stat().st_size for file in (folder / "index").iterdir()) / 1e6,
        "coats": len(keys),
        **figures,
    }


def ratios(asked: dict[str, Any], alike: dict[str, Any], garments: int) -> list[dict[str, Any]]:
    """What `speed.py` puts on its page: the middle, and the quartiles."""
    return [
        _ratio(f"query / plain pyarrow scan, {garments:,} garments", asked["query"], asked["scan"], "<= 1"),
        _ratio(
            f"similar / brute force over the category, {alike['coats']:,} coats of {alike['garments in the index']:,}",
            alike["search"], alike["brute force"], "<= 1",
        ),
        _ratio("similar with its rows / brute force", alike["search and look-up"], alike["brute force"], ""),
        _ratio("recall@10 of similar", alike["recall@10"], 1, ">= 0.9") | {
            "ratio": statistics.mean(alike["recall@10"])
        },
    ]  # fmt: skip


def _ratio(what: str, over: list[float], under: list[float] | float, goal: str) -> dict[str, Any]:
    low, middle, high = np.quantile(np.divide(over, under), (0.25, 0.5, 0.75)).tolist()
    return {"what": what, "ratio": middle, "low": low, "high": high, "goal": goal}


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
    parser.add_argument("--indexed", type=int, default=500_000, help="garments that `similar` looks among (500000)")
    parser.add_argument("--rounds", type=int, default=8, help="times that each question is asked (8)")
    parser.add_argument("--keep", type=Path, help="make the rows here and keep them; used again if they are there")
    parser.add_argument("--json", action="store_true", help="print the ratios, as JSON")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hemline-query-") as temporary:
        folder = arguments.keep or Path(temporary, "tags")
        start = time.perf_counter()
        if not (folder / MANIFEST).exists():
            make(folder, arguments.garments)
        made = time.perf_counter() - start
        size = sum(file.stat().st_size for file in folder.rglob("*.parquet")) / 1e6
        asked = queries(folder, arguments.rounds)
        alike = similars(first_of(folder, min(arguments.indexed, arguments.garments), Path(temporary, "some")))
    if arguments.json:
        print(json.dumps(ratios(asked, alike, arguments.garments), indent=2))
        return
    print(f"{cores()} cores, {arguments.garments:,} garments made in {made:.0f} s, {size:,.0f} MB")
    for name, value in (asked | alike).items():
        print(f"{name:<32}{statistics.median(value) if isinstance(value, list) else value:>14.4f}")
    for one in ratios(asked, alike, arguments.garments):
        print(f"{one['what']}: {one['ratio']:.3f}, {one['low']:.3f} to {one['high']:.3f}, goal {one['goal']}")
    print(f"most memory, MB: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f}")


if __name__ == "__main__":
    main()
