"""What is true of parts of garments, in training and in measuring: apart from what is true of the garments."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from hemline.config import Loss
from hemline.data.augment import place_sample
from hemline.data.sample import EITHER, UNKNOWN, WHOLE_PHOTO, Batch, Region, Sample, collate
from hemline.evaluate import choose_mask_thresholds, score, truth_map
from hemline.heads import Auxiliary, Dense
from hemline.labels import load_label_space
from hemline.losses import JointLoss, told_to
from hemline.metrics import IGNORED
from hemline.model import build
from hemline.report import Report
from hemline.report_tables import report_table
from hemline.runtime import Answer
from tests.toy import Toy
from tests.worn import BELT, BUCKLE, EPAULETTE, PANTS, POCKET, SKIN, SPACE, K, L, metadata, row

# -- what is true --------------------------------------------------------------------------------------------


ROWS = [
    # what a segment is               garments        parts           all in one
    (row(), 0, 0, 0),
    (row(PANTS), 1, 0, 1),
    (row(PANTS, POCKET), 1, 1, 3),                    # the pocket lies on top
    (row(POCKET), 0, 1, 3),
    (row(PANTS, POCKET, BUCKLE), 1, IGNORED, IGNORED),
    (row(PANTS, BELT, POCKET), IGNORED, 1, 3),
    (row(PANTS, unknown=(POCKET, BUCKLE)), 1, IGNORED, 1),
    (row(EPAULETTE), IGNORED, IGNORED, IGNORED),      # something that no answer says
    (row(PANTS, EPAULETTE), 1, IGNORED, 1),
]


@pytest.mark.parametrize(("target", "of_garments", "of_parts", "of_all"), ROWS)
def test_what_a_pixel_is_in_each_layer(target: NDArray[np.int8], of_garments: int, of_parts: int, of_all: int) -> None:
    sample = Sample(np.zeros((1, 1, 3), np.uint8), np.zeros((1, 1), np.uint8), target[None])
    garments, parts = SPACE.layers
    all_in_one = (PANTS, BELT, POCKET, BUCKLE, SKIN)
    got = [int(truth_map(sample, SPACE, layer)[0, 0]) for layer in (garments, parts, all_in_one)]
    assert got == [of_garments, of_parts, of_all]
    assert truth_map(sample, SPACE)[0, 0] == of_garments
    assert (sample.targets == target).all()


def test_what_a_segment_is_told_to_each_layer() -> None:
    targets = torch.tensor(np.stack([row(PANTS, POCKET), row(PANTS, unknown=(POCKET,)), row(POCKET)]))[None]
    targets[0, 2, BELT] = EITHER
    garments, parts = SPACE.layers
    before = targets.clone()
    expected = {
        garments: [[1, 0, 0], [1, 0, 0], [0, EITHER, 0]],
        parts: [[0, 0, 1], [0, 0, UNKNOWN], [0, 0, 1]],
        SPACE.competing: [[0, 0, 1], [1, 0, UNKNOWN], [0, 0, 1]],
    }
    for layer, rows in expected.items():
        assert told_to(layer, targets, SPACE)[0, :, [PANTS, BELT, POCKET]].tolist() == rows
    assert torch.equal(targets, before)
    street = load_label_space("street")
    targets = torch.randint(-2, 2, (2, 5, street.num_masks), dtype=torch.int8)
    assert torch.equal(told_to(street.competing, targets, street), targets)


class Network(torch.nn.Module):
    """Answers the same logits to everything."""

    def __init__(self, logits: torch.Tensor, *, exclusive: bool) -> None:
        super().__init__()
        self.logits, self.exclusive = logits, exclusive
        self.layers = (SPACE.competing,) if exclusive else SPACE.layers

    def dense_train(self, _: torch.Tensor) -> tuple[Dense, Auxiliary]:
        return Dense(self.logits, [self.logits]), Auxiliary([])

    def label_head(self, _: list[torch.Tensor], masks: torch.Tensor) -> torch.Tensor:
        return masks.new_zeros(*masks.shape[:2], L)


def batch() -> Batch:
    """Rows 0-3 nothing, 4-7 pants, 8-11 pants under a pocket, 12-15 a buckle on a belt."""
    segments = np.arange(16, dtype=np.uint8).repeat(16).reshape(16, 16) // 4
    targets = np.stack([row(), row(PANTS), row(PANTS, POCKET), row(BELT, BUCKLE)])
    whole = Region(WHOLE_PHOTO, np.full(L, UNKNOWN, np.int8))
    return collate([place_sample(Sample(np.zeros((16, 16, 3), np.uint8), segments, targets, [whole]), (16, 16))])


def softmax_loss(logits: NDArray[np.float32], layers: list[list[int]], truth: list[list[int | None]]) -> float:
    """Minus the mean log-probability of each row's class in each layer, nobody being 0: one cell at a time."""
    terms = []
    for layer, classes in zip(layers, truth, strict=True):
        for y, k in enumerate(classes):
            for cell in logits[:, y].T:
                odds = {None: 1.0} | {j: float(np.exp(cell[j])) for j in layer}
                terms.append(-np.log(odds[k] / sum(odds.values()) + 1e-6))
    return float(np.mean(terms))


