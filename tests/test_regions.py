"""The masks of an answer: against a slow reference that looks at one pixel at a time."""

import math
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hemline.labels import load_label_space
from hemline.metadata import Metadata
from hemline.photo import Frame, place, unplace
from hemline.result import read_answer
from tests.answers import (
    BELT,
    COAT,
    DRESS,
    HAIR,
    SLEEVE,
    SPACE,
    Floats,
    K,
    L,
    answer,
    field,
    metadata,
    nothing,
    slow_sigmoid,
)

LAYERS = [[COAT, DRESS, BELT, HAIR], [SLEEVE]]
EXCLUSIVE = [[COAT, DRESS, BELT, SLEEVE, HAIR]]


def slow_logit(p: float) -> float:
    return -math.inf if p == 0 else math.inf if p == 1 else math.log(p / (1 - p))


def parts_of(pixels: set[tuple[int, int]], *, diagonal: bool) -> Iterator[set[tuple[int, int]]]:
    """Connected parts, by flooding."""
    pixels = set(pixels)
    steps = [(a, b) for a in (-1, 0, 1) for b in (-1, 0, 1) if (a, b) != (0, 0) and (diagonal or a * b == 0)]
    while pixels:
        part, edge = set(), [pixels.pop()]
        while edge:
            y, x = edge.pop()
            part.add((y, x))
            near = {(y + a, x + b) for a, b in steps} & pixels
            pixels -= near
            edge.extend(near)
        yield part


def slow_contenders(cells: list[list[float]], thresholds: tuple[float, ...], layer: list[int]) -> set[int]:
    """The classes that win, of the cells where they pass, two fifths of what any other wins; a cell is its K logits."""
    passing: dict[int, list[int]] = {k: [] for k in layer}
    winners: list[set[int]] = []
    for number, cell in enumerate(cells):
        margins = {k: float(np.float32(cell[k]) - np.float32(slow_logit(thresholds[k]))) for k in layer}
        winners.append({k for k in margins if margins[k] > 0 and margins[k] >= max(margins.values())})
        for k, margin in margins.items():
            if margin > 0:
                passing[k].append(number)
    wins = {k: {j: sum(j in winners[n] for n in passing[k]) for j in layer} for k in layer}
    return {k for k in layer if passing[k] and wins[k][k] >= 0.4 * max(wins[k].values())}


def slow_masks(
    full: Floats, thresholds: tuple[float, ...], contenders: set[int]
) -> dict[int, tuple[set[tuple[int, int]], float]]:
    """Category index -> its pixels and score, one pixel at a time."""
    height, width = full.shape[1:]
    every = {(y, x) for y in range(height) for x in range(width)}
    margins: dict[tuple[int, int], float] = {}
    owner: dict[tuple[int, int], int] = {}
    for y, x in every:
        ranked = [(float(full[k, y, x]) - slow_logit(thresholds[k]), -k) for k in contenders]
        best, k = max(ranked, default=(0.0, 0))
        if best > 0:
            owner[y, x], margins[y, x] = -k, best
    for k in contenders:
        parts = list(parts_of({at for at, who in owner.items() if who == k}, diagonal=True))
        least = max(1e-4 * height * width, 0.02 * max(map(len, parts), default=0))
        for at in (at for part in parts if len(part) < least for at in part):
            del owner[at]
    found = {}
    for category in SPACE.categories:
        mine = {at for at, who in owner.items() if who == category.index}
        if not mine:
            continue
        score = sum(slow_sigmoid(margins[at]) for at in mine) / len(mine)
        for hole in parts_of(every - mine, diagonal=False):
            at_border = any(y in (0, height - 1) or x in (0, width - 1) for y, x in hole)
            if not at_border and len(hole) <= 0.01 * len(mine):
                owner.update({at: category.index for at in hole if at not in owner})
        found[category.index] = ({at for at, who in owner.items() if who == category.index}, score)
    return found


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([(37, 26), (20, 44)]), st.booleans(), st.data())
def test_masks_are_those_of_the_slow_reference(
    seed: int, photo_size: tuple[int, int], exclusive: bool, data: st.DataObject
) -> None:
    rng = np.random.default_rng(seed)
    photo = rng.integers(0, 256, (*photo_size, 3), np.uint8)
    canvas = place(photo, (32, 32))
    masks, labels = field(rng, (8, 8), 2.0), rng.normal(-1, 2, (1 + K, L)).astype(np.float32)
    chances = st.sampled_from([0.0, 0.2, 0.5, 0.8, 1.0])
    thresholds = tuple(data.draw(st.lists(chances, min_size=K, max_size=K)))
    meta = replace(metadata(thresholds), recipe={"masks": "exclusive"} if exclusive else {})
    result = read_answer(masks, labels, (32, 32), canvas.frame, meta, photo, name="p")
    frame = canvas.frame
    inside = [
        masks[:, y, x].tolist()
        for y in range(8)
        for x in range(8)
        if 4 * y + 4 > frame.top and 4 * y < frame.top + frame.height
        and 4 * x + 4 > frame.left and 4 * x < frame.left + frame.width
    ]  # fmt: skip
    full = unplace(masks, frame, (32, 32))
    expected: dict[int, tuple[set[tuple[int, int]], float]] = {}
    for layer in EXCLUSIVE if exclusive else LAYERS:
        expected |= slow_masks(full, thresholds, slow_contenders(inside, thresholds, layer))
    shown = {c.name: c.index for c in SPACE.categories if c.shown}
    found = {shown[g.category]: g for g in result.garments_and_parts if g.found_by == "mask"}
    assert set(found) == {k for k in expected if SPACE.categories[k].shown}
    for k, garment in found.items():
        assert garment.mask is not None
        pixels, score = expected[k]
        assert set(zip(*(i.tolist() for i in np.nonzero(garment.mask)), strict=True)) == pixels
        assert garment.score == pytest.approx(score, abs=1e-5)
        assert garment.area == pytest.approx(len(pixels) / (photo_size[0] * photo_size[1]))


