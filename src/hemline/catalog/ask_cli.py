"""Commands that ask what `hemline tag` wrote: by words or SQL, and by a photo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hemline._choices import DeviceName, RuntimeName
from hemline._exits import clean_exit, needs_extra
from hemline._options import OUTPUT, AsJson, AsJsonl, Device, Runtime
from hemline.data_commands.cli import FLAG
from hemline.errors import ConfigError

app = typer.Typer()
SHOWN = 20
"""Rows of a table, unless said otherwise."""


@app.command(no_args_is_help=True)
def query(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder that `hemline tag` wrote.")],
    text: Annotated[str, typer.Argument(metavar="QUERY", help='Such as "coat and colour=navy and pattern=stripe".')],
    sql: Annotated[
        bool, typer.Option("--sql", metavar=FLAG, help="QUERY is a SELECT over the views `photos` and `garments`.")
    ] = False,
    limit: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help=f"At most so many rows; a table has {SHOWN} unless this says otherwise."),
    ] = None,
    as_json: AsJson = False,
    as_jsonl: AsJsonl = False,
    as_csv: Annotated[bool, typer.Option("--csv", metavar=FLAG, help="Print CSV.", rich_help_panel=OUTPUT)] = False,
    as_paths: Annotated[
        bool, typer.Option("--paths", metavar=FLAG, help="Print each photo's path, one a line.", rich_help_panel=OUTPUT)
    ] = False,
    count: Annotated[
        bool, typer.Option("--count", metavar=FLAG, help="Print how many rows there are.", rich_help_panel=OUTPUT)
    ] = False,
    explain: Annotated[
        bool, typer.Option("--explain", metavar=FLAG, help="Print the SQL, and run nothing.", rich_help_panel=OUTPUT)
    ] = False,
) -> None:
    """Find garments in a tagged catalogue. What `and` joins is said of one garment; `with` asks for another one.

    - `hemline query tags "coat and colour=navy and pattern=stripe"`
    - `hemline query tags "(jacket or coat) and not black with skirt" --paths`
    - `hemline query tags "price<50 and score>0.8" --csv > cheap.csv`
    - `hemline query tags --sql "SELECT colour, count(*) FROM garments GROUP BY colour"`

    Exit codes: 0 found, 1 nothing found, 2 a query that says nothing, or no tags.
    """
    with clean_exit(), needs_extra("query", "catalog"):
        from hemline import console
        from hemline.catalog import ask_view
        from hemline.catalog.query import query_sql
        from hemline.catalog.views import open_views

        forms = {"json": as_json, "jsonl": as_jsonl, "csv": as_csv, "paths": as_paths, "count": count, "sql": explain}
        if sum(forms.values()) > 1:
            raise ConfigError("--json, --jsonl, --csv, --paths, --count and --explain are forms: ask for one of them")
        form = next((name for name, wanted in forms.items() if wanted), "table")
        views = open_views(folder)
        most = SHOWN if limit is None and form == "table" else limit
        asked = text if sql else query_sql(views, text, limit=most, count=count and limit is None)
        if explain:
            console.plain(asked)
            return
        found = ask_view.print_rows(views.read(asked), form, most, of_words=not sql)
        raise typer.Exit(0 if found else 1)


@app.command(no_args_is_help=True)
def similar(
    photo: Annotated[Path, typer.Argument(metavar="PHOTO", help="A photo of the garment.")],
    folder: Annotated[Path, typer.Option("--in", metavar="DIR", help="The folder that `hemline tag` wrote.")],
    garment: Annotated[
        str | None, typer.Option(metavar="NAME", help="Which garment of the photo: a category, or a number from 0.")
    ] = None,
    top: Annotated[int, typer.Option(min=1, max=1000, metavar="N", help="How many to find.")] = 10,
    any_category: Annotated[
        bool, typer.Option("--any-category", metavar=FLAG, help="Look among garments of all categories.")
    ] = False,
    as_json: AsJson = False,
    draw: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the photo and what was found as a picture.", rich_help_panel=OUTPUT),
    ] = None,
    index: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where the index stands, if DIR/index cannot be written.")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The weights that made the tags, if not those in the package.")
    ] = None,
    runtime: Runtime = RuntimeName.AUTO,
    device: Device = DeviceName.AUTO,
) -> None:
    """Find garments of a tagged catalogue that look like the main garment of a photo.

    The first call builds an index in DIR/index, later ones add what was tagged since.

    - `hemline similar photo.jpg --in tags --draw alike.jpg`
    - `hemline similar photo.jpg --in tags --garment skirt --top 5 --json`

    Exit codes: 0 found, 1 nothing found, 2 nothing could be compared.
    """
    with clean_exit(), needs_extra("similar", "catalog"):
        from hemline import console
        from hemline.catalog import ask_view
        from hemline.catalog.ask_photo import form_of, read_as_tagged, save_sheet
        from hemline.catalog.similar import Similar, choose_garment

        if draw is not None:
            form_of(draw)
        catalogue = Similar.open(folder, index=index)
        read = read_as_tagged(photo, catalogue.made, weights=weights, runtime=runtime.value, device=device.value)
        chosen = choose_garment(read.result, garment, read.main)
        hits = catalogue.find(chosen, top=top, any_category=any_category, without=read.sha256)
        if as_json:
            ask_view.print_json((hit.to_dict() for hit in hits), lines=False)
        elif hits:
            console.show_tables([ask_view.hits_table(hits)])
        else:
            console.note(f"no other {'garment' if any_category else chosen.category} stands in {folder}")
        if draw is not None:
            save_sheet(draw, read.result, chosen, hits)
        raise typer.Exit(0 if hits else 1)
