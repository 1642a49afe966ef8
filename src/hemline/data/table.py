"""A table of your own photos, as a shop's product system exports it: one row a photo, its words in columns.

    image,category,colour,material,product
    1001_front.jpg,dress,red|white,cotton,1001
    1001_back.jpg,dress,red|white,cotton,1001

CSV or TSV in UTF-8, or Parquet (`pip install "hemline[parquet]"`). A value in a cell is a yes, the other values of an
answered cell's column are a no, and an empty cell is unknown: nobody was asked. The category's cell says what the photo
is of: that garment, and no other. `group=product` keeps the photos of a product on one side of the split; otherwise
that column is one of labels, too. Nothing is drawn, so a table alone teaches no masks.

Shapes: N rows, P photos, L labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hemline._reading import path_of
from hemline.data.answers import ALIKE, GARMENT, Answers, read_answers, values_alike
from hemline.data.cells import Cells, Column, read_cells
from hemline.data.knowledge import Knowledge
from hemline.data.problems import Damaged, Problem, are_there, refuse
from hemline.data.sample import Sample
from hemline.errors import DataError
from hemline.labels import LabelSpace
from hemline.photo import read_photo


class Table:
    """The photos that are there and of which a column says something.

    Which photo a row shows stands in the column `image`: a path, relative to `images`. A photo may stand in several
    rows, as one of each size does; where two of them disagree, it is of neither. Columns that tell of people (`gender`,
    `age`) are never read.

    Args:
        path: The table.
        space: The label space to speak in: the table's own (`label_space`), or one whose words it uses.
        image: The column of photos.
        category: The column that names the garment. Without a column `category`, all photos show a `garment`.
        columns: The columns of labels. Otherwise every column with at most `MOST_VALUES` values that come back; a
            price or a stock is read, too, if it has so few, so name the columns that can be seen in a photo.
        separator: Parts the values of a cell. A column with a cell of several values may have any number of them
            (`choice: many`), the others have one (`choice: one`).
        group: The column whose rows stay on one side of a split, such as a product's number; otherwise each photo may
            stand on any.
        images: The folder of the photos, if it is not the table's.
        damaged: What is done with rows that cannot be used.

    Raises:
        DataError: the file is no such table, a column is missing, rows cannot be used, or nothing is left.
        LabelError: the label space does not know its words.
    """

    terms = "those of the table's owner"

    def __init__(
        self,
        path: Path,
        space: LabelSpace,
        *,
        image: str = "image",
        category: str | None = "category",
        columns: list[str] | None = None,
        separator: str = "|",
        group: str | None = None,
        images: str | None = None,
        damaged: Damaged = "refuse",
    ) -> None:
        cells = read_cells(path)
        answers = read_answers(cells, image, category, columns, separator, group)
        self.folder = path.parent if images is None else path_of(images)
        names = _photos(cells, image)
        rows, problems = _usable(cells, names, self.folder)
        merged, disagreeing = _merged(cells, names, rows, answers)
        self.problems = [*problems, *disagreeing, *values_alike(path, answers)]
        if damaged == "refuse":
            refuse("table", path, [problem for problem in self.problems if problem.kind != ALIKE])
        self.knowledge = Knowledge(space, "table", [name for answer in answers for name in answer.names])
        self._denied = [self._attributes_of(answer) for answer in answers]
        first = self._telling(merged, answers)
        if not len(first):
            raise DataError(f"table: {path} says nothing of any photo in {self.folder}")
        own = [codes[first].astype(np.int32) for codes in merged[1:]]
        self.answers = [replace(answer, codes=codes) for answer, codes in zip(answers, own, strict=True)]
        kept = merged[0][first]
        self.names = [names.cells[code] for code in names.codes[kept].tolist()]
        self.keys = [f"table/{str(name).replace('..', '__')}" for name in self.names]
        self.groups = self.keys if group is None else _groups(cells.columns[group], kept, self.keys)

    @staticmethod
    def label_space(
        path: Path,
        *,
        image: str = "image",
        category: str | None = "category",
        columns: list[str] | None = None,
        separator: str = "|",
        group: str | None = None,
        images: str | None = None,
        damaged: Damaged = "refuse",
    ) -> LabelSpace:
        """The table's own words: its categories, and a group of attributes for each other column.

        A value that stands in two columns, or says nothing without its column (`true`, `42`), is named `column: value`.

        Raises:
            DataError: the file is no such table, a column is missing, or there are no labels.
        """
        kind, *groups = read_answers(read_cells(path), image, category, columns, separator, group)
        return LabelSpace.from_dict(
            {
                "name": "table",
                "version": 1,
                "categories": [
                    {"id": i, "name": name, "supercategory": GARMENT} for i, name in enumerate(kind.names)
                ],
                "groups": [
                    {
                        "name": "category (column)" if answer.column == "category" else answer.column,
                        "choice": "many" if any(len(members) > 1 for members in answer.sets) else "one",
                        "labels": [{"id": name, "name": name} for name in answer.names],
                    }
                    for answer in groups
                ],
            }
        )

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        """The photo and what its rows say.

        Raises:
            PhotoError: the photo cannot be read.
        """
        words, denied, closed = self._said(index)
        photo = read_photo(self.photo_file(index))
        return self.knowledge.undrawn(photo, words, self.keys[index], denied=denied, closed=closed)

    def photo_file(self, index: int) -> Path:
        """The file of a photo."""
        return self.folder / str(self.names[index])

    def photo_labels(self, index: int) -> NDArray[np.int8]:
        """(L,) what the rows say of the whole photo."""
        words, denied, closed = self._said(index)
        return self.knowledge.photo(words, "tags", denied=denied, closed=closed)[0]

    def _said(self, index: int) -> tuple[list[str], NDArray[np.bool_], bool]:
        """The words of a photo, (L,) the attributes that its columns deny, and whether its category is told."""
        words: list[str] = []
        denied = np.zeros(self.knowledge.space.num_labels, bool)
        told = [answer.sets[answer.codes[index]] for answer in self.answers]
        for answer, members, others in zip(self.answers, told, self._denied, strict=True):
            words += [answer.names[i] for i in members]
            if members:
                denied |= others
        return words, denied, bool(told[0])

    def _attributes_of(self, answer: Answers) -> NDArray[np.bool_]:
        """(L,) the attributes that any value of a column is."""
        said = [self.knowledge.words[name].labels == 1 for name in answer.names]
        attributes = np.any(said, axis=0)
        attributes[: len(self.knowledge.space.categories)] = False
        return np.asarray(attributes)

    def _telling(self, merged: Sequence[NDArray[np.int64]], answers: Sequence[Answers]) -> NDArray[np.int64]:
        """Positions among the merged photos of those of which something is known."""
        tells = np.zeros(len(merged[0]), bool)
        for answer, codes, denied in zip(answers, merged[1:], self._denied, strict=True):
            if not answer.asked:                          # every photo shows a garment: that alone tells nothing
                continue
            telling = []
            for name in answer.names:
                labels, one_of = self.knowledge.photo([name], "tags", denied=denied, closed=answer is answers[0])
                telling.append(bool((labels >= 0).any() or one_of))
            tells |= np.array([any(telling[i] for i in members) for members in answer.sets])[codes]
        return np.flatnonzero(tells)


def _photos(cells: Cells, image: str) -> Column:
    """The photo of each row, by its path; empty where none is named.

    Raises:
        DataError: photos are named by their address on the web.
    """
    column = cells.columns[image]
    paths = [(cell if isinstance(cell, str) else "".join(cell)).strip().replace("\\", "/") for cell in column.cells]
    on_the_web = np.array(["://" in path for path in paths], bool)
    if on_the_web.any():
        row = int(on_the_web[column.codes].argmax())
        raise DataError(
            f"table: {cells.file}, {cells.places([row])[0]}: {paths[column.codes[row]]} is an address on the web, and "
            "Hemline downloads nothing; fetch the photos, give their folder as images=FOLDER, and their names here"
        )
    number = {path: i for i, path in enumerate(dict.fromkeys(paths))}
    same = np.array([number[path] for path in paths], np.int32)
    return Column(same[column.codes], list(number))


def _usable(cells: Cells, photos: Column, folder: Path) -> tuple[NDArray[np.int64], list[Problem]]:
    """The rows that name a photo that is there, and what is wrong with the others."""
    there = np.array(are_there(folder, [str(path) for path in photos.cells]), bool)[photos.codes]
    there[list(cells.damaged)] = False
    rows = np.flatnonzero(~there).tolist()
    problems = []
    for row, place in zip(rows, cells.places(rows), strict=True):
        path = photos.cells[photos.codes[row]]
        if row in cells.damaged:
            problems.append(Problem("bad row", str(cells.file), place, cells.damaged[row]))
        elif not path:
            problems.append(Problem("missing photo", str(cells.file), place, "no photo is named"))
        else:
            problems.append(Problem("missing photo", str(cells.file), place, f"no photo {folder / str(path)}"))
    return np.flatnonzero(there), problems


def _merged(
    cells: Cells, photos: Column, rows: NDArray[np.int64], answers: Sequence[Answers]
) -> tuple[list[NDArray[np.int64]], list[Problem]]:
    """One entry a photo: its first row, and of each column the set that its rows agree on; and those that disagree."""
    _, first, owner = np.unique(photos.codes[rows], return_index=True, return_inverse=True)
    merged, good = [rows[first]], np.ones(len(first), bool)
    found: dict[int, tuple[int, str]] = {}                # of a row: the row that it disagrees with, and what about
    for answer in answers:
        codes = answer.codes[rows].astype(np.int64)
        high = np.zeros(len(first), np.int64)
        np.maximum.at(high, owner, codes)
        low = high.copy()
        np.minimum.at(low, owner[codes > 0], codes[codes > 0])
        merged.append(high)
        both, at = np.unique(owner * len(answer.sets) + codes, return_index=True)
        for photo in np.flatnonzero((low != high) & good).tolist():
            own = photo * len(answer.sets) + np.array([low[photo], high[photo]])
            one, two = sorted(rows[at[np.searchsorted(both, own)]].tolist())
            values = [", ".join(answer.names[i] for i in answer.sets[answer.codes[row]]) for row in (two, one)]
            found[two] = one, f"{answer.column} {values[0]!r}, and {values[1]!r} in "
        good &= low == high
    places = dict(zip(at_rows := sorted({row for two, (one, _) in found.items() for row in (one, two)}),
                      cells.places(at_rows), strict=True))
    problems = [
        Problem("rows disagree", str(cells.file), places[two],
                f"{photos.cells[photos.codes[two]]} has {what}{places[one]}: neither is used")
        for two, (one, what) in sorted(found.items())
    ]
    order = np.argsort(first)                             # as the table lists them
    order = order[good[order]]
    return [part[order] for part in merged], problems


def _groups(column: Column, rows: NDArray[np.int64], keys: Sequence[str]) -> list[str]:
    names = [str(cell).strip() if isinstance(cell, str) else " ".join(cell) for cell in column.cells]
    return [f"table/{names[code]}" if names[code] else key for code, key in zip(column.codes[rows], keys, strict=True)]
