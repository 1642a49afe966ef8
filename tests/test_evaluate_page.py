"""`evaluate --report`: the page says what the evaluation found, for every kind of it, and holds all that it needs."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from hemline.cli import app
from hemline.data import DATASETS
from hemline.data.sample import WHOLE_PHOTO, Region, Sample
from hemline.errors import UnwritableError
from hemline.evaluate import evaluate
from hemline.evaluate_page import FIGURES, PAGE, evaluation_page
from hemline.evaluation_charts import LEFT, SIDE, TOP, Bar, bars, curve, reliability
from hemline.evaluation_figures import of_labels
from hemline.evaluation_sections import MOST_CLASSES, MOST_CURVES
from hemline.evaluation_summary import lead, rounded, summary
from hemline.metrics import LabelScores
from hemline.photo_answers import BEST, WORST
from tests.coco_files import annotation, box, image, rle, write
from tests.test_evaluate_instances import Finding, perfect
from tests.test_run_report import Checked
from tests.toy import COAT, SHOE, Oracle, Toy, many, metadata, picture, right, said, write_weights

EVIL = "<script>alert('x')</script>&\""


class LabelsOnly(Toy):
    """Photos on which nothing is drawn."""

    terms = EVIL

    def __init__(self) -> None:
        samples = [picture(number) for number in range(1, 21)]
        for number, sample in enumerate(samples, start=1):
            sample.targets[:] = -1
            sample.regions.append(Region(WHOLE_PHOTO, said(winter=number % 2, coat=number % 3 == 0)))
        super().__init__(samples)


def no_coat() -> Sample:
    """A photo that shows a shoe and no coat, where one is answered."""
    rows = slice(0, 32)
    sample = picture(1, (SHOE, slice(4, 16), rows), (COAT, slice(20, 28), rows))
    sample.segments[sample.segments == 2] = 0
    return replace(sample, key=EVIL)


def evaluated(
    folder: Path, *sets: str, runtime: Any = None, about: dict[str, Any] | None = None, **options: Any
) -> Any:
    """Evaluates the toy sets; returns the report, figures.json and the page, which has been checked."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(DATASETS, "toy", lambda path, space: Toy(many()))
        patch.setitem(DATASETS, "alone", lambda path, space: Toy([no_coat()]))
        patch.setitem(DATASETS, "words", lambda path, space: LabelsOnly())
        for name in ("open_runtime", "open_finder"):
            patch.setattr(f"hemline.tagger.{name}", lambda *_, **__: runtime or Oracle(right))
        weights = write_weights(folder / "toy.safetensors", metadata(**(about or {})))
        page = folder / "new" / "page"
        asked = {"transplant": False, "instances": False} | options
        report = evaluate(weights, dict.fromkeys(sets), split="all", page=page, **asked)
    assert sorted(file.name for file in page.iterdir()) == [FIGURES, PAGE]
    text = (page / PAGE).read_text(encoding="utf-8")
    return report, json.loads((page / FIGURES).read_text(encoding="utf-8")), Checked(text), text


