"""The deep mask head of DeepMAC: its counts, its depth, and a second forward from the paper's description."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from hemline.heads.deepmac import HOURGLASSES, DeepMaskHead, Hourglass, Norm, Residual
from tests.formula import fill

CROPS = {10: 6, 20: 8, 32: 16, 52: 32, 100: 32}
"""Sides that each hourglass can halve as often as it does."""


def meta(depth, width=64, side=32):
    with torch.device("meta"):
        head = DeepMaskHead(256, depth, width).eval()
        return head, head(torch.zeros(2, 256, side, side))


@pytest.mark.parametrize(
    ("depth", "count"), [(10, 1_756_801), (20, 5_682_177), (32, 10_591_617), (52, 23_606_145), (100, 47_372_673)]
)
def test_counts(depth, count):
    """20, 52 and 100 as counted on tensorflow/models' `deepmac_maskrcnn` with 64 filters on 256 channels."""
    head, logits = meta(depth)
    assert sum(p.numel() for p in head.parameters()) == count
    assert logits.shape == (2, 1, 64, 64)


@pytest.mark.parametrize("depth", HOURGLASSES)
def test_depth_is_the_number_of_convolutions_on_the_longest_way(depth):
    """Through every lower branch and no skip: the convolutions that are neither a skip's nor an upper branch's."""
    with torch.device("meta"):
        hourglass = Hourglass(256, depth, 8)
    convs = [name for name, child in hourglass.named_modules() if isinstance(child, nn.Conv2d)]
    assert len([name for name in convs if ".upper." not in name and ".skip." not in name]) == depth


class Plain:
    """The head in plain operations, from its weights; stages in a loop, down and up again."""

    def __init__(self, state):
        self.state = state

    def norm(self, name, x, eps=1e-5):
        mean, var, scale, shift = (
            self.state[f"{name}.{n}"].view(-1, 1, 1) for n in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (var + eps).sqrt() * scale + shift

    def conv(self, name, x, stride=1):
        weight = self.state[f"{name}.0.weight"]
        return self.norm(f"{name}.1", F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2))

    def residual(self, name, x, stride=1):
        y = self.conv(f"{name}.conv2", F.relu(self.conv(f"{name}.conv1", x, stride)))
        return F.relu(y + (self.conv(f"{name}.skip", x, stride) if f"{name}.skip.0.weight" in self.state else x))

    def several(self, name, x, count, stride=1):
        for i in range(count):
            x = self.residual(f"{name}.{i}", x, stride if i == 0 else 1)
        return x

    def __call__(self, x, blocks):
        x = F.relu(self.conv("hourglass.conv_in", x))
        x = self.residual("hourglass.residual", x)
        names = ["hourglass.stages" + i * ".inner" for i in range(len(blocks))]
        kept = []
        for name, n in zip(names[:-1], blocks[:-1], strict=True):
            kept.append(self.several(f"{name}.upper", x, n))
            x = self.several(f"{name}.down", x, n, stride=2)
        x = self.several(names[-1], x, blocks[-1])
        for name, n, beside in zip(names[-2::-1], blocks[-2::-1], kept[::-1], strict=True):
            x = self.several(f"{name}.up", x, n)
            x = beside + x.repeat_interleave(2, 2).repeat_interleave(2, 3)
        x = F.relu(self.conv("hourglass.conv_out", x))
        b, _, h, w = x.shape
        weight, bias = self.state["upsample.weight"], self.state["upsample.bias"]
        x = torch.einsum("bihw,iocd->bohcwd", x, weight).reshape(b, -1, 2 * h, 2 * w) + bias.view(-1, 1, 1)
        x = F.relu(self.norm("norm", x, eps=1e-4))
        return (self.state["mask.weight"].view(-1, 1, 1) * x).sum(1, keepdim=True) + self.state["mask.bias"]


BLOCKS = {10: [1, 1], 20: [1, 2, 2], 32: [2, 2, 2, 2], 52: [2, 2, 2, 2, 2, 4], 100: [4, 4, 4, 4, 4, 8]}
"""From `hourglass_network.py` of tensorflow/models, written once more."""


@pytest.mark.parametrize("depth", HOURGLASSES)
def test_a_second_forward_from_plain_operations(depth):
    head = fill(DeepMaskHead(12, depth, 8).double()).requires_grad_(False)      # residuals add up to large numbers
    torch.manual_seed(0)
    crops = torch.rand(2, 12, CROPS[depth], CROPS[depth], dtype=torch.float64)
    logits = head(crops)
    assert logits.std() > 0.1, "nothing is compared where nothing is left"
    torch.testing.assert_close(logits, Plain(head.state_dict())(crops, BLOCKS[depth]), rtol=1e-8, atol=1e-8)


def test_a_skip_has_a_convolution_only_where_stride_or_width_changes():
    assert isinstance(Residual(8, 8).skip, nn.Identity)
    assert all(isinstance(x.skip, nn.Sequential) for x in (Residual(8, 8, stride=2), Residual(8, 12)))


def test_one_value_is_normalised_by_the_running_statistics():
    """Hourglass-52 ends at one cell: a photo with one garment must still be learnt from."""
    norm = fill(Norm(3)).train()
    one, two = torch.rand(1, 3, 1, 1), torch.rand(2, 3, 1, 1)
    expected = (one - norm.running_mean.view(3, 1, 1)) / (norm.running_var + 1e-5).sqrt().view(3, 1, 1)
    expected = expected * norm.weight.view(3, 1, 1) + norm.bias.view(3, 1, 1)
    torch.testing.assert_close(norm(one), expected)
    before = norm.running_mean.clone()
    torch.testing.assert_close(norm(two), F.batch_norm(two, None, None, norm.weight, norm.bias, training=True))
    assert not torch.equal(norm.running_mean, before)
    head = DeepMaskHead(4, 52, 4).train()
    head(torch.rand(1, 4, 32, 32)).sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in head.parameters())
