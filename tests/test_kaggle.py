"""Kaggle's tables: submissions and truths read, sizes, and what is said of wrong rows."""

import csv
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as coco  # type: ignore[import-untyped]

from hemline.errors import DataError
from hemline.instances import ScoredPhoto
from hemline.kaggle import COLUMNS, SIDES, image_id, read_submission, read_truth, resized, submission_size
from hemline.kaggle_scores import kaggle2019_score, kaggle2020_score

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")   # pycocotools on numpy 2


def write(path, year, *rows, head=None, **form):
    """A table; rows of a truth have a height and a width at their end."""
    columns = COLUMNS[year] if not rows or len(rows[0]) == len(COLUMNS[year]) else (*COLUMNS[year], *SIDES)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, **form).writerows([head or columns, *rows])
    return path


def pixels(mask):
    """Kaggle's text of a mask, told by walking down the columns."""
    runs, before = [], False
    for number, pixel in enumerate((mask[y, x] for x in range(mask.shape[1]) for y in range(mask.shape[0])), 1):
        if pixel and not before:
            runs.append([number, 0])
        if pixel:
            runs[-1][1] += 1
        before = pixel
    return " ".join(f"{start} {length}" for start, length in runs)


def decoded(instance):
    return coco.decode(instance.mask).astype(bool)


def wrong(path, year, *rows, sizes=None, read=read_submission, **form):
    write(path, year, *rows, **form)
    with pytest.raises(DataError) as error:
        read(path, year, *([sizes] if read is read_submission else []))
    return str(error.value).removeprefix(str(path))


# -- sizes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("photo", "size"),
    [
        ((2151, 1710), (1024, 814)),               # 814.06
        ((1710, 2151), (814, 1024)),
        ((600, 400), (1024, 682)),                 # 682.67: cut, not rounded; enlarged
        ((1000, 1000), (1024, 1024)),
        ((1024, 768), (1024, 768)),
        ((9000, 3), (1024, 1)),                    # never none
        ((3, 9000), (1, 1024)),
    ],
)
def test_sizes(photo, size):
    assert submission_size(*photo, 2020) == size
    assert submission_size(*photo, 2019) == (512, 512)


def test_sizes_of_2020_are_those_of_the_winner():
    rng = np.random.default_rng(0)
    for height, width in rng.integers(100, 9000, (2000, 2)).tolist():
        scale = max(height, width) / 1024          # kaggle-imaterialist2020-model divides twice
        expected = (1024, int(width / scale)) if height >= width else (int(height / scale), 1024)
        assert submission_size(height, width, 2020) == expected


def test_names():
    assert image_id("test/0046f98599f05fd7233973e430d6d04d.jpg", 2019) == "0046f98599f05fd7233973e430d6d04d.jpg"
    assert image_id("test/0046f98599f05fd7233973e430d6d04d.jpg", 2020) == "0046f98599f05fd7233973e430d6d04d"
    assert image_id("a.b.jpg", 2020) == "a.b"


SIDES_OF_MASKS = st.tuples(st.integers(1, 30), st.integers(1, 30))


@settings(deadline=None)
@given(SIDES_OF_MASKS.flatmap(lambda size: arrays(bool, size)), SIDES_OF_MASKS)
def test_a_resized_mask_is_the_mask_at_the_middle_of_each_pixel(mask, size):
    small = resized(mask, size)
    assert small.shape == size
    for (y, x), value in np.ndenumerate(small):
        at_y, at_x = (y + 0.5) * mask.shape[0] / size[0], (x + 0.5) * mask.shape[1] / size[1]
        assert value == mask[int(at_y + 1e-9), int(at_x + 1e-9)]
    assert not (small & resized(~mask, size)).any()
    np.testing.assert_array_equal(resized(mask, mask.shape), mask)


