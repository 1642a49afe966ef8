"""Scores fitted to measured photos: probabilities on photos that the fit has not seen, curves, promises."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from hemline._tally import categories_worn, only_better_than_chance, rows_of
from hemline.data import Dataset
from hemline.data.loading import Source
from hemline.data.sample import WHOLE_PHOTO, Region
from hemline.evaluate import score_network, tally_of
from hemline.fitted_scores import (
    USES,
    Rows,
    calibration_errors,
    chances,
    crossed,
    curves,
    fit_use,
    fitted,
    kept,
    logits_of,
    own_chances,
)
from hemline.metrics import LabelScores
from hemline.model import Output
from hemline.report import SetReport
from hemline.thresholds import NEVER
from tests.toy import (
    CANVAS,
    COAT,
    NUM_LABELS,
    SHOE,
    SPACE,
    STRIPE,
    WINTER,
    Oracle,
    Toy,
    logits,
    metadata,
    picture,
    said,
    striped,
)


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-np.asarray(x, np.float64)))


def too_sure(count: int = 1500, labels: int = 4, seed: int = 0) -> Rows:
    """Logits three times as far from 0 as their truth warrants; each photo has two rows."""
    random = np.random.default_rng(seed)
    odds = random.normal(0, 1.3, (count, labels))
    truth = (random.random((count, labels)) < sigmoid(odds)).astype(np.int8)
    truth[random.random((count, labels)) < 0.1] = -1
    shown = np.ones(labels, np.bool_)
    return Rows([f"label {k}" for k in range(labels)], shown, 3 * odds[..., None], truth, np.arange(count) // 2)


def test_scores_of_photos_that_the_fit_has_not_seen_are_probabilities() -> None:
    rows = too_sure()
    before: Any
    after: Any
    before, after, _ = calibration_errors([rows] * 3, [own_chances(rows), crossed(rows), own_chances(rows)])
    assert (before.use, after.use) == USES[:2]
    assert (before.labels, before.answers) == (4, int((rows.truth >= 0).sum()))
    assert before.error > 0.1
    assert before.mean > 0.1
    assert after.error < 0.025
    assert after.mean < 0.05
    assert fit_use(rows)[:, 0] == pytest.approx(np.full(4, 1 / 3), abs=0.06)


def test_no_photo_is_scored_by_what_was_fitted_to_it() -> None:
    """Turning the truth of one photo over changes the scores of others, and none of its own."""
    rows = too_sure(200)
    truth = rows.truth.copy()
    mine = rows.photo == 7
    truth[mine] = np.where(truth[mine] >= 0, 1 - truth[mine], -1)
    before, after = crossed(rows), crossed(rows._replace(truth=truth))
    np.testing.assert_array_equal(before[mine], after[mine])
    assert (before[~mine] != after[~mine]).any()


def test_a_precision_is_about_kept_on_other_photos() -> None:
    rows = too_sure(4000, 8)
    may = np.ones(8, np.bool_)
    may[7] = False
    for asked in (0.7, 0.8, 0.9):
        found = kept("x", rows, asked, may)
        assert asked - 0.02 < found.precision < asked + 0.07
        assert 6 < found.spoke <= found.labels == 7
        assert found.recall > 0.1
    assert kept("x", rows, 0.9999, may)[2:5] == pytest.approx((np.nan, 0, 0), nan_ok=True)


def test_what_was_not_found_is_missed_and_not_calibrated() -> None:
    rows = too_sure(400, 2)
    gone = rows.photo % 4 == 0
    holes = rows._replace(logits=np.where(gone[:, None, None], np.nan, rows.logits))
    np.testing.assert_allclose(fit_use(holes), fit_use(Rows(rows.names, rows.shown, *(x[~gone] for x in rows[2:]))))
    assert (chances(holes, fit_use(holes))[gone] == 0).all()
    error, *_ = calibration_errors([holes] * 3, [own_chances(holes)] * 3)
    assert error.answers == int((rows.truth[~gone] >= 0).sum())
    found = curves(holes, own_chances(holes), np.array([True, False]))
    assert set(found) == {"label 0"}
    assert found["label 0"].yes == int((rows.truth[:, 0] == 1).sum())
    assert max(point.recall for point in found["label 0"].points) < 0.9


def test_labels_of_few_yes_have_no_curve() -> None:
    rows = too_sure(40, 1)
    few = rows.truth.copy()
    few[np.flatnonzero(few[:, 0] == 1)[4:], 0] = 0
    assert curves(rows._replace(truth=few), own_chances(rows), np.ones(1, np.bool_)) == {}


def test_logits_come_back_from_probabilities() -> None:
    odds = np.array([[-9.0, 0.0, 12.0], [1.0, 2.0, 50.0]])
    found = logits_of(np.vstack([sigmoid(odds), np.zeros(3)]))
    np.testing.assert_allclose(found[:2], np.minimum(odds, 30), atol=1e-6)
    assert np.isnan(found[2]).all()


def test_counted_scores_are_turned_line_by_line() -> None:
    scores = LabelScores(["a", "b"], [0.5, 0.5])
    odds, truth = np.array([[0.3, -2.0], [1.5, 4.0]]), np.array([[1, 0], [0, 1]], np.int8)
    scores.update(sigmoid(odds), truth)
    scores.update(np.zeros((1, 2)), truth[:1])
    scores.rescore(((2.0, 0.5), (0.25, -1.0)))
    np.testing.assert_allclose(
        scores.stacked()[0], np.vstack([sigmoid(odds * [2, 0.25] + [0.5, -1]), np.zeros((1, 2))]), atol=1e-12
    )


# -- what photos say -------------------------------------------------------------------------------------------


def test_what_a_photo_wears_is_told_by_its_labels_and_else_by_its_maps() -> None:
    sample = picture(1, (COAT, slice(8, 24), slice(0, 32)))
    assert categories_worn(sample, SPACE).tolist() == [1, 0, 0]
    sample.regions = [Region(WHOLE_PHOTO, said(coat=0, cape=1)), Region(WHOLE_PHOTO, said(shoe=1), doubt=0.1)]
    assert categories_worn(sample, SPACE).tolist() == [0, 0, 1], "what is doubtful tells nothing"
    bare = replace(sample, targets=np.full((1, 4), -1, np.int8), segments=np.zeros(CANVAS, np.uint8), regions=[])
    assert categories_worn(bare, SPACE).tolist() == [-1, -1, -1]


def test_rows_hold_the_networks_own_logits() -> None:
    """Of the photo, of the garments whose attributes are known, and of the garments that were found."""
    sample = striped(9, 1)
    sample.regions.append(Region(WHOLE_PHOTO, said(coat=1, winter=0)))
    oracle = Oracle(lambda _: logits(photo=[1, 2, 0, 0, 0, 3], coat=[0, 0, 0, 4, 5, 0]), blind=(SHOE,))
    tally = tally_of("toy", Toy([sample]), oracle, metadata(), [0], 1)
    photo, garments, masks = rows_of([tally], SPACE)
    assert photo.logits[0, [COAT, SHOE, WINTER], 0] == pytest.approx([1, 2, 3])
    assert photo.truth[0].tolist() == [1, -1, -1, -1, -1, 0]
    assert garments.logits[0, STRIPE, 0] == pytest.approx(4)
    assert np.isnan(garments.logits[1]).all(), "the shoe was not found"
    assert not garments.shown[:3].any()
    assert masks.names == ["coat", "shoe", "cape"]
    assert masks.truth.tolist() == [[1, 1, 0]]
    assert masks.logits[0, COAT, 1] == 1
    assert 0 < masks.logits[0, COAT, 0] < 5
    assert np.isnan(masks.logits[0, SHOE]).all()


def noisy(count: int = 160, seed: int = 0) -> tuple[list[Any], dict[int, Any]]:
    """Coats of which the label of the photo and the stripes of the garment are said with too much certainty."""
    random = np.random.default_rng(seed)
    samples, answers = [], {}
    for number in range(1, count + 1):
        odds = random.normal(0, 1, 2)
        yes = (random.random(2) < sigmoid(odds)).astype(int)
        sample = replace(striped(number % 250, int(yes[0])), key=f"toy/{number}")
        sample.regions.append(Region(WHOLE_PHOTO, said(winter=int(yes[1]), coat=1)))
        samples.append(sample)
        answers[number] = logits(photo=[5, 0, 0, 0, 0, 4 * odds[1]], coat=[0, 0, 0, 4 * odds[0], -4 * odds[0], 0])
    return samples, answers


def test_a_network_in_training_ends_with_scores_that_are_probabilities() -> None:
    samples, answers = noisy()
    queue = iter(range(1, len(samples) + 1))
    oracle = Oracle()

    class Net(torch.nn.Module):
        def forward(self, pixels: torch.Tensor, valid: torch.Tensor) -> Output:
            masks = oracle(pixels.numpy(), valid.numpy()).masks
            labels = np.stack([answers[next(queue)] for _ in range(len(masks))])
            return Output(torch.from_numpy(masks), torch.from_numpy(labels))

    dataset: Dataset = Toy(samples)
    network: Any = Net()
    about = metadata(data=[{"name": "toy", "terms": "none", "photos": len(samples)}])
    source = Source(dataset, [], np.ones(0), list(range(len(samples))))
    report = score_network(network, [source], about, device=torch.device("cpu"))
    assert report.scores
    assert report.scores.photo.weights[WINTER][0] == pytest.approx(0.25, abs=0.12)
    assert report.scores.garments.weights[STRIPE][0] == pytest.approx(0.25, abs=0.12)
    errors: dict[str, Any] = {error.use: error for error in report.calibration}
    assert errors[USES[0]].mean < 0.1
    assert errors[USES[1]].mean < 0.1
    assert [error.use for error in report.sets[0].calibration] == list(USES)
    assert {"winter"} == set(report.scores.photo.curves), "coats are in all photos: there is nothing to tell"
    assert {"stripe", "dot"} <= set(report.scores.garments.curves)
    assert "scores" not in report.to_dict()
    assert report.to_dict()["calibration"][0]["use"] == USES[0]
    queue = iter(range(1, len(samples) + 1))
    left = score_network(network, [source], about, device=torch.device("cpu"), fit_scores=False)
    assert left.scores is None
    unfitted: dict[str, Any] = {error.use: error for error in left.calibration}
    assert unfitted[USES[0]].mean > 0.12


def of_label(name: str, low: float) -> Any:
    """A report's entry of a label of frequency 0.4."""
    scores = LabelScores([name], [0.5])
    scores.update(np.array([[0.9], [0.1]]), np.array([[1], [0]], np.int8))
    (label,) = scores.compute().labels
    return replace(label, prior=0.4, average_precision=replace(label.average_precision, low=low))


def test_what_is_not_better_than_chance_is_silent_in_each_use() -> None:
    empty = LabelScores([], []).compute()
    photo = replace(empty, labels=[of_label("coat", 0.5), of_label("shoe", 0.4), of_label("winter", 0.3)])
    garments = replace(empty, labels=[of_label("stripe", 0.6), of_label("winter", 0.7), of_label("dot", 0.2)])
    part = SetReport("toy", 4, "", None, photo, garments, 0, [], False, {}, [])
    of_photo, of_garment = only_better_than_chance(((0.3,) * NUM_LABELS, (0.4,) * NUM_LABELS), [part], SPACE)
    #                  coat  shoe   cape   stripe dot    winter
    assert of_garment == (0.3, NEVER, NEVER, 0.4, NEVER, 0.4)
    assert of_photo == (0.3, NEVER, NEVER, 0.4, NEVER, NEVER), "stripes are known of garments alone, winter of photos"


def test_fitting_twice_gives_the_same() -> None:
    rows = too_sure(300, 3)
    uses = rows, rows, rows._replace(logits=np.repeat(rows.logits, 2, 2))
    assert fitted(uses) == fitted(uses)
