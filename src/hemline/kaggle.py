"""Kaggle's iMaterialist (Fashion) challenges, 2019 (FGVC6) and 2020 (FGVC7): their tables.

    year   columns                                        masks
    2019   ImageId, EncodedPixels, ClassId                512 x 512, whatever the photo's shape; those of one
                                                          category share no pixel
    2020   ImageId, EncodedPixels, ClassId,               long side 1024, the other as the photo has it, cut to whole
           AttributesIds                                  pixels; none of a photo share a pixel

`ImageId` is the name of the photo's file, in 2020 without its extension. `EncodedPixels` are "start length" pairs,
counted from 1, down the columns (`hemline.borders`). `ClassId` is a category's id; in 2019 the attributes' ids follow,
as in "13_5_20", in 2020 they stand in `AttributesIds`, as in "5,20". A photo where nothing is found has a row without
pixels. Ids are the publisher's: of `imaterialist2019` in 2019, of `fashionpedia` in 2020.

This is what participants wrote and sent in: the winners of 2019 (amirassov/kaggle-imaterialist, which keeps masks
apart category by category) and of 2020 (apls777/kaggle-imaterialist2020-model), and Julienbeaulieu/
iMaterialist2020-Image-Segmentation-on-Detectron2. How Kaggle itself made its small masks is not known; here each pixel
is that of the large mask at its middle, as the winner of 2020 did.

Shapes: H W photo or mask.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple, TextIO

import numpy as np
from pycocotools import mask as coco  # type: ignore[import-untyped]  # pycocotools ships no types

from hemline.borders import borders_of_mask, borders_of_rle, borders_of_text, rle_of_borders
from hemline.errors import DataError, in_short
from hemline.instances import RLE, Instance
from hemline.labels import load_label_space
from hemline.masks import Mask
from hemline.photo import MAX_PIXELS

Year = Literal[2019, 2020]
SPACES: dict[Year, str] = {2019: "imaterialist2019", 2020: "fashionpedia"}
"""The label space of each year's ids."""
COLUMNS: dict[Year, tuple[str, ...]] = {
    2019: ("ImageId", "EncodedPixels", "ClassId"),
    2020: ("ImageId", "EncodedPixels", "ClassId", "AttributesIds"),
}
"""Of a submission; `train.csv` has `SIDES` besides."""
SIDES = ("Height", "Width")
SIDE_2019, LONG_SIDE_2020 = 512, 1024
EMPTY = {"", "nan", "NaN"}
"""What an empty cell holds, as Kaggle and as pandas write it."""
NAMED = 5
"""Wrong rows that a message names."""
LONGEST = 1 << 26
"""Characters of a line or a cell; a mask of a large photo has some hundred thousand."""


