"""Average precision of garments found one by one: COCO's, and Fashionpedia's, which asks for their attributes too.

COCO's are those of `COCOeval` (https://github.com/cocodataset/cocoapi): answers of a category, best first, take the
truths that they overlap most; precision is read at 101 recalls and averaged over ten IoU thresholds, 0.5 to 0.95.

Fashionpedia's (Jia et al., ECCV 2020, https://arxiv.org/abs/2004.12276) are those of fashionpedia-api 1.1
(https://github.com/KMnP/fashionpedia-api): in categories that carry attributes an answer takes a truth only if the F1
of its attributes reaches a threshold too, and there are ten of these, 0.5 to 0.95. **Each of those ten is an entry of
the average, and a category without attributes is one entry**: of Fashionpedia's 46 categories 18 are 180 entries of
208. So the score with both constraints can be above the one of IoU alone.

Shapes: A ranges of area, T least IoUs, F least F1s (1 in categories without attributes), N answers of a category.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hemline._bootstrap import Floats
from hemline._matching import OFF, Kind, Likeness, Meeting, Ranking, meetings, rank
from hemline.instances import ScoredPhoto, Vocabulary
from hemline.metadata import finite

LEAST = np.linspace(0.5, 0.95, 10)
"""Thresholds of IoU and of F1, to the last bit those of pycocotools."""
RECALLS = np.linspace(0, 1, 101)
"""Recalls at which precision is read."""
AREAS = np.array([(0, 1e10), (0, 32**2), (32**2, 96**2), (96**2, 1e10)], np.float64)
"""(A, 2) least and most pixels of truths that count: of any size, small, medium, large."""
MOST = (1, 10, 100)
"""Answers of a photo and category that count, the best ones."""
_ANY, _OFF = slice(0, len(LEAST)), slice(len(LEAST), None)
_AT = {"50": slice(0, 1), "75": slice(5, 6)}


@dataclass(frozen=True)
class CategoryScore:
    """One category."""

    number: int
    """The publisher's."""
    name: str
    drawn: int
    """Truths of it, crowds left out."""
    ap: float
    """NaN where none is drawn."""


@dataclass(frozen=True)
class Averages:
    """Average precision (AP) and recall (AR) under one choice of constraints: 0..1, NaN where nothing was drawn."""

    ap: float
    at: dict[str, float]
    """AP at single thresholds: `iou50`, `iou75`, `f1_50`, `f1_75`, `iou50_f1_50` and so on, where constrained."""
    ap_small: float
    """Of truths below 32 x 32 pixels; their area is that of the mask, or of the box where they have no mask."""
    ap_medium: float
    ap_large: float
    """Of those from 96 x 96 pixels."""
    groups: dict[str, float]
    """AP of `Vocabulary.groups`; where F1 is a constraint, of those with a category that carries attributes."""
    ar_1: float
    """With the best answer of each photo and category."""
    ar_10: float
    ar_100: float
    ar_small: float
    ar_medium: float
    ar_large: float
    categories: list[CategoryScore]
    """In the vocabulary's order; where F1 is a constraint, those that carry attributes."""


@dataclass(frozen=True)
class CocoScores:
    """What COCO's evaluation says."""

    kind: Kind
    photos: int
    iou: Averages
    """AP, AP50 and AP75 are `ap`, `at["iou50"]` and `at["iou75"]`."""

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; what cannot be said is None."""
        plain: dict[str, Any] = finite(asdict(self))
        return plain


@dataclass(frozen=True)
class FashionpediaScores:
    """What Fashionpedia's evaluation says."""

    kind: Kind
    photos: int
    f1_form: Likeness
    iou: Averages
    """AP_IoU: attributes do not matter. That of COCO, but that a crowd of a category that carries attributes is taken
    by one answer, where COCO lets any number of them lie on it."""
    f1: Averages
    """AP_F1: places do not matter."""
    both: Averages
    """AP_IoU+F1, by which the benchmark ranks."""

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; what cannot be said is None."""
        plain: dict[str, Any] = finite(asdict(self))
        return plain


def coco_scores(photos: Sequence[ScoredPhoto], vocabulary: Vocabulary, kind: Kind) -> CocoScores:
    """COCO's AP and AR.

    Args:
        photos: What each shows and what was found there; of equal scores the first in the list counts as the better.
            An answer's area is that of its mask, or of its box where `kind` is that.
        vocabulary: Its `categories` are scored; what is drawn or found of others counts nowhere.
        kind: Whether boxes or masks are compared.

    Raises:
        DataError: masks are to be compared, and something has none, or one of another size than its photo.
    """
    raise NotImplementedError


def fashionpedia_scores(
    photos: Sequence[ScoredPhoto], vocabulary: Vocabulary, kind: Kind, f1: Likeness = "official"
) -> FashionpediaScores:
    """Fashionpedia's AP and AR.

    Args:
        photos: As `coco_scores` wants them.
        vocabulary: Its `attributes` are the vector that F1 is measured over, and others count nowhere; its `described`
            are the categories where F1 is a constraint.
        kind: Whether boxes or masks are compared.
        f1: `official` is the mean of two F1s, that of the attributes present and that of those absent: it is generous,
            for nearly all of them are absent. `present` is the former alone. Both are 1 where neither has any.

    Raises:
        DataError: masks are to be compared, and something has none, or one of another size than its photo.
    """
    raise NotImplementedError
