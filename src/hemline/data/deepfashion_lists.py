"""The list files of DeepFashion; their layout stands in `hemline.data.deepfashion`.

Shapes: P photos, M attributes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hemline.data.problems import Problem
from hemline.errors import DataError

Annotations = Literal["coarse", "fine"]
PARTS = ("upper body", "lower body", "whole body")
"""Types of categories, from 1."""
COARSE = ("texture", "fabric", "shape", "part", "style")
"""Types of the coarse attributes, from 1."""
FINE = ("texture", "sleeve length", "dress length", "neckline", "fabric", "fit")
"""Types of the fine attributes, from 1: the lists number them, the names are ours."""
SIDES = {"train": "train", "val": "validation", "test": "test"}
GARMENT = "garment"
"""The category of fine photos whose categories are not there."""
CHUNK = 4096
"""Rows of attributes that are packed at a time."""


class Words(NamedTuple):
    """Categories and attributes, as the label space names them, and their types from 0."""

    categories: list[str]
    parts: list[int]
    attributes: list[str]
    types: list[int]


class Photos(NamedTuple):
    """What the lists say of each photo."""

    names: list[str]
    where: list[tuple[str, str]]
    """P files and rows that list them."""
    sides: list[str]
    """Empty where no split is published."""
    category: NDArray[np.int64]
    """(P,) from 0."""
    boxes: NDArray[np.int64] | None
    """(P, 4) x, y of two corners."""
    yes: NDArray[np.uint8]
    """(P, M / 8) packed."""
    no: NDArray[np.uint8]
    """(P, M / 8) packed."""


def find_lists(path: Path, annotations: Annotations | None) -> tuple[Path, Annotations]:
    """The folder of the lists that are asked for, or of those that are there."""
    kinds: dict[Annotations, tuple[str, tuple[str, ...]]] = {
        "coarse": ("list_category_img.txt", ("Anno_coarse", "Anno")),
        "fine": ("train.txt", ("Anno_fine", "split")),
    }
    for kind, (file, names) in kinds.items():
        for name in names:
            if annotations in (None, kind) and (path / name / file).is_file():
                return path / name, kind
    wanted = " or ".join(
        f"{names[0]}/{file}" for kind, (file, names) in kinds.items() if annotations in (None, kind)
    )
    raise DataError(f"deepfashion: {path} holds no {wanted}; give the folder of the benchmark as published")


def read_words(folder: Path, kind: Annotations) -> Words:
    """The categories and attributes of a folder of lists.

    Raises:
        DataError: a list is missing or damaged.
    """
    types = COARSE if kind == "coarse" else FINE
    attributes = _named(folder / "list_attr_cloth.txt", len(types))
    file = folder / "list_category_cloth.txt"
    told = kind == "coarse" or (file.is_file() and (folder / "train_cate.txt").is_file())
    categories = _named(file, len(PARTS)) if told else [(GARMENT, -1)]
    names = [name for name, _ in categories]
    often = Counter([*names, *(name for name, _ in attributes)])
    spelt = [f"{name} ({types[number]})" if often[name] > 1 else name for name, number in attributes]
    if twice := sorted(name for name, times in Counter([*names, *spelt]).items() if times > 1):
        raise DataError(f"deepfashion: {folder} names {', '.join(map(repr, twice[:8]))} twice")
    return Words(names, [part for _, part in categories], spelt, [number for _, number in attributes])


def _named(file: Path, types: int) -> list[tuple[str, int]]:
    """Names and types from 0 of a list of categories or attributes."""
    count, rows = _lines(file)
    named = []
    for number, row in rows:
        name, _, kind = row.rpartition(" ")
        if not name.strip() or not kind.isdecimal() or not 1 <= int(kind) <= types:
            raise DataError(f"deepfashion: {file}, line {number}: {row!r} is no name with a type from 1 to {types}")
        named.append((name.strip(), int(kind) - 1))
    if len(named) != count:                               # photos name them by their position
        raise DataError(
            f"deepfashion: {file} says {count} rows and has {len(named)}, so numbers would name others: "
            "download it again"
        )
    return named


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise DataError(f"deepfashion: {file} cannot be read ({error})") from error


def _lines(file: Path) -> tuple[int, Iterator[tuple[int, str]]]:
    """The number that a list says in its first row, and its rows with their lines' numbers."""
    lines = _text(file).splitlines()
    if len(lines) < 2 or not lines[0].strip().isdecimal():
        raise DataError(f"deepfashion: {file}, line 1: a list begins with its number of rows")
    rows = ((number, " ".join(line.split())) for number, line in enumerate(lines[2:], start=3))
    return int(lines[0]), ((number, row) for number, row in rows if row)


