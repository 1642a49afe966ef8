"""Inception-ResNet-v2, padded and dilated: the dilated maps hold the strided ones, cell for cell."""

from functools import cache

import pytest
import timm
import torch
from torch import Tensor, nn

from hemline import dilation
from hemline.backbone import Backbone
from tests.formula import photo

NAME = "inception_resnet_v2"
SIZES = [(64, 48), (33, 49)]


@cache
def first() -> Backbone:
    """Strided, in double precision, with statistics such as batch norm would have learnt."""
    torch.manual_seed(0)
    made = Backbone(NAME)
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.1, 0.3)
    return made.double().eval()


@cache
def backbone(output_stride: int) -> Backbone:
    """The same weights at another output stride."""
    with torch.device("meta"):
        made = Backbone(NAME, output_stride=output_stride)  # type: ignore[arg-type]  # one of 8, 16 and 32
    made.load_state_dict(first().state_dict(), assign=True)
    made.mean, made.std = first().mean, first().std
    return made.eval()


@cache
def maps(output_stride: int, size: tuple[int, int]) -> list[Tensor]:
    with torch.inference_mode():
        found: list[Tensor] = backbone(output_stride)(photo(*size))
    return found


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("output_stride", [16, 8])
def test_dilated_maps_hold_the_strided_ones(output_stride: int, size: tuple[int, int]) -> None:
    strides = [min(stride, output_stride) for stride in (1, 2, 4, 8, 16, 32)]
    assert backbone(output_stride).strides == strides
    both = zip(maps(output_stride, size), maps(32, size), (1, 2, 4, 8, 16, 32), strides, strict=True)
    for dilated, strided, full, stride in both:
        assert dilated.shape[2:] == tuple(-(-side // stride) for side in size)
        step = full // stride
        assert strided.std() > 0.01
        torch.testing.assert_close(dilated[:, :, ::step, ::step], strided, rtol=0, atol=1e-11)


def test_every_map_halves_the_one_before_at_any_size() -> None:
    with torch.device("meta"):
        made = Backbone(NAME)
        tall, odd = (made(torch.zeros(2, *size, 3, dtype=torch.uint8)) for size in ((256, 32), (33, 17)))
    assert [x.shape[2] for x in tall] == [256, 128, 64, 32, 16, 8]
    assert [tuple(x.shape[2:]) for x in odd] == [(33, 17), (17, 9), (9, 5), (5, 3), (3, 2), (2, 1)]


def test_padding_is_all_that_differs_from_timm() -> None:
    with torch.device("meta"):
        plain = timm.create_model(NAME, features_only=True)
    plain.load_state_dict(first().trunk.state_dict(), assign=True)
    for module in plain.modules():
        if isinstance(module, nn.Conv2d):
            module.padding = tuple(side // 2 for side in module.kernel_size)
        elif isinstance(module, nn.MaxPool2d):
            module.padding = 1
    ours = maps(32, SIZES[0])
    with torch.inference_mode():
        theirs = plain.eval()(ours[0])
    for x, y in zip(ours[1:], theirs, strict=True):
        torch.testing.assert_close(x, y, rtol=0, atol=1e-11)


def test_the_weights_are_those_of_timm() -> None:
    """Counted with timm 1.0.31: 54,306,464 parameters before the classifier."""
    with torch.device("meta"):
        plain = timm.create_model(NAME, features_only=True)
    ours = backbone(8).trunk
    assert {k: v.shape for k, v in plain.state_dict().items()} == {k: v.shape for k, v in ours.state_dict().items()}
    assert sum(p.numel() for p in ours.parameters()) == 54_306_464


@pytest.mark.parametrize(
    ("output_stride", "expected"),
    [
        (32, {}),
        (16, {"repeat_2": 2, "block8": 2, "conv2d_7b": 2}),
        (8, {"repeat_1": 2, "mixed_7a": 2, "repeat_2": 4, "block8": 4, "conv2d_7b": 4}),
    ],
)
def test_only_what_follows_a_stage_that_stays_is_dilated(output_stride: int, expected: dict[str, int]) -> None:
    parts = dict(backbone(output_stride).trunk.named_children())
    found = {
        name: {module.dilation[0] for module in part.modules() if isinstance(module, nn.Conv2d)}
        for name, part in parts.items()
    }
    assert found == {name: {expected.get(name, 1)} if found[name] else set() for name in parts}


def test_its_tags_are_dilated_too() -> None:
    assert dilation.can_dilate("inception_resnet_v2.tf_in1k")
    assert not dilation.can_dilate("inception_v4")
    assert not dilation.can_dilate("resnet50")
