"""`hemline data check --fix`: what has errors is left out of the copy, which checks clean, and the original stays."""

import hashlib
import json
import shutil

import pytest
from pycocotools.coco import COCO  # type: ignore[import-untyped]
from typer.testing import CliRunner

from hemline.cli import app
from hemline.data_commands.fix import LeaveOut, rewrite_csv
from tests.broken import SIZE, TRAIN, Coco, draw, imaterialist

RUN = CliRunner()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HEMLINE_CACHE", str(tmp_path / "cache"))


def command(*words):
    return RUN.invoke(app, ["data", "check", *map(str, words), "workers=0"])


def contents(folder):
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def broken_coco(folder):
    """A COCO set with an error in each of photos 1 to 8."""
    coco = Coco(folder)
    garments = coco.sides["train"]["annotations"]
    size = list(SIZE)
    garments[2]["segmentation"] = {"size": size, "counts": [99]}           # photo 1: a bad mask
    garments[4]["segmentation"] = {"size": size, "counts": [1728]}         # photo 2: an empty one
    garments[6]["category_id"] = 77                                        # photo 3
    coco.photo(4).unlink()
    coco.photo(5).write_bytes(b"no photo")
    shutil.copy(coco.photo(TRAIN), coco.photo(6))                          # also on the other side
    garments.append({**garments[14], "category_id": 3})                    # photo 7: an id twice
    garments.append({"id": 9999, "image_id": 555, "category_id": 1, "segmentation": []})
    draw(coco.photo(8), 8, (48, 80))
    return coco


