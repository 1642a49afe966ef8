"""Soft IoU and F1: hand-made cases, a plain loop, and the way through `evaluate` and the report."""

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from rich.console import Console
from typer.testing import CliRunner

from hemline.cli import app
from hemline.data import DATASETS
from hemline.evaluate import evaluate
from hemline.metrics import IGNORED
from hemline.photo import Frame
from hemline.report_tables import report_table
from hemline.soft_scores import SoftScores, chances, soft_scores, squashed, sums
from tests.toy import CANVAS, Oracle, Toy, coat_and_shoe, metadata, write_weights

FULL = Frame(0, 0, 32, 32, 32, 32)


def one_hot(truth: NDArray[np.uint8], num: int) -> NDArray[np.float64]:
    planes: NDArray[np.float64] = (truth == np.arange(num)[:, None, None]).astype(np.float64)
    return planes


def test_half_sure_everywhere() -> None:
    """Two pixels, one of each class, all at one half: overlap 0.5 of 1 + 1 - 0.5, so IoU 1/3 and F1 1/2."""
    truth = np.array([[0, 1]], np.uint8)
    scores = soft_scores(sums(np.full((2, 1, 2), 0.5), truth))
    np.testing.assert_allclose(scores, [[1 / 3, 1 / 3], [1 / 2, 1 / 2]], atol=1e-5)


def test_a_perfect_answer_scores_one_and_absent_classes_too() -> None:
    truth = np.array([[0, 1], [1, 1]], np.uint8)
    np.testing.assert_allclose(soft_scores(sums(one_hot(truth, 3), truth)), 1)    # nothing of class 2: smooth / smooth


def test_a_hint_of_an_absent_class_costs_all_of_it() -> None:
    chance = one_hot(np.zeros((10, 10), np.uint8), 2) * 0.99 + 0.005
    iou, f1 = soft_scores(sums(chance, np.zeros((10, 10), np.uint8)))
    assert iou[1] == pytest.approx(1e-5 / (0.5 + 1e-5))
    assert f1[1] == pytest.approx(1e-5 / (0.5 + 1e-5))


def test_unknown_pixels_count_in_no_sum() -> None:
    truth = np.array([[0, 1, IGNORED]], np.uint8)
    chance = np.array([[[0.75, 0.25, 0.5]], [[0.25, 0.75, 0.5]]])
    np.testing.assert_array_equal(sums(chance, truth), sums(chance[:, :, :2], truth[:, :2]))
    np.testing.assert_array_equal(sums(chance, truth), [[0.75, 0.75], [1, 1], [1, 1]])


def plain(photos: list[tuple[NDArray[np.float64], NDArray[np.uint8]]], num: int) -> tuple[float, float]:
    """The same written out: batches of 8, class by class, pixel by pixel."""
    whole = [photos[i : i + 8] for i in range(0, len(photos), 8)]
    whole = [batch for batch in whole if len(batch) == 8] or whole
    ious, f1s = [], []
    for batch in whole:
        for k in range(num):
            tp = fp = fn = 0.0
            for chance, truth in batch:
                for y, x in np.ndindex(*truth.shape):
                    if truth[y, x] == 255:
                        continue
                    p, t = chance[k, y, x], float(truth[y, x] == k)
                    tp, fp, fn = tp + p * t, fp + p * (1 - t), fn + (1 - p) * t
            ious.append((tp + 1e-5) / (tp + fp + fn + 1e-5))
            f1s.append((2 * tp + 1e-5) / (2 * tp + fp + fn + 1e-5))
    return float(np.mean(ious)), float(np.mean(f1s))


@pytest.mark.parametrize(("number", "counted", "batches"), [(3, 3, 1), (8, 8, 1), (15, 8, 1), (16, 16, 2), (19, 16, 2)])
def test_as_a_plain_loop(number: int, counted: int, batches: int) -> None:
    rng = np.random.default_rng(0)
    collected = SoftScores(["background", "coat", "shoe"])
    photos = []
    for _ in range(number):
        odds = rng.exponential(size=(3, 5, 4))
        truth = rng.choice(np.array([0, 0, 1, 2, IGNORED], np.uint8), (5, 4))
        photos.append((odds / odds.sum(0), truth))
        collected.update(*photos[-1])
    report = collected.compute()
    assert report
    assert (report.photos, report.batches) == (counted, batches)
    assert (report.iou, report.f1) == pytest.approx(plain(photos, 3), abs=1e-12)
    assert report.iou == pytest.approx(np.mean([score.iou for score in report.classes]))
    assert [score.name for score in report.classes] == ["background", "coat", "shoe"]


