"""The page of `hemline serve` in a real browser: fingers, many photos, names on the photo, a proxy in front."""

import threading
import urllib.error
import urllib.request
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np
import pytest
from PIL import Image

from hemline.photo import read_photo
from hemline.predict import demo_photo
from tests.page_browser import (
    PHONE,
    answer,
    ask,
    browser,
    choose,
    listed,
    move,
    only,
    opened,
    pixels,
    png_of,
    tagger,
    url,
)

pytestmark = pytest.mark.slow
COUNT_CANVASES = """
    window.made = [];
    const make = document.createElement;
    document.createElement = function (...words) {
        const element = make.apply(this, words);
        if (words[0] === "canvas") window.made.push(new WeakRef(element));
        return element;
    };
"""
PIXELS_HELD = "made.map((x) => x.deref()).reduce((sum, x) => sum + (x ? x.width * x.height : 0), 0)"


def colour(name, shade, code, share):
    return {"name": name, "shade": shade, "hex": code, "share": share}


def made(category, box, colours=(), multicolour=False):
    """A rectangle, left, top, width and height, as the API gives a garment; the demo photo has 512 x 600 pixels."""
    left, top, width, height = box
    mask = np.zeros((600, 512), bool)
    mask[top : top + height, left : left + width] = True
    return {
        "category": category, "category_id": 1, "outfit_part": None, "score": 0.8, "area": float(mask.mean()),
        "box": list(box), "mask": png_of(mask), "found_by": "mask", "colours": list(colours),
        "multicolour": multicolour, "parts": [], "attributes": [],
    }  # fmt: skip


def answering(page, *garments):
    """Let the page have this answer to the demo photo."""
    entry = {"schema_version": "1.3", "photo": "x.jpg", "size": {"height": 600, "width": 512}, "labels": [],
             "garments": list(garments)}  # fmt: skip
    page.route("**/v1/predict*", lambda route: route.fulfill(json=[entry]))
    choose(page, demo_photo())


def test_shades_come_before_names_and_many_colours_are_said(opened):
    page = opened()
    sea = [colour("blue", "navy", "#101840", 0.7), colour("white", None, "#fafafa", 0.3)]
    loud = [colour("red", None, "#d01020", 0.4), colour("green", "olive", "#556b2f", 0.3),
            colour("blue", None, "#2040d0", 0.3)]  # fmt: skip
    answering(page, made("coat", (50, 50, 100, 300), sea), made("scarf", (250, 50, 100, 300), loud, True))
    assert page.locator("#garments .what small").all_inner_texts() == ["navy, white", "multicolour"]
    page.locator("#garments li").first.click()
    assert page.locator("#card .colours li span:nth-of-type(1)").all_inner_texts() == ["navy", "white"]
    assert "multicolour" not in page.inner_text("#card")
    page.locator("#garments li").last.click()
    assert page.locator("#card .colours li span:nth-of-type(1)").all_inner_texts() == ["red", "olive", "blue"]
    assert "multicolour" in page.inner_text("#card .said")
    bars = page.locator(".score i")
    assert "80%" in bars.first.evaluate("bar => getComputedStyle(bar).backgroundImage")


def test_a_finger_beside_a_small_garment_means_it(opened):
    page = opened(**PHONE)
    tie, button, coat = (240, 200, 12, 60), (60, 540, 8, 8), (100, 100, 300, 400)
    answering(page, made("coat", coat), made("tie", tie), made("button", button))
    frame = page.locator("#photo").bounding_box()
    scale = frame["width"] / 512

    def tap(across, down):
        """Tap at a place of the photo, in its pixels, and say what lights up; then close it."""
        page.evaluate("scrollTo(0, 0)")
        frame = page.locator("#photo").bounding_box()
        page.touchscreen.tap(frame["x"] + across * scale, frame["y"] + down * scale)
        if page.locator("#card").is_hidden():
            return None
        name = page.inner_text("#card h3")
        page.locator(".close").tap()
        return name

    assert tap(246, 230) == "tie"
    assert tap(240 - 6 / scale, 230) == "tie"  # 6 pixels of the page beside it
    assert tap(252 + 6 / scale, 230) == "tie"
    assert tap(240 - 12 / scale, 230) == "coat"  # the coat is under the finger
    assert tap(100 + 2, 300) == "coat"
    assert tap(100 - 13 / scale, 300) == "coat"  # nothing else there
    assert tap(100 - 20 / scale, 300) is None
    assert tap(60 - 12 / scale, 540) == "button"
    assert tap(60 - 20 / scale, 540) is None
    page = opened()
    answering(page, made("coat", coat), made("tie", tie))
    frame = page.locator("#photo").bounding_box()
    scale = frame["width"] / 512
    page.mouse.move(frame["x"] + 240 * scale - 6, frame["y"] + 230 * scale)
    assert page.inner_text("#card h3") == "coat"  # a mouse is exact
    page.mouse.move(frame["x"] + 100 * scale - 6, frame["y"] + 230 * scale)
    assert page.locator("#card").is_hidden()


