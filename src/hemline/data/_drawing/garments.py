"""The shapes of drawn clothes, in the lengths and terms of `hemline.data._drawing.body`."""

from __future__ import annotations

import numpy as np

from hemline.data._drawing.body import (
    DARK,
    HIP,
    LEVELS,
    NECK,
    SIDES,
    SLEEVES,
    WAIST,
    Body,
    Piece,
    Shape,
    along,
    at,
    box,
    ellipse,
    half_width,
    limb,
    mirrored,
)  # fmt: skip
from hemline.data._drawing.painting import Points


def draw_upper(body: Body, piece: Piece) -> Shape:
    """Everything that hangs from the shoulders, except capes."""
    shape, level = Shape(), LEVELS[piece.category]
    if piece.tucked:
        level -= 1.6  # under trousers and skirts
    if piece.category == "jumpsuit":
        _legs(shape, body, level - 0.1, piece, 0.95)
    if piece.kind == "hoodie":
        shape.add(level - 0.05, ellipse(0, 0.15, 0.075, 0.05))
    if piece.category != "jumpsuit" and piece.kind not in ("tank (top)", "camisole", "hoodie"):
        shape.add(0.9, ellipse(0, NECK + 0.006, 0.046, 0.02), tone=0.5)  # the inside of its back, where nobody wears it
    half = _half(body, piece)
    middle = half[:, 0] == 0
    if piece.open:
        gap = 0.022 + min(0.03, 0.5 * piece.flare)
        edge = at((gap + 0.02, piece.hem), (gap, 0.36), (0.04, NECK))
        panel = np.concatenate([half[~middle], edge])
        shape.add(level, panel, panel * (-1, 1))
        front = [(sign * (gap + 0.014), y) for sign in SIDES for y in (0.3, 0.42)]
        for sign in SIDES:
            shape.detail(level + 0.1, (edge + at((0.008, 0))) * (sign, 1), tone=0.7)
    else:
        shape.add(level, mirrored(half))
        front = [(0.0, y) for y in np.linspace(piece.depth + 0.025, piece.hem - 0.03, 4)]
    _collar(shape, piece, level + 0.2, half)
    _front(shape, piece, level + 0.2)
    _sleeves(shape, body, piece, level + SLEEVES)
    shape.look_at("opening type", at=front)
    torso = [(sign * body.waist * 0.8, y) for sign in SIDES for y in (0.27, 0.36)]
    shape.look_at("nickname", at=[(-0.068, 0.155), (0.068, 0.155)] if piece.kind == "hoodie" else torso)
    if piece.cloth.pattern == "graphic":
        shape.look_at("textile pattern", at=[(x, y) for x in (-0.03, 0.03) for y in (0.26, 0.3)])
    throat = [(0.055, 0.184), (-0.055, 0.184), (0, piece.depth + 0.014)]
    if piece.collar:
        throat = [(0.038, 0.19), (-0.038, 0.19)]
    shape.look_at("collar", "neckline type", at=throat)
    return shape


def _half(body: Body, piece: Piece) -> Points:
    """Right half of the torso of a garment, from the neckline's lowest point to the middle of the hem."""
    wide = 0.042 if piece.collar or piece.neck == "v-neck" else 0.046
    straps = piece.kind in ("tank (top)", "camisole")
    if piece.kind == "camisole":
        neck = at((0, 0.245), (0.03, 0.238), (body.shoulder * 0.62, 0.226))
    elif piece.neck == "v-neck" or piece.open:
        neck = at((0, piece.depth), (wide, NECK + 0.002))
    else:
        neck = ellipse(0, NECK, wide, piece.depth - NECK, 90, 0)[::4]
        neck[0, 0] = 0.0
    out = body.shoulder + piece.ease
    if straps:
        shoulder = at((0.072, 0.172), (0.078, 0.22), (out * 0.86, 0.262))[piece.kind == "camisole" :]
    elif piece.sleeve == "sleeveless":
        shoulder = at((out * 0.9, 0.177), (out * 0.8, 0.215), (out * 0.86, 0.262))
    else:
        shoulder = at((out - 0.014, 0.181), (out - 0.002, 0.198), (out * 0.9, 0.262))
    y = np.concatenate(
        [np.linspace(0.29, min(HIP, piece.hem - 0.01), 5), np.linspace(min(HIP, piece.hem), piece.hem, 4)]
    )
    sides = half_width(body, y) + piece.ease + piece.flare * np.clip(y - WAIST, 0, None)
    return np.concatenate([neck, shoulder, np.stack([sides, y], 1), at((0, piece.hem + 0.004))])


