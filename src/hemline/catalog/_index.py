"""What an OUT has seen: which photos, under which paths. On the disk, so that memory stays as it is."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from hashlib import blake2b


class Index:
    """Answers about millions of photos; built anew by every process from what stands in the parts."""

    def __init__(self) -> None:
        self._base = sqlite3.connect("")                 # a file of its own, which goes with the connection
        self._base.execute("PRAGMA journal_mode=OFF")
        self._base.execute("CREATE TABLE done (key BLOB PRIMARY KEY) WITHOUT ROWID")
        self._base.execute("CREATE TABLE seen (sha256 BLOB PRIMARY KEY, position INTEGER) WITHOUT ROWID")
        self._base.execute("CREATE TABLE named (key BLOB PRIMARY KEY, times INTEGER) WITHOUT ROWID")

    def add(self, photos: Iterable[tuple[str, int]]) -> None:
        """Take in photos that are done: path and occurrence of each."""
        self._base.executemany("INSERT OR IGNORE INTO done VALUES (?)", ((_key(*photo),) for photo in photos))

    def is_done(self, path: str, occurrence: int) -> bool:
        """Whether a photo is."""
        asked = self._base.execute("SELECT 1 FROM done WHERE key = ?", (_key(path, occurrence),))
        return asked.fetchone() is not None

    def occurrence(self, path: str) -> int:
        """How often this was asked of the same path before."""
        asked = self._base.execute(
            "INSERT INTO named VALUES (?, 0) ON CONFLICT (key) DO UPDATE SET times = times + 1 RETURNING times",
            (_key(path, 0),),
        )
        return int(asked.fetchone()[0])

    def twin(self, sha256: str, position: int) -> int:
        """The position of the first answered photo with these bytes: this one, where there was none before."""
        key = bytes.fromhex(sha256)
        found = self._base.execute("SELECT position FROM seen WHERE sha256 = ?", (key,)).fetchone()
        if found is None:
            self._base.execute("INSERT INTO seen VALUES (?, ?)", (key, position))
        return position if found is None else int(found[0])

    def close(self) -> None:
        """Let its file go."""
        self._base.close()


def _key(path: str, occurrence: int) -> bytes:
    text = path.encode("utf-8", "surrogatepass")
    return blake2b(text, digest_size=16, salt=occurrence.to_bytes(8, "little")).digest()
