"""FC-DenseNet: its counts, its stacks, what it upsamples, and the same network from plain operations."""

from functools import cache

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from hemline.errors import ConfigError
from hemline.heads import HEADS
from hemline.model import make_backbone, make_mask_head
from hemline.networks import facts, parts, recipe
from tests.formula import fill, photo

BLOCKS = {56: [4] * 11, 67: [5] * 11, 103: [4, 5, 7, 10, 12, 15, 12, 10, 7, 5, 4]}
"""Layers of each dense block, table 2 of the paper and the authors' configurations."""
GROWTH = {56: 12, 67: 16, 103: 16}


@cache
def build(layers):
    return fill(HEADS["fc_densenet"]([3], [1], 5, layers=layers))


def features(height, width):
    return [photo(height, width).permute(0, 3, 1, 2).float() / 127.5 - 1]


@cache
def walked(layers):
    """What every module answered on one photo: {module: (its first input, its answer)}."""
    seen = {}
    hooks = [
        module.register_forward_hook(lambda module, args, out: seen.__setitem__(module, (args[0], out)))
        for module in build(layers).modules()
    ]
    with torch.no_grad():
        build(layers)(features(64, 96))
    for hook in hooks:
        hook.remove()
    return seen


# Counts of the authors' Lasagne code (github.com/SimJeg/FC-DenseNet), in closed form.
@pytest.mark.parametrize(
    ("layers", "num_classes", "parameters"),
    [(56, 11, 1_376_795), (67, 11, 3_463_243), (103, 11, 9_322_091), (103, 46, 9_331_086), (103, 47, 9_331_343)],
)
def test_parameters_are_those_of_the_released_code(layers, num_classes, parameters):
    assert facts("fc_densenet", [f"head.layers={layers}"], num_classes=num_classes).parameters == parameters


@pytest.mark.parametrize(("layers", "values"), [(56, 1_397_963), (67, 3_502_923), (103, 9_425_163)])
def test_values_are_those_that_lasagne_counts_running_statistics_among_them(layers, values):
    with torch.device("meta"):
        _, head = parts(recipe("fc_densenet", [f"head.layers={layers}"]), 11)
    assert sum(value.numel() for name, value in head.state_dict().items() if "num_batches" not in name) == values


# For 103: table 2 of the paper as the authors' README corrects it (16 more from the bottleneck on).
@pytest.mark.parametrize(
    ("layers", "widths"),
    [
        (56, [96, 144, 192, 240, 288, 336, 384, 336, 288, 240, 192]),
        (67, [128, 208, 288, 368, 448, 528, 608, 528, 448, 368, 288]),
        (103, [112, 192, 304, 464, 656, 896, 1088, 816, 576, 384, 256]),
    ],
)
def test_stacks_are_as_wide_as_the_paper_says(layers, widths):
    head, seen = build(layers), walked(layers)
    blocks = [*head.down, head.bottleneck, *head.up]
    assert [seen[block][1].shape[1] for block in blocks] == widths
    assert [seen[block][1].shape[2] for block in blocks] == [64, 32, 16, 8, 4, 2, 4, 8, 16, 32, 64]
    assert [layer[2].out_channels for layer in head.transitions_down] == widths[:5]


@pytest.mark.parametrize("layers", BLOCKS)
def test_there_are_as_many_convolutions_as_the_name_says(layers):
    modules = list(build(layers).modules())
    assert sum(isinstance(module, nn.Conv2d | nn.ConvTranspose2d) for module in modules) == layers
    assert all(m.bias is not None for m in modules if isinstance(m, nn.Conv2d | nn.ConvTranspose2d))
    dropouts = [module.p for module in modules if isinstance(module, nn.Dropout)]
    assert dropouts == [0.2] * (sum(BLOCKS[layers]) + 5)      # behind every layer and transition down


