"""Charts of an evaluation as HTML and SVG text: bars with intervals, precision-recall curves, reliability diagrams.

Every function escapes the names it is given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

from hemline.page import sort_table, svg
from hemline.report_sections import number

Plain = Mapping[str, Any]
SIDE, LEFT, TOP, BELOW = 140, 40, 8, 32
"""Of a curve's plot, and what lies around it, in units of the picture."""

CHART_STYLE = """
.short{padding-left:20px;max-width:80ch}.lead{font-size:17px;margin:8px 0 20px}.short li{margin-bottom:10px}
.card h3~h3,.scroll+h3,.beside+h3{margin-top:24px}
.ci{position:relative;height:14px;min-width:130px;background:rgba(var(--hue),.1);border-radius:3px}
.ci i{display:block;height:100%;border-radius:3px;background:var(--main);opacity:.75}
.ci b{position:absolute;top:6px;height:2px;background:var(--ink)}
.ci s{position:absolute;top:0;width:2px;height:14px;background:var(--rare)}
.list td.long{width:38%}
.multiples{display:grid;grid-template-columns:repeat(auto-fill,minmax(150px,1fr));gap:16px 14px}
.multiples figure{margin:0;break-inside:avoid}.multiples svg{max-width:210px!important}
.multiples figcaption{overflow-wrap:anywhere;line-height:1.3;min-height:2.6em}
.multiples figcaption b{color:var(--ink)}
.curve{fill:none;stroke:var(--main);stroke-width:2}.chance{stroke:var(--faint);stroke-dasharray:3 4}
.chosen{fill:var(--rare);stroke:var(--card);stroke-width:1.5}.frame{fill:none;stroke:var(--line)}
.reach{stroke:var(--main);stroke-width:1.5}.point{fill:var(--main)}.heat{margin:8px 0}
.three{grid-template-columns:repeat(3,minmax(0,300px));gap:20px}.photos{grid-template-columns:minmax(0,1fr)}
.card{min-width:0}.reliable{max-width:290px;flex:1 1 240px}.beside>.reliable+div{flex:2 1 320px;min-width:0}
@media(max-width:600px){.three{grid-template-columns:1fr 1fr}.three figure:nth-child(3){grid-column:1/-1}
header{padding-top:28px}.tiles{grid-template-columns:1fr 1fr}.short{padding-left:16px}h1{font-size:27px}
h2{margin-top:40px}.card{padding:14px}
.list th:first-child,.list td:first-child{min-width:110px}.ci{min-width:80px}}
@page{size:A4;margin:12mm}
@media print{:root{color-scheme:light}body{font-size:10.5px;background:none}
main,header,footer{max-width:none;padding:0}
h1{font-size:24px}h2{font-size:18px;margin-top:20px}h3{font-size:13px}h2,h3,h4,.card>.said{break-after:avoid}
p,.short{max-width:none}section>*{margin-bottom:10px}.card{padding:10px 12px}section>.card{break-inside:auto}
.said,figcaption,caption,.list,.list th,.tiles small,.tiles dt,.group{font-size:9.5px}.tiles dd{font-size:17px}
.tiles{grid-template-columns:repeat(4,1fr);gap:8px;margin:8px 0}.tiles div{padding:7px 9px}
.list td,.list th{padding:1px 5px}.list th:first-child,.list td:first-child{min-width:90px}
.ci{min-width:60px;height:9px}
.ci b{top:4px}.ci s{height:9px}.scroll{overflow:visible}tr,article,.multiples figure{break-inside:avoid}
.ci,.ci *,.heat td{print-color-adjust:exact;-webkit-print-color-adjust:exact}.heat .none{background:var(--line)}
.heat{font-size:8.5px}.heat td{width:19px;min-width:19px;height:15px}.heat tbody th,.heat thead th{font-size:9px}
.lead{font-size:12.5px;margin:4px 0 8px}.heat{break-inside:avoid}
.multiples{grid-template-columns:repeat(8,1fr);gap:6px}.reliable{max-width:190px}
.beside{gap:8px 16px;flex-wrap:nowrap}
#classes{columns:2;column-gap:10px}#classes>h2,#classes>p{column-span:all}
#classes .list td.long{width:17%;min-width:34px}#classes .card{padding:10px 7px}
#classes .list td,#classes .list th{padding:1px 3px;font-size:8.5px}#classes .list th{white-space:normal}
#classes .list td:first-child{min-width:60px}#classes .ci{min-width:34px}.list thead{display:table-row-group}
.photos h4{font-size:11px;margin-bottom:4px}.photos{display:block}.photos article{margin-bottom:8px}
.three{grid-template-columns:105px 1fr 1.5fr;gap:10px}
.three figure{display:flex;gap:8px;align-items:flex-start}.three img{width:105px;flex:none}
.three figure:first-child figcaption,#tables,details:not([open]){display:none}}
"""


