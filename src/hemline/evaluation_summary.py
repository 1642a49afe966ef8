"""An evaluation in plain language: the main figures with their intervals, and what they mean.

Every sentence is made from the figures of `hemline.evaluation_figures`, and says nothing that is not in them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from html import escape
from typing import Any

from hemline.metrics import FREQUENT
from hemline.page import card, tiles
from hemline.report_sections import number

Plain = Mapping[str, Any]
KINDS = {"labels": "Labels of the photo", "garments": "Attributes of garments"}
FEW = 200
"""Photos of a set below which its intervals are called wide."""
NAMED = 3
"""Classes and labels that are named, of the best and of the worst."""
SIDES = {
    "validation": "The photos were held out: the weights have not been trained on them.",
    "train": "The weights were trained on these very photos: on new ones they will do worse.",
    "test": "The photos are those that the sets publish to test on.",
    "all": "The weights may have been trained on some of these photos: on new ones they may do worse.",
}


def summary(figures: Plain) -> str:
    """The main figures as tiles, then sentences for each set."""
    report = figures["report"]
    side = SIDES.get(report.get("split") or "", "Each answer is scored as its file gives it; no photo is read.")
    sizes = {part["photos"] for part in report["sets"]}
    wide = " With few photos the intervals are wide." if min(sizes, default=0) < FEW else ""
    intro = (
        f"{side} All figures run from 0 to 1, and 1 is perfect, but for calibration errors, where 0 is. The interval "
        f"in brackets is where the figure would fall, 95 times of 100, with other photos of the same kind.{wide}"
    )
    parts = [f"<p>{escape(intro)}</p>"]
    for part, more in zip(report["sets"], figures["sets"], strict=True):
        topics = {
            "Masks": [*_masks(part), *_sizes(more)],
            "Garments one by one": _instances(part),
            **{name: [*_labels(part, key), *_calibration(more, key)] for key, name in KINDS.items()},
            "What it is judged by": _targets(part),
        }
        items = "".join(
            f"<li><b>{name}.</b> {escape(' '.join(said))}</li>" for name, sentences in topics.items()
            if (said := list(sentences))
        )  # fmt: skip
        body = f"{tiles(_tiles(part))}<ul class='short'>{items}</ul>" if items else "<p>Nothing could be scored.</p>"
        parts.append(card(part["name"], f"{part['photos']:,} photos", body))
    return "".join(parts)


def main_figures(part: Plain) -> dict[str, Plain]:
    """The figures of a set by name, each with `value`, `low`, `high` and `trivial`, where they are known."""
    masks, parts = part.get("masks") or {}, part.get("part_masks") or {}
    found = {
        "mean IoU": masks.get("mean_iou"),
        "mean IoU of parts": parts.get("mean_iou"),
        "pixel accuracy": masks.get("pixel_accuracy"),
        "mean AP of labels": (part.get("labels") or {}).get("mean_average_precision"),
        "mean AP of garments' attributes": (part.get("garments") or {}).get("mean_average_precision"),
    }
    for score in (part.get("instances") or {}).get("scores", []):
        if score["name"] in ("mask.ap", "box.ap", "kaggle2019", "kaggle2020"):
            name = score["name"].replace(".ap", " AP of garments one by one")
            found[name] = {"value": score["value"], "low": None, "high": None, "trivial": score["prior"]}
    return {name: figure for name, figure in found.items() if figure}


def interval(figure: Plain) -> str:
    """` (0.41 to 0.47)`, or nothing."""
    if figure.get("low") is None or figure.get("high") is None:
        return ""
    return f" ({figure['low']:.3f} to {figure['high']:.3f})"


def _tiles(part: Plain) -> list[tuple[str, str, str]]:
    found = []
    for name, figure in main_figures(part).items():
        said = [interval(figure).strip(" ()"), f"without looking {number(figure['trivial'])}"]
        found.append((name, number(figure["value"]), "; ".join(words for words in said if words)))
    return found


def _masks(part: Plain) -> Iterator[str]:
    masks = part.get("masks")
    if not masks:
        return
    accuracy, worn, iou = (masks[key] for key in ("pixel_accuracy", "foreground_accuracy", "mean_iou"))
    yield (
        f"{_share(accuracy)} of the pixels get the right class; calling everything background would get "
        f"{_percent(accuracy['trivial'])}. Of the pixels that are not background, {_share(worn)} do."
    )
    yield (
        f"What is drawn and what is true overlap by {number(iou['value'])}{interval(iou)} on the mean of "
        f"{len(masks['classes'])} classes (mean IoU: the pixels in both, divided by those in either)."
    )
    often = [c for c in masks["classes"][1:] if c["photos"] >= FREQUENT]
    if said := _ends(often, lambda c: c["iou"]["value"], "IoU"):
        yield f"Among the classes in {FREQUENT} photos or more, {said}."


def _sizes(more: Plain) -> Iterator[str]:
    if len(sizes := more["sizes"]) > 1:
        said = ", ".join(f"{x['size']} ones {number(x['iou']['value'])}{interval(x['iou'])}" for x in sizes)
        yield f"By size: {said} (mean IoU of the garments of a photo)."


def _instances(part: Plain) -> Iterator[str]:
    found = part.get("instances")
    if not found:
        return
    scores = {score["name"]: score for score in found["scores"]}
    said = f"{found['drawn']:,} are drawn, {found['found']:,} answers were given"
    if best := scores.get("mask.ap") or scores.get("box.ap"):
        kind = best["name"].partition(".")[0]
        said += f"; the average precision of {kind}s is {number(best['value'])}"
        said += f" (the same answer in every photo: {number(best['prior'])})"
    yield f"{said}."
    if f1 := scores.get("mask.f1"):
        yield (
            f"Of what passes the thresholds, F1 is {number(f1['value'])}: the balance of garments found and answers "
            "that are right."
        )


def _labels(part: Plain, key: str) -> Iterator[str]:
    if not (labels := part.get(key)) or not labels["labels"]:
        return
    ap = labels["mean_average_precision"]
    yield (
        f"With the surest answers first, the right ones come early with an average precision of {number(ap['value'])}"
        f"{interval(ap)}, the mean of {len(labels['labels'])} labels; in an order by chance it is "
        f"{number(ap['trivial'])}."
    )
    often = [label for label in labels["labels"] if label["positives"] >= FREQUENT]
    if said := _ends(often, lambda label: label["average_precision"]["value"], "AP"):
        yield f"Among those with {FREQUENT} yes or more, {said}."


def _calibration(more: Plain, key: str) -> Iterator[str]:
    found = (more[key] or {}).get("calibration")
    if not found:
        return
    overall = found["overall"]
    said = (
        f"Taken as probabilities, scores differ from the share that is true by {number(overall['error'])} on average "
        "(expected calibration error)"
    )
    top = overall["bins"][-1]
    if top["answers"]:
        said += (
            f"; of the {top['answers']:,} answers with a score of 0.9 or more, {_percent(top['true'])} are true, and "
            f"{_percent(top['score'])} should be"
        )
    yield f"{said}."


def _targets(part: Plain) -> Iterator[str]:
    for target in part.get("targets") or []:
        figure = target["score"]
        met = "no figure" if figure["value"] is None else "met" if figure["value"] >= target["wanted"] else "not met"
        yield (
            f"{target['what']}: {number(figure['value'])}{interval(figure)}; wanted {number(target['wanted'])} ({met})."
        )


def _ends(rows: Sequence[Plain], value: Callable[[Plain], float | None], what: str) -> str:
    """The best and the worst by name; nothing of fewer than two."""
    ranked = sorted((row for row in rows if value(row) is not None), key=lambda row: -(value(row) or 0))
    few = min(NAMED, len(ranked) // 2)
    if not few:
        return ""
    best, worst = (", ".join(f"{row['name']} {number(value(row))}" for row in some)
                   for some in (ranked[:few], ranked[::-1][:few]))  # fmt: skip
    return f"the best by {what} are {best}; the worst {worst}" if few > 1 else f"the best is {best}; the worst {worst}"


def _share(figure: Plain) -> str:
    """`93.1 % (92.0 to 94.2)`."""
    low, high = figure["low"], figure["high"]
    ends = "" if low is None or high is None else f" ({100 * low:.1f} to {100 * high:.1f})"
    return f"{_percent(figure['value'])}{ends}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"
