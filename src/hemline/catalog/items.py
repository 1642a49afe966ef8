"""What a catalogue names: photos one by one, in an order that is the same on every run.

    patterns --open_catalog--> Catalog --> Item --read_item, ahead.read_ahead--> bytes of a file

`folders.py` walks folders and globs, `sheets.py` reads tables, `shards.py` tar files, `remote.py` all that has a URL.
"""

from __future__ import annotations

import glob
import json
import os
import shutil
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlsplit
from urllib.request import url2pathname

from hemline.catalog import folders, remote
from hemline.catalog.shards import TAR_SUFFIXES, members_of
from hemline.errors import DataError, PhotoError
from hemline.photo import is_photo

try:
    import pyarrow as pa

    from hemline.catalog.sheets import Sheet
except ImportError as error:
    raise DataError('a catalogue needs more packages: pip install "hemline[catalog]"') from error

TABLE_SUFFIXES = (".csv", ".tsv", ".parquet", ".pq")
"""Ends of the names of tables, in lower case."""


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
    """Open what holds the photos: tables are read as far as their columns, the rest is not looked at yet.

    Args:
        patterns: Folders, globs, single photos, tables (`.csv`, `.tsv`, `.parquet`, `.pq`), tar shards (`.tar`,
            `.tar.gz`, `.tgz`), and globs of tables and shards, on this machine or at URLs.
        path_column: The column of paths or URLs in all tables; the only one of `sheets.PATH_COLUMNS` if not given.

    Returns:
        All of it, in the order of the patterns, with the columns of all tables: a column that has another type in
        another table is text.

    Raises:
        DataError: a table cannot be read, or does not say which of its columns is that of the photos; there is
            no pattern.
    """
    if not patterns:
        raise DataError("a catalogue needs a folder, a glob, a table or a shard")
    kinds = [kind for pattern in patterns for kind in _kinds(pattern, path_column)]
    return kinds[0] if len(kinds) == 1 else _Several(kinds)


