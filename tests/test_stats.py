"""What datasets hold: figures against counts by hand, the page, and what does not depend on workers."""

import json
from dataclasses import replace
from functools import partial
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from hemline.config import Config
from hemline.data.balance import weights_of
from hemline.data.sample import EITHER
from hemline.data_commands.asked import config_of, opened
from hemline.data_commands.counting import sample_of, statistics, unknown_segments
from hemline.data_commands.stats import AREA_EDGES, LabelCount, SetStats
from hemline.data_commands.stats_page import page, write_page
from hemline.data_commands.stats_table import pairs, percent, stats_tables
from hemline.data_commands.thumbnails import strips
from hemline.data_commands.visit import visit
from hemline.errors import DataError, HemlineError
from hemline.labels import LabelSpace
from tests.toy import COAT, SHOE, SPACE, STRIPE, row
from tests.wardrobe import LABELS, Wardrobe, recipe, samples, source


def count(dataset: Wardrobe | None = None, **options) -> SetStats:
    return statistics(recipe(), SPACE, [source(dataset)], **options).sets[0]


def label(part: SetStats, name: str) -> LabelCount:
    return next(label for label in part.labels if label.name == name)


def test_photos_sides_groups_and_labels_are_counted():
    part = count()
    assert (part.photos, part.groups, part.sample) == (4, 3, 4)
    assert part.sides == {"train": 2, "validation": 1, "test": 1}
    coat, shoe, cape, winter = (label(part, name) for name in ("coat", "shoe", "cape", "winter"))
    assert (coat.yes, coat.no, coat.unknown, coat.train, coat.validation, coat.test) == (2, 1, 1, 2, 0, 0)
    assert (shoe.yes, shoe.no, shoe.unknown, shoe.train, shoe.validation, shoe.test) == (3, 1, 0, 1, 1, 1)
    assert (cape.yes, cape.no, cape.unknown, cape.rare) == (0, 2, 2, False)
    assert (winter.group, winter.yes, winter.known, winter.rare) == ("season", 1, 1, True)
    known = sum(int((labels >= 0).sum()) for labels in LABELS)
    assert part.unknown == pytest.approx(1 - known / 24)


def test_draws_weigh_the_labels_of_training_photos():
    part = count()
    assert (part.draws.photos, part.draws.an_epoch) == (2, 3.5)
    assert (part.draws.least, part.draws.median, part.draws.most) == (1, 1.75, 2.5)
    assert part.draws.times == [(1.0, 1), (2.5, 1)]
    assert label(part, "coat").an_epoch == 3.5
    assert label(part, "dot").an_epoch == 2.5
    assert label(part, "shoe").an_epoch == 1                # the others that show one do not train


def test_garments_their_attributes_and_areas():
    part = count()
    assert (part.garments.count, part.garments.drawn, part.garments.photos, part.garments.most) == (4, 3, 4, 2)
    assert [label(part, name).garments for name in ("coat", "shoe", "stripe", "dot")] == [2, 2, 1, 1]
    assert part.attributes.of == "garments"
    assert part.attributes.attributes == ["stripe", "dot"]
    assert part.attributes.categories == ["coat"]
    assert (part.attributes.yes, part.attributes.known) == ([[1], [1]], [[2], [2]])
    areas = {area.name: area for area in part.areas}
    assert set(areas) == {"coat", "shoe"}
    assert (areas["coat"].count, areas["coat"].percentiles) == (2, (0.5,) * 5)
    assert areas["shoe"].percentiles == (0.25,) * 5
    (filled,) = np.flatnonzero(areas["shoe"].bins)
    assert AREA_EDGES[filled] <= 0.25 <= AREA_EDGES[filled + 1]


def test_attributes_are_those_of_photos_where_no_garment_tells_them():
    dataset = Wardrobe()
    for sample in dataset.samples:
        sample.regions = sample.regions[:1]
    part = count(dataset)
    assert (part.attributes.of, part.attributes.photos) == ("photos", 4)
    assert part.attributes.attributes == ["stripe", "dot", "winter"]
    assert part.attributes.yes == [[1, 1], [1, 0], [1, 1]]   # coat, shoe
    assert part.attributes.known == [[2, 1], [2, 1], [1, 1]]


def test_a_set_that_tells_its_garments_is_counted_whole_whatever_the_sample():
    class Telling(Wardrobe):
        def garment_labels(self, index: int):
            return [region.labels for region in self.samples[index].regions if region.drawn]

    part = count(Telling(), photos=1)
    assert (part.sample, part.garments.photos, part.garments.count, part.garments.most) == (1, 4, 4, 2)
    assert count(photos=1).garments.photos == 1


def test_co_occurrence_counts_only_what_is_known():
    together = count().together
    assert together.names == ["coat", "shoe"]
    assert together.photos == [[2, 1], [1, 3]]
    assert together.share[0][1] == 0.5                      # of two coats, both photos know of shoes, one shows some
    assert together.share[1][0] == 0.5                      # of three shoes, one photo knows nothing of coats
    assert together.by_chance[0][1] == pytest.approx(4 / 3, abs=1e-4)   # of 3 photos that know both: 2/3 and 2/3
    assert together.lift(0, 1) == pytest.approx(0.75, abs=1e-3)


