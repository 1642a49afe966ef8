"""The graph for phones and browsers: it places photos as `place` does and answers as `Tagger` does."""

import json
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from hemline import web
from hemline._regions import logit, sigmoid
from hemline.errors import ConfigError, WeightsError
from hemline.labels import load_label_space
from hemline.metadata import Metadata, read_metadata
from hemline.photo import place, read_photo
from hemline.predict import demo_photo
from hemline.result import Result, read_answer
from hemline.runtime import default_weights
from hemline.tagger import Tagger
from hemline.web import WebAnswer, WebSession, write_web
from hemline.web_graph import attributes_of, web_graph
from tests.exported import copied
from tests.lines import random_scores

SIZES = ((1, 1), (1, 300), (300, 1), (2, 5), (64, 96), (63, 97), (640, 20), (20, 640), (700, 900), (130, 100))


def photo_of(height: int, width: int) -> NDArray[np.uint8]:
    random = np.random.default_rng(height * 1000 + width)
    coarse = random.integers(0, 256, (-(-height // 16), -(-width // 16), 3))
    noise = random.integers(-20, 21, (height, width, 3))
    return (coarse.repeat(16, 0).repeat(16, 1)[:height, :width] + noise).clip(0, 255).astype(np.uint8)


class Small(NamedTuple):
    tagger: Tagger
    core: onnx.ModelProto
    web: onnx.ModelProto


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Small:
    """A tagger of the small network, and the web graph of the same."""
    path = copied(tmp_path_factory.mktemp("small")).with_suffix(".onnx")
    metadata = read_metadata(path)
    return Small(Tagger.load(path, runtime="onnxruntime"), onnx.load(path), web_graph(onnx.load(path), metadata))


def test_standard_operators_alone(small: Small) -> None:
    model = small.web
    onnx.checker.check_model(model, full_check=True)
    assert {(opset.domain, opset.version) for opset in model.opset_import} == {("", 18)}
    assert {node.domain for node in model.graph.node} == {""}
    tensors = {value.name: value.type.tensor_type for value in (*model.graph.input, *model.graph.output)}
    shapes = {
        name: (tensor.elem_type, [d.dim_param or d.dim_value for d in tensor.shape.dim])
        for name, tensor in tensors.items()
    }
    assert shapes == {
        "photo": (TensorProto.UINT8, ["height", "width", "channels"]),
        "masks": (TensorProto.UINT8, [1, "mask_height", "mask_width"]),
        "found": (TensorProto.UINT8, [27]),
        "scores": (TensorProto.FLOAT, [27]),
        "boxes": (TensorProto.FLOAT, [27, 4]),
        "attributes": (TensorProto.UINT8, [28, 29]),
        "attribute_scores": (TensorProto.FLOAT, [28, 29]),
    }
    halves = [t for t in model.graph.initializer if t.data_type == TensorProto.FLOAT16]
    assert halves
    assert not [t for t in model.graph.initializer if t.data_type == TensorProto.FLOAT and np.prod(t.dims) > 8192]


def test_photos_are_placed_as_elsewhere(small: Small) -> None:
    """Scaled up and down, at odd sizes: one level of rounding apart, and none where it is only shrunk to a half."""
    tagger, _, model = small
    seen = onnx.ModelProto()
    seen.CopyFrom(model)
    del seen.graph.output[:]
    for name in ("network_pixels", "network_valid"):
        seen.graph.output.append(helper.make_tensor_value_info(name, TensorProto.UINT8, None))
    session = WebSession(seen.SerializeToString())._session
    for size in SIZES:
        photo = photo_of(*size)
        pixels, valid = session.run(None, {"photo": photo})
        canvas = place(photo, tagger.metadata.canvas)
        assert np.array_equal(valid[0], canvas.valid), size
        assert np.abs(pixels[0].astype(int) - canvas.pixels).max() <= 1, size


Decisions = tuple[dict[str, str], set[tuple[str, str, str]], set[tuple[str, str]]]
"""How each garment was found, its attributes, those of the photo."""


def decisions(result: Result) -> Decisions:
    garments: dict[str, str] = {g.category: g.found_by for g in result.garments_and_parts}
    attributes = {(g.category, x.group, x.label) for g in result.garments_and_parts for x in g.attributes}
    return garments, attributes, {(x.group, x.label) for x in result.labels if x.group != "category"}


def in_words(answer: WebAnswer, metadata: Metadata) -> Decisions:
    names = [c.name for c in metadata.labels.categories]
    labels = attributes_of(metadata.labels)
    garments = {names[k]: ["mask", "label"][answer.found[k] - 1] for k in np.flatnonzero(answer.found)}
    rows = np.argwhere(answer.attributes[1:])
    attributes = {(names[k], labels[a].group, labels[a].name) for k, a in rows}
    return garments, attributes, {(labels[a].group, labels[a].name) for a in np.flatnonzero(answer.attributes[0])}


@pytest.mark.parametrize(("shift", "turned"), [(0.0, False), (1.0, True), (3.0, False)])
def test_decisions_are_those_of_the_tagger(small: Small, shift: float, *, turned: bool) -> None:
    """On photos of the canvas's own size nothing is scaled, so that every decision must agree, down to the last label.

    Thresholds of masks are raised, which leaves more and more to the labels, and some are never or always passed.
    """
    tagger, core, _ = small
    metadata = tagger.metadata
    masks = sigmoid(logit(metadata.mask_thresholds) + shift)
    masks[3] = 1.0
    labels = np.random.default_rng(3).uniform(0.05, 0.95, metadata.labels.num_labels).round(3)
    labels[[0, 40]], labels[[1, 41]] = 0.0, 1.0
    changed = replace(metadata, mask_thresholds=tuple(masks.tolist()), label_thresholds=tuple(labels.tolist()))
    if turned:
        changed = replace(
            changed, scores=random_scores(metadata.labels), photo_thresholds=tuple(labels[::-1].tolist())
        )
    here = Tagger(tagger.runtime, changed)
    graph = web_graph(core, changed)
    session = WebSession(graph.SerializeToString())
    by_label, by_mask, said = 0, 0, 0
    for seed in range(6):
        photo = photo_of(*metadata.canvas) if seed == 0 else np.roll(photo_of(64, 96), 11 * seed, axis=(0, 1))
        want, got = here(photo), session(photo)
        mine, words = decisions(want), in_words(got, changed)
        small_ones = {g.category for g in want.garments_and_parts if 0 < g.area < 0.02}
        if small_ones or set(mine[0]) - set(words[0]):                 # speckles are cleaned in the one alone
            continue
        assert words == mine
        by_label += sum(kind == "label" for kind in mine[0].values())
        by_mask += sum(kind == "mask" for kind in mine[0].values())
        said += len(mine[1]) + len(mine[2])
    assert said if by_mask else by_label


@pytest.fixture(scope="module")
def package() -> WebSession:
    """The web graph of the weights in the package."""
    path = default_weights()
    return WebSession(web_graph(onnx.load(path), read_metadata(path)).SerializeToString())


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copied(tmp_path_factory.mktemp("written"), ".safetensors")


def test_a_graph_that_answers_otherwise_is_not_written(
    small: Small, written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(core: onnx.ModelProto, metadata: Metadata) -> onnx.ModelProto:
        return web_graph(core, replace(metadata, label_thresholds=(0.0,) * metadata.labels.num_labels))

    monkeypatch.setattr(web, "to_onnx", lambda *_: small.core)
    monkeypatch.setattr(web, "web_graph", wrong)
    out = tmp_path / "small.onnx"
    with pytest.raises(WeightsError, match=r"small: on 1 of 1 photos the web graph answers otherwise.*nothing is"):
        write_web(written, out)
    assert not list(out.parent.iterdir())


def test_what_is_written(
    small: Small, written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web, "to_onnx", lambda *_: small.core)
    monkeypatch.setattr(web, "MAX_SCORE", 0.3)                         # random weights make much of a level of grey
    monkeypatch.setattr(web, "MAX_PIXELS", 0.3)
    monkeypatch.setattr(web, "SMALL", 0.3)
    done = write_web(written)
    assert done.path == written.with_suffix(".web.onnx")
    words = json.loads(done.path.with_suffix(".json").read_text(encoding="utf-8"))
    metadata = read_metadata(written)
    carried = {pair.key: pair.value for pair in onnx.load(done.path).metadata_props}
    assert json.loads(carried["hemline.web"]) == words
    assert [x["name"] for x in words["categories"]] == [c.name for c in metadata.labels.categories]
    assert [x["name"] for x in words["attributes"]] == [x.name for x in attributes_of(metadata.labels)]
    assert words["canvas"] == {"height": 64, "width": 96}
    assert len(words["layers"]) == len(metadata.layers)
    with pytest.raises(ConfigError, match=r"name it small\.onnx"):
        write_web(written, tmp_path / "small.tflite")
    with pytest.raises(WeightsError, match="a graph for phones and browsers"):
        Tagger.load(done.path)


def test_the_demo_photo_by_the_weights_in_the_package(package: WebSession) -> None:
    drift = web.compare(package, Tagger.load(runtime="onnxruntime"), demo_photo())
    assert drift.problems == []
    assert drift.pixels < 0.01
    photo = read_photo(demo_photo())
    alpha = np.full((*photo.shape[:2], 1), 7, np.uint8)
    with_alpha = package(np.concatenate([photo, alpha], 2))._asdict()
    assert all(np.array_equal(value, with_alpha[name]) for name, value in package(photo)._asdict().items())


def stand_in(masks: NDArray[np.float32], labels: NDArray[np.float32], canvas: tuple[int, int]) -> onnx.ModelProto:
    """A network that answers the same to every photo."""
    values = {"masks": masks[None], "labels": labels[None]}
    nodes = [helper.make_node("Identity", [f"{name}_value"], [name]) for name in values]
    inputs = [
        helper.make_tensor_value_info("pixels", TensorProto.UINT8, [1, *canvas, 3]),
        helper.make_tensor_value_info("valid", TensorProto.UINT8, [1, *canvas]),
    ]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, value.shape) for name, value in values.items()]
    constants = [numpy_helper.from_array(value, f"{name}_value") for name, value in values.items()]
    graph = helper.make_graph(nodes, "stand_in", inputs, outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


@pytest.mark.parametrize("wordless", [False, True])
@pytest.mark.parametrize("space", ["fashionpedia", "street"])
def test_parts_lie_on_garments_and_spaces_may_have_no_attributes(space: str, wordless: bool) -> None:
    """Large blocks of logits: masks, boxes, scores and words are those of `read_answer`, in every layer."""
    labels = load_label_space(space)
    labels = replace(labels, groups=()) if wordless else labels
    metadata = Metadata(
        name=space,
        labels=labels,
        canvas=(64, 96),
        mask_thresholds=(0.4,) * labels.num_masks,
        label_thresholds=(0.6,) * labels.num_labels,
        scores=random_scores(labels) if wordless == (space == "street") else None,
    )
    photo = photo_of(64, 48)
    garments = 0
    for seed in range(4):
        random = np.random.default_rng(seed)
        masks = random.normal(-3, 2.5, (labels.num_masks, 4, 6)).repeat(4, 1).repeat(4, 2).astype(np.float32)
        logits = random.normal(0, 2, (1 + labels.num_masks, labels.num_labels)).astype(np.float32)
        got = WebSession(web_graph(stand_in(masks, logits, (64, 96)), metadata).SerializeToString())(photo)
        frame = place(photo, metadata.canvas).frame
        want = read_answer(masks, logits, metadata.canvas, frame, metadata, photo, name="photo")
        assert got.masks.shape == (len(metadata.layers), 64, 48)
        assert in_words(got, metadata) == decisions(want)
        for garment in want.garments_and_parts:
            k = labels.find(garment.category).index
            held = (got.masks == 1 + k).any(0)
            assert got.scores[k] == pytest.approx(garment.score, abs=0.01)
            if garment.found_by == "mask":
                assert (held != garment.mask).mean() < 0.01             # speckles are cleaned in the one alone
                if (held == garment.mask).all():
                    garments += 1
                    assert got.boxes[k] * [48, 64, 48, 64] == pytest.approx(garment.box)
                    assert got.scores[k] == pytest.approx(garment.score, abs=1e-4)
            else:
                garments += 1
                assert not got.boxes[k].any()
                assert not (got.masks == 1 + k).any()
    assert garments > 20


def test_the_docs_show_what_the_tests_run() -> None:
    docs = Path(__file__).parents[1] / "docs"
    shown = (docs / "phones.md").read_text(encoding="utf-8")
    for name in ("hemline.js", "index.html"):
        assert (docs / "web" / name).read_text(encoding="utf-8").rstrip() in shown
