"""From logits to masks without training: what other ways of reading the same maps would score, and other views.

    uv run benchmarks/decoding.py PATH/TO/ccp [WEIGHTS.safetensors]

Mean IoU over the protocol's classes on Clothing Co-Parsing's validation photos, and by how much each way differs from
the one that ships, as `hemline evaluate` reads them, on the same photos: 95 % bootstrap intervals over photos. What has
a parameter fitted to photos is fitted on one half of them and measured on the other (`halves`); the rest has none, or
is printed for several.

- `no rule`: the largest margin over its threshold wins each pixel.
- `second guesses R`: a class that wins less than R of the cells where it passes, beside another, does not compete
  (`hemline._regions.LEAST_RIVALRY` is what ships).
- `expected IoU L`: besides, classes are taken out, the worst first, while one's expected IoU (the sum of its
  probabilities where it won, over what it won and the sum of them elsewhere) is below L.
- `ranked L`: of each class the pixels that its expected IoU is best with (after RankSEG, Dai, Li, 2023,
  https://www.jmlr.org/papers/v24/22-0712.html), where two want one the surer takes it, and none whose best is below L.
- `photo label W`: W times the log of the photo label's probability added to a category's margins.
- `offsets`: one a class, added to its margins, the best for mean IoU on one half of the photos.
- `flip`, `480 x 320`, ...: the mean of logits over views, read as what ships.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from hemline._bootstrap import resample
from hemline._regions import LEAST_RIVALRY, logit
from hemline._tally import class_names, truth_map
from hemline.checkpoint import load_network
from hemline.data import as_trained, build_dataset, split_indices
from hemline.data.stratify import held_out_of
from hemline.metadata import with_teaching
from hemline.metrics import IGNORED, MaskScores
from hemline.photo import place, unplace
from hemline.runtime import weights_file

Maps = NDArray[np.float32]
CANVASES = ((480, 320), (576, 384))
STEP = 4
"""Pixels of which one is looked at along each side where offsets are fitted."""


class Photo(NamedTuple):
    """What a way of reading is given: (C, H, W) margins over the thresholds, and (C,) log probabilities of labels."""

    margins: Maps
    labels: Maps
    """Of the whole photo; 0 of what is no category."""


Way = Callable[[Photo], NDArray[np.intp]]


def win(margins: Maps, competing: NDArray[np.bool_]) -> NDArray[np.intp]:
    """(H, W) 0 nobody, 1 + c the competing class with the largest margin."""
    kept = np.where(competing[:, None, None], margins, -np.inf)
    return np.where(kept.max(0) > 0, 1 + kept.argmax(0), 0)


def no_second_guess(margins: Maps, least: float) -> NDArray[np.bool_]:
    """(C,) classes that win enough of where they pass."""
    flat = margins.reshape(len(margins), -1)
    passing = flat > 0
    won = passing & (flat >= flat.max(0))
    there = passing.astype(np.float32) @ won.astype(np.float32).T
    return np.asarray(passing.any(1) & (won.sum(1) >= least * there.max(1)))


def by_rule(least: float) -> Way:
    """What ships, with any share of cells to be won."""
    return lambda photo: win(photo.margins, no_second_guess(photo.margins, least))


def by_expected_iou(least: float, offset: float) -> Way:
    """Take out classes whose expected IoU is low; `offset` is the threshold's logit."""

    def read(photo: Photo) -> NDArray[np.intp]:
        competing = no_second_guess(photo.margins, LEAST_RIVALRY)
        chance = 0.5 + 0.5 * np.tanh((photo.margins + offset) / 2)
        while True:
            owner = win(photo.margins, competing)
            expected = {}
            for c in np.flatnonzero(competing).tolist():
                won = owner == 1 + c
                inside = float(chance[c][won].sum())
                expected[c] = inside / max(1e-6, won.sum() + float(chance[c].sum()) - inside)
            worst = min(expected, key=expected.__getitem__, default=None)
            if worst is None or expected[worst] >= least:
                return owner
            competing[worst] = False

    return read