def read_item(
    item: Item, *, max_bytes: int = remote.MAX_BYTES, tries: int = remote.TRIES, timeout: float = remote.TIMEOUT
) -> bytes:
    """Read the file of a photo, as it is; whether it is a photo is not known yet.

    Args:
        item: From a catalogue.
        max_bytes: The size of the largest file to read.
        tries: How often to try what may pass: a time-out, a broken connection, HTTP 429 or 5xx.
        timeout: Seconds to wait for a connection, and for more bytes. Over http a try may take four times as long in
            all, and none begins later than that.

    Raises:
        PhotoError: it cannot be read, with the reason; or the item's own problem.
    """
    if item.problem is not None:
        raise PhotoError(item.problem)
    if item.data is not None:
        return item.data
    source = item.source or item.path
    if is_remote(item):
        return remote.fetch(source, max_bytes=max_bytes, tries=tries, timeout=timeout)
    try:
        return _read_file(_local(source), item, max_bytes)
    except (OSError, ValueError) as error:  # ValueError: a name that holds a zero byte
        raise PhotoError(f"{item.path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None


def is_remote(item: Item) -> bool:
    """Whether reading the photo takes a wait for another machine."""
    if item.problem is not None or item.data is not None or item.span is not None:
        return False
    return remote.protocol_of(item.source or item.path) not in (None, "file")


def _kinds(pattern: str, path_column: str | None) -> list[_Photos | _Table | _Shard]:
    """What a pattern names: one catalogue, or one for each table or shard that it matches.

    Raises:
        DataError: as in `open_catalog`.
    """
    protocol = remote.protocol_of(pattern)
    try:
        if protocol == "file":
            pattern, protocol = str(_local(pattern)), None
        name = (remote.name_of(pattern) if protocol else pattern).lower()
    except ValueError:
        raise DataError(f"{remote.shown(pattern)}: not an address that can be read") from None
    if not name.endswith((*TABLE_SUFFIXES, *TAR_SUFFIXES)) or (not protocol and Path(pattern).is_dir()):
        return [_Photos(pattern)]
    names = [pattern]
    if protocol and remote.is_glob(pattern):
        try:
            names = remote.listing(pattern)
        except PhotoError as error:
            raise DataError(str(error)) from None
    elif not protocol and glob.has_magic(pattern) and not Path(pattern).exists():
        names = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207, Path.glob refuses absolute patterns
    if not names:
        raise DataError(f"{remote.shown(pattern) if protocol else pattern}: no file matches")
    return [_Table(each, path_column) if name.endswith(TABLE_SUFFIXES) else _Shard(each) for each in names]


class _Photos:
    """A folder, a glob, or a single photo."""

    schema = pa.schema([])

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern

    def __iter__(self) -> Iterator[Item]:
        if remote.protocol_of(self._pattern) is not None:
            yield from self._listed
        else:
            yield from (_item(path, problem=problem) for path, problem in folders.photos_of(self._pattern))

    def count(self) -> int:
        return sum(1 for _ in self)

    @cached_property
    def _listed(self) -> list[Item]:
        url = self._pattern
        try:
            urls = [url]
            if not remote.is_one_photo(url):
                urls = [each for each in remote.listing(url) if is_photo(remote.name_of(each))]
        except PhotoError as error:
            return [_item(url, problem=str(error))]
        return [_item(each) for each in urls] or [_item(url, problem=f"{remote.shown(url)}: no photo is there")]


class _Table:
    """A table of photos; one at a URL is copied into a temporary folder, which goes with it."""

    def __init__(self, name: str, path_column: str | None) -> None:
        self._url = name if remote.protocol_of(name) else None
        self._name = _utf8(name) if self._url is None else remote.shown(name)
        self._folder = Path(name).parent
        file = Path(name)
        if self._url is not None:
            folder = tempfile.mkdtemp(prefix="hemline-")
            weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
            file = Path(folder, f"table{Path(remote.name_of(name)).suffix}")
            try:
                remote.download(name, file)
            except PhotoError as error:
                raise DataError(str(error)) from None
        self._sheet = Sheet(file, self._name, path_column)
        self.schema = self._sheet.schema

    def __iter__(self) -> Iterator[Item]:
        column = self._sheet.path_column
        for place, cell, values, problem in self._sheet:
            if (named := (values[column] or "").strip()) and remote.protocol_of(named) is not None:
                values[column] = remote.public(named)
            source = ""
            try:
                source = self._source(cell)
            except ValueError:
                problem = f"{remote.shown(cell)!r} is not an address that can be read"
            if problem is not None:
                name = f"{self._name}, {place}"
                yield Item(name, values, problem=f"{name}: {problem}")
            else:
                yield _item(source, values)

    def count(self) -> int:
        return self._sheet.count()

    def _source(self, cell: str) -> str:
        """Where a photo is; a ValueError where that is no address."""
        if remote.protocol_of(cell) is not None:
            return cell
        if self._url is not None:
            return remote.beside(self._url, cell)
        return str(Path(self._folder, cell.replace("\\", "/")))


class _Shard:
    """The photos of a tar file; one at a URL is copied into a temporary folder while they are read."""

    schema = pa.schema([])

    def __init__(self, name: str) -> None:
        self._name = name

    def __iter__(self) -> Iterator[Item]:
        if remote.protocol_of(self._name) is None:
            yield from self._items(Path(self._name), _utf8(self._name))
            return
        with tempfile.TemporaryDirectory(prefix="hemline-") as folder:
            try:
                remote.download(self._name, file := Path(folder, "shard"))
            except PhotoError as error:
                yield _item(self._name, problem=str(error))
                return
            yield from self._items(file, remote.public(self._name), carry=True)

    def count(self) -> None:
        return None

    def _items(self, file: Path, name: str, carry: bool = False) -> Iterator[Item]:
        for member, offset, size, data, problem in members_of(file, remote.MAX_BYTES, carry):
            path = f"{name}::{member}" if member else name
            if problem is not None:
                yield Item(path, {}, problem=f"{remote.shown(name)}{path[len(name) :]}: {problem}")
            elif data is not None:
                yield Item(path, {}, data=data)
            else:
                yield Item(path, {}, source=str(file), span=(offset, size))


class _Several:
    """Catalogues one after the other, with the columns of all of them."""

    def __init__(self, kinds: Sequence[Catalog]) -> None:
        self._kinds = kinds
        types: dict[str, pa.DataType] = {}
        for field in (field for kind in kinds for field in kind.schema):
            types[field.name] = _common(types.get(field.name, field.type), field.type)
        self.schema = pa.schema(list(types.items()))

    def __iter__(self) -> Iterator[Item]:
        absent = dict.fromkeys(self.schema.names)
        for kind in self._kinds:
            texts = [
                field.name for field in kind.schema
                if field.type != (common := self.schema.field(field.name).type) and pa.types.is_string(common)
            ]  # fmt: skip
            for item in kind:
                row = absent | item.row
                row |= {name: _text(row[name]) for name in texts}
                yield item._replace(row=row)

    def count(self) -> int | None:
        total = 0
        for kind in self._kinds:
            count = kind.count()
            if count is None:
                return None
            total += count
        return total


def _common(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    """The type that holds what two tables call by one name."""
    if one == other or pa.types.is_null(other):
        return one
    if pa.types.is_null(one):
        return other
    if all(pa.types.is_integer(kind) and kind != pa.uint64() for kind in (one, other)):
        return pa.int64()
    return pa.string()


def _text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, (bool, list, dict)):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)


def _item(source: str, row: dict[str, Any] | None = None, problem: str | None = None) -> Item:
    """An item under the name that it may have in tables."""
    path = _utf8(source) if remote.protocol_of(source) is None else remote.public(source)
    return Item(path, row or {}, problem=problem and _utf8(problem), source=None if path == source else source)


def _utf8(path: str) -> str:
    """A path as valid text: bytes of a name that are not UTF-8 are written out, as backslash, x, ff."""
    return path.encode(errors="surrogateescape").decode(errors="backslashreplace")


def _local(source: str) -> Path:
    """The path of a file on this machine, or of a `file://` URL."""
    return Path(url2pathname(urlsplit(source).path) if remote.protocol_of(source) == "file" else source)


def _read_file(path: Path, item: Item, max_bytes: int) -> bytes:
    if not path.is_file():  # a pipe or device may never end
        kind = "a folder, not a photo" if path.is_dir() else "not a regular file" if path.exists() else "no such file"
        raise PhotoError(f"{item.path}: {kind}")
    with path.open("rb") as file:
        offset, size = item.span or (0, os.fstat(file.fileno()).st_size)
        if size > max_bytes:
            raise PhotoError(f"{item.path}: {size:,} bytes; photos may have {max_bytes:,}")
        file.seek(offset)
        content = file.read(size)
    if len(content) < size:
        raise PhotoError(f"{item.path}: its shard ends within it")
    return content
