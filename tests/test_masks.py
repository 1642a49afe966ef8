"""Masks: the forms they are written in, read back by other programs, and what cleaning removes."""

import base64
from io import BytesIO
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco  # type: ignore[import-untyped]  # pycocotools ships no types

from hemline.masks import MAX_HOLE, box, encode, fill_holes, polygons, remove_speckles

# pycocotools 2.0.11 decodes through an array protocol that numpy 2 has deprecated; encoding does not.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")

Mask = NDArray[np.bool_]
SHAPES = st.tuples(st.integers(1, 24), st.integers(1, 24))
MASKS = SHAPES.flatmap(lambda shape: hnp.arrays(np.bool_, shape))


def drawn(*rows: str) -> Mask:
    """A mask from a picture of `#` and `.`."""
    return np.array([[sign == "#" for sign in row] for row in rows])


def filled(rings: list[list[int]], shape: tuple[int, ...]) -> Mask:
    """The polygons as COCO's own code fills them."""
    if not rings:
        return np.zeros(shape, np.bool_)
    packed = coco.frPyObjects([[float(value) for value in ring] for ring in rings], *shape)
    return np.asarray(coco.decode(coco.merge(packed)), np.bool_)


def blob(seed: int) -> Mask:
    """A smooth random shape with holes, some 100 pixels wide."""
    coarse = np.random.default_rng(seed).normal(size=(9, 8)).astype(np.float32)
    return np.asarray(cv2.resize(coarse, (110, 130), interpolation=cv2.INTER_CUBIC)) > 0


@settings(deadline=None)
@given(MASKS)
def test_rle_and_png_give_back_every_pixel(mask: Mask) -> None:
    packed = encode(mask, "rle")
    assert packed["size"] == list(mask.shape)
    assert isinstance(packed["counts"], str)
    np.testing.assert_array_equal(coco.decode(packed), mask)
    with Image.open(BytesIO(base64.b64decode(encode(mask, "png")))) as image:
        assert (image.format, image.mode, image.size) == ("PNG", "1", mask.shape[::-1])
        np.testing.assert_array_equal(np.asarray(image), mask)


@pytest.mark.parametrize("form", ["rle", "png", "polygons", "none"])
def test_no_mask_is_null_in_every_form(form: Any) -> None:
    assert encode(None, form) is None
    assert encode(np.ones((2, 2), np.bool_), "none") is None


def test_an_unknown_form_names_the_choices() -> None:
    form: Any = "bitmap"
    with pytest.raises(ValueError, match="'bitmap': choose rle, png, polygons, none"):
        encode(None, form)


def test_a_box_has_the_corners_of_its_pixels() -> None:
    mask = np.zeros((10, 12), np.bool_)
    mask[2:5, 3:9] = True
    (ring,) = polygons(mask)
    corners = set(zip(ring[::2], ring[1::2], strict=True))
    assert corners == {(3, 2), (9, 2), (9, 5), (3, 5)}
    assert box(mask) == (3, 2, 6, 3)


@pytest.mark.parametrize(
    "mask",
    [
        drawn("#"),
        drawn("...", ".#.", "..."),
        drawn("####", "#..#", "####"),                          # a hole of two pixels
        drawn("#####", "#.#.#", "#####"),                       # two holes in one part
        drawn("##...", "##...", "...##", "...##"),
        drawn("#######", "#.....#", "#.###.#", "#.###.#", "#.....#", "#######"),  # a part within a hole
    ],
)
def test_small_shapes_are_exact(mask: Mask) -> None:
    np.testing.assert_array_equal(filled(polygons(mask), mask.shape), mask)


def test_holes_stay_open_by_both_rules_of_filling() -> None:
    mask = drawn("######", "#.##.#", "#.##.#", "######")
    (ring,) = polygons(mask)
    points = np.array(ring).reshape(-1, 2)
    x, y = points[:, 0], points[:, 1]
    area = (x * np.roll(y, -1) - y * np.roll(x, -1)).sum() / 2   # holes run the other way round: they subtract
    assert abs(area) == mask.sum() == 20
    assert filled([ring], mask.shape).sum() == 20                # even-odd


