"""What the columns of a table say: which of them hold labels, what these are called, and what each cell means.

Shapes: N rows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hemline._reading import nearest
from hemline.data.cells import Cells, Column, clean
from hemline.data.problems import Problem
from hemline.errors import DataError

MOST_VALUES = 200
"""Distinct values of a column that is read without being named in `columns`."""
MOST_NAMED = 2000
"""Distinct values of a column that is named, and of the category's."""
FEW = 10
"""Values that a column may have whatever the number of rows; with more, each stands in two rows on average, or it is a
column of names, such as a title."""
GARMENT = "garment"
"""The category of a table without such a column."""
PEOPLE = frozenset(["age", "child", "children", "ethnicity", "gender", "kids", "race", "sex", "skin"])
"""Words in the name of a column that tells of people. It is never read."""
ALIKE = "values alike"
"""Kind of a problem that is reported and refuses nothing."""
_BARE = re.compile(r"(true|false|yes|no|y|n|t|f|[\d.,%]+)", re.IGNORECASE)
"""A value that says nothing without its column."""


@dataclass(frozen=True)
class Answers:
    """A column of labels."""

    column: str
    names: Sequence[str]
    """Its labels: the values, sorted; `column: value` where a value alone would not tell."""
    sets: Sequence[tuple[int, ...]]
    """The sets of labels that cells hold; the first is of an empty cell."""
    codes: NDArray[np.int32]
    """Which of the sets stands in each row."""
    asked: bool = True
    """False of the one category of a table that has no such column."""


def read_answers(
    cells: Cells, image: str, category: str | None, columns: list[str] | None, separator: str, group: str | None
) -> list[Answers]:
    """The column of the category, then the other columns of labels.

    Raises:
        DataError: a column is missing, tells of people, or has more values than can be learnt.
    """
    there = cells.columns
    if category == "category" and category not in there:
        category = None
    kind = [] if category is None else [category]
    _refuse(cells, [image, *kind, *(columns or []), *([] if group is None else [group])], [*kind, *(columns or [])])
    taken = {image, category, group}
    others = [name for name in there if name not in taken and not _of_people(name)] if columns is None else columns
    parsed: dict[str, list[tuple[str, ...]]] = {}
    for name in dict.fromkeys([*kind, *others]):
        named = columns is not None or name == category
        values = _values(there[name], separator, MOST_NAMED if named else MOST_VALUES)
        if values is None and named:
            raise DataError(
                f"table: {cells.file}: column {name!r} has more than {MOST_NAMED:,} values; that is no column of labels"
            )
        if values is not None and (named or _come_back(there[name], values)):
            parsed[name] = values
    if category is not None and not any(parsed[category]):
        raise DataError(f"table: {cells.file}: column {category!r} is empty; give category=null, or another column")
    names = _names({name: sets for name, sets in parsed.items() if any(sets)})
    answers = [_answer(name, there[name], parsed[name], names[name]) for name in names]
    if category is None:
        if not answers:
            raise DataError(f"table: {cells.file} has no column of labels; name one as category or in columns")
        answers.insert(0, Answers("category", [GARMENT], [(), (0,)], np.ones(cells.rows, np.int32), asked=False))
    return answers


def _refuse(cells: Cells, wanted: Sequence[str], labels: Sequence[str]) -> None:
    if missing := [name for name in dict.fromkeys(wanted) if name not in cells.columns]:
        hint = nearest(missing[0], list(cells.columns)) or f"; its columns are {', '.join(cells.columns)}"
        raise DataError(f"table: {cells.file} has no column {', '.join(map(repr, missing))}{hint}")
    if people := [name for name in labels if _of_people(name)]:
        raise DataError(f"table: {cells.file}: {', '.join(people)} tells of people; Hemline reads clothes alone")


def _of_people(name: str) -> bool:
    return bool(PEOPLE & set(re.findall(r"[^\W_]+", name.casefold())))


def _values(column: Column, separator: str, most: int) -> list[tuple[str, ...]] | None:
    """The values of each distinct cell; None where there are more than `most` in all."""
    seen: set[str] = set()
    parsed = []
    for cell in column.cells:
        parts: Iterable[str] = (cell.split(separator) if separator else [cell]) if isinstance(cell, str) else cell
        values = tuple(sorted({value for part in parts if (value := clean(part))}))
        seen.update(values)
        if len(seen) > most:
            return None
        parsed.append(values)
    return parsed


def _come_back(column: Column, values: Sequence[tuple[str, ...]]) -> bool:
    filled = np.array([bool(cell) for cell in values], bool)
    distinct = {value for cell in values for value in cell}
    return 0 < len(distinct) <= max(FEW, int(filled[column.codes].sum()) // 2)


def _names(columns: dict[str, list[tuple[str, ...]]]) -> dict[str, dict[str, str]]:
    """Of each column, its values and the names of their labels, no two alike."""
    values = {column: sorted({value for cell in sets for value in cell}) for column, sets in columns.items()}
    often: dict[str, int] = {}
    for value in [value for column in values.values() for value in column]:
        often[value] = often.get(value, 0) + 1
    taken: set[str] = {value for value, times in often.items() if times == 1}
    names: dict[str, dict[str, str]] = {}
    for column, own in values.items():
        names[column] = {}
        for value in own:
            name = value
            if often[value] > 1 or _BARE.fullmatch(value):
                name = f"{column}: {value}"
                while name in taken:
                    name += "'"
                taken.add(name)
            names[column][value] = name
    return names


def _answer(name: str, column: Column, parsed: Sequence[tuple[str, ...]], names: dict[str, str]) -> Answers:
    position = {value: i for i, value in enumerate(names)}
    numbers: dict[tuple[int, ...], int] = {(): 0}
    number_of = [numbers.setdefault(tuple(position[value] for value in cell), len(numbers)) for cell in parsed]
    codes = np.array(number_of, np.int32)[column.codes]
    return Answers(name, list(names.values()), list(numbers), codes)


def values_alike(path: Path, answers: Sequence[Answers]) -> list[Problem]:
    """Values of a column that differ in capitals, blanks or hyphens alone: most likely one value."""
    problems = []
    for answer in answers:
        spelt: dict[str, list[str]] = {}
        for name in answer.names:
            spelt.setdefault(re.sub(r"[\s_-]+", " ", name.casefold()), []).append(name)
        for names in spelt.values():
            if len(names) > 1:
                what = f"column {answer.column}: {', '.join(map(repr, names))} are two labels; spell them alike"
                problems.append(Problem(ALIKE, str(path), "", what))
    return problems