def test_what_was_never_denied_has_no_share():
    class Yes(Wardrobe):
        def photo_labels(self, index: int):
            return np.where(LABELS[index] == 0, -1, LABELS[index]).astype(np.int8)

    together = count(Yes()).together
    assert together.photos[0][1] == 1
    assert together.share[0][1] is None
    assert together.by_chance[0][1] is None


def test_pixels_that_may_be_a_class_are_unknown():
    sample = samples()[0]
    assert not unknown_segments(sample).any()
    sample.targets[0, SHOE] = -1                            # the background may be a shoe
    sample.targets[2] = row()
    sample.targets[2, [COAT, SHOE]] = EITHER
    assert unknown_segments(sample).tolist() == [True, False, True]
    dataset = Wardrobe()
    dataset.samples[0] = sample
    part = count(dataset)
    assert part.pixels.photos == 3                          # on the other one nothing is drawn
    assert part.pixels.unknown == pytest.approx(0.5 / 3, abs=1e-4)
    assert part.pixels.drawn == pytest.approx((0.5 + 0.5 + 0.25) / 3, abs=1e-4)
    assert part.pixels.drawn + part.pixels.background + part.pixels.unknown == pytest.approx(1, abs=1e-4)


def test_sizes():
    sizes = count().sizes
    assert sizes.counts == [(32, 32, 3), (32, 64, 1)]
    assert sizes.height == (32, 32, 32, 40, 59.2)
    assert sizes.aspect[0] == pytest.approx(0.575)


def test_unreadable_photos_are_told_and_left_out():
    part = count(Wardrobe(damaged=(0,)))
    assert part.unreadable == ["photo 0 is damaged"]
    assert (part.sample, part.garments.count, label(part, "coat").yes) == (3, 2, 2)
    with pytest.raises(DataError, match="wardrobe: none of 4 photos can be read: photo 0 is damaged"):
        count(Wardrobe(damaged=(0, 1, 2, 3)))


def test_samples_of_a_seed_hold_each_other():
    small, large = sample_of(100, 10, 3), sample_of(100, 40, 3)
    assert len(small) == 10
    assert set(small) < set(large)
    assert small == sorted(small) != sample_of(100, 10, 4)
    assert sample_of(5, None, 0) == sample_of(5, 50, 0) == [0, 1, 2, 3, 4]


def test_examples_show_their_label_and_drawn_photos_come_first():
    part = count()
    assert set(label(part, "shoe").examples) == {"toy/0", "toy/2", "toy/3"}
    assert label(part, "shoe").examples[-1] == "toy/2"
    assert label(part, "cape").examples == []


def _labels(dataset: Wardrobe, index: int, *, add: int) -> int:
    if index == 70:
        raise DataError("70 is damaged")
    return index + add


def test_workers_see_what_one_process_sees():
    look = partial(_labels, add=1)
    alone, workers = ([str(x) for x in visit(Wardrobe(), range(100), look, workers=n)] for n in (0, 2))
    assert alone == workers
    assert alone[69:72] == ["70", "70 is damaged", "72"]


def test_json_is_plain_and_its_keys_are_stable():
    found = statistics(recipe(), SPACE, [source()]).to_dict()
    assert json.loads(json.dumps(found, allow_nan=False)) == json.loads(json.dumps(found))
    assert list(found) == ["format", "recipe", "label_space", "seed", "sets", "class_weights"]
    assert list(found["sets"][0]) == [
        "name", "terms", "photos", "sides", "groups", "left_out", "unreadable", "sample", "unknown", "labels",
        "together", "garments", "attributes", "areas", "pixels", "sizes", "draws",
    ]  # fmt: skip
    assert list(found["sets"][0]["labels"][0]) == [
        "name", "group", "yes", "no", "unknown", "train", "validation", "test", "an_epoch", "garments", "examples",
    ]  # fmt: skip


def test_drawn_figures_count_as_drawn():
    config = config_of(["synthetic", "data.0.count=20", "data.0.canvas=[96,64]", "workers=0"])
    space, (only,) = opened(config)
    part = statistics(config, space, [only], photos=None).sets[0]
    garments = sum(sum(region.drawn for region in only.dataset[i].regions) for i in range(20))
    assert part.garments.count == garments > 20
    assert part.pixels.unknown == 0
    assert {"hair", "skin"} < {area.name for area in part.areas}


def test_class_weights_are_those_of_the_run():
    """The rarer class weighs more, and the table shows it; a recipe without them has none."""
    words = ["synthetic", "data.0.count=20", "data.0.canvas=[96,64]", "workers=0"]
    config = config_of([*words, "loss.class_weights=inverse"])
    space, sources = opened(config)
    found = statistics(config, space, sources, photos=5)
    assert found.class_weights == pytest.approx(
        dict(zip([*space.mask_names, "nobody"], weights_of(sources, config, space).classes, strict=True))
    )
    assert found.class_weights["belt"] > found.class_weights["pants"] > found.class_weights["nobody"]
    assert "class weights" in str(stats_tables(found)[-1].title)
    plain = statistics(config_of(words), space, sources, photos=5)
    assert plain.class_weights == {}
    assert "class weights" not in str(stats_tables(plain)[-1].title)


