"""Answers in a notebook: well-formed HTML that is bounded and escapes all names, PNGs of the right size."""

import re
from base64 import b64decode
from html.parser import HTMLParser
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from hemline import notebook
from hemline.coarse import CoarseMask
from hemline.colour import Colour
from hemline.draw import PALETTE
from hemline.errors import PhotoError
from hemline.labels import load_label_space
from hemline.masks import box
from hemline.metadata import Metadata
from hemline.photo import ReadPhoto
from hemline.result import Garment, Result
from hemline.tagger import Tagger
from hemline.vocabulary import CategoryWords, ColourWords, ShopCategory, Vocabulary
from hemline.words_said import ScoredLabel

SPACE = load_label_space("street")
HOSTILE = "<script>alert('1')</script> \"&amp;\" <img src=x onerror=alert(2)>"
VOID = {"img", "br"}


class Page(HTMLParser):
    """Checks that every tag closes in its turn, and keeps what a browser would see."""

    def __init__(self, markup):
        super().__init__()
        self.open, self.text, self.images, self.tags, self.attributes, self.rows = [], "", [], set(), [], []
        self.feed(markup)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        names = [name for name, _ in attributes]
        assert len(names) == len(set(names))
        self.tags.add(tag)
        self.attributes += [(tag, *pair) for pair in attributes]
        if tag == "img":
            self.images.append(dict(attributes))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data
        if "td" in self.open or "th" in self.open:
            self.rows[-1][-1] += data


def picture(image):
    """Of an `img`: the picture that it holds."""
    found = re.fullmatch(r"data:image/(png|jpeg);base64,([A-Za-z0-9+/=]+)", image["src"])
    opened = Image.open(BytesIO(b64decode(found[2], validate=True)))
    assert opened.format == found[1].upper()
    opened.load()
    assert opened.width >= 1
    return opened


def garment(mask=None, name="coat", **changes):
    values = {
        "category": name, "category_id": 4, "outfit_part": None, "score": 0.87,
        "area": 0.0 if mask is None else float(mask.mean()), "box": None if mask is None else box(mask),
        "drawn": None if mask is None else CoarseMask.of(mask), "found_by": "label" if mask is None else "mask",
        "colours": [], "attributes": [],
    }  # fmt: skip
    return Garment(**(values | changes))


def answer(*garments, height=120, width=90, name="photo.jpg", vocabulary=None):
    photo = np.full((height, width, 3), 200, np.uint8)
    return Result(name, (height, width), list(garments), [], ReadPhoto.of(photo), SPACE, vocabulary)


def rectangle(height=120, width=90, rows=slice(30, 90), columns=slice(20, 60)):
    mask = np.zeros((height, width), np.bool_)
    mask[rows, columns] = True
    return mask


def test_the_table_says_what_the_answer_says():
    collar = garment(rectangle(rows=slice(30, 34)), "collar", score=0.5)
    coat = garment(
        rectangle(),
        colours=[Colour("navy", "#1b2436", 0.8), Colour("white", "#fffff0", 0.2, "ivory")],
        attributes=[ScoredLabel("g", "short", 1, 0.6), ScoredLabel("h", "stripe", 2, 0.9)],
        parts=[collar],
    )
    page = Page(answer(coat, garment(name="hat", score=0.61))._repr_html_())
    assert page.rows[0] == ["", "garment", "score", "area", "colours", "attributes"]
    assert [[cell.strip() for cell in row] for row in page.rows[1:]] == [
        ["1", "coat", "0.87", "22%", "navy 80% ivory 20%", "stripe · short"],
        ["2", "↳ collar", "0.50", "1%", "", ""],
        ["3", "hat", "0.61", "", "", "named by the whole photo"],
    ]
    assert "2 garments" in page.text
    assert "photo.jpg, 90 x 120" in page.text


