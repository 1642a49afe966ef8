"""What changed between two OUT folders: by hand, in both forms, and beside plain dictionaries."""

import io
import json
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow.csv
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from hemline.catalog import views
from hemline.catalog.diff import Move, diff
from hemline.catalog.diff_view import MOST, diff_tables
from hemline.catalog.tables import make_schemas
from hemline.colour import Colour
from hemline.errors import CatalogError, ConfigError, UnwritableError
from hemline.labels import LabelSpace
from hemline.result import Result
from hemline.words_said import ScoredLabel

from .stocked import Line, stock, table
from .tagged import SKU, garment, photo, schemas


def shows(*categories: str, pattern: str = "", season: str = "", colours: str = "navy") -> Result:
    labels = [ScoredLabel("pattern", pattern, 0, 0.5)] if pattern else []
    labels += [ScoredLabel("season", word, 0, 0.5) for word in season.split()]
    worn = [garment(category) for category in categories]
    for one in worn:
        one.colours = [Colour(name, "#000000", 0.4) for name in colours.split()]
    return photo(*worn, labels=labels)


def lines(*photos, **paths) -> list[Line]:
    return [Line("s", shown, path=path) for path, shown in ({f"p{i}": x for i, x in enumerate(photos)} | paths).items()]


def changes(old: Path, new: Path, out: Path) -> list[tuple[Any, ...]]:
    diff(old, new, out=out)
    return [tuple(row.values()) for row in pyarrow.parquet.read_table(out).to_pylist()]


def counted(found, what: str) -> tuple[int, ...]:
    return next(tuple(count[1:]) for count in found.counts if count.what == what)


OLD = lines(
    shows("coat", "shoe", pattern="dot", season="winter summer"),
    shows("coat", pattern="dot"),
    "broken",
    shows("shoe"),
    gone=shows("coat"),
)
NEW = lines(
    shows("shoe", "coat", pattern="stripe", season="summer winter", colours="red navy"),
    shows("coat", "coat", season="winter"),
    shows("coat"),
    shows(),
    come="broken",
)
EXPECTED = [
    ("come", 0, "only in new", None, "failed"),
    ("gone", 0, "only in old", "ok", None),
    ("p0", 0, "main category", "coat", "shoe"),
    ("p0", 0, "colours", '["navy"]', '["navy","red"]'),
    ("p0", 0, "pattern", "dot", "stripe"),
    ("p1", 0, "garments", "1", "2"),
    ("p1", 0, "pattern", "dot", None),
    ("p1", 0, "season", None, '["winter"]'),
    ("p2", 0, "status", "failed", "ok"),
    ("p2", 0, "categories", None, '["coat"]'),
    ("p2", 0, "main category", None, "coat"),
    ("p2", 0, "colours", None, '["navy"]'),
    ("p2", 0, "garments", None, "1"),
    ("p3", 0, "categories", '["shoe"]', "[]"),
    ("p3", 0, "main category", "shoe", None),
    ("p3", 0, "colours", '["navy"]', None),
    ("p3", 0, "garments", "1", "0"),
]


@pytest.mark.parametrize("forms", [
    ("parquet", "csv"),
    pytest.param(("parquet", "parquet"), marks=pytest.mark.slow),
    pytest.param(("csv", "csv"), marks=pytest.mark.slow),
])  # fmt: skip
def test_what_changed_is_told_in_either_form(tmp_path, forms):
    old, new = (stock(tmp_path / x, *y, form=f) for x, y, f in zip("on", (OLD, NEW), forms, strict=True))
    rows = changes(old, new, tmp_path / "rows.parquet")
    # p1 says coat twice: its set of categories is the same
    assert rows == EXPECTED
    found = diff(old, new)
    assert (found.both, found.changed, found.old.only, found.new.only, found.differs) == (4, 4, 1, 1, True)
    assert counted(found, "status") == (3, 1, 0, 0)
    assert counted(found, "categories") == (2, 1, 1, 0)
    assert counted(found, "main category") == (1, 1, 1, 1)
    assert counted(found, "pattern") == (0, 1, 0, 1)
    assert counted(found, "season") == (1, 0, 1, 0)
    assert found.moves["main category"] == [("coat", "shoe", 1), ("shoe", None, 1), (None, "coat", 1)]
    assert found.moves["status"] == [("failed", "ok", 1)]


