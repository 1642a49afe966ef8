"""Evaluation of both kinds of networks by one path: class maps, attributes of garments, instances, thresholds."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from hemline import evaluate as evaluation
from hemline._answered import InstancesAnswer
from hemline.data import DATASETS
from hemline.data.loading import Source
from hemline.data.sample import PREDICTED, WHOLE_PHOTO, Region, Sample
from hemline.errors import ConfigError
from hemline.evaluate import evaluate, score_network
from hemline.instance_model import InstanceNetwork
from hemline.instances import Vocabulary
from hemline.model import Output
from hemline.photo import place
from hemline.runtime import Detections
from tests.toy import (
    CANVAS,
    COAT,
    NUM_LABELS,
    SHOE,
    SPACE,
    Oracle,
    Toy,
    coat_and_shoe,
    many,
    measure,
    metadata,
    picture,
    right,
    said,
    striped,
    write_weights,
)

FULL = slice(0, 32)
Thing = tuple[int, tuple[float, float, float, float], float, dict[int, float]]
"""Category, box, score, and the logits that are not -5."""


def detections(*things: Thing, photo: dict[int, float] | None = None) -> Detections:
    """Boxes that are full of their garment."""
    rows = np.full((1 + len(things), NUM_LABELS), -5, np.float32)
    for row, said_of in zip(rows, [photo or {}, *(thing[3] for thing in things)], strict=True):
        row[list(said_of)] = list(said_of.values())
    return Detections(
        np.array([thing[1] for thing in things], np.float32).reshape(-1, 4),
        np.array([thing[0] for thing in things], np.int64),
        np.array([thing[2] for thing in things], np.float32),
        np.ones((len(things), 4, 4), np.float32),
        rows,
    )


class Finding:
    """Answers by the photo's number, which is its blue."""

    name, device, dtype = "finding", "cpu", "f32"

    def __init__(self, answer: Callable[[int], Detections]) -> None:
        self.answer = answer

    def find(self, pixels: NDArray[np.uint8], valid: NDArray[np.uint8]) -> list[Detections]:
        assert valid.shape[1:] == CANVAS
        dark = pixels[..., :2].max(-1) < 60
        return [self.answer(int(np.median(photo[where][:, 2]))) for photo, where in zip(pixels, dark, strict=True)]


def perfect(number: int) -> Detections:
    sign = 5.0 if number % 2 else -5.0
    coat = (COAT, (0, 8, 32, 24), 0.9, {3: sign, 4: -sign})
    shoe = (SHOE, (0, 24, 32, 32), 0.8, {5: sign})
    return detections(coat, shoe, photo={COAT: 5, 5: sign})


def found(samples: list[Sample], answer: Callable[[int], Detections], **options: Any) -> evaluation.SetReport:
    return measure(samples, Finding(answer).find, instances=True, **options)


# -- networks that find instances ------------------------------------------------------------------------------------


def test_a_perfect_finder_scores_one_everywhere() -> None:
    part = found(many(), perfect)
    assert part.masks
    assert part.labels
    assert part.garments
    assert part.instances
    assert (part.masks.mean_iou.value, part.masks.pixel_accuracy.value) == (1, 1)
    assert part.garments.mean_average_precision.value == part.labels.mean_average_precision.value == 1
    assert part.garments_missed == 0
    scores = part.instances.summary()
    assert (scores["mask.ap"], scores["box.ap"], scores["mask.f1"], scores["mask.ap_iou_f1"]) == (1, 1, 1, 1)
    assert all(score.ceiling is None for score in part.instances.scores)
    assert all(not score.empty > 0 for score in part.instances.scores if not score.name.endswith("_f1"))


def test_a_pixel_is_the_surest_instance_and_the_unsure_are_nothing() -> None:
    frame = place(coat_and_shoe(1).photo, CANVAS).frame
    both = detections((SHOE, (0, 0, 32, 16), 0.7, {}), (COAT, (0, 8, 32, 32), 0.9, {}), (SHOE, (0, 0, 8, 8), 0.4, {}))
    answer = InstancesAnswer(both, frame, metadata())
    classes = answer.class_map((COAT, SHOE))
    assert (classes[:8] == 2).all()
    assert (classes[8:] == 1).all()
    lower = InstancesAnswer(detections((COAT, (0, 0, 8, 8), 0.4, {})), frame, metadata(instance_scores=(0.3, 0.3, 0.3)))
    assert (lower.class_map((COAT, SHOE))[:8, :8] == 1).all()                # what the weights' thresholds let pass
    unchosen = InstancesAnswer(lower.detections, frame, metadata(finds="instances"))
    assert not unchosen.class_map((COAT, SHOE)).any()
    assert not lower.class_map((SHOE,)).any()
    assert len(answer.found) == 3


