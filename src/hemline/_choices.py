"""What options of the command line choose between."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

from hemline.errors import ConfigError


class MaskForm(StrEnum):
    """How a mask is written in JSON."""

    RLE = "rle"
    PNG = "png"
    POLYGONS = "polygons"
    NONE = "none"


class RuntimeName(StrEnum):
    """What runs the network."""

    AUTO = "auto"
    OPENVINO = "openvino"
    ONNXRUNTIME = "onnxruntime"
    TORCH = "torch"


class DeviceName(StrEnum):
    """Where the network runs."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


class EngineName(StrEnum):
    """Whose processes tag a catalogue."""

    LOCAL = "local"
    RAY = "ray"


class TableForm(StrEnum):
    """How tables are written."""

    PARQUET = "parquet"
    CSV = "csv"


class DtypeName(StrEnum):
    """What the network computes in."""

    F32 = "f32"
    BF16 = "bf16"
    FASTEST = "fastest"


class Challenge(StrEnum):
    """Kaggle's iMaterialist (Fashion) challenges."""

    FGVC6 = "2019"
    FGVC7 = "2020"


class ProtocolName(StrEnum):
    """How others score."""

    SEED3 = "seed3"


class EpochName(StrEnum):
    """Which epoch of a run."""

    BEST = "best"
    LAST = "last"


class FormName(StrEnum):
    """What a checkpoint is exported to."""

    ONNX = "onnx"
    OPENVINO = "openvino"
    TORCHSCRIPT = "torchscript"
    WEB = "web"


def named_paths(pairs: list[str]) -> dict[str, Path | None]:
    """`NAME=PATH` or, for a set that is made on the fly, `NAME`."""
    named: dict[str, Path | None] = {}
    for pair in pairs:
        name, equals, path = pair.partition("=")
        if not name or bool(equals) != bool(path):
            raise ConfigError(f"--data {pair}: write NAME=PATH, as in --data ccp=photos/ccp")
        if name in named:
            raise ConfigError(f"--data {pair}: {name} stands twice")
        named[name] = Path(path) if path else None
    return named
