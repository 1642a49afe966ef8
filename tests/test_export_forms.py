"""OpenVINO's and TorchScript's files: what they say, how they answer, and what is refused; drift; what int8 keeps."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from shutil import copy

import numpy as np
import onnx
import pytest

from hemline.drift import EXACT, INT8, measure
from hemline.errors import ConfigError, DeviceError, PhotoError, WeightsError
from hemline.export import export
from hemline.metadata import read_metadata
from hemline.photo import place
from hemline.quantize import LEAST_PHOTOS, split_photos
from hemline.runtime import Answer, open_runtime, openvino_core
from hemline.tagger import Tagger
from hemline.transplant import GarmentScorer
from tests.exported import CANVAS, canvases, copied, small_network

FORMS = {"openvino": "small.xml", "torchscript": "small.pt"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    checkpoint = copied(tmp_path_factory.mktemp("forms"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hemline.export.to_onnx", lambda *_: onnx.load(checkpoint.with_suffix(".onnx")))  # as it was made
        for to, name in FORMS.items():
            done = export(checkpoint, to=to)  # type: ignore[arg-type]
            assert done.path == checkpoint.with_name(name)
            assert done.drift.photos == 1
    return checkpoint.parent


def alone(folder: Path, tmp_path: Path, name: str) -> Path:
    for path in folder.glob(f"{Path(name).stem}.*"):
        if path.suffix in (Path(name).suffix, ".bin"):
            copy(path, tmp_path)
    return tmp_path / name


@pytest.mark.parametrize("name", FORMS.values())
def test_each_form_says_and_answers_what_its_checkpoint_does(folder: Path, name: str) -> None:
    assert read_metadata(folder / name) == read_metadata(folder / "small.safetensors")
    pixels, valid = canvases(3)
    want = open_runtime(folder / "small.safetensors", read_metadata(folder / name), runtime="torch", device="cpu")
    got = Tagger.load(folder / name, device="cpu").run(pixels, valid)
    for a, b in zip(got, want(pixels, valid), strict=True):
        assert a is not None
        assert b is not None
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-4)
    assert b"site-packages" not in (folder / name).read_bytes()


@pytest.mark.parametrize("name", FORMS.values())
def test_every_truncation_and_foreign_file_gets_a_sentence(folder: Path, tmp_path: Path, name: str) -> None:
    path = alone(folder, tmp_path, name)
    whole = path.read_bytes()
    for length in (0, 1, 30, len(whole) // 2, len(whole) - 10):
        path.write_bytes(whole[:length])
        with pytest.raises(WeightsError, match=r"cut short") as caught:
            read_metadata(path)
        assert "\n" not in str(caught.value)
    path.write_bytes(b"<!DOCTYPE net [<!ENTITY a 'aaaa'>]><net/>")
    with pytest.raises(WeightsError, match="cut short"):
        read_metadata(path)


def test_numbers_that_have_changed_are_refused(folder: Path, tmp_path: Path) -> None:
    for name, damaged in (("small.xml", "small.bin"), ("small.pt", "small.pt")):
        path = alone(folder, tmp_path, name)
        content = bytearray((tmp_path / damaged).read_bytes())
        content[len(content) // 2] ^= 0xFF
        (tmp_path / damaged).write_bytes(content)
        with pytest.raises(WeightsError, match=r"the graph is not the one that was exported; copy or export"):
            open_runtime(path, read_metadata(folder / name))
    (tmp_path / "small.bin").unlink()
    with pytest.raises(WeightsError, match=r"its weights, small\.bin, do not lie beside it"):
        open_runtime(tmp_path / "small.xml", read_metadata(folder / "small.xml"))


def test_what_cannot_be_asked_for(folder: Path, tmp_path: Path) -> None:
    checkpoint = folder / "small.safetensors"
    with pytest.raises(ConfigError, match="--int8 is for OpenVINO"):
        export(checkpoint, tmp_path / "w.onnx", int8=True)
    with pytest.raises(ConfigError, match=r"needs 40 or more .* with --photos, for 0 is too few"):
        export(checkpoint, tmp_path / "w.xml", to="openvino", int8=True)
    (tmp_path / "no.jpg").write_bytes(b"no photo")
    with pytest.raises(PhotoError, match=r"--photos: none can be read; .*no\.jpg"):
        export(checkpoint, tmp_path / "w.onnx", photos=[tmp_path / "no.jpg"])
    with pytest.raises(DeviceError, match="TorchScript of the CPU"):
        open_runtime(folder / "small.pt", read_metadata(folder / "small.pt"), device="cuda")
    assert [x.name for x in tmp_path.iterdir()] == ["no.jpg"]


def test_what_another_runtime_reads_is_the_checkpoint_or_its_graph(folder: Path, tmp_path: Path) -> None:
    for name in FORMS.values():
        path = alone(folder, tmp_path, name)
        metadata = read_metadata(path)
        with pytest.raises(WeightsError, match=r"no \.onnx file lies beside it; hemline export \S+small\.safetensors"):
            open_runtime(path, metadata, runtime="onnxruntime")
        with pytest.raises(WeightsError, match=r"no \.safetensors file lies beside it; put small\.safetensors there"):
            GarmentScorer(path, metadata, "cpu").network  # noqa: B018
        assert GarmentScorer(folder / name, metadata, "cpu").network.label_head
    quantised = replace(metadata, precision="int8")
    with pytest.raises(WeightsError, match="int8 is run by runtime openvino alone"):
        open_runtime(folder / "small.xml", quantised, runtime="onnxruntime")


def test_drift_counts_pixels_of_the_photo_and_labels_that_are_reported() -> None:
    _, metadata = small_network()
    canvas = place(np.zeros((CANVAS[0], CANVAS[1] // 2, 3), np.uint8), CANVAS)
    space = metadata.labels
    masks = np.full((1, space.num_masks, CANVAS[0] // 4, CANVAS[1] // 4), -9, np.float32)
    masks[0, 1] = 9                                      # of everything, padding too
    labels = np.zeros((1, 1 + space.num_masks, space.num_labels), np.float32)
    other, sure = masks.copy(), labels.copy()
    other[0, 1, : CANVAS[0] // 8], other[0, 2, : CANVAS[0] // 8] = -9, 9
    sure[0, 0, 3] = np.log(3)                            # 0.5 -> 0.75
    drift = measure(lambda *_: Answer(masks, labels), lambda *_: Answer(other, sure), [canvas], metadata)
    assert drift.pixels == drift.worst_pixels == pytest.approx(0.5, abs=0.03)
    assert drift.score == pytest.approx(0.25)
    assert drift.mean_score == pytest.approx(0.25 / space.num_labels)
    named = {(one.kind, one.name): one for one in drift.labels}
    assert named["mask", space.mask_names[1]].drift == pytest.approx(0.5, abs=0.03)
    assert (named["mask", space.mask_names[2]].before, named["mask", space.mask_names[2]].changed) == (0, 1)
    assert named["category", space.categories[3].name].changed == 1
    for bounds in (EXACT, INT8):
        with pytest.raises(WeightsError, match=r"small: on 1 photos, the class of pixels differs for a share by 0\.5"):
            drift.check(bounds, "small")


def test_photos_are_parted_by_a_seed_into_two_that_share_none() -> None:
    photos = [place(np.full((4, 4, 3), i, np.uint8), (4, 4)) for i in range(LEAST_PHOTOS)]
    calibrating, checking = split_photos(photos)
    shades = [[int(one.pixels[0, 0, 0]) for one in part] for part in (calibrating, checking)]
    assert (len(shades[0]), len(shades[1])) == (30, 10)
    assert sorted(shades[0] + shades[1]) == list(range(40))
    assert shades == [[int(one.pixels[0, 0, 0]) for one in part] for part in split_photos(photos)]


@pytest.mark.slow
def test_int8_quantises_convolutions_and_leaves_what_decides_in_floats(
    folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("nncf")
    from PIL import Image

    for i, pixels in enumerate(canvases(8, seed=1)[0].repeat(5, 0)):
        Image.fromarray(np.roll(pixels, i, 1)).save(tmp_path / f"{i}.png")
    out = tmp_path / "small.int8.xml"
    done = export(folder / "small.safetensors", out, to="openvino", int8=True, photos=[tmp_path])
    assert (done.calibrated, done.drift.photos) == (30, 10)
    assert capfd.readouterr() == ("", "")
    metadata = read_metadata(out)
    assert metadata.precision == "int8"
    assert metadata.weights_sha256 == read_metadata(folder / "small.safetensors").weights_sha256
    fake = [op for op in openvino_core().read_model(str(out)).get_ops() if op.get_type_name() == "FakeQuantize"]
    assert fake
    readers = {target.get_node().get_type_name() for op in fake for target in op.output(0).get_target_inputs()}
    assert not readers & {"MatMul", "Greater", "GreaterEqual"}, readers
    copy(folder / "small.onnx", tmp_path / "small.int8.onnx")  # another form's, of floats
    with pytest.raises(WeightsError, match="a graph of int8 is run by runtime openvino alone"):
        open_runtime(out, metadata, runtime="onnxruntime")


ALONE = """
import os, sys

