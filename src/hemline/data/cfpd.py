"""Colorful Fashion Parsing Data (Liu et al., IEEE Transactions on Multimedia, 2014): 2,682 street photos, 600 x 400.

Layout, as published (https://sites.google.com/site/fashionparsing/dataset; read as in hrsma2i/dataset-CFPD):

    fashon_parsing_data.mat     MATLAB 7.3, which is HDF5: arrays lie transposed, cells are references
        all_category_name       23 words, `bk` first: background
        all_colors_name         13 words, `bk` first
        fashion_dataset         a record for each photo:
            img_name            91.jpg
            segmentation        (400, 600) float32: superpixels from 0, transposed
            category_label      (1, 425) of each superpixel, its category from 1
            color_label         (1, 425) of each superpixel, its colour from 1
    image/91.jpg

The authors publish no split. `sides` is that of Tangseng, Wu and Yamaguchi (2017, https://arxiv.org/abs/1703.01386):
in the order of the file, 78 % of the records train, the next 20 % test and the last 2 % validate.

What each category says stands in a label space's `teach.cfpd` block.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hemline.borders import borders_of_rle
from hemline.data.drawn import Drawn, Garment, borders_of_map, counts_of, pack
from hemline.data.instances import Instances, InstanceSet, cached
from hemline.data.mask_images import of_people
from hemline.data.problems import Damaged, Problem
from hemline.errors import DataError, in_short
from hemline.labels import LabelSpace

FILE = "fashon_parsing_data.mat"
"""Spelt as published."""
BACKGROUND = "bk"
PARTS = {
    "T-shirt": "upper body", "blazer": "upper body", "blouse": "upper body", "sweater": "upper body",
    "jeans": "lower body", "legging": "lower body", "pants": "lower body", "shorts": "lower body",
    "skirt": "lower body", "stocking": "lower body", "coat": "whole body", "dress": "whole body", "shoe": "feet",
    "socks": "feet", "bag": "accessories", "belt": "accessories", "hat": "accessories", "scarf": "accessories",
    "sunglass": "accessories",
}  # fmt: skip
"""Outfit parts of its garments."""
UNREADABLE = (OSError, KeyError, ValueError, TypeError, AttributeError, RuntimeError)
"""What h5py and numpy raise on things that are missing or of another kind."""
MAIN_COLOUR, SECOND_COLOUR = 1 / 2, 1 / 3
"""A garment has a colour where at least this share of its coloured pixels has it and no other colour has as much as a
third; others are of several colours: unknown."""


class CFPD(InstanceSet):
    """The photos that are there, with a mask for each category in them.

    Args:
        path: The folder that holds `fashon_parsing_data.mat` and `image`.
        space: The label space to speak in: its own, or one that teaches `cfpd`.
        damaged: What is done with records that cannot be used.

    Raises:
        DataError: the folder is not laid out as published, records cannot be used, or h5py is not installed.
        LabelError: the label space does not know its words.
    """

    terms = "not stated"
    row_word = "record"

    def __init__(self, path: Path, space: LabelSpace, *, damaged: Damaged = "refuse") -> None:
        file = _file(path)
        if not (path / "image").is_dir():
            raise DataError(f"cfpd: {path} holds no folder image; unpack the photos beside {FILE}")

        def build(folder: Path) -> Instances:
            with _opened(file) as data:
                categories, colours = _names(data, "all_category_name"), _names(data, "all_colors_name")
                return pack(
                    _records(path, data, categories, colours),
                    folder / "masks.rle",
                    categories=[name for name in categories if name != BACKGROUND],
                    attributes=[name for name in colours if name != BACKGROUND],
                )

        index = cached("cfpd", [file, path / "image"], build)
        super().__init__("cfpd", "cfpd", path, space, index, borders_of_rle, damaged=damaged)

    @staticmethod
    def label_space(path: Path, *, damaged: Damaged = "refuse") -> LabelSpace:
        """Its categories, with ids from 0 as its readers count them (`bk` is 0), and its colours.

        Face, hair and skin are pixels, which are never an answer.

        Raises:
            DataError: the folder is not laid out as published, or h5py is not installed.
        """
        with _opened(_file(path)) as data:
            categories, colours = _names(data, "all_category_name"), _names(data, "all_colors_name")
        worn = [(id, name) for id, name in enumerate(categories) if name != BACKGROUND and not of_people(name)]
        return LabelSpace.from_dict(
            {
                "name": "cfpd",
                "version": 1,
                "categories": [
                    {"id": id, "name": name, "supercategory": "clothes", "outfit_part": PARTS.get(name)}
                    for id, name in worn
                ],
                "pixels": [name for name in categories if of_people(name)],
                "groups": [
                    {
                        "name": "colour",
                        "choice": "one",
                        "labels": [{"id": id, "name": x} for id, x in enumerate(colours) if x != BACKGROUND],
                    }
                ],
            }
        )


def _file(path: Path) -> Path:
    if not (path / FILE).is_file():
        raise DataError(f"cfpd: {path} holds no {FILE}; give the folder of Colorful Fashion Parsing Data as published")
    return path / FILE


def _opened(file: Path) -> Any:                                     # noqa: ANN401  h5py has no types
    try:
        import h5py
    except ImportError as error:
        raise DataError("cfpd: its file is HDF5, which h5py reads: pip install h5py") from error
    try:
        return h5py.File(file, "r")
    except OSError as error:
        raise _damaged(error) from error


def _damaged(error: Exception) -> DataError:
    return DataError(f"cfpd: {FILE} is not as published, or damaged ({in_short(error)}); copy or download it again")


def _names(data: Any, variable: str) -> list[str]:                  # noqa: ANN401
    try:
        names = [_text(data[reference]) for reference in data[variable][()].ravel()]
    except UNREADABLE as error:
        raise _damaged(error) from error
    if len(set(names)) < len(names) or BACKGROUND not in names:
        raise _damaged(ValueError(f"{variable} holds {names}"))
    return names


def _text(characters: Any) -> str:                                  # noqa: ANN401
    return "".join(map(chr, characters[()].ravel()))


def _records(path: Path, data: Any, categories: Sequence[str], colours: Sequence[str]) -> Iterator[Drawn | Problem]:  # noqa: ANN401
    """What each record draws, or what is wrong with it."""
    try:
        references = data["fashion_dataset"][()].ravel()
    except UNREADABLE as error:
        raise _damaged(error) from error
    test, validation = (int(len(references) * share + 0.5) for share in (0.2, 0.02))
    train = len(references) - test - validation
    there = {photo.name for photo in (path / "image").iterdir()}
    seen: dict[str, int] = {}
    for number, reference in enumerate(references, start=1):
        side = "train" if number <= train else "test" if number <= train + test else "validation"
        where, photo = f"record {number}", "?"
        try:
            photo = _text(data[reference]["img_name"])
            if photo not in there:
                yield Problem("missing photo", FILE, where, f"no photo image/{photo}")
            elif seen.setdefault(photo, number) != number:
                yield Problem("two records", FILE, where, f"image/{photo} is record {seen[photo]}, too")
            else:
                size, garments = _garments(data[reference], categories, colours, number)
                yield Drawn(f"image/{photo}", side, size, garments, merged=True)
        except UNREADABLE as error:
            yield Problem("bad mask", FILE, where, f"image/{photo}: {in_short(error)}")


def _garments(
    record: Any, categories: Sequence[str], colours: Sequence[str], number: int        # noqa: ANN401
) -> tuple[tuple[int, int], list[Garment]]:
    superpixels = _whole(record["segmentation"], "superpixels")
    category = _whole(record["category_label"], "categories").ravel() - 1
    colour = _whole(record["color_label"], "colours").ravel() - 1
    if superpixels.ndim != 2 or superpixels.size == 0:
        raise ValueError(f"a map of superpixels of shape {superpixels.shape}")
    most = min(len(category), len(colour)) - 1
    for what, values, last in [
        ("superpixel", superpixels, most), ("category", category, len(categories) - 1),
        ("colour", colour, len(colours) - 1),
    ]:  # fmt: skip
        if values.min(initial=0) < 0 or values.max(initial=0) > last:
            wrong = int(values.min()) if values.min() < 0 else int(values.max())
            from_one = what != "superpixel"
            raise ValueError(f"{what} {wrong + from_one}; they go from {int(from_one)} to {last + from_one}")
    category = np.where(np.array([name == BACKGROUND for name in categories])[category], 0, category + 1)
    pixels = np.bincount(superpixels.ravel(), minlength=len(category))
    ids = np.ascontiguousarray(category.astype(np.uint8)[superpixels].T)       # (H, W) 0, or the category from 1
    size = ids.shape[0], ids.shape[1]
    garments = []
    for id, borders in borders_of_map(ids).items():
        if id > 0:
            of_colour = np.bincount(colour[category == id], weights=pixels[category == id], minlength=len(colours))
            own = () if of_people(categories[id - 1]) else _colour(of_colour.astype(np.float64), colours)
            garments.append(Garment(categories[id - 1], counts_of(borders, size), number, own))
    return size, garments


def _colour(pixels: NDArray[np.float64], colours: Sequence[str]) -> tuple[str, ...]:
    """The colour of a garment by the pixels of each; empty where it is not to be said, or of several."""
    of_any = {name: count for name, count in zip(colours, pixels, strict=True) if name != BACKGROUND}
    whole = sum(of_any.values())
    first, second = sorted(of_any, key=of_any.__getitem__, reverse=True)[:2]
    if whole < pixels.sum() / 2 or not whole:
        return ()
    if of_any[first] >= MAIN_COLOUR * whole and of_any[second] < SECOND_COLOUR * whole:
        return (first,)
    return ()


def _whole(values: Any, what: str) -> NDArray[np.int64]:            # noqa: ANN401
    """MATLAB keeps whole numbers as floats."""
    numbers = np.asarray(values[()])
    if numbers.dtype.kind not in "uif" or not np.isfinite(numbers).all() or (numbers % 1 != 0).any():
        raise ValueError(f"{what} that are no whole numbers")
    return numbers.astype(np.int64)
