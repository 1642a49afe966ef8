"""Which answers take which truths, photo by photo and category by category, at all thresholds at once.

The order of things is that of `COCOeval.evaluateImg` and of fashionpedia-api's `FPEval.evaluateImg`.

Shapes: G truths and D answers of a photo and category, N answers of a category, A ranges of area, T least IoUs,
F least F1s, V attributes of the vocabulary.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco  # type: ignore[import-untyped]  # pycocotools ships no types

from hemline._bootstrap import Floats
from hemline.errors import DataError
from hemline.instances import Instance, ScoredPhoto, Vocabulary

Kind = Literal["box", "mask"]
Likeness = Literal["official", "present"]
Bools = NDArray[np.bool_]

OFF = -1.0
"""A least IoU or F1 that everything reaches."""
MOST = 100
"""Answers of a photo and category that are looked at, the best ones."""


class Meeting(NamedTuple):
    """Truths and answers of one category in one photo."""

    truth: list[Instance]
    found: list[Instance]
    """Best first, at most `MOST`."""
    truth_area: Floats
    found_area: Floats


class Ranking(NamedTuple):
    """The answers of one category over all photos, best first, and what became of them."""

    place: NDArray[np.int64]
    """(N,) how many answers of their photo are better."""
    right: Bools
    """(A, T, F, N) they took a truth that counts."""
    wrong: Bools
    """(A, T, F, N) they took none. What is neither took a crowd, or lies outside the range of areas."""
    drawn: NDArray[np.int64]
    """(A,) truths that count."""


def meetings(photos: Iterable[ScoredPhoto], kind: Kind) -> dict[int, list[Meeting]]:
    """The photos' truths and answers by category.

    Raises:
        DataError: masks are to be compared, and something has none, or one of another size than its photo.
    """
    met: dict[int, list[Meeting]] = defaultdict(list)
    for photo in photos:
        best_first = sorted(photo.found, key=lambda garment: -garment.score)
        if kind == "mask":
            _check(photo)
        sides = defaultdict[int, tuple[list[int], list[int]]](lambda: ([], []))
        for side, garments in enumerate((photo.truth, best_first)):
            for index, garment in enumerate(garments):
                sides[garment.category][side].append(index)
        truth_area, found_area = _areas(photo.truth, "mask"), _areas(best_first, kind)
        for category, (truth, found) in sides.items():
            found = found[:MOST]
            met[category].append(
                Meeting(
                    [photo.truth[i] for i in truth], [best_first[i] for i in found],
                    truth_area[truth], found_area[found],
                )
            )  # fmt: skip
    return met


def rank(
    met: Sequence[Meeting],
    kind: Kind,
    areas: Floats,
    least_iou: Floats,
    least_f1: Floats,
    likeness: Iterator[Floats] | None = None,
) -> Ranking:
    """Let the answers of one category take their truths.

    Args:
        met: Its photos; of equal scores the first is the better.
        kind: What overlaps.
        areas: (A, 2) least and most pixels of what counts.
        least_iou: (T,) IoUs that an answer must reach.
        least_f1: (F,) F1s that it must reach.
        likeness: (D, G) F1s of each photo, in a category that carries attributes. There a truth takes the place of
            another only where it is as good in both, and a crowd is taken once; elsewhere, any number of times.
    """
    scores = np.array([garment.score for meeting in met for garment in meeting.found], np.float64)
    sizes = [len(meeting.found) for meeting in met]
    found_area = np.concatenate([np.zeros(0), *(meeting.found_area for meeting in met)])
    shape = (len(areas), len(least_iou), len(least_f1), len(scores))
    taking, aside = np.zeros(shape, bool), np.zeros(shape, bool)
    aside[:] = _outside(found_area, areas)[:, None, None]
    drawn = np.zeros(len(areas), np.int64)
    for meeting, end, size in zip(met, np.cumsum(sizes), sizes, strict=True):
        f1 = None if likeness is None else next(likeness)
        if not meeting.truth:
            continue
        crowd = np.array([garment.crowd for garment in meeting.truth])
        unwanted = crowd | _outside(meeting.truth_area, areas)
        drawn += (~unwanted).sum(1)
        if size:
            overlap = _overlap(meeting, kind, crowd)
            again = crowd & (f1 is None)
            f1 = np.ones_like(overlap) if f1 is None else f1
            part = slice(end - size, end)
            taking[..., part], took_aside = take(overlap, f1, unwanted, again, least_iou, least_f1)
            aside[..., part] = np.where(taking[..., part], took_aside, aside[..., part])
    order = np.argsort(-scores, kind="stable")
    place = np.concatenate([np.zeros(0, np.int64), *map(np.arange, sizes)])[order]
    taking, aside = taking[..., order], aside[..., order]
    return Ranking(place, taking & ~aside, ~taking & ~aside, drawn)


def take(
    overlap: Floats, likeness: Floats, unwanted: Bools, again: Bools, least_iou: Floats, least_f1: Floats
) -> tuple[Bools, Bools]:
    """Let the answers of one photo, best first, each take the truth that suits it best.

    A truth is taken once. It suits where IoU and F1 both reach their thresholds; a later one takes the place of an
    earlier one where it is at least as good in both. Unwanted ones come last, and only where no other suited.

    Args:
        overlap: (D, G) IoUs.
        likeness: (D, G) F1s.
        unwanted: (A, G) truths that do not count.
        again: (G,) truths that may be taken any number of times.
        least_iou: (T,) see `rank`.
        least_f1: (F,) likewise.

    Returns:
        (A, T, F, D) whether an answer took a truth, and whether that one is unwanted.
    """
    order = np.argsort(unwanted, axis=1, kind="stable")                        # (A, G)
    iou, f1 = overlap[:, order, None, None], likeness[:, order, None, None]    # (D, A, G, 1, 1)
    last = np.take_along_axis(unwanted, order, 1)[..., None, None]             # (A, G, 1, 1)
    once = ~again[order].T[..., None, None]                                    # (G, A, 1, 1)
    number = np.arange(len(again))[:, None, None, None]
    shape = (len(unwanted), len(least_iou), len(least_f1))
    reach_iou = np.broadcast_to(np.minimum(least_iou, 1 - 1e-10)[:, None], shape)
    reach_f1 = np.broadcast_to(np.minimum(least_f1, 1 - 1e-10), shape)
    free = np.ones((len(again), *shape), bool)
    taking, aside = np.zeros((2, *shape, len(overlap)), bool)
    for d in np.flatnonzero((overlap >= reach_iou.min()).any(1)):
        best_iou, best_f1, chosen, wanted = reach_iou, reach_f1, np.full(shape, -1), np.zeros(shape, bool)
        for g in range(len(again)):
            suits = free[g] & (iou[d, :, g] >= best_iou) & (f1[d, :, g] >= best_f1) & ~(wanted & last[:, g])
            if suits.any():
                best_iou = np.where(suits, iou[d, :, g], best_iou)
                best_f1 = np.where(suits, f1[d, :, g], best_f1)
                chosen[suits] = g
                wanted |= suits & ~last[:, g]
        free &= (chosen != number) | ~once
        taking[..., d] = chosen >= 0
        aside[..., d] = taking[..., d] & ~wanted
    return taking, aside


def likenesses(met: Iterable[Meeting], vocabulary: Vocabulary, form: Likeness) -> Iterator[Floats]:
    """(D, G) F1 of the attributes of each answer and each truth, photo by photo.

    `present` is that of the attributes that are there, 1 where neither has any. `official` is scikit-learn's macro F1
    of the two vectors of yes and no: the mean of the F1 of yes and the F1 of no, without the one that occurs in
    neither vector.
    """
    total = len(vocabulary.attributes)
    for meeting in met:
        said, true = ([garment.attributes & vocabulary.attributes.keys() for garment in side]
                      for side in (meeting.found, meeting.truth))  # fmt: skip
        shared = np.array([[len(one & other) for other in true] for one in said], np.float64)
        shared = shared.reshape(len(said), len(true))
        sums = np.array([len(one) for one in said], np.float64)[:, None] + [len(other) for other in true]
        present = np.divide(2 * shared, sums, out=np.ones_like(shared), where=sums > 0)
        if form == "present":
            yield present
            continue
        absent_sums = 2 * total - sums
        neither = total - (sums - shared)                # those that neither has
        absent = np.divide(2 * neither, absent_sums, out=np.ones_like(shared), where=absent_sums > 0)
        yield np.where(sums == 0, absent, np.where(absent_sums == 0, present, (absent + present) / 2))


def _overlap(meeting: Meeting, kind: Kind, crowd: Bools) -> Floats:
    """(D, G) IoUs; over a crowd, the share of the answer that lies on it."""
    if kind == "box":
        found, truth = (np.array([garment.box for garment in side], np.float64)
                        for side in (meeting.found, meeting.truth))  # fmt: skip
        return np.asarray(coco.iou(found, truth, crowd.astype(int).tolist()))
    masks = [[garment.mask for garment in side] for side in (meeting.found, meeting.truth)]
    return np.asarray(coco.iou(*masks, crowd.astype(int).tolist()))


def _areas(garments: Sequence[Instance], kind: Kind) -> Floats:
    """Pixels of each mask, or of the box where boxes are meant or there is no mask."""
    areas = np.array([garment.box[2] * garment.box[3] for garment in garments], np.float64)
    if kind == "mask":
        for i, garment in enumerate(garments):
            if garment.mask is not None:
                areas[i] = coco.area(garment.mask)       # one by one: under numpy 2 it fails on lists of over 255
    return areas


def _outside(area: Floats, areas: Floats) -> Bools:
    """(A, n) whether areas (n,) lie outside each range (A, 2)."""
    return (area < areas[:, :1]) | (area > areas[:, 1:])


def _check(photo: ScoredPhoto) -> None:
    for what, garments in (("drawn", photo.truth), ("found", photo.found)):
        for garment in garments:
            if garment.mask is None:
                raise DataError(
                    f"{photo.name}: something {what} of category {garment.category} has a box and no mask; "
                    "score the boxes, or leave it out"
                )
            if tuple(garment.mask["size"]) != tuple(photo.size):
                raise DataError(
                    f"{photo.name}: a mask {what} of category {garment.category} is of size "
                    f"{list(garment.mask['size'])}, the photo of {list(photo.size)}; they must be equal"
                )
