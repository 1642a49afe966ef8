"""A folder while a process works in it: no other does, and what killed ones left half-written is swept."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from socket import gethostname
from typing import TextIO

from hemline.errors import ConfigError
from hemline.whole_files import sweep

LOCK = ".lock"
"""File in a folder that the process which works there holds, and that says which one it is."""

WRITTEN = (
    "config.yaml", "environment.jsonl", "wandb.txt", "metrics.jsonl", "report.html",
    "state.pt", "last.safetensors", "best.safetensors",
)  # fmt: skip
"""What only a process that trains writes there."""


@contextmanager
def held(
    folder: Path,
    written: Sequence[str] = WRITTEN,
    busy: str = "is training in it: wait for its end, or choose another name=...",
) -> Iterator[None]:
    """Make a folder and keep every other process from working in it; the lock ends with its process.

    A folder that nothing was written into is taken away again. Windows, and disks that know no locks, keep nobody out.

    Args:
        folder: Of a training run, or of tags.
        written: What only that process writes; what is left of it half-written is removed.
        busy: What to say of a process that works there.

    Raises:
        ConfigError: the folder cannot be made, or another process works in it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / LOCK).open("a+", encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"out: {folder} cannot be made: {error.strerror or error}") from error
    with file:
        _lock(file, folder, busy)
        for name in written:
            sweep(folder / name)
        try:
            yield
        finally:
            with suppress(OSError):
                if os.listdir(folder) == [LOCK]:  # noqa: PTH208  # names are meant
                    (folder / LOCK).unlink()
                    folder.rmdir()


def found_in(folder: Path, *written: str) -> list[str]:
    """Names in a folder, but for its lock and what killed processes left of files half-written."""
    ours = (LOCK, *(f".{Path(name).stem}." for name in written))
    return [file.name for file in folder.iterdir() if not file.name.startswith(ours)]


def _lock(file: TextIO, folder: Path, busy: str) -> None:
    if sys.platform != "win32":
        import fcntl

        try:  # a record lock, not flock: workers would inherit that one and keep it for seconds after a kill
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN):
                file.seek(0)
                holder = file.read().strip() or "another process"
                raise ConfigError(f"{folder}: {holder} {busy}") from None
    with suppress(OSError):  # a full disk: the lock holds without its text, too
        file.seek(0)
        file.truncate()
        file.write(f"process {os.getpid()} on {gethostname()}, since {datetime.now():%Y-%m-%d %H:%M},")
        file.flush()
