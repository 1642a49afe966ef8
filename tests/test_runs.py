"""Runs compared: hand-made folders, statistics, grouping, damaged runs, and what is said of unlike ones."""

import json
import math
import statistics
from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from hemline.config import Config, Data, Head, Only
from hemline.errors import HemlineError
from hemline.run_folders import read_run
from hemline.runs import compare

BASE = Config(name="x", epochs=2, data=(Data(name="ccp", path="/photos/ccp"),))
USUAL = Config(name="", epochs=0).to_dict()


def line(epoch, headline=0.5, **figures):
    """A line of metrics.jsonl, as `EpochReport.line` writes it."""
    usual = {"loss": 2 / epoch, "losses": {"bce": 1 / epoch}, "lr": 0.1, "photos_per_second": 100.0, "best": False}
    return {"epoch": epoch, **usual, "headline": headline, "ccp.mean_iou": (headline or 0) / 2, **figures}


def make(out, name, lines=None, starts=(), whole=False, **changes):
    """A run's folder; its recipe, unless it is to be whole, without what is so by default, which reads sooner."""
    folder = out / name
    folder.mkdir(parents=True)
    recipe = replace(BASE, name=name, out=str(out), **changes).to_dict()
    if not whole:
        recipe = {key: value for key, value in recipe.items() if USUAL.get(key) != value}
    (folder / "config.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False), encoding="utf-8")
    lines = [line(1, 0.4), line(2, 0.5)] if lines is None else lines
    (folder / "metrics.jsonl").write_text("".join(json.dumps(each) + "\n" for each in lines), encoding="utf-8")
    if starts:
        (folder / "environment.jsonl").write_text("".join(json.dumps(each) + "\n" for each in starts), encoding="utf-8")
    return folder


def names(comparison):
    return [[run.name for run in row.runs] for row in comparison.rows]


def test_seeds_are_one_row_with_mean_and_sample_deviation(tmp_path):
    headlines = [0.41, 0.47, 0.36]
    for seed, headline in enumerate(headlines):
        make(tmp_path, f"a{seed}", [line(1, 0.1), line(2, headline)], seed=seed)
    make(tmp_path, "b", [line(1, 0.1), line(2, 0.42)], lr=0.003)
    found = compare([tmp_path])
    assert names(found) == [["b"], ["a0", "a1", "a2"]], "by the mean, not by the best seed"
    spread = found.rows[1].figures["headline"]
    assert spread.mean == pytest.approx(statistics.mean(headlines), abs=1e-15)
    assert spread.deviation == pytest.approx(np.std(headlines, ddof=1), abs=1e-15)
    assert found.rows[0].figures["headline"] == (0.42, None), "one run has no deviation"
    assert found.keys == ["lr"]
    assert [row.recipe["lr"] for row in found.rows] == [0.003, 0.001]
    assert not found.notes

    single = compare([tmp_path], group=False)
    assert names(single) == [["a1"], ["b"], ["a0"], ["a2"]]
    assert single.keys == ["lr", "seed"]
    assert all(spread.deviation is None for row in single.rows for spread in row.figures.values())


def test_only_what_says_where_a_run_ran_may_differ_within_a_row(tmp_path):
    make(tmp_path, "a", seed=1)
    make(tmp_path, "elsewhere", seed=2, workers=7, device="cuda", loggers=None, license="MIT")
    for i, change in enumerate(
        [{"precision": "bf16"}, {"torchcompile": True}, {"grad_accum_steps": 2}, {"batch_size": 8}, {"lr": 0.1},
         {"data": (Data(name="ccp", path="/other/ccp"),)}, {"data": (replace(BASE.data[0], weight=2.0),)},
         {"head": Head(options={"widths": [8, 8, 8]})}, {"epochs": 1}]
    ):  # fmt: skip
        make(tmp_path, f"other{i}", seed=3 + i, **change)
    found = compare([tmp_path])
    assert sorted(map(len, names(found))) == [1] * 9 + [2]
    assert ["a", "elsewhere"] in names(found)
    assert not {"name", "out", "seed", "workers", "device", "loggers", "license", "epochs"} & set(found.keys)


def test_the_seed_of_drawn_photos_is_no_seed_of_the_run(tmp_path):
    for seed in range(2):
        make(tmp_path, f"a{seed}", data=(Data(name="synthetic", options={"seed": seed, "count": 9}),))
    found = compare([tmp_path])
    assert len(found.rows) == 2
    assert found.keys == ["data.0.seed"]
    assert "validated on the same photos" in found.notes[0]


def test_a_recipe_that_ran_twice_is_no_second_seed(tmp_path):
    make(tmp_path, "a", seed=1)
    make(tmp_path, "again", seed=1)
    make(tmp_path, "c", seed=2)
    (note,) = compare([tmp_path]).notes
    assert note.startswith("a, again: a recipe and seed that ran more than once")


def test_a_figure_that_not_all_seeds_have_is_left_empty(tmp_path):
    make(tmp_path, "a", [line(2, **{"ccp.pixel_accuracy": 0.9})], seed=1)
    make(tmp_path, "b", [line(2, **{"ccp.pixel_accuracy": None})], seed=2)
    (row,) = compare([tmp_path]).rows
    assert "ccp.pixel_accuracy" not in row.figures
    assert "ccp.mean_iou" in row.figures


def test_the_best_epoch_is_the_first_of_the_highest_headline(tmp_path):
    lines = [line(1, 0.3), line(2, 0.7, loss=1.5), line(3, 0.7), line(4, 0.6, loss=0.5), line(5, None, loss=0.1)]
    speeds = [10.0, 40.0, None, 20.0, 90.0]
    for each, speed in zip(lines, speeds, strict=True):
        each |= {"photos_per_second": speed, "seconds": 60.0 * each["epoch"], "gpu_memory": 1.0 / each["epoch"]}
    make(tmp_path, "a", lines, epochs=5)
    (best,) = compare([tmp_path]).rows
    assert best.epoch == (2, None)
    assert best.figures["headline"].mean == 0.7
    assert best.figures["loss"].mean == 1.5
    assert best.figures["losses.bce"].mean == 0.5
    assert best.figures["photos_per_second"].mean == 30.0, "the median of the epochs that have one"
    assert best.figures["seconds"].mean == 300.0, "of the whole run"
    assert best.figures["gpu_memory"].mean == 1.0, "the most of any epoch"
    assert not {"epoch", "best", "lr"} & set(best.figures)
    (last,) = compare([tmp_path], epoch="last").rows
    assert (last.epoch, last.figures["loss"].mean) == ((4, None), 0.5), "the last that was validated"


def test_figures_and_order_can_be_chosen(tmp_path):
    make(tmp_path, "a", [line(2, 0.6, loss=0.3, **{"ccp.x": 0.1})])
    make(tmp_path, "b", [line(2, 0.5, loss=0.2)], lr=0.1)
    make(tmp_path, "c", [line(2, 0.4, loss=0.4, **{"ccp.x": 0.2})], lr=0.2)
    found = compare([tmp_path])
    assert found.figures == ["headline", "ccp.mean_iou", "loss", "photos_per_second"]
    assert names(found) == [["a"], ["b"], ["c"]]
    assert names(compare([tmp_path], sort="loss")) == [["b"], ["a"], ["c"]], "a loss is best small"
    assert names(compare([tmp_path], sort="x")) == [["c"], ["a"], ["b"]], "without the figure: last"
    assert compare([tmp_path], figures=["losses.bce", "ccp.*"]).figures == ["losses.bce", "ccp.mean_iou", "ccp.x"]
    assert compare([tmp_path], figures=["x", "mean_iou", "x"]).figures == ["ccp.x", "ccp.mean_iou"]
    with pytest.raises(HemlineError, match=r"no run has a figure 'ccp\.mean_io'; did you mean ccp\.mean_iou"):
        compare([tmp_path], figures=["ccp.mean_io"])
    with pytest.raises(HemlineError, match=r"--sort ccp\.\*: sort by one of ccp\.mean_iou, ccp\.x"):
        compare([tmp_path], sort="ccp.*")


def test_rows_validated_unlike_stand_apart(tmp_path):
    ccp = Data(name="ccp", path="/photos/ccp")
    make(tmp_path, "a", [line(2, 0.9)])
    make(tmp_path, "b", [line(2, 0.8)], canvas=(320, 192))
    make(tmp_path, "c", [line(2, 0.7)], lr=0.1)
    make(tmp_path, "d", [line(2, 0.6)], data=(replace(ccp, weight=2.0, pseudo="/masks", only=Only(count=9)),))
    make(tmp_path, "e", [line(2, 0.5)], validation=0.3)
    make(tmp_path, "f", [line(2, 0.4)], data=(replace(ccp, only=Only(categories=("dress",))),))
    found = compare([tmp_path])
    assert names(found) == [["a"], ["c"], ["d"], ["b"], ["e"], ["f"]]
    assert [row.validation for row in found.rows] == [1, 1, 1, 2, 3, 4], "what trains only does not matter"
    assert found.validations == 4
    (note,) = found.notes
    assert "canvas, validation, data: compare figures only among" in note


def test_words_of_other_weights_are_other_classes(tmp_path):
    make(tmp_path, "a", labels="init+data", init="one.safetensors")
    make(tmp_path, "b", labels="init+data", init="other.safetensors")
    make(tmp_path, "c", init="one.safetensors")
    make(tmp_path, "d", init="other.safetensors")
    found = compare([tmp_path])
    assert [row.validation for row in found.rows] == [1, 2, 3, 3]
    assert "labels, init: compare figures only among" in found.notes[0]


def test_the_order_of_datasets_does_not_matter_to_validation(tmp_path):
    one, other = Data(name="ccp", path="/photos/ccp"), Data(name="cfpd", path="/photos/cfpd")
    make(tmp_path, "a", data=(one, other))
    make(tmp_path, "b", data=(other, one))
    found = compare([tmp_path])
    assert len(found.rows) == 2, "it matters to training"
    assert not found.notes


def test_a_headline_of_other_figures_is_said(tmp_path):
    make(tmp_path, "a")
    make(tmp_path, "b", [line(2, **{"ccp.mask.ap": 0.2})], lr=0.1)
    assert [note for note in compare([tmp_path]).notes if note.startswith("headline is a mean of other figures")]
    assert not compare([tmp_path], figures=["mean_iou"], sort="mean_iou").notes


def test_options_that_another_head_or_dataset_cannot_have_do_not_crowd_the_table(tmp_path):
    make(tmp_path, "a", head=Head(name="unet", options={"widths": [8, 8, 8]}))
    make(tmp_path, "b", head=Head(name="pspnet", options={"bins": [1, 2]}))
    assert compare([tmp_path]).keys == ["head.name"]
    make(tmp_path, "c", head=Head(name="unet"))
    assert compare([tmp_path]).keys == ["head.name", "head.widths"], "one has it and one has not"
    make(tmp_path, "d", data=(Data(name="ccp", path="/photos/ccp"), Data(name="synthetic", options={"count": 5})))
    assert compare([tmp_path]).keys == ["head.name", "head.widths", "data.1"]


def test_machines_and_versions_are_told_apart(tmp_path):
    gpu = {"gpus": [{"name": "A100", "memory": 80.0}], "cpu": {"model": "Xeon"}, "processes": 4, "hemline": "0.1.0"}
    make(tmp_path, "a", starts=[gpu | {"processes": 1}, gpu])
    make(tmp_path, "b", starts=[gpu | {"hemline": "0.2.0"}], device="cpu", lr=0.1)
    notes = compare([tmp_path]).notes
    assert notes == [
        "speed was not measured on one machine, but on 4 x A100; 4 x Xeon",
        "trained by several versions of Hemline: 0.1.0, 0.2.0",
    ]
    assert len(compare([tmp_path], figures=["headline"]).notes) == 1, "no speed is shown"


def test_recipes_of_other_versions_are_read(tmp_path):
    old, new = (make(tmp_path, name, whole=True, seed=len(name)) / "config.yaml" for name in ("old", "newer"))
    kept = [each for each in old.read_text().splitlines() if not each.startswith(("torchcompile", "sched_power"))]
    old.write_text("\n".join(kept), encoding="utf-8")
    assert names(compare([tmp_path])) == [["newer", "old"]], "what an older recipe does not say is as it was by default"
    new.write_text(new.read_text().replace("sched: cosine", "sched: plateau") + "warm_fuzziness: 3\n", encoding="utf-8")
    found = compare([tmp_path])
    assert found.keys == ["sched", "warm_fuzziness"]
    assert [row.recipe["sched"] for row in found.rows] == ["plateau", "cosine"]


DAMAGES = {
    "no config": (lambda f: (f / "config.yaml").unlink(), "config.yaml is missing"),
    "empty config": (lambda f: (f / "config.yaml").write_text(""), "config.yaml is no recipe, but nothing"),
    "no YAML": (lambda f: (f / "config.yaml").write_text("a: [1"), "config.yaml cannot be read: "),
    "bytes": (lambda f: (f / "config.yaml").write_bytes(b"\xff\xfe\x00"), "config.yaml cannot be read: "),
    "bad value": (lambda f: (f / "config.yaml").write_text("name: a\nepochs: 2\nlr: quick"), "config.yaml: lr: "),
    "cut config": (lambda f: (f / "config.yaml").write_text("name: a\n"), "config.yaml: epochs: missing"),
    "knot": (lambda f: (f / "config.yaml").write_text("name: a\nepochs: 2\nx: &x [*x]"), "config.yaml cannot be read"),
    "deep": (lambda f: (f / "config.yaml").write_text("a: " + "[" * 500), "config.yaml cannot be read: "),
    "no metrics": (lambda f: (f / "metrics.jsonl").unlink(), "unfinished: no epoch is done"),
    "empty metrics": (lambda f: (f / "metrics.jsonl").write_text(""), "unfinished: no epoch is done"),
    "a folder": (
        lambda f: ((f / "metrics.jsonl").unlink(), (f / "metrics.jsonl").mkdir()), "metrics.jsonl cannot be read: "
    ),
    "cut metrics": (
        lambda f: (f / "metrics.jsonl").write_text('{"epoch": 1, "loss": 1.0, "headline": 0.1}\n{"epoch": 2, "los'),
        "line 2 of metrics.jsonl is cut or damaged",
    ),
    "no epoch": (lambda f: (f / "metrics.jsonl").write_text('{"epoch": true}'), "line 1 of metrics.jsonl is cut"),
    "deep metrics": (lambda f: (f / "metrics.jsonl").write_text("[" * 100_000), "line 1 of metrics.jsonl is cut"),
    "unfinished": (lambda f: (f / "metrics.jsonl").write_text(json.dumps(line(1))), "unfinished: 1 of 2 epochs"),
    "diverged": (
        lambda f: (f / "metrics.jsonl").write_text(json.dumps(line(2, loss=math.nan))), "diverged: the loss of epoch 2"
    ),
    "huge": (
        lambda f: (f / "metrics.jsonl").write_text(json.dumps(line(2, loss=10**400))), "diverged: the loss of epoch 2"
    ),
}  # fmt: skip


@pytest.mark.parametrize(("damage", "said"), DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_run_is_a_row_that_says_so(damage, said, tmp_path):
    damage(make(tmp_path, "broken", seed=3))
    for seed in range(2):
        make(tmp_path, f"good{seed}", seed=seed)
    found = compare([tmp_path])
    rows = {tuple(run.name for run in row.runs): row for row in found.rows}
    assert set(rows) == {("broken",), ("good0", "good1")}, "it is in no mean"
    assert rows["broken",].problem.startswith(said)
    assert not rows["good0", "good1"].problem
    json.dumps(found.to_dict(), allow_nan=False)


def test_figures_of_the_lines_that_can_be_read_are_kept(tmp_path):
    folder = make(tmp_path, "a", epochs=3)
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 3, "lo')
    (row,) = compare([folder]).rows
    assert (row.runs[0].done, row.figures["headline"].mean) == (2, 0.5)


def test_folders_that_are_no_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "runs", "a")
    (tmp_path / "runs" / "notes").mkdir()
    (tmp_path / "empty").mkdir()
    found = compare(["runs", "empty", "nowhere", "runs/a", tmp_path / "runs/a"])
    assert names(found) == [["a"]], "once, and what lies beside runs is passed over"
    assert found.notes == ["empty: no run is there", "nowhere: there is no such folder"]
    with pytest.raises(HemlineError, match="nowhere: there is no such folder; name a run's folder"):
        compare(["nowhere"])
    make(tmp_path / "more", "a", lr=0.1)
    assert sorted(names(compare(["runs", "more"]))) == [["more/a"], ["runs/a"]], "two of one name"
    monkeypatch.chdir(tmp_path / "runs" / "a")
    assert names(compare(["."])) == [["a"]]


def test_the_order_in_which_folders_are_named_does_not_matter(tmp_path):
    folders = [make(tmp_path, f"a{seed}", [line(2, 0.1 * seed)], seed=seed) for seed in range(3)]
    folders += [make(tmp_path, "b", [line(2, 0.1)], lr=0.1), make(tmp_path, "c", [line(2, 0.1)], canvas=(64, 64))]
    first = compare(folders).to_dict()
    assert len(first["rows"]) == 3
    for order in list(permutations(folders))[7::12]:
        assert compare(order).to_dict() == first


values = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.just([1]), st.just({}))
keys = st.sampled_from(["epoch", "loss", "losses", "headline", "ccp.mean_iou", "photos_per_second", "seconds", "best"])


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.dictionaries(keys, values), max_size=3), min_size=1, max_size=3))
def test_no_line_breaks_the_table(tmp_path_factory, runs):
    out = tmp_path_factory.mktemp("runs")
    for i, lines in enumerate(runs):
        make(out, f"a{i}", lines, seed=i)
    found = compare([out])
    json.dumps(found.to_dict(), allow_nan=False)
    assert sorted(name for row in names(found) for name in row) == [f"a{i}" for i in range(len(runs))]


@settings(max_examples=60, deadline=None)
@given(st.recursive(values, lambda inner: st.dictionaries(st.sampled_from([*BASE.to_dict(), "?"]), inner, max_size=4)))
def test_no_recipe_breaks_reading(tmp_path_factory, raw):
    folder = tmp_path_factory.mktemp("run")
    (folder / "config.yaml").write_text(yaml.safe_dump(raw), encoding="utf-8")
    run = read_run(folder)
    assert run.problem
    json.dumps(compare([folder]).to_dict(), allow_nan=False)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=2, max_size=6))
def test_statistics_are_those_of_the_textbook(tmp_path_factory, headlines):
    out = tmp_path_factory.mktemp("runs")
    for i, headline in enumerate(headlines):
        make(out, f"a{i}", [line(2, headline)], seed=i)
    (row,) = compare([out]).rows
    centre = sum(headlines) / len(headlines)
    deviation = math.sqrt(sum((x - centre) ** 2 for x in headlines) / (len(headlines) - 1))
    assert row.figures["headline"] == pytest.approx((centre, deviation), abs=1e-12)
