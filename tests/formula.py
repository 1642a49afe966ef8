"""Weights by a formula, so that two implementations of a network can be compared on numbers that anybody can make."""

import torch
from torch import nn


def fill(module: nn.Module) -> nn.Module:
    """Every parameter and statistic from a sine, at a scale that neither dies out nor explodes; in evaluation mode.

    Kernels and matrices have variance 2 / fan-in; scales of norms and running variances lie in 0.75..1.25, shifts,
    biases and running means in -0.1..0.1.
    """
    norms = {name for name, child in module.named_modules() if isinstance(child, nn.modules.batchnorm._BatchNorm)}
    with torch.no_grad():
        for number, (name, tensor) in enumerate(sorted(module.state_dict().items())):
            if not tensor.is_floating_point():
                continue
            wave = torch.sin(torch.arange(tensor.numel(), dtype=torch.float64) * 12.9898 + number)
            wave = torch.sin(wave * 43758.5453).view_as(tensor).to(tensor.dtype)             # in -1..1, looks random
            owner, _, kind = name.rpartition(".")
            if tensor.ndim > 1:
                tensor.copy_(wave * (4 / tensor[0].numel()) ** 0.5)                          # a sine's variance is 1/2
            elif kind == "running_var" or (kind == "weight" and owner in norms):
                tensor.copy_(1 + wave / 4)
            else:
                tensor.copy_(wave / 10)
    return module.eval()


def photo(height: int, width: int, batch: int = 1) -> torch.Tensor:
    """(B, H, W, 3) uint8 noise that anybody can make."""
    wave = torch.sin(torch.arange(batch * height * width * 3, dtype=torch.float64) * 12.9898) * 43758.5453
    return ((wave - wave.floor()) * 255).to(torch.uint8).view(batch, height, width, 3)
