"""How drawn figures get onto a photo: cloths and patterns, shading, backgrounds, and the map of who owns a pixel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

RGB = tuple[int, int, int]
Points = NDArray[np.float64]
"""(N, 2) x, y."""

TILE = 48
"""Pixels of a pattern's tile, which repeats."""


@dataclass(frozen=True, eq=False)
class Cloth:
    """What a garment is made of."""

    colour: RGB
    """Its ground, before light falls on it."""
    pattern: str = "plain (pattern)"
    tile: NDArray[np.float32] | None = None
    """(TILE, TILE, 3) RGB that repeats every `period`; None for one flat colour."""
    period: float = 0.08
    """In heights of the figure."""


class Part(NamedTuple):
    """One stroke or area of a figure."""

    outlines: tuple[Points, ...]
    """Closed outlines, united; or open lines where `line` is set."""
    level: float
    """Parts are painted in rising order."""
    colour: RGB | None = None
    """Instead of the cloth's."""
    tone: float = 1.0
    """Brightness, as a factor."""
    inside: bool = False
    """Only over pixels that its owner already has: seams, buttons, prints."""
    line: float = 0.0
    """Width of a stroke; 0 fills the outlines."""
    turn: float = 0.0
    """Radians by which the pattern is turned, as along a sleeve."""