def listen(event, args):
    if event.startswith("socket.") and event != "socket.__new__":
        print("looked up", event, args, flush=True)
        os._exit(3)

sys.addaudithook(listen)
from pathlib import Path
from hemline.graphs import write_openvino
from hemline.metadata import read_metadata
from hemline.photo import place
from hemline.quantize import quantize
import numpy as np

graph, out = Path(sys.argv[1]), Path(sys.argv[2])
metadata = read_metadata(graph)
canvases = [place(np.full((64, 64, 3), 60 * i, np.uint8), metadata.canvas) for i in range(4)]
write_openvino(quantize(graph, canvases), out, metadata)
assert "nncf" in sys.modules
"""


@pytest.mark.slow
def test_quantising_looks_nothing_up_and_leaves_nothing_at_home(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("nncf")
    home = tmp_path / "home"
    home.mkdir()
    quieting = ("CI", "TF_BUILD", "JENKINS_URL", "GITHUB_ACTIONS", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")
    environment = {key: value for key, value in os.environ.items() if key not in quieting}
    done = subprocess.run(
        [sys.executable, "-c", ALONE, str(folder / "small.onnx"), str(tmp_path / "q.xml")],
        env={**environment, "HOME": str(home), "LOCALAPPDATA": str(home), "PYTHONPATH": os.pathsep.join(sys.path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout == ""
    assert not [str(path.relative_to(home)) for path in home.rglob("*")]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "q.bin", "q.xml"]
