"""`evaluate --predictions`: anybody's answers in a file, beside the truth's."""

import json
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as api  # type: ignore[import-untyped]
from typer.testing import CliRunner

from hemline.borders import are_rles, borders_of_rle
from hemline.cli import app
from hemline.coco_results import read_results
from hemline.errors import ConfigError, DataError
from hemline.labels import load_label_space
from hemline.predictions import score_predictions, truth_file
from tests.coco_files import SIZE, annotation, box, image, rle, write

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")
CATEGORIES = [
    {"id": 3, "name": "coat", "supercategory": "upperbody"},
    {"id": 8, "name": "shoe", "supercategory": "legs and feet"},
    {"id": 9, "name": "pocket", "supercategory": "garment parts"},
]
ATTRIBUTES = [{"id": 4, "name": "plain"}, {"id": 5, "name": "dotted"}]
COAT, SHOE = box(2, 3, 10, 8), box(15, 5, 6, 5)
POLYGON = [[3, 2, 11, 2, 11, 12, 3, 12]]
"""The coat."""


@pytest.fixture
def truth(tmp_path):
    drawn = [
        annotation(1, 1, 3, POLYGON, [4], bbox=[3, 2, 8, 10]),
        annotation(2, 1, 8, rle(SHOE, compressed=False), bbox=[5, 15, 5, 6]),
        annotation(3, 2, 3, rle(COAT, compressed=True), [4, 5], bbox=[3, 2, 8, 10]),
    ]
    images = [image(1, "a.jpg"), image(2, "b.jpg"), image(3, "c.jpg")]
    return write(tmp_path / "truth.json", images, drawn, CATEGORIES, ATTRIBUTES)


def found(image_id, category_id, segmentation=None, score=0.9, **more):
    row = {"image_id": image_id, "category_id": category_id, "score": score}
    return row | ({} if segmentation is None else {"segmentation": segmentation}) | more


def perfect():
    """In every form that a mask may have."""
    return [
        found(1, 3, POLYGON, attribute_ids=[4]),
        found(1, 8, rle(SHOE, compressed=True)),
        found(2, 3, rle(COAT, compressed=False), attribute_ids=[5, 4], bbox=[3, 2, 8, 10]),
    ]


def file_of(tmp_path, content):
    file = tmp_path / "results.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return file


def scores_of(tmp_path, truth, content):
    report = score_predictions(file_of(tmp_path, content), {"coco": truth})
    return report, {score.name: score.value for score in report.scores}


def test_the_truth_in_any_form_scores_one(tmp_path, truth):
    report, scores = scores_of(tmp_path, truth, perfect())
    for name in ("box.ap", "mask.ap", "mask.ap_iou_f1", "mask.ap_f1", "mask.ap_outerwear", "mask.ap_iou_f1_present"):
        assert scores[name] == pytest.approx(1), name
    assert (report.photos, report.drawn, report.found) == (3, 3, 3)
    assert report.notes == ["Of 1 of the photos results.json says nothing: there, nothing was found."]
    assert [(c.number, c.name, c.drawn) for c in report.categories] == [(3, "coat", 2), (8, "shoe", 1)]


def test_masks_and_boxes_are_read_as_they_are(tmp_path, truth):
    photos = read_results(file_of(tmp_path, perfect()), truth).photos
    for side in (photos[0].truth, photos[0].found):
        coat, shoe = side
        assert (api.decode(coat.mask) == COAT).all()
        assert (api.decode(shoe.mask) == SHOE).all()
        assert (coat.box, shoe.box) == ((3, 2, 8, 10), (5, 15, 5, 6))
        assert (coat.attributes, shoe.attributes) == ({4}, set())
    assert (photos[1].found[0].score, photos[2].found, photos[2].size) == (0.9, [], SIZE)


