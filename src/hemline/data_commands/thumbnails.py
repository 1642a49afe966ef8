"""Small pictures of what labels look like, for a page: of a drawn category its garment, else the whole photo."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from io import BytesIO

import numpy as np
from PIL import Image

from hemline.data import Dataset
from hemline.data.loading import Source
from hemline.data.sample import Sample
from hemline.data_commands.sheet import Thing, annotated, things_of
from hemline.data_commands.stats import SetStats
from hemline.data_commands.visit import visit
from hemline.errors import HemlineError
from hemline.labels import LabelSpace

WIDTH, HEIGHT = 135, 180
"""Pixels of a picture."""

Strip = list[tuple[str, bytes]]
"""(key of the photo, JPEG) of some photos."""


def strips(part: SetStats, source: Source, space: LabelSpace, *, each: int, workers: int) -> dict[str, Strip]:
    """Pictures of each category that a dataset shows.

    Args:
        part: What the dataset holds: its examples are taken.
        source: The dataset.
        space: The label space.
        each: Pictures of a category, at most.
        workers: Processes that read photos.

    Returns:
        Pictures by category; photos that cannot be read are left out.
    """
    position = {key: index for index, key in enumerate(source.dataset.keys)}
    wanted: dict[int, list[int]] = {}
    for number in range(len(space.categories)):
        for key in part.labels[number].examples[:each]:
            wanted.setdefault(position[key], []).append(number)
    found: dict[tuple[int, str], bytes] = {}
    indices = sorted(wanted)
    look = partial(_pictures, wanted=wanted, space=space)
    for index, pictures in zip(indices, visit(source.dataset, indices, look, workers=workers), strict=True):
        if not isinstance(pictures, HemlineError):
            key = source.dataset.keys[index]
            found.update({(number, key): picture for number, picture in zip(wanted[index], pictures, strict=True)})
    strips = {
        category.name: [
            (key, found[number, key]) for key in part.labels[number].examples[:each] if (number, key) in found
        ]
        for number, category in enumerate(space.categories)
    }
    return {name: strip for name, strip in strips.items() if strip}


def _pictures(dataset: Dataset, index: int, *, wanted: dict[int, list[int]], space: LabelSpace) -> list[bytes]:
    sample = dataset[index]
    things = things_of(sample, space)
    return [_jpeg(_picture(sample, [t for t in things if number in t.categories])) for number in wanted[index]]


def _picture(sample: Sample, things: list[Thing]) -> Image.Image:
    """The largest of these things and what is around it, or, without one, the middle of the photo."""
    height, width = sample.segments.shape
    top, bottom, left, right = 0.0, float(height), 0.0, float(width)
    if things:
        rows, columns = np.flatnonzero(things[0].mask.any(1)), np.flatnonzero(things[0].mask.any(0))
        top, bottom, left, right = float(rows[0]), rows[-1] + 1.0, float(columns[0]), columns[-1] + 1.0
    tall = max(1.25 * (bottom - top), 1.25 * (right - left) * HEIGHT / WIDTH, height / 5)
    tall = min(tall, height, width * HEIGHT / WIDTH)
    high, wide = max(1, round(tall)), max(1, min(width, round(tall * WIDTH / HEIGHT)))
    y = int(np.clip((top + bottom - high) / 2, 0, height - high))
    x = int(np.clip((left + right - wide) / 2, 0, width - wide))
    crop = slice(y, y + high), slice(x, x + wide)
    cut = replace(
        sample, photo=np.ascontiguousarray(sample.photo[crop]), segments=np.zeros((high, wide), np.uint8),
        targets=sample.targets[:1],
    )  # fmt: skip
    shown = [replace(thing, mask=thing.mask[crop]) for thing in things]
    return annotated(cut, [thing for thing in shown if thing.mask.any()], (WIDTH, HEIGHT), numbers=False)


def _jpeg(picture: Image.Image) -> bytes:
    content = BytesIO()
    picture.save(content, "JPEG", quality=74, optimize=True)
    return content.getvalue()
