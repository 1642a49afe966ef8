"""The forms that `hemline.data_commands.convert` writes, and what each of them cannot say.

coco            annotations/instances_{train,val,test}.json, images/
                Fashionpedia's dialect of COCO (https://fashionpedia.github.io): `attributes`, and `attribute_ids` of
                each garment; masks are compressed RLE
imaterialist    train.csv, train/, label_descriptions.json; of a set that publishes a split `val` and `test` likewise
                Kaggle's form of 2020 (https://www.kaggle.com/c/imaterialist-fashion-2020-fgvc7), and for the label
                space `imaterialist2019` that of 2019
masks           images/{train,val,test}/, masks/{train,val,test}/, classes.json
                one palette PNG a photo; classes.json says what its values are: 0 background, 255 unknown
"""

from __future__ import annotations

import colorsys
import csv
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TextIO

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco  # type: ignore[import-untyped]

from hemline import __version__
from hemline.borders import Borders, area, rle_of_borders, text_of_borders
from hemline.data_commands.drawn_photos import ASSUMED, DENIED, DrawnPhoto
from hemline.errors import DataError
from hemline.labels import LabelSpace

Form = Literal["coco", "imaterialist", "masks"]
MAP_UNKNOWN = 255
"""In an index map: any class, or none."""

NO_CLOTHES = "pixels of classes that are no clothes; they read as background"
ANY = "pixels that may be of any class; they read as background"
EMPTY = "photos left out, of which it is known that they show no garment: the form has a row a garment"
SHARED = "pixels that several garments cover; the smallest garment has them"
MERGED = "garments that are not told from another of their class: an index map has no garments, only classes"
WORDLESS = "attributes of garments: an index map has none"
CROWDS = "masks of many garments in one: the form takes each for one garment"
SCALED = "masks scaled to their photo, which was shipped at another size"

OTHER_SIZE = "photos that are stored at another size than their masks were drawn at; the sizes given are the masks'"
OTHER_SIDES = "photos in val.csv and test.csv, which Kaggle's form has not: its readers read train.csv alone"
NO_JPEG = "photos that are no .jpg, which readers of this form expect; their ImageId has their suffix"
NEW_IDS = "attributes whose ids are no numbers, or that of another; they are numbered after the others"


@dataclass
class Work:
    """What the writers share."""

    folder: Path
    space: LabelSpace
    about: dict[str, str]
    """The set's `name` and `terms`."""
    names: list[str]
    """Of each photo, its file's name in the output."""
    sides: list[str]
    """Of each photo, `train`, `val` or `test`."""
    published: bool
    """Whether the set publishes its split."""
    lost: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)
    photos: Counter[str] = field(default_factory=Counter)
    garments: int = 0

    def put_photo(self, drawn: DrawnPhoto, folder: str) -> str:
        """Put a photo into a folder of the output; its name there."""
        name = self.names[drawn.index]
        target = self.folder / folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if drawn.file is not None:
            _link(drawn.file, target)
        elif drawn.photo is not None:
            Image.fromarray(drawn.photo).save(target)
        self.photos[self.sides[drawn.index]] += 1
        self.garments += len(drawn.garments)
        return name


# -- COCO ----------------------------------------------------------------------------------------------------


class _CocoFile:
    """A COCO file; annotations go straight to the disk, so that memory holds a line a photo."""

    def __init__(self, file: Path, head: dict[str, Any]) -> None:
        self.text: TextIO = file.open("w", encoding="ascii")
        self.text.write(json.dumps(head)[:-1] + ', "annotations": [')
        self.images: list[str] = []
        self._separator = "\n"

    def add(self, annotation: dict[str, Any]) -> None:
        self.text.write(self._separator + json.dumps(annotation))
        self._separator = ",\n"

    def end(self) -> None:
        self.text.write('\n], "images": [\n' + ",\n".join(self.images) + "\n]}\n")


