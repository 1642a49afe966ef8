"""Photos and masks in two folders: every kind of mask, made by hand, and what is said of wrong ones."""

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from hemline.borders import borders_of_mask
from hemline.config import Data
from hemline.data import build_dataset, label_space, own_space, split_indices
from hemline.data.drawn import borders_of_map
from hemline.data.loading import EpochSampler, batches, make_loader, open_sources
from hemline.data.mask_images import of_people
from hemline.data.sample import UNKNOWN, WHOLE_PHOTO
from hemline.data_commands.asked import config_of
from hemline.data_commands.check import check
from hemline.errors import DataError, LabelError
from hemline.labels import load_label_space
from hemline.losses import JointLoss
from hemline.model import build
from hemline.predict import slug
from hemline.task_weights import weighted_sum

SIZE = (40, 30)
IDS = np.zeros(SIZE, np.uint8)
IDS[5:20, 4:26] = 1
IDS[20:35, 4:26] = 2
IDS[35:38, 4:12] = 3


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("HEMLINE_CACHE", str(tmp_path_factory.mktemp("cache")))


def photo(file, size=SIZE, **options):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)).save(file, **options)


def mask(file, pixels):
    """Write a picture: of values, of booleans, or one that PIL made."""
    file.parent.mkdir(parents=True, exist_ok=True)
    (pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)).save(file)


def folder(path, masks=None, classes="coat\nskirt\nshoe\n", photos=("a.jpg",)):
    """A folder with these masks by their names, and these photos."""
    for name in photos:
        photo(path / "images" / name)
    for name, pixels in (masks or {"a.png": IDS}).items():
        mask(path / "masks" / name, pixels)
    if classes is not None:
        (path / "classes.txt").write_text(classes)
    return path


def opened(path, labels="data", **options):
    data = Data(name="folder", path=str(path), options=options)
    return build_dataset(data, own_space(data) if labels == "data" else load_label_space(labels))


def shown(data, index=0):
    """The pixels of each mask class, and what is known of the others: {name: (H, W) of 1, 0 and -1}."""
    sample = data[index]
    names = data.knowledge.space.mask_names
    return {name: sample.targets[:, k][sample.segments] for k, name in enumerate(names)}


def said(data, index=0):
    labels = data.photo_labels(index)
    return {c.name: int(labels[c.index]) for c in data.knowledge.space.categories}


def palette(ids):
    image = Image.fromarray(ids, "P")
    image.putpalette([0, 0, 0, 0, 0, 0, 255, 0, 0, 9, 9, 9])
    return image


def colours(ids, table):
    return np.array(table, np.uint8)[ids]


TABLE = [[0, 0, 0], [200, 0, 0], [0, 200, 0], [0, 0, 200]]
IDS_FORMS = {
    "8 bits": IDS, "16 bits": IDS.astype(np.uint16), "palette": "palette",
    "grey as RGB": colours(IDS, [[i] * 3 for i in range(4)]),
    "opaque": colours(IDS, [[i, i, i, 255] for i in range(4)]),
}  # fmt: skip