def test_nothing_found_scores_zero(tmp_path, truth):
    report, scores = scores_of(tmp_path, truth, [])
    assert {score.name: score.empty for score in report.scores}["mask.ap"] == scores["mask.ap"] == 0


def test_what_is_wrong_costs(tmp_path, truth):
    rows = perfect()
    rows[1]["category_id"] = 3                            # a shoe called a coat, and no surer than the coats
    scores = scores_of(tmp_path, truth, rows)[1]
    assert scores["mask.ap"] == pytest.approx((5 / 6 + 0) / 2, abs=0.01)   # precision 1 to recall 1/2, then 2/3


def test_attributes_that_are_wrong_cost_in_f1_alone(tmp_path, truth):
    rows = perfect()
    rows[0]["attribute_ids"] = [5]
    scores = scores_of(tmp_path, truth, rows)[1]
    assert scores["mask.ap"] == pytest.approx(1)
    # of two coats the second is right: precision 1/2 up to recall 1/2, in ten entries beside the shoe's one
    assert scores["mask.ap_iou_f1"] == pytest.approx((10 * 51 / 101 / 2 + 1) / 11)


def test_boxes_alone(tmp_path, truth):
    rows = [found(1, 3, bbox=[3, 2, 8, 10], attribute_ids=[4]), found(1, 8, bbox=[5, 15, 5, 6])]
    report, scores = scores_of(tmp_path, truth, rows)
    assert {name.partition(".")[0] for name in scores} == {"box"}
    assert scores["box.ap"] == pytest.approx((0.504950495 + 1) / 2)
    assert report.categories[0].mask is None


def test_a_whole_file_is_told_by_the_names_of_its_photos(tmp_path, truth):
    images = [{"id": 7, "file_name": "shop/b.jpg"}, {"id": 8, "file_name": "a.jpg"}]
    rows = [row | {"image_id": 9 - row["image_id"]} for row in perfect()]
    content = {"images": images, "annotations": rows, "categories": CATEGORIES[:1]}
    assert scores_of(tmp_path, truth, content)[1]["mask.ap"] == pytest.approx(1)
    content = {"images": [{"id": 1, "file_name": "x.jpg"}, {"id": 2, "file_name": "y/x.jpg"}], "annotations": perfect()}
    assert scores_of(tmp_path, truth, content)[1]["mask.ap"] == pytest.approx(1), "two are alike: ids tell"


def test_ids_that_mean_something_else_are_refused(tmp_path, truth):
    content = {"annotations": perfect(), "categories": [{"id": 8, "name": "hat"}], "images": []}
    with pytest.raises(DataError, match=r"results\.json: category 8 is 'hat' here and 'shoe' in the truth"):
        scores_of(tmp_path, truth, content)
    content = {"annotations": perfect(), "images": [{"id": i, "file_name": f"{i}.png"} for i in (1, 2)]}
    with pytest.raises(DataError, match=r"annotations\[0\]: the truth has no photo '1\.png'"):
        scores_of(tmp_path, truth, content)


