"""The command line: thin commands over the API. Heavy things are imported where they are used, so help is quick.

Exit codes: 0 all done, 1 finished with failures, 2 nothing could be done, 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import io
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from hemline import __version__
from hemline._choices import Challenge, DeviceName, DtypeName, MaskForm, ProtocolName, RuntimeName, named_paths
from hemline._exits import clean_exit, needs_train, said_once
from hemline._options import (
    ENGINE,
    OUTPUT,
    AsJson,
    AsJsonl,
    Device,
    Dtype,
    Flip,
    Instances,
    MinScore,
    Precision,
    Runtime,
)
from hemline.calibrate_cli import app as calibrating
from hemline.catalog.ask_cli import app as ask_commands
from hemline.catalog.cli import app as catalog_commands
from hemline.data_commands.cli import FLAG, Side
from hemline.data_commands.cli import app as data_commands
from hemline.errors import ConfigError, HemlineError
from hemline.export_cli import app as exports
from hemline.listings import app as listings
from hemline.serve.cli import app as serving


class _Commands(TyperGroup):
    """The list of commands as plain text: what draws the help of one command takes twice the time of all the rest."""

    def format_help(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401  typer has a click of its own
        self.rich_markup_mode = None
        super().format_help(ctx, formatter)


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)
app.add_typer(data_commands, name="data")
app.add_typer(calibrating)
app.add_typer(exports)
app.add_typer(listings)
app.add_typer(catalog_commands)
app.add_typer(ask_commands)
app.add_typer(serving)
Recipe = Annotated[str, typer.Argument(metavar="RECIPE", help="A name that `hemline configs` lists, or a YAML file.")]
MANY = 1000
"""Photos from which `hemline tag` is the better command."""


def _version(asked: bool) -> None:
    if asked:
        with clean_exit():
            from hemline import console

            console.plain(f"hemline {__version__}")
        raise typer.Exit


@app.callback()
def hemline(
    version: Annotated[
        bool,
        typer.Option("--version", metavar=FLAG, callback=_version, is_eager=True, help="Print the version and leave."),
    ] = False,
) -> None:
    """Read photos of clothes: what is worn, where, in which colours and cuts.

    Start with `hemline predict --demo`.
    """


@app.command(no_args_is_help=True)
def predict(
    photos: Annotated[
        list[str] | None,
        typer.Argument(metavar="PHOTO", help="Files, folders, globs; `-` reads one photo from stdin."),
    ] = None,
    demo: Annotated[
        bool, typer.Option("--demo", metavar=FLAG, help="Read the photo that matplotlib ships.")
    ] = False,
    min_score: MinScore = None,
    precision: Precision = None,
    instances: Instances = False,
    as_json: AsJson = False,
    as_jsonl: AsJsonl = False,
    mask_format: Annotated[
        MaskForm, typer.Option(help="How masks stand in the JSON.", rich_help_panel=OUTPUT)
    ] = MaskForm.RLE,
    draw: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write each photo with its garments outlined.", rich_help_panel=OUTPUT),
    ] = None,
    masks: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write a black and white PNG a garment.", rich_help_panel=OUTPUT),
    ] = None,
    cutouts: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write each garment alone, on transparency.", rich_help_panel=OUTPUT),
    ] = None,
    coco: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write all garments as COCO annotations.", rich_help_panel=OUTPUT),
    ] = None,
    vocabulary: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Say a shop's words too: `shopify`, `google` or a YAML.", rich_help_panel=OUTPUT
        ),
    ] = None,
    kaggle: Annotated[
        Challenge | None,
        typer.Option(help="Write a submission to that year's iMaterialist (Fashion).", rich_help_panel=OUTPUT),
    ] = None,
    submission: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Where to write it; else `submission.csv` here.", rich_help_panel=OUTPUT),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Other weights than those in the package.", rich_help_panel=ENGINE),
    ] = None,
    runtime: Runtime = RuntimeName.AUTO,
    device: Device = DeviceName.AUTO,
    dtype: Dtype = DtypeName.F32,
    flip: Flip = False,
    batch_size: Annotated[
        int, typer.Option(min=1, metavar="N", help="Photos read at a time.", rich_help_panel=ENGINE)
    ] = 16,
) -> None:
    """Say what is worn in photos: a table each, or JSON.

    - `hemline predict --demo --draw out`
    - `hemline predict photo.jpg shop/ "new/*.webp" --jsonl > answers.jsonl`
    - `curl -s https://example.com/photo.jpg | hemline predict - --json`
    """
    with clean_exit():
        from hemline import console
        from hemline.predict import DEMO_CREDIT, Asked, Files, demo_photo, gather
        from hemline.predict import predict as answer_all
        from hemline.tagger import Tagger

        if not photos and not demo:
            raise HemlineError("name at least one photo, folder or glob, or try --demo")
        if as_json and as_jsonl:
            raise HemlineError("--json and --jsonl are two forms of the same answers: ask for one of them")
        if submission is not None and kaggle is None:
            raise HemlineError("--submission is where --kaggle writes: add --kaggle 2019 or --kaggle 2020")
        asked = gather(photos or [])
        if demo:
            asked.append(Asked(demo_photo().name, demo_photo()))
            console.note(DEMO_CREDIT)
        if len(asked) > MANY:
            console.note(f"{len(asked):,} photos: `hemline tag` reads so many on all cores, and goes on if stopped")
        tagger = Tagger.load(
            None if weights == Path("default") else weights,
            runtime=runtime.value,
            device=device.value,
            dtype=dtype.value,
            flip=flip,
            min_score=min_score,
            instances=instances,
            vocabulary=vocabulary,
            precision=precision,
        )
        engine = tagger.runtime
        console.note(f"{tagger.metadata.name} weights, {engine.name} on {engine.device} in {engine.dtype}")
        console.note_silent(tagger.silent, precision)
        code = answer_all(
            tagger,
            asked,
            form="json" if as_json else "jsonl" if as_jsonl else "table",
            mask_format=mask_format.value,
            files=Files(
                draw=draw,
                masks=masks,
                cutouts=cutouts,
                coco=coco,
                submission=None if kaggle is None else submission or Path("submission.csv"),
                year=2019 if kaggle is Challenge.FGVC6 else 2020,
            ),
            batch_size=batch_size,
        )
        raise typer.Exit(code)


@app.command()
def train(
    recipe: Recipe = "synthetic",
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE", help="Such as `epochs=3 data=ccp:PATH head.widths=[96,64,48]`."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", metavar=FLAG, help="Go on with the run of this name.")
    ] = False,
) -> None:
    """Train a model by a recipe; without one, on drawn figures."""
    with clean_exit(), needs_train("train"):
        from hemline import console
        from hemline.config import load_config
        from hemline.labels import OF_INIT
        from hemline.ranks import find_ranks
        from hemline.train import train as run_training
        from hemline.training_view import TrainingView

        if "=" in recipe:
            recipe, overrides = "synthetic", [recipe, *(overrides or [])]
        with said_once():
            config, ranks = load_config(recipe, overrides or []), find_ranks()
        view = TrainingView()
        with view if ranks.first else nullcontext():
            best = run_training(config, resume=resume, watcher=view)
        if ranks.first:
            view.tables()
            if config.labels == OF_INIT:
                console.show_taught(best)
            view.where(best)
            console.plain(str(best))


@app.command()
def evaluate(
    data: Annotated[
        list[str],
        typer.Option(metavar="NAME=PATH", help="A dataset and its folder; several times for several sets."),
    ],
    weights: Annotated[
        str | None, typer.Argument(metavar="WEIGHTS", help="A file of weights in any form, or `default`.")
    ] = None,
    predictions: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Score these answers instead of weights: COCO results for `coco` or `fashionpedia`, or a Kaggle "
            "submission for `imaterialist2019` or `imaterialist2020`. No photo is needed.",
        ),
    ] = None,
    split: Annotated[Side, typer.Option(help="Which side of the split.")] = Side.VALIDATION,
    limit: Annotated[int | None, typer.Option(min=1, metavar="N", help="At most so many photos of a set.")] = None,
    no_transplant: Annotated[
        bool, typer.Option("--no-transplant", metavar=FLAG, help="Repaint no garments; three times as quick on CCP.")
    ] = False,
    no_instances: Annotated[
        bool, typer.Option("--no-instances", metavar=FLAG, help="Score no garments one by one; quicker.")
    ] = False,
    protocol: Annotated[
        ProtocolName | None,
        typer.Option(
            help="Score in another way, too. `seed3`: soft IoU and F1 as mberkay0/clothing-segmentation reports them: "
            "probabilities without a threshold, at 256 x 256, over batches of 8 photos, background included."
        ),
    ] = None,
    page: Annotated[
        Path | None,
        typer.Option("--report", metavar="DIR", help="Also write a page to read, which holds some of the photos."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", metavar=FLAG, help="Print the figures as JSON, nothing else.")
    ] = False,
    runtime: Runtime = RuntimeName.AUTO,
    device: Device = DeviceName.AUTO,
    flip: Flip = False,
) -> None:
    """Measure weights, or anybody's answers, on labelled photos, beside what the trivial answer scores."""
    with clean_exit(), needs_train("evaluate"):
        from hemline import console
        from hemline.evaluate import evaluate as measure
        from hemline.evaluate_page import write_predictions_page
        from hemline.predictions import score_predictions
        from hemline.report_tables import instance_tables
        from hemline.runtime import weights_file

        sets = named_paths(data)
        if weights is None and predictions is not None:
            engine = runtime is not RuntimeName.AUTO or device is not DeviceName.AUTO
            if limit is not None or protocol is not None or flip or no_transplant or no_instances or engine:
                raise ConfigError(
                    "--limit, --protocol, --no-transplant, --no-instances, --flip, --runtime and --device are for "
                    "weights: a file of predictions is scored as it is"
                )
            found = score_predictions(predictions, sets, split.value)
            if page is not None:
                write_predictions_page(page, found, predictions)
            console.plain_json(found.to_dict()) if as_json else console.show_tables(instance_tables(found))
            return
        if weights is None or predictions is not None:
            raise ConfigError("name what is measured: either WEIGHTS or --predictions FILE")
        with console.Counter() as counter:
            report = measure(
                weights_file(weights),
                sets,
                split=split.value,
                limit=limit,
                runtime=runtime.value,
                device=device.value,
                flip=flip,
                transplant=not no_transplant,
                instances=not no_instances,
                soft=protocol is not None,
                page=page,
                progress=counter,
            )
        for part in report.sets:
            if protocol is not None and part.soft is None:
                console.note(f"{part.name}: no pixel's class is known here, so {protocol.value} has no scores")
        console.plain_json(report.to_dict()) if as_json else console.show_report(report)
        if page is not None:
            console.note(f"the page is {page / 'index.html'}")


