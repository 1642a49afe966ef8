"""A training run while it goes on: what changes, how it is kept and taken up again, and how signals end it."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from timm.utils.model_ema import ModelEmaV3
from torch import Tensor, nn

from hemline.checkpoint import save_state
from hemline.config import Config
from hemline.data.loading import EpochSampler
from hemline.data.sample import Batch
from hemline.errors import StoppedError, WeightsError
from hemline.evaluate import Report
from hemline.instance_losses import InstanceLoss
from hemline.losses import JointLoss
from hemline.ranks import Ranks
from hemline.watch import EpochReport, StepReport


@dataclass
class Run:
    """Everything that changes while a run goes on."""

    loss: JointLoss | InstanceLoss
    model: nn.Module
    """`loss`, or what wraps it where several processes train."""
    optimizer: torch.optim.Optimizer
    scheduler: torch.optim.lr_scheduler.LambdaLR
    scaler: torch.amp.GradScaler
    average: ModelEmaV3
    sampler: EpochSampler
    device: torch.device
    dtype: torch.dtype
    """What the network computes in."""
    folder: Path
    ranks: Ranks
    epoch: int = 0
    step: int = 0
    """Steps done in this epoch."""
    losses: dict[str, float] = field(default_factory=dict)
    """Of the last step: each term, over all processes."""
    total: float = math.nan
    """Of the last step: their weighted sum."""
    sums: dict[str, float] = field(default_factory=dict)
    """Of this epoch's steps: the sum of each term, and of `total` by the name of no term, ''."""
    best: float = -math.inf
    stop: bool = False
    """Set by Ctrl-C and SIGTERM; the loop ends after the step in hand."""

    def autocast(self) -> torch.autocast:
        """Within it, the network computes in the recipe's precision."""
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)

    def hear(self, names: Sequence[str], means: Tensor, norm: Tensor, config: Config) -> None:
        """Take in the losses of a step.

        Raises:
            StoppedError: they or the gradient's norm are not finite.
        """
        with torch.no_grad():
            total = self.loss.task_weights(dict(zip(names, means, strict=True)))
        *losses, self.total, length = torch.cat([means, torch.stack([total, norm])]).tolist()  # the GPU is awaited once
        self.losses = dict(zip(names, losses, strict=True))
        if not math.isfinite(self.total):
            terms = ", ".join(f"{name} {loss:.3g}" for name, loss in self.losses.items())
            raise self._diverged(config, f"the loss is {self.total} ({terms})")
        if not math.isfinite(length) and not self.scaler.is_enabled():  # which takes a smaller scale, and no step
            raise self._diverged(config, f"the gradient's norm is {length}")
        for name, loss in (("", self.total), *self.losses.items()):
            self.sums[name] = self.sums.get(name, 0.0) + loss

    def _diverged(self, config: Config, what: str) -> StoppedError:
        kept = (self.folder / "state.pt").exists()
        advice = "and --resume goes on from the state last kept" if kept else "and begin anew: no state is kept yet"
        return StoppedError(
            f"{what} at epoch {self.epoch + 1}, step {self.step + 1}: lower lr={config.lr:g} {advice}"
        )

    def save(self) -> None:
        """Write what `--resume` needs, whole or not at all."""
        rng = self.ranks.gather(
            {
                "cpu": torch.get_rng_state(),
                "cuda": torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None,
            }
        )
        if not self.ranks.first:
            return
        state = {
            "loss": self.loss.state_dict(),
            "average": self.average.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "scaler": self.scaler.state_dict(),
            "epoch": self.epoch,
            "step": self.step,
            "sums": self.sums,
            "best": self.best,
            "rng": rng,
        }
        save_state(self.folder / "state.pt", state)

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `save` wrote, at this run's own learning rate and weight decay.

        Raises:
            WeightsError: the state is of another recipe.
        """
        groups = [(group["initial_lr"], group["weight_decay"]) for group in self.optimizer.param_groups]
        try:
            self.loss.load_state_dict(state["loss"])
            self.average.module.load_state_dict(state["average"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.scheduler.load_state_dict(state["scheduler"])
            self.scaler.load_state_dict(state["scaler"])
            self.epoch, self.step, self.best = state["epoch"], state["step"], state["best"]
            self.sums = state["sums"]
            if self.ranks.rank < len(state["rng"]):      # of more processes than before, the others begin anew
                rng = state["rng"][self.ranks.rank]
                torch.set_rng_state(rng["cpu"])
                if self.device.type == "cuda" and rng["cuda"] is not None:
                    torch.cuda.set_rng_state(rng["cuda"], self.device)
        except (KeyError, RuntimeError, ValueError) as error:
            lines = str(error).splitlines()
            reason = lines[1 if len(lines) > 1 else 0].strip()  # torch's first line names the class alone
            raise WeightsError(
                f"{self.folder}/state.pt is of another recipe than the one it was begun with ({reason})"
            ) from error
        self.scheduler.base_lrs = [lr for lr, _ in groups]
        for group, (lr, decay), rate in zip(
            self.optimizer.param_groups, groups, self.scheduler.lr_lambdas, strict=True
        ):
            group["initial_lr"], group["weight_decay"] = lr, decay
            group["lr"] = lr * rate(self.scheduler.last_epoch)


class Clock:
    """Times an epoch of a run, from the step that it stands at."""

    def __init__(self, run: Run, config: Config) -> None:
        self.run = run
        self.config = config
        self.first = run.step
        self.waited = 0.0
        self.begun = self.saved_at = time.perf_counter()

    def waited_for(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """The same batches; how long each was awaited is counted."""
        while True:
            begun = time.perf_counter()
            batch = next(batches, None)
            if batch is None:
                return
            self.waited += time.perf_counter() - begun
            yield batch

    def since_save(self) -> float:
        """Seconds since the state was kept, or the epoch begun."""
        return time.perf_counter() - self.saved_at

    def saved(self) -> None:
        """The state is kept."""
        self.saved_at = time.perf_counter()

    def report(self) -> StepReport:
        """What the step just done tells."""
        run, config = self.run, self.config
        seconds, done = time.perf_counter() - self.begun, run.step - self.first
        left = (config.epochs - run.epoch) * len(run.sampler) - run.step
        return StepReport(
            epoch=run.epoch,
            step=run.step,
            num_steps=len(run.sampler),
            loss=run.total,
            losses=run.losses,
            lr=float(run.scheduler.get_last_lr()[-1]),
            photos_per_second=done * config.batch_size / seconds,
            data_wait=min(1.0, self.waited / seconds),
            gpu_memory=torch.cuda.max_memory_allocated(run.device) / 2**30 if run.device.type == "cuda" else None,
            seconds_left=left * seconds / done,
        )


def epoch_report(run: Run, last: StepReport | None, report: Report | None, *, best: bool) -> EpochReport:
    """What the epoch just done tells.

    Args:
        run: Stands at the epoch's end.
        last: What its last step told.
        report: Its validation.
        best: Whether that is the best so far.
    """
    means = {name: total / len(run.sampler) for name, total in run.sums.items()}
    return EpochReport(
        epoch=run.epoch + 1,
        loss=means.pop(""),
        losses=means,
        lr=float(run.scheduler.get_last_lr()[-1]),
        photos_per_second=last and last.photos_per_second,
        data_wait=last and last.data_wait,
        gpu_memory=last and last.gpu_memory,
        report=report,
        best=best,
    )


class Stoppable(Protocol):
    """What ends when it is asked to."""

    stop: bool


@contextmanager
def stopped_by_signals(run: Stoppable) -> Iterator[None]:
    """Ctrl-C and SIGTERM end the run after the step in hand; a second Ctrl-C ends it at once."""

    def ask(*_: object) -> None:
        run.stop = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    try:
        before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not the main thread: whoever runs us handles signals
        before = {}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
