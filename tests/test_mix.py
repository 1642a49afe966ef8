"""Copy-paste and backdrops: labels stay true, pixels apart from what is pasted stay, one seed gives one batch."""

import copy
import zlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hemline.config import Augment, Data
from hemline.data.augment import MIN_CELLS, PADDING, augment_sample
from hemline.data.loading import EpochSampler, TrainingSet, batches, make_loader, open_sources
from hemline.data.mix import composed, cut_out, mix_sample
from hemline.data.sample import EITHER, PREDICTED, UNKNOWN, WHOLE_PHOTO, Region, Sample, collate
from hemline.labels import load_label_space

CANVAS = (96, 64)
NUM = 6                                          # classes: those below 3 are on the one photo, the rest on the other
PASTE, BACKDROP = Augment(paste=1), Augment(backdrop=1)
EVERYTHING = Augment(repaint=0.5, paste=0.7, backdrop=0.7, erase=0.5)
TRUTH = {k: frozenset({k, NUM + k % 2, NUM + 2 + k % 3}) for k in range(NUM)}
"""The labels that are true of each garment: its class, and two attributes."""
NUM_LABELS = NUM + 5


def vector(true, rng, hidden):
    labels = np.isin(np.arange(NUM_LABELS), list(true)).astype(np.int8)
    labels[rng.random(NUM_LABELS) < hidden] = UNKNOWN
    return labels


def wardrobe(classes, rng, hidden=0.3, unsure=True):
    """A placed photo with a box of each class, some over others, some unsure pixels, and labels that are true of it."""
    height, width = CANVAS
    valid = np.zeros(CANVAS, np.uint8)
    margin = rng.integers(0, 12, 4)
    valid[margin[0] : height - margin[1], margin[2] : width - margin[3]] = 1
    segments = np.zeros(CANVAS, np.uint8)
    order = [*classes, None] if unsure else [*classes]
    for i, k in enumerate(order, start=1):
        size = rng.integers(3, 8, 2) if k is None else rng.integers(4, 44, 2)
        top, left = (int(rng.integers(0, side - part)) for side, part in zip(CANVAS, size, strict=True))
        segments[top : top + size[0], left : left + size[1]] = i
    segments *= valid
    targets = np.zeros((len(order) + 1, NUM), np.int8)
    for i, k in enumerate(order, start=1):
        targets[i] = UNKNOWN if k is None else np.arange(NUM) == k
    shown = [k for i, k in enumerate(order, start=1) if k is not None and (segments == i).sum() >= MIN_CELLS]
    unseen = {k for i, k in enumerate(order, start=1) if k is not None and 0 < (segments == i).sum() < MIN_CELLS}
    whole = vector(frozenset().union(*(TRUTH[k] for k in shown)), rng, hidden)
    whole[[x for k in unseen for x in TRUTH[k]]] = UNKNOWN
    any_of = np.zeros(NUM_LABELS, bool)
    any_of[[*rng.integers(0, NUM_LABELS, 2), *classes[:1]]] = True
    regions = [Region(WHOLE_PHOTO, whole, (any_of,) if classes[0] in shown else ())]
    regions += [Region((1 + classes.index(k),), vector(TRUTH[k], rng, hidden)) for k in shown]
    regions.append(Region(PREDICTED, vector(frozenset(), rng, 0.5), classes=np.ones(NUM, bool)))
    photo = rng.integers(0, 256, (*CANVAS, 3), np.uint8)
    photo[valid == 0] = PADDING
    return Sample(photo, segments, targets, regions, valid, key="x")


def same(one, two):
    assert np.array_equal(one.photo, two.photo)
    assert np.array_equal(one.segments, two.segments)
    assert np.array_equal(one.targets, two.targets)
    assert [(x.segments, x.labels.tolist()) for x in one.regions] == [
        (x.segments, x.labels.tolist()) for x in two.regions
    ]


