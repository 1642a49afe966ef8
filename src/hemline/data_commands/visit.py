"""Looking at the photos of a dataset once, each by itself, in worker processes where there are many."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar

import torch
from torch.utils.data import DataLoader

from hemline.data import Dataset
from hemline.data.loading import quiet_worker
from hemline.errors import HemlineError

T = TypeVar("T")
FEW = 64
"""So many photos are looked at before a worker would have started."""


def visit(
    dataset: Dataset, indices: Sequence[int], look: Callable[[Dataset, int], T], *, workers: int
) -> Iterator[T | HemlineError]:
    """What `look` sees of each photo, in their order; of a photo that cannot be read, the error.

    Args:
        dataset: The dataset.
        indices: Positions of its photos.
        look: A function that a worker can be sent: of a module, or a `partial` of one.
        workers: Processes; 0 looks in this one.
    """
    looks = _Looks(dataset, indices, look)
    if workers == 0 or len(indices) <= FEW:
        yield from (looks[i] for i in range(len(indices)))
        return
    loader = DataLoader(
        looks, batch_size=8, num_workers=workers, collate_fn=list, worker_init_fn=quiet_worker,
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    for batch in loader:
        yield from batch


class _Looks(torch.utils.data.Dataset[T | HemlineError], Generic[T]):
    def __init__(self, dataset: Dataset, indices: Sequence[int], look: Callable[[Dataset, int], T]) -> None:
        self.dataset, self.indices, self.look = dataset, indices, look

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, position: int) -> T | HemlineError:
        try:
            return self.look(self.dataset, self.indices[position])
        except HemlineError as error:
            return error
