"""The terminal while a catalogue is tagged: a line that is redrawn, or plain ones now and then; then a summary."""

from __future__ import annotations

import time
from collections import deque
from pathlib import Path

from rich import box
from rich.live import Live
from rich.table import Table
from rich.text import Text

from hemline import console
from hemline.catalog.local import Tally

LATELY = 30.0
"""Seconds over which the rate is taken."""
LOG_EVERY = 30.0
"""Seconds between the lines where messages do not go to a terminal."""
REASONS = 5
"""Reasons of failures that the summary names."""


class TagView:
    """Shows how tagging goes, on stderr. A `hemline.catalog.local.View`; within `with` it draws, on a terminal."""

    def __init__(self) -> None:
        self._console = console.notes()
        self._drawn = self._console.is_terminal and not self._console.is_dumb_terminal
        self._lately: deque[tuple[float, int]] = deque()
        self._tally = Tally()
        self._begun = self._said_at = time.monotonic()
        self._live = Live(get_renderable=self._draw, console=self._console, refresh_per_second=2, transient=True)

    def __enter__(self) -> TagView:
        if self._drawn:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def begin(self, tally: Tally) -> None:
        """The time is taken from here."""
        self._tally = tally
        self._begun = self._said_at = time.monotonic()
        self._lately.append((self._begun, 0))

    def step(self, tally: Tally) -> None:
        """Keep the figures, to be drawn when their time has come; where nothing is drawn, say them now and then."""
        now = time.monotonic()
        self._tally = tally
        self._lately.append((now, tally.photos))
        while len(self._lately) > 2 and self._lately[1][0] < now - LATELY:
            self._lately.popleft()
        if not self._drawn and now - self._said_at >= LOG_EVERY:
            self._said_at = now
            console.note(self._line())

    def summary(self, folder: Path) -> None:
        """Say what was done, and where it stands."""
        tally = self._tally
        grid = Table(box=box.SIMPLE_HEAD, show_header=False, show_edge=False, pad_edge=False)
        grid.add_column(justify="right", no_wrap=True)
        grid.add_column()
        grid.add_row(f"{tally.photos:,}", f"photos in {duration(tally.seconds)}, {self._whole_rate():.3g} a second")
        grid.add_row(f"{tally.ok:,}", f"answered, with {count(tally.garments, 'garment', 'garments')}")
        if tally.duplicates:
            grid.add_row(f"{tally.duplicates:,}", "duplicates of other photos, answered there")
        if tally.failed:
            grid.add_row(Text(f"{tally.failed:,}", style="red"), "failed")
            for reason, times in tally.reasons.most_common(REASONS):
                grid.add_row("", Text(f"{times:,} x {reason}"))
            if len(tally.reasons) > REASONS:
                grid.add_row("", "others: status and error_message in the photos table say why")
        if tally.before:
            grid.add_row(f"{tally.before:,}", "were done before")
        self._console.print(grid)
        console.note(f"tables: {folder / 'photos'} and {folder / 'garments'}")

    def _draw(self) -> Text:
        return Text(self._line(), overflow="ellipsis", no_wrap=True)

    def _line(self) -> str:
        tally = self._tally
        done = tally.before + tally.photos
        said = [f"{done:,} of {tally.total:,} photos" if tally.total is not None else f"{done:,} photos"]
        if rate := self._rate():
            said.append(f"{rate:.3g} a second")
        if tally.failed:
            said.append(f"{tally.failed:,} failed")
        if tally.duplicates:
            said.append(f"{tally.duplicates:,} {'duplicate' if tally.duplicates == 1 else 'duplicates'}")
        if rate and tally.total is not None:
            said.append(f"{duration(max(0, tally.total - done) / rate)} left")
        return "  ".join(said)

    def _rate(self) -> float:
        """Photos a second lately, up to now."""
        if not self._tally.photos:
            return 0.0
        (since, before) = self._lately[0]
        return (self._tally.photos - before) / max(time.monotonic() - since, 1e-3)

    def _whole_rate(self) -> float:
        return self._tally.photos / max(self._tally.seconds, 1e-3)


def count(number: int, one: str, many: str) -> str:
    """`1 garment`, `2,000 garments`."""
    return f"{number:,} {one if number == 1 else many}"


def duration(seconds: float) -> str:
    """`45 s`, `3 min 20 s`, `26 h 10 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600:,} h {whole % 3600 // 60} min"
