"""`hemline calibrate`: a thin command over `hemline.calibrate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hemline._choices import DeviceName, RuntimeName, named_paths
from hemline._exits import clean_exit, needs_train
from hemline._options import Device, Runtime
from hemline.data_commands.cli import FLAG

app = typer.Typer()


@app.command()
def calibrate(
    weights: Annotated[str, typer.Argument(metavar="WEIGHTS", help="A `.safetensors` checkpoint, or `default`.")],
    data: Annotated[
        list[str],
        typer.Option(metavar="NAME=PATH", help="A dataset and its folder; several times for several sets."),
    ],
    out: Annotated[Path, typer.Option(metavar="FILE", help="The checkpoint to write.")],
    as_json: Annotated[
        bool, typer.Option("--json", metavar=FLAG, help="Print the figures as JSON, nothing else.")
    ] = False,
    runtime: Runtime = RuntimeName.AUTO,
    device: Device = DeviceName.AUTO,
) -> None:
    """Make scores probabilities, on the photos held out of training, and enable `--precision`; the network stays."""
    with clean_exit(), needs_train("calibrate"):
        from dataclasses import asdict

        from hemline import console
        from hemline.calibrate import calibrate as fit_scores
        from hemline.calibrate import calibration_tables
        from hemline.metadata import finite
        from hemline.runtime import weights_file

        with console.Counter() as counter:
            done = fit_scores(
                weights_file(weights, ".safetensors"),
                named_paths(data),
                out,
                runtime=runtime.value,
                device=device.value,
                progress=counter,
            )
        if as_json:
            console.plain_json(finite(asdict(done)))
            return
        console.show_tables(calibration_tables(done))
        console.plain(str(out))
