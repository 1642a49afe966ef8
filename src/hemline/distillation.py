"""Distillation: weights that are trained already teach a network what they answer, beside what the data know.

Teachers see the very pixels that the network sees (Beyer et al., 2022, https://arxiv.org/abs/2106.05237), so that over
a training their answers are averaged over flips, zooms and crops, and photos of which the data say little teach as much
as others. Several teachers teach the mean of their probabilities (Hinton et al., 2015,
https://arxiv.org/abs/1503.02531).

Shapes: B batch, h w the mask head's map, K mask classes, N masks, L labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from hemline._reading import path_of
from hemline.checkpoint import load_network
from hemline.config import Config
from hemline.errors import ConfigError, WeightsError
from hemline.labels import LabelSpace
from hemline.mask_losses import Term, rival_logits, rival_scores
from hemline.model import Network, compile_parts
from hemline.runtime import weights_file


class Lesson(NamedTuple):
    """What the teachers answer for a batch."""

    answers: list[Tensor]
    """Of each layer (B, 1 + C, h, w): how likely nobody is at each cell, and each class that competes; the sum is 1."""
    scores: Tensor | None
    """(B, K, h, w) how likely each class is at each cell for itself; None of exclusive masks."""
    maps: list[Sequence[Tensor]]
    """Of each teacher: what its label head pools."""


class Teachers:
    """Networks that teach; they learn nothing themselves, and are no part of what is trained or saved.

    Args:
        networks: At least one, all of the same label space, on one device.
    """

    def __init__(self, networks: Sequence[Network]) -> None:
        self.networks = [network.eval().requires_grad_(requires_grad=False) for network in networks]

    @torch.no_grad()
    def look(self, pixels: Tensor, size: torch.Size) -> Lesson:
        """What they answer for photos (B, H, W, 3) uint8, on maps of `size`."""
        seen = [network.dense(pixels) for network in self.networks]
        logits = [_resized(dense.logits.float(), size) for dense in seen]
        layers, exclusive = self.networks[0].layers, self.networks[0].exclusive
        return Lesson(
            [_mean([rival_scores(each, layer) for each in logits]) for layer in layers],
            None if exclusive else _mean([torch.sigmoid(each) for each in logits]),
            [dense.maps for dense in seen],
        )

    @torch.no_grad()
    def labels(self, lesson: Lesson, masks: Tensor) -> Tensor:
        """(B, N, L) how likely each label is under each of the masks (B, N, h, w)."""
        pairs = zip(self.networks, lesson.maps, strict=True)
        return _mean([torch.sigmoid(network.label_head(maps, masks).float()) for network, maps in pairs])


def open_teachers(config: Config, space: LabelSpace, device: torch.device) -> Teachers | None:
    """The teachers that a recipe names; None where it names none.

    Raises:
        ConfigError: one cannot be read, or answers in other words or another form than the recipe's network.
    """
    if not config.teachers:
        return None
    networks = []
    for name in config.teachers:
        try:
            network, metadata = load_network(path_of(weights_file(name, ".safetensors")))
        except WeightsError as error:
            raise ConfigError(f"teachers: {error}") from error
        theirs, ours = metadata.labels, space
        if (theirs.mask_names, _names(theirs)) != (ours.mask_names, _names(ours)):
            raise ConfigError(f"teachers: {name} answers in words of {theirs.name}, with others than {ours.name}")
        if network.exclusive != (config.masks == "exclusive"):
            raise ConfigError(f"teachers: the masks of {name} are not {config.masks}, as the recipe's are")
        network.to(device).to(memory_format=torch.channels_last)
        if config.torchcompile:
            compile_parts(network, device)
        networks.append(network)
    return Teachers(networks)


def taught_masks(logits: Tensor, lesson: Lesson, area: Tensor, layers: Sequence[Sequence[int]]) -> Term:
    """How far the network's answers are from the teachers', a mean over cells: Kullback-Leibler divergences.

    They are that of the one answer in each layer, and those of each class for itself, summed over classes.

    Args:
        logits: (B, K, h, w) the network's.
        lesson: The teachers'.
        area: (B, 1, h, w) share of each cell that lies on the photo.
        layers: The classes that compete in each layer.
    """
    logits = logits.float()
    apart = logits.new_zeros(())
    for layer, truth in zip(layers, lesson.answers, strict=True):
        said = rival_logits(logits, layer).log_softmax(1)
        apart = apart + (area * F.kl_div(said, truth, reduction="none")).sum()
    if lesson.scores is not None:
        apart = apart + (area * _divergence(logits, lesson.scores)).sum()
    return Term(apart, area.sum())


def taught_labels(logits: Tensor, truth: Tensor) -> Term:
    """The same of labels, each for itself, summed over labels, a mean over masks.

    Args:
        logits: (M, L) the network's, under masks that show something.
        truth: (M, L) the teachers' probabilities.
    """
    return Term(_divergence(logits.float(), truth).sum(), logits.new_tensor(float(len(logits)), dtype=torch.float32))


def _divergence(logits: Tensor, truth: Tensor) -> Tensor:
    """Of yes and no: 0 where the network is as sure as the truth."""
    bce = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    return bce - F.binary_cross_entropy(truth, truth, reduction="none")


def _resized(maps: Tensor, size: torch.Size) -> Tensor:
    return maps if maps.shape[-2:] == size else F.interpolate(maps, size, mode="bilinear", align_corners=False)


def _mean(each: Sequence[Tensor]) -> Tensor:
    return each[0] if len(each) == 1 else torch.stack(list(each)).mean(0)


def _names(space: LabelSpace) -> list[str]:
    return [label.name for label in space.labels]
