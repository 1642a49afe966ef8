"""`train finetune`: new labels from a table, while all that weights know stays bit for bit."""

import json
import signal
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from hemline._troubles import going_on
from hemline.checkpoint import load, load_network, save
from hemline.config import load_config
from hemline.errors import ConfigError, StoppedError, WeightsError
from hemline.evaluate import evaluate
from hemline.labels import load_label_space
from hemline.licenses import licenses
from hemline.metadata import read_metadata
from hemline.model import build
from hemline.thresholds import NEVER
from hemline.train import train
from tests.lines import random_scores
from tests.toy import metadata

PHOTOS = 30
STREET = load_label_space("street")
STOP_AT = 3


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Photos are dealt once, and by chance less often: enough for verdicts that are plain."""
    monkeypatch.setattr("hemline.enough.REPEATS", 1)
    monkeypatch.setattr("hemline.enough.SHUFFLES", 200)


@pytest.fixture
def begun(tiny_config, tmp_path):
    """Weights that know `street`: a tiny untrained network, as another run left it."""
    torch.manual_seed(3)
    network = build(tiny_config, STREET, trunk_weights=False)
    known = metadata(
        labels=replace(STREET, teach={}), canvas=tiny_config.canvas, recipe=tiny_config.to_dict(),
        mask_thresholds=(0.3,) * STREET.num_masks,
        label_thresholds=tuple(np.linspace(0.2, 0.9, STREET.num_labels).round(3).tolist()),
        data=[{"name": "ccp", "terms": "Apache-2.0", "photos": 725}], metrics={"split": "validation"},
        scores=random_scores(STREET), photo_thresholds=tuple(np.linspace(0.3, 0.8, STREET.num_labels).tolist()),
    )  # fmt: skip
    network.set_mask_thresholds(torch.full((STREET.num_masks,), 0.3))
    save(tmp_path / "begun.safetensors", network.state_dict(), known)
    return tmp_path / "begun.safetensors"


@pytest.fixture
def table(tmp_path):
    """Light and dark photos of dresses and kimonos; `tone` says which, `mood` says nothing; one photo is missing."""
    random = np.random.default_rng(0)
    lines = ["image,category,tone,mood,pattern"]
    for i in range(PHOTOS):
        light = i % 3 == 0
        pixels = random.integers(0, 60, (80, 56, 3)) + (180 if light else 10)
        Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / f"{i}.png")
        kind, mood = ("kimono", "Dresses")[i % 2], "glad" if i % 5 in (1, 3) else "sad"
        lines.append(f"{i}.png,{kind},{'light' if light else 'dark'},{mood},{'stripe' if i else 'houndstooth'}")
    (tmp_path / "products.csv").write_text("\n".join([*lines, "gone.png,Dresses,dark,sad,stripe"]) + "\n")
    return tmp_path / "products.csv"


def recipe(begun, table, *more):
    overrides = [f"init={begun}", f"data.table={table}", f"out={table.parent}", "workers=0", "device=cpu", *more]
    return load_config("finetune", overrides)


class Notes:
    """A watcher that keeps what it is told, and may do something at a step."""

    def __init__(self, at=None, do=None):
        self.said, self.steps, self.at, self.do = [], [], at, do

    def begin(self, *_): ...

    def note(self, text):
        self.said.append(text)

    def step(self, report):
        self.steps.append(report.step)
        if report.step == self.at:
            self.do()

    def epoch(self, told):
        self.told = told

    def end(self): ...


def test_new_labels_beside_all_that_was_known(begun, table):
    notes = Notes()
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)      # a user would read it
        weights = train(recipe(begun, table), watcher=notes)
    assert notes.said[:5] == [
        "known, category: Dresses (dress)", "known, pattern: stripe", "new, other category: kimono",
        "new, tone: dark, light", "new, mood: glad, sad",
    ]  # fmt: skip
    assert notes.said[5] == "new, textile pattern: houndstooth"
    assert notes.said[6].startswith("table: 1 x missing photo: line 32 (no photo ")
    (before, known), (after, grown) = load_network(begun), load_network(weights)
    state = after.state_dict()
    for name, tensor in before.state_dict().items():
        assert torch.equal(tensor, state[name]), name
    assert set(state) - set(before.state_dict()) == {"label_head.direct.weight", "label_head.direct.bias"}
    pixels = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        old, new = (network(pixels, torch.ones(2, 64, 64, dtype=torch.uint8)) for network in (before, after))
    names = [thing.name for thing in (*grown.labels.categories, *grown.labels.labels)]
    at = [names.index(thing.name) for thing in (*STREET.categories, *STREET.labels)]
    assert torch.equal(old.masks, new.masks)
    assert torch.equal(old.labels, new.labels[:, :, at])
    assert tuple(grown.label_thresholds[i] for i in at) == known.label_thresholds
    assert tuple(grown.photo_thresholds[i] for i in at) == known.photo_thresholds
    assert grown.scores
    assert known.scores
    for use in ("photo", "garments"):
        assert tuple(getattr(grown.scores, use).weights[i] for i in at) == getattr(known.scores, use).weights
        assert getattr(grown.scores, use).weights[names.index("light")] == (1.0, 0.0)
    assert grown.mask_thresholds == known.mask_thresholds
    assert grown.metrics["split"] == "validation"
    assert [entry["name"] for entry in grown.data] == ["ccp", "table"]

    taught = {one["label"]: one for one in grown.metrics["taught"]}
    assert taught["light"]["verdict"] == "enough"
    assert taught["houndstooth"]["verdict"] == "cannot be told"
    for label in ("glad", "sad", "houndstooth"):
        assert grown.label_thresholds[names.index(label)] == NEVER
    assert grown.label_thresholds[names.index("light")] == taught["light"]["threshold"] < NEVER
    assert grown.labels.find("light").carried_by == {"dress"}
    assert grown.labels.find("kimono").carried_by == frozenset()
    for group in ("tone", "mood"):
        assert notes.told.losses[group] > 0

    [start] = (weights.parent / "environment.jsonl").read_text().splitlines()
    assert json.loads(start)["resumed_at"] is None
    page = (weights.parent / "report.html").read_text()
    assert "<td>tone: light</td><td>10</td><td>20</td>" in page
    assert "textile pattern: houndstooth (1 yes, 29 no)" in page
    assert f"{begun}" in page
    assert "mean IoU" not in page, "nothing of what was measured before"

    report = evaluate(weights, {"table": table}, split="all", runtime="torch", transplant=False)
    scores = {label.name: label.average_precision.value for label in report.sets[0].labels.labels}
    assert scores["light"] == pytest.approx(1)
    told = {label.label: [teacher.data for teacher in label.taught_by] for label in licenses(weights).labels}
    assert told["houndstooth"] == ["table"]
    assert "ccp" in told["pants"]


@pytest.mark.slow
def test_the_other_labels_are_those_of_another_table_too(begun, table):
    """Grown once more, what the first table taught stays as well."""
    once = train(recipe(begun, table))
    lines = table.read_text().splitlines()
    more = [f"{line},{'linen' if i % 2 else 'wool'}" for i, line in enumerate(lines[1:])]
    (table.parent / "more.csv").write_text("\n".join([lines[0] + ",material", *more]))
    twice = train(recipe(once, table.parent / "more.csv", "name=twice"))
    first, second = read_metadata(once), read_metadata(twice)
    assert [one["label"] for one in second.metrics["taught"]][-2:] == ["linen", "wool"]
    rows = [load(path)[0]["label_head.direct.weight"] for path in (once, twice)]
    before, after = (metadata.recipe["label_head"]["direct"] for metadata in (first, second))
    channels = [[metadata.labels.find(name).index for name in names]
                for metadata, names in ((first, before), (second, after))]  # fmt: skip
    of = [dict(zip(np.array(names)[np.argsort(where)], layer, strict=True))
          for names, where, layer in zip((before, after), channels, rows, strict=True)]  # fmt: skip
    assert all(torch.equal(of[0][name], of[1][name]) for name in before)


@pytest.mark.slow
def test_a_stopped_run_goes_on_and_ends_with_the_same_weights(begun, table):
    whole = train(recipe(begun, table, "name=whole"))
    stopped = recipe(begun, table, "name=stopped")

    def interrupt():
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(StoppedError, match=r"stopped at photo 24; --resume goes on from"):
        train(stopped, watcher=Notes(STOP_AT, interrupt))
    notes = Notes()
    again = train(stopped, resume=True, watcher=notes)
    assert notes.steps == [4]
    for name, tensor in load(whole)[0].items():
        assert torch.equal(tensor, load(again)[0][name]), name
    assert read_metadata(whole).label_thresholds == read_metadata(again).label_thresholds
    folder = table.parent / "stopped"
    assert going_on(folder) == "--resume goes on from the photos that it has pooled"
    starts = [json.loads(line)["resumed_at"] for line in (folder / "environment.jsonl").read_text().splitlines()]
    assert starts == [None, {"epoch": 0, "step": STOP_AT}]
    kept = (folder / "config.yaml").read_text()
    other = replace(stopped.data[0], options={"columns": ["tone"], "damaged": "skip"})
    with pytest.raises(WeightsError, match="is of another recipe than this one"):
        train(replace(stopped, data=(other,)), resume=True)
    assert (folder / "config.yaml").read_text() == kept


def test_what_is_refused(begun, table):
    (table.parent / "known.csv").write_text("image,category\n0.png,Dresses\n1.png,Skirts\n")
    with pytest.raises(ConfigError, match=r"know all words of .*known\.csv; there is nothing to learn"):
        train(recipe(begun, table.parent / "known.csv"))
    assert not (table.parent / "finetune").exists()
    with pytest.raises(ConfigError, match=r"init: labels: init\+data grows the label space of weights"):
        load_config("finetune", ["init=null", f"data.table={table}"])
    with pytest.raises(ConfigError, match="what is frozen must come from there"):
        train(recipe(begun, table, "head={name: unet, widths: [24, 16, 8]}"))


@pytest.mark.slow
def test_with_nothing_frozen_the_loop_trains_all(begun, table):
    config = recipe(begun, table, "freeze=null", "name=free", "validation=0.2", "epochs=1", "lr=1e-3")
    _, grown = load_network(train(config))
    assert {"kimono", "light", "houndstooth"} <= {label.name for label in grown.labels.labels}
    before, after = (load(path)[0] for path in (begun, table.parent / "free/last.safetensors"))
    assert not torch.equal(before["label_head.shared.0.weight"], after["label_head.shared.0.weight"])
    assert after["label_head.direct.weight"].abs().sum() > 0
