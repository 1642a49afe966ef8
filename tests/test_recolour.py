"""Repainting and erasing change pixels, and only those that they may."""

import copy
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hemline.config import Augment
from hemline.data.augment import PADDING
from hemline.data.recolour import recolour_sample
from hemline.data.sample import EITHER, UNKNOWN, WHOLE_PHOTO, Region, Sample

CANVAS = (120, 80)
SHIRT, TROUSERS, HAIR, ON_HAIR = 1, 2, 3, 4      # segments; the last is shirt and hair at once
NUM_CATEGORIES = 2                               # classes: shirt, trousers, hair
REPAINT, ERASE = Augment(repaint=1), Augment(erase=1)


def figure(seed=0):
    rng = np.random.default_rng(seed)
    segments = np.zeros(CANVAS, np.uint8)
    segments[30:70, 20:60], segments[72:110, 25:55], segments[10:36, 30:50] = SHIRT, TROUSERS, HAIR
    segments[30:36, 30:50] = ON_HAIR
    targets = np.array([[0, 0, 0], [1, 0, 0], [EITHER, EITHER, 0], [0, 0, 1], [1, 0, 1]], np.int8)
    regions = [Region(WHOLE_PHOTO, np.array([1, 1], np.int8)), Region((SHIRT, ON_HAIR), np.array([1, 0], np.int8)),
               Region((TROUSERS,), np.array([0, 1], np.int8))]  # fmt: skip
    shade = 90 + 40 * np.sin(np.arange(80) / 6)[None, :, None] + rng.uniform(-3, 3, (*CANVAS, 3))
    photo = np.clip(shade * rng.uniform(0.5, 1.4, 3), 0, 255).astype(np.uint8)
    valid = np.zeros(CANVAS, np.uint8)
    valid[4:116] = 1
    photo[valid == 0] = PADDING
    return Sample(photo, segments, targets, regions, valid, key="x")


def untouched(before, after):
    """All but the pixels is what it was."""
    assert after.segments is before.segments
    assert after.targets is before.targets
    assert after.regions is before.regions
    assert after.valid is before.valid


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**31))
def test_garments_change_and_nothing_else_does(seed):
    sample, rng = figure(seed), np.random.default_rng(seed)
    before = copy.deepcopy(sample)
    seen = recolour_sample(sample, REPAINT, NUM_CATEGORIES, rng)
    untouched(sample, seen)
    assert np.array_equal(sample.photo, before.photo)
    changed = (seen.photo != sample.photo).any(2)
    assert not changed[~np.isin(sample.segments, (SHIRT, TROUSERS))].any()
    for garment, inside in ((SHIRT, np.s_[40:66, 24:56]), (TROUSERS, np.s_[76:106, 29:51])):
        assert changed[sample.segments == garment].mean() > 0.5
        grey, was = (cv2.cvtColor(x.photo, cv2.COLOR_RGB2GRAY)[inside].mean(0) for x in (seen, sample))
        assert np.corrcoef(grey, was)[0, 1] > 0.9, "the shading is kept"
        edge = seen.photo[sample.segments == garment].astype(int) - sample.photo[sample.segments == garment]
        assert np.abs(edge).max() <= 255
    border = np.abs(seen.photo[72].astype(int) - sample.photo[72]).sum()        # soft towards the border
    assert border < np.abs(seen.photo[80].astype(int) - sample.photo[80]).sum()


def test_colours_are_any_colours():
    """A garment that was always red is red no more: hues of many are spread."""
    sample = figure()
    sample.photo[sample.segments == SHIRT] = (200, 30, 30)
    hues = []
    for seed in range(120):
        seen = recolour_sample(sample, REPAINT, NUM_CATEGORIES, np.random.default_rng(seed))
        lab = cv2.cvtColor((seen.photo / 255).astype(np.float32), cv2.COLOR_RGB2Lab)[50, 40]
        hues.append(np.arctan2(lab[2], lab[1]))
    assert (np.histogram(hues, bins=4, range=(-np.pi, np.pi))[0] >= 12).all()


def test_each_garment_has_its_own_chance():
    counts = np.zeros(2)
    for seed in range(200):
        seen = recolour_sample(figure(), Augment(repaint=0.3), NUM_CATEGORIES, np.random.default_rng(seed))
        changed = (seen.photo != figure().photo).any(2)
        counts += [changed[50, 30:50].any(), changed[90, 30:50].any()]
    assert ((counts > 35) & (counts < 85)).all()
    none = recolour_sample(figure(), Augment(), NUM_CATEGORIES, np.random.default_rng(0))
    assert np.array_equal(none.photo, figure().photo)
    nobody_says = recolour_sample(figure(), REPAINT, 0, np.random.default_rng(0))
    assert np.array_equal(nobody_says.photo, figure().photo)


def test_a_patch_of_something_unsure_keeps_its_colour():
    sample = figure()
    segments = np.where(sample.segments == 0, 5, sample.segments).astype(np.uint8)
    targets = np.vstack([sample.targets, np.full((1, 3), UNKNOWN, np.int8)])
    unsure = replace(sample, segments=segments, targets=targets)
    seen = recolour_sample(unsure, REPAINT, NUM_CATEGORIES, np.random.default_rng(0))
    assert np.array_equal(seen.photo, sample.photo)


@settings(deadline=None, max_examples=80)
@given(st.integers(0, 2**31))
def test_a_rectangle_hides_no_garment_nearly_whole(seed):
    sample = figure()
    sample.photo[sample.valid > 0] = 128
    before = copy.deepcopy(sample)
    seen = recolour_sample(sample, ERASE, NUM_CATEGORIES, np.random.default_rng(seed))
    untouched(sample, seen)
    assert np.array_equal(sample.photo, before.photo)
    changed = (seen.photo != sample.photo).any(2)
    assert not changed[sample.valid == 0].any()
    if seen.photo is sample.photo:
        return
    rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
    box = changed[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    assert box.mean() > 0.99                              # one rectangle; noise may be the photo's colour by chance
    assert 0 < box.size <= 0.16 * sample.segments.size
    for garment in ([SHIRT, ON_HAIR], [TROUSERS]):
        assert changed[np.isin(sample.segments, garment)].mean() <= 0.5


def test_rectangles_happen_and_differ():
    sizes = set()
    for seed in range(40):
        sample = figure()
        changed = (recolour_sample(sample, ERASE, 2, np.random.default_rng(seed)).photo != sample.photo).any(2)
        sizes.add(int(changed.sum()))
    assert len(sizes) > 30
    assert max(sizes) > 0.1 * 120 * 80


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_where_nothing_is_drawn_nothing_happens(dtype):
    bare = replace(
        figure(), segments=np.zeros(CANVAS, dtype), targets=np.full((1, 3), UNKNOWN, np.int8), regions=[]
    )
    seen = recolour_sample(bare, Augment(repaint=1, erase=1), NUM_CATEGORIES, np.random.default_rng(0))
    assert np.array_equal(seen.photo, bare.photo)
    wide = replace(figure(), segments=figure().segments.astype(dtype))
    one, two = (recolour_sample(x, REPAINT, 2, np.random.default_rng(3)).photo for x in (wide, figure()))
    assert np.array_equal(one, two)
