"""The transplant test, of answers whose worth is known in advance."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from rich.console import Console

from hemline import transplant
from hemline.data.sample import WHOLE_PHOTO, Region, Sample
from hemline.data.synthetic import Synthetic
from hemline.errors import WeightsError
from hemline.evaluate import evaluate, score
from hemline.labels import LabelSpace, load_label_space
from hemline.metadata import Metadata, read_metadata
from hemline.report import Report
from hemline.report_tables import report_table
from hemline.runtime import Answer
from hemline.transplant import (
    CHECK,
    DOT,
    MIN_SHARE,
    PATTERNS,
    PLAIN,
    STRIPE,
    Fabric,
    GarmentScorer,
    Transplant,
    TransplantReport,
    garments,
)
from tests.exported import CANVAS, copied, small_network
from tests.toy import SPACE as TOY

SPACE = load_label_space("street")
LABEL = {label.name: label.index for label in SPACE.labels}
CLASS = {name: k for k, name in enumerate(SPACE.mask_names)}
CARRIERS = {label.name: label.carried_by for label in SPACE.labels}[PLAIN]

# -- which garments ------------------------------------------------------------------------------------------


def row(*names: str) -> NDArray[np.int8]:
    target = np.zeros(SPACE.num_masks, np.int8)
    target[[CLASS[name] for name in names]] = 1
    return target


def said(**known: int) -> NDArray[np.int8]:
    labels = np.full(SPACE.num_labels, -1, np.int8)
    for name, value in known.items():
        labels[LABEL[name]] = value
    return labels


def dressed(number: int, *categories: str, height: int = 30) -> Sample:
    """A photo with bands of garments, each its own segment."""
    segments = np.zeros((120, 60), np.uint8)
    for i in range(len(categories)):
        segments[height * i : height * (i + 1), 5:55] = i + 1
    regions = [Region(WHOLE_PHOTO, said()), *(Region((i + 1,), said()) for i in range(len(categories)))]
    photo = np.full((120, 60, 3), 90, np.uint8)
    return Sample(photo, segments, np.stack([row(), *(row(c) for c in categories)]), regions, key=f"toy/{number}")


def test_which_garments_are_repainted() -> None:
    sample = dressed(1, "coat", "pants", "shirt, blouse", "shoe")
    assert [region.segments for region in garments(sample, SPACE)] == [(1,), (3,)]  # pants and shoes carry no pattern
    sample.targets[1] = row("coat", "dress")                                     # one of two
    assert [region.segments for region in garments(sample, SPACE)] == [(3,)]
    sample.segments[sample.segments == 3] = 0
    sample.segments.flat[: int(MIN_SHARE * sample.segments.size) - 1] = 3        # too small
    assert garments(sample, SPACE) == []
    assert garments(dressed(1, "coat"), TOY) == []                               # no such labels


# -- verdicts ------------------------------------------------------------------------------------------------

CODES = {PLAIN: 10, STRIPE: 20, CHECK: 30, DOT: 40}
"""What `repaint` is made to leave on a garment."""


@pytest.fixture
def codes(monkeypatch: pytest.MonkeyPatch) -> None:
    def stamp(photo: NDArray[np.uint8], mask: NDArray[np.bool_], cloth: Fabric) -> NDArray[np.uint8]:
        return np.where(mask[..., None], np.uint8(CODES[cloth.pattern]), photo)

    monkeypatch.setattr(transplant, "repaint", stamp)


def truthful(sample: Sample, photos: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float64]]:
    """Reads each garment's own stamp."""
    scores = np.full((len(photos), len(sample.regions), SPACE.num_labels), 0.1)
    for p, photo in enumerate(photos):
        for r, region in enumerate(sample.regions):
            stamp = int(np.median(photo[np.isin(sample.segments, region.segments)]))
            for name, code in CODES.items():
                scores[p, r, LABEL[name]] = 0.9 if stamp == code else 0.1
    return list(scores)


def of_the_photo(sample: Sample, photos: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float64]]:
    """Says of every garment what is true of any."""
    return [np.broadcast_to(rows.max(0), rows.shape) for rows in truthful(sample, photos)]


def constant(sample: Sample, photos: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float64]]:
    return [np.full((len(sample.regions), SPACE.num_labels), 0.7)] * len(photos)


def measured(score: transplant.Score, *samples: Sample, space: LabelSpace = SPACE) -> TransplantReport | None:
    test = Transplant(space, score)
    for sample in samples:
        test.add(sample)
    return test.report()


TWO = [dressed(n, "coat", "shirt, blouse") for n in range(20)]
ONE = [dressed(n, "dress", "shoe") for n in range(20, 30)]


