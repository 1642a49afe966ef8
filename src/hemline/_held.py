"""A run's folder while a process trains in it: no other does, and what killed ones left half-written is swept."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from socket import gethostname
from typing import TextIO

from hemline.checkpoint import sweep
from hemline.errors import ConfigError

LOCK = ".lock"
"""File in a run's folder that the process which trains there holds, and that says which one it is."""

WRITTEN = (
    "config.yaml", "environment.jsonl", "wandb.txt", "metrics.jsonl", "report.html",
    "state.pt", "last.safetensors", "best.safetensors",
)  # fmt: skip
"""What only that process writes."""


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Make a run's folder and keep every other process from training in it; the lock ends with its process.

    A folder that nothing was written into is taken away again. Windows, and disks that know no locks, keep nobody out.

    Raises:
        ConfigError: the folder cannot be made, or another process trains in it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / LOCK).open("a+", encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"out: {folder} cannot be made: {error.strerror or error}") from error
    with file:
        _lock(file, folder)
        for name in WRITTEN:
            sweep(folder / name)
        try:
            yield
        finally:
            with suppress(OSError):
                if os.listdir(folder) == [LOCK]:  # noqa: PTH208  # names are meant
                    (folder / LOCK).unlink()
                    folder.rmdir()


def _lock(file: TextIO, folder: Path) -> None:
    if sys.platform != "win32":
        import fcntl

        try:  # a record lock, not flock: workers would inherit that one and keep it for seconds after a kill
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN):
                file.seek(0)
                holder = file.read().strip() or "another process"
                raise ConfigError(
                    f"{folder}: {holder} is training in it: wait for its end, or choose another name=..."
                ) from None
    with suppress(OSError):  # a full disk: the lock holds without its text, too
        file.seek(0)
        file.truncate()
        file.write(f"process {os.getpid()} on {gethostname()}, since {datetime.now():%Y-%m-%d %H:%M},")
        file.flush()
