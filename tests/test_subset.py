"""Choosing photos of a dataset: by class for both sides of the split, by count for those that train."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hemline.config import Config, Data, Only
from hemline.data import DATASETS
from hemline.data.loading import open_sources
from hemline.data.subset import at_most, photos_of_classes
from hemline.errors import ConfigError
from hemline.labels import LabelSpace
from tests.toy import SPACE, Toy, coat_and_shoe, said


class Labelled(Toy):
    """Photos of which the labels are told."""

    def __init__(self, labels, sides=None):
        super().__init__([coat_and_shoe(number) for number in range(len(labels))])
        self.labels, self.sides = labels, sides

    def photo_labels(self, index):
        return self.labels[index]


COATS = [said(coat=1, shoe=0), said(coat=0, shoe=1), said(coat=-1), said(coat=0, shoe=0), said(coat=1, shoe=1)]
keys = st.lists(st.text(max_size=8), unique=True, max_size=40)


@pytest.mark.parametrize(
    ("only", "expected"),
    [
        (None, [0, 1, 2, 3, 4]),
        (Only(count=2), [0, 1, 2, 3, 4]),
        (Only(categories=("coat",)), [0, 4]),                             # what may be a coat is none
        (Only(categories=("coat", "shoe")), [0, 1, 4]),
        (Only(supercategories=("feet",)), [1, 4]),
        (Only(categories=("coat",), supercategories=("feet",)), [0, 1, 4]),
        (Only(supercategories=("body",)), [0, 4]),
    ],
)
def test_photos_are_chosen_by_what_they_show(only, expected):
    assert photos_of_classes(Labelled(COATS), only, SPACE, "data.0.only") == expected


def test_what_cannot_be_chosen_is_said():
    unknown = Only(categories=("cot",), supercategories=("foot",))
    says = r"^data\.3\.only\.categories: .* toy has no 'cot'; did you mean coat\?; data\.3\.only\.super.*: .* 'foot'"
    with pytest.raises(ConfigError, match=says):
        photos_of_classes(Labelled(COATS), unknown, SPACE, "data.3.only")
    with pytest.raises(ConfigError, match=r"^data\.0\.only: none of 5 photos is said to show cape; ask for other"):
        photos_of_classes(Labelled(COATS), Only(categories=("cape",)), SPACE, "data.0.only")


@given(keys, st.integers(1, 50), st.integers(0, 3))
def test_a_count_is_kept_in_order_and_hardly_changed_by_new_photos(names, count, seed):
    indices = list(range(len(names)))
    taken = at_most(indices, names, count, seed)
    assert taken == sorted(set(taken))
    assert len(taken) == min(count, len(names))
    more = at_most([*indices, len(names)], [*names, "the new photo's long name"], count, seed)
    assert len(set(taken) - set(more)) <= 1
    shuffled = indices[::-1]
    assert {names[::-1][i] for i in at_most(shuffled, names[::-1], count, seed)} == {names[i] for i in taken}


def test_another_seed_takes_others():
    names = [str(i) for i in range(1000)]
    one, two = (set(at_most(range(1000), names, 100, seed)) for seed in (0, 1))
    assert len(one & two) < 30                                            # 10 by chance
    assert at_most(range(5), names, None) == [0, 1, 2, 3, 4]


def test_classes_choose_for_both_sides_and_a_count_for_those_that_train(monkeypatch):
    labels = [said(coat=i % 2) for i in range(60)]
    sides = ["validation" if i % 3 == 0 else "train" for i in range(60)]
    monkeypatch.setitem(DATASETS, "toy", lambda path, space: Labelled(labels, sides))

    def sides_of(only):
        config = Config(name="x", epochs=1, data=(Data(name="toy", only=only),))
        (source,) = open_sources(config, SPACE)
        assert len(source.draws) == len(source.indices)
        return source.indices, list(source.held_out)

    every, held_out = sides_of(None)
    assert (len(every), len(held_out)) == (40, 20)
    coats, coats_held_out = sides_of(Only(categories=("coat",)))
    assert coats == [i for i in every if i % 2]
    assert coats_held_out == [i for i in held_out if i % 2]
    few, as_before = sides_of(Only(categories=("coat",), count=7, seed=3))
    assert set(few) < set(coats)
    assert len(few) == 7
    assert as_before == coats_held_out
    assert sides_of(Only(count=1000)) == (every, held_out)


def test_names_of_the_data_s_own_label_space_are_checked_once_it_is_known(monkeypatch):
    """`labels: data`: no name can be looked up before the set is opened."""

    class Own(Labelled):
        def __init__(self, path, space):
            super().__init__(COATS)

        @staticmethod
        def label_space(path) -> LabelSpace:
            return SPACE

    monkeypatch.setitem(DATASETS, "own", Own)
    data = Data(name="own", only=Only(categories=("coat",)))
    config = Config(name="x", epochs=1, labels="data", data=(data,), validation=0.0)
    assert [source.indices for source in open_sources(config, SPACE)] == [[0, 4]]
    config = replace(config, data=(replace(data, only=Only(categories=("boat",))),))
    with pytest.raises(ConfigError, match=r"data\.0\.only\.categories: label space toy has no 'boat'"):
        open_sources(config, SPACE)


def test_draws_follow_what_was_chosen(monkeypatch):
    monkeypatch.setitem(DATASETS, "toy", lambda path, space: Labelled([said(coat=i % 2) for i in range(20)]))
    data = Data(name="toy", weight=0.5, only=Only(categories=("coat",)))
    (source,) = open_sources(Config(name="x", epochs=1, data=(data,), validation=0.0), SPACE)
    np.testing.assert_array_equal(source.draws, [0.5] * 10)
