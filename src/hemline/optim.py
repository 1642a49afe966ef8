"""What moves the weights: groups of parameters, the optimizer, the schedule of the learning rate, what stays frozen."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from typing import Any

import torch
from timm import optim as timm_optim
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from hemline.config import Config

FUSED: tuple[object, ...] = (torch.optim.AdamW, torch.optim.Adam, torch.optim.SGD)
"""Those of which torch has an implementation in one kernel, which is taken on GPUs."""
CLIMB = 0.3
"""Share of the steps of `onecycle` in which the learning rate climbs, as in torch's `OneCycleLR`."""
ONECYCLE_BEGINS, ONECYCLE_ENDS = 1 / 25, 1 / 25e4
"""Factors of the peak at which `onecycle` begins and ends, likewise."""

NOTHING_LEARNS = "freeze: nothing is left to learn; leave out a part, or batch_norm: frozen"


def make_optimizer(module: nn.Module, config: Config) -> torch.optim.Optimizer:
    """The recipe's optimizer over all that may learn in a module whose `network` has a trunk named `backbone`.

    Args:
        module: The module, on the device where it is trained.
        config: The recipe, whose `opt` is one that `hemline.config.check` lets pass.
    """
    groups = parameter_groups(module, config)
    on_gpu = all(parameter.is_cuda for group in groups for parameter in group["params"])
    fused = on_gpu and timm_optim.get_optimizer_info(config.opt).opt_class in FUSED  # type: ignore[attr-defined]  # public by timm's documents alone
    make = timm_optim.create_optimizer_v2  # type: ignore[attr-defined]  # likewise
    options: dict[str, Any] = {"fused": True} if fused else {}
    optimizer: torch.optim.Optimizer = make(groups, opt=config.opt, lr=config.lr, momentum=config.momentum, **options)
    return optimizer


def parameter_groups(module: nn.Module, config: Config) -> list[dict[str, Any]]:
    """Trunk and heads at their own rates; norms and biases without decay.

    What the recipe freezes is in them, too: without a gradient no optimizer moves it, nor keeps anything of it.
    """
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            groups.setdefault((name.startswith("network.backbone."), parameter.ndim > 1), []).append(parameter)
    return [
        {
            "params": parameters,
            "lr": (rate := config.lr * (config.backbone_lr_scale if trunk else 1.0)),
            "initial_lr": rate,
            "weight_decay": config.weight_decay if decays else 0.0,
        }
        for (trunk, decays), parameters in groups.items()
    ]


def set_rates(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Set each group's learning rate, as a factor of its peak."""
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"] * factor


def schedule(config: Config, num_steps: int) -> Callable[[int], float]:
    """Steps done -> factor of the peak learning rate in the next one.

    Args:
        config: The recipe.
        num_steps: Steps of the whole run.
    """
    if config.sched == "onecycle":
        return lambda step: _onecycle(step, num_steps)
    falls: Callable[[float], float] = {
        "cosine": lambda done: 0.5 + 0.5 * math.cos(math.pi * done),
        "poly": lambda done: (1 - done) ** config.sched_power,
        "constant": lambda done: 1.0,
    }[config.sched]
    warmup = max(1, round(config.warmup * num_steps))
    return lambda step: min((step + 1) / warmup, falls(min(1.0, step / num_steps)))


def _onecycle(step: int, num_steps: int) -> float:
    """Two halves of a cosine, up to the peak and down to nearly nothing (Smith, Topin, https://arxiv.org/abs/1708.07120).

    As torch's `OneCycleLR`, which follows fast.ai's form of the paper; momentum stays as it is.
    """
    peak, last = CLIMB * num_steps - 1, num_steps - 1
    if step <= peak and peak > 0:
        begin, end, done = ONECYCLE_BEGINS, 1.0, step / peak
    else:
        begin, end, done = 1.0, ONECYCLE_ENDS, min(1.0, (step - peak) / (last - peak))
    return end + (begin - end) * (0.5 + 0.5 * math.cos(math.pi * done))


def frozen(network: nn.Module, config: Config, epoch: int, growing: Collection[str] = ()) -> set[nn.Parameter]:
    """Put what stays as it is in an epoch into evaluation mode, so that it counts and drops nothing.

    Args:
        network: The network, or a part of it under its name, in training mode.
        config: Says what stays.
        epoch: Epochs that are done.
        growing: Names of parameters that learn though their part is frozen.

    Returns:
        The parameters that stay.
    """
    stays: set[nn.Parameter] = set()
    if config.freeze_epochs is None or epoch < config.freeze_epochs:
        grow = {network.get_parameter(name) for name in growing}
        for name, part in network.named_children():
            if name in (config.freeze or ()):
                stays |= {*part.eval().parameters()} - grow
    if config.batch_norm == "frozen":
        for layer in network.modules():
            if isinstance(layer, _BatchNorm):
                stays |= {*layer.eval().parameters()}
    return stays
