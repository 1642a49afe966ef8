"""A row a product: the vote of its photos, by hand and beside a second way to count it; who is left out, and when."""

import json
from collections import Counter, defaultdict
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hemline.catalog import products, views
from hemline.catalog.parts import read_manifest
from hemline.catalog.products import check_column, write_products
from hemline.colour import Colour
from hemline.errors import CatalogError, ConfigError, UnwritableError
from hemline.result import Result

from .stocked import Line, stock, table
from .tagged import garment, photo, schemas

COAT, SHOE = photo(garment("coat")), photo(garment("shoe"))


def voted(folder: Path, column: str = "sku") -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pyarrow.parquet.read_table(write_products(folder, column).path).to_pylist()
    return rows


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def vote(folder: Path, *photos, **known):
    """The row of a product that has these photos."""
    (row,) = voted(stock(folder, *(Line("a", shown) for shown in photos), **known))
    return row


def of(category: str, *labels: str, score: float = 0.5, colours: str = "navy 1", others=()) -> Result:
    """A photo of one main garment; `colours` are names and shares."""
    words = colours.split()
    worn = garment(category, *labels, score=score)
    worn.colours = [Colour(name, f"#{name:0>6.6}", float(x)) for name, x in zip(words[::2], words[1::2], strict=True)]
    return photo(worn, *others)


# -- the vote --------------------------------------------------------------------------------------------------


def test_the_sum_of_scores_wins_not_the_number_of_photos(tmp_path):
    row = vote(tmp_path, of("shoe", score=0.25), of("shoe", score=0.375), of("coat", score=0.75), photo())
    assert (row["category"], row["category_share"]) == ("coat", 0.25)
    assert (row["main_position"], row["main_garment"]) == (2, 0)
    assert row["votes"] == [
        {"group": "category", "label": "coat", "photos": 1, "score": 0.75},
        {"group": "category", "label": "shoe", "photos": 2, "score": 0.3125},
        {"group": "colour", "label": "navy", "photos": 1, "score": 1.0},
    ]


def test_ties_go_to_the_higher_mean_then_to_the_name(tmp_path):
    mean = vote(tmp_path / "mean", of("coat", score=0.25), of("coat", score=0.25), of("shoe", score=0.5))
    assert mean["category"] == "shoe"
    assert vote(tmp_path / "name", of("shoe"), of("coat"))["category"] == "coat"
    position = vote(tmp_path / "position", of("coat", score=0.5), of("coat", score=0.75), of("coat", score=0.75))
    assert position["main_position"] == 1


def test_only_main_garments_of_the_winning_category_say_attributes_and_colours(tmp_path):
    shoes = garment("shoe", "pattern=stripe")
    row = vote(
        tmp_path,
        of("coat", "pattern=dot", others=[shoes]),
        of("coat", others=[shoes]),
        of("shoe", "pattern=stripe", colours="red 1", score=0.875),
    )
    assert (row["category"], row["pattern"], row["colour"]) == ("coat", "dot", "navy")
    assert {(vote["group"], vote["label"]) for vote in row["votes"]} == {
        ("category", "coat"), ("category", "shoe"), ("colour", "navy"), ("pattern", "dot"),
    }  # fmt: skip


def test_the_main_garment_is_the_one_that_is_marked_not_the_first(tmp_path):
    both = photo(garment("coat"), garment("shoe", "pattern=dot"))
    (row,) = voted(stock(tmp_path, Line("a", both, main=1)))
    assert (row["category"], row["pattern"], row["main_garment"]) == ("shoe", "dot", 1)


def test_of_many_values_those_with_a_majority_and_unknown_is_no_vote_against(tmp_path):
    both, winter = of("coat", "season=winter", "season=summer"), of("coat", "season=winter")
    row = vote(tmp_path / "a", both, winter, of("coat"), of("coat"), of("coat"))
    assert (row["season"], row["pattern"]) == (["winter"], None)  # 1 of the 2 that say anything is no majority
    assert vote(tmp_path / "b", of("coat", "season=summer"), winter)["season"] is None
    assert vote(tmp_path / "c", both, both, winter)["season"] == ["winter", "summer"]


def test_colours_weigh_by_their_share(tmp_path):
    row = vote(
        tmp_path, of("coat", colours="red 0.5 navy 0.25"), of("coat", colours="navy 0.5"), of("coat", colours="beige 1")
    )
    assert row["colour"] == "beige"
    assert [(x["name"], round(x["share"], 4)) for x in row["colours"]] == [("beige", 0.3333), ("navy", 0.25)]
    assert row["colours"][1]["hex"] == "#00navy"


