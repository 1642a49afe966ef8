"""The transplant test: one garment of a photo is repainted, and its pattern's score must rise, on that garment alone.

    Sample --garments--> drawn garments --random_fabric, repaint--> photos --score--> Trials --> TransplantReport

It asks whether an attribute is tied to the pixels of the garment that it is said of. Each garment's score is pooled
under its true mask, as in training, so what is measured is the label head and no slip of a predicted mask. A trial
passes if the painted label's score rises on the repainted garment and moves by at most `MOST_CHANGE` on each other
garment of the photo that could carry it.

Most clothes are plain, on which `plain (pattern)` can hardly rise: its trials begin from the same garment painted with
the other pattern of its pair. Patterns that a garment is known to have already are not tried on it.

Shapes: H W photo, R garments of a photo, L labels, P photos, B bootstrap resamples.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hemline._bootstrap import Figure, figure, ratio, resample
from hemline._runtimes import form_beside
from hemline.checkpoint import load_network
from hemline.data._drawing.outfits import PALETTE
from hemline.data._drawing.painting import RGB
from hemline.data.augment import place_sample
from hemline.data.sample import Region, Sample, collate
from hemline.errors import WeightsError
from hemline.labels import Label, LabelSpace
from hemline.losses import mask_targets, region_masks
from hemline.metadata import Metadata
from hemline.photo import place

if TYPE_CHECKING:
    from hemline.model import Network

PLAIN, STRIPE, CHECK, DOT = PATTERNS = ("plain (pattern)", "stripe", "check", "dot")
PAIRS = tuple(combinations(PATTERNS, 2))
"""Each garment is repainted with one of these pairs; plain comes first in its own."""
MIN_SHARE = 0.01
"""Share of the photo that a garment must cover to take part: with less, its cells are half its neighbours'."""
MOST_CHANGE = 0.1
"""How far the score may move on a garment that was not repainted."""
PERIODS = {STRIPE: (0.09, 0.18), CHECK: (0.1, 0.2), DOT: (0.09, 0.17)}
"""Periods, as shares of a garment's size (the root of its area)."""
MIN_PERIOD = 1 / 64
"""Of the photo's longer side; a finer pattern would vanish on the canvas."""
MIN_CONTRAST = 60
"""Between the two colours, of 255."""
GRAIN = 0.03
"""Of the cloth: how much the brightness of single pixels differs, as a share."""

Score = Callable[[Sample, Sequence[NDArray[np.uint8]]], Sequence[NDArray[np.float64]]]
"""A sample whose regions are all drawn, and photos (H, W, 3) that show the same garments in other cloths -> of each
photo, the probabilities (R, L) of the regions."""


class Fabric(NamedTuple):
    """What a garment is repainted with."""

    pattern: str
    """One of `PATTERNS`."""
    ground: RGB
    second: RGB
    """What the pattern is drawn in."""
    period: float
    """Pixels."""
    angle: float
    """Degrees by which the stripes run down to the right; 0 runs across the photo."""
    width: float
    """Share of the period that is `second`, 0..1."""
    seed: int
    """Of its phase and grain."""


@dataclass(frozen=True)
class PatternScore:
    """How the trials of one pattern ended."""

    pattern: str
    """One of `PATTERNS`, or `all`."""
    trials: int
    passed: Figure
    """Share of them; beside it, what a coin scores that moves no other garment."""
    rose: float
    """Share whose score rose on the repainted garment; 0..1."""
    beside: int
    """Trials on photos with another garment that could carry the pattern."""
    stayed: float
    """Share of these whose score stayed on all others, 0..1; NaN where there are none."""
    passed_beside: float
    """Share of these that passed, 0..1; NaN where there are none."""


@dataclass(frozen=True)
class TransplantReport:
    """How the transplant test went on one set."""

    photos: int
    """Photos with a garment that was repainted."""
    garments: int
    patterns: list[PatternScore]
    """Those that were tried, then all together; empty where the test could not be made."""
    missing: str = ""
    """Why it could not be made."""


# -- cloth ---------------------------------------------------------------------------------------------------


