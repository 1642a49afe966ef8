"""Teaches new labels alone: `train` where all that weights know is frozen (`hemline configs finetune`).

Trunk, masks and all that the label head knows stay bit for bit, so what its classifiers read of a photo never changes.
It is pooled once for each photo, as an answer sees it, and kept. The new labels' rows are fitted to that in seconds;
cross-validation says for which of them the photos were enough (`hemline.enough`), and the others stay silent.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from hemline import __version__
from hemline._reading import path_of
from hemline._run import stopped_by_signals
from hemline.checkpoint import load, save, save_state
from hemline.config import Config
from hemline.data import VALIDATION_SHARE
from hemline.data.loading import Item, Source, batches, described, make_loader
from hemline.data.own_words import Growth
from hemline.data.sample import Batch
from hemline.data.stratify import HELD_OUT, fingerprint
from hemline.enough import Rows, Taught, fit_rows, judge
from hemline.environment import append_start
from hemline.errors import ConfigError, DataError, StoppedError, WeightsError
from hemline.evaluate import Report, score_network
from hemline.instance_model import InstanceNetwork
from hemline.labels import Category, Label, LabelSpace
from hemline.losses import mask_targets, region_masks
from hemline.metadata import TAUGHT, Metadata
from hemline.model import Network
from hemline.ranks import Ranks
from hemline.run_files import write_config
from hemline.run_report import write_taught_report
from hemline.runtime import weights_file
from hemline.scores import grown
from hemline.thresholds import NEVER
from hemline.watch import EpochReport, StepReport, Watcher
from hemline.whole_files import whole_file

if TYPE_CHECKING:
    from hemline.begin import Opened

SAVE_EVERY = 300.0
"""Seconds between saves of what was pooled."""
MOST_SHOWN = 5
"""Rows of a table that are named, of those left out for one reason."""
ALL = frozenset({"backbone", "mask_head", "label_head"})


def with_direct(config: Config, grown: Growth) -> Config:
    """The recipe whose label head has the new labels, too."""
    new = [label for labels in grown.new.values() for label in labels]
    direct = tuple(dict.fromkeys([*(config.label_head.direct or ()), *new])) or None
    return replace(config, label_head=replace(config.label_head, direct=direct))


def teaches_new_labels_alone(config: Config) -> bool:
    """Whether a recipe freezes all that its weights know, to the end."""
    return set(config.freeze or ()) == ALL and config.freeze_epochs is None


def refuse_several(ranks: Ranks) -> None:
    """One process is enough.

    Raises:
        ConfigError: there are several.
    """
    if ranks.size > 1:
        raise ConfigError("freeze: new labels alone are learnt in minutes by one process; start it without torchrun")


@dataclass
class Pooled:
    """What was pooled so far: all that changes while a run goes on."""

    rows: list[Rows] = field(default_factory=list)
    """One entry a step."""
    stop: bool = False
    """Set by Ctrl-C and SIGTERM."""

    def save(self, file: Path) -> None:
        """Write what `--resume` needs."""
        save_state(file, {"pooled": [tuple(rows) for rows in self.rows]})

    @classmethod
    def restore(cls, state: dict[str, Any], labels: int, file: Path) -> Pooled:
        """Read what `save` wrote.

        Raises:
            WeightsError: the state is of another recipe.
        """
        rows = [Rows(*tensors) for tensors in state.get("pooled", [])]
        if "pooled" not in state or any(part.labels.shape[1] != labels for part in rows):
            raise WeightsError(f"{file} is of another recipe than this one, which teaches {labels} new labels alone")
        return cls(rows)


def teach(
    recipe: Config, opened: Opened, device: torch.device, folder: Path, state: dict[str, Any] | None, watcher: Watcher
) -> Path:
    """Fit the new labels' rows, in place, and write the weights; returns their path.

    Args:
        recipe: As it was given.
        opened: The same with what it names; its `init` holds all that is known.
        device: What the network runs on.
        folder: The run's own.
        state: Where it goes on; None begins.
        watcher: Told how it goes.

    Raises:
        ConfigError: nothing is new, or the weights are not of such a network.
        StoppedError: Ctrl-C or SIGTERM; what was pooled is kept.
    """
    begun = time.perf_counter()
    config, _, network, sources, grown = opened
    assert grown is not None
    names = [(group, label) for group, labels in grown.new.items() for label in labels]
    known = _known(config, network, names)
    space = grown.space
    positions = [space.find(label).index for _, label in names]
    steps = _steps(sources, config.batch_size)
    pooled = Pooled() if state is None else Pooled.restore(state, len(names), folder / "state.pt")
    write_config(recipe, folder)
    append_start(folder, num_processes=1, resumed_at=None if state is None else (0, len(pooled.rows)))
    watcher.begin(config, folder, str(device), sum(map(len, steps)))
    if config.loggers is not None:
        watcher.note(f"loggers: {', '.join(config.loggers)} not told: new labels alone are fitted, without steps")
    for line in [*grown.lines(), *_left_out(config, sources)]:
        watcher.note(line)
    network.to(device).eval()
    _pool(config, network, sources, steps, positions, pooled, device, folder, watcher)
    rows = Rows(*(torch.cat(parts) for parts in zip(*pooled.rows, strict=True)))
    if not len(rows.labels):
        raise DataError(f"{config.name}: no photo that trains says yes or no of a new label")
    rows = rows._replace(group=torch.from_numpy(np.unique(rows.group.numpy(), return_inverse=True)[1]))
    taught = judge(rows, names, seed=config.seed)
    layer = network.label_head.direct
    assert layer is not None
    direct = sorted(space.find(name).index for name in config.label_head.direct or ())
    losses = _fit(layer, rows, names, [direct.index(position) for position in positions])
    space = carried(space, grown.new, sources)
    data = _data(config, sources)
    metadata = _metadata(config, known, space, taught, data)
    report = None
    if any(source.held_out for source in sources):
        about = replace(metadata, data=data)             # in the order of the sources
        report = score_network(network, sources, about, device=device, fit_scores=False)
    metadata = replace(metadata, metrics={**metadata.metrics, **({"report": report.to_dict()} if report else {})})
    for name in ("last", "best"):
        save(folder / f"{name}.safetensors", network.state_dict(), metadata)
    told = _told(losses, report, time.perf_counter() - begun)
    with whole_file(folder / "metrics.jsonl") as temporary:
        temporary.write_text(told.line() + "\n", encoding="utf-8")
    write_taught_report(folder, config, [asdict(one) for one in taught])
    watcher.epoch(told)
    return folder / "best.safetensors"


def _known(config: Config, network: Network | InstanceNetwork, names: Sequence[object]) -> Metadata:
    """What the weights to begin with say of themselves.

    Raises:
        ConfigError: they are of another network, or nothing is new.
    """
    weights = path_of(weights_file(str(config.init), ".safetensors"))
    state, metadata = load(weights)
    if isinstance(network, InstanceNetwork) or metadata.finds == "instances":
        raise ConfigError("freeze: labels are taught alone to networks that draw classes; leave out `freeze` here")
    own = network.state_dict()
    lacking = [name for name in own if name not in state and not name.startswith("label_head.direct")]
    other = [name for name in own if name in state and own[name].shape != state[name].shape]
    other = [name for name in other if not name.startswith("label_head.direct")]
    if lacking or other:
        raise ConfigError(
            f"freeze: {weights} has no {(lacking or other)[0]} of that size, and what is frozen must come from there: "
            "leave canvas, backbone, head and label_head out of the recipe"
        )
    if not names:
        raise ConfigError(f"data.0: {weights} know all words of {config.data[0].path}; there is nothing to learn")
    return metadata


def _steps(sources: Sequence[Source], batch_size: int) -> list[list[Item]]:
    """All photos that train, in their order."""
    photos = [(number, photo) for number, source in enumerate(sources) for photo in source.indices]
    items = [Item((0, 0, position), *photo) for position, photo in enumerate(photos)]
    return [items[begin : begin + batch_size] for begin in range(0, len(items), batch_size)]


def _pool(
    config: Config,
    network: Network | InstanceNetwork,
    sources: Sequence[Source],
    steps: Sequence[list[Item]],
    positions: Sequence[int],
    pooled: Pooled,
    device: torch.device,
    folder: Path,
    watcher: Watcher,
) -> None:
    """Pool all photos that are not pooled yet."""
    assert isinstance(network, Network)
    names = [(number, group) for number, source in enumerate(sources) for group in source.dataset.groups]
    groups = {name: i for i, name in enumerate(dict.fromkeys(names))}
    first = len(pooled.rows)
    loader = make_loader(sources, steps[first:], config, pin_memory=device.type == "cuda", varied=False)
    begun = saved = time.perf_counter()
    with stopped_by_signals(pooled):
        for step, batch in enumerate(batches(loader), start=first):
            items = steps[step]
            of_group = [groups[item.source, sources[item.source].dataset.groups[item.photo]] for item in items]
            pooled.rows.append(pool_rows(network, batch.to(device), items, of_group, positions))
            watcher.step(_step(step, steps, first, time.perf_counter() - begun))
            if pooled.stop or time.perf_counter() - saved > SAVE_EVERY:
                pooled.save(folder / "state.pt")
                saved = time.perf_counter()
            if pooled.stop:
                done = sum(map(len, steps[: step + 1]))
                raise StoppedError(f"stopped at photo {done}; --resume goes on from {folder}")
    pooled.save(folder / "state.pt")


@torch.inference_mode()
def pool_rows(
    network: Network, batch: Batch, items: Sequence[Item], groups: Sequence[int], positions: Sequence[int]
) -> Rows:
    """What the direct classifiers read of the regions of which a new label is known; doubtful ones teach nothing.

    Args:
        network: In evaluation mode.
        batch: On its device.
        items: Which photos these are.
        groups: The group of each.
        positions: Channels of the new labels.
    """
    dense = network.dense(batch.pixels)
    rivals = network.layers[0] if network.exclusive else None
    masks = region_masks(dense.logits, batch, mask_targets(batch, dense.logits.shape[-2:]), rivals)
    features = network.label_head.norm(network.label_head.pool(dense.maps, masks))                 # (B, R, C)
    labels = batch.labels[:, :, list(positions)]
    known = (labels >= 0).any(2) & (batch.doubt == 0)                                               # (B, R)
    photo = torch.tensor([item.seed[2] for item in items])[:, None].expand(known.shape)
    group = torch.tensor(list(groups))[:, None].expand(known.shape)
    whole = ~(batch.region_segments.any(2) | batch.region_classes.any(2))
    known, here = known.cpu(), known
    return Rows(features[here].half().cpu(), labels[here].cpu(), photo[known], group[known], whole[here].cpu())


def _fit(layer: nn.Linear, rows: Rows, names: Sequence[tuple[str, str]], at: Sequence[int]) -> dict[str, float]:
    """Set rows of a layer to what all photos teach; returns the mean loss of each group of labels.

    Args:
        layer: Reads the features.
        rows: Of all photos.
        names: The group and the name of each new label.
        at: Its row.
    """
    told = ((rows.labels == 1).any(0) & (rows.labels == 0).any(0)).nonzero()[:, 0]      # the others stay unlearnt
    labels = rows.labels[:, told]
    weight, bias = fit_rows(rows.features, labels, rows.photo)
    with torch.no_grad():
        rows_of = torch.tensor(at)[told].to(layer.weight.device)
        layer.weight[rows_of] = weight.to(layer.weight.device)
        layer.bias[rows_of] = bias.to(layer.bias.device)
    logits = F.linear(rows.features.float(), weight, bias)
    known = (labels >= 0).float()
    bce = F.binary_cross_entropy_with_logits(logits, (labels == 1).float(), weight=known, reduction="none")
    groups = [names[i][0] for i in told.tolist()]
    return {
        group: float(bce[:, own].sum() / known[:, own].sum())
        for group in dict.fromkeys(groups)
        if (own := [i for i, name in enumerate(groups) if name == group])
    }


def carried(space: LabelSpace, new: Mapping[str, Sequence[str]], sources: Sequence[Source]) -> LabelSpace:
    """The label space whose new labels are carried by the categories that they were ever asked of, in training photos.

    Those of a group that was known are carried by what carries its other labels, too; where no category is known, and
    in `OTHER_CATEGORY`, all stays as it is.

    Args:
        space: The grown label space.
        new: Of each group, its new labels.
        sources: The datasets.
    """
    said = [source.dataset.photo_labels(photo) for source in sources for photo in source.indices]
    labels = np.stack(said)                                                             # (P, L)
    groups = []
    for group in space.groups:
        own = [label for label in group.labels if label.name in new.get(group.name, ())]
        told = (labels[:, [label.index for label in own]] >= 0).any(1)
        asked = {c.name for c in space.categories if (labels[told, c.index] == 1).any()}
        asked |= {name for label in group.labels if label not in own for name in label.carried_by}
        changed = [
            replace(label, carried_by=label.carried_by & asked or label.carried_by) if label in own else label
            for label in group.labels
        ]
        groups.append(replace(group, labels=tuple(changed)))
    return replace(space, groups=tuple(groups))


def _data(config: Config, sources: Sequence[Source]) -> list[dict[str, Any]]:
    """What the weights say of this run's datasets, each with the groups that were held out, if any."""
    held_out = [sorted({fingerprint(s.dataset.groups[i]) for i in s.held_out}) for s in sources]
    entries = described(config, sources)
    return [{**entry, HELD_OUT: groups} for entry, groups in zip(entries, held_out, strict=True)]


