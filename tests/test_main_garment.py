"""Which garment is for sale: what a shop's words name, and the rule where they name nothing."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hemline.catalog.main_garment import hint_category, main_garment
from hemline.coarse import CoarseMask
from hemline.labels import LABEL_SPACES, LabelSpace, load_label_space
from hemline.photo import ReadPhoto
from hemline.result import Garment, Result
from tests.hint_titles import SEEN, SHIRT, TOP, UNSEEN

STREET = load_label_space("street")
SPACES = [load_label_space(name) for name in LABEL_SPACES]
PARTS = {c.name: c.outfit_part for c in STREET.categories}
Box = tuple[int, int, int, int]


def worn(category: str, area: float, score: float = 0.8, box: Box | None = (40, 40, 20, 20)) -> Garment:
    """In a photo of 100 x 100; without a box the photo's label alone knows it."""
    mask = None if box is None else CoarseMask.of(np.zeros((100, 100), np.bool_))
    return Garment(category, 0, PARTS[category], score, area, box, mask, "mask", [], [])


def chosen(*garments: Garment, hint: str | None = None) -> str | None:
    result = Result("p.jpg", (100, 100), list(garments), [], ReadPhoto.of(np.zeros((100, 100, 3), np.uint8)), STREET)
    index = main_garment(result, hint)
    return None if index is None else garments[index].category


@pytest.mark.parametrize(("titles", "least"), [(SEEN, 75), (UNSEEN, 75)])
def test_titles(titles: list[tuple[str, set[str]]], least: int) -> None:
    wrong = []
    for text, meant in titles:
        assert meant <= set(PARTS)
        named = hint_category(text, STREET)
        if not (named <= meant and bool(named) == bool(meant)):
            wrong.append((text, named))
    assert len(titles) - len(wrong) >= least, wrong


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("dress shirt", {SHIRT}),
        ("shirt dress", {"dress"}),
        ("robe chemise", {"dress"}),
        ("Tops > Skirts > Sale 50", {"skirt"}),
        ("Coats & Jackets", {"coat", "jacket"}),
        ("Shirt and tie in blue, with belt", {SHIRT, "tie"}),
        ("Jacket, pants", {"jacket"}),
        ("denim", {"pants"}),
        ("denim skirt", {"skirt"}),
        ("Skirts > Denim", {"skirt"}),
        ("hoodie", {TOP, "jacket"}),
        ("Winterjacken", {"jacket"}),
        ("address", set()),
        ("bikini top", set()),
        ("JEANS" * 2, {"pants"}),
        ("tie-dye", set()),
        ("Müṭze", {"hat"}),
    ],
)
def test_what_a_hint_names(text: str, named: set[str]) -> None:
    assert hint_category(text, STREET) == named


def test_other_label_spaces() -> None:
    assert hint_category("Women's blouse", load_label_space("fashionpedia")) == {SHIRT}
    assert hint_category("shirt with collar and sleeve", load_label_space("fashionpedia")) == {SHIRT}
    assert hint_category("collar", load_label_space("fashionpedia")) == set(), "a part is never for sale"
    assert hint_category("blue jeans", load_label_space("outfit5")) == {"lower body"}
    assert hint_category("handbag", load_label_space("outfit5")) == {"accessories"}
    names = ["trousers", "lehenga", "t-shirts", "shirt"]
    categories = [{"id": i, "name": name, "supercategory": "x"} for i, name in enumerate(names)]
    own = LabelSpace.from_dict({"name": "own", "version": 1, "categories": categories})
    assert hint_category("Red lehengas", own) == {"lehenga"}, "a word of the space itself"
    assert hint_category("Jeans", own) == {"trousers"}, "means the same"
    assert hint_category("Crew neck t-shirt", own) == {"t-shirts"}
    assert hint_category("Shirts", own) == {"shirt"}
    assert hint_category("Boots", own) == set()


