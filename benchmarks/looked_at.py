r"""Sheets of garments of validation photos to look at, chosen by seed, and a table to write verdicts in.

    uv run benchmarks/looked_at.py WEIGHTS --out DIR --seed 0 --count 60 \
        --data ccp=PATH --data clothing_attributes=PATH --data clothing_dataset=PATH     WEIGHTS may be `default`
    uv run benchmarks/looked_at.py --tally DIR/garments.md      the shares of the verdicts written there

The garments are chosen by what the datasets say, not by what the weights answer, so every file of weights is looked at
on the same ones: as many of each set, and within a set each category in turn, so that rare ones occur. DIR holds
sheets of 12 (`sheet_1.png` ...) and `garments.md`, which says at its top how to judge.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from held_out import HeldOut, Opened, arguments, opened, run
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from hemline import Garment, Result
from hemline.data import Sample
from hemline.data.sample import WHOLE_PHOTO
from hemline.draw import DARK, INK, PAPER, colours_of, fitted, font_of, overlay, plain_text
from hemline.errors import DataError
from hemline.labels import Category, LabelSpace
from hemline.whole_files import whole_file

PER_SHEET, COLUMNS = 12, 3
CELL, PICTURE, LINE = 532, 330, 17
"""Pixels: a cell's width, its pictures' height, a line's height."""
LINES = 6
"""Of text below the pictures."""
CUT, WHOLE = 330, 190
"""Pixels of width: of the cut around the garment, and of the whole photo."""
AROUND = 0.15
"""What the cut shows around the garment, of the longer side of its box."""
OVERLAP = 0.2
"""Least IoU with the garment's drawn mask that an answer of another category is taken for it."""
VERDICTS = ("right", "wrong", "unclear", "not found"), ("good", "partial", "bad", "none")
CRITERIA = """\
# Garments looked at

Weights `{weights}`, seed {seed}: {count} garments of validation photos, chosen by what the datasets say of them.
`asked`: the category that the dataset names. `answer`: the garment that was answered there: of that category; else the
one that covers most of the drawn mask; else, where nothing is drawn, the largest of the same part of the outfit.

Judge by the picture, not by the dataset. Fill the last columns; `python benchmarks/looked_at.py --tally FILE` counts.

- **category**: `right`: a shop would accept the word for the garment that the mask lies on. `wrong`: it would not.
  `unclear`: two words of the list would do, or the picture does not say. `not found`: the garment asked for is there,
  and no answer lies on it. `-`: it cannot be seen in the photo; such a row does not count.
- **mask**: `good`: what a person would cut out, but for edges and holes of about a twentieth of it. `partial`: more
  than half of the garment, or all of it with up to as much again of something else. `bad`: less or worse. `none`: there
  is no mask.
- **attributes right**, **attributes wrong**: how many of the attributes that are answered of it are true, and how many
  are not; those of which the picture does not tell are in neither.
- **colours**: `right`: the largest colour's name is one that a shop would use for the garment. `wrong`: it is not.
- **extra**: how many garments the whole photo's answer holds that are not there, the judged one aside: hallucinations
  and second names for one garment.
"""
HEADS = (
    "number", "set", "key", "asked", "answer", "truth", "category", "mask", "attributes right", "attributes wrong",
    "colours", "extra",
)  # fmt: skip


class Chosen(NamedTuple):
    """A garment to look at."""

    name: str
    """The set."""
    photo: int
    """Its position there."""
    category: Category
    """What the dataset says that it is."""