def _metadata(
    config: Config, known: Metadata, space: LabelSpace, taught: Sequence[Taught], data: list[dict[str, Any]]
) -> Metadata:
    """What was known of the old labels, and what was found of the new ones."""
    before: tuple[Category | Label, ...] = (*known.labels.categories, *known.labels.labels)
    new = {one.label: one.threshold for one in taught}
    thresholds = {thing.name: known.label_thresholds[thing.index] for thing in before} | new
    of_photo = {thing.name: threshold for thing, threshold in zip(before, known.photo_thresholds, strict=False)} | new
    things: tuple[Category | Label, ...] = (*space.categories, *space.labels)
    split: dict[str, Any] = {key: known.recipe[key] for key in ("validation", "split") if key in known.recipe}
    return replace(
        known,
        name=config.name,
        labels=space,
        label_thresholds=tuple(thresholds.get(thing.name, NEVER) for thing in things),
        photo_thresholds=tuple(of_photo.get(thing.name, NEVER) for thing in things) if known.photo_thresholds else (),
        scores=None if known.scores is None else grown(known.scores, known.labels, space),
        recipe={**config.to_dict(), "validation": VALIDATION_SHARE, **split},           # of the sets that were known
        metrics={**known.metrics, TAUGHT: [*known.metrics.get(TAUGHT, []), *map(asdict, taught)]},
        data=[*known.data, *data],
        license=config.license or known.license,
        hemline_version=__version__,
    )


