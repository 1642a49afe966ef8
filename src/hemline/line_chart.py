"""Curves over epochs as SVG text, drawn by hand, with a legend and the same figures as a table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import NamedTuple, TypeVar

from hemline.page import svg

T = TypeVar("T")

LEFT, TOP, WIDE, HIGH = 52, 10, 376, 200
"""Of the plot, in units of the picture; text is 12 high, so that it can be read on a phone."""
MOST_POINTS, MOST_ROWS = 300, 200
"""Of a curve and of the table: of longer runs, epochs evenly spaced, the first and the last among them."""
MOST_DOTS = 40
"""Epochs, up to which each has a dot."""
COLOURS, DASHES = 6, ("", "7 4", "2 3", "9 3 2 3", "14 4")

CHART_STYLE = """
.resumed{stroke:var(--faint);stroke-dasharray:3 4}
.curve{fill:none;stroke-width:2;stroke-linejoin:round}.legend svg{display:inline-block;width:26px;margin-right:6px}
"""


class Point(NamedTuple):
    """A figure of an epoch."""

    epoch: int
    value: float


Curves = Mapping[str, Sequence[Point]]
"""Curves by name, their points by epoch; an epoch that has no figure has no point."""


def line_chart(title: str, curves: Curves, marks: Sequence[int] = ()) -> str:
    """Curves in one picture, with a legend, and a table to open; text where there is no point at all.

    The vertical axis holds 0. Names are told apart by colour, and beyond six also by dashes.

    Args:
        title: Said by a screen reader, with where each curve begins and ends.
        curves: What is drawn.
        marks: Epochs after which the run was stopped and resumed, each a dashed line.
    """
    curves = {name: points for name, points in curves.items() if points}
    if not curves:
        return '<p class="said">No epoch has such a figure yet.</p>'
    said = "; ".join(f"{name}: {_said(points)}" for name, points in curves.items())
    legend = "".join(
        f'<li><svg viewBox="0 0 26 8" aria-hidden="true">{_stroke("M0 4H26", number)}</svg>{escape(name)} '
        f"{points[-1].value:.4g}</li>"
        for number, (name, points) in enumerate(curves.items())
    )
    picture = svg(LEFT + WIDE + 12, TOP + HIGH + 40, f"{title}. {said}", _plot(curves, marks), width=620)
    return f'{picture}<ul class="legend">{legend}</ul>{_table(title, curves)}'


def _said(points: Sequence[Point]) -> str:
    first, last = points[0], points[-1]
    at_last = f"{last.value:.4g} after epoch {last.epoch}"
    return at_last if first is last else f"{first.value:.4g} after epoch {first.epoch}, {at_last}"


def _plot(curves: Curves, marks: Sequence[int]) -> str:
    values = [point.value for points in curves.values() for point in points]
    epochs = [point.epoch for points in curves.values() for point in points]
    low, high, step = _axis(min(0.0, *values), max(0.0, *values))
    first, last = min(1, *epochs), max(epochs)

    def x(epoch: float) -> float:
        return LEFT + WIDE * ((epoch - first) / (last - first) if last > first else 0.5)

    def y(value: float) -> float:
        return TOP + HIGH * (high - value) / (high - low)

    parts = []
    for i in range(round((high - low) / step) + 1):
        at = low + i * step
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{LEFT + WIDE}" y1="{y(at):.1f}" y2="{y(at):.1f}"/>')
        label = f"{0.0 if abs(at) < step / 2 else at:.4g}"
        parts.append(f'<text class="axis" x="{LEFT - 7}" y="{y(at) + 4:.1f}" text-anchor="end">{label}</text>')
    every = max(1, math.ceil(_round_up((last - first) / 8)))
    for epoch in sorted({first, *range(every * math.ceil(first / every), last + 1, every)}):
        if epoch == first or x(epoch) - x(first) >= 24:
            parts.append(
                f'<line class="grid" x1="{x(epoch):.1f}" x2="{x(epoch):.1f}" y1="{TOP + HIGH}" y2="{TOP + HIGH + 4}"/>'
                f'<text class="axis" x="{x(epoch):.1f}" y="{TOP + HIGH + 18}" text-anchor="middle">{epoch}</text>'
            )
    middle = LEFT + WIDE / 2
    parts.append(f'<text class="axis" x="{middle}" y="{TOP + HIGH + 36}" text-anchor="middle">epoch</text>')
    for epoch in sorted({epoch for epoch in marks if first <= epoch <= last}):
        at = x(epoch)
        parts.append(
            f'<line class="resumed" x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{TOP + HIGH}">'
            f"<title>resumed after epoch {epoch}</title></line>"
        )
    for number, (name, points) in enumerate(curves.items()):
        shown = thinned(points, MOST_POINTS)
        path = "M" + "L".join(f"{x(point.epoch):.1f} {y(point.value):.1f}" for point in shown)
        parts.append(_stroke(path, number))
        for point in shown if last - first < MOST_DOTS else shown[-1:]:
            title = escape(f"{name}: {point.value:.4g} after epoch {point.epoch}")
            parts.append(
                f'<circle cx="{x(point.epoch):.1f}" cy="{y(point.value):.1f}" r="3" '
                f'style="fill:var(--c{number % COLOURS})"><title>{title}</title></circle>'
            )
    return "".join(parts)


def _stroke(path: str, number: int) -> str:
    dash = DASHES[number // COLOURS % len(DASHES)]
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    return f'<path class="curve" d="{path}" style="stroke:var(--c{number % COLOURS})"{dashed}/>'


def _axis(low: float, high: float) -> tuple[float, float, float]:
    """Round ends that hold both, and a round step between them."""
    if low == high:
        high = low + 1.0
    step = _round_up((high - low) / 5)
    return step * math.floor(low / step + 1e-9), step * math.ceil(high / step - 1e-9), step


def _round_up(value: float) -> float:
    """The least of 1, 2, 5 times a power of ten that is not below a value; 1 for 0."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= value * (1 - 1e-9))


def _table(title: str, curves: Curves) -> str:
    rows: dict[int, dict[str, float]] = {}
    for name, points in curves.items():
        for point in points:
            rows.setdefault(point.epoch, {})[name] = point.value
    epochs = thinned(sorted(rows), MOST_ROWS)
    heads = "".join(f'<th scope="col">{escape(name)}</th>' for name in ("epoch", *curves))
    body = "".join(
        f"<tr><td>{epoch}</td>"
        + "".join(f"<td>{rows[epoch][name]:.4g}</td>" if name in rows[epoch] else "<td></td>" for name in curves)
        + "</tr>"
        for epoch in epochs
    )
    part = "" if len(epochs) == len(rows) else f", {len(epochs)} of {len(rows)} epochs"
    return (
        f"<details><summary>as a table{part}</summary><div class='scroll'><table class='list'>"
        f"<caption>{escape(title)}</caption><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div></details>"
    )


def thinned(items: Sequence[T], most: int) -> list[T]:
    """At most so many of them, evenly spaced, the first and the last among them."""
    if len(items) <= most:
        return list(items)
    return [items[round(i * (len(items) - 1) / (most - 1))] for i in range(most)]
