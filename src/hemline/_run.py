"""A training run while it goes on: what changes, how it is kept and taken up again, and how signals end it."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from timm.utils.model_ema import ModelEmaV3
from torch import Tensor, nn

from hemline._troubles import going_on
from hemline.checkpoint import save_state
from hemline.config import Config
from hemline.data.loading import EpochSampler
from hemline.data.sample import Batch
from hemline.errors import ConfigError, StoppedError, WeightsError
from hemline.evaluate import Report
from hemline.instance_losses import InstanceLoss
from hemline.losses import JointLoss
from hemline.optim import NOTHING_LEARNS, frozen
from hemline.ranks import Ranks
from hemline.watch import EpochReport, StepReport

LEAST_SCALE = 1.0
"""Of a loss in fp16: a gradient that overflows without any scale will not fit with a smaller one."""


@dataclass
class Run:
    """Everything that changes while a run goes on."""

    loss: JointLoss | InstanceLoss
    model: nn.Module
    """`loss`, or what wraps it where several processes train."""
    optimizer: torch.optim.Optimizer
    schedule: Callable[[int], float]
    """Steps done in the run -> factor of the peak learning rate in the next one."""
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
    seconds_before: float = 0.0
    """How long the processes before this one took, until each kept the state for the last time."""
    begun: float = field(default_factory=time.perf_counter)
    stop: bool = False
    """Set by Ctrl-C and SIGTERM; the loop ends after the step in hand."""

    @property
    def steps_done(self) -> int:
        """Of all epochs."""
        return self.epoch * len(self.sampler) + self.step

    @property
    def lr(self) -> float:
        """The heads' learning rate in the last step."""
        return float(self.optimizer.param_groups[-1]["lr"])

    def let_learn(self, config: Config) -> None:
        """Put into training what learns in this epoch; the rest stays as it is.

        Raises:
            ConfigError: nothing would learn.
        """
        self.loss.train()
        network = self.loss.network
        new = [name for name, _ in network.named_parameters() if name.startswith("label_head.direct.")]
        stays = frozen(network, config, self.epoch, growing=new)
        changed = self.model is self.loss                # not wrapped yet
        for group in self.optimizer.param_groups:
            for parameter in group["params"]:
                changed |= parameter.requires_grad == (parameter in stays)
                parameter.requires_grad_(parameter not in stays)
        if not any(parameter.requires_grad for parameter in network.parameters()):
            raise ConfigError(NOTHING_LEARNS)
        if changed:                                      # what averages gradients knows from its beginning which
            self.model = self.ranks.wrap(self.loss, self.device)

    @property
    def seconds(self) -> float:
        """How long the run took so far, without the pauses; steps that an interruption lost are not counted."""
        return self.seconds_before + time.perf_counter() - self.begun

    def autocast(self) -> torch.autocast:
        """Within it, the network computes in the recipe's precision."""
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)

    def hear(self, names: Sequence[str], means: Tensor, norm: Tensor, config: Config) -> None:
        """Take in the losses of a step.

        Raises:
            StoppedError: they or the gradient's norm are not finite.
        """
        with torch.no_grad():
            total = self.loss.task_weights(dict(zip(names, means, strict=True)), means)
        *losses, self.total, length = torch.cat([means, torch.stack([total, norm])]).tolist()  # the GPU is awaited once
        self.losses = dict(zip(names, losses, strict=True))
        if not math.isfinite(self.total):
            terms = ", ".join(f"{name} {loss:.3g}" for name, loss in self.losses.items())
            raise self._diverged(config, f"the loss is {self.total} ({terms})")
        if not math.isfinite(length):
            if not self.scaler.is_enabled():
                raise self._diverged(config, f"the gradient's norm is {length}")
            if self.scaler.get_scale() <= LEAST_SCALE:   # else the scaler skips the step, and takes a smaller one
                raise self._diverged(config, f"the gradient overflows fp16 without any scale (its norm is {length})")
        for name, loss in (("", self.total), *self.losses.items()):
            self.sums[name] = self.sums.get(name, 0.0) + loss

    def _diverged(self, config: Config, what: str) -> StoppedError:
        others = {torch.bfloat16: " or take precision=float32", torch.float16: " or take precision=bf16 or float32"}
        return StoppedError(
            f"{what} at epoch {self.epoch + 1}, step {self.step + 1}: lower lr={config.lr:g}"
            f"{others.get(self.dtype, '')}, for the same recipe comes to the same again, and {going_on(self.folder)}"
        )

    def save(self) -> None:
        """Write what `--resume` needs, whole or not at all."""
        rng = self.ranks.gather(
            {
                "cpu": torch.get_rng_state(),
                "cuda": torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None,
            }
        )
        state = {
            "loss": self.loss.state_dict(),
            "average": self.average.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "epoch": self.epoch,
            "step": self.step,
            "batch_size": self.sampler.batch_size,
            "sums": self.sums,
            "best": self.best,
            "seconds": self.seconds,
            "rng": rng,
        }
        self.ranks.agreed(lambda: save_state(self.folder / "state.pt", state) if self.ranks.first else None)

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `save` wrote, at this run's own learning rate and weight decay, and on its own device.

        Raises:
            WeightsError: the state is of another recipe.
        """
        try:
            self.loss.load_state_dict(state["loss"])
            self.average.module.load_state_dict(state["average"])
            for kept, own in zip(state["optimizer"]["param_groups"], self.optimizer.param_groups, strict=False):
                kept |= {key: own[key] for key in ("initial_lr", "weight_decay", "fused") if key in own}
            self.optimizer.load_state_dict(state["optimizer"])
            self.scaler.load_state_dict(state["scaler"])
            self.epoch, self.step, self.best = state["epoch"], state["step"], state["best"]
            self.sums, self.seconds_before = state["sums"], state["seconds"]
            if self.step and state["batch_size"] != self.sampler.batch_size:
                photos = self.step * state["batch_size"]             # which this epoch has seen
                self.step = min(len(self.sampler), photos // self.sampler.batch_size)
                self.sums = {name: total * self.step / state["step"] for name, total in self.sums.items()}
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
            lr=run.lr,
            photos_per_second=done * min(config.batch_size, run.sampler.num_photos) / seconds,
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
        lr=run.lr,
        photos_per_second=last and last.photos_per_second,
        data_wait=last and last.data_wait,
        gpu_memory=last and last.gpu_memory,
        seconds=run.seconds,
        report=report,
        best=best,
        task_weights=run.loss.task_weights.learnt() or None,
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
