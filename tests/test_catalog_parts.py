"""The tables of a tagged catalogue: their columns, parts that are whole or not there, and what a kill leaves."""

import json
import os

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from pycocotools import mask as coco  # type: ignore[import-untyped]

from hemline.catalog._index import Index
from hemline.catalog.parts import MANIFEST, open_parts, read_columns, read_manifest
from hemline.catalog.tables import came_as, garment_rows, main_row
from hemline.errors import CatalogError, ConfigError, UnwritableError
from hemline.words_said import ScoredLabel

from .tagged import MADE, SKU, garment, photo, rows, schemas, tagged

COAT = photo(garment("coat", "pattern=stripe", "season=winter"), garment("shoe"))


def table(folder, name):
    return pa.concat_tables(pyarrow.parquet.read_table(file) for file in read_manifest(folder).files(name)).to_pylist()


# -- columns ---------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:__array__")  # of pycocotools
def test_a_photo_and_its_garments_stand_in_their_columns(tmp_path):
    season = ScoredLabel("season", "winter", 0, 0.6)
    folder = tagged(tmp_path / "out", photo(*COAT.garments, labels=[season]))
    (row,), (coat, shoe) = table(folder, "photos"), table(folder, "garments")
    assert row == {
        "position": 0, "path": "p0.jpg", "occurrence": 0, "sku": "s0", "sha256": "0" * 64, "status": "ok",
        "error_message": None, "duplicate_of": None, "width": 4, "height": 4, "garments": 2, "main_garment": 0,
        "category": ["coat", "shoe"], "pattern": None, "season": ["winter"], "labels": row["labels"],
        "weights_sha256": MADE["weights_sha256"], "label_space": "toy",
    }  # fmt: skip
    assert [(label["group"], label["label"], label["id"]) for label in row["labels"]] == [
        ("category", "coat", "0"), ("category", "shoe", "1"), ("season", "winter", "0"),
    ]  # fmt: skip
    assert (coat["path"], coat["garment"], coat["is_main"], coat["category"]) == ("p0.jpg", 0, True, "coat")
    assert (coat["pattern"], coat["season"], coat["colour"], coat["part_of"]) == ("stripe", ["winter"], "navy", None)
    assert (shoe["garment"], shoe["is_main"], shoe["pattern"], shoe["season"]) == (1, False, None, None)
    assert coco.decode({"size": [4, 4], "counts": coat["mask"].encode()}).tolist() == COAT.garments[0].mask.tolist()
    assert [float(x) for x in coat["embedding"]] == [0, 1, 2]
    assert tuple(coat[f"box_{side}"] for side in ("x", "y", "width", "height")) == (0, 0, 2, 2)


def test_parts_of_garments_follow_their_garment():
    coat, shoe = garment("coat"), garment("shoe")
    coat.parts.append(garment("shoe", score=0.3))
    written = garment_rows(schemas().garments, 7, photo(coat, shoe), 1)
    assert [(row["garment"], row["part_of"], row["is_main"]) for row in written] == [
        (0, None, False), (1, 0, False), (2, None, True),
    ]  # fmt: skip
    assert main_row(photo(coat, shoe), 1) == 2
    assert main_row(photo(coat, shoe), 0) == 0


def test_what_is_not_asked_for_has_no_column():
    plain = schemas(embedding=None, masks=False)
    assert not {"mask", "embedding", "shop_category"} & set(plain.garments.names)
    assert "mask" not in garment_rows(plain.garments, 0, COAT, None)[0]
    assert "shop_category_id" in schemas(shop=True).garments.names


def test_columns_that_came_in_never_hide_ours():
    ours = ["path", "status"]
    names = came_as(["sku", "Path", "catalog_path", "catalog_Path", "price"], ours)
    assert names == ["sku", "catalog_Path", "catalog_catalog_path", "catalog_catalog_catalog_Path", "price"]
    incoming = pa.schema([("path", pa.string()), ("weight", pa.float64())])
    assert schemas(incoming).photos.names[3:5] == ["catalog_path", "weight"]


