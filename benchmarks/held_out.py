"""The photos that weights have not seen, opened for a benchmark, and what pairs of answers to them are compared by.

Shapes: P photos, L labels, C classes, B bootstrap resamples.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hemline import Tagger
from hemline._answered import MapsAnswer
from hemline._average_precision import average_precision
from hemline._bootstrap import Figure, Floats, figure, mean, ratio, resample
from hemline._choices import named_paths
from hemline.data import VALIDATION_SHARE, Dataset, as_trained, build_dataset, split_indices, wrong_sets
from hemline.data.stratify import held_out_of
from hemline.errors import ConfigError, DataError, HemlineError, WeightsError
from hemline.metadata import Metadata, read_metadata, with_teaching
from hemline.photo import place
from hemline.runtime import weights_file


class HeldOut(NamedTuple):
    """A dataset and its validation photos."""

    dataset: Dataset
    indices: list[int]


class Opened(NamedTuple):
    """Weights and what they are measured on."""

    tagger: Tagger
    metadata: Metadata
    """With what the datasets' words say in its label space."""
    sets: dict[str, HeldOut]


def answers(lent: Opened, photos: Sequence[NDArray[np.uint8]]) -> list[MapsAnswer]:
    """What the network answers to photos (H, W, 3), each of any size."""
    placed = [place(photo, lent.metadata.canvas) for photo in photos]
    said = lent.tagger.run(np.stack([c.pixels for c in placed]), np.stack([c.valid for c in placed]))
    return [MapsAnswer(said.masks[i], said.labels[i], c.frame, lent.metadata) for i, c in enumerate(placed)]


class Pair(NamedTuple):
    """A figure of two answers to the same photos, and by how much the second is above the first."""

    first: Figure
    second: Figure
    difference: Figure


def arguments(doc: str | None) -> argparse.ArgumentParser:
    """What all of these benchmarks take."""
    parser = argparse.ArgumentParser(description=(doc or "").partition("\n")[0])
    parser.add_argument("weights", metavar="WEIGHTS", help="a file of weights, or `default`")
    parser.add_argument("--data", action="append", required=True, metavar="NAME=PATH", help="a dataset and its folder")
    return parser


def run(main: Callable[[], None]) -> None:
    """Run a benchmark; what is wrong with its input is one sentence."""
    try:
        main()
    except HemlineError as error:
        sys.exit(str(error))


def opened(weights: str, data: Sequence[str]) -> Opened:
    """Weights ready to run, and the validation photos of each set, by the split that they were trained with.

    Raises:
        HemlineError: a name, path, file or label space is wrong.
    """
    sets = named_paths(list(data))
    if problems := wrong_sets(sets):
        raise ConfigError("; ".join(problems))
    file = weights_file(weights)
    metadata = read_metadata(file)
    if metadata.finds == "instances":
        raise WeightsError(f"{file}: finds instances; these benchmarks read maps of classes")
    metadata = replace(metadata, labels=with_teaching(metadata))
    share, held_out = float(metadata.recipe.get("validation", VALIDATION_SHARE)), held_out_of(metadata.data)
    found = {}
    for name, path in sets.items():
        dataset = build_dataset(as_trained(metadata.recipe, name, path), metadata.labels)
        found[name] = HeldOut(dataset, split_indices(dataset, "validation", share, held_out.get(name)))
        if not found[name].indices:
            raise DataError(f"{name}: no photo validates")
    return Opened(Tagger.load(file), metadata, found)


def spread(indices: Sequence[int], most: int | None) -> list[int]:
    """At most so many of them, evenly spaced."""
    if most is None or len(indices) <= most:
        return list(indices)
    return [indices[i] for i in np.linspace(0, len(indices) - 1, most).round().astype(int)]


# -- pairs ---------------------------------------------------------------------------------------------------


def paired(first: float | Floats, second: float | Floats, of_first: Floats, of_second: Floats) -> Pair:
    """Two figures and their difference, from their values on the same resamples (B,) each."""
    difference = figure(np.asarray(second) - np.asarray(first), of_second - of_first, 0.0)
    return Pair(figure(first, of_first, 0.0), figure(second, of_second, 0.0), difference)


def paired_shares(first: tuple[Floats, Floats], second: tuple[Floats, Floats]) -> Pair:
    """Two quotients of sums over photos, each of (P,) parts and (P,) wholes."""
    drawn = resample(len(first[0]))
    one, two = (ratio(part.sum(), whole.sum()) for part, whole in (first, second))
    return paired(one, two, *(ratio(drawn @ part, drawn @ whole) for part, whole in (first, second)))


def paired_iou(first: tuple[Floats, Floats], second: tuple[Floats, Floats], true: Floats, least: int = 1) -> Pair:
    """Two mean IoUs: over the classes that the truth shows in `least` photos or more, or, with 0, that occur at all.

    Args:
        first: (P, C) pixels of each photo that are right, and those that were answered.
        second: The same of the other answer.
        true: (P, C) pixels of the truth.
        least: Photos.
    """
    drawn, often = resample(len(true)), (true > 0).sum(0) >= least

    def of(hit: Floats, said: Floats, truth: Floats) -> Floats:
        return mean(ratio(hit, truth + said - hit)[..., often])

    one, two = (of(hit.sum(0), said.sum(0), true.sum(0)) for hit, said in (first, second))
    return paired(one, two, *(of(drawn @ hit, drawn @ said, drawn @ true) for hit, said in (first, second)))


def paired_precision(first: Floats, second: Floats, truth: NDArray[np.int8]) -> tuple[list[Pair | None], Pair]:
    """Average precision of each label by two scores, and its mean over the labels.

    Args:
        first: (P, L) scores.
        second: (P, L) scores of the same photos.
        truth: (P, L) 1 yes, 0 no, -1 unknown.

    Returns:
        A pair for each label, None where the photos know no positive or no negative, and the pair of their mean.
    """
    drawn = resample(len(truth))
    pairs: list[Pair | None] = []
    values: list[tuple[Floats, ...]] = []
    for label in range(truth.shape[1]):
        photo = np.flatnonzero(truth[:, label] >= 0)
        yes = truth[photo, label] == 1
        if not yes.any() or yes.all():
            pairs.append(None)
            continue
        scores = [side[photo, label] for side in (first, second)]
        found = (
            *(average_precision(side, yes)[0] for side in scores),
            *(average_precision(side, yes, photo, drawn) for side in scores),
        )
        pairs.append(paired(*found))
        values.append(found)
    if not values:
        return pairs, paired(np.nan, np.nan, np.full(1, np.nan), np.full(1, np.nan))
    return pairs, paired(*(mean(np.stack(each, axis=-1)) for each in zip(*values, strict=True)))


def shown(found: Figure, sign: bool = False) -> str:
    """A figure with its interval, as Markdown."""
    if np.isnan(found.value):
        return ""
    form = "+.3f" if sign else ".3f"
    return f"{found.value:{form}} ({found.low:{form}} to {found.high:{form}})"
