"""What an export found, for the terminal: how the graph drifted, and what int8 loses."""

from __future__ import annotations

from collections.abc import Iterator

from rich import box
from rich.table import Table

from hemline.drift import Drift
from hemline.export import Exported
from hemline.report import Report


def summary(done: Exported) -> list[str]:
    """What was tried, in lines."""
    drift = done.drift
    lines = [f"calibrated with {done.calibrated} photos, tried on others"] if done.calibrated else []
    if done.unread:
        lines.append(f"{len(done.unread)} photos cannot be read and are left out; the first: {done.unread[0]}")
    lines.append(
        f"on {drift.photos} photos, {drift.pixels:.3%} of the pixels change their class ({drift.worst_pixels:.2%} of "
        f"the worst photo), a score by {drift.score:.2g} at most and {drift.mean_score:.2g} on average, "
        f"one of a garment by {drift.garment_score:.2g}"
    )
    return lines


def drift_table(drift: Drift) -> Table:
    """What became of each label and mask class, on photos without truth."""
    table = Table(box=box.SIMPLE_HEAD, header_style="bold dim", title=f"Against the checkpoint, {drift.photos} photos")
    for column in ("mask or label", "group"):
        table.add_column(column, no_wrap=True)
    for column in ("photos before", "changed", "drift"):
        table.add_column(column, justify="right")
    for one in drift.labels:
        table.add_row(one.name, one.kind, str(one.before), str(one.changed), f"{one.drift:.4f}")
    table.caption = "Drift: of a mask, 1 - IoU with the checkpoint's; of a label, its probability's mean difference."
    return table


def figures_table(before: Report, after: Report) -> Table:
    """The figures of both on labelled photos, for each mask class and label."""
    table = Table(box=box.SIMPLE_HEAD, header_style="bold dim", title=f"On labelled photos ({before.split})")
    for column in ("set", "mask or label", "figure"):
        table.add_column(column, no_wrap=True)
    for column in ("photos", "before", "int8", "difference"):
        table.add_column(column, justify="right")
    new = {(where, name, figure): value for where, name, figure, _, value in _figures(after)}
    for where, name, figure, photos, value in _figures(before):
        now = new.get((where, name, figure))
        cells = ("-", "-") if now is None else (f"{now:.3f}", f"{now - value:+.3f}")
        table.add_row(where, name, figure, str(photos), f"{value:.3f}", *cells)
    return table


def _figures(report: Report) -> Iterator[tuple[str, str, str, int, float]]:
    """Set, name, figure, photos or rows that show it, value."""
    for part in report.sets:
        for masks in (part.masks, part.part_masks):
            if masks is not None:
                yield part.name, "all masks", "mean IoU", masks.photos, masks.mean_iou.value
                for one in masks.classes:
                    yield part.name, one.name, "IoU", one.photos, one.iou.value
        for labels, figure in ((part.labels, "AP"), (part.garments, "AP of garments")):
            if labels is not None and labels.labels:
                yield part.name, "all labels", f"mean {figure}", labels.photos, labels.mean_average_precision.value
                for label in labels.labels:
                    yield part.name, label.name, figure, label.positives, label.average_precision.value
