"""Fashionpedia: a fake copy in the published layout, its ids, and the label space that is counted from it."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hemline.checkpoint import load_network
from hemline.config import Data
from hemline.data import own_space, split_indices
from hemline.data.fashionpedia import Fashionpedia
from hemline.errors import DataError
from hemline.labels import load_label_space
from hemline.train import train
from tests.coco_files import annotation, box, image, names_of, photos, pixels_of, reference, rle, write

SPACE = load_label_space("fashionpedia")
CATEGORIES = [{"id": c.id, "name": c.name, "supercategory": c.supercategory, "level": 2} for c in SPACE.categories]
ATTRIBUTES = sorted(
    ({"id": x.id, "name": x.name, "supercategory": x.group, "level": 1} for x in SPACE.labels), key=lambda x: x["id"]
)
OFFICIAL = Path(__file__).parents[2] / "shared/data/taxonomy/fashionpedia_category_attributes_descriptions.json"
DRESS, SLEEVE, SHOE = 10, 31, 23
PLAIN, MAXI, WRIST, LEOPARD = 317, 154, 160, 333


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HEMLINE_CACHE", str(tmp_path / "cache"))


def copy(folder, *, train="train", test="test", annotations="annotations"):
    """As published: image ids of both files are of one count, masks are polygons or compressed RLE."""
    write(
        folder / annotations / "instances_attributes_train2020.json",
        [image(1, "a.jpg"), image(2, "b.jpg")],
        [
            annotation(1, 1, DRESS, [[2, 1, 18, 1, 18, 22, 2, 22]], [PLAIN, MAXI]),
            annotation(2, 1, SLEEVE, rle(box(3, 0, 9, 6), compressed=True), [WRIST]),
            annotation(3, 1, SHOE, [[3, 20, 9, 20, 9, 24, 3, 24]]),
            annotation(4, 2, DRESS, rle(box(1, 1, 20, 12), compressed=True), [PLAIN]),
        ],
        CATEGORIES, ATTRIBUTES, indent=1,
    )  # fmt: skip
    write(
        folder / annotations / "instances_attributes_val2020.json",
        [image(3, "c.jpg")],
        [annotation(5, 3, SLEEVE, [[1, 1, 8, 1, 8, 8, 1, 8]], [PLAIN])],
        CATEGORIES, ATTRIBUTES,
    )  # fmt: skip
    photos(folder / train, "a.jpg", "b.jpg", size=(48, 40))              # shipped larger than labelled
    photos(folder / test, "c.jpg", "d.jpg")
    return folder


@pytest.mark.parametrize(
    "layout",
    [{}, {"annotations": "."}, {"train": "images/train2020", "test": "images/val_test2020"}, {"test": "val"}],
)
def test_both_sides_are_read_wherever_they_are_unpacked(layout, tmp_path):
    data = Fashionpedia(copy(tmp_path, **layout), SPACE)
    place, other = layout.get("train", "train"), layout.get("test", "test")
    assert data.keys == [f"fashionpedia/{place}/a.jpg", f"fashionpedia/{place}/b.jpg", f"fashionpedia/{other}/c.jpg"]
    assert data.sides == ["train", "train", "validation"]
    assert split_indices(data, "validation") == [2]
    assert data[0].photo.shape == (48, 40, 3)


def test_masks_and_labels(tmp_path, monkeypatch):
    folder = copy(tmp_path)
    data = Fashionpedia(folder, Fashionpedia.label_space(folder))
    space = data.knowledge.space
    drawn = reference(folder / "annotations/instances_attributes_train2020.json", monkeypatch)
    sample = data[0]
    assert sample.segments.shape == (48, 40)
    for region, id in zip(sample.regions[1:], (1, 2, 3), strict=True):
        np.testing.assert_array_equal(pixels_of(sample, region), drawn[id].repeat(2, 0).repeat(2, 1), err_msg=str(id))
    dress, sleeve, shoe = sample.regions[1:]
    assert set(dress.segments) & set(sleeve.segments), "the sleeve lies on the dress, and both are whole"
    assert names_of(space, dress.labels) == {"dress", "plain (pattern)", "maxi (length)"}
    assert names_of(space, sleeve.labels) == {"sleeve", "wrist-length"}
    assert names_of(space, shoe.labels) == {"shoe"}
    assert space.find("leopard").id == LEOPARD
    assert dress.labels[space.find("leopard").index] == 0                # annotators were asked for all, of a dress
    assert sleeve.labels[space.find("maxi (length)").index] == -1        # only dresses are ever said to be that long
    assert (shoe.labels[len(space.categories) :] == -1).all()            # nobody says anything of shoes


def test_who_carries_what_is_counted_from_the_training_annotations(tmp_path):
    space = own_space(Data(name="fashionpedia", path=str(copy(tmp_path))))
    assert space.find("plain (pattern)").carried_by == {"dress"}         # the sleeve's is of a validation photo
    assert space.find("wrist-length").carried_by == {"sleeve"}
    assert space.find("leopard").carried_by == SPACE.find("leopard").carried_by
    assert len(SPACE.find("leopard").carried_by) == 18
    assert [(x.id, x.index, x.group) for x in space.labels] == [(x.id, x.index, x.group) for x in SPACE.labels]
    assert space.categories == SPACE.categories


@pytest.mark.skipif(not OFFICIAL.is_file(), reason="the official list is not here")
def test_the_official_list_is_taken_for_fashionpedia_s(tmp_path):
    official = json.loads(OFFICIAL.read_text())
    folder = copy(tmp_path)
    file = folder / "annotations/instances_attributes_train2020.json"
    content = json.loads(file.read_text())
    file.write_text(json.dumps(content | {key: official[key] for key in ("categories", "attributes")}))
    data = Fashionpedia(folder, SPACE)
    by_id = {row["id"]: row["name"] for row in official["attributes"]}
    assert data.attributes_of(0) == [by_id[PLAIN], by_id[MAXI]]
    assert data.index.categories == [row["name"] for row in official["categories"]]


def test_other_ids_are_refused(tmp_path):
    folder = copy(tmp_path)
    file = folder / "annotations/instances_attributes_val2020.json"
    content = json.loads(file.read_text())
    content["categories"][14]["name"] = "earmuffs"
    file.write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"category 14 is 'earmuffs', the published one is 'hat'; open it as coco="):
        Fashionpedia(folder, SPACE)
    content["categories"][14]["name"] = "Hat "
    content["attributes"][240]["id"] = 250
    file.write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"attribute 250 is .*, no published attribute has that id"):
        Fashionpedia(folder, SPACE)
    with pytest.raises(DataError, match=r"holds no instances_attributes_train2020\.json or .*coco=PATH"):
        Fashionpedia(tmp_path / "train", SPACE)


def test_rows_that_cannot_be_used(tmp_path):
    folder = copy(tmp_path)
    (folder / "train/b.jpg").unlink()
    with pytest.raises(DataError, match=r"instances_attributes_train2020\.json, image 2: no 'b\.jpg' in "):
        Fashionpedia(folder, SPACE)
    data = Fashionpedia(folder, SPACE, damaged="skip")
    assert [key[-5:] for key in data.keys] == ["a.jpg", "c.jpg"]
    assert [problem.kind for problem in data.problems] == ["missing photo"]


def test_weights_keep_what_was_counted(tiny_config, tmp_path):
    folder = copy(tmp_path / "set")
    data = (Data(name="fashionpedia", path=str(folder)),)
    config = replace(tiny_config, labels="data", data=data, batch_size=1, out=str(tmp_path / "runs"))
    _, metadata = load_network(train(config))
    assert metadata.labels == Fashionpedia.label_space(folder)
    assert metadata.labels.find("wrist-length").carried_by == {"sleeve"}
    assert "CC-BY-4.0" in metadata.data[0]["terms"]
    assert metadata.data[0]["photos"] == 2
