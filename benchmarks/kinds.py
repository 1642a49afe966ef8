r"""How weights do on other kinds of photos: dark, tiny, cropped, turned, several people, laid flat ...

    uv run benchmarks/kinds.py WEIGHTS --data ccp=PATH --data clothing_attributes=PATH --data clothing_dataset=PATH \
        --out DIR                              WEIGHTS may be `default`
    ... --limit 40                             at most so many photos of each set

Two things, of validation photos alone:

- Kinds with numbers are made from those photos by the seeded changes of `benchmarks/changes.py`, which move the true
  maps alike. Each is compared, photo by photo, with the answer to the unchanged photo, which is moved alike too. The
  table goes to stdout and to DIR/kinds.md.
- Kinds without labels are real photos, picked by eye and listed in `benchmarks/kinds.json`. DIR holds a sheet of each,
  as `hemline predict --draw` draws them, and kinds.md says how many have a garment at all.
"""

from __future__ import annotations

import json
import re
import sys
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from changes import CHANGES, CROPS, Shot, beside
from held_out import (
    HeldOut,
    Opened,
    Pair,
    answers,
    arguments,
    opened,
    paired_iou,
    paired_precision,
    paired_shares,
    run,
    shown,
    spread,
)  # fmt: skip
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from hemline._answered import MapsAnswer
from hemline._bootstrap import Floats
from hemline._tally import class_names
from hemline._targets import meant
from hemline.data import Sample
from hemline.data.ccp import CCP
from hemline.data.sample import UNKNOWN, WHOLE_PHOTO
from hemline.draw import INK, PAPER, font_of
from hemline.evaluate import truth_map
from hemline.labels import LabelSpace
from hemline.metrics import FREQUENT, IGNORED, MaskScores
from hemline.result import read_answer
from hemline.runtime import Answer, Detections
from hemline.tagger import Placed
from hemline.whole_files import whole_file

KEYS = Path(__file__).with_suffix(".json")
BESIDE = "two people side by side"
LEAST_SHOWN = 1 / 2000
"""Of a photo's pixels: what covers less of a changed photo need not be named."""
MOST_PICTURES, COLUMNS, WIDTH = 12, 3, 540
"""Of a sheet: pictures, how many a row, and the pixels of one."""
TOP = """\
# Other kinds of photos

Weights `{weights}`; validation photos alone: {photos}.
Seeded changes (`benchmarks/changes.py`); in brackets the 95 % bootstrap interval over photos. A difference is from the
answer to the same photos unchanged, moved as the photo was, on the same true pixels: 0 is as good as unchanged. Mean
IoU is over the classes of the protocol that occur; `in 15 photos` over those that the truth shows in {frequent} photos
or more. Named: F1 of the garments' names in the answer against those drawn.
"""
MASK_HEADS = (
    "kind", "photos", "mean IoU", "difference", "in 15 photos", "difference", "pixel accuracy", "named", "difference",
)  # fmt: skip
LABEL_HEADS = (
    "kind", "mean AP, Stanford", "difference", "top-1, clothing-dataset", "difference", "garment found",
    "largest right", "difference",
)  # fmt: skip


