"""What `benchmarks/kinds.py`, `pooled.py` and `looked_at.py` measure by: changes of photos and maps, and figures."""

import json
import re
import sys
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from hemline.data.sample import PREDICTED, WHOLE_PHOTO, Region
from hemline.errors import DataError
from hemline.labels import load_label_space
from hemline.metrics import MaskScores

ROOT = Path(__file__).resolve().parent.parent
NAMES = ("changes", "held_out", "kinds", "pooled", "looked_at")


@pytest.fixture(scope="module")
def scripts():
    sys.path.insert(0, str(ROOT / "benchmarks"))
    yield SimpleNamespace(**{name: import_module(name) for name in NAMES})
    sys.path.remove(str(ROOT / "benchmarks"))
    for name in NAMES:
        sys.modules.pop(name, None)


@pytest.fixture
def street():
    return load_label_space("street")


def rng():
    return np.random.default_rng(5)


def shot_of(scripts, truth):
    """A shot whose photo shows its map: red is the class number, and the second map is that, too."""
    photo = np.stack([truth, truth, truth], axis=-1).astype(np.uint8)
    return scripts.changes.Shot(photo, np.stack([truth, truth]).astype(np.uint8), np.array([True, False]))


def random_truth(height=40, width=30):
    return np.random.default_rng(3).integers(0, 200, (height, width)).astype(np.uint8)


@pytest.mark.parametrize("kind", ["dark", "black-and-white", "blurred by motion", "strong JPEG"])
def test_changes_of_pixels_leave_maps_and_the_photo_they_were_given(scripts, kind):
    shot = shot_of(scripts, random_truth())
    shot.photo[..., 2] = 255 - shot.photo[..., 2]
    before = shot.photo.copy()
    after = scripts.changes.CHANGES[kind](shot, rng())
    assert after.maps is shot.maps
    assert after.photo.shape == before.shape
    assert after.photo.dtype == np.uint8
    assert (shot.photo == before).all()
    assert (after.photo != before).mean() > 0.5
    assert (after.photo == scripts.changes.CHANGES[kind](shot, rng()).photo).all()


def test_dark_keeps_a_share_of_the_light(scripts):
    shot = scripts.changes.Shot(np.full((60, 60, 3), 255, np.uint8), np.zeros((0, 60, 60), np.uint8), np.zeros(0, bool))
    light = (scripts.changes.dark(shot, rng()).photo / 255) ** 2.2
    assert light.mean() == pytest.approx(0.08, rel=0.03)
    assert light.std() == pytest.approx((0.08 * 0.0008 + 0.004**2) ** 0.5, rel=0.2)


def test_motion_blurs_over_a_line_and_keeps_the_light(scripts):
    photo = np.zeros((90, 90, 3), np.uint8)
    photo[45, 45] = 240
    shot = scripts.changes.Shot(photo, np.zeros((0, 90, 90), np.uint8), np.zeros(0, bool))
    ys, xs = np.nonzero(scripts.changes.motion(shot, rng()).photo[..., 0])
    assert len(ys) >= 3
    assert np.linalg.svd(np.stack([ys - ys.mean(), xs - xs.mean()]))[1][1] < 1.5   # a line, whatever its angle
    flat = shot._replace(photo=np.full((90, 90, 3), 77, np.uint8))
    assert (scripts.changes.motion(flat, rng()).photo == 77).all()


@pytest.mark.parametrize("kind", ["turned by 90 degrees", "upper half", "lower half", "head and shoulders"])
def test_maps_move_as_pixels_do(scripts, kind):
    shot = shot_of(scripts, random_truth())
    sizes = set()
    for seed in range(4):
        after = scripts.changes.CHANGES[kind](shot, np.random.default_rng(seed))
        sizes.add(after.photo.shape)
        assert after.maps.shape == (2, *after.photo.shape[:2])
        assert (after.maps == after.photo[..., 0]).all()
    assert len(sizes) == 1


def test_turns_go_both_ways(scripts):
    shot = shot_of(scripts, random_truth())
    corners = {int(scripts.changes.turned(shot, np.random.default_rng(seed)).maps[0, 0, 0]) for seed in range(8)}
    truth = shot.maps[0]
    assert corners == {int(truth[0, -1]), int(truth[-1, 0])}


