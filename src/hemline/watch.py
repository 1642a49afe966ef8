"""What a training run tells whoever watches it: the console, the run's folder, TensorBoard, Weights & Biases."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from hemline.config import Config
    from hemline.report import Report


class StepReport(NamedTuple):
    """What one step tells."""

    epoch: int
    step: int
    """Steps of the epoch that are done."""
    num_steps: int
    """Steps of the epoch."""
    loss: float
    """The sum that is trained."""
    losses: dict[str, float]
    """Its terms, before they are weighed; empty where photos are read and nothing is learnt yet."""
    lr: float
    """Of the heads."""
    photos_per_second: float
    """Over all processes, since this process began the epoch."""
    data_wait: float
    """Share of that time in which the network waited for photos, 0..1."""
    gpu_memory: float | None
    """The most GiB that this process's tensors held on its GPU; None on a CPU."""
    seconds_left: float
    """To the end of the run, validation not counted."""


class EpochReport(NamedTuple):
    """What an epoch tells when it is done."""

    epoch: int
    """Epochs that are done."""
    loss: float
    """The mean over the epoch's steps, those before an interruption too."""
    losses: dict[str, float]
    """Means of the terms."""
    lr: float
    photos_per_second: float | None
    """As of `StepReport`; None where a resumed run had no step of the epoch left."""
    data_wait: float | None
    gpu_memory: float | None
    seconds: float
    """How long the run took until then, validations too, without the pauses between its starts."""
    report: Report | None
    """The validation; None where the recipe asks for none after this epoch."""
    best: bool
    """Whether it is the best so far."""
    task_weights: dict[str, float] | None = None
    """The weight that each task has learnt, beside the recipe's; None where these are fixed."""

    def line(self) -> str:
        """The epoch's line in `metrics.jsonl`: a JSON object that begins with the epoch."""
        figures = self._asdict()
        summary = {} if self.report is None else self.report.summary()
        return json.dumps({**{key: figures[key] for key in figures if key != "report"}, **summary})


class Watcher(Protocol):
    """Who is told how a run goes; `hemline.console` draws it."""

    def begin(self, config: Config, folder: Path, device: str, num_photos: int) -> None:
        """Training starts: where its files go, on what, with how many training photos."""

    def weighed(self, kind: str, weights: dict[str, float]) -> None:
        """The recipe asks for class weights or positive weights: these are they."""

    def note(self, text: str) -> None:
        """Something that is worth knowing before training, or after it."""

    def step(self, report: StepReport) -> None:
        """A step is done."""

    def epoch(self, report: EpochReport) -> None:
        """An epoch is done, and measured where the recipe asks for it."""

    def end(self) -> None:
        """The run ended, also by an error."""


class Watchers:
    """Several who are told the same."""

    def __init__(self, each: Sequence[Watcher]) -> None:
        self.each = each

    def begin(self, config: Config, folder: Path, device: str, num_photos: int) -> None:
        """As of `Watcher`."""
        for one in self.each:
            one.begin(config, folder, device, num_photos)

    def weighed(self, kind: str, weights: dict[str, float]) -> None:
        """As of `Watcher`."""
        for one in self.each:
            one.weighed(kind, weights)

    def note(self, text: str) -> None:
        """As of `Watcher`."""
        for one in self.each:
            one.note(text)

    def step(self, report: StepReport) -> None:
        """As of `Watcher`."""
        for one in self.each:
            one.step(report)

    def epoch(self, report: EpochReport) -> None:
        """As of `Watcher`."""
        for one in self.each:
            one.epoch(report)

    def end(self) -> None:
        """As of `Watcher`."""
        for one in self.each:
            one.end()
