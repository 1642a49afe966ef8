"""Fashionpedia's average precision: by hand, and against a slow one that follows the published rules one by one."""

import json
import math
from functools import partial
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from pycocotools import mask as coco  # type: ignore[import-untyped]
from sklearn.metrics import f1_score

from hemline._matching import Meeting, likenesses
from hemline.ap_scores import coco_scores, fashionpedia_scores
from hemline.instances import Vocabulary
from hemline.labels import load_label_space
from tests.scored import VOCABULARY, crowded, garment, photo, photos

BOX = (8, 8, 10, 10)
FAR = (80, 80, 10, 10)
LEAST = [*np.linspace(0.5, 0.95, 10), -1.0]
AREAS = {"all": (0, 1e10), "small": (0, 1024), "medium": (1024, 9216), "large": (9216, 1e10)}
FASHIONPEDIA = Vocabulary.of(load_label_space("fashionpedia"))


def scores(*shown, f1="official", vocabulary=VOCABULARY):
    return fashionpedia_scores(shown, vocabulary, "box", f1)


def likeness(true, said, form="official", vocabulary=FASHIONPEDIA):
    meeting = Meeting([garment(BOX, true)], [garment(BOX, said)], np.ones(1), np.ones(1))
    return next(likenesses([meeting], vocabulary, form)).item()


# -- F1 ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("true", "said", "official", "present"),
    [
        ([], [], 1, 1),
        ([0], [], 0.499148, 0),
        ([0], [1], 0.498294, 0),
        ([0], [0, 1], 0.832479, 2 / 3),
        ([0, 1, 2], [0], 0.748288, 1 / 2),
        ([0, 1, 2, 3], [0, 1], 0.831615, 2 / 3),
        ([], [0], 0.499148, 0),
        ([0, 1], [0, 1], 1, 1),
    ],
)
def test_f1_of_fashionpedias_294_attributes(true, said, official, present):
    assert len(FASHIONPEDIA.attributes) == 294
    words = list(FASHIONPEDIA.attributes)
    true, said = ([words[i] for i in side] for side in (true, said))
    assert likeness(true, said) == pytest.approx(official, abs=1e-6)
    assert likeness(true, said, "present") == pytest.approx(present, abs=1e-12)


def test_official_f1_is_scikit_learns_macro_f1():
    words = Vocabulary({}, {number: str(number) for number in range(4)})
    for true, said in product(product([0, 1], repeat=4), repeat=2):
        sides = ([number for number in range(4) if side[number]] for side in (true, said))
        assert likeness(*sides, vocabulary=words) == pytest.approx(f1_score(true, said, average="macro"), abs=1e-12)


def test_attributes_that_the_vocabulary_does_not_know_count_nowhere():
    assert likeness(["nothing"], [], vocabulary=VOCABULARY) == 1
    assert likeness(["nothing", "a"], ["a"], "present", VOCABULARY) == 1


# -- by hand -------------------------------------------------------------------------------------------------


def test_wrong_attributes_fail_at_every_f1():
    got = scores(photo([garment(BOX, ["a"])], [garment(BOX, ["b"])]))          # F1 of a, b among 4: (0 + 2/3) / 2
    assert (got.iou.ap, got.f1.ap, got.both.ap) == pytest.approx((1, 0, 0))
    assert got.both.ar_100 == 0


def test_half_right_attributes_pass_at_some_f1s():
    """F1 is 2/3 of what is present and 4/5 of what is absent, 11/15 in the mean: 0.50 to 0.70 of the ten."""
    shown = photo([garment(BOX, ["a"])], [garment(BOX, ["a", "b"])])
    assert scores(shown).both.ap == pytest.approx(0.5)
    assert scores(shown).f1.at == pytest.approx({"f1_50": 1, "f1_75": 0})
    assert scores(shown, f1="present").both.ap == pytest.approx(0.4)           # 0.50 to 0.65
    assert scores(shown, f1="present").f1_form == "present"


