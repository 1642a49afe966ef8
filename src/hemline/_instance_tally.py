"""The garments of one set, drawn and found, collected photo by photo for the scores of instances.

Shapes: L labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hemline._answered import Answered, garment_odds
from hemline._regions import logit
from hemline.borders import rle_of_borders
from hemline.data.instance_truth import draws, separate, truth_of
from hemline.data.sample import Sample
from hemline.found import Found
from hemline.instance_report import InstanceReport, InstanceScore, instance_report
from hemline.instance_thresholds import found_f1, highest_f1
from hemline.instances import RLE, Instance, ScoredPhoto, Vocabulary, attribute_ids
from hemline.labels import LabelSpace
from hemline.masks import MIN_PART
from hemline.metadata import Metadata
from hemline.prior_only import prior_only
from hemline.words_said import attributes_said

F1_NOTE = "mask F1: of what passes the thresholds of the weights, a garment being found at IoU 0.5."


class _Photo(NamedTuple):
    """A photo, with garments whose attributes are not chosen yet."""

    truth: ScoredPhoto
    found: list[tuple[Instance, Found]]
    ceiling: list[tuple[Instance, Found]]


@dataclass
class InstanceTally:
    """The garments of one set."""

    space: LabelSpace
    best: bool = True
    """Whether the ceiling is measured, of networks that have one."""
    photos: list[_Photo] = field(default_factory=list)
    unknown: NDArray[np.bool_] = field(init=False)
    """(L,) labels of which some drawn garment that could carry them says neither yes nor no."""
    has_ceiling: bool = False
    ids: dict[str, int | str] = field(init=False)
    """What attributes are told apart by."""

    def __post_init__(self) -> None:
        self.ids = attribute_ids(self.space)
        self.unknown = np.zeros(self.space.num_labels, np.bool_)

    def add(self, sample: Sample, answered: Answered) -> None:
        """Count one photo, unless nothing is drawn on it."""
        if not draws(sample):
            return
        size = (sample.photo.shape[0], sample.photo.shape[1])
        things = separate(sample, MIN_PART)
        ceiling = answered.ceiling(sample) if self.best else None
        self.has_ceiling |= ceiling is not None
        truth = ScoredPhoto(sample.key, size, truth_of(things, self.space), [])
        self.photos.append(_Photo(truth, self._kept(answered.found, size), self._kept(ceiling or [], size)))
        for region in (region for region in sample.regions if region.drawn and not region.doubt):
            worn = {c.name for c in self.space.categories if region.labels[c.index] == 1}
            for label in self.space.labels:
                if worn and region.labels[label.index] < 0 and (not label.carried_by or label.carried_by & worn):
                    self.unknown[label.index] = True

    def extend(self, other: InstanceTally) -> None:
        """Count the photos of another tally of the same set after one's own."""
        self.photos += other.photos
        self.unknown |= other.unknown
        self.has_ceiling |= other.has_ceiling

    def _kept(self, found: Sequence[Found], size: tuple[int, int]) -> list[tuple[Instance, Found]]:
        """Instances that await their attributes, without the masks that their RLE holds already."""
        nothing = np.zeros((0, 0), np.bool_)
        kept = []
        for one in (one for one in found if self.space.categories[one.category].shown):
            x, y, width, height = one.box
            box = (float(x), float(y), float(width), float(height))
            number = self.space.categories[one.category].id
            kept.append((Instance(number, _rle(one, size), box, score=one.score), one._replace(crop=nothing)))
        return kept

    def scored(self, metadata: Metadata, *, ceiling: bool = False) -> list[ScoredPhoto]:
        """The photos, with everything that was found and the attributes that the label thresholds let it have.

        Attributes that the set does not know are left out of both sides.
        """
        known = frozenset(self.vocabulary.attributes)
        return [
            photo.truth._replace(
                truth=[replace(one, attributes=one.attributes & known) for one in photo.truth.truth],
                found=[
                    replace(one, attributes=self._attributes(said, metadata) & known)
                    for one, said in (photo.ceiling if ceiling else photo.found)
                ],
            )
            for photo in self.photos
        ]

    def _attributes(self, one: Found, metadata: Metadata) -> frozenset[int | str]:
        worn, odds = {self.space.categories[one.category].name}, garment_odds(one.labels, metadata)
        said = attributes_said(self.space, odds, logit(metadata.label_thresholds), worn, 0.0)
        return frozenset(self.ids[x.label] for x in said)

    @property
    def vocabulary(self) -> Vocabulary:
        """The numbers of the label space, without attributes that the set does not know of all its garments."""
        known = [label for label in self.space.labels if label.shown and not self.unknown[label.index]]
        carriers = {name for label in known for name in label.carried_by}
        anything = any(not label.carried_by for label in known)
        whole = Vocabulary.of(self.space)
        described = {c.id for c in self.space.categories if c.shown and (anything or c.name in carriers)}
        return replace(whole, attributes={self.ids[x.name]: x.name for x in known}, described=frozenset(described))

    def report(self, name: str, metadata: Metadata) -> InstanceReport | None:
        """The scores of all photos so far; None where nothing is drawn or could be.

        AP takes all answers; F1 takes those that pass `Metadata.instance_scores` and `instance_areas`, and of the prior
        ones those that make it best.
        """
        if not any(not one.crowd for photo in self.photos for one in photo.truth.truth):
            return None
        photos = self.scored(metadata)
        ceiling = self.scored(metadata, ceiling=True) if self.has_ceiling else None
        report = instance_report(name, photos, self.vocabulary, ceiling=ceiling, notes=[F1_NOTE])
        categories = [c.id for c in self.space.categories]
        thresholds = metadata.instance_scores, metadata.instance_areas
        f1 = InstanceScore(
            name="mask.f1",
            value=found_f1(photos, categories, *thresholds)[0],
            ceiling=None if ceiling is None else found_f1(ceiling, categories)[0],
            empty=0.0,
            prior=highest_f1(prior_only(photos), categories),
        )
        return replace(report, scores=[*report.scores, f1])


def _rle(one: Found, size: tuple[int, int]) -> RLE:
    """The mask of a garment in a photo of `size`, made of its box alone: photos of 10 megapixels are many pixels."""
    x, y, width, height = one.box
    columns = np.zeros((width, height + 2), np.int8)
    columns[:, 1:-1] = one.crop.T
    column, row = np.nonzero(np.diff(columns, axis=1))               # in turn where it begins and ends
    borders = (x + column) * size[0] + y + row
    return dict(rle_of_borders(borders.astype(np.int64), size))
