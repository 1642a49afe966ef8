"""The exported graph: what it holds, what it leaves out, and when none is written."""

import logging
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper
from torch import Tensor, nn

from hemline.checkpoint import load, load_network, save
from hemline.errors import ConfigError, UnwritableError, WeightsError
from hemline.export import export
from hemline.graphs import to_onnx
from hemline.heads import Dense
from hemline.metadata import read_metadata
from hemline.runtime import Answer, Runtime, open_runtime, openvino_core
from tests.exported import CANVAS, copied, small_network


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copied(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="module")
def graph(checkpoint: Path) -> onnx.ModelProto:
    return onnx.load(checkpoint.with_suffix(".onnx"))


def test_the_graph_says_what_its_checkpoint_says(checkpoint: Path) -> None:
    assert read_metadata(checkpoint.with_suffix(".onnx")) == read_metadata(checkpoint)


def test_inputs_and_outputs_are_those_of_the_contract(graph: onnx.ModelProto) -> None:
    onnx.checker.check_model(graph, full_check=True)
    tensors = {value.name: value.type.tensor_type for value in (*graph.graph.input, *graph.graph.output)}
    shapes = {
        name: (tensor.elem_type, [d.dim_param or d.dim_value for d in tensor.shape.dim])
        for name, tensor in tensors.items()
    }
    height, width = CANVAS
    assert shapes == {
        "pixels": (TensorProto.UINT8, ["batch", height, width, 3]),
        "valid": (TensorProto.UINT8, ["batch", height, width]),
        "masks": (TensorProto.FLOAT, ["batch", 29, height // 4, width // 4]),
        "labels": (TensorProto.FLOAT, ["batch", 30, 83]),
        "embeddings": (TensorProto.FLOAT, ["batch", 30, 32]),
    }


def test_weights_are_stored_in_half_as_the_checkpoint_rounds_them(graph: onnx.ModelProto, checkpoint: Path) -> None:
    halves = [t for t in graph.graph.initializer if t.data_type == TensorProto.FLOAT16]
    large = [t for t in graph.graph.initializer if t.data_type == TensorProto.FLOAT and np.prod(t.dims) > 8192]
    assert not large
    assert halves
    state, _ = load(checkpoint)
    for tensor in halves:
        stored = numpy_helper.to_array(tensor).astype(np.float32)
        assert np.array_equal(stored, state[tensor.name.removesuffix(".half")].numpy()), tensor.name


def test_the_file_tells_nothing_of_the_machine_that_wrote_it(checkpoint: Path) -> None:
    content = checkpoint.with_suffix(".onnx").read_bytes()
    for word in (b"site-packages", b"stack_trace", b"hemline/", b".py", str(checkpoint.parent.parent).encode()):
        assert word not in content


def test_openvino_folds_batch_norms_and_casts_away(checkpoint: Path) -> None:
    """Convolutions take their activation with them; nothing converts weights while photos are read."""
    options = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino_core().compile_model(str(checkpoint.with_suffix(".onnx")), "CPU", options)
    kinds = [op.get_rt_info()["layerType"].value for op in compiled.get_runtime_model().get_ops()]
    network, _ = load_network(checkpoint)
    assert kinds.count("Convolution") == sum(isinstance(m, nn.Conv2d) for m in network.modules())
    # the two inputs are bytes, and comparisons give masks
    assert kinds.count("Convert") <= 5
    assert not {"BatchNormInference", "BatchNormalization", "Clamp"} & set(kinds)
    assert kinds.count("Eltwise") < 20, "scale and shift of a batch norm would stand here"


@pytest.mark.slow
def test_nothing_is_said_while_a_graph_is_written(
    checkpoint: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    out = export(checkpoint, tmp_path / "again.onnx").path
    assert out == tmp_path / "again.onnx"
    said = capfd.readouterr()
    assert said.out + said.err + caplog.text == ""
    assert [x.name for x in tmp_path.iterdir()] == ["again.onnx"]
    assert logging.root.manager.disable == logging.NOTSET
    assert out.read_bytes() == checkpoint.with_suffix(".onnx").read_bytes()  # the same weights give the same file


class Wrong:
    """Answers as the graph does, but one logit of one output a little beside it."""

    def __init__(self, runtime: Runtime, output: str) -> None:
        self.runtime, self.output = runtime, output

    def __call__(self, pixels: NDArray[np.uint8], valid: NDArray[np.uint8]) -> Answer:
        answer = self.runtime(pixels, valid)._asdict()
        answer[self.output] = answer[self.output].copy()
        answer[self.output][0, 0, 0] += 0.05
        return Answer(**answer)


@pytest.mark.parametrize("output", ["masks", "labels", "embeddings"])
def test_a_graph_that_answers_otherwise_than_torch_is_not_written(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str
) -> None:
    model = onnx.load(checkpoint.with_suffix(".onnx"))
    monkeypatch.setattr("hemline.export.to_onnx", lambda *_: model)
    monkeypatch.setattr("hemline.export.open_runtime", lambda *a, **k: Wrong(open_runtime(*a, **k), output))
    with pytest.raises(WeightsError, match=f"{output} of the graph differ from those of torch by"):
        export(checkpoint, tmp_path / "wrong.onnx")
    assert not list(tmp_path.iterdir())


class Untraceable(nn.Module):
    """A head that asks for the values of a photo: no graph can say that."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head, self.map_channels = head, head.map_channels

    def forward(self, features: list[Tensor]) -> Dense:
        dense: Dense = self.head(features)
        return Dense(dense.logits * 2, dense.maps) if features[0].mean().item() > 0 else dense


@pytest.mark.slow
def test_a_network_that_is_no_graph_gets_a_sentence() -> None:
    network, metadata = deepcopy(small_network())
    network.mask_head = Untraceable(network.mask_head)
    with pytest.raises(WeightsError, match="small: torch cannot write this network") as error:
        to_onnx(network, metadata)
    assert "\n" not in str(error.value)


def test_bad_paths_get_a_sentence(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"graph\.xml: what onnx reads ends in \.onnx; name it graph\.onnx"):
        export(checkpoint, tmp_path / "graph.xml")
    with pytest.raises(WeightsError, match=r"need a \.safetensors file"):
        export(checkpoint.with_suffix(".onnx"))
    monkeypatch.setattr("hemline.export.to_onnx", lambda *_: onnx.ModelProto())
    with pytest.raises(UnwritableError, match=r"none.*cannot be written"):
        export(checkpoint, tmp_path / "none" / "graph.onnx")


def test_a_checkpoint_in_full_precision_is_rounded_as_saving_rounds_it(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, metadata = small_network()
    save(tmp_path / "full.safetensors", network.state_dict(), replace(metadata, name="full"), half=False)
    seen: dict[str, Tensor] = {}
    monkeypatch.setattr("hemline.export.to_onnx", lambda network, _: seen.update(network.state_dict()))
    with pytest.raises(AttributeError):
        export(tmp_path / "full.safetensors")
    state, _ = load(checkpoint)
    assert all(torch.equal(seen[name], state[name]) for name in state)
