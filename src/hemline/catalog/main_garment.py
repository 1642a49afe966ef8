"""Which garment of a photo is for sale.

A shop's own words say it best (`--hint COLUMN`: a title, a category path). Without them, or where they name nothing
that was found, the garment with the largest weight is taken.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from math import hypot
from typing import TYPE_CHECKING, NamedTuple

from hemline.catalog import _hint_words as table
from hemline.labels import LabelSpace, load_label_space

if TYPE_CHECKING:
    from hemline.result import Garment, Result

OUTER = frozenset({"jacket", "coat", "cardigan", "vest", "cape"})
"""Worn over other garments of the upper or whole body."""
WORN_OVER = 1.5
"""What the weight of an outer garment is multiplied by where it is worn over another."""
EDGE = 0.5
"""How much of its weight a garment keeps in the photo's corner; in the middle it keeps all."""
ASIDE = ("accessories", "feet")
"""Outfit parts that are for sale only where nothing else is there, or where they are most of what is worn."""
LONGEST = 3
"""Words of a phrase, at most."""


def main_garment(result: Result, hint: str | None = None) -> int | None:
    """Which garment is for sale.

    1. With a hint that names categories (`hint_category`): among the garments of these categories the one with the
       largest weight. If none was found, those that are alike to them (`LabelSpace.alike`) are looked for, and taken
       where all that were found are of one category.
    2. Else, among the candidates, the one with the largest weight. Candidates are the garments that have a mask, or all
       where none has; of these, accessories and what is worn on the feet count only where nothing else is there, or
       where one covers more of the photo than all others together.

    The weight is `area * score * closeness * over`. Closeness is 1 where the middle of the garment's box is that of
    the photo and falls evenly to `EDGE` in the corners. Over is `WORN_OVER` for a jacket, coat, cardigan, vest or cape
    whose box meets that of another garment of the upper or whole body which is none of them; else 1. Of equal weights
    the higher score counts, then the first in the answer.

    Args:
        result: Of one photo.
        hint: What the shop says of the product, in any words; None or empty says nothing.

    Returns:
        Its index in `result.garments`; None where there are none.
    """
    if hint:
        named = hint_category(hint, result.space)
        found = [i for i, garment in enumerate(result.garments) if garment.category in named]
        if not found and named:
            alike = {name for names in result.space.alike if names & named for name in names}
            near = [i for i, garment in enumerate(result.garments) if garment.category in alike]
            found = near if len({result.garments[i].category for i in near}) == 1 else []
        if found:
            return _heaviest(result, found)
    return _heaviest(result, _candidates(result.garments))


def _candidates(garments: Sequence[Garment]) -> list[int]:
    seen = [i for i, garment in enumerate(garments) if garment.drawn is not None] or list(range(len(garments)))
    aside = [i for i in seen if garments[i].outfit_part in ASIDE]
    total = sum(garments[i].area for i in seen)
    most = [i for i in aside if 2 * garments[i].area > total]
    return most or [i for i in seen if i not in aside] or aside


def _heaviest(result: Result, indices: Iterable[int]) -> int | None:
    """The index with the largest weight; those without a region by their score, after all others."""
    return max(indices, key=lambda i: (_weight(result, i), result.garments[i].score), default=None)


def _weight(result: Result, index: int) -> float:
    garment = result.garments[index]
    if garment.box is None:
        return 0.0
    height, width = result.size
    x, y, w, h = garment.box
    across, down = (2 * x + w) / width - 1, (2 * y + h) / height - 1           # -1..1, 0 in the middle
    closeness = 1 - (1 - EDGE) * hypot(across, down) / 2**0.5
    over = WORN_OVER if garment.category in OUTER and _meets_another(result.garments, garment.box) else 1.0
    return garment.area * garment.score * closeness * over


def _meets_another(garments: Sequence[Garment], box: tuple[int, int, int, int]) -> bool:
    """Whether a garment of the upper or whole body that is none of `OUTER` lies where the box is."""
    x, y, w, h = box
    return any(
        other.box is not None
        and other.outfit_part in ("upper body", "whole body")
        and other.category not in OUTER
        and other.box[0] < x + w
        and x < other.box[0] + other.box[2]
        and other.box[1] < y + h
        and y < other.box[1] + other.box[3]
        for other in garments
    )


# -- the hint ------------------------------------------------------------------------------------------------


class _Named(NamedTuple):
    """What a word or phrase of a text names."""

    phrase: str
    meant: frozenset[str]
    """Fashionpedia's categories; none for goods that are no garment of ours."""
    leads: bool
    """Of a language in which the first garment of a clause counts."""


def hint_category(text: str, space: LabelSpace) -> frozenset[str]:
    """The categories of a label space that a shop's text names: a product's title, a type, a category path.

    In a path (`Clothing > Tops > T-Shirts`, with `>`, `/`, `|` or `»`) the last step that names a garment counts.
    Within it, the first clause that does: a new one begins at a comma, a dash between spaces, a bracket, a colon or
    a word such as `with`, `in`, `mit`, `de`. Within the clause, the last garment in English and German (`dress shirt`),
    the first in French, Spanish and Italian (`robe chemise`). Where nothing else does, words such as `denim` count.

    A phrase that is in a category's own name means that category; else the table of `_hint_words` says which of
    Fashionpedia's is meant, and the categories of the space that mean the same are taken, or those named like the
    outfit part it belongs to.

    Returns:
        Names of categories, hidden ones too; several where the text leaves it open, none where it names nothing known.
    """
    own = _own_words(space)
    steps = [_clauses(step) for step in reversed(re.split("[>/|\u00bb\u203a]", text))]
    for words in (_STRONG, _WEAK):
        for clauses in steps:
            named = _first_named(clauses, own if words is _STRONG else {}, words)
            if named:
                return frozenset().union(*(_in_space(one, space, own) for one in named))
    return frozenset()