@dataclass
class Counted:
    """What the photos of one kind add up to; of each pair, first the answer to the photo unchanged."""

    masks: tuple[MaskScores, MaskScores]
    named: list[list[tuple[float, float]]] = field(default_factory=list)
    """Of each photo and answer: twice the names that are right, and the names given and drawn together."""
    labels: dict[str, list[tuple[Floats, Floats, NDArray[np.int8]]]] = field(default_factory=dict)
    """By set, of each photo: two answers' (W,) logits of the protocol's words, and the truth."""
    largest: list[tuple[list[str], list[str], set[str]]] = field(default_factory=list)
    """Of each photo of one item: two answers' categories, largest first, and the right ones."""

    def add_masks(self, shot: Shot, before: Sequence[str], after: MapsAnswer, crop: bool = False) -> None:
        """Count a photo with a true map.

        Args:
            shot: Changed; its maps are the truth and the answer to the unchanged photo, moved.
            before: Names of the garments of that answer.
            after: The answer to the shot.
            crop: Of the names before, only those with a pixel in the shot count.
        """
        truth, moved = shot.maps
        if crop:
            before = [x for x in before if (moved == self.masks[0].classes.index(x)).any()]
        if (truth == IGNORED).all():
            return
        for scores, classes in zip(self.masks, (moved, after.class_map(after.metadata.layers[0])), strict=True):
            scores.update(classes, truth)
        true, sure = names_drawn(truth, shot.unknown, after.metadata.labels, self.masks[0].classes)
        rows = []
        for names in (before, names_of(after, shot)):
            given = set(names) & sure
            rows.append((2.0 * len(given & true), float(len(given) + len(true))))
        self.named.append(rows)

    def add_labels(
        self,
        name: str,
        words: Sequence[int],
        sample: Sample,
        before: tuple[MapsAnswer, list[str]],
        after: MapsAnswer,
        shot: Shot,
    ) -> None:
        """Count a photo whose labels are known.

        Args:
            name: Its set.
            words: The channels of the words that the protocol scores.
            sample: The photo.
            before: The answer to it, and the names of its garments.
            after: The answer to the shot.
            shot: The photo changed.
        """
        region = next(r for r in sample.regions if r.segments == WHOLE_PHOTO and not r.doubt)
        rows = self.labels.setdefault(name, [])
        channels = list(words)
        scores = [said.photo[channels].astype(np.float64) for said in (before[0], after)]
        rows.append((scores[0], scores[1], region.labels[channels]))
        space = after.metadata.labels
        if space.teach[name].get("single_item"):
            allowed = np.any([region.labels == 1, *region.one_of], axis=0)
            right = {c.name for c in space.categories if allowed[c.index]}
            self.largest.append((before[1], names_of(after, shot), right))

    def mask_row(self) -> list[str]:
        """The cells of the photos with true maps; none where there are no such photos."""
        if not len(self.masks[0]):
            return []
        (hit, true, said), (now_hit, _, now_said) = (scores.sums() for scores in self.masks)
        named = np.array(self.named)                                     # (P, 2, 2)
        pairs = [paired_iou((hit, said), (now_hit, now_said), true, least) for least in (0, FREQUENT)]
        names = paired_shares((named[:, 0, 0], named[:, 0, 1]), (named[:, 1, 0], named[:, 1, 1]))
        right = paired_shares((hit.sum(1), true.sum(1)), (now_hit.sum(1), true.sum(1)))
        cells = [cell for pair in pairs for cell in _cells(pair)]
        return [str(len(true)), *cells, shown(right.second), *_cells(names)]

    def label_row(self) -> list[str]:
        """The cells of the photos with labels; none where there are no such photos."""
        if not self.labels:
            return []
        cells = [""] * 7
        for at, name, judge in ((0, "clothing_attributes", mean_precision), (2, "clothing_dataset", top1)):
            if name in self.labels:
                first, second, truth = (np.stack(each) for each in zip(*self.labels[name], strict=True))
                cells[at : at + 2] = _cells(judge(first, second, truth))
        if self.largest:
            found = [[float(bool(said)) for said in row[:2]] for row in self.largest]
            right = [[float(bool({*said[:1]} & row[2])) for said in row[:2]] for row in self.largest if row[2]]
            cells[4:] = [shown(of_shares(found).second), *_cells(of_shares(right))]
        return cells


def _cells(pair: Pair) -> list[str]:
    """What is said of the changed photos, and its difference from the unchanged; that of the unchanged is empty."""
    same = pair.difference.low == pair.difference.high == 0
    return [shown(pair.second), "" if same else shown(pair.difference, sign=True)]


def mean_precision(first: Floats, second: Floats, truth: NDArray[np.int8]) -> Pair:
    """Mean average precision over the words."""
    return paired_precision(first, second, truth)[1]


def top1(first: Floats, second: Floats, truth: NDArray[np.int8]) -> Pair:
    """The share of photos whose best word is the right one, among the words that the photo knows."""
    told = (truth == 1).sum(1) == 1
    rows = [np.where(truth >= 0, side, -np.inf).argmax(1) for side in (first, second)]
    each = np.arange(len(truth))
    right = np.stack([truth[each, best] == 1 for best in rows], axis=1).astype(float)
    return of_shares(right[told].tolist())


def of_shares(rows: Sequence[Sequence[float]]) -> Pair:
    """Two shares of photos, from 0 or 1 of each photo and answer."""
    first, second = np.array(rows).reshape(-1, 2).T
    ones = np.ones(len(first))
    return paired_shares((first, ones), (second, ones))


