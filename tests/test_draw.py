"""Drawings: legible on any photo of any size, the same colours each time, nothing cut off."""

from collections import Counter
from itertools import combinations
from typing import Any, Literal

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hemline.coarse import CoarseMask
from hemline.colour import Colour
from hemline.draw import DARK, LONGEST, PALETTE, PAPER, SHORTEST, colours_of, draw, fitted, font_of, place_tags
from hemline.labels import LabelSpace
from hemline.masks import box
from hemline.photo import ReadPhoto
from hemline.result import Garment, Result
from hemline.words_said import ScoredLabel

SPACE = LabelSpace("none", 1, (), (), ())


def garment(mask: NDArray[np.bool_] | None, number: int = 0, **changes: Any) -> Garment:
    found_by: Literal["mask", "label"] = "mask" if mask is not None else "label"
    values: dict[str, Any] = {
        "category": f"garment {number}",
        "category_id": number,
        "outfit_part": None,
        "score": 0.5,
        "area": 0.0 if mask is None else float(mask.mean()),
        "box": None if mask is None else box(mask),
        "drawn": None if mask is None else CoarseMask.of(mask),
        "found_by": found_by,
        "colours": [Colour("red", "#c81e1e", 0.75), Colour("turquoise", "#40e0d0", 0.25)] if mask is not None else [],
        "attributes": [ScoredLabel("sleeve length", "wrist-length", 160, 0.9)],
    }
    return Garment(**(values | changes))


def result(photo: NDArray[np.uint8], *garments: Garment, name: str = "photo.jpg") -> Result:
    height, width = photo.shape[:2]
    return Result(name, (height, width), list(garments), [], ReadPhoto.of(photo), SPACE)


def flat(height: int, width: int, value: int = 128) -> NDArray[np.uint8]:
    return np.full((height, width, 3), value, np.uint8)


def rectangle(height: int, width: int, rows: slice, columns: slice) -> NDArray[np.bool_]:
    mask = np.zeros((height, width), np.bool_)
    mask[rows, columns] = True
    return mask


def drawn(photo: NDArray[np.uint8], *garments: Garment) -> NDArray[np.uint8]:
    return np.asarray(draw(photo, result(photo, *garments)))


def test_colours_come_again_only_when_all_are_taken() -> None:
    """Of many garments of one category, as networks find that tell garments apart."""
    for num in (1, len(PALETTE), len(PALETTE) + 5, 3 * len(PALETTE)):
        times = Counter(colours_of([23] * num))
        assert max(times.values()) == -(-num // len(PALETTE))
    assert colours_of([3, 3])[0] == colours_of([3])[0] == PALETTE[3]


@pytest.mark.parametrize("value", [0, 128, 255])
def test_a_garment_is_tinted_outlined_and_the_rest_left_alone(value: int) -> None:
    photo = flat(800, 600, value)
    coat = garment(rectangle(800, 600, slice(200, 500), slice(150, 450)))
    picture = drawn(photo, coat)[:800, :600].astype(int)
    assert (photo == value).all()                                # the caller's photo is not painted on
    outside = np.ones((800, 600), np.bool_)
    outside[190:510, 140:460] = False
    assert (picture[outside] == value).all()
    tint = picture[230, 180] - value
    assert np.abs(tint).max() > 10
    assert (np.sign(tint) == np.sign(np.array(PALETTE[0]) - value)).all()
    across = picture[300, 140:165]                               # over the left edge, away from the tag
    assert np.abs(across - np.array(DARK)).max(1).min() < 40
    assert across.max(1).max() > 200
    assert len({tuple(pixel) for pixel in across.tolist()}) >= 3


def test_the_outline_is_thicker_on_a_larger_photo() -> None:
    widths = []
    for scale in (1, 4):
        photo = flat(800 * scale, 600 * scale, 255)
        mask = rectangle(800 * scale, 600 * scale, slice(200 * scale, 500 * scale), slice(150 * scale, 450 * scale))
        row = drawn(photo, garment(mask))[300 * scale, 100 * scale : 200 * scale].astype(int)
        widths.append(int((np.abs(row - np.array(DARK)).max(1) < 40).sum()))
    assert widths[1] > 2 * widths[0] > 0


def test_a_category_keeps_its_colour_and_one_photo_repeats_none() -> None:
    photo = flat(800, 600)
    masks = [rectangle(800, 600, slice(50 * i, 50 * i + 50), slice(100, 500)) for i in range(14)]
    alone = drawn(photo, garment(masks[3], 9))[160, 120]
    beside = drawn(photo, garment(masks[0], 4), garment(masks[3], 9))[160, 120]
    np.testing.assert_array_equal(alone, beside)
    all_of_one_id = drawn(photo, *(garment(mask, 9) for mask in masks))
    assert len({tuple(all_of_one_id[50 * i + 10, 120].tolist()) for i in range(14)}) == 14


@pytest.mark.parametrize(
    "cones",
    [
        np.eye(3),
        [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],   # deuteranopia
        [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],  # protanopia
    ],
)  # Machado, Oliveira and Fernandes, 2009, at full severity, for linear RGB
def test_the_palette_stays_apart_for_colour_blind_eyes(cones: Any) -> None:
    value = np.array(PALETTE) / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4) @ np.array(cones).T
    linear = linear.clip(0, 1)
    seen = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    lab = cv2.cvtColor(seen[None].astype(np.float32), cv2.COLOR_RGB2Lab)[0]
    assert min(float(np.linalg.norm(a - b)) for a, b in combinations(lab, 2)) > 15