def test_an_f1_that_equals_its_threshold_passes():
    """Three of present attributes in common, of five and of five: F1 is 0.6, the third threshold."""
    words = Vocabulary({3: "coat"}, {number: str(number) for number in range(50)}, frozenset([3]))
    shown = photo([garment(BOX, range(5))], [garment(BOX, range(2, 7))])
    assert scores(shown, f1="present", vocabulary=words).both.ap == pytest.approx(0.3)


def test_a_category_with_attributes_is_ten_entries_of_the_mean():
    """A coat with all attributes right and a dress that is not found."""
    got = scores(photo([garment(BOX, ["a"]), garment(FAR, category=5)], [garment(BOX, ["a"])]))
    assert got.iou.ap == pytest.approx(1 / 2)
    assert got.both.ap == pytest.approx(10 / 11)
    assert got.both.at["iou50"] == pytest.approx(10 / 11)
    assert got.both.at["f1_50"] == pytest.approx(1 / 2)                        # at one F1 each category is one entry
    assert got.both.at["iou75_f1_75"] == pytest.approx(1 / 2)
    assert got.both.ar_100 == pytest.approx(10 / 11)
    assert got.both.groups["outerwear"] == pytest.approx(10 / 11)


def test_of_46_categories_18_are_180_entries_of_208():
    described, others = (
        [n for n in FASHIONPEDIA.categories if (n in FASHIONPEDIA.described) == yes] for yes in (True, False)
    )
    assert (len(described), len(others)) == (18, 28)
    truth = [garment(BOX, category=number) for number in FASHIONPEDIA.categories]
    found = [garment(BOX, category=number) for number in described]
    assert scores(photo(truth, found), vocabulary=FASHIONPEDIA).both.ap == pytest.approx(180 / 208)
    assert scores(photo(truth, found), vocabulary=FASHIONPEDIA).iou.ap == pytest.approx(18 / 46)
    assert {name: len(numbers) for name, numbers in FASHIONPEDIA.groups.items()} == {
        "outerwear": 13, "accessory": 14, "part": 19,
    }  # fmt: skip


def test_places_do_not_matter_to_ap_f1():
    shown = photo([garment(BOX, ["a"]), garment(BOX, category=8)], [garment(FAR, ["a"]), garment(FAR, category=8)])
    got = scores(shown)
    assert (got.iou.ap, got.both.ap, got.f1.ap) == pytest.approx((0, 0, 1))


def test_attributes_of_other_categories_do_not_matter():
    got = scores(photo([garment(BOX, ["a"], category=5)], [garment(BOX, ["b"], category=5)]))
    assert (got.iou.ap, got.f1.ap, got.both.ap) == pytest.approx((1, 1, 1))
    assert [one.number for one in got.iou.categories] == [3, 5, 8, 9]
    assert [one.number for one in got.both.categories] == [one.number for one in got.f1.categories] == [3, 9]
    assert got.iou.groups.keys() == {"outerwear", "accessory", "part"}
    assert got.both.groups.keys() == got.f1.groups.keys() == {"outerwear", "part"}


@pytest.mark.parametrize(("later", "taken"), [(["a"], 1), (["b"], 0)])
def test_a_later_truth_must_be_as_good_in_both(later, taken):
    """The first answer overlaps both truths, by 0.6 and 1, and has the first one's attributes; the next fits the first.

    It leaves the first for the second only where that one's attributes suit as well.
    """
    truth = [garment((0, 0, 10, 6), ["a"]), garment((0, 0, 10, 10), later)]
    shown = photo(truth, [garment((0, 0, 10, 10), ["a"], score=0.9), garment((0, 0, 10, 4), ["a"], score=0.8)])
    got = scores(shown, f1="present")
    assert got.both.at["iou50_f1_50"] == pytest.approx(1 if taken else 51 / 101)
    assert got.iou.at["iou50"] == pytest.approx(1 if taken else 51 / 101)      # also where no F1 is asked for,
    assert coco_scores([shown], VOCABULARY, "box").iou.at["iou50"] == pytest.approx(1)      # unlike COCO's


