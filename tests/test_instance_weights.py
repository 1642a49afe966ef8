"""Weights whose network finds instances: through commands and API to the same `Result`; and what refuses them."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from hemline import Tagger
from hemline.checkpoint import load_instance_network, load_network, save
from hemline.cli import app
from hemline.config import Config, load_config
from hemline.errors import ConfigError, DeviceError, WeightsError
from hemline.export import export
from hemline.labels import load_label_space
from hemline.metadata import Metadata, read_metadata
from hemline.model import build_instances
from hemline.photo import place
from hemline.result import read_detections
from hemline.runtime import open_runtime
from hemline.train import train

SMALL = [
    "backbone.name=test_efficientnet", "backbone.pretrained=false", "labels=outfit5", "canvas=[64,64]",
    "head.width=16", "head.box_hidden=32", "head.proposals=50", "head.least_score=0", "head.detections=9",
    "head.anchor_sizes=[8,16,32,64,96]",
]  # fmt: skip


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a small Mask R-CNN that has learnt nothing, and answers whatever it proposes."""
    config, space = load_config("mask_rcnn", SMALL), load_label_space("outfit5")
    torch.manual_seed(0)
    network = build_instances(config, space)
    metadata = Metadata(
        name="finder",
        labels=space,
        canvas=config.canvas,
        mask_thresholds=(0.5,) * space.num_masks,
        label_thresholds=(0.5,) * space.num_labels,
        finds="instances",
        instance_scores=(0.0,) * len(space.categories),
        recipe=config.to_dict(),
    )
    path = tmp_path_factory.mktemp("weights") / "finder.safetensors"
    save(path, network.state_dict(), metadata, half=False)
    return path


@pytest.fixture
def photo() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (100, 80, 3), dtype=np.uint8)


def test_a_run_stores_the_thresholds_that_it_chose(tmp_path: Path) -> None:
    drawn = ["data.0.count=12", "validation=0.5", "epochs=1", "batch_size=4", "workers=0", "device=cpu"]
    metadata = read_metadata(train(load_config("mask_rcnn", [*SMALL, *drawn, f"out={tmp_path}"])))
    assert metadata.finds == "instances"
    assert len(metadata.instance_scores) == len(metadata.instance_areas) == 5
    assert metadata.instance_scores == tuple(metadata.metrics["instance_scores"])
    assert metadata.instance_areas == tuple(metadata.metrics["instance_areas"])


def test_the_tagger_answers_what_the_network_finds(weights: Path, photo: np.ndarray) -> None:
    tagger = Tagger.load(weights, device="cpu")
    assert (tagger.runtime.name, tagger.runtime.device) == ("torch", "cpu")
    network, metadata = load_instance_network(weights)
    placed = place(photo, (64, 64))
    (found,) = network.find(placed.pixels[None], placed.valid[None])
    want = read_detections(found, placed.frame, metadata, photo, name="photo")
    result = tagger(photo)
    assert len(result.garments) > 3
    assert result.to_dict() == want.to_dict()
    categories = [garment.category for garment in result.garments]
    assert len(set(categories)) < len(categories), "a category may be found twice"
    streamed = [one.to_dict() for one in tagger.stream([photo[:, ::-1].copy(), photo], batch_size=2)]
    assert streamed[1] == result.to_dict(), "an answer does not depend on the photo beside it"


