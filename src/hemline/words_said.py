"""The words of an answer: which labels pass their thresholds, of a photo or of a garment.

Shapes: L labels.
"""

from __future__ import annotations

from collections.abc import Set
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hemline._regions import sigmoid
from hemline.labels import Category, LabelSpace


class ScoredLabel(NamedTuple):
    """A word of the label space, and how sure the network is of it."""

    group: str
    """`category`, or the attribute group: `sleeve length`."""
    label: str
    id: int | str
    """The publisher's number, or our own word where the publisher has none."""
    score: float
    """Probability, 0..1."""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return self._asdict() | {"score": round(self.score, 4)}


def categories_said(
    space: LabelSpace,
    logits: NDArray[np.float32],
    thresholds: NDArray[np.float32],
    worn: Set[str],
    least: float,
) -> list[ScoredLabel]:
    """The categories of the photo's own logits (L,) that pass and whose garment is in the answer, surest first."""
    passing = [c for c in space.categories if c.name in worn and logits[c.index] > thresholds[c.index]]
    said = [ScoredLabel("category", c.name, c.id, float(sigmoid(logits[c.index]))) for c in passing]
    return sorted((label for label in said if label.score >= least), key=lambda label: -label.score)


def attributes_said(
    space: LabelSpace,
    logits: NDArray[np.float32],
    thresholds: NDArray[np.float32],
    worn: Set[str],
    least: float,
) -> list[ScoredLabel]:
    """The attributes among logits (L,) that pass and that something in `worn` can carry, in the groups' order.

    Of a group that allows one value, the one with the largest margin over its threshold.
    """
    said = []
    for group in (group for group in space.groups if group.shown):
        passing = [
            label
            for label in group.labels
            if logits[label.index] > thresholds[label.index] and (not label.carried_by or label.carried_by & worn)
        ]
        passing.sort(key=lambda label: -logits[label.index])
        if group.choice == "one" and passing:
            passing = [max(passing, key=lambda label: logits[label.index] - thresholds[label.index])]
        said += [ScoredLabel(group.name, x.name, x.id, float(sigmoid(logits[x.index]))) for x in passing]
    return [label for label in said if label.score >= least]


def outdone(space: LabelSpace, category: Category, margins: NDArray[np.float32], there: Set[int]) -> bool:
    """Whether a category that the photo's label alone names is taken by one alike: found by its mask, or surer."""
    names = {name for alike in space.alike if category.name in alike for name in alike} - {category.name}
    rivals = [c.index for c in space.categories if c.shown and c.name in names]
    return any(k in there or margins[k] > margins[category.index] for k in rivals)
