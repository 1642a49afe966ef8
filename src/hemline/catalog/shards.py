"""Photos in tar files, as WebDataset and others write them: one after the other, without unpacking."""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from hemline.photo import is_photo

TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz")
"""Ends of the names of shards, in lower case."""
_BROKEN = (tarfile.TarError, OSError, EOFError, zlib.error, ValueError)


class Member(NamedTuple):
    """One photo of a shard, or why there is none."""

    name: str
    """Its name in the shard; `""` of what ails the shard as a whole."""
    offset: int
    """Where its bytes begin in the shard's file, if that is not compressed."""
    size: int
    """Length in bytes."""
    data: bytes | None = None
    """Its bytes, where they cannot be read by offset and size alone."""
    problem: str | None = None


def members_of(shard: Path, max_bytes: int, carry: bool = False) -> Iterator[Member]:
    """The photos of a tar file in its order, by the ends of their names; other files and what is hidden are passed over.

    Whatever is broken ends them with a member that has a problem; those before it are good.

    Args:
        shard: A tar file, plain or compressed by gzip, told by its content.
        max_bytes: The size of the largest photo whose bytes are read.
        carry: Read the bytes of a plain shard, too; those of a compressed one always are.
    """
    try:
        with shard.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        if packed:
            with tarfile.open(shard, "r|gz") as tar:
                yield from _members(tar, max_bytes, carry=True, end=None)
        else:
            with tarfile.open(shard, "r:") as tar:
                yield from _members(tar, max_bytes, carry, end=shard.stat().st_size)
                yield from _unless_ended(shard, tar.offset)
    except _BROKEN as error:
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        yield Member("", 0, 0, problem=f"the shard cannot be read on from here: {why}")


def _members(tar: tarfile.TarFile, max_bytes: int, carry: bool, end: int | None) -> Iterator[Member]:
    """All photos; `end` is the size of a plain shard's file.

    Raises:
        tarfile.TarError: the shard is broken; so do the others of `_BROKEN`.
    """
    while (info := tar.next()) is not None:
        tar.members = []  # or it keeps each one
        if not info.isreg() or not is_photo(PurePosixPath(info.name).name):
            continue
        if end is not None and info.offset_data + info.size > end and not info.issparse():
            raise tarfile.ReadError(f"it ends within {_utf8(info.name)}")
        data = problem = None
        if info.size > max_bytes:
            problem = f"{info.size:,} bytes; photos may have {max_bytes:,}"
        elif carry or info.issparse():
            content = tar.extractfile(info)
            assert content is not None
            data = content.read()
            if len(data) < info.size:
                raise tarfile.ReadError(f"it ends within {_utf8(info.name)}")
        yield Member(_utf8(info.name), info.offset_data, info.size, data, problem)


def _unless_ended(shard: Path, offset: int) -> Iterator[Member]:
    """A problem where a plain shard stops without the empty block that ends a tar file: `tarfile` takes it as an end."""
    with shard.open("rb") as file:
        file.seek(offset)
        block = file.read(tarfile.BLOCKSIZE)
    if block != bytes(tarfile.BLOCKSIZE):
        yield Member("", 0, 0, problem="the shard is torn: it has no end mark, and photos may be missing from here on")


def _utf8(name: str) -> str:
    return name.encode(errors="surrogateescape").decode(errors="backslashreplace")
