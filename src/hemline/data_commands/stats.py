"""What datasets hold, in numbers: what `hemline data stats` prints and `hemline.data_commands.counting` counts.

Labels are counted over all photos, which needs no pixels. What needs them (mask areas, photo sizes, and the garments of
a set that cannot tell them otherwise) is read from a sample of photos drawn by a seed. Unknown is never counted as no.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

FORMAT = 1
"""Of `Stats.to_dict`; a key that is taken away or changes its meaning raises it."""
RARE = 10
"""A label that fewer photos show is marked: nobody learns it, and its figures are noise."""
EXAMPLES = 8
"""Photos that are named for each label, at most."""
PERCENTILES = (5, 25, 50, 75, 95)
AREA_EDGES = tuple(10 ** (i / 6 - 5) for i in range(31))
"""Borders of the bins of mask areas, shares of the photo: six to a factor of ten."""
Five = tuple[float, float, float, float, float]
"""The percentiles of `PERCENTILES`."""


@dataclass(frozen=True)
class LabelCount:
    """One label."""

    name: str
    group: str
    """Its attribute group, or `category`."""
    yes: int
    """Photos that show it."""
    no: int
    """Photos that do not."""
    unknown: int
    """Photos of which nobody said."""
    train: int
    """Photos that show it, by side of the split."""
    validation: int
    test: int
    an_epoch: float
    """How often a photo that shows it is drawn an epoch."""
    garments: int
    """Drawn garments that show it, of those in `Garments.photos`."""
    examples: list[str]
    """Keys of photos that show it, picked by the seed; of those of the sample on which something is drawn, if any."""

    @property
    def known(self) -> int:
        """Photos of which somebody said yes or no."""
        return self.yes + self.no

    @property
    def rare(self) -> bool:
        """Whether it is shown, but too rarely to be learned."""
        return 0 < self.yes < RARE


@dataclass(frozen=True)
class Together:
    """How often categories are in one photo; rows and columns as `names`. None where nothing is known of both."""

    names: list[str]
    photos: list[list[int]]
    """Photos that show both; on the diagonal, that show the one."""
    share: list[list[float | None]]
    """Of the photos that show the row's category, and of which the column's is known, the share that shows both. None
    also where the column is denied of none of these photos and unknown of some: then only yes was ever said."""
    by_chance: list[list[float | None]]
    """In how many photos both would be shown if they had nothing to do with each other, among those of which both are
    known."""

    def lift(self, row: int, column: int) -> float | None:
        """How many times as often as by chance two categories are together."""
        chance = self.by_chance[row][column]
        return self.photos[row][column] / chance if chance else None


@dataclass(frozen=True)
class Garments:
    """Drawn garments."""

    photos: int
    """Photos that were counted: all, or those of the sample."""
    count: int
    drawn: int
    """Photos of these with a garment drawn."""
    most: int
    """The most in a photo."""


@dataclass(frozen=True)
class Attributes:
    """Which attributes which categories have; of those that are shown at all."""

    of: Literal["garments", "photos"]
    """What is counted: drawn garments, or, where none of them tells, photos that show both."""
    photos: int
    """Photos that were counted."""
    attributes: list[str]
    categories: list[str]
    yes: list[list[int]]
    """Things of the category (column) that have the attribute (row)."""
    known: list[list[int]]
    """Things of the category of which the attribute is known."""


@dataclass(frozen=True)
class Area:
    """Mask areas of one mask class, shares of the photo, where it is drawn: of a category, each garment's."""

    name: str
    count: int
    percentiles: Five
    bins: list[int]
    """How many lie between the borders of `AREA_EDGES`; smaller ones are in the first."""


@dataclass(frozen=True)
class Sizes:
    """Photo sizes, of the sample."""

    width: Five
    height: Five
    aspect: Five
    """Width / height."""
    counts: list[tuple[int, int, int]]
    """(width, height, photos), the most frequent first."""


@dataclass(frozen=True)
class Draws:
    """How often training photos are drawn an epoch."""

    photos: int
    """Training photos."""
    weight: float
    """The dataset's weight in the recipe."""
    an_epoch: float
    """Photos drawn an epoch."""
    least: float
    """How often the photo is drawn that is drawn least, and so on."""
    median: float
    most: float
    times: list[tuple[float, int]]
    """(times an epoch, to one hundredth; photos), from the least."""


@dataclass(frozen=True)
class Pixels:
    """Shares of the pixels, of those photos of the sample on which something is drawn."""

    photos: int
    drawn: float
    """Drawn as a class of the label space."""
    background: float
    """Known to be none of the classes that the photo speaks of."""
    unknown: float


@dataclass(frozen=True)
class SetStats:
    """One dataset."""

    name: str
    terms: str
    photos: int
    sides: dict[str, int]
    """Photos by side of the split."""
    groups: int
    """Groups of photos that stand on one side together."""
    left_out: int
    """Rows of its files that could not be used."""
    unreadable: list[str]
    """What is wrong with photos that could not be read; they count as unknown."""
    sample: int
    """Photos that were read."""
    unknown: float
    """Share of the labels of photos of which nothing is known."""
    labels: list[LabelCount]
    together: Together
    garments: Garments
    attributes: Attributes
    areas: list[Area]
    pixels: Pixels
    sizes: Sizes
    draws: Draws


@dataclass(frozen=True)
class Stats:
    """The datasets of a recipe."""

    recipe: str
    label_space: str
    seed: int
    """Of the samples."""
    sets: list[SetStats]
    class_weights: dict[str, float] = field(default_factory=dict)
    """Of each mask class and nobody, where the recipe asks for them (`loss.class_weights`)."""

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {"format": FORMAT, **asdict(self)}
