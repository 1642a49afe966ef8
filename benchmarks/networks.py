"""Every network of `hemline models` on one footing: size, cost, time on a CPU and, from a GPU, accuracy.

    uv run benchmarks/networks.py                              writes docs/networks.md
    uv run benchmarks/networks.py --rounds 20 --threads 2
    uv run benchmarks/networks.py --train ccp=CCP --device cuda    trains each from random weights, keeps its figures
    uv run benchmarks/networks.py --train ccp=CCP --pretrained trunk.pth    one more row: ours, its trunk pretrained

Times are ratios: in each round a network's time is divided by the mean of our default network's just before and just
after it, so that other load on the machine cancels. What was measured stands in benchmarks/networks.json, accuracies
with the budget that they were trained on; a network that stands there with the same budget is not trained again.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch

from hemline.config import load_config
from hemline.evaluate import evaluate
from hemline.heads import HEADS, InstanceHead
from hemline.networks import Facts, every_network, parts, recipe
from hemline.train import train
from hemline.whole_files import whole_file

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "networks.md"
RESULTS = Path(__file__).with_suffix(".json")
DEFAULT = "unet"
PRETRAINED = "unet pretrained"
CANVAS = (256, 192)
UNMEASURED = "not yet measured"
OPENING = """\
# Networks

The networks that this field is built on, each as its paper or its authors' code has it (the head's file says where it
is our reading), beside `unet`, our default, made light for a CPU. All stand on one footing: the same data, labels,
losses, metrics and label heads. `hemline train NETWORK data=NAME:PATH` trains one; `hemline configs NETWORK` prints its
recipe; `hemline models` counts it at any size. What stands under a name is a variant: set it in the recipe.

| network | paper | trunk | parameters, M | multiply-adds, G | stride | time | mean IoU |
|---|---|---|---:|---:|---:|---:|---|
"""
NOTES = """
- **Parameters and multiply-adds** of trunk and mask head, for one photo of {height} x {width} and the {classes} mask
  classes of `street`. Not counted: the label head, which all have alike, and what some have in training alone.
- **Time** of one photo on a CPU, in multiples of `{default}`'s: {time}
- **Networks without a stride** find garments one by one. They are counted and timed where they look at as many boxes
  and draw as many masks as they may; a photo of a few garments costs far less.
