"""What drawn figures wear: random bodies, garments, and the words that are true of each garment."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hemline.data._drawing.body import ANKLE, HIP, SIDES, Body, Piece
from hemline.data._drawing.painting import RGB, Cloth, Points, make_cloth

QUESTIONS: dict[str, tuple[str, ...]] = {
    "sleeve length": ("sleeveless", "short (length)", "wrist-length"),
    "neckline type": ("round (neck)", "v-neck"),
    "collar": ("collar", "collarless"),
    "opening type": ("placket", "no opening"),
    "textile pattern": ("plain (pattern)", "stripe", "graphic", "check", "dot", "floral"),
    "nickname": (
        "classic (t-shirt)", "polo (shirt)", "tank (top)", "camisole", "hoodie", "blazer", "jeans", "sunglasses",
    ),
    "shoe type": ("heels", "sandals", "boots", "flats", "sneakers"),
    "bag type": ("clutch",),
}  # fmt: skip
"""The attributes that are drawn, by what they answer."""

PALETTE: tuple[RGB, ...] = (
    (34, 34, 38), (240, 240, 236), (128, 130, 134), (186, 188, 190), (28, 38, 80), (44, 84, 160), (110, 165, 215),
    (176, 30, 40), (120, 24, 44), (224, 108, 128), (242, 190, 200), (230, 120, 40), (238, 200, 70), (46, 110, 60),
    (130, 160, 90), (30, 140, 140), (104, 60, 140), (180, 150, 205), (96, 64, 42), (196, 160, 116), (226, 210, 180),
)  # fmt: skip
LEATHER: tuple[RGB, ...] = ((30, 28, 30), (92, 56, 34), (160, 104, 60), (210, 190, 160), (140, 30, 36), (232, 230, 226))
DENIM: tuple[RGB, ...] = ((40, 62, 108), (72, 104, 152), (128, 158, 192), (46, 50, 60))
METAL: tuple[RGB, ...] = ((196, 160, 84), (206, 208, 212), (60, 60, 62))
SKIN: tuple[RGB, ...] = ((246, 214, 190), (232, 190, 158), (206, 158, 122), (166, 116, 82), (118, 78, 54), (82, 54, 40))
HAIR: tuple[RGB, ...] = (
    (26, 22, 22),
    (60, 40, 28),
    (106, 70, 42),
    (168, 122, 70),
    (214, 180, 120),
    (150, 62, 34),
    (170, 170, 172),
)
CUTS = ("none", "short", "short", "bun", "round", "bob", "long", "strands")
UPPERS = (
    "shirt, blouse",
    "top, t-shirt, sweatshirt",
    "sweater",
    "cardigan",
    "jacket",
    "vest",
    "coat",
    "dress",
    "jumpsuit",
)
SHIRT, TOP, HEADBAND = "shirt, blouse", "top, t-shirt, sweatshirt", "headband, head covering, hair accessory"


PATTERNED = {
    SHIRT: 0.6, TOP: 0.6, "sweater": 0.5, "dress": 0.6, "jumpsuit": 0.4, "skirt": 0.45, "scarf": 0.5, "tie": 0.5,
    "coat": 0.35, "jacket": 0.35, "cardigan": 0.3, "vest": 0.3, "pants": 0.15, "shorts": 0.25, "umbrella": 0.4,
    "cape": 0.3,
}  # fmt: skip
"""Share of each category that has a pattern; the others have none."""


def answers(piece: Piece) -> dict[str, frozenset[str]]:
    """What is true of a garment: for each of `QUESTIONS` that it has an answer to, the words; none of them if empty."""
    said: dict[str, set[str]] = {"textile pattern": {piece.cloth.pattern}, "nickname": set()}
    if piece.category in UPPERS:
        said["sleeve length"] = {piece.sleeve}
        said["collar"] = {"collar" if piece.collar else "collarless"}
        said["opening type"] = {"placket" if piece.placket or piece.open else "no opening"}
        if piece.kind == "hoodie":
            del said["collar"]  # a hood is neither
        elif not piece.collar and piece.kind != "camisole" and not piece.open:
            said["neckline type"] = {piece.neck}
    if piece.category == "shoe":
        said["shoe type"] = {"boots", "heels"} if piece.kind == "heeled boots" else {piece.kind}
    elif piece.category == "bag, wallet":
        said["bag type"] = {piece.kind} & {"clutch"}
    elif piece.kind in QUESTIONS["nickname"]:
        said["nickname"] = {piece.kind}
    return {question: frozenset(words) for question, words in said.items()}


def random_body(rng: np.random.Generator, *, flat: bool = False) -> Body:
    """A standing figure in a pose; or, laid flat, the form in which shops lay their clothes."""
    build = 1.0 if flat else rng.uniform(0.9, 1.22)
    shoulder, waist, hip = (np.array([0.112, 0.08, 0.094]) + (0 if flat else rng.normal(0, 0.005, 3))) * build
    arms, legs = [], []
    spread = 6.0 if flat else rng.uniform(0.5, 7)
    for sign in SIDES:
        upper, bend = (rng.uniform(24, 34), 0.0) if flat else _arm(rng)
        start = np.array([sign * (shoulder - 0.016), 0.196])
        elbow = start + 0.16 * _way(upper, sign)
        arms.append(np.stack([start, elbow, elbow + 0.145 * _way(upper + bend, sign)]))
        leg = spread if flat else spread + rng.uniform(-1, 3)
        top = np.array([sign * 0.5 * hip, HIP])
        knee = top + 0.225 * _way(leg, sign)
        ankle = knee + 0.22 * _way(leg if flat else leg + rng.uniform(-3, 3), sign)
        legs.append(np.stack([top, knee, [ankle[0], ANKLE]]))
    return Body(
        float(shoulder), float(waist), float(hip), (arms[0], arms[1]), (legs[0], legs[1]),
        skin=_near(rng, _pick(rng, SKIN), 6), hair=_near(rng, _pick(rng, HAIR), 8),
        hair_cut=CUTS[rng.integers(len(CUTS))],
    )  # fmt: skip


def _way(degrees: float, sign: int) -> Points:
    """Unit vector that hangs down, turned outwards."""
    return np.array([sign * np.sin(np.radians(degrees)), np.cos(np.radians(degrees))])


def _arm(rng: np.random.Generator) -> tuple[float, float]:
    """Degrees of the upper arm outwards, and by how much the forearm turns further."""
    pose = rng.random()
    if pose < 0.65:
        return rng.uniform(5, 22), rng.uniform(-14, 4)  # hanging
    if pose < 0.85:
        return rng.uniform(34, 46), rng.uniform(-96, -80)  # on the hip
    return rng.uniform(18, 34), rng.uniform(100, 140)  # raised


def random_outfit(rng: np.random.Generator) -> list[Piece]:
    """What one figure wears, in no order."""
    base = rng.random()
    if base < 0.22:
        pieces = [random_piece(rng, "dress")]
    elif base < 0.29:
        pieces = [random_piece(rng, "jumpsuit")]
    else:
        lower = _choose(rng, {"pants": 0.5, "shorts": 0.17, "skirt": 0.33})
        tucked = bool(rng.random() < (0.6 if lower == "skirt" else 0.35))
        upper = _choose(rng, {SHIRT: 0.34, TOP: 0.42, "sweater": 0.24})
        pieces = [random_piece(rng, upper, tucked=tucked), random_piece(rng, lower)]
        if tucked and rng.random() < 0.45:
            pieces.append(random_piece(rng, "belt"))
    inner = pieces[0]
    outer = _choose(rng, {"": 0.48, "jacket": 0.2, "coat": 0.13, "cardigan": 0.08, "vest": 0.06, "cape": 0.05})
    if outer:
        pieces.append(random_piece(rng, outer))
    if inner.category == SHIRT and inner.collar and rng.random() < 0.3:
        pieces.append(random_piece(rng, "tie"))
    bare = "pants" not in [piece.category for piece in pieces] and inner.category != "jumpsuit"
    feet = {"tights, stockings": 0.3 if bare else 0, "sock": 0.35, "leg warmer": 0.06 if bare else 0, "shoe": 0.95}
    worn = {
        "hat": 0.24,
        HEADBAND: 0.08,
        "glasses": 0.3,
        "glove": 0.06,
        "watch": 0.12,
        "scarf": 0.13,
        "bag, wallet": 0.5,
    }
    for category, share in {**feet, **worn, "umbrella": 0.04}.items():
        if rng.random() < share:
            pieces.append(random_piece(rng, category))
    return pieces


def random_piece(rng: np.random.Generator, category: str, *, tucked: bool = False) -> Piece:
    """One garment of a category.

    Args:
        rng: The only source of randomness.
        category: One of Fashionpedia's 27 garments and accessories.
        tucked: Whether it ends under trousers or a skirt.
    """
    if category in UPPERS:
        return _random_upper(rng, category, tucked)
    kind, hem, flare, ease, reach = "", 0.5, 0.0, 0.004, 0.97
    if category == "pants":
        kind = "jeans" if rng.random() < 0.4 else ""
        ease, flare = rng.uniform(0, 0.012), float(rng.choice([0, 0.006, 0.02]))
    elif category == "shorts":
        reach, ease, flare = rng.uniform(0.22, 0.48), rng.uniform(0.004, 0.012), rng.uniform(0, 0.02)
    elif category == "skirt":
        kind = "pleated" if rng.random() < 0.35 else ""
        hem = float(rng.choice([0.62, 0.7, 0.78, 0.9])) + rng.uniform(-0.02, 0.02)
        flare = rng.uniform(0.15, 0.55) if kind or rng.random() < 0.6 else rng.uniform(-0.05, 0.05)
    elif category == "cape":
        hem = rng.uniform(0.42, 0.6)
    elif category in ("sock", "leg warmer"):
        reach = rng.uniform(0.02, 0.7) if category == "sock" else rng.uniform(0.0, 0.2)
    elif category == "scarf":
        kind, hem = str(rng.choice(["", "two ends"])), rng.uniform(0.3, 0.45)
    elif category in KINDS:
        kind = str(rng.choice(KINDS[category]))
    return Piece(
        category=category, cloth=_cloth(rng, category, kind), kind=kind, hem=hem, flare=float(flare), ease=float(ease),
        reach=float(reach), side=int(rng.choice(SIDES)),
        accent=_pick(rng, METAL if category != "shoe" else PALETTE[1:4]),
    )  # fmt: skip


KINDS = {
    "glasses": ("sunglasses", "clear"), "hat": ("beanie", "cap", "wide brim", "fedora"),
    "bag, wallet": ("tote", "crossbody", "clutch"),
    "shoe": ("sneakers", "flats", "boots", "heels", "sandals", "heeled boots"),
}  # fmt: skip


def _random_upper(rng: np.random.Generator, category: str, tucked: bool) -> Piece:
    sleeve = _choose(rng, {"sleeveless": 0.18, "short (length)": 0.3, "wrist-length": 0.52})
    neck = str(rng.choice(["round (neck)", "v-neck"]))
    kind, collar, placket, opened, hem, ease, flare = "", False, False, False, rng.uniform(0.51, 0.55), 0.012, 0.05
    if category == SHIRT:
        collar, placket = bool(rng.random() < 0.85), bool(rng.random() < 0.9)
    elif category == TOP:
        kind = _choose(
            rng,
            {
                "classic (t-shirt)": 0.34,
                "polo (shirt)": 0.14,
                "tank (top)": 0.16,
                "camisole": 0.1,
                "hoodie": 0.14,
                "": 0.12,
            },
        )
        collar = placket = kind == "polo (shirt)"
        sleeve = {
            "tank (top)": "sleeveless",
            "camisole": "sleeveless",
            "hoodie": "wrist-length",
            "": "wrist-length",
        }.get(kind, "short (length)")
        ease = 0.022 if kind == "hoodie" else 0.01
        neck = "round (neck)" if kind == "hoodie" else neck
    elif category == "sweater":
        sleeve, ease = ("wrist-length" if rng.random() < 0.9 else sleeve), 0.02
    elif category == "vest":
        sleeve, neck, placket, ease, opened = "sleeveless", "v-neck", True, 0.014, bool(rng.random() < 0.4)
    elif category in ("jacket", "coat", "cardigan"):
        sleeve, neck, placket, ease = (
            ("wrist-length" if rng.random() < 0.93 else "short (length)"),
            "v-neck",
            True,
            0.024,
        )
        opened = bool(rng.random() < 0.6)
        collar = category != "cardigan" and bool(rng.random() < 0.85)
        if category == "jacket":
            kind = _choose(rng, {"blazer": 0.4, "hoodie": 0.15, "": 0.45})
            collar = {"blazer": True, "hoodie": False}.get(kind, collar)
        hem, flare = (rng.uniform(0.62, 0.85), rng.uniform(0.02, 0.2)) if category == "coat" else (hem, 0.06)
    elif category == "dress":
        hem, flare, ease = rng.uniform(0.62, 0.9), rng.uniform(0.0, 0.5), 0.006
        collar = placket = bool(rng.random() < 0.25)
    depth = rng.uniform(0.225, 0.27) if neck == "v-neck" else rng.uniform(0.182, 0.212)
    if opened or category in ("jacket", "coat", "cardigan", "vest"):
        depth = rng.uniform(0.27, 0.31)
    elif collar:
        neck, depth = "v-neck", 0.2
    reach = rng.uniform(0.27, 0.46) if sleeve == "short (length)" else rng.uniform(0.92, 0.99)
    cloth = _cloth(rng, category, kind)
    return Piece(
        category=category, cloth=cloth, kind=kind, sleeve=sleeve, reach=reach, neck=neck,
        depth=float(depth), collar=collar, placket=placket, open=opened, tucked=tucked,
        hem=0.47 if tucked else float(hem),
        ease=ease, flare=float(flare), accent=_pick(rng, _unlike(cloth.colour)),
        picture=str(rng.choice(["star", "moon", "letters", "landscape"])),
    )  # fmt: skip


def _cloth(rng: np.random.Generator, category: str, kind: str) -> Cloth:
    palette = PALETTE
    if category in ("shoe", "belt", "bag, wallet", "watch", "glove"):
        palette = LEATHER + (PALETTE if rng.random() < 0.3 else ())
    elif kind == "jeans":
        palette = DENIM
    elif category == "glasses":
        palette = METAL[2:] + LEATHER[:2]
    elif category == "tights, stockings":
        palette = (PALETTE[0], PALETTE[2], PALETTE[4], PALETTE[8], PALETTE[19])
    colour = _near(rng, _pick(rng, palette), 10)
    weave = "knit" if category in ("sweater", "cardigan", "leg warmer") else "denim" if kind == "jeans" else ""
    weave = "knit" if category in ("scarf", "hat") and kind in ("", "beanie") else weave
    return make_cloth(rng, colour, _near(rng, _pick(rng, _unlike(colour)), 8), _pattern(rng, category, kind), weave)


def _unlike(colour: RGB) -> list[RGB]:
    return [other for other in PALETTE if np.abs(np.subtract(other, colour)).sum() > 170]


def _pattern(rng: np.random.Generator, category: str, kind: str) -> str:
    if kind in ("jeans", "camisole") or rng.random() > PATTERNED.get(category, 0):
        return "plain (pattern)"
    printed = category in (TOP, "sweater") or (category in ("dress", SHIRT) and rng.random() < 0.2)
    return str(rng.choice(["stripe", "check", "dot", "floral", *(["graphic"] * printed)]))


def _choose(rng: np.random.Generator, shares: dict[str, float]) -> str:
    names = list(shares)
    return names[
        int(np.searchsorted(np.cumsum(list(shares.values())), rng.random() * sum(shares.values()), side="right"))
    ]


def _pick(rng: np.random.Generator, choices: Sequence[RGB]) -> RGB:
    return choices[int(rng.integers(len(choices)))]


def _near(rng: np.random.Generator, colour: RGB, spread: int) -> RGB:
    """A colour like this one."""
    red, green, blue = (
        int(value) for value in np.clip(np.array(colour) + rng.integers(-spread, spread + 1, 3), 4, 250)
    )
    return red, green, blue
