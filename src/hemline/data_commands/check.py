"""Everything that is wrong with datasets, at once: what `hemline data check` finds.

    opening      what the loaders say of rows they cannot use
    each photo   unreadable, unusable labels, masks that are damaged, empty, tiny or outside, labels that contradict
    all photos   ids off by one, labels that no one could learn, duplicates within and across splits and datasets

An **error** is what training would refuse, or would learn or measure falsely: the same file on both sides of a split is
one. A **warning** is worth knowing and may be right as it is: two photos that look the same, a label too rare to learn.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from hemline.config import Config, Data
from hemline.data import DATASETS, Dataset, build_dataset, label_space, own_space, split_indices
from hemline.data.instances import InstanceSet
from hemline.data.loading import stratified
from hemline.data.problems import Finding, Problem
from hemline.data_commands.check_labels import Tally, in_order, shifted
from hemline.data_commands.check_photo import Seen, label_names, look_at, photo_file
from hemline.data_commands.duplicates import same_bytes, same_look
from hemline.data_commands.visit import visit
from hemline.errors import DataError, HemlineError
from hemline.labels import LABEL_SPACES, OF_DATA, OF_WORDS, LabelSpace, load_label_space

SIDES = ("train", "validation", "test")
HARMLESS = {"values alike"}
"""Kinds of problems that loaders list and do not refuse."""

Progress = Callable[[str, int, int], None]
"""Called with a dataset's name, the photos that were looked at, and all of them."""


@dataclass
class Opened:
    """A dataset that could be opened."""

    name: str
    """Its name, with a number where the name stands twice: `coco`, `coco 2`."""
    data: Data
    dataset: Dataset
    space: LabelSpace
    sides: list[str]
    """Of each photo, one of `SIDES`."""
    garments: int = 0


@dataclass
class Checked:
    """What a check found."""

    findings: list[Finding]
    """In a fixed order: errors first, then by kind, dataset, file and row."""
    sets: list[Opened]
    """The datasets that could be opened."""
    labels: int = 0
    """Labels that some photo answers."""
    unopened: list[str] = field(default_factory=list)

    def of(self, severity: str) -> list[Finding]:
        """The errors, or the warnings."""
        return [finding for finding in self.findings if finding.severity == severity]

    @property
    def exit_code(self) -> int:
        """0 nothing is wrong, 1 there are errors, 2 nothing could be checked."""
        return 2 if not self.sets else 1 if self.of("error") else 0

    def to_dict(self) -> dict[str, Any]:
        """Plain data, the same for the same files."""
        return {
            "ok": self.exit_code == 0,
            "errors": len(self.of("error")),
            "warnings": len(self.of("warning")),
            "labels": self.labels,
            "checked": [
                {
                    "dataset": each.name,
                    "path": each.data.path,
                    "photos": len(each.dataset),
                    **{side: each.sides.count(side) for side in SIDES},
                    "garments": each.garments,
                }
                for each in self.sets
            ],
            "not_opened": self.unopened,
            "findings": [
                {"severity": severity, "dataset": dataset, **problem._asdict()}
                for severity, dataset, problem in self.findings
            ],
        }


def check(config: Config, progress: Progress = lambda *_: None) -> Checked:
    """Check the datasets of a recipe, alone and together.

    Args:
        config: The recipe; `workers`, `labels`, `validation` and `data` of it count.
        progress: Is told how far it is.
    """
    findings: list[Finding] = []
    checked = Checked(findings, [])
    for data, name in zip(config.data, _names(config.data), strict=True):
        try:
            checked.sets.append(_open(config, data, name, findings))
        except HemlineError as error:
            checked.unopened.append(name)
            what = str(error).removeprefix(f"{data.name}: ")
            findings.append(Finding("error", name, Problem("cannot be opened", str(data.path or data.name), "", what)))
    seen: list[Seen] = []
    photos: list[tuple[Opened, int]] = []
    tallies: dict[int, Tally] = {}
    for opened in checked.sets:
        tally = next((t for t in tallies.values() if t.space == opened.space), None)
        if tally is None:
            tally = tallies[len(tallies)] = Tally(opened.space, every=config.labels in OF_WORDS)
        for index, one in enumerate(_look(opened, config.workers, progress)):
            tally.add(opened.name, opened.sides[index], one.labels)
            opened.garments += one.garments
            findings += one.findings
            one.findings = []
            photos.append((opened, index))
            seen.append(one)
    for tally in tallies.values():
        findings += tally.findings()
    checked.labels = sum(tally.spoken_of() for tally in tallies.values())
    findings += _duplicates(photos, seen)
    checked.findings = in_order(findings, [opened.name for opened in checked.sets])
    return checked


