"""Every network that draws classes, built by its recipe on its own trunk, walked forwards and backwards; see `walk`."""

import copy
from functools import cache
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

from hemline.data.augment import place_sample
from hemline.data.sample import Batch, collate
from hemline.data.synthetic import Synthetic
from hemline.heads import HEADS, Auxiliary, Dense, MaskHead
from hemline.heads._blocks import PRIOR_LOGIT
from hemline.labels import load_label_space
from hemline.losses import JointLoss
from hemline.model import Network, build
from hemline.networks import recipe
from tests.formula import photo

DENSE = [name for name, head in HEADS.items() if issubclass(head, MaskHead)]
NUM_CLASSES = 5
SIZE = (51, 69)
"""Multiples of nothing that a network likes."""
NARROW = {
    "ddsc": ["head.widths=[256,192,128,64]"],
    "exfuse": ["head.ss_width=64"],
    "fcn": ["backbone.name=resnet18"],
    "refinenet": ["head.widths=[96,64,64,64]"],
}
"""Widths and trunks of networks that take seconds as their recipes have them; the paths through them are the same."""


class Walk(NamedTuple):
    """What one pass forwards and backwards through a network left."""

    network: Network
    features: list[Tensor]
    dense: Dense
    auxiliary: Auxiliary
    unreached: list[str]
    """Parameters of the mask head that no gradient reaches."""


@cache
def walk(name: str) -> Walk:
    torch.manual_seed(0)
    config = recipe(name, ["labels=outfit5", *NARROW.get(name, ())])
    network = build(config, load_label_space("outfit5"), trunk_weights=False)
    head = network.mask_head.train()
    features = network.backbone.train()(photo(*SIZE, batch=2))
    train = getattr(head, "forward_train", lambda x: (head(x), Auxiliary([])))
    dense, auxiliary = train(features)
    every = [dense.logits, *dense.maps, *auxiliary.masks, *auxiliary.presence]
    sum((x.float().square().mean() for x in every), torch.zeros(())).backward()
    unreached = [n for n, p in head.named_parameters() if p.grad is None or not bool(p.grad.abs().sum() > 0)]
    network.zero_grad(set_to_none=True)
    return Walk(network, [x.detach() for x in features], dense, auxiliary, unreached)


def num_maps(name):
    return NUM_CLASSES + (recipe(name).masks == "exclusive")


@pytest.mark.parametrize("name", DENSE)
def test_answers_at_an_odd_size(name):
    seen = walk(name)
    logits, maps = seen.dense
    assert logits.shape[:2] == (2, num_maps(name))
    assert torch.isfinite(logits).all()
    assert [x.shape[1] for x in maps] == seen.network.mask_head.map_channels
    sizes = [x.shape[2] for x in maps]
    assert max(sizes) >= SIZE[0] / 8 - 1, "a label head needs a map at stride 8 or finer"
    for x in (*maps, *seen.auxiliary.masks):
        assert abs(x.shape[2] / x.shape[3] - SIZE[0] / SIZE[1]) < 0.25, "a map keeps the photo's shape"
    for x in seen.auxiliary.masks:
        assert x.shape[:2] == (2, num_maps(name))
    assert all(x.shape == (2, num_maps(name)) for x in seen.auxiliary.presence)


@pytest.mark.parametrize("name", DENSE)
def test_gradients_reach_every_parameter(name):
    assert not walk(name).unreached


@pytest.mark.parametrize("name", DENSE)
def test_scores_begin_near_zero(name):
    """Masks are sigmoids: a network that begins by claiming half of everything unlearns that for an epoch."""
    seen = walk(name)
    for logits in (seen.dense.logits, *seen.auxiliary.masks):
        assert abs(logits.median() - PRIOR_LOGIT) < 0.5


@pytest.mark.parametrize("name", DENSE)
def test_the_same_answer_twice_and_after_a_round_trip_and_a_finite_one_in_bfloat16(name):
    seen = walk(name)
    head = seen.network.mask_head.eval()
    other = copy.deepcopy(head)
    for parameter in other.parameters():
        nn.init.zeros_(parameter)
    other.load_state_dict(head.state_dict())
    features = [x[:1] for x in seen.features]
    with torch.inference_mode():
        first = head(features).logits
        assert torch.equal(first, head(features).logits)
        assert torch.equal(first, other(features).logits)
        with torch.autocast("cpu", torch.bfloat16):
            rough = head(features).logits
    assert torch.isfinite(rough.float()).all()


@pytest.mark.parametrize("name", DENSE)
def test_photos_do_not_see_each_other(name):
    seen = walk(name)
    head = seen.network.mask_head.eval()
    with torch.inference_mode():
        both, alone = head(seen.features).logits, head([x[:1] for x in seen.features]).logits
    torch.testing.assert_close(both[:1], alone, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", DENSE)
def test_a_training_step_has_every_loss(name):
    space = load_label_space("outfit5")
    network = walk(name).network
    batch = drawn((64, 64))
    asked = recipe(name).loss
    terms = JointLoss(network.train(), space, asked)(batch)
    values = {key: term.mean().item() for key, term in terms.items()}
    assert all(torch.isfinite(torch.tensor(value)) for value in values.values()), values
    assert {"category", *(loss for loss, weight in asked.of_masks().items() if weight)} <= values.keys()
    assert any(key.startswith("auxiliary") for key in values) == (asked.auxiliary > 0)
    assert ("presence" in values) == (asked.presence > 0)


@cache
def drawn(size: tuple[int, int]) -> Batch:
    dataset = Synthetic(None, load_label_space("outfit5"), count=2)
    return collate([place_sample(dataset[i], size) for i in range(2)])


@pytest.mark.parametrize("name", HEADS)
def test_every_head_has_a_recipe_of_its_name(name):
    config = recipe(name)
    assert config.name == config.head.name == name
    assert HEADS[name].paper.url.startswith("https://")
