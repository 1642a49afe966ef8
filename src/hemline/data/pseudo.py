"""Pseudo-masks: masks that `hemline pseudo` drew on photos of which a dataset knows words alone, beside those words.

A folder of them holds `classes.json`, the names of the mask classes and the weights that drew, and one PNG a photo,
`DATASET/KEY.png`, of class numbers and the three below.

Shapes: H W photo, K mask classes, L labels.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hemline.data.sample import EITHER, UNKNOWN, Region, Sample
from hemline.errors import DataError
from hemline.labels import LabelSpace

if TYPE_CHECKING:
    from hemline.data import Dataset

ONE_OF = 253
"""Number of a pixel of the garment that the photo's words name as one of several."""
NOBODY = 254
"""Number of a pixel that is none of the classes."""
UNSURE = 255
"""Number of a pixel of which the network is unsure."""


class WithPseudoMasks:
    """A dataset some of whose undrawn photos have the masks of a folder, where it holds one.

    Args:
        dataset: The dataset.
        folder: What `hemline pseudo` wrote.
        space: The label space of both.
        indices: The photos that train: the others are measured, and never by what a network drew.

    Raises:
        DataError: the folder holds no pseudo-masks of this label space.
    """

    def __init__(self, dataset: Dataset, folder: Path, space: LabelSpace, indices: Iterable[int]) -> None:
        try:
            classes = json.loads((folder / "classes.json").read_text(encoding="utf-8"))["classes"]
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise DataError(f"pseudo: {folder} holds no pseudo-masks: hemline pseudo draws them") from error
        if classes != list(space.mask_names):
            raise DataError(f"pseudo: {folder} was drawn with other classes than those of {space.name}: draw it again")
        self.dataset = dataset
        self.folder = folder
        self.num_categories = len(space.categories)
        self.indices = frozenset(indices)
        self.keys, self.groups, self.terms = dataset.keys, dataset.groups, dataset.terms
        self.sides = getattr(dataset, "sides", None)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Sample:
        """The photo, what the dataset says, and the mask where the dataset has none of its own.

        Raises:
            DataError: the mask is damaged, or does not fit its photo.
            PhotoError: the photo cannot be read.
        """
        sample = self.dataset[index]
        file = self.folder / f"{sample.key}.png"
        if index not in self.indices or len(sample.targets) > 1 or not file.is_file():
            return sample
        drawn = _read_map(file, sample.photo.shape[:2], sample.targets.shape[1])
        return with_map(sample, drawn, self.num_categories)

    def photo_labels(self, index: int) -> NDArray[np.int8]:
        """(L,) what the dataset says of the whole photo."""
        return self.dataset.photo_labels(index)


def with_map(sample: Sample, drawn: NDArray[np.uint8], num_categories: int) -> Sample:
    """A sample of which nothing is drawn, with a pseudo-map.

    Regions that the network would have had to find lie where their garment is drawn, if one class of theirs is.

    Args:
        sample: Its first region is the whole photo, the others are `PREDICTED`.
        drawn: (H, W) class numbers.
        num_categories: Classes below it are garments, of which labels speak.
    """
    whole, *asked = sample.regions
    everywhere, num_masks = sample.targets[0], sample.targets.shape[1]
    numbers = [int(k) for k in np.unique(drawn) if k <= ONE_OF]
    open_sets = [one_of for one_of in whole.one_of if not one_of[[k for k in numbers if k < num_categories]].any()]
    either = {k for one_of in open_sets for k in np.flatnonzero(one_of[:num_categories]).tolist()}
    segment_of = np.zeros(256, np.uint8)                  # segment 0 is nobody, 1 unsure, then what is drawn
    segment_of[[UNSURE, *numbers]] = np.arange(1, 2 + len(numbers))
    targets = np.zeros((2 + len(numbers), num_masks), np.int8)
    shows = [{k} if k < ONE_OF else either for k in numbers]
    missed = set(np.flatnonzero(whole.labels[:num_categories] == 1).tolist()) - set(numbers)
    missed |= set() if ONE_OF in numbers else either
    targets[:, sorted(missed)] = UNKNOWN                  # named and not drawn: it may be anywhere
    targets[1] = everywhere
    found: dict[int, list[Region]] = {}
    left = []
    for region in asked:
        spoken = set() if region.classes is None else set(np.flatnonzero(region.classes).tolist())
        where = [segment for segment, classes in enumerate(shows, start=2) if classes & spoken]
        if len(where) == 1:
            found.setdefault(where[0], []).append(region)
        else:
            left.append(region)
    regions = [whole]
    for segment, (k, classes) in enumerate(zip(numbers, shows, strict=True), start=2):
        targets[segment, sorted(classes)] = 1 if k < ONE_OF else EITHER
        if num_categories <= k < ONE_OF:
            continue                                      # hair and the like: no garment
        said = found.get(segment, [])
        own = np.max([np.full_like(whole.labels, UNKNOWN), *(r.labels for r in said if r.doubt == 0)], axis=0)
        if k < num_categories and whole.labels[k] == 1:
            own[k] = 1
        sets = [one_of for one_of in whole.one_of if k < num_categories and one_of[k]]
        if k == ONE_OF and len(open_sets) == 1:           # of two sets nobody knows which is where
            sets = open_sets
        regions.append(Region((segment,), own, tuple(sets), merged=True))
        regions += [Region((segment,), r.labels, doubt=r.doubt, merged=True) for r in said if r.doubt > 0]
    return replace(sample, segments=segment_of[drawn], targets=targets, regions=[*regions, *left])


def _read_map(file: Path, size: tuple[int, ...], num_masks: int) -> NDArray[np.uint8]:
    try:
        drawn = np.asarray(Image.open(file), np.uint8)
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"pseudo: {file} is not a readable PNG: draw it again") from error
    if drawn.shape != size:
        raise DataError(f"pseudo: {file} is {drawn.shape} pixels, its photo {size}: draw it again")
    if ((drawn >= num_masks) & (drawn < ONE_OF)).any():
        raise DataError(f"pseudo: {file} holds numbers of no class: draw it again")
    return drawn
