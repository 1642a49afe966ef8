"""iMaterialist 2019 and 2020: fake copies as Kaggle ships them, damaged ones, and what they say."""

import csv
import json
import os
import random

import numpy as np
import pytest
from PIL import Image

from hemline.data import DATASETS, split_indices
from hemline.data.imaterialist2019 import IMaterialist2019
from hemline.data.imaterialist2020 import IMaterialist2020
from hemline.data.loading import EpochSampler, batches, make_loader
from hemline.data.sample import UNKNOWN
from hemline.data_commands.asked import config_of, opened
from hemline.errors import DataError, LabelError
from hemline.labels import load_label_space

SIZE = (16, 12)
COLUMNS = ["ImageId", "EncodedPixels", "Height", "Width", "ClassId"]
HEAD = {2019: COLUMNS, 2020: [*COLUMNS, "AttributesIds"]}
SETS = {2019: IMaterialist2019, 2020: IMaterialist2020}
SPACES = {2019: load_label_space("imaterialist2019"), 2020: load_label_space("fashionpedia")}
COAT, SHOE, SLEEVE = 9, 23, 31                               # ids, which are also channels


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HEMLINE_CACHE", str(tmp_path / "cache"))


def row(year, photo, runs, category, *attributes, size=SIZE):
    """A row as the year writes it."""
    if year == 2019:
        return [f"{photo}.jpg", runs, *size, "_".join(map(str, (category, *attributes)))]
    return [photo, runs, *size, category, ",".join(map(str, attributes))]


def write(folder, year, rows, *, photos=None, head=None, **form):
    """A folder as Kaggle ships it, with the photos of `photos` or of every row."""
    (folder / "train").mkdir(parents=True, exist_ok=True)
    with (folder / "train.csv").open("w", newline="", encoding="utf-8") as text:
        csv.writer(text, **({"lineterminator": "\n"} | form)).writerows([head or HEAD[year], *rows])
    for photo in {str(r[0]).removesuffix(".jpg") for r in rows} if photos is None else photos:
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)).save(
            folder / "train" / f"{photo}.jpg"
        )
    return folder


def rows_of(year):
    """Two photos whose rows do not stand together; the sleeve lies on the coat."""
    asked = (115, 229) if year == 2020 else (13, 80)
    return [
        row(year, "b", "3 5 19 5", COAT, *asked),
        row(year, "a", "1 2", SHOE),
        row(year, "b", "5 3", SLEEVE),
    ]


def names(space, labels, value):
    things = [c.name for c in space.categories] + [label.name for label in space.labels]
    return {name for name, v in zip(things, labels, strict=True) if v == value}


@pytest.mark.parametrize("year", [2019, 2020])
def test_reads_as_published(tmp_path, year):
    space = SPACES[year]
    data = DATASETS[f"imaterialist{year}"](write(tmp_path, year, rows_of(year)), space)
    assert data.keys == [f"imaterialist{year}/train/b.jpg", f"imaterialist{year}/train/a.jpg"]
    assert "Kaggle" in data.terms
    assert data.problems == []
    sample = data[0]
    drawn = np.zeros(SIZE, bool)
    drawn[2:7, 0] = drawn[2:7, 1] = True                     # "3 5 19 5": pixels 3-7 and 19-23, down columns of 16
    _, coat, sleeve = sample.regions
    np.testing.assert_array_equal(np.isin(sample.segments, coat.segments), drawn)
    assert np.flatnonzero(sample.targets[sample.segments[4, 0]] == 1).tolist() == [COAT, SLEEVE]
    assert np.flatnonzero(sample.targets[sample.segments[2, 0]] == 1).tolist() == [COAT]
    attributes = [label.name for label in space.labels if label.id in ((115, 229) if year == 2020 else (13, 80))]
    assert len(attributes) == 2
    assert names(space, coat.labels, 1) == {"coat", *attributes}
    assert names(space, sleeve.labels, 1) == {"sleeve"}
    assert (sleeve.labels[46:] == UNKNOWN).all()             # nobody was asked for its attributes
    assert names(space, sample.regions[0].labels, 1) == {"coat", "sleeve", *attributes}
    assert names(space, data.photo_labels(1), 1) == {"shoe"}
    assert data[1].segments.sum() == 2
    assert split_indices(data, "all") == [0, 1]


