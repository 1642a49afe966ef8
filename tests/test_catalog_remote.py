"""Catalogues at URLs: what is tried again, what is refused, what a message may say, and what is read ahead."""

import io
import math
import pickle
import time
from importlib.util import find_spec
from inspect import signature

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hemline.catalog import remote
from hemline.catalog.ahead import read_ahead
from hemline.catalog.items import Item, open_catalog, read_item
from hemline.catalog.local import GPU_CHUNK
from hemline.catalog.processes import PATIENCE
from hemline.errors import DataError, PhotoError
from tests.serving import Reply, serving
from tests.test_catalog_shards import tar_of


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch):
    monkeypatch.setattr(remote, "PAUSE", 0.01)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def memory():
    """A store that lists its files."""
    store = fsspec.filesystem("memory")
    store.store.clear()
    store.pseudo_dirs[:] = [""]
    yield store
    store.store.clear()


def problem_of(url: str, **how) -> str:
    with pytest.raises(PhotoError) as error:
        read_item(Item(url, {}), **how)
    assert error.value.__cause__ is None
    return str(error.value)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_what_may_pass_is_tried_again(status):
    with serving(lambda _, number: Reply(status) if number < 3 else Reply(body=b"photo")) as server:
        assert read_item(Item(f"{server.url}/a.jpg", {})) == b"photo"
        assert len(server.asked) == 3


@pytest.mark.parametrize(("status", "says"), [(403, "HTTP 403 Forbidden"), (404, "404"), (410, "HTTP 410 Gone")])
def test_what_stays_is_asked_once(status, says):
    with serving(lambda *_: Reply(status)) as server:
        assert says in problem_of(f"{server.url}/a.jpg")
        assert len(server.asked) == 1


def test_tries_end_with_the_reason_and_their_number():
    with serving(lambda *_: Reply(503)) as server:
        said = problem_of(f"{server.url}/a.jpg", tries=2)
        assert said == f"{server.url}/a.jpg: HTTP 503 Service Unavailable (2 tries)"
        assert len(server.asked) == 2


def test_a_server_says_how_long_to_wait():
    with serving(lambda _, number: Reply(429, headers={"Retry-After": "1"}) if number < 2 else Reply()) as server:
        began = time.monotonic()
        read_item(Item(f"{server.url}/a.jpg", {}))
        assert time.monotonic() - began >= 1


def test_pauses_double_and_differ(monkeypatch):
    monkeypatch.setattr(remote, "PAUSE", 1.0)
    for number in (1, 2, 3):
        drawn = {remote._pause(OSError(), number) for _ in range(50)}
        assert len(drawn) > 40
        assert 2 ** (number - 1) * 0.5 <= min(drawn) < max(drawn) <= 2 ** (number - 1) * 1.5


def test_a_slow_server_times_out_and_is_tried_again():
    with serving(lambda _, number: Reply(body=b"photo", wait=0.6 if number < 2 else 0)) as server:
        assert read_item(Item(f"{server.url}/a.jpg", {}), timeout=0.2) == b"photo"
        assert len(server.asked) == 2
        assert problem_of(f"{server.url}/b.jpg", timeout=0.1, tries=1) == f"{server.url}/b.jpg: timed out"


def test_a_photo_that_dribbles_is_not_asked_for_again(monkeypatch):
    monkeypatch.setattr(remote, "WHOLE", 1)
    with serving(lambda *_: Reply(503, wait=0.3)) as server:
        assert problem_of(f"{server.url}/a.jpg", timeout=0.2) == f"{server.url}/a.jpg: timed out"
        assert len(server.asked) == 1


def test_no_chunk_of_urls_takes_longer_than_its_process_is_waited_for():
    at_a_time = signature(read_ahead).parameters["threads"].default
    assert 2 * remote.WHOLE * remote.TIMEOUT * math.ceil(GPU_CHUNK / at_a_time) < PATIENCE


def test_an_answer_that_breaks_off_is_no_photo():
    def half(_: str, number: int) -> Reply:
        return Reply(body=b"pho", promised=5) if number < 2 else Reply(body=b"photo")

    with serving(half) as server:
        assert read_item(Item(f"{server.url}/a.jpg", {})) == b"photo"
        assert "the connection failed" in problem_of(f"{server.url}/b.jpg", tries=1)


