"""What our network costs beside its trunk alone and beside a full-resolution U-Net, in each runtime, from one run.

    uv run --group bench benchmarks/predict.py
    uv run --group bench benchmarks/predict.py --canvas 384x256 --threads 2
    uv run --group bench benchmarks/predict.py --widths 192,128,96 --widths 128,96,64 --kernel 3 --kernel 5

All networks take the same canvas as bytes and normalise it themselves; ours also pools and classifies every garment.
A ratio is a median over rounds: in each round a network's time is divided by the mean of the trunk's just before and
just after it, in the same runtime, so that other load on the machine cancels. Weights are random: they cost the same.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hemline.backbone import Backbone
from hemline.config import Backbone as Trunk
from hemline.config import Config, Head
from hemline.errors import DeviceError
from hemline.graphs import trace
from hemline.labels import LabelSpace, load_label_space
from hemline.model import build
from hemline.runtime import openvino_core

Run = Callable[[], object]
CANVASES = ((288, 192), (384, 256))
PEER = "smp.Unet"
PACKAGES = ("torch", "timm", "openvino", "onnxruntime", "segmentation-models-pytorch")


class TrunkAlone(nn.Module):
    """The stages of the trunk, and nothing that reads them."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.backbone = Backbone(name)

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """Photos (B, H, W, 3) uint8 -> the maps of the stages."""
        return list(self.backbone(pixels)[1:])


class Peer(nn.Module):
    """Unet of segmentation_models.pytorch on the same trunk, with our normalisation: masks alone, at full size."""

    def __init__(self, name: str, num_classes: int) -> None:
        super().__init__()
        import segmentation_models_pytorch as smp

        backbone = Backbone(name)
        self.mean, self.std = nn.Buffer(backbone.mean.clone()), nn.Buffer(backbone.std.clone())
        self.unet = smp.Unet(f"tu-{name}", encoder_weights=None, classes=num_classes)

    def forward(self, pixels: Tensor) -> Tensor:
        """Photos (B, H, W, 3) uint8 -> mask logits (B, K, H, W)."""
        return self.unet((pixels.permute(0, 3, 1, 2).to(self.mean.dtype) - self.mean) / self.std)


class Case(NamedTuple):
    """A network to time; the first of a list is the trunk, which the others are divided by."""

    name: str
    network: nn.Module
    inputs: dict[str, Tensor]


class Timing(NamedTuple):
    """What one network took in one runtime."""

    milliseconds: float
    """Median of a photo."""
    quickest: float
    """The least milliseconds of a photo: what a machine with nothing else to do would take."""
    ratio: float
    low: float
    """Lower quartile of the ratio."""
    high: float


def main() -> None:
    """Read the arguments, time everything, print one table a canvas."""
    args = _arguments()
    torch.set_num_threads(args.threads)
    print("\n".join(_describe(args.threads)))
    for canvas in args.canvas or CANVASES:
        cases = make_cases(args, canvas)
        print(f"\n{canvas[0]}x{canvas[1]}, one photo, {args.threads} thread(s), {args.rounds} rounds")
        print("  weights: " + ", ".join(f"{case.name} {count(case.network) / 1e6:.2f} M" for case in cases))
        print(f"  {'runtime':<22}{'network':<26}{'median ms':>10}{'quickest':>10}{'x trunk':>9}  quartiles")
        for runtime, runs in runtimes(cases, args.threads, args.runtimes):
            for case, timing in zip(cases, measure(runs, args.rounds), strict=True):
                print(
                    f"  {runtime:<22}{case.name:<26}{timing.milliseconds:>10.2f}{timing.quickest:>10.2f}"
                    f"{timing.ratio:>9.3f}  {timing.low:.3f} to {timing.high:.3f}",
                    flush=True,
                )


def make_cases(args: argparse.Namespace, canvas: tuple[int, int]) -> list[Case]:
    """The trunk, our network in every variant asked for, and the peer where it is installed."""
    space = load_label_space("street")
    random = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (2, *canvas, 3), generator=random, dtype=torch.uint8)
    valid = torch.ones(2, *canvas, dtype=torch.uint8)
    cases = [Case("trunk alone", TrunkAlone(args.trunk), {"pixels": pixels})]
    for name, network in our_networks(args, space):
        cases.append(Case(name, network, {"pixels": pixels, "valid": valid}))
    try:
        cases.append(Case(PEER, Peer(args.trunk, space.num_masks), {"pixels": pixels}))
    except ModuleNotFoundError as error:
        print(f"\n{PEER} is left out: {error.name} is not installed (uv sync --group bench)")
    for case in cases:
        case.network.eval()
    return cases


def our_networks(args: argparse.Namespace, space: LabelSpace) -> Iterator[tuple[str, nn.Module]]:
    """Our network: with the head as it comes, or every combination of widths and kernels asked for."""
    for widths, kernel in product(args.widths or [None], args.kernel or [None]):
        options = {"widths": widths} if widths else {}
        options |= {"kernel_size": kernel} if kernel else {}
        options |= {"pooled": [4, 8, 16, 32]}            # as the recipe `street` has it
        name = " ".join(["hemline", "-".join(map(str, widths or [])), f"k{kernel}" if kernel else ""]).strip()
        config = Config(name="benchmark", epochs=1, backbone=Trunk(name=args.trunk), head=Head(options=options))
        yield name, build(config, space, trunk_weights=False)


