"""Every figure of speed beside its goal, against peers measured in the same run; writes docs/speed.md.

    uv run --group bench benchmarks/speed.py                 # all of it: some ten minutes
    uv run --group bench benchmarks/speed.py --only network photo --rounds 10 --no-page

Everything runs on one thread unless it says otherwise. A ratio is a median over rounds; in each round everything that
is compared runs once, one after the other, so that other load on the machine cancels. Peers have random weights, which
cost the same: `segmentation_models_pytorch.Unet` on our trunk, and transformers' SegFormer-B2 at its 512 x 512.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from io import BytesIO
from pathlib import Path
from typing import Literal, NamedTuple

import cv2
import numpy as np
import predict as networks
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from hemline.graphs import trace
from hemline.metadata import read_metadata
from hemline.photo import place, read_photo
from hemline.predict import demo_photo
from hemline.runtime import default_weights, open_runtime
from hemline.tagger import Tagger
from hemline.whole_files import whole_file

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "speed.md"
SEGFORMER = {"depths": [3, 4, 6, 3], "hidden_sizes": [64, 128, 320, 512], "decoder_hidden_size": 768}
"""B2 of https://arxiv.org/abs/2105.15203, tables 6 and 7."""
PACKAGES = ("openvino", "torch", "segmentation-models-pytorch", "transformers")
LARGE = (3600, 2400)
"""Height and width of a photo as a camera gives it."""
Run = Callable[[], object]


class Figure(NamedTuple):
    """A ratio that was measured."""

    about: str
    """The part of the page it belongs to."""
    what: str
    ratio: float
    low: float
    """Lower quartile over rounds."""
    high: float
    goal: str = ""
    """`>= 5` or `<= 1.5`; empty where it is there to be known."""

    @property
    def met(self) -> bool:
        """Whether the goal is."""
        sign, _, bound = self.goal.partition(" ")
        return not sign or (self.ratio >= float(bound) if sign == ">=" else self.ratio <= float(bound))


def main() -> None:
    """Measure what was asked for, print it, and write the page where all of it was."""
    parts = {"network": of_networks, "photo": of_photos, "start": of_starts, "catalogue": of_catalogues}
    args = _arguments(list(parts))
    torch.set_num_threads(1)
    os.environ["HEMLINE_THREADS"] = "1"
    cv2.setNumThreads(1)
    figures: list[Figure] = []
    for name in args.only or parts:
        for figure in parts[name](args.rounds):
            print(_line(figure), flush=True)
            figures.append(figure)
    if not (args.only or args.no_page):
        with whole_file(PAGE) as temporary:
            temporary.write_text(page(figures), encoding="utf-8")
        print(PAGE)


# -- what is measured ----------------------------------------------------------------------------------------


def of_networks(rounds: int) -> Iterator[Figure]:
    """The network alone, on a canvas that stands ready."""
    runs = _networks()
    seconds = timed(runs, rounds)
    trunk, f32, fastest = (seconds[name] for name in ("trunk", "f32", "fastest"))
    yield figure("network", "network / its trunk alone, both in OpenVINO f32", f32, trunk, "<= 1.5")
    yield figure("network", "smp.Unet eager / network f32, same canvas", seconds["unet"], f32, ">= 5")
    yield figure("network", f"smp.Unet eager / network {fastest_dtype()}", seconds["unet"], fastest, ">= 10")
    yield figure("network", "smp.Unet in OpenVINO f32 / network f32", seconds["unet in openvino"], f32)
    yield figure("network", "SegFormer-B2 eager at 512 / network f32", seconds["segformer"], f32, ">= 30")
    yield figure("network", f"SegFormer-B2 eager at 512 / network {fastest_dtype()}", seconds["segformer"], fastest)


def of_photos(rounds: int) -> Iterator[Figure]:
    """From the file of a photo to what is worn in it: masks of its size, colours, words."""
    f32, fastest = Tagger.load(dtype="f32"), Tagger.load(dtype="fastest")
    metadata = f32.metadata
    unet = networks.Peer(metadata.recipe["backbone"]["name"], metadata.labels.num_masks).eval()
    for name, photo in (("at 512 x 600", demo_photo().read_bytes()), ("at 2400 x 3600", _large())):
        seconds = timed(
            {
                "f32": lambda photo=photo: _whole(f32, photo),
                "fastest": lambda photo=photo: _whole(fastest, photo),
                "peer": lambda photo=photo: _plainly(unet, photo, metadata.canvas),
                "network": _ours("f32", metadata.canvas),
            },
            rounds,
        )
        plain = "plain code around smp.Unet eager"
        yield figure("photo", f"{plain} / hemline f32, {name}", seconds["peer"], seconds["f32"], ">= 4")
        fast = f"{plain} / hemline {fastest_dtype()}, {name}"
        yield figure("photo", fast, seconds["peer"], seconds["fastest"], ">= 7")
        rest = np.subtract(seconds["f32"], seconds["network"])
        what = f"all but the network / the network f32, {name}"
        yield figure("photo", what, rest.tolist(), seconds["network"], "<= 1")


