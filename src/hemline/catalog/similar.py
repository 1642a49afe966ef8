"""`hemline similar`: garments of a catalogue that look like another one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from usearch.index import Index

from hemline.catalog import vectors
from hemline.catalog.similar_index import GARMENT, SHIFT, up_to_date_index
from hemline.catalog.tables import COLOUR
from hemline.catalog.views import Views, literal, open_views
from hemline.colour import Colour
from hemline.errors import CatalogError, ConfigError
from hemline.result import Garment, Result


class Hit(NamedTuple):
    """A garment of the catalogue."""

    position: int
    """Of its photo."""
    path: str
    garment: int
    """Its number in the photo; 0 is the largest."""
    category: str
    similarity: float
    """Cosine, at most 1: `vectors.COLOUR_WEIGHT` of it is what the colours have in common."""
    score: float
    box: tuple[int, int, int, int] | None
    """(x, y, width, height) in pixels."""
    colours: list[Colour]
    copies: list[str]
    """Paths of other photos of the catalogue whose file is the same."""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return self._asdict() | {
            "similarity": round(self.similarity, 4),
            "score": round(self.score, 4),
            "box": self.box and list(self.box),
            "colours": [colour._asdict() | {"share": round(colour.share, 4)} for colour in self.colours],
        }


class Similar:
    """Finds like garments in an OUT; build it with `Similar.open`."""

    def __init__(self, views: Views, indexes: dict[str, Index]) -> None:
        self._views = views
        self._indexes = indexes

    @classmethod
    def open(cls, folder: Path | str, *, index: Path | str | None = None) -> Similar:
        """Open the index of what `hemline tag` wrote; it is built first where it is not there or parts were added.

        Args:
            folder: OUT.
            index: Where the index stands, or is to; None is OUT/index.

        Raises:
            CatalogError: the folder does not hold tags, or these hold no embeddings.
            ConfigError: another process builds the index, or `index` holds other things.
            UnwritableError: the index cannot be written.
        """
        views = open_views(folder)
        place = None if index is None else Path(index)
        try:
            return cls(views, up_to_date_index(views, place))
        except CatalogError:                              # another process may have put new files in place of those
            views = open_views(folder)
            return cls(views, up_to_date_index(views, place))

    def __len__(self) -> int:
        """How many garments can be found."""
        return sum(len(index) for index in self._indexes.values())

    @property
    def made(self) -> dict[str, Any]:
        """What shaped the tags: weights, options."""
        return self._views.manifest.made

    def find(
        self, garment: Garment, *, top: int = 10, any_category: bool = False, without: str | None = None
    ) -> list[Hit]:
        """The garments that look most like one, at most one of a photo, the most alike first.

        The search is approximate: now and then a garment is missed that is hardly less alike than the last one.

        Args:
            garment: With the embedding of the weights that made the tags.
            top: At most so many.
            any_category: Look among all categories, not the garment's alone.
            without: SHA-256 of a file whose photo is left out: the one that the garment is of.

        Raises:
            CatalogError: the garment's embedding is missing, or of another size than those of the tags.
        """
        ask = 2 * top + 16
        while True:
            found = self.nearest(garment, ask, any_category=any_category)
            best: dict[int, tuple[float, int]] = {}               # a photo's most alike garment, by position
            for key, similarity in found:
                best.setdefault(key >> SHIFT, (similarity, key & GARMENT))
            hits = self._look_up(dict(islice(best.items(), top + 1)), without)
            if len(hits) >= top or len(found) < ask:
                return hits[:top]
            ask *= 4

    def nearest(self, garment: Garment, count: int, *, any_category: bool = False) -> list[tuple[int, float]]:
        """Keys of the index (`similar_index`) and their similarity, the most alike first; nothing is looked up.

        Raises:
            CatalogError: as `find` says.
        """
        wanted = garment_vector(garment)
        found: list[tuple[int, float]] = []
        for index in (index for name, index in self._indexes.items() if any_category or name == garment.category):
            if index.ndim != len(wanted):
                raise CatalogError("the garment was embedded by other weights than those of the tags")
            if len(index):
                near = index.search(wanted, min(count, len(index)), threads=1)
                found += zip(near.keys.tolist(), (1 - near.distances).tolist(), strict=True)
        return sorted(found, key=lambda one: (-one[1], one[0]))[:count]

    def _look_up(self, found: dict[int, tuple[float, int]], without: str | None) -> list[Hit]:
        """What the tables say of garments: similarity and the garment's number, by position."""
        if not found:
            return []
        listed = ", ".join(map(str, found))
        garments = ", ".join(f"({position}, {garment})" for position, (_, garment) in found.items())
        rows = self._views.read(
            "SELECT position, path, garment, category, score, box_x, box_y, box_width, box_height, colours "
            f"FROM garments WHERE position BETWEEN {min(found)} AND {max(found)} AND position IN ({listed}) "
            f"AND (position, garment) IN ({garments})"
        ).read_all().to_pylist()  # fmt: skip
        same = self._same_files(listed)
        left_out = set() if without is None else {
            row["position"] for row in self._views.read(
                f"SELECT position FROM photos WHERE position IN ({listed}) AND sha256 = {literal(without)}"
            ).read_all().to_pylist()
        }  # fmt: skip
        by_position = {row["position"]: row for row in rows}
        return [
            _hit(by_position[position], similarity, same.get(position, []))
            for position, (similarity, _) in found.items() if position not in left_out
        ]  # fmt: skip

    def _same_files(self, positions: str) -> dict[int, list[str]]:
        sql = f"SELECT duplicate_of, path FROM photos WHERE duplicate_of IN ({positions}) ORDER BY position"
        paths: dict[int, list[str]] = {}
        for row in self._views.read(sql).read_all().to_pylist():
            paths.setdefault(row["duplicate_of"], []).append(row["path"])
        return paths


