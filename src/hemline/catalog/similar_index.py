"""The index that `hemline similar` searches: a graph of the vectors of each category, in OUT/index or another folder.

    index.json              recipe, the parts that are covered, and the file of each category
    000-1000.usearch        vectors as 8-bit whole numbers, read from the disk as they are needed

`index.json` is written last and names its files, so an index is whole or the one before stands. Parts that were added
since are added to it; where what it covers is not what stands in OUT, it is built anew. A key is position * 65536 +
garment.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from usearch.index import Index

from hemline._held import found_in, held
from hemline.catalog import vectors
from hemline.catalog.processes import cpu_count
from hemline.catalog.views import Views
from hemline.errors import CatalogError, ConfigError, UnwritableError
from hemline.whole_files import whole_file

STATE = "index.json"
CONNECTIVITY, EXPANSION_ADD, EXPANSION_SEARCH = 16, 64, 128
"""Of the graphs: the more, the nearer to exact, the slower."""
SHIFT = 16
"""Bits of a key that number the garment in its photo."""
GARMENT = (1 << SHIFT) - 1

Keys = NDArray[np.uint64]


class _State(NamedTuple):
    """What `index.json` says."""

    recipe: list[object]
    """What the vectors depend on; another one makes another index."""
    parts: int
    covers: str
    """Fingerprint of the lines of the manifest that say what these parts hold."""
    size: int
    """Numbers in a vector."""
    files: dict[str, str]
    """Of each category."""


def up_to_date_index(views: Views, folder: Path | None = None) -> dict[str, Index]:
    """The graph of each category, memory-mapped; built, or added to, where parts of the OUT are not in it.

    Args:
        views: The OUT.
        folder: Where it stands; None is OUT/index.

    Raises:
        CatalogError: the tags hold no embeddings.
        ConfigError: another process builds it, or the folder holds other things.
        UnwritableError: it cannot be written.
    """
    if "embedding" not in views.garments:
        raise CatalogError(
            f"{views.manifest.folder}: holds no embeddings, by which like garments are found: they are left out by "
            "`tag --no-embeddings`, and by weights that find instances"
        )
    folder = views.manifest.folder / "index" if folder is None else folder
    state = _read(folder, views)
    if state is None or state.parts < len(views.manifest.parts):
        _make(folder)
        with held(folder, (STATE,), "is building its index: wait for its end"):
            state = _read(folder, views)
            if state is None or state.parts < len(views.manifest.parts):
                state = _build(folder, views, state)
    return {category: _open(folder / file, state.size, view=True) for category, file in state.files.items()}


def _make(folder: Path) -> None:
    """See to it that the index can be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        there = [name for name in found_in(folder, STATE) if not name.endswith(".usearch")]
        if there and not (folder / STATE).exists():
            raise ConfigError(f"--index {folder}: holds other things; name a folder that is empty or not there yet")
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UnwritableError(
            f"{folder}: the index cannot be written there ({error.strerror or error}): name another folder for it by "
            "--index DIR"
        ) from error


def _read(folder: Path, views: Views) -> _State | None:
    """What stands there; None where it is nothing that can be used."""
    try:
        state = _State(**json.loads((folder / STATE).read_text(encoding="utf-8")))
        known = state.recipe == _recipe(views) and state.covers == _covers(views, state.parts)
        return state if known and all((folder / file).is_file() for file in state.files.values()) else None
    except (OSError, ValueError, TypeError):
        return None


def _recipe(views: Views) -> list[object]:
    weights = views.manifest.made.get("weights_sha256")
    return [vectors.RECIPE, vectors.COLOUR_WEIGHT, CONNECTIVITY, EXPANSION_ADD, weights]


def _covers(views: Views, parts: int) -> str:
    made, lines = views.manifest.made, [part._asdict() for part in views.manifest.parts[:parts]]
    return hashlib.sha256(json.dumps([made, lines]).encode()).hexdigest() if len(lines) == parts else ""


def _build(folder: Path, views: Views, old: _State | None) -> _State:
    """Add the parts that are not in the old index, or all of them."""
    parts, files = len(views.manifest.parts), dict(old.files) if old else {}
    first = views.manifest.parts[old.parts].first if old else 0
    indexes: dict[str, Index] = {}
    size = old.size if old else 0
    with ThreadPoolExecutor(cpu_count()) as pool:
        for categories, keys, found in _vectors(views, first):
            size = found.shape[1]
            chosen = {str(name): np.flatnonzero(categories == name) for name in np.unique(categories)}
            for name in chosen:
                if name not in indexes:
                    indexes[name] = _open(folder / files[name] if name in files else None, size)
            adding = [                                            # one thread a graph: the same graph on every run
                pool.submit(indexes[name].add, keys[rows], found[rows], threads=1) for name, rows in chosen.items()
            ]
            for one in adding:
                one.result()
    for number, (name, index) in enumerate(sorted(indexes.items())):
        files[name] = f"{number:03d}-{parts}.usearch"
        with whole_file(folder / files[name]) as temporary:
            index.save(str(temporary))
    state = _State(_recipe(views), parts, _covers(views, parts), size, files)
    with whole_file(folder / STATE) as temporary:
        temporary.write_text(json.dumps(state._asdict()), encoding="utf-8")
    for file in folder.glob("*.usearch"):
        if file.name not in files.values():
            with suppress(OSError):                               # Windows keeps what another process has mapped
                file.unlink()
    return state


def _vectors(views: Views, first: int) -> Iterator[tuple[NDArray[np.str_], Keys, vectors.Floats]]:
    """Categories, keys and vectors of the garments from a position on, some at a time, in their order."""
    sql = f"SELECT position, garment, category, colours, embedding FROM garments WHERE position >= {first}"
    for batch in views.read(f"{sql} AND embedding IS NOT NULL"):
        if batch.num_rows:
            keys = keys_of(batch.column("position"), batch.column("garment"))
            flat = batch.column("embedding").flatten().to_numpy(zero_copy_only=False)
            colours = vectors.colour_vectors(batch.column("colours"))
            joined = vectors.join_vectors(flat.reshape(batch.num_rows, -1).astype(np.float32), colours)
            yield np.array(batch.column("category").to_pylist()), keys, joined


def keys_of(positions: pa.Array, garments: pa.Array) -> Keys:
    """What garments are called in an index."""
    keys: Keys = (positions.to_numpy().astype(np.uint64) << SHIFT) + pc.cast(garments, pa.uint64()).to_numpy()
    return keys


def _open(file: Path | None, size: int, *, view: bool = False) -> Index:
    index = Index(
        ndim=size, metric="cos", dtype="i8", connectivity=CONNECTIVITY, expansion_add=EXPANSION_ADD,
        expansion_search=EXPANSION_SEARCH, enable_key_lookups=False,
    )  # fmt: skip
    try:
        if file is not None:
            (index.view if view else index.load)(str(file))
    except (RuntimeError, ValueError, OSError) as error:
        raise CatalogError(f"{file}: damaged ({error}): remove that file, and the index is built anew") from error
    return index
