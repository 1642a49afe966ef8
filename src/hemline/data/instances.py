"""Datasets of drawn garments: every garment with a mask of its own, a category, and maybe attributes.

A loader reads its files once into an `Instances`, columns in a few flat arrays, which is kept in the cache folder and
mapped from there: opening again takes no time, and every worker shares the same memory. Masks stay where they are, in
the label file or a copy of their texts, and are read when their photo is.

The cache folder is `$HEMLINE_CACHE`, else `$XDG_CACHE_HOME/hemline`, else `~/.cache/hemline`. An index is known by the
paths, sizes and times of the files it was read from.

Shapes: P photos, N garments, M attributes in all, S segments, K mask classes, L labels.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import mmap
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from hemline.borders import Borders
from hemline.data.knowledge import Knowledge
from hemline.data.packed import overlay
from hemline.data.problems import Damaged, Problem, refuse
from hemline.data.sample import UNKNOWN, WHOLE_PHOTO, Region, Sample
from hemline.errors import DataError
from hemline.labels import LabelSpace
from hemline.photo import read_photo

FORMAT = 1
"""Of the cached columns; an index of another format is read anew."""
ASPECT = 0.02
"""How far, as a share, the sides of a photo may differ from those its labels were drawn at, apart from a common
factor: sizes are rounded."""


@dataclass(frozen=True)
class Instances:
    """The garments of a dataset, photo by photo."""

    photos: Sequence[str]
    """P paths of photos, relative to the dataset's folder."""
    sides: Sequence[str]
    """P published sides of the split, `train`, `validation` or `test`."""
    sizes: NDArray[np.int32]
    """(P, 2) height and width that the labels were drawn at."""
    first: NDArray[np.int64]
    """(P + 1,) the garments of photo p are first[p] to first[p + 1]."""
    category: NDArray[np.int32]
    """(N,) positions in `categories`."""
    attribute_first: NDArray[np.int64]
    """(N + 1,) the attributes of garment n are attribute_first[n] to attribute_first[n + 1]."""
    attribute: NDArray[np.int32]
    """(M,) positions in `attributes`."""
    mask: NDArray[np.int64]
    """(N, 3) file, offset and length in bytes of each mask's text; length 0 where nothing is drawn."""
    row: NDArray[np.int64]
    """(N,) line, or annotation id, of each garment."""
    mask_files: Sequence[str]
    """Paths of the files that hold the masks' texts."""
    categories: Sequence[str]
    """The set's words for categories."""
    attributes: Sequence[str]
    """The set's words for attributes."""
    problems: Sequence[Problem]
    """Rows that were left out, and why."""
    crowd: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, np.bool_))
    """(N,) many garments drawn as one: their pixels are the category, and no label speaks of them; (0,) none is."""
    merged: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, np.bool_))
    """(N,) drawn on a map of classes: all there is of a kind, as one; (0,) none is."""


