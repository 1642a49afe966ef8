"""What was drawn on photos, packed as the columns of `Instances` while the photos are read.

Masks are kept as COCO's compressed counts, some ten kilobytes a photo, in one file beside the columns;
`borders.borders_of_rle` reads them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from hemline.borders import Borders, rle_of_borders
from hemline.data.instances import Instances
from hemline.data.problems import Problem


class Garment(NamedTuple):
    """One thing drawn on a photo."""

    word: str
    """The set's word for it."""
    counts: bytes
    """Its mask."""
    row: int
    """Its id or position in its file."""
    attributes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Drawn:
    """A photo and what was drawn on it."""

    photo: str
    """Its path, relative to the dataset's folder."""
    side: str
    """`train`, `validation` or `test`."""
    size: tuple[int, int]
    """(height, width) of the masks."""
    garments: Sequence[Garment]
    merged: bool = False
    """On a map of classes: a garment is all there is of its kind."""


def borders_of_map(ids: NDArray[Any]) -> dict[int, Borders]:
    """Borders of each id in a map, (H, W) of whole numbers, in one pass."""
    flat = cv2.transpose(np.ascontiguousarray(ids)).ravel()
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    ends = np.append(starts[1:], flat.size)
    values = flat[starts]
    return {
        int(id): np.stack([starts[values == id], ends[values == id]], axis=1).ravel() for id in np.unique(values)
    }


def counts_of(borders: Borders, size: tuple[int, int]) -> bytes:
    """A mask as `Garment` holds it."""
    counts: bytes = rle_of_borders(borders, size)["counts"]  # type: ignore[assignment]
    return counts


def pack(
    photos: Iterable[Drawn | Problem],
    masks: Path,
    *,
    categories: Sequence[str],
    attributes: Sequence[str] = (),
    problems: Sequence[Problem] = (),
) -> Instances:
    """Write the masks of photos to a file, and all else to columns.

    Args:
        photos: What was drawn, or what is wrong with a photo, one by one.
        masks: The file to write masks to.
        categories: The words of garments.
        attributes: The words of attributes.
        problems: What was wrong before any photo was read.
    """
    category = _places(categories)
    attribute = _places(attributes)
    whole: list[Drawn] = []
    wrong = list(problems)
    spans: list[tuple[int, int, int]] = []
    with masks.open("wb") as file:
        for drawn in _whole(photos, wrong):
            for garment in drawn.garments:
                spans.append((0, file.tell(), len(garment.counts)))
                file.write(garment.counts)
            light = [garment._replace(counts=b"") for garment in drawn.garments]
            whole.append(replace(drawn, garments=light))
    garments = [garment for drawn in whole for garment in drawn.garments]
    return Instances(
        photos=[drawn.photo for drawn in whole],
        sides=[drawn.side for drawn in whole],
        sizes=np.array([drawn.size for drawn in whole], np.int32).reshape(-1, 2),
        first=_firsts([len(drawn.garments) for drawn in whole]),
        category=np.array([category[garment.word] for garment in garments], np.int32),
        attribute_first=_firsts([len(garment.attributes) for garment in garments]),
        attribute=np.array([attribute[word] for garment in garments for word in garment.attributes], np.int32),
        mask=np.array(spans, np.int64).reshape(-1, 3),
        row=np.array([garment.row for garment in garments], np.int64),
        mask_files=[str(masks)],
        categories=list(categories),
        attributes=list(attributes),
        problems=wrong,
        merged=np.array([drawn.merged for drawn in whole for _ in drawn.garments], np.bool_),
    )


def _whole(photos: Iterable[Drawn | Problem], wrong: list[Problem]) -> Iterator[Drawn]:
    for drawn in photos:
        if isinstance(drawn, Problem):
            wrong.append(drawn)
        else:
            yield drawn


def _places(words: Sequence[str]) -> Mapping[str, int]:
    return {word: place for place, word in enumerate(words)}


def _firsts(numbers: Sequence[int]) -> NDArray[np.int64]:
    """Where each of several stretches begins, and where the last ends."""
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(numbers, dtype=np.int64)])
