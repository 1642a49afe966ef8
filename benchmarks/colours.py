"""How well measured colours agree with people, beside other ways to measure them; writes `docs/colours.md`.

    uv run benchmarks/colours.py STANFORD --cache garments.pickle

STANFORD is the folder of the Clothing Attributes Dataset (`docs/data.md`). The default weights read its photos once
(minutes on one core); the cache keeps pixels of every garment, and later runs take about two minutes. What is fitted,
the share from which a colour is said and one table of names, is fitted on the training part of the split.

Shapes: P photos, C colours that people were asked for, N pixels.
"""

from __future__ import annotations

import argparse
import pickle
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io
from colours_methods import Fitted, Garment, Photo, Shares, methods
from colours_page import page
from numpy.typing import NDArray

from hemline._bootstrap import resample
from hemline.coarse import CoarseMask
from hemline.colour import Colour, _sample, colours_of, is_multicolour
from hemline.data import split_of
from hemline.data.clothing_attributes import _first_of_each
from hemline.tagger import Tagger

ASKED = ("black", "white", "gray", "brown", "blue", "red", "green", "purple", "yellow")
MEANS = {"navy": "blue", "turquoise": "blue"}
"""Our colours that go by another name there; pink, orange and beige have none."""
MARGINS = {"eroded": (2, 1), "not eroded": (), "eroded more": (4, 3, 2, 1)}
LEAST = [round(0.03 + 0.01 * i, 2) for i in range(27)]
"""Shares from which a second colour may be said."""
UPPER = ("upper body", "whole body")


@dataclass
class Truth:
    """What people said."""

    colours: NDArray[np.bool_]
    """(P, C)."""
    settled: NDArray[np.bool_]
    """(P,) one or two colours were named."""
    many: NDArray[np.bool_]
    """(P,) more than two colours."""
    asked: NDArray[np.bool_]
    """(P,) the question of many colours is settled."""


def gather(folder: Path) -> list[Photo]:
    """Read all photos with the default weights."""
    files = sorted((folder / "images").glob("*.jpg"))
    first, random = _first_of_each(files), np.random.default_rng(0)
    photos = []
    for file, result in zip(files, Tagger.load().stream(files, batch_size=8), strict=True):
        worn = [garment for garment in result.garments if garment.drawn is not None]
        worn = [garment for garment in worn if garment.outfit_part in UPPER] or worn
        garments = [
            Garment(x.area, {name: _sample(result.pixels, x.drawn, margins) for name, margins in MARGINS.items()})
            for x in worn
        ]
        flat, group = result.pixels.reshape(-1, 3), first[file].stem
        trains = split_of(f"clothing_attributes/{group}") == "train"
        photos.append(Photo(int(file.stem), group, trains, flat[random.integers(len(flat), size=1500)], garments))
    return photos


def read_truth(folder: Path, photos: list[Photo]) -> Truth:
    """The labels; blue is blue or cyan. Where copies of a photo were labelled differently, nothing is settled."""
    rows = [photo.number - 1 for photo in photos]
    said = {
        name: scipy.io.loadmat(folder / "labels" / f"{name}_GT.mat")["GT"].ravel()[rows]
        for name in (*ASKED, "cyan", "many_colors")
    }
    same: dict[str, list[int]] = {}
    for i, photo in enumerate(photos):
        same.setdefault(photo.group, []).append(i)
    for answers in said.values():
        for group in same.values():
            if len({float(x) for x in answers[group]}) > 1:
                answers[group] = np.nan
    unsettled = np.isnan(np.stack(list(said.values()))).any(0)
    colours = np.stack([said[name] == 2 for name in ASKED], 1)
    colours[:, ASKED.index("blue")] |= said["cyan"] == 2
    many = said["many_colors"]
    return Truth(colours, ~unsettled & (many == 1), many == 2, ~np.isnan(many))


def shares_of(
    photos: list[Photo], method: Callable[[NDArray[np.uint8], Photo], Shares], pixels: str
) -> NDArray[np.float64]:
    """(P, C) how much of what is worn has each colour, by one method."""
    table = np.zeros((len(photos), len(ASKED)))
    for row, photo in zip(table, photos, strict=True):
        whole = sum(garment.area for garment in photo.garments)
        for garment in photo.garments:
            if len(garment.pixels[pixels]):
                for name, share in method(garment.pixels[pixels], photo).items():
                    if (name := MEANS.get(name, name)) in ASKED:
                        row[ASKED.index(name)] += share * garment.area / whole
    return table


def said(shares: NDArray[np.float64], least: float) -> NDArray[np.bool_]:
    """(P, C) the largest colour, and the second where it has at least that share."""
    order = np.argsort(-shares, axis=1, kind="stable")
    every = np.arange(len(shares))
    answer = np.zeros(shares.shape, np.bool_)
    answer[every, order[:, 0]] = shares[every, order[:, 0]] > 0
    answer[every, order[:, 1]] = shares[every, order[:, 1]] >= least
    return answer


