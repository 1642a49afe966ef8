"""How well garments are found one by one: COCO's, Fashionpedia's and Kaggle's scores, each beside trivial answers.

Beside every score stand those of two answers that look at no photo: `empty` finds nothing, and `prior` finds the same
in every photo (`hemline.prior_only`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, NamedTuple

from hemline._matching import Kind, Likeness
from hemline.ap_scores import Averages, coco_scores, fashionpedia_scores
from hemline.instances import Instance, ScoredPhoto, Vocabulary
from hemline.kaggle_scores import kaggle2019_score, kaggle2020_score
from hemline.metadata import finite
from hemline.prior_only import prior_only

ScoreName = Literal["ap", "kaggle2019", "kaggle2020"]
KAGGLE = {"kaggle2019": kaggle2019_score, "kaggle2020": kaggle2020_score}
BOTH = "_iou_f1"
WORN = 0.5
"""Least score of what the prior-only baseline answers where Kaggle scores, which takes each answer alike."""


@dataclass(frozen=True)
class InstanceScore:
    """One score of a set, 0..1; NaN where it cannot be said."""

    name: str
    """`mask.ap`, `box.ap50`, `mask.ap_iou_f1`, `kaggle2019` and so on."""
    value: float
    ceiling: float | None
    """What the truth itself scores by the way that the answers went; None of networks that find garments themselves."""
    empty: float
    """What no answer at all scores."""
    prior: float
    """What the same answer in every photo scores."""


@dataclass(frozen=True)
class CategoryAP:
    """AP of one category, 0..1."""

    number: int
    """The publisher's."""
    name: str
    drawn: int
    box: float
    mask: float | None
    """None where not all masks are known."""
    with_attributes: float | None
    """Fashionpedia's AP_IoU+F1, of masks where they are known; None of categories that carry no attributes."""
    ceiling: float | None
    """AP of masks where they are known, else of boxes, as in `InstanceScore`; so is `prior`."""
    prior: float


