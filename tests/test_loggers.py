"""TensorBoard's files and Weights & Biases: what is told, once, and that telling never ends a run."""

import json
import math
import resource
import signal
import socket
import sys
from dataclasses import replace
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace

import pytest
import yaml

from hemline import _lookups, loggers
from hemline.config import Augment, Data, check
from hemline.errors import ConfigError, StoppedError
from hemline.events import EventFile, crc32c
from hemline.loggers import Logger, TensorBoard, make_loggers
from hemline.train import train
from hemline.watch import EpochReport, StepReport
from tests import events

STEPS = 5
"""Of an epoch, in runs that are not trained."""


def step_of(number, loss=1.0):
    epoch, step = divmod(number - 1, STEPS)
    return StepReport(epoch, step + 1, STEPS, loss, {"bce": 0.25, "instances: box": 0.5}, 1e-3, 40.0, 0.5, None, 9.0)


def epoch_of(number):
    report = SimpleNamespace(summary=lambda: {"headline": 0.5, "ccp.mean_iou": None, "ccp.labels.top1": 0.75})
    return EpochReport(number, 2.0, {"bce": 0.125}, 1e-3, None, None, 3.5, 60.0, report, True)


def tell(logger, config, folder, numbers, finish=True, loss=1.0):
    logger.begin(config, folder, "cpu", 20)
    for number in numbers:
        logger.step(step_of(number, loss))
        if number % STEPS == 0:
            logger.epoch(epoch_of(number // STEPS))
    if finish:
        logger.end()


@pytest.fixture
def config(tiny_config, tmp_path):
    data = (Data(name="synthetic", options={"count": 17, "canvas": [64, 64]}),)
    augment = Augment(colour=0.0)                        # its library is slow to import
    config = replace(tiny_config, epochs=2, data=data, validation=0.0, batch_size=5, augment=augment)
    return replace(config, out=str(tmp_path))


@pytest.fixture
def wandb(monkeypatch):
    """A module in its place that remembers."""
    module = ModuleType("wandb")
    module.__spec__ = ModuleSpec("wandb", None, origin="here")
    module.runs, module.fails = [], {}

    class Run:
        def __init__(self, given):
            self.given, self.rows, self.exit_code = given, {}, None
            self.step = max((max(run.rows) + 1 for run in module.runs if run.given["id"] == given["id"]), default=0)

        def log(self, figures, step):
            if "log" in module.fails:
                raise module.fails["log"]
            assert step >= max(self.rows, default=0), "it drops what comes too late"
            self.rows.setdefault(step, {}).update(figures)

        def finish(self, exit_code):
            self.exit_code = exit_code

    def init(**given):
        if "init" in module.fails:
            raise module.fails["init"]
        module.runs.append(Run(given))
        return module.runs[-1]

    module.init, module.Settings = init, lambda **given: given
    monkeypatch.setitem(sys.modules, "wandb", module)
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    return module


def test_checksums_are_castagnolis():
    """The test vectors of RFC 3720, B.4, and of the CRC catalogue."""
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(b"\xff" * 32) == 0x62A8AB43
    assert crc32c(bytes(range(32))) == 0x46DD794E


def test_event_files_say_what_was_told(config, tmp_path):
    (logger,) = make_loggers(config, STEPS, 0)
    tell(logger, config, tmp_path, range(1, 11))
    scalars, texts = events.read(tmp_path)
    assert scalars["step/loss"] == dict.fromkeys(range(1, 11), 1.0)
    assert scalars["step_losses/instances: box"][7] == 0.5
    assert scalars["step/data_wait"][3] == 0.5
    assert "step/gpu_memory_gib" not in scalars, "there is no GPU"
    assert scalars["epoch/loss"] == scalars["epoch/number"] | {5: 2.0, 10: 2.0} == {5: 2.0, 10: 2.0}
    assert scalars["epoch/number"] == {5: 1.0, 10: 2.0}
    assert scalars["epoch/gpu_memory_gib"][10] == 3.5
    assert "epoch/data_wait" not in scalars
    assert scalars["epoch_losses/bce"] == {5: 0.125, 10: 0.125}
    assert scalars["validation/headline"] == {5: 0.5, 10: 0.5}
    assert scalars["validation/ccp.labels.top1"][5] == 0.75
    assert "validation/ccp.mean_iou" not in scalars, "it could not be said"
    assert yaml.safe_load(texts["recipe"].strip("`\n")) == config.to_dict()


def test_any_number_and_any_name_can_be_told(tmp_path):
    file = EventFile(tmp_path, 0)
    values = {"nan": math.nan, "most": 1e300, "least": -1e300, "été/größe": 2.5, "long " * 100: 1.0}
    file.scalars(values, 2**40)
    scalars, _ = events.read(tmp_path)
    told = {tag: points[2**40] for tag, points in scalars.items()}
    assert math.isnan(told.pop("nan"))
    assert told == {"most": math.inf, "least": -math.inf, "été/größe": 2.5, "long " * 100: 1.0}


def test_a_resumed_run_says_each_step_once(config, tmp_path):
    """It was killed after step 8, and its state kept at step 6."""
    tell(make_loggers(config, STEPS, 0)[0], config, tmp_path, range(1, 9), finish=False)
    tell(make_loggers(config, STEPS, 6)[0], config, tmp_path, range(7, 11), loss=3.0)
    scalars, _ = events.read(tmp_path)
    assert scalars["step/loss"] == {**dict.fromkeys(range(1, 7), 1.0), **dict.fromkeys(range(7, 11), 3.0)}
    assert list(scalars["epoch/loss"]) == [5, 10]
    tell(make_loggers(config, STEPS, 0)[0], config, tmp_path, range(1, 3))
    scalars, _ = events.read(tmp_path)
    assert scalars["step/loss"] == {1: 1.0, 2: 1.0}, "begun anew, nothing of before is left"
    assert not scalars["epoch/loss"]


def test_long_runs_are_thinned_evenly(config, tmp_path, monkeypatch):
    monkeypatch.setattr(loggers, "MOST_ROWS", 4)
    tell(make_loggers(config, STEPS, 0)[0], config, tmp_path, range(1, 11))
    scalars, _ = events.read(tmp_path)
    assert list(scalars["step/loss"]) == [2, 4, 6, 8, 10]
    assert list(scalars["epoch/loss"]) == [5, 10], "epochs are not"


def test_a_full_disk_is_said_once_and_costs_no_run(config, tmp_path, caplog):
    logger = Logger(TensorBoard(), STEPS, 0)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2500, before[1]))
        tell(logger, config, tmp_path, range(1, 11))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    (said,) = caplog.messages
    assert said.startswith("TensorBoard is told no more, training goes on: ")
    (file,) = tmp_path.glob("events*")
    assert file.stat().st_size <= 2500