def test_tags_lie_on_wide_garments_and_beside_small_ones() -> None:
    wide = rectangle(800, 600, slice(200, 500), slice(150, 450)).astype(np.uint8)
    small = rectangle(800, 600, slice(100, 108), slice(280, 330)).astype(np.uint8)
    tags = place_tags([wide, None, small], 13.0)
    assert set(tags) == {0, 2}
    assert tags[0].anchor is None
    assert wide[round(tags[0].centre[1]), round(tags[0].centre[0])]
    assert tags[2].anchor is not None
    x, y = tags[2].centre
    away = np.hypot(*(np.argwhere(small) - [y, x]).T)
    assert 13 < away.min() < 60
    x, y = tags[2].anchor
    assert np.hypot(*(np.argwhere(small) - [y, x]).T).min() < 3


def test_tags_keep_apart() -> None:
    masks = [rectangle(800, 600, slice(300 + 4 * i, 303 + 4 * i), slice(290, 320)).astype(np.uint8) for i in range(12)]
    centres = [tag.centre for tag in place_tags(masks, 13.0).values()]
    assert len(centres) == 12
    assert all(13 <= x <= 587 and 13 <= y <= 787 for x, y in centres)
    assert min(np.hypot(a[0] - b[0], a[1] - b[1]) for a, b in combinations(centres, 2)) >= 26


@pytest.mark.parametrize(("height", "width"), [(64, 64), (96, 64), (800, 600), (600, 800), (64, 2000), (1800, 2700)])
def test_nothing_in_the_legend_is_cut_off(height: int, width: int) -> None:
    photo = flat(height, width)
    long = [ScoredLabel("g", f"a rather long word {i}", i, 0.5 + i / 20) for i in range(9)]
    colours = [Colour("turquoise", "#40e0d0", 0.4), Colour("turquoise", "#40e0d1", 0.3), Colour("navy", "#000080", 0.3)]
    masks = [rectangle(height, width, slice(4 * i, 4 * i + 4), slice(5, 50)) for i in range(8)]
    garments = [
        garment(mask, i, category="headband, head covering, hair accessory", attributes=long, colours=colours)
        for i, mask in enumerate(masks)
    ]
    name = "a/folder/with/a/name/that/goes/on/and/on/and/on/until/the/photo.jpg"
    image = draw(photo, result(photo, *garments, garment(None, 9), name=name))
    assert image.mode == "RGB"
    legend = np.asarray(image)[:, round(max(SHORTEST, max(height, width)) / max(height, width) * width) :]
    margin = 10                                                  # pixels; the smallest unit is 13
    assert (legend[:, -margin:] == PAPER).all()
    assert (legend[-margin:] == PAPER).all()
    assert (legend[:margin] == PAPER).all()
    assert (legend[:, :margin] == PAPER).all()
    assert (legend != PAPER).any(2).mean() > 0.03


