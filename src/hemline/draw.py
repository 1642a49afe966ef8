"""The photo with every garment filled, outlined and numbered, beside a legend that says what the numbers mean.

Colours stay apart for colour-blind eyes, and one category keeps its colour from photo to photo; numbers say the same
without colour. Outlines are dark with a light core, so that they show on any photo. Sizes follow the photo: `unit`
is the height of a line of text in pixels.
"""

from __future__ import annotations

import unicodedata
from bisect import bisect_left
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, ImageOps

if TYPE_CHECKING:
    from hemline.result import Garment, Result

RGB = tuple[int, int, int]
Pixels = NDArray[np.uint8]

PALETTE: tuple[RGB, ...] = (
    (0, 114, 178), (230, 159, 0), (0, 158, 115), (204, 121, 167), (86, 180, 233), (213, 94, 0), (240, 228, 66),
    (221, 204, 119), (160, 110, 255), (102, 37, 6), (51, 34, 136), (255, 240, 200), (60, 60, 60), (200, 230, 255),
)  # fmt: skip
"""Okabe and Ito's seven (https://jfly.uni-koeln.de/color/), then the farthest from them and from each other."""
SHORTEST, LONGEST = 640, 6000
"""The photo's long side is drawn no shorter and no longer than this, in pixels."""
FILL = 0.24
"""How much of a garment's fill is colour; the rest is the photo."""
DARK, LIGHT, PAPER, INK, FAINT = (24, 24, 27), (255, 255, 255), (250, 250, 249), (28, 28, 32), (112, 112, 120)
MAX_ATTRIBUTES = 6


class Tag(NamedTuple):
    """A numbered disc on the photo."""

    centre: tuple[float, float]
    """x, y in pixels."""
    anchor: tuple[float, float] | None
    """Where a line from the disc ends; None where the disc lies on its garment."""


def draw(photo: Pixels, result: Result, longest: int = LONGEST) -> Image.Image:
    """Draw an answer.

    Args:
        photo: (H, W, 3) RGB.
        result: What was found in it.
        longest: As of `overlay`.

    Returns:
        An RGB picture: the photo on the left, enlarged where it is too small to write on, and the legend on the right.
    """
    drawn, colours, unit = overlay(photo, result, longest)
    legend = _legend(result, colours, unit, drawn.height)
    sheet = Image.new("RGB", (drawn.width + legend.width, max(drawn.height, legend.height)), PAPER)
    sheet.paste(drawn, (0, 0))
    sheet.paste(legend, (drawn.width, 0))
    return sheet


def overlay(photo: Pixels, result: Result, longest: int = LONGEST) -> tuple[Image.Image, list[RGB], int]:
    """Draw an answer on its photo alone, without the legend.

    Args:
        photo: (H, W, 3) RGB.
        result: What was found in it.
        longest: The photo's long side is drawn no longer than this, in pixels.

    Returns:
        The photo as RGB, the colour of each of the result's `garments_and_parts`, and the height of a line in pixels.
    """
    size, unit = _sizes(photo.shape[0], photo.shape[1], longest)
    method = cv2.INTER_AREA if size[0] < photo.shape[1] else cv2.INTER_CUBIC
    picture = np.asarray(cv2.resize(photo, size, interpolation=method), np.uint8)
    pieces = result.garments_and_parts
    colours = colours_of([piece.category_id for piece in pieces])
    masks = [_resize(piece.mask, size) for piece in pieces]
    garments = {id(garment) for garment in result.garments}
    for i in sorted(range(len(pieces)), key=lambda i: id(pieces[i]) not in garments):  # parts lie on garments
        if (mask := masks[i]) is not None:
            fill_and_outline(picture, mask, colours[i], unit)
    return draw_tags(picture, place_tags(masks, 0.72 * unit), colours, unit), colours, unit


