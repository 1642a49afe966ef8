"""The scores of one dataset, counted photo by photo: what `hemline.evaluate` measures.

Shapes: C categories, K mask classes, L labels, S segments, H W photo.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from hemline._answered import Answered, MapsAnswer
from hemline._average_precision import average_precision
from hemline._bootstrap import Floats
from hemline._instance_tally import InstanceTally
from hemline._targets import Targets, protocol
from hemline.data.sample import PREDICTED, UNKNOWN, WHOLE_PHOTO, Region, Sample
from hemline.fitted_scores import (
    CalibrationError,
    Rows,
    calibration_errors,
    chances,
    logits_of,
    mask_logits,
    own_chances,
    shown_of,
)
from hemline.foreground_iou import ForegroundIoU
from hemline.instance_thresholds import instance_thresholds
from hemline.labels import Category, Label, LabelSpace
from hemline.metadata import Metadata
from hemline.metrics import IGNORED, LabelScores, MaskScores
from hemline.report import SetReport
from hemline.scores import Scores
from hemline.soft_scores import SoftScores, squashed
from hemline.soft_scores import chances as pixel_chances
from hemline.thresholds import NEVER, best_thresholds
from hemline.transplant import Transplant


def truth_map(sample: Sample, space: LabelSpace, layer: Sequence[int] | None = None) -> NDArray[np.uint8]:
    """What each pixel is: (H, W) 0 background, 1 + i the class `layer[i]`, or `IGNORED`.

    A segment is a class where exactly one competing class is true of it; background where all of them are false and
    no hidden class is true; and ignored otherwise: it may be one thing or another, or is something that no answer says.
    Where garments and parts compete, what is both is the part, which lies on top.

    Args:
        sample: What is drawn.
        space: Its label space.
        layer: The classes that compete (`Metadata.layers`); those of garments and pixels if None.
    """
    layer = space.layers[0] if layer is None else layer
    competing = sample.targets[:, list(layer)]
    part = np.isin(layer, list(space.parts))
    if part.any() and not part.all():
        covered = (competing[:, part] == 1).any(1)
        competing[np.ix_(covered, ~part)] = 0
    hidden = [k for k in range(space.num_masks) if k not in space.competing]
    one = (competing == 1).sum(1) == 1
    nothing = (competing == 0).all(1) & ~(sample.targets[:, hidden] == 1).any(1)
    classes = np.where(one, 1 + (competing == 1).argmax(1), np.where(nothing, 0, IGNORED)).astype(np.uint8)
    return classes[sample.segments]


@dataclass
class Tally:
    """The scores of one set, photo by photo."""

    name: str
    terms: str
    metadata: Metadata
    answers: bool = True
    """Whether the thresholds are those that users will have, so that answers can be judged too."""
    transplant: Transplant | None = None
    """None where no garment is repainted."""
    soft: SoftScores | None = None
    """None where nobody asked for these scores."""
    instances: InstanceTally | None = None
    """None where garments are not scored one by one."""
    photos: int = 0
    missed: int = 0
    masks: list[MaskScores] = field(init=False)
    """Of each layer: of garments and pixels, then of parts; of all together where masks are exclusive."""
    foreground: ForegroundIoU = field(default_factory=ForegroundIoU)
    """Of the first layer."""
    whole: LabelScores = field(init=False)
    """Labels of the whole photo."""
    garments: LabelScores = field(init=False)
    """Attributes of garments."""
    targets: Targets = field(init=False)
    found: list[tuple[Floats, Floats, NDArray[np.int8]]] = field(default_factory=list)
    """Of each photo whose categories are known, of the (C,) categories: the own score of the garment that was found by
    its mask, NaN without, the logit of its label in the photo, and the truth."""
    mask_scores: dict[str, float] = field(default_factory=dict)
    """Of each photo with a known pixel, by its key: the mean IoU of the first layer's classes that its truth or its
    answer shows, background included."""
    label_scores: dict[str, float] = field(default_factory=dict)
    """Of each photo of which some label is known to be true, and some not: the average precision with which the labels'
    probabilities rank the true ones among those known of the whole photo."""

    def __post_init__(self) -> None:
        space = self.metadata.labels
        self.masks = [MaskScores(class_names(space, layer)) for layer in self.metadata.layers]
        names = [c.name for c in space.categories] + [label.name for label in space.labels]
        choices = {group.name: space.label_slices[group.name] for group in space.groups if group.choice == "one"}
        self.whole = LabelScores(names, self.metadata.of_photo, choices)
        self.garments = LabelScores(names, self.metadata.label_thresholds, choices)
        self.targets = Targets(self.name, space)

    def add(self, sample: Sample, answered: Answered) -> None:
        """Count one photo and its answer."""
        space = self.metadata.labels
        drawn_before = len(self.masks[0])
        for layer, scores in zip(self.metadata.layers, self.masks, strict=True):
            classes, truth = answered.class_map(layer), truth_map(sample, space, layer)
            scores.update(classes, truth)
            if scores is self.masks[0]:
                self.foreground.update(classes, truth)
        if len(self.masks[0]) > drawn_before:
            self.mask_scores[sample.key] = self.masks[0].last_mean_iou()
        if self.soft is not None and isinstance(answered, MapsAnswer):
            layer = self.metadata.layers[0]
            chance = pixel_chances(answered.masks[list(layer)], answered.frame, self.metadata.canvas)
            self.soft.update(chance, squashed(truth_map(sample, space, layer)))
        whole = [region for region in sample.regions if region.segments == WHOLE_PHOTO and not region.doubt]
        if whole:
            rows = np.stack([_probability(answered.photo)] * len(whole)), np.stack([r.labels for r in whole])
            self.whole.update(*rows)
            self.targets.update(*rows)
            known = rows[1] >= 0
            precision = float(average_precision(rows[0][known], rows[1][known] == 1)[0]) if known.any() else np.nan
            if np.isfinite(precision):
                self.label_scores[sample.key] = precision
            if self.answers and self.targets.single_item:
                self.targets.answer(answered.result(sample), whole[0].labels, whole[0].one_of)
        self._add_garments(sample, answered)
        self._add_found(sample, answered)
        if self.instances is not None:
            self.instances.add(sample, answered)
        if self.transplant is not None:
            self.transplant.add(sample)
        self.photos += 1

    def extend(self, other: Tally) -> None:
        """Count the photos of another tally of the same set after one's own; of garments repainted it takes none."""
        for scores, more in zip(self.masks, other.masks, strict=True):
            scores.extend(more)
        self.foreground.extend(other.foreground)
        self.whole.extend(other.whole)
        self.garments.extend(other.garments)
        self.targets.extend(other.targets)
        self.found += other.found
        if self.soft is not None and other.soft is not None:
            self.soft.extend(other.soft)
        if self.instances is not None and other.instances is not None:
            self.instances.extend(other.instances)
        self.mask_scores |= other.mask_scores
        self.label_scores |= other.label_scores
        self.photos += other.photos
        self.missed += other.missed

    def _add_garments(self, sample: Sample, answered: Answered) -> None:
        """Count the attributes of the garments of one photo."""
        space = self.metadata.labels
        scores, truths = [], []
        for region in sample.regions:
            may_be = _categories_of(region, sample, space)
            said = answered.garment(sample, region, may_be) if may_be else None
            truth = _attributes_of(region, [said.category] if said else may_be, space)
            if (truth >= 0).any() and not region.doubt:
                self.missed += said is None              # no garment, no attribute: its scores are 0
                scores.append(_probability(said.labels) if said else np.zeros(space.num_labels))
                truths.append(truth)
        if truths:
            self.garments.update(np.stack(scores), np.stack(truths))

    def _add_found(self, sample: Sample, answered: Answered) -> None:
        """Count the garments of one photo that were found by their masks."""
        truth = categories_worn(sample, self.metadata.labels)
        if (truth >= 0).any():
            own, label = np.full((2, len(truth)), np.nan)
            for category, (score, logit) in answered.garments.items():
                own[category], label[category] = score, logit
            self.found.append((own, label, truth))

    def rescore(self, scores: Scores) -> None:
        """Turn what was counted at the network's own logits into what `scores` makes of it."""
        self.whole.rescore(scores.photo.weights)
        self.garments.rescore(scores.garments.weights)
        self.targets.rescore(scores.photo.weights)
        self.metadata = replace(self.metadata, scores=scores)

    def report(self) -> SetReport:
        classes = protocol()["masks"]["classes"]
        by_protocol = self.name == "ccp" and set(classes) == set(self.masks[0].classes)
        whole, garments = self.whole.compute(), self.garments.compute()
        floor = protocol()["masks"]["floor"]
        return SetReport(
            name=self.name,
            photos=self.photos,
            terms=self.terms,
            masks=self.masks[0].compute() if len(self.masks[0]) else None,
            foreground=self.foreground.compute() if len(self.masks[0]) else None,
            part_masks=next((scores.compute() for scores in self.masks[1:] if len(scores)), None),
            labels=whole if whole.labels else None,
            garments=garments if garments.labels else None,
            garments_missed=self.missed,
            left_out=[name for name in whole.left_out if name in garments.left_out],
            by_protocol=by_protocol,
            floor={key: floor[key] for key in ("mean_iou", "pixel_accuracy")} if by_protocol else {},
            targets=self.targets.compute(),
            transplant=None if self.transplant is None else self.transplant.report(),
            soft=None if self.soft is None else self.soft.compute(),
            instances=None if self.instances is None else self.instances.report(self.name, self.metadata),
            photo_scores=self.mask_scores or self.label_scores,
            calibration=errors_in_use([self], self.metadata),
        )