WORDS = ["a", "shirt", "dress", ">", "/", "-", ",", "&", "tie", "dye", "Hosen", "robe", "and", "with", "ß"]


@settings(max_examples=40)
@given(st.text(max_size=60) | st.lists(st.sampled_from(WORDS)).map(" ".join))
def test_any_text_is_a_hint(text: str) -> None:
    for space in SPACES:
        assert hint_category(text, space) <= {c.name for c in space.categories}


def test_a_hint_decides() -> None:
    outfit = worn("coat", 0.5), worn("pants", 0.2), worn("shoe", 0.02), worn(TOP, 0.01)
    assert chosen(*outfit) == "coat"
    assert chosen(*outfit, hint="Slim jeans") == "pants"
    assert chosen(*outfit, hint="Leather boots") == "shoe", "accessories too"
    assert chosen(*outfit, hint="Rain jacket") == "coat", "alike, and alone of its like"
    assert chosen(*outfit, hint="Skirt") == "coat", "not found, and nothing alike: the rule"
    assert chosen(*outfit, hint="Gift card") == chosen(*outfit, hint="") == "coat"
    assert chosen(worn(SHIRT, 0.1), worn(TOP, 0.3), worn("pants", 0.4), hint="Sweater") == "pants", "two alike"
    assert chosen(worn("coat", 0.1), worn("jacket", 0.3), hint="Outerwear") == "jacket"
    assert chosen(worn("coat", 0.6), worn("jacket", 0.1, box=None), hint="jacket") == "jacket"
    assert chosen(hint="jacket") is None


def test_the_rule() -> None:
    assert chosen() is None
    assert chosen(worn("skirt", 0.3), worn("pants", 0.2)) == "skirt", "larger"
    assert chosen(worn("skirt", 0.3, 0.5), worn("pants", 0.2, 0.8)) == "pants", "surer: 0.15 < 0.16"
    corner, middle = (80, 80, 20, 20), (40, 40, 20, 20)
    assert chosen(worn("skirt", 0.3, box=corner), worn("pants", 0.2, box=middle)) == "pants", "0.3 * 0.6 < 0.2"
    assert chosen(worn("skirt", 0.3, box=corner), worn("pants", 0.17, box=middle)) == "skirt"
    assert chosen(worn("skirt", 0.2), worn("pants", 0.2)) == "skirt", "the first of equals"


def test_what_is_worn_over_another() -> None:
    assert chosen(worn("dress", 0.3), worn("jacket", 0.21)) == "jacket", "0.3 < 0.21 * 1.5"
    assert chosen(worn("dress", 0.3), worn("jacket", 0.19)) == "dress"
    apart = (60, 40, 20, 20)
    assert chosen(worn("dress", 0.3), worn("jacket", 0.25, box=apart)) == "dress", "beside it, not over it"
    assert chosen(worn("pants", 0.3), worn("jacket", 0.25)) == "pants", "not over trousers"
    assert chosen(worn("coat", 0.3), worn("jacket", 0.29)) == "coat", "both are outer garments"


def test_accessories_step_back() -> None:
    assert chosen(worn("bag, wallet", 0.2), worn("skirt", 0.15), worn("shoe", 0.1)) == "skirt"
    assert chosen(worn("bag, wallet", 0.2), worn("shoe", 0.1)) == "bag, wallet"
    assert chosen(worn("bag, wallet", 0.4), worn("skirt", 0.15), worn("shoe", 0.1)) == "bag, wallet", "most of all"
    assert chosen(worn("hat", 0.1), worn("dress", 0.0, box=None)) == "hat", "what has a mask comes first"
    assert chosen(worn("hat", 0.0, 0.9, box=None), worn("dress", 0.0, 0.6, box=None)) == "dress"
    assert chosen(worn("hat", 0.0, 0.6, box=None), worn("tie", 0.0, 0.9, box=None)) == "tie", "the surer"
