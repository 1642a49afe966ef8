"""Photos: folders are searched, photos are placed on the canvas, and maps find back to the photo's pixels."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from hemline.errors import PhotoError
from hemline.photo import (
    PHOTO_SUFFIXES,
    Canvas,
    Found,
    Frame,
    find_photos,
    photo_size,
    place,
    read_for,
    read_photo,
    search,
    unplace,
)
from hemline.predict import gather
from hemline.tagger import Failure
from tests.photos import scene

quick = settings(deadline=None, max_examples=60)


# Finding


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A folder as it comes from a shop."""
    for name in (
        "b.JPG",
        "a.jpeg",
        "sub/c.png",
        "sub/deep/d.webp",
        "notes.txt",
        ".hidden.jpg",
        ".git/e.jpg",
        "x[1].jpg",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "bare").mkdir()
    return tmp_path


def names(found: list[Path], folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in found]


def test_a_folder_is_searched_through_and_sorted(shop: Path) -> None:
    assert names(find_photos([str(shop)]), shop) == ["a.jpeg", "b.JPG", "sub/c.png", "sub/deep/d.webp", "x[1].jpg"]


def test_a_named_file_is_taken_whatever_its_name(shop: Path) -> None:
    assert names(find_photos([str(shop / "notes.txt"), str(shop / ".hidden.jpg")]), shop) == [
        "notes.txt",
        ".hidden.jpg",
    ]
    assert names(find_photos([str(shop / "x[1].jpg")]), shop) == ["x[1].jpg"]


def test_globs(shop: Path) -> None:
    assert names(find_photos([f"{shop}/*.jpeg"]), shop) == ["a.jpeg"]
    assert names(find_photos([f"{shop}/[ab].*"]), shop) == ["a.jpeg", "b.JPG"]
    assert names(find_photos([f"{shop}/s*"]), shop) == ["sub/c.png", "sub/deep/d.webp"]
    assert names(find_photos([f"{shop}/**/*.webp"]), shop) == ["sub/deep/d.webp"]


def test_every_photo_once_in_the_order_asked(shop: Path) -> None:
    found = find_photos([f"{shop}/sub/*.png", str(shop / "b.JPG"), str(shop)])
    assert names(found, shop) == ["sub/c.png", "b.JPG", "a.jpeg", "sub/deep/d.webp", "x[1].jpg"]


def test_everything_missing_is_named_at_once(shop: Path) -> None:
    with pytest.raises(PhotoError) as caught:
        find_photos([str(shop / "no.jpg"), str(shop / "a.jpeg"), str(shop / "bare"), f"{shop}/*.tif", ""])
    sentence = str(caught.value)
    for part in ("no.jpg: no such file", "bare: no photo in this folder", "*.tif: no photo matches", "''"):
        assert part in sentence
    assert "a.jpeg" not in sentence


