"""Parts of garments: they lie on these, take no pixel from them, and belong to the one that holds them."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hemline._parts import holder
from hemline._regions import Maps, find_regions, logit
from hemline.coco_answers import to_coco
from hemline.draw import draw
from hemline.labels import LABEL_SPACES, LabelSpace, load_label_space
from hemline.photo import Frame, place
from hemline.predict import Files, Writer
from hemline.result import Result, read_answer
from tests.answers import validate
from tests.worn import (
    BELT,
    BUCKLE,
    EPAULETTE,
    KINDS,
    PANTS,
    PATCH,
    PLAIN,
    POCKET,
    SKIN,
    SPACE,
    K,
    L,
    metadata,
)

Bool = NDArray[np.bool_]


def rectangle(rows: slice, columns: slice, size: tuple[int, int] = (40, 40)) -> Bool:
    mask = np.zeros(size, np.bool_)
    mask[rows, columns] = True
    return mask


LEGS, WAIST = rectangle(slice(10, 38), slice(6, 34)), rectangle(slice(6, 11), slice(6, 34))
PATCHES = rectangle(slice(14, 22), slice(10, 18)) | rectangle(slice(14, 22), slice(22, 30))
CLASP = rectangle(slice(6, 10), slice(18, 22))
LOGITS: NDArray[np.float32] = np.full((K, 40, 40), -4.0, np.float32)
LOGITS[PANTS, LEGS], LOGITS[BELT, WAIST] = 2.0, 3.0
LOGITS[POCKET, PATCHES], LOGITS[BUCKLE, CLASP] = 4.0, 1.0


def answer(logits: NDArray[np.float32] = LOGITS, labels: Any = None, **changes: Any) -> Result:
    if labels is None:
        labels = np.full((1 + K, L), -5.0, np.float32)
        labels[1 + PANTS, [PATCH, PLAIN]] = 3.0
        labels[1 + POCKET, PATCH] = 2.0
        labels[0, [POCKET, PATCH, PLAIN]] = 1.0
    photo = np.full((40, 40, 3), (40, 60, 150), np.uint8)
    frame = Frame(0, 0, 40, 40, 40, 40)
    return read_answer(logits, labels, (40, 40), frame, metadata(**changes), photo, name="p.jpg")


EXCLUSIVE: dict[str, Any] = {"recipe": {"masks": "exclusive"}}

# -- what is a part ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LABEL_SPACES)
def test_the_published_parts_are_parts_and_nothing_else(name: str) -> None:
    space = load_label_space(name)
    ids = {space.categories[k].id for k in space.parts}
    assert ids == (set(range(27, 46)) if name in ("fashionpedia", "imaterialist2019") else set())
    assert sorted(k for layer in space.layers for k in layer) == list(space.competing)
    if not ids:
        assert space.layers == (space.competing,)


def test_words_whose_place_nobody_says_are_no_parts() -> None:
    """As in a COCO file of one's own: `suspenders` is on no part of the outfit that Fashionpedia has, and is worn."""
    own = [KINDS[0], {"id": 1, "name": "suspenders", "supercategory": "clothes"}]
    assert LabelSpace.from_dict({"name": "own", "version": 1, "categories": own}).layers == ((0, 1),)
    assert LabelSpace.from_dict({"name": "own", "version": 1, "categories": KINDS[2:4]}).layers == ((0, 1),)
    assert SPACE.parts == {POCKET, BUCKLE, EPAULETTE}
    assert SPACE.layers == ((PANTS, BELT, SKIN), (POCKET, BUCKLE))


# -- pixels --------------------------------------------------------------------------------------------------


def test_trousers_are_whole_under_their_pocket() -> None:
    pants, belt = answer().garments
    assert [(g.category, [p.category for p in g.parts]) for g in (pants, belt)] == [
        ("pants", ["pocket"]), ("belt", ["buckle"]),
    ]  # fmt: skip
    np.testing.assert_array_equal(pants.mask, LEGS & ~WAIST)     # a belt still takes its pixels from the trousers
    np.testing.assert_array_equal(pants.parts[0].mask, PATCHES)
    np.testing.assert_array_equal(belt.mask, WAIST)
    assert [g.category for g in answer().garments_and_parts] == ["pants", "pocket", "belt", "buckle"]


