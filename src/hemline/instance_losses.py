"""Losses of a network that finds instances: its head's own, and those of labels, from what a batch says.

Shapes: B batch, H W canvas, N garments of one photo, R regions, L labels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hemline.data.sample import Batch
from hemline.heads._instances import Target
from hemline.instance_model import InstanceNetwork, frames_of
from hemline.labels import LabelSpace
from hemline.loss_config import Loss
from hemline.losses import choice_terms, drawn_masks, label_terms, segment_shares
from hemline.mask_losses import Term
from hemline.task_weights import INSTANCES, TaskWeights


def targets_of(batch: Batch, space: LabelSpace) -> list[Target]:
    """What is drawn on each photo of a batch.

    Regions are garments, but for doubtful ones, which say more of another's pixels. One that is of no category, or of
    several, is of unknown kind.
    """
    shown = [c.index for c in space.categories if c.shown]
    known = (batch.targets != -1).any(2).any(1)                                              # (B,)
    regions = batch.region_segments.any(2) & (batch.doubt == 0) & known[:, None]             # (B, R)
    found = []
    for b, is_known in enumerate(known.tolist()):
        own = regions[b].nonzero()[:, 0]                                                     # (N,)
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
                known=is_known,
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
        self.task_weights = TaskWeights(loss)

    def forward(self, batch: Batch) -> dict[str, Term]:
        """A batch -> the named terms: those of the head, named `INSTANCES` + theirs, then those of labels.

        Photos on which nobody knows what is drawn have no part in those of the head. Labels that speak of a garment
        wherever the network finds it are left out: what it finds is chosen, and has no gradient.
        """
        network = self.network
        features, frames = network.backbone(batch.pixels), frames_of(batch.valid)
        targets = targets_of(batch, self.space)
        losses, maps = network.head.loss(features, frames, targets)
        count = frames.new_full((), sum(one.known for one in targets))
        terms = {INSTANCES + name: Term(loss * count, count) for name, loss in losses.items()}
        terms |= label_terms(*(read := self._labels(maps, batch)), self.space)
        return terms | choice_terms(*read, self.space) if self.loss.choice else terms

    def _labels(self, maps: list[Tensor], batch: Batch) -> tuple[Tensor, Batch]:
        """The (B, R, L) label logits of each region, and the batch with what is asked of them."""
        elsewhere = batch.region_classes.any(2)                                              # (B, R)
        if self.network.head.reads_attributes:           # of the photo alone; the head reads garments
            elsewhere = elsewhere | batch.region_segments.any(2)
        labels = batch.labels.masked_fill(elsewhere[:, :, None], -1)
        asked = ~elsewhere[batch.one_of_region[:, 0], batch.one_of_region[:, 1]]             # (M,)
        batch = batch._replace(labels=labels, one_of=batch.one_of[asked], one_of_region=batch.one_of_region[asked])
        masks = drawn_masks(batch, segment_shares(batch, maps[0].shape[-2:]))
        return self.network.label_head(maps, masks), batch
