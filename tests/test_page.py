"""The page of `hemline serve` in a real browser."""

import io
import json
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hemline.photo import read_photo
from hemline.predict import demo_photo
from tests import page_browser as browsing
from tests.page_browser import (
    answer,
    ask,
    browser,
    choose,
    downloaded,
    listed,
    mask_of,
    move,
    only,
    opened,
    pixels,
    place,
    resized,
    tagger,
    url,
)

pytestmark = pytest.mark.slow


@pytest.fixture
def page(opened):
    """The page with the demo photo read."""
    there = opened()
    choose(there, demo_photo())
    return there


def test_a_dropped_photo_lights_up(opened, answer):
    page = opened()
    browsing.drop(page, "grace.jpg", demo_photo().read_bytes())
    page.wait_for_selector("#garments li")
    names = [garment["category"] for garment in answer["garments"]]
    assert listed(page) == names
    assert len(names) >= 3
    status = page.inner_text("#status")
    assert f"{len(names)} garments" in status
    assert all(name in status for name in names)
    bare, tinted = only(page, "photo"), only(page, "photo", "tint")
    seen = np.asarray(Image.fromarray(read_photo(demo_photo())).resize(bare.shape[1::-1], Image.Resampling.BILINEAR))
    assert np.abs(bare[..., :3] - seen).mean() < 4
    masks = [mask_of(garment) for garment in answer["garments"]]
    covered = resized(np.logical_or.reduce(masks), bare.shape[:2])
    changed = np.abs(tinted - bare).max(axis=2) > 0
    assert (changed & covered).sum() / (changed | covered).sum() > 0.98
    colours = set()
    for i, mask in enumerate(masks):
        inside = resized(mask, bare.shape[:2], margin=2)
        style = page.locator("#garments li .key").nth(i).evaluate("key => getComputedStyle(key).backgroundColor")
        colour = np.array([int(value) for value in re.findall(r"\d+", style)[:3]])
        colours.add(style)
        way = (colour - bare[inside][:, :3]).astype(float)
        way[np.abs(way) < 40] = np.nan
        pull = (tinted - bare)[inside][:, :3] / way
        assert 0.3 < np.nanmedian(pull) < 0.6, names[i]  # each pixel goes as far towards its garment's colour
    assert len(colours) == len(names)


def test_a_pasted_photo_and_the_sample_are_read(opened, answer):
    names = [garment["category"] for garment in answer["garments"]]
    page = opened()
    page.evaluate(
        """async () => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([await (await fetch("samples/grace_hopper.jpg")).blob()], "image.png"));
            document.dispatchEvent(new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true }));
        }"""
    )
    page.wait_for_selector("#garments li")
    assert listed(page) == names
    page = opened()
    page.click(".sample")
    page.wait_for_selector("#garments li")
    assert listed(page) == names
    assert page.inner_text("#status").startswith("grace_hopper.jpg")


def test_the_photo_is_there_before_its_answer(opened):
    page = opened()
    page.route("**/v1/predict*", lambda route: None)  # never answers
    page.set_input_files("#files", str(demo_photo()))
    page.wait_for_selector("#work[aria-busy=true] #photo")
    assert pixels(page)[..., :3].std() > 20
    assert page.inner_text("#status").startswith("Reading")
    assert page.locator("#save-json").is_disabled()
    for event in ("pointerover", "focusin", "click"):                        # over a list that is still empty
        page.dispatch_event("#garments", event, {"pointerType": "mouse"})


def test_what_happens_between_an_answer_and_its_picture_does_no_harm(opened, answer):
    """The picture takes a moment to make; the window's size may change in it."""
    page = opened()
    page.evaluate("""() => {
        const decode = window.createImageBitmap;
        window.createImageBitmap = async (...given) => {       // masks, which are PNGs, take half a second
            if (given[0].type === "image/png") await new Promise((done) => setTimeout(done, 500));
            return decode(...given);
        };
    }""")
    with page.expect_response("**/v1/predict*"):
        page.set_input_files("#files", str(demo_photo()))
    page.wait_for_timeout(100)
    page.set_viewport_size({"width": 900, "height": 700})
    page.wait_for_selector("#garments li")
    assert listed(page) == [garment["category"] for garment in answer["garments"]]


