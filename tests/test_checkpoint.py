"""Weights files and the state of a run: round trips, one sentence for each that is not whole, nothing executed."""

import errno
import json
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from shutil import copy
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from hemline._weights_files import KEY
from hemline.checkpoint import fingerprint, halve, load, load_network, load_state, save, save_state
from hemline.config import Config
from hemline.errors import UnwritableError, WeightsError
from hemline.metadata import Metadata, read_metadata
from tests.exported import CANVAS, CONFIG, canvases, copied, small_network

NETWORK, METADATA = small_network()
STATE = NETWORK.state_dict()


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save(tmp_path / "small.safetensors", STATE, METADATA)
    return tmp_path / "small.safetensors"


def write(path: Path, state: dict[str, Tensor], metadata: Metadata = METADATA) -> Path:
    """A whole file with a right fingerprint, whatever it holds."""
    save_file(state, path, {KEY: replace(metadata, weights_sha256=fingerprint(state)).to_json()})
    return path


def test_what_is_saved_in_full_comes_back_bit_for_bit(tmp_path: Path) -> None:
    save(tmp_path / "a.safetensors", STATE, METADATA, half=False)
    state, metadata = load(tmp_path / "a.safetensors")
    assert state.keys() == STATE.keys()
    assert all(torch.equal(state[name], STATE[name]) and state[name].dtype == STATE[name].dtype for name in STATE)
    assert replace(metadata, weights_sha256="") == METADATA
    assert len(metadata.weights_sha256) == 64


def test_half_precision_takes_half_the_space_and_rounds_kernels_only(saved: Path, tmp_path: Path) -> None:
    save(tmp_path / "full.safetensors", STATE, METADATA, half=False)
    kernels = sum(x.nbytes for x in STATE.values() if x.ndim > 1)
    assert (tmp_path / "full.safetensors").stat().st_size - saved.stat().st_size == pytest.approx(kernels / 2, rel=0.01)
    state, _ = load(saved)
    for name, tensor in STATE.items():
        assert state[name].dtype == tensor.dtype
        if tensor.ndim > 1:
            torch.testing.assert_close(state[name], tensor, rtol=2**-11, atol=2**-25)
        else:
            assert torch.equal(state[name], tensor), name


def test_a_kernel_that_half_precision_cannot_hold_stays_whole(tmp_path: Path) -> None:
    state = {"large": torch.full((2, 2), 1e6), "small": torch.full((2, 2), 0.1)}
    assert {name: tensor.dtype for name, tensor in halve(state).items()} == {
        "large": torch.float32,
        "small": torch.float16,
    }
    save(tmp_path / "a.safetensors", state, METADATA)
    assert torch.equal(load(tmp_path / "a.safetensors")[0]["large"], state["large"])


def test_channels_last_and_shared_tensors_can_be_saved(tmp_path: Path) -> None:
    kernel = torch.randn(4, 3, 5, 5).to(memory_format=torch.channels_last)
    save(tmp_path / "a.safetensors", {"one": kernel, "same": kernel}, METADATA, half=False)
    state, _ = load(tmp_path / "a.safetensors")
    assert torch.equal(state["one"], kernel)
    assert torch.equal(state["same"], kernel)


def test_the_fingerprint_knows_names_types_shapes_and_values_but_no_order() -> None:
    a, b = torch.arange(6.0), torch.ones(2)
    first = fingerprint({"a": a, "b": b})
    assert first == fingerprint({"b": b, "a": a})
    others = [
        {"a": a, "c": b},
        {"a": a.view(2, 3), "b": b},
        {"a": a, "b": b.view(torch.int32)},
        {"a": a + 1e-6, "b": b},
        {"a": a},
    ]
    assert len({first, *(fingerprint(state) for state in others)}) == 6


def test_the_network_comes_back_from_its_file_alone(saved: Path) -> None:
    network, metadata = load_network(saved)
    assert metadata.canvas == CANVAS
    assert not network.training
    assert Config.from_dict(metadata.recipe) == CONFIG
    pixels, valid = (torch.from_numpy(x) for x in canvases(2))
    with torch.no_grad():
        got, want = network(pixels, valid), NETWORK(pixels, valid)
    torch.testing.assert_close(got.masks, want.masks, rtol=0, atol=0.02)  # rounded kernels
    assert want.masks.std() > 0.5


