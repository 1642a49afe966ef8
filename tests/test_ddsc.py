"""DDSC: its shortcuts and grouped convolutions on the built network, and a second forward in plain operations."""

import copy
from functools import cache

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from hemline.errors import ConfigError
from hemline.heads.ddsc import DDSC, ResNeXtBlock
from hemline.networks import facts, parts, recipe
from tests.formula import fill

K = 5


@cache
def built():
    """A light head filled by the formula, and noise of the sizes that a trunk makes of an odd photo."""
    channels, sizes = [3, 8, 16, 24, 32, 40], [(65, 97), (33, 49), (17, 25), (9, 13), (5, 7), (3, 4)]
    torch.manual_seed(0)
    features = [torch.rand(1, c, *size) for c, size in zip(channels, sizes, strict=True)]
    head = DDSC(channels, [1, 2, 4, 8, 16, 32], K, widths=(192, 128, 128, 64))
    return fill(head).requires_grad_(False), features


def of_level(features, level):
    """Level 4 is the deepest."""
    return features[level + 1]


def silence(*convs):
    for conv in convs:
        nn.init.zeros_(conv[2].weight)


def test_count():
    """Our own figure at 21 classes, to notice a change: none is published."""
    found = facts("ddsc", num_classes=21)
    assert found.parameters == found.parameters_in_training == 172_160_853


def test_count_in_closed_form():
    def conv(c, d, side=3, groups=1):
        return 2 * c + side * side * c * d // groups       # the norm before it, no bias

    def block(d):
        return conv(d, d // 2, 1) + conv(d // 2, d // 2, groups=32) + conv(d // 2, d, 1)

    widths, encoder = (1024, 512, 256, 128), (2048, 1024, 512, 256)
    adapt = sum(conv(c, d) + 3 * block(d) + conv(d, d) for c, d in zip(encoder, widths, strict=True))
    generate = sum(4 * conv(d, d) + 4 * conv(d, d // 4) + conv(d, d) + 4 * block(d) for d in widths)
    out = sum(conv(d, d) for d in widths[:3]) + 2 * 128 + 9 * 128 * 21 + 21
    fuse = sum(conv(d, d) + sum(conv(high, d) for high in widths[:i]) for i, d in enumerate(widths) if i)
    trunk = 22_979_904                                     # torchvision's resnext50_32x4d, 25,028,904, without fc
    assert facts("ddsc", num_classes=21).parameters == trunk + adapt + generate + out + fuse


def test_answers_at_a_quarter():
    head, features = built()
    dense = head(features)
    assert dense.logits.shape[-2:] == dense.maps[0].shape[-2:] == (17, 25)
    assert facts("ddsc").output_stride == 4


@pytest.mark.parametrize("level", [4, 3, 2])
def test_every_higher_level_reaches_the_output_directly(level):
    """With all other shortcuts cut, and the last level's own map too, only this level's features tell."""
    head, features = built()
    head = copy.deepcopy(head)
    way = head.fuse[2].shortcuts[4 - level]
    silence(head.fuse[2].own, *(x for fusion in head.fuse for x in fusion.shortcuts if x is not way))
    before = head(features).logits
    this = [x + 1 if x is of_level(features, level) else x for x in features]
    others = [x if x is of_level(features, level) else x + 1 for x in features]
    assert not torch.allclose(head(this).logits, before)
    assert torch.equal(head(others).logits, before)
    silence(way)
    assert torch.equal(head(features).logits, head(this).logits)


def test_all_six_shortcuts_are_there_and_tell():
    head, features = built()
    before = head(features).logits
    assert [len(fusion.shortcuts) for fusion in head.fuse] == [1, 2, 3]
    for i in range(3):
        for j in range(i + 1):
            cut = copy.deepcopy(head)
            silence(cut.fuse[i].shortcuts[j])
            assert not torch.allclose(cut(features).logits, before), (i, j)


def test_grouped_convolutions_are_in_the_path():
    head, features = built()
    head = copy.deepcopy(head)
    before = head(features).logits
    blocks = [module for module in head.modules() if isinstance(module, ResNeXtBlock)]
    assert len(blocks) == 4 * 3 + 4 * 4
    for block in blocks:
        conv = block.grouped[2]
        assert (conv.groups, conv.kernel_size) == (32, (3, 3))
        kept = conv.weight.clone()
        conv.weight.neg_()
        assert not torch.allclose(head(features).logits, before)
        conv.weight.copy_(kept)


def test_a_second_forward_from_plain_operations():
    head, features = built()
    state = head.state_dict()

    def conv(name, x, groups=1):
        names = ("running_mean", "running_var", "weight", "bias")
        x = F.relu(F.batch_norm(x, *(state[f"{name}.0.{n}"] for n in names)))
        weight = state[f"{name}.2.weight"]
        return F.conv2d(x, weight, padding=weight.shape[-1] // 2, groups=groups)

    def resnext(name, x):
        return x + conv(f"{name}.expand", conv(f"{name}.grouped", conv(f"{name}.reduce", x), groups=32))

    native = {}
    for level in (4, 3, 2, 1):
        i = 4 - level
        x = conv(f"adapt.{i}.0", of_level(features, level))
        for n in (1, 2, 3):
            x = resnext(f"adapt.{i}.{n}", x)
        x = conv(f"adapt.{i}.4", x)
        if level < 4:
            x = conv(f"fuse.{i - 1}.own", x)
            for j, high in enumerate(range(4, level, -1)):
                narrowed = conv(f"fuse.{i - 1}.shortcuts.{j}", native[high])
                x = x + F.interpolate(narrowed, size=x.shape[2:], mode="bilinear", align_corners=False)
        quarters = []
        for n in range(4):
            x = F.max_pool2d(conv(f"generate.{i}.convs.{n}", x), 5, stride=1, padding=2)
            quarters.append(conv(f"generate.{i}.quarters.{n}", x))
        x = conv(f"generate.{i}.join", torch.cat(quarters, 1))
        for n in range(4):
            x = resnext(f"generate.{i}.blocks.{n}", x)
        native[level] = conv(f"outputs.{i}", x) if level > 1 else x
    norm = (state[f"norm.{n}"] for n in ("running_mean", "running_var", "weight", "bias"))
    x = F.relu(F.batch_norm(native[1], *norm))
    logits = F.conv2d(x, state["classifier.weight"], state["classifier.bias"], padding=1)
    dense = head(features)
    torch.testing.assert_close(dense.logits, logits, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(dense.maps, [x, features[5]], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["backbone.output_stride=16"], r"strides \[2, 4, 8, 16, 16\] do not end in 4, 8, 16, 32: take resnext50"),
        (["head.widths=[256,128,64]"], r"widths \[256, 128, 64\] must be 4 multiples of 64"),
        (["head.widths=[256,128,64,32]"], r"widths \[256, 128, 64, 32\] must be 4 multiples of 64"),
    ],
)
def test_what_does_not_fit_is_said(overrides, sentence):
    with pytest.raises(ConfigError, match=sentence), torch.device("meta"):
        parts(recipe("ddsc", overrides), K)
