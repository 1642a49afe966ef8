"""Tags a catalogue with the processes of this machine.

    Catalog --main process--> chunks --worker processes--> Rows --main process, in order--> Parts

The main process only reads names and writes tables. What it holds at any time is a few chunks a worker and one part,
however many photos there are; the tables do not depend on the number of workers.
"""

from __future__ import annotations

import shutil
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from types import FrameType
from typing import TYPE_CHECKING, Literal, Protocol

from hemline.catalog.items import Catalog, Item
from hemline.catalog.parts import Parts
from hemline.catalog.processes import ONE_THREAD, Chunk, Crew, Work, cpu_count
from hemline.catalog.tables import DUPLICATE, FAILED, OK, Rows
from hemline.catalog.work import Asked, Plan, Worker

if TYPE_CHECKING:
    from hemline.catalog.ray_engine import RayCrew

CHUNK, GPU_CHUNK = 16, 64
"""Photos that a worker is given at a time."""
REASONS = 1000
"""Different reasons of failures that are counted, at most."""


@dataclass
class Tally:
    """How far a run is; what was done before it is counted in `before` alone."""

    total: int | None = None
    """Photos of the catalogue; None where that is not known."""
    before: int = 0
    """Photos that stood in the tables already."""
    photos: int = 0
    ok: int = 0
    failed: int = 0
    duplicates: int = 0
    garments: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    """How often photos failed for a reason, without their names."""
    seconds: float = 0.0

    def add(self, rows: Rows) -> None:
        """Count the rows of some photos more."""
        statuses = rows.photos.column("status").to_pylist()
        self.photos += len(statuses)
        self.ok += statuses.count(OK)
        self.failed += statuses.count(FAILED)
        self.duplicates += statuses.count(DUPLICATE)
        self.garments += rows.garments.num_rows
        if FAILED in statuses:
            names, messages = (rows.photos.column(name).to_pylist() for name in ("path", "error_message"))
            for status, name, message in zip(statuses, names, messages, strict=True):
                if status == FAILED:
                    reason = str(message).replace(name, "").strip(" :")
                    if reason in self.reasons or len(self.reasons) < REASONS:
                        self.reasons[reason] += 1


class View(Protocol):
    """Is told how far a run is."""

    def begin(self, tally: Tally) -> None:
        """The first photos are given out."""

    def step(self, tally: Tally) -> None:
        """Some more photos stand in the tables, or were there already."""


class Stop:
    """Ctrl-C and SIGTERM: they interrupt what can be interrupted, and wait for what cannot."""

    def __init__(self) -> None:
        self.asked = False
        self._writing = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take both signals; the second of them changes nothing. Only a main thread can."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._take) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def later(self) -> Iterator[None]:
        """What is done within is done whole."""
        self._writing = True
        try:
            yield
        finally:
            self._writing = False
        if self.asked:
            raise KeyboardInterrupt

    def _take(self, number: int, frame: FrameType | None) -> None:
        first, self.asked = not self.asked, True
        if first and not self._writing:
            raise KeyboardInterrupt


def tag(
    catalog: Catalog,
    parts: Parts,
    plan: Plan,
    view: View,
    *,
    workers: int | None = None,
    engine: Literal["local", "ray"] = "local",
    make: Callable[[], Work] | None = None,
) -> Tally:
    """Tag what a catalogue names and the tables do not hold yet.

    Args:
        catalog: What is asked for.
        parts: The OUT, opened; it is closed, and holds all that was finished, however this ends.
        plan: What shapes the answers.
        view: Is told how far it is.
        workers: Processes; a process for each core on a CPU and one on a GPU if None.
        engine: Whether they are of this machine or of a Ray cluster.
        make: Called in each process, gives what answers chunks; `Worker(plan)` if None.

    Returns:
        What was done.

    Raises:
        HemlineError: the catalogue cannot be read on, the network cannot be run, or a part cannot be written.
        KeyboardInterrupt: Ctrl-C or SIGTERM.
    """
    on_gpu = uses_gpu(plan)
    tally, stop, begun = Tally(catalog.count()), Stop(), time.monotonic()
    source = _Source(catalog, parts, tally)
    crew = _crew(make or partial(Worker, plan), workers, engine, on_gpu=on_gpu)
    view.begin(tally)
    with stop.listening():
        try:
            with closing(crew.run(source.chunks(GPU_CHUNK if on_gpu else CHUNK))) as answers:
                for rows in answers:
                    with stop.later():
                        tally.add(parts.add(rows))
                        tally.seconds = time.monotonic() - begun
                        view.step(tally)
        finally:
            try:
                stop.asked = True                          # from here on, signals wait for the last part
            finally:                                       # a signal just before that line came, too
                parts.close()
    if source.error is not None:
        raise source.error
    view.step(tally)
    return tally


def _crew(make: Callable[[], Work], count: int | None, engine: str, *, on_gpu: bool) -> Crew | RayCrew:
    if engine == "ray":
        from hemline.catalog.ray_engine import RayCrew

        return RayCrew(make, count, on_gpu=on_gpu)
    return Crew(make, count or (1 if on_gpu else cpu_count()), variables={} if on_gpu else ONE_THREAD)


def uses_gpu(plan: Plan) -> bool:
    """Whether the network may run on a GPU; OpenVINO, which `auto` takes, has the CPU alone."""
    if plan.device != "auto":
        return plan.device == "cuda"
    others = plan.runtime in ("onnxruntime", "torch") or plan.metadata.finds == "instances"
    return others and shutil.which("nvidia-smi") is not None


class _Source:
    """What is to be done of a catalogue."""

    def __init__(self, catalog: Catalog, parts: Parts, tally: Tally) -> None:
        self.error: Exception | None = None
        """What the catalogue raised, to be raised after the answers of all photos before it."""
        self._catalog, self._parts, self._tally = catalog, parts, tally

    def chunks(self, size: int) -> Iterator[Chunk]:
        """Photos that are not done yet, so many at a time."""
        asked = self._asked()
        while chunk := tuple(islice(asked, size)):
            yield chunk

    def _asked(self) -> Iterator[Asked]:
        position = self._parts.next_position
        for item in self._until_it_fails(self._catalog):
            occurrence = self._parts.occurrence(item.path)
            if self._parts.is_done(item.path, occurrence):
                self._tally.before += 1
                continue
            yield Asked(position, occurrence, item)
            position += 1

    def _until_it_fails(self, items: Iterable[Item]) -> Iterator[Item]:
        try:
            yield from items
        except Exception as error:
            self.error = error
