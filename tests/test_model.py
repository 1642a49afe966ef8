"""Backbone and network: normalisation, strides, decisions, and independence of neighbours."""

import pytest
import timm
import torch

from hemline.backbone import Backbone
from hemline.config import Config, Data
from hemline.errors import ConfigError
from hemline.model import build


def canvas_of(batch, height=64, width=64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (batch, height, width, 3), generator=generator, dtype=torch.uint8)
    return pixels, torch.ones(batch, height, width, dtype=torch.uint8)


@pytest.mark.parametrize("name", ["mobilenetv2_035", "resnet18", "convnext_atto"])
def test_backbone_says_the_channels_and_strides_of_its_maps(name):
    backbone = Backbone(name).eval()
    pixels, _ = canvas_of(1, 64, 96)
    with torch.no_grad():
        features = backbone(pixels)
    assert [x.shape[1] for x in features] == backbone.channels
    assert [64 // x.shape[2] for x in features] == backbone.strides
    assert [96 // x.shape[3] for x in features] == backbone.strides


def test_backbone_normalises_as_timm_says():
    backbone = Backbone("mobilenetv2_035").eval()
    pixels = torch.tensor([255, 0, 128], dtype=torch.uint8).expand(1, 32, 32, 3)
    photo = backbone(pixels)[0][0, :, 0, 0]
    cfg = timm.get_pretrained_cfg("mobilenetv2_035")
    want = (torch.tensor([255, 0, 128]) / 255 - torch.tensor(cfg.mean)) / torch.tensor(cfg.std)
    torch.testing.assert_close(photo, want)


@pytest.mark.parametrize(
    ("name", "says"),
    [("resnet81", "did you mean .*resnet"), ("vit_tiny_patch16_224", "no pyramid")],
)
def test_backbone_refuses_in_one_sentence(name, says):
    with pytest.raises(ConfigError, match=says):
        Backbone(name)


def test_backbone_takes_local_weights_and_refuses_foreign_ones(tmp_path):
    source = Backbone("mobilenetv2_035")
    torch.save(source.trunk.state_dict(), tmp_path / "trunk.pth")
    taken = Backbone("mobilenetv2_035", weights=tmp_path / "trunk.pth")
    for (name, a), (_, b) in zip(source.trunk.state_dict().items(), taken.trunk.state_dict().items(), strict=True):
        assert torch.equal(a, b), name
    with pytest.raises(ConfigError, match="resnet18"):
        Backbone("resnet18", weights=tmp_path / "trunk.pth")
    (tmp_path / "text.pth").write_text("not a state dict")
    with pytest.raises(ConfigError, match=r"text\.pth is not a state dict"):
        Backbone("mobilenetv2_035", weights=tmp_path / "text.pth")


@pytest.mark.parametrize("name", ["densenet121", "test_convnext"])
def test_backbone_takes_the_weights_of_timms_whole_model(tmp_path, name):
    """timm calls the stages of these by other names where it makes a pyramid of them; dilation changes no name."""
    whole = timm.create_model(name)
    torch.save(whole.state_dict(), tmp_path / "whole.pth")
    trunk = Backbone(name, weights=tmp_path / "whole.pth", output_stride=8).trunk
    flat = {key.replace(".", "_"): tensor for key, tensor in whole.state_dict().items()}
    assert all(torch.equal(tensor, flat[key.replace(".", "_")]) for key, tensor in trunk.state_dict().items())


def test_a_trunk_without_weights_takes_none(tmp_path):
    torch.save({}, tmp_path / "trunk.pth")
    with pytest.raises(ConfigError, match=r"backbone\.weights: the trunk none has none"):
        Backbone("none", weights=tmp_path / "trunk.pth")


@pytest.mark.parametrize("layers", [[2, 2, 2], [2, 2, 2, 2, 2]])
def test_a_resnet_has_four_stages(layers):
    with pytest.raises(ConfigError, match=r"backbone\.layers: \[2, 2, 2.* must be 4 numbers"), torch.device("meta"):
        Backbone("resnet18", layers=layers)


def test_output_shapes(tiny_network):
    space, network = tiny_network
    output = network.eval()(*canvas_of(2))
    assert output.masks.shape == (2, space.num_masks, 16, 16)
    assert output.labels.shape == (2, 1 + space.num_masks, space.num_labels)


def test_a_photo_does_not_depend_on_the_photos_beside_it(tiny_network):
    _, network = tiny_network
    pixels, valid = canvas_of(3)
    with torch.no_grad():
        together, alone = network.eval()(pixels, valid), network(pixels[1:2], valid[1:2])
    torch.testing.assert_close(together.masks[1:2], alone.masks, rtol=0, atol=1e-5)
    torch.testing.assert_close(together.labels[1:2], alone.labels, rtol=0, atol=1e-5)


def test_decide_by_hand(tiny_network):
    """Coat beats jacket by its margin, a hidden class never wins, and nothing wins below its threshold."""
    space, network = tiny_network
    jacket, coat, vest = (space.find(name).index for name in ("jacket", "coat", "vest"))
    network.set_mask_thresholds(torch.full((space.num_masks,), 0.5))
    logits = torch.full((1, space.num_masks, 1, 3), -5.0)
    logits[0, [jacket, coat, vest], 0, 0] = torch.tensor([1.0, 2.0, 9.0])
    logits[0, [jacket, coat], 0, 1] = torch.tensor([2.0, 1.0])
    masks = network.decide(logits, torch.ones(1, 1, 1, 3))
    assert masks[0, :, 0, 0].nonzero().flatten().tolist() == [coat]
    assert masks[0, :, 0, 1].nonzero().flatten().tolist() == [jacket]
    assert masks[0, :, 0, 2].sum() == 0
    thresholds = torch.full((space.num_masks,), 0.5)
    thresholds[jacket] = 0.9                          # a margin of 2 - logit(0.9) = -0.2
    network.set_mask_thresholds(thresholds)
    masks = network.decide(logits, torch.ones(1, 1, 1, 3))
    assert masks[0, :, 0, 1].nonzero().flatten().tolist() == [coat]


def test_a_second_guess_gives_its_cells_to_the_first(tiny_network):
    """A jacket that passes on 9 cells and wins 2 beside a coat's 7 is a coat; with 3 beside 6 it stands."""
    space, network = tiny_network
    jacket, coat, dress = (space.find(name).index for name in ("jacket", "coat", "dress"))
    network.set_mask_thresholds(torch.full((space.num_masks,), 0.5))
    logits = torch.full((1, space.num_masks, 1, 10), -5.0)
    logits[0, coat, 0] = 2.0
    logits[0, jacket, 0] = 1.0
    logits[0, jacket, 0, :2] = logits[0, jacket, 0, 9] = 3.0
    area = torch.ones(1, 1, 1, 10)
    area[..., 9] = 0                                  # off the photo: counts for nobody
    assert network.decide(logits, area)[0, coat, 0, :9].tolist() == [1] * 9
    logits[0, jacket, 0, 2] = 3.0
    masks = network.decide(logits, area)
    assert masks[0, jacket, 0, :9].tolist() == [1] * 3 + [0] * 6
    assert masks[0, coat, 0, :9].tolist() == [0] * 3 + [1] * 6
    for k, cells in ((jacket, slice(0, 3)), (coat, slice(3, 6)), (dress, slice(6, 9))):
        logits[0, k] = 1.0
        logits[0, k, 0, cells] = 3.0
    masks = network.decide(logits, area)[0, [jacket, coat, dress], 0, :9]
    assert masks.sum(1).tolist() == [3, 3, 3], "three even guesses: none gives way, and no cell is left to nobody"


def test_labels_are_pooled_under_the_very_masks_that_are_decided(tiny_network):
    _, network = tiny_network
    network.eval()
    pixels, valid = canvas_of(1)
    with torch.no_grad():
        network.mask_head.classifier.bias += 3                         # so that untrained masks are not empty
        dense = network.dense(pixels)
        masks = torch.cat([torch.ones(1, 1, 16, 16), network.decide(dense.logits, torch.ones(1, 1, 16, 16))], 1)
        want = network.label_head(dense.maps, masks)
        got = network(pixels, valid).labels
    torch.testing.assert_close(got, want)
    assert 0 < masks[:, 1:].sum() <= 256, "at most one class a cell"


def test_the_photo_label_reads_valid_cells_only(tiny_network):
    """With everything but the left half invalid, the photo's labels are those of the left half's features."""
    _, network = tiny_network
    network.eval()
    pixels, valid = canvas_of(1)
    valid[..., 32:] = 0
    with torch.no_grad():
        dense = network.dense(pixels)
        mask = torch.zeros(1, 1, 16, 16)
        mask[..., :8] = 1
        torch.testing.assert_close(network(pixels, valid).labels[:, :1], network.label_head(dense.maps, mask))


def test_own_head_is_taken(tiny_config, tiny_network):
    from hemline.heads.unet import UNet

    space, _ = tiny_network
    backbone = Backbone("mobilenetv2_035")
    head = UNet(backbone.channels, backbone.strides, space.num_masks, widths=[8, 8, 8])
    assert build(tiny_config, space, head=head).mask_head is head


def test_default_recipe_is_as_light_as_promised():
    """The default network is small: parameters, not time, which the benchmark measures."""
    config = Config(name="x", epochs=1, data=(Data(name="synthetic"),))
    from hemline.labels import load_label_space

    network = build(config, load_label_space("street"), trunk_weights=False)
    assert sum(p.numel() for p in network.parameters()) < 3_600_000
