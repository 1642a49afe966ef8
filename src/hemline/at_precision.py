"""Thresholds for a precision that is asked for, by the precision-recall curves that the weights hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from hemline.errors import ConfigError
from hemline.labels import Category, Label
from hemline.metadata import Metadata
from hemline.scores import Use
from hemline.thresholds import NEVER


class Silent(NamedTuple):
    """What is never answered at a precision, and would be at the thresholds of the weights; names in their order."""

    masks: tuple[str, ...]
    """Categories of garments found by their mask."""
    garments: tuple[str, ...]
    """Attributes of garments."""
    photo: tuple[str, ...]
    """Labels of the whole photo: categories, then attributes."""
    altogether: tuple[str, ...]
    """Those that stand nowhere in an answer."""


def at_precision(metadata: Metadata, precision: float) -> tuple[Metadata, Silent]:
    """The metadata with the lowest thresholds that promise the precision (`Curve.threshold`), and what stays silent.

    What the weights never answer is not answered here either, and no garment is that the photo's label alone names:
    where a label is sure and no mask is found, it is often wrong, whatever its curve over all photos.

    Args:
        metadata: Of weights with curves.
        precision: Share of the answers of each label that is to be right, between 0 and 1.

    Raises:
        ConfigError: the precision is out of range, or the weights hold no curves.
    """
    check_precision(precision)
    scores, space = metadata.scores, metadata.labels
    if scores is None or not scores.curves:
        raise ConfigError(
            f"precision: weights {metadata.name} hold no precision-recall curves; add them with `hemline calibrate "
            "WEIGHTS --data NAME=PATH --out FILE`, by photos that they were not trained on"
        )
    things: tuple[Category | Label, ...] = (*space.categories, *space.labels)
    count = len(space.categories)
    masks = _Chosen(things[:count], scores.masks, metadata.garment_thresholds or (0.0,) * count, precision)
    garments = _Chosen(things[count:], scores.garments, metadata.label_thresholds[count:], precision)
    photo = _Chosen(things, scores.photo, metadata.of_photo, precision)
    said = masks.said | garments.said | (photo.said - {c.name for c in space.categories})
    silent = {*masks.silent, *garments.silent, *photo.silent} - said
    names = tuple(thing.name for thing in things if thing.name in silent)
    changed = replace(
        metadata,
        label_thresholds=(*photo.thresholds[:count], *garments.thresholds),
        photo_thresholds=tuple(photo.thresholds),
        garment_thresholds=tuple(masks.thresholds),
    )
    return changed, Silent(masks.silent, garments.silent, photo.silent, names)


def check_precision(precision: float) -> None:
    """Refuse what is no precision.

    Raises:
        ConfigError: it is not between 0 and 1.
    """
    if not 0 < precision < 1:
        raise ConfigError(f"precision is a share of right answers between 0 and 1, such as 0.95, not {precision:g}")


class _Chosen:
    """The thresholds of one use for a precision.

    Args:
        things: What is answered.
        use: Its curves.
        usual: The thresholds of the weights.
        precision: That is asked for.
    """

    def __init__(
        self, things: Sequence[Category | Label], use: Use, usual: Sequence[float], precision: float
    ) -> None:
        self.thresholds: list[float] = []
        for thing, before in zip(things, usual, strict=True):
            curve = use.curves.get(thing.name)
            threshold = None if curve is None or before >= NEVER else curve.threshold(precision)
            self.thresholds.append(NEVER if threshold is None else threshold)
        rows = list(zip(things, usual, self.thresholds, strict=True))
        self.said = {thing.name for thing, _, now in rows if now < NEVER}
        self.silent = tuple(thing.name for thing, before, now in rows if thing.shown and before < NEVER <= now)
