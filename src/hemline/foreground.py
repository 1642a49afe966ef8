"""What stands out from the background of a photo of one item, laid flat or hung.

GrabCut (Rother, Kolmogorov, Blake, SIGGRAPH 2004, https://doi.org/10.1145/1015706.1015720) with OpenCV, started from
the colours along the border. `benchmarks/flat_masks.py` measures it against masks drawn by hand.

Shapes: H W photo.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

SIDE = 224
"""Longest side, in pixels, at which the photo is cut out."""
BORDER = 0.03
"""Share of the shorter side that is surely background."""
COLOURS = 4
"""Colours that describe the border."""
ALIKE, UNLIKE = 10.0, 18.0
"""Distance to the nearest of them, in Lab with lightness halved and colour times 1.5, below which a pixel starts as
background and above which it starts as the item."""
SMALL = 0.15
"""Parts smaller than this share of the largest one are not the item."""
HOLE = 0.02
"""Holes smaller than this share of the item are filled."""
AREA = (0.12, 0.88)
"""Share of the photo that an item covers; anything else is a failure."""
CENTRE = 0.4
"""Share of the middle of the photo that an item covers at least."""


def foreground(photo: NDArray[np.uint8]) -> NDArray[np.bool_] | None:
    """(H, W, 3) RGB -> (H, W) True on the item; None where nothing plausible stands out."""
    height, width = photo.shape[:2]
    scale = SIDE / max(height, width)
    size = max(16, round(width * scale)), max(16, round(height * scale))
    small = cv2.bilateralFilter(cv2.resize(photo, size, interpolation=cv2.INTER_AREA), 5, 20, 5)
    start = _start(np.asarray(small, np.uint8))
    if not (start == cv2.GC_PR_FGD).any():
        return None
    cv2.setRNGSeed(0)
    cv2.grabCut(small, start, None, np.zeros((1, 65)), np.zeros((1, 65)), 4, cv2.GC_INIT_WITH_MASK)  # type: ignore[call-overload]  # the stubs want a rectangle that this mode does not read
    item = _whole(np.isin(start, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8))
    rows, columns = item.shape
    middle = item[round(0.3 * rows) : round(0.7 * rows), round(0.3 * columns) : round(0.7 * columns)]
    if not AREA[0] <= item.mean() <= AREA[1] or middle.mean() < CENTRE:
        return None
    smooth = cv2.resize(item.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(smooth) > 0.5


def _start(small: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """GrabCut's first guess, from how unlike the border's colours each pixel is."""
    height, width = small.shape[:2]
    lab = cv2.cvtColor(small, cv2.COLOR_RGB2LAB).astype(np.float32) * np.array([0.5, 1.5, 1.5], np.float32)
    edge = max(2, round(BORDER * min(height, width)))
    border = np.concatenate([part.reshape(-1, 3) for part in (lab[:edge], lab[-edge:], lab[:, :edge], lab[:, -edge:])])
    cv2.setRNGSeed(0)
    stop = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 10, 1.0)
    centres = np.asarray(cv2.kmeans(border[::7], COLOURS, None, stop, 1, cv2.KMEANS_PP_CENTERS)[2])  # type: ignore[call-overload]  # no first labels
    distance = np.linalg.norm(lab[:, :, None] - centres, axis=3).min(2)
    y, x = np.abs(np.linspace(-1, 1, height))[:, None], np.abs(np.linspace(-1, 1, width))[None]
    central = 1 - np.maximum(y, x)                        # (H, W) 1 in the middle, 0 at the border
    start = np.where(central > 0.3, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    start[(distance < ALIKE) & (central < 0.7)] = cv2.GC_PR_BGD
    start[(distance > UNLIKE) & (central > 0.12)] = cv2.GC_PR_FGD
    start[:edge] = start[-edge:] = start[:, :edge] = start[:, -edge:] = cv2.GC_BGD
    return start


def _whole(item: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """The item without specks and pin holes."""
    item = np.asarray(cv2.morphologyEx(item, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)), np.uint8)
    _, parts, stats, _ = cv2.connectedComponentsWithStats(item)
    areas = stats[1:, cv2.CC_STAT_AREA]
    large = np.flatnonzero(areas >= SMALL * areas.max(initial=1)) + 1
    whole = np.isin(parts, large)
    _, gaps, stats, _ = cv2.connectedComponentsWithStats((~whole).astype(np.uint8), connectivity=4)
    holes = np.flatnonzero(stats[:, cv2.CC_STAT_AREA] < HOLE * whole.sum())
    return whole | (np.isin(gaps, holes) & ~whole)
