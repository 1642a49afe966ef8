"""The same tagging as a Ray Data job, on the machines of a Ray cluster.

    chunks --from_arrow, a wave at a time--> actors that hold a `Worker` --iter_batches, in order--> Rows

Ray starts an actor anew that dies, and gives its chunk to another. A chunk that an actor began and did not end is done
by a `Crew` of one process, photo by photo, so that a photo that ends whoever reads it, or hangs, ends no actor twice.
What the actors read must be in their reach: URLs, or a disk that all machines share; they work in the folder of the
command. The tables are written where the command runs, and are those that the processes of one machine write.

Ray Data: https://docs.ray.io/en/latest/data/api/dataset.html
"""

from __future__ import annotations

import logging
import os
import pickle
import tempfile
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow as pa

from hemline.catalog.processes import ONE_THREAD, PATIENCE, Chunk, Crew, Work
from hemline.errors import HemlineError, in_short

WAVE = 4096
"""Chunks that are handed to Ray at a time; their names lie in its object store, and each wave starts its actors."""
WAVE_BYTES = 256_000_000
"""A wave ends once its chunks have so many bytes: those of compressed shards hold the photos themselves."""


class RayCrew:
    """Actors that answer chunks; stands where a `Crew` of processes does.

    Args:
        make: Called once in each actor, gives what answers chunks; pickles, and is found by its module there.
        count: Actors; one for each core of the cluster, or for each GPU, if that is fewer or None.
        on_gpu: Whether an actor takes a GPU instead of a core.

    Raises:
        HemlineError: Ray is not installed, or no cluster can be reached or started.
    """

    def __init__(self, make: Callable[[], Work], count: int | None = None, *, on_gpu: bool = False) -> None:
        self._make = pickle.dumps(make)
        self._on_gpu = on_gpu
        self._variables = {} if on_gpu else ONE_THREAD
        kind = "GPU" if on_gpu else "CPU"
        room = int(_start().cluster_resources().get(kind, 0))
        self.count = min(count or room, room)
        if not room:
            raise HemlineError(f"engine ray: the cluster has no {kind}: add a machine, or take another device")

    def run(self, chunks: Iterator[Chunk]) -> Generator[Any, None, None]:
        """Answer chunks, as `Crew.run` does.

        Raises:
            HemlineError: the work cannot begin, or the cluster is lost.
        """
        from ray import data
        from ray.exceptions import RayError

        settings = data.DataContext.get_current()
        settings.execution_options.preserve_order = True
        settings.enable_progress_bars = False
        settings.print_on_execution_start = False
        while wave := _wave(chunks):
            blocks = [pa.table({"number": [i], "chunk": [chunk]}) for i, chunk in enumerate(wave)]
            answers = data.from_arrow(blocks).map_batches(
                _Actor,
                fn_constructor_args=(self._make, self._variables, os.getcwd(), uuid4().hex),  # noqa: PTH109
                batch_size=1,
                batch_format="pyarrow",
                compute=data.ActorPoolStrategy(size=min(self.count, len(wave))),
                num_cpus=0 if self._on_gpu else 1,
                num_gpus=1 if self._on_gpu else None,
            )
            try:
                for batch in answers.iter_batches(batch_size=1, batch_format="pyarrow"):
                    said = pickle.loads(batch["answers"][0].as_py())
                    if isinstance(said, HemlineError):
                        raise said
                    yield from said
            except RayError as error:
                raise HemlineError(f"engine ray: {_cause(error)}") from error


def _wave(chunks: Iterator[Chunk]) -> list[bytes]:
    """The next chunks, pickled."""
    wave: list[bytes] = []
    size = 0
    while len(wave) < WAVE and size < WAVE_BYTES and (chunk := next(chunks, None)) is not None:
        wave.append(pickle.dumps(chunk))
        size += len(wave[-1])
    return wave


class _Actor:
    """What a process of the cluster holds."""

    def __init__(self, make: bytes, variables: dict[str, str], folder: str, run: str) -> None:
        os.environ.update(variables)
        self._folder = folder
        self._make: Callable[[], Work] = pickle.loads(make)
        self._variables, self._run = variables, run
        self._work: Work | None = None

    def __call__(self, batch: pa.Table) -> pa.Table:
        chunk: Chunk = pickle.loads(batch["chunk"][0].as_py())
        number = batch["number"][0].as_py()
        try:
            self._work = self._work or self._begin()
        except HemlineError as error:                    # Ray would begin again and again
            return pa.table({"number": [number], "answers": [pickle.dumps(error)]})
        begun = Path(tempfile.gettempdir(), f"hemline-{self._run}-{number}")  # elsewhere, it is tried once more
        try:
            answers = self._answers(self._work, chunk, again=_is_there(begun))
        finally:
            with suppress(OSError):
                begun.unlink()
        return pa.table({"number": [number], "answers": [pickle.dumps(answers)]})

    def _begin(self) -> Work:
        try:
            os.chdir(self._folder)
        except OSError as error:
            raise HemlineError(
                f"engine ray: {self._folder}: a machine of the cluster cannot work in this folder ({error.strerror}): "
                "run the command in one that all machines have"
            ) from error
        return self._make()

    def _answers(self, work: Work, chunk: Chunk, *, again: bool) -> list[Any]:
        """One answer for a chunk; one a photo where an actor died of it before, or it fails."""
        if not again:
            death = threading.Timer(PATIENCE, os._exit, (1,))  # a photo that hangs
            death.daemon = True
            death.start()
            try:
                return [work(chunk)]
            except Exception:  # whatever it is, each photo is asked by itself
                pass
            finally:
                death.cancel()
        return list(Crew(self._make, 1, variables=self._variables).run((one,) for one in chunk))


def _is_there(marker: Path) -> bool:
    """Whether a file is there; it is from now on, where it may be written."""
    try:
        marker.touch(exist_ok=False)
    except FileExistsError:
        return True
    except OSError:
        pass
    return False


def _start() -> Any:  # noqa: ANN401  a module
    """Ray, joined to the cluster that `RAY_ADDRESS` names, or else to one of this machine; without its reports home."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise HemlineError('engine ray needs ray, which is not installed: pip install "hemline[ray]"') from error
    if not ray.is_initialized():
        try:
            ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise HemlineError(f"engine ray: no cluster can be reached or started ({in_short(error)})") from error
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    return ray


def _cause(error: BaseException) -> str:
    """What an error within an actor says; Ray wraps it in several of its own."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__
