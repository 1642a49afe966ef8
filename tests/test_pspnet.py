"""PSPNet by its counts, by what its cells see, and from plain operations."""

from functools import cache

import pytest
import torch

from hemline.backbone import Backbone
from hemline.heads import HEADS
from hemline.networks import facts
from tests.formula import fill, photo
from tests.plain_resnet import Stages, classify, conv_norm_relu, resnet

NUM_CLASSES = 21


@cache
def network():
    """A trunk and head filled by the formula, in evaluation mode."""
    backbone = Backbone("resnet50s", output_stride=8, dilation="all")
    return fill(backbone), fill(HEADS["pspnet"](backbone.channels, backbone.strides, NUM_CLASSES))


@pytest.mark.parametrize(
    ("overrides", "num_classes", "in_training", "parameters"),
    [  # hszhao/semseg
        ((), 21, 49_081_578, 46_716_373),
        ((), 47, 49_101_598, 46_729_711),
        (("backbone.name=resnet101s",), 21, 68_073_706, 65_708_501),
    ],
)
def test_counts(overrides, num_classes, in_training, parameters):
    counted = facts("pspnet", overrides, num_classes=num_classes)
    assert (counted.parameters_in_training, counted.parameters) == (in_training, parameters)
    assert counted.output_stride == 8


def test_multiply_adds():
    """Those of hszhao/semseg at its photos of 473 x 473, without the auxiliary classifier."""
    assert facts("pspnet", size=(473, 473), num_classes=21).macs == pytest.approx(161.64e9, rel=1e-4)


def test_counts_of_the_parts():
    head = network()[1]
    count = {name: sum(p.numel() for p in part.parameters()) for name, part in head.named_children()}
    assert count["ppm"] == 4_198_400
    assert count["hidden"] + count["classifier"] == 18_886_165
    assert count["auxiliary"] == 2_365_205


def averages(size, bins):
    """(bins, size): region i averages the cells from floor(i size / bins) up to ceil((i + 1) size / bins)."""
    matrix = torch.zeros(bins, size)
    for i in range(bins):
        begin, end = i * size // bins, -(-(i + 1) * size // bins)
        matrix[i, begin:end] = 1 / (end - begin)
    return matrix


def between(size, bins):
    """(size, bins): linear interpolation where the first and last of either side coincide."""
    matrix = torch.zeros(size, bins)
    for i in range(size):
        position = i * (bins - 1) / (size - 1)
        left = min(int(position), bins - 1)
        matrix[i, left] += 1 - (position - left)
        matrix[i, min(left + 1, bins - 1)] += position - left
    return matrix


def test_from_plain_operations():
    """At a size that neither 2 nor 3 nor 6 divides, 11 x 13 cells."""
    backbone, head = network()
    state = head.state_dict()
    pixels = photo(83, 99)
    stages = Stages(strides=(1, 2, 1, 1), first=(1, 1, 2, 4), others=(1, 1, 2, 4))
    maps = resnet(pixels, backbone.trunk.state_dict(), stages)
    height, width = maps[3].shape[2:]
    assert (height, width) == (11, 13)
    joined = [maps[3]]
    for i, bins in enumerate((1, 2, 3, 6)):
        regions = averages(height, bins) @ maps[3] @ averages(width, bins).T
        level = conv_norm_relu(regions, state, f"ppm.levels.{i}")
        assert level.shape[1:] == (512, bins, bins)
        joined.append(between(height, bins) @ level @ between(width, bins).T)
    x = conv_norm_relu(torch.cat(joined, 1), state, "hidden")
    main = classify(x, state, "classifier")
    auxiliary = classify(conv_norm_relu(maps[2], state, "auxiliary.0"), state, "auxiliary.2")
    with torch.inference_mode():
        dense, others = head.forward_train(backbone(pixels))
        assert torch.equal(head(backbone(pixels)).logits, dense.logits)
    for ours, plain in (
        (dense.logits, main),
        (dense.maps[0], x),
        (dense.maps[1], maps[3]),
        (others.masks[0], auxiliary),
    ):
        torch.testing.assert_close(ours / plain.abs().max(), plain / plain.abs().max(), rtol=1e-4, atol=1e-4)


def test_levels_see_grids_of_1_2_3_and_6():
    backbone, head = network()
    seen = []

    def note(level, inputs, y):
        seen.append(tuple(y.shape[1:]))

    hooks = [level.register_forward_hook(note) for level in head.ppm.levels]
    with torch.inference_mode():
        head(backbone(photo(40, 104)))                                    # 5 rows: fewer than regions
    for hook in hooks:
        hook.remove()
    assert seen == [(512, 1, 1), (512, 2, 2), (512, 3, 3), (512, 6, 6)]


def gradient(score, pixels_like):
    (answer,) = torch.autograd.grad(score, pixels_like, retain_graph=True)
    return answer.abs().amax(dim=(0, 1))


def test_every_pixel_reaches_every_cell():
    """On a photo wider than the trunk sees: its own last cell does not see the first columns, the network's does."""
    backbone, head = network()
    pixels = photo(17, 1201).permute(0, 3, 1, 2).float()
    x = ((pixels - backbone.mean) / backbone.std).requires_grad_()
    features = [x, *backbone.trunk(x)]
    logits = head(features).logits
    assert not gradient(features[-1][..., -1].sum(), x)[:, :500].any()
    for cell in (0, logits.shape[-1] // 2, logits.shape[-1] - 1):
        assert (gradient(logits[:, :, :, cell].sum(), x) > 0).all()


def test_dropout_takes_whole_channels():
    """Of both classifiers, one channel in ten."""
    head = network()[1]
    torch.manual_seed(0)
    for dropout in (head.dropout, head.auxiliary[1]):
        dropped = (type(dropout)(dropout.p).train()(torch.ones(1, 2000, 3, 3)) == 0).flatten(2)
        assert (dropped.all(2) == dropped.any(2)).all()
        assert dropped.float().mean().item() == pytest.approx(0.1, abs=0.02)


@pytest.mark.parametrize(
    ("strides", "options", "sentence"),
    [
        ([1], {}, r"the trunk's last two maps must have stride 8, not \[1\]; take resnet50s with output_stride 8"),
        ([1, 2, 4, 8, 16, 32], {}, r"the trunk's last two maps must have stride 8, not \[16, 32\]; take resnet50s .*"),
        ([1, 2, 4, 8, 8, 8], {"bins": []}, r"bins \[\] must be 1 to 2048 numbers of 1 or more"),
        ([1, 2, 4, 8, 8, 8], {"bins": [1, 0]}, r"bins \[1, 0\] must be 1 to 2048 numbers of 1 or more"),
    ],
)
def test_what_does_not_fit_is_told(strides, options, sentence):
    with pytest.raises(ValueError, match=f"^pspnet: {sentence}$"):
        HEADS["pspnet"]([3, 128, 256, 512, 1024, 2048][: len(strides)], strides, 5, **options)