def test_the_same_photos_in_another_order_are_no_difference(tmp_path):
    photos = [*OLD, Line("s", shows("shoe", season="winter"), path="p0")]  # the same path again
    turned = [photos[i] for i in (4, 2, 0, 5, 3, 1)]
    old = stock(tmp_path / "o", *photos)
    new = stock(tmp_path / "n", *turned, part_size=5, weights_sha256="cd" * 32)
    found = diff(old, new)
    assert not found.differs
    assert (found.both, found.changed) == (6, 0)
    assert found.settings() == [("weights_sha256", "ab" * 32, "cd" * 32)]
    assert changes(old, new, tmp_path / "x.parquet") == []


def test_an_occurrence_is_a_photo_of_its_own(tmp_path):
    once, twice = shows("coat"), shows("shoe")
    old = stock(tmp_path / "o", Line("s", once, path="p"), Line("s", twice, path="p"))
    new = stock(tmp_path / "n", Line("s", once, path="p"), Line("s", once, path="p", same_as=0))
    rows = changes(old, new, tmp_path / "x.parquet")
    assert rows == [
        ("p", 1, "status", "ok", "duplicate"),
        ("p", 1, "categories", '["shoe"]', '["coat"]'),
        ("p", 1, "main category", "shoe", "coat"),
    ]


def test_a_duplicate_shows_what_its_twin_shows(tmp_path):
    photos = [Line("s", shows("coat", pattern="dot"), path="a"), Line("s", shows("coat"), same_as=0, path="b")]
    old = stock(tmp_path / "o", *photos)
    new = stock(tmp_path / "n", photos[0], Line("s", shows("coat", pattern="dot"), path="b"))
    assert changes(old, new, tmp_path / "x.parquet") == [("b", 0, "status", "duplicate", "ok")]


def test_other_label_spaces_share_what_they_share(tmp_path):
    words = [{"id": 0, "name": "long"}]
    other = LabelSpace.from_dict(
        {
            "name": "other", "version": 1, "pixels": [],
            "categories": [{"id": 0, "name": "coat", "supercategory": "body", "outfit_part": "whole body"}],
            "groups": [
                {"name": "sleeve length", "choice": "one", "labels": words},
                {"name": "season", "choice": "many", "labels": [{"id": 0, "name": "winter"}]},
            ],
        }
    )  # fmt: skip
    theirs = shows("coat", season="winter")
    theirs.space = other
    theirs.labels.append(ScoredLabel("sleeve length", "long", 0, 0.5))
    old = stock(tmp_path / "o", Line("s", shows("coat", pattern="dot", season="winter")))
    new = stock(tmp_path / "n", Line("s", theirs), columns=make_schemas(other, SKU), label_space="other")
    found = diff(old, new)
    assert not found.differs
    assert (found.old.only_groups, found.new.only_groups) == (["pattern"], ["sleeve_length"])
    assert counted(found, "season") == (1, 0, 0, 0)
    assert [count.what for count in found.counts][-1] == "season"


def test_json_says_all_and_tables_the_most_frequent(tmp_path):
    old, new = stock(tmp_path / "o", *OLD), stock(tmp_path / "n", *NEW, min_score=0.5)
    found = diff(old, new)
    plain = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert plain["differs"] is True
    assert {"what": "pattern", "same": 0, "changed": 1, "appeared": 0, "vanished": 1} in plain["counts"]
    assert plain["moves"]["status"] == [{"old": "failed", "new": "ok", "photos": 1}]
    assert plain["new"]["made_with"]["min_score"] == 0.5
    console = Console(width=100, record=True, file=io.StringIO())
    for part in diff_tables(found):
        console.print(part)
    text = console.export_text()
    lines = [" ".join(line.split()) for line in text.splitlines()]
    expected = ("min_score null 0.5", "photos only there 1 1", "pattern 0 1 0 1", "coat shoe 1",
                "failed ok 1", "shoe - 1")  # fmt: skip
    for line in expected:
        assert line in lines, line
    assert "Of 4 photos in both, 4 differ." in text


