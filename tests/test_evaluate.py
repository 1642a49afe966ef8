"""Measuring on small sets whose answers are known in advance."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import torch
from numpy.typing import NDArray
from PIL import Image

from hemline.data import DATASETS, Dataset, split_indices, split_of
from hemline.data.ccp import CCP
from hemline.data.loading import Source
from hemline.data.sample import PREDICTED, WHOLE_PHOTO, Region, Sample
from hemline.errors import ConfigError, DataError
from hemline.evaluate import (
    choose_mask_thresholds,
    evaluate,
    protocol,
    score,
    score_network,
    truth_map,
)
from hemline.labels import load_label_space
from hemline.metadata import Metadata
from hemline.metrics import IGNORED
from hemline.model import Output
from hemline.runtime import Answer
from tests.toy import (
    CANVAS,
    CAPE,
    COAT,
    HAIR,
    NUM_LABELS,
    NUM_MASKS,
    SHOE,
    SIDE_TO_SIDE,
    SPACE,
    Oracle,
    Toy,
    coat_and_shoe,
    logits,
    many,
    measure,
    metadata,
    picture,
    right,
    row,
    said,
    striped,
    write_weights,
)

# -- the truth -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (row(), 0),                              # nothing: background
        (row(COAT), 1),                          # the first competing class
        (row(HAIR), 3),                          # cape is hidden, so hair is the third
        (row(COAT, unknown=(SHOE, CAPE)), 1),    # surely a coat, whatever else
        (row(unknown=(COAT,)), IGNORED),         # perhaps a coat
        (row(COAT, SHOE), IGNORED),              # two at once: no one answer is right
        (row(CAPE), IGNORED),                    # known, and never an answer
        (row(unknown=(CAPE,)), 0),               # no answer that could be given is true
        (row(unknown=(0, 1, 2, 3)), IGNORED),    # nothing known
    ],
)  # fmt: skip
def test_what_a_segment_is(target: NDArray[np.int8], expected: int) -> None:
    sample = Sample(np.zeros((2, 2, 3), np.uint8), np.array([[0, 1], [1, 0]], np.uint8), np.stack([row(), target]))
    np.testing.assert_array_equal(truth_map(sample, SPACE), [[0, expected], [expected, 0]])


def write_ccp(folder: Path, words: list[str], maps: dict[str, NDArray[np.uint8]]) -> Path:
    """Clothing Co-Parsing's layout, with these maps of word numbers."""
    cells = np.empty((1, len(words)), object)
    cells[0] = words
    for part in ("photos", "annotations/pixel-level", "annotations/image-level"):
        (folder / part).mkdir(parents=True)
    scipy.io.savemat(folder / "label_list.mat", {"label_list": cells})
    for name, ids in maps.items():
        Image.new("RGB", ids.shape[::-1], "grey").save(folder / "photos" / f"{name}.jpg")
        scipy.io.savemat(folder / "annotations" / "pixel-level" / f"{name}.mat", {"groundtruth": ids})
    return folder


def test_the_words_of_ccp_are_the_classes_of_the_protocol(tmp_path: Path) -> None:
    masks = protocol()["masks"]
    spoken = {word for sources in masks["classes"].values() for word in sources} | set(masks["ignored"])
    words = ["null", *sorted(spoken - {"null"})]
    assert len(words) == 59
    stripes = np.tile(np.arange(59, dtype=np.uint8), (2, 1))     # one column a word
    space = load_label_space("street")
    sample = CCP(write_ccp(tmp_path, words, {"0001": stripes}), space)[0]

    classes = ["background", *(space.mask_names[k] for k in space.competing)]
    assert set(classes) == set(masks["classes"])
    got = {words[i]: int(c) for i, c in enumerate(truth_map(sample, space)[0])}
    expected = {word: classes.index(name) for name, ws in masks["classes"].items() for word in ws}
    assert got == expected | dict.fromkeys(masks["ignored"], IGNORED)


