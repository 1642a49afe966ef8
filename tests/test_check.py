"""`hemline data check`: one of each problem is found, once, and a set without problems has none."""

import json
import shutil

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from hemline.cli import app
from hemline.config import Config, Data
from hemline.data import DATASETS
from hemline.data_commands import check_table
from hemline.data_commands.asked import config_of, opened
from hemline.data_commands.check import check
from hemline.data_commands.check_labels import Tally, off_by_one
from hemline.data_commands.check_photo import _two_of_one
from tests.broken import SIZE, TRAIN, VALIDATION, Coco, draw, imaterialist
from tests.toy import SPACE, said

RUN = CliRunner()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HEMLINE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def coco(tmp_path):
    return Coco(tmp_path / "coco")


def found(*words):
    """(severity, kind, file name, row) of everything that is wrong."""
    checked = check(config_of([*map(str, words), "workers=0"]))
    return [(s, p.kind, p.file.rpartition("/")[2], p.row) for s, _, p in checked.findings]


def command(*words):
    return RUN.invoke(app, ["data", "check", *map(str, words), "workers=0"])


def test_a_whole_set_has_no_problem(coco):
    checked = check(config_of([f"coco={coco.save()}", "workers=0"]))
    assert checked.findings == []
    assert checked.exit_code == 0
    assert checked.to_dict() == {
        "ok": True, "errors": 0, "warnings": 0, "labels": 3,
        "checked": [
            {"dataset": "coco", "path": str(coco.folder), "photos": TRAIN + VALIDATION, "train": TRAIN,
             "validation": VALIDATION, "test": 0, "garments": 2 * (TRAIN + VALIDATION)}
        ],
        "not_opened": [], "findings": [],
    }  # fmt: skip
    result = command(f"coco={coco.folder}")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "checked coco: 16 photos (12 train, 4 validation), 32 garments",
        "all is well: every photo was read, 3 labels are in use",
    ]


MASKS = {
    "bad mask": {"size": list(SIZE), "counts": [5, 10, 99999]},
    "empty mask": {"size": list(SIZE), "counts": [SIZE[0] * SIZE[1]]},
    "tiny mask": {"size": list(SIZE), "counts": [7, 3, SIZE[0] * SIZE[1] - 10]},
    "mask outside the photo": [[30, 20, 45, 20, 45, 30, 30, 30]],
}


def damage_row(coco, what):
    """Break annotation 300, which is in photo 3."""
    garments = coco.sides["train"]["annotations"]
    match what:
        case "unknown category":
            garments[6]["category_id"] = 77
        case "unknown image":
            garments[6]["image_id"] = 999
        case "duplicate annotation id":
            garments[8]["id"] = 300
        case _:
            garments[6]["segmentation"] = MASKS[what]


def damage_photo(coco, what):
    """Break photo 3."""
    match what:
        case "missing photo":
            coco.photo(3).unlink()
        case "unreadable photo":
            coco.photo(3).write_bytes(coco.photo(3).read_bytes()[:900])
        case "unusable labels":
            draw(coco.photo(3), 3, (48, 80))                     # another shape than the labels'
        case "duplicate photo":
            shutil.copy(coco.photo(1), coco.photo(3))
        case "duplicate photo across the split":
            shutil.copy(coco.photo(TRAIN), coco.photo(3))
        case "photos that look the same":
            cv2.imwrite(str(coco.photo(3)), cv2.resize(cv2.imread(str(coco.photo(1))), (72, 96)))
        case _:
            photo = cv2.imread(str(coco.photo(3)))
            cv2.imwrite(str(coco.photo(TRAIN)), photo, [cv2.IMWRITE_JPEG_QUALITY, 60])


ROWS = ["unknown category", "unknown image", "duplicate annotation id", *MASKS]
PHOTOS = [
    "missing photo", "unreadable photo", "unusable labels", "duplicate photo", "duplicate photo across the split",
    "photos that look the same", "photos that look the same across the split",
]  # fmt: skip
WARNINGS = {
    "tiny mask", "mask outside the photo", "duplicate photo", "photos that look the same",
    "photos that look the same across the split",
}  # fmt: skip


@pytest.mark.parametrize("what", [*ROWS, *PHOTOS])
def test_each_problem_is_found_once_and_nothing_else(coco, what):
    (damage_row if what in ROWS else damage_photo)(coco, what)
    severity = "warning" if what in WARNINGS else "error"
    row = "annotation 300" if what in ROWS else "image 3" if what == "missing photo" else ""
    file = "instances_train.json" if row else "003.jpg"
    assert found(f"coco={coco.save()}") == [(severity, what, file, row)]
    assert command(f"coco={coco.folder}").exit_code == (severity == "error")


