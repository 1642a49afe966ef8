"""Every network of `HEADS` that finds instances, built by its recipe, asked for what the contract promises."""

import copy
import inspect
from functools import cache
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

from hemline.heads import HEADS, InstanceHead, Target
from hemline.labels import load_label_space
from hemline.model import build_instances
from hemline.networks import recipe
from tests.formula import photo

FINDERS = [name for name, head in HEADS.items() if issubclass(head, InstanceHead)]
SMALL = {"width": 32, "box_hidden": 64, "proposals": 24, "proposals_in_training": 48, "sampled": 16, "detections": 4,
         "least_score": 0.0, "mask_width": 8}  # fmt: skip
"""Options that make a walk short, of heads that have them."""
SPACE = load_label_space("street")
SIZE = (96, 96)
FRAMES = torch.tensor([[0.0, 0, 96, 96], [20, 0, 76, 96]])


class Walk(NamedTuple):
    """An instance head that a recipe builds, and the features of two photos."""

    head: InstanceHead
    features: list[Tensor]


@cache
def walk(name: str) -> Walk:
    torch.manual_seed(0)
    known = inspect.signature(HEADS[name]).parameters
    small = [f"head.{option}={value}" for option, value in SMALL.items() if option in known]
    network = build_instances(recipe(name, ["labels=street", *small]), SPACE, trunk_weights=False)
    with torch.inference_mode():
        features = network.backbone.eval()(photo(*SIZE, batch=2))
    scale = max(float(x.std()) for x in features[1:])    # of random weights, features grow with depth
    return Walk(network.head.eval(), [(x / scale).clone() for x in features])