@settings(deadline=None)
@given(MASKS)
def test_polygons_of_any_mask_are_well_formed(mask: Mask) -> None:
    rings = polygons(mask)
    assert bool(rings) == bool(mask.any())
    for ring in rings:
        assert len(ring) >= 6
        assert len(ring) % 2 == 0
        assert all(type(value) is int for value in ring)
        assert 0 <= min(ring[::2]) <= max(ring[::2]) <= mask.shape[1]
        assert 0 <= min(ring[1::2]) <= max(ring[1::2]) <= mask.shape[0]


@pytest.mark.parametrize("seed", range(8))
def test_polygons_of_smooth_shapes_are_short_and_a_pixel_off_at_most(seed: int) -> None:
    mask = blob(seed)
    rings = polygons(mask)
    wrong = filled(rings, mask.shape) != mask
    kernel = np.ones((5, 5), np.uint8)
    padded = np.pad(mask.astype(np.uint8), 2)                    # the photo's own border is an edge too
    edge = np.asarray(cv2.dilate(padded, kernel) != cv2.erode(padded, kernel))[2:-2, 2:-2]
    assert not (wrong & ~edge).any()
    assert wrong.mean() < 0.02
    assert sum(len(ring) for ring in rings) < 500


def test_speckles_go_and_parts_stay() -> None:
    mask = np.zeros((400, 300), np.bool_)
    mask[10:60, 10:60] = True                                    # 2500 pixels, the largest part
    mask[100:108, 100:108] = True                                # 64: above 2 % of it
    mask[200:206, 200:208] = True                                # 48: below
    cleaned = remove_speckles(mask, mask.size)
    assert cleaned.sum() == 2500 + 64
    assert not cleaned[200:206].any()


def test_a_lonely_speckle_goes_where_it_is_small_in_its_photo() -> None:
    mask = np.zeros((400, 300), np.bool_)
    mask[5, 5:16] = True                                         # 11 of 120,000 pixels: below 1 in 10,000
    assert not remove_speckles(mask, mask.size).any()
    mask[6, 5] = True                                            # 12: just enough
    assert remove_speckles(mask, mask.size).sum() == 12


def test_small_holes_are_filled_where_they_are_nobodys() -> None:
    mask = np.zeros((50, 60), np.bool_)
    mask[5:45, 5:55] = True                                      # 2000 pixels; a hole may have 20 of them
    free = ~mask
    for top, height in ((10, 4), (20, 5)):                       # 16 and 25 pixels
        mask[top : top + height, 10 : 10 + 4 + (height == 5)] = False
        free[top : top + height, 10 : 10 + 4 + (height == 5)] = True
    mask[30:33, 30:33] = False                                   # 9 pixels, of which another garment has 4
    free[30:33, 30:33] = True
    free[30:32, 30:32] = False
    result = fill_holes(mask, free)
    assert result[10:14, 10:14].all()
    assert not result[20:25, 10:15].any()
    assert not result[30:32, 30:32].any()
    assert result[30:33, 30:33].sum() == 5
    assert np.count_nonzero(result & ~mask) <= 2 * MAX_HOLE * mask.sum()
    assert not (result & ~(mask | free)).any()


def test_a_hole_may_touch_the_outside_at_a_corner() -> None:
    mask = np.ones((20, 20), np.bool_)
    mask[0, 0] = mask[1, 1] = False
    result = fill_holes(mask, ~mask)
    assert result[1, 1]
    assert not result[0, 0]


@settings(deadline=None)
@given(MASKS)
def test_cleaning_only_takes_and_filling_only_gives(mask: Mask) -> None:
    cleaned = remove_speckles(mask, mask.size)
    assert not (cleaned & ~mask).any()
    assert cleaned.any() == mask.any()                           # tiny photos have no speckles but beside larger parts
    result = fill_holes(mask, np.zeros_like(mask))
    np.testing.assert_array_equal(result, mask)
    assert not (mask & ~fill_holes(mask, ~mask)).any()


@settings(deadline=None)
@given(MASKS)
def test_the_box_is_the_smallest(mask: Mask) -> None:
    x, y, width, height = box(mask)
    outside = mask.copy()
    outside[y : y + height, x : x + width] = False
    assert not outside.any()
    if mask.any():
        inside = mask[y : y + height, x : x + width]
        assert all(side.any() for side in (inside[0], inside[-1], inside[:, 0], inside[:, -1]))
