"""Several processes that train one network, as `torchrun` starts them: who this one is, and what they add up.

    torchrun --nproc-per-node 8 -m hemline train street

Each process reads its share of every step's photos. Losses are sums and counts (`mask_losses.Term`), both of which are
added up over the processes before they are divided, so that the gradient is that of one process with all the photos.
That is exact, but for rounding, for all losses of masks, labels, choices and presence. It is not where something is
counted or drawn over the photos that a process has at hand:

- batch norms in training on CPUs, which count each process's own photos (on GPUs, those of all);
- the losses of instance heads: means over the boxes or cells of a process's photos, weighed by its number of photos of
  which it is known what is drawn; and which boxes are learnt is drawn at random;
- dropout, whose draws are each process's own;
- pieces of a step (`grad_accum_steps`): the mean of their means, where one knows more than another.

An error that one process runs into is said by that process, one that all run into by the first; the others end by an
`ElsewhereError`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import torch
from timm.layers.norm_act import convert_sync_batchnorm
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from hemline.errors import ConfigError, DeviceError, ElsewhereError, HemlineError, in_short
from hemline.mask_losses import Term

if TYPE_CHECKING:
    from torch.distributed.distributed_c10d import Store

T = TypeVar("T")

SAID = "hemline/said"
"""Key of the store under which the first process leaves its last sentence."""
FIRST_SPEAKS = timedelta(seconds=5)
"""How long another waits for it."""


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

    def agreed(self, act: Callable[[], T]) -> T:
        """What a function gives, unless it fails in any process: then it fails in all. No two may wait in it together.

        Raises:
            HemlineError, OSError: what this process ran into, or all of them.
            ElsewhereError: another did.
        """
        if self.size == 1:
            return act()
        error: HemlineError | OSError | None = None
        try:
            result = act()
        except (HemlineError, OSError) as caught:
            error = caught
        (failed,) = self.any(error is not None)
        if not failed:
            return result
        said = self.gather(None if error is None else str(error))
        alike = None not in said and len(set(said)) == 1
        speaker = next(rank for rank, each in enumerate(said) if each is not None)
        if error is None or self.rank != speaker:
            raise ElsewhereError(self.of_process(speaker, said[speaker])) from error
        if alike or isinstance(error, OSError):          # whose sentence names a file, and is made elsewhere
            raise error
        raise type(error)(self.of_process(speaker, said[speaker])) from error

    def of_process(self, rank: int, said: object) -> str:
        """What a process says, with its number."""
        return f"process {rank + 1} of {self.size}: {said}"

    def wrap(self, module: nn.Module, device: torch.device) -> nn.Module:
        """A module whose gradients are averaged over the processes, and whose batch norms count over all GPUs.

        Only what learns at this moment is averaged: after freezing or unfreezing, wrap anew.
        """
        if self.size == 1:
            return module
        on_gpu = device.type == "cuda"
        if on_gpu and not any(isinstance(layer, nn.SyncBatchNorm) for layer in module.modules()):
            # timm's: torch's own would drop the activations within timm's norms, as timm's would in converting twice
            module = convert_sync_batchnorm(module)  # type: ignore[no-untyped-call]
        return DistributedDataParallel(module, device_ids=[device] if on_gpu else None)

    def alone(self, module: nn.Module) -> AbstractContextManager[None]:
        """Within it, gradients stay with each process, to be averaged with those of a later piece."""
        return module.no_sync() if isinstance(module, DistributedDataParallel) else nullcontext()

    def as_first(self, module: nn.Module) -> None:
        """Give a module the weights and statistics that it has in the first process."""
        if self.size == 1:
            return
        for value in module.state_dict().values():
            same = value.contiguous()
            distributed.broadcast(same, 0)
            value.copy_(same)

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
        right = 0 <= ranks.rank < ranks.size and ranks.local_rank >= 0
    except ValueError:
        right = False
    if not right or (ranks.size > 1 and "MASTER_ADDR" not in os.environ):
        said = ", ".join(f"{name}={os.environ[name]}" for name in (*names, "MASTER_ADDR") if name in os.environ)
        raise ConfigError(f"{said}: not what torchrun tells processes; start them with torchrun, or unset these")
    return ranks


@contextmanager
def joined(ranks: Ranks, *, on_gpu: bool) -> Iterator[None]:
    """Within it, the processes of a run can hear each other.

    Raises:
        DeviceError: they never could.
        ElsewhereError: instead of an error that another process says.
    """
    if ranks.size == 1 or distributed.is_initialized():
        yield
        return
    store = _meet(ranks, "cpu:gloo,cuda:nccl" if on_gpu else "gloo")
    try:
        yield
    except BaseException as error:
        told = _told(error, ranks, store)
        if not on_gpu:  # NCCL would wait for those who wait for us: the end of the process ends that
            distributed.destroy_process_group()
        if told is error:
            raise
        raise told from error
    distributed.destroy_process_group()


def _meet(ranks: Ranks, backend: str) -> Store:
    """Connect with the other processes; what they leave for each other.

    Raises:
        DeviceError: they cannot be reached.
    """
    from torch.distributed.rendezvous import rendezvous  # not in every build of torch

    store: Store
    try:
        store, rank, size = next(rendezvous("env://"))
        distributed.init_process_group(backend, store=store, rank=rank, world_size=size)
    except RuntimeError as error:
        raise DeviceError(
            f"process {ranks.rank + 1} of {ranks.size} cannot reach the others ({in_short(error)}); where the machine "
            "has several network interfaces, GLOO_SOCKET_IFNAME and NCCL_SOCKET_IFNAME name the one that they share"
        ) from error
    return store


def _told(error: BaseException, ranks: Ranks, store: Store) -> BaseException:
    """An error as this process tells it: of what all run into the first tells, and of the rest it is said whose it is.

    Args:
        error: What ended this process's part in the run.
        ranks: Who it is.
        store: Where the first leaves what it says.
    """
    lost = isinstance(error, distributed.DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error))
    if lost:
        error = ElsewhereError("another process of the run ended; its own message says why")
    elif isinstance(error, RuntimeError) and "finished reduction in the prior iteration" in str(error):
        error = ConfigError(
            "the network has weights that no loss reaches, which several processes cannot train: leave them out, or "
            "give their loss a weight"
        )
    try:
        if ranks.first:
            store.set(SAID, "" if isinstance(error, ElsewhereError) else str(error))
            return error
        if isinstance(error, ElsewhereError) or not isinstance(error, HemlineError):
            return error
        store.wait([SAID], FIRST_SPEAKS)
        if store.get(SAID).decode() == str(error):
            return ElsewhereError(str(error))
    except RuntimeError:
        pass                                             # the first goes on, or is gone and its store with it
    own = ranks.of_process(ranks.rank, "")
    return error if str(error).startswith(own) else type(error)(f"{own}{error}")