def test_of_equal_truths_the_later_one_is_taken():
    """The first answer suits both truths alike; at IoU 0.75 the second suits only the earlier one."""
    shifted = [garment((8, 8, 10, 8), ["a"]), garment((8, 10, 10, 8), ["a"])]           # IoU 0.8 with BOX each
    next_best = garment((8, 8, 10, 8), ["a"], score=0.5)                                # 0.6 with the later one
    got = scores(photo(shifted, [garment(BOX, ["a"]), next_best]))
    assert got.both.at["iou75"] == pytest.approx(1)


def test_a_crowd_that_carries_attributes_is_taken_once():
    """COCO lets any number of answers lie on a crowd, Fashionpedia's code only where there are no attributes."""
    for category, expected in ((5, 1), (3, 0.5)):
        crowd = garment((60, 60, 60, 60), category=category, crowd=True)
        inside = [garment((62, 62, 6, 6), category=category, score=0.9)] * 2
        right = [garment(BOX, category=category)], [garment(BOX, category=category, score=0.1)]
        shown = photo([*right[0], crowd], [*inside, *right[1]])
        assert scores(shown).iou.ap == pytest.approx(expected)


def test_nothing_at_all():
    got = scores()
    for part in (got.iou, got.f1, got.both):
        assert math.isnan(part.ap)
        assert math.isnan(part.groups["outerwear"])
    plain = json.loads(json.dumps(got.to_dict(), allow_nan=False))
    assert plain["both"]["at"]["iou50_f1_75"] is None
    assert (plain["kind"], plain["photos"], plain["f1_form"]) == ("box", 0, "official")


# -- a second one, written from the rules, one step at a time ------------------------------------------------


def f1_of(true, said, words, form):
    true, said = ([word in side.attributes for word in words] for side in (true, said))
    if form == "official":
        return f1_score(true, said, average="macro")
    return f1_score(true, said, average="binary", zero_division=1.0) if any(true) or any(said) else 1.0


def outcomes(shown, category, area, least_iou, least_f1, table, vocabulary):
    """(score, place in its photo, "hit", "miss" or "void") of each answer, and how many truths count."""
    described, rows, wanted = category in vocabulary.described, [], 0
    for index, one in enumerate(shown):
        truth = [t for t in range(len(one.truth)) if one.truth[t].category == category]
        least, most = AREAS[area]
        void = {t for t in truth if one.truth[t].crowd or not least <= table["area", index, t] <= most}
        wanted += len(truth) - len(void)
        found = [d for d in range(len(one.found)) if one.found[d].category == category]
        found.sort(key=lambda d: -one.found[d].score)
        gone = set()
        for place, d in enumerate(found[:100]):
            iou, f1, best = min(least_iou, 1 - 1e-10), min(least_f1, 1 - 1e-10), None
            for t in sorted(truth, key=lambda t: t in void):
                if t in gone and (described or not one.truth[t].crowd):
                    continue
                if best is not None and best not in void and t in void:
                    break
                here = table["iou", index, d, t], table["f1", index, d, t]
                if here[0] >= iou and (not described or here[1] >= f1):
                    (iou, f1), best = here, t
            if best is None:
                inside = least <= table["own area", index, d] <= most
                rows.append((one.found[d].score, place, "miss" if inside else "void"))
            else:
                gone.add(best)
                rows.append((one.found[d].score, place, "void" if best in void else "hit"))
    rows.sort(key=lambda row: -row[0])
    return rows, wanted


def precision_and_recalls(rows, wanted):
    """AP at 101 recalls, and recall by the number of answers of a photo; None where nothing is wanted."""
    if not wanted:
        return None
    hits = misses = 0
    curve = []
    for _, _, what in rows:
        hits, misses = hits + (what == "hit"), misses + (what == "miss")
        if hits + misses:
            curve.append((hits / wanted, hits / (hits + misses)))
    reached = [max([p for r, p in curve if r >= least], default=0) for least in np.linspace(0, 1, 101)]
    figures = {"precision": float(np.mean(reached))}
    for most in (1, 10, 100):
        figures[most] = sum(what == "hit" and place < most for _, place, what in rows) / wanted
    return figures


