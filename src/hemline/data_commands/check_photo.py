"""What is wrong with one photo and what was drawn or said of it: looked at in a worker, for `hemline data check`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hemline.borders import area
from hemline.data import Dataset
from hemline.data.instances import InstanceSet
from hemline.data.problems import Finding, Problem
from hemline.data.sample import UNKNOWN, WHOLE_PHOTO, Sample
from hemline.data_commands.duplicates import Look, look_of
from hemline.errors import DataError, PhotoError
from hemline.labels import LabelSpace

FEW_PIXELS = 16
"""Garments of fewer pixels are too small to be seen."""
OUTSIDE = 2.0
"""Pixels by which a polygon may leave the photo: publishers round."""


@dataclass
class Seen:
    """What was seen of one photo."""

    labels: NDArray[np.int8]
    """(L,) what is known of the photo and its garments: 1 where any of them shows it, 0 where only noes were said."""
    findings: list[Finding] = field(default_factory=list)
    digest: bytes | None = None
    """A hash of its file's bytes."""
    look: Look | None = None
    """None where it cannot be read."""
    garments: int = 0
    """Garments that are drawn or spoken of apart from the photo."""


def photo_file(dataset: Dataset, index: int) -> Path | None:
    """The file of a photo, None where it has none."""
    find = getattr(dataset, "photo_file", None)
    return None if find is None else Path(find(index))


def look_at(dataset: Dataset, index: int, *, name: str, space: LabelSpace) -> Seen:
    """Read one photo and all that is said of it.

    Args:
        dataset: The dataset, opened to skip what is damaged.
        index: The photo's position.
        name: The dataset's name.
        space: The label space it speaks in.
    """
    file = photo_file(dataset, index)
    where = str(file) if file else dataset.keys[index]
    seen = Seen(np.full(space.num_labels, UNKNOWN, np.int8))

    def note(severity: Literal["error", "warning"], kind: str, what: str, row: str = "", of: str = where) -> None:
        seen.findings.append(Finding(severity, name, Problem(kind, of, row, what)))

    try:
        sample = dataset[index]
    except PhotoError as error:
        note("error", "unreadable photo", str(error).removeprefix(f"{where}: "))
    except DataError as error:
        note("error", "unusable labels", str(error))
    else:
        seen.look = look_of(sample.photo)
        seen.digest = _digest(file)
        seen.labels = np.max([seen.labels, *(region.labels for region in sample.regions)], axis=0)
        seen.garments = sum(region.segments != WHOLE_PHOTO for region in sample.regions)
        if _nothing_known(sample, seen.labels):
            note("warning", "no label", "nothing is known of it: it teaches nothing")
    if isinstance(dataset, InstanceSet):
        seen.garments = len(dataset.of_photo(index))
        if not seen.garments:
            note("warning", "no label", "no garment is drawn in it; leave it out unless it shows none")
        seen.findings += [Finding(severity, name, problem) for severity, problem in _of_garments(dataset, index, space)]
    elif seen.look is not None:
        for severity, kind, what in _of_regions(sample, space):
            note(severity, kind, what)
    return seen


def _nothing_known(sample: Sample, labels: NDArray[np.int8]) -> bool:
    either = any(region.one_of for region in sample.regions) or bool((sample.targets != UNKNOWN).any())
    return not either and bool((labels == UNKNOWN).all())


def _of_garments(
    dataset: InstanceSet, index: int, space: LabelSpace
) -> Iterator[tuple[Literal["error", "warning"], Problem]]:
    """What is wrong with the masks and attributes of a photo's garments."""
    height, width = dataset.size_of(index)
    for number in dataset.of_photo(index):
        file, row = dataset.place_of(number)
        word = dataset.index.categories[dataset.index.category[number]]
        try:
            borders = dataset.borders(number)
        except DataError as error:
            yield "error", Problem("bad mask", file, row, f"the mask of {word}: {error.__cause__ or error}")
            continue
        drawn = None if borders is None else area(borders)
        if dataset.in_json and (span := _outside(dataset.mask_text(number), (height, width))):
            what = f"the mask of {word} goes from {span} on a photo of {height} x {width}"
            yield "warning" if drawn else "error", Problem("mask outside the photo", file, row, what)
        elif drawn == 0:
            yield "error", Problem("empty mask", file, row, f"the mask of {word} has no pixel")
        elif drawn is not None and drawn < FEW_PIXELS:
            yield "warning", Problem("tiny mask", file, row, f"the mask of {word} has {_pixels(drawn)}")
        for what in _two_of_one(dataset.labels(number), space):
            yield "warning", Problem("contradicting labels", file, row, f"{word} is {what}")


def _outside(text: bytes, size: tuple[int, int]) -> str:
    """From where to where the polygons of a mask reach, if that is outside its photo; else nothing."""
    if not text.lstrip().startswith(b"["):                # runs cannot leave the photo: they would be a bad mask
        return ""
    spans = []
    for start, axis in ((1, "row"), (0, "column")):
        values = [x for polygon in json.loads(text) if isinstance(polygon, list) for x in polygon[start::2]]
        if values and (min(values) < -OUTSIDE or max(values) > size[0 if start else 1] + OUTSIDE):
            spans.append(f"{axis} {min(values):g} to {max(values):g}")
    return " and ".join(spans)


def _of_regions(sample: Sample, space: LabelSpace) -> Iterator[tuple[Literal["error", "warning"], str, str]]:
    """What is wrong with the regions of a sample whose masks are a map."""
    drawn = any(region.drawn for region in sample.regions)
    counts = np.bincount(sample.segments.ravel(), minlength=len(sample.targets)) if drawn else np.zeros(0, np.intp)
    whole = np.full(space.num_labels, UNKNOWN, np.int8)
    for region in sample.regions:
        if region.segments == WHOLE_PHOTO:
            np.maximum(whole, region.labels, out=whole)
    for region in sample.regions:
        if region.segments == WHOLE_PHOTO or region.doubt:
            continue
        name = _name(region.labels, space)
        pixels = int(counts[list(region.segments)].sum()) if region.drawn else FEW_PIXELS
        if pixels < FEW_PIXELS:
            yield "warning", "tiny mask", f"{name} has {_pixels(pixels)}"
        for what in _two_of_one(region.labels, space):
            yield "warning", "contradicting labels", f"{name} is {what}"
        for label in np.flatnonzero((region.labels == 1) & (whole == 0)):
            yield "warning", "contradicting labels", f"{name} is {label_names(space)[label]}, and the photo is not"


def _two_of_one(labels: NDArray[np.int8], space: LabelSpace) -> Iterator[str]:
    """Two values of a group that has one at most."""
    for group in space.groups:
        yes = [label.name for label in group.labels if labels[label.index] == 1]
        if group.choice == "one" and len(yes) > 1:
            yield f"{' and '.join(yes)}: of {group.name} a garment has one"


def label_names(space: LabelSpace) -> list[str]:
    """(L,) the names of the label channels."""
    return [category.name for category in space.categories] + [label.name for label in space.labels]


def _pixels(count: int) -> str:
    return "1 pixel" if count == 1 else f"{count} pixels"


def _name(labels: NDArray[np.int8], space: LabelSpace) -> str:
    return next((category.name for category in space.categories if labels[category.index] == 1), "a garment")


def _digest(file: Path | None) -> bytes | None:
    try:
        return None if file is None else hashlib.blake2b(file.read_bytes(), digest_size=16).digest()
    except OSError:                                       # it went away since it was read
        return None