# -- submissions ---------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(SIDES_OF_MASKS.flatmap(lambda size: arrays(np.uint8, size, elements=st.integers(0, 3))))
def test_submissions_are_read(tmp_path_factory, labels):
    path = tmp_path_factory.mktemp("kaggle") / "submission.csv"
    masks = [labels == n for n in (1, 2, 3)]
    write(path, 2020, *(["a", pixels(mask), 4 + n, "2,281"] for n, mask in enumerate(masks)), ["b", "", 23, ""])
    found = read_submission(path, 2020, {"a": labels.shape, "b": (7, 7)})
    assert list(found) == ["a", "b"]
    assert found["b"] == []
    there = [n for n, mask in enumerate(masks) if mask.any()]
    assert [instance.category for instance in found["a"]] == [4 + n for n in there]
    for n, instance in zip(there, found["a"], strict=True):
        np.testing.assert_array_equal(decoded(instance), masks[n])
        ys, xs = np.nonzero(masks[n])
        assert instance.box == (xs.min(), ys.min(), np.ptp(xs) + 1, np.ptp(ys) + 1)
        assert instance.attributes == {2, 281}
        assert instance.score == 1


def test_2019(tmp_path):
    rows = [["a.jpg", "2 3 513 1", "13_5_20"], ["b.jpg", "nan", "23"], ["a.jpg", "1 1", 0]]
    path = write(tmp_path / "s.csv", 2019, *rows)
    found = read_submission(path, 2019)
    assert [(i.category, i.attributes) for i in found["a.jpg"]] == [(13, {5, 20}), (0, frozenset())]
    assert np.argwhere(decoded(found["a.jpg"][0])).tolist() == [[0, 1], [1, 0], [2, 0], [3, 0]]
    assert found["b.jpg"] == []
    assert read_submission(path, 2019, {"b.jpg": (512, 512)}) == {"b.jpg": []}, "others are left out"


def test_2020_needs_sizes(tmp_path):
    with pytest.raises(ValueError, match="give `sizes`"):
        read_submission(write(tmp_path / "s.csv", 2020), 2020)


@pytest.mark.parametrize("form", [{"quoting": csv.QUOTE_ALL}, {"lineterminator": "\n"}, {"lineterminator": "\n\n"}])
def test_other_ways_to_write(tmp_path, form):
    rows = [["a", "2 3", 0, "1,10"], ["b", "", 23, ""], ["a", "7 1", 9, ""]]
    plain = read_submission(write(tmp_path / "plain.csv", 2020, *rows), 2020, {"a": (4, 4), "b": (4, 4)})
    head = ["\ufeff", "mAP", *reversed(COLUMNS[2020])]
    rows = [[n, 0.5, *reversed(row)] for n, row in enumerate(rows)]
    moved = write(tmp_path / "moved.csv", 2020, *rows, head=head, **form)
    found = read_submission(moved, 2020, {"a": (4, 4), "b": (4, 4)})
    for photo in plain:
        for one, other in zip(plain[photo], found[photo], strict=True):
            assert (one.mask, one.category, one.attributes) == (other.mask, other.category, other.attributes)


def test_a_row_that_stands_twice_counts_once(tmp_path):
    rows = [["a.jpg", "2 3", "0_1"], ["b.jpg", "1 1", "0"], ["a.jpg", "2 1 3 2", "0_1"]]
    assert {k: len(v) for k, v in read_submission(write(tmp_path / "s.csv", 2019, *rows), 2019).items()} == {
        "a.jpg": 1,
        "b.jpg": 1,
    }


def test_pixels_that_are_shared(tmp_path):
    path = tmp_path / "s.csv"
    said = wrong(path, 2019, ["a.jpg", "2 3", "0"], ["b.jpg", "2 3", "0"], ["a.jpg", "1 1 4 9", "0_1"])
    assert said == ", line 4: shares pixels with line 2, of the same photo a.jpg"
    write(path, 2019, ["a.jpg", "2 3", "0"], ["a.jpg", "4 9", "1"], ["a.jpg", "5 2", "0"])
    assert len(read_submission(path, 2019)["a.jpg"]) == 3, "sleeves lie on coats in 2019"
    sizes = {"a": (20, 20)}
    said = wrong(path, 2020, ["a", "2 30", 0, ""], ["a", "40 1", 1, ""], ["a", "31 1", 2, ""], sizes=sizes)
    assert said == ", line 4: shares pixels with line 2, of the same photo a"
    write(path, 2020, ["a", "2 30", 0, ""], ["a", "32 1", 0, ""])
    assert len(read_submission(path, 2020, sizes)["a"]) == 2


