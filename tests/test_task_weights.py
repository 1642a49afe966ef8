"""A weight for each task that is learnt by its uncertainty."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from hemline.config import Loss
from hemline.optim import parameter_groups
from hemline.task_weights import AUXILIARY, CHOICE, INSTANCES, PRESENCE, TASKS, TaskWeights, weighted_sum
from tests.steps import batch_of, begun, step

LEARNT = Loss(weighting="uncertainty", choice=0.25, auxiliary=0.5, presence=2.0, dice=0.5)
VALUES = {"bce": 1.5, "dice": 0.5, f"{AUXILIARY}0 bce": 0.25, f"{AUXILIARY}0 dice": 1.0, PRESENCE: 0.125,
          INSTANCES + "class": 3.0, INSTANCES + "box": 1.0, "category": 0.02, "fit": 0.5, "colour": 0.75,
          CHOICE + "colour": 8.0}  # fmt: skip
PARTS = [1.5 + 0.25 + 0.5 * (0.25 + 0.5), 0.25, 4.0, 0.01, 0.625, 2.0]
"""Of `TASKS`, by hand."""


def losses(**changed):
    return {name: torch.tensor(value) for name, value in {**VALUES, **changed}.items()}


def test_it_begins_as_the_fixed_sum():
    """Its value by hand, and its gradient to each loss."""
    fixed, learnt = replace(LEARNT, weighting="fixed"), TaskWeights(LEARNT)
    assert weighted_sum(losses(), fixed).item() == pytest.approx(sum(PARTS))
    assert learnt(losses()).item() == pytest.approx(sum(PARTS) + len(TASKS) * np.log(1.5))
    assert learnt.learnt() == pytest.approx(dict.fromkeys(TASKS, 1.0))
    assert TaskWeights(fixed).learnt() == {}
    assert not [*TaskWeights(fixed).parameters()]
    slopes = []
    for weigh in (learnt, TaskWeights(fixed)):
        values = {name: value.requires_grad_() for name, value in losses().items()}
        weigh(values).backward()
        slopes.append({name: value.grad.item() for name, value in values.items()})
    assert slopes[0] == pytest.approx(slopes[1])


def test_for_fixed_losses_the_optimum_is_what_the_formula_says():
    """Each variance beside the lowest point of l / 2v + log(1 + v) on a fine grid, and beside the docstring's root."""
    learnt = TaskWeights(LEARNT)
    optimizer = torch.optim.LBFGS(learnt.parameters(), max_iter=200, tolerance_grad=1e-9, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        total = learnt(losses())
        total.backward()
        return total

    optimizer.step(closure)
    found = 0.5 / np.array(list(learnt.learnt().values()))
    grid = np.exp(np.linspace(-8, 4, 200001))
    lowest = [grid[np.argmin(part / (2 * grid) + np.log1p(grid))] for part in PARTS]
    np.testing.assert_allclose(found, lowest, rtol=2e-3)
    parts = np.array(PARTS)
    np.testing.assert_allclose(found, parts / 4 + np.sqrt(parts**2 / 16 + parts / 2), rtol=2e-3)
    assert learnt(losses()).item() > 0


def test_what_had_nothing_to_learn_from_keeps_its_weight():
    """Also where another process did learn: then, by the mean over all, it is asked in each."""
    learnt = TaskWeights(LEARNT)
    none = losses(bce=0.0, dice=0.0, **{f"{AUXILIARY}0 bce": 0.0, f"{AUXILIARY}0 dice": 0.0})
    learnt(none).backward()
    slope = learnt.log_variances.grad.clone()
    assert slope[0] == 0
    assert (slope[1:] != 0).all()
    learnt.log_variances.grad = None
    elsewhere = torch.stack([*losses().values()])
    learnt(none, elsewhere).backward()
    assert learnt.log_variances.grad[0].item() == pytest.approx(0.5 / 1.5)      # of log(1 + v) to log v, v = 1 / 2


def test_they_are_trained_without_decay_at_the_heads_rate(tiny_config, tmp_path):
    config = replace(tiny_config, loss=Loss(weighting="uncertainty"), weight_decay=0.5, lr=0.01, warmup=0.0)
    run = begun(config, tmp_path)
    (group,) = [g for g in parameter_groups(run.loss, config)
                if any(p is run.loss.task_weights.log_variances for p in g["params"])]  # fmt: skip
    assert (group["lr"], group["weight_decay"]) == (0.01, 0)
    step(run, config, batch_of(0, 1))
    asked = run.loss.task_weights.learnt()
    assert asked["presence"] == asked["instances"] == asked["choices"] == 1
    assert len({asked["masks"], asked["categories"], asked["attributes"], 1.0}) > 1
    run.save()
    assert "task_weights.log_variances" in torch.load(run.folder / "state.pt", weights_only=True)["loss"]
