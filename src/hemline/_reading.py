"""Machinery of `hemline.config`: plain data -> dataclasses by their types, YAML, and `key=value` overrides.

Problems are collected, one sentence each; a bad value reads as `BAD`, its field keeps the default, and what
stands after it is still checked.
"""

from __future__ import annotations

import math
import re
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from difflib import get_close_matches
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml

T = TypeVar("T")

BAD = object()
"""Stands for a value that could not be read."""
_WORDS: dict[object, str] = {str: "a text", bool: "true or false", int: "a whole number", float: "a number"}


class Rule(NamedTuple):
    """What a value must be beyond its type, in words and as a test; stands in `Annotated`."""

    says: str
    holds: Callable[[Any], bool]


def read_block(cls: type[T], data: Mapping[str, object], where: str, problems: list[str]) -> T:
    """Read a mapping as a dataclass; keys it does not know go to its `options`, where it has that field."""
    assert is_dataclass(cls)
    hints = get_type_hints(cls, include_extras=True)
    known = [name for name in hints if name != "options"]
    strangers = {str(key): value for key, value in data.items() if key not in known}
    required = [f.name for f in fields(cls) if f.default is MISSING and f.name != "options"]
    values: dict[str, object] = dict.fromkeys(required)
    for name in known:
        if name in data:
            value = read(hints[name], data[name], _join(where, name), problems)
            if value is not BAD:
                values[name] = value
        elif name in values:
            problems.append(f"{_join(where, name)}: missing, this key is required")
    if "options" in hints:
        values["options"] = strangers
    else:
        problems.extend(f"{_join(where, key)}: unknown key{nearest(key, known)}" for key in strangers)
    return cls(**values)


def read(kind: object, value: object, where: str, problems: list[str]) -> object:
    """Read a value as a type; `BAD` and one more problem where it cannot be."""
    origin, args = get_origin(kind), get_args(kind)
    if isinstance(kind, type) and is_dataclass(kind):
        return _read_part(kind, value, where, problems)
    if origin is Annotated:
        return _read_ruled(args[0], args[1], value, where, problems)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in args:
            return None
        return read(next(arg for arg in args if arg is not type(None)), value, where, problems)
    if origin in (tuple, list, Sequence):
        return _read_items(args, value, where, problems)
    if origin is Literal:
        if value in args:
            return value
        problems.append(f"{where}: unknown value {value!r}{nearest(value, args)}")
        return BAD
    return _read_scalar(kind, value, where, problems)


def _read_part(cls: type[Any], value: object, where: str, problems: list[str]) -> object:
    if isinstance(value, str) and "name" in get_type_hints(cls):
        value = _short_form(value)
    if isinstance(value, Mapping):
        return read_block(cls, value, where, problems)
    problems.append(f"{where}: expected `key: value` lines, not {describe(value)}")
    return BAD


def _read_ruled(kind: object, rule: Rule, value: object, where: str, problems: list[str]) -> object:
    result = read(kind, value, where, problems)
    if result is BAD or rule.holds(result):
        return result
    problems.append(f"{where}: must be {rule.says}, not {describe(value)}")
    return BAD


def _read_items(args: tuple[Any, ...], value: object, where: str, problems: list[str]) -> object:
    many = len(args) == 1 or args[1] is Ellipsis
    if many and is_dataclass(args[0]) and isinstance(value, (str, Mapping)):
        value = [value]                                  # one block where a list of blocks may stand
    if not isinstance(value, (list, tuple)) or not value or (not many and len(value) != len(args)):
        count = "one or more" if many else len(args)
        problems.append(f"{where}: expected a list of {count}, not {describe(value)}")
        return BAD
    kinds = [args[0]] * len(value) if many else args
    items = [read(kinds[i], item, _join(where, str(i)), problems) for i, item in enumerate(value)]
    return BAD if any(item is BAD for item in items) else tuple(items)


def _read_scalar(kind: object, value: object, where: str, problems: list[str]) -> object:
    if kind is Path:
        if isinstance(value, str) and path_of(value).exists():
            return value
        problems.append(f"{where}: nothing at {describe(value)}")
        return BAD
    if kind not in _WORDS:
        return value                                     # only the head or the dataset itself can judge it
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is kind and (not isinstance(value, float) or math.isfinite(value)):
        return value
    problems.append(f"{where}: expected {_WORDS[kind]}, not {describe(value)}")
    return BAD


