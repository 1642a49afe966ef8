"""Recipes: what they accept, what they refuse, and that they say everything that is wrong at once."""

import ast
import inspect
import re
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from hemline.config import (
    Augment,
    Backbone,
    Config,
    Data,
    Head,
    LabelHead,
    Loss,
    Only,
    check,
    config_text,
    list_configs,
    load_config,
)
from hemline.errors import ConfigError
from hemline.runtime import default_weights


def problems(text: str) -> list[str]:
    """The problems that a ConfigError lists."""
    return [line.strip() for line in text.splitlines()[1:]]


Recipe = Callable[[str], Path]


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    def write(text: str) -> Path:
        path = tmp_path / "mine.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def loads(name: str) -> bool:
    """Whether a shipped recipe does; its data lie wherever the user has them: what it says must be right without."""
    init = "default" if "init+data" in config_text(name) else ""
    config = load_config(name, ["data=synthetic", "backbone.weights=", f"init={init}", "canvas=[64,64]"])
    return config.name == name


@pytest.mark.slow
@pytest.mark.parametrize("name", list_configs())
def test_every_shipped_recipe_loads(name: str) -> None:
    assert loads(name)


def test_shipped_recipes_load_and_comment_themselves() -> None:
    assert {"debug", "synthetic"} <= set(list_configs())
    assert all(loads(name) for name in ("debug", "street", "finetune", "fashionpedia", "mask_rcnn"))
    for name, description in list_configs().items():
        text = config_text(name)
        assert text.startswith("# ")
        assert len(description) > 20
        assert text.count("#") >= 0.4 * len(text.splitlines())


def test_a_yaml_and_its_dict_say_the_same() -> None:
    config = load_config("debug")
    assert config.canvas == (96, 64)
    assert config.head == Head(name="unet", options={"widths": [24, 16, 16]})
    assert config.data[0].options == {"count": 24}
    assert config.label_head.hidden == 32
    assert config.lr == 1e-3, "left out: the default"
    stored = yaml.safe_load(yaml.safe_dump(config.to_dict()))
    assert stored["head"] == {"name": "unet", "widths": [24, 16, 16]}, "flat, as a YAML holds it"
    assert Config.from_dict(stored) == config


def test_overrides_reach_every_depth(tmp_path: Path) -> None:
    config = load_config(
        "debug",
        ["epochs=3", "lr=1e-4", "head.widths=[96,64,48]", "data=ccp", f"data.0.path={tmp_path}", "data.0.tags=false",
         "loss.bce=0", "license="],
    )
    assert (config.epochs, config.lr, config.loss.bce, config.license) == (3, 1e-4, 0.0, None)
    assert config.head.options["widths"] == [96, 64, 48]
    assert config.data == (Data(name="ccp", path=str(tmp_path), options={"tags": False}),)


def test_datasets_in_short(tmp_path: Path) -> None:
    synthetic = Data(name="synthetic")
    here = Data(name="ccp", path=str(tmp_path))
    assert load_config("debug", [f"data=ccp:{tmp_path}"]).data == (here,)
    assert load_config("debug", [f"data=[ccp:{tmp_path}, synthetic]"]).data == (here, synthetic)
    twice = Data(name="synthetic", weight=2.0)
    assert load_config("debug", ["data=synthetic", "data.0.weight=2"]).data == (twice,)
    assert load_config("debug", ["data=synthetic", "data.1=synthetic"]).data == (synthetic, synthetic)


