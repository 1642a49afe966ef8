"""Drawn photos: what is taught must be what is painted."""

from collections import defaultdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hemline.config import Data
from hemline.data import build_dataset
from hemline.data._drawing.outfits import QUESTIONS
from hemline.data._drawing.scenes import FIRST_GARMENT, HAIR, MIN_PIXELS, SCENES, SKIN, Drawing, Garment
from hemline.data.augment import place_sample
from hemline.data.sample import UNKNOWN, WHOLE_PHOTO, Sample, collate
from hemline.data.synthetic import OUTFIT_PARTS, Synthetic
from hemline.errors import DataError
from hemline.labels import LABEL_SPACES, LabelSpace, load_label_space

COUNT = 204
TORSO = ("shirt, blouse", "top, t-shirt, sweatshirt", "sweater", "dress", "skirt", "coat", "jacket")


class Remembering(Synthetic):
    """Draws each photo once, for tests that look at it from two sides."""

    def draw(self, index: int) -> Drawing:
        if index not in vars(self).setdefault("drawn", {}):
            vars(self)["drawn"][index] = super().draw(index)
        drawing: Drawing = vars(self)["drawn"][index]
        return drawing


@pytest.fixture(scope="module")
def street() -> LabelSpace:
    return load_label_space("street")


@pytest.fixture(scope="module")
def photos(street: LabelSpace) -> Synthetic:
    return Remembering(None, street, count=COUNT, canvas=(192, 128))


@pytest.fixture(scope="module")
def drawings(photos: Synthetic) -> list[Drawing]:
    return [photos.draw(i) for i in range(COUNT)]


def space_of(categories: list[tuple[str, str | None]], groups: list[dict[str, Any]], pixels: list[str]) -> LabelSpace:
    entries = [
        {"id": i, "name": name, "supercategory": "any", "outfit_part": part}
        for i, (name, part) in enumerate(categories)
    ]
    data = {"name": "own", "version": 1, "categories": entries, "pixels": pixels, "groups": groups}
    return LabelSpace.from_dict(data)


def same(a: Sample, b: Sample) -> bool:
    regions = zip(a.regions, b.regions, strict=True)
    return (
        a.key == b.key
        and all(np.array_equal(getattr(a, name), getattr(b, name)) for name in ("photo", "segments", "targets"))
        and all(x.segments == y.segments and np.array_equal(x.labels, y.labels) for x, y in regions)
    )


def test_a_photo_depends_on_seed_and_index_alone(street: LabelSpace) -> None:
    some = Synthetic(None, street, count=6)
    more = Synthetic(None, street, count=40)
    forward = [some[i] for i in range(6)]
    np.random.seed(1)  # a global state that must not matter
    cv2.setRNGSeed(1)
    backward = [more[i] for i in reversed(range(6))][::-1]
    assert all(same(a, b) for a, b in zip(forward, backward, strict=True))
    other = Synthetic(None, street, count=6, seed=1)
    assert not any(np.array_equal(other[i].photo, forward[i].photo) for i in range(6))


def test_keys_are_stable_and_each_photo_is_its_own_group(photos: Synthetic) -> None:
    assert len(photos) == COUNT == len(set(photos.keys)) == len(set(photos.groups))
    assert photos.keys[12] == "synthetic/000012" == photos[12].key
    assert "no terms" in photos.terms


def test_iterating_ends(street: LabelSpace) -> None:
    assert len(list(Synthetic(None, street, count=3, canvas=(64, 48)))) == 3  # type: ignore[call-overload]
    with pytest.raises(IndexError, match="0 to 2, not -1"):
        Synthetic(None, street, count=3)[-1]


def check_masks(drawing: Drawing, size: tuple[int, int]) -> None:
    """Every pixel is background, hair, skin or one garment that is listed, and every listed garment is seen."""
    assert drawing.photo.shape == (*size, 3)
    assert drawing.segments.shape == size
    assert drawing.photo.dtype == drawing.segments.dtype == np.uint8
    pixels = np.bincount(drawing.segments.ravel())
    assert [g.segment for g in drawing.garments] == list(range(FIRST_GARMENT, FIRST_GARMENT + len(drawing.garments)))
    assert len(pixels) <= FIRST_GARMENT + len(drawing.garments) <= 60
    assert all(pixels[g.segment] >= MIN_PIXELS for g in drawing.garments)


