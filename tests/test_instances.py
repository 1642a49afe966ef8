"""Sets of drawn garments: what their samples say, and the cache of their indices."""

import os
import pickle
from dataclasses import fields, replace

import numpy as np
import pytest
from PIL import Image

from hemline.borders import borders_of_mask, borders_of_text, text_of_borders
from hemline.data import instances
from hemline.data.carriers import with_carriers
from hemline.data.instances import Instances, InstanceSet, cached
from hemline.data.problems import Problem
from hemline.data.sample import UNKNOWN, WHOLE_PHOTO
from hemline.errors import DataError, LabelError
from hemline.labels import LabelSpace, load_label_space
from tests.toy import COAT, DOT, SHOE, SPACE, STRIPE, WINTER

SIZE = (16, 12)
WORDS, ATTRIBUTES = ["coat", "shoe", "cape"], ["stripe", "dot"]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HEMLINE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def box(rows, columns, size=SIZE):
    mask = np.zeros(size, bool)
    mask[rows, columns] = True
    return mask


COAT_BOX, SHOE_BOX = box(slice(2, 12), slice(1, 9)), box(slice(10, 15), slice(4, 11))


def write(folder, photos):
    """Photos of garments (word, mask or text or None, attributes) -> an index of them; the photos are noise."""
    folder.mkdir(parents=True, exist_ok=True)
    texts, mask, category, attributes = b"", [], [], []
    for number, garments in enumerate(photos):
        pixels = np.random.default_rng(number).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
        for word, drawn, listed in garments:
            text = text_of_borders(borders_of_mask(drawn)).encode() if isinstance(drawn, np.ndarray) else drawn or b""
            mask.append((0, len(texts), len(text)))
            texts += text + b"\n"
            category.append(WORDS.index(word))
            attributes.append([ATTRIBUTES.index(a) for a in listed])
    (folder / "masks.txt").write_bytes(texts)
    return Instances(
        photos=[f"{i}.png" for i in range(len(photos))],
        sides=["train"] * len(photos),
        sizes=np.array([SIZE] * len(photos), np.int32),
        first=np.cumsum([0, *map(len, photos)]),
        category=np.array(category, np.int32),
        attribute_first=np.cumsum([0, *map(len, attributes)]),
        attribute=np.array([a for listed in attributes for a in listed], np.int32),
        mask=np.array(mask, np.int64).reshape(-1, 3),
        row=np.arange(len(category)) + 2,
        mask_files=[str(folder / "masks.txt")],
        categories=WORDS,
        attributes=ATTRIBUTES,
        problems=[],
    )


def opened(folder, photos, space=SPACE, source="mine", **options):
    index = write(folder, photos)
    return InstanceSet("mine", source, folder, space, index, borders_of_text, **options)


def target(sample, at):
    return sample.targets[sample.segments[at]].tolist()


def test_overlap_is_both(tmp_path):
    data = opened(tmp_path / "a", [[("coat", COAT_BOX, ["stripe"]), ("shoe", SHOE_BOX, [])]])
    sample = data[0]
    assert sample.photo.shape == (*SIZE, 3)
    assert sample.key == "mine/0.png"
    assert target(sample, (3, 2)) == [1, 0, 0, UNKNOWN]      # of hair, which no word speaks of, nothing is known
    assert target(sample, (13, 9)) == [0, 1, 0, UNKNOWN]
    assert target(sample, (11, 6)) == [1, 1, 0, UNKNOWN]
    assert target(sample, (0, 0)) == [0, 0, 0, UNKNOWN]
    whole, coat, shoe = sample.regions
    np.testing.assert_array_equal(np.isin(sample.segments, coat.segments), COAT_BOX)
    np.testing.assert_array_equal(np.isin(sample.segments, shoe.segments), SHOE_BOX)
    assert whole.segments == WHOLE_PHOTO
    assert [coat.labels[i] for i in (COAT, SHOE, STRIPE, DOT, WINTER)] == [1, 0, 1, 0, UNKNOWN]
    assert [shoe.labels[i] for i in (COAT, SHOE, STRIPE, DOT)] == [0, 1, UNKNOWN, UNKNOWN]
    assert [whole.labels[i] for i in (COAT, SHOE, 2, STRIPE, DOT)] == [1, 1, 0, 1, 0]
    np.testing.assert_array_equal(whole.labels, data.photo_labels(0))


