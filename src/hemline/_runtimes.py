"""What runs the network, one class a runtime; `hemline.runtime` builds them when weights are opened."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from hemline._weights_files import check_graph
from hemline.errors import DeviceError, WeightsError
from hemline.metadata import Metadata, read_metadata
from hemline.runtime import Answer, DeviceName, Dtype, cpu_has_bf16, openvino_core

if TYPE_CHECKING:
    from hemline.instance_model import InstanceNetwork
    from hemline.model import Network

    M = TypeVar("M", Network, InstanceNetwork)


class OpenVino:
    """An `.onnx` or `.xml` graph, run by OpenVINO on the CPU."""

    name = "openvino"
    device = "cpu"

    def __init__(
        self, weights: Path, metadata: Metadata, device: DeviceName, threads: int | None, dtype: Dtype
    ) -> None:
        core = openvino_core()
        if device == "cuda":
            raise DeviceError("runtime openvino has no device cuda: take device=cpu, or runtime=onnxruntime or torch")
        has_bf16 = dtype != "f32" and cpu_has_bf16()
        if dtype == "bf16" and not has_bf16:
            raise DeviceError("this CPU has no dtype bf16: take f32, or fastest")
        self.dtype = "bf16" if has_bf16 else "f32"
        self._options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": self.dtype}
        if threads is not None:
            self._options["INFERENCE_NUM_THREADS"] = str(threads)
        self._core = core
        self._canvas = metadata.canvas
        self._graph = _graph(weights, metadata, ".onnx", ".xml")
        self._lock = Lock()  # a request holds one photo at a time
        self._alone = self._compile(self._options)  # says now what is wrong with the graph
        self.streams = int(self._alone.get_property("INFERENCE_NUM_THREADS"))
        """Photos that are quickest read at a time: one a thread."""
        self._first = self._alone.create_infer_request()
        self._beside: list[Any] = []
        named = {name for output in self._alone.outputs for name in output.get_names()}
        self._outputs = [name for name in Answer._fields if name in named]

    def __call__(self, pixels: NDArray[np.uint8], valid: NDArray[np.uint8]) -> Answer:
        with self._lock:
            requests = [self._first]
            if len(pixels) > 1 and 2 * len(pixels) >= self.streams > 1:
                requests = self._beside = self._beside or self._of_one_thread()
            try:
                return self._in_turn(requests, pixels, valid)
            except BaseException:                          # a request that still runs would refuse the next photo
                self._beside, self._first = [], self._alone.create_infer_request()
                raise

    def _in_turn(self, requests: list[Any], pixels: NDArray[np.uint8], valid: NDArray[np.uint8]) -> Answer:
        """Photo after photo, each by the request that has been at work longest; shapes are fixed, which is quickest."""
        answers: list[list[NDArray[np.float32]]] = []
        for i in range(len(pixels) + len(requests)):
            request, ended = requests[i % len(requests)], i - len(requests)
            if 0 <= ended < len(pixels):
                request.wait()
                answers.append([request.get_tensor(name).data.copy() for name in self._outputs])
            if i < len(pixels):
                request.start_async({"pixels": pixels[i : i + 1], "valid": valid[i : i + 1]})
        parts = [part[0] if len(part) == 1 else np.concatenate(part) for part in zip(*answers, strict=True)]
        return Answer(**dict(zip(self._outputs, parts, strict=True)))

    def _of_one_thread(self) -> list[Any]:
        """A request a thread: for several photos, quicker than all threads on one and then the next."""
        wide = {"PERFORMANCE_HINT": "THROUGHPUT"}
        wide |= {key: str(self.streams) for key in ("NUM_STREAMS", "INFERENCE_NUM_THREADS")}
        compiled = self._compile(self._options | wide)
        return [compiled.create_infer_request() for _ in range(self.streams)]

    def _compile(self, options: dict[str, str]) -> Any:  # noqa: ANN401  OpenVINO has no types
        try:
            model = self._core.read_model(str(self._graph))
            model.reshape({"pixels": [1, *self._canvas, 3], "valid": [1, *self._canvas]})
            return self._core.compile_model(model, "CPU", options)
        except RuntimeError as error:
            raise _unreadable(self._graph, error) from error


class OnnxRuntime:
    """An `.onnx` graph, run by ONNX Runtime."""

    name = "onnxruntime"
    dtype = "f32"

    def __init__(self, weights: Path, metadata: Metadata, device: DeviceName, threads: int | None) -> None:
        onnxruntime = import_onnxruntime()
        graph = _graph(weights, metadata, ".onnx")
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


class Torch:
    """A `.safetensors` file, run by torch on the CPU or a GPU."""

    name = "torch"
    dtype = "f32"

    def __init__(self, weights: Path, metadata: Metadata, device: DeviceName, threads: int | None) -> None:
        from hemline.checkpoint import load_network

        self.device = _torch_device(device, threads)
        network, _ = load_network(form_beside(weights, metadata, ".safetensors"))
        self.network = _on(network, self.device)

    def __call__(self, pixels: NDArray[np.uint8], valid: NDArray[np.uint8]) -> Answer:
        import torch

        photos, inside = (torch.tensor(np.ascontiguousarray(x), device=self.device) for x in (pixels, valid))
        with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            outputs = self.network(photos, inside)
        return Answer(*(output.cpu().numpy() for output in outputs))


class TorchScript:
    """A `.pt` file, run by torch on the CPU, where it was traced."""

    name = "torch"
    dtype = "f32"
    device = "cpu"

    def __init__(self, weights: Path, device: DeviceName, threads: int | None) -> None:
        import torch

        if device == "cuda":
            raise DeviceError(f"{weights} is TorchScript of the CPU: take device=cpu, or the .safetensors file")
        _torch_device("cpu", threads)
        check_graph(weights)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # torch.jit goes, and as yet works
                self._module = torch.jit.load(weights, map_location="cpu")  # type: ignore[no-untyped-call]
        except Exception as error:  # its errors share no narrower parent
            raise _unreadable(weights, error) from error

    def __call__(self, pixels: NDArray[np.uint8], valid: NDArray[np.uint8]) -> Answer:
        import torch

        photos, inside = (torch.tensor(np.ascontiguousarray(x)) for x in (pixels, valid))
        with torch.inference_mode():
            return Answer(*(output.numpy() for output in self._module(photos, inside)))


class TorchFinder:
    """A `.safetensors` file whose network finds instances, run by torch."""

    name = "torch"
    dtype = "f32"

    def __init__(self, weights: Path, metadata: Metadata, device: DeviceName, threads: int | None) -> None:
        from hemline.checkpoint import load_instance_network

        self.device = _torch_device(device, threads)
        network, _ = load_instance_network(form_beside(weights, metadata, ".safetensors"))
        self.find = _on(network, self.device).find


def import_onnxruntime() -> Any:  # noqa: ANN401  a module
    """ONNX Runtime, that reports to nobody.

    Raises:
        ModuleNotFoundError: it is not here.
    """
    # As it comes, from 1.29 on, importing it gives this machine an id under ~/.cache and reports to Microsoft.
    # https://github.com/microsoft/onnxruntime/blob/main/docs/Privacy.md
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime  # type: ignore[import-untyped]  # onnxruntime ships no types

    onnxruntime.disable_telemetry_events()  # where the caller imported it before, and on Windows
    return onnxruntime


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


def _graph(weights: Path, metadata: Metadata, *suffixes: str) -> Path:
    graph = form_beside(weights, metadata, *suffixes)
    check_graph(graph)
    return graph


def form_beside(weights: Path, metadata: Metadata, *suffixes: str) -> Path:
    """A form of the weights that ends in one of these: the file itself, or the one beside it with the first of them.

    Raises:
        WeightsError: there is none, or it holds other weights.
    """
    if weights.suffix.lower() in suffixes:
        return weights
    if metadata.precision == "int8":
        raise WeightsError(f"{weights}: a graph of int8 is run by runtime openvino alone; others take its checkpoint")
    suffix = suffixes[0]
    other = weights.with_suffix(suffix)
    checkpoint = weights.with_suffix(".safetensors")
    repair = f"hemline export {checkpoint} writes it" if suffix == ".onnx" else f"put {other.name} there"
    if not other.is_file():
        raise WeightsError(f"{weights}: no {suffix} file lies beside it; {repair}")
    beside = read_metadata(other)
    same = beside.weights_sha256 == metadata.weights_sha256 and beside.precision == metadata.precision
    if not metadata.weights_sha256 or not same:
        raise WeightsError(f"{other} holds other weights than {weights.name}; {repair}")
    return other


def _unreadable(graph: Path, error: Exception) -> WeightsError:
    reason = next((line.strip() for line in reversed(str(error).splitlines()) if line.strip()), type(error).__name__)
    return WeightsError(f"{graph}: the graph cannot be run, copy or export it again ({reason})")
