"""A label space, photos and an answerer so small that every figure can be told in advance.

Boxes of plain colours are the garments; `Oracle` answers by colour, and may be blind to some.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hemline.data.sample import WHOLE_PHOTO, Region, Sample
from hemline.evaluate import SetReport, score
from hemline.labels import LabelSpace
from hemline.metadata import Metadata
from hemline.runtime import Answer

SPACE = LabelSpace.from_dict(
    {
        "name": "toy",
        "version": 1,
        "categories": [
            {"id": 0, "name": "coat", "supercategory": "body", "outfit_part": "whole body"},
            {"id": 1, "name": "shoe", "supercategory": "feet", "outfit_part": "feet"},
            {"id": 2, "name": "cape", "supercategory": "body", "outfit_part": "whole body", "shown": False},
        ],
        "pixels": ["hair"],
        "groups": [
            {"name": "pattern", "choice": "one", "carried_by": ["coat"],
             "labels": [{"id": 0, "name": "stripe"}, {"id": 1, "name": "dot"}]},
            {"name": "season", "choice": "many", "labels": [{"id": 0, "name": "winter"}]},
        ],
    }
)  # fmt: skip
COAT, SHOE, CAPE, HAIR = range(4)                # mask channels
STRIPE, DOT, WINTER = 3, 4, 5                    # label channels, after the three categories
NUM_MASKS, NUM_LABELS = 4, 6
CANVAS = (32, 32)
COLOURS = {COAT: (200, 0, 0), SHOE: (0, 200, 0), HAIR: (200, 200, 0), CAPE: (0, 200, 200)}
UNKNOWN_LABELS = np.full(NUM_LABELS, -1, np.int8)


def row(*yes: int, unknown: tuple[int, ...] = ()) -> NDArray[np.int8]:
    """(K,) what a segment says: these classes, not the others."""
    target = np.zeros(NUM_MASKS, np.int8)
    target[list(yes)], target[list(unknown)] = 1, -1
    return target


def said(**labels: int) -> NDArray[np.int8]:
    """(L,) what a region's labels say; the others are unknown."""
    known = UNKNOWN_LABELS.copy()
    names = {"coat": COAT, "shoe": SHOE, "cape": CAPE, "stripe": STRIPE, "dot": DOT, "winter": WINTER}
    for name, value in labels.items():
        known[names[name]] = value
    return known


def picture(number: int, *boxes: tuple[int, slice, slice], size: tuple[int, int] = CANVAS) -> Sample:
    """A photo with boxes of a class's colour on a background whose blue is the photo's number.

    Segment 0 is background, segment 1 + i the box i. Boxes that run from side to side come back exactly: half way
    between two cells, logits +4 and -4 meet at 0; at a corner they do not.
    """
    photo = np.zeros((*size, 3), np.uint8)
    photo[..., 2] = number
    segments = np.zeros(size, np.uint8)
    for i, (k, rows, columns) in enumerate(boxes, start=1):
        photo[rows, columns], segments[rows, columns] = COLOURS[k], i
    targets = np.stack([row(), *(row(k) for k, _, _ in boxes)])
    return Sample(photo, segments, targets, key=f"toy/{number}")


class Toy:
    """Samples, as a dataset."""

    terms = "none"

    def __init__(self, samples: list[Sample]) -> None:
        self.samples = samples
        self.keys = self.groups = [sample.key for sample in samples]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int, /) -> Sample:
        return self.samples[index]

    def photo_labels(self, index: int, /) -> NDArray[np.int8]:
        return UNKNOWN_LABELS


class Oracle:
    """Answers by colour: logit +4 where a cell has the class's colour, else -4; labels by the photo's number."""

    name, device, dtype = "oracle", "cpu", "f32"

    def __init__(
        self, labels: Callable[[int], NDArray[np.float32]] | None = None, *, blind: tuple[int, ...] = ()
    ) -> None:
        self.labels = labels or (lambda _: np.zeros((1 + NUM_MASKS, NUM_LABELS), np.float32))
        self.blind = blind
        self.batches: list[int] = []

    def __call__(self, pixels: NDArray[np.uint8], valid: NDArray[np.uint8]) -> Answer:
        self.batches.append(len(pixels))
        assert pixels.shape[1:] == (*CANVAS, 3)
        assert valid.shape[1:] == CANVAS
        cells = pixels[:, 2::4, 2::4].astype(int)
        masks = np.full((len(pixels), NUM_MASKS, CANVAS[0] // 4, CANVAS[1] // 4), -4, np.float32)
        for k, colour in COLOURS.items():
            if k not in self.blind:
                masks[:, k][(abs(cells - colour) < 60).all(-1)] = 4
        dark = (pixels[..., :2].max(-1) < 60) & (valid > 0)
        numbers = [int(np.median(photo[where][:, 2])) for photo, where in zip(pixels, dark, strict=True)]
        return Answer(masks, np.stack([self.labels(number) for number in numbers]))


def metadata(**changes: Any) -> Metadata:
    settings: dict[str, Any] = {
        "name": "toy weights",
        "labels": SPACE,
        "canvas": CANVAS,
        "mask_thresholds": (0.5,) * NUM_MASKS,
        "label_thresholds": (0.5,) * NUM_LABELS,
    }
    return Metadata(**settings | changes)


def measure(samples: list[Sample], answer: Any = None, **options: Any) -> SetReport:
    about = metadata(**options.pop("metadata", {}))
    return score(Toy(samples), answer or Oracle(), about, name=options.pop("name", "toy"), **options)


SIDE_TO_SIDE = slice(0, 32)


def coat_and_shoe(number: int) -> Sample:
    """8 rows of background, 16 of coat, 8 of shoe, 32 pixels wide."""
    return picture(number, (COAT, slice(8, 24), SIDE_TO_SIDE), (SHOE, slice(24, 32), SIDE_TO_SIDE))


def logits(**rows: list[float]) -> NDArray[np.float32]:
    """(1 + K, L) label logits by what they are of: photo, coat, shoe, cape, hair; 0 elsewhere."""
    answer = np.zeros((1 + NUM_MASKS, NUM_LABELS), np.float32)
    for name, values in rows.items():
        answer[["photo", "coat", "shoe", "cape", "hair"].index(name)] = values
    return answer


def striped(number: int, stripe: int) -> Sample:
    sample = coat_and_shoe(number)
    sample.regions = [
        Region((1,), said(coat=1, stripe=stripe, dot=1 - stripe)),
        Region((2,), said(shoe=1, stripe=0, winter=stripe)),
    ]
    return sample


def many() -> list[Sample]:
    samples = []
    for number in range(1, 41):
        sample = striped(number, number % 2)
        sample.regions.append(Region(WHOLE_PHOTO, said(winter=number % 2, coat=1)))
        samples.append(sample)
    return samples


def right(number: int) -> NDArray[np.float32]:
    sign = 2.0 if number % 2 else -2.0
    return logits(photo=[5, 0, 0, 0, 0, sign], coat=[0, 0, 0, sign, -sign, 0], shoe=[0, 0, 0, 0, 0, sign])


def write_weights(path: Path, about: Metadata) -> Path:
    """A weights file that holds its metadata and no weights."""
    header = json.dumps({"__metadata__": {"hemline": about.to_json()}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    return path
