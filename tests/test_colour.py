"""Colours: pure patches, mixtures with their shares, and light that must not change the answer."""

import time

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from hemline.colour import MIN_SHARE, PROTOTYPES, colours

PURE = {
    "black": "#000000",
    "gray": "#808080",
    "white": "#ffffff",
    "red": "#ff0000",
    "orange": "#ff8000",
    "yellow": "#ffff00",
    "green": "#008000",
    "turquoise": "#40e0d0",
    "blue": "#0000ff",
    "navy": "#000080",
    "purple": "#800080",
    "pink": "#ffc0cb",
    "brown": "#8b4513",
    "beige": "#f5f5dc",
}  # the names of the web (CSS Color 4), brown as its saddlebrown


def rgb(text: str) -> NDArray[np.uint8]:
    return np.frombuffer(bytes.fromhex(text.removeprefix("#")), np.uint8)


def patch(text: str, height: int = 60, width: int = 40) -> NDArray[np.uint8]:
    return np.broadcast_to(rgb(text), (height, width, 3)).copy()


def everywhere(photo: NDArray[np.uint8]) -> NDArray[np.bool_]:
    return np.ones(photo.shape[:2], np.bool_)


def shaded(text: str, darkest: float) -> NDArray[np.uint8]:
    """One dye under light that falls from full to `darkest`, mixed as light mixes: in linear sRGB."""
    value = rgb(text) / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    light = np.linspace(1, darkest, 80)[:, None, None] * np.ones((80, 60, 1))
    lit = light * linear
    return np.asarray(np.where(lit <= 0.0031308, 12.92 * lit, 1.055 * lit ** (1 / 2.4) - 0.055) * 255, np.uint8)


def test_the_table_of_names_is_the_one_tested() -> None:
    assert set(PURE) == set(PROTOTYPES)


@pytest.mark.parametrize("name", PURE)
def test_a_pure_patch_is_its_name(name: str) -> None:
    photo = patch(PURE[name])
    (colour,) = colours(photo, everywhere(photo))
    assert (colour.name, colour.share) == (name, 1.0)
    assert np.abs(rgb(colour.hex).astype(int) - rgb(PURE[name])).max() <= 2


@pytest.mark.parametrize(
    ("text", "name"),
    [("#3c5a86", "blue"), ("#1c2541", "navy"), ("#6e1018", "red"), ("#d2b48c", "beige"), ("#556b2f", "green"),
     ("#f08080", "pink"), ("#2a2624", "black"), ("#f4efe6", "white"), ("#e6e6fa", "white"), ("#4b2a5a", "purple"),
     ("#add8f0", "blue"), ("#0a14b4", "blue"), ("#c8a820", "yellow"), ("#654321", "brown"), ("#008080", "turquoise")],
)  # fmt: skip
def test_shades_as_a_shop_names_them(text: str, name: str) -> None:
    photo = patch(text)
    assert [colour.name for colour in colours(photo, everywhere(photo))] == [name]


@pytest.mark.parametrize(
    ("one", "two"), [("red", "blue"), ("black", "white"), ("navy", "white"), ("gray", "black"), ("beige", "brown")]
)
@pytest.mark.parametrize("share", [0.5, 0.7])
def test_two_colours_have_their_shares(one: str, two: str, share: float) -> None:
    photo = patch(PURE[two], 100, 100)
    photo[: round(100 * share)] = rgb(PURE[one])
    found = {colour.name: colour.share for colour in colours(photo, everywhere(photo))}
    assert found == pytest.approx({one: share, two: 1 - share}, abs=0.05)


