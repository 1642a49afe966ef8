"""Masks as borders of runs: beside pycocotools and plain numpy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as coco  # type: ignore[import-untyped]

from hemline.borders import (
    area,
    borders_of_counts,
    borders_of_mask,
    borders_of_polygons,
    borders_of_rle,
    borders_of_text,
    rle_of_borders,
    text_of_borders,
)
from hemline.data.packed import overlay

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")   # pycocotools on numpy 2
UNHURRIED = settings(deadline=None)                          # the first call imports, and machines are busy
SIDES = st.integers(1, 12)
MASKS = st.tuples(SIDES, SIDES).flatmap(lambda size: arrays(bool, size))
STACKS = st.tuples(st.integers(0, 6), SIDES, SIDES).flatmap(lambda shape: arrays(bool, shape))


def painted(borders, size):
    """The mask, pixel by pixel."""
    flat = np.zeros(size[0] * size[1], bool)
    for begin, end in borders.reshape(-1, 2).tolist():
        flat[begin:end] = True
    return flat.reshape(size[1], size[0]).T


def counts_of(mask):
    """COCO's uncompressed counts, told by walking down the columns."""
    counts, before = [0], False
    for pixel in mask.T.ravel().tolist():
        if pixel != before:
            counts.append(0)
        counts[-1] += 1
        before = pixel
    return counts


@UNHURRIED
@given(MASKS)
def test_masks_come_back(mask):
    borders = borders_of_mask(mask)
    np.testing.assert_array_equal(painted(borders, mask.shape), mask)
    assert area(borders) == mask.sum()
    np.testing.assert_array_equal(borders_of_text(text_of_borders(borders), mask.shape), borders)
    np.testing.assert_array_equal(borders_of_text(text_of_borders(borders).encode(), mask.shape), borders)
    np.testing.assert_array_equal(borders_of_counts(counts_of(mask), mask.shape), borders)


@UNHURRIED
@given(MASKS)
def test_pycocotools_reads_what_is_written_and_is_read(mask):
    borders = borders_of_mask(mask)
    np.testing.assert_array_equal(coco.decode(rle_of_borders(borders, mask.shape)), mask)
    rle = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    assert rle == rle_of_borders(borders, mask.shape)
    np.testing.assert_array_equal(borders_of_rle(rle["counts"], mask.shape), borders)
    assert coco.area(rle) == area(borders)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 3_000), min_size=1, max_size=12), st.booleans())
def test_long_counts(counts, covered_first):
    counts = [0] * covered_first + counts                    # numbers of several characters, falling and rising
    size = (sum(counts), 1)
    rle = coco.frPyObjects({"size": list(size), "counts": counts}, *size)
    borders = borders_of_rle(rle["counts"], size)
    np.testing.assert_array_equal(borders, borders_of_counts(counts, size))
    np.testing.assert_array_equal(painted(borders, size), coco.decode(rle))


def test_the_published_example():
    borders = borders_of_text("2 3", (3, 4))                 # pixels (1,0), (2,0), (0,1)
    assert np.argwhere(painted(borders, (3, 4))).tolist() == [[0, 1], [1, 0], [2, 0]]
    assert text_of_borders(borders) == "2 3"


def test_runs_that_meet_and_empty_masks():
    meeting = borders_of_text("1 2 3 2", (2, 3))
    np.testing.assert_array_equal(painted(meeting, (2, 3)), [[1, 1, 0], [1, 1, 0]])
    assert area(meeting) == 4
    segments, members = overlay([meeting], (2, 3))
    np.testing.assert_array_equal(segments, [[1, 1, 0], [1, 1, 0]])
    assert members == [(), (0,)]
    assert rle_of_borders(meeting, (2, 3)) == rle_of_borders(np.array([0, 4]), (2, 3))
    np.testing.assert_array_equal(borders_of_counts([0, 2, 0, 2, 2], (2, 3)), [0, 4])
    for text in ("", "  ", b"", b"\t\n"):
        assert len(borders_of_text(text, (2, 3))) == 0
    assert text_of_borders(np.empty(0, np.int64)) == ""


@UNHURRIED
@given(STACKS)
def test_overlay_says_which_masks_cover_each_pixel(masks):
    size = masks.shape[1:]
    segments, members = overlay([borders_of_mask(mask) for mask in masks], size)
    assert segments.shape == size
    assert segments.dtype == np.uint8
    assert members[0] == ()
    assert len(set(members)) == len(members)
    for (y, x), segment in np.ndenumerate(segments):
        assert members[segment] == tuple(np.flatnonzero(masks[:, y, x]))
    assert set(range(1, len(members))) <= set(segments.ravel().tolist())   # no segment is of no pixel


def test_overlay_where_everything_is_covered():
    segments, members = overlay([np.array([0, 6]), np.array([3, 6])], (3, 2))
    assert members[0] == ()
    assert [[members[s] for s in row] for row in segments.tolist()] == [[(0,), (0, 1)]] * 3


