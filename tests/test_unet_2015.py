"""U-Net in its original form: counts, the paper's sizes and crops, and a second forward from plain operations."""

from functools import cache

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from hemline.heads import HEADS
from hemline.networks import facts, parts, recipe
from tests.formula import fill, photo

KEYS = ("running_mean", "running_var", "weight", "bias")


@cache
def built(*overrides):
    """Narrower than the paper's, which takes long to fill."""
    backbone, head = parts(recipe("unet_2015", ["head.width=16", *overrides]), 5)
    return backbone.eval(), fill(head)


def on_meta(num_classes=2):
    with torch.device("meta"):
        return parts(recipe("unet_2015"), num_classes)[1].eval()


def unpad(head):
    """The paper's unpadded convolutions, on the built network."""
    for module in head.modules():
        if isinstance(module, nn.Conv2d):
            module.padding = (0, 0)
    return head


# Closed forms; 31,034,735 is also what the Keras network of hasslercastro/fashion (models/Unet.py, 47 labels) has.
@pytest.mark.parametrize(
    ("num_classes", "overrides", "parameters"),
    [
        (2, (), 31_031_810),
        (21, (), 31_033_045),
        (46, (), 31_034_670),
        (47, (), 31_034_735),
        (47, ("head.upsample=nearest",), 31_034_735),
        (2, ("head.norm=true",), 31_037_698),
        (21, ("head.norm=true",), 31_038_933),
        (47, ("head.norm=true",), 31_040_623),
    ],
)
def test_parameters(num_classes, overrides, parameters):
    counted = facts("unet_2015", overrides, num_classes=num_classes, size=(64, 64))
    assert counted.parameters == parameters
    assert counted.output_stride == 1


def test_parameters_and_convolutions_of_the_paper():
    """One grey channel, two classes, 23 convolutions."""
    with torch.device("meta"):
        head = HEADS["unet_2015"]([1], [1], 2)
    assert sum(p.numel() for p in head.parameters()) == 31_030_658
    convolutions = [x for x in head.modules() if isinstance(x, nn.Conv2d | nn.ConvTranspose2d)]
    assert len(convolutions) == 23
    assert all(x.bias is not None for x in convolutions)


def test_572_unpadded_gives_388():
    """The sizes of the paper's Figure 1, level by level."""
    head = unpad(on_meta())
    sizes = []
    for module in (*head.contracting, *head.up, *head.expansive):
        module.register_forward_hook(lambda module, args, out: sizes.append(tuple(out.shape[1:])))
    logits = head([torch.zeros(1, 3, 572, 572, device="meta")]).logits
    assert logits.shape == (1, 2, 388, 388)
    widths_and_sides = [
        (64, 568), (128, 280), (256, 136), (512, 64), (1024, 28),
        (512, 56), (512, 52), (256, 104), (256, 100), (128, 200), (128, 196), (64, 392), (64, 388),
    ]  # fmt: skip
    assert sizes == [(width, side, side) for width, side in widths_and_sides]


def test_the_crop_is_the_centre():
    """Unpadded, what is joined is the skip without 4, 16, 40 and 88 cells on each side, deep to shallow, then x."""
    head = unpad(fill(HEADS["unet_2015"]([3], [1], 2, width=8)))
    skips, ups, joined = [], [], []
    for level in head.contracting[:4]:
        level.register_forward_hook(lambda module, args, out: skips.append(out))
    for up in head.up:
        up.register_forward_hook(lambda module, args, out: ups.append(out))
    for level in head.expansive:
        level.register_forward_pre_hook(lambda module, args: joined.append(args[0]))
    with torch.inference_mode():
        logits = head([photo(188, 204).permute(0, 3, 1, 2) / 255]).logits
    assert logits.shape == (1, 2, 4, 20)
    for skip, up, both, lost in zip(skips[::-1], ups, joined, (4, 16, 40, 88), strict=True):
        assert torch.equal(both, torch.cat([skip[..., lost:-lost, lost:-lost], up], dim=1))


@pytest.mark.parametrize("size", [(1, 1), (16, 32), (17, 31), (75, 101), (90, 33)])
def test_logits_have_the_size_of_any_photo(size):
    assert on_meta()([torch.zeros(1, 3, *size, device="meta")]).logits.shape[-2:] == size