@pytest.mark.parametrize(
    ("cells", "says"),
    [
        (("2 3 4", "0"), "EncodedPixels at 512 x 512: 3 numbers are no pairs of start and length"),
        (("0 3", "0"), "EncodedPixels at 512 x 512: pixels are counted from 1"),
        (("2 3 3 1", "0"), "EncodedPixels at 512 x 512: run 2 begins before the one before it ends"),
        (("5 0", "0"), "EncodedPixels at 512 x 512: run 1 has no pixel"),
        (("1 1 262144 2", "0"), "EncodedPixels at 512 x 512: runs go to pixel 262145; a photo of 512 x 512 has 262144"),
        (("9" * 30 + " 1", "0"), "EncodedPixels at 512 x 512: a start or a length of 9"),
        (("a b", "0"), "EncodedPixels at 512 x 512: runs are whole numbers, start and length in turn"),
        (("é 1", "0"), "EncodedPixels at 512 x 512: runs are whole numbers, start and length in turn"),
        (("2 3", "46"), "no category '46'; ids are 0 to 45"),
        (("2 3", ""), "no category ''; ids are 0 to 45"),
        (("2 3", "shoe"), "no category 'shoe'; ids are 0 to 45"),
        (("2 3", "5_92"), "imaterialist2019 has no attribute '92'"),
        (("2 3", "5_"), "imaterialist2019 has no attribute ''"),
        (("2 3",), "2 columns, not 3"),
    ],
)
def test_rows_that_are_wrong(tmp_path, cells, says):
    said = wrong(tmp_path / "s.csv", 2019, ["a.jpg", "1 1", "0"], ["b.jpg", *cells])
    assert said.startswith(f", line 3: {says}")
    assert "\n" not in said


def test_ids_of_2020_have_gaps(tmp_path):
    for id, known in (("234", True), ("235", False), ("281", True), ("284", False), ("340", True), ("341", False)):
        row = ["a", "1 1", "0", f"1,{id}"]
        if known:
            found = read_submission(write(tmp_path / "s.csv", 2020, row), 2020, {"a": (2, 2)})
            assert found["a"][0].attributes == {1, int(id)}
        else:
            said = wrong(tmp_path / "s.csv", 2020, row, sizes={"a": (2, 2)})
            assert said == f", line 2: fashionpedia has no attribute '{id}'"


def test_all_that_is_wrong_at_once(tmp_path):
    said = wrong(tmp_path / "s.csv", 2019, *(["a.jpg", "x", "0"] for _ in range(9)))
    assert said.startswith(": 9 things are wrong: line 2: EncodedPixels")
    assert "line 6: " in said
    assert "line 7: " not in said
    assert said.endswith("; and 4 more")


def test_files_that_are_none(tmp_path):
    path = tmp_path / "s.csv"
    assert wrong(path, 2019, head=["ImageId", "EncodedPixels"]) == (
        ", line 1: no column ClassId; a table of 2019 has ImageId, EncodedPixels, ClassId"
    )
    assert "no column AttributesIds" in wrong(path, 2020, head=COLUMNS[2019], sizes={})
    path.write_bytes(b"")
    for file in (path, tmp_path, tmp_path / "none.csv"):
        with pytest.raises(DataError, match=f"^{file}"):
            read_submission(file, 2019)
    path.write_bytes(b"ImageId,EncodedPixels,ClassId\na.jpg,\xff\x001,0\n")
    with pytest.raises(DataError, match=f"^{path}"):
        read_submission(path, 2019)


@settings(max_examples=30, deadline=None)
@given(st.text(st.sampled_from('aé019_,"\n- \0'), max_size=60), st.sampled_from([2019, 2020]))
def test_no_text_does_more_than_be_refused(tmp_path_factory, junk, year):
    path = tmp_path_factory.getbasetemp() / "junk.csv"
    path.write_text(",".join((*COLUMNS[year], *SIDES)) + "\n" + junk, encoding="utf-8")
    for read in (read_truth, lambda path, year: read_submission(path, year, {"a": (3, 3)})):
        with suppress(DataError):
            read(path, year)


def test_long_masks_are_read(tmp_path):
    runs = " ".join(f"{2 * n + 1} 1" for n in range(100_000))    # far over csv's own limit
    before = csv.field_size_limit(131_072)
    found = read_submission(write(tmp_path / "s.csv", 2019, ["a.jpg", runs, "0"]), 2019)
    assert coco.area(found["a.jpg"][0].mask) == 100_000
    assert csv.field_size_limit(before) == 131_072


