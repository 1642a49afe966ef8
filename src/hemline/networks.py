"""What networks there are: the paper, parameters, multiply-adds and output stride of each, counted on no memory at all.

Every head of `HEADS` has a recipe of its name, and may have variants, which are overrides of that recipe. They are
built on torch's `meta` device, where tensors have shapes and nothing else.

Shapes: K mask classes, H W the canvas.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, cast

import torch
from rich import box
from rich.markup import escape
from rich.table import Table
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from hemline._reading import read_yaml
from hemline.backbone import Backbone
from hemline.config import Config, config_text
from hemline.errors import ConfigError, in_short
from hemline.heads import HEADS, InstanceHead
from hemline.labels import OF_WORDS, LabelSpace, load_label_space
from hemline.model import finds_instances, make_backbone, make_instance_head, make_mask_head

MIN_SIDE = 32
"""The deepest map of most trunks has one cell for so many pixels."""


@dataclass(frozen=True)
class Facts:
    """A network in figures: its trunk and its mask or instance head, without the label head, which all have alike."""

    name: str
    """Its key in `HEADS` and its recipe."""
    overrides: tuple[str, ...]
    """What is set in the recipe to make it."""
    title: str
    year: int
    url: str
    backbone: str
    num_classes: int
    """K, and one more where masks are exclusive; of a network that finds instances, the categories."""
    parameters: int
    """Of what answers."""
    parameters_in_training: int
    """With the auxiliary outputs that its paper trains with."""
    size: tuple[int, int]
    """Height and width that `macs` is of."""
    macs: int
    """Multiply-adds for one photo, of convolutions and matrix products; of a network that finds instances, where it
    proposes and finds as many as it may."""
    output_stride: int | None
    """Of the logits; None of a network that finds instances, whose masks have grids of their own."""

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def every_network(*, size: tuple[int, int] | None = None, variants: bool = True) -> list[Facts]:
    """All networks of `HEADS`.

    Args:
        size: Height and width of the photo; that of each recipe if None.
        variants: With the variants of each.
    """
    return [
        facts(name, overrides, size=size)
        for name, head in HEADS.items()
        for overrides in ((), *(head.variants if variants else ()))
    ]


def facts(
    name: str, overrides: Sequence[str] = (), *, size: tuple[int, int] | None = None, num_classes: int | None = None
) -> Facts:
    """Count one network.

    Args:
        name: A key of `HEADS`.
        overrides: `key=value` that is set in its recipe.
        size: Height and width of the photo; the recipe's canvas if None.
        num_classes: Maps that the head answers; as many as the recipe's label space asks for if None.

    Raises:
        ConfigError: the overrides do not fit, or the network cannot read photos of that size.
    """
    config = recipe(name, overrides)
    size = config.canvas if size is None else size
    if num_classes is None:
        space, exclusive = _space(config), config.masks == "exclusive"
        num_classes = len(space.categories) if finds_instances(config) else space.num_masks + exclusive
    with torch.device("meta"):
        backbone, head = parts(config, num_classes)
        in_training = _count(backbone, head)
        if "auxiliary" in inspect.signature(HEADS[name]).parameters:
            head = make_mask_head(backbone, recipe(name, [*overrides, "head.auxiliary=false"]), num_classes)
        counter = FlopCounterMode(display=False)
        try:
            with counter, torch.no_grad():
                features = backbone.eval()(torch.zeros(1, *size, 3, dtype=torch.uint8))
                if isinstance(head, InstanceHead):
                    head.eval().dry_run(features)
                    output_stride = None
                else:
                    output_stride = round(size[0] / head.eval()(features).logits.shape[2])
        except (RuntimeError, ValueError, AssertionError) as error:
            raise ConfigError(
                f"{name} on {backbone.name} cannot read photos of {size[0]} x {size[1]} ({in_short(error)})"
            ) from error
    paper = HEADS[name].paper
    return Facts(
        name=name,
        overrides=tuple(overrides),
        title=paper.title,
        year=paper.year,
        url=paper.url,
        backbone=config.backbone.name,
        num_classes=num_classes,
        parameters=_count(backbone, head),
        parameters_in_training=in_training,
        size=size,
        macs=counter.get_total_flops() // 2,
        output_stride=output_stride,
    )


def read_size(text: str) -> tuple[int, int]:
    """`HxW` -> height and width.

    Raises:
        ConfigError: it is no size that networks read.
    """
    found = re.fullmatch(r"(\d{2,4})x(\d{2,4})", text)
    if not found or min(size := (int(found[1]), int(found[2]))) < MIN_SIDE:
        raise ConfigError(f"--size {text}: write height and width in pixels, {MIN_SIDE} or more, as in --size 384x256")
    return size


def recipe(name: str, overrides: Sequence[str] = ()) -> Config:
    """The recipe of a network, with overrides, without looking at the disk.

    Raises:
        ConfigError: no such recipe, or the overrides do not fit.
    """
    return Config.from_dict(cast(dict[str, Any], read_yaml(config_text(name))), overrides)


def _count(*modules: nn.Module) -> int:
    return sum(p.numel() for module in modules for p in module.parameters())


def parts(config: Config, num_classes: int) -> tuple[Backbone, nn.Module]:
    """The trunk and the head of a recipe, with random weights, answering so many maps, or categories of instances."""
    backbone = make_backbone(config, trunk_weights=False)
    if not finds_instances(config):
        return backbone, make_mask_head(backbone, config, num_classes)
    space = _space(config)
    classes, attributes = [c.name for c in space.categories], [label.name for label in space.labels]
    if len(classes) != num_classes:
        classes = [f"class {i}" for i in range(num_classes)]
    return backbone, make_instance_head(backbone, config, classes, attributes)


def _space(config: Config) -> LabelSpace:
    return load_label_space("fashionpedia" if config.labels in OF_WORDS else config.labels)


def networks_table(networks: Sequence[Facts]) -> Table:
    """The networks as a table; whoever calls prints it."""
    table = Table(box=box.SIMPLE_HEAD, header_style="bold dim")
    table.add_column("network", ratio=1)
    table.add_column("trunk", no_wrap=True)
    for heading in ("year", "parameters", "multiply-adds", "stride"):
        table.add_column(heading, justify="right")
    for x in networks:
        under = x.overrides or (x.title,)
        name = "\n".join([f"[bold]{x.name}[/]", *(f"[dim]{escape(line)}[/]" for line in under)])
        figures = str(x.year), f"{x.parameters / 1e6:.2f} M", f"{x.macs / 1e9:.2f} G", str(x.output_stride or "-")
        table.add_row(name, escape(x.backbone), *figures)
    sizes = " or ".join(sorted({"{} x {}".format(*x.size) for x in networks}))
    table.caption = (
        f"For one photo of {sizes}. Trunk and head: the label head, which all have alike, and what some have in "
        "training alone are left out. "
        "`hemline train NETWORK` trains one; `--variants` lists other forms, as what is set in the recipe to make them."
    )
    return table
