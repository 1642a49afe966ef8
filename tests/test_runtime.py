"""The runtimes: one answer from all of them, whoever stands beside; what is chosen; and that nothing phones home."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from hemline import runtime as runtime_module
from hemline._weights_files import GRAPH_KEY
from hemline.checkpoint import load_network, save
from hemline.errors import DeviceError, WeightsError
from hemline.metadata import read_metadata
from hemline.photo import place, read_photo
from hemline.predict import demo_photo
from hemline.runtime import THREADS_VARIABLE, Runtime, RuntimeName, default_weights, open_runtime, openvino_core
from tests.exported import canvases, copied, small_network

RUNTIMES = ("openvino", "onnxruntime", "torch")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copied(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="module")
def graph(weights: Path) -> Path:
    return weights.with_suffix(".onnx")


@pytest.fixture(scope="module", params=RUNTIMES)
def runtime(request: pytest.FixtureRequest, weights: Path) -> Runtime:
    return open_(weights, runtime=request.param, device="cpu")


def open_(path: Path, **options: Any) -> Runtime:
    return open_runtime(path, read_metadata(path), **options)


# -- one answer -------------------------------------------------------------------------------------------------------


def test_every_runtime_answers_as_the_network_does(runtime: Runtime, weights: Path) -> None:
    network, _ = load_network(weights)
    pixels, valid = canvases(3)
    with torch.no_grad():
        want = network(torch.from_numpy(pixels), torch.from_numpy(valid))
    got = runtime(pixels, valid)
    assert got.masks.dtype == got.labels.dtype == np.float32
    decided = network.decide(want.masks, torch.ones_like(want.masks[:, :1]))
    assert decided.any(), "masks must not be empty, or labels under them say nothing"
    np.testing.assert_allclose(got.masks, want.masks.numpy(), rtol=0, atol=1e-4)
    np.testing.assert_allclose(got.labels, want.labels.numpy(), rtol=0, atol=1e-4)
    assert want.embeddings is not None
    assert got.embeddings is not None
    np.testing.assert_allclose(got.embeddings, want.embeddings.numpy(), rtol=0, atol=1e-4)


def test_the_weights_in_the_package_give_one_answer_on_a_real_photo() -> None:
    try:
        weights = default_weights(".onnx")
    except WeightsError as error:
        pytest.skip(f"no default weights yet: {error}")
    canvas = place(read_photo(demo_photo()), read_metadata(weights).canvas)
    opened = [open_(weights, runtime=name, device="cpu") for name in RUNTIMES]
    *others, want = [run(canvas.pixels[None], canvas.valid[None]) for run in opened]
    for got in others:
        np.testing.assert_allclose(got.masks, want.masks, rtol=0, atol=1e-3)
        np.testing.assert_allclose(got.labels, want.labels, rtol=0, atol=1e-3)
    assert (want.masks > 0).any()


def test_a_photo_does_not_depend_on_those_beside_it(runtime: Runtime) -> None:
    pixels, valid = canvases(5)
    together = runtime(pixels[:3], valid[:3])
    before = [part.copy() for part in together if part is not None]
    for chosen in ([0], [1], [2], [2, 4], [4, 3, 0, 1, 2]):  # batch sizes may follow each other in any order
        answer = runtime(pixels[chosen], valid[chosen])
        for i, photo in enumerate(chosen):
            if photo < 3:
                np.testing.assert_allclose(answer.masks[i], together.masks[photo], rtol=0, atol=1e-5)
                np.testing.assert_allclose(answer.labels[i], together.labels[photo], rtol=0, atol=1e-5)
    assert np.abs(together.masks[0] - together.masks[1]).max() > 0.1
    now = [part for part in together if part is not None]
    assert all(np.array_equal(a, b) for a, b in zip(now, before, strict=True)), "an answer is nobody else's memory"


def test_labels_are_pooled_on_the_photo_alone(runtime: Runtime) -> None:
    pixels, valid = canvases(1)
    half = valid.copy()
    half[:, :, 32:] = 0
    all_of_it, left = runtime(pixels, valid), runtime(pixels, half)
    assert np.array_equal(all_of_it.masks, left.masks)
    assert np.abs(all_of_it.labels[:, 0] - left.labels[:, 0]).max() > 0.01
    nothing = runtime(pixels, np.zeros_like(valid))
    assert np.isfinite(nothing.labels).all()
    # Under an empty mask all labels read the same nothing, whatever the class.
    assert np.ptp(nothing.labels, axis=1).max() < 1e-6


def test_mirrored_and_strided_arrays_are_read_as_they_look(runtime: Runtime) -> None:
    pixels, valid = canvases(2)
    views = pixels[:, :, ::-1], valid[:, :, ::-1]
    want = runtime(*(np.ascontiguousarray(view) for view in views))
    assert np.array_equal(runtime(*views).masks, want.masks)
    views[0].flags.writeable = False
    assert np.array_equal(runtime(*views).labels, want.labels)


def test_threads_may_share_a_runtime(runtime: Runtime) -> None:
    batches = [canvases(1 + seed % 3, seed) for seed in range(8)]
    want = [runtime(*batch) for batch in batches]
    with ThreadPoolExecutor(4) as pool:
        for i, answer in enumerate(pool.map(lambda i: runtime(*batches[i % 8]), range(24))):
            np.testing.assert_allclose(answer.masks, want[i % 8].masks, rtol=0, atol=1e-5)


def test_bf16_is_near_and_only_on_request(graph: Path) -> None:
    pixels, valid = canvases(2)
    if "BF16" not in openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        with pytest.raises(DeviceError, match="no dtype bf16"):
            open_(graph, runtime="openvino", dtype="bf16")
        return
    exact, near = (open_(graph, runtime="openvino", dtype=p)(pixels, valid).masks for p in ("f32", "bf16"))
    assert 1e-4 < np.abs(exact - near).max() < 0.5


# -- what is chosen ---------------------------------------------------------------------------------------------------


def test_auto_takes_openvino_on_the_cpu(graph: Path, weights: Path) -> None:
    for path in (graph, weights):
        opened = open_(path)
        assert (opened.name, opened.device) == ("openvino", "cpu")


def test_auto_takes_what_is_installed(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hemline._runtimes.openvino_core", runtime_module._core.__wrapped__)  # as if there were none
    for gone, next_one in (("openvino", "onnxruntime"), ("onnxruntime", "torch")):
        monkeypatch.setitem(sys.modules, gone, None)
        assert open_(weights).name == next_one
    with pytest.raises(DeviceError, match=r'needs onnxruntime, .*pip install "hemline\[onnxruntime\]"'):
        open_(weights, runtime="onnxruntime")
    monkeypatch.setitem(sys.modules, "hemline.checkpoint", None)
    with pytest.raises(DeviceError, match=r'pip install "hemline\[train\]"'):
        open_(weights, runtime="torch")


def test_torch_reads_the_checkpoint_beside_a_graph(graph: Path) -> None:
    assert open_(graph, runtime="torch").name == "torch"


def test_a_checkpoint_without_its_graph(tmp_path: Path) -> None:
    alone = copied(tmp_path, ".safetensors")
    assert open_(alone).name == "torch"
    with pytest.raises(WeightsError, match=r"no \.onnx file lies beside it; hemline export .*small\.safetensors"):
        open_(alone, runtime="openvino")


def test_a_damaged_checkpoint_is_what_is_said(tmp_path: Path) -> None:
    alone = copied(tmp_path, ".safetensors")
    alone.write_bytes(alone.read_bytes()[:-8] + b"\x11" * 8)
    with pytest.raises(WeightsError, match=r"small\.safetensors: the weights are not those that were saved"):
        open_(alone)


def test_a_graph_without_its_checkpoint(tmp_path: Path) -> None:
    alone = copied(tmp_path, ".onnx")
    with pytest.raises(WeightsError, match=r"no \.safetensors file lies beside it"):
        open_(alone, runtime="torch")


def test_a_graph_of_other_weights_is_not_taken(tmp_path: Path) -> None:
    weights = copied(tmp_path)
    network, metadata = small_network()
    state = network.state_dict()
    save(weights, state | {"thresholds": state["thresholds"] + 1}, metadata)
    assert open_(weights).name == "torch"
    with pytest.raises(WeightsError, match=r"small\.onnx holds other weights than small\.safetensors; hemline export"):
        open_(weights, runtime="onnxruntime")
    unsigned = replace(read_metadata(weights), weights_sha256="")
    with pytest.raises(WeightsError, match="other weights"):
        open_runtime(weights, unsigned, runtime="openvino")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
@pytest.mark.parametrize("name", ["auto", *RUNTIMES])
def test_a_gpu_that_is_not_here_is_an_error(weights: Path, name: str) -> None:
    with pytest.raises(DeviceError, match=r"cuda|GPU") as error:
        open_(weights, runtime=name, device="cuda")
    assert "device=cpu" in str(error.value)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"runtime": "tensorrt"}, "runtime 'tensorrt': choose auto, openvino, onnxruntime, torch"),
        ({"device": "gpu"}, "device 'gpu': choose auto, cpu, cuda"),
        ({"dtype": "int8"}, "dtype 'int8': choose f32, bf16"),
        ({"dtype": "bf16", "runtime": "torch"}, "bf16 needs runtime openvino"),
        ({"threads": 0}, "threads is a number of CPU threads, 1 or more, not '0'"),
    ],
)
def test_bad_choices_are_named_with_the_good_ones(graph: Path, options: dict[str, Any], says: str) -> None:
    with pytest.raises(DeviceError, match=says):
        open_(graph, **options)


def test_the_number_of_threads_comes_from_the_caller_or_the_environment(
    graph: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def used(**options: Any) -> int:
        runtime: Any = open_(graph, runtime="openvino", **options)
        threads: int = runtime._alone.get_property("INFERENCE_NUM_THREADS")
        return threads

    monkeypatch.setenv(THREADS_VARIABLE, "1")
    assert used() == 1
    assert used(threads=2) == min(2, os.cpu_count() or 2)
    monkeypatch.setenv(THREADS_VARIABLE, "four")
    with pytest.raises(DeviceError, match=f"{THREADS_VARIABLE} is a number .* not 'four'"):
        used()


@pytest.mark.parametrize("name", ["openvino", "onnxruntime"])
def test_a_damaged_graph_gets_a_sentence(tmp_path: Path, name: RuntimeName) -> None:
    path = copied(tmp_path, ".onnx")
    metadata = read_metadata(path)
    unsigned = path.read_bytes().replace(GRAPH_KEY.encode(), b"x" * len(GRAPH_KEY))  # as files were before
    path.write_bytes(unsigned)
    assert open_runtime(path, metadata, runtime=name).name == name
    path.write_bytes(unsigned.replace(b"BatchNormalization", b"BatchNormalizatiom").replace(b"Conv", b"Cone"))
    with pytest.raises(WeightsError, match=r"small\.onnx: the graph cannot be run") as error:
        open_runtime(path, metadata, runtime=name)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["auto", "openvino", "onnxruntime"])
def test_a_graph_whose_numbers_have_changed_is_refused(tmp_path: Path, name: RuntimeName) -> None:
    path = copied(tmp_path, ".onnx")
    metadata = read_metadata(path)
    graph = onnx.load(path)
    largest = max(graph.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    content, numbers = path.read_bytes(), largest.raw_data
    assert content.count(numbers) == 1
    path.write_bytes(content.replace(numbers, numbers[::-1]))
    with pytest.raises(WeightsError, match=r"small\.onnx: the graph is not the one that was exported; copy or export"):
        open_runtime(path, metadata, runtime=name)


def test_the_weights_in_the_package_are_named_or_their_absence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("hemline.runtime.__file__", str(tmp_path / "runtime.py"))
    with pytest.raises(WeightsError, match=r"holds no weights .*street\.onnx"):
        default_weights()
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "street.safetensors").touch()
    assert default_weights(".safetensors").name == "street.safetensors"


# -- quiet ------------------------------------------------------------------------------------------------------------

ALONE = """
import os, sys