def rows_of(tallies: Sequence[Tally], space: LabelSpace) -> tuple[Rows, Rows, Rows]:
    """What the scores of each of `fitted_scores.USES` are made of; tallies that were not `rescore`d hold logits."""
    names = [c.name for c in space.categories] + [label.name for label in space.labels]
    count, shown = len(space.categories), shown_of(space)
    attributes = shown & (np.arange(len(names)) >= count)
    photo, garments = (
        Rows(names, may, logits_of(scores)[..., None], truth, number)
        for may, (scores, truth, number) in (
            (shown, _stacked([tally.whole for tally in tallies])),
            (attributes, _stacked([tally.garments for tally in tallies])),
        )
    )
    found = [photo for tally in tallies for photo in tally.found]
    own, label, truth = (np.array([photo[i] for photo in found]).reshape(-1, count) for i in range(3))
    masks = Rows(names[:count], shown[:count], mask_logits(own, label), truth.astype(np.int8), np.arange(len(found)))
    return photo, garments, masks


def _stacked(parts: Sequence[LabelScores]) -> tuple[Floats, NDArray[np.int8], NDArray[np.int64]]:
    """The rows of several sets, one after the other, their photos numbered on."""
    stacks = [part.stacked() for part in parts]
    begins = np.cumsum([0, *(len(part) for part in parts)])
    scores, truth = (np.concatenate([stack[i] for stack in stacks]) for i in range(2))
    photo = np.concatenate([stack[2] + begin for stack, begin in zip(stacks, begins[:-1], strict=True)])
    return scores, truth.astype(np.int8), photo