def scores(answer: NDArray[np.bool_], truth: NDArray[np.bool_], weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """(2, B) mean F1 over the colours and F1 of all answers together, of photos drawn as often as (B, P) says."""
    right, ours, theirs = (weight @ x.astype(float) for x in (answer & truth, answer, truth))
    return np.stack([(2 * right / np.maximum(ours + theirs, 1)).mean(1), 2 * right.sum(1) / (ours + theirs).sum(1)])


def measure(photos: list[Photo], truth: Truth) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The rows of the comparison, and what the best one answers."""
    trains = np.array([photo.trains for photo in photos])
    learnt, tested = truth.settled & trains, truth.settled & ~trains
    one = truth.settled & (truth.colours.sum(1) == 1)
    weight = resample(int(tested.sum()))
    fitted = Fitted([p for p, x in zip(photos, learnt, strict=True) if x], truth.colours[learnt], ASKED, MEANS)
    rows: list[dict[str, Any]] = []
    ours: dict[str, Any] = {}
    for name, method, pixels in methods(fitted):
        begun = time.process_time()
        shares = shares_of(photos, method, pixels)
        took = time.process_time() - begun
        everybody = np.ones((1, int(learnt.sum())))
        known, labels = shares[learnt], truth.colours[learnt]
        summed = [scores(said(known, least), labels, everybody).sum() for least in LEAST]
        least = LEAST[int(np.argmax(summed))]
        answer = said(shares, least)
        spread = scores(answer[tested], truth.colours[tested], weight)
        if not rows:
            ours = {"shares": shares, "answer": answer, "least": least, "spread": spread}
        top = truth.colours[np.arange(len(photos)), shares.argmax(1)]
        rows.append({
            "name": name, "seconds": took, "train": scores(answer[learnt], truth.colours[learnt], everybody)[:, 0],
            "value": scores(answer[tested], truth.colours[tested], np.ones((1, int(tested.sum()))))[:, 0],
            "interval": np.percentile(spread, (2.5, 97.5), axis=1),
            "against": np.percentile(spread - ours["spread"], (2.5, 97.5), axis=1),
            "top": (top[one & trains].mean(), top[one & ~trains].mean()),
        })  # fmt: skip
        print(f"{name:<44} train {rows[-1]['train'].round(3)} validation {rows[-1]['value'].round(3)}", flush=True)
    return rows, ours


def many_colours(photos: list[Photo], truth: Truth) -> dict[str, tuple[float, float, int, float]]:
    """Precision, recall, support and frequency of "multicolour" on each part: any garment, or all together, is so."""
    found = []
    for photo in photos:
        listed = [_colours_of(garment) for garment in photo.garments]
        found.append(any(is_multicolour(colours) for colours in listed))
    answer = np.array(found)
    trains = np.array([photo.trains for photo in photos])
    rows = {}
    for part, where in (("training", truth.asked & trains), ("validation", truth.asked & ~trains)):
        right = (answer & truth.many)[where].sum()
        said_so, there = answer[where].sum(), truth.many[where].sum()
        rows[part] = (right / max(said_so, 1), right / there, int(there), there / where.sum())
    return rows


def _largest(photo: Photo) -> str | None:
    """Our largest colour of all that is worn."""
    total: dict[str, float] = {}
    for garment in photo.garments:
        for one in _colours_of(garment):
            total[one.name] = total.get(one.name, 0.0) + one.share * garment.area
    return max(total, key=total.__getitem__, default=None)


def _colours_of(garment: Garment) -> list[Colour]:
    pixels = garment.pixels["eroded"]
    if not len(pixels):
        return []
    return colours_of(pixels[None], [CoarseMask.of(np.ones((1, len(pixels)), np.bool_))])[0]


def milliseconds(photos: list[Photo]) -> float:
    """Of the CPU, a garment: median of 9 rounds over 40 photos, with pixels at hand."""
    rows = [garment.pixels["eroded"][None] for photo in photos[:40] for garment in photo.garments]
    masks = [CoarseMask.of(np.ones(row.shape[:2], np.bool_)) for row in rows]
    times = []
    for _ in range(9):
        begun = time.process_time()
        for row, mask in zip(rows, masks, strict=True):
            if row.size:
                colours_of(row, [mask])
        times.append(time.process_time() - begun)
    return 1000 * statistics.median(times) / len(rows)


def main() -> None:
    """Read, measure, write the page."""
    args = _arguments()
    if not args.cache.is_file():
        args.cache.write_bytes(pickle.dumps(gather(args.folder)))
    photos = pickle.loads(args.cache.read_bytes())  # a file of our own
    truth = read_truth(args.folder, photos)
    rows, ours = measure(photos, truth)
    largest = [_largest(photo) for photo in photos]
    text = page(photos, truth, rows, ours, many_colours(photos, truth), ASKED, largest)
    args.out.write_text(text, encoding="utf-8")
    print(f"{milliseconds(photos):.2f} ms of the CPU a garment by itself; wrote {args.out}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, help="Clothing Attributes, as published")
    parser.add_argument("--cache", type=Path, default=Path("garments.pickle"), help="made where it is not there")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "docs" / "colours.md")
    return parser.parse_args()


if __name__ == "__main__":
    main()
