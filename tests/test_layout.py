"""The shape of the house: short files, the layout that packaging relies on, and every recipe builds."""

from pathlib import Path

import pytest
import torch

from hemline._reading import read_yaml
from hemline.config import Config, config_text, list_configs
from hemline.labels import OF_DATA, OF_INIT, load_label_space
from hemline.model import build, build_instances, finds_instances

ROOT = Path(__file__).parents[1]
SOURCES = sorted(
    path
    for folder in ("src", "heads", "tests", "benchmarks")
    for path in (ROOT / folder).rglob("*.py")
    if not {"heads", "configs"} & set(path.relative_to(ROOT).parts[2:3])  # the links show what stands at the top
)


def test_no_file_is_over_400_lines():
    lengths = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in SOURCES}
    assert len(lengths) > 40
    assert not {name: length for name, length in lengths.items() if length > 400}


def test_no_drawers():
    drawers = {"utils", "util", "misc", "common", "helpers"}
    assert not [path for path in SOURCES if path.stem in drawers or path.parent.name in drawers]


@pytest.mark.parametrize("name", ["heads", "configs"])
def test_links_lead_to_the_folders_at_the_top(name):
    link = ROOT / "src" / "hemline" / name
    assert link.is_symlink()
    assert link.readlink() == Path("..", "..", name)
    assert link.resolve() == ROOT / name


@pytest.mark.parametrize("name", list_configs())
def test_every_recipe_builds(name):
    config = Config.from_dict(read_yaml(config_text(name)), ["data=synthetic"])
    labels = {OF_DATA: "fashionpedia", OF_INIT: "street"}.get(config.labels, config.labels)
    with torch.device("meta"):
        make = build_instances if finds_instances(config) else build
        network = make(config, load_label_space(labels), trunk_weights=False)
    assert sum(p.numel() for p in network.parameters()) > 10_000
    text = (ROOT / "configs" / f"{name}.yaml").read_text(encoding="utf-8")
    assert text.startswith("#"), "a recipe begins by saying what it is for"
