"""The text of `docs/colours.md`: what users need, then what `benchmarks/colours.py` measured."""

from __future__ import annotations

import platform
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from hemline import __version__, colour
from hemline.colour import HALF, MIN_SHARE, PROTOTYPES, SHADES

Bools = NDArray[np.bool_]
TOP = """\
# Colours

Every garment that has a mask has up to three colours, largest first, measured from its pixels. No network guesses
them.

```json
"colours": [{{"name": "red", "hex": "#6b1a2c", "share": 0.82, "shade": "burgundy"}},
            {{"name": "white", "hex": "#f0eeea", "share": 0.18, "shade": null}}],
"multicolour": false
```

- `name`: one of {count}: {names}.
- `shade`: a finer word of shops, or null where none is near and the name says it best. Tables, pictures and the
  terminal's table show it in place of the name.
- `hex`: a typical pixel in sRGB, of the better lit half of that colour: the one nearest to its median in CIE Lab.
  Light and camera are in it: it is what the photo shows, not what the dyer mixed.
- `share`: how much of the garment has that name. Less than {least:.0%} is left out, so shares may sum to less than 1.
- `multicolour`: three colours or more, none of which has {half:.0%} of the garment.

`hemline query OUT "coat and colour=burgundy"` finds shades as it finds names, `colours=olive` any of a garment's
colours, `multicolour` garments of many; `gold` stands for `old gold`, `silver` for `silver gray`.

| name | its shades |
|---|---|
{shades}

Shadow and glare: pixels are grouped by chroma relative to lightness, so that a fold stays with its cloth, and named
by their better lit half. The two pixels next to the mask's edge are left out where enough remains. **Not done**: the
light of the photo is not corrected (it was tried, below), so a white shirt under yellow lamps may be beige, and pale
washed jeans are often gray. **Not known**: what shines. `old gold` and `silver gray` are colours of cloth, such as a
light gray T-shirt's: a flat colour cannot tell metal from cloth; polished silver shoes are gray, white and black.
"""

MEASURED = """
## Measured against people's words

The Clothing Attributes Dataset of Stanford (Chen, Gallagher, Girod, ECCV 2012): six people a photo said which of ten
colours the clothes have, or that they have more than two. Photos with one or two colours count: {learnt} train,
{tested} validate (the split of the default weights, copies of a photo together). Our answer is the largest colour of
what is worn on the upper and whole body, masks by the default weights, each garment by its area, and the second where
its share is large enough. That share ({share:.0%} for ours) is fitted on the training part, for each method alone.
Navy and turquoise count as blue, as do their "blue" and "cyan": people there called navy blue, and light blue cyan.
Pink, orange and beige have no word there, so where we say them we are counted wrong. Nobody labelled shades: how well
they agree with people is not measured.

The prototypes are set by hand. Some grays, yellows and purples were set after looking at training photos; some blacks,
greens, blues and browns and many shades after looking at 1130 garments of Clothing Co-Parsing and clothing-dataset, and
kept where the figures on the training photos did not fall. The figures on the validation photos were printed beside
those and seen, so for the prototypes they are no test on photos that nobody had looked at, and may be a
little too good. Nothing fitted to the photos ships, for the dataset states no licence. Masks of training photos are
those of weights that trained on them.

### Each colour

Validation photos; in the last column F1 on the training photos.

| colour | precision | recall | F1 | photos | F1, training |
|---|--:|--:|--:|--:|--:|
{colours}

### What was compared

Mean F1 over the {asked} colours with its 95 % bootstrap interval over photos; then the interval of the difference
from ours on the same resamples. Where it holds 0, the photos cannot tell the two apart. "One colour": share of photos
with one labelled colour where it is our largest. The training part chose the method and its share; the validation part,
small, checks them. (Of the prototypes both were seen: above.)
CPU: for all photos, beside ours in the same run; the added time of a table that is fitted is left out.
The two parts disagree on eroding the mask, and no grouping is surely better than ours.

| method | F1, training | mean F1 | 95 % | difference | F1 of all answers | one colour | CPU |
|---|--:|--:|--:|--:|--:|--:|--:|
{methods}

### What is taken for what

Photos with one labelled colour, both parts; rows are people's word, columns our largest colour.

| |{heads}|
|---|{lines}
{confusion}

### Many colours

People said "more than two colours"; we say that some garment is `multicolour`. The two are not the same question:
prints of related colours are one colour here, and two people's or layered clothes are garments of their own.

| part | precision | recall | photos of many colours | share of all |
|---|--:|--:|--:|--:|
{many}

{date}. Hemline {hemline}, Python {python}, OpenCV {opencv}, numpy {numpy}; default weights,
448-pixel photos. Written by `uv run benchmarks/colours.py STANFORD`.
"""


