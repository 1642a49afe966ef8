"""Several processes that train one network, as `torchrun` starts them: who this one is, and what they add up.

    torchrun --nproc-per-node 8 -m hemline train street

Each process reads its share of every step's photos. Losses are sums and counts (`mask_losses.Term`), both of which are
added up over the processes before they are divided, so that the gradient is that of one process with all the photos.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from hemline.errors import ConfigError
from hemline.mask_losses import Term

T = TypeVar("T")


class Ranks(NamedTuple):
    """This process among those of the run."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    """Among those of this machine: the number of its GPU."""

    @property
    def first(self) -> bool:
        """Whether this is the one that writes and prints."""
        return self.rank == 0

    def share(self, items: Sequence[T]) -> Sequence[T]:
        """This process's part of a list: parts are contiguous, in the order of the ranks, as even as can be."""
        begin, end = (len(items) * r // self.size for r in (self.rank, self.rank + 1))
        return items[begin:end]

    def gather(self, value: T) -> list[T]:
        """The values of all processes, in the order of the ranks; they must be picklable."""
        if self.size == 1:
            return [value]
        values = [value] * self.size
        distributed.all_gather_object(values, value)
        return values

    def wrap(self, module: nn.Module, device: torch.device) -> nn.Module:
        """A module whose gradients are averaged over the processes."""
        if self.size == 1:
            return module
        on_gpu = device.type == "cuda"
        if on_gpu:
            module = nn.SyncBatchNorm.convert_sync_batchnorm(module)  # type: ignore[no-untyped-call]
        return DistributedDataParallel(module, device_ids=[device] if on_gpu else None)

    def alone(self, module: nn.Module) -> AbstractContextManager[None]:
        """Within it, gradients stay with each process, to be averaged with those of a later piece."""
        return module.no_sync() if isinstance(module, DistributedDataParallel) else nullcontext()

    def any(self, *asked: bool) -> list[bool]:
        """For each thing whether any process asks for it."""
        if self.size == 1:
            return list(asked)
        votes = torch.tensor(asked, dtype=torch.int32)
        distributed.all_reduce(votes)
        return [bool(count) for count in votes]

    def means(self, terms: Mapping[str, Term]) -> tuple[dict[str, Tensor], Tensor]:
        """What to train on, and what to report.

        Returns:
            The terms, so divided that the mean over the processes of their gradients is the gradient of the mean over
            all that is known; and that mean of each term, (T,) without gradient.
        """
        if self.size == 1:
            losses = {name: term.mean() for name, term in terms.items()}
            return losses, torch.stack([loss.detach().float() for loss in losses.values()])
        sums = torch.stack([torch.stack([term.total.detach(), term.known]).float() for term in terms.values()])
        distributed.all_reduce(sums)
        totals, known = sums[:, 0], sums[:, 1].clamp(min=1)
        losses = {
            name: term.total * (self.size / each) for (name, term), each in zip(terms.items(), known, strict=True)
        }
        return losses, totals / known


def find_ranks() -> Ranks:
    """This process as `torchrun` numbered it; the only one where nobody did.

    Raises:
        ConfigError: the numbers are not those of `torchrun`.
    """
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
    try:
        ranks = Ranks(*(int(os.environ.get(name, default)) for name, default in zip(names, "010", strict=True)))
    except ValueError:
        said = ", ".join(f"{name}={os.environ[name]}" for name in names if name in os.environ)
        raise ConfigError(f"{said}: not the numbers of processes; start them with torchrun, or unset these") from None
    return ranks


@contextmanager
def joined(ranks: Ranks, device: torch.device) -> Iterator[None]:
    """Within it, the processes of a run can hear each other."""
    if ranks.size == 1 or distributed.is_initialized():
        yield
        return
    distributed.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
    try:
        yield
    finally:
        distributed.destroy_process_group()
