"""Tables of your own photos: what cells say, what is wrong with them, and training on one."""

import csv
import io
import sys
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from pyarrow import parquet

from hemline.config import Data
from hemline.data import build_dataset, own_space, split_indices, split_of
from hemline.data.cells import read_cells
from hemline.data.sample import PREDICTED, WHOLE_PHOTO
from hemline.data.table import Table
from hemline.errors import DataError, LabelError
from hemline.labels import LabelSpace, load_label_space
from hemline.train import train

SHOP = """image,category,colour,material,gender
a.jpg,dress,red|white,cotton,women
b.jpg,shirt,blue,,men
c.jpg,,red,wool,
d.jpg,shirt,,,men
"""


def photos(folder, *names):
    for i, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (6, 8), (i, 0, 0)).save(folder / name)


@pytest.fixture
def shop(tmp_path):
    photos(tmp_path, "a.jpg", "b.jpg", "c.jpg", "d.jpg")
    return tmp_path


def write(folder, text, name="t.csv"):
    file = folder / name
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def opened(file, **options):
    data = Data(name="table", path=str(file), options=options)
    space = own_space(data)
    return build_dataset(data, space), space


def said(space, labels, value):
    names = [c.name for c in space.categories] + [label.name for label in space.labels]
    return {name for name, v in zip(names, labels, strict=True) if v == value}


def test_what_cells_say(shop):
    data, space = opened(write(shop, SHOP))
    assert [c.name for c in space.categories] == ["dress", "shirt"]
    assert [(g.name, g.choice, [x.name for x in g.labels]) for g in space.groups] == [
        ("colour", "many", ["blue", "red", "white"]), ("material", "one", ["cotton", "wool"]),
    ]  # fmt: skip
    assert data.keys == [f"table/{x}.jpg" for x in "abcd"] == data.groups
    rows = [data.photo_labels(i) for i in range(4)]
    assert [said(space, row, 1) for row in rows] == [
        {"dress", "red", "white", "cotton"}, {"shirt", "blue"}, {"red", "wool"}, {"shirt"},
    ]  # fmt: skip
    assert [said(space, row, 0) for row in rows] == [
        {"shirt", "blue", "wool"}, {"dress", "red", "white"}, {"blue", "white", "cotton"}, {"dress"},
    ]  # fmt: skip


def test_samples(shop):
    data, _ = opened(write(shop, SHOP))
    for i in range(4):
        sample = data[i]
        assert sample.photo.shape == (8, 6, 3)
        (whole,) = sample.regions
        assert whole.segments == WHOLE_PHOTO
        np.testing.assert_array_equal(whole.labels, data.photo_labels(i))
        assert not sample.segments.any()
    assert data[0].targets.tolist() == [[-1, 0]]             # no pixel of a dress's photo is a shirt
    assert data[2].targets.tolist() == [[-1, -1]]            # nobody said what garment it is


def test_columns(shop):
    file = write(shop, SHOP)
    _, space = opened(file, columns=["material"], category=None)
    assert [c.name for c in space.categories] == ["garment"]
    assert [g.name for g in space.groups] == ["material"]
    data, _ = opened(file, columns=["material"], category=None)
    assert data.keys == ["table/a.jpg", "table/c.jpg"]       # of the others nothing is known
    with pytest.raises(DataError, match="gender tells of people"):
        opened(file, columns=["gender"])
    with pytest.raises(DataError, match=r"no column 'photo', 'color'.*image, category, colour, material") as raised:
        opened(file, image="photo", columns=["color"])
    assert str(raised.value).count("category, colour") == 1
    with pytest.raises(DataError, match="no column 'kind'"):
        opened(file, category="kind")
    with pytest.raises(DataError, match="no column of labels"):
        opened(write(shop, "image,gender\na.jpg,men\n"))


def test_columns_of_names_and_numbers_are_told_apart(shop):
    lines = ["image,category,title,pockets,lined"]
    lines += [f"{i}.jpg,dress,title {i},{i % 3},true" for i in range(40)]
    photos(shop, "0.jpg")
    _, space = opened(write(shop, "\n".join(lines)), damaged="skip")
    assert {g.name: [x.name for x in g.labels] for g in space.groups} == {
        "pockets": ["pockets: 0", "pockets: 1", "pockets: 2"], "lined": ["lined: true"],
    }  # fmt: skip
    named = write(shop, "\n".join(["image,title", *(f"a.jpg,title {i}" for i in range(2001))]))
    with pytest.raises(DataError, match="'title' has more than 2,000 values"):
        opened(named, columns=["title"])


