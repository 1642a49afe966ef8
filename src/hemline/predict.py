"""`hemline predict`: which photos are asked for, and what is written of each answer.

    patterns --gather--> Asked --answers--> Result or Failure --Writer, console--> files and the terminal

One bad photo never stops the others: its failure takes the place of its result.
"""

from __future__ import annotations

import glob
import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO

from hemline import console
from hemline.coco_answers import to_coco
from hemline.errors import HemlineError, PhotoError
from hemline.kaggle import Year
from hemline.masks import MaskFormat
from hemline.photo import PHOTO_SUFFIXES, Photo, search
from hemline.result import Result
from hemline.submission import Submission
from hemline.tagger import Failure, Tagger

STDIN = "stdin"
"""What the photo on stdin is called."""
DEMO_CREDIT = (
    "The demo photo: Rear Admiral Grace Hopper, U.S. Navy photo by James S. Davis, public domain; "
    "ships with matplotlib as grace_hopper.jpg."
)


@dataclass(frozen=True)
class Asked:
    """One photo that was asked for."""

    name: str
    photo: Photo | Failure
    """Where it is, or the bytes of its file; a `Failure` where nothing of that name was found."""


@dataclass(frozen=True)
class Files:
    """What is written beside the terminal; None writes nothing."""

    draw: Path | None = None
    """Folder for the photos with their garments outlined."""
    masks: Path | None = None
    """Folder for one black and white PNG a garment."""
    cutouts: Path | None = None
    """Folder for one RGBA PNG a garment."""
    coco: Path | None = None
    """A COCO file of all garments."""
    submission: Path | None = None
    """A CSV for one of Kaggle's challenges."""
    year: Year = 2020
    """Which challenge."""


def demo_photo() -> Path:
    """The photo of a dressed person that ships with matplotlib, found without importing it.

    Raises:
        PhotoError: matplotlib is not installed.
    """
    spec = find_spec("matplotlib")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder, "mpl-data", "sample_data", "grace_hopper.jpg")
        if path.is_file():
            return path
    raise PhotoError("the demo photo ships with matplotlib, which is not installed: pip install matplotlib")


def gather(patterns: Sequence[str]) -> list[Asked]:
    """The photos that files, folders, globs and `-` (stdin) name, each once; what is missing is a `Failure`."""
    asked: dict[str, Asked] = {}
    for pattern in patterns:
        if pattern == "-":
            asked.setdefault(pattern, Asked(STDIN, _read_stdin()))
            continue
        found = search([pattern])
        asked.update({str(path): Asked(str(path), path) for path in found.photos})
        asked.update({name: Asked(name, Failure(name, message)) for name, message in found.problems.items()})
    return list(asked.values())


def _read_stdin() -> bytes | Failure:
    if sys.stdin is None:
        return Failure(STDIN, "stdin is closed: pipe a photo into it, or name a file")
    try:
        return sys.stdin.buffer.read()
    except OSError as error:
        return Failure(STDIN, f"stdin cannot be read: {error.strerror}")


def answers(tagger: Tagger, asked: Sequence[Asked], batch_size: int) -> Iterator[Result | Failure]:
    """One answer for each photo that was asked for, in their order, under the name that it was asked by."""
    photos = (item.photo for item in asked if not isinstance(item.photo, Failure))
    stream = tagger.stream(photos, batch_size)
    for item in asked:
        answer = item.photo if isinstance(item.photo, Failure) else next(stream)
        yield replace(answer, photo=item.name)


def predict(
    tagger: Tagger,
    asked: Sequence[Asked],
    *,
    form: str = "table",
    mask_format: MaskFormat = "rle",
    files: Files = Files(),
    batch_size: int = 16,
) -> int:
    """Answer every photo, print the answers on stdout and write the files.

    Args:
        tagger: Reads the photos.
        asked: From `gather`.
        form: `table`, `json` (one list) or `jsonl` (one object a line).
        mask_format: How masks stand in JSON.
        files: What to write beside.
        batch_size: Photos read at a time.

    Returns:
        The exit code: 0 all photos answered, 1 some, 2 none.

    Raises:
        HemlineError: a file cannot be written.
    """
    writer = Writer(files, [item.name for item in asked])
    submission = _submission(tagger, asked, files)
    listing = None if form == "table" else console.JsonList(lines=form == "jsonl")
    failures = 0
    try:
        with submission as rows, console.Bar("photos", len(asked)) as bar:
            for number, answer in enumerate(answers(tagger, asked, batch_size)):
                if isinstance(answer, Result):
                    try:
                        writer.write(number, answer)
                    except PhotoError as error:  # gone since it was answered
                        answer = Failure(answer.photo, str(error))
                failures += isinstance(answer, Failure)
                if rows is not None and answer.photo in rows.ids:
                    rows.add(answer)
                with bar.aside():
                    _print(answer, listing, mask_format)
        writer.close()
    finally:  # whatever stops it, stdout holds valid JSON
        if listing is not None:
            listing.end()
    return 0 if not failures else 1 if failures < len(asked) else 2


