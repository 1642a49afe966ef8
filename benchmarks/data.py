"""What reading datasets costs: an iMaterialist CSV at its real size, masks beside pycocotools, samples per second.

    uv run benchmarks/data.py
    uv run benchmarks/data.py --small
    uv run benchmarks/data.py ccp=PATH fashionpedia=PATH

The CSV has the rows and photos of the published one, its masks about as many runs; photos are links to a few dozen
drawn ones of the published mean size. All of it is made in a temporary folder, about 2 GB, and thrown away. Times are
of the CPU, on one core, but for samples per second; other load on the machine still lengthens them, and their ratios
little, for what is compared runs in turn.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from pycocotools import mask as coco  # type: ignore[import-untyped]

from hemline.borders import borders_of_mask, borders_of_text, rle_of_borders, text_of_borders
from hemline.data import DATASETS, collate
from hemline.data.augment import augment_sample
from hemline.data.instances import InstanceSet
from hemline.data.loading import EpochSampler, batches, make_loader
from hemline.data.packed import overlay
from hemline.data_commands.asked import config_of, opened
from hemline.labels import load_label_space
from hemline.photo import read_photo

ROWS, PHOTOS = 333_415, 45_625
"""Of iMaterialist (Fashion) 2019, as published; 2020 has two photos fewer."""
SIZE = (2151, 1710)
"""Height and width of the photos: the mean of Fashionpedia (Jia et al., ECCV 2020), of which 2020 is made."""
DRAWN = 36
"""Photos that are drawn; the others are links to them."""
INDEX = """
import re, resource, sys, time
from pathlib import Path
from hemline.data.imaterialist2020 import FORM, IMaterialist2020
from hemline.data._kaggle_csv import open_csv
def peak():
    if sys.platform == "linux":                     # getrusage would tell the peak of the imports
        return 1024 * int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

if sys.platform == "linux":
    Path("/proc/self/clear_refs").write_text("5")   # the peak begins anew
before = peak()
begun, busy = time.perf_counter(), time.process_time()
garments = len(open_csv(Path(sys.argv[1]), FORM).row)
busy, wall = time.process_time() - busy, time.perf_counter() - begun
print(busy, wall, before, peak(), garments)
"""
"""A process of its own: indexes a folder, prints seconds of CPU and of the clock, bytes of memory at most before and
after, garments."""


class Indexing(NamedTuple):
    """What opening a folder took."""

    seconds: float
    """Of the CPU."""
    wall: float
    """Of the clock."""
    before: int
    """Bytes of memory at most, once everything is imported."""
    peak: int
    """Bytes of memory at most."""
    garments: int


def main() -> None:
    """Make the files, time everything, print it."""
    args = _arguments()
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    print("\n".join(_describe()))
    rows, photos = (6_000, 800) if args.small else (ROWS, PHOTOS)
    with tempfile.TemporaryDirectory(prefix="hemline-data-") as folder:
        os.environ["HEMLINE_CACHE"] = str(Path(folder) / "cache")
        made = {year: Path(folder) / year for year in ("imaterialist2020", "imaterialist2019")}
        drawn = draw_photos(Path(folder) / "drawn")
        runs = write_imaterialist(made["imaterialist2020"], drawn, rows, photos)
        write_imaterialist(made["imaterialist2019"], drawn, 6_000, 800)
        print_indexing(made["imaterialist2020"], runs)
        print_masks(made["imaterialist2020"], args.rounds)
        print_parts(made["imaterialist2020"], args.samples)
        sets = [f"{name}={path}" for name, path in made.items()] + ["synthetic"] + args.sets
        print_loaders(sets, args.samples)


# -- what is measured ----------------------------------------------------------------------------------------


def print_indexing(folder: Path, runs: float) -> None:
    """Seconds of the CPU and memory of indexing, cold and cached, beside reading the file's bytes."""
    file = folder / "train.csv"
    size = file.stat().st_size
    read_once(file)                                       # so that neither waits for the disk
    before = read_once(file)
    cold = index(folder)
    bytes_once = (before + read_once(file)) / 2
    cached = index(folder)
    print(f"\nindex of {cold.garments:,} rows, {runs:.0f} runs a mask, {size / 1e9:.2f} GB")
    print(f"  {'':<24}{'CPU s':>10}{'x reading':>11}{'clock s':>10}{'peak MB':>10}{'above imports':>15}")
    print(f"  {'reading the bytes once':<24}{bytes_once:>10.2f}{1:>11.2f}")
    for name, took in (("cold", cold), ("cached", cached)):
        above = (took.peak - took.before) / 1e6
        times = f"{took.seconds:>10.2f}{took.seconds / bytes_once:>11.2f}{took.wall:>10.2f}"
        print(f"  {name:<24}{times}{took.peak / 1e6:>10.0f}{above:>15.0f}")
    print(f"  the memory above imports is {100 * (cold.peak - cold.before) / size:.1f} % of the file cold")
    data = open_set(folder)
    some = range(min(len(data), 2_000))
    labels = sum(timed(data.photo_labels, i) for i in some)
    print(f"  labels of a photo, without its pixels: {1e3 * labels / len(some):.2f} ms")


