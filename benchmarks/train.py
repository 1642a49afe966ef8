"""How fast training is: our loop beside its own ceiling, a plain loop, and what the device can do, from one run.

    uv run --group bench benchmarks/train.py
    uv run --group bench benchmarks/train.py --data ccp=PATH --workers 15 --batch-size 64 --torchcompile
    uv run --group bench benchmarks/train.py --recipe unet_full backbone.name=resnet18

Each of these trains for some steps, in turn, again and again:

    in memory    our loop, `hemline.train.train_epoch`, over a few batches in memory: the ceiling
    loading      the same, with photos that workers read, vary and stack
    our network  its trunk and mask head alone in a plain loop (`plain_loop.py`)
    smp.Unet     the U-Net of segmentation_models.pytorch on the same trunk in that loop

A ratio is a median over rounds: photos per second over the mean of the ceiling's just before and just after, so that
other load on the machine cancels. It is taken by the clock, and by the main process's CPU time, which on a CPU feels
other load less. The ceiling's own ratios, each turn over the one before, tell how much the machine wavers. Trunks start
from random weights: they cost the same.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib.metadata import version
from itertools import chain, cycle, islice
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from plain_loop import Masks, peer, plain_step
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from hemline._memory import keep_freed_memory
from hemline._run import Run
from hemline.begin import make_run, open_run, pick_device
from hemline.config import Config, load_config
from hemline.data.balance import weights_of
from hemline.data.loading import EpochSampler, Source, TrainingSet, batches, make_loader
from hemline.data.sample import Batch, Sample, collate
from hemline.errors import ConfigError
from hemline.model import finds_instances
from hemline.ranks import Ranks
from hemline.train import train_epoch, train_step
from hemline.watch import StepReport, Watchers

CEILING, LOADING, OURS, PEER = "in memory", "loading", "our network, plain loop", "smp.Unet, plain loop"
HELD = 4
"""Batches that are held in memory."""
WARM = 2
"""Steps that are not timed, at least, whenever one's turn begins."""
PACKAGES = ("torch", "timm")


class Took(NamedTuple):
    """What some steps took."""

    photos: int
    seconds: float
    busy: float
    """Seconds of the main process's CPU time."""
    waited: float = 0.0
    """Seconds in which the network waited for photos."""

    @property
    def rates(self) -> tuple[float, float]:
        """Photos a second, of the clock and of CPU time."""
        return self.photos / self.seconds, self.photos / self.busy


Block = Callable[[], Took]
"""Trains for some steps, the first few untimed."""


class Figures(NamedTuple):
    """Of one that trains, over all rounds."""

    took: list[Took]
    ratios: list[tuple[float, float]]
    """To the ceiling's rates, of the clock and of CPU time."""

    def rate(self, device: torch.device) -> float:
        """Median photos a second: of the clock on a GPU, of CPU time on a CPU, which others may share."""
        return statistics.median(took.rates[device.type == "cpu"] for took in self.took)


def main() -> None:
    """Read the arguments, time everything, print it."""
    args = _arguments()
    torch.set_num_threads(args.threads)
    cv2.setNumThreads(0)
    print("\n".join(_describe(args.threads)))
    config = recipe(args)
    with tempfile.TemporaryDirectory(prefix="hemline-train-") as folder:
        compare(config, pick_device(config.device), args.steps, args.rounds, Path(folder))


def recipe(args: argparse.Namespace) -> Config:
    """The recipe with what the command line asks for."""
    asked = {
        "data": f"[{args.data.replace('=', ':', 1)}]",
        "backbone.pretrained": "false",
        "validation": "0",
        "epochs": "1000",                                 # so that the learning rate does not come to its end
        "device": args.device,
        "precision": args.precision,
        "torchcompile": str(args.torchcompile).lower(),
        "workers": str(args.workers),
    }
    if args.batch_size:
        asked["batch_size"] = str(args.batch_size)
    return load_config(args.recipe, [f"{key}={value}" for key, value in asked.items()] + args.overrides)