def test_two_of_a_kind_stay_two(tmp_path):
    left, right = box(slice(2, 8), slice(0, 5)), box(slice(2, 8), slice(5, 10))
    sample = opened(tmp_path / "a", [[("coat", left, ["dot"]), ("coat", right, [])]])[0]
    _, first, second = sample.regions
    np.testing.assert_array_equal(np.isin(sample.segments, first.segments), left)
    np.testing.assert_array_equal(np.isin(sample.segments, second.segments), right)
    assert (first.labels[DOT], second.labels[DOT]) == (1, UNKNOWN)


def test_a_photo_of_another_size(tmp_path):
    data = opened(tmp_path / "a", [[("coat", COAT_BOX, [])]])
    Image.new("RGB", (36, 48)).save(tmp_path / "a" / "0.png")
    sample = data[0]
    assert sample.segments.shape == (48, 36)
    np.testing.assert_array_equal(sample.segments > 0, np.kron(COAT_BOX, np.ones((3, 3), bool)))
    Image.new("RGB", (48, 36)).save(tmp_path / "a" / "0.png")
    with pytest.raises(DataError, match=r"0\.png is 36 x 48; its labels were drawn on 16 x 12: it is another photo"):
        data[0]


@pytest.mark.parametrize("drawn", [None, b"  "])
def test_a_garment_that_nobody_drew_may_be_anywhere(tmp_path, drawn):
    data = opened(tmp_path / "a", [[("coat", COAT_BOX, []), ("shoe", drawn, []), ("coat", drawn, ["dot"])]])
    sample = data[0]
    assert target(sample, (3, 2)) == [1, UNKNOWN, 0, UNKNOWN]
    assert target(sample, (0, 0)) == [UNKNOWN, UNKNOWN, 0, UNKNOWN]
    assert len(sample.regions) == 2                          # the photo and the coat that is drawn
    assert [sample.regions[0].labels[i] for i in (COAT, SHOE, 2, DOT)] == [1, 1, 0, 1]


def test_damaged_masks_refuse_or_are_undrawn(tmp_path):
    photos = [[("coat", COAT_BOX, []), ("shoe", b"190 9", [])]]
    with pytest.raises(DataError, match=r"mine: .*masks\.txt, line 3: runs go to pixel 198; a photo of 16 x 12"):
        opened(tmp_path / "a", photos)[0]
    sample = opened(tmp_path / "a", photos, damaged="skip")[0]
    assert target(sample, (0, 0)) == [0, UNKNOWN, 0, UNKNOWN]
    assert sample.regions[0].labels[SHOE] == 1


def test_another_label_space(tmp_path):
    outfit = load_label_space("outfit5")
    index = replace(write(tmp_path / "a", [[("coat", COAT_BOX, ["stripe"]), ("shoe", SHOE_BOX, [])]]),
                    categories=["coat", "shoe", "collar"])   # fmt: skip
    data = InstanceSet("mine", "fashionpedia", tmp_path / "a", outfit, index, borders_of_text)
    sample = data[0]
    names = {name: k for k, name in enumerate(outfit.mask_names)}
    assert [outfit.mask_names[k] for k in np.flatnonzero(sample.targets[sample.segments[3, 2]] == 1)] == ["whole body"]
    both = sample.targets[sample.segments[11, 6]]
    assert both[[names["whole body"], names["feet"]]].tolist() == [1, 1]
    assert data.photo_labels(0).shape == (outfit.num_labels,)
    with pytest.raises(LabelError, match="1 words of fashionpedia are not explained: 'toga'"):
        InstanceSet("mine", "fashionpedia", tmp_path / "a", outfit, replace(index, categories=["coat", "shoe", "toga"]),
                    borders_of_text)   # fmt: skip


