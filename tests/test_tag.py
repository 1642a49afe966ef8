"""Tagging on one machine: every photo has its row, in order, whatever happens to the processes that read it."""

import signal
import time
from pathlib import Path

import pyarrow.compute as pc
import pytest

from hemline.catalog import local
from hemline.catalog.items import Item
from hemline.catalog.parts import open_parts, read_manifest
from hemline.catalog.work import Plan
from hemline.errors import DataError, HemlineError
from tests.tagging import Hasher, Here, Listed, Silent, tables

ROOT = Path(__file__).parent.parent
MADE = {"weights": "none", "weights_sha256": "0" * 64}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Twelve photos, of which 5 and 8 hold the same as 2; 7 is missing."""
    folder = tmp_path_factory.mktemp("in")
    names = [folder / f"{i:02}.jpg" for i in range(12)]
    for i, name in enumerate(names):
        if i != 7:
            name.write_text(f"text {2 if i in (5, 8) else i}")
    return [Item(str(name), {}) for name in names]


def of_the_first(number, folder):
    """Both tables of an OUT, as if it held so many photos only."""
    return [table.filter(pc.less(table["position"], number)) for table in tables(folder)]


def tagged(items, out, *, workers=None, view=None, part_size=7, error=None, stop=None):
    """Tag with so many processes, or in this one."""
    with open_parts(out, MADE, part_size=part_size) as parts, pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT))                   # where new processes find `tests`
        patch.setattr(local, "CHUNK", 4)
        if workers is None:
            patch.setattr(local, "_crew", lambda make, *_, **__: Here(make))
        plan, view = Plan(device="cpu"), view or Silent()
        return local.tag(Listed(items, error), parts, plan, view, workers=workers, make=Hasher, stop=stop)


@pytest.fixture(scope="module")
def whole(photos, tmp_path_factory):
    """All of them, tagged in this process."""
    out = tmp_path_factory.mktemp("whole") / "out"
    view = Silent()
    return out, tagged(photos, out, view=view), view


def test_every_photo_has_its_row_in_order(photos, whole):
    out, tally, view = whole
    rows, garments = tables(out)
    assert rows["position"].to_pylist() == list(range(12))
    assert rows["path"].to_pylist() == [item.path for item in photos]
    expected = dict.fromkeys(range(12), "ok") | {7: "failed", 5: "duplicate", 8: "duplicate"}
    assert rows["status"].to_pylist() == list(expected.values())
    assert [rows["duplicate_of"][i].as_py() for i in (2, 5, 8)] == [None, 2, 2]
    assert rows["error_message"][7].as_py() == f"{photos[7].path}: no such file"
    answered = [i for i, status in expected.items() if status == "ok"]
    assert garments["position"].to_pylist() == answered
    assert garments["category"].to_pylist() == [f"text {i}" for i in answered]
    assert (tally.photos, tally.ok, tally.failed, tally.duplicates, tally.garments) == (12, 9, 1, 2, 9)
    assert tally.reasons == {"no such file": 1}
    assert view.seen[-1] == (0, 12)


def test_what_a_catalogue_raises_is_one_sentence(photos, tmp_path):
    with pytest.raises(HemlineError, match=r"^the catalogue cannot be read on \(ValueError: Invalid IPv6 URL\)$"):
        tagged(photos[:2], tmp_path / "out", error=ValueError("Invalid IPv6 URL"))
    assert tables(tmp_path / "out")[0].num_rows == 2


@pytest.mark.parametrize(
    ("name", "message", "reason"),
    [
        ("a.jpg", "a.jpg: no such file", "no such file"),
        ("https://h/a.jpg?s=1", "https://h/a.jpg?...: timed out (2 tries)", "timed out (2 tries)"),
        ("a", "a: cannot be read: a bad day", "cannot be read: a bad day"),
        ("a.jpg", "the end:", "the end:"),
    ],
)
def test_reasons_are_counted_without_names(name, message, reason):
    assert local._without_name(message, name) == reason


def test_neither_the_workers_nor_the_parts_change_the_tables(photos, whole, tmp_path):
    tagged(photos[:10], tmp_path / "two", workers=2, part_size=3)
    assert tables(tmp_path / "two") == of_the_first(10, whole[0])


def test_what_is_new_is_added_and_the_same_path_twice_is_two_rows(photos, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(DataError, match="line 5"):         # it waits for the photos before it
        tagged(photos[3:7], out, error=DataError("shop.csv, line 5: no path"))
    again = tagged([photos[0], *photos[3:7], photos[4], photos[6], photos[6]], out)
    assert (again.before, again.photos, again.ok, again.duplicates) == (4, 4, 1, 3)
    rows, _ = tables(out)
    names = [int(Path(name).stem) for name in rows["path"].to_pylist()]
    assert names == [3, 4, 5, 6, 0, 4, 6, 6]
    assert rows["occurrence"].to_pylist() == [0, 0, 0, 0, 0, 1, 1, 2]
    assert rows["duplicate_of"].to_pylist() == [None, None, None, None, None, 1, 3, 3]
    nothing = tagged(photos[3:7], out)
    assert (nothing.before, nothing.photos) == (4, 0)


def test_a_stop_keeps_what_is_answered(photos, whole, tmp_path):
    stop = local.Stop()

    class Stopping(Silent):
        def step(self, tally):
            super().step(tally)
            stop.asked = tally.photos == 8

    view = Stopping()
    tagged(photos[:10], tmp_path / "out", view=view, part_size=3, stop=stop)
    assert view.seen[-1] == (0, 8)
    assert tables(tmp_path / "out") == of_the_first(8, whole[0])
    assert [part.photos for part in read_manifest(tmp_path / "out").parts] == [3, 3, 2]
    tagged(photos[:10], tmp_path / "out")
    assert tables(tmp_path / "out") == of_the_first(10, whole[0])


def test_a_stop_is_seen_while_what_is_done_is_passed_over(photos, tmp_path):
    tagged(photos[:6], tmp_path / "out")
    stop = local.Stop()

    class Stopping(Item):
        @property
        def path(self):
            stop.asked = True
            return super().path

    again = tagged([*photos[:2], Stopping(*photos[2]), *photos[3:]], tmp_path / "out", stop=stop)
    assert (again.before, again.photos) == (3, 0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_noted_and_raised_at_the_end_alone(number):
    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    noted = []
    try:
        with pytest.raises(KeyboardInterrupt):
            impatient(number, noted)
        signal.raise_signal(number)                        # not while the process ends, either
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
    assert noted == [False, True, True]
    with local.Stop():
        assert signal.getsignal(number) != before[number]
    assert signal.getsignal(number) == before[number]


def test_a_signal_long_after_the_first_ends_what_is_stuck(monkeypatch, capfd):
    class EndedError(Exception):
        pass

    def end(code):
        raise EndedError(code)

    monkeypatch.setattr(local, "LONG_ASKED", 0.01)
    monkeypatch.setattr("os._exit", end)
    stop = local.Stop()
    stop._note(signal.SIGINT, None)
    time.sleep(0.02)
    with pytest.raises(EndedError, match="130"):
        stop._note(signal.SIGINT, None)
    assert capfd.readouterr().err == "error: stopped at once; the same command goes on from the last whole part\n"


def impatient(number, noted):
    with local.Stop() as stop:
        noted.append(stop.asked)
        signal.raise_signal(number)
        noted.append(stop.asked)
        signal.raise_signal(number)                        # at once: an impatient user, or a terminal and a shell
        noted.append(stop.asked)