@pytest.mark.usefixtures("codes")
def test_who_tells_the_truth_passes() -> None:
    report = measured(truthful, *TWO, *ONE)
    assert report
    assert (report.photos, report.garments) == (30, 50)
    *parts, total = report.patterns
    assert [part.pattern for part in parts] == list(PATTERNS)
    assert sum(part.trials for part in parts) == total.trials == 100   # a pair of patterns each
    assert min(part.trials for part in parts) > 10
    assert total.beside == 80                                          # the dress has nothing beside it
    for part in report.patterns:
        assert (part.passed.value, part.passed.low, part.rose, part.stayed, part.passed_beside) == (1, 1, 1, 1, 1)


@pytest.mark.usefixtures("codes")
def test_who_answers_of_the_photo_fails_on_the_others() -> None:
    report = measured(of_the_photo, *TWO, *ONE)
    assert report
    total = report.patterns[-1]
    assert (total.rose, total.stayed, total.passed_beside) == (1, 0, 0)
    assert total.passed.value == 20 / 100                              # where there are no others
    assert total.passed.low < 0.2 < total.passed.high


@pytest.mark.usefixtures("codes")
def test_who_always_says_the_same_fails_on_the_rise() -> None:
    report = measured(constant, *TWO)
    assert report
    total = report.patterns[-1]
    assert (total.passed.value, total.rose, total.stayed) == (0, 0, 1)


@pytest.mark.usefixtures("codes")
@pytest.mark.parametrize(("leak", "stayed"), [(0.099, 1), (0.101, 0)])
def test_how_much_the_others_may_move(leak: float, stayed: int) -> None:
    def leaking(sample: Sample, photos: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float64]]:
        rows = truthful(sample, photos)
        return [own + leak * (own.max(0) > 0.5) * (own < 0.5) for own in rows]

    report = measured(leaking, *TWO)
    assert report
    assert report.patterns[-1].stayed == stayed


@pytest.mark.usefixtures("codes")
def test_the_score_is_that_of_the_painted_label() -> None:
    def swapped(sample: Sample, photos: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float64]]:
        rows = np.stack(truthful(sample, photos))
        rows[..., [LABEL[STRIPE], LABEL[DOT]]] = rows[..., [LABEL[DOT], LABEL[STRIPE]]]
        return list(rows)

    report = measured(swapped, *TWO)
    assert report
    assert {part.pattern: part.rose for part in report.patterns[:-1]} == {PLAIN: 1, STRIPE: 0, CHECK: 1, DOT: 0}


@pytest.mark.usefixtures("codes")
def test_plain_rises_from_another_pattern() -> None:
    def all_plain(sample: Sample, photos: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float64]]:
        rows = truthful(sample, photos)
        rows[0][:, LABEL[PLAIN]] = 0.99                                # as most photos are
        return rows

    report = measured(all_plain, *TWO)
    assert report
    assert report.patterns[0].pattern == PLAIN
    assert report.patterns[0].passed.value == 1


@pytest.mark.usefixtures("codes")
def test_a_pattern_that_is_there_already_is_not_tried() -> None:
    samples = [dressed(n, "coat") for n in range(30)]
    for sample in samples:
        sample.regions[1] = Region((1,), said(stripe=1))
    report = measured(truthful, *samples)
    assert report
    assert [part.pattern for part in report.patterns] == [PLAIN, CHECK, DOT, "all"]


def test_a_photo_is_repainted_in_one_way() -> None:
    seen: list[NDArray[np.uint8]] = []

    def watch(sample: Sample, photos: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float64]]:
        seen.append(np.stack(photos))
        return constant(sample, photos)

    test = Transplant(SPACE, watch)
    for sample in (TWO[0], TWO[1], TWO[0]):                            # whatever came before it
        test.add(sample)
    Transplant(SPACE, watch, seed=1).add(TWO[0])
    assert len(seen[0]) == 1 + 2 * 2
    np.testing.assert_array_equal(seen[0], seen[2])
    assert (seen[0] != seen[3]).any()
    changed = [(photo != seen[0][0]).any(-1) for photo in seen[0][1:]]
    assert all((TWO[0].segments[where] == s).mean() > 0.9 for where, s in zip(changed, (1, 1, 2, 2), strict=True))


def test_what_cannot_be_tested() -> None:
    assert measured(truthful, dressed(1, "shoe")) is None
    assert measured(truthful, *TWO, space=TOY) is None

    def gone(*_: object) -> list[NDArray[np.float64]]:
        raise WeightsError("no .safetensors file lies beside it")

    assert measured(gone, *TWO) == TransplantReport(0, 0, [], "no .safetensors file lies beside it")


# -- the network, and the whole of evaluate ------------------------------------------------------------------