def of_starts(rounds: int) -> Iterator[Figure]:
    """Whole processes, from the first import to the last line."""
    photo = str(demo_photo())
    python = [sys.executable, "-c"]
    commands = {
        "help": [sys.executable, "-m", "hemline", "--help"],
        "rich": [*python, "import typer, rich"],
        "predict": [sys.executable, "-m", "hemline", "predict", photo],
        "torch": [*python, "import torch, timm"],
    }
    runs = {name: lambda command=command: _process(command) for name, command in commands.items()}
    seconds = timed(runs, max(3, rounds // 3))
    yield figure("start", "`hemline --help` / `import typer, rich`", seconds["help"], seconds["rich"], "<= 3")
    what = "`hemline predict photo.jpg`, cold / `import torch, timm`"
    yield figure("start", what, seconds["predict"], seconds["torch"], "<= 0.3")


def of_catalogues(_: int) -> Iterator[Figure]:
    """What the scripts beside this one say of many photos."""
    for script in ("tag.py", "query.py"):
        said = subprocess.run([sys.executable, HERE / script, "--json"], check=True, stdout=subprocess.PIPE, text=True)
        for entry in json.loads(said.stdout):
            yield Figure("catalogue", **entry)


# -- how ------------------------------------------------------------------------------------------------------


def timed(runs: dict[str, Run], rounds: int) -> dict[str, list[float]]:
    """The seconds of each run in each round."""
    for run in runs.values():
        run()
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            begun = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - begun)
    return seconds


def figure(about: str, what: str, over: Sequence[float], under: Sequence[float], goal: str = "") -> Figure:
    """The ratio of two lists of seconds, round by round."""
    low, middle, high = np.quantile(np.divide(over, under), (0.25, 0.5, 0.75)).tolist()
    return Figure(about, what, middle, low, high, goal)


def fastest_dtype() -> str:
    """The quickest precision that OpenVINO has on this machine."""
    able = networks.openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return "bf16" if "BF16" in able else "f32"


def _networks() -> dict[str, Run]:
    """Our network and what it is compared with, each reading one canvas."""
    metadata = read_metadata(default_weights())
    trunk, classes = metadata.recipe["backbone"]["name"], metadata.labels.num_masks
    pixels = torch.from_numpy(_canvas(metadata.canvas)).repeat(2, 1, 1, 1)
    alone = networks.Case("trunk", networks.TrunkAlone(trunk).eval(), {"pixels": pixels})
    unet = networks.Case("unet", networks.Peer(trunk, classes).eval(), {"pixels": pixels})
    graphs = [trace(case.network, case.inputs, networks.outputs(case)).SerializeToString() for case in (alone, unet)]
    _, (trunk_run, unet_run) = networks.in_openvino(graphs, [alone, unet], 1, "f32")
    ours = {name: _ours(dtype, metadata.canvas) for name, dtype in (("f32", "f32"), ("fastest", fastest_dtype()))}
    eager = {"unet": lambda: _eagerly(unet.network, pixels[:1]), "segformer": _segformer()}
    return {"trunk": trunk_run, "unet in openvino": unet_run, **ours, **eager}


def _ours(dtype: Literal["f32", "bf16"], canvas: tuple[int, int]) -> Run:
    """The default weights as `predict` runs them, on a canvas that stands ready."""
    weights = default_weights()
    runtime = open_runtime(weights, read_metadata(weights), runtime="openvino", threads=1, dtype=dtype)
    pixels, valid = _canvas(canvas), np.ones((1, *canvas), np.uint8)
    return lambda: runtime(pixels, valid)


def _segformer() -> Run:
    """What most people use for clothes, at the size it is used at, as they run it."""
    from transformers import SegformerConfig, SegformerForSemanticSegmentation

    network = SegformerForSemanticSegmentation(SegformerConfig(**SEGFORMER, num_labels=18)).eval()
    photo = torch.zeros(1, 3, 512, 512)
    return lambda: _eagerly(network, photo)


def _eagerly(network: torch.nn.Module, photo: Tensor) -> object:
    with torch.inference_mode():
        return network(photo)


def _plainly(unet: torch.nn.Module, photo: bytes, canvas: tuple[int, int]) -> NDArray[np.uint8]:
    """What one would write around a U-Net: decode, resize, run, a class map of the photo's size; no words."""
    pixels = np.asarray(Image.open(BytesIO(photo)).convert("RGB"))
    small = cv2.resize(pixels, canvas[::-1], interpolation=cv2.INTER_AREA)
    with torch.inference_mode():
        classes = unet(torch.from_numpy(small)[None])[0].argmax(0)
    size = pixels.shape[1], pixels.shape[0]
    return np.asarray(cv2.resize(classes.numpy().astype(np.uint8), size, interpolation=cv2.INTER_NEAREST))


def _whole(tagger: Tagger, photo: bytes) -> str:
    """A result as it is used: all masks, all words, as JSON."""
    return json.dumps(tagger(photo).to_dict())


def _canvas(size: tuple[int, int]) -> NDArray[np.uint8]:
    return place(read_photo(demo_photo()), size).pixels[None]


def _large() -> bytes:
    """The demo photo as large as a camera makes one, grain and all."""
    pixels = cv2.resize(read_photo(demo_photo()), LARGE[::-1], interpolation=cv2.INTER_CUBIC)
    grain = np.random.default_rng(0).normal(0, 4, LARGE)[..., None]
    file = BytesIO()
    Image.fromarray((pixels + grain).clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=90)
    return file.getvalue()


def _process(command: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(command, check=True, capture_output=True, cwd=folder)


# -- what is written -----------------------------------------------------------------------------------------

ABOUT = {
    "network": "The network alone, on a canvas that stands ready",
    "photo": "From a photo's bytes to its answer as JSON, masks of the photo's size",
    "start": "Whole processes",
    "catalogue": "Many photos, all cores",
}


def page(figures: Sequence[Figure]) -> str:
    """docs/speed.md."""
    core = networks.openvino_core()
    cpu = core.get_property("CPU", "FULL_DEVICE_NAME").strip()
    lines = [
        "# How fast it is",
        "",
        "Ratios, not times: what is compared ran in turns in the same run, so that they hold on other machines, too.",
        "The middle of several rounds, and between which values half of them lay. Peers: eager",
        "[segmentation_models.pytorch](https://github.com/qubvel-org/segmentation_models.pytorch) `Unet` on the same",
        "trunk, and [SegFormer](https://arxiv.org/abs/2105.15203)-B2 of transformers at its 512 x 512. One thread",
        "where nothing else is said. Photos: the one that ships with matplotlib, and the same as large as a camera",
        "makes them. The plain code decodes a photo whole, and answers with a class map alone.",
        "",
        f"{date.today():%Y-%m-%d}, {cpu}, {os.cpu_count()} cores, fastest precision {fastest_dtype()},",
        f"Python {platform.python_version()}, {', '.join(map(networks.version_of, PACKAGES))}.",
    ]
    for about, title in ABOUT.items():
        lines += ["", f"## {title}", "", "| | ratio | half of the rounds | goal | |", "|---|--:|---|---|---|"]
        for one in figures:
            if one.about == about:
                goal = f"{one.goal} | {'met' if one.met else 'missed'}" if one.goal else "|"
                lines.append(f"| {one.what} | {one.ratio:.2f} | {one.low:.2f} to {one.high:.2f} | {goal} |")
    return "\n".join([*lines, "", "Written by `uv run --group bench benchmarks/speed.py`.", ""])


def _line(one: Figure) -> str:
    goal = f"   goal {one.goal}: {'met' if one.met else 'MISSED'}" if one.goal else ""
    return f"{one.what:<66}{one.ratio:>8.2f}   {one.low:.2f} to {one.high:.2f}{goal}"


def _arguments(parts: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", nargs="+", choices=parts, help="some parts; no page is written")
    parser.add_argument("--rounds", type=int, default=20, help="times that everything runs (20)")
    parser.add_argument("--no-page", action="store_true", help="print alone")
    return parser.parse_args()


if __name__ == "__main__":
    main()
