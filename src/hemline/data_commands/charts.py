"""Plots as HTML and SVG text, drawn by hand: no library, no network, dark and light by CSS.

Every function returns markup whose texts are escaped. What a plot shows by colour or length stands in it as text too,
or in a title that a pointer and a screen reader find.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from itertools import pairwise

from hemline.data_commands.stats import AREA_EDGES, Area, Sizes
from hemline.data_commands.stats_table import percent
from hemline.page import svg

Cell = tuple[float, str, str] | None
"""A heat map's cell: heat 0..1, the text in it, the title; None where nothing is known."""


def bar(yes: int, no: int, unknown: int, *, most: int) -> str:
    """How many photos show a label, on a scale that ends at `most`; the title says how many do not and are unknown."""
    total = max(1, yes + no + unknown)
    width = 100 * yes / max(1, most)
    said = f"{yes:,} yes, {no:,} no, {unknown:,} unknown ({percent(unknown / total)})"
    left = max(width, 0.8 if yes else 0)
    return f'<div class="bar" title="{escape(said)}"><i style="width:{left:.2f}%"></i></div>'


def known_bar(yes: int, no: int, unknown: int) -> str:
    """How the photos divide: yes, no, unknown (hatched)."""
    total = max(1, yes + no + unknown)
    parts = (("yes", yes), ("no", no), ("unknown", unknown))
    spans = "".join(f'<i class="{name}" style="width:{100 * n / total:.2f}%"></i>' for name, n in parts if n)
    said = ", ".join(f"{n:,} {name} ({percent(n / total)})" for name, n in parts)
    return f'<div class="split" role="img" aria-label="{said}" title="{said}">{spans}</div>'


def parts_bar(parts: Mapping[str, float]) -> str:
    """A whole that parts make, with a legend."""
    total = sum(parts.values()) or 1
    spans, legend = [], []
    for number, (name, value) in enumerate(parts.items()):
        said = escape(f"{name}: {value:,.0f} ({percent(value / total)})")
        spans.append(f'<i class="c{number % 6}" style="width:{100 * value / total:.2f}%" title="{said}"></i>')
        legend.append(f'<li><b class="c{number % 6}"></b>{said}</li>')
    return f'<div class="split tall">{"".join(spans)}</div><ul class="legend">{"".join(legend)}</ul>'


