"""DeepLabv3+ against its paper: counts in closed form, its parts on the built network, and a plain second forward."""

from functools import cache

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.models.segmentation import deeplabv3 as torchvisions

from hemline.heads import HEADS
from hemline.heads.deeplabv3plus import DeepLabV3Plus
from hemline.model import make_backbone
from hemline.networks import facts, recipe
from tests.formula import fill, photo

NAME = "deeplabv3plus"
CHANNELS, STRIDES = [3, 8, 12, 16, 24, 32], [1, 2, 4, 8, 16, 16]
NORM = 2                                                 # a norm's scale and shift, for each channel


def head_parameters(deepest: int, low_level: int, num_classes: int, *, separable: bool = True) -> int:
    """The paper's figure 2 and section 3, written out: every convolution without bias and with a norm but the last."""

    def conv(inputs: int, outputs: int, side: int = 1) -> int:
        return inputs * outputs * side**2 + NORM * outputs

    def conv3x3(inputs: int) -> int:
        return 9 * inputs + NORM * inputs + conv(inputs, 256) if separable else conv(inputs, 256, 3)

    aspp = 2 * conv(deepest, 256) + 3 * conv3x3(deepest) + conv(5 * 256, 256)
    decoder = conv(low_level, 48) + conv3x3(256 + 48) + conv3x3(256)
    return aspp + decoder + 256 * num_classes + num_classes


@pytest.mark.parametrize(
    ("overrides", "trunk", "deepest", "low_level", "separable"),
    [
        ((), 23_508_032, 2048, 256, True),               # trunks: torchvision's ResNets without fc; timm 1.0.31
        (("backbone.output_stride=8",), 23_508_032, 2048, 256, True),
        (("backbone.name=resnet101",), 42_500_160, 2048, 256, True),
        (("backbone.name=resnet101", "head.separable=false"), 42_500_160, 2048, 256, False),
        (("backbone.name=inception_resnet_v2",), 54_306_464, 1536, 192, True),
    ],
)
def test_parameters(overrides, trunk, deepest, low_level, separable):
    """At 6 classes; the next test counts at 47."""
    counted = facts(NAME, overrides, num_classes=6)
    expected = trunk + head_parameters(deepest, low_level, 6, separable=separable)
    assert counted.parameters == counted.parameters_in_training == expected
    assert counted.output_stride == 4


@pytest.mark.parametrize(
    ("trunk", "theirs", "deepest"),
    [("resnet50", 26_689_407, 2048), ("resnet101", 45_681_535, 2048), ("inception_resnet_v2", 56_815_583, 1536)],
)
def test_as_many_as_another_form_but_for_the_norms_between(trunk, theirs, deepest):
    """segmentation_models.pytorch 0.6.0 at 47 classes (the last by its decoder): one of the decoder's two separable
    convolutions stands before the joint there, and none has a norm between depthwise and pointwise."""
    ours = facts(NAME, [f"backbone.name={trunk}"], num_classes=47).parameters
    assert ours - theirs == NORM * (3 * deepest + 304 + 256)


