"""Clothing Co-Parsing: a fake copy in the published layout, and what its words say in `street`."""

import numpy as np
import pytest
import scipy.io
from PIL import Image

from hemline.data import split_indices, split_of
from hemline.data.ccp import CCP
from hemline.data.knowledge import Knowledge
from hemline.data.sample import PREDICTED, UNKNOWN, WHOLE_PHOTO
from hemline.errors import DataError, LabelError
from hemline.labels import LabelSpace, load_label_space

STREET = load_label_space("street")
WORDS = list(Knowledge(STREET, "ccp").words)
NAMES = [c.name for c in STREET.categories] + [label.name for label in STREET.labels]


def write_ccp(folder, maps, tags, words=WORDS):
    """Write photos with maps {name: (H, W) of words} and tag lists {name: [words]} as CCP publishes them."""
    for part in ("photos", "annotations/pixel-level", "annotations/image-level"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    cells = np.empty((1, len(words)), object)
    cells[0] = [np.array([word]) for word in words]
    scipy.io.savemat(folder / "label_list.mat", {"label_list": cells})
    rng = np.random.default_rng(0)
    for name, drawn in maps.items():
        ids = np.vectorize(words.index)(np.array(drawn)).astype(np.uint8)
        scipy.io.savemat(folder / f"annotations/pixel-level/{name}.mat", {"groundtruth": ids})
        _photo(folder, name, ids.shape, rng)
    for name, said in tags.items():
        ids = np.array([[words.index(word) for word in ["null", *said]]], np.uint8)
        scipy.io.savemat(folder / f"annotations/image-level/{name}.mat", {"tags": ids})
        _photo(folder, name, (40, 30), rng)
    return folder


def _photo(folder, name, size, rng):
    pixels = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / f"photos/{name}.jpg")


def said(labels, value):
    return {name for name, v in zip(NAMES, labels, strict=True) if v == value}


def test_reads_maps_and_tags(tmp_path):
    drawn = [["null", "suit"], ["pants", "boots"], ["hair", "watch"]]
    data = CCP(write_ccp(tmp_path, {"0001": drawn}, {"1005": ["jeans", "heels"]}), STREET)
    assert sorted(data.keys) == ["ccp/0001", "ccp/1005"]
    assert data.terms == "Apache-2.0"
    by_key = {key: data[i] for i, key in enumerate(data.keys)}

    sample = by_key["ccp/0001"]
    assert sample.photo.shape == (3, 2, 3)
    truth = [["", "jacket"], ["pants", "shoe"], ["hair", "?"]]
    for y in range(3):
        for x in range(2):
            row = sample.targets[sample.segments[y, x]]
            names = {STREET.mask_names[k] for k in np.flatnonzero(row == 1)}
            if truth[y][x] == "?":
                assert (row == UNKNOWN).all()            # a watch's pixels may be anything
            else:
                assert names == ({truth[y][x]} - {""})
                assert (row >= 0).all()
    whole, *parts = sample.regions
    assert whole.segments == WHOLE_PHOTO
    assert {"jacket", "blazer", "pants", "shoe", "boots", "watch"} == said(whole.labels, 1)
    assert {x for part in parts for x in part.segments} <= set(range(1, len(sample.targets)))
    boots = next(p for p in parts if p.labels[NAMES.index("boots")] == 1)
    assert said(boots.labels, 1) == {"shoe", "boots"}
    assert {"sandals", "flats", "sneakers", "pants", "hat"} <= said(boots.labels, 0)
    assert NAMES.index("heels") in np.flatnonzero(boots.labels == UNKNOWN)

    tagged = by_key["ccp/1005"]
    assert len(tagged.targets) == 1
    assert not tagged.segments.any()
    nowhere = {STREET.mask_names[k] for k in np.flatnonzero(tagged.targets[0] == 0)}
    assert {"hat", "dress", "jacket", "tie"} <= nowhere  # not listed, so no pixel of the photo is one
    assert not nowhere & {"pants", "jeans", "shoe", "hair", "skin"}
    assert not (tagged.targets == 1).any()
    heels = next(r for r in tagged.regions if r.segments == PREDICTED and r.labels[NAMES.index("heels")] == 1)
    assert {STREET.mask_names[k] for k in np.flatnonzero(heels.classes)} == {"shoe"}
    assert (heels.labels[: len(STREET.categories)] == UNKNOWN).all()


