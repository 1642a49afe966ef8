"""Every network of the registry as an ONNX graph, run by OpenVINO against torch; and why some have none."""

from pathlib import Path

import numpy as np
import pytest
import torch

from hemline.drift import EXACT, measure
from hemline.graphs import to_onnx
from hemline.heads import HEADS, InstanceHead
from hemline.labels import load_label_space
from hemline.metadata import Metadata
from hemline.model import build, build_instances
from hemline.networks import recipe
from hemline.photo import place
from hemline.runtime import Answer, open_runtime

CANVAS = (96, 64)
NO_GRAPH = [name for name, head in HEADS.items() if issubclass(head, InstanceHead)]
"""How many boxes a photo keeps is known when it is read, and torchvision's NMS branches on it."""


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in HEADS if name not in NO_GRAPH])
def test_a_network_answers_as_a_graph(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    space = load_label_space("outfit5")
    config = recipe(name, ["labels=outfit5"])
    network = build(config, space, trunk_weights=False).eval()
    metadata = Metadata(name, space, CANVAS, (0.5,) * space.num_masks, (0.5,) * space.num_labels,
                        recipe=config.to_dict())  # fmt: skip
    network.set_mask_thresholds(torch.tensor(metadata.mask_thresholds))
    (tmp_path / "w.onnx").write_bytes(to_onnx(network, metadata).SerializeToString())
    written = open_runtime(tmp_path / "w.onnx", metadata, runtime="openvino", device="cpu")

    def answer(pixels: np.ndarray, valid: np.ndarray) -> Answer:
        with torch.inference_mode():
            output = network(torch.from_numpy(pixels), torch.from_numpy(valid))
        return Answer(output.masks.numpy(), output.labels.numpy())

    photo = np.random.default_rng(0).integers(0, 256, (90, 70, 3), np.uint8)
    canvas = place(photo, CANVAS)
    want, got = (run(canvas.pixels[None], canvas.valid[None]) for run in (answer, written))
    scale = max(1.0, float(np.abs(want.masks).max()))
    np.testing.assert_allclose(got.masks, want.masks, rtol=0, atol=1e-3 * scale)
    measure(answer, written, [canvas], metadata).check(EXACT, name)


@pytest.mark.slow
@pytest.mark.parametrize("name", NO_GRAPH)
def test_the_others_are_none_still(name: str) -> None:
    """Where this fails, torch has learnt to trace them: say so in benchmarks/networks.py and docs/export.md."""
    network = build_instances(recipe(name, ["labels=outfit5"]), load_label_space("outfit5"), trunk_weights=False).eval()
    pixels, valid = torch.zeros(2, *CANVAS, 3, dtype=torch.uint8), torch.ones(2, *CANVAS, dtype=torch.uint8)
    with pytest.raises(Exception, match="data-dependent"):
        torch.export.export(network, (pixels, valid))
