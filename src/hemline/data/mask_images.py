"""Masks as pictures: what their pixel values or colours mean, and how they are read.

A **map** shows all classes of a photo: an index map (8 or 16 bits, greyscale or palette; the value is the class), or a
colour map. A **mask** shows one garment, white on black. What the values of maps mean stands in a classes file:

    classes.txt     a name a line; the first is 1, or 0 where it names the background
    classes.json    a list, likewise; or {"1": "coat"}; or, for colour maps, {"coat": [200, 0, 0]} or
                    {"coat": "#c80000"}
    classes.yaml    the same in YAML

The background is 0, or black, where no class is, and any class called so (`BACKGROUND`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hemline._reading import read_yaml
from hemline.errors import DataError, in_short

BACKGROUND = frozenset({"background", "_background_", "__background__", "bg", "bk", "null", "none"})
"""Names, in lower case, of pixels that are no class."""
UNKNOWN_NAMES = frozenset({"ignore", "ignored", "__ignore__", "void", "unknown", "unlabeled", "unlabelled"})
"""Names, in lower case, of pixels of which nothing is known."""
OF_PEOPLE = frozenset(
    {"hair", "skin", "face", "head", "neck", "torso", "arm", "hand", "leg", "person", "people", "human", "man", "men",
     "woman", "women", "boy", "girl", "child"}
)  # fmt: skip
"""Words that speak of people, not of clothes, in lower case and the singular."""
SIDES_OF_PEOPLE = frozenset({"left", "right", "l", "r", "upper", "lower"})
LISTED = 6
"""Values that a sentence lists."""


@dataclass(frozen=True)
class Classes:
    """What the pixels of maps mean."""

    file: Path
    """The classes file."""
    names: Mapping[int, str]
    """Classes by their ids; of a file of colours, ids are given in its order."""
    nothing: frozenset[int]
    """Ids of the background."""
    unknown: frozenset[int]
    """Ids of pixels of which nothing is known."""
    colours: Mapping[int, int] | None = None
    """Ids by 0xRRGGBB, where maps are of colours."""

    @property
    def known(self) -> frozenset[int]:
        """All ids that a map may hold."""
        return self.nothing | self.unknown | frozenset(self.names)


def of_people(name: str) -> bool:
    """Whether a class speaks of people alone: hair, skin, `Left-arm`. Such pixels are never an answer."""
    words = [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)]
    singular = {word if word in OF_PEOPLE else word.removesuffix("s") for word in words}
    return bool(singular & OF_PEOPLE) and singular <= OF_PEOPLE | SIDES_OF_PEOPLE


def read_classes(file: Path, ignore: int | None = None) -> Classes:
    """Read a classes file.

    Args:
        file: `.txt`, `.json` or `.yaml`.
        ignore: The id of pixels of which nothing is known, unless the file names it; None has none.

    Raises:
        DataError: it cannot be read, or is none of the forms.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
        if file.suffix == ".txt":
            data: object = [line.strip() for line in text.splitlines() if line.strip()]
        elif file.suffix == ".json":
            data = json.loads(text, object_pairs_hook=_once)
        else:
            data = read_yaml(text)
        return _classes(file, data, ignore)
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{file} is no list of classes: {in_short(error)}") from error


def read_map(file: Path, classes: Classes) -> NDArray[Any]:
    """Read a map.

    Returns:
        (H, W) ids, whole numbers of 0 or more, all of them known.

    Raises:
        ValueError: not a PNG, values that no class has, or colours where ids are due.
    """
    image = _open(file)
    if classes.colours is None:
        ids = _plane(image)
        counts = np.bincount(ids.ravel())
        strange = {int(i): int(counts[i]) for i in np.flatnonzero(counts) if int(i) not in classes.known}
        _refuse(strange, "pixel values", "{}", classes)
        return ids
    rgb = np.asarray(image.convert("RGB"), np.int32)
    packed = (rgb[..., 0] << 16) | (rgb[..., 1] << 8) | rgb[..., 2]
    ids = np.full(packed.shape, -1, np.int32)
    for colour, id in classes.colours.items():
        ids[packed == colour] = id
    if (ids < 0).any():
        colours, times = np.unique(packed[ids < 0], return_counts=True)
        _refuse(dict(zip(colours.tolist(), times.tolist(), strict=True)), "colours", "#{:06x}", classes)
    return ids.astype(np.uint16)


def read_mask(file: Path) -> NDArray[np.bool_]:
    """Read the mask of one garment.

    Returns:
        (H, W) True where the garment is; all False in a black picture.

    Raises:
        ValueError: not a PNG, or not black and one other grey.
    """
    image = _open(file)
    plane = _plane(image.convert("RGB") if image.mode == "P" else image)
    greys = np.flatnonzero(np.bincount(plane.ravel()))
    if len(greys[greys > 0]) > 1:
        raise ValueError(
            f"{len(greys)} greys ({', '.join(map(str, greys[:LISTED]))}, ...); the mask of one garment is white on "
            "black: draw its edges without smoothing, and save it as PNG, never as JPEG"
        )
    return np.asarray(plane > 0)


