"""`hemline data ...`: what datasets hold, what is wrong with them, and other forms of them."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Look at datasets before a day is spent on them.")

Sets = Annotated[
    list[str],
    typer.Argument(
        metavar="NAME=PATH|RECIPE [KEY=VALUE]",
        help="Datasets and their folders, or a recipe; then overrides, such as `labels=street data.0.damaged=skip`.",
    ),
]
"""What every command is asked about; `hemline.data.asked.config_of` reads it."""
