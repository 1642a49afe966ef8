"""The terminal while a network trains: what stands in it at which width, and when something is said."""

import io
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from hemline import console, training_view
from hemline.loss_config import Loss
from hemline.task_weights import TaskWeights
from hemline.training_view import TrainingView, advice, main_figures, packed, task_losses
from hemline.watch import EpochReport, StepReport

LOSSES = {"bce": 1.5, "dice": 0.5, "category": 0.25, "neckline": 0.5, "sleeve length": 0.75}
NOW = StepReport(1, 131, 310, 2.75, LOSSES, 9.8e-4, 312.4, 0.034, 5.24, 3754.0)


def report(**figures):
    return SimpleNamespace(summary=lambda: figures)


@pytest.fixture
def clock(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(training_view.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def view(monkeypatch, tiny_config, tmp_path, clock):
    """Makes a view, begun, of a width (None: no terminal); its output is `view.said()`."""

    def make(width=None, **changes):
        stream = io.StringIO()
        terminal = Console(file=stream, force_terminal=width is not None, width=width or 100, highlight=False)
        monkeypatch.setattr(console, "notes", lambda: terminal)
        made = TrainingView()
        made.begin(replace(tiny_config, epochs=40, **changes), tmp_path / "tiny", "cpu", 1240)
        made.screen = lambda: terminal.render_lines(made._draw(), pad=False)
        made.lines = lambda: ["".join(s.text for s in line).rstrip() for line in made.screen()]
        made.said = lambda: stream.getvalue()
        return made

    return make


def test_where_photos_are_read_alone_no_loss_is_said(view):
    shown = view(80)
    shown.step(NOW._replace(loss=0.0, losses={}, lr=0.0, data_wait=0.0))
    assert shown.lines()[1:] == ["  312 photos/s"]


def test_80_columns(view):
    shown = view(80)
    shown.step(NOW)
    top, *rest = shown.lines()
    assert top.startswith("epoch 2/40 ━")
    assert top.endswith(" 131/310 1:02:34 left")
    assert cell_len(top) == 80
    assert rest == [
        "  loss 2.750  masks 2.000  categories 0.125  attributes 0.625  lr 0.00098",
        "  312 photos/s  data wait 3 %  GPU 5.2 GiB",
    ]


def test_160_columns(view):
    shown = view(160)
    shown.step(NOW._replace(gpu_memory=None, photos_per_second=2.75))
    assert shown.lines()[1:] == [
        "  loss 2.750  masks 2.000  categories 0.125  attributes 0.625  lr 0.00098  2.8 photos/s  data wait 3 %"
    ]


def test_figures_are_never_broken(view):
    whole = view(1000)
    whole.step(NOW)
    figures = whole.lines()[1].split("  ")[1:]
    for width in range(32, 120):
        shown = view(width)
        shown.step(NOW)
        lines = shown.lines()
        assert all(cell_len(line) <= width for line in lines)
        assert [each for line in lines[1:] for each in line.split("  ")[1:]] == figures, width


def test_what_is_awaited_after_the_last_step(view, clock):
    shown = view(80, validate_every=2)
    assert shown.lines() == [""], "nothing is known yet"
    shown.step(NOW._replace(step=310))
    clock[0] += 65
    assert shown.lines()[0].endswith("310/310 measuring, 1:05")
    shown.step(NOW._replace(epoch=2, step=310))
    assert shown.lines()[0].endswith("310/310 saving, 0:00")
    shown.step(NOW._replace(epoch=38, step=310))
    assert shown.lines()[0].endswith("saving, 0:00")
    shown.step(NOW._replace(epoch=39, step=310))
    assert shown.lines()[0].endswith("measuring, 0:00"), "the last epoch always is"


def test_a_line_an_epoch(view):
    shown = view()
    shown.epoch(EpochReport(1, 3.25, LOSSES, 1e-3, None, None, None, 60.0, None, False))
    figures = {
        "headline": 0.5, "ccp.mean_iou": 0.25, "ccp.pixel_accuracy": 0.9, "ccp.parts.mean_iou": 0.125,
        "ccp.labels.mean_average_precision": 0.75, "ccp.labels.sleeve.top1": 0.1, "ccp 2.mask.ap": None,
        "ccp 2.garments.mean_average_precision": 0.3,
    }  # fmt: skip
    shown.epoch(EpochReport(2, 3.0, LOSSES, 1e-3, None, None, None, 60.0, report(**figures), True))
    first, second = shown.said().splitlines()[1:]
    assert first == "epoch  1/40  loss 3.250"
    assert second == (
        "epoch  2/40  loss 3.000  headline 0.500  ccp: IoU 0.250  parts IoU 0.125  labels AP 0.750  "
        "ccp 2: mask AP -  attributes AP 0.300  best yet"
    )
    assert shown.lines() == [""], "the bar is taken away"


def test_without_a_terminal_a_line_now_and_then(view, clock):
    shown = view()
    for _ in range(100):
        clock[0] += 1.5
        shown.step(NOW._replace(gpu_memory=None))
    lines = shown.said().splitlines()[1:]
    assert len(lines) == 2, "at 61.5 and 123 seconds of 150"
    assert lines[0] == (
        "epoch 2/40  131/310  loss 2.750  masks 2.000  categories 0.125  attributes 0.625  lr 0.00098  "
        "312 photos/s  data wait 3 %  1:02:34 left"
    )


def test_much_waiting_is_advised_on_once(view, clock, monkeypatch):
    monkeypatch.setattr(training_view, "cores", lambda: 16)
    shown = view(80, workers=2)
    waits = "waits for photos"
    clock[0] += 29
    shown.step(NOW._replace(data_wait=0.9))
    assert waits not in shown.said(), "the first photos are always awaited"
    clock[0] += 2
    shown.step(NOW._replace(data_wait=0.3))
    assert waits not in shown.said()
    shown.epoch(EpochReport(1, 3.25, LOSSES, 1e-3, None, None, None, 60.0, None, False))
    shown.step(NOW._replace(data_wait=0.9))
    assert waits not in shown.said(), "nor after validation"
    clock[0] += 31
    for _ in range(3):
        shown.step(NOW._replace(data_wait=0.45))
    said = " ".join(shown.said().split())
    assert said.count("the network waits for photos 45 % of the time: workers=4 reads them") == 1


@pytest.mark.parametrize(
    ("workers", "cores", "says"),
    [(0, 8, "workers=2 "), (2, 8, "workers=4 "), (6, 8, "workers=8 "), (0, 1, "workers=1 "), (8, 8, "each of 8 cores")],
)
def test_advice(workers, cores, says):
    said = advice(0.5, workers, cores)
    assert says in said
    assert ("workers=" in said) == (workers < cores)


@given(
    st.lists(st.floats(0, 5), min_size=8, max_size=8),
    st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.0]), min_size=8, max_size=8),
)
def test_tasks_add_up_to_the_sum_that_is_trained(values, weights):
    names = ("bce", "tversky", "auxiliary 1 bce", "presence", "instances: box", "category", "neckline", "choice of fit")
    keys = ("bce", "tversky", "auxiliary", "presence", "instances", "category", "attributes", "choice")
    loss = replace(Loss(dice=0), **dict(zip(keys, weights, strict=True)))
    losses = {n: v for n, v, w in zip(names, values, weights, strict=True) if w or n not in ("bce", "tversky")}
    if not loss.bce:
        del losses["auxiliary 1 bce"]
    tasks = task_losses(losses, loss)
    with torch.no_grad():
        total = TaskWeights(loss)({name: torch.tensor(value, dtype=torch.float64) for name, value in losses.items()})
    assert sum(tasks.values()) == pytest.approx(float(total), abs=1e-9)
    assert set(tasks) <= {"masks", "auxiliary", "presence", "instances", "categories", "attributes", "choices"}
    assert ("choices" in tasks) == (loss.choice > 0), "a task of no weight is not trained"