def test_ccp_is_measured_by_the_protocol(tmp_path: Path) -> None:
    ids = np.zeros((40, 30), np.uint8)
    ids[10:30, 10:20] = 1
    space = load_label_space("street")
    words = ["null", *sorted(space.teach["ccp"]["words"].keys() - {"null"})]
    about = Metadata("empty", space, CANVAS, (0.5,) * space.num_masks, (0.5,) * space.num_labels)

    def nothing(pixels: NDArray[np.uint8], valid: NDArray[np.uint8]) -> Answer:
        masks = np.full((len(pixels), space.num_masks, 8, 8), -9, np.float32)
        return Answer(masks, np.zeros((len(pixels), 1 + space.num_masks, space.num_labels), np.float32))

    dataset = CCP(write_ccp(tmp_path, words, {"0001": np.where(ids, words.index("coat"), 0).astype(np.uint8)}), space)
    report = score(dataset, nothing, about, name="ccp")
    assert report.by_protocol
    assert report.floor == {"mean_iou": 0.408, "pixel_accuracy": 0.914}
    assert report.masks
    assert report.masks.pixel_accuracy.value == report.masks.pixel_accuracy.trivial == pytest.approx(1000 / 1200)
    assert len(report.masks.classes) + len(report.masks.left_out) == 22
    assert not measure([coat_and_shoe(1)], name="ccp").by_protocol  # other classes than the protocol's


def test_the_protocol_is_frozen() -> None:
    content = json.dumps(protocol(), sort_keys=True).encode()
    digest = hashlib.sha256(content).hexdigest()
    assert digest == "a6cfe1d44c50c50dcfe7d5ac0641fc3ba495efb0968c3c7ff3aa88e5fd909d95"


# -- masks ---------------------------------------------------------------------------------------------------


def test_a_perfect_answer_scores_one() -> None:
    report = measure([coat_and_shoe(1), coat_and_shoe(2)])
    assert report.photos == 2
    assert report.masks
    for figure in (report.masks.mean_iou, report.masks.mean_dice, report.masks.pixel_accuracy):
        assert (figure.value, figure.low, figure.high) == (1, 1, 1)
    assert [(c.name, c.photos, c.pixels) for c in report.masks.classes] == [
        ("background", 2, 512), ("coat", 2, 1024), ("shoe", 2, 512),
    ]  # fmt: skip
    assert report.masks.left_out == ["hair"]
    assert not report.by_protocol
    assert report.floor == {}


def test_an_answer_blind_to_shoes() -> None:
    report = measure([coat_and_shoe(1)], Oracle(blind=(SHOE,)))
    assert report.masks
    iou = {c.name: c.iou.value for c in report.masks.classes}
    assert iou == {"background": 256 / 512, "coat": 1, "shoe": 0}  # 256 pixels of shoe as background
    assert report.masks.pixel_accuracy.value == 0.75
    assert report.masks.foreground_accuracy.value == pytest.approx(512 / 768)


def test_a_pixel_is_decided_by_the_margin_over_the_threshold() -> None:
    # coat and shoe say the same everywhere; the one with the lower threshold wins, and 1.0 is never reached
    def both(pixels: NDArray[np.uint8], valid: NDArray[np.uint8]) -> Answer:
        answer = Oracle()(pixels, valid)
        answer.masks[:, SHOE] = answer.masks[:, COAT]
        return answer

    sample = picture(1, (COAT, slice(8, 24), SIDE_TO_SIDE))
    for thresholds, coat in (((0.4, 0.5, 0.5, 0.5), 1), ((0.6, 0.5, 0.5, 0.5), 0), ((1.0, 1.0, 0.5, 0.5), 0)):
        report = measure([sample], both, metadata={"mask_thresholds": thresholds})
        assert report.masks
        assert report.masks.classes[1].iou.value == coat


