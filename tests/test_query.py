"""`hemline query`: what words mean, what they find, and what cannot be done by them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from hemline.catalog.query import query, query_sql
from hemline.catalog.views import open_views
from hemline.cli import app
from hemline.errors import CatalogError, HemlineError, QueryError
from tests.asked import garment, write_tags

PHOTOS: list[tuple[dict[str, Any], list[dict[str, Any]]]] = [
    ({"sku": "A-1", "price": 40.0, "colour": "marine", "new": True}, [
        garment("coat", ("navy", 0.7), ("white", 0.3), textile_pattern="stripe", score=0.9, is_main=True),
        garment("skirt", ("black", 1.0), textile_pattern="plain (pattern)"),
    ]),
    ({"sku": "A-2", "price": 60.0}, [
        garment("coat", ("black", 1.0), textile_pattern="stripe", score=0.8),
        garment("shirt, blouse", ("navy", 1.0), sleeve_length="short (length)"),
    ]),
    ({"sku": "O'Brien; DROP", "price": None, "new": False}, [
        garment("coat", ("white", 0.8), ("navy", 0.2), score=0.7),
        garment("shoe", ("red", 1.0), shoe_type=["boots", "heels"], area=0.05),
    ]),
    ({"sku": "A-1-copy", "sha256": f"{0:064x}"}, []),
    ({"sku": "broken", "status": "failed", "sha256": None, "error_message": "no photo"}, []),
]  # fmt: skip


@pytest.fixture(scope="module", params=["parquet", pytest.param("csv", marks=pytest.mark.slow)])
def tags(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tags(tmp_path_factory.mktemp("tags") / "it's [1]" / request.param, PHOTOS, form=request.param)


opened = cache(open_views)


def found(folder: Path, text: str) -> list[tuple[int, int]]:
    views = opened(folder)
    rows = views.read(query_sql(views, text)).read_all()
    return list(zip(rows["position"].to_pylist(), rows["garment"].to_pylist(), strict=True))


@pytest.mark.parametrize(("text", "expected"), [
    ("coat and colour=navy and pattern=stripe", [(0, 0), (3, 0)]),
    ("navy stripe", [(0, 0), (3, 0)]),
    ("COAT and not navy", [(1, 0), (2, 0)]),
    ("coat and colours=navy", [(0, 0), (2, 0), (3, 0)]),
    ("coat navy>0.2", [(0, 0), (3, 0)]),
    ("coat navy<0.1", [(1, 0)]),
    ("stripe>0.75", []),
    ("stripe>=0.75 price>50", [(1, 0)]),
    ("coat and navy with skirt", [(0, 0), (3, 0)]),
    ("coat with navy", [(1, 0)]),
    ("coat without skirt", [(1, 0), (2, 0)]),
    ("coat without skirt with boots and heels", [(2, 0)]),
    ("coat with coat", []),
    ("coat with skirt and price<50", [(0, 0)]),
    ("coat without price>50", [(0, 0), (2, 0), (3, 0)]),
    ("coat with navy and price>50 without red", [(1, 0)]),
    ("(skirt or shirt) and not black", [(1, 1)]),
    ("shirt or skirt and navy", [(1, 1)]),
    ('"shirt, blouse"', [(1, 1)]),
    ("category=blouse", [(1, 1)]),
    ("short", [(1, 1)]),
    ("sleeve=short", [(1, 1)]),
    ("textile pattern=plain", [(0, 1), (3, 1)]),
    ("coat and pattern!=stripe", [(2, 0)]),
    ("boots", [(2, 1)]),
    ("shoe=heels", [(2, 1)]),
    ("main", [(0, 0), (3, 0)]),
    ("price<=40", [(0, 0), (0, 1)]),
    ("coat price<50", [(0, 0)]),
    ("coat not price<50", [(1, 0), (2, 0), (3, 0)]),
    ("sku=A-1-copy", [(3, 0), (3, 1)]),
    ("coat sku~a-1", [(0, 0), (3, 0)]),
    ("\"sku\"=\"O'Brien; DROP\" coat", [(2, 0)]),
    ("new=yes coat", [(0, 0)]),
    ("new=false coat", [(2, 0)]),
    ("photos.colour=marine coat", [(0, 0)]),
    ("score>=0.7", [(0, 0), (3, 0), (1, 0), (2, 0)]),
    ("score=0.7", [(2, 0)]),
    ("area<0.1", [(2, 1)]),
    ("color=grey", []),
    ("sku=broken", []),
])  # fmt: skip
def test_what_words_find(tags: Path, text: str, expected: list[tuple[int, int]]) -> None:
    assert sorted(found(tags, text)) == sorted(expected)


def test_a_csv_is_asked_alike(tmp_path: Path, parquet: Path) -> None:
    folder = write_tags(tmp_path / "tags [*]? sku=1", PHOTOS, form="csv")
    for text in ("coat and colours=navy with skirt", "boots", "stripe>=0.75 price>50", "new=yes", "coat without navy"):
        assert found(folder, text) == found(parquet, text), text


def test_surest_first_then_in_order_and_at_most_the_limit(tags: Path) -> None:
    assert found(tags, "coat or skirt") == [(0, 0), (3, 0), (1, 0), (2, 0), (0, 1), (3, 1)]
    assert query(tags, "coat or skirt", limit=2)["position"].to_pylist() == [0, 3]
    copy = query(tags, "sku=A-1-copy coat").to_pylist()[0]
    assert (copy["path"], copy["duplicate_of"], copy["sku"]) == ("photos/3.jpg", 0, "A-1-copy")
    assert copy["photos.colour"] is None
    assert copy["colour"] == "navy"


@pytest.mark.parametrize(("text", "says"), [
    ("cot", "did you mean coat"),
    ("pattern=stripy", "did you mean stripe"),
    ("colour=marine", "no colour is called 'marine'"),
    ("patern=stripe", "did you mean textile pattern"),
    ("type=boots", "neckline type"),
    ("coat and skirt", "`coat with skirt`"),
    ("price<cheap", "'cheap' is none"),
    ("navy>much", "'much' is none"),
    ("new=perhaps", "true or false"),
    ("attributes=stripe", "--sql"),
    ("price~4", "no text"),
    ("(coat", "not closed"),
    ("coat)", "stands where nothing can"),
    ("coat and", "the end"),
    ("sku=", "what?"),
    ('"coat', "quote"),
    ("coat!", "means nothing here"),
    ("", "empty"),
    ("coat " * 1000, "signs"),
    ("not " * 60 + "coat", "more than 50"),
    ("sku='a\0b'", "no text"),
])  # fmt: skip
def test_a_query_that_says_nothing_is_refused_with_what_would(tags: Path, text: str, says: str) -> None:
    with pytest.raises(QueryError) as error:
        found(tags, text)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_words_of_weights_that_do_not_ship_are_learnt_from_the_rows(tmp_path: Path) -> None:
    folder = write_tags(tmp_path / "tags", [({}, [garment("kilt (tartan)", textile_pattern="herring-bone")])])
    assert found(folder, "kilt herring bone") == [(0, 0)]
    with pytest.raises(QueryError, match="did you mean"):
        query(folder, "kit")


ATOMS: dict[str, Callable[[dict[str, Any]], bool]] = {
    "coat": lambda g: g["category"] == "coat",
    "navy": lambda g: g["colour"] == "navy",
    "stripe": lambda g: g["textile_pattern"] == "stripe",
    "boots": lambda g: "boots" in (g["shoe_type"] or []),
    "score>0.5": lambda g: g["score"] > 0.5,
    "price<50": lambda g: g["price"] is not None and g["price"] < 50,
    "sku~a": lambda g: "a" in g["sku"].lower(),
}
TREES = st.recursive(
    st.sampled_from(sorted(ATOMS)),
    lambda below: st.tuples(st.just("not"), below) | st.tuples(below, st.sampled_from(["and", "or"]), below),
    max_leaves=6,
)


def as_text(tree: Any) -> str:
    if isinstance(tree, str):
        return tree
    return f"({' '.join(x if x in ('not', 'and', 'or') else as_text(x) for x in tree)})"


def holds(tree: Any, row: dict[str, Any]) -> bool:
    if isinstance(tree, str):
        return ATOMS[tree](row)
    if len(tree) == 2:
        return not holds(tree[1], row)
    both = [holds(tree[0], row), holds(tree[2], row)]
    return all(both) if tree[1] == "and" else any(both)


@settings(max_examples=15, deadline=None)
@given(tree=TREES)
def test_any_query_finds_what_reading_every_row_finds(
    everything: list[dict[str, Any]], parquet: Path, tree: Any
) -> None:
    expected = [(row["position"], row["garment"]) for row in everything if holds(tree, row)]
    assert sorted(found(parquet, as_text(tree))) == sorted(expected)


@pytest.fixture(scope="module")
def parquet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tags(tmp_path_factory.mktemp("parquet") / "tags", PHOTOS)


@pytest.fixture(scope="module")
def everything(parquet: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = query(parquet, "score>=0").to_pylist()
    return rows


@settings(max_examples=25, deadline=None)
@given(text=st.text(max_size=40) | st.lists(st.sampled_from(
    ["coat", "sku", "=", "~", "'", '"', ";", "--", "/*", "(", ")", "not", "or", "1", "''", "union select", "<", "?"]
), max_size=10).map(" ".join))  # fmt: skip
def test_no_text_does_anything_but_find_garments(parquet: Path, text: str) -> None:
    try:
        rows = found(parquet, text)
    except QueryError as error:
        assert not str(error).startswith("SQL")  # noqa: PT017  # what is built is always SQL that can be run
    else:
        assert {position for position, _ in rows} <= {0, 1, 2, 3}


@settings(max_examples=15, deadline=None)
@given(value=st.text(min_size=1, max_size=20).filter(lambda text: '"' not in text))
def test_a_value_is_compared_as_it_is(parquet: Path, value: str) -> None:
    try:
        rows = found(parquet, f'sku="{value}"')
    except QueryError:
        assert "\0" in value
    else:
        assert rows == []


@pytest.mark.parametrize("sql", [
    "SELECT * FROM read_text('{secret}')",
    "SELECT * FROM '{secret}'",
    "SELECT * FROM glob('/*')",
    "COPY garments TO '{folder}/new.parquet'",
    "COPY (SELECT 1 AS a) TO '{part}'",
    "ATTACH '{folder}/new.db'",
    "SET enable_external_access = true",
    "INSTALL httpfs",
    "SELECT 1; SELECT 2",
    "CREATE TABLE t AS SELECT 1",
    "DROP VIEW photos",
    "EXPORT DATABASE '{folder}/new'",
    "SELECT * FROM secret",
    "SELECT nothing FROM photos",
    "SELEC",
    "",
])  # fmt: skip
def test_sql_reads_the_files_of_the_folder_and_does_nothing_else(parquet: Path, tmp_path: Path, sql: str) -> None:
    file = tmp_path / "secret.txt"
    file.write_text("secret")
    secret = pa.table({"a": [1]})                               # a variable that DuckDB would find by its name
    part = parquet / "photos" / "part-000000.parquet"
    before = {path: path.read_bytes() for path in parquet.rglob("*") if path.is_file()}
    views = open_views(parquet)
    with pytest.raises(HemlineError, match="SQL"):
        views.read(sql.format(secret=file, folder=parquet, part=part)).read_all()
    assert {path: path.read_bytes() for path in parquet.rglob("*") if path.is_file()} == before
    assert len(secret)


def run(*arguments: str | Path) -> tuple[int, str, str]:
    answer = CliRunner().invoke(app, ["query", *map(str, arguments)])
    assert answer.exception is None or isinstance(answer.exception, SystemExit)
    return answer.exit_code, answer.stdout, answer.stderr


def test_the_forms_of_the_answer_and_the_exit_codes(parquet: Path) -> None:
    code, out, _ = run(parquet, "coat", "--json")
    rows = json.loads(out)
    assert code == 0
    assert [row["position"] for row in rows] == [0, 3, 1, 2]
    assert rows[0]["colours"][1]["share"] == 0.3
    assert [json.loads(line) for line in run(parquet, "coat", "--jsonl")[1].splitlines()] == rows
    cells = list(csv.DictReader(io.StringIO(run(parquet, "coat", "--csv")[1])))
    assert [int(cell["position"]) for cell in cells] == [0, 3, 1, 2]
    assert json.loads(cells[0]["colours"]) == rows[0]["colours"]
    assert run(parquet, "coat or skirt", "--paths")[1].split() == [f"photos/{i}.jpg" for i in (0, 3, 1, 2)]
    assert run(parquet, "coat", "--count")[:2] == (0, "4\n")
    assert run(parquet, "coat", "--count", "--limit", "3")[1] == "3\n"
    assert run(parquet, "belt", "--count")[:2] == (1, "0\n")
    assert run(parquet, "belt", "--json")[:2] == (1, "[]\n")
    code, out, err = run(parquet, "coat", "--limit", "2")
    assert code == 0
    assert "photos/0.jpg" in out
    assert "photos/1.jpg" not in out
    assert "navy 70%" in out
    assert "first 2" in err
    assert run(parquet, "cot")[0] == 2
    assert run(parquet, "coat", "--json", "--csv")[0] == 2
    explained = run(parquet, "coat and navy", "--explain")[1]
    assert json.loads(run(parquet, "--sql", explained, "--json")[1]) == [row for row in rows if row["colour"] == "navy"]
    assert run(parquet, "--sql", "SELECT count(*) AS n FROM photos WHERE status = 'failed'", "--csv")[1] == "n\n1\n"
    assert run(parquet, "--sql", "SELECT 1 AS a", "--paths")[0] == 2


def test_what_is_no_folder_of_tags_is_said(tmp_path: Path, parquet: Path) -> None:
    with pytest.raises(CatalogError, match="no tags"):
        query(tmp_path, "coat")
    with pytest.raises(CatalogError, match="no part is finished"):
        query(write_tags(tmp_path / "empty", []), "coat")
    folder = write_tags(tmp_path / "gone", PHOTOS)
    (folder / "garments" / "part-000001.parquet").unlink()
    with pytest.raises(HemlineError, match="part-000001"):
        query(folder, "coat")