class Truth(Protocol):
    """What people said: (P, C) the colours, and (P,) whether one or two were named."""

    colours: Bools
    settled: Bools


def page(
    photos: Sequence[Any],
    truth: Truth,
    rows: Sequence[Mapping[str, Any]],
    ours: Mapping[str, Any],
    many: Mapping[str, tuple[float, float, int, float]],
    asked: Sequence[str],
    largest: Sequence[str | None],
) -> str:
    """The whole page, of what `benchmarks/colours.py` measured; `largest` is our largest colour of each photo."""
    trains = np.array([photo.trains for photo in photos])
    learnt, tested = truth.settled & trains, truth.settled & ~trains
    top = TOP.format(
        count=len(PROTOTYPES), names=", ".join(PROTOTYPES), least=MIN_SHARE, half=HALF,
        shades=_lines([name, ", ".join(_shades(name)) or "none"] for name in PROTOTYPES),
    )  # fmt: skip
    heads = list(PROTOTYPES)
    one = truth.settled & (truth.colours.sum(1) == 1)
    counts = [[sum(one & column & (np.array(largest) == head)) for head in heads] for column in truth.colours.T]
    measured = MEASURED.format(
        learnt=learnt.sum(), tested=tested.sum(), share=ours["least"], asked=len(asked),
        colours=_lines(_each(asked, ours["answer"], truth.colours, learnt, tested)),
        methods=_lines(_compared(rows)), heads="|".join(heads), lines="--:|" * len(heads),
        confusion=_lines([word, *map(str, row)] for word, row in zip(asked, counts, strict=True)),
        many=_lines([part, f"{p:.2f}", f"{r:.2f}", str(n), f"{f:.0%}"] for part, (p, r, n, f) in many.items()),
        date=time.strftime("%Y-%m-%d"), hemline=__version__, python=platform.python_version(),
        opencv=cv2.__version__, numpy=np.__version__,
    )  # fmt: skip
    return top + measured


def _lines(rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _shades(name: str) -> list[str]:
    """The shades that may stand beside a name."""
    return [word for word in SHADES if colour._BESIDE[colour._NAMES.index(name), colour._WORDS.index(word)]]


def _each(asked: Sequence[str], answer: Bools, truth: Bools, learnt: Bools, tested: Bools) -> Iterable[list[str]]:
    found = []
    for i, name in enumerate(asked):
        right = int((answer & truth)[tested, i].sum())
        said, there = int(answer[tested, i].sum()), int(truth[tested, i].sum())
        own = 2 * (answer & truth)[learnt, i].sum() / (answer[learnt, i].sum() + truth[learnt, i].sum())
        figures = [right / max(said, 1), right / max(there, 1), 2 * right / max(said + there, 1)]
        found.append([*figures, there, own])
        yield [name, *(f"{x:.2f}" for x in figures), str(there), f"{own:.2f}"]
    mean = np.mean(found, axis=0)
    yield ["mean", *(f"{x:.3f}" for x in mean[:3]), "", f"{mean[4]:.3f}"]


def _compared(rows: Sequence[Mapping[str, Any]]) -> Iterable[list[str]]:
    for row in rows:
        (low, high), (less, more) = row["interval"][:, 0], row["against"][:, 0]
        yield [
            row["name"], f"{row['train'][0]:.3f}", f"{row['value'][0]:.3f}", f"{low:.3f} to {high:.3f}",
            "" if row is rows[0] else f"{less:+.3f} to {more:+.3f}", f"{row['value'][1]:.3f}",
            f"{row['top'][1]:.2f}", f"x {row['seconds'] / rows[0]['seconds']:.1f}",
        ]  # fmt: skip
