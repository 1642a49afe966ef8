"""What one photo costs around the network, and what a start costs, from one run.

    uv run --group bench benchmarks/answer.py
    uv run --group bench benchmarks/answer.py PHOTO.jpg --rounds 15

One thread. Stages are timed in turn, round by round, and each is divided by the network's f32 time in the same round,
so that other load on the machine cancels; medians over the rounds. Starts are processes of their own, run in turn.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from hemline._regions import Maps, find_regions, logit, working_frame
from hemline.coarse import CoarseMask
from hemline.colour import colours_of
from hemline.errors import DeviceError
from hemline.photo import place, read_for, read_photo
from hemline.predict import demo_photo
from hemline.result import read_answer
from hemline.runtime import THREADS_VARIABLE
from hemline.tagger import Tagger

Stage = Callable[[], object]
SIZES = ((825, 550), (3600, 2400))
NETWORK = "network, f32"
STARTS = {
    "import typer, rich": ["-c", "import typer, rich"],
    "hemline --help": ["-m", "hemline", "--help"],
    "import torch, timm": ["-c", "import torch, timm"],
    "hemline predict PHOTO": ["-m", "hemline", "predict", "PHOTO"],
}
"""What is run by `python`; each pair is a yardstick, and what is divided by it."""


def main() -> None:
    """Read the arguments, time everything, print a table a photo and one of starts."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("photo", type=Path, nargs="?", help="a photo; the demo's if none is named")
    parser.add_argument("--rounds", type=int, default=15, help="times that each stage runs (15)")
    parser.add_argument("--starts", type=int, default=3, help="times that each program starts (3)")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    os.environ |= {"OMP_NUM_THREADS": "1", THREADS_VARIABLE: "1"}
    taggers = {NETWORK: Tagger.load()}
    try:
        taggers["network, bf16"] = Tagger.load(dtype="bf16")
    except DeviceError as error:
        print(f"network, bf16 is left out: {error}")
    path = args.photo or demo_photo()
    for height, width in SIZES:
        jpeg = BytesIO()
        enlarged = Image.fromarray(read_photo(path)).resize((width, height), Image.Resampling.BICUBIC)
        enlarged.save(jpeg, "JPEG", quality=90)
        _table(f"{path.name} as a JPEG of {width} x {height}", stages(jpeg.getvalue(), taggers), args.rounds)
    _starts(path, args.starts)


def stages(jpeg: bytes, taggers: Mapping[str, Tagger]) -> dict[str, Stage]:
    """What is done to answer a photo, by name; steps that are parts of another one are indented."""
    tagger = taggers[NETWORK]
    metadata, canvas = tagger.metadata, tagger.metadata.canvas
    read = read_for(jpeg, canvas)
    placed = place(read, canvas)
    answer = tagger.run(placed.pixels[None], placed.valid[None])
    masks, labels, frame = answer.masks[0], answer.labels[0], placed.frame
    maps = Maps(masks, canvas, working_frame(frame), logit(metadata.mask_thresholds), metadata.layers)
    count = len(metadata.labels.categories)
    drawn = [region.mask for region in find_regions(maps, count).values()]
    result = read_answer(masks, labels, canvas, frame, metadata, read, name="photo")
    print(f"\n{len(result.garments_and_parts)} garments and parts: {', '.join(g.category for g in result.garments)}")

    def network(one: Tagger) -> Stage:
        return lambda: one.run(placed.pixels[None], placed.valid[None])

    def packed() -> object:
        return [CoarseMask(mask, read.size).rle() for mask in drawn]

    return {
        "decode whole": lambda: read_photo(jpeg),
        f"decode for the canvas ({read.pixels.shape[1]} x {read.pixels.shape[0]})": lambda: read_for(jpeg, canvas),
        "place on the canvas": lambda: place(read, canvas),
        **{name: network(one) for name, one in taggers.items()},
        "after the network": lambda: read_answer(masks, labels, canvas, frame, metadata, read, name="photo"),
        "  masks": lambda: find_regions(maps, count),
        "  colours": lambda: colours_of(read.pixels, [CoarseMask(mask, read.size) for mask in drawn]),
        "  run lengths, boxes, areas": packed,
        "JSON, once more": lambda: result.to_dict(),
        "masks of the photo's size, if asked for": lambda: [CoarseMask(mask, read.size).whole() for mask in drawn],
        "photo to Result, f32": lambda: tagger(jpeg),
        **({"photo to Result, bf16": lambda: taggers["network, bf16"](jpeg)} if "network, bf16" in taggers else {}),
    }


def _table(title: str, todo: Mapping[str, Stage], rounds: int) -> None:
    took: dict[str, list[float]] = {name: [] for name in todo}
    for number in range(rounds + 2):                                       # two rounds to warm up
        for name, stage in todo.items():
            seconds = _timed(stage)
            if number >= 2:
                took[name].append(seconds)
    print(f"{title}, one thread, {rounds} rounds")
    print(f"  {'stage':<44}{'median ms':>10}{'x network':>11}")
    for name, seconds in took.items():
        share = statistics.median(np.array(seconds) / np.array(took[NETWORK]))
        print(f"  {name:<44}{1000 * statistics.median(seconds):>10.2f}{share:>11.3f}", flush=True)


def _starts(photo: Path, rounds: int) -> None:
    took: dict[str, list[float]] = {name: [] for name in STARTS}
    for number in range(rounds + 1):                                       # the first fills the disk's cache
        for name, words in STARTS.items():
            command = [sys.executable, *(str(photo) if word == "PHOTO" else word for word in words)]
            seconds = _timed(lambda command=command: subprocess.run(command, check=True, capture_output=True))
            if number:
                took[name].append(seconds)
    print(f"\ncold starts, {rounds} rounds")
    names = list(STARTS)
    for yardstick, name in zip(names[::2], names[1::2], strict=True):
        one, other = statistics.median(took[yardstick]), statistics.median(took[name])
        ratio = statistics.median(np.array(took[name]) / np.array(took[yardstick]))
        print(f"  {name} {other:.2f} s, python -c '{yardstick}' {one:.2f} s: ratio {ratio:.2f}", flush=True)


def _timed(run: Stage) -> float:
    begun = time.perf_counter()
    run()
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