def _names(sets: Sequence[Data]) -> list[str]:
    names = [data.name for data in sets]
    return [f"{name} {names[:i].count(name) + 1}" if name in names[:i] else name for i, name in enumerate(names)]


def _open(config: Config, data: Data, name: str, findings: list[Finding]) -> Opened:
    """Open a dataset so that it skips what is damaged, and take the problems it lists."""
    if "damaged" in inspect.signature(DATASETS[data.name]).parameters:
        data = replace(data, options={**data.options, "damaged": "skip"})
    space = _space(config, data)
    dataset = build_dataset(data, space)
    for problem in getattr(dataset, "problems", ()):
        findings.append(Finding("warning" if problem.kind in HARMLESS else "error", name, problem))
    if isinstance(dataset, InstanceSet):
        findings += shifted(name, dataset, space)
    held_out = None
    if config.split == "stratified":                      # of this set alone, whole
        held_out = stratified(replace(config, data=(data,)), [dataset], [range(len(dataset))]).get(data.name)
    sides = ["train"] * len(dataset)
    for side in SIDES[1:]:
        for index in split_indices(dataset, side, config.validation, held_out):
            sides[index] = side
    return Opened(name, data, dataset, space, sides)


def _space(config: Config, data: Data) -> LabelSpace:
    """The label space to check a dataset in: the recipe's; for `labels: data` its own, or one that teaches it."""
    if config.labels != OF_DATA:
        return label_space(config)
    if hasattr(DATASETS[data.name], "label_space"):
        return own_space(data)
    spaces = [load_label_space(name) for name in reversed(LABEL_SPACES)]
    return next((space for space in spaces if data.name in space.teach), spaces[0])


def _look(opened: Opened, workers: int, progress: Progress) -> Iterator[Seen]:
    dataset, total = opened.dataset, len(opened.dataset)
    look = partial(look_at, name=opened.name, space=opened.space)
    for done, seen in enumerate(visit(dataset, range(total), look, workers=workers), start=1):
        if isinstance(seen, HemlineError):
            raise DataError(f"{opened.name}: {dataset.keys[done - 1]}: {seen}")
        yield seen
        progress(opened.name, done, total)


def _duplicates(photos: Sequence[tuple[Opened, int]], seen: Sequence[Seen]) -> Iterator[Finding]:
    """The photos that are in the datasets twice; each is reported once."""
    side = [SIDES.index(opened.sides[index]) for opened, index in photos]
    same = same_bytes([one.digest for one in seen])
    partners = {photo: [other for other in group if other != photo] for group in same for photo in group}
    yield from _twice(photos, side, partners, exact=True)
    first = [max(group, key=lambda photo: (side[photo], -photo)) for group in same]
    copies = {photo for group, kept in zip(same, first, strict=True) for photo in group if photo != kept}
    single = [(photo, one.look) for photo, one in enumerate(seen) if one.look is not None and photo not in copies]
    alike: dict[int, list[int]] = {}
    for a, b in same_look([look for _, look in single]):
        one, other = single[a][0], single[b][0]
        alike.setdefault(one, []).append(other)
        alike.setdefault(other, []).append(one)
    yield from _twice(photos, side, alike, exact=False)


def _twice(
    photos: Sequence[tuple[Opened, int]], side: Sequence[int], partners: Mapping[int, Sequence[int]], *, exact: bool
) -> Iterator[Finding]:
    """Say of a photo that another one is the same: that of a later side of the split, or else an earlier photo."""
    for photo, others in sorted(partners.items()):
        later = [other for other in others if side[other] > side[photo]]
        before = [other for other in others if other < photo and side[other] == side[photo]]
        if not later and not before:
            continue
        other = (later or before)[0]
        (opened, index), (second, place) = photos[photo], photos[other]
        file = photo_file(opened.dataset, index) or opened.dataset.keys[index]
        copy = photo_file(second.dataset, place) or second.dataset.keys[place]
        what = f"{'the same file as' if exact else 'looks the same as'} {copy}"
        if later:
            what += f", which is for {SIDES[side[other]]}: leave one of them out"
        what += _contradiction(opened, index, second, place) if opened.space is second.space else ""
        kind = ("duplicate photo" if exact else "photos that look the same") + (" across the split" if later else "")
        yield Finding("error" if exact and later else "warning", opened.name, Problem(kind, str(file), "", what))


def _contradiction(one: Opened, index: int, other: Opened, place: int) -> str:
    a, b = one.dataset.photo_labels(index), other.dataset.photo_labels(place)
    against = np.flatnonzero((a != b) & (a >= 0) & (b >= 0))
    if not len(against):
        return ""
    names = [label_names(one.space)[label] for label in against[:3]]
    more = f" and {len(against) - 3} more" if len(against) > 3 else ""
    return f"; their labels contradict: {', '.join(names)}{more}"
