"""Datasets: one file each, one line each in `DATASETS`.

A dataset is a class built as `Name(path, space, *, options...)`. The type of `path` says where its photos are: `Path`,
in a folder, described in words that the label space must teach; `None`, nowhere, they are drawn. It knows its photos by
position and makes samples without any randomness:

    keys: list[str]      a stable name of each photo
    groups: list[str]    the split key of each photo: photos of one group never stand on both sides of a split
    terms: str           the licence or terms of the photos
    sides: list[str]     `train`, `validation` or `test` for each photo, of a set that publishes its split (optional)
    __len__() -> int
    __getitem__(index) -> Sample     the photo at its own size and what is known of it
    photo_labels(index) -> (L,)      what is known of the whole photo, without reading its pixels
    garment_labels(index) -> list of (L,)    what is known of each garment, without reading pixels (optional: a set
                                     without it is asked for its samples)
    photo_file(index) -> Path        the file of a photo, where it is one and is shown whole (optional)
    label_space(path, *, options...) -> LabelSpace    static: the label space of the set's own words (`labels: data`);
                                     a set without it speaks only in spaces that teach it
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from hemline._reading import path_of
from hemline.config import Config, Data
from hemline.data.ccp import CCP
from hemline.data.cfpd import CFPD
from hemline.data.clothing_attributes import ClothingAttributes
from hemline.data.clothing_dataset import ClothingDataset
from hemline.data.coco import COCO
from hemline.data.deepfashion import DeepFashion
from hemline.data.fashionpedia import Fashionpedia
from hemline.data.folder import Folder
from hemline.data.imaterialist2019 import IMaterialist2019
from hemline.data.imaterialist2020 import IMaterialist2020
from hemline.data.own_words import Growth, grow
from hemline.data.sample import Batch, Region, Sample, collate
from hemline.data.stratify import fingerprint
from hemline.data.synthetic import Synthetic
from hemline.data.table import Table
from hemline.data.words import load_words
from hemline.errors import DataError, LabelError
from hemline.labels import OF_DATA, OF_INIT, LabelSpace, load_label_space
from hemline.metadata import read_metadata, with_teaching
from hemline.runtime import weights_file

VALIDATION_SHARE = 1 / 7
"""Share of the groups that validate, where a recipe does not say."""

SPLIT = 2
"""Number of the split, hashed with each group: the first that leaves four photos or more of every class of the
protocol to validate on (1 leaves three ties and three jumpsuits). Frozen: weights are measured by it."""


class Dataset(Protocol):
    """What every dataset offers."""

    keys: list[str]
    groups: list[str]
    terms: str

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Sample: ...
    def photo_labels(self, index: int, /) -> NDArray[np.int8]:  # noqa: D102 - said above
        ...


DATASETS: dict[str, Callable[..., Dataset]] = {
    "ccp": CCP,
    "cfpd": CFPD,
    "clothing_attributes": ClothingAttributes,
    "clothing_dataset": ClothingDataset,
    "coco": COCO,
    "deepfashion": DeepFashion,
    "fashionpedia": Fashionpedia,
    "folder": Folder,
    "imaterialist2019": IMaterialist2019,
    "imaterialist2020": IMaterialist2020,
    "synthetic": Synthetic,
    "table": Table,
}


def label_space(config: Config) -> LabelSpace:
    """The label space of a recipe: one by name or file, or, for `labels: data`, that of its first dataset's own words.

    Raises:
        DataError: the dataset's files are missing or not laid out as published.
        LabelError: no such label space, or the dataset has none of its own.
        WeightsError: the weights whose label space is to grow cannot be read.
    """
    if config.labels == OF_INIT:
        return growth(config).space
    return own_space(config.data[0]) if config.labels == OF_DATA else load_label_space(config.labels)


def growth(config: Config) -> Growth:
    """For `labels: init+data`: the label space of the weights in `init`, grown by the first dataset's own words.

    Raises:
        DataError, LabelError, WeightsError: as of `label_space`.
    """
    data, weights = config.data[0], path_of(weights_file(str(config.init), ".safetensors"))
    known = with_teaching(read_metadata(weights))
    return grow(known, own_space(data), data.name, load_words(data.words) if data.words else None)


def own_space(data: Data) -> LabelSpace:
    """The label space of a dataset's own words.

    Raises:
        DataError: its files are missing or not laid out as published.
        LabelError: it has none of its own.
    """
    make = getattr(DATASETS[data.name], "label_space", None)
    if make is None:
        raise LabelError(f"{data.name} has no label space of its own; take one that teaches it, such as labels=street")
    space: LabelSpace = make(_path(data), **data.options)
    return space


def as_trained(recipe: Mapping[str, Any], name: str, path: Path | None) -> Data:
    """A dataset as the recipe of weights opens it: with its words, and the options that its entries there share.

    Args:
        recipe: Of the weights, as plain data.
        name: The dataset.
        path: Where it is now.
    """
    entries = recipe.get("data")
    own = [x for x in entries if isinstance(x, Mapping) and x.get("name") == name] if isinstance(entries, list) else []
    first = own[0] if own else {}
    common = {str(key): first[key] for key in first if all(entry.get(key) == first[key] for entry in own)}
    known = inspect.signature(DATASETS[name], eval_str=True).parameters
    options = {key: value for key, value in common.items() if key in known and key != "path"}
    words = next((str(entry["words"]) for entry in own if isinstance(entry.get("words"), str)), None)
    return Data(name=name, path=None if path is None else str(path), words=words, options=options)


def build_dataset(data: Data, space: LabelSpace) -> Dataset:
    """Open one dataset of a recipe.

    Raises:
        DataError: its files are missing or not laid out as published.
        LabelError: the label space does not teach it.
    """
    if data.words is not None:
        known, said = space.teach.get(data.name, {}), load_words(data.words)
        block = {**known, **said, "words": {**known.get("words", {}), **said["words"]}}
        space = replace(space, teach={**space.teach, data.name: block})
    return DATASETS[data.name](_path(data), space, **data.options)


def _path(data: Data) -> Path | None:
    path = None if data.path is None else path_of(data.path)
    if problem := wrong_path(data.name, path, f"data={data.name}:PATH"):
        raise DataError(f"{data.name}: {problem}")
    return path


def wrong_sets(sets: Mapping[str, Path | None]) -> list[str]:
    """What is wrong with datasets named as NAME=PATH: unknown names, paths that are missing or not wanted."""
    problems = [f"no dataset {name!r}: choose {', '.join(DATASETS)}" for name in sets if name not in DATASETS]
    wrong = {name: wrong_path(name, path, f"{name}=PATH") for name, path in sets.items() if name in DATASETS}
    return problems + [f"{name}: {problem}" for name, problem in wrong.items() if problem]


def wrong_path(name: str, path: str | Path | None, form: str) -> str | None:
    """What is wrong with the path given for a dataset, None where nothing is; `form` is how one is given."""
    kind = reads_files(name)
    if path is None:
        return f"no path is given; say where {name} lies, as {form}" if kind else None
    if kind is False:
        return f"its photos are drawn: leave {str(path)!r} out"
    return None if path_of(path).exists() else f"nothing at {str(path)!r}"


def reads_files(name: str) -> bool | None:
    """Whether a dataset needs a path; None where it may have one."""
    kind = inspect.signature(DATASETS[name], eval_str=True).parameters["path"].annotation
    return {Path: True, None: False}.get(kind)


def split_of(group: str, share: float = VALIDATION_SHARE) -> Literal["train", "validation"]:
    """The side that a group of photos stands on: frozen, by its hash, whatever else is in the dataset."""
    fraction = int.from_bytes(hashlib.sha256(f"{SPLIT}/{group}".encode()).digest()[:6], "big") / 2**48
    return "validation" if fraction < share else "train"


def split_indices(
    dataset: Dataset, split: str, share: float = VALIDATION_SHARE, held_out: Collection[str] | None = None
) -> list[int]:
    """Positions of the photos on one side (`train`, `validation` or `test`) of the split, or of all (`all`).

    A set that publishes its split has that one. Where it publishes no photos to validate on, its training photos are
    split by hash, as are all photos of a set that publishes none.

    Args:
        dataset: The dataset.
        split: The side.
        share: Share of the groups that validate, by hash.
        held_out: Fingerprints of the groups that validate, where a stratified split says, and not the hash.
    """
    sides = published_sides(dataset)
    if "validation" not in sides:
        sides = [
            side if side != "train"
            else split_of(group, share) if held_out is None
            else "validation" if fingerprint(group) in held_out else "train"
            for group, side in zip(dataset.groups, sides, strict=True)
        ]  # fmt: skip
    return [i for i, side in enumerate(sides) if split in ("all", side)]


def published_sides(dataset: Dataset) -> Sequence[str]:
    """The side that each photo is published on; `train` for all, where the set publishes no split."""
    return getattr(dataset, "sides", None) or ["train"] * len(dataset)


__all__ = [
    "DATASETS", "VALIDATION_SHARE", "Batch", "Dataset", "Region", "Sample",
    "as_trained", "build_dataset", "collate", "growth", "label_space", "own_space", "published_sides", "reads_files",
    "split_indices", "split_of", "wrong_path", "wrong_sets",
]  # fmt: skip
