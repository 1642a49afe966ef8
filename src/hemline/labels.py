"""Label spaces: which words a network answers with, and what may be said of what.

A label space lists **categories** (what a garment is), **pixels** (mask channels that are not clothes, such as hair:
they help the masks and are never an answer) and attribute **groups** (neckline, sleeve length, ...). Official ids are
kept, whatever their gaps: `id` is the publisher's number, `index` is the network's channel.

    K mask channels  = the categories in their order, then the pixels
    L label channels = the categories in their order, then every group's labels in their order
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib.resources import files
from pathlib import Path
from reprlib import repr as short
from typing import Any, Literal

import yaml

from hemline._reading import path_of
from hemline.errors import LabelError

LABEL_SPACES = ("fashionpedia", "imaterialist2019", "outfit5", "street")
OF_DATA = "data"
"""`labels` of a recipe whose label space is that of its first dataset's own words."""
OF_INIT = "init+data"
"""`labels` of a recipe whose label space is that of the weights in `init`, grown by those words."""
OF_WORDS = (OF_DATA, OF_INIT)
"""Those that are not known before data are read."""
OUTFIT_PARTS = ("upper body", "lower body", "whole body", "feet", "accessories")
PARTS = ("garment parts", "closures", "decorations")
"""Supercategories, Fashionpedia's, of what lies on a garment: collars, zippers, bows."""


@dataclass(frozen=True)
class Category:
    """What a garment is."""

    index: int
    """Its mask channel and its label channel."""
    id: int
    """The publisher's number."""
    name: str
    supercategory: str
    outfit_part: str | None
    """One of `OUTFIT_PARTS`; None for parts of garments, and where nobody says."""
    shown: bool
    """Whether it may be an answer; a hidden category is trained or kept for its id, never reported."""


@dataclass(frozen=True)
class Label:
    """One value of an attribute group."""

    index: int
    """Its label channel."""
    id: int | str
    """The publisher's number, or our own word where the publisher has none."""
    name: str
    group: str
    shown: bool
    carried_by: frozenset[str]
    """Names of the categories that it may be reported for; empty means any."""


@dataclass(frozen=True)
class Group:
    """Labels that answer one question."""

    name: str
    choice: Literal["one", "many"]
    """`one`: at most one value a garment, or unknown. `many`: any number."""
    shown: bool
    labels: tuple[Label, ...]


