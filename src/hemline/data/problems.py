"""What is wrong with a dataset's files: found while it is opened, and listed by `hemline data check`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from hemline.errors import DataError

Damaged = Literal["refuse", "skip"]
"""What is done with rows that cannot be used: `refuse` opens nothing, `skip` leaves them out."""


class Problem(NamedTuple):
    """One thing that is wrong."""

    kind: str
    """What kind of thing, in a word or two: `missing photo`, `unknown category`, `bad mask`."""
    file: str
    """The file it stands in."""
    row: str
    """Where in it: `line 12`, `annotation 7`; empty for the whole file."""
    what: str
    """What is wrong, with the value, and what would be right."""

    def __str__(self) -> str:
        where = f"{self.file}, {self.row}" if self.row else self.file
        return f"{where}: {self.what}"


class Finding(NamedTuple):
    """A problem that `hemline data check` found, and how bad it is."""

    severity: Literal["error", "warning"]
    """`error`: training would refuse it, or learn or measure something false. `warning`: worth knowing."""
    dataset: str
    """The name of the set it is in; empty where it is in all of them together."""
    problem: Problem


def refuse(name: str, path: Path, problems: Sequence[Problem]) -> None:
    """Open nothing where there are problems.

    Raises:
        DataError: the first problem, and how many more there are.
    """
    if not problems:
        return
    more = f" (and {len(problems) - 1:,} more)" if len(problems) > 1 else ""
    raise DataError(
        f"{name}: {problems[0]}{more}; `hemline data check {name}={path}` lists all, and damaged=skip leaves them out"
    )


def are_there(folder: Path, paths: Sequence[str]) -> list[bool]:
    """Whether each file is there, by its path in `folder` with `/`; every folder is listed once."""
    listed: dict[str, frozenset[str]] = {}
    found = []
    for path in paths:
        inner, _, name = path.rpartition("/")
        if inner not in listed:
            try:
                place = folder / (inner or ("/" if path.startswith("/") else "."))
                listed[inner] = frozenset(os.listdir(place))       # noqa: PTH208 - a Path for each of a million is slow
            except (OSError, ValueError):                 # no such folder; a name that no file can have
                listed[inner] = frozenset()
        found.append(name in listed[inner])
    return found