def test_a_recipe_without_data_trains_on_drawn_figures(recipe: Recipe) -> None:
    config = load_config(recipe("name: mine\nepochs: 2\nhead: unet\n"), ["backbone=resnet18"])
    assert config.data == (Data(name="synthetic"),)
    assert (config.head.name, config.backbone.name) == ("unet", "resnet18")


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("epoch=3", "epoch: unknown key; did you mean epochs or freeze_epochs?"),
        ("epochs=true", "epochs: expected a whole number, not True"),  # a bool is an int in Python
        ("epochs=0", "epochs: must be 1 or more, not 0"),
        ("epochs=", "epochs: expected a whole number, not nothing"),
        ("lr=fast", "lr: expected a number, not 'fast'"),
        ("lr=.nan", "lr: expected a number, not nan"),
        ("name=7", "name: expected a text, not 7"),
        ("name=../../escape", "name: must be one name of a file, without / or \\, of 200 bytes at most, not '../"),
        ("name=..", "name: must be one name of a file"),
        ("canvas=[100,64]", "canvas: must be height and width in multiples of 32, 4096 at most, not [100, 64]"),
        ("canvas=96", "canvas: expected a list of 2, not 96"),
        ("augment.scale=[2,1]", "augment.scale: must be two factors above 0, the smaller first, not [2, 1]"),
        ("augment.flipp=1", "augment.flipp: unknown key; did you mean flip?"),
        ("augment=3", "augment: expected `key: value` lines, not 3"),
        ("precision=bf32", "precision: unknown value 'bf32'; did you mean float32 or bf16?"),
        ("seed.deep=3", "seed: expected a whole number, not {'deep': 3}"),
        ("data=[]", "data: expected a list of one or more, not []"),
        ("data.5.name=ccp", "data.5.name: the recipe has no such place to set"),
        ("data=ccp:/no/such/place", "data.0.path: nothing at '/no/such/place'"),
        ("data=[{path: .}]", "data.0.name: missing, this key is required"),
        ("labels=strete", "labels: no label space 'strete': name one of"),
        ("init=none.safetensors", "init: no file 'none.safetensors'"),
        ("backbone.weights=none.pt", "backbone.weights: no file 'none.pt'"),
        ("backbone.pretrained=maybe", "backbone.pretrained: expected true or false, not 'maybe'"),
        ("epochs", "'epochs' is no override; write key=value"),
        ("head.widths=[1", "head.widths: '[1' is not a YAML value"),
        ("split=stratfied", "split: unknown value 'stratfied'; did you mean stratified?"),
        ("loss.class_weights=median", "loss.class_weights: unknown value 'median'; did you mean median_frequency?"),
        ("loss={bce: 0, class_weights: inverse}", "loss.class_weights: weighs bce, cross_entropy, focal, bootstrapped, "
         "ohem, which are all 0; raise one, or set it to none"),
        ("loss={bce: 0, positive_weights: root}", "loss.positive_weights: weighs bce, which is 0; raise it, or set"),
        ("loss={tversky: 1, tversky_alpha: 0, tversky_beta: 0}", "loss.tversky_alpha: with tversky_beta also 0 no mis"),
        ("loss.focal_gamma=0.5", "loss.focal_gamma: must be 0, or 1 or more, not 0.5"),
        ("masks=exclusive", "loss.bce: scores each class for itself, masks: exclusive does not; set bce to 0, cross_"),
        ("data.0.only.count=0", "data.0.only.count: must be 1 or more, not 0"),
        ("data.0.only.categories=coat", "data.0.only.categories: expected a list of one or more, not 'coat'"),
        ("data.0.only.classes=[coat]", "data.0.only.classes: unknown key; one of categories, super"),
        ("data.0.only.categories=[dres]", "data.0.only.categories: label space street has no 'dres'; did you mean"),
        ("data.0.only.supercategories=[foot]", "data.0.only.supercategories: label space street has no 'foot'"),
        ("data.0.words=none.yaml", "data.0.words: no file 'none.yaml'"),
    ],
)
def test_what_is_wrong_is_said(override: str, says: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_config("debug", [override])
    assert len(problems(str(error.value))) == 1
    assert problems(str(error.value))[0].startswith(says)


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("head=unett", "head.name: unknown 'unett'; did you mean unet"),
        ("head.wdths=[1]", "head.wdths: unet has no such option; did you mean widths?"),
        ("head.kernel_size=big", "head.kernel_size: expected a whole number, not 'big'"),
        ("head.widths=[96,wide,48]", "head.widths.1: expected a whole number, not 'wide'"),
        ("data.0.name=sinthetic", "data.0.name: unknown 'sinthetic'; did you mean synthetic?"),
        ("data.0.cuont=3", "data.0.cuont: synthetic has no such option; did you mean count?"),
        ("backbone=mobilenetv2_053", "backbone.name: unknown 'mobilenetv2_053'; did you mean mobilenetv2_0"),
    ],
)
def test_names_and_options_of_the_learning_half(override: str, says: str) -> None:
    pytest.importorskip("hemline.data", reason="needs the train extra")
    with pytest.raises(ConfigError) as error:
        load_config("debug", [override])
    assert [p[: len(says)] for p in problems(str(error.value))] == [says]