def _sizes(height: int, width: int, longest: int) -> tuple[tuple[int, int], int]:
    """The drawn photo's (width, height), and the unit."""
    scale = min(max(1.0, SHORTEST / max(height, width)), longest / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return size, max(13, round((size[0] * size[1]) ** 0.5 / 38))


def _resize(mask: NDArray[np.bool_] | None, size: tuple[int, int]) -> Pixels | None:
    """The mask at the drawn size, 0 or 1, its steps smoothed where it grows; None where nothing is left to draw."""
    if mask is None:
        return None
    soft = cv2.resize(mask.astype(np.uint8) * 255, size, interpolation=cv2.INTER_LINEAR)
    drawn = (np.asarray(soft) >= 128).astype(np.uint8)
    return drawn if drawn.any() else None


def colours_of(categories: Sequence[int]) -> list[RGB]:
    """A colour for each garment by its category's id, or the next that fewest garments before it have."""
    taken: list[int] = []
    for category in categories:
        choice = category % len(PALETTE)
        while taken.count(choice) > len(taken) // len(PALETTE):
            choice = (choice + 5) % len(PALETTE)
        taken.append(choice)
    return [PALETTE[choice] for choice in taken]


# -- on the photo ----------------------------------------------------------------------------------------------


def fill_and_outline(picture: Pixels, mask: Pixels, colour: RGB, unit: int) -> None:
    """Fill a mask (H, W) of 0 and 1 with a colour on a picture, and outline it; `unit` is the height of a line."""
    x, y, width, height = cv2.boundingRect(mask)
    crop = slice(y, y + height), slice(x, x + width)
    inside = mask[crop].view(np.bool_)
    tinted = picture[crop][inside] * (1 - FILL) + np.array(colour) * FILL
    picture[crop][inside] = tinted.astype(np.uint8)
    outlines, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_TC89_L1)
    thin = max(1, round(unit / 9))
    for stroke, thickness in ((DARK, thin + 2 * max(1, round(unit / 14))), (_light(colour), thin)):
        cv2.polylines(picture, outlines, True, stroke, thickness, cv2.LINE_AA)


def _light(colour: RGB) -> RGB:
    """The colour, bright enough to stand out from a dark edge."""
    red, green, blue = (round(255 - (255 - value) * 0.55) for value in colour)
    return red, green, blue


def place_tags(masks: Sequence[Pixels | None], radius: float) -> dict[int, Tag]:
    """A place for the tag of each mask: on the garment where it is wide enough, else beside it with a line.

    Tags do not overlap where there is room. Worked out on small copies of the masks.
    """
    sides = next((mask.shape for mask in masks if mask is not None), None)
    if sides is None:
        return {}
    scale = max(1.0, max(sides) / 320)
    small = (max(1, round(sides[1] / scale)), max(1, round(sides[0] / scale)))
    shrunk = {i: _shrink(mask, small) for i, mask in enumerate(masks) if mask is not None}
    covered = np.maximum.reduce(list(shrunk.values()))
    reach = radius / scale
    free = np.ones(covered.shape, np.uint8)                       # 0 where another tag would be overlapped
    places: dict[int, Tag] = {}
    depths = {i: cv2.distanceTransform(np.pad(mask, 1), cv2.DIST_L2, 3)[1:-1, 1:-1] for i, mask in shrunk.items()}
    for i in sorted(shrunk, key=lambda i: -float(depths[i].max())):
        depth = np.asarray(depths[i], np.float32)
        if (depth * free).max() >= 1.2 * reach:
            spot, anchor = _peak(depth * free), None
        else:
            spot = _peak(_outside(shrunk[i], covered, free, reach))
            anchor = _nearest(depth >= 0.6 * depth.max(), spot)
        places[i] = Tag(_scaled(spot, scale), None if anchor is None else _scaled(anchor, scale))
        cv2.circle(free, spot, int(2.3 * reach) + 1, 0, -1)
    return places


def _outside(mask: Pixels, covered: Pixels, free: Pixels, reach: float) -> NDArray[np.float32]:
    """How well a tag would stand at each place beside a small garment; best close by, on no other garment."""
    gap = np.asarray(cv2.distanceTransform(1 - mask, cv2.DIST_L2, 3), np.float32)
    frame = np.zeros_like(mask)
    margin = int(np.ceil(1.2 * reach))
    frame[margin:-margin, margin:-margin] = 1
    columns = np.arange(mask.shape[1], dtype=np.float32)
    aside = np.abs(columns - columns[mask.any(0)].mean()) / mask.shape[1]      # sideways, away from what hangs below
    near = np.where(gap >= 1.6 * reach, 1 / (1 + gap / reach), 0.0)
    return np.asarray((near + 0.05 * aside) * free * frame * (1 - 0.5 * covered), np.float32)


