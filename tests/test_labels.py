"""Label spaces: the publishers' words and ids, the channels they stand on, and finding them again."""

import itertools
import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hemline.data.knowledge import Knowledge
from hemline.errors import LabelError
from hemline.labels import LABEL_SPACES, OUTFIT_PARTS, Label, LabelSpace, load_label_space
from tests.spaces import TINY, assert_tiled

FASHIONPEDIA = load_label_space("fashionpedia")
IMATERIALIST = load_label_space("imaterialist2019")
OUTFIT5 = load_label_space("outfit5")
EVERY = [load_label_space(name) for name in LABEL_SPACES]

CATEGORIES = [  # in the publisher's order: ids 0-45
    "shirt, blouse", "top, t-shirt, sweatshirt", "sweater", "cardigan", "jacket", "vest", "pants", "shorts", "skirt",
    "coat", "dress", "jumpsuit", "cape", "glasses", "hat", "headband, head covering, hair accessory", "tie", "glove",
    "watch", "belt", "leg warmer", "tights, stockings", "sock", "shoe", "bag, wallet", "scarf", "umbrella", "hood",
    "collar", "lapel", "epaulette", "sleeve", "pocket", "neckline", "buckle", "zipper", "applique", "bead", "bow",
    "flower", "fringe", "ribbon", "rivet", "ruffle", "sequin", "tassel",
]  # fmt: skip
SUPERCATEGORIES = {
    "upperbody": 6, "lowerbody": 3, "wholebody": 4, "head": 3, "neck": 1, "arms and hands": 2, "waist": 1,
    "legs and feet": 4, "others": 3, "garment parts": 7, "closures": 2, "decorations": 10,
}  # fmt: skip
GROUPS = {
    "fashionpedia": {
        "nickname": 153, "silhouette": 25, "waistline": 7, "length": 15, "neckline type": 25, "opening type": 10,
        "non-textile material type": 10, "leather": 4, "textile finishing, manufacturing techniques": 21,
        "textile pattern": 18, "animal": 6,
    },
    "imaterialist2019": {
        "length": 10, "opening type": 9, "silhouette": 25, "textile finishing, manufacturing techniques": 17,
        "textile pattern": 18, "animal": 6, "waistline": 7,
    },
    "outfit5": {},
}  # fmt: skip


# The publishers' words


@pytest.mark.parametrize(
    ("space", "masks", "labels"), [(FASHIONPEDIA, 46, 46 + 294), (IMATERIALIST, 46, 46 + 92), (OUTFIT5, 5, 5)]
)
def test_counts(space: LabelSpace, masks: int, labels: int) -> None:
    assert (space.num_masks, space.num_labels) == (masks, labels)
    assert {g.name: len(g.labels) for g in space.groups} == GROUPS[space.name]
    assert list(GROUPS[space.name]) == [g.name for g in space.groups]
    assert {g.choice for g in space.groups} <= {"many"}
    assert space.pixels == ()


@pytest.mark.parametrize("space", [FASHIONPEDIA, IMATERIALIST])
def test_the_46_categories(space: LabelSpace) -> None:
    assert [(c.id, c.name) for c in space.categories] == list(enumerate(CATEGORIES))
    supercategories = [c.supercategory for c in space.categories]
    assert Counter(supercategories) == SUPERCATEGORIES
    assert [name for name, _ in itertools.groupby(supercategories)] == list(SUPERCATEGORIES)  # each in one stretch
    assert all(c.shown for c in space.categories)


@pytest.mark.parametrize("space", [FASHIONPEDIA, IMATERIALIST])
def test_outfit_parts_of_the_46(space: LabelSpace) -> None:
    worn = {
        "upper body": range(6),
        "lower body": (6, 7, 8, 21),
        "whole body": range(9, 13),
        "feet": (20, 22, 23),
        "accessories": (*range(13, 20), *range(24, 27)),
        None: range(27, 46),
    }
    for part, ids in worn.items():
        assert {c.id for c in space.categories if c.outfit_part == part} == set(ids)