def test_a_category_that_is_never_drawn(coco):
    for side in coco.sides.values():
        side["categories"].append({"id": 4, "name": "cape", "supercategory": "clothes"})
    assert found(f"coco={coco.save()}") == [("warning", "label not to be learnt", "label space coco", "cape")]


def test_a_mask_wholly_outside_is_an_error(coco):
    coco.sides["train"]["annotations"][6]["segmentation"] = [[40, 20, 55, 20, 55, 30, 40, 30]]
    assert found(f"coco={coco.save()}") == [
        ("error", "mask outside the photo", "instances_train.json", "annotation 300")
    ]


def test_all_problems_at_once_in_a_fixed_order(coco):
    for number, counts in ((8, [99999]), (10, [5, 3, 1720]), (12, [1728])):
        coco.sides["train"]["annotations"][number]["segmentation"] = {"size": list(SIZE), "counts": counts}
    coco.photo(0).write_bytes(b"")
    shutil.copy(coco.photo(TRAIN), coco.photo(1))
    folder = coco.save()
    first = command(f"coco={folder}", "--json")
    assert first.stdout == command(f"coco={folder}", "--json").stdout
    assert first.exit_code == 1
    entries = json.loads(first.stdout)["findings"]
    assert [(entry["kind"], entry["row"]) for entry in entries] == [
        ("bad mask", "annotation 400"),
        ("duplicate photo across the split", ""),
        ("empty mask", "annotation 600"),
        ("unreadable photo", ""),
        ("tiny mask", "annotation 500"),
    ]
    assert set(entries[0]) == {"severity", "dataset", "kind", "file", "row", "what"}
    workers = RUN.invoke(app, ["data", "check", f"coco={folder}", "--json", "workers=2"])
    assert workers.stdout == first.stdout


def test_the_same_photo_in_two_datasets(tmp_path, coco):
    other = Coco(tmp_path / "other")
    for number in range(TRAIN + VALIDATION):
        draw(other.photo(number), 1000 + number)
    shutil.copy(coco.photo(2), other.photo(5))                  # both train
    shutil.copy(coco.photo(TRAIN), other.photo(6))              # validation there, training here
    checked = check(config_of([f"coco={coco.save()}", f"coco={other.save()}", "workers=0"]))
    assert [(f.severity, f.dataset, f.problem.kind, f.problem.file) for f in checked.findings] == [
        ("error", "coco 2", "duplicate photo across the split", str(other.photo(6))),
        ("warning", "coco 2", "duplicate photo", str(other.photo(5))),
    ]
    assert str(coco.photo(TRAIN)) in checked.findings[0].problem.what


def test_copies_whose_labels_contradict(coco):
    shutil.copy(coco.photo(1), coco.photo(3))                   # 1 shows skirt and shoe, 3 coat and skirt
    what = check(config_of([f"coco={coco.save()}", "workers=0"])).findings[0].problem.what
    assert what.endswith("001.jpg; their labels contradict: coat, shoe")


def test_ids_off_by_one(tmp_path, coco):
    for side in coco.sides.values():
        for garment in side["annotations"]:
            garment["category_id"] += 1
    kinds = [(s, k) for s, k, *_ in found(f"coco={coco.save()}")]
    assert kinds.count(("error", "ids off by one")) == 1
    for side in coco.sides.values():
        side["categories"][1]["name"] = "background"
        for garment in side["annotations"]:
            garment["category_id"] = max(garment["category_id"] - 2, 2)
    assert ("warning", "ids off by one", "coco", "") in found(f"coco={coco.save()}")

    folder = imaterialist(tmp_path / "imat")
    csv = folder / "train.csv"
    before = {kind for _, kind, *_ in found(f"imaterialist2020={folder}")}
    assert before == {"label not to be learnt"}
    rows = csv.read_text().splitlines()
    counted = [row[:-1].rpartition(",") for row in rows[1:]]
    shifted = [f"{head},{number % 46 + 1}," for number, (head, _, _) in enumerate(counted)]
    csv.write_text("\n".join([rows[0], *shifted]) + "\n")
    assert "ids off by one" in {x[1] for x in found(f"imaterialist2020={folder}")}


@pytest.mark.parametrize(
    ("used", "known", "step"),
    [
        ({1, 2, 3}, {0, 1, 2}, 1),
        ({0, 1, 2}, {1, 2, 3}, -1),
        ({0, 1, 2}, {0, 1, 2}, 0),
        ({1, 2, 9}, {0, 1, 2}, 0),
        ({1, 6, 11}, {0, 5, 10}, 1),                             # ids with gaps
        ({3}, {2}, 0),                                           # one id alone proves nothing
    ],
)
def test_what_looks_off_by_one(used, known, step):
    assert off_by_one(used, known) == step


