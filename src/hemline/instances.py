"""Garments one by one: what a photo truly shows and what was answered, in the form that instance scores read.

Whatever finds garments (a network that finds instances, the connected parts of a dense one, anybody's COCO file) and
whatever knows them (a dataset, a COCO file, a Kaggle table) is brought into this one form, by the publisher's numbers.

Shapes: H W a photo's size in pixels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from hemline.labels import LabelSpace

RLE = dict[str, Any]
"""A mask as pycocotools holds it: `size` [H, W] and `counts`, bytes of COCO's compressed run lengths."""

OUTERWEAR = frozenset(["upperbody", "lowerbody", "wholebody"])
"""Supercategories of Fashionpedia that its paper scores together under this name."""
PARTS = frozenset(["garment parts", "closures", "decorations"])
"""Those that it scores together as parts; what is in neither is an accessory."""


@dataclass(frozen=True, slots=True, eq=False)
class Instance:
    """One garment, drawn or found."""

    category: int
    """The publisher's number (`Category.id`)."""
    mask: RLE | None
    """None where only a box is known."""
    box: tuple[float, float, float, float]
    """(x, y, width, height) in pixels."""
    attributes: frozenset[int | str] = frozenset()
    """The publisher's numbers (`Label.id`; of a label space, those of `attribute_ids`)."""
    score: float = 1.0
    """0..1; 1 of what is drawn."""
    crowd: bool = False
    """Drawn: many garments as one. What is found there is neither right nor wrong."""


class ScoredPhoto(NamedTuple):
    """A photo with what it shows and what was found."""

    name: str
    size: tuple[int, int]
    """(H, W) that all its masks have."""
    truth: list[Instance]
    found: list[Instance]


@dataclass(frozen=True)
class Vocabulary:
    """The numbers that a set of truths and answers is written in."""

    categories: Mapping[int, str]
    """Names by number, in order."""
    attributes: Mapping[int | str, str] = field(default_factory=dict)
    """Names by number, in order: the vector that F1 is measured over."""
    described: frozenset[int] = frozenset()
    """The categories that carry attributes; of the others only masks are compared."""
    groups: Mapping[str, frozenset[int]] = field(default_factory=dict)
    """Categories that are also scored together: `outerwear`, `accessory`, `part`."""

    @classmethod
    def of(cls, space: LabelSpace) -> Vocabulary:
        """The numbers of a label space.

        Its groups are Fashionpedia's, in spaces with Fashionpedia's supercategories, and none in others.
        """
        shown = [c for c in space.categories if c.shown]
        labels = [x for x in space.labels if x.shown]
        anything = any(not x.carried_by for x in labels)
        carriers = {name for x in labels for name in x.carried_by}
        return cls(
            {c.id: c.name for c in shown},
            {id: name for name, id in attribute_ids(space).items()},
            frozenset(c.id for c in shown if anything or c.name in carriers),
            groups_of({c.id: c.supercategory for c in shown}),
        )


def attribute_ids(space: LabelSpace) -> dict[str, int | str]:
    """What the shown attributes of a label space are told apart by, by name: the publisher's number.

    It is the name itself where several have that number, for some publishers count from 1 in each group.
    """
    shown = [label for label in space.labels if label.shown]
    times = Counter(label.id for label in shown)
    return {label.name: label.id if times[label.id] == 1 else label.name for label in shown}


def groups_of(supercategories: Mapping[int, str | None]) -> dict[str, frozenset[int]]:
    """Categories that Fashionpedia scores together: `outerwear`, `accessory`, `part`; none in sets without outerwear.

    Args:
        supercategories: The supercategory of each category, by its number.
    """
    outer = frozenset(id for id, name in supercategories.items() if name in OUTERWEAR)
    part = frozenset(id for id, name in supercategories.items() if name in PARTS)
    groups = {"outerwear": outer, "accessory": frozenset(supercategories) - outer - part, "part": part}
    return {name: ids for name, ids in groups.items() if ids} if outer else {}
