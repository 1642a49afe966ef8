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
from typing import Annotated, Any, Literal, cast

from hemline._lookups import unknown_here
from hemline._reading import Rule, describe, nearest, plain, read_block, read_yaml, set_override
from hemline.errors import ConfigError

Text = Annotated[str, Rule("a text that says something", lambda text: bool(text.strip()))]
FileName = Annotated[
    str,
    Rule(
        "one name of a file, without / or \\, of 200 bytes at most",
        lambda x: x.strip(" .") != "" and not set(x) & set("/\\\0") and len(x.encode(errors="replace")) <= 200,
    ),
]
Count = Annotated[int, Rule("1 or more", lambda x: x >= 1)]
Seed = Annotated[int, Rule("between 0 and 2^63 - 1", lambda x: 0 <= x < 2**63)]
Processes = Annotated[int, Rule("between 0 and 256", lambda x: 0 <= x <= 256)]
Positive = Annotated[float, Rule("above 0", lambda x: x > 0)]
Rate = Annotated[float, Rule("above 0 and at most 10", lambda x: 0 < x <= 10)]
Times = Annotated[float, Rule("above 0 and at most 1000", lambda x: 0 < x <= 1000)]
Weight = Annotated[float, Rule("0 or more", lambda x: x >= 0)]
Share = Annotated[float, Rule("between 0 and 1", lambda x: 0 <= x <= 1)]
PartShare = Annotated[float, Rule("at least 0 and below 1", lambda x: 0 <= x < 1)]
OpenShare = Annotated[float, Rule("above 0 and below 1", lambda x: 0 < x < 1)]
SomeShare = Annotated[float, Rule("above 0 and at most 1", lambda x: 0 < x <= 1)]
Gamma = Annotated[float, Rule("0, or 1 or more", lambda x: x == 0 or x >= 1)]
Degrees = Annotated[float, Rule("between 0 and 180 degrees", lambda x: 0 <= x <= 180)]
Zoom = Annotated[
    tuple[float, float], Rule("two factors above 0, the smaller first", lambda x: 0 < x[0] <= x[1])
]
Size = Annotated[
    tuple[int, int],
    Rule(
        "height and width in multiples of 32, 4096 at most",
        lambda x: all(32 <= side <= 4096 and side % 32 == 0 for side in x),
    ),
]


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
    """A YAML that says what the set's words mean in the label space, as a `teach` block does; instead of that."""
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


