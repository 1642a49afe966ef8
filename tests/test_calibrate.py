"""`hemline calibrate`: only the metadata change, and the weights that it writes answer at a precision."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from hemline.calibrate import calibrate
from hemline.checkpoint import load, save
from hemline.cli import app
from hemline.data import DATASETS
from hemline.data.sample import WHOLE_PHOTO, Region
from hemline.errors import ConfigError, WeightsError
from hemline.fitted_scores import USES
from hemline.metadata import read_metadata
from hemline.tagger import Tagger
from hemline.thresholds import NEVER
from tests.exported import small_network
from tests.lines import random_scores
from tests.toy import (
    COAT,
    DOT,
    NUM_LABELS,
    SHOE,
    SPACE,
    STRIPE,
    WINTER,
    Oracle,
    Toy,
    coat_and_shoe,
    logits,
    metadata,
    said,
    striped,
)

PHOTOS = 300


def samples() -> list[Any]:
    """Half of the coats look striped, 9 of 10 of which are; winter is it by chance, whatever the photo looks like."""
    random = np.random.default_rng(0)
    made = []
    for number in range(1, PHOTOS + 1):
        looks = number % 2
        sample = replace(striped(10 + 2 * (number % 20) + looks, looks if random.random() < 0.9 else 1 - looks),
                         key=f"toy/{number}")  # fmt: skip
        sample.regions[1] = Region((2,), said(shoe=1))
        sample.regions.append(Region(WHOLE_PHOTO, said(winter=int(random.random() < 0.5), coat=1, shoe=1)))
        made.append(sample)
    return made


def looks(number: int) -> Any:
    """Surely striped where the number is odd; the photo's winter goes with it."""
    sign = 7.0 if number % 2 else -7.0
    return logits(photo=[5, 5, -9, 0, 0, sign], coat=[0, 0, 0, sign, -sign, 0], shoe=[0] * NUM_LABELS)


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Weights of no network, and the set `toy`, all of which is held out; what runs them is an `Oracle`."""
    monkeypatch.setitem(DATASETS, "toy", lambda path, space: Toy(samples()))
    monkeypatch.setattr("hemline.measured_sets.split_indices", lambda *_: list(range(PHOTOS)))
    monkeypatch.setattr("hemline.tagger.open_runtime", lambda *_, **__: Oracle(looks))
    state = {name: tensor for name, tensor in small_network()[0].state_dict().items() if "label_head" in name}
    save(tmp_path / "toy.safetensors", state, metadata(metrics={"split": "validation"}))
    return tmp_path / "toy.safetensors"


def test_only_the_metadata_change_and_answers_keep_a_precision(weights: Path, tmp_path: Path) -> None:
    done = calibrate(weights, {"toy": None}, tmp_path / "out.safetensors")
    (before, known), (after, now) = load(weights), load(tmp_path / "out.safetensors")
    assert known.weights_sha256 == now.weights_sha256
    assert all((before[name] == after[name]).all() for name in before)
    assert now.scores
    assert now.metrics["split"] == "validation"
    assert now.metrics["calibrated"]["photos"] == {"toy": PHOTOS}
    assert replace(now, scores=None, photo_thresholds=(), label_thresholds=known.label_thresholds,
                   metrics=known.metrics) == known  # fmt: skip

    said_so = {error.use: error for error in done.after}
    assert said_so[USES[1]].error < 0.05 < {error.use: error for error in done.before}[USES[1]].error
    assert [kept.asked for kept in done.kept] == [0.8, 0.9, 0.95] * 3
    stripes = next(kept for kept in done.kept if kept.use == USES[1] and kept.asked == 0.8)
    assert 0.8 <= stripes.precision < 1

    assert now.label_thresholds[COAT] == pytest.approx(now.of_photo[COAT])
    assert now.of_photo[COAT] < NEVER, "always there, so its threshold is the one before, at its new score"
    assert now.of_photo[WINTER] == NEVER, "its score is no better than chance"
    assert now.label_thresholds[STRIPE] < NEVER

    photo = coat_and_shoe(11).photo
    sure = Tagger.load(tmp_path / "out.safetensors", precision=0.8)(photo)
    assert sure.garments == [], "all photos have coats and shoes: nothing says how often that is right"
    usual = Tagger.load(tmp_path / "out.safetensors")(photo)
    stripe = next(x for g in usual.garments for x in g.attributes if x.label == "stripe")
    assert stripe.score == pytest.approx(0.9, abs=0.04)


def test_labels_that_the_photos_do_not_know_keep_their_thresholds(weights: Path, tmp_path: Path) -> None:
    """Above the threshold before is above the threshold now: at the same logits."""
    state, known = load(weights)
    turned = replace(known, scores=random_scores(SPACE), label_thresholds=(0.3, 0.6, 0.5, 0.5, 0.5, 0.7))
    save(weights, state, turned)
    calibrate(weights, {"toy": None}, tmp_path / "out.safetensors")
    now = read_metadata(tmp_path / "out.safetensors")
    assert turned.scores
    assert now.scores
    for channel in (COAT, SHOE):
        odds = np.log(turned.label_thresholds[channel] / (1 - turned.label_thresholds[channel]))
        slope, intercept = turned.scores.photo.weights[channel]
        own = (odds - intercept) / slope
        slope, intercept = now.scores.photo.weights[channel]
        assert now.of_photo[channel] == pytest.approx(1 / (1 + np.exp(-(slope * own + intercept))), abs=1e-5)
    assert now.label_thresholds[DOT] != 0.5


def test_what_cannot_be_is_refused_in_a_sentence(weights: Path, tmp_path: Path) -> None:
    for out in (tmp_path / "out.onnx", tmp_path / "nowhere" / "out.safetensors"):
        with pytest.raises(WeightsError, match=r"a \.safetensors file in a folder"):
            calibrate(weights, {"toy": None}, out)
    with pytest.raises(ConfigError, match="no dataset"):
        calibrate(weights, {}, tmp_path / "out.safetensors")
    with pytest.raises(WeightsError, match="safetensors"):
        calibrate(tmp_path / "toy.onnx", {"toy": None}, tmp_path / "out.safetensors")
    assert not list(tmp_path.glob("out*"))


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)


def test_the_commands(weights: Path, tmp_path: Path) -> None:
    Image.fromarray(coat_and_shoe(11).photo).save(tmp_path / "photo.png")
    bare = run("predict", tmp_path / "photo.png", "--weights", weights, "--precision", "0.8")
    assert bare.exit_code == 2
    assert "hemline calibrate" in bare.stderr
    wrong = run("predict", tmp_path / "photo.png", "--weights", weights, "--precision", "95")
    assert (wrong.exit_code, "between 0 and 1" in wrong.stderr) == (2, True)

    out = tmp_path / "out.safetensors"
    made = run("calibrate", weights, "--data", "toy", "--out", out)
    assert made.exit_code == 0, made.stderr
    assert made.stdout.endswith(f"{out}\n")
    assert "garments found by masks" in made.stdout
    plain = json.loads(run("calibrate", weights, "--data", "toy", "--out", out, "--json").stdout)
    assert {error["use"] for error in plain["after"]} == set(USES)

    sure = run("predict", tmp_path / "photo.png", "--weights", out, "--precision", "0.8", "--json")
    assert "precision 0.8: never said: coat, shoe" in sure.stderr
    assert json.loads(sure.stdout)[0]["garments"] == []
    usual = run("predict", tmp_path / "photo.png", "--weights", out, "--json")
    assert {garment["category"] for garment in json.loads(usual.stdout)[0]["garments"]} == {"coat", "shoe"}
    assert "never said" not in usual.stderr
