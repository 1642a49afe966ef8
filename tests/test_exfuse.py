"""ExFuse: counts of its base, its five parts on the built network, and a second forward written from the paper."""

import copy
from functools import cache

import pytest
import torch
from torch.nn import functional as F

from hemline.errors import ConfigError
from hemline.heads.exfuse import ExFuse
from hemline.losses import MaskTargets, presence_term
from hemline.networks import facts, parts, recipe
from tests.formula import fill

K = 5
CHANNELS = [3, 8, 16, 24, 32, 40]
GCN = ["head.parts=[]", "loss.auxiliary=0", "loss.presence=0"]
LR = ["backbone.name=resnext101_32x4d", "backbone.layers=[8,8,9,8]", "backbone.pretrained=false"]


@cache
def built(parts=("SS", "SEB", "ECRE", "DAP")):
    """A light head filled by the formula, and noise of the sizes that a trunk makes of an odd photo."""
    sizes = [(65, 97), (33, 49), (17, 25), (9, 13), (5, 7), (3, 4)]
    torch.manual_seed(0)
    features = [torch.rand(1, c, *size) for c, size in zip(CHANNELS, sizes, strict=True)]
    return fill(ExFuse(CHANNELS, [1, 2, 4, 8, 16, 32], K, ss_width=16, parts=parts)).requires_grad_(False), features


def test_counts_of_gcn():
    """zijundeng/pytorch-semantic-segmentation, 21 classes, k = 7: ResNet-50, 101 and 152."""
    trunks = ("resnet50", "resnet101", "resnet152")
    counts = [facts("exfuse", [*GCN, f"backbone.name={name}"], num_classes=21).parameters for name in trunks]
    assert counts == [24_733_844, 43_725_972, 59_369_620]


def test_counts_of_the_parts():
    """What each part adds to GCN, in closed form, at 21 classes on res-2 to res-5 of ResNet-50."""
    base, res = 24_733_844, (256, 512, 1024, 2048)
    pairs = [(high, low) for i, low in enumerate(res) for high in res[i + 1 :]]
    seb = sum(9 * high * low + low for high, low in pairs)
    ecre = 9 * 21 * 84 + 84
    dap = 9 * 21 * 189 + 21
    ss = sum(9 * c * 256 + 512 + 9 * 256 * 256 + 512 + 256 * 21 + 21 for c in res[:3])
    found = facts("exfuse", num_classes=21)
    assert found.parameters == base + seb + ecre + dap
    assert found.parameters_in_training == found.parameters + ss


def test_lr_rearranges_33_blocks_and_keeps_the_cost():
    with torch.device("meta"):
        trunk = parts(recipe("exfuse", LR), K)[0].trunk
    assert [len(trunk[f"layer{i}"]) for i in (1, 2, 3, 4)] == [8, 8, 9, 8]
    usual, rearranged = (facts("exfuse", [LR[0], *more], size=(64, 64)).macs for more in ([], LR[1:]))
    assert rearranged == pytest.approx(usual, rel=0.01)


@pytest.mark.parametrize(("l", "m"), [(row, column) for row in range(3) for column in range(3)])
def test_dap_moves_an_impulse_to_the_neighbour_that_it_predicts(l, m):  # noqa: E741
    """An impulse at (p, q) of map (l, m) appears at (p - l + 1, q - m + 1) with weight 1/9, and nowhere else."""
    dap = copy.deepcopy(built()[0].dap)
    dap.conv = torch.nn.Identity()
    torch.nn.init.zeros_(dap.bias)
    for p, q in ((3, 4), (0, 0), (6, 0), (0, 7), (6, 7)):          # the corners: what leaves the map is lost
        x = torch.zeros(1, 9 * K, 7, 8)
        x[0, (3 * l + m) * K + 2, p, q] = 1
        expected = torch.zeros(1, K, 7, 8)
        to = (p - l + 1, q - m + 1)
        if 0 <= to[0] < 7 and 0 <= to[1] < 8:
            expected[0, 2, to[0], to[1]] = 1 / 9
        torch.testing.assert_close(dap(x), expected)


