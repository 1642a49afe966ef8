"""Runs the network: canvases in, logits out, whatever runs it.

    openvino      an .onnx or .xml graph on the CPU         what `auto` takes
    onnxruntime   an .onnx graph on the CPU or a GPU        pip install "hemline[onnxruntime]"
    torch         a .safetensors file on the CPU or a GPU   pip install "hemline[train]"
                  a .pt file (TorchScript) on the CPU       what `auto` takes of these

Weights whose network finds instances run on torch alone.

All of them compute in 32-bit floats and give the same answer, but for graphs of int8 (`Metadata.precision`) and where
OpenVINO is asked for bf16 (`Dtype`). A photo's answer does not depend on the photos beside it. Pixels that are not
`valid` belong to no mask and no label is pooled there; the trunk does see them, which is why padding is always the grey
that `hemline.photo.place` puts there.

Shapes: B photos, H W canvas, h w = canvas / 4, K mask classes, L labels.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from pathlib import Path
from threading import RLock
from types import ModuleType
from typing import Any, Literal, NamedTuple, Protocol, get_args, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from hemline.errors import DeviceError, WeightsError
from hemline.metadata import Metadata

RuntimeName = Literal["auto", "openvino", "onnxruntime", "torch"]
DeviceName = Literal["auto", "cpu", "cuda"]
Dtype = Literal["f32", "bf16", "fastest"]

DEFAULT = "street"
"""Name of the weights in the package."""
THREADS_VARIABLE = "HEMLINE_THREADS"
"""Environment variable that says how many CPU threads to use."""
CONVERTER = "openvino.tools.ovc"
"""What OpenVINO turns other frameworks' models into its own with."""


class Answer(NamedTuple):
    """What the network answers for a batch of canvases."""

    masks: NDArray[np.float32]
    """(B, K, h, w) logits, one map a mask class."""
    labels: NDArray[np.float32]
    """(B, 1 + K, L) logits: of the whole photo, then under the mask of each class; an empty mask means nothing."""
    embeddings: NDArray[np.float32] | None = None
    """(B, 1 + K, D) what garments are compared by, of the same; None where the graph is of a version without them."""


class Detections(NamedTuple):
    """What a network that finds instances answers for one photo, surest first."""

    boxes: NDArray[np.float32]
    """(N, 4) x0, y0, x1, y1 in pixels of the canvas."""
    classes: NDArray[np.int64]
    """(N,) positions in `LabelSpace.categories`."""
    scores: NDArray[np.float32]
    """(N,) probabilities."""
    masks: NDArray[np.float32]
    """(N, m, m) probability that each cell of the box is the garment."""
    labels: NDArray[np.float32]
    """(1 + N, L) logits: of the whole photo, then of each garment."""


class Runtime(Protocol):
    """Something that runs one network; build it with `open_runtime`."""

    name: str
    """`openvino`, `onnxruntime` or `torch`."""
    device: str
    """`cpu` or `cuda`."""
    dtype: str
    """What it computes in: `f32` or `bf16`."""

    def __call__(self, pixels: NDArray[np.uint8], valid: NDArray[np.uint8]) -> Answer:
        """Canvases (B, H, W, 3) RGB and their valid pixels (B, H, W), 1 on the photo -> `Answer`."""


@runtime_checkable
class Finder(Protocol):
    """Something that runs one network that finds instances; build it with `open_finder`."""

    name: str
    """`torch`."""
    device: str
    """`cpu` or `cuda`."""
    dtype: str
    """What it computes in: `f32` or `bf16`."""

    def find(self, pixels: NDArray[np.uint8], valid: NDArray[np.uint8]) -> list[Detections]:
        """Canvases (B, H, W, 3) RGB and their valid pixels (B, H, W), 1 on the photo -> what each photo shows."""


def default_weights(suffix: Literal[".onnx", ".safetensors"] = ".onnx") -> Path:
    """The weights in the package.

    Raises:
        WeightsError: this copy of Hemline holds none.
    """
    path = Path(__file__).with_name("weights") / f"{DEFAULT}{suffix}"
    if not path.is_file():
        raise WeightsError(f"this copy of Hemline holds no weights ({path} is missing): install it anew or name a file")
    return path


