"""A recipe: everything that decides a training run, as dataclasses that one YAML fills.

A YAML holds values, never code. `load_config` reads one by name (`configs/NAME.yaml`, also from a wheel) or
path, applies `key=value` overrides, and says everything that is wrong with it at once, before any data is
read. These dataclasses are the only schema: the types below, with their rules, are what is checked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, cast

from hemline._lookups import unknown_here
from hemline._reading import describe, nearest, path_of, plain, read_block, read_yaml, set_override
from hemline._rules import (
    Count,
    Degrees,
    FileName,
    OpenShare,
    PartShare,
    Positive,
    Processes,
    Rate,
    Seed,
    Share,
    Size,
    Text,
    Times,
    Weight,
    Zoom,
)
from hemline.errors import ConfigError, WeightsError
from hemline.labels import OF_INIT
from hemline.loss_config import Loss as Loss
from hemline.metadata import read_metadata
from hemline.runtime import weights_file

OF_NETWORK = ("canvas", "backbone", "head", "label_head", "masks", "mask_threshold")
"""Keys of a recipe that say what its network is."""


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """The trunk that makes the features. In a YAML its bare name does for the block."""

    name: Text = "tf_efficientnet_lite0"
    """A timm model name whose maps form a pyramid, or one of `hemline.trunks.OWN_TRUNKS`."""
    pretrained: bool = True
    """Start from timm's weights, which need a network the first time; not asked for where `init` is given."""
    weights: Text | None = None
    """A local file of trunk weights to start from instead of timm's."""
    output_stride: Literal[8, 16, 32] = 32
    """Stride of the deepest map: the stages beyond 8 or 16 are dilated instead of strided."""
    dilation: Literal["library", "all"] = "library"
    """The first block of a dilated stage has the dilation of the stage before, which changes no answer where the maps
    meet, as in torchvision and timm (`library`); or that of its own stage, as in PSPNet's code (`all`)."""
    layers: tuple[Count, ...] | None = None
    """Blocks in each stage of a ResNet, instead of its own."""
    drop_path: Share = 0.0
    """Probability with which the last block is left out of a step in training; of the blocks before it, less."""


@dataclass(frozen=True, kw_only=True)
class Head:
    """The mask head. In a YAML its options stand in the block itself: `{name: unet, kernel_size: 5}`."""

    name: Text = "unet"
    """A key of `hemline.heads.HEADS`."""
    options: dict[str, Any] = field(default_factory=dict)
    """Keyword-only arguments of the head's class."""


@dataclass(frozen=True, kw_only=True)
class LabelHead:
    """The label head, which reads the photo and every garment under its mask."""

    hidden: Count = 256
    """Width of the shared layer before the classifiers."""
    dropout: PartShare = 0.2
    """Share of that layer dropped in training."""
    direct: tuple[Text, ...] | None = None
    """Labels whose classifier reads the pooled maps, not that layer, which stays as it is for the others: those that
    weights learnt later. `labels: init+data` fills it in."""


@dataclass(frozen=True, kw_only=True)
class Only:
    """Which photos of a dataset are taken; `hemline.data.subset` takes them."""

    categories: tuple[Text, ...] | None = None
    """Photos that show one of these categories, or one of `supercategories`; of training and validation alike."""
    supercategories: tuple[Text, ...] | None = None
    """Photos that show a category of one of these."""
    count: Count | None = None
    """Train on so many of them at most; those held out all stay."""
    seed: Seed = 0
    """Another seed takes another `count` of them."""


@dataclass(frozen=True, kw_only=True)
class Data:
    """One dataset. In a YAML or an override `NAME` or `NAME:PATH` does for the block."""

    name: Text
    """A key of `hemline.data.DATASETS`."""
    path: Text | None = None
    """Its folder or file; none for a set that is made on the fly."""
    weight: Times = 1.0
    """How often its photos are drawn, relative to one pass an epoch."""
    pseudo: Text | None = None
    """A folder of masks for photos that have none, drawn by `hemline pseudo`."""
    words: Text | None = None
    """A YAML that says what the set's words mean in the label space, as a `teach` block does; asked before that."""
    only: Only | None = None
    """Which of its photos are taken; all of them if it says nothing."""
    options: dict[str, Any] = field(default_factory=dict)
    """Keyword-only arguments of the dataset; in a YAML they stand in the same block."""


