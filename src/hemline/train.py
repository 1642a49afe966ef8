"""Joint training of masks, categories and attributes.

    train(config)      opens the data, builds the network, and loops over epochs
    train_epochs(...)  all passes over the data, each measured
    train_epoch(...)   one of them
    train_step(...)    one step of the optimizer
    validate(...)      the table after an epoch

A run's folder holds `config.yaml` as run, `best.safetensors` and `last.safetensors` (averaged weights with all that
prediction needs), `state.pt` (what `--resume` needs) and `metrics.jsonl`. Started by `torchrun`, several processes
train one network (`hemline.ranks`); the first of them writes all files.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader

from hemline._held import held
from hemline._memory import keep_freed_memory
from hemline._reading import path_of
from hemline._run import Clock, Run, epoch_report, stopped_by_signals
from hemline._troubles import going_on, told_in_words
from hemline.begin import make_run, open_run, pick_device
from hemline.checkpoint import load_state
from hemline.config import Config, check
from hemline.data.balance import weights_of
from hemline.data.carriers import Pairs, count_pairs, narrowed
from hemline.data.loading import Source, batches, make_loader
from hemline.data.sample import Batch
from hemline.environment import append_start
from hemline.errors import ConfigError, HemlineError, StoppedError
from hemline.evaluate import Report, score_network
from hemline.finetune import refuse_several, teach, teaches_new_labels_alone
from hemline.instance_losses import InstanceLoss
from hemline.instance_model import InstanceNetwork
from hemline.labels import LabelSpace
from hemline.loggers import make_loggers
from hemline.model import Network
from hemline.optim import set_rates
from hemline.ranks import Ranks, find_ranks, joined
from hemline.run_files import metadata_of, write_config, write_epoch
from hemline.run_report import write_run_report
from hemline.trial import photos_at_once
from hemline.watch import StepReport, Watcher, Watchers

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
        StoppedError: Ctrl-C, SIGTERM, a full disk or memory, a device that failed, or a loss that is no number; the
            last state is kept and `resume=True` goes on.
    """
    ranks = find_ranks()
    folder = path_of(config.out) / config.name
    on_gpu = config.device != "cpu" and torch.cuda.is_available()
    with joined(ranks, on_gpu=on_gpu), told_in_words(config, folder), ExitStack() as stack:
        check(config, own_head=head is not None)
        device = pick_device(config.device, ranks.local_rank)
        if device.type == "cuda":
            torch.cuda.set_device(device)
        else:
            keep_freed_memory()
        ranks.agreed(lambda: stack.enter_context(held(folder)) if ranks.first else None)
        return _train(config, head, ranks, device, folder, resume, watcher)


def _train(
    config: Config,
    head: nn.Module | None,
    ranks: Ranks,
    device: torch.device,
    folder: Path,
    resume: bool,
    watcher: Watcher | None,
) -> Path:
    state = ranks.agreed(lambda: _kept(folder, resume))
    opened = open_run(config, head, ranks)
    recipe, (config, space, _, sources, grown) = config, opened
    told = [watcher] if watcher is not None and ranks.first else []
    if grown is not None and teaches_new_labels_alone(config):
        refuse_several(ranks)
        watchers = Watchers(told)
        try:
            return teach(recipe, opened, device, folder, state, watchers)
        finally:
            watchers.end()
    weights = weights_of(sources, config, space)
    run = make_run(opened, weights, device, folder, ranks)
    pairs = count_pairs(sources, space)
    answered = narrowed(space, pairs)                    # what the weights will say; the data go on as they were opened
    fewest = replace(config, batch_size=min(config.batch_size, run.sampler.num_photos))
    if photos_at_once(fewest) == 1 < photos_at_once(config):         # one step an epoch, of all photos there are
        check(fewest, own_head=head is not None)
    if not ranks.first:
        torch.manual_seed(config.seed + ranks.rank)      # dropout is not to be the same in all
    if state is not None:
        run.restore(state)
    if ranks.first:
        write_config(recipe, folder)
        append_start(folder, num_processes=ranks.size, resumed_at=(run.epoch, run.step) if resume else None)
        told += make_loggers(config, len(run.sampler), run.steps_done)
    watchers = Watchers(told)
    try:
        watchers.begin(config, folder, str(device), run.sampler.num_photos)
        for kind, each in weights.named(space).items():
            watchers.weighed(kind, each)
        with stopped_by_signals(run):
            train_epochs(run, config, sources, answered, pairs, watchers)
    finally:
        watchers.end()
    return folder / "best.safetensors"