def plain(value: object) -> object:
    """A dataclass as the plain data that `read_block` reads back; options stand among the other keys."""
    if is_dataclass(value):
        block = {f.name: plain(getattr(value, f.name)) for f in fields(value) if f.name != "options"}
        return block | {key: plain(option) for key, option in getattr(value, "options", {}).items()}
    return [plain(item) for item in value] if isinstance(value, (tuple, list)) else value


def set_override(raw: dict[str, Any], override: str, problems: list[str]) -> None:
    """Set one `key.path=value` in plain data; the value is YAML.

    `data.NAME` is the path of each dataset of that name, of a new one where there is none; `data.NAME.KEY` its `KEY`.
    """
    path, equals, text = override.partition("=")
    if not equals or not path:
        problems.append(f"{override!r} is no override; write key=value, as in epochs=3")
        return
    try:
        value = read_yaml(text)
    except ValueError:
        problems.append(f"{path}: {text!r} is not a YAML value")
        return
    for keys in _places(raw, path.split(".")):
        node: object = raw
        found = True
        for key, after in pairwise(keys):
            child = _opened(_get(node, key), after)
            found = found and _set(node, key, child)
            node = child
        if not (found and _set(node, keys[-1], value)):
            problems.append(f"{path}: the recipe has no such place to set")


def _places(raw: dict[str, Any], keys: list[str]) -> list[list[str]]:
    """Where the keys lead, with numbers for the names of datasets."""
    sets = raw.get("data")
    if keys[0] != "data" or len(keys) < 2 or keys[1].isdigit() or not isinstance(sets, list):
        return [keys]
    names = [_short_form(each)["name"] if isinstance(each, str) else _get(each, "name") for each in sets]
    if keys[1] not in names:
        sets.append({"name": keys[1]})
        names.append(keys[1])
    return [["data", str(i), *(keys[2:] or ["path"])] for i, name in enumerate(names) if name == keys[1]]


def _opened(child: object, after: str) -> object:
    """A part of the recipe, written out so that `after` can be set in it."""
    if after.isdigit():
        return child if isinstance(child, list) else [] if child is None else [child]
    if isinstance(child, str):
        return _short_form(child)
    return {} if child is None else child


def _get(node: object, key: str) -> object:
    if isinstance(node, list):
        return node[int(key)] if key.isdigit() and int(key) < len(node) else None
    return node.get(key) if isinstance(node, dict) else None


def _set(node: object, key: str, value: object) -> bool:
    if isinstance(node, dict):
        node[key] = value
    elif isinstance(node, list) and key.isdigit() and int(key) <= len(node):
        node[int(key) : int(key) + 1] = [value]
    else:
        return False
    return True


def _short_form(text: str) -> dict[str, str]:
    """`NAME` or `NAME:PATH`, which does for a block."""
    name, colon, path = text.partition(":")
    return {"name": name, "path": path} if colon else {"name": name}


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, but `1e-3` is a number, as everyone means it, and a key may not stand twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        twice = sorted({key for key in keys if keys.count(key) > 1})
        if twice:
            raise yaml.constructor.ConstructorError(None, None, f"{twice[0]!r} stands twice", node.start_mark)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def read_yaml(text: str) -> object:
    """Values of a YAML text, None where it holds none.

    Raises:
        ValueError: not valid YAML; the text says where.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, ValueError) as error:        # an impossible date is a bare ValueError
        raise ValueError(" ".join(str(error).split())) from error


def nearest(value: object, choices: Sequence[object]) -> str:
    """The end of a sentence about an unknown name: the nearest right ones, or all where they are few."""
    words = [str(choice) for choice in choices]
    near = get_close_matches(str(value), words, n=3, cutoff=0.5)
    if near:
        return f"; did you mean {' or '.join(near)}?"
    return f"; one of {', '.join(words)}" if 0 < len(words) <= 40 else ""


def path_of(text: str | Path) -> Path:
    """A path as one writes it: `~` is the home folder."""
    try:
        return Path(text).expanduser()
    except RuntimeError:                                 # ~nobody: no such user, but maybe a file of that name
        return Path(text)


def describe(value: object) -> str:
    """A value in a sentence, kept short."""
    if value is None:
        return "nothing"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:50]}... ({type(value).__name__})"


def _join(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key