def _write_coco(work: Work, drawn_photos: Iterable[DrawnPhoto]) -> None:
    ids = _attribute_ids(work)
    head = {
        "info": {"description": f"{work.about['name']}, in the words of {work.space.name}", "version": __version__},
        "licenses": [{"id": 1, "name": work.about["terms"]}],
        **_descriptions(work.space, ids),
    }
    (work.folder / "annotations").mkdir()
    files: dict[str, _CocoFile] = {}
    number = 0
    with ExitStack() as stack:
        for drawn in drawn_photos:
            side = work.sides[drawn.index]
            if side not in files:
                files[side] = _CocoFile(work.folder / "annotations" / f"instances_{side}.json", head)
                stack.callback(files[side].text.close)
            name = work.put_photo(drawn, "images")
            _count_what_is_no_garment(work, drawn)
            height, width = drawn.size
            image = {"id": drawn.index + 1, "file_name": name, "height": height, "width": width, "license": 1}
            files[side].images.append(json.dumps(image))
            for garment in drawn.garments:
                number += 1
                rle: Any = rle_of_borders(garment.borders, drawn.size)
                files[side].add(
                    {
                        "id": number,
                        "image_id": drawn.index + 1,
                        "category_id": work.space.categories[garment.category].id,
                        "segmentation": {"size": [height, width], "counts": rle["counts"].decode()},
                        "area": area(garment.borders),
                        "bbox": coco.toBbox(rle).tolist(),
                        "iscrowd": int(garment.crowd),
                        "attribute_ids": sorted(ids[a] for a in garment.attributes),
                    }
                )
        for file in files.values():
            file.end()


# -- iMaterialist --------------------------------------------------------------------------------------------


def _write_imaterialist(work: Work, drawn_photos: Iterable[DrawnPhoto]) -> None:
    ids = _attribute_ids(work)
    of_2019 = work.space.name == "imaterialist2019"
    header = ["ImageId", "EncodedPixels", "Height", "Width", "ClassId"] + ["AttributesIds"] * (not of_2019)
    described = {"info": {"version": __version__, "description": work.about["name"]}, **_descriptions(work.space, ids)}
    (work.folder / "label_descriptions.json").write_text(json.dumps(described, indent=1), encoding="ascii")
    tables: dict[str, Any] = {}
    with ExitStack() as stack:
        for drawn in drawn_photos:
            if not work.published:
                work.sides[drawn.index] = "train"          # the form knows no validation
            side = work.sides[drawn.index]
            if not drawn.garments:
                work.lost[EMPTY] += 1
                continue
            if side not in tables:
                file = (work.folder / f"{side}.csv").open("w", encoding="utf-8", newline="")
                tables[side] = csv.writer(stack.enter_context(file), lineterminator="\n")
                tables[side].writerow(header)
            name = work.put_photo(drawn, side)
            _count_what_is_no_garment(work, drawn)
            work.notes[OTHER_SIDES] += side != "train"
            work.notes[NO_JPEG] += not name.endswith(".jpg")
            work.lost[CROWDS] += sum(garment.crowd for garment in drawn.garments)
            for garment in drawn.garments:
                category = work.space.categories[garment.category].id
                attributes = sorted(ids[a] for a in garment.attributes)
                if of_2019:
                    what = [name, "_".join(map(str, [category, *attributes]))]
                else:
                    what = [name.removesuffix(".jpg"), str(category), ",".join(map(str, attributes))]
                tables[side].writerow([what[0], text_of_borders(garment.borders), *drawn.size, *what[1:]])


# -- index maps ----------------------------------------------------------------------------------------------


def _write_masks(work: Work, drawn_photos: Iterable[DrawnPhoto]) -> None:
    space = work.space
    if space.num_masks >= MAP_UNKNOWN:
        raise DataError(
            f"label space {space.name} has {space.num_masks} classes; an index map holds {MAP_UNKNOWN - 1}: take coco"
        )
    values = {0: "background", **dict(enumerate(space.mask_names, start=1)), MAP_UNKNOWN: "unknown"}
    (work.folder / "classes.json").write_text(json.dumps(values, indent=1), encoding="ascii")
    palette = _palette(space.num_masks)
    for drawn in drawn_photos:
        side = work.sides[drawn.index]
        name = work.put_photo(drawn, f"images/{side}")
        index_map = _index_map(drawn, work)
        if drawn.photo_size != drawn.size:
            work.lost[SCALED] += 1
            index_map = cv2.resize(index_map, drawn.photo_size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)  # type: ignore[assignment]
        picture = Image.fromarray(index_map)
        picture.putpalette(palette)
        target = work.folder / "masks" / side / f"{Path(name).stem}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        picture.save(target)
    for what in (ASSUMED, DENIED):                        # no attribute is written
        work.lost.pop(what, None)