def test_masks_tile_and_every_garment_is_seen(drawings: list[Drawing]) -> None:
    for drawing in drawings:
        check_masks(drawing, (192, 128))


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**40), st.integers(0, 500), st.integers(32, 130), st.integers(32, 130))
def test_any_seed_and_canvas(seed: int, index: int, height: int, width: int) -> None:
    space = space_of([("dress", None)], [], ["skin"])
    photos = Synthetic(None, space, count=501, seed=seed, canvas=(height, width))
    check_masks(photos.draw(index), (height, width))


def test_scenes_come_in_known_shares(drawings: list[Drawing]) -> None:
    shares = {scene: SCENES.count(scene) / len(SCENES) for scene in SCENES}
    assert shares["flat"] == 1 / 4
    assert shares["two"] + shares["three"] == 1 / 4
    for scene, share in shares.items():
        assert sum(drawing.scene == scene for drawing in drawings) == share * COUNT


def test_flat_garments_lie_alone_and_without_a_body(drawings: list[Drawing]) -> None:
    flat = [drawing for drawing in drawings if drawing.scene == "flat"]
    assert all(len(drawing.garments) == 1 for drawing in flat)
    assert not any(np.isin(drawing.segments, (HAIR, SKIN)).any() for drawing in flat)
    worn = [drawing for drawing in drawings if drawing.scene == "one"]
    assert all((drawing.segments == SKIN).any() for drawing in worn)


def test_several_people_stand_before_each_other(drawings: list[Drawing]) -> None:
    people = {"two": 2, "three": 3}
    several = [drawing for drawing in drawings if drawing.scene in people]
    seen = [len({g.figure for g in drawing.garments}) for drawing in several]
    assert all(number <= people[drawing.scene] for number, drawing in zip(seen, several, strict=True))
    assert np.mean([number == people[d.scene] for number, d in zip(seen, several, strict=True)]) > 0.95
    assert np.mean([touching(drawing) for drawing in several]) > 0.6


def touching(drawing: Drawing) -> bool:
    """Whether clothes of two figures meet along 10 pixels or more."""
    figure = np.full(256, UNKNOWN)
    for garment in drawing.garments:
        figure[garment.segment] = garment.figure
    whose = figure[drawing.segments]
    left, right = whose[:, :-1], whose[:, 1:]
    return int(((left != right) & (left >= 0) & (right >= 0)).sum()) >= 10


def test_near_views_cut_what_is_far(drawings: list[Drawing]) -> None:
    seen: dict[str, set[str]] = defaultdict(set)
    for drawing in drawings:
        seen[drawing.scene] |= {garment.category for garment in drawing.garments}
    assert not seen["head and shoulders"] & {"shoe", "sock", "skirt", "pants"}
    assert not seen["lower half"] & {"hat", "glasses", "scarf"}
    assert {"shoe", "skirt", "pants"} <= seen["lower half"]
    assert {"hat", "glasses", "scarf"} <= seen["head and shoulders"]


def test_everything_is_drawn_somewhere(drawings: list[Drawing]) -> None:
    garments = [garment for drawing in drawings for garment in drawing.garments]
    assert {g.category for g in garments} == {name for names in OUTFIT_PARTS.values() for name in names}
    assert {w for g in garments for w in g.attributes} == {word for words in QUESTIONS.values() for word in words}


def test_sleeves_under_long_sleeves_are_hidden(drawings: list[Drawing]) -> None:
    checked = 0
    for drawing in drawings:
        for outer in drawing.garments:
            if outer.category in ("jacket", "coat", "cardigan") and "wrist-length" in outer.attributes:
                for inner in drawing.garments:
                    if inner.figure == outer.figure and inner.category in ("shirt, blouse", "sweater"):
                        checked += 1
                        assert "sleeve length" in inner.hidden
    assert checked > 5