def test_crops_follow_the_figure(scripts):
    truth = np.zeros((200, 100), np.uint8)
    truth[40:140, 30:50] = 7
    truth[60, 29] = 255                                   # unknown pixels are figure, too
    assert scripts.changes.figure_box(truth) == (40, 29, 140, 50)
    assert scripts.changes.figure_box(np.zeros((9, 8), np.uint8)) == (0, 0, 9, 8)
    shot = shot_of(scripts, truth)
    for kind, rows in (("upper half", (35, 90)), ("lower half", (90, 145)), ("head and shoulders", (35, 70))):
        after = scripts.changes.CHANGES[kind](shot, rng())
        assert (after.maps[0] == truth[rows[0] : rows[1], 24:55]).all(), kind


@pytest.mark.parametrize("kind", ["a third of it, on a plain ground", "a third of it, on a wide canvas"])
def test_a_small_photo_lies_where_its_map_lies(scripts, kind):
    truth = np.full((90, 60), 9, np.uint8)
    truth[30:60, 21:39] = 120
    shot = shot_of(scripts, truth)
    tops = set()
    for seed in range(4):
        after = scripts.changes.CHANGES[kind](shot, np.random.default_rng(seed))
        assert after.photo.shape == (90, 120, 3)
        ys, xs = np.nonzero(after.maps[0])
        assert (np.ptp(ys) + 1, np.ptp(xs) + 1, len(ys)) == (30, 20, 600)
        assert (after.photo[after.maps[0] == 120] == 120).all()
        assert (after.maps[0] == 120).sum() == 60
        assert (after.photo[after.maps[0] != 120] == 9).all()
        tops.add(ys.min())
    assert len(tops) > 1


def test_a_wide_canvas_holds_the_photo_as_it_is(scripts):
    shot = shot_of(scripts, random_truth())
    after = scripts.changes.CHANGES["on a wide canvas"](shot, rng())
    assert after.photo.shape == (40, 60, 3)
    (left,) = {x for x in range(31) if (after.photo[:, x : x + 30] == shot.photo).all()}
    assert (after.maps[:, :, left : left + 30] == shot.maps).all()
    assert after.maps.sum(dtype=int) == shot.maps.sum(dtype=int)


@pytest.mark.parametrize("height", [64, 128])
def test_tiny_photos_are_as_high_as_they_say(scripts, height):
    after = scripts.changes.CHANGES[f"{height} pixels high"](shot_of(scripts, random_truth(200, 150)), rng())
    assert after.photo.shape == (height, round(height * 0.75), 3)
    assert after.maps.shape == (2, *after.photo.shape[:2])


def test_two_beside_each_other(scripts):
    one, two = shot_of(scripts, random_truth(40, 30)), shot_of(scripts, np.full((80, 20), 4, np.uint8))
    both = scripts.changes.beside(one, two._replace(unknown=np.array([False, False])))
    assert both.photo.shape == (40, 40, 3)
    assert (both.maps == both.photo[..., 0]).all()
    assert (both.maps[:, :, :30] == one.maps).all()
    assert both.unknown.tolist() == [True, False]


def test_a_kind_is_the_same_for_the_same_photo_and_seed_alone(scripts):
    shot = shot_of(scripts, random_truth())
    one, same, other_photo, other_seed = (
        scripts.kinds.changed("dark", shot, key, seed).photo for key, seed in (("a", 0), ("a", 0), ("b", 0), ("a", 1))
    )
    assert (one == same).all()
    assert (one != other_photo).any()
    assert (one != other_seed).any()
    assert scripts.kinds.changed("as they are", shot, "a", 0) is shot


def test_names_that_a_map_shows(scripts, street):
    names = ["background", "hair", "dress", "shoe", "belt"]
    truth = np.zeros((100, 100), np.uint8)
    truth[:50], truth[60, :4], truth[0, 0] = 2, 3, 255   # a dress, and too little of a shoe to be asked for
    unknown = np.zeros(len(street.categories), bool)
    unknown[street.find("tie").index] = True
    true, sure = scripts.kinds.names_drawn(truth, unknown, street, names)
    assert true == {"dress"}
    assert {"dress", "belt"} <= sure
    assert not {"shoe", "tie", "hair"} & sure


