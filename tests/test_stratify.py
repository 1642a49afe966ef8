"""The stratified split: what it promises of shares, groups and rare labels, and that all who measure keep to it."""

from dataclasses import replace

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hemline.config import Config, Data
from hemline.data import DATASETS, split_indices, split_of
from hemline.data.loading import described, open_sources
from hemline.data.pseudo import WithPseudoMasks
from hemline.data.stratify import fingerprint, held_out_groups, held_out_of, split_of_recipe
from hemline.evaluate import evaluate
from hemline.fit import fit
from hemline.metadata import read_metadata
from hemline.train import train
from tests.test_subset import Labelled
from tests.toy import SPACE, Oracle, Toy, many, metadata, right, said, write_weights

NUM_LABELS = 5
photos = st.lists(st.tuples(st.integers(0, 25), st.sets(st.integers(0, NUM_LABELS - 1))), min_size=1, max_size=60)
shares = st.floats(0, 0.9)


def table(of_photos):
    """Names of groups (P,) and labels (P, L)."""
    shows = np.zeros((len(of_photos), NUM_LABELS), bool)
    for i, (_, labels) in enumerate(of_photos):
        shows[i, list(labels)] = True
    return [f"group {number}" for number, _ in of_photos], shows


@settings(deadline=None)
@given(photos, shares)
def test_the_share_is_right_to_within_one_group(of_photos, share):
    groups, shows = table(of_photos)
    held_out = held_out_groups(groups, shows, share)
    assert held_out <= set(groups)
    photos_held_out = sum(group in held_out for group in groups)
    largest = max(groups.count(group) for group in set(groups))
    assert abs(photos_held_out - share * len(groups)) <= largest + 1e-9


@settings(deadline=None)
@given(photos, shares, st.randoms())
def test_the_order_of_photos_does_not_matter(of_photos, share, random):
    shuffled = list(of_photos)
    random.shuffle(shuffled)
    assert held_out_groups(*table(of_photos), share) == held_out_groups(*table(shuffled), share)


@settings(deadline=None)
@given(st.lists(st.integers(2, 6), min_size=1, max_size=8), st.integers(40, 80), st.floats(0.1, 0.6))
def test_rare_labels_are_on_both_sides(numbers, common, share):
    """Labels of a few groups each, among photos that all show one common label."""
    shows = np.zeros((sum(numbers) + common, len(numbers) + 1), bool)
    shows[np.arange(sum(numbers)), np.repeat(np.arange(len(numbers)), numbers)] = True
    shows[:, -1] = True
    assume(share * len(shows) >= sum(1 + share * n for n in numbers))      # the share has room for one group of each
    groups = [str(i) for i in range(len(shows))]
    chosen = held_out_groups(groups, shows, share)
    held_out = np.array([group in chosen for group in groups])
    assert shows[held_out].any(0).all()
    assert shows[~held_out].any(0).all()