# -- parts -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_parts_fill_up_and_the_last_is_short(tmp_path, form):
    with open_parts(tmp_path, MADE, form=form, part_size=3) as parts:
        parts.add(rows(0, COAT, "torn"))
        parts.add(rows(2, photo(), COAT, COAT, COAT, COAT))
        assert parts.next_position == 7
        assert [part.photos for part in read_manifest(tmp_path).parts] == [3, 3]
        parts.close()
    found = read_manifest(tmp_path)
    assert [(p.part, p.first, p.photos, p.garments, p.ok, p.failed) for p in found.parts] == [
        (0, 0, 3, 2, 2, 1), (1, 3, 3, 6, 3, 0), (2, 6, 1, 2, 1, 0),
    ]  # fmt: skip
    positions = [read_columns(file, ["position"], form).column(0).to_pylist() for file in found.files("photos")]
    assert positions == [[0, 1, 2], [3, 4, 5], [6]]
    of_garments = [read_columns(file, ["position"], form).column(0).to_pylist() for file in found.files("garments")]
    assert of_garments == [[0, 0], [3, 3, 4, 4, 5, 5], [6, 6]]


def test_a_csv_says_what_parquet_says(tmp_path):
    said = 'torn, "as" they say\nand more'
    answers = (COAT, said, photo())
    plain = tagged(tmp_path / "csv", *answers, form="csv", part_size=9)
    whole = tagged(tmp_path / "parquet", *answers, part_size=9)
    for name in ("photos", "garments"):
        (file,) = read_manifest(plain).files(name)
        text = read_columns(file, schemas().__getattribute__(name).names, "csv").to_pylist()
        assert len(text) == len(table(whole, name))
        for row, want in zip(text, table(whole, name), strict=True):
            for key, value in want.items():
                if isinstance(value, list):
                    assert json.loads(row[key]) == value
                elif isinstance(value, bool):
                    assert row[key] == str(value).lower()
                elif isinstance(value, float):
                    assert float(row[key]) == pytest.approx(value, rel=1e-6)
                else:
                    assert row[key] == (value if key in ("position", "occurrence") or value is None else str(value))


def test_a_run_goes_on_where_the_last_ended(tmp_path):
    tagged(tmp_path, COAT, COAT, COAT)
    with open_parts(tmp_path, MADE, part_size=2) as parts:
        assert parts.next_position == 3
        assert [parts.is_done(f"p{i}.jpg", 0) for i in range(4)] == [True, True, True, False]
        assert not parts.is_done("p0.jpg", 1)
        assert [parts.occurrence("p0.jpg"), parts.occurrence("p1.jpg"), parts.occurrence("p0.jpg")] == [0, 0, 1]
        parts.add(rows(3, COAT))
        parts.close()
    assert [row["position"] for row in table(tmp_path, "photos")] == [0, 1, 2, 3]


def test_what_is_not_closed_is_not_written(tmp_path):
    with open_parts(tmp_path, MADE, part_size=2) as parts:
        parts.add(rows(0, COAT, COAT, COAT))
    assert read_manifest(tmp_path).photos == 2


