"""Platt scaling: scikit-learn's fit where data are plenty, and what the penalty promises where they are not."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression

from hemline.platt import LEAST_SLOPE, PRIOR, fit_alike, fit_labels, fit_logistic


def rows(count, slope, intercept, seed=0):
    """Logits, and a truth for which `slope * logit + intercept` are the log odds."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 2, count)
    return logits, random.random(count) < 1 / (1 + np.exp(-(slope * logits + intercept)))


@pytest.mark.parametrize(("slope", "intercept"), [(0.4, -1.0), (1.0, 0.0), (2.5, 0.7)])
def test_on_plenty_of_data_it_is_scikit_learns(slope, intercept):
    logits, yes = rows(20_000, slope, intercept)
    free = LogisticRegression(C=np.inf, tol=1e-8).fit(logits[:, None], yes)
    ours = fit_logistic(logits[:, None], yes, np.array([1.0, 0.0]), np.array([1e-9, 1e-9]))
    np.testing.assert_allclose(ours, [free.coef_[0, 0], free.intercept_[0]], atol=1e-4)
    slopes, intercepts = fit_labels(logits[:, None], yes[:, None].astype(np.int8))
    assert (slopes[0], intercepts[0]) == pytest.approx((slope, intercept), abs=0.08)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.integers(0, 12), st.integers(1, 2))
def test_it_is_the_optimum_and_slopes_stay_above_0(seed, count, features):
    """Also where all rows say yes, or the truth runs against the score; checked against SciPy's bounded optimiser."""
    random = np.random.default_rng(seed)
    x, yes = random.normal(0, 5, (count, features)), random.random(count) < random.random()
    about, weights = np.r_[random.uniform(0.1, 2, features), 0.5], random.uniform(0.1, 9, features + 1)
    found = fit_logistic(x, yes, about, weights)
    assert (found[:-1] >= LEAST_SLOPE).all()

    def loss(line):
        odds = x @ line[:-1] + line[-1]
        return np.sum(np.logaddexp(0, odds) - yes * odds) + 0.5 * np.sum(weights * (line - about) ** 2)

    bounds = [(LEAST_SLOPE, None)] * features + [(None, None)]
    best = minimize(loss, about, bounds=bounds, options={"ftol": 1e-14, "gtol": 1e-9})
    assert loss(found) == pytest.approx(best.fun, abs=1e-4)


def test_few_rows_are_drawn_to_the_fit_of_all():
    """A label of three rows follows the others; one of thousands follows itself."""
    many, yes = rows(5000, 0.5, -1.0)
    other, no = rows(5000, 2.0, 1.0, seed=1)
    few = np.array([3.0, -3.0, 2.0])
    fits = fit_alike([many[:, None], other[:, None], few[:, None]], [yes, no, np.array([False, True, False])])
    common = fit_logistic(np.r_[many, other, few][:, None], np.r_[yes, no, [False, True, False]],
                          np.array([1.0, 0.0]), np.array(PRIOR))  # fmt: skip
    assert fits[0] == pytest.approx([0.5, -1.0], abs=0.1)
    assert fits[1] == pytest.approx([2.0, 1.0], abs=0.2)
    assert abs(fits[2] - common).max() < abs(fits[0] - fits[1]).max() / 2
    assert fits[2, 0] < common[0], "its three rows speak against the score, and are heard"


def test_what_is_unknown_has_no_say():
    logits, yes = rows(400, 0.7, 0.3)
    truth = yes.astype(np.int8)
    clean = fit_labels(logits[:, None], truth[:, None])
    dirty = fit_labels(
        np.r_[logits, [9.0, np.nan]][:, None], np.r_[truth, [-1, 1]].astype(np.int8)[:, None]
    )  # fmt: skip
    np.testing.assert_array_equal(clean, dirty)


def test_without_any_row_scores_stay():
    slopes, intercepts = fit_labels(np.zeros((0, 3)), np.zeros((0, 3), np.int8))
    assert slopes == pytest.approx([1, 1, 1])
    assert intercepts == pytest.approx([0, 0, 0])
