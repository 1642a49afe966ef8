"""Training runs compared: what differs between their recipes, and what came out.

Runs that differ in their seed alone are one row, with the mean and the deviation of each figure. A run that is
unfinished or damaged is a row that says so.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any, Literal, NamedTuple

from hemline._reading import nearest
from hemline.errors import HemlineError
from hemline.labels import OF_INIT
from hemline.run_folders import Recipe, RunFolder, find_runs, number

MACHINE = frozenset({"name", "out", "device", "workers", "loggers", "license"})
"""Keys that say where a run runs, what it is called and who hears of it. They separate no rows; all that may change the
weights does, `precision`, `torchcompile` and a dataset's path, too."""
OF_A_SET = ("mean_iou", "mask.ap", "mean_average_precision", "pixel_accuracy")
MAIN = ("headline", *OF_A_SET[:3], "loss", "pixel_accuracy", "photos_per_second", "seconds")
"""The figures that are shown where nobody chooses, in this order; those of a set, such as `ccp.mean_iou`, by their
ends."""
IN_HEADLINE = (".mean_iou", ".mask.ap", ".mean_average_precision")
"""Ends of the figures that `Report.headline` is a mean of, and of others that come with them."""
NO_FIGURES = frozenset({"epoch", "best", "lr"})
LESS_IS_BETTER = re.compile(r"loss$|losses\.|data_wait$|gpu_memory$|seconds$")
SPEED = frozenset({"photos_per_second", "data_wait", "gpu_memory", "seconds"})
OVER_EPOCHS: dict[str, Callable[[Iterable[float]], float]] = {
    "photos_per_second": median, "data_wait": median, "gpu_memory": max, "seconds": max,
}  # fmt: skip
"""What makes one figure of those of all epochs; other figures are those of one epoch."""


class Spread(NamedTuple):
    """A figure of one run, or of several."""

    mean: float
    deviation: float | None
    """The sample standard deviation (n - 1); None of one run."""


@dataclass(frozen=True)
class Row:
    """One run, or runs that differ in their seed alone."""

    runs: tuple[RunFolder, ...]
    epoch: Spread | None
    """The epoch that the figures are of; None where none is done."""
    figures: dict[str, Spread]
    """By key, such as `ccp.mean_iou`: those that all of its runs have."""
    problem: str
    """Why it is no finished run; such a run is a row of its own."""
    validation: int = 0
    """Rows of one number were validated on the same photos and classes; 0 where no recipe can be read."""

    @property
    def recipe(self) -> Recipe:
        """That of its first run."""
        return self.runs[0].recipe


@dataclass(frozen=True)
class Comparison:
    """Runs side by side."""

    rows: list[Row]
    """Best first, among those that were validated alike."""
    keys: list[str]
    """Keys of the recipes that differ between rows."""
    figures: list[str]
    """The figures that are shown."""
    grouped: bool
    """Whether runs that differ in their seed alone are one row."""
    notes: list[str]
    """What must be said of the figures."""

    @property
    def validations(self) -> int:
        """How many kinds of photos and classes rows were validated on."""
        return len({row.validation for row in self.rows} - {0})

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "rows": [
                {
                    "runs": [str(run.path) for run in row.runs],
                    "n": len(row.runs),
                    "problem": row.problem or None,
                    "validation": row.validation or None,
                    "recipe": {key: _plain(row.recipe[key]) for key in self.keys if key in row.recipe},
                    "epochs_done": min(run.done for run in row.runs),
                    "epochs": row.runs[0].epochs,
                    "epoch": row.epoch and row.epoch._asdict(),
                    "figures": {key: row.figures[key]._asdict() for key in self.figures if key in row.figures},
                }
                for row in self.rows
            ],
            "notes": self.notes,
        }


