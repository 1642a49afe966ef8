"""What a dataset's own words say in a label space: the `teach` block of the label space's YAML, as arrays.

The block's keys are explained where it stands (`taxonomies/street.yaml`). Everything is three-valued, as in
`hemline.data.sample`: 1 yes, 0 no, -1 unknown.

Shapes: K mask classes, L labels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hemline.data.sample import UNKNOWN
from hemline.errors import LabelError
from hemline.labels import Category, Label, LabelSpace


@dataclass(frozen=True)
class Word:
    """What one word of a dataset says."""

    target: NDArray[np.int8]
    """(K,) of a pixel drawn as the word."""
    labels: NDArray[np.int8]
    """(L,) of the region drawn as the word, categories apart from its own denied."""
    one_of: NDArray[np.bool_] | None
    """(L,) labels of which at least one is true."""
    categories: frozenset[int]
    """Categories that the word names, allows or leaves open: their absence cannot be read from its presence."""


class Knowledge:
    """The words of one dataset.

    Args:
        space: The label space to speak in.
        source: The dataset's key in the space's `teach` block.

    Raises:
        LabelError: the label space has no such block, or the block names an unknown label.
    """

    def __init__(self, space: LabelSpace, source: str) -> None:
        if source not in space.teach:
            taught = ", ".join(sorted(space.teach)) or "none"
            raise LabelError(f"label space {space.name} does not teach the words of {source} (it teaches: {taught})")
        block = space.teach[source]
        self.space = space
        self.source = source
        self.words = {str(name): self._word(str(name), entry or {}) for name, entry in block["words"].items()}
        self.alike = {
            kind: self._alike(block.get(f"alike_in_{kind}", [])) for kind in ("maps", "tags")
        }

    def region(self, word: str) -> NDArray[np.int8]:
        """(L,) what a region drawn as `word` shows; alike categories are unknown."""
        labels = self.words[word].labels.copy()
        for index in np.flatnonzero(labels[: len(self.space.categories)] == 1):
            for other in self.alike["maps"].get(int(index), ()):
                if labels[other] == 0:
                    labels[other] = UNKNOWN
        return labels

    def photo(self, words: Iterable[str], kind: str) -> tuple[NDArray[np.int8], tuple[NDArray[np.bool_], ...]]:
        """(L,) what a photo shows, and its "one of" sets, when exactly these words were drawn or listed.

        Args:
            words: The photo's words.
            kind: `maps` where they were drawn, `tags` where they were listed: it decides what a missing word denies.
        """
        said = [self.words[word] for word in words]
        num = len(self.space.categories)
        labels = np.full(self.space.num_labels, UNKNOWN, np.int8)
        open_categories = {c for word in said for c in word.categories}
        open_categories |= {other for c in open_categories for other in self.alike[kind].get(c, ())}
        labels[[c for c in range(num) if c not in open_categories]] = 0
        for label in self.space.labels:  # an attribute is absent where every garment that carries it is
            carriers = [self._category(name) for name in label.carried_by]
            if carriers and all(labels[c] == 0 for c in carriers):
                labels[label.index] = 0
        for word in said:
            spoken = word.labels.copy()
            spoken[:num][spoken[:num] == 0] = UNKNOWN     # a region's "not a hat" says nothing of the photo
            np.maximum(labels, spoken, out=labels, where=spoken >= 0)
        one_of = tuple(w.one_of for w in said if w.one_of is not None and not (labels[w.one_of] == 1).any())
        return labels, one_of

    def _category(self, name: str) -> int:
        return next(c.index for c in self.space.categories if c.name == name)

    def _word(self, name: str, entry: Mapping[str, Any]) -> Word:
        space = self.space
        if unknown_keys := set(entry) - {"is", "not", "one_of", "unknown", "pixels"}:
            raise LabelError(f"{space.name}, teach.{self.source}.{name}: unknown key {sorted(unknown_keys)}")
        target = np.zeros(space.num_masks, np.int8)
        labels = np.full(space.num_labels, UNKNOWN, np.int8)
        labels[: len(space.categories)] = 0
        yes = [x for x in entry.get("is", []) if x not in space.pixels]
        things = [space.find(x) for x in yes]
        own = {x.name for x in things if isinstance(x, Category)}
        for thing in things:
            if isinstance(thing, Label):
                self._deny_rivals(labels, thing, own)
        for thing in things:
            labels[thing.index] = 1
        for x in entry.get("is", []):
            if x in space.mask_names:
                target[space.mask_names.index(x)] = 1
        for x in entry.get("not", []):
            labels[space.find(x).index] = 0
        either = [space.find(x).index for x in entry.get("one_of", [])]
        silent = [space.find(x).index for x in entry.get("unknown", [])]
        labels[either + silent] = UNKNOWN
        target[[i for i in either + silent if i < len(space.categories)]] = UNKNOWN
        if entry.get("pixels") == "unknown":
            target[:] = UNKNOWN
            labels[: len(space.categories)][labels[: len(space.categories)] == 0] = UNKNOWN
        one_of = None
        if either:
            one_of = np.zeros(space.num_labels, bool)
            one_of[either] = True
        categories = {x.index for x in things if isinstance(x, Category)}
        categories |= {i for i in either + silent if i < len(space.categories)}
        return Word(target, labels, one_of, frozenset(categories))

    def _deny_rivals(self, labels: NDArray[np.int8], label: Label, own: set[str]) -> None:
        group = next(g for g in self.space.groups if g.name == label.group)
        if group.choice == "one":
            for rival in group.labels:
                if not rival.carried_by or rival.carried_by & own:
                    labels[rival.index] = 0

    def _alike(self, sets: Sequence[Sequence[str]]) -> dict[int, set[int]]:
        alike: dict[int, set[int]] = {}
        for names in sets:
            indices = {self.space.find(name).index for name in names}
            for index in indices:
                alike.setdefault(index, set()).update(indices - {index})
        return alike
