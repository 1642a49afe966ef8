"""A training run while it goes on: what changes, how it is kept and taken up again, and how signals end it."""

from __future__ import annotations

import math
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from timm.utils.model_ema import ModelEmaV3

from hemline.checkpoint import save_state
from hemline.data.loading import EpochSampler
from hemline.errors import WeightsError
from hemline.instance_losses import InstanceLoss
from hemline.losses import JointLoss


@dataclass
class Run:
    """Everything that changes while a run goes on."""

    loss: JointLoss | InstanceLoss
    optimizer: torch.optim.Optimizer
    scheduler: torch.optim.lr_scheduler.LambdaLR
    average: ModelEmaV3
    sampler: EpochSampler
    device: torch.device
    folder: Path
    epoch: int = 0
    step: int = 0
    """Steps done in this epoch."""
    best: float = -math.inf
    stop: bool = False
    """Set by Ctrl-C and SIGTERM; the loop ends after the step in hand."""

    def save(self) -> None:
        """Write what `--resume` needs, whole or not at all."""
        state = {
            "network": self.loss.network.state_dict(),
            "average": self.average.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "epoch": self.epoch,
            "step": self.step,
            "best": self.best,
            "rng": torch.get_rng_state(),
            "cuda_rng": torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None,
        }
        save_state(self.folder / "state.pt", state)

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `save` wrote, at this run's own learning rate and weight decay.

        Raises:
            WeightsError: the state is of another recipe.
        """
        groups = [(group["initial_lr"], group["weight_decay"]) for group in self.optimizer.param_groups]
        try:
            self.loss.network.load_state_dict(state["network"])
            self.average.module.load_state_dict(state["average"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.scheduler.load_state_dict(state["scheduler"])
            self.epoch, self.step, self.best = state["epoch"], state["step"], state["best"]
            torch.set_rng_state(state["rng"])
            if self.device.type == "cuda" and state["cuda_rng"] is not None:
                torch.cuda.set_rng_state(state["cuda_rng"], self.device)
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


@contextmanager
def stopped_by_signals(run: Run) -> Iterator[None]:
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
