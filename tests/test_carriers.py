"""Which category carries which attribute: counted in what trains, and kept to by what is answered."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hemline.checkpoint import load_network
from hemline.config import Data
from hemline.data.carriers import ENOUGH_DRAWN, LEAST_PAIRS, Pairs, count_pairs, narrowed
from hemline.data.fashionpedia import Fashionpedia
from hemline.data.loading import Source, open_sources
from hemline.data.synthetic import Synthetic
from hemline.labels import LabelSpace, load_label_space
from hemline.train import train
from tests.coco_files import annotation, box, image, photos, rle, write

NAMES = ["shirt", "dress", "sleeve", "glasses"]
SPACE = LabelSpace.from_dict(
    {
        "name": "carried",
        "version": 1,
        "categories": [{"id": i, "name": name, "supercategory": "x"} for i, name in enumerate(NAMES)],
        "groups": [
            {"name": "any", "choice": "many", "labels": [{"id": 1, "name": "plain"}, {"id": 2, "name": "dot"}]},
            {"name": "length", "choice": "one", "carried_by": ["dress", "sleeve"],
             "labels": [{"id": 3, "name": "maxi"}]},
        ],
    }
)  # fmt: skip
PLAIN, DOT, MAXI = 4, 5, 6


class Rows:
    """A dataset of drawn garments, each a row of what is known."""

    terms = ""

    def __init__(self, *photos: list[tuple[str, list[int]]]) -> None:
        self.keys = self.groups = [str(i) for i in range(len(photos))]
        self.photos = photos

    def garment_labels(self, index: int) -> list[NDArray[np.int8]]:
        rows = []
        for name, attributes in self.photos[index]:
            row = np.full(SPACE.num_labels, -1, np.int8)
            row[: len(NAMES)] = [name == other for other in NAMES]
            if attributes:
                row[len(NAMES) :] = 0
            row[attributes] = 1
            rows.append(row)
        return rows


def source(dataset: Any, *indices: int) -> Source:
    return Source(dataset, list(indices), np.ones(len(indices)))


def carried(pairs: dict[str, dict[str, int]], *, drawn: dict[str, int], complete: bool = True) -> dict[str, set[str]]:
    space = narrowed(SPACE, Pairs(pairs, dict.fromkeys(NAMES, 0) | drawn, complete))
    assert space.categories == SPACE.categories
    return {label.name: set(label.carried_by) for label in space.labels}


def test_garments_of_the_photos_that_train_are_counted() -> None:
    data = Rows(
        [("shirt", [PLAIN, DOT]), ("sleeve", []), ("glasses", [])],
        [],
        [("shirt", [DOT]), ("sleeve", [MAXI])],
        [("dress", [MAXI])],                                     # held out
    )
    pairs = count_pairs([source(data, 0, 1, 2), source(Rows([("shirt", [DOT])]), 0)], SPACE)
    assert pairs.attributes == {"shirt": {"plain": 1, "dot": 3}, "sleeve": {"maxi": 1}}
    assert pairs.garments == {"shirt": 3, "dress": 0, "sleeve": 2, "glasses": 1}
    assert pairs.complete


def test_what_draws_no_garments_one_by_one_is_not_counted() -> None:
    space = load_label_space("street")
    assert not count_pairs([source(Synthetic(None, space, count=2), 0)], space).complete
    assert count_pairs([source(Synthetic(None, space, count=2))], space).complete, "no photo of it trains"
    empty = count_pairs([source(Rows([]), 0)], SPACE)
    assert (empty.attributes, set(empty.garments.values())) == ({}, {0})


def test_an_attribute_is_left_to_those_that_are_drawn_with_it() -> None:
    plenty = dict.fromkeys(NAMES, 5000)
    pairs = {"shirt": {"plain": 40, "dot": 1}, "dress": {"plain": 2, "maxi": 9}, "sleeve": {"plain": 1, "maxi": 1}}
    assert carried(pairs, drawn=plenty) == {
        "plain": {"shirt", "dress"},                             # once is a slip
        "dot": set(),                                            # never drawn but by a slip: as it was, anything
        "maxi": {"dress"},
    }  # fmt: skip
    assert LEAST_PAIRS == 2


def test_a_category_that_is_hardly_drawn_keeps_what_it_may_carry() -> None:
    pairs = {"shirt": {"plain": 40, "dot": 3}, "sleeve": {"maxi": 7}}
    few = {"shirt": 5000, "sleeve": 5000, "dress": ENOUGH_DRAWN - 1, "glasses": ENOUGH_DRAWN}
    assert carried(pairs, drawn=few) == {
        "plain": {"shirt", "dress"}, "dot": {"shirt", "dress"}, "maxi": {"dress", "sleeve"},
    }  # fmt: skip


def test_what_was_not_counted_may_teach_more() -> None:
    before = {label.name: set(label.carried_by) for label in SPACE.labels}
    pairs, plenty = {"shirt": {"plain": 40}}, dict.fromkeys(NAMES, 5000)
    assert carried(pairs, drawn=plenty, complete=False) == before
    assert carried({"glasses": {"maxi": 40}}, drawn=plenty) == before, "none of its carriers is drawn with it"


# -- as trained ----------------------------------------------------------------------------------------------

PEDIA = load_label_space("fashionpedia")
COAT, DRESS, SLEEVE, SHOE, PLAIN_ID, MAXI_ID, WRIST_ID = 9, 10, 31, 23, 317, 154, 160


@pytest.fixture
def pedia(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A photo with 3 dresses, 3 sleeves, 3 shoes and a coat, of which 3 are enough, and one to validate on."""
    monkeypatch.setattr("hemline.data.carriers.ENOUGH_DRAWN", 3)
    monkeypatch.setenv("HEMLINE_CACHE", str(tmp_path / "cache"))
    categories = [{"id": c.id, "name": c.name, "supercategory": c.supercategory} for c in PEDIA.categories]
    attributes = [{"id": x.id, "name": x.name, "supercategory": x.group} for x in PEDIA.labels]
    patch = rle(box(1, 1, 20, 12), compressed=True)
    kinds = [(DRESS, [PLAIN_ID, MAXI_ID]), (SLEEVE, [WRIST_ID]), (SHOE, [])]
    drawn = [annotation(i, 1, *[(k, patch, a) for k, a in kinds][i % 3]) for i in range(9)]
    drawn.append(annotation(9, 1, COAT, patch, [WRIST_ID]))
    folder = tmp_path / "pedia"
    for name, number, rows in (("train2020", 1, drawn), ("val2020", 2, [annotation(5000, 2, COAT, patch, [PLAIN_ID])])):
        file = folder / "annotations" / f"instances_attributes_{name}.json"
        write(file, [image(number, f"{number}.jpg")], rows, categories, attributes)
    photos(folder / "train", "1.jpg")
    photos(folder / "test", "2.jpg")
    return folder


