"""A label space grown by a table's words: what is known, what is new, and what each word then says."""

import pytest

from hemline.data.knowledge import Knowledge
from hemline.data.own_words import OTHER_CATEGORY, grow
from hemline.errors import LabelError
from hemline.labels import LabelSpace, load_label_space

STREET = load_label_space("street")


def words(categories=("Dresses",), **columns):
    """The label space of a table's own words; a column of several values a cell ends in `_many`."""
    groups = [
        {"name": name.removesuffix("_many").replace("_", " "), "choice": "many" if name.endswith("_many") else "one",
         "labels": [{"id": value, "name": value} for value in values]}
        for name, values in columns.items()
    ]  # fmt: skip
    kinds = [{"id": i, "name": name, "supercategory": "garment"} for i, name in enumerate(categories)]
    return LabelSpace.from_dict({"name": "table", "version": 1, "categories": kinds, "groups": groups})


def entries(grown):
    return grown.space.teach["table"]["words"]


@pytest.mark.parametrize(
    ("word", "means"),
    [
        ("Dresses", {"is": ["dress"]}),
        ("T-Shirts", {"is": ["top, t-shirt, sweatshirt"]}),
        ("SWEAT_SHIRT", None),
        ("ties", {"is": ["tie"]}),
        ("Glasses", {"is": ["glasses"]}),
        ("jeans", {"is": ["jeans", "pants"]}),
        ("hoodie", {"is": ["hoodie"], "one_of": ["jacket", "top, t-shirt, sweatshirt"]}),
        ("Polo", {"is": ["polo (shirt)", "top, t-shirt, sweatshirt"]}),
        ("kimono", None),
        ("shirt, blouse", {"is": ["shirt, blouse"]}),
    ],
)
def test_words_for_garments(word, means):
    grown = grow(STREET, words([word]), "table")
    new = {} if means else {OTHER_CATEGORY: [word]}
    assert grown.new == new
    assert entries(grown)[word] == (means or {"is": [word], "others": "unknown"})
    assert grown.space.mask_names == STREET.mask_names, "a table says nothing of pixels"


def test_a_table_that_names_no_garment_knows_no_word_for_one():
    grown = grow(STREET, words(["garment"], tint=["dark", "light"]), "table")
    assert grown.lines() == ["new, tint: dark, light"]
    assert grow(STREET, words(["garment"], price=["price: 9", "price: 19"]), "table").lines() == ["new, price: 9, 19"]


def test_columns_that_are_known_groups_and_others():
    own = words(
        pattern=["stripe", "dots", "plain", "houndstooth"], neckline=["v-neck", "round", "boat"],
        length=["short", "midi"], material_many=["linen", "cotton"], details_many=["collar", "zip"],
    )  # fmt: skip
    grown = grow(STREET, own, "table")
    assert grown.new == {
        "textile pattern": ["houndstooth"], "neckline type": ["boat"], "length": ["short", "midi"],
        "material": ["linen", "cotton"], "details": ["zip"],
    }  # fmt: skip
    said = entries(grown)
    assert said["dots"] == {"is": ["dot"]}
    assert said["plain"] == {"is": ["plain (pattern)"]}
    assert said["round"] == {"is": ["round (neck)"]}
    assert said["short"] == {"is": ["short"]}, "not the sleeve's"
    assert said["collar"] == {"is": ["collar"]}
    pattern = next(group for group in grown.space.groups if group.name == "textile pattern")
    assert [label.name for label in pattern.labels][-1] == "houndstooth"
    assert pattern.labels[-1].carried_by == pattern.labels[0].carried_by | {"dress"}
    assert grown.space.find("linen").carried_by == {"dress"}, "of what the table shows"
    assert "known, pattern: stripe, dots (dot), plain (plain (pattern))" in grown.lines()


def test_what_was_known_keeps_its_order_and_its_carriers():
    grown = grow(STREET, words(pattern=["stripe", "houndstooth"], cut=["slim"]), "table")
    before, after = ([label.name for label in space.labels] for space in (STREET, grown.space))
    assert [name for name in after if name in before] == before
    assert grown.space.categories == STREET.categories
    for label in STREET.labels:
        assert grown.space.find(label.name).carried_by == label.carried_by


def test_columns_of_yes_and_no():
    own = words(waterproof=["waterproof: no", "waterproof: yes"], stripes=["stripes: 0", "stripes: 1"])
    grown = grow(STREET, own, "table")
    assert grown.new == {"waterproof": ["waterproof"]}
    said = entries(grown)
    assert said["waterproof: no"] == {"not": ["waterproof"]}
    assert said["stripes: 1"] == {"is": ["stripe"]}
    knows = Knowledge(grown.space, "table", list(said))
    wet, dress = grown.space.find("waterproof").index, grown.space.find("dress").index
    labels, _ = knows.photo(["Dresses", "waterproof: no"], "tags")
    assert (labels[wet], labels[dress]) == (0, 1)
    assert knows.photo(["Dresses", "waterproof: yes"], "tags")[0][wet] == 1


def test_a_new_word_for_a_garment_denies_no_known_one():
    grown = grow(STREET, words(["Dresses", "kimono"]), "table")
    knows = Knowledge(grown.space, "table", ["Dresses", "kimono"])
    num = len(STREET.categories)
    assert (knows.photo(["kimono"], "tags")[0][:num] == -1).all()
    assert knows.photo(["kimono"], "tags")[0][grown.space.find("kimono").index] == 1


def test_a_file_is_asked_first():
    said = {"words": {"kimono": {"is": ["dress"]}, "linen": {}}}
    grown = grow(STREET, words(["kimono"], material=["linen", "cotton"]), "table", said)
    assert grown.new == {"material": ["cotton"]}
    assert entries(grown)["kimono"] == {"is": ["dress"]}
    assert grown.known["material"] == {"linen": []}


def test_a_name_that_is_taken_and_a_word_that_may_be_two_things():
    grown = grow(STREET, words(["Body"], fabric=["check"], check=["gingham"]), "table")
    assert grown.new[OTHER_CATEGORY] == ["category: Body"], "a hidden label has that name"
    twice = LabelSpace.from_dict(
        {"name": "x", "version": 1, "categories": [{"id": i, "name": name, "supercategory": "garment"}
                                                   for i, name in enumerate(["bag, sack", "sacks"])]}
    )  # fmt: skip
    with pytest.raises(LabelError, match=r"'Sack' may be 'bag, sack' or 'sacks': say in a YAML which"):
        grow(twice, words(["Sack"]), "table")


def test_grown_once_more_nothing_is_new():
    own = words(["Dresses", "kimono"], material=["linen"], waterproof=["waterproof: no", "waterproof: yes"])
    once = grow(STREET, own, "table")
    twice = grow(once.space, own, "table")
    assert twice.new == {}
    assert twice.space.labels == once.space.labels
    assert twice.lines()[-1] == "nothing is new: all words are known"
