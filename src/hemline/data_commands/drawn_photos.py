"""What is drawn in a dataset, photo by photo, as other formats can hold it: garments with borders, and what is not one.

Any dataset is read through the contract (`Sample`); an `InstanceSet` straight from its index, so that no photo is
decoded and every mask is exactly as it was drawn. What is left out on the way is counted in `lost`.

Shapes: H W the size that masks lie on, S segments, K mask classes, C categories, L labels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hemline.borders import Borders
from hemline.data import Dataset
from hemline.data.instances import InstanceSet
from hemline.data.sample import EITHER, UNKNOWN, Sample
from hemline.errors import DataError, PhotoError
from hemline.labels import LabelSpace
from hemline.photo import photo_size as read_size

UNDRAWN = "photos left out: nothing is drawn on them, and there may be something"
UNSURE = "garments left out: their category is one of several, or has no word in the label space"
VAGUE = "garments left out: their pixels may be of other classes"
MASKLESS = "garments left out: they have no mask, or one that is damaged or empty"
SEVERAL = "further categories of garments that are of several; the first is written"
ASSUMED = "attributes that are unknown, of garments with others that are not: a reader takes them to be absent"
DENIED = "attributes known to be absent, of garments of which none is known to be there"
OF_PHOTO = "attributes of a whole photo that none of its garments is known to have"
UNSAID = "categories of which the set says nothing; they are listed as if looked for and not found"
MAYBE = "times that a category may be in a photo and is not drawn"
UNREADABLE = "photos left out: they cannot be read"


@dataclass(frozen=True)
class Garment:
    """One garment."""

    category: int
    """Its index in the label space."""
    attributes: tuple[int, ...]
    """Indices of the labels that it is known to have."""
    borders: Borders
    """Its mask."""
    crowd: bool = False
    """Whether it is many garments drawn as one."""


@dataclass(frozen=True)
class DrawnPhoto:
    """One photo and what is drawn on it."""

    index: int
    """Its position in the dataset."""
    size: tuple[int, int]
    """(H, W) that the masks lie on."""
    photo_size: tuple[int, int]
    """(height, width) of the photo, turned as its EXIF says; publishers ship photos at another size than labels."""
    file: Path | None
    """The photo; None where it is not a file."""
    photo: NDArray[np.uint8] | None
    """(height, width, 3) of a photo that is no file."""
    garments: list[Garment]
    pixels: list[tuple[int, Borders]] = field(default_factory=list)
    """Pixels of classes that are not clothes, such as hair, by mask channel."""
    unknown: list[Borders] = field(default_factory=list)
    """Pixels that may be of any class."""


class DrawnPhotos:
    """The drawn photos of a dataset; iterate over it once, then `lost` is whole.

    Args:
        dataset: Any dataset.
        space: The label space it speaks in.
        indices: Which photos, in this order.
        lost: Counts what is left out.
        seen: Called with the number of photos done.
    """

    def __init__(
        self,
        dataset: Dataset,
        space: LabelSpace,
        indices: Sequence[int],
        lost: Counter[str],
        seen: Callable[[int], None],
    ) -> None:
        self.dataset, self.space, self.indices, self.lost, self._seen = dataset, space, indices, lost, seen
        self._num = len(space.categories)
        self._ever = np.zeros(self._num, bool)
        self._maybe = np.zeros(self._num, np.int64)

    def __iter__(self) -> Iterator[DrawnPhoto]:
        """Every photo of which all is known that is drawn.

        Raises:
            DataError: a mask is damaged, or a photo is not the one that was labelled.
            PhotoError: a photo cannot be read.
        """
        skips = getattr(self.dataset, "damaged", "refuse") == "skip"
        for done, index in enumerate(self.indices, start=1):
            try:
                drawn = self._drawn_photo(index)
            except PhotoError:
                if not skips:
                    raise
                self.lost[UNREADABLE] += 1
                drawn = None
            if drawn is not None:
                yield drawn
            self._seen(done)
        self.lost[UNSAID] += int((~self._ever & (self._maybe > 0)).sum())
        self.lost[MAYBE] += int(self._maybe[self._ever].sum())

    def _drawn_photo(self, index: int) -> DrawnPhoto | None:
        if isinstance(self.dataset, InstanceSet):
            return self._from_index(self.dataset, index)
        return self._from_sample(self.dataset[index], index)

    # -- from a sample ---------------------------------------------------------------------------------------

    def _from_sample(self, sample: Sample, index: int) -> DrawnPhoto | None:
        file_of: Callable[[int], Path] | None = getattr(self.dataset, "photo_file", None)
        size = (sample.photo.shape[0], sample.photo.shape[1])
        drawn = DrawnPhoto(
            index, size, size,
            file=file_of(index) if file_of else None, photo=None if file_of else sample.photo, garments=[],
        )  # fmt: skip
        flat = sample.segments.ravel(order="F")
        starts = np.concatenate([np.zeros(1, np.int64), np.flatnonzero(flat[1:] != flat[:-1]) + 1])
        values = flat[starts]

        def borders_of(segments: Sequence[int]) -> Borders:
            inside = np.isin(values, segments).view(np.int8)
            turns = np.flatnonzero(np.diff(inside, prepend=0, append=0))
            return np.append(starts, flat.size)[turns].astype(np.int64)

        rest = set(np.unique(values).tolist())
        unsure: set[int] = set()
        photo_labels = []
        for region in sample.regions:
            if not region.drawn:
                photo_labels.append(region.labels)
            elif len(borders := borders_of(region.segments)):
                rows = sample.targets[list(region.segments)]
                if self._add(drawn, region.labels, rows, borders):
                    rest -= set(region.segments)
                else:
                    unsure |= set(region.segments)
        rows_left = [self._rest(drawn, sample.targets[s], borders_of([s]), s in unsure) for s in sorted(rest)]
        bare = [row for row in rows_left if row is not None]
        return self._whole(drawn, bare, photo_labels)

    # -- from an index ---------------------------------------------------------------------------------------

    def _from_index(self, data: InstanceSet, index: int) -> DrawnPhoto | None:
        file = data.photo_file(index)
        photo_size = read_size(file)
        data.check_size(index, photo_size)
        drawn = DrawnPhoto(index, data.size_of(index), photo_size, file=file, photo=None, garments=[])
        bare = data.knowledge.background()
        numbers = data.of_photo(index)
        crowd = getattr(data.index, "crowd", ())
        for number in numbers:
            word = data.knowledge.words[data.index.categories[data.index.category[number]]]
            borders = self._borders(data, number)
            if borders is None or not len(borders):
                self.lost[MASKLESS] += 1
                if borders is None:                       # it may be anywhere
                    bare[word.target != 0] = UNKNOWN
            elif len(crowd) and crowd[number]:
                at = len(drawn.garments)
                self._rest(drawn, word.target, borders, unsure=True)
                drawn.garments[at:] = [replace(garment, crowd=True) for garment in drawn.garments[at:]]
            elif not self._add(drawn, data.labels(number), word.target[None], borders):
                self._rest(drawn, word.target, borders, unsure=True)
        return self._whole(drawn, [bare], [data.photo_labels(index)] if len(numbers) else [])

    def _borders(self, data: InstanceSet, number: int) -> Borders | None:
        try:
            return data.borders(number)
        except DataError:
            if data.damaged == "refuse":
                raise
            return None

    # -- both ------------------------------------------------------------------------------------------------

    def _add(self, drawn: DrawnPhoto, labels: NDArray[np.int8], rows: NDArray[np.int8], borders: Borders) -> bool:
        """Add what is drawn as a garment, if its labels (L,) and the rows (segments, K) of its pixels say which."""
        own = np.flatnonzero(labels[: self._num] == 1)
        if not len(own):
            own = np.flatnonzero((rows[:, : self._num] == 1).all(0))
        if not len(own):
            self.lost[UNSURE] += 1
            return False
        if (rows[:, own[0]] != 1).any():
            self.lost[VAGUE] += 1
            return False
        self.lost[SEVERAL] += len(own) - 1
        category = int(own[0])
        told = labels[self._num :]
        attributes = tuple((np.flatnonzero(told == 1) + self._num).tolist())
        if attributes:
            self.lost[ASSUMED] += int(((told == UNKNOWN) & self._carried[category]).sum())
        else:
            self.lost[DENIED] += int(((told == 0) & self._carried[category]).sum())
        drawn.garments.append(Garment(category, attributes, borders))
        self._ever[category] = True
        return True

    def _rest(
        self, drawn: DrawnPhoto, row: NDArray[np.int8], borders: Borders, unsure: bool
    ) -> NDArray[np.int8] | None:
        """Add pixels that are no garment's by what they say (K,); of bare ones, that.

        Args:
            drawn: Where to.
            row: (K,) what they say.
            borders: Where they are.
            unsure: Whether something was drawn there of which it is not known what it is.
        """
        own = np.flatnonzero(row == 1)
        if len(own) and own[0] < self._num:               # drawn as a class, and no region: a garment all the same
            drawn.garments.append(Garment(int(own[0]), (), borders))
        elif len(own):
            drawn.pixels.append((int(own[0]), borders))
        elif (row == EITHER).any() or (row == UNKNOWN).all() or (unsure and (row[: self._num] == UNKNOWN).any()):
            drawn.unknown.append(borders)
        else:
            return row
        return None

    def _whole(
        self, drawn: DrawnPhoto, bare: Sequence[NDArray[np.int8]], photo_labels: Sequence[NDArray[np.int8]]
    ) -> DrawnPhoto | None:
        """The photo, unless it shows nothing and may hold what is not drawn.

        Args:
            drawn: All that is drawn.
            bare: (K,) what its other pixels say.
            photo_labels: (L,) what is known of the whole photo.
        """
        rows = np.stack([row[: self._num] for row in bare]) if bare else np.zeros((1, self._num), np.int8)
        may_be = (rows == UNKNOWN).any(0)
        if not drawn.garments and not drawn.pixels and (may_be.any() or drawn.unknown):
            self.lost[UNDRAWN] += 1
            return None
        if bare:
            self._ever |= ~may_be
            self._maybe += may_be
        had = {label for garment in drawn.garments for label in garment.attributes}
        said = {i for labels in photo_labels for i in np.flatnonzero(labels == 1).tolist() if i >= self._num}
        self.lost[OF_PHOTO] += len(said - had)
        return drawn

    @property
    def _carried(self) -> NDArray[np.bool_]:
        """(C, attributes) which category may carry which."""
        if not hasattr(self, "_carries"):
            self._carries = np.array(
                [[not x.carried_by or c.name in x.carried_by for x in self.space.labels] for c in self.space.categories]
            ).reshape(self._num, len(self.space.labels))
        return self._carries
