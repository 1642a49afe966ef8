"""Joint training of masks, categories and attributes.

    train(config)      opens the data, builds the network, and loops over epochs
    train_epoch(...)   one pass over the data
    train_step(...)    one step of the optimizer
    validate(...)      the table after an epoch

A run's folder holds `config.yaml` as run, `best.safetensors` and `last.safetensors` (averaged weights with all that
prediction needs), `state.pt` (what `--resume` needs) and `metrics.jsonl`. Started by `torchrun`, several processes
train one network (`hemline.ranks`); the first of them writes all files.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import yaml
from timm.utils.model_ema import ModelEmaV3
from torch import nn
from torch.utils.data import DataLoader

from hemline import __version__
from hemline._reading import path_of
from hemline._run import Clock, Run, epoch_report, stopped_by_signals
from hemline.checkpoint import load_state, save, whole_file
from hemline.config import Config, check
from hemline.data import growth, label_space
from hemline.data.balance import Weights, weights_of
from hemline.data.carriers import count_pairs, narrowed
from hemline.data.loading import EpochSampler, Source, batches, described, make_loader, open_sources
from hemline.data.sample import Batch
from hemline.errors import ConfigError, DeviceError, HemlineError, StoppedError
from hemline.evaluate import Report, score_network
from hemline.finetune import refuse_several, teach, teaches_new_labels_alone, with_direct
from hemline.instance_losses import InstanceLoss
from hemline.instance_model import InstanceNetwork
from hemline.labels import OF_INIT, LabelSpace
from hemline.losses import JointLoss
from hemline.metadata import Metadata
from hemline.model import Network, build, build_instances, finds_instances
from hemline.optim import make_optimizer, make_scheduler
from hemline.ranks import Ranks, find_ranks, joined
from hemline.trial import photos_at_once, starting_weights
from hemline.watch import EpochReport, StepReport, Watcher, Watchers

SAVE_EVERY = 300.0
"""Seconds between saves of the training state inside an epoch."""


def train(
    config: Config, *, head: nn.Module | None = None, resume: bool = False, watcher: Watcher | None = None
) -> Path:
    """Train a network and return the path of its best checkpoint.

    Args:
        config: The recipe, from `load_config` or built in Python.
        head: A mask head of your own instead of the recipe's; its contract stands in `hemline.heads`.
        resume: Go on with the run of this name instead of beginning it.
        watcher: Told of every step and every validation.

    Raises:
        ConfigError: something is wrong with the recipe; said before any data is read.
        DataError: a dataset is missing or damaged.
        DeviceError: the device is not here.
        StoppedError: Ctrl-C or SIGTERM; the last state is kept and `resume=True` goes on.
    """
    check(config, own_head=head is not None)
    ranks = find_ranks()
    device = pick_device(config.device, ranks.local_rank)
    with joined(ranks, device):
        return _train(config, head, ranks, device, resume, watcher)


def _train(
    config: Config, head: nn.Module | None, ranks: Ranks, device: torch.device, resume: bool, watcher: Watcher | None
) -> Path:
    folder = path_of(config.out) / config.name
    if not resume and (folder / "state.pt").exists():
        raise ConfigError(f"{folder} already holds a run: go on with --resume, or choose another name=...")
    state = load_state(folder / "state.pt") if resume else None
    grown = growth(config) if config.labels == OF_INIT else None
    space = label_space(config) if grown is None else grown.space
    asked, config = config, config if grown is None else with_direct(config, grown)
    network = _network(config, space, head)
    sources = open_sources(config, space)
    if grown is not None and teaches_new_labels_alone(config):
        refuse_several(ranks)
        _write_config(asked, folder)
        watchers = Watchers([watcher] if watcher else [])
        try:
            return teach(config, grown, network, sources, device, folder, state, watchers)
        finally:
            watchers.end()
    weights = weights_of(sources, config, space)
    run = _set_up(config, network, space, sources, device, folder, weights, ranks)
    pairs = count_pairs(sources, space)
    answered = narrowed(space, pairs)                    # what the weights will say; the data go on as they were opened
    fewest = replace(config, batch_size=min(config.batch_size, run.sampler.num_photos))
    if photos_at_once(fewest) == 1 < photos_at_once(config):         # one step an epoch, of all photos there are
        check(fewest, own_head=head is not None)
    if state is not None:
        run.restore(state)
    watchers = Watchers([each for each in (watcher,) if each is not None and ranks.first])
    if ranks.first:
        _write_config(asked, folder)                     # without what the data filled in
    watchers.begin(config, folder, str(device), run.sampler.num_photos)
    for kind, each in weights.named(space).items():
        watchers.weighed(kind, each)
    one_by_one = isinstance(network, InstanceNetwork)
    loader = make_loader(sources, run.sampler, config, pin_memory=device.type == "cuda", one_by_one=one_by_one)
    try:
        with stopped_by_signals(run):
            while run.epoch < config.epochs:
                last = train_epoch(run, loader, config, watchers)
                report, best = None, False
                if (run.epoch + 1) % config.validate_every == 0 or run.epoch + 1 == config.epochs:
                    report = validate(run, config, answered, sources)
                    best = report.headline > run.best
                    run.best = max(run.best, report.headline)
                told = epoch_report(run, last, report, best=best)
                run.epoch, run.step, run.sums = run.epoch + 1, 0, {}
                if ranks.first:
                    _write(run, config, answered, sources, told, pairs.attributes)
                watchers.epoch(told)
                run.save()
    finally:
        watchers.end()
    return folder / "best.safetensors"


def train_epoch(
    run: Run, loader: DataLoader[Batch | HemlineError], config: Config, watchers: Watchers
) -> StepReport | None:
    """One pass over the data, from the step that the run stands at; what its last step told."""
    run.loss.train()
    run.sampler.epoch, run.sampler.start = run.epoch, run.step
    clock = Clock(run, config)
    pieces = clock.waited_for(batches(loader))
    report = None
    while run.step < len(run.sampler):
        train_step(run, pieces, config)
        report = clock.report()
        watchers.step(report)
        stop, due = run.ranks.any(run.stop, clock.since_save() > SAVE_EVERY)
        if stop or due:
            run.save()
            clock.saved()
        if stop:
            where = f"epoch {run.epoch + 1} of {config.epochs}"
            raise StoppedError(f"stopped in {where}; --resume goes on from {run.folder}")
    return report


def train_step(run: Run, pieces: Iterator[Batch], config: Config) -> None:
    """One step of the optimizer.

    Raises:
        StoppedError: the loss or its gradient is not finite; the weights are left as they are.
    """
    run.optimizer.zero_grad(set_to_none=True)
    told = []
    for piece in range(1, config.grad_accum_steps + 1):
        batch = next(pieces).to(run.device)
        with nullcontext() if piece == config.grad_accum_steps else run.ranks.alone(run.model):
            with run.autocast():
                terms = run.model(batch)
            losses, means = run.ranks.means(terms)
            run.scaler.scale(run.loss.task_weights(losses) / config.grad_accum_steps).backward()
        told.append(means)
    run.scaler.unscale_(run.optimizer)
    norm = nn.utils.clip_grad_norm_(run.loss.parameters(), config.clip_grad)
    run.hear(list(losses), torch.stack(told).mean(0), norm, config)
    run.scaler.step(run.optimizer)
    run.scaler.update()
    run.scheduler.step()
    run.step += 1
    run.average.update(run.loss.network, step=run.epoch * len(run.sampler) + run.step)


def validate(run: Run, config: Config, space: LabelSpace, sources: list[Source]) -> Report:
    """Measure the averaged weights on the photos held out."""
    network: Network | InstanceNetwork = run.average.module
    network.eval()
    metadata = _metadata(run, config, space, sources, {})
    return score_network(network, sources, metadata, device=run.device)


def pick_device(name: str, number: int = 0) -> torch.device:
    """The device asked for; `auto` is the GPU where there is one.

    Args:
        name: `auto`, `cpu` or `cuda`.
        number: Which GPU.

    Raises:
        DeviceError: a GPU was asked for and there is none.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise DeviceError("device=cuda: torch sees no GPU here; take device=cpu, or install a torch build for your GPU")
    if name == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    if number >= (here := torch.cuda.device_count()):
        raise DeviceError(f"process {number + 1} of this machine finds {here} GPUs: start {here} processes at most")
    return torch.device("cuda", number)


