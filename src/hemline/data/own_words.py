"""A label space grown by a dataset's own words (`labels: init+data`): which of them it knows, and which are new.

A word is known where a label has its name, whatever its capitals, hyphens and plural: `T-Shirts` is `top, t-shirt,
sweatshirt`, for each part of a category's name is one. What stands in brackets in a label's name may be left out where
the column is its group. The set's file of words (`words: FILE`) is asked first.

    a column that is a known group    by its name, or because its known values stand in that group: new values join it
    any other column                  a new group
    a column of yes and no            one label, named as the column
    a new word for a garment          a label of the group `OTHER_CATEGORY`: nothing says where it is, so it has no mask
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from hemline.data.answers import GARMENT
from hemline.errors import LabelError
from hemline.labels import Category, Group, Label, LabelSpace

T = TypeVar("T", Category, Label)

OTHER_CATEGORY = "other category"
"""The group of garments that the weights have no mask class for."""
YES = frozenset(["true", "yes", "y", "t", "1"])
NO = frozenset(["false", "no", "n", "f", "0"])


class Growth(NamedTuple):
    """What a label space became."""

    space: LabelSpace
    """All that was known, in its order, and the new labels; it teaches the dataset's words."""
    known: dict[str, dict[str, list[str]]]
    """Of each column, the words that mean labels which were there, and those labels; none where a file says so."""
    new: dict[str, list[str]]
    """Of each group, its new labels."""

    def lines(self) -> list[str]:
        """The same in sentences."""
        said = []
        for column, words in self.known.items():
            means = [word if labels == [word] else f"{word} ({', '.join(labels) or 'nothing'})"
                     for word, labels in words.items()]  # fmt: skip
            said.append(f"known, {column}: {', '.join(means)}")
        for group, labels in self.new.items():              # a label's name may begin with its group's
            said.append(f"new, {group}: {', '.join(label.removeprefix(f'{group}: ') for label in labels)}")
        return said if self.new else [*said, "nothing is new: all words are known"]


def grow(space: LabelSpace, own: LabelSpace, source: str, words: Mapping[str, Any] | None = None) -> Growth:
    """Grow a label space by a dataset's own words.

    Args:
        space: What weights know.
        own: The dataset's own words, as its `label_space` gives them.
        source: The dataset's name.
        words: What a file says of them, as `hemline.data.words.load_words` reads it.

    Raises:
        LabelError: a word may be either of two labels.
    """
    before = dict(space.teach.get(source) or {"words": {}})
    block = {**before, **(words or {}), "words": {**before["words"], **(words or {}).get("words", {})}}
    growing = _Growing(space, dict(block["words"]))
    growing.categories([category.name for category in own.categories])
    for group in own.groups:
        growing.column(group)
    known = {
        column: {name: _meant(growing.entries[name]) for name in names if name not in growing.names}
        for column, names in _columns(own).items()
    }
    grown = growing.space(f"{space.name}+{source}", {**space.teach, source: {**block, "words": growing.entries}})
    return Growth(grown, {column: said for column, said in known.items() if said}, growing.new)


