"""FRRN: its counts, its two streams, and the same network from plain operations."""

import copy
from functools import cache

import pytest
import torch
from torch.nn import functional as F

from hemline.errors import ConfigError
from hemline.heads import HEADS
from hemline.model import make_backbone, make_mask_head
from hemline.networks import facts, recipe
from tests.formula import fill, photo

DOWN = [(96, 2)] * 3 + [(192, 4)] * 4 + [(384, 8)] * 2 + [(384, 16)] * 2
UP = [(192, 8)] * 2 + [(192, 4)] * 2 + [(96, 2)] * 2
UNITS = {"A": DOWN + UP, "B": DOWN + [(384, 32)] * 2 + [(192, 16)] * 2 + UP}
"""Channels and pooling of each FRRU, table 1 of the paper and the authors' code (github.com/TobyPDE/FRRN)."""


@cache
def build(form):
    return fill(HEADS["frrn"]([3], [1], 5, form=form))


def features(height, width):
    return [photo(height, width).permute(0, 3, 1, 2).float() / 127.5 - 1]


def watched(head, modules, x):
    """What these modules answer on a photo, in order."""
    seen = []
    hooks = [module.register_forward_hook(lambda module, args, out: seen.append(out)) for module in modules]
    try:
        with torch.no_grad():
            head(x)
    finally:
        for hook in hooks:
            hook.remove()
    return seen


def units(head):
    return [unit for group in head.groups for unit in group]


# Counts of the authors' code at their base of 48 channels and 32 lanes; the paper prints 17.7 and 24.8 million.
@pytest.mark.parametrize(
    ("form", "num_classes", "parameters"),
    [("A", 19, 17_746_803), ("B", 19, 24_755_699), ("A", 47, 17_748_175), ("B", 47, 24_757_071)],
)
def test_parameters_are_those_of_the_released_code(form, num_classes, parameters):
    assert facts("frrn", [f"head.form={form}"], num_classes=num_classes).parameters == parameters


