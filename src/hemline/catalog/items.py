"""What a catalogue names: photos one by one, in an order that is the same on every run.

    patterns --open_catalog--> Catalog --> Item --read_item, ahead.read_ahead--> bytes of a file

`folders.py` walks folders and globs, `sheets.py` reads tables, `shards.py` tar files, `remote.py` all that has a URL.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from hemline.catalog import folders, remote
from hemline.errors import DataError, PhotoError

if TYPE_CHECKING:
    import pyarrow as pa

    from hemline.catalog.sheets import Sheet


class Item(NamedTuple):
    """One photo that a catalogue names; it can be pickled."""

    path: str
    """Its name in all answers: a path, a URL without user and password, or `SHARD.tar::MEMBER`. Valid UTF-8. Where a
    row names no photo, its place: `shop.csv, line 12`."""
    row: dict[str, Any]
    """What stands beside it in the catalogue: every column of `Catalog.schema`; empty where there are none."""
    problem: str | None = None
    """One sentence where there is no photo to read: a folder that is missing, a row without a path."""
    data: bytes | None = None
    """The file's bytes where they were read with the catalogue (shards that cannot be sought in)."""
    source: str | None = None
    """Where it is read from, if not from `path`: the URL with its password, the shard, a name that is not UTF-8."""
    span: tuple[int, int] | None = None
    """(offset, size) in bytes where it is a part of `source`."""


class Catalog(Protocol):
    """What is asked for, whatever kind it is of; build it with `open_catalog`."""

    schema: pa.Schema
    """The columns that come in with the photos; those of a CSV are all text."""

    def __iter__(self) -> Iterator[Item]:
        """The photos, in an order that depends on the catalogue alone."""

    def count(self) -> int | None:
        """How many there are; None where that cannot be known cheaply."""


def open_catalog(patterns: Sequence[str], *, path_column: str | None = None) -> Catalog:
    """Open what holds the photos; nothing is read of them yet."""
    raise NotImplementedError


def read_item(item: Item) -> bytes:
    """The bytes of a photo's file. Raises PhotoError."""
    raise NotImplementedError
