"""What folders, globs and tables name: every photo once, in one order, and a reason where there is none."""

import csv
import datetime
import decimal
import io
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hemline.catalog.items import Item, is_remote, open_catalog, read_item
from hemline.catalog.parts import write_rows
from hemline.errors import DataError, PhotoError
from hemline.photo import search


def table(folder: Path, content: str | bytes, name: str = "shop.csv") -> str:
    file = folder / name
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(file)


def refused(*patterns: str, **how) -> str:
    with pytest.raises(DataError) as error:
        open_catalog(patterns, **how)
    return str(error.value)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.sampled_from(["a", "a-b", "a.b", "b.jpg", "B.PNG", ".c.jpg", "n.txt", "ä.gif"]), min_size=1,
                         max_size=4), max_size=12))  # fmt: skip
def test_folders_and_globs_hold_what_the_search_finds(tmp_path_factory, paths):
    folder = tmp_path_factory.mktemp("photos")
    for parts in paths:
        try:
            folder.joinpath(*parts[:-1]).mkdir(parents=True, exist_ok=True)
            folder.joinpath(*parts).touch()
        except OSError:
            continue  # a file stands where a folder would
    for pattern in (folder, folder / "*", folder / "**", folder / "**/*.jpg", folder / "[ab]*/*", folder / "**/a*"):
        found = search([pattern])
        catalog = open_catalog([str(pattern)])
        items = list(catalog)
        assert [item.path for item in items if item.problem is None] == list(map(str, found.photos))
        assert [item.problem for item in items if item.problem] == list(found.problems.values())
        assert catalog.count() == len(items)
        assert all(item.row == {} for item in items)


def test_links_are_photos_but_no_folders(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jpg").touch()
    (tmp_path / "in" / "again").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "b.jpg").symlink_to(tmp_path / "in" / "a.jpg")
    assert [Path(item.path).name for item in open_catalog([str(tmp_path)])] == ["a.jpg", "b.jpg"]


def test_a_link_that_goes_round_hides_no_photo(tmp_path):
    (tmp_path / "a.jpg").touch()
    (tmp_path / "b.jpg").symlink_to(tmp_path / "b.jpg")
    (tmp_path / "c").symlink_to(tmp_path / "c")
    (tmp_path / "in").mkdir()
    (tmp_path / "d.jpg").symlink_to(tmp_path / "in")
    for pattern in (tmp_path, tmp_path / "*"):
        a, b = open_catalog([str(pattern)])
        assert [a.path, b.path] == [f"{tmp_path}/a.jpg", f"{tmp_path}/b.jpg"]
        assert search([pattern]).photos == [tmp_path / "a.jpg", tmp_path / "b.jpg"]
        with pytest.raises(PhotoError, match=r"no such file|symbolic links"):
            read_item(b)


def test_what_is_missing_hides_nothing_else(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.photo").write_bytes(b"A")
    patterns = [f"{tmp_path}/none", f"{tmp_path}/empty", f"{tmp_path}/*.jpg", "nul\0", "", f"{tmp_path}/a.photo"]
    *problems, photo = open_catalog(patterns)
    assert [item.path for item in problems] == patterns[:-1]
    assert all(item.problem for item in problems)
    assert read_item(photo) == b"A"


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_locked_folder_is_named(tmp_path):
    (tmp_path / "b").mkdir(mode=0)
    (tmp_path / "c.jpg").touch()
    locked, photo = open_catalog([str(tmp_path)])
    assert locked.problem == f"{tmp_path}/b: this folder cannot be read: Permission denied"
    assert photo.path == f"{tmp_path}/c.jpg"


def test_names_that_are_not_utf8(tmp_path):
    name = os.fsdecode(b"\xff.jpg")
    (tmp_path / name).write_bytes(b"A")
    (item,) = open_catalog([str(tmp_path)])
    assert item.path == f"{tmp_path}/\\xff.jpg"
    assert read_item(pickle.loads(pickle.dumps(item))) == b"A"


def test_files_that_are_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "large.jpg").write_bytes(bytes(11))
    for path, says in (("pipe.jpg", "not a regular file"), (".", "a folder"), ("none.jpg", "no such file"),
                       ("large.jpg", "11 bytes; photos may have 10"), ("nul\0.jpg", "no such file")):  # fmt: skip
        with pytest.raises(PhotoError, match=says):
            read_item(Item(f"{tmp_path}/{path}", {}), max_bytes=10)
    assert len(read_item(Item(f"{tmp_path}/large.jpg", {}), max_bytes=11)) == 11


