"""The page of a run: its curves, its tables, the photos that it chooses, and that it never costs the run."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score

from hemline import photo_answers as photos
from hemline import run_report
from hemline.config import Data
from hemline.data.loading import Source
from hemline.data.sample import WHOLE_PHOTO, Region
from hemline.evaluate import Report
from hemline.line_chart import HIGH, LEFT, MOST_POINTS, TOP, WIDE, Point, line_chart, thinned
from hemline.metadata import read_metadata
from hemline.photo_answers import extremes, photo_answers
from hemline.run_page import best_line, photos_of, run_page
from hemline.runtime import Answer
from hemline.train import train
from tests.toy import COAT, SHOE, SIDE_TO_SIDE, Oracle, Toy, logits, many, measure, metadata, picture, right

EVIL = "<script>alert('x')</script>&\""
LINE = {"epoch": 1, "loss": 2.5, "losses": {"bce": 1.5, "dice": 1.0}, "lr": 1e-3, "photos_per_second": 8.0,
        "data_wait": 0.25, "gpu_memory": None, "best": True, "headline": 0.5, "ccp.mean_iou": 0.5}  # fmt: skip
VOID = {"meta", "img", "br", "hr", "link", "input"}


class Checked(HTMLParser):
    """Refuses tags that do not close in turn, pictures without words, and whatever would be fetched."""

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.links, self.words, self.said = [], [], [], [], []
        self.feed(text)
        self.close()
        assert not self.open
        assert len(set(self.ids)) == len(self.ids)
        assert {link.removeprefix("#") for link in self.links} <= set(self.ids)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        assert len(given) == len(attrs), "an attribute is given twice"
        assert tag not in {"link", "iframe", "object", "embed", "base", "form"}
        assert not any(name.startswith("on") for name in given)
        for name in ("src", "srcset", "poster", "data", "xlink:href"):
            assert given.get(name, "data:").startswith("data:")
        if "href" in given:
            assert given["href"].startswith("#")
            self.links.append(given["href"])
        if "id" in given:
            self.ids.append(given["id"])
        if tag == "img":
            assert given["alt"]
            self.said.append(given["alt"])
        if tag == "svg":
            assert given.get("aria-hidden") == "true" or (given["role"] == "img" and given["aria-label"])
            self.said.append(given.get("aria-label", ""))
        if tag not in VOID and not self.get_starttag_text().endswith("/>"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.get_starttag_text().endswith("/>") or self.open[-1:] == [tag]:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in {"style", "script"}:
            assert "http" not in data
            assert "@import" not in data
            assert "url(" not in data
        else:
            self.words.append(data)

    @property
    def text(self):
        return " ".join(self.words)


# -- curves ----------------------------------------------------------------------------------------------------


def path_of(markup, number=0):
    """The points of a curve, in units of the picture; those of the legend have no decimals."""
    paths = [path for path in re.findall(r' d="M([^"]+)"', markup) if "." in path]
    return [tuple(float(value) for value in point.split()) for point in paths[number].split("L")]


def test_points_stand_where_their_figures_are():
    curve = [Point(1, 4.0), Point(2, 1.0), Point(5, 0.0)]
    got = path_of(line_chart("loss", {"loss": curve}))
    assert got == [(LEFT, TOP), (LEFT + WIDE / 4, TOP + HIGH * 0.75), (LEFT + WIDE, TOP + HIGH)]


def test_what_is_below_zero_has_room_and_zero_is_marked():
    markup = line_chart("loss", {"loss": [Point(1, 3.0), Point(2, -1.0)]})
    assert path_of(markup) == [(LEFT, TOP), (LEFT + WIDE, TOP + HIGH)]
    assert {"-1", "0", "1", "2", "3"} <= set(re.findall(r">([^<]+)</text>", markup))


def test_one_epoch_is_a_dot_in_the_middle():
    markup = line_chart("loss", {"loss": [Point(1, 2.0)]})
    assert f'cx="{LEFT + WIDE / 2:.1f}" cy="{TOP:.1f}"' in markup
    assert re.findall(r'text-anchor="middle">([^<]+)<', markup) == ["1", "epoch"]
    assert "2 after epoch 1" in Checked(markup).said[0]


def test_figures_that_are_all_zero_have_an_axis():
    assert path_of(line_chart("wait", {"wait": [Point(1, 0.0), Point(2, 0.0)]}))[1] == (LEFT + WIDE, TOP + HIGH)


def test_no_point_is_said_and_not_drawn():
    assert "<svg" not in line_chart("loss", {"loss": []})


def test_names_beyond_six_are_told_apart():
    markup = line_chart("terms", {f"term {i}": [Point(1, 1.0), Point(2, i)] for i in range(13)})
    strokes = re.findall(r'd="M[^"]+\.[^"]+" (style="[^"]+"(?: stroke-dasharray="[^"]+")?)', markup)
    assert len(strokes) == len(set(strokes)) == 13


def test_a_long_run_is_thinned_and_keeps_its_ends():
    markup = line_chart("loss", {"loss": [Point(epoch, 1 / epoch) for epoch in range(1, 5001)]})
    assert len(path_of(markup)) == MOST_POINTS
    assert "200 of 5000 epochs" in markup
    assert len(markup) < 40_000
    assert thinned(range(10), 4) == [0, 3, 6, 9]


def test_where_a_run_was_resumed_is_marked():
    markup = line_chart("loss", {"loss": [Point(1, 1.0), Point(2, 2.0), Point(3, 1.0)]}, [2, 7])
    middle = f"{LEFT + WIDE / 2:.1f}"
    assert f'<line class="resumed" x1="{middle}" x2="{middle}"' in markup
    assert markup.count("resumed after") == 1, "what lies beyond the curve is not drawn"


# -- the page --------------------------------------------------------------------------------------------------


def test_a_page_of_one_epoch(tiny_config):
    page = run_page(tiny_config, [LINE], [], None)
    checked = Checked(page)
    assert "1 of 1" in checked.text
    assert "0.500" in checked.text
    assert any(said.startswith("Validation: ccp. mean IoU: 0.5 after epoch 1") for said in checked.said)
    assert any("bce: 1.5 after epoch 1; dice: 1 after epoch 1" in said for said in checked.said)


def test_every_text_is_escaped(tiny_config):
    line = LINE | {"losses": {EVIL: 1.0}, f"{EVIL}.mean_iou": 0.1}
    start = {"started": EVIL, "command": EVIL, "gpus": [{"name": EVIL}], "cpu": {"model": EVIL, "cores": 2},
             "git": {"commit": EVIL}, "packages": {EVIL: EVIL}, "resumed_at": {"epoch": 1, "step": EVIL}}  # fmt: skip
    figure = {"value": 0.1, "low": 0.0, "high": 1.0, "trivial": 0.2}
    classes = [{"name": EVIL, "photos": 1, "pixels": 2, "iou": figure, "dice": figure}]
    part = {"name": EVIL, "photos": 3, "terms": EVIL, "left_out": [EVIL],
            "masks": {"mean_iou": figure, "classes": classes},
            "targets": [{"what": EVIL, "score": figure}], "labels": {"labels": [{"name": EVIL}]},
            "instances": {"scores": [{"name": EVIL}], "categories": [{"name": EVIL}]}}  # fmt: skip
    weights = metadata(metrics={"sets": [part]}, data=[{"name": EVIL, "terms": EVIL, "photos": 4}])
    page = run_page(replace(tiny_config, license=EVIL, init=EVIL, labels=EVIL), [line], [start], weights)
    assert "<script>alert" not in page
    assert Checked(page).text.count("alert('x')") > 20


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [{}],
        [{"epoch": 1}],
        [{"epoch": 1, "losses": None, "loss": None, "headline": None}],
        [{"epoch": 1, "loss": float("nan"), "lr": float("inf"), "losses": {"bce": float("nan")}}],
        [{"epoch": 1, "loss": "much", "losses": [3], "ccp.mean_iou": True}],
    ],
)
def test_what_is_missing_or_not_finite_is_left_out(tiny_config, lines):
    checked = Checked(run_page(tiny_config, lines, [{}, {"gpus": None, "git": None, "cpu": 3}], metadata()))
    assert not [word for word in ("nan", "inf", "None") if re.search(rf"\b{word}\b", " ".join(checked.said))]


def test_a_resumed_run_says_so_and_goes_on(tiny_config):
    """The second epoch had no step left, so it has no photos/s; the third was measured and is not the best."""
    lines = [LINE, LINE | {"epoch": 2, "photos_per_second": None, "best": False, "headline": 0.6},
             LINE | {"epoch": 3, "best": False, "headline": 0.4}]  # fmt: skip
    starts = [{"started": "2030-01-01"}, {"started": "2030-01-02", "resumed_at": {"epoch": 2, "step": 5}}]
    checked = Checked(run_page(replace(tiny_config, epochs=9), lines, starts, metadata(metrics={"sets": []})))
    assert "3 of 9" in checked.text
    assert "in 2 starts" in checked.text
    assert "2030-01-02; resumed after epoch 2, step 5 of the next" in checked.text
    assert "Figures after epoch 3" in checked.text
    assert "Epoch 1 was better." in checked.text
    rates = next(said for said in checked.said if said.startswith("Photos a second"))
    assert rates == "Photos a second. photos/s: 8 after epoch 1, 8 after epoch 3"


def test_the_best_is_the_last_that_said_so():
    lines = [LINE, LINE | {"epoch": 2}, LINE | {"epoch": 3, "best": False}]
    assert best_line(lines)["epoch"] == 2
    assert best_line([{"epoch": 1, "headline": 0.2}, {"epoch": 2, "headline": 0.3}])["epoch"] == 2
    assert best_line([{"epoch": 1, "headline": None}]) is None


# -- the photos ------------------------------------------------------------------------------------------------


def test_the_worst_and_the_best_are_told_apart():
    scores = {"a": 0.5, "b": 0.1, "c": 0.9, "d": 0.1, "e": 0.7}
    assert extremes(scores, 2, 2) == (["b", "d"], ["c", "e"])
    assert extremes(scores, 4, 4) == (["b", "d", "a", "e"], ["c"]), "no photo twice"
    assert extremes({}, 6, 4) == ([], [])


def bands(number, *rows):
    """A photo of 32 rows, with garments from side to side: (class, first row, end)."""
    return picture(number, *((k, slice(first, end), SIDE_TO_SIDE) for k, first, end in rows))


def drawn():
    """Photos whose mean IoU is known when nobody sees shoes."""
    return [
        bands(1, (COAT, 8, 24)),                         # all right: 1
        bands(2, (COAT, 8, 24), (SHOE, 24, 32)),         # background 8 of 16, coat all, shoe 0: 0.5
        bands(3, (SHOE, 8, 32)),                         # background 8 of 32, shoe 0: 0.125
        bands(4, (COAT, 0, 8), (SHOE, 8, 28)),           # background 4 of 24, coat all, shoe 0: 7/18
    ]


def test_a_photo_scores_the_mean_iou_of_what_it_or_its_answer_shows():
    nobody = bands(5, (COAT, 8, 24))
    nobody.targets[1] = 0                                # what looks like a coat is none: background 16 of 32, coat 0
    got = measure([*drawn(), nobody], Oracle(blind=(SHOE,))).photo_scores
    assert got == pytest.approx({"toy/1": 1.0, "toy/2": 0.5, "toy/3": 0.125, "toy/4": 7 / 18, "toy/5": 0.25})


def test_a_photo_of_which_no_pixel_is_known_has_no_score():
    nothing = replace(drawn()[0], targets=np.full((2, 4), -1, np.int8), key="toy/9")
    assert set(measure([*drawn(), nothing]).photo_scores) == {f"toy/{i}" for i in range(1, 5)}


def test_where_nothing_is_drawn_a_photo_scores_as_its_labels_are_ranked():
    random = np.random.default_rng(0)
    answers = {number: random.normal(size=6).astype(np.float32) for number in range(1, 7)}
    samples, expected = [], {}
    for number in answers:
        known = random.integers(-1, 2, 6).astype(np.int8)
        known[:2] = (1, 0) if number != 6 else (-1, -1)
        known[2:] = known[2:] if number != 6 else 1      # of the last, nothing is false
        sample = picture(number)
        sample.targets[:] = -1
        sample.regions = [Region(WHOLE_PHOTO, known)]
        samples.append(sample)
        if number != 6:
            at = known >= 0
            expected[sample.key] = average_precision_score(known[at], answers[number][at])
    got = measure(samples, Oracle(lambda number: logits(photo=answers[number]))).photo_scores
    assert got == pytest.approx(expected)


def shown(samples, oracle, **changes):
    """The photos' section, and the report that it is of."""
    sets = [measure(samples, oracle)]
    report = Report("toy", "toy", (32, 32), "torch", "cpu", False, "validation", sets, ())
    source = Source(Toy(samples), [], np.zeros(0), range(len(samples)))
    return photo_answers(report, [source], oracle, metadata(**changes)), report


