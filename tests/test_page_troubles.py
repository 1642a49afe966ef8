"""The page of `hemline serve` in a real browser: what goes wrong, small screens, dark ones, answers of every kind."""

import json
import re

import cv2
import numpy as np
import pytest
from PIL import Image

from hemline.photo import read_photo
from hemline.predict import demo_photo
from hemline.result import SCHEMA_VERSION
from tests import page_browser as browsing
from tests.page_browser import (
    PHONE,
    answer,
    ask,
    browser,
    choose,
    downloaded,
    drop,
    listed,
    mask_of,
    move,
    only,
    opened,
    pixels,
    place,
    png_of,
    tagger,
    url,
)

pytestmark = pytest.mark.slow
CONTRAST = """([selector]) => {
    const number = (text) => text.match(/[\\d.]+/g).map(Number);
    const light = (rgb) => {
        const [r, g, b] = rgb.map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const behind = (element) => {
        const [r, g, b, a = 1] = number(getComputedStyle(element).backgroundColor);
        if (a === 1 || !element.parentElement) return [r, g, b];
        const under = behind(element.parentElement);
        return [r, g, b].map((v, i) => v * a + under[i] * (1 - a));
    };
    return [...document.querySelectorAll(selector)].filter((x) => x.checkVisibility()).map((element) => {
        const [high, low] = [light(number(getComputedStyle(element).color).slice(0, 3)), light(behind(element))]
            .sort((a, b) => b - a);
        return [element.outerHTML.slice(0, 60), (high + 0.05) / (low + 0.05)];
    });
}"""


def stays(page, before) -> bool:
    """Whether the canvas soon shows what it did; outlines are drawn anew where the sentence leaves less room."""
    for _ in range(50):
        now = pixels(page)
        if now.shape == before.shape and (now == before).all(-1).mean() > 0.9:  # garments have half of the photo
            return True
        page.wait_for_timeout(100)
    return False


def trouble(page) -> str:
    page.wait_for_selector("#trouble:not([hidden])")
    said = str(page.inner_text("#error"))
    assert "Traceback" not in said
    assert "\n" not in said
    return said


def test_a_broken_file_is_one_sentence_and_the_earlier_answer_stays(opened):
    page = opened(refused=True)
    drop(page, "broken.jpg", b"no photo at all")
    assert "broken.jpg" in trouble(page)
    assert page.locator("#work").is_hidden()
    choose(page, demo_photo())
    assert page.locator("#trouble").is_hidden()
    before, names = pixels(page), listed(page)
    drop(page, "torn.jpg", demo_photo().read_bytes()[:900])
    assert trouble(page).startswith("torn.jpg: ")
    assert page.locator("#retry").is_hidden()  # it would fail again
    assert listed(page) == names
    assert stays(page, before)
    assert page.inner_text("#status").startswith("grace_hopper.jpg: ")
    page.click("#dismiss")
    assert page.locator("#trouble").is_hidden()


def test_a_file_that_is_too_large_is_refused_before_and_by_the_server(opened, tagger):
    sent = []
    with browsing.served(tagger, max_bytes=20_000) as small:
        page = opened(small, refused=True)
        page.on("request", lambda request: sent.append(request.method))
        page.set_input_files("#files", str(demo_photo()))
        size = demo_photo().stat().st_size / 1e6
        assert trouble(page) == (
            f"grace_hopper.jpg: The file has {size:.4f} MB, and this server takes up to 0.0200 MB."
        )
        assert "POST" not in sent
        page = opened(small, refused=True)
        page.route("**/healthz", lambda route: route.fulfill(json={}))
        page.reload()
        page.set_input_files("#files", str(demo_photo()))
        assert re.search("large|most|up to|limit|takes", trouble(page))
        page.locator("#work").wait_for(state="hidden")


def test_a_server_that_is_gone_or_busy_can_be_asked_again(opened, answer):
    page = opened(refused=True)
    choose(page, demo_photo())
    before = pixels(page)
    page.route("**/v1/predict*", lambda route: route.abort())
    page.route("**/healthz", lambda route: route.abort())
    page.evaluate("""() => {
        const decode = window.createImageBitmap;
        let times = 0;
        window.createImageBitmap = async (...given) => {       // the second time, to be shown, it takes half a second
            if (times++) await new Promise((done) => setTimeout(done, 500));
            return decode(...given);
        };
    }""")
    drop(page, "second.jpg", demo_photo().read_bytes())
    assert trouble(page) == "second.jpg: The server does not answer: is hemline serve still running?"
    page.wait_for_timeout(1000)                          # what was being made ready when it was refused is not shown
    assert stays(page, before)
    page.unroute("**/v1/predict*")
    page.route("**/v1/predict*", lambda route: route.fulfill(status=503, json={"error": "too many wait: ask again"}))
    page.click("#retry")
    page.locator("#error", has_text="too many wait").wait_for()
    assert trouble(page) == "second.jpg: too many wait: ask again"
    page.unroute("**/v1/predict*")
    page.click("#retry")
    page.locator("#status", has_text="second.jpg: 4 garments").wait_for()
    assert page.locator("#trouble").is_hidden()
    assert listed(page) == [garment["category"] for garment in answer["garments"]]


