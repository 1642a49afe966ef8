"""Training of a network that finds instances, on photos with garments drawn and photos with words alone."""

import math
import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from hemline.checkpoint import load
from hemline.config import Config, load_config
from hemline.data.sample import UNKNOWN, Sample
from hemline.data.synthetic import Synthetic
from hemline.errors import StoppedError
from hemline.train import train
from hemline.watch import EpochReport, StepReport

SMALL = [
    "backbone.name=test_efficientnet", "backbone.pretrained=false", "canvas=[64,64]", "head.width=8",
    "head.box_hidden=16", "head.proposals=20", "head.proposals_in_training=20", "head.anchor_scale=1",
    "data=[{name: synthetic, count: 11}]", "batch_size=2", "epochs=2", "validate_every=2",
    "head.detections=5", "workers=0", "device=cpu",
]  # fmt: skip


class Watch:
    """Keeps the steps; asks to stop after so many."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.steps: list[StepReport] = []
        self.stop_after = stop_after

    def begin(self, *_: object) -> None: ...
    def weighed(self, *_: object) -> None: ...

    def note(self, text: str) -> None: ...
    def epoch(self, report: EpochReport) -> None: ...

    def end(self) -> None: ...

    def step(self, report: StepReport) -> None:
        self.steps.append(report)
        if len(self.steps) == self.stop_after:
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """Attribute-Mask R-CNN, whose coarsest level is one cell here: batch norm needs two photos of it."""
    whole = Synthetic.__getitem__

    def with_words_alone(self: Synthetic, index: int) -> Sample:
        sample = whole(self, index)
        if index % 3 == 0:
            return sample
        nowhere, unknown = np.zeros_like(sample.segments), np.full_like(sample.targets[:1], UNKNOWN)
        return replace(sample, segments=nowhere, targets=unknown, regions=sample.regions[:1])

    monkeypatch.setattr(Synthetic, "__getitem__", with_words_alone)
    return load_config("attribute_mask_rcnn", [*SMALL, f"out={tmp_path}"])


def test_a_stopped_run_goes_on_as_if_nothing_had_happened(config: Config) -> None:
    watch = Watch()
    best = train(replace(config, name="whole"), watcher=watch)
    losses = [report.losses for report in watch.steps]
    assert all(math.isfinite(loss) for each in losses for loss in each.values())
    learnt = [each["instances: class"] > 0 for each in losses]
    assert {*learnt} == {True, False}, "some batches show no garment that anybody drew"
    assert all(each["category"] > 0 for each in losses), "words are learnt of all"
    with pytest.raises(StoppedError):
        train(config, watcher=Watch(stop_after=3))
    train(config, resume=True)
    stopped, whole = (load(best.parents[1] / name / "last.safetensors")[0] for name in (config.name, "whole"))
    assert all(torch.equal(whole[name], stopped[name]) for name in whole)


def test_it_learns_in_bfloat16(config: Config) -> None:
    watch = Watch()
    train(replace(config, precision="bf16", epochs=1), watcher=watch)
    assert all(math.isfinite(loss) for report in watch.steps for loss in report.losses.values())