def test_attributes_that_a_block_leaves_out_say_nothing(tmp_path):
    block = {"words": {"coat": {"is": ["coat"]}, "shoe": {"is": ["shoe"]}, "cape": {}, "dot": {"is": ["dot"]}}}
    space = LabelSpace.from_dict(SPACE.to_dict() | {"teach": {"mine": block}})
    photos = [[("coat", COAT_BOX, ["stripe"])], [("coat", COAT_BOX, ["dot"])]]
    data = opened(tmp_path / "a", photos, space)
    assert [data.labels(0)[i] for i in (COAT, STRIPE, DOT)] == [1, UNKNOWN, 0]   # it was asked, and has no dots
    assert [data.labels(1)[i] for i in (COAT, STRIPE, DOT)] == [1, 0, 1]         # one pattern denies the other
    with pytest.raises(LabelError, match="no label for 2 words of mine: 'stripe', 'dot'"):
        opened(tmp_path / "a", photos, LabelSpace.from_dict(SPACE.to_dict() | {"groups": []}))


def test_problems_refuse_or_are_listed(tmp_path):
    problems = [Problem("x", "f.csv", "line 2", "bad")]
    index = replace(write(tmp_path / "a", [[("coat", COAT_BOX, [])]]), problems=problems)
    with pytest.raises(DataError, match=r"mine: f\.csv, line 2: bad; `hemline data check mine="):
        InstanceSet("mine", "mine", tmp_path / "a", SPACE, index, borders_of_text)
    data = InstanceSet("mine", "mine", tmp_path / "a", SPACE, index, borders_of_text, damaged="skip")
    assert [str(problem) for problem in data.problems] == ["f.csv, line 2: bad"]
    with pytest.raises(DataError, match="has no photo that its labels speak of"):
        opened(tmp_path / "b", [])


def test_workers_get_the_whole_set(tmp_path):
    index = cached("mine", [write_source(tmp_path)], lambda _: write(tmp_path / "a", [[("coat", COAT_BOX, ["dot"])]]))
    data = InstanceSet("mine", "mine", tmp_path / "a", SPACE, index, borders_of_text)
    sample = data[0]
    sent = pickle.loads(pickle.dumps(data))                  # after its masks were mapped
    np.testing.assert_array_equal(sent[0].segments, sample.segments)
    np.testing.assert_array_equal(sent[0].regions[1].labels, sample.regions[1].labels)


def test_a_mask_file_that_changes_under_way(tmp_path):
    data = opened(tmp_path / "a", [[("coat", COAT_BOX, [])]])
    whole = (tmp_path / "a" / "masks.txt").read_bytes()
    for content, message in [(whole[:9], "has changed since it was opened"), (b"", "cannot be read now")]:
        (tmp_path / "a" / "masks.txt").write_bytes(content)
        with pytest.raises(DataError, match=message):
            pickle.loads(pickle.dumps(data))[0]
    (tmp_path / "a" / "masks.txt").unlink()
    with pytest.raises(DataError, match="cannot be read now"):
        data[0]


def test_carriers_are_counted(tmp_path):
    photos = [[("coat", COAT_BOX, ["dot"]), ("shoe", SHOE_BOX, ["dot"])], [("cape", COAT_BOX, [])]]
    space = with_carriers(SPACE, write(tmp_path / "a", photos))
    assert {label.name: label.carried_by for label in space.labels} == {
        "dot": {"coat", "shoe"}, "stripe": {"coat"}, "winter": frozenset(),   # as they were: never drawn
    }  # fmt: skip
    assert space.categories == SPACE.categories
    assert space.mask_names == SPACE.mask_names


