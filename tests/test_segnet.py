"""SegNet: counts, the positions that maxima return to, and a second forward from plain operations."""

from functools import cache

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from hemline.heads import HEADS
from hemline.networks import facts, parts, recipe
from tests.formula import fill, photo

SIZE = (75, 101)
"""Halves to odd numbers on the way: 75 37 18 9 4 2, 101 50 25 12 6 3."""
VGG = [3, 64, 128, 256, 512, 512, 512]


@cache
def built():
    backbone, head = parts(recipe("segnet"), 5)
    return fill(backbone), fill(head)


@cache
def features():
    with torch.inference_mode():
        return built()[0](photo(*SIZE))


@cache
def one_pass():
    """The answer, and what goes into each pooling and unpooling and comes out of it."""
    head = built()[1]
    calls = {"pool": [], "unpool": []}
    hooks = [
        getattr(head, name).register_forward_hook(lambda module, args, out, to=to: to.append((args[0], out)))
        for name, to in calls.items()
    ]
    with torch.inference_mode():
        answer = head(features())
    for hook in hooks:
        hook.remove()
    return answer, calls["pool"], calls["unpool"]


# The Caffe model `segnet` of alexgkendall/SegNet-Tutorial, whose 11 classes are those of CamVid; the paper says 29.5M.
@pytest.mark.parametrize(
    ("num_classes", "parameters"),
    [(11, 29_449_355), (12, 29_449_932), (21, 29_455_125), (46, 29_469_550), (47, 29_470_127)],
)
def test_parameters(num_classes, parameters):
    counted = facts("segnet", num_classes=num_classes, size=(64, 64))
    assert counted.parameters == parameters
    assert counted.output_stride == 1


def test_26_convolutions_5_poolings_5_unpoolings():
    backbone, head = built()
    convolutions = [[x for x in part.modules() if isinstance(x, nn.Conv2d)] for part in (backbone, head)]
    assert [len(x) for x in convolutions] == [13, 13]
    assert all(x.bias is not None and x.kernel_size == (3, 3) for part in convolutions for x in part)
    widths = [512, 512, 512, 512, 512, 256, 256, 256, 128, 128, 64, 64, 5]
    assert [x.out_channels for x in convolutions[1]] == widths
    assert len([x for x in head.modules() if isinstance(x, nn.BatchNorm2d)]) == 12      # none after the classifier
    _, poolings, unpoolings = one_pass()
    assert (len(poolings), len(unpoolings)) == (5, 5)


def test_a_maximum_returns_to_its_own_position_between_zeros():
    _, _, unpoolings = one_pass()
    deep_to_shallow = features()[5:0:-1]
    assert [x.shape[-2:] for x in deep_to_shallow] == [(4, 6), (9, 12), (18, 25), (37, 50), (75, 101)]
    for feature, (x, unpooled) in zip(deep_to_shallow, unpoolings, strict=True):
        assert unpooled.shape == feature.shape
        height, width = x.shape[-2:]
        windows, places = (
            y[..., : 2 * height, : 2 * width].unfold(2, 2, 2).unfold(3, 2, 2).flatten(-2) for y in (feature, unpooled)
        )                                                            # (1, C, h, w, 4)
        at = windows.argmax(-1, keepdim=True)                        # the first of equals, as in pooling
        assert torch.equal(places, torch.zeros_like(places).scatter(-1, at, x[..., None]))
        assert not unpooled[:, :, 2 * height :].any()
        assert not unpooled[:, :, :, 2 * width :].any()


def test_what_the_head_pools_is_what_the_trunk_pools():
    answer, poolings, _ = one_pass()
    assert [id(x) for x, _ in poolings] == [id(x) for x in features()[1:6]]
    assert torch.equal(answer.maps[1], features()[6])


def test_encoder_from_plain_operations():
    """VGG16's 13 convolutions, each with its batch norm and ReLU, a pooling after 2, 2, 3, 3 and 3."""
    backbone, _ = built()
    state = backbone.trunk.state_dict()
    names = [key.removesuffix(".weight") for key in state if state[key].ndim == 4]
    assert len(names) == 13
    with torch.inference_mode():
        x = features()[0]
        torch.testing.assert_close(x, normalised(photo(*SIZE)))
        for i, (first, last) in enumerate([(0, 2), (2, 4), (4, 7), (7, 10), (10, 13)], start=1):
            for name in names[first:last]:
                x = convolve(x, state, name)
            torch.testing.assert_close(features()[i], x, rtol=1e-4, atol=1e-4)
            x = F.max_pool2d(x, 2)


def normalised(pixels):
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    return ((pixels / 255 - mean) / std).permute(0, 3, 1, 2)


def convolve(x, state, name):
    """A convolution with bias; then, but after the classifier, batch norm and ReLU, whose weights are numbered next."""
    x = F.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"], padding=1)
    if name == "classifier":
        return x
    stem = name.rstrip("0123456789")
    norm = f"{stem}{int(name.removeprefix(stem)) + 1}"
    return F.batch_norm(x, *(state[f"{norm}.{k}"] for k in ("running_mean", "running_var", "weight", "bias"))).relu()


def test_decoder_from_plain_operations():
    """The decoder written out from the paper: zeros, each value at the place of its maximum, then convolutions."""
    state = built()[1].state_dict()
    names = [key.removesuffix(".weight") for key in state if state[key].ndim == 4]
    with torch.inference_mode():
        x = F.max_pool2d(features()[5], 2)
        for i, (first, last) in zip((5, 4, 3, 2, 1), [(0, 3), (3, 6), (6, 9), (9, 11), (11, 13)], strict=True):
            _, at = F.max_pool2d(features()[i], 2, return_indices=True)
            sparse = torch.zeros(features()[i].shape).flatten(2).scatter(2, at.flatten(2), x.flatten(2))
            x = sparse.view(features()[i].shape)
            for name in names[first:last]:
                x = convolve(x, state, name)
            if i == 3:
                stride_4 = x
    got = one_pass()[0]
    assert x.shape == (1, 5, *SIZE)
    assert x.std() > 0.01
    torch.testing.assert_close(got.logits, x, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(got.maps[0], stride_4, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("trunk", "depths", "parts_of_it"), [("vgg13_bn", [2, 2, 2, 2, 2], 10), ("vgg19_bn", [4, 4, 4, 2, 2], 16)]
)
def test_mirrors_other_vggs(trunk, depths, parts_of_it):
    with torch.device("meta"):
        built = parts(recipe("segnet", [f"backbone.name={trunk}", f"head.depths={depths}"]), 5)
    assert [sum(isinstance(x, nn.Conv2d) for x in part.modules()) for part in built] == [parts_of_it] * 2


def test_options_that_do_not_fit():
    sentence = "segnet: it unpools what five poolings of a VGG have pooled, which this trunk has not: take vgg16_bn"
    with pytest.raises(ValueError, match=sentence):
        HEADS["segnet"]([3, 64, 64, 128, 256, 512], [1, 2, 4, 8, 16, 32], 5)        # a ResNet
    with pytest.raises(ValueError, match=sentence):
        HEADS["segnet"]([3, 16, 32, 64, 128, 256, 512], [1, 1, 2, 4, 8, 16, 32], 5)  # a DLA
    for depths in ([3, 3, 3, 2], [3, 3, 3, 2, 0]):
        with pytest.raises(ValueError, match=r"segnet: depths .* must be five numbers of 1 or more"):
            HEADS["segnet"](VGG, [1, 1, 2, 4, 8, 16, 32], 5, depths=depths)
