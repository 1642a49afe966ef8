"""Pseudo-masks: what a trained network draws on photos of which only a tag list is known.

    python -m hemline.pseudo WEIGHTS CCP OUT

Self-training (Lee, 2013, "Pseudo-Label") with a gate: a class is drawn only where the photo's tags name it, so what the
network confuses with something else that is worn nowhere is never learnt. `data.N.pseudo=OUT` then trains on the masks.
`OUT` holds `classes.json`, the names of the mask classes, and one PNG a photo of class numbers.

Shapes: K mask classes, H W photo.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.progress import track

from hemline.data import split_indices
from hemline.data.ccp import CCP, NOBODY, UNSURE
from hemline.errors import HemlineError
from hemline.labels import LabelSpace, load_label_space
from hemline.metadata import read_metadata
from hemline.photo import place, unplace
from hemline.runtime import open_runtime

SURE = 0.6
"""Probability, among the classes that the tags name and nobody, below which a pixel is unsure."""


def write_pseudo_maps(weights: str | Path, ccp: Path, out: Path) -> int:
    """Draw the tagged photos that train, and return how many.

    Args:
        weights: The network that draws; answers of the photo and of its mirror image are averaged.
        ccp: The folder of Clothing Co-Parsing.
        out: A folder, made if it is missing.

    Raises:
        DataError: the dataset is not laid out as published.
        WeightsError: the weights are missing or damaged.
    """
    metadata = read_metadata(Path(weights))
    space = load_label_space(metadata.labels.name)
    dataset = CCP(ccp, space, maps=False)
    answer = open_runtime(Path(weights), metadata)
    out.mkdir(parents=True, exist_ok=True)
    (out / "classes.json").write_text(json.dumps(space.mask_names), encoding="utf-8")
    indices = split_indices(dataset, "train")
    for index in track(indices, "drawing"):
        sample = dataset[index]
        canvas = place(sample.photo, metadata.canvas)
        views = np.stack([canvas.pixels, canvas.pixels[:, ::-1]]), np.stack([canvas.valid, canvas.valid[:, ::-1]])
        masks = answer(*views).masks
        logits = unplace((masks[0] + masks[1][..., ::-1]) / 2, canvas.frame, metadata.canvas)
        drawn = draw(logits, named_classes(sample.regions[0].labels, space), space.competing)
        Image.fromarray(drawn).save(out / f"{dataset.files[index].stem}.png", optimize=True)
    return len(indices)


def named_classes(labels: NDArray[np.int8], space: LabelSpace) -> list[int]:
    """The mask classes that may be drawn on a photo of labels (L,): what its tags name, and what everybody has."""
    num = len(space.categories)
    return [k for k in space.competing if k >= num or labels[k] == 1]


def draw(logits: NDArray[np.float32], classes: list[int], competing: Sequence[int]) -> NDArray[np.uint8]:
    """The likeliest of some classes at each pixel: (K, H, W) logits -> (H, W) class numbers, `NOBODY` or `UNSURE`.

    Args:
        logits: Of every class.
        classes: Those that may be drawn.
        competing: All that the network chooses among: where it sees one that may not be drawn, it is unsure of nobody.
    """
    scores = np.concatenate([np.zeros_like(logits[:1]), logits[classes]])
    odds = np.exp(scores)
    drawn: NDArray[np.uint8] = np.array([NOBODY, *classes], np.uint8)[scores.argmax(0)]
    everything = 1 + np.exp(logits[list(competing)]).sum(0)
    drawn[odds.max(0) < SURE * np.where(drawn == NOBODY, everything, odds.sum(0))] = UNSURE
    return drawn


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit("usage: python -m hemline.pseudo WEIGHTS CCP OUT")
    try:
        print(write_pseudo_maps(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])), "photos drawn")
    except HemlineError as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        sys.exit(f"error: {error.filename}: cannot be read or written: {error.strerror or error}")
