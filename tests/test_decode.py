"""Reading photos: every odd file is read, every broken one ends in one sentence."""

import os
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageFile

from hemline.errors import PhotoError
from hemline.photo import Photo, read_photo
from tests import photos
from tests.photos import BLUE, BROKEN, COLOUR, GREEN, ODD, PALE, RED, encode, image, scene

WHITE = (255, 255, 255)
quick = settings(deadline=None, max_examples=60)


def quarters(photo: NDArray[np.uint8]) -> NDArray[np.int_]:
    """Colours in the middle of the four quarters (4, 3): red, green, blue, pale in `scene()`."""
    height, width = photo.shape[:2]
    return photo[[height // 4, height // 4, -height // 4, -height // 4]][
        range(4), [width // 4, -width // 4, width // 4, -width // 4]
    ].astype(int)


def refusal(source: Any, **options: Any) -> str:
    """The sentence that a photo is refused with."""
    with pytest.raises(PhotoError) as caught:
        read_photo(source, **options)
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert "0x" not in sentence  # no address of an object
    return sentence


# Odd files


@pytest.mark.parametrize("name", COLOUR)
def test_colours_and_orientation_come_through(name: str, tmp_path: Path) -> None:
    photo = read_photo(COLOUR[name](tmp_path))
    assert photo.shape == (48, 64, 3)
    assert photo.dtype == np.uint8
    assert photo.flags.writeable
    tolerance = 8 if name == "profile_jpeg" else 2  # gamma 2.2 is not quite sRGB's curve
    np.testing.assert_allclose(quarters(photo), [RED, GREEN, BLUE, PALE], atol=tolerance)


@pytest.mark.parametrize("name", ["grey_jpeg", "sixteen_bit_png", "grey_alpha_png", "float_tiff"])
def test_grey_photos_keep_their_levels(name: str, tmp_path: Path) -> None:
    levels = quarters(np.asarray(image().convert("L"))[..., None].repeat(3, axis=2))
    np.testing.assert_allclose(quarters(read_photo(ODD[name](tmp_path))), levels, atol=1)


@pytest.mark.parametrize("name", ["alpha_png", "transparent_palette_png"])
def test_transparent_parts_are_white(name: str, tmp_path: Path) -> None:
    np.testing.assert_array_equal(quarters(read_photo(ODD[name](tmp_path))), [RED, GREEN, BLUE, WHITE])


@pytest.mark.parametrize(("name", "shape"), [("one_pixel_png", (1, 1, 3)), ("strip_png", (2, 30_000, 3))])
def test_extreme_sizes(name: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    photo = read_photo(ODD[name](tmp_path))
    assert photo.shape == shape
    assert tuple(photo[0, 0]) == RED


def test_one_bit_is_black_and_white(tmp_path: Path) -> None:
    assert quarters(read_photo(photos.one_bit_png(tmp_path)))[:, 0].tolist() == [0, 255, 0, 255]


def test_heic(tmp_path: Path) -> None:
    pytest.importorskip("pi_heif")
    photo = read_photo(photos.heic(tmp_path))
    assert photo.shape == (64, 48, 3)
    np.testing.assert_allclose(photo[[16, 48], 24].astype(int), [(200, 30, 30), (30, 30, 200)], atol=4)


def test_heic_without_its_package_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pi_heif", None)
    assert 'pip install "hemline[heic]"' in refusal(photos.heic(tmp_path))


def test_heic_whose_metadata_are_damaged(tmp_path: Path) -> None:
    pytest.importorskip("pi_heif")
    content = photos.heic(tmp_path).read_bytes()
    assert content.count(b"Exif") == 2  # the type of an item, which takes pi-heif 1.4 down if it is not text
    assert read_photo(content.replace(b"Exif", b"E\xffif")).shape == (64, 48, 3)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_every_exif_orientation(orientation: int, kind: str) -> None:
    stored = scene(20, 30)
    upright = {  # what the EXIF standard calls each of them, in numpy's words
        1: stored,
        2: np.fliplr(stored),
        3: np.rot90(stored, 2),
        4: np.flipud(stored),
        5: stored.swapaxes(0, 1),
        6: np.rot90(stored, -1),
        7: np.rot90(stored.swapaxes(0, 1), 2),
        8: np.rot90(stored, 1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    content = encode(Image.fromarray(stored), kind, exif=exif, **options)
    np.testing.assert_array_equal(read_photo(content), upright)


def test_a_broken_exif_block_is_passed_over_in_silence() -> None:
    content = encode(image(), "JPEG", quality=95, exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x09\x01\x12")
    with pytest.warns(UserWarning, match="EXIF"), Image.open(BytesIO(content)) as opened:
        opened.getexif()  # Pillow itself is not silent
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert read_photo(content).shape == (48, 64, 3)
    assert not caught


# More than 8 bits


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_sixteen_bits_are_scaled_not_clipped(kind: str) -> None:
    levels = np.arange(0, 65536, 16, dtype=np.uint16).reshape(64, 64)
    expected = np.rint(levels / 257).astype(np.uint8)
    np.testing.assert_array_equal(read_photo(encode(Image.fromarray(levels), kind))[..., 1], expected)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0, 0.5, 1.0], [0, 128, 255]),  # 0-1
        ([0.0, 51.0, 254.0], [0, 51, 254]),  # 0-255
        ([-5.0, 257.0, 65535.0], [0, 1, 255]),  # 0-65535, below zero is black
        ([0.0, 4e5, 2e6], [0, 51, 255]),  # anything
        ([np.nan, 0.2, np.inf], [0, 51, 255]),
    ],
)
def test_floats_take_the_smallest_usual_range(values: list[float], expected: list[int]) -> None:
    assert read_photo(Image.fromarray(np.array([values], np.float32)))[0, :, 0].tolist() == expected


def test_integers_of_32_bits() -> None:
    assert read_photo(Image.fromarray(np.array([[0, 77, 255]], np.int32)))[0, :, 0].tolist() == [0, 77, 255]
    assert read_photo(Image.fromarray(np.array([[0, 257, 65535]], np.int32)))[0, :, 0].tolist() == [0, 1, 255]


# Colour profiles


def test_a_cmyk_profile_is_obeyed() -> None:
    inks = Image.fromarray(np.array([[[255, 0, 0, 0], [0, 255, 255, 0], [0, 0, 0, 255]]], np.uint8), "CMYK")
    pressed = read_photo(encode(inks, "TIFF", icc_profile=photos.black_cyan_profile()))
    np.testing.assert_allclose(pressed[0], [(0, 0, 0), WHITE, (0, 0, 0)], atol=2)
    np.testing.assert_array_equal(read_photo(encode(inks, "TIFF"))[0, :2], [(0, 255, 255), (255, 0, 0)])


def test_a_grey_profile_is_obeyed() -> None:
    # 55/255 of the light is sRGB level 255 * (1.055 * (55/255) ** (1/2.4) - 0.055) = 128
    levels = Image.new("L", (2, 2), 55)
    photo = read_photo(encode(levels, "PNG", icc_profile=photos.linear_grey_profile()))
    np.testing.assert_allclose(photo, 128, atol=1)


def test_transparency_and_profile_together() -> None:
    rgba = np.dstack([scene()[..., [1, 0, 2]], np.full((48, 64), 255, np.uint8)])
    rgba[24:, 32:, 3] = 0
    photo = read_photo(encode(Image.fromarray(rgba), "PNG", icc_profile=photos.swapped_profile()))
    np.testing.assert_allclose(quarters(photo), [RED, GREEN, BLUE, WHITE], atol=8)


@pytest.mark.parametrize(
    "profile",
    [
        b"not a profile",
        photos.swapped_profile()[:200],
        photos.swapped_profile()[:140] + bytes(300),
        photos.black_cyan_profile(),  # whole, but speaks of inks
    ],
)
def test_a_profile_that_cannot_be_used_is_passed_over(profile: bytes) -> None:
    photo = read_photo(encode(image(), "PNG", icc_profile=profile))
    np.testing.assert_array_equal(photo, scene())


def test_lab() -> None:
    lab = Image.new("LAB", (2, 2), (255, 128, 128))  # L = 100, a = b = 0
    np.testing.assert_allclose(read_photo(lab), 255, atol=1)
    np.testing.assert_allclose(read_photo(encode(lab, "TIFF")), 255, atol=1)


# Arrays, bytes, PIL images


def test_arrays() -> None:
    rgb = scene()
    np.testing.assert_array_equal(read_photo(rgb), rgb)
    np.testing.assert_array_equal(read_photo(rgb[..., ::-1], channels="bgr"), rgb)
    np.testing.assert_array_equal(read_photo(rgb[::-1, ::-1]), rgb[::-1, ::-1])
    np.testing.assert_array_equal(read_photo(rgb[..., 0]), np.stack([rgb[..., 0]] * 3, axis=-1))
    assert read_photo(rgb[::-1]).flags.c_contiguous


def test_an_array_of_four_channels_is_laid_on_white() -> None:
    rgba = np.array([[[10, 20, 30, 255], [10, 20, 30, 0], [0, 0, 0, 128]]], np.uint8)
    expected = [(10, 20, 30), WHITE, (127, 127, 127)]
    np.testing.assert_allclose(read_photo(rgba)[0], expected, atol=1)
    np.testing.assert_allclose(read_photo(rgba[..., [2, 1, 0, 3]], channels="bgr")[0], expected, atol=1)


def test_the_answer_is_a_new_array() -> None:
    given_array = scene()
    read_photo(given_array)[:] = 0
    np.testing.assert_array_equal(given_array, scene())


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 4, 2), np.uint8),
        np.zeros((4, 4, 1), np.uint8),
        np.zeros((3, 4, 4, 3), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros(4, np.uint8),
        np.zeros((), np.uint8),
        np.array([[None]]),
    ],
)
def test_other_arrays_are_refused_with_their_shape(array: NDArray[Any]) -> None:
    sentence = refusal(array)
    assert str(array.shape) in sentence
    assert str(array.dtype) in sentence


