"""Files that say what a dataset's words mean: street words as outfit parts, and what is wrong with a file."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hemline.config import Config, Data, load_config
from hemline.data import as_trained
from hemline.data.loading import open_sources
from hemline.data.words import load_words
from hemline.errors import ConfigError, DataError, LabelError
from hemline.evaluate import evaluate
from hemline.labels import load_label_space
from hemline.runtime import Answer
from tests.test_ccp import WORDS, write_ccp
from tests.toy import metadata, write_weights

OUTFIT = load_label_space("outfit5")
MEANT = {
    "coat": "{is: [whole body]}",
    "jeans": "{is: [lower body]}",
    "boots": "{is: [feet]}",
    "watch": "{pixels: unknown}",
    "tights": "{unknown: [lower body, feet]}",
}


@pytest.fixture
def words(tmp_path):
    def write(**meant):
        lines = [f'  "{word}": {meant.get(word, "{}")}' for word in WORDS]
        (tmp_path / "words.yaml").write_text("\n".join(["words:", *lines]))
        return str(tmp_path / "words.yaml")

    return write


def test_a_set_that_the_label_space_does_not_teach_trains_by_its_words(words, tmp_path):
    """59 words to 5 outfit parts, pixel by pixel."""
    drawn = [["null", "coat"], ["jeans", "boots"], ["tights", "watch"]]
    folder = write_ccp(tmp_path / "ccp", {"0001": drawn}, {})
    overrides = ["labels=outfit5", f"data=ccp:{folder}", "validation=0"]
    with pytest.raises(ConfigError, match=r"data\.0\.name: label space outfit5 does not teach the words of ccp"):
        load_config("debug", overrides)
    config = load_config("debug", [*overrides, f"data.0.words={words(**MEANT)}"])
    (source,) = open_sources(config, OUTFIT)
    sample = source.dataset[0]
    told = sample.targets[sample.segments]                # (3, 2, K): upper, lower, whole, feet, accessories
    assert told[0, 0].tolist() == [0, 0, 0, 0, 0]
    assert told[0, 1].tolist() == [0, 0, 1, 0, 0]
    assert told[1, 0].tolist() == [0, 1, 0, 0, 0]
    assert told[1, 1].tolist() == [0, 0, 0, 1, 0]
    assert told[2, 0].tolist() == [0, -1, 0, -1, 0]
    assert told[2, 1].tolist() == [-1, -1, -1, -1, -1]
    assert source.dataset.photo_labels(0).tolist() == [0, 1, 1, 1, 0]


def test_what_is_wrong_with_a_file_is_said_before_data_is_read(words, tmp_path):
    def refused(**meant):
        with pytest.raises(ConfigError) as error:
            load_config("debug", ["labels=outfit5", f"data=ccp:{tmp_path}", f"data.0.words={words(**meant)}"])
        return str(error.value).splitlines()[1].strip()

    says = "data.0.words: label space outfit5: no label 'hole body'; did you mean"
    assert refused(coat="{is: [hole body]}").startswith(says)
    said = refused(coat="{is: whole body}", jeans="[lower body]", boots="{iz: [feet]}", watch="{pixels: known}")
    assert said.startswith("data.0.words: ")
    for problem in (
        "coat: is must be a list of labels, as [coat], not 'whole body'",
        "jeans: say what it means as {is: [LABEL]}, not ['lower body']",
        "boots: unknown key 'iz'; did you mean is?",
        "watch: pixels must be `unknown`, not 'known'",
    ):
        assert problem in said


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("words: {}", "holds no `words:` block"),
        ("- coat", "holds no `words:` block"),
        ("words: {a: {}, a: {}}", "'a' stands twice"),
        ("words: [", "is not a readable YAML"),
        ("words: {a: {}}\nseverl: [x]", "unknown key 'severl'; did you mean several?"),
        ("words: {a: {}}\nothers: false", "others must be `unknown`, not False"),
        ("words: {a: {}}\nalike_in_maps: [coat, jacket]", "alike_in_maps must be lists in a list"),
        ("words: {a: {}}\nsingle_item: 3", "single_item must be true or false, not 3"),
    ],
)
def test_files_that_are_no_words(text, says, tmp_path):
    (tmp_path / "words.yaml").write_text(text)
    with pytest.raises(LabelError) as error:
        load_words(tmp_path / "words.yaml")
    assert says in str(error.value)
    assert "words.yaml" in str(error.value)


def test_words_that_a_file_does_not_explain(tmp_path):
    (tmp_path / "words.yaml").write_text("words: {coat: {is: [whole body]}}")
    folder = write_ccp(tmp_path / "ccp", {"0001": np.array([["coat"]])}, {})
    data = Data(name="ccp", path=str(folder), words=str(tmp_path / "words.yaml"))
    with pytest.raises(DataError, match=r"words that teach\.ccp does not explain: \['accessories'"):
        open_sources(Config(name="x", epochs=1, data=(data,), validation=0.0), OUTFIT)


def test_whoever_measures_reads_the_words_of_the_recipe(words, tmp_path, monkeypatch):
    """The label space teaches no word of the set: without them it could not be opened."""
    folder = write_ccp(tmp_path / "ccp", {"0001": [["null", "coat"], ["jeans", "boots"]]}, {})
    space = OUTFIT
    about = metadata(
        labels=replace(space, teach={}), mask_thresholds=(0.5,) * space.num_masks,
        label_thresholds=(0.5,) * space.num_labels,
        recipe={"labels": "outfit5", "data": [{"name": "ccp", "words": words(**MEANT)}]},
    )  # fmt: skip
    answers = Answer(np.full((1, 5, 8, 8), -4, np.float32), np.zeros((1, 6, 5), np.float32))

    class Runtime:
        name, device, dtype = "none", "cpu", "f32"

        def __call__(self, pixels, valid):
            return answers

    monkeypatch.setattr("hemline.tagger.open_runtime", lambda *_, **__: Runtime())
    weights = write_weights(tmp_path / "x.safetensors", about)
    (part,) = evaluate(weights, {"ccp": folder}, split="all", transplant=False).sets
    assert part.photos == 1
    assert {c.name for c in part.masks.classes if c.photos} == {"background", "lower body", "whole body", "feet"}


def test_whoever_measures_opens_a_set_as_the_recipe_did():
    """With its words, and with the options in which its entries agree."""
    shop = {"name": "table", "path": "old.csv", "weight": 2.0, "image": "photo", "words": None, "columns": ["colour"]}
    maps, tags = {"name": "ccp", "maps": True, "tags": False}, {"name": "ccp", "maps": True, "words": "mine.yaml"}
    recipe = {"data": [maps, "x", tags, shop]}
    assert as_trained(recipe, "ccp", Path("here")) == Data(
        name="ccp", path="here", words="mine.yaml", options={"maps": True}
    )
    assert as_trained(recipe, "table", Path("new.csv")).options == {"image": "photo", "columns": ["colour"]}
    assert as_trained({}, "synthetic", None) == Data(name="synthetic")
