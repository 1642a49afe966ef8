"""Whole drawn photos: who stands where in what light, what lies on a table, and what can be seen of each garment."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hemline.data._drawing.accessories import DRAW
from hemline.data._drawing.body import SIDES, Body, Piece, Shape, draw_body
from hemline.data._drawing.outfits import answers, random_body, random_outfit, random_piece
from hemline.data._drawing.painting import RGB, Cloth, Painter, Part, Points, develop, make_background, make_light

SCENES = (
    "one", "flat", "two", "upper half", "one", "flat", "three", "head and shoulders", "one", "flat", "two",
    "lower half",
)  # fmt: skip
"""Photo i shows scene i modulo 12."""
FLAT = {
    **dict.fromkeys(DRAW, 1),
    **dict.fromkeys(("sweater", "jacket", "coat", "skirt", "shorts", "bag, wallet", "hat"), 2),
    **dict.fromkeys(("shirt, blouse", "top, t-shirt, sweatshirt", "dress", "pants", "shoe"), 3),
}
"""How often each garment is laid flat."""
MIN_PIXELS = 8
"""A garment of which less is seen is not drawn at all."""
MIN_ANSWER = 24
"""Pixels of a garment that must be seen to answer any question about it."""
HAIR, SKIN, FIRST_GARMENT = 1, 2, 3


@dataclass(frozen=True)
class Garment:
    """One garment of a drawn photo, and what can be seen of it."""

    category: str
    """Fashionpedia's name."""
    answers: dict[str, frozenset[str]]
    """For each of `QUESTIONS` that the visible pixels answer, the words that are true; none if empty."""
    hidden: frozenset[str]
    """Those of `QUESTIONS` that it has an answer to, which cannot be seen."""
    colour: RGB
    """Of its cloth's ground, before light and shade."""
    segment: int
    """Its id in `Drawing.segments`."""
    figure: int
    """Whose it is: 0 stands farthest back."""

    @property
    def attributes(self) -> frozenset[str]:
        """The words that are seen to be true of it."""
        return frozenset().union(*self.answers.values())

    def has(self, question: str) -> bool:
        """Whether it has an answer, seen or hidden: a shoe has no sleeve length."""
        return question in self.answers or question in self.hidden


@dataclass(frozen=True)
class Drawing:
    """One drawn photo and everything that is true of it."""

    scene: str
    """One of `SCENES`."""
    photo: NDArray[np.uint8]
    """(H, W, 3) RGB."""
    segments: NDArray[np.uint8]
    """(H, W) 0 background, `HAIR`, `SKIN`, or a garment's id."""
    garments: tuple[Garment, ...]


@dataclass(frozen=True, eq=False)
class _Figure:
    """A body where it stands, and what it wears."""

    body: Body
    pieces: list[Piece]
    matrix: Points
    """(2, 3) from heights of the figure to pixels."""
    naked: tuple[tuple[int, Shape, RGB], ...] = ()
    """Skin and hair with their owners; none where a garment lies flat."""


class _Worn(NamedTuple):
    """One garment of a photo, on its way to the canvas."""

    number: int
    figure: _Figure
    piece: Piece
    shape: Shape


def draw_scene(seed: int, index: int, canvas: tuple[int, int]) -> Drawing:
    """Draw photo `index` of the set that `seed` names.

    Args:
        seed: 0 or more.
        index: 0 or more; it also chooses the scene.
        canvas: (height, width) in pixels.
    """
    rng = np.random.default_rng((seed, index))
    scene = SCENES[index % len(SCENES)]
    figures = _flat(rng, canvas) if scene == "flat" else _people(rng, canvas, scene)
    background = make_background(rng, canvas, flat=scene == "flat")
    light = make_light(rng, canvas)
    worn = [
        _Worn(i, figure, piece, DRAW[piece.category](figure.body, piece))
        for i, figure in enumerate(figures)
        for piece in figure.pieces
    ]
    while True:  # without what is hardly seen, until all the rest is
        painter = _paint(figures, worn, background.copy())
        pixels = np.bincount(painter.owners.ravel(), minlength=FIRST_GARMENT + len(worn))[FIRST_GARMENT:]
        hardly = (pixels > 0) & (pixels < MIN_PIXELS)
        if not hardly.any():
            break
        worn = [thing for thing, drop in zip(worn, hardly, strict=True) if not drop]
    segments, garments = _what_is_seen(painter.owners, worn, pixels)
    return Drawing(scene, develop(rng, painter.photo, light), segments, garments)


