"""Weights of classes in the mask losses: rare ones count more, by the rules that a recipe names.

`loss.class_weights` weighs all that a class is asked, and has mean 1 over the classes:

    median_frequency   median(frequency) / frequency, of the pixels of photos that show the class
                       (Eigen, Fergus, 2015, https://arxiv.org/abs/1411.4734)
    inverse            1 / frequency, of all pixels
    effective_number   (1 - BETA) / (1 - BETA ^ photos), of the photos an epoch that show the class
                       (Cui et al., 2019, https://arxiv.org/abs/1901.05555)

`loss.positive_weights` weighs the pixels that are a class, beside 1 for those that are not:

    balanced           those that are not / those that are, so that both weigh alike in sum
    root               the square root of that

Frequencies are shares of the pixels of which it is known whether they are the class. They are counted over the first
`PHOTOS` draws of the run's first epoch, photos as they are, so that datasets count as their weights say, and one recipe
and its data give one set of weights. `nobody`, a pixel that no class answers, has a weight of its own.

Shapes: N classes and nobody, K mask classes, S segments.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hemline.config import Config
from hemline.data.loading import EpochSampler, Source
from hemline.data.sample import EITHER, Sample
from hemline.errors import ConfigError
from hemline.labels import LabelSpace

Scheme = Literal["median_frequency", "inverse", "effective_number"]
PositiveScheme = Literal["balanced", "root"]
PHOTOS = 1000
"""Draws that are counted."""
MOST_POSITIVE = 100.0
"""The largest balanced weight, so that a class of a few pixels does not drown the others, and 1 / the smallest."""
BETA = 0.999
"""Of `effective_number`: from about 1 / (1 - BETA) photos of a class on, one more tells nothing new."""


class Counts(NamedTuple):
    """How much there is of each class."""

    pixels: NDArray[np.float64]
    """(N,) pixels of the class."""
    known: NDArray[np.float64]
    """(N,) pixels of which it is known whether they are the class."""
    within: NDArray[np.float64]
    """(N,) those of them that lie in photos which show the class."""
    photos: NDArray[np.float64]
    """(N,) photos that show it."""


class Weights(NamedTuple):
    """What a recipe asks for; None where it asks for none."""

    classes: NDArray[np.float64] | None = None
    """(K + 1,) of the mask classes and, last, nobody."""
    positives: NDArray[np.float64] | None = None
    """(K,) of the mask classes."""

    def named(self, space: LabelSpace) -> dict[str, dict[str, float]]:
        """What there is of them in words: the kind, then the class."""
        kinds = {"class weights": self.classes, "positive weights": self.positives}
        names = [*space.mask_names, "nobody"]
        return {
            kind: dict(zip(names, weights.tolist(), strict=False))
            for kind, weights in kinds.items()
            if weights is not None
        }


def class_weights(counts: Counts, scheme: Scheme) -> NDArray[np.float64]:
    """(N,) the weight of each class, of mean 1 over the classes that were seen; 1 for the others.

    Args:
        counts: How much there is of each.
        scheme: The rule.
    """
    seen = counts.pixels > 0
    pixels, known, within, photos = (array[seen] for array in counts)
    if scheme == "effective_number":
        raw = (1 - BETA) / (1 - BETA**photos)
    elif scheme == "inverse":
        raw = known / pixels
    else:
        raw = np.median(pixels / within) * within / pixels
    weights = np.ones(len(seen))
    weights[seen] = raw / raw.mean()
    return weights


def positive_weights(counts: Counts, scheme: PositiveScheme) -> NDArray[np.float64]:
    """(N,) the weight of what is each class beside what is not; 1 for classes that were not seen.

    Args:
        counts: How much there is of each.
        scheme: The rule.
    """
    seen = counts.pixels > 0
    weights = np.ones(len(seen))
    rest = (counts.known - counts.pixels)[seen] / counts.pixels[seen]
    weights[seen] = np.clip(rest, 1 / MOST_POSITIVE, MOST_POSITIVE)
    return np.sqrt(weights) if scheme == "root" else weights


def count_pixels(samples: Iterable[tuple[Sample, int]], space: LabelSpace) -> Counts:
    """Count the K classes and, last, nobody.

    Args:
        samples: Photos, and how often each is counted.
        space: Their label space.
    """
    totals = np.zeros((4, space.num_masks + 1))
    for sample, times in samples:
        areas = np.bincount(sample.segments.ravel(), minlength=len(sample.targets)).astype(np.float64)      # (S,)
        told = _with_nobody(sample.targets, space.competing)                                                # (S, K + 1)
        pixels, known = areas @ (told == 1), areas @ (told >= 0)
        shown = pixels > 0
        totals += times * np.stack([pixels, known, known * shown, shown])
    return Counts(*totals)


def weights_of(sources: Sequence[Source], config: Config, space: LabelSpace) -> Weights:
    """The weights of a run.

    Args:
        sources: Its datasets.
        config: The recipe.
        space: Its label space.

    Raises:
        ConfigError: nothing is drawn in the photos, so that no class can be counted.
        DataError, PhotoError: a photo or its annotation cannot be read.
    """
    scheme, positive = config.loss.class_weights, config.loss.positive_weights
    if scheme == positive == "none":
        return Weights()
    sampler = EpochSampler(sources, batch_size=1, seed=config.seed)
    drawn = Counter((items[0].source, items[0].photo) for _, items in zip(range(PHOTOS), sampler, strict=False))
    counts = count_pixels(((sources[s].dataset[i], times) for (s, i), times in drawn.items()), space)
    if not counts.pixels[:-1].any():
        photos = drawn.total()
        key = "class_weights" if scheme != "none" else "positive_weights"
        raise ConfigError(f"loss.{key}: no class is drawn in {photos} photos, so none can be weighed; set none")
    counts = counts._replace(photos=counts.photos * (sampler.num_photos / drawn.total()))
    return Weights(
        None if scheme == "none" else class_weights(counts, scheme),
        None if positive == "none" else positive_weights(counts, positive)[:-1],
    )


def _with_nobody(targets: NDArray[np.int8], competing: Sequence[int]) -> NDArray[np.int8]:
    """(S, K + 1) what each segment says of each class, and whether nobody answers it."""
    asked = targets[:, list(competing)]
    answered = ((asked == 1) | (asked == EITHER)).any(1)
    hidden = (targets == 1).any(1) & ~answered              # is something that no answer says
    nobody = np.where(answered, 0, np.where((asked == 0).all(1) & ~hidden, 1, -1))
    return np.concatenate([targets, nobody[:, None]], axis=1).astype(np.int8)
