"""What several heads share.

Shapes: B batch, C channels, H W a map's size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Dense(NamedTuple):
    """A mask head's answer."""

    logits: Tensor
    """(B, K, h, w): one map a class at the head's own stride."""
    maps: list[Tensor]
    """[(B, Ci, hi, wi), ...]: what label heads pool, shallow to deep."""


class Auxiliary(NamedTuple):
    """What a head answers in training alone, beside its `Dense`."""

    masks: list[Tensor]
    """[(B, K, hi, wi), ...]: logits that are taught the same masks; `loss.auxiliary` weighs them."""
    presence: Sequence[Tensor] = ()
    """[(B, K), ...]: logits of whether each class is anywhere on the photo; `loss.presence` weighs their sum."""


class Paper(NamedTuple):
    """Where a network comes from."""

    title: str
    year: int
    url: str


class MaskHead(nn.Module):
    """What every mask head of `HEADS` declares; see there for the contract."""

    paper: ClassVar[Paper]
    variants: ClassVar[tuple[tuple[str, ...], ...]] = ()
    """Other forms that the paper publishes, each as the overrides of the recipe that make it."""
    map_channels: list[int]
    """Channels of `Dense.maps`."""


class ConvNormAct(nn.Sequential):
    """Convolution without bias, batch norm, ReLU; the size is kept where `stride` is 1."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 1,
        *,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
    ) -> None:
        padding = dilation * (kernel_size // 2)
        super().__init__(
            nn.Conv2d(
                in_channels, out_channels, kernel_size, stride, padding, dilation=dilation, groups=groups, bias=False
            ),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        )


PRIOR_LOGIT = -3.0
"""Where classifiers of pixels begin: most pixels are not any given garment."""


def conv_with_prior(in_channels: int, num_classes: int, kernel_size: int = 1) -> nn.Conv2d:
    """A classifier of pixels whose scores begin near 0."""
    classifier = nn.Conv2d(in_channels, num_classes, kernel_size, padding=kernel_size // 2)
    assert classifier.bias is not None
    nn.init.constant_(classifier.bias, PRIOR_LOGIT)
    return classifier


def fcn_head(channels: int, width: int, num_classes: int, dropout: nn.Module) -> nn.Sequential:
    """What dilated ResNets score the stage before the deepest with, in training: a 3x3 convolution and a classifier."""
    return nn.Sequential(ConvNormAct(channels, width, 3), dropout, conv_with_prior(width, num_classes))


def refuse_trunk(name: str, channels: Sequence[int]) -> None:
    """For a network that brings its encoder.

    Raises:
        ValueError: there are features beside the photo.
    """
    if len(channels) != 1:
        raise ValueError(f"{name}: it brings its own encoder: take backbone.name=none")


def upsample_to(x: Tensor, reference: Tensor) -> Tensor:
    """Nearest-neighbour upsampling of (B, C, H, W) to the size of `reference`."""
    return F.interpolate(x, size=reference.shape[-2:], mode="nearest")


def bilinear_to(x: Tensor, reference: Tensor, *, align_corners: bool = False) -> Tensor:
    """Bilinear resizing of (B, C, H, W) to the size of `reference`."""
    return F.interpolate(x, size=reference.shape[-2:], mode="bilinear", align_corners=align_corners)


def area_resize(masks: Tensor, size: torch.Size | tuple[int, int]) -> Tensor:
    """Soft masks (B, N, H, W) averaged over the cells of a map of `size`; values stay in 0..1."""
    return masks if masks.shape[-2:] == tuple(size) else F.adaptive_avg_pool2d(masks, (size[0], size[1]))
