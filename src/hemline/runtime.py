"""Runs the network: canvases in, logits out, whatever runs it.

    openvino      an .onnx graph on the CPU                 what `auto` takes
    onnxruntime   an .onnx graph on the CPU or a GPU        pip install "hemline[onnxruntime]"
    torch         a .safetensors file on the CPU or a GPU   pip install "hemline[train]"

Weights whose network finds instances run on torch alone.

All of them compute in 32-bit floats and give the same answer. A photo's answer does not depend on the photos beside
it. Pixels that are not `valid` belong to no mask and no label is pooled there; the trunk does see them, which is why
padding is always the grey that `hemline.photo.place` puts there.

Shapes: B photos, H W canvas, h w = canvas / 4, K mask classes, L labels.
"""

from __future__ import annotations

import os
import sys
from functools import cache
from importlib import import_module
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypeVar, get_args, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from hemline.errors import DeviceError, WeightsError
from hemline.metadata import Metadata, check_graph, read_metadata

if TYPE_CHECKING:
    from hemline.instance_model import InstanceNetwork
    from hemline.model import Network

    M = TypeVar("M", Network, InstanceNetwork)

RuntimeName = Literal["auto", "openvino", "onnxruntime", "torch"]
DeviceName = Literal["auto", "cpu", "cuda"]
Precision = Literal["f32", "bf16"]

DEFAULT = "street"
"""Name of the weights in the package."""
THREADS_VARIABLE = "HEMLINE_THREADS"
"""Environment variable that says how many CPU threads to use."""


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

    def __call__(self, pixels: NDArray[np.uint8], valid: NDArray[np.uint8]) -> Answer:
        """Canvases (B, H, W, 3) RGB and their valid pixels (B, H, W), 1 on the photo -> `Answer`."""


@runtime_checkable
class Finder(Protocol):
    """Something that runs one network that finds instances; build it with `open_finder`."""

    name: str
    """`torch`."""
    device: str
    """`cpu` or `cuda`."""

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
    precision: Precision = "f32",
) -> Runtime:
    """Make weights ready to run, of a network that draws classes; `open_finder` does so of one that finds instances.

    Args:
        weights: A `.onnx` or `.safetensors` file. Where a runtime reads the other form, that file is taken from beside
            it, if it holds the same weights.
        metadata: What the file says of itself.
        runtime: `auto` takes the first of OpenVINO, ONNX Runtime and torch that is here and has what it reads.
        device: `auto` takes a GPU where the runtime can use one, `cuda` insists on it.
        threads: CPU threads; those that `HEMLINE_THREADS` says, or all, if None. With torch this holds for the
            whole process.
        precision: `bf16` is quicker where the CPU has it, answers change a little; OpenVINO alone.

    Raises:
        WeightsError: the file is damaged, the form that the runtime reads does not lie beside it, or its network finds
            instances.
        DeviceError: the runtime, device or precision that was asked for is not here.
    """
    if metadata.finds == "instances":
        raise WeightsError(f"{weights}: its network finds instances; this needs one that draws classes, such as unet")
    asked = (("runtime", runtime, RuntimeName), ("device", device, DeviceName), ("precision", precision, Precision))
    for key, value, choices in asked:
        if value not in get_args(choices):
            raise DeviceError(f"{key} {value!r}: choose {', '.join(get_args(choices))}")
    threads = _num_threads(threads)
    names = (runtime,) if runtime != "auto" else ("openvino", "onnxruntime", "torch")
    problems: list[DeviceError | WeightsError] = []
    for name in names:
        try:
            return _open(name, Path(weights), metadata, device, threads, precision)
        except (DeviceError, WeightsError) as error:
            problems.append(error)
    if device == "cuda" and len(problems) > 1:
        raise DeviceError("device cuda cannot be had: " + "; ".join(str(problem) for problem in problems))
    if Path(weights).suffix.lower() == ".safetensors" and isinstance(problems[-1], WeightsError):
        raise problems[-1]  # torch reads the file itself, the others only what lies beside it
    raise problems[0]


