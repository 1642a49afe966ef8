"""Checkpoint -> a file that runs without this code's network, with the same weights and the same metadata.

    export(checkpoint)  --graphs.py--> .onnx, .xml with .bin, .pt    --quantize.py--> .xml of int8

What was written is read again and must answer as the checkpoint does, or nothing is written: on random canvases that
are partly padding, number by number (`MAX_DRIFT`), and on photos, by what a user sees (`hemline.drift`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from hemline.checkpoint import halve, load_network
from hemline.drift import EXACT, INT8, Drift, Runs, measure
from hemline.errors import ConfigError, PhotoError, WeightsError
from hemline.graphs import random_canvases, to_onnx, write_openvino, write_torchscript
from hemline.heads._blocks import area_resize
from hemline.metadata import Metadata
from hemline.model import Network
from hemline.photo import Canvas, place, read_photo, search
from hemline.predict import demo_photo
from hemline.quantize import MOST_CALIBRATING, MOST_CHECKING, quantize, split_photos
from hemline.runtime import Answer, Runtime, RuntimeName, open_runtime, openvino_core
from hemline.whole_files import whole_file

Form = Literal["onnx", "openvino", "torchscript"]
SUFFIXES: dict[Form, str] = {"onnx": ".onnx", "openvino": ".xml", "torchscript": ".pt"}
MAX_DRIFT = 1e-3
"""Largest difference between a number of the graph and of torch, relative to the largest of its kind (or to 1)."""
MOST_PHOTOS = 32
"""Photos that a graph which is not quantised is tried on, at most."""


@dataclass(frozen=True)
class Exported:
    """A file that was written, and how it answers."""

    path: Path
    drift: Drift
    """On the photos; of int8, on those that it was not calibrated with."""
    calibrated: int = 0
    """Photos that int8 was calibrated with."""
    unread: tuple[str, ...] = ()
    """What is wrong with each photo that could not be read, and was left out."""


def export(
    checkpoint: str | Path,
    out: str | Path | None = None,
    *,
    to: Form = "onnx",
    int8: bool = False,
    photos: Sequence[str | Path] = (),
    head: nn.Module | None = None,
) -> Exported:
    """Write the graph of a checkpoint, and check that it answers as torch does.

    Args:
        checkpoint: A `.safetensors` file.
        out: The file to write; beside the checkpoint, with its name, if None.
        to: `onnx`, `openvino` (an `.xml` with its `.bin` beside it) or `torchscript` (a `.pt`).
        int8: Quantise it; for `openvino`. Weights and what flows between them are rounded to 256 steps.
        photos: Files, folders and globs of photos to try it on, and for int8 to calibrate it with; the demo photo where
            there are none. `MOST_PHOTOS` of them, or of int8 `MOST_CALIBRATING` and `MOST_CHECKING`, evenly spaced.
        head: The mask head, where it was trained with one of your own.

    Raises:
        ConfigError: the form or its file's name is none that can be written, int8 has too few photos, or NNCF is
            missing.
        PhotoError: none of the photos can be read.
        WeightsError: the checkpoint cannot be read, the network cannot be written as a graph, or the graph answers
            otherwise than torch.
        UnwritableError: the file cannot be written.
    """
    path = _path(Path(checkpoint), None if out is None else Path(out), to, int8=int8)
    network, metadata = load_network(checkpoint, head=head)
    network.load_state_dict(halve(network.state_dict()))
    most = MOST_CALIBRATING + MOST_CHECKING if int8 else MOST_PHOTOS
    canvases, unread = ([], ()) if int8 and not photos else _canvases(photos, metadata.canvas, most)
    calibrating, checking = split_photos(canvases) if int8 else ([], canvases)
    metadata = replace(metadata, precision="int8" if int8 else "f32")
    with _whole(path) as temporary:
        if to == "torchscript":
            write_torchscript(network, temporary, metadata)
        else:
            _write(temporary, network, metadata, calibrating)
        runs: RuntimeName = "torch" if to == "torchscript" else "openvino"
        written = open_runtime(temporary, metadata, runtime=runs, device="cpu")
        if not int8:
            _compare(network, written, metadata)
        drift = measure(_answers(network), written, checking, metadata)
        drift.check(INT8 if int8 else EXACT, metadata.name)
    return Exported(path, drift, len(calibrating), unread)


def _path(checkpoint: Path, out: Path | None, to: Form, *, int8: bool) -> Path:
    """Where the file goes.

    Raises:
        ConfigError: an unknown form, int8 in one that has none, or a name that ends otherwise.
    """
    if to not in get_args(Form):
        raise ConfigError(f"--to {to}: choose {', '.join(get_args(Form))}")
    if int8 and to != "openvino":
        raise ConfigError(f"--int8 is for OpenVINO, which alone runs it faster: use --to openvino, not {to}")
    suffix = SUFFIXES[to]
    if out is None:
        return checkpoint.with_suffix(".int8.xml" if int8 else suffix)
    if out.suffix.lower() != suffix:
        raise ConfigError(f"{out}: what {to} reads ends in {suffix}; name it {out.with_suffix(suffix).name}")
    return out


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """As `whole_file`; of an `.xml` with its `.bin`, which comes to its place first."""
    with ExitStack() as stack:
        temporary = stack.enter_context(whole_file(path))
        if path.suffix.lower() == ".xml":
            stack.enter_context(whole_file(path.with_suffix(".bin")))
        yield temporary


def _write(path: Path, network: Network, metadata: Metadata, calibrating: Sequence[Canvas]) -> None:
    """Write an `.onnx` or `.xml` graph, quantised where there are photos to calibrate with."""
    model = to_onnx(network, metadata).SerializeToString()
    if path.suffix.lower() == ".onnx":
        path.write_bytes(model)
        return
    onnx = path.with_suffix(".onnx")                     # beside the file that is to be written, under its hidden name
    try:
        onnx.write_bytes(model)
        converted = quantize(onnx, calibrating) if calibrating else openvino_core().read_model(str(onnx))
        write_openvino(converted, path, metadata)
    finally:
        onnx.unlink(missing_ok=True)


def _canvases(
    patterns: Sequence[str | Path], size: tuple[int, int], most: int
) -> tuple[list[Canvas], tuple[str, ...]]:
    """At most so many of the photos, evenly spaced, on canvases; and what is wrong with those that cannot be read.

    Raises:
        PhotoError: none can be read.
    """
    found = search(list(patterns) or [demo_photo()])
    problems = list(found.problems.values())
    paths = found.photos
    chosen = [paths[i] for i in np.linspace(0, len(paths) - 1, min(most, len(paths))).round().astype(int)]
    canvases = []
    for path in chosen:
        try:
            canvases.append(place(read_photo(path), size))
        except PhotoError as error:
            problems.append(str(error))
    if not canvases:
        raise PhotoError(f"--photos: none can be read; {problems[0] if problems else 'nothing was found'}")
    return canvases, tuple(problems)


def _answers(network: Network) -> Runs:
    def answer(pixels: NDArray[np.uint8], valid: NDArray[np.uint8]) -> Answer:
        with torch.inference_mode():
            output = network(torch.from_numpy(pixels), torch.from_numpy(valid))
        return Answer(output.masks.numpy(), output.labels.numpy())

    return answer


def _compare(network: Network, written: Runtime, metadata: Metadata) -> None:
    """Refuse a graph that answers otherwise than torch, on canvases that are partly padding."""
    pixels, valid = random_canvases(3, metadata.canvas)
    with torch.inference_mode():
        want = network(torch.from_numpy(pixels), torch.from_numpy(valid))
        got = written(pixels, valid)
        masks, labels, embeddings = (torch.from_numpy(x) for x in got if x is not None)
        # Two classes that tie may change places at a cell, and a label then speaks of another mask.
        area = area_resize(torch.from_numpy(valid)[:, None].float(), masks.shape[-2:])
        same = (network.decide(masks, area) == network.decide(want.masks, area)).flatten(2).all(2)  # (B, K)
        same = torch.cat([torch.ones_like(same[:, :1]), same], dim=1)                               # (B, 1 + K)
    assert want.embeddings is not None
    parts = (
        ("masks", masks, want.masks),
        ("labels", labels[same], want.labels[same]),
        ("embeddings", embeddings[same], want.embeddings[same]),
    )
    for name, a, b in parts:
        drift = float((a - b).abs().max()) / max(1.0, float(b.abs().max()))
        if not drift <= MAX_DRIFT:
            raise WeightsError(
                f"{metadata.name}: {name} of the graph differ from those of torch by {drift:.1e}, more than "
                f"{MAX_DRIFT:.0e}; no graph is written"
            )

