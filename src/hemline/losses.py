"""Losses: what is true of masks, labels and choices, and all terms of a batch, each with what is `known`.

Each term is a `Term(total, known)`, so that both can be added up over processes before dividing; it is 0 where nothing
is known. Losses of masks (`hemline.mask_losses`) work at the mask head's own stride, against targets averaged over each
cell, so a cell half covered by a coat asks for one half.

Shapes: B batch, H W canvas, h w the mask head's size, S segments, R regions, K mask classes, L labels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from hemline import mask_losses
from hemline.data.sample import EITHER, Batch
from hemline.distillation import Teachers, taught_labels, taught_masks
from hemline.heads._blocks import area_resize
from hemline.labels import LabelSpace
from hemline.loss_config import Loss
from hemline.mask_losses import Answers, Areas, Term, rival_scores
from hemline.model import Network
from hemline.task_weights import AUXILIARY, CHOICE, PRESENCE, TAUGHT_LABELS, TAUGHT_MASKS, TaskWeights


class MaskTargets(NamedTuple):
    """What is true of each cell of the mask head's map."""

    coverage: Tensor
    """(B, S, h, w) share of the cell that each segment covers, on valid pixels."""
    target: Tensor
    """(B, K, h, w) share of the known part that is the class, 0..1."""
    known: Tensor
    """(B, K, h, w) share of the cell where the class is known, 0..1."""


def mask_targets(batch: Batch, size: torch.Size | tuple[int, int]) -> MaskTargets:
    """Average the segments of a batch over the cells of a map of `size`."""
    coverage = segment_shares(batch, size)
    yes = torch.einsum("bshw,bsk->bkhw", coverage, (batch.targets == 1).to(coverage.dtype))
    known = torch.einsum("bshw,bsk->bkhw", coverage, (batch.targets >= 0).to(coverage.dtype))
    return MaskTargets(coverage, yes / known.clamp(min=1e-6), known)


