"""Files that are written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hemline.errors import UnwritableError


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary file to write, which takes the place of `path` when it is whole and on the disk.

    Raises:
        UnwritableError: the disk is full, or the folder is missing or not writable.
    """
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")  # `sweep` knows it by this
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise UnwritableError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)
    if os.name == "posix":
        _name_on_disk(path.parent)


def sweep(path: Path) -> None:
    """Remove what killed processes left of a file half-written; nobody may be writing it now."""
    for left in path.parent.glob(f".{path.stem}.*{path.suffix}"):
        if left.name[len(path.stem) + 2 : -len(path.suffix)].isdecimal():
            left.unlink(missing_ok=True)


def _name_on_disk(folder: Path) -> None:
    """See to it that a file's new name lives through a power cut, too."""
    with suppress(OSError):  # some disks keep names by themselves and refuse this
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
