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
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from hemline._bootstrap import Floats, mean
from hemline._matching import MOST, OFF, Kind, Likeness, Ranking, likenesses, meetings, rank
from hemline.instances import ScoredPhoto, Vocabulary
from hemline.metadata import finite

LEAST = np.linspace(0.5, 0.95, 10)
"""Thresholds of IoU and of F1, to the last bit those of pycocotools."""
RECALLS = np.linspace(0, 1, 101)
"""Recalls at which precision is read."""
AREAS = np.array([(0, 1e10), (0, 32**2), (32**2, 96**2), (96**2, 1e10)], np.float64)
"""(A, 2) least and most pixels of truths that count: of any size, small, medium, large."""
DETECTIONS = (1, 10, MOST)
"""Answers of a photo and category that count, the best ones."""
_ANY, _OFF = slice(0, len(LEAST)), slice(-1, None)
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
    """AP_IoU: no F1 is asked for. Not always that of COCO: in categories that carry attributes, of two truths that an
    answer overlaps enough it keeps the earlier one where the later one's F1 is less; and a crowd is taken once."""
    f1: Averages
    """AP_F1: no IoU is asked for."""
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
    curves = _curves(photos, vocabulary, kind, LEAST)
    at = {f"iou{name}": _mean(curves, iou=part) for name, part in _AT.items()}
    return CocoScores(kind, len(photos), _averages(curves, vocabulary, at))


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
    curves = _curves(photos, vocabulary, kind, np.append(LEAST, OFF), f1)
    iou = {f"iou{name}": _mean(curves, iou=part, f1=_OFF) for name, part in _AT.items()}
    likeness = {f"f1_{name}": _mean(curves, iou=_OFF, f1=part) for name, part in _AT.items()}
    both = {f"iou{name}": _mean(curves, iou=part, f1=_ANY) for name, part in _AT.items()}
    both |= {f"f1_{name}": _mean(curves, iou=_ANY, f1=part) for name, part in _AT.items()}
    for name, part in _AT.items():
        both |= {f"iou{name}_f1_{other}": _mean(curves, iou=part, f1=least) for other, least in _AT.items()}
    return FashionpediaScores(
        kind,
        len(photos),
        f1,
        iou=_averages(curves, vocabulary, iou, f1=_OFF),
        f1=_averages(curves, vocabulary, likeness, iou=_OFF, f1=_ANY),
        both=_averages(curves, vocabulary, both, f1=_ANY),
    )


# -- averages ------------------------------------------------------------------------------------------------


class _Curve(NamedTuple):
    """What became of one category's answers; NaN where nothing was drawn."""

    precision: Floats
    """(A, T, F) mean over `RECALLS`, of at most `MOST` answers a photo."""
    recall: Floats
    """(A, T, F, len(DETECTIONS)) share of the truths that were taken."""
    drawn: int


def _curves(
    photos: Iterable[ScoredPhoto], vocabulary: Vocabulary, kind: Kind, least_iou: Floats, f1: Likeness | None = None
) -> dict[int, _Curve]:
    """The curve of each category of the vocabulary; one that carries attributes has all F, where `f1` is a form."""
    met = meetings(photos, kind)
    curves = {}
    for number in vocabulary.categories:
        if f1 is not None and number in vocabulary.described:
            least_f1, likeness = np.append(LEAST, OFF), likenesses(met.get(number, ()), vocabulary, f1)
            ranking = rank(met.get(number, ()), kind, AREAS, least_iou, least_f1, likeness)
        else:
            ranking = rank(met.get(number, ()), kind, AREAS, least_iou, np.array([OFF]))
        curves[number] = _curve(ranking)
    return curves


def _curve(ranking: Ranking) -> _Curve:
    """Precision and recall of one category."""
    shape = ranking.right.shape[:3]
    precision, recall = np.full(shape, np.nan), np.full((*shape, len(DETECTIONS)), np.nan)
    for a in np.flatnonzero(ranking.drawn):
        drawn, right = ranking.drawn[a], ranking.right[a]
        for m, most in enumerate(DETECTIONS):
            recall[a, ..., m] = right[..., ranking.place < most].sum(-1) / drawn
        mistakes = np.cumsum(ranking.wrong[a], axis=-1)
        for t, f in np.ndindex(shape[1:]):
            at = np.flatnonzero(right[t, f])
            hits = np.arange(1, len(at) + 1)
            exact = hits / (mistakes[t, f, at] + hits + np.spacing(1))
            best = np.maximum.accumulate(exact[::-1])[::-1]         # at this recall or a higher one
            reached = np.searchsorted(hits / drawn, RECALLS)
            precision[a, t, f] = best[reached[reached < len(at)]].sum() / len(RECALLS)
    return _Curve(precision, recall, int(ranking.drawn[0]))


def _averages(
    curves: Mapping[int, _Curve], vocabulary: Vocabulary, at: dict[str, float], iou: slice = _ANY, f1: slice = _OFF
) -> Averages:
    """Everything under one choice of constraints, which `iou` and `f1` are places of in T and F."""
    scored = {n for n in curves if f1 == _OFF or n in vocabulary.described}
    chosen = partial(_mean, iou=iou, f1=f1)
    return Averages(
        ap=chosen(curves),
        at=at,
        ap_small=chosen(curves, area=1),
        ap_medium=chosen(curves, area=2),
        ap_large=chosen(curves, area=3),
        groups={
            name: chosen({n: curves[n] for n in curves if n in numbers})
            for name, numbers in vocabulary.groups.items()
            if numbers & scored
        },
        ar_1=chosen(curves, detections=0),
        ar_10=chosen(curves, detections=1),
        ar_100=chosen(curves, detections=2),
        ar_small=chosen(curves, area=1, detections=2),
        ar_medium=chosen(curves, area=2, detections=2),
        ar_large=chosen(curves, area=3, detections=2),
        categories=[
            CategoryScore(n, vocabulary.categories[n], curve.drawn, chosen({n: curve}))
            for n, curve in curves.items()
            if n in scored
        ],
    )


def _mean(
    curves: Mapping[int, _Curve], *, iou: slice, f1: slice = _OFF, area: int = 0, detections: int | None = None
) -> float:
    """The mean of the entries that the slices choose, without NaN; a category without attributes is one entry of F."""
    entries = [np.zeros(0)]
    for curve in curves.values():
        values = curve.precision if detections is None else curve.recall[..., detections]
        entries.append(values[area, iou, f1 if values.shape[2] > 1 else _OFF].ravel())
    return float(mean(np.concatenate(entries)))
