"""`hemline models` and docs/networks.md: what they count is the network that is built, and no figure stands by hand."""

import json
import runpy
from functools import cache
from io import StringIO
from pathlib import Path

import pytest
import torch
from rich.console import Console
from torch import nn
from typer.testing import CliRunner

from hemline.cli import app
from hemline.errors import ConfigError
from hemline.heads import HEADS, InstanceHead
from hemline.labels import load_label_space
from hemline.model import build
from hemline.networks import every_network, facts, networks_table, recipe

ROOT = Path(__file__).parents[1]


def run(*arguments):
    return CliRunner().invoke(app, ["models", *arguments], catch_exceptions=False)


@cache
def every_network_at_the_page_s_size():
    return every_network(size=(256, 192))


@pytest.mark.slow
def test_every_network_is_there_with_its_variants():
    networks = every_network_at_the_page_s_size()
    assert [(x.name, x.overrides) for x in networks] == [
        (name, variant) for name in HEADS for variant in ((), *HEADS[name].variants)
    ]
    assert all(x.macs > 1e8 and x.parameters_in_training >= x.parameters > 1e6 for x in networks)
    for x in networks:
        strides = (None,) if issubclass(HEADS[x.name], InstanceHead) else (1, 2, 4, 8, 16, 32)
        assert x.output_stride in strides


def test_the_command_lists_every_network():
    listed = json.loads(run("--json", "--size", "64x96").stdout)
    assert [x["name"] for x in listed] == list(HEADS)
    assert all(x["size"] == [64, 96] and x["url"].startswith("https://") for x in listed)


@pytest.mark.slow
def test_the_table_names_every_network():
    networks = every_network_at_the_page_s_size()
    console = Console(width=100, record=True, file=StringIO())
    console.print(networks_table(networks))
    shown = console.export_text()
    assert all(x.name in shown for x in networks)


def test_parameters_and_multiply_adds_are_those_of_the_network_that_is_built():
    """Multiply-adds counted once more by hooks: outputs times inputs of each kernel."""
    network = build(recipe("unet", ["labels=outfit5"]), load_label_space("outfit5"), trunk_weights=False).eval()
    macs = []

    def count(module, _, y):
        macs.append(y.numel() * module.weight[0].numel())

    for part in (network.backbone, network.mask_head):
        for module in part.modules():
            if isinstance(module, nn.Conv2d):
                module.register_forward_hook(count)
    with torch.no_grad():
        network.dense(torch.zeros(1, 96, 64, 3, dtype=torch.uint8))
    found = facts("unet", ["labels=outfit5"], size=(96, 64))
    parameters = sum(p.numel() for part in (network.backbone, network.mask_head) for p in part.parameters())
    assert (found.parameters, found.macs, found.output_stride) == (parameters, sum(macs), 4)


@pytest.mark.parametrize("trunk", ["swin_tiny_patch4_window7_224", "mambaout_femto"])
def test_a_trunk_that_cannot_be_run_is_one_sentence(trunk):
    with pytest.raises(ConfigError, match=f"fcn on {trunk} cannot read photos of 64 x 96"):
        facts("fcn", [f"backbone.name={trunk}", "backbone.output_stride=32"], size=(64, 96))


@pytest.mark.parametrize("size", ["1x1", "384", "axb", "384x16", "99999x64"])
def test_a_size_that_cannot_be_read_is_one_sentence(size):
    ran = run("--size", size)
    assert ran.exit_code == 2
    assert ran.stderr.count("\n") == 1
    assert "384x256" in ran.stderr


@pytest.mark.slow
def test_the_page_is_what_the_benchmark_writes():
    script = runpy.run_path(str(ROOT / "benchmarks" / "networks.py"))
    results = json.loads((ROOT / "benchmarks" / "networks.json").read_text(encoding="utf-8"))
    assert script["CANVAS"] == (256, 192)
    page = script["page"](every_network_at_the_page_s_size(), results)
    assert (ROOT / "docs" / "networks.md").read_text(encoding="utf-8") == page
    assert {row.split()[0] for row in results["time"]["ratios"]} == set(HEADS)
