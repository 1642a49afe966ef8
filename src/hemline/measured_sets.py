"""Which photos are measured: of each dataset, those on one side of the split that weights were trained by."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from hemline.data import DATASETS, VALIDATION_SHARE, Dataset, as_trained, build_dataset, split_indices, wrong_sets
from hemline.data.stratify import held_out_of
from hemline.errors import ConfigError, DataError
from hemline.metadata import Metadata

Split = Literal["validation", "train", "test", "all"]


def open_sets(
    metadata: Metadata, data: Mapping[str, Path | None], split: Split, limit: int | None = None
) -> list[tuple[str, Dataset, list[int]]]:
    """The name of each dataset, the dataset, and its photos on that side of the split that the weights were trained by.

    Args:
        metadata: Of the weights; its label space says what the datasets' words mean.
        data: The folder of each dataset; None for a set made on the fly.
        split: Which side.
        limit: At most so many photos of each set, evenly spaced.

    Raises:
        ConfigError, DataError, LabelError: as of `hemline.evaluate.evaluate`.
    """
    share, held_out = float(metadata.recipe.get("validation", VALIDATION_SHARE)), held_out_of(metadata.data)
    sets = []
    for name, path in data.items():
        dataset = build_dataset(as_trained(metadata.recipe, name, path), metadata.labels)
        indices = split_indices(dataset, split, share, held_out.get(name))
        if not indices:
            raise DataError(f"{name}: none of its {len(dataset)} photos is on the {split} side of the split; try `all`")
        sets.append((name, dataset, indices if limit is None else _spread(indices, limit)))
    return sets


def check_request(data: Mapping[str, Path | None], split: str, batch_size: int, limit: int | None) -> None:
    """Refuse what cannot be measured.

    Raises:
        ConfigError: it says what, all at once.
    """
    problems = wrong_sets(data)
    if not data:
        problems.append(f"no dataset to measure on: name one of {', '.join(DATASETS)}")
    if split not in get_args(Split):
        problems.append(f"split={split!r}: choose {', '.join(get_args(Split))}")
    if batch_size < 1:
        problems.append(f"batch_size={batch_size}: 1 or more")
    if limit is not None and limit < 1:
        problems.append(f"limit={limit}: 1 or more")
    if problems:
        raise ConfigError("; ".join(problems))


def _spread(indices: list[int], most: int) -> list[int]:
    """At most so many of them, evenly spaced."""
    return [indices[i] for i in np.linspace(0, len(indices) - 1, min(most, len(indices))).round().astype(int)]