def compare(
    folders: Sequence[str | Path],
    *,
    figures: Sequence[str] = (),
    sort: str | None = None,
    epoch: Literal["best", "last"] = "best",
    group: bool = True,
) -> Comparison:
    """Compare runs.

    Args:
        folders: Runs, or folders of runs; what holds none is said in `notes`.
        figures: Which to show: a key, the end of one (`mean_iou`) or a pattern (`ccp.*`); the main ones if none.
        sort: The figure that decides which run is best; `headline` if None. Losses, times and memory are best small.
        epoch: Whether figures are those of the epoch of the highest `headline`, the first of them where several are
            alike, as of `best.safetensors`; or of the last that was validated.
        group: Make one row of finished runs whose recipes are alike but for `seed` and the keys in `MACHINE`.

    Raises:
        HemlineError: there is no run, or no such figure.
    """
    runs, notes = find_runs(folders)
    rows = [_row(members, epoch) for members in (_alike(runs) if group else [(run,) for run in runs])]
    known = list(dict.fromkeys(key for row in rows for key in row.figures))
    main = sorted((key for key in known if _rank(key) < len(MAIN)), key=_rank)
    shown = list(dict.fromkeys(key for wanted in figures for key in _find(wanted, known))) if figures else main
    by = _one(sort, known) if sort is not None else "headline"
    rows = _in_order(rows, by)
    hidden = MACHINE | {"epochs"} | ({"seed"} if group else set())
    recipes = [row.recipe for row in rows if row.recipe]
    keys = [key for key in _differing(recipes) if key not in hidden]
    return Comparison(rows, keys, shown, group, [*notes, *_warnings(rows, shown, by)])


def _figures_of(run: RunFolder, which: Literal["best", "last"]) -> tuple[int | None, dict[str, float]]:
    """The epoch that is looked at and its figures."""
    if not run.lines:
        return None, {}
    measured = [line for line in run.lines if number(line.get("headline")) is not None] or run.lines[-1:]
    line = measured[-1] if which == "last" else max(measured, key=lambda line: number(line.get("headline")) or 0.0)
    losses = line.get("losses")
    terms = {f"losses.{name}": value for name, value in losses.items()} if isinstance(losses, dict) else {}
    figures = {}
    for key, value in {**line, **terms}.items():
        over = OVER_EPOCHS.get(key)
        values = [number(one.get(key)) for one in run.lines] if over else [number(value)]
        known = [one for one in values if one is not None]
        if known and key not in NO_FIGURES:
            figures[key] = over(known) if over else known[0]
    return line["epoch"], figures


# -- rows ----------------------------------------------------------------------------------------------------


def _alike(runs: Sequence[RunFolder]) -> list[tuple[RunFolder, ...]]:
    """Finished runs whose recipes are alike but for their seed, and every other run alone."""
    groups = defaultdict(list)
    for run in runs:
        recipe = sorted((key, repr(value)) for key, value in run.recipe.items() if key not in MACHINE | {"seed"})
        groups[str(run.path) if run.problem else repr(recipe)].append(run)
    return [tuple(group) for group in groups.values()]


def _row(runs: tuple[RunFolder, ...], epoch: Literal["best", "last"]) -> Row:
    epochs, figures = zip(*(_figures_of(run, epoch) for run in runs), strict=True)
    shared = [key for key in figures[0] if all(key in each for each in figures)]
    return Row(
        runs,
        None if None in epochs else _spread(epochs),
        {key: _spread([each[key] for each in figures]) for key in shared},
        runs[0].problem,
    )


def _spread(values: Sequence[float]) -> Spread:
    return Spread(float(mean(values)), float(stdev(values)) if len(values) > 1 else None)


def _in_order(rows: Sequence[Row], by: str) -> list[Row]:
    """Best first, rows that were validated alike together; without the figure they are last, without recipe the end."""
    sign = 1 if LESS_IS_BETTER.search(by) else -1

    def place(row: Row) -> tuple[bool, float, str]:
        return by not in row.figures, sign * row.figures[by].mean if by in row.figures else 0.0, row.runs[0].name

    rows = sorted(rows, key=place)
    kinds: dict[str, int] = {}
    numbered = []
    for row in rows:
        kind = kinds.setdefault(repr(_validation(row.recipe)), len(kinds) + 1) if row.recipe else 0
        numbered.append(replace(row, validation=kind))
    last = len(kinds) + 1
    return sorted(numbered, key=lambda row: row.validation or last)


def _validation(recipe: Recipe) -> list[tuple[str, str]]:
    """What of a recipe decides which photos it is validated on, at which size, and what is asked of them.

    The order of datasets does not, nor what chooses among photos that train.
    """
    kept = [(key, repr(recipe.get(key))) for key in ("labels", "canvas", "validation", "split")]
    if recipe.get("labels") == OF_INIT:                  # its words are those of the weights, and the data's
        kept.append(("init", repr(recipe.get("init"))))
    training = re.compile(r"data\.\d+\.(weight|pseudo|only\.count|only\.seed)")
    sets: dict[str, list[str]] = defaultdict(list)
    for key, value in recipe.items():
        block = re.match(r"data\.\d+", key)
        quiet = value is None and key.endswith((".only", ".only.categories", ".only.supercategories"))
        if block and not quiet and not training.fullmatch(key):
            sets[block[0]].append(f"{key[block.end():]}={value!r}")
    return [*kept, ("data", repr(sorted(sorted(each) for each in sets.values())))]


