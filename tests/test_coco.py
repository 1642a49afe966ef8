"""A user's own COCO file: what is read of it, what is refused, and that weights trained on it speak its words."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from hemline.config import Data
from hemline.data import build_dataset, own_space, split_indices
from hemline.data._coco_json import decode
from hemline.data.coco import COCO
from hemline.data.sample import UNKNOWN, WHOLE_PHOTO
from hemline.errors import DataError, LabelError
from hemline.labels import LabelSpace, load_label_space
from hemline.tagger import Tagger
from hemline.train import train
from tests.coco_files import SIZE, annotation, box, image, mask_of, names_of, photos, pixels_of, reference, rle, write

CATEGORIES = [
    {"id": 7, "name": "jacket", "supercategory": "tops"},
    {"id": 3, "name": "apron"},
    {"id": 40, "name": "collar", "supercategory": "parts"},
]
ATTRIBUTES = [
    {"id": 5, "name": "linen", "supercategory": "fabric"},
    {"id": 2, "name": "collar", "supercategory": "closure"},
    {"id": 9, "name": "never seen", "supercategory": "fabric"},
]
TRIANGLE = [[1.5, 2, 17.25, 3, 9, 20.75]]
TWO_PARTS = [[1, 1, 6, 1, 6, 9, 1, 9], [10, 12, 18, 12, 18, 22, 10, 22]]
SAMPLE = Path(__file__).parents[2] / "shared" / "data" / "taxonomy"


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HEMLINE_CACHE", str(tmp_path / "cache"))


def rows():
    """Every form of a mask, twelve garments of three photos; photo 4 has none."""
    return [
        annotation(11, 1, 7, TRIANGLE, [5]),
        annotation(12, 1, 40, rle(box(4, 6, 8, 9), compressed=True)),            # lies on the jacket
        annotation(13, 2, 3, rle(box(0, 0, 24, 7), compressed=False), [2, 5]),
        annotation(14, 2, 7, TWO_PARTS),
        annotation(15, 2, 7, rle(box(10, 3, 9, 9), compressed=False), iscrowd=1),
        annotation(16, 3, 3, []),                                                # a box alone
        annotation(17, 3, 7, [[2, 2, 9, 2, 9, 9]]),
    ]


@pytest.fixture
def home(tmp_path):
    folder = tmp_path / "mine"
    write(folder / "labels.json", [image(n) for n in (1, 2, 3, 4)], rows(), CATEGORIES, ATTRIBUTES)
    photos(folder / "images", *(f"{n}.jpg" for n in (1, 2, 3, 4)))
    return folder


def opened(path, **options):
    return COCO(path, COCO.label_space(path, **options), **options)


def test_its_words_are_a_label_space(home):
    space = COCO.label_space(home)
    assert [(c.id, c.name, c.supercategory, c.outfit_part) for c in space.categories] == [
        (3, "apron", "clothes", None), (7, "jacket", "tops", "upper body"), (40, "collar", "parts", None),
    ]  # fmt: skip
    carried = {(x.group, x.id, x.name): set(x.carried_by) for x in space.labels}
    assert carried == {
        ("closure", 2, "collar (closure)"): {"apron"},
        ("fabric", 5, "linen"): {"apron", "jacket"},
        ("fabric", 9, "never seen"): {"apron", "jacket"},
    }
    assert all(group.choice == "many" for group in space.groups)
    assert LabelSpace.from_dict(space.to_dict()) == space
    data = Data(name="coco", path=str(home))
    assert own_space(data) == space
    assert build_dataset(data, space).keys == ["coco/images/1.jpg", "coco/images/2.jpg", "coco/images/3.jpg"]


def test_masks_are_those_of_pycocotools(home, monkeypatch):
    data = opened(home)
    drawn = reference(home / "labels.json", monkeypatch)
    read = {int(data.index.row[n]): data.borders(n) for n in range(len(data.index.category))}
    assert read.pop(16) is None
    assert read.keys() == drawn.keys()
    for id, borders in read.items():
        np.testing.assert_array_equal(mask_of(borders), drawn[id], err_msg=str(id))


def test_garments_that_overlap_stay_whole(home, monkeypatch):
    data = opened(home)
    space, drawn = data.knowledge.space, reference(home / "labels.json", monkeypatch)
    sample = data[0]
    whole, jacket, collar = sample.regions
    assert whole.segments == WHOLE_PHOTO
    np.testing.assert_array_equal(pixels_of(sample, jacket), drawn[11])
    np.testing.assert_array_equal(pixels_of(sample, collar), drawn[12])
    assert (drawn[11] & drawn[12]).any(), "the case is about overlap"
    assert names_of(space, jacket.labels) == {"jacket", "linen"}
    assert names_of(space, jacket.labels, 0) == {"apron", "collar", "never seen"}    # asked for, and not listed
    assert names_of(space, collar.labels) == {"collar"}
    assert names_of(space, whole.labels) == {"jacket", "collar", "linen"}
    both = sample.targets[sample.segments[drawn[11] & drawn[12]][0]]
    assert {space.mask_names[k] for k in np.flatnonzero(both == 1)} == {"jacket", "collar"}
    bare = sample.targets[sample.segments[~drawn[11] & ~drawn[12]][0]]
    assert (bare == 0).all()


def test_a_crowd_is_its_class_and_no_garment(home, monkeypatch):
    data = opened(home)
    sample, drawn = data[1], reference(home / "labels.json", monkeypatch)
    assert [names_of(data.knowledge.space, r.labels) for r in sample.regions[1:]] == [
        {"apron", "linen", "collar (closure)"}, {"jacket"},
    ]  # fmt: skip
    alone = drawn[15] & ~drawn[13] & ~drawn[14]
    jacket = data.knowledge.space.find("jacket").index
    assert (sample.targets[sample.segments[alone]][:, jacket] == 1).all()
    assert alone.any()


def test_a_box_alone_may_be_anywhere(home):
    data = opened(home)
    sample = data[2]
    space = data.knowledge.space
    apron = space.find("apron").index
    assert (data.index.mask[:, 2] == 0).sum() == 1
    assert (sample.targets[:, apron] == UNKNOWN).all()
    assert names_of(space, sample.regions[0].labels) == {"apron", "jacket"}
    assert len(sample.regions) == 2


@pytest.mark.parametrize(
    ("files", "places", "sides"),
    [
        (["annotations/instances_train2017.json", "annotations/instances_val2017.json"], ["train2017", "val2017"], 2),
        (["labels_train.json", "labels_val.json"], ["images", "images"], 2),
        (["train/_annotations.coco.json", "valid/_annotations.coco.json"], ["train", "valid"], 2),
        (["train.json", "test.json"], ["images/train", "images/test"], 2),
        (["annotations/all.json"], ["images/all"], 1),
        (["annotations/all.json"], [""], 1),
    ],
)
def test_layouts(files, places, sides, tmp_path):
    for number, (file, place) in enumerate(zip(files, places, strict=True), start=1):
        own = [annotation(1, 1, 7, TRIANGLE)]                            # ids count from 1 in each file
        write(tmp_path / "set" / file, [image(1, f"{number}.jpg")], own, CATEGORIES)
        photos(tmp_path / "set" / place, f"{number}.jpg")
    if "instances" in files[0]:
        (tmp_path / "set/annotations/captions_train2017.json").write_text("{}")
    data = opened(tmp_path / "set")
    held = "test" if "test" in files[-1] else "validation"
    assert data.sides == ["train", held][:sides]
    assert data.keys == [f"coco/{place}/{n}.jpg".replace("//", "/") for n, place in enumerate(places, start=1)]
    assert len(data[0].regions) == 2
    if held == "validation" and sides == 2:
        assert split_indices(data, "validation") == [1]
    alone = opened(tmp_path / "set" / files[0])
    assert len(alone) == 1
    assert alone.sides == ["train"]


def test_photos_elsewhere(tmp_path):
    file = write(tmp_path / "a" / "x.json", [image(1, "C:\\shots\\1.jpg")], [annotation(1, 1, 7, TRIANGLE)], CATEGORIES)
    photos(tmp_path / "b", "1.jpg")
    with pytest.raises(DataError, match=r"not one photo is there: no 'C:.*1\.jpg' in .*/a, for one; .*images=FOLDER"):
        opened(file)
    with pytest.raises(DataError, match="no folder 'nowhere' of photos"):
        opened(file, images="nowhere")
    data = opened(file, images=str(tmp_path / "b"))
    assert data.keys == ["coco/1.jpg"]
    assert data[0].photo.shape == (*SIZE, 3)


def test_a_photo_put_back_is_seen(home):
    (home / "images" / "2.jpg").rename(home / "2.bak")
    with pytest.raises(DataError, match=r"image 2: no '2\.jpg' in .*`hemline data check coco="):
        opened(home)
    assert len(opened(home, damaged="skip")) == 2
    (home / "2.bak").rename(home / "images" / "2.jpg")
    assert len(opened(home)) == 3


WRONG = {
    "unknown category": (lambda c: c["annotations"][0].update(category_id=8), "annotation 11", "no category has id 8"),
    "unknown attribute": (lambda c: c["annotations"][0].update(attribute_ids=[5, 77]), "annotation 11", "has id 77"),
    "unknown image": (lambda c: c["annotations"][6].update(image_id="3"), "annotation 17", "no image has id '3'"),
    "missing photo": (lambda c: c["images"][0].update(file_name="no.jpg"), "image 1", "no 'no.jpg' in "),
    "size missing": (lambda c: c["images"][0].pop("height"), "image 1", "None x 20.0 is no size"),
    "duplicate annotation id": (lambda c: c["annotations"][1].update(id=11), "annotation 11", "stands twice"),
    "duplicate image id": (lambda c: c["images"][3].update(id=3), "image 3", "id 3 stands twice"),
    "duplicate photo": (lambda c: c["images"][1].update(file_name="1.jpg"), "image 2", "is also image 1 of labels"),
    "duplicate category id": (lambda c: c["categories"].append({"id": 7, "name": "hat"}), "category 7", "and 'hat'"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_wrong_is_listed_with_its_row(kind, home):
    change, row, what = WRONG[kind]
    content = json.loads((home / "labels.json").read_text())
    change(content)
    (home / "labels.json").write_text(json.dumps(content))
    data = opened(home, damaged="skip")
    (problem,) = data.problems
    assert (problem.kind, problem.row) == (kind, row)
    assert what in problem.what
    assert [data[i].key for i in range(len(data))] == data.keys
    assert ("coco/images/1.jpg" in data.keys) == (kind not in ("unknown category", "missing photo", "size missing"))
    with pytest.raises(DataError, match="damaged=skip leaves them out"):
        opened(home)


def test_ids_that_are_off_by_one_are_told(home):
    content = json.loads((home / "labels.json").read_text())
    content["categories"] = [{"id": n, "name": f"c{n}"} for n in (0, 1, 2)]
    for number, row in enumerate(content["annotations"]):
        row["category_id"] = 1 + number % 3
    (home / "labels.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match="annotation 13: no category has id 3: every id used is one above a listed one"):
        opened(home)


def test_a_damaged_mask_is_told_when_it_is_read(home):
    content = json.loads((home / "labels.json").read_text())
    content["annotations"][0]["segmentation"] = [[1, 2, 3, 4]]
    (home / "labels.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"labels\.json, annotation 11: a polygon is x, y of three points or more; dam"):
        opened(home)[0]
    sample = opened(home, damaged="skip")[0]
    jacket = COCO.label_space(home).find("jacket").index
    assert (sample.targets[:, jacket] == UNKNOWN).any()
    assert len(sample.regions) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b'{"size": [24, 21], "counts": [504]}', "RLE of 24 x 21 pixels on a photo of 24 x 20"),
        (b'{"size": [24, 20], "counts": [1, 2]}', "counts of 3 pixels"),
        (b'{"size": [24, 20], "counts": "~~"}', "not a compressed RLE"),
        (b"[[1, 2, 3, 4, 5, 1e30]]", r"from y = 2 to 1e\+30 on a photo of 24"),
        (b"[1, 2, 3, 4, 5, 6]", "neither a list of polygons nor RLE"),
        (b'[[1, 2, 3, 4, 5, 6], {"size": [24, 20], "counts": [480]}]', "mixes RLE"),
        (b'{"size": [24, 20]}', "neither a list of polygons nor RLE"),
    ],
)
def test_damaged_segmentations(text, message):
    with pytest.raises(ValueError, match=message):
        decode(text, SIZE)


SCALARS = st.none() | st.integers() | st.floats() | st.text(max_size=5)
FLAT = SCALARS | st.lists(SCALARS, max_size=7)
PLAIN_DATA = FLAT | st.lists(FLAT, max_size=4) | st.fixed_dictionaries({}, optional={"size": FLAT, "counts": FLAT})


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=40) | PLAIN_DATA.map(lambda value: json.dumps(value).encode()))
def test_any_text_is_a_mask_or_refused(text):
    try:
        borders = decode(text, SIZE)
    except ValueError:
        return
    assert ((borders >= 0) & (borders <= SIZE[0] * SIZE[1])).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cannot be read"),
        ('{"images": [', "is no COCO file of instances: Input data was truncated"),
        ("[]", "is no COCO file of instances: Expected `object`"),
        ('{"images": [], "annotations": []}', "missing required field `categories`"),
        ('{"images": [], "categories": [], "annotations": [{"image_id": 1, "category_id": 1}, {"image_id": 1}]}',
         r"annotations\[1\]: Object missing required field `category_id`"),
        ('{"images": [], "categories": [{"id": "a", "name": "b"}], "annotations": []}',
         r"categories\[0\]: Expected `int`"),
    ],
)  # fmt: skip
def test_files_that_are_not_coco(text, message, tmp_path):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(DataError, match=message):
        COCO(tmp_path, load_label_space("street"))


def test_folders_that_do_not_say_which(tmp_path):
    with pytest.raises(DataError, match="no JSON in"):
        opened(tmp_path)
    for name in ("a.json", "b.json"):
        write(tmp_path / name, [], [], CATEGORIES)
    with pytest.raises(DataError, match=r"holds 2 JSON files \(a\.json, b\.json\); name one"):
        opened(tmp_path)


def test_a_label_space_that_lacks_its_words_says_so(home):
    with pytest.raises(LabelError, match=r"street has no label for .* 'apron'.*labels=data"):
        COCO(home, load_label_space("street"))


@pytest.mark.skipif(not SAMPLE.is_dir(), reason="the sample is not here")
def test_the_sample_of_fashionpedia_api(monkeypatch):
    file = SAMPLE / "fashionpedia_sample.json"
    data = opened(file, images=str(SAMPLE / "fashionpedia_sample_images"))
    assert (len(data), len(data.knowledge.space.categories), len(data.knowledge.space.labels)) == (2, 48, 320)
    drawn = reference(file, monkeypatch)
    for index in range(2):
        sample = data[index]
        numbers = data.of_photo(index)
        assert sample.segments.shape == data.size_of(index)
        for region, number in zip(sample.regions[1:], numbers, strict=True):
            np.testing.assert_array_equal(pixels_of(sample, region), drawn[int(data.index.row[number])])


def test_weights_trained_on_it_answer_in_its_words(home, tiny_config, tmp_path):
    data = (Data(name="coco", path=str(home)),)
    config = replace(
        tiny_config, labels="data", data=data, epochs=2, batch_size=2, validation=0.0, mask_threshold=0.001,
        out=str(tmp_path / "runs"),
    )  # fmt: skip
    best = train(config)
    tagger = Tagger.load(best)
    assert tagger.metadata.labels == COCO.label_space(home)
    result = tagger(Image.open(home / "images" / "1.jpg").resize((200, 240)))
    words = {category["name"] for category in CATEGORIES}
    assert result.garments
    assert {garment.category for garment in result.garments} <= words    # those that are on no part of an outfit, too
    assert {garment.category_id for garment in result.garments} <= {3, 7, 40}
    assert result.to_dict()["garments"][0]["outfit_part"] in ("upper body", None)
    result.draw()