def test_dap_answers_for_the_whole_network():
    head, features = built()
    head = copy.deepcopy(head)
    torch.nn.init.zeros_(head.dap.conv.weight)
    logits = head(features).logits
    assert torch.equal(logits, head.dap.bias.view(1, -1, 1, 1).expand_as(logits))


@pytest.mark.parametrize("higher", range(3))
def test_seb_multiplies_by_every_higher_stage(higher):
    """With any one factor 0 nothing of res-2 is left; that is so of a product, and of no sum."""
    head, features = built()
    assert head(features).maps[0].abs().max() > 0
    head = copy.deepcopy(head)
    torch.nn.init.zeros_(head.seb[0].convs[higher].weight)
    torch.nn.init.zeros_(head.seb[0].convs[higher].bias)
    assert head(features).maps[0].abs().max() == 0


def test_ecre_has_a_channel_for_each_cell():
    """Channel 4 c + 2 a + b is class c on the cells (2 i + a, 2 j + b), which have a loss of their own."""
    head, features = built()
    before = head.forward_train(features)[1].masks[0]
    assert before.shape[-2:] == features[4].shape[-2:] == (5, 7)       # cut from 6 x 8
    head = copy.deepcopy(head)
    with torch.no_grad():
        head.ecre.conv.bias[4 * 3 + 2 * 1 + 0] += 1
    dense, auxiliary = head.forward_train(features)
    moved = auxiliary.masks[0] - before
    expected = torch.zeros_like(moved)
    expected[:, 3, 1::2, 0::2] = 1
    torch.testing.assert_close(moved, expected)
    assert not torch.equal(dense.logits, built()[0](features).logits), "the decoder goes on from these scores"


def test_ss_asks_each_early_stage_alone():
    head, features = built()
    before = head.forward_train(features)[1].presence
    assert [x.shape for x in before] == [(1, K)] * 3
    for stage in range(4):
        changed = list(features)
        changed[2 + stage] = changed[2 + stage] + 1
        after = head.forward_train(changed)[1].presence
        assert [torch.equal(x, y) for x, y in zip(before, after, strict=True)] == [i != stage for i in range(3)]


def test_the_loss_of_ss_is_the_sum_over_stages():
    targets = MaskTargets(torch.ones(1, 2, 3, 3), torch.empty(0), torch.empty(0))
    told = torch.tensor([[[1, 0, 0, -1], [0, 0, 1, 0]]])
    answers = [torch.tensor([[0.5, -1.0, 2.0, 9.0]]), torch.tensor([[-2.0, 0.1, 0.3, 9.0]])]
    both, first, second = (presence_term(x, targets, told, [0, 1]).mean() for x in (answers, answers[:1], answers[1:]))
    assert both == pytest.approx((first + second).item())
    by_hand = (F.softplus(-answers[0][0, 0]) + F.softplus(answers[0][0, 1]) + F.softplus(-answers[0][0, 2])) / 3
    assert first.item() == pytest.approx(by_hand.item())


def test_gcn_reaches_k_by_k_cells():
    gcn = built()[0].gcn[0]
    x = torch.zeros(1, CHANNELS[2], 15, 15)
    silent = gcn(x)
    x[0, 0, 7, 7] = 1
    reached = ((gcn(x) - silent).abs().sum((0, 1)) > 1e-6).nonzero()
    assert reached.tolist() == [[row, column] for row in range(4, 11) for column in range(4, 11)]


