"""Thresholds for a precision that is asked for, by the precision-recall curves that the weights hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from hemline.errors import ConfigError
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

    What the weights never answer is not answered here either.

    Args:
        metadata: Of weights with curves.
        precision: Share of the answers of each label that is to be right, between 0 and 1.

    Raises:
        ConfigError: the precision is out of range, or the weights hold no curves.
    """
    check_precision(precision)
    scores, space = metadata.scores, metadata.labels
    if scores is None:
        raise ConfigError(
            f"precision: weights {metadata.name} hold no precision-recall curves; add them with `hemline calibrate "
            "WEIGHTS --data NAME=PATH --out FILE`, by photos that they were not trained on"
        )
    categories = [c.name for c in space.categories]
    labels = [x.name for x in space.labels]
    shown = [thing.shown for thing in (*space.categories, *space.labels)]
    count = len(categories)
    photo = _thresholds(scores.photo, [*categories, *labels], metadata.of_photo, precision)
    garments = _thresholds(scores.garments, labels, metadata.label_thresholds[count:], precision)
    masks = _thresholds(scores.masks, categories, metadata.garment_thresholds or (0.0,) * count, precision)
    silent_masks = _silent(categories, shown, metadata.garment_thresholds or (0.0,) * count, masks)
    silent_garments = _silent(labels, shown[count:], metadata.label_thresholds[count:], garments)
    silent_photo = _silent([*categories, *labels], shown, metadata.of_photo, photo)
    said = {name for name, t in zip(categories, masks, strict=True) if t < NEVER}
    said |= {name for name, t in zip(labels, garments, strict=True) if t < NEVER}
    said |= {name for name, t in zip([*categories, *labels], photo, strict=True) if t < NEVER}
    ever = {*silent_masks, *silent_garments, *silent_photo}
    silent = Silent(
        silent_masks, silent_garments, silent_photo, tuple(x for x in [*categories, *labels] if x in ever - said)
    )
    changed = replace(
        metadata,
        label_thresholds=(*photo[:count], *garments),
        photo_thresholds=tuple(photo),
        garment_thresholds=tuple(masks),
    )
    return changed, silent


def check_precision(precision: float) -> None:
    """Refuse what is no precision.

    Raises:
        ConfigError: it is not between 0 and 1.
    """
    if not 0 < precision < 1:
        raise ConfigError(f"precision is a share of right answers between 0 and 1, such as 0.95, not {precision:g}")


def _thresholds(use: Use, names: Sequence[str], usual: Sequence[float], precision: float) -> list[float]:
    """Of each name, the lowest threshold that promises the precision, or `NEVER`."""
    found = []
    for name, now in zip(names, usual, strict=True):
        curve = use.curves.get(name)
        threshold = None if curve is None or now >= NEVER else curve.threshold(precision)
        found.append(NEVER if threshold is None else threshold)
    return found


def _silent(
    names: Sequence[str], shown: Sequence[bool], usual: Sequence[float], now: Sequence[float]
) -> tuple[str, ...]:
    """Those that were answered and are no longer."""
    rows = zip(names, shown, usual, now, strict=True)
    return tuple(name for name, may, before, after in rows if may and before < NEVER <= after)
