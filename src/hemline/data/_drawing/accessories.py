"""The shapes of drawn hosiery, shoes and accessories, in the lengths and terms of `hemline.data._drawing.body`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from hemline.data._drawing.body import (
    DARK,
    FOOT,
    HIP,
    LEVELS,
    SIDES,
    WAIST,
    Body,
    Piece,
    Shape,
    along,
    at,
    box,
    ellipse,
    half_width,
    hand,
    limb,
    mirrored,
    place,
    smooth,
)  # fmt: skip
from hemline.data._drawing.garments import draw_cape, draw_skirt, draw_trousers, draw_upper
from hemline.data._drawing.painting import Points


def draw_tights(body: Body, piece: Piece) -> Shape:
    """Close to the leg, foot and all."""
    shape, level = Shape(), LEVELS["tights, stockings"]
    for leg, sign in zip(body.legs, SIDES, strict=True):
        shape.add(level, limb(leg, 0, 1, [0.049, 0.045, 0.036, 0.038, 0.026, 0.022]), place(FOOT, leg[2], sign))
    y = np.array([WAIST + 0.01, HIP, 0.545])
    shape.add(
        level, mirrored(np.concatenate([at((0, WAIST + 0.01)), np.stack([half_width(body, y), y], 1), at((0, 0.55))]))
    )
    return shape


def draw_sock(body: Body, piece: Piece) -> Shape:
    """Socks and leg warmers: a band of the lower leg."""
    shape, level = Shape(), LEVELS[piece.category]
    warmer = piece.category == "leg warmer"
    thick = 0.009 if warmer else 0.003
    for leg, sign in zip(body.legs, SIDES, strict=True):
        shin = np.stack([along(leg, 0.5), leg[2]])
        tube = limb(shin, piece.reach, 0.96 if warmer else 1, [0.037 + thick, 0.036 + thick, 0.024 + thick])
        shape.add(level, *([tube] if warmer else [tube, place(FOOT * (1, 0.96), leg[2], sign)]))
        for share in (0.3, 0.5, 0.7, 0.9) if warmer else (piece.reach + 0.07,):
            start = max(share, piece.reach + 0.02)
            ring = limb(shin, start, start + 0.04, [0.05])
            shape.add(level + 0.1, ring, tone=0.75, inside=True)
    return shape


SHOES: dict[str, list[Points]] = {
    "sneakers": [at((0, 0), (1, 0), (1.06, 0.2), (0.9, 0.42), (0.5, 0.66), (0.44, 1.0), (-0.06, 1.0), (-0.09, 0.3))],
    "flats": [
        at((0, 0), (1, 0), (1.06, 0.14), (0.86, 0.34), (0.66, 0.3), (0.3, 0.3), (0, 0.6), (-0.08, 0.5), (-0.08, 0.2)),
    ],
    "boots": [at((0, 0), (1, 0), (1.06, 0.2), (0.85, 0.46), (0.48, 0.75), (0.52, 2.9), (-0.16, 2.9), (-0.08, 0.5))],
    "heels": [
        at((1, 0), (1.08, 0.1), (0.78, 0.4), (0.5, 0.36), (0.24, 0.5), (0, 0.92), (-0.1, 0.9), (-0.08, 0.55),
           (0.2, 0.4), (0.66, 0)),
        at((-0.08, 0.6), (-0.03, 0), (0.06, 0), (0.16, 0.5)),
    ],
    "sandals": [
        at((-0.06, 0), (1.04, 0), (1.06, 0.14), (-0.06, 0.16)), at((0.5, 0.1), (0.76, 0.1), (0.74, 0.48), (0.52, 0.6)),
        at((-0.1, 0.8), (0.46, 0.8), (0.46, 1.0), (-0.1, 1.0)), at((-0.1, 0.1), (0.06, 0.1), (0.0, 1.0), (-0.1, 1.0)),
    ],
}  # fmt: skip
"""Profiles, drawn as `FOOT` is."""
SHOES["heeled boots"] = [
    SHOES["heels"][1],
    at((1, 0), (1.08, 0.14), (0.8, 0.5), (0.48, 0.85), (0.52, 2.9), (-0.16, 2.9), (-0.1, 0.5), (0.66, 0)),
]


def draw_shoe(body: Body, piece: Piece) -> Shape:
    """A pair."""
    shape, level = Shape(), LEVELS["shoe"]
    if "boots" in piece.kind:
        level = 5.6  # over trousers
    for leg, sign in zip(body.legs, SIDES, strict=True):
        shape.add(level, *(place(profile, leg[2], sign) for profile in SHOES[piece.kind]))
        if piece.kind == "sneakers":
            shape.add(
                level + 0.1,
                place(at((-0.2, 0), (1.1, 0), (1.1, 0.17), (-0.2, 0.17)), leg[2], sign),
                colour=piece.accent,
                inside=True,
            )
            for x in (0.5, 0.64):
                shape.detail(
                    level + 0.1, place(at((x - 0.1, 0.5), (x + 0.06, 0.62)), leg[2], sign), colour=piece.accent
                )
        if "boots" in piece.kind:
            shape.detail(level + 0.1, place(at((-0.2, 0.02), (1.1, 0.02)), leg[2], sign), tone=0.5, line=0.006)
    shape.look_at(
        "shoe type", at=[place(at((0.85, 0.15)), leg[2], sign)[0] for leg, sign in zip(body.legs, SIDES, strict=True)]
    )
    return shape


def draw_bag(body: Body, piece: Piece) -> Shape:
    """In the hand, over a shoulder, or a clutch."""
    shape, level = Shape(), LEVELS["bag, wallet"]
    x, y = hand(body.arms[SIDES.index(piece.side)])[1]
    if piece.kind == "clutch":
        shape.add(level, box(x, y, 0.125, 0.07))
        shape.detail(
            level + 0.1, at((x - 0.06, y - 0.032), (x, y + 0.008), (x + 0.06, y - 0.032)), tone=0.66, line=0.005
        )
    elif piece.kind == "crossbody":
        x, y = piece.side * (body.hip + 0.03), 0.53
        strap = at((-piece.side * (body.shoulder - 0.04), 0.178), (x, y - 0.03))
        shape.add(12.5, strap, line=0.013, tone=0.8)
        shape.add(level, smooth(box(x, y, 0.12, 0.095), 2))
        shape.detail(level + 0.1, at((x - 0.06, y - 0.005), (x + 0.06, y - 0.005)), tone=0.66, line=0.005)
    else:
        shape.add(level, ellipse(x, y + 0.05, 0.04, 0.055, 180, 360), line=0.011, tone=0.8)
        shape.add(level, at((x - 0.062, y + 0.045), (x + 0.062, y + 0.045), (x + 0.08, y + 0.18), (x - 0.08, y + 0.18)))
        shape.detail(level + 0.1, at((x - 0.09, y + 0.075), (x + 0.09, y + 0.075)), tone=0.7, line=0.005)
        y += 0.11
    shape.add(level + 0.1, ellipse(x, y, 0.007, 0.007), colour=piece.accent, inside=True)
    shape.look_at("bag type", at=[(x + dx, y + dy) for dx in (-0.035, 0.035) for dy in (-0.02, 0.02)])
    return shape


def draw_umbrella(body: Body, piece: Piece) -> Shape:
    """Open, above the head."""
    shape, level = Shape(), LEVELS["umbrella"]
    x, y = hand(body.arms[SIDES.index(piece.side)])[1]
    top, x0 = -0.07, x * 0.6
    shape.add(level, at((x, y + 0.03), (x0, top)), colour=DARK, line=0.009)
    rim = [ellipse(x0 + dx, top + 0.15, 0.08, 0.025, 0, -180) for dx in (0.24, 0.08, -0.08, -0.24)]
    dome = np.concatenate([ellipse(x0, top + 0.15, 0.32, 0.2, 180, 360), *rim])
    shape.add(0.05, dome)  # behind the head
    for dx in (-0.16, 0.0, 0.16):
        shape.detail(0.06, at((x0, top - 0.05), (x0 + dx, top + 0.15)), tone=0.7, line=0.005)
    return shape


def draw_tie(body: Body, piece: Piece) -> Shape:
    """Knot and blade."""
    shape, level = Shape(), LEVELS["tie"]
    shape.add(level, at((-0.009, 0.212), (0.009, 0.212), (0.021, 0.375), (0, 0.4), (-0.021, 0.375)))
    shape.add(level + 0.4, at((-0.014, 0.183), (0.014, 0.183), (0.009, 0.215), (-0.009, 0.215)), tone=0.85)
    return shape


def draw_belt(body: Body, piece: Piece) -> Shape:
    """A band at the waist and its buckle."""
    shape, level = Shape(), LEVELS["belt"] + (4.5 if piece.kind == "outer" else 0)
    wide = body.waist + piece.ease
    shape.add(level, at((-wide, 0.402), (0, 0.408), (wide, 0.402), (wide, 0.428), (0, 0.434), (-wide, 0.428)))
    shape.add(level + 0.1, box(0, 0.421, 0.03, 0.022), colour=piece.accent, inside=True)
    shape.add(level + 0.2, box(0, 0.421, 0.014, 0.01), inside=True)
    return shape


def draw_scarf(body: Body, piece: Piece) -> Shape:
    """Wound around the neck, one or two ends hanging."""
    shape, level = Shape(), LEVELS["scarf"]
    for sign in SIDES if piece.kind == "two ends" else (piece.side,):
        end = at((0.008, 0.17), (0.05, 0.17), (0.062, piece.hem), (0.016, piece.hem)) * (sign, 1)
        shape.add(level, end)
        for x in (0.022, 0.036, 0.05):
            shape.detail(level + 0.1, at((sign * x, piece.hem - 0.03), (sign * x, piece.hem)), tone=0.6)
    shape.add(
        level + 0.2,
        smooth(
            at((-0.066, 0.15), (-0.03, 0.135), (0.03, 0.135), (0.066, 0.15), (0.06, 0.19), (0, 0.207), (-0.06, 0.19))
        ),
    )
    shape.detail(level + 0.3, at((-0.06, 0.155), (0, 0.178), (0.06, 0.16)), tone=0.65, line=0.006)
    return shape


def draw_glove(body: Body, piece: Piece) -> Shape:
    """A pair."""
    shape = Shape()
    for arm, sign in zip(body.arms, SIDES, strict=True):
        palm = hand(arm)
        shape.add(
            LEVELS["glove"], smooth(limb(palm, 0, 1, [0.021, 0.025, 0.025, 0.014]), 1), limb(arm, 0.88, 1, [0.023])
        )
        thumb = np.stack([along(palm, 0.35), along(palm, 0.75) + at((-sign * 0.03, 0))[0]])
        shape.add(LEVELS["glove"], smooth(limb(thumb, 0, 1, [0.01, 0.008]), 1))
        shape.add(LEVELS["glove"] + 0.1, limb(arm, 0.88, 0.92, [0.03]), tone=0.7, inside=True)
    return shape


def draw_watch(body: Body, piece: Piece) -> Shape:
    """At the wrist."""
    shape, arm = Shape(), body.arms[SIDES.index(piece.side)]
    shape.add(LEVELS["watch"], limb(arm, 0.93, 0.985, [0.021]))
    x, y = along(arm, 0.957)
    shape.add(LEVELS["watch"] + 0.1, ellipse(x, y, 0.014, 0.014))
    shape.add(LEVELS["watch"] + 0.2, ellipse(x, y, 0.009, 0.009), colour=piece.accent, inside=True)
    return shape


def draw_glasses(body: Body, piece: Piece) -> Shape:
    """Frames with clear or dark lenses; the lenses belong to them."""
    shape, level = Shape(), LEVELS["glasses"]
    lenses = [smooth(box(sign * 0.0195, 0.068, 0.034, 0.027), 2) for sign in SIDES]
    shape.add(level, *lenses, at((-0.044, 0.062), (0.044, 0.062), (0.044, 0.068), (-0.044, 0.068)))
    for lens in lenses:
        inner = (lens - lens.mean(0)) * 0.72 + lens.mean(0)
        red, green, blue = (round(0.5 * value + 0.5 * 235) for value in body.skin)
        shape.add(level + 0.1, inner, colour=DARK if piece.kind == "sunglasses" else (red, green, blue), inside=True)
    return shape


def draw_headwear(body: Body, piece: Piece) -> Shape:
    """Hats and headbands."""
    shape, level = Shape(), LEVELS[piece.category]
    if piece.category != "hat":
        over, under = ellipse(0, 0.062, 0.053, 0.066, 190, 350), ellipse(0, 0.07, 0.05, 0.05, 350, 190)
        shape.add(level, np.concatenate([over, under]))
        return shape
    dome = ellipse(0, 0.042, 0.053, 0.062, 180, 360)
    if piece.kind == "beanie":
        shape.add(level, np.concatenate([dome, at((0.05, 0.05), (-0.05, 0.05))]))
        shape.add(level + 0.1, box(0, 0.043, 0.2, 0.022), tone=0.78, inside=True)
    elif piece.kind == "cap":
        shape.add(level, dome)
        shape.add(level + 0.1, smooth(at((-0.045, 0.032), (0.045, 0.032), (0.06, 0.054), (-0.06, 0.054))), tone=0.8)
    else:
        brim = 0.115 if piece.kind == "wide brim" else 0.085
        shape.add(level, ellipse(0, 0.038, brim, 0.018))
        shape.add(level + 0.1, at((-0.049, 0.036), (-0.042, -0.03), (0, -0.022), (0.042, -0.03), (0.049, 0.036)))
        shape.detail(level + 0.2, at((-0.05, 0.024), (0.05, 0.024)), colour=piece.accent, line=0.014)
    return shape


DRAW: dict[str, Callable[[Body, Piece], Shape]] = {
    "shirt, blouse": draw_upper, "top, t-shirt, sweatshirt": draw_upper, "sweater": draw_upper, "cardigan": draw_upper,
    "jacket": draw_upper, "vest": draw_upper, "coat": draw_upper, "dress": draw_upper, "jumpsuit": draw_upper,
    "pants": draw_trousers, "shorts": draw_trousers, "skirt": draw_skirt, "cape": draw_cape, "glasses": draw_glasses,
    "hat": draw_headwear, "headband, head covering, hair accessory": draw_headwear, "tie": draw_tie,
    "glove": draw_glove, "watch": draw_watch, "belt": draw_belt, "leg warmer": draw_sock, "sock": draw_sock,
    "tights, stockings": draw_tights, "shoe": draw_shoe, "bag, wallet": draw_bag, "scarf": draw_scarf,
    "umbrella": draw_umbrella,
}  # fmt: skip
"""Fashionpedia's 27 garments and accessories."""
