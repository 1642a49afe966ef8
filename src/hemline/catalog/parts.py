"""Where tags stand: parts of two tables, written whole or not at all, and the manifest that says which are.

    OUT/manifest.jsonl                  what shaped the answers, then a line a finished part
    OUT/photos/part-000000.parquet      rows of `tables.make_schemas`
    OUT/garments/part-000000.parquet    written first: a photo never stands there without its garments

Parts are finished in their order. What a kill leaves of one that is not in the manifest is removed at the next start.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from hemline import __version__
from hemline._held import found_in, held
from hemline.catalog._index import Index
from hemline.catalog.tables import DUPLICATE, FAILED, OK, Rows, as_text
from hemline.errors import CatalogError, UnwritableError
from hemline.whole_files import whole_file

Form = Literal["parquet", "csv"]
Table = Literal["photos", "garments"]
TABLES: tuple[Table, ...] = ("garments", "photos")
"""In the order in which a part's are written."""
MANIFEST = "manifest.jsonl"
FORMAT = 1
"""The newest layout of an OUT that this version reads."""
PART_SIZE = 1000
"""Photos in a part."""


class Part(NamedTuple):
    """A part that is finished."""

    part: int
    first: int
    """Position of its first photo."""
    photos: int
    garments: int
    ok: int
    failed: int
    duplicate: int


class Manifest(NamedTuple):
    """What stands in an OUT."""

    folder: Path
    form: Form
    made: dict[str, Any]
    """`Plan.made_with` of the run that began it."""
    parts: list[Part]

    @property
    def photos(self) -> int:
        """How many photos stand there."""
        return sum(part.photos for part in self.parts)

    def files(self, table: Table) -> list[Path]:
        """The files of a table, in their order."""
        return [part_file(self.folder, table, part.part, self.form) for part in self.parts]


def part_file(folder: Path, table: str, part: int, form: Form) -> Path:
    """Where a part of a table stands."""
    return folder / table / f"part-{part:06d}.{form}"


def read_manifest(folder: Path) -> Manifest:
    """What stands in a folder that `hemline tag` wrote; a part that is not finished does not.

    Raises:
        CatalogError: it is no such folder, is damaged, or was written by a newer version.
    """
    path = Path(folder) / MANIFEST
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        what = "is not there" if isinstance(error, FileNotFoundError) else f"cannot be read: {error.strerror}"
        raise CatalogError(f"{folder}: no tags of `hemline tag` stand here ({MANIFEST} {what})") from error
    head, *lines = text.splitlines(keepends=True) or [""]
    try:
        says = json.loads(head)
        if says["format"] > FORMAT:
            raise CatalogError(f"{path}: of format {says['format']}, and this version reads {FORMAT}; upgrade hemline")
        parts = [Part(**json.loads(line)) for line in lines if line.endswith("\n")]  # a torn last line does not count
        return Manifest(Path(folder), says["form"], says["made_with"], parts)
    except (ValueError, KeyError, TypeError) as error:
        raise CatalogError(f"{path}: damaged ({error}): choose another folder, or take this one away") from error


class Parts:
    """The OUT that a run writes; `open_parts` opens one."""

    def __init__(self, manifest: Manifest, index: Index, part_size: int) -> None:
        self._manifest = manifest
        self._index = index
        self._part_size = part_size
        self._waiting: list[Rows] = []

    @property
    def manifest(self) -> Manifest:
        """What stands there now."""
        return self._manifest

    @property
    def next_position(self) -> int:
        """Of the next photo that is added."""
        return self._manifest.photos + self._count

    @property
    def _count(self) -> int:
        return sum(rows.photos.num_rows for rows in self._waiting)

    def occurrence(self, path: str) -> int:
        """How often this was asked of the same path before: a photo's `occurrence`."""
        return self._index.occurrence(path)

    def is_done(self, path: str, occurrence: int) -> bool:
        """Whether a photo stood there when the run began."""
        return self._index.is_done(path, occurrence)

    def add(self, rows: Rows) -> Rows:
        """Take in the rows of the next photos, whose positions follow those before; parts are written as they fill.

        A photo whose bytes were answered at an earlier position becomes its duplicate.

        Returns:
            The rows as they will stand.

        Raises:
            UnwritableError: a part cannot be written; those before it stand.
        """
        rows = _without_twins(rows, self._index)
        self._waiting.append(rows)
        while self._count >= self._part_size:
            whole, rest = _cut(self._waiting, self._part_size)
            self._write(whole)
            self._waiting = [rest] if rest.photos.num_rows else []
        return rows

    def close(self) -> None:
        """Write what is left as a part of its own.

        Raises:
            UnwritableError: it cannot be written.
        """
        if self._waiting:
            whole, _ = _cut(self._waiting, self._count)
            self._write(whole)
            self._waiting = []

    def _write(self, rows: Rows) -> None:
        manifest, number = self._manifest, len(self._manifest.parts)
        for table in TABLES:
            batch: pa.RecordBatch = getattr(rows, table)
            with whole_file(part_file(manifest.folder, table, number, manifest.form)) as temporary:
                write_rows(temporary, batch.schema, [batch], manifest.form)
        shutil.rmtree(manifest.folder / "products", ignore_errors=True)   # a vote without the photos of this part
        status = rows.photos.column("status").to_pylist()
        counts = {name: status.count(name) for name in (OK, FAILED, DUPLICATE)}
        part = Part(number, manifest.photos, len(status), rows.garments.num_rows, **counts)
        _append(manifest.folder / MANIFEST, json.dumps(part._asdict()) + "\n")
        manifest.parts.append(part)