def test_a_long_list_of_moves_is_cut(tmp_path):
    old = stock(tmp_path / "o", *lines(*[shows("coat")] * 2))
    moves = [Move(f"a{i}", "b", 50 - i) for i in range(MOST + 2)]
    *_, last = diff_tables(replace(diff(old, old), moves={"status": [], "main category": moves}))
    assert last.row_count == MOST
    assert str(last.caption) == f"and 2 more, of {50 - MOST + 49 - MOST} photos (all of them: --json)"


def test_a_csv_of_changes(tmp_path):
    old, new = stock(tmp_path / "o", *OLD), stock(tmp_path / "n", *NEW)
    diff(old, new, out=tmp_path / "rows.csv")
    text = pyarrow.csv.ConvertOptions(strings_can_be_null=True, quoted_strings_can_be_null=False,
                                      column_types={"old": "string", "new": "string"})  # fmt: skip
    rows = pyarrow.csv.read_csv(tmp_path / "rows.csv", convert_options=text).to_pylist()
    assert [tuple(row.values()) for row in rows] == EXPECTED


def test_neither_folder_is_written_to_and_errors_are_sentences(tmp_path, monkeypatch):
    old, new = stock(tmp_path / "o", *OLD), stock(tmp_path / "n", *NEW)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    monkeypatch.setattr(views, "MOST_THREADS", 1)
    diff(old, new)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    with pytest.raises(ConfigError, match=r"--out .*rows\.txt: name a file that ends in \.parquet or \.csv"):
        diff(old, new, out=tmp_path / "rows.txt")
    with pytest.raises(CatalogError, match="nowhere: no tags"):
        diff(old, tmp_path / "nowhere")
    with pytest.raises((CatalogError, UnwritableError), match="missing"):
        diff(old, new, out=tmp_path / "missing" / "rows.csv")
    (new / "photos" / "part-000001.parquet").write_bytes(b"PAR1 nothing PAR1")
    with pytest.raises(CatalogError, match=r"part-000001\.parquet"):
        diff(old, new)


# -- a second way ----------------------------------------------------------------------------------------------

WORD = st.sampled_from(["", "dot", "stripe"])
SHOWN = st.one_of(
    st.just("broken"),
    st.builds(
        lambda categories, pattern, seasons, colours: shows(
            *categories, pattern=pattern, season=" ".join(seasons), colours=colours
        ),
        st.lists(st.sampled_from(["coat", "shoe"]), max_size=2),
        WORD,
        st.lists(st.sampled_from(["a,b", "c"]), unique=True),
        st.sampled_from(["red navy", "navy red", "", "beige"]),
    ),
)
STOCK = st.lists(st.tuples(st.sampled_from(list("abcdefg")), SHOWN), min_size=1, max_size=12)


def said(folder: Path) -> dict[tuple[str, int], dict[str, Any]]:
    photos, mains = table(folder, "photos"), {x["position"]: x for x in table(folder, "garments") if x["is_main"]}
    told = {}
    for row in photos:
        main = mains.get(row["position"])
        told[row["path"], row["occurrence"]] = {
            "status": row["status"],
            "categories": None if row["category"] is None else frozenset(row["category"]),
            "main category": main and main["category"],
            "colours": main and frozenset(colour["name"] for colour in main["colours"]),
            "garments": row["garments"],
            "pattern": row["pattern"],
            "season": row["season"] and frozenset(row["season"]),
        }
    return told


@settings(max_examples=5, deadline=None)
@given(STOCK, STOCK)
def test_random_folders_differ_as_dictionaries_do(one, two):
    with TemporaryDirectory() as temporary:
        lean = schemas(embedding=None, masks=False)
        old, new = (
            stock(Path(temporary, x), *(Line("s", shown, path=path) for path, shown in y), columns=lean, part_size=9)
            for x, y in zip("on", (one, two), strict=True)
        )
        rows = changes(old, new, Path(temporary, "rows.parquet"))
        before, after = said(old), said(new)
        expected = {(*key, "only in old") for key in before.keys() - after}
        expected |= {(*key, "only in new") for key in after.keys() - before}
        for key in before.keys() & after:
            expected |= {(*key, what) for what, was in before[key].items() if was != after[key][what]}
        assert len(rows) == len(expected)
        assert {row[:3] for row in rows} == expected
        assert diff(old, new).differs == bool(expected)

