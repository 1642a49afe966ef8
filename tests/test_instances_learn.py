"""Every network that finds instances, through `train` and `evaluate`: it learns a few drawn photos by heart."""

from pathlib import Path

import pytest

from hemline.config import load_config
from hemline.data.synthetic import Synthetic
from hemline.evaluate import evaluate
from hemline.heads import HEADS, InstanceHead
from hemline.labels import load_label_space
from hemline.metadata import read_metadata
from hemline.train import train

SMALL = [
    "backbone.name=test_efficientnet", "backbone.pretrained=false", "backbone_lr_scale=1", "canvas=[128,96]",
    "data.0.canvas=[128,96]", "data.0.count=8", "validation=0", "batch_size=4", "lr=3e-3",
    "model_ema_decay=0.9", "workers=0",
    "augment={flip: 0, crop: 0, scale: [1, 1], rotate: 0, colour: 0}", "device=cpu",
    "head.width=32", "head.box_hidden=64", "head.proposals=100", "head.proposals_in_training=200", "head.sampled=64",
]  # fmt: skip
OPTIONS = {
    "mask_rcnn": ["head.anchor_sizes=[8,16,32,64,128]", "head.roi_size=64"],
    "deepmac": ["head.anchor_sizes=[8,16,32,64,128]", "head.roi_size=64", "head.depth=10", "head.crop_size=16"],
    "attribute_mask_rcnn": ["head.anchor_scale=1.5", "head.roi_size=64"],
}
EPOCHS = 120
WANTED = 0.5
"""Mask AP50 on what was learnt; see the figures in the docstring of the test."""


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, head in HEADS.items() if issubclass(head, InstanceHead)])
def test_a_few_photos_are_learnt_by_heart(name: str, tmp_path: Path) -> None:
    people = Synthetic(None, load_label_space("outfit5"), count=8, canvas=(128, 96))
    assert sum(len(people.garments(i)) for i in range(8)) > 25, "several garments a photo, of several people"
    config = load_config(name, [*SMALL, *OPTIONS[name], "labels=outfit5", f"epochs={EPOCHS}", f"out={tmp_path}"])
    weights = train(config).with_name("last.safetensors")
    assert read_metadata(weights).finds == "instances"
    report = evaluate(weights, {"synthetic": None}, split="all", runtime="torch", device="cpu", transplant=False)
    found = report.sets[0].instances
    assert found is not None
    scores = {score.name: score for score in found.scores}
    print(name, {key: round(score.value, 3) for key, score in scores.items()})
    assert scores["mask.ap50"].value > WANTED > 3 * scores["mask.ap50"].prior