def _shrink(mask: Pixels, size: tuple[int, int]) -> Pixels:
    """The mask at a smaller size, where no part of it vanishes."""
    share = np.asarray(cv2.resize(mask * np.uint8(255), size, interpolation=cv2.INTER_AREA))
    return (share >= min(64, max(1, int(share.max())))).astype(np.uint8)


def _peak(values: NDArray[np.float32]) -> tuple[int, int]:
    y, x = np.unravel_index(int(np.argmax(values)), values.shape)
    return int(x), int(y)


def _nearest(mask: NDArray[np.bool_], to: tuple[int, int]) -> tuple[int, int]:
    y, x = np.nonzero(mask)
    nearest = int(np.argmin((x - to[0]) ** 2 + (y - to[1]) ** 2))
    return int(x[nearest]), int(y[nearest])


def _scaled(point: tuple[int, int], scale: float) -> tuple[float, float]:
    return (point[0] + 0.5) * scale, (point[1] + 0.5) * scale


def draw_tags(picture: Pixels, places: dict[int, Tag], colours: Sequence[RGB], unit: int) -> Image.Image:
    """Draw the discs where `place_tags` put them, numbered from 1, each in the colour of its garment."""
    thin = max(1, round(unit / 9))
    for tag in places.values():
        if tag.anchor is not None:
            ends = [tuple(round(16 * value) for value in point) for point in (tag.centre, tag.anchor)]
            for colour, thickness in ((DARK, 3 * thin), (LIGHT, thin)):
                cv2.line(picture, ends[0], ends[1], colour, thickness, cv2.LINE_AA, shift=4)
    for i, tag in places.items():
        disc(picture, tag.centre, 0.72 * unit, colours[i], unit)
    image = Image.fromarray(picture)
    pen = ImageDraw.Draw(image)
    for i, tag in places.items():
        disc_number(pen, tag.centre, i + 1, colours[i], unit)
    return image


def disc(picture: Pixels, centre: tuple[float, float], radius: float, colour: RGB, unit: int) -> None:
    """A disc with a light and a dark rim."""
    at = round(centre[0] * 16 - 8), round(centre[1] * 16 - 8)
    rim = max(1.0, unit / 16)
    for fill, more in ((DARK, 2 * rim), (LIGHT, rim), (colour, 0.0)):
        cv2.circle(picture, at, round((radius + more) * 16), fill, -1, cv2.LINE_AA, shift=4)


def disc_number(pen: ImageDraw.ImageDraw, centre: tuple[float, float], number: int, colour: RGB, unit: int) -> None:
    """Write the number of a disc that `disc` drew."""
    bright = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2] > 140
    font = font_of(round(unit * (0.95 if number < 10 else 0.78)))
    pen.text(centre, str(number), INK if bright else LIGHT, font, anchor="mm", stroke_width=unit / 60)


# -- the legend ------------------------------------------------------------------------------------------------


