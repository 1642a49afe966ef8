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

TIMES = {"photos_per_second", "data_wait"}

WRITES = [
    f"{where} {file}"
    for file in ("state.pt", "last.safetensors", "best.safetensors", "metrics.jsonl")
    for where in ("half", "written", "replaced")
]


@pytest.fixture(scope="module")
def killer(tmp_path_factory):
    killer = Killer(tmp_path_factory.mktemp("killed"))
    yield killer
    killer.close()


def recipe_of(tiny_config, **changes):
    """Epochs of two steps: of twelve drawn photos the split leaves eight or nine."""
    data = (Data(name="synthetic", options={"count": 12, "canvas": [64, 64]}),)
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
    assert same(load_state(killed / "state.pt"), load_state(whole / "state.pt"))
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
    """How many kills of those planned came; the last start runs to the end."""
    for number, (die, save_every) in enumerate(deaths):
        ended = killer.train(folder, recipe, resume=number > 0, die=die, save_every=save_every)
        assert ended["signal"] == signal.SIGKILL, f"kill {number} at {die}: {ended}"
    ended = killer.train(folder, recipe, resume=True)
    assert (ended["signal"], ended["code"]) == (0, 0), ended


def test_three_kills(killer, tiny_config, tmp_path):
    """In the very first save, between two files of an epoch, and in a validation."""
    recipe = recipe_of(tiny_config, epochs=3)
    assert killer.train(tmp_path / "whole", recipe)["code"] == 0
    deaths = [(["half state.pt", 1], 0.0), (["replaced last.safetensors", 1], 0.0), (["validation", 4], 300.0)]
    killed_and_resumed(killer, tmp_path / "killed", recipe, deaths)
    assert_same_run(tmp_path / "whole", tmp_path / "killed")


def plan(seed, count):
    """Seeded moments to die at; a third of them within the writing of a file."""
    chosen = random.Random(seed)
    deaths = []
    for number in range(count):
        kind = ("write", "moment", "anywhere")[number % 3]
        if kind == "write":
            die = [chosen.choice(WRITES[3:]), 1] if chosen.random() < 0.5 else [chosen.choice(WRITES[:3]), 2]
        elif kind == "moment":
            die = [chosen.choice(["step", "validation", "sync"]), chosen.randint(1, 4)]
        else:
            die = ["seconds", chosen.uniform(0, 0.3)]
        deaths.append((die, chosen.choice([0.0, 300.0])))
    return deaths