@pytest.fixture(scope="module")
def of_toy(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Of one set with masks and labels."""
    return evaluated(tmp_path_factory.mktemp("toy"), "toy")


# -- the figures are those of the evaluation ---------------------------------------------------------------------------


def test_the_page_says_what_was_measured(of_toy: Any) -> None:
    report, figures, page, text = of_toy
    assert figures["report"] == json.loads(json.dumps(report.to_dict()))
    (part,) = report.sets
    for figure in (part.masks.mean_iou, part.masks.pixel_accuracy, part.labels.mean_average_precision):
        assert page.text.count(f"{figure.value:.3f}") >= 2
        assert f"{figure.low:.3f} to {figure.high:.3f}" in page.text
    for one in part.masks.classes:
        row = f"<td>{one.name}</td>"
        assert f'<td data-value="{one.iou.value}">{one.iou.value:.3f}</td>' in text.partition(row)[2][:400]
    for label in part.labels.labels:
        said = [words for words in page.said if words.startswith(f"{label.name}: average precision")]
        assert any(f"{label.average_precision.value:.3f}, by chance {label.prior:.3f}" in words for words in said)
        at = f"at {label.threshold:.3f} precision {label.precision:.3f}, recall {label.recall:.3f}"
        assert any(at in words for words in said)
    sizes = figures["sets"][0]["sizes"]
    assert sum(size["garments"] for size in sizes) == sum(
        one.photos for one in part.masks.classes if one.name in ("coat", "shoe")
    )


def test_the_curves_hold_the_thresholds_of_the_report(of_toy: Any) -> None:
    report, figures, *_ = of_toy
    labels = {label.name: label for label in report.sets[0].labels.labels}
    curves = {one["name"]: one["points"] for one in figures["sets"][0]["labels"]["curves"]}
    assert set(curves) == set(labels)
    for name, points in curves.items():
        above = [point for point in points if point[0] > labels[name].threshold]
        if above and above[-1][2] < 1:
            assert above[-1][1:] == pytest.approx([labels[name].precision, labels[name].recall], abs=1e-5)
        gained = np.diff([0, *(point[2] for point in points)])
        area = sum(point[1] * step for point, step in zip(points, gained, strict=True))
        assert area == pytest.approx(labels[name].average_precision.value, abs=1e-4)


def test_what_is_confused_is_a_share_of_the_truth(tmp_path: Path) -> None:
    blind = Oracle(right, blind=(1,))  # shoes are answered as background
    report, _, page, text = evaluated(tmp_path, "toy", runtime=blind)
    confusion = np.array(report.sets[0].masks.confusion)
    total = confusion[2].sum()
    assert confusion[2, 0] == total > 0
    assert f"shoe answered as background: 100.0% of its pixels, {total:,} of {total:,}" in text
    assert "shoe for background (100%)" in page.text


def test_photos_are_shown_beside_truth_and_answer_and_said_to_be(of_toy: Any) -> None:
    _, _, page, text = of_toy
    assert 2 <= text.count("<article") <= WORST + BEST
    assert text.count("<img") == 3 * text.count("<article")
    assert f"This page holds {text.count('<article')} photos of the sets below" in page.text
    first = text.partition("<article")[2].partition("</article>")[0]
    assert [first.index(word) for word in ("<b>Photo</b>", "<b>Truth</b>", "<b>Answer</b>")] == sorted(
        first.index(word) for word in ("<b>Photo</b>", "<b>Truth</b>", "<b>Answer</b>")
    )


# -- every kind of evaluation ------------------------------------------------------------------------------------------


def test_several_sets_stand_side_by_side(tmp_path: Path) -> None:
    report, figures, page, text = evaluated(tmp_path, "toy", "words", soft=True)
    assert len(report.sets) == len(figures["sets"]) == 2
    assert "words: no pixel's class is known, so there is no confusion." in page.text
    assert "Labels that several sets know" in page.text
    assert "Soft IoU and F1" in page.text
    assert "<script>alert" not in text
    assert EVIL in page.text, "the terms of a set are said as they are"


def test_sets_without_drawings_have_no_masks_and_say_so(tmp_path: Path) -> None:
    _, figures, page, text = evaluated(tmp_path, "words")
    assert figures["sets"][0]["sizes"] == []
    assert "words: no map of classes shows a garment" in page.text
    assert "One set was measured" in page.text
    assert 'class="heat' not in text.partition("<body>")[2]
    assert "label AP" in page.text


def test_networks_that_find_instances(tmp_path: Path) -> None:
    report, _, page, _ = evaluated(tmp_path, "toy", runtime=Finding(perfect), about={"finds": "instances"},
                                   transplant=True, instances=True)  # fmt: skip
    ap = report.sets[0].instances.summary()["mask.ap"]
    assert f"the average precision of masks is {ap:.2f}" in page.text
    assert "Transplant" in page.text, "why garments are not repainted is in the tables"


def test_exclusive_masks_without_instances(tmp_path: Path) -> None:
    report, _, page, _ = evaluated(tmp_path, "toy", about={"recipe": {"masks": "exclusive"}})
    assert f"{report.sets[0].masks.mean_iou.value:.3f}" in page.text
    assert "Garments one by one" not in page.text


def test_a_file_of_predictions_has_a_page_without_photos(tmp_path: Path) -> None:
    coat = box(2, 3, 10, 8)
    categories = [{"id": 3, "name": EVIL, "supercategory": "upperbody"}]
    truth = write(
        tmp_path / "truth.json", [image(1, "a.jpg")],
        [annotation(1, 1, 3, rle(coat, compressed=True), bbox=[3, 2, 8, 10])], categories,
    )  # fmt: skip
    answers = tmp_path / "results.json"
    row = {"image_id": 1, "category_id": 3, "score": 0.9, "segmentation": rle(coat, compressed=True)}
    answers.write_text(json.dumps([row]), encoding="utf-8")
    asked = ["evaluate", "--predictions", str(answers), "--data", f"coco={truth}", "--report", str(tmp_path / "page")]
    ran = CliRunner().invoke(app, asked)
    assert ran.exit_code == 0, ran.output
    page = Checked((tmp_path / "page" / PAGE).read_text(encoding="utf-8"))
    assert "the average precision of masks is 1.00" in page.text
    assert "This page holds no photo." in page.text
    assert "coco: no label is known both yes and no, so there are no curves." in page.text
    assert EVIL in page.text


def test_one_photo_that_shows_no_coat_has_a_page_without_holes(tmp_path: Path) -> None:
    report, figures, page, text = evaluated(tmp_path, "alone", instances=True)
    (part,) = report.to_dict()["sets"]
    coat = next(one for one in part["masks"]["classes"] if one["name"] == "coat")
    assert (coat["photos"], coat["iou"]["value"]) == (0, 0)
    assert "hair" not in {one["name"] for one in part["masks"]["classes"]}, "neither drawn nor answered"
    assert "Measured on 1 photo of alone" in page.text
    assert "<script>alert" not in text, "the name of a photo is text"
    assert EVIL in page.text
    assert "In no photo, so that any answer is wrong: coat" in page.text
    assert text.count("<article") == 1
    words = set("".join(sign if sign.isalnum() else " " for sign in page.text).split())
    assert not {"nan", "NaN", "None", "inf"} & words
    assert '"nan' not in text
    assert figures["sets"][0]["sizes"][0]["photos"] == 1


# -- in plain words ----------------------------------------------------------------------------------------------------


def test_the_first_sentences_count_of_a_hundred() -> None:
    part = {"masks": {"pixel_accuracy": {"value": 0.9971, "trivial": 0.004}, "foreground_accuracy": {"value": 0.25}}}
    none: dict[str, Any] = {"labels": None, "garments": None}
    said = lead(part, none | {"labels": {"in_use": {"answered": 25, "right": 15, "true": 50, "never_answered": 1}}})
    assert "Of 100 pixels, more than 99 get the right class; fewer than 1 would" in said
    assert "Of 100 pixels that show something else, 25 do." in said
    assert "Of 100 labels of whole photos that are answered, 60 are right" in said
    assert "; of 100 that are true, 30 are answered." in said
    assert "1 label is never answered." in said
    said = lead({}, none | {"garments": {"in_use": {"answered": 0, "right": 0, "true": 3, "never_answered": 2}}})
    assert "single garments that are answered, none are right; of 100 that are true, 0 are answered" in said
    found = {"instances": {"scores": [{"name": "box.ap", "value": 0.256}]}}
    assert lead(found, none) == "Of a best possible 1, finding each garment once, with its place, scores 0.26."
    assert lead({}, none) == "Nothing could be scored in plain words."


def test_what_is_in_use_is_what_each_label_says(of_toy: Any) -> None:
    report, figures, page, _ = of_toy
    for scored, more in zip((report.sets[0].labels, report.sets[0].garments), ("labels", "garments"), strict=True):
        found = figures["sets"][0][more]["in_use"]
        assert found["true"] == sum(label.positives for label in scored.labels)
        assert found["right"] == pytest.approx(sum(label.recall * label.positives for label in scored.labels))
        assert found["answered"] == pytest.approx(
            sum(label.recall * label.positives / label.precision for label in scored.labels if label.precision > 0)
        )
        assert f"that are answered, {100 * found['right'] / found['answered']:.0f} are right" in page.text


def test_the_summary_names_the_best_the_worst_and_the_surest(of_toy: Any) -> None:
    plain = json.loads(json.dumps(of_toy[1]))
    masks, found = plain["report"]["sets"][0]["masks"], plain["sets"][0]["labels"]["calibration"]["overall"]
    masks["classes"][1:] = [
        masks["classes"][1] | {"name": name, "photos": 20, "iou": {"value": iou, "low": 0, "high": 1, "trivial": 0}}
        for name, iou in (("middle", 0.5), ("high", 0.9), ("low", 0.1))
    ]
    masks["pixel_accuracy"] = {"value": 0.929, "low": 0.913, "high": 0.945, "trivial": 0.77}
    found["bins"][-1] |= {"answers": 37, "true": 0.838, "score": 0.981}
    text = summary(plain)
    assert "the best by IoU: high (0.90); the worst: low (0.10)" in text
    assert "92.9 % (91.3 to 94.5) of the pixels" in text
    assert "of the 37 answers with a score of 0.9 or more, 83.8 % are true; their mean score is 98.1 %" in text


def test_each_label_has_its_own_curve_and_calibration_and_the_unknown_counts_nowhere() -> None:
    scores = LabelScores(["many", "few"], [0.5, 0.25])
    scores.update(np.array([[0.9, 0.5], [0.6, 0.1]]), np.array([[1, 0], [1, 1]], np.int8))
    scores.update(np.array([[0.2, 0.9], [0.7, 0.3]]), np.array([[0, -1], [0, -1]], np.int8))
    found = of_labels(scores, scores.compute(resamples=2))
    assert found is not None
    many, few = found["curves"]
    assert many["points"] == [[0.9, 1.0, 0.5], [0.7, 0.5, 0.5], [0.6, 0.666667, 1.0], [0.2, 0.5, 1.0]]
    assert few["points"] == [[0.5, 0.0, 0.0], [0.1, 0.5, 1.0]]
    told = [(one["name"], one["positives"], one["known"]) for one in found["calibration"]["labels"]]
    assert told == [("many", 2, 4), ("few", 1, 2)]
    assert found["in_use"] == {"answered": 4, "right": 2, "true": 3, "never_answered": 0}


def test_a_third_decimal_is_said_where_the_interval_is_narrow() -> None:
    assert rounded({"value": 0.4567, "low": 0.41, "high": 0.49}) == "0.46 (0.41 to 0.49)"
    assert rounded({"value": 0.4567, "low": 0.4512, "high": 0.4621}) == "0.457 (0.451 to 0.462)"
    assert rounded({"value": 0.4567, "low": None, "high": None}) == "0.46"
    assert rounded({"value": None}) == "-"


def test_a_bar_is_as_long_as_its_figure_and_its_marks_stand_where_they_should() -> None:
    text = bars("IoU", [Bar(EVIL, 0.5, 0.25, 0.75, 0.125, 7)], "photos")
    assert 'width:50.0%"' in text
    assert 'left:25.0%;width:50.0%"' in text
    assert '<s style="left:12.5%">' in text
    assert "0.250 to 0.750" in text
    assert "<script" not in text


def test_curves_and_diagrams_run_right_and_up() -> None:
    """The plot's square is SIDE units wide; (0, 0) is its lower left corner."""
    ap = {"value": 0.5, "low": 0.25, "high": 0.75}
    label = {"name": EVIL, "prior": 0.25, "average_precision": ap, "precision": 0.75, "recall": 0.5, "threshold": 0.3,
             "positives": 2, "known": 4}  # fmt: skip
    text = curve(label, [[0.9, 1.0, 0.5], [0.1, 0.5, 1.0]])
    assert f'd="M{LEFT + SIDE / 2:.1f} {TOP:.1f}L{LEFT + SIDE:.1f} {TOP + SIDE / 2:.1f}"' in text
    assert f'cx="{LEFT + SIDE / 2:.1f}" cy="{TOP + SIDE / 4:.1f}"' in text
    assert f'y1="{TOP + 0.75 * SIDE:.1f}" y2="{TOP + 0.75 * SIDE:.1f}"' in text
    assert "<script" not in text
    one = {"low": 0.2, "answers": 4, "score": 0.25, "true": 0.75, "true_low": 0.5, "true_high": 1.0}
    diagram = reliability({"name": EVIL, "error": 0.5, "bins": [one]})
    assert f'cx="{LEFT + SIDE / 4:.1f}" cy="{TOP + SIDE / 4:.1f}"' in diagram
    assert f'y1="{TOP + SIDE / 2:.1f}" y2="{TOP:.1f}"' in diagram
    assert "<script" not in diagram


def test_pictures_are_there_when_the_page_is_printed(of_toy: Any) -> None:
    """A browser does not wait for lazy pictures to print, and paints hatching as pixels: 22 MB instead of 1."""
    text = of_toy[3]
    assert "loading=" not in text
    printed = text.partition("@media print{:root")[2].partition("</style>")[0]
    assert ".heat .none{background:var(--line)}" in printed


# -- limits and mishaps ------------------------------------------------------------------------------------------------


def test_hostile_names_stay_text_and_many_classes_are_cut(of_toy: Any) -> None:
    _, figures, *_ = of_toy
    plain = json.loads(json.dumps(figures).replace("coat", EVIL.replace('"', '\\"')).replace("winter", "w</svg>"))
    (part,), (more,) = plain["report"]["sets"], plain["sets"]
    part["name"], plain["report"]["weights"], plain["license"]["weights"] = EVIL, EVIL, EVIL
    num = MOST_CLASSES + 20
    part["masks"]["confusion"] = np.eye(num, dtype=int).tolist()
    part["masks"]["confusion_classes"] = [f"{EVIL}{i}" for i in range(num)]
    label, points = part["labels"]["labels"][0], more["labels"]["curves"][0]["points"]
    part["labels"]["labels"] = [label | {"name": f"l{i}"} for i in range(MOST_CURVES + 5)]
    more["labels"]["curves"] = [{"name": f"l{i}", "points": points} for i in range(MOST_CURVES + 5)]
    text = evaluation_page(plain)
    page = Checked(text)
    assert "<script>alert" not in text
    assert page.text.count("alert('x')") > 20
    assert f"The {MOST_CLASSES} classes with the most pixels of {num}." in page.text
    assert f"{MOST_CURVES} of {MOST_CURVES + 5} labels" in page.text


def test_a_label_that_is_never_answered_has_no_dot(of_toy: Any) -> None:
    _, figures, *_ = of_toy
    plain = json.loads(json.dumps(figures))
    for label in (plain["report"]["sets"][0][kind]["labels"] for kind in ("labels", "garments")):
        for one in label:
            one["precision"] = None
    text = evaluation_page(plain)
    assert "never answered" in " ".join(Checked(text).said)
    assert 'class="chosen"' not in text


def test_a_folder_that_cannot_be_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    def never(number: int) -> Any:
        raise AssertionError(number)

    (tmp_path / "new").write_text("a file")
    with pytest.raises(UnwritableError, match="cannot be made"):
        evaluated(tmp_path, "toy", runtime=Oracle(never))
