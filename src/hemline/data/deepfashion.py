"""DeepFashion, Category and Attribute Prediction (Liu et al., CVPR 2016): photos of one garment each, with a box.

Layout, as published (http://mmlab.ie.cuhk.edu.hk/projects/DeepFashion/AttributePrediction.html; a list's first row is
its number of rows, its second names its columns):

    Anno_coarse/list_category_cloth.txt     50 categories and their type: 1 upper, 2 lower, 3 full body
    Anno_coarse/list_attr_cloth.txt         1,000 attributes, type 1 texture, 2 fabric, 3 shape, 4 part, 5 style
    Anno_coarse/list_category_img.txt       photo, category's number from 1
    Anno_coarse/list_attr_img.txt           photo, of each attribute 1 yes, -1 no, 0 unknown
    Anno_coarse/list_bbox.txt               photo, x and y of two corners
    Eval/list_eval_partition.txt            photo, train, val or test
    Img/img/Sheer_Blouse/img_00000001.jpg
    Anno_fine/list_attr_cloth.txt           26 attributes in 6 groups, of which a garment has one value each
    Anno_fine/{train,val,test}.txt          photos; beside it, row by row, _attr.txt, _cate.txt and _bbox.txt

`Anno_coarse` may be called `Anno`, and `Anno_fine` `split`, whose `_attr.txt` may hold the six values instead of 26
yes and no. Landmarks are not read.

Shapes: P photos, M attributes, L labels.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hemline.data.deepfashion_lists import (
    COARSE,
    FINE,
    GARMENT,
    PARTS,
    Annotations,
    Photos,
    find_lists,
    read_coarse,
    read_fine,
    read_words,
)
from hemline.data.knowledge import Knowledge
from hemline.data.problems import Damaged, Problem, are_there, refuse
from hemline.data.sample import UNKNOWN, Sample
from hemline.errors import DataError
from hemline.labels import LabelSpace
from hemline.photo import read_photo


class DeepFashion:
    """The photos that are there, cut to their boxes.

    The category is that of the boxed garment and of no other, as the benchmark scores it (one of K). Of masks nothing
    is said: a crop shows parts of other garments. Photos of one product, which share a folder, share a group.

    Args:
        path: The folder that holds `Anno_coarse`, `Anno_fine` and `Img`, or `split` and `img`.
        space: The label space to speak in: its own (`label_space`), or one that its words are explained in.
        annotations: `coarse`, all photos and 1,000 attributes, or `fine`, some photos and 26; otherwise what is there,
            `coarse` where both are.
        damaged: What is done with rows that cannot be used.

    Raises:
        DataError: the folder is not laid out as published, or rows cannot be used.
        LabelError: the label space does not know its words.
    """

    terms = "non-commercial research only"

    def __init__(
        self,
        path: Path,
        space: LabelSpace,
        *,
        annotations: Annotations | None = None,
        damaged: Damaged = "refuse",
    ) -> None:
        lists, which = find_lists(path, annotations)
        words = read_words(lists, which)
        photos, problems = read_coarse(path, lists, words) if which == "coarse" else read_fine(lists, words)
        self.folder = path / "Img" if (path / "Img" / "img").is_dir() else path
        good = np.array(are_there(self.folder, photos.names), bool)
        problems += [
            Problem("missing photo", *photos.where[i], f"no photo {self.folder / photos.names[i]}")
            for i in np.flatnonzero(~good)
        ]
        for wrong, kind, what in _wrong(photos, len(words.categories)):
            problems += [Problem(kind, *photos.where[i], what(i)) for i in np.flatnonzero(wrong).tolist()]
            good &= ~wrong
        self.problems = problems
        if damaged == "refuse":
            refuse("deepfashion", path, problems)
        kept = np.flatnonzero(good)
        if not len(kept):
            raise DataError(f"deepfashion: {self.folder} has no photo that {lists} speaks of")
        self.knowledge = Knowledge(space, "deepfashion", [*words.categories, *words.attributes])
        self._is = np.array([self.knowledge.words[word].labels == 1 for word in words.attributes], bool)
        self._is[:, : len(space.categories)] = False      # (M, L) attributes that each word is
        self.words = words
        self.names = [photos.names[i] for i in kept]
        self.keys = [f"deepfashion/{name}" for name in self.names]
        self.groups = [_group(name) for name in self.names]
        if photos.sides:
            self.sides = [photos.sides[i] for i in kept]
        self._category = photos.category[kept]
        self._boxes = None if photos.boxes is None else photos.boxes[kept]
        self._yes, self._no = photos.yes[kept], photos.no[kept]

    @staticmethod
    def label_space(
        path: Path, *, annotations: Annotations | None = None, damaged: Damaged = "refuse"
    ) -> LabelSpace:
        """Its own words: 50 categories, and 1,000 attributes of five types or 26 in six groups.

        A name that stands twice gets its type behind it: `print (texture)`.

        Raises:
            DataError: the folder is not laid out as published.
        """
        folder, kind = find_lists(path, annotations)
        words = read_words(folder, kind)
        types = COARSE if kind == "coarse" else FINE
        parts = [PARTS[part] if part >= 0 else None for part in words.parts]
        categories = [
            {"id": i, "name": name, "supercategory": part or GARMENT, "outfit_part": part}
            for i, (name, part) in enumerate(zip(words.categories, parts, strict=True), start=1)
        ]
        groups = []
        for number, name in enumerate(types):
            own = [i for i, of_type in enumerate(words.types) if of_type == number]
            if own:
                labels = [{"id": i + 1, "name": words.attributes[i]} for i in own]
                groups.append({"name": name, "choice": "many" if kind == "coarse" else "one", "labels": labels})
        return LabelSpace.from_dict(
            {"name": f"deepfashion-{kind}", "version": 1, "categories": categories, "groups": groups}
        )

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        """The photo, cut to its box, and what is said of it.

        Raises:
            DataError: the box lies outside the photo.
            PhotoError: the photo cannot be read.
        """
        photo = read_photo(self.folder / self.names[index])
        if self._boxes is not None:
            left, top, right, bottom = np.maximum(self._boxes[index], 0).tolist()
            if left >= photo.shape[1] or top >= photo.shape[0]:
                raise DataError(
                    f"deepfashion: {self.folder / self.names[index]} is {photo.shape[1]} wide and {photo.shape[0]} "
                    f"high, and its box begins at {left}, {top}: it is another photo, or was resized"
                )
            photo = np.ascontiguousarray(photo[top:bottom, left:right])
        words, denied = self._said(index)
        sample = self.knowledge.undrawn(photo, words, self.keys[index], denied=denied)
        sample.targets[:] = UNKNOWN
        return sample

    def photo_labels(self, index: int) -> NDArray[np.int8]:
        """(L,) what is said of the whole crop."""
        words, denied = self._said(index)
        return self.knowledge.photo(words, "tags", denied=denied)[0]

    def _said(self, index: int) -> tuple[list[str], NDArray[np.bool_]]:
        """The words of a photo, and (L,) the attributes that it is said not to have."""
        num = len(self.words.attributes)
        yes = np.unpackbits(self._yes[index], count=num).view(bool)
        no = np.unpackbits(self._no[index], count=num).view(bool)
        words = [self.words.categories[self._category[index]], *(self.words.attributes[i] for i in np.flatnonzero(yes))]
        denied = self._is[no].any(0) & ~self._is[~(yes | no)].any(0)      # of two words for a label, one may be unknown
        return words, denied


def _group(name: str) -> str:
    """Photos of one product share a folder below `img`."""
    folder = name.rpartition("/")[0]
    return f"deepfashion/{name if folder in ('', 'img') else folder}"


def _wrong(photos: Photos, categories: int) -> list[tuple[NDArray[np.bool_], str, Callable[[int], str]]]:
    """(P,) photos with something wrong, its kind, and what it is of one of them."""
    of, boxes = photos.category, photos.boxes
    found: list[tuple[NDArray[np.bool_], str, Callable[[int], str]]] = [
        ((of < 0) | (of >= categories), "unknown category", lambda i: f"category {of[i] + 1}; there are {categories}")
    ]
    if boxes is not None:
        empty = np.asarray((boxes[:, 2:] <= np.maximum(boxes[:, :2], 0)).any(1))
        found.append((empty, "bad box", lambda i: f"box {boxes[i].tolist()} of {photos.names[i]} holds nothing"))
    return found
