"""What an evaluation found: plain data for JSON. `hemline.report_tables` are the tables for the terminal."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from statistics import fmean
from typing import Any

from hemline._bootstrap import Figure
from hemline.fitted_scores import CalibrationError
from hemline.foreground_iou import ForegroundReport
from hemline.instance_report import InstanceReport
from hemline.metrics import LabelReport, MaskReport
from hemline.scores import Scores
from hemline.soft_scores import SoftReport
from hemline.transplant import TransplantReport

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class TargetScore:
    """One of the scores that weights are judged by on a set."""

    name: str
    """`mean_average_precision` or `top1`, as the protocol scores the set's labels; `garment_found` or `largest_right`,
    shares of the photos' answers."""
    what: str
    """The same in words."""
    photos: int
    """Photos of which it is known."""
    score: Figure
    """The trivial answer is the labels' mean frequency, always the commonest word, or always the garment that is right
    most often."""
    wanted: float
    """What it should be: the protocol's floor, or the share that we want."""
    labels: dict[str, str] = field(default_factory=dict)
    """The protocol's words, each with the label that is scored for it."""
    left_out: list[str] = field(default_factory=list)
    """Those of which the photos know no yes, or no no."""


@dataclass(frozen=True)
class SetReport:
    """How well one dataset's photos are answered."""

    name: str
    photos: int
    terms: str
    masks: MaskReport | None
    """None where the set draws nothing."""
    labels: LabelReport | None
    """Labels of the whole photo; None where nothing is known of any."""
    garments: LabelReport | None
    """Attributes under the garment's own predicted mask, where its category carries them; None likewise."""
    garments_missed: int
    """Garments of known attributes that the network does not find: they count as not having any."""
    left_out: list[str]
    """Labels that the set does not know well enough to score: nowhere both a yes and a no."""
    by_protocol: bool
    """Whether the mask classes are those of `taxonomies/protocol.yaml`."""
    floor: dict[str, float]
    """What the protocol wants of the masks beaten."""
    targets: list[TargetScore]
    """What the set is judged by beside its masks; empty where the protocol or the label space has no such score."""
    transplant: TransplantReport | None = None
    """How garments that were repainted are answered; None where none was, or no label could tell."""
    soft: SoftReport | None = None
    """Soft IoU and F1; None where nobody asked for them, or the set draws nothing."""
    instances: InstanceReport | None = None
    """Garments one by one; None where the set draws none."""
    part_masks: MaskReport | None = None
    """Of parts of garments, which lie on these and are answered apart, so that `masks` are without them. None where
    the set draws nothing, the label space has no parts, or masks are exclusive: all compete then, within `masks`."""
    foreground: ForegroundReport | None = None
    """Foreground IoU, as Tangseng et al. report it, of what `masks` measures; None where that is."""
    photo_scores: dict[str, float] = field(default_factory=dict)
    """How well each photo is answered, 0..1, by its key: `Tally.mask_scores`, or, where the set draws nothing,
    `Tally.label_scores`. To choose photos by; left out of the JSON, which stands in weights and names no photo."""
    calibration: list[CalibrationError] = field(default_factory=list)
    """How far scores are from probabilities, of each use that the set knows."""


@dataclass(frozen=True)
class Report:
    """How well weights answer, set by set."""

    weights: str
    """What they are called."""
    label_space: str
    canvas: tuple[int, int]
    """(height, width) in pixels."""
    runtime: str
    device: str
    flip: bool
    split: str
    sets: list[SetReport]
    label_thresholds: tuple[float, ...]
    """(L,) the thresholds that would have suited these photos best; those in use stand in the tables."""
    finds: str = "classes"
    """What the network answers: `classes`, or `instances`."""
    instance_scores: tuple[float, ...] = ()
    """(C,) the least scores of garments found one by one that would have suited these photos best; empty where too few
    are drawn."""
    instance_areas: tuple[float, ...] = ()
    """(C,) their least shares of the photo; likewise."""
    photo_thresholds: tuple[float, ...] = ()
    """(L,) as `label_thresholds`, of the whole photo."""
    calibration: list[CalibrationError] = field(default_factory=list)
    """Of all sets together."""
    scores: Scores | None = None
    """What would have made these photos' scores probabilities, with its curves; None where nobody asked for it, and
    left out of the JSON."""

    @property
    def headline(self) -> float:
        """One number to choose between checkpoints, 0..1: the mean of mean IoU (over sets) and mean AP (likewise).

        Masks of parts count as much as those of garments. Of networks that find instances, the AP of masks takes the
        place of a set's mean IoU, where its garments are drawn.
        """
        drawn = [of_masks for part in self.sets for of_masks in self._of_masks(part)]
        precisions = [
            labels.mean_average_precision.value
            for part in self.sets
            for labels in (part.labels, part.garments)
            if labels and labels.labels
        ]
        kinds = [fmean(values) for values in (drawn, precisions) if values]
        return fmean(kinds) if kinds else 0.0

    def _of_masks(self, part: SetReport) -> list[float]:
        """What the headline takes of a set's masks."""
        if self.finds == "instances" and part.instances:
            ap = part.instances.summary().get("mask.ap", math.nan)
            if math.isfinite(ap):
                return [ap]
        return [masks.mean_iou.value for masks in (part.masks, part.part_masks) if masks]

    def summary(self) -> dict[str, float | None]:
        """The few numbers of each set that a log needs: `ccp.mean_iou` and so on, `ccp 2` where it is there twice."""
        numbers: dict[str, float] = {"headline": self.headline}
        seen: Counter[str] = Counter()
        for part in self.sets:
            seen[part.name] += 1
            name = part.name if seen[part.name] == 1 else f"{part.name} {seen[part.name]}"
            for prefix, masks in ((name, part.masks), (f"{name}.parts", part.part_masks)):
                if masks:
                    for key in ("mean_iou", "mean_dice", "pixel_accuracy", "foreground_accuracy"):
                        numbers[f"{prefix}.{key}"] = getattr(masks, key).value
            if part.foreground:
                numbers[f"{name}.foreground_iou"] = part.foreground.iou.value
            for key, labels in (("labels", part.labels), ("garments", part.garments)):
                if labels:
                    numbers[f"{name}.{key}.mean_average_precision"] = labels.mean_average_precision.value
                    for choice in labels.choices:
                        numbers[f"{name}.{key}.{choice.group}.top1"] = choice.top1.value
            if part.instances:
                numbers |= {f"{name}.{key}": value for key, value in part.instances.summary().items()}
            numbers |= {f"{name}.{target.name}": target.score.value for target in part.targets}
        return {key: value if math.isfinite(value) else None for key, value in numbers.items()}

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; what cannot be said is None."""
        plain: dict[str, Any] = _plain({"schema_version": SCHEMA_VERSION, **asdict(replace(self, scores=None))})
        del plain["scores"]
        for part in plain["sets"]:
            del part["photo_scores"]
        return plain


def _plain(value: Any) -> Any:  # noqa: ANN401  plain data of any depth
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
