"""`hemline data ...`: what datasets hold, what is wrong with them, and other forms of them."""

from __future__ import annotations

from enum import StrEnum
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


class FormName(StrEnum):
    """What a dataset is written as."""

    COCO = "coco"
    IMATERIALIST = "imaterialist"
    MASKS = "masks"


@app.command()
def convert(
    sets: Sets,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The folder to write: new, or empty.")],
    to: Annotated[
        FormName,
        typer.Option(help="COCO as Fashionpedia writes it; Kaggle's `train.csv`; or a PNG of classes for each photo."),
    ],
    strict: Annotated[bool, typer.Option("--strict", metavar="", help="Write nothing that loses something.")] = False,
) -> None:
    """Write a dataset in another form, and say what that form cannot hold."""
    with clean_exit(), needs_train("data convert"):
        from hemline import console
        from hemline.data import build_dataset, label_space
        from hemline.data.asked import config_of
        from hemline.data.convert import convert as write
        from hemline.errors import ConfigError

        config = config_of(sets)
        if len(config.data) != 1:
            raise ConfigError(f"convert writes one dataset, and {len(config.data)} are named: convert each by itself")
        space = label_space(config)
        dataset = build_dataset(config.data[0], space)
        with console.Counter() as counter:
            done = write(
                dataset,
                space,
                out,
                to.value,
                name=config.data[0].name,
                share=config.validation,
                strict=strict,
                progress=counter,
            )
        console.plain(done.text(out))