def weights_file(name: str, suffix: Literal[".onnx", ".safetensors"] = ".onnx") -> Path:
    """The file of that name, or for `default` the one in the package that ends so.

    Raises:
        WeightsError: this copy of Hemline holds none.
    """
    return default_weights(suffix) if name == "default" else Path(name)


def open_runtime(
    weights: Path,
    metadata: Metadata,
    *,
    runtime: RuntimeName = "auto",
    device: DeviceName = "auto",
    threads: int | None = None,
    dtype: Dtype = "f32",
) -> Runtime:
    """Make weights ready to run, of a network that draws classes; `open_finder` does so of one that finds instances.

    Args:
        weights: A `.onnx`, `.xml`, `.pt` or `.safetensors` file. Where a runtime reads none of that form, the `.onnx`,
            or for torch the `.safetensors`, is taken from beside it, if it holds the same weights.
        metadata: What the file says of itself.
        runtime: `auto` takes the first of OpenVINO, ONNX Runtime and torch that is here and has what it reads.
        device: `auto` takes a GPU where the runtime can use one, `cuda` insists on it.
        threads: CPU threads; those that `HEMLINE_THREADS` says, or all, if None. With torch this holds for the
            whole process.
        dtype: What it computes in. Answers of `f32` are alike on all machines; `bf16` is quicker on CPUs that have it
            (OpenVINO alone) and changes them a little; `fastest` takes bf16 where it can be had, else f32.

    Raises:
        WeightsError: the file is damaged, the form that the runtime reads does not lie beside it, or its network finds
            instances.
        DeviceError: the runtime, device or dtype that was asked for is not here.
    """
    if metadata.finds == "instances":
        raise WeightsError(f"{weights}: its network finds instances; this needs one that draws classes, such as unet")
    check_choices(runtime, device, dtype)
    threads = _num_threads(threads)
    script = Path(weights).suffix.lower() == ".pt"
    names = (runtime,) if runtime != "auto" else ("torch",) if script else ("openvino", "onnxruntime", "torch")
    problems: list[DeviceError | WeightsError] = []
    for name in names:
        try:
            return _open(name, Path(weights), metadata, device, threads, dtype)
        except (DeviceError, WeightsError) as error:
            problems.append(error)
    if device == "cuda" and len(problems) > 1:
        raise DeviceError("device cuda cannot be had: " + "; ".join(str(problem) for problem in problems))
    if Path(weights).suffix.lower() == ".safetensors" and isinstance(problems[-1], WeightsError):
        raise problems[-1]  # torch reads the file itself, the others only what lies beside it
    raise problems[0]


def check_choices(runtime: str, device: str, dtype: str) -> None:
    """Refuse a runtime, device or dtype that is none of those known here.

    Raises:
        DeviceError: it is not.
    """
    asked = (("runtime", runtime, RuntimeName), ("device", device, DeviceName), ("dtype", dtype, Dtype))
    for key, value, choices in asked:
        if value not in get_args(choices):
            raise DeviceError(f"{key} {value!r}: choose {', '.join(get_args(choices))}")


def _open(
    name: str, weights: Path, metadata: Metadata, device: DeviceName, threads: int | None, dtype: Dtype
) -> Runtime:
    if dtype == "bf16" and name != "openvino":
        raise DeviceError(f"dtype bf16 needs runtime openvino, {name} has f32")
    from hemline import _runtimes

    try:
        if name == "openvino":
            return _runtimes.OpenVino(weights, metadata, device, threads, dtype)
        if name == "torch" and weights.suffix.lower() == ".pt":
            return _runtimes.TorchScript(weights, device, threads)
        make = _runtimes.OnnxRuntime if name == "onnxruntime" else _runtimes.Torch
        return make(weights, metadata, device, threads)
    except ModuleNotFoundError as error:
        raise _not_here(name, error) from error


