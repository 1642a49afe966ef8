"""`hemline tag`: a catalogue in, tables out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hemline._choices import DeviceName, DtypeName, EngineName, RuntimeName, TableForm
from hemline._exits import clean_exit, needs_extra
from hemline._options import ENGINE, OUTPUT, Device, Dtype, Flip, Instances, MinScore, Precision, Runtime
from hemline.data_commands.cli import FLAG
from hemline.errors import ConfigError, HemlineError

if TYPE_CHECKING:
    from hemline.catalog.parts import Parts

app = typer.Typer()
CATALOGUE = "What is read"


@app.command(no_args_is_help=True)
def tag(
    catalogue: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="CATALOGUE",
            help="Folders, photos, globs, CSV or Parquet files with a column of paths or URLs, tar shards.",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where the tables go; the same one goes on.")
    ] = None,
    diff: Annotated[
        tuple[Path, Path] | None,
        typer.Option(
            "--diff", metavar="OLD NEW",
            help="Tag nothing: say what changed between two such folders; `--out FILE` takes a row a change.",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", metavar=FLAG, help="Print `--diff` as JSON, nothing else.")
    ] = False,
    path_column: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="The column with the paths or URLs.", rich_help_panel=CATALOGUE),
    ] = None,
    min_score: MinScore = None,
    precision: Precision = None,
    instances: Instances = False,
    no_masks: Annotated[
        bool, typer.Option("--no-masks", metavar=FLAG, help="Leave out the masks.", rich_help_panel=OUTPUT)
    ] = False,
    no_embeddings: Annotated[
        bool,
        typer.Option(
            "--no-embeddings", metavar=FLAG, help="Leave out what `hemline similar` compares.", rich_help_panel=OUTPUT
        ),
    ] = False,
    form: Annotated[
        TableForm, typer.Option("--format", help="Of the tables; a CSV has lists as JSON.", rich_help_panel=OUTPUT)
    ] = TableForm.PARQUET,
    vocabulary: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE", help="Say it in a shop's words, too: `shopify`, `google`, a YAML.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    hint: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN", help="The column whose words name the garment for sale.", rich_help_panel=OUTPUT
        ),
    ] = None,
    product: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN", help="Vote a row for each value of this column, too.", rich_help_panel=OUTPUT
        ),
    ] = None,
    part_size: Annotated[
        int, typer.Option(min=1, metavar="N", help="Photos in a part of a table.", rich_help_panel=OUTPUT)
    ] = 1000,
    weights: Annotated[
        str, typer.Option(metavar="FILE", help="Other weights than those in the package.", rich_help_panel=ENGINE)
    ] = "default",
    runtime: Runtime = RuntimeName.AUTO,
    device: Device = DeviceName.AUTO,
    dtype: Dtype = DtypeName.F32,
    flip: Flip = False,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Processes; else one for each core, and one on a GPU.", rich_help_panel=ENGINE
        ),
    ] = None,
    engine: Annotated[
        EngineName, typer.Option(help="Whose processes: of this machine, or of a Ray cluster.", rich_help_panel=ENGINE)
    ] = EngineName.LOCAL,
) -> None:
    """Say what is worn in any number of photos, as tables: one row a photo, one a garment.

    A run that was stopped goes on where it was when the same command is given again, and takes in new photos.

    - `hemline tag shop/ --out tags`
    - `hemline tag products.csv --path-column image_url --out tags --no-masks`
    """
    with clean_exit(), needs_extra("tag", "catalog"):
        from hemline import console
        from hemline.at_precision import at_precision
        from hemline.catalog.items import open_catalog
        from hemline.catalog.local import Stop
        from hemline.catalog.local import tag as run_tagging
        from hemline.catalog.parts import open_parts
        from hemline.catalog.products import check_column, write_products
        from hemline.catalog.view import TagView
        from hemline.catalog.work import Plan

        if diff is not None:
            if catalogue or product:
                raise ConfigError("--diff compares two folders that are there: leave out CATALOGUE and --product")
            raise typer.Exit(_compare(*diff, out=out, as_json=as_json))
        if not catalogue or out is None or as_json:
            raise ConfigError(
                "name what is tagged and where the tables go: hemline tag CATALOGUE --out DIR; --json is for --diff"
            )
        catalog = open_catalog(catalogue, path_column=path_column)
        plan = Plan(
            weights=weights,
            runtime=runtime.value,
            device=device.value,
            flip=flip,
            min_score=min_score,
            precision=precision,
            instances=instances,
            masks=not no_masks,
            embeddings=not no_embeddings,
            dtype=dtype.value,
            vocabulary=vocabulary,
            hint=hint,
            incoming=catalog.schema,
        )
        if precision is not None:
            console.note_silent(at_precision(plan.metadata, precision)[1], precision)
        made = plan.made_with()
        for option, column in (("--product", product), ("--hint", hint)):
            if column is not None:
                check_column(column, made["columns"], option)
        view = TagView()
        with open_parts(out, made, form=form.value, part_size=part_size) as parts:
            with _goes_on(out, parts), Stop() as stop, view:
                tally = run_tagging(catalog, parts, plan, view, workers=workers, engine=engine.value, stop=stop)
            voted = None if product is None else write_products(out, product)
        if voted is not None:
            console.note(voted.text())
        if not tally.photos:
            console.note(f"nothing to do: {tally.before:,} photos were done before, and there are no others")
            raise typer.Exit(0 if tally.before else 2)
        view.summary(out)
        raise typer.Exit(0 if not tally.failed else 1 if tally.failed < tally.photos else 2)


def _compare(old: Path, new: Path, *, out: Path | None, as_json: bool) -> int:
    """Print what changed between two OUT folders, and write it to `out`; the exit code: 0 alike, 1 they differ."""
    from hemline import console
    from hemline.catalog.diff import diff
    from hemline.catalog.diff_view import diff_tables

    found = diff(old, new, out=out)
    console.plain_json(found.to_dict()) if as_json else console.show_tables(diff_tables(found))
    return 1 if found.differs else 0


@contextmanager
def _goes_on(out: Path, parts: Parts) -> Iterator[None]:
    """Where tagging is stopped or fails, say how many photos are done and how to go on."""
    from hemline import console
    from hemline.catalog.parts import read_manifest

    try:
        yield
    except KeyboardInterrupt:
        done = read_manifest(out).photos
        console.error(f"stopped; {done:,} photos stand in {out}: the same command goes on from there")
        raise typer.Exit(130) from None
    except HemlineError as error:
        going_on = f"{parts.manifest.photos:,} photos stand in {out}, and the same command goes on from there"
        raise type(error)(f"{error}; {going_on}") from error
