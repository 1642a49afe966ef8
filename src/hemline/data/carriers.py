"""Which categories carry which attributes, counted in a dataset of drawn garments."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hemline.data.instances import Instances
from hemline.labels import LabelSpace


def carriers(index: Instances) -> dict[str, frozenset[str]]:
    """Names of the categories that each attribute is ever drawn with, in training photos where there are any."""
    train = np.array([side == "train" for side in index.sides])
    of_garment = np.repeat(train if train.any() else ~train, np.diff(index.first))
    numbers = np.diff(index.attribute_first)
    pairs = np.stack([index.attribute, np.repeat(index.category, numbers)], axis=1)[np.repeat(of_garment, numbers)]
    found: dict[str, set[str]] = {name: set() for name in index.attributes}
    for attribute, category in np.unique(pairs, axis=0).tolist():
        found[index.attributes[attribute]].add(index.categories[category])
    return {name: frozenset(own) for name, own in found.items()}


def with_carriers(space: LabelSpace, index: Instances) -> LabelSpace:
    """A label space whose attributes are carried by the categories that are ever drawn with them.

    Args:
        space: A label space whose words are the data's own. An attribute that is never drawn keeps its carriers.
        index: The garments to count.
    """
    found = carriers(index)
    groups = []
    for group in space.groups:
        labels = [replace(label, carried_by=found.get(label.name) or label.carried_by) for label in group.labels]
        groups.append(replace(group, labels=tuple(labels)))
    return replace(space, groups=tuple(groups))