@settings(deadline=None, max_examples=150)
@given(st.integers(0, 2**31), st.floats(0, 0.6), st.booleans())
def test_what_is_said_of_a_mixed_photo_is_true(seed, hidden, unsure):
    """Counted pixel by pixel: every pixel of a garment says its class, and every label known speaks of what is seen."""
    rng = np.random.default_rng(seed)
    behind, front = wardrobe([0, 1, 2], rng, hidden, unsure), wardrobe([3, 4, 5], rng, hidden, unsure)
    before = copy.deepcopy((behind, front))
    mixed = mix_sample(behind, lambda: front, PASTE, np.random.default_rng(seed))
    for now, then in zip((behind, front), before, strict=True):
        same(now, then)                                   # others of the batch show them as they were
    if cut_out(front) is None:
        assert mixed is behind
        return
    said = mixed.targets[mixed.segments]                  # (H, W, K)
    pasted = (said[..., 3:] == 1).any(2)
    alike = (said == behind.targets[behind.segments]).all(2)
    changed = (mixed.photo != behind.photo).any(2)
    # what may be anything is unsure of both photos, and is the only thing that looks alike in both
    assert (alike | pasted | (said == UNKNOWN).all(2)).all()
    assert not (changed & ~pasted & ~(said == UNKNOWN).all(2)).any()
    assert (mixed.photo[behind.valid == 0] == PADDING).all()
    assert not pasted[behind.valid == 0].any()
    assert np.array_equal(mixed.valid, behind.valid)

    seen = (said == 1).sum((0, 1))
    visible = {label for k in range(NUM) if seen[k] > 0 for label in TRUTH[k]}
    well_visible = {label for k in range(NUM) if seen[k] >= MIN_CELLS for label in TRUTH[k]}
    whole = [region for region in mixed.regions if region.segments == WHOLE_PHOTO]
    assert len(whole) == 1
    assert set(np.flatnonzero(whole[0].labels == 1)) <= well_visible
    assert not set(np.flatnonzero(whole[0].labels == 0)) & visible
    assert all(set(np.flatnonzero(one_of)) & well_visible for one_of in whole[0].one_of)
    for region in mixed.regions[1:]:
        assert region.drawn, "a network might find the garment of the other photo"
        row = mixed.targets[list(region.segments)]
        garments = set(np.flatnonzero((row == 1).any(0)))
        assert len(garments) == 1
        (garment,) = garments
        assert seen[garment] >= MIN_CELLS
        known = np.flatnonzero(region.labels != UNKNOWN)
        assert [int(region.labels[x]) for x in known] == [int(x in TRUTH[garment]) for x in known]
    assert mixed.segments.max() < len(mixed.targets) <= len(behind.targets) + len(front.targets)


def plain(segments, num, whole, valid=None):
    """A photo with a map of garments 1, 2, ... whose classes are 0, 1, ...; `whole` says its labels."""
    targets = np.vstack([np.zeros(NUM, np.int8), np.eye(num, NUM, dtype=np.int8)])
    parts = [Region((i + 1,), np.eye(NUM, dtype=np.int8)[i]) for i in range(num)]
    valid = np.ones(segments.shape, np.uint8) if valid is None else valid
    photo = np.full((*segments.shape, 3), 200, np.uint8)
    return Sample(photo, segments, targets, [Region(WHOLE_PHOTO, np.array(whole, np.int8)), *parts], valid)


@pytest.mark.parametrize(
    ("covered", "expected", "told"), [(8, 1, 1), (11, UNKNOWN, UNKNOWN), (19, UNKNOWN, UNKNOWN), (20, 0, None)]
)
def test_a_garment_covered_in_part_or_whole(covered, expected, told):
    """Of 20 columns: half in view is still the garment; less is something; none is none."""
    segments = np.zeros((32, 40), np.uint8)
    segments[4:14, 2:22], segments[20:30, 2:22] = 1, 2
    behind = plain(segments, 2, [1, 1, 0, UNKNOWN, 0, 0])
    front = plain(np.where(np.arange(40) < 2 + covered, 1, 0)[None].repeat(16, 0).astype(np.uint8), 1, [0] * NUM)
    front = replace(
        front, segments=np.vstack([front.segments, np.zeros_like(front.segments)]), valid=behind.valid,
        photo=np.zeros_like(behind.photo), targets=np.array([[0] * NUM, [0, 0, 0, 0, 0, 1]], np.int8),
        regions=[Region(WHOLE_PHOTO, np.array([0, 0, 0, 0, UNKNOWN, 1], np.int8)),
                 Region((1,), np.array([0, 0, 0, 0, 0, 1], np.int8))],
    )  # fmt: skip
    cut = (front.segments > 0).astype(np.uint8)
    full = np.bincount(front.segments.ravel()).astype(float)
    mixed = composed(behind, front, cut, full)
    assert mixed.regions[0].labels.tolist() == [expected, 1, 0, UNKNOWN, UNKNOWN, 1]
    of_first = [x for x in mixed.regions[1:] if mixed.targets[x.segments[0], 0] == 1]
    assert [int(x.labels[0]) for x in of_first] == ([] if told is None else [told])
    if told is None:                                      # where the rest of it may still be in sight, nobody knows
        behind.targets[0, 0] = UNKNOWN
        assert composed(behind, front, cut, full).regions[0].labels[0] == UNKNOWN


