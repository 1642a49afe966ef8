"""What makes training quick gives the same results; the benchmark that says how quick it is counts right."""

import subprocess
import sys
from dataclasses import replace
from importlib import import_module
from itertools import cycle
from pathlib import Path

import numpy as np
import pytest
import torch
from timm.utils.model_ema import ModelEmaV3
from torch import nn

from hemline.average import Average
from hemline.config import Data
from hemline.data.augment import PADDING, _grey_around
from hemline.data.sample import Batch
from hemline.errors import ConfigError
from hemline.losses import MaskTargets, region_masks

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    yield import_module("train")
    for name in ("train", "plain_loop"):
        sys.modules.pop(name, None)


@pytest.fixture
def config(tiny_config):
    data = (Data(name="synthetic", options={"count": 12, "canvas": [64, 64]}),)
    return replace(tiny_config, data=data, validation=0.0, device="cpu")


def test_the_average_is_timm_s_bit_for_bit(tiny_network):
    network = tiny_network[1].train()
    own, timm_s = Average(network, 0.9), ModelEmaV3(network, decay=0.9, use_warmup=True)
    for step in range(1, 6):
        for tensor in network.state_dict().values():
            tensor.copy_(torch.randn_like(tensor) if tensor.is_floating_point() else tensor + step)
        own.update(network, step=step)
        timm_s.update(network, step=step)
        if step == 3:                                     # as a run that is resumed
            own.module.load_state_dict({name: x.clone() for name, x in timm_s.module.state_dict().items()})
    expected = timm_s.module.state_dict()
    assert own.module.state_dict().keys() == expected.keys()
    for name, tensor in own.module.state_dict().items():
        assert torch.equal(tensor, expected[name]), name
    different = [name for name, x in network.state_dict().items() if not torch.equal(x, expected[name])]
    assert len(different) > 100
    assert not any(name.endswith("num_batches_tracked") for name in different)


def test_the_average_of_a_network_without_batch_norm():
    network = nn.Linear(2, 1)
    average = Average(network, 0.5)
    with torch.no_grad():
        before = network.weight.clone()
        network.weight += 1
    average.update(network, step=100)
    assert torch.allclose(average.module.weight, before + 0.5)


@pytest.mark.skipif(sys.platform != "linux", reason="of glibc alone")
def test_memory_that_is_freed_is_not_asked_for_again():
    lines = """
import resource
from hemline._memory import keep_freed_memory
import numpy as np
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(4):
        np.full(2**26, 1, np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
before, done = faults(), keep_freed_memory()
faults()
print(done, before, faults())
"""
    told = subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True, check=True).stdout.split()
    if told[0] == "False":
        pytest.skip("another C library")
    assert int(told[2]) < int(told[1]) / 20


@pytest.mark.parametrize("competing", [None, [0, 2, 3]])
def test_regions_are_under_the_likeliest_of_their_classes(competing):
    """Against all classes of every region, most of them for nothing."""
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(3, 5, 4, 6, generator=generator)
    classes = torch.rand(3, 7, 5, generator=generator) < 0.2
    valid = (torch.rand(3, 4, 6, generator=generator) < 0.7).to(torch.uint8)
    nothing = torch.zeros(3, 7, 1, dtype=torch.bool)
    batch = Batch(None, valid, None, None, nothing, classes, *[None] * 4)
    masks = region_masks(logits, batch, MaskTargets(torch.zeros(3, 1, 4, 6), None, None), competing)
    scores = torch.sigmoid(logits)
    if competing is not None:
        odds = logits.exp()[:, competing]
        scores = torch.zeros_like(logits)
        scores[:, competing] = odds / (1 + odds.sum(1, keepdim=True))
    for b, r in np.ndindex(3, 7):
        few = scores[b, classes[b, r]]
        expected = few.amax(0) * valid[b] if len(few) else valid[b].float()
        torch.testing.assert_close(masks[b, r], expected)
    assert 0 < classes.any(2).sum() < 21
    assert classes.sum(2).max() > 1


