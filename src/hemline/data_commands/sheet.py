"""A contact sheet: photos of datasets with what is drawn on them, and their labels below.

Garments are filled, outlined and numbered as in `hemline.draw`. Pixels that may be any of several classes are hatched.
Of a photo on which nothing is drawn, the words are listed.

Sizes are in pixels: a cell is `CELL` wide, its photo at most `TALLEST` high.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from hemline.config import Config
from hemline.data import Dataset
from hemline.data.loading import Source
from hemline.data.sample import UNKNOWN, Sample
from hemline.data_commands.counting import unknown_segments
from hemline.data_commands.visit import visit
from hemline.draw import (
    DARK,
    FAINT,
    INK,
    PAPER,
    RGB,
    Pixels,
    colours_of,
    disc,
    disc_number,
    draw_tags,
    fill_and_outline,
    font_of,
    place_tags,
    plain_text,
)
from hemline.errors import DataError, HemlineError
from hemline.labels import LabelSpace
from hemline.whole_files import whole_file

CELL, TALLEST, GAP = 300, 450, 20
UNIT = 13
"""Height of a line of text."""
MOST_LINES = 12
"""Garments that are named below a photo, the largest."""
FORMATS = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".webp": "WEBP"}
MOST_PIXELS = 16383
"""The longest side of a sheet: what WebP holds, the least of the formats."""


@dataclass(frozen=True)
class Thing:
    """Something drawn in a photo."""

    name: str
    colour: RGB
    mask: NDArray[np.bool_]
    """(H, W)."""
    attributes: list[str]
    categories: list[int]
    """Categories that it is; of one that may be any of several, none."""


def contact_sheet(
    config: Config,
    space: LabelSpace,
    sources: Sequence[Source],
    *,
    photos: int = 12,
    seed: int = 0,
    label: str | None = None,
    split: str = "all",
) -> Image.Image:
    """Draw photos of the datasets of a recipe, the same number of each where there are enough.

    Args:
        config: The recipe.
        space: Its label space.
        sources: Its datasets, as `hemline.data_commands.asked.opened` gives them.
        photos: How many in all.
        seed: Another seed picks others.
        label: Only photos that show this label.
        split: Only photos of this side: `train`, `validation`, `test` or `all`.

    Raises:
        DataError: there is no such photo, or one cannot be read.
        LabelError: no such label.
    """
    wanted = None if label is None else space.find(label).index
    chosen = [
        list(islice(_asked(source, wanted, split, seed), photos)) for source in sources
    ]
    of_each = _shares([len(indices) for indices in chosen], photos)
    if not sum(of_each):
        shown = "" if label is None else f" that shows {label!r}"
        names = ", ".join(data.name for data in config.data)
        raise DataError(f"{names}: no photo{shown} on the side {split!r}; `hemline data stats` counts them")
    look = partial(_cell, space=space)
    cells = []
    for source, indices, count in zip(sources, chosen, of_each, strict=True):
        for cell in visit(source.dataset, indices[:count], look, workers=config.workers):
            if isinstance(cell, HemlineError):
                raise cell
            cells.append(cell)
    names = " · ".join(plain_text(data.name) for data, count in zip(config.data, of_each, strict=True) if count)
    what = f"{len(cells)} photos" + ("" if label is None else f" that show {label}")
    said = [what, "all sides" if split == "all" else split, f"labels {space.name}", f"seed {seed}"]
    return _sheet(cells, names, plain_text(", ".join(said)))


def save_sheet(sheet: Image.Image, file: Path) -> None:
    """Write a sheet; the file is whole or not there.

    Raises:
        DataError: no such format or folder, or the sheet is too large for a file.
    """
    wrong_sheet_file(file)
    if max(sheet.size) > MOST_PIXELS:
        raise DataError(f"{file}: a sheet of {sheet.width} x {sheet.height} pixels is too large; ask for fewer photos")
    with whole_file(file) as temporary:
        sheet.save(temporary, FORMATS[file.suffix.lower()], quality=90)


def wrong_sheet_file(file: Path) -> None:
    """Refuse a file that no sheet can be written to, before any photo is read.

    Raises:
        DataError: no such format or folder.
    """
    if file.suffix.lower() not in FORMATS:
        raise DataError(f"{file}: a contact sheet is written as {', '.join(FORMATS)}")
    if not file.parent.is_dir():
        raise DataError(f"{file}: no folder {file.parent}; make it first")


def things_of(sample: Sample, space: LabelSpace) -> list[Thing]:
    """What is drawn in a photo, the largest first."""
    num = len(space.categories)
    told: dict[tuple[int, ...], tuple[NDArray[np.int8], NDArray[np.bool_]]] = {}
    for region in sample.regions:                         # of one garment several may speak, some of them in doubt
        if region.drawn and region.segments:
            labels, either = told.get(region.segments, (np.full_like(region.labels, UNKNOWN), region.labels > 1))
            if region.doubt == 0:
                labels = np.maximum(labels, region.labels)
            told[region.segments] = labels, np.logical_or.reduce([either, *region.one_of])
    found = []
    for segments, (labels, either) in told.items():
        mask = np.isin(sample.segments, segments)
        categories = np.flatnonzero(labels[:num] == 1).tolist()
        maybe = categories or np.flatnonzero(either[:num]).tolist()
        if mask.any():
            found.append((int(mask.sum()), mask, labels, categories, maybe))
    found.sort(key=lambda entry: -entry[0])
    colours = colours_of([space.categories[entry[4][0]].id if entry[4] else 0 for entry in found])
    return [
        Thing(
            name=" or ".join(space.categories[c].name for c in maybe) or "a garment",
            colour=colour,
            mask=mask,
            attributes=[label.name for label in space.labels if labels[label.index] == 1],
            categories=categories,
        )
        for (_, mask, labels, categories, maybe), colour in zip(found, colours, strict=True)
    ]


def _asked(source: Source, label: int | None, split: str, seed: int) -> Iterator[int]:
    """Photos of a side that show a label, in an order drawn by the seed."""
    side = source.side(split)
    order = np.random.default_rng(seed).permutation(len(side))
    for position in order.tolist():
        if label is None or source.dataset.photo_labels(side[position])[label] == 1:
            yield side[position]


def _shares(there: Sequence[int], count: int) -> list[int]:
    """How many photos of each dataset make `count`, as evenly as there are."""
    shares = [0] * len(there)
    while sum(shares) < min(count, sum(there)):
        open_sets = [i for i, num in enumerate(there) if shares[i] < num]
        shares[min(open_sets, key=lambda i: shares[i])] += 1
    return shares


# -- one photo -------------------------------------------------------------------------------------------------


def _cell(dataset: Dataset, index: int, space: LabelSpace) -> Image.Image:
    """A photo and its labels below."""
    sample = dataset[index]
    things = things_of(sample, space)
    photo = annotated(sample, things, size_within(sample.photo.shape[:2], CELL, TALLEST))
    caption = _caption(sample, dataset.photo_labels(index), things, space)
    cell = Image.new("RGB", (CELL, photo.height + caption.height), PAPER)
    cell.paste(photo, (0, 0))
    cell.paste(caption, (0, photo.height))
    return cell


def annotated(sample: Sample, things: Sequence[Thing], size: tuple[int, int], *, numbers: bool = True) -> Image.Image:
    """The photo at (width, height), with what is drawn on it."""
    smaller = size[0] < sample.photo.shape[1]
    picture = np.asarray(
        cv2.resize(sample.photo, size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC), np.uint8
    )
    unknown = unknown_segments(sample)
    if unknown.any() and (things or len(sample.targets) > 1):
        _hatch(picture, _fitted_mask(unknown[sample.segments], size))
    masks = [_fitted_mask(thing.mask, size) for thing in things]
    for mask, thing in zip(masks, things, strict=True):
        if mask.any():
            fill_and_outline(picture, mask, thing.colour, UNIT)
    if not numbers:
        return Image.fromarray(picture)
    places = place_tags([mask if mask.any() else None for mask in masks], 0.72 * UNIT)
    return draw_tags(picture, places, [thing.colour for thing in things], UNIT)


def size_within(photo: tuple[int, ...], width: int, height: int) -> tuple[int, int]:
    """(width, height) of a photo (height, width) that fits a box."""
    scale = min(width / photo[1], height / photo[0])
    return max(1, round(photo[1] * scale)), max(1, round(photo[0] * scale))


def _fitted_mask(mask: NDArray[np.bool_], size: tuple[int, int]) -> Pixels:
    """The mask at (width, height), 0 or 1; what is small does not vanish."""
    soft = np.asarray(cv2.resize(mask.astype(np.uint8) * 255, size, interpolation=cv2.INTER_AREA))
    return (soft >= min(128, max(1, int(soft.max())))).astype(np.uint8)


def _hatch(picture: Pixels, mask: Pixels) -> None:
    """Dim the pixels of a mask and draw slanted lines across them."""
    rows, columns = np.indices(mask.shape)
    inside = mask > 0
    line = inside & ((rows + columns) % 8 < 2)
    picture[inside] = (picture[inside] * 0.6 + 0.4 * 90).astype(np.uint8)
    picture[line] = 235


# -- the words below -------------------------------------------------------------------------------------------


def _caption(sample: Sample, labels: NDArray[np.int8], things: Sequence[Thing], space: LabelSpace) -> Image.Image:
    """Garments by number, then what is said of the photo as a whole, then how much is known."""
    pixels = np.full((round(4 * UNIT * (MOST_LINES + 4)), CELL, 3), PAPER, np.uint8)      # more than it takes
    font, small = font_of(UNIT), font_of(round(0.86 * UNIT))
    y, indent = 0.9 * UNIT, 1.9 * UNIT
    entries = []
    for thing in things[:MOST_LINES]:
        entries.append(y)
        disc(pixels, (0.8 * UNIT, y + 0.62 * UNIT), 0.62 * UNIT, thing.colour, UNIT)
        y += 1.6 * UNIT + 1.15 * UNIT * len(_wrapped(thing.attributes, small, CELL - indent, 2))
    image = Image.fromarray(pixels)
    pen = ImageDraw.Draw(image)
    for number, (thing, top) in enumerate(zip(things, entries, strict=False), start=1):
        disc_number(pen, (0.8 * UNIT, top + 0.62 * UNIT), number, thing.colour, UNIT)
        pen.text((indent, top), _cut(plain_text(thing.name), font, CELL - indent), INK, font)
        for i, line in enumerate(_wrapped(thing.attributes, small, CELL - indent, 2)):
            pen.text((indent, top + 1.3 * UNIT + 1.15 * UNIT * i), line, FAINT, small)
    if len(things) > MOST_LINES:
        pen.text((indent, y), f"and {len(things) - MOST_LINES} smaller ones", FAINT, small)
        y += 1.4 * UNIT
    drawn = {name for thing in things for name in [thing.name, *thing.attributes]}
    names = [c.name for c in space.categories] + [label.name for label in space.labels]
    words = [names[i] for i in np.flatnonzero(labels == 1) if names[i] not in drawn]
    shown = _wrapped(words, font if not things else small, CELL, 6)
    for line in shown or ([] if things else ["nothing is said to be shown"]):
        pen.text((0, y), line, INK if not things else FAINT, font if not things else small)
        y += 1.3 * UNIT
    known = f"{(labels == 1).sum()} yes, {(labels == 0).sum()} no, {(labels < 0).sum()} unknown"
    pen.text((0, y + 0.2 * UNIT), f"{known}{'' if things else '; nothing drawn'}", FAINT, small)
    pen.text((0, y + 1.4 * UNIT), _cut(plain_text(sample.key), small, CELL), FAINT, small)
    return image.crop((0, 0, CELL, round(y + 2.8 * UNIT)))


def _wrapped(words: Sequence[str], font: ImageFont.FreeTypeFont, width: float, most: int) -> list[str]:
    """Words between dots, in at most so many lines."""
    lines: list[str] = []
    for position, word in enumerate(map(plain_text, words)):
        joined = f"{lines[-1]} · {word}" if lines else word
        if lines and font.getlength(joined) <= width:
            lines[-1] = joined
        elif len(lines) == most:
            lines[-1] = _cut(f"{lines[-1]} · {len(words) - position} more", font, width)
            break
        else:
            lines.append(_cut(word, font, width))
    return lines


def _cut(text: str, font: ImageFont.FreeTypeFont, width: float) -> str:
    """The text, its end cut off where it is too long."""
    while len(text) > 1 and font.getlength(text) > width:
        text = text.removesuffix("…")[:-1] + "…"
    return text


# -- the sheet -------------------------------------------------------------------------------------------------


def _sheet(cells: Sequence[Image.Image], title: str, said: str) -> Image.Image:
    """Cells in rows below a title, about as wide as high times 1.5."""
    high = sum(cell.height for cell in cells) / len(cells)
    about = max(1, round((1.5 * len(cells) * high / (CELL + GAP)) ** 0.5))
    columns = min((about, about + 1, max(1, about - 1)), key=lambda count: -len(cells) % count)
    columns = min(columns, len(cells))
    rows = [cells[i : i + columns] for i in range(0, len(cells), columns)]
    top = 4 * UNIT + 2 * GAP
    width = max(columns, 2) * (CELL + GAP) + GAP
    sheet = Image.new("RGB", (width, top + sum(max(c.height for c in row) + GAP for row in rows)), PAPER)
    pen = ImageDraw.Draw(sheet)
    big, small = font_of(2 * UNIT), font_of(UNIT)
    pen.text((GAP, GAP), _cut(title, big, width - 2 * GAP), INK, big, stroke_width=0.3)
    pen.text((GAP, GAP + 2.7 * UNIT), _cut(said, small, width - 2 * GAP), FAINT, small)
    pen.line((GAP, top - GAP / 2, width - GAP, top - GAP / 2), DARK, 1)
    y = top
    for row in rows:
        for i, cell in enumerate(row):
            sheet.paste(cell, (GAP + i * (CELL + GAP), y))
        y += max(c.height for c in row) + GAP
    return sheet