class Plain:
    """ExFuse in plain operations, from the weights of a head."""

    def __init__(self, state):
        self.state = state

    def conv(self, name, x):
        weight = self.state[f"{name}.weight"]
        padding = tuple(side // 2 for side in weight.shape[2:])
        return F.conv2d(x, weight, self.state.get(f"{name}.bias"), padding=padding)

    def block(self, name, x):
        norm = (self.state[f"{name}.1.{n}"] for n in ("running_mean", "running_var", "weight", "bias"))
        return F.relu(F.batch_norm(self.conv(f"{name}.0", x), *norm))

    def refine(self, name, x):
        return x + self.conv(f"{name}.conv2", F.relu(self.conv(f"{name}.conv1", x)))

    def gcn(self, name, x):
        left = self.conv(f"{name}.left.1", self.conv(f"{name}.left.0", x))
        return left + self.conv(f"{name}.right.1", self.conv(f"{name}.right.0", x))

    def ss(self, name, x):
        x = self.block(f"{name}.1", self.block(f"{name}.0", x)).mean((2, 3))
        return x @ self.state[f"{name}.4.weight"].T + self.state[f"{name}.4.bias"]

    def seb(self, name, x, higher):
        for i, high in enumerate(higher):
            x = x * up(self.conv(f"{name}.convs.{i}", high), x.shape[2:])
        return x

    def ecre(self, x, size):
        b, _, h, w = x.shape
        x = self.conv("ecre.conv", x).view(b, K, 2, 2, h, w).permute(0, 1, 4, 2, 5, 3).reshape(b, K, 2 * h, 2 * w)
        return x[:, :, : size[0], : size[1]]

    def dap(self, x):
        """Each group is moved by a kernel that is 1 at (l, m)."""
        kernel = torch.eye(9).view(9, 1, 3, 3).repeat_interleave(K, 0)
        moved = F.conv2d(self.conv("dap.conv", x), kernel, padding=1, groups=9 * K)
        return sum(moved[:, n * K : (n + 1) * K] for n in range(9)) / 9 + self.state["dap.bias"].view(1, K, 1, 1)


def up(x, size):
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False)


@pytest.mark.parametrize("parts", [("SS", "SEB", "ECRE", "DAP"), (), ("SEB",), ("ECRE", "DAP")])
def test_a_second_forward_from_plain_operations(parts):
    head, features = built(parts)
    plain, res = Plain(head.state_dict()), features[2:]
    low = [plain.seb(f"seb.{i}", res[i], res[i + 1 :]) if "SEB" in parts else res[i] for i in range(3)]
    scores = [plain.refine(f"br.{i}", plain.gcn(f"gcn.{i}", x)) for i, x in enumerate([*low, res[3]])]
    deep = plain.ecre(scores[3], (5, 7)) if "ECRE" in parts else up(scores[3], (5, 7))
    y = plain.refine("br_fused.0", deep + scores[2])
    y = plain.refine("br_fused.1", up(y, (9, 13)) + scores[1])
    y = plain.refine("br_fused.2", up(y, (17, 25)) + scores[0])
    y = plain.refine("br_fused.3", up(y, (33, 49)))
    y = plain.refine("br_fused.4", up(y, (65, 97)))
    if "DAP" in parts:
        y = plain.dap(y)
    masks = [deep] if "ECRE" in parts else []
    presence = [plain.ss(f"ss.{i}", x) for i, x in enumerate(res[:3])] if "SS" in parts else []

    dense, auxiliary = head.forward_train(features)
    torch.testing.assert_close(dense.logits, y, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(dense.maps, [low[0], features[5]], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(auxiliary.masks, masks, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(list(auxiliary.presence), presence, rtol=1e-4, atol=1e-4)
    assert torch.equal(head(features).logits, dense.logits)


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["backbone.output_stride=8"], r"strides \[2, 4, 8, 8, 8\], not 2, 4, 8, 16, 32: take resnet50"),
        (["head.kernel_size=6"], "kernel_size 6 and dap_size 3 must be odd"),
        (["head.dap_size=0"], "kernel_size 7 and dap_size 0 must be odd"),
        (["head.ss_width=0"], "ss_width 0 must be 1 or more"),
        (["head.parts=[SEB,LR]"], "must be of SS, SEB, ECRE, DAP, not LR"),
    ],
)
def test_what_does_not_fit_is_said(overrides, sentence):
    with pytest.raises(ConfigError, match=sentence), torch.device("meta"):
        parts(recipe("exfuse", overrides), K)
