"""DenseASPP; its trunk's dilation is tested in test_dilation_densenet.py."""

from functools import cache

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from hemline.heads import HEADS
from hemline.networks import facts, parts, recipe
from tests.formula import fill

DENSENET161, DENSENET169, DENSENET201 = HEADS["denseaspp"].variants
RATES = (3, 6, 12, 18, 24)


@cache
def built():
    """The recipe's head, and a last map of an odd size."""
    _, head = parts(recipe("denseaspp"), 5)
    fill(head)
    generator = torch.Generator().manual_seed(0)
    return head, [torch.rand(1, 1024, 33, 27, generator=generator)]


@pytest.mark.parametrize(
    ("variant", "parameters"),
    [
        ((), 8_280_851),                    # counted on the authors' github.com/DeepMotionAIResearch/DenseASPP
        (DENSENET161, 35_395_427),
        (DENSENET169, 18_420_675),
        (DENSENET201, 28_639_987),
    ],
)
def test_parameters_are_those_of_the_authors_code(variant, parameters):
    counted = facts("denseaspp", variant, size=(64, 64), num_classes=19)
    assert counted.parameters == counted.parameters_in_training == parameters
    assert counted.output_stride == 8


@pytest.mark.parametrize(("variant", "giga"), [((), 38.6), (DENSENET161, 154.9)])
def test_multiply_adds_are_those_of_the_authors_code(variant, giga):
    """Counted on the same code at 512 x 512."""
    assert facts("denseaspp", variant, size=(512, 512), num_classes=19).macs / 1e9 == pytest.approx(giga, abs=0.05)


def test_denseaspp_from_plain_operations():
    """The same head written out from the paper and the authors' code, on the head's own weights."""
    head, features = built()
    state = head.state_dict()

    def norm(x, name):
        return F.batch_norm(x, *(state[f"{name}.{n}"] for n in ("running_mean", "running_var", "weight", "bias")))

    x = F.relu(norm(F.conv2d(features[-1], state["transition.weight"]), "norm"))
    for number, rate in enumerate(RATES):
        y, at = x, 0
        if number > 0:
            y, at = F.relu(norm(x, f"aspp.{number}.0")), 2
        name = [f"aspp.{number}.{at + step}" for step in range(4)]
        y = F.conv2d(y, state[f"{name[0]}.weight"], state[f"{name[0]}.bias"])
        y = F.relu(norm(y, name[1]))
        y = F.conv2d(y, state[f"{name[3]}.weight"], state[f"{name[3]}.bias"], padding=rate, dilation=rate)
        x = torch.cat([y, x], 1)
    logits = F.conv2d(x, state["classifier.weight"], state["classifier.bias"])
    with torch.inference_mode():
        dense = head(features)
    assert logits.std() > 0.01
    torch.testing.assert_close(dense.logits, logits, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(dense.maps[0], x, rtol=1e-4, atol=1e-4)
    assert dense.maps[1] is features[-1]


@pytest.mark.parametrize("across", [True, False])
def test_receptive_field_is_127_cells(across):
    """By gradient on the recipe's head: 7, 19, 43, 79 and 127 cells a side, behind one to five blocks.

    All rates are multiples of 3, and so are the distances that the kernels reach: every third cell, none left out.
    """
    _, head = parts(recipe("denseaspp"), 1)
    head.eval()
    for module in head.modules():
        if isinstance(module, nn.Conv2d):                               # all positive: no ReLU stops anything
            nn.init.constant_(module.weight, 1 / module.weight[0].numel())
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    outputs = []
    for block in head.aspp:
        block.register_forward_hook(lambda _block, _x, y: outputs.append(y))
    strip = torch.ones(1, 1024, *((1, 151) if across else (151, 1)), requires_grad=True)
    logits = head([strip]).logits

    def touched(answer):
        gradient, = torch.autograd.grad(answer.flatten(2)[..., 75].sum(), strip, retain_graph=True)
        return (gradient.abs().sum((0, 1)).flatten().nonzero().flatten() - 75).tolist()

    for reach, output in zip((3, 9, 21, 39, 63), outputs, strict=True):
        assert touched(output) == list(range(-reach, reach + 1, 3))            # a span of 7, 19, 43, 79, 127
    assert touched(logits) == list(range(-63, 64, 3))


def test_newer_maps_stand_in_front():
    """As in the authors' code: each block's 64 maps come before all that it read."""
    head, features = built()
    with torch.inference_mode():
        x = head(features).maps[0]
        assert x.shape[1] == 5 * 64 + 512
        torch.testing.assert_close(x[:, :64], head.aspp[4](x[:, 64:]))
        torch.testing.assert_close(x[:, 256:320], head.aspp[0](x[:, 320:]))
    assert (x[:, 320:] >= 0).all()                                       # rectified in place, as there


def test_whole_maps_are_dropped_in_training():
    head, features = built()
    drops = [module for module in head.modules() if isinstance(module, nn.Dropout2d)]
    assert [drop.p for drop in drops] == [0.1] * 6
    torch.manual_seed(0)
    blocks = [block.train() for block in head.aspp]
    try:
        with torch.inference_mode():
            last = head(features).maps[0][:, :64]
    finally:
        for block in blocks:
            block.eval()
        fill(head)                                                       # the statistics moved
    dropped = (last == 0).flatten(2).all(2)
    assert 0 < dropped.sum() < 32


def test_what_does_not_fit_is_said():
    with pytest.raises(ValueError, match=r"denseaspp: the trunk's strides \[4, 32\] must end.*take densenet121"):
        HEADS["denseaspp"]([3, 8, 8], [1, 4, 32], 2)
    with pytest.raises(ValueError, match=r"denseaspp: widths \[128\] must be two"):
        HEADS["denseaspp"]([3, 8, 8], [1, 4, 8], 2, widths=[128])
