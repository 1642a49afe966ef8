"""`hemline data ...`: what stands on stdout, the files, the exit codes."""

import json
import subprocess
import sys

import pytest
from PIL import Image
from typer.testing import CliRunner
from typer.testing import Result as Ran

from hemline.cli import app

FEW = ("synthetic", "data.0.count=8", "data.0.canvas=[96,64]", "workers=0")


def run(*arguments: object, columns: int = 200) -> Ran:
    words = ["data", *map(str, arguments)]
    return CliRunner(env={"COLUMNS": str(columns)}).invoke(app, words, catch_exceptions=False)


def test_stats_are_tables():
    ran = run("stats", *FEW, "--photos", 4)
    assert ran.exit_code == 0
    for said in ("synthetic: labels, all 8 photos", "mask areas", "a sample of 4 photos", "drawn an epoch", "train"):
        assert said in ran.stdout


def test_stats_fit_a_pipe_and_keep_their_words():
    ran = run("stats", *FEW, columns=80)
    assert ran.exit_code == 0
    assert max(map(len, ran.stdout.splitlines())) <= 80
    assert "shoe" in ran.stdout


def test_stats_as_json_are_only_json_and_all_means_all():
    ran = run("stats", *FEW, "--json", "--all", "repeat=0.9")
    found = json.loads(ran.stdout)
    (part,) = found["sets"]
    assert (part["name"], part["photos"], part["sample"], part["sizes"]["counts"]) == (
        "synthetic", 8, 8, [[64, 96, 8]],
    )  # fmt: skip
    assert part["draws"]["an_epoch"] > part["draws"]["photos"]      # the recipe's repeats are visible
    assert json.loads(run("stats", *FEW, "--json", "--photos", 3).stdout)["sets"][0]["sample"] == 3


def test_stats_write_a_page_beside_the_json(tmp_path):
    file = tmp_path / "page.html"
    ran = run("stats", *FEW, "--json", "--html", file)
    assert json.loads(ran.stdout)["label_space"] == "street"
    assert "page.html" in ran.stderr
    assert file.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert file.stat().st_size < 6e6


def test_show_writes_a_sheet(tmp_path):
    file = tmp_path / "sheet.png"
    ran = run("show", *FEW, "--out", file, "--photos", 3, "--seed", 1)
    assert (ran.exit_code, ran.stdout.strip()) == (0, str(file))
    with Image.open(file) as picture:
        assert picture.width > 600


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("stats", "nothing_such"), "nothing_such"),
        (("stats", "ccp=/no/such/folder"), "nothing at '/no/such/folder'"),
        (("stats", "cocoo=labels.json"), "no dataset 'cocoo'; did you mean coco"),
        (("convert", "synthetic", "out", "--to", "coco", "data.0.count=8"), "OUT comes last"),
        (("convert", *FEW, "--to", "coco", "labels=street"), "OUT comes last"),
        (("convert", *FEW, "data.0.only.count=2", "out", "--to", "coco"), "writes all photos of a dataset"),
        (("convert", *FEW, "split=stratified", "out", "--to", "coco"), "that by hash; leave it out"),
        (("stats", *FEW, "--html", "page.txt"), "written as .html"),
        (("show", *FEW, "--out", "sheet.gif"), "written as .jpg"),
        (("show", *FEW, "--out", "no/such/sheet.jpg"), "no folder"),
        (("show", *FEW, "--out", "sheet.jpg", "--label", "tuxedo"), "no label 'tuxedo'"),
        (("show", *FEW, "--out", "sheet.jpg", "--split", "test"), "no photo on the side 'test'"),
    ],
)
def test_errors_are_one_sentence(words, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ran = run(*words)
    assert ran.exit_code == 2
    assert ran.stdout == ""
    assert said in ran.stderr
    assert ran.stderr.count("error:") == 1
    assert "Traceback" not in ran.stderr
    assert not list(tmp_path.iterdir())


def test_help_imports_nothing_heavy():
    script = (
        "import sys; from typer.testing import CliRunner; from hemline.cli import app; "
        "ran = CliRunner().invoke(app, ['data', 'stats', '--help']); assert ran.exit_code == 0, ran.output;"
        "print(sorted({'torch', 'numpy', 'cv2', 'scipy', 'PIL'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
