"""The answer: what is worn in a photo, where, in which colours, with which attributes.

Scores, thresholds and masks of the photo's size are made here and nowhere else (`read_answer`).

Of a network that draws classes, one garment a category: several people's shoes are one garment `shoe` with one mask of
many parts, and masks of garments found by their pixels share no pixel. Of a network that finds instances, a garment for
each: both shoes, and a scarf over the whole coat. The region of a garment that is known by the photo's label alone
(`found_by: label`) is a guess and may lie over others. A part of a garment (`LabelSpace.parts`) that has a mask belongs
to the garment that holds it (`hemline._parts.holder`); one that nobody holds is a garment of its own.

Shapes: K mask classes, L labels, h w the mask head's map, H W photo.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hemline import masks as mask_forms
from hemline._parts import hold
from hemline._regions import Maps, best_region, find_regions, logit, sigmoid, working_frame
from hemline.coarse import CoarseMask
from hemline.colour import Colour, colours_of, is_multicolour
from hemline.found import Found, of_detections, of_maps, reported
from hemline.labels import Category, LabelSpace
from hemline.masks import Mask, MaskFormat
from hemline.metadata import Metadata
from hemline.photo import Frame, ReadPhoto
from hemline.runtime import Detections
from hemline.vocabulary import Vocabulary, shop_words
from hemline.words_said import ScoredLabel, attributes_said, categories_said, outdone

SCHEMA_VERSION = "1.3"
"""Of the JSON answer (`result.schema.json`): keys are only added within a major version."""
LEAST_REGION = 0.1
"""A category known by the photo's label has a region only where its mask reaches this probability somewhere."""


@dataclass(eq=False)
class Garment:
    """One category that is worn in a photo, or one garment of several that are found one by one."""

    category: str
    category_id: int
    """The publisher's number."""
    outfit_part: str | None
    """One of `labels.OUTFIT_PARTS`; None for parts of garments."""
    score: float
    """The probability that the category is right, 0..1: found by its mask, or by the photo's label. Of weights without
    `Metadata.scores`, and found by its mask, the mean over its pixels of the probability, the threshold being 0.5."""
    area: float
    """Share of the photo, 0..1; 0 where there is no mask."""
    box: tuple[int, int, int, int] | None
    """(x, y, width, height) in pixels around the mask; None where there is none."""
    drawn: CoarseMask | None = field(repr=False)
    """What `mask` is made of; None where the photo's label says that it is there and no pixel does."""
    found_by: Literal["mask", "label"]
    colours: list[Colour]
    attributes: list[ScoredLabel]
    parts: list[Garment] = field(default_factory=list)
    """What lies on it, such as a collar with its own attributes, largest first; parts have none."""
    embedding: NDArray[np.float32] | None = field(default=None, repr=False)
    """(D,) what like garments are found by (`hemline similar`); None where the weights' graph has none, and where the
    garment has no mask of its own."""

    @cached_property
    def mask(self) -> Mask | None:
        """(H, W) True on the garment, made when it is first asked for; None where `drawn` is."""
        return None if self.drawn is None else self.drawn.whole()

    @property
    def multicolour(self) -> bool:
        """Whether it has three colours or more, none of which has half of it."""
        return is_multicolour(self.colours)

    def to_dict(self, mask_format: MaskFormat = "rle", vocabulary: Vocabulary | None = None) -> dict[str, Any]:
        """Plain JSON; scores rounded to four digits; with a vocabulary, its words too (`shop`)."""
        return {
            "category": self.category,
            "category_id": self.category_id,
            "outfit_part": self.outfit_part,
            "score": round(self.score, 4),
            "area": round(self.area, 6),
            "box": None if self.box is None else list(self.box),
            "mask": None if self.drawn is None else self.drawn.encode(mask_format),
            "found_by": self.found_by,
            "colours": [colour._asdict() | {"share": round(colour.share, 4)} for colour in self.colours],
            "multicolour": self.multicolour,
            "attributes": [attribute.to_dict() for attribute in self.attributes],
            "parts": [part.to_dict(mask_format) for part in self.parts],
            **({} if vocabulary is None else {"shop": shop_words(self, vocabulary).to_dict()}),
        }

    def mask_image(self) -> Image.Image:
        """The mask as a black and white picture of the photo's size, one bit a pixel.

        Raises:
            ValueError: the garment has no mask.
        """
        return Image.fromarray(self._mask_or_refuse())

    def cutout(self, photo: NDArray[np.uint8]) -> Image.Image:
        """The garment alone, RGBA, cropped to its box; what lies around it is transparent, and gone.

        Args:
            photo: (H, W, 3) RGB, the photo that the garment was found in.

        Raises:
            ValueError: the garment has no mask.
        """
        mask = self._mask_or_refuse()
        x, y, width, height = self.box or mask_forms.box(mask)
        crop = slice(y, y + height), slice(x, x + width)
        alpha = mask[crop][..., None].astype(np.uint8)
        return Image.fromarray(np.concatenate([photo[crop] * alpha, alpha * 255], axis=2))

    def _repr_html_(self) -> str:
        from hemline.notebook import garment_html

        return garment_html(self)

    def _repr_png_(self) -> bytes | None:
        from hemline.notebook import garment_png

        return garment_png(self)

    def _mask_or_refuse(self) -> Mask:
        if self.mask is None:
            raise ValueError(f"{self.category} has no mask, for the photo's label alone says that it is there")
        return self.mask