def test_unknown_channel_order() -> None:
    assert "'gbr'" in refusal(scene(), channels="gbr")


def test_bytes_and_pil_images_and_strings_agree_with_paths(tmp_path: Path) -> None:
    path = photos.turned_jpeg(tmp_path)
    expected = read_photo(path)
    with Image.open(path) as opened:
        sources: list[Photo] = [str(path), path.read_bytes(), opened]
        for source in sources:
            np.testing.assert_array_equal(read_photo(source), expected)


@pytest.mark.parametrize("source", [None, 7, [1, 2], 3.5, object])
def test_other_things_are_refused_by_their_type(source: Any) -> None:
    assert type(source).__name__ in refusal(source)


# Broken files


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_end_in_a_sentence_with_their_path(name: str, tmp_path: Path) -> None:
    path = BROKEN[name](tmp_path)
    assert refusal(path).startswith(f"{path}: ")
    assert refusal(path.read_bytes()).startswith(f"photo of {path.stat().st_size:,} bytes: ")


def test_reasons(tmp_path: Path) -> None:
    assert "ends before" in refusal(photos.truncated_jpeg(tmp_path))
    assert "ends before" in refusal(photos.truncated_png(tmp_path))
    assert "0 bytes" in refusal(photos.empty_file(tmp_path))
    assert "JPEG, PNG" in refusal(photos.text_named_jpg(tmp_path))
    assert "no such file" in refusal(tmp_path / "missing.jpg")
    assert "folder" in refusal(tmp_path)
    refusal(tmp_path / "zero\0byte.jpg")
    refusal(tmp_path / ("long" * 200))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    assert "not a regular file" in refusal(tmp_path / "pipe.jpg")


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(path: Path, mode: str) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", denied)
    assert "Permission denied" in refusal(photos.plain_jpeg(tmp_path))


