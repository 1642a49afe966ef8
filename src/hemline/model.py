"""The network: one backbone, one mask head, one label head.

Shapes: B batch, H W canvas, h w the mask head's size (canvas / 4), K mask classes, L labels, N masks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from hemline._regions import LEAST_RIVALRY
from hemline.backbone import Backbone
from hemline.config import Config
from hemline.errors import ConfigError, in_short
from hemline.found import MASK_PROBABILITY
from hemline.heads import HEADS, Auxiliary, Dense, InstanceHead, MultiLabel
from hemline.heads._blocks import area_resize
from hemline.instance_model import InstanceNetwork
from hemline.labels import Category, Label, LabelSpace


class Output(NamedTuple):
    """What the network answers for a batch of canvases."""

    masks: Tensor
    """(B, K, h, w) logits, one map a mask class."""
    labels: Tensor
    """(B, 1 + K, L) logits: of the whole photo, then under the mask of each class; an empty mask means nothing."""
    embeddings: Tensor | None = None
    """(B, 1 + K, D) what the labels were read from, of the same; None of a stand-in that has none."""


FAR = 1e4
"""Taken off the logits of what does not compete: they are never as large."""


class Network(nn.Module):
    """Photo -> mask logits and label logits.

    Args:
        space: The label space that it answers with.
        backbone: Makes the features.
        mask_head: Features -> `Dense`.
        label_head: Maps and masks -> label logits.
        exclusive: The mask head answers one map more, the last, of nobody. A class's logit is then by how much it is
            likelier than nobody, so that the softmax over all of them is that over these and 0.
    """

    def __init__(
        self,
        space: LabelSpace,
        backbone: Backbone,
        mask_head: nn.Module,
        label_head: MultiLabel,
        *,
        exclusive: bool = False,
    ) -> None:
        super().__init__()
        self.exclusive = exclusive
        self.backbone = backbone
        self.mask_head = mask_head
        self.label_head = label_head
        self.layers = (space.competing,) if exclusive else space.layers
        for number, layer in enumerate(self.layers):
            competing = torch.zeros(space.num_masks, dtype=torch.bool)
            competing[list(layer)] = True
            self.register_buffer(f"layer{number}", competing, persistent=False)
        self.thresholds: Tensor
        self.register_buffer("thresholds", torch.zeros(space.num_masks))  # logits; see `set_mask_thresholds`

    def set_mask_thresholds(self, probabilities: Tensor) -> None:
        """Set the (K,) probabilities above which a pixel may belong to each class."""
        self.thresholds.copy_(torch.logit(probabilities.clamp(1e-4, 1 - 1e-4)))

    def dense(self, pixels: Tensor) -> Dense:
        """Photos (B, H, W, 3) uint8 -> mask logits and the maps that the label head pools."""
        dense: Dense = self.mask_head(self.backbone(pixels))
        return Dense(self._beside_nobody(dense.logits), dense.maps)

    def dense_train(self, pixels: Tensor) -> tuple[Dense, Auxiliary]:
        """What `dense` answers, and the head's auxiliary outputs, where it has any."""
        dense, auxiliary = answer_train(self.mask_head, self.backbone(pixels))
        masks = [self._beside_nobody(logits) for logits in auxiliary.masks]
        return Dense(self._beside_nobody(dense.logits), dense.maps), auxiliary._replace(masks=masks)

    def _beside_nobody(self, logits: Tensor) -> Tensor:
        """(B, K, h, w), or (B, K + 1, h, w) where nobody is the last -> (B, K, h, w), nobody being 0."""
        asked = len(self.thresholds) + self.exclusive
        if logits.shape[1] != asked:                     # of a head of one's own
            nobody = ", nobody the last" if self.exclusive else ""
            raise ConfigError(f"head: it answers {logits.shape[1]} maps, and must answer {asked}{nobody}")
        return logits[:, :-1] - logits[:, -1:] if self.exclusive else logits

    def forward(self, pixels: Tensor, valid: Tensor) -> Output:
        """Photos (B, H, W, 3) uint8 and their valid pixels (B, H, W) uint8 -> `Output`."""
        dense = self.dense(pixels)
        logits = _in_planes(dense.logits)
        area = area_resize(valid[:, None].to(logits.dtype), logits.shape[-2:])              # (B, 1, h, w)
        masks = torch.cat([area, self.decide(logits, area) * area], dim=1)                  # (B, 1 + K, h, w)
        labels, embeddings = self.label_head.describe(self.label_head.pool(dense.maps, masks))
        return Output(logits, labels, embeddings)

    def decide(self, logits: Tensor, area: Tensor) -> Tensor:
        """Mask logits -> the masks (B, K, h, w) of 0 and 1 that are the answer.

        In each layer (`LabelSpace.layers`), a cell belongs to the class with the largest margin over its threshold, or
        to none. A class that wins few of the cells where it passes, beside another that wins many of these, is a
        second guess at the other's garment and does not compete (`hemline._regions.LEAST_RIVALRY`).

        Args:
            logits: (B, K, h, w).
            area: (B, 1, h, w) share of each cell that lies on the photo.
        """
        answer = self._decide(logits, area, self.get_buffer("layer0"))
        for number in range(1, len(self.layers)):
            answer = answer + self._decide(logits, area, self.get_buffer(f"layer{number}"))
        return answer

    def _decide(self, logits: Tensor, area: Tensor, competing: Tensor) -> Tensor:
        """The masks of one layer: those of the (K,) classes that compete in it, 0 of all others."""
        offset = torch.where(competing, -self.thresholds, -FAR)
        margins = (logits + offset.view(1, -1, 1, 1)).flatten(2)                # (B, K, n), as are all that follow
        passing = ((margins > 0) & (area.flatten(2) > 0)).to(logits.dtype)
        won = passing * (margins >= margins.amax(1, keepdim=True)).to(logits.dtype)
        there = torch.bmm(passing, won.transpose(1, 2))                         # (B, K, K): cells of k that j wins
        enough = won.sum(2) >= LEAST_RIVALRY * there.amax(2)                    # (B, K)
        margins = margins - FAR * (~enough).to(logits.dtype)[:, :, None]
        best = margins.amax(1, keepdim=True).clamp(min=0)
        answer = (margins > 0).to(logits.dtype) * (margins >= best).to(logits.dtype)
        return answer.view_as(logits)


