"""What a run was started with: a line in `environment.jsonl` for each start, so that a figure can be explained later.

Nothing in it says whose machine that was: no user or host name, no environment variable, paths below the home folder
begin with `~`, and what looks like a password is left out.
"""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from hemline import __version__
from hemline.whole_files import whole_file

FILE = "environment.jsonl"
GIT_WAITS = 10.0
"""Seconds that git may take to say what is checked out."""
HIDDEN = "***"
NAMES = r"[\w.-]*(?:token|secret|passw(?:or)?d|credential|(?:api|access)[_-]?key)[\w.-]*"
SECRET = re.compile(rf"({NAMES}[=:]\s*)[^\s&,\]}}]+", re.IGNORECASE)
SECRET_OPTION = re.compile(rf"-{NAMES}", re.IGNORECASE)
IN_URL = re.compile(r"(?<=://)[^/@\s]+(?=@)")


def append_start(folder: Path, *, num_processes: int, resumed_at: tuple[int, int] | None) -> None:
    """Add a line for this start to `environment.jsonl`; the file is replaced whole.

    Args:
        folder: The run's, which exists.
        num_processes: How many train together, over all machines.
        resumed_at: Where a run goes on: epochs that are done, and steps of the next one.

    Raises:
        UnwritableError: the file cannot be written.
    """
    line = json.dumps(environment(num_processes=num_processes, resumed_at=resumed_at))
    file = folder / FILE
    before = file.read_text(encoding="utf-8") if file.exists() else ""
    with whole_file(file) as temporary:
        temporary.write_text(before + line + "\n", encoding="utf-8")


def environment(*, num_processes: int = 1, resumed_at: tuple[int, int] | None = None) -> dict[str, Any]:
    """What this process runs on, as plain data.

    Args:
        num_processes: How many train together.
        resumed_at: Where a run goes on: epochs that are done, and steps of the next one.

    Returns:
        `started` in UTC; `resumed_at` as {epoch, step}, or None; `command`; `hemline`, `python`, `platform`; `packages`
        by name; `cuda` and `cudnn` that torch was built with, or None; `cpu`: `model`, `cores` this process may use and
        `threads` that torch takes; `gpus` of this machine: `name` and `memory` in GiB; `processes`; `git`: `commit` and
        whether tracked files differ from it (`dirty`), or None where the working folder is no checkout.
    """
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "resumed_at": None if resumed_at is None else {"epoch": resumed_at[0], "step": resumed_at[1]},
        "command": command(sys.argv),
        "hemline": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in ("torch", "torchvision", "timm", "numpy")},
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version() if torch.version.cuda else None,  # type: ignore[no-untyped-call]
        "cpu": {"model": _cpu(), "cores": cores(), "threads": torch.get_num_threads()},
        "gpus": _gpus(),
        "processes": num_processes,
        "git": _git(Path.cwd()),
    }


def command(arguments: Sequence[str]) -> str:
    """A command line as it may be shown: the program's bare name, without secrets and the home folder."""
    program = Path(arguments[0])
    words = [program.parent.name if program.name == "__main__.py" else program.name]
    hide = False
    for argument in arguments[1:]:
        words.append(HIDDEN if hide else _shown(argument))
        hide = SECRET_OPTION.fullmatch(argument) is not None
    return " ".join(words)


def cores() -> int:
    """CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _shown(argument: str) -> str:
    argument = SECRET.sub(rf"\1{HIDDEN}", IN_URL.sub(HIDDEN, argument))
    home = str(Path.home())
    return re.sub(rf"{re.escape(home)}(?![\w.-])", "~", argument) if len(home) > 1 else argument


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:                                      # not Linux
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()


def _gpus() -> list[dict[str, Any]]:
    if not torch.cuda.is_available():
        return []
    found = [torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())]
    return [{"name": gpu.name, "memory": round(gpu.total_memory / 2**30, 1)} for gpu in found]


def _git(folder: Path) -> dict[str, Any] | None:
    """The checkout that a folder lies in; None where there is none, or no git."""
    commit = _git_says(folder, "rev-parse", "HEAD")
    if commit is None:
        return None
    changed = _git_says(folder, "status", "--porcelain", "--untracked-files=no")
    return {"commit": commit, "dirty": None if changed is None else changed != ""}


def _git_says(folder: Path, *asked: str) -> str | None:
    try:
        said = subprocess.run(
            ["git", "--no-optional-locks", *asked], cwd=folder, capture_output=True, text=True, timeout=GIT_WAITS,
            check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
    return said.stdout.strip()
