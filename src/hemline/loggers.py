"""Whom a recipe's `loggers` name: TensorBoard, Weights & Biases. Each is a `hemline.watch.Watcher`.

No logger may end a run: one that cannot write says so once, and the run goes on without it. Only the start is strict: a
Weights & Biases that was asked for and cannot begin is an error before anything is trained.
"""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import yaml

from hemline.errors import ConfigError, HemlineError
from hemline.events import EventFile
from hemline.whole_files import whole_file

if TYPE_CHECKING:
    from hemline.config import Config
    from hemline.watch import EpochReport, StepReport, Watcher

MOST_ROWS = 10_000
"""Steps of a run that are logged, evenly spaced: all of a short one; of a week, one a minute."""
WANDB_ID = "wandb.txt"
"""Holds the id by which Weights & Biases knows the run."""

log = logging.getLogger("hemline")


def make_loggers(config: Config, num_steps: int, done: int) -> list[Watcher]:
    """Whom the recipe asks to be told.

    Args:
        config: The recipe.
        num_steps: Steps of an epoch.
        done: Steps of the run that are done where it goes on, 0 where it begins.
    """
    kinds: dict[str, type[TensorBoard] | type[WeightsAndBiases]] = {
        "tensorboard": TensorBoard,
        "wandb": WeightsAndBiases,
    }
    return [Logger(kinds[name](), num_steps, done) for name in dict.fromkeys(config.loggers or ())]


def step_figures(report: StepReport) -> dict[str, float]:
    """A step's figures by their tags."""
    return _figures("step", report)


def epoch_figures(told: EpochReport) -> dict[str, float]:
    """An epoch's figures by their tags, those of its validation as `validation/SET.FIGURE`."""
    summary = {} if told.report is None else told.report.summary()
    measured = {f"validation/{name}": value for name, value in summary.items() if value is not None}
    return {"epoch/number": float(told.epoch), **_figures("epoch", told), **measured}


def _figures(of: str, told: StepReport | EpochReport) -> dict[str, float]:
    figures = {
        "loss": told.loss,
        "lr": told.lr,
        "photos_per_second": told.photos_per_second,
        "data_wait": told.data_wait,
        "gpu_memory_gib": told.gpu_memory,
    }
    losses = {f"{of}_losses/{name}": value for name, value in told.losses.items()}
    return {f"{of}/{name}": value for name, value in figures.items() if value is not None} | losses


class Sink(Protocol):
    """Where figures go."""

    name: str

    def open(self, config: Config, folder: Path, done: int) -> None:
        """A run begins, or goes on where `done` of its steps are done."""

    def log(self, figures: Mapping[str, float], step: int) -> None:
        """Figures that are known when so many steps of the run are done."""

    def close(self, *, finished: bool) -> None:
        """The run ended; `finished` where its last epoch is done."""


class Logger:
    """Tells one sink how a run goes. A `hemline.watch.Watcher`.

    Args:
        sink: Who is told; if it fails, a warning says so once, and it is told no more.
        num_steps: Steps of an epoch.
        done: Steps of the run that are done.
    """

    def __init__(self, sink: Sink, num_steps: int, done: int) -> None:
        self.sink = sink
        self.num_steps = num_steps
        self.done = done
        self.every = 1
        self.epochs = 0
        self.finished = False
        self.on = False

    def begin(self, config: Config, folder: Path, device: str, num_photos: int) -> None:
        """Open the sink.

        Raises:
            ConfigError: Weights & Biases cannot begin.
        """
        self.every = max(1, config.epochs * self.num_steps // MOST_ROWS)
        self.epochs = config.epochs
        self.finished = self.done >= config.epochs * self.num_steps
        self.on = True
        self._try(lambda: self.sink.open(config, folder, self.done))

    def weighed(self, kind: str, weights: dict[str, float]) -> None:
        """Constants of the run, which are not drawn."""

    def note(self, text: str) -> None:
        """Words, which are not drawn."""

    def step(self, report: StepReport) -> None:
        """Log a step, if it is one of those that are."""
        done = report.epoch * self.num_steps + report.step
        if done % self.every == 0:
            self._try(lambda: self.sink.log(step_figures(report), done))

    def epoch(self, report: EpochReport) -> None:
        """Log an epoch."""
        self.finished = report.epoch >= self.epochs
        self._try(lambda: self.sink.log(epoch_figures(report), report.epoch * self.num_steps))

    def end(self) -> None:
        """Close the sink."""
        self._try(lambda: self.sink.close(finished=self.finished))
        self.on = False

    def _try(self, tell: Callable[[], None]) -> None:
        if not self.on:
            return
        try:
            tell()
        except HemlineError:
            raise
        except Exception as error:  # whatever it is: the run is worth more
            self.on = False
            reason = error.strerror if isinstance(error, OSError) and error.strerror else error
            log.warning("%s is told no more, training goes on: %s", self.sink.name, reason)


class TensorBoard:
    """Event files in the run's folder: `tensorboard --logdir runs` draws them."""

    name = "TensorBoard"

    def open(self, config: Config, folder: Path, done: int) -> None:
        """Begin a file; where the run goes on, TensorBoard drops what was said of later steps."""
        self.file = EventFile(folder, done and done + 1)
        recipe = yaml.safe_dump(config.to_dict(), sort_keys=False)
        self.file.text("recipe", f"```\n{recipe}```", done)

    def log(self, figures: Mapping[str, float], step: int) -> None:
        """Write a record."""
        self.file.scalars(figures, step)

    def close(self, *, finished: bool) -> None:
        """Nothing is open."""


class WeightsAndBiases:
    """A run of Weights & Biases; a resumed one goes on under its id, which the folder keeps."""

    name = "Weights & Biases"

    def open(self, config: Config, folder: Path, done: int) -> None:
        """Begin, in the mode that wandb's own settings say, in the project `hemline` unless they name one.

        Raises:
            ConfigError: nobody is logged in, or its servers are not reached.
        """
        import wandb

        file = folder / WANDB_ID
        if not done or not file.exists():
            with whole_file(file) as temporary:
                temporary.write_text(secrets.token_hex(4) + "\n", encoding="utf-8")
        try:
            self.run: Any = wandb.init(
                project=os.environ.get("WANDB_PROJECT", "hemline"),
                name=config.name,
                id=file.read_text(encoding="utf-8").strip(),
                resume="allow",
                dir=str(folder),
                config=config.to_dict(),
                allow_val_change=True,                   # a resumed run may have another lr
                settings=wandb.Settings(console="off", quiet=True),  # the terminal is ours
            )
        except Exception as error:  # its own kinds, those of its service, and the network's
            reason = " ".join(str(error).split())
            repair = "log in (`wandb login`), set WANDB_MODE=offline, or leave wandb out"
            raise ConfigError(f"loggers: Weights & Biases cannot begin ({reason.rstrip('.')}): {repair}") from error
        self.first = self.run.step

    def log(self, figures: Mapping[str, float], step: int) -> None:
        """Send figures; a resumed run's steps that are already there are the same, and are left."""
        if step >= self.first:
            self.run.log(dict(figures), step=step)

    def close(self, *, finished: bool) -> None:
        """Send what is left; a run that did not finish is shown as failed until it is resumed."""
        self.run.finish(exit_code=0 if finished else 1)
