"""U-Net to full resolution: counts, a second forward, and the answer of segmentation_models.pytorch."""

from functools import cache

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from hemline.heads import HEADS
from hemline.networks import facts, parts, recipe
from tests.formula import fill, photo

CHANNELS, STRIDES = [3, 8, 12, 16, 24, 32], [1, 2, 4, 8, 16, 32]


@cache
def built():
    backbone, head = parts(recipe("unet_full", ["backbone.name=resnet18"]), 5)
    return fill(backbone), fill(head)


# segmentation_models.pytorch 0.6.0: Unet(encoder, encoder_weights=None, classes=...), encoders resnet* and tu-*.
@pytest.mark.parametrize(
    ("trunk", "of_1", "of_47"),
    [
        ("resnet18", 14_328_209, 14_334_879),
        ("resnet34", 24_436_369, 24_443_039),
        ("resnet50", 32_521_105, 32_527_775),
        ("resnet101", 51_513_233, 51_519_903),
        ("inception_resnet_v2", 62_029_297, 62_035_967),
        ("efficientnet_b0", 5_834_701, 5_841_371),
        ("vgg16_bn", 19_036_049, 19_042_719),
    ],
)
def test_parameters(trunk, of_1, of_47):
    for num_classes, parameters in ((1, of_1), (47, of_47)):
        counted = facts("unet_full", [f"backbone.name={trunk}"], num_classes=num_classes, size=(96, 96))
        assert counted.parameters == parameters
        assert counted.output_stride == 1


@pytest.mark.parametrize(("trunk", "parameters"), [("resnet18", 3_151_552), ("resnet50", 9_012_928)])
def test_parameters_of_the_decoder(trunk, parameters):
    with torch.device("meta"):
        _, head = parts(recipe("unet_full", [f"backbone.name={trunk}"]), 1)
    assert sum(p.numel() for p in head.blocks.parameters()) == parameters
    assert (head.classifier.in_channels, head.classifier.kernel_size) == (16, (3, 3))


def test_ten_convolutions_climb_to_the_photos_size():
    _, head = built()
    sizes = []
    hooks = [
        module.register_forward_hook(lambda module, args, out: sizes.append((args[0].shape[1], *out.shape[1:])))
        for module in head.modules()
        if isinstance(module, nn.Conv2d)
    ]
    with torch.inference_mode():
        head(built()[0](photo(65, 97)))
    for hook in hooks:
        hook.remove()
    assert sizes == [
        (512 + 256, 256, 5, 7), (256, 256, 5, 7),
        (256 + 128, 128, 9, 13), (128, 128, 9, 13),
        (128 + 64, 64, 17, 25), (64, 64, 17, 25),
        (64 + 64, 32, 33, 49), (32, 32, 33, 49),
        (32, 16, 65, 97), (16, 16, 65, 97),
        (16, 5, 65, 97),
    ]  # fmt: skip


def test_from_plain_operations():
    """The decoder written out with `torch.nn.functional`, on the head's own weights, at an odd size."""
    backbone, head = built()
    state = head.state_dict()

    def convolve(x, name):
        x = F.conv2d(x, state[f"{name}.0.weight"], padding=1)
        norm = (state[f"{name}.1.{k}"] for k in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(x, *norm).relu()

    with torch.inference_mode():
        features = [x / x.std() for x in backbone(photo(65, 97))]
        x = features[5]
        for block, (skip, joined) in enumerate(zip(features[4::-1], [True] * 4 + [False], strict=True)):
            rows = torch.arange(skip.shape[2]) * x.shape[2] // skip.shape[2]         # nearest: floor of the place
            columns = torch.arange(skip.shape[3]) * x.shape[3] // skip.shape[3]
            x = x[:, :, rows][:, :, :, columns]
            x = torch.cat([x, skip], dim=1) if joined else x
            x = convolve(convolve(x, f"blocks.{block}.conv1"), f"blocks.{block}.conv2")
            if block == 2:
                stride_4 = x
        logits = F.conv2d(x, state["classifier.weight"], state["classifier.bias"], padding=1)
        got = head(features)
    assert logits.shape == (1, 5, 65, 97)
    assert logits.std() > 0.01
    torch.testing.assert_close(got.logits, logits, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(got.maps[0], stride_4, rtol=1e-4, atol=1e-4)
    assert got.maps[1] is features[5]


@pytest.mark.filterwarnings("ignore")                                # its own
def test_the_answer_of_segmentation_models_pytorch():
    smp = pytest.importorskip("segmentation_models_pytorch")
    backbone, head = built()
    peer = smp.Unet("tu-resnet18", encoder_weights=None, classes=5).eval()
    peer.encoder.model.load_state_dict(backbone.trunk.state_dict())
    blocks = {key: value for key, value in head.state_dict().items() if key.startswith("blocks.")}
    peer.decoder.load_state_dict(blocks)
    peer.segmentation_head[0].load_state_dict(head.classifier.state_dict())
    with torch.inference_mode():
        features = backbone(photo(64, 96))
        torch.testing.assert_close(head(features).logits, peer(features[0]), rtol=1e-5, atol=1e-5)


def test_other_widths():
    with torch.device("meta"):
        head = HEADS["unet_full"](CHANNELS, STRIDES, 5, widths=[20, 18, 14, 10, 6])
    assert head.map_channels == [14, 32]
    assert [block.conv2[0].out_channels for block in head.blocks] == [20, 18, 14, 10, 6]


def test_options_that_do_not_fit():
    with pytest.raises(ValueError, match=r"unet_full: the trunk has strides \[4, 8, 16, 32\], not one map at each"):
        HEADS["unet_full"]([3, 8, 16, 24, 32], [1, 4, 8, 16, 32], 5)
    with pytest.raises(ValueError, match=r"unet_full: widths .* must be five numbers"):
        HEADS["unet_full"](CHANNELS, STRIDES, 5, widths=[32, 16, 8])
    with pytest.raises(ValueError, match=r"unet_full: widths .* must be five numbers of 1 or more"):
        HEADS["unet_full"](CHANNELS, STRIDES, 5, widths=[32, 16, 8, 4, 0])
