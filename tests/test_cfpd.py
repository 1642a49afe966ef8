"""Colorful Fashion Parsing Data: a fake copy, written as MATLAB 7.3 writes it, and what its words say in `street`."""

import sys

import h5py
import numpy as np
import pytest
from PIL import Image

from hemline.config import Data
from hemline.data import build_dataset, own_space
from hemline.data.cfpd import FILE
from hemline.data.sample import UNKNOWN
from hemline.errors import DataError
from hemline.labels import OUTFIT_PARTS, load_label_space

CATEGORIES = [
    "bk", "T-shirt", "bag", "belt", "blazer", "blouse", "coat", "dress", "face", "hair", "hat", "jeans", "legging",
    "pants", "scarf", "shoe", "shorts", "skin", "skirt", "socks", "stocking", "sunglass", "sweater",
]  # fmt: skip
COLOURS = [
    "bk", "beige", "black", "blue", "brown", "gray", "green", "orange", "pink", "purple", "red", "white", "yellow",
]  # fmt: skip
STREET = load_label_space("street")
SIZE = (60, 40)


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("HEMLINE_CACHE", str(tmp_path_factory.mktemp("cache")))


class Mat:
    """Writes variables as MATLAB 7.3 does: 512 bytes of its own first, cells as references, arrays transposed."""

    def __init__(self, file):
        self.data = h5py.File(file, "w", userblock_size=512)
        self.file, self.cells = file, 0
        self.references = self.data.create_group("#refs#")

    def write(self, place, name, value, kind, dtype):
        entry = place.create_dataset(name, data=np.asarray(value, dtype).T)
        entry.attrs["MATLAB_class"] = np.bytes_(kind)
        return entry

    def text(self, place, name, text):
        self.write(place, name, [[ord(letter) for letter in text]], "char", np.uint16)

    def cell(self, name, entries, column):
        """A cell array of what is already among the references, as a column or a row."""
        cells = np.empty((len(entries), 1) if column else (1, len(entries)), h5py.ref_dtype)
        cells.ravel()[:] = [self.references[entry].ref for entry in entries]
        entry = self.data.create_dataset(name, data=cells.T, dtype=h5py.ref_dtype)
        entry.attrs["MATLAB_class"] = np.bytes_("cell")

    def words(self, name, words):
        names = [f"{name}{i}" for i in range(len(words))]
        for entry, word in zip(names, words, strict=True):
            self.text(self.references, entry, word)
        self.cell(name, names, column=True)

    def close(self):
        self.data.close()
        with self.file.open("r+b") as file:
            file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(128))


def record(superpixels, categories, colours=None, name=None):
    """A photo's superpixels (H, W) from 0, and the category and colour word of each."""
    return superpixels, categories, ["bk"] * len(categories) if colours is None else colours, name