@pytest.mark.parametrize(
    ("layers", "new"), [(56, [48] * 5), (67, [80] * 5), (103, [240, 192, 160, 112, 80])]
)
def test_only_the_new_maps_are_upsampled(layers, new):
    head, seen = build(layers), walked(layers)
    upsampled = [seen[transition.conv][0] for transition in head.transitions_up]
    assert [x.shape[1] for x in upsampled] == new
    for x, block in zip(upsampled, [head.bottleneck, *head.up], strict=False):
        made = [seen[layer][1] for layer in block.layers]
        assert torch.equal(x, torch.cat(made, 1))


def tiramisu(state, x, layers):
    """The paper's network, on the state of ours; every list of layers is this file's own."""

    def bn_relu_conv(x, name):
        norm = [state[f"{name}.0.{n}"] for n in ("running_mean", "running_var", "weight", "bias")]
        x = F.relu(F.batch_norm(x, *norm))
        weight = state[f"{name}.2.weight"]
        return F.conv2d(x, weight, state[f"{name}.2.bias"], padding=(weight.shape[2] - 1) // 2)

    def new_maps(stack, name, count):
        made = []
        for i in range(count):
            made.append(bn_relu_conv(torch.cat([stack, *made], 1), f"{name}.layers.{i}"))
        return torch.cat(made, 1)

    counts = BLOCKS[layers]
    stack = F.conv2d(x, state["first.weight"], state["first.bias"], padding=1)
    skips = []
    for i in range(5):
        stack = torch.cat([stack, new_maps(stack, f"down.{i}", counts[i])], 1)
        skips.append(stack)
        x = bn_relu_conv(stack, f"transitions_down.{i}")
        stack = x.unfold(2, 2, 2).unfold(3, 2, 2).amax((4, 5))
    new = new_maps(stack, "bottleneck", counts[5])
    maps = [torch.cat([stack, new], 1)]
    for i in range(5):
        skip = skips[4 - i]
        # a transposed convolution: zeros between the cells and two around them, then a convolution, kernels turned
        zeros = new.new_zeros(*new.shape[:2], 2 * new.shape[2] - 1, 2 * new.shape[3] - 1)
        zeros[:, :, ::2, ::2] = new
        kernels = state[f"transitions_up.{i}.conv.weight"].transpose(0, 1).flip(2, 3)
        x = F.conv2d(F.pad(zeros, (2, 2, 2, 2)), kernels, state[f"transitions_up.{i}.conv.bias"])
        stack = torch.cat([x[:, :, : skip.shape[2], : skip.shape[3]], skip], 1)
        new = new_maps(stack, f"up.{i}", counts[6 + i])
        maps.append(torch.cat([stack, new], 1))
    return F.conv2d(maps[5], state["classifier.weight"], state["classifier.bias"]), [maps[3], maps[0]]


@pytest.mark.parametrize("layers", BLOCKS)
def test_the_network_from_plain_operations(layers):
    x = features(65, 97)                                       # odd and even skips: 65 32 16 8 4, 97 48 24 12 6
    with torch.no_grad():
        dense = build(layers)(x)
        logits, maps = tiramisu(build(layers).state_dict(), x[0], layers)
    assert dense.logits.shape == (1, 5, 65, 97)
    assert [m.shape[2:] for m in dense.maps] == [(16, 24), (2, 3)]
    torch.testing.assert_close(dense.logits, logits, rtol=1e-4, atol=1e-4)
    for mine, theirs in zip(dense.maps, maps, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", [(32, 32), (63, 95), (71, 33)])
def test_logits_have_the_size_of_the_photo(size):
    with torch.no_grad():
        assert build(56)(features(*size)).logits.shape[2:] == size


def test_options_that_do_not_fit_are_told():
    with pytest.raises(ValueError, match="layers 121 must be 56, 67 or 103"):
        HEADS["fc_densenet"]([3], [1], 5, layers=121)
    with pytest.raises(ValueError, match="dropout 1 must be at least 0 and below 1"):
        HEADS["fc_densenet"]([3], [1], 5, dropout=1)
    config = recipe("fc_densenet", ["backbone.name=resnet18"])
    with torch.device("meta"), pytest.raises(ConfigError, match=r"take backbone.name=none"):
        make_mask_head(make_backbone(config, trunk_weights=False), config, 5)