@pytest.mark.parametrize(
    ("space", "group", "id", "name"),
    [
        (FASHIONPEDIA, "nickname", 0, "classic (t-shirt)"),
        (FASHIONPEDIA, "nickname", 90, "dress (coat )"),  # as published
        (FASHIONPEDIA, "nickname", 113, "skater (dress)"),
        (FASHIONPEDIA, "waistline", 144, "basque (wasitline)"),  # as published
        (FASHIONPEDIA, "length", 157, "short (length)"),
        (FASHIONPEDIA, "nickname", 178, "oversized (lapel)"),
        (FASHIONPEDIA, "neckline type", 183, "v-neck"),
        (FASHIONPEDIA, "nickname", 213, "dolman (sleeve), batwing (sleeve)"),
        (FASHIONPEDIA, "opening type", 234, "no opening"),
        (FASHIONPEDIA, "non-textile material type", 281, "plastic"),
        (FASHIONPEDIA, "non-textile material type", 283, "metal"),
        (FASHIONPEDIA, "non-textile material type", 285, "feather"),
        (FASHIONPEDIA, "leather", 293, "snakeskin"),
        (FASHIONPEDIA, "textile finishing, manufacturing techniques", 312, "applique(a)"),
        (FASHIONPEDIA, "textile pattern", 320, "letters, numbers"),
        (FASHIONPEDIA, "animal", 334, "snakeskin (pattern)"),
        (FASHIONPEDIA, "textile pattern", 340, "plant"),
        (IMATERIALIST, "length", 0, "above-the-hip (length)"),
        (IMATERIALIST, "silhouette", 43, "oversized"),
        (IMATERIALIST, "textile pattern", 76, "argyle"),
        (IMATERIALIST, "animal", 77, "leopard"),
        (IMATERIALIST, "textile pattern", 83, "toile de jouy"),
        (IMATERIALIST, "waistline", 91, "no waistline"),
    ],
)
def test_official_attributes(space: LabelSpace, group: str, id: int, name: str) -> None:
    label = space.label_by_id(None, id)
    assert (label.group, label.name) == (group, name)
    assert space.label_by_id(group, id) is label
    assert space.find(name) is label


def test_attribute_ids_and_their_gaps() -> None:
    assert {label.id for label in FASHIONPEDIA.labels} == {*range(235), 281, 282, 283, *range(285, 341)}
    assert {label.id for label in IMATERIALIST.labels} == set(range(92))
    for space in (FASHIONPEDIA, IMATERIALIST):
        for group in space.groups:
            ids = [label.id for label in group.labels]
            assert ids == sorted(ids)
        firsts = [group.labels[0].id for group in space.groups]
        assert firsts == sorted(firsts)


@pytest.mark.parametrize("missing", [235, 260, 280, 284, 341])
def test_an_id_in_a_gap_is_refused(missing: int) -> None:
    with pytest.raises(LabelError, match=rf"no label has id {missing}; ids are 0-234, 281-283, 285-340$"):
        FASHIONPEDIA.label_by_id(None, missing)


def test_2019_words_are_fashionpedia_words() -> None:
    for label in IMATERIALIST.labels:
        twin = FASHIONPEDIA.find(label.name)
        assert isinstance(twin, Label)
        assert twin.group == label.group


def test_carried_by() -> None:
    carriers = {CATEGORIES[i] for i in (*range(13), 28, 29, 31, 32, 33)}
    assert len(carriers) == 18
    assert {label.carried_by for label in FASHIONPEDIA.labels} == {frozenset(carriers)}
    assert {label.carried_by for label in IMATERIALIST.labels} == {frozenset()}  # any


def test_outfit5_is_the_five_outfit_parts() -> None:
    assert [(c.id, c.name, c.outfit_part) for c in OUTFIT5.categories] == [
        (id, part, part) for id, part in enumerate(OUTFIT_PARTS, start=1)
    ]


def test_outfit5_maps_fashionpedia() -> None:
    drawn = {  # class: Fashionpedia's category ids
        0: range(6),
        1: (6, 7, 8),
        2: (9, 10, 11),
        3: (20, 22, 23),
        4: (*range(13, 20), 24, 25, 26, 34, 37),
    }
    expected = np.full((46, 5), -1, np.int8)  # parts say nothing
    for index, ids in drawn.items():
        expected[list(ids)] = np.eye(5, dtype=np.int8)[index]
    expected[12] = [0, 0, -1, 0, 0]  # cape: whole body or not
    expected[21] = [0, -1, 0, -1, 0]  # tights: lower body, feet or neither
    words = Knowledge(OUTFIT5, "fashionpedia").words
    assert list(words) == CATEGORIES
    np.testing.assert_array_equal([words[name].target for name in CATEGORIES], expected)


# Channels


@pytest.mark.parametrize("space", EVERY, ids=LABEL_SPACES)
def test_the_file_says_its_own_name(space: LabelSpace) -> None:
    assert load_label_space(space.name).name == space.name
    assert space.name in LABEL_SPACES


@pytest.mark.parametrize("space", EVERY, ids=LABEL_SPACES)
def test_round_trip_through_json(space: LabelSpace) -> None:
    again = LabelSpace.from_dict(json.loads(json.dumps(space.to_dict())))
    assert again == space
    assert again.to_dict() == space.to_dict()


@pytest.mark.parametrize("space", EVERY, ids=LABEL_SPACES)
def test_index_and_id_round_trip(space: LabelSpace) -> None:
    for index, category in enumerate(space.categories):
        assert category.index == index
        assert space.category_by_id(category.id) is category
        assert space.find(category.name) is category
    for index, label in enumerate(space.labels, start=len(space.categories)):
        assert label.index == index
        assert space.label_by_id(label.group, label.id) is label
        assert space.find(label.name) is label


@pytest.mark.parametrize("space", EVERY, ids=LABEL_SPACES)
def test_label_slices_hold_their_group(space: LabelSpace) -> None:
    assert_tiled(space)
    assert space.mask_names == (*(c.name for c in space.categories), *space.pixels)
    assert len(space.mask_names) == space.num_masks


