"""The HTTP API in one process: what it answers, and every limit hit by a request made for it."""

import base64
import json
import re
from importlib.resources import files
from urllib.parse import urljoin

import jsonschema  # type: ignore[import-untyped]  # jsonschema ships no types
import pytest
from starlette.testclient import TestClient
from typer.testing import CliRunner

from hemline.cli import app as commands
from hemline.errors import ConfigError
from hemline.predict import demo_photo
from hemline.serve import body
from hemline.serve.app import make_app
from hemline.serve.settings import Settings
from hemline.tagger import Tagger
from tests.primary import SPACE, colour_tagger
from tests.served import painted

SCHEMA = json.loads(files("hemline").joinpath("result.schema.json").read_text(encoding="utf-8"))
RED, BLUE = painted("red"), painted("blue")


def form(*photos):
    return [("photo", photo if isinstance(photo, tuple) else ("a.png", photo)) for photo in photos]


def b64(data):
    return base64.b64encode(data).decode()


@pytest.fixture(scope="module")
def client():
    with TestClient(make_app(colour_tagger(), Settings())) as client:
        yield client


def client_of(**settings):
    return TestClient(make_app(colour_tagger(), Settings(**settings)))


def error(response, status):
    """Its sentence; that is all it says."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    (key, sentence), = response.json().items()
    assert key == "error"
    assert sentence
    assert "\n" not in sentence
    assert "Traceback" not in sentence
    return sentence


def test_a_form_with_photos_is_answered_in_order(client):
    answer = client.post("/v1/predict", files=form(("r.png", RED), ("bad.jpg", b"no photo"), ("b.png", BLUE)))
    assert answer.status_code == 200
    entries = answer.json()
    jsonschema.validate(entries, SCHEMA)
    assert [entry["photo"] for entry in entries] == ["r.png", "bad.jpg", "b.png"]
    assert [x["category"] for x in entries[0]["garments"]] == ["jacket"]
    assert [x["category"] for x in entries[2]["garments"]] == ["hat"]
    assert "bad.jpg: not a whole image" in entries[1]["error"]


def test_json_says_the_same_as_a_form(client):
    photos = [{"name": "r.png", "data": b64(RED)}, {"data": b64(BLUE)}]
    by_json = client.post("/v1/predict", json={"photos": photos})
    by_form = client.post("/v1/predict", files=form(("r.png", RED), ("photo", BLUE)))
    assert by_json.json() == by_form.json()
    assert [entry["photo"] for entry in by_json.json()] == ["r.png", "photo"]


@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")
@pytest.mark.parametrize("masks", ["rle", "png", "polygons", "none"])
def test_masks_are_those_of_result_to_dict(client, masks):
    (entry,) = client.post(f"/v1/predict?masks={masks}", files=form(("x", RED))).json()
    expected = colour_tagger()(RED).to_dict(masks)
    assert entry == json.loads(json.dumps(expected)) | {"photo": "x"}


def test_min_score_and_vocabulary(client):
    (entry,) = client.post("/v1/predict?min_score=1", files=form(RED)).json()
    assert entry["garments"] == []
    (plain,) = client.post("/v1/predict", files=form(RED)).json()
    (shop,) = client.post("/v1/predict?vocabulary=google", files=form(RED)).json()
    assert shop["vocabulary"]["name"] == "google"
    assert "shop" in shop["garments"][0]
    assert "vocabulary" not in plain


def test_names_are_given_back_whatever_they_are(client):
    names = ["../../etc/passwd", "\u2603.jpg", "\ud800", "a\u0000b", '"', ""]
    photos = [{"name": name, "data": b64(RED)} for name in names]
    answer = client.post("/v1/predict", content=json.dumps({"photos": photos}), headers=JSON)
    assert [entry["photo"] for entry in answer.json()] == [*names[:-1], "photo"]
    bad = json.dumps({"photos": [{"name": "\ud800", "data": ""}]})
    assert "\ud800: empty, 0 bytes" in error(client.post("/v1/predict", content=bad, headers=JSON), 422)


JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "multipart/form-data; boundary=x"}
HEAD = b'--x\r\nContent-Disposition: form-data; name="photo"; filename="a"\r\n\r\n'
WRONG = {
    "no body": ({}, b"", 415),
    "text": ({"Content-Type": "text/plain"}, b"hello", 415),
    "no boundary": ({"Content-Type": "multipart/form-data"}, b"--x--", 400),
    "foreign charset": ({"Content-Type": "multipart/form-data; charset=klingon; boundary=x"}, b"--x", 400),
    "empty form": (FORM, b"", 400),
    "cut": (FORM, HEAD + b"abc", 400),
    "no head": (FORM, b"--x\r\n\r\nabc\r\n--x--", 400),
    "long head": (FORM, b"--x\r\nA: " + b"b" * 9000 + b"\r\n\r\nabc\r\n--x--", 400),
    "no photo": (FORM, b"--x--\r\n", 422),
    "other field": (FORM, HEAD.replace(b"photo", b"file") + b"abc\r\n--x--\r\n", 422),
    "long name": (FORM, HEAD.replace(b'"a"', b'"' + b"a" * 300 + b'"') + b"abc\r\n--x--\r\n", 422),
    "empty file": (FORM, HEAD + b"\r\n--x--\r\n", 422),
    "no json": (JSON, b"{", 400),
    "not utf-8": (JSON, b'{"photos": "\xff"}', 400),
    "deep": (JSON, b"[" * 1000, 400),
    "very deep": (JSON, b"[" * 100_000, 413),
    "a bomb of objects": (JSON, b'{"photos": [' + b"{}," * 100_000 + b"{}]}", 413),
    "long number": (JSON, b"1" * 10_000, 400),
    "a list": (JSON, b"[]", 422),
    "no photos": (JSON, b'{"photos": []}', 422),
    "photos of another type": (JSON, b'{"photos": {}}', 422),
    "more keys": (JSON, b'{"photos": [], "x": 1}', 422),
    "a text": (JSON, b'{"photos": ["x"]}', 422),
    "no data": (JSON, b'{"photos": [{"name": "x"}]}', 422),
    "number": (JSON, b'{"photos": [{"data": 1}]}', 422),
    "null name": (JSON, b'{"photos": [{"data": "", "name": null}]}', 422),
    "not base64": (JSON, b'{"photos": [{"data": "a$b="}]}', 422),
    "not ascii": (JSON, '{"photos": [{"data": "é"}]}'.encode(), 422),
    "data url": (JSON, b'{"photos": [{"data": "data:image/png;base64,AAAA"}]}', 422),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_body_gets_one_sentence(client, name):
    headers, content, status = WRONG[name]
    error(client.post("/v1/predict", content=content, headers=headers), status)


@pytest.mark.parametrize(
    "query", ["masks=x", "min_score=2", "min_score=nan", "min_score=x", "vocabulary=/etc/passwd", "mask=png"]
)
def test_a_wrong_option_gets_one_sentence(client, query):
    sentence = error(client.post(f"/v1/predict?{query}", files=form(RED)), 422)
    assert query.partition("=")[0] in sentence


def test_all_photos_bad_is_an_error(client):
    sentence = error(client.post("/v1/predict", files=form(("a", b"x"), ("b", b""))), 422)
    assert sentence.startswith("none of the 2 photos can be read; the first is a: not a whole image")


def test_nothing_and_other_methods(client):
    error(client.get("/nothing"), 404)
    error(client.get("/%00"), 404)
    error(client.get("/" + "a" * 5000), 404)
    assert client.get("/v1/predict").headers["allow"] == "POST"
    error(client.get("/v1/predict"), 405)
    error(client.post("/healthz"), 405)


def test_bytes_are_limited_with_and_without_a_length():
    with client_of(max_bytes=5000) as client:
        assert client.post("/v1/predict", files=form(RED)).status_code == 200
        big = RED + b"x" * 5000
        assert "5,000 bytes" in error(client.post("/v1/predict", files=form(big)), 413)
        read = 0

        def chunks():
            nonlocal read
            yield HEAD
            for _ in range(100):
                read += 1
                yield b"x" * 1000

        assert "5,000 bytes" in error(client.post("/v1/predict", content=chunks(), headers=FORM), 413)
        sent = json.dumps({"photos": [{"data": b64(big)}]})
        assert "5,000 bytes" in error(client.post("/v1/predict", content=iter([sent.encode()]), headers=JSON), 413)


def test_photos_are_counted():
    with client_of(max_photos=2) as client:
        assert client.post("/v1/predict", files=form(RED, BLUE)).status_code == 200
        assert "at most 2 photos" in error(client.post("/v1/predict", files=form(RED, BLUE, RED)), 413)
        three = {"photos": [{"data": b64(RED)}] * 3}
        assert "at most 2 photos" in error(client.post("/v1/predict", json=three), 413)


def test_pixels_are_counted_before_any_is_decoded(monkeypatch):
    from PIL.PngImagePlugin import PngImageFile

    def decoded(self):
        raise RuntimeError("decoded")

    monkeypatch.setattr(PngImageFile, "load", decoded)
    with client_of(max_pixels=48 * 60 - 1) as client:
        assert "48 x 60 pixels is over the limit" in error(client.post("/v1/predict", files=form(RED)), 422)


def test_memory_of_all_bodies_is_limited(monkeypatch):
    monkeypatch.setattr(body, "MOST_HELD", 3000)
    with client_of() as client:
        answer = client.post("/v1/predict", files=form(RED + b"x" * 3000))
        assert "memory" in error(answer, 503)
        assert answer.headers["retry-after"] == "1"
        for _ in range(20):  # what was held is let go
            assert client.post("/v1/predict", files=form(RED)).status_code == 200


def test_a_token_guards_the_api_and_the_figures():
    with client_of(token="let-me-in") as client:
        for method, path in (("POST", "/v1/predict"), ("GET", "/v1/labels"), ("GET", "/metrics")):
            for headers in ({}, {"Authorization": "Bearer x"}, {"Authorization": "Basic let-me-in"}):
                answer = client.request(method, path, headers=headers)
                error(answer, 401)
                assert answer.headers["www-authenticate"] == "Bearer"
        login = {"Authorization": "Bearer let-me-in"}
        assert client.post("/v1/predict", files=form(RED), headers=login).status_code == 200
        assert client.get("/v1/labels", headers=login).status_code == 200
        assert client.get("/metrics", headers=login).status_code == 200
        assert client.get("/healthz").json()["token"] is True
        odd = {"Authorization": b"Bearer \xe9"}
        error(client.get("/v1/labels", headers=odd), 401)


def test_cors_only_for_origins_that_are_named(client):
    origin = {"Origin": "https://shop.example"}
    asked = origin | {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    assert "access-control-allow-origin" not in client.get("/healthz", headers=origin).headers
    error(client.options("/v1/predict", headers=asked), 405)
    with client_of(cors=("https://shop.example",), token="t") as client:
        assert client.options("/v1/predict", headers=asked).status_code == 200
        refused = client.post("/v1/predict", headers=origin)
        assert refused.status_code == 401
        assert refused.headers["access-control-allow-origin"] == "https://shop.example"
        other = client.get("/healthz", headers={"Origin": "https://other.example"})
        assert "access-control-allow-origin" not in other.headers


def test_labels_are_those_of_the_weights(client):
    words = client.get("/v1/labels").json()
    assert [(x["name"], x["id"]) for x in words["categories"]] == [(c.name, c.id) for c in SPACE.categories]
    assert words["groups"][0]["labels"] == [{"name": "plain", "id": 317}, {"name": "striped", "id": 316}]
    assert {"navy", "green"} <= set(words["colours"])
    assert {"burgundy", "ivory"} <= set(words["shades"])
    assert not set(words["shades"]) & set(words["colours"])


def test_figures(client):
    with client_of() as client:
        client.post("/v1/predict", files=form(("secret-name", RED), ("secret-name", b"x")))
        client.get("/secret-path")
        text = client.get("/metrics").text
    assert 'hemline_requests_total{route="/v1/predict",status="200"} 1.0' in text
    assert 'hemline_requests_total{route="other",status="404"} 1.0' in text
    assert "hemline_photos_total 2.0" in text
    assert "hemline_photo_failures_total 1.0" in text
    assert "hemline_photos_waiting 0.0" in text
    assert "hemline_photo_wait_seconds_count 2.0" in text
    assert "hemline_predict_seconds_count 1.0" in text
    assert "secret" not in text


def test_nothing_that_is_served_loads_from_elsewhere(client):
    docs = client.get("/docs")
    assert docs.status_code == 200
    assert "/v1/predict" in docs.text
    assert "://" not in docs.text
    assert "<script" not in docs.text
    links = re.findall(r'(?:href|src)="([^"]*)"', docs.text)
    assert {urljoin("http://host/below/docs", link) for link in links} == {
        "http://host/below/", "http://host/below/openapi.json"
    }  # fmt: skip
    for path in ("/docs", "/healthz", "/openapi.json", "/nothing"):
        headers = client.get(path).headers
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"


def test_a_mistake_of_ours_is_one_sentence(caplog):
    tagger = colour_tagger()

    def broken(pixels, valid):
        raise RuntimeError("inner words")

    tagger.runtime = broken
    broken.device = "cpu"
    with TestClient(make_app(tagger, Settings())) as client:
        sentence = error(client.post("/v1/predict", files=form(("secret-name", RED))), 500)
        assert "inner words" not in sentence
        assert "hemline_photos_waiting 0.0" in client.get("/metrics").text
    assert "secret-name" not in caplog.text


@pytest.mark.slow
def test_the_answer_is_that_of_predict_with_the_default_weights():
    photo = demo_photo()
    said = json.loads(CliRunner().invoke(commands, ["predict", str(photo), "--json"]).stdout)
    with TestClient(make_app(Tagger.load(), Settings())) as client:
        answer = client.post("/v1/predict", files=form((str(photo), photo.read_bytes())))
    assert answer.json() == said


@pytest.mark.parametrize(
    "wrong",
    [{"port": -1}, {"token": ""}, {"token": "two words"}, {"token": "é"}, {"max_bytes": 0},
     {"max_seconds": float("nan")}, {"cors": ("shop.example",)}, {"cors": ("https://shop.example/",)}],
)  # fmt: skip
def test_impossible_settings(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Settings(**wrong)