def test_a_colour_looks_as_where_it_is_largest(tmp_path):
    one, two = of("coat", colours="navy 0.5"), of("coat", colours="navy 0.75")
    two.garments[0].colours = [Colour("navy", "#111111", 0.75)]
    assert vote(tmp_path, one, two)["colours"] == [{"name": "navy", "hex": "#111111", "share": 0.625, "shade": None}]


# -- who votes -------------------------------------------------------------------------------------------------


def test_a_duplicate_votes_with_its_twin_and_copies_vote_once(tmp_path):
    coat, shoe = of("coat", score=0.75), of("shoe", score=0.5)
    folder = stock(
        tmp_path,
        Line("a", coat),
        Line("b", coat, same_as=0),
        Line("b", shoe),
        Line("b", shoe, same_as=2),
        Line("b", shoe, same_as=2),
    )
    a, b = voted(folder)
    assert (a["category"], a["photos"], a["main_position"]) == ("coat", 1, 0)
    assert (b["category"], b["photos"], b["photos_ok"], b["positions"]) == ("coat", 4, 4, [1, 2, 3, 4])
    assert (b["category_share"], b["main_position"]) == (0.5, 0)  # position 0 is where its garments stand
    assert [(vote["label"], vote["photos"]) for vote in b["votes"][:2]] == [("coat", 1), ("shoe", 1)]


def test_failures_are_counted_and_rows_without_a_product_left_out(tmp_path):
    broken = "cannot be read"
    rows = [("b", COAT), ("a", broken), (None, COAT), ("", COAT), ("b", broken), ("c", photo())]
    folder = stock(tmp_path, *(Line(*row) for row in rows))
    written = write_products(folder, "sku")
    assert written[1:] == (3, 4, 2)
    a, b, c = pyarrow.parquet.read_table(written.path).to_pylist()
    assert [row["sku"] for row in (a, b, c)] == ["a", "b", "c"]
    assert (a["photos"], a["photos_ok"], a["photos_failed"], a["positions"]) == (1, 0, 1, [1])
    assert (b["photos"], b["photos_ok"], b["photos_failed"], b["category_share"]) == (2, 1, 1, 1.0)
    nothing = ("category", "category_share", "colour", "colours", "pattern", "season", "main_position", "main_garment")
    assert [row[name] for row in (a, c) for name in nothing] == [None] * 16
    assert [row["votes"] for row in (a, c)] == [[], []]


def test_a_key_keeps_its_type_and_never_hides_our_columns(tmp_path):
    for number, (kind, keys) in enumerate({pa.int32(): [7, 2, 7], pa.float64(): [7.5, float("nan"), 7.5]}.items()):
        incoming = pa.schema([("votes", kind)])
        folder = stock(tmp_path / str(number), *(Line(key, COAT) for key in keys), incoming=incoming)
        written = pyarrow.parquet.read_table(write_products(folder, "votes").path)
        assert written.schema.field("catalog_votes").type == kind
        text = stock(tmp_path / f"{number} as text", *(Line(key, COAT) for key in keys), incoming=incoming, form="csv")
        assert write_products(text, "votes").products == len(written)
        assert written.column("catalog_votes").to_pylist() == ([2, 7] if kind == pa.int32() else [7.5])
    text = pa.dictionary(pa.int32(), pa.string())
    incoming = pa.schema([("status", text)])                         # clashes among the photos, not here
    folder = stock(tmp_path / "text", Line("x", COAT), incoming=incoming)
    assert [row["status"] for row in voted(folder, "status")] == ["x"]


def test_what_cannot_be_a_key_is_refused(tmp_path):
    lists = pa.schema([("tags", pa.list_(pa.string()))])
    for form in ("parquet", "csv"):
        folder = stock(tmp_path / form, Line(["x"], COAT), incoming=lists, form=form)
        with pytest.raises(ConfigError, match=r"--product sku: no such column .* there are: tags$"):
            write_products(folder, "sku")
        with pytest.raises(ConfigError, match=r"--product tags: holds .*, and only text and numbers can be used"):
            write_products(folder, "tags")
        with pytest.raises(ConfigError, match="no such column"):
            write_products(folder, "position")  # ours
    with pytest.raises(CatalogError, match="no tags"):
        write_products(tmp_path / "nowhere", "sku")
    with pytest.raises(CatalogError, match="no part is finished"):
        write_products(stock(tmp_path / "empty"), "sku")


# -- the file --------------------------------------------------------------------------------------------------


