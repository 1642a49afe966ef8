"""How answers show themselves in a notebook: as HTML, a picture beside a table; as PNG, the picture alone.

Where a notebook can show both, it takes HTML (JupyterLab, VS Code, nbconvert, forges); PNG serves consoles. What
cleans HTML of strangers drops `<style>`, and forges drop `style=` too. So nothing depends on them: swatches are
pictures of one pixel, and without any style the same words stand in the same order. Text and paper keep the page's own
colours, dark or light.

Whatever is shown has a bounded size, and says in a sentence what could not be shown: an exception here would be a
traceback in somebody's notebook.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Sequence
from html import escape
from io import BytesIO
from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import Image

from hemline.draw import MAX_ATTRIBUTES, RGB, draw, overlay
from hemline.errors import PhotoError
from hemline.vocabulary import Vocabulary, shop_words

if TYPE_CHECKING:
    from hemline.metadata import Metadata
    from hemline.result import Garment, Result

LONGEST = 560
"""The photo's long side, in pixels."""
WIDEST = 1400
"""The long side of a PNG with its legend, in pixels."""
SILHOUETTE = 240
"""The long side of a garment's own picture, in pixels."""
MAX_COLOURS = 6
"""Colours of one garment, at most."""
ROWS = 40
"""Garments and parts that a table lists, at most."""
LONGEST_TEXT = 90
"""Characters of one name, at most."""

_EDGE = "1px solid rgba(128,128,128,.35)"
_CELL = f"text-align:left;vertical-align:top;white-space:normal;padding:4px 10px 4px 0;border-bottom:{_EDGE}"
_ONE_LINE = _CELL.replace("white-space:normal", "white-space:nowrap")
_TABLE = "border-collapse:collapse;color:inherit;font-size:inherit"
_FAINT = "opacity:.7"
_GREY = (128, 128, 128)


# -- a photo's answer ------------------------------------------------------------------------------------------


def result_html(result: Result) -> str:
    """The photo with its garments outlined, beside a table of them; the table alone where the photo is gone."""
    pieces = result.garments_and_parts
    marks: Sequence[RGB | None]
    try:
        picture, colours, _ = overlay(result.pixels, result, LONGEST)
    except PhotoError as error:
        left, marks = f"<p>{_text(str(error), 4 * LONGEST_TEXT)}</p>", [None] * len(pieces)
    else:
        left, marks = _image(picture, f"{_count(result)} outlined"), colours
    held = {id(part) for garment in result.garments for part in garment.parts}
    rows = [
        _row(piece, result.vocabulary, f"{_swatch(mark)}{number}", held=id(piece) in held)
        for number, (piece, mark) in enumerate(zip(pieces[:ROWS], marks, strict=False), start=1)
    ]
    table = _table(rows, result.vocabulary, numbered=True) if rows else ""
    more = f"<p>and {len(pieces) - ROWS} more</p>" if len(pieces) > ROWS else ""
    height, width = result.size
    title = f"<b>{_count(result)}</b><br><span style=\"{_FAINT}\">{_text(result.photo)}, {width} x {height}</span>"
    return _beside(left, f"<div>{title}</div>{table}{more}")


def result_png(result: Result) -> bytes | None:
    """The photo with its garments outlined, beside its legend, as PNG; None where the photo is gone."""
    try:
        picture = draw(result.pixels, result, LONGEST)
    except PhotoError:
        return None
    picture.thumbnail((WIDEST, WIDEST))
    return _png(picture.quantize(256, Image.Quantize.FASTOCTREE))


def _count(result: Result) -> str:
    count = len(result.garments)
    return f"{count} garment{'' if count == 1 else 's'}" if count else "no garment found"


# -- one garment -----------------------------------------------------------------------------------------------


def garment_html(garment: Garment) -> str:
    """Where the garment lies in its photo, beside a table of it and its parts."""
    picture = _silhouette(garment)
    rows = [_row(garment, None, "", held=False), *(_row(part, None, "", held=True) for part in garment.parts[:ROWS])]
    left = "" if picture is None else _image(picture, f"where the {garment.category} is")
    return _beside(left, _table(rows, None, numbered=False))


def garment_png(garment: Garment) -> bytes | None:
    """Where the garment lies in its photo, as PNG; None where that is not known."""
    picture = _silhouette(garment)
    return None if picture is None else _png(picture)