def test_swatches_are_pictures_of_the_colours_they_stand_for():
    """Not styles, which forges remove."""
    coat = garment(rectangle(), colours=[Colour("navy", "#1b2436", 0.8), Colour("white", "#FFFFFF", 0.2)])
    overlay, mark, *swatches = [picture(image).convert("RGB") for image in Page(answer(coat)._repr_html_()).images]
    assert max(overlay.size) == notebook.LONGEST
    assert mark.getpixel((0, 0)) == PALETTE[4]
    assert [swatch.getpixel((0, 0)) for swatch in swatches] == [(0x1B, 0x24, 0x36), (255, 255, 255)]


@pytest.mark.parametrize("size", [(120, 90), (90, 120), (1, 1), (3000, 40), (2000, 1500)])
def test_pictures_have_a_bounded_size_and_their_tags_say_it(size):
    mask = np.ones(size, np.bool_)
    shown = answer(garment(mask), height=size[0], width=size[1])
    html = shown._repr_html_()
    image = Page(html).images[0]
    assert picture(image).size == (int(image["width"]), int(image["height"]))
    assert max(picture(image).size) == notebook.LONGEST
    assert len(html) < 600_000
    png = Image.open(BytesIO(shown._repr_png_()))
    assert png.format == "PNG"
    assert notebook.LONGEST <= max(png.size) <= notebook.WIDEST
    assert png.width > picture(image).width                  # the legend stands beside
    own = Image.open(BytesIO(shown.garments[0]._repr_png_()))
    assert max(own.size) == notebook.SILHOUETTE


def test_the_overlay_marks_the_garment_and_nothing_else():
    mask = rectangle(800, 600, slice(200, 500), slice(150, 450))
    image = picture(Page(answer(garment(mask), height=800, width=600)._repr_html_()).images[0]).convert("RGB")
    pixels = np.asarray(image).astype(int)
    scale = notebook.LONGEST / 800
    assert np.abs(pixels[round(100 * scale), round(300 * scale)] - 200).max() < 6      # JPEG is nearly exact here
    assert np.abs(pixels[round(230 * scale), round(200 * scale)] - 200).max() > 10


def test_a_garment_shows_where_it_lies_in_its_largest_colour():
    coat = garment(rectangle(), colours=[Colour("red", "#c81e1e", 0.9), Colour("white", "#ffffff", 0.1)])
    page = Page(coat._repr_html_())
    pixels = np.asarray(picture(page.images[0]))
    np.testing.assert_array_equal(pixels, np.asarray(Image.open(BytesIO(coat._repr_png_()))))
    assert pixels.shape == (240, 180, 4)
    assert tuple(pixels[120, 80]) == (0xC8, 0x1E, 0x1E, 255)
    assert pixels[20, 20, 3] == 0                                                       # the page shows through
    assert pixels[0, 90, 3] == 255                                                      # the photo's frame
    solid = (pixels[5:-5, 5:-5, 3] > 127).sum() / (240 * 180)
    assert solid == pytest.approx(rectangle().mean(), rel=0.05)
    assert page.rows[1][0] == "coat"


def test_what_has_no_mask_has_no_picture_of_its_own():
    hat = garment(name="hat")
    assert hat._repr_png_() is None
    page = Page(hat._repr_html_())
    assert not page.images
    assert "hat" in page.text
    assert Image.open(BytesIO(answer(hat)._repr_png_())).format == "PNG"


def test_an_empty_answer_is_the_photo_and_a_sentence():
    page = Page(answer()._repr_html_())
    assert len(page.images) == 1
    assert "no garment found" in page.text
    assert "table" not in page.tags
    assert Image.open(BytesIO(answer()._repr_png_())).format == "PNG"


def hostile_answer(text):
    words = Vocabulary(
        text, "1", None, None, {"coat": CategoryWords(ShopCategory(text))}, {}, False,
        ColourWords(None, {text: text, "navy": text}),
    )  # fmt: skip
    piece = garment(
        rectangle(), text, colours=[Colour(text, text, 0.5), Colour("navy", text, 0.5)],
        attributes=[ScoredLabel(text, text, text, 0.9)], parts=[garment(rectangle(), text)],
    )  # fmt: skip
    return answer(piece, garment(rectangle()), name=text, vocabulary=words)


