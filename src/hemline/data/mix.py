"""Two training photos in one: what is drawn on one is pasted onto another, or gets another background.

Copy-paste (Ghiasi et al., 2021, https://arxiv.org/abs/2012.07177) in its simple form: whatever is drawn on a photo is
cut out along its masks, scaled, mirrored and shifted, and covers what lies behind it. Labels follow what is left in
view, by the rules of `hemline.data.augment.still_true`; what then is said of the whole photo is what both photos say
together. Both photos are on their canvas already, so that it costs no second warp.

Shapes: H W canvas, S segments, K mask classes, L labels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from hemline.config import Augment
from hemline.data.augment import on_segments, pixels, still_true
from hemline.data.sample import EITHER, MOST_SEGMENTS, PREDICTED, UNKNOWN, WHOLE_PHOTO, Region, Sample, Segments

UNCOVERED = 0.5
"""Share of a thing's pixels on its canvas that must be left uncovered for its labels to stay true of the photo."""
LEAST_SIDE = 12
"""Pixels below which a side of a cut-out, or of a patch of background, is too small to use."""
REACH = 0.04
"""Unsure pixels so near to what is drawn on both sides of them, as a share of the canvas, are cut out with it."""
MOST_UNSURE = 0.25
"""Unsure pixels left behind, as a share of what is drawn, above which a cut-out might lack a part."""
LEAST_KEPT = 0.8
"""A cut-out loses its outermost pixels, which show what lay behind it, where at least this share of it is left."""
SIZES = (0.35, 0.95)
"""How much of the canvas a pasted thing fills, of the side that it fills more of."""
MOST_ZOOM = 1.3
"""By how much a pasted thing is enlarged at most."""
OUTSIDE = 0.3
"""Share of a pasted thing's sides that may leave the photo."""

Bits = NDArray[np.uint8]
"""(H, W) 1 and 0."""
Pixels = NDArray[np.uint8]
"""(H, W, 3) RGB."""


def mix_sample(
    sample: Sample, second: Callable[[], Sample], settings: Augment, generator: np.random.Generator
) -> Sample:
    """Give a lone item another background, and paste what is drawn on another photo.

    Args:
        sample: A sample on its canvas.
        second: Gives another one, on a canvas of that size; asked only where it is needed, and not changed.
        settings: How often, see `hemline.config.Augment`.
        generator: The only source of randomness.
    """
    if generator.random() < settings.backdrop and _lone(sample):
        sample = _on_backdrop(sample, second, generator)
    if generator.random() < settings.paste and len(sample.targets) > 1:
        sample = _pasted(sample, second(), generator)
    return sample


def cut_out(sample: Sample) -> Bits | None:
    """(H, W) 1 on all that is drawn on a photo but its background, or None where that is nothing to cut out.

    Pixels of which nobody is sure belong to it where they lie between what is drawn. Where many of them lie elsewhere,
    the thing may be larger than what is drawn of it.
    """
    drawn = _drawn(sample)
    unsure = (sample.targets == UNKNOWN).any(1) & ~drawn
    unsure[0] = False                                     # of the background
    mask = on_segments(drawn, sample.segments)
    if min(cv2.boundingRect(mask)[2:]) < LEAST_SIDE:
        return None
    if unsure.any():
        perhaps = on_segments(unsure, sample.segments)
        side = 2 * round(REACH * max(mask.shape) / 2) + 1
        near = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
        closed = np.asarray(cv2.morphologyEx(mask, cv2.MORPH_CLOSE, near), np.uint8)
        between = closed & perhaps
        if np.count_nonzero(perhaps - between) > MOST_UNSURE * np.count_nonzero(mask):
            return None
        mask |= between
    inner = np.asarray(cv2.erode(mask, np.ones((3, 3), np.uint8)), np.uint8)
    return inner if np.count_nonzero(inner) >= LEAST_KEPT * np.count_nonzero(mask) else mask


