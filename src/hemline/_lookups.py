"""What a recipe names that lives elsewhere: label spaces, files, trunks, heads, datasets, options and categories."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from hemline._reading import nearest, path_of, read
from hemline.errors import LabelError
from hemline.labels import OF_INIT, OF_WORDS, LabelSpace, load_label_space

if TYPE_CHECKING:
    from hemline.config import Config, Data, Head

OF_CHANCE = ("kron", "kronc", "kronw")
"""Optimizers of timm with random numbers of their own, which their state does not hold."""
Maker = Callable[..., object]
"""A head's class or a dataset's: its keyword-only arguments are its options."""


def unknown_here(config: Config, problems: Sequence[str], own_head: bool) -> list[str]:
    """Problems with names, files and what they make together, leaving out the places that already have one."""
    places = {problem.partition(":")[0] for problem in problems}
    more = [problem for problem in _look_up(config, own_head) if problem.partition(":")[0] not in places]
    places |= {problem.partition(":")[0] for problem in more}
    try:
        from hemline.trial import misfits
    except ImportError:                                  # without the `train` extra nothing can be built
        return more
    return more + misfits(config, places | {"head"} if own_head else places)


def _look_up(config: Config, own_head: bool) -> Iterator[str]:
    space = None
    try:
        space = None if config.labels in OF_WORDS else load_label_space(config.labels)
    except (LabelError, OSError) as error:
        yield f"labels: {error}"
    yield from _wrong_beginning(config)
    yield from _wrong_losses(config)
    out = path_of(config.out).absolute()
    there = next((folder for folder in (out, *out.parents) if folder.exists()), out)
    if not there.is_dir() or not os.access(there, os.W_OK):
        yield f"out: {there} is no folder that can be written"
    if "wandb" in (config.loggers or ()) and not _installed("wandb"):
        yield 'loggers: wandb is not installed: pip install "hemline[wandb]", or leave it out'
    try:
        import timm

        from hemline.heads import HEADS
        from hemline.trunks import OWN_TRUNKS
    except ImportError:                                  # without the `train` extra names cannot be looked up
        return
    backbones = [*OWN_TRUNKS, *timm.list_models()]
    if config.backbone.name.partition(".")[0] not in backbones:
        yield f"backbone.name: unknown {config.backbone.name!r}{nearest(config.backbone.name, backbones)}"
    yield from _wrong_optimizer(config.opt, config.momentum)
    if not own_head:
        yield from _wrong_options("head", config.head, HEADS)
    yield from wrong_data(config, space)


def _installed(package: str) -> bool:
    """Whether a package is there, which is not imported; a folder of that name, such as wandb's own, is none."""
    spec = find_spec(package)
    return spec is not None and spec.origin is not None


def _wrong_beginning(config: Config) -> Iterator[str]:
    """Weights to start from that are not there, and what is to stay as they are."""
    if config.backbone.weights is not None and not path_of(config.backbone.weights).is_file():
        yield f"backbone.weights: no file {config.backbone.weights!r}"
    if config.init not in (None, "default") and not path_of(str(config.init)).is_file():
        yield f"init: no file {config.init!r}; give a .safetensors file, or `default` for the shipped weights"
    for name in config.teachers or ():
        if name != "default" and not path_of(name).is_file():
            yield f"teachers: no file {name!r}; give .safetensors files, or `default` for the shipped weights"
    if config.teachers and config.labels in OF_WORDS:
        yield f"teachers: labels: {config.labels} brings words that they do not know; leave them out"
    if config.freeze_epochs is not None and not config.freeze:
        yield "freeze_epochs: nothing is frozen until then; name parts in freeze, or leave it out"
    if config.labels == OF_INIT and config.init is None:
        yield "init: labels: init+data grows the label space of weights: name them, as init=default"


def _wrong_losses(config: Config) -> Iterator[str]:
    """Losses and their options that mean nothing together."""
    loss = config.loss
    exclusive = config.masks == "exclusive"
    if exclusive:
        if loss.bce:
            yield "loss.bce: scores each class for itself, masks: exclusive does not; set bce to 0, cross_entropy to 1"
        if loss.focal and loss.focal_alpha is not None:
            yield "loss.focal_alpha: weighs one class beside the rest, masks: exclusive has many; set it to null"
    if loss.tversky and loss.tversky_alpha == loss.tversky_beta == 0:
        yield "loss.tversky_alpha: with tversky_beta also 0 no mistake costs anything; raise one, or set tversky to 0"
    weighed = {"bce": loss.bce, "cross_entropy": loss.cross_entropy, "focal": loss.focal,
               "bootstrapped": loss.bootstrapped, "ohem": loss.ohem}  # fmt: skip
    if loss.class_weights != "none" and not any(weighed.values()):
        yield f"loss.class_weights: weighs {', '.join(weighed)}, which are all 0; raise one, or set it to none"
    if loss.positive_weights != "none" and not loss.bce:
        repair = "set this to none" if exclusive else "raise it, or set this to none"
        yield f"loss.positive_weights: weighs bce, which is 0; {repair}"


