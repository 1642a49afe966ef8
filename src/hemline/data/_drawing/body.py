"""The shapes of drawn figures: joints, skin and hair, and the outlines that garments are made of.

Lengths are in heights of the figure: x to the right of its middle line, y down from the top of the head (0) to the
soles (1). Each function says what is painted (`Part`) and where one must look to see something (`spots`): the
neckline can be told where the points of `spots["neckline type"]` are not hidden.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from hemline.data._drawing.painting import RGB, Cloth, Part, Points

NECK = 0.163
WAIST = 0.405
HIP = 0.50
ANKLE = 0.945
SIDES = (-1, 1)
DARK, WHITE = (38, 34, 36), (238, 236, 232)

LEVELS = {
    "tights, stockings": 2.0, "sock": 3.0, "leg warmer": 5.5, "shoe": 4.0, "pants": 5.0, "shorts": 5.0, "skirt": 5.0,
    "shirt, blouse": 6.0, "top, t-shirt, sweatshirt": 6.0, "dress": 6.0, "jumpsuit": 6.0, "sweater": 6.5, "belt": 7.0,
    "tie": 8.0, "vest": 9.0, "cardigan": 9.5, "jacket": 10.0, "coat": 11.0, "cape": 30.0, "scarf": 16.0,
    "headband, head covering, hair accessory": 14.0, "glasses": 14.5, "hat": 15.0, "glove": 41.0, "watch": 41.0,
    "bag, wallet": 42.0, "umbrella": 42.5,
}  # fmt: skip
"""What lies over what."""
SLEEVES = 20.0
"""Sleeves lie this much above their garment: over every torso, bare arms between."""


@dataclass(frozen=True, eq=False)
class Body:
    """A standing figure."""

    shoulder: float
    """Half its width there; likewise below."""
    waist: float
    hip: float
    arms: tuple[Points, Points]
    """(3, 2) shoulder, elbow, wrist; left in the photo, then right."""
    legs: tuple[Points, Points]
    """(3, 2) hip, knee, ankle."""
    skin: RGB = (224, 182, 150)
    hair: RGB = (60, 40, 30)
    hair_cut: str = "short"


@dataclass(frozen=True, kw_only=True, eq=False)
class Piece:
    """A garment as it will be drawn; what does not apply to its category is left as it is."""

    category: str
    cloth: Cloth
    kind: str = ""
    """Its nickname, shoe type, bag type, or form of hat."""
    sleeve: str = "sleeveless"
    reach: float = 0.97
    """How far down the arm or leg it goes, as a share."""
    neck: str = "round (neck)"
    depth: float = 0.205
    """Lowest point of the neckline."""
    collar: bool = False
    placket: bool = False
    open: bool = False
    tucked: bool = False
    hem: float = 0.53
    ease: float = 0.01
    """How far it stands off the body."""
    flare: float = 0.0
    """How much it widens below the waist."""
    side: int = 1
    """The hand that holds it."""
    accent: RGB = WHITE
    """Colour of soles, buttons, prints."""
    picture: str = "star"
    """`star`, `moon`, `letters` or `landscape`, where its pattern is `graphic`."""


@dataclass
class Shape:
    """A garment, or a body, ready to be painted."""

    parts: list[Part] = field(default_factory=list)
    spots: dict[str, Points] = field(default_factory=dict)

    def add(
        self,
        level: float,
        *outlines: Points,
        colour: RGB | None = None,
        tone: float = 1.0,
        inside: bool = False,
        line: float = 0.0,
        turn: float = 0.0,
    ) -> None:
        """Paint outlines; see `Part`."""
        self.parts.append(Part(outlines, level, colour, tone, inside, line, turn))

    def detail(
        self, level: float, *lines: Points, colour: RGB | None = None, tone: float = 1.0, line: float = 0.004
    ) -> None:
        """Paint open lines over what is already there: seams, pleats."""
        self.parts.append(Part(lines, level, colour, tone, inside=True, line=line))

    def look_at(self, *questions: str, at: Sequence[tuple[float, float] | Points]) -> None:
        """The points that must be seen to answer these questions."""
        for question in questions:
            self.spots[question] = np.array(at, float)


def at(*points: tuple[float, float]) -> Points:
    """(N, 2) points."""
    return np.array(points, float)


def mirrored(half: Points) -> Points:
    """The closed outline whose right half runs from the top of the middle line to its bottom."""
    return np.concatenate([half, half[::-1] * (-1, 1)])


def smooth(outline: Points, times: int = 2) -> Points:
    """A closed outline with its corners cut (Chaikin)."""
    for _ in range(times):
        after = np.roll(outline, -1, axis=0)
        outline = np.stack([0.75 * outline + 0.25 * after, 0.25 * outline + 0.75 * after], 1).reshape(-1, 2)
    return outline


def ellipse(x: float, y: float, width: float, height: float, start: float = 0, stop: float = 360) -> Points:
    """An ellipse or an arc of it; width and height are halved, degrees run from the right downwards."""
    angle = np.radians(np.linspace(start, stop, 25))
    return np.stack([x + width * np.cos(angle), y + height * np.sin(angle)], 1)


def box(x: float, y: float, width: float, height: float) -> Points:
    """A rectangle around (x, y); width and height are whole."""
    return at((-1, -1), (1, -1), (1, 1), (-1, 1)) * (width / 2, height / 2) + (x, y)


def along(line: Points, share: float | Points) -> Points:
    """Points at shares (0 to 1) of a line's length."""
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
    want = np.asarray(share) * length[-1]
    return np.stack([np.interp(want, length, line[:, 0]), np.interp(want, length, line[:, 1])], -1)