def choose_garment(result: Result, named: str | None, main: int | None) -> Garment:
    """The garment of a photo that is meant: of that category or number, else the main one, that can be compared.

    Raises:
        ConfigError: the photo shows no such garment, or none that can be compared.
    """
    pieces = result.garments_and_parts
    shown = ", ".join(f"{number} {piece.category}" for number, piece in enumerate(pieces)) or "nothing"
    if named is not None:
        wanted = named.strip().casefold()
        by_number = wanted.isdecimal() and wanted.isascii()
        chosen = [
            piece for number, piece in enumerate(pieces)
            if (by_number and str(number) == wanted) or (not by_number and wanted in _names(piece.category))
        ]  # fmt: skip
        if not chosen:
            raise ConfigError(f"{result.photo}: shows no garment {named!r}; it shows {shown}")
    else:
        first = [] if main is None else [result.garments[main]]
        chosen = [*first, *pieces]
    for piece in chosen:
        if piece.embedding is not None:
            return piece
    raise ConfigError(f"{result.photo}: shows no garment that can be compared; it shows {shown}")


def _names(category: str) -> list[str]:
    return [category.casefold(), *(part.strip().casefold() for part in category.split(","))]


def garment_vector(garment: Garment) -> vectors.Floats:
    """(D + C,) what a garment is compared by.

    Raises:
        CatalogError: it has no embedding.
    """
    if garment.embedding is None:
        raise CatalogError(f"the {garment.category} has no embedding: weights that find instances give none")
    embedding = garment.embedding.astype(np.float16).astype(np.float32)
    joined: vectors.Floats = vectors.join_vectors(embedding[None], vectors.colour_vectors(_listed(garment.colours)))[0]
    return joined


def _listed(colours: Sequence[Colour]) -> pa.ListArray:
    return pa.array([[colour._asdict() for colour in colours]], pa.list_(COLOUR))


def _hit(row: dict[str, Any], similarity: float, copies: list[str]) -> Hit:
    x, y, width, height = (row[name] for name in ("box_x", "box_y", "box_width", "box_height"))
    colours = [Colour(colour["name"], colour["hex"], colour["share"], colour.get("shade")) for colour in row["colours"]]
    box = None if x is None else (x, y, width, height)
    return Hit(
        row["position"], row["path"], row["garment"], row["category"], similarity, row["score"], box, colours, copies
    )