def test_scores_chosen_in_training_are_applied(weights: Path, photo: np.ndarray, tmp_path: Path) -> None:
    network, metadata = load_instance_network(weights)
    everything = [g for g in Tagger.load(weights, device="cpu")(photo).garments if g.found_by == "mask"]
    middle = sorted(g.score for g in everything)[len(everything) // 2]
    strict = replace(metadata, instance_scores=(middle,) * 5)
    save(tmp_path / "strict.safetensors", network.state_dict(), strict, half=False)
    kept = [g for g in Tagger.load(tmp_path / "strict.safetensors", device="cpu")(photo).garments if g.mask is not None]
    assert [g.score for g in kept] == [g.score for g in everything if g.score >= middle]
    assert 0 < len(kept) < len(everything)


def test_the_command_reads_photos_with_them(weights: Path, photo: np.ndarray, tmp_path: Path) -> None:
    from PIL import Image

    Image.fromarray(photo).save(tmp_path / "photo.png")
    out = CliRunner().invoke(
        app,
        ["predict", str(tmp_path / "photo.png"), "--weights", str(weights), "--device", "cpu", "--json",
         "--draw", str(tmp_path / "drawn"), "--coco", str(tmp_path / "all.json")],
    )  # fmt: skip
    assert out.exit_code == 0, out.output
    (answer,) = json.loads(out.stdout)
    found = [garment for garment in answer["garments"] if garment["mask"]]
    assert len(json.loads((tmp_path / "all.json").read_text())["annotations"]) == len(found) > 3
    assert list((tmp_path / "drawn").iterdir())


def test_what_needs_maps_of_classes_refuses_them(weights: Path, tmp_path: Path) -> None:
    metadata = read_metadata(weights)
    with pytest.raises(ConfigError, match="flip averages maps of classes; weights finder find instances: leave it out"):
        Tagger.load(weights, device="cpu", flip=True)
    with pytest.raises(DeviceError, match=r"runtime openvino cannot run .*finder.safetensors, whose network finds"):
        Tagger.load(weights, runtime="openvino")
    for refused in (
        lambda: export(weights, tmp_path / "graph.onnx"),
        lambda: load_network(weights),
        lambda: open_runtime(weights, metadata),
    ):
        with pytest.raises(WeightsError, match=r"finder.safetensors: its network finds instances; this needs one"):
            refused()
    assert not (tmp_path / "graph.onnx").exists()
    for command in (
        ["export", str(weights)],
        ["fit", str(weights), "synthetic", "--out", str(tmp_path / "fitted.safetensors")],
        ["pseudo", str(weights), "--data", "synthetic", "--out", str(tmp_path / "masks")],
    ):
        out = CliRunner().invoke(app, command)
        assert out.exit_code == 2
        assert "finds instances" in " ".join(out.stderr.split())
        assert "Traceback" not in out.stderr


def test_metadata_of_instances_is_checked(weights: Path) -> None:
    metadata = read_metadata(weights)
    assert Metadata.from_json(metadata.to_json()) == metadata
    for changes, said in (
        ({"finds": "boxes"}, "neither classes nor instances"),
        ({"instance_scores": (0.5,) * 4}, "5 numbers from 0 to 1"),
        ({"instance_areas": (1.5,) * 5}, "5 numbers from 0 to 1"),
    ):
        with pytest.raises(WeightsError, match=said):
            replace(metadata, **changes)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["loss.bce=1", "loss.dice=1"], "loss.bce and loss.dice: head mask_rcnn finds instances .*; set them to 0"),
        (["loss.presence=1"], "loss.presence: head mask_rcnn finds instances .*; set it to 0"),
        (["masks=exclusive"], "masks: head mask_rcnn finds instances, which may overlap; set it to overlapping"),
        (["loss.class_weights=inverse"], "loss.class_weights: head mask_rcnn finds instances and weighs no pixels"),
        (["head.detections=0"], "detections 0 must be between 1 and 100"),
        (["backbone.output_stride=8"], "maps of strides"),
    ],
)
def test_a_recipe_that_asks_for_maps_is_refused_before_data_are_read(overrides: list[str], said: str) -> None:
    trunk = ["backbone.name=resnet10t"] if "backbone.output_stride=8" in overrides else []
    with pytest.raises(ConfigError, match=said):
        load_config("mask_rcnn", [*SMALL, *trunk, *overrides])


def test_a_recipe_of_instances_reads_its_own_plain_data() -> None:
    config = load_config("mask_rcnn", SMALL)
    assert Config.from_dict(config.to_dict()) == config
