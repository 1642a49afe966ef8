"""What makes scores probabilities, and what they promise: fitted on validation photos and kept in the weights.

A network's logits are too sure or not sure enough. `Scores` holds, for three uses, what turns them into log odds:
labels of the whole photo, attributes of garments, and the score of a garment that was found by its mask. Each label is
turned by its own slope, which is above 0, and intercept (`hemline.platt`). With each stands its precision-recall curve
on the same photos, by which `at_precision` chooses thresholds.

Shapes: C categories, K mask classes, L labels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hemline.precision_recall import Point

if TYPE_CHECKING:
    from hemline.labels import LabelSpace
    from hemline.metadata import Metadata

SUREST = 1e-4
"""A garment's own score is taken for this much from 0 and from 1, at least, so that it has a logit."""


@dataclass(frozen=True)
class Curve:
    """What answering a label gave on validation photos."""

    yes: int
    """Of how many it was true."""
    known: int
    """Of how many it was known."""
    points: tuple[Point, ...]
    """The highest score first."""

    def threshold(self, precision: float) -> float | None:
        """The lowest score from which on so much is right; None where no score promises it.

        Of n answers of which r were right, (r + 1) / (n + 2) counts, Laplace's rule of succession: few answers promise
        little. 18 right ones without a wrong one promise 0.95.
        """
        enough = [point.score for point in self.points if self.promised(point) >= precision]
        return min(enough, default=None)

    def promised(self, point: Point) -> float:
        """The precision that a point of the curve promises, 0..1."""
        right = point.recall * self.yes
        answers = right / point.precision if point.precision > 0 else np.inf
        return min(float((right + 1) / (answers + 2)), point.precision)


@dataclass(frozen=True)
class Use:
    """The scores of one use."""

    weights: tuple[tuple[float, ...], ...]
    """For each label or category: the slope of its logit, above 0, that of a second logit where there is one, and the
    intercept."""
    curves: dict[str, Curve] = field(default_factory=dict)
    """By name; of those alone that are better than chance."""

    @cached_property
    def lines(self) -> NDArray[np.float32]:
        """`weights` as an array."""
        return np.array(self.weights, np.float32)


@dataclass(frozen=True)
class Scores:
    """How sure answers are."""

    photo: Use
    """(L, 2) labels of the whole photo."""
    garments: Use
    """(L, 2) attributes of garments; those of categories are not read."""
    masks: Use
    """(C, 3) a garment found by its mask: its own logit, then that of its category's label in the photo."""

    def of_photo(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """(..., L) logits of the whole photo -> log odds."""
        return _on_line(logits, self.photo)

    def of_garment(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """(..., L) logits of a garment -> log odds."""
        return _on_line(logits, self.garments)

    def of_mask(self, category: int, score: float, label: float) -> float:
        """The probability that a garment's category is right.

        Args:
            category: Its position.
            score: The garment's own, 0..1.
            label: The category's logit in the whole photo, as the network says it.
        """
        own = min(max(score, SUREST), 1 - SUREST)
        slope, of_label, intercept = self.masks.weights[category]
        odds = slope * float(np.log(own) - np.log1p(-own)) + of_label * label + intercept
        return float(0.5 + 0.5 * np.tanh(0.5 * odds))

    @property
    def curves(self) -> bool:
        """Whether any label has a curve."""
        return any(use.curves for _, use in self._uses())

    def without_curves(self) -> Scores:
        """The same without what was measured."""
        return Scores(*(replace(use, curves={}) for _, use in self._uses()))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            name: {
                "weights": [list(line) for line in use.weights],
                "curves": {
                    label: {"yes": curve.yes, "known": curve.known, "points": [list(x) for x in curve.points]}
                    for label, curve in use.curves.items()
                },
            }
            for name, use in self._uses()
        }

    def _uses(self) -> Iterator[tuple[str, Use]]:
        yield from (("photo", self.photo), ("garments", self.garments), ("masks", self.masks))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Scores:
        """Read what `to_dict` wrote.

        Raises:
            TypeError, ValueError, KeyError: it is otherwise.
        """
        return cls(*(_use(values[name]) for name in ("photo", "garments", "masks")))

    def check(self, space: LabelSpace) -> None:
        """Refuse what no label space of this size can have.

        Raises:
            ValueError: a slope is not above 0, or the labels are others; says which.
        """
        categories, labels = [c.name for c in space.categories], [x.name for x in space.labels]
        kinds = (len(categories) + len(labels), 2), (len(categories) + len(labels), 2), (len(categories), 3)
        for (name, use), (count, width) in zip(self._uses(), kinds, strict=True):
            fits = len(use.weights) == count and all(len(line) == width for line in use.weights)
            if not fits or not np.isfinite(use.lines).all() or not (use.lines[:, 0] > 0).all():
                raise ValueError(f"scores: {name} must have {count} times {width} weights, the first above 0")
            if unknown := use.curves.keys() - {*categories, *labels}:
                raise ValueError(f"scores: {name} has a curve of {min(unknown)!r}, which the label space does not know")


def _use(values: Mapping[str, Any]) -> Use:
    curves = {}
    for name, said in values["curves"].items():
        points = tuple(Point(*(float(value) for value in point)) for point in said["points"])
        if not all(0 <= value <= 1 for point in points for value in point):
            raise ValueError(f"scores: the curve of {name!r} leaves 0 to 1")
        curves[str(name)] = Curve(int(said["yes"]), int(said["known"]), points)
    return Use(tuple(tuple(float(x) for x in line) for line in values["weights"]), curves)


def _on_line(logits: NDArray[np.float32], use: Use) -> NDArray[np.float32]:
    turned: NDArray[np.float32] = logits * use.lines[:, 0] + use.lines[:, 1]
    return turned


def odds(labels: NDArray[np.float32], metadata: Metadata) -> NDArray[np.float32]:
    """A network's (1 + K, L) logits, of the whole photo and then under the mask of each class, as log odds."""
    scores = metadata.scores
    if scores is None:
        return labels
    return np.concatenate([scores.of_photo(labels[:1]), scores.of_garment(labels[1:])])


def grown(scores: Scores, before: LabelSpace, after: LabelSpace) -> Scores:
    """The scores of weights that were taught more labels: the new ones as the network says them, without curves."""

    def names(space: LabelSpace) -> list[str]:
        return [*(c.name for c in space.categories), *(x.name for x in space.labels)]

    def use(known: Use, now: Sequence[str], unchanged: tuple[float, ...]) -> Use:
        weights = dict(zip(names(before), known.weights, strict=False))    # categories come first
        return replace(known, weights=tuple(weights.get(name, unchanged) for name in now))

    categories = [c.name for c in after.categories]
    photo, garments = (use(known, names(after), (1.0, 0.0)) for known in (scores.photo, scores.garments))
    return Scores(photo, garments, use(scores.masks, categories, (1.0, 0.0, 0.0)))