def _submission(tagger: Tagger, asked: Sequence[Asked], files: Files) -> Submission | nullcontext[None]:
    """The submission that is asked for: of what is a photo, and of what is named like one, though it is not there."""
    if files.submission is None:
        return nullcontext()
    photos = [item.name for item in asked if not isinstance(item.photo, Failure) or _is_photo(item.name)]
    return Submission(files.submission, files.year, photos, tagger.metadata.labels)


def _is_photo(name: str) -> bool:
    return name.lower().endswith(PHOTO_SUFFIXES) and not glob.has_magic(name)


def _print(answer: Result | Failure, listing: console.JsonList | None, mask_format: MaskFormat) -> None:
    if isinstance(answer, Failure):
        console.failure(answer)
        if listing is not None:
            listing.add(answer.to_dict())
    elif listing is not None:
        listing.add(answer.to_dict(mask_format))
    else:
        console.show(answer)


class Writer:
    """Writes the files of each answer, each under a name of its own, whole or not at all.

    Args:
        files: What to write.
        names: The photos' names; equal stems from different folders are told apart by a number.

    Raises:
        HemlineError: a folder cannot be made, or a folder stands where a file is to be.
    """

    def __init__(self, files: Files, names: Sequence[str]) -> None:
        self.files = files
        self.stems = unique_stems(names)
        if files.coco is not None and files.coco.is_dir():
            raise HemlineError(f"{files.coco} is a folder: name a file in it, such as {files.coco / 'coco.json'}")
        self._coco = to_coco([])  # packed masks only: memory does not grow by a photo each
        for folder in (files.draw, files.masks, files.cutouts, files.coco and files.coco.parent):
            if folder is not None:
                try:
                    folder.mkdir(parents=True, exist_ok=True)
                except OSError as error:
                    raise HemlineError(f"{folder}: cannot be made a folder: {error.strerror}") from error

    def write(self, number: int, result: Result) -> None:
        """Write what is wanted of photo `number`.

        Raises:
            HemlineError: a file cannot be written.
        """
        stem = self.stems[number]
        if self.files.draw is not None:
            picture = result.draw().convert("RGB")
            jpeg = partial(picture.save, format="JPEG", quality=92, subsampling=0)
            _save(self.files.draw / f"{stem}.drawn.jpg", jpeg)
        for i, garment in enumerate(result.garments_and_parts, start=1):
            if garment.drawn is None:
                continue
            name = f"{stem}.{i}.{slug(garment.category)}"
            if self.files.masks is not None:
                _save(self.files.masks / f"{name}.mask.png", partial(garment.mask_image().save, format="PNG"))
            if self.files.cutouts is not None:
                cutout = garment.cutout(result.pixels)
                _save(self.files.cutouts / f"{name}.cutout.png", partial(cutout.save, format="PNG"))
        if self.files.coco is not None:
            self._add_to_coco(result)

    def close(self) -> None:
        """Write the COCO file.

        Raises:
            HemlineError: it cannot be written.
        """
        if self.files.coco is not None:
            text = json.dumps(self._coco, allow_nan=False)
            _save(self.files.coco, lambda file: file.write(text.encode()))

    def _add_to_coco(self, result: Result) -> None:
        one = to_coco([result])
        images, annotations = self._coco["images"], self._coco["annotations"]
        images += [image | {"id": len(images) + 1} for image in one["images"]]
        before = len(annotations)
        for annotation in one["annotations"]:
            ids = {key: before + annotation[key] for key in ("id", "part_of") if key in annotation}
            annotations.append(annotation | ids | {"image_id": len(images)})
        self._coco = one | {"images": images, "annotations": annotations}


def unique_stems(names: Sequence[str]) -> list[str]:
    """A stem for each photo's files, no two alike even where capitals do not count: `a/x.jpg`, `b/x.jpg` -> x, x-2."""
    stems = [slug(Path(name).stem) for name in names]
    own = {stem.casefold() for stem in stems}
    given: set[str] = set()
    result = []
    for stem in stems:
        choice, number = stem, 1
        while choice.casefold() in given or (number > 1 and choice.casefold() in own):
            number += 1
            choice = f"{stem}-{number}"
        given.add(choice.casefold())
        result.append(choice)
    return result


def slug(text: str) -> str:
    """A text as part of a file name on any system, with room for what is added to it."""
    clean = re.sub(r'[\x00-\x20<>:"/\\|?*,\x7f\ud800-\udfff]+', "_", text)
    return clean.encode()[:150].decode(errors="ignore").strip("_.") or "photo"


def _save(path: Path, write: Callable[[BinaryIO], Any]) -> None:
    """Write a file beside its place, then move it there, so that no half file ever has its name."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            write(file)
        part.replace(path)
    except OSError as error:
        raise HemlineError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        part.unlink(missing_ok=True)
