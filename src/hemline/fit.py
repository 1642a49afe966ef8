"""Fits the label head of a trained network to a recipe's data, while its trunk and its masks stay: `hemline fit`.

What the label head reads is pooled once for each photo and view and kept, so that a pass over it takes seconds on a
CPU. It ends joint training, whose label head is not settled when the masks are good: the network stays as it is, and
the classifiers on it are fitted ("linear probing", Kumar et al., 2022, https://arxiv.org/abs/2202.10054).

Shapes: N regions, C pooled channels, L labels.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from hemline._settled import at_best
from hemline.checkpoint import load_network, save
from hemline.config import Config
from hemline.data import VALIDATION_SHARE, label_space
from hemline.data.loading import EpochSampler, batches, described, make_loader, open_sources
from hemline.data.sample import Batch
from hemline.data.stratify import held_out_of, split_of_recipe
from hemline.errors import ConfigError, WeightsError
from hemline.evaluate import Report, score_network
from hemline.heads import MultiLabel
from hemline.labels import LabelSpace
from hemline.losses import choice_terms, label_terms, mask_targets, region_masks
from hemline.metadata import Metadata
from hemline.model import Network
from hemline.thresholds import NEVER

PASSES = 3
"""Passes over the regions: more of them answer surer than right."""
BATCH = 512
"""Regions a step."""
RATE = 1e-3
"""Peak learning rate."""
DECAY = 0.1
"""Decoupled weight decay of the matrices."""


class Pooled(NamedTuple):
    """What the label head reads of every region, and what is known of it."""

    features: Tensor
    """(N, C) float16."""
    labels: Tensor
    """(N, L) int8: 1, 0 or -1."""
    doubt: Tensor
    """(N,) as in `Batch.doubt`."""
    one_of: Tensor
    """(M, L) bool, as in `Batch.one_of`."""
    one_of_region: Tensor
    """(M,) which region each set speaks of."""


def fit(
    weights: str | Path,
    config: Config,
    out: str | Path,
    *,
    views: int = 3,
    progress: Callable[[str, int, int], object] = lambda *_: None,
) -> Report:
    """Fit the label head of `weights`, measure the network on the photos held out, and write it.

    Args:
        weights: A `.safetensors` checkpoint.
        config: The recipe whose data and augmentation are taken; its `epochs` and rates are not.
        out: The checkpoint to write.
        views: Passes over the recipe's data, each seen otherwise.
        progress: Is told of each part: its name, steps done, steps in all.

    Raises:
        ConfigError: the recipe has another label space, or its data say nothing of labels that the weights answer.
        DataError: a dataset is missing or damaged.
        WeightsError: the weights are missing or damaged, or `out` is no `.safetensors` file in a folder that is there.
        UnwritableError: `out` cannot be written.
    """
    out = Path(out)
    if out.suffix.lower() != ".safetensors" or not out.absolute().parent.is_dir():
        raise WeightsError(f"{out}: weights are written to a .safetensors file in a folder that is there")
    network, metadata = load_network(weights)
    space = label_space(config)
    if (space.mask_names, [x.name for x in space.labels]) != (
        metadata.labels.mask_names, [x.name for x in metadata.labels.labels]
    ):  # fmt: skip
        raise ConfigError(f"labels: {weights} speaks {metadata.labels.name}, with other words than {config.labels}")
    share = float(metadata.recipe.get("validation", VALIDATION_SHARE))  # what the trunk saw is not measured on
    config = replace(config, canvas=metadata.canvas, validation=share, split=split_of_recipe(metadata.recipe))
    before, held_out = metadata.data, held_out_of(metadata.data)
    sources = open_sources(config, space, held_out)
    sampler = EpochSampler(sources, batch_size=config.batch_size, seed=config.seed)
    loader = make_loader(sources, sampler, config, pin_memory=False)
    parts: list[Pooled] = []
    for sampler.epoch in range(views):
        for done, batch in enumerate(batches(loader), start=1):
            parts.append(pool(network, batch))
            progress("pooling", sampler.epoch * len(sampler) + done, views * len(sampler))
    torch.manual_seed(config.seed)
    pooled = join(parts)
    if lost := _lost(pooled, metadata):
        raise ConfigError(f"data: nothing here speaks of {', '.join(lost)}: name every set that taught {weights} too")
    fit_head(network.label_head, pooled, space, progress=progress)
    data = described(config, sources, held_out)
    metadata = replace(metadata, data=data, scores=None)  # those of the head before
    report = score_network(network, sources, metadata, device=torch.device("cpu"))
    names = {entry["name"] for entry in data}
    metadata = replace(
        at_best(metadata, report),
        data=[*data, *(entry for entry in before if entry["name"] not in names)],
        recipe={**metadata.recipe, "init": str(weights)},
    )
    save(out, network.state_dict(), metadata)
    return report


def _lost(pooled: Pooled, metadata: Metadata) -> list[str]:
    """Groups that the weights answer and the regions say nothing of: a head fitted without them would forget them."""
    known = (pooled.labels == 1).any(0) | pooled.one_of.any(0)     # a no alone teaches nothing to answer
    answered = torch.tensor(metadata.label_thresholds) < NEVER
    slices = metadata.labels.label_slices.items()
    return [name for name, part in slices if answered[part].any() and not known[part].any()]


@torch.inference_mode()
def pool(network: Network, batch: Batch) -> Pooled:
    """What the label head reads of the regions of a batch of which something is known."""
    dense = network.dense(batch.pixels)
    targets = mask_targets(batch, dense.logits.shape[-2:])
    features = network.label_head.pool(dense.maps, region_masks(dense.logits, batch, targets))     # (B, R, C)
    known = (batch.labels >= 0).any(2)                                                             # (B, R)
    known[batch.one_of_region[:, 0], batch.one_of_region[:, 1]] = True
    number = known.flatten().cumsum(0) - 1
    owner = number[batch.one_of_region[:, 0] * known.shape[1] + batch.one_of_region[:, 1]]
    return Pooled(features[known].half(), batch.labels[known], batch.doubt[known], batch.one_of, owner)


def join(parts: list[Pooled]) -> Pooled:
    """One after the other."""
    begins = torch.tensor([0, *(len(part.labels) for part in parts)]).cumsum(0)
    owners = [part.one_of_region + begin for part, begin in zip(parts, begins[:-1], strict=True)]
    features, labels, doubt, one_of = (torch.cat(tensors) for tensors in list(zip(*parts, strict=True))[:4])
    return Pooled(features, labels, doubt, one_of, torch.cat(owners))


def fit_head(
    head: MultiLabel,
    pooled: Pooled,
    space: LabelSpace,
    *,
    passes: int = PASSES,
    progress: Callable[[str, int, int], object] = lambda *_: None,
) -> None:
    """Train a label head, in place, on what was pooled; every group weighs the same.

    Args:
        head: Begins where it stands.
        pooled: What it reads and what is known.
        space: Names the groups.
        passes: Over all regions.
        progress: Is told of each pass.
    """
    matrices = [p for p in head.parameters() if p.ndim > 1]
    others = [p for p in head.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": DECAY}, {"params": others, "weight_decay": 0.0}], lr=RATE
    )
    num_steps = passes * math.ceil(len(pooled.labels) / BATCH)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, num_steps)
    place = torch.full((len(pooled.labels),), -1)
    head.train()
    for done in range(1, passes + 1):
        for rows in _shuffled(len(pooled.labels)):
            place[rows] = torch.arange(len(rows))
            where = place[pooled.one_of_region]
            asked = where >= 0
            logits = head.classify(pooled.features[rows].float()[:, None])                         # (n, 1, L)
            batch = _as_batch(pooled, rows, asked, where)
            terms = label_terms(logits, batch, space) | choice_terms(logits, batch, space)
            loss = torch.stack([term.mean() for term in terms.values()]).sum()
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            nn.utils.clip_grad_norm_(head.parameters(), 1.0)
            optimizer.step()
            scheduler.step()
            place[rows] = -1
        progress("fitting", done, passes)
    head.eval()


def _shuffled(num: int) -> list[Tensor]:
    """Rows of each step of one pass."""
    order = torch.randperm(num)
    return [order[begin : begin + BATCH] for begin in range(0, num, BATCH)]


def _as_batch(pooled: Pooled, rows: Tensor, asked: Tensor, where: Tensor) -> Batch:
    """The rows as photos of one region each, without pixels."""
    nothing = torch.empty(0)
    return Batch(
        pixels=nothing,
        valid=nothing,
        segments=nothing,
        targets=nothing,
        region_segments=nothing,
        region_classes=nothing,
        labels=pooled.labels[rows][:, None],
        doubt=pooled.doubt[rows][:, None],
        one_of=pooled.one_of[asked],
        one_of_region=torch.stack([where[asked], torch.zeros_like(where[asked])], dim=1),
    )
