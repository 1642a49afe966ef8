"""Tagging on one machine: every photo has its row, in order, whatever happens to the processes that read it."""

import os
import signal
from pathlib import Path

import pytest

from hemline.catalog import local
from hemline.catalog.items import Item
from hemline.catalog.parts import open_parts
from hemline.catalog.work import Plan
from hemline.errors import DataError
from tests.tagging import Hasher, Listed, Silent, tables

MADE = {"weights": "none", "weights_sha256": "0" * 64}


@pytest.fixture(autouse=True)
def found(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent.parent))  # where new processes find `tests`
    monkeypatch.setattr(local, "CHUNK", 4)


@pytest.fixture
def photos(tmp_path):
    """Twenty photos, of which 13 and 17 hold the same as 2; 7 is missing and 9 kills whoever reads it."""
    (tmp_path / "in").mkdir()
    names = [tmp_path / "in" / f"{i:02}.jpg" for i in range(20)]
    names[9] = names[9].with_name("09 abort.jpg")
    for i, name in enumerate(names):
        if i != 7:
            name.write_text(f"text {2 if i in (13, 17) else i}")
    return [Item(str(name), {}) for name in names]


def tagged(items, out, *, workers=1, view=None, part_size=7, error=None):
    with open_parts(out, MADE, part_size=part_size) as parts:
        return local.tag(
            Listed(items, error), parts, Plan(device="cpu"), view or Silent(), workers=workers, make=Hasher
        )


def test_every_photo_has_its_row_in_order(photos, tmp_path):
    view = Silent()
    tally = tagged(photos, tmp_path / "out", view=view)
    rows, garments = tables(tmp_path / "out")
    assert rows["position"].to_pylist() == list(range(20))
    assert rows["path"].to_pylist() == [item.path for item in photos]
    expected = dict.fromkeys(range(20), "ok") | {7: "failed", 9: "failed", 13: "duplicate", 17: "duplicate"}
    assert rows["status"].to_pylist() == list(expected.values())
    assert [rows["duplicate_of"][i].as_py() for i in (2, 13, 17)] == [None, 2, 2]
    assert rows["error_message"][9].as_py() == f"{photos[9].path}: the process that read it was ended by SIGABRT"
    answered = [i for i, status in expected.items() if status == "ok"]
    assert garments["position"].to_pylist() == answered
    assert garments["category"].to_pylist() == [f"text {i}" for i in answered]
    assert (tally.photos, tally.ok, tally.failed, tally.duplicates, tally.garments) == (20, 16, 2, 2, 16)
    assert tally.reasons == {"no such file": 1, "the process that read it was ended by SIGABRT": 1}
    assert view.seen[0] == 1
    assert view.seen[-1] == (0, 20)


def test_neither_the_workers_nor_the_parts_change_the_tables(photos, tmp_path):
    tagged(photos, tmp_path / "one")
    tagged(photos, tmp_path / "two", workers=2, part_size=3)
    assert all(a.equals(b) for a, b in zip(tables(tmp_path / "one"), tables(tmp_path / "two"), strict=True))


def test_what_is_new_is_added_and_the_same_path_twice_is_two_rows(photos, tmp_path):
    out = tmp_path / "out"
    tagged(photos[3:7], out)
    again = tagged([photos[0], *photos[3:7], photos[4], photos[5], photos[5]], out)
    assert (again.before, again.photos, again.ok, again.duplicates) == (4, 4, 1, 3)
    rows, _ = tables(out)
    names = [int(Path(name).stem) for name in rows["path"].to_pylist()]
    assert names == [3, 4, 5, 6, 0, 4, 5, 5]
    assert rows["occurrence"].to_pylist() == [0, 0, 0, 0, 0, 1, 1, 2]
    assert rows["duplicate_of"].to_pylist() == [None, None, None, None, None, 1, 2, 2]
    nothing = tagged(photos[3:7], out)
    assert (nothing.before, nothing.photos) == (4, 0)


def test_what_the_catalogue_raises_waits_for_the_photos_before_it(photos, tmp_path):
    with pytest.raises(DataError, match="line 7"):
        tagged(photos[:6], tmp_path / "out", error=DataError("shop.csv, line 7: no path"))
    assert tables(tmp_path / "out")[0].num_rows == 6


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_keeps_what_is_finished(photos, tmp_path, number):
    class Stopping(Silent):
        def step(self, tally):
            if tally.photos >= 4:
                os.kill(os.getpid(), number)
                os.kill(os.getpid(), number)               # an impatient user breaks nothing

    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt):
        tagged(photos, tmp_path / "out", view=Stopping())
    assert signal.getsignal(number) is before
    assert tables(tmp_path / "out")[0].num_rows == 4
    tagged(photos, tmp_path / "out")
    tagged(photos, tmp_path / "whole")
    assert all(a.equals(b) for a, b in zip(tables(tmp_path / "out"), tables(tmp_path / "whole"), strict=True))
