"""The folders of training runs, read: the recipe, the figures of each epoch, and what is missing or damaged.

Of a folder `config.yaml`, `metrics.jsonl` and `environment.jsonl` are read, and nothing else.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hemline._reading import describe, path_of, read_block, read_yaml
from hemline.config import Config
from hemline.errors import HemlineError, in_short

Recipe = dict[str, object]
"""Values by key with dots, as one overrides them; `data.0` is `NAME` or `NAME:PATH`."""

RUN_FILES = ("config.yaml", "metrics.jsonl", "environment.jsonl", "state.pt")
"""A folder with one of these is a run."""


@dataclass(frozen=True)
class RunFolder:
    """What a run's folder says."""

    path: Path
    name: str
    """The folder's name, or its path where another run here has the same name."""
    recipe: Recipe
    """Empty where it cannot be read."""
    epochs: int | None
    """Epochs that the recipe asks for."""
    lines: list[dict[str, Any]]
    """Those of `metrics.jsonl` that can be read, by epoch."""
    environment: dict[str, Any]
    """That of its last start; empty where it is not known."""
    problem: str
    """Why it has not all that a run has; empty where it has."""

    @property
    def done(self) -> int:
        """Epochs that are done."""
        return int(self.lines[-1]["epoch"]) if self.lines else 0

    @property
    def machine(self) -> str:
        """What it ran on, in words; empty where it is not known."""
        gpus, cpu, processes = (self.environment.get(key) for key in ("gpus", "cpu", "processes"))
        gpu = gpus[0] if isinstance(gpus, list) and gpus and self.recipe.get("device") != "cpu" else None
        model = next((one.get(key) for one, key in ((gpu, "name"), (cpu, "model")) if isinstance(one, dict)), None)
        return "" if not model else f"{processes} x {model}" if processes not in (None, 1) else str(model)


def find_runs(folders: Sequence[str | Path]) -> tuple[list[RunFolder], list[str]]:
    """Read the runs in folders, each once, by name.

    Args:
        folders: Runs, or folders of runs.

    Returns:
        The runs, and a sentence for each folder that holds none.

    Raises:
        HemlineError: there is no run in any.
    """
    found: dict[Path, Path] = {}
    notes = []
    for folder in map(path_of, folders):
        here = [folder] if _is_run(folder) else _runs_in(folder)
        if not here:
            notes.append(f"{folder}: " + ("no run is there" if folder.is_dir() else "there is no such folder"))
        for path in here:
            found.setdefault(path.resolve(), path)
    if not found:
        advice = "name a run's folder, or one of runs, as `hemline train` writes them to `runs`"
        raise HemlineError("; ".join([*(notes or ["no folder is named"]), advice]))
    names = Counter(real.name for real in found)
    runs = [read_run(path, named=real.name if names[real.name] == 1 else str(path)) for real, path in found.items()]
    return sorted(runs, key=lambda run: (run.name, str(run.path))), notes


def _runs_in(folder: Path) -> list[Path]:
    try:
        return [path for path in sorted(folder.iterdir()) if _is_run(path)]
    except OSError:                                      # not there, no folder, or closed to us
        return []


def _is_run(path: Path) -> bool:
    try:
        return path.is_dir() and any((path / name).exists() for name in RUN_FILES)
    except OSError:
        return False


def read_run(path: Path, named: str | None = None) -> RunFolder:
    """Read a run's folder; what is wrong with it stands in `problem`.

    Args:
        path: The folder.
        named: What to call it; the folder's name if None.
    """
    recipe, no_recipe = _read_recipe(path / "config.yaml")
    lines, no_line = read_lines(path / "metrics.jsonl", needs="epoch")
    starts, _ = read_lines(path / "environment.jsonl")
    asked = recipe.get("epochs")
    epochs = asked if isinstance(asked, int) else None
    done = lines[-1]["epoch"] if lines else 0
    problem = no_recipe or no_line
    if not problem and lines and number(lines[-1].get("loss")) is None:
        problem = f"diverged: the loss of epoch {done} is no number"
    if not problem and epochs is not None and done < epochs:
        problem = f"unfinished: {done} of {epochs} epochs" if done else "unfinished: no epoch is done"
    return RunFolder(path, named or path.name, recipe, epochs, lines, starts[-1] if starts else {}, problem)


def _read_recipe(file: Path) -> tuple[Recipe, str]:
    """A recipe, and what is wrong with it; keys of other versions are taken as they are."""
    problems: list[str] = []
    try:
        raw = read_yaml(file.read_text(encoding="utf-8"))
        if not isinstance(raw, dict):
            return {}, f"{file.name} is no recipe, but {describe(raw)}"
        raw = json.loads(json.dumps(raw, default=str, skipkeys=True))  # dates and the like as text
        recipe = flat(read_block(Config, raw, "", problems).to_dict())
        for key, value in flat(raw).items():            # what stands there, also where this version would not have it
            if recipe.get(key) != value and not any(known.startswith(f"{key}.") for known in recipe):
                recipe[key] = value
    except FileNotFoundError:
        return {}, f"{file.name} is missing"
    except (OSError, ValueError, RecursionError) as error:
        return {}, f"{file.name} cannot be read: {_why(error)}"
    wrong = [problem for problem in problems if ": unknown " not in problem]
    if wrong:
        return {}, f"{file.name}: {wrong[0]}"
    for key in [key for key in recipe if re.fullmatch(r"data\.\d+\.name", key)]:
        block = key.removesuffix(".name")
        path = recipe.pop(f"{block}.path", None)
        recipe[block] = f"{recipe.pop(key)}:{path}" if path is not None else str(recipe.pop(key))
    return recipe, ""


def flat(value: object, where: str = "") -> Recipe:
    """The leaves of plain data, by key with dots; a list is a leaf, unless it is one of blocks."""
    inner: Iterable[tuple[object, object]] = ()
    if isinstance(value, Mapping):
        inner = value.items()
    elif isinstance(value, list) and all(isinstance(item, Mapping) for item in value):
        inner = enumerate(value)
    leaves: Recipe = {}
    for key, item in inner:
        leaves |= flat(item, f"{where}.{key}" if where else str(key))
    return leaves or {where: value}


def read_lines(file: Path, needs: str | None = None) -> tuple[list[dict[str, Any]], str]:
    """The objects of a file of JSON lines, and what is wrong with it.

    Args:
        file: The file.
        needs: A key that a line must have, a whole number from 1 that lines are put in order by; of two that are alike
            the later counts.
    """
    try:
        texts = file.read_text(encoding="utf-8").split("\n")
    except FileNotFoundError:
        return [], ""
    except (OSError, ValueError) as error:
        return [], f"{file.name} cannot be read: {_why(error)}"
    lines: dict[int, dict[str, Any]] = {}
    problem = ""
    for number, text in enumerate(texts, 1):
        if not text.strip():
            continue
        try:
            line = json.loads(text)
        except (ValueError, RecursionError):
            line = None
        place = line.get(needs) if isinstance(line, dict) and needs is not None else number
        if isinstance(line, dict) and type(place) is int and place >= 1:
            lines[place] = line
        else:
            problem = problem or f"line {number} of {file.name} is cut or damaged"
    return [lines[place] for place in sorted(lines)], problem


def _why(error: BaseException) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deep"
    return (error.strerror if isinstance(error, OSError) else None) or in_short(error)


def number(value: object) -> float | None:
    """A number that one can calculate with; None for all else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < 1e150 else None  # squares stay finite; NaN is not below
