"""BiSeNet and its trunk Xception39; what holds for every network stands in test_networks.py."""

from functools import cache

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from hemline.backbone import Backbone
from hemline.errors import ConfigError
from hemline.heads import HEADS
from hemline.networks import facts, parts, recipe
from tests.formula import fill, photo

RESNET18, XCEPTION39, RESNET101 = (), *HEADS["bisenet"].variants
SIZE = (65, 97)


@cache
def built(variant):
    backbone, head = parts(recipe("bisenet", variant), 5)
    fill(backbone), fill(head)
    with torch.inference_mode():
        return backbone, head, backbone(photo(*SIZE))


@pytest.mark.parametrize(
    ("variant", "classes", "in_training", "parameters"),
    [
        (RESNET18, 19, 13_494_777, 12_894_163),     # counted on the authors' github.com/ycszen/TorchSeg
        (RESNET18, 47, 13_510_989, 12_895_983),
        (XCEPTION39, 19, 1_842_289, 1_541_963),
        (RESNET101, 19, 48_239_417, 47_638_803),
    ],
)
def test_parameters_are_those_of_the_authors_code(variant, classes, in_training, parameters):
    counted = facts("bisenet", variant, size=(64, 64), num_classes=classes)
    assert (counted.parameters_in_training, counted.parameters) == (in_training, parameters)
    assert counted.output_stride == 8


@pytest.mark.parametrize(
    ("variant", "giga"),
    [(RESNET18, 11.58), (XCEPTION39, 3.07), (RESNET101, 48.71)],    # the same code at 360 x 640
)
def test_multiply_adds_are_those_of_the_authors_code(variant, giga):
    assert facts("bisenet", variant, size=(360, 640), num_classes=19).macs / 1e9 == pytest.approx(giga, abs=5e-3)


