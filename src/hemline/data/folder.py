"""Photos and masks in two folders: what people draw themselves, or take from a segmentation set.

    images/a.jpg            any kind of photo; subfolders as you like, `train`, `val` and `test` are sides of the split
    masks/a.png             a map of all classes, whose pixel values or colours the classes file explains
    masks/a/coat.png        or a mask for each garment, white on black; they may overlap
    masks/a_coat.png        the same; a second coat is `coat-2` or `coat_2`
    masks/a.1.coat.mask.png the same, as `hemline predict --masks` writes it
    classes.txt             what maps mean (`hemline.data.mask_images`); a folder of masks alone needs none

A photo without masks is left out. One with masks shows all that is drawn and nothing else: an empty map, or a mask
without a white pixel, says that nothing is there.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
from numpy.typing import NDArray

from hemline._reading import nearest, path_of
from hemline.borders import borders_of_mask, borders_of_rle
from hemline.data.drawn import Drawn, Garment, borders_of_map, counts_of, pack
from hemline.data.instances import ASPECT, Instances, InstanceSet, cached
from hemline.data.knowledge import Knowledge
from hemline.data.mask_images import Classes, of_people, read_classes, read_map, read_mask
from hemline.data.problems import Damaged, Problem
from hemline.errors import DataError, PhotoError
from hemline.labels import LabelSpace
from hemline.photo import PHOTO_SUFFIXES, photo_size
from hemline.predict import slug

CLASSES_FILES = ("classes.txt", "classes.json", "classes.yaml", "classes.yml")
"""Looked for in this order where none is named."""
SIDES = {
    "train": "train", "training": "train", "val": "validation", "valid": "validation", "validation": "validation",
    "test": "test", "testing": "test",
}  # fmt: skip
"""Subfolders that are sides of the split."""
ANYTHING = "(unknown)"
"""The word of ignored pixels that are wide enough to hide a garment."""
EDGE = "(unknown edge)"
"""The word of ignored pixels that are not: many sets ignore the edges between garments."""
EDGE_WIDTH = 0.03
"""The most, as a share of the photo's longer side, that an ignored edge measures across."""
READERS = 4
"""Threads that read masks while the folder is opened for the first time."""


@dataclass
class _Photo:
    """A photo and its masks."""

    file: Path
    name: str
    """Its path as `Instances.photos` has it."""
    side: str
    maps: list[Path] = field(default_factory=list)
    masks: list[tuple[Path, str]] = field(default_factory=list)
    """Files of one garment, and its class."""


class Folder(InstanceSet):
    """The photos that have masks.

    Args:
        path: The folder that holds both.
        space: The label space to speak in. Classes that it does not name need a `teach.folder` block, or `words=FILE`.
        images: Folder of the photos, in `path`.
        masks: Folder of the masks, in `path`.
        classes: The classes file, in `path` or anywhere; one of `CLASSES_FILES` where none is named.
        ignore: The value of pixels in maps of which nothing is known, unless the classes file names it; None has none.
        damaged: What is done with masks that cannot be used.

    Raises:
        DataError: not laid out as above, or masks cannot be used.
        LabelError: the label space does not know a class.
    """

    terms = "not stated"
    row_word = "class"

    def __init__(
        self,
        path: Path,
        space: LabelSpace,
        *,
        images: str = "images",
        masks: str = "masks",
        classes: str | None = None,
        ignore: int | None = 255,
        damaged: Damaged = "refuse",
    ) -> None:
        taught = space.teach.get("folder")
        known = _classes(path, classes, ignore)
        names = {} if known or taught else _by_name(space.mask_names)
        photos, problems = _look(path, images, masks, known, names)
        words = _words(known, photos)
        knowledge = Knowledge(space, "folder", words)     # says which words it does not know
        files = [file for photo in photos for file in (photo.file, *photo.maps, *(file for file, _ in photo.masks))]

        def build(folder: Path) -> Instances:
            return _read(photos, problems, words, known, folder / "masks.rle")

        index = cached("folder", [*files, *([known.file] if known else [])], build, words, known, problems)
        silent = {ANYTHING: {"pixels": "unknown", "others": "unknown"}, EDGE: {"pixels": "unknown"}}
        block = dict(taught or {"words": {word: {"is": [word]} for word in knowledge.words}})
        space = replace(space, teach={**space.teach, "folder": {**block, "words": {**block["words"], **silent}}})
        super().__init__("folder", "folder", path, space, index, borders_of_rle, damaged=damaged)
        _refuse_nothing(path, index, ignore)

    @staticmethod
    def label_space(
        path: Path,
        *,
        images: str = "images",
        masks: str = "masks",
        classes: str | None = None,
        ignore: int | None = 255,
        damaged: Damaged = "refuse",
    ) -> LabelSpace:
        """The classes of the classes file, or of the masks' names, with their ids.

        Hair, skin and other words of people alone are pixels, which are never an answer.

        Raises:
            DataError: not laid out as above.
            LabelError: no class is left.
        """
        known = _classes(path, classes, ignore)
        photos, _ = _look(path, images, masks, known, {})
        names = known.names if known else dict(enumerate(_words(None, photos), start=1))
        return LabelSpace.from_dict(
            {
                "name": path.resolve().name or "folder",
                "version": 1,
                "categories": [
                    {"id": id, "name": name, "supercategory": "clothes"}
                    for id, name in sorted(names.items())
                    if not of_people(name)
                ],
                "pixels": [name for _, name in sorted(names.items()) if of_people(name)],
            }
        )


