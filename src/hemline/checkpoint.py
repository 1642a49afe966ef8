"""Weights files and the state of a training run: written whole or not at all, read without executing anything.

    NAME.safetensors   weights, and in the header all that is needed to use them (`hemline.metadata`)
    state.pt           what `train --resume` needs: optimizer, schedule, random numbers, place in the run

Weights are stored in half precision where they are matrices or kernels; norms, biases and statistics stay whole.
Loading gives 32-bit floats again, and checks them against their fingerprint.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors import torch as safetensors
from torch import Tensor, nn

from hemline._weights_files import KEY
from hemline.config import Config
from hemline.errors import ConfigError, WeightsError
from hemline.instance_model import InstanceNetwork
from hemline.metadata import Metadata, read_metadata
from hemline.model import Network, build, build_instances
from hemline.whole_files import whole_file

N = TypeVar("N", Network, InstanceNetwork)
State = Mapping[str, Tensor]
"""A network's `state_dict()`."""


def save(path: str | Path, state: State, metadata: Metadata, *, half: bool = True) -> None:
    """Write weights with all that is needed to use them; the fingerprint in `metadata` is filled in.

    Args:
        path: A `.safetensors` file; replaced only when the new one is whole.
        state: The network's `state_dict()`, on any device.
        metadata: What the file says of itself.
        half: Store matrices and kernels in half precision: half the size.

    Raises:
        UnwritableError: the file cannot be written.
    """
    state = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}
    state = halve(state) if half else state
    metadata = replace(metadata, weights_sha256=fingerprint(state))
    with whole_file(Path(path)) as temporary:
        temporary.write_bytes(safetensors.save(state, {KEY: metadata.to_json()}))


def load(path: str | Path) -> tuple[dict[str, Tensor], Metadata]:
    """Read what `save` wrote: weights as 32-bit floats on the CPU, and what the file says of them.

    Raises:
        WeightsError: the file is missing, cut short, damaged, not Hemline's, or of a newer format.
    """
    if Path(path).suffix.lower() != ".safetensors":
        raise WeightsError(f"{path}: training, evaluating and exporting need a .safetensors file")
    metadata = read_metadata(path)
    try:
        state = safetensors.load_file(path)
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path}: cannot be read ({error}); copy or download the file again") from error
    if fingerprint(state) != metadata.weights_sha256:
        raise WeightsError(f"{path}: the weights are not those that were saved; copy or download the file again")
    return {name: _whole(tensor) for name, tensor in state.items()}, metadata


def load_network(path: str | Path, *, head: nn.Module | None = None) -> tuple[Network, Metadata]:
    """Build the network that a checkpoint holds, ready to answer: on the CPU, in evaluation mode.

    Args:
        path: A `.safetensors` file.
        head: The mask head, where it was trained with one of your own.

    Raises:
        WeightsError: the file cannot be read, its tensors are not those of the network it describes, or that network
            finds instances.
    """
    state, metadata = load(path)
    if metadata.finds == "instances":
        raise WeightsError(f"{path}: its network finds instances; this needs one that draws classes, such as unet")
    network = _built(path, metadata, build, head)
    _fill(path, network, state)
    network.set_mask_thresholds(torch.tensor(metadata.mask_thresholds))  # those that prediction uses
    return network.eval(), metadata


def load_instance_network(path: str | Path, *, head: nn.Module | None = None) -> tuple[InstanceNetwork, Metadata]:
    """The same for a checkpoint whose network finds instances.

    Args:
        path: A `.safetensors` file.
        head: The instance head, where it was trained with one of your own.

    Raises:
        WeightsError: the file cannot be read, its tensors are not those of the network it describes, or that network
            draws classes.
    """
    state, metadata = load(path)
    if metadata.finds == "classes":
        raise WeightsError(f"{path}: its network draws classes; this needs one that finds instances, such as mask_rcnn")
    network = _built(path, metadata, build_instances, head)
    _fill(path, network, state)
    return network.eval(), metadata


def _built(path: str | Path, metadata: Metadata, make: Callable[..., N], head: nn.Module | None) -> N:
    try:
        return make(Config.from_dict(metadata.recipe), metadata.labels, head=head, trunk_weights=False)
    except (ConfigError, KeyError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise WeightsError(f"{path}: its recipe cannot be built by this version ({reason})") from error


def _fill(path: str | Path, network: nn.Module, state: State) -> None:
    own = network.state_dict()
    differing = [name for name in own.keys() & state.keys() if own[name].shape != state[name].shape]
    for what, names in (("lacks", own.keys() - state.keys()), ("has strange", state.keys() - own.keys()),
                        ("has other sizes of", differing)):
        if names:
            raise WeightsError(
                f"{path}: {what} {len(names)} of its network's tensors, the first {min(names)}; "
                "if it was trained with a head of your own, give that head"
            )
    network.load_state_dict(state)


def save_state(path: str | Path, state: Mapping[str, Any]) -> None:
    """Write the state of a run: tensors, numbers, texts, and lists and dicts of them.

    Raises:
        UnwritableError: the file cannot be written.
    """
    content = io.BytesIO()  # torch's own writer has other errors for a full disk
    torch.save(dict(state), content)
    with whole_file(Path(path)) as temporary:
        temporary.write_bytes(content.getbuffer())


def load_state(path: str | Path, *, mmap: bool = False) -> dict[str, Any]:
    """Read what `save_state` wrote, onto the CPU.

    The file is torch's own, which is a pickle; `weights_only=True` reads it by an interpreter that knows tensors and
    plain data and refuses everything else, so that nothing in it is executed.

    Args:
        path: The file.
        mmap: Leave tensors in the file until they are looked at.

    Raises:
        WeightsError: the file is missing, cut short, or not a run's state.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except FileNotFoundError:
        raise WeightsError(f"{path}: no such file, so there is no run to resume") from None
    except Exception as error:  # its reader fails in many ways on what is damaged, IndexError among them
        raise WeightsError(f"{path}: not the state of a run, or cut short: begin the run anew") from error
    if not isinstance(state, dict):
        raise WeightsError(f"{path}: not the state of a run, but {type(state).__name__}")
    return state


def halve(state: State) -> dict[str, Tensor]:
    """The state as it is stored: matrices and kernels in half precision, but for those that it cannot hold."""
    return {name: _half(tensor) for name, tensor in state.items()}


def fingerprint(state: State) -> str:
    """SHA-256 over the names, types, shapes and bytes of the tensors, in the order of their names."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _half(tensor: Tensor) -> Tensor:
    if tensor.dtype != torch.float32 or tensor.ndim < 2:
        return tensor
    half = tensor.half()
    return half if bool(half.isfinite().all()) else tensor


def _whole(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor
