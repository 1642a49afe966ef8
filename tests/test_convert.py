"""Datasets in another form: what is read back is what was drawn, and what is lost is counted."""

import csv
import json
import os
import resource
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools.coco import COCO  # type: ignore[import-untyped]
from typer.testing import CliRunner

from hemline.borders import borders_of_mask, borders_of_text, text_of_borders
from hemline.cli import app
from hemline.data.instances import Instances, InstanceSet
from hemline.data.sample import UNKNOWN, WHOLE_PHOTO, Region, Sample
from hemline.data.synthetic import Synthetic
from hemline.data_commands.convert import convert
from hemline.errors import DataError
from hemline.labels import load_label_space
from tests.test_ccp import write_ccp
from tests.toy import CAPE, COAT, HAIR, SHOE, SPACE, Toy, row, said

# pycocotools' decode, with numpy 2
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")
FASHIONPEDIA = load_label_space("fashionpedia")
SIZE = (5, 4)


def mask(*pixels, size=SIZE):
    """(H, W) of these (y, x)."""
    drawn = np.zeros(size, bool)
    for y, x in pixels:
        drawn[y, x] = True
    return drawn


BIG, SMALL, FAR = mask(*np.ndindex(4, 3)), mask((1, 1), (2, 1)), mask((4, 3))


