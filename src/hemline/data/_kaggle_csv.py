"""Kaggle's `train.csv` of the iMaterialist (Fashion) challenges: a row a garment, its mask as text in the row.

The file is read once, line by line: of each mask only the place of its text is kept, so memory does not grow with the
masks. Rows of a photo need not stand together.

A row that cannot be used is a `Problem`. Where rows are skipped, a garment is never taken for absent: one whose mask
or size cannot be used stays, undrawn, and a photo with a row of which even the category is unknown is left out.
"""

from __future__ import annotations

import json
import os
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from reprlib import repr as short
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hemline.data.carriers import with_carriers
from hemline.data.instances import Instances, cached
from hemline.data.problems import Problem
from hemline.errors import DataError, in_short
from hemline.labels import LabelSpace, load_label_space
from hemline.photo import MAX_PIXELS

COLUMNS = ("ImageId", "EncodedPixels", "Height", "Width")
"""What both years have; the names of the columns that hold a garment's ids differ."""
EMPTY = {b"", b"nan", b"NaN"}
"""What an empty cell holds, as Kaggle and as pandas write it."""
ENDS = 48
"""Bytes at each end of a mask's text that are compared before the texts of two rows are."""
MISSING = -1


@dataclass(frozen=True)
class Form:
    """How one year's file is laid out."""

    name: str
    """The loader's key in `DATASETS`."""
    official: str
    """The label space of the publisher's words and ids."""
    columns: tuple[str, ...]
    """The columns that hold a garment's ids."""
    ids: Callable[[Sequence[bytes]], tuple[bytes, list[bytes]]]
    """Those cells -> the id of the category and the ids of the attributes."""


@dataclass(frozen=True)
class Words:
    """The names of a set's ids."""

    categories: Mapping[bytes, str]
    attributes: Mapping[bytes, str]


def open_csv(path: Path, form: Form) -> Instances:
    """The garments of a folder as Kaggle ships it, from the cache where it was read before.

    Raises:
        DataError: a file is missing, or `train.csv` has not the columns.
    """
    files = [path / "train.csv", path / "train"]
    if not files[0].is_file() or not files[1].is_dir():
        lacks = "train.csv" if not files[0].is_file() else "folder `train` with the photos"
        raise DataError(f"{form.name}: {path} holds no {lacks}; give the folder as Kaggle ships it")
    official = load_label_space(form.official)
    words = _words(path, form, official)
    if (described := path / "label_descriptions.json").is_file():
        files.append(described)
    try:
        return cached(form.name, files, lambda _: _Reading(path, form, words).read(), official.version)
    except OSError as error:
        raise DataError(f"{form.name}: {path} cannot be read ({in_short(error)})") from error


def space_of_csv(path: Path, form: Form) -> LabelSpace:
    """The label space of a folder's own words: attributes are carried by the categories that are ever drawn with them.

    It is the publisher's, unless `label_descriptions.json` lists other ids or names.

    Raises:
        DataError: as `open_csv`, or `label_descriptions.json` is damaged.
        LabelError: `label_descriptions.json` gives two ids one name.
    """
    space = load_label_space(form.official)
    if _words(path, form, space) != _official(space):
        space = _own(form.name, _descriptions(path / "label_descriptions.json", form.name))
    return with_carriers(space, open_csv(path, form))


def source_of(form: Form, space: LabelSpace) -> str:
    """The block of a label space that explains the words: the set's own, else Fashionpedia's, whose words they are."""
    return next((source for source in (form.name, "fashionpedia") if source in space.teach), form.name)


# -- ids -----------------------------------------------------------------------------------------------------


def _words(path: Path, form: Form, official: LabelSpace) -> Words:
    file = path / "label_descriptions.json"
    if not file.is_file():
        return _official(official)
    data = _descriptions(file, form.name)
    categories, attributes = (
        {str(entry["id"]).encode(): entry["name"] for entry in data[key]} for key in ("categories", "attributes")
    )
    return Words(categories, attributes)


def _official(space: LabelSpace) -> Words:
    return Words(
        {str(category.id).encode(): category.name for category in space.categories},
        {str(label.id).encode(): label.name for label in space.labels},
    )


def _descriptions(file: Path, name: str) -> dict[str, list[dict[str, Any]]]:
    """`categories` and `attributes`, each entry with a whole `id`, a `name` and a `supercategory`."""
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
        return {
            key: [
                {"id": int(x["id"]), "name": str(x["name"]), "supercategory": str(x.get("supercategory") or key)}
                for x in data.get(key, [])
            ]
            for key in ("categories", "attributes")
        }
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise DataError(
            f"{name}: {file} is not the list of categories and attributes that Kaggle ships ({in_short(error)}); "
            "download it again, or take it away: the publisher's ids are known"
        ) from error


