"""The vote of a product's photos: what it is, from what each of them shows.

**Who votes.** Each photo of the product that was answered has one vote, cast by its main garment (`is_main`). A
duplicate votes with the garments of its twin; copies of one photo within a product have one vote together. A photo
without a garment casts none.

**How.** A vote weighs as much as its score. The category with the largest sum of scores wins. Attributes and colours
are voted over the main garments of the winning category alone, so that a photo of the shoes says nothing of a dress.
Of a group that allows one value, the label with the largest sum of scores wins; of one that allows many, every label
that more than half of those garments have of which the group says anything. A garment of which it says nothing is no
vote against any label. Colours weigh by their share of the garment: `colour` is the one with the largest sum, and
`colours` holds it and all that more than half of those garments have.

**Ties.** Of equal sums, the higher mean wins (fewer photos that are surer), then the name that comes first. Scores are
summed as whole millionths, so the order of the photos never changes a row.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pyarrow as pa

from hemline.catalog.tables import COLOUR, column_of

UNIT = 1_000_000
"""Scores are summed in whole parts of 1 / UNIT."""
VOTE = pa.struct([("group", pa.string()), ("label", pa.string()), ("photos", pa.int64()), ("score", pa.float32())])
BEFORE = pa.schema(
    [
        ("photos", pa.int64()), ("photos_ok", pa.int64()), ("photos_failed", pa.int64()),
        ("positions", pa.list_(pa.int64())), ("category", pa.string()), ("category_share", pa.float32()),
        ("colour", pa.string()), ("colours", pa.list_(COLOUR)),
    ]
)  # fmt: skip
"""The columns of a product between its key and its groups."""
AFTER = pa.schema([("votes", pa.list_(VOTE)), ("main_position", pa.int64()), ("main_garment", pa.int32())])
"""The columns after its groups."""


class Shown(NamedTuple):
    """A photo of a product, and its main garment, where it has one."""

    position: int
    answered: int
    """Position of the photo with its answer: its own, or that of its twin."""
    ok: bool
    garment: int | None
    category: str | None
    score: float | None
    colours: list[dict[str, Any]] | None
    attributes: list[dict[str, Any]] | None


@dataclass
class _Count:
    """Votes for one label."""

    photos: int = 0
    total: int = 0
    """Sum of scores, in millionths."""

    def add(self, score: float) -> None:
        self.photos += 1
        self.total += round(score * UNIT)

    @property
    def mean(self) -> float:
        return self.total / self.photos / UNIT


class _Counts(defaultdict[str, _Count]):
    """Votes for the labels of one group."""

    def __init__(self) -> None:
        super().__init__(_Count)
        self.said = 0
        """Garments of which the group says anything."""

    def ranked(self) -> list[tuple[str, _Count]]:
        """Winner first."""
        return sorted(self.items(), key=lambda item: (-item[1].total, -item[1].mean, item[0]))

    def majority(self) -> list[str]:
        return [label for label, count in self.ranked() if 2 * count.photos > self.said]


@dataclass
class _Worn:
    """What the main garments of one category say."""

    groups: defaultdict[str, _Counts] = field(default_factory=lambda: defaultdict(_Counts))
    colours: _Counts = field(default_factory=_Counts)
    typical: dict[str, tuple[float, int, str, str]] = field(default_factory=dict)
    """For each colour the largest share, position, hex and shade (empty where it has none); positions are negative, so
    that the first is the largest."""
    best: tuple[int, int, int] | None = None
    """Score, negative position and number of the surest garment."""

    def add(self, photo: Shown) -> None:
        colours, attributes = photo.colours or (), photo.attributes or ()
        for colour in colours:
            self.colours[colour["name"]].add(colour["share"])
            typical = (colour["share"], -photo.answered, colour["hex"], colour.get("shade") or "")
            self.typical[colour["name"]] = max(self.typical.get(colour["name"], typical), typical)
        self.colours.said += bool(colours)
        for label in attributes:
            self.groups[label["group"]][label["label"]].add(label["score"])
        for group in {label["group"] for label in attributes}:
            self.groups[group].said += 1
        assert photo.garment is not None
        assert photo.score is not None
        surest = (round(photo.score * UNIT), -photo.answered, photo.garment)
        self.best = max(self.best or surest, surest)

    def seen(self) -> list[dict[str, Any]]:
        """The colours of the product."""
        ranked, most = self.colours.ranked(), self.colours.majority()
        return [
            {"name": name, "hex": self.typical[name][2], "share": round(count.total / self.colours.said / UNIT, 4),
             "shade": self.typical[name][3] or None}
            for i, (name, count) in enumerate(ranked) if i == 0 or name in most
        ]  # fmt: skip


def vote(photos: Iterable[Shown], groups: pa.Schema) -> dict[str, Any]:
    """The row of a product, but for its key.

    Args:
        photos: Of the product, those with the same `answered` side by side.
        groups: The columns of attribute groups: text where one value is allowed, a list where many are.
    """
    categories, worn = _Counts(), defaultdict[str, _Worn](_Worn)
    positions: list[int] = []
    failed, before = 0, None
    for photo in photos:
        positions.append(photo.position)
        failed += not photo.ok
        if photo.ok and photo.answered != before:
            categories.said += 1
            if photo.category is not None:
                assert photo.score is not None
                categories[photo.category].add(photo.score)
                worn[photo.category].add(photo)
        before = photo.answered
    row: dict[str, Any] = dict.fromkeys([*BEFORE.names, *groups.names, *AFTER.names])
    row |= {"photos": len(positions), "photos_ok": len(positions) - failed, "photos_failed": failed}
    row |= {"positions": sorted(positions), "votes": list(_votes("category", categories))}
    if categories:
        category, count = categories.ranked()[0]
        row |= {"category": category, "category_share": round(count.photos / categories.said, 4)}
        row |= _of_winner(worn[category], groups)
        row["votes"] += _all_votes(worn[category], groups)
    return row


def _of_winner(worn: _Worn, groups: pa.Schema) -> dict[str, Any]:
    assert worn.best is not None
    colours = worn.seen()
    row = {"colours": colours, "colour": colours[0]["name"] if colours else None}
    row |= {"main_position": -worn.best[1], "main_garment": worn.best[2]}
    for group, counts in worn.groups.items():
        several = pa.types.is_list(groups.field(column_of(group)).type)
        row[column_of(group)] = (counts.majority() or None) if several else counts.ranked()[0][0]
    return row


def _all_votes(worn: _Worn, groups: pa.Schema) -> Iterator[Mapping[str, Any]]:
    yield from _votes("colour", worn.colours)
    for group in sorted(worn.groups, key=lambda group: groups.names.index(column_of(group))):
        yield from _votes(group, worn.groups[group])


def _votes(group: str, counts: _Counts) -> Iterator[Mapping[str, Any]]:
    for label, count in counts.ranked():
        yield {"group": group, "label": label, "photos": count.photos, "score": round(count.mean, 4)}
