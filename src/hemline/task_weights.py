"""The one sum that is trained: fixed weights of the recipe, or also one a task that is learnt by its uncertainty."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from hemline.loss_config import Loss

CHOICE = "choice of "
"""Begins the names of the terms of `losses.choice_terms`."""
AUXILIARY = "auxiliary "
"""Begins the names of the terms of a head's auxiliary outputs."""
PRESENCE = "presence"
"""Names the term of `losses.presence_term`."""
INSTANCES = "instances: "
"""Begins the names of the terms of an instance head."""
TAUGHT_MASKS, TAUGHT_LABELS = "taught masks", "taught labels"
"""Name the terms of `hemline.distillation`."""


TASKS = ("masks", "presence", "instances", "categories", "attributes", "choices")
"""Each learns a weight of its own where the recipe asks for `uncertainty`."""


class TaskWeights(nn.Module):
    """Weighs the named losses into the one sum that is trained.

    With `weighting: uncertainty`, each task's part l of the sum also learns a variance v (Kendall et al., 2018,
    https://arxiv.org/abs/1705.07115) and counts l / (2 v) + log(1 + v), in the form of Liebel and Koerner (2018,
    https://arxiv.org/abs/1805.06334). With the first paper's own log(v) / 2 the sum falls below 0, and the weight of a
    task that is learnt by heart grows as 1 / l; here the sum is never negative, and weights grow as 1 / sqrt(l). For a
    fixed l, v is best at l / 4 + sqrt(l^2 / 16 + l / 2). Each begins at 1 / 2, where the sum weighs as the fixed one
    does.

    Args:
        weights: The recipe's.
    """

    def __init__(self, weights: Loss) -> None:
        super().__init__()
        self.weights = weights
        self.log_variances: nn.Parameter | None = None   # (T,), in the order of `TASKS`
        if weights.weighting == "uncertainty":
            self.log_variances = nn.Parameter(torch.full((len(TASKS),), math.log(0.5)))

    def forward(self, losses: Mapping[str, Tensor], means: Tensor | None = None) -> Tensor:
        """The one sum: masks, auxiliary outputs, instances, categories, attribute groups, choices.

        Args:
            losses: Scalars by name.
            means: (T,) the same over all processes, without gradient; None where they are `losses`. A task whose losses
                are 0 there had nothing to learn from, and its variance stays as it is.
        """
        parts = weighted_parts(losses, self.weights)
        if self.log_variances is None:
            return torch.stack(parts).sum()
        everywhere = losses if means is None else dict(zip(losses, means, strict=True))
        asked = torch.stack(weighted_parts(everywhere, self.weights)).detach() > 0
        return (torch.stack(parts) / (2 * self.log_variances.exp()) + asked * softplus(self.log_variances)).sum()

    def learnt(self) -> dict[str, float]:
        """The weight that each task has learnt, beside the recipe's; none where these are fixed."""
        if self.log_variances is None:
            return {}
        return dict(zip(TASKS, (0.5 / self.log_variances.detach().exp()).tolist(), strict=True))


def weighted_sum(losses: Mapping[str, Tensor], weights: Loss) -> Tensor:
    """The sum by the recipe's weights."""
    return torch.stack(weighted_parts(losses, weights)).sum()


def weighted_parts(losses: Mapping[str, Tensor], weights: Loss) -> list[Tensor]:
    """The part of each of `TASKS` in that sum."""
    nothing = losses["category"].new_zeros(())
    of_masks = {name: weight for name, weight in weights.of_masks().items() if weight}
    auxiliary = {name: loss for name, loss in losses.items() if name.startswith(AUXILIARY)}
    choices = [loss for name, loss in losses.items() if name.startswith(CHOICE)]
    instances = {name: loss for name, loss in losses.items() if name.startswith(INSTANCES)}
    others = {*of_masks, *auxiliary, *instances, PRESENCE, TAUGHT_MASKS, TAUGHT_LABELS, "category"}
    groups = [loss for name, loss in losses.items() if name not in others and not name.startswith(CHOICE)]
    return [
        sum((weight * losses[name] for name, weight in of_masks.items()), nothing)
        + weights.auxiliary * sum((of_masks[name.split()[-1]] * loss for name, loss in auxiliary.items()), nothing)
        + weights.taught_masks * losses.get(TAUGHT_MASKS, nothing),
        weights.presence * losses.get(PRESENCE, nothing),
        weights.instances * sum(instances.values(), nothing),
        weights.category * losses["category"],
        weights.attributes * sum(groups, nothing) + weights.taught_labels * losses.get(TAUGHT_LABELS, nothing),
        weights.choice * sum(choices, nothing),
    ]