def test_nobody_there():
    with serving(lambda *_: Reply()) as server:
        pass
    said = problem_of(f"{server.url}/a.jpg?key=secret", tries=2)
    assert said.startswith(f"{server.url}/a.jpg?...: the connection failed")
    assert said.endswith("(2 tries)")


def test_redirects_are_followed_but_not_for_ever():
    def answer(path: str, _: int) -> Reply:
        if path == "/photo":
            return Reply(body=b"photo")
        return Reply(302, headers={"Location": "/photo" if path == "/a.jpg" else "/round"})

    with serving(answer) as server:
        assert read_item(Item(f"{server.url}/a.jpg", {})) == b"photo"
        assert "redirected again and again" in problem_of(f"{server.url}/round")


@pytest.mark.parametrize("promised", [None, 2_000_000_000])
def test_what_is_too_large_is_left(promised):
    with serving(lambda *_: Reply(body=bytes(2000), promised=promised)) as server:
        said = problem_of(f"{server.url}/a.jpg", max_bytes=1000, tries=1)
        assert said == f"{server.url}/a.jpg: larger than 1,000 bytes"
        assert len(server.asked) == 1
        if promised is None:
            assert len(read_item(Item(f"{server.url}/a.jpg", {}), max_bytes=2000)) == 2000


@pytest.mark.parametrize(
    "query", ["/a.jpg?sig=a%2Bb%2F%3D&x=1", "/a%20b.jpg?sig=%7E", "/a.jpg?X-Credential=AK%2F2024&sig=%41"]
)
def test_signed_addresses_go_out_as_they_are(query):
    with serving(lambda *_: Reply(body=b"photo")) as server:
        read_item(Item(f"{server.url}{query}", {}))
        assert server.asked == [query]


def test_addresses_as_people_write_them():
    with serving(lambda *_: Reply(body=b"photo")) as server:
        read_item(Item(f"{server.url}/blaue jacke 100%/ä.jpg", {}))
        assert server.asked == ["/blaue%20jacke%20100%25/%C3%A4.jpg"]


def test_passwords_and_signatures_stay_out_of_names_and_messages(tmp_path):
    with serving(lambda path, _: Reply(body=b"photo") if path.startswith("/a") else Reply(500)) as server:
        url = f"http://anna:geheim@{server.address}/%s.jpg?sig=4711"
        (tmp_path / "shop.csv").write_text(f"image,sku\n{url % 'a'},1\n{url % 'b'},2\n")
        first, second = (pickle.loads(pickle.dumps(item)) for item in open_catalog([str(tmp_path / "shop.csv")]))
        assert first.path == first.row["image"] == f"{server.url}/a.jpg?sig=4711"
        assert read_item(first) == b"photo"
        assert server.logins[-1] == "Basic YW5uYTpnZWhlaW0="
        with pytest.raises(PhotoError) as error:
            read_item(second, tries=1)
        assert str(error.value) == f"{server.url}/b.jpg?...: HTTP 500 Internal Server Error"


def test_passwords_stay_out_of_rows_with_a_problem_and_of_chains(tmp_path):
    (tmp_path / "shop.csv").write_text("image,sku\n https://anna:geheim@h/a.jpg\n")
    (item,) = open_catalog([str(tmp_path / "shop.csv")])
    assert item.problem is not None
    assert item.row["image"] == "https://h/a.jpg"
    chain = "zip://x.jpg::https://anna:geheim@h/a.zip"
    assert remote.public(chain) == remote.shown(chain) == "zip://x.jpg::https://h/a.zip"
    assert remote.public("simplecache::s3://anna:geheim@b/a@b") == "simplecache::s3://b/a@b"
    assert remote.public("zip://x::abfs://box@account/a") == "zip://x::abfs://box@account/a"


@pytest.mark.parametrize("pattern", ["https://[x/*.csv", "https://anna:geheim@[x/a.jpg", "file://[x", "http://[x/"])
def test_what_is_no_address_is_one_sentence(pattern):
    with pytest.raises(DataError) as error:
        open_catalog([pattern])
    assert str(error.value) == f"{pattern.replace('anna:geheim@', '')}: not an address that can be read"


