"""Large photos: masks known on cells say the same in every form, and JPEGs are read no larger than is of use."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco  # type: ignore[import-untyped]  # pycocotools ships no types

from hemline import _regions, masks
from hemline._regions import working_frame
from hemline.coarse import CoarseMask
from hemline.colour import colours
from hemline.errors import PhotoError
from hemline.photo import Frame, ReadPhoto, place, read_for, read_photo, unplace
from hemline.predict import Files, gather, predict
from hemline.result import read_answer
from tests import photos
from tests.answers import BELT, COAT, K, L, answer, field, metadata, nothing, validate
from tests.photos import encode, image, scene
from tests.primary import colour_tagger

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")   # pycocotools on numpy 2
CANVAS = (32, 24)


def slow_whole(cells: NDArray[np.bool_], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Pixel by pixel: the cell that its centre lies in."""
    mask = np.zeros(size, np.bool_)
    for y in range(size[0]):
        for x in range(size[1]):
            mask[y, x] = cells[int((y + 0.5) * cells.shape[0] / size[0]), int((x + 0.5) * cells.shape[1] / size[1])]
    return mask


# -- masks on cells ---------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=60)
@given(st.data(), *[st.integers(1, 7)] * 2, *[st.integers(0, 9)] * 2, st.sampled_from([0, 3, 8]))
def test_every_form_of_a_coarse_mask_says_the_same(
    data: st.DataObject, height: int, width: int, taller: int, wider: int, filled: int
) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 10_000)))
    cells = rng.random((height, width)) < filled / 8 if filled else np.zeros((height, width), np.bool_)
    mask = CoarseMask(cells, (height + taller, width + wider))
    expected = slow_whole(cells, mask.size)
    whole = mask.whole()
    assert whole.dtype == np.bool_
    np.testing.assert_array_equal(whole, expected)
    assert mask.area == expected.sum()
    assert mask.box == masks.box(expected)
    packed = mask.rle()
    assert packed == masks.rle(expected)
    np.testing.assert_array_equal(coco.decode(packed), expected)
    assert mask.encode("png") == masks.png(expected)
    assert mask.encode("polygons") == masks.polygons(expected)
    assert mask.encode("none") is None


def test_cells_that_are_pixels_are_not_copied() -> None:
    cells = np.eye(4, dtype=np.bool_)
    assert CoarseMask.of(cells).whole() is cells


@pytest.mark.parametrize(("size", "frame", "expected"), [
    ((825, 550), (384, 256), (825, 550)),             # not large
    ((3600, 2400), (384, 256), (866, 577)),           # half a megapixel of the same form
    ((2, 30_000), (1, 256), (2, 30_000)),
    ((4000, 4000), (1024, 1024), (2048, 2048)),       # a large canvas: twice what the photo fills of it
])  # fmt: skip
def test_the_size_that_masks_are_decided_at(
    size: tuple[int, int], frame: tuple[int, int], expected: tuple[int, int]
) -> None:
    working = working_frame(Frame(3, 5, *frame, *size))
    assert (working.photo_height, working.photo_width) == expected
    assert working[:4] == (3, 5, *frame)


