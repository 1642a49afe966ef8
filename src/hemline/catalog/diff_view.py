"""The tables of a comparison of two OUT folders, for the terminal."""

from __future__ import annotations

import json
from collections.abc import Iterator

from rich import box
from rich.table import Table
from rich.text import Text

from hemline.catalog.diff import Diff

MOST = 15
"""Rows of a from -> to table; those with fewer photos are in `--json`."""
NOTHING = "-"


def diff_tables(diff: Diff) -> Iterator[Table]:
    """The two sides, what changed of how many photos, and from what to what; whoever calls prints them.

    Args:
        diff: From `hemline.catalog.diff.diff`.
    """
    yield _sides(diff)
    yield _counts(diff)
    for what, moves in diff.moves.items():
        if moves:
            yield _moves(diff, what)


def _table(*headings: str, words: int = 1) -> Table:
    table = Table(
        box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), pad_edge=False,
        header_style="bold dim", caption_justify="left",
    )  # fmt: skip
    for i, heading in enumerate(headings):
        table.add_column(heading, justify="left" if i < words else "right", overflow="fold")
    return table


def _sides(diff: Diff) -> Table:
    table = _table("", "old", "new", words=3)
    old, new = diff.old, diff.new
    table.add_row("folder", Text(old.folder), Text(new.folder))
    table.add_row("weights", *(Text(_weights(side.made_with)) for side in (old, new)))
    for key, was, now in diff.settings():
        if key not in ("weights", "weights_sha256"):
            table.add_row(Text(key), Text(_plain(was)), Text(_plain(now)))
    table.add_row("photos", f"{old.photos:,}", f"{new.photos:,}")
    table.add_row("photos only there", f"{old.only:,}", f"{new.only:,}")
    if old.only_groups or new.only_groups:
        table.add_row("groups only there", *(Text(", ".join(x.only_groups) or NOTHING) for x in (old, new)))
    table.caption = Text(f"Of {diff.both:,} photos in both, {diff.changed:,} differ.")
    return table


def _weights(made: dict[str, object]) -> str:
    return f"{made.get('weights')} ({str(made.get('weights_sha256'))[:8]})"


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _counts(diff: Diff) -> Table:
    table = _table("of each photo", "same", "changed", "appeared", "vanished")
    for count in diff.counts:
        style = "" if count.moved else "dim"
        table.add_row(Text(count.what), *(f"{figure:,}" for figure in count[1:]), style=style)
    return table


def _moves(diff: Diff, what: str) -> Table:
    table = _table(f"{what}: old", "new", "photos", words=2)
    moves = diff.moves[what]
    for old, new, photos in moves[:MOST]:
        table.add_row(Text(old or NOTHING), Text(new or NOTHING), f"{photos:,}")
    if len(moves) > MOST:
        rest = sum(move.photos for move in moves[MOST:])
        table.caption = Text(f"and {len(moves) - MOST} more, of {rest:,} photos (all of them: --json)")
    return table