def heat_map(
    rows: Sequence[str], columns: Sequence[str], cells: Sequence[Sequence[Cell]], corner: str, *, turned: bool = True
) -> str:
    """A table whose cells are coloured by their heat."""
    head = "".join(f'<th scope="col"><span>{escape(name)}</span></th>' for name in columns)
    body = []
    for name, row in zip(rows, cells, strict=True):
        tds = []
        for cell in row:
            if cell is None:
                tds.append('<td class="none" title="unknown"></td>')
                continue
            heat, text, title = cell
            strong = ' class="hot"' if heat > 0.72 else ""
            tds.append(f'<td{strong} style="--a:{heat:.2f}" title="{escape(title)}">{escape(text)}</td>')
        body.append(f'<tr><th scope="row">{escape(name)}</th>{"".join(tds)}</tr>')
    kind = "heat turned" if turned else "heat wide"
    return (
        f'<div class="scroll"><table class="{kind}"><thead><tr><td>{escape(corner)}</td>{head}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


def area_strips(areas: Sequence[Area]) -> str:
    """How mask areas spread: for each class its histogram as a violin on a logarithmic axis, and its quartiles."""
    left, width, high = 210, 620, 30
    first = max(-5, math.floor(min(math.log10(max(area.percentiles[0], 1e-5)) for area in areas)))

    def x(share: float) -> float:
        return left + width * (max(math.log10(max(share, 1e-9)), first) - first) / -first

    bottom = 26 + high * len(areas)
    parts = []
    for power in range(first, 1):
        at = x(10.0**power)
        parts.append(f'<line class="grid" x1="{at:.1f}" x2="{at:.1f}" y1="20" y2="{bottom}"/>')
        parts.append(f'<text class="axis" x="{at:.1f}" y="13" text-anchor="middle">{percent(10.0**power)}</text>')
    for number, area in enumerate(areas):
        y = 20 + high * number + high / 2
        p5, q1, median, q3, p95 = area.percentiles
        said = (
            f"{area.name}: {area.count:,} masks, median {percent(median)}, half of them {percent(q1)} to "
            f"{percent(q3)}, nine of ten {percent(p5)} to {percent(p95)}"
        )
        most = max(area.bins)
        middles = [x(math.sqrt(a * b)) for a, b in pairwise(AREA_EDGES)]
        upper = [f"{m:.1f},{y - 11 * n / most:.1f}" for m, n in zip(middles, area.bins, strict=True)]
        lower = [f"{m:.1f},{y + 11 * n / most:.1f}" for m, n in zip(middles, area.bins, strict=True)]
        name = area.name if len(area.name) < 28 else area.name[:26] + "…"
        parts.append(
            f"<g><title>{escape(said)}</title>"
            f'<rect class="hit" x="0" y="{y - high / 2}" width="{left + width + 70}" height="{high}"/>'
            f'<text x="{left - 12}" y="{y + 4}" text-anchor="end">{escape(name)}</text>'
            f'<polygon class="violin" points="{" ".join(upper + lower[::-1])}"/>'
            f'<line class="whisker" x1="{x(p5):.1f}" x2="{x(p95):.1f}" y1="{y}" y2="{y}"/>'
            f'<rect class="box" x="{x(q1):.1f}" y="{y - 4}" width="{max(1.5, x(q3) - x(q1)):.1f}" height="8" rx="2"/>'
            f'<circle class="median" cx="{x(median):.1f}" cy="{y}" r="3.4"/>'
            f'<text class="axis" x="{left + width + 10}" y="{y + 4}">{percent(median)}</text></g>'
        )
    return svg(left + width + 70, bottom + 4, "Mask areas as shares of the photo", "".join(parts))


def size_map(sizes: Sizes) -> str:
    """Photo sizes: a dot for each size, as large as it is frequent; many sizes are joined on a grid."""
    counts, grid = sizes.counts, 1
    most = max(max(w, h) for w, h, _ in counts)
    if len(counts) > 400:
        grid = max(1, round(most / 60))
        joined: dict[tuple[int, int], int] = {}
        for w, h, n in counts:
            key = (w // grid * grid + grid // 2, h // grid * grid + grid // 2)
            joined[key] = joined.get(key, 0) + n
        counts = [(w, h, n) for (w, h), n in joined.items()]
    step = _step(most)
    end = math.ceil(most / step) * step
    left, top, side = 56, 12, 400

    def place(w: float, h: float) -> tuple[float, float]:
        return left + side * w / end, top + side * (1 - h / end)

    parts = []
    for i in range(round(end / step) + 1):
        x, y = place(i * step, i * step)
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{top + side}"/>')
        parts.append(f'<line class="grid" x1="{left}" x2="{left + side}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="axis" x="{x:.1f}" y="{top + side + 18}" text-anchor="middle">{i * step:g}</text>')
        parts.append(f'<text class="axis" x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{i * step:g}</text>')
    for name, w, h in (("1:1", 1, 1), ("3:4", 3, 4), ("2:3", 2, 3)):
        x, y = place(end * w / h, end)
        parts.append(f'<line class="aspect" x1="{left}" y1="{top + side}" x2="{x:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="axis" x="{x - 6:.1f}" y="{y + 14:.1f}" text-anchor="end">{name}</text>')
    largest = max(n for *_, n in counts)
    for w, h, n in sorted(counts, key=lambda count: -count[2]):
        x, y = place(w, h)
        radius = 3 + 8 * math.sqrt(n / largest) if largest > 1 else 3
        said = f"{w} x {h}: {n:,} photos" if grid == 1 else f"about {w} x {h}: {n:,} photos"
        parts.append(f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}"><title>{said}</title></circle>')
    parts.append(f'<text class="axis" x="{left + side / 2}" y="{top + side + 38}" text-anchor="middle">width</text>')
    parts.append(
        f'<text class="axis" x="14" y="{top + side / 2}" transform="rotate(-90 14 {top + side / 2})" '
        'text-anchor="middle">height</text>'
    )
    return svg(left + side + 24, top + side + 48, "Photo sizes in pixels", "".join(parts), width=480)


def times_bars(times: Sequence[tuple[float, int]]) -> str:
    """How many photos are drawn how often an epoch: a bar for each tenth of the span."""
    low, high = times[0][0], times[-1][0]
    bins = [0] * 12
    for value, count in times:
        bins[min(11, int(12 * (value - low) / (high - low)))] += count
    parts = []
    for i, count in enumerate(bins):
        a, b = low + (high - low) * i / 12, low + (high - low) * (i + 1) / 12
        tall = 90 * math.sqrt(count / max(bins))
        said = f"{a:.2f} to {b:.2f} times an epoch: {count:,} photos"
        parts.append(
            f'<g><title>{said}</title><rect class="hit" x="{10 + 46 * i}" y="0" width="46" height="110"/>'
            f'<rect class="column" x="{12 + 46 * i}" y="{110 - tall:.1f}" width="42" height="{tall:.1f}" rx="2"/>'
            f'<text class="axis" x="{33 + 46 * i}" y="{104 - tall:.1f}" text-anchor="middle">{count or ""}</text>'
            f'<text class="axis" x="{10 + 46 * i}" y="126" text-anchor="middle">{a:.1f}</text></g>'
        )
    return svg(576, 132, "How often training photos are drawn an epoch", "".join(parts), width=576)


def _step(most: float) -> float:
    """A round distance of grid lines, four to eight of them up to `most`."""
    rough = 10.0 ** math.floor(math.log10(max(1, most) / 4))
    return next(rough * factor for factor in (1, 2, 5, 10) if most / (rough * factor) <= 8)
