"""Batches for training: which photos, in which order, each seen how.

Everything random is a function of (seed, epoch, position), so that one seed gives one run whatever the number of
workers, and a resumed run goes on with the very photos that the interrupted one would have seen.
"""

from __future__ import annotations

import os
import traceback
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Sampler

from hemline._reading import path_of
from hemline.config import Config
from hemline.data import Dataset, build_dataset, published_sides, split_indices
from hemline.data.augment import augment_sample, place_sample
from hemline.data.instance_truth import separate
from hemline.data.mix import mix_sample
from hemline.data.pseudo import WithPseudoMasks
from hemline.data.recolour import recolour_sample
from hemline.data.sample import Batch, Sample, collate
from hemline.data.stratify import HELD_OUT, fingerprint, held_out_groups
from hemline.data.subset import at_most, photos_of_classes
from hemline.errors import ConfigError, DataError, HemlineError, in_short
from hemline.labels import LabelSpace

LEAST_PART = 1e-3
"""Share of the photo that a connected part of a class covers, to be learnt as a thing."""
CANVAS = zlib.crc32(b"canvas")
"""Part of the seed of what chooses canvases, so that it chooses nothing else alike."""
MIXING = zlib.crc32(b"mixing")
"""Part of the seed of what mixes photos and repaints them, so that each is seen from where it is without."""


class Source(NamedTuple):
    """One dataset of a run and which of its photos train."""

    dataset: Dataset
    indices: list[int]
    draws: NDArray[np.float64]
    """How often each of these photos is drawn an epoch, on average."""
    held_out: Sequence[int] = ()
    """Which of its photos validate."""
    num_categories: int = 0
    """Mask classes below it are garments, the others are hair, skin and the like; 0: nobody says so."""

    def side(self, name: str) -> list[int]:
        """Its photos of one side: `train` and `validation` as this run takes them, `test` as published, `all`."""
        if name in ("train", "validation"):
            return list(self.indices if name == "train" else self.held_out)
        return [i for i, side in enumerate(published_sides(self.dataset)) if name in ("all", side)]


class Item(NamedTuple):
    """One photo in one epoch."""

    seed: tuple[int, int, int]
    """(seed of the run, epoch, position in the epoch)."""
    source: int
    photo: int
    canvas: tuple[int, int] | None = None
    """Its height and width, where the recipe mixes several; None: the recipe's one."""
    second: Item | None = None
    """The next photo of the epoch, of which something may be pasted onto this one; None: none is there."""


def open_sources(
    config: Config, space: LabelSpace, held_out: Mapping[str, frozenset[str]] | None = None
) -> list[Source]:
    """Open every dataset of a recipe and take its photos: those that train and those that validate.

    Args:
        config: The recipe.
        space: Its label space.
        held_out: Fingerprints of groups that were held out of datasets before, by name, and are held out again: of the
            weights one begins with, as `held_out_of` reads them.

    Raises:
        ConfigError: weights that leave nothing of a dataset, or a choice of photos that leaves none.
        DataError: a dataset is missing or not laid out as published, or no photo is left to train on.
    """
    datasets = [build_dataset(data, space) for data in config.data]
    taken = [
        photos_of_classes(dataset, data.only, space, f"data.{i}.only")
        for i, (data, dataset) in enumerate(zip(config.data, datasets, strict=True))
    ]
    splits = dict(held_out or {})
    if config.split == "stratified":
        splits = stratified(config, datasets, taken) | splits
    sources, problems = [], []
    for i, (data, dataset, photos) in enumerate(zip(config.data, datasets, taken, strict=True)):
        split, chosen = splits.get(data.name), frozenset(photos)
        indices = [j for j in split_indices(dataset, "train", config.validation, split) if j in chosen]
        validating = [j for j in split_indices(dataset, "validation", config.validation, split) if j in chosen]
        if data.only is not None:
            indices = at_most(indices, dataset.keys, data.only.count, data.only.seed)
        draws = np.full(len(indices), data.weight)
        if config.repeat > 0 and indices:
            draws *= repeat_factors([dataset.photo_labels(i) for i in indices], config.repeat)
        if data.pseudo is not None:
            dataset = WithPseudoMasks(dataset, path_of(data.pseudo), space, indices)
        sources.append(Source(dataset, indices, draws, validating, len(space.categories)))
        if indices and round(float(draws.sum())) == 0:
            problems.append(f"data.{i}.weight: {data.weight:g} of {len(indices)} photos is none an epoch; raise it")
    if problems:
        raise ConfigError("; ".join(problems))
    if not any(source.indices for source in sources):
        raise DataError(f"{config.name}: no photo is left to train on; lower validation={config.validation}")
    return sources


