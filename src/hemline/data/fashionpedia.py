"""Fashionpedia (Jia et al., ECCV 2020, https://arxiv.org/abs/2004.12276): garments and their parts, 294 attributes.

Layout, as published (https://github.com/cvdfoundation/fashionpedia):

    annotations/instances_attributes_train2020.json      COCO's JSON with `attributes` and `attribute_ids`
    annotations/instances_attributes_val2020.json
    train/...                                            of train2020.zip
    test/...                                             of val_test2020.zip

Either JSON may be left out, or lie at the top; photos are also looked for in train2020, val_test2020, val, images, and
in those below images. Masks are polygons, or RLE. Parts and garments overlap, and stay so.
"""

from __future__ import annotations

from pathlib import Path

from hemline.data._coco_json import Word, Words, decode, read_words
from hemline.data._coco_rows import Source, folders_within, read_instances
from hemline.data.carriers import with_carriers
from hemline.data.instances import Instances, InstanceSet, cached
from hemline.data.problems import Damaged, refuse
from hemline.errors import DataError
from hemline.labels import LabelSpace, load_label_space

NAME = "fashionpedia"
FILES = {
    "train": ("instances_attributes_train2020.json", ("train", "train2020")),
    "validation": ("instances_attributes_val2020.json", ("test", "val_test2020", "val", "val2020", "test2020")),
}
"""The JSON of each side, and the folders that its photos may be in."""


class Fashionpedia(InstanceSet):
    """The annotated photos of both sides of the published split.

    Args:
        path: The folder that holds `annotations`, `train` and `test`.
        space: The label space to speak in.
        damaged: What is done with rows that cannot be used.

    Raises:
        DataError: the folder is not laid out as published, or rows cannot be used.
        LabelError: the label space does not know its words.
    """

    terms = (
        "annotations CC-BY-4.0; photos under the terms of Flickr, Unsplash, Burst, Freestocks, Kaboompics and Pexels "
        "(https://fashionpedia.github.io/home/data_license.html)"
    )
    row_word = "annotation"
    in_json = True

    def __init__(self, path: Path, space: LabelSpace, *, damaged: Damaged = "refuse") -> None:
        index = _open(path)
        if damaged == "refuse":
            refuse(NAME, path, index.problems)
        super().__init__(NAME, NAME, path, space, index, decode, damaged=damaged)

    @staticmethod
    def label_space(path: Path, *, damaged: Damaged = "refuse") -> LabelSpace:
        """The label space `fashionpedia`, each attribute carried by the categories that it is ever drawn with.

        The pairs are counted in the training annotations. An attribute that is never drawn keeps those of the label
        space.

        Args:
            path: As of the dataset.
            damaged: Says nothing here.

        Raises:
            DataError: the folder is not laid out as published.
        """
        return with_carriers(load_label_space(NAME), _open(path))


def _open(path: Path) -> Instances:
    sources = []
    for side, (name, folders) in FILES.items():
        file = next((x for x in (path / "annotations" / name, path / name) if x.is_file()), None)
        places = [path / "images" / folder for folder in folders] + [path / folder for folder in folders]
        there = tuple(folder for folder in [*places, path / "images", path] if folder.is_dir())
        if file is not None:
            sources.append(Source(file, side, there))
    if not sources:
        names = " or ".join(name for name, _ in FILES.values())
        raise DataError(
            f"{NAME}: {path} holds no {names}, nor does its annotations/; give the folder as published, and open other "
            "COCO files as coco=PATH"
        )
    files = [source.file for source in sources]
    return cached(NAME, [*files, *folders_within(path)], lambda _: _read(path, sources), sources)


def _read(path: Path, sources: list[Source]) -> Instances:
    space = load_label_space(NAME)
    words = Words(
        [Word(category.id, category.name) for category in space.categories],
        sorted((Word(label.id, label.name) for label in space.labels), key=lambda word: int(word.id)),
        [],
    )
    for source in sources:
        listed = read_words(NAME, [source.file])
        for kind, own, published in (
            ("category", listed.categories, words.categories),
            ("attribute", listed.attributes, words.attributes),
        ):
            _compare(source.file, kind, {x.id: x.name for x in own}, {x.id: x.name for x in published})
        words.problems.extend(listed.problems)
    return read_instances(NAME, path, sources, words)


def _compare(file: Path, kind: str, listed: dict[int | str, str], published: dict[int | str, str]) -> None:
    """Refuse a list whose ids mean other things than the published ones.

    Raises:
        DataError: it is so.
    """
    for id, name in listed.items():
        if _letters(name) != _letters(published.get(id, "")):
            known = f"the published one is {published[id]!r}" if id in published else f"no published {kind} has that id"
            raise DataError(
                f"{NAME}: {file} is not Fashionpedia's: its {kind} {id!r} is {name!r}, {known}; open it as coco={file}"
            )


def _letters(name: str) -> str:
    return "".join(character for character in name.casefold() if character.isalnum())
