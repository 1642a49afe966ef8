"""A catalogue in a list, and a worker that needs no network, for what is done with the answers of others."""

import hashlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from hemline.catalog.parts import read_manifest
from hemline.catalog.tables import Rows, make_schemas, photo_row
from hemline.labels import load_label_space


class Listed:
    """A catalogue of items; raises `error` after them."""

    schema = pa.schema([])

    def __init__(self, items, error=None):
        self.items, self.error = items, error

    def __iter__(self):
        yield from self.items
        if self.error is not None:
            raise self.error

    def count(self):
        return None


class Hasher:
    """A worker for which every file is a photo with a garment whose category is the file's text."""

    def __init__(self):
        self.schemas = make_schemas(load_label_space("street"), pa.schema([]), masks=False)

    def __call__(self, chunk):
        photos, garments = [], []
        for one in chunk:
            known = {"position": one.position, "path": one.item.path, "occurrence": one.occurrence}
            if not Path(one.item.path).exists():
                known |= {"status": "failed", "error_message": f"{one.item.path}: no such file"}
            else:
                content = Path(one.item.path).read_bytes()
                known |= {"status": "ok", "sha256": hashlib.sha256(content).hexdigest(), "garments": 1}
                garments.append({"position": one.position, "path": one.item.path, "garment": 0, "score": 0.5})
                garments[-1]["category"] = content.decode()
            photos.append(photo_row(self.schemas.photos, known, (), None))
        return Rows(
            pa.RecordBatch.from_pylist(photos, self.schemas.photos),
            pa.RecordBatch.from_pylist(garments, self.schemas.garments),
        )


class Here:
    """Stands where a `Crew` does, and answers in this process."""

    def __init__(self, make):
        self.make = make

    def run(self, chunks):
        work = self.make()
        yield from map(work, chunks)


class Silent:
    """A view that remembers what it was told."""

    def __init__(self):
        self.seen = []

    def begin(self, tally):
        self.seen.append((tally.before, tally.photos))

    def step(self, tally):
        self.seen.append((tally.before, tally.photos))


def tables(folder):
    """Both tables of an OUT, each as one, by the manifest."""
    manifest = read_manifest(folder)
    return [
        pa.concat_tables(pq.read_table(file) for file in manifest.files(name)).combine_chunks()
        for name in ("photos", "garments")
    ]