def test_a_csv_says_the_same(tmp_path):
    odd = 'x,"y"\nz\r\n'
    lines = [
        Line(odd, of("coat", "pattern=dot", "season=winter", "season=summer", others=[garment("shoe")])),
        Line("007", of("coat", "season=winter", colours="red 0.5 navy 0.25")),
        Line("007", "cannot,\n\"be\" read"),
        Line(odd, COAT, same_as=1),
    ]  # fmt: skip
    rows = voted(stock(tmp_path / "a", *lines))
    path = write_products(stock(tmp_path / "b", *lines, form="csv"), "sku").path
    assert path == tmp_path / "b" / "products" / "part-000000.csv"
    text = pyarrow.csv.ConvertOptions(column_types={name: pa.string() for name in rows[0]}, strings_can_be_null=True)
    parse = pyarrow.csv.ParseOptions(newlines_in_values=True)
    read = pyarrow.csv.read_csv(path, convert_options=text, parse_options=parse).to_pylist()
    for theirs, ours in zip(read, rows, strict=True):
        for name, value in ours.items():
            text = isinstance(value, str) or value is None
            assert (theirs[name] if text else json.loads(theirs[name])) == value, name


def test_a_folder_may_be_called_like_a_pattern(tmp_path):
    for form in ("parquet", "csv"):
        folder = stock(tmp_path / f"it's [a]*? sku=1 {form}", Line("a", COAT), form=form)
        assert write_products(folder, "sku").products == 1