@pytest.mark.parametrize(
    "form", [{"lineterminator": "\r\n"}, {"quoting": csv.QUOTE_ALL}, {"bom": True}, {"order": True}]
)
def test_other_ways_to_write_the_same(tmp_path, form):
    plain = IMaterialist2020(write(tmp_path / "plain", 2020, rows_of(2020)), SPACES[2020])
    rows, head = rows_of(2020), HEAD[2020]
    if form.pop("order", False):                             # as pandas writes it with its index, columns moved
        order = [5, 2, 0, 3, 1, 4]
        rows = [[i, *(r[k] for k in order)] for i, r in enumerate(rows)]
        head = ["", *(head[k] for k in order)]
    if form.pop("bom", False):
        head = ["\ufeff" + head[0], *head[1:]]
    folder = write(tmp_path / "other", 2020, rows, head=head, photos=["a", "b"], **form)
    other = IMaterialist2020(folder, SPACES[2020])
    assert other.keys == plain.keys
    for i in range(2):
        np.testing.assert_array_equal(other[i].segments, plain[i].segments)
        np.testing.assert_array_equal(other.photo_labels(i), plain.photo_labels(i))


def test_many_rows_in_any_order(tmp_path):
    generator = random.Random(0)
    ids = [label.id for label in SPACES[2020].labels]
    rows = [
        row(2020, f"p{generator.randrange(20)}", f"{1 + i % 90} {1 + i // 90}", generator.randrange(46),
            *sorted(generator.sample(ids, generator.randrange(5))))
        for i in range(400)
    ]  # fmt: skip
    data = IMaterialist2020(write(tmp_path, 2020, rows), SPACES[2020])
    by_id = {label.id: label.name for label in SPACES[2020].labels}
    for i, key in enumerate(data.keys):
        expected = [r for r in rows if key == f"imaterialist2020/train/{r[0]}.jpg"]
        numbers = data.of_photo(i)
        assert [SPACES[2020].categories[r[4]].name for r in expected] == [
            data.index.categories[data.index.category[n]] for n in numbers
        ]
        listed = [[by_id[int(x)] for x in r[5].split(",") if x] for r in expected]
        assert listed == list(map(data.attributes_of, numbers))
        assert [r[1] for r in expected] == [
            f"{b[0] + 1} {b[1] - b[0]}" for b in (data.borders(n).tolist() for n in numbers)
        ]
        assert [rows[n - 2] for n in data.index.row[numbers.start : numbers.stop]] == expected
    assert sum(len(data.of_photo(i)) for i in range(len(data))) == 400


def bad_rows(year):
    """Rows that cannot be used, each with its kind and a part of its sentence, from line 4 on."""
    good = row(year, "x", "1 2", COAT)
    return [
        (row(year, "x", "9 2", 46), "unknown category", "no category '46'; 46 ids from 0 to 45 are known"),
        (row(year, "y", "9 2", "coat"), "unknown category", "no category 'coat'"),
        (row(year, "c", "9 2", COAT, 284), "unknown attribute", "no attribute '284'; "),
        (row(year, "lost", "9 2", COAT), "missing photo", "no photo 'lost.jpg' in train/"),
        (row(year, "c", "11 2", COAT, size=("16", "-12")), "bad size", "Height '16', Width '-12'; give pixels"),
        (row(year, "c", "13 2", COAT, size=("99999", "99999")), "bad size", "200,000,000 at most in all"),
        (row(year, "c", "15 2", COAT, size=(12, 16)), "two sizes", "12 x 16; rows before it say that train/c.jpg is"),
        (row(year, "c", "", SHOE), "no mask", "EncodedPixels is empty"),
        (row(year, "c", "9 2", COAT), "duplicate row", "as line 6; take one of them out"),
        (good[:4], "bad row", f"4 columns, not {len(HEAD[year])}"),
    ]