def _silhouette(garment: Garment) -> Image.Image | None:
    """The garment's shape in its largest colour, in a frame of the photo's form, all else transparent."""
    if garment.mask is None:
        return None
    mask = garment.mask.astype(np.uint8)
    scale = SILHOUETTE / max(mask.shape)
    size = max(3, round(mask.shape[1] * scale)), max(3, round(mask.shape[0] * scale))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST
    alpha = np.asarray(cv2.resize(mask * np.uint8(255), size, interpolation=method), np.uint8)
    colour = next((rgb for found in garment.colours if (rgb := _rgb(found.hex)) is not None), _GREY)
    picture = np.empty((size[1], size[0], 4), np.uint8)
    picture[..., :3], picture[..., 3] = colour, alpha
    outlines, _ = cv2.findContours((alpha >= 128).astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(picture, outlines, -1, (*_GREY, 255), 1)
    cv2.rectangle(picture, (0, 0), (size[0] - 1, size[1] - 1), (*_GREY, 255), 1)
    return Image.fromarray(picture)


# -- what weights know -----------------------------------------------------------------------------------------


def labels_html(metadata: Metadata) -> str:
    """The words that weights can answer with, as a table: categories, then attribute groups."""
    space = metadata.labels
    rows = [("category", [category.name for category in space.categories if category.shown])]
    rows += [(g.name, [label.name for label in g.labels if label.shown]) for g in space.groups if g.shown]
    body = "".join(
        f'<tr><th scope="row" style="{_CELL}">{_text(name)}</th>'
        f'<td style="{_CELL}">{" · ".join(_text(word) for word in words)}</td></tr>'
        for name, words in rows
        if words
    )
    terms = f", {_text(metadata.license)}" if metadata.license else ""
    return f'<div><b>{_text(metadata.name)}</b>{terms}</div><table style="{_TABLE}">{body}</table>'


# -- pieces ----------------------------------------------------------------------------------------------------


def _beside(left: str, right: str) -> str:
    return (
        '<div style="display:flex;flex-wrap:wrap;gap:20px;align-items:flex-start">'
        f'<div>{left}</div><div style="flex:1 1 360px;max-width:760px">{right}</div></div>'
    )


def _table(rows: list[str], vocabulary: Vocabulary | None, *, numbered: bool) -> str:
    heads = [*([""] if numbered else []), "garment", "score", "area", "colours", "attributes"]
    if vocabulary is not None:
        heads.append(vocabulary.name)
    cells = "".join(f'<th scope="col" style="{_CELL}">{_text(head)}</th>' for head in heads)
    return f'<table style="{_TABLE}"><thead><tr>{cells}</tr></thead><tbody>{"".join(rows)}</tbody></table>'


def _row(garment: Garment, vocabulary: Vocabulary | None, mark: str, *, held: bool) -> str:
    """A garment, or a part that its garment holds; `mark` is the markup of its number on the photo."""
    surest = sorted(garment.attributes, key=lambda attribute: -attribute.score)[:MAX_ATTRIBUTES]
    notes = [_text(attribute.label) for attribute in surest]
    if garment.found_by == "label":
        notes.append("named by the whole photo")
    colours = "<br>".join(
        f"{_swatch(_rgb(colour.hex))}{_text(colour.shade or colour.name)} {colour.share:.0%}"
        for colour in garment.colours[:MAX_COLOURS]
    )
    area = "" if garment.drawn is None else "under 1%" if garment.area < 0.01 else f"{garment.area:.0%}"
    name = f"<b>{_text(garment.category)}</b>" if not held else f"↳ {_text(garment.category)}"
    cells = [*([mark] if mark else []), name, f"{garment.score:.2f}", area, colours, " · ".join(notes)]
    if vocabulary is not None:
        cells.append("" if held else _in_words_of(vocabulary, garment))
    styles = [_ONE_LINE if cell in (mark, colours, area) else _CELL for cell in cells]
    return "<tr>" + "".join(f'<td style="{s}">{cell}</td>' for s, cell in zip(styles, cells, strict=True)) + "</tr>"


def _in_words_of(vocabulary: Vocabulary, garment: Garment) -> str:
    words = shop_words(garment, vocabulary)
    said = [words.category] if words.category else []
    said += [f"{attribute.attribute}: {attribute.value}" for attribute in words.attributes[:MAX_ATTRIBUTES]]
    said += [", ".join(words.colours)] if words.colours else []
    return "<br>".join(_text(line) for line in said)


def _text(text: str, longest: int = LONGEST_TEXT) -> str:
    """A text as markup: its end alone where it is long, and a sign for each character that no page may hold."""
    short = text if len(text) <= longest else "…" + text[1 - longest :]
    return escape(re.sub("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]", "\ufffd", short))


def _rgb(code: str) -> RGB | None:
    """`#1b2436` as numbers; None for anything else."""
    if re.fullmatch("#[0-9a-fA-F]{6}", code) is None:
        return None
    red, green, blue = bytes.fromhex(code[1:])
    return red, green, blue


def _swatch(colour: RGB | None) -> str:
    if colour is None:
        return ""
    pixel = b64encode(_png(Image.new("RGB", (1, 1), colour))).decode("ascii")
    style = f"display:inline-block;vertical-align:-1px;margin:0 2px 0 0;border:{_EDGE}"
    return f'<img alt="" width="12" height="12" style="{style}" src="data:image/png;base64,{pixel}"> '


def _image(picture: Image.Image, said: str) -> str:
    """A picture as markup: JPEG, or PNG where some of it is transparent; a screen reader says `said`."""
    if picture.mode == "RGBA":
        kind, data = "png", _png(picture)
    else:
        kind, data = "jpeg", _saved(picture, "JPEG", quality=88)
    source = f"data:image/{kind};base64,{b64encode(data).decode('ascii')}"
    return f'<img alt="{_text(said)}" width="{picture.width}" height="{picture.height}" src="{source}">'


def _png(picture: Image.Image) -> bytes:
    return _saved(picture, "PNG", optimize=True)


def _saved(picture: Image.Image, form: str, **options: int | bool) -> bytes:
    buffer = BytesIO()
    picture.save(buffer, form, **options)
    return buffer.getvalue()
