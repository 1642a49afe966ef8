"""The JavaScript of docs/web answers as Python does: in node, and on its page in a browser."""

import json
import shutil
import subprocess
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from hemline.photo import read_photo
from hemline.predict import demo_photo
from hemline.web import WebSession
from tests.web_page import lay_out

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page")
    lay_out(path)
    return path


def test_wasm_answers_as_onnxruntime_does_here(folder: Path) -> None:
    demo = read_photo(demo_photo())
    blotches = np.random.default_rng(0).integers(0, 256, (40, 9, 3), np.uint8).repeat(16, 0).repeat(16, 1)
    photos = [np.dstack([photo, np.full(photo.shape[:2], 255, np.uint8)]) for photo in (demo, blotches, demo[:1, :7])]
    photos.append(demo[100:301, 50:400])                                # of three channels
    told = []
    for i, photo in enumerate(photos):
        (folder / f"{i}.bin").write_bytes(np.ascontiguousarray(photo).tobytes())
        told.append({"file": f"{i}.bin", "height": photo.shape[0], "width": photo.shape[1]})
    (folder / "photos.json").write_text(json.dumps(told))
    ran = subprocess.run(
        ["node", "run.js"], cwd=folder, capture_output=True, text=True, timeout=300, check=False
    )
    assert ran.returncode == 0, ran.stderr
    session = WebSession(folder / "street.web.onnx")
    words = json.loads((folder / "street.web.json").read_text(encoding="utf-8"))
    answers = json.loads((folder / "answers.json").read_text())
    assert len(answers) == len(photos)
    for photo, answer in zip(photos, answers, strict=True):
        want = session(np.ascontiguousarray(photo))
        for name, expected in want._asdict().items():
            got = np.array(answer["outputs"][name]["data"]).reshape(answer["outputs"][name]["dims"])
            if expected.dtype == np.uint8:
                assert (got != expected).mean() <= 1e-3, name
            else:
                assert np.abs(got - expected).max() <= 1e-3, name
        assert [(x["category"], x["foundBy"]) for x in answer["words"]["garments"]] == [
            (words["categories"][k]["name"], "mask" if want.found[k] == 1 else "label")
            for k in np.flatnonzero(want.found)
        ]
        assert [x["name"] for x in answer["words"]["attributes"]] == [
            words["attributes"][a]["name"] for a in np.flatnonzero(want.attributes[0])
        ]
        tint = np.array(answer["tint"]).reshape(*want.masks.shape[1:], 4)
        assert ((tint[..., 3] > 0) != (want.masks > 0).any(0)).mean() <= 1e-3


class _Page(SimpleHTTPRequestHandler):
    """Serves a folder, and keeps what its page posts."""

    told: str = ""
    heard = threading.Event()

    def do_POST(self) -> None:
        _Page.told = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.send_response(204)
        self.end_headers()
        _Page.heard.set()

    def log_message(self, *_: object) -> None:
        pass


def test_the_page_reads_a_chosen_file(folder: Path) -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("needs chromium")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Page, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}/driver.html"
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}"]
    browser = subprocess.Popen([chromium, *options, address], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        assert _Page.heard.wait(180), "the page never answered"
    finally:
        browser.terminate()
        browser.wait(30)
        server.shutdown()
        server.server_close()
    assert _Page.told.startswith("{"), _Page.told
    told = json.loads(_Page.told)
    photo = read_photo(demo_photo())
    assert (told["height"], told["width"]) == photo.shape[:2]           # smaller than 1024: not scaled
    want = WebSession(folder / "street.web.onnx")(photo)
    words = json.loads((folder / "street.web.json").read_text(encoding="utf-8"))
    scores = {words["categories"][k]["name"]: want.scores[k] for k in np.flatnonzero(want.found)}
    got = {garment["category"]: garment["score"] for garment in told["words"]["garments"]}
    assert set(got) == set(scores)
    assert all(abs(got[name] - scores[name]) < 0.02 for name in got)    # another decoder of JPEG
    drawn = np.array(told["pixels"]).reshape(-1, 4)[:, :3].astype(int)
    assert (np.abs(drawn - photo.reshape(-1, 3)[: len(drawn)]).max(1) > 20).mean() > 0.01, "nothing is tinted"