def test_a_folder_that_cannot_be_read_hides_no_other(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep, scan = str(shop / "sub" / "deep"), os.scandir

    def scandir(path: str) -> Any:
        if str(path) == deep:
            raise PermissionError(13, "Permission denied", deep)
        return scan(path)

    monkeypatch.setattr(os, "scandir", scandir)
    sentence = f"{deep}: this folder cannot be read: Permission denied"
    found = search([str(shop)])
    assert names(found.photos, shop) == ["a.jpeg", "b.JPG", "sub/c.png", "x[1].jpg"]
    assert found.problems == {deep: sentence}
    assert search([deep]) == Found([], {deep: sentence}), "not: no photo in it"
    assert len(search([f"{shop}/s*"]).photos) == 1
    with pytest.raises(PhotoError, match=f"^{sentence}$"):
        find_photos(str(shop))
    assert [(item.name, item.photo) for item in gather([str(shop / "sub")])] == [
        (str(shop / "sub" / "c.png"), shop / "sub" / "c.png"), (deep, Failure(deep, sentence)),
    ]  # fmt: skip


def test_one_pattern_alone_is_not_taken_letter_by_letter(shop: Path) -> None:
    assert len(find_photos(str(shop))) == 5


def test_suffixes_are_lower_case() -> None:
    assert all(suffix == suffix.lower() and suffix.startswith(".") for suffix in PHOTO_SUFFIXES)


# Placing


def smooth(height: int, width: int) -> NDArray[np.uint8]:
    """Red grows to the right, green downwards."""
    photo = np.zeros((height, width, 3), np.uint8)
    photo[..., 0] = np.linspace(0, 255, width).round()
    photo[..., 1] = np.linspace(0, 255, height).round()[:, None]
    return photo


SIDES = st.integers(1, 90)
LONG = st.sampled_from([1, 2, 300, 5000])


@quick
@given(SIDES | LONG, SIDES | LONG, SIDES, SIDES)
def test_a_photo_is_placed_whole_in_the_middle_at_its_own_aspect(h: int, w: int, height: int, width: int) -> None:
    pixels, valid, frame = place(np.full((h, w, 3), 9, np.uint8), (height, width))
    assert pixels.shape == (height, width, 3)
    assert (frame.photo_height, frame.photo_width) == (h, w)
    assert frame.height == height or frame.width == width  # as large as fits
    scale = min(height / h, width / w)
    assert abs(frame.height - h * scale) <= 0.5 or frame.height == 1
    assert abs(frame.width - w * scale) <= 0.5 or frame.width == 1
    bottom, right = height - frame.top - frame.height, width - frame.left - frame.width
    assert 0 <= bottom - frame.top <= 1
    assert 0 <= right - frame.left <= 1
    inside = np.zeros((height, width), np.uint8)
    inside[frame.top : frame.top + frame.height, frame.left : frame.left + frame.width] = 1
    np.testing.assert_array_equal(valid, inside)
    np.testing.assert_array_equal(pixels, np.where(inside, 9, 127)[..., None].repeat(3, axis=2))


def test_a_photo_of_the_canvas_size_is_untouched() -> None:
    photo = smooth(32, 24)
    placed = place(photo, (32, 24))
    assert isinstance(placed, Canvas)
    np.testing.assert_array_equal(placed.pixels, photo)
    assert placed.frame == Frame(0, 0, 32, 24, 32, 24)


def test_shrinking_averages() -> None:
    lines = np.zeros((64, 64, 3), np.uint8)
    lines[:, ::4] = 200  # of one pixel each: looking at the middle of every four pixels would miss all of them
    assert np.abs(place(lines, (16, 16)).pixels.astype(int) - 50).max() <= 1


# Unplacing


def along(values: NDArray[Any], at: NDArray[Any], wanted: NDArray[Any], axis: int) -> Any:
    """Linear interpolation along an axis, the ends repeated: numpy's own."""
    return np.apply_along_axis(lambda line: np.interp(wanted, at, line), axis, values)


def reference(values: NDArray[Any], frame: Frame, size: tuple[int, int], to: tuple[int, int]) -> NDArray[np.float64]:
    """`unplace` of one map, from the definition: the centres of cells that touch the photo, and nothing else."""
    sides = ((frame.top, frame.height, size[0], to[0]), (frame.left, frame.width, size[1], to[1]))
    answer = values.astype(np.float64)
    for axis, (start, length, canvas, wanted) in enumerate(sides):
        cells = answer.shape[axis]
        edges = np.arange(cells + 1) * (canvas / cells)
        touching = np.flatnonzero((edges[1:] > start + 1e-9) & (edges[:-1] < start + length - 1e-9))
        centres = (edges[:-1] + edges[1:])[touching] / 2
        pixels = start + np.arange(length) + 0.5
        answer = along(answer.take(touching, axis), centres, pixels, axis)
        photo_pixels = (np.arange(wanted) + 0.5) * (length / wanted)
        answer = along(answer, pixels - start, photo_pixels, axis)
    return answer


@st.composite
def placed_maps(draw: st.DrawFn) -> tuple[NDArray[np.float32], Frame, tuple[int, int]]:
    """Random maps (2, h, w) at a random stride, and where some photo lies on their canvas."""
    stride = draw(st.sampled_from([1, 2, 4, 8, 32]))
    size = (stride * draw(st.integers(1, 64 // stride)), stride * draw(st.integers(1, 64 // stride)))
    photo = np.zeros((draw(SIDES), draw(SIDES), 3), np.uint8)
    generator = np.random.default_rng(draw(st.integers(0, 1000)))
    maps = generator.normal(0, 4, (2, size[0] // stride, size[1] // stride)).astype(np.float32)
    return maps, place(photo, size).frame, size


@quick
@given(placed_maps(), st.none() | st.tuples(SIDES, SIDES))
def test_unplace_is_what_its_definition_says(
    placed: tuple[NDArray[np.float32], Frame, tuple[int, int]], to: tuple[int, int] | None
) -> None:
    maps, frame, size = placed
    answer = unplace(maps, frame, size, to)
    wanted = to or (frame.photo_height, frame.photo_width)
    assert answer.shape == (2, *wanted)
    assert answer.dtype == np.float32
    for one, expected in zip(answer, (reference(values, frame, size, wanted) for values in maps), strict=True):
        np.testing.assert_allclose(one, expected, atol=1e-3)


@quick
@given(placed_maps(), st.floats(-20, 20, width=32))
def test_constant_maps_stay_constant(placed: tuple[NDArray[np.float32], Frame, tuple[int, int]], value: float) -> None:
    maps, frame, size = placed
    np.testing.assert_allclose(unplace(np.full_like(maps, value), frame, size), value, rtol=1e-5, atol=1e-6)


@quick
@given(placed_maps())
def test_cells_on_padding_have_no_say(placed: tuple[NDArray[np.float32], Frame, tuple[int, int]]) -> None:
    maps, frame, size = placed
    valid = np.zeros(size, bool)
    valid[frame.top : frame.top + frame.height, frame.left : frame.left + frame.width] = True
    stride = size[0] // maps.shape[1]
    touches = valid.reshape(maps.shape[1], stride, maps.shape[2], stride).any((1, 3))
    garbage = np.where(touches, maps, np.float32(1e9))
    np.testing.assert_array_equal(unplace(garbage, frame, size), unplace(maps, frame, size))


@pytest.mark.parametrize("photo_size", [(60, 90), (90, 60), (825, 550), (20, 20), (30, 300)])
@pytest.mark.parametrize("stride", [1, 4, 8])
def test_a_ramp_painted_on_the_photo_returns_to_its_place(photo_size: tuple[int, int], stride: int) -> None:
    height, width = photo_size
    size = (96, 64)
    frame = place(np.zeros((height, width, 3), np.uint8), size).frame
    # each cell holds the x of the photo at its own centre
    centres = (np.arange(size[1] // stride) + 0.5) * stride
    x = (centres - frame.left) * width / frame.width
    maps = np.tile(x.astype(np.float32), (1, size[0] // stride, 1))
    answer = unplace(maps, frame, size)[0]
    edge = int(np.ceil((stride + 1) * width / frame.width))  # beyond the outermost cell's centre, its value is repeated
    inner = slice(edge, width - edge)
    expected = np.arange(width) + 0.5
    np.testing.assert_allclose(answer[:, inner], np.broadcast_to(expected[inner], answer[:, inner].shape), atol=0.5)


@quick
@given(st.integers(24, 100), st.integers(24, 100), st.sampled_from([(96, 64), (64, 96), (64, 64)]))
def test_what_is_placed_can_be_unplaced(height: int, width: int, size: tuple[int, int]) -> None:
    photo = smooth(height, width)
    pixels, _, frame = place(photo, size)
    back = unplace(np.ascontiguousarray(pixels.transpose(2, 0, 1), np.float32), frame, size)
    steps = np.array([255 / (width - 1), 255 / (height - 1)])  # of red and green, a pixel
    ratio = max(1.0, height / frame.height, width / frame.width)
    error = np.abs(back[:2] - photo[..., :2].transpose(2, 0, 1)).max((1, 2))
    assert (error <= steps * 0.5 * ratio + 1.0).all()  # half a pixel of the coarser grid, and two roundings


def test_a_strip_survives_both_ways() -> None:
    frame = place(scene(2, 30_000), (96, 64)).frame
    assert (frame.height, frame.width) == (1, 64)
    assert unplace(np.ones((1, 24, 16), np.float32), frame, (96, 64)).shape == (1, 2, 30_000)


def test_maps_whose_stride_is_no_whole_number() -> None:
    maps = np.random.default_rng(3).normal(size=(1, 7, 5)).astype(np.float32)
    frame = place(np.zeros((40, 31, 3), np.uint8), (48, 32)).frame
    np.testing.assert_allclose(
        unplace(maps, frame, (48, 32))[0], reference(maps[0], frame, (48, 32), (40, 31)), atol=1e-3
    )


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_size_of_a_file_is_that_of_its_photo(orientation: int, kind: str, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = tmp_path / "photo"
    Image.new("RGB", (6, 4)).save(file, kind, exif=exif)
    assert photo_size(file) == read_photo(file).shape[:2] == ((4, 6) if orientation < 5 else (6, 4))
    read = read_for(file, (64, 64))
    assert read.size == read.pixels.shape[:2] == photo_size(file)
    file.write_bytes(b"GIF89a")
    with pytest.raises(PhotoError, match="not a whole image"):
        photo_size(file)