def test_exclusive_masks_share_no_pixel_and_the_pocket_is_still_the_trousers() -> None:
    pants, belt = answer(**EXCLUSIVE).garments
    np.testing.assert_array_equal(pants.mask, LEGS & ~WAIST & ~PATCHES)
    assert [part.category for part in pants.parts] == ["pocket"]
    assert belt.parts == []                                      # 1 beside 3: the buckle wins no pixel


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.booleans())
def test_parts_change_nothing_about_garments_and_garments_nothing_about_parts(seed: int, exclusive: bool) -> None:
    """Each layer answers as if there were no other; all in one answer as one network without parts would."""
    random = np.random.default_rng(seed)
    logits = (random.normal(-0.5, 2, (K, 12, 12))).astype(np.float32)
    frame = place(np.zeros((37, 26, 3), np.uint8), (40, 40)).frame
    thresholds = logit(random.choice([0.2, 0.5, 0.8], K))
    layers = [SPACE.competing] if exclusive else SPACE.layers
    whole = find_regions(Maps(logits, (40, 40), frame, thresholds, layers), K)
    for layer in layers:
        alone = np.full_like(logits, -50.0)
        alone[list(layer)] = logits[list(layer)]
        regions = find_regions(Maps(alone, (40, 40), frame, thresholds, [SPACE.competing]), K)
        assert {k for k in whole if k in layer} == set(regions)
        for k, region in regions.items():
            np.testing.assert_array_equal(region.mask, whole[k].mask)
            assert region.score == whole[k].score


# -- whose part ----------------------------------------------------------------------------------------------

COAT, SHIRT = rectangle(slice(0, 40), slice(0, 20)), rectangle(slice(0, 20), slice(0, 30))


@pytest.mark.parametrize(
    ("part", "garments", "expected"),
    [
        (rectangle(slice(2, 12), slice(0, 10)), [COAT], 0),
        (rectangle(slice(2, 12), slice(15, 25)), [COAT], 0),                 # half of it, no less
        (rectangle(slice(2, 12), slice(16, 26)), [COAT], None),              # two fifths; and of its border likewise
        (rectangle(slice(22, 32), slice(15, 25)), [SHIRT, COAT], 1),
        (rectangle(slice(2, 12), slice(0, 10)), [COAT, SHIRT], 1),           # both cover all: the smaller
        (rectangle(slice(2, 12), slice(0, 10)), [SHIRT, COAT], 0),
        (rectangle(slice(11, 21), slice(0, 10)), [COAT, SHIRT], 1),          # 100 % and 90 %: as good as both
        (rectangle(slice(12, 22), slice(0, 10)), [COAT, SHIRT], 0),          # 100 % and 80 %
        (rectangle(slice(2, 12), slice(0, 10)), [], None),
    ],
)
def test_the_garment_that_covers_most_of_a_part_holds_it(part: Bool, garments: list[Bool], expected: int) -> None:
    assert holder(part, garments) == expected


def test_a_part_that_is_cut_out_belongs_to_what_lies_around_it() -> None:
    pocket = rectangle(slice(4, 10), slice(4, 10))
    assert holder(pocket, [SHIRT & ~COAT, COAT & ~pocket]) == 1
    corner = rectangle(slice(0, 6), slice(0, 6))                 # at the photo's edge there is no border outside
    assert holder(corner, [COAT & ~corner]) == 0
    sleeve = rectangle(slice(0, 4), slice(20, 36))               # its short end touches the coat
    assert holder(sleeve, [COAT]) is None
    assert holder(np.ones((40, 40), np.bool_), [COAT]) == 0      # half of the photo
    assert holder(np.ones((40, 40), np.bool_), [~rectangle(slice(0, 40), slice(0, 40))]) is None


def test_the_border_is_thin() -> None:
    """On 400 x 300 pixels it is 4 wide: a garment 5 pixels away is not at the part's border."""
    pocket = rectangle(slice(100, 130), slice(100, 130), (400, 300))
    near, far = (rectangle(slice(100 - n, 130 + n), slice(100 - n, 130 + n), (400, 300)) for n in (3, 5))
    frame = rectangle(slice(60, 170), slice(60, 170), (400, 300))
    assert holder(pocket, [frame & ~far]) is None
    assert holder(pocket, [frame & ~near]) is None               # of the 4 pixels, the outermost alone
    assert holder(pocket, [frame & ~pocket]) == 0


def test_a_part_that_nobody_holds_is_a_garment_of_its_own() -> None:
    logits = LOGITS.copy()
    logits[[PANTS, BELT]] = -4.0
    result = answer(logits)
    assert [g.category for g in result.garments] == ["pocket", "buckle"]
    assert all(g.parts == [] and g.outfit_part is None for g in result.garments)
    validate(result)


