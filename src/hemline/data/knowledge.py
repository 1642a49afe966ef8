"""What a dataset's own words say in a label space, as arrays.

It is what the label space's `teach` block says of them; its keys are explained where it stands
(`taxonomies/street.yaml`). Where there is no block for the dataset, each word is the label of that name. Everything is
three-valued, as in `hemline.data.sample`: 1 yes, 0 no, -1 unknown.

Shapes: K mask classes, L labels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hemline.data.sample import PREDICTED, UNKNOWN, WHOLE_PHOTO, Region, Sample
from hemline.data.words import FLAGS, NAMES
from hemline.errors import LabelError
from hemline.labels import Category, Label, LabelSpace

DOUBT = 0.1
"""The share of photos of which a label that is `mostly` true is false."""


@dataclass(frozen=True)
class Word:
    """What one word of a dataset says."""

    target: NDArray[np.int8]
    """(K,) of a pixel drawn as the word."""
    labels: NDArray[np.int8]
    """(L,) of the region drawn as the word, categories apart from its own denied."""
    mostly: NDArray[np.int8]
    """(L,) of the garment that it names, true but for a share of `DOUBT`."""
    one_of: NDArray[np.bool_] | None
    """(L,) labels of which at least one is true."""
    categories: frozenset[int]
    """Categories that the word names, allows or leaves open: their absence cannot be read from its presence."""
    garment: frozenset[int]
    """Categories of which the thing that the word names is one; empty where it names none."""
    denied: frozenset[int]
    """Categories that the word itself says are not in the photo."""
    mutes: frozenset[int]
    """Labels about which nothing is known of a photo with this word, whatever its other words say."""
    closed: bool
    """Whether categories that neither it nor another word of the photo speaks of are not there."""
    silent: frozenset[int]
    """Labels of which it says that they may be there or not."""


class Knowledge:
    """The words of one dataset.

    Args:
        space: The label space to speak in.
        source: The dataset's key in the space's `teach` block.
        words: The dataset's words, for a set that may speak without a block: each is the label of that name. Of
            classes that none of them speaks of, such a set says nothing.
        attributes: Its words for attributes, if they stand apart; those that a block does not explain say nothing.

    Raises:
        LabelError: the label space has no such block and no such labels, or the block does not explain a word, or
            names an unknown label.
    """

    def __init__(
        self, space: LabelSpace, source: str, words: Sequence[str] = (), attributes: Sequence[str] = ()
    ) -> None:
        block = space.teach.get(source) or _itself(space, source, [*words, *attributes])
        if unexplained := [word for word in words if word not in block["words"]]:
            raise LabelError(
                f"{space.name}, teach.{source}: {len(unexplained)} words of {source} are not explained: "
                f"{', '.join(map(repr, unexplained[:8]))}; add them, with `{{}}` where they say nothing"
            )
        self.space = space
        self.source = source
        self._several = set(block.get("several", []))
        if unknown := self._several - {group.name for group in space.groups}:
            raise LabelError(f"{space.name}, teach.{source}.several: no group {sorted(unknown)}")
        index = {category.name: category.index for category in space.categories}
        self._carriers = {label.index: frozenset(index[name] for name in label.carried_by) for label in space.labels}
        self._carried = np.zeros((len(space.labels), len(space.categories)), bool)
        for row, carriers in zip(self._carried, self._carriers.values(), strict=True):
            row[list(carriers)] = True
        self._closed = block.get("others") != "unknown"
        entries = dict.fromkeys(attributes) | dict(block["words"])
        self.words = {str(name): self._word(str(name), entry or {}) for name, entry in entries.items()}
        of_attributes = [word.labels for word in self.words.values() if not word.garment]
        num = len(space.categories)
        self._attributes = (np.array(of_attributes, np.int8).reshape(-1, space.num_labels) == 1).any(0)[num:]
        self._asked: dict[str, NDArray[np.bool_]] = {}
        self._untaught = self._of_which_nothing_is_said() if words else np.zeros(space.num_masks, bool)
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

    def photo(
        self, words: Iterable[str], kind: str, *, denied: NDArray[np.bool_] | None = None, closed: bool = True
    ) -> tuple[NDArray[np.int8], tuple[NDArray[np.bool_], ...]]:
        """(L,) what a photo shows, and its "one of" sets, when exactly these words were drawn or listed.

        Args:
            words: The photo's words.
            kind: `maps` where they were drawn, `tags` where they were listed: it decides what a missing word denies.
            denied: (L,) attributes that were asked for and are not there, unless one of the words is or allows them.
            closed: Whether categories that no word speaks of are not there; False where nobody was asked for them.
        """
        said = self._said(words, denied, closed)
        num = len(self.space.categories)
        labels = np.full(self.space.num_labels, UNKNOWN, np.int8)
        open_categories = {c for word in said for c in word.categories}
        open_categories |= {other for c in open_categories for other in self.alike[kind].get(c, ())}
        if self._closed and all(word.closed for word in said):
            absent = ~self._untaught[:num]
            absent[list(open_categories)] = False
            labels[:num][absent] = 0
        there = (self._carried & (labels[:num] != 0)).any(1)
        labels[num:][self._carried.any(1) & ~there] = 0   # an attribute is absent where all that carry it are
        for word in said:
            spoken = word.labels.copy()
            hushed = [c for c in range(num) if spoken[c] == 0 and c not in word.denied]
            spoken[hushed] = UNKNOWN                      # a region's "not a hat" says nothing of the photo
            np.maximum(labels, spoken, out=labels, where=spoken >= 0)
        labels[[index for word in said for index in word.mutes]] = UNKNOWN
        one_of = tuple(w.one_of for w in said if w.one_of is not None and not (labels[w.one_of] == 1).any())
        return labels, one_of

    def instance(self, category: str, attributes: Sequence[str]) -> NDArray[np.int8]:
        """(L,) what a garment shows that was drawn as `category` with these attributes.

        Whoever lists one attribute was asked for all: those that the category carries and are not listed are absent.
        A garment without attributes was not asked, or has none: unknown.
        """
        labels = self.region(category)
        if not attributes:
            return labels
        num = len(self.space.categories)
        said = np.max([self.words[word].labels[num:] for word in attributes], axis=0)
        absent = np.where(self._asked_of(category), 0, UNKNOWN)
        labels[num:] = np.where(said >= 0, said, absent)
        silent = {label for word in attributes for label in self.words[word].silent}
        labels[[label for label in silent if labels[label] == 0]] = UNKNOWN
        return labels

    def photo_of(self, categories: Sequence[str], garments: Sequence[NDArray[np.int8]]) -> NDArray[np.int8]:
        """(L,) what a photo shows, all of whose garments are drawn as these categories and show this (`instance`)."""
        labels = self.photo(dict.fromkeys(categories), "maps")[0]
        num = len(self.space.categories)
        told = [(c, row[num:]) for c, row in zip(categories, garments, strict=True) if (row[num:] >= 0).any()]
        if not told:                                      # nobody was asked for attributes
            return labels
        said = np.stack([row for _, row in told])         # (N, attributes)
        asked = np.stack([self._asked_of(category) for category, _ in told])
        absent = asked.any(0) & ((said == 0) | ~asked).all(0)
        labels[num:] = np.where((said == 1).any(0), 1, np.where(absent, 0, labels[num:]))
        return labels

    def background(self) -> NDArray[np.int8]:
        """(K,) what a pixel says that is drawn as none of the words."""
        return np.where(self._untaught, UNKNOWN, 0).astype(np.int8)

    def _of_which_nothing_is_said(self) -> NDArray[np.bool_]:
        """(K,) classes that no word is or may be; the words' own zeros there are taken back."""
        num = len(self.space.categories)
        untaught = np.ones(self.space.num_masks, bool)
        for word in self.words.values():
            untaught[word.target == 1] = False
            untaught[list(word.categories)] = False
        for word in self.words.values():
            word.target[untaught & (word.target == 0)] = UNKNOWN
            word.labels[:num][untaught[:num] & (word.labels[:num] == 0)] = UNKNOWN
        return untaught

    def _asked_of(self, category: str) -> NDArray[np.bool_]:
        """(attributes,) labels that are absent of a garment drawn as `category` where its attributes lack them."""
        if category not in self._asked:
            own = self.words[category].garment
            carried = self._carried[:, list(own)].any(1) | ~self._carried.any(1)
            self._asked[category] = self._attributes & carried
        return self._asked[category]

    def _said(self, words: Iterable[str], denied: NDArray[np.bool_] | None, closed: bool = True) -> list[Word]:
        """The words, and one more that says what they do not."""
        said = [self.words[word] for word in words]
        if denied is None and closed:
            return said
        labels = np.full(self.space.num_labels, UNKNOWN, np.int8)
        if denied is not None:
            labels[denied] = 0
        labels[: len(self.space.categories)] = UNKNOWN
        labels[[label for word in said for label in word.silent]] = UNKNOWN
        nothing = np.full_like(labels, UNKNOWN)
        none: frozenset[int] = frozenset()
        target = np.full(self.space.num_masks, UNKNOWN, np.int8)
        return [*said, Word(target, labels, nothing, None, none, none, none, none, closed, none)]

    def garments(self, words: Iterable[str], *, denied: NDArray[np.bool_] | None = None) -> list[Region]:
        """What a photo's words say of garments that nobody drew: regions where the network itself finds them.

        The attributes of a word that names a garment, and its labels that no category carries, speak of that garment.
        Those of a word that names none speak of the garments among the named ones that can carry them, or, where none
        is named, of whatever can. Where the photo has two values of a group under `several`, one garment has the one
        and another the other: unknown. `denied` is as in `photo`.
        """
        said = self._said(words, denied)
        named = frozenset[int]().union(*(word.garment for word in said))
        muted = [index for word in said for index in word.mutes]
        regions: list[tuple[frozenset[int], NDArray[np.int8]]] = []
        loose: dict[frozenset[int], NDArray[np.int8]] = {}
        for word in said:
            attributes = np.full(self.space.num_labels, UNKNOWN, np.int8)
            carried = [index for index, carriers in self._carriers.items() if carriers]
            attributes[carried] = word.labels[carried]
            attributes[muted] = UNKNOWN
            if word.garment:
                everybody = [index for index, carriers in self._carriers.items() if not carriers]
                attributes[everybody] = word.labels[everybody]
                regions.append((word.garment, attributes))
                continue
            for index in np.flatnonzero(attributes >= 0):
                carriers = self._carriers[int(index)]
                labels = loose.setdefault(named & carriers or carriers, np.full_like(attributes, UNKNOWN))
                labels[index] = max(labels[index], attributes[index])
        for labels in loose.values():
            for name in self._several:
                values = labels[self.space.label_slices[name]]
                if (values == 1).sum() > 1:
                    values[:] = UNKNOWN
        sure = [(garment, labels, 0.0) for garment, labels in [*regions, *loose.items()]]
        mostly = [(word.garment, word.mostly, DOUBT) for word in said]
        masks = np.arange(self.space.num_masks)
        return [
            Region(PREDICTED, labels, classes=np.isin(masks, list(garment)), doubt=doubt)
            for garment, labels, doubt in [*sure, *mostly]
            if (labels >= 0).any()
        ]

    def undrawn(
        self,
        photo: NDArray[np.uint8],
        words: Sequence[str],
        key: str,
        *,
        denied: NDArray[np.bool_] | None = None,
        closed: bool = True,
    ) -> Sample:
        """The sample of a photo of which these words are listed and nothing is drawn.

        Args:
            photo: (H, W, 3).
            words: The photo's words.
            key: Its key in the dataset.
            denied: As in `photo`.
            closed: As in `photo`.
        """
        labels, one_of = self.photo(words, "tags", denied=denied, closed=closed)
        num = len(self.space.categories)
        targets = np.full((1, self.space.num_masks), UNKNOWN, np.int8)
        targets[0, :num][labels[:num] == 0] = 0           # what is not worn is nowhere in the photo
        return Sample(
            photo=photo,
            segments=np.zeros(photo.shape[:2], np.uint8),
            targets=targets,
            regions=[Region(WHOLE_PHOTO, labels, one_of), *self.garments(words, denied=denied)],
            key=key,
        )

    def _word(self, name: str, entry: Mapping[str, Any]) -> Word:
        space = self.space
        if unknown_keys := set(entry) - {*NAMES, *FLAGS}:
            raise LabelError(f"{space.name}, teach.{self.source}.{name}: unknown key {sorted(unknown_keys)}")
        target = np.zeros(space.num_masks, np.int8)
        labels = np.full(space.num_labels, UNKNOWN, np.int8)
        labels[: len(space.categories)] = 0
        yes = [x for x in entry.get("is", []) if x not in space.pixels]
        things = [space.find(x) for x in yes]
        either = [space.find(x) for x in entry.get("one_of", [])]
        own = {x.name for x in [*things, *either] if isinstance(x, Category)}
        for thing in things:
            if isinstance(thing, Label):
                self._deny_rivals(labels, thing, own)
        for thing in things:
            labels[thing.index] = 1
        for x in entry.get("is", []):
            if x in space.mask_names:
                target[space.mask_names.index(x)] = 1
        denied = [space.find(x) for x in entry.get("not", [])]
        labels[[x.index for x in denied]] = 0
        silent = [*either, *(space.find(x) for x in entry.get("unknown", []))]
        labels[[x.index for x in silent]] = UNKNOWN
        target[[x.index for x in silent if isinstance(x, Category)]] = UNKNOWN
        if entry.get("pixels") == "unknown":
            target[:] = UNKNOWN
            labels[: len(space.categories)][labels[: len(space.categories)] == 0] = UNKNOWN
        one_of = None
        if either:
            one_of = np.zeros(space.num_labels, bool)
            one_of[[x.index for x in either]] = True
        return Word(
            target=target,
            labels=labels,
            mostly=self._mostly(name, entry.get("mostly", []), own),
            one_of=one_of,
            categories=_categories([*things, *silent]),
            garment=_categories([*things, *either]),
            denied=_categories(denied),
            mutes=frozenset(space.find(x).index for x in entry.get("mutes", [])),
            closed=entry.get("others") != "unknown",
            silent=frozenset(x.index for x in silent),
        )

    def _mostly(self, name: str, names: Sequence[str], own: set[str]) -> NDArray[np.int8]:
        labels = np.full(self.space.num_labels, UNKNOWN, np.int8)
        for x in names:
            label = self.space.find(x)
            if not own or not isinstance(label, Label) or not label.carried_by:
                where = f"{self.space.name}, teach.{self.source}.{name}"
                raise LabelError(f"{where}: `mostly` takes attributes of a garment that the word names, not {x!r}")
            self._deny_rivals(labels, label, own)
            labels[label.index] = 1
        return labels

    def _deny_rivals(self, labels: NDArray[np.int8], label: Label, own: set[str]) -> None:
        group = next(g for g in self.space.groups if g.name == label.group)
        if group.choice == "one" and group.name not in self._several:
            for rival in group.labels:
                if not rival.carried_by or rival.carried_by & (own or label.carried_by):
                    labels[rival.index] = 0

    def _alike(self, sets: Sequence[Sequence[str]]) -> dict[int, set[int]]:
        alike: dict[int, set[int]] = {}
        for names in sets:
            indices = {self.space.find(name).index for name in names}
            for index in indices:
                alike.setdefault(index, set()).update(indices - {index})
        return alike


def _itself(space: LabelSpace, source: str, words: Sequence[str]) -> dict[str, Any]:
    """A block in which each word is the label of that name."""
    if not words:
        taught = ", ".join(sorted(space.teach)) or "none"
        raise LabelError(f"label space {space.name} does not teach the words of {source} (it teaches: {taught})")
    known = {*space.mask_names, *(label.name for label in space.labels)}
    if strange := [word for word in words if word not in known]:
        raise LabelError(
            f"label space {space.name} has no label for {len(strange)} words of {source}: "
            f"{', '.join(map(repr, strange[:8]))}; take labels=data, which are the data's own, or say in a YAML what "
            f"the words mean and give it as the set's words=FILE"
        )
    return {"words": {word: {"is": [word]} for word in words}}


def _categories(things: Iterable[Category | Label]) -> frozenset[int]:
    """Indices of the categories among the things."""
    return frozenset(thing.index for thing in things if isinstance(thing, Category))