def test_pointing_at_the_photo_lights_a_garment(page, answer):
    bare = only(page, "photo")
    only(page, "photo", "tint")
    masks = [mask_of(garment) for garment in answer["garments"]]
    everything = resized(np.logical_or.reduce(masks), bare.shape[:2])
    for garment, mask in zip(answer["garments"], masks, strict=True):
        page.mouse.move(*place(page, mask))
        assert page.inner_text("#card h3") == garment["category"]
        assert page.inner_text("#garments li.lit .name") == garment["category"]
        card = page.inner_text("#card")
        assert f"{round(garment['score'] * 100)}\u202f%" in card
        for colour in garment["colours"]:
            assert (colour["shade"] or colour["name"]) in card
            assert colour["hex"] in card
            assert f"{round(colour['share'] * 100)}\u202f%" in card
        for attribute in garment["attributes"]:
            assert attribute["group"] in card
            assert attribute["label"] in card
        lit = pixels(page)
        inside = resized(mask, bare.shape[:2], margin=2)
        assert np.abs(lit - bare)[inside].max() <= 1  # itself, untouched
        assert lit[~everything][:, :3].mean() < 0.6 * bare[~everything][:, :3].mean()  # the rest, dimmed
    page.mouse.move(2, 2)
    assert page.locator("#card").is_hidden()
    assert page.locator("#garments li.lit").count() == 0


def test_pointing_at_the_list_does_the_same(page, answer):
    bare = only(page, "photo")
    for i, garment in enumerate(answer["garments"]):
        page.locator("#garments li").nth(i).hover()
        assert page.inner_text("#card h3") == garment["category"]
        inside = resized(mask_of(garment), bare.shape[:2], margin=2)
        assert np.abs(pixels(page) - bare)[inside].max() <= 1


def test_a_click_keeps_a_garment_lit_until_escape(page, answer):
    hat = next(i for i, garment in enumerate(answer["garments"]) if garment["category"] == "hat")
    spot = place(page, mask_of(answer["garments"][hat]))
    page.mouse.click(*spot)
    page.mouse.move(2, 2)
    assert page.inner_text("#card h3") == "hat"
    assert page.get_attribute("#garments li >> nth=" + str(hat), "aria-selected") == "true"
    page.keyboard.press("Escape")
    assert page.locator("#card").is_hidden()


def test_the_slider_takes_garments_away_and_asks_nothing(page, answer):
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    scores = sorted(garment["score"] for garment in answer["garments"])
    bound = next(s for s in range(100) if scores[0] * 100 < s <= scores[-1] * 100)
    bare = only(page, "photo")
    only(page, "photo", "tint")
    move(page, bound)
    stay = [garment for garment in answer["garments"] if garment["score"] >= bound / 100]
    assert 0 < len(stay) < len(scores)
    assert listed(page) == [garment["category"] for garment in stay]
    assert page.inner_text("#garments-head") == f"Garments: {len(stay)} of {len(scores)}"
    changed = np.abs(pixels(page) - bare).max(axis=2) > 0
    covered = resized(np.logical_or.reduce([mask_of(garment) for garment in stay]), bare.shape[:2])
    assert (changed & covered).sum() / (changed | covered).sum() > 0.98
    gone = next(garment for garment in answer["garments"] if garment not in stay)
    page.mouse.move(*place(page, mask_of(gone)))
    assert page.locator("#garments li.lit .name").all_inner_texts() != [gone["category"]]
    move(page, 100)
    assert listed(page) == []
    assert page.inner_text("#none") == "None reaches this score."
    move(page, 0)
    assert listed(page) == [garment["category"] for garment in answer["garments"]]
    assert asked == []


def test_each_layer_can_be_taken_away(page, answer):
    bare = only(page, "photo")
    covered = resized(np.logical_or.reduce([mask_of(garment) for garment in answer["garments"]]), bare.shape[:2])
    assert (bare[..., 3] == 255).all()
    assert (only(page)[..., 3] == 0).all()
    tint = only(page, "tint")[..., 3]
    assert tint[~covered].mean() < 1 < 90 < tint[covered].mean()
    outlines = only(page, "outlines")[..., 3] > 0
    inside = resized(mask_of(answer["garments"][0]), bare.shape[:2], margin=12)
    assert 0.005 < outlines.mean() < 0.1
    assert outlines[inside].mean() < 0.02
    assert 0.003 < (only(page, "labels")[..., 3] > 0).mean() < 0.1
    assert page.locator("#parts-layer").is_hidden()  # these weights know no parts


def test_everything_is_reached_by_keys_and_seen_to_be(page, answer):
    names = [garment["category"] for garment in answer["garments"]]
    stops = []
    for _ in range(30):
        page.keyboard.press("Tab")
        stop, outline = page.evaluate(
            "(x => [x.id || x.name || x.className, getComputedStyle(x).outlineStyle])(document.activeElement)"
        )
        if stop in stops or not stop:
            break
        assert outline != "none", stop
        stops.append(stop)
        if stop == "garment-1":
            break
    assert stops == ["choose", "sample", "photo", "tint", "outlines", "labels", "least", "save-json", "save-overlay",
                     "save-cutouts", "garment-1"]
    seen = [page.inner_text("#card h3")]
    for _ in names[1:]:
        page.keyboard.press("ArrowDown")
        seen.append(page.inner_text("#card h3"))
        assert page.inner_text("#garments :focus .name") == seen[-1]
    assert seen == names
    page.keyboard.press("ArrowDown")  # round to the first
    assert page.inner_text("#card h3") == names[0]
    page.keyboard.press("End")
    page.keyboard.press("ArrowUp")
    assert page.inner_text("#card h3") == names[-2]
    page.keyboard.press("Tab")  # from a garment to what can be done with it
    assert page.evaluate("document.activeElement.id") == "save-cutout"
    with page.expect_download() as waiting:
        page.keyboard.press("Enter")
    assert names[-2].split(",")[0] in waiting.value.suggested_filename
    page.keyboard.press("Escape")
    assert page.locator("#card").is_hidden()


