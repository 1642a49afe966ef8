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
    total = torch.bmm(weights, x.permute(0, 2, 3, 1).flatten(1, 2))      # (B, N, C); channels last, nothing is moved
    return total / (weights.sum(2, keepdim=True) + EMPTY)


class MultiLabel(nn.Module):
    """Pool every map under every mask, then classify each group.

    Args:
        map_channels: Channels of the maps to pool.
        group_sizes: Labels in each group, in channel order.
        hidden: Width of one shared layer before the classifiers.
        dropout: Share of the shared layer dropped in training, 0..1.
        direct: Channels, among all L, of labels beside these groups, whose classifier reads the pooled maps without the
            shared layer. What that layer never had to tell apart (a colour, say) it does not pass on.
    """

    def __init__(
        self,
        map_channels: Sequence[int],
        group_sizes: Mapping[str, int],
        *,
        hidden: int = 256,
        dropout: float = 0.2,
        direct: Sequence[int] = (),
    ) -> None:
        super().__init__()
        self.map_channels = list(map_channels)
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for channels in map_channels)
        self.shared = nn.Sequential(nn.Linear(sum(map_channels), hidden), nn.ReLU(inplace=True), nn.Dropout(dropout))
        classifiers = [nn.Linear(hidden, size) for size in group_sizes.values()]
        for classifier in classifiers:
            nn.init.constant_(classifier.bias, -2.0)     # most labels are rare
        self.classifiers = nn.ModuleList(classifiers)
        self.direct: nn.Linear | None = None
        if direct:
            self.direct = nn.Linear(sum(map_channels), len(direct))
            nn.init.zeros_(self.direct.weight)
            nn.init.constant_(self.direct.bias, -2.0)
            others = sorted(set(range(sum(group_sizes.values()) + len(direct))) - set(direct))
            order = torch.argsort(torch.tensor([*others, *direct]))
            self.register_buffer("order", order, persistent=False)

    def forward(self, maps: Sequence[Tensor], masks: Tensor) -> Tensor:
        """Maps [(B, Ci, hi, wi)] and soft masks (B, N, H, W) in 0..1, gradient stopped -> logits (B, N, L)."""
        return self.classify(self.pool(maps, masks))

    def pool(self, maps: Sequence[Tensor], masks: Tensor) -> Tensor:
        """Maps [(B, Ci, hi, wi)] and masks (B, N, H, W) -> their means under each mask (B, N, sum of Ci)."""
        masks = masks.detach()
        return torch.cat([masked_mean(x, masks) for x in maps], dim=2)

    def classify(self, pooled: Tensor) -> Tensor:
        """What `pool` answers -> logits (B, N, L)."""
        return self.describe(pooled)[0]

    def describe(self, pooled: Tensor) -> tuple[Tensor, Tensor]:
        """What `pool` answers -> logits (B, N, L), and embeddings (B, N, hidden): the shared layer that they read."""
        normed = self.norm(pooled)
        shared = self.shared(normed)                                     # (B, N, hidden)
        logits = [classifier(shared) for classifier in self.classifiers]
        if self.direct is None:
            return torch.cat(logits, dim=2), shared
        return torch.cat([*logits, self.direct(normed)], dim=2)[:, :, self.get_buffer("order")], shared

    def norm(self, pooled: Tensor) -> Tensor:
        """What `pool` answers -> the same, each map's channels normalised (B, N, sum of Ci)."""
        parts = torch.split(pooled, self.map_channels, dim=2)
        return torch.cat([norm(part) for norm, part in zip(self.norms, parts, strict=True)], dim=2)