def _own(name: str, data: Mapping[str, list[dict[str, Any]]]) -> LabelSpace:
    groups: dict[str, list[dict[str, Any]]] = {}
    for entry in data["attributes"]:
        groups.setdefault(entry["supercategory"], []).append({"id": entry["id"], "name": entry["name"]})
    return LabelSpace.from_dict(
        {
            "name": name,
            "version": 1,
            "categories": data["categories"],
            "groups": [{"name": group, "choice": "many", "labels": labels} for group, labels in groups.items()],
        }
    )


# -- rows ----------------------------------------------------------------------------------------------------


class _Reading:
    """One pass over the file."""

    def __init__(self, path: Path, form: Form, words: Words) -> None:
        self.file = (path / "train.csv").absolute()
        self.form, self.words = form, words
        with os.scandir(path / "train") as entries:
            self.there = {os.fsencode(entry.name) for entry in entries}
        self.categories = {id: number for number, id in enumerate(words.categories)}
        self.attributes = {id: number for number, id in enumerate(words.attributes)}
        self.problems: list[Problem] = []
        self.photos: dict[bytes, int] = {}                # by ImageId; MISSING where there is no such file
        self.names: list[str] = []
        self.sizes: list[tuple[int, int] | None] = []     # height and width, once a row tells them
        self.unclear: set[int | None] = set()             # photos with a garment of which nothing is known
        # of each garment
        self.photo, self.category, self.line, self.twin = array("q"), array("q"), array("q"), array("q")
        self.begin, self.length, self.num_attributes = array("q"), array("q"), array("q")
        self.attribute = array("q")

    def read(self) -> Instances:
        with self.file.open("rb", buffering=1 << 20) as lines:
            head = lines.readline(1 << 16)
            places = self._places(head)
            count = len(_cells(head))
            begin, number = len(head), 1
            for line in lines:
                number += 1
                if not line.isspace():
                    self._row(line, begin, number, places, count)
                begin += len(line)
        return self._index()

    def _places(self, head: bytes) -> list[int]:
        """Where the columns stand: those of `COLUMNS`, then those of the ids."""
        names = [cell.decode("utf-8-sig", "replace").strip() for cell in _cells(head)]
        wanted = (*COLUMNS, *self.form.columns)
        if missing := [name for name in wanted if name not in names]:
            raise DataError(
                f"{self.form.name}: {self.file}, line 1: no column {', '.join(missing)}; it has "
                f"{short(', '.join(names))}: copy or download the file again"
            )
        return [names.index(name) for name in wanted]

    def _row(self, line: bytes, begin: int, number: int, places: list[int], count: int) -> None:
        cells = _cells(line)
        photo = self._photo(cells[places[0]], number) if len(cells) > places[0] else None
        if photo == MISSING:
            return
        if photo is None or len(cells) != count:
            self._problem("bad row", number, f"{len(cells)} columns, not {count}; copy or download the file again")
            self.unclear.add(photo)
            return
        category, attributes = self._ids([cells[place] for place in places[4:]], number)
        if category is None:
            self.unclear.add(photo)
            return
        text = cells[places[1]]
        start = sum(len(cell) + 1 for cell in cells[: places[1]])
        if not line.startswith(text, start):              # a cell before it is in quotes
            start = max(start, line.find(text, start))
        length = len(text)
        if text.strip() in EMPTY:
            self._problem("no mask", number, "EncodedPixels is empty; give the garment's runs, or take the row out")
            length = 0
        if not self._sized(photo, cells[places[2]].strip(), cells[places[3]].strip(), number):
            length = 0
        self.photo.append(photo)
        self.category.append(category)
        self.line.append(number)
        self.begin.append(begin + start)
        self.length.append(length)
        self.num_attributes.append(len(attributes))
        self.attribute.extend(attributes)
        self.twin.append(hash((photo, category, len(text), text[:ENDS], text[-ENDS:])) if length else -number)

    def _photo(self, cell: bytes, number: int) -> int:
        """Number of the photo that an ImageId names; `MISSING` where there is none."""
        photo = self.photos.get(cell)
        if photo is not None:
            return photo
        name = cell.strip()
        name = name if name.endswith(b".jpg") or name in self.there else name + b".jpg"
        if name not in self.there:
            what = name.decode("utf-8", "replace")
            self._problem("missing photo", number, f"no photo {what!r} in train/; copy it there, or take its rows out")
            photo = MISSING
        elif (known := self.photos.get(name)) is not None:   # rows name it with and without .jpg
            photo = known
        else:
            photo = len(self.names)
            self.names.append(f"train/{os.fsdecode(name)}")
            self.sizes.append(None)
        self.photos[cell] = self.photos[name] = photo
        return photo

    def _ids(self, cells: Sequence[bytes], number: int) -> tuple[int | None, list[int]]:
        """Numbers of the category and the attributes; an attribute that is unknown is left out."""
        id, ids = self.form.ids([cell.strip() for cell in cells])
        category = self.categories.get(id)
        if category is None:
            self._problem("unknown category", number, f"no category {_quoted(id)}; {_known(self.words.categories)}")
        attributes: list[int] = []
        for id in ids:
            attribute = self.attributes.get(id.strip())
            if attribute is None:
                what = f"no attribute {_quoted(id)}; {_known(self.words.attributes)}"
                self._problem("unknown attribute", number, what)
            elif attribute not in attributes:
                attributes.append(attribute)
        return category, attributes

    def _sized(self, photo: int, height: bytes, width: bytes, number: int) -> bool:
        """Whether the row's size is one, and the photo's."""
        size = _size(height, width)
        if not 0 < size[0] * size[1] <= MAX_PIXELS:
            what = f"Height {_quoted(height)}, Width {_quoted(width)}"
            self._problem("bad size", number, f"{what}; give pixels, {MAX_PIXELS:,} at most in all")
            return False
        known = self.sizes[photo] or size
        self.sizes[photo] = known
        if known != size:
            what = f"{size[0]} x {size[1]}; rows before it say that {self.names[photo]} is "
            self._problem("two sizes", number, f"{what}{known[0]} x {known[1]}: correct the wrong ones")
        return known == size

    def _problem(self, kind: str, number: int, what: str) -> None:
        self.problems.append(Problem(kind, str(self.file), f"line {number}", what))

    def _twins(self, begin: NDArray[np.int64], length: NDArray[np.int64]) -> list[int]:
        """Garments that a row before them gives already: photo, category and mask are the same."""
        twin = np.array(self.twin, np.int64)
        _, group, times = np.unique(twin, return_inverse=True, return_counts=True)
        seen: dict[tuple[int, int, int, bytes], int] = {}
        twins = []
        with self.file.open("rb") as file:
            for n in np.flatnonzero((times[group] > 1) & (length > 0)).tolist():
                file.seek(begin[n])
                key = (twin[n], self.photo[n], self.category[n], file.read(length[n]))
                first = seen.setdefault(key, n)
                if first != n:
                    twins.append(n)
                    self._problem("duplicate row", self.line[n], f"as line {self.line[first]}; take one of them out")
        return twins

    def _index(self) -> Instances:
        photo, line, begin, length = (np.array(x, np.int64) for x in (self.photo, self.line, self.begin, self.length))
        num_attributes = np.array(self.num_attributes, np.int64)
        unclear = self.unclear | {p for p, size in enumerate(self.sizes) if size is None}
        kept = ~np.isin(photo, [p for p in unclear if p is not None])
        kept[self._twins(begin, length)] = False
        order = np.flatnonzero(kept)[np.argsort(photo[kept], kind="stable")]
        photos, times = np.unique(photo[kept], return_counts=True)
        attribute_first = np.append(0, np.cumsum(num_attributes[order]))
        shift = np.append(0, np.cumsum(num_attributes))[order] - attribute_first[:-1]
        moved = np.arange(attribute_first[-1]) + np.repeat(shift, num_attributes[order])
        self.problems.sort(key=lambda problem: int(problem.row.removeprefix("line ")))
        return Instances(
            photos=[self.names[p] for p in photos.tolist()],
            sides=["train"] * len(photos),
            sizes=np.array([self.sizes[p] for p in photos.tolist()], np.int32).reshape(-1, 2),
            first=np.append(0, np.cumsum(times)),
            category=np.array(self.category, np.int32)[order],
            attribute_first=attribute_first,
            attribute=np.array(self.attribute, np.int32)[moved],
            mask=np.stack([np.zeros(len(order), np.int64), begin[order], length[order]], axis=1),
            row=line[order],
            mask_files=[str(self.file)],
            categories=list(self.words.categories.values()),
            attributes=list(self.words.attributes.values()),
            problems=self.problems,
        )