@dataclass(frozen=True, kw_only=True)
class Loss:
    """Weights of the losses in the one visible sum; a loss of weight 0 is not computed.

    Those of masks stand with their formulas and papers in `hemline.mask_losses`; what is not known of a pixel counts in
    none. `cross_entropy`, `bootstrapped` and `ohem` are of the softmax over the classes that compete and nobody. The
    rest are of each class for itself (sigmoid), or, where `masks` is `exclusive`, of that softmax too, where nobody is
    a class like the others.
    """

    bce: Weight = 1.0
    """Binary cross-entropy of the masks. Not for exclusive ones."""
    dice: Weight = 1.0
    """Dice loss of the masks, in V-Net's form, with squares; for the form without take `tversky`."""
    cross_entropy: Weight = 0.0
    """Cross-entropy of the one class, or none, that answers each pixel; with class weights it is divided by the sum of
    the pixels' weights, as torch does."""
    focal: Weight = 0.0
    """Focal loss: `bce` of each class, or where masks are exclusive `cross_entropy`, with little of pixels that are
    already right."""
    focal_gamma: Gamma = 2.0
    """How little: a pixel counts (1 - the probability of its truth) ^ gamma; 0 counts all alike."""
    focal_alpha: Share | None = None
    """Weight of a class's own pixels, beside 1 - alpha of the others; the paper takes 0.25. Not for exclusive masks."""
    jaccard: Weight = 0.0
    """1 - intersection over union of the masks, a mean over the classes of each photo."""
    generalised_dice: Weight = 0.0
    """Dice of all classes of a photo at once, small ones weighed up by 1 / area^2."""
    tversky: Weight = 0.0
    """Dice without squares, where what is answered in vain and what is missed have weights of their own."""
    tversky_alpha: Weight = 0.5
    """Weight of what is answered in vain. With 0.5 and 0.5 it is the usual soft dice, with 1 and 1 `jaccard`."""
    tversky_beta: Weight = 0.5
    """Weight of what is missed."""
    lovasz: Weight = 0.0
    """Lovász loss: the convex extension of intersection over union, a mean over the classes of each photo."""
    bootstrapped: Weight = 0.0
    """Cross-entropy of the hardest pixels of each photo alone."""
    bootstrapped_share: SomeShare = 0.0625
    """How many: 1/16 is FRRN's 32768 of 512 x 1024."""
    ohem: Weight = 0.0
    """Cross-entropy of hard pixels alone: of all that are not sure of their truth, and of a share at the least."""
    ohem_threshold: OpenShare = 0.7
    """The probability of its truth from which a pixel is sure."""
    ohem_share: Share = 0.0625
    """The share of a photo's pixels, the hardest, that are counted however sure they are."""
    category: Weight = 0.5
    """Binary cross-entropy of the categories."""
    attributes: Weight = 0.5
    """Binary cross-entropy of each attribute group."""
    choice: Weight = 0.0
    """Cross-entropy of the one value of each group of `choice: one`."""
    auxiliary: Weight = 0.0
    """The same losses of the masks, on each of the head's auxiliary outputs."""
    presence: Weight = 0.0
    """Binary cross-entropy of the head's auxiliary answer to which classes are on the photo."""
    instances: Weight = 1.0
    """The losses of a head that finds instances, each already weighed as the head's options say."""
    class_weights: Literal["none", "median_frequency", "inverse", "effective_number"] = "none"
    """How `bce`, `cross_entropy`, `focal`, `bootstrapped` and `ohem` weigh classes, by the pixels or photos of each;
    see `hemline.data.balance`."""
    positive_weights: Literal["none", "balanced", "root"] = "none"
    """How `bce` weighs a class's own pixels beside all others: `balanced` by how many more the others are, 100 at most,
    `root` by the square root of that."""

    def of_masks(self) -> dict[str, float]:
        """The weights of the losses of masks; the same weigh those of each auxiliary output."""
        return {
            "bce": self.bce,
            "dice": self.dice,
            "cross_entropy": self.cross_entropy,
            "focal": self.focal,
            "jaccard": self.jaccard,
            "generalised_dice": self.generalised_dice,
            "tversky": self.tversky,
            "lovasz": self.lovasz,
            "bootstrapped": self.bootstrapped,
            "ohem": self.ohem,
        }


@dataclass(frozen=True, kw_only=True)
class Config:
    """A training run."""

    name: FileName
    """What the run and its folder are called."""
    epochs: Count
    """Passes over the data."""
    labels: Text = "street"
    """The label space: a name of `hemline.labels.LABEL_SPACES`, the path of its YAML, or `data`: the words of the
    first dataset."""
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
    loss: Loss = Loss()
    batch_size: Count = 16
    """Photos a step."""
    lr: Rate = 1e-3
    """Peak learning rate of the heads."""
    backbone_lr_scale: Weight = 0.3
    """Learning rate of the trunk, as a factor of `lr`; 0 freezes it."""
    weight_decay: Weight = 0.02
    """Decoupled weight decay (AdamW)."""
    warmup: PartShare = 0.03
    """Share of all steps in which the learning rate climbs to its peak."""
    clip: Positive = 1.0
    """Largest norm of the gradient."""
    ema: PartShare = 0.998
    """Decay of the moving average of the weights, which is validated and saved; 0 averages nothing."""
    repeat: PartShare = 0.0
    """Photos of labels seen in less than this share of a dataset's photos are drawn more often; 0 repeats none."""
    validate_every: Count = 1
    """Epochs between validations; the last epoch always has one."""
    seed: Seed = 0
    """One seed gives the same run."""
    workers: Processes = 2
    """Processes that read photos; 0 reads them in the main one."""
    precision: Literal["auto", "float32", "bf16"] = "auto"
    """`auto`: bf16 on a GPU that has it, float32 elsewhere."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """`auto`: the GPU where there is one."""
    out: Text = "runs"
    """Folder that receives the run's own folder."""
    init: Text | None = None
    """Weights to start from: a `.safetensors` file, or `default` for those in the package."""
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
            in YAML; `data=ccp:/x` and `data=[ccp:/x, synthetic]` name datasets in short.
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


def _refuse(where: str, problems: Sequence[str]) -> None:
    if problems:
        count = "1 thing is" if len(problems) == 1 else f"{len(problems)} things are"
        raise ConfigError("\n".join([f"{where}: {count} wrong", *(f"  {problem}" for problem in problems)]))