def stratified(
    config: Config, datasets: Sequence[Dataset], taken: Sequence[Sequence[int]]
) -> dict[str, frozenset[str]]:
    """Fingerprints of the groups that a stratified split holds out of each dataset that publishes no split, by name.

    A dataset that stands in the recipe twice is split once, so that no group trains in one place and validates in the
    other.

    Args:
        config: The recipe.
        datasets: Its datasets.
        taken: Which of their photos are taken.
    """
    photos: dict[str, dict[str, tuple[str, NDArray[np.bool_]]]] = {}
    for data, dataset, indices in zip(config.data, datasets, taken, strict=True):
        sides = published_sides(dataset)
        if "validation" in sides:
            continue
        of_set = photos.setdefault(data.name, {})
        for i in indices:
            if sides[i] == "train":
                of_set.setdefault(dataset.keys[i], (dataset.groups[i], dataset.photo_labels(i) == 1))
    held_out = {}
    for name, of_set in photos.items():
        groups, shows = [group for group, _ in of_set.values()], [labels for _, labels in of_set.values()]
        held_out[name] = frozenset(map(fingerprint, held_out_groups(groups, shows, config.validation)))
    return held_out


def described(
    config: Config, sources: Sequence[Source], held_out: Mapping[str, frozenset[str]] | None = None
) -> list[dict[str, Any]]:
    """What weights say of the datasets that they learnt from; of a stratified split, also which groups it held out.

    Args:
        config: The recipe.
        sources: Its datasets.
        held_out: What was given to `open_sources`.
    """
    before = held_out or {}
    entries: list[dict[str, Any]] = []
    for data, source in zip(config.data, sources, strict=True):
        entry = {"name": data.name, "terms": source.dataset.terms, "photos": len(source.indices)}
        if config.split == "stratified" and "validation" not in published_sides(source.dataset):
            groups = {fingerprint(source.dataset.groups[i]) for i in source.held_out}
            entry[HELD_OUT] = sorted(groups | before.get(data.name, frozenset()))
        entries.append(entry)
    return entries


def repeat_factors(labels: Sequence[NDArray[np.int8]], threshold: float) -> NDArray[np.float64]:
    """How often to draw each photo so that rare labels are seen, 1 or more.

    sqrt(threshold / frequency) of its rarest label (LVIS, Gupta et al., 2019, https://arxiv.org/abs/1908.03195).

    Args:
        labels: (L,) of each photo.
        threshold: Labels of at least this share of the photos are not repeated.
    """
    shows = np.stack(labels) == 1
    frequency = shows.mean(0)
    factor = np.sqrt(threshold / np.clip(frequency, 1 / len(labels), None))
    repeats: NDArray[np.float64] = np.maximum(1.0, (shows * factor).max(1))
    return repeats