def test_hidden_and_unknown_pixels_do_not_count() -> None:
    sample = picture(1, (COAT, slice(8, 16), SIDE_TO_SIDE), (CAPE, slice(16, 32), SIDE_TO_SIDE))
    report = measure([sample], Oracle(blind=(CAPE,)))
    assert report.masks
    assert report.masks.pixel_accuracy.value == 1
    assert sum(c.pixels for c in report.masks.classes) == 512
    sample.targets[0] = -1
    sample.targets[1] = -1
    assert measure([sample]).masks is None       # nothing drawn that could be an answer


def test_maps_are_compared_at_the_photos_own_size() -> None:
    # twice as high as wide, 5 times the canvas: the shape comes back where it was, to a cell's edge
    sample = picture(1, (COAT, slice(80, 240), slice(40, 120)), size=(320, 160))
    report = measure([sample])
    assert report.masks
    assert sum(c.pixels for c in report.masks.classes) == 320 * 160
    assert report.masks.classes[1].iou.value > 0.9


@pytest.mark.parametrize("batch_size", [1, 2, 3, 8])
def test_figures_do_not_depend_on_the_batch(batch_size: int) -> None:
    samples = [coat_and_shoe(n) for n in (1, 2, 3)] + [picture(4, (HAIR, slice(0, 8), slice(0, 8)), size=(48, 32))]
    oracle, told = Oracle(blind=(SHOE,)), []
    report = measure(samples, oracle, batch_size=batch_size, progress=lambda *at: told.append(at))
    assert repr(report) == repr(measure(samples, Oracle(blind=(SHOE,)), batch_size=5))
    assert max(oracle.batches) <= batch_size
    assert sum(oracle.batches) == 4
    assert told[-1] == ("toy", 4, 4)


def test_only_the_positions_asked_for() -> None:
    samples = [coat_and_shoe(1), picture(2), picture(3)]
    assert repr(measure(samples, indices=[1, 2])) == repr(measure(samples[1:]))


# -- labels --------------------------------------------------------------------------------------------------


def test_labels_of_the_photo() -> None:
    samples = [picture(n) for n in (1, 2, 3, 4)]
    for sample, winter in zip(samples, (1, 0, 1, 0), strict=True):
        sample.regions = [Region(WHOLE_PHOTO, said(winter=winter, coat=1))]
    scores = {1: 3.0, 2: 2.0, 3: 1.0, 4: -1.0}   # yes no yes no: average precision (1 + 2/3) / 2

    report = measure(samples, Oracle(lambda n: logits(photo=[0, 0, 0, 0, 0, scores[n]])))
    assert report.labels
    assert report.garments is None
    (label,) = report.labels.labels
    assert label.average_precision.value == pytest.approx(5 / 6)
    assert label.prior == 0.5
    assert label.precision == pytest.approx(2 / 3)               # three answers above 0.5
    assert label.recall == 1
    assert report.left_out == ["coat", "shoe", "cape", "stripe", "dot"]          # coat: always yes; others: unknown


def test_attributes_are_read_under_the_garments_own_mask() -> None:
    samples = [striped(n, n % 2) for n in (1, 2, 3, 4)]

    def answer(number: int) -> NDArray[np.float32]:
        sign = 1 if number % 2 else -1
        return logits(photo=[0, 0, 0, -sign, sign, -sign],       # wrong, of the photo
                      coat=[0, 0, 0, sign, -sign, -sign],        # right
                      shoe=[0, 0, 0, -sign, sign, sign])         # wrong of patterns, right of winter  # fmt: skip

    report = measure(samples, Oracle(answer))
    assert report.labels is None
    assert report.garments
    figures = {label.name: (label.average_precision.value, label.f1.value) for label in report.garments.labels}
    assert figures == {"stripe": (1, 1), "dot": (1, 1), "winter": (1, 1)}
    known = {label.name: label.known for label in report.garments.labels}
    assert known == {"stripe": 4, "dot": 4, "winter": 4}         # the shoe's "no stripe": shoes do not carry it
    assert {c.group: (c.rows, c.top1.value) for c in report.garments.choices} == {"pattern": (4, 1)}
    assert report.garments_missed == 0
    assert report.left_out == ["coat", "shoe", "cape"]           # categories are not attributes