def test_a_folder_that_is_gone_costs_no_run(config, tmp_path, caplog):
    tell(Logger(TensorBoard(), STEPS, 0), config, tmp_path / "gone", range(1, 11))
    assert caplog.messages == ["TensorBoard is told no more, training goes on: No such file or directory"]


class Stop:
    """Stops the run after its fourth step, as Ctrl-C does."""

    def begin(self, *_):
        pass

    epoch = begin
    weighed = begin

    def step(self, report):
        if report.epoch == 1:
            signal.raise_signal(signal.SIGINT)

    def end(self):
        pass


def test_a_run_that_is_stopped_and_goes_on(config, tmp_path, wandb):
    """Both loggers have each step once; Weights & Biases goes on with the same run; the starts are two lines."""
    config = replace(config, loggers=("tensorboard", "wandb"))
    with pytest.raises(StoppedError, match="in epoch 2 of 2"):
        train(config, watcher=Stop())
    train(config, resume=True)
    first, second = wandb.runs
    assert first.given["id"] == second.given["id"] == (tmp_path / "tiny/wandb.txt").read_text().strip()
    assert (first.given["project"], first.given["name"], first.given["resume"]) == ("hemline", "tiny", "allow")
    assert first.given["config"] == config.to_dict()
    assert "mode" not in first.given, "its own settings say it"
    assert (first.exit_code, second.exit_code) == (1, 0)
    assert (list(first.rows), list(second.rows)) == ([1, 2, 3, 4], [5, 6])
    scalars, _ = events.read(tmp_path / "tiny")
    assert list(scalars["step/loss"]) == [1, 2, 3, 4, 5, 6]
    assert list(scalars["validation/headline"]) == list(scalars["epoch/loss"]) == [3, 6]
    assert scalars["step/loss"][5] == pytest.approx(second.rows[5]["step/loss"])
    lines = [json.loads(line) for line in (tmp_path / "tiny/metrics.jsonl").read_text().splitlines()]
    assert [scalars["epoch/loss"][3 * line["epoch"]] for line in lines] == pytest.approx([x["loss"] for x in lines])
    assert second.rows[6]["validation/headline"] == lines[1]["headline"]
    starts = [json.loads(line) for line in (tmp_path / "tiny/environment.jsonl").read_text().splitlines()]
    assert [start["resumed_at"] for start in starts] == [None, {"epoch": 1, "step": 1}]