def compare(config: Config, device: torch.device, steps: int, rounds: int, folder: Path) -> None:
    """Time everything and print it.

    Args:
        config: The recipe.
        device: Where to train.
        steps: Timed in each turn.
        rounds: How often each takes its turn.
        folder: For what a run would write.

    Raises:
        ConfigError: the recipe's network finds instances.
    """
    if finds_instances(config):
        raise ConfigError(f"head: {config.head.name} finds instances; this compares networks that draw maps of classes")
    if device.type == "cpu":
        keep_freed_memory()                               # as `train` does; the plain loop gains as much
    opened = open_run(config, None, Ranks())
    space, sources = opened.space, opened.sources
    run = make_run(opened, weights_of(sources, config, space), device, folder, Ranks())
    held = hold(sources, config, pin=device.type == "cuda")
    print(
        f"\n{config.name}: {config.backbone.name}, canvas {config.canvas[0]} x {config.canvas[1]}, {config.batch_size} "
        f"photos a step, {run.dtype}, {device}, {config.workers} worker(s)"
        f"{', compiled' if config.torchcompile else ''}; {rounds} rounds of {steps} steps"
    )
    blocks: dict[str, Block] = {
        CEILING: partial(ours, run, config, sources, held, steps),
        LOADING: partial(ours, run, config, sources, None, steps),
    }
    networks = {OURS: (Masks(config, space), held[0].pixels)}
    if (theirs := peer(config, space)) is not None:
        photos = torch.randn(len(held[0].pixels), 3, *config.canvas).contiguous(memory_format=torch.channels_last)
        networks[PEER] = theirs, photos
    flops = {}
    for name, (network, photos) in networks.items():
        network.to(device).to(memory_format=torch.channels_last)
        photos = photos.to(device)
        flops[name] = step_flops(network, photos[:1])
        blocks[name] = partial(plain, plain_step(network, photos, config), photos, steps)
    figures, products = measure(blocks, rounds, partial(matmul, device, run.dtype))
    print_table(figures)
    print_products(flops, figures, products, run)
    print_loading(sources, config, figures[CEILING].rate(device))
    print_parts(parts_of_step(run, config, cycle(held), steps))


# -- what trains ---------------------------------------------------------------------------------------------


def hold(sources: list[Source], config: Config, *, pin: bool) -> list[Batch]:
    """A few batches as a loader gives them."""
    loader = make_loader(sources, sampler_of(sources, config, HELD), config, pin_memory=pin)
    return list(islice(batches(loader), HELD))


def sampler_of(sources: list[Source], config: Config, steps: int) -> EpochSampler:
    """One of epochs of so many steps: each photo is drawn as often as that takes."""
    share = steps * config.batch_size / sum(float(source.draws.sum()) for source in sources)
    scaled = [source._replace(draws=source.draws * share * (1 + 1e-9)) for source in sources]
    return EpochSampler(scaled, batch_size=config.batch_size, seed=config.seed, pieces=config.grad_accum_steps)


class Stamps:
    """A watcher that notes the times when the untimed steps are done, and when all are."""

    def __init__(self, run: Run, config: Config, warm: int) -> None:
        self.run, self.config, self.warm = run, config, warm
        self.noted: list[tuple[float, float, float]] = []

    def step(self, report: StepReport) -> None:
        """As of `hemline.watch.Watcher`."""
        if report.step in (self.warm, report.num_steps):
            seconds = report.step * self.config.batch_size / report.photos_per_second
            self.noted.append((*now(self.run.device), report.data_wait * seconds))


