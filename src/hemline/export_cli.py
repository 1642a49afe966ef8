"""`hemline export`: a thin command over `hemline.export`."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from hemline._choices import FormName, named_paths
from hemline._exits import clean_exit, needs_train
from hemline.data_commands.cli import FLAG
from hemline.errors import ConfigError

if TYPE_CHECKING:
    from hemline.export import Form
    from hemline.report import Report

app = typer.Typer()


@app.command()
def export(
    weights: Annotated[str, typer.Argument(metavar="WEIGHTS", help="A `.safetensors` checkpoint, or `default`.")],
    to: Annotated[
        FormName,
        typer.Option(
            help="`onnx` for any runtime, `openvino` for CPUs, `torchscript` for C++ with torch, `web` for phones and "
            "browsers."
        ),
    ] = FormName.ONNX,
    int8: Annotated[
        bool, typer.Option("--int8", metavar=FLAG, help="Quantise it, for `openvino`; needs --photos, and NNCF.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where it goes; else beside the checkpoint, with its name.")
    ] = None,
    photos: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PHOTOS",
            help="A file, folder or glob to try the graph on, and to calibrate int8 with; several times for several.",
        ),
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=PATH", help="A labelled dataset to score int8 on, beside the checkpoint."),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, metavar="N", help="Of --data, at most so many photos.")] = None,
) -> None:
    """Write what runs without torch, or without this code; refuse it where it answers otherwise than the checkpoint.

    - `hemline export runs/mine/best.safetensors`
    - `hemline export default --to openvino --int8 --photos shop/ --out street.int8.xml`
    """
    with clean_exit(), needs_train("export"):
        from hemline import console
        from hemline.evaluate import evaluate
        from hemline.export import export as write_graph
        from hemline.export_report import drift_table, figures_table, summary
        from hemline.runtime import weights_file

        if weights == "default" and out is None:
            raise ConfigError("default stands for the weights in the package, so say where the graph goes: --out FILE")
        if (data or limit is not None) and not int8:
            raise ConfigError("--data and --limit score what --int8 loses; other graphs answer as the checkpoint does")
        if limit is not None and not data:
            raise ConfigError("--limit is for --data: say which labelled photos, --data NAME=PATH")
        if int8:
            _check_int8(to, photos)                      # before anything is scored
        sets = named_paths(data or [])
        checkpoint = weights_file(weights, ".safetensors")
        if to is FormName.WEB:
            from hemline.web import write_web

            web = write_web(checkpoint, out, photos=photos or [])
            console.note(
                f"on {web.photos} photos, {web.pixels:.2%} of the pixels change their category, a score by "
                f"{web.score:.2g}, and {web.odd} photos are answered otherwise"
            )
            console.plain(str(web.path))
            return

        def score(file: Path) -> Report:
            console.note(f"scoring {file.name} on labelled photos")
            with console.Counter() as counter:
                return evaluate(
                    file, sets, limit=limit, transplant=False, instances=False, device="cpu", progress=counter
                )

        before = score(checkpoint) if sets else None     # first, for what is wrong with the data is soon said so
        done = write_graph(checkpoint, out, to=cast("Form", to.value), int8=int8, photos=photos or [])
        for line in summary(done):
            console.note(line)
        if int8:
            console.show_tables([drift_table(done.drift)])
        if before is not None:
            console.show_tables([figures_table(before, score(done.path))])
        console.plain(str(done.path))


def _check_int8(to: FormName, photos: list[str] | None) -> None:
    if to is not FormName.OPENVINO:
        raise ConfigError(f"--int8 is for OpenVINO, which alone runs it faster: use --to openvino, not {to.value}")
    if not photos:
        raise ConfigError("--int8 measures on photos which numbers flow through the network: name --photos")
    if find_spec("nncf") is None:
        raise ConfigError('--int8 needs nncf, which is not here: pip install "hemline[quantize]"')
