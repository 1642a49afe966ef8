"""Tar shards: their photos in order, read by workers, and what a tear leaves."""

import gzip
import io
import pickle
import tarfile
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hemline.catalog import remote
from hemline.catalog.items import open_catalog, read_item
from hemline.errors import PhotoError


def tar_of(files: dict[str, bytes], mode: Any = "w", form: int = tarfile.GNU_FORMAT) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode, format=form) as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return file.getvalue()


PHOTOS = {"a.jpg": b"A" * 700, "deep/" + "n" * 120 + ".png": b"", "c.webp": b"C" * 512}
OTHERS = {"a.json": b"{}", "._a.jpg": b"resource fork", "read.me": b"x" * 5000}


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize(("suffix", "mode"), [(".tar", "w"), (".tar.gz", "w:gz"), (".tgz", "w:gz"), (".tar", "w:gz")])
def test_photos_come_in_the_order_of_the_shard(tmp_path, suffix, mode, form):
    shard = tmp_path / f"s{suffix}"
    shard.write_bytes(tar_of(OTHERS | PHOTOS, mode, form))
    catalog = open_catalog([str(shard)])
    items = [pickle.loads(pickle.dumps(item)) for item in catalog]
    assert {item.path: read_item(item) for item in items} == {f"{shard}::{name}": PHOTOS[name] for name in PHOTOS}
    assert [item.path.partition("::")[2] for item in items] == list(PHOTOS)
    assert catalog.count() is None
    assert all((item.data is None) == (mode == "w") for item in items)


def test_links_and_folders_in_a_shard_are_no_photos(tmp_path):
    with tarfile.open(tmp_path / "s.tar", "w") as tar:
        for name, kind in (("d.jpg", tarfile.DIRTYPE), ("l.jpg", tarfile.SYMTYPE), ("h.jpg", tarfile.LNKTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            tar.addfile(info)
    assert list(open_catalog([str(tmp_path / "s.tar")])) == []


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10240), st.booleans())
def test_a_torn_shard_gives_what_is_whole_and_says_so(tmp_path_factory, cut, packed):
    files = {f"{number}.jpg": bytes([number]) * (number * 300) for number in range(6)}
    whole = tar_of(files)
    content = gzip.compress(whole, mtime=0) if packed else whole
    cut = cut * len(content) // 10240
    shard = tmp_path_factory.mktemp("torn") / "s.tar"
    shard.write_bytes(content[:cut])
    *items, last = open_catalog([str(shard)])
    if last.problem is None:
        items.append(last)
        assert len(items) == 6, f"a cut at {cut} of {len(content)} is not told"
    else:
        assert last.path == str(shard)
        assert last.problem.startswith(f"{shard}: the shard ")
    for number, item in enumerate(items):
        assert item.path == f"{shard}::{number}.jpg"
        assert read_item(item) == files[f"{number}.jpg"]


def test_rubbish_within_a_shard_is_told(tmp_path):
    content = bytearray(tar_of({"a.jpg": b"A", "b.jpg": b"B", "c.jpg": b"C"}))
    content[1024:1536] = b"\xaa" * 512                            # the header of the second
    (tmp_path / "s.tar").write_bytes(content)
    first, second = open_catalog([str(tmp_path / "s.tar")])
    assert read_item(first) == b"A"
    assert second.problem is not None
    assert "torn" in second.problem


def test_shards_that_are_none(tmp_path):
    (tmp_path / "text.tar").write_bytes(b"no tar at all" * 100)
    for name in ("text.tar", "none.tar"):
        (item,) = open_catalog([str(tmp_path / name)])
        assert item.path == str(tmp_path / name)
        assert item.problem is not None


def test_a_shard_that_shrinks_while_it_is_read(tmp_path):
    shard = tmp_path / "s.tar"
    shard.write_bytes(tar_of({"a.jpg": b"A" * 700}))
    (item,) = open_catalog([str(shard)])
    shard.write_bytes(shard.read_bytes()[:900])
    with pytest.raises(PhotoError, match=r"s\.tar::a\.jpg: its shard ends within it"):
        read_item(item)


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_what_is_too_large_in_a_shard_is_left(tmp_path, monkeypatch, mode):
    monkeypatch.setattr(remote, "MAX_BYTES", 600)
    (tmp_path / "s.tar").write_bytes(tar_of(PHOTOS, mode))
    large, *others = open_catalog([str(tmp_path / "s.tar")])
    assert large.problem == f"{tmp_path}/s.tar::a.jpg: 700 bytes; photos may have 600"
    assert [read_item(item) for item in others] == [b"", b"C" * 512]


def test_a_glob_of_shards_and_names_that_are_not_utf8(tmp_path):
    (tmp_path / "2.tar").write_bytes(tar_of({"b.jpg": b"B"}))
    (tmp_path / "1.tar").write_bytes(tar_of({"\udcff.jpg": b"A"}))
    items = list(open_catalog([f"{tmp_path}/*.tar"]))
    assert [(item.path, read_item(item)) for item in items] == [
        (f"{tmp_path}/1.tar::\\xff.jpg", b"A"), (f"{tmp_path}/2.tar::b.jpg", b"B"),
    ]  # fmt: skip
