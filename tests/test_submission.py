"""Submissions to Kaggle: what is written of answers, and `hemline predict --kaggle`."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as coco  # type: ignore[import-untyped]  # pycocotools ships no types
from typer.testing import CliRunner
from typer.testing import Result as Ran

from hemline.cli import app
from hemline.coarse import CoarseMask
from hemline.errors import HemlineError, LabelError
from hemline.kaggle import read_submission, resized, submission_size
from hemline.labels import LabelSpace, load_label_space
from hemline.metadata import Metadata
from hemline.photo import ReadPhoto
from hemline.result import Garment, Result
from hemline.submission import Submission
from hemline.tagger import Failure, Tagger
from hemline.words_said import ScoredLabel
from tests.primary import ColourRuntime, colour_tagger, paint

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")   # pycocotools on numpy 2
SPACES = {2019: load_label_space("imaterialist2019"), 2020: load_label_space("fashionpedia")}
COAT, SHOE, SLEEVE = 9, 23, 31


def garment(category: int, score: float, mask: Any, *attributes: int | str, found_by: Any = "mask") -> Garment:
    said = [ScoredLabel("any", str(id), id, 0.9) for id in attributes]
    drawn = None if mask is None else CoarseMask.of(mask)
    return Garment(str(category), category, None, score, 0.1, None, drawn, found_by, [], said)


def result(name: str, *garments: Garment, size: tuple[int, int] = (512, 512)) -> Result:
    return Result(name, size, list(garments), [], ReadPhoto.of(np.zeros((*size, 3), np.uint8)), SPACES[2020])


def strip(begin: int, end: int, size: tuple[int, int] = (512, 512)) -> Any:
    """Columns from begin to end."""
    mask = np.zeros(size, bool)
    mask[:, begin:end] = True
    return mask


def written(path: Path, year: Any, *answers: Result | Failure) -> list[list[str]]:
    with Submission(path, year, [answer.photo for answer in answers], SPACES[year]) as submission:
        for answer in answers:
            submission.add(answer)
    assert [p.name for p in path.parent.iterdir()] == [path.name], "no other file is left"
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def test_parts_keep_their_pixels_on_the_garment_that_holds_them(tmp_path: Path) -> None:
    """In 2020 no pixel is submitted twice: a pocket on surer trousers is cut out of them, and not lost."""
    pants, pocket = garment(6, 0.9, strip(0, 100)), garment(32, 0.6, strip(20, 40))
    pants.parts.append(pocket)
    rows = written(tmp_path / "s.csv", 2020, result("a.jpg", pants, garment(SHOE, 0.7, strip(90, 120))))
    columns = [(row[2], sum(map(int, row[1].split()[1::2])) / 2048) for row in rows[1:]]     # 2 x 1024 pixels each
    assert columns == [("32", 20), ("6", 80), ("23", 20)]


def test_2019(tmp_path: Path) -> None:
    coat = garment(COAT, 0.9, strip(1, 3), 20, 5, "own word")
    rows = written(
        tmp_path / "new" / "s.csv", 2019, result("test/b.jpg", coat), result("a.png"), Failure("c.jpg", "bad")
    )
    assert rows == [
        ["ImageId", "EncodedPixels", "ClassId"],
        ["b.jpg", "513 1024", "9_5_20"],
        ["a.png", "", "23"],
        ["c.jpg", "", "23"],
    ]


def test_2020(tmp_path: Path) -> None:
    mask = np.zeros((1024, 600), bool)
    mask[2:5, 0] = mask[7, 1] = True
    answer = result("test/b.jpg", garment(COAT, 0.9, mask, 281, 20, 5), garment(SHOE, 0.9, ~mask), size=mask.shape)
    rows = written(tmp_path / "new" / "s.csv", 2020, answer, result("a.b.png"), Failure("c.jpg", "bad"))
    assert rows == [
        ["ImageId", "EncodedPixels", "ClassId", "AttributesIds"],
        ["b", "3 3 1032 1", "9", "5,20,281"],
        ["b", f"1 2 6 1026 1033 {1024 * 600 - 1032}", "23", ""],
        ["a.b", "", "23", ""],
        ["c", "", "23", ""],
    ]
    assert '"5,20,281"' in (tmp_path / "new" / "s.csv").read_text(), "commas stand in quotes"


def areas(rows: list[list[str]]) -> list[tuple[str, int]]:
    return [(row[2], sum(map(int, row[1].split()[1::2])) // 512) for row in rows[1:]]


def test_the_surer_garment_has_the_pixels(tmp_path: Path) -> None:
    garments = [
        garment(COAT, 0.5, strip(0, 100)),
        garment(COAT, 0.9, strip(50, 200)),
        garment(SLEEVE, 0.7, strip(20, 60)),
        garment(COAT, 0.4, strip(10, 90)),         # nothing is left of it
    ]
    answer = result("a.jpg", *garments)
    rows = written(tmp_path / "2019" / "s.csv", 2019, answer)
    assert areas(rows) == [("9", 150), ("31", 40), ("9", 50)], "sleeves may lie on coats"
    small = [garment(g.category_id, g.score, resized(g.mask, (1024, 512))) for g in garments if g.mask is not None]
    rows = written(tmp_path / "2020" / "s.csv", 2020, result("a.jpg", *small, size=(1024, 512)))
    assert [(name, area // 2) for name, area in areas(rows)] == [("9", 150), ("31", 30), ("9", 20)]


def test_guesses_are_not_submitted(tmp_path: Path) -> None:
    guess = garment(SHOE, 0.99, strip(0, 50), found_by="label")
    unseen = garment(SHOE, 0.99, None, found_by="label")
    rows = written(tmp_path / "s.csv", 2020, result("a.jpg", guess, unseen, garment(COAT, 0.5, strip(0, 9))))
    assert [row[2] for row in rows[1:]] == ["9"]


def test_specks_vanish(tmp_path: Path) -> None:
    speck = np.zeros((2048, 2048), bool)
    speck[0, 0] = True
    rows = written(tmp_path / "s.csv", 2019, result("a.jpg", garment(SHOE, 0.9, speck), size=speck.shape))
    assert rows[1:] == [["a.jpg", "", "23"]]


LAYERS = st.tuples(st.integers(1, 40), st.integers(1, 40)).flatmap(lambda size: arrays(bool, (4, *size)))


@settings(max_examples=15, deadline=None)
@given(LAYERS, st.permutations([0.2, 0.4, 0.6, 0.8]), st.sampled_from([2019, 2020]))
def test_what_is_written_is_read(tmp_path_factory: Any, layers: Any, scores: list[float], year: Any) -> None:
    path = tmp_path_factory.mktemp("kaggle") / "s.csv"
    garments = [garment(COAT + i // 2, s, m, i) for i, (s, m) in enumerate(zip(scores, layers, strict=True))]
    written(path, year, result("a.jpg", *garments, size=layers.shape[1:]))
    size = submission_size(layers.shape[1], layers.shape[2], year)
    id = "a.jpg" if year == 2019 else "a"
    found = {next(iter(x.attributes)): x for x in read_submission(path, year, {id: size})[id]}   # refuses shared pixels
    for i, one in enumerate(garments):
        expected = resized(layers[i], size)
        for other, mask in zip(garments, layers, strict=True):
            if other.score > one.score and (year == 2020 or other.category_id == one.category_id):
                expected = expected & ~resized(mask, size)
        assert (i in found) == expected.any()
        if i in found:
            np.testing.assert_array_equal(coco.decode(found[i].mask), expected)
            assert found[i].category == one.category_id


@pytest.mark.parametrize("year", [2019, 2020])
def test_the_words_of_the_challenge(tmp_path: Path, year: Any) -> None:
    other = SPACES[2019 if year == 2020 else 2020]
    for space in (load_label_space("street"), load_label_space("outfit5"), other):
        with pytest.raises(LabelError, match=rf"ids of {year} .*{space.name} .*labels={SPACES[year].name}$"):
            Submission(tmp_path / "s.csv", year, ["a.jpg"], space)
    Submission(tmp_path / "s.csv", year, ["a.jpg"], SPACES[year])
    assert list(tmp_path.iterdir()) == []


def test_ids_that_are_the_publishers_under_another_name(tmp_path: Path) -> None:
    words = {"name": "mine", "version": 1, "categories": [{"id": 9, "name": "coat", "supercategory": "x"}]}
    for year in (2019, 2020):
        Submission(tmp_path / "s.csv", year, [], LabelSpace.from_dict(words))
    moved = words | {"categories": [{"id": 8, "name": "coat", "supercategory": "x"}]}
    with pytest.raises(LabelError, match="have no 'coat'"):
        Submission(tmp_path / "s.csv", 2019, [], LabelSpace.from_dict(moved))


def test_two_photos_of_one_name(tmp_path: Path) -> None:
    with pytest.raises(HemlineError, match=r"^a/x.jpg and b/x.png are both 'x' to Kaggle"):
        Submission(tmp_path / "s.csv", 2020, ["a/x.jpg", "b/x.png"], SPACES[2020])
    Submission(tmp_path / "s.csv", 2019, ["a/x.jpg", "b/x.png"], SPACES[2019])
    with pytest.raises(HemlineError, match=r"^a/x.jpg and b/x.jpg are both 'x.jpg' to Kaggle"):
        Submission(tmp_path / "s.csv", 2019, ["a/x.jpg", "b/x.jpg"], SPACES[2019])


def test_whole_or_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "s.csv"
    path.write_text("before")

    def fail() -> None:
        with Submission(path, 2019, ["a.jpg", "b.jpg"], SPACES[2019]) as submission:
            submission.add(result("a.jpg", garment(COAT, 0.9, strip(0, 9))))
            assert path.read_text() == "before"
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


# -- the command line ----------------------------------------------------------------------------------------


def words(year: int) -> LabelSpace:
    """The words of a challenge that `ColourRuntime` knows."""
    pattern = [{"id": 317, "name": "plain (pattern)"}, {"id": 328, "name": "stripe"}]
    if year == 2019:
        pattern = [{"id": x.id, "name": x.name} for x in SPACES[2019].labels[:2]]
    names = {c.id: c.name for c in SPACES[2020].categories}
    return LabelSpace.from_dict(
        {
            "name": "few",
            "version": 1,
            "categories": [{"id": id, "name": names[id], "supercategory": "x"} for id in (4, 6, 14)],
            "pixels": ["skin"],
            "groups": [{"name": "pattern", "choice": "one", "labels": pattern}],
        }
    )


@pytest.fixture(params=[2019, 2020])
def year(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    metadata = Metadata("few", words(request.param), (64, 64), (0.5,) * 4, (0.5,) * 5)
    monkeypatch.setattr(Tagger, "load", lambda *a, **k: Tagger(ColourRuntime(), metadata))
    monkeypatch.chdir(tmp_path)
    return request.param


def run(*arguments: object) -> Ran:
    return CliRunner().invoke(app, ["predict", *map(str, arguments)], catch_exceptions=False)


def test_predict(year: Any, tmp_path: Path) -> None:
    paint(tmp_path / "test" / "a.png", "red", "lime")
    paint(tmp_path / "test" / "b.png")
    (tmp_path / "test" / "c.png").write_text("no photo")
    ran = run(tmp_path / "test", "gone.jpg", "none/*.jpg", "--kaggle", year, "--json")
    assert ran.exit_code == 1, "three have no answer, and are said"
    assert ran.stderr.count("no answer") == 3
    path = tmp_path / "submission.csv"
    ids = ["a.png", "b.png", "c.png", "gone.jpg"] if year == 2019 else ["a", "b", "c", "gone"]
    with path.open(newline="", encoding="utf-8") as file:
        assert [row[0] for row in csv.reader(file)] == ["ImageId", ids[0], *ids], "a glob is no photo"
    found = read_submission(path, year, dict.fromkeys(ids, submission_size(60, 48, year)))
    assert list(found) == ids
    assert [len(garments) for garments in found.values()] == [2, 0, 0, 0]
    jacket, pants = sorted(found[ids[0]], key=lambda x: x.category)
    assert (jacket.category, pants.category) == (4, 6)
    assert jacket.mask is not None
    inside = coco.decode(jacket.mask)
    height, width = inside.shape
    expected = np.zeros((height, width), bool)
    expected[height * 4 // 60 : height * 18 // 60, width * 8 // 48 : width * 40 // 48] = True
    assert (inside & expected).sum() / (inside | expected).sum() > 0.8
    first, second = (x.id for x in words(year).labels)
    assert [jacket.attributes, pants.attributes] == [frozenset([first]), frozenset([second])]


def test_where_it_is_written(year: int, tmp_path: Path) -> None:
    paint(tmp_path / "a.png", "red")
    assert run("a.png", "--kaggle", year, "--submission", "new/s.csv", "--coco", "new/c.json").exit_code == 0
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == ["c.json", "s.csv"]
    assert run("a.png").exit_code == 0
    assert not (tmp_path / "submission.csv").exists(), "only where it is asked for"


@pytest.mark.usefixtures("year")
@pytest.mark.parametrize("year", [2020], indirect=True)
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--submission", "s.csv"), "add --kaggle 2019 or --kaggle 2020"),
        (("--kaggle", 2020, "--submission", "folder"), "folder is a folder: name a file in it"),
        (("--kaggle", 2020, "folder/a.jpg"), "a.png and folder/a.jpg are both 'a' to Kaggle"),
        (("--kaggle", 2020, "--submission", "a.png/s.csv"), "a.png/s.csv: cannot be written"),
        (("--kaggle", 2019), "labels=imaterialist2019"),
        (("--kaggle", 2018), "'2018' is not one of"),
    ],
)
def test_what_cannot_be_written_is_said_at_once(tmp_path: Path, arguments: tuple[object, ...], says: str) -> None:
    paint(tmp_path / "a.png", "red")
    paint(tmp_path / "folder" / "a.jpg", "red")
    ran = run("a.png", *arguments)
    assert ran.exit_code == 2
    assert ran.stdout == ""
    assert says in ran.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.png", "folder"]


def test_weights_of_other_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Tagger, "load", lambda *a, **k: colour_tagger())
    monkeypatch.chdir(tmp_path)
    paint(tmp_path / "a.png", "red")
    ran = run("a.png", "--kaggle", 2019)
    assert (ran.exit_code, ran.stdout) == (2, "")
    assert "Kaggle's ids of 2019 have no 'pants, jeans'" in ran.stderr
    assert "labels=imaterialist2019" in ran.stderr
    assert not (tmp_path / "submission.csv").exists()


def test_an_error_on_the_way_leaves_no_submission(year: int, tmp_path: Path) -> None:
    photos = [paint(tmp_path / f"{i}.png", "red") for i in range(3)]
    (tmp_path / "out" / "1.drawn.jpg").mkdir(parents=True)       # where a file is to be
    ran = run(*photos, "--kaggle", year, "--draw", "out", "--batch-size", 1)
    assert ran.exit_code == 2
    assert "1.drawn.jpg: cannot be written" in ran.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["0.png", "1.png", "2.png", "out"]