@pytest.mark.parametrize("form", IDS_FORMS)
def test_index_maps(tmp_path, form):
    pixels = palette(IDS) if form == "palette" else IDS_FORMS[form]
    data = opened(folder(tmp_path, {"a.png": pixels}))
    assert (data.keys, data.sides, data.terms) == (["folder/images/a.jpg"], ["train"], "not stated")
    assert [(c.id, c.name) for c in data.knowledge.space.categories] == [(1, "coat"), (2, "skirt"), (3, "shoe")]
    for number, pixels in enumerate(shown(data).values(), start=1):
        np.testing.assert_array_equal(pixels, number == IDS)
    regions = data[0].regions
    assert [region.labels.tolist() for region in regions] == [[1, 1, 1], [1, 0, 0], [0, 1, 0], [0, 0, 1]]
    assert regions[0].segments == WHOLE_PHOTO
    np.testing.assert_array_equal(np.isin(data[0].segments, regions[2].segments), IDS == 2)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("classes.json", '["coat", "skirt", "shoe"]'),
        ("classes.json", '["background", "coat", "skirt", "shoe"]'),
        ("classes.txt", "__ignore__\n_background_\ncoat\nskirt\nshoe"),
        ("classes.json", '{"2": "skirt", "1": "coat", "3": "shoe"}'),
        ("classes.yaml", "1: coat\n2: skirt\n3: shoe\n0: background"),
        ("classes.yaml", "- bk\n- coat\n- skirt\n- shoe\n"),
        ("classes.json", '{"coat": [200, 0, 0], "skirt": "#00c800", "shoe": "#0000C8"}'),
        ("classes.yaml", "background: [0, 0, 0]\ncoat: [200, 0, 0]\nskirt: [0, 200, 0]\nshoe: [0, 0, 200]\n"),
    ],
)
def test_classes_files(tmp_path, name, text):
    of_colours = "#" in text or "200" in text
    path = folder(tmp_path, {"a.png": colours(IDS, TABLE) if of_colours else IDS}, classes=None)
    (path / name).write_text(text)
    for options in ({}, {"classes": name}, {"classes": str(path / name)}):
        pixels = shown(opened(path, **options))
        for number, garment in enumerate(("coat", "skirt", "shoe"), start=1):
            np.testing.assert_array_equal(pixels[garment], number == IDS)


def test_a_named_zero_and_a_named_255_are_classes(tmp_path):
    path = folder(tmp_path, {"a.png": np.where(IDS == 0, 255, IDS - 1).astype(np.uint8)}, classes=None)
    (path / "classes.json").write_text('{"0": "coat", "1": "skirt", "2": "shoe", "255": "wall"}')
    pixels = shown(opened(path))
    for number, name in enumerate(("wall", "coat", "skirt", "shoe")):
        np.testing.assert_array_equal(pixels[name], number == IDS)


def test_one_mask_a_garment_may_overlap(tmp_path):
    coat, scarf = IDS == 1, np.zeros(SIZE, bool)
    scarf[3:12, 10:20] = True
    white = scarf.astype(np.uint8) * 255
    masks = {
        "a/coat.png": coat, "a/scarf.png": white,                     # one bit, and 8 bits
        "b_1_coat.png": coat, "b_1_coat_2.png": IDS == 2, "b_1_scarf.png": np.dstack([white] * 3),
        "sub/c/coat.png": coat, "sub/c/scarf.png": np.zeros(SIZE, bool),   # empty: none is there
        "my_photo.1.coat.mask.png": coat, "my_photo.2.scarf.mask.png": scarf,   # as predict writes them
    }  # fmt: skip
    names = ("a.jpg", "b_1.png", "b.jpg", "sub/c.jpeg", "my photo.jpg", "unlabelled.jpg")
    data = opened(folder(tmp_path, masks, classes=None, photos=names))
    assert data.keys == [f"folder/images/{x}" for x in ("a.jpg", "b_1.png", "my photo.jpg", "sub/c.jpeg")]
    for index, coats in ((0, coat), (1, coat | (IDS == 2)), (2, coat)):
        pixels = shown(data, index)
        np.testing.assert_array_equal(pixels["coat"], coats)
        np.testing.assert_array_equal(pixels["scarf"], scarf)
        sample = data[index]
        first = np.isin(sample.segments, sample.regions[1].segments)   # the first coat, under the scarf, too
        np.testing.assert_array_equal(first, coat)
    assert [data.index.categories[data.index.category[n]] for n in data.of_photo(1)] == ["coat", "coat", "scarf"]
    assert said(data, 3) == {"coat": 1, "scarf": 0}
    assert not (shown(data, 3)["scarf"]).any()


def test_what_predict_names_its_masks_finds_its_words(tmp_path):
    name = "top, t-shirt, sweatshirt"
    path = folder(tmp_path, {f"a.1.{slug(name)}.mask.png": IDS == 1}, classes=None)
    data = opened(path, "street")
    np.testing.assert_array_equal(shown(data)[name] == 1, IDS == 1)
    assert said(data)[name] == 1


