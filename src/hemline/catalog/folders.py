"""Photos in folders of this machine, one after the other: what `photo.search` finds, without holding it at once.

Only the names of one folder, and those of the folders above it, are in memory, and of a glob all that match it.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from pathlib import Path

from hemline.photo import PHOTO_SUFFIXES, is_photo, search

Named = tuple[str, str | None]
"""A photo's path and None, or what was asked for and why there is no photo."""


def photos_of(pattern: str) -> Iterator[Named]:
    """The photos that a file, a folder or a glob names, by the rules of `photo.find_photos`.

    They come sorted by the parts of their paths, and a glob names none twice.
    """
    try:
        if pattern and Path(pattern).is_file():
            yield str(Path(pattern)), None
        elif pattern and Path(pattern).is_dir():
            yield from _or_none(_below(str(Path(pattern))), pattern, "no photo in this folder")
        elif glob.has_magic(pattern):
            yield from _or_none(_matching(pattern), pattern, "no photo matches")
        else:
            yield pattern, f"{pattern or repr(pattern)}: no such file or folder"
    except (OSError, ValueError) as error:  # ValueError: a name that holds a zero byte
        yield pattern, f"{pattern}: cannot be read: {getattr(error, 'strerror', None) or error}"


def _or_none(photos: Iterator[Named], pattern: str, nothing: str) -> Iterator[Named]:
    first = next(photos, None)
    if first is None:
        yield pattern, f"{pattern}: {nothing} (names ending in {', '.join(PHOTO_SUFFIXES)})"
    else:
        yield first
        yield from photos


def _matching(pattern: str) -> Iterator[Named]:
    found = {str(Path(match)) for match in glob.glob(pattern, recursive=True)}  # noqa: PTH207, as in photo.py
    matches = sorted(found, key=lambda path: path.replace(os.sep, "\0"))  # by the parts of the paths
    inner = {path for path in matches if os.path.isdir(path)}  # noqa: PTH112, a Path raises where it may not look
    if inner and "**" in pattern:  # a folder and what is in it both match
        both = search([pattern])
        yield from ((name, problem) for name, problem in both.problems.items())
        yield from ((str(path), None) for path in both.photos)
        return
    for path in matches:
        if path in inner:
            yield from _below(path)
        elif is_photo(Path(path).name):
            yield path, None


def _below(folder: str) -> Iterator[Named]:
    """All photos in a folder and the folders in it, but for linked ones and those that begin with a dot."""
    try:
        with os.scandir(folder) as entries:  # knows which are folders without asking the disk for each
            found = sorted(
                (entry.name, _is_folder(entry))
                for entry in entries
                if not entry.name.startswith(".") and (is_photo(entry.name) or _is_folder(entry))
            )
    except OSError as error:
        yield folder, f"{folder}: this folder cannot be read: {error.strerror}"
        return
    for name, is_folder in found:
        path = os.path.join(folder, name)  # noqa: PTH118, ten times as fast as a Path for each
        if not is_folder:
            yield path, None
        elif not os.path.islink(path):  # noqa: PTH114
            yield from _below(path)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether it is a folder or a link to one; a link that goes round in circles is none."""
    try:
        return entry.is_dir()
    except OSError:
        return False
