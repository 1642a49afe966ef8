"""Drawn figures in drawn clothes, with exact masks, categories and attributes; no download, no terms.

Photo number i is a function of (seed, i) alone. Twelve photos show each kind of scene in `SCENES` once or more: people
standing alone or before each other, whole or cut by the photo's edge, and single garments laid flat.

What is taught is what is true of the pixels that one sees:

    segments     hair, skin, and each garment its own; every pixel's class is known, bare background included
    a garment    its category, and the attributes that can be seen: a sleeve under a coat is unknown, not absent
    the photo    every category; an attribute is 1 where some garment shows it, 0 where none that could carry it has
                 it or where no such garment is there, unknown where the only garments that may have it hide it

A label space is taught by its words. A category is matched by Fashionpedia's name, else by its outfit part where the
space has a category of that name; words that are never drawn stay unknown.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from hemline._reading import Rule
from hemline._rules import Seed
from hemline.data._drawing.outfits import QUESTIONS
from hemline.data._drawing.scenes import Drawing, Garment, draw_scene
from hemline.data.sample import UNKNOWN, WHOLE_PHOTO, Region, Sample
from hemline.errors import DataError
from hemline.labels import Category, Label, LabelSpace

OUTFIT_PARTS = {
    "upper body": ("shirt, blouse", "top, t-shirt, sweatshirt", "sweater", "cardigan", "jacket", "vest"),
    "lower body": ("pants", "shorts", "skirt", "tights, stockings"),
    "whole body": ("coat", "dress", "jumpsuit", "cape"),
    "feet": ("leg warmer", "sock", "shoe"),
    "accessories": (
        "glasses", "hat", "headband, head covering, hair accessory", "tie", "glove", "watch", "belt", "bag, wallet",
        "scarf", "umbrella",
    ),
}  # fmt: skip
"""Everything that is drawn, by outfit part."""

Photos = Annotated[int, Rule("between 1 and 10 million", lambda x: 1 <= x <= 10_000_000)]
Side = Annotated[int, Rule("between 32 and 8192 pixels", lambda x: 32 <= x <= 8192)]


class Synthetic:
    """Drawn photos.

    Args:
        path: None; nothing is read.
        space: The label space to speak in.
        count: Photos.
        seed: Another seed draws other photos.
        canvas: (height, width) of each photo in pixels.

    Raises:
        DataError: there are no photos, or they are under 32 pixels high or wide.
    """

    terms = "Drawn by Hemline; no terms."

    def __init__(
        self,
        path: None,
        space: LabelSpace,
        *,
        count: Photos = 512,
        seed: Seed = 0,
        canvas: tuple[Side, Side] = (288, 192),
    ) -> None:
        if count < 1 or seed < 0 or min(canvas) < 32:
            asked = f"count={count}, seed={seed}, canvas={list(canvas)}"
            raise DataError(f"synthetic: {asked}; ask for 1 photo or more, a seed from 0, 32 pixels each way or more")
        self.space = space
        self.seed = seed
        self.canvas = (int(canvas[0]), int(canvas[1]))
        self.keys = [f"synthetic/{i:06d}" for i in range(count)]
        self.groups = self.keys
        self._words = _Words(space)

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, index: int) -> Sample:
        """The photo and all that is known of it."""
        drawing = self.draw(index)
        garments = drawing.garments
        targets = [self._words.target(None), self._words.target("hair"), self._words.target("skin")]
        targets += [self._words.target(garment.category) for garment in garments]
        regions = [Region((garment.segment,), self._words.garment(garment)) for garment in garments]
        return Sample(
            photo=drawing.photo,
            segments=drawing.segments,
            targets=np.stack(targets),
            regions=[Region(WHOLE_PHOTO, self._words.photo(garments)), *regions],
            key=self.keys[index],
        )

    def photo_labels(self, index: int) -> NDArray[np.int8]:
        """(L,) what is known of the whole photo."""
        return self._words.photo(self.garments(index))

    def garments(self, index: int) -> tuple[Garment, ...]:
        """The garments that can be seen in a photo, exactly."""
        return self.draw(index).garments

    def draw(self, index: int) -> Drawing:
        """Draw a photo, whatever the label space.

        Raises:
            IndexError: no such photo.
        """
        if not 0 <= index < len(self.keys):
            raise IndexError(f"synthetic holds photos 0 to {len(self.keys) - 1}, not {index}")
        return draw_scene(self.seed, int(index), self.canvas)


class _Words:
    """What the drawn things are called in a label space."""

    def __init__(self, space: LabelSpace) -> None:
        self.space = space
        self.question = {word: question for question, words in QUESTIONS.items() for word in words}
        by_name = {category.name: category for category in space.categories}
        self.category: dict[str, Category | None] = {
            name: by_name.get(name, by_name.get(part)) for part, names in OUTFIT_PARTS.items() for name in names
        }
        self.known = {*self.category, *OUTFIT_PARTS, "hair", "skin"}
        self.absent = np.array([0 if name in self.known else UNKNOWN for name in space.mask_names], np.int8)
        """(K,) of a garment's pixels, its own class apart: a class of unknown name may be another word for it."""

    def target(self, name: str | None) -> NDArray[np.int8]:
        """(K,) of a pixel of a garment, of `hair`, of `skin`, or of nothing (None)."""
        if name is None:
            return np.zeros(self.space.num_masks, np.int8)
        target = self.absent.copy()
        category = self.category.get(name)
        if category is not None:
            target[category.index] = 1
        elif name in self.space.pixels:
            target[self.space.mask_names.index(name)] = 1
        return target

    def garment(self, garment: Garment) -> NDArray[np.int8]:
        """(L,) what can be seen of one garment."""
        labels = np.full(self.space.num_labels, UNKNOWN, np.int8)
        num = len(self.space.categories)
        labels[:num] = self.target(garment.category)[:num]
        for group in self.space.groups:
            carried = [label for label in group.labels if self._carries(garment, label)]
            for label in carried:
                words = garment.answers.get(self.question.get(label.name, ""))
                if words is not None:
                    labels[label.index] = label.name in words
            if group.choice == "one" and any(labels[label.index] == 1 for label in carried):
                for label in carried:  # also what is never drawn
                    labels[label.index] = max(0, labels[label.index])
        return labels

    def photo(self, garments: tuple[Garment, ...]) -> NDArray[np.int8]:
        """(L,) what can be seen in the whole photo."""
        num = len(self.space.categories)
        labels = np.full(self.space.num_labels, UNKNOWN, np.int8)
        labels[:num] = self.absent[:num]
        said = [self.garment(garment) for garment in garments]
        for row in said:
            labels[:num][row[:num] == 1] = 1
        for label in self.space.labels:
            carriers = [i for i, garment in enumerate(garments) if self._carries(garment, label)]
            answers = [int(said[i][label.index]) for i in carriers]
            question = self.question.get(label.name)
            if question is not None:
                answers = [a for a, i in zip(answers, carriers, strict=True) if garments[i].has(question)]
            if 1 in answers:
                labels[label.index] = 1
            elif UNKNOWN not in answers and label.carried_by <= self.known and (question or label.carried_by):
                labels[label.index] = 0
        return labels

    def _carries(self, garment: Garment, label: Label) -> bool:
        category = self.category[garment.category]
        return not label.carried_by or (category is not None and category.name in label.carried_by)