def _in_planes(x: Tensor) -> Tensor:
    """Maps (B, K, h, w) as they are, asked for one class after the other.

    Convolutions leave them with the classes side by side. A runtime that is told so in a graph moves them once, with
    its quick kernel; OpenVINO otherwise does so for each reader, ten times as slowly (a tenth of the whole network).
    """
    return x.permute(0, 2, 3, 1).flatten(1, 2).transpose(1, 2).reshape(x.shape)


def answer_train(mask_head: nn.Module, features: list[Tensor]) -> tuple[Dense, Auxiliary]:
    """What a mask head answers in training: its auxiliary outputs too, where it has any."""
    if not hasattr(mask_head, "forward_train"):
        return mask_head(features), Auxiliary([])
    answer: tuple[Dense, Auxiliary] = mask_head.forward_train(features)  # type: ignore[operator]  # nn.Module hides it
    return answer


def build(config: Config, space: LabelSpace, *, head: nn.Module | None = None, trunk_weights: bool = True) -> Network:
    """Build the network of a recipe.

    Args:
        config: The recipe.
        space: Its label space.
        head: A mask head of your own instead of the recipe's; see the contract in `hemline.heads`.
        trunk_weights: Load the recipe's trunk weights; False where a checkpoint is loaded afterwards.

    Raises:
        ConfigError: the backbone, its weights or the head's options do not fit.
    """
    backbone = make_backbone(config, trunk_weights=trunk_weights)
    return assemble(backbone, config, space, head=head)


def finds_instances(config: Config, head: nn.Module | None = None) -> bool:
    """Whether a recipe's head, or one of your own, finds instances; others draw classes."""
    return issubclass(HEADS[config.head.name], InstanceHead) if head is None else isinstance(head, InstanceHead)


def build_instances(
    config: Config, space: LabelSpace, *, head: nn.Module | None = None, trunk_weights: bool = True
) -> InstanceNetwork:
    """Build the network of a recipe whose head finds instances; as `build` otherwise.

    Raises:
        ConfigError: as of `build`.
    """
    return assemble_instances(make_backbone(config, trunk_weights=trunk_weights), config, space, head=head)


def make_backbone(config: Config, *, trunk_weights: bool) -> Backbone:
    """Build the backbone of a recipe.

    Raises:
        ConfigError: it cannot be built, or its weights do not fit.
    """
    asked = config.backbone
    return Backbone(
        asked.name,
        pretrained=asked.pretrained and trunk_weights,
        weights=asked.weights if trunk_weights else None,
        output_stride=asked.output_stride,
        dilation=asked.dilation,
        layers=asked.layers,
        drop_path=asked.drop_path,
    )


def make_mask_head(backbone: Backbone, config: Config, num_classes: int) -> nn.Module:
    """Build the mask head of a recipe, which answers so many maps.

    Raises:
        ConfigError: its options do not fit, or the trunk is not one that it can read.
    """
    return _make_head(backbone, config, num_classes)


def make_instance_head(
    backbone: Backbone, config: Config, classes: Sequence[str], attributes: Sequence[str]
) -> InstanceHead:
    """Build the instance head of a recipe, of these classes and attributes.

    Raises:
        ConfigError: its options do not fit, or the trunk is not one that it can read.
    """
    head = _make_head(backbone, config, classes, attributes)
    assert isinstance(head, InstanceHead)
    return head