def test_attributes_are_those_of_the_instance_that_fits_the_garment() -> None:
    sample = picture(1, (COAT, slice(0, 16), slice(0, 16)), (COAT, slice(16, 32), slice(16, 32)))
    frame = place(sample.photo, CANVAS).frame
    things = detections(
        (COAT, (0, 0, 32, 32), 0.9, {3: 1}),
        (COAT, (0, 0, 16, 15), 0.6, {3: 2}),
        (SHOE, (16, 16, 32, 32), 0.8, {3: 3}),
    )
    answer = InstancesAnswer(things, frame, metadata())

    def row(region: Region, *may_be: int) -> float | None:
        said_of = answer.garment(sample, region, may_be)
        return None if said_of is None else float(said_of.labels[3])

    first, second = (Region((i,), said(coat=1)) for i in (1, 2))
    assert row(first, COAT) == 2
    assert row(second, COAT) == 1                            # the shoe fits better and is no coat
    assert row(second, COAT, SHOE) == 3
    assert row(Region(PREDICTED, said()), COAT, SHOE) == 1   # the largest
    assert row(Region(PREDICTED, said()), SHOE) == 3
    assert row(first, SHOE) is None                          # nothing in common
    strict = InstancesAnswer(things, frame, metadata(instance_scores=(0.7, 0.0, 0.0)))
    best = strict.garment(sample, first, [COAT])
    assert best is not None
    assert best.labels[3] == 1


def test_a_garment_that_no_instance_meets_is_missed() -> None:
    def blind(number: int) -> Detections:
        whole = perfect(number)
        coat = slice(0, 1)
        return Detections(
            whole.boxes[coat], whole.classes[coat], whole.scores[coat], whole.masks[coat], labels=whole.labels[:2]
        )

    part = found([striped(number, number % 2) for number in range(6)], blind)
    assert part.garments_missed == 6
    assert part.instances
    assert part.instances.found == 6
    assert part.instances.summary()["mask.f1"] == pytest.approx(2 * 6 / (6 + 12))


def test_attributes_of_one_number_in_two_groups_are_two() -> None:
    """Stripe and winter both have number 0: who says winter has not said stripe."""
    def winter(number: int) -> Detections:
        return detections((COAT, (0, 8, 32, 24), 0.9, {5: 5.0}), (SHOE, (0, 24, 32, 32), 0.8, {}))

    assert Vocabulary.of(SPACE).attributes == {"stripe": "stripe", 1: "dot", "winter": "winter"}
    samples = [striped(number, 1) for number in (1, 3, 5)]
    for answer, f1 in ((perfect, 1.0), (winter, 0.0)):
        part = found(samples, answer)
        assert part.instances
        coat = next(c for c in part.instances.categories if c.name == "coat")
        assert coat.with_attributes == pytest.approx(f1)


def test_the_prior_answer_has_a_threshold_too() -> None:
    """A shoe at the same place in every photo, a coat in one of four: its F1 is not brought down by coats elsewhere."""
    samples = [picture(n, (SHOE, slice(24, 32), FULL)) for n in (1, 3, 5)]
    samples.append(picture(7, (SHOE, slice(24, 32), FULL), (COAT, slice(0, 8), FULL)))
    for sample in samples:
        sample.regions = [Region((1,), said(shoe=1))]
    samples[3].regions.append(Region((2,), said(coat=1)))
    part = found(samples, lambda _: detections())
    assert part.instances
    f1 = next(score for score in part.instances.scores if score.name == "mask.f1")
    assert f1.prior == pytest.approx(2 * 4 / (5 + 4))
    assert (f1.value, f1.empty) == (0, 0)


# -- networks that draw classes --------------------------------------------------------------------------------------


def two_shoes(number: int) -> Sample:
    """Two shoes far apart, drawn on a map of classes."""
    sample = picture(number, (SHOE, slice(0, 8), FULL))
    sample.segments[24:], sample.photo[24:] = 1, (0, 200, 0)
    sample.regions = [Region((1,), said(shoe=1), merged=True)]
    return sample


def test_connected_parts_are_scored_beside_their_ceiling() -> None:
    part = measure([two_shoes(number) for number in range(1, 7)], instances=True)
    assert part.instances
    assert (part.instances.drawn, part.instances.found) == (12, 12)
    ap = next(score for score in part.instances.scores if score.name == "mask.ap")
    assert (ap.value, ap.ceiling, ap.empty) == (1, 1, 0)
    one = measure([replace(two_shoes(1), regions=[Region((1,), said(shoe=1))])], instances=True).instances
    assert one is not None                                   # drawn as one garment that lies in two places
    ap = next(score for score in one.scores if score.name == "mask.ap")
    assert ap.value == pytest.approx(0.1)                    # half of it is found, at IoU 0.5 alone
    assert ap.ceiling == pytest.approx(0.1)


def test_nothing_is_scored_where_nothing_is_drawn_or_nobody_asks() -> None:
    told = picture(3)
    told.regions = [Region(WHOLE_PHOTO, said(coat=1))]
    assert measure([told], instances=True).instances is None
    assert measure([two_shoes(1)]).instances is None


def test_attributes_that_a_set_does_not_know_are_left_out() -> None:
    def attributes(samples: list[Sample]) -> bool:
        part = measure(samples, Oracle(right), instances=True)
        assert part.instances
        return "mask.ap_iou_f1" in part.instances.summary()

    samples = [striped(number, number % 2) for number in range(1, 9)]
    assert attributes(samples)                               # stripe and dot are known of coats, which carry them
    for sample in samples:
        sample.regions[0].labels[3:] = -1
        sample.regions[1].labels[3:] = -1
    assert not attributes(samples)