def test_what_is_drawn_nowhere_is_unknown_once_something_is_covered():
    segments = np.zeros((32, 40), np.uint8)
    segments[2:30, 30:38] = 1
    behind = plain(segments, 1, [1, 1, 0, 0, 0, 0])       # garment 1 is there, and nobody drew it
    front = plain(np.fliplr(segments).copy(), 1, [1, 0, 0, 0, 0, 0])
    mixed = composed(behind, front, front.segments, np.bincount(front.segments.ravel()).astype(float))
    assert mixed.regions[0].labels.tolist() == [1, UNKNOWN, 0, 0, 0, 0]
    asked = Region(PREDICTED, behind.regions[0].labels, classes=np.arange(NUM) == 1)
    front.segments[4:] = 0                                # nearly all is in view, but the network might find another
    mixed = composed(replace(behind, regions=[*behind.regions, asked]), front, front.segments, np.array([0.0, 16]))
    assert mixed.regions[0].labels.tolist() == [1, 1, 0, 0, 0, 0]
    assert all(region.segments != PREDICTED for region in mixed.regions)


def test_nothing_is_pasted_where_labels_could_not_be_checked():
    rng = np.random.default_rng(0)
    drawn = wardrobe([0, 1, 2], rng)
    bare = replace(drawn, segments=np.zeros(CANVAS, np.uint8), targets=drawn.targets[:1])
    assert mix_sample(bare, lambda: drawn, PASTE, rng) is bare
    assert mix_sample(drawn, lambda: bare, PASTE, rng) is drawn
    large = np.zeros(CANVAS, np.uint8)
    large[5:90, 5:60], large[20:60, 20:40] = 2, 1         # a patch of something that is unsure as a whole
    targets = np.array([[0] * NUM, [1, 0, 0, 0, 0, 0], [UNKNOWN] * NUM], np.int8)
    patch = replace(drawn, segments=large, targets=targets, valid=np.ones(CANVAS, np.uint8), regions=[])
    assert mix_sample(drawn, lambda: patch, PASTE, rng) is drawn
    assert mix_sample(patch, lambda: patch, BACKDROP, rng) is patch


def test_more_segments_than_a_byte_holds():
    segments = np.zeros((64, 64), np.uint8)
    segments[2:62, 2:62] = 1 + np.arange(3600).reshape(60, 60) % 200
    many = plain(segments, 0, [0] * NUM)
    many.targets = np.zeros((201, NUM), np.int8)
    many.targets[1:, 0] = 1
    front = replace(many, segments=np.where(np.arange(64) < 32, segments, 0).astype(np.uint8))
    cut = (front.segments > 0).astype(np.uint8)
    mixed = composed(many, front, cut, np.bincount(front.segments.ravel(), minlength=201).astype(float))
    assert mixed.segments.dtype == np.uint16
    assert mixed.segments.max() == len(mixed.targets) - 1 == 400
    assert (mixed.segments[cut > 0] > 200).all()
    assert collate([mixed]).segments.max() == 400


