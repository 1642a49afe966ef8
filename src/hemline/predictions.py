"""`hemline evaluate --predictions`: answers in a file, whoever made them, scored by the truth's file; no photo is read.

COCO results are read by `hemline.coco_results`, Kaggle's submissions by `hemline.kaggle`.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from hemline.coco_results import Scored, read_results
from hemline.data import wrong_sets
from hemline.data.coco import find_sources
from hemline.data.fashionpedia import FILES
from hemline.errors import ConfigError, DataError, in_short
from hemline.instance_report import InstanceReport, ScoreName, instance_report
from hemline.instances import Instance, ScoredPhoto, Vocabulary
from hemline.kaggle import LONGEST, SPACES, Year, lines_of, read_submission, read_truth
from hemline.labels import load_label_space

KAGGLE: dict[str, tuple[Year, ScoreName]] = {
    "imaterialist2019": (2019, "kaggle2019"),
    "imaterialist2020": (2020, "kaggle2020"),
}
"""The sets that submissions answer, and what they are scored by."""
KNOWN = ("coco", "fashionpedia", *KAGGLE)
"""The sets whose truth is in one file."""


def score_predictions(file: Path, data: Mapping[str, Path | None], split: str = "validation") -> InstanceReport:
    """Score the answers that a file holds.

    Args:
        file: COCO results, or a submission of Kaggle's.
        data: The one set that they answer, by its name in `hemline.data.DATASETS`: `coco` with its JSON or folder,
            `fashionpedia`, `imaterialist2019` or `imaterialist2020` with its folder. The photos need not be there.
        split: The side whose JSON is the truth, where a folder holds several.

    Raises:
        ConfigError: not one set, a set whose truth is in no one file, or a path that is missing.
        DataError: a file cannot be read, or its rows are wrong: the first few are named.
    """
    if problems := wrong_sets(data):
        raise ConfigError("; ".join(problems))
    name, path = next(iter(data.items()), ("", None))
    if len(data) != 1 or path is None or name not in KNOWN:
        said = ", ".join(data) or "none"
        raise ConfigError(f"a file of predictions answers one set of {', '.join(KNOWN)}; --data names {said}")
    if name in KAGGLE:
        year, score = KAGGLE[name]
        scored = read_kaggle(file, path, year)
        return instance_report(name, scored.photos, scored.vocabulary, scores=[score], notes=scored.notes)
    scored = read_results(file, truth_file(name, path, split))
    return instance_report(name, scored.photos, scored.vocabulary, notes=scored.notes)


def truth_file(name: str, path: Path, split: str) -> Path:
    """The JSON that holds the truth of a side; a file, or the only one of a `coco` folder, holds that of all sides.

    Args:
        name: `coco` or `fashionpedia`.
        path: As of the dataset.
        split: The side.

    Raises:
        DataError: there is none, or there are several.
    """
    if path.is_file():
        return path
    if name == "coco":
        files = {source.side: source.file for source in find_sources(path, None)[1]}
        if len(files) == 1:
            return next(iter(files.values()))
    else:
        places = {side: (path / own, path / "annotations" / own) for side, (own, _) in FILES.items()}
        files = {side: file for side, both in places.items() for file in both if file.is_file()}
    if split in files:
        return files[split]
    there = f"only {' and '.join(files)}" if files else "nor any other, here or in annotations/"
    raise DataError(f"{name}: {path} holds no one JSON of {split}, {there}: choose another --split, or name a file")


def read_kaggle(file: Path, path: Path, year: Year) -> Scored:
    """What a submission answers, beside the rows of `train.csv`. Only photos that both name are compared.

    Args:
        file: The submission.
        path: `train.csv`, or the folder that holds it.
        year: The challenge.

    Raises:
        DataError: a file cannot be read, its rows are wrong, or they name no photo of `train.csv`.
    """
    table = path if path.is_file() else path / "train.csv"
    if not table.is_file():
        raise DataError(f"{path} holds no train.csv; give the folder as Kaggle ships it, or the file")
    asked = _image_ids(file)
    truth = {name: drawn for name, drawn in read_truth(table, year, asked).items() if drawn}
    if not truth:
        raise DataError(f"{file}: {table} draws nothing of its {len(asked):,} photos, so nothing can be compared")
    sizes = {name: _mask_size(drawn) for name, drawn in truth.items()}
    found = read_submission(file, year, sizes)
    photos = [ScoredPhoto(name, sizes[name], drawn, found.get(name, [])) for name, drawn in truth.items()]
    notes = [f"The photos that both {file.name} and {table.name} name."]
    if strangers := len(asked) - len(truth):
        notes.append(f"{strangers:,} more in {file.name} are left out, for {table.name} draws nothing of them.")
    return Scored(photos, Vocabulary.of(load_label_space(SPACES[year])), notes)


def _image_ids(file: Path) -> set[str]:
    """The photos that a submission names.

    Raises:
        DataError: it cannot be read, or names none.
    """
    before = csv.field_size_limit(LONGEST)
    try:
        with file.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as lines:
            rows = csv.DictReader(lines_of(lines))
            asked = {row["ImageId"].strip() for row in rows if row.get("ImageId")}
    except (OSError, csv.Error) as error:
        raise DataError(f"{file}: cannot be read ({in_short(error)})") from error
    finally:
        csv.field_size_limit(before)
    if not asked:
        raise DataError(f"{file} has no photo under `ImageId`; a submission is a CSV such as `predict --kaggle` writes")
    return asked


def _mask_size(drawn: Sequence[Instance]) -> tuple[int, int]:
    height, width = next(garment.mask["size"] for garment in drawn if garment.mask is not None)
    return int(height), int(width)