@pytest.mark.parametrize(("output_stride", "rates"), [(16, [6, 12, 18]), (8, [12, 24, 36])])
def test_strides_and_rates_of_the_built_network(output_stride, rates):
    config = recipe(NAME, [f"backbone.output_stride={output_stride}"])
    with torch.device("meta"):
        backbone = make_backbone(config, trunk_weights=False)
        head = HEADS[NAME](backbone.channels, backbone.strides, 6)
        features = backbone(torch.zeros(2, 256, 256, 3, dtype=torch.uint8))
        assert features[-1].shape[2:] == (256 // output_stride,) * 2
        assert head(features).logits.shape == (2, 6, 64, 64)
    assert isinstance(head, DeepLabV3Plus)
    assert [conv[0][0].dilation for conv in head.aspp.atrous] == [(rate, rate) for rate in rates]
    assert features[head.low_level].shape[1:] == (256, 64, 64)


def features_of(height: int, width: int, batch: int = 1, strides: list[int] = STRIDES) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(batch, channels, -(-height // stride), -(-width // stride), generator=generator)
        for channels, stride in zip(CHANNELS, strides, strict=True)
    ]


@cache
def small(separable: bool = True) -> DeepLabV3Plus:
    head = DeepLabV3Plus(CHANNELS, STRIDES, 5, separable=separable)
    fill(head)
    return head


def test_each_branch_sees_what_its_rate_says():
    """A dot on an empty map: the 1x1 answers it in its cell, rate r at most in 9 cells r apart, pooling everywhere."""
    aspp = small().aspp
    empty = torch.zeros(1, 32, 41, 41)
    dot = empty.clone()
    dot[:, :, 20, 20] = 1

    def seen(part):
        with torch.inference_mode():
            return {tuple(cell) for cell in (part(dot) != part(empty)).any(1)[0].nonzero().tolist()}

    assert seen(aspp.conv1x1) == {(20, 20)}
    for conv, rate in zip(aspp.atrous, (6, 12, 18), strict=True):
        assert seen(conv) == {(20 + y, 20 + x) for y in (-rate, 0, rate) for x in (-rate, 0, rate)}
    assert len(seen(aspp)) == 41 * 41, "image pooling reaches every cell"


def test_the_low_level_map_is_the_first_at_stride_4_and_joins_after_aspp():
    head, features = small(), features_of(64, 96)
    before = head(features)
    for i, x in enumerate(features):
        changed = head([*features[:i], x + 1, *features[i + 1 :]]).logits
        assert torch.equal(changed, before.logits) == (i not in (2, 5)), f"feature {i}"
    asked = []
    hook = head.decoder.register_forward_pre_hook(lambda _, inputs: asked.append(inputs[0]))
    head([*features[:2], features[2] + 1, *features[3:]])
    head(features)
    hook.remove()
    low, plain = asked
    assert plain.shape == (1, 256 + 48, 16, 24)
    assert torch.equal(low[:, :256], plain[:, :256]), "what ASPP says comes first"
    assert not torch.equal(low[:, 256:], plain[:, 256:])


@pytest.mark.parametrize("separable", [True, False])
def test_from_plain_operations(separable):
    """The paper's figure 2 over the state dict, on the built trunk at a size that nothing divides."""
    config = recipe(NAME, ["backbone.name=resnet18"])
    backbone = fill(make_backbone(config, trunk_weights=False))
    head = fill(HEADS[NAME](backbone.channels, backbone.strides, 6, separable=separable))
    state = head.state_dict()

    def conv(x, name, dilation=1):
        weight = state[f"{name}.0.weight"]
        groups = x.shape[1] // weight.shape[1]
        x = F.conv2d(x, weight, padding=dilation * (weight.shape[-1] // 2), dilation=dilation, groups=groups)
        norm = (state[f"{name}.1.{n}"] for n in ("running_mean", "running_var", "weight", "bias"))
        return F.relu(F.batch_norm(x, *norm))

    def conv3x3(x, name, dilation=1):
        return conv(conv(x, f"{name}.0", dilation), f"{name}.1") if separable else conv(x, name, dilation)

    with torch.inference_mode():
        features = backbone(photo(65, 97))
        dense = head(features)
        deep = features[5]                                                           # (1, 512, 5, 7)
        branches = [conv(deep, "aspp.conv1x1")]
        branches += [conv3x3(deep, f"aspp.atrous.{i}", rate) for i, rate in enumerate((6, 12, 18))]
        whole = conv(F.adaptive_avg_pool2d(deep, 1), "aspp.image_pooling")
        branches += [F.interpolate(whole, deep.shape[2:], mode="bilinear", align_corners=False)]
        x = conv(torch.cat(branches, 1), "aspp.project")
        low = conv(features[2], "project_low_level")                                 # (1, 48, 17, 25)
        x = torch.cat([F.interpolate(x, low.shape[2:], mode="bilinear", align_corners=False), low], 1)
        x = conv3x3(conv3x3(x, "decoder.0"), "decoder.1")
        logits = F.conv2d(x, state["classifier.weight"], state["classifier.bias"])
        assert [tuple(m.shape[1:]) for m in dense.maps] == [(256, 17, 25), (512, 5, 7)]
        assert logits.std() > 0.05
        torch.testing.assert_close(dense.logits, logits, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(dense.maps[0], x, rtol=1e-4, atol=1e-4)


def test_plain_aspp_is_torchvisions():
    """With its weights in the order of the modules: 1x1, three rates, pooling, projection."""
    theirs = fill(torchvisions.ASPP(32, [6, 12, 18]))
    ours = small(separable=False).aspp
    state = dict(zip(ours.state_dict(), theirs.state_dict().values(), strict=True))
    made = DeepLabV3Plus(CHANNELS, STRIDES, 5, separable=False).aspp.eval()
    made.load_state_dict(state)
    x = features_of(300, 400)[-1]
    with torch.inference_mode():
        torch.testing.assert_close(made(x), theirs(x), rtol=1e-5, atol=1e-5)


def test_a_tenth_is_dropped_in_training_alone():
    aspp = DeepLabV3Plus(CHANNELS, STRIDES, 5).aspp.train()
    x = features_of(256, 256, batch=2)[-1]
    with torch.no_grad():
        torch.manual_seed(0)
        kept, dropped = aspp(x), aspp.dropout(torch.ones(100_000))
        assert torch.equal(aspp.eval()(x), aspp(x))
    assert kept.shape == (2, 256, 16, 16)
    assert (dropped == 0).float().mean() == pytest.approx(0.1, abs=0.01)


@pytest.mark.parametrize(
    ("strides", "options", "said"),
    [
        ([1, 2, 4, 8, 16, 32], {}, r"deepest at 16 or 8, not strides \[2, 4, 8, 16, 32\]; .*output_stride=16"),
        ([1, 8, 8, 8, 16, 16], {}, "needs a map at stride 4"),
        (STRIDES, {"rates": [6, 0]}, r"rates \[6, 0\] must be one or more numbers, each 1 or more"),
        (STRIDES, {"rates": []}, r"rates \[\] must be"),
    ],
)
def test_what_does_not_fit_is_said(strides, options, said):
    with pytest.raises(ValueError, match=f"^deeplabv3plus: .*{said}"):
        DeepLabV3Plus(CHANNELS, strides, 5, **options)