def test_a_truncated_photo_is_refused_even_where_pillow_was_told_to_take_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    assert "ends before" in refusal(photos.truncated_jpeg(tmp_path))
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "AVIF", "JPEG2000", "PPM"])
def test_every_cut_is_an_error_or_the_whole_photo(kind: str) -> None:
    noise = Image.fromarray(np.random.default_rng(1).integers(0, 256, (40, 50, 3), np.uint8))
    content = encode(noise, kind)
    whole = read_photo(content)
    refused = 0
    for length in np.linspace(1, len(content) - 1, 25).astype(int):
        try:
            photo = read_photo(content[:length])
        except PhotoError:
            refused += 1
        else:
            np.testing.assert_array_equal(photo, whole)
    assert refused >= 24


def test_postscript_is_never_run(monkeypatch: pytest.MonkeyPatch) -> None:
    content = encode(image(), "EPS")
    assert "JPEG, PNG" in refusal(content)


TINY = {kind: encode(image(16, 24), kind) for kind in ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "AVIF", "PPM")}


@quick
@given(st.binary(max_size=300), st.sampled_from([b"", *(content[:16] for content in TINY.values())]))
def test_any_bytes_give_a_photo_or_a_sentence(content: bytes, start: bytes) -> None:
    with suppress(PhotoError):  # the one error allowed
        assert read_photo(start + content, max_pixels=10**6).dtype == np.uint8