def _open(
    name: str, weights: Path, metadata: Metadata, device: DeviceName, threads: int | None, precision: Precision
) -> Runtime:
    if precision == "bf16" and name != "openvino":
        raise DeviceError(f"precision bf16 needs runtime openvino, {name} has f32")
    try:
        if name == "openvino":
            return _OpenVino(weights, metadata, device, threads, precision)
        return (_OnnxRuntime if name == "onnxruntime" else _Torch)(weights, metadata, device, threads)
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
    try:
        return _TorchFinder(Path(weights), metadata, device, _num_threads(threads))
    except ModuleNotFoundError as error:
        raise _not_here("torch", error) from error


def _not_here(runtime: str, error: ModuleNotFoundError) -> DeviceError:
    package = {"openvino": "hemline", "onnxruntime": "hemline[onnxruntime]", "torch": "hemline[train]"}[runtime]
    return DeviceError(f'runtime {runtime} needs {error.name}, which is not here: pip install "{package}"')


class _OpenVino:
    name = "openvino"
    device = "cpu"

    def __init__(
        self, weights: Path, metadata: Metadata, device: DeviceName, threads: int | None, precision: Precision
    ) -> None:
        core = openvino_core()
        if device == "cuda":
            raise DeviceError("runtime openvino has no device cuda: take device=cpu, or runtime=onnxruntime or torch")
        if precision == "bf16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise DeviceError("this CPU has no precision bf16: take f32")
        self._options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": precision}
        if threads is not None:
            self._options["INFERENCE_NUM_THREADS"] = str(threads)
        self._core = core
        self._canvas = metadata.canvas
        self._graph = _graph(weights, metadata)
        self._requests: dict[int, Any] = {}
        self._lock = Lock()  # a request holds one batch at a time
        request = self._request(1)  # says now what is wrong with the graph
        named = {name for output in request.model_outputs for name in output.get_names()}
        self._outputs = [name for name in Answer._fields if name in named]

    def __call__(self, pixels: NDArray[np.uint8], valid: NDArray[np.uint8]) -> Answer:
        with self._lock:
            outputs = self._request(len(pixels)).infer({"pixels": pixels, "valid": valid})
            return Answer(**{name: outputs[name] for name in self._outputs})

    def _request(self, batch: int) -> Any:  # noqa: ANN401  OpenVINO has no types
        """One photo has a request of its own: with its shapes fixed, it takes a tenth less time than in any batch."""
        size = 1 if batch == 1 else -1
        if size not in self._requests:
            try:
                model = self._core.read_model(str(self._graph))
                model.reshape({"pixels": [size, *self._canvas, 3], "valid": [size, *self._canvas]})
                compiled = self._core.compile_model(model, "CPU", self._options)
            except RuntimeError as error:
                raise _unreadable(self._graph, error) from error
            self._requests[size] = compiled.create_infer_request()
        return self._requests[size]


class _OnnxRuntime:
    name = "onnxruntime"

    def __init__(self, weights: Path, metadata: Metadata, device: DeviceName, threads: int | None) -> None:
        # As it comes, from 1.29 on, importing it gives this machine an id under ~/.cache and reports to Microsoft.
        # https://github.com/microsoft/onnxruntime/blob/main/docs/Privacy.md
        os.environ["ORT_DISABLE_TELEMETRY"] = "1"
        import onnxruntime  # type: ignore[import-untyped]  # onnxruntime ships no types

        onnxruntime.disable_telemetry_events()  # where the caller imported it before, and on Windows
        graph = _graph(weights, metadata)
        providers: list[Any] = ["CPUExecutionProvider"]
        if device != "cpu" and "CUDAExecutionProvider" in onnxruntime.get_available_providers():
            providers.insert(0, ("CUDAExecutionProvider", {"use_tf32": "0"}))  # TF32 has bf16's short mantissa
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # what goes wrong is raised, and said once
        options.intra_op_num_threads = threads or 0
        try:
            self._session = onnxruntime.InferenceSession(str(graph), options, providers=providers)
        except Exception as error:  # its errors share no narrower parent
            raise _unreadable(graph, error) from error
        self.device = "cuda" if "CUDAExecutionProvider" in self._session.get_providers() else "cpu"
        if device == "cuda" and self.device != "cuda":
            raise DeviceError("runtime onnxruntime sees no GPU: take device=cpu, or install onnxruntime-gpu")

    def __call__(self, pixels: NDArray[np.uint8], valid: NDArray[np.uint8]) -> Answer:
        names = [output.name for output in self._session.get_outputs() if output.name in Answer._fields]
        return Answer(**dict(zip(names, self._session.run(names, {"pixels": pixels, "valid": valid}), strict=True)))


