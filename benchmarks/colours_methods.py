"""The ways to measure a garment's colours that `benchmarks/colours.py` compares.

Shapes: N pixels of a garment, P photos, C colours that people were asked for, V cells of Lab.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, maximum_filter

from hemline import colour
from hemline.colour import PROTOTYPES

Shares = Mapping[str, float]
Floats = NDArray[np.float32]
Namer = Callable[[Floats], list[str]]
CELLS = (10, 24, 24)
"""Of the fitted table: lightness by 10, a and b by 6."""


@dataclass
class Garment:
    """What is kept of a garment."""

    area: float
    pixels: dict[str, NDArray[np.uint8]]
    """(N, 3) by how far the mask was eroded."""


@dataclass
class Photo:
    """What is kept of a photo."""

    number: int
    group: str
    """The first photo that is the same byte for byte."""
    trains: bool
    pixels: NDArray[np.uint8]
    """(N, 3) from everywhere."""
    garments: list[Garment]
    """Those of the upper or whole body; all, where none is."""


def methods(fitted: Fitted) -> Iterator[tuple[str, Callable[..., Shares], str]]:
    """Name, method and which pixels; ours first."""
    yield "**Hemline**", grouped, "eroded"
    yield "the mean of all pixels", partial(single, middle=lambda lab: lab.mean(0)), "eroded"
    yield "their median", partial(single, middle=lambda lab: np.median(lab, 0)), "eroded"
    yield "the median of the lighter half", partial(single, middle=colour._typical), "eroded"
    yield "every pixel named by itself", each_pixel, "eroded"
    yield "k-means in Lab, k = 4", partial(k_means, k=4), "eroded"
    yield "k-means in Lab, k = 6", partial(k_means, k=6), "eroded"
    yield "peaks of a smoothed histogram in Lab", peaks, "eroded"
    yield "a table of names fitted to the training photos", fitted.shares, "eroded"
    yield "ours, a group's colour is its median", partial(grouped, typical=_median), "eroded"
    yield "ours, named by distance in Lab (CIE 1976)", partial(grouped, name=_names_1976), "eroded"
    yield "ours, named by distance in OKLab", partial(grouped, name=_names_oklab), "eroded"
    yield "ours, after gray-world balance", partial(grouped, before=partial(balanced, power=1)), "eroded"
    for name, power in (("gray-world", 1), ("shades-of-gray", 6)):
        half = partial(balanced, power=power, by=0.5)
        yield f"ours, after half of {name} balance", partial(grouped, before=half), "eroded"
    yield "ours, without the lightest 5 %", partial(grouped, before=partial(between, low=0, high=0.95)), "eroded"
    yield "ours, without the darkest 10 %", partial(grouped, before=partial(between, low=0.1, high=1)), "eroded"
    yield "ours, mask not eroded", grouped, "not eroded"
    yield "ours, mask eroded by four pixels", grouped, "eroded more"


def lab_of(pixels: NDArray[np.uint8]) -> Floats:
    """(N, 3)."""
    return np.asarray(cv2.cvtColor(pixels[None].astype(np.float32) / 255, cv2.COLOR_RGB2Lab)[0], np.float32)


def _names(lab: Floats) -> list[str]:
    return colour._names(lab)[0]


def _median(lab: Floats) -> Floats:
    return np.asarray(np.median(lab, 0), np.float32)


def summed(pairs: Iterable[tuple[str, float]]) -> Shares:
    """Shares of one name added up."""
    total: dict[str, float] = {}
    for name, share in pairs:
        total[name] = total.get(name, 0.0) + share
    return total


def grouped(
    pixels: NDArray[np.uint8],
    photo: Photo,
    *,
    name: Namer = _names,
    typical: Callable[[Floats], Floats] = colour._typical,
    before: Callable[[NDArray[np.uint8], Photo], NDArray[np.uint8]] | None = None,
) -> Shares:
    """As Hemline does, or with one part of it changed."""
    lab = lab_of(pixels if before is None else before(pixels, photo))
    groups = colour._group(colour._features(lab[None]))[0]
    members = [lab[groups == i] for i in range(groups.max() + 1)]
    names = name(np.stack([typical(some) for some in members]))
    return summed((word, len(some) / len(lab)) for word, some in zip(names, members, strict=True))


def single(pixels: NDArray[np.uint8], _photo: Photo, *, middle: Callable[[Floats], Any]) -> Shares:
    """One colour."""
    return {_names(np.asarray(middle(lab_of(pixels)), np.float32)[None])[0]: 1.0}


def each_pixel(pixels: NDArray[np.uint8], _photo: Photo) -> Shares:
    """No groups: as many names as pixels."""
    names, counts = np.unique(_names(lab_of(pixels)), return_counts=True)
    return {str(name): count / len(pixels) for name, count in zip(names, counts, strict=True)}


def k_means(pixels: NDArray[np.uint8], _photo: Photo, *, k: int) -> Shares:
    """OpenCV's, from k-means++ starts."""
    lab = lab_of(pixels)
    cv2.setRNGSeed(1)
    stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_MAX_ITER, 10, 1.0)
    _, labels, centres = cv2.kmeans(lab, k, np.empty(0, np.int32), stop, 1, cv2.KMEANS_PP_CENTERS)
    sizes = np.bincount(labels.ravel(), minlength=k) / len(lab)
    return summed(zip(_names(centres), sizes.tolist(), strict=True))


