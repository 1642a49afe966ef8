"""The report of instances: each score beside the empty and the prior-only answer."""

import json
import math

import numpy as np
import pytest
from pycocotools import mask as api  # type: ignore[import-untyped]
from rich.console import Console

from hemline.errors import DataError
from hemline.instance_report import InstanceReport, instance_report
from hemline.instances import Instance, ScoredPhoto, Vocabulary
from hemline.prior_only import GRID, _drawn, prior_only
from hemline.report import Report, SetReport
from hemline.report_tables import instance_tables, report_table

# pycocotools 2.0.11 lags behind numpy 2's copy keyword when it unpacks masks
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")
SIZE = (GRID, 2 * GRID)
"""Each cell of the grid is two pixels across and one down."""
COAT, SHOE, HAT = 3, 8, 9
WORDS = Vocabulary(
    {COAT: "coat", SHOE: "shoe", HAT: "hat"}, {id: f"a{id}" for id in range(20)}, frozenset([COAT]),
    {"outerwear": frozenset([COAT]), "accessory": frozenset([SHOE, HAT])},
)  # fmt: skip


def garment(category, left, top, width, height, attributes=(), score=1.0, size=SIZE, masked=True, crowd=False):
    mask = np.zeros(size, np.uint8, order="F")
    mask[top : top + height, left : left + width] = 1
    rle = api.encode(mask) if masked else None
    return Instance(category, rle, (left, top, width, height), frozenset(attributes), score, crowd)


def same(count=4, **more):
    """Photos of a coat and two shoes, always in the same places."""
    truth = [
        garment(COAT, 20, 10, 40, 20, (4, 5), **more),
        garment(SHOE, 10, 50, 10, 8, **more),
        garment(SHOE, 80, 50, 12, 8, **more),
    ]
    return [ScoredPhoto(f"{i}.jpg", more.get("size", SIZE), truth, []) for i in range(count)]


def answered(photos):
    return [photo._replace(found=photo.truth) for photo in photos]


def row(report, name):
    return next(score for score in report.scores if score.name == name)


def pixels(mask):
    return api.decode(mask).astype(bool)


def test_the_truth_itself_scores_one_and_no_answer_zero() -> None:
    report = instance_report("toy", answered(same()), WORDS, scores=("ap", "kaggle2019", "kaggle2020"))
    names = {score.name for score in report.scores}
    assert {"box.ap", "mask.ap", "mask.ap50", "mask.ap_iou_f1", "mask.ap_f1_present", "mask.ap_outerwear"} <= names
    assert {"kaggle2019", "kaggle2020"} <= names
    assert (report.photos, report.drawn, report.found) == (4, 12, 12)
    for score in report.scores:
        if not math.isnan(score.value):
            assert score.value == pytest.approx(1), score
            assert score.empty == 0, score
            assert score.ceiling is None


def test_where_everything_is_always_in_one_place_the_prior_scores_one() -> None:
    report = instance_report("toy", same(), WORDS, scores=("ap", "kaggle2019", "kaggle2020"))
    for name in ("box.ap", "mask.ap", "mask.ap_iou_f1", "mask.ap_f1", "kaggle2019", "kaggle2020"):
        assert row(report, name).prior == pytest.approx(1), name
        assert row(report, name).value == 0, name
    assert [(c.name, c.drawn, c.mask) for c in report.categories] == [("coat", 4, 0), ("shoe", 8, 0)]
    assert [c.prior for c in report.categories] == pytest.approx([1, 1])
    assert [c.with_attributes for c in report.categories] == [0, None]


def test_the_prior_is_drawn_at_each_photos_own_size() -> None:
    large = (3 * GRID, 5 * GRID)
    photos = [*same(3), ScoredPhoto("large", large, [garment(COAT, 30, 30, 75, 60, size=large)], [])]
    coats = [next(x for x in photo.found if x.category == COAT) for photo in prior_only(photos)]
    drawn = np.zeros(large, bool)
    drawn[30:90, 50:150] = True                          # 10 of 64 down, 20 of 128 across, 20 and 40 large
    assert (pixels(coats[3].mask) == drawn).all()
    assert coats[3].box == pytest.approx((50, 30, 100, 60))
    assert (pixels(coats[0].mask) == pixels(photos[0].truth[0].mask)).all()


@pytest.mark.parametrize("size", [(1, 1), (5, 200), (63, 65), (401, 307)])
def test_a_prior_mask_has_the_cell_of_each_pixel(size) -> None:
    grid = np.random.default_rng(0).random((GRID, GRID)) < 0.4
    rows, columns = (((np.arange(side) + 0.5) * GRID / side).astype(int) for side in size)
    assert (pixels(_drawn(grid, size)) == grid[rows][:, columns]).all()


def test_the_prior_knows_how_often_and_how_many() -> None:
    hat = [garment(HAT, 60, 0, 10, 10)]
    photos = [
        ScoredPhoto("a", SIZE, hat + [garment(SHOE, x, 50, 10, 10) for x in (90, 10)], []),
        ScoredPhoto("b", SIZE, [garment(SHOE, x, 50, 10, 10) for x in (10, 50, 90)], []),
        ScoredPhoto("c", SIZE, [garment(SHOE, 30, 0, 90, 60, crowd=True)], []),
        ScoredPhoto("d", SIZE, [], []),
    ]
    found = prior_only(photos)[3].found
    assert [(x.category, x.score) for x in found] == [(SHOE, 0.5), (SHOE, 0.5), (HAT, 0.25)]
    assert [x.box[0] for x in found] == pytest.approx([10, 90, 60])        # from left to right
    assert all(photo.found == [] for photo in photos), "nothing is added to what was given"


