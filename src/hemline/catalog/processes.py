"""Worker processes of one machine: chunks of photos go out in order, and their answers come back in that order.

Each process has two pipes of its own, so that one that dies takes nothing with it but the chunk in its hands. That
chunk is done again photo by photo, and a photo that ends its process twice when it is alone is answered by a sentence
instead. Only the standard library is imported here, so that a new process can say how many threads its libraries take
before they are loaded.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import queue
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Any, NamedTuple

from hemline.errors import HemlineError, in_short

if TYPE_CHECKING:  # pyarrow is loaded by those who need it
    from hemline.catalog.work import Asked

Chunk = tuple["Asked", ...]
"""Photos that follow each other."""
Work = Callable[[Chunk], Any]
"""Photos -> their answer, which pickles."""

PATIENCE = 1000.0
"""Seconds after which a process that still has not answered a chunk, or begun to work, is given up. More than all
photos of a chunk may take over http: 16 at a time, twice `remote.WHOLE * remote.TIMEOUT` each."""
AHEAD = 2
"""Chunks that a process holds: the one in work, and the next."""
WINDOW = 4
"""Chunks a process that are given out or wait for an earlier one's answer, at most: what bounds the memory."""
TRIES = 2
"""How often a photo alone may end its process before it is answered by a sentence; it may hang once."""
PULSE = 0.2
"""Seconds between two looks at whether to stop."""
DYING = 5.0
"""Seconds that a process may take to end after its pipe has."""
STILLBORN = 3
"""Processes in a row that may end before they are ready."""
ONE_THREAD = dict.fromkeys(
    ("HEMLINE_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OPENCV_FOR_THREADS_NUM"), "1"
)
"""Environment of a process beside which others work, one a core."""


class _Task(NamedTuple):
    """A chunk, or one photo of it, that some process answers."""

    number: int
    """Of the chunk."""
    place: int
    """Of the photo in it; 0 for a whole chunk."""
    chunk: Chunk
    tries: int = 0
    """Processes that it ended while alone."""


class _Ready(NamedTuple):
    """What a process says when it is ready to work."""


class _Refused(NamedTuple):
    """What a process says that cannot begin."""

    error: Exception


class _Raised(NamedTuple):
    """What a process says instead of an answer."""

    sentence: str


def cpu_count() -> int:
    """CPU cores that this process may use: of the machine, of its affinity, of its control group; at least 1."""
    if hasattr(os, "process_cpu_count"):                   # Python 3.13
        count = os.process_cpu_count() or 1
    elif hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    quota = _quota()
    return max(1, count if quota is None else min(count, round(quota)))


