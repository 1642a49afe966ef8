"""What a weights file says of itself: label space, canvas, thresholds, recipe, figures, data and terms.

The same JSON stands in all forms of the weights; `hemline._weights_files` says where.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, TypeGuard

from hemline._weights_files import KEY, embedded_text
from hemline.errors import LabelError, WeightsError
from hemline.labels import OF_INIT, LabelSpace, load_label_space
from hemline.scores import Scores

FORMAT_VERSION = 1
"""The newest layout of the metadata that this version reads."""
TAUGHT = "taught"
"""Key of `Metadata.metrics`: of each label that was taught to weights later, whether its photos were enough."""


@dataclass(frozen=True)
class Metadata:
    """What a weights file says of itself."""

    name: str
    """What the weights are called: `street`."""
    labels: LabelSpace
    """The label space they answer with."""
    canvas: tuple[int, int]
    """Height and width in pixels of the canvas that photos are placed on."""
    mask_thresholds: tuple[float, ...]
    """(K,) probabilities above which a pixel may belong to each mask class; 1.0 never, 0.0 always."""
    label_thresholds: tuple[float, ...]
    """(L,) probabilities above which a label is reported of a garment, and of the photo without `photo_thresholds`."""
    finds: Literal["classes", "instances"] = "classes"
    """What the network answers: a map for each class, or garments one by one."""
    instance_scores: tuple[float, ...] = ()
    """(C,) least score of a garment of each category, found one by one, that is reported; 1.0 never. None has one where
    empty."""
    instance_areas: tuple[float, ...] = ()
    """(C,) least share of the photo that such a garment covers; none has one where empty."""
    photo_thresholds: tuple[float, ...] = ()
    """(L,) probabilities above which a label is reported of the whole photo; `label_thresholds` where empty."""
    garment_thresholds: tuple[float, ...] = ()
    """(C,) probabilities above which a garment that was found by its mask is reported, and none by the photo's label
    alone; where empty, all are."""
    scores: Scores | None = None
    """What makes scores probabilities; None leaves them as the network says them."""
    pairs: dict[str, dict[str, int]] = field(default_factory=dict)
    """Of each category, how many garments in the training photos carry each attribute, by name."""
    recipe: dict[str, Any] = field(default_factory=dict)
    """The configuration they were trained with, as it ran."""
    metrics: dict[str, Any] = field(default_factory=dict)
    """Figures measured on the validation data, with their protocol."""
    data: list[dict[str, Any]] = field(default_factory=list)
    """The datasets they learnt from: name, terms, number of photos."""
    license: str = ""
    hemline_version: str = ""
    """The version of Hemline that wrote them."""
    format_version: int = FORMAT_VERSION
    weights_sha256: str = ""
    """In an exported graph: the SHA-256 of the checkpoint that it was made from."""
    precision: Literal["f32", "int8"] = "f32"
    """The numbers that a graph computes in: those of its checkpoint, or quantised ones."""

    def __post_init__(self) -> None:
        """Refuse what no network of this label space can mean.

        Raises:
            WeightsError: the canvas or a threshold is out of range, or the thresholds are not one a channel.
        """
        if len(self.canvas) != 2 or not all(_is_whole(side) and side > 0 for side in self.canvas):
            raise WeightsError(f"metadata of {self.name!r}: canvas {self.canvas} is no height and width")
        counts = {"mask_thresholds": self.labels.num_masks, "label_thresholds": self.labels.num_labels}
        for key, count in counts.items():
            values = getattr(self, key)
            if len(values) != count or not all(_is_number(value) and 0 <= value <= 1 for value in values):
                raise WeightsError(
                    f"metadata of {self.name!r}: {key} must be {count} probabilities from 0 to 1, "
                    f"one for each channel of label space {self.labels.name!r}"
                )
        if self.finds not in ("classes", "instances"):
            raise WeightsError(f"metadata of {self.name!r}: finds {self.finds!r} is neither classes nor instances")
        if self.precision not in ("f32", "int8"):
            raise WeightsError(f"metadata of {self.name!r}: precision {self.precision!r} is neither f32 nor int8")
        categories = len(self.labels.categories)
        for key, count in (
            ("instance_scores", categories), ("instance_areas", categories), ("garment_thresholds", categories),
            ("photo_thresholds", self.labels.num_labels),
        ):  # fmt: skip
            values = getattr(self, key)
            if values and (len(values) != count or not all(_is_number(x) and 0 <= x <= 1 for x in values)):
                raise WeightsError(
                    f"metadata of {self.name!r}: {key} must be {count} numbers from 0 to 1, one for each "
                    f"{'category' if count == categories else 'label'} of label space {self.labels.name!r}, or none"
                )
        if self.scores is not None:
            try:
                self.scores.check(self.labels)
            except ValueError as error:
                raise WeightsError(f"metadata of {self.name!r}: {error}") from error

    @property
    def of_photo(self) -> tuple[float, ...]:
        """(L,) probabilities above which a label is reported of the whole photo."""
        return self.photo_thresholds or self.label_thresholds

    @property
    def layers(self) -> tuple[tuple[int, ...], ...]:
        """The mask channels among which a pixel's answer is chosen: all of them where masks are exclusive.

        Elsewhere they are `LabelSpace.layers`, and a pixel has one answer of each.
        """
        return (self.labels.competing,) if self.recipe.get("masks") == "exclusive" else self.labels.layers

    def to_json(self) -> str:
        """The metadata as strict JSON, which `from_json` reads back; NaN and infinite figures become null."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        values["scores"] = {} if self.scores is None else self.scores.to_dict()
        labels = self.labels.to_dict()
        if self.recipe.get("labels") == OF_INIT:         # nothing that is here says what their sets' words mean
            labels["teach"] = dict(self.labels.teach)
        return json.dumps(finite(values | {"labels": labels}), allow_nan=False)

    @classmethod
    def from_json(cls, text: str | bytes) -> Metadata:
        """Read what `to_json` wrote; keys that this version does not know are left out.

        Raises:
            WeightsError: the text is not Hemline's metadata, or is of a newer format.
        """
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise WeightsError(f"the metadata is not JSON: {error}") from error
        version = values.get("format_version") if isinstance(values, Mapping) else None
        if not _is_whole(version) or version < 1:
            raise WeightsError("the metadata names no format version, so Hemline did not write it")
        if version > FORMAT_VERSION:
            raise WeightsError(
                f"the weights are of format {version}, and this version of Hemline reads format "
                f"{FORMAT_VERSION}; upgrade it to {values.get('hemline_version') or 'the newest'} or later"
            )
        try:
            return cls(**_typed(values))
        except (LabelError, TypeError, ValueError, KeyError, AttributeError) as error:
            raise WeightsError(f"the metadata is damaged: {error}") from error