def pairs(shown, vocabulary, kind, form):
    """Areas, IoUs and F1s of a set."""
    table = {}
    for index, one in enumerate(shown):
        for t, true in enumerate(one.truth):
            table["area", index, t] = coco.area(true.mask)
        for d, said in enumerate(one.found):
            table["own area", index, d] = coco.area(said.mask) if kind == "mask" else said.box[2] * said.box[3]
            for t, true in enumerate(one.truth):
                pair = ([said.mask], [true.mask]) if kind == "mask" else ([list(said.box)], [list(true.box)])
                table["iou", index, d, t] = coco.iou(*pair, [int(true.crowd)])[0, 0]
                table["f1", index, d, t] = f1_of(true, said, vocabulary.attributes, form)
    return table


def mean_of(cells, ious, f1s, what, area="all", categories=VOCABULARY.categories):
    """The mean of the entries: categories without attributes have one where others have one for each F1."""
    values = [
        cells[category, area, iou, f1][what]
        for category, iou in product(categories, ious)
        for f1 in (f1s if category in VOCABULARY.described else [-1.0])
        if cells[category, area, iou, f1] is not None
    ]
    return np.mean(values) if values else math.nan


def plainly(shown, kind, form):
    """Every figure of the three tables by its name in the code."""
    table, cells = pairs(shown, VOCABULARY, kind, form), {}
    for category, area, iou, f1 in product(VOCABULARY.categories, AREAS, LEAST, LEAST):
        if category in VOCABULARY.described or f1 == -1:
            rows = outcomes(shown, category, area, iou, f1, table, VOCABULARY)
            cells[category, area, iou, f1] = precision_and_recalls(*rows)
    average = partial(mean_of, cells)
    ten, off = LEAST[:10], [-1.0]
    singles = {"50": [LEAST[0]], "75": [LEAST[5]]}
    figures = {}
    for name, ious, f1s in (("iou", ten, off), ("f1", off, ten), ("both", ten, ten)):
        figures[name, "ap"] = average(ious, f1s, "precision")
        sets = {number: {number} for number in VOCABULARY.categories} | VOCABULARY.groups
        for key, numbers in sets.items():
            if name == "iou" or numbers & VOCABULARY.described:
                figures[name, key] = average(ious, f1s, "precision", categories=numbers)
        for area in ("small", "medium", "large"):
            figures[name, f"ap_{area}"] = average(ious, f1s, "precision", area)
            figures[name, f"ar_{area}"] = average(ious, f1s, 100, area)
        figures |= {(name, f"ar_{most}"): average(ious, f1s, most) for most in (1, 10, 100)}
    for part, at in singles.items():
        figures["iou", f"iou{part}"] = average(at, off, "precision")
        figures["f1", f"f1_{part}"] = average(off, at, "precision")
        figures["both", f"iou{part}"] = average(at, ten, "precision")
        figures["both", f"f1_{part}"] = average(ten, at, "precision")
        figures |= {
            ("both", f"iou{part}_f1_{other}"): average(at, least, "precision") for other, least in singles.items()
        }
    return figures


def ours(shown, kind, form):
    got, figures = fashionpedia_scores(shown, VOCABULARY, kind, form), {}
    for name in ("iou", "f1", "both"):
        part = getattr(got, name)
        figures |= {(name, key): value for key, value in vars(part).items() if isinstance(value, float)}
        figures |= {(name, key): value for key, value in (part.at | part.groups).items()}
        figures |= {(name, one.number): one.ap for one in part.categories}
    return figures


def check(shown, kind, form):
    got, expected = ours(shown, kind, form), plainly(shown, kind, form)
    assert got.keys() == expected.keys()
    for key, value in expected.items():
        assert got[key] == pytest.approx(value, abs=1e-12, nan_ok=True), key


@settings(max_examples=10, deadline=None)
@given(photos())
@pytest.mark.parametrize(("kind", "form"), [("box", "official"), ("mask", "present")])
def test_figures_are_those_of_the_rules(kind, form, shown):
    check(shown, kind, form)


@pytest.mark.parametrize("seed", range(3))
def test_so_they_are_where_many_answers_compete(seed):
    check(crowded(seed, 14 * (seed + 1)), "mask", "present")


@pytest.mark.slow
@pytest.mark.parametrize("form", ["official", "present"])
def test_so_they_are_of_more_answers_than_count(form):
    check(crowded(7, 240), "box", form)