def open_finder(
    weights: Path,
    metadata: Metadata,
    *,
    runtime: RuntimeName = "auto",
    device: DeviceName = "auto",
    threads: int | None = None,
) -> Finder:
    """Make weights ready to run whose network finds instances, which torch alone does.

    Args:
        weights: A `.safetensors` file.
        metadata: What the file says of itself.
        runtime: `auto` or `torch`.
        device: As of `open_runtime`.
        threads: As of `open_runtime`.

    Raises:
        WeightsError: the file is damaged.
        DeviceError: the device is not here, or another runtime was asked for.
    """
    if runtime not in ("auto", "torch"):
        raise DeviceError(f"runtime {runtime} cannot run {weights}, whose network finds instances: take torch or auto")
    from hemline import _runtimes

    try:
        return _runtimes.TorchFinder(Path(weights), metadata, device, _num_threads(threads))
    except ModuleNotFoundError as error:
        raise _not_here("torch", error) from error


def _not_here(runtime: str, error: ModuleNotFoundError) -> DeviceError:
    package = {"openvino": "hemline", "onnxruntime": "hemline[onnxruntime]", "torch": "hemline[train]"}[runtime]
    return DeviceError(f'runtime {runtime} needs {error.name}, which is not here: pip install "{package}"')


def _num_threads(threads: int | None) -> int | None:
    where, value = "threads", str(threads)
    if threads is None:
        where, value = THREADS_VARIABLE, os.environ.get(THREADS_VARIABLE, "")
        if not value:
            return None
    if not value.isdecimal() or int(value) < 1:
        raise DeviceError(f"{where} is a number of CPU threads, 1 or more, not {value!r}")
    return int(value)


_importing = RLock()
"""Held while modules are hidden, so that no thread brings back what another one hides."""


def openvino_core() -> Any:  # noqa: ANN401  OpenVINO has no types
    """The one `openvino.Core` of this process, never let go.

    When the last core goes, OpenVINO unloads its CPU plugin, which then unmaps the stack that it set for signals. It
    takes that stack back only from the thread that it goes in: if another one had loaded it, the next signal kills the
    process (https://github.com/openvinotoolkit/openvino/pull/11894, `SigAltStackSetup`).
    """
    with _importing:                                     # `cache` alone would let two threads make one each
        return _core()


@cache
def _core() -> Any:  # noqa: ANN401
    return openvino().Core()


def cpu_has_bf16() -> bool:
    """Whether OpenVINO is here and computes in bf16 on this CPU."""
    try:
        return "BF16" in openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    except ModuleNotFoundError:
        return False


def import_quietly(name: str) -> Any:  # noqa: ANN401  a module
    """Import OpenVINO, or what belongs to it, without its telemetry.

    As it comes, `import openvino` calls www.google-analytics.com and writes to ~/intel, and so does `import nncf`. They
    do neither where the package openvino_telemetry cannot be imported, which is made so while they are.
    """
    with _hidden("openvino_telemetry"):
        return import_module(name)


@contextmanager
def _hidden(name: str) -> Iterator[None]:
    """While it lasts, a module cannot be imported."""
    with _importing:
        known = sys.modules.pop(name, None)
        sys.modules[name] = None  # type: ignore[assignment]  # what makes its import fail
        try:
            yield
        finally:
            sys.modules.pop(name, None)
            if known is not None:
                sys.modules[name] = known


def openvino() -> ModuleType:
    """OpenVINO, whose converter of other frameworks' models is first imported when someone asks for it.

    The converter takes more than half of the time of `import openvino`, which goes on without it.
    """
    with _hidden(CONVERTER):
        module: ModuleType = import_quietly("openvino")

    def on_first_use(name: str) -> Any:  # noqa: ANN401  whatever the converter is
        if name != "convert_model":
            raise AttributeError(f"module 'openvino' has no attribute {name!r}", name=name, obj=module)
        module.convert_model = import_quietly(CONVERTER).convert_model  # type: ignore[attr-defined]
        return module.convert_model

    if "convert_model" not in vars(module):              # `hasattr` would ask `on_first_use`, which imports it
        module.__getattr__ = on_first_use  # type: ignore[method-assign]
    return module