def instances(folder, photos, *, words=("coat", "shoe", "cape"), sides=None, photo_size=SIZE, **options):
    """An `InstanceSet` of photos {name: [(word, attributes, mask or None)]} in the words of the toy label space."""
    attributes = [label.name for label in SPACE.labels]
    garments = [garment for drawn in photos.values() for garment in drawn]
    texts = ["" if drawn is None else text_of_borders(borders_of_mask(drawn)) for *_, drawn in garments]
    file = folder / "masks.txt"
    file.write_text("".join(texts) or " ")
    lengths = [len(text) for text in texts]
    for i, name in enumerate(photos):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(i).integers(0, 256, (*photo_size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name)
    index = Instances(
        photos=list(photos),
        sides=sides or ["train"] * len(photos),
        sizes=np.array([SIZE] * len(photos), np.int32),
        first=np.cumsum([0, *map(len, photos.values())]),
        category=np.array([words.index(word) for word, *_ in garments], np.int32),
        attribute_first=np.cumsum([0, *(len(own) for _, own, _ in garments)]),
        attribute=np.array([attributes.index(a) for _, own, _ in garments for a in own], np.int32),
        mask=np.array([(0, sum(lengths[:i]), n) for i, n in enumerate(lengths)], np.int64).reshape(-1, 3),
        row=np.arange(len(garments)),
        mask_files=[str(file)],
        categories=list(words),
        attributes=attributes,
        problems=[],
    )
    return InstanceSet("toy", "toy", folder, SPACE, index, borders_of_text, **options)


def overlapping(folder, **options):
    photos = {
        "a/1.jpg": [("coat", ["stripe"], BIG), ("shoe", [], SMALL)],
        "b/1.jpg": [("cape", ["winter"], BIG), ("cape", ["winter"], SMALL | FAR)],
        "2.png": [],
    }
    return instances(folder, photos, **options)


def coco_of(out, side="train"):
    """{file name: [(category id, mask, attribute ids)]}, as pycocotools reads it."""
    api = COCO(out / f"annotations/instances_{side}.json")
    found = {}
    for image in api.imgs.values():
        entries = api.loadAnns(api.getAnnIds(image["id"]))
        found[image["file_name"]] = [(a["category_id"], api.annToMask(a) > 0, a["attribute_ids"]) for a in entries]
        for entry in entries:
            drawn = api.annToMask(entry)
            ys, xs = np.nonzero(drawn)
            assert drawn.shape == (image["height"], image["width"])
            assert entry["area"] == drawn.sum()
            assert entry["bbox"] == [xs.min(), ys.min(), np.ptp(xs) + 1, np.ptp(ys) + 1]
    return found


def kaggle_mask(text, height, width):
    """Kaggle's runs by another way: 1-based, down the columns."""
    flat = np.zeros(height * width, bool)
    numbers = [int(x) for x in text.split()]
    for start, length in zip(numbers[::2], numbers[1::2], strict=True):
        flat[start - 1 : start - 1 + length] = True
    return flat.reshape(width, height).T


def same(found, drawn):
    assert len(found) == len(drawn)
    for (category, pixels, attributes), (of, where, having) in zip(found, drawn, strict=True):
        assert (category, attributes) == (of, having)
        np.testing.assert_array_equal(pixels, where)


def test_drawn_photos_through_pycocotools(tmp_path):
    data = Synthetic(None, FASHIONPEDIA, count=12, canvas=(96, 64))
    done = convert(data, FASHIONPEDIA, tmp_path / "out", "coco", name="drawn")
    num = len(FASHIONPEDIA.categories)
    found = {}
    for side in ("train", "val"):
        found |= coco_of(tmp_path / "out", side)
    assert len(found) == sum(done.photos.values()) == 12
    for i in range(12):
        sample = data[i]
        garments = [region for region in sample.regions if region.drawn]
        drawn = [
            (
                next(c.id for c in FASHIONPEDIA.categories if region.labels[c.index] == 1),
                np.isin(sample.segments, region.segments),
                sorted(FASHIONPEDIA.labels[k - num].id for k in np.flatnonzero(region.labels == 1) if k >= num),
            )
            for region in garments
        ]
        same(found[f"{i:06d}.png"], drawn)
        np.testing.assert_array_equal(Image.open(tmp_path / f"out/images/{i:06d}.png"), sample.photo)
    assert done.garments == sum(map(len, found.values())) > 20
    assert any(attributes for drawn in found.values() for *_, attributes in drawn)
    described = json.loads((tmp_path / "out/annotations/instances_val.json").read_text())
    assert described["categories"][13] == {"id": 13, "name": "glasses", "supercategory": "head"}
    assert described["attributes"][-1]["id"] == FASHIONPEDIA.labels[-1].id
    assert load_label_space(tmp_path / "out/labels.yaml") == FASHIONPEDIA


def test_overlapping_garments_keep_their_borders(tmp_path):
    data = overlapping(tmp_path, sides=["train", "validation", "test"])
    done = convert(data, SPACE, tmp_path / "out", "coco", name="toy")
    assert done.photos == {"train": 1, "val": 1, "test": 1}
    assert done.lost == {}
    same(coco_of(tmp_path / "out")["a_1.jpg"], [(0, BIG, [2]), (1, SMALL, [])])     # two photos are called 1.jpg
    same(coco_of(tmp_path / "out", "val")["b_1.jpg"], [(2, BIG, [3]), (2, SMALL | FAR, [3])])
    assert coco_of(tmp_path / "out", "test") == {"2.png": []}                       # known to show nothing
    for name, source in [("a_1.jpg", "a/1.jpg"), ("b_1.jpg", "b/1.jpg"), ("2.png", "2.png")]:
        assert (tmp_path / "out/images" / name).read_bytes() == (tmp_path / source).read_bytes()
        assert (tmp_path / "out/images" / name).samefile(tmp_path / source)         # no disk is filled twice


def test_photos_are_copied_where_links_cannot_be(tmp_path, monkeypatch):
    def no_link(*_):
        raise PermissionError(1, "Operation not permitted")

    data = overlapping(tmp_path)
    monkeypatch.setattr(os, "link", no_link)
    convert(data, SPACE, tmp_path / "out", "coco")
    copy = tmp_path / "out/images/2.png"
    assert copy.read_bytes() == (tmp_path / "2.png").read_bytes()
    assert not copy.samefile(tmp_path / "2.png")


def rows_of(file):
    with file.open(newline="") as text:
        return list(csv.DictReader(text))


def test_kaggles_form_of_2020(tmp_path):
    done = convert(overlapping(tmp_path), SPACE, tmp_path / "out", "imaterialist")
    rows = rows_of(tmp_path / "out/train.csv")
    assert list(rows[0]) == ["ImageId", "EncodedPixels", "Height", "Width", "ClassId", "AttributesIds"]
    assert [(r["ImageId"], r["ClassId"], r["AttributesIds"]) for r in rows] == [
        ("a_1", "0", "2"), ("a_1", "1", ""), ("b_1", "2", "3"), ("b_1", "2", "3"),
    ]  # fmt: skip
    for drawn, r in zip([BIG, SMALL, BIG, SMALL | FAR], rows, strict=True):
        np.testing.assert_array_equal(kaggle_mask(r["EncodedPixels"], int(r["Height"]), int(r["Width"])), drawn)
    assert sorted(path.name for path in (tmp_path / "out/train").iterdir()) == ["a_1.jpg", "b_1.jpg"]
    assert [count for what, count in done.lost.items() if "the form has a row a garment" in what] == [1]
    described = json.loads((tmp_path / "out/label_descriptions.json").read_text())
    assert described["categories"][2] == {"id": 2, "name": "cape", "supercategory": "body"}
    # `stripe` and `winter` have one id: they, and only they, are numbered after the others
    assert {x["name"]: x["id"] for x in described["attributes"]} == {"stripe": 2, "dot": 1, "winter": 3}


def test_kaggles_form_of_2019_and_a_published_split(tmp_path):
    space = replace(SPACE, name="imaterialist2019")
    data = overlapping(tmp_path, sides=["train", "validation", "train"])
    data.knowledge.space = space
    done = convert(data, space, tmp_path / "out", "imaterialist")
    assert any(what.startswith("photos in val.csv") for what in done.notes)
    assert [(r["ImageId"], r["ClassId"]) for r in rows_of(tmp_path / "out/train.csv")] == [
        ("a_1.jpg", "0_2"), ("a_1.jpg", "1"),
    ]  # fmt: skip
    assert [r["ClassId"] for r in rows_of(tmp_path / "out/val.csv")] == ["2_3", "2_3"]
    assert (tmp_path / "out/val/b_1.jpg").is_file()


def sample(targets, segments, regions, number=0):
    photo = np.full((*np.shape(segments), 3), number, np.uint8)
    return Sample(photo, np.array(segments, np.uint8), np.stack(targets), regions, key=f"toy/{number}")


def test_index_maps_hold_every_pixel(tmp_path):
    drawn = [[0, 1, 1], [2, 3, 3], [4, 5, 5]]
    targets = [row(), row(COAT), row(HAIR), row(SHOE), np.full(4, UNKNOWN, np.int8), row(CAPE)]
    regions = [Region((1,), said(coat=1, stripe=1)), Region((3,), said(shoe=1))]   # the cape has pixels, and no region
    done = convert(Toy([sample(targets, drawn, regions)]), SPACE, tmp_path / "out", "masks")
    side = next(iter(done.photos))
    picture = Image.open(tmp_path / f"out/masks/{side}/0.png")
    assert picture.mode == "P"
    np.testing.assert_array_equal(picture, [[0, 1, 1], [4, 2, 2], [255, 3, 3]])
    assert json.loads((tmp_path / "out/classes.json").read_text()) == {
        "0": "background", "1": "coat", "2": "shoe", "3": "cape", "4": "hair", "255": "unknown",
    }  # fmt: skip
    assert len({tuple(picture.getpalette()[3 * i : 3 * i + 3]) for i in (0, 1, 2, 3, 4, 255)}) == 6
    assert (tmp_path / f"out/images/{side}/0.png").is_file()
    assert done.garments == 3
    assert {what.partition(":")[0]: count for what, count in done.lost.items()} == {"attributes of garments": 1}


@pytest.mark.parametrize("turned", [False, True])
def test_in_index_maps_the_smaller_garment_wins(tmp_path, turned):
    garments = [("coat", [], BIG), ("shoe", [], SMALL), ("shoe", [], FAR)]
    data = instances(tmp_path, {"1.png": garments[::-1] if turned else garments})
    done = convert(data, SPACE, tmp_path / "out", "masks")
    truth = np.where(SMALL | FAR, 2, np.where(BIG, 1, 0))
    np.testing.assert_array_equal(Image.open(next((tmp_path / "out/masks").rglob("*.png"))), truth)
    assert {what.partition(";")[0].partition(":")[0]: count for what, count in done.lost.items()} == {
        "pixels that several garments cover": 2, "garments that are not told from another of their class": 1,
    }  # fmt: skip


def test_photos_stored_at_another_size(tmp_path):
    data = instances(tmp_path, {"1.png": [("coat", [], BIG)]}, photo_size=(10, 8))
    convert(data, SPACE, tmp_path / "coco", "coco")
    side = next((tmp_path / "coco/annotations").iterdir()).stem.removeprefix("instances_")
    same(coco_of(tmp_path / "coco", side)["1.png"], [(0, BIG, [])])                 # as drawn
    done = convert(data, SPACE, tmp_path / "masks", "masks")
    np.testing.assert_array_equal(
        Image.open(next((tmp_path / "masks/masks").rglob("*.png"))), np.kron(BIG, np.ones((2, 2)))
    )
    assert [count for what, count in done.lost.items() if what.startswith("masks scaled")] == [1]
    with pytest.raises(DataError, match="it is another photo, or cropped"):
        convert(instances(tmp_path, {"1.png": [("coat", [], BIG)]}, photo_size=(9, 4)), SPACE, tmp_path / "x", "coco")


def test_what_is_not_known_is_left_out_and_counted(tmp_path):
    unsure = np.zeros(3, bool)
    unknown = np.full(4, UNKNOWN, np.int8)
    samples = [
        sample([row()], [[0, 0]], [Region(WHOLE_PHOTO, said(coat=0))], 1),                   # nothing is worn
        sample([row(unknown=(COAT,))], [[0, 0]], [Region(WHOLE_PHOTO, said(coat=1))], 2),    # tags alone
        sample(
            [row(), row(SHOE), row(unknown=(COAT, CAPE)), unknown, row(HAIR)], [[0, 1, 2, 2, 3, 4, 4, 4]],
            [
                Region(WHOLE_PHOTO, said(winter=1, stripe=1)),
                Region((1,), said(shoe=1)),
                Region((2,), said(shoe=0), (unsure,)),                                       # a coat or a cape
                Region((3,), said(cape=1)),                                                  # somewhere hereabouts
            ], 3,
        ),
        sample([row(), row(COAT)], [[1, 0]], [Region((1,), said(coat=1, stripe=1))], 4),     # a dot? winter?
        sample([row(), row(COAT)], [[1, 0]], [Region((1,), said(coat=1, stripe=0, dot=0, winter=0))], 5),
    ]  # fmt: skip
    data = Toy(samples)
    data.sides = ["train"] * 4 + ["validation"]
    done = convert(data, SPACE, tmp_path / "out", "coco")
    found = coco_of(tmp_path / "out")
    assert {name: len(garments) for name, garments in found.items()} == {"1.png": 0, "3.png": 1, "4.png": 1}
    short = {what.partition(";")[0][:44]: count for what, count in done.lost.items()}
    assert short == {
        "photos left out: nothing is drawn on them, a": 1,
        "garments left out: their category is one of ": 1,
        "garments left out: their pixels may be of ot": 1,
        "attributes of a whole photo that none of its": 2,
        "attributes that are unknown, of garments wit": 2,
        "attributes known to be absent, of garments o": 3,
        "pixels of classes that are no clothes": 3,
        "pixels that may be of any class": 3,
    }
    convert(data, SPACE, tmp_path / "masks", "masks")
    np.testing.assert_array_equal(
        Image.open(tmp_path / "masks/masks/train/3.png"), [[0, 2, 255, 255, 255, 4, 4, 4]]
    )


def test_garments_without_a_mask_and_crowds(tmp_path):
    coat, shoe, cape = ("coat", [], BIG), ("shoe", [], None), ("cape", [], FAR)
    drawn = {"1.png": [coat, shoe], "2.png": [shoe], "3.png": [cape]}
    data = instances(tmp_path, drawn, sides=["train", "train", "validation"])
    object.__setattr__(data.index, "crowd", np.array([True, False, False, False]))
    done = convert(data, SPACE, tmp_path / "out", "coco")
    same(coco_of(tmp_path / "out")["1.png"], [(0, BIG, [])])
    assert COCO(tmp_path / "out/annotations/instances_train.json").anns[1]["iscrowd"] == 1
    assert done.photos == {"train": 1, "val": 1}                                    # 2.png shows a shoe, somewhere
    assert sorted(done.lost.values()) == [1, 1, 2]


def test_damaged_masks_stop_it_or_are_left_out(tmp_path):
    def damaged(text, size):
        raise ValueError("runs are whole numbers")

    for kind, message in [("refuse", "line 0: runs are whole"), ("skip", "nothing can be written as coco: .*damaged")]:
        data = instances(tmp_path, {"1.png": [("coat", [], BIG)]}, damaged=kind)
        data._decode = damaged
        with pytest.raises(DataError, match=message):
            convert(data, SPACE, tmp_path / "out", "coco")
    assert not (tmp_path / "out").exists()


def test_strict_writes_nothing_that_loses(tmp_path):
    data = overlapping(tmp_path)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(DataError, match=r"something would be lost: .*smallest garment has them: 4"):
        convert(data, SPACE, tmp_path / "out", "masks", strict=True)
    assert sorted(tmp_path.iterdir()) == before
    assert convert(data, SPACE, tmp_path / "out", "coco", strict=True).garments == 4


def test_the_folder_is_new_or_empty(tmp_path, monkeypatch):
    data = overlapping(tmp_path)
    (tmp_path / "out").mkdir()
    monkeypatch.chdir(tmp_path / "out")
    assert convert(data, SPACE, Path(), "coco").garments == 4
    assert (tmp_path / "out/labels.yaml").is_file()
    for taken in (tmp_path / "out", tmp_path / "2.png", Path("/")):
        with pytest.raises(DataError, match="holds something already"):
            convert(data, SPACE, taken, "coco")
    with pytest.raises(DataError, match=r"cannot be written: .*2\.png.*nothing of it is kept"):
        convert(data, SPACE, tmp_path / "2.png" / "out", "coco")


@pytest.mark.parametrize("form", ["coco", "imaterialist", "masks"])
def test_a_full_disk_leaves_nothing(tmp_path, form):
    data = overlapping(tmp_path)
    before = sorted(tmp_path.iterdir())
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20, limits[1]))                      # bytes a file may have
    try:
        with pytest.raises(DataError, match=r"out: cannot be written: File too large.*nothing of it is kept"):
            convert(data, SPACE, tmp_path / "out", form)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert sorted(tmp_path.iterdir()) == before