BAD_ROWS = {
    r"\[0\]: the truth has no photo 5": found(5, 3, POLYGON),
    r"\[0\]: no category has id 77, no attribute has id 6": found(1, 77, POLYGON, attribute_ids=[6, 4]),
    r"\[0\]: Object missing required field `score`": {"image_id": 1, "category_id": 3, "segmentation": POLYGON},
    r"\[0\]: Expected `float`, got `str`": found(1, 3, POLYGON, "sure"),
    r"\[0\]: its score is not finite": found(1, 3, POLYGON, float("nan")),
    r"\[0\]: its bbox is not finite": found(1, 3, bbox=[0, 0, float("inf"), 1]),
    r"\[0\]: RLE of 9 x 9 pixels on a photo of 24 x 20": found(1, 3, rle(np.ones((9, 9)), compressed=True)),
    r"\[0\]: RLE of 20 x 24 pixels on a photo of 24 x 20": found(1, 3, rle(COAT.T, compressed=True)),
    r"\[0\]: not a compressed RLE": found(1, 3, {"size": list(SIZE), "counts": "~~"}),
    r"\[0\]: counts of 5 pixels in all": found(1, 3, {"size": list(SIZE), "counts": "5"}),
    r"\[0\]: counts of 7 pixels in all": found(1, 3, {"size": list(SIZE), "counts": [3, 4]}),
    r"\[0\]: segmentation is neither": found(1, 3, "mask"),
    r"\[0\]: a polygon is x, y of three points": found(1, 3, [[1, 2, 3, 4]]),
    r"\[0\]: it has neither a segmentation nor a bbox": found(1, 3, []),
    r"\[0\]: bbox \[1\.0, 2\.0, 3\.0\] is no": found(1, 3, bbox=[1, 2, 3]),
    r"\[0\]: bbox .* is no": found(1, 3, bbox=[1, 2, 3, -4]),
    r"\[0\]: no segmentation, as in 1 of 4 rows": found(1, 3, bbox=[1, 2, 3, 4]),
}


@pytest.mark.parametrize("said", BAD_ROWS)
def test_rows_that_are_wrong_are_named(tmp_path, truth, said):
    with pytest.raises(DataError, match=rf"results\.json, {said}"):
        scores_of(tmp_path, truth, [BAD_ROWS[said], *perfect()])


def test_the_first_few_are_named_and_the_others_counted(tmp_path, truth):
    rows = perfect() + [found(1, 70 + i, POLYGON) for i in range(5)]
    with pytest.raises(DataError, match=r"\[3\].*id 70; .*\[4\].*id 71; .*\[5\].*id 72 \(and 2 more\)$"):
        scores_of(tmp_path, truth, rows)


@pytest.mark.parametrize("text", ["", "{", '{"x": 1}', "[1]", "7", "\x00", "[" * 100_000])
def test_files_that_are_no_results_are_refused(tmp_path, truth, text):
    with pytest.raises(DataError, match=r"results\.json"):
        scores_of(tmp_path, truth, text)


def test_a_byte_order_mark_is_passed_over(tmp_path, truth):
    file = file_of(tmp_path, perfect())
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert score_predictions(file, {"coco": truth}).summary()["mask.ap"] == pytest.approx(1)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"images": ' + "[" * 100_000, '{"images": [], "annotations": [7]}'])
def test_a_truth_that_is_no_truth_is_refused(tmp_path, truth, text):
    truth.write_text(text)
    with pytest.raises(DataError, match=r"no COCO file"):
        scores_of(tmp_path, truth, perfect())


def test_a_truth_that_is_wrong_is_named(tmp_path):
    for images, rows, said in (
        ([image(1, size=(0, 5))], [], r"images\[0\]: .* is no size"),
        ([image(1), image(1, "x.jpg")], [], r"images\[1\]: id 1 stands twice"),
        ([image(1)], [annotation(1, 2, 3, POLYGON)], r"annotations\[0\]: the truth has no photo 2"),
        ([image(1)], [annotation(1, 1, 3, [], bbox=None)], r"annotations\[0\]: it has neither"),
    ):
        file = write(tmp_path / "truth.json", images, rows, CATEGORIES)
        with pytest.raises(DataError, match=rf"truth\.json, {said}"):
            scores_of(tmp_path, file, [])


def test_crowds_and_groups_and_described_categories(tmp_path):
    rows = [annotation(1, 1, 3, POLYGON, [4]), annotation(2, 1, 8, rle(SHOE, compressed=False), iscrowd=1)]
    file = write(tmp_path / "truth.json", [image(1)], rows, CATEGORIES, ATTRIBUTES)
    photos, vocabulary, _ = read_results(file_of(tmp_path, []), file)
    assert [x.crowd for x in photos[0].truth] == [False, True]
    assert vocabulary.described == {3}
    assert vocabulary.groups == {"outerwear": {3}, "accessory": {8}, "part": {9}}