def test_a_garment_that_is_not_found_has_no_attribute() -> None:
    samples = [striped(n, n % 2) for n in (1, 2, 3, 4)]

    def answer(number: int) -> NDArray[np.float32]:              # would be right, if there were a coat
        sign = 1 if number % 2 else -1
        return logits(coat=[0, 0, 0, sign, -sign, 0], shoe=[0, 0, 0, 0, 0, sign])

    report = measure(samples, Oracle(answer, blind=(COAT,)))
    assert report.garments
    assert report.garments_missed == 4
    figures = {label.name: (label.average_precision.value, label.recall) for label in report.garments.labels}
    assert figures == {"stripe": (0.5, 0), "dot": (0.5, 0), "winter": (1, 1)}
    (pattern,) = report.garments.choices
    assert pattern.top1.value == 0


def test_labels_of_a_garment_that_nobody_drew_are_read_where_the_network_sees_it() -> None:
    samples = [coat_and_shoe(n) for n in (1, 2)]
    for sample, stripe in zip(samples, (1, 0), strict=True):
        classes = np.isin(np.arange(NUM_MASKS), (COAT, SHOE))   # the coat is the larger one
        sample.regions = [Region(PREDICTED, said(stripe=stripe), classes=classes)]
        sample.regions += [Region(PREDICTED, said(stripe=1 - stripe), classes=classes, doubt=0.1)]   # not measured
        sample.targets[:] = -1

    def answer(number: int) -> NDArray[np.float32]:              # right of coats, wrong of shoes
        return logits(coat=[0, 0, 0, 3 - 2 * number, 0, 0], shoe=[0, 0, 0, 2 * number - 3, 0, 0])

    report = measure(samples, Oracle(answer))
    assert report.masks is None
    assert report.garments
    (label,) = report.garments.labels
    assert (label.average_precision.value, label.known) == (1, 2)


def test_large_logits_keep_their_order() -> None:
    samples = [picture(n) for n in (1, 2, 3)]
    for sample, winter in zip(samples, (0, 0, 1), strict=True):
        sample.regions = [Region(WHOLE_PHOTO, said(winter=winter))]
    for base in (30, -30):                       # in single precision, the probabilities would all be 1, or 0
        report = measure(samples, Oracle(lambda n: logits(photo=[0, 0, 0, 0, 0, base + n])))  # noqa: B023  used at once
        assert report.labels
        assert report.labels.labels[0].average_precision.value == 1


# -- thresholds ----------------------------------------------------------------------------------------------


def test_mask_thresholds_are_chosen_on_the_photos() -> None:
    def shy(pixels: NDArray[np.uint8], valid: NDArray[np.uint8]) -> Answer:
        answer = Oracle()(pixels, valid)
        answer.masks[:, COAT] = answer.masks[:, COAT] / 4 - 1.2  # -0.2 on the coat, -2.2 elsewhere
        return answer

    samples = [coat_and_shoe(1), coat_and_shoe(2), picture(3)]
    samples[2].targets[:] = -1                                   # no map: no say
    chosen = choose_mask_thresholds(Toy(samples), shy, metadata(), indices=[0, 1, 2])
    assert chosen[COAT] < 0.4
    assert chosen[SHOE] == chosen[CAPE] == 0.5
    before, after = (measure(samples, shy, metadata={"mask_thresholds": t}) for t in ((0.5,) * 4, chosen))
    assert before.masks
    assert after.masks
    assert before.masks.mean_iou.value < 0.7 < 0.98 < after.masks.mean_iou.value