def _make_head(backbone: Backbone, config: Config, *answers: object) -> nn.Module:
    make: Callable[..., nn.Module] = HEADS[config.head.name]
    try:
        return make(backbone.channels, backbone.strides, *answers, **config.head.options)
    except (ValueError, TypeError, RuntimeError) as error:
        raise ConfigError(f"head: {in_short(error)}") from error


def assemble_instances(
    backbone: Backbone, config: Config, space: LabelSpace, *, head: nn.Module | None = None
) -> InstanceNetwork:
    """Build the heads of a recipe that finds instances on a backbone.

    Raises:
        ConfigError: the head's options do not fit, or the recipe asks for what maps of classes alone can give.
    """
    _refuse_maps(config, config.head.name if head is None else type(head).__name__)
    if head is None:
        classes, attributes = [c.name for c in space.categories], [label.name for label in space.labels]
        head = make_instance_head(backbone, config, classes, attributes)
    assert isinstance(head, InstanceHead)
    return InstanceNetwork(space, backbone, head, _make_label_head(head.map_channels, config, space))


def _refuse_maps(config: Config, head: str) -> None:
    loss = config.loss
    of_maps = [name for name, weight in loss.of_masks().items() if weight]
    of_maps += [name for name in ("auxiliary", "presence") if getattr(loss, name)]
    if of_maps:
        keys, them = " and loss.".join(of_maps), "it" if len(of_maps) == 1 else "them"
        raise ConfigError(f"loss.{keys}: head {head} finds instances and draws no maps of classes; set {them} to 0")
    if config.teachers:
        raise ConfigError(f"teachers: head {head} finds instances, and they teach maps of classes; leave them out")
    if config.masks == "exclusive":
        raise ConfigError(f"masks: head {head} finds instances, which may overlap; set it to overlapping")
    if config.mask_threshold != MASK_PROBABILITY:
        raise ConfigError(f"mask_threshold: head {head} finds instances, whose masks are cut at 0.5; leave it out")
    if "mask_head" in (config.freeze or ()):
        raise ConfigError(
            f"freeze: head {head} finds instances and is no mask_head; backbone and label_head can be frozen, it cannot"
        )
    for key in ("class_weights", "positive_weights"):
        if getattr(loss, key) != "none":
            raise ConfigError(f"loss.{key}: head {head} finds instances and weighs no pixels; set it to none")


def assemble(backbone: Backbone, config: Config, space: LabelSpace, *, head: nn.Module | None = None) -> Network:
    """Build the heads of a recipe on a backbone.

    Raises:
        ConfigError: the head's options do not fit.
    """
    exclusive = config.masks == "exclusive"
    if head is None:
        head = make_mask_head(backbone, config, space.num_masks + exclusive)
    map_channels: list[int] = head.map_channels  # type: ignore[assignment]  # nn.Module hides what it holds
    label_head = _make_label_head(map_channels, config, space)
    return Network(space, backbone, head, label_head, exclusive=exclusive)


def _make_label_head(map_channels: Sequence[int], config: Config, space: LabelSpace) -> MultiLabel:
    things: tuple[Category | Label, ...] = (*space.categories, *space.labels)
    direct = [thing.index for thing in things if thing.name in (config.label_head.direct or ())]
    sizes = {name: len({*range(part.start, part.stop)} - {*direct}) for name, part in space.label_slices.items()}
    sizes = {name: size for name, size in sizes.items() if size}
    hidden, dropout = config.label_head.hidden, config.label_head.dropout
    try:
        return MultiLabel(map_channels, sizes, hidden=hidden, dropout=dropout, direct=direct)
    except RuntimeError as error:
        raise ConfigError(f"label_head.hidden: {hidden} is too wide for the memory here") from error


def compile_parts(network: Network | InstanceNetwork, device: torch.device) -> None:
    """Have trunk and mask head compiled when they first run, in place, so that the names of their tensors stay.

    Raises:
        ConfigError: nothing can be compiled here.
    """
    try:
        torch.compile(lambda x: x + 1)(torch.zeros(2, device=device))
    except Exception as error:                           # torch's compilers fail in many ways where their tools lack
        lacks = "g++" if device.type == "cpu" else "triton"
        raise ConfigError(
            f"torchcompile: nothing can be compiled here ({in_short(error)}); install {lacks}, or set it to false"
        ) from error
    network.backbone.trunk.compile()
    if isinstance(network, Network):
        head = network.mask_head
        head.compile()
        if hasattr(head, "forward_train"):               # what is called in training, where a head has it
            head.forward_train = torch.compile(head.forward_train)  # type: ignore[assignment, arg-type]  # nn.Module hides it
