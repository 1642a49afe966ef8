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
NARROW = 0.02
"""Width of an interval below which a third decimal is said."""
AP_MEANT = "1 if what is true is always answered more surely than what is not"
MEANT = {
    "mean IoU": "how far what is drawn and what is true overlap",
    "mean IoU of parts": "how far drawn and true parts of garments overlap",
    "pixel accuracy": "share of pixels with the right class",
    "mean AP of labels": AP_MEANT,
    "mean AP of garments' attributes": AP_MEANT,
    "mask AP of garments one by one": "each garment found once, by its outline",
    "box AP of garments one by one": "each garment found once, by the box around it",
    "kaggle2019": "the score of iMaterialist 2019",
    "kaggle2020": "the score of iMaterialist 2020",
}
"""What each main figure is, in a clause."""
PLACE = {"mask": "outline", "box": "place"}
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
        f"{side} Below, figures run from 0 to 1, and 1 is perfect, but for calibration errors, where 0 is. In brackets "
        f"stands where a figure would lie, 95 times of 100, with other photos of the same kind.{wide} Without looking "
        "is what an answer scores that ignores the photo."
    )
    leads = "".join(
        f"<li><b>{escape(part['name'])}.</b> {escape(lead(part, more))}</li>"
        for part, more in zip(report["sets"], figures["sets"], strict=True)
    )
    parts = [f"<ul class='short lead'>{leads}</ul>", f"<p class='said'>{escape(intro)}</p>"]
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
        parts.append(card(part["name"], _count(part["photos"], "photo"), body))
    return "".join(parts)


def lead(part: Plain, more: Plain) -> str:
    """What was found of a set, in sentences that need no term of the field."""
    said = []
    if masks := part.get("masks"):
        accuracy, worn = masks["pixel_accuracy"], masks["foreground_accuracy"]
        said.append(
            f"Of 100 pixels, {_of_hundred(accuracy['value'])} get the right class; {_of_hundred(accuracy['trivial'])} "
            "would if all were called background."
        )
        if worn["value"] is not None:
            said.append(f"Of 100 pixels that show something else, {_of_hundred(worn['value'])} do.")
    for key, what in (("labels", "labels of whole photos"), ("garments", "attributes of single garments")):
        if found := (more[key] or {}).get("in_use"):
            right, answered, true, silent = (found[name] for name in ("right", "answered", "true", "never_answered"))
            said.append(
                f"Of 100 {what} that are answered, {_of_hundred(right / answered if answered else None)} are right; of "
                f"100 that are true, {_of_hundred(right / true if true else None)} are answered."
            )
            if silent:
                said.append(f"{_count(silent, 'label')} {'is' if silent == 1 else 'are'} never answered.")
    scores = {score["name"]: score["value"] for score in (part.get("instances") or {}).get("scores", [])}
    if (kind := next((kind for kind in PLACE if scores.get(f"{kind}.ap") is not None), "")) and not said:
        said.append(
            f"Of a best possible 1, finding each garment once, with its {PLACE[kind]}, scores "
            f"{scores[f'{kind}.ap']:.2f}."
        )
    return " ".join(said) or "Nothing could be scored in plain words."


def _count(number: int, what: str) -> str:
    return f"1 {what}" if number == 1 else f"{number:,} {what}s"


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
    """` (0.412 to 0.473)`, or nothing."""
    if figure.get("low") is None or figure.get("high") is None:
        return ""
    return f" ({figure['low']:.3f} to {figure['high']:.3f})"


def _tiles(part: Plain) -> list[tuple[str, str, str]]:
    found = []
    for name, figure in main_figures(part).items():
        likely = rounded(figure).partition(" (")[2].strip(")")
        said = [MEANT[name], f"likely {likely}" if likely else "", f"without looking {_short(figure['trivial'])}"]
        found.append((name, rounded(figure).partition(" ")[0], "; ".join(words for words in said if words)))
    return found


def rounded(figure: Plain) -> str:
    """`0.44 (0.41 to 0.47)`; with three decimals where the interval is so narrow that they tell something."""
    low, high = figure.get("low"), figure.get("high")
    if low is None or high is None:
        return _short(figure["value"])
    digits = 3 if high - low < NARROW else 2
    return f"{figure['value']:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _of_hundred(value: float | None) -> str:
    """`93`; where only a part of one is missing or there, `more than 99` or `fewer than 1`."""
    if value is None:
        return "none"
    return "more than 99" if 0.995 <= value < 1 else "fewer than 1" if 0 < value < 0.005 else f"{100 * value:.0f}"


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
        f"What is drawn and what is true overlap by {rounded(iou)} on the mean of "
        f"{len(masks['classes'])} classes (mean IoU: the pixels in both, divided by those in either)."
    )
    often = [c for c in masks["classes"][1:] if c["photos"] >= FREQUENT]
    if said := _ends(often, lambda c: c["iou"]["value"], "IoU"):
        yield f"Among the classes in {FREQUENT} photos or more, {said}."


def _sizes(more: Plain) -> Iterator[str]:
    if len(sizes := more["sizes"]) > 1:
        said = ", ".join(f"{x['size']} garments {rounded(x['iou'])}" for x in sizes)
        yield f"By size: {said}."


def _instances(part: Plain) -> Iterator[str]:
    found = part.get("instances")
    if not found:
        return
    scores = {score["name"]: score for score in found["scores"]}
    said = f"{found['drawn']:,} are drawn, {found['found']:,} answers were given"
    if best := scores.get("mask.ap") or scores.get("box.ap"):
        kind = best["name"].partition(".")[0]
        said += f"; the average precision of {kind}s is {_short(best['value'])}"
        said += f" (the same answer in every photo: {_short(best['prior'])})"
    yield f"{said}."
    if f1 := scores.get("mask.f1"):
        yield (
            f"Of what passes the thresholds, F1 is {_short(f1['value'])}: the balance of the share of garments that is "
            "found and the share of answers that is right."
        )


def _labels(part: Plain, key: str) -> Iterator[str]:
    if not (labels := part.get(key)) or not labels["labels"]:
        return
    ap = labels["mean_average_precision"]
    yield (
        f"Average precision (AP) is {rounded(ap)}, the mean of {_count(len(labels['labels']), 'label')}; by chance it "
        f"is {_short(ap['trivial'])}."
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
        f"Taken as probabilities, scores differ from the share that is true by {_short(overall['error'])} on average "
        "(expected calibration error)"
    )
    top = overall["bins"][-1]
    if top["answers"]:
        said += (
            f"; of the {top['answers']:,} answers with a score of 0.9 or more, {_percent(top['true'])} are true; their "
            f"mean score is {_percent(top['score'])}"
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
    best, worst = (", ".join(f"{row['name']} ({_short(value(row))})" for row in some)
                   for some in (ranked[:few], ranked[::-1][:few]))  # fmt: skip
    return f"the best by {what}: {best}; the worst: {worst}"


def _share(figure: Plain) -> str:
    """`93.1 % (92.0 to 94.2)`."""
    low, high = figure["low"], figure["high"]
    ends = "" if low is None or high is None else f" ({100 * low:.1f} to {100 * high:.1f})"
    return f"{_percent(figure['value'])}{ends}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"