def _network(config: Config, space: LabelSpace, head: nn.Module | None) -> Network | InstanceNetwork:
    torch.manual_seed(config.seed)
    make: Callable[..., Network | InstanceNetwork] = build_instances if finds_instances(config, head) else build
    network = make(config, space, head=head, trunk_weights=config.init is None)
    if config.init is not None:
        network.load_state_dict(starting_weights(config, network.state_dict(), space), strict=False)
    if isinstance(network, Network):
        network.set_mask_thresholds(torch.full((space.num_masks,), config.mask_probability))
    return network


def _set_up(
    config: Config,
    network: Network | InstanceNetwork,
    space: LabelSpace,
    sources: list[Source],
    device: torch.device,
    folder: Path,
    weights: Weights,
    ranks: Ranks,
) -> Run:
    network.to(device).to(memory_format=torch.channels_last)
    on_device = [None if each is None else torch.from_numpy(each).to(device, torch.float32) for each in weights]
    loss: JointLoss | InstanceLoss
    if isinstance(network, Network):
        loss = JointLoss(network, space, config.loss, *on_device)
    else:
        loss = InstanceLoss(network, space, config.loss)
    average = ModelEmaV3(network, decay=config.model_ema_decay, use_warmup=True)
    optimizer = make_optimizer(loss, config)
    sampler = EpochSampler(
        sources,
        batch_size=config.batch_size,
        seed=config.seed,
        pieces=config.grad_accum_steps,
        rank=ranks.rank,
        size=ranks.size,
    )
    dtype = precision_of(config, device)
    return Run(
        loss=loss.to(device),
        model=ranks.wrap(loss, device),
        optimizer=optimizer,
        scheduler=make_scheduler(optimizer, config, config.epochs * len(sampler)),
        scaler=torch.amp.GradScaler(device.type, enabled=dtype == torch.float16),
        average=average,
        sampler=sampler,
        device=device,
        dtype=dtype,
        folder=folder,
        ranks=ranks,
    )