def test_the_prior_mask_is_where_most_are() -> None:
    tops = [10, 10, 10, 10, 30]
    photos = [ScoredPhoto(str(i), SIZE, [garment(COAT, 20, top, 40, 20)], []) for i, top in enumerate(tops)]
    mask = prior_only(photos)[0].found[0].mask
    assert (pixels(mask) == pixels(photos[0].truth[0].mask)).all()


def test_the_prior_attributes_are_the_commonest() -> None:
    def of(*sets):
        photos = [ScoredPhoto("", SIZE, [garment(COAT, 0, 0, 9, 9, attributes)], []) for attributes in sets]
        return prior_only(photos)[0].found[0].attributes

    assert of({1, 2}, {1}, {1, 3}, {2}) == {1, 2}                          # half of them, or more
    assert of({1}, {2}, {3, 2}, {4}, {5}) == {2}                           # none so common
    assert of((), ()) == set()


def test_kaggles_prior_answers_what_most_photos_show() -> None:
    hat = garment(HAT, 60, 0, 10, 10)
    photos = [photo._replace(truth=[*photo.truth, hat] if i == 0 else photo.truth) for i, photo in enumerate(same())]
    report = instance_report("toy", photos, WORDS, scores=["kaggle2020"])
    assert row(report, "kaggle2020").prior == pytest.approx(1), "the hat, which one photo of four shows, is no answer"
    assert report.categories == []
    rare = [ScoredPhoto(str(i), SIZE, [garment(i, 0, 0, 10, 10)], []) for i in (COAT, SHOE, HAT)]
    assert row(instance_report("toy", rare, WORDS, scores=["kaggle2020"]), "kaggle2020").prior == pytest.approx(1 / 3)


def test_boxes_alone_have_scores_of_boxes_alone() -> None:
    report = instance_report("toy", answered(same(masked=False)), WORDS)
    assert {score.name.partition(".")[0] for score in report.scores} == {"box"}
    assert row(report, "box.ap").value == row(report, "box.ap").prior == pytest.approx(1)
    assert row(report, "box.ap_iou_f1_present").value == pytest.approx(1)
    assert report.categories[0].mask is None
    assert report.categories[0].with_attributes == pytest.approx(1)


def test_without_attributes_there_is_no_f1() -> None:
    bare = [photo._replace(truth=photo.truth[1:]) for photo in same()]
    report = instance_report("toy", bare, WORDS)
    assert not [score.name for score in report.scores if "f1" in score.name]
    assert math.isnan(row(report, "mask.ap_outerwear").value)
    assert report.to_dict()["scores"][0]["name"] == "box.ap"
    json.dumps(report.to_dict(), allow_nan=False)


def test_masks_of_another_size_are_refused() -> None:
    photos = [photo._replace(found=[garment(COAT, 0, 0, 9, 9, size=(9, 9))]) for photo in same()]
    with pytest.raises(DataError):
        instance_report("toy", photos, WORDS)


# -- tables --------------------------------------------------------------------------------------------------


def text_of(tables, width=100):
    console = Console(width=width)
    with console.capture() as captured:
        for table in tables:
            console.print(table)
    return captured.get()


def with_ceiling() -> InstanceReport:
    half = [photo._replace(found=photo.truth[:1]) for photo in same()]
    return instance_report("[b]toy", half, WORDS, ceiling=answered(same()), notes=["Said of them."])


def test_tables_say_everything() -> None:
    text = text_of(instance_tables(with_ceiling()))
    lines = [line.split() for line in text.splitlines()]
    assert ["score", "value", "ceiling", "empty", "prior"] in lines
    assert ["mask", "AP", ".500", "1", "0", "1"] in [[x.replace("1.000", "1") for x in line] for line in lines]
    assert ["category", "drawn", "box", "AP", "mask", "AP", "IoU+F1", "ceiling", "prior"] in lines
    for words in ("[b]toy: garments one by one, 4 photos", "12 garments are drawn, 4 were found", "Said of them.",
                  "Empty: no answer", "Ceiling:", "mask AP, IoU+ordinary F1", "mask AP, outerwear"):  # fmt: skip
        assert words in text
    assert "…" not in text
    assert "ceiling" not in text_of(instance_tables(instance_report("toy", same(), WORDS))).lower()


def test_a_set_has_it_in_its_report() -> None:
    part = SetReport("toy", 4, "", None, None, None, 0, [], False, {}, [], instances=with_ceiling())
    report = Report("w", "toy", SIZE, "torch", "cpu", False, "all", [part], ())
    assert report.summary()["toy.mask.ap"] == pytest.approx(0.5)
    medium = report.summary()["toy.mask.ap_medium"]
    assert medium is None or medium >= 0
    plain = report.to_dict()["sets"][0]["instances"]
    assert plain["scores"][0]["ceiling"] == pytest.approx(1)
    json.dumps(report.to_dict(), allow_nan=False)
    assert "garments one by one" in text_of(report_table(report))
