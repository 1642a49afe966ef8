"""A shop's words beside ours: what ships, how a garment is said, and files of one's own."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from hemline import console
from hemline.cli import app
from hemline.colour import PROTOTYPES, Colour
from hemline.errors import ConfigError
from hemline.labels import LABEL_SPACES, load_label_space
from hemline.photo import ReadPhoto
from hemline.result import Garment, Result
from hemline.tagger import Tagger
from hemline.vocabulary import VOCABULARIES, ShopAttribute, load_vocabulary, shop_words, without_counterpart
from hemline.words_said import ScoredLabel
from tests import primary
from tests.answers import VALIDATOR

STREET = load_label_space("street")
SHOPIFY, GOOGLE = (load_vocabulary(name, STREET) for name in ("shopify", "google"))
DOCS = Path(__file__).parent.parent / "docs" / "vocabularies.md"


def garment(category: str, *labels: str, colours: tuple[Any, ...] = (), parts: tuple[Garment, ...] = ()) -> Garment:
    """With labels as `name` or `name 0.7`, and colours as (name, share)."""
    said = []
    for text in labels:
        name, _, score = text.partition(" 0.")
        said.append(ScoredLabel("any", name, 0, float(f"0.{score or 9}")))
    seen = [Colour(name, "#000000", share) for name, share in colours]
    return Garment(category, 0, "upper body", 0.9, 0.2, None, None, "mask", seen, said, list(parts))


@pytest.mark.parametrize("name", VOCABULARIES)
def test_what_ships_speaks_our_words_only_and_each_of_its_ids_once(name: str, tmp_path: Path) -> None:
    text = (Path(__file__).parent.parent / f"src/hemline/vocabularies/{name}.yaml").read_text(encoding="utf-8")
    own = tmp_path / "own.yaml"
    own.write_text(text, encoding="utf-8")
    assert load_vocabulary(own, STREET) == load_vocabulary(name, STREET), "a file's words are looked up"
    plain = yaml.safe_load(text)
    entries = [e for c in plain["categories"].values() for e in (c, *c.get("with", {}).values()) if "name" in e]
    ids = {(str(e["id"]), e["name"]) for e in entries}
    assert len({i for i, _ in ids}) == len({n for _, n in ids}) == len(ids), "one name an id, one id a name"
    assert all(path.startswith("Apparel & Accessories > ") for _, path in ids)
    if name == "shopify":
        for i, path in ids:  # aa-1-13-8 has four steps, and its first are those of aa-1-13
            assert i.count("-") == path.count(" > "), (i, path)
            above = {p for j, p in ids if i.startswith(f"{j}-")}
            assert all(path.startswith(f"{p} > ") for p in above), (i, path)


def test_what_of_street_has_no_counterpart_is_just_this() -> None:
    shared = {"category": ["glasses"], "collar": ["collar", "collarless"], "opening type": ["placket", "no opening"]}
    assert without_counterpart(SHOPIFY, STREET) == shared | {
        "textile pattern": ["graphic"], "nickname": ["blazer"], "colour": ["turquoise"]
    }  # fmt: skip
    by_google = without_counterpart(GOOGLE, STREET)
    assert by_google.items() >= shared.items()
    assert set(by_google) - set(shared) == {"sleeve length", "neckline type", "nickname", "shoe type", "bag type"}
    for name in LABEL_SPACES:
        assert "category" in without_counterpart(SHOPIFY, load_label_space(name))


@pytest.mark.parametrize(
    ("ours", "shopify", "google"),
    [
        (("shirt, blouse",), "aa-1-13-7", "212"),
        (("top, t-shirt, sweatshirt",), "aa-1-13", "212"),
        (("top, t-shirt, sweatshirt", "classic (t-shirt)"), "aa-1-13-8", "212"),
        (("top, t-shirt, sweatshirt", "polo (shirt)"), "aa-1-13-6", "212"),
        (("top, t-shirt, sweatshirt", "hoodie"), "aa-1-13-13", "212"),
        (("sweater",), "aa-1-13-12", "212"),
        (("jacket", "blazer"), "aa-1-10-2", "5598"),
        (("coat",), "aa-1-10-2", "5598"),
        (("pants",), "aa-1-12", "204"),
        (("pants", "stripe", "jeans"), "aa-1-12-4", "204"),
        (("shorts",), "aa-1-14", "207"),
        (("skirt",), "aa-1-15", "1581"),
        (("dress",), "aa-1-4", "2271"),
        (("jumpsuit",), "aa-1-9", "5250"),
        (("hat",), "aa-2-17", "173"),
        (("shoe",), "aa-8", "187"),
        (("shoe", "heels", "sandals"), "aa-8-6", "187"),
        (("bag, wallet",), "aa-5-4", "3032"),
        (("bag, wallet", "clutch"), "aa-5-4-5", "3032"),
        (("glasses",), None, None),
        (("glasses", "sunglasses"), "aa-2-27", "178"),
        (("umbrella",), None, None),
        (("a word of one's own",), None, None),
    ],
)
def test_categories(ours: tuple[str, ...], shopify: str | None, google: str | None) -> None:
    for vocabulary, expected in ((SHOPIFY, shopify), (GOOGLE, google)):
        words = shop_words(garment(*ours), vocabulary)
        assert words.category_id == expected
        assert (words.category is None) == (expected is None)


def test_attributes_are_said_once_of_a_garment_and_its_parts() -> None:
    sleeves = [garment("sleeve", "wrist-length"), garment("sleeve", "wrist-length", "cap (sleeve)")]
    dress = garment("dress", "stripe 0.6", "graphic", "check 0.8", "leopard 0.5", "zebra 0.4", parts=tuple(sleeves))
    assert shop_words(dress, SHOPIFY).attributes == [
        ("Pattern", "Striped"), ("Pattern", "Checkered"), ("Pattern", "Animal"),
        ("Sleeve length type", "Long"), ("Sleeve length type", "Cap"),
    ]  # fmt: skip
    assert shop_words(dress, GOOGLE).attributes == [ShopAttribute("pattern", "Graphic print")], "0.9 is the surest"
    assert shop_words(garment("dress", "stripe 0.6", "check 0.8"), GOOGLE).attributes == [("pattern", "Checked")]


def test_colours() -> None:
    two = garment("dress", colours=(("navy", 0.7), ("turquoise", 0.3)))
    assert shop_words(two, SHOPIFY).colours == ["Navy"]
    assert shop_words(two, GOOGLE).colours == ["Navy/Turquoise"]
    many = garment("dress", colours=(("red", 0.49), ("blue", 0.3), ("white", 0.2)))
    assert shop_words(many, SHOPIFY).colours == ["Red", "Blue", "White", "Multicolor"]
    assert shop_words(many, GOOGLE).colours == ["Red/Blue/White"]
    half = garment("dress", colours=(("red", 0.5), ("blue", 0.5)))
    assert shop_words(half, SHOPIFY).colours == ["Red", "Blue"]
    for vocabulary in (SHOPIFY, GOOGLE):
        assert shop_words(garment("dress"), vocabulary).colours == []
    for a in PROTOTYPES:
        for b in PROTOTYPES:
            three = garment("dress", colours=((a, 0.5), (b, 0.3), ("turquoise", 0.2)))
            assert all(len(text) <= 100 for text in shop_words(three, GOOGLE).colours)


def own(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "own.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_example_of_the_docs(tmp_path: Path) -> None:
    text = DOCS.read_text(encoding="utf-8").split("```yaml\n")[1].split("```")[0]
    words = load_vocabulary(own(tmp_path, text), STREET)
    assert (words.name, words.version, words.licence) == ("corner shop", "3", "our own")
    jeans = garment("pants", "jeans", "check", colours=(("navy", 0.35), ("blue", 0.33), ("gray", 0.3)))
    assert shop_words(jeans, words).to_dict() == {
        "category": {"id": "211", "name": "Bottoms > Jeans"},
        "attributes": [{"attribute": "print", "value": "checks"}],
        "colours": ["bleu & bunt"],
    }, "navy and blue are one word; two at most, and the last says that there are many"
    assert shop_words(garment("glasses", "sunglasses"), words).to_dict()["category"] == {
        "id": None, "name": "Beach > Sunglasses"
    }  # fmt: skip
    assert shop_words(garment("glasses"), words).category is None


def test_a_joined_text_drops_its_last_colours(tmp_path: Path) -> None:
    path = own(tmp_path, "{name: x, version: 1, colours: {words: {red: crimson, blue: azure}, join: /, longest: 12}}")
    words = load_vocabulary(path, STREET)
    pair = garment("dress", colours=(("red", 0.6), ("blue", 0.4)))
    assert shop_words(pair, words).colours == ["crimson"], "crimson/azure has 13 characters"
    path.write_text(path.read_text().replace("12", "13"))
    assert shop_words(pair, load_vocabulary(path, STREET)).colours == ["crimson/azure"]


def test_all_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    path = own(
        tmp_path,
        """
