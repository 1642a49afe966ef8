"""The command line: what stands on stdout and stderr, the exit codes, the files that are written."""

import base64
import json
import re
import subprocess
import sys
from importlib.metadata import version
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # jsonschema ships no types
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as rle  # type: ignore[import-untyped]  # pycocotools ships no types
from pycocotools.coco import COCO  # type: ignore[import-untyped]  # pycocotools ships no types
from typer.testing import CliRunner
from typer.testing import Result as Ran

from hemline import predict as predict_module
from hemline.cli import app
from hemline.config import Config, config_text
from hemline.errors import DeviceError, StoppedError
from hemline.predict import unique_stems
from hemline.tagger import Tagger
from tests import primary
from tests.primary import paint

# pycocotools 2.0.11 lags behind numpy 2's copy keyword when it unpacks masks
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")
SCHEMA = json.loads(files("hemline").joinpath("result.schema.json").read_text(encoding="utf-8"))


@pytest.fixture(autouse=True)
def _colour_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(
        weights: object = None, *, runtime: str, device: str, dtype: str, flip: bool, min_score: float | None,
        instances: bool, vocabulary: str | None, precision: None,
    ) -> Tagger:  # fmt: skip
        tagger = primary.colour_tagger()
        return Tagger(tagger.runtime, tagger.metadata, flip=flip, min_score=min_score, instances=instances)

    monkeypatch.setattr(Tagger, "load", load)


def run(*arguments: object, stdin: bytes | None = None) -> Ran:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], input=stdin, catch_exceptions=False)


def answers(*arguments: object, stdin: bytes | None = None, code: int = 0) -> list[dict[str, Any]]:
    ran = run("predict", *arguments, "--json", stdin=stdin)
    assert ran.exit_code == code, ran.stderr
    entries: list[dict[str, Any]] = json.loads(ran.stdout)
    jsonschema.validate(entries, SCHEMA)
    return entries


def categories(entry: dict[str, Any]) -> list[str]:
    return sorted(garment["category"] for garment in entry["garments"])


def test_a_table_for_each_photo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)                  # so that names are short
    ran = run("predict", paint(Path("[b]a.png"), "red", "lime"), paint(Path("grey.png")))
    assert ran.exit_code == 0
    lines = ran.stdout.splitlines()
    assert "[b]a.png  48 x 60 pixels" in lines[0], "a name is no markup"
    text = ran.stdout
    for said in ("jacket", "upper body", "█ red ", "#ff0000", "100 %", "textile pattern: plain", "0.88"):
        assert said in text
    assert re.search(r"jacket +0\.9\d +1\d %", text), "score and share of the photo"
    assert "pants, jeans 0.95" in text.split("the photo as a whole")[1]
    assert "no garment found" in text.split("grey.png")[1]
    assert max(len(line) for line in lines) <= 100
    assert ran.stderr == "primary weights, colours on by eye in f32\n", "which device it runs on"


def test_json_is_always_a_list_and_alone_on_stdout(tmp_path: Path) -> None:
    photo = paint(tmp_path / "a.png", "red")
    (entry,) = answers(photo)
    assert entry["photo"] == str(photo)
    assert entry["size"] == {"height": 60, "width": 48}
    assert categories(entry) == ["jacket"]
    two = answers(photo, paint(tmp_path / "é.png", "blue"))
    assert [categories(entry) for entry in two] == [["jacket"], ["hat"]]
    assert two[0] == entry


def test_json_lines(tmp_path: Path) -> None:
    photos = [paint(tmp_path / f"{i}.png", "red") for i in range(3)]
    ran = run("predict", *photos, tmp_path / "none.jpg", "--jsonl", "--batch-size", 2)
    assert ran.exit_code == 1
    entries = [json.loads(line) for line in ran.stdout.splitlines()]
    assert [entry["photo"] for entry in entries] == [str(p) for p in [*photos, tmp_path / "none.jpg"]]
    jsonschema.validate(entries, SCHEMA)


def test_files_folders_globs_each_photo_once(tmp_path: Path) -> None:
    one = paint(tmp_path / "shop" / "one.png", "red")
    paint(tmp_path / "shop" / "deep" / "two.jpg", "lime")
    paint(tmp_path / "new" / "three.png", "blue")
    entries = answers(one, tmp_path / "shop", tmp_path / "new" / "*.png")
    assert [Path(entry["photo"]).name for entry in entries] == ["one.png", "two.jpg", "three.png"]


