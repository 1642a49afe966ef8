"""Terms: of the code, of weights, and of the data that taught each label that they can answer.

    licenses(weights)      weights files, as a user has them; the weights themselves are not read, no dataset is opened

The data and its terms stand in the weights. Which label a set taught is read from the `teach` block of the label space:
those that one of its words `is`, `mostly` has, or, as `one_of` several, may be. What cannot be known is said.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from rich import box
from rich.markup import escape
from rich.table import Table

from hemline.errors import WeightsError
from hemline.labels import OF_DATA, OF_INIT, LabelSpace
from hemline.metadata import Metadata, read_metadata, with_teaching

SCHEMA_VERSION = 1
CODE = "Apache-2.0"
"""The licence of Hemline itself (SPDX)."""
NOT_STATED = "not stated"


@dataclass(frozen=True)
class Source:
    """A dataset that weights learnt from."""

    name: str
    terms: str
    photos: int
    """That trained, as the weights count them: once for each way in which the set was read."""


@dataclass(frozen=True)
class Teacher:
    """How one dataset taught a label: the dataset's own words, by what they say of it."""

    data: str
    terms: str
    surely: list[str]
    """Words that `is` it."""
    mostly: list[str]
    """Words that are it nine times in ten."""
    one_of: list[str]
    """Words that are it or something else."""


@dataclass(frozen=True)
class Taught:
    """A label that can be answered, and who taught it."""

    group: str
    """`category`, or the attribute group."""
    label: str
    id: int | str
    taught_by: list[Teacher]


@dataclass(frozen=True)
class Licenses:
    """Whose terms an answer stands on."""

    code: str
    weights: str
    """What they are called."""
    weights_license: str
    data: list[Source]
    labels: list[Taught]
    """The labels that are shown; empty where it cannot be known who taught them."""
    teaching: Literal["weights", "package"] | None
    """Where it is written what the datasets teach: in the weights, or in the label space of their name that is here."""
    complete: bool
    """Whether no other data can have taught a label: then one that nobody taught is not known to the weights."""
    unknown: list[str]
    """What cannot be known, a sentence each."""

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {"schema_version": SCHEMA_VERSION, **asdict(self)}


def licenses(weights: Path | str) -> Licenses:
    """The terms of the code, of weights, and of what taught each label.

    Args:
        weights: A weights file of any form.

    Raises:
        WeightsError: the file is missing, damaged or foreign.
    """
    metadata = read_metadata(weights)
    sources = _sources(metadata, weights)
    space = with_teaching(metadata)
    if metadata.recipe.get("labels") == OF_DATA and sources:   # the first dataset's words, and it alone is sure of them
        names = [category.name for category in space.categories] + [label.name for label in space.labels]
        own = {name: {"is": [name]} for name in names}
        space = replace(space, teach={sources[0].name: {"words": own}, **space.teach})
    explained = [source for source in sources if source.name in space.teach]
    return Licenses(
        code=CODE,
        weights=metadata.name,
        weights_license=metadata.license or NOT_STATED,
        data=sources,
        labels=list(_labels(space, explained)) if explained else [],
        teaching=None if not explained else "weights" if metadata.labels.teach else "package",
        complete=0 < len(explained) == len(sources) and not _by_other_weights(metadata),
        unknown=list(_unknown(metadata, sources, space)),
    )


def licenses_table(found: Licenses) -> list[Table]:
    """The same as tables, in reading order; whoever calls prints them."""
    terms = _table("what", "terms")
    terms.add_row("code", found.code)
    terms.add_row(f"weights {escape(found.weights)}", escape(found.weights_license))
    for source in found.data:
        terms.add_row(f"data {escape(source.name)}, {source.photos} photos", escape(source.terms))
    tables = [terms]
    if found.labels:
        taught = _table("group", "label", "taught by, terms")
        before, nobody = "", "nobody" if found.complete else "not known"
        for label in found.labels:
            teachers = "\n".join(_teacher(teacher) for teacher in label.taught_by) or nobody
            taught.add_row("" if label.group == before else escape(label.group), escape(label.label), escape(teachers))
            before = label.group
        where = {"weights": "the weights", "package": "the label space that is here, for the weights do not carry it"}
        taught.caption = f"Which word teaches what is read from {where[found.teaching or 'package']}."
        if len(found.data) > 1:
            taught.caption += " All labels share one network, so each is shaped a little by the other data too."
        tables.append(taught)
    if found.unknown:
        tables.append(_table("what cannot be known"))
        for sentence in found.unknown:
            tables[-1].add_row(escape(sentence))
    return tables


