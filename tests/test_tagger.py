"""The API on a network whose answers can be told by eye, and on the default weights."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from hemline import console
from hemline import tagger as module
from hemline.errors import DeviceError, HemlineError, PhotoError
from hemline.result import Result
from hemline.runtime import Answer
from hemline.tagger import Failure, Tagger
from tests import primary
from tests.primary import ColourRuntime

Paint = Callable[..., Path]


@pytest.fixture
def colour_tagger() -> Tagger:
    return primary.colour_tagger()


@pytest.fixture
def paint(tmp_path: Path) -> Paint:
    return lambda name, *colours, **size: primary.paint(tmp_path / name, *colours, **size)


def worn(answer: Result | Failure) -> list[str]:
    assert isinstance(answer, Result)
    return sorted(garment.category for garment in answer.garments)


def test_one_photo(colour_tagger: Tagger, paint: Paint) -> None:
    path = paint("a.png", "red", "lime")
    result = colour_tagger(path)
    assert (result.photo, result.size) == (str(path), (60, 48))
    assert worn(result) == ["jacket", "pants, jeans"]
    jacket = next(garment for garment in result.garments if garment.category == "jacket")
    assert jacket.mask is not None
    truth = np.zeros((60, 48), bool)
    truth[4:18, 8:40] = True
    overlap = (jacket.mask & truth).sum() / (jacket.mask | truth).sum()
    assert overlap > 0.8, "the red band, back at the photo's size"
    assert [colour.name for colour in jacket.colours] == ["red"]
    assert [(a.group, a.label) for a in jacket.attributes] == [("textile pattern", "plain")]


def test_every_kind_of_photo_gets_the_same_answer(colour_tagger: Tagger, paint: Paint) -> None:
    path = paint("a.png", "red", "blue")
    image = Image.open(path)
    array = np.asarray(image)
    expected = colour_tagger(path).to_dict() | {"photo": ""}
    bgr = np.asarray(cv2.cvtColor(array, cv2.COLOR_RGB2BGR), np.uint8)
    same: list[Any] = [str(path), path.read_bytes(), image, array]
    for photo in same:
        assert colour_tagger(photo).to_dict() | {"photo": ""} == expected
    assert colour_tagger(bgr, "bgr").to_dict() | {"photo": ""} == expected
    assert worn(colour_tagger(array, "bgr")) == ["hat", "jacket"], "red and blue change places"
    assert [colour_tagger(photo).photo for photo in same] == [str(path), "photo", str(path), "photo"]


def test_a_stream_keeps_order_and_goes_on_after_bad_photos(colour_tagger: Tagger, paint: Paint) -> None:
    colours = ["red", "lime", "blue"]
    photos: list[Any] = [paint(f"{i}.png", colours[i % 3]) for i in range(7)]
    photos.insert(2, b"not a photo")
    photos.insert(5, "missing.jpg")
    answers = list(colour_tagger.stream(photos, batch_size=4))
    assert len(answers) == 9
    names = ["jacket", "pants, jeans", "hat"]
    for photo, answer in zip(photos, answers, strict=True):
        if isinstance(photo, Path):
            assert worn(answer) == [names[int(photo.stem) % 3]]
    assert [type(answers[i]) for i in (2, 5)] == [Failure, Failure]
    missing = answers[5]
    assert isinstance(missing, Failure)
    assert missing.photo == "missing.jpg"
    assert "no such file" in missing.message
    assert missing.to_dict()["error"] == missing.message


def test_a_photo_s_answer_does_not_depend_on_its_batch(colour_tagger: Tagger, paint: Paint) -> None:
    photos = [paint(f"{i}.png", *["red", "lime", "blue"][: i + 1], size=(40 + 9 * i, 60)) for i in range(3)] * 2
    alone = [colour_tagger(photo).to_dict() for photo in photos]
    for batch_size in (1, 4, 100):
        together = [answer.to_dict() for answer in colour_tagger.stream(photos, batch_size)]
        assert together == alone


def test_batches_are_as_large_as_asked(colour_tagger: Tagger, paint: Paint, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = colour_tagger.runtime
    assert isinstance(runtime, ColourRuntime)
    photos = [paint("a.png", "red")] * 5
    list(colour_tagger.stream(photos, batch_size=2))
    assert runtime.batches == [2, 2, 1]
    runtime.batches.clear()
    monkeypatch.setattr(module, "BATCH_PIXELS", 60 * 48 * 3)  # three such photos fill the memory allowed
    list(colour_tagger.stream(photos, batch_size=16))
    assert runtime.batches == [3, 2]
    assert list(colour_tagger.stream([])) == []


def test_a_stream_takes_only_what_it_needs(colour_tagger: Tagger, paint: Paint) -> None:
    taken = 0

    def endless() -> Iterator[Path]:
        nonlocal taken
        for photo in cycle([paint("a.png", "red")]):
            taken += 1
            yield photo

    stream = colour_tagger.stream(endless(), batch_size=3)
    assert [worn(next(stream)) for _ in range(4)] == [["jacket"]] * 4
    assert taken <= 12, "two batches, and at most one ahead of each"
    assert isinstance(stream, Iterator)
    stream.close()  # type: ignore[attr-defined]  # a generator; must not wait for the endless rest


def test_a_source_that_raises_loses_no_photo_before(colour_tagger: Tagger, paint: Paint) -> None:
    photo = paint("a.png", "red")

    def failing(count: int) -> Iterator[Path]:
        yield from [photo] * count
        raise LookupError("the source")

    for count in range(5):
        stream = colour_tagger.stream(failing(count), batch_size=2)
        for _ in range(count):
            assert worn(next(stream)) == ["jacket"]
        with pytest.raises(LookupError, match="the source"):
            next(stream)


def test_a_photo_alone_is_a_stream_of_one(colour_tagger: Tagger, paint: Paint) -> None:
    path = paint("a.png", "red")
    alone: list[Any] = [path, str(path), path.read_bytes(), Image.open(path)]
    for photo in alone:
        (answer,) = colour_tagger.stream(photo)
        assert worn(answer) == ["jacket"]


def test_an_order_of_colours_that_is_none(colour_tagger: Tagger, paint: Paint) -> None:
    path = paint("a.png", "red")
    sources: list[Any] = [path, path.read_bytes(), Image.new("RGB", (4, 4)), np.zeros((4, 4, 3), np.uint8)]
    for photo in sources:
        with pytest.raises(PhotoError, match=r"channels='rbg': say \"rgb\" or \"bgr\""):
            colour_tagger(photo, "rbg")  # type: ignore[arg-type]


class Lopsided:
    """A network that answers how far to the right each cell lies."""

    name = "lopsided"
    device = "cpu"
    dtype = "f32"

    def __call__(self, pixels: NDArray[np.uint8], valid: NDArray[np.uint8]) -> Answer:
        del valid
        red = pixels[:, ::4, ::4, 0].astype(np.float32)  # (B, h, w)
        ramp = np.arange(red.shape[2], dtype=np.float32)
        return Answer(np.repeat((red + ramp)[:, None], 4, axis=1), np.repeat(red[:, :5, :5] + ramp[:5], 1, axis=0))


def test_flip_averages_with_the_mirrored_photo(colour_tagger: Tagger) -> None:
    """The ramp of positions cancels out to its mean; the photo's own content stays where it was."""
    tagger = Tagger(Lopsided(), colour_tagger.metadata, flip=True)
    pixels = np.repeat(np.random.default_rng(0).integers(0, 99, (2, 16, 16, 3), np.uint8), 4, 1).repeat(4, 2)
    answer = tagger.run(pixels, np.ones((2, 64, 64), np.uint8))
    red = pixels[:, ::4, ::4, 0].astype(np.float32)
    np.testing.assert_allclose(answer.masks[:, 1], red + 7.5)
    np.testing.assert_allclose(answer.labels, (red[:, :5, :5] + red[:, :5, :-6:-1]) / 2 + np.arange(5))