def _differing(recipes: Sequence[Recipe]) -> list[str]:
    """Keys whose values differ; what only some have counts where they have the same head or dataset as others."""
    keys = dict.fromkeys(key for recipe in recipes for key in recipe)
    differing = []
    for key in keys:
        values = {repr(recipe[key]) for recipe in recipes if key in recipe}
        parents = [{_parent(key, recipe) for recipe in recipes if (key in recipe) is has} for has in (True, False)]
        if len(values) > 1 or parents[0] & parents[1]:
            differing.append(key)
    return differing


def _parent(key: str, recipe: Recipe) -> str | None:
    """What the block that a key stands in is called in a recipe: its head's name, or its dataset's."""
    block = re.match(r"(data\.\d+|\w+)\.", key)
    if block is None or re.fullmatch(r"data\.\d+", key):
        return ""
    name = recipe.get(f"{block[1]}.name", recipe.get(block[1]))
    return None if name is None else str(name).partition(":")[0]


# -- which figures, and what must be said of them --------------------------------------------------------------


def _rank(key: str) -> int:
    """The place of a figure among the main ones, or behind them."""
    ends = (i for i, end in enumerate(MAIN) if key == end or (end in OF_A_SET and key.endswith(f".{end}")))
    return next(ends, len(MAIN))


def _find(wanted: str, known: Sequence[str]) -> list[str]:
    found = [key for key in known if key == wanted] or [
        key for key in known if fnmatchcase(key, wanted) or key.endswith(f".{wanted}")
    ]
    if not found:
        raise HemlineError(f"no run has a figure {wanted!r}{nearest(wanted, known)}")
    return found


def _one(wanted: str, known: Sequence[str]) -> str:
    found = _find(wanted, known)
    if len(found) > 1:
        raise HemlineError(f"--sort {wanted}: sort by one of {', '.join(found)}")
    return found[0]


def _warnings(rows: Sequence[Row], shown: Sequence[str], by: str) -> list[str]:
    return [*_unlike(rows, "headline" in (*shown, by)), *_repeated(rows), *_elsewhere(rows, bool(SPEED & {*shown, by}))]


def _unlike(rows: Sequence[Row], headline: bool) -> list[str]:
    """What was not measured alike."""
    notes = []
    kinds = {row.validation: dict(_validation(row.recipe)) for row in rows if row.recipe}
    if len(kinds) > 1:
        asked = {key: None for each in kinds.values() for key in each}
        keys = [key for key in asked if len({each.get(key) for each in kinds.values()}) > 1]
        notes.append(
            "not all runs were validated on the same photos and classes at the same size, for their recipes differ in "
            f"{', '.join(keys)}: compare figures only among those that were"
        )
    parts = {
        (row.validation, frozenset(key for key in row.figures if key.endswith(IN_HEADLINE)))
        for row in rows
        if "headline" in row.figures
    }
    if headline and len(parts) > len({kind for kind, _ in parts}):
        notes.append("headline is a mean of other figures in some runs than in others: compare by those figures")
    return notes


def _repeated(rows: Sequence[Row]) -> list[str]:
    """Runs of one row that also have one seed."""
    notes = []
    for row in rows:
        seeds = [run.recipe.get("seed") for run in row.runs]
        twice = [run.name for run, seed in zip(row.runs, seeds, strict=True) if seeds.count(seed) > 1]
        if twice:
            notes.append(f"{', '.join(twice)}: a recipe and seed that ran more than once; the deviation is too small")
    return notes


def _elsewhere(rows: Sequence[Row], speed: bool) -> list[str]:
    """Machines and versions, where there are several."""
    notes = []
    runs = [run for row in rows for run in row.runs]
    machines = sorted({run.machine for run in runs} - {""})
    if speed and len(machines) > 1:
        notes.append(f"speed was not measured on one machine, but on {'; '.join(machines)}")
    versions = sorted({str(run.environment["hemline"]) for run in runs if "hemline" in run.environment})
    if len(versions) > 1:
        notes.append(f"trained by several versions of Hemline: {', '.join(versions)}")
    return notes


def _plain(value: object) -> object:
    """A value of a recipe as JSON can hold it: NaN as text."""
    return json.loads(json.dumps(value), parse_constant=str)
