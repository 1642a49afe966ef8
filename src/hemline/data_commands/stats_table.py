"""`hemline data stats` as tables for a terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from rich import box
from rich.markup import escape
from rich.table import Table

from hemline.data_commands.stats import RARE, LabelCount, SetStats, Stats

MOST_LABELS = 60
"""Rows of a table of labels; the JSON and the page have all."""
MOST_PAIRS = 6
PAIR_PHOTOS = 10
"""A pair of categories is told of where chance alone would give it this many photos."""


def stats_tables(stats: Stats) -> list[Table]:
    """The tables: all sets beside each other, then the labels and the masks of each."""
    tables = [_sets(stats)]
    for part in stats.sets:
        tables.append(_labels(part))
        if part.areas:
            tables.append(_areas(part))
    if stats.class_weights:
        tables.append(_class_weights(stats.class_weights))
    return tables


def sample_said(part: SetStats) -> str:
    """Which photos a figure is from that needs pixels."""
    return f"all {part.photos:,} photos" if part.sample == part.photos else f"a sample of {part.sample:,} photos"


def percent(share: float) -> str:
    """A share of 0..1 in words that stay short: `12 %`, `0.3 %`, `<0.01 %`."""
    if 0 < share < 0.0001:
        return "<0.01 %"
    return f"{100 * share:.0f} %" if share >= 0.0995 else f"{100 * share:.2g} %"


def pairs(part: SetStats) -> list[tuple[float, str, str, int]]:
    """(lift, category, category, photos) of pairs that chance would show in `PAIR_PHOTOS` photos, the highest first."""
    together = part.together
    found = []
    for i in range(len(together.names)):
        for j in range(i):
            chance, lift = together.by_chance[i][j], together.lift(i, j)
            if chance is not None and lift is not None and chance >= PAIR_PHOTOS:
                found.append((lift, together.names[j], together.names[i], together.photos[i][j]))
    return sorted(found, reverse=True)


def _sets(stats: Stats) -> Table:
    table = _table(f"{stats.recipe}: what the datasets hold, in the words of {stats.label_space}", "")
    for part in stats.sets:
        table.add_column(escape(part.name), justify="right")

    def row(name: str, cells: Sequence[str], style: str = "") -> None:
        table.add_row(name, *cells, style=style)

    sets = stats.sets
    row("photos", [f"{s.photos:,}" for s in sets], "bold")
    for side in ("train", "validation", "test"):
        row(f"  {side}", [f"{s.sides[side]:,}" for s in sets])
    row("groups", [f"{s.groups:,}" for s in sets])
    row("garments drawn", [f"{s.garments.count:,}{' *' * (s.garments.photos < s.photos)}" for s in sets], "bold")
    row("  on photos", [f"{s.garments.drawn:,} of {s.garments.photos:,}" for s in sets])
    row("  a photo, drawn ones", [f"{s.garments.count / max(1, s.garments.drawn):.1f}" for s in sets])
    row("labels shown", [f"{sum(x.yes > 0 for x in s.labels)} of {len(s.labels)}" for s in sets], "bold")
    row(f"  in under {RARE} photos", [str(sum(x.rare for x in s.labels)) for s in sets])
    row("  unknown, of all", [percent(s.unknown) for s in sets])
    row("pixels unknown *", [percent(s.pixels.unknown) if s.pixels.photos else "-" for s in sets])
    row("width x height *", [f"{s.sizes.width[2]:.0f} x {s.sizes.height[2]:.0f}" for s in sets])
    row("drawn an epoch", [f"{s.draws.an_epoch:,.0f} photos" for s in sets], "bold")
    row("  times each", [times_said(s) for s in sets])
    if any(s.left_out or s.unreadable for s in sets):
        row("rows left out", [f"{s.left_out:,}" for s in sets], "red")
        row("photos unreadable", [f"{len(s.unreadable):,}" for s in sets], "red")
    samples = "; ".join(f"{s.name}: {sample_said(s)}" for s in sets)
    table.caption = escape(f"* medians and counts of {samples} (seed {stats.seed}).")
    return table


def times_said(part: SetStats) -> str:
    """How often a training photo is drawn an epoch."""
    draws = part.draws
    if draws.least == draws.most:
        return f"{draws.most:g}"
    return f"{draws.least:.2g} to {draws.most:.2g}, median {draws.median:.2g}"


def _labels(part: SetStats) -> Table:
    told = [label for label in part.labels if label.yes]
    shown = sorted(told, key=lambda label: (label.group != "category", -label.yes))[:MOST_LABELS]
    repeated = any(round(label.an_epoch) != label.train for label in shown)
    columns: list[tuple[str, Callable[[LabelCount], float]]] = [
        ("yes", lambda x: x.yes), ("no", lambda x: x.no), ("unknown", lambda x: x.unknown),
        ("train", lambda x: x.train), ("valid.", lambda x: x.validation),
        *([("test", lambda x: x.test)] if part.sides["test"] else []),
        *([("an epoch", lambda x: round(x.an_epoch))] if repeated else []),
        *([("garments", lambda x: x.garments)] if part.garments.count else []),
    ]  # fmt: skip
    table = _table(f"{part.name}: labels, all {part.photos:,} photos", "label")
    table.add_column("", no_wrap=True, min_width=8)
    for heading, _ in columns:
        table.add_column(heading, justify="right", no_wrap=True)
    most = max((label.yes for label in shown), default=1)
    groups = list(dict.fromkeys(["category", *(label.group for label in part.labels)]))
    for group in groups:
        members = [label for label in shown if label.group == group]
        if members:
            table.add_section()
            table.add_row(f"[dim italic]{escape(group)}[/]")
        for label in members:
            bar = "█" * max(label.yes > 0, round(8 * label.yes / max(1, most)))
            name = escape(label.name) + ("  [yellow]rare[/]" if label.rare else "")
            table.add_row(name, f"[cyan]{bar}[/]", *(f"{value(label):,}" for _, value in columns))
    table.caption = "\n".join(map(escape, _label_notes(part, told)))
    return table


def _label_notes(part: SetStats, told: Sequence[LabelCount]) -> list[str]:
    notes = []
    if part.garments.count and part.garments.photos != part.photos:
        notes.append(f"garments: those drawn in {sample_said(part)}.")
    if len(told) > MOST_LABELS:
        notes.append(f"{len(told) - MOST_LABELS} labels more: --json or --html FILE.")
    if denied := [label.name for label in part.labels if label.no and not label.yes]:
        notes.append(f"Shown by no photo, {len(denied)}: {_some(denied)}.")
    if silent := [label.name for label in part.labels if not label.known]:
        notes.append(f"Nothing is known of {len(silent)}: {_some(silent)}.")
    known = pairs(part)
    known = known if any(lift for lift, *_ in known) else []        # of single garments there are no pairs
    for what, some in (("Often", known[:MOST_PAIRS]), ("Seldom", known[::-1][:MOST_PAIRS])):
        said = [f"{a} + {b} ({lift:.1f})" for lift, a, b, _ in some if (lift > 1) == (what == "Often")]
        if said:
            notes.append(f"{what} together (times as by chance): {'; '.join(said)}.")
    return notes


def _some(names: Sequence[str]) -> str:
    return ", ".join([*names[:12], "..."] if len(names) > 12 else names)


def _areas(part: SetStats) -> Table:
    table = _table(f"{part.name}: mask areas as shares of the photo, {sample_said(part)}", "class")
    for heading in ("masks", "5 %", "25 %", "median", "75 %", "95 %"):
        table.add_column(heading, justify="right", no_wrap=True)
    for area in sorted(part.areas, key=lambda area: -area.percentiles[2]):
        table.add_row(escape(area.name), f"{area.count:,}", *(percent(x) for x in area.percentiles))
    return table


def _class_weights(weights: Mapping[str, float]) -> Table:
    table = _table("class weights of the mask losses", "class")
    table.add_column("weight", justify="right")
    for name, weight in sorted(weights.items(), key=lambda entry: -entry[1]):
        table.add_row(escape(name), f"{weight:.2f}")
    return table


def _table(title: str, first: str) -> Table:
    table = Table(
        title=escape(title), title_justify="left", title_style="bold", caption_justify="left",
        box=box.SIMPLE_HEAD, header_style="bold dim",
    )  # fmt: skip
    table.add_column(first, overflow="fold", min_width=20)
    return table