@pytest.mark.parametrize("year", [2019, 2020])
def test_every_bad_row_is_a_problem_with_its_line(tmp_path, year):
    bad = bad_rows(year)
    rows = [row(year, "x", "1 2", COAT), row(year, "c", "1 2", COAT), *(r for r, _, _ in bad)]
    rows[8:8] = [row(year, "lost", "1 9", SHOE)]             # its photo is told once
    folder = write(tmp_path, year, rows, photos=["c", "x", "y"])
    lines = [4, 5, 6, 7, 8, 9, 11, 12, 13, 14]
    with pytest.raises(DataError, match=r"train\.csv, line 4: no category '46'.*\(and 9 more\); `hemline data check"):
        SETS[year](folder, SPACES[year])
    data = SETS[year](folder, SPACES[year], damaged="skip")
    assert [(p.row, p.kind) for p in data.problems] == [
        (f"line {n}", kind) for n, (_, kind, _) in zip(lines, bad, strict=True)
    ]
    for problem, (_, _, sentence) in zip(data.problems, bad, strict=True):
        assert sentence in problem.what
        assert problem.file == str(folder / "train.csv")
    assert data.keys == [f"imaterialist{year}/train/c.jpg"]   # of x and y, a garment is wholly unknown
    assert data.index.row.tolist() == [3, 6, 8, 9, 11, 12]
    sample = data[0]
    assert len(sample.regions) == 1 + 2                       # the others are there, and nobody knows where
    assert sample.targets[0, [COAT, SHOE, SLEEVE]].tolist() == [UNKNOWN, UNKNOWN, 0]
    assert names(SPACES[year], data.photo_labels(0), 1) == {"coat", "shoe"}
    again = SETS[year](folder, SPACES[year], damaged="skip")  # from the cache
    assert again.problems == data.problems


def test_damaged_runs_are_told_when_the_photo_is_read(tmp_path):
    rows = [row(2020, "a", "1 2", COAT), row(2020, "a", "190 9", SHOE)]
    data = IMaterialist2020(write(tmp_path, 2020, rows), SPACES[2020])
    with pytest.raises(DataError, match=r"imaterialist2020: .*train\.csv, line 3: runs go to pixel 198"):
        data[0]


@pytest.mark.parametrize("year", [2019, 2020])
def test_what_is_refused_always(tmp_path, year):
    make = SETS[year]
    with pytest.raises(DataError, match=r"holds no train\.csv; give the folder as Kaggle ships it"):
        make(tmp_path, SPACES[year], damaged="skip")
    (tmp_path / "train.csv").write_text("")
    with pytest.raises(DataError, match="holds no folder `train` with the photos"):
        make(tmp_path, SPACES[year], damaged="skip")
    (tmp_path / "train").mkdir()
    for content, message in [
        (b"", r"line 1: no column ImageId, EncodedPixels, Height, Width, ClassId"),
        (b"ImageId,EncodedPixels,Height,ClassId,AttributesIds\n", r"line 1: no column Width; it has 'ImageId"),
        (b"\xff\xfe\x00" * 9, "no column"),
        (",".join(HEAD[year]).encode() + b"\n\n", "has no photo that its labels speak of"),
    ]:
        (tmp_path / "train.csv").write_bytes(content)
        with pytest.raises(DataError, match=message):
            make(tmp_path, SPACES[year], damaged="skip")
    with pytest.raises(LabelError, match="has no label for"):
        make(write(tmp_path / "a", year, rows_of(year)), load_label_space("street"))


@pytest.mark.parametrize("year", [2019, 2020])
def test_outfit_groups(tmp_path, year):
    outfit = load_label_space("outfit5")
    sample = SETS[year](write(tmp_path, year, rows_of(year)), outfit)[0]
    k = outfit.mask_names.index("whole body")
    assert sample.targets[sample.segments[2, 0], k] == 1
    assert sample.targets[sample.segments[15, 11], k] == 0