def test_a_space_that_knows_more_classes_is_not_taught_that_they_are_absent(tmp_path):
    data = opened(folder(tmp_path), "street")
    pixels = shown(data)
    np.testing.assert_array_equal(pixels["coat"], IDS == 1)
    assert (pixels["pants"] == UNKNOWN).all()
    assert (said(data)["coat"], said(data)["pants"]) == (1, UNKNOWN)
    with pytest.raises(LabelError, match="no label for 1 words of folder: 'toga'"):
        opened(folder(tmp_path / "b", classes="coat\nskirt\ntoga"), "street")
    words = tmp_path / "words.yaml"
    words.write_text("words: {coat: {is: [coat]}, skirt: {is: [skirt]}, toga: {one_of: [dress, cape]}}")
    data = build_dataset(Data(name="folder", path=str(tmp_path / "b"), words=str(words)), load_label_space("street"))
    assert data[0].regions[3].one_of
    np.testing.assert_array_equal(shown(data)["dress"] == UNKNOWN, (IDS == 3))


def test_ignored_pixels_are_unknown(tmp_path):
    """A thin edge hides no garment; a wide patch may be any."""
    ids = np.where(IDS == 3, 0, IDS).astype(np.uint8)
    ids = cv2.resize(ids, (120, 160), interpolation=cv2.INTER_NEAREST)
    edge = cv2.morphologyEx(ids, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
    wide = ids.copy()
    wide[140:156, 16:48] = 255
    masks = {"a.png": np.where(edge, 255, ids).astype(np.uint8), "b.png": wide}
    path = folder(tmp_path, masks, photos=("a.jpg", "b.jpg"))
    data = opened(path)
    assert data[0].photo.shape[:2] == SIZE, "masks of four times the photo's size are brought to it"
    for name in ("a.jpg", "b.jpg"):
        photo(path / "images" / name, (160, 120))
    data = opened(path)
    assert said(data, 0) == {"coat": 1, "skirt": 1, "shoe": 0}
    assert said(data, 1) == {"coat": 1, "skirt": 1, "shoe": UNKNOWN}
    for index, hidden in ((0, edge), (1, wide == 255)):
        for number, pixels in enumerate(shown(data, index).values(), start=1):
            np.testing.assert_array_equal(pixels, np.where(hidden, UNKNOWN, ids == number))
        assert [region.labels.tolist() for region in data[index].regions[1:]] == [[1, 0, 0], [0, 1, 0]]


def test_pixels_of_people_are_never_an_answer(tmp_path):
    data = opened(folder(tmp_path, classes="coat\nhair\nLeft-arm\n"))
    space = data.knowledge.space
    assert ([c.name for c in space.categories], space.pixels) == (["coat"], ("hair", "Left-arm"))
    np.testing.assert_array_equal(shown(data)["hair"], IDS == 2)
    assert [region.labels.tolist() for region in data[0].regions] == [[1], [1]], "hair is no garment"
    for name in ("Face", "torsoSkin", "r_leg", "left hand", "Person", "legs"):
        assert of_people(name), name
    for name in ("headband", "arm warmer", "leggings", "left shoe", "handbag", "body", "upper body", "left"):
        assert not of_people(name), name


def test_subfolders_are_sides(tmp_path):
    names = [f"{side}/{i}.jpg" for side in ("train", "val", "test") for i in range(3)] + ["top.jpg"]
    path = folder(tmp_path, {name.replace(".jpg", ".png"): IDS for name in names}, photos=names)
    data = opened(path)
    assert [data.keys[i] for i in split_indices(data, "validation")] == [f"folder/images/val/{i}.jpg" for i in range(3)]
    assert len(split_indices(data, "train")) == 4
    assert len(split_indices(data, "test")) == 3
    renamed = folder(tmp_path / "b", {"x.png": IDS}, photos=("x.jpg",))
    (renamed / "images").rename(renamed / "fotos")
    (renamed / "masks").rename(renamed / "drawn")
    assert opened(renamed, images="fotos", masks="drawn").keys == ["folder/fotos/x.jpg"]


def test_a_redrawn_mask_is_read_anew(tmp_path):
    path = folder(tmp_path)
    assert said(opened(path))["shoe"] == 1
    mask(path / "masks/a.png", np.where(IDS == 3, 0, IDS).astype(np.uint8))
    assert said(opened(path))["shoe"] == 0


def test_photos_are_seen_as_they_are_turned(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = folder(tmp_path)
    photo(path / "images/a.jpg", (30, 40), exif=exif)
    np.testing.assert_array_equal(shown(opened(path))["coat"], IDS == 1)


JPEG_LIKE = cv2.GaussianBlur(IDS * 60, (5, 5), 0)
WRONG = {
    "greys": (
        {"a.png": JPEG_LIKE},
        r"a\.png: pixel values that no class has: \d+ \([\d,]+ pixels\), .* and \d+ more; name them in classes\.txt, "
        "or, where edges were smoothed",
    ),
    "colours": ({"a.png": colours(IDS, TABLE)}, r"a\.png: a picture in colours, where pixel values are the classes"),
    "transparent": ({"a.png": colours(IDS, [[i, i, i, i] for i in range(4)])}, "transparent in places"),
    "jpeg": ({"a.jpg": IDS}, r"a\.jpg: a JPG file; masks are PNG files"),
    "other size": ({"a.png": IDS.T.copy()}, r"a\.png: 30 x 40 pixels; its photo a\.jpg has 40 x 30, height x width"),
    "smooth": ({"a/coat.png": JPEG_LIKE}, r"coat\.png: \d+ greys \(0, .*white on black"),
    "two sizes": (
        {"a_coat.png": IDS == 1, "a_shoe.png": np.ones((20, 15), bool)},
        r"a_shoe\.png: 20 x 15 pixels, where a_coat\.png has 40 x 30",
    ),
    "typo": ({"a_coatt.png": IDS == 1}, r"'coatt' is no class of classes\.txt; did you mean coat\?"),
    "stranger": ({"z.png": IDS}, r"z\.png: no photo is called 'z'"),
    "both": ({"a_coat.png": IDS == 1, "a.png": IDS}, r"a_coat\.png: its photo has a map, too: a\.png"),
}  # fmt: skip


@pytest.mark.parametrize("kind", WRONG)
def test_wrong_masks_are_named(tmp_path, kind):
    masks, message = WRONG[kind]
    path = folder(tmp_path, {**masks, "good.png": IDS}, photos=("a.jpg", "good.jpg"))
    with pytest.raises(DataError, match=message):
        opened(path)
    data = opened(path, damaged="skip")
    assert (data.keys, len(data.problems)) == (["folder/images/good.jpg"], 1)
    np.testing.assert_array_equal(shown(data)["shoe"], IDS == 3)


def test_a_jpeg_by_another_name_and_half_a_file(tmp_path):
    path = folder(tmp_path)
    whole = (path / "masks/a.png").read_bytes()
    Image.fromarray(IDS).save(path / "masks/a.jpg")
    (path / "masks/a.jpg").rename(path / "masks/a.png")
    with pytest.raises(DataError, match=r"a\.png: not a whole PNG .*a JPEG changes"):
        opened(path)
    (path / "masks/a.png").write_bytes(whole[:-30])
    with pytest.raises(DataError, match=r"a\.png: not a whole PNG"):
        opened(path)


def test_colours_that_no_class_has(tmp_path):
    pixels = colours(IDS, TABLE)
    pixels[0, :7], pixels[1, 0] = (1, 2, 3), (255, 255, 255)
    path = folder(tmp_path, {"a.png": pixels}, classes=None)
    (path / "classes.json").write_text(json.dumps(dict(zip(("coat", "skirt", "shoe"), TABLE[1:], strict=True))))
    with pytest.raises(DataError, match=r"colours that no class has: #010203 \(7 pixels\), #ffffff \(1 pixels\); name"):
        opened(path)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("classes.txt", "", "holds neither a list of names"),
        ("classes.txt", "background\n", "it names no class"),
        ("classes.txt", "coat\nskirt\ncoat\n", "'coat' stands twice"),
        ("classes.json", "{", "is no list of classes: Expecting"),
        ("classes.json", '{"1": "coat", "1": "shoe"}', "'1' stands twice"),
        ("classes.json", '{"coat": 1}', "'coat' is no id"),
        ("classes.json", '{"70000": "coat"}', "'70000' is no id"),
        ("classes.yaml", "1: no\n2: coat", "False is no name; put names that read as something else in quotes"),
        ("classes.yaml", "coat: '#000001'\nshoe: [0, 0, 1]", "two classes have one colour"),
    ],
)
def test_wrong_classes_files(tmp_path, name, text, message):
    path = folder(tmp_path, classes=None)
    (path / name).write_text(text)
    with pytest.raises(DataError, match=message):
        opened(path)


