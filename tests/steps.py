"""Steps of training without data on a disk: a run, and batches of drawn photos to take them with."""

from dataclasses import replace

import torch

from hemline.begin import Opened, make_network, make_run
from hemline.config import Config
from hemline.data.augment import place_sample
from hemline.data.balance import Weights
from hemline.data.sample import Batch, collate
from hemline.data.synthetic import Synthetic
from hemline.labels import load_label_space
from hemline.ranks import Ranks
from hemline.train import train_step


def begun(config: Config, folder, ranks=Ranks()):  # noqa: B008  # a tuple, which nobody changes
    """A run of a recipe, before its first step; an epoch has one."""
    folder.mkdir(exist_ok=True)
    space = load_label_space(config.labels)
    opened = Opened(config, space, make_network(config, space, None), [], None)
    run = make_run(opened, Weights(None, None), torch.device("cpu"), folder, ranks)
    run.let_learn(config)
    return run


def batch_of(*numbers: int, canvas=(64, 64)) -> Batch:
    """The drawn photos of these numbers."""
    photos = Synthetic(None, load_label_space("street"), count=max(numbers) + 1, canvas=canvas)
    return collate([place_sample(photos[number], canvas) for number in numbers])


def step(run, config: Config, *pieces: Batch) -> None:
    """One step, in an epoch of its own."""
    run.let_learn(config)
    train_step(run, iter(pieces), replace(config, grad_accum_steps=len(pieces)))
    run.epoch, run.step = run.epoch + 1, 0


def weights(run) -> dict[str, torch.Tensor]:
    """A copy of all that a run trains."""
    return {name: tensor.clone() for name, tensor in run.loss.state_dict().items()}


def same(one, other) -> set[str]:
    """The names of tensors that are alike, bit for bit."""
    return {name for name in one if torch.equal(one[name], other[name])}
