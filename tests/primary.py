"""A tagger whose network is so simple that its answers can be told by eye, and photos for it."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hemline.labels import LabelSpace
from hemline.metadata import Metadata
from hemline.runtime import Answer
from hemline.tagger import Tagger

SPACE = LabelSpace.from_dict(
    {
        "name": "primary",
        "version": 1,
        "categories": [
            {"id": 4, "name": "jacket", "supercategory": "outerwear", "outfit_part": "upper body"},
            {"id": 6, "name": "pants, jeans", "supercategory": "lower", "outfit_part": "lower body"},
            {"id": 14, "name": "hat", "supercategory": "head", "outfit_part": "accessories"},
        ],
        "pixels": ["skin"],
        "groups": [
            {
                "name": "textile pattern",
                "choice": "one",
                "labels": [{"id": 317, "name": "plain"}, {"id": 316, "name": "striped"}],
            }
        ],
    }
)


class ColourRuntime:
    """A network that calls pure red a plain jacket, pure green striped pants, pure blue a plain hat."""

    name = "colours"
    device = "by eye"
    dtype = "f32"

    def __init__(self) -> None:
        self.batches: list[int] = []

    def __call__(self, pixels: NDArray[np.uint8], valid: NDArray[np.uint8]) -> Answer:
        self.batches.append(len(pixels))
        cells = pixels[:, 2::4, 2::4].astype(int)  # (B, h, w, 3)
        strong = cells.max(3) - np.median(cells, 3) > 80
        masks = np.full((len(pixels), 4, *cells.shape[1:3]), -6, np.float32)
        labels = np.full((len(pixels), 5, 5), -6, np.float32)
        for k in range(3):
            there = strong & (cells.argmax(3) == k) & (valid[:, 2::4, 2::4] == 1)  # (B, h, w)
            masks[:, k][there] = 6
            labels[there.any((1, 2)), 0, k] = 3
            labels[:, 1 + k, 4 if k == 1 else 3] = 2
        return Answer(masks, labels)


def colour_tagger() -> Tagger:
    """A tagger on a 64 x 64 canvas."""
    return Tagger(ColourRuntime(), Metadata("primary", SPACE, (64, 64), (0.5,) * 4, (0.5,) * 5))


def paint(path: Path, *colours: str, size: tuple[int, int] = (48, 60)) -> Path:
    """Write an image of coloured bands, top to bottom, on grey."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("RGB", size, "grey")
    for i, colour in enumerate(colours):
        image.paste(colour, (8, 4 + 16 * i, size[0] - 8, 18 + 16 * i))
    image.save(path)
    return path