def test_a_coco_set(tmp_path):
    coco = broken_coco(tmp_path / "coco")
    folder, out = coco.save(), tmp_path / "out"
    before = contents(folder)
    result = command(f"coco={folder}", "--fix", out)
    assert result.exit_code == 1
    assert contents(folder) == before
    copy = out / "coco"
    again = json.loads(command(f"coco={copy}", "--json").stdout)
    assert again["errors"] == 0
    photos = {str(file.relative_to(copy)) for file in copy.rglob("*.jpg")}
    gone = {1, 3, 4, 5, 6, 8}
    assert photos == {str(coco.photo(i).relative_to(folder)) for i in range(16) if i not in gone}
    train = COCO(copy / "annotations/instances_train.json")
    assert sorted(train.imgs) == [0, 2, 7, 9, 10, 11]
    assert sorted(train.getAnnIds([2])) == [201]                           # without the empty mask
    old = {one["id"]: one for one in coco.sides["train"]["annotations"][:24]}
    assert all(one == old[id] for id, one in train.anns.items())
    assert sorted(train.anns) == [i for i in sorted(old) if i // 100 not in gone and i != 200]
    assert train.dataset["info"] == {"year": 2020}
    assert (copy / "annotations/instances_val.json").is_file()
    assert (copy / "train/000.jpg").samefile(folder / "train/000.jpg")

    report = json.loads((out / "report.json").read_text())
    (done,) = report["fixed"]
    assert (done["photos"], done["rows_left_out"], done["still_wrong"]) == (10, 2 * 6 + 1 + 2, [])
    assert sorted((x["kind"], x["row"]) for x in done["left_out_for"]) == [
        ("bad mask", "annotation 100"),
        ("duplicate annotation id", "annotation 700"),
        ("duplicate photo across the split", ""),
        ("empty mask", "annotation 200"),
        ("missing photo", "image 4"),
        ("unknown category", "annotation 300"),
        ("unknown image", "annotation 9999"),
        ("unreadable photo", ""),
        ("unusable labels", ""),
    ]
    text = (out / "report.md").read_text()
    assert text.count("\n- ") == 9
    assert str(coco.photo(5)) in text
    assert not list(out.rglob(".*"))                                       # no half-written files


def test_an_imaterialist_csv(tmp_path):
    rows = [
        "000,1 5,48,36,99,",                                               # line 82: takes photo 000 along
        "001,1 5 3 2,48,36,0,",                                            # a bad mask: photo 001
        "lost,1 5,48,36,0,",
        "002,1 300,48,36,10,",                                             # fine
    ]
    folder = imaterialist(tmp_path / "imat", rows)
    text = (folder / "train.csv").read_text()
    twin = text.splitlines()[10]                                           # a row of photo 004, twice
    (folder / "train.csv").write_text(text + twin + "\n")
    (folder / "train/003.jpg").write_bytes(b"")
    before = contents(folder)
    out = tmp_path / "out"
    result = command(f"imaterialist2020={folder}", "--fix", out)
    assert result.exit_code == 1
    assert contents(folder) == before
    copy = out / "imaterialist2020"
    lines = (copy / "train.csv").read_text().splitlines()
    assert lines == [line for line in text.splitlines() if line[:3] not in ("000", "001", "003", "los")]
    assert sorted(file.name for file in (copy / "train").iterdir()) == [f"{i:03d}.jpg" for i in (2, *range(4, 40))]
    again = json.loads(command(f"imaterialist2020={copy}", "--json").stdout)
    assert again["errors"] == 0
    assert json.loads((out / "report.json").read_text())["fixed"][0]["rows_left_out"] == 3 + 3 + 1 + 2 + 1


def test_a_whole_set_is_copied_whole(tmp_path):
    folder = Coco(tmp_path / "coco").save()
    assert command(f"coco={folder}", "--fix", tmp_path / "out").exit_code == 0
    copy = tmp_path / "out/coco"
    assert {k: v for k, v in contents(copy).items() if k.endswith("jpg")} == {
        k: v for k, v in contents(folder).items() if k.endswith("jpg")
    }
    for name in ("train", "val"):
        file = f"annotations/instances_{name}.json"
        assert json.loads((copy / file).read_text()) == json.loads((folder / file).read_text())


def test_rows_of_several_lines_stay_as_they_are(tmp_path):
    source, target = tmp_path / "a.csv", tmp_path / "b.csv"
    text = '\ufeffid;image;note\r\n1;a.jpg;"two\r\nlines; \xe4"\r\n\r\n2;b.jpg;x\r\n3;"c.jpg";\r\n4;a;y\r\n5;d.jpg;z'
    source.write_bytes(text.encode())
    leave = LeaveOut(alone={6}, with_photo=set(), photos={"c"})
    _, named, lost = rewrite_csv(source, target, "image", leave, several_lines=True)
    kept = '\ufeffid;image;note\r\n1;a.jpg;"two\r\nlines; \xe4"\r\n\r\n2;b.jpg;x\r\n4;a;y\r\n5;d.jpg;z'
    assert target.read_bytes() == kept.encode()
    assert (named - {""}, lost) == ({"a", "b", "d"}, 1)
    _, named, lost = rewrite_csv(source, target, "image", LeaveOut(with_photo={2}), several_lines=True)
    assert (named - {""}, lost) == ({"b", "c", "d"}, 2)                    # line 7 is of the same photo
    assert target.read_bytes().startswith("\ufeffid;image;note\r\n\r\n2".encode())


def test_a_table(tmp_path):
    folder = tmp_path / "shop"
    lines = ["image,category,colour"]
    for number in range(40):
        draw(folder / f"photos/{number:03d}.jpg", number)
        lines.append(f"photos/{number:03d}.jpg,{('dress', 'coat')[number % 2]},{('red', 'blue')[number % 3 % 2]}")
    lines.append("photos/lost.jpg,coat,red")
    lines.append("photos/005.jpg,dress,red")                               # a coat above
    (folder / "table.csv").write_text("\n".join(lines) + "\n")
    (folder / "photos/007.jpg").write_bytes(b"")
    out = tmp_path / "out"
    assert command(f"table={folder / 'table.csv'}", "--fix", out).exit_code == 1
    copy = out / "table/table.csv"
    gone = ("photos/005", "photos/007", "photos/lost")
    assert copy.read_text().splitlines() == [line for line in lines if not line.startswith(gone)]
    assert len(list((out / "table/photos").iterdir())) == 38
    assert json.loads(command(f"table={copy}", "--json").stdout)["errors"] == 0


def test_folders_that_are_refused(tmp_path):
    folder = Coco(tmp_path / "coco").save()
    before = contents(folder)
    for out, why in ((folder / "annotations", "not empty"), (folder, "not empty"), (folder / "new", "lies in")):
        result = command(f"coco={folder}", "--fix", out)
        assert result.exit_code == 2
        assert why in result.stderr
    assert contents(folder) == before


def test_a_format_that_is_not_written(tmp_path):
    result = RUN.invoke(app, ["data", "check", "synthetic", "data.0.count=4", "--fix", str(tmp_path / "out")])
    assert "synthetic is in a format that is not written" in result.stdout
    assert [file.name for file in sorted((tmp_path / "out").iterdir())] == ["report.json", "report.md"]


def test_ids_off_by_one_are_not_copied(tmp_path):
    """What is left of such a set names other things than it shows."""
    coco = Coco(tmp_path / "coco")
    for side in coco.sides.values():
        for garment in side["annotations"]:
            garment["category_id"] += 1
    out = tmp_path / "out"
    result = command(f"coco={coco.save()}", "--fix", out)
    assert result.exit_code == 1
    assert "put them right first" in result.output
    assert not list(out.rglob("*.jpg"))
    assert json.loads((out / "report.json").read_text())["fixed"][0]["not_written"].startswith("its ids are off by one")
