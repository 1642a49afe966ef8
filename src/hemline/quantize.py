"""int8: a graph whose convolutions compute in whole numbers, by NNCF, for OpenVINO.

The ranges of the numbers between layers are measured on photos, for nothing in the weights says them. The first
convolution, the last of the masks, and all that follows it (what decides masks, and the label head) stay in 32-bit
floats: docs/export.md says what that keeps.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hemline.errors import ConfigError
from hemline.graphs import quiet
from hemline.photo import Canvas
from hemline.runtime import import_quietly, openvino_core

LEAST_PHOTOS = 40
"""Photos that quantising asks for: 30 to calibrate with, and 10 that it never sees, to look at what came out."""
MOST_CALIBRATING = 300
"""Photos to calibrate with, at most: what NNCF itself takes."""
MOST_CHECKING = 100
CONVOLUTIONS = ("Convolution", "GroupConvolution", "ConvolutionBackpropData", "GroupConvolutionBackpropData")
"""OpenVINO's names of them."""


def split_photos(canvases: Sequence[Canvas], seed: int = 0) -> tuple[list[Canvas], list[Canvas]]:
    """Photos to calibrate with, and others to check by: a quarter, from 10 to `MOST_CHECKING`.

    Raises:
        ConfigError: there are fewer than `LEAST_PHOTOS`.
    """
    if len(canvases) < LEAST_PHOTOS:
        raise ConfigError(
            f"--int8 measures on photos which numbers flow through the network, and needs {LEAST_PHOTOS} or more of "
            f"the kind that it will read; name them with --photos, for {len(canvases)} is too few"
        )
    order = np.random.default_rng(seed).permutation(len(canvases))
    count = min(max(len(canvases) // 4, 10), MOST_CHECKING)
    chosen = [canvases[i] for i in order[: count + MOST_CALIBRATING]]
    return chosen[count:], chosen[:count]


def quantize(graph: Path, canvases: Sequence[Canvas]) -> Any:  # noqa: ANN401  OpenVINO has no types
    """Quantise an ONNX graph.

    Args:
        graph: The `.onnx` file.
        canvases: Photos to calibrate with.

    Returns:
        An `openvino.Model`.

    Raises:
        ConfigError: NNCF is not here.
    """
    openvino_core()                                      # the one that lives as long as the process
    with quiet(), contextlib.redirect_stderr(io.StringIO()), torch.random.fork_rng(devices=[]):
        try:
            nncf = import_quietly("nncf")
        except ModuleNotFoundError as error:
            hint = 'pip install "hemline[quantize]"'
            raise ConfigError(f"--int8 needs {error.name}, which is not here: {hint}") from error
        model = import_quietly("openvino").convert_model(str(graph))
        return nncf.quantize(
            model,
            nncf.Dataset(canvases, _inputs),
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(canvases),
            ignored_scope=nncf.IgnoredScope(names=float_operators(model), validate=False),
        )


def _inputs(canvas: Canvas) -> dict[str, NDArray[np.uint8]]:
    return {"pixels": canvas.pixels[None], "valid": canvas.valid[None]}


def float_operators(model: Any) -> list[str]:  # noqa: ANN401  OpenVINO has no types
    """The names of what stays in floats: the first convolution, the last before the masks, and all that these reach.

    What follows the masks, or is told of `valid`, decides by comparing logits and pools by zeros and ones; rounded to
    256 steps, cells would change their class, and labels would be those of other garments.

    Args:
        model: An `openvino.Model`.
    """
    operators = model.get_ordered_ops()
    first = next((op for op in operators if op.get_type_name() in CONVOLUTIONS), None)
    last = _before(model.output("masks").get_node())
    reached = {op.get_friendly_name() for op in (*last, model.input("valid").get_node())}
    for op in operators:                                 # sources come before what reads them
        if any(source.get_source_output().get_node().get_friendly_name() in reached for source in op.inputs()):
            reached.add(op.get_friendly_name())
    return sorted(reached | ({first.get_friendly_name()} if first is not None else set()))


def _before(op: Any) -> list[Any]:  # noqa: ANN401  OpenVINO has no types
    """The nearest convolutions that an operator's answer comes from."""
    waiting, seen, found = [op], set(), []
    while waiting:
        op = waiting.pop()
        if op.get_friendly_name() not in seen:
            seen.add(op.get_friendly_name())
            if op.get_type_name() in CONVOLUTIONS:
                found.append(op)
            else:
                waiting += [source.get_source_output().get_node() for source in op.inputs()]
    return found
