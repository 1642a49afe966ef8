"""`hemline data ...`: what datasets hold, what is wrong with them, and other forms of them."""

from __future__ import annotations

import re
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
"""What every command is asked about; `hemline.data_commands.asked.config_of` reads it."""
FLAG = ""  # a flag takes no value, so its help names none


class Side(StrEnum):
    """Which photos of a dataset."""

    VALIDATION = "validation"
    TRAIN = "train"
    TEST = "test"
    ALL = "all"


@app.command(no_args_is_help=True)
def stats(
    sets: Sets,
    photos: Annotated[
        int, typer.Option(min=1, metavar="N", help="Photos of each set to read for what needs pixels.")
    ] = 500,
    every: Annotated[bool, typer.Option("--all", metavar=FLAG, help="Read all photos.")] = False,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Another seed reads other photos.")] = 0,
    as_json: Annotated[
        bool, typer.Option("--json", metavar=FLAG, help="Print the figures as JSON, nothing else.")
    ] = False,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a page with plots: one file, no network.")
    ] = None,
) -> None:
    """Count what datasets hold: labels, garments, mask areas, photo sizes, and how often photos are drawn.

    - `hemline data stats ccp=photos/ccp --html ccp.html`
    - `hemline data stats my_recipe.yaml repeat=0.01`
    """
    with clean_exit(), needs_train("data stats"):
        from hemline import console
        from hemline.data_commands.asked import config_of, opened
        from hemline.data_commands.counting import statistics
        from hemline.data_commands.stats_table import stats_tables

        if html is not None:
            from hemline.data_commands.stats_page import wrong_page_file

            wrong_page_file(html)
        config = config_of(sets)
        space, sources = opened(config)
        with console.Counter() as counter:
            found = statistics(config, space, sources, photos=None if every else photos, seed=seed, progress=counter)
        if html is not None:
            from hemline.data_commands.stats_page import write_page

            write_page(html, found, config, space, sources)
            console.note(f"{html}: {html.stat().st_size / 1e6:.1f} MB; a browser shows it")
        if as_json:
            console.plain_json(found.to_dict())
        else:
            console.show_tables(stats_tables(found))


@app.command(no_args_is_help=True)
def show(
    sets: Sets,
    out: Annotated[Path, typer.Option(metavar="FILE", help="The picture to write: .jpg, .png or .webp.")],
    photos: Annotated[int, typer.Option(min=1, max=200, metavar="N", help="Photos in all.")] = 12,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Another seed picks others.")] = 0,
    label: Annotated[str | None, typer.Option(metavar="NAME", help="Only photos that show this label.")] = None,
    split: Annotated[Side, typer.Option(help="Which side of the split.")] = Side.ALL,
) -> None:
    """Draw a contact sheet: photos with what is drawn on them, and their labels below.

    - `hemline data show ccp=photos/ccp --out sheet.jpg --label coat`
    """
    with clean_exit(), needs_train("data show"):
        from hemline import console
        from hemline.data_commands.asked import config_of, opened
        from hemline.data_commands.sheet import contact_sheet, save_sheet, wrong_sheet_file

        wrong_sheet_file(out)
        config = config_of(sets)
        space, sources = opened(config)
        sheet = contact_sheet(config, space, sources, photos=photos, seed=seed, label=label, split=split.value)
        save_sheet(sheet, out)
        console.plain(str(out))


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
    strict: Annotated[bool, typer.Option("--strict", metavar=FLAG, help="Write nothing that loses something.")] = False,
) -> None:
    """Write a dataset in another form, and say what that form cannot hold."""
    with clean_exit(), needs_train("data convert"):
        from hemline import console
        from hemline.data import build_dataset, label_space
        from hemline.data_commands.asked import config_of
        from hemline.data_commands.convert import convert as write
        from hemline.errors import ConfigError

        if re.match(r"[a-z0-9_.]+=", str(out)):
            raise ConfigError(f"OUT comes last, after every KEY=VALUE: {out} is no folder to write")
        config = config_of(sets)
        if len(config.data) != 1:
            raise ConfigError(f"convert writes one dataset, and {len(config.data)} are named: convert each by itself")
        if config.data[0].only is not None:
            raise ConfigError("data.0.only: convert writes all photos of a dataset; leave it out")
        if config.split != "hash":
            raise ConfigError("split: convert writes the published split, or that by hash; leave it out")
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


@app.command(no_args_is_help=True)
def check(
    sets: Sets,
    as_json: Annotated[
        bool, typer.Option("--json", metavar=FLAG, help="Print everything as JSON, nothing else.")
    ] = False,
    every: Annotated[
        bool, typer.Option("--all", metavar=FLAG, help="Print every row, not the first few of a kind.")
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
        from hemline.data_commands import fix as cleaning
        from hemline.data_commands.asked import config_of
        from hemline.data_commands.check import check as find
        from hemline.data_commands.check_table import show_check, show_fixed

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