@app.command()
def fit(
    weights: Annotated[str, typer.Argument(metavar="WEIGHTS", help="A `.safetensors` checkpoint, or `default`.")],
    recipe: Recipe,
    out: Annotated[Path, typer.Option(metavar="FILE", help="The checkpoint to write.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Such as `data.0.path=PATH`.")
    ] = None,
    views: Annotated[int, typer.Option(min=1, metavar="N", help="Times that each photo is seen.")] = 3,
) -> None:
    """Fit the label head alone to a recipe's data: minutes on a CPU; the masks stay."""
    with clean_exit(), needs_train("fit"):
        from hemline import console
        from hemline.config import load_config
        from hemline.fit import fit as fit_labels
        from hemline.runtime import weights_file

        config = load_config(recipe, overrides or [])
        with console.Counter() as counter:
            report = fit_labels(weights_file(weights, ".safetensors"), config, out, views=views, progress=counter)
        console.show_report(report)
        console.plain(str(out))


@app.command()
def pseudo(
    weights: Annotated[
        str, typer.Argument(metavar="WEIGHTS", help="A file of weights in any form, or `default`.")
    ],
    data: Annotated[
        list[str],
        typer.Option(metavar="NAME=PATH", help="A dataset and its folder; several times for several sets."),
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the masks go; those already there are left.")],
) -> None:
    """Draw masks on training photos that have words alone, to train on: `data.N.pseudo=DIR`."""
    with clean_exit(), needs_train("pseudo"):
        from hemline import console
        from hemline.pseudo import write_pseudo_masks
        from hemline.runtime import weights_file

        with console.Counter() as counter:
            count = write_pseudo_masks(weights_file(weights), named_paths(data), out, progress=counter)
        console.plain(f"{count} photos have masks in {out}")


def main() -> None:
    """Run the command line: the entry point of `hemline`, `python -m hemline` and `cli.py`."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a strange file name must not end the run
    app(prog_name="hemline")