def test_clothing_co_parsing_on_the_command_line(tmp_path):
    drawn = [["null", "suit", "suit"], ["pants", "boots", "cape"], ["hair", "watch", "skin"]]
    write_ccp(tmp_path / "ccp", {"0001": drawn}, {"1005": ["jeans", "heels"]})
    asked = ["data", "convert", f"ccp={tmp_path / 'ccp'}", "labels=street", str(tmp_path / "out"), "--to", "masks"]
    refused = CliRunner().invoke(app, [*asked, "--strict"])
    assert refused.exit_code == 2
    assert "error: " in refused.stderr
    assert not (tmp_path / "out").exists()
    answer = CliRunner().invoke(app, asked)
    assert answer.exit_code == 0, answer.stderr
    lines = answer.stdout.splitlines()
    assert lines[0].startswith(f"{tmp_path / 'out'}: 1 photos (1 ")
    assert lines[0].endswith("3 garments")
    assert lines[1] == "lost:"
    assert "  photos left out: nothing is drawn on them, and there may be something: 1" in lines
    file = next((tmp_path / "out/masks").rglob("0001.png"))
    classes = json.loads((tmp_path / "out/classes.json").read_text())
    found = [[classes[str(value)] for value in line] for line in np.asarray(Image.open(file)).tolist()]
    truth = [["background", "jacket", "jacket"], ["pants", "shoe", "unknown"], ["hair", "unknown", "skin"]]
    assert found == truth
    twice = CliRunner().invoke(app, asked)
    assert (twice.exit_code, "holds something already" in twice.stderr) == (2, True)
    two = CliRunner().invoke(app, ["data", "convert", "synthetic", "synthetic", str(tmp_path / "two"), "--to", "coco"])
    assert (two.exit_code, "convert writes one dataset, and 2 are named" in two.stderr) == (2, True)


