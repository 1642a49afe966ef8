"""What a training run begins with: its device, its label space, its network and data, and all that then changes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from hemline._run import Run
from hemline.average import Average
from hemline.config import Config
from hemline.data import growth, label_space
from hemline.data.balance import Weights
from hemline.data.loading import EpochSampler, Source, open_sources
from hemline.data.own_words import Growth
from hemline.distillation import open_teachers
from hemline.errors import DeviceError
from hemline.finetune import with_direct
from hemline.instance_losses import InstanceLoss
from hemline.instance_model import InstanceNetwork
from hemline.labels import OF_INIT, LabelSpace
from hemline.losses import JointLoss
from hemline.model import Network, build, build_instances, compile_parts, finds_instances
from hemline.optim import make_optimizer, schedule
from hemline.ranks import Ranks
from hemline.trial import starting_weights


class Opened(NamedTuple):
    """A recipe with what it names."""

    config: Config
    """The recipe; its label head has the labels that the data brought, too."""
    space: LabelSpace
    network: Network | InstanceNetwork
    sources: list[Source]
    grown: Growth | None
    """Of `labels: init+data`: what the weights knew, and what is new."""


def open_run(config: Config, head: nn.Module | None, ranks: Ranks) -> Opened:
    """Open the data of a recipe and build its network.

    Args:
        config: The recipe.
        head: A head of your own instead of the recipe's.
        ranks: The processes that do so, each for itself; where one fails, all do.

    Raises:
        ConfigError, DataError, LabelError: as of `train`.
    """
    grown = ranks.agreed(lambda: growth(config)) if config.labels == OF_INIT else None
    config = config if grown is None else with_direct(config, grown)
    space = ranks.agreed(lambda: label_space(config)) if grown is None else grown.space
    network = make_network(config, space, head)
    return Opened(config, space, network, ranks.agreed(lambda: open_sources(config, space)), grown)


def make_network(config: Config, space: LabelSpace, head: nn.Module | None) -> Network | InstanceNetwork:
    """The network of a recipe, with the weights that it starts from."""
    torch.manual_seed(config.seed)
    make: Callable[..., Network | InstanceNetwork] = build_instances if finds_instances(config, head) else build
    network = make(config, space, head=head, trunk_weights=config.init is None)
    if config.init is not None:
        network.load_state_dict(starting_weights(config, network.state_dict(), space), strict=False)
    if isinstance(network, Network):
        network.set_mask_thresholds(torch.full((space.num_masks,), config.mask_probability))
    return network


def make_run(opened: Opened, weights: Weights, device: torch.device, folder: Path, ranks: Ranks) -> Run:
    """A run that stands at its beginning.

    Args:
        opened: The recipe with what it names.
        weights: Of the classes in the losses.
        device: Where the network is trained.
        folder: The run's own.
        ranks: The processes that train it.
    """
    config, space, network = opened.config, opened.space, opened.network
    network.to(device).to(memory_format=torch.channels_last)
    of_classes, positive = (
        None if each is None else torch.from_numpy(each).to(device, torch.float32) for each in weights
    )
    loss: JointLoss | InstanceLoss
    if isinstance(network, Network):
        teachers = open_teachers(config, space, device)
        loss = JointLoss(network, space, config.loss, of_classes, positive, teachers)
    else:
        loss = InstanceLoss(network, space, config.loss)
    loss.to(device)
    average = Average(network, config.model_ema_decay)
    if config.torchcompile:
        compile_parts(network, device)
    optimizer = make_optimizer(loss, config)
    sampler = EpochSampler(
        opened.sources,
        batch_size=config.batch_size,
        seed=config.seed,
        pieces=config.grad_accum_steps,
        rank=ranks.rank,
        size=ranks.size,
        canvases=config.canvases or (),
    )
    dtype = precision_of(config, device)
    return Run(
        loss=loss,
        model=loss,
        optimizer=optimizer,
        schedule=schedule(config, config.epochs * len(sampler)),
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
        on_gpu = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if on_gpu else torch.float32
    return {"float32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[config.precision]


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
