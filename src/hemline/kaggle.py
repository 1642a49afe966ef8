"""Kaggle's iMaterialist (Fashion) challenges, 2019 (FGVC6) and 2020 (FGVC7): submissions written and read."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Literal

from hemline.instances import Instance

Year = Literal[2019, 2020]


def submission_size(height: int, width: int, year: Year) -> tuple[int, int]:
    """(H, W) of the masks that are submitted for a photo of that size."""
    raise NotImplementedError


def image_id(photo: str, year: Year) -> str:
    """What a challenge calls a photo: the name of its file, in 2020 without the extension."""
    raise NotImplementedError


def read_submission(
    path: Path, year: Year, sizes: Mapping[str, tuple[int, int]] | None = None
) -> dict[str, list[Instance]]:
    """Read a submission: the garments of each ImageId, masks at the submission's size.

    Args:
        path: The CSV.
        year: The challenge.
        sizes: (H, W) of the submission's masks by ImageId (`submission_size`), of the photos that are read; others are
            left out. Runs do not say it, so 2020 needs it; 2019 reads all photos without, at 512 x 512.

    Raises:
        DataError: the file cannot be read, or rows are wrong: the first few are named.
    """
    raise NotImplementedError


def read_truth(path: Path, year: Year, names: Collection[str] | None = None) -> dict[str, list[Instance]]:
    """Read a table as `train.csv`: the garments of each ImageId, masks at the submission's size.

    Args:
        path: The CSV.
        year: The challenge.
        names: The ImageIds that are read; all where None.

    Raises:
        DataError: the file cannot be read, or rows are wrong: the first few are named.
    """
    raise NotImplementedError
