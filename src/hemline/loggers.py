"""Whom a recipe's `loggers` name: TensorBoard, Weights & Biases. Each is a `hemline.watch.Watcher`.

No logger may end a run: one that cannot write says so once, and the run goes on without it. Only the start is strict: a
Weights & Biases that was asked for and cannot begin is an error before anything is trained.
"""

from __future__ import annotations

import logging
import math
import secrets
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from hemline.errors import ConfigError
from hemline.events import EventFile

if TYPE_CHECKING:
    from hemline.config import Config
    from hemline.watch import EpochReport, StepReport, Watcher

MOST_ROWS = 10_000
"""Steps of a run that are logged, evenly spaced: all of a short one; of a week, one a minute."""
WANDB_ID = "wandb.txt"
"""Holds the id by which Weights & Biases knows the run."""

logger = logging.getLogger("hemline")


def make_loggers(config: Config, num_steps: int, done: int) -> list[Watcher]:
    """Whom the recipe asks to be told.

    Args:
        config: The recipe.
        num_steps: Steps of an epoch.
        done: Steps of the run that are done where it goes on, 0 where it begins.
    """
    kinds: dict[str, type[TensorBoardLogger] | type[WandbLogger]] = {
        "tensorboard": TensorBoardLogger,
        "wandb": WandbLogger,
    }
    return [kinds[name](num_steps, done) for name in dict.fromkeys(config.loggers or ())]