def peaks(pixels: NDArray[np.uint8], _photo: Photo, *, step: float = 8.0) -> Shares:
    """Each pixel belongs to the peak that it climbs to in a histogram of cells of 8 units: mean shift on a grid."""
    lab = lab_of(pixels)
    at = np.floor((lab - lab.min(0)) / step).astype(int) + 2
    grid = np.zeros(at.max(0) + 3)
    np.add.at(grid, tuple(at.T), 1)
    grid = gaussian_filter(grid, 1.0, mode="constant") + 1e-9 * np.arange(grid.size).reshape(grid.shape)
    higher = maximum_filter(grid, 3)
    order = np.argsort(grid, axis=None)
    ranked = grid.ravel()[order]
    upward = order[np.searchsorted(ranked, higher.ravel())]     # where the highest neighbour of each cell is
    for _ in range(6):                                          # 2 ** 6 steps
        upward = upward[upward]
    ends = upward[np.ravel_multi_index(tuple(at.T), grid.shape)]
    members = [lab[ends == end] for end in np.unique(ends)]
    names = _names(np.stack([_median(some) for some in members]))
    return summed((word, len(some) / len(lab)) for word, some in zip(names, members, strict=True))


def balanced(pixels: NDArray[np.uint8], photo: Photo, *, power: float, by: float = 1.0) -> NDArray[np.uint8]:
    """The photo's light made gray: by the mean of all pixels to a power (gray-world is 1), wholly or in part."""
    linear = (photo.pixels / 255) ** 2.2
    light = (linear**power).mean(0) ** (1 / power) + 1e-6
    gain = (light.mean() / light) ** by
    return np.asarray(np.clip((((pixels / 255) ** 2.2) * gain) ** (1 / 2.2), 0, 1) * 255, np.uint8)


def between(pixels: NDArray[np.uint8], _photo: Photo, *, low: float, high: float) -> NDArray[np.uint8]:
    """Without the darkest and the lightest."""
    lightness = lab_of(pixels)[:, 0]
    bottom, top = np.quantile(lightness, (low, high))
    return pixels[(lightness >= bottom) & (lightness <= top)]


# -- other distances -----------------------------------------------------------------------------------------


def _names_1976(lab: Floats) -> list[str]:
    return _nearest(lab * _SCALE, _LAB * _SCALE)


def _names_oklab(lab: Floats) -> list[str]:
    return _nearest(_oklab(lab) * _SCALE, _oklab(_LAB) * _SCALE)


def _nearest(points: NDArray[Any], table: NDArray[Any]) -> list[str]:
    return [_WORDS[i] for i in ((points[:, None] - table) ** 2).sum(2).argmin(1)]


def _oklab(lab: Floats) -> NDArray[np.float64]:
    """By the matrices of its author, Björn Ottosson (https://bottosson.github.io/posts/oklab/)."""
    rgb = np.clip(cv2.cvtColor(lab[None], cv2.COLOR_Lab2RGB)[0].astype(np.float64), 0, 1)
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    found: NDArray[np.float64] = np.cbrt(linear @ _TO_CONES.T) @ _TO_OKLAB.T
    return found


