"""Dilated trunks: stages that widen their kernels' reach instead of halving the map.

A stage of stride 2 becomes one of stride 1 whose kernels step over every other cell, so that each cell of the old map
is a cell of the new one with the same value (Yu & Koltun, 2016, https://arxiv.org/abs/1511.07122; Chen et al., 2017,
https://arxiv.org/abs/1706.05587). timm does so for many trunks (`output_stride`).
"""

from __future__ import annotations

from timm.models.densenet import DenseBlock, DenseTransition
from timm.models.resnet import BasicBlock, Bottleneck
from torch import nn

from hemline.errors import ConfigError


def can_dilate(name: str) -> bool:
    """Whether a trunk that timm cannot dilate is dilated here."""
    return name.startswith("densenet") or name.partition(".")[0] == "inception_resnet_v2"


def dilate(trunk: nn.Module, name: str, output_stride: int) -> None:
    """Dilate the stages of a trunk beyond `output_stride`, in place; at 32 there are none."""
    (_dilate_densenet if name.startswith("densenet") else _dilate_inception_resnet_v2)(trunk, output_stride)


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


def _dilate_densenet(trunk: nn.Module, output_stride: int) -> None:
    """Leave out the poolings beyond `output_stride` and dilate the 3x3 convolutions of the blocks that follow, 2 and 4.

    So does DenseASPP's code (github.com/DeepMotionAIResearch/DenseASPP). The dilation is that of an equal trunk, the
    pooling is not: a transition of a DenseNet averages 2 x 2 cells, where here it keeps each, so that the maps beyond
    it are not those of the strided trunk. They would be with a mean over the same cells in place of each pooling.
    """
    stride, dilation = 4, 1
    for part in trunk.children():
        if isinstance(part, DenseTransition) and stride < output_stride:
            stride *= 2
        elif isinstance(part, DenseTransition):
            part.pool = nn.Identity()
            dilation *= 2
        elif isinstance(part, DenseBlock):
            for conv in part.modules():
                if isinstance(conv, nn.Conv2d) and conv.kernel_size == (3, 3):
                    conv.dilation = conv.padding = (dilation, dilation)


def _dilate_inception_resnet_v2(trunk: nn.Module, output_stride: int) -> None:
    """Pad every kernel of Inception-ResNet-v2 to keep the size, whatever the output stride, and dilate beyond it.

    The classifier (Szegedy et al., 2016, https://arxiv.org/abs/1602.07261) leaves out the padding of its stem and of
    the kernels that halve the map, so that its maps shrink at the borders: 125, 60, 29, 14 and 6 cells for a photo of
    256, which padded are 128, 64, 32, 16 and 8. The weights are the same. Pools read what a ReLU gave, so that zeros
    around it never win.
    """
    stride = dilation = 1
    for name, part in list(trunk.named_children()):                    # in the order in which they are run
        convs = [module for module in part.modules() if isinstance(module, nn.Conv2d)]
        pools = [f"{name}.{at}".rstrip(".") for at, module in part.named_modules() if isinstance(module, nn.MaxPool2d)]
        halves = bool(pools) or any(conv.stride == (2, 2) for conv in convs)
        stride *= 2 if halves else 1
        stays = halves and stride > output_stride
        for conv in convs:
            conv.stride = (1, 1) if stays else conv.stride
            conv.dilation = (dilation, dilation)
            conv.padding = tuple(dilation * (side // 2) for side in conv.kernel_size)
        for at in pools:
            pool = nn.MaxPool2d(3, 1 if stays else 2, dilation=dilation)   # pads itself by 1 at most
            trunk.set_submodule(at, nn.Sequential(nn.ZeroPad2d(dilation), pool))
        dilation *= 2 if stays else 1