def _classes(path: Path, classes: str | None, ignore: int | None) -> Classes | None:
    if classes is None:
        found = [path / name for name in CLASSES_FILES if (path / name).is_file()]
        return read_classes(found[0], ignore) if found else None
    file = next((file for file in (path / classes, path_of(classes)) if file.is_file()), None)
    if file is None:
        raise DataError(f"folder: no file {classes!r}, in {path} or here")
    return read_classes(file, ignore)


def _words(known: Classes | None, photos: Sequence[_Photo]) -> list[str]:
    """The set's words: those of the classes file, else those of the masks' names."""
    if known is not None:
        return [name for _, name in sorted(known.names.items())]
    return sorted({word for photo in photos for _, word in photo.masks})


# -- which files there are ---------------------------------------------------------------------------------------


def _look(
    path: Path, images: str, masks: str, known: Classes | None, names: Mapping[str, str]
) -> tuple[list[_Photo], list[Problem]]:
    """Photos that have masks, and files that fit nowhere."""
    for folder, option, what in ((images, "images", "photos"), (masks, "masks", "their masks")):
        if not (path / folder).is_dir():
            raise DataError(f"folder: {path} holds no folder {folder!r} of {what}; name yours as {option}=NAME")
    problems: list[Problem] = []
    photos: dict[str, _Photo] = {}
    for place in _files(path / images):
        key = place.with_suffix("").as_posix()
        photo = _Photo(path / images / place, f"{images}/{place}", SIDES.get(place.parts[0], "train"))
        if key in photos:
            what = f"{photos[key].file.name} has the same name but for its end; rename one, and its masks"
            problems.append(Problem("two photos", str(photo.file), "", what))
        photos.setdefault(key, photo)
    slugs = {(PurePosixPath(key).parent, slug(PurePosixPath(key).name)): key for key in photos}
    for place in _files(path / masks):
        if place.suffix.lower() != ".png":
            what = f"a {place.suffix[1:].upper()} file; masks are PNG files: others change the values of pixels"
            problems.append(Problem("bad mask", str(path / masks / place), "", what))
        elif problem := _assign(path / masks / place, place, photos, slugs, known, names):
            problems.append(problem)
    masked = [photo for photo in photos.values() if photo.maps or photo.masks]
    if not masked:
        first = f" ({problems[0]})" if problems else ""
        raise DataError(f"folder: no photo in {path / images} has a mask in {path / masks}{first}")
    mapped = next((photo.maps[0] for photo in masked if photo.maps), None)
    if mapped is not None and known is None:
        raise DataError(
            f"folder: {mapped} is a map of classes, and no {', '.join(CLASSES_FILES)} in {path} says what its pixel "
            "values mean; write a name a line, or give yours as classes=FILE"
        )
    return masked, problems


def _assign(
    file: Path,
    place: PurePosixPath,
    photos: Mapping[str, _Photo],
    slugs: Mapping[tuple[PurePosixPath, str], str],
    known: Classes | None,
    names: Mapping[str, str],
) -> Problem | None:
    """Give a mask to its photo."""
    stem = place.with_suffix("")
    if stem.as_posix() in photos:
        photos[stem.as_posix()].maps.append(file)
        return None
    key, word = _owner(stem, photos, slugs)
    if key is None:
        what = f"no photo is called {stem.name!r}, or what this name begins with"
        return Problem("missing photo", str(file), "", what)
    name = _named(word, known, names)
    if name is None:
        assert known is not None
        end = nearest(word, list(known.names.values()))
        return Problem("unknown category", str(file), "", f"{word!r} is no class of {known.file.name}{end}")
    photos[key].masks.append((file, name))
    return None


def _owner(
    stem: PurePosixPath, photos: Collection[str], slugs: Mapping[tuple[PurePosixPath, str], str]
) -> tuple[str | None, str]:
    """The photo that a mask of one garment belongs to, and what its name says of the class."""
    if stem.parent.as_posix() in photos:
        return stem.parent.as_posix(), stem.name
    predicted = re.fullmatch(r"(.+)\.\d+\.(.+)\.mask", stem.name)
    if predicted and (key := slugs.get((stem.parent, predicted[1]))):
        return key, predicted[2]
    for mark in reversed(list(re.finditer("_", stem.name))):   # the longest name that is a photo's
        key = (stem.parent / stem.name[: mark.start()]).as_posix() if mark.start() else ""
        if key in photos and stem.name[mark.end() :]:
            return key, stem.name[mark.end() :]
    return None, ""


