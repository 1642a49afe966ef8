"""What an OUT has seen: which photos, under which paths. On the disk, so that memory stays as it is."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from hashlib import blake2b

from hemline.errors import UnwritableError


class Index:
    """Answers about millions of photos; built anew by every process from what stands in the parts.

    Every method raises UnwritableError where the system's temporary folder is full.
    """

    def __init__(self) -> None:
        self._base = sqlite3.connect("")                 # a file of its own, which goes with the connection
        self._ask("PRAGMA journal_mode=OFF")
        self._ask("CREATE TABLE done (key BLOB PRIMARY KEY) WITHOUT ROWID")
        self._ask("CREATE TABLE seen (sha256 BLOB PRIMARY KEY, position INTEGER) WITHOUT ROWID")
        self._ask("CREATE TABLE named (key BLOB PRIMARY KEY, times INTEGER) WITHOUT ROWID")

    def add(self, photos: Iterable[tuple[str, int]]) -> None:
        """Take in photos that are done: path and occurrence of each."""
        with _room():
            self._base.executemany("INSERT OR IGNORE INTO done VALUES (?)", ((_key(*photo),) for photo in photos))

    def is_done(self, path: str, occurrence: int) -> bool:
        """Whether a photo is."""
        return self._ask("SELECT 1 FROM done WHERE key = ?", _key(path, occurrence)) is not None

    def occurrence(self, path: str) -> int:
        """How often this was asked of the same path before."""
        sql = "INSERT INTO named VALUES (?, 0) ON CONFLICT (key) DO UPDATE SET times = times + 1 RETURNING times"
        (times,) = self._ask(sql, _key(path, 0)) or (0,)
        return int(times)

    def twin(self, sha256: str, position: int) -> int:
        """The position of the first answered photo with these bytes: this one, where there was none before."""
        key = bytes.fromhex(sha256)
        found = self._ask("SELECT position FROM seen WHERE sha256 = ?", key)
        if found is None:
            self._ask("INSERT INTO seen VALUES (?, ?)", key, position)
        return position if found is None else int(found[0])

    def close(self) -> None:
        """Let its file go."""
        self._base.close()

    def _ask(self, sql: str, *values: bytes | int) -> tuple[int, ...] | None:
        """The first row of an answer, if any."""
        with _room():
            row: tuple[int, ...] | None = self._base.execute(sql, values).fetchone()
            return row


@contextmanager
def _room() -> Iterator[None]:
    """Say which folder has no room."""
    try:
        yield
    except sqlite3.OperationalError as error:
        named = os.environ.get("SQLITE_TMPDIR") or os.environ.get("TMPDIR") or ""
        places = (named, "/var/tmp")                     # where SQLite looks, in this order
        folder = next((place for place in places if os.access(place, os.W_OK | os.X_OK)), tempfile.gettempdir())
        raise UnwritableError(
            f"{folder}: the temporary folder cannot be written ({error}): make room there, or name another by TMPDIR"
        ) from error


def _key(path: str, occurrence: int) -> bytes:
    text = path.encode("utf-8", "surrogatepass")
    return blake2b(text, digest_size=16, salt=occurrence.to_bytes(8, "little")).digest()