def random_fabric(rng: np.random.Generator, pattern: str, mask: NDArray[np.bool_]) -> Fabric:
    """A cloth of this pattern that suits the size of the garment under a mask (H, W)."""
    brightness = _luminance(np.array(PALETTE, np.float32))
    first = int(rng.integers(len(PALETTE)))
    second = int(rng.choice(np.flatnonzero(np.abs(brightness - brightness[first]) > MIN_CONTRAST)))
    size = float(np.sqrt(np.count_nonzero(mask)))
    period = size * rng.uniform(*PERIODS.get(pattern, (0.1, 0.1)))
    upright = 90.0 * (rng.random() < 0.35) if pattern == STRIPE else 45.0 * (rng.random() < 0.2)
    return Fabric(
        pattern, PALETTE[first], PALETTE[second],
        period=max(period, MIN_PERIOD * max(mask.shape)), angle=upright + rng.normal(0, 6),
        width=rng.uniform(0.35, 0.6), seed=int(rng.integers(2**31)),
    )  # fmt: skip


def repaint(photo: NDArray[np.uint8], mask: NDArray[np.bool_], fabric: Fabric) -> NDArray[np.uint8]:
    """The photo with the garment under a mask made of another cloth, in the light that fell on the old one.

    Its luminance, smoothed until an old pattern is gone, shades the new colours, and bends the pattern a little where
    it changes. Nothing changes beyond the pixels next to the mask, over which the edge is smoothed.

    Args:
        photo: (H, W, 3) RGB.
        mask: (H, W) True on the garment, somewhere at least.
        fabric: What it is made of now.
    """
    x, y, width, height = cv2.boundingRect(mask.view(np.uint8))
    box = slice(max(0, y - 2), y + height + 2), slice(max(0, x - 2), x + width + 2)
    old, inside = photo[box].astype(np.float32), mask[box].astype(np.float32)
    light = _light(_luminance(old), inside)
    rng = np.random.default_rng(fabric.seed)
    drawn = _pattern(fabric, light, rng.uniform(0, 1, 2))[:, :, None]                    # (h, w, 1)
    ground, second = np.array([fabric.ground, fabric.second], np.float32)
    colours = ground + (second - ground) * drawn
    grain = cv2.GaussianBlur(rng.normal(0, GRAIN, inside.shape).astype(np.float32), (3, 3), 0.7)
    new = colours * (light + grain)[:, :, None]
    alpha = cv2.blur(inside, (3, 3))[:, :, None]                                         # (h, w, 1)
    answer = photo.copy()
    answer[box] = np.clip(np.rint(old + (new - old) * alpha), 0, 255)
    return answer