def runtimes(cases: list[Case], threads: int, chosen: list[str]) -> Iterator[tuple[str, list[Run]]]:
    """Each runtime by its name and precision, with one call a case that reads one photo."""
    if "torch" in chosen:
        yield "torch eager f32", [_torch(case) for case in cases]
    if set(chosen) <= {"torch"}:
        return
    graphs = [trace(case.network, case.inputs, outputs(case)).SerializeToString() for case in cases]
    if "openvino" in chosen:
        yield in_openvino(graphs, cases, threads, "f32")
    if "openvino-bf16" in chosen:
        try:
            yield in_openvino(graphs, cases, threads, "bf16")
        except DeviceError as error:
            print(f"  openvino bf16            left out: {error}")
    if "onnxruntime" in chosen:
        try:
            yield "onnxruntime f32", [_onnxruntime(g, c, threads) for g, c in zip(graphs, cases, strict=True)]
        except ModuleNotFoundError as error:
            print(f"  onnxruntime              left out: {error.name} is not installed")


def measure(runs: list[Run], rounds: int) -> list[Timing]:
    """Time every run against the first, interleaved."""
    for run in runs:
        run(), run()
    seconds: list[list[float]] = [[] for _ in runs]
    ratios: list[list[float]] = [[] for _ in runs]
    for _ in range(rounds):
        before = _timed(runs[0])
        for i, run in enumerate(runs):
            own, after = _timed(run), _timed(runs[0])
            seconds[i].append(own)
            ratios[i].append(own / ((before + after) / 2))
            before = after
    timings = []
    for took, ratio in zip(seconds, ratios, strict=True):
        low, middle, high = (float(q) for q in np.quantile(ratio, (0.25, 0.5, 0.75)))
        timings.append(Timing(1000 * statistics.median(took), 1000 * min(took), middle, low, high))
    return timings


def count(network: nn.Module) -> int:
    """Numbers that a network holds, its buffers left out."""
    return sum(parameter.numel() for parameter in network.parameters())


def _timed(run: Run) -> float:
    begun = time.perf_counter()
    run()
    return time.perf_counter() - begun


def _torch(case: Case) -> Run:
    network = case.network.to(memory_format=torch.channels_last)
    photo = [tensor[:1] for tensor in case.inputs.values()]

    def run() -> object:
        with torch.inference_mode():
            return network(*photo)

    return run


def in_openvino(graphs: list[bytes], cases: list[Case], threads: int, precision: str) -> tuple[str, list[Run]]:
    """What runs these graphs in OpenVINO, one photo each, and what its convolutions compute in."""
    core = openvino_core()
    if precision == "bf16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise DeviceError("this CPU has no bf16")
    options = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": str(threads),
    }
    runs: list[Run] = []
    used: set[str] = set()
    for graph, case in zip(graphs, cases, strict=True):
        photo = _photo(case)
        model = core.read_model(graph)
        model.reshape({name: list(array.shape) for name, array in photo.items()})  # as `hemline.runtime` does
        compiled = core.compile_model(model, "CPU", options)
        request = compiled.create_infer_request()
        runs.append(lambda request=request, photo=photo: request.infer(photo))
        info = [op.get_rt_info() for op in compiled.get_runtime_model().get_ops()]
        used |= {i["runtimePrecision"].value for i in info if i["layerType"].value == "Convolution"}
    return f"openvino {precision} ({'/'.join(sorted(used))})", runs


def _onnxruntime(graph: bytes, case: Case, threads: int) -> Run:
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    photo = _photo(case)
    return lambda: session.run(None, photo)


def _photo(case: Case) -> dict[str, NDArray[np.uint8]]:
    return {name: tensor[:1].numpy() for name, tensor in case.inputs.items()}


def outputs(case: Case) -> list[str]:
    """Names for what a network answers."""
    with torch.inference_mode():
        answer = case.network(*case.inputs.values())
    return [f"output{i}" for i in range(1 if isinstance(answer, Tensor) else len(answer))]


def _describe(threads: int) -> Iterator[str]:
    core = openvino_core()
    name, able = (core.get_property("CPU", key) for key in ("FULL_DEVICE_NAME", "OPTIMIZATION_CAPABILITIES"))
    yield f"CPU: {name.strip()}, {os.cpu_count()} cores, {threads} used; OpenVINO can {', '.join(able)}"
    flags = Path("/proc/cpuinfo")
    if flags.is_file():
        telling = {"avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16"}
        yield "instructions: " + ", ".join(sorted(telling & set(flags.read_text(encoding="utf-8").split())))
    yield f"{platform.platform()}, Python {platform.python_version()}, " + ", ".join(map(version_of, PACKAGES))
    if hasattr(os, "getloadavg"):
        yield f"load of the machine before this run: {os.getloadavg()[0]:.1f} (above 0.5 times are too long)"


def version_of(package: str) -> str:
    """A package and the version that is installed."""
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return f"{package} not installed"


def _arguments() -> argparse.Namespace:
    def size(text: str) -> tuple[int, int]:
        height, width = (int(part) for part in text.split("x"))
        return height, width

    def widths(text: str) -> list[int]:
        return [int(part) for part in text.split(",")]

    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--canvas", type=size, action="append", metavar="HxW", help="288x192 and 384x256; may repeat")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (1)")
    parser.add_argument("--rounds", type=int, default=30, help="times that each network reads a photo (30)")
    parser.add_argument("--trunk", default=Trunk().name, help=f"a timm model ({Trunk().name})")
    parser.add_argument("--widths", type=widths, action="append", metavar="A,B,C", help="of the U-Net head; may repeat")
    parser.add_argument("--kernel", type=int, action="append", metavar="N", help="of the U-Net head; may repeat")
    names = ["torch", "openvino", "openvino-bf16", "onnxruntime"]
    parser.add_argument("--runtimes", nargs="+", choices=names, default=names, help="all of them")
    return parser.parse_args()


if __name__ == "__main__":
    main()