def _of_photos(file: Path, width: int, problems: list[Problem]) -> dict[str, tuple[int, list[str]]]:
    """Of each photo in a list: its line, and the values behind its name."""
    count, rows = _lines(file)
    found = {}
    for number, row in rows:
        name, *values = row.rsplit(" ", width)
        if len(values) == width:
            found[name] = number, values
        else:
            problems.append(Problem("bad row", str(file), f"line {number}", f"{row!r} is no photo and {width} values"))
    if len(found) != count:
        problems.append(Problem("rows missing", str(file), "line 1", f"says {count} photos; {len(found)} are listed"))
    return found


def read_coarse(path: Path, folder: Path, words: Words) -> tuple[Photos, list[Problem]]:
    """Photos of the coarse lists, and rows that cannot be used.

    Raises:
        DataError: a list is missing or none.
    """
    problems: list[Problem] = []
    file = folder / "list_category_img.txt"
    category = _of_photos(file, 1, problems)
    boxes = _of_photos(folder / "list_bbox.txt", 4, problems)
    partition = path / "Eval" / "list_eval_partition.txt"
    sides = _of_photos(partition, 1, problems) if partition.is_file() else None
    positions, yes, no = _coarse_attributes(folder / "list_attr_img.txt", len(words.attributes), problems)
    names = []
    for name, (number, (told,)) in category.items():
        lacking = [what for what, there in (("box", name in boxes), ("attributes", name in positions),
                                            ("side", sides is None or name in sides)) if not there]  # fmt: skip
        numbers = [told, *(boxes[name][1] if name in boxes else [])]
        if lacking:
            what = f"{name} has no {' and no '.join(lacking)}"
            problems.append(Problem("bad row", str(file), f"line {number}", what))
        elif not all(_whole(value) for value in numbers) or (sides and sides[name][1][0] not in SIDES):
            what = f"{name}: {[*numbers, *(sides[name][1] if sides else [])]} are no category, box and side"
            problems.append(Problem("bad row", str(file), f"line {number}", what))
        else:
            names.append(name)
    rows = np.array([positions[name] for name in names], np.int64)
    return Photos(
        names=names,
        where=[(str(file), f"line {category[name][0]}") for name in names],
        sides=[SIDES[sides[name][1][0]] for name in names] if sides else [],
        category=np.array([int(category[name][1][0]) - 1 for name in names], np.int64),
        boxes=np.array([boxes[name][1] for name in names], np.int64).reshape(-1, 4),
        yes=yes[rows],
        no=no[rows],
    ), problems