def plain_words(text: str) -> list[str]:
    """A text's words without accents and capitals, `|` where a clause ends: `Écharpes, bleu` -> echarpes | bleu."""
    text = re.sub("[,;:()\\[\\]!?|]|\\s[-\u2013\u2014]+\\s", " | ", re.sub(r"[&+]", " and ", text))
    folded = unicodedata.normalize("NFKD", text.casefold())
    return re.findall(r"[a-z0-9]+|\|", "".join(c for c in folded if not unicodedata.combining(c)))


def _clauses(step: str) -> list[tuple[bool, list[str]]]:
    """The clauses of a text, each with whether a word such as `and` joins it to the one before."""
    clauses: list[tuple[bool, list[str]]] = [(False, [])]
    for word in plain_words(step):
        if word == "|" or word in _CUTS or word in _JOINS:
            clauses.append((word in _JOINS, []))
        else:
            clauses[-1][1].append(word)
    return clauses


def _first_named(
    clauses: Sequence[tuple[bool, list[str]]], own: Mapping[str, frozenset[str]], words: Mapping[str, _Named]
) -> list[_Named]:
    """What the first clause that names something names, and the clauses that are joined to it."""
    heads: list[_Named] = []
    for joined, clause in clauses:
        if heads and not joined:
            break
        found = _named(clause, own, words)
        if found:
            heads.append(found[0] if any(one.leads for one in found) else found[-1])
    return heads


def _named(clause: Sequence[str], own: Mapping[str, frozenset[str]], words: Mapping[str, _Named]) -> list[_Named]:
    """All that a clause names, in order; the longest phrase counts."""
    found, start = [], 0
    while start < len(clause):
        for length in range(min(LONGEST, len(clause) - start), 0, -1):
            one = _look_up(" ".join(clause[start : start + length]), own, words)
            if one is not None:
                found += [one] if one.phrase else []
                start += length
                break
        else:
            start += 1
    return found


def _look_up(phrase: str, own: Mapping[str, frozenset[str]], words: Mapping[str, _Named]) -> _Named | None:
    for form in _forms(phrase):
        if form in words:
            return words[form]
        if form in own:
            return _Named(form, frozenset(), False)
    for start in range(3, len(phrase)) if words is _STRONG and " " not in phrase else ():
        if phrase[start:] in _SUFFIXES:
            return _Named(phrase, _SUFFIXES[phrase[start:]], False)
    return None


def _forms(phrase: str) -> tuple[str, str, str]:
    return phrase, phrase.removesuffix("s"), phrase.removesuffix("es")


def _in_space(named: _Named, space: LabelSpace, own: Mapping[str, frozenset[str]]) -> frozenset[str]:
    """The categories of a space that a phrase means."""
    if named.phrase in own:
        return own[named.phrase]
    if not named.meant:
        return named.meant
    if exact := frozenset(c.name for c in space.categories) & named.meant:
        return exact
    meanings = {phrase: _look_up(phrase, {}, _STRONG) for phrase in own}
    alike = [own[phrase] for phrase, one in meanings.items() if one is not None and one.meant & named.meant]
    if alike:
        return frozenset().union(*alike)
    parts = {c.outfit_part for c in load_label_space("street").categories if c.name in named.meant}
    return frozenset(c.name for c in space.categories if c.name in parts)


@lru_cache(maxsize=8)
def _own_words(space: LabelSpace) -> dict[str, frozenset[str]]:
    """Phrases in the names of a space's categories (`shirt, blouse` has two), parts of garments left out."""
    words: dict[str, frozenset[str]] = {}
    for category in (c for c in space.categories if c.index not in space.parts):
        for name in category.name.split(","):
            phrase = " ".join(plain_words(name))
            singular = next((form for form in _forms(phrase) if form in _STRONG), phrase)
            for form in {phrase, singular}:
                words[form] = words.get(form, frozenset()) | {category.name}
    return words


def _entries(texts: Mapping[str, str]) -> dict[str, frozenset[str]]:
    return {
        phrase.strip(): frozenset(meant.split(" | ")) for meant, text in texts.items() for phrase in text.split(",")
    }


_STRONG = (
    {phrase: _Named(phrase, meant, True) for phrase, meant in _entries(table.FIRST).items()}
    | {phrase: _Named(phrase, meant, False) for phrase, meant in _entries(table.LAST).items()}
    | {phrase: _Named(phrase, frozenset(), False) for phrase in table.NOTHING.split(", ")}
    | {phrase: _Named("", frozenset(), False) for phrase in table.PASSED_OVER.split(", ")}
)
_WEAK = {phrase: _Named(phrase, meant, False) for phrase, meant in _entries(table.WEAK).items()}
_SUFFIXES = _entries(table.SUFFIXES)
_CUTS = frozenset(table.CUTS.split())
_JOINS = frozenset(table.JOINS.split())
