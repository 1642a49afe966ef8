"""One row a product, voted over its photos: `hemline tag --product COLUMN` (owner G; signature first)."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class Products(NamedTuple):
    """What `write_products` wrote."""

    path: Path
    """OUT/products/part-000000.parquet or .csv."""
    products: int
    photos: int
    """Rows of the catalogue that have a product."""
    without: int
    """Rows that have no value in the column, and are left out."""


def write_products(folder: Path, column: str) -> Products:
    """Vote a row a product over the photos of a finished OUT folder and write OUT/products."""
    raise NotImplementedError
