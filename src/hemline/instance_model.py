"""The network that finds instances: one backbone, one instance head, one label head.

Shapes: B batch, H W canvas, N instances of one photo, A attributes, L labels.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from hemline import runtime
from hemline.backbone import Backbone
from hemline.found import MASK_PROBABILITY
from hemline.heads import InstanceHead, MultiLabel
from hemline.heads._blocks import area_resize
from hemline.heads._instances import Detections
from hemline.labels import LabelSpace

AT_A_TIME = 16
"""Masks that lie on the canvas at a time."""
FAR = 1e4
"""A logit of what is not so, or of what is, below or above all that networks say."""


class Seen(NamedTuple):
    """What the network answers for one photo."""

    found: Detections
    labels: Tensor
    """(1 + N, L) logits: of the whole photo, then of each instance."""


class InstanceNetwork(nn.Module):
    """Photo -> instances, and label logits of the photo and of each.

    Args:
        space: The label space that it answers with.
        backbone: Makes the features.
        head: Features -> instances.
        label_head: Maps and masks -> label logits: of the whole photo, and of instances where the head reads no
            attributes itself.
    """

    def __init__(self, space: LabelSpace, backbone: Backbone, head: InstanceHead, label_head: MultiLabel) -> None:
        super().__init__()
        self.num_categories, self.num_attributes = len(space.categories), len(space.labels)
        self.backbone = backbone
        self.head = head
        self.label_head = label_head

    def forward(self, pixels: Tensor, valid: Tensor) -> list[Seen]:
        """Photos (B, H, W, 3) uint8 and their valid pixels (B, H, W) uint8 -> what each shows."""
        found, maps = self.head(self.backbone(pixels), frames_of(valid))
        photo = area_resize(valid[:, None].to(maps[0].dtype), maps[0].shape[-2:])            # (B, 1, h, w)
        seen = []
        for i, one in enumerate(found):
            masks = photo[i]
            if not self.head.reads_attributes:
                masks = torch.cat([masks, lay(one, valid.shape[1:], maps[0].shape[-2:]) * photo[i]])
            labels = self.label_head([x[i : i + 1] for x in maps], masks[None])[0]           # (1 or 1 + N, L)
            if one.attributes is not None:
                labels = torch.cat([labels, self._read(one, one.attributes)])
            seen.append(Seen(one, labels))
        return seen

    def _read(self, found: Detections, attributes: Tensor) -> Tensor:
        """(N, A) attributes that the head reads -> (N, L) logits, in which each instance is of its own class alone."""
        kinds = attributes.new_full((len(attributes), self.num_categories), -FAR)
        return torch.cat([kinds.scatter(1, found.classes[:, None], FAR), attributes], dim=1)

    def find(self, pixels: NDArray[np.uint8], valid: NDArray[np.uint8]) -> list[runtime.Detections]:
        """The same in numpy, from and to wherever the network is."""
        device = next(self.parameters()).device
        photos, inside = (torch.tensor(np.ascontiguousarray(x), device=device) for x in (pixels, valid))
        with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            seen = self(photos, inside)
        return [
            runtime.Detections(
                found.boxes.float().cpu().numpy(),
                found.classes.cpu().numpy(),
                found.scores.float().cpu().numpy(),
                found.masks.float().cpu().numpy(),
                labels.float().cpu().numpy(),
            )
            for found, labels in seen
        ]


def frames_of(valid: Tensor) -> Tensor:
    """(B, H, W) 1 on the photo -> (B, 4) x0, y0, x1, y1 of the photo on its canvas, in pixels."""
    sides = []
    for line in (valid.amax(1) > 0, valid.amax(2) > 0):                                      # (B, W), (B, H)
        length = line.shape[1]
        first = line.to(torch.uint8).argmax(1)
        last = length - line.flip(1).to(torch.uint8).argmax(1)
        sides.append(torch.stack([first, last], dim=1))
    return torch.stack(sides, dim=2).flatten(1).to(torch.float32)                            # x0 y0 x1 y1


def lay(found: Detections, canvas: torch.Size, size: torch.Size) -> Tensor:
    """The share of each cell of a map of `size` that each found garment covers on the canvas: (N, h, w)."""
    height, width = canvas
    boxes, masks = found.boxes.float(), found.masks.float()
    ys = torch.arange(height, device=boxes.device) + 0.5
    xs = torch.arange(width, device=boxes.device) + 0.5
    shares = [boxes.new_zeros((0, *size))]
    for part in range(0, len(boxes), AT_A_TIME):
        x0, y0, x1, y1 = boxes[part : part + AT_A_TIME, :, None].unbind(1)                   # (n, 1) each
        across = (xs - x0) / (x1 - x0).clamp(min=1e-6) * 2 - 1                               # (n, W), -1..1 in the box
        down = (ys - y0) / (y1 - y0).clamp(min=1e-6) * 2 - 1                                 # (n, H)
        inside = (across.abs() <= 1)[:, None] & (down.abs() <= 1)[:, :, None]
        grid = torch.stack([across[:, None].expand(inside.shape), down[:, :, None].expand(inside.shape)], dim=3)
        chance = F.grid_sample(
            masks[part : part + AT_A_TIME, None], grid, padding_mode="border", align_corners=False
        )[:, 0]
        on = ((chance > MASK_PROBABILITY) & inside).to(boxes.dtype)
        shares.append(area_resize(on[None], size)[0])
    return torch.cat(shares)
