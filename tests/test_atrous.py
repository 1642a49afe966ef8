"""The atrous ResNet-50 of clothing parsers, from plain operations, and by its counts."""

import pytest
import torch

from hemline.heads import HEADS
from hemline.model import make_backbone
from hemline.networks import facts, recipe
from tests.formula import fill, photo
from tests.plain_resnet import Stages, classify, resnet

FORMS = {  # what `backbone:` asks, and the strides and dilations that this means
    (): Stages(strides=(1, 2, 2, 1), first=(1, 1, 1, 2), others=(1, 1, 1, 2)),
    ("backbone.dilation=library",): Stages(strides=(1, 2, 2, 1), first=(1, 1, 1, 1), others=(1, 1, 1, 2)),
    ("backbone.output_stride=8",): Stages(strides=(1, 2, 1, 1), first=(1, 1, 2, 4), others=(1, 1, 2, 4)),
}


def test_the_forms_are_the_recipes():
    assert list(FORMS) == [(), *HEADS["atrous"].variants]


@pytest.mark.parametrize("overrides", FORMS)
def test_counts(overrides):
    """The trunk's 23,508,032, and 2048 * 47 + 47."""
    counted = facts("atrous", overrides, num_classes=47)
    assert counted.parameters == counted.parameters_in_training == 23_604_335
    assert counted.output_stride == (8 if "backbone.output_stride=8" in overrides else 16)


@pytest.fixture(scope="module")
def weights():
    return fill(make_backbone(recipe("atrous"), trunk_weights=False).trunk).state_dict()


@pytest.mark.parametrize("overrides", FORMS)
def test_from_plain_operations(weights, overrides):
    backbone = make_backbone(recipe("atrous", overrides), trunk_weights=False).eval()
    backbone.trunk.load_state_dict(weights)
    head = fill(HEADS["atrous"](backbone.channels, backbone.strides, 6))
    pixels = photo(65, 97)
    with torch.inference_mode():
        dense = head(backbone(pixels))
    maps = resnet(pixels, weights, FORMS[overrides])
    expected = classify(maps[3], head.state_dict(), "classifier")
    for ours, plain in zip((dense.logits, *dense.maps), (expected, maps[1], maps[3]), strict=True):
        torch.testing.assert_close(ours / plain.abs().max(), plain / plain.abs().max(), rtol=1e-4, atol=1e-4)
    for other in set(FORMS) - {overrides}:                                # the numbers tell the forms apart
        if FORMS[other].strides == FORMS[overrides].strides:
            wrong = resnet(pixels, weights, FORMS[other])[3]
            assert (wrong - maps[3]).abs().max() > 0.05 * maps[3].abs().max()


@pytest.mark.parametrize(
    ("strides", "sentence"),
    [
        ([1], r"the trunk must have a map of stride 8, not only \[1\]; take resnet50"),
        ([1, 2, 4, 8, 16, 32], "the trunk's stride must be 8 or 16, not 32; set output_stride"),
    ],
)
def test_a_trunk_that_does_not_fit_is_told(strides, sentence):
    with pytest.raises(ValueError, match=f"^atrous: {sentence}$"):
        HEADS["atrous"]([3, 64, 256, 512, 1024, 2048][: len(strides)], strides, 5)