@given(st.lists(st.text(st.characters(categories=("L", "N")), min_size=1, max_size=30), min_size=1), st.integers(1, 90))
def test_packed_lines_keep_all_words_and_the_width(words, width):
    lines = list(packed(words, width))
    assert " ".join(lines).split() == " ".join(words).split()
    assert all(cell_len(line) <= width or len(line.split()) == 1 for line in lines)
    for line, after in pairwise(lines):
        assert after.startswith("  ")
        assert cell_len(line) + 2 + cell_len(after.split()[0]) > width, "as few lines as can be"


def test_main_figures_of_sets_with_points_in_their_names():
    assert main_figures({"headline": None, "a.parts.mean_iou": 1.0, "a.b.mean_iou": 0.5}) == [
        "headline -", "a: parts IoU 1.000", "a.b: IoU 0.500"
    ]  # fmt: skip


def test_where_things_are(view, tmp_path):
    shown = view()
    best = tmp_path / "best.safetensors"
    shown.where(best)
    (tmp_path / "report.html").write_text("x")
    shown.where(best)
    tried = f"try it: hemline predict --demo --weights {best}"
    assert shown.said().splitlines()[1:] == [tried, f"look at it: {tmp_path / 'report.html'}", tried]


def test_the_terminal_is_given_back_however_it_ends(view):
    shown = view(80)

    def broken():
        assert shown._live.is_started
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), shown:
        broken()
    assert not shown._live.is_started
    assert shown.said().rindex("\x1b[?25h") > shown.said().rindex("\x1b[?25l"), "the cursor is back"
    plain = view()
    with plain:
        assert not plain._live.is_started, "no terminal, no drawing"
