"""ResNets of timm whose last stages are dilated, as their exact form (`library`) and as PSPNet has it (`all`)."""

from functools import cache

import pytest
import torch
from torchvision.models import resnet50
from torchvision.models._utils import IntermediateLayerGetter

from hemline.backbone import Backbone
from hemline.errors import ConfigError
from tests.formula import fill, photo

TRUNKS = ["resnet18", "resnet50s"]


@cache
def weights(name):
    return fill(Backbone(name)).state_dict()


@cache
def maps(name, output_stride, dilation):
    """The maps of a trunk filled by the formula, in double precision, at an odd size."""
    backbone = Backbone(name, output_stride=output_stride, dilation=dilation)
    backbone.load_state_dict(weights(name))
    with torch.inference_mode():
        return backbone.double().eval()(photo(65, 97))[1:]


def relative(x, y):
    return ((x - y).abs().max() / y.abs().max()).item()


@pytest.mark.parametrize("name", TRUNKS)
@pytest.mark.parametrize("output_stride", [16, 8])
def test_the_strided_maps_are_found_in_those_of_the_library_form(name, output_stride):
    strided, dilated = maps(name, 32, "library"), maps(name, output_stride, "library")
    steps = {16: (1, 1, 1, 1, 2), 8: (1, 1, 1, 2, 4)}[output_stride]
    for step, before, after in zip(steps, strided, dilated, strict=True):
        assert after[:, :, ::step, ::step].shape == before.shape
        assert relative(after[:, :, ::step, ::step], before) < 1e-11


@pytest.mark.parametrize("name", TRUNKS)
@pytest.mark.parametrize("output_stride", [16, 8])
def test_they_are_not_where_the_first_blocks_are_dilated_too(name, output_stride):
    strided, dilated = maps(name, 32, "library"), maps(name, output_stride, "all")
    assert [x.shape for x in dilated] == [x.shape for x in maps(name, output_stride, "library")]
    step = 32 // output_stride
    assert relative(dilated[-1][:, :, ::step, ::step], strided[-1]) > 0.05
    undilated = {16: 4, 8: 3}[output_stride]
    assert all(torch.equal(x, y) for x, y in zip(dilated[:undilated], strided[:undilated], strict=True))


NUMBERS = {
    (32, "library"): ([1] * 3, [1] * 4, [1] * 6, [1] * 3),
    (16, "library"): ([1] * 3, [1] * 4, [1] * 6, [1, 2, 2]),
    (16, "all"): ([1] * 3, [1] * 4, [1] * 6, [2, 2, 2]),
    (8, "library"): ([1] * 3, [1] * 4, [1, 2, 2, 2, 2, 2], [2, 4, 4]),
    (8, "all"): ([1] * 3, [1] * 4, [2, 2, 2, 2, 2, 2], [4, 4, 4]),
}
"""Dilations of the 3x3 convolutions of a ResNet-50, by output stride and form; `all` at 8 is hszhao/semseg's."""


@pytest.mark.parametrize(
    ("name", "output_stride", "dilation"), [("resnext50_32x4d", 8, "all"), *(("resnet50s", *form) for form in NUMBERS)]
)
def test_dilations_of_every_block(name, output_stride, dilation):
    with torch.device("meta"):
        trunk = Backbone(name, output_stride=output_stride, dilation=dilation).trunk
    for number, expected in enumerate(NUMBERS[output_stride, dilation], start=1):
        convs = [block.conv2 for block in trunk.get_submodule(f"layer{number}")]
        assert [conv.dilation for conv in convs] == [conv.padding for conv in convs] == [(d, d) for d in expected]


def test_both_convolutions_of_a_basic_block_are_dilated():
    with torch.device("meta"):
        trunk = Backbone("resnet18", output_stride=8, dilation="all").trunk
    for stage, dilation in (("layer2", 1), ("layer3", 2), ("layer4", 4)):
        convs = [conv for block in trunk.get_submodule(stage) for conv in (block.conv1, block.conv2)]
        assert [conv.dilation for conv in convs] == [(dilation, dilation)] * 4


@pytest.mark.parametrize(("output_stride", "replaced"), [(16, [False, False, True]), (8, [False, True, True])])
def test_timm_and_torchvision_dilate_alike(output_stride, replaced):
    with torch.device("meta"):
        other = resnet50(weights=None, replace_stride_with_dilation=replaced)
    other = IntermediateLayerGetter(other, {f"layer{i}": f"layer{i}" for i in range(1, 5)})
    ours = Backbone("resnet50", output_stride=output_stride)
    ours.load_state_dict(weights("resnet50"))
    other.load_state_dict(ours.trunk.state_dict(), assign=True)
    x = (photo(65, 97).permute(0, 3, 1, 2) - 128.0) / 60
    with torch.inference_mode():
        for mine, theirs in zip(ours.trunk.eval()(x)[1:], other.eval()(x).values(), strict=True):
            torch.testing.assert_close(mine, theirs, rtol=0, atol=0)


@pytest.mark.parametrize("name", ["mobilenetv3_large_100", "skresnet18"])
def test_others_have_no_first_blocks_to_dilate(name):
    with torch.device("meta"), pytest.raises(ConfigError, match=f"^backbone.dilation: {name} has no dilated ResNet"):
        Backbone(name, output_stride=16, dilation="all")