@dataclass(frozen=True, kw_only=True)
class Augment:
    """How photos are varied in training."""

    flip: Share = 0.5
    """Probability of mirroring left and right."""
    crop: Share = 0.5
    """Probability of a near crop: head and shoulders, upper half or lower half."""
    scale: Zoom = (0.75, 1.25)
    """Smallest and largest zoom."""
    rotate: Degrees = 7.0
    """Largest turn to either side, in degrees."""
    colour: Share = 0.5
    """Probability of changed brightness, contrast and saturation."""
    repaint: Share = 0.0
    """Probability with which each drawn garment of a photo gets another colour; skin and hair never do."""
    paste: Share = 0.0
    """Probability of pasting what is drawn on another photo onto this one, where both have something drawn."""
    backdrop: Share = 0.0
    """Probability of another background, where a single thing is drawn: an item laid flat."""
    erase: Share = 0.0
    """Probability of hiding a rectangle of the canvas, where something is drawn."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """A training run."""

    name: FileName
    """What the run and its folder are called."""
    epochs: Count
    """Passes over the data."""
    labels: Text = "street"
    """The label space: a name of `hemline.labels.LABEL_SPACES`, or the path of its YAML; `data`: the words of the first
    dataset; or `init+data`: the label space of the weights in `init`, grown by those words, whose network it is in all
    that the recipe does not say."""
    canvas: Size = (288, 192)
    """Height and width that photos are placed on, in pixels, multiples of 32."""
    backbone: Backbone = Backbone()
    head: Head = Head()
    label_head: LabelHead = LabelHead()
    masks: Literal["overlapping", "exclusive"] = "overlapping"
    """Whether classes are scored each for itself (sigmoid), or against each other and nobody (softmax)."""
    mask_threshold: OpenShare = 0.5
    """Probability above which a pixel may belong to a class; below one half where classes share what is sure. Exclusive
    masks have none: a pixel is whatever is likeliest."""
    data: tuple[Data, ...] = (Data(name="synthetic"),)
    """The datasets, trained together."""
    validation: PartShare = 0.1429
    """Share of the groups of photos held out, of sets that publish no such split; 0 holds out none."""
    split: Literal["hash", "stratified"] = "hash"
    """What chooses them: `hash`, by their names; `stratified`, so that each label has its share (iterative
    stratification)."""
    augment: Augment = Augment()
    loss: Loss = Loss()  # noqa: RUF009  # frozen
    batch_size: Count = 16
    """Photos a step, over all processes and pieces together: on more GPUs the same recipe gives the same training,
    sooner."""
    grad_accum_steps: Count = 1
    """Pieces that the photos of a step are read in, one after the other, where they do not fit into memory at once."""
    canvases: tuple[Size, ...] | None = None
    """Mixed sizes: each step takes one of these at random, all alike likely, instead of `canvas`, which remains that of
    validation and answers, and is among them only if it is named here, too."""
    opt: Text = "adamw"
    """The optimizer: a name of `timm.optim.list_optimizers()`, such as `adamw`, `sgd`, `lamb`, `lion`. AdamW, Adam and
    SGD run in torch's fused form on a GPU."""
    momentum: PartShare = 0.9
    """Of optimizers that have a parameter of this name, such as `sgd` and `lars`; those that have betas, such as
    `adamw`, keep their own."""
    lr: Rate = 1e-3
    """Peak learning rate of the heads."""
    backbone_lr_scale: Positive = 0.3
    """Learning rate of the trunk, as a factor of `lr`."""
    weight_decay: Weight = 0.02
    """Weight decay of matrices and kernels; norms and biases have none."""
    sched: Literal["cosine", "onecycle", "poly", "constant"] = "cosine"
    """How the learning rate goes on from its peak: `cosine` and `poly` fall to zero, `onecycle` climbs to the peak for
    30 % of all steps first, instead of `warmup`."""
    sched_power: Positive = 0.9
    """Of `poly`: the learning rate is the peak times (1 - the share of steps done) to this power."""
    warmup: PartShare = 0.03
    """Share of all steps in which the learning rate climbs to its peak; `onecycle` has its own."""
    clip_grad: Positive = 1.0
    """Largest norm of the gradient."""
    model_ema_decay: PartShare = 0.998
    """Decay of the moving average of the weights, which is validated and saved; 0 averages nothing."""
    freeze: tuple[Literal["backbone", "mask_head", "label_head"], ...] | None = None
    """Parts that stay as they begin, their batch norm's statistics too, and drop nothing. A head that finds instances
    cannot be frozen. Of a `label_head` only what the weights of
    `init` knew stays: new labels are learnt."""
    freeze_epochs: Count | None = None
    """Epochs until they learn, too; null: never."""
    batch_norm: Literal["train", "frozen"] = "train"
    """Whether batch norms learn and count, or stay as they begin, all of the network, in their statistics and in what
    they multiply and add: for a few photos a step, and for several processes on CPUs. Those of a new head, which begin
    with no statistics, then do nothing. On several GPUs batch norms count over all."""
    repeat: PartShare = 0.0
    """Photos of labels seen in less than this share of a dataset's photos are drawn more often; 0 repeats none."""
    validate_every: Count = 1
    """Epochs between validations; the last epoch always has one."""
    seed: Seed = 0
    """One seed gives the same run."""
    workers: Processes = 2
    """Processes that read photos; 0 reads them in the main one."""
    precision: Literal["auto", "float32", "bf16", "fp16"] = "auto"
    """`auto`: bf16 on a GPU that has it, float32 elsewhere. fp16 scales the loss so that small gradients live, and
    skips steps whose gradients overflow, with a smaller scale from then on."""
    torchcompile: bool = False
    """Compile trunk and mask head (`torch.compile`): minutes at first, then quicker steps. Of a network that finds
    instances the trunk alone, for its head has other sizes in each step."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """`auto`: the GPU where there is one."""
    out: Text = "runs"
    """Folder that receives the run's own folder."""
    loggers: tuple[Literal["tensorboard", "wandb"], ...] | None = ("tensorboard",)
    """Who else is told how the run goes: TensorBoard's event files in the run's folder; Weights & Biases, which sends
    them to its servers and asks for the extra `wandb`."""
    init: Text | None = None
    """Weights to start from: a `.safetensors` file, or `default` for those in the package."""
    teachers: tuple[Text, ...] | None = None
    """Distillation: weights, as of `init`, whose mean answer for each photo is learnt beside what the data know, on the
    recipe's canvas. They answer in the same words."""
    license: Text | None = None
    """Terms of the weights that come out, as their card states them."""

    @property
    def mask_probability(self) -> float:
        """The threshold that masks begin with; 0.5, beside nobody alone, is the likeliest answer of exclusive ones."""
        return 0.5 if self.masks == "exclusive" else self.mask_threshold

    def to_dict(self) -> dict[str, Any]:
        """Plain data, shaped as a YAML holds it, which `from_dict` reads back: what a checkpoint stores."""
        return cast(dict[str, Any], plain(self))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], overrides: Sequence[str] = ()) -> Config:
        """Read a recipe from plain data. Files and names that live elsewhere are not looked up; see `check`.

        Args:
            data: Plain data.
            overrides: `key=value` that is set in it.

        Raises:
            ConfigError: unknown keys, wrong types, values out of range; all of them at once.
        """
        problems: list[str] = []
        raw = dict(data)
        for override in overrides:
            set_override(raw, override, problems)
        config = read_block(cls, raw, "", problems)
        _refuse(str(data.get("name", "recipe")), problems)
        return config


