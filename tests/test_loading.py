"""Sampling: what is drawn how often, the same for one seed, whatever the workers."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from hemline.config import Config, Data
from hemline.data import DATASETS, split_indices, split_of
from hemline.data.loading import EpochSampler, Source, batches, make_loader, open_sources, repeat_factors
from hemline.data.synthetic import Synthetic
from hemline.errors import ConfigError, PhotoError
from hemline.labels import load_label_space
from tests.toy import SPACE, Toy, coat_and_shoe, said


def source_of(draws):
    return Source(dataset=None, indices=list(range(10, 10 + len(draws))), draws=np.array(draws, float))


def drawn(sampler, epoch=0):
    sampler.epoch = epoch
    return [item for batch in sampler for item in batch]


def test_every_photo_is_drawn_as_often_as_asked():
    sampler = EpochSampler([source_of([1, 1, 2, 0.5]), source_of([3])], batch_size=1, seed=0)
    assert len(sampler) == 7                                    # 4.5 rounds to 4 (to even), and 3
    counts = np.zeros((2, 4))
    for epoch in range(400):
        items = drawn(sampler, epoch)
        assert len(items) == 7
        for item in items:
            counts[item.source, item.photo - 10] += 1
    np.testing.assert_allclose(counts[0] / 400, np.array([1, 1, 2, 0.5]) * 4 / 4.5, atol=0.08)
    assert counts[1, 0] == 3 * 400


def test_one_seed_gives_one_order_and_epochs_differ():
    def order(seed, epoch):
        return [(i.source, i.photo) for i in drawn(EpochSampler([source_of([1] * 50)], batch_size=4, seed=seed), epoch)]

    assert order(0, 0) == order(0, 0)
    assert order(0, 0) != order(0, 1)
    assert order(0, 0) != order(1, 0)


def test_a_resumed_epoch_goes_on_with_the_same_photos():
    sampler = EpochSampler([source_of([1] * 40)], batch_size=4, seed=3)
    whole = drawn(sampler, 5)
    sampler.start = 6
    assert drawn(sampler, 5) == whole[24:]


def test_each_step_has_one_canvas_whoever_reads_it():
    """Those of a step are the same for every process and piece, and for an epoch taken up in its middle."""
    canvases = [(64, 64), (96, 64), (64, 96)]
    make = partial(EpochSampler, [source_of([1] * 64)], batch_size=8, canvases=canvases)

    def taken(sampler, epoch, pieces=1):
        sampler.epoch = epoch
        batches = [{item.canvas for item in batch} for batch in sampler]
        assert all(len(batch) == 1 for batch in batches)
        return [batch.pop() for batch in batches][::pieces]

    whole = [taken(make(seed=0), epoch) for epoch in range(20)]
    for rank in (0, 1):
        shared = make(seed=0, pieces=2, rank=rank, size=2)
        assert [taken(shared, epoch, pieces=2) for epoch in range(20)] == whole
    resumed = make(seed=0)
    resumed.start = 5
    assert taken(resumed, 3) == whole[3][5:]
    assert whole != [taken(make(seed=1), epoch) for epoch in range(20)]
    counts = [sum(each.count(canvas) for each in whole) for canvas in canvases]
    assert min(counts) > 35                                     # of 160, a third each
    assert {item.canvas for item in drawn(EpochSampler([source_of([1] * 8)], batch_size=4, seed=0))} == {None}


def test_photos_of_a_step_are_placed_on_its_canvas(tiny_config):
    space = load_label_space(tiny_config.labels)
    config = replace(tiny_config, data=(Data(name="synthetic", options={"count": 24, "canvas": [64, 64]}),))
    sources = open_sources(config, space)
    canvases = ((64, 64), (96, 32))
    sampler = EpochSampler(sources, batch_size=2, seed=0, canvases=canvases)
    loader = make_loader(sources, sampler, config, pin_memory=False)
    sizes = [tuple(batch.segments.shape[1:]) for batch in batches(loader)]
    assert sizes == [batch[0].canvas for batch in sampler]
    assert {*sizes} == {*canvases}


def test_weights_that_leave_no_photo_are_refused(tiny_config):
    few = Data(name="synthetic", weight=0.01, options={"count": 20})
    enough = replace(few, weight=0.1)
    with pytest.raises(ConfigError, match=r"data\.0\.weight: 0\.01 of .*; data\.2\.weight: 0\.01 of .* is none"):
        open_sources(replace(tiny_config, data=(few, enough, few)), load_label_space("street"))
    assert len(open_sources(replace(tiny_config, data=(enough,)), load_label_space("street"))) == 1


def test_repeat_factors_by_hand():
    """Two labels in 4 photos: one in all, one in a single photo; asked for a half: sqrt(0.5 / 0.25)."""
    labels = [np.array([1, 1], np.int8), *(np.array([1, 0], np.int8),) * 2, np.array([1, -1], np.int8)]
    np.testing.assert_allclose(repeat_factors(labels, 0.5), [2**0.5, 1, 1, 1])


def test_batches_do_not_depend_on_the_number_of_workers(tiny_config):
    space = load_label_space(tiny_config.labels)
    tiny_config = replace(tiny_config, batch_size=2)
    sources = [source._replace(indices=source.indices[:6], draws=source.draws[:6])
               for source in open_sources(tiny_config, space)]
    taken = []
    for workers in (0, 2):
        config = replace(tiny_config, workers=workers)
        sampler = EpochSampler(sources, batch_size=2, seed=0)
        taken.append(list(batches(make_loader(sources, sampler, config, pin_memory=False))))
    assert len(taken[0]) == len(taken[1]) == 3
    for one, two in zip(*taken, strict=True):
        for a, b in zip(one, two, strict=True):
            assert torch.equal(a, b)


def test_a_pass_leaves_the_generator_of_dropout_alone(tiny_config):
    """Else a run resumed in the middle of an epoch, which begins one pass more, would drop other cells."""
    sampler = EpochSampler([source_of([1])], batch_size=1, seed=0)
    before = torch.get_rng_state()
    iter(make_loader([], sampler, tiny_config, pin_memory=False))
    assert torch.equal(torch.get_rng_state(), before)


class Unreadable:
    def __getitem__(self, index):
        raise PhotoError(f"photo {index} is cut short")


@pytest.mark.parametrize("workers", [0, 1])
def test_a_photo_that_cannot_be_read_is_said_in_its_own_sentence(tiny_config, workers):
    sources = [source_of([1])._replace(dataset=Unreadable())]
    loader = make_loader(
        sources, EpochSampler(sources, batch_size=1, seed=0), replace(tiny_config, workers=workers), pin_memory=False
    )
    with pytest.raises(PhotoError, match=r"^photo 10 is cut short$"):
        list(batches(loader))


BARE = coat_and_shoe(0)


class Few(Toy):
    """So many photos, which all show a coat."""

    def __init__(self, path, space, *, count=10, skip=0):
        super().__init__([replace(BARE, key=f"toy/{number}") for number in range(skip, skip + count)])

    def photo_labels(self, index):
        return said(coat=1)


def test_any_number_of_sets_in_one_run_each_by_its_weight(monkeypatch):
    """Seven entries of two sets, one of them six times with other options: an epoch is what the weights say."""
    monkeypatch.setitem(DATASETS, "few", Few)
    monkeypatch.setitem(DATASETS, "lots", Few)
    weights = [0.25, 0.5, 1, 1.5, 2, 7]
    data = [Data(name="few", weight=w, options={"count": 12, "skip": 6 * i}) for i, w in enumerate(weights)]
    config = Config(
        name="x", epochs=1, validation=0.0, data=(*data, Data(name="lots", weight=0.1, options={"count": 400}))
    )
    sources = open_sources(config, SPACE)
    sampler = EpochSampler(sources, batch_size=1, seed=0)
    wanted = [3, 6, 12, 18, 24, 84, 40]
    assert len(sampler) == sampler.num_photos == sum(wanted)
    times = np.zeros((7, 400), int)
    for item in drawn(sampler):
        times[item.source, item.photo] += 1
    assert times.sum(1).tolist() == wanted
    for number, weight in enumerate(weights):
        assert set(times[number, :12]) <= {int(np.floor(weight)), int(np.ceil(weight))}
    assert sources[1].dataset.keys[0] == "toy/6"                # each entry has its own options


def test_sets_that_share_photos_hold_out_the_same_ones(monkeypatch):
    monkeypatch.setitem(DATASETS, "few", Few)
    data = (Data(name="few", options={"count": 40}), Data(name="few", options={"count": 40, "skip": 20}))
    sources = open_sources(Config(name="x", epochs=1, validation=0.3, data=data), SPACE)
    train = {source.dataset.keys[i] for source in sources for i in source.indices}
    validation = {source.dataset.keys[i] for source in sources for i in source.held_out}
    assert not train & validation
    assert len(train | validation) == 60


def test_a_published_split_is_the_one_taken():
    """Where nothing is published to validate on, the training photos are split by hash, and test photos stay apart."""
    data = Synthetic(None, load_label_space("street"), count=60, canvas=(32, 32))
    data.sides = ["train", "validation", "test"] * 20
    assert split_indices(data, "validation") == list(range(1, 60, 3))
    assert split_indices(data, "test") == list(range(2, 60, 3))
    data.sides = ["train", "train", "test"] * 20
    held_out = [i for i in range(60) if i % 3 < 2 and split_of(data.groups[i]) == "validation"]
    assert split_indices(data, "validation") == held_out
    assert len(split_indices(data, "train")) == 40 - len(held_out) > 20
    assert split_indices(data, "test") == list(range(2, 60, 3))
    assert len(split_indices(data, "all")) == 60