def names_drawn(
    truth: NDArray[np.uint8], unknown: NDArray[np.bool_], space: LabelSpace, names: Sequence[str]
) -> tuple[set[str], set[str]]:
    """The categories that a map shows, and those of which it is known whether they are there.

    Args:
        truth: (H, W) class numbers.
        unknown: (C,) categories of which nothing is known beside the map.
        space: The label space.
        names: The name of each class number.
    """
    area = dict(zip(names, np.bincount(truth.ravel(), minlength=256).tolist(), strict=False))
    there = {c.name for c in space.categories if area.get(c.name, 0) >= LEAST_SHOWN * truth.size}
    nowhere = {c.name for c in space.categories if not area.get(c.name, 0) and not unknown[c.index]}
    return there, there | nowhere


def names_of(said: MapsAnswer, shot: Shot) -> list[str]:
    """The categories that a user gets, largest first."""
    result = read_answer(said.masks, said.labels, said.metadata.canvas, said.frame, said.metadata, shot.photo, name="")
    return [garment.category for garment in result.garments]


def main() -> None:
    """Read the arguments, measure, write the table and the sheets."""
    parser = arguments(__doc__)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="a folder for kinds.md and the sheets")
    parser.add_argument("--limit", type=int, metavar="N", help="at most so many photos of each set, evenly spaced")
    parser.add_argument("--seed", type=int, default=0, help="of the changes (0)")
    args = parser.parse_args()
    lent = opened(args.weights, args.data)
    args.out.mkdir(parents=True, exist_ok=True)
    indices = {name: spread(measured(name, part), args.limit) for name, part in lent.sets.items()}
    photos = ", ".join(f"{len(chosen)} of {name}" for name, chosen in indices.items())
    lines = [*TOP.format(weights=lent.metadata.name, photos=photos, frequent=FREQUENT).splitlines(), ""]
    counted = count(lent, indices, args.seed)
    for heads, rows in (
        (MASK_HEADS, {kind: each.mask_row() for kind, each in counted.items()}),
        (LABEL_HEADS, {kind: each.label_row() for kind, each in counted.items()}),
    ):
        lines += [f"| {' | '.join(heads)} |", f"|---|{'--:|' * (len(heads) - 1)}"]
        lines += [*(f"| {kind} | {' | '.join(row)} |" for kind, row in rows.items() if row), ""]
    text = "\n".join([*lines, *sheets(lent, args.out)]) + "\n"
    with whole_file(args.out / "kinds.md") as temporary:
        temporary.write_text(text, encoding="utf-8")
    print(text)


# -- kinds with numbers ------------------------------------------------------------------------------------------


def measured(name: str, part: HeldOut) -> list[int]:
    """The validation photos that are measured: of Clothing Co-Parsing those with a map, of others all."""
    if name != "ccp":
        return part.indices
    mapped = CCP(part.dataset.path, part.dataset.knowledge.space, tags=False).keys  # type: ignore[attr-defined]
    return [i for i in part.indices if part.dataset.keys[i] in set(mapped)]


def count(lent: Opened, indices: dict[str, list[int]], seed: int) -> dict[str, Counted]:
    """Answer every photo, unchanged and as every kind."""
    space, names = lent.metadata.labels, class_names(lent.metadata.labels, lent.metadata.layers[0])
    counted = {kind: Counted((MaskScores(names), MaskScores(names))) for kind in (*CHANGES, BESIDE)}
    for name, chosen in indices.items():
        words = [] if name == "ccp" else [thing.index for thing in meant(space, name).values()]
        before: tuple[Shot, list[str]] | None = None
        for number, index in enumerate(chosen, start=1):
            sample = lent.sets[name].dataset[index]
            (plain,) = answers(lent, [sample.photo])
            shot = shot_of(sample, plain, space, mapped=name == "ccp")
            named = names_of(plain, shot)
            kinds = [kind for kind in CHANGES if name == "ccp" or kind not in CROPS]
            shots = {kind: changed(kind, shot, sample.key, seed) for kind in kinds}
            said = dict(zip(kinds, answers(lent, [shots[kind].photo for kind in kinds]), strict=True))
            for kind in kinds:
                if name == "ccp":
                    counted[kind].add_masks(shots[kind], named, said[kind], kind in CROPS)
                else:
                    counted[kind].add_labels(name, words, sample, (plain, named), said[kind], shots[kind])
            if name == "ccp" and number % 2 == 0 and before is not None:
                two = beside(before[0], shot)
                (of_both,) = answers(lent, [two.photo])
                counted[BESIDE].add_masks(two, before[1] + named, of_both)
            before = shot, named
            if number % 20 == 0 or number == len(chosen):
                print(f"  {name}: {number} of {len(chosen)} photos", file=sys.stderr, flush=True)
    return counted


