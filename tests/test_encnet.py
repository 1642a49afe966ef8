"""EncNet: known counts, the encoding layer against loops, and a second forward written from the paper."""

from functools import cache

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from hemline.heads import HEADS
from hemline.heads.encnet import EncNet, Encoding
from hemline.networks import facts, parts, recipe
from tests.formula import fill

SMALL = [3, 8, 12, 20, 28, 36], [1, 2, 4, 8, 8, 8]


@pytest.mark.parametrize(
    ("lateral", "num_classes", "parameters"),
    [
        # zhanghang1989/PyTorch-Encoding, counted with --aux --se-loss
        (False, 150, 36_164_578),
        (True, 150, 44_031_970),
        (False, 47, 36_032_429),
        (True, 47, 43_899_821),
    ],
)
def test_parameters(lateral, num_classes, parameters):
    counted = facts("encnet", [f"head.lateral={lateral}"], num_classes=num_classes, size=(64, 64))
    assert counted.parameters_in_training == parameters
    # what only training reads: a 3x3 layer and a classifier on the third stage, and a matrix of the encoded semantics
    fcn = 9 * 1024 * 256 + 2 * 256 + (256 + 1) * num_classes
    assert counted.parameters == parameters - fcn - (512 + 1) * num_classes
    assert counted.output_stride == 8


def test_parameters_of_the_codebook():
    """32 words of 512 channels, and a smoothing factor each."""
    with torch.device("meta"):
        head = EncNet([3, 512, 1024, 2048], [1, 8, 8, 8], 2)
    assert sum(p.numel() for p in head.context.encoding.parameters()) == 32 * 512 + 32


def test_the_trunk_is_dilated_as_in_the_released_code():
    """Two stages of stride 1, the first block of each with the dilation of the stage before, and a deep stem."""
    with torch.device("meta"):
        backbone, _ = parts(recipe("encnet"), 2)
    trunk = backbone.trunk
    assert [conv.kernel_size for conv in trunk.conv1 if isinstance(conv, nn.Conv2d)] == [(3, 3)] * 3
    dilations = [[block.conv2.dilation[0] for block in stage] for stage in (trunk.layer2, trunk.layer3, trunk.layer4)]
    assert dilations == [[1] * 4, [1] + [2] * 5, [2] + [4] * 2]
    assert backbone.strides == [1, 2, 4, 8, 8, 8]


