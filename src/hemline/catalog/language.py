"""The language of `hemline query`, and the SQL that it becomes.

    query    = garment { ("with" | "without") garment }     the rows are those of the first garment
    garment  = all { "or" all }
    all      = one { ["and"] one }
    one      = "not" one | "(" garment ")" | word | word OPERATOR number | field OPERATOR value
    OPERATOR = "=" "!=" "<" "<=" ">" ">=" "~"

All that is said between two `with` is said of one garment. What is unknown (null) passes no comparison.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from hemline.catalog.views import literal, quoted
from hemline.catalog.words import MULTICOLOUR, Field, Term, Words
from hemline.colour import HALF, SHADES
from hemline.errors import QueryError

KEYWORDS = ("and", "or", "not", "with", "without")
MOST_SIGNS = 4000
"""In a query."""
DEEPEST = 50
"""Parentheses within parentheses, and nots."""
LONGEST_NAME = 8
"""Words in a name that stands without quotes."""

_TOKENS = re.compile(
    r"""\s+|(?P<text>"[^"]*"|'[^']*')|(?P<op><=|>=|!=|<>|==|[=<>~])|(?P<bracket>[()])|(?P<word>[^\s"'<>=!~()]+)|(?P<bad>.)"""
)
_NUMBER = re.compile(r"[+-]?(\d{1,30}(\.\d{0,30})?|\.\d{1,30})", re.ASCII)
_NUMBERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT",
            "UHUGEINT", "FLOAT", "DOUBLE", "DECIMAL")  # fmt: skip
_SAME = {"==": "=", "<>": "!="}
_TRUTHS = {"true": "true", "yes": "true", "1": "true", "false": "false", "no": "false", "0": "false"}


class _Token(NamedTuple):
    kind: str
    """`word`, `text` (in quotes), `op`, `bracket`, `keyword`, `end`."""
    text: str


def condition(text: str, words: Words, fits: Callable[[str, str], bool]) -> tuple[str, str]:
    """What a query asks, in SQL: joins that follow `garments AS g JOIN photos AS p`, and the condition.

    Args:
        text: The query.
        words: What its words mean.
        fits: Whether a text can be read as a value of a type of DuckDB.

    Raises:
        QueryError: it cannot be read; the text says where, and what would be right.
    """
    return _Parser(_tokens(text), words, fits).query()


def _tokens(text: str) -> list[_Token]:
    if len(text) > MOST_SIGNS:
        raise QueryError(f"the query has {len(text)} signs; at most {MOST_SIGNS} are read")
    tokens = []
    for match in _TOKENS.finditer(text):
        kind, said = match.lastgroup, match.group()
        if kind is None:
            continue
        if kind == "bad":
            what = "a quote that does not end" if said in "\"'" else f"{said!r}, which means nothing here"
            raise QueryError(f"the query holds {what}: {text[match.start() : match.start() + 20]!r}")
        if kind == "text":
            said = said[1:-1]
        elif kind == "word" and said.lower() in KEYWORDS:
            kind, said = "keyword", said.lower()
        tokens.append(_Token(kind, _SAME.get(said, said) if kind == "op" else said))
    if not tokens:
        raise QueryError("the query is empty: say what to find, such as `coat and colour=navy`")
    return [*tokens, _Token("end", "the end")]