masks = st.tuples(st.integers(1, 6), st.integers(1, 6)).flatmap(
    lambda size: st.lists(st.booleans(), min_size=size[0] * size[1], max_size=size[0] * size[1]).map(
        lambda bits: np.array(bits).reshape(size)
    )
)
EDGES = [np.ones((3, 4), bool), mask((0, 0)), mask((4, 3)), np.ones((1, 1), bool), mask((4, 0), (0, 1)), np.eye(5) > 0]


@settings(max_examples=30, deadline=None)
@given(st.one_of(st.sampled_from(EDGES), masks.filter(np.any)))
def test_any_mask_comes_back(tmp_path_factory, drawn):
    folder = tmp_path_factory.mktemp("mask")
    data = Toy([sample([row(), row(COAT)], drawn.astype(int), [Region((1,), said(coat=1))])])
    data.sides = ["train"]
    for form in ("coco", "imaterialist", "masks"):
        convert(data, SPACE, folder / form, form, strict=True)
    same(coco_of(folder / "coco")["0.png"], [(0, drawn, [])])
    entry = rows_of(folder / "imaterialist/train.csv")[0]
    np.testing.assert_array_equal(kaggle_mask(entry["EncodedPixels"], *drawn.shape), drawn)
    np.testing.assert_array_equal(Image.open(folder / "masks/masks/train/0.png"), drawn)
