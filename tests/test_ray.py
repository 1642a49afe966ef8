"""Tagging on a Ray cluster: the tables that the processes of one machine write, also where workers are killed."""

import os
import pickle
import signal
from functools import partial
from pathlib import Path

import pyarrow as pa
import pytest

from hemline.catalog import local, ray_engine
from hemline.catalog.items import Item
from hemline.catalog.parts import open_parts
from hemline.catalog.work import Asked, Plan
from hemline.errors import HemlineError

from .tagging import Hasher, Listed, Silent, tables

pytestmark = pytest.mark.slow


class Fragile(Hasher):
    """A `Hasher` whose process ends the first time that it meets `05.jpg`, and each time that it meets `11.jpg`."""

    def __init__(self, folder):
        super().__init__()
        self.folder = folder

    def __call__(self, chunk):
        names = {Path(one.item.path).name for one in chunk if not one.item.problem}
        if "05.jpg" in names and not Path(self.folder, "met").exists():
            Path(self.folder, "met").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if "11.jpg" in names:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(chunk)


@pytest.fixture(scope="module")
def cluster():
    """A cluster of this machine that runs two actors."""
    ray = pytest.importorskip("ray", reason="ray is not installed: uv run --extra ray")
    environment = {"env_vars": {"PYTHONPATH": str(Path(__file__).parent.parent)}}  # where `tests` is found
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, runtime_env=environment)
    yield
    ray.shutdown()


@pytest.fixture
def photos(tmp_path):
    """Thirty photos, of which 20 holds the same as 2, and 7 and 11 are missing."""
    (tmp_path / "in").mkdir()
    names = [tmp_path / "in" / f"{i:02}.jpg" for i in range(30)]
    for i, name in enumerate(names):
        if i not in (7, 11):
            name.write_text(f"text {2 if i == 20 else i}")
    return [Item(str(name), {}) for name in names]


def tagged(items, out, engine, make):
    with open_parts(out, {"weights": "none", "weights_sha256": "0" * 64}, part_size=8) as parts:
        return local.tag(Listed(items), parts, Plan(device="cpu"), Silent(), workers=2, engine=engine, make=make)


@pytest.mark.filterwarnings("default")  # Ray's own
def test_both_engines_write_the_same_tables(cluster, photos, tmp_path, monkeypatch):
    monkeypatch.setattr(local, "CHUNK", 3)
    monkeypatch.setattr("hemline.catalog.ray_engine.WAVE", 4)
    monkeypatch.syspath_prepend(str(Path(__file__).parent.parent))
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    here = tagged(photos, tmp_path / "here", "local", partial(Fragile, tmp_path / "a"))
    there = tagged(photos, tmp_path / "there", "ray", partial(Fragile, tmp_path / "b"))
    assert (tmp_path / "b" / "met").exists()
    statuses = tables(tmp_path / "there")[0]["status"].to_pylist()
    assert [i for i, status in enumerate(statuses) if status == "failed"] == [7, 11]
    assert [i for i, status in enumerate(statuses) if status == "duplicate"] == [20]
    for one, other in zip(tables(tmp_path / "here"), tables(tmp_path / "there"), strict=True):
        assert one.equals(other)
    assert (here.ok, here.failed, here.duplicates) == (there.ok, there.failed, there.duplicates) == (27, 2, 1)
    again = tagged(photos, tmp_path / "there", "ray", partial(Fragile, tmp_path / "b"))
    assert (again.before, again.photos) == (30, 0)


class Refusing:
    """What cannot begin."""

    def __init__(self):
        raise HemlineError("no such weights")


def test_a_wave_ends_where_it_holds_many_bytes(monkeypatch):
    monkeypatch.setattr(ray_engine, "WAVE", 5)
    monkeypatch.setattr(ray_engine, "WAVE_BYTES", 10_000)
    chunks = iter([(Asked(i, 0, Item("x", {}, data=bytes(4000 if i < 4 else 1))),) for i in range(12)])
    waves = []
    while wave := ray_engine._wave(chunks):
        waves.append([pickle.loads(chunk)[0].position for chunk in wave])
    assert waves == [[0, 1, 2], [3, 4, 5, 6, 7], [8, 9, 10, 11]]


def test_an_actor_needs_its_folder_and_no_temporary_one(photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    batch = pa.table({"number": [0], "chunk": [pickle.dumps((Asked(0, 0, Item("in/02.jpg", {})),))]})

    def said(folder):
        actor = ray_engine._Actor(pickle.dumps(Hasher), {}, str(folder), "run")
        return pickle.loads(actor(batch)["answers"][0].as_py())

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))
    (rows,) = said(tmp_path)
    assert rows.photos.column("status").to_pylist() == ["ok"]
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    said(tmp_path)
    assert not list(tmp_path.glob("hemline-*"))
    refused = said(tmp_path / "none")
    assert isinstance(refused, HemlineError)
    assert "run the command in one that all machines have" in str(refused)


@pytest.mark.filterwarnings("default")
def test_what_cannot_begin_is_one_sentence(cluster, photos, tmp_path):
    with pytest.raises(HemlineError, match=r"^no such weights$"):
        tagged(photos, tmp_path / "out", "ray", Refusing)
