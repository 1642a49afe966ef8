"""The moving average of the weights, which is validated and saved."""

from __future__ import annotations

import torch
from timm.utils.model_ema import ModelEmaV3
from torch import Tensor, nn


class Average(ModelEmaV3):
    """timm's `ModelEmaV3` with a decay that warms up; it walks over the network's tensors once, not at every step.

    Args:
        network: On the device where it is trained; its tensors are changed in place from now on, never replaced.
        decay: The largest decay.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        super().__init__(network, decay=decay, use_warmup=True)
        pairs = zip(*(each.state_dict(keep_vars=True).values() for each in (self.module, network)), strict=True)
        self._averages: tuple[list[Tensor], list[Tensor]] = ([], [])     # ours, and those of the network
        self._counts: tuple[list[Tensor], list[Tensor]] = ([], [])
        for pair in pairs:
            lists = self._averages if pair[0].is_floating_point() else self._counts
            for tensors, tensor in zip(lists, pair, strict=True):
                tensors.append(tensor)

    def apply_update_(self, model: nn.Module, decay: float) -> None:
        """One step; integers, such as the steps that a batch norm has counted, are copied.

        Args:
            model: The network that was given at first.
            decay: 0..1.
        """
        torch._foreach_lerp_(*self._averages, weight=1 - decay)
        if self._counts[0]:
            torch._foreach_copy_(*self._counts)