def main() -> None:
    """Read the arguments; count verdicts, or draw the sheets and write the table."""
    if sys.argv[1:2] == ["--tally"] and len(sys.argv) == 3:
        print("\n".join(tally(Path(sys.argv[2]))))
        return
    parser = arguments(__doc__)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="a folder for sheets and garments.md")
    parser.add_argument("--seed", type=int, default=0, help="another seed chooses others (0)")
    parser.add_argument("--count", type=int, default=60, help="garments in all (60)")
    args = parser.parse_args()
    lent = opened(args.weights, args.data)
    chosen = choose(lent, args.count, args.seed)
    args.out.mkdir(parents=True, exist_ok=True)
    cells, rows = [], []
    for number, one in enumerate(chosen, start=1):
        sample = lent.sets[one.name].dataset[one.photo]
        read = lent.tagger.read(sample.photo, name=sample.key)
        result = lent.tagger.result(read, lent.tagger.infer([read])[0])
        garment = answer_of(result, sample, one.category)
        truth = ", ".join(truths(sample, lent.metadata.labels))
        cells.append(cell(number, one, sample, result, garment, truth))
        said = "nothing" if garment is None else ", ".join(words(garment))
        rows.append((str(number), one.name, sample.key.partition("/")[2], one.category.name, said, truth, *[""] * 6))
    for start in range(0, len(cells), PER_SHEET):
        with whole_file(args.out / f"sheet_{start // PER_SHEET + 1}.png") as temporary:
            sheet(cells[start : start + PER_SHEET]).save(temporary, "PNG")
    head = CRITERIA.format(weights=lent.metadata.name, seed=args.seed, count=len(chosen))
    lines = [f"| {' | '.join(row)} |" for row in (HEADS, ["---"] * len(HEADS), *rows)]
    with whole_file(args.out / "garments.md") as temporary:
        temporary.write_text(head + "\n" + "\n".join(lines) + "\n", encoding="utf-8")
    print(args.out / "garments.md")


# -- which garments ----------------------------------------------------------------------------------------------