def by_rank(least: float) -> Way:
    """Each class the pixels that its expected IoU is best with."""

    def read(photo: Photo) -> NDArray[np.intp]:
        competing = no_second_guess(photo.margins, LEAST_RIVALRY)
        kept = np.where(competing[:, None, None], photo.margins, -1e4)
        logits = np.concatenate([np.zeros_like(kept[:1]), kept]).reshape(len(kept) + 1, -1)
        odds = np.exp(logits - logits.max(0))
        chance = odds / odds.sum(0)
        ranked = -np.sort(-chance, axis=1)
        shared = ranked.cumsum(1)
        expected = shared / (np.arange(1, chance.shape[1] + 1) + chance.sum(1, keepdims=True) - shared)
        best = expected.argmax(1)
        rows = np.arange(len(chance))
        sureness = chance / np.maximum(ranked[rows, best], 1e-6)[:, None]
        sureness[1:][expected[rows, best][1:] < least] = 0
        return sureness.argmax(0).reshape(photo.margins.shape[1:])

    return read


def by_photo_label(weight: float) -> Way:
    """Lower the margins of categories that the photo's label does not see."""

    def read(photo: Photo) -> NDArray[np.intp]:
        margins = photo.margins + weight * photo.labels[:, None, None]
        return win(margins, no_second_guess(margins, LEAST_RIVALRY))

    return read


def pairs_of(owner: NDArray[np.intp], truth: NDArray[np.uint8], num: int) -> NDArray[np.int64]:
    """(num, num) pixels of truth answered as."""
    known = truth != IGNORED
    return np.bincount(truth[known].astype(np.intp) * num + owner[known], minlength=num * num).reshape(num, num)


def mean_iou(pairs: NDArray[np.int64]) -> float:
    """Over the classes that occur."""
    hit, there = np.diag(pairs), pairs.sum(0) + pairs.sum(1) - np.diag(pairs)
    return float((hit[there > 0] / there[there > 0]).mean())


def fit_offsets(photos: list[tuple[Maps, NDArray[np.uint8]]]) -> NDArray[np.float32]:
    """(C,) what to add to each class's margins for the best mean IoU, one class after the other, twice."""
    margins = np.concatenate([m[:, ::STEP, ::STEP].reshape(len(m), -1) for m, _ in photos], axis=1)
    truth = np.concatenate([t[::STEP, ::STEP].ravel() for _, t in photos])
    margins, truth = margins[:, truth != IGNORED], truth[truth != IGNORED].astype(np.intp)
    num, offsets = len(margins) + 1, np.zeros(len(margins), np.float32)
    for _ in range(2):
        for c in range(len(margins)):
            rest = margins + offsets[:, None]
            rest[c] = -np.inf
            rival = np.maximum(rest.max(0), 0)
            other = np.where(rest.max(0) > 0, 1 + rest.argmax(0), 0)
            scores = {}
            for step in np.arange(-1.5, 1.51, 0.25).tolist():
                owner = np.where(margins[c] + step > rival, 1 + c, other)
                pairs = np.bincount(truth * num + owner, minlength=num * num).reshape(num, num)
                scores[step] = mean_iou(pairs) - 0.001 * abs(step)
            offsets[c] = max(scores, key=scores.__getitem__)
    return offsets


class Table:
    """Scores of each way, photo by photo."""

    def __init__(self, classes: list[str]) -> None:
        self.classes = classes
        self.scores: dict[str, MaskScores] = {}

    def add(self, way: str, owner: NDArray[np.intp], truth: NDArray[np.uint8]) -> None:
        """Count one photo, read one way."""
        self.scores.setdefault(way, MaskScores(self.classes)).update(owner, truth)

    def show(self, base: str) -> None:
        """Mean IoU, and the difference to `base` over the same draws of photos."""
        spread = {way: _spread(scores) for way, scores in self.scores.items()}
        print("\n| way | mean IoU | difference, 95 % of draws | pixel accuracy |\n|---|---|---|---|")
        for way, scores in self.scores.items():
            apart = np.percentile(spread[way] - spread[base], (2.5, 97.5))
            report = scores.compute(resamples=1)
            said = "" if way == base else f"{apart[0]:+.3f} to {apart[1]:+.3f}"
            print(f"| {way} | {report.mean_iou.value:.4f} | {said} | {report.pixel_accuracy.value:.4f} |")


