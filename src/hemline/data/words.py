"""A YAML that says what a dataset's words mean in a label space: `words: FILE` beside its name in a recipe.

It is a `teach` block in a file of the user's own, for a set that the label space does not teach, or teaches otherwise.
So one label space is mapped to another; this takes street words to outfit parts:

    others: unknown               # a word denies no other class: the set draws one garment of several
    words:
      coat: {is: [whole body]}
      jeans: {is: [lower body]}
      tights: {unknown: [lower body, feet]}    # may be either: it says nothing of them, and denies the rest
      button: {pixels: unknown}   # its pixels may be any class
      "null": {}                  # background: none of the classes

All keys are explained in `taxonomies/street.yaml`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hemline._reading import Rule, describe, nearest, path_of, read_yaml
from hemline.errors import LabelError, in_short

NAMES = ("is", "not", "one_of", "mostly", "unknown", "mutes")
"""What may be said of a word with a list of labels."""
FLAGS = ("pixels", "others")
"""What may be said of a word with `unknown`."""


def load_words(file: str | Path) -> dict[str, Any]:
    """Read such a YAML. Whether the label space knows the labels in it, `hemline.data.knowledge` says.

    Raises:
        LabelError: it cannot be read, or is not such a block; all that is wrong at once.
    """
    try:
        block = read_yaml(path_of(file).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise LabelError(f"words: {file} is not a readable YAML ({in_short(error)})") from error
    if not isinstance(block, dict) or not isinstance(block.get("words"), dict) or not block["words"]:
        raise LabelError(f"words: {file} holds no `words:` block, which says what each word means, as street.yaml does")
    if problems := list(_wrong(block)):
        raise LabelError(f"words: {file}: {'; '.join(problems)}")
    return block


def _wrong(block: Mapping[str, Any]) -> Iterator[str]:
    for key, value in block.items():
        if key != "words":
            yield from _wrong_value(key, value, _BESIDE, "")
    for word, entry in block["words"].items():
        if entry is not None and not isinstance(entry, dict):
            yield f"{word}: say what it means as {{is: [LABEL]}}, not {describe(entry)}"
            continue
        for key, value in (entry or {}).items():
            yield from _wrong_value(key, value, _OF_WORD, f"{word}: ")


def _wrong_value(key: object, value: object, known: Mapping[str, Rule], where: str) -> Iterator[str]:
    rule = known.get(str(key))
    if rule is None:
        yield f"{where}unknown key {key!r}{nearest(key, list(known))}"
    elif not rule.holds(value):
        yield f"{where}{key} must be {rule.says}, not {describe(value)}"


def _texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


_UNKNOWN = Rule("`unknown`", lambda x: x == "unknown")
_OF_WORD = dict.fromkeys(NAMES, Rule("a list of labels, as [coat]", _texts)) | dict.fromkeys(FLAGS, _UNKNOWN)
_SETS = Rule("lists in a list, as [[coat, jacket]]", lambda x: isinstance(x, list) and all(map(_texts, x)))
_BESIDE = {
    "others": _UNKNOWN,
    "several": Rule("a list of groups, as [textile pattern]", _texts),
    "alike_in_maps": _SETS,
    "alike_in_tags": _SETS,
    "single_item": Rule("true or false", lambda x: isinstance(x, bool)),
}
"""What may stand beside the words."""