def test_a_csv_comes_in_as_it_stands(tmp_path):
    (tmp_path / "img").mkdir()
    (tmp_path / "img" / "a.jpg").write_bytes(b"A")
    text = '\ufeffsku, Image Src ,note\r\n00123,img/a.jpg," two\r\nlines, ""q"""\r\n\r\n,,\r\n007, img\\a.jpg ,\r\n'
    text += "8,,x\r\n"
    catalog = open_catalog([table(tmp_path, text)])
    assert catalog.schema == pa.schema([(name, pa.string()) for name in ("sku", "Image Src", "note")])
    first, second, third = catalog
    assert first == Item(
        f"{tmp_path}/img/a.jpg", {"sku": "00123", "Image Src": "img/a.jpg", "note": ' two\r\nlines, "q"'}
    )
    assert second.row == {"sku": "007", "Image Src": " img\\a.jpg ", "note": ""}
    assert read_item(second) == b"A"
    assert third.path == f"{tmp_path}/shop.csv, line 7"
    assert third.problem == f"{tmp_path}/shop.csv, line 7: no photo is named in column 'Image Src'"
    assert third.row["sku"] == "8"
    assert catalog.count() == 3


CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\ufeff", exclude_categories=["Cs"]), max_size=6)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.text("ab/. ", max_size=5), CELLS, CELLS), max_size=6), st.sampled_from(",;\t"),
       st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]), st.sampled_from(["\n", "\r\n"]))  # fmt: skip
def test_any_csv_that_python_writes_is_read_back(tmp_path_factory, rows, delimiter, quoting, end):
    if quoting == csv.QUOTE_MINIMAL:                      # a lone \r is then not quoted by all versions of Python
        rows = [tuple(cell.replace("\r", "") for cell in row) for row in rows]
    file = io.StringIO(newline="")
    writer = csv.writer(file, delimiter=delimiter, quoting=quoting, lineterminator=end)
    writer.writerows([("path", "one", "two"), *rows])
    folder = tmp_path_factory.mktemp("csv")
    catalog = open_catalog([table(folder, file.getvalue())])
    items = list(catalog)
    kept = [row for row in rows if any(row)]
    assert [tuple(item.row.values()) for item in items] == kept
    assert catalog.count() == len(kept)
    for item, (path, *_) in zip(items, kept, strict=True):
        assert (item.problem is None) == bool(path.strip())
        if path.strip():
            assert item.path == str(folder / path.strip())


def test_rows_with_other_numbers_of_cells(tmp_path):
    few, many, trailing, good = open_catalog([table(tmp_path, "file,a\nx.jpg\nx.jpg,1,2\nx.jpg,1,,\nx.jpg,1\n")])
    assert few.problem == f"{tmp_path}/shop.csv, line 2: 1 cells; the header has 2"
    assert few.row == {"file": "x.jpg", "a": None}
    assert many.problem == f"{tmp_path}/shop.csv, line 3: 3 cells; the header has 2"
    assert trailing == good == Item(f"{tmp_path}/x.jpg", {"file": "x.jpg", "a": "1"})


def test_a_tsv_may_hold_commas(tmp_path):
    (item,) = open_catalog([table(tmp_path, "photo\na,b.jpg\n", "shop.TSV")])
    assert item.path == f"{tmp_path}/a,b.jpg"
    (item,) = open_catalog([table(tmp_path, ",photo,\n0,a.jpg,\n")])
    assert item.row == {"column_1": "0", "photo": "a.jpg"}