def test_fashionpedias_own_words_are_known(tmp_path):
    space = load_label_space("fashionpedia")
    categories = [{"id": c.id, "name": c.name, "supercategory": c.supercategory} for c in space.categories]
    attributes = [{"id": x.id, "name": x.name} for x in space.labels]
    folder = tmp_path / "fashionpedia"
    name = "annotations/instances_attributes_val2020.json"
    rows = [annotation(1, 1, 3, POLYGON, [attributes[0]["id"]])]
    file = write(folder / name, [image(1)], rows, categories, attributes)
    vocabulary = read_results(file_of(tmp_path, []), file).vocabulary
    assert len(vocabulary.described) == 18
    assert truth_file("fashionpedia", folder, "validation") == file
    with pytest.raises(DataError, match="no one JSON of train, only validation"):
        truth_file("fashionpedia", folder, "train")


def test_of_a_folder_the_side_says_which(tmp_path, truth):
    folder = tmp_path / "own"
    for side in ("train", "val"):
        write(folder / f"labels_{side}.json", [], [], CATEGORIES)
    assert truth_file("coco", folder, "validation").name == "labels_val.json"
    with pytest.raises(DataError, match="no one JSON of all, only train and validation"):
        truth_file("coco", folder, "all")
    assert truth_file("coco", truth, "test") == truth


@pytest.mark.parametrize("data", [{}, {"synthetic": None}, {"nothing": None}, "two", {"coco": None}])
def test_sets_that_have_no_truth_in_a_file_are_refused(tmp_path, truth, data):
    data = {"coco": truth, "fashionpedia": tmp_path} if data == "two" else data
    with pytest.raises(ConfigError):
        score_predictions(file_of(tmp_path, []), data)


@given(
    st.integers(1, 30), st.integers(1, 30), st.integers(0, 2**32),
    st.lists(st.tuples(st.integers(0, 40), st.integers(30, 130)), max_size=4),
)  # fmt: skip
@settings(max_examples=100, deadline=None)
def test_a_quick_look_at_rles_is_right_where_it_is_sure(height, width, seed, changes):
    rng = np.random.default_rng(seed)
    masks = [rng.random((height, width)) < share for share in (0, 0.1, 0.5, 0.9, 1)]
    texts = [api.encode(np.asfortranarray(mask, np.uint8))["counts"] for mask in masks]
    assert are_rles(texts, (height, width)).all()
    assert not are_rles(texts, (height, width + 1)).any()
    for which, (place, value) in enumerate(changes):
        text = bytearray(texts[which])
        text[place % len(text)] = value
        texts[which] = bytes(text)
    for text, sure in zip(texts, are_rles(texts, (height, width)).tolist(), strict=True):
        if sure:
            borders_of_rle(text, (height, width))


def test_counts_below_nothing_are_no_rle():
    assert are_rles([b":::"], (5, 6)).all()               # 10, 10, 10
    assert not are_rles([b":N<"], (4, 5)).any()           # 10, -2, 12: 20 in all


# -- the command ---------------------------------------------------------------------------------------------


def run(*arguments):
    return CliRunner().invoke(app, ["evaluate", *map(str, arguments)], catch_exceptions=False)


def test_the_command(tmp_path, truth):
    file = file_of(tmp_path, perfect())
    ran = run("--predictions", file, "--data", f"coco={truth}", "--json")
    assert ran.exit_code == 0, ran.stderr
    plain = json.loads(ran.stdout)
    assert {row["name"]: row["value"] for row in plain["scores"]}["mask.ap"] == pytest.approx(1)
    text = run("--predictions", file, "--data", f"coco={truth}").stdout
    assert "coco: garments one by one, 3 photos" in text
    assert "mask AP, IoU+official F1" in text