def _open(file: Path) -> Image.Image:
    try:
        with Image.open(file, formats=("PNG",)) as image:
            image.load()
            return image
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(
            f"not a whole PNG ({in_short(error)}); masks are PNG files: a JPEG changes the values of pixels"
        ) from error


def _plane(image: Image.Image) -> NDArray[Any]:
    """(H, W) the values of a picture of one channel, or of several that are equal."""
    pixels = np.asarray(image)
    if image.mode == "1":
        return pixels.astype(np.uint8)
    if pixels.ndim == 2:
        return pixels if pixels.dtype.itemsize <= 2 else pixels.astype(np.uint16)   # PNG has 16 bits at most
    if image.mode in ("LA", "RGBA") and (pixels[..., -1] < 255).any():
        raise ValueError("a mask that is transparent in places; lay it on black and save it without transparency")
    colours = pixels[..., :-1] if image.mode in ("LA", "RGBA") else pixels
    if (colours != colours[..., :1]).any():
        raise ValueError(
            "a picture in colours, where pixel values are the classes; save it as a greyscale or palette PNG, or give "
            "the colours in the classes file, as {coat: [200, 0, 0]}"
        )
    return np.ascontiguousarray(colours[..., 0])


def _refuse(strange: Mapping[int, int], what: str, form: str, classes: Classes) -> None:
    """Say which values no class has.

    Raises:
        ValueError: there are some.
    """
    if not strange:
        return
    most = sorted(strange, key=lambda value: (-strange[value], value))
    listed = ", ".join(f"{form.format(value)} ({strange[value]:,} pixels)" for value in most[:LISTED])
    more = f" and {len(most) - LISTED:,} more" if len(most) > LISTED else ""
    raise ValueError(
        f"{what} that no class has: {listed}{more}; name them in {classes.file.name}, or, where edges were smoothed "
        "or the file was once a JPEG, draw it without"
    )


def _classes(file: Path, data: object, ignore: int | None) -> Classes:
    if not isinstance(data, list | dict) or not data:
        raise ValueError("it holds neither a list of names, nor {id: name}, nor {name: colour}")
    if isinstance(data, dict) and all(_is_colour(value) for value in data.values()):
        colours = {_packed(value): id for id, value in enumerate(data.values(), start=1)}
        if len(colours) < len(data):
            raise ValueError("two classes have one colour")
        named = dict(enumerate(data, start=1))
        colours.setdefault(0, 0)
        return _sorted(file, named, None, colours)
    if isinstance(data, dict):
        return _sorted(file, {_id(key): name for key, name in data.items()}, ignore, None)
    names: Sequence[object] = data[1:] if data[0] == "__ignore__" else data   # labelme's list begins with it, id -1
    first = 0 if names and str(names[0]).lower() in BACKGROUND else 1
    return _sorted(file, dict(enumerate(names, start=first)), ignore, None)


def _sorted(file: Path, named: Mapping[int, Any], ignore: int | None, colours: dict[int, int] | None) -> Classes:
    """Which of the names are classes, background and unknown."""
    for name in named.values():
        if not isinstance(name, str) or not name.strip() or not name.isprintable():
            raise ValueError(f"{name!r} is no name; put names that read as something else in quotes")
    names = {id: name for id, name in named.items() if name.lower() not in BACKGROUND | UNKNOWN_NAMES}
    if not names:
        raise ValueError("it names no class")
    if twice := sorted({name for name in names.values() if list(names.values()).count(name) > 1}):
        raise ValueError(f"{', '.join(map(repr, twice))} stands twice")
    unknown = {id for id, name in named.items() if name.lower() in UNKNOWN_NAMES}
    unknown |= {ignore} - {None, *named}                  # type: ignore[arg-type]
    nothing = {id for id, name in named.items() if name.lower() in BACKGROUND} | ({0} - {*named} - unknown)
    return Classes(file, names, frozenset(nothing), frozenset(unknown), colours)


def _id(key: object) -> int:
    if isinstance(key, bool) or not re.fullmatch(r"\d{1,5}", str(key)) or int(str(key)) > 65535:
        raise ValueError(f"{key!r} is no id: ids are whole numbers from 0 to 65535, as {{1: coat}}")
    return int(str(key))


def _is_colour(value: object) -> bool:
    if isinstance(value, str):
        return re.fullmatch(r"#[0-9a-fA-F]{6}", value) is not None
    return isinstance(value, list) and len(value) == 3 and all(type(v) is int and 0 <= v <= 255 for v in value)


def _packed(value: str | Sequence[int]) -> int:
    """A colour as 0xRRGGBB."""
    red, green, blue = bytes.fromhex(value[1:]) if isinstance(value, str) else value
    return red << 16 | green << 8 | blue


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    keys = [key for key, _ in pairs]
    if twice := sorted({key for key in keys if keys.count(key) > 1}):
        raise ValueError(f"{twice[0]!r} stands twice")
    return dict(pairs)
