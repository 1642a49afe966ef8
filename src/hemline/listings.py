"""Commands that list what there is: recipes, networks, and the terms of code and weights."""

from __future__ import annotations

from typing import Annotated

import typer

from hemline._exits import clean_exit, needs_train
from hemline.data_commands.cli import FLAG

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
def licenses(
    weights: Annotated[
        str, typer.Argument(metavar="WEIGHTS", help="A `.safetensors` or `.onnx` file, or `default`.")
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