def _cells(line: bytes) -> list[bytes]:
    """The cells of a row, without their quotes."""
    first, *pieces = line.split(b'"') if b'"' in line else [line]
    cells = first.split(b",")
    for number, piece in enumerate(pieces):               # every other piece is inside quotes
        more = piece.split(b",") if number % 2 else [piece]
        cells[-1] += more[0]
        cells += more[1:]
    cells[-1] = cells[-1].rstrip(b"\r\n")
    return cells


@lru_cache(maxsize=4096)
def _size(height: bytes, width: bytes) -> tuple[int, int]:
    """Height and width in pixels, (0, 0) where they are no whole numbers."""
    sides = [side.removesuffix(b".0") for side in (height, width)]   # pandas may write whole numbers so
    return (int(sides[0]), int(sides[1])) if all(s.isdigit() and len(s) < 10 for s in sides) else (0, 0)


def _quoted(value: bytes) -> str:
    return short(value.decode("utf-8", "replace"))


def _known(ids: Mapping[bytes, str]) -> str:
    numbers = sorted(map(int, ids))
    return f"{len(numbers)} ids from {numbers[0]} to {numbers[-1]} are known" if numbers else "none is known"


__all__ = ["EMPTY", "Form", "open_csv", "source_of", "space_of_csv"]