def test_a_row_that_is_no_address_ends_no_table():
    rows = b"src\n//[x/a.jpg\nhttps://[x/a.jpg\nfile://[x\n/b.jpg\n"
    with serving(lambda path, _: Reply(body=rows if path == "/list.csv" else b"B")) as server:
        beside, web, file, good = open_catalog([f"{server.url}/list.csv"])
        assert beside.problem == (
            f"{server.url}/list.csv, line 2: '//[x/a.jpg' is not an address that can be read"
        )
        for item in (web, file):
            with pytest.raises(PhotoError, match=r"^(https|file)://\[x"):
                read_item(item)
        assert read_item(good) == b"B"


def test_a_signed_address_of_a_table_says_its_kind():
    with serving(lambda *_: Reply(body=b"src\tnote\na.jpg\t1,2;3,4;5\n")) as server:
        (item,) = open_catalog([f"{server.url}/list.tsv?sig=1"])
        assert item.row == {"src": "a.jpg", "note": "1,2;3,4;5"}
        with pytest.raises(DataError, match="it is not a Parquet file"):
            open_catalog([f"{server.url}/list.parquet?sig=1"])


@pytest.mark.parametrize(
    "url",
    ["reference://x.json", "simplecache::http://127.0.0.1/a.jpg", "zip://a.jpg::http://127.0.0.1/a.zip", "ftp://h/a.jpg"],
)
def test_other_protocols_are_refused(url):
    assert "is not read; http, https, s3," in problem_of(url)
    (item,) = open_catalog([url])
    assert item.problem is None or "is not read" in item.problem


@pytest.mark.skipif(find_spec("s3fs") is not None, reason="s3fs is here")
def test_a_missing_package_is_named():
    said = problem_of("s3://bucket/a.jpg")
    assert said == 's3://bucket/a.jpg: s3:// needs one more package: pip install "hemline[catalog]" s3fs'


def test_files_by_their_url(tmp_path):
    (tmp_path / "a b.jpg").write_bytes(b"photo")
    (item,) = open_catalog([(tmp_path / "a b.jpg").as_uri()])
    assert read_item(item) == b"photo"
    (tmp_path / "shop.csv").write_text(f"url\n{(tmp_path / 'a b.jpg').as_uri()}\n")
    (item,) = open_catalog([(tmp_path / "shop.csv").as_uri()])
    assert read_item(item) == b"photo"


def test_folders_and_globs_of_a_store(memory):
    for name in ("shop/b.jpg", "shop/a/z.JPG", "shop/a/note.txt", "shop/.hidden/c.jpg", "shop/a-b.png", "else/d.jpg"):
        memory.pipe(f"/{name}", name.encode())
    folder = open_catalog(["memory://shop/"])
    assert [item.path for item in folder] == ["memory://shop/a/z.JPG", "memory://shop/a-b.png", "memory://shop/b.jpg"]
    assert folder.count() == 3
    assert [item.path for item in open_catalog(["memory://shop"])] == [item.path for item in folder]
    assert [item.path for item in open_catalog(["memory://*/*.jpg"])] == ["memory://else/d.jpg", "memory://shop/b.jpg"]
    assert read_item(next(iter(folder))) == b"shop/a/z.JPG"
    (nothing,) = open_catalog(["memory://nowhere/"])
    assert nothing.problem == "memory://nowhere/: no photo is there"
    assert problem_of("memory://shop/none.jpg") == (
        "memory://shop/none.jpg: nothing is there (HTTP 404, or no such bucket or file)"
    )
    memory.pipe("/shop/large.jpg", bytes(1001))
    assert "larger than 1,000 bytes" in problem_of("memory://shop/large.jpg", max_bytes=1000)
    assert len(read_item(Item("memory://shop/large.jpg", {}), max_bytes=1001)) == 1001


def test_the_web_has_no_folders():
    (item,) = open_catalog(["https://shop.example/photos/"])
    assert item.problem == (
        "https://shop.example/photos/: a web server does not list its files; give a table of their addresses"
    )


