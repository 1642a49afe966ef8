"""The scores of Kaggle's iMaterialist (Fashion) challenges: 2019 (FGVC6) and 2020 (FGVC7).

Kaggle's own code is not public. What is computed here is what its pages say, as participants repeat it (the 2019
winner's amirassov/kaggle-imaterialist, Julienbeaulieu/iMaterialist2020-Image-Segmentation-on-Detectron2, and the 2020
winner's write-up); what they leave open is said at each score.

Both compare masks at the size of the challenge's submissions (`hemline.kaggle.submission_size`), take every answer
alike whatever its score, and are means over photos. Where answers of a photo share no pixel, as the challenges demand,
at most one can overlap a drawn garment by more than half, so the order of matching says nothing. Where they do share
pixels, the pair of the highest IoU is matched first, and each garment and each answer is matched once.

Shapes: T thresholds of IoU, F thresholds of F1.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco  # type: ignore[import-untyped]  # pycocotools ships no types

from hemline.instances import Instance, ScoredPhoto

THRESHOLDS = tuple(percent / 100 for percent in range(50, 100, 5))
"""Of IoU and of F1 alike. What is matched lies above, never on it."""


@dataclass(frozen=True, eq=False)
class KaggleScore:
    """A challenge's score of a set of photos."""

    mean: float
    """0..1; what the leaderboard shows."""
    values: NDArray[np.float64]
    """The same at each threshold: (T,) in 2019, (T, F) in 2020."""


class Pair(NamedTuple):
    """A drawn garment and an answer that may be its match."""

    iou: float
    f1: float
    """1 where the garment has no attributes."""
    truth: int
    found: int


def kaggle2019_score(photos: Sequence[ScoredPhoto]) -> KaggleScore:
    """The score of 2019: the mean over photos and IoU thresholds of TP / (TP + FP + FN).

    An answer is a true positive where its IoU with a drawn garment is above the threshold and its ClassId is the
    garment's: the category and exactly the attributes. One whose attributes differ is a false positive, and the
    garment a false negative. A photo in which nothing is drawn and nothing answered scores 1.

    Unknown of the original: whether counts are taken over a photo, as here, or over each ClassId of it and then
    averaged, as in the winner's local figure. Crowds are drawn garments like any other; the challenge has none.

    Args:
        photos: One or more; masks at 512 x 512.

    Raises:
        ValueError: no photo; a garment without a mask, or with one of another size than its photo's.
    """

    def score(photo: ScoredPhoto) -> NDArray[np.float64]:
        pairs = _pairs(photo, lambda instance: (instance.category, instance.attributes))
        hits = _above(_matched(pairs))
        return _share(hits, len(photo.found) + len(photo.truth) - hits, bare=not photo.truth and not photo.found)

    return _mean(photos, score)


def kaggle2020_score(photos: Sequence[ScoredPhoto]) -> KaggleScore:
    """The score of 2020: the mean over photos and pairs of an IoU and an F1 threshold of TP / (TP + FP).

    An answer is a true positive where its IoU with a drawn garment of its category is above the one threshold and, if
    the garment has attributes, the F1 of its set of attributes and the garment's is above the other. What was not
    found costs nothing: one perfect answer in each photo scores 1.

    Unknown of the original: that categories must agree is not said where the rules are repeated, though each answer
    names one; and what a photo without an answer scores: here 0, or 1 where nothing is drawn. Crowds are drawn
    garments like any other; the challenge has none.

    Args:
        photos: One or more; masks at the size of the challenge's submissions.

    Raises:
        ValueError: no photo; a garment without a mask, or with one of another size than its photo's.
    """

    def score(photo: ScoredPhoto) -> NDArray[np.float64]:
        pairs = _pairs(photo, lambda instance: instance.category)
        hits = np.stack([_above(_matched([p for p in pairs if p.f1 > least])) for least in THRESHOLDS], axis=1)
        return _share(hits, np.full_like(hits, len(photo.found)), bare=not photo.truth and not photo.found)

    return _mean(photos, score)


def _mean(photos: Sequence[ScoredPhoto], score: Callable[[ScoredPhoto], NDArray[np.float64]]) -> KaggleScore:
    if not photos:
        raise ValueError("a score needs a photo")
    values = np.mean([score(photo) for photo in photos], axis=0)
    return KaggleScore(float(values.mean()), values)


def _share(hits: NDArray[np.int64], of: NDArray[np.int64], *, bare: bool) -> NDArray[np.float64]:
    """Hits of so many; 1 for a photo where nothing is drawn and nothing answered."""
    return np.where(bare, 1.0, hits / np.maximum(of, 1))


def _above(ious: Sequence[float]) -> NDArray[np.int64]:
    """(T,) how many lie above each threshold."""
    return (np.array(ious)[:, None] > np.array(THRESHOLDS)).sum(0) if len(ious) else np.zeros(len(THRESHOLDS), np.int64)


def _pairs(photo: ScoredPhoto, kind: Callable[[Instance], Hashable]) -> list[Pair]:
    """The pairs of one kind whose IoU is above the lowest threshold, the highest IoU first."""
    _check(photo)
    groups: dict[Hashable, tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
    for side, instances in enumerate((photo.truth, photo.found)):
        for number, instance in enumerate(instances):
            groups[kind(instance)][side].append(number)
    pairs = []
    for truths, founds in groups.values():
        if truths and founds:
            drawn, answered = [photo.truth[t].mask for t in truths], [photo.found[f].mask for f in founds]
            iou = coco.iou(answered, drawn, [False] * len(drawn))
            for f, t in np.argwhere(iou > THRESHOLDS[0]).tolist():
                truth, found = truths[t], founds[f]
                f1 = _f1(photo.truth[truth].attributes, photo.found[found].attributes)
                pairs.append(Pair(float(iou[f, t]), f1, truth, found))
    return sorted(pairs, key=lambda pair: (-pair.iou, -pair.f1, pair.truth, pair.found))


def _matched(pairs: Sequence[Pair]) -> list[float]:
    """The IoUs of the pairs that are matched, each garment and each answer once, in the order of `pairs`.

    As pairs come by falling IoU, those matched above a threshold are the first of these.
    """
    truths, founds, ious = set(), set(), []
    for pair in pairs:
        if pair.truth not in truths and pair.found not in founds:
            truths.add(pair.truth)
            founds.add(pair.found)
            ious.append(pair.iou)
    return ious


def _f1(drawn: frozenset[int | str], answered: frozenset[int | str]) -> float:
    return 2 * len(drawn & answered) / (len(drawn) + len(answered)) if drawn else 1.0


def _check(photo: ScoredPhoto) -> None:
    for instance in (*photo.truth, *photo.found):
        if instance.mask is None or tuple(instance.mask["size"]) != tuple(photo.size):
            has = "no mask" if instance.mask is None else f"a mask of {instance.mask['size']}"
            raise ValueError(f"{photo.name}: a garment has {has}; every garment needs one of {list(photo.size)}")
