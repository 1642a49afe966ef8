"""Repainting a garment: what changes, and what it looks like."""

from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from hemline.transplant import CHECK, DOT, PATTERNS, PLAIN, STRIPE, Fabric, random_fabric, repaint

RED, WHITE = (200, 30, 30), (240, 240, 240)



def grey_photo(size: int = 200) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """An evenly lit grey photo with a disc for a garment."""
    y, x = np.mgrid[:size, :size]
    return np.full((size, size, 3), 120, np.uint8), np.hypot(x - size / 2, y - size / 2) < 0.4 * size


def fabric(pattern: str, **changes: Any) -> Fabric:
    return Fabric(pattern, RED, WHITE, period=16, angle=0, width=0.5, seed=3)._replace(**changes)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_only_the_garment_changes(pattern: str) -> None:
    photo, mask = grey_photo()
    photo += np.random.default_rng(0).integers(0, 30, photo.shape, np.uint8)
    kept = photo.copy()
    painted = repaint(photo, mask, fabric(pattern))
    np.testing.assert_array_equal(photo, kept)
    beside = cv2.dilate(mask.astype(np.uint8), np.ones((3, 3))) > 0
    np.testing.assert_array_equal(painted[~beside], photo[~beside])
    inner = cv2.erode(mask.astype(np.uint8), np.ones((5, 5))) > 0
    assert (painted[inner] != photo[inner]).any(-1).mean() > 0.99
    np.testing.assert_array_equal(repaint(photo, mask, fabric(pattern)), painted)


def test_the_edge_is_smooth() -> None:
    photo, mask = grey_photo()
    reds = repaint(photo, mask, fabric(PLAIN))[..., 0].astype(float)
    edge = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3))) > 0
    between = (reds[edge] > 132) & (reds[edge] < 188)    # neither grey nor red
    assert between.mean() > 0.5


@pytest.mark.parametrize("edge", ["corner", "whole"])
def test_a_garment_at_the_photos_edge(edge: str) -> None:
    photo, mask = grey_photo(64)
    mask[:] = edge == "whole"
    mask[:20, :20] = True
    assert repaint(photo, mask, fabric(DOT)).shape == photo.shape


def waves(painted: NDArray[np.uint8]) -> tuple[float, float]:
    """The strongest wave in the middle of a painted photo: its period in pixels, the degrees its crests run down."""
    blue = painted[50:150, 50:150, 2].astype(float)
    power = np.abs(np.fft.fft2((blue - blue.mean()) * np.hanning(100)[:, None] * np.hanning(100), (1024, 1024)))
    y, x = (np.fft.fftfreq(1024)[i] for i in np.unravel_index(power.argmax(), power.shape))
    return 1 / np.hypot(x, y), np.degrees(np.arctan2(-x, y)) % 180


@pytest.mark.parametrize(("period", "angle"), [(10, 0), (16, 90), (16, 30), (24, 120)])
def test_stripes_have_the_period_and_angle_asked_for(period: float, angle: float) -> None:
    photo, mask = grey_photo()
    found = waves(repaint(photo, mask, fabric(STRIPE, period=period, angle=angle)))
    assert found[0] == pytest.approx(period, rel=0.05)
    assert (found[1] - angle + 90) % 180 - 90 == pytest.approx(0, abs=3)


def test_a_check_repeats_both_ways_and_a_dot_lies_apart() -> None:
    photo, mask = grey_photo()
    middle = slice(60, 140), slice(60, 140)
    check, dot = (repaint(photo, mask, fabric(p))[(*middle, 2)].astype(int) for p in (CHECK, DOT))
    for painted in (check, dot):
        for axis in (0, 1):
            again = np.abs(painted - np.roll(painted, 16, axis))[16:, 16:].mean()
            half = np.abs(painted - np.roll(painted, 8, axis))[16:, 16:].mean()
            assert again < 20 < half
    shares = [(check > 215).mean(), ((check > 100) & (check < 170)).mean(), (check < 60).mean()]
    np.testing.assert_allclose(shares, [0.25, 0.5, 0.25], atol=0.1)    # both bars, one, none
    count, _ = cv2.connectedComponents((dot > 135).astype(np.uint8))
    assert 2 * 25 <= count - 1 <= 2 * 36                               # two a period each way, some of them cut


def test_the_light_is_kept_and_an_old_pattern_is_not() -> None:
    _, mask = grey_photo()
    light = np.linspace(0.7, 1.3, 200)[None] * np.ones((200, 1))       # from the right
    old = np.where(np.arange(200)[:, None] % 12 < 6, 70, 150) * light  # striped
    photo = np.repeat(old[..., None], 3, 2).astype(np.uint8)
    painted = repaint(photo, mask, fabric(PLAIN))[..., 0].astype(float)
    inner = cv2.erode(mask.astype(np.uint8), np.ones((15, 15))) > 0
    assert np.corrcoef(painted[inner], light[inner])[0, 1] > 0.95
    assert painted[100, 150] > 1.2 * painted[100, 50]
    rows = np.diff(painted[60:140, 80:120].mean(1))
    assert np.abs(rows).max() < 0.02 * painted.mean()                  # the stripes had steps of 70 %


def test_a_fabric_suits_its_garment() -> None:
    _, mask = grey_photo(400)
    size = float(np.sqrt(mask.sum()))
    some = [random_fabric(np.random.default_rng(n), STRIPE, mask) for n in range(50)]
    assert some[0] == random_fabric(np.random.default_rng(0), STRIPE, mask)
    assert len({one.ground for one in some}) > 8
    assert all(0.09 * size <= one.period <= 0.18 * size for one in some)
    assert {round(one.angle / 90) for one in some} == {0, 1}
    grey = np.array([0.299, 0.587, 0.114])
    assert all(abs((np.subtract(one.ground, one.second)) @ grey) > 55 for one in some)
    small = np.zeros((640, 640), bool)
    small[:60, :60] = True
    assert min(random_fabric(np.random.default_rng(n), DOT, small).period for n in range(9)) == 10