def test_the_worst_photo_comes_first_with_answer_and_truth():
    markup, _ = shown(drawn(), Oracle(blind=(SHOE,)))
    order = re.findall(r"<h4>(\S+) <b>mean IoU ([\d.]+)", markup)
    assert order == [("toy/3", "0.125"), ("toy/4", "0.389"), ("toy/2", "0.500"), ("toy/1", "1.000")]
    checked = Checked(markup)
    assert checked.said[:4] == [
        "Answer drawn on toy/3: 0 garments, listed below", "Truth drawn on toy/3: 0 garments, listed below",
        "Answer drawn on toy/4: 1 garment, listed below", "Truth drawn on toy/4: 0 garments, listed below",
    ]  # fmt: skip
    assert "IoU: shoe 0.00, background 0.25" in checked.text
    assert "whoever has the file has them" in checked.text


def test_truth_and_attributes_are_listed():
    markup, report = shown(many(), Oracle(right))
    text = Checked(markup).text
    assert "the worst of 40 photos" in text
    assert len(re.findall("<article", markup)) == photos.WORST + photos.BEST
    assert re.search(r"coat 0\.\d\d, stripe ", text), "the answer has a score"
    assert "coat, stripe " in text, "the truth has none"
    assert not any(key in json.dumps(report.to_dict()) for key in ("toy/1", "photo_scores"))


