"""Masks of large photos: decided on cells that may be coarser than pixels, and exact at the photo's own size.

A pixel has what the cell has that its centre lies in, so box, area, run lengths and mask all say the same, and run
lengths are made without a mask of the photo's size.

Shapes: H W photo, h w cells.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hemline import masks as forms
from hemline.borders import Borders, rle_of_borders
from hemline.borders import area as area_of
from hemline.masks import Mask, MaskFormat


@dataclass(frozen=True, eq=False)
class CoarseMask:
    """A mask of a photo, known on cells."""

    cells: Mask
    """(h, w) True on the garment; at most as many as pixels along each side."""
    size: tuple[int, int]
    """(H, W) of the photo."""

    @classmethod
    def of(cls, mask: Mask) -> CoarseMask:
        """The mask (H, W) whose cells are its pixels."""
        return cls(mask, (mask.shape[0], mask.shape[1]))

    def whole(self) -> Mask:
        """(H, W) True on the garment; where the cells are pixels it is they, else a new array."""
        if self.cells.shape == self.size:
            return self.cells
        rows, columns = (np.repeat(np.arange(len(starts) - 1), np.diff(starts)) for starts in self._starts)
        mask: Mask = self.cells[:, columns][rows]
        return mask

    @cached_property
    def box(self) -> tuple[int, int, int, int]:
        """The smallest box (x, y, width, height) in pixels around it; all 0 where it is empty."""
        x, y, width, height = self.cell_box
        rows, columns = self._starts
        left, top = int(columns[x]), int(rows[y])
        return (left, top, int(columns[x + width]) - left, int(rows[y + height]) - top) if width else (0, 0, 0, 0)

    @cached_property
    def area(self) -> int:
        """Its pixels."""
        return area_of(self.borders)

    @cached_property
    def borders(self) -> Borders:
        """Where it begins and ends, in turn, in pixels down the columns of the photo."""
        x, y, width, height = self.cell_box
        framed = np.zeros((width, height + 2), np.int8)                      # a column of cells each, empty at its ends
        framed[:, 1:-1] = self.cells[y : y + height, x : x + width].T
        column, row = np.divmod(np.flatnonzero(np.diff(framed, axis=1)), height + 1)
        rows, columns = self._starts
        changes = rows[y + row]                                              # of all columns of cells, in pixels
        count = np.bincount(column, minlength=width)
        across = np.repeat(np.arange(width), np.diff(columns[x : x + width + 1]))
        number = count[across]                                               # changes in each column of pixels
        before = np.cumsum(number) - number
        which = np.arange(number.sum()) - np.repeat(before - (np.cumsum(count) - count)[across], number)
        at = np.repeat(columns[x] + np.arange(len(across)), number)
        borders: Borders = changes[which] + self.size[0] * at
        return borders

    def rle(self) -> dict[str, Any]:
        """As `masks.rle` of the whole mask."""
        packed = rle_of_borders(self.borders, self.size)
        counts = packed["counts"]
        assert isinstance(counts, bytes)
        return {"size": list(self.size), "counts": counts.decode("ascii")}

    def encode(self, form: MaskFormat) -> Any:  # noqa: ANN401  each form is of another type
        """As `masks.encode` of the whole mask."""
        return self.rle() if form == "rle" else None if form == "none" else forms.encode(self.whole(), form)

    @cached_property
    def cell_box(self) -> tuple[int, int, int, int]:
        """The box in cells."""
        return forms.box(self.cells)

    @cached_property
    def _starts(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The first pixel of each row and of each column of cells, and one past the last."""
        return _starts(self.cells.shape[0], self.size[0]), _starts(self.cells.shape[1], self.size[1])


def _starts(cells: int, pixels: int) -> NDArray[np.int64]:
    """(cells + 1,) the first pixel whose centre lies in each cell; the last is `pixels`."""
    return -((cells - 2 * pixels * np.arange(cells + 1)) // (2 * cells))
