"""Clothing Co-Parsing (Yang, Luo, Lin, CVPR 2014): street photos, some with a pixel map, the others with a tag list.

Layout, as published (https://github.com/bearpaw/clothing-co-parsing, Apache-2.0):

    label_list.mat                       59 words, `null` first
    photos/0001.jpg ...
    annotations/pixel-level/0001.mat     `groundtruth`, uint8 (H, W) of word numbers
    annotations/image-level/1005.mat     `tags`, the word numbers of the photo

What each word says stands in the label space's `teach.ccp` block.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import scipy.io
from numpy.typing import NDArray

from hemline.data.knowledge import Knowledge
from hemline.data.sample import WHOLE_PHOTO, Region, Sample
from hemline.errors import DataError
from hemline.labels import LabelSpace
from hemline.photo import read_photo


class CCP:
    """The photos that are there and have a map or a tag list.

    Args:
        path: The folder that holds `photos` and `annotations`.
        space: The label space to speak in; it must teach `ccp`.
        maps: Take the photos with pixel maps.
        tags: Take the photos with tag lists.

    Raises:
        DataError: the folder is not laid out as published.
        LabelError: the label space does not teach `ccp`.
    """

    terms = "Apache-2.0"

    def __init__(self, path: Path, space: LabelSpace, *, maps: bool = True, tags: bool = True) -> None:
        self.knowledge = Knowledge(space, "ccp")
        if not (path / "label_list.mat").is_file():
            raise DataError(f"ccp: {path} holds no label_list.mat; give the folder of Clothing Co-Parsing as published")
        self.path = path
        self.words = [str(cell[0]) for cell in _read(path / "label_list.mat", "label_list").ravel()]
        if unknown := set(self.words) - set(self.knowledge.words):
            raise DataError(f"ccp: {path}/label_list.mat has words that teach.ccp does not explain: {sorted(unknown)}")
        folders = [f for f, wanted in (("pixel-level", maps), ("image-level", tags)) if wanted]
        self.files = sorted(
            file
            for folder in folders
            for file in (path / "annotations" / folder).glob("*.mat")
            if self._photo(file).is_file()
        )
        self.keys = [f"ccp/{file.stem}" for file in self.files]
        self.groups = self.keys
        if not self.files:
            raise DataError(f"ccp: {path} has no photo with a map or a tag list in annotations/{{pixel,image}}-level")

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Sample:
        """The photo and what its map or its tags say.

        Raises:
            DataError: the annotation is damaged, or does not fit its photo.
            PhotoError: the photo cannot be read.
        """
        file = self.files[index]
        photo = read_photo(self._photo(file))
        if file.parent.name == "image-level":
            return self._from_tags(photo, file)
        return self._from_map(photo, file)

    def photo_labels(self, index: int) -> NDArray[np.int8]:
        """(L,) what the map or the tags say of the whole photo.

        Raises:
            DataError: the annotation is damaged.
        """
        file = self.files[index]
        kind, variable = ("tags", "tags") if file.parent.name == "image-level" else ("maps", "groundtruth")
        return self.knowledge.photo([self.words[i] for i in np.unique(self._numbers(file, variable))], kind)[0]

    def photo_file(self, index: int) -> Path:
        """The file of a photo."""
        return self._photo(self.files[index])

    def _numbers(self, file: Path, variable: str) -> NDArray[Any]:
        """The word numbers that an annotation holds, all of them in the list."""
        numbers = _read(file, variable)
        whole = numbers.dtype.kind in "ui"
        if not whole or numbers.min(initial=0) < 0 or numbers.max(initial=0) >= len(self.words):
            raise DataError(
                f"ccp: {file} holds {numbers.dtype} numbers of words up to {numbers.max(initial=0)}; label_list.mat "
                f"knows whole ones from 0 to {len(self.words) - 1}: copy or download the file again"
            )
        return numbers

    def _photo(self, file: Path) -> Path:
        return self.path / "photos" / f"{file.stem}.jpg"

    def _from_map(self, photo: NDArray[np.uint8], file: Path) -> Sample:
        ids = self._numbers(file, "groundtruth")
        if ids.shape != photo.shape[:2]:
            raise DataError(f"ccp: {file} maps {ids.shape} pixels; its photo has {photo.shape[:2]}")
        counts = np.bincount(ids.ravel(), minlength=len(self.words))
        present = [0, *(np.flatnonzero(counts[1:]) + 1)]  # segment 0 is `null`, also where every pixel is something
        number = np.zeros(len(self.words), np.uint8)
        number[present] = np.arange(len(present))
        words = [self.words[i] for i in present]
        labels, one_of = self.knowledge.photo(words, "maps")
        regions = [Region(WHOLE_PHOTO, labels, one_of)]
        for segment, word in enumerate(words):
            meaning = self.knowledge.words[word]
            if meaning.categories:
                either = () if meaning.one_of is None else (meaning.one_of,)
                regions.append(Region((segment,), self.knowledge.region(word), either, merged=True))
        return Sample(
            photo=photo,
            segments=number[ids],
            targets=np.stack([self.knowledge.words[word].target for word in words]),
            regions=regions,
            key=f"ccp/{file.stem}",
        )

    def _from_tags(self, photo: NDArray[np.uint8], file: Path) -> Sample:
        words = [self.words[i] for i in np.unique(self._numbers(file, "tags"))]
        return self.knowledge.undrawn(photo, words, f"ccp/{file.stem}")


def _read(file: Path, variable: str) -> NDArray[Any]:
    try:
        return np.asarray(scipy.io.loadmat(file)[variable])
    except KeyError as error:
        raise DataError(f"ccp: {file} has no variable {variable!r}") from error
    except (OSError, ValueError, TypeError, NotImplementedError) as error:
        raise DataError(f"ccp: {file} is not a readable MATLAB file ({error})") from error
