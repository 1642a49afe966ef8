"""Your own photos in COCO's JSON (https://cocodataset.org/#format-data): drawn garments, and maybe attributes.

Layout: one JSON, or a folder with one, or with one for each side of a split, such as

    annotations/instances_train2017.json annotations/instances_val2017.json     photos in train2017 and val2017
    labels_train.json labels_val.json                                           photos in images
    train/_annotations.coco.json valid/_annotations.coco.json                   photos beside them

`categories` are the categories. Fashionpedia's additions are read where they are there: `attributes`, each with a
`supercategory`, and the `attribute_ids` of annotations. Keypoints and boxes are not read; an annotation of a box alone
says that the garment is in the photo, and of no pixel whether it is the garment. Photos that have no annotation are
left out: nobody may have looked at them.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hemline._reading import path_of
from hemline.data._coco_json import Word, Words, decode, read_words
from hemline.data._coco_rows import Source, folders_within, read_instances
from hemline.data.carriers import carriers
from hemline.data.instances import Instances, InstanceSet, cached
from hemline.data.problems import Damaged, refuse
from hemline.errors import DataError
from hemline.labels import LabelSpace, load_label_space

NAME = "coco"
SIDES = {"train": "train", "val": "validation", "valid": "validation", "validation": "validation", "test": "test"}
"""What a word in the name of a JSON, or of its folder, says of its photos."""


class COCO(InstanceSet):
    """The annotated photos.

    Args:
        path: The JSON, or the folder of one or more.
        space: The label space to speak in.
        images: The folder of the photos; by default they are looked for beside the JSON.
        damaged: What is done with rows that cannot be used.

    Raises:
        DataError: no such files, they are not COCO's, or rows cannot be used.
        LabelError: the label space does not know its categories or attributes.
    """

    terms = "not known to Hemline: those of whoever made the set"
    row_word = "annotation"
    in_json = True

    def __init__(
        self, path: Path, space: LabelSpace, *, images: str | None = None, damaged: Damaged = "refuse"
    ) -> None:
        root, index = _open(path, images)[:2]
        if damaged == "refuse":
            refuse(NAME, path, index.problems)
        super().__init__(NAME, NAME, root, space, index, decode, damaged=damaged)

    @staticmethod
    def label_space(path: Path, *, images: str | None = None, damaged: Damaged = "refuse") -> LabelSpace:
        """The JSON's own words: its categories, and its attributes in a group for each of their supercategories.

        An attribute is carried by the categories that it is ever drawn with, or, if it never is, by those that are
        drawn with any. A category that Fashionpedia has, too, is worn on the part of the outfit that it has there.

        Args:
            path: As of the dataset, like the options.
            images: Where the photos are.
            damaged: Says nothing here.

        Raises:
            DataError: no such files, or they are not COCO's.
            LabelError: its words make no label space.
        """
        _, index, words = _open(path, images)
        parts = {category.name: category.outfit_part for category in load_label_space("fashionpedia").categories}
        carried = carriers(index)
        any_of = sorted(frozenset[str]().union(*carried.values()))
        groups: dict[str, list[dict[str, Any]]] = {}
        for word in words.attributes:
            own = sorted(carried.get(word.name, ())) or any_of
            entry: dict[str, Any] = {"id": word.id, "name": word.name, "carried_by": own}
            groups.setdefault(_group_name(word), []).append(entry)
        return LabelSpace.from_dict(
            {
                "name": NAME,
                "version": 1,
                "categories": [
                    {
                        "id": word.id,
                        "name": word.name,
                        "supercategory": word.supercategory or "clothes",
                        "outfit_part": parts.get(word.name.lower()),
                    }
                    for word in words.categories
                ],
                "groups": [{"name": name, "choice": "many", "labels": labels} for name, labels in groups.items()],
            }
        )


def _group_name(word: Word) -> str:
    name = word.supercategory or "attribute"
    return f"{name} attribute" if name == "category" else name


def _open(path: Path, images: str | None) -> tuple[Path, Instances, Words]:
    """The folder that photos are named from, the garments, and the words."""
    root, sources = find_sources(path, images)
    files = [source.file for source in sources]
    words = read_words(NAME, files)
    index = cached(NAME, [*files, *folders_within(root)], lambda _: read_instances(NAME, root, sources, words), sources)
    return root, index, words


def find_sources(path: Path, images: str | None) -> tuple[Path, list[Source]]:
    """The folder that photos are named from, and each JSON with where its photos may be.

    Args:
        path: The JSON, or the folder of one or more.
        images: The folder of the photos, if it is named.

    Raises:
        DataError: there is no JSON, more than one for a side, or no such folder of photos.
    """
    if path.is_dir():
        home, files = path, _choose(path)
    else:
        home, files = (path.parent.parent if path.parent.name == "annotations" else path.parent), {"train": path}
    root = home
    if images is not None:
        root = next((folder for folder in (home / path_of(images), path_of(images)) if folder.is_dir()), home)
        if root is home:
            raise DataError(f"{NAME}: no folder {images!r} of photos, neither from {home} nor from here; see images=")
    bases = [root] if images is not None else [root / "images", root]
    sources = []
    for side, file in files.items():
        folders = [base / name for base in bases for name in _split_names(file)] + bases + [file.parent]
        there = dict.fromkeys(folder for folder in folders if folder.is_dir())
        sources.append(Source(file, side, tuple(there)))
    return root, sources


def _choose(folder: Path) -> dict[str, Path]:
    """The JSON of each side; one alone is all that there is."""
    inside = [folder, folder / "annotations", *(folder / name for name in SIDES)]
    found = sorted({file for place in inside for file in place.glob("*.json") if not file.name.startswith(".")})
    if not found:
        raise DataError(f"{NAME}: no JSON in {folder}, its annotations/, or its train/ and val/; name the file")
    drawn = [file for file in found if file.name.startswith("instances")] or found
    if len(drawn) == 1:
        return {"train": drawn[0]}
    sides = [_side(file, folder) for file in drawn]
    if None in sides or len(set(sides)) < len(sides):
        names = ", ".join(str(file.relative_to(folder)) for file in drawn)
        raise DataError(
            f"{NAME}: {folder} holds {len(drawn)} JSON files ({names}); name one, or keep one whose name says train, "
            "one val and one test"
        )
    by_side = dict(zip(sides, drawn, strict=True))
    return {side: by_side[side] for side in ("train", "validation", "test") if side in by_side}


def _side(file: Path, folder: Path) -> str | None:
    inside = file.relative_to(folder).with_suffix("")
    words = [*re.findall("[a-z]+", inside.name.lower()), inside.parent.name.lower()]
    return next((SIDES[word] for word in words if word in SIDES), None)


def _split_names(file: Path) -> list[str]:
    """What the folder of a JSON's photos may be called: `instances_train2017` -> itself, `train2017`, `train`."""
    words = [SIDES.get(word) for word in re.findall("[a-z]+", file.stem.lower())]
    return [file.stem, file.stem.rpartition("_")[2], *(name for name, side in SIDES.items() if side in words)]
