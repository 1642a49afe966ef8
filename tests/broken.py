"""Datasets for `hemline data check`: whole ones as published, to break one thing at a time."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SIZE = (48, 36)
NAMES = ("coat", "skirt", "shoe")
"""Categories 1, 2 and 3."""
TRAIN, VALIDATION = 12, 4


def draw(file: Path, number: int, size: tuple[int, int] = SIZE) -> None:
    """A photo of its own: coarse blocks of random colour."""
    rng = np.random.default_rng(number)
    blocks = rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(blocks).resize(size[::-1], Image.Resampling.BICUBIC).save(file, quality=95)


def box(number: int) -> list[list[float]]:
    """A polygon of 8 x 10 pixels."""
    x, y = 2.0 + number % 5, 3.0 + number % 7
    return [[x, y, x + 10, y, x + 10, y + 8, x, y + 8]]


class Coco:
    """A COCO folder with two sides and no fault; change the lists, then `save`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sides: dict[str, dict[str, Any]] = {}
        number = 0
        for side, count in (("train", TRAIN), ("val", VALIDATION)):
            categories = [{"id": i + 1, "name": name, "supercategory": "clothes"} for i, name in enumerate(NAMES)]
            self.sides[side] = {"info": {"year": 2020}, "images": [], "annotations": [], "categories": categories}
            for _ in range(count):
                self.add(side, number, [number % 3, (number + 1) % 3])
                number += 1

    def add(self, side: str, number: int, kinds: list[int]) -> list[dict[str, Any]]:
        """One photo more, with garments of these kinds; its annotations."""
        file = f"{number:03d}.jpg"
        draw(self.folder / side / file, number)
        height, width = SIZE
        self.sides[side]["images"].append({"id": number, "file_name": file, "height": height, "width": width})
        new = [
            {"id": 100 * number + i, "image_id": number, "category_id": kind + 1, "segmentation": box(number + i)}
            for i, kind in enumerate(kinds)
        ]
        self.sides[side]["annotations"] += new
        return new

    def photo(self, number: int) -> Path:
        """The file of a photo."""
        return self.folder / ("train" if number < TRAIN else "val") / f"{number:03d}.jpg"

    def file(self, side: str = "train") -> Path:
        """The JSON of a side."""
        return self.folder / f"annotations/instances_{side}.json"

    def save(self) -> Path:
        """Write the JSON files; the folder."""
        for side, content in self.sides.items():
            self.file(side).parent.mkdir(parents=True, exist_ok=True)
            self.file(side).write_text(json.dumps(content))
        return self.folder


def imaterialist(folder: Path, rows: list[str] | None = None) -> Path:
    """Kaggle's 2020 folder: 40 photos of a shirt and pants each, then `rows`."""
    height, width = SIZE
    lines = ["ImageId,EncodedPixels,Height,Width,ClassId,AttributesIds"]
    for number in range(40):
        draw(folder / f"train/{number:03d}.jpg", number)
        for kind in (0, 6):
            start = 1 + height * (2 + kind) + number % 9
            runs = " ".join(f"{start + height * column} 10" for column in range(5))
            lines.append(f"{number:03d},{runs},{height},{width},{kind},")
    (folder / "train.csv").write_text("\n".join(lines + (rows or [])) + "\n")
    return folder
