"""Malformed label spaces: each is refused with one sentence that says where, what, and what is right."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from hemline.errors import LabelError
from hemline.labels import LabelSpace, load_label_space
from tests.spaces import TINY, assert_tiled

DROP = object()


@pytest.mark.parametrize(
    ("where", "value", "sentence"),
    [
        ("name", DROP, "label space ?: no key name"),
        ("version", DROP, "label space tiny: no key version"),
        ("version", "1", "label space tiny: `version` is '1'; it takes a whole number"),
        ("version", True, "label space tiny: `version` is True; it takes a whole number"),
        ("name", "a\nb", r"label space 'a\nb': `name` is 'a\nb'; it takes one line of text"),
        ("group", [], "label space tiny: unknown key 'group'; the keys are name, version, categories, pixels, groups"),
        ("categories", DROP, "label space tiny: no key categories"),
        ("categories", [], "`categories` is empty; a label space needs at least one category"),
        ("categories", None, "`categories` is None; it takes a list"),
        ("categories.0", "jacket", "category 0: 'jacket' is not a mapping with the keys id, name, supercategory"),
        ("categories.1.id", DROP, "category 1: no key id"),
        ("categories.1.id", 4, "category id stands twice: 4"),
        ("categories.1.id", "vest", "category 1: `id` is 'vest'; it takes a whole number"),
        ("categories.1.id", False, "category 1: `id` is False; it takes a whole number or text"),
        ("categories.1.name", DROP, "category 1: no key name"),
        ("categories.1.name", "jacket", "name stands twice: jacket"),
        ("categories.1.name", 7, "category 1: `name` is 7; it takes text"),
        ("categories.1.name", " ", "category 1: `name` is ' '; it takes one line of text"),
        ("categories.1.supercategory", DROP, "category 1: no key supercategory"),
        ("categories.1.shown", "no", "category 1: `shown` is 'no'; it takes true or false"),
        ("categories.1.shwon", False, "category 1: unknown key 'shwon'; the keys are id, name, supercategory, outf"),
        (
            "categories.1.outfit_part",
            "torso",
            "'vest' has outfit part 'torso'; one of upper body, lower body, whole body, feet, accessories",
        ),
        ("pixels", "hair", "`pixels` is 'hair'; it takes a list"),
        ("pixels.0", 3, "`pixels` holds 3; it takes names"),
        ("pixels.0", "vest", "name stands twice: vest"),
        ("alike", "vest", "`alike` is 'vest'; it takes a list"),
        ("alike", ["vest"], "`alike` holds 'vest'; it takes lists of names"),
        ("alike", [["vest", 3]], "`alike` holds 3; it takes names"),
        ("alike", [["vest", "belt"]], "`alike` names 'belt', no category"),
        ("groups", {}, "`groups` is {}; it takes a list"),
        ("groups.0", 1, "group 0: 1 is not a mapping with the keys name, choice"),
        ("groups.0.name", DROP, "group 0: no key name"),
        ("groups.0.name", "fit", "group stands twice: fit"),
        ("groups.0.name", "category", "group stands twice: category"),
        ("groups.0.choice", DROP, "group 0: no key choice"),
        ("groups.0.choice", "few", "group 'pattern' needs labels and `choice: one` or `choice: many`"),
        ("groups.0.labels", [], "group 'pattern' needs labels and `choice: one` or `choice: many`"),
        ("groups.0.labels", "plain", "group 0: `labels` is 'plain'; it takes a list"),
        ("groups.0.shown", 1, "group 0: `shown` is 1; it takes true or false"),
        ("groups.0.carried_by", ["skirt", "belt"], "'plain' is carried by 'belt', 'skirt', no category"),
        ("groups.0.carried_by", ["hair"], "'plain' is carried by 'hair', no category"),
        ("groups.0.labels.0", None, "group pattern, label 0: None is not a mapping with the keys id, name, carried_by"),
        ("groups.0.labels.0.id", DROP, "group pattern, label 0: no key id"),
        ("groups.0.labels.0.id", "dot", "pattern id stands twice: dot"),
        ("groups.0.labels.0.id", 1.5, "label 0: `id` is 1.5; it takes a whole number or text"),
        ("groups.0.labels.0.name", DROP, "group pattern, label 0: no key name"),
        ("groups.0.labels.0.name", "dot", "name stands twice: dot"),
        ("groups.0.labels.0.name", "loose", "name stands twice: loose"),  # of another group
        ("groups.0.labels.0.name", "vest", "name stands twice: vest"),
        ("groups.0.labels.0.shown", False, "label 0: unknown key 'shown'; the keys are id, name, carried_by"),
        ("groups.0.labels.0.carried_by", ["cape"], "'plain' is carried by 'cape', no category"),
        ("groups.0.labels.0.carried_by", [["jacket"]], "`carried_by` holds ['jacket']; it takes names"),
        ("teach", [], "`teach` is []; it takes a mapping"),
    ],
)
def test_malformed(where: str, value: object, sentence: str) -> None:
    LabelSpace.from_dict(TINY)
    with pytest.raises(LabelError) as caught:
        LabelSpace.from_dict(changed(TINY, where, value))
    assert sentence in str(caught.value)
    assert_sentence(caught.value)


def assert_sentence(error: LabelError) -> None:
    assert str(error).startswith("label space ")
    assert str(error).isprintable()


def changed(data: dict[str, Any], where: str, value: object) -> dict[str, Any]:
    """A copy of `data` with the value at a dotted path set, or dropped."""
    data = copy.deepcopy(data)
    *path, last = (int(key) if key.isdigit() else key for key in where.split("."))
    place: Any = data
    for key in path:
        place = place[key]
    if value is DROP:
        del place[last]
    else:
        place[last] = value
    return data


@pytest.mark.parametrize("data", [None, 3, "fashionpedia", [TINY]])
def test_no_mapping_at_all(data: Any) -> None:
    with pytest.raises(LabelError, match=r"^label space \?: .* is not a mapping with the keys name, version"):
        LabelSpace.from_dict(data)


ANYTHING = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.sampled_from(["jacket", "one"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "name", "labels"]), inner),
    max_leaves=8,
)
PLACES = [
    *TINY,
    *(f"categories.{i}.{key}" for i in range(2) for key in TINY["categories"][i]),
    *(f"groups.0.{key}" for key in TINY["groups"][0]),
    "categories.0", "pixels.0", "groups.0", "groups.0.carried_by.0",
    "groups.0.labels.0", "groups.0.labels.0.id", "groups.0.labels.0.name", "groups.0.labels.1.carried_by",
]  # fmt: skip


@settings(deadline=None)  # a busy machine is no failure
@given(st.sampled_from(PLACES), ANYTHING)
def test_anything_anywhere_is_read_or_refused_in_one_line(where: str, value: object) -> None:
    try:
        space = LabelSpace.from_dict(changed(TINY, where, value))
    except LabelError as error:
        assert_sentence(error)
    else:
        assert LabelSpace.from_dict(space.to_dict()) == space
        assert_tiled(space)


# Files


def test_load_by_path(tmp_path: Path) -> None:
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(TINY | {"teach": {"ccp": {"words": {}}}}), encoding="utf-8")
    space = load_label_space(path)
    assert space == LabelSpace.from_dict(TINY)  # `teach` is not what a network answers with
    assert space.teach == {"ccp": {"words": {}}}
    assert load_label_space(str(path)) == space


@pytest.mark.parametrize("name", ["strete", "gone.yaml", "", ".", "Fashionpedia", "../street", "a\0.yaml"])
def test_load_refuses_what_is_not_there(name: str) -> None:
    choices = "name one of fashionpedia, imaterialist2019, outfit5, street, or a .yaml file"
    with pytest.raises(LabelError, match=choices):
        load_label_space(name)


@pytest.mark.parametrize(
    "content", [b"name: [", b"\xff\xfe\x00", b"name: 2024-99-99", b"!!python/object:os.system {}", b"\x00"]
)
def test_load_refuses_what_is_no_yaml(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.yaml"
    path.write_bytes(content)
    with pytest.raises(LabelError, match=r"bad\.yaml: not a readable YAML: ") as caught:
        load_label_space(path)
    assert "\n" not in str(caught.value)


def test_an_empty_file_is_no_label_space(tmp_path: Path) -> None:
    path = tmp_path / "empty.yaml"
    path.touch()
    with pytest.raises(LabelError, match="None is not a mapping"):
        load_label_space(path)


def test_the_loader_in_python_serves_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(yaml, "CSafeLoader", raising=False)
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(TINY), encoding="utf-8")
    assert load_label_space(path) == LabelSpace.from_dict(TINY)
    path.write_text("[" * 2000 + "]" * 2000, encoding="utf-8")  # deeper than Python goes
    with pytest.raises(LabelError, match="not a readable YAML: maximum recursion depth exceeded"):
        load_label_space(path)