def test_wrong_folders(tmp_path):
    with pytest.raises(DataError, match="holds no folder 'images' of photos; name yours as images=NAME"):
        opened(tmp_path)
    path = folder(tmp_path, classes=None)
    with pytest.raises(DataError, match=r"a\.png is a map of classes, and no classes\.txt"):
        opened(path)
    with pytest.raises(DataError, match=r"no file 'mine\.txt'"):
        opened(path, classes="mine.txt")
    path = folder(tmp_path / "white", {"a.png": (IDS > 0).astype(np.uint8) * 255})
    with pytest.raises(DataError, match="nothing but background and 255, which is `ignore`"):
        opened(path)
    with pytest.raises(DataError, match=r"all masks of .* are empty"):
        opened(folder(tmp_path / "empty", {"a.png": IDS * 0}))
    with pytest.raises(DataError, match=r"no photo in .* has a mask"):
        opened(folder(tmp_path / "none", {"z.png": IDS}))


@given(arrays.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(0, 3)))
@settings(max_examples=60, deadline=None)
def test_borders_of_a_map_are_those_of_its_masks(ids):
    borders = borders_of_map(ids)
    assert sorted(borders) == np.unique(ids).tolist()
    for id, own in borders.items():
        np.testing.assert_array_equal(own, borders_of_mask(ids == id))