def test_a_value_in_two_columns_is_named_with_its_column(shop):
    text = "image,category,body,lining\na.jpg,denim,silk,silk\nb.jpg,dress,denim,\n"
    data, space = opened(write(shop, text))
    assert [c.name for c in space.categories] == ["category: denim", "dress"]
    assert [x.name for x in space.labels] == ["body: denim", "body: silk", "lining: silk"]
    assert said(space, data.photo_labels(0), 1) == {"category: denim", "body: silk", "lining: silk"}
    assert said(space, data.photo_labels(1), 1) == {"dress", "body: denim"}


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_delimiters_and_encodings(shop, delimiter, encoding):
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter).writerows([["image", "category"], ["a.jpg", "Übergröße, lang; weit\tneu"]])
    _, space = opened(write(shop, out.getvalue().encode(encoding)), category="category")
    assert [c.name for c in space.categories] == ["Übergröße, lang; weit neu"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"image,category\n", "a header and no row"),
        ("image,category\na.jpg,bläu\n".encode("latin-1"), "line 2: byte 0xe4 is not UTF-8"),
        ("image,category\na.jpg,x\n".encode("utf-16"), "UTF-16; save it as UTF-8"),
        (b"PK\x03\x04rest", "spreadsheet's own file; save it as CSV"),
        (b"PAR1rubbish", "not a readable Parquet file"),
        (b'image,category\na.jpg,"' + b"x" * 200_000, "quote that is not closed"),
        (b"image,image\na.jpg,b\n", "two columns 'image'"),
        (b"image,category\nhttps://shop.example/a.jpg,dress\n", "line 2: https://shop.example/a.jpg is an address"),
        (b"image,category\na.jpg,\n", "column 'category' is empty"),
    ],
)
def test_files_that_are_no_table(shop, content, message):
    with pytest.raises(DataError, match=message) as caught:
        Table(write(shop, content), load_label_space("street"))
    assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match="is no file"):
        Table(shop, load_label_space("street"))


def test_problems_with_their_lines(shop):
    text = (
        'image,category,colour\n\na.jpg,dress,"red\nwine"\nlost.jpg,dress,red\n,dress,red\nb.jpg,dress\n,,\n'
        "c.jpg,dress,red\nd.jpg,shirt,Red,\nc.jpg,shirt,red\n"
    )
    file = write(shop, text)
    with pytest.raises(DataError, match=r"t\.csv, line 5: no photo .*lost\.jpg \(and 3 more\).*damaged=skip"):
        opened(file)
    data, _ = opened(file, damaged="skip")
    assert [(p.kind, p.row) for p in data.problems] == [
        ("missing photo", "line 5"), ("missing photo", "line 6"), ("bad row", "line 7"), ("rows disagree", "line 11"),
        ("values alike", ""),
    ]  # fmt: skip
    assert data.problems[3].what == "c.jpg has category 'shirt', and 'dress' in line 9: neither is used"
    assert "'Red', 'red'" in data.problems[4].what
    assert data.keys == ["table/a.jpg", "table/d.jpg"]


def test_values_alike_refuse_nothing_and_rows_that_agree_are_one(shop):
    text = "image,category,colour\na.jpg,dress,red\na.jpg,dress,\na.jpg, dress ,red \nb.jpg,Dress,red\n"
    data, space = opened(write(shop, text))
    assert [p.kind for p in data.problems] == ["values alike"]
    assert len(data) == 2
    assert said(space, data.photo_labels(0), 1) == {"dress", "red"}
    with pytest.raises(DataError, match="says nothing of any photo"):
        opened(write(shop, "image,category\nlost.jpg,dress\n"), damaged="skip")


def test_folders_and_groups(tmp_path):
    photos(tmp_path / "pictures", "one/a.jpg", "b.jpg")
    file = write(tmp_path, "image,category,product\none\\a.jpg,dress,7\nb.jpg,dress,7\nb.jpg,dress,\n")
    data, space = opened(file, images=str(tmp_path / "pictures"), group="product")
    assert data.keys == ["table/one/a.jpg", "table/b.jpg"]
    assert data.groups == ["table/7", "table/7"]
    assert not space.groups                                  # the product's number is no label
    assert data[0].photo.shape == (8, 6, 3)
    assert len(split_indices(data, split_of("table/7"))) == 2
    inside = write(tmp_path / "pictures" / "one", "image,category\n../b.jpg,dress\n")
    assert opened(inside)[0].keys == ["table/__/b.jpg"]


def test_parquet(shop):
    columns = {
        "image": pa.array(["a.jpg", "b.jpg", "c.jpg"]),
        "category": pa.array(["dress", None, "shirt"]).dictionary_encode(),
        "colour": pa.array([["red", "a|b"], [], None]),
        "lined": pa.array([True, None, False]),
        "size": pa.array([36.0, float("nan"), 38.5]),
        "count": pa.array([1, 2, None], pa.int16()),
        "blob": pa.array([b"x", b"y", b"z"]),
        "nothing": pa.nulls(3),
    }
    parquet.write_table(pa.table(columns), shop / "t.parquet", row_group_size=2)
    data, space = opened(shop / "t.parquet")
    assert [said(space, data.photo_labels(i), 1) for i in range(3)] == [
        {"dress", "red", "a|b", "lined: true", "size: 36", "count: 1"}, {"count: 2"},
        {"shirt", "lined: false", "size: 38.5"},
    ]  # fmt: skip
    (shop / "b.jpg").unlink()
    with pytest.raises(DataError, match=r"t\.parquet, row 2: no photo"):
        opened(shop / "t.parquet")


