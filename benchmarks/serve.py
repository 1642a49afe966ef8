"""What `hemline serve` answers a second, how long that takes and what it holds, beside `Tagger` alone, from one run.

    uv run benchmarks/serve.py                           # all of it, in some four minutes
    uv run benchmarks/serve.py --json                    # the ratios alone, as benchmarks/speed.py reads them
    uv run benchmarks/serve.py --source shop/ --rounds 5 --requests 200 --steady 5000

In each round, one after the other and with the same photos

    tagger      `Tagger` in a loop of one thread: the file's bytes to the JSON of the answer
    threads     the same by as many threads as the server's engine has; the network runs in one of them at a time
    stream      `Tagger.stream`, whose network sees 16 photos at a time, to JSON
    N clients   the server, in a process of its own, over the loopback, asked by so many clients without a pause

and rates are divided by those of their own round, so that other load on the machine cancels. Each answer is compared,
byte for byte, with the one that `Tagger` gives to that photo here. Clients run in this process, on the same cores.

Memory: what the server's process holds (VmRSS) after each 500 requests, those of the rounds and --steady more.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection
from itertools import count, cycle, islice
from pathlib import Path
from threading import Lock
from typing import NamedTuple
from urllib.parse import urlsplit

import numpy as np
from tag import SIZES, Figure, demo_photos, note

from hemline.photo import find_photos
from hemline.serve.engine import batch_size_for, workers_for
from hemline.tagger import Tagger

CLIENTS = (1, 8, 64)
EVERY = 500
"""Requests after which the server's memory is read."""
Answer = Callable[[bytes], bytes]
"""The bytes of a photo's file to the JSON of its answer."""


class Load(NamedTuple):
    """What clients saw of a server."""

    rate: float
    """Photos a second."""
    median: float
    """Seconds from a request to its answer."""
    p99: float
    """Seconds in which 99 of 100 requests were answered."""


class Server(NamedTuple):
    """A server that runs."""

    address: str
    pid: int
    held: list[float]
    """MiB of the process after each `EVERY` requests."""
    asked: Iterator[int]
    """Counts requests."""


def main() -> None:
    """Read the arguments, measure, print."""
    args = _arguments()
    photos = [path.read_bytes() for path in find_photos([args.source])[:100]] if args.source else demo_photos(SIZES)
    tagger = Tagger.load(device="cpu")
    answer = answer_of(tagger)
    wanted = [(photo, answer(photo)) for photo in photos]
    with serving() as server:
        under_load(server, wanted, 8, 2 * len(CLIENTS))  # compiled, warm
        figures = [*throughput(args, server, tagger, wanted), *memory(args, server, wanted)]
    if args.json:
        print(json.dumps([figure._asdict() for figure in figures]))
    else:
        for figure in figures:
            print(f"{figure.what:<60}{figure.ratio:.3f}   {figure.low:.3f} to {figure.high:.3f}   {figure.goal}")


def throughput(
    args: argparse.Namespace, server: Server, tagger: Tagger, wanted: Sequence[tuple[bytes, bytes]]
) -> list[Figure]:
    """Rates and seconds of each round, and their ratios."""
    workers = workers_for(batch_size_for(tagger.runtime))
    photos = [photo for photo, _ in wanted]
    rates: dict[str, list[float]] = {"tagger": [], "threads": [], "stream": []}
    loads: dict[int, list[Load]] = {clients: [] for clients in CLIENTS}
    note(f"{len(photos)} photos; {workers} threads of the engine, {os.cpu_count()} cores")
    for _ in range(args.rounds):
        rates["tagger"].append(alone(answer_of(tagger), photos, args.requests, 1))
        rates["threads"].append(alone(answer_of(tagger), photos, args.requests, workers))
        rates["stream"].append(streamed(tagger, photos, args.requests))
        note("  ".join(f"{name} {measured[-1]:.2f}/s" for name, measured in rates.items()))
        for clients in CLIENTS:
            load = under_load(server, wanted, clients, max(args.requests, 4 * clients))
            loads[clients].append(load)
            note(
                f"  {clients:>2} clients {load.rate:6.2f}/s   p50 {1000 * load.median:6.0f} ms   "
                f"p99 {1000 * load.p99:6.0f} ms"
            )
    served = {clients: [load.rate for load in measured] for clients, measured in loads.items()}
    fair = [max(CLIENTS) / load.rate for load in loads[max(CLIENTS)]]
    return [
        _figure("serve, 1 client / Tagger alone", served[1], rates["tagger"], ">= 0.9"),
        *(
            _figure(f"serve, {n} clients / Tagger with the engine's threads", served[n], rates["threads"], ">= 0.9")
            for n in CLIENTS[1:]
        ),
        _figure(f"serve, {max(CLIENTS)} clients / Tagger.stream", served[max(CLIENTS)], rates["stream"], ">= 0.9"),
        _figure(
            f"p99 at {max(CLIENTS)} clients / that of clients served in turn",
            [load.p99 for load in loads[max(CLIENTS)]], fair, "<= 1.5",
        ),
    ]  # fmt: skip