def print_masks(folder: Path, rounds: int) -> None:
    """Masks of a photo: from the CSV's text to one map of segments, beside pycocotools from its own RLE to N maps."""
    data = open_set(folder)
    texts = [[_text(data, n) for n in data.of_photo(i)] for i in range(min(rounds, len(data)))]
    borders = [[borders_of_text(text, SIZE) for text in photo] for photo in texts]
    rles = [[rle_of_borders(mask, SIZE) for mask in photo] for photo in borders]
    ours: dict[str, Callable[[int], object]] = {
        "text to segments": lambda i: overlay([borders_of_text(text, SIZE) for text in texts[i]], SIZE),
        "  of it, overlay": lambda i: overlay(borders[i], SIZE),
        "  of it, reading text": lambda i: [borders_of_text(text, SIZE) for text in texts[i]],
    }
    seconds: dict[str, list[float]] = {name: [] for name in ours}
    theirs, ratios = [], {name: [] for name in ours}
    for i in range(len(texts)):
        theirs.append(timed(coco.decode, rles[i]))
        for name, run in ours.items():
            seconds[name].append(timed(run, i))
            ratios[name].append(seconds[name][-1] / theirs[-1])
    masks = statistics.mean(map(len, texts))
    print(f"\nmasks of a photo of {SIZE[0]} x {SIZE[1]}, {masks:.1f} masks, {len(texts)} photos")
    print(f"  {'':<24}{'median ms':>10}{'x pycocotools':>15}  quartiles")
    print(f"  {'pycocotools decode':<24}{1e3 * statistics.median(theirs):>10.2f}{1:>15.2f}")
    for name in ours:
        low, middle, high = np.quantile(ratios[name], (0.25, 0.5, 0.75))
        print(f"  {name:<24}{1e3 * statistics.median(seconds[name]):>10.2f}{middle:>15.2f}  {low:.2f} to {high:.2f}")


def print_parts(folder: Path, count: int) -> None:
    """Where the time of a sample goes."""
    config = config_of([f"imaterialist2020={folder}", "batch_size=8"])
    data = open_set(folder)
    parts = dict.fromkeys(("photo decode", "masks", "sample, the rest", "augment", "collate"), 0.0)
    views = []
    for i in range(count):
        data[i]                                           # so that the file is in memory, for both below
        photo = timed(read_photo, data.path / data.index.photos[i])
        masks = timed(_segments, data, i)
        begun = time.process_time()
        sample = data[i]
        made = time.process_time()
        views.append(augment_sample(sample, config.canvas, config.augment, np.random.default_rng(i)))
        rest = made - begun - photo - masks
        for name, took in zip(parts, (photo, masks, rest, time.process_time() - made), strict=False):
            parts[name] += took
    for k in range(0, count, 8):
        parts["collate"] += timed(collate, views[k : k + 8])
    total = sum(parts.values())
    print(f"\nwhere the time of a sample goes, imaterialist2020, canvas {config.canvas[0]} x {config.canvas[1]}")
    for name, took in parts.items():
        print(f"  {name:<24}{1e3 * took / count:>10.2f} ms{100 * took / total:>7.1f} %")