@pytest.mark.parametrize(
    ("shape", "shown"),
    [((1, 1), (640, 640)), ((64, 48), (640, 480)), ((900, 500), (900, 500)), ((6000, 300), (6000, 300)),
     ((2, 6000), (2, 6000)), ((30_000, 3), (6000, 1)), ((12_000, 600), (6000, 300))],
)  # fmt: skip
def test_photos_of_any_size_are_drawn(shape: tuple[int, int], shown: tuple[int, int]) -> None:
    photo = flat(*shape)
    coat = garment(rectangle(*shape, slice(None), slice(0, max(1, shape[1] // 2))))
    image = draw(photo, result(photo, coat))
    assert image.height >= shown[0]
    assert shown[1] + 150 <= image.width <= shown[1] + max(shown) / 2 + 700
    assert max(image.size) <= 2 * LONGEST


def test_what_changes_in_the_answer_changes_the_legend() -> None:
    photo = flat(300, 200)
    mask = rectangle(300, 200, slice(50, 250), slice(50, 150))
    changes: list[dict[str, Any]] = [
        {"score": 0.6},
        {"category": "other"},
        {"attributes": []},
        {"colours": [Colour("navy", "#000080", 1.0)]},
        {"found_by": "label"},
        {"drawn": None},
    ]
    seen = {draw(photo, result(photo, garment(**({"mask": mask} | change)))).tobytes() for change in [{}, *changes]}
    assert len(seen) == len(changes) + 1


def test_an_empty_answer_and_strange_names_are_drawn() -> None:
    photo = flat(300, 200)
    assert draw(photo, result(photo)).size == draw(photo, result(photo, name="été/照片\n🧥.jpg")).size
    assert result(photo).draw().tobytes() == draw(photo, result(photo)).tobytes()


class Ruler:
    """A font where an `i` is 3 pixels wide and other signs are 10; it counts the signs that it was asked about."""

    def __init__(self) -> None:
        self.measured = 0

    def getlength(self, text: str) -> float:
        self.measured += len(text)
        return sum(3 if sign == "i" else 10 for sign in text)


@settings(max_examples=100, deadline=None)
@given(st.text("iw", max_size=30), st.integers(-5, 150))
def test_of_a_long_text_the_longest_end_that_fits_is_kept(text: str, width: int) -> None:
    ruler: Any = Ruler()
    choices = [text, *(f"…{text[cut:]}" for cut in range(1, len(text))), ""]
    longest = next(choice for choice in choices if not choice or ruler.getlength(choice) <= width)
    assert fitted(text, ruler, width) == longest


def test_long_texts_are_fitted_without_measuring_every_end() -> None:
    ruler: Any = Ruler()
    text = "w" * 5000
    assert fitted(text, ruler, 100) == "…" + "w" * 9
    assert ruler.measured < 20 * len(text)
    font = font_of(20)
    cut = fitted(text + "i", font, 200)
    assert cut.startswith("…w")
    assert cut.endswith("wi")
    assert 170 < font.getlength(cut) <= 200


def test_a_legend_of_long_names_is_drawn() -> None:
    mask = rectangle(300, 200, slice(50, 250), slice(40, 160))
    long = [ScoredLabel("g", "y" * 5000, 1, 0.9)]
    photo = flat(300, 200)
    plain = draw(photo, result(photo, garment(mask)))
    assert draw(photo, result(photo, garment(mask, category="x" * 5000, attributes=long))).size == plain.size
