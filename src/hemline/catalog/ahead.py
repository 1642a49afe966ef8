"""Reading ahead, where the wait for another machine takes longer than the photo."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from hemline.catalog.items import Item, is_remote, read_item
from hemline.errors import PhotoError

Answer = bytes | PhotoError


def read_ahead(
    items: Iterable[Item], threads: int = 16, *, photos: int = 64, max_bytes: int = 256_000_000
) -> Iterator[tuple[Item, Answer]]:
    """The files of photos in the order of `items`; those at URLs are read ahead, the others when it is their turn.

    Args:
        items: From a catalogue; taken in the thread that asks.
        threads: URLs read at a time.
        photos: The most items that are taken ahead of the one given.
        max_bytes: No further item is taken while the files that wait have this many bytes; those being read come on
            top, at most one a thread.

    Yields:
        Each item with the bytes of its file, or why it cannot be read.
    """
    source = iter(items)
    waiting: deque[tuple[Item, Future[Answer] | None]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="read-ahead")  # starts a thread only when it has work
    more = True
    try:
        while True:
            while more and len(waiting) < photos and (not waiting or _held(waiting) < max_bytes):
                item = next(source, None)
                more = item is not None
                if item is not None:
                    waiting.append((item, pool.submit(_read, item) if is_remote(item) else None))
            if not waiting:
                return
            item, future = waiting.popleft()
            yield item, _read(item) if future is None else future.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _read(item: Item) -> Answer:
    try:
        return read_item(item)
    except PhotoError as error:
        return error


def _held(waiting: Iterable[tuple[Item, Future[Answer] | None]]) -> int:
    """Bytes of the files that wait to be given."""
    total = 0
    for item, future in waiting:
        answer = item.data if future is None else future.result() if future.done() else None
        total += len(answer) if isinstance(answer, bytes) else 0
    return total
