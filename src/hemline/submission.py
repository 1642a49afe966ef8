"""Answers as a submission to Kaggle's iMaterialist (Fashion) challenges, in the form that `hemline.kaggle` says.

Shapes: H W photo or mask.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import numpy as np

from hemline.borders import borders_of_mask, text_of_borders
from hemline.errors import HemlineError, LabelError
from hemline.kaggle import COLUMNS, SPACES, Year, image_id, resized, submission_size
from hemline.labels import LabelSpace, load_label_space
from hemline.masks import Mask
from hemline.result import Garment, Result
from hemline.tagger import Failure

NOTHING = 23
"""ClassId of a row without pixels: any will do, and this is what the winner of 2019 wrote (shoe)."""


class Submission:
    """A submission that is written photo by photo; on leaving its `with` block it stands whole at its place.

    Where the block ends in an error, nothing is left, and a file that stood there before is as it was. Where garments
    meet, the surest has the pixels, and parts have theirs before the garments that hold them. A garment that has no
    pixel left at the submission's size is left out, as are those known by the photo's label alone, whose regions are
    guesses. Attributes without an id are left out.

    Args:
        path: The CSV.
        year: The challenge.
        photos: Names of all photos that will be answered.
        space: The label space of the answers.

    Raises:
        LabelError: the label space has other words than the challenge.
        HemlineError: two photos have one ImageId, or the place is a folder.
    """

    def __init__(self, path: Path, year: Year, photos: Sequence[str], space: LabelSpace) -> None:
        self.path, self.year = path, year
        self.part = path.with_name(f".{path.name}.{os.getpid()}.part")
        _check_words(space, year)
        if path.is_dir():
            raise HemlineError(f"{path} is a folder: name a file in it, such as {path / 'submission.csv'}")
        self.ids: dict[str, str] = {}
        first: dict[str, str] = {}
        for photo in photos:
            id = self.ids[photo] = image_id(photo, year)
            if id in first:
                raise HemlineError(
                    f"{first[id]} and {photo} are both {id!r} to Kaggle, which tells rows apart by it: rename one"
                )
            first[id] = photo

    def __enter__(self) -> Submission:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.part.open("w", encoding="utf-8", errors="surrogateescape", newline="")
        except OSError as error:
            raise self._unwritten(error) from error
        self._rows = csv.writer(self._file, lineterminator="\n")
        self._write([COLUMNS[self.year]])
        return self

    def add(self, answer: Result | Failure) -> None:
        """Write the rows of a photo; a failure has the row of a photo without garments.

        Raises:
            HemlineError: they cannot be written.
        """
        id = self.ids[answer.photo]
        found = [] if isinstance(answer, Failure) else _submitted(answer, self.year)
        rows = [(id, text_of_borders(borders_of_mask(mask)), *self._class(garment)) for garment, mask in found]
        nothing = (id, "", NOTHING) if self.year == 2019 else (id, "", NOTHING, "")
        self._write(rows or [nothing])

    def _class(self, garment: Garment) -> tuple[str, ...]:
        attributes = sorted(x.id for x in garment.attributes if isinstance(x.id, int))
        if self.year == 2019:
            return ("_".join(map(str, (garment.category_id, *attributes))),)
        return str(garment.category_id), ",".join(map(str, attributes))

    def _write(self, rows: Sequence[Sequence[object]]) -> None:
        try:
            self._rows.writerows(rows)
        except OSError as error:
            raise self._unwritten(error) from error

    def _unwritten(self, error: OSError) -> HemlineError:
        return HemlineError(f"{self.path}: cannot be written: {error.strerror or error}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._file.close()
            if error is None:
                self.part.replace(self.path)
        except OSError as failed:
            if error is None:                             # else the first error is the one to tell
                raise self._unwritten(failed) from failed
        finally:
            self.part.unlink(missing_ok=True)


def _garments(result: Result) -> list[Garment]:
    """What is submitted of a photo: what lies on garments, then these, each surest first."""
    parts = [part for garment in result.garments for part in garment.parts]
    found = [g for g in result.garments if g.drawn is not None and g.found_by != "label"]
    return [x for pieces in (parts, found) for x in sorted(pieces, key=lambda garment: -garment.score)]


def _submitted(result: Result, year: Year) -> list[tuple[Garment, Mask]]:
    """The garments that have pixels at the submission's size, and those pixels."""
    size = submission_size(*result.size, year)
    taken: dict[int | None, Mask] = {}
    found = []
    for garment in _garments(result):
        assert garment.mask is not None
        mask = resized(garment.mask, size)
        apart = garment.category_id if year == 2019 else None
        others = taken.get(apart, np.zeros(size, np.bool_))
        taken[apart] = others | mask
        if (own := mask & ~others).any():
            found.append((garment, own))
    return found


def _check_words(space: LabelSpace, year: Year) -> None:
    official = load_label_space(SPACES[year])
    categories, attributes = {c.id: c.name for c in official.categories}, {x.id: x.name for x in official.labels}
    foreign = [c.name for c in space.categories if c.shown and categories.get(c.id) != c.name]
    foreign += [x.name for x in space.labels if x.shown and attributes.get(x.id) != x.name]
    if foreign:
        raise LabelError(
            f"Kaggle's ids of {year} have no {foreign[0]!r}, which label space {space.name} answers with: "
            f"give weights that were trained with labels={official.name}"
        )
