"""What changed between two OUT folders: `hemline tag --diff OLD NEW` (owner G; signature first)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Diff:
    """What changed between two OUT folders."""

    differs: bool

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        raise NotImplementedError


def diff(old: Path, new: Path, *, out: Path | None = None) -> Diff:
    """Compare two OUT folders photo by photo; `out` (.parquet or .csv) gets a row a change."""
    raise NotImplementedError