def _coarse_attributes(
    file: Path, width: int, problems: list[Problem]
) -> tuple[dict[str, int], NDArray[np.uint8], NDArray[np.uint8]]:
    """Rows of photos, and their yes and no (rows, M / 8), packed: of a file of 300 million values."""
    positions: dict[str, int] = {}
    yes, no = [np.empty((0, -(-width // 8)), np.uint8)], [np.empty((0, -(-width // 8)), np.uint8)]
    try:
        with file.open("rb") as lines:
            begun = list(islice(lines, 2))
            number, rows = 2, 0
            while chunk := list(islice(lines, CHUNK)):
                values = []
                for line in chunk:
                    number += 1
                    name, _, rest = line.strip().partition(b" ")
                    # one character a value: "-1" becomes "n", blanks go
                    told = rest.translate(None, b" \t").replace(b"-1", b"n")
                    if len(told) == width and not told.translate(None, b"01n"):
                        positions[name.decode(errors="replace")] = rows
                        rows += 1
                        values.append(told)
                    elif name:
                        what = f"{name.decode(errors='replace')} has no {width} values of 1, -1 and 0"
                        problems.append(Problem("bad row", str(file), f"line {number}", what))
                letters = np.frombuffer(b"".join(values), np.uint8).reshape(-1, width)
                yes.append(np.packbits(letters == ord("1"), axis=1))
                no.append(np.packbits(letters == ord("n"), axis=1))
    except OSError as error:
        raise DataError(f"deepfashion: {file} cannot be read ({error})") from error
    if not begun or not begun[0].strip().isdigit():
        raise DataError(f"deepfashion: {file}, line 1: a list begins with its number of rows")
    return positions, np.concatenate(yes), np.concatenate(no)


def read_fine(folder: Path, words: Words) -> tuple[Photos, list[Problem]]:
    """Photos of the fine lists, and rows that cannot be used.

    Raises:
        DataError: a list is missing, or does not fit the list of photos beside it.
    """
    problems: list[Problem] = []
    names: list[str] = []
    where: list[tuple[str, str]] = []
    sides: list[str] = []
    values, categories, boxes = [], [], []
    for side in SIDES:
        if not (folder / f"{side}.txt").is_file() or not (folder / f"{side}_attr.txt").is_file():
            continue                                      # a contest keeps the answers of its test photos
        file = folder / f"{side}.txt"
        listed = _text(file).split()
        names += listed
        where += [(str(file), f"line {number}") for number in range(1, len(listed) + 1)]
        sides += [SIDES[side]] * len(listed)
        values.append(_numbers(folder / f"{side}_attr.txt", len(listed)))
        if words.parts != [-1]:
            categories.append(_numbers(folder / f"{side}_cate.txt", len(listed)))
        if (folder / f"{side}_bbox.txt").is_file():
            boxes.append(_numbers(folder / f"{side}_bbox.txt", len(listed)))
    if not names:
        raise DataError(f"deepfashion: {folder} holds no photos with attributes: train.txt and train_attr.txt")
    if len({block.shape[1] for block in values}) > 1 or (boxes and len(boxes) != len(values)):
        raise DataError(f"deepfashion: {folder} has sides of different kinds; take all files from one place")
    told = np.concatenate(values)
    yes, no, wrong = _fine_answers(told, np.array(words.types), folder)
    problems += [
        Problem("bad row", where[i][0].replace(".txt", "_attr.txt"), where[i][1], f"{told[i].tolist()} are no answers")
        for i in np.flatnonzero(wrong)
    ]
    good = np.flatnonzero(~wrong)
    category = np.concatenate(categories)[:, 0] - 1 if categories else np.zeros(len(names), np.int64)
    return Photos(
        names=[names[i] for i in good],
        where=[where[i] for i in good],
        sides=[sides[i] for i in good],
        category=category[good],
        boxes=np.concatenate(boxes).reshape(-1, 4)[good] if boxes else None,
        yes=np.packbits(yes[good], axis=1),
        no=np.packbits(no[good], axis=1),
    ), problems


def _fine_answers(
    told: NDArray[np.int64], types: NDArray[np.int64], folder: Path
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
    """(P, M) yes and no, and (P,) rows that are neither; of a group without a yes nothing is known."""
    groups = [np.flatnonzero(types == number) for number in np.unique(types)]
    yes = np.zeros((len(told), len(types)), bool)
    if told.shape[1] == len(types):
        yes = np.asarray(told == 1)
        wrong = np.asarray(~np.isin(told, (0, 1)).all(1))
    elif told.shape[1] == len(groups):
        sizes = np.array([len(group) for group in groups])
        wrong = np.asarray(((told < 0) | (told >= sizes)).any(1))
        for column, group in enumerate(groups):
            rows = np.flatnonzero(~wrong)
            yes[rows, group[told[rows, column]]] = True
    else:
        raise DataError(
            f"deepfashion: {folder} has {told.shape[1]} values a photo; {len(types)} of 0 and 1, or the values of "
            f"{len(groups)} groups, are expected"
        )
    no = np.zeros_like(yes)
    for group in groups:
        no[:, group] = yes[:, group].any(1, keepdims=True) & ~yes[:, group]
    return yes, no, wrong


def _numbers(file: Path, rows: int) -> NDArray[np.int64]:
    """(rows, columns) of a file that says something of each photo, row by row.

    Raises:
        DataError: it has another number of rows than there are photos, so that none can be told, or holds no numbers.
    """
    lines = [line.split() for line in _text(file).splitlines() if line.strip()]
    if len(lines) != rows:
        raise DataError(f"deepfashion: {file} has {len(lines)} rows for {rows} photos; download both again")
    try:
        return np.array(lines, np.int64).reshape(rows, -1)
    except (ValueError, OverflowError) as error:
        raise DataError(f"deepfashion: {file} holds something else than rows of whole numbers ({error})") from error


def _whole(value: str) -> bool:
    return value.removeprefix("-").isdecimal() and len(value) < 10
