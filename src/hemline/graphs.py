"""A network -> the graphs that run without its code: ONNX, OpenVINO's own, TorchScript.

    inputs    pixels  uint8 (B, H, W, 3)    valid   uint8 (B, H, W)          B free, H W the checkpoint's canvas
    outputs   masks   float (B, K, h, w)    labels  float (B, 1 + K, L)      logits; see `hemline.model.Output`
              embeddings  float (B, 1 + K, D)

Weights of an ONNX graph stand in half precision, bit for bit as `checkpoint.save` rounds them, each with a Cast that a
runtime does once when it loads; everything is computed in 32-bit floats. Batch norm is left beside large kernels, for a
runtime folds it just as well, and a kernel folded here would have to be rounded a second time. OpenVINO's graph is the
ONNX graph as it reads it. TorchScript holds whole 32-bit floats.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import numpy as np
import onnx
import onnxscript.optimizer
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from hemline._weights_files import EXTRA, GRAPH_KEY, KEY, XML_END, XML_FINGERPRINT, xml_fingerprint
from hemline.errors import WeightsError
from hemline.metadata import Metadata
from hemline.model import Network
from hemline.runtime import import_quietly

OPSET = 18
"""The ONNX operators that torch's exporter writes natively from 2.10 on."""
MIN_PACKED = 1024
"""Numbers that a tensor must hold for half precision to be worth a Cast."""


def to_onnx(network: Network, metadata: Metadata) -> onnx.ModelProto:
    """The graph of a network, its metadata inside.

    Raises:
        WeightsError: torch's exporter cannot write this network.
    """
    pixels, valid = (torch.from_numpy(array) for array in random_canvases(2, metadata.canvas))
    try:
        model = trace(network, {"pixels": pixels, "valid": valid}, ["masks", "labels", "embeddings"])
    except torch.onnx.OnnxExporterError as error:
        reason = str(error.__cause__ or error).strip().partition("\n")[0]
        raise WeightsError(f"{metadata.name}: torch cannot write this network as a graph ({reason})") from error
    graph = hashlib.sha256(model.SerializeToString()).hexdigest()         # as yet without metadata
    helper.set_model_props(model, {KEY: metadata.to_json(), GRAPH_KEY: graph})
    return model


def trace(network: nn.Module, inputs: Mapping[str, Tensor], outputs: Sequence[str]) -> onnx.ModelProto:
    """The graph of any module, for batches of any size.

    Args:
        network: In evaluation mode, on the CPU.
        inputs: An example of each argument of `forward`, by its name; the batch comes first and is at least 2.
        outputs: Names for the tensors that it answers.
    """
    batch = torch.export.Dim("batch", min=1, max=1 << 16)
    with quiet():
        program = torch.onnx.export(
            network,
            tuple(inputs.values()),
            dynamo=True,
            dynamic_shapes={name: {0: batch} for name in inputs},
            input_names=list(inputs),
            output_names=outputs,
            opset_version=OPSET,
            optimize=False,
            verbose=False,
        )
        assert program is not None
        model = onnxscript.optimizer.optimize(_pack(program.model_proto))
    _strip(model)
    return model


def _pack(model: onnx.ModelProto) -> onnx.ModelProto:
    """Store in half precision, behind a Cast, what half precision holds exactly."""
    kept: list[onnx.TensorProto] = []
    casts: list[onnx.NodeProto] = []
    for tensor in model.graph.initializer:
        whole = numpy_helper.to_array(tensor)
        if whole.dtype == np.float32 and whole.size >= MIN_PACKED:
            with np.errstate(over="ignore"):
                half = whole.astype(np.float16)
            if np.array_equal(half.astype(np.float32), whole):
                name = f"{tensor.name}.half"
                casts.append(helper.make_node("Cast", [name], [tensor.name], to=TensorProto.FLOAT))
                tensor = numpy_helper.from_array(half, name)
        kept.append(tensor)
    nodes = [*casts, *model.graph.node]
    del model.graph.initializer[:], model.graph.node[:]
    model.graph.initializer.extend(kept)
    model.graph.node.extend(nodes)
    return model


def _strip(model: onnx.ModelProto) -> None:
    """Take out what only a debugger reads, paths of this machine among it."""
    graph = model.graph
    del graph.value_info[:], graph.metadata_props[:], model.metadata_props[:]
    for part in (*graph.node, *graph.initializer, *graph.input, *graph.output):
        del part.metadata_props[:]
        part.doc_string = ""
    graph.doc_string = model.doc_string = ""
    graph.name = KEY


def write_openvino(model: Any, path: Path, metadata: Metadata) -> None:  # noqa: ANN401  OpenVINO has no types
    """Write a model of OpenVINO as an `.xml` with its `.bin` beside it, what is said of it inside.

    Args:
        model: An `openvino.Model`.
        path: The `.xml` file.
        metadata: What the file says of itself.
    """
    import_quietly("openvino").save_model(model, str(path), compress_to_fp16=False)
    content = path.read_bytes()
    content = content[: content.rfind(XML_END)]          # what follows says how and where it was converted
    said = {"metadata": metadata.to_json()}
    said[XML_FINGERPRINT] = xml_fingerprint(content + XML_END, path.with_suffix(".bin").read_bytes())
    values = "".join(f"\n\t\t\t<{key} value={quoteattr(value)} />" for key, value in said.items())
    end = f"\n\t\t<{KEY}>{values}\n\t\t</{KEY}>\n\t</rt_info>\n</net>\n"
    path.write_bytes(content + XML_END + end.encode())


def write_torchscript(network: Network, path: Path, metadata: Metadata) -> None:
    """Trace a network and write it as TorchScript, its metadata in an extra file of the zip.

    Raises:
        WeightsError: torch cannot trace it.
    """
    pixels, valid = (torch.from_numpy(array) for array in random_canvases(2, metadata.canvas))
    with quiet(), torch.no_grad():
        try:
            traced = torch.jit.trace(network, (pixels, valid), check_trace=False)  # type: ignore[no-untyped-call]
        except (RuntimeError, TypeError) as error:
            reason = str(error).strip().partition("\n")[0]
            raise WeightsError(f"{metadata.name}: torch cannot write this network as TorchScript ({reason})") from error
        content = io.BytesIO()                           # torch's own writer has other errors for a full disk
        torch.jit.save(traced, content, _extra_files={EXTRA: metadata.to_json()})
    path.write_bytes(content.getbuffer())


def random_canvases(count: int, size: tuple[int, int]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Random smooth photos on grey, each narrower than the one before -> pixels (B, H, W, 3), valid (B, H, W)."""
    random = np.random.default_rng(0)
    height, width = size
    coarse = random.integers(0, 256, (count, -(-height // 16), -(-width // 16), 3))
    noise = random.integers(-20, 21, (count, height, width, 3))
    pixels = coarse.repeat(16, 1).repeat(16, 2)[:, :height, :width] + noise
    valid = np.ones((count, height, width), np.uint8)
    for i in range(count):
        valid[i, :, width - i * width // 4 :] = 0
    return np.where(valid[..., None] == 1, pixels.clip(0, 255), 127).astype(np.uint8), valid


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence what the exporter says to its own developers: warnings, log lines, prints."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