def print_loaders(sets: list[str], count: int) -> None:
    """Samples per second of each dataset, for 0, 1 and 2 workers."""
    print(f"\nsamples per second, augmented and collated by 8, {count} samples once the workers run")
    print(f"  {'dataset':<24}{'photos':>8}" + "".join(f"{f'{n} workers':>12}" for n in (0, 1, 2)))
    for words in sets:
        photos, rates = 0, []
        for workers in (0, 1, 2):
            config = config_of([words, "batch_size=8", f"workers={workers}"])
            sources = opened(config)[1]
            photos = sum(len(source.indices) for source in sources)
            sampler = EpochSampler(sources, batch_size=8, seed=0)
            rates.append(rate(batches(make_loader(sources, sampler, config, pin_memory=False)), count))
        print(f"  {words.partition('=')[0]:<24}{photos:>8}" + "".join(f"{r:>12.1f}" for r in rates), flush=True)


def rate(loader: Iterator[object], count: int) -> float:
    """Samples per second of batches of 8, the first four batches left out: workers start, and hold some ready."""
    for _ in range(4):
        next(loader)
    begun = time.perf_counter()
    done = sum(8 for _ in zip(range(count // 8), loader, strict=False))
    return done / (time.perf_counter() - begun)


def index(folder: Path) -> Indexing:
    """Open a folder in a process of its own."""
    done = subprocess.run([sys.executable, "-c", INDEX, str(folder)], capture_output=True, text=True, check=True)
    seconds, wall, before, peak, garments = done.stdout.split()
    return Indexing(float(seconds), float(wall), int(before), int(peak), int(garments))


def open_set(folder: Path) -> InstanceSet:
    """The 2020 set of a folder, in its own words."""
    data = DATASETS["imaterialist2020"](folder, load_label_space("fashionpedia"))
    assert isinstance(data, InstanceSet)
    return data


def read_once(file: Path) -> float:
    """Seconds of the CPU to read a file's bytes."""
    begun = time.process_time()
    with file.open("rb", buffering=0) as stream:
        buffer = bytearray(1 << 20)
        while stream.readinto(buffer):
            pass
    return time.process_time() - begun


def timed(run: Callable[..., object], *arguments: object) -> float:
    """Seconds of the CPU that a call takes."""
    begun = time.process_time()
    run(*arguments)
    return time.process_time() - begun


def _text(data: InstanceSet, number: int) -> bytes:
    _, offset, length = data.index.mask[number].tolist()
    with Path(data.index.mask_files[0]).open("rb") as file:
        file.seek(offset)
        return file.read(length)


def _segments(data: InstanceSet, index: int) -> object:
    borders = [data.borders(number) for number in data.of_photo(index)]
    return overlay([mask for mask in borders if mask is not None], SIZE)


# -- what is made --------------------------------------------------------------------------------------------


def draw_photos(folder: Path) -> list[Path]:
    """Photos with the grain and the edges of real ones, so that they take about as long to decode."""
    folder.mkdir()
    generator = np.random.default_rng(0)
    files = []
    for number in range(DRAWN):
        coarse = generator.integers(0, 256, (24, 19, 3), dtype=np.uint8)
        photo = cv2.resize(coarse, SIZE[::-1], interpolation=cv2.INTER_CUBIC)
        grain = generator.normal(0, 9, (SIZE[0] // 2 + 1, SIZE[1] // 2, 1)).astype(np.float32)
        grain = cv2.resize(grain, SIZE[::-1], interpolation=cv2.INTER_LINEAR)[..., None]
        files.append(folder / f"{number:02d}.jpg")
        cv2.imwrite(str(files[-1]), np.clip(photo + grain, 0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 90])
    return files


def draw_masks(count: int) -> list[tuple[bytes, int]]:
    """Texts of masks with wavy borders and holes, and the runs of each: a run for each column, some columns two."""
    generator = np.random.default_rng(1)
    masks = []
    for _ in range(count):
        mask = np.zeros(SIZE, np.uint8)
        wide = int(np.clip(generator.gamma(1.6, 265), 12, 1600))
        centre = (int(generator.integers(200, SIZE[1] - 200)), int(generator.integers(300, SIZE[0] - 300)))
        angles = np.linspace(0, 2 * np.pi, 90, endpoint=False)
        wave = 1 + generator.normal(0, 0.06, 90)
        tall = wide * generator.uniform(0.8, 1.8) / 2
        points = np.stack([centre[0] + wide / 2 * wave * np.cos(angles), centre[1] + tall * wave * np.sin(angles)], 1)
        cv2.fillPoly(mask, [points.astype(np.int32)], 1)
        if generator.random() < 0.3:
            cv2.circle(mask, centre, wide // 6, 0, -1)
        borders = borders_of_mask(mask)
        masks.append((text_of_borders(borders).encode(), len(borders) // 2))
    return masks


def write_imaterialist(folder: Path, photos: list[Path], rows: int, count: int) -> float:
    """A folder as Kaggle ships it, of the year that its name ends in; returns the mean runs of a mask."""
    generator = np.random.default_rng(2)
    (folder / "train").mkdir(parents=True)
    masks = draw_masks(400)
    year = folder.name[-4:]
    space = load_label_space("fashionpedia" if year == "2020" else "imaterialist2019")
    ids = [label.id for label in space.labels]
    of_photo = np.bincount(np.append(np.arange(count), generator.integers(0, count, rows - count)), minlength=count)
    runs = 0
    with (folder / "train.csv").open("wb") as file:
        file.write(b"ImageId,EncodedPixels,Height,Width,ClassId" + b",AttributesIds" * (year == "2020") + b"\n")
        for number, times in enumerate(of_photo.tolist()):
            name = f"{number:032x}"
            (folder / "train" / f"{name}.jpg").symlink_to(photos[number % len(photos)])
            for k in generator.choice(len(masks), times, replace=False).tolist():
                text, more = masks[k]
                runs += more
                category = int(generator.integers(46))
                listed = sorted(generator.choice(ids, int(generator.integers(1, 9)), replace=False).tolist())
                file.write((name if year == "2020" else f"{name}.jpg").encode() + b"," + text)
                file.write(f",{SIZE[0]},{SIZE[1]},{_ids(year, category, listed)}\n".encode())
    return runs / rows


def _ids(year: str, category: int, attributes: list[int]) -> str:
    """The cells of a garment's ids; of 2019, few have attributes."""
    if year == "2019":
        return "_".join(map(str, [category, *(attributes if attributes[0] < 3 else [])]))
    return f'{category},"{",".join(map(str, attributes))}"' if category < 13 else f"{category},"


def _describe() -> Iterator[str]:
    versions = f"Python {platform.python_version()}, numpy {np.__version__}, torch {torch.__version__}"
    yield f"{platform.platform()}, {versions}"
    if hasattr(os, "getloadavg"):
        yield f"{os.cpu_count()} cores; load of the machine before this run: {os.getloadavg()[0]:.1f}"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("sets", nargs="*", metavar="NAME=PATH", help="more datasets to take samples from")
    parser.add_argument("--small", action="store_true", help="6,000 rows instead of 333,415")
    parser.add_argument("--samples", type=int, default=160, help="taken from each dataset and number of workers (160)")
    parser.add_argument("--rounds", type=int, default=60, help="photos whose masks are decoded (60)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