def _quota() -> float | None:
    """CPU cores that the control group of this process allows (`cpu.max`, or `cfs_quota_us` of version 1)."""
    for limit, period in (
        ("/sys/fs/cgroup/cpu.max", None),
        ("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "/sys/fs/cgroup/cpu/cpu.cfs_period_us"),
    ):
        with suppress(OSError, ValueError, ZeroDivisionError):
            words = _words(limit) + (_words(period) if period else [])
            return float(words[0]) / float(words[1]) if float(words[0]) > 0 else None
    return None                                            # "max", another system, or not readable


def _words(path: str) -> list[str]:
    with open(path) as file:  # noqa: PTH123  pathlib is not needed for this
        return file.read().split()


class Crew:
    """Processes that answer chunks.

    Args:
        make: Called once in each process, gives what answers chunks; pickles, and is found by its module there.
        count: Processes, 1 or more; fewer are started where there is less to do.
        variables: Environment variables of the processes.
        patience: Seconds after which a process that does not answer is given up.
        stopped: Is asked now and then; once it says True, no more answers come.
    """

    def __init__(
        self,
        make: Callable[[], Work],
        count: int,
        *,
        variables: dict[str, str] | None = None,
        patience: float = PATIENCE,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        self.make = pickle.dumps(make)
        self.count = count
        self.variables = variables or {}
        self.patience = patience
        self.stopped = stopped
        self._workers: list[_Worker] = []
        self._again: deque[_Task] = deque()
        self._answers: dict[int, dict[int, Any]] = {}      # by chunk, then by photo of it
        self._pieces: dict[int, int] = {}                  # of the chunks that are done photo by photo
        self._given = self._next = self._stillborn = 0

    def run(self, chunks: Iterator[Chunk]) -> Generator[Any, None, None]:
        """Answer chunks, which are asked for as there is room.

        Yields:
            What `make()(chunk)` returns for each chunk, in their order; several answers, of a photo each, for one that
            had to be done photo by photo.

        Raises:
            HemlineError: the processes cannot begin, or die whatever they are given.
        """
        try:
            while not self.stopped():
                self._give_out(chunks)
                if self._next == self._given:
                    return
                self._listen()
                while len(self._answers.get(self._next, ())) == self._pieces.get(self._next, 1):
                    answers = self._answers.pop(self._next)
                    self._pieces.pop(self._next, None)
                    self._next += 1
                    self._give_out(chunks)                 # nobody waits for what is done with the answers
                    yield from (answers[i] for i in sorted(answers))
        finally:
            for worker in self._workers:
                worker.end()

    def _give_out(self, chunks: Iterator[Chunk]) -> None:
        while self._has_room() and (task := self._next_task(chunks)) is not None:
            least = min(self._workers, key=lambda worker: len(worker.tasks), default=None)
            if least is None or (least.tasks and len(self._workers) < self.count):
                least = _Worker(self.make, self.variables)
                self._workers.append(least)
            least.give(task)

    def _has_room(self) -> bool:
        return len(self._workers) < self.count or any(len(worker.tasks) < AHEAD for worker in self._workers)

    def _next_task(self, chunks: Iterator[Chunk]) -> _Task | None:
        if self._again:
            return self._again.popleft()
        if self._given - self._next >= WINDOW * self.count or (chunk := next(chunks, None)) is None:
            return None
        self._given += 1
        return _Task(self._given - 1, 0, chunk)

    def _listen(self) -> None:
        """Wait until a process says something, ends or is overdue, but not for long."""
        busy = [worker for worker in self._workers if worker.tasks]
        left = min(worker.since for worker in busy) + self.patience - time.monotonic()
        heard = wait([worker.answers for worker in self._workers], min(max(0, left), PULSE))
        for worker in [worker for worker in self._workers if worker.answers in heard]:
            try:
                said = pickle.loads(worker.answers.recv_bytes())
            except (EOFError, OSError):
                self._lost(worker, worker.end(DYING))
            else:
                self._heard(worker, said)
        for worker in busy:
            if worker in self._workers and worker.tasks and time.monotonic() - worker.since >= self.patience:
                worker.end()
                self._lost(worker, f"no answer within {self.patience:g} seconds, so it was given up", last=True)

    def _heard(self, worker: _Worker, said: object) -> None:
        worker.since = time.monotonic()
        if isinstance(said, _Refused):
            raise said.error
        if isinstance(said, _Ready):
            worker.ready, self._stillborn = True, 0
            return
        task = worker.tasks.popleft()
        if isinstance(said, _Raised):
            self._again.extendleft(reversed(self._redone(task, said.sentence)))
        else:
            self._answers.setdefault(task.number, {})[task.place] = said

    def _lost(self, worker: _Worker, why: str, *, last: bool = False) -> None:
        """A process has ended: the first of its tasks may be what ended it, the others were not begun.

        Args:
            worker: The process.
            why: How it ended.
            last: Whether a photo that was alone is not tried again.
        """
        self._workers.remove(worker)
        tasks = list(worker.tasks)
        if worker.ready and tasks:
            tasks[:1] = self._redone(tasks[0], why, last=last)
        elif not worker.ready:
            self._stillborn += 1
            if self._stillborn >= STILLBORN:
                raise HemlineError(f"the processes that read photos end before they begin: {why}")
        self._again.extendleft(reversed(tasks))

    def _redone(self, task: _Task, why: str, *, last: bool = False) -> list[_Task]:
        """The tasks that stand for one that failed."""
        if len(task.chunk) > 1:
            self._pieces[task.number] = len(task.chunk)
            return [_Task(task.number, i, (one,)) for i, one in enumerate(task.chunk)]
        (one,) = task.chunk
        if task.tries >= TRIES:                            # a sentence was to be its answer
            raise HemlineError(f"{one.item.path}: no process can say why it has no answer: {why}")
        tries = TRIES if last else task.tries + 1
        if tries == TRIES:
            one = one._replace(item=one.item._replace(problem=f"{one.item.path}: {why}", data=None))
        return [_Task(task.number, task.place, (one,), tries)]


class _Worker:
    """One process, with the tasks that it holds, oldest first."""

    def __init__(self, make: bytes, variables: dict[str, str]) -> None:
        context = multiprocessing.get_context("spawn")     # a fork would copy locks that threads hold
        jobs, self._jobs = context.Pipe(duplex=False)
        self.answers, answers = context.Pipe(duplex=False)
        self.tasks: deque[_Task] = deque()
        self.ready = False
        self.since = time.monotonic()
        """When it began with the first of its tasks."""
        self._process = context.Process(target=_serve, args=(jobs, answers, variables), daemon=True)
        with _deaf():
            self._process.start()
        jobs.close()
        answers.close()                                    # so that its end is the end of the pipe
        self._outbox: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._outbox.put(make)
        threading.Thread(target=self._post, daemon=True).start()

    def give(self, task: _Task) -> None:
        if not self.tasks and self.ready:
            self.since = time.monotonic()
        self.tasks.append(task)
        self._outbox.put(pickle.dumps(task.chunk))

    def _post(self) -> None:
        """In a thread: a pipe takes no more than its reader leaves room for."""
        with suppress(OSError), self._jobs:                # it has ended: its tasks are given to another
            while (job := self._outbox.get()) is not None:
                self._jobs.send_bytes(job)

    def end(self, wait: float = 0) -> str:
        """Kill it where it has not ended after so many seconds, and say how it ended."""
        self._process.join(wait)
        self._process.kill()
        self._process.join()
        self._outbox.put(None)
        self.answers.close()
        code = self._process.exitcode or 0
        self._process.close()
        if code >= 0:
            return f"the process that read it ended by itself (exit code {code})"
        name = signal.Signals(-code).name
        memory = ", most likely for want of memory" if name == "SIGKILL" else ""
        return f"the process that read it was ended by {name}{memory}"


@contextmanager
def _deaf() -> Iterator[None]:
    """Processes started within never hear Ctrl-C, not even while they begin; this one hears it a moment later.

    It goes to all processes of a terminal, and the first one ends the others.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()                      # which would otherwise start within, and unmask it
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(jobs: Connection, answers: Connection, variables: dict[str, str]) -> None:
    """The life of a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)           # where it could not be masked
    os.environ.update(variables)
    inbox: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_take, args=(jobs, inbox), daemon=True).start()
    try:
        work: Work = pickle.loads(inbox.get())()
    except Exception as error:  # whatever it is, the first process says it
        answers.send_bytes(pickle.dumps(_Refused(_plain(error))))
        return
    answers.send_bytes(pickle.dumps(_Ready()))
    while True:
        chunk: Chunk = pickle.loads(inbox.get())
        try:
            answer = work(chunk)
        except Exception as error:  # one photo's trouble is that photo's
            answer = _Raised(f"reading it failed ({type(error).__name__}: {in_short(error)})")
        try:
            answers.send_bytes(pickle.dumps(answer, protocol=pickle.HIGHEST_PROTOCOL))
        except OSError:                                    # nobody listens
            return


def _take(jobs: Connection, inbox: queue.SimpleQueue[bytes]) -> None:
    """In a thread: take what is sent at once, and end with whoever sends it, in the middle of a photo too."""
    try:
        while True:
            inbox.put(jobs.recv_bytes())
    except (EOFError, OSError):
        sys.stderr.flush()
        os._exit(0)


def _plain(error: Exception) -> Exception:
    """An error that pickles and says the same."""
    return error if isinstance(error, HemlineError | ModuleNotFoundError) else HemlineError(
        f"the processes that read photos cannot begin ({type(error).__name__}: {in_short(error)})"
    )