class _Parser:
    """Reads tokens from left to right; `alias` is what the garment at hand is called in SQL."""

    def __init__(self, tokens: list[_Token], words: Words, fits: Callable[[str, str], bool]) -> None:
        self._tokens = tokens
        self._words = words
        self._fits = fits
        self._at = 0
        self._depth = 0
        self._alias = "g"
        self._asks_photo = False
        """Whether a column of photos was asked since this was set."""

    def query(self) -> tuple[str, str]:
        joins, parts = "", [self._any()]
        others = 0
        while self._is("keyword", "with", "without"):
            others += 1
            word, alias = self._next().text, f"g{others}"
            self._alias, self._asks_photo = alias, False
            another = f"{alias}.position = g.position AND {alias}.garment <> g.garment AND {self._any()}"
            if self._asks_photo:                                  # no join sees both photo and other garment
                exists = f"EXISTS (SELECT 1 FROM garments AS {alias} WHERE {another})"
                parts.append(f"NOT {exists}" if word == "without" else exists)
            else:
                joins += f"\n{'ANTI' if word == 'without' else 'SEMI'} JOIN garments AS {alias} ON {another}"
        if not self._is("end"):
            here = self._here.text
            raise QueryError(f"{here!r} stands where nothing can: `and`, `or`, `with` or the end was expected")
        return joins, " AND ".join(parts)

    @property
    def _here(self) -> _Token:
        return self._tokens[self._at]

    def _is(self, kind: str, *texts: str) -> bool:
        return self._here.kind == kind and (not texts or self._here.text in texts)

    def _next(self) -> _Token:
        self._at += 1
        return self._tokens[self._at - 1]

    def _any(self) -> str:
        parts = [self._all()]
        while self._is("keyword", "or"):
            self._next()
            parts.append(self._all())
        return parts[0] if len(parts) == 1 else f"({' OR '.join(parts)})"

    def _all(self) -> str:
        parts: list[str] = []
        categories: list[Term] = []
        while True:
            said, term = self._one()
            parts.append(said)
            if term is not None and term.column == "category" and term not in categories:
                categories.append(term)
            if self._is("keyword", "and"):
                self._next()
            elif not (self._is("word") or self._is("text") or self._is("bracket", "(") or self._is("keyword", "not")):
                break
        if len(categories) > 1:
            one, two = (f'"{term.value}"' if " " in term.value else term.value for term in categories[:2])
            raise QueryError(f"one garment is not both {one} and {two}: `{one} with {two}` finds photos that show both")
        return parts[0] if len(parts) == 1 else f"({' AND '.join(parts)})"

    def _one(self) -> tuple[str, Term | None]:
        """A condition, and what it says where it is a word that stands alone."""
        if self._is("keyword", "not") or self._is("bracket", "("):
            self._depth += 1
            if self._depth > DEEPEST:
                raise QueryError(f"the query has more than {DEEPEST} parentheses or nots within each other")
            if self._next().text == "not":
                said = f"NOT coalesce({self._one()[0]}, false)"
            else:
                said = self._any()
                if not self._is("bracket", ")"):
                    raise QueryError(f"a parenthesis is not closed before {self._here.text!r}")
                self._next()
            self._depth -= 1
            return said, None
        if not (self._is("word") or self._is("text")):
            raise QueryError(f"{self._here.text!r} stands where a word was expected")
        for look in (self._words.known_term, self._words.term):   # the second asks the tables
            for count in range(self._run(), 0, -1):
                if (found := self._named(count, look)) is not None:
                    return found
        raise self._words.unknown(self._here.text, is_field=self._tokens[self._at + 1].kind == "op")

    def _named(self, count: int, look: Callable[[str], Term | None]) -> tuple[str, Term | None] | None:
        """What so many words from here say as one name, if anything."""
        name = " ".join(token.text for token in self._tokens[self._at : self._at + count])
        compared = self._tokens[self._at + count].kind == "op"
        if compared and (field := self._words.field(name)) is not None:
            self._at += count
            return self._comparison(field), None
        if (term := look(name) if name.strip() else None) is not None:
            self._at += count
            return (self._degree(term), None) if compared else (self._said(term), term)
        if name.lower() == "main" and not compared:
            self._at += count
            return f"{self._alias}.is_main", None
        return None

    def _run(self) -> int:
        """How many words from here may be one name."""
        if self._is("text"):
            return 1
        count = 0
        while count < LONGEST_NAME and self._tokens[self._at + count].kind == "word":
            count += 1
        return count

    def _said(self, term: Term) -> str:
        if term.column == "colour":
            return self._coloured(term.value, of_all=False)
        column = f"{self._alias}.{quoted(term.column)}"
        if self._words.is_list(term.column):
            return f"list_contains({column}, {literal(term.value)})"
        return f"{column} = {literal(term.value)}"

    def _coloured(self, word: str, *, of_all: bool) -> str:
        """That the largest colour of a garment, or any `of_all`, has a name or a shade; or that it is multicolour."""
        colours = f"{self._alias}.colours"
        if word == MULTICOLOUR:
            return f"(len({colours}) > 2 AND list_max(list_transform({colours}, lambda its: its.\"share\")) < {HALF})"
        if of_all:
            return f"list_contains(list_transform({colours}, lambda its: its.{self._key(word)}), {literal(word)})"
        if word in SHADES:
            return f"{colours}[1].{self._key(word)} = {literal(word)}"
        return f"{self._alias}.colour = {literal(word)}"

    def _key(self, word: str) -> str:
        """What of a colour a word may be: its name or its shade."""
        if word not in SHADES:
            return quoted("name")
        if not self._words.has_shades:
            raise QueryError(f"these tables have no shades such as {word!r}: tag the photos again, into another folder")
        return quoted("shade")

    def _degree(self, term: Term) -> str:
        """`navy > 0.3`: the share of a colour, the score of anything else."""
        op, number = self._next().text, self._number(term.value)
        number = f"CAST({number} AS FLOAT)"
        if op == "~":
            raise QueryError(f"{term.value!r} is compared with a number, by = != < <= > or >=")
        if term.column == "category":
            return f"({self._said(term)} AND {self._alias}.score {op} {number})"
        if term.column == "colour":
            if term.value == MULTICOLOUR:
                raise QueryError("a garment is multicolour or not: say it without a number")
            of, what, unknown = f"{self._alias}.colours, lambda its: its.{self._key(term.value)} =", '"share"', ", 0"
        else:
            group = f"replace(its.\"group\", ' ', '_') = {literal(term.column)}"
            of, what, unknown = f'{self._alias}.attributes, lambda its: {group} AND its."label" =', "score", ", NULL"
        found = f"list_filter({of} {literal(term.value)})"
        return f"coalesce(list_max(list_transform({found}, lambda its: its.{what})){unknown}) {op} {number}"

    def _number(self, of: str) -> str:
        token = self._next()
        if token.kind not in ("word", "text") or not _NUMBER.fullmatch(token.text):
            raise QueryError(f"{of!r} is compared with a number, and {token.text!r} is none")
        return token.text

    def _comparison(self, field: Field) -> str:
        op = self._next().text
        if not (self._is("word") or self._is("text")):
            raise QueryError(f"{field.column!r} {op} what? {self._here.text!r} is no value")
        self._asks_photo |= field.table == "p"
        column = f"{self._alias if field.table == 'g' else 'p'}.{quoted(field.column)}"
        if field.table == "g" and field.column in ("colour", "colours") and op in ("=", "!="):
            said = self._coloured(self._value("colour"), of_all=field.column == "colours")
            return said if op == "=" else f"NOT coalesce({said}, false)"
        if field.table == "g" and self._words.knows_values(field.column) and op in ("=", "!="):
            value = literal(self._value(field.column))
        elif op == "~" and field.type in ("VARCHAR", "VARCHAR[]"):
            text = column if field.type == "VARCHAR" else f"array_to_string({column}, chr(10))"
            return f"contains(lower({text}), lower({literal(self._next().text)}))"
        else:
            return self._plain(field, column, op, self._next().text)
        said = f"list_contains({column}, {value})" if field.type == "VARCHAR[]" else f"{column} = {value}"
        return said if op == "=" else f"NOT coalesce({said}, false)"

    def _value(self, column: str) -> str:
        """The longest run of words from here that names a value of a column of words."""
        for count in range(self._run(), 1, -1):
            name = " ".join(token.text for token in self._tokens[self._at : self._at + count])
            if (term := self._words.term(name)) is not None and term.column == column:
                self._at += count
                return term.value
        return self._words.value(column, self._next().text).value

    def _plain(self, field: Field, column: str, op: str, text: str) -> str:
        """A comparison with a value of the column's own type."""
        name, kind = field.column, field.type.partition("(")[0]
        if op == "~":
            raise QueryError(f"{name!r} is no text: compare it by = != < <= > or >=")
        if kind == "VARCHAR[]" and op in ("=", "!="):
            return f"{'NOT ' * (op == '!=')}coalesce(list_contains({column}, {literal(text)}), false)"
        if kind.endswith("]") or kind in ("STRUCT", "MAP", "UNION"):
            raise QueryError(f"{name!r} holds lists or structures, which only --sql can ask")
        if kind == "VARCHAR" and op not in ("=", "!=") and _NUMBER.fullmatch(text):
            return f"TRY_CAST({column} AS DOUBLE) {op} {text}"
        value = self._literal(field, kind, text)
        return f"NOT coalesce({column} = {value}, false)" if op == "!=" else f"{column} {op} {value}"

    def _literal(self, field: Field, kind: str, text: str) -> str:
        """A text as a value of the column's type, whose name without brackets is `kind`."""
        name = field.column
        if kind in _NUMBERS:
            if not _NUMBER.fullmatch(text):
                raise QueryError(f"{name!r} is compared with a number, and {text!r} is none")
            return f"CAST({text} AS {kind})" if kind in ("FLOAT", "DOUBLE") else text
        if kind == "BOOLEAN":
            if text.lower() not in _TRUTHS:
                raise QueryError(f"{name!r} is true or false, not {text!r}")
            return _TRUTHS[text.lower()]
        if kind == "VARCHAR":
            return literal(text)
        if self._fits(literal(text), field.type):
            return f"CAST({literal(text)} AS {field.type})"
        raise QueryError(f"{name!r} is compared with a {field.type.lower()}, and {text!r} is none")