def _spread(scores: MaskScores) -> NDArray[np.float64]:
    drawn = resample(len(scores))
    hit, true, said = (drawn @ each for each in scores.sums())
    either = true + said - hit
    iou = np.divide(hit, either, out=np.full(hit.shape, np.nan), where=either > 0)
    return np.asarray(np.nanmean(iou, axis=1))


def main(folder: Path, weights: str) -> None:
    """Measure every way."""
    network, metadata = load_network(weights_file(weights, ".safetensors"))
    space, layer = with_teaching(metadata), list(metadata.layers[0])
    dataset = build_dataset(as_trained(metadata.recipe, "ccp", folder), space)
    offset = float(logit(metadata.mask_thresholds[layer[0]]))
    category = [k < len(space.categories) for k in layer]
    ways: dict[str, Way] = {"ships": by_rule(LEAST_RIVALRY), "no rule": by_rule(0)}
    ways |= {f"second guesses {x}": by_rule(x) for x in (0.2, 0.5, 0.6, 0.8)}
    ways |= {f"expected IoU {x}": by_expected_iou(x, offset) for x in (0.2, 0.3, 0.35, 0.4)}
    ways |= {f"ranked {x}": by_rank(x) for x in (0.0, 0.3, 0.35, 0.4)}
    ways |= {f"photo label {x}": by_photo_label(x) for x in (0.1, 0.2, 0.5)}
    table, kept = Table(class_names(space, layer)), []

    def answer(pixels: NDArray[np.uint8], canvas: tuple[int, int]) -> list[Maps]:
        """Logits (C, H, W) of a photo and of its mirror image turned back, and labels of the first."""
        placed = place(pixels, canvas)
        both = [np.stack([x, x[:, ::-1]]) for x in (placed.pixels, placed.valid)]
        with torch.inference_mode():
            said = network(*(torch.from_numpy(x) for x in both))
        masks = said.masks.numpy()[:, layer]
        ones = [np.ascontiguousarray(masks[0]), np.ascontiguousarray(masks[1][..., ::-1])]
        return [*(unplace(x, placed.frame, canvas) for x in ones), said.labels.numpy()[0, 0]]

    share = float(metadata.recipe.get("validation", 1 / 7))
    for index in split_indices(dataset, "validation", share, held_out_of(metadata.data).get("ccp")):
        sample = dataset[index]
        if len(sample.targets) == 1:
            continue
        truth = truth_map(sample, space, layer)
        plain, mirrored, labels = answer(sample.photo, metadata.canvas)
        said = np.array(
            [-np.logaddexp(0, -labels[k]) if is_one else 0.0 for k, is_one in zip(layer, category, strict=True)]
        )
        for name, way in ways.items():
            table.add(name, way(Photo(plain - offset, said)), truth)
        views = [(plain + mirrored) / 2]
        table.add("flip", ways["ships"](Photo(views[0] - offset, said)), truth)
        for canvas in CANVASES:
            views.append(sum(answer(sample.photo, canvas)[:2]) / 2)
            name = f"{canvas[0]} x {canvas[1]}, flip"
            table.add(name, ways["ships"](Photo(views[-1] - offset, said)), truth)
            name = " + ".join(f"{h}" for h, _ in (metadata.canvas, *CANVASES[: len(views) - 1])) + ", flip"
            table.add(name, ways["ships"](Photo(sum(views) / len(views) - offset, said)), truth)
        kept.append(((plain - offset)[:, ::2, ::2].astype(np.float16), truth[::2, ::2]))
        print(".", end="", file=sys.stderr, flush=True)
    table.show("ships")
    halves = Table(table.classes)
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(len(kept))
        for ours, others in ((order[::2], order[1::2]), (order[1::2], order[::2])):
            offsets = fit_offsets([(kept[i][0].astype(np.float32), kept[i][1]) for i in others])
            for i in ours:
                margins = kept[i][0].astype(np.float32)
                halves.add(f"ships, order {seed}", ways["ships"](Photo(margins, said)), kept[i][1])
                moved = margins + offsets[:, None, None]
                halves.add(f"offsets, order {seed}", ways["ships"](Photo(moved, said)), kept[i][1])
    print("\nat half size, fitted on the other half of the photos:")
    halves.show("ships, order 0")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) == 3 else "default")
