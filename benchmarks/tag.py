"""What `hemline tag` reads a second and holds in memory, beside the network alone on all cores, from one run.

    uv run benchmarks/tag.py
    uv run benchmarks/tag.py --photos 1000 --photos 20000 --size 120x160 --rounds 0     # memory alone
    uv run benchmarks/tag.py --photos 20000 --size 60x90 --rounds 0 --weights small.onnx
    uv run benchmarks/tag.py --source shop/ --rounds 5 --workers 4

Throughput: in each round, one after the other and for the same time, as many one-thread processes as `tag` has run

    network     the network alone, on canvases that stand ready
    work        decoding, network, masks, colours and rows (`catalog.work.Worker`) on photos in memory, and nothing else
    threads     the same work in as many threads of one process
    tag         `hemline tag` as it is, from its first rows to its last

and each is divided by the network of its own round, so that other load on the machine cancels. `tag / work` is what
handing out, taking in and writing cost; `work / network` is what a photo costs beside its network.

Memory: the peak (VmHWM) of the first process and of the largest worker, for catalogues of several lengths. The photos
are hard to tell from real ones: JPEGs from --source, or the demo photo in several sizes, each with bytes of its own
behind its end, so that none is a duplicate.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from itertools import count, cycle, islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

THREADS = {"HEMLINE_THREADS": "1", "OMP_NUM_THREADS": "1"}
SIZES = ((550, 830), (800, 1000), (480, 640))
"""Width and height of the photos where no --source is given: those that shops show."""


def main() -> None:
    """Read the arguments, measure, print."""
    if len(sys.argv) > 1 and sys.argv[1] == "--tag":
        return tag_once(Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]), sys.argv[5])
    args = _arguments()
    base = _base_photos(args)
    print(f"{args.workers} processes of one thread; photos of {len(base)} kinds, {_megapixels(base):.2f} megapixels")
    with tempfile.TemporaryDirectory(prefix="hemline-tag-") as folder:
        if args.rounds:
            throughput(args, base, Path(folder))
        for number in args.photos or [1000]:
            memory(args, base, number, Path(folder))
    return None


def throughput(args: argparse.Namespace, base: list[bytes], folder: Path) -> None:
    """Rates of each round, and their medians."""
    rounds: dict[str, list[float]] = {"network": [], "work": [], "threads": [], "tag": []}
    for number in range(args.rounds):
        rounds["network"].append(in_processes(alone, args.workers, network_alone, base, args.seconds))
        rounds["work"].append(in_processes(alone, args.workers, work_alone, base, args.seconds))
        rounds["threads"].append(in_processes(in_threads, 1, args.workers, base, args.seconds))
        length = round(rounds["work"][-1] * args.seconds) + 64
        photos = write_photos(folder / f"in {number}", base, length)
        rounds["tag"].append(tag(photos, folder / f"out {number}", args.workers)["rate"])
        print("  ".join(f"{name} {rates[-1]:.2f}/s" for name, rates in rounds.items()), flush=True)
    for name in ("work", "threads", "tag"):
        ratios = sorted(rate / alone for rate, alone in zip(rounds[name], rounds["network"], strict=True))
        print(f"{name + ' / network':<20}{statistics.median(ratios):.3f}   {ratios[0]:.3f} to {ratios[-1]:.3f}")
    ratios = sorted(rate / alone for rate, alone in zip(rounds["tag"], rounds["work"], strict=True))
    print(f"{'tag / work':<20}{statistics.median(ratios):.3f}   {ratios[0]:.3f} to {ratios[-1]:.3f}")


def memory(args: argparse.Namespace, base: list[bytes], number: int, folder: Path) -> None:
    """Peaks of one run over so many photos."""
    photos = write_photos(folder / f"memory {number}", base, number)
    said = tag(photos, folder / f"memory out {number}", args.workers, args.weights)
    print(
        f"{number:>8,} photos in {said['seconds']:.0f} s: first process {said['first']:.0f} MiB at its peak, "
        f"largest worker {said['worker']:.0f} MiB; {said['garments']:,} garments",
        flush=True,
    )


def tag(photos: Path, out: Path, workers: int, weights: str = "default") -> dict[str, float]:
    """One run in a process of its own; its rate, and its peaks of memory in MiB."""
    command = [sys.executable, __file__, "--tag", str(photos), str(out), str(workers), weights]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        peaks: dict[int, float] = {}
        while process.poll() is None:
            for pid in [process.pid, *_children(process.pid)]:
                peaks[pid] = max(peaks.get(pid, 0), _peak(pid))
            time.sleep(0.05)
        said: dict[str, float] = json.loads(process.stdout.read() if process.stdout else "")
    if process.returncode:
        raise SystemExit(f"tagging ended with {process.returncode}")
    return said | {"first": peaks.pop(process.pid), "worker": max(peaks.values())}


def tag_once(photos: Path, out: Path, workers: int, weights: str) -> None:
    """Tag, as the command does, and print the rate from the first rows to the last."""
    from hemline.catalog.items import open_catalog
    from hemline.catalog.local import Tally
    from hemline.catalog.local import tag as run_tagging
    from hemline.catalog.parts import open_parts
    from hemline.catalog.work import Plan

    class Clock:
        def __init__(self) -> None:
            self.times: list[tuple[float, int]] = []

        def begin(self, tally: Tally) -> None:
            self.times.clear()

        def step(self, tally: Tally) -> None:
            self.times.append((time.perf_counter(), tally.photos))

    catalog, plan, clock = open_catalog([str(photos)]), Plan(weights, device="cpu"), Clock()
    with open_parts(out, plan.made_with()) as parts:
        tally = run_tagging(catalog, parts, plan, clock, workers=workers)
    (begun, before), (ended, after) = clock.times[0], clock.times[-1]
    rate = (after - before) / max(ended - begun, 1e-9)
    print(json.dumps({"rate": rate, "seconds": tally.seconds, "garments": tally.garments}))


# -- the limits ----------------------------------------------------------------------------------------------


def in_processes(target: Callable[..., None], processes: int, *given: object) -> float:
    """Photos a second, in sum, that so many processes of one-thread libraries measure at the same time."""
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(THREADS)
    context = get_context("spawn")
    ready, results = context.Barrier(processes), context.SimpleQueue()
    started = [context.Process(target=target, args=(*given, ready, results)) for _ in range(processes)]
    for process in started:
        process.start()
    rates = [results.get() for _ in started]
    for process in started:
        process.join()
    for name, value in before.items():
        os.environ.pop(name) if value is None else os.environ.update({name: value})
    return sum(rates)


def alone(make: Callable[[list[bytes]], Callable[[], int]], base: list[bytes], seconds: float, ready: Any, results: Any) -> None:  # noqa: ANN401, E501
    """In a process: the rate of what `make` gives."""
    step = make(base)
    step()
    ready.wait()
    results.put(_timed(step, seconds))


def in_threads(workers: int, base: list[bytes], seconds: float, ready: Any, results: Any) -> None:  # noqa: ANN401
    """In a process: the rate of the whole work in so many threads, each with a runtime of its own."""
    steps = [work_alone(base) for _ in range(workers)]
    for step in steps:
        step()
    ready.wait()
    with ThreadPoolExecutor(workers) as pool:
        results.put(sum(pool.map(lambda step: _timed(step, seconds), steps)))


def _timed(step: Callable[[], int], seconds: float) -> float:
    begun = time.perf_counter()
    done = 0
    while (passed := time.perf_counter() - begun) < seconds:
        done += step()
    return done / passed


def network_alone(base: list[bytes]) -> Callable[[], int]:
    """Runs the network once."""
    import numpy as np

    from hemline.photo import place, read_photo
    from hemline.tagger import Tagger

    tagger = Tagger.load(device="cpu")
    ready = [place(read_photo(content), tagger.metadata.canvas) for content in base]
    canvases = cycle([(np.stack([canvas.pixels]), np.stack([canvas.valid])) for canvas in ready])

    def step() -> int:
        tagger.run(*next(canvases))
        return 1

    return step


def work_alone(base: list[bytes]) -> Callable[[], int]:
    """Answers a chunk of photos, each with bytes of its own."""
    from hemline.catalog.items import Item
    from hemline.catalog.local import CHUNK
    from hemline.catalog.work import Asked, Plan, Worker

    worker, numbers, photos = Worker(Plan(device="cpu")), count(), cycle(base)

    def step() -> int:
        chunk = [Asked(i, 0, Item(f"{i}.jpg", {}, data=_own(next(photos), i))) for i in islice(numbers, CHUNK)]
        return worker(chunk).photos.num_rows

    return step


# -- photos and processes ------------------------------------------------------------------------------------


def _base_photos(args: argparse.Namespace) -> list[bytes]:
    if args.source is not None:
        from hemline.photo import find_photos

        return [path.read_bytes() for path in find_photos([args.source])[:200]]
    from PIL import Image

    from hemline.predict import demo_photo

    base = []
    with Image.open(demo_photo()) as photo:
        for size in [args.size] if args.size else SIZES:
            file = BytesIO()
            photo.convert("RGB").resize(size).save(file, "JPEG", quality=90)
            base.append(file.getvalue())
    return base


def write_photos(folder: Path, base: list[bytes], number: int) -> Path:
    """So many files, no two alike."""
    folder.mkdir()
    for i, content in zip(range(number), cycle(base), strict=False):
        (folder / f"{i:07}.jpg").write_bytes(_own(content, i))
    return folder


def _own(content: bytes, number: int) -> bytes:
    return content + number.to_bytes(8, "little")


def _megapixels(base: list[bytes]) -> float:
    from PIL import Image

    sizes = [Image.open(BytesIO(content)).size for content in base]
    return statistics.mean(width * height for width, height in sizes) / 1e6


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _peak(pid: int) -> float:
    """MiB that a process held at most."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), 0.0)


def _arguments() -> argparse.Namespace:
    from hemline.catalog.processes import cpu_count

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="of throughput; 0 leaves it out")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measurement of a round")
    parser.add_argument("--photos", type=int, action="append", help="length of a catalogue whose memory is measured")
    parser.add_argument("--workers", type=int, default=cpu_count())
    parser.add_argument("--weights", default="default", help="of the runs whose memory is measured")
    parser.add_argument("--source", help="folder of photos")
    parser.add_argument("--size", type=_size, help="WxH of the demo photo, where no folder is named")
    return parser.parse_args()


def _size(text: str) -> tuple[int, int]:
    width, height = map(int, text.split("x"))
    return width, height


if __name__ == "__main__":
    main()
