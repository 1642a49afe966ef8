"""COCO's JSON of drawn instances (https://cocodataset.org/#format-data): its rows, its words, its masks.

A file of half a gigabyte is mapped, not read, and the masks, which are nearly all of it, are left as the slices of the
map that they are, until a photo's are parsed.
"""

from __future__ import annotations

import mmap
from codecs import BOM_UTF8
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NamedTuple, TypeVar

import msgspec

from hemline.borders import Borders, borders_of_counts, borders_of_polygons, borders_of_rle
from hemline.data.problems import Problem
from hemline.errors import DataError, in_short

T = TypeVar("T")
Number = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
Id = Number | str


class Word(msgspec.Struct, frozen=True):
    """A category or an attribute, as it is listed."""

    id: Id
    name: str
    supercategory: str | None = None


class Words(NamedTuple):
    """What the annotations' ids mean, by id."""

    categories: list[Word]
    attributes: list[Word]
    problems: list[Problem]


class _Category(Word, frozen=True):
    id: Number


class _Lists(msgspec.Struct):
    categories: list[_Category]
    attributes: list[Word] = []


class Image(msgspec.Struct, gc=False):
    """A photo."""

    id: Id
    file_name: str
    height: float | None = None
    width: float | None = None


class Annotation(msgspec.Struct, gc=False):
    """A garment."""

    image_id: Id
    category_id: Number
    id: Id = ""
    segmentation: msgspec.Raw = msgspec.Raw(b"")
    """A slice of what was decoded."""
    iscrowd: int | bool | None = 0
    attribute_ids: list[Id] | None = None


class File(msgspec.Struct):
    """What is read of a file beside its lists of words."""

    images: list[Image]
    annotations: list[Annotation]


class _Rows(msgspec.Struct):
    images: list[msgspec.Raw] = []
    annotations: list[msgspec.Raw] = []
    categories: list[msgspec.Raw] = []
    attributes: list[msgspec.Raw] = []


class _RLE(msgspec.Struct):
    counts: str | list[Number]
    size: tuple[Number, Number]


_SEGMENTATION = msgspec.json.Decoder(list[list[float] | _RLE] | _RLE)


def decode(text: bytes, size: tuple[int, int]) -> Borders:
    """Borders of the text of a `segmentation`: polygons, or RLE with compressed or plain counts.

    Raises:
        ValueError: it is neither, or does not fit its photo.
    """
    try:
        drawn = _SEGMENTATION.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(f"segmentation is neither a list of polygons nor RLE ({in_short(error)})") from error
    if isinstance(drawn, _RLE):
        return _of_rle(drawn, size)
    if len(drawn) == 1 and isinstance(drawn[0], _RLE):
        return _of_rle(drawn[0], size)
    polygons = [part for part in drawn if isinstance(part, list)]
    if len(polygons) < len(drawn):
        raise ValueError("segmentation mixes RLE with other parts")
    height, width = size
    for polygon in polygons:
        for values, side, axis in ((polygon[::2], width, "x"), (polygon[1::2], height, "y")):
            low, high = min(values, default=0), max(values, default=0)
            if low < -side or high > 2 * side:           # further out than a careless hand goes
                raise ValueError(f"a polygon goes from {axis} = {low:g} to {high:g} on a photo of {side}")
    return borders_of_polygons(polygons, size)


def _of_rle(rle: _RLE, size: tuple[int, int]) -> Borders:
    if rle.size != size:
        raise ValueError(f"RLE of {rle.size[0]} x {rle.size[1]} pixels on a photo of {size[0]} x {size[1]}")
    if isinstance(rle.counts, str):
        return borders_of_rle(rle.counts.encode(), size)
    return borders_of_counts(rle.counts, size)


def read_words(name: str, files: Sequence[Path]) -> Words:
    """The categories and attributes that files list, together.

    A name that stands twice is told by its supercategory, or else by its id.

    Raises:
        DataError: a file is not COCO's, or two files give one id different names.
    """
    problems: list[Problem] = []
    categories: dict[Id, Word] = {}
    attributes: dict[Id, Word] = {}
    for file in files:
        lists = decoded(name, file, mapped(name, file), _Lists)
        problems += _merge(name, file, "category", lists.categories, categories)
        problems += _merge(name, file, "attribute", lists.attributes, attributes)
    taken: set[str] = set()
    return Words(_distinct(categories, taken), _distinct(attributes, taken), problems)


def _merge(name: str, file: Path, kind: str, listed: Sequence[Word], known: dict[Id, Word]) -> list[Problem]:
    """Add a file's list to what is known; ids that stand twice in it are problems."""
    problems = []
    seen: set[Id] = set()
    for word in listed:
        own = word.name.strip()
        earlier = known.setdefault(word.id, Word(word.id, own, word.supercategory)).name
        if word.id in seen:
            what = f"{kind} id {word.id!r} stands twice, as {earlier!r} and {own!r}; give one of them another"
            problems.append(Problem(f"duplicate {kind} id", str(file), f"{kind} {word.id}", what))
        elif earlier != own:
            raise DataError(
                f"{name}: {kind} {word.id!r} is {own!r} in {file} and {earlier!r} in another file of the set: give "
                "both the same list"
            )
        seen.add(word.id)
    return problems


def _distinct(words: dict[Id, Word], taken: set[str]) -> list[Word]:
    """By id, each under a name of its own."""
    distinct = []
    for _, word in sorted(words.items(), key=lambda entry: (isinstance(entry[0], str), entry[0])):
        names = (word.name, f"{word.name} ({word.supercategory})", f"{word.name} ({word.id})")
        own = next((name for name in names if name not in taken), names[-1])
        taken.add(own)
        distinct.append(Word(word.id, own, word.supercategory))
    return distinct


def mapped(name: str, file: Path) -> memoryview:
    """The bytes of a file, in memory as long as something refers to them.

    Raises:
        DataError: it cannot be read, or is empty.
    """
    try:
        with file.open("rb") as opened:
            return memoryview(mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ))
    except (OSError, ValueError) as error:               # ValueError: it is empty
        raise DataError(f"{name}: {file} cannot be read ({in_short(error)})") from error


def without_mark(whole: memoryview) -> memoryview:
    """The bytes after a byte order mark, if there is one."""
    return whole[len(BOM_UTF8) :] if bytes(whole[: len(BOM_UTF8)]) == BOM_UTF8 else whole


def decoded(name: str, file: Path, whole: memoryview, kind: type[T]) -> T:
    """What the bytes of a file say.

    Raises:
        DataError: they are no JSON, or other than `kind`; the text names the row.
    """
    text = without_mark(whole)
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        where = _culprit(text) if isinstance(error, msgspec.ValidationError) else ""
        raise DataError(f"{name}: {file} is no COCO file of instances: {where or in_short(error)}") from error


def _culprit(text: memoryview) -> str:
    """The first row that does not read, and why; empty where the rows are sound."""
    try:
        rows = msgspec.json.decode(text, type=_Rows)
    except (msgspec.DecodeError, RecursionError):
        return ""
    kinds: dict[str, type] = {"images": Image, "annotations": Annotation, "categories": _Category, "attributes": Word}
    for key, kind in kinds.items():
        for place, row in enumerate(getattr(rows, key)):
            try:
                msgspec.json.decode(row, type=kind)
            except (msgspec.DecodeError, RecursionError) as error:
                return f"{key}[{place}]: {in_short(error)}"
    return ""
