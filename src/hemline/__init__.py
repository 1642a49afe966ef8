"""Hemline reads a photo of clothes and says what is worn: a mask, category, attributes and colours for every garment.

    from hemline import Tagger
    tagger = Tagger.load()
    result = tagger("photo.jpg")

Importing this costs nothing: every name below is fetched when it is first used (PEP 562). The learning half is
imported from where it lives, since its functions are called as their modules are: `from hemline.train import train`.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hemline.colour import Colour
    from hemline.config import Config, list_configs, load_config
    from hemline.errors import (
        ConfigError,
        DataError,
        DeviceError,
        HemlineError,
        LabelError,
        PhotoError,
        StoppedError,
        WeightsError,
    )
    from hemline.labels import LabelSpace, load_label_space
    from hemline.result import Garment, Result
    from hemline.tagger import Failure, Tagger
    from hemline.words_said import ScoredLabel

__version__ = "0.1.0"

_HOMES = {
    "hemline.tagger": ("Failure", "Tagger"),
    "hemline.result": ("Garment", "Result"),
    "hemline.words_said": ("ScoredLabel",),
    "hemline.colour": ("Colour",),
    "hemline.labels": ("LabelSpace", "load_label_space"),
    "hemline.config": ("Config", "list_configs", "load_config"),
    "hemline.errors": (
        "ConfigError",
        "DataError",
        "DeviceError",
        "HemlineError",
        "LabelError",
        "PhotoError",
        "StoppedError",
        "WeightsError",
    ),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Colour",
    "Config",
    "ConfigError",
    "DataError",
    "DeviceError",
    "Failure",
    "Garment",
    "HemlineError",
    "LabelError",
    "LabelSpace",
    "PhotoError",
    "Result",
    "ScoredLabel",
    "StoppedError",
    "Tagger",
    "WeightsError",
    "__version__",
    "list_configs",
    "load_config",
    "load_label_space",
]


def __getattr__(name: str) -> object:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'hemline' has no attribute {name!r}")
    return getattr(import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return __all__
