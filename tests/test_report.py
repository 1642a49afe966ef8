"""What an evaluation found, as JSON, as tables and in a few numbers."""

import json
from dataclasses import replace

import pytest
from rich.console import Console

from hemline._bootstrap import Figure
from hemline.report import Report
from hemline.report_tables import report_table
from tests.toy import CANVAS, SHOE, Oracle, coat_and_shoe, many, measure, right


def report_of(answer: Oracle) -> Report:
    part = measure(many(), answer)
    return Report("toy weights", "toy", CANVAS, "oracle", "cpu", False, "all", [part], (0.5,) * 6)


def text_of(report: Report, width: int = 100) -> str:
    console = Console(width=width)
    with console.capture() as captured:
        for table in report_table(report):
            console.print(table)
    return captured.get()


def test_as_json() -> None:
    report = report_of(Oracle(right))
    plain = report.to_dict()
    assert plain["schema_version"] == 1
    mean = {"value": 1, "low": 1, "high": 1, "trivial": pytest.approx(0.25 / 3)}
    assert plain["sets"][0]["masks"]["mean_iou"] == mean
    assert plain["sets"][0]["masks"]["classes"][1]["name"] == "coat"
    assert plain["canvas"] == [32, 32]
    json.dumps(plain, allow_nan=False)


def test_foreground_iou_stands_beside_the_mean_of_classes() -> None:
    """Coat 512 of 768 pixels of foreground, shoe 256 that is not found: 2 / 3, where the mean of classes is 1 / 2."""
    report = report_of(Oracle(right, blind=(SHOE,)))
    assert report.summary()["toy.foreground_iou"] == pytest.approx(2 / 3)
    assert report.to_dict()["sets"][0]["foreground"]["iou"]["trivial"] == 0
    lines = [line.split() for line in text_of(report).splitlines()]
    (line,) = (line for line in lines if line[:3] == ["foreground", "IoU", "(Tangseng)"])
    assert line[3] == ".667"
    assert "then the mean of the photos" in " ".join(text_of(report).split())


def test_what_is_nearly_one_is_written_as_one() -> None:
    part = measure(many(), Oracle(right))
    assert part.masks
    nearly = replace(part.masks, mean_iou=Figure(0.9999999, 0.99949, 1.0, 0.0))
    report = Report("", "", CANVAS, "", "", False, "all", [replace(part, masks=nearly)], ())
    assert ["mean", "of", "3", "1", ".999-1", "0", "1"] in [line.split() for line in text_of(report).splitlines()]


def test_what_cannot_be_said_is_null() -> None:
    plain = report_of(Oracle(right, blind=(SHOE,))).to_dict()
    (winter,) = (label for label in plain["sets"][0]["garments"]["labels"] if label["name"] == "winter")
    assert winter["precision"] is None           # shoes alone know it, and none is found: it is never answered
    assert winter["f1"]["value"] == 0


def test_as_tables() -> None:
    text = text_of(report_of(Oracle(right, blind=(SHOE,))))
    for words in (
        "toy: masks, 40 photos (all)", "mean of 3", "all bg", "pixel accuracy", "labels of the photo",
        "attributes of garments", "20/40", "40 garments were not found", "top-1 pattern", "Left out",
        "coat, shoe, cape",
    ):  # fmt: skip
        assert words in text
    assert "Left out, for want of a yes or a no of them in toy: coat" in " ".join(text.split())
    assert "…" not in text                                        # nothing is cut off at 100 columns


def test_names_in_brackets_are_no_markup() -> None:
    part = measure(many(), Oracle(right), name="[red]mine[/red]")
    assert "[red]mine[/red]: masks" in text_of(Report("", "", CANVAS, "", "", False, "all", [part], ()))


def test_the_headline_is_the_mean_of_masks_and_labels() -> None:
    report = report_of(Oracle(right, blind=(SHOE,)))
    (part,) = report.sets
    assert part.masks
    assert part.masks.mean_iou.value == 0.5       # background 256 / 512, coat 1, shoe 0
    assert part.labels
    assert part.labels.mean_average_precision.value == 1
    assert part.garments
    assert part.garments.mean_average_precision.value == pytest.approx(2.5 / 3)  # winter by chance: 0.5
    assert report.headline == pytest.approx((0.5 + (1 + 2.5 / 3) / 2) / 2)
    assert report.summary()["toy.mean_iou"] == 0.5
    assert report.summary()["toy.labels.mean_average_precision"] == 1
    json.dumps(report.summary(), allow_nan=False)


def test_the_headline_of_a_set_without_labels_is_its_masks() -> None:
    part = measure([coat_and_shoe(1)])
    assert Report("", "", CANVAS, "", "", False, "all", [part], ()).headline == 1


def test_a_set_that_is_there_twice_has_figures_of_its_own_in_the_log() -> None:
    parts = [measure(many(), Oracle(right)), measure(many(), Oracle(right, blind=(SHOE,)))]
    summary = Report("", "", CANVAS, "", "", False, "all", parts, ()).summary()
    assert (summary["toy.mean_iou"], summary["toy 2.mean_iou"]) == (1, 0.5)
    assert "toy 2.labels.mean_average_precision" in summary
