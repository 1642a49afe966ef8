"""Joint training of masks, categories and attributes.

    train(config)      opens the data, builds the network, and loops over epochs
    train_epoch(...)   the loop itself
    validate(...)      the table after each epoch

A run's folder holds `config.yaml` as run, `best.safetensors` and `last.safetensors` (averaged weights with all that
prediction needs), `state.pt` (what `--resume` needs) and `metrics.jsonl`.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
import yaml
from timm.utils.model_ema import ModelEmaV3
from torch import Tensor, nn
from torch.utils.data import DataLoader

from hemline import __version__
from hemline._reading import path_of
from hemline._run import Run, stopped_by_signals
from hemline.checkpoint import load_state, save, whole_file
from hemline.config import Config, check
from hemline.data import label_space
from hemline.data.balance import Weights, weights_of
from hemline.data.carriers import count_pairs, narrowed
from hemline.data.loading import EpochSampler, Source, batches, described, make_loader, open_sources
from hemline.data.sample import Batch
from hemline.errors import ConfigError, DeviceError, HemlineError, StoppedError
from hemline.evaluate import Report, score_network
from hemline.instance_losses import INSTANCES, InstanceLoss
from hemline.instance_model import InstanceNetwork
from hemline.labels import LabelSpace
from hemline.losses import AUXILIARY, CHOICE, PRESENCE, JointLoss
from hemline.metadata import Metadata
from hemline.model import Network, build, build_instances, finds_instances
from hemline.trial import starting_weights

SAVE_EVERY = 300.0
"""Seconds between saves of the training state inside an epoch."""


class StepReport(NamedTuple):
    """What one step tells whoever watches."""

    epoch: int
    step: int
    num_steps: int
    """Steps of the epoch."""
    losses: dict[str, float]
    lr: float
    photos_per_second: float
    seconds_left: float
    """To the end of the run, validation not counted."""


class Watcher(Protocol):
    """Who is told how a run goes; `hemline.console` draws it."""

    def begin(self, config: Config, folder: Path, device: str, num_photos: int) -> None:
        """Training starts: where its files go, on what, with how many training photos."""

    def weighed(self, kind: str, weights: dict[str, float]) -> None:
        """The recipe asks for class weights or positive weights: these are they."""

    def step(self, report: StepReport) -> None:
        """A step is done."""

    def validated(self, epoch: int, report: Report, best: bool) -> None:
        """An epoch is done and measured."""


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
    device = pick_device(config.device)
    folder = path_of(config.out) / config.name
    if not resume and (folder / "state.pt").exists():
        raise ConfigError(f"{folder} already holds a run: go on with --resume, or choose another name=...")
    state = load_state(folder / "state.pt") if resume else None
    space = label_space(config)
    network = _network(config, space, head)
    sources = open_sources(config, space)
    weights = weights_of(sources, config, space)
    run = _set_up(config, network, space, sources, device, folder, weights)
    pairs = count_pairs(sources, space)
    answered = narrowed(space, pairs)                    # what the weights will say; the data go on as they were opened
    if run.sampler.num_photos == 1 < config.batch_size:
        check(replace(config, batch_size=1), own_head=head is not None)
    if state is not None:
        run.restore(state)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"out: {folder} cannot be made: {error.strerror or error}") from error
    with whole_file(folder / "config.yaml") as temporary:
        temporary.write_text(yaml.safe_dump(config.to_dict(), sort_keys=False), encoding="utf-8")
    if watcher is not None:
        watcher.begin(config, folder, str(device), run.sampler.num_photos)
        for kind, each in weights.named(space).items():
            watcher.weighed(kind, each)
    one_by_one = isinstance(network, InstanceNetwork)
    loader = make_loader(sources, run.sampler, config, pin_memory=device.type == "cuda", one_by_one=one_by_one)
    with stopped_by_signals(run):
        while run.epoch < config.epochs:
            train_epoch(run, loader, config, watcher)
            run.epoch, run.step = run.epoch + 1, 0
            if run.epoch % config.validate_every == 0 or run.epoch == config.epochs:
                report = validate(run, config, answered, sources)
                best = report.headline > run.best
                run.best = max(run.best, report.headline)
                _write(run, config, answered, sources, report, pairs.attributes, best=best)
                if watcher is not None:
                    watcher.validated(run.epoch, report, best)
            run.save()
    return folder / "best.safetensors"


def train_epoch(
    run: Run, loader: DataLoader[Batch | HemlineError], config: Config, watcher: Watcher | None
) -> None:
    """One pass over the data, from the step that the run stands at."""
    run.loss.train()
    run.sampler.epoch, run.sampler.start = run.epoch, run.step
    num_steps = len(run.sampler)
    autocast = torch.autocast(run.device.type, torch.bfloat16, enabled=_use_bf16(config, run.device))
    begun, saved, first = time.perf_counter(), time.perf_counter(), run.step
    for batch in batches(loader):
        batch = batch.to(run.device)
        with autocast:
            losses = {name: term.mean() for name, term in run.loss(batch).items()}
        total = weighted_sum(losses, config)
        if not torch.isfinite(total):
            terms = ", ".join(f"{name} {loss.item():.3g}" for name, loss in losses.items())
            raise _diverged(run, config, f"the loss is {total.item()} ({terms})")
        run.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(total)
        norm = nn.utils.clip_grad_norm_(run.loss.parameters(), config.clip)
        if not torch.isfinite(norm):
            raise _diverged(run, config, f"the gradient's norm is {norm.item()}")
        run.optimizer.step()
        run.scheduler.step()
        run.step += 1
        run.average.update(run.loss.network, step=run.epoch * num_steps + run.step)
        if watcher is not None:
            watcher.step(_report(run, config, losses, batch, time.perf_counter() - begun, run.step - first))
        if run.stop or time.perf_counter() - saved > SAVE_EVERY:
            run.save()
            saved = time.perf_counter()
        if run.stop:
            where = f"epoch {run.epoch + 1} of {config.epochs}"
            raise StoppedError(f"stopped in {where}; --resume goes on from {run.folder}")


def _diverged(run: Run, config: Config, what: str) -> StoppedError:
    kept = (run.folder / "state.pt").exists()
    advice = "and --resume goes on from the state last kept" if kept else "and begin anew: no state is kept yet"
    return StoppedError(
        f"{what} at epoch {run.epoch + 1}, step {run.step + 1}: lower lr={config.lr:g} {advice}"
    )


def weighted_sum(losses: dict[str, Tensor], config: Config) -> Tensor:
    """The one sum that is trained: masks, auxiliary outputs, instances, categories, attribute groups, choices."""
    nothing = losses["category"].new_zeros(())
    weights = config.loss
    of_masks = {name: weight for name, weight in weights.of_masks().items() if weight}
    auxiliary = {name: loss for name, loss in losses.items() if name.startswith(AUXILIARY)}
    choices = [loss for name, loss in losses.items() if name.startswith(CHOICE)]
    instances = {name: loss for name, loss in losses.items() if name.startswith(INSTANCES)}
    others = {*of_masks, *auxiliary, *instances, PRESENCE, "category"}
    groups = [loss for name, loss in losses.items() if name not in others and not name.startswith(CHOICE)]
    return (
        sum((weight * losses[name] for name, weight in of_masks.items()), nothing)
        + weights.auxiliary * sum((of_masks[name.split()[-1]] * loss for name, loss in auxiliary.items()), nothing)
        + weights.presence * losses.get(PRESENCE, nothing)
        + weights.instances * sum(instances.values(), nothing)
        + weights.category * losses["category"]
        + weights.attributes * sum(groups, nothing)
        + weights.choice * sum(choices, nothing)
    )


def validate(run: Run, config: Config, space: LabelSpace, sources: list[Source]) -> Report:
    """Measure the averaged weights on the photos held out."""
    network: Network | InstanceNetwork = run.average.module
    network.eval()
    metadata = _metadata(run, config, space, sources, {})
    return score_network(network, sources, metadata, device=run.device)


def pick_device(name: str) -> torch.device:
    """The device asked for; `auto` is the GPU where there is one.

    Raises:
        DeviceError: a GPU was asked for and there is none.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise DeviceError("device=cuda: torch sees no GPU here; take device=cpu, or install a torch build for your GPU")
    return torch.device("cuda" if name == "cuda" or (name == "auto" and torch.cuda.is_available()) else "cpu")


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
) -> Run:
    network.to(device).to(memory_format=torch.channels_last)
    on_device = [None if each is None else torch.from_numpy(each).to(device, torch.float32) for each in weights]
    loss: JointLoss | InstanceLoss
    if isinstance(network, Network):
        loss = JointLoss(network, space, config.loss, *on_device)
    else:
        loss = InstanceLoss(network, space, config.loss)
    optimizer = torch.optim.AdamW(_parameter_groups(network, config), lr=config.lr, fused=device.type == "cuda")
    sampler = EpochSampler(sources, batch_size=config.batch_size, seed=config.seed)
    num_steps = config.epochs * len(sampler)
    warmup = max(1, round(config.warmup * num_steps))
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min((step + 1) / warmup, 0.5 + 0.5 * math.cos(math.pi * min(1.0, step / num_steps))),
    )
    average = ModelEmaV3(network, decay=config.ema, use_warmup=True)
    return Run(loss, optimizer, scheduler, average, sampler, device, folder)