def _sources(metadata: Metadata, weights: Path | str) -> list[Source]:
    """The datasets that gave photos, each once."""
    merged: dict[str, Source] = {}
    for entry in metadata.data:
        name = entry.get("name") if isinstance(entry, Mapping) else None
        if not isinstance(name, str) or not isinstance(entry.get("photos", 0), int):
            raise WeightsError(f"{weights}: the metadata is damaged: `data` must list names, terms and photos")
        photos, terms = entry.get("photos", 0), str(entry.get("terms") or NOT_STATED)
        if name in merged:
            known = merged[name]
            both = known.terms if terms == known.terms else f"{known.terms}; {terms}"
            merged[name] = Source(name, both, known.photos + photos)
        else:
            merged[name] = Source(name, terms, photos)
    return [source for source in merged.values() if source.photos]


def _labels(space: LabelSpace, sources: list[Source]) -> Iterator[Taught]:
    things: list[tuple[str, str, int | str]] = [("category", c.name, c.id) for c in space.categories if c.shown]
    things += [(label.group, label.name, label.id) for label in space.labels if label.shown]
    for group, name, id in things:
        teachers = [_teacher_of(name, source, space.teach[source.name]) for source in sources]
        yield Taught(group, name, id, [t for t in teachers if t.surely or t.mostly or t.one_of])


def _teacher_of(label: str, source: Source, block: Mapping[str, Any]) -> Teacher:
    said: dict[str, list[str]] = {"is": [], "mostly": [], "one_of": []}
    for word, entry in block["words"].items():
        for how, words in said.items():
            if label in (entry or {}).get(how, ()):
                words.append(str(word))
    return Teacher(source.name, source.terms, said["is"], said["mostly"], said["one_of"])


def _unknown(metadata: Metadata, sources: list[Source], space: LabelSpace) -> Iterator[str]:
    if not metadata.license or metadata.license == NOT_STATED:
        yield "The licence of the weights: the file states none."
    if not sources:
        yield "What the weights learnt from, and who taught which label: the file names no data."
    silent = [source.name for source in sources if source.name not in space.teach]
    if silent:
        yield f"Which labels {' and '.join(silent)} taught: no label space {space.name!r} that is here says so."
    if how := _by_other_weights(metadata):
        yield f"What other weights learnt from: {how} them, and the file does not list their data."
    trunk = metadata.recipe.get("backbone")
    if isinstance(trunk, Mapping) and (trunk.get("pretrained") or trunk.get("weights")):
        yield f"The terms of the pretrained trunk {trunk.get('name')}: the file does not state them."


def _by_other_weights(metadata: Metadata) -> str:
    """How other weights had a hand in these; empty where they had none that the recipe tells of."""
    if metadata.recipe.get("init") and metadata.recipe.get("labels") != OF_INIT:   # whose data stand beside the new
        return "training began from"
    data = metadata.recipe.get("data")
    entries = data if isinstance(data, list) else []
    drawn = any(isinstance(entry, Mapping) and entry.get("pseudo") for entry in entries)
    return "some masks were drawn by" if drawn else ""


def _teacher(teacher: Teacher) -> str:
    doubt = "" if teacher.surely else " (mostly so)" if teacher.mostly else " (one of several)"
    return f"{teacher.data}{doubt}: {teacher.terms}"


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, header_style="bold dim", caption_justify="left")
    for number, column in enumerate(columns):
        table.add_column(column, style="bold" if number < len(columns) - 1 else None, overflow="fold")
    return table