def test_parquet_without_pyarrow(shop, monkeypatch):
    parquet.write_table(pa.table({"image": ["a.jpg"]}), shop / "t.parquet")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(DataError, match=r'pip install "hemline\[parquet\]"'):
        read_cells(shop / "t.parquet")


def test_words_of_another_label_space(shop):
    file = write(shop, "image,category,look\na.jpg,Trousers,striped\nb.jpg,Gown,striped|dotted\nc.jpg,,dotted\n")
    street = load_label_space("street")
    with pytest.raises(LabelError, match="has no label for 4 words of table"):
        Table(file, street)
    words = shop / "words.yaml"
    words.write_text(
        "words:\n  Trousers: {is: [pants]}\n  Gown: {is: [dress]}\n  striped: {is: [stripe]}\n  dotted: {is: [dot]}\n"
    )
    data = build_dataset(Data(name="table", path=str(file), words=str(words)), street)
    names = {name: i for i, name in enumerate([*street.mask_names[:27], *(x.name for x in street.labels)])}
    trousers, gown, unnamed = (data.photo_labels(i) for i in range(3))
    assert [gown[names[x]] for x in ("dress", "pants", "coat", "stripe", "dot")] == [1, 0, -1, 1, 1]
    assert trousers[names["pants"]] == trousers[names["stripe"]] == 1
    assert (unnamed[: len(street.categories)] == -1).all()
    assert [unnamed[names[x]] for x in ("dot", "stripe")] == [1, 0]
    region = next(r for r in data[1].regions if r.segments == PREDICTED)
    assert np.flatnonzero(region.classes).tolist() == [names["dress"]]


def test_a_denied_value_of_another_space_is_a_no(shop):
    space = LabelSpace.from_dict({
        "name": "own", "version": 1, "categories": [{"id": 0, "name": "dress", "supercategory": "x"}],
        "groups": [{"name": "cloth", "choice": "many",
                    "labels": [{"id": name, "name": name} for name in ("wool", "silk", "fur")]}],
        "teach": {"table": {"words": {"dress": {"is": ["dress"]}, "Wolle": {"is": ["wool"], "unknown": ["silk"]},
                                      "Seide": {"is": ["silk"]}, "Pelz": {"is": ["fur"]}}}},
    })  # fmt: skip
    file = write(shop, "image,category,stoff\na.jpg,dress,Wolle\nb.jpg,dress,Seide|Pelz\nc.jpg,dress,\n")
    data = Table(file, space)
    assert [data.photo_labels(i)[1:].tolist() for i in range(3)] == [[1, -1, 0], [0, 1, 1], [-1, -1, -1]]


CELL = st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=8)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.tuples(st.sampled_from(["a.jpg", "b.jpg", "c.jpg"]), CELL, CELL, CELL), min_size=1, max_size=6),
    headers=st.lists(CELL, min_size=2, max_size=2),
)
def test_wild_cells_open_or_get_one_sentence(shop, rows, headers):
    """Against a plain reading by Python: each cell's values and no others are a yes."""
    out = io.StringIO(newline="")
    csv.writer(out).writerows([["image", "category", *headers], *rows])
    file = write(shop, out.getvalue())
    message = None
    try:
        data, space = opened(file, damaged="skip")
    except DataError as error:
        message = str(error)
    if message is not None:                                  # such as two columns of one name, or nothing said
        assert "\n" not in message
        return
    assert len(data) == len(set(data.keys))
    for i, key in enumerate(data.keys):
        own = [row for row in rows if f"table/{row[0]}" == key]
        labels = data.photo_labels(i)
        assert set(np.unique(labels)) <= {-1, 0, 1}
        yes = said(space, labels, 1)
        kinds = {" ".join("".join(c if c.isprintable() else " " for c in part).split())
                 for row in own for part in row[1].split("|")} - {""}  # fmt: skip
        categories = {c.name for c in space.categories}
        assert {name.removeprefix("category: ").rstrip("'") for name in yes & categories} == {
            kind.rstrip("'") for kind in kinds
        }
        for group in space.groups:
            part = labels[space.label_slices[group.name]]
            assert (part == -1).all() or ((part >= 0).all() and (part == 1).any())


def test_training_on_a_table(shop, tiny_config, tmp_path):
    text = "image,category,colour,product\na.jpg,hat,red|blue,1\nb.jpg,hat,blue,1\nc.jpg,coat,red,2\nd.jpg,coat,,3\n"
    data = (Data(name="table", path=str(write(shop, text)), options={"group": "product"}),)
    losses = []

    class Watcher:
        def begin(self, *_): ...
        def step(self, report):
            losses.append(report.losses)
        def epoch(self, *_): ...

        def end(self): ...

    config = replace(tiny_config, data=data, labels="data", epochs=2, validate_every=2, validation=0.0)
    train(replace(config, out=str(tmp_path / "runs")), watcher=Watcher())
    assert len(losses) == 2
    assert {"category", "colour"} <= set(losses[0])
    assert losses[0]["colour"] > 0
    assert all(np.isfinite(list(step.values())).all() for step in losses)