def test_pictures_have_a_bound(monkeypatch):
    whole, _ = shown(many(), Oracle(right))
    each = [len(found) * 3 / 4 for found in re.findall(r"base64,([^\"]+)", whole)]
    monkeypatch.setattr(photos, "PICTURE_BYTES", sum(each[:6]) + 2)
    fewer, _ = shown(many(), Oracle(right))
    assert len(re.findall("<article", fewer)) == 3


def test_many_photos_full_of_detail_stay_below_three_megabytes(tiny_config):
    random = np.random.default_rng(0)
    samples = []
    for number in range(12):
        sample = picture(number, (COAT, slice(0, 300), slice(0, 600)), size=(800, 600))
        samples.append(replace(sample, photo=random.integers(0, 256, (800, 600, 3)).astype(np.uint8)))

    def answer(pixels, valid):
        return Answer(np.full((len(pixels), 4, 8, 8), 4, np.float32), np.zeros((len(pixels), 5, 6), np.float32))

    markup, _ = shown(samples, answer)
    assert 300_000 < len(run_page(tiny_config, [LINE], [], metadata(), markup)) < 3_000_000


# -- a run -----------------------------------------------------------------------------------------------------


@pytest.fixture
def config(tiny_config, tmp_path):
    data = (Data(name="synthetic", options={"count": 10, "canvas": [64, 64]}),)
    return replace(tiny_config, data=data, validation=0.5, out=str(tmp_path))