def changed(kind: str, shot: Shot, key: str, seed: int) -> Shot:
    """A shot as a kind; the same for the same photo and seed, whatever else is measured."""
    change = CHANGES[kind]
    drawn = np.random.default_rng([seed, zlib.crc32(kind.encode()), zlib.crc32(key.encode())])
    return shot if change is None else change(shot, drawn)


def shot_of(sample: Sample, said: MapsAnswer, space: LabelSpace, *, mapped: bool) -> Shot:
    """A photo with its true map and the answer to it, where it is mapped."""
    layer = said.metadata.layers[0]
    maps = [truth_map(sample, space, layer), said.class_map(layer).astype(np.uint8)] if mapped else []
    whole = next((r.labels for r in sample.regions if r.segments == WHOLE_PHOTO), None)
    unknown = np.ones(len(space.categories), bool) if whole is None else whole[: len(space.categories)] == UNKNOWN
    return Shot(sample.photo, np.stack(maps) if maps else np.zeros((0, *sample.photo.shape[:2]), np.uint8), unknown)


# -- kinds without labels -------------------------------------------------------------------------------------------


def sheets(lent: Opened, out: Path) -> Iterator[str]:
    """Draw the sheet of each kind that was picked by eye -> lines of Markdown."""
    kinds: dict[str, list[str]] = json.loads(KEYS.read_text(encoding="utf-8"))
    there = {part.dataset.keys[i]: (part.dataset, i) for part in lent.sets.values() for i in part.indices}
    yield "## Real photos of a kind, picked by eye"
    yield ""
    yield "None is black-and-white, and none shows one person from behind. What the weights trained on is left out."
    yield ""
    yield "| kind | photos | with a garment | garments a photo | sheet |"
    yield "|---|--:|--:|--:|---|"
    for kind, keys in kinds.items():
        pictures, numbers = [], []
        for key in (key for key in keys[:MOST_PICTURES] if key in there):
            dataset, index = there[key]
            sample = dataset[index]
            result = lent.tagger.result(*_answered(lent, sample))
            numbers.append(len(result.garments))
            pictures.append((key, result.draw()))
        if not pictures:
            continue
        file = out / f"{re.sub('[^a-z]+', '_', kind)}.jpg"
        with whole_file(file) as temporary:
            sheet(kind, pictures).save(temporary, "JPEG", quality=85)
        share = sum(number > 0 for number in numbers)
        yield f"| {kind} | {len(numbers)} | {share} | {np.mean(numbers):.1f} | {file.name} |"


def _answered(lent: Opened, sample: Sample) -> tuple[Placed, Answer | Detections]:
    read = lent.tagger.read(sample.photo, name=sample.key)
    return read, lent.tagger.infer([read])[0]


def sheet(title: str, pictures: Sequence[tuple[str, Image.Image]]) -> Image.Image:
    """Pictures in rows, each below its name."""
    small = [(name, each.resize((WIDTH, round(each.height * WIDTH / each.width)))) for name, each in pictures]
    rows = [small[start : start + COLUMNS] for start in range(0, len(small), COLUMNS)]
    heights = [24 + max(picture.height for _, picture in row) for row in rows]
    page = Image.new("RGB", (COLUMNS * WIDTH, 30 + sum(heights)), PAPER)
    pen = ImageDraw.Draw(page)
    pen.text((6, 4), title, INK, font_of(18))
    y = 30
    for row, height in zip(rows, heights, strict=True):
        for column, (name, picture) in enumerate(row):
            pen.text((column * WIDTH + 6, y + 3), name, INK, font_of(13))
            page.paste(picture, (column * WIDTH, y + 24))
        y += height
    return page


if __name__ == "__main__":
    run(main)