@pytest.mark.parametrize(("count", "kind"), [(255, np.uint8), (256, np.uint16), (700, np.uint16)])
def test_many_segments(count, kind):
    masks = [np.array([2 * i, 2 * i + 1]) for i in range(count)]
    segments, members = overlay(masks, (20, 100))
    assert segments.dtype == kind
    assert len(members) == count + 1
    flat = segments.T.ravel()
    assert [members[s] for s in flat[: 2 * count]] == [(i // 2,) if i % 2 == 0 else () for i in range(2 * count)]
    assert not flat[2 * count :].any()


def test_too_many_segments():
    generator = np.random.default_rng(0)
    masks = [borders_of_mask(generator.random((270, 270)) < 0.5) for _ in range(22)]   # nearly every pixel its own set
    with pytest.raises(ValueError, match=r"22 masks overlap in \d+ ways; 65,536 at most"):
        overlay(masks, (270, 270))


@UNHURRIED
@given(st.lists(st.lists(st.floats(-3, 14), min_size=6, max_size=10), min_size=1, max_size=3))
def test_polygons_are_drawn_as_pycocotools_draws_them(polygons):
    polygons = [p[: len(p) // 2 * 2] for p in polygons]
    size = (9, 11)
    drawn = coco.decode(coco.frPyObjects(polygons, *size)).any(-1)
    np.testing.assert_array_equal(painted(borders_of_polygons(polygons, size), size), drawn)


def test_no_polygon():
    assert len(borders_of_polygons([], (4, 4))) == 0
    assert len(borders_of_polygons([[0, 0, 0, 0, 0, 0]], (4, 4))) == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 2 x", "whole numbers, start and length in turn"),
        ("1.5 2", "whole numbers"),
        ("-1 2", "whole numbers"),
        ("1,2", "whole numbers"),
        ("é 2", "whole numbers"),
        ("1 2 3", "3 numbers are no pairs"),
        ("0 2", "pixels are counted from 1"),
        ("1 2 5 0", "run 2 has no pixel"),
        ("4 2 1 1", "run 2 begins before the one before it ends"),
        ("1 3 3 1", "run 2 begins before the one before it ends"),
        ("11 3", "runs go to pixel 13; a photo of 3 x 4 has 12"),
        ("13 1", "a start or a length of 13; a photo of 3 x 4 has 12"),
        ("9223372036854775807 9223372036854775807", "a photo of 3 x 4 has 12"),
        ("99999999999999999999999 1", "a photo of 3 x 4 has 12"),
    ],
)
def test_damaged_text(text, message):
    for form in (text, text.encode()):
        with pytest.raises(ValueError, match=message):
            borders_of_text(form, (3, 4))


@UNHURRIED
@given(st.one_of(st.text("0123456789 -x", max_size=12), st.binary(max_size=12)))
def test_any_text_gives_a_mask_on_the_photo_or_a_sentence(text):
    try:
        borders = borders_of_text(text, (3, 4))
    except ValueError:
        return
    assert 0 <= area(borders) <= 12
    assert borders.min(initial=0) >= 0
    assert borders.max(initial=0) <= 12
    numbers = [int(x) for x in text.split()]
    assert borders.tolist() == [x for s, n in zip(numbers[::2], numbers[1::2], strict=True) for x in (s - 1, s - 1 + n)]


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ([1, 2], "counts of 3 pixels in all; a photo of 2 x 2 has 4"),
        ([2, -1, 3], "whole numbers of 0 or more"),
        ([2.5, 1.5], "whole numbers of 0 or more"),
        ([[4]], "whole numbers of 0 or more"),
        ([[1], [1, 2]], "whole numbers of 0 or more"),
        ("4", "whole numbers of 0 or more"),
        (None, "whole numbers of 0 or more"),
        ([], "counts of 0 pixels in all"),
        ([2**62, 2**62, 2**62, 2**62 + 4], "a count of 4611686018427387908 pixels"),
        ([2**80], "whole numbers"),
    ],
)
def test_damaged_counts(counts, message):
    with pytest.raises(ValueError, match=message):
        borders_of_counts(counts, (2, 2))


@UNHURRIED
@given(st.binary(max_size=16))
def test_any_compressed_text_gives_a_mask_on_the_photo_or_a_sentence(text):
    try:
        borders = borders_of_rle(text, (3, 4))
    except ValueError as error:
        assert "\n" not in str(error)  # noqa: PT017 - which sentence depends on the bytes
        return
    assert 0 <= area(borders) <= 12
    np.testing.assert_array_equal(painted(borders, (3, 4)), coco.decode({"size": [3, 4], "counts": text}))


@pytest.mark.parametrize(
    ("polygon", "message"),
    [
        ([0, 0, 1, 1], "three points or more"),
        ([0, 0, 1, 1, 2], "three points or more"),
        ([0, 0, 1, 1, 2, float("nan")], "three points or more"),
        (["a", 0, 1, 1, 2, 2], "three points or more"),
        (None, "three points or more"),
        ([[0, 0], [1, 1], [2, 2]], "three points or more"),
        ([0, 0, 1e9, 0, 1e9, 1e9], r"goes to 1e\+09, far off a photo of 4 x 4"),   # pycocotools crashes
        ([-400, 0, 1, 0, 1, 1], "goes to -400, far off"),
    ],
)
def test_damaged_polygons(polygon, message):
    with pytest.raises(ValueError, match=message):
        borders_of_polygons([polygon], (4, 4))