def test_the_sets_own_label_space(tmp_path):
    folder = write(tmp_path / "a", 2020, rows_of(2020))
    space = IMaterialist2020.label_space(folder)
    assert (space.num_masks, space.num_labels) == (46, 46 + 294)
    carried = {label.id: label.carried_by for label in space.labels}
    assert carried[115] == carried[229] == {"coat"}
    assert carried[340] == {label.id: label.carried_by for label in SPACES[2020].labels}[340]
    assert len(IMaterialist2020(folder, space)) == 2
    space = IMaterialist2019.label_space(write(tmp_path / "b", 2019, rows_of(2019)))
    assert (space.num_masks, space.num_labels) == (46, 46 + 92)
    assert {label.id for label in space.labels if label.carried_by} == {13, 80}


def test_label_descriptions(tmp_path):
    folder = write(tmp_path, 2020, [row(2020, "a", "1 2", 7, 3), row(2020, "a", "5 2", 8)])
    described = {
        "categories": [{"id": 7, "name": "kilt", "supercategory": "legs", "level": 2}, {"id": 8, "name": "sporran"}],
        "attributes": [{"id": 3, "name": "tartan", "supercategory": "pattern", "level": 1}],
    }
    (folder / "label_descriptions.json").write_text(json.dumps(described))
    space = IMaterialist2020.label_space(folder)
    categories = [(c.id, c.name, c.supercategory) for c in space.categories]
    assert categories == [(7, "kilt", "legs"), (8, "sporran", "categories")]
    assert [(x.id, x.name, x.group, x.carried_by) for x in space.labels] == [(3, "tartan", "pattern", {"kilt"})]
    assert IMaterialist2020(folder, space).labels(0).tolist() == [1, 0, 1]
    official = {
        "categories": [{"id": c.id, "name": c.name, "supercategory": c.supercategory} for c in SPACES[2020].categories],
        "attributes": [{"id": x.id, "name": x.name, "supercategory": x.group} for x in SPACES[2020].labels],
    }
    (folder / "label_descriptions.json").write_text(json.dumps(official))
    assert IMaterialist2020.label_space(folder).name == "fashionpedia"
    for damaged in ("{", "[]", '{"categories": [{"id": "x", "name": "a"}]}', '{"categories": [{"id": 1}]}'):
        (folder / "label_descriptions.json").write_text(damaged)
        with pytest.raises(DataError, match=r"label_descriptions\.json is not the list of categories"):
            IMaterialist2020.label_space(folder)


def test_a_changed_folder_is_read_again(tmp_path):
    folder = write(tmp_path, 2020, rows_of(2020))
    IMaterialist2020(folder, SPACES[2020])
    (folder / "train" / "a.jpg").unlink()
    os.utime(folder / "train", ns=(1, 1))
    with pytest.raises(DataError, match=r"line 3: no photo 'a\.jpg' in train/"):
        IMaterialist2020(folder, SPACES[2020])


@pytest.mark.parametrize("workers", [0, 1])
def test_batches_from_the_command_line(tmp_path, workers):
    coats = [row(2020, f"p{i}", "3 5 19 5", COAT, 115) for i in range(12)]
    rows = coats + [row(2020, f"p{i}", "5 9", SLEEVE) for i in range(12)]
    folder = write(tmp_path, 2020, rows)
    config = config_of([f"imaterialist2020={folder}", f"workers={workers}", "batch_size=4", "canvas=[64,64]"])
    space, sources = opened(config)
    assert space.num_labels == 340
    batch = next(batches(make_loader(sources, EpochSampler(sources, batch_size=4, seed=0), config, pin_memory=False)))
    assert batch.segments.shape == (4, 64, 64)
    assert batch.labels.shape[2] == 340
    assert (batch.labels[..., COAT] == 1).any()