# -- weights, files, networks --------------------------------------------------------------------------------


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A weights file without weights, and the set `toy`; what runs the file is an `Oracle`."""
    monkeypatch.setitem(DATASETS, "toy", lambda path, space: Toy(many()))
    monkeypatch.setattr("hemline.tagger.open_runtime", lambda *_, **__: Oracle(right))
    return write_weights(tmp_path / "toy.safetensors", metadata())


def test_evaluate_from_end_to_end(weights: Path) -> None:
    told: list[tuple[str, int, int]] = []
    report = evaluate(weights, {"toy": None}, progress=lambda *at: told.append(at))
    held_out = [sample.key for sample in many() if split_of(sample.key) == "validation"]
    (part,) = report.sets
    assert 2 <= part.photos == len(held_out) < 20
    assert told[-1] == ("toy", len(held_out), len(held_out))
    assert part.masks
    assert part.masks.mean_iou.value == 1
    assert part.labels
    assert part.garments
    assert (report.weights, report.label_space) == ("toy weights", "toy")
    assert (report.runtime, report.device) == ("oracle", "cpu")
    assert report.headline == 1
    assert report.summary()["toy.garments.pattern.top1"] == 1
    assert part.left_out == ["coat", "shoe", "cape"]
    assert evaluate(weights, {"toy": None}, split="train").sets[0].photos == 40 - len(held_out)
    assert evaluate(weights, {"toy": None}, split="all").sets[0].photos == 40
    assert evaluate(weights, {"toy": None}, split="all", limit=7).sets[0].photos == 7
    json.dumps(report.to_dict(), allow_nan=False)
    json.dumps(report.summary(), allow_nan=False)


def test_flip_answers_the_mirrored_photo_too(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    oracle = Oracle(right)
    monkeypatch.setattr("hemline.tagger.open_runtime", lambda *_, **__: oracle)
    report = evaluate(weights, {"toy": None}, split="all", batch_size=20, flip=True)
    assert oracle.batches == [20] * 4
    assert report.flip
    assert report.headline == 1


def test_the_split_is_the_one_of_the_recipe(weights: Path) -> None:
    write_weights(weights, metadata(recipe={"validation": 0.5}))
    expected = [sample for sample in many() if split_of(sample.key, 0.5) == "validation"]
    assert evaluate(weights, {"toy": None}).sets[0].photos == len(expected) > 10


def test_what_cannot_be_measured_is_said_at_once(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"no dataset 'cpp': choose .*ccp.*; split='tset'.*; batch_size=0.*; limit=0"):
        evaluate(weights, {"cpp": None}, split="tset", batch_size=0, limit=0)  # type: ignore[arg-type]  # on purpose
    with pytest.raises(ConfigError, match=r"ccp: no path is given; .* as ccp=PATH; synthetic: .*leave '/x' out"):
        evaluate(weights, {"ccp": None, "synthetic": Path("/x")})
    with pytest.raises(ConfigError, match="no dataset to measure on"):
        evaluate(weights, {})
    monkeypatch.setitem(DATASETS, "toy", lambda path, space: Toy(many()[:1]))
    with pytest.raises(DataError, match="none of its 1 photos"):
        evaluate(weights, {"toy": None}, split="train" if split_of("toy/1") == "validation" else "validation")


def test_a_network_in_training() -> None:
    oracle = Oracle(right)

    class Net(torch.nn.Module):
        def forward(self, pixels: torch.Tensor, valid: torch.Tensor) -> Output:
            answer = oracle(pixels.numpy(), valid.numpy())
            return Output(torch.from_numpy(answer.masks), torch.from_numpy(answer.labels))

    dataset: Dataset = Toy(many())
    about = metadata(data=[{"name": "toy", "terms": "none", "photos": 40}])
    network: Any = Net()
    source = Source(dataset, [], np.ones(0), split_indices(dataset, "validation"))
    report = score_network(network, [source], about, device=torch.device("cpu"))
    (part,) = report.sets
    assert part.masks
    assert part.masks.mean_iou.value == 1
    assert report.headline == 1
    assert len(report.label_thresholds) == NUM_LABELS
    assert report.label_thresholds[COAT] == 1    # always there: nothing to choose by
    nothing = score_network(network, [Source(Toy([]), [], np.ones(0))], about, device=torch.device("cpu"))
    assert (nothing.sets, nothing.headline) == ([], 0)
    assert nothing.label_thresholds == about.label_thresholds
