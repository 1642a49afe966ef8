"""Runs killed by SIGKILL wherever it hurts end, resumed, as if nothing had happened."""

import json
import os
import random
import signal
import time
from dataclasses import replace

import pytest
import torch

from hemline.checkpoint import load_state
from hemline.config import Data
from tests.killed import Killer

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

TIMES = {"photos_per_second", "data_wait", "seconds"}

FIRST = ("half best.safetensors", "half state.pt", "replaced best.safetensors")
"""Where three runs die first: the first epoch is the best until then, so that this comes."""


@pytest.fixture(scope="module")
def killer(tmp_path_factory):
    killer = Killer(tmp_path_factory.mktemp("killed"))
    yield killer
    killer.close()


def recipe_of(tiny_config, **changes):
    """Epochs of two steps: of fifteen drawn photos the split leaves nine."""
    data = (Data(name="synthetic", options={"count": 15, "canvas": [64, 64]}),)
    return replace(tiny_config, data=data, validation=0.25, loggers=None, **changes).to_dict()


def same(a, b):
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


def assert_same_run(whole, killed):
    whole, killed = whole / "runs/tiny", killed / "runs/tiny"
    assert sorted(file.name for file in killed.iterdir()) == sorted(file.name for file in whole.iterdir())
    for name in ("best.safetensors", "last.safetensors", "config.yaml"):
        assert (killed / name).read_bytes() == (whole / name).read_bytes(), name
    states = [load_state(folder / "state.pt") for folder in (whole, killed)]
    assert all(state.pop("seconds") > 0 for state in states)
    assert same(*states)
    lines = [
        [
            {key: value for key, value in json.loads(line).items() if key not in TIMES}
            for line in (folder / "metrics.jsonl").read_text().splitlines()
        ]
        for folder in (whole, killed)
    ]
    assert lines[0] == lines[1]


def assert_workers_end(killer):
    """Those that a kill left alone look for their parent every five seconds."""
    until = time.monotonic() + 60
    while killer.alive() and time.monotonic() < until:
        time.sleep(0.2)
    assert not killer.alive(), "workers outlive the run they read for"


def killed_and_resumed(killer, folder, recipe, deaths):
    """Every death that is planned comes, and the last start runs to the end."""
    for number, (die, save_every) in enumerate(deaths):
        ended = killer.train(folder, recipe, resume=number > 0, die=die, save_every=save_every)
        assert ended["signal"] == signal.SIGKILL, f"kill {number} at {die}: {ended}"
    ended = killer.train(folder, recipe, resume=True)
    assert (ended["signal"], ended["code"]) == (0, 0), ended


@pytest.mark.slow
def test_two_kills(killer, tiny_config, tmp_path):
    """In the very first save, and between two files of an epoch."""
    recipe = recipe_of(tiny_config, epochs=2)
    assert killer.train(tmp_path / "whole", recipe)["code"] == 0
    deaths = [(["half state.pt", 1], 0.0), (["replaced last.safetensors", 1], 0.0)]
    killed_and_resumed(killer, tmp_path / "killed", recipe, deaths)
    assert_same_run(tmp_path / "whole", tmp_path / "killed")


def plan(seed):
    """Seeded moments to die at, eight: three around the writing of a file, two of them within."""
    chosen = random.Random(seed)
    files = ["state.pt", "last.safetensors", "metrics.jsonl"]
    deaths = []
    for number in range(8):
        if number == 0:
            die = [FIRST[seed], 1]
        elif number % 3 == 0:
            where = "half" if number == 3 else chosen.choice(["half", "written", "replaced"])
            file = chosen.choice(files[:2] if number == 3 else files)
            die = [f"{where} {file}", 1 + (file == "state.pt")]
        elif number % 3 == 1:
            die = [chosen.choice(["step", "validation", "sync"]), chosen.randint(1, 4)]
        else:
            die = ["seconds", chosen.uniform(0, 0.3)]
        deaths.append((die, chosen.choice([0.0, 300.0])))
    return deaths


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "workers"), [(0, 0), (1, 2), (2, 2)])
def test_eight_kills(killer, tiny_config, tmp_path, seed, workers):
    """Three runs with eight each: 24 kills, at least five of them half way through the writing of a checkpoint."""
    recipe = recipe_of(tiny_config, epochs=12, workers=workers)
    assert killer.train(tmp_path / "whole", recipe)["code"] == 0
    killed_and_resumed(killer, tmp_path / "killed", recipe, plan(seed))
    assert_same_run(tmp_path / "whole", tmp_path / "killed")
    assert_workers_end(killer)


def test_the_plans_hold_what_they_promise():
    deaths = [die for seed in (0, 1, 2) for die, _ in plan(seed)]
    events = [event for event, _ in deaths]
    assert len(deaths) == 24
    assert sum(event in ("half state.pt", "half last.safetensors", "half best.safetensors") for event in events) >= 5
    assert {"step", "validation", "sync", "seconds"} <= set(events)
    assert any(event.startswith("replaced") for event in events)
