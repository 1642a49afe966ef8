"""Several real processes on the loopback, which train together as those that `torchrun` starts."""

import multiprocessing
import os
import pickle
import sys
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import torch
from torch.distributed import TCPStore  # type: ignore[attr-defined]  # torch exports it in a loop

HANGS_AFTER = 120.0
"""Seconds in which all must have ended."""


class Failed(NamedTuple):
    """An error that ended a process."""

    kind: type[BaseException]
    said: str


def together(do: Callable[[], Any], size: int = 2, *, may_fail: bool = False) -> list[Any]:
    """Run a function in forked processes, each numbered as by torchrun.

    Returns what each returned; with `may_fail`, how it `Failed`.
    """
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)  # outlives them, as torchrun's does
    context = multiprocessing.get_context("fork")
    started = []
    for rank in range(size):
        here, there = context.Pipe(duplex=False)
        process = context.Process(target=_one, args=(do, rank, size, store.port, there), daemon=False)
        process.start()
        there.close()
        started.append((process, here))
    try:
        answers = [_answer(here) for _, here in started]
        assert may_fail or not [each for each in answers if isinstance(each, Failed)], answers
        return answers
    finally:
        for process, _ in started:
            process.kill()
            process.join()


def _answer(here: Connection) -> Any:
    assert here.poll(HANGS_AFTER), "a process hangs"
    return pickle.loads(here.recv_bytes())


def _one(do: Callable[[], Any], rank: int, size: int, port: int, there: Connection) -> None:
    numbers = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port,
               "TORCHELASTIC_USE_AGENT_STORE": True}  # fmt: skip
    os.environ.update({name: str(value) for name, value in numbers.items()})
    if sys.platform == "linux":
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # not the address that the machine's name happens to have
    torch.set_num_threads(1)  # threads do not outlive a fork
    try:
        answer = do()
    except BaseException as error:  # whatever it is, the test is told
        traceback.print_exc()
        answer = Failed(type(error), str(error))
    there.send_bytes(pickle.dumps(answer))  # by value: tensors that are sent otherwise end with their process
