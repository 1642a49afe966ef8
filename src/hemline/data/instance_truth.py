"""Garments one by one, out of samples: maps of classes divided into things, and the truth that instance scores read.

Shapes: H W photo, S segments, K mask classes, C categories, L labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco  # type: ignore[import-untyped]  # pycocotools ships no types

from hemline.data.sample import MOST_SEGMENTS, Region, Sample, Segments
from hemline.instances import Instance, attribute_ids
from hemline.labels import LabelSpace
from hemline.masks import Mask, box


def separate(sample: Sample, least: float) -> Sample:
    """Divide what maps of classes merge: each connected part of a merged region becomes a region of its own.

    Pixels touch by their sides and corners. A part has the labels of its region. What is smaller than `least` stays
    the class that it is, and is nobody's region. Other regions that hold the same segments keep all their pixels.

    Args:
        sample: As a dataset gives it, or placed on its canvas.
        least: Share of the photo's area (where it is placed, of its valid pixels) below which a part is no thing.

    Returns:
        The same sample where nothing is merged; otherwise one with more segments and regions, none of them merged.

    Raises:
        ValueError: so many parts that 65,536 segments may not do.
    """
    if not any(region.merged for region in sample.regions):
        return sample
    smallest = least * (sample.segments.size if sample.valid is None else np.count_nonzero(sample.valid))
    segments, rows = sample.segments.astype(np.int32), list(range(len(sample.targets)))
    now = {s: [s] for s in rows}                          # the ids that each segment's pixels have by now
    parts: dict[tuple[int, ...], list[list[int]]] = {}    # of each merged set of segments
    for own in dict.fromkeys(region.segments for region in sample.regions if region.merged):
        members = np.zeros(len(rows), np.bool_)
        members[[s for segment in own for s in now[segment]]] = True
        inside = members[segments]
        if sample.valid is not None:
            inside &= sample.valid > 0
        x, y, width, height = cv2.boundingRect(inside.view(np.uint8))
        crop = slice(y, y + height), slice(x, x + width)
        number, of_part = _parts(inside[crop], smallest)
        if (len(own) + 1) * number + len(rows) > np.iinfo(np.uint16).max:
            raise ValueError(f"{sample.key}: {number} parts, more than a map of segments holds; take a larger `least`")
        found = _divide(segments[crop], of_part, number, inside[crop], [now[segment] for segment in own], rows)
        for earlier in (one for before in parts.values() for one in before):
            earlier += [id for s in earlier for id in found.split.get(s, ())]
        parts[own] = found.parts
    wide: Segments = segments.astype(np.uint16)
    return replace(
        sample,
        segments=wide if len(rows) > MOST_SEGMENTS else segments.astype(np.uint8),
        targets=sample.targets[rows],
        regions=[new for region in sample.regions for new in _renumbered(region, now, parts)],
    )


class _Divided(NamedTuple):
    parts: list[list[int]]
    """The ids that each part has."""
    split: dict[int, list[int]]
    """The new ids of pixels that had one id before."""


def _divide(
    ids: NDArray[np.int32],
    of_part: NDArray[np.int32],
    number: int,
    inside: NDArray[np.bool_],
    segments: Sequence[list[int]],
    rows: list[int],
) -> _Divided:
    """Give each part of each segment an id of its own; new ids are added to `segments` and to `rows`."""
    divided = _Divided([[] for _ in range(number)], {})
    for members in segments:
        for s in list(members):
            mine = inside & (ids == s)
            for i, part in enumerate(np.flatnonzero(np.bincount(of_part[mine])).tolist()):
                id = s if i == 0 else len(rows)           # the first keeps the id
                if i:
                    ids[mine & (of_part == part)] = id
                    rows.append(rows[s])
                    members.append(id)
                    divided.split.setdefault(s, []).append(id)
                if part:
                    divided.parts[part - 1].append(id)
    return divided


def _parts(inside: NDArray[np.bool_], smallest: float) -> tuple[int, NDArray[np.int32]]:
    """How many connected parts have `smallest` pixels or more, and which one each pixel (H, W) is of, from 1."""
    _, of_part, stats, _ = cv2.connectedComponentsWithStats(inside.view(np.uint8), connectivity=8)
    large = stats[:, cv2.CC_STAT_AREA] >= smallest
    large[0] = False
    number = np.where(large, np.cumsum(large), 0).astype(np.int32)
    return int(large.sum()), number[of_part]


def _renumbered(
    region: Region, now: dict[int, list[int]], parts: dict[tuple[int, ...], list[list[int]]]
) -> Sequence[Region]:
    if not region.drawn:
        return [region]
    if region.merged:
        return [replace(region, segments=tuple(sorted(ids)), merged=False) for ids in parts[region.segments]]
    return [replace(region, segments=tuple(sorted(id for s in region.segments for id in now[s])))]


def draws(sample: Sample) -> bool:
    """Whether garments are drawn on a photo, so that it can say what was found rightly and what was not."""
    return len(sample.targets) > 1 or any(region.drawn for region in sample.regions)


def truth_of(sample: Sample, space: LabelSpace) -> list[Instance]:
    """The garments that are drawn on a photo, and, as crowds, the pixels that may be some.

    A drawn region of one known shown category is a garment. A pixel that is, or may be, of a category and that no
    garment of that category covers (a region that is one of several categories, a crowd, a part too small to be a
    thing, pixels of which nothing is known) is a crowd of it: what is found there is neither right nor wrong.
    Doubtful regions are no garments.

    Args:
        sample: At the size that answers have; of a map of classes, what `separate` made of it.
        space: Its label space.

    Returns:
        Garments in the regions' order, then crowds in the categories'. Attributes are the labels known to be so.
    """
    num = len(space.categories)
    shown = np.array([category.shown for category in space.categories])
    may_be = sample.targets[:, :num] != 0                                    # (S, C): what no garment covers, yet
    may_be[np.bincount(sample.segments.ravel(), minlength=len(may_be)) == 0] = False
    ids = attribute_ids(space)
    drawn = []
    for region in (region for region in sample.regions if region.drawn and not region.doubt):
        is_one = np.flatnonzero((region.labels[:num] == 1) & shown)
        own = list(region.segments)
        if len(is_one) == 1:
            category = space.categories[is_one[0]]
            may_be[own, category.index] = False
            said = {ids[x.name] for x in space.labels if x.shown and region.labels[x.index] == 1}
            drawn.append(instance(_mask(sample, own), category.id, frozenset(said)))
    crowds: dict[tuple[int, ...], Instance] = {}
    for category in (category for category in space.categories if category.shown):
        own = np.flatnonzero(may_be[:, category.index]).tolist()
        if own:
            key = tuple(own)
            if key not in crowds:
                crowds[key] = replace(instance(_mask(sample, own), category.id), crowd=True)
            drawn.append(replace(crowds[key], category=category.id))
    return drawn


def instance(mask: Mask, category: int, attributes: frozenset[int | str] = frozenset()) -> Instance:
    """A garment whose mask (H, W) is known, by the publisher's numbers."""
    x, y, width, height = box(mask)
    rle = coco.encode(np.asfortranarray(mask.view(np.uint8)))
    return Instance(category, rle, (float(x), float(y), float(width), float(height)), attributes)


def _mask(sample: Sample, segments: Sequence[int]) -> Mask:
    """(H, W) True on some segments."""
    members = np.zeros(len(sample.targets), np.bool_)
    members[list(segments)] = True
    mask: Mask = members[sample.segments]
    return mask
