"""What `hemline data check` prints."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from rich.text import Text

from hemline.console import answers, on_stdout

if TYPE_CHECKING:
    from hemline.data.problems import Finding
    from hemline.data_commands.check import Checked
    from hemline.data_commands.fix import Fixed

FIRST = 5
"""Rows that are shown of each kind."""
COLOURS = {"error": "bold red", "warning": "bold yellow"}


@on_stdout()
def show_check(checked: Checked, *, every: bool) -> None:
    """Print what was found, by kind, then what was checked.

    Args:
        checked: What was found.
        every: Print all rows of a kind, not the first few.
    """
    for (severity, kind), members in groupby(checked.findings, key=lambda finding: (finding[0], finding.problem.kind)):
        _kind(severity, kind, list(members), every)
    out = answers()
    for opened in checked.sets:
        sides = [f"{opened.sides.count(side):,} {side}" for side in ("train", "validation", "test")]
        counts = f"{len(opened.dataset):,} photos ({', '.join(x for x in sides if x[0] != '0')})"
        out.print(Text(f"checked {opened.name}: {counts}, {opened.garments:,} garments"), soft_wrap=True)
    out.print(_verdict(checked), soft_wrap=True)


def _kind(severity: str, kind: str, found: Sequence[Finding], every: bool) -> None:
    out = answers()
    out.print(Text.assemble((f"{severity}: ", COLOURS[severity]), (kind, "bold"), f"  {len(found):,}"), soft_wrap=True)
    shown = found if every else found[:FIRST]
    for finding in shown:
        out.print(Text(f"  {finding.problem}"), soft_wrap=True)
    if len(shown) < len(found):
        out.print(Text(f"  and {len(found) - len(shown):,} more; --all prints them", style="dim"), soft_wrap=True)


def _verdict(checked: Checked) -> Text:
    errors, warnings = len(checked.of("error")), len(checked.of("warning"))
    counts = " and ".join(
        f"{number:,} {word}{'' if number == 1 else 's'}"
        for number, word in ((errors, "error"), (warnings, "warning"))
        if number
    )
    if not checked.sets:
        return Text("nothing could be checked", style="bold red")
    if not counts:
        return Text(f"all is well: every photo was read, {checked.labels:,} labels are in use", style="green")
    return Text(f"{counts}, {checked.labels:,} labels in use", style="bold red" if errors else "bold yellow")


@on_stdout()
def show_fixed(done: Sequence[Fixed]) -> None:
    """Print what was written of each dataset."""
    for fixed in done:
        line = fixed.sentence or f"{fixed.photos:,} photos in {fixed.folder}; {fixed.rows:,} rows were left out"
        errors = "error remains" if len(fixed.left) == 1 else "errors remain"
        still = f"; {len(fixed.left):,} {errors}" if fixed.left else ""
        answers().print(Text(f"{fixed.name}: {line}{still}"), soft_wrap=True)