def _index_map(drawn: DrawnPhoto, work: Work) -> NDArray[np.uint8]:
    """(H, W) 1 + mask channel, 0 background, `MAP_UNKNOWN`; counts what it cannot hold."""
    garments = sorted(drawn.garments, key=lambda garment: -area(garment.borders))
    layers = [(MAP_UNKNOWN, borders) for borders in drawn.unknown]
    layers += [(1 + channel, borders) for channel, borders in drawn.pixels]
    layers += [(1 + garment.category, garment.borders) for garment in garments]
    flat = np.zeros(drawn.size[0] * drawn.size[1], np.uint8)
    for value, borders in layers:
        for begin, end in borders.reshape(-1, 2).tolist():
            flat[begin:end] = value
    work.lost[SHARED] += _shared([garment.borders for garment in garments])
    work.lost[MERGED] += len(garments) - len({garment.category for garment in garments})
    work.lost[WORDLESS] += sum(len(garment.attributes) for garment in garments)
    return cv2.transpose(flat.reshape(drawn.size[1], drawn.size[0]))  # type: ignore[return-value]


def _shared(masks: Sequence[Borders]) -> int:
    """Pixels that two masks or more cover."""
    places = np.concatenate([np.zeros(0, np.int64), *masks])
    turns = np.concatenate([np.zeros(0, np.int64), *(np.tile([1, -1], len(mask) // 2) for mask in masks)])
    order = np.argsort(places, kind="stable")
    times = np.cumsum(turns[order])[:-1]
    return int(np.diff(places[order])[times > 1].sum())


def _palette(num: int) -> list[int]:
    """Red, green, blue of all 256 values: black, colours that differ from their neighbours, and white for unknown."""
    colours = [(0.0, 0.0, 0.0)]
    for i in range(num):
        colours.append(colorsys.hsv_to_rgb(i * 0.618034 % 1, (0.9, 0.55)[i % 2], (1.0, 0.75, 0.9)[i % 3]))
    colours += [(0.0, 0.0, 0.0)] * (MAP_UNKNOWN - len(colours)) + [(1.0, 1.0, 1.0)]
    return [round(255 * x) for colour in colours for x in colour]


# -- what the writers share ----------------------------------------------------------------------------------


def _descriptions(space: LabelSpace, ids: dict[int, int]) -> dict[str, list[dict[str, Any]]]:
    return {
        "categories": [{"id": c.id, "name": c.name, "supercategory": c.supercategory} for c in space.categories],
        "attributes": [{"id": ids[x.index], "name": x.name, "supercategory": x.group} for x in space.labels],
    }


def _attribute_ids(work: Work) -> dict[int, int]:
    """A whole number of its own for each label, by its index: the publisher's where it is one."""
    times = Counter(label.id for label in work.space.labels)
    ids = {x.index: x.id for x in work.space.labels if isinstance(x.id, int) and times[x.id] == 1}
    free = 1 + max([-1, *(x for x in times if isinstance(x, int))])
    for label in work.space.labels:
        if label.index not in ids:
            ids[label.index] = free
            free += 1
            work.notes[NEW_IDS] += 1
    return ids


def _count_what_is_no_garment(work: Work, drawn: DrawnPhoto) -> None:
    work.lost[NO_CLOTHES] += sum(area(borders) for _, borders in drawn.pixels)
    work.lost[ANY] += sum(area(borders) for borders in drawn.unknown)
    work.notes[OTHER_SIZE] += drawn.photo_size != drawn.size


def _link(source: Path, target: Path) -> None:
    source = source.resolve()
    try:
        os.link(source, target)
    except OSError:                                       # another disk, or one without links
        shutil.copyfile(source, target)


WRITERS: dict[Form, Callable[[Work, Iterable[DrawnPhoto]], None]] = {
    "coco": _write_coco,
    "imaterialist": _write_imaterialist,
    "masks": _write_masks,
}
