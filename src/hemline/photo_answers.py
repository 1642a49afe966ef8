"""The photos that a network answers worst and best, as a piece of an HTML page: the answer beside the truth.

A photo's score is `SetReport.photo_scores`. Where its set draws masks, also of networks that find instances, it is the
mean IoU of the classes that the photo's truth or its answer shows, background included: the table's mean IoU, of this
photo alone. Where nothing is drawn, it is the average precision with which the labels' probabilities rank the labels
that are true of the photo among those that are known of it. The answer is the one that `hemline predict --draw` gives:
cleaned masks at the thresholds of the weights.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from html import escape
from io import BytesIO
from typing import NamedTuple

import numpy as np
from PIL import Image

from hemline._answered import Answered
from hemline.data.loading import Source
from hemline.data.sample import UNKNOWN, WHOLE_PHOTO, Sample
from hemline.data_commands.sheet import Thing, annotated, size_within, things_of
from hemline.draw import colours_of
from hemline.evaluate import Answerer, Report, SetReport, answered_photos, truth_map
from hemline.metadata import Metadata
from hemline.metrics import MaskScores
from hemline.result import Result

WORST, BEST = 6, 4
"""Photos of a page, shared among its sets; each set has at least one of either."""
WIDTH, HEIGHT = 300, 400
"""Pixels of a picture, at most."""
PICTURE_BYTES = 1_900_000
"""Of all pictures of a page; as text they are a third more."""
MOST_WORDS = 12
"""Words listed of a photo's labels."""

PHOTO_STYLE = """
.photos{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,430px),1fr));gap:16px;margin-top:8px}
.photos h4{margin:0 0 8px;font-size:14px;overflow-wrap:anywhere}.photos h4 b{float:right;margin-left:12px}
.two{display:grid;grid-template-columns:1fr 1fr;gap:12px}.two figure{margin:0;min-width:0}
.two img{width:100%;height:auto;border-radius:6px;display:block}
.two figcaption b{color:var(--ink)}
.two ol{margin:4px 0;padding-left:24px}.two li::marker{font-weight:600}.two p{margin:4px 0;overflow-wrap:anywhere}
"""


class Chosen(NamedTuple):
    """Photos of one set by their keys: the worst begin with the worst, the best with the best."""

    worst: list[str]
    best: list[str]


def extremes(scores: Mapping[str, float], worst: int, best: int) -> Chosen:
    """The photos with the lowest and the highest scores, none twice; equal ones in the order of their keys."""
    order = sorted(scores, key=lambda key: (scores[key], key))
    last = max(min(worst, len(order)), len(order) - best)
    return Chosen(order[:worst], order[last:][::-1])