class Bar(NamedTuple):
    """A row of a bar chart; figures are 0..1."""

    name: str
    value: float | None
    low: float | None
    """Of the 95 % interval; None where none is known."""
    high: float | None
    trivial: float | None
    support: int
    """What it is measured on."""


def bars(what: str, bars: Sequence[Bar], support: str, trivial: str = "without looking") -> str:
    """A table whose bars are 0..1: the interval is a line, what is scored without looking is a mark.

    Args:
        what: The figure: `IoU`.
        bars: The rows.
        support: What is counted in the last column: `photos`.
        trivial: The heading of what is scored without looking.
    """
    rows = []
    for bar in bars:
        interval = "" if bar.low is None or bar.high is None else f"{bar.low:.3f} to {bar.high:.3f}"
        rows.append(
            f'<tr><td>{escape(bar.name)}</td><td class="long" aria-hidden="true">{_bar(bar)}</td>'
            f'<td data-value="{-1 if bar.value is None else bar.value}">{number(bar.value)}</td><td>{interval}</td>'
            f'<td data-value="{-1 if bar.trivial is None else bar.trivial}">{number(bar.trivial)}</td>'
            f'<td data-value="{bar.support}">{bar.support:,}</td></tr>'
        )
    heads = [(what, "ascending"), ("", ""), ("value", "descending"), ("95 %", ""), (trivial, "descending"),
             (support, "descending")]  # fmt: skip
    return sort_table(heads, rows)


def _bar(bar: Bar) -> str:
    parts = f'<i style="width:{100 * (bar.value or 0):.1f}%"></i>'
    if bar.low is not None and bar.high is not None:
        parts += f'<b style="left:{100 * bar.low:.1f}%;width:{100 * (bar.high - bar.low):.1f}%"></b>'
    if bar.trivial is not None:
        parts += f'<s style="left:{min(100 * bar.trivial, 99):.1f}%"></s>'
    return f'<div class="ci">{parts}</div>'


def curve(label: Plain, points: Sequence[Sequence[float]]) -> str:
    """The precision-recall curve of a label, its chance and its threshold marked.

    Args:
        label: As `LabelScore` in plain data.
        points: Score, precision and recall of each point, by recall.
    """
    name, prior, ap = label["name"], label["prior"], label["average_precision"]
    path = "M" + "L".join(f"{_x(recall):.1f} {_y(precision):.1f}" for _, precision, recall in points)
    said = f"{name}: average precision {number(ap['value'])}, by chance {number(prior)}; {at_threshold(label)}"
    body = (
        f"{_frame('recall', 'precision')}"
        f'<line class="chance" x1="{LEFT}" x2="{LEFT + SIDE}" y1="{_y(prior):.1f}" y2="{_y(prior):.1f}"/>'
        f'<path class="curve" d="{path}"/>'
    )
    if label["precision"] is not None:
        body += (
            f'<circle class="chosen" cx="{_x(label["recall"]):.1f}" cy="{_y(label["precision"]):.1f}" r="4.5">'
            f"<title>{escape(at_threshold(label))}</title></circle>"
        )
    picture = svg(LEFT + SIDE + 8, TOP + SIDE + BELOW, said, f"<title>{escape(said)}</title>{body}", width=210)
    caption = f"AP {number(ap['value'])} ({_range(ap)}); {label['positives']:,} of {label['known']:,}"
    return f"<figure><figcaption><b>{escape(name)}</b><br>{escape(caption)}</figcaption>{picture}</figure>"


