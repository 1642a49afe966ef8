"""RefineNet: known counts, its parts one by one, and a second forward written from the paper."""

import copy
from functools import cache

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from hemline.heads import HEADS
from hemline.heads.refinenet import ChainedResidualPooling, RefineNet, ResidualConvUnit
from hemline.networks import facts, parts, recipe
from tests.formula import fill

RESNET50 = [3, 64, 256, 512, 1024, 2048], [1, 2, 4, 8, 16, 32]
SMALL = [3, 8, 20, 28, 36, 44], [1, 2, 4, 8, 16, 32]
WIDTHS = (24, 16, 8, 12)
"""Each another, so that a width in the wrong place shows."""


@pytest.mark.parametrize(
    ("overrides", "num_classes", "parameters"),
    [
        # DrSleep/refinenet-pytorch, run with 21 and 47 classes
        ([], 21, 99_060_309),
        (["backbone.name=resnet101"], 21, 118_052_437),
        (["backbone.name=resnet152"], 21, 133_696_085),
        ([], 47, 99_120_239),
        (["backbone.name=resnet101"], 47, 118_112_367),
        # two 3x3 convolutions fewer in each of four blocks, of 512 and three times 256 channels
        (["head.pools=2"], 21, 99_060_309 - 2 * 9 * (512**2 + 3 * 256**2)),
    ],
)
def test_parameters(overrides, num_classes, parameters):
    counted = facts("refinenet", overrides, num_classes=num_classes, size=(64, 64))
    assert counted.parameters == counted.parameters_in_training == parameters
    assert counted.output_stride == 4


def test_parameters_of_the_decoder_and_multiply_adds():
    """75,612,207 and 243.5 billion at 512x512, DrSleep/refinenet-pytorch."""
    with torch.device("meta"):
        decoder = RefineNet(*RESNET50, 47)
    assert sum(p.numel() for p in decoder.parameters()) == 75_612_207
    assert round(facts("refinenet", num_classes=21, size=(512, 512)).macs / 1e8) == 2435


@cache
def small():
    return fill(RefineNet(*SMALL, 3, widths=WIDTHS))