class OneSided:
    """A network that finds the jacket where red is on the left, and the pants nowhere."""

    name = "one-sided"
    device = "cpu"
    dtype = "f32"

    def __call__(self, pixels: NDArray[np.uint8], valid: NDArray[np.uint8]) -> Answer:
        del valid
        masks = np.full((len(pixels), 4, 16, 16), -6, np.float32)
        labels = np.full((len(pixels), 5, 5), -50, np.float32)            # under an empty mask: anything
        for i in range(len(pixels)):
            left = pixels[i, 0, 0, 0] > 200
            labels[i, 0] = 1 if left else 3
            if left:
                masks[i, 0, :8] = 8
                labels[i, 1] = 2
        return Answer(masks, labels)


def test_flip_leaves_out_labels_under_a_mask_that_is_empty(colour_tagger: Tagger) -> None:
    tagger = Tagger(OneSided(), colour_tagger.metadata, flip=True)
    pixels = np.zeros((3, 64, 64, 3), np.uint8)
    pixels[0, :, :32, 0] = pixels[1, :, 32:, 0] = 255                     # a jacket in one pass of each, but not in [2]
    labels = tagger.run(pixels, np.ones((3, 64, 64), np.uint8)).labels
    assert (labels[:2, 0] == 2).all(), "the whole photo: both passes"
    assert (labels[:2, 1] == 2).all(), "the jacket: the pass that sees one"
    assert (labels[:, 2:] == -50).all(), "the pants: neither, so both"
    assert (labels[2, 1] == -50).all()
    result = tagger(pixels[0])
    assert {"jacket"} == {garment.category for garment in result.garments if garment.found_by == "mask"}
    jacket = next(garment for garment in result.garments if garment.found_by == "mask")
    assert jacket.attributes, "those of the pass that sees it"