def segment_shares(batch: Batch, size: torch.Size | tuple[int, int]) -> Tensor:
    """(B, S, h, w) the share of each cell of a map that is each segment, on valid pixels.

    Pixels are counted cell by cell, so the cost does not grow with S. The map's size divides the canvas.
    """
    number, height, width = batch.segments.shape
    h, w = size
    if height % h or width % w:
        raise ValueError(f"a map of {h} x {w} cells does not divide a canvas of {height} x {width}")
    device = batch.segments.device
    rows = torch.arange(height, device=device) // (height // h)
    columns = torch.arange(width, device=device) // (width // w)
    cell = (rows[:, None] * w + columns).view(1, -1)                                                # (1, H * W)
    place = batch.segments.flatten(1).to(torch.int64) * (h * w) + cell                              # (B, H * W)
    counts = torch.zeros(number, batch.targets.shape[1] * h * w, device=device)
    counts.scatter_add_(1, place, (batch.valid.flatten(1) > 0).to(counts.dtype))
    return counts.view(number, -1, h, w) / (height // h * (width // w))


def may_be(targets: Tensor, competing: Sequence[int]) -> Tensor:
    """(B, S, 1 + C) which answers each segment's pixels may have: nobody, then each competing class.

    All of them where nothing is known, and where the segment is something that no answer says. A photo whose tag list
    lacks hats is nowhere a hat.

    Args:
        targets: (B, S, K) 1, 0, -1 or `EITHER`: what each segment's pixels say of each class.
        competing: The classes among which the answer is chosen.
    """
    told, yes = targets[:, :, list(competing)], (targets == 1).any(2, keepdim=True)
    hidden = yes & (told == 0).all(2, keepdim=True)                     # is something that no answer says
    named = (told == 1) | (told == EITHER)
    sure = named.any(2, keepdim=True)
    return torch.cat([~sure, torch.where(sure, named, told != 0)], dim=2) | hidden


def told_to(layer: Sequence[int], targets: Tensor, space: LabelSpace) -> Tensor:
    """(B, S, K) what the segments say to the classes that compete in a layer.

    A class of another layer says nothing here: pixels of trousers may be a pocket or not, and are asked about pockets.
    Where garments and parts compete in one layer, what is both is the part, which lies on top.

    Args:
        layer: The classes.
        targets: (B, S, K) 1, 0, -1 or `EITHER`.
        space: Says which classes are parts.
    """
    others = [k for k in space.competing if k not in layer]
    parts, rest = [[k for k in layer if (k in space.parts) == is_part] for is_part in (True, False)]
    told = targets.clone()
    told[:, :, others] = 0
    if parts and rest:
        covered = (targets[:, :, parts] == 1).any(2, keepdim=True)
        told[:, :, rest] = told[:, :, rest].masked_fill(covered, 0)
    return told


def answers(
    logits: Tensor, coverage: Tensor, targets: Tensor, competing: Sequence[int], weights: Tensor | None = None
) -> Answers:
    """How likely the one answer of each cell is: one of the competing classes, or nobody at logit 0.

    Args:
        logits: (B, K, h, w).
        coverage: (B, S, h, w) share of each cell that is each segment.
        targets: (B, S, K) 1, 0, -1 or `EITHER`: what each segment's pixels say of each class.
        competing: The classes among which the answer is chosen.
        weights: (K + 1,) how much a cell of each class counts in the mean, and one of nobody; a segment that may be
            several has their mean.
    """
    allowed = may_be(targets, competing)                                                            # (B, S, 1 + C)
    likely = torch.einsum("bchw,bsc->bshw", rival_scores(logits, competing), allowed.to(logits.dtype))
    known = coverage * (~allowed.all(2))[:, :, None, None]
    if weights is not None:
        of_answers = allowed * weights[[-1, *competing]]                                            # (B, S, 1 + C)
        known = known * (of_answers.sum(2) / allowed.sum(2))[:, :, None, None]
    return Answers(likely, known)


def rival_areas(logits: Tensor, coverage: Tensor, targets: Tensor, competing: Sequence[int]) -> Areas:
    """The areas of nobody and of each competing class, (B, 1 + C, h, w), where a cell has one answer.

    A segment that may be several classes is unknown to each of these, and known to be none of the others.

    Args:
        logits: (B, K, h, w).
        coverage: (B, S, h, w) share of each cell that is each segment.
        targets: (B, S, K) 1, 0, -1 or `EITHER`: what each segment's pixels say of each class.
        competing: The classes among which the answer is chosen.
    """
    allowed = may_be(targets, competing)                                                            # (B, S, 1 + C)
    sure = allowed & (allowed.sum(2, keepdim=True) == 1)
    yes = torch.einsum("bshw,bsc->bchw", coverage, sure.to(coverage.dtype))
    known = torch.einsum("bshw,bsc->bchw", coverage, (sure | ~allowed).to(coverage.dtype))
    return Areas(rival_scores(logits, competing), yes / known.clamp(min=1e-6), known)


def class_scores(
    logits: Tensor, photo: Tensor, its_class: Tensor, competing: Sequence[int] | None = None
) -> Tensor:
    """(N, h, w) the probabilities of classes, each on its photo.

    Args:
        logits: (B, K, h, w).
        photo: (N,) the numbers of the photos.
        its_class: (N,) the numbers of the classes.
        competing: The classes that are scored against each other and nobody; all others then have 0. None scores each
            class for itself.
    """
    if competing is None:
        return torch.sigmoid(logits[photo, its_class].float())
    scores = torch.zeros_like(logits, dtype=torch.float32)
    scores[:, list(competing)] = rival_scores(logits.float(), competing)[:, 1:]
    return scores[photo, its_class]


def region_masks(
    logits: Tensor, batch: Batch, targets: MaskTargets, competing: Sequence[int] | None = None
) -> Tensor:
    """The soft mask (B, R, h, w) under which each region's labels are pooled: true where drawn, else predicted.

    Args:
        logits: (B, K, h, w).
        batch: Holds the regions.
        targets: What is true of each cell.
        competing: As of `class_scores`.
    """
    masks = drawn_masks(batch, targets.coverage)
    photo, region, its_class = batch.region_classes.nonzero(as_tuple=True)      # a region has few of all the classes
    if len(photo):
        valid = area_resize(batch.valid[:, None].to(torch.float32), logits.shape[-2:])              # (B, 1, h, w)
        scores = class_scores(logits.detach(), photo, its_class, competing)                         # (N, h, w)
        predicted = torch.zeros_like(masks).flatten(0, 1)                                           # (B * R, h, w)
        number = (photo * masks.shape[1] + region)[:, None, None].expand_as(scores)
        predicted.scatter_reduce_(0, number, scores, "amax")
        is_predicted = batch.region_classes.any(2)[:, :, None, None]
        masks = torch.where(is_predicted, predicted.view_as(masks) * valid, masks)
    return masks


def drawn_masks(batch: Batch, coverage: Tensor) -> Tensor:
    """The soft mask (B, R, h, w) of each region where it is drawn; elsewhere that of the whole photo.

    Args:
        batch: Holds the regions.
        coverage: (B, S, h, w) share of each cell that each segment covers.
    """
    valid = area_resize(batch.valid[:, None].to(torch.float32), coverage.shape[-2:])                # (B, 1, h, w)
    drawn = torch.einsum("brs,bshw->brhw", batch.region_segments.to(valid.dtype), coverage)
    return torch.where(batch.region_segments.any(2)[:, :, None, None], drawn, valid)


def label_terms(logits: Tensor, batch: Batch, space: LabelSpace) -> dict[str, Term]:
    """Binary cross-entropy a group over known labels, plus minus the log of "at least one of" where that is known.

    Args:
        logits: (B, R, L).
        batch: Holds what is known.
        space: Names the groups.
    """
    logits = logits.float()
    known = (batch.labels >= 0).to(logits.dtype)
    target = batch.labels.clamp(min=0).to(logits.dtype)
    target = target + batch.doubt[:, :, None] * (1 - 2 * target)                                    # (B, R, L)
    bce = F.binary_cross_entropy_with_logits(logits, target, weight=known, reduction="none")        # (B, R, L)
    either = logits[batch.one_of_region[:, 0], batch.one_of_region[:, 1]]                           # (M, L)
    none = (F.logsigmoid(-either) * batch.one_of).sum(1)                                            # log P(none)
    one_of = -torch.log(-torch.expm1(none.clamp(max=-1e-6)))                                        # (M,)
    terms = {}
    for name, part in space.label_slices.items():
        asked = batch.one_of[:, part].any(1).to(logits.dtype)
        terms[name] = Term(
            bce[..., part].sum() + (one_of * asked).sum(), known[..., part].sum() + asked.sum()
        )
    return terms


def choice_terms(logits: Tensor, batch: Batch, space: LabelSpace) -> dict[str, Term]:
    """Cross-entropy of the one value that a region has, for each group of `choice: one`, named `CHOICE` + group.

    Binary cross-entropy asks each value for itself; this asks, among the values of which something is known, that the
    true one be the largest, which is what the answer goes by.

    Args:
        logits: (B, R, L).
        batch: Holds what is known; regions in doubt, or without one true value, are left out.
        space: Names the groups.
    """
    terms = {}
    for group in space.groups:
        if group.choice != "one":
            continue
        part = space.label_slices[group.name]
        told = batch.labels[..., part]                                                              # (B, R, V)
        asked = ((told == 1).sum(2) == 1) & ((told >= 0).sum(2) > 1) & (batch.doubt == 0)            # (B, R)
        among = logits[..., part].float().masked_fill(told < 0, -torch.inf)[asked]                  # (M, V)
        total = F.cross_entropy(among, told[asked].argmax(1), reduction="sum")
        terms[CHOICE + group.name] = Term(total, asked.sum().to(total.dtype))
    return terms


def presence_term(logits: Sequence[Tensor], targets: MaskTargets, told: Tensor, competing: Sequence[int]) -> Term:
    """Binary cross-entropy of which classes are anywhere on the photo, where known, summed over all that answer it.

    A class is there where a segment in sight is of it, and is not where every segment in sight is known not to be; so
    it is asked of the semantic encoding loss (EncNet, https://arxiv.org/abs/1803.08904).

    Args:
        logits: One or more of (B, K), or (B, K + 1) where the last is nobody: of pixels that no class answers.
        targets: What is true of each cell.
        told: (B, S, K) 1, 0, -1 or `EITHER`: what each segment's pixels say of each class.
        competing: The classes among which a pixel's answer is chosen.
    """
    seen = targets.coverage.sum((2, 3)) > 0                                                         # (B, S)
    if logits[0].shape[1] > told.shape[2]:
        allowed = may_be(told, competing)                                                           # (B, S, 1 + C)
        nobody = torch.where(allowed[:, :, 0], torch.where(allowed[:, :, 1:].any(2), -1, 1), 0)     # (B, S)
        told = torch.cat([told, nobody.to(told.dtype)[:, :, None]], dim=2)
    yes = ((told == 1) & seen[:, :, None]).any(1)                                                   # (B, K)
    no = ((told == 0) | ~seen[:, :, None]).all(1) & seen.any(1, keepdim=True)
    known, true = (yes | no).to(torch.float32), yes.to(torch.float32)
    each = [F.binary_cross_entropy_with_logits(x.float(), true, weight=known, reduction="sum") for x in logits]
    return Term(torch.stack(each).sum(), known.sum())


class JointLoss(torch.nn.Module):
    """One module whose forward returns the losses, so that data-parallel training can wrap it.

    Args:
        network: The network to train.
        space: Its label space.
        loss: Says which losses of masks, choices and auxiliary outputs have a weight: no other is computed.
        class_weights: (K + 1,) of the mask classes and nobody, on the network's device; None weighs all alike.
        positive_weights: (K,) of what is each mask class, in `bce`, on the network's device; None weighs all alike.
        teachers: Who teaches beside the data, on the network's device.
    """

    def __init__(
        self,
        network: Network,
        space: LabelSpace,
        loss: Loss = Loss(),  # noqa: B008  # frozen
        class_weights: Tensor | None = None,
        positive_weights: Tensor | None = None,
        teachers: Teachers | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.space = space
        self.loss = loss
        self.task_weights = TaskWeights(loss)
        self.class_weights = class_weights
        self.positive_weights = positive_weights
        self.teachers = teachers

    def forward(self, batch: Batch) -> dict[str, Term]:
        """A batch -> the named terms.

        They are those of `Loss.of_masks`; the same of each auxiliary output, named `AUXILIARY` + its number and the
        loss; `presence`, where the head answers it; `category`, one for each attribute group, and one for each choice;
        `TAUGHT_MASKS` and `TAUGHT_LABELS`, where there are teachers.
        """
        dense, auxiliary = self.network.dense_train(batch.pixels)
        rivals = self.space.competing if self.network.exclusive else None
        targets_of = cache(partial(mask_targets, batch))                 # auxiliary outputs may be of the same size
        with torch.autocast(batch.pixels.device.type, enabled=False):    # shares and logarithms need float32
            targets = targets_of(dense.logits.shape[-2:])
            terms = self._of_masks(dense.logits, targets, batch)
            for i, logits in enumerate(auxiliary.masks if self.loss.auxiliary else ()):
                of_masks = self._of_masks(logits, targets_of(logits.shape[-2:]), batch)
                terms |= {f"{AUXILIARY}{i} {name}": term for name, term in of_masks.items()}
        if auxiliary.presence and self.loss.presence:
            terms[PRESENCE] = presence_term(auxiliary.presence, targets, batch.targets, self.space.competing)
        masks = region_masks(dense.logits, batch, targets, rivals)
        if self.teachers is not None:
            valid = area_resize(batch.valid[:, None].to(torch.float32), masks.shape[-2:])           # (B, 1, h, w)
            lesson = self.teachers.look(batch.pixels, masks.shape[-2:])
            with torch.autocast(batch.pixels.device.type, enabled=False):
                terms[TAUGHT_MASKS] = taught_masks(dense.logits, lesson, valid, self.network.layers)
            masks = torch.cat([valid, masks], dim=1)                     # of labels they teach the whole photo's, too
            labels = self.network.label_head(dense.maps, masks)                                     # (B, 1 + R, L)
            shows = F.pad((batch.region_segments.any(2) | batch.region_classes.any(2)), (1, 0), value=True)
            shows &= masks.sum((2, 3)) >= 1
            terms[TAUGHT_LABELS] = taught_labels(labels[shows], self.teachers.labels(lesson, masks)[shows])
            labels = labels[:, 1:]
        else:
            labels = self.network.label_head(dense.maps, masks)
        terms |= label_terms(labels, batch, self.space)
        return terms | choice_terms(labels, batch, self.space) if self.loss.choice else terms

    def _of_masks(self, logits: Tensor, targets: MaskTargets, batch: Batch) -> dict[str, Term]:
        """The losses of masks that have a weight, and no more work than they need."""
        logits, loss, exclusive = logits.float(), self.loss, self.network.exclusive
        weights, layers = self.class_weights, self.network.layers
        of_classes = None if weights is None else weights[:-1]
        told = targets.target, targets.known

        @cache
        def answered() -> Answers:
            each = [
                answers(logits, targets.coverage, told_to(layer, batch.targets, self.space), layer, weights)
                for layer in layers
            ]
            return Answers(*(torch.cat(both, dim=1) for both in zip(*each, strict=True)))

        @cache
        def areas() -> Areas:
            if exclusive:
                (layer,) = layers
                return rival_areas(logits, targets.coverage, told_to(layer, batch.targets, self.space), layer)
            return Areas(torch.sigmoid(logits), *told)

        def focal() -> Term:
            if exclusive:
                return mask_losses.softmax_focal(answered(), loss.focal_gamma)
            return mask_losses.sigmoid_focal(logits, *told, loss.focal_gamma, loss.focal_alpha, of_classes)

        terms: dict[str, Callable[[], Term]] = {
            "bce": lambda: mask_losses.bce(logits, *told, of_classes, self.positive_weights),
            "dice": lambda: mask_losses.dice(areas()),
            "cross_entropy": lambda: mask_losses.cross_entropy(answered()),
            "focal": focal,
            "jaccard": lambda: mask_losses.jaccard(areas()),
            "generalised_dice": lambda: mask_losses.generalised_dice(areas()),
            "tversky": lambda: mask_losses.tversky(areas(), loss.tversky_alpha, loss.tversky_beta),
            "lovasz": lambda: mask_losses.lovasz(areas()),
            "bootstrapped": lambda: mask_losses.bootstrapped(answered(), loss.bootstrapped_share),
            "ohem": lambda: mask_losses.ohem(answered(), loss.ohem_threshold, loss.ohem_share),
        }
        return {name: terms[name]() for name, weight in loss.of_masks().items() if weight}