@cache
def features():
    """Of a photo of 65x97, as a trunk of those strides makes them."""
    channels, strides = SMALL
    torch.manual_seed(0)
    return [torch.randn(2, c, -(-65 // s), -(-97 // s)).relu() for c, s in zip(channels, strides, strict=True)]


def plain_forward(state, features, pools=4):
    """The paper's figures 2 and 3, and the released code where they are silent, on the head's own weights."""

    def conv(x, name):
        return F.conv2d(x, state[f"{name}.weight"], state.get(f"{name}.bias"), padding=1)

    def units(x, name, count):
        for i in range(count):
            x = x + conv(conv(x.clamp(min=0), f"{name}.{i}.conv1").clamp(min=0), f"{name}.{i}.conv2")
        return x

    path = None
    for block, stage in enumerate((5, 4, 3, 2)):
        name = f"blocks.{block}"
        x = units(conv(features[stage], f"{name}.reduce"), f"{name}.adapt", 2)
        if path is not None:
            path = conv(path, f"{name}.fuse_coarser")
            path = F.interpolate(path, size=x.shape[2:], mode="bilinear", align_corners=True)
            x = conv(x, f"{name}.fuse_own") + path
        pooled = x = x.clamp(min=0)
        for i in range(pools):
            pooled = conv(F.max_pool2d(pooled, 5, 1, 2), f"{name}.pool.convs.{i}")
            x = x + pooled
        path = units(x, f"{name}.output", 3)
    return conv(path, "classifier"), path


@torch.no_grad()
@pytest.mark.parametrize("pools", [2, 4])
def test_a_second_forward_from_the_paper(pools):
    head = small() if pools == 4 else fill(RefineNet(*SMALL, 3, widths=WIDTHS, pools=pools))
    dense = head(features())
    logits, finest = plain_forward(head.state_dict(), features(), pools)
    assert dense.logits.shape == (2, 3, 17, 25)
    assert dense.logits.std() > 0.1
    torch.testing.assert_close(dense.logits, logits, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(dense.maps[0], finest, rtol=1e-4, atol=1e-4)
    assert dense.maps[1] is features()[-1]


def test_the_trunk_is_plainly_strided():
    with torch.device("meta"):
        backbone, head = parts(recipe("refinenet"), 3)
        maps = backbone(torch.zeros(1, 65, 97, 3, dtype=torch.uint8))
    read = [maps[i] for i in head.stages]
    assert [tuple(x.shape[1:]) for x in read] == [(2048, 3, 4), (1024, 5, 7), (512, 9, 13), (256, 17, 25)]
    dilations = {x.dilation for x in backbone.modules() if isinstance(x, nn.Conv2d)}
    assert dilations == {(1, 1)}


@torch.no_grad()
def test_a_residual_unit_whose_second_convolution_is_zero_is_the_identity():
    units = [unit for unit in small().modules() if isinstance(unit, ResidualConvUnit)]
    assert len(units) == 4 * (2 + 3)
    for unit in units:
        unit = copy.deepcopy(unit)
        x = torch.randn(1, unit.conv1.in_channels, 5, 7)
        assert not torch.allclose(unit(x), x)
        nn.init.zeros_(unit.conv2.weight)
        torch.testing.assert_close(unit(x), x, rtol=0, atol=0)


@torch.no_grad()
def test_chained_pooling_sums_every_stage():
    """With convolutions that pass all through, stage n is the maximum of a window of 4n + 1."""
    pool = ChainedResidualPooling(2, 4)
    for conv in pool.convs:
        nn.init.dirac_(conv.weight)
    x = torch.randn(1, 2, 23, 31)
    windows = [F.max_pool2d(x.relu(), 4 * n + 1, 1, 2 * n) for n in range(5)]
    torch.testing.assert_close(pool(x), sum(windows))
    assert [len(block.pool.convs) for block in small().blocks] == [4] * 4


@torch.no_grad()
def test_the_coarser_path_is_upsampled_with_its_corners_on_the_corners():
    """Where all else passes through or is zero, a ramp over the coarser map is the same ramp over the finer one."""
    block = RefineNet([3, 1, 1], [1, 4, 8], 1, widths=(1, 1), pools=1).blocks[1]
    for name, parameter in block.named_parameters():
        nn.init.dirac_(parameter) if name == "fuse_coarser.weight" else nn.init.zeros_(parameter)
    coarser = torch.linspace(0, 1, 5).expand(1, 1, 3, 5)
    answer = block(torch.randn(1, 1, 7, 9), coarser)
    torch.testing.assert_close(answer, torch.linspace(0, 1, 9).expand(1, 1, 7, 9))


def test_no_batch_norm_in_the_decoder():
    kinds = {type(module) for module in small().modules()}
    assert not any(issubclass(kind, nn.modules.batchnorm._BatchNorm) for kind in kinds)


@torch.no_grad()
def test_dropout_is_where_the_released_code_has_it():
    """In training, at the two deepest stages and before the classifier, and nowhere else."""
    head = RefineNet(*SMALL, 3, widths=WIDTHS)
    seen = []
    head.dropout.register_forward_hook(lambda module, given, answer: seen.append(given[0].shape[1]))
    head(features())
    assert seen == [44, 36, WIDTHS[-1]]
    assert [module.p for module in head.modules() if isinstance(module, nn.Dropout)] == [0.5]


@pytest.mark.parametrize(
    ("strides", "options", "said"),
    [
        ([1], {}, r"refinenet: the trunk has strides \[\], none of them 4; take one such as resnet50"),
        ([1, 2, 4, 8, 16], {}, r"refinenet: widths \[512, 256, 256, 256\] must have 3 entries of 1 or more"),
        ([1, 2, 4, 8, 16], {"widths": [8, 0, 8]}, r"refinenet: widths \[8, 0, 8\] must have 3 entries of 1 or more"),
        ([1, 4, 8], {"widths": [8, 8], "pools": 0}, "refinenet: pools 0 must be 1 or more"),
        ([1, 4, 8], {"widths": [8, 8], "dropout": 1.0}, "refinenet: dropout 1.0 must be from 0 to below 1"),
    ],
)
def test_what_does_not_fit_is_said(strides, options, said):
    with pytest.raises(ValueError, match=said):
        HEADS["refinenet"]([3, 8, 8, 8, 8][: len(strides)], strides, 2, **options)