def precision_of(config: Config, device: torch.device) -> torch.dtype:
    """What the network computes in on a device."""
    if config.precision == "auto":
        on_gpu = device.type == "cuda" and torch.cuda.is_bf16_supported()
        return torch.bfloat16 if on_gpu else torch.float32
    return {"float32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[config.precision]


def _metadata(
    run: Run, config: Config, space: LabelSpace, sources: list[Source], metrics: dict[str, Any]
) -> Metadata:
    return Metadata(
        name=config.name,
        labels=space,
        canvas=config.canvas,
        mask_thresholds=(config.mask_probability,) * space.num_masks,
        label_thresholds=(0.5,) * space.num_labels,
        finds="instances" if isinstance(run.loss, InstanceLoss) else "classes",
        recipe=config.to_dict(),
        metrics=metrics,
        data=described(config, sources),
        license=config.license or "not stated",
        hemline_version=__version__,
    )


def _write_config(config: Config, folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"out: {folder} cannot be made: {error.strerror or error}") from error
    with whole_file(folder / "config.yaml") as temporary:
        temporary.write_text(yaml.safe_dump(config.to_dict(), sort_keys=False), encoding="utf-8")


def _write(
    run: Run,
    config: Config,
    space: LabelSpace,
    sources: list[Source],
    told: EpochReport,
    pairs: dict[str, dict[str, int]],
) -> None:
    """The weights of an epoch that was measured, and its line of figures."""
    if told.report is not None:
        metadata = replace(
            _metadata(run, config, space, sources, told.report.to_dict()),
            label_thresholds=told.report.label_thresholds,
            instance_scores=told.report.instance_scores,
            instance_areas=told.report.instance_areas,
            pairs=pairs,
        )
        network: Network | InstanceNetwork = run.average.module
        for name in ("last", "best") if told.best else ("last",):
            save(run.folder / f"{name}.safetensors", network.state_dict(), metadata)
    file = run.folder / "metrics.jsonl"
    with whole_file(file) as temporary:
        temporary.write_text("\n".join([*_lines_before(told.epoch, file), told.line()]) + "\n", encoding="utf-8")


def _lines_before(epoch: int, file: Path) -> list[str]:
    """What `metrics.jsonl` says of earlier epochs: a resumed run may measure an epoch once more."""
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    opening = re.compile(r'\{"epoch": (\d+),.*\}$')
    return [line for line in lines if (found := opening.match(line)) and int(found[1]) < epoch]
