"""FCN against torchvision's, against plain operations, and by its counts."""

from functools import cache

import pytest
import torch
from torch.nn import functional as F
from torchvision.models.segmentation import fcn_resnet50

from hemline.backbone import Backbone
from hemline.heads import HEADS, Auxiliary
from hemline.networks import facts, recipe
from tests.formula import fill, photo
from tests.plain_resnet import Stages, classify, conv_norm_relu, resnet

KERAS = HEADS["fcn"].variants[1]
NUM_CLASSES = 21


@cache
def network():
    """A trunk and head filled by the formula."""
    backbone = Backbone("resnet50", output_stride=8)
    head = HEADS["fcn"](backbone.channels, backbone.strides, NUM_CLASSES)
    return fill(backbone), fill(head)


def answer(backbone, head, pixels):
    with torch.inference_mode():
        dense, auxiliary = head.forward_train(backbone(pixels))
        assert torch.equal(head(backbone(pixels)).logits, dense.logits)
    return dense.logits, auxiliary.masks[0]


@pytest.mark.parametrize(
    ("overrides", "num_classes", "in_training", "parameters"),
    [  # torchvision's fcn_resnet50 and fcn_resnet101, with aux_loss and without; the 101 less its 2,365,205 of aux
        ((), 21, 35_322_218, 32_957_013),
        ((), 47, 35_342_238, 32_970_351),
        ((), 6, 35_310_668, 32_949_318),
        (("backbone.name=resnet101",), 21, 54_314_346, 51_949_141),
        (KERAS, 47, 23_604_335, 23_604_335),  # the trunk's 23,508,032, and 2048 * 47 + 47
    ],
)
def test_counts(overrides, num_classes, in_training, parameters):
    counted = facts("fcn", overrides, num_classes=num_classes)
    assert (counted.parameters_in_training, counted.parameters) == (in_training, parameters)
    assert counted.output_stride == (32 if overrides == KERAS else 8)


def test_multiply_adds_are_torchvisions():
    """142.726 billion at 520 x 520 without the auxiliary classifier."""
    assert facts("fcn", size=(520, 520), num_classes=21).macs == pytest.approx(142.726e9, rel=1e-5)


def test_the_same_weights_give_torchvisions_answers():
    backbone, head = network()
    with torch.device("meta"):
        theirs = fcn_resnet50(weights=None, weights_backbone=None, num_classes=NUM_CLASSES, aux_loss=True)
    renamed = {
        "hidden.0.0": "classifier.0",
        "hidden.0.1": "classifier.1",
        "classifier": "classifier.4",
        "auxiliary.0.0": "aux_classifier.0",
        "auxiliary.0.1": "aux_classifier.1",
        "auxiliary.2": "aux_classifier.4",
    }
    state = {f"backbone.{name}": tensor for name, tensor in backbone.trunk.state_dict().items()}
    for name, tensor in head.state_dict().items():
        part, _, kind = name.rpartition(".")
        state[f"{renamed[part]}.{kind}"] = tensor
    theirs.load_state_dict(state, assign=True)
    pixels = photo(65, 97)
    x = (pixels.permute(0, 3, 1, 2) - backbone.mean) / backbone.std
    with torch.inference_mode():
        expected = theirs.eval()(x)
    for ours, name in zip(answer(backbone, head, pixels), ("out", "aux"), strict=True):
        ours = F.interpolate(ours, size=(65, 97), mode="bilinear", align_corners=False)
        scale = expected[name].abs().max()
        torch.testing.assert_close(ours / scale, expected[name] / scale, rtol=0, atol=1e-5)


def test_from_plain_operations():
    """Stages 3 and 4 at stride 8; the first block of each keeps the dilation of the stage before."""
    backbone, head = network()
    state = head.state_dict()
    pixels = photo(59, 83)
    stages = Stages(strides=(1, 2, 1, 1), first=(1, 1, 1, 2), others=(1, 1, 2, 4))
    maps = resnet(pixels, backbone.trunk.state_dict(), stages)
    main = classify(conv_norm_relu(maps[3], state, "hidden.0"), state, "classifier")
    auxiliary = classify(conv_norm_relu(maps[2], state, "auxiliary.0"), state, "auxiliary.2")
    for ours, plain in zip(answer(backbone, head, pixels), (main, auxiliary), strict=True):
        torch.testing.assert_close(ours / plain.abs().max(), plain / plain.abs().max(), rtol=1e-4, atol=1e-4)


def test_keras_form_is_one_classifier_on_the_strided_trunk():
    config = recipe("fcn", KERAS)
    assert config.backbone.output_stride == 32
    head = HEADS["fcn"]([3, 64, 256, 512, 1024, 2048], [1, 2, 4, 8, 16, 32], 5, **config.head.options)
    assert {name: tuple(x.shape) for name, x in head.state_dict().items()} == {
        "classifier.weight": (5, 2048, 1, 1),
        "classifier.bias": (5,),
    }
    features = [torch.randn(1, 512, 8, 6)] * 4 + [torch.randn(1, 1024, 4, 3), torch.randn(1, 2048, 2, 2)]
    dense, auxiliary = head.forward_train(features)
    assert auxiliary == Auxiliary([])
    torch.testing.assert_close(dense.logits, classify(features[-1], head.state_dict(), "classifier"))
    assert [x.shape[1] for x in dense.maps] == head.map_channels == [512, 2048]


def test_a_trunk_without_stride_8_is_named():
    with pytest.raises(ValueError, match=r"^fcn: .* a map of stride 8, not only \[1\]; take resnet50$"):
        HEADS["fcn"]([3], [1], 5)