def test_the_thresholds_of_the_metadata_rule_the_network(tmp_path: Path) -> None:
    thresholds = (0.25,) * METADATA.labels.num_masks
    save(tmp_path / "a.safetensors", STATE, replace(METADATA, mask_thresholds=thresholds))
    network, _ = load_network(tmp_path / "a.safetensors")
    torch.testing.assert_close(network.state_dict()["thresholds"].sigmoid(), torch.tensor(thresholds))


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda state: state.pop("mask_head.classifier.bias"), "lacks 1 .* mask_head.classifier.bias"),
        (lambda state: state.update(stranger=torch.ones(1)), "strange 1 .* stranger"),
        (lambda state: state.update({"thresholds": torch.ones(7)}), "other sizes of 1 .* thresholds"),
    ],
)
def test_tensors_that_are_not_the_networks_are_named(
    tmp_path: Path, spoil: Callable[[dict[str, Tensor]], object], says: str
) -> None:
    state = dict(STATE)
    spoil(state)
    with pytest.raises(WeightsError, match=says):
        load_network(write(tmp_path / "a.safetensors", state))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"backbone": {"name": "resnet81"}}, "resnet81"),
        ({"head": {"name": "unett"}}, "unett"),
        ({"head": {"name": "unet", "depth": 3}}, "depth"),
        ({"epochs": "many"}, "epochs"),
    ],
)
def test_a_recipe_that_cannot_be_built_is_refused(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    metadata = replace(METADATA, recipe=METADATA.recipe | change)
    with pytest.raises(WeightsError, match=f"recipe cannot be built.*{says}"):
        load_network(write(tmp_path / "a.safetensors", dict(STATE), metadata))


class Unlearned(nn.Module):
    map_channels = NETWORK.mask_head.map_channels


def test_a_head_of_your_own_must_be_given_again(tmp_path: Path) -> None:
    head = Unlearned()
    kept = {name: tensor for name, tensor in STATE.items() if not name.startswith("mask_head.")}
    path = write(tmp_path / "a.safetensors", kept)
    with pytest.raises(WeightsError, match="give that head"):
        load_network(path)
    network, _ = load_network(path, head=head)
    assert network.mask_head is head


# -- files that are not whole -----------------------------------------------------------------------------------------


@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_a_file_cut_or_changed_anywhere_is_refused(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("spoilt")
    whole = copied(folder).read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    spoilt = whole[:at] if data.draw(st.booleans()) else whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :]
    (folder / "spoilt.safetensors").write_bytes(spoilt)
    start = 8 + int.from_bytes(whole[:8], "little")
    readable = len(spoilt) == len(whole) and at < start  # another letter in the metadata may still be metadata
    refused = pytest.raises(WeightsError, match=r"^[^\n]*spoilt\.safetensors[^\n]*$")
    with suppress(WeightsError) if readable else refused:
        load(folder / "spoilt.safetensors")


def test_weights_are_checked_against_their_fingerprint(saved: Path) -> None:
    content = bytearray(saved.read_bytes())
    content[-3] ^= 1
    saved.write_bytes(content)
    with pytest.raises(WeightsError, match="not those that were saved"):
        load(saved)


def test_foreign_newer_and_misnamed_files_get_a_sentence(saved: Path, tmp_path: Path) -> None:
    save_file(dict(STATE), tmp_path / "foreign.safetensors")
    newer = json.loads(METADATA.to_json()) | {"format_version": 99}
    save_file(dict(STATE), tmp_path / "newer.safetensors", {KEY: json.dumps(newer)})
    torch.save(STATE, tmp_path / "pickled.safetensors")
    copy(saved, tmp_path / "named.onnx")
    for name, says in {
        "foreign.safetensors": "not weights of Hemline",
        "newer.safetensors": "format 99",
        "pickled.safetensors": "not a safetensors file",
        "named.onnx": "need a .safetensors file",
        "missing.safetensors": "no such weights file",
    }.items():
        with pytest.raises(WeightsError, match=says):
            load(tmp_path / name)


class Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.touch, (self.path,)


def test_nothing_in_a_file_is_executed(tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    torch.save({"epoch": Bomb(mark)}, tmp_path / "state.pt")
    copy(tmp_path / "state.pt", tmp_path / "bomb.safetensors")
    with pytest.raises(WeightsError, match="not the state of a run"):
        load_state(tmp_path / "state.pt")
    with pytest.raises(WeightsError, match="not a safetensors file"):
        load(tmp_path / "bomb.safetensors")
    assert not mark.exists()
    torch.load(tmp_path / "state.pt", weights_only=False)  # the file does what it threatens
    assert mark.exists()


# -- writing ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("write_it", [lambda path: save(path, STATE, METADATA), lambda path: save_state(path, STATE)])
def test_a_full_disk_leaves_the_file_before_and_no_litter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write_it: Callable[[Path], None]
) -> None:
    path = tmp_path / "a.safetensors"
    write_it(path)
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UnwritableError, match=r"a\.safetensors: cannot be written: No space left"):
        write_it(path)
    assert path.read_bytes() == before
    assert [x.name for x in tmp_path.iterdir()] == ["a.safetensors"]


def test_a_missing_folder_gets_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UnwritableError, match="none"):
        save(tmp_path / "none" / "a.safetensors", STATE, METADATA)
    with pytest.raises(UnwritableError, match="none"):
        save_state(tmp_path / "none" / "state.pt", {"epoch": 1})


def test_the_state_of_a_run_comes_back(tmp_path: Path) -> None:
    layer = nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(layer.parameters())
    layer(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    random = torch.get_rng_state()
    state = {"optimizer": optimizer.state_dict(), "epoch": 3, "best": 0.5, "rng": random, "name": "a"}
    save_state(tmp_path / "state.pt", state)
    back = load_state(tmp_path / "state.pt")
    assert (back["epoch"], back["best"], back["name"]) == (3, 0.5, "a")
    assert torch.equal(back["rng"], random)
    other = torch.optim.AdamW(layer.parameters())
    other.load_state_dict(back["optimizer"])
    assert torch.equal(other.state[layer.weight]["exp_avg"], optimizer.state[layer.weight]["exp_avg"])


def test_a_damaged_state_gets_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    with pytest.raises(WeightsError, match="no run to resume"):
        load_state(path)
    save_state(path, {"network": STATE})
    whole = path.read_bytes()
    for part in (b"", whole[:10], whole[: len(whole) // 2], whole[:-30], b"text that is no state" * 9):
        path.write_bytes(part)
        with pytest.raises(WeightsError, match="begin the run anew"):
            load_state(path)
    torch.save([1, 2], path)
    with pytest.raises(WeightsError, match="but list"):
        load_state(path)


def test_the_file_says_what_the_header_says(saved: Path) -> None:
    assert read_metadata(saved).weights_sha256 == fingerprint(load_file(saved))