def test_mean_iou_is_that_of_evaluate(scripts):
    maps = np.random.default_rng(0).integers(0, 4, (3, 20, 9, 8)).astype(np.uint8)
    maps[2][maps[2] == 3] = 255
    scores = [MaskScores(["background", "a", "b", "c"]) for _ in range(2)]
    for one, two, truth in zip(*maps, strict=True):
        scores[0].update(one, truth)
        scores[1].update(two, truth)
    (hit, true, said), (now_hit, _, now_said) = (each.sums() for each in scores)
    pair = scripts.held_out.paired_iou((hit, said), (now_hit, now_said), true, 0)
    for figure, each in zip(pair[:2], scores, strict=True):
        expected = each.compute().mean_iou
        assert (figure.value, figure.low, figure.high) == pytest.approx((expected.value, expected.low, expected.high))
    assert pair.difference.value == pytest.approx(pair.second.value - pair.first.value)
    often = scripts.held_out.paired_iou((hit, said), (hit, said), true, 1)   # class c is never true
    assert often.first.value > pair.first.value
    assert (often.difference.value, often.difference.low, often.difference.high) == (0, 0, 0)


def test_average_precision_is_scikit_learn_s(scripts):
    draw = np.random.default_rng(1)
    truth = draw.integers(-1, 2, (60, 3)).astype(np.int8)
    truth[:, 2] = -1
    first, second = draw.normal(size=(2, 60, 3))
    second = np.where(truth == 1, second + 3, second)
    pairs, mean = scripts.held_out.paired_precision(first, second, truth)
    expected = []
    for label in range(2):
        known = truth[:, label] >= 0
        expected.append([average_precision_score(truth[known, label], side[known, label]) for side in (first, second)])
        assert [pairs[label].first.value, pairs[label].second.value] == pytest.approx(expected[-1])
    assert pairs[2] is None
    assert [mean.first.value, mean.second.value] == pytest.approx(np.mean(expected, axis=0))
    assert mean.difference.low > 0.1
    same = scripts.held_out.paired_precision(first, first, truth)[1].difference
    assert (same.value, same.low, same.high) == (0, 0, 0)     # paired: the same draws for both


def test_the_best_word_is_sought_among_those_known(scripts):
    truth = np.array([[1, 0, -1], [0, 1, 0], [-1, 0, 0]], np.int8)
    first = np.array([[1.0, 0, 9], [1, 0, 0], [0, 0, 0]])
    pair = scripts.kinds.top1(first, first[:, ::-1], truth)
    assert (pair.first.value, pair.second.value) == (0.5, 0.5)
    assert scripts.kinds.top1(first, np.where(truth == 1, 9.0, 0), truth).second.value == 1


def test_real_photos_of_a_kind(scripts):
    kinds = json.loads(scripts.kinds.KEYS.read_text(encoding="utf-8"))
    for kind, keys in kinds.items():
        assert 5 < len(keys) == len(set(keys)) <= scripts.kinds.MOST_PICTURES, kind
        form = r"(ccp/\d{4}|clothing_attributes/\d{6}|clothing_dataset/[0-9a-f-]{36})"
        assert all(re.fullmatch(form, key) for key in keys), kind


def test_labels_are_paired_where_photo_and_garment_agree(scripts, street):
    index = {name: street.find(name).index for name in ("collar", "collarless", "stripe", "plain (pattern)", "dress")}
    whole, own, absent = (np.full(street.num_labels, -1, np.int8) for _ in range(3))
    whole[[index["collar"], index["stripe"]]], whole[index["collarless"]] = 1, 0
    own[[index["collar"], index["collarless"]]] = 1      # of collarless, photo and garment differ
    absent[index["stripe"]] = 1
    dress, coat = (np.zeros(street.num_masks, bool) for _ in range(2))
    dress[street.find("dress").index] = coat[street.find("coat").index] = True
    sample = SimpleNamespace(regions=[
        Region(WHOLE_PHOTO, whole), Region(PREDICTED, own, classes=dress), Region(PREDICTED, absent, classes=coat),
    ])  # fmt: skip
    under = np.arange(street.num_labels, dtype=np.float32)
    found = SimpleNamespace(category=street.find("dress").index, labels=under)
    said = SimpleNamespace(
        photo=-under, garment=lambda sample, region, may_be: found if region.classes is dress else None
    )
    rows = scripts.pooled.Rows()
    rows.add(sample, said, street)
    (truth,) = rows.truth
    assert np.flatnonzero(truth != -1).tolist() == [index["collar"]]
    assert rows.garment[0][index["collar"]] == index["collar"] == -rows.photo[0][index["collar"]]
    assert rows.missed == {index["stripe"]: 1}