def test_a_token_is_asked_for_and_kept(opened, tagger, answer):
    with browsing.served(tagger, token="open-sesame") as locked:
        page = opened(locked, refused=True)
        assert page.evaluate("document.activeElement.id") == "token"
        page.keyboard.type("wrong")
        page.keyboard.press("Enter")
        page.set_input_files("#files", str(demo_photo()))
        assert trouble(page) == "grace_hopper.jpg: The server does not accept this token."
        page.wait_for_selector("#ask:not([hidden])")
        page.fill("#token", "open-sesame")
        page.keyboard.press("Enter")
        page.wait_for_selector("#garments li")  # the photo was not forgotten
        assert listed(page) == [garment["category"] for garment in answer["garments"]]
        page.reload()
        page.wait_for_load_state("networkidle")
        assert page.locator("#ask").is_hidden()
        choose(page, demo_photo())
        assert page.evaluate("[localStorage.length, document.cookie]") == [0, ""]
        assert "open-sesame" not in page.url
    assert opened().locator("#ask").is_hidden()


def test_a_phone_has_no_sideways_scroll_and_taps_light(opened, answer):
    page = opened(**PHONE)
    assert page.locator("#take").is_visible()
    assert page.get_attribute("#camera", "capture") == "environment"
    sides = "[document.documentElement.scrollWidth, innerWidth]"
    assert page.evaluate(sides) == [360, 360]
    choose(page, demo_photo())
    assert page.evaluate(sides) == [360, 360]
    for garment in answer["garments"][:3]:
        page.touchscreen.tap(*place(page, mask_of(garment)))
        assert page.inner_text("#card h3") == garment["category"]
        card, stage = page.locator("#card").bounding_box(), page.locator("#photo").bounding_box()
        assert stage["y"] >= -1
        assert card["y"] < 740
        assert stage["y"] + stage["height"] <= card["y"] + 1  # the card hides nothing of the photo
        page.locator(".close").tap()
        assert page.locator("#card").is_hidden()
    small = page.evaluate(
        "[...document.querySelectorAll('button, #garments li, fieldset label')].filter(x => x.checkVisibility())"
        ".filter(x => x.getBoundingClientRect().height < 36).map(x => x.outerHTML)"
    )
    assert small == []
    assert page.evaluate(sides) == [360, 360]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_in_both_schemes(opened, scheme):
    page = opened(color_scheme=scheme)
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(int(value) for value in re.findall(r"\d+", paper)) < 150) == (scheme == "dark")
    page.locator(".sample").click()
    page.wait_for_selector("#garments li")
    page.locator("#garments li").first.click()
    words = "h1, h2, h3, p, label, legend, button, output, li, span, small, code, dt, dd, a"
    measured = page.evaluate(CONTRAST, [words])
    assert len(measured) > 40
    assert [entry for entry in measured if entry[1] < 4.5] == []


def test_nothing_moves_where_less_motion_is_wished(opened):
    moving = "document.getAnimations().length"
    for wish, expected in (("no-preference", 1), ("reduce", 0)):
        page = opened(reduced_motion=wish)
        page.route("**/v1/predict*", lambda route: None)
        page.set_input_files("#files", str(demo_photo()))
        page.wait_for_selector("#work[aria-busy=true] #photo")
        assert page.evaluate(moving) == expected


def test_several_photos_stand_in_a_strip(opened, url, tmp_path):
    photo = Image.fromarray(read_photo(demo_photo()))
    paths = [demo_photo(), tmp_path / "turned.png", tmp_path / "sky.png"]
    photo.crop((0, 300, 512, 600)).save(paths[1])
    Image.new("RGB", (300, 200), (120, 160, 220)).save(paths[2])
    answers = [ask(url, path) for path in paths]
    page = opened()
    choose(page, *paths)
    assert page.inner_text("#status").startswith("grace_hopper.jpg")  # the first one that was chosen
    for i, (path, expected) in enumerate(zip(paths, answers, strict=True)):
        page.locator("#strip button").nth(i).click()
        page.locator(f"#strip button[aria-current=true]:nth-child({i + 1})").wait_for()
        assert listed(page) == [garment["category"] for garment in expected["garments"]]
        name, content = downloaded(page, "#save-json")
        assert name == f"{path.stem}.json"
        assert json.loads(content) == [expected]