def errors_in_use(tallies: Sequence[Tally], metadata: Metadata) -> list[CalibrationError]:
    """The calibration errors of the scores that the tallies were counted at."""
    photo, garments, masks = uses = rows_of(tallies, metadata.labels)
    own = own_chances(masks) if metadata.scores is None else chances(masks, np.array(metadata.scores.masks.weights))
    return calibration_errors(uses, (own_chances(photo), own_chances(garments), own))


def thresholds_of(tallies: Sequence[Tally], metadata: Metadata) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(L,) over whole photos, and (L,) of categories over these, too, of attributes over garments.

    Those of the metadata if nothing is known.
    """
    if not any(tally.photos for tally in tallies):
        return metadata.of_photo, metadata.label_thresholds
    photo, garments = (
        best_thresholds(*_stacked(parts)[:2])
        for parts in ([tally.whole for tally in tallies], [tally.garments for tally in tallies])
    )
    num = len(metadata.labels.categories)
    return photo, photo[:num] + garments[num:]


def instance_thresholds_of(
    tallies: Sequence[Tally], metadata: Metadata
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(C,) least scores and (C,) least areas of garments found one by one; those of the metadata if nothing is known.

    Both are empty where too few garments are drawn.
    """
    photos = [photo for tally in tallies if tally.instances for photo in tally.instances.scored(metadata)]
    if not photos:
        return metadata.instance_scores, metadata.instance_areas
    return instance_thresholds(photos, [category.id for category in metadata.labels.categories])