def test_regions_say_what_the_garments_are(photos: Synthetic, street: LabelSpace) -> None:
    group_of = {label.name: label.group for label in street.labels}
    for index in range(48):
        sample, garments = photos[index], photos.garments(index)
        assert [r.segments for r in sample.regions] == [WHOLE_PHOTO, *((g.segment,) for g in garments)]
        assert not sample.targets[0].any()
        assert [street.mask_names[k] for k in np.flatnonzero(sample.targets[HAIR])] == ["hair"]
        assert [street.mask_names[k] for k in np.flatnonzero(sample.targets[SKIN])] == ["skin"]
        for garment, region in zip(garments, sample.regions[1:], strict=True):
            target = sample.targets[garment.segment]
            assert [street.mask_names[k] for k in np.flatnonzero(target)] == [garment.category]
            assert np.array_equal(region.labels[:27], target[:27])
            for label in street.labels:
                value = region.labels[label.index]
                if value >= 0:
                    assert garment.category in label.carried_by
                    assert value == (label.name in garment.attributes)
                    assert group_of[label.name] in garment.answers
                elif garment.category in label.carried_by:
                    assert label.group in garment.hidden or label.group not in QUESTIONS or not garment.has(label.group)


def test_the_whole_photo_agrees_with_its_regions(photos: Synthetic, street: LabelSpace) -> None:
    values: set[int] = set()
    for index in range(60):
        sample, garments = photos[index], photos.garments(index)
        whole, parts = sample.regions[0].labels, np.stack([r.labels for r in sample.regions[1:]])
        assert np.array_equal(whole, photos.photo_labels(index))
        assert {street.mask_names[i] for i in np.flatnonzero(whole[:27])} == {g.category for g in garments}
        assert whole[:27].min() == 0
        for label in street.labels:
            if label.group not in QUESTIONS:
                assert whole[label.index] == UNKNOWN
                continue
            hidden = any(label.group in g.hidden and g.category in label.carried_by for g in garments)
            expected = 1 if 1 in parts[:, label.index] else UNKNOWN if hidden else 0
            assert whole[label.index] == expected
            values.add(expected)
    assert values == {1, 0, UNKNOWN}


@pytest.mark.parametrize("name", LABEL_SPACES)
def test_every_label_space_is_taught(name: str) -> None:
    space = load_label_space(name)
    photos = Synthetic(None, space, count=12, canvas=(96, 64))
    batch = collate([place_sample(photos[i], (96, 64)) for i in range(12)])
    assert batch.targets.shape[2] == space.num_masks
    assert batch.labels.shape[2] == space.num_labels
    taught = (batch.targets == 1).any(1).any(0).numpy()
    assert taught.sum() > (4 if name == "outfit5" else 12)


def test_outfit_parts_stand_for_what_lies_there() -> None:
    space = space_of([(part, part) for part in OUTFIT_PARTS], [], [])
    photos = Remembering(None, space, count=12, canvas=(96, 64))
    for index in range(12):
        sample = photos[index]
        for garment in photos.garments(index):
            part = next(part for part, names in OUTFIT_PARTS.items() if garment.category in names)
            assert [space.mask_names[k] for k in np.flatnonzero(sample.targets[garment.segment])] == [part]
        assert sample.targets.min() == 0


