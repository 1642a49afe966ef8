"""Label head: what a photo, a garment, or any other mask shows, by one sigmoid classifier a group.

Pooling features under the mask of the garment that a label speaks of, rather than over the whole photo, is what lets
an answer say which garment is striped (landmark pooling over global pooling: mmfashion's model zoo; Attribute-Mask
R-CNN pools boxes, https://arxiv.org/abs/2004.12276).

Shapes: B batch, N masks, Ci channels of map i, L labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from ._blocks import area_resize

EMPTY = 1e-4
"""Added to a mask's area before dividing; an empty mask pools zeros."""


def masked_mean(x: Tensor, masks: Tensor) -> Tensor:
    """Mean of features (B, C, H, W) under soft masks (B, N, H', W') in 0..1 -> (B, N, C)."""
    weights = area_resize(masks, x.shape[-2:]).flatten(2)                # (B, N, h*w)
    total = torch.bmm(weights, x.flatten(2).transpose(1, 2))             # (B, N, C)
    return total / (weights.sum(2, keepdim=True) + EMPTY)


class MultiLabel(nn.Module):
    """Pool every map under every mask, then classify each group.

    Args:
        map_channels: Channels of the maps to pool.
        group_sizes: Labels in each group, in channel order.
        hidden: Width of one shared layer before the classifiers.
        dropout: Share of the shared layer dropped in training, 0..1.
    """

    def __init__(
        self,
        map_channels: Sequence[int],
        group_sizes: Mapping[str, int],
        *,
        hidden: int = 256,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        self.map_channels = list(map_channels)
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for channels in map_channels)
        self.shared = nn.Sequential(nn.Linear(sum(map_channels), hidden), nn.ReLU(inplace=True), nn.Dropout(dropout))
        classifiers = [nn.Linear(hidden, size) for size in group_sizes.values()]
        for classifier in classifiers:
            nn.init.constant_(classifier.bias, -2.0)     # most labels are rare
        self.classifiers = nn.ModuleList(classifiers)

    def forward(self, maps: Sequence[Tensor], masks: Tensor) -> Tensor:
        """Maps [(B, Ci, hi, wi)] and soft masks (B, N, H, W) in 0..1, gradient stopped -> logits (B, N, L)."""
        return self.classify(self.pool(maps, masks))

    def pool(self, maps: Sequence[Tensor], masks: Tensor) -> Tensor:
        """Maps [(B, Ci, hi, wi)] and masks (B, N, H, W) -> their means under each mask (B, N, sum of Ci)."""
        masks = masks.detach()
        return torch.cat([masked_mean(x, masks) for x in maps], dim=2)

    def classify(self, pooled: Tensor) -> Tensor:
        """What `pool` answers -> logits (B, N, L)."""
        parts = torch.split(pooled, self.map_channels, dim=2)
        normed = [norm(part) for norm, part in zip(self.norms, parts, strict=True)]
        shared = self.shared(torch.cat(normed, dim=2))                   # (B, N, hidden)
        return torch.cat([classifier(shared) for classifier in self.classifiers], dim=2)
