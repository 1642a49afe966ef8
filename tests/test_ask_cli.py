"""`hemline similar`, `tag --product` and `tag --diff` as commands: what they print, write and refuse."""

import csv
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest
from PIL import Image
from typer.testing import CliRunner

from hemline.catalog.tables import make_schemas
from hemline.catalog.work import Plan
from hemline.checkpoint import save
from hemline.cli import app
from hemline.tagger import Tagger

from .exported import canvases, small_network
from .stocked import Line, stock
from .tagged import garment, photo

CAME = pa.schema([("sku", pa.string()), ("image", pa.string())])


def run(*arguments: object) -> tuple[int, str, str]:
    answer = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert answer.exception is None or isinstance(answer.exception, SystemExit)
    return answer.exit_code, answer.stdout, " ".join(answer.stderr.split())


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos, the weights of a small network, shop.csv, and `tags`: what it says of the first three photos."""
    folder = tmp_path_factory.mktemp("shop")
    network, metadata = small_network()
    weights = folder / "small.safetensors"
    save(weights, network.state_dict(), metadata)
    pixels, _ = canvases(4)
    paths = [folder / f"{number}.png" for number in range(4)]
    for path, one in zip(paths, pixels, strict=True):
        Image.fromarray(one).save(path)
    with (folder / "shop.csv").open("w", newline="") as file:
        csv.writer(file).writerows([CAME.names, *([f"s{i // 2}", path.name] for i, path in enumerate(paths[:3]))])
    tagger = Tagger.load(weights, runtime="torch")
    results = [tagger(path) for path in paths[:3]]
    embedded = next(piece.embedding for piece in results[0].garments_and_parts if piece.embedding is not None)
    columns = make_schemas(results[0].space, CAME, embedding=len(embedded))
    made = Plan(weights=str(weights), incoming=CAME).made_with()
    del made["columns"]                                             # `stock` says them
    lines = [Line(f"s{i // 2}", result, path=str(paths[i])) for i, result in enumerate(results)]
    stock(folder / "tags", *lines, incoming=CAME, columns=columns, **made)
    return folder


def similar(shop: Path, *more: object) -> tuple[int, str, str]:
    weights = next(shop.glob("*.safetensors"))
    return run("similar", shop / "0.png", "--in", shop / "tags", "--weights", weights, "--runtime", "torch", *more)


def test_similar_finds_the_photo_itself_first_and_draws_what_it_found(shop: Path, tmp_path: Path) -> None:
    code, out, _ = similar(shop, "--json", "--any-category", "--top", "2", "--draw", tmp_path / "alike.png")
    first, *rest = json.loads(out)
    assert code == 0
    assert (first["path"], first["similarity"]) == (str(shop / "0.png"), pytest.approx(1, abs=0.01))
    assert [hit["similarity"] <= first["similarity"] for hit in rest] == [True]
    with Image.open(tmp_path / "alike.png") as sheet:
        assert sheet.width == 3 * (240 + 12) + 12
    code, out, _ = similar(shop, "--top", "1")
    assert code == 0
    assert "0.png" in out


def test_similar_refuses_in_a_sentence(shop: Path, tmp_path: Path) -> None:
    assert similar(shop, "--draw", tmp_path / "alike.gif")[::2] == (2, "error: --draw writes .jpg or .png, "
                                                                   "not 'alike.gif'")  # fmt: skip
    code, _, err = run("similar", shop / "0.png", "--in", shop / "tags")
    assert code == 2
    assert "name the others by --weights" in err
    code, _, err = similar(shop, "--garment", "umbrella")
    assert code == 2
    assert "no garment 'umbrella'; it shows 0 " in err
    code, _, err = run("similar", shop / "none.png", "--in", shop / "tags", "--weights", *shop.glob("*.safetensors"))
    assert code == 2
    assert "none.png" in err


def test_the_index_stands_elsewhere_where_it_cannot_stand_in_the_folder(shop: Path, tmp_path: Path) -> None:
    tags = tmp_path / "tags"
    tags.mkdir()
    for name in ("photos", "garments", "manifest.jsonl"):
        (tags / name).symlink_to(shop / "tags" / name)
    (tags / "index").write_text("")                                # no folder can be made there
    weights = next(shop.glob("*.safetensors"))
    asked = ("similar", shop / "0.png", "--in", tags, "--weights", weights, "--runtime", "torch", "--json")
    code, _, err = run(*asked)
    assert code == 2
    assert err.endswith("name another folder for it by --index DIR")
    code, out, _ = run(*asked, "--index", tmp_path / "index")
    assert (code, len(json.loads(out)) > 0) == (0, True)
    assert (tmp_path / "index" / "index.json").exists()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").write_text("dear")
    code, _, err = run(*asked, "--index", tmp_path / "other")
    assert code == 2
    assert "holds other things" in err


def test_products_are_voted_when_all_photos_are_done(shop: Path) -> None:
    weights = next(shop.glob("*.safetensors"))
    asked = ("tag", shop / "shop.csv", "--out", shop / "tags", "--weights", weights, "--workers", 1)
    code, _, err = run(*asked, "--product", "sku")
    assert code == 0, err
    assert "2 products of 3 photos" in err
    rows = pyarrow.parquet.read_table(shop / "tags" / "products" / "part-000000.parquet").to_pylist()
    assert [(row["sku"], row["positions"]) for row in rows] == [("s0", [0, 1]), ("s1", [2])]
    code, _, err = run(*asked, "--product", "colour")
    assert code == 2
    assert "--product colour: no such column came in with the photos; there are: sku, image" in err


def test_a_diff_is_told_as_json_and_written_row_by_row(tmp_path: Path) -> None:
    coat, shoe = photo(garment("coat")), photo(garment("shoe"))
    old = stock(tmp_path / "old", Line("a", coat), Line("b", coat))
    new = stock(tmp_path / "new", Line("a", coat), Line("b", shoe), form="csv")
    code, out, _ = run("tag", "--diff", old, new, "--json", "--out", tmp_path / "changes.csv")
    said = json.loads(out)
    assert code == 1
    assert (said["both"], said["changed"], said["differs"]) == (2, 1, True)
    assert said["moves"]["main category"] == [{"old": "coat", "new": "shoe", "photos": 1}]
    with (tmp_path / "changes.csv").open(newline="") as file:
        assert [(row["path"], row["what"], row["old"], row["new"]) for row in csv.DictReader(file)] == [
            ("p1.jpg", "categories", '["coat"]', '["shoe"]'), ("p1.jpg", "main category", "coat", "shoe"),
        ]  # fmt: skip
    code, out, _ = run("tag", "--diff", old, old)
    assert code == 0
    assert "Of 2 photos in both, 0 differ." in out
    for wrong, says in (
        (("--diff", old, tmp_path / "nowhere"), "nowhere: no tags"),
        (("--diff", old, new, "--out", tmp_path / "changes.txt"), "ends in .parquet or .csv"),
        (("photos/", "--diff", old, new), "leave out CATALOGUE"),
        (("photos/", "--out", tmp_path / "x", "--json"), "--json"),
    ):
        code, _, err = run("tag", *wrong)
        assert code == 2
        assert says in err
    assert not (tmp_path / "x").exists()
