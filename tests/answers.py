"""Makers of answers: a small label space, logits by hand, and what must hold of every answer."""

import json
import math
from importlib.resources import files
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # its types are a package of their own
import numpy as np
from numpy.typing import NDArray

from hemline.labels import LabelSpace
from hemline.masks import MASK_FORMATS
from hemline.metadata import Metadata
from hemline.photo import Frame
from hemline.result import Result, read_answer

Floats = NDArray[np.float32]
UPPER = ["coat", "dress"]
SPACE = LabelSpace.from_dict(
    {
        "name": "tiny",
        "version": 1,
        "categories": [
            {"id": 9, "name": "coat", "supercategory": "wholebody", "outfit_part": "whole body"},
            {"id": 10, "name": "dress", "supercategory": "wholebody", "outfit_part": "whole body"},
            {"id": 3, "name": "cardigan", "supercategory": "x", "outfit_part": "upper body", "shown": False},
            {"id": 19, "name": "belt", "supercategory": "waist", "outfit_part": "accessories"},
            {"id": 31, "name": "sleeve", "supercategory": "garment parts"},
        ],
        "pixels": ["hair"],
        "groups": [
            {
                "name": "sleeve length",
                "choice": "one",
                "carried_by": UPPER,
                "labels": [{"id": 156, "name": "sleeveless"}, {"id": 160, "name": "wrist-length"}],
            },
            {
                "name": "secret",
                "choice": "many",
                "shown": False,
                "labels": [{"id": "s", "name": "never said"}],
            },
            {
                "name": "pattern",
                "choice": "many",
                "labels": [{"id": 317, "name": "plain"}, {"id": "graphic", "name": "graphic"}],
            },
        ],
    }
)
K, L = SPACE.num_masks, SPACE.num_labels
COAT, DRESS, CARDIGAN, BELT, SLEEVE, HAIR = range(6)
SLEEVELESS, WRIST, SECRET, PLAIN, GRAPHIC = range(5, 10)


def metadata(masks: Any = 0.5, labels: Any = 0.5) -> Metadata:
    full = (np.full(K, 1.0) * masks).tolist(), (np.full(L, 1.0) * labels).tolist()
    return Metadata("tiny", SPACE, (32, 32), tuple(full[0]), tuple(full[1]))


def answer(
    masks: Floats, labels: Floats | None = None, meta: Metadata | None = None, **options: Any
) -> Result:
    """Read logits whose canvas is the photo itself, one cell a pixel."""
    height, width = masks.shape[1:]
    labels = np.full((1 + K, L), -5.0, np.float32) if labels is None else labels
    photo = np.full((height, width, 3), (200, 30, 30), np.uint8)
    frame = Frame(0, 0, height, width, height, width)
    return read_answer(masks, labels, (height, width), frame, meta or metadata(), photo, name="p.jpg", **options)


def nothing(height: int = 40, width: int = 30) -> Floats:
    return np.full((K, height, width), -4.0, np.float32)


def field(rng: np.random.Generator, cells: tuple[int, int], loud: float) -> Floats:
    return (rng.normal(size=(K, *cells)) * loud - 0.5).astype(np.float32)


def slow_sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x > -700 else 0.0


SCHEMA = json.loads(files("hemline").joinpath("result.schema.json").read_text(encoding="utf-8"))
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def validate(result: Result) -> None:
    for form in MASK_FORMATS:
        VALIDATOR.validate(json.loads(json.dumps([result.to_dict(form)], allow_nan=False)))
