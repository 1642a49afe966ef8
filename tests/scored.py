"""Photos with garments drawn and found, so small that their scores can be told in advance, and random ones."""

import numpy as np
from hypothesis import strategies as st
from pycocotools import mask as coco  # type: ignore[import-untyped]

from hemline.instances import Instance, ScoredPhoto, Vocabulary

SIZE = (128, 128)
STEP = 8
"""Random boxes stand on a grid of so many pixels: equal overlaps are common, and areas fall on both sides of 32 x 32
and 96 x 96."""
VOCABULARY = Vocabulary(
    {3: "coat", 5: "dress", 8: "bag", 9: "sleeve"},
    {"a": "dotted", "b": "striped", 30: "long", 31: "short"},
    described=frozenset([3, 9]),
    groups={"outerwear": frozenset([3, 5]), "accessory": frozenset([8]), "part": frozenset([9])},
)


def mask_of(*boxes, size=SIZE):
    """The union of boxes (x, y, width, height) as RLE."""
    pixels = np.zeros(size, np.uint8, order="F")
    for x, y, width, height in boxes:
        pixels[y : y + height, x : x + width] = 1
    return coco.encode(pixels)


def garment(box, attributes=(), *, category=3, score=1.0, crowd=False, mask=True, size=SIZE):
    """An instance that fills its box (x, y, width, height)."""
    drawn = mask_of(box, size=size) if mask else None
    return Instance(category, drawn, tuple(map(float, box)), frozenset(attributes), score, crowd)


def photo(truth, found, name="a.jpg", size=SIZE):
    return ScoredPhoto(name, size, list(truth), list(found))


@st.composite
def instances(draw, *, drawn):
    cells = [draw(st.integers(0, SIZE[0] // STEP - 1)) for _ in range(2)]
    box = (*(cell * STEP for cell in cells), *(STEP * draw(st.integers(1, SIZE[0] // STEP - cell)) for cell in cells))
    hole = draw(st.booleans())                           # then the mask is an L, and its area not the box's
    half = (box[0], box[1], box[2] // 2, box[3]), (box[0], box[1], box[2], max(1, box[3] // 2))
    return Instance(
        draw(st.sampled_from([3, 3, 3, 5, 5, 8, 9, 77])),
        mask_of(*half) if hole else mask_of(box),
        tuple(map(float, box)),
        frozenset(draw(st.sets(st.sampled_from(["a", "b", 30, 31, "unheard of"]), max_size=3))),
        1.0 if drawn else draw(st.integers(1, 4)) / 4,
        drawn and draw(st.integers(0, 7)) == 0,
    )


@st.composite
def photos(draw):
    """Up to three photos; most answers lie on a truth's grid, many of them are copies of a truth."""
    made = []
    for number in range(draw(st.integers(0, 3))):
        truth = draw(st.lists(instances(drawn=True), max_size=5))
        found = draw(st.lists(instances(drawn=False), max_size=5))
        for one in truth:
            if draw(st.booleans()):
                said = one.attributes ^ draw(st.sampled_from([frozenset(), frozenset("a"), frozenset([30])]))
                found.append(Instance(one.category, one.mask, one.box, said, draw(st.integers(1, 4)) / 4))
        made.append(photo(truth, draw(st.permutations(found)), f"{number}.jpg"))
    return made


def crowded(seed, answers):
    """One photo of a few big garments, and so many answers about them, of scores and places that are often equal."""
    random = np.random.default_rng(seed)
    truth = [garment((8 * i, 8 * i, 40, 64), ["a"] * (i % 2), category=(3, 5)[i % 2]) for i in range(5)]
    found = []
    for _ in range(answers):
        one = truth[random.integers(len(truth))]
        x, y = (int(side) + int(random.integers(-2, 3)) * 4 for side in one.box[:2])
        found.append(
            garment((max(x, 0), max(y, 0), 40, 64), ["a"] * int(random.integers(2)), category=one.category,
                    score=int(random.integers(1, 30)) / 30)
        )  # fmt: skip
    return [photo(truth, found), photo([], found[:3], "b.jpg")]
