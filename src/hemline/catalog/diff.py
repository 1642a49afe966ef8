"""What changed between two OUT folders, photo by photo: `hemline tag --diff OLD NEW`.

Photos are the same where path and `occurrence` are. Of a duplicate, what its twin shows is compared. A photo shows
categories, the category and colours of its main garment, a count of garments, and words of each attribute group; lists
are compared as sets. Scores, areas, masks and embeddings are not compared: they move with every change of weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import duckdb

from hemline.catalog.parts import read_manifest, write_rows
from hemline.catalog.views import ROWS, Views, literal, quoted, working_views
from hemline.errors import ConfigError
from hemline.whole_files import whole_file

STATUS = "status"
MAIN = "main category"
THINGS = (STATUS, "categories", MAIN, "colours", "garments")
"""What is compared besides attribute groups. Colours are those of the main garment."""


class Counts(NamedTuple):
    """Photos that stand in both folders, by what became of one thing that they show."""

    what: str
    same: int
    """Known on both sides, and equal."""
    changed: int
    appeared: int
    """Unknown before."""
    vanished: int
    """Unknown now."""

    @property
    def moved(self) -> int:
        """Photos of which this differs."""
        return self.changed + self.appeared + self.vanished


class Move(NamedTuple):
    """How many photos went from one word to another; None is unknown."""

    old: str | None
    new: str | None
    photos: int


@dataclass(frozen=True)
class Side:
    """One of the two folders."""

    folder: str
    photos: int
    made_with: dict[str, Any]
    """Weights and settings (`Plan.made_with`)."""
    only: int
    """Photos that stand here and not in the other folder."""
    only_groups: list[str]
    """Columns of attribute groups that the other folder has not; they are not compared."""


@dataclass(frozen=True)
class Diff:
    """What changed between two OUT folders."""

    old: Side
    new: Side
    both: int
    """Photos that stand in both."""
    changed: int
    """Of them, those that differ in anything."""
    counts: list[Counts]
    """Of `THINGS`, then of each attribute group that both have."""
    moves: dict[str, list[Move]]
    """Of status and main category: from what to what, most photos first."""

    @property
    def differs(self) -> bool:
        """Whether any photo differs or stands on one side alone; weights and settings alone are no difference."""
        return bool(self.changed or self.old.only or self.new.only)

    def settings(self) -> list[tuple[str, Any, Any]]:
        """What the two were made with, where it is not the same: its name, old, new."""
        old, new = self.old.made_with, self.new.made_with
        return [(key, old.get(key), new.get(key)) for key in old | new if old.get(key) != new.get(key)]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        plain = asdict(self) | {"differs": self.differs}
        plain["counts"] = [count._asdict() for count in self.counts]
        plain["moves"] = {what: [move._asdict() for move in moves] for what, moves in self.moves.items()}
        return plain


def diff(old: Path, new: Path, *, out: Path | None = None) -> Diff:
    """Compare two OUT folders; neither is written to.

    Args:
        old: The first.
        new: The second.
        out: A file to write, `.parquet` or `.csv`, with a row for each thing that changed of a photo: path, occurrence,
            what, old, new (text; lists as JSON). `what` is one of `THINGS`, the column of a group, or `only in old` or
            `only in new`, with the status. In the order of paths; null is unknown.

    Raises:
        CatalogError: no tags stand there, or they cannot be read.
        ConfigError: `out` is named otherwise.
        UnwritableError: `out` or a temporary file cannot be written.
    """
    if out is not None and out.suffix.lower() not in (".parquet", ".csv"):
        raise ConfigError(f"--out {out}: name a file that ends in .parquet or .csv")
    sides = [read_manifest(Path(folder)) for folder in (old, new)]
    with working_views({"old_": sides[0], "new_": sides[1]}) as views:
        groups = [side.groups for side in views]
        shared = [name for name in groups[0] if name in groups[1]]
        things = [*THINGS, *shared]
        connection = views[0].database
        connection.execute(f"CREATE TEMP TABLE pairs AS {_pairs(views, shared)}")
        only, both, changed, counts = _tally(connection, things)
        moves = {what: _moves(connection, things.index(what)) for what in (STATUS, MAIN)}
        if out is not None:
            _write(connection, things, out)
    made = [
        Side(str(side.folder), side.photos, side.made, alone, [x for x in mine if x not in shared])
        for side, alone, mine in zip(sides, only, groups, strict=True)
    ]
    return Diff(made[0], made[1], both, changed, counts, moves)


# -- SQL: a photo's things are texts o0, o1, ... of the old folder and n0, n1, ... of the new -----------------------


def _pairs(sides: Sequence[Views], groups: Sequence[str]) -> str:
    """A row a photo of either folder."""
    old, new = (_shown(*side, groups) for side in zip(sides, ("old_", "new_"), "on", strict=True))
    return f"SELECT * FROM ({old}) o FULL JOIN ({new}) n USING (path, occurrence)"


def _shown(side: Views, prefix: str, letter: str, groups: Sequence[str]) -> str:
    """What each photo of a folder shows, in the order of `THINGS` and the groups."""
    things = [
        "p.status", _words(side, "category"), "m.category",
        _as_set("list_transform(m.colours, lambda its: its.name)"), "CAST(a.garments AS VARCHAR)",
        *(_words(side, group) for group in groups),
    ]  # fmt: skip
    return f"""
        SELECT p.path, p.occurrence, {", ".join(f"{thing} AS {letter}{i}" for i, thing in enumerate(things))}
        FROM {prefix}photos p
        LEFT JOIN (SELECT * FROM {prefix}photos WHERE status = 'ok') a
            ON a.position = coalesce(p.duplicate_of, p.position)
        LEFT JOIN (SELECT * FROM {prefix}garments WHERE is_main) m ON m.position = a.position
    """


def _words(side: Views, column: str) -> str:
    """The words of a column of the answered photo as text in SQL; lists as sets."""
    value = f"a.{quoted(column)}"
    if side.photos[column].endswith("[]"):
        return _as_set(value)
    return value


def _as_set(words: str) -> str:
    """A list as text in SQL: the sorted JSON of its words, each once."""
    return f"CAST(to_json(list_sort(list_distinct({words}))) AS VARCHAR)"


IN_BOTH = "o0 IS NOT NULL AND n0 IS NOT NULL"


def _tally(connection: duckdb.DuckDBPyConnection, things: Sequence[str]) -> tuple[list[int], int, int, list[Counts]]:
    """Photos in one folder alone, in both, those that differ, and what of."""
    tests = ("o{i} = n{i}", "o{i} != n{i}", "o{i} IS NULL AND n{i} IS NOT NULL", "o{i} IS NOT NULL AND n{i} IS NULL")
    each = [f"count(*) FILTER ({IN_BOTH} AND {test.format(i=i)})" for i in range(len(things)) for test in tests]
    differs = " OR ".join(f"o{i} IS DISTINCT FROM n{i}" for i in range(len(things)))
    found = connection.execute(
        f"SELECT count(*) FILTER (n0 IS NULL), count(*) FILTER (o0 IS NULL), count(*) FILTER ({IN_BOTH}), "
        f"count(*) FILTER ({IN_BOTH} AND ({differs})), {', '.join(each)} FROM pairs"
    ).fetchone()
    assert found is not None
    counts = [Counts(what, *found[4 + 4 * i : 8 + 4 * i]) for i, what in enumerate(things)]
    return [found[0], found[1]], found[2], found[3], counts


def _moves(connection: duckdb.DuckDBPyConnection, i: int) -> list[Move]:
    found = connection.execute(
        f"SELECT o{i}, n{i}, count(*) FROM pairs WHERE {IN_BOTH} AND o{i} IS DISTINCT FROM n{i} "
        "GROUP BY ALL ORDER BY 3 DESC, 1 NULLS LAST, 2 NULLS LAST"
    ).fetchall()
    return [Move(*row) for row in found]


def _write(connection: duckdb.DuckDBPyConnection, things: Sequence[str], out: Path) -> None:
    """A row a change, those of a photo in the order of `things`."""
    each = ", ".join(
        f"{{'i': {i}, 'what': {literal(what)}, 'old': o{i}, 'new': n{i}}}" for i, what in enumerate(things)
    )
    only = "{'i': 0, 'what': CASE WHEN n0 IS NULL THEN 'only in old' ELSE 'only in new' END, 'old': o0, 'new': n0}"
    changes = f"""
        SELECT path, occurrence, change.what AS what, change.old AS old, change.new AS new FROM (
            SELECT path, occurrence, unnest(CASE WHEN {IN_BOTH} THEN [{each}] ELSE [{only}] END) AS change FROM pairs
        ) WHERE change.old IS DISTINCT FROM change.new ORDER BY path, occurrence, change.i
    """
    with whole_file(out) as temporary:
        rows = connection.sql(changes).to_arrow_reader(ROWS)
        write_rows(temporary, rows.schema, rows, "parquet" if out.suffix.lower() == ".parquet" else "csv")