@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_the_same_bytes_are_answered_once_also_in_a_later_run(tmp_path, form):
    twin, columns = f"{0:064x}", schemas()
    tagged(tmp_path, COAT, "torn", form=form)
    with open_parts(tmp_path, MADE, form=form, part_size=9) as parts:
        parts.add(rows(2, COAT, sha256=twin))                    # of a photo of the run before
        parts.add(rows(3, COAT, COAT, sha256="cd" * 32))         # of each other
        parts.add(rows(5, COAT, sha256=f"{1:064x}"))             # of one that failed: nobody has its answer
        parts.close()
    names = ["position", "status", "duplicate_of", "category", "path", "sku", "weights_sha256", "width"]
    found = read_columns(read_manifest(tmp_path).files("photos")[-1], names, form).to_pylist()
    assert [(row["status"], row["duplicate_of"]) for row in found] == [
        ("duplicate", 0), ("ok", None), ("duplicate", 3), ("ok", None),
    ]  # fmt: skip
    assert [row["category"] is None for row in found] == [True, False, True, False]
    assert [row["width"] is None for row in found] == [True, False, True, False]
    assert found[0]["sku"] == "s2"
    assert {row["weights_sha256"] for row in found} == {MADE["weights_sha256"]}
    garments = read_columns(read_manifest(tmp_path).files("garments")[-1], ["position"], form).column(0).to_pylist()
    assert garments == [3, 3, 5, 5]
    assert read_manifest(tmp_path).parts[-1].duplicate == 2
    assert columns.photos.names == schemas().photos.names


# -- what a kill leaves ----------------------------------------------------------------------------------------


def test_a_part_that_is_not_in_the_manifest_is_not_there(tmp_path):
    tagged(tmp_path, COAT, COAT)
    for name in ("garments", "photos"):
        (tmp_path / name / "part-000001.parquet").write_bytes(b"half of it")
        (tmp_path / name / ".part-000001.4711.parquet").write_bytes(b"half of it")
        (tmp_path / name / "mine.txt").write_text("a note")
    assert read_manifest(tmp_path).photos == 2
    with open_parts(tmp_path, MADE):
        left = sorted(file.name for file in (tmp_path / "photos").iterdir())
    assert left == ["mine.txt", "part-000000.parquet"]


def test_a_torn_line_of_the_manifest_does_not_count(tmp_path):
    tagged(tmp_path, COAT, COAT, COAT, COAT)
    manifest = tmp_path / MANIFEST
    whole = manifest.read_bytes()
    for cut in range(len(whole) - 1, whole[:-1].rfind(b"\n"), -1):
        manifest.write_bytes(whole[:cut])
        assert read_manifest(tmp_path).photos == 2
    with open_parts(tmp_path, MADE, part_size=2) as parts:
        assert parts.next_position == 2
        parts.add(rows(2, COAT, COAT))
    assert manifest.read_bytes() == whole