OF_WEIGHTS = [
    ("--limit", 3), ("--protocol", "seed3"), ("--flip",), ("--no-transplant",), ("--no-instances",),
    ("--runtime", "torch"), ("--device", "cpu"),
]  # fmt: skip


def test_the_command_says_what_it_cannot_do(tmp_path, truth):
    file, data = file_of(tmp_path, [found(9, 3, POLYGON)]), ("--data", f"coco={truth}")
    for arguments, said in (
        (data, "either WEIGHTS or --predictions"),
        (("default", "--predictions", file, *data), "either WEIGHTS or --predictions"),
        *((("--predictions", file, *option, *data), "are for weights") for option in OF_WEIGHTS),
        (("--predictions", file, *data), "[0]: the truth has no photo 9"),
        (("--predictions", tmp_path / "none.json", *data), "none.json"),
    ):
        ran = run(*arguments)
        assert ran.exit_code == 2
        assert said in " ".join(ran.stderr.split())
        assert ran.stdout == ""


def kaggle(tmp_path, submitted):
    (tmp_path / "train.csv").write_text(
        "ImageId,EncodedPixels,Height,Width,ClassId,AttributesIds\n"
        'a,1 50,20,10,3,"4,115"\nb,1 40 101 40,20,10,8,\nunasked,1 9,20,10,0,\ntiny,1 1,4096,4096,0,\n'
    )
    file = tmp_path / "submission.csv"
    file.write_text("ImageId,EncodedPixels,ClassId,AttributesIds\n" + submitted)
    return run("--predictions", file, "--data", f"imaterialist2020={tmp_path}", "--json")


def small(rows, size=(1024, 512)):
    """Runs (start, length) of a photo of 20 x 10, at the submission's size."""
    flat = np.zeros(200, bool)
    for begin, length in rows:
        flat[begin - 1 : begin - 1 + length] = True
    mask = flat.reshape(20, 10, order="F")
    large = mask[(np.arange(size[0]) * 20 + 10) // size[0]][:, (np.arange(size[1]) * 10 + 5) // size[1]]
    turns = np.flatnonzero(np.diff(large.ravel(order="F").astype(np.int8), prepend=0, append=0))
    return " ".join(f"{a + 1} {b - a}" for a, b in turns.reshape(-1, 2))


def test_a_file_that_is_one_endless_line_is_refused_without_being_read_whole(tmp_path, monkeypatch):
    """Binary files of gigabytes have no line's end."""
    (tmp_path / "train.csv").write_text("ImageId,EncodedPixels,Height,Width,ClassId,AttributesIds\na,1 5,9,9,3,\n")
    file = tmp_path / "submission.csv"
    with file.open("wb") as opened:
        opened.truncate(1 << 30)
    monkeypatch.setattr("hemline.kaggle.LONGEST", 1 << 16)
    tracemalloc.start()
    ran = run("--predictions", file, "--data", f"imaterialist2020={tmp_path}")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert ran.exit_code == 2
    assert "a line of more than 65,536 characters" in " ".join(ran.stderr.split())
    assert peak < 1 << 26


def test_a_submission(tmp_path):
    submitted = f'a,{small([(1, 50)])},3,"115,4"\nb,{small([(101, 40)])},8,\nelsewhere,1 5,3,\ntiny,1 5,3,\n'
    ran = kaggle(tmp_path, submitted)
    assert ran.exit_code == 0, ran.stderr
    plain = json.loads(ran.stdout)
    (score,) = plain["scores"]
    assert score["name"] == "kaggle2020"
    assert score["value"] == pytest.approx((1 + 0) / 2)   # half of b: an IoU of 0.5, which is not above 0.5
    assert plain["photos"] == 2
    assert "2 more in submission.csv are left out" in plain["notes"][1]
    assert kaggle(tmp_path, "elsewhere,1 5,3,\n").exit_code == 2
    assert "ImageId" in kaggle(tmp_path, "").stderr
