"""The tables of an evaluation as pieces of an HTML page, from the plain data that `Report.to_dict` gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from hemline.page import card, sort_table, tiles

Plain = Mapping[str, Any]
"""Plain data, as JSON holds it; a key may be missing, as weights of other versions have it."""


def report_sections(report: Plain) -> str:
    """Each set of a report: its main figures, and what they are made of in tables to open."""
    return "".join(_set(part) for part in report.get("sets", []))


def number(value: float | None) -> str:
    """A figure of 0..1, or nothing."""
    return "-" if value is None else f"{value:.3f}"


def _set(part: Plain) -> str:
    figures = [
        (name, number(figure.get("value")), f"{_interval(figure)}; without looking {number(figure.get('trivial'))}")
        for name, figure in _main(part)
    ]
    tables = [
        *(
            _details(f"IoU of each class: {what}", _CLASS_HEADS, [_class_row(c) for c in masks.get("classes", [])])
            for what, masks in (("masks", part.get("masks")), ("masks of parts", part.get("part_masks"))) if masks
        ),
        *(
            _details(f"AP of each label: {what}", _LABEL_HEADS, [_label_row(x) for x in labels.get("labels", [])])
            for what, labels in (("of the photo", part.get("labels")), ("of garments", part.get("garments"))) if labels
        ),
        *_instances(part.get("instances") or {}),
    ]  # fmt: skip
    left_out = part.get("left_out") or []
    if left_out:
        title = f"left out, for want of a yes or a no of them ({len(left_out)})"
        tables.append(f"<details><summary>{title}</summary><p>{escape(', '.join(left_out))}</p></details>")
    what = f"{part.get('photos', 0):,} photos; {part.get('terms', '')}"
    return card(str(part.get("name", "")), what, f"{tiles(figures)}{''.join(tables)}")


def _main(part: Plain) -> list[tuple[str, Plain]]:
    """The figures that stand above the tables."""
    masks, parts = part.get("masks") or {}, part.get("part_masks") or {}
    found: list[tuple[str, Plain | None]] = [
        ("mean IoU", masks.get("mean_iou")),
        ("mean Dice", masks.get("mean_dice")),
        ("pixel accuracy", masks.get("pixel_accuracy")),
        ("mean IoU of parts", parts.get("mean_iou")),
        ("mean AP of labels", (part.get("labels") or {}).get("mean_average_precision")),
        ("mean AP of attributes of garments", (part.get("garments") or {}).get("mean_average_precision")),
    ]
    found += [(target.get("what", ""), target.get("score")) for target in part.get("targets") or []]
    return [(name, figure) for name, figure in found if figure]


def _instances(report: Plain) -> list[str]:
    """Garments one by one: the scores, and AP of each category."""
    keys = ("value", "ceiling", "empty", "prior")
    scores = [_row(x.get("name", ""), *(number(x.get(key)) for key in keys)) for x in report.get("scores", [])]
    of_each = ("box", "mask", "with_attributes", "prior")
    categories = [
        _row(x.get("name", ""), f"{x.get('drawn', 0):,}", *(number(x.get(key)) for key in of_each))
        for x in report.get("categories", [])
    ]
    heads = ("category", "drawn", "box AP", "mask AP", "IoU+F1", "prior")
    return [
        _details("Garments one by one", ("score", *keys), scores),
        _details("AP of each category", heads, categories),
    ]


_CLASS_HEADS = ("class", "photos", "pixels", "IoU", "95 %", "all background", "Dice")
_LABEL_HEADS = ("label", "yes", "known", "AP", "95 %", "chance", "F1", "at")


def _class_row(c: Plain) -> str:
    iou, dice = c.get("iou") or {}, c.get("dice") or {}
    figures = (number(iou.get("value")), _interval(iou), number(iou.get("trivial")), number(dice.get("value")))
    return _row(c.get("name", ""), f"{c.get('photos', 0):,}", f"{c.get('pixels', 0):,}", *figures)


def _label_row(x: Plain) -> str:
    ap, f1 = x.get("average_precision") or {}, x.get("f1") or {}
    figures = (number(ap.get("value")), _interval(ap), number(ap.get("trivial")), number(f1.get("value")))
    return _row(
        x.get("name", ""), f"{x.get('positives', 0):,}", f"{x.get('known', 0):,}", *figures, number(x.get("threshold"))
    )


def _interval(figure: Plain) -> str:
    low, high = figure.get("low"), figure.get("high")
    return "" if low is None or high is None else f"{low:.3f} to {high:.3f}"


def _row(name: str, *cells: str) -> str:
    """A row of a table; what is a number is sorted as one."""
    tds = "".join(f'<td data-value="{_sorted_by(cell)}">{escape(cell)}</td>' for cell in cells)
    return f"<tr><td>{escape(name)}</td>{tds}</tr>"


def _sorted_by(cell: str) -> str:
    return "-1" if cell in ("", "-") else escape(cell.replace(",", "").partition(" ")[0])


def _details(title: str, heads: Sequence[str], rows: Sequence[str]) -> str:
    if not rows:
        return ""
    sorted_heads = [(heads[0], "ascending"), *((head, "descending") for head in heads[1:])]
    return f"<details><summary>{escape(title)} ({len(rows)})</summary>{sort_table(sorted_heads, rows)}</details>"