def drawn(*garments: tuple[list[int], int]) -> Target:
    """Garments as (box, class), each half of its box; every second attribute is known."""
    masks = torch.zeros(len(garments), *SIZE, dtype=torch.uint8)
    for mask, ((x0, y0, x1, y1), _) in zip(masks, garments, strict=True):
        mask[y0 : (y0 + y1) // 2, x0:x1] = 1
    attributes = torch.arange(len(SPACE.labels)) % 4 - 1
    return Target(
        torch.tensor([box for box, _ in garments], dtype=torch.float32).view(-1, 4),
        torch.tensor([kind for _, kind in garments], dtype=torch.int64),
        masks,
        attributes.clamp(max=1).to(torch.int8).expand(len(garments), -1).contiguous(),
    )


TRUTHS: dict[str, list[list[tuple[list[int], int]]]] = {
    "garments": [[([8, 8, 40, 60], 0), ([50, 4, 90, 30], 3)], [([24, 10, 60, 50], 1)]],
    "one photo is bare": [[([8, 8, 40, 60], 0)], []],
    "both are bare": [[], []],
    "of unknown kind": [[([8, 8, 40, 60], -1)], [([24, 10, 60, 50], -1)]],
}


UNKNOWN = drawn()._replace(known=False)
TARGETS = {truth: [drawn(*garments) for garments in photos] for truth, photos in TRUTHS.items()}
TARGETS |= {"one is unknown": [*TARGETS["garments"][:1], UNKNOWN], "both are unknown": [UNKNOWN, UNKNOWN]}


def learn(name: str, truth: str) -> tuple[InstanceHead, dict[str, Tensor], list[Tensor]]:
    """A copy of the head after one pass forwards and backwards."""
    seen = walk(name)
    head = copy.deepcopy(seen.head).train()
    torch.manual_seed(1)
    losses, maps = head.loss(seen.features, FRAMES, TARGETS[truth])
    sum([*losses.values(), *(1e-3 * x.float().square().mean() for x in maps)], torch.zeros(())).backward()
    return head, losses, maps


def answer(head: InstanceHead, features: list[Tensor], frames: Tensor = FRAMES):
    with torch.inference_mode():
        return head(features, frames)


@pytest.mark.parametrize("name", FINDERS)
def test_what_is_found_has_the_forms_of_the_contract(name):
    head, features = walk(name)
    found, maps = answer(head, features)
    assert len(found) == 2
    for one, frame in zip(found, FRAMES, strict=True):
        count = len(one.boxes)
        assert 0 < count <= 4
        assert (one.boxes[:, :2] >= frame[:2]).all()
        assert (one.boxes[:, 2:] <= frame[2:]).all()
        assert (one.boxes[:, 2:] > one.boxes[:, :2]).all()
        assert one.classes.dtype == torch.int64
        assert set(one.classes.tolist()) <= set(range(len(SPACE.categories)))
        assert torch.equal(one.scores, one.scores.sort(descending=True).values)
        assert ((one.scores >= 0) & (one.scores <= 1)).all()
        assert one.masks.shape == (count, one.masks.shape[1], one.masks.shape[1])
        assert ((one.masks >= 0) & (one.masks <= 1)).all()
        if head.reads_attributes:
            assert one.attributes.shape == (count, len(SPACE.labels))
        else:
            assert one.attributes is None
    assert [x.shape[1] for x in maps] == head.map_channels
    assert max(x.shape[2] for x in maps) >= SIZE[0] / 8, "a label head needs a map at stride 8 or finer"


@pytest.mark.parametrize("truth", TARGETS)
@pytest.mark.parametrize("name", FINDERS)
def test_losses_are_finite_and_every_parameter_has_a_gradient(name, truth):
    head, losses, maps = learn(name, truth)
    assert losses
    assert all(x.ndim == 0 and torch.isfinite(x) and x >= 0 for x in losses.values()), losses
    assert [x.shape[1] for x in maps] == head.map_channels
    for parameter, tensor in head.named_parameters():
        assert tensor.grad is not None, parameter
        assert torch.isfinite(tensor.grad).all(), parameter
    assert all(torch.isfinite(x).all() for x in head.buffers())
    if truth == "garments":
        assert all(x > 0 for x in losses.values()), losses
        weights = [(n, p) for n, p in head.named_parameters() if not n.endswith("bias")]   # a batch norm undoes a bias
        unreached = [n for n, p in weights if not p.grad.abs().sum() > 0]
        assert not unreached
    if truth == "both are unknown":
        assert all(x == 0 for x in losses.values()), losses


@pytest.mark.parametrize("name", FINDERS)
def test_nothing_is_learnt_of_a_photo_of_which_nothing_is_known(name):
    """Batch norms at rest, so that photos do not see each other: the losses are those of the other photo alone."""
    head, features = walk(name)
    (one, _) = TARGETS["garments"]
    losses = []
    for targets in ([one], [one, UNKNOWN]):
        torch.manual_seed(1)
        losses.append(head.loss([x[: len(targets)] for x in features], FRAMES[: len(targets)], targets)[0])
    for term, value in losses[0].items():
        torch.testing.assert_close(losses[1][term], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", FINDERS)
def test_photos_do_not_see_each_other(name):
    head, features = walk(name)
    together = answer(head, features)
    for i in range(2):
        alone = answer(head, [x[i : i + 1] for x in features], FRAMES[i : i + 1])
        for ours, theirs in zip(together.found[i], alone.found[0], strict=True):
            if ours is not None:
                torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", FINDERS)
def test_the_same_answer_twice_and_after_a_round_trip_and_a_finite_one_in_bfloat16(name):
    head, features = walk(name)
    other = copy.deepcopy(head)
    for parameter in other.parameters():
        nn.init.zeros_(parameter)
    other.load_state_dict(head.state_dict())
    first = answer(head, features)
    for again in (answer(head, features), answer(other, features)):
        for ours, theirs in zip(first.found, again.found, strict=True):
            assert all(x is y is None or torch.equal(x, y) for x, y in zip(ours, theirs, strict=True))
    with torch.autocast("cpu", torch.bfloat16):
        rough = answer(head, features)
    assert all(torch.isfinite(x.float()).all() for one in rough.found for x in one if x is not None)
    assert all(one.boxes.dtype == torch.float32 for one in rough.found)


@pytest.mark.parametrize("name", FINDERS)
def test_its_work_can_be_counted_without_memory(name):
    head, features = walk(name)
    with torch.no_grad():
        copy.deepcopy(head).to("meta").dry_run([x.to("meta") for x in features])


@pytest.mark.parametrize("name", FINDERS)
def test_it_has_a_recipe_that_learns_instances(name):
    config = recipe(name)
    assert config.loss.instances > 0
    assert not any(config.loss.of_masks().values())
