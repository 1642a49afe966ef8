"""The views of an OUT: types of columns, and what breaks while rows are read."""

import pyarrow as pa

from hemline.catalog.views import open_views

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