def test_absolute_paths_and_addresses(tmp_path):
    first, second, third = open_catalog([table(tmp_path, "link\n/x/a.jpg\nhttps://h/a.jpg?b=1\ns3://b/a\\b.jpg\n")])
    assert [item.path for item in (first, second, third)] == ["/x/a.jpg", "https://h/a.jpg?b=1", "s3://b/a\\b.jpg"]
    assert [is_remote(item) for item in (first, second, third)] == [False, True, True]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("link,image_link\na,b\n", "which column names the photos, link, image_link? Say it with --path-column"),
        ("sku,colour\n1,red\n", "no column is named as one of photos (path, image, image_url, ...); say with "
         "--path-column which it is: sku, colour"),
        ("", "it is empty"),
        ("path,sku,sku\na,b,c\n", "two columns are called 'sku'"),
        ("path,sku\na,b\n".encode("utf-16"), "it is UTF-16; save it as UTF-8"),
        (b"PK\x03\x04 sheet", "a spreadsheet's own file"),
        (b"path,s\xfc\xdf\na,b\n", "line 1: byte 0xfc is not UTF-8"),
        (b"PAR1 but no more", "not a readable Parquet file"),
    ],
)  # fmt: skip
def test_tables_that_are_refused(tmp_path, content, says):
    file = table(tmp_path, content)
    assert refused(file).startswith(f"{file}: ")
    assert says in refused(file)


def test_a_path_column_by_name(tmp_path):
    file = table(tmp_path, "link,image_link\na,b.jpg\n")
    (item,) = open_catalog([file], path_column="image_link")
    assert item.path == f"{tmp_path}/b.jpg"
    assert "no column 'image_lnk'; did you mean image_link?" in refused(file, path_column="image_lnk")
    assert "holds int64" in refused(parquet(tmp_path, {"n": [1]}), path_column="n")
    assert "No such file" in refused(f"{tmp_path}/none.csv")
    assert "not a Parquet file" in refused(table(tmp_path, "path\na\n", "x.parquet"))
    assert "no file matches" in refused(f"{tmp_path}/none*.csv")
    assert refused() == "a catalogue needs a folder, a glob, a table or a shard"


def test_a_csv_that_breaks_off_gives_the_rows_before(tmp_path):
    content = b"path,sku\na.jpg,1\nb.jpg,2\n" + b"x,y\n" * 20000 + b"c\xff.jpg,3\nd.jpg,4\n"
    catalog = open_catalog([table(tmp_path, content)])
    *items, last = catalog
    assert [item.row["sku"] for item in items[:2]] == ["1", "2"]
    assert last.problem is not None
    assert "line 20004: byte 0xff is not UTF-8" in last.problem
    assert last.problem.endswith("the rows from here on are not read")
    assert last.row == {"path": None, "sku": None}
    assert catalog.count() == len(items) + 1
    *_, last = open_catalog([table(tmp_path, 'path\na.jpg\n"' + "b" * 200_000)])
    assert last.problem is not None
    assert "is there a quote that is not closed?" in last.problem


def test_a_long_description_is_read_and_a_quote_that_never_ends_is_not(tmp_path):
    before = csv.field_size_limit()
    one, two = open_catalog([table(tmp_path, f'path,text\na.jpg,"{"x" * 200_000}"\nb.jpg,y')])
    assert (len(one.row["text"]), two.row["text"]) == (200_000, "y")
    *items, last = open_catalog([table(tmp_path, 'path,text\na.jpg,z\nb.jpg,"y\nc.jpg,x\n')])
    assert [item.row["text"] for item in items] == ["z"]
    assert "is there a quote that is not closed?" in last.problem
    assert csv.field_size_limit() == before


def parquet(folder: Path, columns: dict[str, Any], name: str = "shop.parquet", **how) -> str:
    pq.write_table(pa.table(columns), folder / name, **how)
    return str(folder / name)


def test_parquet_keeps_its_types(tmp_path):
    when = datetime.datetime(2024, 2, 3, 4, 5, 6, 7, tzinfo=datetime.UTC)
    columns = {
        "sku": [7, None, 9],
        "image": pa.array(["a.jpg", None, "b.jpg"]).dictionary_encode(),
        "when": pa.array([when] * 3, pa.timestamp("ns", "UTC")),
        "tags": [["x", "y"], [], None],
        "price": pa.array([1.5, 2.5, None]),
    }
    catalog = open_catalog([parquet(tmp_path, columns, row_group_size=2)])
    assert catalog.schema.types == [
        pa.int64(), pa.string(), pa.timestamp("us", "UTC"), pa.list_(pa.string()), pa.float64(),
    ]  # fmt: skip
    items = [pickle.loads(pickle.dumps(item)) for item in catalog]
    assert items[0] == Item(
        f"{tmp_path}/a.jpg", {"sku": 7, "image": "a.jpg", "when": when, "tags": ["x", "y"], "price": 1.5}
    )
    assert items[1].problem == f"{tmp_path}/shop.parquet, row 2: no photo is named in column 'image'"
    assert items[2].row["tags"] is items[2].row["price"] is None
    assert catalog.count() == 3
    back = pa.Table.from_pylist([item.row for item in items], schema=catalog.schema)
    assert back["sku"].to_pylist() == [7, None, 9]


