"""The counting behind `hemline.data_commands.stats`.

Shapes: P photos, C categories, A attributes, L = C + A labels, K mask classes, S segments.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hemline.config import Config
from hemline.data import Dataset
from hemline.data.balance import weights_of
from hemline.data.loading import Source
from hemline.data.sample import EITHER, UNKNOWN, Sample
from hemline.data_commands.stats import (
    AREA_EDGES,
    EXAMPLES,
    PERCENTILES,
    Area,
    Attributes,
    Draws,
    Five,
    Garments,
    LabelCount,
    Pixels,
    SetStats,
    Sizes,
    Stats,
    Together,
)  # fmt: skip
from hemline.data_commands.visit import visit
from hemline.errors import DataError, HemlineError
from hemline.labels import LabelSpace

SIDES = ("train", "validation", "test")
MOST_TOGETHER = 100
"""Categories whose co-occurrence is counted, the most frequent ones."""
Progress = Callable[[str, int, int], None]
"""Told what is counted, how many photos are done, and of how many."""


@dataclass(frozen=True)
class Look:
    """What one photo tells."""

    size: tuple[int, int]
    """(height, width)."""
    garments: list[tuple[NDArray[np.int8], float]]
    """(L,) labels and share of the photo of each drawn garment."""
    things: dict[int, float]
    """Share of the photo of mask classes that are no categories, where they are drawn."""
    pixels: tuple[float, float, float] | None
    """Shares drawn, background and unknown; None where nothing is drawn."""


def statistics(
    config: Config,
    space: LabelSpace,
    sources: Sequence[Source],
    *,
    photos: int | None = 500,
    seed: int = 0,
    progress: Progress = lambda *_: None,
) -> Stats:
    """Count what the datasets of a recipe hold.

    Args:
        config: The recipe.
        space: Its label space.
        sources: Its datasets, as `hemline.data_commands.asked.opened` gives them.
        photos: How many photos of each to read, None for all.
        seed: Another seed reads others.
        progress: Told how far it is.

    Raises:
        DataError: no photo of a dataset can be read.
        ConfigError: the recipe weighs classes, and nothing is drawn.
    """
    sets = [
        _Counting(config, space, number, source, seed, progress).count(photos) for number, source in enumerate(sources)
    ]
    by_class = weights_of(sources, config, space).named(space).get("class weights", {})
    return Stats(config.name, space.name, seed, sets, by_class)


def sample_of(num_photos: int, count: int | None, seed: int) -> list[int]:
    """Positions of `count` photos, or all, in rising order: a larger sample of one seed holds the smaller."""
    order = list(range(num_photos))
    random.Random(seed).shuffle(order)
    return sorted(order[:count])


def unknown_segments(sample: Sample) -> NDArray[np.bool_]:
    """(S,) segments whose pixels are no class for sure, and may be one that the rest of the photo speaks of."""
    spoken = (sample.targets >= 0).any(0)
    open_here = ((sample.targets == EITHER) | ((sample.targets == UNKNOWN) & spoken)).any(1)
    unknown: NDArray[np.bool_] = open_here & ~(sample.targets == 1).any(1)
    return unknown


class _Counting:
    """The counting of one dataset."""

    def __init__(
        self, config: Config, space: LabelSpace, number: int, source: Source, seed: int, progress: Progress
    ) -> None:
        self.config, self.space, self.source, self.seed = config, space, source, seed
        self.data = config.data[number]
        self.dataset = source.dataset
        self.progress = progress
        self.num_categories = len(space.categories)
        self.unreadable: dict[str, None] = {}
        self.rows: list[NDArray[np.int8]] = []            # (L,) of each garment that is counted
        self.row_photos: list[int] = []

    def count(self, photos: int | None) -> SetStats:
        """Count it all."""
        dataset = self.dataset
        labels = self._read_labels()
        chosen = sample_of(len(dataset), photos, self.seed)
        looks = self._visit("photos", chosen, partial(look_at, num_categories=self.num_categories))
        seen = [look for look in looks if isinstance(look, Look)]
        if not seen:
            first = next(iter(self.unreadable), "the set is empty")
            raise DataError(f"{self.data.name}: none of {len(chosen)} photos can be read: {first}")
        counted = len(dataset)
        if not hasattr(dataset, "garment_labels"):
            counted = len(seen)
            for number, look in enumerate(seen):
                self.rows += [row for row, _ in look.garments]
                self.row_photos += [number] * len(look.garments)
        rows = np.array(self.rows, np.int8).reshape(-1, self.space.num_labels)
        per_photo = Counter(self.row_photos)
        sides = {side: self.source.side(side) for side in SIDES}
        return SetStats(
            name=self.data.name,
            terms=dataset.terms,
            photos=len(dataset),
            sides={side: len(indices) for side, indices in sides.items()},
            groups=len(set(dataset.groups)),
            left_out=len(getattr(dataset, "problems", ())),
            unreadable=list(self.unreadable),
            sample=len(seen),
            unknown=float((labels < 0).mean()),
            labels=self._labels(labels, sides, rows, self._order(chosen, looks)),
            together=_together(labels[:, : self.num_categories], [c.name for c in self.space.categories]),
            garments=Garments(counted, len(rows), len(per_photo), max(per_photo.values(), default=0)),
            attributes=self._attributes(rows, counted, labels),
            areas=self._areas(seen),
            pixels=_pixels(seen),
            sizes=_sizes(seen),
            draws=self._draws(),
        )

    def _visit(self, what: str, indices: Sequence[int], look: Callable[[Dataset, int], Any]) -> list[Any]:
        found = []
        self.progress(f"{self.data.name}: {what}", 0, len(indices))
        for done, seen in enumerate(visit(self.dataset, indices, look, workers=self.config.workers), start=1):
            if isinstance(seen, HemlineError):
                self.unreadable[str(seen)] = None
            found.append(seen)
            if done % 16 == 0 or done == len(indices):
                self.progress(f"{self.data.name}: {what}", done, len(indices))
        return found

    def _read_labels(self) -> NDArray[np.int8]:
        """(P, L) of all photos; garments are noted by the way where the set tells them."""
        labels = np.full((len(self.dataset), self.space.num_labels), UNKNOWN, np.int8)
        for index, told in enumerate(self._visit("labels", range(len(self.dataset)), labels_of)):
            if isinstance(told, HemlineError):
                continue
            labels[index], garments = told
            self.rows += garments
            self.row_photos += [index] * len(garments)
        return labels

    def _labels(
        self, labels: NDArray[np.int8], sides: dict[str, list[int]], rows: NDArray[np.int8], order: list[int]
    ) -> list[LabelCount]:
        yes, no = (labels == 1).sum(0), (labels == 0).sum(0)
        of_side = {side: (labels[indices] == 1).sum(0) for side, indices in sides.items()}
        an_epoch = self.source.draws @ (labels[self.source.indices] == 1)
        garments = (rows == 1).sum(0)
        ordered = labels[order] == 1
        keys = self.dataset.keys
        named = [(c.name, "category") for c in self.space.categories]
        named += [(label.name, label.group) for label in self.space.labels]
        return [
            LabelCount(
                name, group, int(yes[i]), int(no[i]), len(labels) - int(yes[i] + no[i]),
                int(of_side["train"][i]), int(of_side["validation"][i]), int(of_side["test"][i]),
                round(float(an_epoch[i]), 2), int(garments[i]),
                [keys[order[n]] for n in np.flatnonzero(ordered[:, i])[:EXAMPLES]],
            )
            for i, (name, group) in enumerate(named)
        ]  # fmt: skip

    def _order(self, chosen: Sequence[int], looks: Sequence[object]) -> list[int]:
        """All photos by the seed, those of the sample first on which something is drawn."""
        shuffled = list(range(len(self.dataset)))
        random.Random(self.seed).shuffle(shuffled)
        drawn = {i for i, look in zip(chosen, looks, strict=True) if isinstance(look, Look) and look.garments}
        return sorted(shuffled, key=lambda i: i not in drawn)

    def _attributes(self, rows: NDArray[np.int8], counted: int, labels: NDArray[np.int8]) -> Attributes:
        num = self.num_categories
        of: Literal["garments", "photos"] = "garments" if (rows[:, num:] == 1).any() else "photos"
        if of == "photos":
            rows, counted = labels, len(labels)
        category = (rows[:, :num] == 1).astype(np.float32)
        yes = (rows[:, num:] == 1).astype(np.float32).T @ category
        known = (rows[:, num:] >= 0).astype(np.float32).T @ category
        a, c = yes.any(1), yes.any(0)
        return Attributes(
            of,
            counted,
            [label.name for label, some in zip(self.space.labels, a, strict=True) if some],
            [category.name for category, some in zip(self.space.categories, c, strict=True) if some],
            yes[a][:, c].astype(int).tolist(),
            known[a][:, c].astype(int).tolist(),
        )

    def _areas(self, looks: Sequence[Look]) -> list[Area]:
        shares: list[list[float]] = [[] for _ in self.space.mask_names]
        for look in looks:
            for row, share in look.garments:
                for k in np.flatnonzero(row[: self.num_categories] == 1).tolist():
                    shares[k].append(share)
            for k, share in look.things.items():
                shares[k].append(share)
        return [
            Area(name, len(of), _five(of), np.histogram(np.clip(of, AREA_EDGES[0], 1), AREA_EDGES)[0].tolist())
            for name, of in zip(self.space.mask_names, shares, strict=True)
            if of
        ]

    def _draws(self) -> Draws:
        draws = self.source.draws
        if not len(draws):
            return Draws(0, self.data.weight, 0.0, 0.0, 0.0, 0.0, [])
        least, median, most = (round(float(x), 4) for x in (draws.min(), np.median(draws), draws.max()))
        times = sorted(Counter(draws.round(2).tolist()).items())
        return Draws(len(draws), self.data.weight, round(float(draws.sum()), 2), least, median, most, times)


def labels_of(dataset: Dataset, index: int) -> tuple[NDArray[np.int8], list[NDArray[np.int8]]]:
    """(L,) of a photo and, where the set tells them without its pixels, of its garments."""
    garments = getattr(dataset, "garment_labels", None)
    return dataset.photo_labels(index), [] if garments is None else garments(index)


def look_at(dataset: Dataset, index: int, *, num_categories: int) -> Look:
    """Read a photo; mask classes from `num_categories` on are no garments."""
    sample = dataset[index]
    pixels = sample.segments.size
    share = np.bincount(sample.segments.ravel(), minlength=len(sample.targets)) / pixels
    size = (sample.segments.shape[0], sample.segments.shape[1])
    garments = [
        (region.labels, float(share[list(region.segments)].sum()))
        for region in sample.regions
        if region.drawn and region.doubt == 0
    ]
    if len(sample.targets) == 1 and not (sample.targets == 1).any():
        return Look(size, garments, {}, None)
    covered = share @ (sample.targets == 1)
    things = {k: float(covered[k]) for k in range(num_categories, len(covered)) if covered[k] > 0}
    drawn = float(share[(sample.targets == 1).any(1)].sum())
    unknown = float(share[unknown_segments(sample)].sum())
    return Look(size, garments, things, (drawn, max(0.0, 1 - drawn - unknown), unknown))


def _together(labels: NDArray[np.int8], names: Sequence[str]) -> Together:
    """How categories, (P, C) labels, go together."""
    often = np.argsort(-(labels == 1).sum(0), kind="stable")[:MOST_TOGETHER]
    shown = sorted(int(c) for c in often if (labels[:, c] == 1).any())
    yes = (labels[:, shown] == 1).astype(np.float32)
    known = (labels[:, shown] >= 0).astype(np.float32)
    both, of_known, both_known = yes.T @ yes, yes.T @ known, known.T @ known
    with np.errstate(divide="ignore", invalid="ignore"):
        share = both / of_known
        share[(both == of_known) & (of_known < both.diagonal()[:, None])] = np.nan    # only yes is ever said of both
        by_chance = of_known * of_known.T / both_known
        by_chance[np.isnan(share) | np.isnan(share.T)] = np.nan
    names = [names[c] for c in shown]
    return Together(names, both.astype(int).tolist(), _or_none(share), _or_none(by_chance))


def _or_none(values: NDArray[np.float32]) -> list[list[float | None]]:
    return [[round(float(x), 4) if np.isfinite(x) else None for x in row] for row in values]


def _five(values: Sequence[float]) -> Five:
    p5, q1, median, q3, p95 = (float(f"{x:.4g}") for x in np.percentile(values, PERCENTILES))
    return p5, q1, median, q3, p95


def _pixels(looks: Sequence[Look]) -> Pixels:
    told = [look.pixels for look in looks if look.pixels is not None]
    drawn, background, unknown = (round(float(x), 5) for x in np.mean(told or [(0.0, 0.0, 1.0)], axis=0))
    return Pixels(len(told), drawn, background, unknown)


def _sizes(looks: Sequence[Look]) -> Sizes:
    height, width = np.array([look.size for look in looks]).T
    counts = Counter((w, h) for h, w in (look.size for look in looks)).most_common()
    return Sizes(
        _five(width.tolist()), _five(height.tolist()), _five((width / height).tolist()),
        [(w, h, n) for (w, h), n in counts],
    )  # fmt: skip
