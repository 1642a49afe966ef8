"""The moving average of the weights, which is validated and saved."""

from __future__ import annotations

import torch
from timm.utils.model_ema import ModelEmaV3
from torch import nn


class Average(ModelEmaV3):
    """timm's `ModelEmaV3` with a decay that warms up; it walks over the network's tensors once, not at every step.

    Args:
        network: On the device where it is trained; its tensors are changed in place from now on, never replaced.
        decay: The largest decay.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        super().__init__(network, decay=decay, use_warmup=True)
        means, own = (each.state_dict(keep_vars=True).values() for each in (self.module, network))
        pairs = [*zip(means, own, strict=True)]
        self._averaged = [pair for pair in pairs if pair[0].is_floating_point()]
        self._copied = [pair for pair in pairs if not pair[0].is_floating_point()]

    def apply_update_(self, model: nn.Module, decay: float) -> None:
        """One step; integers, such as the steps that a batch norm has counted, are copied.

        Args:
            model: The network that was given at first.
            decay: 0..1.
        """
        if self._averaged:
            torch._foreach_lerp_(*map(list, zip(*self._averaged, strict=True)), weight=1 - decay)
        if self._copied:
            torch._foreach_copy_(*map(list, zip(*self._copied, strict=True)))
