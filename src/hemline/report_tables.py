"""An evaluation's figures as tables for the terminal."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from rich import box
from rich.markup import escape
from rich.table import Table

from hemline._bootstrap import Figure
from hemline.fitted_scores import CalibrationError
from hemline.instance_report import InstanceReport
from hemline.metrics import FREQUENT, LabelReport, MaskReport
from hemline.report import Report, SetReport
from hemline.soft_scores import BATCH, SIDE, SoftReport
from hemline.transplant import MOST_CHANGE, TransplantReport

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
    return [*tables, calibration_table(report)] if report.calibration else tables


def _say_left_out(tables: Sequence[Table], part: SetReport) -> None:
    """Under the last table."""
    if tables and part.left_out:
        caption = str(tables[-1].caption or "")
        said = f"Left out, for want of a yes or a no of them in {part.name}: {', '.join(part.left_out)}."
        tables[-1].caption = f"{caption}\n{escape(said)}".strip()


def _target_table(part: SetReport, report: Report) -> Table:
    table = new_table(f"{part.name}: what it is judged by, {part.photos} photos ({report.split})", "score")
    for heading in ("photos", "value", "95 %", "chance", "wanted"):
        table.add_column(heading, justify="right", no_wrap=True)
    for target in part.targets:
        table.add_row(target.what, str(target.photos), *_cells(target.score), number(target.wanted))
    unknown = [word for target in part.targets if target.name == "mean_average_precision" for word in target.left_out]
    if unknown:
        table.caption = escape(f"Left out, for want of a yes or a no of them: {', '.join(unknown)}.")
    return table


def _mask_table(part: SetReport, masks: MaskReport, report: Report, what: str) -> Table:
    table = new_table(f"{part.name}: {what}, {masks.photos} photos ({report.split})", "class")
    for heading in ("photos", "pixels", "IoU", "95 %", "all bg", "Dice"):
        table.add_column(heading, justify="right", no_wrap=True)
    pixels = sum(c.pixels for c in masks.classes)
    for c in masks.classes:
        share = f"{c.pixels / pixels:.1%}"
        table.add_row(escape(c.name), str(c.photos), share, *_cells(c.iou), number(c.dice.value))
    table.add_section()
    rows: list[tuple[str, Figure, str]] = [
        (f"mean of {len(masks.classes)}", masks.mean_iou, number(masks.mean_dice.value)),
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
    table = new_table(f"{part.name}: soft IoU and F1, {soft.photos} photos ({report.split})", "class")
    table.min_width = 60                                 # there are few columns, and a caption
    for heading in ("IoU", "F1"):
        table.add_column(heading, justify="right", no_wrap=True)
    for score in soft.classes:
        table.add_row(escape(score.name), number(score.iou), number(score.f1))
    table.add_section()
    table.add_row(f"mean of {len(soft.classes)}", number(soft.iou), number(soft.f1), style="bold")
    batches = "1 batch" if soft.batches == 1 else f"{soft.batches} batches"
    table.caption = (
        f"Probabilities without a threshold, at {SIDE} x {SIDE}, summed over batches of {BATCH} photos; the mean of "
        f"{batches}. A class that a batch does not show scores nearly 0 there. Not to be compared with other IoUs."
    )
    return table


def _label_table(part: SetReport, labels: LabelReport, what: str) -> Table:
    table = new_table(f"{part.name}: {what}, {labels.photos} photos", "label")
    for heading in ("yes/known", "AP", "95 %", "chance", "F1", "95 %", "always", "at"):  # the rest is in the JSON
        table.add_column(heading, justify="right", no_wrap=True)
    for label in labels.labels:
        table.add_row(
            escape(label.name),
            f"{label.positives}/{label.known}",
            *_cells(label.average_precision),
            *_cells(label.f1),
            number(label.threshold),
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
    table = new_table(title, "painted")
    for heading in ("trials", "passed", "95 %", "coin", "rose", "beside", "stayed", "both"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in test.patterns:
        rose, stayed, both = (number(share) for share in (row.rose, row.stayed, row.passed_beside))
        cells = (str(row.trials), *_cells(row.passed), rose, str(row.beside), stayed, both)
        table.add_row(escape(row.pattern), *cells, style="bold" if row.pattern == "all" else "")
    said = (
        "Passed: the painted label's score, under the true mask, rose on that garment and moved by at most "
        f"{MOST_CHANGE} on the others that could carry it. Beside: trials on photos with such others, and of these "
        "the shares that stayed on them, and that did both."
    )
    table.caption = escape(f"Not made: {test.missing}" if test.missing else said)
    return table


def calibration_table(report: Report) -> Table:
    """The calibration errors of each set, and of all together."""
    table = new_table(f"Are scores probabilities? Expected calibration error ({report.split})", "set")
    table.add_column("use", no_wrap=True)
    for heading in ("answers", "error", "labels", "their mean"):
        table.add_column(heading, justify="right", no_wrap=True)
    several = len(report.sets) > 1
    for part in report.sets:
        for one in part.calibration:
            table.add_row(escape(part.name), *error_cells(one))
    for one in report.calibration if several else ():
        table.add_row("all", *error_cells(one), style="bold")
    table.caption = (
        "Error: of all answers alike. Their mean: of labels with 15 yes and 15 no, each judged alone. Weights whose "
        "scores were fitted on these very photos look better than they are; `hemline calibrate` also measures photos "
        "that the fit has not seen."
    )
    return table


def error_cells(one: CalibrationError) -> tuple[str, ...]:
    """The use, answers, error, labels and their mean, in words."""
    return one.use, f"{one.answers:,}", number(one.error), str(one.labels), _optional(one.mean)


def instance_tables(report: InstanceReport) -> list[Table]:
    """What was found one by one, as tables."""
    table = new_table(f"{report.name}: garments one by one, {report.photos:,} photos", "score")
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
    table = new_table(f"{report.name}: AP of each category", "category")
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
    return "" if value is None else number(value)


def new_table(title: str, first: str) -> Table:
    """A table whose first column names its rows."""
    table = Table(
        title=escape(title), title_justify="left", title_style="bold", caption_justify="left",
        box=box.SIMPLE_HEAD, header_style="bold dim",
    )  # fmt: skip
    table.add_column(first, style="bold", overflow="fold")
    return table


def _cells(figure: Figure) -> Iterable[str]:
    low, high = number(figure.low), number(figure.high)
    return number(figure.value), f"{low}-{high}", number(figure.trivial)


def number(value: float) -> str:
    """Three digits behind the point; a dash where it cannot be said."""
    return f"{value:.3f}".lstrip("0") if 0 < value < 0.9995 else f"{value:.3g}" if math.isfinite(value) else "-"
