"""The forms of a comparison of runs, each read back, and the command `hemline runs`."""

import csv
import io
import json
import re
import statistics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from typer.testing import CliRunner

from hemline import run_tables
from hemline.cli import app
from hemline.config import Data
from hemline.runs import compare
from tests.test_runs import line, make

NAMES = ["a|b_c", "50%&#$^~{x}", "<b>*`[i]", "ünïcode ± 3 "]
LATEX_WORDS = {
    "textbackslash": "\\", "textasciitilde": "~", "textasciicircum": "^", "textless": "<", "textgreater": ">",
    "textbar": "|",
}  # fmt: skip


def from_latex(text):
    """What LaTeX would set."""
    plain = re.sub(r"\\text\w+\{\}|\\[&%$#_{}]| \$\\pm\$ ", "", text)
    assert not set(plain) & set("\\&%$#_{}~^<>|"), "a character that LaTeX takes for something else"
    text = re.sub(r"\\(text\w+)\{\}|\\([&%$#_{}])", lambda m: LATEX_WORDS[m[1]] if m[1] else m[2], text)
    return text.replace(r" $\pm$ ", " ± ")


def latex_cells(text):
    body = text.split("\\toprule\n")[1].split("\n\\bottomrule")[0]
    rows = [row for row in body.split("\n") if row != r"\midrule"]
    assert all(row.endswith(r" \\") for row in rows)
    return [[from_latex(cell) for cell in row.removesuffix(r" \\").split(" & ")] for row in rows]


def markdown_cells(text):
    rows = [re.split(r"(?<!\\)(?:\\\\)*\|", row)[1:-1] for row in text.split("\n")]
    return [[re.sub(r"\\(.)", r"\1", cell)[1:-1] for cell in row] for row in rows]


@pytest.fixture
def runs(tmp_path):
    """Three seeds of one recipe, another learning rate, and one that is not done."""
    for seed, headline in enumerate([0.41, 0.47, 0.36]):
        make(tmp_path, f"a{seed}", [line(1, 0.1), line(2, headline)], seed=seed)
    make(tmp_path, "b", [line(1, 0.1), line(2, 0.42)], lr=0.003)
    make(tmp_path, "c", [line(1, 0.05)], lr=0.01)
    return tmp_path


def run(*arguments, code=0):
    ran = CliRunner().invoke(app, ["runs", *map(str, arguments)], catch_exceptions=False)
    assert ran.exit_code == code, ran.stderr
    return ran


WANTED = [
    ["run", "problem", "lr", "n", "epochs", "best epoch", "headline", "ccp mean IoU", "loss", "photos/s"],
    ["b", "", "0.003", "1", "2/2", "2", "0.420", "0.210", "1.000", "100.0"],
    ["a0, a1, a2", "", "0.001", "3", "2/2", "2.0 ± 0.0", "0.413 ± 0.055", "0.207 ± 0.028", "1.000 ± 0.000",
     "100.0 ± 0.0"],
    ["c", "unfinished: 1 of 2 epochs", "0.01", "1", "1/2", "1", "0.050", "0.025", "2.000", "100.0"],
]  # fmt: skip


def test_markdown_and_latex_say_the_same(runs):
    text = run(runs, "--markdown").stdout
    table = markdown_cells(text.removesuffix("\n"))
    assert [table[0], *table[2:]] == WANTED
    assert text.split("\n")[1] == "| " + " | ".join([":---"] * 3 + ["---:"] * 7) + " |", "words left, figures right"
    text = run(runs, "--latex").stdout
    assert latex_cells(text) == WANTED
    assert r"\begin{tabular}{lllrrrrrrr}" in text
    assert text.startswith("% \\usepackage{booktabs}\n")
    assert text.endswith("\\bottomrule\n\\end{tabular}\n")


def test_csv_has_every_digit(runs):
    rows = list(csv.DictReader(io.StringIO(run(runs, "--csv").stdout)))
    assert [row["run"] for row in rows] == ["b", "a0, a1, a2", "c"]
    headlines = [0.41, 0.47, 0.36]
    assert float(rows[1]["headline"]) == statistics.mean(headlines)
    assert float(rows[1]["headline sd"]) == statistics.stdev(headlines)
    assert [row["headline sd"] for row in rows] == ["", rows[1]["headline sd"], ""], "none of one run"
    assert [row["n"] for row in rows] == ["1", "3", "1"]
    assert [row["lr"] for row in rows] == ["0.003", "0.001", "0.01"]
    assert [(row["epochs done"], row["epochs"], row["epoch"]) for row in rows][2] == ("1", "2", "1.0")
    assert [row["problem"] for row in rows] == ["", "", "unfinished: 1 of 2 epochs"]
    singly = list(csv.DictReader(io.StringIO(run(runs, "--csv", "--no-group").stdout)))
    assert len(singly) == 5
    assert not [key for key in singly[0] if key.endswith(" sd")]


def test_json_is_the_comparison(runs):
    ran = run(runs, "--json", "--figure", "headline")
    assert json.loads(ran.stdout) == json.loads(json.dumps(compare([runs], figures=["headline"]).to_dict()))
    assert json.loads(ran.stdout)["rows"][0]["recipe"] == {"lr": 0.003}
    assert ran.stderr == ""


