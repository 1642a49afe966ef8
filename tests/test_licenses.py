"""Whose terms an answer stands on."""

import json
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import metadata as of_package
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from hemline.cli import app
from hemline.data import DATASETS
from hemline.errors import WeightsError
from hemline.labels import LabelSpace, load_label_space
from hemline.licenses import CODE, Licenses, licenses, licenses_table
from hemline.metadata import Metadata
from tests import toy
from tests.test_exports import LEARNING_HALF

STREET = load_label_space("street")
CCP = {"name": "ccp", "terms": "Apache-2.0", "photos": 700}
ITEMS = {"name": "clothing_dataset", "terms": "CC0-1.0", "photos": 4000}
DRAWN = {"name": "synthetic", "terms": "none", "photos": 10}


def of(folder: Path, data: list[Any], space: LabelSpace = STREET, **changes: Any) -> Licenses:
    settings: dict[str, Any] = {"recipe": {"labels": space.name}, "license": "Apache-2.0"} | changes
    thresholds = (0.5,) * space.num_masks, (0.5,) * space.num_labels
    about = Metadata("mine", space, (32, 32), *thresholds, data=data, **settings)
    return licenses(toy.write_weights(folder / "mine.safetensors", about))


def taught(found: Licenses) -> dict[str, dict[str, tuple[list[str], list[str], list[str]]]]:
    return {x.label: {t.data: (t.surely, t.mostly, t.one_of) for t in x.taught_by} for x in found.labels}


def text_of(found: Licenses, width: int = 100) -> str:
    console = Console(width=width)
    with console.capture() as captured:
        for table in licenses_table(found):
            console.print(table)
    return captured.get()


def test_the_licence_of_the_code_is_that_of_the_package() -> None:
    assert of_package("hemline")["License-Expression"] == CODE


def test_who_taught_what(tmp_path: Path) -> None:
    found = of(tmp_path, [CCP, ITEMS])
    labels = taught(found)
    assert labels["coat"] == {"ccp": (["coat"], [], ["cape"]), "clothing_dataset": ([], [], ["Outwear"])}
    assert labels["wrist-length"] == {"clothing_dataset": (["Hoodie", "Blazer"], ["Longsleeve"], [])}
    assert labels["glasses"] == {"ccp": (["glasses", "sunglasses"], [], [])}
    assert labels["collar"] == {}                                # clothing_attributes is not among the data
    assert "blazer" in labels, "of two names that differ in a capital, the shown one"
    shown = [c.name for c in STREET.categories if c.shown] + [x.name for x in STREET.labels if x.shown]
    assert list(labels) == shown
    assert found.teaching == "package"
    assert found.complete
    assert found.unknown == []
    text = text_of(found)
    for line in ("clothing_dataset (one of several): CC0-1.0", "data ccp, 700 photos", "nobody"):
        assert line in text
    assert "mostly so" not in text                               # where another word says so surely


def test_words_of_the_data_are_taught_by_the_data(tmp_path: Path) -> None:
    """`labels: data` takes the words of the first dataset; which of them another has is not known."""
    mine, more = {"name": "coco", "terms": "mine", "photos": 30}, {"name": "table", "terms": "ours", "photos": 9}
    alone = of(tmp_path, [mine], replace(STREET, teach={}), recipe={"labels": "data"})
    assert all(teachers == {"coco": ([label], [], [])} for label, teachers in taught(alone).items())
    assert alone.complete
    assert alone.unknown == []
    both = of(tmp_path, [mine, more], replace(STREET, teach={}), recipe={"labels": "data"})
    assert not both.complete
    assert any("table" in sentence for sentence in both.unknown)


def test_a_set_read_in_two_ways_is_one(tmp_path: Path) -> None:
    found = of(tmp_path, [CCP, CCP | {"photos": 50}, ITEMS | {"photos": 0}])
    assert [(source.name, source.terms, source.photos) for source in found.data] == [("ccp", "Apache-2.0", 750)]
    assert not any("clothing_dataset" in teachers for teachers in taught(found).values()), "it gave no photo"