class InstanceSet:
    """A dataset of drawn garments, once it is read; loaders derive from it and say how their files are read.

    Args:
        name: Its key in `DATASETS`.
        source: The key of its words in a label space's `teach` block.
        path: Its folder.
        space: The label space to speak in.
        index: Its garments.
        decode: The text of a mask and the (height, width) it lies on -> its borders; `ValueError` where it is damaged.
        damaged: What is done with rows that cannot be used.

    Raises:
        DataError: rows cannot be used, or nothing is left.
        LabelError: the label space does not know its words.
    """

    terms = ""

    def __init__(
        self,
        name: str,
        source: str,
        path: Path,
        space: LabelSpace,
        index: Instances,
        decode: Callable[[bytes, tuple[int, int]], Borders],
        *,
        damaged: Damaged = "refuse",
    ) -> None:
        if damaged == "refuse":
            refuse(name, path, index.problems)
        if not len(index.photos):
            raise DataError(f"{name}: {path} has no photo that its labels speak of")
        self.knowledge = Knowledge(space, source, index.categories, index.attributes)
        self.name, self.path, self.index = name, path, index
        self.damaged = damaged
        self.problems: Sequence[Problem] = index.problems
        self.keys = [f"{name}/{photo}" for photo in index.photos]
        self.groups = self.keys
        self.sides = list(index.sides)
        self._decode = decode

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, index: int) -> Sample:
        """The photo and what its garments say.

        Raises:
            DataError: a mask is damaged, or the photo is not the one that was labelled.
            PhotoError: the photo cannot be read.
        """
        photo = read_photo(self.photo_file(index))
        numbers, masks = [], []
        undrawn = []
        for number in self.of_photo(index):
            try:
                borders = self.borders(number)
            except DataError:
                if self.damaged == "refuse":
                    raise
                borders = None
            if borders is None or not len(borders):       # a mask of no pixels does not say where the garment is
                undrawn.append(number)
            else:
                numbers.append(number)
                masks.append(borders)
        return self._sample(photo, index, numbers, masks, undrawn)

    def photo_labels(self, index: int) -> NDArray[np.int8]:
        """(L,) what is known of the whole photo."""
        return self._of_whole(index, self.garment_labels(index))

    def garment_labels(self, index: int) -> list[NDArray[np.int8]]:
        """(L,) what is known of each garment of a photo."""
        return [self.labels(n) for n in self.of_photo(index)]

    def photo_file(self, index: int) -> Path:
        """The file of a photo."""
        return self.path / self.index.photos[index]

    def of_photo(self, index: int) -> range:
        """Numbers of the garments of a photo."""
        return range(int(self.index.first[index]), int(self.index.first[index + 1]))

    def labels(self, number: int) -> NDArray[np.int8]:
        """(L,) what is known of one garment."""
        return self.knowledge.instance(self.index.categories[self.index.category[number]], self.attributes_of(number))

    def attributes_of(self, number: int) -> list[str]:
        """The words for attributes of one garment."""
        begin, end = self.index.attribute_first[number : number + 2]
        return [self.index.attributes[a] for a in self.index.attribute[begin:end]]

    def borders(self, number: int) -> Borders | None:
        """The mask of one garment as drawn, None where nothing is.

        Raises:
            DataError: it is damaged.
        """
        file, offset, length = self.index.mask[number].tolist()
        if length == 0:
            return None
        text = self._texts[file][offset : offset + length]
        if len(text) < length:
            raise DataError(f"{self.name}: {self.index.mask_files[file]} has changed since it was opened; start again")
        try:
            return self._decode(text, self.size_of(self.photo_of(number)))
        except ValueError as error:
            place = ", ".join(self.place_of(number))
            raise DataError(f"{self.name}: {place}: {error}; damaged=skip leaves such masks out") from error

    def place_of(self, number: int) -> tuple[str, str]:
        """Where the mask of a garment stands, for messages: its file, and what of it."""
        file = self.index.mask_files[int(self.index.mask[number, 0])]
        if Path(file).is_relative_to(cache_folder()):     # texts that a loader made of other files
            photo = self.photo_file(self.photo_of(number))
            return str(photo), f"its {self.index.categories[self.index.category[number]]}"
        return file, f"{self.row_word} {self.index.row[number]}"

    def mask_text(self, number: int) -> bytes:
        """The mask of one garment as it stands in its file; empty where nothing is drawn."""
        file, offset, length = self.index.mask[number].tolist()
        return self._texts[file][offset : offset + length] if length else b""

    row_word = "line"
    """What `Instances.row` counts."""
    in_json = False
    """Whether the text of a mask is JSON, which may hold polygons; otherwise it is runs."""

    def photo_of(self, number: int) -> int:
        """Position of the photo that shows garment `number`."""
        return int(np.searchsorted(self.index.first, number, "right")) - 1

    def size_of(self, index: int) -> tuple[int, int]:
        """(height, width) that the labels of a photo were drawn at."""
        height, width = self.index.sizes[index].tolist()
        return height, width

    def check_size(self, index: int, size: tuple[int, int]) -> None:
        """Check that a photo of this (height, width) may be the one that was labelled.

        Raises:
            DataError: its sides have another ratio.
        """
        drawn = self.size_of(index)
        if abs(size[0] / drawn[0] * drawn[1] / size[1] - 1) > ASPECT:
            raise DataError(
                f"{self.name}: {self.photo_file(index)} is {size[0]} x {size[1]}; its labels were drawn on "
                f"{drawn[0]} x {drawn[1]}: it is another photo, or cropped, or turned"
            )

    @cached_property
    def _texts(self) -> list[mmap.mmap]:
        maps = []
        for name in self.index.mask_files:
            try:
                with Path(name).open("rb") as file:
                    maps.append(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
            except (OSError, ValueError) as error:        # ValueError: it is empty now
                raise DataError(f"{self.name}: {name} was there and cannot be read now ({error})") from error
        return maps

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "_texts"}   # a worker maps them itself

    def _sample(
        self, photo: NDArray[np.uint8], index: int, numbers: list[int], masks: list[Borders], undrawn: list[int]
    ) -> Sample:
        size = self.size_of(index)
        try:
            segments, members = overlay(masks, size)
        except ValueError as error:
            raise DataError(f"{self.name}: {self.index.photos[index]}: {error}") from error
        segments = self._fitted(segments, photo, index)
        words = [self.index.categories[self.index.category[n]] for n in numbers]
        row = {word: self.knowledge.words[word].target for word in words}
        bare = self.knowledge.background()
        targets = np.stack([_together([row[words[i]] for i in covering] or [bare]) for covering in members])
        for number in undrawn:                            # it may be anywhere
            word = self.knowledge.words[self.index.categories[self.index.category[number]]]
            may_be = word.target != 0
            targets[:, may_be] = np.where(targets[:, may_be] == 1, 1, UNKNOWN)
        labels = self.garment_labels(index)
        regions = [Region(WHOLE_PHOTO, self._of_whole(index, labels))]
        for i, number in enumerate(numbers):
            if len(self.index.crowd) and self.index.crowd[number]:
                continue
            if not self.knowledge.words[words[i]].categories:
                continue                                  # hair, or pixels of which nothing is known: no garment
            ids = tuple(s for s, covering in enumerate(members) if i in covering)
            either = self.knowledge.words[words[i]].one_of
            own = labels[number - self.of_photo(index).start]
            merged = bool(len(self.index.merged) and self.index.merged[number])
            regions.append(Region(ids, own, () if either is None else (either,), merged=merged))
        return Sample(photo=photo, segments=segments, targets=targets, regions=regions, key=self.keys[index])

    def _of_whole(self, index: int, garments: list[NDArray[np.int8]]) -> NDArray[np.int8]:
        categories = [self.index.categories[self.index.category[n]] for n in self.of_photo(index)]
        return self.knowledge.photo_of(categories, garments)

    def _fitted(self, segments: NDArray[Any], photo: NDArray[np.uint8], index: int) -> NDArray[Any]:
        """The map at the photo's size: publishers label photos at one size and ship them at another."""
        if segments.shape == photo.shape[:2]:
            return segments
        self.check_size(index, (photo.shape[0], photo.shape[1]))
        return cv2.resize(segments, photo.shape[1::-1], interpolation=cv2.INTER_NEAREST_EXACT)


