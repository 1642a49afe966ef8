"""Augmentation: photo and segments stay together, labels stay true, everything is a function of the generator."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hemline.config import Augment
from hemline.data.augment import MIN_CELLS, PADDING, augment_sample, place_sample
from hemline.data.sample import UNKNOWN, WHOLE_PHOTO, Region, Sample, collate

COLOURS = np.array([[127, 127, 127], [250, 20, 20], [20, 250, 20], [20, 20, 250]], np.uint8)
HAT, SHIRT, SHOES = 1, 2, 3


def figure(height=400, width=260):
    """A photo whose colour says the segment: hat above shirt above shoes; labels 0, 1, 2 are those of 1, 2, 3."""
    segments = np.zeros((height, width), np.uint8)
    x0, x1 = width // 3, 2 * width // 3
    for segment, (top, bottom) in {HAT: (0.1, 0.2), SHIRT: (0.2, 0.7), SHOES: (0.85, 0.95)}.items():
        segments[int(top * height) : int(bottom * height), x0:x1] = segment
    regions = [Region(WHOLE_PHOTO, np.array([1, 1, 1, 0, UNKNOWN], np.int8))]
    for segment in (HAT, SHIRT, SHOES):
        labels = np.array([0, 0, 0, 0, UNKNOWN], np.int8)
        labels[segment - 1] = 1
        regions.append(Region((segment,), labels))
    targets = np.zeros((4, 3), np.int8)
    targets[[1, 2, 3], [0, 1, 2]] = 1
    return Sample(COLOURS[segments], segments, targets, regions, key="figure")


NO_COLOUR = Augment(flip=0.5, crop=0.5, scale=(0.6, 1.6), rotate=15, colour=0)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**31), st.integers(120, 500), st.integers(100, 500))
def test_pixels_and_segments_move_together(seed, height, width):
    """Away from edges the colour of every canvas pixel is that of its segment."""
    sample = augment_sample(figure(height, width), (96, 64), NO_COLOUR, np.random.default_rng(seed))
    assert sample.photo.shape == (96, 64, 3)
    assert sample.valid is not None
    distance = np.abs(sample.photo.astype(int) - COLOURS[sample.segments]).max(2)
    edges = np.zeros_like(sample.segments, bool)
    padded = np.pad(np.where(sample.valid > 0, sample.segments, 99), 1, mode="edge")
    for dy in range(3):
        for dx in range(3):
            edges |= padded[dy : dy + 96, dx : dx + 64] != padded[1:-1, 1:-1]
    inside = (sample.valid > 0) & ~edges
    assert (distance[inside] <= 60).mean() > 0.98
    assert (sample.photo[sample.valid == 0] == PADDING).all()
    assert (sample.segments[sample.valid == 0] == 0).all()


@settings(deadline=None, max_examples=80)
@given(st.integers(0, 2**31))
def test_labels_say_what_is_left_in_view(seed):
    sample = augment_sample(figure(), (96, 64), NO_COLOUR, np.random.default_rng(seed))
    seen = np.bincount(sample.segments[sample.valid > 0], minlength=4)
    whole = sample.regions[0]
    for segment in (HAT, SHIRT, SHOES):
        label = whole.labels[segment - 1]
        if seen[segment] == 0:
            assert label == 0, "a garment out of sight is not in the photo"
        if label == 1:
            assert seen[segment] >= MIN_CELLS
    assert whole.labels[3:].tolist() == [0, UNKNOWN]
    told = {region.segments for region in sample.regions[1:] if (region.labels != UNKNOWN).any()}
    assert told == {(s,) for s in (HAT, SHIRT, SHOES) if whole.labels[s - 1] == 1}
    there = {region.segments for region in sample.regions[1:]}
    assert there == {(s,) for s in (HAT, SHIRT, SHOES) if seen[s] >= MIN_CELLS}, "what is cut is something still"


def test_near_views_happen_and_lose_garments():
    settings_ = Augment(flip=0, crop=1, scale=(1, 1), rotate=0, colour=0)
    lost = [set(), set()]
    for seed in range(60):
        labels = augment_sample(figure(), (96, 64), settings_, np.random.default_rng(seed)).regions[0].labels
        lost[0].add(labels[0] != 0)
        lost[1].add(labels[2] != 0)
    assert lost == [{True, False}, {True, False}]


def test_a_single_item_is_never_seen_from_near():
    """The upper half of a dress is a top: what is drawn alone on its photo is shown whole."""
    near = Augment(flip=0, crop=1, scale=(1, 1), rotate=0, colour=0)
    sample = figure()
    item = (sample.segments == SHIRT).astype(np.uint8)
    alone = Sample(sample.photo, item, sample.targets[:2], sample.regions[:1])
    targets = np.stack([sample.targets[0], np.full(3, -1, np.int8), sample.targets[1]])     # a pseudo-mask: 1 is unsure
    unsure = Sample(sample.photo, 2 * item, targets, sample.regions[:1])
    for one in (alone, unsure):
        still = place_sample(one, (96, 64))
        for seed in range(20):
            seen = augment_sample(one, (96, 64), near, np.random.default_rng(seed))
            assert int(seen.segments.sum()) == pytest.approx(int(still.segments.sum()), rel=0.05)


def test_more_segments_than_a_byte_holds_keep_their_numbers():
    sample = figure()
    wide = Sample(sample.photo, sample.segments.astype(np.uint16) * 300, np.zeros((901, 3), np.int8))
    for placed in (place_sample(wide, (96, 64)), augment_sample(wide, (96, 64), NO_COLOUR, np.random.default_rng(0))):
        assert placed.segments.dtype == np.uint16
        assert set(np.unique(placed.segments)) <= {0, 300, 600, 900}
        assert placed.segments.max() == 900
    assert collate([place_sample(wide, (96, 64))]).segments.max() == 900


def test_without_randomness_it_is_the_placing_of_prediction():
    """No crop, scale, turn, flip or colour: the same canvas as `place_sample`, to a rounding of the resampling."""
    still = Augment(flip=0, crop=0, scale=(1, 1), rotate=0, colour=0)
    for size in ((400, 260), (300, 450), (288, 192)):
        one = augment_sample(figure(*size), (96, 64), still, np.random.default_rng(0))
        two = place_sample(figure(*size), (96, 64))
        assert (one.valid != two.valid).mean() < 0.02, "more than the row of pixels that rounding decides"
        assert (one.segments == two.segments).mean() > 0.97
        both = (one.valid > 0) & (two.valid > 0)
        assert np.abs(one.photo.astype(int) - two.photo)[both].mean() < 5


def test_what_only_a_list_names_is_never_cut_off():
    """A photo without a map keeps all of itself in view: its labels cannot be checked."""
    rng = np.random.default_rng(0)
    photo = np.zeros((300, 200, 3), np.uint8)
    photo[:8] = photo[-8:] = photo[:, :8] = photo[:, -8:] = 255
    sample = Sample(photo, np.zeros((300, 200), np.uint8), np.full((1, 3), UNKNOWN, np.int8),
                    [Region(WHOLE_PHOTO, np.array([1, 0, 1], np.int8))])
    still = Augment(flip=0.5, crop=1, scale=(0.7, 1.5), rotate=0, colour=0)
    for _ in range(20):
        placed = augment_sample(sample, (96, 64), still, rng)
        assert placed.regions is sample.regions
        rows, columns = np.flatnonzero(placed.valid.any(1)), np.flatnonzero(placed.valid.any(0))
        for edge in (placed.photo[rows[[0, -1]]], placed.photo[:, columns[[0, -1]]].transpose(1, 0, 2)):
            assert (edge.max((1, 2)) > 200).all(), "the photo's frame left the canvas"


def test_the_generator_is_the_only_randomness():
    full = Augment()
    one, two, other = (
        augment_sample(figure(), (96, 64), full, np.random.default_rng(seed)).photo for seed in (7, 7, 8)
    )
    assert np.array_equal(one, two)
    assert not np.array_equal(one, other)


def test_collate_pads_with_unknown():
    small = place_sample(figure(), (96, 64))
    bare = place_sample(
        Sample(np.zeros((50, 50, 3), np.uint8), np.zeros((50, 50), np.uint8), np.full((1, 3), UNKNOWN, np.int8),
               [Region(WHOLE_PHOTO, np.full(5, UNKNOWN, np.int8), (np.array([1, 1, 0, 0, 0], bool),))]),
        (96, 64),
    )
    batch = collate([small, bare])
    assert batch.targets.shape == (2, 4, 3)
    assert (batch.targets[1, 1:] == UNKNOWN).all()
    assert batch.labels.shape == (2, 4, 5)
    assert (batch.labels[1] == UNKNOWN).all()
    assert batch.one_of.tolist() == [[True, True, False, False, False]]
    assert batch.one_of_region.tolist() == [[1, 0]]
    with pytest.raises(ValueError, match="place every sample"):
        collate([figure()])


def test_a_garment_of_two_segments_is_in_view_where_enough_of_both_is():
    """The hat's upper part is a segment of its own: together they are the hat."""
    sample = figure()
    sample.segments[: int(0.15 * 400)][sample.segments[: int(0.15 * 400)] == HAT] = 4
    sample.targets = np.vstack([sample.targets, sample.targets[HAT]])
    sample.regions[1] = Region((HAT, 4), sample.regions[1].labels)
    one = NO_COLOUR
    for seed in range(40):
        split = augment_sample(sample, (96, 64), one, np.random.default_rng(seed))
        whole = augment_sample(figure(), (96, 64), one, np.random.default_rng(seed))
        assert [r.labels.tolist() for r in split.regions] == [r.labels.tolist() for r in whole.regions]
