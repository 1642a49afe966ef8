"""What tagging makes of photos: the rows of a worker say what the API says of each photo alone."""

import hashlib
import pickle
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from hemline import Tagger
from hemline.catalog import work
from hemline.catalog.items import Item
from hemline.catalog.work import Asked, Plan, Worker
from hemline.result import SCHEMA_VERSION

from .exported import copied


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return str(copied(tmp_path_factory.mktemp("weights"), ".onnx").with_suffix(".onnx"))


def photo(number: int) -> bytes:
    """A photo of many colours; one a number."""
    random = np.random.default_rng(number)
    coarse = random.integers(0, 256, (6, 4, 3), np.uint8)
    file = BytesIO()
    Image.fromarray(coarse.repeat(16, 0).repeat(16, 1)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def asked(tmp_path):
    """Six photos: 2 has the bytes of 0, 3 is torn, 4 has its bytes, 5 is a row without a photo."""
    contents = [photo(0), photo(1), photo(0), photo(2)[:200], photo(2)[:200]]
    for number, content in enumerate(contents):
        (tmp_path / f"{number}.png").write_bytes(content)
    items = [Item(str(tmp_path / f"{number}.png"), {"sku": f"s{number}"}) for number in range(5)]
    items.append(Item("shop.csv, line 7", {"sku": None}, problem="shop.csv, line 7: no path"))
    return [Asked(number + 10, 0, item) for number, item in enumerate(items)]


def test_rows_say_what_the_api_says_of_each_photo_alone(weights, asked):
    work = Worker(Plan(weights, device="cpu"))
    photos, garments = (batch.to_pylist() for batch in work(asked))
    tagger = Tagger.load(weights, device="cpu")
    assert [row["position"] for row in photos] == [10, 11, 12, 13, 14, 15]
    assert [row["status"] for row in photos] == ["ok", "ok", "duplicate", "failed", "failed", "failed"]
    assert [row["duplicate_of"] for row in photos] == [None, None, 10, None, None, None]
    for row, one in zip(photos[:2], asked, strict=False):
        result = tagger(one.item.path)
        mine = [x for x in garments if x["position"] == one.position]
        assert [x["category"] for x in mine] == [x.category for x in result.garments_and_parts]
        assert row["garments"] == len(mine) > 0
        assert row["category"] == [x.label for x in result.labels if x.group == "category"]
        assert (row["height"], row["width"]) == result.size
        for x, garment in zip(mine, result.garments_and_parts, strict=True):
            want = garment.to_dict()
            assert x["score"] == pytest.approx(garment.score, abs=1e-4)
            assert x["mask"] == (want["mask"] and want["mask"]["counts"])
            assert [c["name"] for c in x["colours"]] == [c.name for c in garment.colours]
            assert [a["label"] for a in x["attributes"]] == [a.label for a in garment.attributes]
            if garment.embedding is not None:
                np.testing.assert_allclose(np.float32(x["embedding"]), garment.embedding, rtol=2e-3, atol=1e-4)
        assert sum(x["is_main"] for x in mine) == 1
        assert mine[row["main_garment"]]["is_main"]
    assert {x["position"] for x in garments} == {10, 11}
    assert photos[2]["category"] is None


def test_what_failed_says_why_by_its_name(weights, asked):
    photos = Worker(Plan(weights, device="cpu"))(asked)[0].to_pylist()
    torn, twin, nothing = photos[3:]
    for row, one in ((torn, asked[3]), (twin, asked[4])):
        assert row["error_message"].startswith(one.item.path)
        assert "the file ends before the picture does" in row["error_message"]
        assert row["sha256"] == hashlib.sha256(photo(2)[:200]).hexdigest()
    assert (nothing["error_message"], nothing["sha256"]) == ("shop.csv, line 7: no path", None)


def test_photos_do_not_depend_on_those_beside_them(weights, asked):
    work = Worker(Plan(weights, device="cpu"))
    together = work(asked[:2])
    alone = [work(asked[:1]), work(asked[1:2])]
    for name in ("photos", "garments"):
        assert getattr(together, name).to_pylist() == [
            row for rows in alone for row in getattr(rows, name).to_pylist()
        ]


def test_what_is_not_asked_for_is_not_written(weights, asked):
    rows = Worker(Plan(weights, device="cpu", masks=False, embeddings=False))(asked[:1])
    assert not {"mask", "embedding"} & set(rows.garments.schema.names)


def test_a_plan_says_what_two_runs_must_share(weights):
    said = Plan(weights).made_with()
    assert said["weights_sha256"] == Plan(weights, runtime="onnxruntime", device="cpu").made_with()["weights_sha256"]
    assert Plan(weights, runtime="onnxruntime").made_with() == said, "how it is computed is left out"
    assert said["schema_version"] == SCHEMA_VERSION, "other answers have other columns"
    for change in ({"flip": True}, {"min_score": 0.5}, {"masks": False}, {"hint": "title"}):
        assert Plan(weights, **change).made_with() != said


@pytest.mark.parametrize("has", [True, False])
def test_fastest_is_recorded_as_what_it_comes_to(weights, monkeypatch, has):
    monkeypatch.setattr(work, "cpu_has_bf16", lambda: has)
    for plan, dtype in (
        (Plan(weights, dtype="fastest"), "bf16" if has else "f32"),
        (Plan(weights, dtype="fastest", runtime="torch"), "f32"),
        (Plan(weights), "f32"),
    ):
        assert plan.made_with()["dtype"] == dtype
        monkeypatch.setattr(work, "cpu_has_bf16", lambda: not has)
        assert pickle.loads(pickle.dumps(plan)).computes_in == dtype, "other machines are told"
        monkeypatch.setattr(work, "cpu_has_bf16", lambda: has)


def test_a_vocabulary_in_the_home_folder(weights, monkeypatch, tmp_path):
    (tmp_path / "own.yaml").write_text("{name: x, version: 1, colours: {words: {red: crimson}}}")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert Plan(weights, vocabulary="~/own.yaml").made_with()["vocabulary"][:2] == ["x", "1"]
