"""Tags a catalogue with the processes of this machine.

    Catalog --main process--> chunks --worker processes--> Rows --main process, in order--> Parts

The main process only reads names and writes tables. What it holds at any time is a few chunks a worker and one part,
however many photos there are; the tables do not depend on the number of workers.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from types import FrameType
from typing import TYPE_CHECKING, Any, Literal, Protocol

from hemline.catalog import remote
from hemline.catalog.items import Catalog, Item
from hemline.catalog.parts import Parts
from hemline.catalog.processes import ONE_THREAD, Chunk, Crew, Work, cpu_count
from hemline.catalog.tables import DUPLICATE, FAILED, OK, Rows
from hemline.catalog.work import Asked, Plan, Worker
from hemline.errors import HemlineError, in_short

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
                    reason = _without_name(str(message), name)
                    if reason in self.reasons or len(self.reasons) < REASONS:
                        self.reasons[reason] += 1


def _without_name(message: str, name: str) -> str:
    """What is said of a photo, without its name, which messages have as it is or as `remote.shown` gives it."""
    for begins in (f"{name}: ", f"{remote.shown(name)}: "):
        if message.startswith(begins):
            return message.removeprefix(begins)
    return message


class View(Protocol):
    """Is told how far a run is."""

    def begin(self, tally: Tally) -> None:
        """The first photos are given out."""

    def step(self, tally: Tally) -> None:
        """Some more photos stand in the tables, or were there already."""


LONG_ASKED = 2.0
"""Seconds after which another signal is taken at its word."""


class Stop:
    """Ctrl-C and SIGTERM while a command runs: the first is only noted, so that what was answered is written.

    Another that comes `LONG_ASKED` seconds later ends the process on the spot, for it may be busy with what does not
    look at `asked`; what stands in the tables stays true, as it does after a kill.

    For a `with` in the main thread. Its end raises KeyboardInterrupt where a signal came; others have no effect then,
    up to the end of the process.
    """

    def __init__(self) -> None:
        self.asked = False
        """Whether one came, or somebody else set this."""
        self._before: dict[int, Any] = {}
        self._since = 0.0

    def __enter__(self) -> Stop:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_IGN if self.asked else handler)
        if self.asked and kind is None:
            raise KeyboardInterrupt

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.asked, before = True, self.asked
        self._since = self._since if before else time.monotonic()
        if before and time.monotonic() - self._since > LONG_ASKED:
            os.write(2, b"error: stopped at once; the same command goes on from the last whole part\n")
            os._exit(130)                                  # its processes end with it


def tag(
    catalog: Catalog,
    parts: Parts,
    plan: Plan,
    view: View,
    *,
    workers: int | None = None,
    engine: Literal["local", "ray"] = "local",
    make: Callable[[], Work] | None = None,
    stop: Stop | None = None,
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
        stop: Is looked at between answers; where it is asked for, what was answered by then is finished.

    Returns:
        What was done.

    Raises:
        HemlineError: the catalogue cannot be read on, the network cannot be run, or a part cannot be written.
    """
    on_gpu = uses_gpu(plan)
    tally, stop, begun = Tally(catalog.count()), stop or Stop(), time.monotonic()
    source = _Source(catalog, parts, tally, stop)
    crew = _crew(make or partial(Worker, plan), workers, engine, stop, on_gpu=on_gpu)
    view.begin(tally)
    try:
        with closing(crew.run(source.chunks(GPU_CHUNK if on_gpu else CHUNK))) as answers:
            for rows in answers:
                tally.add(parts.add(rows))
                tally.seconds = time.monotonic() - begun
                view.step(tally)
                if stop.asked:
                    break
    finally:
        parts.close()
    if source.error is not None:
        raise source.error
    view.step(tally)
    return tally


def _crew(make: Callable[[], Work], count: int | None, engine: str, stop: Stop, *, on_gpu: bool) -> Crew | RayCrew:
    if engine == "ray":
        from hemline.catalog.ray_engine import RayCrew

        return RayCrew(make, count, on_gpu=on_gpu)
    variables = {} if on_gpu else ONE_THREAD
    return Crew(make, count or (1 if on_gpu else cpu_count()), variables=variables, stopped=lambda: stop.asked)


def uses_gpu(plan: Plan) -> bool:
    """Whether the network may run on a GPU; OpenVINO, which `auto` takes, has the CPU alone."""
    if plan.device != "auto":
        return plan.device == "cuda"
    others = plan.runtime in ("onnxruntime", "torch") or plan.metadata.finds == "instances"
    return others and shutil.which("nvidia-smi") is not None


class _Source:
    """What is to be done of a catalogue."""

    def __init__(self, catalog: Catalog, parts: Parts, tally: Tally, stop: Stop) -> None:
        self.error: Exception | None = None
        """What the catalogue raised, to be raised after the answers of all photos before it."""
        self._catalog, self._parts, self._tally, self._stop = catalog, parts, tally, stop

    def chunks(self, size: int) -> Iterator[Chunk]:
        """Photos that are not done yet, so many at a time."""
        asked = self._asked()
        while chunk := tuple(islice(asked, size)):
            yield chunk

    def _asked(self) -> Iterator[Asked]:
        position = self._parts.next_position
        for item in self._until_it_fails(self._catalog):
            if self._stop.asked:                           # passing over a million that are done takes a while
                return
            occurrence = self._parts.occurrence(item.path)
            if self._parts.is_done(item.path, occurrence):
                self._tally.before += 1
                continue
            yield Asked(position, occurrence, item)
            position += 1

    def _until_it_fails(self, items: Iterable[Item]) -> Iterator[Item]:
        try:
            yield from items
        except (HemlineError, OSError) as error:
            self.error = error
        except Exception as error:  # of a package that reads a store, say: a sentence, not a traceback
            self.error = HemlineError(f"the catalogue cannot be read on ({type(error).__name__}: {in_short(error)})")
            self.error.__cause__ = error