# -- files and training ----------------------------------------------------------------------------------------------


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setitem(DATASETS, "toy", lambda path, space: Toy(many()))
    monkeypatch.setattr("hemline.tagger.open_finder", lambda *_, **__: Finding(perfect))
    return write_weights(tmp_path / "toy.safetensors", metadata(finds="instances", instance_scores=(0.85, 0.5, 0.0)))


def test_evaluate_weights_that_find_instances(weights: Path) -> None:
    report = evaluate(weights, {"toy": None}, split="all")
    (part,) = report.sets
    assert (report.finds, report.runtime) == ("instances", "finding")
    assert part.instances
    assert part.instances.summary()["mask.ap"] == part.instances.summary()["mask.f1"] == 1
    assert part.transplant
    assert "find instances" in part.transplant.missing
    assert report.headline == 1
    assert len(report.instance_scores) == len(report.instance_areas) == 3
    json.dumps(report.to_dict(), allow_nan=False)
    json.dumps(report.summary(), allow_nan=False)
    assert evaluate(weights, {"toy": None}, split="all", instances=False).sets[0].instances is None
    for option in ({"flip": True}, {"soft": True}):
        with pytest.raises(ConfigError, match="find instances: leave"):
            evaluate(weights, {"toy": None}, **option)  # type: ignore[arg-type]  # one of several


def test_thresholds_of_the_weights_choose_what_f1_counts(weights: Path) -> None:
    write_weights(weights, metadata(finds="instances", instance_scores=(0.95, 0.5, 0.0)))
    (part,) = evaluate(weights, {"toy": None}, split="all").sets
    assert part.instances
    assert part.instances.summary()["mask.ap"] == 1          # which asks every answer
    assert part.instances.summary()["mask.f1"] == pytest.approx(2 / 3)


def test_a_network_in_training_brings_its_thresholds_and_its_ap() -> None:
    def unsure(number: int) -> Detections:
        whole = perfect(number)
        wrong = detections((COAT, (0, 0, 32, 8), 0.5, {}), (SHOE, (0, 0, 4, 4), 0.6, {}))
        return Detections(
            np.concatenate([whole.boxes, wrong.boxes]),
            np.concatenate([whole.classes, wrong.classes]),
            np.concatenate([whole.scores, wrong.scores]),
            np.concatenate([whole.masks, wrong.masks]),
            np.concatenate([whole.labels, wrong.labels[1:]]),
        )

    class Net(InstanceNetwork):
        def __init__(self) -> None:
            torch.nn.Module.__init__(self)

        def find(self, pixels: NDArray[np.uint8], valid: NDArray[np.uint8]) -> list[Detections]:
            return Finding(unsure).find(pixels, valid)

    dataset = Toy(many() * 4)
    held_out = list(range(len(dataset)))
    about = metadata(finds="instances", data=[{"name": "toy", "terms": "none", "photos": 40}])
    report = score_network(Net(), [Source(dataset, [], np.ones(0), held_out)], about, device=torch.device("cpu"))
    (part,) = report.sets
    assert part.instances
    assert report.instance_scores[:2] == pytest.approx((0.7, 0.7))
    assert report.instance_areas == (0.0, 0.0, 0.0)
    scores = part.instances.summary()
    assert scores["mask.f1"] == 1                            # at these thresholds
    assert scores["mask.ap"] == pytest.approx(1)
    assert part.labels
    assert part.garments
    precisions = [x.mean_average_precision.value for x in (part.labels, part.garments)]
    assert report.headline == pytest.approx((scores["mask.ap"] + np.mean(precisions)) / 2)
    assert report.summary()["toy.mask.ap"] == pytest.approx(1)


def test_the_headline_of_networks_that_draw_classes_is_without_instances() -> None:
    class Net(torch.nn.Module):
        def forward(self, pixels: torch.Tensor, valid: torch.Tensor) -> Any:
            answer = Oracle(right)(pixels.numpy(), valid.numpy())
            return Output(torch.from_numpy(answer.masks), torch.from_numpy(answer.labels))

    network: Any = Net()
    dataset = Toy(many())
    about = metadata(data=[{"name": "toy", "terms": "none", "photos": 40}])
    source = Source(dataset, [], np.ones(0), list(range(len(dataset))))
    report = score_network(network, [source], about, device=torch.device("cpu"))
    assert report.sets[0].instances is None
    assert report.headline == 1
    assert len(report.instance_scores) == len(report.instance_areas) == 3     # for `predict --instances`
    assert 0 < report.instance_scores[0] < 1
    bare = Source(Toy([picture(1)] * 3), [], np.ones(0), [0, 1, 2])
    assert score_network(network, [bare], about, device=torch.device("cpu")).instance_scores == ()
    assert replace(report, finds="instances").headline == 1  # by mean IoU, where no garment is scored