def test_stdin(tmp_path: Path) -> None:
    photo = paint(tmp_path / "a.png", "red")
    entries = answers("-", photo, stdin=photo.read_bytes())
    assert [entry["photo"] for entry in entries] == ["stdin", str(photo)]
    assert entries[0] | {"photo": ""} == entries[1] | {"photo": ""}
    (failed,) = answers("-", stdin=b"", code=2)
    assert failed["photo"] == "stdin"
    assert "0 bytes" in failed["error"]


def test_bad_photos_do_not_stop_the_others(tmp_path: Path) -> None:
    bad = tmp_path / "bad.jpg"
    bad.write_text("no photo")
    good = paint(tmp_path / "good.png", "red")
    entries = answers(bad, good, tmp_path / "missing.jpg", code=1)
    assert ["error" in entry for entry in entries] == [True, False, True]
    ran = run("predict", bad, good)
    assert ran.exit_code == 1
    assert ran.stderr.count("bad.jpg") == 1, "named once"
    assert "jacket" in ran.stdout
    assert run("predict", bad).exit_code == 2, "nothing could be done"


def test_mask_formats_say_the_same(tmp_path: Path) -> None:
    photo = paint(tmp_path / "a.png", "red")

    def mask(form: str) -> Any:
        return answers(photo, "--mask-format", form)[0]["garments"][0]["mask"]

    packed = mask("rle")
    truth = rle.decode(packed)
    assert truth.shape == (60, 48)
    assert truth[4:18, 8:40].mean() > 0.9
    image = Image.open(BytesIO(base64.b64decode(mask("png"))))
    np.testing.assert_array_equal(np.asarray(image), truth)
    polygon = rle.frPyObjects(mask("polygons"), 60, 48)
    assert rle.iou([packed], polygon, [0])[0, 0] > 0.9
    assert mask("none") is None


def test_files_of_equal_stems_do_not_meet(tmp_path: Path) -> None:
    photos = [paint(tmp_path / folder / "x.png", colour) for folder, colour in (("a", "red"), ("b", "lime"))]
    out = tmp_path / "out"
    assert run("predict", *photos, "--draw", out, "--masks", out, "--cutouts", out).exit_code == 0
    assert sorted(path.name for path in out.iterdir()) == [
        "x-2.1.pants_jeans.cutout.png",
        "x-2.1.pants_jeans.mask.png",
        "x-2.drawn.jpg",
        "x.1.jacket.cutout.png",
        "x.1.jacket.mask.png",
        "x.drawn.jpg",
    ]
    with Image.open(out / "x.1.jacket.mask.png") as mask:
        assert mask.size == (48, 60)
    with Image.open(out / "x-2.1.pants_jeans.cutout.png") as cutout:
        assert cutout.mode == "RGBA"
        rgba = np.asarray(cutout)
    inside = rgba[rgba[..., 3] == 255]
    assert (inside[:, 1] > inside[:, 0]).mean() > 0.8, "the green band"
    with Image.open(out / "x.drawn.jpg") as drawn:
        assert drawn.height >= 60


def test_coco_of_several_photos(tmp_path: Path) -> None:
    photos = [paint(tmp_path / "a.png", "red", "lime"), paint(tmp_path / "b.png"), paint(tmp_path / "c.png", "blue")]
    file = tmp_path / "new" / "coco.json"
    assert run("predict", *photos, tmp_path / "missing.png", "--coco", file).exit_code == 1
    coco = COCO(file)
    assert {image["id"]: image["file_name"] for image in coco.imgs.values()} == dict(enumerate(map(str, photos), 1))
    drawn = {(a["image_id"], coco.cats[a["category_id"]]["name"]) for a in coco.anns.values()}
    assert drawn == {(1, "jacket"), (1, "pants, jeans"), (3, "hat")}
    assert sorted(coco.anns) == [1, 2, 3]
    for annotation in coco.anns.values():
        assert coco.annToMask(annotation).sum() == annotation["area"]


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    photo = paint(tmp_path / "a.png", "red")
    ran = run("predict", photo, "--draw", photo / "below a file")
    assert ran.exit_code == 2
    assert "below a file: cannot be made a folder" in ran.stderr
    assert ran.stdout == ""