@pytest.mark.parametrize("overrides", [(), ("head.norm=true",), ("head.upsample=nearest",)])
def test_from_plain_operations(overrides):
    """The same network written out with `torch.nn.functional` from the paper, on the head's own weights."""
    backbone, head = built(*overrides)
    state = head.state_dict()

    def convolve(x, name):
        """Two 3x3 convolutions, each with its ReLU, whatever the names of their weights are."""
        kernels = [key for key in state if key.startswith(f"{name}.") and state[key].ndim == 4]
        assert len(kernels) == 2
        for key in kernels:
            x = F.conv2d(x, state[key], state.get(key.replace("weight", "bias")), padding=1)
            norm = key.replace("0.weight", "1.")                     # with batch norm: NAME.0.weight, NAME.1.*
            if overrides == ("head.norm=true",):
                x = F.batch_norm(x, *(state[norm + k] for k in KEYS))
            x = x.clamp(min=0)
        return x

    def up(x, name):
        if overrides != ("head.upsample=nearest",):
            return F.conv_transpose2d(x, state[f"{name}.weight"], state[f"{name}.bias"], stride=2)
        x = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
        return F.conv2d(F.pad(x, (0, 1, 0, 1)), state[f"{name}.2.weight"], state[f"{name}.2.bias"]).clamp(min=0)

    with torch.inference_mode():
        x = (photo(65, 97).permute(0, 3, 1, 2) / 255 - 0.5) / 0.5
        got = head(backbone(photo(65, 97)))
        path = []
        for level in range(5):
            x = F.max_pool2d(x, 2, ceil_mode=True) if level else x
            x = convolve(x, f"contracting.{level}")
            path.append(x)
        for step in range(4):
            skip = path[3 - step]
            height, width = skip.shape[-2:]
            x = torch.cat([skip, up(x, f"up.{step}")[..., :height, :width]], dim=1)
            x = convolve(x, f"expansive.{step}")
            if step == 1:
                stride_4 = x
        logits = F.conv2d(x, state["classifier.weight"], state["classifier.bias"])
    assert logits.shape == (1, 5, 65, 97)
    assert logits.std() > 0.01
    torch.testing.assert_close(got.logits, logits, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(got.maps[0], stride_4, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(got.maps[1], path[4], rtol=1e-4, atol=1e-4)


def test_half_of_the_deepest_two_levels_drops_before_it_goes_anywhere():
    """What was dropped is what is pooled, what is joined, and what goes up."""
    _, head = built()
    assert head.dropout.p == 0.5
    dropped, reached = [], []
    hooks = [head.dropout.register_forward_hook(lambda module, args, out: dropped.append(out))]
    for module in (head.contracting[4], head.up[0], head.expansive[0]):
        hooks.append(module.register_forward_pre_hook(lambda module, args: reached.append(args[0])))
    with torch.no_grad():
        head.train()([torch.rand(1, 3, 64, 64)])
    head.eval()
    for hook in hooks:
        hook.remove()
    assert [x.shape[1] for x in dropped] == [128, 256]
    below, deepest, joined = reached
    assert torch.equal(below, F.max_pool2d(dropped[0], 2))
    assert torch.equal(deepest, dropped[1])
    assert torch.equal(joined[:, :128], dropped[0])


def test_weights_begin_as_in_the_paper():
    """A Gaussian of standard deviation sqrt(2 / N), N the inputs of one neuron: 9 * C, or C of an up-convolution."""
    torch.manual_seed(0)
    head = HEADS["unet_2015"]([3], [1], 2, width=16)
    for i, level in enumerate(head.contracting[1:], start=1):
        assert level[2].weight.std().item() == pytest.approx((2 / (9 * 16 * 2**i)) ** 0.5, rel=0.03)
    for up in head.up[:-1]:
        assert up.weight.std().item() == pytest.approx((2 / up.in_channels) ** 0.5, rel=0.03)


def test_options_that_do_not_fit():
    with pytest.raises(ValueError, match=r"unet_2015: it brings its own encoder: take backbone\.name=none"):
        HEADS["unet_2015"]([3, 8, 16], [1, 2, 4], 5)
    with pytest.raises(ValueError, match="unet_2015: width 0 must be 1 or more"):
        HEADS["unet_2015"]([3], [1], 5, width=0)
    with pytest.raises(ValueError, match="unet_2015: upsample 'bilinear' must be transposed or nearest"):
        HEADS["unet_2015"]([3], [1], 5, upsample="bilinear")