def conv(x, state, name, stride=1, groups=1):
    weight = state[f"{name}.weight"]
    return F.conv2d(x, weight, state.get(f"{name}.bias"), stride, weight.shape[-1] // 2, groups=groups)


def norm(x, state, name):
    return F.batch_norm(x, *(state[f"{name}.{n}"] for n in ("running_mean", "running_var", "weight", "bias")))


def conv_norm_relu(x, state, name, stride=1):
    return F.relu(norm(conv(x, state, f"{name}.0", stride), state, f"{name}.1"))


def mean(x):
    return x.mean((2, 3), keepdim=True)


def up(x, finer):
    return F.interpolate(x, finer.shape[2:], mode="bilinear", align_corners=True)


def bisenet(state, pixels, at_16, at_32):
    """The three outputs: the fused one, and those of the context at strides 16 and 8."""
    spatial = pixels
    for number, stride in enumerate((2, 2, 2, 1)):
        spatial = conv_norm_relu(spatial, state, f"spatial_path.{number}", stride)

    def attention_refinement(x, number):
        x = conv_norm_relu(x, state, f"arms.{number}.conv")
        weights = conv(mean(x), state, f"arms.{number}.attention.1")
        return x * norm(weights, state, f"arms.{number}.attention.2").sigmoid()

    tail = conv_norm_relu(mean(at_32), state, "global_context.1").expand(-1, -1, *at_32.shape[2:])
    context_16 = conv_norm_relu(up(attention_refinement(at_32, 0) + tail, at_16), state, "refines.0")
    context_8 = conv_norm_relu(up(attention_refinement(at_16, 1) + context_16, spatial), state, "refines.1")
    mixed = conv_norm_relu(torch.cat([spatial, context_8], 1), state, "ffm.conv")
    weights = F.relu(conv(mean(mixed), state, "ffm.attention.1"))
    fused = mixed * (1 + conv(weights, state, "ffm.attention.3").sigmoid())
    return (
        conv(conv_norm_relu(fused, state, "conv"), state, "classifier"),
        conv(conv_norm_relu(context_16, state, "auxiliary.0.0"), state, "auxiliary.0.1"),
        conv(conv_norm_relu(context_8, state, "auxiliary.1.0"), state, "auxiliary.1.1"),
    )


@pytest.mark.parametrize("variant", [RESNET18, XCEPTION39])
def test_bisenet_from_plain_operations(variant):
    """The same network written out from the paper and the authors' code, on the head's own weights."""
    _, head, features = built(variant)
    with torch.inference_mode():
        dense, auxiliary = head.forward_train(features)
        expected = bisenet(head.state_dict(), features[0], features[-2], features[-1])
    for ours, plain in zip((dense.logits, *auxiliary.masks), expected, strict=True):
        assert plain.std() > 0.01
        torch.testing.assert_close(ours, plain, rtol=1e-4, atol=1e-4)


def test_two_auxiliary_outputs_in_training_and_none_otherwise():
    _, head, features = built(RESNET18)
    with torch.inference_mode():
        dense, auxiliary = head.forward_train(features)
        assert torch.equal(dense.logits, head(features).logits)
        assert dense.logits.shape == (1, 5, 9, 13)
        assert [x.shape for x in auxiliary.masks] == [(1, 5, 5, 7), (1, 5, 9, 13)]      # strides 16 and 8
        alone = HEADS["bisenet"]([3, 8, 16], [1, 16, 32], 5, auxiliary=False).eval()
        small = [torch.rand(2, 3, 65, 97), torch.rand(2, 8, 5, 7), torch.rand(2, 16, 3, 4)]
        assert alone.forward_train(small)[1].masks == []
    assert not [name for name, _ in alone.named_parameters() if name.startswith("auxiliary")]
    assert recipe("bisenet").loss.auxiliary == 1


def test_a_cell_of_the_spatial_path_sees_19_pixels():
    """7 + 2 * (3 - 1) + 4 * (3 - 1): detail alone."""
    _, head, _ = built(RESNET18)
    path = head.spatial_path
    pixels = torch.rand(1, 3, 65, 65).requires_grad_()
    path(pixels)[0, :, 4, 4].square().sum().backward()
    rows = pixels.grad.abs().sum((0, 1, 3)).nonzero().flatten()
    assert rows.tolist() == list(range(32 - 9, 32 + 10))


@pytest.mark.parametrize("stage", [-1, -2])
def test_every_cell_of_the_context_reaches_every_logit(stage):
    """Through the means over whole maps: of the deepest, of either refinement, of the fusion."""
    _, head, features = built(RESNET18)
    moved = [x.clone() for x in features]
    moved[stage][..., -1, -1] += 10
    with torch.inference_mode():
        changed = (head(moved).logits - head(features).logits).abs()
    assert (changed.amax(1) > 1e-6).all()


def test_the_deepest_map_reaches_the_far_corner_of_the_first_context_through_its_mean():
    """The first context would see it nowhere near without the pooled branch and the refinement's attention."""
    features = [torch.rand(1, 3, 256, 256), torch.rand(1, 256, 16, 16), torch.rand(1, 512, 8, 8)]
    head = HEADS["bisenet"]([3, 256, 512], [1, 16, 32], 5)
    head.load_state_dict(built(RESNET18)[1].state_dict())
    head.eval()
    nn.init.zeros_(head.arms[0].attention[2].weight)                 # its attention is then the same everywhere
    moved = [*features[:2], features[2].clone()]
    moved[2][..., -1, -1] += 10
    with torch.inference_mode():
        before, after = (head.forward_train(x)[1].masks[0][..., 0, 0] for x in (features, moved))
        assert (before - after).abs().max() > 1e-4
        nn.init.zeros_(head.global_context[1][1].weight)             # nor does its mean change anything
        before, after = (head.forward_train(x)[1].masks[0][..., 0, 0] for x in (features, moved))
        assert torch.equal(before, after)


def test_xception39_from_plain_operations():
    """Written out from the authors' code: no norm inside a separable convolution, shortcuts that are strided ones."""
    backbone, _, features = built(XCEPTION39)
    state = backbone.trunk.state_dict()

    def separable(x, name, stride=1, relu=True):
        x = conv(conv(x, state, f"{name}.0", stride, groups=x.shape[1]), state, f"{name}.1")
        x = norm(x, state, f"{name}.2")
        return F.relu(x) if relu else x

    with torch.inference_mode():
        x = conv_norm_relu(features[0], state, "stem", 2)
        expected = [x, F.max_pool2d(x, 3, stride=2, padding=1)]
        for number, blocks in enumerate((4, 8, 4)):
            x = expected[-1]
            for block in range(blocks):
                name, stride = f"stages.{number}.{block}", 2 if block == 0 else 1
                y = separable(separable(x, f"{name}.residual.0", stride), f"{name}.residual.1")
                y = separable(y, f"{name}.residual.2", relu=False)
                x = F.relu(y + (x if block else separable(x, f"{name}.shortcut", 2, relu=False)))
            expected.append(x)
    for ours, plain, channels, stride in zip(
        features[1:], expected, backbone.channels[1:], backbone.strides[1:], strict=True
    ):
        assert ours.shape[1:] == (channels, -(-SIZE[0] // stride), -(-SIZE[1] // stride))
        torch.testing.assert_close(ours, plain, rtol=1e-4, atol=1e-4)


def test_what_does_not_fit_is_said():
    with pytest.raises(ValueError, match=r"bisenet: the trunk's strides \[4, 8\] must.*take resnet18"):
        HEADS["bisenet"]([3, 8, 8], [1, 4, 8], 2)
    with pytest.raises(ValueError, match="bisenet: width 0 and auxiliary_width 256 must be 1 or more"):
        HEADS["bisenet"]([3, 8, 8], [1, 16, 32], 2, width=0)
    with pytest.raises(ConfigError, match="xception39 is as it is"):
        Backbone("xception39", output_stride=8)