@dataclass(frozen=True)
class LabelSpace:
    """The words of one network; build it with `load_label_space` or `LabelSpace.from_dict`."""

    name: str
    version: int
    categories: tuple[Category, ...]
    pixels: tuple[str, ...]
    groups: tuple[Group, ...]
    teach: Mapping[str, Any] = field(default_factory=dict, compare=False)
    """What each dataset's own words say in this label space; read by `hemline.data.knowledge`."""
    alike: tuple[frozenset[str], ...] = ()
    """Sets of categories that annotators take for each other. A photo's label of one says nothing against the others,
    so where several pass, at most one of a set is answered on the word of the label alone."""

    @cached_property
    def mask_names(self) -> tuple[str, ...]:
        """Names of the K mask channels."""
        return tuple(c.name for c in self.categories) + self.pixels

    @cached_property
    def labels(self) -> tuple[Label, ...]:
        """The attribute labels of all groups in channel order, categories not included."""
        return tuple(label for group in self.groups for label in group.labels)

    @property
    def num_masks(self) -> int:
        """K, the number of mask channels."""
        return len(self.categories) + len(self.pixels)

    @property
    def num_labels(self) -> int:
        """L, the number of label channels."""
        return len(self.categories) + len(self.labels)

    @cached_property
    def label_slices(self) -> dict[str, slice]:
        """Where each group stands among the L label channels; `category` comes first."""
        slices = {"category": slice(0, len(self.categories))}
        for group in self.groups:
            slices[group.name] = slice(group.labels[0].index, group.labels[-1].index + 1)
        return slices

    @cached_property
    def competing(self) -> tuple[int, ...]:
        """Mask channels that may be a pixel's answer: the shown categories and the pixels."""
        return tuple(c.index for c in self.categories if c.shown) + tuple(
            range(len(self.categories), self.num_masks)
        )

    @cached_property
    def parts(self) -> frozenset[int]:
        """Mask channels of parts of garments (sleeve, pocket), which lie on the garment that holds them.

        They are the categories without an outfit part whose supercategory is one of `PARTS`; none in a space that has
        no other categories.
        """
        parts = frozenset(c.index for c in self.categories if c.outfit_part is None and c.supercategory in PARTS)
        return parts if len(parts) < len(self.categories) else frozenset()

    @cached_property
    def layers(self) -> tuple[tuple[int, ...], ...]:
        """The competing mask channels by what they compete with: garments and pixels, then parts, where there are any.

        A pixel has one answer of each layer, or none: trousers are whole where a pocket lies on them.
        """
        garments = tuple(k for k in self.competing if k not in self.parts)
        parts = tuple(k for k in self.competing if k in self.parts)
        return tuple(layer for layer in (garments, parts) if layer) or ((),)

    @cached_property
    def _by_name(self) -> dict[str, Category | Label]:
        things: tuple[Category | Label, ...] = (*self.labels, *self.categories)
        return {thing.name: thing for thing in things}

    def find(self, name: str) -> Category | Label:
        """The category or label of that name.

        Raises:
            LabelError: no such name; the text suggests the nearest ones.
        """
        if name not in self._by_name:
            from difflib import get_close_matches

            within = [known for known in self._by_name if str(name).lower() in known.lower()]
            close = get_close_matches(str(name), list(self._by_name), n=3, cutoff=0.4)
            near = list(dict.fromkeys([*within[:3], *close]))[:3] or sorted(self._by_name)[:8]
            raise LabelError(f"label space {self.name}: no label {name!r}; did you mean {', '.join(near)}?")
        return self._by_name[name]

    @cached_property
    def _category_ids(self) -> dict[int, Category]:
        return {c.id: c for c in self.categories}

    def category_by_id(self, id: int) -> Category:
        """The category with the publisher's number `id`; its `index` is its channel.

        Raises:
            LabelError: no category has that number.
        """
        if id not in self._category_ids:
            ids = _spans(self._category_ids)
            raise LabelError(f"label space {self.name}: no category has id {id!r}; ids are {ids}")
        return self._category_ids[id]

    def label_by_id(self, group: str | None, id: int | str) -> Label:
        """The attribute label with the publisher's number (or our own word) `id`; its `index` is its channel.

        Args:
            group: Its group; None looks in all of them.
            id: Its number or word.

        Raises:
            LabelError: no such group, no label with that id, or labels of several groups have it.
        """
        groups = [g for g in self.groups if group in (None, g.name)]
        if not groups:
            names = ", ".join(g.name for g in self.groups) or "none"
            raise LabelError(f"label space {self.name}: no group {group!r}; its groups are: {names}")
        found = [label for g in groups for label in g.labels if label.id == id]
        if len(found) > 1:
            names = ", ".join(label.group for label in found)
            raise LabelError(f"label space {self.name}: id {id!r} stands in several groups, name one of {names}")
        if not found:
            ids = _spans(label.id for g in groups for label in g.labels)
            where = "no label" if group is None else f"no label of {group}"
            raise LabelError(f"label space {self.name}: {where} has id {id!r}; ids are {ids}")
        return found[0]

    def to_dict(self) -> dict[str, Any]:
        """Plain data that `from_dict` reads back: what a checkpoint stores (without `teach`)."""
        return {
            "name": self.name,
            "version": self.version,
            "categories": [
                {key: getattr(c, key) for key in ("id", "name", "supercategory", "outfit_part", "shown")}
                for c in self.categories
            ],
            "pixels": list(self.pixels),
            "groups": [
                {
                    "name": group.name,
                    "choice": group.choice,
                    "shown": group.shown,
                    "labels": [
                        {"id": label.id, "name": label.name, "carried_by": sorted(label.carried_by)}
                        for label in group.labels
                    ],
                }
                for group in self.groups
            ],
            **({"alike": [sorted(names) for names in self.alike]} if self.alike else {}),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> LabelSpace:
        """Read a label space from plain data, as a taxonomy YAML holds it.

        Raises:
            LabelError: a key is missing, unknown or of another type, a name or id stands twice, or a label is carried
                by an unknown category.
        """
        return _build(data)


def load_label_space(name: str | Path) -> LabelSpace:
    """Load a label space that ships with Hemline by its name (once: all get the same one), or any by its YAML's path.

    Raises:
        LabelError: neither a known name nor a readable YAML of a label space.
    """
    return _shipped(str(name)) if str(name) in LABEL_SPACES else _load(name)


def _load(name: str | Path) -> LabelSpace:
    path = path_of(name)
    try:
        if str(name) in LABEL_SPACES:
            text = files("hemline").joinpath("taxonomies", f"{name}.yaml").read_text(encoding="utf-8")
        elif path.suffix in {".yaml", ".yml"} and path.is_file():
            text = path.read_text(encoding="utf-8")
        else:
            raise LabelError(f"no label space {str(name)!r}: name one of {', '.join(LABEL_SPACES)}, or a .yaml file")
        data = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:  # ValueError: not UTF-8, or no such date
        raise LabelError(f"{name}: not a readable YAML: {' '.join(str(error).split())}") from error
    return LabelSpace.from_dict(data)


_shipped = cache(_load)
_TYPES: dict[str, tuple[type, ...]] = {
    "name": (str,),
    "version": (int,),
    "id": (int, str),
    "supercategory": (str,),
    "outfit_part": (str, type(None)),
    "shown": (bool,),
    "choice": (str,),
    "categories": (list, tuple),
    "pixels": (list, tuple),
    "groups": (list, tuple),
    "labels": (list, tuple),
    "carried_by": (list, tuple),
    "teach": (dict,),
    "alike": (list, tuple),
}
_TYPE_WORDS = {int: "a whole number", str: "text", bool: "true or false", list: "a list", dict: "a mapping"}
_DEFAULTS: dict[str, Any] = {
    "outfit_part": None,
    "shown": True,
    "pixels": (),
    "groups": (),
    "carried_by": (),
    "teach": {},
    "alike": (),
}


def _build(data: object) -> LabelSpace:
    name = data.get("name", "?") if isinstance(data, Mapping) else "?"
    where = f"label space {name if _is_text(name) else short(name)}"
    space = _entry(where, data, "name", "version", "categories", "pixels", "groups", "teach", "alike")
    categories = tuple(_category(where, index, entry) for index, entry in enumerate(space["categories"]))
    if not categories:
        raise LabelError(f"{where}: `categories` is empty; a label space needs at least one category")
    groups: list[Group] = []
    index = len(categories)
    for number, entry in enumerate(space["groups"]):
        group = _group(where, number, entry, index, {c.name for c in categories})
        groups.append(group)
        index += len(group.labels)
    pixels = _texts(where, "pixels", space["pixels"])
    _refuse_twice(where, "name", [*(c.name for c in categories), *pixels, *(x.name for g in groups for x in g.labels)])
    _refuse_twice(where, "category id", [c.id for c in categories])
    _refuse_twice(where, "group", ["category", *(g.name for g in groups)])
    for group in groups:  # another group may have the same id: publishers count from 1 for each question
        _refuse_twice(where, f"{group.name} id", [x.id for x in group.labels])
    alike = tuple(frozenset(_names(where, "alike", names)) for names in space["alike"])
    if unknown := sorted(frozenset().union(*alike) - {c.name for c in categories}):
        raise LabelError(f"{where}: `alike` names {', '.join(map(repr, unknown))}, no category")
    return LabelSpace(space["name"], space["version"], categories, pixels, tuple(groups), dict(space["teach"]), alike)


def _category(where: str, index: int, data: object) -> Category:
    entry = _entry(f"{where}, category {index}", data, "id", "name", "supercategory", "outfit_part", "shown")
    if type(entry["id"]) is not int:
        raise LabelError(f"{where}, category {index}: `id` is {short(entry['id'])}; it takes a whole number")
    part = entry["outfit_part"]
    if part is not None and part not in OUTFIT_PARTS:
        raise LabelError(f"{where}: {entry['name']!r} has outfit part {part!r}; one of {', '.join(OUTFIT_PARTS)}")
    return Category(index, entry["id"], entry["name"], entry["supercategory"], part, entry["shown"])


def _group(where: str, number: int, data: object, index: int, categories: set[str]) -> Group:
    group = _entry(f"{where}, group {number}", data, "name", "choice", "shown", "carried_by", "labels")
    if not group["labels"] or group["choice"] not in ("one", "many"):
        raise LabelError(f"{where}: group {group['name']!r} needs labels and `choice: one` or `choice: many`")
    labels = []
    for i, item in enumerate(group["labels"]):
        label = _entry(f"{where}, group {group['name']}, label {i}", item, "id", "name", "carried_by")
        carriers = label["carried_by"] if "carried_by" in item else group["carried_by"]
        carried_by = frozenset(_texts(where, "carried_by", carriers))
        if carried_by - categories:
            unknown = ", ".join(map(repr, sorted(carried_by - categories)))
            raise LabelError(f"{where}: {label['name']!r} is carried by {unknown}, no category")
        labels.append(Label(index + i, label["id"], label["name"], group["name"], group["shown"], carried_by))
    return Group(group["name"], group["choice"], group["shown"], tuple(labels))


def _entry(where: str, data: object, *keys: str) -> dict[str, Any]:
    """The mapping with its defaults filled in, once its keys and the types of their values are right."""
    if not isinstance(data, Mapping):
        raise LabelError(f"{where}: {short(data)} is not a mapping with the keys {', '.join(keys)}")
    if missing := [key for key in keys if key not in data and key not in _DEFAULTS]:
        raise LabelError(f"{where}: no key {', '.join(missing)}")
    if unknown := [short(key) for key in data if key not in keys]:
        raise LabelError(f"{where}: unknown key {', '.join(unknown)}; the keys are {', '.join(keys)}")
    for key, value in data.items():
        if type(value) not in _TYPES[key]:
            words = " or ".join(_TYPE_WORDS[kind] for kind in _TYPES[key] if kind in _TYPE_WORDS)
            raise LabelError(f"{where}: `{key}` is {short(value)}; it takes {words}")
        if type(value) is str and not _is_text(value):
            raise LabelError(f"{where}: `{key}` is {short(value)}; it takes one line of text")
    return {key: _DEFAULTS.get(key) for key in keys} | dict(data)


def _texts(where: str, key: str, values: Sequence[Any]) -> tuple[str, ...]:
    for value in values:
        if not _is_text(value):
            raise LabelError(f"{where}: `{key}` holds {short(value)}; it takes names")
    return tuple(values)


def _names(where: str, key: str, values: object) -> tuple[str, ...]:
    if not isinstance(values, list | tuple):
        raise LabelError(f"{where}: `{key}` holds {short(values)}; it takes lists of names")
    return _texts(where, key, values)


def _is_text(value: object) -> bool:
    return type(value) is str and value.isprintable() and bool(value.strip())


def _spans(ids: Iterable[int | str]) -> str:
    """Ids in a sentence: `0-3, 7, clutch`."""
    spans: list[list[int]] = []
    words = []
    for id in sorted(ids, key=lambda i: (isinstance(i, str), i)):
        if isinstance(id, str):
            words.append(id)
        elif spans and id <= spans[-1][1] + 1:
            spans[-1][1] = id
        else:
            spans.append([id, id])
    return ", ".join([*(f"{a}-{b}" if b > a else f"{a}" for a, b in spans), *words]) or "none"


def _refuse_twice(where: str, what: str, values: Sequence[object]) -> None:
    twice = sorted({str(value) for value in values if values.count(value) > 1})
    if twice:
        raise LabelError(f"{where}: {what} stands twice: {', '.join(twice)}")
