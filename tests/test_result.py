"""Results: what is said of which garment, and that no answer contradicts itself."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hemline.photo import Frame, place
from hemline.result import Result, read_answer
from tests.answers import (
    BELT,
    CARDIGAN,
    COAT,
    DRESS,
    GRAPHIC,
    HAIR,
    PLAIN,
    SECRET,
    SLEEVELESS,
    SPACE,
    UPPER,
    WRIST,
    K,
    L,
    answer,
    field,
    metadata,
    nothing,
    slow_sigmoid,
    validate,
)


def agrees_with_itself(result: Result, least: float = 0.0) -> None:
    """What must hold of any answer."""
    garments = {garment.category: garment for garment in result.garments_and_parts}
    assert len(garments) == len(result.garments_and_parts)
    hidden = {"cardigan", "hair", "never said"}
    for label in result.labels:
        assert label.label not in hidden
        if label.group == "category":
            assert label.label in garments
        if label.group == "sleeve length":
            assert garments.keys() & set(UPPER)
    taken = np.zeros(result.size, int)
    for garment in result.garments_and_parts:
        assert garment.category not in hidden
        assert least <= garment.score <= 1
        said = [attribute.group for attribute in garment.attributes]
        assert said.count("sleeve length") <= (garment.category in UPPER)
        assert not {attribute.label for attribute in garment.attributes} & hidden
        if garment.found_by == "mask":
            assert garment.mask is not None
            taken += garment.mask & (garment.category != "sleeve")
        else:
            assert any(label.label == garment.category and label.score == garment.score for label in result.labels)
            assert garment.attributes == []
        if garment.mask is None:
            assert (garment.area, garment.box, garment.colours) == (0.0, None, [])
        else:
            assert garment.mask.shape == result.size
            assert garment.mask.any()
            assert garment.colours
    assert taken.max(initial=0) <= 1
    assert [label.group for label in result.labels].count("sleeve length") <= 1
    scores = [x.score for x in (*result.labels, *(a for g in result.garments for a in g.attributes))]
    assert all(least <= score <= 1 for score in scores)
    areas = [garment.area for garment in result.garments]
    assert areas == sorted(areas, reverse=True)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.data())
def test_no_answer_contradicts_itself(seed: int, data: st.DataObject) -> None:
    rng = np.random.default_rng(seed)
    chances = st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0])
    meta = metadata(
        data.draw(st.lists(chances, min_size=K, max_size=K)), data.draw(st.lists(chances, min_size=L, max_size=L))
    )
    masks = field(rng, data.draw(st.sampled_from([(9, 7), (24, 18)])), data.draw(st.sampled_from([0.3, 2.0, 40.0])))
    masks -= data.draw(st.sampled_from([0.0, 3.0, 100.0]))
    least = data.draw(st.sampled_from([None, 0.0, 0.5, 0.9, 1.0]))
    result = answer(masks, rng.normal(0, 3, (1 + K, L)).astype(np.float32), meta, min_score=least)
    agrees_with_itself(result, least or 0.0)
    validate(result)


def test_the_largest_margin_over_its_threshold_wins() -> None:
    masks = nothing(4, 4)
    masks[COAT], masks[DRESS] = 2.0, 1.5
    assert [garment.category for garment in answer(masks).garments] == ["coat"]
    tough = [0.9, 0.5, 0.5, 0.5, 0.5, 0.5]                       # logit(0.9) = 2.197: coat misses it by a little
    (garment,) = answer(masks, meta=metadata(tough)).garments
    assert garment.category == "dress"
    assert garment.score == pytest.approx(slow_sigmoid(1.5), abs=1e-6)


def test_thresholds_of_one_and_zero_mean_never_and_always() -> None:
    masks = nothing(4, 4)
    masks[COAT] = 50.0
    assert answer(masks, meta=metadata(1.0, 1.0)).garments == []
    always = [1.0, 0.0, 1.0, 1.0, 1.0, 1.0]
    (garment,) = answer(masks, meta=metadata(always, 1.0)).garments
    assert (garment.category, garment.score, garment.area) == ("dress", 1.0, 1.0)
    quiet = np.full((1 + K, L), -9.0, np.float32)
    result = answer(nothing(), quiet, metadata(1.0, 0.0))
    assert {garment.category for garment in result.garments} == {"coat", "dress", "belt", "sleeve"}
    agrees_with_itself(result)


def test_hidden_categories_do_not_compete_and_pixels_do() -> None:
    masks = nothing(10, 10)
    masks[COAT] = 1.0
    masks[CARDIGAN] = 9.0
    masks[HAIR, :5] = 2.0
    (garment,) = answer(masks).garments
    assert garment.mask is not None
    assert garment.mask.sum(1).tolist() == [0] * 5 + [10] * 5


def test_attributes_are_read_under_the_garments_own_mask() -> None:
    masks = nothing()
    masks[COAT, :20] = masks[BELT, 22:] = 3.0
    labels = np.full((1 + K, L), -5.0, np.float32)
    labels[1 + COAT, [WRIST, PLAIN, GRAPHIC, SECRET]] = 1.0, 2.0, 3.0, 9.0
    labels[1 + BELT, [SLEEVELESS, PLAIN]] = 4.0, 1.0
    labels[1 + DRESS] = 9.0                                      # no pixel is a dress: nothing is said of one
    coat, belt = answer(masks, labels).garments
    assert [(x.group, x.label, x.id) for x in coat.attributes] == [
        ("sleeve length", "wrist-length", 160),
        ("pattern", "graphic", "graphic"),
        ("pattern", "plain", 317),
    ]
    assert [x.score for x in coat.attributes] == pytest.approx([slow_sigmoid(x) for x in (1, 3, 2)])
    assert [x.label for x in belt.attributes] == ["plain"]       # belts carry no sleeves


def test_the_photo_shows_no_attribute_that_none_of_its_garments_has() -> None:
    """The photo's own scores say sleeveless and plain; its coat, whose mask is known, is wrist-length and plain."""
    masks = nothing()
    masks[COAT, :20] = 3.0
    labels = np.full((1 + K, L), -5.0, np.float32)
    labels[0, [COAT, SLEEVELESS, PLAIN]] = 3.0
    labels[1 + COAT, [WRIST, PLAIN]] = 2.0
    said = {x.label for x in answer(masks, labels).labels}
    assert said == {"coat", "plain"}
    labels[0, DRESS] = 3.0                                       # a dress that no pixel shows may be sleeveless
    said = {x.label for x in answer(masks, labels).labels}
    assert said == {"coat", "dress", "plain", "sleeveless"}