def test_speckles_go_to_nobody_and_small_holes_are_filled() -> None:
    masks = nothing(200, 200)
    masks[COAT, 20:180, 20:120] = 3.0
    masks[DRESS, 100, 60:63] = 8.0                               # a speckle of 3 pixels within the coat
    masks[DRESS, 5, 5:8] = 8.0                                   # and one outside, of a dress with no larger part
    masks[COAT, 50:52, 50:52] = -3.0                             # a hole of 4
    masks[BELT, 150:152, 40:100] = 6.0                           # a belt is no hole
    result = answer(masks)
    assert [g.category for g in result.garments] == ["coat", "belt"]
    coat, belt = result.garments
    assert coat.mask is not None
    assert belt.mask is not None
    assert coat.mask.sum() == 160 * 100 - 120
    assert belt.mask.sum() == 120
    assert not (coat.mask & belt.mask).any()
    assert coat.score == pytest.approx(slow_sigmoid(3.0), abs=1e-6)


def test_a_large_photo_does_not_need_a_map_for_every_class() -> None:
    masks = np.full((K, 96, 64), -4.0, np.float32)
    masks[COAT, 20:60, 10:40] = masks[BELT, 61:70, 10:40] = 4.0
    photo = np.zeros((1800, 1200, 3), np.uint8)
    labels = np.full((1 + K, L), -5.0, np.float32)
    one_map = 1800 * 1200 * 4
    tracemalloc.start()
    result = read_answer(masks, labels, (384, 256), place(photo, (384, 256)).frame, metadata(), photo, name="p")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(result.garments) == 2
    assert peak < 5 * one_map


@pytest.mark.parametrize("labels", ["street", "fashionpedia"])
@pytest.mark.parametrize("masks", ["overlapping", "exclusive"])
def test_masks_agree_with_the_networks_own_decision(
    tiny_config: Any, labels: str, masks: Literal["overlapping", "exclusive"]
) -> None:
    import torch

    from hemline.model import build

    space = load_label_space(labels)
    network = build(replace(tiny_config, masks=masks), space)
    rng = np.random.default_rng(0)
    thresholds = rng.uniform(0.2, 0.8, space.num_masks)
    network.set_mask_thresholds(torch.from_numpy(thresholds.astype(np.float32)))
    logits = rng.normal(-1, 2, (space.num_masks, 16, 16)).astype(np.float32)
    decided = network.decide(torch.from_numpy(logits)[None], torch.ones(1, 1, 16, 16))[0].numpy() > 0
    meta = Metadata("s", space, (64, 64), tuple(thresholds.tolist()), (1.0,) * space.num_labels)
    meta = replace(meta, recipe={"masks": masks})
    none = np.full((1 + space.num_masks, space.num_labels), -9.0, np.float32)
    photo = np.zeros((16, 16, 3), np.uint8)
    result = read_answer(logits, none, (16, 16), Frame(0, 0, 16, 16, 16, 16), meta, photo, name="p")
    names = {category.name: category.index for category in space.categories}
    assert len(result.garments_and_parts) > 10
    for garment in result.garments_and_parts:                              # photos this small have no speckles
        assert garment.mask is not None
        np.testing.assert_array_equal(garment.mask, decided[names[garment.category]])
