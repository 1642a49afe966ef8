"""What a catalogue names: photos one by one, in an order that is the same on every run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

import pyarrow as pa


class Item(NamedTuple):
    """One photo that a catalogue names."""

    path: str
    """Its name in all answers: a path, a URL, or `SHARD.tar::MEMBER`."""
    row: dict[str, Any]
    """What stands beside it in the catalogue, by column of `Catalog.schema`; empty for folders, globs and shards."""
    problem: str | None = None
    """One sentence where there is no photo to read: a folder that is missing, a row without a path."""
    data: bytes | None = None
    """The file's bytes where they were read with the catalogue (shards that cannot be sought in)."""


class Catalog(Protocol):
    """What is asked for, whatever kind it is of; build it with `open_catalog`."""

    schema: pa.Schema
    """The columns that come in with the photos; those of a CSV are all text."""

    def __iter__(self) -> Iterator[Item]:
        """The photos, in an order that depends on the catalogue alone."""

    def count(self) -> int | None:
        """How many there are; None where that cannot be known cheaply."""