def composed(base: Sample, thing: Sample, cut: Bits, full: NDArray[np.float64]) -> Sample:
    """One sample out of two: what `cut` says of `thing`, in front of `base`.

    Labels of the whole photo are yes where either says yes, no where both say no, else unknown. Those of garments that
    the network itself would have to find are left out: it might find the other's.

    Args:
        base: What lies behind, on its canvas.
        thing: What is pasted, moved to where it is to lie on that canvas.
        cut: (H, W) 1 where it covers the other.
        full: (S,) pixels that each segment of it had at this scale.
    """
    assert base.valid is not None
    shown = cut & base.valid
    num = len(base.targets)
    behind = _left(base, pixels(base.segments, num, base.valid), pixels(base.segments, num, base.valid & ~shown))
    front = _left(thing, full, pixels(thing.segments, len(thing.targets), shown))
    segments = np.where(shown > 0, thing.segments.astype(np.uint16) + num, base.segments)
    targets = np.concatenate([base.targets, thing.targets])
    front_drawn = [replace(x, segments=tuple(s + num for s in x.segments)) for x in front if x.drawn]
    regions = [*_of_both(behind, front), *(x for x in behind if x.drawn), *front_drawn]
    return _only_used(
        replace(
            base,
            photo=_blended(base.photo, thing.photo, shown),
            segments=segments,
            targets=targets,
            regions=regions,
        )
    )


def _left(sample: Sample, full: NDArray[np.float64], seen: NDArray[np.float64]) -> list[Region]:
    """The regions of which enough is left, but for those that a network would have to find.

    Where pixels in view may be some class, what is drawn of a thing may be a part of it: none is surely covered whole.
    """
    if len(sample.targets) == 1:
        return [region for region in sample.regions if region.segments != PREDICTED]
    left = [x for x in still_true(sample, full, seen, UNCOVERED) if x.segments != PREDICTED]
    if (sample.targets[seen > 0] < 0).any():
        wholes = iter([x for x in sample.regions if x.segments == WHOLE_PHOTO])
        for i, region in enumerate(left):
            if region.segments == WHOLE_PHOTO:
                lost = (next(wholes).labels == 1) & (region.labels == 0)
                left[i] = replace(region, labels=np.where(lost, UNKNOWN, region.labels).astype(np.int8))
    return left


def _of_both(behind: list[Region], front: list[Region]) -> list[Region]:
    """What the whole photo shows, of which one half is said by these regions and the other by those."""
    halves = [[x for x in side if x.segments == WHOLE_PHOTO and not x.doubt] for side in (behind, front)]
    if not any(halves):
        return []
    silent = np.full_like((halves[0] or halves[1])[0].labels, UNKNOWN)
    one, two = (np.max([silent, *(x.labels for x in half)], axis=0) for half in halves)
    labels = np.where((one == 1) | (two == 1), 1, np.where((one == 0) & (two == 0), 0, UNKNOWN)).astype(np.int8)
    return [Region(WHOLE_PHOTO, labels, tuple(one_of for half in halves for x in half for one_of in x.one_of))]


def _blended(behind: Pixels, front: Pixels, cut: Bits) -> Pixels:
    """The one in front of the other, with a soft edge inside the cut: outside it nothing changes."""
    x, y, width, height = cv2.boundingRect(cut)
    box = slice(max(y - 1, 0), y + height + 1), slice(max(x - 1, 0), x + width + 1)
    alpha = cv2.GaussianBlur(cut[box].astype(np.float32), (3, 3), 0) * cut[box]
    photo = behind.copy()
    under = behind[box].astype(np.float32)
    photo[box] = np.rint(under + alpha[..., None] * (front[box] - under))
    return photo


