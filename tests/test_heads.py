"""The default mask head and the label head; what holds for every head stands in test_networks.py."""

import pytest
import torch

from hemline.heads import HEADS, MultiLabel
from hemline.heads.multilabel import masked_mean

CHANNELS, STRIDES = [3, 8, 12, 16, 24, 32], [1, 2, 4, 8, 16, 32]


def features_of(height, width, batch=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randn(batch, c, -(-height // s), -(-width // s), generator=generator)
        for c, s in zip(CHANNELS, STRIDES, strict=True)
    ]


def build_head(name, num_classes=7):
    torch.manual_seed(0)
    return HEADS[name](CHANNELS, STRIDES, num_classes)


def test_unet_answers_at_stride_4_and_refuses_wrong_widths():
    head = HEADS["unet"](CHANNELS, STRIDES, 3, widths=[24, 16, 12])
    assert head(features_of(64, 96)).logits.shape == (2, 3, 16, 24)
    with pytest.raises(ValueError, match="3 entries"):
        HEADS["unet"](CHANNELS, STRIDES, 3, widths=[24, 16])


def test_unet_from_plain_operations():
    """The same U-Net written out with `torch.nn.functional` from the docstring, on the head's own weights."""
    from torch.nn import functional as F

    head = build_head("unet").eval()
    state = head.state_dict()
    features = features_of(64, 96)

    def block(x, name, groups=1):
        weight = state[f"{name}.0.weight"]
        x = F.conv2d(x, weight, padding=weight.shape[-1] // 2, groups=groups)
        names = ("running_mean", "running_var", "weight", "bias")
        return F.relu(F.batch_norm(x, *(state[f"{name}.1.{n}"] for n in names)))

    x = features[5]
    for step, skip in enumerate((features[4], features[3], features[2])):
        x = block(x, f"steps.{step}.reduce")
        x = torch.cat([x.repeat_interleave(2, 2).repeat_interleave(2, 3), skip], 1)
        x = block(x, f"steps.{step}.join")
        x = block(x, f"steps.{step}.look", groups=x.shape[1])
        x = block(x, f"steps.{step}.mix")
    logits = F.conv2d(x, state["classifier.weight"], state["classifier.bias"])
    with torch.no_grad():
        torch.testing.assert_close(head(features).logits, logits, rtol=1e-4, atol=1e-4)


def test_masked_mean_is_the_mean_of_the_cells_under_the_mask():
    x = torch.arange(16.0).view(1, 1, 4, 4)
    masks = torch.zeros(1, 3, 4, 4)
    masks[0, 0] = 1                                   # everything: 7.5
    masks[0, 1, 1, 2] = 1                             # one cell: 6
    pooled = masked_mean(x, masks)                    # the third mask is empty: 0
    assert pooled.flatten().tolist() == pytest.approx([7.5, 6, 0], rel=1e-3)


def test_masked_mean_weighs_cells_by_how_much_of_them_is_covered():
    """Two cells, the mask covers one fully and a quarter of the other: (10 + 20 / 4) / 1.25 = 12."""
    x = torch.tensor([[[[10.0, 20.0]]]])
    mask = torch.zeros(1, 1, 2, 4)
    mask[0, 0, :, :2] = 1
    mask[0, 0, 0, 2] = 1
    assert masked_mean(x, mask).item() == pytest.approx(12, rel=1e-3)


def test_label_head_asks_each_mask_alone():
    """What is outside a mask, and what other masks are asked for, cannot change its answer."""
    torch.manual_seed(0)
    head = MultiLabel([4, 6], {"category": 3, "pattern": 2}, hidden=8).eval()
    fine, deep = torch.randn(1, 4, 8, 8), torch.randn(1, 6, 4, 4)
    mask = torch.zeros(1, 1, 8, 8)
    mask[..., :4] = 1
    alone = head([fine, deep], mask)
    assert alone.shape == (1, 1, 5)
    crowd = head([fine, deep], torch.cat([torch.rand(1, 5, 8, 8), mask], 1))
    torch.testing.assert_close(crowd[:, 5], alone[:, 0])
    fine[..., 4:], deep[..., 2:] = 99.0, -99.0
    torch.testing.assert_close(head([fine, deep], mask), alone)


def test_label_head_sends_no_gradient_to_masks():
    head = MultiLabel([4], {"category": 3}, hidden=8)
    masks = torch.rand(1, 2, 8, 8, requires_grad=True)
    maps = torch.randn(1, 4, 8, 8, requires_grad=True)
    head([maps], masks).sum().backward()
    assert masks.grad is None
    assert maps.grad.abs().sum() > 0
