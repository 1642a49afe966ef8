"""The same tagging as a Ray Data job, on the machines of a Ray cluster.

    chunks --from_arrow, a wave at a time--> actors that hold a `Worker` --iter_batches, in order--> Rows

Ray starts an actor anew that dies, and gives its chunk to another. A chunk that an actor began and did not end is done
by a `Crew` of one process, photo by photo, so that a photo that ends whoever reads it ends no actor twice. What the
actors read must be in their reach: URLs, or a disk that all machines share. The tables are written where the command
runs, and are those that the processes of one machine write.

Ray Data: https://docs.ray.io/en/latest/data/api/dataset.html
"""

from __future__ import annotations

import logging
import os
import pickle
import tempfile
from collections.abc import Callable, Generator, Iterator
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow as pa

from hemline.catalog.processes import ONE_THREAD, Chunk, Crew, Work
from hemline.errors import HemlineError, in_short

WAVE = 4096
"""Chunks that are handed to Ray at a time; their names lie in its object store, and each wave starts its actors."""


class RayCrew:
    """Actors that answer chunks; stands where a `Crew` of processes does.

    Args:
        make: Called once in each actor, gives what answers chunks; pickles, and is found by its module there.
        count: Actors; None takes one for each core of the cluster, or for each GPU.
        on_gpu: Whether an actor takes a GPU instead of a core.

    Raises:
        HemlineError: Ray is not installed, or no cluster can be reached or started.
    """

    def __init__(self, make: Callable[[], Work], count: int | None = None, *, on_gpu: bool = False) -> None:
        self._make = pickle.dumps(make)
        self._on_gpu = on_gpu
        self._variables = {} if on_gpu else ONE_THREAD
        kind = "GPU" if on_gpu else "CPU"
        self.count = count or int(_start().cluster_resources().get(kind, 0))
        if not self.count:
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
        run = uuid4().hex
        while wave := list(islice(chunks, WAVE)):
            blocks = [pa.table({"number": [i], "chunk": [pickle.dumps(chunk)]}) for i, chunk in enumerate(wave)]
            answers = data.from_arrow(blocks).map_batches(
                _Actor,
                fn_constructor_args=(self._make, self._variables, run),
                batch_size=1,
                batch_format="pyarrow",
                compute=data.ActorPoolStrategy(size=min(self.count, len(wave))),
                num_cpus=0 if self._on_gpu else 1,
                num_gpus=1 if self._on_gpu else None,
            )
            run = uuid4().hex
            try:
                for batch in answers.iter_batches(batch_size=1, batch_format="pyarrow"):
                    said = pickle.loads(batch["answers"][0].as_py())
                    if isinstance(said, HemlineError):
                        raise said
                    yield from said
            except RayError as error:
                raise HemlineError(f"engine ray: {_cause(error)}") from error


class _Actor:
    """What a process of the cluster holds."""

    def __init__(self, make: bytes, variables: dict[str, str], run: str) -> None:
        os.environ.update(variables)
        self._make: Callable[[], Work] = pickle.loads(make)
        self._variables, self._run = variables, run
        self._work: Work | None = None

    def __call__(self, batch: pa.Table) -> pa.Table:
        chunk: Chunk = pickle.loads(batch["chunk"][0].as_py())
        number = batch["number"][0].as_py()
        try:
            self._work = self._work or self._make()
        except HemlineError as error:                    # Ray would begin again and again
            return pa.table({"number": [number], "answers": [pickle.dumps(error)]})
        begun = Path(tempfile.gettempdir(), f"hemline-{self._run}-{number}")  # elsewhere, it is tried once more
        try:
            begun.touch(exist_ok=False)
            answers = [self._work(chunk)]
        except Exception:  # whatever it is, and where an actor died of it: each photo is asked by itself
            crew = Crew(self._make, 1, variables=self._variables)
            answers = list(crew.run((one,) for one in chunk))
        begun.unlink(missing_ok=True)
        return pa.table({"number": [number], "answers": [pickle.dumps(answers)]})


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