def test_the_table_is_whole_or_as_it_was(tmp_path, monkeypatch):
    folder = stock(tmp_path, *(Line("ab"[i % 2], COAT) for i in range(4)))
    before = write_products(folder, "sku").path.read_bytes()
    there = names(folder)

    def stops(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(products, "vote", stops)
    with pytest.raises(UnwritableError, match="No space left"):
        write_products(folder, "sku")
    assert (folder / "products" / "part-000000.parquet").read_bytes() == before
    assert names(folder) == there
    assert names(folder / "products") == ["part-000000.parquet"]


def test_it_is_written_anew_from_what_the_manifest_says(tmp_path):
    folder = stock(tmp_path, Line("a", COAT), Line("b", COAT), Line("b", COAT))
    (folder / ".duckdb-killed").mkdir()
    assert [row["sku"] for row in voted(folder)] == ["a", "b"]
    assert not (folder / ".duckdb-killed").exists()
    manifest = folder / "manifest.jsonl"
    manifest.write_text("".join(manifest.read_text().splitlines(keepends=True)[:2]))  # the second part is not finished
    assert [(row["sku"], row["photos"]) for row in voted(folder)] == [("a", 1), ("b", 1)]


def test_damage_is_told_in_a_sentence(tmp_path):
    folder = stock(tmp_path, Line("a", COAT), Line("a", COAT), Line("a", COAT))
    (folder / "garments" / "part-000001.parquet").unlink()
    with pytest.raises(CatalogError, match=r"part-000001\.parquet"):
        write_products(folder, "sku")


# -- a second way ----------------------------------------------------------------------------------------------

SCORES = st.sampled_from([0.25, 0.5, 0.75, 1.0])
WORN = st.builds(
    lambda category, pattern, season, score, colours: of(
        category, *(f"pattern={x}" for x in pattern), *(f"season={x}" for x in season), score=score,
        colours=" ".join(f"{name} {share}" for name, share in colours.items()),
    ).garments[0],
    st.sampled_from(["coat", "shoe"]),
    st.lists(st.sampled_from(["stripe", "dot"]), max_size=1),
    st.sets(st.sampled_from(["winter", "summer"])),
    SCORES,
    st.dictionaries(st.sampled_from(["red", "navy", "beige"]), SCORES, max_size=3),
)  # fmt: skip
SHOWS = st.one_of(st.just("broken"), st.lists(WORN, max_size=2).map(lambda worn: photo(*worn)))
TWIN, MAIN = st.none() | st.integers(0, 15), st.integers(0, 1)
LINES = st.lists(st.tuples(st.sampled_from(["a", "b", "c", "d", None]), SHOWS, TWIN, MAIN), min_size=1, max_size=25)


def reference(folder: Path) -> dict[str, dict[str, Any]]:
    """What the tables say of each product, counted with fractions over plain lists."""
    photos, garments = table(folder, "photos"), table(folder, "garments")
    mains = {row["position"]: row for row in garments if row["is_main"]}
    products: dict[str, dict[str, Any]] = {}
    for sku in {row["sku"] for row in photos} - {None}:
        mine = [row for row in photos if row["sku"] == sku]
        sources = {row["position"]: row["duplicate_of"] for row in mine}
        sources = {own: own if twin is None else twin for own, twin in sources.items()}
        fine = {twin for twin in sources.values() if photos[twin]["status"] == "ok"}
        voters = [mains[twin] for twin in sorted(fine) if twin in mains]
        winner = best([(one["category"], one["score"]) for one in voters])
        of_winner = [one for one in voters if one["category"] == winner]
        products[sku] = {
            "photos": len(mine),
            "photos_failed": sum(twin not in fine for twin in sources.values()),
            "positions": [row["position"] for row in mine],
            "category": winner,
            "category_share": round(len(of_winner) / len(fine), 4) if winner else None,
            "colour": best([(colour["name"], colour["share"]) for one in of_winner for colour in one["colours"]]),
            "pattern": best([(one["pattern"], score_of(one, "pattern")) for one in of_winner if one["pattern"]]),
            "season": majority([one["season"] for one in of_winner]),
            "main_position": min(((-one["score"], one["position"]) for one in of_winner), default=(0, None))[1],
            "votes": sum(len({x["label"] for x in one["attributes"]}) for one in of_winner),
        }  # fmt: skip
    return products


def score_of(one, group):
    return next(label["score"] for label in one["attributes"] if label["group"] == group)


def best(votes: list[tuple[str, float]]) -> str | None:
    scores = defaultdict(list)
    for label, score in votes:
        scores[label].append(Fraction(round(score * 10**6), 10**6))
    order = sorted(scores, key=lambda label: (sum(scores[label]), sum(scores[label]) / len(scores[label])))
    top = [x for x in order if (sum(scores[x]), len(scores[x])) == (sum(scores[order[-1]]), len(scores[order[-1]]))]
    return min(top, default=None)


def majority(said: list[list[str] | None]) -> set[str] | None:
    heard = [words for words in said if words]
    counts = Counter(word for words in heard for word in words)
    return {word for word, count in counts.items() if Fraction(count, len(heard)) > Fraction(1, 2)} or None


@settings(max_examples=7, deadline=None)
@given(LINES)
def test_random_tables_are_voted_as_counted_in_a_second_way(lines):
    with TemporaryDirectory() as folder:
        rows = []
        for sku, shows, twin, main in lines:
            copied = twin is not None and twin < len(rows)
            shown = rows[twin].shows if copied else shows
            worn = 0 if isinstance(shown, str) else len(shown.garments)
            rows.append(Line(sku, shown, twin if copied else None, main=min(main, max(0, worn - 1))))
        out = stock(Path(folder, "out"), *rows, columns=schemas(embedding=None, masks=False), part_size=9)
        expected = reference(out)
        found = voted(out)
        assert [row["sku"] for row in found] == sorted(expected)
        for row in found:
            row["season"] = row["season"] and set(row["season"])
            row["category_share"] = row["category_share"] and round(row["category_share"], 4)
            row["votes"] = sum(vote["photos"] for vote in row["votes"] if vote["group"] in ("pattern", "season"))
            assert {name: row[name] for name in expected[row["sku"]]} == expected[row["sku"]]


def test_neither_threads_nor_memory_nor_parts_change_a_row(tmp_path, monkeypatch):
    shown = [
        of(("shoe", "coat", "coat")[i % 3], "pattern=dot", score=i % 17 / 16, colours=f"navy {i % 9 / 8} red 0.1")
        for i in range(60)
    ]
    lines = [Line(f"{i * 7 % 10}", one) for i, one in enumerate(shown)]
    rows = voted(stock(tmp_path / "a", *lines, part_size=60))
    monkeypatch.setattr(views, "MOST_THREADS", 1)
    monkeypatch.setattr(products, "BATCH", 3)
    assert voted(stock(tmp_path / "b", *lines, part_size=7)) == rows


def test_duckdb_loads_nothing_and_leaves_nothing(tmp_path, monkeypatch):
    folder = stock(tmp_path, Line("a", COAT))
    there = names(folder)
    monkeypatch.setattr(views, "MEMORY", "50MB")
    with views.working_views({"": read_manifest(folder)}, folder) as (opened,):
        assert len(names(folder)) == len(there) + 1
        for sql in ("SELECT * FROM 'http://localhost:1/x.parquet'", f"SELECT * FROM read_text('{__file__}')"):
            with pytest.raises(duckdb.Error, match="disabled"):
                opened.database.execute(sql)
        assert opened.database.execute("SELECT current_setting('autoinstall_known_extensions')").fetchone() == (False,)
        opened.database.execute("CREATE TEMP TABLE large AS SELECT range AS n, random() AS r FROM range(3_000_000)")
        opened.database.execute("SELECT * FROM large ORDER BY r LIMIT 1 OFFSET 2_900_000")  # on the disk
    assert names(folder) == there


def test_a_column_is_refused_by_the_name_of_its_option():
    with pytest.raises(ConfigError, match=r"^--hint title: no such column came in"):
        check_column("title", {"sku": "string"}, "--hint")
