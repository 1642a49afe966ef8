"""`runs/NAME/report.html` as text: how a training run went, in one file that needs no network and no library.

All curves are drawn from the lines of `metrics.jsonl`. A key that is missing there, or in `environment.jsonl`, is left
out: runs of other versions have a page, too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

import yaml

from hemline.config import Config
from hemline.line_chart import CHART_STYLE, Curves, Point, line_chart
from hemline.metadata import Metadata
from hemline.page import card, document, tiles
from hemline.photo_answers import PHOTO_STYLE
from hemline.report_sections import number, report_sections
from hemline.taught import taught_card

Line = Mapping[str, Any]
"""A JSON object of `metrics.jsonl` or `environment.jsonl`."""
MAIN = (
    "mean_iou", "mean_dice", "foreground_iou", "pixel_accuracy", "parts.mean_iou", "labels.mean_average_precision",
    "garments.mean_average_precision", "mask.ap", "mask.f1", "box.ap",
)  # fmt: skip
"""Figures of a set that a curve is drawn of; the others stand in the tables."""
WORDS = {
    "mean_iou": "mean IoU", "mean_dice": "mean Dice", "foreground_iou": "foreground IoU",
    "pixel_accuracy": "pixel accuracy", "parts.mean_iou": "mean IoU of parts",
    "labels.mean_average_precision": "mean AP of labels", "garments.mean_average_precision": "mean AP of attributes",
    "mask.ap": "mask AP", "mask.f1": "mask F1", "box.ap": "box AP",
}  # fmt: skip
PHOTOS_BEGIN, PHOTOS_END = "<!--photos-->", "<!--/photos-->"

RUN_STYLE = """
pre{overflow-x:auto;font-size:13px;line-height:1.45;background:var(--card);border:1px solid var(--line);
border-radius:12px;padding:14px 16px}
.pair{grid-template-columns:repeat(auto-fit,minmax(min(100%,420px),1fr));align-items:start}
.card{min-width:0;overflow-wrap:anywhere}
.card ul{margin:8px 0;padding-left:20px}.card>.legend{padding:0}
@media(max-width:600px){header{padding-top:28px}h1{font-size:27px}h2{margin-top:40px}.card{padding:14px}
nav ul{padding:8px 12px}}
"""


def run_page(
    config: Config, lines: Sequence[Line], starts: Sequence[Line], weights: Metadata | None, photos: str = ""
) -> str:
    """The page as text.

    Args:
        config: The recipe as run.
        lines: Of `metrics.jsonl`, an object an epoch.
        starts: Of `environment.jsonl`, an object a start.
        weights: Of the epoch that was measured last: its figures, and the datasets; None where none was.
        photos: Markup of `hemline.photo_answers`; "" where there is none.
    """
    figures = _figures(lines, weights)
    links = ["curves", *(["figures"] if figures else []), *(["photos"] if photos else []), "recipe"]
    nav = "".join(f'<li><a href="#{link}">{link.capitalize()}</a></li>' for link in links)
    body = (
        f"<header><h1>{escape(config.name)}</h1><p class='said'>{escape(_recipe_said(config))}</p></header>"
        f"<nav><ul>{nav}</ul></nav><main>{tiles(_tiles(config, lines, starts))}{_data(weights)}{_starts(starts)}"
        f"<section id='curves'><h2>Curves</h2>{_curves(lines, starts)}</section>{figures}"
        f"{PHOTOS_BEGIN}{photos}{PHOTOS_END}{_recipe(config)}</main>"
    )
    title = f"{config.name}: {len(lines)} of {config.epochs} epochs"
    return document(title, body, "train", style=CHART_STYLE + PHOTO_STYLE + RUN_STYLE)


def taught_page(config: Config, starts: Sequence[Line], taught: Sequence[Line]) -> str:
    """The page of a run that teaches new labels alone, as text.

    Args:
        config: The recipe as run.
        starts: Of `environment.jsonl`, an object a start.
        taught: Of each new label, what `hemline.enough` found.
    """
    said = f"new labels, taught to weights that stay as they are: {config.init}; seed {config.seed}"
    enough = sum(one["verdict"] == "enough" for one in taught)
    figures = [
        ("new labels", str(len(taught)), "of which photos said yes or no"),
        ("enough", str(enough), "are answered"),
        ("not enough, or cannot be told", str(len(taught) - enough), "are never answered"),
    ]
    body = (
        f"<header><h1>{escape(config.name)}</h1><p class='said'>{escape(said)}</p></header>"
        f"<main>{tiles(figures)}{taught_card(taught)}{_starts(starts)}{_recipe(config)}</main>"
    )
    return document(f"{config.name}: {enough} of {len(taught)} new labels", body, "train", style=RUN_STYLE)


def photos_of(page: str) -> str:
    """What a page that `run_page` made holds of photos."""
    return page.partition(PHOTOS_BEGIN)[2].partition(PHOTOS_END)[0]


def best_line(lines: Sequence[Line]) -> Line | None:
    """The epoch whose weights are `best.safetensors`: the last that said so of itself, or else the best measured."""
    said = [line for line in lines if line.get("best") is True]
    measured = [line for line in lines if _finite(line.get("headline")) is not None]
    return said[-1] if said else max(measured, key=lambda line: float(line["headline"]), default=None)


# -- the head ------------------------------------------------------------------------------------------------------


def _recipe_said(config: Config) -> str:
    height, width = config.canvas
    begin = "trunk pretrained" if config.backbone.pretrained else "from nothing"
    begin = f"from {config.init}" if config.init else begin
    return (
        f"{config.backbone.name} with {config.head.name}, {begin}; labels {config.labels}; canvas {height} x {width}; "
        f"{config.batch_size} photos a step; {config.opt} at {config.lr:g}, {config.sched}; seed {config.seed}"
    )


def _tiles(config: Config, lines: Sequence[Line], starts: Sequence[Line]) -> list[tuple[str, str, str]]:
    best = best_line(lines)
    rates = [rate for line in lines if (rate := _finite(line.get("photos_per_second"))) is not None]
    waits = [wait for line in lines if (wait := _finite(line.get("data_wait"))) is not None]
    headline = _finite(best.get("headline")) if best else None
    figures = [
        ("headline, best", number(headline), "mean of the sets' mean IoU (or mask AP) and mean AP"),
        ("best epoch", str(best.get("epoch", "-")) if best else "-", "its weights are best.safetensors"),
        ("epochs", f"{len(lines)} of {config.epochs}", _times_started(starts)),
    ]
    if rates:
        waited = f"; {100 * waits[-1]:.0f} % of the time waited for data" if waits else ""
        figures.append(("photos a second", f"{rates[-1]:.3g}", f"in the last epoch{waited}"))
    return figures


def _times_started(starts: Sequence[Line]) -> str:
    if len(starts) < 2:
        return "done"
    return f"done, in {len(starts)} starts"


def _data(weights: Metadata | None) -> str:
    if weights is None or not weights.data:
        return ""
    measured = weights.metrics.get("sets") or []
    held_out = {str(part.get("name")): part.get("photos", 0) for part in measured if isinstance(part, Mapping)}
    items = "".join(
        f"<li><strong>{escape(str(entry.get('name', '')))}</strong>: {entry.get('photos', 0):,} photos to train on, "
        f"{held_out.get(str(entry.get('name')), 0):,} held out. {escape(str(entry.get('terms', '')))}</li>"
        for entry in weights.data
    )
    return card("Data", "", f"<ul>{items}</ul>")


def _starts(starts: Sequence[Line]) -> str:
    items = "".join(f"<li>{escape(_start_said(start))}</li>" for start in starts)
    return card("When and on what", "", f"<ul>{items}</ul>") if items else ""


def _start_said(start: Line) -> str:
    """A start in a sentence, of what its line holds."""
    at, cpu, git = (_mapping(start.get(key)) for key in ("resumed_at", "cpu", "git"))
    gpus = [str(gpu["name"]) for gpu in _list(start.get("gpus")) if isinstance(gpu, Mapping) and "name" in gpu]
    packages = ", ".join(f"{name} {value}" for name, value in _mapping(start.get("packages")).items() if value)
    processes = start.get("processes", 1)
    parts = [
        str(start.get("started", "")),
        f"resumed after epoch {at['epoch']}, step {at.get('step', 0)} of the next" if "epoch" in at else "",
        ", ".join(f"{gpus.count(name)} x {name}" for name in dict.fromkeys(gpus)),
        f"{cpu.get('model', 'CPU')}, {cpu['cores']} cores" if "cores" in cpu else "",
        f"{processes} processes" if processes != 1 else "",
        f"hemline {start['hemline']}" if "hemline" in start else "",
        packages,
        f"commit {str(git['commit'])[:12]}{', changed' if git.get('dirty') else ''}" if "commit" in git else "",
        str(start.get("command", "")),
    ]
    return "; ".join(part for part in parts if part)


def _recipe(config: Config) -> str:
    recipe = yaml.safe_dump(config.to_dict(), sort_keys=False, allow_unicode=True)
    return (
        f"<section id='recipe'><h2>Recipe</h2><details><summary>as run, every key</summary>"
        f"<pre>{escape(recipe)}</pre></details></section>"
    )


# -- curves and figures --------------------------------------------------------------------------------------------


def _curves(lines: Sequence[Line], starts: Sequence[Line]) -> str:
    marks = [int(at["epoch"]) for start in starts if "epoch" in (at := _mapping(start.get("resumed_at")))]

    def chart(title: str, said: str, curves: Curves) -> str:
        return card(title, said, line_chart(title, curves, marks))

    terms = {name: None for line in lines for name in _mapping(line.get("losses"))}
    losses = {name: _key([{**line, **_mapping(line.get("losses"))} for line in lines], name) for name in terms}
    mean = "The mean of each epoch's steps"
    unasked = [name for name, points in losses.items() if not any(point.value for point in points)]
    zero = f" Always 0, and not drawn: {', '.join(unasked)}." if unasked else ""
    losses = {name: points for name, points in losses.items() if name not in unasked}
    charts = [
        chart("Loss", f"{mean}: the weighted sum that is trained.", {"loss": _key(lines, "loss")}),
        chart("Loss terms", f"{mean}, before they are weighed.{zero}", losses),
        chart("Learning rate", "Of the heads, at the end of each epoch.", {"lr": _key(lines, "lr")}),
        chart("Headline", "Of the sets' mean IoU (or mask AP) and mean AP.", {"headline": _key(lines, "headline")}),
        *(chart(f"Validation: {name}", "0 to 1.", curves) for name, curves in _by_set(lines).items()),
        chart("Photos a second", "In training, over all processes.", {"photos/s": _key(lines, "photos_per_second")}),
        chart("Data wait", "Share of the time in which the network waited for photos.",
              {"data wait": _key(lines, "data_wait")}),
    ]  # fmt: skip
    if memory := _key(lines, "gpu_memory"):
        charts.append(chart("GPU memory", "The most GiB that tensors held.", {"GiB": memory}))
    return f'<div class="pair">{"".join(charts)}</div>'


def _by_set(lines: Sequence[Line]) -> dict[str, dict[str, list[Point]]]:
    """Of each set its main figures."""
    sets: dict[str, dict[str, list[Point]]] = {}
    for key in {key: None for line in lines for key in line if "." in key}:
        name, _, figure = key.partition(".")
        if figure in MAIN and (points := _key(lines, key)):
            sets.setdefault(name, {})[WORDS[figure]] = points
    return sets


def _key(lines: Sequence[Line], key: str) -> list[Point]:
    return _points(lines, lambda line: line.get(key))


def _points(lines: Sequence[Line], value: Callable[[Line], object]) -> list[Point]:
    """The points of a curve; epochs without a finite figure are left out."""
    told = [(line.get("epoch"), _finite(value(line))) for line in lines]
    return [Point(epoch, figure) for epoch, figure in told if isinstance(epoch, int) and figure is not None]


def _figures(lines: Sequence[Line], weights: Metadata | None) -> str:
    if weights is None or not weights.metrics:
        return ""
    measured = [line for line in lines if "headline" in line]
    when = f" after epoch {measured[-1].get('epoch', '-')}" if measured else ""
    best = best_line(lines)
    other = best is not None and bool(measured) and best is not measured[-1]
    said = f"<p class='said'>Epoch {escape(str(best.get('epoch')))} was better.</p>" if best and other else ""
    return (
        f"<section id='figures'><h2>Figures{escape(when)}</h2>{said}<p class='said'>Measured on the photos held out, "
        f"with the averaged weights; intervals of 95 % over photos. Without looking: all background, or the label's "
        f"frequency.</p>{report_sections(weights.metrics)}</section>"
    )


def _finite(value: object) -> float | None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if number and math.isfinite(value) else None  # type: ignore[arg-type]  # a number, by the line above


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