def _only_used(sample: Sample) -> Sample:
    """The same sample with rows for the segments that it shows alone: what a batch holds grows with their number."""
    used = pixels(sample.segments, len(sample.targets)) > 0
    used[0] = True                                        # the background, and the canvas around the photo
    now = np.cumsum(used) - 1
    segments: Segments = now.astype(np.uint16)[sample.segments]
    if used.sum() <= MOST_SEGMENTS:
        segments = segments.astype(np.uint8)
    regions = [
        replace(x, segments=tuple(int(now[s]) for s in x.segments if used[s])) if x.drawn else x
        for x in sample.regions
    ]
    return replace(sample, segments=segments, targets=sample.targets[used], regions=regions)


# -- copy-paste ----------------------------------------------------------------------------------------------


def _pasted(base: Sample, other: Sample, generator: np.random.Generator) -> Sample:
    """A sample with what is drawn on another in front of it, of a random size at a random place."""
    cut = cut_out(other)
    if cut is None or len(base.targets) + len(other.targets) > np.iinfo(np.uint16).max:
        return base
    assert base.valid is not None
    assert other.valid is not None
    x, y, width, height = cv2.boundingRect(cut)
    room_x, room_y, room_width, room_height = cv2.boundingRect(base.valid)
    fit = min(room_width / width, room_height / height)
    zoom = min(float(generator.uniform(*SIZES)) * fit, MOST_ZOOM)
    size = max(1, round(width * zoom)), max(1, round(height * zoom))
    mirror = generator.random() < 0.5
    frame = cv2.boundingRect(other.valid)
    ends = [frame[0] == x, frame[0] + frame[2] == x + width]
    left = _start(room_x, room_width, size[0], ends[::-1] if mirror else ends, generator)
    ends = [frame[1] == y, frame[1] + frame[3] == y + height]
    top = _start(room_y, room_height, size[1], ends, generator)
    box = slice(y, y + height), slice(x, x + width)

    def moved(image: NDArray[Any], how: int) -> NDArray[Any]:
        small: NDArray[Any] = np.asarray(cv2.resize(image[box], size, interpolation=how))
        canvas = np.zeros_like(image)
        rows = slice(max(top, 0), min(top + size[1], canvas.shape[0]))
        columns = slice(max(left, 0), min(left + size[0], canvas.shape[1]))
        placed = small[:, ::-1] if mirror else small
        canvas[rows, columns] = placed[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
        return canvas

    full = pixels(other.segments, len(other.targets), other.valid) * (size[0] / width) * (size[1] / height)
    thing = replace(
        other,
        photo=moved(other.photo, cv2.INTER_AREA if zoom < 1 else cv2.INTER_LINEAR),
        segments=moved(other.segments, cv2.INTER_NEAREST_EXACT),
    )
    return composed(base, thing, moved(cut, cv2.INTER_NEAREST_EXACT), full)


def _start(first: int, room: int, side: int, cut_off: list[bool], generator: np.random.Generator) -> int:
    """Where a thing begins: at the photo's edge where its own photo cut it off, so that no half stands in the air."""
    anywhere = round(generator.uniform(first - OUTSIDE * side, first + room - (1 - OUTSIDE) * side))
    before, behind = cut_off
    if before == behind:
        return anywhere
    return first if before else first + room - side


# -- backgrounds ---------------------------------------------------------------------------------------------


def _lone(sample: Sample) -> bool:
    """Whether a single thing is drawn on a photo."""
    return int(_drawn(sample).sum()) == 1


def _on_backdrop(item: Sample, second: Callable[[], Sample], generator: np.random.Generator) -> Sample:
    """A lone item where it is, in front of another photo's background, a plain one or a texture."""
    kind = generator.choice(["photo", "plain", "texture"])
    cut = cut_out(item)
    if cut is None:
        return item
    shape = cut.shape
    photo = _background_of(second(), generator) if kind == "photo" else None
    if photo is None:
        photo = _plain(shape, generator) if kind == "plain" else _texture(shape, generator)
    assert item.valid is not None
    photo = np.where(item.valid[..., None] > 0, photo, item.photo)      # around the photo it stays grey
    labels = [np.zeros_like(x.labels) for x in item.regions[:1]]
    nothing = replace(
        item,
        photo=photo,
        segments=np.zeros(shape, np.uint8),
        targets=np.zeros((1, item.targets.shape[1]), np.int8),
        regions=[Region(WHOLE_PHOTO, none) for none in labels],
    )
    return composed(nothing, item, cut, pixels(item.segments, len(item.targets), item.valid))


def _background_of(sample: Sample, generator: np.random.Generator) -> Pixels | None:
    """A canvas full of a photo's background beside what is drawn, mirrored on; None where there is too little."""
    assert sample.valid is not None
    if len(sample.targets) == 1 or sample.targets[0].any():             # nothing is drawn, or more may be there
        return None
    x, y, width, height = cv2.boundingRect((sample.segments > 0).astype(np.uint8))
    left, top, room_x, room_y = cv2.boundingRect(sample.valid)
    right, bottom = left + room_x, top + room_y
    strips = [(left, top, x, bottom), (x + width, top, right, bottom), (left, top, right, y),
              (left, y + height, right, bottom)]  # fmt: skip
    x0, y0, x1, y1 = max(strips, key=lambda strip: min(strip[2] - strip[0], strip[3] - strip[1]))
    if min(x1 - x0, y1 - y0) < 2 * LEAST_SIDE or not sample.valid[y0:y1, x0:x1].all():
        return None
    rows, columns = sample.segments.shape
    zoom = generator.uniform(1, 2)
    patch = cv2.resize(sample.photo[y0:y1, x0:x1], None, fx=zoom, fy=zoom, interpolation=cv2.INTER_LINEAR)
    patch = np.asarray(patch[:rows, :columns], np.uint8)
    missing = rows - patch.shape[0], columns - patch.shape[1]
    (above, before), (below, behind) = ([n // 2 for n in missing], [n - n // 2 for n in missing])
    return np.asarray(cv2.copyMakeBorder(patch, above, below, before, behind, cv2.BORDER_REFLECT), np.uint8)


def _plain(shape: tuple[int, ...], generator: np.random.Generator) -> Pixels:
    """One colour, lighter towards some side, with a little noise."""
    colour = _muted(generator)
    corners = generator.uniform(-30, 30, (2, 2)).astype(np.float32)
    noise = generator.uniform(0, 4) * generator.standard_normal(shape, np.float32)
    shade = cv2.resize(corners, shape[::-1], interpolation=cv2.INTER_LINEAR) + noise
    return np.clip(colour + shade[..., None], 0, 255).astype(np.uint8)


def _texture(shape: tuple[int, ...], generator: np.random.Generator) -> Pixels:
    """Noise of several scales between two colours, drawn out along one side as wood and cloth are."""
    heights = np.zeros(shape, np.float32)
    along = generator.uniform(0.2, 5)
    for octave, cells in enumerate((3, 9, 27, 81)):
        grid = generator.standard_normal((max(2, round(cells * along)), cells)).astype(np.float32)
        heights += np.asarray(cv2.resize(grid, shape[::-1], interpolation=cv2.INTER_LINEAR), np.float32) / 1.6**octave
    share = ((heights - heights.min()) / np.ptp(heights))[..., None]
    one, two = _muted(generator), _muted(generator)
    return np.asarray(one + np.float32(generator.uniform(0.2, 1)) * (two - one) * share, np.uint8)


def _muted(generator: np.random.Generator) -> NDArray[np.float32]:
    """A colour (3,) as grounds have: anything from black to white, seldom bright red or green."""
    grey = generator.uniform(10, 245)
    colour = grey + generator.uniform(0, 0.7) * (generator.uniform(10, 245, 3) - grey)
    return colour.astype(np.float32)


def _drawn(sample: Sample) -> NDArray[np.bool_]:
    """(S,) which segments are some class, their number 0 apart."""
    drawn: NDArray[np.bool_] = ((sample.targets == 1) | (sample.targets == EITHER)).any(1)
    drawn[0] = False
    return drawn
