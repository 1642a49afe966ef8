"""The one sum that is trained: fixed weights of the recipe, or also one a task that is learnt by its uncertainty."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from hemline.loss_config import Loss

CHOICE = "choice of "
"""Begins the names of the terms of `losses.choice_terms`."""
AUXILIARY = "auxiliary "
"""Begins the names of the terms of a head's auxiliary outputs."""
PRESENCE = "presence"
"""Names the term of `losses.presence_term`."""
INSTANCES = "instances: "
"""Begins the names of the terms of an instance head."""


class TaskWeights(nn.Module):
    """Weighs the named losses into the one sum that is trained.

    Args:
        weights: The recipe's.
    """

    def __init__(self, weights: Loss) -> None:
        super().__init__()
        self.weights = weights

    def forward(self, losses: Mapping[str, Tensor]) -> Tensor:
        """The one sum: masks, auxiliary outputs, instances, categories, attribute groups, choices."""
        return weighted_sum(losses, self.weights)


def weighted_sum(losses: Mapping[str, Tensor], weights: Loss) -> Tensor:
    """The sum by the recipe's weights."""
    nothing = losses["category"].new_zeros(())
    of_masks = {name: weight for name, weight in weights.of_masks().items() if weight}
    auxiliary = {name: loss for name, loss in losses.items() if name.startswith(AUXILIARY)}
    choices = [loss for name, loss in losses.items() if name.startswith(CHOICE)]
    instances = {name: loss for name, loss in losses.items() if name.startswith(INSTANCES)}
    others = {*of_masks, *auxiliary, *instances, PRESENCE, "category"}
    groups = [loss for name, loss in losses.items() if name not in others and not name.startswith(CHOICE)]
    return (
        sum((weight * losses[name] for name, weight in of_masks.items()), nothing)
        + weights.auxiliary * sum((of_masks[name.split()[-1]] * loss for name, loss in auxiliary.items()), nothing)
        + weights.presence * losses.get(PRESENCE, nothing)
        + weights.instances * sum(instances.values(), nothing)
        + weights.category * losses["category"]
        + weights.attributes * sum(groups, nothing)
        + weights.choice * sum(choices, nothing)
    )