@pytest.mark.parametrize("mark", [1, EITHER])
def test_an_item_in_front_of_something_else(mark):
    """The item is where it was, its labels too, and all around it is nothing that is known to be a class."""
    segments = np.zeros(CANVAS, np.uint8)
    segments[30:70, 20:45] = 1
    valid = np.zeros(CANVAS, np.uint8)
    valid[10:90] = 1
    item = plain(segments, 1, [1, 0, 0, 0, UNKNOWN, 0], valid)
    item.targets[1, 0] = mark
    item.targets[0, 3] = UNKNOWN
    item.photo[segments > 0] = 30
    item.photo[valid == 0] = PADDING
    other = wardrobe([3, 4], np.random.default_rng(1))
    grounds = []
    for seed in range(12):
        seen = mix_sample(item, lambda: other, BACKDROP, np.random.default_rng(seed))
        assert (seen.photo[32:68, 22:43] == 30).all()
        assert (seen.photo[valid == 0] == PADDING).all()
        assert seen.targets.tolist() == [[0] * NUM, item.targets[1].tolist()]
        assert np.array_equal(seen.segments[32:68, 22:43], segments[32:68, 22:43])
        assert not seen.segments[segments == 0].any()
        assert [x.labels.tolist() for x in seen.regions] == [x.labels.tolist() for x in item.regions]
        assert np.array_equal(item.photo[segments > 0], np.full_like(item.photo[segments > 0], 30))
        grounds.append(seen.photo[11:25].std())
    assert (np.array(grounds) > 0).all()
    two = wardrobe([0, 1], np.random.default_rng(2))
    assert mix_sample(two, lambda: other, BACKDROP, np.random.default_rng(0)) is two


def test_another_photos_ground_is_used_only_where_nothing_may_be_on_it():
    """Blue is the other photo's ground; where it may hold a class, another ground is made up."""
    segments = np.zeros(CANVAS, np.uint8)
    segments[30:70, 24:40] = 1
    item, other = plain(segments, 1, [1, 0, 0, 0, 0, 0]), plain(segments, 1, [1, 0, 0, 0, 0, 0])
    other.photo[:] = (0, 0, 255)
    other.photo[segments > 0] = (255, 0, 0)

    def all_blue(seed):
        seen = mix_sample(item, lambda: other, BACKDROP, np.random.default_rng(seed))
        return (seen.photo[segments == 0] == (0, 0, 255)).all()

    assert 3 < sum(map(all_blue, range(30))) < 20
    other.targets[0, 2] = UNKNOWN
    assert not any(map(all_blue, range(30)))


@pytest.fixture
def recipe(tiny_config):
    data = Data(name="synthetic", options={"count": 12, "canvas": [64, 64]})
    return replace(tiny_config, data=(data,), validation=0.0, batch_size=4, augment=EVERYTHING)


def test_without_these_options_batches_are_as_they_were(recipe):
    """Each photo is its own view, a function of its place and its key, whatever stands beside it."""
    config = replace(recipe, augment=Augment())
    sources = open_sources(config, load_label_space(config.labels))
    photos = TrainingSet(sources, config)
    for items in EpochSampler(sources, batch_size=4, seed=5):
        for item, sample in zip(items, photos.__getitems__(items), strict=True):
            alone = sources[0].dataset[item.photo]
            generator = np.random.default_rng((*item.seed, zlib.crc32(alone.key.encode())))
            same(sample, augment_sample(alone, config.canvas, config.augment, generator))


def test_one_seed_gives_the_same_mixes(recipe):
    """However many workers, pieces and processes read them, also where canvases are mixed."""
    sources = open_sources(recipe, load_label_space(recipe.labels))
    canvases = ((64, 64), (96, 32))

    def photos_of(workers=0, **kw):
        sampler = EpochSampler(sources, batch_size=4, seed=0, canvases=canvases, **kw)
        loader = make_loader(sources, sampler, replace(recipe, workers=workers), pin_memory=False)
        return [both for batch in batches(loader) for both in zip(batch.pixels, batch.segments, strict=True)]

    whole = photos_of()
    assert len(whole) == 12
    both = [photos_of(pieces=2, rank=rank, size=2) for rank in (0, 1)]
    shared = [x for pair in zip(*both, strict=True) for x in pair]
    for other in (photos_of(workers=2), shared):
        assert len(other) == 12
        for (photo, ids), (same_photo, same_ids) in zip(whole, other, strict=True):
            assert torch.equal(photo, same_photo)
            assert torch.equal(ids, same_ids)
    off = TrainingSet(sources, replace(recipe, augment=Augment()))
    items = [item for batch in EpochSampler(sources, batch_size=4, seed=0, canvases=canvases) for item in batch]
    differ = [not np.array_equal(off[item].photo, photo.numpy()) for item, (photo, _) in zip(items, whole, strict=True)]
    assert sum(differ) >= 9