- **Graphs**: `hemline export` writes every network but {torch_alone}.
  These run on torch alone: how many boxes a photo keeps is known only when it is read ([why](export.md#networks)).
- **Mean IoU**: {budget}

Written by `uv run benchmarks/networks.py`.
"""


Results = dict[str, Any]
"""`time`: threads, rounds and ratios; `accuracy`: the budget, and the figures of each network. Both may be empty."""


def main() -> None:
    """Read the arguments; train, or time everything and write the page."""
    args = _arguments()
    results: Results = {"time": {}, "accuracy": {}}
    if RESULTS.exists():
        results = json.loads(RESULTS.read_text(encoding="utf-8"))
    if args.train:
        train_all(args, results)
    else:
        time_all(args, results)
    with whole_file(PAGE) as temporary:
        temporary.write_text(page(every_network(size=CANVAS), results), encoding="utf-8")
    print(PAGE)


def keep(results: Results) -> None:
    """Write what was measured so far."""
    with whole_file(RESULTS) as temporary:
        temporary.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


# -- time ----------------------------------------------------------------------------------------------------


def time_all(args: argparse.Namespace, results: Results) -> None:
    """The time of each network and variant for one photo, beside the default's."""
    torch.set_num_threads(args.threads)
    networks = every_network(size=CANVAS)
    default = runner(next(x for x in networks if x.name == DEFAULT))
    conditions = {"threads": args.threads, "rounds": args.rounds, "torch": torch.__version__}
    before = results["time"]
    ratios = before["ratios"] if conditions.items() <= before.items() else {}
    for x in (x for x in networks if x.name in (args.only or HEADS)):
        row = " ".join((x.name, *x.overrides))
        ratios[row] = compare(runner(x), default, args.rounds)
        print("  {:<60}{:>8.2f}  {:.2f} to {:.2f}".format(row, *ratios[row]), flush=True)
        results["time"] = conditions | {"ratios": ratios}
        keep(results)


def runner(network: Facts) -> Callable[[], object]:
    """A call that reads one photo with a network: trunk and head."""
    torch.manual_seed(0)
    backbone, head = parts(recipe(network.name, network.overrides), network.num_classes)
    for part in (backbone, head):
        part.eval().to(memory_format=torch.channels_last)
    read = head.dry_run if isinstance(head, InstanceHead) else head
    photo = torch.randint(0, 256, (1, *CANVAS, 3), dtype=torch.uint8)

    def run() -> object:
        with torch.inference_mode():
            return read(backbone(photo))

    return run


def compare(run: Callable[[], object], default: Callable[[], object], rounds: int) -> list[float]:
    """Time one against the other, interleaved -> median and quartiles of the ratio."""
    for warm in (run, default, run, default):
        warm()
    ratios = []
    before = _timed(default)
    for _ in range(rounds):
        own, after = _timed(run), _timed(default)
        ratios.append(own / ((before + after) / 2))
        before = after
    low, _, high = statistics.quantiles(ratios, n=4)
    return [statistics.median(ratios), low, high]


def _timed(run: Callable[[], object]) -> float:
    begun = time.perf_counter()
    run()
    return time.perf_counter() - begun


# -- accuracy ------------------------------------------------------------------------------------------------


def train_all(args: argparse.Namespace, results: Results) -> None:
    """Train each network on one budget, and keep its figures."""
    name, _, path = args.train.partition("=")
    budget = {"data": name, "epochs": args.epochs, "canvas": list(CANVAS), "batch_size": args.batch_size, "seed": 0}
    if results["accuracy"].get("budget") != budget:
        results["accuracy"] = {"budget": budget, "networks": {}}
    done = results["accuracy"]["networks"]
    rows = [(PRETRAINED, DEFAULT)] if args.pretrained else [(key, key) for key in args.only or HEADS]
    for row, key in rows:
        if row in done:
            continue
        overrides = [
            f"data={name}:{path}" if path else f"data={name}",
            f"epochs={args.epochs}", f"canvas={list(CANVAS)}", f"batch_size={args.batch_size}", f"name={key}",
            f"device={args.device}", f"workers={args.workers}", f"validate_every={args.epochs}",
            "backbone.pretrained=false", "backbone_lr_scale=1",
        ]  # fmt: skip
        if args.pretrained:
            overrides += [f"backbone.weights={args.pretrained}", "backbone_lr_scale=0.3"]
        with tempfile.TemporaryDirectory() as folder:
            begun = time.perf_counter()
            train(load_config(key, [*overrides, f"out={folder}"]))
            seconds = time.perf_counter() - begun
            last = Path(folder) / key / "last.safetensors"
            report = evaluate(
                last, {name: Path(path) if path else None}, runtime="torch", device=args.device, transplant=False
            )
        masks = report.sets[0].masks
        assert masks is not None, f"{name} has no masks to measure"
        iou = masks.mean_iou
        done[row] = {
            "mean_iou": [iou.value, iou.low, iou.high],
            "pixel_accuracy": masks.pixel_accuracy.value,
            "photos": masks.photos,
            "device": _device(args.device),
            "minutes": seconds / 60,
        }
        keep(results)
        print(f"  {row:<24} mean IoU {iou.value:.3f} ({iou.low:.3f} to {iou.high:.3f}), {seconds / 60:.1f} minutes")


def _device(name: str) -> str:
    return torch.cuda.get_device_name() if name == "cuda" else "cpu"


# -- the page ------------------------------------------------------------------------------------------------


def page(networks: list[Facts], results: Results) -> str:
    """docs/networks.md."""
    ratios = results["time"].get("ratios", {})
    trained = results["accuracy"].get("networks", {})
    rows = []
    for x in networks:
        name = f"`{x.name}`" if not x.overrides else f"{x.name}<br>" + "<br>".join(f"`{o}`" for o in x.overrides)
        time = ratios.get(" ".join((x.name, *x.overrides)))
        figures = [f"{x.parameters / 1e6:.2f}", f"{x.macs / 1e9:.2f}", str(x.output_stride or "")]
        figures.append(UNMEASURED if time is None else f"{time[0]:.1f}")
        figures.append("" if x.overrides else _accuracy(trained.get(x.name)))
        paper = "" if x.overrides else f"[{x.title}]({x.url}), {x.year}"
        rows.append(" | ".join([f"| {name}", paper, x.backbone, *figures]) + " |\n")
    pretrained = _accuracy(trained.get(PRETRAINED))
    rows.append(f"| `{DEFAULT}`, its trunk pretrained on ImageNet | | | | | | | {pretrained} |\n")
    notes = NOTES.format(
        height=CANVAS[0],
        width=CANVAS[1],
        classes=networks[0].num_classes,
        default=DEFAULT,
        time=_conditions(results["time"]),
        torch_alone=_and(name for name, head in HEADS.items() if issubclass(head, InstanceHead)),
        budget=_budget(results["accuracy"]),
    )
    return OPENING + "".join(rows) + notes


def _and(names: Iterable[str]) -> str:
    *others, last = (f"`{name}`" for name in names)
    return f"{', '.join(others)} and {last}"


def _conditions(timed: dict[str, Any]) -> str:
    if not timed:
        return UNMEASURED
    threads = f"{timed['threads']} thread" + "s" * (timed["threads"] > 1)
    return (
        f"PyTorch {timed['torch']}, {threads},\n"
        f"  median of {timed['rounds']} rounds, both timed in turn in the same run."
    )


def _accuracy(result: dict[str, Any] | None) -> str:
    if result is None:
        return UNMEASURED
    value, low, high = result["mean_iou"]
    return f"{value:.3f} ({low:.3f} to {high:.3f})"


def _budget(accuracy: dict[str, Any]) -> str:
    if not accuracy:
        command = "uv run benchmarks/networks.py --train ccp=CCP --device cuda"
        return f"{UNMEASURED};\n  `{command}` trains all of them on one budget."
    budget = accuracy["budget"]
    devices = sorted({entry["device"] for entry in accuracy["networks"].values()})
    height, width = budget["canvas"]
    return (
        f"validation photos of {budget['data']}, after {budget['epochs']} epochs at {height} x {width},\n  "
        f"{budget['batch_size']} photos a step, from random weights, on {', '.join(devices)};\n  in brackets the 95 % "
        "interval over photos."
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (1)")
    parser.add_argument("--rounds", type=int, default=7, help="times that each network reads a photo (7)")
    parser.add_argument("--train", metavar="NAME=PATH", help="train every network on this dataset first")
    parser.add_argument("--only", nargs="+", choices=list(HEADS), help="these networks alone; figures of others stay")
    parser.add_argument("--pretrained", metavar="FILE", help="train ours alone, from these weights of its trunk")
    parser.add_argument("--epochs", type=int, default=60, help="of training (60)")
    parser.add_argument("--batch-size", type=int, default=16, help="photos a step (16)")
    parser.add_argument("--workers", type=int, default=8, help="processes that read photos (8)")
    parser.add_argument("--device", default="cuda", help="where to train (cuda)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