def _left_out(config: Config, sources: Sequence[Source]) -> list[str]:
    """In sentences: the rows of the datasets that are not used, and why."""
    said = []
    for data, source in zip(config.data, sources, strict=True):
        problems = getattr(source.dataset, "problems", ())
        for kind, number in Counter(problem.kind for problem in problems).items():
            some = [f"{problem.row} ({problem.what})" for problem in problems if problem.kind == kind]
            more = ", ..." if number > MOST_SHOWN else ""
            said.append(f"{data.name}: {number} x {kind}: {'; '.join(some[:MOST_SHOWN])}{more}")
    return said


def _step(step: int, steps: Sequence[list[Item]], first: int, seconds: float) -> StepReport:
    done = sum(map(len, steps[first : step + 1]))
    left = sum(map(len, steps[step + 1 :]))
    return StepReport(
        epoch=0, step=step + 1, num_steps=len(steps), loss=0.0, losses={}, lr=0.0, photos_per_second=done / seconds,
        data_wait=0.0, gpu_memory=None, seconds_left=left * seconds / done,
    )  # fmt: skip


def _told(losses: dict[str, float], report: Report | None, seconds: float) -> EpochReport:
    return EpochReport(
        epoch=1, loss=sum(losses.values()), losses=losses, lr=0.0, photos_per_second=None, data_wait=None,
        gpu_memory=None, seconds=seconds, report=report, best=True,
    )  # fmt: skip