def test_shares_in_words():
    assert [percent(x) for x in (0, 0.00001, 0.0005, 0.01, 0.0552, 0.0999, 0.5, 1)] == [
        "0 %", "<0.01 %", "0.05 %", "1 %", "5.5 %", "10 %", "50 %", "100 %",
    ]  # fmt: skip


def test_pairs_need_chance_enough():
    part = count()
    assert pairs(part) == []
    together = replace(part.together, photos=[[40, 30], [30, 50]], by_chance=[[40, 20.0], [20.0, 50]])
    assert pairs(replace(part, together=together)) == [(1.5, "coat", "shoe", 30)]


# -- the page --------------------------------------------------------------------------------------------------

VOID = {"meta", "img"}
WILD = '<b>&"'


class Reader(HTMLParser):
    """The texts, tags and addresses of a page; tags must close in turn."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.tags: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.addresses += [value or "" for name, value in attrs if name in {"src", "href", "srcset", "action", "data"}]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def read(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    reader.close()
    assert not reader.open
    return reader


def wild_space() -> LabelSpace:
    data = SPACE.to_dict()
    data["categories"][0]["name"] = WILD
    data["groups"][0]["labels"] = [{**x, "carried_by": [WILD]} for x in data["groups"][0]["labels"]]
    return LabelSpace.from_dict(data)


def written(tmp_path: Path, config: Config, space: LabelSpace, *datasets: Wardrobe) -> str:
    sources = [source(dataset) for dataset in datasets]
    stats = statistics(config, space, sources)
    write_page(tmp_path / "page.html", stats, config, space, sources)
    assert [file.name for file in tmp_path.iterdir()] == ["page.html"]
    return (tmp_path / "page.html").read_text(encoding="utf-8")


def test_the_page_is_one_whole_file(tmp_path):
    text = written(tmp_path, recipe("one", "two"), SPACE, Wardrobe(), Wardrobe())
    reader = read(text)
    assert {"svg", "table", "img", "style", "script", "title"} <= reader.tags
    assert "link" not in reader.tags
    assert all(address.startswith(("#", "data:image/jpeg;base64,")) for address in reader.addresses)
    assert "url(" not in text
    assert "@import" not in text
    for heading in ("What each set teaches", "What is worn together", "Attributes of categories", "Mask areas"):
        assert heading in reader.text
    assert "all 4 photos" in reader.text


def test_the_page_escapes_what_it_is_told(tmp_path):
    reader = read(text := written(tmp_path, recipe("a<i>b"), wild_space(), Wardrobe(damaged=(1,))))
    assert WILD not in text
    assert "a<i>b" not in text
    assert "at" not in reader.tags                          # of the terms
    assert "<b>&\"" in reader.text
    assert "none <at all>" in reader.text
    assert "a<i>b" in reader.text
    assert "photo 1 is damaged" in reader.text


def test_pictures_show_the_drawn_garment_and_leave_out_the_unreadable():
    dataset = Wardrobe(damaged=(3,))
    found = strips(count(dataset), source(dataset), SPACE, each=8, workers=0)
    assert {name: len(strip) for name, strip in found.items()} == {"coat": 2, "shoe": 2}
    assert all(picture.startswith(b"\xff\xd8") for strip in found.values() for _, picture in strip)
    assert found["coat"] != found["shoe"]


def test_a_sample_is_named_as_such():
    stats = statistics(recipe(), SPACE, [source()], photos=2)
    text = read(page(stats, [{}])).text
    assert "Mask areas" in text
    assert "from a sample of 2 photos" in text
    assert "Counted over all 4 photos" in text


def test_a_page_has_a_place(tmp_path):
    stats = statistics(recipe(), SPACE, [source()])
    for file, said in ((tmp_path / "x.txt", ".html"), (tmp_path / "no" / "x.html", "no folder")):
        with pytest.raises(HemlineError, match=said):
            write_page(file, stats, recipe(), SPACE, [source()])
    assert label(stats.sets[0], "stripe").group == SPACE.labels[STRIPE - 3].group


def test_sides_are_those_that_the_recipe_makes():
    """A stratified split and a choice of photos are counted as they train, not as the hash would split."""
    words = ["synthetic", "data.0.count=60", "data.0.canvas=[96,64]", "workers=0", "validation=0.2", "split=stratified"]
    config = config_of([*words, "data.0.only.count=30"])
    space, (only,) = opened(config)
    sides = statistics(config, space, [only], photos=5).sets[0].sides
    assert sides == {"train": 30, "validation": len(only.held_out), "test": 0}
    assert abs(len(only.held_out) - 12) <= 1