def check_hostile(text):
    shown = hostile_answer(text)
    for markup in (shown._repr_html_(), *(piece._repr_html_() for piece in shown.garments)):
        page = Page(markup)
        markup.encode("utf-8")
        assert page.tags <= {"div", "table", "thead", "tbody", "tr", "th", "td", "img", "b", "br", "span", "p"}
        names = {name for _, name, _ in page.attributes}
        assert names <= {"style", "scope", "alt", "width", "height", "src"}
        styles = {value for _, name, value in page.attributes if name == "style"}
        assert not any(re.search(r"[<>\"'\\]|url|expression", style) for style in styles)
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", markup)
        for image in page.images:
            picture(image)
    return shown


def test_hostile_names_are_text():
    shown = check_hostile(HOSTILE)
    page = Page(shown._repr_html_())
    assert page.text.count(HOSTILE) >= 6          # the photo, two garments, an attribute, a colour, the vocabulary
    assert HOSTILE in Page(shown.garments[0]._repr_html_()).images[0]["alt"]


@settings(max_examples=15, deadline=None)
@given(st.text(st.characters(exclude_categories=()), max_size=200))
def test_any_name_is_shown(text):
    check_hostile(text)


def test_what_is_long_is_cut():
    many = [
        garment(
            rectangle(), "x" * 5000, category_id=i,
            attributes=[ScoredLabel("g", "y" * 5000, k, 0.5) for k in range(99)],
            colours=[Colour("z" * 5000, "#102030", 0.01)] * 99,
        )
        for i in range(notebook.ROWS + 7)
    ]  # fmt: skip
    shown = answer(*many, name="a" * 5000 + "/end.jpg")
    html = shown._repr_html_()
    page = Page(html)
    assert len(html) < 700_000
    assert len(page.rows) == 1 + notebook.ROWS
    assert "and 7 more" in page.text
    assert "end.jpg" in page.text
    assert max(len(word) for word in page.text.split()) <= notebook.LONGEST_TEXT + 10


def test_a_wide_legend_is_bounded_too(monkeypatch):
    monkeypatch.setattr(notebook, "WIDEST", 500)
    coat = answer(garment(rectangle()))
    assert max(coat.draw().size) > 500
    assert max(Image.open(BytesIO(coat._repr_png_())).size) == 500


def test_a_shops_words_stand_beside_ours():
    words = Vocabulary(
        "mine", "1", None, None, {"coat": CategoryWords(ShopCategory("Outdoor > Coats", "7"))}, {}, False, ColourWords()
    )  # fmt: skip
    page = Page(answer(garment(rectangle(), parts=[garment(rectangle())]), vocabulary=words)._repr_html_())
    assert [row[-1] for row in page.rows] == ["mine", "Outdoor > Coats", ""]     # the coat, and not what it holds


def test_a_photo_that_is_gone_is_a_sentence_not_a_traceback():
    shown = answer(garment(rectangle()), garment(name="hat"))

    def gone():
        raise PhotoError("photo.jpg: it is no longer there <b>")

    shown.read = type("Gone", (), {"whole": staticmethod(gone)})()
    page = Page(shown._repr_html_())
    assert "photo.jpg: it is no longer there <b>" in page.text
    assert [row[1] for row in page.rows[1:]] == ["coat", "hat"]
    assert not page.images
    assert shown._repr_png_() is None


def test_a_tagger_lists_its_words():
    count, labels = len(SPACE.categories) + len(SPACE.pixels), sum(len(group.labels) for group in SPACE.groups)
    metadata = Metadata(
        name="mine <1>", labels=SPACE, canvas=(32, 32), mask_thresholds=(0.5,) * count,
        label_thresholds=(0.5,) * (len(SPACE.categories) + labels), license="Apache-2.0",
    )  # fmt: skip
    page = Page(Tagger(None, metadata)._repr_html_())
    assert "mine <1>, Apache-2.0" in page.text
    said = {row[0]: row[1].split(" · ") for row in page.rows}
    assert said["category"] == [category.name for category in SPACE.categories if category.shown]
    for group in (group for group in SPACE.groups if group.shown):
        assert said[group.name] == [label.name for label in group.labels if label.shown]