def test_by_hand():
    """Of seven coats and seven shoes a seventh is one of each; of 14 unlike photos, any two."""
    shows = np.repeat(np.eye(2, dtype=bool), 7, axis=0)
    groups = [str(i) for i in range(14)]
    assert sorted(int(g) // 7 for g in held_out_groups(groups, shows, 1 / 7)) == [0, 1]
    assert len(held_out_groups(groups, np.zeros((14, 2), bool), 1 / 7)) == 2
    assert held_out_groups(groups, shows, 0) == set()
    assert held_out_groups([], [], 0.5) == set()


def test_labels_have_their_share_where_the_hash_gives_them_another():
    rng = np.random.default_rng(0)
    shows = rng.random((700, 12)) < rng.uniform(0.01, 0.5, 12)
    groups = [f"photo {i // 2}" for i in range(700)]

    def deviation(held_out):
        return np.abs(shows[held_out].sum(0) / shows.sum(0) - 0.2).mean()

    chosen = held_out_groups(groups, shows, 0.2)
    stratified = deviation(np.array([group in chosen for group in groups]))
    hashed = deviation(np.array([split_of(group, 0.2) == "validation" for group in groups]))
    assert stratified < 0.02 < hashed


def test_frozen():
    """Weights are measured by it: the same photos, whatever the version."""
    shows = np.arange(60)[:, None] % np.array([2, 3, 5, 7]) == 0
    held_out = held_out_groups([f"toy/{i}" for i in range(60)], shows, 0.15)
    assert sorted(int(group[4:]) for group in held_out) == [3, 24, 25, 31, 40, 43, 49, 54, 58]


# -- in a run ------------------------------------------------------------------------------------------------


def coats(count):
    return [said(coat=int(i % 4 == 0), shoe=int(i % 5 == 0), stripe=int(i % 20 == 0)) for i in range(count)]


def config_of(*data, **changes):
    return Config(**{"name": "x", "epochs": 1, "data": data, "split": "stratified", "validation": 0.2} | changes)


def test_a_set_that_stands_twice_is_split_once(monkeypatch):
    """Its halves overlap; no photo trains in one place and validates in the other, and labels have their share."""

    class Half(Labelled):
        def __init__(self, path, space, *, skip=0):
            super().__init__(coats(100))
            self.samples, self.labels = self.samples[skip : 60 + skip], self.labels[skip : 60 + skip]
            self.keys = self.groups = [sample.key for sample in self.samples]

    monkeypatch.setitem(DATASETS, "half", Half)
    config = config_of(Data(name="half"), Data(name="half", options={"skip": 40}))
    sources = open_sources(config, SPACE)
    training = {source.dataset.groups[i] for source in sources for i in source.indices}
    validation = {source.dataset.groups[i] for source in sources for i in source.held_out}
    assert not training & validation
    assert len(training | validation) == 100
    assert len(validation) == 20
    numbers = [int(group.partition("/")[2]) for group in validation]
    assert [sum(n % step == 0 for n in numbers) for step in (4, 5, 20)] == [5, 4, 1]
    for entry, source in zip(described(config, sources), sources, strict=True):
        assert entry["held_out"] == sorted(fingerprint(source.dataset.groups[i]) for i in source.held_out)
    assert held_out_of(described(config, sources)) == {"half": {fingerprint(group) for group in validation}}


def test_what_weights_held_out_stays_held_out(monkeypatch):
    """Whatever the split would now be; a photo that they did not know is no photo to measure on."""
    monkeypatch.setitem(DATASETS, "toy", lambda path, space: Labelled(coats(40)))
    before = {"toy": frozenset(map(fingerprint, ["toy/3", "toy/4", "toy/99"]))}
    config = config_of(Data(name="toy"))
    (source,) = open_sources(config, SPACE, before)
    assert source.held_out == [3, 4]
    assert set(source.indices) == set(range(40)) - {3, 4}
    assert held_out_of(described(config, [source], before)) == before
    assert split_indices(source.dataset, "validation", 0.2, before["toy"]) == [3, 4]


def test_a_published_split_stays_and_test_photos_never_train(monkeypatch):
    sides = ["validation" if i < 10 else "train" for i in range(40)]
    monkeypatch.setitem(DATASETS, "toy", lambda path, space: Labelled(coats(40), sides))
    config = config_of(Data(name="toy"))
    (source,) = open_sources(config, SPACE)
    assert source.held_out == list(range(10))
    assert described(config, [source]) == [{"name": "toy", "terms": "none", "photos": 30}]
    sides = ["test" if i < 10 else "train" for i in range(40)]
    (source,) = open_sources(config, SPACE)
    assert len(source.held_out) == 6
    assert min(source.indices + source.held_out) == 10


def test_by_hash_nothing_is_kept_and_nothing_changes(monkeypatch):
    monkeypatch.setitem(DATASETS, "toy", lambda path, space: Labelled(coats(40)))
    config = config_of(Data(name="toy"), split="hash")
    (source,) = open_sources(config, SPACE)
    assert source.held_out == [i for i in range(40) if split_of(f"toy/{i}", 0.2) == "validation"]
    assert source.indices == [i for i in range(40) if split_of(f"toy/{i}", 0.2) == "train"]
    assert described(config, [source]) == [{"name": "toy", "terms": "none", "photos": len(source.indices)}]
    assert held_out_of([{"name": "toy"}, {"held_out": 3}, "x"]) == {}
    assert (split_of_recipe({}), split_of_recipe({"split": "stratified"})) == ("hash", "stratified")


def test_masks_that_were_drawn_leave_the_published_split(tmp_path):
    (tmp_path / "classes.json").write_text('{"classes": ["coat", "shoe", "cape", "hair"]}')
    published = Labelled(coats(6), ["train", "validation", "test"] * 2)
    drawn = WithPseudoMasks(published, tmp_path, SPACE, [0, 3])
    assert split_indices(drawn, "validation") == [1, 4]
    assert split_indices(drawn, "train") == [0, 3]


def test_evaluating_measures_what_training_held_out(tmp_path, monkeypatch):
    monkeypatch.setitem(DATASETS, "toy", lambda path, space: Toy(many()))
    monkeypatch.setitem(DATASETS, "other", lambda path, space: Toy(many()))
    monkeypatch.setattr("hemline.tagger.open_runtime", lambda *_, **__: Oracle(right))
    about = metadata(data=[{"name": "toy", "held_out": [fingerprint("toy/5")]},
                           {"name": "toy", "held_out": [fingerprint("toy/6"), fingerprint("toy/7")]}])  # fmt: skip
    weights = write_weights(tmp_path / "x.safetensors", about)
    toy, other = evaluate(weights, {"toy": None, "other": None}, transplant=False).sets
    assert toy.photos == 3
    assert other.photos == sum(split_of(sample.key) == "validation" for sample in many())    # it never trained
    assert evaluate(weights, {"toy": None}, split="train", transplant=False).sets[0].photos == 37


def test_fitting_measures_what_training_held_out(tiny_config, tmp_path):
    """Whatever the recipe that is fitted would hold out, and however many photos there are by now."""
    data = Data(name="synthetic", options={"count": 12, "canvas": [64, 64]})
    config = replace(tiny_config, labels="outfit5", data=(data,), split="stratified", validation=0.25)
    weights = train(replace(config, out=str(tmp_path)))
    before = held_out_of(read_metadata(weights).data)["synthetic"]
    assert len(before) == 3
    keys = [f"synthetic/{i:06d}" for i in range(12)]
    assert before != {fingerprint(key) for key in keys if split_of(key, 0.25) == "validation"}
    more = replace(config, split="hash", data=(replace(data, options=data.options | {"count": 20}),))
    report = fit(weights, more, tmp_path / "after.safetensors", views=1)
    assert report.sets[0].photos == 3
    assert held_out_of(read_metadata(tmp_path / "after.safetensors").data)["synthetic"] == before