@dataclass(frozen=True)
class InstanceReport:
    """How well the garments of a set's photos are found one by one."""

    name: str
    photos: int
    drawn: int
    """Garments of the truth, crowds left out."""
    found: int
    scores: list[InstanceScore]
    categories: list[CategoryAP]
    """Those that are drawn; empty where AP was not asked for."""
    notes: list[str] = field(default_factory=list)
    """What must be said of the figures."""

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; what cannot be said is None."""
        plain: dict[str, Any] = finite(asdict(self))
        return plain

    def summary(self) -> dict[str, float]:
        """The scores by name."""
        return {score.name: score.value for score in self.scores}


def instance_report(
    name: str,
    photos: Sequence[ScoredPhoto],
    vocabulary: Vocabulary,
    *,
    scores: Sequence[ScoreName] = ("ap",),
    ceiling: Sequence[ScoredPhoto] | None = None,
    notes: Sequence[str] = (),
) -> InstanceReport:
    """Score what was found in the photos of a set.

    Masks are compared where all garments, drawn and found, have one, and attributes where any that is drawn has some;
    by ordinary F1 only where masks are (or boxes, if there are none).

    Args:
        name: What the set is called.
        photos: What each shows, and what was found there.
        vocabulary: The numbers that both are written in.
        scores: `ap`: COCO's AP, and Fashionpedia's where attributes are compared. `kaggle2019`, `kaggle2020`: the
            scores of Kaggle's challenges, which need masks.
        ceiling: The same photos with what would have been found had the network answered the truth, of networks that
            do not find garments one by one.
        notes: What must be said of the figures.

    Raises:
        DataError, ValueError: masks do not fit their photos; there is no photo, or are not all masks, for Kaggle.
    """
    masked = all(x.mask is not None for photo in photos for x in (*photo.truth, *photo.found))
    described = any(truth.attributes for photo in photos for truth in photo.truth)
    kinds: tuple[Kind, ...] = ("box", "mask") if masked else ("box",)
    forms: tuple[Likeness, ...] = ("official", "present") if described else ()

    def judge(answered: Sequence[ScoredPhoto], most: Sequence[ScoredPhoto] | None = None) -> _Judged:
        averages = {
            kind: _averages(answered, vocabulary, kind, forms if kind == kinds[-1] else forms[:1])
            for kind in kinds
            if "ap" in scores
        }
        kaggle = {key: KAGGLE[key](most or answered).mean for key in KAGGLE if key in scores}
        return _Judged(averages, {k: v for kind in averages for k, v in _rows(kind, averages[kind]).items()} | kaggle)

    prior_answers = prior_only(photos)
    value, empty = judge(photos), judge([photo._replace(found=[]) for photo in photos])
    prior = judge(prior_answers, [photo._replace(found=_worn_by_most(photo.found)) for photo in prior_answers])
    best = None if ceiling is None else judge(ceiling)
    return InstanceReport(
        name,
        len(photos),
        sum(not truth.crowd for photo in photos for truth in photo.truth),
        sum(len(photo.found) for photo in photos),
        [
            InstanceScore(key, score, best and best.rows[key], empty.rows[key], prior.rows[key])
            for key, score in value.rows.items()
        ],
        _categories(value, prior, best, kinds[-1]) if value.averages else [],
        list(notes),
    )


class _Judged(NamedTuple):
    """The scores of one answer."""

    averages: Mapping[Kind, Mapping[str, Averages]]
    """AP of each kind by what is added to its name: nothing for IoU alone, or what stands of F1."""
    rows: dict[str, float]


def _averages(
    photos: Sequence[ScoredPhoto], vocabulary: Vocabulary, kind: Kind, forms: Sequence[Likeness]
) -> dict[str, Averages]:
    averages = {"": coco_scores(photos, vocabulary, kind).iou}
    for form in forms:
        scores = fashionpedia_scores(photos, vocabulary, kind, form)
        mark = "" if form == "official" else f"_{form}"
        averages |= {f"_f1{mark}": scores.f1, f"{BOTH}{mark}": scores.both}
    return averages


def _rows(kind: Kind, averages: Mapping[str, Averages]) -> dict[str, float]:
    """The scores of a kind by name."""
    own = averages[""]
    rows = {"ap": own.ap, "ap50": own.at["iou50"], "ap75": own.at["iou75"]}
    rows |= {"ap_small": own.ap_small, "ap_medium": own.ap_medium, "ap_large": own.ap_large}
    rows |= {f"ap_{group}": ap for group, ap in own.groups.items()}
    rows |= {f"ap{key}": average.ap for key, average in averages.items()} | {"ar_100": own.ar_100}
    return {f"{kind}.{name}": value for name, value in rows.items()}


def _categories(value: _Judged, prior: _Judged, ceiling: _Judged | None, kind: Kind) -> list[CategoryAP]:
    """Those that are drawn; `kind` is what baselines are compared by."""
    masks, both = _by_number(value, "mask"), _by_number(value, kind, BOTH)
    best, usual = _by_number(ceiling, kind), _by_number(prior, kind)
    return [
        CategoryAP(
            number=c.number,
            name=c.name,
            drawn=c.drawn,
            box=c.ap,
            mask=masks.get(c.number),
            with_attributes=both.get(c.number),
            ceiling=best.get(c.number),
            prior=usual[c.number],
        )
        for c in value.averages["box"][""].categories
        if c.drawn
    ]


def _by_number(judged: _Judged | None, kind: Kind, key: str = "") -> dict[int, float]:
    """AP of each category; empty where it was not measured."""
    average = judged.averages.get(kind, {}).get(key) if judged else None
    return {category.number: category.ap for category in average.categories} if average else {}


def _worn_by_most(found: Sequence[Instance]) -> list[Instance]:
    """What the prior-only answer says where each answer counts alike: what most photos show, or the commonest thing."""
    return [one for one in found if one.score >= WORN] or list(found[:1])