def _luminance(colours: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of colours (..., 3), 0..255."""
    return np.asarray(colours @ np.array([0.299, 0.587, 0.114], np.float32), np.float32)


def _light(luminance: NDArray[np.float32], inside: NDArray[np.float32]) -> NDArray[np.float32]:
    """(h, w) how bright the cloth is lit, about 1, from the luminance of its own pixels alone.

    It is smoothed further where there is more contrast within a small distance than folds make: that is a pattern.
    """
    size = float(np.sqrt(inside.sum()))
    luminance = luminance + 16                           # black cloth shows noise, not light
    smooth = _smoothed(luminance, inside, 0.035 * size)
    contrast = np.abs(luminance / smooth - 1)[inside > 0].mean()
    bold = np.clip((contrast - 0.1) / 0.08, 0, 1)
    if bold:
        smooth += bold * (_smoothed(luminance, inside, 0.15 * size) - smooth)
    return np.asarray(np.clip(smooth / np.median(smooth[inside > 0]), 0.45, 1.45), np.float32)


def _smoothed(values: NDArray[np.float32], inside: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    """Averages over `sigma` pixels around, of those inside alone."""
    total, weights = (cv2.GaussianBlur(x, (0, 0), max(sigma, 0.5)) for x in (values * inside, inside))
    return np.divide(total, weights, out=np.ones_like(total), where=weights > 1e-3)


def _pattern(fabric: Fabric, light: NDArray[np.float32], phase: NDArray[np.float64]) -> NDArray[np.float32]:
    """(h, w) share of the second colour, 0..1, with edges a pixel wide."""
    height, width = light.shape
    cos, sin = np.cos(np.radians(fabric.angle)), np.sin(np.radians(fabric.angle))
    x, y = np.arange(width, dtype=np.float32)[None], np.arange(height, dtype=np.float32)[:, None]
    bend = 0.3 * np.log(light)                           # cloth that turns from the light is seen aslant
    along, across = ((cos * x + sin * y), (cos * y - sin * x))                           # (h, w) pixels
    u, v = (way / fabric.period + bend + start for way, start in zip((along, across), phase.tolist(), strict=True))
    drawn: NDArray[Any]
    if fabric.pattern == STRIPE:
        drawn = _bars(v, fabric)
    elif fabric.pattern == CHECK:
        drawn = (_bars(u, fabric) + _bars(v, fabric)) / 2
    elif fabric.pattern == DOT:
        near = np.minimum(*(np.hypot(_off(u + shift), _off(v + shift)) for shift in (0.0, 0.5)))
        drawn = 0.5 + (0.4 * fabric.width + 0.04 - near) * fabric.period
    else:
        drawn = np.zeros_like(light)
    return np.asarray(np.clip(drawn, 0, 1), np.float32)


def _bars(phase: NDArray[np.float32], fabric: Fabric) -> NDArray[np.float32]:
    return np.clip(0.5 + (fabric.width / 2 - np.abs(_off(phase))) * fabric.period, 0, 1)


def _off(phase: NDArray[np.float32]) -> NDArray[np.float32]:
    """Distance from the middle of the nearest period, -0.5..0.5."""
    return phase - np.rint(phase)


# -- trials --------------------------------------------------------------------------------------------------


class Trial(NamedTuple):
    """One garment repainted with one pattern."""

    photo: int
    pattern: str
    rose: bool
    others: int
    """Other garments of the photo that could carry the pattern."""
    stayed: bool
    """Whether the score stayed on all of them."""

    @property
    def passed(self) -> bool:
        """Whether it rose where it should, and stayed elsewhere."""
        return self.rose and self.stayed


@dataclass
class Transplant:
    """The trials of one set, photo by photo."""

    space: LabelSpace
    score: Score
    seed: int = 0
    trials: list[Trial] = field(default_factory=list)
    photos: int = 0
    garments: int = 0
    missing: str = ""

    def add(self, sample: Sample) -> None:
        """Repaint the garments of one photo, one at a time, and score all of them; nothing where none is drawn."""
        regions = [] if self.missing else garments(sample, self.space)
        if not regions:
            return
        photos, plan = [sample.photo], []
        for row, region in enumerate(regions):
            rng = np.random.default_rng((self.seed, zlib.crc32(sample.key.encode()), *region.segments))
            mask = np.isin(sample.segments, region.segments)
            pair = PAIRS[rng.integers(len(PAIRS))]
            plan.append((row, pair, len(photos)))
            photos += [repaint(sample.photo, mask, random_fabric(rng, pattern, mask)) for pattern in pair]
        try:
            scores = self.score(replace(sample, regions=regions), photos)
        except WeightsError as error:
            self.missing = str(error)
            return
        for row, pair, at in plan:
            for pattern, after in zip(pair, (at, at + 1), strict=True):
                before = at + 1 if pattern == PLAIN else 0
                label = _labels(self.space)[pattern].index
                if pattern == PLAIN or regions[row].labels[label] != 1:
                    self._judge(pattern, row, scores[before][:, label], scores[after][:, label])
        self.photos += 1
        self.garments += len(regions)

    def _judge(self, pattern: str, row: int, before: NDArray[np.float64], after: NDArray[np.float64]) -> None:
        moved = np.delete(np.abs(after - before), row)
        rose, stayed = bool(after[row] > before[row]), bool((moved <= MOST_CHANGE).all())
        self.trials.append(Trial(self.photos, pattern, rose, len(moved), stayed))

    def report(self) -> TransplantReport | None:
        """The shares that passed; None where the label space has no such patterns or no garment was drawn."""
        if self.missing:
            return TransplantReport(0, 0, [], self.missing)
        if not self.trials:
            return None
        drawn = resample(self.photos)
        rows = {name: [trial for trial in self.trials if trial.pattern == name] for name in PATTERNS}
        rows["all"] = self.trials
        scores = [_pattern_score(name, trials, drawn) for name, trials in rows.items() if trials]
        return TransplantReport(self.photos, self.garments, scores)


def garments(sample: Sample, space: LabelSpace) -> list[Region]:
    """The drawn regions of a photo that are surely one category that carries all `PATTERNS`, and large enough."""
    labels = _labels(space)
    areas = np.bincount(sample.segments.ravel(), minlength=len(sample.targets)) / sample.segments.size
    found = []
    for region in sample.regions:
        own = list(region.segments)
        if labels and region.drawn and own != [0] and areas[own].sum() >= MIN_SHARE:
            worn = (sample.targets[own] == 1).any(0)     # what lies on it would be repainted too; its parts may be
            names = {c.name for c in space.categories if worn[c.index] and c.outfit_part is not None}
            if len(names) == 1 and all(not x.carried_by or names <= x.carried_by for x in labels.values()):
                found.append(region)
    return found


def _labels(space: LabelSpace) -> dict[str, Label]:
    """The labels of `PATTERNS`; none where the space lacks one."""
    labels = {label.name: label for label in space.labels if label.name in PATTERNS}
    return labels if len(labels) == len(PATTERNS) else {}


def _pattern_score(pattern: str, trials: Sequence[Trial], drawn: NDArray[np.float64]) -> PatternScore:
    passed, photo = np.array([trial.passed for trial in trials]), [trial.photo for trial in trials]
    sums = [np.bincount(photo, weights, drawn.shape[1]) for weights in (passed, np.ones(len(passed)))]  # 2 of (P,)
    beside = [trial for trial in trials if trial.others]
    return PatternScore(
        pattern=pattern,
        trials=len(trials),
        passed=figure(passed.mean(), ratio(drawn @ sums[0], drawn @ sums[1]), 0.5),
        rose=float(np.mean([trial.rose for trial in trials])),
        beside=len(beside),
        stayed=float(np.mean([trial.stayed for trial in beside])) if beside else np.nan,
        passed_beside=float(np.mean([trial.passed for trial in beside])) if beside else np.nan,
    )


# -- the network ---------------------------------------------------------------------------------------------


class GarmentScorer:
    """A `Score` by the network in a weights file, run by torch: graphs pool labels under the masks they predict.

    The weights are read when the first photo is scored.

    Args:
        weights: A `.safetensors` file, or one of another form beside one that holds the same weights.
        metadata: What the file says of itself.
        device: `cpu` or `cuda`.
    """

    def __init__(self, weights: Path, metadata: Metadata, device: str) -> None:
        self.weights = weights
        self.metadata = metadata
        self.device = device

    @cached_property
    def network(self) -> Network:
        """The network, in evaluation mode.

        Raises:
            WeightsError: the `.safetensors` file is missing or damaged.
        """
        network, _ = load_network(form_beside(self.weights, self.metadata, ".safetensors"))
        return network.to(torch.device(self.device)).to(memory_format=torch.channels_last)

    def __call__(self, sample: Sample, photos: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float64]]:
        """See `Score`."""
        batch = collate([place_sample(sample, self.metadata.canvas)]).to(torch.device(self.device))
        scores: list[NDArray[np.float64]] = []
        masks: Tensor | None = None                                                      # (1, R, h, w)
        for photo in photos:                             # one at a time: the quickest on a CPU
            pixels = torch.from_numpy(place(photo, self.metadata.canvas).pixels[None]).to(self.device)
            with torch.inference_mode():
                dense = self.network.dense(pixels)
                if masks is None:
                    masks = region_masks(dense.logits, batch, mask_targets(batch, dense.logits.shape[-2:]))
                logits = self.network.label_head(dense.maps, masks)                      # (1, R, L)
            scores.append(torch.sigmoid(logits[0].double()).cpu().numpy())
        return scores
