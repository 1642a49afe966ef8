"""Other words: a shop's taxonomy beside our own words (`--vocabulary shopify|google|FILE.yaml`).

A vocabulary says which category of a shop a garment belongs to, and which values of the shop's attributes and colours
it has. Many of our words may lead to one of the shop's; a word that stands nowhere in it has no counterpart, and
nothing is said. Our words always stay in the answer.

docs/vocabularies.md describes the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from hemline._reading import path_of, read_yaml
from hemline.errors import ConfigError
from hemline.labels import LabelSpace

if TYPE_CHECKING:
    from rich.table import Table

    from hemline.colour import Colour
    from hemline.result import Garment
    from hemline.words_said import ScoredLabel

VOCABULARIES = ("shopify", "google")
"""Those that ship with Hemline."""


@dataclass(frozen=True)
class ShopCategory:
    """A category of a shop's taxonomy."""

    name: str
    """Its full path: `Apparel & Accessories > Clothing > Pants`."""
    id: str | None = None
    """Its id there; None where the vocabulary gives none."""


class ShopAttribute(NamedTuple):
    """A value of one of a shop's attributes."""

    attribute: str
    value: str


@dataclass(frozen=True)
class CategoryWords:
    """What one category of ours is there."""

    plain: ShopCategory | None
    """Where none of the labels below decides."""
    with_label: Mapping[str, ShopCategory] = field(default_factory=dict)
    """Where the garment has this label; the first in the file that it has decides."""


@dataclass(frozen=True)
class ColourWords:
    """How a garment's colours are said there."""

    attribute: str | None = None
    """What the shop calls the attribute."""
    words: Mapping[str, str] = field(default_factory=dict)
    """Our colour's name -> theirs."""
    most: int | None = None
    """Colours that are said at most, largest first."""
    join: str | None = None
    """What stands between the colours where the shop takes one text; None where it takes a list."""
    longest: int | None = None
    """Characters of that text at most: colours from the end are left out until it fits."""
    multicolour: tuple[str, float] | None = None
    """A word that is said too, in the last of `most` places, where no colour has this share (0..1) of the garment."""


@dataclass(frozen=True)
class Vocabulary:
    """A shop's words; load it with `load_vocabulary`."""

    name: str
    version: str
    """The release of the taxonomy that it speaks."""
    url: str | None
    """Where the taxonomy is published."""
    licence: str | None
    """Of the taxonomy's data."""
    categories: Mapping[str, CategoryWords]
    attributes: Mapping[str, Mapping[str, str]]
    """The shop's attribute -> our label -> the shop's value."""
    one_value: bool
    """An attribute has one value: of several, that of the surest label."""
    colours: ColourWords