def test_photo_labels_without_reading_the_photo(tmp_path):
    data = CCP(write_ccp(tmp_path, {"0001": [["null", "hat"]]}, {"1005": ["jeans"]}), STREET)
    for i in range(len(data)):
        np.testing.assert_array_equal(data.photo_labels(i), data[i].regions[0].labels)


def test_halves_can_be_taken_alone(tmp_path):
    folder = write_ccp(tmp_path, {"0001": [["null", "hat"]]}, {"1005": ["jeans"]})
    assert CCP(folder, STREET, tags=False).keys == ["ccp/0001"]
    assert CCP(folder, STREET, maps=False).keys == ["ccp/1005"]


@pytest.mark.parametrize(
    ("words", "kind", "yes", "no", "unknown"),
    [
        # a category drawn nowhere is a real negative
        (["shirt"], "maps", {"shirt, blouse"}, {"pants", "dress", "hat", "tie"}, set()),
        # but annotators mix shirt, top and sweater
        (["shirt"], "maps", {"shirt, blouse"}, set(), {"top, t-shirt, sweatshirt", "sweater"}),
        (["coat"], "maps", {"coat"}, {"pants"}, {"jacket", "cape"}),
        # a suit is the jacket only, and a blazer; a blazer is any jacket
        (["suit"], "maps", {"jacket", "blazer"}, {"pants"}, set()),
        (["blazer"], "maps", {"jacket"}, set(), {"blazer"}),
        # leggings are opaque tights: nobody teaches the nickname
        (["leggings"], "maps", {"tights, stockings"}, {"pants"}, set()),
        # a jumper is a top, not knitwear
        (["jumper"], "maps", {"top, t-shirt, sweatshirt"}, {"pants"}, {"sweater"}),
        # `shoes` says nothing of the type
        (["shoes"], "maps", {"shoe"}, set(), {"boots", "heels", "sandals", "flats", "sneakers"}),
        (["pumps"], "maps", {"shoe", "heels"}, {"flats", "sneakers"}, {"boots"}),
        # jeans against pants, sunglasses against glasses, clutch against bag; a purse may be either
        (["pants"], "maps", {"pants"}, {"jeans"}, set()),
        (["glasses"], "maps", {"glasses"}, {"sunglasses"}, set()),
        (["bag"], "maps", {"bag, wallet"}, {"clutch"}, set()),
        (["purse"], "maps", {"bag, wallet"}, set(), {"clutch"}),
        (["wallet"], "maps", {"bag, wallet", "clutch"}, set(), set()),
        # a cardigan leaves the sweater open
        (["cardigan"], "maps", {"cardigan"}, {"pants"}, {"sweater"}),
        # without shoes there are no boots
        (["hat"], "maps", {"hat"}, {"boots", "jeans", "clutch"}, set()),
        # a list with a skirt and no bag knows "no bag", and nothing of dresses
        (["skirt"], "tags", {"skirt"}, {"bag, wallet", "shoe"}, {"dress"}),
        (["jacket"], "tags", {"jacket"}, {"pants"}, {"coat", "cape", "cardigan"}),
        # nobody teaches sleeves, necklines, collars here
        (["shirt"], "maps", set(), set(), {"sleeveless", "v-neck", "collar", "placket", "stripe"}),
    ],
)
def test_what_words_say(words, kind, yes, no, unknown):
    labels, _ = Knowledge(STREET, "ccp").photo(["null", *words], kind)
    assert yes <= said(labels, 1)
    assert no <= said(labels, 0)
    assert unknown <= said(labels, UNKNOWN)


def test_one_of():
    """A vest is a waistcoat or a tank top; with a top beside it, that is already true."""
    knowledge = Knowledge(STREET, "ccp")
    labels, (either,) = knowledge.photo(["null", "vest"], "maps")
    assert {NAMES[i] for i in np.flatnonzero(either)} == {"vest", "top, t-shirt, sweatshirt"}
    assert {"vest", "top, t-shirt, sweatshirt"} <= said(labels, UNKNOWN)
    assert knowledge.photo(["null", "vest", "top"], "maps")[1] == ()
    pixels = knowledge.words["vest"].target
    assert {STREET.mask_names[k] for k in np.flatnonzero(pixels == UNKNOWN)} == {"vest", "top, t-shirt, sweatshirt"}
    assert not (pixels == 1).any()