def load_config(name_or_path: str | Path, overrides: Sequence[str] = (), *, own_head: bool = False) -> Config:
    """Load a recipe by name or path, apply overrides, and check it against what is installed and on the disk.

    Where torch is installed, its network is built once and tried on an empty photo.

    Args:
        name_or_path: A name that `list_configs` gives, or a YAML file.
        overrides: `key=value`, the key with dots (`head.widths=[96,64,48]`, `data.0.path=/x`), the value as
            in YAML; `data=ccp:/x` and `data=[ccp:/x, synthetic]` name datasets in short, and `data.ccp=/x` gives the
            path of the one of that name, adding it where the recipe has none.
        own_head: A head of your own will be given to `train`: the recipe's is not looked at.

    Raises:
        ConfigError: no such recipe, or everything that is wrong with it.
    """
    try:
        raw = read_yaml(config_text(name_or_path))
    except ValueError as error:
        raise ConfigError(f"{name_or_path}: not valid YAML: {error}") from error
    if not isinstance(raw, dict):
        raise ConfigError(f"{name_or_path}: a recipe is a list of `key: value` lines, not {describe(raw)}")
    raw.setdefault("data", [{"name": "synthetic"}])      # so that overrides find it
    problems: list[str] = []
    for override in overrides:
        set_override(raw, override, problems)
    if raw.get("labels") == OF_INIT:
        raw = _network_of(raw.get("init")) | raw
    config = read_block(Config, raw, "", problems)
    _refuse(str(name_or_path), problems + unknown_here(config, problems, own_head))
    return config


