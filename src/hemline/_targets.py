"""The protocol's scores of a labelled set, and of the answers to its photos, counted photo by photo.

`taxonomies/protocol.yaml` names what it scores in each set's own words. Which label of ours stands for a word follows
from the label space: among what the word `is` by the `teach` block, the one hidden label, which is the set's own word,
or, where it has none, the only label. So `category 1` is scored by `upper shirt`, and `necktie 2` by `tie`.

Shapes: N rows, L labels, P photos, B bootstrap resamples.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence, Set
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from hemline._bootstrap import Floats, figure, ratio, resample
from hemline.labels import Category, Label, LabelSpace
from hemline.metrics import LabelScores
from hemline.report import TargetScore
from hemline.result import Result

WORDS = {"clothing_attributes": "23 labels", "clothing_dataset": "17 classes"}
"""The key of the protocol's list of words, for each set that it scores by labels."""
GARMENT_FOUND, LARGEST_RIGHT = 0.95, 0.75
"""Shares of its photos that we want answered with any garment, and with the right one as the largest. They are ours:
the protocol scores labels and masks alone."""


@cache
def protocol() -> dict[str, Any]:
    """The frozen protocol, `taxonomies/protocol.yaml`."""
    file = files("hemline").joinpath("taxonomies", "protocol.yaml")
    content: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return content


def meant(space: LabelSpace, source: str) -> dict[str, Category | Label]:
    """What stands for each word that the protocol scores of a set; empty where the label space lacks any of them."""
    if source not in WORDS or source not in space.teach:
        return {}
    listed = protocol()["labels"][source][WORDS[source]]
    if isinstance(listed, dict):
        listed = [f"{question} {answer}" for question, answers in listed.items() for answer in answers]
    taught = {str(word): entry or {} for word, entry in space.teach[source]["words"].items()}
    found = {}
    for word in listed:
        things = [space.find(name) for name in taught.get(word, {}).get("is", []) if name not in space.pixels]
        own = [thing for thing in things if not thing.shown] or things
        if len(own) != 1:
            return {}
        found[word] = own[0]
    return found


class Targets:
    """The scores that weights are judged by on one set; none where the protocol or the label space has none.

    Args:
        name: The set, as `hemline.data.DATASETS` names it.
        space: The label space, with its `teach` block.
    """

    def __init__(self, name: str, space: LabelSpace) -> None:
        self.name = name
        self.space = space
        self.meant = meant(space, name)
        self.single_item = bool(space.teach.get(name, {}).get("single_item"))
        """Whether the photos show one item each, so that they say which garment an answer should hold."""
        self._channels = [thing.index for thing in self.meant.values()]
        choices = {"words": slice(0, len(self.meant))}
        self._labels = LabelScores(list(self.meant), [0.5] * len(self.meant), choices)  # no score needs a threshold
        self._answers: list[tuple[list[str], Set[str]]] = []

    def update(self, scores: NDArray[np.floating[Any]], truth: NDArray[np.int8]) -> None:
        """Count the labels of one whole photo: (N, L) probabilities, and 1 yes, 0 no, -1 unknown."""
        if self.meant:
            self._labels.update(scores[:, self._channels], truth[:, self._channels])

    def answer(self, result: Result, truth: NDArray[np.int8], one_of: Sequence[NDArray[np.bool_]]) -> None:
        """Count the answer to one photo.

        Args:
            result: As a user gets it.
            truth: (L,) what is known of the photo.
            one_of: (L,) labels of which at least one is true; a garment of any of them is right.
        """
        allowed = np.any([truth == 1, *one_of], axis=0)
        right = {category.name for category in self.space.categories if allowed[category.index]}
        self._answers.append(([garment.category for garment in result.garments], right))

    def rescore(self, weights: Sequence[Sequence[float]]) -> None:
        """Turn the labels' probabilities by the (L, 2) weights of the label space; see `LabelScores.rescore`."""
        if self.meant:
            self._labels.rescore([weights[channel] for channel in self._channels])

    def extend(self, other: Targets) -> None:
        """Count the photos of others of the same set after one's own."""
        self._labels.extend(other._labels)
        self._answers += other._answers

    def compute(self) -> list[TargetScore]:
        """The scores of all photos so far."""
        return [*self._of_labels(), *self._of_answers()]

    def _of_labels(self) -> list[TargetScore]:
        report = self._labels.compute()
        if not report.labels:
            return []
        asked = protocol()["labels"][self.name]
        key = asked["score"].replace("-", "").replace(" ", "_")
        num, scored = len(self.meant), len(report.labels)
        score = report.mean_average_precision
        what = f"mean AP of {num} labels" if scored == num else f"mean AP of {scored} of {num} labels"
        if key == "top1":
            (choice,) = report.choices
            score, what = choice.top1, f"top-1 of {num} words"
        return [
            TargetScore(
                name=key,
                what=what,
                photos=report.photos,
                score=score,
                wanted=asked["floor"][key],
                labels={word: thing.name for word, thing in self.meant.items()},
                left_out=report.left_out,
            )
        ]

    def _of_answers(self) -> list[TargetScore]:
        if not self._answers:
            return []
        found = np.array([bool(garments) for garments, _ in self._answers], np.float64)
        scores = [_share("garment_found", "a garment is found", found, 1.0, GARMENT_FOUND)]
        named = [(garments, right) for garments, right in self._answers if right]
        if named:
            hit = np.array([garments[:1] != [] and garments[0] in right for garments, right in named], np.float64)
            often = Counter(category for _, right in named for category in right)
            commonest = max((often[c.name] for c in self.space.categories if c.shown), default=0) / len(named)
            scores.append(_share("largest_right", "the largest garment is right", hit, commonest, LARGEST_RIGHT))
        return scores


def _share(name: str, what: str, values: Floats, trivial: float, wanted: float) -> TargetScore:
    """The share of photos (P,) that are 1."""
    drawn = resample(len(values))                                     # (B, P)
    spread = ratio(drawn @ values, drawn.sum(1))
    return TargetScore(name, what, len(values), figure(values.mean(), spread, trivial), wanted)
