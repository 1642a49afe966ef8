"""What moves the weights: groups of parameters, the optimizer, the schedule of the learning rate, what stays frozen."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from timm import optim as timm_optim
from torch import nn

from hemline.config import Config


def make_optimizer(module: nn.Module, config: Config) -> torch.optim.Optimizer:
    """The recipe's optimizer over all that learns in a module whose `network` has a trunk named `backbone`."""
    groups = parameter_groups(module, config)
    make = timm_optim.create_optimizer_v2  # type: ignore[attr-defined]  # public by timm's documents alone
    optimizer: torch.optim.Optimizer = make(groups, opt=config.opt, lr=config.lr, momentum=config.momentum)
    return optimizer


def make_scheduler(
    optimizer: torch.optim.Optimizer, config: Config, num_steps: int
) -> torch.optim.lr_scheduler.LambdaLR:
    """The recipe's schedule over all steps of the run."""
    return torch.optim.lr_scheduler.LambdaLR(optimizer, schedule(config, num_steps))


def schedule(config: Config, num_steps: int) -> Callable[[int], float]:
    """Steps done -> factor of the peak learning rate."""
    warmup = max(1, round(config.warmup * num_steps))
    return lambda step: min((step + 1) / warmup, 0.5 + 0.5 * math.cos(math.pi * min(1.0, step / num_steps)))


def parameter_groups(module: nn.Module, config: Config) -> list[dict[str, Any]]:
    """Trunk and heads at their own rates; norms and biases without decay."""
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            groups.setdefault((name.startswith("network.backbone."), parameter.ndim > 1), []).append(parameter)
    return [
        {
            "params": parameters,
            "lr": config.lr * (config.backbone_lr_scale if trunk else 1.0),
            "weight_decay": config.weight_decay if decays else 0.0,
        }
        for (trunk, decays), parameters in groups.items()
    ]