@pytest.mark.parametrize("upright", [False, True])
@pytest.mark.parametrize(("every", "height", "width"), [(4, 900, 700), (5, 900, 700), (10, 900, 700), (3, 600, 400)])
def test_narrow_stripes_keep_their_shares_at_any_size(every: int, height: int, width: int, upright: bool) -> None:
    photo = patch(PURE["white"], height, width)
    stripes = photo.transpose(1, 0, 2) if upright else photo
    stripes[np.arange(len(stripes)) % every == every // 2] = rgb(PURE["navy"])
    found = {colour.name: colour.share for colour in colours(photo, everywhere(photo))}
    assert found == pytest.approx({"navy": 1 / every, "white": 1 - 1 / every}, abs=0.05)


@pytest.mark.parametrize("name", ["red", "green", "blue", "purple", "orange", "turquoise", "yellow", "black"])
def test_shade_on_one_dye_is_one_colour(name: str) -> None:
    photo = shaded(PURE[name], 0.35)
    assert [colour.name for colour in colours(photo, everywhere(photo))] == [name]


@pytest.mark.parametrize(("text", "name"), [("#0000ff", "blue"), ("#5c141c", "red"), ("#14213d", "navy")])
def test_a_deep_dye_is_one_colour_down_to_a_tenth_of_the_light(text: str, name: str) -> None:
    photo = shaded(text, 0.1)
    assert [colour.name for colour in colours(photo, everywhere(photo))] == [name]


@pytest.mark.parametrize(
    ("one", "two"), [("#20242a", "#3b3026"), ("#262626", "#5a2d1e"), ("#20242a", "#3a4632"), ("#36454f", "#0f1a33")]
)
def test_dark_colours_of_little_chroma_stay_apart(one: str, two: str) -> None:
    photo = patch(one, 100, 60)
    photo[50:] = rgb(two)
    found = {colour.hex: colour.share for colour in colours(photo, everywhere(photo))}
    assert found == pytest.approx({one: 0.5, two: 0.5}, abs=0.05)


def test_a_white_shirt_in_half_shadow_stays_white() -> None:
    photo = shaded("#f0f0f0", 0.5)
    assert [colour.name for colour in colours(photo, everywhere(photo))] == ["white"]


def test_noise_does_not_split_a_colour() -> None:
    noise = np.random.default_rng(1).normal(0, 8, (80, 60, 3))
    photo = np.clip(patch("#3c5a86", 80, 60) + noise, 0, 255).astype(np.uint8)
    assert [colour.name for colour in colours(photo, everywhere(photo))] == ["blue"]


def test_only_the_mask_counts_and_its_edge_does_not_bleed() -> None:
    photo = patch(PURE["green"], 80, 80)
    photo[20:60, 20:60] = rgb(PURE["red"])
    for bled in (1, 2):                                        # pixels of green all around
        mask = np.zeros((80, 80), np.bool_)
        mask[20 - bled : 60 + bled, 20 - bled : 60 + bled] = True
        assert [(colour.name, colour.share) for colour in colours(photo, mask)] == [("red", 1.0)]


def test_thin_garments_still_have_a_colour() -> None:
    photo = patch(PURE["white"], 2000, 1500)
    photo[1001, 3:1400] = rgb(PURE["brown"])                    # a belt one pixel high
    mask = np.zeros((2000, 1500), np.bool_)
    mask[1001, 3:1400] = True
    mask[1500, 700] = True
    assert colours(photo, mask)[0].name == "brown"


def test_an_empty_mask_has_no_colour() -> None:
    assert colours(patch("#ff0000"), np.zeros((60, 40), np.bool_)) == []


def test_at_most_as_many_as_asked_and_little_ones_are_left_out() -> None:
    photo = patch(PURE["black"], 100, 100)
    for i, name in enumerate(["red", "yellow", "blue", "white"]):
        photo[20 * i : 20 * i + 20] = rgb(PURE[name])
    assert len(colours(photo, everywhere(photo))) == 3
    assert len(colours(photo, everywhere(photo), max_colours=5)) == 5
    photo = patch(PURE["black"], 100, 100)
    photo[:3] = rgb(PURE["yellow"])                             # 3 %
    assert [colour.name for colour in colours(photo, everywhere(photo))] == ["black"]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_pixels_give_a_sound_answer_twice(data: st.DataObject) -> None:
    shape = data.draw(st.tuples(st.integers(1, 24), st.integers(1, 24)))
    photo = data.draw(hnp.arrays(np.uint8, (*shape, 3)))
    mask = data.draw(hnp.arrays(np.bool_, shape))
    found = colours(photo, mask)
    assert bool(found) == bool(mask.any())
    assert len({colour.name for colour in found}) == len(found) <= 3
    assert all(0 < colour.share <= 1 for colour in found)
    assert sum(colour.share for colour in found) <= 1 + 1e-9
    assert [colour.share for colour in found] == sorted((colour.share for colour in found), reverse=True)
    assert all(colour.share >= MIN_SHARE for colour in found[1:])
    there = {"#" + pixel.tobytes().hex() for pixel in photo[mask]}
    assert {colour.hex for colour in found} <= there           # a pixel of the garment, no mean of some
    assert colours(photo, mask) == found


def test_masks_that_are_views_and_photos_of_any_layout_work() -> None:
    photo = np.asfortranarray(patch(PURE["red"], 64, 48))
    mask = np.zeros((128, 96), np.bool_)[::2, ::2]
    mask[10:30, 10:30] = True
    assert colours(photo, mask)[0].name == "red"


def test_it_is_cheap() -> None:
    photo = cv2.resize(np.random.default_rng(0).integers(0, 256, (40, 30, 3), np.uint8), (600, 800))
    mask = np.zeros((800, 600), np.bool_)
    mask[100:700, 100:500] = True
    times = []
    for _ in range(9):
        start = time.process_time()
        colours(np.asarray(photo, np.uint8), mask)
        times.append(time.process_time() - start)
    assert min(times) < 0.012  # seconds; 0.002 on an idle core