@dataclass(eq=False)
class Result:
    """What is worn in one photo."""

    photo: str
    """The photo's name."""
    size: tuple[int, int]
    """(height, width) in pixels."""
    garments: list[Garment]
    """Largest first; each holds its parts."""
    labels: list[ScoredLabel]
    """What the photo as a whole shows: its categories, surest first, then the attribute groups."""
    read: ReadPhoto = field(repr=False)
    """The photo as it was read, kept for `draw` and cut-outs."""
    space: LabelSpace = field(repr=False)
    vocabulary: Vocabulary | None = field(default=None, repr=False)
    """Whose words stand beside ours in `to_dict` and in the terminal; None adds nothing."""

    @cached_property
    def pixels(self) -> NDArray[np.uint8]:
        """(H, W, 3) RGB. Of a large JPEG they are decoded when they are first asked for.

        Raises:
            PhotoError: the file is gone, or has changed since it was read.
        """
        return self.read.whole()

    @property
    def garments_and_parts(self) -> list[Garment]:
        """The garments, each followed by its parts."""
        return [piece for garment in self.garments for piece in (garment, *garment.parts)]

    def to_dict(self, mask_format: MaskFormat = "rle") -> dict[str, Any]:
        """Plain JSON, as `result.schema.json` describes it; scores rounded to four digits.

        Args:
            mask_format: `rle`, `png`, `polygons` or `none`: see the functions of `hemline.masks`.
        """
        spoken = self.vocabulary
        return {
            "schema_version": SCHEMA_VERSION,
            "photo": self.photo,
            "size": {"height": self.size[0], "width": self.size[1]},
            "garments": [garment.to_dict(mask_format, spoken) for garment in self.garments],
            "labels": [label.to_dict() for label in self.labels],
            **({} if spoken is None else {"vocabulary": {"name": spoken.name, "version": spoken.version}}),
        }

    def to_coco(self) -> dict[str, Any]:
        """This photo as a COCO file's content; `hemline.coco_answers.to_coco` puts several together."""
        from hemline.coco_answers import to_coco

        return to_coco([self])

    def draw(self) -> Image.Image:
        """The photo with every garment outlined, beside a legend."""
        from hemline.draw import draw

        return draw(self.pixels, self)

    def _repr_html_(self) -> str:
        from hemline.notebook import result_html

        return result_html(self)

    def _repr_png_(self) -> bytes | None:
        from hemline.notebook import result_png

        return result_png(self)