def _legend(result: Result, colours: Sequence[RGB], unit: int, height: int) -> Image.Image:
    """The legend, in as many columns as suit a photo of `height` pixels."""
    width, margin = 17 * unit, unit
    entries = [_title(result, unit, width)]
    pieces = [(piece, piece is not garment) for garment in result.garments for piece in (garment, *garment.parts)]
    for number, ((piece, held), colour) in enumerate(zip(pieces, colours, strict=True), start=1):
        indent = held * unit                             # a part stands below its garment
        entry = _entry(number, piece, colour, unit, width - indent)
        entries.append(ImageOps.expand(entry, (indent, 0, 0, 0), PAPER))
    total = sum(entry.height for entry in entries)
    count = max(1, round(total / (max(height, 30 * unit) - 2 * margin)))
    columns: list[list[Image.Image]] = [[] for _ in range(count)]
    done = 0
    for entry in entries:
        columns[min(count - 1, count * (done + entry.height // 2) // total)].append(entry)
        done += entry.height
    tallest = max(sum(entry.height for entry in column) for column in columns)
    sheet = Image.new("RGB", (len(columns) * (width + margin) + margin, tallest + 2 * margin), PAPER)
    for i, column in enumerate(columns):
        y = margin
        for entry in column:
            sheet.paste(entry, (margin + i * (width + margin), y))
            y += entry.height
    return sheet


def _title(result: Result, unit: int, width: int) -> Image.Image:
    image = Image.new("RGB", (width, round(2.9 * unit)), PAPER)
    pen, small = ImageDraw.Draw(image), font_of(round(0.8 * unit))
    count = len(result.garments)
    said = f"{count} garment{'' if count == 1 else 's'}" if count else "no garment found"
    pen.text((0, 0), said, INK, font_of(round(1.25 * unit)), stroke_width=unit / 60)
    pen.text((0, 1.5 * unit), fitted(plain_text(result.photo), small, width), FAINT, small)
    return image


def _entry(number: int, garment: Garment, colour: RGB, unit: int, width: int) -> Image.Image:
    """One garment: its number, name and score, then attributes, then its own colours."""
    indent = round(2.25 * unit)
    pixels = np.full((14 * unit, width, 3), PAPER, np.uint8)
    centre = 0.95 * unit, 1.05 * unit
    disc(pixels, centre, 0.72 * unit, colour if garment.drawn is not None else PAPER, unit)
    image = Image.fromarray(pixels)
    pen = ImageDraw.Draw(image)
    disc_number(pen, centre, number, colour if garment.drawn is not None else PAPER, unit)
    font, small = font_of(unit), font_of(round(0.82 * unit))
    score = f"{garment.score:.2f}"
    name = fitted(plain_text(garment.category), font, width - indent - round(font.getlength(score)) - unit)
    pen.text((indent, 0.42 * unit), name, INK, font, stroke_width=unit / 70)
    pen.text((width, 0.42 * unit), score, FAINT, font, anchor="ra")
    y = 1.75 * unit
    for line in _notes(garment, small, width - indent):
        pen.text((indent, y), line, FAINT, small)
        y += 1.1 * unit
    y = _swatches(pen, garment, small, (indent, y + 0.1 * unit), unit, width)
    return image.crop((0, 0, width, round(y + 0.55 * unit)))


def _notes(garment: Garment, font: ImageFont.FreeTypeFont, width: int) -> list[str]:
    """Attributes, surest first, in lines that fit; and a word where the mask is not the network's own answer."""
    surest = sorted(garment.attributes, key=lambda attribute: -attribute.score)[:MAX_ATTRIBUTES]
    words = [plain_text(attribute.label) for attribute in surest]
    if garment.found_by == "label":
        words += ["named by the whole photo", "place unknown" if garment.drawn is None else "place guessed"]
    lines: list[str] = []
    for word in words:
        joined = f"{lines[-1]} · {word}" if lines else word
        if lines and font.getlength(joined) <= width:
            lines[-1] = joined
        else:
            lines.append(fitted(word, font, width))
    return lines


def _swatches(
    pen: ImageDraw.ImageDraw,
    garment: Garment,
    font: ImageFont.FreeTypeFont,
    start: tuple[float, float],
    unit: int,
    width: int,
) -> float:
    """The garment's colours, each a square and its name, in as many lines as they need; the y below them."""
    side, (x, y) = 0.85 * unit, start
    if not garment.colours:
        return y
    for colour in garment.colours:
        text = f"{colour.shade or colour.name} {colour.share:.0%}"
        wide = side + 0.4 * unit + font.getlength(text)
        if x > start[0] and x + wide > width:
            x, y = start[0], y + 1.25 * unit
        pen.rectangle((x, y, x + side, y + side), colour.hex, (160, 160, 166), max(1, round(unit / 18)))
        pen.text((x + side + 0.4 * unit, y + side / 2), text, INK, font, anchor="lm")
        x += wide + 0.9 * unit
    return y + 1.25 * unit


def plain_text(text: str) -> str:
    """The text in signs that the built-in font has."""
    return unicodedata.normalize("NFKD", text).encode("ascii", "replace").decode("ascii").replace("?", "_")


def fitted(text: str, font: ImageFont.FreeTypeFont, width: float) -> str:
    """The text, its beginning cut off where it is too long: the end of a path says more. Empty where nothing fits."""
    if font.getlength(text) <= width:
        return text
    start = bisect_left(range(len(text)), True, 1, key=lambda cut: font.getlength("…" + text[cut:]) <= width)
    return "…" + text[start:] if start < len(text) else ""


@lru_cache(maxsize=32)
def font_of(size: int) -> ImageFont.FreeTypeFont:
    """The built-in font at a size in pixels."""
    font = ImageFont.load_default(size)
    if not isinstance(font, ImageFont.FreeTypeFont):              # a Pillow built without FreeType
        raise ImportError("drawing needs a Pillow with FreeType: pip install --force-reinstall pillow")
    return font
