"""What worker processes of the tests do; imports little, for each of them does it anew."""

import os
import signal
import time
from pathlib import Path
from typing import NamedTuple


class Item(NamedTuple):
    path: str
    problem: str | None = None
    data: bytes | None = None


class Asked(NamedTuple):
    position: int
    item: Item


def chunks(*sizes, special=None):
    """Photos `0.jpg`, `1.jpg`, ... in chunks of these sizes; `special` says what some of them are called."""
    position = 0
    for size in sizes:
        names = {i: (special or {}).get(i, f"{i}.jpg") for i in range(position, position + size)}
        yield tuple(Asked(i, Item(name)) for i, name in names.items())
        position += size


class Read:
    """Answers (position, path or problem, process) for each photo; does what a photo's name says."""

    def __init__(self, folder=None):
        self.folder = folder

    def __call__(self):
        return self.work

    def work(self, chunk):
        return [(one.position, one.item.problem or self.read(one.item.path), os.getpid()) for one in chunk]

    def read(self, path):
        name = path.partition(".")[0]
        if name == "abort":
            os.abort()
        if name == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if name == "killed once":
            try:
                Path(self.folder, "once").touch(exist_ok=False)
            except FileExistsError:
                return path
            os.kill(os.getpid(), signal.SIGKILL)
        if name == "hang":
            time.sleep(600)
        if name == "raise":
            raise ValueError("a strange photo\nand more of it")
        if name == "slow":
            time.sleep(0.5)
        return path


def refuse():
    from hemline.errors import WeightsError

    raise WeightsError("w.onnx: damaged")


def fail():
    raise RuntimeError("no such thing")


def die():
    os._exit(3)
