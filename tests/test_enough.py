"""Whether photos were enough: the fit, the dealing, and verdicts where the truth is known."""

import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from hemline.enough import RIDGE, Rows, best_answer, deal, fit_rows, judge
from hemline.thresholds import NEVER


def rows(yes, signal, seed=0, each=2, width=24):
    """Rows of groups that say `yes` (G, M); the first features hold each label's truth, `signal` strong."""
    random = np.random.default_rng(seed)
    groups, labels = np.repeat(np.arange(len(yes)), each), np.repeat(yes, each, axis=0)
    features = random.normal(size=(len(groups), width))
    features[:, : yes.shape[1]] += signal * (labels == 1)
    whole = np.tile(np.arange(each) == 0, len(yes))
    tensors = [torch.from_numpy(x) for x in (features, labels.astype(np.int8), groups, groups, whole)]
    return Rows(tensors[0].half(), *tensors[1:])


def test_the_fit_is_that_of_another_library():
    one = rows(np.random.default_rng(1).integers(0, 2, (30, 1)), 1.0)
    weight, bias = fit_rows(one.features, one.labels, one.photo)
    x = one.features.double().numpy()
    scaled = (x - x.mean(0)) / math.sqrt(((x - x.mean(0)) ** 2).mean())
    other = LogisticRegression(C=1 / RIDGE, tol=1e-10, max_iter=10000)
    other.fit(scaled, one.labels[:, 0], sample_weight=np.full(len(x), 0.5))
    expected = other.decision_function(scaled)
    np.testing.assert_allclose(one.features.float() @ weight[0] + bias[0], expected, atol=2e-3)


def test_unknown_rows_teach_nothing():
    one = rows(np.random.default_rng(1).integers(0, 2, (30, 2)), 1.0)
    labels = one.labels.clone()
    labels[40:, 1] = -1
    both = fit_rows(one.features, labels, one.photo)
    alone = fit_rows(one.features, one.labels[:, :1], one.photo)
    torch.testing.assert_close(both[0][:1], alone[0], atol=2e-4, rtol=1e-3)
    assert not torch.allclose(both[0][1], fit_rows(one.features, one.labels, one.photo)[0][1], atol=1e-3)


def test_each_part_has_its_share_of_the_rarest_label():
    random = np.random.default_rng(0)
    yes = np.zeros((103, 3), bool)
    for label, number in enumerate((5, 40, 10)):
        yes[random.choice(103, number, replace=False), label] = True
    part = deal(yes, 5, random)
    counts = np.array([[yes[part == p, label].sum() for label in range(3)] for p in range(5)])
    assert counts[:, 0].tolist() == [1] * 5
    assert counts[:, 2].min() >= 1
    assert np.ptp(np.bincount(part)) <= 8


def test_the_threshold_answers_right_more_often_than_wrong():
    """F1 is best with nine answers, seven of them right; the first four are surely right more often than wrong."""
    scores = np.array([0.95, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.35, 0.3, 0.1])
    true = np.array([1, 1, 1, 1, 0, 0, 1, 1, 1, 0], bool)
    alone = np.arange(10)
    threshold, right, found, surely = best_answer(scores, true, alone)
    assert (threshold, right, found) == (pytest.approx(0.65), 1, pytest.approx(4 / 7))
    assert surely == pytest.approx(4 / (4 + 1.96**2))
    assert best_answer(scores / 10, true, alone)[0] == NEVER, "no score reaches the least threshold"
    assert best_answer(scores[:3], true[:3], alone[:3])[3] < 0.5, "three right answers of three may be luck"
    assert best_answer(scores[:6], true[:6], np.array([0, 0, 1, 1, 2, 2]))[3] < 0.5, "and so may four of two products"


def table(count, positives, seed, labels=1):
    yes = np.zeros((count, labels), np.int64)
    for label in range(labels):
        yes[np.random.default_rng((seed, label)).choice(count, positives, replace=False), label] = 1
    return yes


def test_an_attribute_that_is_there_is_learnt_from_twenty_photos():
    verdicts = [judge(rows(table(60, 20, seed), 3.0, seed), [("cut", "slim")])[0] for seed in range(3)]
    assert [one.verdict for one in verdicts] == ["enough"] * 3
    assert all(one.threshold < NEVER and one.average_precision.value > 0.8 for one in verdicts)
    assert verdicts[0].positives == 20
    assert verdicts[0].negatives == 40
    assert verdicts[0].average_precision.trivial == pytest.approx(1 / 3)


def test_one_that_means_nothing_is_not():
    """Of 60 labels dealt by chance among photos, at most 2 pass."""
    names = [("noise", str(i)) for i in range(20)]
    found = [judge(rows(table(60, 20, seed, 20), 0.0, seed), names) for seed in range(3)]
    passed = [one for verdicts in found for one in verdicts if one.verdict == "enough"]
    assert len(passed) <= 2
    assert all(one.threshold == NEVER for verdicts in found for one in verdicts if one not in passed)


def test_too_few_cannot_be_told():
    yes = table(40, 4, 0, 2)
    yes[:, 1] = np.arange(40) < 36                       # four of no
    for one in judge(rows(yes, 9.0), [("a", "few yes"), ("a", "few no")]):
        assert (one.verdict, one.threshold) == ("cannot be told", NEVER)
        assert math.isnan(one.average_precision.value)


def test_photos_of_one_product_count_once():
    """Twelve photos of one product say yes, and look alike: that is one yes, of which nothing can be told."""
    yes = np.zeros((24, 1), np.int64)
    yes[:12] = 1
    one = rows(yes, 5.0)
    group = torch.where(one.photo < 12, 0, one.photo)
    [verdict] = judge(one._replace(group=group.unique(return_inverse=True)[1]), [("cut", "slim")])
    assert (verdict.positives, verdict.verdict) == (1, "cannot be told")