def test_scores_are_pooled_under_the_true_masks(tmp_path: Path) -> None:
    path = copied(tmp_path, ".safetensors")
    network, about = small_network()
    score = GarmentScorer(path, about, "cpu")
    drawn = Synthetic(None, SPACE, canvas=CANVAS)[2]                   # two people
    sample = replace(drawn, regions=[region for region in drawn.regions if region.drawn])
    photos = [sample.photo, np.ascontiguousarray(sample.photo[..., ::-1])]
    found = score(sample, photos)
    size = CANVAS[0] // 4, CANVAS[1] // 4
    masks = np.stack([(np.isin(sample.segments, region.segments)) for region in sample.regions]).astype(np.float32)
    cells = torch.from_numpy(masks).unflatten(1, (size[0], 4)).unflatten(3, (size[1], 4)).mean((2, 4))
    for photo, rows in zip(photos, found, strict=True):
        with torch.inference_mode():
            maps = network.dense(torch.from_numpy(photo[None])).maps
            expected = torch.sigmoid(network.label_head(maps, cells[None])[0])
        np.testing.assert_allclose(rows, expected.numpy(), atol=0.002)  # the file holds half precision
    assert np.ptp(found[0], axis=0).max() > 0.02                       # each garment is answered of itself


def measured_drawings(weights: Path, *, transplant: bool = True) -> Report:
    assert read_metadata(weights).canvas == CANVAS
    return evaluate(weights, {"synthetic": None}, split="all", limit=12, transplant=transplant)


def text_of(report: Report) -> str:
    console = Console(width=100)
    with console.capture() as captured:
        for table in report_table(report):
            console.print(table)
    return captured.get()


def test_evaluate_reports_it_of_drawn_photos(tmp_path: Path) -> None:
    report = measured_drawings(copied(tmp_path, ".onnx", ".safetensors"))
    test = report.sets[0].transplant
    assert test
    assert test.missing == ""
    assert 6 <= test.photos <= 12
    total = test.patterns[-1]
    assert test.garments < total.trials <= 2 * test.garments           # what is there already is left out
    assert 0 < total.beside < total.trials
    assert 0.2 < total.rose < 0.8                                      # random weights
    json.dumps(report.to_dict(), allow_nan=False)
    text = text_of(report)
    assert f"synthetic: transplant, {test.garments} garments of {test.photos} photos" in text
    assert "…" not in text


def test_evaluate_goes_without(tmp_path: Path) -> None:
    report = measured_drawings(copied(tmp_path, ".onnx"), transplant=False)
    assert report.sets[0].transplant is None
    assert "transplant" not in text_of(report)


def test_evaluate_says_why_it_is_missing(tmp_path: Path) -> None:
    report = measured_drawings(copied(tmp_path, ".onnx"))
    test = report.sets[0].transplant
    assert test
    assert test.patterns == []
    assert "Not made:" in text_of(report)
    assert "no .safetensors file lies beside it; put small.safetensors there" in " ".join(test.missing.split())


@pytest.mark.parametrize("right", [True, False])
def test_attributes_of_drawn_garments_are_measured_exactly(right: bool) -> None:
    dataset = Synthetic(None, SPACE, count=720, canvas=(96, 64))
    flat = list(range(1, 720, 4))                                      # a garment each, large
    queue = iter(flat)

    def answer(pixels: NDArray[np.uint8], valid: NDArray[np.uint8]) -> Answer:
        """What is drawn, or what is drawn on the other garments: of each class, as it is seen at stride 4."""
        masks = np.full((len(pixels), SPACE.num_masks, 24, 16), -4, np.float32)
        labels = np.zeros((len(pixels), 1 + SPACE.num_masks, SPACE.num_labels), np.float32)
        for i in range(len(pixels)):
            sample = dataset[next(queue)]
            (garment,) = (region for region in sample.regions if region.drawn)
            k = int(sample.targets[garment.segments[0]].argmax())
            masks[i, k] = np.where(np.isin(sample.segments[2::4, 2::4], garment.segments), 4, -4)
            labels[i, :] = -3 * (2 * garment.labels - 1)               # of all that is not this garment, the opposite
            labels[i, 1 + k] *= -1 if right else 1
        return Answer(masks, labels)

    about = Metadata("", SPACE, (96, 64), (0.5,) * SPACE.num_masks, (0.5,) * SPACE.num_labels)
    report = score(dataset, answer, about, name="synthetic", indices=flat)
    assert report.garments
    assert report.garments_missed == 0
    figures = {label.name: label for label in report.garments.labels}
    drawn = [garment for i in flat for garment in dataset.garments(i)]
    assert len(drawn) == len(flat)
    for name in PATTERNS:
        yes = sum(name in g.attributes and g.category in CARRIERS for g in drawn)
        known = sum("textile pattern" in g.answers and g.category in CARRIERS for g in drawn)
        assert (figures[name].positives, figures[name].known) == (yes, known)
        assert 0 < yes < known
    assert {label.average_precision.value == 1 for label in report.garments.labels} == {right}
    assert {label.f1.value for label in report.garments.labels} == {float(right)}
