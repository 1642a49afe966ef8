"""Which categories carry which attributes, counted in datasets of drawn garments.

carriers(index)              in one dataset's own words, for `labels: data`
count_pairs(sources, space)  in the training photos of any run, in the words of its label space
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from hemline.data.instances import Instances
from hemline.labels import LabelSpace

if TYPE_CHECKING:
    from hemline.data.loading import Source

LEAST_PAIRS = 2
"""Garments of a category that must be drawn with an attribute for it to carry that: one may be a slip."""
ENOUGH_DRAWN = 100
"""Garments of a category that must be drawn for the want of a pair to say anything: of what none of 100 has, fewer than
3 in 100 have it (95 %)."""


@dataclass(frozen=True)
class Pairs:
    """What was counted in the training photos of a run, by the names of its label space."""

    attributes: dict[str, dict[str, int]]
    """Of each category, how many drawn garments have each attribute; pairs that are not drawn are left out."""
    garments: dict[str, int]
    """How many garments of each category are drawn, with attributes or without."""
    complete: bool
    """Whether every dataset of the run could be counted."""


def count_pairs(sources: Sequence[Source], space: LabelSpace) -> Pairs:
    """Count the garments of a run's training photos, without reading pixels.

    Datasets that draw no garments one by one (no `garment_labels`) are not counted.

    Args:
        sources: Datasets and which of their photos train.
        space: The label space they speak in.
    """
    num = len(space.categories)
    pairs = np.zeros((num, len(space.labels)), np.int64)
    garments = np.zeros(num, np.int64)
    complete = True
    for dataset, photos in ((source.dataset, source.indices) for source in sources if source.indices):
        labels_of = getattr(dataset, "garment_labels", None)
        if labels_of is None:
            complete = False
            continue
        for photo in photos:
            if labels := labels_of(photo):
                yes = np.stack(labels) == 1                                                 # (N, L)
                pairs += yes[:, :num].T.astype(np.int64) @ yes[:, num:].astype(np.int64)
                garments += yes[:, :num].sum(0)
    return Pairs(
        {
            category.name: {space.labels[i].name: int(row[i]) for i in np.flatnonzero(row)}
            for category, row in zip(space.categories, pairs, strict=True)
            if row.any()
        },
        {category.name: int(n) for category, n in zip(space.categories, garments, strict=True)},
        complete,
    )


def narrowed(space: LabelSpace, pairs: Pairs) -> LabelSpace:
    """The label space that a network answers with: no attribute of a category that was never taught it.

    An attribute is then carried by those of its carriers (of all categories, where it has none of its own) that are
    drawn with it `LEAST_PAIRS` times or more, or are drawn less than `ENOUGH_DRAWN` times. One that is drawn so often
    with none of them keeps its carriers. Where some dataset of the run was not counted, all keep them: it may teach
    more.

    Args:
        space: The label space of the run.
        pairs: What its training photos draw.
    """
    if not pairs.complete:
        return space
    names = frozenset(category.name for category in space.categories)
    groups = []
    for group in space.groups:
        labels = []
        for label in group.labels:
            may = label.carried_by or names
            drawn = {name for name in may if pairs.attributes.get(name, {}).get(label.name, 0) >= LEAST_PAIRS}
            own = drawn | {name for name in may if pairs.garments[name] < ENOUGH_DRAWN}
            labels.append(replace(label, carried_by=frozenset(own)) if drawn and own != may else label)
        groups.append(replace(group, labels=tuple(labels)))
    return replace(space, groups=tuple(groups))


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
