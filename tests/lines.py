"""Scores of a label space at random, and at will."""

import numpy as np

from hemline.labels import LabelSpace
from hemline.precision_recall import Point
from hemline.scores import Curve, Scores, Use


def random_scores(space: LabelSpace, seed: int = 0) -> Scores:
    """Slopes from 0.3 to 2, intercepts from -1 to 1; no curves."""
    random = np.random.default_rng(seed)

    def use(count: int, slopes: int) -> Use:
        weights = np.c_[random.uniform(0.3, 2, (count, slopes)), random.uniform(-1, 1, count)]
        return Use(tuple(tuple(line) for line in weights.round(4).tolist()))

    return Scores(use(space.num_labels, 1), use(space.num_labels, 1), use(len(space.categories), 2))


def as_said(space: LabelSpace, **curves: dict[str, Curve]) -> Scores:
    """Scores that leave logits as they are; of garments, their own. Curves by use: photo, garments, masks."""
    kinds = {"photo": (space.num_labels, 2), "garments": (space.num_labels, 2), "masks": (len(space.categories), 3)}
    return Scores(*(Use(((1.0,) + (0.0,) * (width - 1),) * count, curves.get(name, {}))
                    for name, (count, width) in kinds.items()))  # fmt: skip


def curve(*points: tuple[float, float, float], yes: int = 100, known: int = 200) -> Curve:
    return Curve(yes, known, tuple(Point(*point) for point in points))
