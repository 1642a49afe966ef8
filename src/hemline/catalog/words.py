"""What the words of a query mean: which column of the tables, and which of its values.

A category or label is known by its whole name (`shirt, blouse`, `short (length)`), by each of the names that commas
part (`shirt`), and without what stands in parentheses (`short`). Capitals, hyphens and underscores do not count.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches
from functools import cache
from typing import NamedTuple

from hemline.catalog.tables import column_of
from hemline.catalog.views import Views, quoted
from hemline.colour import PROTOTYPES, SHADES
from hemline.errors import QueryError
from hemline.labels import LABEL_SPACES, LabelSpace, load_label_space

OTHER_SPELLING = {
    "color": "colour", "colors": "colours", "grey": "gray", "light grey": "light gray", "gold": "old gold",
    "silver": "silver gray", "silver grey": "silver gray", "multicolor": "multicolour",
}  # fmt: skip
MULTICOLOUR = "multicolour"
"""The word for garments of three colours or more, none of which has half of it."""


class Term(NamedTuple):
    """A value of a column of garments."""

    column: str
    value: str


class Field(NamedTuple):
    """A column of one of the tables."""

    table: str
    """`g` garments, `p` photos."""
    column: str
    type: str
    """As DuckDB calls it."""


def plain(text: str) -> str:
    """A name as it is compared."""
    return " ".join(re.split(r"[\s_-]+", text.casefold().strip()))


class Words:
    """The words that may be asked of one OUT."""

    def __init__(self, views: Views) -> None:
        self._views = views
        self._of_vocabulary = {"category", "colour", *views.groups}
        self._exact: dict[str, list[Term]] = {}
        self._loose: dict[str, list[Term]] = {}
        for colour in (*PROTOTYPES, *SHADES, MULTICOLOUR):
            self._add(Term("colour", colour))
        self._all_known = False
        name = views.manifest.made.get("label_space")
        if name in LABEL_SPACES:
            space = _shipped(name)
            for category in (c for c in space.categories if c.shown):
                self._add(Term("category", category.name))
            for group in (g for g in space.groups if g.shown and column_of(g.name) in views.groups):
                for label in group.labels:
                    self._add(Term(column_of(group.name), label.name))

    def term(self, text: str) -> Term | None:
        """What a word says of a garment, if anything.

        Raises:
            QueryError: it may mean several things.
        """
        return self._one(text, self._found(text))

    def known_term(self, text: str) -> Term | None:
        """The same, by the words of a label space that ships with Hemline: the tables are not asked."""
        if self._views.manifest.made.get("label_space") not in LABEL_SPACES:
            self._learn()                                 # else a short word would be taken before a longer one
        return self._one(text, self._known(text))

    def value(self, column: str, text: str) -> Term:
        """The value of a column of categories, colours or labels that a word names.

        Raises:
            QueryError: it names none, or several.
        """
        term = self._one(text, [term for term in self._found(text) if term.column == column])
        if term is None:
            self._learn()
            term = self._one(text, [term for term in self._found(text) if term.column == column])
        if term is None:
            near = _nearest(text, self._names(column))
            raise QueryError(f"no {column.replace('_', ' ')} is called {text!r}; {near}")
        return term

    def knows_values(self, column: str) -> bool:
        """Whether all values of a column of garments are words."""
        return column in self._of_vocabulary

    @property
    def has_shades(self) -> bool:
        """Whether the colours of garments have shades: tables of before answers of version 1.3 have none."""
        return "shade" in self._views.garments["colours"]

    def is_list(self, column: str) -> bool:
        """Whether a garment may have many values of a column."""
        return self._views.garments[column].endswith("[]")

    def field(self, text: str) -> Field | None:
        """The column that a name means, if any: of garments, else of photos; `photos.NAME` asks these alone.

        Raises:
            QueryError: it is the beginning or the end of several groups' names.
        """
        wanted = plain(text)
        tables = {"g": self._views.garments, "p": self._views.photos}
        if wanted.startswith("photos."):
            wanted = wanted.removeprefix("photos.")
            del tables["g"]
        for name in (wanted, OTHER_SPELLING.get(wanted)):
            for table, columns in tables.items():
                for column, type_ in columns.items():
                    if plain(column) == name:
                        return Field(table, column, type_)
        near = [x for x in self._views.groups if plain(x).startswith(wanted + " ") or plain(x).endswith(" " + wanted)]
        if len(near) > 1:
            raise QueryError(f"{text!r} may be {' or '.join(repr(x.replace('_', ' ')) for x in near)}: say which")
        return Field("g", near[0], self._views.garments[near[0]]) if near and "g" in tables else None

    def unknown(self, text: str, *, is_field: bool) -> QueryError:
        """The sentence that says that a word means nothing, and which would."""
        if is_field:
            columns = [*self._views.groups, "category", "colour", "colours", "score", "area", *self._views.came]
            near = _nearest(text, [column.replace("_", " ") for column in columns])
            return QueryError(f"nothing is called {text!r}; {near}")
        self._learn()
        names = [name for column in sorted(self._of_vocabulary) for name in self._names(column)]
        return QueryError(f"{text!r} is no category, label or colour here; {_nearest(text, names)}")

    def _found(self, text: str) -> list[Term]:
        found = self._known(text)
        return self._known(text) if not found and self._learn() else found

    def _known(self, text: str) -> list[Term]:
        wanted = plain(text)
        for name in (wanted, OTHER_SPELLING.get(wanted, wanted)):
            if found := self._exact.get(name) or self._loose.get(name):
                return found
        return []

    def _one(self, text: str, found: list[Term]) -> Term | None:
        if len(found) > 1:
            choices = " or ".join(f'{term.column.replace("_", " ")}="{term.value}"' for term in found)
            raise QueryError(f"{text!r} may mean {choices}: say which")
        return found[0] if found else None

    def _names(self, column: str) -> list[str]:
        return [name for names in (self._exact, self._loose) for name, terms in names.items()
                if any(term.column == column for term in terms)]  # fmt: skip

    def _learn(self) -> bool:
        """Take in the values that stand in the tables: weights may have words of their own."""
        if self._all_known:
            return False
        self._all_known = True
        known = {term for terms in self._exact.values() for term in terms}
        for column in sorted(self._of_vocabulary):
            value = f"unnest({quoted(column)})" if self.is_list(column) else quoted(column)
            for batch in self._views.read(f"SELECT DISTINCT {value} AS value FROM garments"):
                for word in sorted(x for x in batch.column("value").to_pylist() if x):
                    if Term(column, word) not in known:
                        self._add(Term(column, word))
        return True

    def _add(self, term: Term) -> None:
        _put(self._exact, plain(term.value), term)
        bare = re.sub(r"\([^)]*\)", " ", term.value)
        parts = [term.value.replace("(", " ").replace(")", " "), bare]
        if term.column == "category":
            parts += bare.split(",")
        for name in dict.fromkeys(plain(part) for part in parts):
            if name and name != plain(term.value):
                _put(self._loose, name, term)


@cache
def _shipped(name: str) -> LabelSpace:
    return load_label_space(name)


def _put(names: dict[str, list[Term]], name: str, term: Term) -> None:
    terms = names.setdefault(name, [])
    if term not in terms:
        terms.append(term)


def _nearest(text: str, names: Iterable[str]) -> str:
    names = list(dict.fromkeys(names))
    wanted = plain(text)
    within = [name for name in names if wanted and (wanted in name or (len(name) > 3 and name in wanted))]
    close = get_close_matches(wanted, names, n=3, cutoff=0.5)
    near = list(dict.fromkeys([*close, *within]))[:3]
    return f"did you mean {', '.join(near)}?" if near else f"there are {', '.join(sorted(names)[:12])}"