class EpochSampler(Sampler[list[Item]]):
    """Batches of one epoch; set `epoch` before iterating, and `start` to skip steps already trained on.

    Every process of a run has one, and they part the same steps among them: which photos a step has, and how each is
    seen, depends neither on the number of processes nor on that of pieces.

    Args:
        sources: The datasets.
        batch_size: Photos a step, of all processes and pieces.
        seed: Of the run.
        pieces: Batches that each process takes for a step.
        rank: The number of this process.
        size: How many there are.
        canvases: Each step takes one of these; none: all have the recipe's one.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        *,
        batch_size: int,
        seed: int,
        pieces: int = 1,
        rank: int = 0,
        size: int = 1,
        canvases: Sequence[tuple[int, int]] = (),
    ) -> None:
        self.sources = sources
        self.batch_size = batch_size
        self.seed = seed
        self.pieces = pieces
        self.rank = rank
        self.size = size
        self.canvases = canvases
        self.epoch = 0
        self.start = 0
        self.num_photos = sum(round(float(source.draws.sum())) for source in sources)

    def __len__(self) -> int:
        """Steps of an epoch."""
        return max(1, self.num_photos // self.batch_size)

    def __iter__(self) -> Iterator[list[Item]]:
        items = self._items()
        for step in range(self.start, len(self)):
            photos = items[step * self.batch_size : (step + 1) * self.batch_size]
            if self.canvases:
                photos = [item._replace(canvas=self._canvas(step)) for item in photos]
            for piece in range(self.pieces):
                begin, end = (len(photos) * k // self.pieces for k in (piece, piece + 1))
                yield photos[begin:end][self.rank :: self.size]

    def _items(self) -> list[Item]:
        drawn: list[tuple[int, int]] = []
        for number, source in enumerate(self.sources):
            if not source.indices:
                continue
            # systematic sampling: each photo is drawn floor or ceil of its number of times, the total is fixed
            offset = np.random.default_rng((self.seed, self.epoch, number)).uniform()
            until = np.floor(np.cumsum(source.draws) * (round(source.draws.sum()) / source.draws.sum()) + offset)
            times = np.diff(until, prepend=np.floor(offset)).astype(int)
            drawn += [(number, source.indices[i]) for i in np.repeat(np.arange(len(times)), times)]
        order = np.random.default_rng((self.seed, self.epoch)).permutation(len(drawn))
        items = [Item((self.seed, self.epoch, position), *drawn[i]) for position, i in enumerate(order)]
        return [item._replace(second=second) for item, second in zip(items, items[1:] + items[:1], strict=True)]

    def _canvas(self, step: int) -> tuple[int, int]:
        """That of all photos of a step, whichever process or piece reads them."""
        generator = np.random.default_rng((self.seed, self.epoch, step, CANVAS))
        return self.canvases[int(generator.integers(len(self.canvases)))]


class TrainingSet(torch.utils.data.Dataset[Sample | HemlineError]):
    """Augmented samples by `Item`; of a photo that cannot be read or placed, the error, for `batches` to raise.

    Args:
        sources: The datasets.
        config: Says the canvas and how photos are varied.
        one_by_one: Maps of classes are divided into things, as `instance_truth.separate` does.
        varied: False sees photos as answers do.
    """

    def __init__(
        self, sources: Sequence[Source], config: Config, *, one_by_one: bool = False, varied: bool = True
    ) -> None:
        self.sources = sources
        self.varied = varied
        self.one_by_one = one_by_one
        self.canvas = config.canvas
        self.augment = config.augment
        self.mixes = max(self.augment.repaint, self.augment.paste, self.augment.backdrop, self.augment.erase) > 0

    def __getitem__(self, item: Item) -> Sample | HemlineError:
        return self.__getitems__([item])[0]

    def __getitems__(self, items: Sequence[Item]) -> list[Sample | HemlineError]:
        """The samples of a batch. One that is mixed with another of it is not read twice."""
        seen: dict[Item, Sample] = {}
        return [self._sample(item, seen) for item in items]

    def _sample(self, item: Item, seen: dict[Item, Sample]) -> Sample | HemlineError:
        try:
            placed = self._placed(item, seen)
            if self.varied and self.mixes:
                generator = np.random.default_rng((*item.seed, MIXING))
                if item.second is not None:
                    second = item.second._replace(canvas=item.canvas)
                    placed = mix_sample(placed, lambda: self._placed(second, seen), self.augment, generator)
                num_categories = self.sources[item.source].num_categories
                placed = recolour_sample(placed, self.augment, num_categories, generator)
            return separate(placed, LEAST_PART) if self.one_by_one and self.varied else placed
        except HemlineError as error:
            return error  # raised here, in a worker, its one sentence would come wrapped in the worker's traceback
        except MemoryError:
            raise
        except Exception as error:
            return self._with_photo(item, error)

    def _placed(self, item: Item, seen: dict[Item, Sample]) -> Sample:
        """A photo alone, on its canvas."""
        known = item._replace(second=None)
        if known not in seen:
            try:
                sample = self.sources[item.source].dataset[item.photo]
                if self.varied:
                    salt = zlib.crc32(sample.key.encode())
                    generator = np.random.default_rng((*item.seed, salt))
                    seen[known] = augment_sample(sample, item.canvas or self.canvas, self.augment, generator)
                else:
                    seen[known] = place_sample(sample, self.canvas)
            except (HemlineError, MemoryError):
                raise
            except Exception as error:
                raise self._with_photo(item, error) from error
        return seen[known]

    def _with_photo(self, item: Item, error: Exception) -> DataError:
        """An error of a dataset's code: whatever it is, the photo and the line are what helps."""
        dataset = self.sources[item.source].dataset
        return DataError(f"{type(dataset).__name__}, photo {dataset.keys[item.photo]}: {_where(error)}")