def test_a_run_leaves_its_page_and_one_that_cannot_be_made_costs_a_sentence(config, tmp_path, monkeypatch, capsys):
    """Neither changes anything of the run."""
    train(config)
    page = (tmp_path / "tiny/report.html").read_text()
    assert len(page) < 3_000_000
    text = Checked(page).text
    assert "1 of 1" in text
    assert "Worst and best answers after epoch 1" in text
    assert "Drawn by Hemline" in text
    metrics = read_metadata(tmp_path / "tiny/best.safetensors").metrics
    assert f"{metrics['sets'][0]['masks']['mean_iou']['value']:.3f}" in text
    assert "synthetic/0" not in json.dumps(metrics), "weights name no photo"

    def broken(*_, **__):
        raise RuntimeError("no memory is left\nfor pictures")

    before = tmp_path / "broken/report.html"
    before.parent.mkdir()
    before.write_text("as it was")
    monkeypatch.setattr(run_report, "photo_answers", broken)
    capsys.readouterr()
    assert train(replace(config, name="broken")).exists()
    assert before.read_text() == "as it was"
    sentence = f"{before} is not written anew after epoch 1, and training goes on: no memory is left for pictures"
    assert capsys.readouterr().err == sentence + "\n"

    states = [torch.load(tmp_path / name / "state.pt", weights_only=True) for name in ("tiny", "broken")]
    for key, value in states[0]["average"].items():
        assert torch.equal(value, states[1]["average"][key])
    assert torch.equal(states[0]["rng"][0]["cpu"], states[1]["rng"][0]["cpu"])


def test_epochs_that_are_not_the_best_keep_its_photos(config, tmp_path):
    told = []

    class Watch:
        begin = weighed = step = end = staticmethod(lambda *_: None)

        def epoch(self, report):
            told.append((report.best, photos_of((tmp_path / "tiny/report.html").read_text())))

    train(replace(config, epochs=3, validate_every=2), watcher=Watch())
    (best, none), (_, first), (last_best, last) = told[0], told[1], told[2]
    assert not best
    assert not none, "nothing was measured yet"
    assert "after epoch 2" in first
    assert ("after epoch 3" in last) == last_best
    assert last_best or last == first