def test_masks_of_a_large_photo_are_true_to_a_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    logits, size = field(rng, (12, 8), 2.0), (240, 160)
    said = np.full((1 + K, L), -5.0, np.float32)
    photo = np.zeros((*size, 3), np.uint8)
    frame = place(photo, (48, 32)).frame
    exact = read_answer(logits, said, (48, 32), frame, metadata(), photo, name="p")
    monkeypatch.setattr(_regions, "MAX_DECIDED", 4000)
    coarse = read_answer(logits, said, (48, 32), frame, metadata(), photo, name="p")
    validate(coarse)
    assert coarse.size == exact.size == size
    before = {g.category: g for g in exact.garments_and_parts}
    large = [g for g in coarse.garments_and_parts if g.area > 0.02]
    assert len(large) > 1
    full = unplace(logits, frame, (48, 32))
    for garment in large:
        assert garment.drawn is not None
        assert garment.drawn.cells.size <= 48 * 32 * 4
        assert garment.mask is not None
        assert garment.mask.shape == size
        assert garment.mask is garment.mask, "made once"
        assert garment.mask.sum() == round(garment.area * 240 * 160)
        assert garment.box == masks.box(garment.mask)
        other = before[garment.category].mask
        assert other is not None
        apart = np.argwhere(garment.mask != other)
        for y, x in apart[:: max(1, len(apart) // 50)]:      # each lies by a border of the exact masks
            near = slice(max(0, y - 4), y + 5), slice(max(0, x - 4), x + 5)
            assert other[near].any()
            assert not other[near].all()
        assert len(apart) < 0.2 * other.sum()
    assert full.shape[1:] == size


def test_colours_of_a_mask_at_another_scale_than_the_photo() -> None:
    photo = scene(480, 640)
    quarter = np.zeros((12, 16), np.bool_)
    quarter[:6, :8] = True                                     # the red one; by the prototypes, BLUE is a purple
    assert [colour.name for colour in colours(photo, quarter)] == ["red"]
    assert [colour.name for colour in colours(photo, quarter[::-1])] == ["purple"]
    assert [colour.name for colour in colours(photo, quarter[:, ::-1])] == ["green"]


# -- JPEGs at the scale of the canvas ---------------------------------------------------------------------------------


def large(**options: Any) -> bytes:
    return encode(image(960, 720), "JPEG", quality=92, **options)


@pytest.mark.parametrize(("size", "shape"), [
    ((960, 720), (240, 180)),                                  # 30 canvases: a quarter leaves 7.5, an eighth too little
    ((255, 191), (255, 191)),
    ((256, 192), (128, 96)),
    ((1030, 771), (129, 97)),
    ((130, 3000), (65, 1500)),                                 # 64 pixels stay
])  # fmt: skip
def test_a_jpeg_is_read_no_larger_than_is_of_use(size: tuple[int, int], shape: tuple[int, int]) -> None:
    content = encode(image(*size), "JPEG", quality=92)
    read = read_for(content, CANVAS)
    assert read.size == size
    assert read.pixels.shape[:2] == shape
    whole = read.whole()
    np.testing.assert_array_equal(whole, read_photo(content))
    frame, expected = place(read, CANVAS), place(whole, CANVAS)
    assert frame.frame == expected.frame
    assert np.abs(frame.pixels.astype(int) - expected.pixels).mean() < 1.5


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turned_jpegs_keep_their_size_and_turn(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encode(image(960, 480), "JPEG", quality=95, subsampling=0, exif=exif)
    read, whole = read_for(content, CANVAS), read_photo(content)
    assert read.size == whole.shape[:2] == ((960, 480) if orientation < 5 else (480, 960))
    assert read.pixels.size < whole.size / 4
    height, width = read.pixels.shape[:2]
    small = np.asarray(Image.fromarray(whole).resize((width, height), Image.Resampling.BOX), int)
    assert np.abs(read.pixels.astype(int) - small).mean() < 2


@pytest.mark.parametrize("kind", ["progressive", "cmyk", "grey", "profile"])
def test_odd_jpegs_are_read_at_a_reduced_scale_too(kind: str) -> None:
    content = {
        "progressive": lambda: large(progressive=True),
        "cmyk": lambda: encode(image(960, 720).convert("CMYK"), "JPEG", quality=95),
        "grey": lambda: encode(image(960, 720).convert("L"), "JPEG"),
        "profile": lambda: large(icc_profile=photos.swapped_profile()),
    }[kind]()
    read, whole = read_for(content, CANVAS), read_photo(content)
    assert read.pixels.shape == (240, 180, 3)
    np.testing.assert_allclose(read.pixels[20::80, 20::80].astype(int), whole[80::320, 80::320], atol=3)


def test_what_is_no_large_jpeg_is_read_whole() -> None:
    png = encode(image(960, 720), "PNG")
    for source in (png, scene(960, 720), image(960, 720), encode(image(100, 80), "JPEG")):
        read = read_for(source, CANVAS)
        assert read.source is None
        assert read.whole() is read.pixels
        np.testing.assert_array_equal(read.pixels, read_photo(source))
    with pytest.raises(PhotoError, match="'gbr'"):
        read_for(png, CANVAS, channels="gbr")  # type: ignore[arg-type]
    with pytest.raises(PhotoError, match="over the limit"):
        read_for(large(), CANVAS, max_pixels=960 * 720 - 1)


@pytest.mark.parametrize("progressive", [False, True])
def test_a_cut_jpeg_is_an_error_at_any_scale(progressive: bool) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (320, 256, 3), np.uint8))
    content = encode(noise, "JPEG", quality=95, progressive=progressive)
    assert read_for(content, CANVAS).pixels.shape == (160, 128, 3)
    for share in (0.1, 0.5, 0.9, 0.97):
        with pytest.raises(PhotoError, match=r"ends before|damaged"):
            read_for(content[: int(share * len(content))], CANVAS)


# -- the photo's own pixels, when they are asked for ------------------------------------------------------------------


def test_pixels_are_decoded_when_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.jpg").write_bytes(large())
    monkeypatch.chdir(tmp_path)
    result = colour_tagger()("a.jpg")
    renamed = replace(result, photo="b")
    assert "pixels" not in vars(result), "not yet"
    assert not [g for g in result.garments if "mask" in vars(g)]
    assert result.read.pixels.nbytes < 960 * 720
    monkeypatch.chdir("/")                                     # a relative path is still the same file
    np.testing.assert_array_equal(result.pixels, read_photo(tmp_path / "a.jpg"))
    assert result.pixels is result.pixels
    assert renamed.draw().height >= 960


@pytest.mark.parametrize("what", ["gone", "changed"])
def test_a_file_that_is_no_longer_what_was_read(what: str, tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(large())
    result = colour_tagger()(path)
    kept = colour_tagger()(path.read_bytes())
    if what == "gone":
        path.unlink()
    else:
        os.utime(path, ns=(1, 1))
    with pytest.raises(PhotoError, match="no such file" if what == "gone" else "has changed since") as caught:
        _ = result.pixels
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert kept.pixels.shape == (960, 720, 3)                  # bytes are kept


def test_a_photo_that_is_gone_before_it_is_drawn_is_a_failure_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(large())
    whole = ReadPhoto.whole

    def lost(read: ReadPhoto) -> NDArray[np.uint8]:
        if str(read.source).endswith("a.jpg"):
            (tmp_path / "a.jpg").unlink(missing_ok=True)
        return whole(read)

    monkeypatch.setattr(ReadPhoto, "whole", lost)
    asked = gather([str(tmp_path / "a.jpg"), str(tmp_path / "b.jpg")])
    assert predict(colour_tagger(), asked, form="jsonl", files=Files(draw=tmp_path / "out")) == 1
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["b.drawn.jpg"]
    said = capsys.readouterr()
    assert "no such file" in said.err
    assert len(said.out.splitlines()) == 2


def test_a_small_answer_is_the_same_from_an_array() -> None:
    logits = nothing(40, 40)
    logits[COAT, 5:30, 5:30] = logits[BELT, 30:33, 5:30] = 4.0
    for garment in answer(logits).garments:
        assert garment.drawn is not None
        assert garment.mask is garment.drawn.cells
