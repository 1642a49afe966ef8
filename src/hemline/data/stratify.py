"""A split in which each label has its share on both sides, and what a checkpoint keeps of it.

`held_out_groups` is iterative stratification (Sechidis, Tsoumakas, Vlahavas, "On the Stratification of Multi-label
Data", ECML PKDD 2011), over groups of photos: the label with the fewest groups left is dealt out first, each group to
the side that lacks most photos of the label. Two rules are ours: a side that has none of a label is given the label's
last group, and a side that has its share of photos gets no more, which goes first.

Unlike the split by hash it depends on what is in the dataset, so a checkpoint says which groups were held out, as
fingerprints.

Shapes: P photos, G groups, L labels.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

ORDER = 1
"""Hashed with each group: it decides between groups and sides that are alike. Frozen; the seed of a run changes
nothing of what is held out."""
FINGERPRINT = 12
"""Hexadecimal digits of a group's fingerprint: of 100,000 groups two are alike in 2 of 100,000 splits."""
HELD_OUT = "held_out"
"""Key of a dataset's entry in `Metadata.data`: fingerprints of the groups that were held out of it."""


def fingerprint(group: str) -> str:
    """What a checkpoint keeps of the name of a group."""
    return hashlib.sha256(group.encode()).hexdigest()[:FINGERPRINT]


def held_out_of(data: Iterable[Mapping[str, Any]]) -> dict[str, frozenset[str]]:
    """Fingerprints of the groups that were held out of each dataset, by its name; those split by hash are not there.

    Args:
        data: `Metadata.data` of the weights.
    """
    held_out: dict[str, frozenset[str]] = {}
    for entry in data:
        if isinstance(entry, Mapping) and isinstance(entry.get(HELD_OUT), list):
            name = str(entry.get("name"))
            held_out[name] = held_out.get(name, frozenset()) | frozenset(map(str, entry[HELD_OUT]))
    return held_out


def split_of_recipe(recipe: Mapping[str, Any]) -> Literal["hash", "stratified"]:
    """How weights of this recipe chose what they hold out; by hash, where it does not say."""
    return "stratified" if recipe.get("split") == "stratified" else "hash"


def held_out_groups(
    groups: Sequence[str], shows: NDArray[np.bool_] | Sequence[NDArray[np.bool_]], share: float
) -> set[str]:
    """The groups that validate; it does not depend on the order of the photos.

    They hold `share` of the photos, to within one group. A label of two groups or more is on both sides, if those with
    fewer groups, which come first, leave room for it.

    Args:
        groups: (P,) the group of each photo.
        shows: (P, L) the labels of each photo.
        share: The share of the photos that is wanted, 0..1.
    """
    if not len(groups):
        return set()
    names, sizes, has = _per_group(groups, np.asarray(shows, bool))
    wanted = np.array([1 - share, share])                                                   # train, validation
    photos_wanted = wanted * sizes.sum()
    labels_wanted = wanted[:, None] * has.sum(0)                                            # (2, L) in photos
    groups_on = np.zeros((2, has.shape[1]), np.int64)                                       # (2, L)
    groups_left = (has > 0).sum(0)                                                          # (L,)
    photos_left = int(sizes.sum())
    side_of = np.full(len(names), -1)

    def assign(g: int, label: int | None) -> None:
        nonlocal photos_left
        side = _full(photos_wanted, photos_left)
        if side is None:
            side = _last_chance(has[g] > 0, groups_left, groups_on)
        if side is None:
            wishes = photos_wanted if label is None else labels_wanted[:, label]
            side = _side(wishes, photos_wanted, names[g])
        side_of[g] = side
        photos_wanted[side] -= sizes[g]
        labels_wanted[side] -= has[g]
        groups_on[side] += has[g] > 0
        groups_left[has[g] > 0] -= 1
        photos_left -= int(sizes[g])

    while (groups_left > 0).any():
        label = int(np.where(groups_left > 0, groups_left, np.iinfo(np.int64).max).argmin())
        for g in np.flatnonzero((has[:, label] > 0) & (side_of < 0)).tolist():
            assign(g, label)
    for g in np.flatnonzero(side_of < 0).tolist():
        assign(g, None)
    return {name for name, side in zip(names, side_of, strict=True) if side == 1}


def _per_group(
    groups: Sequence[str], shows: NDArray[np.bool_]
) -> tuple[list[str], NDArray[np.int64], NDArray[np.int64]]:
    """(G,) names, (G,) photos, (G, L) photos that show each label; the largest first, else by hash."""
    members: dict[str, list[int]] = defaultdict(list)
    for i, group in enumerate(groups):
        members[group].append(i)
    names = sorted(members, key=lambda name: (-len(members[name]), _hash(name)))
    sizes = np.array([len(members[name]) for name in names])
    return names, sizes, np.stack([shows[members[name]].sum(0) for name in names]).astype(np.int64)


def _full(photos_wanted: NDArray[np.float64], photos_left: int) -> int | None:
    """The side that takes the rest, because the other has what it wants or it needs every photo that is left."""
    if photos_wanted[1] <= 0:
        return 0
    return 1 if photos_wanted[1] >= photos_left else None


def _last_chance(
    shown: NDArray[np.bool_], groups_left: NDArray[np.int64], groups_on: NDArray[np.int64]
) -> int | None:
    """The side that lacks a label of which this is the last group; training, where both sides lack one."""
    last = shown & (groups_left == 1) & (groups_on.sum(0) > 0)
    lacking = (last & (groups_on == 0)).any(1)
    return int(lacking.argmax()) if lacking.any() else None


def _side(wishes: NDArray[np.float64], photos_wanted: NDArray[np.float64], name: str) -> int:
    """The side that wishes most, then that wants most photos, then by hash."""
    for asked in (wishes, photos_wanted):
        if asked[0] != asked[1]:
            return int(asked.argmax())
    return _hash(name)[0] % 2


def _hash(group: str) -> bytes:
    return hashlib.sha256(f"{ORDER}/{group}".encode()).digest()