def only_better_than_chance(
    thresholds: tuple[Sequence[float], Sequence[float]], sets: Sequence[SetReport], space: LabelSpace
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The thresholds of `thresholds_of`, `NEVER` where no set's interval of average precision lies above the frequency.

    An attribute that no set knows both yes and no of whole photos is said of these as it is of garments.
    """
    photo, garments = thresholds
    if not sets:
        return tuple(photo), tuple(garments)
    measured = [
        (label.name, reports is not part.labels, label.average_precision.low > label.prior)
        for part in sets
        for reports in (part.labels, part.garments)
        for label in (reports.labels if reports else ())
    ]
    proved = {(name, of_garment) for name, of_garment, better in measured if better}
    known = {name for name, of_garment, _ in measured if not of_garment}
    count = len(space.categories)
    chosen: tuple[list[float], list[float]] = [], []
    things: tuple[Category | Label, ...] = (*space.categories, *space.labels)
    for thing, by_photo, by_garment in zip(things, photo, garments, strict=True):
        of_whole = by_photo if (thing.name, False) in proved else NEVER
        attribute = thing.index >= count
        of_one = (by_garment if (thing.name, True) in proved else NEVER) if attribute else of_whole
        chosen[0].append(of_one if attribute and thing.name not in known else of_whole)
        chosen[1].append(of_one)
    return tuple(chosen[0]), tuple(chosen[1])


def categories_worn(sample: Sample, space: LabelSpace) -> NDArray[np.int8]:
    """(C,) 1 where a category is in the photo, 0 where not, -1 unknown: by its labels, and else by what is drawn."""
    drawn = sample.targets[:, : len(space.categories)]
    worn = np.where((drawn == 1).any(0), 1, np.where((drawn == 0).all(0), 0, UNKNOWN)).astype(np.int8)
    for region in sample.regions:
        if region.segments == WHOLE_PHOTO and not region.doubt:
            said = region.labels[: len(space.categories)]
            worn = np.where(said >= 0, said, worn)
    return worn


def class_names(space: LabelSpace, layer: Sequence[int]) -> list[str]:
    """The names of what `truth_map` numbers."""
    return ["background", *(space.mask_names[k] for k in layer)]


def _categories_of(region: Region, sample: Sample, space: LabelSpace) -> list[int]:
    """The categories, among those that can be answered, that the garment spoken of may be; none for a whole photo."""
    if region.segments == WHOLE_PHOTO:
        return []
    own = region.labels[: len(space.categories)] == 1
    if region.segments == PREDICTED:
        said = np.zeros(space.num_masks, bool) if region.classes is None else region.classes
    elif own.any():
        said = own
    else:
        said = (sample.targets[list(region.segments)] == 1).all(0)
    return [k for k in space.competing if k < len(space.categories) and said[k]]


def _attributes_of(region: Region, categories: Sequence[int], space: LabelSpace) -> NDArray[np.int8]:
    """(L,) what is known of a garment, apart from its category and from what is never reported of it."""
    names = {space.categories[k].name for k in categories}
    known = region.labels.copy()
    known[: len(space.categories)] = UNKNOWN
    for label in space.labels:
        if not names or not label.shown or (label.carried_by and not label.carried_by & names):
            known[label.index] = UNKNOWN
    return known


def _probability(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """In double precision, so that large logits keep their order."""
    small = np.exp(-np.abs(logits.astype(np.float64)))
    probability: NDArray[np.float64] = np.where(logits >= 0, 1.0, small) / (1 + small)
    return probability