def ours(run: Run, config: Config, sources: list[Source], held: Sequence[Batch] | None, steps: int) -> Took:
    """Our loop, over batches in memory; over a loader that begins anew where there are none."""
    warm = WARM
    if held is None and config.workers:                   # from the end of one wave of batches to that of another
        warm, steps = max(warm, config.workers), -(-steps // config.workers) * config.workers
    run.step, run.sums, run.sampler = 0, {}, sampler_of(sources, config, warm + steps)
    if held is None:
        loader: Any = make_loader(sources, run.sampler, config, pin_memory=run.device.type == "cuda")
    else:
        loader = islice(cycle(held), (warm + steps) * config.grad_accum_steps)
    stamps = Stamps(run, config, warm)
    train_epoch(run, loader, config, Watchers([stamps]))  # type: ignore[list-item]  # no other method is called
    begun, ended = stamps.noted
    return Took(steps * config.batch_size, *(after - before for before, after in zip(begun, ended, strict=True)))


def plain(step: Callable[[], None], photos: Tensor, steps: int) -> Took:
    """A plain loop."""
    for _ in range(WARM):
        step()
    begun = now(photos.device)
    for _ in range(steps):
        step()
    ended = now(photos.device)
    return Took(steps * len(photos), *(after - before for before, after in zip(begun, ended, strict=True)))


# -- what is measured ----------------------------------------------------------------------------------------


def now(device: torch.device) -> tuple[float, float]:
    """Seconds of the clock and of this process's CPU time, once the device has done what it was asked."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter(), time.process_time()


def measure(
    blocks: dict[str, Block], rounds: int, product: Callable[[], float]
) -> tuple[dict[str, Figures], list[float]]:
    """Every block in turn, the ceiling before and after each; and the figures of the products."""
    figures = {name: Figures([], []) for name in blocks}
    ceiling, products = blocks[CEILING], []
    others = {name: block for name, block in blocks.items() if name != CEILING}
    for block in others.values():
        block()                                           # what is done but once, such as compiling
    ceiling()
    before = ceiling()
    for _ in range(rounds):
        products.append(product())
        for name, block in others.items():
            own, after = block(), ceiling()
            for each, took, beside in ((name, own, (before, after)), (CEILING, after, (before,))):
                clock, busy = (statistics.mean(rates) for rates in zip(*(x.rates for x in beside), strict=True))
                figures[each].took.append(took)
                figures[each].ratios.append((took.rates[0] / clock, took.rates[1] / busy))
            before = after
    return figures, products


def step_flops(network: nn.Module, photo: Tensor) -> int:
    """Floating-point operations of training for one photo: forward, and twice as many backward.

    Two for each multiply-add of convolutions and matrix products, as `hemline.networks.facts` counts them.
    """
    training = network.training
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.eval()(photo)
    network.train(training)
    return 3 * counter.get_total_flops()


def matmul(device: torch.device, dtype: torch.dtype) -> float:
    """Floating-point operations a second of a product of large matrices; of CPU time on a CPU."""
    side, times = (8192, 20) if device.type == "cuda" else (2048, 2)
    a, b = torch.randn(2, side, side, device=device).to(dtype)
    torch.mm(a, b)
    begun = now(device)
    for _ in range(times):
        torch.mm(a, b)
    return times * 2 * side**3 / (now(device)[device.type == "cpu"] - begun[device.type == "cpu"])


def parts_of_step(run: Run, config: Config, held: Iterator[Batch], steps: int) -> dict[str, float]:
    """Seconds of each part of our step, in memory, of CPU time on a CPU; each is awaited before the next begins."""
    parts: dict[str, float] = {}
    patched: list[tuple[object, str]] = []
    last = 0.0

    def lap(name: str) -> None:
        nonlocal last
        seconds = now(run.device)[run.device.type == "cpu"]
        parts[name] = parts.get(name, 0.0) + seconds - last
        last = seconds

    def around(owner: object, method: str, before: str, name: str) -> None:
        call = getattr(owner, method)

        def timed(*args: object, **kwargs: object) -> object:
            lap(before)
            answer = call(*args, **kwargs)
            lap(name)
            return answer

        setattr(owner, method, timed)
        patched.append((owner, method))

    network = run.loss.network
    around(network, "dense_train", "the rest", "forward: trunk and mask head")
    around(network.label_head, "forward", "losses", "forward: label head")
    around(run.scaler, "scale", "losses", "losses")
    around(run.scaler, "unscale_", "backward", "clipping")
    around(run, "hear", "clipping", "reading the losses")
    around(run.scaler, "step", "the rest", "optimizer")
    around(run.average, "update", "the rest", "mean of the weights")
    try:
        for step in range(WARM + steps):
            if step == WARM:
                parts.clear()
            lap("the rest")
            train_step(run, held, config)
    finally:
        for owner, method in patched:
            delattr(owner, method)
    return {name: seconds / steps for name, seconds in parts.items()}


# -- what is printed -----------------------------------------------------------------------------------------


def print_table(figures: dict[str, Figures]) -> None:
    """Photos a second as shares of the ceiling's."""
    titles = f"{'x in memory':>12}  {'quartiles':<16}{'by CPU time':>11}  {'quartiles':<16}{'data wait':>11}"
    print(f"  {'':<26}{titles}{'photos/s':>10}")
    for name, each in figures.items():
        line = f"  {name:<26}"
        for ratios, width in zip(zip(*each.ratios, strict=True), (12, 11), strict=True):
            low, middle, high = np.quantile(ratios, (0.25, 0.5, 0.75))
            line += f"{middle:>{width}.3f}  {f'{low:.3f} to {high:.3f}':<16}"
        waited = statistics.median(took.waited / took.seconds for took in each.took)
        print(f"{line}{100 * waited:>9.1f} %{statistics.median(took.rates[0] for took in each.took):>10.2f}")


def print_products(flops: dict[str, int], figures: dict[str, Figures], products: list[float], run: Run) -> None:
    """How much of what large matrix products reach on this device the networks reach; rough on a CPU."""
    most, low, high = statistics.median(products), min(products), max(products)
    print(f"\nmatrix products in {run.dtype}: {most / 1e12:.3g} TFLOP/s ({low / 1e12:.3g} to {high / 1e12:.3g})")
    for name, counted in {CEILING: flops[OURS], **flops}.items():
        share = counted * figures[name].rate(run.device) / most
        print(f"  {name:<26}{100 * share:>6.1f} % of that, at {counted / 1e9:.2f} GFLOP a photo")


def print_loading(sources: list[Source], config: Config, ceiling: float) -> None:
    """Photos a second that one core loads, and how many cores keep pace with the ceiling."""
    items = list(chain.from_iterable(sampler_of(sources, config, HELD)))
    photos = TrainingSet(sources, config)
    for item in items[: config.batch_size]:
        photos[item]                                      # imports what varies colours, at the first photo so varied
    begun = time.process_time()
    collate([sample for sample in map(photos.__getitem__, items) if isinstance(sample, Sample)])
    rate = len(items) / (time.process_time() - begun)
    print(f"\nloading, in one process: {rate:.1f} photos a second of CPU time")
    print(f"  {ceiling / rate:.3f} cores load as many as the network trains on in memory; 16 load {16 * rate:.0f}")


def print_parts(parts: dict[str, float]) -> None:
    """Where the time of a step goes."""
    total = sum(parts.values())
    print("\nwhere the time of our step goes, in memory, each part awaited")
    for name, seconds in sorted(parts.items(), key=lambda part: -part[1]):
        print(f"  {name:<32}{100 * seconds / total:>7.1f} %{1e3 * seconds:>10.2f} ms")


def _describe(threads: int) -> Iterator[str]:
    if torch.cuda.is_available():
        yield f"GPU: {torch.cuda.get_device_name()}"
    yield f"{platform.platform()}, {os.cpu_count()} cores, {threads} thread(s), Python {platform.python_version()}"
    yield ", ".join(f"{package} {version(package)}" for package in PACKAGES)
    if hasattr(os, "getloadavg"):
        yield f"load of the machine before this run: {os.getloadavg()[0]:.1f}"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="set in the recipe")
    parser.add_argument("--recipe", default="street", help="a recipe whose network draws maps of classes (street)")
    parser.add_argument("--data", default="synthetic", metavar="NAME=PATH", help="a dataset (drawn figures)")
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    parser.add_argument("--precision", default="auto", choices=["auto", "float32", "bf16", "fp16"])
    parser.add_argument("--torchcompile", action="store_true", help="compile the networks")
    parser.add_argument("--batch-size", type=int, help="photos a step; the recipe's if not given")
    cores = os.cpu_count() or 2
    parser.add_argument("--workers", type=int, default=cores - 1, help=f"that load photos ({cores - 1})")
    parser.add_argument("--threads", type=int, default=1, help="of the main process, on the CPU (1)")
    parser.add_argument("--steps", type=int, default=64 if torch.cuda.is_available() else 4, help="timed in a turn")
    parser.add_argument("--rounds", type=int, default=5, help="times that each takes its turn (5)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
