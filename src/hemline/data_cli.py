"""`hemline data ...`: what datasets hold, what is wrong with them, and other forms of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hemline._exits import clean_exit, needs_train

app = typer.Typer(no_args_is_help=True, help="Look at datasets before a day is spent on them.")

Sets = Annotated[
    list[str],
    typer.Argument(
        metavar="NAME=PATH|RECIPE [KEY=VALUE]",
        help="Datasets and their folders, or a recipe; then overrides, such as `labels=street data.0.damaged=skip`.",
    ),
]
"""What every command is asked about; `hemline.data.asked.config_of` reads it."""


@app.command(no_args_is_help=True)
def check(
    sets: Sets,
    as_json: Annotated[
        bool, typer.Option("--json", metavar="", help="Print everything as JSON, nothing else.")
    ] = False,
    every: Annotated[
        bool, typer.Option("--all", metavar="", help="Print every row, not the first few of a kind.")
    ] = False,
    fix: Annotated[
        Path | None,
        typer.Option(metavar="OUT", help="Write a copy without what has errors, and a report, into a new folder."),
    ] = None,
) -> None:
    """Find everything that is wrong with datasets: files, rows, masks, labels, duplicate photos.

    An error is what training would refuse, or would learn or measure falsely; a warning may be right as it is. Exit
    code: 0 no errors, 1 errors (with `--fix` too: they are in the original), 2 nothing could be checked. `workers=N`
    reads photos in N processes.

    - `hemline data check coco=photos/labels.json`
    - `hemline data check imaterialist2020=imat workers=8 --fix imat-clean`
    """
    with clean_exit(), needs_train("data check"):
        from hemline import console
        from hemline._reading import path_of
        from hemline.console_check import show_check, show_fixed
        from hemline.data import fix as cleaning
        from hemline.data.asked import config_of
        from hemline.data.check import check as find

        config = config_of(sets)
        if fix is not None:
            cleaning.refuse_folder(fix, [path_of(data.path) for data in config.data if data.path])
        with console.Counter() as counter:
            checked = find(config, counter)
        done = cleaning.fix(checked, fix) if fix is not None and checked.sets else []
        if as_json:
            fixed = {"fixed": [each.to_dict() for each in done]} if fix is not None else {}
            console.plain_json(checked.to_dict() | fixed)
        else:
            show_check(checked, every=every)
            show_fixed(done)
    if checked.exit_code:
        raise typer.Exit(checked.exit_code)