@pytest.mark.parametrize("word", ["accessories", "bracelet", "necklace", "bra", "cape", "gloves", "watch"])
def test_unknown_pixels_are_not_background(word):
    assert (Knowledge(STREET, "ccp").words[word].target == UNKNOWN).all()


def test_every_word_of_the_set_is_explained():
    assert len(WORDS) == 59
    assert WORDS[0] == "null"


def test_what_is_wrong_is_said_in_one_sentence(tmp_path):
    with pytest.raises(DataError, match=r"no label_list\.mat"):
        CCP(tmp_path, STREET)
    folder = write_ccp(tmp_path / "a", {"0001": [["null", "hat"]]}, {})
    scipy.io.savemat(folder / "annotations/pixel-level/0001.mat", {"groundtruth": np.zeros((9, 9), np.uint8)})
    with pytest.raises(DataError, match=r"0001\.mat maps \(9, 9\)"):
        CCP(folder, STREET)[0]
    (folder / "annotations/pixel-level/0001.mat").write_bytes(b"not a matlab file" * 20)
    with pytest.raises(DataError, match="not a readable MATLAB file"):
        CCP(folder, STREET)[0]
    folder = write_ccp(tmp_path / "b", {}, {"1005": ["toga"]}, words=[*WORDS, "toga"])
    with pytest.raises(DataError, match="toga"):
        CCP(folder, STREET)
    folder = write_ccp(tmp_path / "c", {}, {})
    with pytest.raises(DataError, match="no photo with a map or a tag list"):
        CCP(folder, STREET)
    with pytest.raises(LabelError, match="does not teach the words of ccp"):
        CCP(folder, load_label_space("fashionpedia"))


@pytest.mark.parametrize("numbers", [np.array([[0, 59]], np.uint8), np.array([[-1]], np.int8), np.array([[1.0]])])
@pytest.mark.parametrize(("part", "variable"), [("pixel", "groundtruth"), ("image", "tags")])
def test_numbers_that_are_no_word_of_the_list(tmp_path, part, variable, numbers):
    data = CCP(write_ccp(tmp_path, {"1": [["null", "hat"]]} if part == "pixel" else {}, {"2": ["hat"]}), STREET)
    index = next(i for i, file in enumerate(data.files) if file.parent.name == f"{part}-level")
    scipy.io.savemat(data.files[index], {variable: numbers})
    for ask in (data.photo_labels, data.__getitem__):
        with pytest.raises(DataError, match="knows whole ones from 0 to 58"):
            ask(index)


def test_teach_refuses_unknown_labels_and_keys():
    data = STREET.to_dict() | {"teach": {"ccp": {"words": {"coat": {"is": ["cote"]}}}}}
    with pytest.raises(LabelError, match="coat"):
        Knowledge(LabelSpace.from_dict(data), "ccp")
    data["teach"] = {"ccp": {"words": {"coat": {"iz": ["coat"]}}}}
    with pytest.raises(LabelError, match="iz"):
        Knowledge(LabelSpace.from_dict(data), "ccp")


def test_the_split_is_frozen_and_about_one_seventh():
    assert [i for i in range(1, 40) if split_of(f"ccp/{i:04d}") == "validation"] == [3, 8, 14, 17, 19, 25, 27, 31]
    share = sum(split_of(f"ccp/{i:04d}") == "validation" for i in range(7000)) / 7000
    assert 0.13 < share < 0.155
    held_out = {i for i in range(2000) if split_of(str(i), 0.1) == "validation"}
    assert held_out <= {i for i in range(2000) if split_of(str(i), 0.2) == "validation"}


def test_the_two_sides_of_a_split_make_the_whole(tmp_path):
    data = CCP(write_ccp(tmp_path, {f"{i:04d}": [["null", "hat"]] for i in range(30)}, {}), STREET)
    train, validation = split_indices(data, "train"), split_indices(data, "validation")
    assert sorted(train + validation) == split_indices(data, "all") == list(range(30))
    assert validation
