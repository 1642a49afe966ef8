"""Reads the file of a vocabulary and collects what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

from hemline._reading import describe, nearest
from hemline.labels import LABEL_SPACES, LabelSpace, load_label_space
from hemline.vocabulary import CategoryWords, ColourWords, ShopCategory, Vocabulary


class Reader:
    """Reads a vocabulary from plain data and collects what is wrong with it, one sentence each, in `problems`.

    Args:
        space: Whose words our side speaks.
        checked: Whether our words are looked up; a test does so for the vocabularies that ship.
    """

    KEYS = ("name", "version", "url", "licence", "categories", "one_value", "attributes", "colours")

    def __init__(self, space: LabelSpace, *, checked: bool) -> None:
        self.space = space
        self.checked = checked
        self.problems: list[str] = []

    def vocabulary(self, data: object) -> Vocabulary:
        """The vocabulary; where `problems` holds something, parts of it are left out."""
        top = self._block(data, "", self.KEYS)
        for key in ("name", "version"):
            if key not in top:
                self.problems.append(f"{key}: missing, this key is required")
        if not {"categories", "attributes", "colours"} & set(top):
            self.problems.append("categories, attributes, colours: at least one of these keys is required")
        return Vocabulary(
            self._text(top, "name", "") or "",
            self._text(top, "version", "") or "",
            self._text(top, "url", ""),
            self._text(top, "licence", ""),
            dict(self._categories(top.get("categories", {}))),
            dict(self._attributes(top.get("attributes", {}))),
            self._value(top, "one_value", "", bool, "true or false") or False,
            self._colours(top.get("colours", {})),
        )

    def _categories(self, data: object) -> Iterator[tuple[str, CategoryWords]]:
        for name, entry in self._block(data, "categories").items():
            where = f"categories.{name}"
            self._known(name, where, categories=True)
            block = self._block(entry, where, ("id", "name", "with"))
            if not isinstance(entry, Mapping):
                continue
            labels = {}
            for label, there in self._block(block.get("with", {}), f"{where}.with").items():
                inner = f"{where}.with.{label}"
                self._known(label, inner, categories=False)
                one = self._category(self._block(there, inner, ("id", "name")), inner)
                if one is not None:
                    labels[label] = one
            alone = "with" not in block or "name" in block or "id" in block
            yield name, CategoryWords(self._category(block, where) if alone else None, labels)

    def _category(self, block: Mapping[str, Any], where: str) -> ShopCategory | None:
        name = self._text(block, "name", where)
        if "name" not in block:
            self.problems.append(f"{where}.name: missing, this key is required")
        return None if name is None else ShopCategory(name, self._text(block, "id", where))

    def _attributes(self, data: object) -> Iterator[tuple[str, dict[str, str]]]:
        for attribute, values in self._block(data, "attributes").items():
            where = f"attributes.{attribute}"
            block = self._block(values, where)
            for label in block:
                self._known(label, f"{where}.{label}", categories=False)
            said = {label: self._text(block, label, where) for label in block}
            yield attribute, {label: value for label, value in said.items() if value is not None}

    def _colours(self, data: object) -> ColourWords:
        from hemline.colour import PROTOTYPES

        where = "colours"
        keys = ("attribute", "words", "most", "join", "longest_word", "longest", "multicolour")
        block = self._block(data, where, keys)
        words = self._block(block.get("words", {}), f"{where}.words")
        for name in words:
            if name not in PROTOTYPES:
                self.problems.append(f"{where}.words.{name}: no colour of ours{nearest(name, list(PROTOTYPES))}")
        said = {name: self._text(words, name, f"{where}.words") for name in words}
        multicolour = self._multicolour(block.get("multicolour"))
        longest_word = self._count(block, "longest_word", where)
        spoken = {f"{where}.words.{name}": word for name, word in said.items() if word is not None}
        if multicolour is not None:
            spoken[f"{where}.multicolour.word"] = multicolour[0]
        longest = self._count(block, "longest", where)
        for place, word in spoken.items():
            if least := [limit for limit in (longest_word, longest) if limit is not None and len(word) > limit]:
                self.problems.append(f"{place}: {word!r} has {len(word)} characters, and {min(least)} are allowed")
        return ColourWords(
            self._text(block, "attribute", where),
            {name: word for name, word in said.items() if word is not None},
            self._count(block, "most", where),
            self._value(block, "join", where, str, "a text"),
            longest,
            multicolour,
        )

    def _multicolour(self, data: object) -> tuple[str, float] | None:
        if data is None:
            return None
        where = "colours.multicolour"
        block = self._block(data, where, ("word", "below"))
        word, share = self._text(block, "word", where), block.get("below")
        if type(share) not in (int, float) or not 0 < float(share or 0) <= 1:
            self.problems.append(f"{where}.below: must be a share above 0 and at most 1, not {describe(share)}")
            share = None
        if word is None or share is None:
            if "word" not in block:
                self.problems.append(f"{where}.word: missing, this key is required")
            return None
        return word, float(share)

    def _known(self, name: str, where: str, *, categories: bool) -> None:
        """Whether it is a word of ours: of the label space, or of one that ships."""
        if not self.checked or name in _names(self.space, categories=categories):
            return
        if not any(name in _names(space, categories=categories) for space in self._shipped):
            kind = "category" if categories else "attribute label"
            shown = [c.name for c in self.space.categories if c.shown]
            labels = [label.name for group in self.space.groups if group.shown for label in group.labels]
            near = nearest(name, shown if categories else labels)
            self.problems.append(f"{where}: no {kind} of label space {self.space.name}{near}")

    @cached_property
    def _shipped(self) -> list[LabelSpace]:
        return [load_label_space(name) for name in LABEL_SPACES]

    def _block(self, data: object, where: str, keys: tuple[str, ...] | None = None) -> dict[str, Any]:
        """A mapping with names for keys; `keys` are those it may have, None allows any."""
        if not isinstance(data, Mapping):
            self.problems.append(f"{where or 'the file'}: expected `key: value` lines, not {describe(data)}")
            return {}
        block = {}
        for key, value in data.items():
            place = f"{where}.{key}" if where else str(key)
            if keys is not None and key not in keys:
                self.problems.append(f"{place}: unknown key{nearest(key, keys)}")
            elif not isinstance(key, str):
                self.problems.append(f"{place}: a name must be a text; write {str(key)!r} with its quotes")
            else:
                block[key] = value
        return block

    def _text(self, block: Mapping[str, Any], key: str, where: str) -> str | None:
        """One line of text; whole numbers are taken for it, as ids are often written."""
        value = block.get(key)
        if type(value) is int:
            return str(value)
        if key not in block or (isinstance(value, str) and value.strip() and value.isprintable()):
            return value
        place = f"{where}.{key}" if where else key
        quotes = "" if isinstance(value, str) or value is None else "; write it in quotes"
        self.problems.append(f"{place}: expected one line of text, not {describe(value)}{quotes}")
        return None

    def _count(self, block: Mapping[str, Any], key: str, where: str) -> int | None:
        value: int | None = self._value(block, key, where, int, "a whole number above 0")
        if value is not None and value < 1:
            self.problems.append(f"{where}.{key}: must be a whole number above 0, not {value}")
            return None
        return value

    def _value(self, block: Mapping[str, Any], key: str, where: str, kind: type, words: str) -> Any:  # noqa: ANN401  of `kind`, or None
        value = block.get(key)
        if key not in block or type(value) is kind:
            return value
        self.problems.append(f"{where}.{key}".lstrip(".") + f": expected {words}, not {describe(value)}")
        return None


def _names(space: LabelSpace, *, categories: bool) -> frozenset[str]:
    return frozenset(c.name for c in space.categories) if categories else frozenset(x.name for x in space.labels)