# -- truths --------------------------------------------------------------------------------------------------


def test_truths_are_shrunk(tmp_path):
    mask = np.zeros((2048, 1000), bool)
    mask[100:300, 51:101] = True
    speck = np.zeros((2048, 1000), bool)
    speck[0, 0] = True                             # at no middle of a pixel
    rows = [["a", pixels(mask), 9, "2,281", 2048, 1000], ["a", pixels(speck), 0, "", "2048.0", "1000.0"]]
    path = write(tmp_path / "train.csv", 2020, *rows)
    (coat,) = read_truth(path, 2020)["a"]
    expected = np.zeros((1024, 500), bool)
    expected[50:150, 25:50] = True
    np.testing.assert_array_equal(decoded(coat), expected)
    assert (coat.category, coat.attributes, coat.box) == (9, {2, 281}, (25, 50, 25, 100))
    rows = [["a.jpg", pixels(mask), "9_2_91", 2048, 1000], ["b.jpg", pixels(speck), "0", 2048, 1000]]
    found = read_truth(write(tmp_path / "train.csv", 2019, *rows), 2019)
    assert decoded(found["a.jpg"][0]).shape == (512, 512)
    assert found["a.jpg"][0].box == (26, 25, 26, 50)
    assert found["a.jpg"][0].attributes == {2, 91}
    assert found["b.jpg"] == []


def test_only_the_photos_asked_for(tmp_path):
    rows = [["a.jpg", "1 2", "9", 2, 2], ["b.jpg", "bad", "9", 2, 2], ["c.jpg", "1 1", "9", 2, 2]]
    path = write(tmp_path / "train.csv", 2019, *rows)
    assert list(read_truth(path, 2019, {"a.jpg", "c.jpg"})) == ["a.jpg", "c.jpg"]
    with pytest.raises(DataError, match="line 3: EncodedPixels at 2 x 2: runs are whole numbers"):
        read_truth(path, 2019)


def test_truths_that_are_wrong(tmp_path):
    path = tmp_path / "train.csv"
    assert wrong(path, 2019, ["a.jpg", "1 1", "9"], read=read_truth).startswith(", line 1: no column Height, Width")
    for row, says in (
        (["1 2", "9", 0, 5], "Height '0', Width '5' are no size of a photo"),
        (["1 2", "9", 10**7, 10**7], "are no size of a photo"),
        (["1 2", "9", "-1", "x"], "Height '-1', Width 'x'"),
        (["", "9", 5, 5], "EncodedPixels is empty"),
        (["25 2", "9", 5, 5], "runs go to pixel 26; a photo of 5 x 5 has 25"),
        (["2 2", "9", 5, 6], "5 x 6; rows before it say 5 x 5 of a.jpg"),
    ):
        said = wrong(path, 2019, ["a.jpg", "1 2", "9", 5, 5], ["a.jpg", *row], read=read_truth)
        assert said.startswith(", line 3: ")
        assert says in said


@pytest.mark.parametrize(("year", "score"), [(2019, kaggle2019_score), (2020, kaggle2020_score)])
def test_a_submission_of_the_truth_scores_1(tmp_path, year, score):
    rng = np.random.default_rng(0)
    truths, answers, sizes = [], [], {}
    for name in ("a", "b"):
        height, width = (int(side) for side in rng.integers(30, 90, 2))
        labels = np.kron(rng.integers(0, 4, (3, 3)), np.ones((height, width), int))[::3, ::3]
        size = sizes[name] = submission_size(height, width, year)
        for n in (1, 2, 3):
            ids = [f"{n}_5_20"] if year == 2019 else [n, "5,20"]
            truths.append([name, pixels(labels == n), *ids, height, width])
            answers.append([name, pixels(resized(labels == n, size)), *ids])
    truth = read_truth(write(tmp_path / "train.csv", year, *(r for r in truths if r[1])), year)
    found = read_submission(write(tmp_path / "s.csv", year, *answers), year, sizes)
    photos = [ScoredPhoto(name, size, truth[name], found[name]) for name, size in sizes.items()]
    assert all(photo.truth for photo in photos)
    assert score(photos).mean == 1