def batches(loader: DataLoader[Batch | HemlineError]) -> Iterator[Batch]:
    """The batches of one pass over a loader.

    Raises:
        HemlineError: a photo or its annotation cannot be read.
    """
    for batch in loader:
        if isinstance(batch, HemlineError):
            raise batch
        yield batch


def make_loader(
    sources: Sequence[Source],
    sampler: Iterable[list[Item]],
    config: Config,
    *,
    pin_memory: bool,
    one_by_one: bool = False,
    varied: bool = True,
) -> DataLoader[Batch | HemlineError]:
    """A loader to take `batches` from; workers live as long as it does. For the switches see `TrainingSet`."""
    return DataLoader(
        TrainingSet(sources, config, one_by_one=one_by_one, varied=varied),  # type: ignore[arg-type]  # torch types a loader by samples, not by batches
        batch_sampler=sampler,
        num_workers=config.workers,
        collate_fn=_collate,
        worker_init_fn=quiet_worker,
        persistent_workers=config.workers > 0,
        generator=torch.Generator().manual_seed(config.seed),  # dropout's own is left alone, so that a run can resume
        pin_memory=pin_memory,
    )


def _collate(samples: Sequence[Sample | HemlineError]) -> Batch | HemlineError:
    whole = []
    for sample in samples:
        if isinstance(sample, HemlineError):
            return sample
        whole.append(sample)
    batch = collate(whole)
    if torch.utils.data.get_worker_info() is not None:  # else a thread of torch's does, and loses it where none is left
        for tensor in batch:
            tensor.share_memory_()  # type: ignore[no-untyped-call]
    return batch


def _where(error: Exception) -> str:
    """An error of another's code as one line: its kind, what it says, and the line that raised it."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{type(error).__name__}: {in_short(error)} ({Path(frames[-1].filename).name}, line {frames[-1].lineno})"


def quiet_worker(_: int) -> None:
    """Let a worker process keep to one core, and leave signals to the main process."""
    if hasattr(os, "setpgrp"):
        os.setpgrp()  # a signal to the run's group is for the main process, which needs its workers to end well
    cv2.setNumThreads(0)  # a worker a core is enough: more threads would fight
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
