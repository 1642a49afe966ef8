"""A cleaned copy of datasets, for `hemline data check --fix`: what has errors is left out, nothing else is changed.

    OUT/report.json, OUT/report.md     what was left out, and why
    OUT/NAME/...                       each dataset in its own format: its label files, and its photos by hard links

A row is left out alone where it tells of nothing, as an empty mask or a row that stands twice does. Whatever else is
wrong takes the whole photo along: a garment whose row alone went would be learnt as absent from its photo. Label files
are read line by line (CSV), or mapped (JSON), so that their size does not matter.
"""

from __future__ import annotations

import csv
import json
import mmap
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from hemline._reading import path_of
from hemline.data.instances import InstanceSet
from hemline.data.problems import Finding
from hemline.data_commands.check import Checked, Opened
from hemline.data_commands.check_labels import OFF_BY_ONE
from hemline.data_commands.check_photo import photo_file
from hemline.errors import DataError

ALONE = {"duplicate row", "empty mask", "mask outside the photo", "unknown image"}
"""Kinds of errors whose row is left out by itself."""
SECOND = {"duplicate annotation id", "duplicate image id"}
"""Kinds of errors of an id that stands twice: the first one stays."""
CSV = {"imaterialist2019": "ImageId", "imaterialist2020": "ImageId", "table": "image"}
"""Datasets whose labels are a CSV, and the column that names the photo."""
JSON = ("coco", "fashionpedia")
"""Datasets whose labels are COCO's JSON."""
_ROW = re.compile(r"(line|annotation|image) (-?\d+)")


@dataclass
class Fixed:
    """What was left out of one dataset."""

    name: str
    folder: Path
    photos: int = 0
    """Photos that the copy has."""
    rows: int = 0
    """Rows or annotations left out in all, those of photos that were left out included."""
    changes: list[Finding] = field(default_factory=list)
    """The errors that the copy does not have any more."""
    left: list[Finding] = field(default_factory=list)
    """The errors that it still has."""
    sentence: str = ""
    """Why there is no copy."""

    def to_dict(self) -> dict[str, Any]:
        """Plain data: what the report says."""
        return {
            "dataset": self.name,
            "folder": None if self.sentence else str(self.folder),
            "photos": self.photos,
            "rows_left_out": self.rows,
            "left_out_for": [finding.problem._asdict() for finding in self.changes],
            "still_wrong": [finding.problem._asdict() for finding in self.left],
            "not_written": self.sentence or None,
        }


@dataclass
class LeaveOut:
    """What is left out of one label file."""

    alone: set[int] = field(default_factory=set)
    """Lines, or ids of annotations."""
    with_photo: set[int] = field(default_factory=set)
    """Lines, or ids of annotations, that take their photos along."""
    images: set[int | str] = field(default_factory=set)
    """Ids of images in a JSON."""
    photos: set[str] = field(default_factory=set)
    """Photos as a CSV names them, without `.jpg`."""


