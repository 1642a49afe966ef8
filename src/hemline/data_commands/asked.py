"""Datasets named on the command line: `NAME=PATH ...`, or a recipe; either with overrides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

from hemline._lookups import wrong_data
from hemline._reading import nearest
from hemline.config import Config, load_config
from hemline.data import DATASETS, label_space
from hemline.data.loading import Source, open_sources
from hemline.errors import ConfigError
from hemline.labels import LABEL_SPACES, OF_DATA, OF_WORDS, LabelSpace, load_label_space


def config_of(words: Sequence[str]) -> Config:
    """The recipe that words on a command line ask for.

    Args:
        words: `NAME=PATH` (or `NAME` of a set that is made on the fly) for each dataset, or one recipe's name or YAML
            file; then any `KEY=VALUE`, such as `labels=street` or `data.0.damaged=skip`.

    Raises:
        ConfigError: no such dataset or recipe, a path that is missing, an unknown key, all at once.
    """
    named = [word for word in words if word.partition("=")[0] in DATASETS]
    overrides = [word for word in words if word not in named and "=" in word]
    recipes = [word for word in words if word not in named and "=" not in word]
    key = overrides[0].partition("=")[0] if overrides and not named and not recipes else ""
    if key and "." not in key and key not in {field.name for field in fields(Config)}:
        raise ConfigError(f"no dataset {key!r}{nearest(key, list(DATASETS))}")
    if len(recipes) + bool(named) != 1:
        raise ConfigError(f"name datasets as NAME=PATH, NAME one of {', '.join(DATASETS)}; or one recipe")
    if recipes:
        return load_config(recipes[0], overrides)
    data = [{"name": name, "path": path or None} for name, _, path in (word.partition("=") for word in named)]
    first = str(data[0]["name"])
    raw = {"name": "data", "epochs": 1, "labels": _labels_for(first), "data": data}
    config = Config.from_dict(raw, overrides)
    space = None if config.labels in OF_WORDS else load_label_space(config.labels)
    if problems := list(wrong_data(config, space)):
        raise ConfigError("; ".join(problems))
    return config


def opened(config: Config) -> tuple[LabelSpace, list[Source]]:
    """The label space and the datasets of a recipe, with the photos that would train.

    Raises:
        ConfigError, DataError, LabelError: as `open_sources` and `label_space`.
    """
    space = label_space(config)
    return space, open_sources(config, space)


def _labels_for(name: str) -> str:
    if hasattr(DATASETS[name], "label_space"):
        return OF_DATA
    return next((x for x in reversed(LABEL_SPACES) if name in load_label_space(x).teach), LABEL_SPACES[-1])