def test_all_problems_at_once(recipe: Recipe) -> None:
    path = recipe("name: me\ncanvas: [1, 2, 3]\nlos: {}\nlabel_head: {hidden: 0, droput: 1}\ninit: nowhere\n")
    with pytest.raises(ConfigError) as error:
        load_config(path, ["batch_size=x"])
    where = {problem.partition(":")[0] for problem in problems(str(error.value))}
    assert where == {"canvas", "los", "label_head.hidden", "label_head.droput", "init", "batch_size", "epochs"}
    assert "7 things are wrong" in str(error.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: [", "not valid YAML"),
        ("name: a\nname: b\n", "'name' stands twice"),
        ("- a\n- b\n", "a recipe is a list of `key: value` lines, not ['a', 'b']"),
        ("", "not nothing"),
        ("!!python/object/apply:os.system ['true']", "not valid YAML"),  # values, never code
    ],
)
def test_a_file_that_is_no_recipe(recipe: Recipe, text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(says)):
        load_config(recipe(text))


def test_unknown_recipes() -> None:
    with pytest.raises(ConfigError, match=r"no recipe 'debgu'.*did you mean debug"):
        load_config("debgu")
    with pytest.raises(ConfigError, match=r"recipe missing\.yaml cannot be read"):
        load_config("missing.yaml")


def test_a_recipe_built_in_python_is_checked_too() -> None:
    check(Config(name="mine", epochs=1, backbone=load_config("debug").backbone))
    with pytest.raises(ConfigError, match="epochs: must be 1 or more"):
        check(Config(name="mine", epochs=0))


def test_a_stored_recipe_needs_none_of_its_files() -> None:
    gone = {"labels": "gone.yaml", "data": [{"name": "gone", "path": "/gone"}]}
    stored = load_config("debug").to_dict() | gone
    assert Config.from_dict(stored).data == (Data(name="gone", path="/gone"),)


words = st.sampled_from(["", "name", "unet", "auto", "a:b", "0"])
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from([f.name for f in fields(Config)]), anything))
def test_wild_values_are_read_or_refused_and_never_crash(values: dict[str, Any]) -> None:
    try:
        config = Config.from_dict({"name": "wild", "epochs": 1} | values)
    except ConfigError:
        return
    assert Config.from_dict(config.to_dict()) == config


@pytest.mark.parametrize("cls", [Config, Backbone, Head, LabelHead, Only, Data, Augment, Loss])
def test_every_field_is_documented(cls: type[Any]) -> None:
    (block,) = ast.parse(inspect.getsource(cls)).body
    assert isinstance(block, ast.ClassDef)
    for field, after in pairwise(block.body):
        if isinstance(field, ast.AnnAssign) and not is_dataclass(getattr(cls, ast.unparse(field.target), None)):
            assert isinstance(after, ast.Expr), f"{ast.unparse(field)} has no docstring under it"


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["backbone=vit_tiny_patch16_224"], "backbone.name: the maps of vit_tiny_patch16_224 have strides"),
        (["backbone=inception_v3", "canvas=[96,96]"], "backbone.name: inception_v3 cuts borders off its maps"),
        (["backbone.pretrained=true"], "backbone.pretrained: timm has no weights of mobilenetv2_035"),
        (["backbone.weights=FILE"], "backbone.weights: FILE is not a state dict of mobilenetv2_035"),
        (["head.widths=[1]"], "head: unet: widths [1] must have 3 entries"),
        (["head.widths=[4,0,4]"], "head: unet: widths [4, 0, 4] must be 1 or more"),
        (["head.kernel_size=-1"], "head: unet: kernel_size -1 must be odd and 1 or more"),
        (["label_head.hidden=999999999999"], "label_head.hidden: 999999999999 is too wide"),
        (["init=default"], "init: the trunk of"),
        (["init=FILE"], "init: FILE: training, evaluating and exporting need a .safetensors file"),
        (["canvas=[32,32]", "batch_size=1"], "batch_size: a step of 1 photo on a canvas of 32 x 32"),
        (["data=ccp"], "data.0.path: no path is given; say where ccp lies, as data.0.path=PATH"),
        (["data.0.path=."], "data.0.path: its photos are drawn: leave '.' out"),
        (["data=ccp:.", "data.0.pseudo=nowhere"], "data.0.pseudo: nothing at 'nowhere'"),
        (["data=ccp:.", "labels=outfit5"], "data.0.name: label space outfit5 does not teach the words of ccp"),
        (["data.0.count=0"], "data.0.count: must be between 1 and 10 million, not 0"),
        (["data.0.weight=1e12"], "data.0.weight: must be above 0 and at most 1000"),
        (["seed=99999999999999999999"], "seed: must be between 0 and 2^63 - 1"),
        (["lr=1e300"], "lr: must be above 0 and at most 10"),
        (["out=FILE"], "out: FILE is no folder that can be written"),
        (["data=ccp:~nobody-here"], "data.0.path: nothing at '~nobody-here'"),
    ],
)
def test_what_cannot_be_built_or_begun_is_said(overrides: list[str], says: str, tmp_path: Path) -> None:
    pytest.importorskip("hemline.data", reason="needs the train extra")
    file = tmp_path / "file.txt"
    file.write_text("hi")
    with pytest.raises(ConfigError) as error:
        load_config("debug", [override.replace("FILE", str(file)) for override in overrides])
    assert len(problems(str(error.value))) == 1
    assert problems(str(error.value))[0].startswith(says.replace("FILE", str(file)))