def _people(rng: np.random.Generator, canvas: tuple[int, int], scene: str) -> list[_Figure]:
    """Figures from the back to the front."""
    height, width = canvas
    tall = min(height, 1.6 * width)
    number = {"two": 2, "three": 3}.get(scene, 1)
    apart = rng.uniform(0.2, 0.45) if number == 2 else rng.uniform(0.22, 0.33)
    figures = []
    for i in range(number):
        if scene in ("upper half", "lower half", "head and shoulders"):
            zoom = rng.uniform(2.3, 3.0) if scene == "head and shoulders" else rng.uniform(1.45, 1.8)
            scale = zoom * tall
            top = height * 0.97 - scale if scene == "lower half" else scale * rng.uniform(0.01, 0.05)
            middle = width * rng.uniform(0.42, 0.58)
        else:
            scale = tall * rng.uniform(0.76, 0.9) * (1.0, 1.0, 0.86, 0.84)[number]
            top = height * rng.uniform(0.93, 0.98) - scale - (number - 1 - i) * 0.02 * height
            middle = width * (0.5 + (i - (number - 1) / 2) * apart + rng.uniform(-0.04, 0.04))
        lean, turn = rng.normal(0, 0.02), rng.uniform(0.88, 1.0)
        matrix = scale * np.array([[turn, -lean, 0], [0, 1, 0]])
        matrix[:, 2] = middle + scale * lean / 2, top
        body = random_body(rng)
        skin, hair = draw_body(body)
        figures.append(_Figure(body, random_outfit(rng), matrix, ((SKIN, skin, body.skin), (HAIR, hair, body.hair))))
    order = rng.permutation(number) if number > 1 else [0]
    return [figures[i] for i in order]


def _flat(rng: np.random.Generator, canvas: tuple[int, int]) -> list[_Figure]:
    """One garment that fills most of the photo, perhaps turned."""
    names, weights = list(FLAT), np.array(list(FLAT.values()), float)
    category = names[int(rng.choice(len(names), p=weights / weights.sum()))]
    piece = replace(random_piece(rng, category), open=False)
    body = replace(random_body(rng, flat=True), skin=(226, 226, 226))
    if category in ("glove", "shoe", "sock"):
        body = _side_by_side(body, 0.07 if category == "sock" else 0.05)
    outlines = np.concatenate(
        [o for part in DRAW[category](body, piece).parts if not part.inside for o in part.outlines]
    )
    angle = rng.uniform(-np.pi, np.pi) if rng.random() < 0.2 else rng.normal(0, 0.12)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    low, high = (outlines @ turn.T).min(0), (outlines @ turn.T).max(0)
    height, width = canvas
    scale = rng.uniform(0.6, 0.92) * min(width / (high[0] - low[0]), height / (high[1] - low[1]))
    shift = np.array([width, height]) * (0.5 + rng.uniform(-0.04, 0.04, 2)) - scale * (low + high) / 2
    return [_Figure(body, [piece], np.concatenate([scale * turn, shift[:, None]], 1))]


def _side_by_side(body: Body, apart: float) -> Body:
    """The body with its wrists and ankles at this distance from its middle, where a pair is laid."""
    left_arm, right_arm, left_leg, right_leg = (
        line + np.array([sign * apart - line[2, 0], 0])
        for pair in (body.arms, body.legs)
        for sign, line in zip(SIDES, pair, strict=True)
    )
    return replace(body, arms=(left_arm, right_arm), legs=(left_leg, right_leg))


def _paint(figures: list[_Figure], worn: list[_Worn], background: NDArray[np.uint8]) -> Painter:
    """Paint all figures; `worn` own their pixels in their order, from `FIRST_GARMENT`."""
    painter = Painter(background)
    for figure in figures:
        layers: list[tuple[Part, int, Cloth]] = []
        for owner, shape, colour in figure.naked:
            layers += [(part, owner, Cloth(colour)) for part in shape.parts]
        for owner, thing in enumerate(worn, start=FIRST_GARMENT):
            if thing.figure is figure:
                layers += [(part, owner, thing.piece.cloth) for part in thing.shape.parts]
        for part, whose, cloth in sorted(layers, key=lambda layer: layer[0].level):
            painter.paint(part, whose, cloth, figure.matrix)
    return painter


def _what_is_seen(
    owners: NDArray[np.uint8], worn: list[_Worn], pixels: NDArray[np.int64]
) -> tuple[NDArray[np.uint8], tuple[Garment, ...]]:
    """The map with the garments that are seen numbered without gaps, and what is seen of each."""
    garments: list[Garment] = []
    number = np.zeros(256, np.uint8)
    number[[HAIR, SKIN]] = HAIR, SKIN
    for owner, thing in enumerate(worn, start=FIRST_GARMENT):
        count = pixels[owner - FIRST_GARMENT]
        if not count:
            continue
        number[owner] = segment = FIRST_GARMENT + len(garments)
        said, seen = answers(thing.piece), {}
        for question, words in said.items():
            spots = thing.shape.spots.get(question)
            clear = spots is None or _share_seen(owners, owner, spots, thing.figure.matrix) >= 0.5
            if clear and count >= MIN_ANSWER:
                seen[question] = words
        hidden = frozenset(said.keys() - seen.keys())
        garments.append(Garment(thing.piece.category, seen, hidden, thing.piece.cloth.colour, segment, thing.number))
    return number[owners], tuple(garments)


def _share_seen(owners: NDArray[np.uint8], owner: int, spots: Points, matrix: Points) -> float:
    """Share of the spots in whose nearest pixels the owner is seen."""
    found = 0
    for x, y in np.round(spots @ matrix[:, :2].T + matrix[:, 2]).astype(int):
        near = owners[max(0, y - 1) : max(0, y + 2), max(0, x - 1) : max(0, x + 2)]
        found += bool((near == owner).any())
    return found / len(spots)