def test_by_itself_a_run_imports_no_logger_and_asks_no_network(config, tmp_path, monkeypatch, caplog):
    """Nor does it end where the event file fails in the middle."""
    asked = []
    finder = SimpleNamespace(find_spec=lambda name, *_: asked.append(name.partition(".")[0]))

    def refused(*where):
        raise AssertionError(f"the network is asked: {where}")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sys, "meta_path", [finder, *sys.meta_path])
    for name in ("wandb", "tensorboard", "tensorboardX"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.setattr(socket, "getaddrinfo", refused)
    monkeypatch.setattr(EventFile, "scalars", full)
    assert train(replace(config, epochs=1)).exists()
    assert not {"wandb", "tensorboard", "tensorboardX"} & {*asked, *sys.modules}
    assert caplog.messages == ["TensorBoard is told no more, training goes on: No space left on device"]


def test_wandb_that_cannot_begin_ends_the_start(config, tmp_path, wandb):
    wandb.fails["init"] = RuntimeError("No API key configured.\nUse `wandb login`.")
    with pytest.raises(ConfigError, match=r"cannot begin \(No API key.*`wandb login`\): .* or leave wandb out"):
        tell(make_loggers(replace(config, loggers=("wandb",)), STEPS, 0)[0], config, tmp_path, range(1, 11))


def test_wandb_that_fails_later_costs_no_run(config, tmp_path, wandb, caplog):
    wandb.fails["log"] = ConnectionError("broken")
    (logger,) = make_loggers(replace(config, loggers=("wandb", "wandb")), STEPS, 0)
    tell(logger, config, tmp_path, range(1, 11))
    assert caplog.messages == ["Weights & Biases is told no more, training goes on: broken"]


def test_a_run_begun_anew_has_an_id_of_its_own(config, tmp_path, wandb, monkeypatch):
    monkeypatch.setenv("WANDB_PROJECT", "clothes")
    config = replace(config, loggers=("wandb",))
    for done, end in ((0, 11), (0, 6), (5, 9), (8, 11), (10, 11)):
        tell(make_loggers(config, STEPS, done)[0], config, tmp_path, range(done + 1, end))
    first, *others = (run.given["id"] for run in wandb.runs)
    assert first != others[0]
    assert others == [others[0]] * 4
    assert [run.exit_code for run in wandb.runs] == [0, 1, 1, 0, 0], "1 where epochs are left"
    assert wandb.runs[0].given["project"] == "clothes"


def test_what_wandb_already_has_is_not_sent_again(config, tmp_path, wandb):
    """It was killed after step 8, and its state kept at step 6."""
    config = replace(config, loggers=("wandb",))
    tell(make_loggers(config, STEPS, 0)[0], config, tmp_path, range(1, 9), finish=False)
    tell(make_loggers(config, STEPS, 6)[0], config, tmp_path, range(7, 11))
    assert [list(run.rows) for run in wandb.runs] == [[1, 2, 3, 4, 5, 6, 7, 8], [9, 10]]


def test_wandb_that_is_missing_is_among_the_problems(config, tmp_path, monkeypatch):
    monkeypatch.setattr(_lookups, "find_spec", lambda name: None)
    check(config)
    check(replace(config, loggers=None))
    with pytest.raises(ConfigError, match=r'1 thing is wrong\n  loggers: wandb is not installed: pip install "heml'):
        check(replace(config, loggers=("tensorboard", "wandb")))


def test_a_folder_is_no_package(tmp_path, monkeypatch):
    """Weights & Biases leaves folders of its own name."""
    (tmp_path / "left_by_a_logger").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    assert not _lookups._installed("left_by_a_logger")
    assert _lookups._installed("json")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_tensorboard_reads_the_files(config, tmp_path):
    module = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    tell(make_loggers(config, STEPS, 0)[0], config, tmp_path, range(1, 9), finish=False)
    tell(make_loggers(config, STEPS, 6)[0], config, tmp_path, range(7, 11), loss=3.0)
    shown = module.EventAccumulator(str(tmp_path)).Reload()
    ours, texts = events.read(tmp_path)
    assert {tag: {e.step: e.value for e in shown.Scalars(tag)} for tag in shown.Tags()["scalars"]} == ours
    assert [e.step for e in shown.Scalars("step/loss")] == list(range(1, 11))
    assert shown.Tensors("recipe")[-1].tensor_proto.string_val[0].decode() == texts["recipe"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_wandb_itself_offline(config, tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    config = replace(config, loggers=("wandb",))
    for done in (0, 5):
        tell(make_loggers(config, STEPS, done)[0], config, tmp_path, range(done + 1, done + 6))
    name = (tmp_path / "wandb.txt").read_text().strip()
    assert len(list(tmp_path.glob(f"wandb/offline-run-*/run-{name}.wandb"))) == 2