def test_any_column_may_be_written_to_a_csv(tmp_path):
    columns = {
        "image": pa.array(["a.jpg"], pa.string_view()),
        "raw": pa.array([b"x"], pa.binary_view()),
        "seen": pa.array([[datetime.date(2024, 2, 3)]]),
        "price": pa.array([[{"net": decimal.Decimal("1.20"), "tax": np.float16(0.5)}]]),
    }
    catalog = open_catalog([parquet(tmp_path, columns)])
    (item,) = catalog
    batch = pa.RecordBatch.from_pylist([item.row], catalog.schema)
    write_rows(tmp_path / "out.csv", catalog.schema, [batch], "csv")
    with (tmp_path / "out.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    price = '[{"net": "1.20", "tax": 0.5}]'
    assert row == {"image": "a.jpg", "raw": "x", "seen": '["2024-02-03"]', "price": price}


def test_a_torn_parquet_gives_the_rows_before(tmp_path):
    columns = {"path": [f"{i:05}.jpg" for i in range(9000)]}
    file = Path(parquet(tmp_path, columns, row_group_size=3000, compression="none", use_dictionary=False))
    catalog = open_catalog([str(file)])
    content = bytearray(file.read_bytes())
    start = pq.ParquetFile(file).metadata.row_group(1).column(0).data_page_offset
    content[start : start + 30] = b"\xff" * 30
    file.write_bytes(content)
    *items, last = catalog
    assert [item.row["path"] for item in items[:3000]] == [f"{i:05}.jpg" for i in range(3000)][: len(items)]
    assert len(items) >= 2048
    assert last.problem is not None
    assert "not a readable Parquet file" in last.problem


def test_tables_and_folders_together_have_the_columns_of_all(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "z.jpg").touch()
    one = parquet(tmp_path, {"path": ["a.jpg"], "sku": [7], "stock": [1], "ok": [True], "tags": [["ä"]]}, "1.parquet")
    two = parquet(
        tmp_path, {"path": ["b.jpg"], "stock": pa.array([2], pa.int8()), "sku": ["08"], "ok": ["no"], "tags": ["t"]},
        "2.parquet",
    )  # fmt: skip
    three = table(tmp_path, "path,colour\nc.jpg,red\n")
    catalog = open_catalog([one, f"{tmp_path}/[2]*.parquet", three, f"{tmp_path}/photos"])
    assert two.endswith("2.parquet")
    rows = [item.row for item in catalog]
    assert all(list(row) == catalog.schema.names for row in rows)
    assert dict(zip(catalog.schema.names, catalog.schema.types, strict=True)) == {
        "path": pa.string(), "sku": pa.string(), "stock": pa.int64(), "ok": pa.string(), "tags": pa.string(),
        "colour": pa.string(),
    }  # fmt: skip
    assert [tuple(row.values()) for row in rows] == [
        ("a.jpg", "7", 1, "true", '["ä"]', None), ("b.jpg", "08", 2, "no", "t", None),
        ("c.jpg", None, None, None, None, "red"), (None,) * 6,
    ]  # fmt: skip
    assert pa.Table.from_pylist(rows, schema=catalog.schema).num_rows == catalog.count() == 4


def test_only_a_few_rows_of_a_large_parquet_are_in_memory(tmp_path):
    columns = {"path": [f"{i}.jpg" for i in range(10_000)], "text": [f"{i}" + "x" * 5000 for i in range(10_000)]}
    file = parquet(tmp_path, columns, row_group_size=1000)
    before = pa.total_allocated_bytes()
    most = 0
    for number, _ in enumerate(open_catalog([file]), start=1):
        if number % 500 == 0:
            most = max(most, pa.total_allocated_bytes() - before)
    assert number == 10_000
    assert most < 25_000_000                              # of 50 MB
