"""What sets are judged by: against scikit-learn, and by hand, on fake copies in the published layouts."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from rich.console import Console
from sklearn.metrics import average_precision_score

from hemline._targets import meant
from hemline.data import Dataset
from hemline.data.clothing_attributes import ANSWERS, ClothingAttributes
from hemline.data.clothing_dataset import ClothingDataset
from hemline.data.loading import Source
from hemline.evaluate import Report, SetReport, evaluate, protocol, report_table, score, score_network
from hemline.labels import LabelSpace, load_label_space
from hemline.metadata import Metadata
from hemline.model import Output
from hemline.runtime import Answer
from tests.test_clothing_attributes import write as write_attributes
from tests.test_clothing_dataset import write as write_items
from tests.toy import CANVAS, coat_and_shoe, many, measure, write_weights

STREET = load_label_space("street")
TOP = "top, t-shirt, sweatshirt"
STANDS_FOR = {
    ("category", 1): "upper shirt", ("category", 2): "upper sweater", ("category", 3): "upper t-shirt",
    ("category", 4): "upper outerwear", ("category", 5): "upper suit", ("category", 6): "upper tank top",
    ("category", 7): "upper dress", ("neckline", 1): "V-shape neckline", ("neckline", 2): "round neckline",
    ("neckline", 3): "other neckline", ("sleevelength", 1): "sleeveless", ("sleevelength", 2): "short (length)",
    ("sleevelength", 3): "wrist-length", ("collar", 2): "collar", ("necktie", 2): "tie", ("placket", 2): "placket",
    ("scarf", 2): "scarf", ("pattern_floral", 2): "floral", ("pattern_graphics", 2): "graphic",
    ("pattern_plaid", 2): "check", ("pattern_solid", 2): "plain (pattern)", ("pattern_spot", 2): "dot",
    ("pattern_stripe", 2): "stripe",
}  # fmt: skip


class InOrder:
    """Gives prepared logits, masks (P, K, 8, 8) and labels (P, 1 + K, L), in the order in which photos come."""

    name, device, dtype = "in order", "cpu", "f32"

    def __init__(self, masks: NDArray[np.float32], labels: NDArray[np.float32]) -> None:
        self.masks, self.labels, self.given = masks, labels, 0

    def __call__(self, pixels: NDArray[np.uint8], valid: NDArray[np.uint8]) -> Answer:
        part = slice(self.given, self.given + len(pixels))
        self.given += len(pixels)
        return Answer(self.masks[part], self.labels[part])


def blank(count: int, space: LabelSpace = STREET) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    masks = np.full((count, space.num_masks, 8, 8), -9, np.float32)
    return masks, np.full((count, 1 + space.num_masks, space.num_labels), -4, np.float32)


def about(space: LabelSpace = STREET, **changes: Any) -> Metadata:
    settings: dict[str, Any] = {"label_thresholds": (0.5,) * space.num_labels} | changes
    return Metadata("street", space, CANVAS, (0.5,) * space.num_masks, **settings)


def text_of(part: SetReport) -> str:
    console = Console(width=100)
    with console.capture() as captured:
        for table in report_table(Report("", "street", CANVAS, "", "cpu", False, "all", [part], ())):
            console.print(table)
    return captured.get()


# -- clothing attributes -------------------------------------------------------------------------------------


def people(seed: int = 0, count: int = 60) -> dict[int, dict[str, Any]]:
    """Answers by chance, one in ten not settled."""
    rng = np.random.default_rng(seed)
    return {
        number: {name: int(rng.integers(1, most + 1)) for name, most in ANSWERS.items() if rng.random() > 0.1}
        for number in range(1, count + 1)
    }


def guesses(count: int, space: LabelSpace = STREET) -> InOrder:
    masks, labels = blank(count, space)
    labels[:, 0] = np.random.default_rng(1).normal(size=labels[:, 0].shape).round(1)   # some are equal
    return InOrder(masks, labels)


def test_the_mean_average_precision_of_the_23_labels(tmp_path: Path) -> None:
    photos, answer = people(), guesses(60)
    dataset = ClothingAttributes(write_attributes(tmp_path, photos), STREET)
    part = score(dataset, answer, about(), name="clothing_attributes", batch_size=7)
    precisions, frequencies = [], []
    for (question, yes), name in STANDS_FOR.items():
        known = [number for number, said in photos.items() if question in said]
        truth = [photos[number][question] == yes for number in known]
        scores = answer.labels[np.array(known) - 1, 0, STREET.find(name).index]
        precisions.append(average_precision_score(truth, scores))
        frequencies.append(np.mean(truth))
    (target,) = part.targets
    assert target.score.value == pytest.approx(np.mean(precisions))
    assert target.score.trivial == pytest.approx(np.mean(frequencies))
    assert target.score.low < target.score.value < target.score.high
    assert (target.name, target.photos, target.wanted, target.left_out) == ("mean_average_precision", 60, 0.709, [])
    assert target.labels == {f"{question} {yes}": name for (question, yes), name in STANDS_FOR.items()}
    assert "mean AP of 23 labels" in text_of(part)


def test_a_label_of_which_no_photo_says_yes_is_left_out(tmp_path: Path) -> None:
    photos = people()
    for said in photos.values():
        said["pattern_floral"] = 1
        said.pop("necktie", None)
    dataset = ClothingAttributes(write_attributes(tmp_path, photos), STREET)
    part = score(dataset, guesses(60), about(), name="clothing_attributes")
    (target,) = part.targets
    assert target.left_out == ["necktie 2", "pattern_floral 2"]
    text = " ".join(text_of(part).split())
    assert "mean AP of 21 of 23 labels" in text
    assert "for want of a yes or a no of them: necktie 2, pattern_floral 2." in text


def test_unsettled_rows_of_one_photo_count_nowhere(tmp_path: Path) -> None:
    photos: dict[int, dict[str, Any]] = {1: {"collar": 2}, 2: {"collar": 1}, 3: {"collar": 1, "like": 2}}
    photos |= {4: {"collar": 2, "like": 2}}                      # the photo of 2 and 3, labelled otherwise
    dataset = ClothingAttributes(write_attributes(tmp_path, photos), STREET)
    part = score(dataset, guesses(4), about(), name="clothing_attributes")
    assert part.targets == []                                    # the only collar known, and no other answer


# -- clothing-dataset ----------------------------------------------------------------------------------------

ITEMS = [  # word, item answered, mask of the upper rows, of the fewer lower rows
    ("T-Shirt", "T-Shirt", TOP, None),               # right
    ("Longsleeve", "Shirt", "jacket", "pants"),      # the largest garment may be a jacket
    ("Outwear", "Outwear", "pants", "coat"),         # the coat is there, and not the largest
    ("Body", "Body", None, None),                    # no category of ours: not asked which garment is the largest
    ("Dress", "Dress", None, None),                  # nothing is found
    ("T-Shirt", "Polo", None, None),                 # found by its label alone, below
]  # fmt: skip


@pytest.fixture
def items(tmp_path: Path) -> ClothingDataset:
    rows = [(f"{i:03d}", i, word, False) for i, (word, *_) in enumerate(ITEMS)]
    return ClothingDataset(write_items(tmp_path / "items", rows), STREET)


def hand_made() -> InOrder:
    masks, labels = blank(len(ITEMS))
    for i, (_, said, upper, lower) in enumerate(ITEMS):
        labels[i, 0, STREET.find(said).index] = -1               # the best, and below any threshold
        labels[i, 1:, STREET.find("Hat").index] = 9              # under masks: not the photo's
        if upper:
            masks[i, STREET.mask_names.index(upper), :5] = 4
        if lower:
            masks[i, STREET.mask_names.index(lower), 5:] = 4
    labels[5, 0, STREET.find(TOP).index] = 4
    return InOrder(masks, labels)


def test_items_and_answers(items: ClothingDataset) -> None:
    part = score(items, hand_made(), about(), name="clothing_dataset", batch_size=4)
    assert [t.name for t in part.targets] == ["top1", "garment_found", "largest_right"]
    assert [t.photos for t in part.targets] == [6, 6, 5]
    assert [t.score.value for t in part.targets] == pytest.approx([4 / 6, 4 / 6, 3 / 5])
    assert [t.score.trivial for t in part.targets] == pytest.approx([2 / 6, 1, 3 / 5])     # a top may be right of three
    assert [t.wanted for t in part.targets] == [0.794, 0.95, 0.75]
    for target in part.targets:
        assert target.score.low < target.score.value < target.score.high
    assert list(part.targets[0].labels.values()) == protocol()["labels"]["clothing_dataset"]["17 classes"]
    text = text_of(part)
    for words in ("top-1 of 17 words", "a garment is found", "the largest garment is right", ".667", ".794", "0.95"):
        assert words.lstrip("0") in text
    report = Report("", "street", CANVAS, "", "cpu", False, "all", [part], ())
    assert report.summary()["clothing_dataset.largest_right"] == pytest.approx(3 / 5)
    assert json.loads(json.dumps(report.to_dict(), allow_nan=False))["sets"][0]["targets"][1]["wanted"] == 0.95


def test_answers_are_those_of_the_thresholds(items: ClothingDataset) -> None:
    never = about(label_thresholds=(1.0,) * STREET.num_labels)
    part = score(items, hand_made(), never, name="clothing_dataset")
    assert [t.score.value for t in part.targets] == pytest.approx([4 / 6, 3 / 6, 2 / 5])


def test_weights_files_are_judged_though_they_carry_no_teaching(
    items: ClothingDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hemline.tagger.open_runtime", lambda *_, **__: hand_made())
    weights = write_weights(tmp_path / "w.safetensors", about())
    (part,) = evaluate(weights, {"clothing_dataset": items.path}, split="all").sets
    assert [t.score.value for t in part.targets] == pytest.approx([4 / 6, 4 / 6, 3 / 5])


def test_answers_are_not_judged_in_training(items: ClothingDataset) -> None:
    prepared = hand_made()

    class Net(torch.nn.Module):
        def forward(self, pixels: torch.Tensor, valid: torch.Tensor) -> Output:
            answer = prepared(pixels.numpy(), valid.numpy())
            return Output(torch.from_numpy(answer.masks), torch.from_numpy(answer.labels))

    dataset: Dataset = items
    network: Any = Net()
    trained = about(data=[{"name": "clothing_dataset", "terms": "CC0-1.0", "photos": 6}])
    sources = [Source(dataset, [], np.ones(0), range(len(dataset)))]
    (part,) = score_network(network, sources, trained, device=torch.device("cpu")).sets
    assert [t.name for t in part.targets] == ["top1"]            # its thresholds are chosen afterwards


# -- who is not judged ---------------------------------------------------------------------------------------


def test_other_sets_have_no_such_scores() -> None:
    part = measure(many())
    assert part.targets == []
    assert "judged" not in text_of(part)
    assert measure([coat_and_shoe(1)], name="clothing_attributes").targets == []   # a space that does not teach it


def test_a_label_space_without_the_labels_has_no_score(tmp_path: Path) -> None:
    plain = STREET.to_dict()
    teach: dict[str, Any] = json.loads(json.dumps(STREET.teach["clothing_attributes"]))
    plain["groups"] = [group for group in plain["groups"] if group["name"] not in ("upper", "item")]
    gone = {label.name for label in STREET.labels if label.group in ("upper", "item")}
    for entry in teach["words"].values():
        entry["is"] = [name for name in entry.get("is", []) if name not in gone]
    space = LabelSpace.from_dict(plain | {"teach": {"clothing_attributes": teach}})
    assert meant(space, "clothing_attributes") == {}
    dataset = ClothingAttributes(write_attributes(tmp_path, people(count=4)), space)
    part = score(dataset, guesses(4, space), about(space), name="clothing_attributes")
    assert part.targets == []
    assert part.labels
    assert "judged" not in text_of(part)