def listen(event, args):
    if event.startswith("socket.") and event != "socket.__new__":
        print("looked up", event, args, flush=True)
        os._exit(3)

sys.addaudithook(listen)
from pathlib import Path
import numpy as np
import hemline.runtime
from hemline.metadata import read_metadata
from hemline.photo import place, read_photo
from hemline.predict import demo_photo
from hemline.runtime import open_runtime

path = Path(sys.argv[1])
metadata = read_metadata(path)
pixels = np.zeros((1, *metadata.canvas, 3), np.uint8)
for name in sys.argv[2:]:
    print(open_runtime(path, metadata, runtime=name, device="cpu")(pixels, pixels[..., 0]).labels.shape)
heavy = {"torch", "timm", "torchvision", "sklearn", "scipy", "safetensors", "onnx", "albumentations"}
print(sorted(heavy & sys.modules.keys()))
assert "openvino_telemetry" not in sys.modules
hemline.runtime.openvino()
assert "openvino.tools.ovc" not in sys.modules         # half of the time of `import openvino`
import openvino
assert not hasattr(openvino, "no_such_name")
from openvino import convert_model
assert convert_model is sys.modules["openvino.tools.ovc"].convert_model is openvino.convert_model
assert "openvino_telemetry" not in sys.modules
"""


def test_nothing_is_looked_up_or_written_and_torch_is_not_imported(graph: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    quieting = ("CI", "TF_BUILD", "JENKINS_URL", "GITHUB_ACTIONS", "ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME")
    environment = {key: value for key, value in os.environ.items() if key not in quieting}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", ALONE, str(graph), "openvino", "onnxruntime"],
        env={**environment, "HOME": str(home), "LOCALAPPDATA": str(home), "PYTHONPATH": os.pathsep.join(sys.path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    assert done.stdout.splitlines() == ["(1, 30, 83)"] * 2 + ["[]"]
    assert not list(home.iterdir())
    assert [path.name for path in Path(tmp_path).iterdir()] == ["home"]


AT_ONCE = """
import sys, time
from concurrent.futures import ThreadPoolExecutor
from hemline import runtime