def test_tables_and_shards_at_urls(memory, tmp_path):
    memory.pipe("/shop/list.csv", b"photo,sku\na.jpg,007\nmemory://else/b.jpg,008\n")
    memory.pipe("/shop/a.jpg", b"A")
    memory.pipe("/else/b.jpg", b"B")
    memory.pipe("/shards/1.tar", tar_of({"c.jpg": b"C"}))
    memory.pipe("/shards/2.tar.gz", tar_of({"d.jpg": b"D"}, "w:gz"))
    table = io.BytesIO()
    pq.write_table(pa.table({"url": ["memory://shop/a.jpg"], "sku": [9]}), table)
    memory.pipe("/more/list.parquet", table.getvalue())
    catalog = open_catalog(["memory://shop/list.csv", "memory://shards/*.tar", "memory://shards/2.tar.gz",
                            "memory://more/list.parquet"])
    found = [(item.path, item.row["sku"], read_item(item)) for item in catalog]
    assert found == [
        ("memory://shop/a.jpg", "007", b"A"), ("memory://else/b.jpg", "008", b"B"),
        ("memory://shards/1.tar::c.jpg", None, b"C"), ("memory://shards/2.tar.gz::d.jpg", None, b"D"),
        ("memory://shop/a.jpg", "9", b"A"),
    ]  # fmt: skip
    with pytest.raises(DataError, match=r"memory://shop/none\.csv: nothing is there"):
        open_catalog(["memory://shop/none.csv"])
    (item,) = open_catalog(["memory://shop/none.tar"])
    assert item.problem is not None
    assert "nothing is there" in item.problem


def test_a_table_on_the_web_names_photos_beside_it():
    answers = {"/shop/list.csv?token=1": b"src\nimg/a.jpg\n/b.jpg\n", "/shop/img/a.jpg": b"A", "/b.jpg": b"B"}
    with serving(lambda path, _: Reply(body=answers[path]) if path in answers else Reply(404)) as server:
        catalog = open_catalog([f"{server.url}/shop/list.csv?token=1"])
        assert [read_item(item) for item in catalog] == [b"A", b"B"]
        assert [item.path for item in catalog] == [f"{server.url}/shop/img/a.jpg", f"{server.url}/b.jpg"]


def test_a_table_that_was_copied_goes_with_its_catalogue(memory, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    memory.pipe("/list.csv", b"photo\na.jpg\n")
    memory.pipe("/1.tar", tar_of({"c.jpg": b"C"}))
    catalog = open_catalog(["memory://list.csv", "memory://1.tar"])
    assert len(list(catalog)) == 2
    assert len(list(tmp_path.iterdir())) == 1
    del catalog
    assert not list(tmp_path.iterdir())


def test_reading_ahead_keeps_the_order_and_its_bounds(tmp_path):
    (tmp_path / "local.jpg").write_bytes(b"local")

    def answer(path: str, _: int) -> Reply:
        number = int(path[1:])
        return Reply(404) if number % 5 == 0 else Reply(body=path.encode(), wait=0.03 if number % 3 == 0 else 0)

    with serving(answer) as server:
        urls = [f"{server.url}/{number}" for number in range(60)]
        items = [Item(url, {}) for url in urls]
        broken, carried = Item("x", {}, problem="x: is not"), Item("y", {}, data=b"y")
        items[7:7] = [Item(str(tmp_path / "local.jpg"), {}), broken, carried]
        taken: list[Item] = []
        ahead = read_ahead((taken.append(item) or item for item in items), threads=4, photos=10)
        for number, (item, got) in enumerate(ahead, start=1):
            assert item is items[number - 1]
            expected = item.path.removeprefix(server.url).encode()
            if item.path == "x":
                assert str(got) == "x: is not"
            elif not item.path.startswith("http"):
                assert got in (b"local", b"y")
            elif int(expected[1:]) % 5 == 0:
                assert isinstance(got, PhotoError)
            else:
                assert got == expected
            assert len(taken) - number < 10
        assert number == 63
        assert 2 <= server.most <= 4
        assert len(server.asked) == 60


def test_reading_ahead_stops_taking_while_many_bytes_wait():
    taken: list[Item] = []

    def items():
        for _ in range(20):
            taken.append(Item("carried", {}, data=bytes(100)))
            yield taken[-1]

    ahead = read_ahead(items(), photos=20, max_bytes=300)
    next(ahead)
    assert len(taken) == 3
    assert len(list(ahead)) == 19


def test_reading_ahead_can_be_left():
    with serving(lambda *_: Reply(body=b"photo", wait=0.02)) as server:
        ahead = read_ahead((Item(f"{server.url}/{number}", {}) for number in range(1000)), threads=2, photos=50)
        next(ahead)
        ahead.close()
        time.sleep(0.1)
        assert len(server.asked) < 10