def test_grey_lies_where_no_photo_does():
    generator = np.random.default_rng(0)
    photo = generator.integers(0, 256, (9, 14, 3), dtype=np.uint8)[:, ::2]
    valid = (generator.random((9, 7)) < 0.5).astype(np.uint8)
    expected = np.where(valid[..., None] == 1, photo, PADDING)
    assert np.array_equal(_grey_around(photo, valid), expected)


@pytest.mark.slow
def test_the_benchmark_compares_all_four(script, config, tmp_path, capsys):
    pytest.importorskip("segmentation_models_pytorch")
    script.compare(config, torch.device("cpu"), 1, 1, tmp_path)
    told = capsys.readouterr().out
    for name in (script.CEILING, script.LOADING, script.OURS, script.PEER, "matrix products", "backward", "optimizer"):
        assert f"  {name}" in told or f"\n{name}" in told


def test_the_benchmark_without_the_peer(script, config, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "segmentation_models_pytorch", None)
    monkeypatch.setattr(script, "WARM", 1)
    monkeypatch.setattr(script, "matmul", lambda device, dtype: 1e12)
    script.compare(config, torch.device("cpu"), 1, 1, tmp_path)
    told = capsys.readouterr().out
    assert "smp.Unet is left out" in told
    assert script.PEER not in told
    for name in (script.CEILING, script.LOADING, script.OURS, "matrix products", "backward", "optimizer"):
        assert f"  {name}" in told or f"\n{name}" in told


def test_networks_that_find_instances_are_refused(script, config, tmp_path):
    config = replace(config, head=replace(config.head, name="mask_rcnn", options={}))
    with pytest.raises(ConfigError, match="finds instances"):
        script.compare(config, torch.device("cpu"), 1, 1, tmp_path)


def test_ratios_are_to_the_ceiling_before_and_after(script):
    def block(seconds):
        turns = iter(seconds)
        return lambda: script.Took(12, next(turns), 1.0)

    blocks = {script.CEILING: block([9, 1, 2, 4]), script.LOADING: block([9, 2, 3])}
    figures, products = script.measure(blocks, 2, lambda: 5.0)
    assert products == [5.0, 5.0]
    clock = [ratio for ratio, _ in figures[script.LOADING].ratios]
    assert clock == pytest.approx([6 / ((12 + 6) / 2), 4 / ((6 + 3) / 2)])
    assert [ratio for ratio, _ in figures[script.CEILING].ratios] == pytest.approx([6 / 12, 3 / 6])
    assert [took.seconds for took in figures[script.CEILING].took] == [2, 4], "what warms up is not told"


def test_operations_are_those_of_forward_and_twice_as_many_backward(script):
    network = nn.Conv2d(3, 8, 3, padding=1, bias=False).train()
    assert script.step_flops(network, torch.zeros(1, 3, 10, 20)) == 3 * 2 * (3 * 3 * 3) * 8 * 10 * 20
    assert network.training


def test_an_epoch_has_the_steps_asked_for(script, config):
    sources = script.open_run(config, None, script.Ranks()).sources
    for steps in (1, 7, 30):
        sampler = script.sampler_of(sources, config, steps)
        assert [len(items) for items in sampler] == [config.batch_size] * steps


def test_the_parts_of_a_step_are_all_of_it(script, config, tmp_path):
    opened = script.open_run(config, None, script.Ranks())
    _, space, network, sources, _ = opened
    weights = script.weights_of(sources, config, space)
    run = script.make_run(opened, weights, torch.device("cpu"), tmp_path, script.Ranks())
    run.let_learn(config)
    methods = run.hear, run.average.update, network.dense_train
    parts = script.parts_of_step(run, config, cycle(script.hold(sources, config, pin=False)), 2)
    assert (run.hear, run.average.update, network.dense_train) == methods, "nothing stays patched"
    assert min(parts.values()) >= 0
    assert parts["backward"] > parts["reading the losses"]
    assert {"forward: trunk and mask head", "losses", "clipping", "optimizer", "mean of the weights"} <= set(parts)
    assert sum(parts.values()) < 60