def _parameter_groups(network: nn.Module, config: Config) -> list[dict[str, Any]]:
    """Trunk and heads at their own rates; norms and biases without decay."""
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        trunk = name.startswith("backbone.")
        if trunk and config.backbone_lr_scale == 0:
            parameter.requires_grad_(False)
            continue
        groups.setdefault((trunk, parameter.ndim > 1), []).append(parameter)
    return [
        {
            "params": parameters,
            "lr": config.lr * (config.backbone_lr_scale if trunk else 1.0),
            "weight_decay": config.weight_decay if decays else 0.0,
        }
        for (trunk, decays), parameters in groups.items()
    ]


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


def _write(
    run: Run,
    config: Config,
    space: LabelSpace,
    sources: list[Source],
    report: Report,
    pairs: dict[str, dict[str, int]],
    *,
    best: bool,
) -> None:
    metadata = _metadata(run, config, space, sources, report.to_dict())
    metadata = replace(
        metadata,
        label_thresholds=report.label_thresholds,
        instance_scores=report.instance_scores,
        instance_areas=report.instance_areas,
        pairs=pairs,
    )
    network: Network | InstanceNetwork = run.average.module
    for name in ("last", "best") if best else ("last",):
        save(run.folder / f"{name}.safetensors", network.state_dict(), metadata)
    file = run.folder / "metrics.jsonl"
    line = json.dumps({"epoch": run.epoch, **report.summary()})
    with whole_file(file) as temporary:
        temporary.write_text("\n".join([*_lines_before(run.epoch, file), line]) + "\n", encoding="utf-8")


def _lines_before(epoch: int, file: Path) -> list[str]:
    """What `metrics.jsonl` says of earlier epochs: a resumed run may measure an epoch once more."""
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    opening = re.compile(r'\{"epoch": (\d+),.*\}$')
    return [line for line in lines if (found := opening.match(line)) and int(found[1]) < epoch]


def _report(
    run: Run, config: Config, losses: dict[str, Tensor], batch: Batch, seconds: float, done: int
) -> StepReport:
    num_steps = len(run.sampler)
    left = (config.epochs - run.epoch) * num_steps - run.step
    return StepReport(
        epoch=run.epoch,
        step=run.step,
        num_steps=num_steps,
        losses={name: loss.item() for name, loss in losses.items()},
        lr=float(run.scheduler.get_last_lr()[-1]),
        photos_per_second=done * len(batch.pixels) / seconds,
        seconds_left=left * seconds / done,
    )


def _use_bf16(config: Config, device: torch.device) -> bool:
    if config.precision == "auto":
        return device.type == "cuda" and torch.cuda.is_bf16_supported()
    return config.precision == "bf16"