def loops(x, codewords, scale):
    """The paper's equation (1), one number after another."""
    batch, channels, height, width = x.shape
    codes = len(codewords)
    answer = torch.zeros(batch, codes, channels)
    for b in range(batch):
        for i in range(height * width):
            cell = x[b, :, i // width, i % width]
            residuals = [cell - codewords[k] for k in range(codes)]
            weights = [torch.exp(scale[k] * (residuals[k] ** 2).sum()) for k in range(codes)]
            for k in range(codes):
                answer[b, k] += weights[k] / sum(weights) * residuals[k]
    return answer


@torch.no_grad()
def test_the_encoding_layer_is_the_triple_loop():
    torch.manual_seed(0)
    layer = Encoding(3, 6)
    assert (layer.codewords.abs() <= 18**-0.5).all()
    assert ((layer.scale <= 0) & (layer.scale >= -1)).all()
    x = torch.randn(2, 3, 4, 5)
    torch.testing.assert_close(layer(x), loops(x, layer.codewords, layer.scale), rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_the_encoding_layer_with_one_code_sums_the_residuals():
    layer = Encoding(3, 1)
    x = torch.randn(2, 3, 4, 5)
    torch.testing.assert_close(layer(x), (x - layer.codewords.view(1, 3, 1, 1)).sum((2, 3))[:, None])


@torch.no_grad()
def test_the_encoding_layer_makes_no_tensor_of_all_residuals():
    """Of 12 cells, 8 channels and 16 codes, nothing is larger than the 12 * 16 assignments."""
    sizes = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            answer = function(*args, **(kwargs or {}))
            sizes.extend(x.numel() for x in tree_leaves(answer) if isinstance(x, torch.Tensor))
            return answer

    layer, x = Encoding(8, 16), torch.randn(1, 8, 3, 4)
    with Watch():
        layer(x)
    assert max(sizes) == 12 * 16


@cache
def small(lateral):
    """With smoothing factors that share cells among codes, and a variance such as batch norm finds for 117 cells."""
    head = fill(EncNet(*SMALL, 3, lateral=lateral))
    with torch.no_grad():
        head.context.encoding.scale.copy_(-torch.linspace(0.001, 0.02, 32))
        head.context.norm.running_var.fill_(100.0)
    return head


@cache
def features():
    """Of two photos of 65x97, as a trunk of stride 8 makes them."""
    channels, strides = SMALL
    torch.manual_seed(0)
    return [torch.randn(2, c, -(-65 // s), -(-97 // s)).relu() for c, s in zip(channels, strides, strict=True)]


def plain_forward(state, features, lateral):
    """The paper's figure 2, and the released code where it is silent, on the head's own weights."""

    def norm(x, name):
        names = ("running_mean", "running_var", "weight", "bias")
        return F.batch_norm(x, *(state[f"{name}.{n}"] for n in names))

    def layer(x, name):
        weight = state[f"{name}.0.weight"]
        return norm(F.conv2d(x, weight, padding=weight.shape[-1] // 2), f"{name}.1").clamp(min=0)

    def linear(x, name):
        return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    def classify(x, name):
        return F.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"])

    c2, c3, c4 = features[-3:]
    x = layer(c4, "conv5")
    if lateral:
        x = layer(torch.cat([x, layer(c2, "connect.0"), layer(c3, "connect.1")], 1), "fusion")
    cells = layer(x, "context.reduce").permute(0, 2, 3, 1).flatten(1, 2)                     # (B, N, D)
    residuals = cells[:, :, None] - state["context.encoding.codewords"]                      # (B, N, J, D)
    assigned = (state["context.encoding.scale"] * residuals.square().sum(3)).softmax(2)      # (B, N, J)
    codes = (assigned[..., None] * residuals).sum(1)                                         # (B, J, D)
    encoded = norm(codes, "context.norm").clamp(min=0).mean(1)                               # (B, D)
    x = (x * (1 + linear(encoded, "context.fc").sigmoid())[:, :, None, None]).clamp(min=0)
    auxiliary = classify(layer(c3, "auxiliary.0"), "auxiliary.2")
    return classify(x, "classifier"), x, auxiliary, linear(encoded, "presence"), assigned


@torch.no_grad()
@pytest.mark.parametrize("lateral", [False, True])
def test_a_second_forward_from_the_paper(lateral):
    head = small(lateral)
    dense, auxiliary = head.forward_train(features())
    logits, scaled, masks, presence, assigned = plain_forward(head.state_dict(), features(), lateral)
    assert 0.1 < assigned.amax(2).mean() < 0.9, "cells are shared among codes, or the codebook is not tested"
    assert dense.logits.shape == (2, 3, 9, 13)
    for ours, plain in (
        (dense.logits, logits),
        (dense.maps[0], scaled),
        (auxiliary.masks[0], masks),
        (auxiliary.presence[0], presence),
    ):
        assert plain.std() > 0.05
        torch.testing.assert_close(ours, plain, rtol=1e-4, atol=1e-4)
    assert dense.maps[1] is features()[-1]
    torch.testing.assert_close(head(features()).logits, dense.logits)


def test_every_cell_reaches_every_cell():
    """What a corner of the deepest map holds changes the answer in the other corner, through the encoded semantics."""
    maps = [x.clone() for x in features()]
    maps[-1].requires_grad_()
    small(False)(maps).logits[0, :, -1, -1].sum().backward()
    reached = maps[-1].grad[0].abs().sum(0) > 0
    assert reached.all()
    assert not maps[-1].grad[1].any()


def test_training_on_one_photo():
    """Batch norm over the codes has 512 values of each to go by."""
    head = EncNet(*SMALL, 4).train()
    dense, auxiliary = head.forward_train([x[:1] for x in features()])
    assert dense.logits.shape == auxiliary.masks[0].shape == (1, 4, 9, 13)
    assert auxiliary.presence[0].shape == (1, 4)
    assert torch.isfinite(dense.logits).all()


def test_without_its_training_outputs():
    head = EncNet(*SMALL, 4, auxiliary=False)
    whole = EncNet(*SMALL, 4)
    only_in_training = {name.partition(".")[0] for name in whole.state_dict().keys() - head.state_dict().keys()}
    assert only_in_training == {"presence", "auxiliary"}
    _, auxiliary = head.forward_train(features())
    assert auxiliary.masks == []
    assert not auxiliary.presence


def test_the_loss_weights_are_those_of_the_released_code():
    loss = recipe("encnet").loss
    assert (loss.auxiliary, loss.presence) == (0.4, 0.2)


@pytest.mark.parametrize(
    ("strides", "options", "said"),
    [
        ([1, 2, 4, 8, 16, 32], {}, r"the trunk has strides \[2, 4, 8, 16, 32\], where the last three must be 8; take"),
        ([1], {}, r"encnet: the trunk has strides \[\], where the last three must be 8"),
        (SMALL[1], {"codes": 0}, "encnet: codes 0 must be 1 or more"),
        (SMALL[1], {"dropout": 1.0}, "encnet: dropout 1.0 must be from 0 to below 1"),
    ],
)
def test_what_does_not_fit_is_said(strides, options, said):
    with pytest.raises(ValueError, match=said):
        HEADS["encnet"](SMALL[0][: len(strides)], strides, 2, **options)