@pytest.mark.parametrize("name", ["cross_entropy", "bootstrapped", "ohem"])
@pytest.mark.parametrize("exclusive", [False, True])
def test_a_pocket_on_trousers_is_both_to_overlapping_masks_and_a_pocket_to_exclusive_ones(
    name: str, exclusive: bool
) -> None:
    logits = np.random.default_rng(0).normal(0, 2, (K, 4, 4)).astype(np.float32)
    everything = {"bootstrapped_share": 1.0, "ohem_share": 1.0}
    loss = Loss(**{"bce": 0, "dice": 0, name: 1, **everything})  # type: ignore[arg-type]
    network: Any = Network(torch.from_numpy(logits)[None], exclusive=exclusive)
    term = JointLoss(network, SPACE, loss)(batch())[name]
    layers: list[list[int]] = [[PANTS, BELT, SKIN], [POCKET, BUCKLE]]
    truth: list[list[int | None]] = [[None, PANTS, PANTS, BELT], [None, None, POCKET, BUCKLE]]
    if exclusive:
        layers, truth = [[PANTS, BELT, POCKET, BUCKLE, SKIN]], [[None, PANTS, POCKET, BUCKLE]]
    assert float(term.mean()) == pytest.approx(softmax_loss(logits, layers, truth), rel=1e-5)


def test_exclusive_areas_know_the_part_that_lies_on_top() -> None:
    """A pocket on trousers is no cell of theirs: who answers so has no dice loss to speak of."""
    right = np.full((K, 4, 4), -30.0, np.float32)
    for y, k in enumerate([None, PANTS, POCKET, BUCKLE]):
        if k is not None:
            right[k, y] = 30.0
    wrong = right.copy()
    wrong[PANTS, 2], wrong[POCKET, 2] = 30.0, -30.0
    for logits, low, high in ((right, 0.0, 1e-3), (wrong, 0.2, 1.0)):
        network: Any = Network(torch.from_numpy(logits)[None], exclusive=True)
        dice = JointLoss(network, SPACE, Loss(bce=0, dice=1))(batch())["dice"].mean()
        assert low <= float(dice) <= high


# -- measuring -----------------------------------------------------------------------------------------------


def dressed(number: int) -> Sample:
    """Rows 16-39 are pants, 24-31 a pocket on them; lines run from side to side, so that cells come back exactly."""
    segments = np.zeros((40, 40), np.uint8)
    segments[16:], segments[24:32] = 1, 2
    targets = np.stack([row(), row(PANTS), row(PANTS, POCKET)])
    return Sample(np.zeros((40, 40, 3), np.uint8), segments, targets, key=f"worn/{number}")