def test_a_folder_where_the_coco_file_is_to_be(tmp_path: Path) -> None:
    ran = run("predict", paint(tmp_path / "a.png", "red"), "--coco", tmp_path, "--json")
    assert (ran.exit_code, ran.stdout) == (2, ""), "before any photo is read"
    assert f"error: {tmp_path} is a folder: name a file in it" in ran.stderr


def test_an_error_in_the_middle_leaves_whole_json(tmp_path: Path) -> None:
    photos = [paint(tmp_path / f"{i}.png", "red") for i in range(3)]
    for stands, answered in (("1.drawn.jpg", 1), ("0.drawn.jpg", 0)):
        out = tmp_path / f"out{answered}"
        (out / stands).mkdir(parents=True)
        ran = run("predict", *photos, "--draw", out, "--json")
        assert ran.exit_code == 2
        assert [entry["photo"] for entry in json.loads(ran.stdout)] == [str(photo) for photo in photos[:answered]]
        assert f"{stands}: cannot be written" in ran.stderr


def test_one_form_of_json_at_a_time(tmp_path: Path) -> None:
    ran = run("predict", paint(tmp_path / "a.png", "red"), "--json", "--jsonl")
    assert (ran.exit_code, ran.stdout) == (2, "")
    assert "--json and --jsonl are two forms" in ran.stderr


def test_min_score_and_flip(tmp_path: Path) -> None:
    photo = paint(tmp_path / "a.png", "red")
    (entry,) = answers(photo, "--min-score", 0.9, "--flip")
    assert entry["garments"][0]["attributes"] == []
    ran = run("predict", photo, "--min-score", 2)
    assert ran.exit_code == 2
    assert "--min-score" in ran.stderr


def test_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    ran = run("predict", "--demo", "--json")
    assert ran.exit_code == 0
    assert json.loads(ran.stdout)[0]["photo"] == "grace_hopper.jpg", "wherever it lies"
    assert "Grace Hopper, U.S. Navy photo by James S. Davis, public domain" in ran.stderr
    monkeypatch.setattr(predict_module, "find_spec", lambda name: None)
    ran = run("predict", "--demo")
    assert ran.exit_code == 2
    assert "pip install matplotlib" in ran.stderr