# -- the cache -----------------------------------------------------------------------------------------------


def write_source(folder):
    (folder / "source.csv").write_text("rows")
    return folder / "source.csv"


class Building:
    """Builds an index, and counts how often."""

    def __init__(self, folder):
        self.folder, self.times = folder, 0

    def __call__(self, texts):
        self.times += 1
        index = write(self.folder, [[("coat", COAT_BOX, ["dot"])], [("shoe", SHOE_BOX, [])]])
        (texts / "texts.bin").write_bytes((self.folder / "masks.txt").read_bytes())
        return replace(index, mask_files=[str(texts / "texts.bin")], problems=[Problem("a", "b", "c", "d")])


def same(one, two):
    for field in fields(Instances):
        if field.name != "mask_files":
            np.testing.assert_array_equal(getattr(one, field.name), getattr(two, field.name))


def test_the_second_opening_does_not_read_again(tmp_path, cache):
    source, build = write_source(tmp_path), Building(tmp_path / "a")
    first, second = (cached("mine", [source], build) for _ in range(2))
    assert build.times == 1
    same(first, second)
    same(second, build(tmp_path))
    for index in (first, second):
        data = InstanceSet("mine", "mine", tmp_path / "a", SPACE, index, borders_of_text, damaged="skip")
        assert data[0].segments.any()                        # texts lie where the index says
    build.times = 0
    cached("mine", [source], build, "another option")
    cached("other", [source], build)
    assert build.times == 2
    assert not list((cache / "index").glob(".*"))


def test_a_changed_file_is_read_again_and_the_old_index_goes(tmp_path, cache):
    source, build = write_source(tmp_path), Building(tmp_path / "a")
    cached("mine", [source], build)
    os.utime(source, ns=(1, 1))
    cached("mine", [source], build)
    source.write_text("more rows")
    os.utime(source, ns=(1, 1))
    cached("mine", [source], build)
    assert build.times == 3
    assert len(list((cache / "index").iterdir())) == 1


@pytest.mark.parametrize("damage", ["json", "array", "no array", "no texts", "format"])
def test_a_damaged_cache_is_no_error(tmp_path, cache, monkeypatch, damage):
    source, build = write_source(tmp_path), Building(tmp_path / "a")
    cached("mine", [source], build)
    (folder,) = (cache / "index").iterdir()
    if damage == "json":
        (folder / "index.json").write_text('{"photos"')
    elif damage == "array":
        (folder / "mask.npy").write_bytes((folder / "mask.npy").read_bytes()[:-8])
    elif damage == "no array":
        (folder / "row.npy").unlink()
    elif damage == "no texts":
        (folder / "texts.bin").unlink()
    else:
        monkeypatch.setattr(instances, "FORMAT", instances.FORMAT + 1)
    same(cached("mine", [source], build), build(tmp_path))
    assert build.times == 3
    cached("mine", [source], build)
    assert build.times == 3                                  # it was written anew


def test_an_unwritable_cache_is_no_error(tmp_path, cache, monkeypatch):
    source, build = write_source(tmp_path), Building(tmp_path / "a")
    cache.write_text("a file, not a folder")
    index = cached("mine", [source], build)
    data = InstanceSet("mine", "mine", tmp_path / "a", SPACE, index, borders_of_text, damaged="skip")
    assert data[0].segments.any()
    monkeypatch.setenv("HEMLINE_CACHE", str(tmp_path / "full"))

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    same(cached("mine", [source], build), index)
    assert list((tmp_path / "full" / "index").iterdir()) == []


def test_what_stops_the_reading_leaves_nothing_behind(tmp_path, cache):
    def stops(texts):
        (texts / "half").write_text("...")
        raise DataError("mine: a sentence")

    with pytest.raises(DataError, match="mine: a sentence"):
        cached("mine", [write_source(tmp_path)], stops)
    assert list((cache / "index").iterdir()) == []
