"""Attributes read from the whole photo beside attributes read under the garment's mask, on the same photos.

    uv run benchmarks/pooled.py WEIGHTS --data ccp=PATH --data clothing_attributes=PATH --data clothing_dataset=PATH

For each set and attribute, the validation photos count of which the truth says the same of the photo and of a garment
in it, and in which the network finds that garment. Average precision once by the photo's logit, once by the logit
under the mask that the network itself draws (of the garment's category; of several possible ones the largest). The
interval of the difference is a paired bootstrap over photos. Prints Markdown; `--out FILE` writes it, too.

Photos in which the garment is not found are counted, and have no part in the comparison: there is no logit under a
mask that is not there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from held_out import HeldOut, Opened, Pair, answers, arguments, opened, paired_precision, run, shown, spread
from numpy.typing import NDArray

from hemline._answered import MapsAnswer
from hemline._bootstrap import Floats
from hemline._tally import _attributes_of, _categories_of
from hemline.data import Sample
from hemline.data.sample import UNKNOWN, WHOLE_PHOTO
from hemline.labels import LabelSpace
from hemline.whole_files import whole_file

BATCH = 8
LEAST = 5
"""Photos with a label and without it: of fewer no figure is given."""
TOP = """\
# Attributes of the whole photo and of garments

Weights `{weights}`, validation photos, those alone of which the truth says the same of the photo and of a garment that
the network finds. Average precision with its 95 % bootstrap interval; the difference is paired: above 0, the garment's
own mask says more than the photo. Not found: photos that say something of a garment which has no mask in the answer.
Labels with fewer than {least} photos on either side are left out.

| label | set | yes / known | not found | chance | photo | under the mask | difference |
|---|---|--:|--:|--:|--:|--:|--:|
"""


@dataclass
class Rows:
    """What is known and said of attributes, photo by photo; L labels."""

    photo: list[Floats] = field(default_factory=list)
    """(L,) logits of the whole photo."""
    garment: list[Floats] = field(default_factory=list)
    """(L,) logits under the garment's mask."""
    truth: list[NDArray[np.int8]] = field(default_factory=list)
    """(L,) what is true of both; -1 where one is unknown or they differ."""
    missed: Counter[int] = field(default_factory=Counter)
    """By label, photos whose garment was not found."""

    def add(self, sample: Sample, said: MapsAnswer, space: LabelSpace) -> None:
        """Count one photo and its answer."""
        whole = next((r for r in sample.regions if r.segments == WHOLE_PHOTO and not r.doubt), None)
        if whole is None:
            return
        truth = np.full(space.num_labels, UNKNOWN, np.int8)
        scores = np.zeros(space.num_labels)
        missed = np.zeros(space.num_labels, bool)
        for region in (r for r in sample.regions if r.segments != WHOLE_PHOTO and not r.doubt):
            may_be = _categories_of(region, sample, space)
            found = said.garment(sample, region, may_be) if may_be else None
            known = _attributes_of(region, [found.category] if found else may_be, space)
            same = (known != UNKNOWN) & (known == whole.labels) & (truth == UNKNOWN)
            if found is None:
                missed |= same
                continue
            truth[same], scores[same] = known[same], found.labels[same]
        self.missed.update(np.flatnonzero(missed & (truth == UNKNOWN)).tolist())
        if (truth != UNKNOWN).any():
            self.photo.append(said.photo.astype(np.float64))
            self.garment.append(scores)
            self.truth.append(truth)


def main() -> None:
    """Read the arguments, answer all photos, print the table."""
    parser = arguments(__doc__)
    parser.add_argument("--limit", type=int, metavar="N", help="at most so many photos of each set, evenly spaced")
    parser.add_argument("--out", type=Path, metavar="FILE", help="a Markdown file to write")
    args = parser.parse_args()
    lent = opened(args.weights, args.data)
    rows = {name: rows_of(lent, part, args.limit) for name, part in lent.sets.items()}
    text = TOP.format(weights=lent.metadata.name, least=LEAST) + "\n".join(table(rows, lent.metadata.labels)) + "\n"
    if args.out is not None:
        with whole_file(args.out) as temporary:
            temporary.write_text(text, encoding="utf-8")
    print(text)


def rows_of(lent: Opened, part: HeldOut, limit: int | None) -> Rows:
    """Answer the validation photos of one set."""
    rows, chosen = Rows(), spread(part.indices, limit)
    for start in range(0, len(chosen), BATCH):
        samples = [part.dataset[i] for i in chosen[start : start + BATCH]]
        for sample, said in zip(samples, answers(lent, [sample.photo for sample in samples]), strict=True):
            rows.add(sample, said, lent.metadata.labels)
    return rows


def table(rows: dict[str, Rows], space: LabelSpace) -> Iterator[str]:
    """The rows of the table: each label of each set, then means."""
    attributes = slice(len(space.categories), space.num_labels)
    told = {name: each for name, each in rows.items() if each.truth}
    blocks = [np.stack(each.truth)[:, attributes] for each in told.values()]
    for block in blocks:
        few = np.minimum((block == 1).sum(0), (block == 0).sum(0)) < LEAST
        block[:, few] = UNKNOWN
    for at, (name, each) in enumerate(told.items()):
        first, second = (np.stack(side)[:, attributes] for side in (each.photo, each.garment))
        pairs, mean = paired_precision(first, second, blocks[at])
        for label, pair, truth in zip(space.labels, pairs, blocks[at].T, strict=True):
            if pair is not None:
                yes, known = int((truth == 1).sum()), int((truth >= 0).sum())
                cells = label.name, name, f"{yes} / {known}", str(each.missed[label.index]), f"{yes / known:.3f}"
                yield _line(*cells, pair=pair)
        if any(pair is not None for pair in pairs):
            yield _line(f"**mean of {sum(pair is not None for pair in pairs)}**", name, "", "", "", pair=mean)
    if len(told) > 1:                                    # a label of two sets counts twice; photos of all are drawn
        first, second = (_diagonal([np.stack(side)[:, attributes] for side in sides], 0.0) for sides in (
            [each.photo for each in told.values()], [each.garment for each in told.values()]
        ))  # fmt: skip
        pairs, mean = paired_precision(first, second, _diagonal(blocks, UNKNOWN).astype(np.int8))
        yield _line(f"**mean of {sum(pair is not None for pair in pairs)}**", "all", "", "", "", pair=mean)


def _diagonal(blocks: list[NDArray[np.float64]] | list[NDArray[np.int8]], filler: float) -> Floats:
    """Blocks (P, L) of several sets as one array, each with rows and columns of its own."""
    whole = np.full((sum(len(block) for block in blocks), sum(block.shape[1] for block in blocks)), float(filler))
    row = column = 0
    for block in blocks:
        whole[row : row + block.shape[0], column : column + block.shape[1]] = block
        row, column = row + block.shape[0], column + block.shape[1]
    return whole


def _line(*cells: str, pair: Pair) -> str:
    figures = shown(pair.first), shown(pair.second), shown(pair.difference, sign=True)
    return f"| {' | '.join((*cells, *figures))} |"


if __name__ == "__main__":
    run(main)