@contextmanager
def open_parts(
    folder: Path, made_with: Mapping[str, Any], *, form: Form = "parquet", part_size: int = PART_SIZE
) -> Iterator[Parts]:
    """Begin an OUT, or go on with one; nobody else writes there meanwhile.

    What is not closed is not written: a run that is stopped leaves the parts that are whole.

    Args:
        folder: OUT.
        made_with: `Plan.made_with`; that of the OUT must be the same.
        form: Of the parts.
        part_size: Photos in a part.

    Raises:
        CatalogError: OUT holds tags that were made otherwise, or something else.
        ConfigError: another process writes there.
        UnwritableError: it cannot be made.
    """
    folder, made = Path(folder), dict(made_with)
    if folder.is_dir() and not (folder / MANIFEST).exists() and set(found_in(folder, MANIFEST)):
        raise CatalogError(f"{folder}: holds other things than tags; name a folder that is empty or not there yet")
    with held(folder, (MANIFEST,), "is tagging into it: wait for its end, or choose another --out"):
        if (folder / MANIFEST).exists():
            manifest = read_manifest(folder)
            _same(manifest, made, form)
        else:
            manifest = Manifest(folder, form, made, [])
            head = {"format": FORMAT, "form": form, "made_with": made, "hemline_version": __version__}
            with whole_file(folder / MANIFEST) as temporary:
                temporary.write_text(json.dumps(head) + "\n", encoding="utf-8")
        try:
            _clear(manifest)
        except OSError as error:
            raise UnwritableError(f"{error.filename or folder}: cannot be written: {error.strerror}") from error
        index = Index()
        try:
            _fill(index, manifest)
            yield Parts(manifest, index, part_size)
        finally:
            index.close()


def _same(manifest: Manifest, made: dict[str, Any], form: Form) -> None:
    old = manifest.made | {"format": manifest.form}
    new = json.loads(json.dumps(made)) | {"format": form}
    if old.get("weights_sha256") != new["weights_sha256"]:
        was, now = (f"{says.get('weights')} ({str(says.get('weights_sha256'))[:8]})" for says in (old, new))
        raise CatalogError(
            f"{manifest.folder}: holds tags by weights {was}, and these are {now}: different weights never mix, "
            "choose another --out"
        )
    if old.get("schema_version") != new.get("schema_version"):     # tables of other columns
        raise CatalogError(
            f"{manifest.folder}: holds tags by another version of hemline (answers of version "
            f"{old.get('schema_version') or 'before 1.3'}, and these are {new.get('schema_version')}): "
            "choose another --out"
        )
    for says in (old, new):
        if "columns" in says:                                     # the parts of a CSV are read by position
            says["columns"] = [f"{name}: {kind}" for name, kind in says["columns"].items()]
    other = [f"{key} {old.get(key)!r} and not {new.get(key)!r}" for key in (old | new) if old.get(key) != new.get(key)]
    if other:
        raise CatalogError(
            f"{manifest.folder}: holds tags made with {', '.join(other)}: choose another --out, or ask as before"
        )


def _clear(manifest: Manifest) -> None:
    """Remove what killed processes left: a torn last line, files that are no finished part."""
    path = manifest.folder / MANIFEST
    text = path.read_bytes()
    whole = text.rfind(b"\n") + 1
    if whole < len(text):
        os.truncate(path, whole)
    for table in TABLES:
        (manifest.folder / table).mkdir(exist_ok=True)
        finished = set(manifest.files(table))
        for file in (manifest.folder / table).iterdir():
            if file not in finished and file.name.lstrip(".").startswith("part-"):
                file.unlink()