def answering(pocket: float, pants_under: float = 4.0, **at: float) -> Any:
    """Pants as they are, or as much as said under the pocket; the pocket with this logit on its pixels."""
    masks = np.full((K, 10, 10), -4.0, np.float32)
    masks[PANTS, 4:] = 4.0
    masks[PANTS, 6:8] = pants_under
    masks[POCKET] = at.get("elsewhere", -4.0)
    masks[POCKET, 6:8] = pocket

    def answer(pixels: NDArray[np.uint8], valid: NDArray[np.uint8]) -> Answer:
        return Answer(np.stack([masks] * len(pixels)), np.zeros((len(pixels), 1 + K, L), np.float32))

    return answer


EXCLUSIVE = {"recipe": {"masks": "exclusive"}}
SET: Any = Toy([dressed(1), dressed(2)])


def ious(answer: Any, **about: Any) -> tuple[dict[str, float], dict[str, float] | None]:
    report = score(SET, answer, metadata(**about), name="worn")
    of_masks, of_parts = (
        None if masks is None else {c.name: c.iou.value for c in masks.classes}
        for masks in (report.masks, report.part_masks)
    )
    assert of_masks is not None
    return of_masks, of_parts


def test_parts_are_measured_apart() -> None:
    everything = {"background": 1.0, "pants": 1.0}
    assert ious(answering(4.0)) == (everything, {"background": 1.0, "pocket": 1.0})
    assert ious(answering(-4.0)) == (everything, {"background": 0.8, "pocket": 0.0})
    assert ious(answering(4.0, pants_under=-4.0)) == (
        {"background": 16 / 24, "pants": 16 / 24}, {"background": 1.0, "pocket": 1.0},
    )  # fmt: skip


def test_exclusive_masks_are_measured_together() -> None:
    right = {"background": 1.0, "pants": 1.0, "pocket": 1.0}
    assert ious(answering(4.0, pants_under=-4.0), **EXCLUSIVE) == (right, None)
    assert ious(answering(2.0), **EXCLUSIVE) == ({"background": 1.0, "pants": 16 / 24, "pocket": 0.0}, None)


def test_the_report_shows_them_apart() -> None:
    part = score(SET, answering(-4.0), metadata(), name="worn")
    assert part.masks is not None
    assert part.part_masks is not None
    report = Report("w", "worn", (40, 40), "torch", "cpu", False, "all", [part], ())
    tables = {str(table.title).split(",")[0]: table for table in report_table(report)}
    assert list(tables) == ["worn: masks", "worn: masks of parts"]
    assert "Parts compete among themselves" in str(tables["worn: masks of parts"].caption)
    assert "Parts" not in str(tables["worn: masks"].caption)
    assert report.headline == pytest.approx((1.0 + 0.4) / 2)
    assert report.summary()["worn.parts.mean_iou"] == pytest.approx(0.4)
    assert report.to_dict()["sets"][0]["part_masks"]["classes"][1]["name"] == "pocket"


def test_thresholds_are_chosen_layer_by_layer() -> None:
    """A shy pocket under sure trousers: only its own threshold is lowered, since it takes nothing from them."""
    chosen = choose_mask_thresholds(SET, answering(-0.5, elsewhere=-3.0), metadata(), indices=[0, 1])
    assert chosen[POCKET] < 0.378                        # its probability there
    assert [chosen[k] for k in range(K) if k != POCKET] == [0.5] * (K - 1)


def test_networks_decide_as_told(tiny_config: Any) -> None:
    """The graph's own decision: pants stay under a pocket, unless masks are exclusive."""
    for masks, expected in (("overlapping", [[1, 1], [0, 1]]), ("exclusive", [[1, 0], [0, 1]])):
        network = build(replace(tiny_config, masks=masks), SPACE)
        logits = torch.full((1, K, 1, 2), -4.0)
        logits[0, PANTS], logits[0, POCKET, 0, 1], logits[0, EPAULETTE] = 2.0, 4.0, 9.0
        assert network.decide(logits, torch.ones(1, 1, 1, 2))[0, [PANTS, POCKET], 0].tolist() == expected