def _together(rows: Sequence[NDArray[np.int8]]) -> NDArray[np.int8]:
    """(K,) what pixels say that several garments cover: what one of them is; a word that says nothing has no say."""
    stack = np.stack([row for row in rows if (row != UNKNOWN).any()] or list(rows))
    together: NDArray[np.int8] = np.where((stack == 1).any(0), 1, stack.min(0)).astype(np.int8)
    return together


# -- the cache -----------------------------------------------------------------------------------------------


def cache_folder() -> Path:
    """Where indices are kept."""
    if own := os.environ.get("HEMLINE_CACHE"):
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").expanduser() / "hemline"


def cached(name: str, files: Sequence[Path], build: Callable[[Path], Instances], *options: object) -> Instances:
    """What `build` reads, from the cache where these very files were read before.

    An index of the same files as they were earlier is thrown away. Where the cache cannot be written, the index is
    built each time.

    Args:
        name: The loader's name.
        files: What the index depends on, folders by their listing's time; all are there.
        build: Reads the files; is given a folder to write texts to, which is kept with the index.
        options: Whatever else the index depends on.
    """
    stats = [file.stat() for file in files]
    what = _hash(name, [str(file.absolute()) for file in files], [str(option) for option in options])
    state = _hash(FORMAT, [(stat.st_size, stat.st_mtime_ns) for stat in stats])
    folder = cache_folder() / "index" / f"{name}-{what}-{state}"
    if (found := _load(folder)) is not None:
        return found
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=folder.parent))
    except OSError:
        return _uncached(build)
    try:
        index = build(temporary)
        _save(index, temporary, folder)
        for earlier in folder.parent.glob(f"{name}-{what}-*"):   # this one, too, where it is damaged
            shutil.rmtree(earlier, ignore_errors=True)
        temporary.rename(folder)
    except OSError:                                       # another process was quicker, or the disk is full
        return _load(folder) or _uncached(build)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return _load(folder) or _uncached(build)


def _uncached(build: Callable[[Path], Instances]) -> Instances:
    """What `build` reads, in memory; its texts are kept until the program ends."""
    folder = Path(tempfile.mkdtemp(prefix="hemline-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return build(folder)


def _hash(*things: object) -> str:
    return hashlib.sha256(json.dumps(things).encode()).hexdigest()[:16]


def _save(index: Instances, temporary: Path, folder: Path) -> None:
    plain: dict[str, Any] = {}
    for column in fields(index):
        value = getattr(index, column.name)
        if isinstance(value, np.ndarray):
            np.save(temporary / f"{column.name}.npy", value)
        else:
            plain[column.name] = list(value)
    inside = f"{temporary}{os.sep}"
    plain["mask_files"] = [
        str(folder / name.removeprefix(inside)) if name.startswith(inside) else name for name in index.mask_files
    ]
    (temporary / "index.json").write_text(json.dumps(plain), encoding="utf-8")


def _load(folder: Path) -> Instances | None:
    try:
        plain = json.loads((folder / "index.json").read_text(encoding="utf-8"))
        plain["problems"] = [Problem(*entry) for entry in plain["problems"]]
        arrays = {
            column.name: np.load(folder / f"{column.name}.npy", mmap_mode="r")
            for column in fields(Instances)
            if column.name not in plain
        }
        index = Instances(**plain, **arrays)
        return index if all(Path(name).is_file() for name in index.mask_files) else None
    except (OSError, ValueError, TypeError, KeyError, EOFError):
        return None


__all__ = ["Damaged", "InstanceSet", "Instances", "Problem", "cache_folder", "cached"]
