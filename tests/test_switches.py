"""Switches of training that other processes or a compiler have a part in: minutes, so all of them are slow."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from hemline.checkpoint import load_state
from hemline.config import Config, Head, LabelHead, Loss
from hemline.ranks import find_ranks, joined

from .processes import together
from .steps import batch_of, begun, same, step, weights


@pytest.fixture
def config(tiny_config):
    return replace(tiny_config, epochs=4, label_head=LabelHead(hidden=16, dropout=0.0))


@pytest.mark.slow
@pytest.mark.filterwarnings("default")                   # torch's compiler hides its own, but could not hide errors
@pytest.mark.parametrize("head", [Head(name="unet", options={"widths": [24, 16, 12]}), Head(name="fcn")])
def test_compiled_parts_learn_alike_under_the_same_names(config, head, tmp_path):
    """Also where a trunk thaws, and where a head has auxiliary outputs; a resumed run ends with the same weights."""
    loss = Loss(auxiliary=float(head.name == "fcn"))
    config = replace(config, head=head, freeze=("backbone",), freeze_epochs=1, loss=loss)
    compiled = replace(config, torchcompile=True)
    near = 0.1 if head.name == "fcn" else 0.02           # a compiled dropout drops others
    eager, told = begun(config, tmp_path / "eager"), []
    for number in range(3):
        step(eager, config, batch_of(number, number + 1))
        told.append(eager.losses)
    torch._dynamo.utils.counters.clear()
    run = begun(compiled, tmp_path / "compiled")
    for number in range(3):
        step(run, compiled, batch_of(number, number + 1))
        assert run.losses == pytest.approx(told[number], rel=near, abs=near)
        if number == 1:
            run.save()
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] >= 2
    assert weights(run).keys() == weights(eager).keys()
    assert run.average.module.state_dict().keys() == eager.average.module.state_dict().keys()
    assert run.average.module.backbone.trunk._compiled_call_impl is None, "answers are not compiled"
    again = begun(compiled, tmp_path / "compiled")
    again.restore(load_state(tmp_path / "compiled/state.pt"))
    step(again, compiled, batch_of(2, 3))
    assert same(weights(run), weights(again)) == {*weights(run)}


@pytest.mark.slow
def test_no_compiler_is_one_sentence(tmp_path):
    command = [sys.executable, "-m", "hemline", "train", "debug", "torchcompile=true", f"out={tmp_path}"]
    environment = os.environ | {"CXX": "/nowhere/g++", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache")}
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert said.returncode != 0
    assert "Traceback" not in said.stderr
    assert "torchcompile: nothing can be compiled here" in said.stderr
    assert "install g++, or set it to false" in " ".join(said.stderr.split())


def trained(config: Config, folder: Path):
    """What three steps of four photos end with; of two processes, the second knows labels alone."""
    ranks = find_ranks()
    with joined(ranks, on_gpu=False):
        run = begun(config, folder, ranks)
        for number in range(3):
            photos = batch_of(number, number + 1, number + 2, number + 3)
            photos.targets[1::2] = -1
            photos.segments[1::2] = 0
            photos.region_segments[1::2] = False
            own = type(photos)(*(x[ranks.rank :: ranks.size] if len(x) == 4 else x for x in photos))
            step(run, config, own)
        return weights(run), run.losses


@pytest.mark.slow
def test_two_processes_thaw_and_weigh_as_one(config, tmp_path):
    """A trunk that thaws after a step, and weights that are learnt, also where one process has nothing of a task."""
    config = replace(
        config, batch_norm="frozen", freeze=("backbone",), freeze_epochs=1, loss=Loss(weighting="uncertainty"),
        opt="momentum", lr=0.01, clip_grad=100.0,
    )  # fmt: skip
    ((one, losses),) = together(lambda: trained(config, tmp_path / "one"), size=1)
    (two, shared), (same_two, _) = together(lambda: trained(config, tmp_path / "two"))
    assert same(two, same_two) == {*two}
    assert shared == pytest.approx(losses, rel=1e-4, abs=1e-5)
    start = weights(begun(config, tmp_path / "start"))
    moved = {name for name in one if float((one[name] - start[name]).abs().max()) > 1e-4}
    assert any(name.startswith("network.backbone.") for name in moved)
    assert "task_weights.log_variances" in moved
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, rtol=0, atol=1e-5)
