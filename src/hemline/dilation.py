"""Dilated trunks: stages that widen their kernels' reach instead of halving the map.

A stage of stride 2 becomes one of stride 1 whose kernels step over every other cell, so that each cell of the old map
is a cell of the new one with the same value (Yu & Koltun, 2016, https://arxiv.org/abs/1511.07122; Chen et al., 2017,
https://arxiv.org/abs/1706.05587). timm does so for many trunks (`output_stride`).
"""

from __future__ import annotations

from timm.models.resnet import BasicBlock, Bottleneck
from torch import nn

from hemline.errors import ConfigError


def can_dilate(name: str) -> bool:
    """Whether a trunk that timm cannot dilate is dilated here."""
    return False


def dilate(trunk: nn.Module, name: str, output_stride: int) -> None:
    """Dilate the stages of a trunk beyond `output_stride`, in place."""
    raise NotImplementedError(name)


def dilate_first_blocks(trunk: nn.Module, name: str) -> None:
    """Give the first block of each dilated stage of a ResNet the dilation of the stage's other blocks, in place.

    So do PSPNet's code and the Keras networks that this field began with. The maps are then no longer those of the
    strided trunk.

    Args:
        trunk: A trunk of timm's, dilated already.
        name: What it is called, for the error.

    Raises:
        ConfigError: the trunk has no dilated blocks of a ResNet.
    """
    blocks = [m for m in trunk.modules() if isinstance(m, BasicBlock | Bottleneck) and m.dilation > 1]
    if not blocks:
        raise ConfigError(f"backbone.dilation: {name} has no dilated ResNet blocks; take resnet50 or dilation=library")
    for block in blocks:
        for conv in (block.conv1, block.conv2):
            if conv.kernel_size == (3, 3):
                conv.dilation = conv.padding = (block.dilation, block.dilation)