def at_threshold(label: Plain) -> str:
    """What the threshold in use gives, in words."""
    if label["precision"] is None:
        return "never answered"
    return f"at {number(label['threshold'])} precision {number(label['precision'])}, recall {number(label['recall'])}"


def reliability(found: Plain, *, width: int = 210, line: bool = True) -> str:
    """A reliability diagram: the share that is true at each score; on the diagonal, scores are probabilities.

    Args:
        found: As `Calibration` in plain data.
        width: At most so many pixels.
        line: Join the bins; where answers are few it says more than they do.
    """
    body = [
        _frame("score", "share that is true"),
        f'<line class="chance" x1="{_x(0)}" y1="{_y(0)}" x2="{_x(1)}" y2="{_y(1)}"/>',
    ]
    filled = [one for one in found["bins"] if one["answers"]]
    if line:
        path = "M" + "L".join(f"{_x(one['score']):.1f} {_y(one['true']):.1f}" for one in filled)
        body.append(f'<path class="curve" d="{path}"/>')
    most = max(one["answers"] for one in filled)
    for one in filled:
        x, y = _x(one["score"]), _y(one["true"])
        said = f"{one['answers']:,} answers with a mean score of {one['score']:.3f}: {one['true']:.3f} are true"
        if one["true_low"] is not None:
            said += f" ({one['true_low']:.3f} to {one['true_high']:.3f})"
            ends = f'y1="{_y(one["true_low"]):.1f}" y2="{_y(one["true_high"]):.1f}"'
            body.append(f'<line class="reach" x1="{x:.1f}" x2="{x:.1f}" {ends}/>')
        radius = 1.5 + 4 * (one["answers"] / most) ** 0.5
        body.append(f'<circle class="point" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}"><title>{said}</title></circle>')
    title = f"Reliability of {found['name']}: expected calibration error {number(found['error'])}"
    return svg(LEFT + SIDE + 8, TOP + SIDE + BELOW, title, "".join(body), width=width)


def table(caption: str, heads: Sequence[str], rows: Sequence[Sequence[str]], summary: str = "as a table") -> str:
    """Figures behind a chart, to open."""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in heads)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return (
        f"<details><summary>{escape(summary)}</summary><div class='scroll'><table class='list'>"
        f"<caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div></details>"
    )


def _range(figure: Plain) -> str:
    return f"{number(figure['low'])} to {number(figure['high'])}"


def _x(value: float) -> float:
    return LEFT + SIDE * value


def _y(value: float) -> float:
    return TOP + SIDE * (1 - value)


def _frame(across: str, upward: str) -> str:
    """The square of a plot with its axes from 0 to 1."""
    ticks = "".join(
        f'<text class="axis" x="{_x(at):.1f}" y="{TOP + SIDE + 13}" text-anchor="middle">{at:g}</text>'
        f'<text class="axis" x="{LEFT - 4}" y="{_y(at) + 4:.1f}" text-anchor="end">{at:g}</text>'
        f'<line class="grid" x1="{_x(at):.1f}" x2="{_x(at):.1f}" y1="{TOP}" y2="{TOP + SIDE}"/>'
        f'<line class="grid" x1="{LEFT}" x2="{LEFT + SIDE}" y1="{_y(at):.1f}" y2="{_y(at):.1f}"/>'
        for at in (0, 0.5, 1)
    )
    middle = TOP + SIDE / 2
    return (
        f'{ticks}<text class="axis" x="{LEFT + SIDE / 2}" y="{TOP + SIDE + 27}" text-anchor="middle">{across}</text>'
        f'<text class="axis" x="9" y="{middle}" text-anchor="middle" transform="rotate(-90 9 {middle})">{upward}</text>'
    )