def test_a_label_yields_to_an_alike_garment_that_has_a_mask_and_to_a_surer_label() -> None:
    meta = replace(metadata(), labels=replace(SPACE, alike=(frozenset({"coat", "dress", "cardigan"}),)))
    labels = np.full((1 + K, L), -5.0, np.float32)
    labels[0, [COAT, DRESS, CARDIGAN, BELT]] = 1.0, 2.0, 3.0, 1.0
    masks = nothing()
    assert {g.category for g in answer(masks, labels, meta).garments} == {"dress", "belt"}  # a cardigan is never shown
    masks[COAT, :20] = 3.0
    result = answer(masks, labels, meta)
    assert {g.category: g.found_by for g in result.garments} == {"coat": "mask", "belt": "label"}
    assert {x.label for x in result.labels} == {"coat", "belt"}


def test_of_a_group_with_one_choice_the_largest_margin_wins() -> None:
    masks = nothing()
    masks[COAT] = 3.0
    labels = np.full((1 + K, L), -5.0, np.float32)
    labels[1 + COAT, [SLEEVELESS, WRIST]] = 2.5, 2.0
    thresholds = np.full(L, 0.5)
    thresholds[SLEEVELESS] = 0.9                                 # margin 2.5 - 2.197, against 2.0
    (coat,) = answer(masks, labels, metadata(0.5, thresholds)).garments
    assert [x.label for x in coat.attributes] == ["wrist-length"]


def test_a_class_that_would_win_between_cells_only_is_a_second_guess() -> None:
    """No cell is the belt's, so nothing was pooled under it: its pixels go to the garments that it lies between."""
    masks = np.full((K, 2, 2), -20.0, np.float32)                # cells of 20 pixels
    masks[COAT, :, 0] = masks[DRESS, :, 1] = 5.0
    masks[BELT] = 2.0
    masks[COAT, :, 1] = masks[DRESS, :, 0] = -9.0
    labels = np.full((1 + K, L), -5.0, np.float32)
    labels[:, PLAIN] = 3.0
    photo = np.zeros((40, 40, 3), np.uint8)
    result = read_answer(masks, labels, (40, 40), Frame(0, 0, 40, 40, 40, 40), metadata(), photo, name="p")
    said = {garment.category: [x.label for x in garment.attributes] for garment in result.garments}
    assert said == {"coat": ["plain"], "dress": ["plain"]}