@settings(max_examples=12, deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=["C"], exclude_characters="/\\"), min_size=1, max_size=8)))
def test_no_name_breaks_a_form(tmp_path_factory, words):
    out = tmp_path_factory.mktemp("runs")
    names = [*NAMES, *(f"{i} {word}" for i, word in enumerate(words))]
    for i, name in enumerate(names):
        make(out, name, [line(2, 0.9 - i / 1000)], init=f"\\{name}\\|", lr=0.1)
    found = compare([out])
    assert [row.runs[0].name for row in found.rows] == names
    written = markdown_cells(run_tables.markdown(found))[2:]
    assert [row[:2] for row in written] == [[name, f"\\{name}\\|"] for name in names]
    assert [row[:2] for row in latex_cells(run_tables.latex(found))[1:]] == [[name, f"\\{name}\\|"] for name in names]
    rows = list(csv.DictReader(io.StringIO(run_tables.comma_separated(found))))
    assert [(row["run"], row["init"]) for row in rows] == [(name, f"\\{name}\\|") for name in names]


def test_a_rule_parts_what_was_validated_unlike(runs):
    make(runs, "d", [line(2, 0.415)], canvas=(64, 64))
    ran = run(runs, "--latex")
    assert re.findall(r"^(\\midrule|[a-d])", ran.stdout.split("\\toprule\n")[1].split("\n", 1)[1], re.M) == [
        "\\midrule", "b", "a", "c", "\\midrule", "d",
    ]  # fmt: skip
    assert "their recipes differ in canvas" in ran.stderr
    assert [row[5] for row in latex_cells(ran.stdout)] == ["validation", "1", "1", "1", "2"]


def test_ten_runs_and_five_keys_fit_eighty_columns(tmp_path, monkeypatch):
    """With two sets, whatever has no place is said; names and recipes are whole."""
    monkeypatch.setenv("COLUMNS", "80")
    data = (Data(name="ccp", path="/photos/ccp"), Data(name="cfpd", path="/photos/cfpd"))
    for i in range(10):
        figures = {f"{name}.{key}": 0.5 for name in ("ccp", "cfpd") for key in ("mean_iou", "pixel_accuracy")}
        changes = {"lr": 0.001 * (i + 1), "batch_size": 8 * (1 + i % 2), "sched": ["cosine", "poly"][i % 3 == 0]}
        changes |= {"weight_decay": 0.05 * (i == 4), "init": f"/weights/of/a/long/name/{'x' * i}.safetensors"}
        make(tmp_path, f"street_wide_{i}", [line(2, 0.9 - i / 100, **figures)], data=data, **changes)
    ran = run(tmp_path)
    assert max(map(cell_len, ran.stdout.splitlines())) <= 80
    for i in range(10):
        block = ran.stdout.split(f"street_wide_{i}")[1].split("street_wide")[0]
        words = " ".join(re.split(r"\s{2,}", each.strip())[0] for each in block.splitlines())
        assert f"lr={0.001 * (i + 1)}" in words
        assert ("sched=poly" in words) is (i % 3 == 0), "what most have is said once"
        assert ("weight_decay=0.05" in words) is (i == 4)
        assert f"0.{90 - i}" in block
    assert "Where a run does not say otherwise: weight_decay=0.0 sched=cosine" in " ".join(ran.stdout.split())
    assert re.search("headline +IoU +IoU", ran.stdout)
    assert ran.stderr.startswith("no place here for ")
    monkeypatch.setenv("COLUMNS", "200")
    assert run(tmp_path).stderr == "", "there is place"


def test_the_table_shows_figures_above_their_deviations(runs):
    lines = [row.split() for row in run(runs).stdout.splitlines()]
    place = next(i for i, row in enumerate(lines) if row[:3] == ["a0,", "a1,", "a2"])
    assert lines[place][3:6] == ["3", "2/2", "0.413"]
    assert lines[place + 1] == ["lr=0.001", "2.0±0.0", "±0.055", "±0.028", "±0.000", "±0.0"]
    assert ["unfinished:", "1", "of", "2", "epochs"] in [row[:5] for row in lines]


def test_small_and_large_figures_keep_their_digits(tmp_path):
    for seed, loss in enumerate([0.00012, 0.00014]):
        make(tmp_path, f"a{seed}", [line(2, loss=loss, photos_per_second=4000.4, seconds=90.0 + 60 * seed)], seed=seed)
    row = markdown_cells(run_tables.markdown(compare([tmp_path])))[2]
    assert row[-3:] == ["0.00013 ± 1.4e-05", "4000 ± 0", "2.000 ± 0.707"], "the time in minutes"


def test_refusals(runs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path / "a0")
    assert "error: runs: there is no such folder; name a run's folder" in run(code=2).stderr
    assert "ask for one of them" in run(runs, "--csv", "--json", code=2).stderr
    assert "no run has a figure 'headlin'; did you mean headline?" in run(runs, "--sort", "headlin", code=2).stderr
    ran = run(runs, runs / "nothing", "--csv")
    assert ran.stderr == f"{runs / 'nothing'}: there is no such folder\n"
    assert len(list(csv.reader(io.StringIO(ran.stdout)))) == 4, "notes are kept from stdout"