def test_photos_of_which_nothing_is_known_fill_no_batch() -> None:
    collected = SoftScores(["background", "coat"])
    collected.update(np.full((2, 1, 1), 0.5), np.full((1, 1), IGNORED, np.uint8))
    assert collected.compute() is None


def test_probabilities_are_a_softmax_beside_nobody() -> None:
    logits = np.zeros((2, 8, 8), np.float32)
    logits[0], logits[1] = np.log(2), np.log(5)
    chance = chances(logits, FULL, CANVAS)
    assert chance.shape == (3, 256, 256)
    np.testing.assert_allclose(chance.mean((1, 2)), [1 / 8, 2 / 8, 5 / 8], rtol=1e-6)
    np.testing.assert_allclose(chances(logits + 1000, FULL, CANVAS).sum(0), 1)


def test_maps_are_squashed_whatever_the_photos_shape() -> None:
    """A photo twice as high as wide, on the middle half of the canvas; its upper half is a coat."""
    logits = np.full((1, 8, 8), -20, np.float32)
    logits[0, :4] = 20
    coat = chances(logits, Frame(0, 8, 32, 16, 64, 32), CANVAS)[1]
    assert coat[:112].min() > 0.99
    assert coat[-112:].max() < 0.01
    truth = np.zeros((64, 32), np.uint8)
    truth[:32] = 1
    assert np.array_equal(squashed(truth), (np.arange(256) < 128)[:, None].repeat(256, 1))
    rows = np.repeat(np.arange(256, dtype=np.uint8), 3)[:, None]                  # the middle one of each three
    assert np.array_equal(squashed(rows)[:, 0], np.arange(256))


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    samples = [coat_and_shoe(number) for number in range(1, 18)]
    samples[0].targets[:] = -1                                                    # of this one nothing is known
    monkeypatch.setitem(DATASETS, "toy", lambda path, space: Toy(samples))
    monkeypatch.setattr("hemline.tagger.open_runtime", lambda *_, **__: Oracle())
    return write_weights(tmp_path / "toy.safetensors", metadata())


@pytest.mark.parametrize("batch_size", [1, 5])
def test_evaluate_measures_them_where_asked(weights: Path, batch_size: int) -> None:
    asked = evaluate(weights, {"toy": None}, split="all", batch_size=batch_size, transplant=False, soft=True)
    soft = asked.sets[0].soft
    assert soft
    assert (soft.photos, soft.batches) == (16, 2)
    assert [score.name for score in soft.classes] == ["background", "coat", "shoe", "hair"]
    by_name = {score.name: score for score in soft.classes}
    assert 0.9 < by_name["coat"].iou < by_name["coat"].f1 < 0.99        # right everywhere, and not quite sure
    assert by_name["hair"].iou < 1e-6
    assert asked.sets[0].masks
    assert asked.sets[0].masks.mean_iou.value == 1
    console = Console(width=100)
    with console.capture() as captured:
        for table in report_table(asked):
            console.print(table)
    text = " ".join(captured.get().split())
    for words in ("toy: soft IoU and F1, 16 photos (all)", "mean of 4", "the mean of 2 batches"):
        assert words in text
    assert json.loads(json.dumps(asked.to_dict()))["sets"][0]["soft"]["f1"] == soft.f1


def test_nothing_is_said_of_them_unless_asked(weights: Path) -> None:
    report = evaluate(weights, {"toy": None}, split="all", transplant=False)
    assert report.sets[0].soft is None
    assert not [table for table in report_table(report) if "soft" in str(table.title)]


def test_a_set_that_cannot_be_scored_says_so(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One photo, of which nothing is known."""
    unknown = coat_and_shoe(1)
    unknown.targets[:] = -1
    monkeypatch.setitem(DATASETS, "toy", lambda path, space: Toy([unknown]))
    command = ["evaluate", str(weights), "--data", "toy", "--split", "all", "--no-transplant", "--json"]
    for more, said in (([], False), (["--protocol", "seed3"], True)):
        ran = CliRunner().invoke(app, [*command, *more], catch_exceptions=False)
        assert ran.exit_code == 0, ran.stderr
        assert ("toy: no pixel's class is known" in " ".join(ran.stderr.split())) == said


def test_the_command_line_asks_by_name(weights: Path) -> None:
    command = ["evaluate", str(weights), "--data", "toy", "--split", "all", "--no-transplant", "--json"]
    for more, there in (([], False), (["--protocol", "seed3"], True)):
        ran = CliRunner().invoke(app, [*command, *more], catch_exceptions=False)
        assert ran.exit_code == 0, ran.stderr
        assert bool(json.loads(ran.stdout)["sets"][0]["soft"]) == there
    assert CliRunner().invoke(app, [*command, "--protocol", "seed4"]).exit_code == 2
