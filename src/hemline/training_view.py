"""The terminal while a network trains: figures of the step at hand, redrawn twice a second, and a line an epoch."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from hemline import console
from hemline.environment import cores
from hemline.task_weights import AUXILIARY, CHOICE, INSTANCES, PRESENCE, TAUGHT_LABELS, TAUGHT_MASKS

if TYPE_CHECKING:
    from hemline.config import Config
    from hemline.loss_config import Loss
    from hemline.report import Report
    from hemline.watch import EpochReport, StepReport

REDRAWN = 2
"""Times a second."""
LOG_EVERY = 60.0
"""Seconds between the lines of a run whose messages do not go to a terminal."""
MUCH_WAIT = 0.3
"""Share of an epoch's time spent waiting for photos, from which a way to lessen it is named."""
LONG = 30.0
"""Seconds of an epoch before its wait is judged: the first photos are always awaited."""
GAP = "  "
MAIN = {
    "parts.mean_iou": "parts IoU",
    "mean_iou": "IoU",
    "labels.mean_average_precision": "labels AP",
    "garments.mean_average_precision": "attributes AP",
    "mask.ap": "mask AP",
}
"""The figures of a set that stand in an epoch's line, by the ends of their names in `Report.summary`."""


class TrainingView:
    """Shows how a training run goes. A `hemline.watch.Watcher`; within `with` it draws, where stderr is a terminal."""

    def __init__(self) -> None:
        self._console = console.notes()
        self._drawn = self._console.is_terminal and not self._console.is_dumb_terminal
        self._config: Config
        self._now: StepReport | None = None
        self._stepped_at = self._said_at = self._epoch_at = time.monotonic()
        self._advised = False
        self._last: Report | None = None
        self._live = Live(get_renderable=self._draw, console=self._console, refresh_per_second=REDRAWN, transient=True)

    def __enter__(self) -> TrainingView:
        if self._drawn:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def begin(self, config: Config, folder: Path, device: str, num_photos: int) -> None:
        """Say what is trained, on what, and where its files go."""
        self._config = config
        self._epoch_at = time.monotonic()
        epochs = "1 epoch" if config.epochs == 1 else f"{config.epochs} epochs"
        photos = f"{num_photos} photos an epoch, {epochs}"
        self._note(f"training {config.name} on {device}: {photos}, files in {folder}")

    def weighed(self, kind: str, weights: dict[str, float]) -> None:
        """Say how much each class counts in the mask losses."""
        self._note(f"{kind}: " + ", ".join(f"{name} {weight:.3g}" for name, weight in weights.items()))

    def note(self, text: str) -> None:
        """Print it."""
        self._note(text)

    def step(self, report: StepReport) -> None:
        """Keep the figures, to be drawn when their time has come; where nothing is drawn, say them now and then."""
        self._now, self._stepped_at = report, time.monotonic()
        if not self._drawn and self._stepped_at - self._said_at > LOG_EVERY:
            self._said_at = self._stepped_at
            left = f"{_time(report.seconds_left)} left"
            self._note(GAP.join([self._place(report), _done(report), *figures(report, self._config.loss), left]))
        if not self._advised and report.data_wait > MUCH_WAIT and self._stepped_at - self._epoch_at > LONG:
            self._advised = True
            self._note(advice(report.data_wait, self._config.workers, cores()))

    def epoch(self, report: EpochReport) -> None:
        """Print the main figures of an epoch; the tables of the last validation stand in `tables`."""
        self._now, self._epoch_at = None, time.monotonic()
        epochs = self._config.epochs
        place = f"epoch {report.epoch:>{len(str(epochs))}}/{epochs}"
        said = [place, f"loss {_loss(report.loss)}"]
        if report.report is not None:
            self._last = report.report
            said += main_figures(report.report.summary())
        if report.best:
            said.append("best yet")
        text = Text("\n".join(packed(said, self._console.width)) if self._drawn else GAP.join(said))
        text.stylize("bold", 0, len(place))
        text.highlight_words(["best yet"], "green")
        if self._live.is_started:
            self._live.refresh()                         # so that the bar of this epoch is not drawn once more
        self._console.print(text, soft_wrap=True)

    def end(self) -> None:
        """Take away what is drawn."""
        self._live.stop()

    def tables(self) -> None:
        """Print the tables of the last validation."""
        if self._last is not None:
            console.print_report(self._last, self._console)

    def where(self, best: Path) -> None:
        """Say where to look now.

        Args:
            best: The best weights, in the run's folder.
        """
        if (page := best.with_name("report.html")).exists():
            self._note(f"look at it: {page}")
        self._note(f"try it: hemline predict --demo --weights {best}")

    def _note(self, text: str) -> None:
        self._console.print(Text(text, style="dim"), soft_wrap=True)

    def _draw(self) -> RenderableType:
        report = self._now
        if report is None:
            return Text()
        bar = ProgressBar(total=report.num_steps, completed=report.step)
        where = Table.grid(padding=(0, 1), expand=True)
        for ratio in (None, 1, None, None):
            where.add_column(ratio=ratio, no_wrap=True)
        where.add_row(Text(self._place(report), style="bold"), bar, _done(report), self._doing(report))
        lines = packed(figures(report, self._config.loss), self._console.width - len(GAP), indent="")
        return Group(where, *(Text(GAP + line, style="dim") for line in lines))

    def _place(self, report: StepReport) -> str:
        return f"epoch {report.epoch + 1}/{self._config.epochs}"

    def _doing(self, report: StepReport) -> str:
        """How long it will take; after an epoch's last step, what is waited for, and how long so far."""
        if report.step < report.num_steps:
            return f"{_time(report.seconds_left)} left"
        epoch = report.epoch + 1
        measured = epoch % self._config.validate_every == 0 or epoch == self._config.epochs
        return f"{'measuring' if measured else 'saving'}, {_time(time.monotonic() - self._stepped_at)}"


