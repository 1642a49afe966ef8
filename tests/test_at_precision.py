"""Scores in the weights, and thresholds for a precision that is asked for."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hemline.at_precision import at_precision
from hemline.errors import ConfigError, WeightsError
from hemline.fitted_scores import curve as measured
from hemline.metadata import Metadata
from hemline.scores import Scores, grown
from hemline.tagger import Tagger
from hemline.thresholds import NEVER
from tests.lines import as_said, curve, random_scores
from tests.toy import (
    COAT,
    NUM_LABELS,
    SPACE,
    STRIPE,
    WINTER,
    Oracle,
    coat_and_shoe,
    logits,
    metadata,
)

SURE = curve((0.9, 1.0, 0.5), (0.6, 0.97, 0.8), (0.3, 0.7, 1.0))
"""95 of 97 answers are promised from 0.6 on, and no more than 0.7 below."""
SHAKY = curve((0.8, 0.6, 0.2), (0.2, 0.5, 1.0))


# -- curves ---------------------------------------------------------------------------------------------------


def test_few_right_answers_promise_little() -> None:
    """Laplace: r right of n promise (r + 1) / (n + 2), so 18 right ones without a wrong one promise 0.95."""
    assert curve((0.5, 1.0, 1.0), yes=18).threshold(0.95) == 0.5
    assert curve((0.5, 1.0, 1.0), yes=17).threshold(0.95) is None
    assert curve((0.9, 1.0, 0.1), (0.7, 0.9, 0.9), yes=100).threshold(0.9) == 0.9     # 91 / 102 is below 0.9
    assert curve((0.9, 1.0, 0.1), (0.7, 0.9, 0.9), yes=100).threshold(0.89) == 0.7
    assert curve((0.9, 0.0, 0.0), yes=5).threshold(0.1) is None


def test_the_lowest_score_that_promises_it() -> None:
    assert SURE.threshold(0.95) == 0.6
    assert SURE.threshold(0.5) == 0.3
    assert SURE.threshold(0.97) == 0.9
    assert SURE.threshold(0.99) is None


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 300), st.sampled_from([0.05, 0.3, 0.5, 0.8, 0.9, 0.95, 0.99]))
def test_nothing_is_promised_that_the_photos_do_not_show(seed: int, count: int, precision: float) -> None:
    """Of the very answers that the curve was measured on, at least the share that is asked for is right."""
    random = np.random.default_rng(seed)
    yes = random.random(count) < random.random()
    scores = np.clip(random.normal(0.4, 0.3, count) + 0.3 * yes, 0, 1).round(random.integers(1, 7))
    found = measured(scores, yes)
    assert len(found.points) <= 33
    threshold = found.threshold(precision)
    if threshold is not None:
        said = scores >= threshold
        assert yes[said].mean() >= precision
        assert (yes[said].sum() + 1) / (said.sum() + 2) >= precision - 1e-5
    for point in found.points:
        said = scores >= point.score
        assert point.recall == pytest.approx(yes[said].sum() / yes.sum(), abs=1e-6)
        assert point.precision == pytest.approx(yes[said].mean(), abs=2e-6)


# -- thresholds ------------------------------------------------------------------------------------------------


def sure_weights(**changes: Any) -> Metadata:
    scores = as_said(
        SPACE,
        photo={"coat": SURE, "shoe": SHAKY, "winter": SURE, "cape": SURE},
        garments={"stripe": SURE, "dot": SHAKY, "winter": SHAKY},
        masks={"coat": SURE},
    )
    return metadata(**{"scores": scores} | changes)


def test_thresholds_are_those_of_the_curves() -> None:
    about, silent = at_precision(sure_weights(), 0.95)
    assert about.photo_thresholds == (0.6, NEVER, 0.6, NEVER, NEVER, 0.6)
    assert about.label_thresholds == (0.6, NEVER, 0.6, 0.6, NEVER, NEVER)
    assert about.garment_thresholds == (0.6, NEVER, NEVER)
    assert silent.masks == ("shoe",), "the cape is hidden: nobody misses it"
    assert silent.garments == ("dot", "winter")
    assert silent.photo == ("shoe", "stripe", "dot")
    assert silent.altogether == ("shoe", "dot")


def test_what_weights_never_say_is_not_said_for_a_precision() -> None:
    never = (NEVER,) * NUM_LABELS
    about, silent = at_precision(sure_weights(label_thresholds=never), 0.5)
    assert set(about.photo_thresholds) == set(about.label_thresholds) == {NEVER}
    assert silent.garments == silent.photo == ()
    assert silent.masks == silent.altogether == ("shoe",), "it was known by its mask, and has no curve"


@pytest.mark.parametrize("precision", [0.0, 1.0, -1.0, 1.5, float("nan")])
def test_what_is_no_precision_is_refused(precision: float) -> None:
    with pytest.raises(ConfigError, match="between 0 and 1"):
        at_precision(sure_weights(), precision)


def test_weights_without_curves_say_how_to_get_them() -> None:
    weights = sure_weights()
    assert weights.scores
    for scores in (None, weights.scores.without_curves()):
        with pytest.raises(ConfigError, match="hemline calibrate"):
            Tagger(Oracle(), metadata(scores=scores), precision=0.9)


# -- answers ---------------------------------------------------------------------------------------------------


def answer(about: Metadata, rows: dict[str, Any], precision: float | None = None) -> Any:
    tagger = Tagger(Oracle(lambda _: logits(**rows)), about, precision=precision)
    return tagger, tagger(coat_and_shoe(10).photo)


def test_a_precision_silences_what_cannot_reach_it() -> None:
    """Coat and shoe are drawn at 0.95, sure in logits; the coat is striped, winter it is by the photo's label."""
    said: dict[str, Any] = {"photo": [3, 3, -9, 3, 3, 3], "coat": [0, 0, 0, 3, 2, 3], "shoe": [0, 0, 0, 0, 0, 3]}
    _, usual = answer(sure_weights(), said)
    assert {g.category: {x.label for x in g.attributes} for g in usual.garments} == {
        "coat": {"stripe", "winter"}, "shoe": {"winter"}
    }  # fmt: skip
    tagger, sure = answer(sure_weights(), said, 0.95)
    assert {g.category: {x.label for x in g.attributes} for g in sure.garments} == {"coat": {"stripe"}}
    assert {x.label for x in sure.labels} == {"coat", "winter"}, "the photo's winter has a curve that promises it"
    assert tagger.silent.altogether == ("shoe", "dot")
    _, low = answer(sure_weights(), said | {"coat": [0, 0, 0, 0.3, 0.2, 3]}, 0.95)
    assert [g.attributes for g in low.garments] == [[]], "0.57 is below 0.6"


