"""Dilated DenseNets: what equals the strided one, and what does not."""

from functools import cache

import pytest
import torch
from timm.models.densenet import DenseTransition
from torch import nn
from torch.nn import functional as F

from hemline.backbone import Backbone
from tests.formula import fill, photo

SIZE = (67, 101)


@cache
def maps(output_stride):
    """All maps of a DenseNet-121 in float64, and its trunk."""
    backbone = fill(Backbone("densenet121", output_stride=output_stride)).double()
    with torch.inference_mode():
        return backbone(photo(*SIZE)), backbone.trunk


@pytest.mark.parametrize("output_stride", [8, 16, 32])
def test_dilated_densenet_from_plain_operations(output_stride):
    """Written out from DenseASPP's code: transitions 2 and 3 do not pool, blocks 3 and 4 are dilated by 2 and 4."""
    ours, trunk = maps(output_stride)
    state = trunk.state_dict()
    pools = {8: (True, False, False), 16: (True, True, False), 32: (True, True, True)}[output_stride]

    def norm_relu(x, name):
        names = ("running_mean", "running_var", "weight", "bias")
        return F.relu(F.batch_norm(x, *(state[f"{name}.{n}"] for n in names)))

    with torch.inference_mode():
        x = norm_relu(F.conv2d(ours[0], state["features_conv0.weight"], stride=2, padding=3), "features_norm0")
        expected, dilation = [x], 1
        x = F.max_pool2d(x, 3, 2, 1)
        for block, layers in enumerate((6, 12, 24, 16), 1):
            for layer in range(1, layers + 1):
                name = f"features_denseblock{block}.denselayer{layer}"
                y = F.conv2d(norm_relu(x, f"{name}.norm1"), state[f"{name}.conv1.weight"])
                y = norm_relu(y, f"{name}.norm2")
                y = F.conv2d(y, state[f"{name}.conv2.weight"], padding=dilation, dilation=dilation)
                x = torch.cat([x, y], 1)
            if block == 4:
                expected.append(norm_relu(x, "features_norm5"))
                break
            expected.append(x)
            name = f"features_transition{block}"
            x = F.conv2d(norm_relu(x, f"{name}.norm"), state[f"{name}.conv.weight"])
            if pools[block - 1]:
                x = F.avg_pool2d(x, 2)
            else:
                dilation *= 2
    for left, right in zip(ours[1:], expected, strict=True):
        torch.testing.assert_close(left, right)


class MeanOfFour(nn.Module):
    """What the left-out pooling of a transition is in a dilated trunk: the same cells, at every place."""

    def __init__(self, dilation):
        super().__init__()
        self.dilation = dilation

    def forward(self, x):
        d = self.dilation
        return (x[..., :-d, :-d] + x[..., d:, :-d] + x[..., :-d, d:] + x[..., d:, d:]) / 4


@pytest.mark.parametrize(("output_stride", "step"), [(8, 4), (16, 2)])
def test_with_the_mean_in_place_of_each_pooling_the_maps_are_the_strided_ones(output_stride, step):
    """So the dilation is exact, and the pooling all that is missing."""
    strided, _ = maps(32)
    backbone = fill(Backbone("densenet121", output_stride=output_stride)).double()
    dilation = 1
    for part in backbone.trunk.children():
        if isinstance(part, DenseTransition) and isinstance(part.pool, nn.Identity):
            part.pool = MeanOfFour(dilation)
            dilation *= 2
    assert dilation == step
    with torch.inference_mode():
        deepest = backbone(photo(*SIZE))[-1][..., ::step, ::step]
    cells = strided[-1].shape[2:]
    assert (deepest[..., : cells[0], : cells[1]] - strided[-1]).abs().max() < 1e-11


def test_without_it_only_what_precedes_the_first_left_out_pooling_is_the_strided_map():
    strided, dilated = maps(32)[0], maps(8)[0]
    for stage in (0, 1, 2, 3):                                   # the photo, the stem, blocks 1 and 2
        assert torch.equal(dilated[stage], strided[stage])
    cells = strided[4].shape[2:]
    difference = dilated[4][..., ::2, ::2][..., : cells[0], : cells[1]] - strided[4]
    assert difference.abs().mean() > 0.01 * strided[4].abs().mean()


@pytest.mark.parametrize(
    ("output_stride", "strides", "heights"),
    [
        (8, [1, 2, 4, 8, 8, 8], [67, 34, 17, 8, 8, 8]),
        (16, [1, 2, 4, 8, 16, 16], [67, 34, 17, 8, 4, 4]),
        (32, [1, 2, 4, 8, 16, 32], [67, 34, 17, 8, 4, 2]),
    ],
)
def test_strides_and_sizes(output_stride, strides, heights):
    assert Backbone("densenet121", output_stride=output_stride).strides == strides
    assert [x.shape[2] for x in maps(output_stride)[0]] == heights
