"""clothing-dataset (Alexey Grigorev, 2020): single items, mostly laid flat, one word each.

Layout, as published (https://github.com/alexeygrigorev/clothing-dataset, CC0):

    images.csv                           image, sender_id, label, and a column about children that is not read
    images/000d31f6-....jpg

What each word says stands in the label space's `teach.clothing_dataset` block.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hemline.data.knowledge import Knowledge
from hemline.data.sample import Sample
from hemline.errors import DataError
from hemline.labels import LabelSpace
from hemline.photo import read_photo

COLUMNS = ("image", "sender_id", "label")
"""The columns that are read."""
SPLIT = 1
"""Number hashed with each sender: the first that leaves photos of every word on both sides of the split (0 leaves no
Body to validate on). Frozen, as `hemline.data.SPLIT` is."""


class ClothingDataset:
    """The photos that are there and whose word says something.

    One sender's photos look alike, so they share a group. A photo listed twice under two words is of neither.

    Args:
        path: The folder that holds `images.csv` and `images`.
        space: The label space to speak in; it must teach `clothing_dataset`.

    Raises:
        DataError: the folder is not laid out as published.
        LabelError: the label space does not teach `clothing_dataset`.
    """

    terms = "CC0-1.0"

    def __init__(self, path: Path, space: LabelSpace) -> None:
        self.knowledge = Knowledge(space, "clothing_dataset")
        if not (path / "images.csv").is_file():
            raise DataError(f"clothing_dataset: {path} holds no images.csv; give the folder as published")
        self.path = path
        rows = _read(path / "images.csv")
        if unknown := {word for _, _, word in rows} - set(self.knowledge.words):
            raise DataError(
                f"clothing_dataset: {path}/images.csv has words that teach.clothing_dataset does not explain: "
                f"{sorted(unknown)}"
            )
        senders: dict[str, str] = {}
        words: dict[str, set[str]] = {}
        for image, sender, word in rows:
            if senders.setdefault(image, sender) != sender:
                raise DataError(f"clothing_dataset: {path}/images.csv gives {image} two senders")
            words.setdefault(image, set()).add(word)
        telling = {word for word in self.knowledge.words if self._tells(word)}
        there = {file.stem for file in (path / "images").glob("*.jpg")}
        self.names = sorted(name for name in words.keys() & there if len(words[name]) == 1 and words[name] <= telling)
        if not self.names:
            raise DataError(f"clothing_dataset: {path}/images has no photo that images.csv has a garment's word for")
        self.words = [next(iter(words[image])) for image in self.names]
        self.keys = [f"clothing_dataset/{image}" for image in self.names]
        self.groups = [f"clothing_dataset/{SPLIT}/{senders[image]}" for image in self.names]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        """The photo and what its word says.

        Raises:
            PhotoError: the photo cannot be read.
        """
        photo = read_photo(self.photo_file(index))
        return self.knowledge.undrawn(photo, [self.words[index]], self.keys[index])

    def photo_labels(self, index: int) -> NDArray[np.int8]:
        """(L,) what the word says of the whole photo."""
        return self.knowledge.photo([self.words[index]], "tags")[0]

    def photo_file(self, index: int) -> Path:
        """The file of a photo."""
        return self.path / "images" / f"{self.names[index]}.jpg"

    def _tells(self, word: str) -> bool:
        labels, one_of = self.knowledge.photo([word], "tags")
        return bool((labels >= 0).any() or one_of)


def _read(file: Path) -> list[tuple[str, str, str]]:
    """(image, sender_id, label) of each row."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as text:
            header, *rows = [*csv.reader(text)] or [[]]
    except (OSError, ValueError, csv.Error) as error:     # ValueError: not UTF-8
        raise DataError(f"clothing_dataset: {file} is not a readable CSV ({error})") from error
    if missing := [name for name in COLUMNS if name not in header]:
        raise DataError(f"clothing_dataset: {file} has no column {', '.join(missing)}; it has {header}")
    places = [header.index(name) for name in COLUMNS]
    entries = []
    for number, row in enumerate(rows, start=2):
        if not row:
            continue
        if len(row) <= max(places):
            raise DataError(f"clothing_dataset: {file}, line {number}: {len(row)} columns, not {len(header)}")
        image, sender, word = (row[place].strip() for place in places)
        entries.append((image, sender, word))
    return entries