@pytest.mark.parametrize(("form", "deepest"), [("A", 16), ("B", 32)])
def test_the_pooling_stream_goes_down_and_up(form, deepest):
    head = build(form)
    streams = [y for y, _ in watched(head, units(head), features(64, 96))]
    assert [(y.shape[1], 64 // y.shape[2]) for y in streams] == UNITS[form]
    assert max(64 // y.shape[2] for y in streams) == deepest
    assert all(y.shape[3] * 2 == y.shape[2] * 3 for y in streams)


@pytest.mark.parametrize("form", UNITS)
def test_the_residual_stream_is_an_identity_lane(form):
    """What the split puts on it arrives untouched at its end, beside the sum of what the FRRUs add."""
    head, x = build(form), features(75, 101)
    first, *added, (_, last) = watched(
        head, [head.split, *(unit.residual for unit in units(head)), units(head)[-1]], x
    )
    assert first.shape == last.shape == (1, 32, 75, 101)
    for (_, p), residual in zip(UNITS[form], added, strict=True):
        first = first + residual.repeat_interleave(p, 2).repeat_interleave(p, 3)[:, :, :75, :101]
    torch.testing.assert_close(last, first, rtol=1e-5, atol=1e-5)

    silent = copy.deepcopy(head)
    for unit in units(silent):
        torch.nn.init.zeros_(unit.residual.weight)
        torch.nn.init.zeros_(unit.residual.bias)
    first, (_, last) = watched(silent, [silent.split, units(silent)[-1]], x)
    assert torch.equal(last, first)


class Plain:
    """The paper's network, on the state of ours; every list of units is this file's own."""

    def __init__(self, state):
        self.state = state

    def conv(self, x, name):
        weight = self.state[f"{name}.weight"]
        return F.conv2d(x, weight, self.state.get(f"{name}.bias"), padding=(weight.shape[2] - 1) // 2)

    def norm(self, x, name):
        mean, var, scale, shift = (
            self.state[f"{name}.{n}"].view(1, -1, 1, 1) for n in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / torch.sqrt(var + 1e-5) * scale + shift

    def conv_bn_relu(self, x, name):
        return torch.relu(self.norm(self.conv(x, f"{name}.0"), f"{name}.1"))

    def ru(self, x, name):
        residual = self.norm(self.conv(self.conv_bn_relu(x, f"{name}.conv1"), f"{name}.conv2"), f"{name}.norm2")
        return residual + (self.conv(x, f"{name}.shortcut") if f"{name}.shortcut.weight" in self.state else x)

    def frru(self, y, z, name, p):
        y = self.conv_bn_relu(torch.cat([y, pool(z, p)], 1), f"{name}.conv1")
        y = self.conv_bn_relu(y, f"{name}.conv2")
        return y, z + nearest(self.conv(y, f"{name}.residual"), p, z.shape[2:])

    def network(self, x, form):
        size = x.shape[2:]
        y = self.conv_bn_relu(x, "first")
        for i in range(3):
            y = self.ru(y, f"units.{i}")
        z = self.norm(self.conv(y, "split.0"), "split.1")
        names = [f"groups.{i}.{j}" for i in range(9) for j in range(4) if f"groups.{i}.{j}.residual.bias" in self.state]
        before, streams = 1, []
        for name, (_, p) in zip(names, UNITS[form], strict=True):
            if p > before:
                y = pool(y, 2)
            elif p < before:
                y = bilinear(y, [-(-side // p) for side in size])
            y, z = self.frru(y, z, name, p)
            before = p
            streams.append(y)
        x = torch.cat([bilinear(y, size), z], 1)
        for i in range(3):
            x = self.ru(x, f"last_units.{i}")
        return self.conv(x, "classifier"), [streams[-3], streams[10 if form == "A" else 12]]


def pool(x, p):
    x = F.pad(x, (0, -x.shape[3] % p, 0, -x.shape[2] % p), value=float("-inf"))
    return x.unfold(2, p, p).unfold(3, p, p).amax((4, 5))


def nearest(x, p, size):
    return x.repeat_interleave(p, 2).repeat_interleave(p, 3)[:, :, : size[0], : size[1]]


def bilinear(x, size):
    """By 2: a new cell lies a quarter of an old one from the nearest centre; beyond the last centre nothing changes."""
    for dim in (2, 3):
        n = x.shape[dim]
        before = x.index_select(dim, torch.arange(-1, n - 1).clamp(min=0))
        after = x.index_select(dim, torch.arange(1, n + 1).clamp(max=n - 1))
        x = torch.stack([0.75 * x + 0.25 * before, 0.75 * x + 0.25 * after], dim + 1).flatten(dim, dim + 1)
    return x[:, :, : size[0], : size[1]]


@pytest.mark.parametrize("form", UNITS)
def test_the_network_from_plain_operations(form):
    head = copy.deepcopy(build(form)).double()                 # sums of twenty units: their scale is thousands
    x = features(65, 97)[0].double()                           # 65 33 17 9 5 3, 97 49 25 13 7 4 cells
    with torch.no_grad():
        dense = head([x])
        logits, maps = Plain(head.state_dict()).network(x, form)
    assert dense.logits.shape == (1, 5, 65, 97)
    assert [m.shape[2:] for m in dense.maps] == [(17, 25), (5, 7) if form == "A" else (3, 4)]
    torch.testing.assert_close(dense.logits, logits, rtol=1e-4, atol=1e-4)
    for mine, theirs in zip(dense.maps, maps, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", [(32, 32), (63, 95), (71, 33)])
def test_logits_have_the_size_of_the_photo(size):
    with torch.no_grad():
        assert build("B")(features(*size)).logits.shape[2:] == size


def test_options_that_do_not_fit_are_told():
    with pytest.raises(ValueError, match="form C must be A or B"):
        HEADS["frrn"]([3], [1], 5, form="C")
    config = recipe("frrn", ["backbone.name=resnet18"])
    with torch.device("meta"), pytest.raises(ConfigError, match=r"take backbone.name=none"):
        make_mask_head(make_backbone(config, trunk_weights=False), config, 5)
