"""A contact sheet: a photo and what was found for it, each with its garment framed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from hemline.catalog.items import Item, read_item
from hemline.catalog.similar import Hit
from hemline.draw import fitted, font_of, plain_text
from hemline.errors import PhotoError
from hemline.photo import read_photo
from hemline.result import Garment, Result

CELL = 240, 320
"""Width and height of a photo's place, in pixels."""
LINE, GAP, ACROSS = 20, 12, 6
FRAME, PAPER, INK, FAINT = "#ff2d78", "#ffffff", "#202020", "#e8e8e8"

Box = tuple[int, int, int, int]


def contact_sheet(result: Result, garment: Garment, hits: Sequence[Hit]) -> Image.Image:
    """The photo that was asked about, then the hits in their order; RGB.

    A photo that cannot be read any more leaves its place empty.
    """
    cells = [_cell(result.pixels, garment.box, garment.category, result.photo)]
    for hit in hits:
        cells.append(_cell(_read(hit.path), hit.box, f"{hit.similarity:.3f}  {hit.category}", hit.path))
    across = min(ACROSS, len(cells))
    down = -(-len(cells) // across)
    width, height = CELL[0] + GAP, CELL[1] + 2 * LINE + GAP
    sheet = Image.new("RGB", (across * width + GAP, down * height + GAP), PAPER)
    for number, cell in enumerate(cells):
        sheet.paste(cell, (GAP + number % across * width, GAP + number // across * height))
    return sheet


def _read(path: str) -> NDArray[np.uint8] | None:
    try:
        return read_photo(read_item(Item(path, {})) if "://" in path else path)
    except PhotoError:
        return None


def _cell(photo: NDArray[np.uint8] | None, box: Box | None, title: str, path: str) -> Image.Image:
    cell = Image.new("RGB", (CELL[0], CELL[1] + 2 * LINE), PAPER)
    pen = ImageDraw.Draw(cell)
    font = font_of(13)
    if photo is None:
        pen.rectangle((0, 0, CELL[0] - 1, CELL[1] - 1), fill=FAINT)
        pen.text((10, CELL[1] // 2), "cannot be read", fill=INK, font=font)
    else:
        picture = Image.fromarray(photo)
        scale = min(CELL[0] / picture.width, CELL[1] / picture.height)
        size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
        left, top = (CELL[0] - size[0]) // 2, (CELL[1] - size[1]) // 2
        cell.paste(picture.resize(size, Image.Resampling.LANCZOS), (left, top))
        if box is not None:
            x, y, width, height = (round(side * scale) for side in box)
            x, y = left + x, top + y
            pen.rectangle((x, y, x + max(width, 2), y + max(height, 2)), outline=FRAME, width=2)
    name = path.replace("\\", "/").rpartition("/")[2]
    for line, text in enumerate((title, name)):
        pen.text((0, CELL[1] + 2 + line * LINE), fitted(plain_text(text), font, CELL[0]), fill=INK, font=font)
    return cell