def read_metadata(path: str | Path) -> Metadata:
    """Read the metadata of a weights file of any form; the weights themselves are not read.

    Raises:
        WeightsError: the file is missing, cut short, not Hemline's, or of a newer format.
    """
    path = Path(path)
    text = embedded_text(path)
    if text is None and path.name.lower().endswith(".web.onnx"):
        raise WeightsError(
            f"{path}: a graph for phones and browsers, which Hemline writes and does not run; take the checkpoint that "
            "it was made from, or what hemline export --to onnx writes of it"
        )
    if text is None:
        raise WeightsError(f"{path}: not weights of Hemline, which carry {KEY!r} metadata")
    try:
        return Metadata.from_json(text)
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from error


def with_teaching(metadata: Metadata) -> LabelSpace:
    """The label space of the weights with what the datasets' words say in it, which weights do not carry.

    It is that of the recipe's label space as it is here and now; where that is missing, `teach` stays empty.
    """
    if metadata.labels.teach:
        return metadata.labels
    try:
        known = load_label_space(str(metadata.recipe.get("labels", metadata.labels.name)))
    except LabelError:
        return metadata.labels
    return replace(metadata.labels, teach=known.teach)


# -- plain data ----------------------------------------------------------------------------------------------


_KINDS: dict[str, type[Any]] = {
    "name": str,
    "labels": dict,
    "canvas": list,
    "mask_thresholds": list,
    "label_thresholds": list,
    "finds": str,
    "instance_scores": list,
    "instance_areas": list,
    "photo_thresholds": list,
    "garment_thresholds": list,
    "scores": dict,
    "pairs": dict,
    "recipe": dict,
    "metrics": dict,
    "data": list,
    "license": str,
    "hemline_version": str,
    "format_version": int,
    "weights_sha256": str,
    "precision": str,
}
_TUPLES = (
    "canvas", "mask_thresholds", "label_thresholds", "instance_scores", "instance_areas", "photo_thresholds",
    "garment_thresholds",
)  # fmt: skip
_REQUIRED = ("name", "labels", "canvas", "mask_thresholds", "label_thresholds")


def _typed(values: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of `Metadata` in plain JSON, each as the field's own type.

    Raises:
        TypeError: a field is missing or of another type.
        LabelError: the label space is malformed.
    """
    if missing := [key for key in _REQUIRED if key not in values]:
        raise TypeError(f"{', '.join(missing)} missing")
    if wrong := [key for key, kind in _KINDS.items() if key in values and not isinstance(values[key], kind)]:
        raise TypeError(f"{', '.join(wrong)} of another type than expected")
    typed = {key: values[key] for key in _KINDS if key in values}
    typed |= {key: tuple(values[key]) for key in _TUPLES if key in values}
    typed["scores"] = Scores.from_dict(typed["scores"]) if typed.get("scores") else None
    return typed | {"labels": LabelSpace.from_dict(values["labels"])}


def finite(value: Any) -> Any:  # noqa: ANN401  plain data of any depth
    """The value with every NaN and infinity made null, which is all that strict JSON can say."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value


def _is_whole(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