def test_words_that_are_never_drawn_stay_unknown() -> None:
    groups = [
        {"name": "textile pattern", "choice": "one", "carried_by": ["dress"],
         "labels": [{"id": 1, "name": "stripe"}, {"id": 2, "name": "paisley"}]},
        {"name": "mood", "choice": "one", "labels": [{"id": 1, "name": "gloomy"}]},
        {"name": "cut", "choice": "many", "carried_by": ["trousers"], "labels": [{"id": 3, "name": "dot"}]},
    ]  # fmt: skip
    space = space_of([("dress", "whole body"), ("trousers", "lower body")], groups, ["hair"])
    photos = Remembering(None, space, count=72, canvas=(96, 64))
    seen = set()
    for index in range(72):
        sample = photos[index]
        dress = [g for g in photos.garments(index) if g.category == "dress"]
        words = ("dress", "trousers", "stripe", "paisley", "gloomy", "dot")
        whole = dict(zip(words, sample.regions[0].labels, strict=True))
        assert whole["dress"] == bool(dress)
        assert whole["trousers"] == whole["gloomy"] == whole["dot"] == UNKNOWN  # trousers may be another word for pants
        assert (sample.targets[FIRST_GARMENT:, 1] == UNKNOWN).all()
        if not dress:
            assert whole["stripe"] == whole["paisley"] == 0
        elif len(dress) == 1 and "textile pattern" in dress[0].answers:
            striped = "stripe" in dress[0].attributes
            seen.add(striped)
            assert whole["stripe"] == striped
            assert whole["paisley"] == (0 if striped else UNKNOWN)  # one of a kind: a stripe is no paisley
    assert seen == {True, False}


def inside(drawing: Drawing, garment: Garment) -> NDArray[np.bool_]:
    """The garment's pixels well away from its edge."""
    mask = np.pad((drawing.segments == garment.segment).astype(np.uint8), 1)
    return cv2.erode(mask, np.ones((7, 7), np.uint8))[1:-1, 1:-1] > 0


def test_colours_are_those_of_the_pixels(drawings: list[Drawing]) -> None:
    angles = []
    for drawing in drawings:
        for garment in drawing.garments:
            mask = inside(drawing, garment)
            if garment.category in TORSO and "plain (pattern)" in garment.attributes and mask.sum() > 200:
                found = np.median(drawing.photo[mask], axis=0)
                cosine = found @ garment.colour / np.linalg.norm(found) / np.linalg.norm(garment.colour)
                angles.append(np.degrees(np.arccos(min(1.0, cosine))))
    assert len(angles) > 50
    assert np.quantile(angles, 0.9) < 6  # degrees in RGB: light changes how bright, hardly which colour


def test_patterns_can_be_told_apart(drawings: list[Drawing]) -> None:
    contrast, coherence = defaultdict(list), defaultdict(list)
    for drawing in drawings:
        for garment in drawing.garments:
            mask = inside(drawing, garment)
            pattern = garment.answers.get("textile pattern", frozenset())
            if garment.category in TORSO and pattern and mask.sum() > 300:
                grey = cv2.GaussianBlur(drawing.photo, (0, 0), 1).astype(np.float32).max(2)
                dy, dx = (gradient[mask] for gradient in np.gradient(grey))
                energy = (dx * dx + dy * dy).mean()
                aligned = np.hypot((dx * dx - dy * dy).mean(), 2 * (dx * dy).mean()) / energy
                contrast[min(pattern)].append(energy)
                coherence[min(pattern)].append(aligned)  # 1 where all gradients are parallel, 0 where none is preferred
    middle = {pattern: float(np.median(values)) for pattern, values in contrast.items()}
    assert set(middle) == set(QUESTIONS["textile pattern"])
    assert all(middle[p] > 2 * middle["plain (pattern)"] for p in ("stripe", "check", "dot", "floral"))
    parallel = {pattern: float(np.median(values)) for pattern, values in coherence.items()}
    assert all(parallel["stripe"] > parallel[p] + 0.2 for p in ("check", "dot", "floral"))


@pytest.mark.parametrize("bad", [{"count": 0}, {"seed": -1}, {"canvas": (31, 64)}])
def test_impossible_sets_are_refused(bad: dict[str, Any], street: LabelSpace) -> None:
    with pytest.raises(DataError, match="ask for 1 photo or more"):
        Synthetic(None, street, **bad)


def test_a_path_is_refused(street: LabelSpace, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"synthetic: its photos are drawn: leave '.*' out"):
        build_dataset(Data(name="synthetic", path=str(tmp_path)), street)
