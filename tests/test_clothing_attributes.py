"""Stanford clothing attributes: a fake copy in the published layout, and what its answers say in `street`."""

from pathlib import Path

import numpy as np
import pytest
import scipy.io
from PIL import Image

from hemline.config import Augment
from hemline.data import DATASETS, split_of
from hemline.data.augment import augment_sample, place_sample
from hemline.data.clothing_attributes import ANSWERS, ClothingAttributes
from hemline.data.knowledge import Knowledge
from hemline.data.sample import PREDICTED, UNKNOWN, WHOLE_PHOTO, collate
from hemline.errors import DataError, LabelError
from hemline.labels import LabelSpace, load_label_space

STREET = load_label_space("street")
NAMES = [c.name for c in STREET.categories] + [label.name for label in STREET.labels]
REAL = Path(__file__).parents[2] / "shared" / "data" / "clothing_attributes"
TOP, SHIRT = "top, t-shirt, sweatshirt", "shirt, blouse"


def write(folder, photos, rows=None, files=tuple(ANSWERS)):
    """Write photos {number: answers} as published; a number's picture is drawn from `like`, if that is among them."""
    (folder / "images").mkdir(parents=True)
    (folder / "labels").mkdir()
    for number, answers in photos.items():
        rng = np.random.default_rng(answers.get("like", number))
        pixels = rng.integers(0, 256, (40, 30, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"images/{number:06d}.jpg")
    for name in files:
        column = np.full((rows or max(photos), 1), np.nan)
        for number, answers in photos.items():
            column[number - 1] = answers.get(name, np.nan)
        scipy.io.savemat(folder / f"labels/{name}_GT.mat", {"GT": column})
    return folder


def said(labels, value):
    return {name for name, v in zip(NAMES, labels, strict=True) if v == value}


def garments(sample):
    """{names of the garment that is spoken of: its labels}, of each region where the network finds it."""
    regions = [region for region in sample.regions if region.segments == PREDICTED]
    return {tuple(np.array(STREET.mask_names)[region.classes]): region.labels for region in regions}


def test_reads_answers(tmp_path):
    shirt = {"category": 1, "collar": 2, "sleevelength": 3, "pattern_stripe": 2, "pattern_solid": 1, "necktie": 1}
    data = DATASETS["clothing_attributes"](write(tmp_path, {3: {}, 7: shirt}, rows=9), STREET)
    assert data.keys == ["clothing_attributes/000003", "clothing_attributes/000007"]
    assert "licence" in data.terms
    assert len(data) == 2
    sample = data[1]
    assert sample.photo.shape == (40, 30, 3)
    assert not sample.segments.any()
    assert sample.targets.shape == (1, STREET.num_masks)
    assert {STREET.mask_names[k] for k in np.flatnonzero(sample.targets[0] == 0)} == {"tie"}
    assert not (sample.targets == 1).any()
    whole = sample.regions[0]
    assert whole.segments == WHOLE_PHOTO
    assert said(whole.labels, 1) == {SHIRT, "upper shirt", "collar", "wrist-length", "stripe"}
    categories = {c.name for c in STREET.categories}
    assert said(whole.labels, 0) & categories == {"tie"}     # a category names one garment of several: no negatives
    of_shirt = garments(sample)[(SHIRT,)]
    assert said(of_shirt, 1) == {"collar", "wrist-length", "stripe"}
    assert said(of_shirt, 0) == {"collarless", "sleeveless", "short (length)", "plain (pattern)"}

    nothing = data[0]                                        # every answer is NaN: unknown, never a negative
    assert (nothing.targets == UNKNOWN).all()
    assert all((region.labels == UNKNOWN).all() for region in nothing.regions)


def test_photo_labels_without_reading_the_photo(tmp_path):
    data = ClothingAttributes(write(tmp_path, {1: {"category": 5, "neckline": 1}, 2: {"scarf": 1}}), STREET)
    for i in range(len(data)):
        np.testing.assert_array_equal(data.photo_labels(i), data[i].regions[0].labels)


@pytest.mark.parametrize(
    ("answers", "yes", "no", "unknown"),
    [
        # a suit is a blazer; its V is the lapels', and stays a V as the set means it
        ({"category": 5, "neckline": 1}, {"jacket", "blazer", "upper suit", "V-shape neckline"}, {"upper dress"},
         {"v-neck", "round (neck)", "coat", "pants"}),
        ({"category": 4, "neckline": 2, "collar": 1}, {"upper outerwear", "round neckline", "collarless"}, set(),
         {"jacket", "coat", "vest", "cape", "v-neck", "round (neck)"}),
        # a V without a collar is a v-neck, also where the collar or the category is not settled
        ({"category": 2, "neckline": 1, "collar": 1}, {"v-neck", "sweater"}, {"round (neck)"}, set()),
        ({"neckline": 1}, {"v-neck", "V-shape neckline"}, {"round (neck)", "round neckline"}, {"collar", "tie"}),
        ({"category": 1, "neckline": 1, "collar": 2}, {"V-shape neckline"}, set(), {"v-neck", "round (neck)"}),
        ({"category": 3, "neckline": 3, "collar": 1}, {"other neckline"}, {"round neckline"},
         {"v-neck", "round (neck)"}),
        ({"category": 3}, {TOP, "classic (t-shirt)", "upper t-shirt"}, {"tank (top)"}, {"dress", "short (length)"}),
        ({"category": 6}, {TOP, "tank (top)", "upper tank top"}, {"classic (t-shirt)"}, {"camisole", "sleeveless"}),
        ({"category": 7}, {"dress"}, set(), {"skirt", "jacket", "shoe"}),
        ({"sleevelength": 1}, {"sleeveless"}, {"short (length)", "wrist-length"}, {TOP, "dress"}),
        ({"placket": 1}, {"no opening"}, {"placket"}, {"collar"}),
        # tie and scarf are asked for themselves
        ({"necktie": 2, "scarf": 1}, {"tie"}, {"scarf"}, {"jacket", "belt"}),
        # each pattern is a question of its own: the one does not answer the other
        ({"pattern_solid": 2}, {"plain (pattern)"}, set(), {"stripe", "check", "dot", "floral", "graphic"}),
        ({"pattern_solid": 2, "pattern_plaid": 2, "pattern_spot": 1}, {"plain (pattern)", "check"}, {"dot"},
         {"stripe"}),
    ],
)  # fmt: skip
def test_what_answers_say(answers, yes, no, unknown):
    knowledge = Knowledge(STREET, "clothing_attributes")
    labels, _ = knowledge.photo([f"{name} {answer}" for name, answer in answers.items()], "tags")
    assert yes <= said(labels, 1)
    assert no <= said(labels, 0)
    assert unknown <= said(labels, UNKNOWN)
    assert (labels[STREET.label_slices["item"]] == UNKNOWN).all()


def test_outerwear_is_one_of_four():
    _, (either,) = Knowledge(STREET, "clothing_attributes").photo(["category 4"], "tags")
    assert {NAMES[i] for i in np.flatnonzero(either)} == {"jacket", "coat", "cape", "vest"}


def test_which_garment_an_answer_speaks_of(tmp_path):
    """The garment that the category names; else whatever carries it. Its word's hidden labels are its too."""
    patterns = {"pattern_solid": 2, "pattern_plaid": 2}
    photos = {
        1: {"category": 4, "sleevelength": 3, "necktie": 2},
        2: {"sleevelength": 2, "collar": 1, "neckline": 2, "necktie": 2},
        3: {"category": 3, "neckline": 2},
        4: {"category": 5, "placket": 2, **patterns},
    }
    data = ClothingAttributes(write(tmp_path, photos), STREET)
    assert {key: said(labels, 1) for key, labels in garments(data[0]).items()} == {
        ("jacket", "vest", "coat", "cape"): {"upper outerwear"}, ("jacket", "coat"): {"wrist-length"},
    }  # fmt: skip
    carried = (SHIRT, TOP, "sweater", "jacket", "coat", "dress")
    neck = (SHIRT, TOP, "sweater", "dress", "jumpsuit")
    assert {key: said(labels, 1) for key, labels in garments(data[1]).items()} == {
        (*carried, "jumpsuit"): {"short (length)"}, carried: {"collarless"}, neck: {"round (neck)"},
    }  # fmt: skip
    regions = [region.labels for region in data[2].regions[1:]]
    assert [said(labels, 1) for labels in regions] == [{"classic (t-shirt)", "upper t-shirt"}, {"round (neck)"}]
    assert set(garments(data[2])) == {(TOP,)}
    assert all((labels[: len(STREET.categories)] == UNKNOWN).all() for labels in regions)
    # a photo may have two patterns, of two garments: which garment has which is unknown
    assert {"plain (pattern)", "check"} <= said(data.photo_labels(3), 1)
    assert said(garments(data[3])[("jacket",)], 1) == {"placket"}
    for sample in data:
        for region in sample.regions[1:]:
            assert (region.labels[STREET.label_slices["st_neckline"]] == UNKNOWN).all()


def test_the_same_photo_twice(tmp_path):
    """Two people, labelled apart: an answer stands where both rows give it, and both stand on one side of a split."""
    photos = {
        2: {"like": 0, "category": 5, "collar": 2, "necktie": 2, "neckline": 1, "placket": 2},
        3: {"category": 5, "necktie": 2},
        9: {"like": 0, "category": 7, "collar": 1, "necktie": 2, "neckline": 1},
    }
    data = ClothingAttributes(write(tmp_path, photos), STREET)
    assert data.groups == [f"clothing_attributes/{number}" for number in ("000002", "000003", "000002")]
    assert data.words(0) == data.words(2) == ["necktie 2"]   # a V, of a suit or of a dress: says nothing
    assert data.words(1) == ["category 5", "necktie 2"]


def test_what_is_not_read_may_be_missing_or_garbage(tmp_path):
    folder = write(tmp_path, {1: {"category": 1}})
    answer = ClothingAttributes(folder, STREET).photo_labels(0)
    for name in ("gender", "skin_exposure", "black"):
        (folder / f"labels/{name}_GT.mat").write_bytes(b"garbage")
    (folder / "images/Thumbs.db").write_bytes(b"")
    data = ClothingAttributes(folder, STREET)
    np.testing.assert_array_equal(data.photo_labels(0), answer)
    assert not {"gender", "skin_exposure"} & {word.split()[0] for word in data.knowledge.words}


def test_views_of_a_photo_keep_its_labels(tmp_path):
    photos = {1: {"category": 4, "necktie": 2}, 2: {"category": 1, "collar": 2}}
    samples = list(ClothingAttributes(write(tmp_path, photos), STREET))
    views = [augment_sample(s, (48, 32), Augment(), np.random.default_rng(i)) for i, s in enumerate(samples)]
    batch, plain = collate(views), collate([place_sample(s, (48, 32)) for s in samples])
    for name in ("targets", "region_segments", "region_classes", "labels", "one_of", "one_of_region"):
        np.testing.assert_array_equal(getattr(batch, name), getattr(plain, name))


def damaged(folder, name, content):
    scipy.io.savemat(folder / f"labels/{name}_GT.mat", content)
    return folder


def test_what_is_wrong_is_said_in_one_sentence(tmp_path):
    with pytest.raises(DataError, match="no folders `images` and `labels`"):
        ClothingAttributes(tmp_path, STREET)
    with pytest.raises(DataError, match=r"labels has no scarf_GT\.mat"):
        ClothingAttributes(write(tmp_path / "a", {1: {}}, files=[n for n in ANSWERS if n != "scarf"]), STREET)
    folder = write(tmp_path / "b", {1: {}, 2: {}})
    with pytest.raises(DataError, match=r"collar_GT\.mat answers 3; it knows 1 to 2"):
        ClothingAttributes(damaged(folder, "collar", {"GT": [[1.0], [3.0]]}), STREET)
    with pytest.raises(DataError, match=r"collar_GT\.mat answers 1\.5"):
        ClothingAttributes(damaged(folder, "collar", {"GT": [[1.5], [2.0]]}), STREET)
    with pytest.raises(DataError, match=r"collar_GT\.mat has 1 rows, none for 000002\.jpg"):
        ClothingAttributes(damaged(folder, "collar", {"GT": [[1.0]]}), STREET)
    with pytest.raises(DataError, match="no variable 'GT'"):
        ClothingAttributes(damaged(folder, "collar", {"labels": [[1.0]]}), STREET)
    (folder / "labels/collar_GT.mat").write_bytes(b"not a matlab file" * 20)
    with pytest.raises(DataError, match="not a readable MATLAB file"):
        ClothingAttributes(folder, STREET)
    for photo in (folder / "images").iterdir():
        photo.rename(photo.with_name(f"photo{photo.name}"))
    with pytest.raises(DataError, match="no photo named as published"):
        ClothingAttributes(folder, STREET)
    with pytest.raises(LabelError, match="does not teach the words of clothing_attributes"):
        ClothingAttributes(folder, load_label_space("fashionpedia"))
    teach = {"clothing_attributes": {"words": {"collar 1": {"is": ["collarless"]}}}}
    with pytest.raises(DataError, match=r"does not explain .*collar 2"):
        ClothingAttributes(folder, LabelSpace.from_dict(STREET.to_dict() | {"teach": teach}))


def test_teach_refuses_an_unknown_group():
    data = STREET.to_dict() | {"teach": {"x": {"several": ["patterns"], "words": {}}}}
    with pytest.raises(LabelError, match=r"teach\.x\.several: no group \['patterns'\]"):
        Knowledge(LabelSpace.from_dict(data), "x")


@pytest.mark.skipif(not REAL.is_dir(), reason="the dataset is not there")
def test_the_real_set():
    """Counted by hand from the files; clean necklines as in the list that the labels were chosen by."""
    data = ClothingAttributes(REAL, STREET)
    assert len(data) == 1592
    assert len(data) - len(set(data.groups)) == 81 - 39
    raw = {name: scipy.io.loadmat(REAL / f"labels/{name}_GT.mat")["GT"].ravel() for name in ANSWERS}
    rows = [int(file.stem) - 1 for file in data.files]
    single = [i for i, group in enumerate(data.groups) if data.groups.count(group) == 1]
    labels = np.stack([data.photo_labels(i) for i in range(len(data))])[single]
    truth = {name: raw[name][rows][single] for name in ANSWERS}
    exact = {
        "tie": ("necktie", 2), "scarf": ("scarf", 2), "collar": ("collar", 2), "placket": ("placket", 2),
        "sleeveless": ("sleevelength", 1), "wrist-length": ("sleevelength", 3), "V-shape neckline": ("neckline", 1),
        "upper dress": ("category", 7), "plain (pattern)": ("pattern_solid", 2), "floral": ("pattern_floral", 2),
    }  # fmt: skip
    for name, (file, answer) in exact.items():               # one answer against the others, NaN left out
        expected = np.where(np.isnan(truth[file]), UNKNOWN, truth[file] == answer)
        np.testing.assert_array_equal(labels[:, STREET.find(name).index], expected, err_msg=name)
    clean = ~np.isin(truth["category"], (4, 5)) & (truth["collar"] != 2)
    for name, answer in (("v-neck", 1), ("round (neck)", 2)):
        yes = labels[:, STREET.find(name).index] == 1
        np.testing.assert_array_equal(yes, clean & (truth["neckline"] == answer))
    assert (labels[:, STREET.find("jacket").index] == 0).sum() == 0
    share = np.mean([split_of(group) == "validation" for group in data.groups])
    assert 0.12 < share < 0.17
    sample = data[0]
    assert sample.photo.shape[:2] == sample.segments.shape
