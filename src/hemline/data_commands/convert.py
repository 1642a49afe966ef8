"""A dataset written in another form, and what that form cannot say, counted.

`hemline.data_commands.forms` says what is written. Beside it always stands `labels.yaml`, the label space: with
`labels=OUT/labels.yaml` the written set has its ids, groups and pixels again.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from hemline.data import VALIDATION_SHARE, Dataset, split_indices
from hemline.data_commands.drawn_photos import DrawnPhotos
from hemline.data_commands.forms import WRITERS, Form, Work
from hemline.errors import DataError
from hemline.labels import LabelSpace

SHORT = {"train": "train", "validation": "val", "test": "test"}
"""How files and folders call the sides of a split."""


@dataclass(frozen=True)
class Converted:
    """What was written, and what was not."""

    photos: dict[str, int]
    """Photos by side: `train`, `val`, `test`."""
    garments: int
    lost: dict[str, int]
    """What the form cannot say, or the set does not know for sure: how many of what."""
    notes: dict[str, int]
    """What is as it was and may surprise: how many of what."""
    skipped: int
    """Rows of the set that could not be used and were left out as it was opened."""

    def text(self, out: Path) -> str:
        """What there is to say of it, a line each."""
        sides = ", ".join(f"{count:,} {side}" for side, count in self.photos.items())
        written = f"{out}: {sum(self.photos.values()):,} photos ({sides}), {self.garments:,} garments"
        told = [f"  {what}: {count:,}" for what, count in self.notes.items()]
        if self.skipped:
            told.append(f"  rows left out, as they cannot be used (`hemline data check` lists them): {self.skipped:,}")
        lost = [f"  {what}: {count:,}" for what, count in self.lost.items()]
        return "\n".join([written, *["note:"][: len(told)], *told, "lost:" if lost else "nothing is lost", *lost])


def convert(
    dataset: Dataset,
    space: LabelSpace,
    out: Path,
    to: Form,
    *,
    name: str = "data",
    share: float = VALIDATION_SHARE,
    strict: bool = False,
    progress: Callable[[str, int, int], None] = lambda name, done, total: None,
) -> Converted:
    """Write a dataset in another form.

    Args:
        dataset: Any dataset of drawn garments.
        space: The label space it speaks in.
        out: A new or empty folder; whole when this returns, untouched when it raises.
        to: The form.
        name: How the output calls the set.
        share: Share of the photos that validate, of a set that does not publish its split.
        strict: Write nothing where something would be lost.
        progress: Called with the name, the photos done, and all photos.

    Raises:
        DataError: `out` holds something or cannot be written, the set has nothing drawn or is damaged, or `strict`.
        PhotoError: a photo cannot be read.
    """
    published = bool(getattr(dataset, "sides", None))
    sides = [""] * len(dataset)
    for side, short in SHORT.items():
        for index in split_indices(dataset, side, share):
            sides[index] = short
    with _new_folder(out) as folder:
        about = {"name": name, "terms": dataset.terms}
        work = Work(folder, space, about, _names(dataset), sides, published)
        total = len(dataset)
        photos = DrawnPhotos(dataset, space, range(total), work.lost, lambda done: progress(name, done, total))
        WRITERS[to](work, photos)
        lost = {what: count for what, count in work.lost.items() if count}
        said = "; ".join(f"{what}: {count:,}" for what, count in lost.items())
        if not work.photos:
            raise DataError(f"{name}: nothing can be written as {to}: {said or 'it holds no photos'}")
        if strict and lost:
            raise DataError(f"{out}: not written, as something would be lost: {said}")
        text = yaml.safe_dump(space.to_dict(), sort_keys=False, allow_unicode=True, width=120)
        (folder / "labels.yaml").write_text(text, encoding="utf-8")
    notes = {what: count for what, count in work.notes.items() if count}
    return Converted(dict(work.photos), work.garments, lost, notes, len(getattr(dataset, "problems", ())))


def _names(dataset: Dataset) -> list[str]:
    """Of each photo, a name of its own that a file may have: its file's; its folders before it where others share it.

    Two names never differ in case or suffix alone: masks and image ids have none.
    """
    file_of: Callable[[int], Path] | None = getattr(dataset, "photo_file", None)
    suffixes = [file_of(i).suffix if file_of else ".png" for i in range(len(dataset))]
    paths = [key.partition("/")[2] or key for key in dataset.keys]
    paths = [path.removesuffix(suffix) for path, suffix in zip(paths, suffixes, strict=True)]
    times = Counter(path.rpartition("/")[2].casefold() for path in paths)
    taken: set[str] = set()
    names = []
    for path, suffix in zip(paths, suffixes, strict=True):
        last = path.rpartition("/")[2]
        stem = last if times[last.casefold()] == 1 else path.replace("/", "_")
        while stem.casefold() in taken:
            stem += "_"
        taken.add(stem.casefold())
        names.append(stem + suffix)
    return names


@contextmanager
def _new_folder(out: Path) -> Iterator[Path]:
    """A temporary folder beside `out` that takes its place when it is whole."""
    out = out.resolve()                                   # `.` has no name
    temporary = out.parent / f".{out.name}.{os.getpid()}"
    try:
        if out.exists() and not (out.is_dir() and not any(out.iterdir())):
            raise DataError(f"{out}: holds something already; name a folder that is new or empty")
        out.parent.mkdir(parents=True, exist_ok=True)
        temporary.mkdir()
        yield temporary
        if out.exists():
            out.rmdir()
        temporary.rename(out)
    except OSError as error:
        where = "" if error.filename is None else f" ({error.filename})"
        raise DataError(f"{out}: cannot be written: {error.strerror or error}{where}; nothing of it is kept") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