def test_fashionpedia_is_counted_in_its_own_words(pedia: Any, tiny_config: Any) -> None:
    config = replace(tiny_config, labels="fashionpedia", data=(Data(name="fashionpedia", path=str(pedia)),))
    pairs = count_pairs(open_sources(config, PEDIA), PEDIA)
    names = {x.id: x.name for x in PEDIA.labels}
    assert pairs.attributes == {
        "coat": {names[WRIST_ID]: 1},
        "dress": {names[PLAIN_ID]: 3, names[MAXI_ID]: 3},
        "sleeve": {names[WRIST_ID]: 3},
    }
    assert {name: n for name, n in pairs.garments.items() if n} == {"coat": 1, "dress": 3, "sleeve": 3, "shoe": 3}
    wrist = narrowed(PEDIA, pairs).label_by_id(None, WRIST_ID)
    assert {"coat", "sleeve", "jacket"} <= wrist.carried_by < PEDIA.label_by_id(None, WRIST_ID).carried_by
    assert "dress" not in wrist.carried_by
    assert "shoe" not in wrist.carried_by, "never one of its carriers"
    assert isinstance(Fashionpedia(pedia, PEDIA).garment_labels(0), list)


def test_a_run_stores_its_pairs_and_answers_by_them(pedia: Any, tmp_path: Any, tiny_config: Any) -> None:
    data = (Data(name="fashionpedia", path=str(pedia)),)
    config = replace(tiny_config, labels="fashionpedia", data=data, out=str(tmp_path / "runs"), batch_size=1)
    config = replace(config, canvas=(64, 96))
    metadata = load_network(train(config))[1]
    assert metadata.pairs["dress"] == {"plain (pattern)": 3, "maxi (length)": 3}
    maxi = metadata.labels.label_by_id(None, MAXI_ID)
    assert "sleeve" not in maxi.carried_by
    assert "dress" in maxi.carried_by
    assert metadata.labels.label_by_id(None, 0) == PEDIA.label_by_id(None, 0), "never drawn"
    assert replace(metadata.labels, groups=(), teach={}) == replace(PEDIA, groups=(), teach={})