def read_answer(
    masks: NDArray[np.float32],
    labels: NDArray[np.float32],
    canvas_size: tuple[int, int],
    frame: Frame,
    metadata: Metadata,
    photo: NDArray[np.uint8] | ReadPhoto,
    *,
    name: str,
    min_score: float | None = None,
    one_by_one: bool = False,
    embeddings: NDArray[np.float32] | None = None,
) -> Result:
    """Turn the network's logits for one photo into its answer.

    In each layer (`Metadata.layers`), a pixel belongs to the class with the largest margin over its threshold, or to
    none where no margin is above 0; a class that is a second guess at another's garment does not compete. Each mask is
    then freed of speckles and its small holes are filled (`hemline.masks`). Labels and garments agree: a category that
    won no pixel but whose label passes for the whole photo is a garment too, but where categories are alike
    (`LabelSpace.alike`) the label yields to a mask, and to a surer one. The photo shows no attribute that none of its
    garments has, unless one could whose mask is not known.

    Args:
        masks: (K, h, w) logits on the canvas.
        labels: (1 + K, L) logits: of the whole photo, then under the mask of each class.
        canvas_size: (height, width) of the canvas in pixels.
        frame: Where the photo lies on the canvas.
        metadata: Of the weights that answered: label space and thresholds.
        photo: (H, W, 3) RGB, or what `read_for` read.
        name: The photo's name.
        min_score: Nothing that scores lower is in the answer, and no label whose garment scores lower; None leaves
            it to the thresholds.
        one_by_one: Make each connected part of a mask a garment of its own, as `read_detections` reports them: with
            the score of its own pixels and the attributes of all its class. What the photo's label alone names has no
            mask then.
        embeddings: (1 + K, D) of the whole photo, then under the mask of each class.
    """
    space, read, frame = metadata.labels, ReadPhoto.of(photo), working_frame(frame)
    maps = Maps(masks, canvas_size, frame, logit(metadata.mask_thresholds), metadata.layers)
    if one_by_one:
        parts = of_maps(maps, labels, len(space.categories))
        size = frame.photo_height, frame.photo_width
        by_class = None if embeddings is None else embeddings[1:]
        return _of_found(parts, labels[0], size, metadata, read, name=name, least=min_score or 0.0, by_class=by_class)
    regions = find_regions(maps, len(space.categories))
    drawn = [
        _Drawn(k, region.score, region.mask, labels[1 + k], None if embeddings is None else embeddings[1 + k])
        for k, region in regions.items()
    ]

    def guess(category: int) -> Mask | None:
        return best_region(maps, category, LEAST_REGION)

    return _compose(drawn, labels[0], guess, metadata, read, name=name, least=min_score or 0.0)


def read_detections(
    detections: Detections,
    frame: Frame,
    metadata: Metadata,
    photo: NDArray[np.uint8] | ReadPhoto,
    *,
    name: str,
    min_score: float | None = None,
) -> Result:
    """Turn what a network that finds instances answers for one photo into the same `Result`: a garment an instance.

    Those that score less than their category's threshold, or are smaller than its least area, are left out; what the
    photo's labels add is as `read_answer` says.

    Args:
        detections: Of one photo.
        frame: Where the photo lies on the canvas.
        metadata: Of the weights that answered: label space and thresholds.
        photo: (H, W, 3) RGB, or what `read_for` read.
        name: The photo's name.
        min_score: As of `read_answer`.
    """
    frame = working_frame(frame)
    found = of_detections(detections, frame)
    size, read = (frame.photo_height, frame.photo_width), ReadPhoto.of(photo)
    return _of_found(found, detections.labels[0], size, metadata, read, name=name, least=min_score or 0.0)