def choose(lent: Opened, count: int, seed: int) -> list[Chosen]:
    """Garments by seed: as many of each set, categories in turn, no photo twice."""
    shares = np.full(len(lent.sets), count // len(lent.sets))
    shares[: count % len(lent.sets)] += 1
    space, chosen = lent.metadata.labels, []
    for place, ((name, part), share) in enumerate(zip(lent.sets.items(), shares.tolist(), strict=True)):
        chosen += _in_turn(name, part, space, share, np.random.default_rng([seed, place]))
    return chosen


def _in_turn(name: str, part: HeldOut, space: LabelSpace, count: int, rng: np.random.Generator) -> list[Chosen]:
    """Garments of one set: the rarest category first, then the next, and again."""
    labels = np.stack([part.dataset.photo_labels(index) for index in part.indices])
    shown = [c for c in space.categories if c.shown]
    waiting = {c: rng.permutation(np.flatnonzero(labels[:, c.index] == 1)).tolist() for c in shown}
    order = sorted((c for c in waiting if waiting[c]), key=lambda c: (len(waiting[c]), c.index))
    taken: dict[int, Category] = {}
    while len(taken) < count and any(waiting.values()):
        for category in order:
            fresh = [at for at in waiting[category] if at not in taken]
            waiting[category] = fresh[1:]
            if fresh and len(taken) < count:
                taken[fresh[0]] = category
    return [Chosen(name, part.indices[at], category) for at, category in taken.items()]


def answer_of(result: Result, sample: Sample, asked: Category) -> Garment | None:
    """The garment that was answered where the dataset names one; None where none was."""
    same = [garment for garment in result.garments if garment.category == asked.name]
    if same:
        return same[0]
    drawn = (sample.targets[:, asked.index] == 1)[sample.segments]
    if drawn.any():
        best = max(result.garments, key=lambda garment: _iou(garment, drawn), default=None)
        return best if best is not None and _iou(best, drawn) >= OVERLAP else None
    return next((garment for garment in result.garments if garment.outfit_part == asked.outfit_part), None)


def _iou(garment: Garment, drawn: NDArray[np.bool_]) -> float:
    if garment.mask is None:
        return 0.0
    return float((garment.mask & drawn).sum() / (garment.mask | drawn).sum())


def truths(sample: Sample, space: LabelSpace) -> list[str]:
    """What is known to be true of the whole photo, hidden words too."""
    known = next((r.labels for r in sample.regions if r.segments == WHOLE_PHOTO), np.zeros(space.num_labels))
    return [thing.name for thing in (*space.categories, *space.labels) if known[thing.index] == 1]


# -- the sheets --------------------------------------------------------------------------------------------------


def words(garment: Garment) -> list[str]:
    """What was answered of a garment."""
    colours = [f"{colour.shade or colour.name} {colour.share:.0%}" for colour in garment.colours]
    found = "" if garment.found_by == "mask" else " (by the photo's label)"
    attributes = [f"{x.label} {x.score:.2f}" for x in garment.attributes]
    return [f"{garment.category} {garment.score:.2f}{found}", *attributes, *colours]


def cell(
    number: int, one: Chosen, sample: Sample, result: Result, garment: Garment | None, truth: str
) -> Image.Image:
    """One garment: the photo cut around it with its outline, the whole photo's answer, and the words below."""
    image = Image.new("RGB", (CELL, PICTURE + LINES * LINE + 14), PAPER)
    cut, around = sample.photo.copy(), (0, 0, sample.photo.shape[1], sample.photo.shape[0])
    if garment is not None and garment.mask is not None and garment.box is not None:
        x, y, width, height = garment.box
        margin = round(AROUND * max(width, height))
        around = (
            max(0, x - margin), max(0, y - margin),
            min(cut.shape[1], x + width + margin), min(cut.shape[0], y + height + margin),
        )  # fmt: skip
    left, top, right, bottom = around
    scale = min(CUT / (right - left), PICTURE / (bottom - top))
    size = max(1, round((right - left) * scale)), max(1, round((bottom - top) * scale))
    piece = np.array(Image.fromarray(cut[top:bottom, left:right]).resize(size))
    if garment is not None and garment.mask is not None:
        mask = Image.fromarray(garment.mask[top:bottom, left:right]).resize(size)
        outline(piece, np.array(mask).astype(np.uint8), colours_of([garment.category_id])[0])
    image.paste(Image.fromarray(piece), (0, 0))
    whole = overlay(sample.photo, result)[0]
    whole.thumbnail((WHOLE, PICTURE))
    image.paste(whole, (CUT + 6, 0))
    lines = [f"{number}. asked: {one.category.name}   {sample.key[:40]}"]
    lines += wrapped("answer: " + ("nothing there" if garment is None else ", ".join(words(garment))), 3)
    others = ", ".join(each.category for each in result.garments if each is not garment)
    lines += wrapped(f"others: {others or 'none'}", 1) + wrapped(f"truth: {truth}", 1)
    pen = ImageDraw.Draw(image)
    for row, line in enumerate(lines[:LINES]):
        pen.text((2, PICTURE + 4 + row * LINE), line, INK, font_of(13))
    return image


def outline(piece: NDArray[np.uint8], mask: NDArray[np.uint8], colour: tuple[int, int, int]) -> None:
    """Outline a mask (H, W) of 0 and 1 on a picture, whose inside stays as it is."""
    edges, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    for stroke, thickness in ((DARK, 4), (colour, 2)):
        cv2.polylines(piece, edges, True, stroke, thickness, cv2.LINE_AA)


def wrapped(text: str, most: int) -> list[str]:
    """The text in at most so many lines that fit a cell."""
    font, lines = font_of(13), [""]
    for word in plain_text(text).split(" "):
        joined = f"{lines[-1]} {word}".strip()
        if font.getlength(joined) <= CELL - 8:
            lines[-1] = joined
        else:
            lines.append(word)
    if len(lines) > most:
        lines = [*lines[: most - 1], fitted(lines[most - 1] + " ...", font, CELL - 8)]
    return lines


def sheet(cells: Sequence[Image.Image]) -> Image.Image:
    """Cells in rows."""
    height, rows = cells[0].height, -(-len(cells) // COLUMNS)
    page = Image.new("RGB", (COLUMNS * CELL, rows * height), PAPER)
    for place, each in enumerate(cells):
        page.paste(each, (place % COLUMNS * CELL, place // COLUMNS * height))
    return page


# -- the verdicts ------------------------------------------------------------------------------------------------


def tally(file: Path) -> Iterator[str]:
    """The shares of the verdicts in a table, as lines.

    Raises:
        DataError: the file cannot be read, or a verdict is none of those that it explains.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise DataError(f"{file}: not a readable text ({error})") from error
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if re.match(r"\| \d", line)]
    for row in rows:
        if len(row) != len(HEADS) or row[6] not in (*VERDICTS[0], "-") or row[7] not in (*VERDICTS[1], "-"):
            raise DataError(f"{file}: row {row[0]} has no verdict, or one that is not explained at the top")
    counted = [row for row in rows if row[6] != "-"]
    for name in ("all", *dict.fromkeys(row[1] for row in rows)):
        part = [row for row in counted if name in ("all", row[1])]
        yield f"{name}: {len(part)} garments"
        for column, options in ((6, VERDICTS[0]), (7, VERDICTS[1]), (10, ("right", "wrong"))):
            counts = Counter(row[column] for row in part)
            yield "  " + HEADS[column] + ": " + ", ".join(f"{option} {counts[option]}" for option in options)
        right, wrong, extra = (sum(int(row[at] or 0) for row in part if row[at] != "-") for at in (8, 9, 11))
        yield f"  attributes: right {right}, wrong {wrong}; extra garments: {extra}"


if __name__ == "__main__":
    run(main)