@pytest.mark.parametrize(("shift", "said"), [(1, "take 1 from each"), (-1, "add 1 to each")])
def test_ids_off_by_one_say_what_to_do(coco, shift, said):
    for side in coco.sides.values():
        for garment in side["annotations"]:
            garment["category_id"] += shift
    assert said in command(f"coco={coco.save()}").stdout


def test_runs_that_begin_as_a_list_does(tmp_path):
    folder = tmp_path / "own"
    drawn = (np.arange(60 * 40) >= 43).reshape(40, 60).T                            # 43 is `[1` in COCO's runs
    (folder / "images").mkdir(parents=True)
    cv2.imwrite(str(folder / "images/a.jpg"), np.zeros((60, 40, 3), np.uint8))
    (folder / "masks").mkdir()
    cv2.imwrite(str(folder / "masks/a.png"), drawn.astype(np.uint8))
    (folder / "classes.txt").write_text("coat\n")
    assert {kind for _, kind, *_ in found(f"folder={folder}")} == {"label not to be learnt"}


def test_labels_no_one_could_learn():
    tally = Tally(SPACE, every=True)
    rows = {
        "coat": [1] * 12, "stripe": [1, 1, 1, 1] + [0] * 8, "winter": [1] * 6 + [0] * 6, "shoe": [0] * 12,
        "dot": [-1, 1, 0] * 4,
    }  # fmt: skip
    for i in range(12):
        labels = said(**{name: values[i] for name, values in rows.items()})
        tally.add("toy", "validation" if i > 8 else "train", labels)
    wrong = {finding.problem.row: finding.problem.what for finding in tally.findings()}
    assert wrong == {
        "coat": "no photo is without it: there is nothing to tell it from",
        "stripe": "4 training photos show it, 5 at least are needed to learn anything",
        "winter": "no validation photo shows it: it cannot be measured",
        "shoe": "no photo shows it",
        "dot": "3 training photos show it, 5 at least are needed to learn anything",
    }                                                            # and not cape, which is hidden
    assert tally.spoken_of() == 5


def test_labels_that_contradict():
    assert list(_two_of_one(said(stripe=1, dot=1), SPACE)) == ["stripe and dot: of pattern a garment has one"]
    assert list(_two_of_one(said(stripe=1, dot=0, winter=1), SPACE)) == []


def test_a_photo_of_which_nothing_is_known(monkeypatch):
    class Silent(DATASETS["synthetic"]):
        def __getitem__(self, index):
            sample = super().__getitem__(index)
            if index == 2:
                sample.regions, sample.targets = [], np.full_like(sample.targets, -1)
            return sample

    monkeypatch.setitem(DATASETS, "synthetic", Silent)
    config = Config(name="x", epochs=1, workers=0, data=(Data(name="synthetic", options={"count": 6}),))
    findings = check(config).findings
    assert [f.problem.file for f in findings if f.problem.kind == "no label"] == ["synthetic/000002"]
    assert not [f for f in findings if f.severity == "error"]


def test_no_wall_of_text(coco):
    for garment in coco.sides["train"]["annotations"][:20]:
        garment["segmentation"] = {"size": list(SIZE), "counts": [1]}
    folder = coco.save()
    lines = command(f"coco={folder}").stdout.splitlines()
    assert lines[0] == "error: bad mask  20"
    assert lines[6] == "  and 15 more; --all prints them"
    assert len(lines) == 7 + 2
    assert lines[-1].startswith("20 errors, ")
    assert len(command(f"coco={folder}", "--all").stdout.splitlines()) == 1 + 20 + 2
    assert check_table.FIRST == 5


def test_nothing_that_could_be_checked(tmp_path, coco):
    (tmp_path / "empty").mkdir()
    result = command(f"coco={tmp_path / 'empty'}")
    assert result.exit_code == 2
    assert "cannot be opened" in result.stdout
    assert result.stdout.count(str(tmp_path / "empty")) >= 1
    assert command("coco=/nowhere").exit_code == 2
    both = command(f"coco={tmp_path / 'empty'}", f"coco={coco.save()}", "--json")
    assert both.exit_code == 1
    assert json.loads(both.stdout)["not_opened"] == ["coco"]
    assert [x["photos"] for x in json.loads(both.stdout)["checked"]] == [16]


def test_sides_of_a_stratified_split_are_those_of_training():
    """A duplicate across it is found where training would have it."""
    words = ["synthetic", "data.0.count=40", "data.0.canvas=[32,32]", "workers=0", "validation=0.3"]
    config = config_of([*words, "split=stratified"])
    (source,) = opened(config)[1]
    (checked,) = check(config).sets
    assert [i for i, side in enumerate(checked.sides) if side == "validation"] == list(source.held_out)
    (by_hash,) = check(config_of(words)).sets
    assert by_hash.sides != checked.sides