def test_at_a_precision_no_garment_is_known_by_its_label_alone() -> None:
    """Drawn at 0.95 and half right by its line, the coat is not answered, though the photo's label is sure of it."""
    weights = sure_weights()
    assert weights.scores
    shy = replace(weights.scores, masks=replace(weights.scores.masks, weights=((0.1, 0.0, 0.0),) * 3))
    said: dict[str, Any] = {"photo": [9, -9, -9, 0, 0, 0]}
    _, sure = answer(sure_weights(scores=shy), said, 0.95)
    assert sure.garments == []
    assert [x.label for x in sure.labels if x.group == "category"] == []
    coat = next(g for g in answer(sure_weights(scores=shy), said)[1].garments if g.category == "coat")
    assert coat.score == pytest.approx(1 / (1 + np.exp(-0.1 * np.log(0.95 / 0.05))), abs=0.02)
    blind = Tagger(Oracle(lambda _: logits(**said), blind=(COAT,)), sure_weights())(coat_and_shoe(10).photo)
    assert ("coat", "label") in {(g.category, g.found_by) for g in blind.garments}, "without a precision it is"


def test_scores_are_turned_once_each_by_its_own_line() -> None:
    scores = random_scores(SPACE)
    said = {"photo": [1.5, -9, -9, 0, 0, 0.5], "coat": [0, 0, 0, 0.4, -3, 1.2]}
    about = metadata(scores=scores, label_thresholds=(0.0,) * NUM_LABELS)
    _, result = answer(about, said)
    coat = next(g for g in result.garments if g.category == "coat")

    def chance(odds: float) -> float:
        return float(1 / (1 + np.exp(-odds)))

    slope, intercept = scores.photo.weights[COAT]
    assert next(x.score for x in result.labels if x.label == "coat") == pytest.approx(chance(1.5 * slope + intercept))
    attributes = {x.label: x.score for x in coat.attributes}
    for name, index, value in (("stripe", STRIPE, 0.4), ("winter", WINTER, 1.2)):
        slope, intercept = scores.garments.weights[index]
        assert attributes[name] == pytest.approx(chance(value * slope + intercept), abs=1e-6)
    _, as_drawn = answer(metadata(), said)
    own = next(g for g in as_drawn.garments if g.category == "coat").score
    slope, of_label, intercept = scores.masks.weights[COAT]
    assert coat.score == pytest.approx(chance(slope * np.log(own / (1 - own)) + of_label * 1.5 + intercept), abs=1e-5)