def figures(report: StepReport, weights: Loss) -> list[str]:
    """A step's figures in words, losses first; of one that has none, because photos are read alone, its speed."""
    tasks = [f"{name} {_loss(value)}" for name, value in task_losses(report.losses, weights).items()]
    speed = f"{report.photos_per_second:.{0 if report.photos_per_second >= 10 else 1}f} photos/s"
    if not report.losses:
        return [speed]
    wait = f"data wait {_percent(report.data_wait)}"
    memory = [] if report.gpu_memory is None else [f"GPU {report.gpu_memory:.1f} GiB"]
    return [f"loss {_loss(report.loss)}", *tasks, f"lr {report.lr:.2g}", speed, wait, *memory]


def task_losses(losses: Mapping[str, float], weights: Loss) -> dict[str, float]:
    """What each task adds to the sum that is trained, by the recipe's weights; a task without a loss is left out.

    Args:
        losses: The terms of a step, as `Run.losses` names them.
        weights: The recipe's.
    """
    of_masks = weights.of_masks()
    whole = {name: ("masks", weight) for name, weight in of_masks.items()} | {
        PRESENCE: ("presence", weights.presence), "category": ("categories", weights.category),
        TAUGHT_MASKS: ("taught", weights.taught_masks), TAUGHT_LABELS: ("taught", weights.taught_labels),
    }  # fmt: skip
    tasks: dict[str, float] = {}
    for name, loss in losses.items():
        if name in whole:
            task, weight = whole[name]
        elif name.startswith(AUXILIARY):
            task, weight = "auxiliary", weights.auxiliary * of_masks[name.split()[-1]]
        elif name.startswith(INSTANCES):
            task, weight = "instances", weights.instances
        elif name.startswith(CHOICE):
            task, weight = "choices", weights.choice
        else:
            task, weight = "attributes", weights.attributes
        if weight:
            tasks[task] = tasks.get(task, 0.0) + weight * loss
    return tasks


def main_figures(summary: Mapping[str, float | None]) -> list[str]:
    """What an epoch's line says of its validation: the headline, then a few figures of each set.

    Args:
        summary: `Report.summary()`.
    """
    said = [f"headline {_figure(summary['headline'])}"]
    named = ""
    for key, value in summary.items():
        end = next((end for end in MAIN if key.endswith(f".{end}")), None)
        if end is None:
            continue
        of = key.removesuffix(f".{end}")
        said.append(f"{'' if of == named else f'{of}: '}{MAIN[end]} {_figure(value)}")
        named = of
    return said


def packed(words: Sequence[str], width: int, indent: str = GAP) -> Iterator[str]:
    """Lines of at most `width` columns, none of the words broken; those after the first are indented."""
    line = ""
    for word in words:
        if line.strip() and cell_len(line + GAP + word) > width:
            yield line
            line = indent + word
        else:
            line = line + GAP + word if line else word
    yield line


def advice(data_wait: float, workers: int, num_cores: int) -> str:
    """What helps where the network waits for photos.

    Args:
        data_wait: Share of the time, 0..1.
        workers: Processes that read photos.
        num_cores: CPU cores here.
    """
    wait = f"the network waits for photos {_percent(data_wait)} of the time"
    if workers < num_cores:
        more = min(num_cores, max(2, 2 * workers))
        return f"{wait}: workers={more} reads them with more processes (now {workers}, on {num_cores} cores)"
    return f"{wait}, and each of {num_cores} cores reads them already: smaller files are read sooner"


def _done(report: StepReport) -> str:
    return f"{report.step}/{report.num_steps}"


def _loss(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 1000 else f"{value:.3g}"


def _figure(value: float | None) -> str:
    return console.NOTHING if value is None else f"{value:.3f}"


def _percent(share: float) -> str:
    return f"{share:.0%}".replace("%", " %")


def _time(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
