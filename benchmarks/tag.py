"""What `hemline tag` reads a second and holds in memory, beside the network alone on all cores, from one run.

    uv run benchmarks/tag.py                             # all of it, in some three minutes
    uv run benchmarks/tag.py --json                      # the figures alone, as benchmarks/speed.py reads them
    uv run benchmarks/tag.py --rounds 0                  # memory alone
    uv run benchmarks/tag.py --source shop/ --rounds 5 --seconds 20 --workers 4 --photos 1000

Throughput: in each round, one after the other and for the same time, as many one-thread processes as `tag` has run

    network     the network alone, on canvases that stand ready
    work        decoding, network, masks, colours and rows (`catalog.work.Worker`) on photos in memory, and nothing else
    tag         `hemline tag` as it is, while all its processes are at work: without its start and its last chunks

and each is divided by the network of its own round, so that other load on the machine cancels. `tag / work` is what
handing out, taking in and writing cost; `work / network` is what a photo costs beside its network. The photos are
JPEGs from --source, or the demo photo in several sizes.

Memory: the peak (VmHWM) of the first process and of the largest worker, for catalogues of several lengths. It is to be
the same for each, so photos and network are tiny there, and many photos take little time.

Each photo has bytes of its own behind its end, so that none is a duplicate.
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
from collections.abc import Callable, Sequence
from io import BytesIO
from itertools import count, cycle, islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

# Each process of `tag` imports this file first, as it would the command; what counts threads as it is loaded is
# therefore imported where it is used.
from hemline.catalog.processes import ONE_THREAD, cpu_count

ROOT = Path(__file__).parent.parent
SIZES = ((550, 830), (800, 1000), (480, 640))
"""Width and height of the photos where no --source is given: those that shops show."""
TINY = ((60, 90),)
"""Those of the photos whose number alone counts."""


class Figure(NamedTuple):
    """A ratio that was measured, as `benchmarks/speed.py` reads it."""

    what: str
    ratio: float
    low: float
    high: float
    goal: str = ""


def main() -> None:
    """Read the arguments, measure, print."""
    if len(sys.argv) > 1 and sys.argv[1] == "--tag":
        return tag_once(Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]), sys.argv[5])
    args = _arguments()
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="hemline-tag-") as folder:
        if args.rounds:
            figures += throughput(args, Path(folder))
        figures += memory(args, Path(folder))
    if args.json:
        print(json.dumps([figure._asdict() for figure in figures]))
    else:
        for figure in figures:
            print(f"{figure.what:<60}{figure.ratio:.3f}   {figure.low:.3f} to {figure.high:.3f}   {figure.goal}")
    return None


def throughput(args: argparse.Namespace, folder: Path) -> list[Figure]:
    """Rates of each round, and their ratios."""
    from hemline.catalog.local import CHUNK
    from hemline.photo import find_photos

    base = [path.read_bytes() for path in find_photos([args.source])[:200]] if args.source else demo_photos(SIZES)
    note(f"{args.workers} processes of one thread; photos of {len(base)} kinds, {_megapixels(base):.2f} megapixels")
    rounds: dict[str, list[float]] = {"network": [], "work": [], "tag": []}
    for number in range(args.rounds):
        rounds["network"].append(in_processes(network_alone, args.workers, base, args.seconds))
        rounds["work"].append(in_processes(work_alone, args.workers, base, args.seconds))
        length = round(rounds["work"][-1] * args.seconds) + 2 * args.workers * CHUNK
        photos = write_photos(folder / f"in {number}", base, length)
        rounds["tag"].append(tag(photos, folder / f"out {number}", args.workers)["rate"])
        note("  ".join(f"{name} {rates[-1]:.2f}/s" for name, rates in rounds.items()))
    size = f"{_megapixels(base):.1f} megapixels"
    return [
        _figure(f"tag / network alone, all cores, {size}", rounds["tag"], rounds["network"], ">= 0.9"),
        _figure("tag / the same work without tables or processes between", rounds["tag"], rounds["work"]),
        _figure("that work / network alone", rounds["work"], rounds["network"]),
    ]


def _figure(what: str, one: list[float], other: list[float], goal: str = "") -> Figure:
    """The median of the ratios of each round, and between which values half of them lay."""
    import numpy as np

    low, middle, high = np.percentile(np.array(one) / np.array(other), [25, 50, 75])
    return Figure(what, float(middle), float(low), float(high), goal)


def memory(args: argparse.Namespace, folder: Path) -> list[Figure]:
    """Peaks of runs over so many photos, and how much more the longest takes than the shortest."""
    weights = args.weights or small_network(folder)
    peaks: list[float] = []
    for number in sorted(args.photos):
        photos = write_photos(folder / f"memory {number}", demo_photos(TINY), number)
        said = tag(photos, folder / f"memory out {number}", args.workers, weights)
        peaks.append(said["first"] + said["worker"])
        note(
            f"{number:>8,} photos in {said['seconds']:.0f} s: first process {said['first']:.0f} MiB at its peak, "
            f"largest worker {said['worker']:.0f} MiB; {said['garments']:,.0f} garments"
        )
    if len(peaks) < 2:
        return []
    ratio = peaks[-1] / peaks[0]
    names = [f"{number // 1000}k" if number % 1000 == 0 else f"{number}" for number in sorted(args.photos)]
    return [Figure(f"peak memory at {names[-1]} photos / at {names[0]}", ratio, ratio, ratio, "<= 1.1")]


def small_network(folder: Path) -> str:
    """Weights of the tests, without training and sure of little; made by a process of its own, for it takes torch."""
    make = "import sys, pathlib; from tests.shop import write_weights; write_weights(pathlib.Path(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", make, folder], check=True, cwd=ROOT, stdout=sys.stderr)
    return str(folder / "small.onnx")


def note(text: str) -> None:
    """How far it is; the figures alone go to stdout."""
    print(text, file=sys.stderr, flush=True)


def tag(photos: Path, out: Path, workers: int, weights: str = "default") -> dict[str, float]:
    """One run in a process of its own; its rate, and its peaks of memory in MiB."""
    command = [sys.executable, __file__, "--tag", str(photos), str(out), str(workers), weights]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        peaks: dict[int, float] = {}
        while process.poll() is None:
            for pid in [process.pid, *_children(process.pid)]:
                peaks[pid] = max(peaks.get(pid, 0), _peak(pid))
            time.sleep(0.2)
        said: dict[str, float] = json.loads(process.stdout.read() if process.stdout else "")
    if process.returncode:
        raise SystemExit(f"tagging ended with {process.returncode}")
    return said | {"first": peaks.pop(process.pid), "worker": max(peaks.values())}


def tag_once(photos: Path, out: Path, workers: int, weights: str) -> None:
    """Tag, as the command does, and print the rate while all processes were at work."""
    from hemline.catalog.items import open_catalog
    from hemline.catalog.local import Tally
    from hemline.catalog.local import tag as run_tagging
    from hemline.catalog.parts import open_parts
    from hemline.catalog.work import Plan

    class Clock:
        def __init__(self) -> None:
            self.times: list[tuple[float, int]] = []

        def begin(self, tally: Tally) -> None:
            """Processes begin; the first rows are what counts."""

        def step(self, tally: Tally) -> None:
            self.times.append((time.perf_counter(), tally.photos))

    catalog, plan, clock = open_catalog([str(photos)]), Plan(weights, device="cpu"), Clock()
    with open_parts(out, plan.made_with()) as parts:
        tally = run_tagging(catalog, parts, plan, clock, workers=workers)
    chunks = clock.times[:-1]                              # the last step is the end of the run
    (begun, before), (ended, after) = chunks[workers - 1], chunks[-workers]
    rate = (after - before) / max(ended - begun, 1e-9)
    print(json.dumps({"rate": rate, "seconds": tally.seconds, "garments": tally.garments}))


# -- the limits ----------------------------------------------------------------------------------------------


Step = Callable[[], int]
"""Does some of the work, and says how many photos that were."""


def in_processes(make: Callable[[list[bytes]], Step], processes: int, base: list[bytes], seconds: float) -> float:
    """Photos a second, in sum, that so many processes of one-thread libraries measure at the same time."""
    before = {name: os.environ.get(name) for name in ONE_THREAD}
    os.environ.update(ONE_THREAD)
    context = get_context("spawn")
    ready, results = context.Barrier(processes), context.SimpleQueue()
    started = [context.Process(target=_timed, args=(make, base, seconds, ready, results)) for _ in range(processes)]
    for process in started:
        process.start()
    rates = [results.get() for _ in started]
    for process in started:
        process.join()
    for name, value in before.items():
        os.environ.pop(name) if value is None else os.environ.update({name: value})
    return sum(rates)


def _timed(make: Callable[[list[bytes]], Step], base: list[bytes], seconds: float, ready: Any, results: Any) -> None:  # noqa: ANN401
    """In a process: the rate of what `make` gives."""
    step = make(base)
    step()
    ready.wait()
    begun = time.perf_counter()
    done = 0
    while (passed := time.perf_counter() - begun) < seconds:
        done += step()
    results.put(done / passed)


def network_alone(base: list[bytes]) -> Step:
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


def work_alone(base: list[bytes]) -> Step:
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


def demo_photos(sizes: Sequence[tuple[int, int]]) -> list[bytes]:
    """The demo photo as JPEG files of these widths and heights."""
    from PIL import Image

    from hemline.predict import demo_photo

    files = []
    with Image.open(demo_photo()) as photo:
        for size in sizes:
            file = BytesIO()
            photo.convert("RGB").resize(size).save(file, "JPEG", quality=90)
            files.append(file.getvalue())
    return files


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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="of throughput (3); 0 leaves it out")
    parser.add_argument("--seconds", type=float, default=6.0, help="of each measurement of a round (6)")
    parser.add_argument("--source", help="folder of photos whose throughput is measured")
    parser.add_argument(
        "--photos", type=int, nargs="*", default=[1000, 20_000], help="lengths of catalogues whose memory is measured"
    )
    parser.add_argument("--weights", help="of the runs whose memory is measured, instead of a tiny network")
    parser.add_argument("--workers", type=int, default=cpu_count())
    parser.add_argument("--json", action="store_true", help="print the ratios as JSON")
    return parser.parse_args()


if __name__ == "__main__":
    main()
