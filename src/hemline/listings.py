"""Commands that list what there is: recipes, networks, training runs, and the terms of code and weights."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hemline._choices import EpochName
from hemline._exits import clean_exit, needs_train
from hemline.data_commands.cli import FLAG
from hemline.errors import HemlineError

app = typer.Typer()


@app.command()
def configs(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Print this recipe.")] = None,
) -> None:
    """List the recipes in the package, or print one."""
    with clean_exit():
        from hemline import console
        from hemline.config import config_text, list_configs

        if name is None:
            console.show_configs(list_configs())
        else:
            console.show_yaml(config_text(name))


@app.command()
def models(
    size: Annotated[
        str | None, typer.Option(metavar="HxW", help="Count multiply-adds at this size, not at each recipe's canvas.")
    ] = None,
    variants: Annotated[
        bool, typer.Option("--variants", metavar=FLAG, help="With the other forms that their papers publish.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", metavar=FLAG, help="Print the figures as JSON, nothing else.")
    ] = False,
) -> None:
    """List the networks: paper, year, parameters, multiply-adds and output stride of each."""
    with clean_exit(), needs_train("models"):
        from hemline import console
        from hemline.networks import every_network, networks_table, read_size

        networks = every_network(size=None if size is None else read_size(size), variants=variants)
        if as_json:
            console.plain_json([network.to_dict() for network in networks])
        else:
            console.show_tables([networks_table(networks)])


@app.command()
def runs(
    folders: Annotated[
        list[str] | None, typer.Argument(metavar="FOLDER", help="Runs, or folders of runs; `runs` if none is named.")
    ] = None,
    figure: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY", help="Show this figure, by its name, the end of it or a pattern; several times."),
    ] = None,
    sort: Annotated[
        str | None, typer.Option(metavar="KEY", help="The figure that decides which is best; else `headline`.")
    ] = None,
    epoch: Annotated[EpochName, typer.Option(help="Whose figures.")] = EpochName.BEST,
    no_group: Annotated[
        bool, typer.Option("--no-group", metavar=FLAG, help="List runs singly that differ in their seed alone.")
    ] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", metavar=FLAG, help="Print Markdown.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", metavar=FLAG, help="Print CSV with all digits.")] = False,
    as_latex: Annotated[bool, typer.Option("--latex", metavar=FLAG, help="Print LaTeX for booktabs.")] = False,
    as_json: Annotated[bool, typer.Option("--json", metavar=FLAG, help="Print the figures as JSON.")] = False,
) -> None:
    """Compare training runs, best first; of those that differ in their seed alone, mean and deviation.

    What is asked for in another form than a table for the terminal stands alone on stdout; notes go to stderr.

    - `hemline runs`
    - `hemline runs runs/a runs/b --figure mean_iou --figure "ccp.*" --sort ccp.mean_iou`
    - `hemline runs --latex > table.tex`
    """
    with clean_exit():
        from hemline import console, run_tables
        from hemline.runs import compare

        if as_markdown + as_csv + as_latex + as_json > 1:
            raise HemlineError("--markdown, --csv, --latex and --json are forms of the same table: ask for one of them")
        found = compare(folders or ["runs"], figures=figure or [], sort=sort, epoch=epoch.value, group=not no_group)
        if as_json:
            console.plain_json(found.to_dict())
        elif as_markdown or as_csv or as_latex:
            write = run_tables.markdown if as_markdown else run_tables.comma_separated if as_csv else run_tables.latex
            console.plain(write(found))
        else:
            table, left_out = run_tables.runs_table(found, console.answers().width)
            console.show_tables([table])
            if left_out:
                console.note(f"no place here for {', '.join(left_out)}: a wider terminal, --figure or --csv shows them")
        for note in found.notes:
            console.note(note)


@app.command()
def vocabulary(
    name: Annotated[str, typer.Argument(metavar="NAME", help="`shopify`, `google`, or a YAML file of your own.")],
    weights: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Weights whose words are meant; else those in the package.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", metavar=FLAG, help="Print the words as JSON, nothing else.")
    ] = False,
) -> None:
    """List a shop's words for ours (`--vocabulary`), and what has no counterpart there."""
    with clean_exit():
        from hemline import console
        from hemline.metadata import read_metadata
        from hemline.runtime import default_weights
        from hemline.vocabulary import listing, listing_tables, load_vocabulary

        space = read_metadata(weights or default_weights(".onnx")).labels
        words = load_vocabulary(name, space)
        if as_json:
            console.plain_json(listing(words, space))
        else:
            console.show_tables(listing_tables(words, space))


@app.command()
def licenses(
    weights: Annotated[
        str, typer.Argument(metavar="WEIGHTS", help="A weights file of any form, or `default`.")
    ] = "default",
    as_json: Annotated[
        bool, typer.Option("--json", metavar=FLAG, help="Print the terms as JSON, nothing else.")
    ] = False,
) -> None:
    """Say the terms of the code and of weights, and which data under which terms taught each label."""
    with clean_exit():
        from hemline import console
        from hemline.licenses import licenses as find_licenses
        from hemline.licenses import licenses_table
        from hemline.runtime import weights_file

        found = find_licenses(weights_file(weights))
        if as_json:
            console.plain_json(found.to_dict())
        else:
            console.show_tables(licenses_table(found))