nam: shop
version: 1.5
categories:
  pant: {id: 3, name: Trousers}
  skirt: {name: [Skirts], nmae: Skirts}
  dress: {id: 4}
  shoe: {name: Shoes, with: {botts: {name: Boots}}}
  coat: Coats
attributes:
  Pattern: {strip: Striped, check: null}
one_value: maybe
colours:
  most: 0
  join: 3
  words: {rd: red, blue: a rather long word, on: white}
  longest_word: 10
  multicolour: {word: Multi, below: 5}
""",
    )
    with pytest.raises(ConfigError) as caught:
        load_vocabulary(path, STREET)
    said = str(caught.value).split("\n  ")
    assert said[0] == f"vocabulary {path}:"
    expected = [
        "nam: unknown key; did you mean name?",
        "name: missing, this key is required",
        "version: expected one line of text, not 1.5; write it in quotes",
        "categories.pant: no category of label space street; did you mean pants?",
        "categories.skirt.nmae: unknown key; did you mean name?",
        "categories.skirt.name: expected one line of text, not ['Skirts']; write it in quotes",
        "categories.dress.name: missing, this key is required",
        "categories.shoe.with.botts: no attribute label of label space street; did you mean boots?",
        "categories.coat: expected `key: value` lines, not 'Coats'",
        "attributes.Pattern.strip: no attribute label of label space street; did you mean stripe?",
        "attributes.Pattern.check: expected one line of text, not nothing",
        "one_value: expected true or false, not 'maybe'",
        "colours.words.rd: no colour of ours; did you mean red?",
        "colours.words.True: a name must be a text; write 'True' with its quotes",
        "colours.words.blue: 'a rather long word' has 18 characters, and 10 are allowed",
        "colours.most: must be a whole number above 0, not 0",
        "colours.join: expected a text, not 3",
        "colours.multicolour.below: must be a share above 0 and at most 1, not 5",
    ]
    near = [re.sub(r" or .*\?$", "?", line) if "did you mean" in line else line for line in said[1:]]
    assert sorted(near) == sorted(expected), "\n".join(said)


@pytest.mark.parametrize("text", ["[1, 2]", "", "{a: 1, a: 2}", "name: x\nversion: 1", "\x00", "? [1]\n: 2"])
def test_what_is_no_vocabulary(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=r"own\.yaml"):
        load_vocabulary(own(tmp_path, text), STREET)


def test_an_unknown_name_says_which_there_are() -> None:
    with pytest.raises(ConfigError, match=r"no vocabulary 'shopfy': name one of shopify, google, or a \.yaml"):
        Tagger.load(vocabulary="shopfy")


def test_words_of_other_label_spaces_may_stand_there(tmp_path: Path) -> None:
    path = own(tmp_path, "{name: x, version: 1, categories: {hood: {name: Hoods}, hats: {name: Hats}}}")
    with pytest.raises(ConfigError) as caught:
        load_vocabulary(path, STREET)
    assert "hats" in str(caught.value)
    assert "categories.hood" not in str(caught.value), "Fashionpedia knows hoods"


def test_an_answer_names_them_only_where_they_are_asked_for(tmp_path: Path) -> None:
    tagger, photo = primary.colour_tagger(), primary.paint(tmp_path / "a.png", "red", "lime")
    before = tagger(photo).to_dict("none")
    assert "vocabulary" not in before
    path = own(tmp_path, "{name: x, version: 1, categories: {jacket: {id: 7, name: Jackets}}}")
    tagger.vocabulary = load_vocabulary(path, tagger.metadata.labels)
    for answer in (tagger(photo), *tagger.stream([photo])):
        assert isinstance(answer, Result)
        after = answer.to_dict("none")
        VALIDATOR.validate(json.loads(json.dumps([after])))
        assert after.pop("vocabulary") == {"name": "x", "version": "1"}
        shop = [worn.pop("shop") for worn in after["garments"]]
        assert after == before, "our words stay"
        assert {worn["category"]: words["category"] for worn, words in zip(after["garments"], shop, strict=True)} == {
            "jacket": {"id": "7", "name": "Jackets"}, "pants, jeans": None
        }  # fmt: skip
        assert shop[0]["colours"] == []


def test_the_command_line(tmp_path: Path) -> None:
    def run(*arguments: object) -> Any:
        return CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)

    listed = json.loads(run("vocabulary", "shopify", "--json").stdout)
    assert (listed["name"], listed["version"], listed["label_space"]) == ("shopify", SHOPIFY.version, "street")
    jeans = {"ours": "pants", "with": "jeans", "id": "aa-1-12-4"}
    assert jeans | {"name": "Apparel & Accessories > Clothing > Pants > Jeans"} in listed["categories"]
    assert not {one["ours"] for one in listed["categories"]} & {"cardigan", "vest"}, "street does not show them"
    assert listed["without_counterpart"] == without_counterpart(SHOPIFY, STREET)
    table = " ".join(run("vocabulary", "google").stdout.split())
    assert "textile pattern: stripe" in table
    assert "no counterpart" in table
    bad = run("vocabulary", own(tmp_path, "{name: x, version: 1, categories: {pant: {name: P}}}"))
    assert bad.exit_code == 2
    assert "did you mean pants" in bad.stderr
    photo = primary.paint(tmp_path / "a.png", "grey", size=(400, 600))
    asked = run("predict", photo, "--vocabulary", "google", "--json")
    assert json.loads(asked.stdout)[0]["vocabulary"] == {"name": "google", "version": "2021-09-21"}


def test_the_terminal_says_them_beside_ours(capsys: pytest.CaptureFixture[str]) -> None:
    worn = garment("pants", "jeans", "stripe", colours=(("navy", 0.9),))
    pixels = ReadPhoto.of(np.zeros((4, 4, 3), np.uint8))
    console.show(Result("p.jpg", (4, 4), [worn], [], pixels, STREET))
    assert "shopify" not in capsys.readouterr().out
    console.show(Result("p.jpg", (4, 4), [worn], [], pixels, STREET, SHOPIFY))
    said = " ".join(capsys.readouterr().out.split())
    for words in ("shopify 2025-12", "Pants > Jeans", "aa-1-12-4", "Pattern: Striped", "Color: Navy", "stripe", "navy"):
        assert words in said