def test_a_guess_holds_nothing() -> None:
    """Trousers that the photo's label alone names have a guessed region; the pocket is not put into it."""
    logits = LOGITS.copy()
    logits[PANTS, LEGS], logits[BELT] = -1.0, -4.0
    labels = np.full((1 + K, L), -5.0, np.float32)
    labels[0, PANTS] = 3.0
    result = answer(logits, labels)
    assert {g.category: (g.found_by, len(g.parts)) for g in result.garments} == {
        "pants": ("label", 0), "pocket": ("mask", 0), "buckle": ("mask", 0),
    }  # fmt: skip


# -- what is said --------------------------------------------------------------------------------------------


def test_attributes_stand_with_the_part_that_carries_them() -> None:
    result = answer()
    pants = result.garments[0]
    assert [x.label for x in pants.attributes] == ["plain"]      # trousers carry no type of pocket
    assert [x.label for x in pants.parts[0].attributes] == ["patch"]
    assert [x.label for x in result.labels] == ["pocket", "patch", "plain"]      # the photo's know parts, too


def test_a_part_is_dropped_by_its_own_score() -> None:
    logits = LOGITS.copy()
    photo, frame = np.zeros((40, 40, 3), np.uint8), Frame(0, 0, 40, 40, 40, 40)
    labels = np.full((1 + K, L), -5.0, np.float32)
    pants, belt = read_answer(logits, labels, (40, 40), frame, metadata(), photo, name="p", min_score=0.85).garments
    assert [part.category for part in (*pants.parts, *belt.parts)] == ["pocket"]     # the buckle scores 0.73


def test_the_json_nests_parts_in_the_same_shape() -> None:
    result = answer()
    validate(result)
    pants = json.loads(json.dumps(result.to_dict("none")))["garments"][0]
    (pocket,) = pants["parts"]
    assert pocket.keys() == pants.keys()
    assert (pocket["category"], pocket["parts"], pocket["attributes"][0]["label"]) == ("pocket", [], "patch")


def test_coco_says_whose_part_it_is() -> None:
    result = answer()
    data = to_coco([result, result])
    rows = [(x["id"], x["image_id"], x["category_id"], x.get("part_of")) for x in data["annotations"]]
    assert rows == [
        (1, 1, 6, None), (2, 1, 32, 1), (3, 1, 19, None), (4, 1, 34, 3),
        (5, 2, 6, None), (6, 2, 32, 5), (7, 2, 19, None), (8, 2, 34, 7),
    ]  # fmt: skip
    assert [x["attribute_ids"] for x in data["annotations"][:2]] == [[317], [228]]


def test_files_of_several_photos_are_numbered_on(tmp_path: Any) -> None:
    writer = Writer(Files(coco=tmp_path / "coco.json", masks=tmp_path), ["a.jpg", "b.jpg"])
    for number in range(2):
        writer.write(number, answer())
    writer.close()
    rows = json.loads((tmp_path / "coco.json").read_text())["annotations"]
    assert [(x["id"], x["image_id"], x.get("part_of")) for x in rows] == [
        (1, 1, None), (2, 1, 1), (3, 1, None), (4, 1, 3), (5, 2, None), (6, 2, 5), (7, 2, None), (8, 2, 7),
    ]  # fmt: skip
    assert {file.name for file in tmp_path.glob("a.*")} == {
        f"a.{i}.{name}.mask.png" for i, name in enumerate(["pants", "pocket", "belt", "buckle"], start=1)
    }


def test_the_table_and_the_drawing_show_parts_below_their_garment(capsys: pytest.CaptureFixture[str]) -> None:
    from hemline.console import show

    result = answer()
    show(result)
    lines = capsys.readouterr().out.splitlines()
    names = "pants", "pocket ", "belt", "buckle"
    starts = [(line.index(name), name) for line in lines for name in names if name in line]
    assert [name.strip() for _, name in starts][:4] == ["pants", "pocket", "belt", "buckle"]
    columns = [column for column, _ in starts[:4]]
    assert columns == [columns[0], columns[0] + 2, columns[0], columns[0] + 2]
    bare = replace(result, garments=[replace(garment, parts=[]) for garment in result.garments])
    whole, without = np.asarray(draw(result.pixels, result)), np.asarray(draw(result.pixels, bare))
    corner = 16 * 14 + 24, 16 * 10 + 24                          # within the pocket, drawn 16 times as large
    trousers = 16 * 26, 16 * 8
    assert (whole[corner] != without[corner]).any()
    assert (whole[trousers] == without[trousers]).all()
