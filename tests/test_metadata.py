"""Metadata of weights files: round trips, and one sentence for every file that is not ours or not whole."""

import json
import math
import struct
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hemline._weights_files import KEY
from hemline.errors import HemlineError, WeightsError
from hemline.labels import LabelSpace
from hemline.metadata import FORMAT_VERSION, Metadata, read_metadata

SPACE = LabelSpace.from_dict(
    {
        "name": "tiny",
        "version": 1,
        "categories": [
            {"id": 4, "name": "jacket", "supercategory": "upperbody", "outfit_part": "upper body"},
            {"id": 23, "name": "shoe", "supercategory": "legs", "outfit_part": "feet", "shown": False},
        ],
        "pixels": ["hair"],
        "groups": [{"name": "pattern", "choice": "one", "labels": [{"id": 328, "name": "stripe"}]}],
    }
)


def metadata(**changes: Any) -> Metadata:
    values: dict[str, Any] = {
        "name": "tiny",
        "labels": SPACE,
        "canvas": (384, 256),
        "mask_thresholds": (0.5, 1.0, 0.0),
        "label_thresholds": (0.25, 0.5, 0.75),
        "recipe": {"epochs": 3, "data": [{"name": "ccp"}]},
        "metrics": {"mean_iou": 0.41},
        "data": [{"name": "ccp", "terms": "Apache-2.0", "photos": 861}],
        "license": "Apache-2.0",
        "hemline_version": "0.1.0",
        "weights_sha256": "ab" * 32,
    }
    return Metadata(**(values | changes))