def test_min_score(colour_tagger: Tagger, paint: Paint) -> None:
    strict = Tagger(colour_tagger.runtime, colour_tagger.metadata, min_score=0.9)
    result = strict(paint("a.png", "red"))
    assert worn(result) == ["jacket"]
    assert result.garments[0].attributes == [], "its pattern scores 0.88"
    for score in (-0.1, 1.5, float("nan")):
        with pytest.raises(ValueError, match="min_score"):
            Tagger(colour_tagger.runtime, colour_tagger.metadata, min_score=score)


def test_bad_arguments(colour_tagger: Tagger) -> None:
    with pytest.raises(PhotoError, match=r"missing\.jpg"):
        colour_tagger("missing.jpg")
    with pytest.raises(ValueError, match="batch_size"):
        colour_tagger.stream([], batch_size=0)
    with pytest.raises(HemlineError, match=r"none\.onnx"):
        Tagger.load("none.onnx")


def test_a_dtype_that_is_none_is_refused_of_any_weights(
    colour_tagger: Tagger, monkeypatch: pytest.MonkeyPatch
) -> None:
    instances = replace(colour_tagger.metadata, finds="instances")
    monkeypatch.setattr(module, "read_metadata", lambda _: instances)
    monkeypatch.setattr(module, "open_finder", lambda *_, **__: colour_tagger.runtime)
    assert Tagger.load("w.safetensors").metadata is instances
    with pytest.raises(DeviceError, match="dtype 'f16': choose f32, bf16"):
        Tagger.load("w.safetensors", dtype="f16")  # type: ignore[arg-type]


def test_pictures_and_tables_make_no_masks_of_the_photo_s_size(colour_tagger: Tagger, paint: Paint) -> None:
    result = colour_tagger(paint("a.png", "red", "lime"))
    assert result.garments
    console.show(result)
    assert all("mask" not in vars(garment) for garment in result.garments)


def test_the_default_weights_dress_the_demo_photo() -> None:
    from hemline.predict import demo_photo
    from hemline.runtime import default_weights

    try:
        default_weights(".onnx")
    except HemlineError as error:
        pytest.skip(f"no default weights yet: {error}")
    tagger = Tagger.load()
    result = tagger(demo_photo())
    assert {"jacket", "hat", "shirt, blouse", "tie"} & set(worn(result))
