"""Fitting the label head: what is pooled, what is learnt from it, and that nothing else moves."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from hemline.checkpoint import load, load_network, save
from hemline.config import Data
from hemline.data.augment import place_sample
from hemline.data.sample import PREDICTED, WHOLE_PHOTO, Region, collate
from hemline.errors import ConfigError, WeightsError
from hemline.fit import Pooled, fit, fit_head, join, pool
from hemline.heads import MultiLabel
from hemline.labels import load_label_space
from hemline.model import build
from tests.toy import CANVAS, COAT, NUM_LABELS, NUM_MASKS, SPACE, STRIPE, WINTER, coat_and_shoe, metadata, said


def known(*indices):
    """(L,) the labels of a set."""
    return np.isin(np.arange(NUM_LABELS), indices)


def begin(config, file):
    """Write the untrained network of a recipe, which answers every label."""
    space = load_label_space(config.labels)
    about = metadata(
        labels=replace(space, teach={}), canvas=config.canvas, recipe=config.to_dict(),
        mask_thresholds=(0.5,) * space.num_masks, label_thresholds=(0.5,) * space.num_labels,
    )  # fmt: skip
    save(file, build(config, space, trunk_weights=False).state_dict(), about)


def test_what_is_pooled_of_each_region(tiny_config):
    """The first photo says nothing of its second region; sets speak of the regions they came with."""
    network = build(tiny_config, SPACE, trunk_weights=False).eval()
    first, second = (place_sample(coat_and_shoe(number), CANVAS) for number in (10, 60))
    coats = known(COAT)[:NUM_MASKS]
    first.regions += [Region(WHOLE_PHOTO, said(coat=1)), Region((1,), said()), Region((1,), said(stripe=1), doubt=0.2)]
    second.regions += [
        Region(PREDICTED, said(), (known(STRIPE, WINTER),), classes=coats),
        Region((2,), said(winter=0), (known(COAT, WINTER),)),
    ]
    batch = collate([first, second])
    parts = pool(network, batch)
    assert len(parts.features) == 4
    assert parts.labels[:, [COAT, STRIPE, WINTER]].tolist() == [[1, -1, -1], [-1, 1, -1], [-1, -1, -1], [-1, -1, 0]]
    np.testing.assert_allclose(parts.doubt, [0, 0.2, 0, 0])
    assert parts.one_of_region.tolist() == [2, 3]
    with torch.no_grad():
        dense = network.dense(batch.pixels)
        under = torch.zeros(2, 1, 8, 8)
        under[0, 0, 2:6] = 1                              # the coat's cells, rows 8 to 24 at stride 4
        under[1, 0, 6:] = 1                               # the shoe's
        expected = network.label_head.pool(dense.maps, under)
    np.testing.assert_allclose(parts.features[[1, 3]], expected[:, 0], rtol=2e-3, atol=2e-3)
    twice = join([parts, parts])
    assert twice.one_of_region.tolist() == [2, 3, 6, 7]
    assert torch.equal(twice.labels[4:], parts.labels)


def test_a_head_learns_what_is_known_and_what_is_one_of_several(monkeypatch):
    """The first feature says whether it is striped, the second whether it is a coat or a shoe; nobody says which."""
    monkeypatch.setattr("hemline.fit.RATE", 0.01)
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(4000, 16, generator=generator)
    labels = torch.full((4000, NUM_LABELS), -1, dtype=torch.int8)
    labels[:, STRIPE] = (features[:, 0] > 0).to(torch.int8)
    worn = features[:, 1] > 0
    labels[~worn, :2] = 0
    pooled = Pooled(
        features.half(), labels, torch.zeros(4000), torch.from_numpy(known(0, 1)).expand(int(worn.sum()), -1),
        torch.nonzero(worn)[:, 0],
    )  # fmt: skip
    sizes = {name: part.stop - part.start for name, part in SPACE.label_slices.items()}
    torch.manual_seed(0)
    head = MultiLabel([16], sizes, hidden=32)
    seen = []
    fit_head(head, pooled, SPACE, passes=30, progress=lambda *said: seen.append(said))
    with torch.no_grad():
        chance = torch.sigmoid(head.classify(features[:, None])[:, 0])
    assert ((chance[:, STRIPE] > 0.5) == (features[:, 0] > 0)).float().mean() > 0.9
    neither = (1 - chance[:, :2]).prod(1)
    assert ((neither < 0.5) == worn).float().mean() > 0.9
    assert seen[-1] == ("fitting", 30, 30)
    assert not head.training


def test_only_the_label_head_moves(tiny_config, tmp_path):
    drawn = Data(name="synthetic", options={"count": 16, "canvas": [64, 64]})
    tiny_config = replace(tiny_config, labels="outfit5", data=(drawn,))
    begin(tiny_config, tmp_path / "before.safetensors")
    report = fit(tmp_path / "before.safetensors", tiny_config, tmp_path / "after.safetensors", views=1)
    assert report.sets
    before, after = (load(tmp_path / f"{name}.safetensors")[0] for name in ("before", "after"))
    moved = {name.partition(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert moved == {"label_head"}
    _, told = load_network(tmp_path / "after.safetensors")
    assert [entry["name"] for entry in told.data] == [data.name for data in tiny_config.data]
    assert told.label_thresholds == report.label_thresholds
    assert told.instance_scores == report.instance_scores
    with pytest.raises(ConfigError, match="with other words than street"):
        fit(tmp_path / "before.safetensors", replace(tiny_config, labels="street"), tmp_path / "x.safetensors")
    assert not (tmp_path / "x.safetensors").exists()


def test_what_a_head_would_forget_is_refused(tiny_config, tmp_path):
    """The weights answer with words of other datasets, which drawn figures do not know."""
    tiny_config = replace(tiny_config, data=(Data(name="synthetic", options={"count": 8, "canvas": [64, 64]}),))
    begin(tiny_config, tmp_path / "before.safetensors")
    with pytest.raises(ConfigError, match=r"data: nothing here speaks of .*item, upper, st_neckline: name every set"):
        fit(tmp_path / "before.safetensors", tiny_config, tmp_path / "after.safetensors", views=1)
    with pytest.raises(WeightsError, match=r"written to a \.safetensors file in a folder that is there"):
        fit(tmp_path / "before.safetensors", tiny_config, tmp_path / "none/after.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["before.safetensors"]
