"""What Hemline's HTML pages share: the document, cards, tiles, tables, SVG; one file, no network, no library.

Every function escapes the texts that it is given; what is called a body or markup is HTML already.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from hemline import __version__
from hemline._page_style import SCRIPT, STYLE


def document(title: str, body: str, made_by: str, *, style: str = "") -> str:
    """A page as text.

    Args:
        title: Of the browser's tab.
        body: Markup of `header`, `nav` and `main`.
        made_by: The command, for the line at the end.
        style: CSS beside the common one.
    """
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}{style}</style></head><body>{body}"
        f"<footer>hemline {escape(__version__)}, {escape(made_by)}</footer><script>{SCRIPT}</script></body></html>\n"
    )


def card(title: str, said: str, body: str) -> str:
    """A framed piece of a page."""
    return f'<div class="card"><h3>{escape(title)}</h3><p class="said">{escape(said)}</p>{body}</div>'


def tiles(figures: Sequence[tuple[str, str, str]]) -> str:
    """A few figures side by side: of each its name, the figure, and what is to be said of it."""
    body = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}<small>{escape(said)}</small></dd></div>"
        for name, value, said in figures
    )
    return f'<dl class="tiles">{body}</dl>'


def sort_table(heads: Sequence[tuple[str, str]], rows: Sequence[str]) -> str:
    """A table that a click on a heading sorts.

    Args:
        heads: The headings, and whether a first click sorts `ascending` or `descending`; "" sorts nothing.
        rows: Markup of the rows, cells with their `data-value` where it is not their text.
    """
    cells = "".join(
        f'<th scope="col" data-first="{first}"><button>{escape(head)}</button></th>'
        if first else f'<th scope="col">{escape(head)}</th>'
        for head, first in heads
    )  # fmt: skip
    return (
        f'<div class="scroll"><table class="list"><thead><tr>{cells}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def svg(wide: float, high: float, title: str, body: str, *, width: int = 900) -> str:
    """A picture of (wide, high) units, at most `width` pixels wide; a screen reader says its title."""
    return (
        f'<svg viewBox="0 0 {wide:g} {high:g}" style="max-width:{width}px" role="img" '
        f'aria-label="{escape(title)}">{body}</svg>'
    )
