"""The served page in a real browser: a server, Chromium, and what tests ask of both."""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
from PIL import Image

from hemline.predict import demo_photo

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from hemline.tagger import Tagger

PHONE = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True, "device_scale_factor": 2}
LAYERS = ("photo", "tint", "outlines", "labels", "parts")


def absent(reason: str) -> None:
    """Skip, or fail where a browser is demanded."""
    if os.environ.get("HEMLINE_NEEDS_BROWSER") == "1":
        pytest.fail(f"HEMLINE_NEEDS_BROWSER=1, and {reason}")
    pytest.skip(reason)


@contextmanager
def chromium() -> Iterator[Browser]:
    """A headless Chromium of this machine."""
    found = [path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))]
    if not found:
        absent("there is no chromium, chromium-browser or google-chrome")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        absent("playwright is not installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found[0], args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@contextmanager
def served(tagger: Tagger, **settings: Any) -> Iterator[str]:
    """The address of a server of our own on a free port."""
    import uvicorn

    from hemline.serve.app import make_app
    from hemline.serve.settings import Settings

    app = make_app(tagger, Settings(port=0, **settings))
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", ws="none"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until = time.monotonic() + 60
    while not server.started:
        assert time.monotonic() < until, "the server did not start"
        assert thread.is_alive(), "the server ended at once"
        time.sleep(0.02)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(30)
    assert not thread.is_alive(), "the server did not end"


@contextmanager
def visits(browser: Browser, url: str) -> Iterator[Callable[..., Page]]:
    """What opens the page; at the end nothing may have left this host, and no error may stand in the console."""
    contexts, asked, errors = [], [], []

    def visit(address: str = url, refused: bool = False, **options: Any) -> Page:
        """Open the page; Chromium puts each refusal of the server into the console, so they may be expected."""
        context = browser.new_context(**({"viewport": {"width": 1280, "height": 900}} | options))
        contexts.append(context)
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda line: errors.append(line.text) if line.type in ("error", "warning") and not (
            refused and line.text.startswith("Failed to load resource")) else None)
        page.goto(address)
        page.wait_for_load_state("networkidle")
        return page

    yield visit
    for context in contexts:
        context.close()
    assert not errors, errors
    assert [x for x in asked if not x.startswith(("http://127.0.0.1:", "data:", "blob:http://127.0.0.1:"))] == []


def ask(url: str, photo: Path, token: str = "") -> dict[str, Any]:
    """What the API says of a photo, asked without the page and in JSON."""
    body = json.dumps({"photos": [{"name": photo.name, "data": base64.b64encode(photo.read_bytes()).decode()}]})
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    request = urllib.request.Request(f"{url}/v1/predict?masks=png", body.encode(), headers)
    with urllib.request.urlopen(request, timeout=60) as reply:
        answer = json.loads(reply.read())
    return dict(answer[0])


def mask_of(garment: dict[str, Any]) -> np.ndarray:
    """(H, W) bool."""
    return np.array(Image.open(io.BytesIO(base64.b64decode(garment["mask"]))))


def png_of(mask: np.ndarray) -> str:
    """A mask as the API gives it."""
    file = io.BytesIO()
    Image.fromarray(mask).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def resized(mask: np.ndarray, shape: tuple[int, int], margin: int = 0) -> np.ndarray:
    """A mask at another (height, width); with a margin, only what is that far inside."""
    soft = cv2.resize(mask.astype(np.float32), shape[::-1], interpolation=cv2.INTER_LINEAR)
    hard = (np.asarray(soft) > 0.5).astype(np.uint8)
    if margin:
        hard = np.asarray(cv2.erode(np.pad(hard, 1), np.ones((2 * margin + 1,) * 2, np.uint8)), np.uint8)[1:-1, 1:-1]
    return hard.astype(bool)


def pixels(page: Page) -> np.ndarray:
    """(h, w, 4) int: the canvas."""
    data = page.evaluate("document.getElementById('photo').toDataURL('image/png')")
    return np.array(Image.open(io.BytesIO(base64.b64decode(data.split(",")[1]))).convert("RGBA")).astype(int)


def only(page: Page, *names: str) -> np.ndarray:
    """The canvas with these layers alone."""
    for name in LAYERS:
        box = page.locator(f"#layers [name={name}]")
        if box.is_visible():
            box.set_checked(name in names)
    return pixels(page)


def choose(page: Page, *photos: Path) -> None:
    """Choose photos, and wait until all are answered."""
    page.set_input_files("#files", list(photos))
    page.wait_for_selector("#work[aria-busy=false] #garments li", timeout=60_000)
    if len(photos) > 1:
        page.locator(f"#strip:not(:has(.waiting)) button:nth-child({len(photos)})").wait_for()


def drop(page: Page, name: str, content: bytes) -> None:
    """Drop a file on the page."""
    transfer = page.evaluate_handle(
        """([name, data]) => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([Uint8Array.from(atob(data), (c) => c.charCodeAt(0))], name));
            return transfer;
        }""",
        [name, base64.b64encode(content).decode()],
    )
    page.dispatch_event("main", "drop", {"dataTransfer": transfer})


def listed(page: Page) -> list[str]:
    """The names in the list of garments."""
    return page.locator("#garments li .name").all_inner_texts()


def place(page: Page, mask: np.ndarray) -> tuple[float, float]:
    """Where, in the window, the pixel of a mask is that is farthest inside."""
    depth = cv2.distanceTransform(np.pad(mask.astype(np.uint8), 1), cv2.DIST_L2, 5)[1:-1, 1:-1]
    y, x = np.unravel_index(int(depth.argmax()), depth.shape)
    page.locator("#photo").scroll_into_view_if_needed()
    box = page.locator("#photo").bounding_box()
    assert box is not None
    height, width = mask.shape
    return box["x"] + (x + 0.5) / width * box["width"], box["y"] + (y + 0.5) / height * box["height"]


def move(page: Page, number: int) -> None:
    """Set the slider of the least score, in per cent."""
    page.locator("#least").fill(str(number))


def downloaded(page: Page, selector: str) -> tuple[str, bytes]:
    """Press a button: the name and the bytes of the file that it saves."""
    with page.expect_download() as waiting:
        page.click(selector)
    return waiting.value.suggested_filename, Path(waiting.value.path()).read_bytes()


# -- what the tests begin with: imported by name, a server and a browser for each file -----------------------------


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Of this machine."""
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def tagger() -> Tagger:
    """With the default weights."""
    from hemline.tagger import Tagger

    return Tagger.load()


@pytest.fixture(scope="module")
def url(tagger: Tagger) -> Iterator[str]:
    """Of a server."""
    pytest.importorskip("fastapi")
    with served(tagger) as address:
        yield address


@pytest.fixture(scope="module")
def answer(url: str) -> dict[str, Any]:
    """What it says of the demo photo."""
    return ask(url, demo_photo())


@pytest.fixture
def opened(browser: Browser, url: str) -> Iterator[Callable[..., Page]]:
    """Opens the page."""
    with visits(browser, url) as visit:
        yield visit