def _sleeves(shape: Shape, body: Body, piece: Piece, level: float) -> None:
    spots: list[tuple[float, float] | Points] = []
    for arm, sign in zip(body.arms, SIDES, strict=True):
        if piece.sleeve == "sleeveless":
            spots.append((sign * (0.063 if piece.kind else (body.shoulder + piece.ease) * 0.78), 0.2))
            continue
        loose = piece.ease * 0.7
        end = 0.016 if piece.sleeve == "wrist-length" else 0.026
        way = arm[1] - arm[0]
        sleeve = limb(arm, 0, piece.reach, [0.024 + 0.4 * loose, 0.028 + 0.8 * loose, 0.025 + loose, end + loose])
        cap = ellipse(arm[0][0], 0.203, 0.025 + 0.4 * loose, 0.021 + 0.3 * loose)
        shape.add(level, sleeve, cap, turn=float(np.arctan2(-way[0], way[1])))
        cuff = limb(arm, piece.reach - 0.05, piece.reach, [end + loose])
        if piece.collar or piece.category == "sweater" or piece.kind == "hoodie":
            shape.add(level + 0.1, cuff, tone=0.84, inside=True)
        spots += [along(arm, piece.reach * share) for share in (0.35, 0.9)]
    shape.look_at("sleeve length", at=spots)
    if piece.kind == "camisole":
        shape.look_at("sleeve length", at=[(-0.05, 0.25), (0.05, 0.25)])
        for sign in SIDES:
            strap = at((sign * body.shoulder * 0.6, 0.235), (sign * 0.055, 0.17))
            shape.add(LEVELS[piece.category], strap, line=0.01)


def _collar(shape: Shape, piece: Piece, level: float, half: Points) -> None:
    """Hood, lapels, collar, or the ribbing of a neckline."""
    if piece.kind == "hoodie":
        cords = at((-0.02, 0.2), (-0.022, 0.28)), at((0.02, 0.2), (0.022, 0.28))
        shape.detail(level, *cords, colour=piece.accent, line=0.006)
        pouch = at((-0.055, 0.42), (0.055, 0.42), (0.075, 0.49), (-0.075, 0.49), (-0.055, 0.42))
        shape.detail(level, pouch, tone=0.7, line=0.005)
    elif piece.kind == "blazer" or (piece.category == "coat" and piece.collar):
        lapel = at((0.036, 0.152), (0.062, 0.176), (0.082, 0.232), (0.064, 0.25), (0.018, 0.33), (0.03, 0.25))
        for sign in SIDES:
            shape.add(level + 0.1, lapel * (sign, 1), tone=0.86)
            shape.detail(level + 0.2, at((0.09, 0.435), (0.05, 0.435)) * (sign, 1), tone=0.6, line=0.008)
    elif piece.collar:
        point = at((0.002, 0.196), (0.034, 0.146), (0.06, 0.178), (0.04, 0.222))
        for sign in SIDES:
            shape.add(level + 0.1, point * (sign, 1), tone=1.06)
    elif piece.kind != "camisole" and not piece.open:
        neckline = half[: np.argmax(half[:, 0] > 0.0401) + 1]
        rim = np.concatenate([neckline[::-1] * (-1, 1), neckline])
        shape.detail(level, rim, tone=0.72, line=0.012)


def _front(shape: Shape, piece: Piece, level: float) -> None:
    """Hem ribbing, buttons, seams, pockets, a print."""
    if piece.category in ("sweater", "cardigan") or piece.kind == "hoodie":
        shape.add(level, box(0, piece.hem - 0.005, 0.6, 0.05), tone=0.8, inside=True)
    if piece.placket and not piece.open:
        low = 0.30 if piece.kind == "polo (shirt)" else piece.hem
        rows = (at((x, piece.depth), (x, low)) for x in (-0.009, 0.009))
        shape.detail(level, *rows, tone=0.72, line=0.003)
        for y in np.arange(piece.depth + 0.022, low - 0.01, 0.042):
            shape.add(level + 0.05, ellipse(0, float(y), 0.0052, 0.0052), colour=piece.accent, inside=True)
    if piece.category in ("dress", "jumpsuit"):
        shape.detail(level, at((-0.2, WAIST), (0.2, WAIST)), tone=0.7, line=0.005)
    if piece.category == "jacket" and piece.kind == "":
        pocket = at((0.035, 0.27), (0.08, 0.27), (0.08, 0.31), (0.035, 0.31), (0.035, 0.27))
        shape.detail(level, *(pocket * (sign, 1) for sign in SIDES), tone=0.66)
    if piece.cloth.pattern == "graphic":
        _print(shape, piece, level + 0.3)


