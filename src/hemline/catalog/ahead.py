"""Reading ahead, where it is the wait for each photo that takes the time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from hemline.catalog.items import Item
from hemline.errors import PhotoError


def read_ahead(items: Iterable[Item], threads: int = 16) -> Iterator[tuple[Item, bytes | PhotoError]]:
    """The files of photos, in their order, URLs read ahead."""
    raise NotImplementedError