def test_garments_are_chosen_rarest_first_and_no_photo_twice(scripts, street):
    labels = np.full((30, street.num_labels), -1, np.int8)
    labels[:, street.find("shoe").index] = 1
    labels[3:6, street.find("tie").index] = 1
    labels[4, street.find("belt").index] = 1             # the rarest, and after the tie in the list
    dataset = SimpleNamespace(photo_labels=lambda index: labels[index - 100])
    part = SimpleNamespace(indices=list(range(100, 130)), dataset=dataset)
    lent = SimpleNamespace(sets={"one": part, "two": part}, metadata=SimpleNamespace(labels=street))
    chosen = scripts.looked_at.choose(lent, 11, 0)
    first = [one for one in chosen if one.name == "one"]
    assert [one.category.name for one in first] == ["belt", "tie", "shoe", "tie", "shoe", "shoe"]
    assert first[0].photo == 104
    assert len({one.photo for one in first}) == 6
    assert len(chosen) == 11
    assert chosen == scripts.looked_at.choose(lent, 11, 0) != scripts.looked_at.choose(lent, 11, 1)


def test_the_answer_that_is_judged(scripts, street):
    def garment(name, left):
        mask = np.zeros((10, 40), bool)
        mask[:, left : left + 10] = True
        return SimpleNamespace(category=name, outfit_part=street.find(name).outfit_part, mask=mask)

    skirt, coat, shoe = garment("skirt", 0), garment("coat", 12), garment("shoe", 30)
    result = SimpleNamespace(garments=[skirt, coat, shoe])
    targets = np.zeros((2, street.num_masks), np.int8)
    jacket, pants = street.find("jacket"), street.find("pants")
    targets[1, jacket.index] = 1
    segments = np.zeros((10, 40), np.uint8)
    undrawn = SimpleNamespace(targets=np.full_like(targets[:1], -1), segments=segments.copy())
    segments[:, 10:20] = 1
    drawn = SimpleNamespace(targets=targets, segments=segments)
    answer_of = scripts.looked_at.answer_of
    assert answer_of(result, drawn, street.find("shoe")) is shoe
    assert answer_of(result, drawn, jacket) is coat
    segments[:], segments[:, 22:30] = 0, 1
    assert answer_of(result, drawn, jacket) is None      # nothing lies on it
    assert answer_of(result, undrawn, pants) is skirt
    assert answer_of(SimpleNamespace(garments=[shoe]), undrawn, pants) is None


def test_verdicts_are_counted(scripts, tmp_path):
    file = tmp_path / "garments.md"
    rows = [
        "| 1 | ccp | 0001 | coat | coat 0.9 | coat | right | good | 3 | 1 | right | 0 |",
        "| 2 | ccp | 0002 | tie | nothing | tie | not found | none |  |  | - | 2 |",
        "| 3 | other | x | belt | belt 0.3 | belt | wrong | bad | 1 | 0 | wrong |  |",
        "| 4 | other | y | belt | belt 0.3 | belt | - | - |  |  |  | 7 |",
    ]
    file.write_text("# text\n\n| number | set |\n|---|---|\n" + "\n".join(rows) + "\n", encoding="utf-8")
    lines = list(scripts.looked_at.tally(file))
    assert lines[:5] == [
        "all: 3 garments",
        "  category: right 1, wrong 1, unclear 0, not found 1",
        "  mask: good 1, partial 0, bad 1, none 1",
        "  colours: right 1, wrong 1",
        "  attributes: right 4, wrong 1; extra garments: 2",
    ]
    assert lines[10] == "other: 1 garments"
    file.write_text(rows[0].replace("good", "fair"), encoding="utf-8")
    with pytest.raises(DataError, match="row 1 has no verdict"):
        list(scripts.looked_at.tally(file))