def submission_size(height: int, width: int, year: Year) -> tuple[int, int]:
    """(H, W) of the masks that are submitted for a photo of that size."""
    if year == 2019:
        return SIDE_2019, SIDE_2019
    if width > height:
        return max(1, height * LONG_SIDE_2020 // width), LONG_SIDE_2020
    return LONG_SIDE_2020, max(1, width * LONG_SIDE_2020 // height)


def image_id(photo: str, year: Year) -> str:
    """What a challenge calls a photo: the name of its file, in 2020 without the extension."""
    return Path(photo).name if year == 2019 else Path(photo).stem


def resized(mask: Mask, size: tuple[int, int]) -> Mask:
    """A mask (H, W) at another size: each pixel is that of the mask at its middle, so masks apart stay apart."""
    rows, columns = (
        (2 * np.arange(to) + 1) * side // (2 * to) for side, to in zip(mask.shape, size, strict=True)
    )
    smaller: Mask = mask[rows][:, columns]
    return smaller


def read_submission(
    path: Path, year: Year, sizes: Mapping[str, tuple[int, int]] | None = None
) -> dict[str, list[Instance]]:
    """Read a submission: the garments of each ImageId, masks at the submission's size.

    Rows may come in any order; one that stands twice counts once.

    Args:
        path: The CSV.
        year: The challenge.
        sizes: (H, W) of the submission's masks by ImageId (`submission_size`), of the photos that are read; others are
            left out. Runs do not say it, so 2020 needs it; 2019 reads all photos without, at 512 x 512.

    Raises:
        DataError: the file cannot be read, or rows are wrong; the first few are named.
    """
    if year == 2020 and sizes is None:
        raise ValueError("submissions of 2020 do not say how large their masks are: give `sizes`")
    table = _Table(path, year, COLUMNS[year])
    photos: dict[str, dict[tuple[int, frozenset[int | str], bytes], tuple[int, Instance]]] = {}
    for row in table.rows(lambda photo: sizes is None or photo in sizes):
        known = photos.setdefault(row.photo, {})
        size = (SIDE_2019, SIDE_2019) if sizes is None else sizes[row.photo]
        if row.runs in EMPTY:
            continue
        rle, ids = table.mask(row, size), table.ids(row)
        if rle is not None and ids is not None:
            known.setdefault((*ids, rle["counts"]), (row.line, _instance(rle, *ids)))
    for photo, found in photos.items():
        groups: dict[int | None, list[tuple[int, Instance]]] = {}
        for line, instance in found.values():
            groups.setdefault(instance.category if year == 2019 else None, []).append((line, instance))
        for group in groups.values():
            table.check_apart(photo, group)
    table.refuse()
    return {photo: [instance for _, instance in found.values()] for photo, found in photos.items()}


def read_truth(path: Path, year: Year, names: Collection[str] | None = None) -> dict[str, list[Instance]]:
    """Read a table as `train.csv`: the garments of each ImageId, masks at the submission's size.

    Garments that have no pixel at that size are left out. Rows may come in any order.

    Args:
        path: The CSV.
        year: The challenge.
        names: The ImageIds that are read; all where None.

    Raises:
        DataError: the file cannot be read, or rows are wrong; the first few are named.
    """
    table = _Table(path, year, (*COLUMNS[year], *SIDES))
    photos: dict[str, list[Instance]] = {}
    sizes: dict[str, tuple[int, int]] = {}
    for row in table.rows(lambda photo: names is None or photo in names):
        drawn = photos.setdefault(row.photo, [])
        size = table.size(row, sizes)
        ids = table.ids(row)
        rle = None if size is None else table.mask(row, size)
        if size is not None and rle is not None and ids is not None:
            mask = resized(coco.decode(rle).astype(np.bool_), submission_size(*size, year))
            if mask.any():
                drawn.append(_instance(rle_of_borders(borders_of_mask(mask), mask.shape), *ids))
    table.refuse()
    return photos


def lines_of(file: TextIO) -> Iterator[str]:
    """The lines of a table.

    Raises:
        csv.Error: one is so long that this is no table.
    """
    while line := file.readline(LONGEST):
        if len(line) == LONGEST:
            raise csv.Error(f"a line of more than {LONGEST:,} characters")
        yield line


def _instance(rle: RLE, category: int, attributes: frozenset[int | str]) -> Instance:
    x, y, width, height = coco.toBbox(rle).tolist()
    return Instance(category, rle, (x, y, width, height), attributes)


class _Row(NamedTuple):
    line: int
    photo: str
    runs: str
    ids: list[str]
    """The cells from ClassId on."""
    sides: list[str]


@dataclass
class _Table:
    """A CSV of one of the challenges, and what is wrong with it."""

    path: Path
    year: Year
    columns: tuple[str, ...]
    problems: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        space = load_label_space(SPACES[self.year])
        self.categories = {str(c.id): c.id for c in space.categories}
        self.attributes = {str(x.id): x.id for x in space.labels}

    def rows(self, wanted: Callable[[str], bool]) -> Iterator[_Row]:
        """The rows of the photos that are wanted."""
        before = csv.field_size_limit(LONGEST)
        try:
            with self.path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
                lines = csv.reader(lines_of(file))
                head = [name.strip() for name in next(lines, [])]
                if missing := [name for name in self.columns if name not in head]:
                    raise DataError(
                        f"{self.path}, line 1: no column {', '.join(missing)}; a table of {self.year} has "
                        f"{', '.join(self.columns)}"
                    )
                places = [head.index(name) for name in self.columns]
                num_own = len(COLUMNS[self.year])
                for cells in lines:
                    if len(cells) != len(head):
                        if cells:                         # an empty line says nothing
                            self.wrong(lines.line_num, f"{len(cells)} columns, not {len(head)}")
                        continue
                    photo, runs, *rest = (cells[place].strip() for place in places)
                    if wanted(photo):
                        yield _Row(lines.line_num, photo, runs, rest[: num_own - 2], rest[num_own - 2 :])
        except (OSError, csv.Error) as error:
            raise DataError(f"{self.path}: cannot be read ({in_short(error)})") from error
        finally:
            csv.field_size_limit(before)

    def mask(self, row: _Row, size: tuple[int, int]) -> RLE | None:
        try:
            borders = borders_of_text("" if row.runs in EMPTY else row.runs, size)
            if len(borders):
                return rle_of_borders(borders, size)
            self.wrong(row.line, "EncodedPixels is empty")
        except ValueError as error:
            self.wrong(row.line, f"EncodedPixels at {size[0]} x {size[1]}: {error}")
        return None

    def ids(self, row: _Row) -> tuple[int, frozenset[int | str]] | None:
        """The category and the attributes."""
        if self.year == 2019:
            category, *attributes = row.ids[0].split("_")
        else:
            category, attributes = row.ids[0], [] if row.ids[1] in EMPTY else row.ids[1].split(",")
        attributes = [id.strip() for id in attributes]
        unknown = [id for id in attributes if id not in self.attributes]
        if category not in self.categories:
            self.wrong(row.line, f"no category {category!r}; ids are 0 to {max(self.categories.values())}")
        elif unknown:
            self.wrong(row.line, f"{SPACES[self.year]} has no attribute {unknown[0]!r}")
        else:
            return self.categories[category], frozenset(self.attributes[id] for id in attributes)
        return None

    def size(self, row: _Row, sizes: dict[str, tuple[int, int]]) -> tuple[int, int] | None:
        """The photo's height and width, which all its rows give alike."""
        sides = [side.removesuffix(".0") for side in row.sides]      # pandas may write whole numbers so
        whole = all(side.isascii() and side.isdigit() and len(side) < 10 for side in sides)
        size = (int(sides[0]), int(sides[1])) if whole else (0, 0)
        if not 0 < size[0] * size[1] <= MAX_PIXELS:
            self.wrong(row.line, f"Height {row.sides[0]!r}, Width {row.sides[1]!r} are no size of a photo")
        elif (known := sizes.setdefault(row.photo, size)) != size:
            self.wrong(row.line, f"{size[0]} x {size[1]}; rows before it say {known[0]} x {known[1]} of {row.photo}")
        else:
            return size
        return None

    def check_apart(self, photo: str, garments: Sequence[tuple[int, Instance]]) -> None:
        """Note the first pair of rows, given with their lines, that share a pixel."""
        masks = [borders_of_rle(g.mask["counts"], tuple(g.mask["size"])) for _, g in garments if g.mask is not None]
        if len(masks) < 2:
            return
        starts, ends = (np.concatenate([mask[side::2] for mask in masks]) for side in (0, 1))
        rows = np.repeat([line for line, _ in garments], [len(mask) // 2 for mask in masks])
        order = np.argsort(starts, kind="stable")
        shared = np.flatnonzero(starts[order][1:] < ends[order][:-1])
        if len(shared):
            one, other = sorted(rows[order[shared[0] : shared[0] + 2]].tolist())
            self.wrong(other, f"shares pixels with line {one}, of the same photo {photo}")

    def wrong(self, line: int, what: str) -> None:
        self.problems.append(f"line {line}: {what}")

    def refuse(self) -> None:
        """Raise what was found wrong, if anything."""
        if len(self.problems) == 1:
            raise DataError(f"{self.path}, {self.problems[0]}")
        if self.problems:
            more = f"; and {len(self.problems) - NAMED:,} more" if len(self.problems) > NAMED else ""
            named = "; ".join(self.problems[:NAMED])
            raise DataError(f"{self.path}: {len(self.problems):,} things are wrong: {named}{more}")