def _kept(folder: Path, resume: bool) -> dict[str, Any] | None:
    """The state that a run goes on from; None where it begins.

    Raises:
        ConfigError: the folder holds a run that is not to be resumed, or weights that a new run would replace.
        WeightsError: it holds none.
    """
    file = folder / "state.pt"
    if not file.exists() and (folder / "best.safetensors").exists():
        raise ConfigError(
            f"{folder} holds weights and no state.pt to go on from: move them away, or choose another name=..."
        )
    if not resume and file.exists():
        raise ConfigError(f"{folder} already holds a run: go on with --resume, or choose another name=...")
    unsaved = (folder / "config.yaml").exists() and not file.exists()        # it ended before it was kept
    return load_state(file) if resume and not unsaved else None


def train_epochs(
    run: Run, config: Config, sources: list[Source], answered: LabelSpace, pairs: Pairs, watchers: Watchers
) -> None:
    """All passes over the data that are left, each measured and kept where the recipe asks for it."""
    one_by_one, pin_memory = isinstance(run.loss, InstanceLoss), run.device.type == "cuda"
    loader = make_loader(sources, run.sampler, config, pin_memory=pin_memory, one_by_one=one_by_one)
    while run.epoch < config.epochs:
        last = train_epoch(run, loader, config, watchers)
        report, best = None, False
        if (run.epoch + 1) % config.validate_every == 0 or run.epoch + 1 == config.epochs:
            run.save()
            report = validate(run, config, answered, sources)
            best = report.headline > run.best or not report.sets         # nothing is held out: the last is as good
            run.best = max(run.best, report.headline)
        told = epoch_report(run, last, report, best=best)
        run.epoch, run.step, run.sums = run.epoch + 1, 0, {}
        run.ranks.agreed(partial(write_epoch, run, config, answered, sources, told, pairs.attributes))
        if run.ranks.first:
            write_run_report(run, config, sources, told)
        watchers.epoch(told)
        run.save()


def train_epoch(
    run: Run, loader: DataLoader[Batch | HemlineError], config: Config, watchers: Watchers
) -> StepReport | None:
    """One pass over the data, from the step that the run stands at; what its last step told."""
    run.let_learn(config)
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
    set_rates(run.optimizer, run.schedule(run.steps_done))
    run.optimizer.zero_grad(set_to_none=True)
    told = []
    for piece in range(1, config.grad_accum_steps + 1):
        batch = run.ranks.agreed(lambda: next(pieces)).to(run.device)
        with nullcontext() if piece == config.grad_accum_steps else run.ranks.alone(run.model):
            with run.autocast():
                terms = run.model(batch)
            losses, means = run.ranks.means(terms)
            run.scaler.scale(run.loss.task_weights(losses, means) / config.grad_accum_steps).backward()
        told.append(means)
    run.scaler.unscale_(run.optimizer)
    norm = nn.utils.clip_grad_norm_(run.loss.parameters(), config.clip_grad)
    run.hear(list(losses), torch.stack(told).mean(0), norm, config)
    run.scaler.step(run.optimizer)
    run.scaler.update()
    run.step += 1
    run.average.update(run.loss.network, step=run.steps_done)


def validate(run: Run, config: Config, space: LabelSpace, sources: list[Source]) -> Report:
    """Measure the averaged weights on the photos held out.

    Raises:
        StoppedError: the run is asked to stop; what is measured by then is lost, the state before it is kept.
    """

    def measured(*_: object) -> None:
        if run.stop:
            where = f"the validation of epoch {run.epoch + 1} of {config.epochs}"
            raise StoppedError(f"stopped in {where}; {going_on(run.folder)}")

    network: Network | InstanceNetwork = run.average.module
    network.eval()
    run.ranks.as_first(network)                          # on CPUs each counts its own batch norms' statistics
    metadata = metadata_of(run, config, space, sources)
    return score_network(network, sources, metadata, device=run.device, ranks=run.ranks, progress=measured)
