"""Four photos of the toy label space whose every count can be told by hand, as a dataset and as a recipe's source.

    photo   side         drawn            the photo as a whole
    0       train        coat 1/2, shoe   coat, shoe, stripe, winter; no cape, no dot
    1       train        coat 1/2         coat, dot; no shoe, no cape, no stripe; winter unknown
    2       validation   nothing          shoe; the rest unknown
    3       test         shoe 1/4         shoe; no coat
"""

import numpy as np

from hemline.config import Config, Data
from hemline.data.loading import Source
from hemline.data.sample import WHOLE_PHOTO, Region, Sample
from hemline.errors import PhotoError
from tests.toy import COAT, NUM_MASKS, SHOE, SIDE_TO_SIDE, Toy, picture, said

LABELS = [
    said(coat=1, shoe=1, cape=0, stripe=1, dot=0, winter=1),
    said(coat=1, shoe=0, cape=0, stripe=0, dot=1),
    said(shoe=1),
    said(coat=0, shoe=1),
]
COAT_ROWS, SHOE_ROWS = slice(8, 24), slice(24, 32)


def samples() -> list[Sample]:
    both = picture(0, (COAT, COAT_ROWS, SIDE_TO_SIDE), (SHOE, SHOE_ROWS, SIDE_TO_SIDE))
    both.regions = [
        Region(WHOLE_PHOTO, LABELS[0]),
        Region((1,), said(coat=1, shoe=0, stripe=1, dot=0)),
        Region((2,), said(coat=0, shoe=1)),
    ]
    coat = picture(1, (COAT, COAT_ROWS, SIDE_TO_SIDE))
    coat.regions = [Region(WHOLE_PHOTO, LABELS[1]), Region((1,), said(coat=1, dot=1, stripe=0))]
    bare = picture(2, size=(64, 32))
    bare.targets = np.full((1, NUM_MASKS), -1, np.int8)
    bare.regions = [Region(WHOLE_PHOTO, LABELS[2])]
    shoe = picture(3, (SHOE, SHOE_ROWS, SIDE_TO_SIDE))
    shoe.regions = [Region(WHOLE_PHOTO, LABELS[3]), Region((1,), said(shoe=1))]
    return [both, coat, bare, shoe]


class Wardrobe(Toy):
    """The photos; those in `damaged` cannot be read."""

    terms = "none <at all>"

    def __init__(self, damaged: tuple[int, ...] = ()) -> None:
        super().__init__(samples())
        self.sides = ["train", "train", "validation", "test"]
        self.groups = ["a", "a", "b", "c"]
        self.damaged = damaged

    def __getitem__(self, index: int, /) -> Sample:
        if index in self.damaged:
            raise PhotoError(f"photo {index} is damaged")
        return self.samples[index]

    def photo_labels(self, index: int, /):
        return LABELS[index]


def recipe(*names: str) -> Config:
    return Config(name="toy", epochs=1, workers=0, data=tuple(Data(name=name) for name in names or ("wardrobe",)))


def source(dataset: Toy | None = None) -> Source:
    return Source(dataset or Wardrobe(), [0, 1], np.array([1.0, 2.5]), [2])
