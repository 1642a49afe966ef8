"""The views of an OUT: types of columns, and what breaks while rows are read."""

import pyarrow as pa
import pytest

from hemline.catalog.ask_view import print_rows
from hemline.catalog.parts import read_manifest
from hemline.catalog.query import query_sql
from hemline.catalog.views import Views, batches, open_views, working_views
from hemline.errors import QueryError

from . import asked


def test_in_a_csv_a_column_that_came_in_and_is_called_as_one_of_garments_has_its_own_type(tmp_path, monkeypatch):
    came = {"score": pa.string(), "colours": pa.string(), "area": pa.int64(), "attributes": pa.string()}
    monkeypatch.setattr(asked, "INCOMING", pa.schema(came))
    monkeypatch.setattr(asked, "MADE", asked.MADE | {"columns": {name: str(kind) for name, kind in came.items()}})
    row = {"score": "007", "colours": "dark, red", "area": 12, "attributes": "n/a"}
    folder = asked.write_tags(tmp_path / "out", [(row, [asked.garment("coat", ("navy", 1.0))])], form="csv")
    views = open_views(folder)
    assert views.read("SELECT score, colours, area, attributes FROM photos").read_all().to_pylist() == [row]
    assert views.read("SELECT colours[1].name AS name FROM garments").read_all().to_pylist() == [{"name": "navy"}]


@pytest.fixture
def tags(tmp_path):
    return asked.write_tags(tmp_path / "out", [({}, [asked.garment("coat", ("navy", 1.0))])])


def test_what_breaks_after_the_first_rows_is_the_querys_fault(tags, capsys):
    sql = "SELECT CASE WHEN i > 90000 THEN error('too far')::INT ELSE i END AS n FROM range(100000) t(i)"
    with pytest.raises(QueryError, match=r"^SQL: .*too far$"):
        print_rows(open_views(tags).read(sql), "jsonl", None, of_words=False)


@pytest.mark.parametrize("form", ["table", "json", "csv"])
def test_two_columns_of_one_name_are_refused(tags, form, capsys):
    found = open_views(tags).read("SELECT g.path, p.path, score FROM garments g, photos p")
    with pytest.raises(QueryError, match=r"^two columns are called 'path': name one with AS$"):
        print_rows(found, form, None, of_words=False)
    assert not capsys.readouterr().out


def test_ctrl_c_while_the_database_works_is_ctrl_c(tags):
    def interrupted():
        raise RuntimeError("Query interrupted")            # DuckDB's words
        yield

    with pytest.raises(KeyboardInterrupt):
        list(batches(interrupted()))
    with pytest.raises(KeyboardInterrupt), working_views({"": read_manifest(tags)}):
        next(interrupted())
    with pytest.raises(RuntimeError, match="another"), working_views({"": read_manifest(tags)}):
        raise RuntimeError("another")


def test_words_of_a_known_label_space_do_not_ask_the_tables(tags, monkeypatch):
    views = open_views(tags)
    monkeypatch.setattr(Views, "read", lambda *_: pytest.fail("the tables were asked"))
    query_sql(views, "navy coat main and not red with category=shoe")
