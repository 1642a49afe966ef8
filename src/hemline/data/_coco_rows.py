"""COCO's JSON as flat columns: the garments of all photos, with the places of their masks.

A row that cannot be used is a `Problem`. Where rows are skipped, a garment is never taken for absent: a photo with an
annotation of which even the category is unknown is left out.

Shapes: N garments, P photos.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from hemline.data._coco_json import Annotation, File, Id, Image, Words, decoded, mapped
from hemline.data.instances import Instances
from hemline.data.problems import Problem
from hemline.errors import DataError

MOST_PIXELS = 2**31
"""Of a photo, as its JSON gives its size."""
NOTHING = {b"", b"null", b"[]", b"[[]]", b"{}"}
"""Texts of a `segmentation` that draws nothing, without white space."""
MISSING = "missing photo"


class Source(NamedTuple):
    """One JSON of a dataset."""

    file: Path
    side: str
    """`train`, `validation` or `test`."""
    folders: tuple[Path, ...]
    """Where its photos are looked for, in this order."""


def read_instances(name: str, root: Path, sources: Sequence[Source], words: Words) -> Instances:
    """The annotations of all files, photo by photo; photos without any are left out.

    Args:
        name: The loader's name.
        root: The folder that photos are named from.
        sources: Its files.
        words: What ids mean.

    Raises:
        DataError: a file is not COCO's, or none of its photos is there.
    """
    reader = _Reader(name, root, words)
    for number, source in enumerate(sources):
        reader.read(number, source)
    return reader.instances([str(source.file.absolute()) for source in sources])


class _Photo(NamedTuple):
    path: str
    size: tuple[int, int]


class _Reader:
    """Collects the columns of one file after another."""

    def __init__(self, name: str, root: Path, words: Words) -> None:
        self.name, self.root, self.words = name, root, words
        self.categories: dict[Id, int] = {word.id: i for i, word in enumerate(words.categories)}
        self.attributes: dict[Id, int] = {word.id: i for i, word in enumerate(words.attributes)}
        self.problems = list(words.problems)
        self.photos: list[str] = []
        self.sides: list[str] = []
        self.sizes: list[tuple[int, int]] = []
        self.garments: list[int] = []
        self.rows = array("q")                           # category, file, offset, length, id, crowd of each garment
        self.attribute = array("q")
        self.said = array("q")
        self.seen: dict[str, str] = {}
        self.unclear: set[Id] = set()                    # images with a garment of which not even the category is known

    def read(self, number: int, source: Source) -> None:
        whole = mapped(self.name, source.file)
        file = decoded(self.name, source.file, whole, File)
        photos, start = self._photos(source, file), _address(whole)
        garments: dict[Id, list[tuple[int, Annotation]]] = {}
        self.unclear.clear()
        for place, annotation in self._sound(source, file, photos):
            garments.setdefault(annotation.image_id, []).append((place, annotation))
        for image, (photo, size) in photos.items():
            if image in garments and image not in self.unclear:
                self.photos.append(photo)
                self.sides.append(source.side)
                self.sizes.append(size)
                self.garments.append(len(garments[image]))
                for place, annotation in garments[image]:
                    self._add(number, start, place, annotation)

    def _add(self, number: int, start: int, place: int, annotation: Annotation) -> None:
        raw = annotation.segmentation
        length = len(memoryview(raw))
        if length < 16 and b"".join(bytes(raw).split()) in NOTHING:
            length = 0
        offset = _address(raw) - start if length else 0
        said = [self.attributes[id] for id in annotation.attribute_ids or () if id in self.attributes]
        crowd = bool(annotation.iscrowd) and not said    # where somebody gave it attributes, labels speak of it
        row = annotation.id if isinstance(annotation.id, int) else place
        self.rows.extend((self.categories[annotation.category_id], number, offset, length, row, crowd))
        self.attribute.extend(said)
        self.said.append(len(said))

    def _photos(self, source: Source, file: File) -> dict[Id, _Photo]:
        """The photos that annotations speak of, by id."""
        listings = {folder: {path.name for path in folder.iterdir()} for folder in source.folders}
        spoken_of = {annotation.image_id for annotation in file.annotations}
        photos: dict[Id, _Photo] = {}
        known: set[Id] = set()
        missing: list[Problem] = []
        for image in file.images:
            found = self._photo(source, image, listings) if image.id in spoken_of and image.id not in known else None
            if image.id in known:
                self._complain(source, f"image {image.id}", "duplicate image id", f"id {image.id!r} stands twice")
            elif isinstance(found, _Photo):
                photos[image.id] = found
                self.seen[found.path] = f"image {image.id} of {source.file.name}"
            elif found is not None:
                kind, what = found
                self._complain(source, f"image {image.id}", kind, what)
                missing += self.problems[-1:] if kind == MISSING else []
            known.add(image.id)
        if missing and len(missing) == len(spoken_of & known):
            raise DataError(
                f"{self.name}: of {source.file} not one photo is there: {missing[0].what}, for one; "
                "put them there, or open the set as coco, whose option images=FOLDER says where they are"
            )
        for place, annotation in enumerate(file.annotations):
            if annotation.image_id not in known:
                what = f"no image has id {annotation.image_id!r}"
                self._complain(source, _row(annotation, place), "unknown image", what)
        return photos

    def _photo(self, source: Source, image: Image, listings: dict[Path, set[str]]) -> _Photo | tuple[str, str]:
        """A photo, or the kind of problem with it and what it is."""
        path, size = _find(image.file_name, listings), size_of(image)
        if path is None:
            return MISSING, f"no {image.file_name!r} in {', '.join(str(folder) for folder in listings)}"
        if size is None:
            given = f"{image.height} x {image.width}"
            return "size missing", f"{given} is no size of a photo; give `height` and `width` in pixels"
        photo = (path.relative_to(self.root) if path.is_relative_to(self.root) else path).as_posix()
        if photo in self.seen:
            return "duplicate photo", f"{photo!r} is also {self.seen[photo]}; put its annotations under one id"
        return _Photo(photo, size)

    def _sound(self, source: Source, file: File, photos: dict[Id, _Photo]) -> Iterator[tuple[int, Annotation]]:
        """The annotations that can be used, with their places in the list."""
        wrong: list[tuple[str, str, Id]] = []
        seen: set[Id] = set()
        for place, annotation in enumerate(file.annotations):
            if annotation.id != "" and annotation.id in seen:
                self._complain(source, _row(annotation, place), "duplicate annotation id", "its id stands twice")
                continue
            seen.add(annotation.id)
            row = _row(annotation, place)
            wrong += [(row, "attribute", id) for id in annotation.attribute_ids or () if id not in self.attributes]
            if annotation.category_id not in self.categories:
                wrong.append((row, "category", annotation.category_id))
                self.unclear.add(annotation.image_id)
            elif annotation.image_id in photos:
                yield place, annotation
        hints = {
            "category": _hint({x.category_id for x in file.annotations}, set(self.categories), "category"),
            "attribute": _hint(
                {id for x in file.annotations for id in x.attribute_ids or ()}, set(self.attributes), "attribute"
            ),
        }
        for row, kind, id in wrong:
            self._complain(source, row, f"unknown {kind}", f"no {kind} has id {id!r}{hints[kind]}")

    def _complain(self, source: Source, row: str, kind: str, what: str) -> None:
        self.problems.append(Problem(kind, str(source.file), row, what))

    def instances(self, files: list[str]) -> Instances:
        """The columns of all that was read."""
        columns = np.array(self.rows).reshape(-1, 6)
        return Instances(
            photos=self.photos,
            sides=self.sides,
            sizes=np.array(self.sizes, np.int32).reshape(-1, 2),
            first=np.concatenate([[0], np.cumsum(self.garments)]).astype(np.int64),
            category=columns[:, 0].astype(np.int32),
            attribute_first=np.concatenate([[0], np.cumsum(self.said)]).astype(np.int64),
            attribute=np.array(self.attribute).astype(np.int32),
            mask=columns[:, 1:4].copy(),
            row=columns[:, 4].copy(),
            mask_files=files,
            categories=[word.name for word in self.words.categories],
            attributes=[word.name for word in self.words.attributes],
            problems=self.problems,
            crowd=columns[:, 5].astype(bool),
        )


def folders_within(root: Path) -> list[Path]:
    """A folder and its folders down to the second level: where photos of a set may come and go."""
    below = sorted(path for pattern in ("*/", "*/*/") for path in root.glob(pattern))
    return [root, *(path for path in below if not path.name.startswith("."))]


def _row(annotation: Annotation, place: int) -> str:
    return f"annotations[{place}]" if annotation.id == "" else f"annotation {annotation.id}"


def _address(buffer: msgspec.Raw | memoryview) -> int:
    """Where bytes lie in memory."""
    address: int = np.frombuffer(buffer, np.uint8).__array_interface__["data"][0]
    return address


def _find(file_name: str, listings: dict[Path, set[str]]) -> Path | None:
    """The first file of that name, below a folder or, where another folder stood around it, in one."""
    tidy = file_name.replace("\\", "/")
    base = tidy.rpartition("/")[2]
    if base != tidy:
        for folder in listings:
            if (folder / tidy).is_file():
                return folder / tidy
    return next((folder / base for folder, names in listings.items() if base in names), None)


def size_of(image: Image) -> tuple[int, int] | None:
    """(H, W) that a file gives a photo; None where it is no size."""
    height, width = image.height or 0.0, image.width or 0.0
    if not (height.is_integer() and width.is_integer() and min(height, width) >= 1 and height * width <= MOST_PIXELS):
        return None
    return int(height), int(width)


def _hint(used: set[Id], known: set[Id], kind: str) -> str:
    """What to say where all ids are one beside those that are listed."""
    numbers = [id for id in used if isinstance(id, int)]
    for step, words in ((1, "one above"), (-1, "one below")):
        if {id - step for id in numbers} <= known:
            return f": every id used is {words} a listed one; let the annotations count as the {kind} list does"
    return ""
