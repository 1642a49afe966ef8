"""Stanford Clothing Attributes (Chen, Gallagher, Girod, ECCV 2012): people, with answers about the upper garment.

Layout, as published (https://purl.stanford.edu/tb980qz1002; citation asked, no licence stated):

    images/000001.jpg ...
    labels/collar_GT.mat ...             `GT`, (rows, 1) answers from 1 in the order of the photos; NaN is unsettled

Every answer is a word, `collar 2`; what each says stands in the label space's `teach.clothing_attributes` block. Files
that are not in `ANSWERS` are never read: colours are measured, and what describes the person is not taught.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
import scipy.io
from numpy.typing import NDArray

from hemline.data.knowledge import Knowledge
from hemline.data.sample import Sample
from hemline.errors import DataError
from hemline.labels import LabelSpace
from hemline.photo import read_photo

ANSWERS = {
    "category": 7, "sleevelength": 3, "neckline": 3, "collar": 2, "placket": 2, "necktie": 2, "scarf": 2,
    "pattern_solid": 2, "pattern_stripe": 2, "pattern_graphics": 2, "pattern_plaid": 2, "pattern_spot": 2,
    "pattern_floral": 2,
}  # fmt: skip
"""The files that are read, and how many answers each knows."""


class ClothingAttributes:
    """The photos that are there.

    Photos that are the same byte for byte share a group, named after the first of them. They show two people whose
    garments were labelled apart, so that an answer stands only where all their rows give it.

    Args:
        path: The folder that holds `images` and `labels`.
        space: The label space to speak in; it must teach `clothing_attributes`.

    Raises:
        DataError: the folder is not laid out as published.
        LabelError: the label space does not teach `clothing_attributes`.
    """

    terms = "No licence stated; citation asked (Chen, Gallagher, Girod, ECCV 2012)."

    def __init__(self, path: Path, space: LabelSpace) -> None:
        self.knowledge = Knowledge(space, "clothing_attributes")
        words = {f"{name} {answer}" for name, most in ANSWERS.items() for answer in range(1, most + 1)}
        if unknown := words - set(self.knowledge.words):
            raise DataError(f"clothing_attributes: teach.clothing_attributes does not explain {sorted(unknown)}")
        if not (path / "labels").is_dir() or not (path / "images").is_dir():
            raise DataError(
                f"clothing_attributes: {path} holds no folders `images` and `labels`; "
                "give the folder of Stanford's Clothing Attributes as published"
            )
        self.path = path
        self.files = sorted(file for file in (path / "images").glob("*.jpg") if file.stem.isdecimal())
        if not self.files:
            raise DataError(f"clothing_attributes: {path}/images has no photo named as published, such as 000001.jpg")
        first = _first_of_each(self.files)
        self.keys = [f"clothing_attributes/{file.stem}" for file in self.files]
        self.groups = [f"clothing_attributes/{first[file].stem}" for file in self.files]
        self._same = _positions(self.groups)
        self.answers = {name: self._read(name) for name in ANSWERS}
        """(N,) the answer of each photo to each question; NaN where it is not settled."""
        for same in self._same:                           # category and collar say what a neckline means
            if any(np.isnan(self.answers[name][same[0]]) for name in ("category", "collar")):
                self.answers["neckline"][same] = np.nan

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Sample:
        """The photo and what its answers say.

        Raises:
            PhotoError: the photo cannot be read.
        """
        photo = read_photo(self.files[index])
        return self.knowledge.undrawn(photo, self.words(index), self.keys[index])

    def photo_labels(self, index: int) -> NDArray[np.int8]:
        """(L,) what the answers say of the whole photo."""
        return self.knowledge.photo(self.words(index), "tags")[0]

    def photo_file(self, index: int) -> Path:
        """The file of a photo."""
        return self.files[index]

    def words(self, index: int) -> list[str]:
        """The settled answers of one photo, as words of the `teach` block."""
        return [f"{name} {answers[index]:.0f}" for name, answers in self.answers.items() if answers[index] > 0]

    def _read(self, name: str) -> NDArray[np.float64]:
        """(N,) the answer of each photo to one question; NaN where it is not settled, or rows of one photo disagree."""
        file = self.path / "labels" / f"{name}_GT.mat"
        if not file.is_file():
            raise DataError(f"clothing_attributes: {self.path}/labels has no {file.name}")
        try:
            rows = np.asarray(scipy.io.loadmat(file)["GT"], np.float64).ravel()
        except KeyError as error:
            raise DataError(f"clothing_attributes: {file} has no variable 'GT'") from error
        except (OSError, ValueError, TypeError, NotImplementedError) as error:
            raise DataError(f"clothing_attributes: {file} is not a readable MATLAB file ({error})") from error
        if wrong := sorted({float(x) for x in rows[~np.isnan(rows)]} - set(range(1, ANSWERS[name] + 1))):
            raise DataError(f"clothing_attributes: {file} answers {wrong[0]:g}; it knows 1 to {ANSWERS[name]}, and NaN")
        numbers = np.array([int(photo.stem) for photo in self.files])
        if numbers.min() < 1 or numbers.max() > len(rows):
            wrong_file = self.files[int(numbers.argmax() if numbers.min() > 0 else numbers.argmin())]
            raise DataError(f"clothing_attributes: {file} has {len(rows)} rows, none for {wrong_file.name}")
        answers: NDArray[np.float64] = rows[numbers - 1]
        for same in self._same:
            if (answers[same] != answers[same[0]]).any():
                answers[same] = np.nan
        return answers


def _positions(groups: list[str]) -> list[list[int]]:
    """The positions of each group of several photos."""
    positions = defaultdict(list)
    for index, group in enumerate(groups):
        positions[group].append(index)
    return [same for same in positions.values() if len(same) > 1]


def _first_of_each(files: list[Path]) -> dict[Path, Path]:
    """The first of the files that are the same byte for byte, for each."""
    of_size = defaultdict(list)
    for file in files:
        of_size[file.stat().st_size].append(file)
    first = {}
    for alike in of_size.values():
        known: dict[bytes, Path] = {}
        for file in alike:
            content = file.read_bytes() if len(alike) > 1 else b""
            first[file] = known.setdefault(content, file)
    return first
