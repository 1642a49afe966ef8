"""How well the item of a flat product shot is cut out: IoU with 40 masks drawn by hand.

    uv run python benchmarks/flat_masks.py PATH/TO/clothing-dataset [WEIGHTS]

The photos are 40 of clothing-dataset's validation photos, drawn by seed; their outlines, drawn by eye, stand in
`flat_masks.json` in coordinates from 0 to 1. `cut out` is `hemline.foreground`, which training masks come from; where
weights are named, `network` is the union of the garments that they answer. The baseline is the middle of the photo: a
box of the mean area of the masks.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from hemline import Tagger
from hemline.foreground import foreground
from hemline.photo import read_photo


def drawn_mask(polygons: list[dict[str, object]], height: int, width: int) -> NDArray[np.bool_]:
    """(H, W) of what was drawn by hand: outlines, less their holes."""
    mask = np.zeros((height, width), np.uint8)
    for hole in (False, True):
        for polygon in polygons:
            if polygon["hole"] is hole:
                points = np.array(polygon["points"]) * [width, height] * 16 - 8
                cv2.fillPoly(mask, [points.round().astype(np.int32)], 0 if hole else 1, shift=4)
    return mask > 0


def iou(one: NDArray[np.bool_], two: NDArray[np.bool_]) -> float:
    """Intersection over union."""
    return float((one & two).sum() / max(1, (one | two).sum()))


def main(folder: Path, weights: str | None) -> None:
    """Print the table."""
    truth = json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8"))
    photos = {name: read_photo(folder / "images" / f"{name}.jpg") for name in truth}
    masks = {name: drawn_mask(truth[name], *photo.shape[:2]) for name, photo in photos.items()}
    side = np.sqrt(np.mean([mask.mean() for mask in masks.values()]))
    tagger = None if weights is None else Tagger.load(None if weights == "default" else weights)
    scores: dict[str, list[float]] = {"middle": [], "cut out": [], "network": []}
    empty = 0
    for name, photo in photos.items():
        height, width = photo.shape[:2]
        middle = np.zeros((height, width), bool)
        top, left = round(height * (1 - side) / 2), round(width * (1 - side) / 2)
        middle[top : height - top, left : width - left] = True
        scores["middle"].append(iou(middle, masks[name]))
        cut = foreground(photo)
        empty += cut is None
        if cut is not None:
            scores["cut out"].append(iou(cut, masks[name]))
        if tagger is not None:
            found = np.zeros((height, width), bool)
            for garment in tagger(photo).garments:
                if garment.mask is not None:
                    found |= garment.mask
            scores["network"].append(iou(found, masks[name]))
    for way, values in scores.items():
        if values:
            low, mid, high = np.quantile(values, [0.1, 0.5, 0.9])
            spread = f"median {mid:.3f}  80 % {low:.3f} to {high:.3f}"
            print(f"{way:8} {len(values)} photos  IoU mean {np.mean(values):.3f}  {spread}")
    print(f"cut out gives up on {empty} of {len(photos)} photos, which then train without a mask")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) == 3 else None)
