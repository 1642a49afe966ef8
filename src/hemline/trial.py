"""A recipe on trial: what only building its network tells, found out before any data is read.

The network is built with random weights and, as in training, reads an empty photo or two; then it is thrown away.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Any, TypeVar

import timm
import torch
from torch import Tensor, nn

from hemline._reading import path_of
from hemline.backbone import Backbone
from hemline.checkpoint import load
from hemline.config import Config
from hemline.distillation import open_teachers
from hemline.errors import ConfigError, LabelError, WeightsError, in_short
from hemline.heads import HEADS, InstanceHead, Target
from hemline.instance_model import InstanceNetwork
from hemline.labels import OF_DATA, OF_INIT, Category, Label, LabelSpace, load_label_space
from hemline.metadata import read_metadata
from hemline.model import Network, answer_train, assemble, assemble_instances, make_backbone
from hemline.optim import NOTHING_LEARNS, frozen
from hemline.ranks import find_ranks
from hemline.runtime import weights_file
from hemline.trunks import OWN_TRUNKS

T = TypeVar("T")
Layers = dict[str, list[str]]
"""Names of layers, and of each of their rows."""


def misfits(config: Config, wrong: AbstractSet[str]) -> list[str]:
    """What of a recipe cannot be built, started from or run, one sentence each.

    Args:
        config: The recipe.
        wrong: Places that are known to be wrong or of no interest, such as `head.widths`; what hangs on them is not
            tried.
    """
    problems: list[str] = []
    blocks = {place.partition(".")[0] for place in wrong}
    backbone = network = None
    with torch.random.fork_rng(devices=[]):
        if not wrong & {"backbone", "backbone.name", "backbone.output_stride", "backbone.layers"}:
            backbone = _tried(problems, lambda: make_backbone(config, trunk_weights=False))
        if config.init is not None and "init" not in wrong:
            _tried(problems, lambda: starting_weights(config, {} if backbone is None else _tensors(backbone)))
        if config.teachers and not wrong & {"labels", "teachers"}:
            _tried(problems, lambda: open_teachers(config, _space(config), torch.device("cpu")))
        if backbone is None:
            return problems
        if not blocks & {"head", "label_head"}:
            network = _tried(problems, lambda: _network(config, backbone))
        if not wrong & {"backbone.pretrained", "backbone.weights"}:
            _tried(problems, lambda: _trunk_weights(config, backbone))
        if not blocks & {"canvas", "canvases", "batch_size"}:
            _tried(problems, lambda: _steps(config, backbone, network))
    return problems


def photos_at_once(config: Config) -> int:
    """The fewest photos that the network reads at a time in training: a process's part of a piece of a step.

    Raises:
        ConfigError: it would be none.
    """
    processes, pieces = find_ranks().size, config.grad_accum_steps
    photos = config.batch_size // pieces // processes
    if not photos:
        raise ConfigError(
            f"batch_size: {config.batch_size} photos a step cannot be parted among {pieces} pieces and {processes} "
            f"processes; take {pieces * processes} or more"
        )
    return photos


def starting_weights(config: Config, own: Mapping[str, Tensor], space: LabelSpace | None = None) -> dict[str, Tensor]:
    """The weights of the recipe's `init` that fit a network whose tensors are `own`.

    Of another label space, classes and labels that have the same name keep what was learnt of them.

    Args:
        config: The recipe.
        own: Tensors of the network.
        space: Its label space; that of the weights if None.

    Raises:
        ConfigError: the file cannot be read, or its trunk is another.
    """
    assert config.init is not None
    try:
        path = path_of(weights_file(config.init, ".safetensors"))
        state, metadata = load(path)
    except WeightsError as error:
        raise ConfigError(f"init: {error}") from error
    fitting = {name: value for name, value in state.items() if name in own and own[name].shape == value.shape}
    if not all(name in fitting for name in own if name.startswith("backbone.")):
        theirs = metadata.recipe.get("backbone", {}).get("name", "another one")
        raise ConfigError(f"init: the trunk of {path} is {theirs}, not the recipe's {config.backbone.name}")
    if space is None:
        return fitting
    theirs = _last_layers(metadata.labels, metadata.recipe)
    return fitting | _by_name(state, theirs, own, _last_layers(space, config.to_dict()))


def _by_name(
    state: Mapping[str, Tensor], theirs: Layers, own: Mapping[str, Tensor], ours: Layers
) -> dict[str, Tensor]:
    """The last layers of a network: each row from the class or label of the same name, or else its own."""
    learnt = {name: (layer, row) for layer, names in theirs.items() for row, name in enumerate(names)}
    kept = {}
    for layer, names in ours.items():
        for kind in ("weight", "bias"):
            tensor = own.get(f"{layer}.{kind}")
            if tensor is None or len(tensor) != len(names):
                continue                                 # a head of one's own
            kept[f"{layer}.{kind}"] = tensor = tensor.clone()
            for row, name in enumerate(names):
                source, at = learnt.get(name, ("", 0))
                known = state.get(f"{source}.{kind}")
                if known is not None and known.shape[1:] == tensor.shape[1:]:
                    tensor[row] = known[at]
    return kept


def _last_layers(space: LabelSpace, recipe: Mapping[str, Any]) -> Layers:
    """The layers that answer, and what each of their rows answers; the recipe is plain data, which may be older."""
    things: tuple[Category | Label, ...] = (*space.categories, *space.labels)
    names = [*space.mask_names, "nobody"] if recipe.get("masks") == "exclusive" else space.mask_names
    layers = {"mask_head.classifier": [f"pixels of {name}" for name in names]}
    direct = recipe.get("label_head", {}).get("direct") or ()
    groups = [[x.name for x in things[part] if x.name not in direct] for part in space.label_slices.values()]
    for number, names in enumerate(names for names in groups if names):
        layers[f"label_head.classifiers.{number}"] = names
    layers["label_head.direct"] = [thing.name for thing in things if thing.name in direct]
    head = HEADS.get(recipe.get("head", {}).get("name", ""))
    if head is not None and issubclass(head, InstanceHead):
        for layer, rows in head.class_layers.items():
            begin = [f"{layer}.{row}" for row in range(rows)]                    # the background's rows
            layers[f"head.{layer}"] = begin + [f"{row} of {c.name}" for c in space.categories for row in begin]
        for layer in head.attribute_layers:
            layers[f"head.{layer}"] = [f"{layer} of {label.name}" for label in space.labels]
    return layers


def _tried(problems: list[str], do: Callable[[], T]) -> T | None:
    try:
        return do()
    except ConfigError as error:
        problems.append(str(error))
        return None


def _tensors(backbone: Backbone) -> dict[str, Tensor]:
    return {f"backbone.{name}": tensor for name, tensor in backbone.state_dict().items()}


def _network(config: Config, backbone: Backbone) -> Network | InstanceNetwork:
    head = HEADS[config.head.name]
    if not issubclass(head, InstanceHead):
        return assemble(backbone, config, _space(config))
    if config.labels == OF_DATA:                         # its classes are not known before the data are read
        options = {key: value for key, value in config.head.options.items() if key not in head.names_classes}
        config = replace(config, head=replace(config.head, options=options))
    return assemble_instances(backbone, config, _space(config))


def _trunk_weights(config: Config, backbone: Backbone) -> None:
    asked = config.backbone
    if asked.weights is not None:
        backbone.load(asked.weights)
    elif config.init is None and asked.pretrained:
        if asked.name in OWN_TRUNKS or not timm.is_model_pretrained(asked.name):
            raise ConfigError(f"backbone.pretrained: timm has no weights of {asked.name}; set it to false")
        if asked.layers is not None:
            raise ConfigError(f"backbone.pretrained: timm's {asked.name} has other layers; set it to false")


def _space(config: Config) -> LabelSpace:
    try:
        if config.labels == OF_INIT:
            return read_metadata(path_of(weights_file(str(config.init), ".safetensors"))).labels
        return load_label_space("street" if config.labels == OF_DATA else config.labels)
    except (LabelError, WeightsError, OSError):
        return load_label_space("street")                # the recipe's own is already said to be wrong


def _garment(config: Config, network: InstanceNetwork) -> Target:
    """One that fills half the canvas."""
    height, width = config.canvas
    masks = torch.zeros(1, height, width, dtype=torch.uint8)
    masks[:, : height // 2] = 1
    return Target(
        boxes=torch.tensor([[0.0, 0.0, width, height // 2]]),
        classes=torch.zeros(1, dtype=torch.int64),
        masks=masks,
        attributes=torch.zeros(1, network.num_attributes, dtype=torch.int8),
    )


def _steps(config: Config, backbone: Backbone, network: Network | InstanceNetwork | None) -> None:
    """Read each canvas as in training."""
    photos = photos_at_once(config)
    for canvas in dict.fromkeys([config.canvas, *(config.canvases or ())]):
        _step(replace(config, canvas=canvas), photos, backbone, network)


def _step(config: Config, photos: int, backbone: Backbone, network: Network | InstanceNetwork | None) -> None:
    """Read one photo, or two where there are more at a time, as in training."""
    height, width = config.canvas
    photos = min(photos, 2)
    reader = "backbone.name", backbone.name
    tried = nn.ModuleDict({"backbone": backbone}) if network is None else network
    stays = frozen(tried.train(), config, epoch=0)
    from_nothing = config.init is None and config.labels != OF_INIT
    if from_nothing and network is not None and all(parameter in stays for parameter in network.parameters()):
        raise ConfigError(NOTHING_LEARNS)
    try:
        with torch.no_grad():
            features = backbone(torch.zeros(photos, height, width, 3, dtype=torch.uint8))
            if [x.shape[1] for x in features] != backbone.channels:
                raise ConfigError(f"backbone.name: {backbone.name} puts channels last; take a convolutional trunk")
            if any(x.shape[2] * stride != height for x, stride in zip(features, backbone.strides, strict=True)):
                raise ConfigError(f"backbone.name: {backbone.name} cuts borders off its maps; take a trunk that pads")
            reader = "head", config.head.name
            if isinstance(network, InstanceNetwork):
                frames = torch.tensor([[0.0, 0.0, width, height]] * photos)
                network.head.loss(features, frames, [_garment(config, network)] * photos)
            elif network is not None:
                _, auxiliary = answer_train(network.mask_head, features)
                outputs = {"auxiliary": auxiliary.masks, "presence": auxiliary.presence}
                lacking = [key for key, each in outputs.items() if getattr(config.loss, key) and not each]
                if lacking:
                    keys, them = " and loss.".join(lacking), "it" if len(lacking) == 1 else "them"
                    with_these = f"head {config.head.name}, with these options, has no such output"
                    raise ConfigError(f"loss.{keys}: {with_these}; set {them} to 0")
    except (RuntimeError, ValueError, AssertionError) as error:
        if photos == 1 and "more than 1 value per channel" in str(error):
            raise ConfigError(
                f"batch_size: a step of 1 photo on a canvas of {height} x {width} gives batch norm "
                "one value a channel; take two photos or more, a larger canvas, or batch_norm=frozen"
            ) from error
        raise ConfigError(
            f"{reader[0]}: {reader[1]} cannot read a canvas of {height} x {width} ({in_short(error)})"
        ) from error