def test_what_cannot_be_built_stands_beside_all_else(tmp_path: Path) -> None:
    pytest.importorskip("hemline.data", reason="needs the train extra")
    file = tmp_path / "bad.safetensors"
    file.write_text("hi")
    overrides = ["lr=x", "labels=none", f"init={file}", f"backbone.weights={file}", "head.kernel_size=2", "data.4=ccp"]
    with pytest.raises(ConfigError) as error:
        load_config("street", overrides)
    where = [problem.partition(": ")[0] for problem in problems(str(error.value))]
    assert sorted(where) == [
        "backbone.weights", *(f"data.{i}.path" for i in range(5)), "head", "init", "labels", "lr",
    ]  # fmt: skip
    with pytest.raises(ConfigError) as error:
        load_config("debug", ["backbone=vit_tiny_patch16_224", f"init={file}", "data.0.count=0"])
    where = [problem.partition(": ")[0] for problem in problems(str(error.value))]
    assert sorted(where) == ["backbone.name", "data.0.count", "init"]


def test_the_head_of_a_recipe_is_not_asked_where_another_takes_its_place() -> None:
    with pytest.raises(ConfigError, match="3 entries"):
        load_config("debug", ["head.widths=[1]"])
    check(load_config("debug", ["head.widths=[1]"], own_head=True), own_head=True)


def test_a_home_folder_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    (tmp_path / "ccp").mkdir()
    check(load_config("street", ["data=[ccp:~/ccp, ccp:~/ccp]"]))
    with pytest.raises(ConfigError, match=r"data\.1\.path: nothing at '~/none'"):
        check(load_config("street", ["data=[ccp:~/ccp, ccp:~/none]"]))
    (tmp_path / "trunk.pt").touch()
    (tmp_path / "labels.yaml").write_text(files("hemline").joinpath("taxonomies/street.yaml").read_text("utf-8"))
    (tmp_path / "start.safetensors").write_bytes(default_weights(".safetensors").read_bytes())
    overrides = ["data=ccp:~/ccp", "data.0.pseudo=~/ccp", "labels=~/labels.yaml", "init=~/start.safetensors"]
    check(load_config("street", overrides))
    with pytest.raises(ConfigError, match=r"weights: ~/trunk.pt is not a state dict"):
        load_config("street", [*overrides, "backbone.weights=~/trunk.pt"])


def test_every_loss_stands_in_its_page() -> None:
    page = (Path(__file__).parents[1] / "docs" / "losses.md").read_text(encoding="utf-8")
    missing = [f.name for f in fields(Loss) if f"`{f.name}`" not in page and f"`{f.name}:" not in page]
    assert not missing
