"""A small network with its checkpoint and its graph, made once a run for all tests that need them."""

import os
from functools import cache
from pathlib import Path
from shutil import copy

import numpy as np
import torch
from filelock import FileLock
from numpy.typing import NDArray

from hemline.checkpoint import save
from hemline.config import Backbone, Config, Head, LabelHead
from hemline.export import export
from hemline.labels import load_label_space
from hemline.metadata import Metadata
from hemline.model import Network, build

CANVAS = (64, 96)
CONFIG = Config(
    name="small",
    epochs=1,
    canvas=CANVAS,
    backbone=Backbone(name="test_efficientnet", pretrained=False),
    head=Head(options={"widths": [24, 16, 16]}),
    label_head=LabelHead(hidden=32),
)


def canvases(count: int, seed: int = 0) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Blotched photos, each narrower than the one before, on grey -> pixels (B, H, W, 3), valid (B, H, W)."""
    random = np.random.default_rng(seed)
    pixels = np.full((count, *CANVAS, 3), 127, np.uint8)
    valid = np.zeros((count, *CANVAS), np.uint8)
    for i in range(count):
        width = CANVAS[1] - 12 * i
        blotches = random.integers(0, 256, (CANVAS[0] // 8, CANVAS[1] // 8, 3), np.uint8)
        pixels[i, :, :width] = blotches.repeat(8, 0).repeat(8, 1)[:, :width]
        valid[i, :, :width] = 1
    return pixels, valid


@cache
def small_network() -> tuple[Network, Metadata]:
    """A network with random weights whose logits spread as those of a trained one, so that masks are not empty.

    All tests share it: copy it before changing it.
    """
    torch.manual_seed(0)
    space = load_label_space("street")
    network = build(CONFIG, space).train()
    pixels, valid = (torch.from_numpy(x) for x in canvases(8, seed=1))
    with torch.no_grad():
        for _ in range(4):  # statistics of the batch norms
            network(pixels, valid)
        for name, parameter in network.named_parameters():
            if "classifier" in name:
                parameter.mul_(4) if parameter.ndim > 1 else parameter.normal_()
    thresholds = torch.linspace(0.5, 0.7, space.num_masks)
    network.set_mask_thresholds(thresholds)
    metadata = Metadata(
        name="small",
        labels=space,
        canvas=CANVAS,
        mask_thresholds=tuple(thresholds.tolist()),
        label_thresholds=(0.5,) * space.num_labels,
        recipe=CONFIG.to_dict(),
        license="Apache-2.0",
    )
    return network.eval(), metadata


@cache
def _original() -> Path:
    """Made by the first process of a run that asks; the others wait for it, or try it themselves where it failed."""
    checkpoint = Path(os.environ["HEMLINE_TESTS_FOLDER"]) / "small.safetensors"
    with FileLock(checkpoint.with_suffix(".lock")):
        if not checkpoint.with_suffix(".onnx").exists():  # the last to be written, and whole
            network, metadata = small_network()
            save(checkpoint, network.state_dict(), metadata)
            export(checkpoint)
    return checkpoint


def copied(folder: Path, *suffixes: str) -> Path:
    """Copies of `small.safetensors` and `small.onnx`, or of those with the suffixes named -> the path of the first."""
    suffixes = suffixes or (".safetensors", ".onnx")
    for suffix in suffixes:
        copy(_original().with_suffix(suffix), folder)
    return folder / f"small{suffixes[0]}"
