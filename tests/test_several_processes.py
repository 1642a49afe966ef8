"""Training and validation by two real processes on the CPU: what one would have learnt, measured and written."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import hemline.train
from hemline._run import Run
from hemline.checkpoint import load, load_state
from hemline.config import Config, Data, load_config
from hemline.data.loading import Source
from hemline.data.sample import Batch
from hemline.data.synthetic import Synthetic
from hemline.errors import ElsewhereError, PhotoError, StoppedError
from hemline.evaluate import score_network
from hemline.instance_model import InstanceNetwork
from hemline.labels import load_label_space
from hemline.metadata import Metadata
from hemline.model import Output
from hemline.ranks import find_ranks, joined
from hemline.runtime import Detections
from hemline.train import train
from hemline.watch import EpochReport, StepReport

from .processes import together
from .test_instance_training import SMALL

SPACE = load_label_space("outfit5")


# -- measuring -------------------------------------------------------------------------------------------------


class Guess(nn.Module):
    """Answers each photo at random, the same photo among the same others always the same."""

    def forward(self, pixels: Tensor, valid: Tensor) -> Output:
        masks, labels = [], []
        for photo in pixels.numpy():
            rng = np.random.default_rng((int(photo.astype(np.int64).sum()), int(pixels.sum())))
            masks.append(rng.normal(-1, 2, (SPACE.num_masks, 8, 8)).astype(np.float32))
            labels.append(rng.normal(0, 2, (1 + SPACE.num_masks, SPACE.num_labels)).astype(np.float32))
        return Output(torch.from_numpy(np.stack(masks)), torch.from_numpy(np.stack(labels)))


class GuessInstances(InstanceNetwork):
    """The same of garments one by one: so many boxes, full of their garment."""

    def __init__(self) -> None:
        nn.Module.__init__(self)

    def find(self, pixels: Any, valid: Any) -> list[Detections]:
        found = []
        for photo in pixels:
            rng = np.random.default_rng(int(photo.astype(np.int64).sum()))
            count = int(rng.integers(1, 5))
            corners = rng.integers(0, 32, (count, 2))
            found.append(
                Detections(
                    np.concatenate([corners, corners + rng.integers(8, 32, (count, 2))], 1).astype(np.float32),
                    rng.integers(0, len(SPACE.categories), count),
                    rng.random(count, np.float32),
                    np.ones((count, 28, 28), np.float32),
                    rng.normal(0, 2, (1 + count, SPACE.num_labels)).astype(np.float32),
                )
            )
        return found


def measured(network: Any, finds: Literal["classes", "instances"]) -> str:
    """The report on seventeen photos of one set and three of another, four at a time."""
    photos = Synthetic(None, SPACE, count=24, canvas=(64, 64))
    sources = [Source(photos, [], np.ones(0), range(17)), Source(photos, [], np.ones(0), range(20, 23))]
    about = Metadata(
        name="guess", labels=SPACE, canvas=(64, 64), mask_thresholds=(0.5,) * SPACE.num_masks,
        label_thresholds=(0.5,) * SPACE.num_labels, finds=finds,
        data=[{"name": name, "terms": "none", "photos": 1} for name in ("synthetic", "more")],
    )  # fmt: skip
    ranks = find_ranks()
    with joined(ranks, on_gpu=False):
        report = score_network(network, sources, about, device=torch.device("cpu"), batch_size=4, ranks=ranks)
    return json.dumps(report.to_dict())


@pytest.mark.parametrize(
    "finds", ["classes", pytest.param("instances", marks=pytest.mark.slow)]
)
def test_two_processes_measure_what_one_does(finds: Literal["classes", "instances"]) -> None:
    network = Guess() if finds == "classes" else GuessInstances()
    alone = measured(network, finds)
    both = together(lambda: measured(network, finds))
    assert both == [alone, alone]
    report = json.loads(alone)
    assert [part["photos"] for part in report["sets"]] == [17, 3]
    assert (report["sets"][0]["instances"] is not None) == (finds == "instances")
    assert len({label["threshold"] for label in report["sets"][0]["labels"]["labels"]}) > 1


# -- training --------------------------------------------------------------------------------------------------


@pytest.fixture
def config(tiny_config: Config, tmp_path: Path) -> Config:
    """Two epochs of three steps, of which both processes see their half: no dropout, batch norms as they begin."""
    data = (Data(name="synthetic", options={"count": 17, "canvas": [64, 64]}),)
    return replace(
        tiny_config, epochs=2, validate_every=2, data=data, validation=0.2, labels="outfit5", batch_norm="frozen",
        device="cpu",
        label_head=replace(tiny_config.label_head, dropout=0.0), out=str(tmp_path), loggers=None,
    )  # fmt: skip


class Record:
    """Keeps the steps."""

    def __init__(self) -> None:
        self.steps: list[StepReport] = []

    def begin(self, *_: object) -> None: ...
    def weighed(self, *_: object) -> None: ...

    def note(self, text: str) -> None: ...
    def epoch(self, report: EpochReport) -> None: ...
    def end(self) -> None: ...

    def step(self, report: StepReport) -> None:
        self.steps.append(report)


def trained(config: Config, *, resume: bool = False, before: Callable[[int], None] = lambda _: None) -> Any:
    """What each step told, and the weights that this process has in the end.

    Args:
        config: The recipe.
        resume: As of `train`.
        before: Called before each step that this process takes, with how many it has taken.
    """
    record = Record()
    runs: list[Run] = []
    take_step = hemline.train.train_step

    def step(run: Run, pieces: Iterator[Batch], config: Config) -> None:
        before(len(runs))
        runs.append(run)
        take_step(run, pieces, config)

    hemline.train.train_step = step                      # in this process alone, which ends
    train(config, resume=resume, watcher=record)
    return [each.losses | {"": each.loss} for each in record.steps], runs[-1].loss.state_dict()


def assert_alike(some: list[dict[str, float]], others: list[dict[str, float]], tolerance: float) -> None:
    assert len(some) == len(others)
    for one, other in zip(some, others, strict=True):
        assert one == pytest.approx(other, rel=tolerance, abs=1e-6)


def same(some: dict[str, Tensor], others: dict[str, Tensor], tolerance: float) -> bool:
    return all(torch.allclose(some[name], others[name], rtol=tolerance, atol=tolerance) for name in others)


def lines(config: Config) -> list[dict[str, Any]]:
    told = (Path(config.out) / config.name / "metrics.jsonl").read_text().splitlines()
    timed = ("photos_per_second", "data_wait", "seconds")
    return [{key: value for key, value in json.loads(line).items() if key not in timed} for line in told]


def test_two_processes_train_what_one_does(config: Config) -> None:
    one = replace(config, name="one")
    ((steps, weights),) = together(lambda: trained(one), size=1)
    both = together(lambda: trained(config))
    (told, first), (silent, second) = both
    assert len(steps) == 6
    assert silent == [], "the first alone tells"
    assert_alike(told, steps, 1e-5)
    assert same(first, second, 0), "both have the same weights"
    assert same(first, weights, 1e-5)
    for own, alone in zip(lines(config), lines(one), strict=True):
        assert_alike([own.pop("losses")], [alone.pop("losses")], 1e-5)
        assert {key for key in own if own[key] is None} == {key for key in alone if alone[key] is None}
        mine, its = ({key: value for key, value in each.items() if value is not None} for each in (own, alone))
        assert_alike([mine], [its], 1e-4)
    assert lines(config)[-1]["headline"] > 0


@pytest.mark.slow
@pytest.mark.parametrize(("before", "after"), [(1, 2), (2, 1), (2, 2)])
def test_a_run_goes_on_with_another_number_of_processes(config: Config, before: int, after: int) -> None:
    """Stopped by SIGTERM to one of them, which ends all; the state is kept, and the rest is as it would have been."""

    def stop(steps: int) -> None:
        if steps == 4 and find_ranks().rank == before - 1:
            os.kill(os.getpid(), signal.SIGTERM)

    whole = together(lambda: trained(replace(config, name="whole")), size=after)[0]
    stopped = together(lambda: trained(config, before=stop), size=before, may_fail=True)
    said = f"stopped in epoch 2 of 2; --resume goes on from {config.out}/tiny"
    assert stopped == [(StoppedError, said), (ElsewhereError, said)][:before]
    state = load_state(Path(config.out) / "tiny" / "state.pt")
    assert (state["epoch"], state["step"], len(state["rng"])) == (1, 2, before)
    steps, weights = together(lambda: trained(config, resume=True), size=after)[0]
    exact = before == after
    assert_alike(steps, whole[0][5:], 0 if exact else 1e-4)
    assert same(weights, whole[1], 0 if exact else 1e-5)


@pytest.mark.parametrize("where", ["training", pytest.param("validation", marks=pytest.mark.slow)])
def test_a_broken_photo_of_one_process_ends_both(
    config: Config, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Synthetic.__getitem__

    def torn(self: Synthetic, index: int) -> Any:
        measuring = "answered_photos" in sys._getframe(1).f_code.co_qualname
        if find_ranks().rank == 1 and measuring == (where == "validation"):
            raise PhotoError(f"photo {index} is torn")
        return whole(self, index)

    monkeypatch.setattr(Synthetic, "__getitem__", torn)
    first, second = together(lambda: trained(config), may_fail=True)
    assert first.kind is ElsewhereError
    assert second.kind is PhotoError
    assert second.said == first.said
    assert second.said.startswith("process 2 of 2: photo ")


@pytest.mark.slow
def test_a_full_disk_ends_both(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "state.pt")

    monkeypatch.setattr("hemline._run.save_state", full)
    first, second = together(lambda: trained(config), may_fail=True)
    assert second.kind is ElsewhereError
    assert "No space left" in first.said
    assert "No space left" in second.said


@pytest.mark.slow
@pytest.mark.parametrize("name", ["attribute_mask_rcnn", "deepmac"])
def test_networks_that_find_instances_train(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where one process's photos have nothing drawn: all weights have a part in every step."""
    whole = Synthetic.__getitem__

    def words_alone(self: Synthetic, index: int) -> Any:
        sample = whole(self, index)
        if find_ranks().first:
            return sample
        nowhere, unknown = np.zeros_like(sample.segments), np.full_like(sample.targets[:1], -1)
        return replace(sample, segments=nowhere, targets=unknown, regions=sample.regions[:1])

    monkeypatch.setattr(Synthetic, "__getitem__", words_alone)
    options = [each for each in SMALL if name == "attribute_mask_rcnn" or "anchor_scale" not in each]
    shallow = ["head.depth=10", "head.crop_size=16"] if name == "deepmac" else []
    config = load_config(name, [*options, *shallow, "batch_size=4", f"out={tmp_path}", "labels=outfit5"])
    both = together(lambda: trained(config))
    (steps, first), (_, second) = both
    assert len(steps) == 4
    learnt = {key: value for key, value in first.items() if "running" not in key and "batches" not in key}
    assert same(second, learnt, 0)
    assert all(np.isfinite(list(step.values())).all() for step in steps)


@pytest.mark.slow
def test_torchrun_says_once_what_is_wrong(config: Config, tmp_path: Path) -> None:
    def run(*words: str) -> tuple[int, str, str]:
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m",
                   "hemline", "train", *words]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
        return done.returncode, done.stdout, done.stderr

    small = ["backbone.name=mobilenetv2_035", "backbone.pretrained=false", "canvas=[64,64]", "data=[{name: synthetic, "
             "count: 17}]", "epochs=1", "batch_size=4", "workers=0", "device=cpu", f"out={tmp_path}",
             "labels=outfit5"]  # fmt: skip
    code, out, said = run("synthetic", *small, "lr=fast")
    assert code == 1
    assert said.count("error: ") == said.count("lr: ") == 1
    code, out, said = run("synthetic", *small)
    assert code == 0, said
    assert out.split() == [f"{tmp_path}/synthetic/best.safetensors"]
    assert load(Path(out.strip()))[1].name == "synthetic"
    assert said.count("training synthetic on cpu") == 1