class _Torch:
    name = "torch"

    def __init__(self, weights: Path, metadata: Metadata, device: DeviceName, threads: int | None) -> None:
        from hemline.checkpoint import load_network

        self.device = _torch_device(device, threads)
        network, _ = load_network(_beside(weights, metadata, ".safetensors"))
        self.network = _on(network, self.device)

    def __call__(self, pixels: NDArray[np.uint8], valid: NDArray[np.uint8]) -> Answer:
        import torch

        photos, inside = (torch.tensor(np.ascontiguousarray(x), device=self.device) for x in (pixels, valid))
        with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            outputs = self.network(photos, inside)
        return Answer(*(output.cpu().numpy() for output in outputs))


class _TorchFinder:
    name = "torch"

    def __init__(self, weights: Path, metadata: Metadata, device: DeviceName, threads: int | None) -> None:
        from hemline.checkpoint import load_instance_network

        self.device = _torch_device(device, threads)
        network, _ = load_instance_network(_beside(weights, metadata, ".safetensors"))
        self.find = _on(network, self.device).find


def _torch_device(device: DeviceName, threads: int | None) -> str:
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise DeviceError("runtime torch sees no GPU: take device=cpu, or install a torch build for your GPU")
    if threads is not None:
        torch.set_num_threads(threads)
    return "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"


def _on(network: M, device: str) -> M:
    import torch

    return network.to(device).to(memory_format=torch.channels_last)


def _graph(weights: Path, metadata: Metadata) -> Path:
    graph = _beside(weights, metadata, ".onnx")
    check_graph(graph)
    return graph


def _beside(weights: Path, metadata: Metadata, suffix: str) -> Path:
    """The form of the weights that ends in `suffix`: the file itself, or the one beside it that holds the same."""
    if weights.suffix.lower() == suffix:
        return weights
    other = weights.with_suffix(suffix)
    repair = f"hemline export {weights} writes it" if suffix == ".onnx" else f"put {other.name} there"
    if not other.is_file():
        raise WeightsError(f"{weights}: no {suffix} file lies beside it; {repair}")
    if not metadata.weights_sha256 or read_metadata(other).weights_sha256 != metadata.weights_sha256:
        raise WeightsError(f"{other} holds other weights than {weights.name}; {repair}")
    return other


def _num_threads(threads: int | None) -> int | None:
    where, value = "threads", str(threads)
    if threads is None:
        where, value = THREADS_VARIABLE, os.environ.get(THREADS_VARIABLE, "")
        if not value:
            return None
    if not value.isdecimal() or int(value) < 1:
        raise DeviceError(f"{where} is a number of CPU threads, 1 or more, not {value!r}")
    return int(value)


def _unreadable(graph: Path, error: Exception) -> WeightsError:
    reason = next((line.strip() for line in reversed(str(error).splitlines()) if line.strip()), type(error).__name__)
    return WeightsError(f"{graph}: the graph cannot be run, copy or export it again ({reason})")


@cache
def openvino_core() -> Any:  # noqa: ANN401  OpenVINO has no types
    """The one `openvino.Core` of this process, never let go.

    When the last core goes, OpenVINO unloads its CPU plugin, which then unmaps the stack that it set for signals. It
    takes that stack back only from the thread that it goes in: if another one had loaded it, the next signal kills the
    process (https://github.com/openvinotoolkit/openvino/pull/11894, `SigAltStackSetup`).
    """
    return import_openvino().Core()


def import_openvino() -> Any:  # noqa: ANN401  a module
    """Import OpenVINO without its telemetry.

    As it comes, `import openvino` calls www.google-analytics.com and writes to ~/intel. It does neither where the
    package openvino_telemetry cannot be imported, which is made so while OpenVINO is.
    """
    name = "openvino_telemetry"
    known = sys.modules.pop(name, None)
    sys.modules[name] = None  # type: ignore[assignment]  # what makes its import fail
    try:
        return import_module("openvino")
    finally:
        del sys.modules[name]
        if known is not None:
            sys.modules[name] = known