@dataclass(frozen=True)
class ShopWords:
    """A garment in a shop's words."""

    category: str | None
    """The full path; None where our category has no counterpart."""
    category_id: str | None
    attributes: list[ShopAttribute]
    colours: list[str]
    """Largest first; one text where the vocabulary joins them."""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON, as `result.schema.json` describes it."""
        return {
            "category": None if self.category is None else {"id": self.category_id, "name": self.category},
            "attributes": [attribute._asdict() for attribute in self.attributes],
            "colours": list(self.colours),
        }


def load_vocabulary(name: str | Path, space: LabelSpace) -> Vocabulary:
    """Load a vocabulary that ships with Hemline by its name, or any by the path of its YAML.

    Args:
        name: `shopify`, `google`, or a `.yaml` file; docs/vocabularies.md describes it.
        space: The label space whose words it is for. A file may also speak of the words of the label spaces that ship
            with Hemline, so that one file serves several.

    Raises:
        ConfigError: neither a known name nor a readable YAML; or the file holds unknown words or impossible values, and
            the text lists all of them with the nearest right ones.
    """
    from hemline._vocabulary_file import Reader  # which imports this module

    path = path_of(name)
    try:
        if str(name) in VOCABULARIES:
            text = files("hemline").joinpath("vocabularies", f"{name}.yaml").read_text(encoding="utf-8")
            data: object = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # ten times as quick
        elif path.suffix in {".yaml", ".yml"} and path.is_file():
            data = read_yaml(path.read_text(encoding="utf-8"))
        else:
            names = ", ".join(VOCABULARIES)
            raise ConfigError(f"no vocabulary {str(name)!r}: name one of {names}, or a .yaml file of your own")
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{name}: not a readable YAML: {' '.join(str(error).split())}") from error
    reader = Reader(space, checked=str(name) not in VOCABULARIES)
    vocabulary = reader.vocabulary(data)
    if reader.problems:
        raise ConfigError("\n  ".join([f"vocabulary {name}:", *reader.problems]))
    return vocabulary


def shop_words(garment: Garment, vocabulary: Vocabulary) -> ShopWords:
    """A garment in a shop's words.

    Its attributes are those of the garment and of the parts it holds, each value once, in the answer's order.
    """
    labels = [label for piece in (garment, *garment.parts) for label in piece.attributes]
    category = _category_there(garment.category, {label.label for label in garment.attributes}, vocabulary)
    return ShopWords(
        None if category is None else category.name,
        None if category is None else category.id,
        _attributes_there(labels, vocabulary),
        _colours_there(garment.colours, vocabulary.colours),
    )


def _category_there(name: str, labels: set[str], vocabulary: Vocabulary) -> ShopCategory | None:
    words = vocabulary.categories.get(name, CategoryWords(None))
    return next((there for label, there in words.with_label.items() if label in labels), words.plain)


def _attributes_there(labels: list[ScoredLabel], vocabulary: Vocabulary) -> list[ShopAttribute]:
    said: dict[ShopAttribute, float] = {}
    for label in labels:
        for attribute, values in vocabulary.attributes.items():
            if label.label in values:
                there = ShopAttribute(attribute, values[label.label])
                said[there] = max(label.score, said.get(there, 0.0))
    if not vocabulary.one_value:
        return list(said)
    surest = {one.attribute: one for one in sorted(said, key=lambda one: said[one])}
    return [one for one in said if surest[one.attribute] == one]


def _colours_there(colours: list[Colour], words: ColourWords) -> list[str]:
    said = list(dict.fromkeys(words.words[colour.name] for colour in colours if colour.name in words.words))
    said = said[: words.most]
    if words.multicolour is not None and colours:
        word, share = words.multicolour
        if max(colour.share for colour in colours) < share and word not in said:
            said = [*said[: None if words.most is None else words.most - 1], word]
    if words.join is None or not said:
        return said
    while len(words.join.join(said)) > (words.longest or len(words.join.join(said))):
        said.pop()
    return [words.join.join(said)]


# -- listing -------------------------------------------------------------------------------------------------


def without_counterpart(vocabulary: Vocabulary, space: LabelSpace) -> dict[str, list[str]]:
    """What a label space may say and a vocabulary has no word for.

    Returns:
        Names by what they are: `category`, each attribute group, `colour`. A category that has a counterpart with some
        label only is among them; a label that only decides a category is not.
    """
    from hemline.colour import PROTOTYPES

    spoken = {label for values in vocabulary.attributes.values() for label in values}
    spoken |= {label for words in vocabulary.categories.values() for label in words.with_label}
    plain = {name for name, words in vocabulary.categories.items() if words.plain is not None}
    missing = {"category": [c.name for c in space.categories if c.shown and c.name not in plain]}
    for group in (group for group in space.groups if group.shown):
        missing[group.name] = [label.name for label in group.labels if label.name not in spoken]
    missing["colour"] = [name for name in PROTOTYPES if name not in vocabulary.colours.words]
    return {kind: names for kind, names in missing.items() if names}


def listing(vocabulary: Vocabulary, space: LabelSpace) -> dict[str, Any]:
    """What `hemline vocabulary` prints, as plain JSON: the words of a label space in a shop's, and what has none."""
    shown = [c.name for c in space.categories if c.shown]
    groups = {label.name: group.name for group in space.groups if group.shown for label in group.labels}
    categories = []
    for name in (name for name in shown if name in vocabulary.categories):
        words = vocabulary.categories[name]
        there = {label: one for label, one in words.with_label.items() if label in groups}
        for label, one in [(None, words.plain), *there.items()]:
            if one is not None:
                categories.append({"ours": name, "with": label, "id": one.id, "name": one.name})
    attributes = [
        {"group": group, "ours": label, "attribute": attribute, "value": values[label]}
        for label, group in groups.items()
        for attribute, values in vocabulary.attributes.items()
        if label in values
    ]
    return {
        "name": vocabulary.name,
        "version": vocabulary.version,
        "url": vocabulary.url,
        "licence": vocabulary.licence,
        "label_space": space.name,
        "categories": categories,
        "attributes": attributes,
        "colours": [{"ours": ours, "word": word} for ours, word in vocabulary.colours.words.items()],
        "without_counterpart": without_counterpart(vocabulary, space),
    }


def listing_tables(vocabulary: Vocabulary, space: LabelSpace) -> list[Table]:
    """The same for the terminal."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    found = listing(vocabulary, space)
    title = f"{vocabulary.name} {vocabulary.version}, for the words of {space.name}"
    words = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, header_style="bold dim")
    for name in ("ours", "there", "id"):
        words.add_column(name, style="bold" if name == "ours" else "", no_wrap=name == "id")
    for one in found["categories"]:
        ours = one["ours"] if one["with"] is None else f"{one['ours']} + {one['with']}"
        words.add_row(Text(ours), Text(one["name"]), one["id"] or "-")
    words.add_section()
    for one in found["attributes"]:
        words.add_row(Text(f"{one['group']}: {one['ours']}"), Text(f"{one['attribute']}: {one['value']}"), "")
    words.add_section()
    colour = vocabulary.colours.attribute or "colour"
    for one in found["colours"]:
        words.add_row(Text(f"colour: {one['ours']}"), Text(f"{colour}: {one['word']}"))
    none = Table(title="no counterpart", title_justify="left", box=box.SIMPLE_HEAD, show_header=False)
    none.add_column(style="dim", no_wrap=True)
    none.add_column()
    for kind, names in found["without_counterpart"].items():
        none.add_row(kind, Text(" · ".join(names)))
    return [words, none]