class _Growing:
    """A label space while words come to it."""

    def __init__(self, space: LabelSpace, entries: dict[str, Any]) -> None:
        self.known = space
        self.entries = entries
        """What each word means, as a `teach` block says it."""
        self.garments: Sequence[str] = ()
        self.names: set[str] = set()
        """Words that are new."""
        self.new: dict[str, list[str]] = {}
        self.choices: dict[str, str] = {}
        self.taken = {*space.mask_names, *(label.name for label in space.labels)}
        self.shown = [group for group in space.groups if group.shown]

    def categories(self, names: Sequence[str]) -> None:
        """Words for garments."""
        self.garments = names
        todo = [name for name in names if name not in self.entries]
        if todo == list(names) == [GARMENT]:                  # a set without such words: any garment
            self.entries[GARMENT] = {"others": "unknown"}
            return
        kinds = [category for category in self.known.categories if category.shown]
        labels = [label for group in self.shown for label in group.labels if label.carried_by]
        for name in todo:
            found = _alike(name, kinds, _parts) or _alike(name, labels, _whole) or _alike(name, labels, _bare)
            if isinstance(found, Label):                      # jeans: pants, too; a hoodie: a jacket or a top
                carriers = sorted(found.carried_by)
                self.entries[name] = (
                    {"is": [found.name, *carriers]} if len(carriers) == 1
                    else {"is": [found.name], "one_of": carriers}
                )  # fmt: skip
            elif found is not None:
                self.entries[name] = {"is": [found.name]}
            else:
                self.entries[name] = {"is": [self._add(OTHER_CATEGORY, name, "category", "one")], "others": "unknown"}
                self.names.add(name)

    def column(self, own: Group) -> None:
        """Words of one column of attributes."""
        values = {label.name: label.name.removeprefix(f"{own.name}: ").rstrip("'") for label in own.labels}
        values = {name: value for name, value in values.items() if name not in self.entries}
        if values and all(value.casefold() in YES | NO for value in values.values()):
            self._yes_or_no(own.name, values)
            return
        host = self._host(own, list(values.values()))
        for name, value in values.items():
            found: Label | None = None
            if host is not None:
                found = _alike(value, host.labels, _whole) or _alike(value, host.labels, _bare)
            elif own.name not in {group.name for group in self.known.groups}:
                found = _alike(value, [label for group in self.shown for label in group.labels], _whole)
            if found is None:
                group = own.name if host is None else host.name
                self.entries[name] = {"is": [self._add(group, name, own.name, own.choice)]}
                self.names.add(name)
            else:
                self.entries[name] = {"is": [found.name]}

    def _yes_or_no(self, column: str, values: Mapping[str, str]) -> None:
        found = _alike(column, [label for group in self.shown for label in group.labels], _whole)
        label = self._add(column, column, column, "many") if found is None else found.name
        for name, value in values.items():
            self.entries[name] = {"is" if value.casefold() in YES else "not": [label]}
            if found is None:
                self.names.add(name)

    def _host(self, own: Group, values: Sequence[str]) -> Group | None:
        """The known group that a column is, None where it is none."""
        by_name = [group for group in self.shown if _forms(group.name) & _forms(own.name)]
        if by_name:
            return by_name[0]
        hits = {group.name: sum(_alike(v, group.labels, _whole) is not None for v in values) for group in self.shown}
        hosts = [group for group in self.shown if hits[group.name]]
        if len(hosts) != 1 or hosts[0].choice != own.choice:
            return None
        number = hits[hosts[0].name]
        named = set(_plain(own.name).split()) <= set(_plain(hosts[0].name).split())
        return hosts[0] if named or number > 1 or 2 * number >= len(values) else None

    def _add(self, group: str, word: str, column: str, choice: str) -> str:
        """A new label of a group; its name is the word, or `column: word` where that is taken."""
        name = word if word not in self.taken else f"{column}: {word}"
        while name in self.taken:
            name += "'"
        self.taken.add(name)
        self.new.setdefault(group, []).append(name)
        self.choices.setdefault(group, choice)
        return name

    def space(self, name: str, teach: Mapping[str, Any]) -> LabelSpace:
        """The label space that it has become."""
        plain = self.known.to_dict()
        garments = [c.name for c in self.known.categories if c.shown and c.index not in self.known.parts]
        said = {name for word in self.garments for name in _meant(self.entries[word])}
        told = [name for name in garments if name in said]
        for group, labels in self.new.items():
            entry = next((g for g in plain["groups"] if g["name"] == group), None)
            if entry is None:
                carriers = [] if group == OTHER_CATEGORY else told or garments
                entry = {"name": group, "choice": self.choices[group], "shown": True, "labels": []}
                plain["groups"].append(entry)
            else:
                each = [label["carried_by"] for label in entry["labels"]]
                carriers = sorted(set(told).union(*each)) if all(each) else []
            entry["labels"] += [{"id": label, "name": label, "carried_by": carriers} for label in labels]
        return LabelSpace.from_dict({**plain, "name": name, "teach": dict(teach)})


def _columns(own: LabelSpace) -> dict[str, list[str]]:
    kinds = [c.name for c in own.categories]
    columns = {"category": [] if kinds == [GARMENT] else kinds}                         # no such column: any garment
    return columns | {group.name: [label.name for label in group.labels] for group in own.groups}


def _meant(entry: Mapping[str, Any] | None) -> list[str]:
    said = entry or {}
    either = said.get("one_of", [])
    return [*said.get("is", []), *([" or ".join(either)] if either else []), *(f"not {x}" for x in said.get("not", []))]


def _alike(word: str, things: Iterable[T], names: Callable[[str], list[str]]) -> T | None:
    """The thing that has the word as one of its names.

    Raises:
        LabelError: several have it.
    """
    found = [thing for thing in things if any(_forms(name) & _forms(word) for name in names(thing.name))]
    exact = [thing for thing in found if word in names(thing.name)]
    if len(exact or found) > 1:
        either = " or ".join(repr(thing.name) for thing in exact or found)
        raise LabelError(f"{word!r} may be {either}: say in a YAML which, and give it as the set's words=FILE")
    return next(iter(exact or found), None)


def _whole(name: str) -> list[str]:
    return [name]


def _parts(name: str) -> list[str]:
    """`shirt, blouse`, and each of the two."""
    return list(dict.fromkeys([name, *(part.strip() for part in name.split(","))]))


def _bare(name: str) -> list[str]:
    """`round (neck)` without its bracket."""
    return [re.sub(r"\s*\([^)]*\)", "", name)]


def _plain(text: str) -> str:
    return re.sub(r"[\s_-]+", " ", text.casefold()).strip()


def _forms(text: str) -> frozenset[str]:
    """What a word may be written as, and its singular."""
    plain = _plain(text)
    ends = {"s": "", "es": "", "ies": "y"}
    singular = {plain.removesuffix(end) + instead for end, instead in ends.items() if plain.endswith(end)}
    return frozenset({plain, *singular})