def write(path, records, categories=CATEGORIES, photos=True, change=None):
    """A copy in the published layout; `change` may spoil a record before it is written."""
    (path / "image").mkdir(parents=True)
    mat = Mat(path / FILE)
    mat.words("all_category_name", categories)
    mat.words("all_colors_name", COLOURS)
    for i, (superpixels, words, colours, name) in enumerate(records, start=1):
        name = name or f"{i}.jpg"
        values = {
            "segmentation": np.asarray(superpixels, np.float32),
            "category_label": np.array([[CATEGORIES.index(w) + 1] for w in words], np.float64),
            "color_label": np.array([[COLOURS.index(c) + 1] for c in colours], np.float64),
        }
        if change is not None:
            change(values)
        group = mat.references.create_group(f"record{i}")
        group.attrs["MATLAB_class"] = np.bytes_("struct")
        mat.text(group, "img_name", name)
        for key, value in values.items():
            mat.write(group, key, value, "single" if key == "segmentation" else "double", value.dtype)
        if photos:
            pixels = np.random.default_rng(i).integers(0, 256, (*np.asarray(superpixels).shape, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(path / "image" / name)
    mat.cell("fashion_dataset", [f"record{i}" for i in range(1, len(records) + 1)], column=False)
    mat.close()
    return path


def opened(path, labels="data", **options):
    data = Data(name="cfpd", path=str(path), options=options)
    return build_dataset(data, own_space(data) if labels == "data" else load_label_space(labels))


def bands(*heights):
    """(60, 40) superpixels one above the other, each of a number of rows, in all 60."""
    return np.repeat(np.arange(len(heights)), heights)[:, None].repeat(SIZE[1], 1)


def names_of(space, row, value=1):
    names = [c.name for c in space.categories] + [label.name for label in space.labels]
    return {name for name, v in zip(names, row, strict=True) if v == value}


def test_the_layout_is_the_published_one(tmp_path):
    """As hrsma2i/dataset-CFPD and others found it: shapes, kinds and 600 x 400 photos of 425 superpixels."""
    superpixels = np.arange(600 * 400).reshape(600, 400) * 425 // (600 * 400)
    write(tmp_path, [record(superpixels, ["dress"] * 425)], photos=False)
    with h5py.File(tmp_path / FILE) as data:
        assert sorted(data) == ["#refs#", "all_category_name", "all_colors_name", "fashion_dataset"]
        assert (data["all_category_name"].shape, data["all_colors_name"].shape) == ((1, 23), (1, 13))
        assert data["fashion_dataset"].shape == (1, 1)
        first = data[data["fashion_dataset"][0][0]]
        assert (first["segmentation"].shape, first["segmentation"].dtype) == ((400, 600), np.float32)
        assert (first["category_label"].shape, first["category_label"].dtype) == ((1, 425), np.float64)
        assert (first["img_name"].shape, first["img_name"].dtype) == ((5, 1), np.uint16)
        assert data[data["all_colors_name"][0][0]][()].tolist() == [[98], [107]]


def test_masks_and_colours(tmp_path):
    superpixels = bands(10, 10, 10, 10, 10, 10)
    superpixels[:, :5] = 6                                    # a column of background on the left only
    words = ["hair", "face", "T-shirt", "jeans", "jeans", "shoe", "bk"]
    path = write(tmp_path, [record(superpixels, words, ["bk", "bk", "red", "blue", "blue", "black", "bk"])])
    data = opened(path)
    assert (data.keys, data.terms, len(data)) == (["cfpd/image/1.jpg"], "not stated", 1)
    space = data.knowledge.space
    assert space.pixels == ("face", "hair", "skin")
    assert [(c.id, c.name) for c in space.categories][:3] == [(1, "T-shirt"), (2, "bag"), (3, "belt")]
    assert {c.name for c in space.categories} == set(CATEGORIES) - {"bk", "face", "hair", "skin"}
    assert [label.name for label in space.labels] == COLOURS[1:]
    assert {c.outfit_part for c in space.categories} == set(OUTFIT_PARTS)
    sample = data[0]
    drawn = np.array(words)[superpixels]
    for k, name in enumerate(space.mask_names):
        np.testing.assert_array_equal(sample.targets[:, k][sample.segments], drawn == name)
    told = [names_of(space, region.labels) for region in sample.regions]
    garments = [{"T-shirt", "red"}, {"jeans", "blue"}, {"shoe", "black"}]
    assert told == [set().union(*garments), *garments], "hair and face are no garments"
    assert names_of(space, sample.regions[2].labels, 0) >= set(COLOURS[1:]) - {"blue"} | {"skirt"}
    np.testing.assert_array_equal(data.photo_labels(0), sample.regions[0].labels)


@pytest.mark.parametrize(
    ("rows", "colours", "expected"),
    [
        ((30, 30), ("red", "red"), "red"),
        ((31, 29), ("red", "white"), None),                   # of two colours
        ((41, 19), ("red", "white"), "red"),                  # the other has less than a third
        ((40, 20), ("red", "white"), None),                   # a third
        ((40, 10, 10), ("red", "white", "white"), None),      # a third in two places
        ((30, 10, 10, 10), ("red", "white", "blue", "pink"), "red"),
        ((29, 11, 10, 10), ("red", "white", "blue", "pink"), None),   # less than half
        ((31, 29), ("red", "bk"), "red"),                     # half of it has no colour
        ((29, 31), ("red", "bk"), None),
        ((60,), ("bk",), None),
    ],
)
def test_a_colour_of_a_garment_is_that_of_most_of_it(tmp_path, rows, colours, expected):
    data = opened(write(tmp_path, [record(bands(*rows), ["dress"] * len(rows), colours)]))
    labels = data[0].regions[1].labels
    space = data.knowledge.space
    assert names_of(space, labels) == {"dress", *([expected] if expected else [])}
    colour = labels[space.label_slices["colour"]]
    assert (colour >= 0).all() if expected else (colour == UNKNOWN).all()


def test_sides_are_those_of_tangseng(tmp_path):
    """Of 53 records, 10.6 test and 1.06 validate, rounded, at the end of the file in this order."""
    data = opened(write(tmp_path, [record(bands(30, 30), ["dress", "bk"])] * 53))
    assert data.sides == ["train"] * 41 + ["test"] * 11 + ["validation"]


def test_every_word_is_taught_in_street(tmp_path):
    assert set(STREET.teach["cfpd"]["words"]) == {*CATEGORIES, *COLOURS}
    records = [record(bands(30, 30), [word, "bk"], ["red", "bk"]) for word in CATEGORIES[1:]]
    data = opened(write(tmp_path, records), "street")
    expected = {
        "T-shirt": {"top, t-shirt, sweatshirt"}, "bag": {"bag, wallet"}, "belt": {"belt"}, "blazer": {"jacket"},
        "blouse": {"shirt, blouse"}, "coat": {"coat"}, "dress": {"dress"}, "face": {"skin"}, "hair": {"hair"},
        "hat": {"hat"}, "jeans": {"pants"}, "legging": {"tights, stockings"}, "pants": {"pants"}, "scarf": {"scarf"},
        "shoe": {"shoe"}, "shorts": {"shorts"}, "skin": {"skin"}, "skirt": {"skirt"}, "socks": {"sock"},
        "stocking": {"tights, stockings"}, "sunglass": {"glasses"}, "sweater": {"sweater"},
    }  # fmt: skip
    for index, word in enumerate(CATEGORIES[1:]):
        sample = data[index]
        target = sample.targets[sample.segments[0, 0]]
        masks = {STREET.mask_names[k] for k in np.flatnonzero(target == 1)}
        assert masks == expected[word], word
        shown = names_of(STREET, data.photo_labels(index))
        assert shown == (masks - {"hair", "skin"}) | ({"jeans"} if word == "jeans" else set()), word
        assert len(sample.regions) == (1 if masks <= {"hair", "skin"} else 2)
    no = names_of(STREET, data.photo_labels(CATEGORIES.index("pants") - 1), 0)
    assert {"dress", "skirt", "jeans", "shoe"} <= no
    assert not no & {"cardigan", "vest", "watch", "tie", "jumpsuit"}, "it has no words for these"


def spoil(key, change):
    def apply(values):
        change(values[key])
    return apply


WRONG = {
    "a category too many": (spoil("category_label", lambda v: v.fill(24)), "category 24; they go from 1 to 23"),
    "a colour of none": (spoil("color_label", lambda v: v.fill(0)), "colour 0; they go from 1 to 13"),
    "a superpixel too many": (spoil("segmentation", lambda v: v.fill(2)), "superpixel 2; they go from 0 to 1"),
    "half a superpixel": (spoil("segmentation", lambda v: v.fill(0.5)), "superpixels that are no whole numbers"),
    "no number": (spoil("category_label", lambda v: v.fill(np.nan)), "categories that are no whole numbers"),
    "a variable is gone": (lambda values: values.pop("color_label"), "image/2.jpg: .*color_label"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_wrong_records_are_named(tmp_path, kind):
    change, message = WRONG[kind]
    turns = iter([None, change, None])
    one = record(bands(30, 30), ["dress", "bk"])
    path = write(tmp_path, [one] * 3, change=lambda values: (turn := next(turns)) and turn(values))
    with pytest.raises(DataError, match=f"record 2: image/2.jpg: .*{message.removeprefix('image/2.jpg: ')}"):
        opened(path)
    data = opened(path, damaged="skip")
    assert (data.keys, len(data.problems)) == (["cfpd/image/1.jpg", "cfpd/image/3.jpg"], 1)


def test_photos_that_are_missing_or_stand_twice(tmp_path):
    one = record(bands(30, 30), ["dress", "bk"])
    path = write(tmp_path, [one, one, record(*one[:3], name="1.jpg")])
    (path / "image/2.jpg").unlink()
    with pytest.raises(DataError, match=r"record 2: no photo image/2\.jpg \(and 1 more\)"):
        opened(path)
    data = opened(path, damaged="skip")
    assert [problem.what for problem in data.problems][1] == "image/1.jpg is record 1, too"
    assert len(data) == 1


def test_wrong_files(tmp_path, monkeypatch):
    with pytest.raises(DataError, match=r"holds no fashon_parsing_data\.mat; give the folder"):
        opened(tmp_path)
    (tmp_path / FILE).write_bytes(b"MATLAB 5.0 MAT-file")
    with pytest.raises(DataError, match="is not as published, or damaged"):
        opened(tmp_path)
    path = write(tmp_path / "a", [record(bands(30, 30), ["dress", "bk"])])
    (path / "image").rename(path / "photos")
    with pytest.raises(DataError, match="holds no folder image"):
        opened(path)
    with pytest.raises(DataError, match="all_category_name holds"):
        opened(write(tmp_path / "b", [], categories=CATEGORIES[1:]))
    whole = path / FILE
    whole.write_bytes(whole.read_bytes()[:3000])
    with pytest.raises(DataError, match="is not as published, or damaged"):
        opened(path)
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(DataError, match="pip install h5py"):
        opened(path)