def _fill(index: Index, manifest: Manifest) -> None:
    """Tell the index what stands in the parts, one part in memory at a time."""
    names = ["position", "path", "occurrence", "sha256", "status"]
    for file in manifest.files("photos"):
        rows = read_columns(file, names, manifest.form).to_pydict()
        index.add(zip(rows["path"], rows["occurrence"], strict=True))
        for position, sha256, status in zip(rows["position"], rows["sha256"], rows["status"], strict=True):
            if status == OK:
                index.twin(sha256, position)


def read_columns(file: Path, names: list[str], form: Form) -> pa.Table:
    """Some columns of a part; those of a CSV are text but for whole numbers.

    Raises:
        CatalogError: it cannot be read.
    """
    try:
        if form == "parquet":
            return pyarrow.parquet.ParquetFile(file).read(columns=names)
        whole = {name: pa.int64() for name in ("position", "occurrence", "duplicate_of")}
        options = pyarrow.csv.ConvertOptions(
            include_columns=names,
            column_types={name: whole.get(name, pa.string()) for name in names},
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        )
        parse = pyarrow.csv.ParseOptions(newlines_in_values=True)
        return pyarrow.csv.read_csv(file, convert_options=options, parse_options=parse)
    except (OSError, pa.ArrowException) as error:
        raise CatalogError(f"{file}: cannot be read ({error}): bring it back, or choose another --out") from error


def _without_twins(rows: Rows, index: Index) -> Rows:
    """The rows, those of photos that were answered before made duplicates."""
    photos = rows.photos.select(["position", "sha256", "status"]).to_pylist()
    twins = {}
    for row, one in enumerate(photos):
        if one["status"] in (OK, DUPLICATE):
            twin = index.twin(one["sha256"], one["position"])
            if twin != one["position"]:
                twins[row] = twin
    if not twins:
        return rows
    table = rows.photos.to_pylist()
    answers = rows.photos.schema.names[rows.photos.schema.names.index("duplicate_of") :]
    for row, twin in twins.items():
        kept = {name: table[row][name] for name in ("weights_sha256", "label_space")}
        table[row] |= dict.fromkeys(answers) | kept | {"status": DUPLICATE, "duplicate_of": twin}
    gone = {photos[row]["position"] for row in twins}
    keep = [position not in gone for position in rows.garments.column("position").to_pylist()]
    return Rows(
        pa.RecordBatch.from_pylist(table, rows.photos.schema), rows.garments.filter(pa.array(keep, pa.bool_()))
    )


def _cut(waiting: list[Rows], count: int) -> tuple[Rows, Rows]:
    """All that waits as one, and what is more than so many photos."""
    photos, garments = (
        pa.Table.from_batches([getattr(rows, table) for rows in waiting]).combine_chunks() for table in Rows._fields
    )
    last = photos.column("position")[count - 1].as_py()
    inside = sum(position <= last for position in garments.column("position").to_pylist())
    return _rows(photos[:count], garments[:inside]), _rows(photos[count:], garments[inside:])


def _rows(photos: pa.Table, garments: pa.Table) -> Rows:
    return Rows(*(pa.RecordBatch.from_struct_array(x.to_struct_array().combine_chunks()) for x in (photos, garments)))


def write_rows(path: Path, schema: pa.Schema, batches: Iterable[pa.RecordBatch], form: Form) -> int:
    """Write a file of rows, some in memory at a time; how many there were. A CSV has nested columns as JSON."""
    count = 0
    if form == "parquet":
        writer = pyarrow.parquet.ParquetWriter(path, schema, compression="zstd")
    else:
        writer = pyarrow.csv.CSVWriter(path, as_text(pa.RecordBatch.from_pylist([], schema)).schema)
    with writer:
        for batch in batches:
            writer.write_batch(batch if form == "parquet" else as_text(batch))
            count += batch.num_rows
    return count


def _append(path: Path, line: str) -> None:
    """Add a line that is there whole and on the disk, or not at all."""
    try:
        with path.open("ab") as file:
            size = file.tell()
            try:
                file.write(line.encode())
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                with suppress(OSError):
                    os.truncate(path, size)
                raise
    except OSError as error:
        raise UnwritableError(f"{path}: cannot be written: {error.strerror or error}") from error