def _of_found(
    found: Sequence[Found],
    of_photo: NDArray[np.float32],
    size: tuple[int, int],
    metadata: Metadata,
    read: ReadPhoto,
    *,
    name: str,
    least: float,
    by_class: NDArray[np.float32] | None = None,
) -> Result:
    """The answer of garments found one by one in a photo of that size, and of the (L,) logits of the whole photo."""
    chosen = reported(found, metadata, size)
    drawn = [
        _Drawn(k, one.score, one.mask(size), one.labels, None if by_class is None else by_class[k])
        for one, k in ((one, one.category) for one in chosen)
    ]
    return _compose(drawn, of_photo, lambda _: None, metadata, read, name=name, least=least)


class _Drawn(NamedTuple):
    """A garment that has a mask."""

    category: int
    score: float
    mask: Mask
    labels: NDArray[np.float32]
    """(L,) logits of what is said of it."""
    embedding: NDArray[np.float32] | None
    """(D,)."""


def _compose(
    drawn: Sequence[_Drawn],
    of_photo: NDArray[np.float32],
    guess: Callable[[int], Mask | None],
    metadata: Metadata,
    read: ReadPhoto,
    *,
    name: str,
    least: float,
) -> Result:
    """The answer of what has masks and of the (L,) logits of the whole photo, made to agree.

    `guess` is asked where a category is that the photo's label alone names.
    """
    space, scores = metadata.labels, metadata.scores
    if scores is not None:
        drawn = [
            one._replace(score=scores.of_mask(k, one.score, float(of_photo[k])), labels=scores.of_garment(one.labels))
            for one, k in ((one, one.category) for one in drawn)
        ]
        of_photo = scores.of_photo(of_photo)
    if metadata.garment_thresholds:
        drawn = [one for one in drawn if one.score > metadata.garment_thresholds[one.category]]
    of_garment, thresholds = logit(metadata.label_thresholds), logit(metadata.of_photo)
    there = {one.category for one in drawn}
    garments = []
    for one in (one for one in drawn if space.categories[one.category].shown):
        category = space.categories[one.category]
        said = attributes_said(space, one.labels, of_garment, {category.name}, least)
        garments.append(_garment(category, one.score, one.mask, "mask", read.size, said, one.embedding))
    by_label = () if metadata.garment_thresholds else space.categories
    for category in (c for c in by_label if c.shown and c.index not in there):
        k = category.index
        if of_photo[k] > thresholds[k] and not outdone(space, category, of_photo - thresholds, there):
            garments.append(_garment(category, float(sigmoid(of_photo[k])), guess(k), "label", read.size, []))
    garments = sorted((g for g in garments if g.score >= least), key=lambda garment: -garment.area)
    coloured = [(garment, garment.drawn) for garment in garments if garment.drawn is not None]
    for (garment, _), found in zip(coloured, colours_of(read.pixels, [mask for _, mask in coloured]), strict=True):
        garment.colours = found
    worn = {garment.category for garment in garments}
    whole = categories_said(space, of_photo, thresholds, worn, least)
    seen = {(x.group, x.label) for garment in garments for x in garment.attributes}
    unseen = {garment.category for garment in garments if garment.found_by == "label"}
    possible = attributes_said(space, of_photo, thresholds, unseen, least)
    said = attributes_said(space, of_photo, thresholds, worn, least)
    whole += [x for x in said if (x.group, x.label) in seen or x in possible]
    return Result(name, read.size, hold(garments, space), whole, read, space)


def _garment(
    category: Category,
    score: float,
    mask: Mask | None,
    found_by: Literal["mask", "label"],
    size: tuple[int, int],
    attributes: list[ScoredLabel],
    embedding: NDArray[np.float32] | None = None,
) -> Garment:
    """A garment of a photo of that size, its colours not yet measured."""
    drawn = None if mask is None else CoarseMask(mask, size)
    return Garment(
        category=category.name,
        category_id=category.id,
        outfit_part=category.outfit_part,
        score=score,
        area=0.0 if drawn is None else drawn.area / (size[0] * size[1]),
        box=None if drawn is None else drawn.box,
        drawn=drawn,
        found_by=found_by,
        colours=[],
        attributes=attributes,
        embedding=embedding,
    )