def test_two_steps_of_training(tmp_path, tiny_config):
    names = [f"{i}.jpg" for i in range(8)]
    path = folder(tmp_path, {f"train/{i}.png": IDS for i in range(8)}, photos=[f"train/{name}" for name in names])
    config = replace(tiny_config, labels="data", data=(Data(name="folder", path=str(path)),), validation=0.0)
    space = label_space(config)
    assert space.mask_names == ("coat", "skirt", "shoe")
    sources = open_sources(config, space)
    torch.manual_seed(0)
    loss = JointLoss(build(config, space), space, config.loss)
    before = [parameter.clone() for parameter in loss.parameters()]
    optimizer = torch.optim.AdamW(loss.parameters(), lr=1e-3)
    totals = []
    for batch in batches(make_loader(sources, EpochSampler(sources, batch_size=4, seed=0), config, pin_memory=False)):
        total = weighted_sum({name: term.mean() for name, term in loss(batch).items()}, config.loss)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        totals.append(total.item())
    assert len(totals) == 2
    assert np.isfinite(totals).all()
    assert any((a != b).any() for a, b in zip(before, loss.parameters(), strict=True))


def test_findings_name_the_photo_and_not_the_cache(tmp_path):
    """Masks are kept in the cache folder; whoever mends them looks for the photo."""
    dot = np.zeros(SIZE, np.uint8)
    dot[3, 3] = 1
    folder(tmp_path, {"a.png": dot})
    (finding,) = [f for f in check(config_of([f"folder={tmp_path}", "workers=0"])).findings
                  if f.problem.kind == "tiny mask"]
    assert finding.problem.file == str(tmp_path / "images" / "a.jpg")
    assert finding.problem.row == "its coat"
