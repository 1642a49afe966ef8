"""Scores counted in two parts, one after the other, are those of one count."""

import json
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest

from hemline._answered import MapsAnswer
from hemline._instance_tally import InstanceTally
from hemline._tally import Tally, class_names
from hemline._targets import Targets
from hemline.foreground_iou import ForegroundIoU
from hemline.labels import load_label_space
from hemline.photo import place
from hemline.soft_scores import SoftScores

from .toy import CANVAS, SHOE, SPACE, Oracle, logits, many, metadata


def noisy(number: int) -> Any:
    values = np.random.default_rng(number).normal(0, 3, (3, 6))
    return logits(photo=list(values[0]), coat=list(values[1]), shoe=list(values[2]))


def counted(numbers: range) -> Tally:
    about = metadata()
    tally = Tally(
        "toy", "none", about, soft=SoftScores(class_names(SPACE, about.layers[0])), instances=InstanceTally(SPACE)
    )
    answer, samples = Oracle(noisy, blind=(SHOE,)), many()
    for number in numbers:
        placed = place(samples[number].photo, CANVAS)
        said = answer(placed.pixels[None], placed.valid[None])
        tally.add(samples[number], MapsAnswer(said.masks[0], said.labels[0], placed.frame, about))
    return tally


@pytest.mark.parametrize("first", [0, 7])
def test_a_set_in_two_parts(first: int) -> None:
    whole, tally = counted(range(16)), counted(range(first))
    tally.extend(counted(range(first, 16)))
    asked, report = (json.dumps(asdict(each.report()), default=str) for each in (whole, tally))
    assert report == asked
    assert (tally.photos, tally.missed) == (16, 16)
    assert '"soft": {' in report
    assert '"instances": {' in report


def test_targets_in_two_parts() -> None:
    space = load_label_space("street")
    rng = np.random.default_rng(0)
    whole, *parts = (Targets("clothing_attributes", space) for _ in range(3))
    for photo in range(30):
        scores, truth = rng.random((1, space.num_labels)), rng.integers(-1, 2, (1, space.num_labels)).astype(np.int8)
        for each in (whole, parts[photo >= 12]):
            each.update(scores, truth)
            each._answers.append((["coat"] if photo % 3 else [], {"coat"} if photo % 2 else set()))
    parts[0].extend(parts[1])
    assert str(parts[0].compute()) == str(whole.compute())
    assert len(whole.compute()) == 3


def test_foreground_in_two_parts() -> None:
    rng = np.random.default_rng(0)
    whole, *parts = (ForegroundIoU() for _ in range(3))
    for photo in range(20):
        maps = rng.integers(0, 3, (2, 4, 4)) * (photo % 4 > 0)  # every fourth is empty
        for each in (whole, parts[photo >= 9]):
            each.update(*maps)
    parts[0].extend(parts[1])
    assert str(parts[0].compute()) == str(whole.compute())
    assert whole.compute().empty == 5
