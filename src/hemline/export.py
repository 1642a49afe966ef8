"""Checkpoint -> the graph that runs without torch: an ONNX file with the same weights and the same metadata.

    inputs    pixels  uint8 (B, H, W, 3)    valid   uint8 (B, H, W)          B free, H W the checkpoint's canvas
    outputs   masks   float (B, K, h, w)    labels  float (B, 1 + K, L)      logits; see `hemline.model.Output`
              embeddings  float (B, 1 + K, D)

Weights stand in half precision, bit for bit as `checkpoint.save` rounds them, each with a Cast that a runtime does
once when it loads; everything is computed in 32-bit floats. Batch norm is left beside large kernels, for a runtime
folds it just as well, and a kernel folded here would have to be rounded a second time.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxscript.optimizer
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from hemline.checkpoint import halve, load_network
from hemline.errors import WeightsError
from hemline.heads._blocks import area_resize
from hemline.metadata import GRAPH_KEY, KEY, Metadata
from hemline.model import Network
from hemline.runtime import open_runtime
from hemline.whole_files import whole_file

MAX_DRIFT = 1e-3
"""Largest difference between a number of the graph and of torch, relative to the largest of its kind (or to 1)."""
OPSET = 18
"""The ONNX operators that torch's exporter writes natively from 2.10 on."""
MIN_PACKED = 1024
"""Numbers that a tensor must hold for half precision to be worth a Cast."""


def export(checkpoint: str | Path, out: str | Path | None = None, *, head: nn.Module | None = None) -> Path:
    """Write the graph of a checkpoint, and check that it answers as torch does.

    Args:
        checkpoint: A `.safetensors` file.
        out: The `.onnx` file; beside the checkpoint, with its name, if None.
        head: The mask head, where it was trained with one of your own.

    Returns:
        The path of the graph.

    Raises:
        WeightsError: the checkpoint cannot be read, the network cannot be written as a graph, the graph answers
            otherwise than torch, or the file cannot be written.
    """
    network, metadata = load_network(checkpoint, head=head)
    network.load_state_dict(halve(network.state_dict()))
    out = Path(checkpoint).with_suffix(".onnx") if out is None else Path(out)
    if out.suffix.lower() != ".onnx":
        raise WeightsError(f"{out}: a graph is an .onnx file")
    model = to_onnx(network, metadata)
    with whole_file(out) as temporary:
        temporary.write_bytes(model.SerializeToString())
        _compare(network, temporary, metadata)
    return out


def to_onnx(network: Network, metadata: Metadata) -> onnx.ModelProto:
    """The graph of a network, its metadata inside.

    Raises:
        WeightsError: torch's exporter cannot write this network.
    """
    pixels, valid = (torch.from_numpy(array) for array in _canvases(2, metadata.canvas))
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
    with _quiet():
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


def _compare(network: Network, graph: Path, metadata: Metadata) -> None:
    """Refuse a graph that answers otherwise than torch, on canvases that are partly padding."""
    pixels, valid = _canvases(3, metadata.canvas)
    with torch.inference_mode():
        want = network(torch.from_numpy(pixels), torch.from_numpy(valid))
        got = open_runtime(graph, metadata, runtime="openvino", device="cpu")(pixels, valid)
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


def _canvases(count: int, size: tuple[int, int]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
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
def _quiet() -> Iterator[None]:
    """Silence what the exporter says to its own developers: warnings, log lines, prints."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
