"""The sections of an evaluation's page between the summary and the photos, from plain data.

What a set has no data for is left out, and a sentence says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from hemline.data_commands.charts import Cell, heat_map
from hemline.evaluation_charts import Bar, at_threshold, bars, curve, reliability, table
from hemline.evaluation_summary import interval, main_figures
from hemline.page import card
from hemline.report_sections import number, report_sections
from hemline.size_scores import EDGES, FOUND, SIZES

Plain = Mapping[str, Any]
MOST_CLASSES = 40
"""Of a confusion: those with the most pixels."""
MOST_CURVES = 60
"""Of a set: the labels with the most yes; `figures.json` has the rest."""
MOST_CONFUSED = 8
"""Pairs of classes that are named."""
WORST = 8
"""Labels whose reliability is drawn."""
KINDS = {"labels": "labels of the photo", "garments": "attributes of garments"}


def sections(figures: Plain) -> dict[str, str]:
    """The sections by their ids, in reading order."""
    sets = list(zip(figures["report"]["sets"], figures["sets"], strict=True))

    def section(key: str, title: str, said: str, make: Callable[[Plain, Plain], str], missing: str) -> str:
        """A section that `make` fills, set by set."""
        bodies, without = [], []
        for part, more in sets:
            if body := make(part, more):
                bodies.append(body)
            else:
                without.append(part["name"])
        lacking = f"<p class='said'>{escape(missing.format(', '.join(without)))}</p>" if without else ""
        intro = f"<p class='said'>{escape(said)}</p>" if bodies else ""
        return f'<section id="{key}"><h2>{escape(title)}</h2>{intro}{"".join(bodies)}{lacking}</section>'

    return {
        "sources": _sources(figures),
        "classes": section(
            "classes", "Class by class", "The bar is the figure, the thin line its 95 % interval, the mark what an "
            "answer scores that ignores the photo. IoU: pixels both drawn and true, divided by those that are either. "
            "AP (average precision): 1 if all that is true is answered more surely than anything that is not. Click a "
            "heading to sort.", _classes, "{}: no class and no label can be scored."),
        "confusion": section(
            "confusion", "What is taken for what", "Each row is what a pixel truly is, each column what it was "
            "answered as; rows sum to 100 %. The diagonal is right. Point at a cell for its pixels.", _confusion,
            "{}: no pixel's class is known, so there is no confusion."),
        "curves": section(
            "curves", "Precision and recall", "Precision: the share of answers that is right; recall: the share of "
            "what is true that is answered. A lower threshold moves right along the curve; the dot is the threshold in "
            "use, the dashed line is chance.", _curves,
            "{}: no label is known both yes and no, so there are no curves."),
        "calibration": section(
            "calibration", "Are scores probabilities?", "On the dashed diagonal, of answers that score 0.8, eight of "
            "ten are true; below it, the weights are too sure. Larger dots are more answers.", _calibration,
            "{}: no label is known both yes and no, so there is no calibration."),
        "sizes": section(
            "sizes", "By garment size", "A garment is all that a photo's truth shows of one class; its size is its "
            "share of the photo's known pixels. IoU is that of each garment in its photo alone, found is an IoU of "
            f"{FOUND:g} or more. What is drawn where there is nothing has no true size, and lowers no row.", _sizes,
            "{}: no map of classes shows a garment, so there is no size to sort by."),
        "tables": "<section id='tables'><h2>All tables</h2><p class='said'>For those who know the terms, which "
        f"docs/scores.md explains.</p>{report_sections(figures['report'])}"
        f"{''.join(_other_tables(part) for part, _ in sets)}<p class='said'>All figures stand in figures.json "
        "beside this page.</p></section>",
    }  # fmt: skip


def terms(figures: Plain, shown: int) -> str:
    """Whose photos are measured and shown, and under which terms.

    Args:
        figures: As `hemline.evaluation_figures` gives them.
        shown: Photos that the page holds.
    """
    report, sets = figures["report"], figures["report"]["sets"]
    rows = [[part["name"], f"{part['photos']:,}", part.get("terms") or "not stated"] for part in sets]
    said = (
        f"This page holds {shown:,} photos of the sets below, which may show people: whoever has the file has them. "
        "Pass it on only as the terms of the sets allow." if shown else "This page holds no photo."
    )  # fmt: skip
    body = _rows("photos measured", ("data", "photos", "terms"), rows)
    if report.get("split"):
        height, width = report["canvas"]
        body += (
            f"<p class='said'>Split: {escape(report['split'])}; labels: {escape(report['label_space'])}; photos are "
            f"seen at {height} x {width} pixels; run by {escape(report['runtime'])} on {escape(report['device'])}"
            f"{', mirrored too' if report['flip'] else ''}.</p>"
        )
    if figures["license"]:
        learnt = [[x["name"], f"{x['photos']:,}", x["terms"]] for x in figures["license"]["data"]]
        body += f"<h3>Weights</h3><p>Licence of the weights: {escape(figures['license']['weights'])}.</p>"
        body += _rows("what the weights learnt from", ("data", "photos", "terms"), learnt) if learnt else ""
    return f"<section id='terms'><h2>Data and licences</h2><p><strong>{escape(said)}</strong></p>{body}</section>"


def _rows(caption: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in heads)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return (
        f'<div class="scroll"><table class="list words"><caption>{escape(caption)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


# -- data sources ----------------------------------------------------------------------------------------------------


def _sources(figures: Plain) -> str:
    sets = figures["report"]["sets"]
    names = list(dict.fromkeys(name for part in sets for name in main_figures(part)))
    rows = [["photos", *(f"{part['photos']:,}" for part in sets)]]
    for name in names:
        found = [main_figures(part).get(name) for part in sets]
        rows.append([name, *(f"{number(x['value'])}{interval(x)}" if x else "-" for x in found)])
    said = "Sets know different things, and each is scored by what it knows: compare across a row with care."
    body = _rows("main figures, with 95 % intervals", ("figure", *(part["name"] for part in sets)), rows)
    shared = _shared_labels(sets)
    if shared:
        body += "<h3>Labels that several sets know</h3>" + _rows(
            "average precision, with what chance scores", ("label", *(part["name"] for part in sets)), shared
        )
    elif len(sets) > 1:
        body += "<p class='said'>No label is scored in more than one set.</p>"
    else:
        body += "<p class='said'>One set was measured, so there is nothing to compare it with.</p>"
    return (
        f"<section id='sources'><h2>By data source</h2><p class='said'>{said}</p><div class='card'>{body}</div>"
        "</section>"
    )


def _shared_labels(sets: Sequence[Plain]) -> list[list[str]]:
    """A row for each label that is scored in two sets or more."""
    rows = []
    for key, what in KINDS.items():
        scored = [{x["name"]: x for x in (part.get(key) or {}).get("labels", [])} for part in sets]
        for name in dict.fromkeys(name for labels in scored for name in labels):
            if sum(name in labels for labels in scored) > 1:
                found = [labels[name]["average_precision"] if name in labels else None for labels in scored]
                cells = [f"{number(x['value'])}, chance {number(x['trivial'])}" if x else "-" for x in found]
                rows.append([name if key == "labels" else f"{name} ({what})", *cells])
    return rows


# -- classes, confusion ----------------------------------------------------------------------------------------------


def _classes(part: Plain, more: Plain) -> str:
    cards = []
    for key, what in (("masks", "masks"), ("part_masks", "masks of parts")):
        if masks := part.get(key):
            rows = [_bar_of(c["name"], c["iou"], c["photos"]) for c in masks["classes"]]
            said = f"IoU of each class; {masks['photos']:,} photos have a known pixel."
            if never := [c["name"] for c in masks["classes"] if not c["photos"]]:
                said += f" In no photo, so that any answer is wrong: {', '.join(never)}."
            cards.append(card(f"{part['name']}: {what}", said, bars("IoU", rows, "photos", "all background")))
    if categories := (part.get("instances") or {}).get("categories"):
        masked = any(c["mask"] is not None for c in categories)
        rows = [Bar(c["name"], c["mask" if masked else "box"], None, None, c["prior"], c["drawn"]) for c in categories]
        said = (
            f"Average precision of {'masks' if masked else 'boxes'}; no interval is measured of it. Prior: the same "
            "answer in every photo."
        )
        cards.append(card(f"{part['name']}: garments one by one", said, bars("AP", rows, "drawn", "prior")))
    for key, what in KINDS.items():
        if labels := part.get(key):
            rows = [_bar_of(x["name"], x["average_precision"], x["positives"]) for x in labels["labels"]]
            said = f"Average precision of each label; {labels['photos']:,} photos know any."
            cards.append(card(f"{part['name']}: {what}", said, bars("AP", rows, "yes", "chance")))
    return "".join(cards)


def _bar_of(name: str, figure: Plain, support: int) -> Bar:
    return Bar(name, figure["value"], figure["low"], figure["high"], figure["trivial"], support)


def _confusion(part: Plain, more: Plain) -> str:
    found = [(what, part[key]) for key, what in (("masks", "masks"), ("part_masks", "masks of parts")) if part.get(key)]
    return "".join(_confusion_card(f"{part['name']}: {what}", masks) for what, masks in found)


def _confusion_card(title: str, masks: Plain) -> str:
    pixels = np.array(masks["confusion"], np.int64)
    names = masks["confusion_classes"]
    there = np.flatnonzero(pixels.sum(0) + pixels.sum(1))
    chosen = there[np.argsort(-(pixels.sum(0) + pixels.sum(1))[there], kind="stable")][:MOST_CLASSES].tolist()
    cells: list[list[Cell]] = []
    pairs = []
    for row in chosen:
        total = int(pixels[row].sum())
        cells.append([_cell(names, row, column, int(pixels[row, column]), total) for column in chosen])
        pairs += [(int(pixels[row, c]) / total, row, c) for c in chosen if c != row and total]
    worst = [f"{names[row]} for {names[column]} ({share:.0%})"
             for share, row, column in sorted(pairs, reverse=True)[:MOST_CONFUSED] if share]  # fmt: skip
    said = f"Taken most often: {'; '.join(worst)}." if worst else "No pixel is taken for another class."
    if len(chosen) < len(there):
        said += f" The {MOST_CLASSES} classes with the most pixels of {len(there)}."
    shown = [names[k] for k in chosen]
    return card(title, said, heat_map(shown, shown, cells, "% of the row"))


def _cell(names: Sequence[str], row: int, column: int, pixels: int, total: int) -> Cell:
    if not total:
        return None
    share = pixels / total
    said = f"{names[row]} answered as {names[column]}: {share:.1%} of its pixels, {pixels:,} of {total:,}"
    return share, f"{100 * share:.0f}" if share >= 0.01 else "", said


# -- labels ----------------------------------------------------------------------------------------------------------


def _curves(part: Plain, more: Plain) -> str:
    cards = []
    for key, what in KINDS.items():
        if not more[key]:
            continue
        points = {one["name"]: one["points"] for one in more[key]["curves"]}
        labels = sorted(part[key]["labels"], key=lambda label: -label["positives"])
        drawn = labels[:MOST_CURVES]
        said = f"{len(drawn)} of {len(labels)} labels, those with the most yes first."
        recalls = [i / 10 for i in range(1, 11)]
        rows = [[x["name"], *(_precision_at(points[x["name"]], recall) for recall in recalls), at_threshold(x)]
                for x in drawn]  # fmt: skip
        body = f'<div class="multiples">{"".join(curve(label, points[label["name"]]) for label in drawn)}</div>'
        heads = ["label", *(f"{recall:g}" for recall in recalls), "threshold"]
        cards.append(card(f"{part['name']}: {what}", said, body + table("precision at each recall", heads, rows)))
    return "".join(cards)


def _precision_at(points: Sequence[Sequence[float]], recall: float) -> str:
    """Of the first point that reaches a recall."""
    return number(next((point[1] for point in points if point[2] >= recall), None))


def _calibration(part: Plain, more: Plain) -> str:
    cards = []
    for key, what in KINDS.items():
        found = (more[key] or {}).get("calibration")
        if not found:
            continue
        overall, labels = found["overall"], {one["name"]: one for one in found["labels"]}
        said = (
            f"Expected calibration error {number(overall['error'])} over {overall['known']:,} answers: the mean "
            "difference of score and share that is true, in ten bins of equal width; each answer of each label counts "
            "alike."
        )
        said += " Garments that were not found have no score and do not count." if key == "garments" else ""
        body = (
            f'<div class="beside"><div class="reliable">{reliability(overall, width=290)}</div>'
            f"<div>{_rows('overall', BIN_HEADS, _bin_rows(overall))}</div></div>"
        )
        worst = found["worst"][:WORST]
        if worst:
            pictures = "".join(
                f"<figure><figcaption><b>{escape(name)}</b><br>error {number(one['error'])}; "
                f"{one['positives']:,} of {one['known']:,}</figcaption>{reliability(one, line=False)}</figure>"
                for name, one in zip(worst, map(labels.__getitem__, worst), strict=True)
            )
            rows = [[name, *row] for name in worst for row in _bin_rows(labels[name])]
            body += (
                f'<h3>The labels with the highest error</h3><div class="multiples">{pictures}</div>'
                f"{table('bins of these labels', ('label', *BIN_HEADS), rows)}"
            )
        else:
            body += "<p class='said'>No label has enough yes and no to be judged alone.</p>"
        rows = [[one["name"], f"{one['positives']:,}", f"{one['known']:,}", number(one["error"])]
                for one in found["labels"]]  # fmt: skip
        body += table("expected calibration error", ("label", "yes", "known", "error"), rows, "the error of each label")
        cards.append(card(f"{part['name']}: {what}", said, body))
    return "".join(cards)


BIN_HEADS = ("scores from", "answers", "mean score", "true", "95 %")


def _bin_rows(found: Plain) -> list[list[str]]:
    rows = []
    for one in found["bins"]:
        ends = {"low": one["true_low"], "high": one["true_high"]}
        cells = [number(one["score"]), number(one["true"]), interval(ends).strip(" ()")]
        rows.append([f"{one['low']:.1f}", f"{one['answers']:,}", *cells])
    return rows


# -- sizes, other tables ---------------------------------------------------------------------------------------------


def _sizes(part: Plain, more: Plain) -> str:
    if not more["sizes"]:
        return ""
    between = {size: f"{low:.0%} to {high:.0%}" for size, low, high in zip(SIZES, EDGES[:-1], EDGES[1:], strict=True)}
    bodies = []
    for key, what in (("iou", "mean IoU"), ("found", "share found")):
        rows = [_bar_of(f"{x['size']} ({between[x['size']]})", x[key], x["garments"]) for x in more["sizes"]]
        bodies.append(bars(what, rows, "garments", "all background"))
    photos = "; ".join(f"{x['size']} ones in {x['photos']:,} photos" for x in more["sizes"])
    return card(part["name"], f"{photos}.", "".join(bodies))


def _other_tables(part: Plain) -> str:
    """What `report_sections` has no table of: soft scores, and garments that were repainted."""
    body = ""
    if soft := part.get("soft"):
        rows = [[x["name"], number(x["iou"]), number(x["f1"])] for x in soft["classes"]]
        rows.append(["mean", number(soft["iou"]), number(soft["f1"])])
        body += table("probabilities without a threshold, at 256 x 256; see docs/scores.md", ("class", "IoU", "F1"),
                      rows, "Soft IoU and F1")  # fmt: skip
    if test := part.get("transplant"):
        rows = [[x["pattern"], f"{x['trials']:,}", f"{number(x['passed']['value'])}{interval(x['passed'])}",
                 number(x["passed"]["trivial"]), *(number(x[key]) for key in ("rose", "stayed", "passed_beside"))]
                for x in test["patterns"]]  # fmt: skip
        heads = ("painted", "trials", "passed", "coin", "rose", "stayed", "both")
        said = test["missing"] or f"{test['garments']:,} garments of {test['photos']:,} photos repainted one at a time"
        body += table(said, heads, rows, "Transplant")
    return card(f"{part['name']}: other tests", "", body) if body else ""
