"""What an evaluation found: plain data for JSON, and tables for the terminal."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from statistics import fmean
from typing import Any

from rich import box
from rich.markup import escape
from rich.table import Table

from hemline._bootstrap import Figure
from hemline.fitted_scores import CalibrationError
from hemline.foreground_iou import ForegroundReport
from hemline.instance_report import InstanceReport
from hemline.metrics import FREQUENT, LabelReport, MaskReport
from hemline.scores import Scores
from hemline.soft_scores import BATCH, SIDE, SoftReport
from hemline.transplant import MOST_CHANGE, TransplantReport

SCHEMA_VERSION = 1
F1_WORDS = {
    "f1": "official F1",
    "iou_f1": "IoU+official F1",
    "f1_present": "ordinary F1",
    "iou_f1_present": "IoU+ordinary F1",
}
BESIDE = (
    "Empty: no answer at all. Prior: the same answer in every photo, which knows how often and where each is worn, and "
    "nothing of the photo."
)
CEILING = "Ceiling: the truth's own masks, made garments in the way that the network's were."


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


# -- tables --------------------------------------------------------------------------------------------------


def report_table(report: Report) -> list[Table]:
    """The report as tables, in reading order; whoever calls prints them."""
    tables = []
    for part in report.sets:
        if part.targets:
            tables.append(_target_table(part, report))
        if part.masks:
            tables.append(_mask_table(part, part.masks, report, "masks"))
        if part.part_masks:
            tables.append(_mask_table(part, part.part_masks, report, "masks of parts"))
        if part.soft:
            tables.append(_soft_table(part, part.soft, report))
        if part.instances:
            tables += instance_tables(part.instances)
        if part.labels:
            tables.append(_label_table(part, part.labels, "labels of the photo"))
        if part.garments:
            tables.append(_label_table(part, part.garments, "attributes of garments"))
        if part.transplant:
            tables.append(_transplant_table(part, part.transplant))
        _say_left_out(tables, part)
    return tables + calibration_tables(report)


def _say_left_out(tables: Sequence[Table], part: SetReport) -> None:
    """Under the last table."""
    if tables and part.left_out:
        caption = str(tables[-1].caption or "")
        said = f"Left out, for want of a yes or a no of them in {part.name}: {', '.join(part.left_out)}."
        tables[-1].caption = f"{caption}\n{escape(said)}".strip()


def _target_table(part: SetReport, report: Report) -> Table:
    table = _table(f"{part.name}: what it is judged by, {part.photos} photos ({report.split})", "score")
    for heading in ("photos", "value", "95 %", "chance", "wanted"):
        table.add_column(heading, justify="right", no_wrap=True)
    for target in part.targets:
        table.add_row(target.what, str(target.photos), *_cells(target.score), _number(target.wanted))
    unknown = [word for target in part.targets if target.name == "mean_average_precision" for word in target.left_out]
    if unknown:
        table.caption = escape(f"Left out, for want of a yes or a no of them: {', '.join(unknown)}.")
    return table


def _mask_table(part: SetReport, masks: MaskReport, report: Report, what: str) -> Table:
    table = _table(f"{part.name}: {what}, {masks.photos} photos ({report.split})", "class")
    for heading in ("photos", "pixels", "IoU", "95 %", "all bg", "Dice"):
        table.add_column(heading, justify="right", no_wrap=True)
    pixels = sum(c.pixels for c in masks.classes)
    for c in masks.classes:
        share = f"{c.pixels / pixels:.1%}"
        table.add_row(escape(c.name), str(c.photos), share, *_cells(c.iou), _number(c.dice.value))
    table.add_section()
    rows: list[tuple[str, Figure, str]] = [
        (f"mean of {len(masks.classes)}", masks.mean_iou, _number(masks.mean_dice.value)),
        (f"mean of {masks.frequent_classes} in {FREQUENT}+ photos", masks.frequent_mean_iou, ""),
        ("pixel accuracy", masks.pixel_accuracy, ""),
        ("foreground accuracy", masks.foreground_accuracy, ""),
    ]
    if masks is part.masks and part.foreground:
        rows.append(("foreground IoU (Tangseng)", part.foreground.iou, ""))
    for name, figure, dice in rows:
        table.add_row(name, "", "", *_cells(figure), dice, style="bold")
    said = "The classes of protocol.yaml." if part.by_protocol else "The classes of the label space."
    if masks is part.part_masks:
        said = "Parts compete among themselves; background is what no part lies on."
    else:
        said += f" To beat: {', '.join(f'{k} {v:.3f}' for k, v in part.floor.items())}." if part.floor else ""
        said += " Foreground IoU: of each photo all its classes but background at once, then the mean of the photos."
    if masks.left_out:
        said += f" In neither truth nor answer: {', '.join(masks.left_out)}."
    table.caption = escape(said)
    return table


def _soft_table(part: SetReport, soft: SoftReport, report: Report) -> Table:
    table = _table(f"{part.name}: soft IoU and F1, {soft.photos} photos ({report.split})", "class")
    table.min_width = 60                                 # there are few columns, and a caption
    for heading in ("IoU", "F1"):
        table.add_column(heading, justify="right", no_wrap=True)
    for score in soft.classes:
        table.add_row(escape(score.name), _number(score.iou), _number(score.f1))
    table.add_section()
    table.add_row(f"mean of {len(soft.classes)}", _number(soft.iou), _number(soft.f1), style="bold")
    batches = "1 batch" if soft.batches == 1 else f"{soft.batches} batches"
    table.caption = (
        f"Probabilities without a threshold, at {SIDE} x {SIDE}, summed over batches of {BATCH} photos; the mean of "
        f"{batches}. A class that a batch does not show scores nearly 0 there. Not to be compared with other IoUs."
    )
    return table


def _label_table(part: SetReport, labels: LabelReport, what: str) -> Table:
    table = _table(f"{part.name}: {what}, {labels.photos} photos", "label")
    for heading in ("yes/known", "AP", "95 %", "chance", "F1", "95 %", "always", "at"):  # the rest is in the JSON
        table.add_column(heading, justify="right", no_wrap=True)
    for label in labels.labels:
        table.add_row(
            escape(label.name),
            f"{label.positives}/{label.known}",
            *_cells(label.average_precision),
            *_cells(label.f1),
            _number(label.threshold),
        )
    table.add_section()
    name = f"mean of {len(labels.labels)}"
    table.add_row(name, "", *_cells(labels.mean_average_precision), style="bold")
    for choice in labels.choices:
        table.add_row(escape(f"top-1 {choice.group}"), str(choice.rows), *_cells(choice.top1), style="bold")
    if what.startswith("attributes") and part.garments_missed:
        table.caption = f"{part.garments_missed} garments were not found; they count as having no attribute."
    return table


def _transplant_table(part: SetReport, test: TransplantReport) -> Table:
    title = f"{part.name}: transplant, {test.garments} garments of {test.photos} photos repainted one at a time"
    table = _table(title, "painted")
    for heading in ("trials", "passed", "95 %", "coin", "rose", "beside", "stayed", "both"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in test.patterns:
        rose, stayed, both = (_number(share) for share in (row.rose, row.stayed, row.passed_beside))
        cells = (str(row.trials), *_cells(row.passed), rose, str(row.beside), stayed, both)
        table.add_row(escape(row.pattern), *cells, style="bold" if row.pattern == "all" else "")
    said = (
        "Passed: the painted label's score, under the true mask, rose on that garment and moved by at most "
        f"{MOST_CHANGE} on the others that could carry it. Beside: trials on photos with such others, and of these "
        "the shares that stayed on them, and that did both."
    )
    table.caption = escape(f"Not made: {test.missing}" if test.missing else said)
    return table


def instance_tables(report: InstanceReport) -> list[Table]:
    """What was found one by one, as tables."""
    table = _table(f"{report.name}: garments one by one, {report.photos:,} photos", "score")
    best = any(score.ceiling is not None for score in report.scores)
    table.min_width = 72                                 # there are few columns, and a caption
    for heading in ("value", *(["ceiling"] if best else []), "empty", "prior"):
        table.add_column(heading, justify="right", no_wrap=True)
    for score in report.scores:
        if score.name == "mask.ap":
            table.add_section()
        values = (score.value, *([score.ceiling] if best else []), score.empty, score.prior)
        style = "bold" if score.name in ("box.ap", "mask.ap") else ""
        table.add_row(escape(_score_words(score.name)), *(_optional(value) for value in values), style=style)
    said = [f"{report.drawn:,} garments are drawn, {report.found:,} were found.", *report.notes, BESIDE]
    table.caption = escape(" ".join([*said, CEILING] if best else said))
    return [table, _category_table(report, best)] if report.categories else [table]


def _category_table(report: InstanceReport, best: bool) -> Table:
    table = _table(f"{report.name}: AP of each category", "category")
    masks = any(c.mask is not None for c in report.categories)
    described = any(c.with_attributes is not None for c in report.categories)
    rows: dict[str, list[float | None]] = {"box AP": [c.box for c in report.categories]}
    rows |= {"mask AP": [c.mask for c in report.categories]} if masks else {}
    rows |= {"IoU+F1": [c.with_attributes for c in report.categories]} if described else {}
    rows |= {"ceiling": [c.ceiling for c in report.categories]} if best else {}
    rows |= {"prior": [c.prior for c in report.categories]}
    for heading in ("drawn", *rows):
        table.add_column(heading, justify="right", no_wrap=True)
    for category, *values in zip(report.categories, *rows.values(), strict=True):
        table.add_row(escape(category.name), f"{category.drawn:,}", *(_optional(value) for value in values))
    if masks and (best or described):
        table.caption = "Columns after `mask AP` are of masks, too."
    return table


def _score_words(name: str) -> str:
    """`mask.ap_small` -> `mask AP, small`."""
    kind, _, rest = name.partition(".")
    what, _, of = rest.partition("_")
    return f"{kind} {what.upper()}{of and ', '}{F1_WORDS.get(of, of)}" if rest else f"Kaggle {kind[-4:]}"


def _optional(value: float | None) -> str:
    return "" if value is None else _number(value)


def _table(title: str, first: str) -> Table:
    table = Table(
        title=escape(title), title_justify="left", title_style="bold", caption_justify="left",
        box=box.SIMPLE_HEAD, header_style="bold dim",
    )  # fmt: skip
    table.add_column(first, style="bold", overflow="fold")
    return table


def _cells(figure: Figure) -> Iterable[str]:
    low, high = _number(figure.low), _number(figure.high)
    return _number(figure.value), f"{low}-{high}", _number(figure.trivial)


def _number(value: float) -> str:
    return f"{value:.3f}".lstrip("0") if 0 < value < 0.9995 else f"{value:.3g}" if math.isfinite(value) else "-"