def test_names_on_the_photo_never_cover_each_other(opened):
    page = opened()
    boxes = [(200 + 3 * i, 200 + 5 * i, 40, 30) for i in range(9)]
    names = [f"garment {i}" for i in range(9)]
    answering(page, *(made(name, box) for name, box in zip(names, boxes, strict=True)))
    solid = (only(page, "labels")[..., 3] > 200).astype(np.uint8)
    pills = cv2.morphologyEx(solid, cv2.MORPH_OPEN, np.ones((21, 21), np.uint8))  # not the lines to the garments
    count, _, stats, _ = cv2.connectedComponentsWithStats(pills, connectivity=4)
    wide = stats[1:count][stats[1:count, cv2.CC_STAT_WIDTH] > 60]
    assert len(wide) == 9
    assert np.ptp(wide[:, cv2.CC_STAT_HEIGHT]) <= 4  # none is two that touch
    assert np.ptp(wide[:, cv2.CC_STAT_WIDTH]) <= 12


def test_all_that_is_needed_is_seen_at_once(opened):
    page = opened()
    choose(page, demo_photo())
    for place in ("#photo", "#least", "#save-json", "#save-cutouts", "#garments li:last-child"):
        box = page.locator(place).bounding_box()
        assert box["y"] >= 0, place
        assert box["y"] + box["height"] <= 900, place
    before = page.locator("#garments").bounding_box()
    page.locator("#garments li").nth(2).hover()
    assert page.locator("#garments").bounding_box() == before  # nothing jumps
    assert page.locator("#whole").is_hidden()
    page.mouse.move(2, 2)
    assert page.locator("#whole").is_visible()


def test_many_photos_take_bounded_memory_and_stay_right(opened, url, tmp_path):
    whole = Image.fromarray(read_photo(demo_photo()))
    paths = [tmp_path / f"{i}.png" for i in range(10)]
    for i, path in enumerate(paths):
        whole.crop((0, 8 * i, 512, 600)).save(path)
    page = opened()
    page.add_init_script(COUNT_CANVASES)
    page.reload()
    client = page.context.new_cdp_session(page)

    def held():
        client.send("HeapProfiler.collectGarbage")
        return page.evaluate(PIXELS_HELD)

    choose(page, paths[0])
    first, names = only(page, "photo", "tint", "outlines"), listed(page)
    one = held()
    assert one > 1_000_000
    choose(page, *paths[1:])
    assert page.locator("#strip button").count() == 10
    for _ in range(2):
        for i in range(10):
            page.locator("#strip button").nth(i).click()
            page.locator("#status", has_text=f"{i}.png: ").wait_for()
    assert one < held() < 6 * one
    page.locator("#strip button").first.click()
    page.locator("#status", has_text="0.png: ").wait_for()
    assert (pixels(page) == first).all()
    assert listed(page) == names
    for i in (5, 3, 8):  # the last one that was clicked is shown: it is in memory, the others are decoded later
        page.evaluate("(i) => document.querySelectorAll('#strip button')[i].click()", i)
    page.locator("#status", has_text="8.png: ").wait_for()
    page.wait_for_timeout(500)
    assert page.get_attribute("#strip button >> nth=8", "aria-current") == "true"
    assert listed(page) == [garment["category"] for garment in ask(url, paths[8])["garments"]]
    move(page, 100)
    assert listed(page) == []


@contextmanager
def behind(url, prefix):
    """The address of a proxy that takes a prefix off the path and passes the rest on."""

    class Proxy(BaseHTTPRequestHandler):
        def do_GET(self):
            if not self.path.startswith(prefix):
                self.send_error(404)
                return
            body = self.rfile.read(int(self.headers.get("Content-Length", 0))) or None
            kept = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection")}
            address = url + "/" + self.path.removeprefix(prefix)
            request = urllib.request.Request(address, body, kept, method=self.command)
            try:
                reply = urllib.request.urlopen(request, timeout=60)
            except urllib.error.HTTPError as error:
                reply = error
            with reply:
                content = reply.read()
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

        do_POST = do_GET  # noqa: N815

        def log_message(self, *words):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}{prefix}"
    server.shutdown()
    server.server_close()
    thread.join(10)


def test_the_page_works_behind_a_proxy_with_a_prefix(opened, url):
    with behind(url, "/clothes/hemline/") as address:
        page = opened(address)
        page.click(".sample")
        page.wait_for_selector("#garments li")
        assert listed(page) == [garment["category"] for garment in ask(url, demo_photo())["garments"]]
        page.click("footer a")
        page.wait_for_load_state("networkidle")
        assert page.url == f"{address}docs"
        assert "/v1/predict" in page.inner_text("body")
        page.close()