def _wrong_optimizer(name: str, momentum: float) -> Iterator[str]:
    """What keeps timm's optimizer of a name from training here."""
    import torch
    from timm import optim

    names = [str(each) for each in optim.list_optimizers()]  # type: ignore[attr-defined]  # public by its documents alone
    if name not in names:
        yield f"opt: timm has no optimizer {name!r}{nearest(name, names)}"
        return
    info = optim.get_optimizer_info(name)  # type: ignore[attr-defined]  # likewise
    package = info.opt_class.partition(".")[0] if isinstance(info.opt_class, str) else None
    if package is not None and not (find_spec(package) and torch.cuda.is_available()):
        yield f"opt: {name} needs a GPU and the package {package}, which are not both here; take another, such as adamw"
    elif info.second_order:
        yield f"opt: {name} needs second derivatives, which are not computed; take another, such as adamw"
    elif name in OF_CHANCE:
        yield f"opt: {name} draws random numbers that a resumed run could not go on with; take another, such as adamw"
    elif not momentum and info.has_momentum and (info.defaults or {}).get("nesterov"):
        yield f"momentum: {name} cannot have 0, for it takes Nesterov's; raise it, or take opt=momentum"


def wrong_data(config: Config, space: LabelSpace | None) -> Iterator[str]:
    """What is wrong with the datasets of a recipe: unknown names and options, paths that are missing, words untaught.

    Args:
        config: The recipe.
        space: Its label space, if it is known without reading data.
    """
    from hemline.data import DATASETS

    for i, data in enumerate(config.data):
        yield from _wrong_options(f"data.{i}", data, DATASETS)
        if data.name in DATASETS:
            yield from _wrong_source(f"data.{i}", data, space)


def _wrong_source(where: str, data: Data, space: LabelSpace | None) -> Iterator[str]:
    """What is wrong with the path of a dataset, with teaching its words, or with the categories that are chosen."""
    from hemline.data import DATASETS, reads_files, wrong_path
    from hemline.data.subset import wrong_names

    if problem := wrong_path(data.name, data.path, f"{where}.path=PATH"):
        yield f"{where}.path: {problem}"
    if data.pseudo is not None and not path_of(data.pseudo).is_dir():
        yield f"{where}.pseudo: nothing at {data.pseudo!r}; `hemline pseudo` draws masks"
    if data.words is not None:
        yield from _wrong_words(f"{where}.words", data.name, data.words, space)
    if data.only is not None and space is not None:
        yield from (f"{where}.only.{problem}" for problem in wrong_names(data.only, space))
    own_words = hasattr(DATASETS[data.name], "label_space") or data.words is not None
    if space is not None and reads_files(data.name) and not own_words and data.name not in space.teach:
        taught = ", ".join(sorted(space.teach)) or "none"
        yield f"{where}.name: label space {space.name} does not teach the words of {data.name} (it teaches: {taught})"


def _wrong_words(where: str, name: str, file: str, space: LabelSpace | None) -> Iterator[str]:
    """What is wrong with a file that says what a dataset's words mean."""
    from hemline.data.knowledge import Knowledge
    from hemline.data.words import load_words

    if not path_of(file).is_file():
        yield f"{where}: no file {file!r}"
        return
    try:
        block = load_words(file)
        if space is not None:
            Knowledge(replace(space, teach={name: block}), name)
    except LabelError as error:
        yield f"{where}: {str(error).removeprefix('words: ')}"


def _wrong_options(where: str, block: Head | Data, table: Mapping[str, Maker]) -> Iterator[str]:
    if block.name not in table:
        yield f"{where}.name: unknown {block.name!r}{nearest(block.name, sorted(table))}"
        return
    made = table[block.name]
    parameters = inspect.signature(made, eval_str=True).parameters.values()
    allowed = {p.name: Any if p.annotation is p.empty else p.annotation for p in parameters if p.kind is p.KEYWORD_ONLY}
    known = [f.name for f in fields(block) if f.name != "options"] + list(allowed)
    problems: list[str] = []
    for key, value in block.options.items():
        if key in allowed:
            read(allowed[key], value, f"{where}.{key}", problems)
        else:
            problems.append(f"{where}.{key}: {block.name} has no such option{nearest(key, known)}")
    yield from problems