_TO_CONES = np.array([
    [0.4122214708, 0.5363325363, 0.0514459929],
    [0.2119034982, 0.6806995451, 0.1073969566],
    [0.0883024619, 0.2817188376, 0.6299787005],
])  # fmt: skip
_TO_OKLAB = np.array([
    [0.2104542553, 0.7936177850, -0.0040720468],
    [1.9779984951, -2.4285922050, 0.4505937099],
    [0.0259040371, 0.7827717662, -0.8086757660],
])  # fmt: skip
_SCALE = np.array([1 / 1.5, 1, 1])                              # lightness counts for two thirds, as in ours
_WORDS, _LAB = colour._points(PROTOTYPES)


# -- a table fitted to photos --------------------------------------------------------------------------------


class Fitted:
    """Probabilities of the colours that people were asked for over cells of Lab, by expectation maximisation.

    After J. van de Weijer et al., "Learning Color Names for Real-World Applications" (2009): a photo's pixels come from
    the colours it is labelled with, and a little from anything; the table begins with the names of our prototypes.

    Args:
        photos: (P) to fit to.
        truth: (P, C).
        asked: The C names.
        means: Our names that go by another there.
        rounds: Of expectation and maximisation.
    """

    def __init__(
        self, photos: Sequence[Photo], truth: NDArray[np.bool_], asked: Sequence[str], means: Mapping[str, str],
        rounds: int = 15,
    ) -> None:  # fmt: skip
        self._asked = asked
        axes = [(np.arange(n) + 0.5) * size - low for n, size, low in zip(CELLS, (10, 6, 6), (0, 72, 72), strict=True)]
        centres = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3).astype(np.float32)
        start = np.full((len(centres), len(asked)), 0.02)
        for row, ours in zip(start, _names(centres), strict=True):
            theirs = means.get(ours, ours)
            if theirs in asked:
                row[asked.index(theirs)] += 1
        start /= start.sum(1, keepdims=True)
        seen = [_pooled(photo) for photo in photos]
        self._table = start
        for _ in range(rounds):
            total = np.zeros_like(start)
            for cells, labels in zip(seen, truth, strict=True):
                there, counts = np.unique(cells, return_counts=True)
                counts = counts / max(len(cells), 1)
                likely = self._table[there] * (labels + 0.02)
                likely /= likely.sum(1, keepdims=True)
                topics = (likely * counts[:, None]).sum(0) + 0.05
                likely = likely * topics
                total[there] += counts[:, None] * likely / likely.sum(1, keepdims=True)
            smooth = gaussian_filter(total.reshape(*CELLS, -1), (0.7, 0.8, 0.8, 0)).reshape(start.shape)
            self._table = smooth + 0.05 * start
            self._table /= self._table.sum(1, keepdims=True)

    def shares(self, pixels: NDArray[np.uint8], _photo: Photo) -> Shares:
        """Each pixel has the likeliest name of its cell."""
        names = self._table[_cells(pixels)].argmax(1)
        sizes = np.bincount(names, minlength=len(self._asked)) / len(pixels)
        return dict(zip(self._asked, sizes.tolist(), strict=True))


def _cells(pixels: NDArray[np.uint8]) -> NDArray[np.intp]:
    """(N,) which cell each lies in."""
    at = ((lab_of(pixels) + np.array([0, 72, 72])) / np.array([10, 6, 6])).astype(int)
    return np.ravel_multi_index(tuple(np.clip(at, 0, np.array(CELLS) - 1).T), CELLS)


def _pooled(photo: Photo) -> NDArray[np.intp]:
    """Cells of pixels of all garments, of each as many as its area asks for."""
    worn = [garment for garment in photo.garments if len(garment.pixels["eroded"])]
    whole = sum(garment.area for garment in worn)
    chosen = [g.pixels["eroded"][:: max(1, round(whole / g.area))] for g in worn if g.area > 0.01 * whole]
    return _cells(np.concatenate(chosen)) if chosen else np.empty(0, np.intp)