def safetensors_bytes(text: str, weights: bytes = bytes(8)) -> bytes:
    """A safetensors file by hand: one tensor of two floats."""
    header = {"__metadata__": {KEY: text}, "w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}
    packed = json.dumps(header).encode()
    return struct.pack("<Q", len(packed)) + packed + weights


def onnx_field(number: int, payload: bytes) -> bytes:
    """A length-delimited protobuf field by hand."""
    size, length = len(payload), b""
    while True:
        size, low = size >> 7, size & 0x7F
        length += bytes([low | (0x80 if size else 0)])
        if not size:
            return bytes([number << 3 | 2]) + length + payload


def onnx_bytes(text: str, graph: bytes = b"g" * 300) -> bytes:
    """`ir_version`, a graph of nonsense that must never be looked into, and two metadata entries."""
    pairs = [(b"other", b"x"), (KEY.encode(), text.encode())]
    entries = [onnx_field(14, onnx_field(1, key) + onnx_field(2, value)) for key, value in pairs]
    return b"\x08\x0a" + onnx_field(7, graph) + b"".join(entries)


FORMS: dict[str, Callable[..., bytes]] = {"w.safetensors": safetensors_bytes, "w.onnx": onnx_bytes}


@pytest.mark.parametrize("name", FORMS)
def test_a_file_gives_back_what_was_written(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(FORMS[name](metadata().to_json()))
    assert read_metadata(tmp_path / name) == metadata()


def test_reads_what_the_safetensors_package_writes(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    path = tmp_path / "w.safetensors"
    save_file({"w": np.ones((3, 3), np.float32)}, path, metadata={KEY: metadata().to_json()})
    assert read_metadata(str(path)) == metadata()


def test_reads_what_the_onnx_package_writes(tmp_path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper

    big = helper.make_tensor("w", TensorProto.FLOAT, [70_000], bytes(280_000), raw=True)
    value = helper.make_tensor_value_info("w", TensorProto.FLOAT, [70_000])
    graph = helper.make_graph([], "g", [], [value], initializer=[big])
    model = helper.make_model(graph, producer_name="test", doc_string="d" * 200)
    helper.set_model_props(model, {"before": "1", KEY: metadata().to_json(), "after": "x" * 500})
    onnx.save(model, tmp_path / "w.onnx")
    assert read_metadata(tmp_path / "w.onnx") == metadata()


def test_what_readers_raise_of_strange_files_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    strange = tmp_path / "w.xml"
    strange.write_bytes(b'<?xml version="1.0" encoding="foo"?><net></net>')
    with pytest.raises(WeightsError, match="not a graph of OpenVINO"):
        read_metadata(strange)
    monkeypatch.setattr("hemline._weights_files.MAX_HEADER", 40)
    with pytest.raises(WeightsError, match="more than the 40 bytes"):
        read_metadata(strange)
    packed = tmp_path / "w.pt"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("w/extra/hemline.json", "a" * 30)
    content = bytearray(packed.read_bytes())
    content[59:64] = b"\xff" * 5                         # of LZMA's properties, after the name
    packed.write_bytes(content)
    with pytest.raises(WeightsError, match="not a TorchScript file"):
        read_metadata(packed)


def test_a_graph_for_browsers_is_called_so(tmp_path: Path) -> None:
    from onnx import helper, save

    graph = tmp_path / "w.web.onnx"
    save(helper.make_model(helper.make_graph([], "g", [], [])), graph)
    with pytest.raises(WeightsError, match="a graph for phones and browsers"):
        read_metadata(graph)


def test_figures_that_are_no_numbers_become_null() -> None:
    text = metadata(metrics={"ap": [math.nan, math.inf, 0.5]}).to_json()
    assert Metadata.from_json(text).metrics == {"ap": [None, None, 0.5]}


def test_unknown_keys_are_left_out_and_optional_ones_may_be_missing() -> None:
    values = json.loads(metadata().to_json()) | {"colour_of_the_sky": "blue"}
    del values["recipe"], values["data"]
    read = Metadata.from_json(json.dumps(values))
    assert (read.recipe, read.data, read.canvas) == ({}, [], (384, 256))


@pytest.mark.parametrize("name", FORMS)
def test_every_truncation_is_refused(tmp_path: Path, name: str) -> None:
    whole = FORMS[name](metadata().to_json())
    path = tmp_path / name
    for length in {*range(0, 40), *range(40, len(whole), 37), len(whole) - 1}:
        path.write_bytes(whole[:length])
        with pytest.raises(WeightsError) as caught:
            read_metadata(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("w.safetensors", b"", "cut short"),
        ("w.safetensors", b"PK\x03\x04 a zip file, as torch.save makes it", "not a safetensors file"),
        ("w.safetensors", struct.pack("<Q", 2**63) + b"{}", "not a safetensors file"),
        ("w.safetensors", struct.pack("<Q", 0) + b"{ this is not the end", "not a safetensors file"),
        ("w.safetensors", struct.pack("<Q", 2) + b"{}", "not weights of Hemline"),
        ("w.safetensors", struct.pack("<Q", 9) + b'{"a": 1} ', "malformed"),
        ("w.safetensors", struct.pack("<Q", 9) + b'{"a"\xff\xfe\xfd\xfc\xfb', "malformed"),
        ("w.safetensors", struct.pack("<Q", 200_000) + b'{"a":' + b"[" * 199_995, "malformed"),
        ("w.onnx", b"", "cut short"),
        ("w.onnx", b"\x08\x0a", "no graph"),
        ("w.onnx", b"\xff" * 400, "not an ONNX file"),
        ("w.onnx", b"text, and more text, and yet more text", "not an ONNX file"),
        ("w.onnx", b"\x08\x0a" + onnx_field(7, b"graph"), "not weights of Hemline"),
        ("w.onnx", b"\x08\x0a\x3b", "not an ONNX file"),
        ("w.pth", b"", r"weights are a \.safetensors, \.onnx, \.xml"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError, match=says):
        read_metadata(tmp_path / name)


def test_missing_files_and_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no such weights file"):
        read_metadata(tmp_path / "none.onnx")
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(WeightsError, match="cannot be read"):
        read_metadata(tmp_path / "folder.onnx")


def test_newer_formats_ask_for_an_upgrade(tmp_path: Path) -> None:
    newer = {"format_version": FORMAT_VERSION + 1, "hemline_version": "9.9"}
    (tmp_path / "w.onnx").write_bytes(onnx_bytes(json.dumps(json.loads(metadata().to_json()) | newer)))
    with pytest.raises(WeightsError, match=r"format 2, .* format 1; upgrade it to 9\.9"):
        read_metadata(tmp_path / "w.onnx")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"canvas": [384]}, "canvas"),
        ({"canvas": [384, 0]}, "canvas"),
        ({"canvas": [384.5, 256]}, "canvas"),
        ({"canvas": "384x256"}, "canvas of another type"),
        ({"mask_thresholds": [0.5]}, "mask_thresholds must be 3 probabilities"),
        ({"label_thresholds": [0.5, 0.5, 1.5]}, "label_thresholds"),
        ({"label_thresholds": [0.5, 0.5, "a"]}, "label_thresholds"),
        ({"labels": {"name": "x"}}, "damaged: label space x"),
        ({"labels": []}, "labels of another type"),
        ({"recipe": []}, "recipe of another type"),
        ({"format_version": None}, "format version"),
        ({"format_version": True}, "format version"),
        ({"format_version": 0}, "format version"),
    ],
)
def test_damaged_metadata_is_refused(change: dict[str, Any], says: str) -> None:
    with pytest.raises(WeightsError, match=says):
        Metadata.from_json(json.dumps(json.loads(metadata().to_json()) | change))


def test_a_missing_field_is_named() -> None:
    values = json.loads(metadata().to_json())
    del values["canvas"], values["labels"]
    with pytest.raises(WeightsError, match="labels, canvas missing"):
        Metadata.from_json(json.dumps(values))


@pytest.mark.parametrize("text", ["", "null", "[]", "3", "{", "{}", "[" * 100_000, b"\xff\xfe\x00"])
def test_texts_that_are_no_metadata_are_refused(text: Any) -> None:
    with pytest.raises(WeightsError):
        Metadata.from_json(text)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(FORMS)), st.data())
def test_damaged_bytes_never_do_worse_than_one_sentence(
    tmp_path_factory: pytest.TempPathFactory, name: str, data: st.DataObject
) -> None:
    content = bytearray(FORMS[name](metadata().to_json(), b"\0" * 8))
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / name
    path.write_bytes(bytes(content))
    with suppress(HemlineError):
        read_metadata(path)