def test_a_screen_reader_has_names_for_all(page, answer):
    assert page.get_by_role("listbox", name="Garments").count() == 1
    for garment in answer["garments"]:
        words = [colour["shade"] or colour["name"] for colour in garment["colours"][:3]]
        colours = "multicolour" if garment["multicolour"] else ", ".join(words)
        name = f"{garment['category']} {colours} {round(garment['score'] * 100)}\u202f%"
        assert page.get_by_role("option", name=name).count() == 1
        assert garment["category"] in page.get_by_role("img", name="The photo").get_attribute("aria-label")
    assert page.get_attribute("#status", "role") == "status"
    assert page.get_attribute("#error", "role") == "alert"
    nameless = page.evaluate(
        "[...document.querySelectorAll('button, input:not([hidden])')].filter(x => x.checkVisibility() &&"
        " !(x.innerText.trim() || x.ariaLabel || x.labels?.length || x.querySelector('img')?.alt))"
        ".map(x => x.outerHTML)"
    )
    assert nameless == []


def test_json_is_what_the_api_says(page, answer):
    name, content = downloaded(page, "#save-json")
    assert name == "grace_hopper.json"
    assert json.loads(content) == [answer]


def test_the_overlay_has_the_photos_size_and_what_is_shown(page, answer):
    only(page, "photo", "tint")
    name, content = downloaded(page, "#save-overlay")
    assert name == "grace_hopper.drawn.png"
    drawn = np.array(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)
    photo = read_photo(demo_photo()).astype(int)
    assert drawn.shape == photo.shape
    covered = np.logical_or.reduce([mask_of(garment) for garment in answer["garments"]])
    changed = np.abs(drawn - photo).max(axis=2) > 12
    assert changed[~covered].mean() < 0.002
    assert changed[covered].mean() > 0.95


def test_cutouts_have_the_masks_alpha(page, answer):
    photo = read_photo(demo_photo()).astype(int)
    name, content = downloaded(page, "#save-cutouts")
    assert name == "grace_hopper.cutouts.zip"
    archive = zipfile.ZipFile(io.BytesIO(content))
    assert archive.testzip() is None
    assert len(archive.namelist()) == len(answer["garments"])
    for i, (member, garment) in enumerate(zip(archive.namelist(), answer["garments"], strict=True)):
        assert re.fullmatch(rf"grace_hopper\.{i + 1}\.{garment['category'].split(',')[0]}.*\.cutout\.png", member)
        cut = np.array(Image.open(io.BytesIO(archive.read(member)))).astype(int)
        x, y, width, height = garment["box"]
        mask = mask_of(garment)[y : y + height, x : x + width]
        assert (cut[..., 3] == mask * 255).all()
        there = np.abs(cut[..., :3] - photo[y : y + height, x : x + width])[mask]
        assert there.max() <= 24  # decoders of JPEG differ a little
        assert there.mean() < 1.5
        page.locator("#garments li").nth(i).click()
        alone = downloaded(page, "#save-cutout")
        assert alone == (member, archive.read(member))
    move(page, 100)
    page.click("#save-cutouts")
    page.wait_for_selector("#trouble:not([hidden])")
    assert page.inner_text("#error") == "It cannot be saved: no garment that is shown has a mask."


def test_a_large_turned_photo_keeps_its_own_pixels(opened, url, tmp_path: Path):
    side = Image.fromarray(read_photo(demo_photo())).resize((2048, 2400)).transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned by a quarter
    path = tmp_path / "turned.jpg"
    side.save(path, exif=exif, quality=90)
    assert side.size == (2400, 2048)
    answer = ask(url, path)
    assert answer["size"] == {"width": 2048, "height": 2400}
    page = opened()
    choose(page, path)
    garment = answer["garments"][0]
    page.mouse.move(*place(page, mask_of(garment)))
    assert page.inner_text("#card h3") == garment["category"]
    page.locator("#garments li").first.click()
    cut = np.array(Image.open(io.BytesIO(downloaded(page, "#save-cutout")[1])))
    x, y, width, height = garment["box"]
    assert (cut[..., 3] == mask_of(garment)[y : y + height, x : x + width] * 255).all()
    overlay = Image.open(io.BytesIO(downloaded(page, "#save-overlay")[1]))
    assert overlay.size == (2048, 2400)