def test_pieces_and_whole_garments_are_turned_alike() -> None:
    about = metadata(scores=random_scores(SPACE))
    photo = coat_and_shoe(10).photo
    pieces, whole = (
        Tagger(Oracle(lambda _: logits(photo=[1, 1, 0, 0, 0, 0])), about, instances=instances)(photo).garments
        for instances in (True, False)
    )
    assert [garment.score for garment in pieces] == pytest.approx([garment.score for garment in whole], abs=1e-5)


# -- in the weights --------------------------------------------------------------------------------------------


def test_scores_come_back_from_json() -> None:
    about = sure_weights(photo_thresholds=(0.25,) * NUM_LABELS)
    assert Metadata.from_json(about.to_json()) == about
    turned = metadata(scores=random_scores(SPACE))
    assert Metadata.from_json(turned.to_json()) == turned


def test_older_files_answer_as_before() -> None:
    """A file that knows nothing of scores: its answer is that of one thresholds alone read, to the last bit."""
    told = json.loads(metadata().to_json())
    for key in ("scores", "photo_thresholds", "garment_thresholds"):
        del told[key]
    older = Metadata.from_json(json.dumps(told))
    assert (older.scores, older.photo_thresholds, older.of_photo) == (None, (), older.label_thresholds)
    said = {"photo": [1, 2, -9, 1, 0, 2], "coat": [0, 0, 0, 1, 2, 3]}
    _, result = answer(older, said)
    coat = next(g for g in result.garments if g.category == "coat")
    assert {x.label: x.score for x in coat.attributes} == {
        "dot": float(0.5 + 0.5 * np.tanh(np.float32(1))), "winter": float(0.5 + 0.5 * np.tanh(np.float32(1.5)))
    }  # fmt: skip
    assert 0.5 < coat.score < 1


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda s: s["photo"]["weights"].pop(), "photo must have 6 times 2 weights"),
        (lambda s: s["garments"]["weights"][0].append(1.0), "garments must have 6 times 2 weights"),
        (lambda s: s["masks"]["weights"][0].__setitem__(0, 0.0), "the first above 0"),
        (lambda s: s["photo"]["weights"][0].__setitem__(0, -1.0), "the first above 0"),
        (lambda s: s["photo"]["curves"].update(x=s["photo"]["curves"]["coat"]), "a curve of 'x'"),
        (lambda s: s["photo"]["curves"]["coat"]["points"].append([2, 0, 0]), "leaves 0 to 1"),
        (lambda s: s["photo"]["curves"]["coat"].pop("yes"), "damaged"),
        (lambda s: s["photo"].update(curves=[]), "damaged"),
        (lambda s: s.pop("masks"), "damaged"),
    ],
)
def test_damaged_scores_are_refused_in_a_sentence(spoil: Any, said: str) -> None:
    told = json.loads(sure_weights().to_json())
    spoil(told["scores"])
    with pytest.raises(WeightsError, match=said):
        Metadata.from_json(json.dumps(told))


def test_labels_that_are_taught_later_stay_as_the_network_says_them() -> None:
    group = SPACE.groups[1]
    new = replace(group.labels[0], index=NUM_LABELS, name="summer", id=1)
    more = replace(SPACE, groups=(SPACE.groups[0], replace(group, labels=(*group.labels, new))))
    before: Scores = random_scores(SPACE)
    after = grown(before, SPACE, more)
    after.check(more)
    assert after.photo.weights[:NUM_LABELS] == before.photo.weights
    assert after.garments.weights[NUM_LABELS] == (1.0, 0.0)
    assert after.masks == before.masks
