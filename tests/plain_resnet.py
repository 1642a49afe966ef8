"""A ResNet of bottleneck blocks (He et al., 2016) from plain operations, its dilations spelled out."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

State = dict[str, Tensor]


class Stages(NamedTuple):
    """Strides and dilations of the four stages."""

    strides: tuple[int, int, int, int]
    first: tuple[int, int, int, int]
    """Dilation of the 3x3 convolution of the first block of each stage."""
    others: tuple[int, int, int, int]
    """The same, of the blocks that follow."""


def norm(x: Tensor, state: State, name: str) -> Tensor:
    """Batch norm by running statistics."""
    mean, variance, weight, bias = (state[f"{name}.{n}"] for n in ("running_mean", "running_var", "weight", "bias"))
    return F.batch_norm(x, mean, variance, weight, bias)


def conv_norm_relu(x: Tensor, state: State, name: str) -> Tensor:
    """A convolution `name.0` that keeps the size, batch norm `name.1`, ReLU."""
    weight = state[f"{name}.0.weight"]
    return F.relu(norm(F.conv2d(x, weight, padding=weight.shape[-1] // 2), state, f"{name}.1"))


def classify(x: Tensor, state: State, name: str) -> Tensor:
    """A 1x1 convolution with bias."""
    return F.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"])


def resnet(pixels: Tensor, state: State, stages: Stages) -> list[Tensor]:
    """Photos (B, H, W, 3) uint8 -> the maps of the four stages, shallow to deep."""
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])      # ImageNet's
    x = ((pixels / 255 - mean) / std).permute(0, 3, 1, 2).to(next(iter(state.values())).dtype)
    if "conv1.weight" in state:
        x = F.conv2d(x, state["conv1.weight"], stride=2, padding=3)
    else:                                                                                     # the deep stem
        x = F.relu(norm(F.conv2d(x, state["conv1.0.weight"], stride=2, padding=1), state, "conv1.1"))
        x = F.relu(norm(F.conv2d(x, state["conv1.3.weight"], padding=1), state, "conv1.4"))
        x = F.conv2d(x, state["conv1.6.weight"], padding=1)
    x = F.max_pool2d(F.relu(norm(x, state, "bn1")), 3, 2, 1)
    maps = []
    for number, (stride, first, others) in enumerate(zip(*stages, strict=True), start=1):
        block = 0
        while f"layer{number}.{block}.conv1.weight" in state:
            name = f"layer{number}.{block}"
            stride, dilation = (stride, first) if block == 0 else (1, others)
            y = F.relu(norm(F.conv2d(x, state[f"{name}.conv1.weight"]), state, f"{name}.bn1"))
            y = F.conv2d(y, state[f"{name}.conv2.weight"], stride=stride, padding=dilation, dilation=dilation)
            y = F.conv2d(F.relu(norm(y, state, f"{name}.bn2")), state[f"{name}.conv3.weight"])
            y = norm(y, state, f"{name}.bn3")
            if block == 0:
                x = F.conv2d(x, state[f"{name}.downsample.0.weight"], stride=stride)
                x = norm(x, state, f"{name}.downsample.1")
            x = F.relu(x + y)
            block += 1
        maps.append(x)
    return maps
