"""What is wrong with the labels of all photos together: ids off by one, and labels that no one could learn."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from hemline.data.instances import InstanceSet
from hemline.data.problems import Finding, Problem
from hemline.data_commands.check_photo import label_names
from hemline.labels import LabelSpace

FEW = 5
"""Photos that show a label, below which nothing can be learnt of it."""
NOTHING = {"null", "none", "background", "bg", "void", "nothing", "unlabeled", "unlabelled"}
"""Names of what is no garment."""
OFF_BY_ONE = "ids off by one"
"""A kind of problem, as an error: every garment of the set is named falsely."""
_UNKNOWN_ID = re.compile(r"no (category|attribute)(?: has id)? '?(-?\d+)'?")
"""How the loaders say which id they do not know."""


def off_by_one(used: set[int], known: set[int]) -> int:
    """By how much all used ids are too high: 1, -1, or 0 where neither explains those that are unknown."""
    if used <= known or len(used) < 3:
        return 0
    return next((step for step in (1, -1) if {id - step for id in used} <= known), 0)


def shifted(name: str, dataset: InstanceSet, space: LabelSpace) -> Iterator[Finding]:
    """Say where ids look as if the labels and the list of names were not counted from the same number.

    Args:
        name: The dataset's name.
        dataset: The dataset, opened to skip what is damaged.
        space: The label space it speaks in; ids are looked up there by name.
    """
    index = dataset.index
    times = np.bincount(index.category, minlength=len(index.categories))
    ids: dict[str, dict[str, int]] = {
        "category": {category.name: category.id for category in space.categories},
        "attribute": {label.name: label.id for label in space.labels if isinstance(label.id, int)},
    }
    used = {
        "category": [index.categories[int(i)] for i in np.flatnonzero(times)],
        "attribute": [index.attributes[int(i)] for i in np.unique(index.attribute)],
    }
    unknown: dict[str, set[int]] = {"category": set(), "attribute": set()}
    for problem in dataset.problems:
        if match := _UNKNOWN_ID.match(problem.what):
            unknown[match[1]].add(int(match[2]))
    for kind, known in ids.items():
        of_words = {known[word] for word in used[kind] if word in known}
        listed = {known[word] for word in (index.categories, index.attributes)[kind == "attribute"] if word in known}
        if step := off_by_one(of_words | unknown[kind], listed) if unknown[kind] else 0:
            beside = "above" if step > 0 else "below"
            count = "take 1 from" if step > 0 else "add 1 to"
            what = f"every {kind} id is one {beside} a known one: {count} each, or give the list they are from"
            yield Finding("error", name, Problem(OFF_BY_ONE, str(dataset.path), "", what))
    if times.sum() and (most := index.categories[int(times.argmax())]).strip().lower() in NOTHING:
        what = f"the commonest category is {most!r}: the labels may count from another number than the names do"
        yield Finding("warning", name, Problem(OFF_BY_ONE, str(dataset.path), "", what))


class Tally:
    """In how many photos each label of a space is a yes or a no.

    Args:
        space: The label space.
        every: Report the labels too of which nothing speaks: the space is the data's own.
    """

    def __init__(self, space: LabelSpace, *, every: bool) -> None:
        self.space, self.every = space, every
        self.names: set[str] = set()
        """The datasets that were counted."""
        self._photos = dict.fromkeys(("train", "validation", "test"), 0)
        self._yes = {side: np.zeros(space.num_labels, np.int64) for side in self._photos}
        self._no = np.zeros(space.num_labels, np.int64)

    def add(self, name: str, side: str, labels: NDArray[np.int8]) -> None:
        """Count one photo: (L,) what is known of it."""
        self.names.add(name)
        self._photos[side] += 1
        self._yes[side] += labels == 1
        self._no += labels == 0

    def spoken_of(self) -> int:
        """Labels that some photo answers."""
        return int((self._no + sum(self._yes.values()) > 0).sum())

    def findings(self) -> Iterator[Finding]:
        """The labels that no one could learn, or measure."""
        shown = [thing.shown for thing in self.space.categories]
        shown += [group.shown for group in self.space.groups for _ in group.labels]
        name = next(iter(self.names)) if len(self.names) == 1 else ""
        for index, label in enumerate(label_names(self.space)):
            if shown[index] and (what := self._wrong(index)):
                problem = Problem("label not to be learnt", f"label space {self.space.name}", label, what)
                yield Finding("warning", name, problem)

    def _wrong(self, index: int) -> str:
        yes = {side: int(count[index]) for side, count in self._yes.items()}
        total, no = sum(yes.values()), int(self._no[index])
        if not total:
            return "no photo shows it" if no or self.every else ""
        if yes["train"] < FEW:
            return f"{yes['train']} training photos show it, {FEW} at least are needed to learn anything"
        if not no:
            return "no photo is without it: there is nothing to tell it from"
        if self._photos["validation"] and not yes["validation"]:
            return "no validation photo shows it: it cannot be measured"
        return ""


def in_order(findings: Sequence[Finding], names: Sequence[str]) -> list[Finding]:
    """Errors first, then by kind, dataset, file and row (numbers by their size)."""

    def key(finding: Finding) -> tuple[object, ...]:
        problem = finding.problem
        place = names.index(finding.dataset) if finding.dataset in names else len(names)
        number = re.search(r"\d+", problem.row)
        return (
            finding.severity, problem.kind, place, problem.file, int(number[0]) if number else -1, problem.row,
            problem.what,
        )  # fmt: skip

    return sorted(dict.fromkeys(findings), key=key)