@pytest.mark.parametrize("space", EVERY, ids=LABEL_SPACES)
def test_competing_leaves_out_exactly_the_hidden(space: LabelSpace) -> None:
    names = {space.mask_names[index] for index in space.competing}
    assert names == {c.name for c in space.categories if c.shown} | set(space.pixels)
    assert list(space.competing) == sorted(set(space.competing))


def test_competing_of_a_tiny_space() -> None:
    assert LabelSpace.from_dict(TINY).competing == (0, 2, 3)  # jacket, pocket, hair; vest is hidden


@st.composite
def spaces(draw: st.DrawFn) -> dict[str, Any]:
    """A well-formed label space of any size."""
    names = iter(f"word {i}" for i in itertools.count())
    ids = draw(st.lists(st.integers(-5, 500), min_size=1, max_size=6, unique=True))
    categories = [
        {
            "id": id,
            "name": next(names),
            "supercategory": "any",
            "outfit_part": draw(st.sampled_from([None, *OUTFIT_PARTS])),
            "shown": draw(st.booleans()),
        }
        for id in ids
    ]
    words = [str(c["name"]) for c in categories]
    groups = []
    for number in range(draw(st.integers(0, 4))):
        numbers_and_words: st.SearchStrategy[int | str] = st.one_of(st.integers(), st.text("abc", min_size=1))
        labels = [
            {"id": id, "name": next(names), "carried_by": sorted(draw(st.sets(st.sampled_from(words))))}
            for id in draw(st.lists(numbers_and_words, min_size=1, max_size=5, unique=True))
        ]
        choice = draw(st.sampled_from(["one", "many"]))
        groups.append({"name": f"group {number}", "choice": choice, "shown": draw(st.booleans()), "labels": labels})
    pixels = [next(names) for _ in range(draw(st.integers(0, 3)))]
    data = {"name": "wild", "version": 2, "categories": categories, "pixels": pixels, "groups": groups}
    some = st.sets(st.sampled_from([str(c["name"]) for c in categories]))
    alike = [sorted(names) for names in draw(st.lists(some, max_size=2))]
    return data | ({"alike": alike} if alike else {})


@settings(deadline=None, max_examples=50)
@given(spaces())
def test_any_space_is_tiled_and_comes_back(data: dict[str, Any]) -> None:
    space = LabelSpace.from_dict(data)
    assert space.to_dict() == data
    assert_tiled(space)
    assert space.num_masks == len(data["categories"]) + len(data["pixels"])
    hidden = {i for i, c in enumerate(data["categories"]) if not c["shown"]}
    assert set(space.competing) == set(range(space.num_masks)) - hidden
    for label in space.labels:
        assert space.label_by_id(label.group, label.id) is label


# Look-ups


@pytest.mark.parametrize(
    ("wrong", "nearest"),
    [
        ("jackt", "jacket"),  # misspelt
        ("v neck", "v-neck"),
        ("sweatshirt", "top, t-shirt, sweatshirt"),  # a part of the name
        ("Polo", "polo (shirt)"),
    ],
)
def test_find_suggests_near_names(wrong: str, nearest: str) -> None:
    with pytest.raises(LabelError) as caught:
        FASHIONPEDIA.find(wrong)
    sentence = str(caught.value)
    assert sentence.startswith(f"label space fashionpedia: no label {wrong!r}; did you mean {nearest}")
    assert sentence.endswith("?")


def test_find_suggests_something_where_nothing_is_near() -> None:
    with pytest.raises(LabelError, match=r"no label '§§'; did you mean accessories, feet, lower body"):
        OUTFIT5.find("§§")


def test_a_label_keeps_what_its_group_says() -> None:
    space = LabelSpace.from_dict(TINY)
    plain, dot, loose = space.labels
    assert plain.carried_by == {"jacket"}  # of its group
    assert dot.carried_by == frozenset()  # its own word wins, even an empty one
    assert [x.shown for x in space.labels] == [True, True, False]
    assert (space.label_by_id(None, "dot"), loose.group) == (dot, "fit")


@pytest.mark.parametrize(
    ("look", "sentence"),
    [
        (lambda s: s.category_by_id(0), "label space tiny: no category has id 0; ids are 4-5, 32"),
        (lambda s: s.label_by_id("pattern", 2), "label space tiny: no label of pattern has id 2; ids are 1, dot"),
        (lambda s: s.label_by_id(None, "x"), "label space tiny: no label has id 'x'; ids are 1, dot"),
        (lambda s: s.label_by_id("cut", 1), "label space tiny: no group 'cut'; its groups are: pattern, fit"),
        (
            lambda s: s.label_by_id(None, 1),
            "label space tiny: id 1 stands in several groups, name one of pattern, fit",
        ),
    ],
)
def test_look_ups_that_fail(look: Callable[[LabelSpace], object], sentence: str) -> None:
    with pytest.raises(LabelError) as caught:
        look(LabelSpace.from_dict(TINY))
    assert str(caught.value) == sentence
