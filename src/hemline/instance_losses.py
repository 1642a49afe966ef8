"""Losses of a network that finds instances: its head's own, and those of labels, from what a batch says.

Shapes: B batch, H W canvas, h w a map's size, N garments of one photo, R regions, K mask classes, L labels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hemline.config import Loss
from hemline.data.sample import Batch
from hemline.heads._instances import Target
from hemline.instance_model import InstanceNetwork, frames_of
from hemline.labels import LabelSpace
from hemline.losses import choice_terms, label_terms, mask_targets, region_masks
from hemline.mask_losses import Term

INSTANCES = "instances: "
"""Begins the names of the terms of an instance head."""


def targets_of(batch: Batch, space: LabelSpace) -> list[Target | None]:
    """What is drawn on each photo of a batch; None where nobody knows which garments a photo shows.

    Regions are garments. One that is of no category, or of several, is of unknown kind.
    """
    shown = [c.index for c in space.categories if c.shown]
    drawn = (batch.targets != -1).any(2).any(1).tolist()
    found: list[Target | None] = []
    for b in range(len(batch.pixels)):
        if not drawn[b]:
            found.append(None)
            continue
        own = batch.region_segments[b].any(1).nonzero()[:, 0]                                # (N,) regions with pixels
        masks = batch.region_segments[b, own][:, batch.segments[b].long()] & (batch.valid[b] > 0)  # (N, H, W)
        there = masks.flatten(1).any(1)
        own, masks = own[there], masks[there]
        labels = batch.labels[b, own]                                                        # (N, L)
        said = labels[:, shown] == 1
        kinds = torch.tensor(shown, device=said.device)[said.to(torch.uint8).argmax(1)]
        found.append(
            Target(
                boxes=boxes_of(masks),
                classes=torch.where(said.sum(1) == 1, kinds, -1),
                masks=masks.to(torch.uint8),
                attributes=labels[:, len(space.categories) :],
            )
        )
    return found


def boxes_of(masks: Tensor) -> Tensor:
    """(N, H, W) True somewhere -> (N, 4) x0, y0, x1, y1 around what is True, in pixels."""
    return frames_of(masks.to(torch.uint8)) if len(masks) else masks.new_zeros((0, 4), dtype=torch.float32)


class InstanceLoss(torch.nn.Module):
    """One module whose forward returns the losses, as `losses.JointLoss` is for networks that draw classes.

    Args:
        network: The network to train.
        space: Its label space.
        loss: Says whether choices have a weight.
    """

    def __init__(self, network: InstanceNetwork, space: LabelSpace, loss: Loss = Loss()) -> None:  # noqa: B008  # frozen
        super().__init__()
        self.network = network
        self.space = space
        self.loss = loss

    def forward(self, batch: Batch) -> dict[str, Term]:
        """A batch -> the named terms: those of the head, named `INSTANCES` + theirs, then those of labels.

        Photos on which nobody knows what is drawn have no part in those of the head. Labels that speak of a garment
        wherever the network finds it are left out: what it finds is chosen, and has no gradient.
        """
        network = self.network
        features, frames = network.backbone(batch.pixels), frames_of(batch.valid)
        targets = targets_of(batch, self.space)
        known = [i for i, one in enumerate(targets) if one is not None]
        drawn = [one for one in targets if one is not None]
        if len(known) == len(targets):
            losses, maps = network.head.loss(features, frames, drawn)
        else:                                            # every process takes part in every term, if at no weight
            some = known or [0]
            told = drawn or [_nothing(batch, self.space)]
            losses, _ = network.head.loss([x[some] for x in features], frames[some], told)
            maps = network.head.maps(features)
        count = torch.tensor(float(len(known)), device=batch.pixels.device)
        terms = {INSTANCES + name: Term(loss * count, count) for name, loss in losses.items()}
        terms |= label_terms(*(read := self._labels(maps, batch)), self.space)
        return terms | choice_terms(*read, self.space) if self.loss.choice else terms

    def _labels(self, maps: list[Tensor], batch: Batch) -> tuple[Tensor, Batch]:
        """The (B, R, L) label logits of each region, and the batch with what is asked of them."""
        size = maps[0].shape[-2:]
        elsewhere = batch.region_classes.any(2)                                              # (B, R)
        if self.network.head.reads_attributes:           # of the photo alone; the head reads garments
            elsewhere = elsewhere | batch.region_segments.any(2)
        labels = batch.labels.masked_fill(elsewhere[:, :, None], -1)
        asked = ~elsewhere[batch.one_of_region[:, 0], batch.one_of_region[:, 1]]             # (M,)
        batch = batch._replace(labels=labels, one_of=batch.one_of[asked], one_of_region=batch.one_of_region[asked])
        nothing = maps[0].new_zeros((len(maps[0]), batch.targets.shape[2], *size))           # (B, K, h, w)
        masks = region_masks(nothing, batch, mask_targets(batch, size))
        return self.network.label_head(maps, masks), batch


def _nothing(batch: Batch, space: LabelSpace) -> Target:
    height, width = batch.valid.shape[1:]
    zeros = batch.pixels.new_zeros
    return Target(
        boxes=zeros((0, 4), dtype=torch.float32),
        classes=zeros((0,), dtype=torch.int64),
        masks=zeros((0, height, width)),
        attributes=zeros((0, len(space.labels)), dtype=torch.int8),
    )
