"""Between requests and the network: threads that read photos in turn, and one that runs the network.

    submit --Job--> turns --workers: decode--> _Network: a batch --workers: the answer's JSON--> Job.answer

A worker takes one photo of a job and then one of the next, so that a request of many photos does not hold up one of
few behind it. While the network runs, the other workers decode and write answers. One thread alone hands photos to the
network: whatever stands ready by then, up to a batch. OpenVINO has all cores for a photo that is alone, and a core for
each where there are several.

A job is dropped by cancelling its future: photos of it that nobody has begun are then passed over.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, InvalidStateError, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from threading import Condition, Thread
from typing import NamedTuple

from hemline.errors import PhotoError
from hemline.masks import MaskFormat
from hemline.photo import pixels_held
from hemline.runtime import Answer, Detections, Finder, Runtime
from hemline.serve.metrics import Metrics
from hemline.tagger import Failure, Placed, Tagger
from hemline.vocabulary import Vocabulary

MOST_AT_ONCE = 16
"""Photos that the network sees at a time, at most."""
LARGE = 12_500_000
"""Photos of which more pixels than this are held while they are decoded are decoded one at a time."""


class Sent(NamedTuple):
    """A photo as a client sent it."""

    name: str
    data: bytes
    """A whole file."""


@dataclass(frozen=True)
class Options:
    """How a request wants its answers."""

    masks: MaskFormat = "rle"
    min_score: float | None = None
    vocabulary: Vocabulary | None = None


class Entry(NamedTuple):
    """The answer to one photo."""

    text: str
    """JSON, as `result.schema.json` describes an entry; ASCII."""
    error: str | None = None
    """One sentence where the photo could not be read."""


@dataclass(eq=False)
class _Job:
    """The photos of one request."""

    waiting: deque[tuple[int, Sent]]
    """Those that nobody has begun, each with its place."""
    options: Options
    entries: list[Entry | None]
    answer: Future[list[Entry]] = field(default_factory=Future)
    left: int = 0
    """Photos without an answer."""
    begun: float = field(default_factory=time.monotonic)


class Engine:
    """Answers jobs in threads of its own; close it in the end.

    Args:
        tagger: Reads the photos.
        metrics: Is told what is done.
        max_pixels: The largest photo to read, width times height.
        batch_size: Photos that the network sees at a time, at most; as many as its runtime is quickest with if None.
        workers: Threads that decode and write answers, each of which may hold a photo's pixels; `workers_for` the
            batch if None.
    """

    def __init__(
        self,
        tagger: Tagger,
        metrics: Metrics,
        *,
        max_pixels: int,
        batch_size: int | None = None,
        workers: int | None = None,
    ) -> None:
        batch_size = batch_size or batch_size_for(tagger.runtime)
        workers = workers or workers_for(batch_size)
        self._tagger, self._metrics, self._max_pixels = tagger, metrics, max_pixels
        self._network = _Network(tagger, batch_size)
        self._large = ThreadPoolExecutor(1, "hemline-serve-large")
        self._turns: deque[_Job] = deque()
        self._changed = Condition()
        self._closed = False
        self._threads = [
            Thread(target=self._work, name=f"hemline-serve-{i}", daemon=True) for i in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, photos: Sequence[Sent], options: Options = Options()) -> Future[list[Entry]]:
        """Have photos answered.

        Returns:
            Their answers in the same order. Cancel it to drop what nobody has begun.

        Raises:
            RuntimeError: the engine is closed.
        """
        job = _Job(deque(enumerate(photos)), options, [None] * len(photos), left=len(photos))
        if not photos:
            job.answer.set_result([])
            return job.answer
        with self._changed:
            if self._closed:
                raise RuntimeError("the engine is closed")
            self._turns.append(job)
            self._changed.notify(len(photos))
        self._metrics.waiting.inc(len(photos))
        return job.answer

    def close(self) -> None:
        """Drop what nobody has begun, and wait for the rest."""
        with self._changed:
            self._closed = True
            dropped = list(self._turns)
            self._turns.clear()
            self._changed.notify_all()
        for job in dropped:
            self._metrics.waiting.dec(len(job.waiting))
            job.answer.cancel()
        for thread in self._threads:
            thread.join()
        self._large.shutdown()
        self._network.close()

    def _work(self) -> None:
        while (taken := self._take()) is not None:
            job, place, sent = taken
            try:
                self._finish(job, place, self._answer(sent, job.options))
            except Exception as error:  # of the network, or a mistake of ours: this request fails, others go on
                with suppress(InvalidStateError):
                    job.answer.set_exception(error)
            del taken, job, sent  # a worker that waits for work holds no photo

    def _take(self) -> tuple[_Job, int, Sent] | None:
        """The next photo of the job whose turn it is, which then stands behind the others; None at the end."""
        with self._changed:
            while True:
                while not self._turns and not self._closed:
                    self._changed.wait()
                if not self._turns:
                    return None
                job = self._turns.popleft()
                if job.answer.done():  # cancelled, or failed
                    self._metrics.waiting.dec(len(job.waiting))
                    continue
                place, sent = job.waiting.popleft()
                if job.waiting:
                    self._turns.append(job)
                self._metrics.waiting.dec()
                self._metrics.wait.observe(time.monotonic() - job.begun)
                return job, place, sent

    def _answer(self, sent: Sent, options: Options) -> Entry:
        try:
            read = self._read(sent)
        except PhotoError as error:
            return Entry(_text(Failure(sent.name, str(error)).to_dict()), str(error))
        result = self._tagger.result(read, self._network.ask(read), min_score=options.min_score)
        result.vocabulary = options.vocabulary
        return Entry(_text(result.to_dict(options.masks)))

    def _read(self, sent: Sent) -> Placed:
        tagger = self._tagger
        held = pixels_held(sent.data, tagger.metadata.canvas, sent.name)
        read = partial(tagger.read, sent.data, name=sent.name, max_pixels=self._max_pixels)
        return self._large.submit(read).result() if held > LARGE else read()

    def _finish(self, job: _Job, place: int, entry: Entry) -> None:
        self._metrics.photos.inc()
        if entry.error is not None:
            self._metrics.failures.inc()
        with self._changed:
            job.entries[place] = entry
            job.left -= 1
            if job.left:
                return
        with suppress(InvalidStateError):  # cancelled meanwhile
            job.answer.set_result([entry for entry in job.entries if entry is not None])


def batch_size_for(runtime: Runtime | Finder) -> int:
    """How many photos a runtime is quickest with: 1 where it reads one after another anyway."""
    return MOST_AT_ONCE if runtime.device == "cuda" else min(getattr(runtime, "streams", 1), MOST_AT_ONCE)


def workers_for(batch_size: int) -> int:
    """How many threads keep a batch at work and have the next one ready."""
    return 2 * batch_size + 1


class _Network:
    """Runs the network in one thread, on all photos that wait for it by then, up to a batch."""

    def __init__(self, tagger: Tagger, batch_size: int) -> None:
        self._tagger, self._batch_size = tagger, batch_size
        self._asked: deque[tuple[Placed, Future[Answer | Detections]]] = deque()
        self._changed = Condition()
        self._closed = False
        self._thread = Thread(target=self._run, name="hemline-serve-network", daemon=True)
        self._thread.start()

    def ask(self, read: Placed) -> Answer | Detections:
        """What the network answers for a photo; waits for it."""
        answer: Future[Answer | Detections] = Future()
        with self._changed:
            self._asked.append((read, answer))
            self._changed.notify()
        return answer.result()

    def close(self) -> None:
        """Wait for the last batch."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while batch := self._next():
            try:
                answers = self._tagger.infer([read for read, _ in batch])
            except Exception as error:  # each who asked is told
                for _, answer in batch:
                    answer.set_exception(error)
            else:
                for (_, asked), answered in zip(batch, answers, strict=True):
                    asked.set_result(answered)
                del answers
            del batch

    def _next(self) -> list[tuple[Placed, Future[Answer | Detections]]]:
        """What waits, up to a batch; empty at the end."""
        with self._changed:
            while not self._asked and not self._closed:
                self._changed.wait()
            return [self._asked.popleft() for _ in range(min(len(self._asked), self._batch_size))]


def _text(value: object) -> str:
    return json.dumps(value, allow_nan=False)