@settings(quick, max_examples=250)
@given(st.data())
def test_any_damage_gives_a_photo_or_a_sentence(data: st.DataObject) -> None:
    content = bytearray(TINY[data.draw(st.sampled_from(sorted(TINY)))])
    place_and_byte = st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255))
    for position, byte in data.draw(st.lists(place_and_byte, max_size=8)):
        content[position] = byte
    end = data.draw(st.integers(0, len(content)) | st.just(len(content)))
    try:
        photo = read_photo(bytes(content[:end]), max_pixels=10**6)
    except PhotoError:
        pass  # the one error allowed
    else:
        assert photo.dtype == np.uint8
        assert photo.ndim == 3


# Pillow's global settings


@pytest.mark.parametrize("as_array", [False, True])
def test_the_pixel_limit_is_named_with_its_repair(as_array: bool) -> None:
    source = scene(100, 100) if as_array else encode(image(100, 100), "PNG")
    sentence = refusal(source, max_pixels=9_999)
    assert "100 x 100" in sentence
    assert "9,999" in sentence
    assert "max_pixels" in sentence
    assert read_photo(source, max_pixels=10_000).shape == (100, 100, 3)


def test_a_bomb_is_refused_before_it_is_decoded() -> None:
    header = encode(image(8, 8), "BMP")
    bomb = header[:18] + (60_000).to_bytes(4, "little") * 2 + header[26:]
    assert "60,000 x 60,000" in refusal(bomb)


def test_pillows_own_limit_neither_warns_nor_stays_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    for limit in (2_000, 100):  # 48 x 64 is above the first (a warning in Pillow), twice above the second (an error)
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        assert read_photo(encode(image(), "PNG")).shape == (48, 64, 3)
        assert limit == Image.MAX_IMAGE_PIXELS


def test_threads_leave_pillow_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    contents = [encode(image(), "PNG"), b"nothing"] * 50

    def attempt(content: bytes) -> bool:
        try:
            return read_photo(content).shape == (48, 64, 3)
        except PhotoError:
            return False

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(attempt, contents)) == [True, False] * 50
    assert Image.MAX_IMAGE_PIXELS == 100