def test_nothing_asked() -> None:
    assert "Usage" in run("predict").output
    ran = run("predict", "--json")
    assert (ran.exit_code, ran.stdout) == (2, "")
    assert "name at least one photo" in ran.stderr


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (DeviceError("no GPU here; take --device cpu"), 2, "error: no GPU here; take --device cpu"),
        (KeyboardInterrupt(), 130, "stopped by Ctrl-C"),
    ],
)
def test_what_ends_a_run(
    error: BaseException, code: int, says: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def load(*_: object, **__: object) -> Tagger:
        raise error

    monkeypatch.setattr(Tagger, "load", load)
    ran = run("predict", paint(tmp_path / "a.png", "red"), "--json")
    assert (ran.exit_code, ran.stdout) == (code, "")
    assert says in ran.stderr
    assert len(ran.stderr.splitlines()) == 1


def test_a_reader_that_has_had_enough(tmp_path: Path) -> None:
    """`hemline predict ... | head`: no traceback."""
    photos = [str(paint(tmp_path / f"{i}.png", "red")) for i in range(40)]
    script = (
        "import sys; from tests import primary; from hemline import cli; from hemline.tagger import Tagger\n"
        "Tagger.load = lambda *a, **k: primary.colour_tagger()\n"
        f"sys.argv = ['hemline', 'predict', '--jsonl', '--mask-format', 'png', '--batch-size', '1', *{photos}]\n"
        "cli.main()\n"
    )
    root = Path(__file__).parent.parent
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        first = process.stdout.readline()
        process.stdout.close()
        said = process.stderr.read()
    assert first.startswith('{"schema_version"'), said
    assert process.returncode == 141
    assert "Traceback" not in said
    assert "BrokenPipe" not in said


def test_configs() -> None:
    listed = run("configs")
    assert listed.exit_code == 0
    assert "debug" in listed.stdout
    assert "drawn figures" in " ".join(listed.stdout.split())
    assert run("configs", "debug").stdout == config_text("debug")
    ran = run("configs", "debgu")
    assert ran.exit_code == 2
    assert "did you mean debug?" in ran.stderr


def test_version() -> None:
    assert run("--version").output == f"hemline {version('hemline')}\n"


def test_train(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ran_with: list[tuple[Config, bool]] = []

    def train(config: Config, *, resume: bool, watcher: object) -> Path:
        ran_with.append((config, resume))
        if config.epochs == 9:
            raise StoppedError("stopped in epoch 2 of 9; --resume goes on")
        return tmp_path / "best.safetensors"

    monkeypatch.setattr("hemline.train.train", train)
    ran = run("train", "debug", "epochs=3", "--resume")
    assert ran.exit_code == 0
    assert ran.stdout == f"{tmp_path / 'best.safetensors'}\n"
    assert [(config.name, config.epochs, resume) for config, resume in ran_with] == [("debug", 3, True)]
    run("train", "epochs=2", "seed=5")
    assert (ran_with[1][0].name, ran_with[1][0].epochs, ran_with[1][0].seed) == ("synthetic", 2, 5)
    stopped = run("train", "debug", "epochs=9")
    assert stopped.exit_code == 1
    assert stopped.stderr == "error: stopped in epoch 2 of 9; --resume goes on\n"
    wrong = run("train", "debug", "epochz=3", "lr=x")
    assert wrong.exit_code == 2
    assert "2 things are wrong" in wrong.stderr
    assert len(ran_with) == 3


@pytest.fixture
def _without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("train", "evaluate", "export"):
        monkeypatch.delitem(sys.modules, f"hemline.{name}", raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)


@pytest.mark.usefixtures("_without_torch")
@pytest.mark.parametrize(
    "arguments", [("train", "debug"), ("evaluate", "w.safetensors", "--data", "ccp=."), ("export", "w.safetensors")]
)
def test_the_learning_half_is_an_extra(arguments: tuple[str, ...]) -> None:
    ran = run(*arguments)
    assert ran.exit_code == 2
    assert "needs torch, which is not installed: pip install \"hemline[train]\"" in " ".join(ran.stderr.split())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--to", "onnx", "--photos", "x"), "--int8 is for OpenVINO, which alone runs it faster"),
        (("--to", "web", "--photos", "x"), "--int8 is for OpenVINO, which alone runs it faster"),
        (("--to", "openvino"), "name --photos"),
        (("--to", "openvino", "--photos", "x"), "--int8 needs nncf, which is not here"),
    ],
)
def test_int8_is_refused_before_anything_is_scored(
    arguments: tuple[str, ...], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hemline.evaluate.evaluate", None)             # nothing is scored
    monkeypatch.setattr("hemline.export_cli.find_spec", lambda name: None)
    ran = run("export", "default", "--out", "w.xml", "--int8", "--data", "ccp=.", *arguments)
    assert ran.exit_code == 2
    assert says in " ".join(ran.stderr.split())


@pytest.mark.parametrize("data", ["ccp=", "=x"])
def test_evaluate_wants_names_and_paths(data: str) -> None:
    ran = run("evaluate", "w.safetensors", "--data", data)
    assert ran.exit_code == 2
    assert "write NAME=PATH" in ran.stderr


names = st.text(st.sampled_from("aA-2./ é*\udcff"), max_size=6).map(lambda stem: f"{stem}.jpg")


@settings(deadline=None)
@given(st.lists(names, max_size=12))
def test_stems_are_told_apart_on_any_system(paths: list[str]) -> None:
    stems = unique_stems(paths)
    assert len({stem.casefold() for stem in stems}) == len(paths)
    for stem in stems:
        assert stem == Path(stem).name
        stem.encode()
    assert unique_stems(["a/x.jpg", "b/X.png", "x-2.jpg", "c/x.jpg"]) == ["x", "X-3", "x-2", "x-4"]


def test_a_checkout_says_what_is_not_installed() -> None:
    root = Path(__file__).parent.parent
    bare = subprocess.run([sys.executable, "-S", root / "cli.py", "--version"], capture_output=True, text=True)
    assert bare.returncode == 1
    assert bare.stderr.startswith("typer is not installed: `uv run cli.py ...` sets up everything")
    for command in ([root / "cli.py"], ["-m", "hemline"]):
        full = subprocess.run([sys.executable, *command, "--version"], capture_output=True, text=True)
        assert full.stdout == f"hemline {version('hemline')}\n"