def refuse_folder(out: Path, checked_paths: list[Path]) -> None:
    """Refuse a folder that holds something, or lies in a dataset.

    Raises:
        DataError: it does.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"--fix {out}: it is there and not empty; name a new folder")
    for path in checked_paths:
        if path.resolve() in (out.resolve(), *out.resolve().parents):
            raise DataError(f"--fix {out}: it lies in the dataset {path}; name a folder outside")


def fix(checked: Checked, out: Path) -> list[Fixed]:
    """Write a cleaned copy of each dataset that was checked, and a report.

    Args:
        checked: What is wrong with them.
        out: A new or empty folder.

    Returns:
        What was done with each dataset.

    Raises:
        DataError: the folder is not empty, lies in a dataset, or cannot be written.
    """
    refuse_folder(out, [path_of(opened.data.path) for opened in checked.sets if opened.data.path])
    try:
        out.mkdir(parents=True, exist_ok=True)
        done = [_fix_one(opened, checked, out / opened.name.replace(" ", "_")) for opened in checked.sets]
        report = {"fixed": [each.to_dict() for each in done], "not_opened": checked.unopened}
        with whole(out / "report.json") as file:
            file.write(json.dumps(report, indent=2).encode() + b"\n")
        with whole(out / "report.md") as file:
            file.write(_markdown(done).encode("utf-8", "backslashreplace"))
    except OSError as error:
        what = f"{error.filename or out} cannot be written ({error.strerror or error})"
        raise DataError(f"--fix {out}: {what}") from error
    return done


def _fix_one(opened: Opened, checked: Checked, folder: Path) -> Fixed:
    errors = [finding for finding in checked.of("error") if finding.dataset == opened.name]
    fixed = Fixed(opened.name, folder, left=errors)
    kind = opened.data.name
    if (kind not in CSV and kind not in JSON) or not hasattr(opened.dataset, "photo_file"):
        fixed.sentence = f"{kind} is in a format that is not written: its photos and labels stay where they are"
        return fixed
    path = path_of(str(opened.data.path))
    if kind == "table" and path.suffix.lower() not in (".csv", ".tsv"):
        fixed.sentence = f"{path.name} is no CSV: save it as one, or leave the rows out yourself"
        return fixed
    if any(error.problem.kind == OFF_BY_ONE for error in errors):
        fixed.sentence = "its ids are off by one, so that what is left would name other things: put them right first"
        return fixed
    position = {str(photo_file(opened.dataset, i)): i for i in range(len(opened.dataset))}
    out: dict[str, LeaveOut] = {}
    dropped: set[int] = set()
    fixed.left = [error for error in errors if not _place(error, opened, position, out, dropped)]
    fixed.changes = [error for error in errors if error not in fixed.left]
    write = _write_json if kind in JSON else _write_csv
    folder.mkdir()
    kept, fixed.rows = write(opened, folder, out, dropped)
    for index in sorted(kept - dropped):
        file = Path(opened.dataset.photo_file(index))
        _link(file, folder / os.path.relpath(file, _root(opened)))
    fixed.photos = len(kept - dropped)
    return fixed


def _place(
    error: Finding, opened: Opened, position: Mapping[str, int], out: dict[str, LeaveOut], dropped: set[int]
) -> bool:
    """Note what an error leaves out; False where nothing can be."""
    kind, file, row, _ = error.problem
    if kind in SECOND:
        return True
    if not row and file in position:                      # a photo: all its rows
        index = position[file]
        dropped.add(index)
        if isinstance(opened.dataset, InstanceSet):
            for number in opened.dataset.of_photo(index):
                name = opened.dataset.index.mask_files[int(opened.dataset.index.mask[number, 0])]
                out.setdefault(_real(name), LeaveOut()).with_photo.add(int(opened.dataset.index.row[number]))
        return True
    if not (match := _ROW.fullmatch(row)):
        return False
    where = out.setdefault(_real(file), LeaveOut())
    if match[1] == "image":
        where.images.add(int(match[2]))
    else:
        (where.alone if kind in ALONE else where.with_photo).add(int(match[2]))
    return True


def _root(opened: Opened) -> Path:
    """The folder that photos are named from."""
    root = getattr(opened.dataset, "folder", None) or getattr(opened.dataset, "path", None)
    return Path(root) if root else path_of(str(opened.data.path))


def _real(file: str) -> str:
    return str(Path(file).resolve())


# -- CSV -----------------------------------------------------------------------------------------------------


def _write_csv(opened: Opened, folder: Path, out: Mapping[str, LeaveOut], dropped: set[int]) -> tuple[set[int], int]:
    """Write the CSV; positions of the photos that it still names, and how many rows it lost."""
    dataset, path = opened.dataset, path_of(str(opened.data.path))
    if isinstance(dataset, InstanceSet):
        source = Path(dataset.index.mask_files[0])
        leave = out.get(_real(str(source)), LeaveOut())
        lines, _, lost = rewrite_csv(source, folder / source.name, CSV[opened.data.name], leave)
        described = path / "label_descriptions.json"
        if described.is_file():
            _link(described, folder / described.name)
        return _photos_of(dataset, {_real(str(source)): lines}), lost
    column = str(opened.data.options.get("image") or CSV[opened.data.name])
    cells = [str(name) for name in dataset.names]  # type: ignore[attr-defined]  # a table's photos
    leave = out.get(_real(str(path)), LeaveOut())
    leave.photos |= {_bare(cells[index]) for index in dropped}
    _, named, lost = rewrite_csv(path, folder / path.name, column, leave, several_lines=True)
    return {index for index, cell in enumerate(cells) if _bare(cell) in named}, lost


def rewrite_csv(
    source: Path, target: Path, column: str, leave: LeaveOut, *, several_lines: bool = False
) -> tuple[set[int], set[str], int]:
    """Copy a CSV without some rows; the others stay as they are, to the byte.

    Args:
        source: The CSV, of any size; `,`, `;` or tab.
        target: The copy.
        column: The column that names the photo.
        leave: What is left out.
        several_lines: Whether a cell in quotes may hold line breaks.

    Returns:
        The lines that stayed, the photos they name, and how many rows were left out.
    """
    with source.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as text:
        head = text.readline()
    delimiter = max(",;\t", key=lambda x: len(next(csv.reader([head], delimiter=x), [])))
    place = [name.strip() for name in next(csv.reader([head], delimiter=delimiter))].index(column)
    photos = set(leave.photos)
    for line, cells, _ in _records(source, delimiter, several_lines):
        if line in leave.with_photo and len(cells) > place:
            photos.add(_bare(cells[place]))
    lines: set[int] = set()
    named: set[str] = set()
    lost = 0
    with whole(target) as copy:
        for line, cells, record in _records(source, delimiter, several_lines):
            photo = _bare(cells[place]) if len(cells) > place else ""
            if line > 1 and any(cells) and (line in leave.alone | leave.with_photo or photo in photos):
                lost += 1
                continue
            copy.write(record.encode("utf-8", "surrogateescape"))
            if line > 1:
                lines.add(line)
                named.add(photo)
    return lines, named, lost


def _records(source: Path, delimiter: str, several_lines: bool) -> Iterator[tuple[int, list[str], str]]:
    """The number of its first line, the cells and the text of each record, the header included."""
    before = csv.field_size_limit(1 << 30)                # masks of large photos
    try:
        with source.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
            if not several_lines:
                for number, text in enumerate(file, start=1):
                    yield number, next(csv.reader([text], delimiter=delimiter), []), text
                return
            taken: list[str] = []
            begin = 1

            def lines() -> Iterator[str]:
                for text in file:
                    taken.append(text)
                    yield text

            for cells in csv.reader(lines(), delimiter=delimiter):
                yield begin, cells, "".join(taken)
                begin += len(taken)
                taken.clear()
    finally:
        csv.field_size_limit(before)


def _bare(cell: str) -> str:
    """The name of a photo, however it is written."""
    return cell.strip().replace("\\", "/").removesuffix(".jpg")


# -- JSON ----------------------------------------------------------------------------------------------------


def _write_json(opened: Opened, folder: Path, out: Mapping[str, LeaveOut], _: set[int]) -> tuple[set[int], int]:
    """Write the JSON files; positions of the photos that they still name, and how many annotations they lost."""
    assert isinstance(opened.dataset, InstanceSet)
    root = _root(opened)
    stayed: dict[str, set[int]] = {}
    lost = 0
    for name in opened.dataset.index.mask_files:
        inside = os.path.relpath(_real(name), _real(str(root)))
        target = folder / (Path(name).name if inside.startswith("..") else inside)
        target.parent.mkdir(parents=True, exist_ok=True)
        stayed[_real(name)], fewer = rewrite_json(Path(name), target, out.get(_real(name), LeaveOut()))
        lost += fewer
    return _photos_of(opened.dataset, stayed), lost


def rewrite_json(source: Path, target: Path, leave: LeaveOut) -> tuple[set[int], int]:
    """Copy COCO's JSON without some annotations, and without the images that none is left of.

    Of two annotations, or images, with one id the first stays. What stays is copied to the byte.

    Args:
        source: The JSON.
        target: The copy.
        leave: What is left out.

    Returns:
        Ids of the annotations that stayed, and how many were left out.
    """
    import msgspec

    class Annotation(msgspec.Struct):
        image_id: int | str
        id: int | str | None = None

    class Image(msgspec.Struct):
        id: int | str

    with source.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        top = msgspec.json.decode(bytes(content), type=dict[str, msgspec.Raw])
    annotations, images = (msgspec.json.decode(top[key], type=list[msgspec.Raw]) for key in ("annotations", "images"))
    spoken = [msgspec.json.decode(raw, type=Annotation) for raw in annotations]
    numbers = [one.id if isinstance(one.id, int) else place for place, one in enumerate(spoken)]
    gone = leave.images | {one.image_id for one, n in zip(spoken, numbers, strict=True) if n in leave.with_photo}
    known = [msgspec.json.decode(raw, type=Image).id for raw in images]
    there = set(known) - gone
    stay: dict[int, msgspec.Raw] = {}
    used: set[int | str] = set()
    for raw, one, number in zip(annotations, spoken, numbers, strict=True):
        if one.image_id in there and number not in leave.alone and number not in stay:
            stay[number] = raw
            used.add(one.image_id)
    shown: dict[int | str, msgspec.Raw] = {}
    for raw, id in zip(images, known, strict=True):
        if id in used:
            shown.setdefault(id, raw)
    lists = {"images": shown.values(), "annotations": stay.values()}
    with whole(target) as copy:
        for number, (key, value) in enumerate(top.items()):
            copy.write((b",\n" if number else b"{") + json.dumps(key).encode() + b": ")
            if key in lists:
                copy.writelines((b",\n" if i else b"[") + bytes(raw) for i, raw in enumerate(lists[key]))
                copy.write(b"]" if lists[key] else b"[]")
            else:
                copy.write(bytes(value))
        copy.write(b"}\n")
    return set(stay), len(annotations) - len(stay)


# -- files ---------------------------------------------------------------------------------------------------


def _photos_of(dataset: InstanceSet, stayed: Mapping[str, set[int]]) -> set[int]:
    """Positions of the photos of which a row stayed."""
    files = [stayed.get(_real(name), set()) for name in dataset.index.mask_files]
    rows, places = dataset.index.row.tolist(), dataset.index.mask[:, 0].tolist()
    return {i for i in range(len(dataset)) if any(rows[n] in files[places[n]] for n in dataset.of_photo(i))}


@contextmanager
def whole(path: Path) -> Iterator[IO[bytes]]:
    """A file that is there when all of it is written."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            yield file
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _link(file: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(file.resolve(), target)
    except FileExistsError:
        return                                            # a photo of two rows
    except OSError:                                       # another disk, or one without links
        shutil.copy2(file, target)


# -- the report ----------------------------------------------------------------------------------------------


def _markdown(done: Sequence[Fixed]) -> str:
    lines = ["# What was left out", ""]
    for fixed in done:
        lines += [f"## {fixed.name}", ""]
        lines += [fixed.sentence or f"{fixed.folder}: {fixed.photos:,} photos; {fixed.rows:,} rows left out.", ""]
        for title, findings in (("Left out for", fixed.changes), ("Still wrong", fixed.left)):
            if findings:
                lines += [f"### {title}", ""]
                lines += [f"- {finding.problem.kind}: {finding.problem}" for finding in findings] + [""]
    return "\n".join(lines)