def test_a_full_disk_leaves_the_parts_before_it(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    with open_parts(tmp_path, MADE, part_size=1) as parts:
        parts.add(rows(0, COAT))
        manifest = (tmp_path / MANIFEST).stat().st_ino
        monkeypatch.setattr("pyarrow.parquet.ParquetWriter", full)
        with pytest.raises(UnwritableError, match=r"part-000001\.parquet: cannot be written: No space left"):
            parts.add(rows(1, COAT))
        monkeypatch.undo()
        monkeypatch.setattr("os.fsync", lambda file: full() if os.fstat(file).st_ino == manifest else None)
        with pytest.raises(UnwritableError, match=r"manifest\.jsonl: cannot be written: No space left"):
            parts.add(rows(1, COAT))
        monkeypatch.undo()
    assert read_manifest(tmp_path).photos == 1
    assert (tmp_path / MANIFEST).read_bytes().endswith(b"\n")


# -- refusals --------------------------------------------------------------------------------------------------


def test_different_weights_and_settings_never_mix(tmp_path):
    tagged(tmp_path, COAT)
    with (
        pytest.raises(CatalogError, match=r"by weights toy \(abababab\), and these are new \(cccccccc\): different"),
        open_parts(tmp_path, MADE | {"weights": "new", "weights_sha256": "c" * 64}),
    ):
        pass
    with (
        pytest.raises(CatalogError, match="made with flip None and not True: choose another --out, or ask as before"),
        open_parts(tmp_path, MADE | {"flip": True}),
    ):
        pass
    with (
        pytest.raises(CatalogError, match=r"another version of hemline \(answers of version before 1\.3, and"),
        open_parts(tmp_path, MADE | {"schema_version": "1.3"}),
    ):
        pass
    with pytest.raises(CatalogError, match="made with format 'parquet' and not 'csv'"), open_parts(
        tmp_path, MADE, form="csv"
    ):
        pass
    assert read_manifest(tmp_path).photos == 1


def test_a_folder_of_other_things_is_not_taken(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(CatalogError, match="holds other things than tags"), open_parts(tmp_path, MADE):
        pass
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.txt"]
    with pytest.raises(CatalogError, match=r"no tags of `hemline tag` stand here \(manifest.jsonl is not there\)"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("text", ["", "{}\n", "no\n", '{"format": 1, "form": "csv", "made_with": {}}\n{"part": 1}\n'])
def test_a_damaged_manifest_is_one_sentence(tmp_path, text):
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(CatalogError, match=r"manifest.jsonl: damaged"):
        read_manifest(tmp_path)


def test_a_newer_format_is_not_guessed_at(tmp_path):
    (tmp_path / MANIFEST).write_text('{"format": 2}\n')
    with pytest.raises(CatalogError, match="of format 2, and this version reads 1; upgrade hemline"):
        read_manifest(tmp_path)


def test_nobody_else_writes_there_meanwhile(tmp_path):
    pid = 0
    with open_parts(tmp_path, MADE):
        pid = os.fork()                                          # record locks keep out other processes
        if pid == 0:
            try:
                with open_parts(tmp_path, MADE):
                    os._exit(1)
            except ConfigError as error:
                os._exit(0 if "is tagging into it" in str(error) else 2)
            os._exit(3)
        assert os.waitpid(pid, 0)[1] == 0


def test_an_index_keeps_apart_what_looks_alike():
    index = Index()
    index.add([("a", 1), ("a1", 0), ("\udcff", 0)])
    assert [index.is_done(*key) for key in (("a", 1), ("a1", 0), ("\udcff", 0), ("a", 11), ("a", 0), ("", 0))] == [
        True, True, True, False, False, False,
    ]  # fmt: skip
    assert (index.twin("00", 5), index.twin("00", 9), index.twin("0000", 9)) == (5, 5, 9)
    assert SKU.names == ["sku"]


def test_what_a_kill_leaves_before_anything_stands_is_no_other_thing(tmp_path):
    (tmp_path / ".manifest.123.jsonl").touch()
    (tmp_path / ".lock").touch()
    tagged(tmp_path, COAT)
    assert sorted(file.name for file in tmp_path.iterdir()) == [".lock", "garments", "manifest.jsonl", "photos"]


def test_columns_that_come_in_another_order_do_not_mix(tmp_path):
    columns = {"sku": "string", "colour": "string"}
    with open_parts(tmp_path, MADE | {"columns": columns}):
        pass
    with open_parts(tmp_path, MADE | {"columns": dict(columns)}):
        pass
    turned = dict(reversed(columns.items()))
    with pytest.raises(CatalogError, match="columns"), open_parts(tmp_path, MADE | {"columns": turned}):
        pass


def test_a_full_temporary_folder_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    index = Index()
    index._base.execute("PRAGMA max_page_count = 8")          # what a full disk says
    with pytest.raises(UnwritableError, match=f"{tmp_path}: the temporary folder .* full.*TMPDIR"):
        index.add((f"p{number}", 0) for number in range(10_000))
    index = Index()
    index._base.execute("PRAGMA max_page_count = 8")
    with pytest.raises(UnwritableError, match="TMPDIR"):
        any(index.occurrence(f"p{number}") for number in range(10_000))


def test_a_part_that_is_written_takes_the_products_away(tmp_path):
    folder = tagged(tmp_path / "out", COAT)
    (folder / "products").mkdir()
    (folder / "products" / "part-000000.parquet").touch()
    with open_parts(folder, MADE):
        pass
    assert (folder / "products").exists()
    tagged(folder, COAT)
    assert not (folder / "products").exists()