def _print(shape: Shape, piece: Piece, level: float) -> None:
    """A star, a moon, a few letters or a landscape on the chest."""
    y = max(0.285, piece.depth + 0.055)
    if piece.picture == "star":
        rays = ellipse(0, y, 1, 1, -90, 270)[:24:2] - (0, y)
        shape.add(level, rays * np.tile([[0.048], [0.022]], (6, 1)) + (0, y), colour=piece.accent, inside=True)
    elif piece.picture == "moon":
        shape.add(level, ellipse(0, y, 0.052, 0.05), colour=piece.accent, inside=True)
        shape.add(level + 0.01, ellipse(0.014, y - 0.01, 0.034, 0.034), inside=True)
    elif piece.picture == "letters":
        letters = (box(x, y + row, 0.018, 0.026) for row in (-0.02, 0.022) for x in (-0.042, -0.014, 0.014, 0.042))
        shape.add(level, *letters, colour=piece.accent, inside=True)
    else:
        shape.add(level, box(0, y, 0.11, 0.085), colour=piece.accent, inside=True)
        hill = at((-0.045, y + 0.035), (-0.01, y - 0.03), (0.045, y + 0.035))
        shape.add(level + 0.01, hill, colour=DARK, inside=True)


def draw_cape(body: Body, piece: Piece) -> Shape:
    """Hangs over shoulders and arms."""
    shape, level = Shape(), LEVELS["cape"]
    wide = body.shoulder
    half = at(
        (0, 0.19), (0.045, NECK), (wide, 0.18), (wide + 0.05, 0.27), (wide + 0.11, piece.hem), (0, piece.hem + 0.02)
    )
    shape.add(level, mirrored(half))
    for x in (-0.09, -0.04, 0.05, 0.1):
        shape.detail(level + 0.1, at((x * 0.6, 0.24), (x * 1.4, piece.hem + 0.02)), tone=0.8, line=0.006)
    shape.detail(level + 0.2, at((0, 0.19), (0, piece.hem + 0.02)), tone=0.55, line=0.006)
    shape.add(level + 0.3, ellipse(0, 0.2, 0.008, 0.008), colour=piece.accent, inside=True)
    return shape


def draw_trousers(body: Body, piece: Piece) -> Shape:
    """Pants and shorts."""
    shape, level = Shape(), LEVELS[piece.category]
    _legs(shape, body, level, piece, piece.reach)
    shape.detail(level + 0.1, at((0, 0.42), (0, 0.55)), tone=0.68)
    shape.detail(level + 0.1, at((-0.2, 0.428), (0.2, 0.428)), tone=0.68)
    if piece.kind == "jeans":
        seam = (206, 150, 82)
        for leg, sign in zip(body.legs, SIDES, strict=True):
            shape.detail(level + 0.2, at((0.045, 0.43), (0.055, 0.465), (0.12, 0.475)) * (sign, 1), colour=seam)
            outer = along(leg, np.linspace(0.1, 1, 5)) + at((sign * 0.032, 0))
            shape.detail(level + 0.2, outer, colour=seam, line=0.003)
            shape.add(level + 0.15, limb(leg, 0.2, 0.5, [0.004, 0.02, 0.004]), tone=1.22, inside=True)
    shape.look_at("nickname", at=[along(leg, 0.2 + 0.3 * i) for leg in body.legs for i in range(2)])
    return shape


def _legs(shape: Shape, body: Body, level: float, piece: Piece, reach: float) -> None:
    ease, flare = piece.ease, piece.flare
    knee = 0.04 + ease + 0.4 * flare
    widths = [0.05 + 0.6 * ease, 0.047 + ease, knee, 0.036 + ease + 0.7 * flare, 0.025 + ease + flare]
    if piece.category == "shorts":
        widths = [0.05 + 0.6 * ease, 0.05 + ease + flare]
    y = np.array([WAIST, 0.44, HIP, 0.545])
    side = np.stack([half_width(body, y) + ease * 0.6, y], 1)
    hips = mirrored(np.concatenate([at((0, WAIST)), side, at((0, 0.58))]))
    shape.add(level, hips, *(limb(leg, 0, reach, widths) for leg in body.legs))
    shape.detail(level + 0.1, at((0, 0.56), (0, 0.75)), tone=0.4, line=0.007)  # the gap between the legs


def draw_skirt(body: Body, piece: Piece) -> Shape:
    """From the waist to the hem."""
    shape, level = Shape(), LEVELS["skirt"]
    y = np.concatenate([np.linspace(WAIST - 0.01, HIP, 5), np.linspace(0.54, piece.hem, 3)])
    side = half_width(body, y) + piece.ease + piece.flare * np.clip(y - WAIST, 0, None)
    shape.add(
        level, mirrored(np.concatenate([at((0, WAIST - 0.01)), np.stack([side, y], 1), at((0, piece.hem + 0.012))]))
    )
    shape.detail(level + 0.1, at((-0.2, 0.42), (0.2, 0.42)), tone=0.7)
    if piece.kind == "pleated":
        for share in (-0.75, -0.45, -0.15, 0.15, 0.45, 0.75):
            shape.detail(level + 0.1, at((share * side[0], 0.425), (share * side[-1], piece.hem + 0.02)), tone=0.68)
    return shape
