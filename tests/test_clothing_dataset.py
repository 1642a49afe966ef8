"""clothing-dataset: a fake copy in the published layout, and what its words say in `street`."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hemline.config import Augment
from hemline.data import DATASETS, split_indices
from hemline.data.augment import augment_sample, place_sample
from hemline.data.clothing_dataset import ClothingDataset
from hemline.data.knowledge import Knowledge
from hemline.data.sample import PREDICTED, UNKNOWN, WHOLE_PHOTO, collate
from hemline.errors import DataError, LabelError
from hemline.labels import LabelSpace, load_label_space

STREET = load_label_space("street")
NAMES = [c.name for c in STREET.categories] + [label.name for label in STREET.labels]
CATEGORIES = {c.name for c in STREET.categories}
REAL = Path(__file__).parents[2] / "shared" / "data" / "clothing_dataset"
TOP, SHIRT = "top, t-shirt, sweatshirt", "shirt, blouse"


def write(folder, rows, *, header=("image", "sender_id", "label", "kids"), photos=None):
    """Write rows (image, sender, word, kids) as published, and the photos of `photos`, or of every row."""
    (folder / "images").mkdir(parents=True)
    with (folder / "images.csv").open("w", newline="") as text:
        csv.writer(text).writerows([header, *rows])
    for image in {row[0] for row in rows} if photos is None else photos:
        pixels = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"images/{image}.jpg")
    return folder


def said(labels, value):
    return {name for name, v in zip(NAMES, labels, strict=True) if v == value}


def named(classes):
    return {STREET.mask_names[k] for k in np.flatnonzero(classes)}


def test_reads_words(tmp_path):
    rows = [("b", 48, "Pants", False), ("a", 7, "Polo", True), ("c", 48, "Hat", False)]
    data = DATASETS["clothing_dataset"](write(tmp_path, rows), STREET)
    assert data.keys == ["clothing_dataset/a", "clothing_dataset/b", "clothing_dataset/c"]
    assert data.groups[1] == data.groups[2] != data.groups[0]
    assert data.terms == "CC0-1.0"
    assert len(data) == 3
    sample = data[0]
    assert sample.photo.shape == (40, 30, 3)
    assert not sample.segments.any()
    assert sample.targets.shape == (1, STREET.num_masks)
    assert named(sample.targets[0] == 0) == CATEGORIES - {TOP}   # one item: no pixel is anything else to wear
    assert not (sample.targets == 1).any()
    whole, garment = sample.regions
    assert whole.segments == WHOLE_PHOTO
    assert said(whole.labels, 1) == {TOP, "polo (shirt)", "short (length)", "Polo"}
    assert garment.segments == PREDICTED
    assert named(garment.classes) == {TOP}
    assert said(garment.labels, 1) == {"polo (shirt)", "short (length)", "Polo"}
    items = {label.name for group in STREET.groups if group.name == "item" for label in group.labels}
    assert said(garment.labels, 0) == items - {"Polo"} | {
        "classic (t-shirt)", "tank (top)", "camisole", "hoodie", "sleeveless", "wrist-length",
    }  # fmt: skip
    assert said(data[1].regions[1].labels, 1) == {"Pants"}   # no attribute is known, the set's own word is


def test_photo_labels_without_reading_the_photo(tmp_path):
    data = ClothingDataset(write(tmp_path, [("a", 1, "Hoodie", False), ("b", 1, "Body", True)]), STREET)
    for i in range(len(data)):
        np.testing.assert_array_equal(data.photo_labels(i), data[i].regions[0].labels)


@pytest.mark.parametrize(
    ("word", "yes", "no", "unknown", "either"),
    [
        ("T-Shirt", {TOP, "classic (t-shirt)", "short (length)", "T-Shirt"}, {SHIRT, "polo (shirt)", "Polo", "dress"},
         {"collar", "stripe"}, set()),
        ("Undershirt", {TOP, "tank (top)", "sleeveless"}, {"vest", "camisole", "short (length)"}, {"v-neck"}, set()),
        ("Top", {TOP, "camisole", "sleeveless", "Top"}, {"tank (top)", "shoe"}, set(), set()),
        ("Longsleeve", {"Longsleeve"}, {"coat", "vest", "dress", "pants", "clutch"},
         {SHIRT, TOP, "sweater", "cardigan", "jacket", "hoodie", "blazer", "wrist-length", "sleeveless"},
         {SHIRT, TOP, "sweater", "cardigan", "jacket"}),
        ("Hoodie", {"hoodie", "wrist-length", "Hoodie"}, {"sweater", "coat", "blazer", "classic (t-shirt)"},
         {TOP, "jacket"}, {TOP, "jacket"}),
        ("Outwear", {"Outwear"}, {"cape", TOP, "pants"}, {"jacket", "coat", "vest", "wrist-length", "blazer"},
         {"jacket", "coat", "vest"}),
        ("Blazer", {"jacket", "blazer", "wrist-length"}, {"coat", "hoodie"}, {"collar"}, set()),
        ("Blouse", {SHIRT, "Blouse"}, {TOP, "Shirt"}, {"wrist-length"}, set()),
        ("Pants", {"pants", "Pants"}, {"shorts", "belt", "clutch"}, {"jeans"}, set()),
        ("Shoes", {"shoe"}, {"sock", "jeans"}, {"boots", "heels", "sneakers"}, set()),
        ("Dress", {"dress", "Dress"}, {"skirt", "blazer"}, {"sleeveless", "collar"}, set()),
        ("Body", {"Body"}, {"Top"}, {TOP, "jumpsuit", "shoe", "sleeveless"}, set()),
    ],
)  # fmt: skip
def test_what_words_say(word, yes, no, unknown, either):
    labels, one_of = Knowledge(STREET, "clothing_dataset").photo([word], "tags")
    assert yes <= said(labels, 1)
    assert no <= said(labels, 0)
    assert unknown <= said(labels, UNKNOWN)
    assert [{NAMES[i] for i in np.flatnonzero(labels)} for labels in one_of] == [either] * bool(either)
    for group in ("upper", "st_neckline"):
        assert (labels[STREET.label_slices[group]] == UNKNOWN).all()
    assert said(labels, 1) & {label.name for label in STREET.labels[-27:]} == {word}


def test_one_of_several_garments_carries_the_attributes(tmp_path):
    data = ClothingDataset(write(tmp_path, [("a", 1, "Hoodie", False), ("b", 1, "Longsleeve", False)]), STREET)
    hoodie, long = data[0].regions[1], data[1].regions[2]    # of the second, the first is what is sure: its own word
    assert named(hoodie.classes) == {TOP, "jacket"}
    assert said(hoodie.labels, 1) == {"hoodie", "wrist-length", "Hoodie"}
    assert {"blazer", "classic (t-shirt)", "short (length)"} <= said(hoodie.labels, 0)
    assert named(long.classes) == {SHIRT, TOP, "sweater", "cardigan", "jacket"}
    assert said(long.labels, 1) == {"wrist-length"}
    assert said(long.labels, 0) == {"sleeveless", "short (length)"}
    assert (hoodie.doubt, long.doubt) == (0.0, 0.1)          # one Longsleeve in ten is not long


def test_photos_that_nothing_is_known_of_are_left_out(tmp_path):
    rows = [
        ("a", 1, "Not sure", False), ("b", 1, "Other", False), ("c", 1, "Skip", False), ("d", 1, "Skirt", False),
        ("lost", 2, "Dress", False),                         # listed, and not there
        ("e", 2, "Shirt", False), ("e", 2, "Blouse", False), # two words for one photo
        ("f", 2, "Shorts", False), ("f", 2, "Shorts", True),
    ]  # fmt: skip
    data = ClothingDataset(write(tmp_path, rows, photos=["a", "b", "c", "d", "e", "f", "stranger"]), STREET)
    assert data.keys == ["clothing_dataset/d", "clothing_dataset/f"]
    with pytest.raises(DataError, match=r"no photo that images\.csv has a garment's word for"):
        ClothingDataset(write(tmp_path / "none", rows, photos=["a", "e"]), STREET)


@pytest.mark.parametrize("kids", ["missing", "garbage"])
def test_the_column_about_children_is_not_read(tmp_path, kids):
    rows = [("a", 1, "Hat"), ("b", 2, "Dress")]
    plain = ClothingDataset(write(tmp_path / "plain", [(*row, True) for row in rows]), STREET)
    header = ("image", "sender_id", "label", "kids")
    if kids == "missing":
        data = ClothingDataset(write(tmp_path / "x", rows, header=header[:3]), STREET)
    else:
        data = ClothingDataset(write(tmp_path / "x", [(*row, "\x1b,\n") for row in rows], header=header), STREET)
    assert (data.keys, data.groups, data.words) == (plain.keys, plain.groups, plain.words)
    np.testing.assert_array_equal(data.photo_labels(0), plain.photo_labels(0))


def test_columns_are_found_by_their_names(tmp_path):
    folder = write(tmp_path, [("Hat", "a", 3)], header=("label", "image", "sender_id"), photos=["a"])
    data = ClothingDataset(folder, STREET)
    assert (data.keys, data.words) == (["clothing_dataset/a"], ["Hat"])


def test_a_sender_stands_on_one_side(tmp_path):
    rows = [(f"{i:03d}", i % 40, "Hat", False) for i in range(200)]
    data = ClothingDataset(write(tmp_path, rows), STREET)
    train, validation = ({data.groups[i] for i in split_indices(data, side)} for side in ("train", "validation"))
    assert validation
    assert not train & validation
    assert len(train | validation) == 40


def test_views_of_a_photo_keep_its_labels(tmp_path):
    rows = [("a", 1, "Longsleeve", False), ("b", 1, "Shoes", False), ("c", 1, "Body", False)]
    samples = list(ClothingDataset(write(tmp_path, rows), STREET))
    views = [augment_sample(s, (48, 32), Augment(), np.random.default_rng(i)) for i, s in enumerate(samples)]
    batch, plain = collate(views), collate([place_sample(s, (48, 32)) for s in samples])
    for name in ("targets", "region_segments", "region_classes", "labels", "doubt", "one_of", "one_of_region"):
        np.testing.assert_array_equal(getattr(batch, name), getattr(plain, name))


def test_what_is_wrong_is_said_in_one_sentence(tmp_path):
    with pytest.raises(DataError, match=r"holds no images\.csv"):
        ClothingDataset(tmp_path, STREET)
    folder = write(tmp_path / "a", [("a", 1, "Toga", False)])
    with pytest.raises(DataError, match=r"does not explain: \['Toga'\]"):
        ClothingDataset(folder, STREET)
    file = folder / "images.csv"
    for content, message in [
        (b"image,label\na,Hat\n", "has no column sender_id; it has "),
        (b"", "has no column image, sender_id, label"),
        (b"image,sender_id,label\na,1\n", "line 2: 2 columns, not 3"),
        (b"image,sender_id,label\na,1,Hat\na,2,Hat\n", "gives a two senders"),
        (b"\xff\xfe\x00", "not a readable CSV"),
    ]:
        file.write_bytes(content)
        with pytest.raises(DataError, match=message):
            ClothingDataset(folder, STREET)
    file.write_bytes(b"\xef\xbb\xbfimage,sender_id,label\r\na,1,Hat\r\n\r\n")   # as a spreadsheet saves it
    assert ClothingDataset(folder, STREET).words == ["Hat"]
    with pytest.raises(LabelError, match="does not teach the words of clothing_dataset"):
        ClothingDataset(folder, load_label_space("fashionpedia"))


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"mutes": ["hta"]}, "hta"),
        ({"is": ["hat"], "mostly": ["coat"]}, "`mostly` takes attributes of a garment that the word names, not 'coat'"),
        ({"is": ["hat"], "mostly": ["T-Shirt"]}, "not 'T-Shirt'"),
        ({"mostly": ["sleeveless"]}, "not 'sleeveless'"),
    ],
)
def test_teach_refuses_what_it_cannot_mean(entry, message):
    data = STREET.to_dict() | {"teach": {"clothing_dataset": {"words": {"Hat": entry}}}}
    with pytest.raises(LabelError, match=message):
        Knowledge(LabelSpace.from_dict(data), "clothing_dataset")


@pytest.mark.skipif(not REAL.is_dir(), reason="the dataset is not there")
def test_the_real_set():
    data = ClothingDataset(REAL, STREET)
    assert len(data) == 4637 - 198 - 50 - 6                  # without Not sure, Other and Skip
    labels = np.stack([data.photo_labels(i) for i in range(len(data))])
    yes, no = (dict(zip(NAMES, (labels == value).sum(0), strict=True)) for value in (1, 0))
    assert yes["T-Shirt"] == 881
    assert sum(yes[label.name] for label in STREET.labels if label.group == "item") == len(data)
    assert (yes[SHIRT], no[SHIRT]) == (336 + 17, len(data) - 353 - 581 - 30)
    assert (yes["jacket"], no["jacket"]) == (95, len(data) - 95 - 581 - 84 - 272 - 30)
    assert (yes["pants"], no["pants"]) == (604, len(data) - 604 - 30)
    assert yes["sleeveless"] == 111 + 38
    assert yes["short (length)"] == 881 + 113
    assert yes["wrist-length"] == 95 + 84
    assert yes["sweater"] == yes["coat"] == yes["jeans"] == yes["collar"] == yes["upper shirt"] == 0
    validation = split_indices(data, "validation")
    assert 0.12 < len(validation) / len(data) < 0.18
    assert {data.words[i] for i in validation} == set(data.words)
    assert data[0].photo.shape[:2] == data[0].segments.shape
