"""COCO's results: garments that anybody's network found, in a file, beside the file of the truth. No photo is read.

    a list            of {image_id, category_id, score, segmentation and/or bbox, attribute_ids}
    a whole file      the same rows as `annotations`, beside `images`, as `hemline predict --coco` writes it

https://cocodataset.org/#format-results; `attribute_ids` is Fashionpedia's addition.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import msgspec
from pycocotools import mask as coco  # type: ignore[import-untyped]  # pycocotools ships no types

from hemline.borders import are_rles, rle_of_borders
from hemline.data._coco_json import (
    Annotation,
    Id,
    Image,
    Number,
    Word,
    Words,
    decode,
    decoded,
    mapped,
    read_words,
    without_mark,
)
from hemline.data._coco_rows import NOTHING, size_of
from hemline.errors import DataError, in_short
from hemline.instances import RLE, Instance, ScoredPhoto, Vocabulary, groups_of
from hemline.labels import load_label_space

FEW = 3
"""Problems that are named; the others are counted."""


class Scored(NamedTuple):
    """What a file answers, beside the truth."""

    photos: list[ScoredPhoto]
    vocabulary: Vocabulary
    notes: list[str]
    """What must be said of the figures."""


class _Drawn(Annotation):
    """A garment of the truth."""

    bbox: list[float] | None = None


class _Truth(msgspec.Struct):
    images: list[Image]
    annotations: list[_Drawn]


class _Row(msgspec.Struct, gc=False):
    """A garment that was found."""

    image_id: Id
    category_id: Number
    score: float
    segmentation: msgspec.Raw = msgspec.Raw(b"")
    bbox: list[float] | None = None
    attribute_ids: list[Id] | None = None


class _Image(msgspec.Struct):
    id: Id
    file_name: str | None = None


class _Whole(msgspec.Struct):
    annotations: list[_Row]
    images: list[_Image] = []
    categories: list[Word] = []
    attributes: list[Word] = []


class _Rows(msgspec.Struct):
    annotations: list[msgspec.Raw]


class _Compressed(msgspec.Struct):
    size: tuple[int, int]
    counts: str


_COMPRESSED = msgspec.json.Decoder(_Compressed)


@dataclass
class _File:
    """A file whose rows are read: what its ids mean, and what is wrong with it."""

    path: Path
    rows: str = ""
    """The list that rows stand in."""
    photos: dict[Id, int] = field(default_factory=dict)
    """Positions of the photos by the ids that its rows use."""
    names: Mapping[Id, str] = field(default_factory=dict)
    """What those ids are called, if they are."""
    wrong: list[str] = field(default_factory=list)

    def complain(self, place: int, what: str) -> None:
        """Note what is wrong with a row."""
        self.wrong.append(f"{self.path}, {self.rows}[{place}]: {what}")

    def photo(self, place: int, row: _Drawn | _Row, vocabulary: Vocabulary) -> int | None:
        """The photo of a row whose ids are all known; else None."""
        said = []
        if row.image_id not in self.photos:
            said.append(f"the truth has no photo {self.names.get(row.image_id, row.image_id)!r}")
        if row.category_id not in vocabulary.categories:
            said.append(f"no category has id {row.category_id}")
        said += [f"no attribute has id {id!r}" for id in row.attribute_ids or () if id not in vocabulary.attributes]
        if said:
            self.complain(place, ", ".join(said))
        return None if said else self.photos[row.image_id]

    def refuse(self) -> None:
        """Read nothing where something is wrong.

        Raises:
            DataError: the first few problems, and how many more there are.
        """
        if self.wrong:
            more = f" (and {len(self.wrong) - FEW:,} more)" if len(self.wrong) > FEW else ""
            raise DataError("; ".join(self.wrong[:FEW]) + more)


def read_results(path: Path, truth: Path) -> Scored:
    """What a file of results answers, beside all photos of the truth.

    Photos are known by the names of their files where both files name them, no two alike, and else by their ids.

    Args:
        path: A list of results, or a COCO file whose annotations have a `score`.
        truth: COCO's JSON.

    Raises:
        DataError: a file cannot be read, or its rows are wrong: the first few are named.
    """
    words = read_words("coco", [truth])
    drawn = decoded("coco", truth, mapped("coco", truth), _Truth)
    vocabulary = _vocabulary(words, drawn.annotations)
    photos, by_id = _read_truth(truth, drawn, words, vocabulary)

    found = _decode(path)
    file = _File(path, photos=by_id)
    rows = found.annotations if isinstance(found, _Whole) else found
    if isinstance(found, _Whole):
        names = {image.id: image.file_name for image in found.images if image.file_name}
        by_name = _by_name(names, [photo.name for photo in photos])
        file = _File(path, "annotations", by_id if by_name is None else by_name, {} if by_name is None else names)
        _compare(file, found, words)
    _read_found(file, rows, vocabulary, photos)
    silent = sum(not photo.found for photo in photos)
    notes = [f"Of {silent:,} of the photos {path.name} says nothing: there, nothing was found."] if silent else []
    return Scored(photos, vocabulary, notes)


# -- the truth -----------------------------------------------------------------------------------------------


def _vocabulary(words: Words, drawn: Sequence[_Drawn]) -> Vocabulary:
    """The truth's own words; of Fashionpedia's it is known which categories carry attributes."""
    own = Vocabulary(
        {int(word.id): word.name for word in words.categories},
        {word.id: word.name for word in words.attributes},
        frozenset(annotation.category_id for annotation in drawn if annotation.attribute_ids),
        groups_of({int(word.id): word.supercategory for word in words.categories}),
    )
    published = Vocabulary.of(load_label_space("fashionpedia"))
    known = _alike(own.categories, published.categories) and _alike(own.attributes, published.attributes)
    return published if known else own


def _alike(words: Mapping[Any, str], others: Mapping[Any, str]) -> bool:
    return words.keys() == others.keys() and all(_letters(name) == _letters(others[id]) for id, name in words.items())


def _letters(name: str) -> str:
    return "".join(character for character in name.casefold() if character.isalnum())


def _read_truth(
    path: Path, drawn: _Truth, words: Words, vocabulary: Vocabulary
) -> tuple[list[ScoredPhoto], dict[Id, int]]:
    """The photos with what is drawn, and their positions by id."""
    photos: list[ScoredPhoto] = []
    images = _File(path, "images", wrong=[str(problem) for problem in words.problems])
    for place, image in enumerate(drawn.images):
        size = size_of(image)
        if size is None:
            images.complain(place, f"{image.height} x {image.width} is no size; give `height` and `width` in pixels")
        if image.id in images.photos:
            images.complain(place, f"id {image.id!r} stands twice")
        images.photos[image.id] = place
        photos.append(ScoredPhoto(image.file_name, size or (0, 0), [], []))
    images.refuse()
    file = _File(path, "annotations", images.photos)
    for place, row in enumerate(drawn.annotations):
        photo = file.photo(place, row, vocabulary)
        if photo is not None:
            try:
                mask = _mask(row.segmentation, photos[photo].size)
                attributes = frozenset(row.attribute_ids or ())
                one = Instance(row.category_id, mask, _box(row.bbox, mask), attributes, crowd=bool(row.iscrowd))
                photos[photo].truth.append(one)
            except ValueError as error:
                file.complain(place, str(error))
    file.refuse()
    return photos, images.photos


def _mask(raw: msgspec.Raw, size: tuple[int, int]) -> RLE | None:
    """A mask in any of COCO's forms; None where nothing is drawn.

    Raises:
        ValueError: it is none, or does not fit its photo.
    """
    text = bytes(raw)
    return None if b"".join(text[:16].split()) in NOTHING else dict(rle_of_borders(decode(text, size), size))


def _box(box: Sequence[float] | None, mask: RLE | None) -> tuple[float, float, float, float]:
    """The box that a row gives, or else the one around its mask.

    Raises:
        ValueError: it is no box, or there is neither.
    """
    if not box and mask is None:
        raise ValueError("it has neither a segmentation nor a bbox")
    given: list[float] = list(box) if box else coco.toBbox(mask).tolist()
    if len(given) != 4 or min(given[2:]) < 0:
        raise ValueError(f"bbox {given} is no x, y, width, height")
    return given[0], given[1], given[2], given[3]


# -- the answers ---------------------------------------------------------------------------------------------


def _decode(path: Path) -> list[_Row] | _Whole:
    """The rows of a file of results.

    Raises:
        DataError: it is none; the text names the first few rows that cannot be read.
    """
    text = without_mark(mapped("predictions", path))
    try:
        return msgspec.json.decode(text, type=list[_Row] | _Whole)
    except msgspec.ValidationError as error:
        _misshapen(path, text).refuse()
        raise DataError(f"{path} is neither a list of COCO results nor a COCO file ({in_short(error)})") from error
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        _not_finite(path, text).refuse()
        raise DataError(f"{path} cannot be read as JSON ({in_short(error)})") from error


def _misshapen(path: Path, text: memoryview) -> _File:
    """The rows that lack something, or have something of another kind."""
    file = _File(path)
    try:
        rows = msgspec.json.decode(text, type=list[msgspec.Raw] | _Rows)
    except (msgspec.DecodeError, RecursionError):
        return file
    if isinstance(rows, _Rows):
        file.rows, rows = "annotations", rows.annotations
    for place, row in enumerate(rows):
        try:
            msgspec.json.decode(row, type=_Row)
        except (msgspec.DecodeError, RecursionError) as error:
            file.complain(place, in_short(error))
    return file


def _not_finite(path: Path, text: memoryview) -> _File:
    """The rows with NaN or infinite numbers, which Python writes and JSON does not have."""
    file = _File(path)
    try:
        whole = json.loads(bytes(text)) if re.search(rb"NaN|Infinity", text) else []
    except (ValueError, RecursionError):
        return file
    if isinstance(whole, dict):
        file.rows, whole = "annotations", whole.get("annotations")
    for place, row in enumerate(whole if isinstance(whole, list) else []):
        for key, value in row.items() if isinstance(row, dict) else ():
            numbers = value if isinstance(value, list) else [value]
            if any(isinstance(x, float) and not math.isfinite(x) for x in numbers):
                file.complain(place, f"its {key} is not finite, which JSON cannot say")
    return file


def _by_name(names: Mapping[Id, str], drawn: Sequence[str]) -> dict[Id, int] | None:
    """Positions of the truth's photos by the answers' ids, where the names of files tell; else None."""
    own = {id: _base(name) for id, name in names.items()}
    positions = {_base(name): place for place, name in enumerate(drawn)}
    if not own or len(set(own.values())) < len(own) or len(positions) < len(drawn):
        return None
    return {id: positions[name] for id, name in own.items() if name in positions}


def _base(file_name: str) -> str:
    return PurePosixPath(file_name.replace("\\", "/")).name


def _compare(file: _File, found: _Whole, words: Words) -> None:
    """Complain of ids that mean one thing in the answers and another in the truth."""
    for kind, own, known in (
        ("category", found.categories, words.categories),
        ("attribute", found.attributes, words.attributes),
    ):
        names = {word.id: word.name for word in known}
        for word in own:
            truly = names.get(word.id, word.name)
            if _letters(word.name) != _letters(truly):
                file.wrong.append(f"{file.path}: {kind} {word.id!r} is {word.name!r} here and {truly!r} in the truth")


def _read_found(file: _File, rows: Sequence[_Row], vocabulary: Vocabulary, photos: list[ScoredPhoto]) -> None:
    """Add the rows to the photos' answers.

    Raises:
        DataError: rows are wrong.
    """
    of_photo: dict[int, list[int]] = {}
    for place, row in enumerate(rows):
        photo = file.photo(place, row, vocabulary)
        if photo is not None:
            of_photo.setdefault(photo, []).append(place)
    bare = []
    for photo, places in of_photo.items():
        size = photos[photo].size
        masks = _compressed([rows[place].segmentation for place in places], size)
        for place, known in zip(places, masks, strict=True):
            row = rows[place]
            try:
                mask = known or _mask(row.segmentation, size)
                box, attributes = _box(row.bbox, mask), frozenset(row.attribute_ids or ())
                photos[photo].found.append(Instance(row.category_id, mask, box, attributes, row.score))
            except ValueError as error:
                file.complain(place, str(error))
                continue
            bare += [place] if mask is None else []
    if 0 < len(bare) < len(rows):
        file.complain(min(bare), f"no segmentation, as in {len(bare):,} of {len(rows):,} rows: all need one, or none")
    file.refuse()


def _compressed(raws: Sequence[msgspec.Raw], size: tuple[int, int]) -> list[RLE | None]:
    """The masks of one photo that are compressed RLE of its size; None in the place of the others."""
    counts: list[bytes] = []
    for raw in raws:
        try:
            mask = _COMPRESSED.decode(raw)
            counts.append(mask.counts.encode() if mask.size == size else b"")
        except msgspec.DecodeError:
            counts.append(b"")
    some = [text for text in counts if text]
    sound = iter(are_rles(some, size).tolist())
    return [{"size": list(size), "counts": text} if text and next(sound) else None for text in counts]