def test_a_cell_that_holds_a_strip_of_the_photo_counts() -> None:
    masks = np.full((K, 2, 8), -20.0, np.float32)                # cells of 4 x 4 pixels; the photo fills 3 to 29
    masks[COAT], masks[[DRESS, BELT]] = 1.0, -1.0
    masks[DRESS, :, 0] = masks[BELT, :, 7] = 9.0
    labels = np.full((1 + K, L), -5.0, np.float32)
    labels[1:, PLAIN] = 3.0
    photo = np.zeros((8, 26, 3), np.uint8)
    result = read_answer(masks, labels, (8, 32), Frame(0, 3, 8, 26, 8, 26), metadata(), photo, name="p")
    said = {garment.category: [x.label for x in garment.attributes] for garment in result.garments}
    assert said == {"coat": ["plain"], "dress": ["plain"], "belt": ["plain"]}


def test_padding_of_the_canvas_is_not_the_photo() -> None:
    masks = np.full((K, 8, 8), -20.0, np.float32)
    masks[DRESS] = 1.0
    masks[COAT, :, :2] = masks[COAT, :, 6:] = 30.0               # only beside the photo
    photo = np.zeros((64, 32, 3), np.uint8)
    canvas = place(photo, (32, 32))                              # 16 columns of it
    labels = np.full((1 + K, L), 3.0, np.float32)
    labels[0] = -5.0
    result = read_answer(masks, labels, (32, 32), canvas.frame, metadata(), photo, name="p")
    assert [(garment.category, garment.area) for garment in result.garments] == [("dress", 1.0)]


def test_a_label_without_pixels_has_its_likeliest_region() -> None:
    masks = nothing()
    masks[BELT] = -6.0
    masks[BELT, 10:14, 5:25] = -1.0                              # 0.27: its maximum
    masks[BELT, 14:16, 5:25] = -1.7                              # 0.154: more than half of it
    masks[BELT, 16:20, 5:25] = -1.9                              # 0.13: less
    masks[COAT] = 2.0
    labels = np.full((1 + K, L), -5.0, np.float32)
    labels[0, BELT], labels[1 + BELT, PLAIN] = 1.0, 5.0
    coat, belt = answer(masks, labels).garments
    assert (belt.category, belt.found_by, belt.box, belt.attributes) == ("belt", "label", (5, 10, 20, 6), [])
    assert belt.score == pytest.approx(slow_sigmoid(1.0))
    assert coat.area == 1.0                                      # a guess takes nothing from others
    masks[BELT] -= 1.5                                           # its maximum is now 0.08
    coat, belt = answer(masks, labels).garments
    assert (belt.mask, belt.box, belt.area, belt.colours) == (None, None, 0.0, [])
    validate(answer(masks, labels))


def test_min_score_drops_garments_and_their_labels() -> None:
    masks = nothing()
    masks[COAT, :20], masks[DRESS, 20:] = 0.5, 4.0
    labels = np.full((1 + K, L), -5.0, np.float32)
    labels[0, [COAT, DRESS, BELT, WRIST]] = 5.0, 0.5, 0.2, 3.0
    labels[1 + DRESS, [WRIST, PLAIN]] = 4.0, 0.1
    result = answer(masks, labels)
    assert [g.category for g in result.garments] == ["coat", "dress", "belt"]
    assert [x.label for x in result.labels] == ["coat", "dress", "belt", "wrist-length"]
    result = answer(masks, labels, min_score=0.9)                # coat 0.62, belt 0.55; dress 0.98, its label 0.62
    assert [g.category for g in result.garments] == ["dress"]
    assert [x.label for x in result.garments[0].attributes] == ["wrist-length"]
    assert [x.label for x in result.labels] == ["wrist-length"]


def test_a_photos_attributes_need_a_garment_that_carries_them() -> None:
    masks = nothing()
    masks[BELT] = 2.0
    labels = np.full((1 + K, L), -5.0, np.float32)
    labels[0, [SLEEVELESS, PLAIN, SECRET]] = 3.0
    assert [x.label for x in answer(masks, labels).labels] == ["plain"]