class Painter:
    """A photo being painted, and the owner of each of its pixels (0: nobody).

    Args:
        background: (H, W, 3) uint8 RGB; kept, not copied.
    """

    def __init__(self, background: NDArray[np.uint8]) -> None:
        self.photo = background
        self.owners: NDArray[np.uint8] = np.zeros(background.shape[:2], np.uint8)

    def paint(self, part: Part, owner: int, cloth: Cloth, matrix: Points) -> None:
        """Paint one part.

        Args:
            part: In heights of the figure.
            owner: Whose its pixels become.
            cloth: Its colours, where the part has none of its own.
            matrix: (2, 3) from heights of the figure to pixels.
        """
        scale = float(np.sqrt(abs(matrix[0, 0] * matrix[1, 1] - matrix[0, 1] * matrix[1, 0])))
        fixed = [  # in sixteenths of a pixel, see `shift`
            np.round((outline @ matrix[:, :2].T + matrix[:, 2]) * 16).astype(np.int32) for outline in part.outlines
        ]
        thickness = max(1, round(part.line * scale)) if part.line else 0
        left, top, wide, high = cv2.boundingRect(np.concatenate(fixed))
        height, width = self.owners.shape
        x0, y0 = max(0, left // 16 - thickness), max(0, top // 16 - thickness)
        x1, y1 = min(width, (left + wide) // 16 + 2 + thickness), min(height, (top + high) // 16 + 2 + thickness)
        if x0 >= x1 or y0 >= y1:
            return
        mask = np.zeros((y1 - y0, x1 - x0), np.uint8)
        for outline in fixed:
            outline -= np.array([x0 * 16, y0 * 16], np.int32)
            if thickness:
                cv2.polylines(mask, [outline], False, 1, thickness, shift=4)
            else:
                cv2.fillPoly(mask, [outline], 1, shift=4)
        photo, owners = self.photo[y0:y1, x0:x1], self.owners[y0:y1, x0:x1]
        if part.inside:
            mask &= owners == owner
        shade = part.tone if part.inside or thickness else _roundness(mask, scale) * np.float32(part.tone)
        cv2.copyTo(_shaded(part, cloth, matrix, (x0, y0, x1, y1), shade), mask, photo)
        owners[mask > 0] = owner


def _shaded(
    part: Part, cloth: Cloth, matrix: Points, box: tuple[int, int, int, int], shade: NDArray[np.float32] | float
) -> NDArray[np.uint8]:
    """(h, w, 3) colours of a box of pixels (x0, y0, x1, y1), times a brightness."""
    x0, y0, x1, y1 = box
    if part.colour is None and cloth.tile is not None:
        inverse = np.linalg.inv(matrix[:, :2])
        cos, sin = np.cos(part.turn), np.sin(part.turn)
        inverse = np.array([[cos, sin], [-sin, cos]]) @ inverse * (TILE / cloth.period)
        x, y = np.arange(x0, x1) - matrix[0, 2], np.arange(y0, y1)[:, None] - matrix[1, 2]
        u = (inverse[0, 0] * x + inverse[0, 1] * y).astype(np.int32) % TILE
        v = (inverse[1, 0] * x + inverse[1, 1] * y).astype(np.int32) % TILE
        colours = cloth.tile.reshape(-1, 3)[v * TILE + u]
        colours *= shade[:, :, None] if isinstance(shade, np.ndarray) else shade
        return _to_uint8(colours)
    colour = part.colour or cloth.colour
    if isinstance(shade, float):
        flat = np.empty((y1 - y0, x1 - x0, 3), np.uint8)
        flat[:] = [min(255, int(value * shade)) for value in colour]
        return flat
    return _to_uint8(np.asarray(cv2.merge([shade * np.float32(value) for value in colour]), np.float32))


def _to_uint8(photo: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Rounded, and cut to 0..255."""
    return np.asarray(cv2.convertScaleAbs(photo), np.uint8)


def _roundness(mask: NDArray[np.uint8], scale: float) -> NDArray[np.float32]:
    """Darker towards the edge of a part, so that it reads as round and stands off from its neighbours."""
    depth = cv2.distanceTransform(mask, cv2.DIST_L2, 3)
    reach = max(2.0, 0.02 * scale)
    return np.asarray(np.minimum(depth, reach) * np.float32(0.36 / reach) + np.float32(0.66), np.float32)


def make_cloth(rng: np.random.Generator, colour: RGB, second: RGB, pattern: str, weave: str = "") -> Cloth:
    """A cloth of a colour and a pattern.

    Args:
        rng: Chooses widths, directions and further colours.
        colour: Its ground.
        second: What the pattern is drawn in.
        pattern: A label of the group textile pattern; `graphic` is left to whoever knows where the chest is.
        weave: `knit`, `denim` or none.
    """
    tile = np.empty((TILE, TILE, 3), np.float32)
    tile[:] = colour
    if pattern == "stripe":
        _stripes(tile, rng, second)
    elif pattern == "check":
        bars = np.zeros((TILE, TILE), np.float32)
        half = np.arange(TILE) < TILE * rng.uniform(0.35, 0.55)
        bars += 0.5 * half[:, None] + 0.5 * half[None]
        tile += (np.array(second, np.float32) - tile) * bars[:, :, None]
        if rng.random() < 0.5:
            third = _random_colour(rng)
            tile[TILE * 3 // 4 : TILE * 3 // 4 + 4] = third
            tile[:, TILE * 3 // 4 : TILE * 3 // 4 + 4] = third
    elif pattern == "dot":
        radius = int(TILE * rng.uniform(0.13, 0.2))
        for centre in ((12, 12), (36, 36)):
            cv2.circle(tile, centre, radius, second, -1)
    elif pattern == "floral":
        _flowers(tile, rng, second)
    if weave == "knit":
        rows = np.sin(np.arange(TILE) * (2 * np.pi * 4 / TILE))
        tile *= (1 + 0.07 * rows[None] + 0.05 * rows[:, None])[:, :, None].astype(np.float32)
    elif weave == "denim":
        tile *= rng.uniform(0.86, 1.14, (TILE, TILE, 1)).astype(np.float32)
    if pattern in ("plain (pattern)", "graphic") and not weave:
        return Cloth(colour, pattern)
    sizes = {"check": (0.05, 0.09), "dot": (0.05, 0.085), "stripe": (0.06, 0.11), "floral": (0.11, 0.16)}
    return Cloth(colour, pattern, tile, float(rng.uniform(*sizes.get(pattern, (0.06, 0.07)))))


def _stripes(tile: NDArray[np.float32], rng: np.random.Generator, second: RGB) -> None:
    bands = int(rng.integers(1, 3))
    pitch = TILE // bands
    wide = int(pitch * rng.uniform(0.35, 0.6))
    third = _random_colour(rng) if rng.random() < 0.25 else second
    upright = rng.random() < 0.3
    for i in range(bands):
        band = slice(i * pitch, i * pitch + wide)
        tile[(slice(None), band) if upright else band] = second if i % 2 == 0 else third


def _flowers(tile: NDArray[np.float32], rng: np.random.Generator, second: RGB) -> None:
    heart, leaf = _random_colour(rng), (int(rng.integers(30, 90)), int(rng.integers(90, 150)), 60)
    for x, y, size in ((11, 13, 6.0), (35, 10, 4.5), (24, 34, 6.5), (45, 38, 4.5)):
        turn = rng.uniform(0, 2 * np.pi)
        for dx in (-TILE, 0, TILE):  # a flower that leaves the tile on one side enters it on the other
            for dy in (-TILE, 0, TILE):
                cx, cy = x + dx, y + dy
                if not (-14 < cx < TILE + 14 and -14 < cy < TILE + 14):
                    continue
                tip = (round(cx + 2 * size * np.cos(turn)), round(cy + 2 * size * np.sin(turn)))
                cv2.line(tile, (cx, cy), tip, leaf, 3)
                for petal in turn + np.arange(5) * (2 * np.pi / 5):
                    centre = (round(cx + size * np.cos(petal)), round(cy + size * np.sin(petal)))
                    cv2.circle(tile, centre, round(size * 0.62), second, -1)
                cv2.circle(tile, (cx, cy), round(size * 0.5), heart, -1)


def _random_colour(rng: np.random.Generator) -> RGB:
    red, green, blue = (int(value) for value in rng.integers(20, 245, 3))
    return red, green, blue


def smooth_noise(rng: np.random.Generator, size: tuple[int, int], cells: int) -> NDArray[np.float32]:
    """(H, W) soft random field, -1 to 1, with about `cells` waves along the photo."""
    grid = rng.uniform(-1, 1, (cells + 2, cells + 2)).astype(np.float32)
    return np.asarray(cv2.resize(grid, size[::-1], interpolation=cv2.INTER_CUBIC), np.float32)


def make_light(rng: np.random.Generator, size: tuple[int, int]) -> NDArray[np.float32]:
    """(H, W) brightness of a photo: lit from one side, with soft folds."""
    height, width = size
    angle, strength = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.12)
    ramp = np.cos(angle) * np.linspace(-1, 1, width)[None] + np.sin(angle) * np.linspace(-1, 1, height)[:, None]
    light = rng.uniform(0.88, 1.08) * (1 + strength * ramp) + 0.05 * smooth_noise(rng, size, 24)
    return np.asarray(light, np.float32)


def develop(rng: np.random.Generator, photo: NDArray[np.uint8], light: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The photo in its light, as a lens and a sensor see it: a little soft, a little noisy."""
    lit = cv2.multiply(photo, cv2.merge([light] * 3), dtype=cv2.CV_8U)
    lit = cv2.GaussianBlur(lit, (3, 3), rng.uniform(0.35, 0.7))
    strength = int(rng.integers(1, 9))
    noise = rng.integers(-strength, strength + 1, photo.shape, np.int8)
    return np.asarray(cv2.add(lit, noise.astype(np.int16), dtype=cv2.CV_8U), np.uint8)


def make_background(rng: np.random.Generator, size: tuple[int, int], *, flat: bool) -> NDArray[np.uint8]:
    """(H, W, 3) RGB of a wall, a street, a room; or of a surface seen from above where `flat`.

    Plain, graded, blotched, or full of things that are no clothes.
    """
    height, width = size
    first, second = np.array([_soft_colour(rng, flat), _soft_colour(rng, flat)], np.float32)
    photo = np.empty((height, width, 3), np.float32)
    kind = rng.choice(["plain", "planks", "blotched"] if flat else ["plain", "graded", "blotched", "street", "room"])
    photo[:] = first
    if kind == "graded":
        photo += (second - first) * np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    elif kind == "blotched":
        photo += (second - first) * (0.5 + 0.4 * smooth_noise(rng, size, int(rng.integers(4, 40))))[:, :, None]
    elif kind == "planks":
        _planks(photo, rng)
    elif kind in ("street", "room"):
        _things(photo, rng, street=kind == "street")
    if not flat and kind != "street" and rng.random() < 0.6:
        floor = int(height * rng.uniform(0.8, 0.95))
        photo[floor:] = photo[floor:] * 0.4 + second * 0.6
    light = 1 + 0.06 * smooth_noise(rng, size, 3) + 0.03 * smooth_noise(rng, size, 30)
    return np.asarray(cv2.multiply(photo, cv2.merge([light] * 3), dtype=cv2.CV_8U), np.uint8)


def _soft_colour(rng: np.random.Generator, flat: bool) -> NDArray[np.float64]:
    grey = rng.uniform(150, 250) if flat or rng.random() < 0.5 else rng.uniform(50, 200)
    return np.clip(grey + rng.normal(0, 14, 3), 0, 255)


def _planks(photo: NDArray[np.float32], rng: np.random.Generator) -> None:
    wood, step = np.array([170, 130, 90]) + rng.normal(0, 30), int(rng.integers(24, 60))
    for x in range(0, photo.shape[1], step):
        photo[:, x : x + step] = wood * rng.uniform(0.85, 1.15)
        photo[:, x : x + 2] *= 0.6


def _things(photo: NDArray[np.float32], rng: np.random.Generator, *, street: bool) -> None:
    """Walls, windows, shelves, poles and pavement, out of focus."""
    height, width = photo.shape[:2]
    for _ in range(int(rng.integers(4, 12))):
        x, y = rng.uniform(-0.2, 0.9) * width, rng.uniform(-0.2, 0.7) * height
        corner = (round(x + rng.uniform(0.1, 0.6) * width), round(y + rng.uniform(0.1, 0.6) * height))
        cv2.rectangle(photo, (round(x), round(y)), corner, tuple(_soft_colour(rng, False)), -1)
    for _ in range(int(rng.integers(0, 8))):
        start, end = rng.uniform(0, 1, 2) * width, rng.uniform(0, 1, 2) * height
        colour = tuple(float(value) for value in rng.uniform(20, 230, 3))
        cv2.line(
            photo, (round(start[0]), round(end[0])), (round(start[1]), round(end[1])), colour, int(rng.integers(1, 6))
        )
    if rng.random() < 0.6:
        step, top = int(rng.integers(14, 40)), int(rng.integers(0, 20))
        glass = tuple(float(value) for value in rng.uniform(40, 220, 3))
        for y in range(top, height * 2 // 3, round(step * 1.5)):
            for x in range(0, width, step):
                cv2.rectangle(photo, (x, y), (x + step * 2 // 3, y + step), glass, -1)
    for _ in range(int(rng.integers(0, 6))):
        centre = (int(rng.integers(0, width)), int(rng.integers(0, height)))
        colour = tuple(float(value) for value in rng.uniform(30, 230, 3))
        cv2.circle(photo, centre, int(rng.integers(4, 28)), colour, -1)
    if street:
        photo[int(height * rng.uniform(0.72, 0.92)) :] = rng.uniform(80, 190) + rng.normal(0, 6, 3)
    cv2.blur(photo, (5, 5), dst=photo)