class Slow:
    @staticmethod
    def Core():
        time.sleep(0.05)
        return object()

runtime.import_module = lambda name: time.sleep(0.01)
runtime.openvino = lambda: Slow
with ThreadPoolExecutor(8) as pool:
    list(pool.map(runtime.import_quietly, "abcdefgh"))
    print(len(set(pool.map(lambda _: runtime.openvino_core(), range(8)))), "openvino_telemetry" in sys.modules)
"""


def test_threads_may_load_their_first_weights_at_once() -> None:
    done = subprocess.run([sys.executable, "-c", AT_ONCE], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "1 False\n"), done.stderr


LET_GO_ELSEWHERE = """
import gc, os, signal, sys, threading
from pathlib import Path
from hemline.metadata import read_metadata
from hemline.runtime import open_runtime

path = Path(sys.argv[1])
signal.signal(signal.SIGUSR1, lambda *_: print("signal handled"))
held = [open_runtime(path, read_metadata(path), runtime="openvino", device="cpu")]
other = threading.Thread(target=held.clear)
other.start()
other.join()
gc.collect()
os.kill(os.getpid(), signal.SIGUSR1)
print("alive")
"""


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="no signals of one's own on Windows")
def test_a_signal_is_survived_after_another_thread_let_the_network_go(graph: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LET_GO_ELSEWHERE, str(graph)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.split("\n")[:2]) == (0, ["signal handled", "alive"]), done.stderr