def memory(args: argparse.Namespace, server: Server, wanted: Sequence[tuple[bytes, bytes]]) -> list[Figure]:
    """How much more the server holds in the end than after its first requests."""
    if args.steady:
        under_load(server, wanted, 8, args.steady)
    note("memory after each 500 requests: " + ", ".join(f"{held:.0f}" for held in server.held) + " MiB")
    if len(server.held) < 2:
        return []
    ratio = server.held[-1] / server.held[0]
    return [Figure(f"memory after {EVERY * len(server.held)} requests / after {EVERY}", ratio, ratio, ratio, "<= 1.1")]


def answer_of(tagger: Tagger) -> Answer:
    """What the server's engine does to a photo; any number of threads at a time."""
    network = Lock()

    def answer(photo: bytes) -> bytes:
        read = tagger.read(photo, name="photo.jpg")
        with network:
            answered = tagger.infer([read])[0]
        return json.dumps([tagger.result(read, answered).to_dict("rle")]).encode()

    return answer


def alone(answer: Answer, photos: Sequence[bytes], number: int, threads: int) -> float:
    """Photos a second."""
    with ThreadPoolExecutor(threads) as pool:
        begun = time.perf_counter()
        done = sum(1 for _ in pool.map(answer, islice(cycle(photos), number)))
        return done / (time.perf_counter() - begun)


def streamed(tagger: Tagger, photos: Sequence[bytes], number: int) -> float:
    """Photos a second."""
    begun = time.perf_counter()
    for result in tagger.stream(islice(cycle(photos), number)):
        json.dumps([result.to_dict()])
    return number / (time.perf_counter() - begun)


def under_load(server: Server, wanted: Sequence[tuple[bytes, bytes]], clients: int, number: int) -> Load:
    """So many requests, of one photo each, by clients that ask again as soon as they are answered."""
    where, numbers = urlsplit(server.address), count()
    bodies = [(_form(photo), answer) for photo, answer in wanted]
    seconds: list[float] = []

    def client(_: int) -> None:
        connection = HTTPConnection(str(where.hostname), where.port, timeout=300)
        while (mine := next(numbers)) < number:
            body, answer = bodies[mine % len(bodies)]
            begun = time.perf_counter()
            connection.request("POST", "/v1/predict", body, {"Content-Type": "multipart/form-data; boundary=hemline"})
            response = connection.getresponse()
            got = response.read()
            seconds.append(time.perf_counter() - begun)
            if response.status != 200 or got != answer:
                raise SystemExit(f"photo {mine % len(bodies)}: status {response.status}, another answer: {got[:200]!r}")
            if (next(server.asked) + 1) % EVERY == 0:
                server.held.append(_held(server.pid))
        connection.close()

    with ThreadPoolExecutor(clients) as pool:
        begun = time.perf_counter()
        list(pool.map(client, range(clients)))
        passed = time.perf_counter() - begun
    if len(seconds) != number:
        raise SystemExit(f"{number} requests, {len(seconds)} answers")
    return Load(number / passed, statistics.median(seconds), float(np.quantile(seconds, 0.99)))


@contextmanager
def serving() -> Iterator[Server]:
    """A server with the default weights and settings, on a free port of the loopback."""
    command = [sys.executable, "-m", "hemline", "serve", "--no-open", "--port", "0", "--device", "cpu"]
    environment = {name: value for name, value in os.environ.items() if name != "HEMLINE_TOKEN"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            address = process.stdout.readline().strip() if process.stdout else ""
            if not address:
                raise SystemExit("the server did not start")
            yield Server(address, process.pid, [], count())
        finally:
            process.terminate()


def _form(photo: bytes) -> bytes:
    head = b'--hemline\r\nContent-Disposition: form-data; name="photo"; filename="photo.jpg"\r\n\r\n'
    return head + photo + b"\r\n--hemline--\r\n"


def _figure(what: str, one: Sequence[float], other: Sequence[float], goal: str = "") -> Figure:
    """The median of the ratios of each round, and between which values half of them lay."""
    low, middle, high = np.percentile(np.divide(one, other), [25, 50, 75])
    return Figure(what, float(middle), float(low), float(high), goal)


def _held(pid: int) -> float:
    """MiB that a process holds."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="of throughput (3)")
    parser.add_argument("--requests", type=int, default=100, help="of each measurement (100); at least 4 a client")
    parser.add_argument("--steady", type=int, default=1000, help="that are asked after them, for memory (1000)")
    parser.add_argument("--source", help="folder of photos to send; the demo photo in several sizes, if not given")
    parser.add_argument("--json", action="store_true", help="print the ratios as JSON")
    return parser.parse_args()


if __name__ == "__main__":
    main()