def photo_answers(
    report: Report,
    sources: Sequence[Source],
    answer: Answerer,
    metadata: Metadata,
    *,
    after: str = "",
    plain: bool = False,
) -> str:
    """A `section` with the worst and the best answers to the photos of a report; empty where none has a score.

    Args:
        report: Says how well each photo was answered.
        sources: The datasets of its sets, in the same order; those that hold nothing out have no set.
        answer: What is measured there.
        metadata: Label space, canvas, and the thresholds that answers are read by.
        after: What the heading adds: `after epoch 3`.
        plain: Show the photo as it is, too.
    """
    measured = [source for source in sources if source.held_out]
    scored = sum(bool(part.photo_scores) for part in report.sets)
    if not scored:
        return ""
    left, parts = PICTURE_BYTES, []
    for part, source in zip(report.sets, measured, strict=True):
        chosen = extremes(part.photo_scores, max(1, WORST // scored), max(1, BEST // scored))
        keys = chosen.worst + chosen.best
        position = {source.dataset.keys[index]: index for index in source.held_out}
        indices, shown = [position[key] for key in keys], {}
        for sample, answered in answered_photos(source.dataset, answer, metadata, indices, 2):
            article, size = _article(sample, answered, part, metadata, plain=plain)
            if (left := left - size) >= 0:
                shown[sample.key] = article
        for what, group in zip(Chosen._fields, chosen, strict=True):
            articles = "".join(shown[key] for key in group if key in shown)
            if articles:
                title = f"{part.name}: the {what} of {len(part.photo_scores):,} photos"
                parts.append(f'<h3>{escape(title)}</h3><div class="photos">{articles}</div>')
    kinds = {_score_name(part) for part in report.sets if part.photo_scores}
    said = " ".join(SCORE_SAID[kind] for kind in sorted(kinds, reverse=True))
    return (
        f'<section id="photos"><h2>Worst and best answers {escape(after)}</h2>'
        f"<p><strong>This page holds these photos: whoever has the file has them.</strong></p>"
        f'<p class="said">The answer is what <code>hemline predict --draw</code> would draw; the truth is what the '
        f"dataset says, hatched where it leaves open what a pixel is. {said}</p>{''.join(parts)}</section>"
    )


SCORE_SAID = {
    "mean IoU": (
        "Mean IoU is that of the photo alone, over the classes that its truth or its answer shows, background "
        "included; what is no garment, such as skin, counts and is not drawn."
    ),
    "label AP": (
        "Label AP is the average precision with which the labels' probabilities rank what is true of the photo among "
        "what is known of it."
    ),
}


def _score_name(part: SetReport) -> str:
    return "mean IoU" if part.masks else "label AP"


def _article(
    sample: Sample, answered: Answered, part: SetReport, metadata: Metadata, *, plain: bool
) -> tuple[str, int]:
    """One photo as markup, and the bytes of its pictures."""
    space = metadata.labels
    shown = {category.name for category in space.categories if category.shown}
    result = answered.result(sample)
    truth = [t for t in things_of(sample, space) if not t.categories or t.name in shown]
    blank = replace(
        sample, segments=np.zeros_like(sample.segments), targets=np.full_like(sample.targets[:1], UNKNOWN)
    )  # no pixel of the answer is left open
    pictures = [
        _figure("Answer", blank, things_said(result), [f"{g.score:.2f}" for g in result.garments_and_parts],
                _words(f"{label.label} {label.score:.2f}" for label in result.labels)),
        _figure("Truth", sample, truth, [""] * len(truth), _truth_words(sample, answered, part, metadata)),
    ]  # fmt: skip
    if plain:
        pictures = [_photo(blank), *pictures[::-1]]      # photo, truth, answer
    score = part.photo_scores[sample.key]
    markup = (
        f'<article class="card"><h4>{escape(sample.key)} <b>{_score_name(part)} {score:.3f}</b></h4>'
        f'<div class="two{" three" if plain else ""}">{"".join(text for text, _ in pictures)}</div></article>'
    )
    return markup, sum(size for _, size in pictures)


def things_said(result: Result) -> list[Thing]:
    """What an answer holds, in the order of its drawing."""
    pieces = result.garments_and_parts
    return [
        Thing(
            name=piece.category,
            colour=colour,
            mask=np.zeros(result.size, np.bool_) if piece.mask is None else piece.mask,
            attributes=[attribute.label for attribute in piece.attributes],
            categories=[],
        )
        for piece, colour in zip(pieces, colours_of([piece.category_id for piece in pieces]), strict=True)
    ]


def _figure(what: str, sample: Sample, things: Sequence[Thing], scores: Sequence[str], words: str) -> tuple[str, int]:
    """A picture with the names of its numbers; and its bytes."""
    size = size_within(sample.photo.shape[:2], WIDTH, HEIGHT)
    picture = _jpeg(annotated(sample, things, size))
    items = "".join(
        f"<li>{escape(', '.join([f'{thing.name} {score}'.strip(), *thing.attributes]))}"
        f"{'' if thing.mask.any() else ', place unknown'}</li>"
        for thing, score in zip(things, scores, strict=True)
    )
    nothing = "<p>nothing is found</p>" if what == "Answer" else "<p>nothing is drawn</p>"
    listed = f"<ol>{items}</ol>" if things else nothing
    count = "1 garment" if len(things) == 1 else f"{len(things)} garments"
    alt = f"{what} drawn on {sample.key}: {count}, listed below"
    text = f"<figure>{_img(picture, size, alt)}<figcaption><b>{what}</b>{listed}{words}</figcaption></figure>"
    return text, len(picture)


def _photo(blank: Sample) -> tuple[str, int]:
    """The photo as it is; and its bytes."""
    size = size_within(blank.photo.shape[:2], WIDTH, HEIGHT)
    picture = _jpeg(annotated(blank, [], size))
    shown = _img(picture, size, f"The photo {blank.key}")
    return f"<figure>{shown}<figcaption><b>Photo</b></figcaption></figure>", len(picture)


def _img(picture: bytes, size: tuple[int, int], alt: str) -> str:
    return (
        f'<img alt="{escape(alt)}" width="{size[0]}" height="{size[1]}" '
        f'src="data:image/jpeg;base64,{base64.b64encode(picture).decode()}">'
    )


def _truth_words(sample: Sample, answered: Answered, part: SetReport, metadata: Metadata) -> str:
    """What the score is made of: of masks the IoU of each class, of labels the rank of each that is true."""
    if part.masks:
        ious = class_ious(sample, answered, metadata)
        return f"<p>IoU: {escape(', '.join(f'{name} {iou:.2f}' for name, iou in ious.items()))}</p>"
    space = metadata.labels
    names = [category.name for category in space.categories] + [label.name for label in space.labels]
    regions = [r for r in sample.regions if r.segments == WHOLE_PHOTO and not r.doubt]
    known = np.flatnonzero(np.logical_or.reduce([region.labels >= 0 for region in regions]))
    true = np.logical_or.reduce([region.labels == 1 for region in regions])
    order = known[np.argsort(-answered.photo[known], kind="stable")].tolist()
    ranks = [f"{names[k]} {rank}" for rank, k in enumerate(order, start=1) if true[k]]
    return f"<p>True, and the rank that each is given among {len(known)} known labels: {escape(', '.join(ranks))}</p>"


def class_ious(sample: Sample, answered: Answered, metadata: Metadata) -> dict[str, float]:
    """The IoU of each class that a photo's truth or its answer shows, the worst first; their mean is its score."""
    layer = metadata.layers[0]
    scores = MaskScores(["background", *(metadata.labels.mask_names[k] for k in layer)])
    scores.update(answered.class_map(layer), truth_map(sample, metadata.labels, layer))
    classes = scores.compute(resamples=1).classes if len(scores) else []
    return {c.name: c.iou.value for c in sorted(classes, key=lambda c: c.iou.value)}


def _words(words: Iterable[str]) -> str:
    listed = list(words)
    more = f" and {len(listed) - MOST_WORDS} more" if len(listed) > MOST_WORDS else ""
    return f"<p>The whole photo: {escape(', '.join(listed[:MOST_WORDS]))}{more}</p>" if listed else ""


def _jpeg(picture: Image.Image) -> bytes:
    content = BytesIO()
    picture.save(content, "JPEG", quality=78, optimize=True)
    return content.getvalue()