def _named(word: str, known: Classes | None, names: Mapping[str, str]) -> str | None:
    """The class that a file's name means; a number at its end counts the garments of one class."""
    bare = re.sub(r"(?<=.)[-_. ]\d+$", "", word)
    names = names if known is None else _by_name(known.names.values())
    for candidate in (word, bare):
        if candidate in names:
            return names[candidate]
    return bare if known is None else None


def _by_name(names: Iterable[str]) -> dict[str, str]:
    """Names by themselves and as parts of file names."""
    return {form: name for name in names for form in (slug(name), name)}


def _files(folder: Path) -> Iterator[PurePosixPath]:
    """Pictures below a folder, sorted; what begins with a dot is passed over."""
    found = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        inside = Path(parent).relative_to(folder)
        pictures = [name for name in names if name.lower().endswith(PHOTO_SUFFIXES) and name[0] != "."]
        found += [inside / name for name in pictures if (folder / inside / name).is_file()]
    yield from sorted(PurePosixPath(place.as_posix()) for place in found)


# -- what they hold ----------------------------------------------------------------------------------------------


def _read(
    photos: Sequence[_Photo], problems: Sequence[Problem], words: Sequence[str], known: Classes | None, masks: Path
) -> Instances:
    with ThreadPoolExecutor(READERS) as pool:
        drawn = pool.map(partial(_draw, words=words, known=known), photos)
        return pack(drawn, masks, categories=[*words, ANYTHING, EDGE], problems=problems)


def _draw(photo: _Photo, words: Sequence[str], known: Classes | None) -> Drawn | Problem:
    """What is drawn on a photo."""
    files = [*photo.maps, *(file for file, _ in photo.masks)]
    if photo.maps and len(files) > 1:
        return Problem("bad mask", str(files[1]), "", f"its photo has a map, too: {files[0].name}; keep one of them")
    file, size = files[0], (0, 0)
    garments: list[Garment] = []
    try:
        if known is not None and photo.maps:
            ids = read_map(file, known)
            size = ids.shape[0], ids.shape[1]
            garments = _of_map(ids, known)
        for file, word in photo.masks:
            mask = read_mask(file)
            if size not in ((0, 0), mask.shape):
                raise ValueError(f"{_sides(mask.shape)} pixels, where {files[0].name} has {_sides(size)}")
            size = mask.shape[0], mask.shape[1]
            if mask.any():
                garments.append(Garment(word, counts_of(borders_of_mask(mask), size), words.index(word) + 1))
    except ValueError as error:
        return Problem("bad mask", str(file), "", str(error))
    shown = _size_of(photo.file)
    if shown is not None and abs(size[0] * shown[1] / (size[1] * shown[0]) - 1) > ASPECT:
        what = f"{_sides(size)} pixels; its photo {photo.file.name} has {_sides(shown)}, height x width"
        return Problem("bad mask", str(file), "", f"{what}: draw it at the photo's size, or in its proportions")
    return Drawn(photo.name, photo.side, size, garments, merged=bool(photo.maps))


def _of_map(ids: NDArray[np.uint16], known: Classes) -> list[Garment]:
    borders = borders_of_map(ids)
    garments = [
        Garment(known.names[id], counts_of(borders[id], ids.shape), id) for id in borders if id in known.names
    ]
    for id in sorted(borders.keys() & known.unknown):
        across = max(3, round(EDGE_WIDTH * max(ids.shape)))
        hidden = (ids == id).astype(np.uint8)
        wide = cv2.erode(hidden, np.ones((across, across), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0)
        garments.append(Garment(ANYTHING if wide.any() else EDGE, counts_of(borders[id], ids.shape), id))
    return garments


def _size_of(photo: Path) -> tuple[int, int] | None:
    """(height, width) of a photo as it is shown, from its header; None where that is not to be had."""
    try:
        return photo_size(photo)
    except PhotoError:
        return None                                       # `read_photo` says what is wrong with it


def _sides(size: tuple[int, ...]) -> str:
    return f"{size[0]} x {size[1]}"


def _refuse_nothing(path: Path, index: Instances, ignore: int | None) -> None:
    """Refuse masks that show nothing.

    Raises:
        DataError: not one garment is drawn.
    """
    drawn = {index.categories[c] for c in np.unique(index.category)}
    if drawn - {ANYTHING, EDGE}:
        return
    if drawn:
        raise DataError(
            f"folder: the maps of {path} hold nothing but background and {ignore}, which is `ignore`; if it is a "
            f"class, name it in the classes file, as {{{ignore}: coat}}"
        )
    raise DataError(f"folder: all masks of {path} are empty: no pixel is of a class")