STEPS = np.linspace(0, 1, 11)
NEXT, PREVIOUS = np.minimum(np.arange(11) + 1, 10), np.maximum(np.arange(11) - 1, 0)


def limb(line: Points, start: float, stop: float, widths: Sequence[float]) -> Points:
    """The outline around a stretch of an arm or leg; half widths are spread evenly over the stretch."""
    start, stop = max(start, 0.0), min(stop, 1.0)
    middle = along(line, start + (stop - start) * STEPS)
    way = middle[NEXT] - middle[PREVIOUS]
    wide = np.interp(STEPS, np.arange(len(widths)) / max(1, len(widths) - 1), widths) / np.hypot(way[:, 0], way[:, 1])
    aside = np.stack([-way[:, 1] * wide, way[:, 0] * wide], 1)
    return np.concatenate([middle + aside, (middle - aside)[::-1]])


def half_width(body: Body, y: float | Points) -> Points:
    """Half the width of the bare torso at a height."""
    heights = [NECK, 0.178, 0.25, WAIST, HIP, 0.56]
    widths = [0.05, body.shoulder, body.shoulder * 0.88, body.waist, body.hip, body.hip]
    return np.asarray(np.interp(y, heights, widths))


def draw_body(body: Body) -> tuple[Shape, Shape]:
    """Skin and hair."""
    skin, hair = Shape(), Shape()
    y = np.array([0.178, 0.25, 0.33, WAIST, HIP, 0.53])
    side = np.stack([half_width(body, y) - 0.012, y], 1)
    skin.add(1, mirrored(np.concatenate([at((0, NECK), (0.04, NECK)), side, at((0, 0.54))])))
    for arm, leg, sign in zip(body.arms, body.legs, SIDES, strict=True):
        skin.add(1, limb(leg, 0, 1, [0.048, 0.043, 0.034, 0.036, 0.024, 0.02]))
        skin.add(1.1, place(FOOT, leg[2], sign))
        skin.add(20, smooth(limb(arm, 0, 1, [0.03, 0.027, 0.022, 0.021, 0.016])))
        skin.add(40, smooth(limb(hand(arm), 0, 1, [0.014, 0.021, 0.02, 0.011]), 1))
    skin.add(
        1.2, at((-0.026, 0.11), (0.026, 0.11), (0.03, NECK), (0.062, 0.185), (-0.062, 0.185), (-0.03, NECK)), tone=0.88
    )
    skin.add(13, ellipse(0, 0.068, 0.0435, 0.066))
    skin.add(12.9, ellipse(-0.044, 0.074, 0.008, 0.014), ellipse(0.044, 0.074, 0.008, 0.014), tone=0.9)
    for sign in SIDES:
        skin.add(13.1, ellipse(sign * 0.018, 0.067, 0.0065, 0.0042), colour=WHITE, inside=True)
        skin.add(13.2, ellipse(sign * 0.018, 0.067, 0.0035, 0.004), colour=DARK, inside=True)
        skin.detail(13.2, at((sign * 0.01, 0.054), (sign * 0.026, 0.056)), colour=body.hair, line=0.0035)
    skin.detail(13.2, at((0.001, 0.07), (-0.005, 0.09), (0.003, 0.091)), tone=0.75, line=0.003)
    skin.add(13.2, ellipse(0, 0.106, 0.014, 0.0042), colour=(180, 92, 88), inside=True)
    _hair(hair, body)
    return skin, hair


def _hair(hair: Shape, body: Body) -> None:
    cut = body.hair_cut
    if cut == "none":
        return
    cap = np.concatenate(
        [ellipse(0, 0.06, 0.049, 0.063, 165, 375), at((0.038, 0.062), (0.03, 0.04), (-0.02, 0.032), (-0.038, 0.062))]
    )
    hair.add(13.3, cap)
    if cut == "bun":
        hair.add(13.25, ellipse(0, -0.006, 0.022, 0.02))
    if cut == "round":
        hair.add(0.2, ellipse(0, 0.05, 0.082, 0.074))
        hair.add(13.35, ellipse(0, 0.012, 0.062, 0.03))
    if cut in ("bob", "long", "strands"):
        low = 0.145 if cut == "bob" else 0.25
        hair.add(
            0.2,
            smooth(mirrored(at((0, -0.01), (0.05, 0.0), (0.056, 0.08), (0.062, low), (0.03, low + 0.01), (0, low)))),
        )
    if cut == "strands":
        for sign in SIDES:
            hair.add(
                13.4,
                at((0.036, 0.05), (0.05, 0.05), (0.062, 0.15), (0.06, 0.29), (0.04, 0.27), (0.042, 0.14)) * (sign, 1),
            )


FOOT = np.array([(0, 0.08), (1, 0.04), (1.02, 0.2), (0.8, 0.36), (0.45, 0.6), (0.4, 1.3), (-0.04, 1.3), (-0.06, 0.4)])
"""A bare foot from the side: heel at x = 0, toes at x = 1, y up from the ground."""


def place(profile: Points, ankle: Points, sign: int) -> Points:
    """Something drawn as `FOOT` is, on the foot at an ankle, its toes turned to one side."""
    return profile * (sign * 0.075, -0.058) + ankle + (-sign * 0.014, 0.055)


def hand(arm: Points) -> Points:
    """(2, 2) wrist and finger tips."""
    way = arm[2] - arm[1]
    return np.stack([arm[2] - 0.02 * way, arm[2] + 0.055 * way / np.linalg.norm(way)])