def check(config: Config, *, own_head: bool = False) -> None:
    """Check a recipe that was built in Python, as `load_config` checks a YAML.

    Raises:
        ConfigError: everything that is wrong with it.
    """
    problems: list[str] = []
    read_block(Config, config.to_dict(), "", problems)
    _refuse(config.name, problems + unknown_here(config, problems, own_head))


def list_configs() -> dict[str, str]:
    """The recipes in the package: name -> the first comment line of its YAML, which says what it is for."""
    found = sorted(entry.name for entry in files("hemline").joinpath("configs").iterdir())
    names = [name.removesuffix(".yaml") for name in found if name.endswith(".yaml")]
    return {name: config_text(name).partition("\n")[0].lstrip("# ") for name in names}


def config_text(name_or_path: str | Path) -> str:
    """The YAML of a recipe, as it stands, comments included.

    Raises:
        ConfigError: no such recipe, or an unreadable file; the text suggests the nearest names.
    """
    if Path(name_or_path).suffix in {".yaml", ".yml"}:
        try:
            return Path(name_or_path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"recipe {name_or_path} cannot be read: {error}") from error
    folder = files("hemline").joinpath("configs")
    names = {entry.name for entry in folder.iterdir()}
    if f"{name_or_path}.yaml" not in names:
        choices = sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml"))
        suggestion = nearest(name_or_path, choices)
        raise ConfigError(f"no recipe {str(name_or_path)!r} (a name, or a .yaml file){suggestion}")
    return folder.joinpath(f"{name_or_path}.yaml").read_text(encoding="utf-8")


def _network_of(weights: object) -> dict[str, Any]:
    """What a recipe says of its network, read from weights; nothing, where they cannot be read."""
    try:
        metadata = read_metadata(path_of(weights_file(str(weights), ".safetensors")))
    except WeightsError:                                 # looked at again, and said
        return {}
    network = {key: metadata.recipe[key] for key in OF_NETWORK if key in metadata.recipe}
    return network | {"canvas": list(metadata.canvas)}


def _refuse(where: str, problems: Sequence[str]) -> None:
    if problems:
        count = "1 thing is" if len(problems) == 1 else f"{len(problems)} things are"
        raise ConfigError("\n".join([f"{where}: {count} wrong", *(f"  {problem}" for problem in problems)]))