def test_a_later_photo_that_is_answered_sooner_takes_no_place(opened, tmp_path):
    path = tmp_path / "second.png"
    Image.fromarray(read_photo(demo_photo())).save(path)
    page, held = opened(), []
    page.route("**/v1/predict*", lambda route: route.continue_() if held else held.append(route))
    page.set_input_files("#files", [str(demo_photo()), str(path)])
    page.locator("#strip button:nth-child(2):not(.waiting)").wait_for()
    assert page.get_attribute("#strip button >> nth=0", "aria-current") == "true"
    assert listed(page) == []
    page.locator("#strip button").nth(1).click()
    page.locator("#status", has_text="second.png: ").wait_for()
    held[0].continue_()
    page.locator("#strip:not(:has(.waiting))").wait_for()
    assert page.inner_text("#status").startswith("second.png")  # it was chosen


def test_a_file_that_the_browser_cannot_show_is_answered_all_the_same(opened, url, tmp_path, answer):
    path = tmp_path / "scan.tif"
    Image.fromarray(read_photo(demo_photo())).save(path)
    page = opened()
    choose(page, path)
    assert listed(page) == [garment["category"] for garment in ask(url, path)["garments"]]
    assert "cannot show" in page.inner_text("#status")
    assert page.locator("#save-overlay").is_disabled()
    assert page.locator("#save-cutouts").is_disabled()
    assert page.locator("#save-json").is_enabled()
    assert pixels(page)[..., :3].std() > 5  # the garments, on grey


def made(category, mask, score, found_by="mask", parts=()):
    """A garment as the API gives it."""
    box = None if mask is None else [int(x) for x in cv2.boundingRect(mask.astype(np.uint8))]
    return {
        "category": category, "category_id": 1, "outfit_part": None, "score": score,
        "area": 0 if mask is None else float(mask.mean()), "box": box, "mask": None if mask is None else png_of(mask),
        "found_by": found_by, "colours": [], "parts": list(parts),
        "attributes": [{"group": "length", "label": "<b>long</b>", "id": "x", "score": 0.5}],
    }  # fmt: skip


def rectangle(top, left, bottom, right):
    mask = np.zeros((600, 512), bool)
    mask[top:bottom, left:right] = True
    return mask


def test_guesses_and_parts_are_shown_as_such(opened):
    coat, sleeve, bag = rectangle(100, 50, 500, 250), rectangle(150, 60, 300, 110), rectangle(100, 220, 400, 500)
    garments = [
        made("coat", coat, 0.7, parts=[made("sleeve", sleeve, 0.9)]),
        made("bag", bag, 0.6, "label"),
        made("hat", None, 0.4, "label"),
    ]
    entry = {"schema_version": SCHEMA_VERSION, "photo": "x.jpg", "size": {"height": 600, "width": 512},
             "garments": garments,
             "labels": [{"group": "category", "label": "hat", "id": 1, "score": 0.4}]}  # fmt: skip
    page = opened()
    page.route("**/v1/predict*", lambda route: route.fulfill(json=[entry]))
    choose(page, demo_photo())
    assert listed(page) == ["coat", "sleeve", "bag", "hat"]
    assert page.locator("#garments .note").all_inner_texts() == ["guess", "guess, no place found"]
    tint = only(page, "tint", "parts")[..., 3]
    scale = tint.shape[0] / 600
    of = lambda top, left, bottom, right: tint[  # noqa: E731
        int(top * scale) + 3 : int(bottom * scale) - 3, int(left * scale) + 3 : int(right * scale) - 3
    ]
    assert (of(310, 60, 490, 200) > 90).all()  # the coat: all of it
    assert (of(160, 65, 290, 105) > 120).all()  # the sleeve, over the coat
    assert 0.3 < (of(110, 260, 390, 490) > 90).mean() < 0.7  # the bag: stripes
    page.mouse.move(*place(page, sleeve))
    assert page.inner_text("#card h3") == "sleeve"
    assert "part of coat" in page.inner_text("#card")
    page.mouse.move(*place(page, coat & bag))
    assert page.inner_text("#card h3") == "coat"  # a guess lies under what was seen
    assert "<b>long</b>" in page.inner_text("#card")  # words are words
    page.mouse.move(*place(page, bag & ~coat))
    assert "only the label of the whole photo names it; the stripes" in page.inner_text("#card")
    page.locator("#garments li").nth(3).hover()
    assert "no place was found for it" in page.inner_text("#card")
    assert page.locator("#save-cutout").count() == 0
    page.locator("#garments li").first.click()
    page.locator("#card .row button", has_text="sleeve").click()
    assert page.inner_text("#card h3") == "sleeve"
    only(page, "tint")  # without parts
    assert listed(page) == ["coat", "bag", "hat"]
    page.mouse.move(*place(page, sleeve))
    assert page.inner_text("#card h3") == "coat"
    only(page, "tint", "parts")
    move(page, 80)
    assert listed(page) == []  # a part goes with its garment
    move(page, 65)
    assert listed(page) == ["coat", "sleeve"]
    assert page.locator("#whole").is_hidden()