def test_weights_that_carry_their_teaching_are_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    teach = {"ccp": {"words": {"null": None, "coat": {"is": ["jacket"]}}}}
    plain = STREET.to_dict() | {"teach": teach}
    monkeypatch.setattr(LabelSpace, "to_dict", lambda _: plain)  # no weights are written so as yet
    found = of(tmp_path, [CCP])
    assert found.teaching == "weights"
    assert taught(found)["jacket"] == {"ccp": (["coat"], [], [])}
    assert taught(found)["coat"] == {}


@pytest.mark.parametrize(
    ("data", "changes", "sentence"),
    [
        ([], {}, "the file names no data"),
        ([CCP, DRAWN], {}, "Which labels synthetic taught"),
        ([CCP], {"recipe": {"labels": "gone.yaml"}}, "Which labels ccp taught"),
        ([CCP], {"recipe": {"labels": "street", "init": "first.safetensors"}}, "training began from them"),
        ([CCP], {"recipe": {"labels": "street", "data": [{"name": "ccp", "pseudo": "x"}]}}, "some masks were drawn by"),
    ],
)
def test_what_cannot_be_known_is_said(
    tmp_path: Path, data: list[Any], changes: dict[str, Any], sentence: str
) -> None:
    found = of(tmp_path, data, **changes)
    (said,) = found.unknown
    assert sentence in said
    assert not found.complete
    text = text_of(found)
    assert "nobody" not in text, "other data may have taught it"
    assert "what cannot be known" in text
    assert [source.name for source in found.data] == [entry["name"] for entry in data]


def test_terms_that_the_file_does_not_state(tmp_path: Path) -> None:
    found = of(tmp_path, [{"name": "ccp", "photos": 3}], license="",
               recipe={"labels": "street", "backbone": {"name": "resnet18", "pretrained": True}})  # fmt: skip
    assert found.weights_license == found.data[0].terms == "not stated"
    assert ["licence of the weights" in found.unknown[0], "trunk resnet18" in found.unknown[1]] == [True, True]


@pytest.mark.parametrize("data", [["ccp"], [{"terms": "x"}], [{"name": "ccp", "photos": "many"}]])
def test_damaged_data_is_one_sentence(tmp_path: Path, data: list[Any]) -> None:
    with pytest.raises(WeightsError, match=r"mine\.safetensors: the metadata is damaged: `data` must list"):
        of(tmp_path, data)


def test_on_the_command_line(tmp_path: Path) -> None:
    ran = CliRunner().invoke(app, ["licenses", "--json"])
    assert ran.exit_code == 0
    found = json.loads(ran.stdout)
    assert (found["code"], found["weights"], found["weights_license"]) == (CODE, "street", "Apache-2.0")
    ccp = next(source for source in found["data"] if source["name"] == "ccp")
    assert ccp["terms"] == getattr(DATASETS["ccp"], "terms", None)
    coat = next(label for label in found["labels"] if label["label"] == "coat")
    assert (coat["group"], coat["id"], coat["taught_by"][0]["terms"]) == ("category", 9, "Apache-2.0")
    table = CliRunner().invoke(app, ["licenses", "default"])
    assert (table.exit_code, table.stderr) == (0, "")
    assert "…" not in table.stdout
    missing = CliRunner().invoke(app, ["licenses", str(tmp_path / "none.onnx")])
    assert (missing.exit_code, missing.stdout) == (2, "")
    assert "no such weights file" in missing.stderr


def test_no_learning_half_is_needed() -> None:
    script = (
        "import sys\n"
        f"for name in {LEARNING_HALF}:\n"
        "    sys.modules[name] = None\n"
        "from hemline.cli import app\n"
        "app(['licenses', '--json'])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["labels"]
