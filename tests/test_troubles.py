"""What ends a run from outside: one true sentence, the last whole state kept, and nothing half-written."""

import errno
import math
import os
import re
import signal
import stat
import time
import warnings
from dataclasses import replace
from multiprocessing import active_children
from pathlib import Path

import pytest
import torch
import yaml
from typer.testing import CliRunner

import hemline.train
from hemline import evaluate, mask_losses
from hemline._held import LOCK, held
from hemline._troubles import in_words
from hemline.checkpoint import load, load_state, save_state
from hemline.cli import app
from hemline.config import Data
from hemline.data import DATASETS
from hemline.data.synthetic import Synthetic
from hemline.errors import ConfigError, DataError, StoppedError
from hemline.train import train


@pytest.fixture
def config(tiny_config, tmp_path):
    """Two epochs of two steps, each of them saved."""
    data = (Data(name="synthetic", options={"count": 15, "canvas": [64, 64]}),)
    return replace(tiny_config, epochs=2, data=data, validation=0.25, out=str(tmp_path), loggers=None)


@pytest.fixture(autouse=True)
def save_each_step(monkeypatch):
    monkeypatch.setattr(hemline.train, "SAVE_EVERY", 0.0)


class At:
    """A watcher that does something after a step, counted from 1 over all epochs."""

    def __init__(self, step, do):
        self.step_at, self.do, self.steps = step, do, 0

    def begin(self, *_):
        pass

    def epoch(self, _):
        pass

    def end(self):
        pass

    def step(self, _):
        self.steps += 1
        if self.steps == self.step_at:
            self.do()


def litter(folder):
    return [file.name for file in folder.iterdir() if file.name.startswith(".") and file.name != LOCK]


def assert_goes_on_as_if_nothing_had_happened(config):
    resumed, _ = load(train(config, resume=True))
    whole, _ = load(train(replace(config, name="whole")))
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


# -- sentences ---------------------------------------------------------------------------------------------------------

SAID = [
    (
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 7 GiB"),
        r"the GPU is out of memory, 2.50 GiB were asked for: raise grad_accum_steps=1.*batch_size=4 .*canvas=\[64, 64\]"
        ".*precision=bf16",
    ),
    (RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be"), "the GPU is out of memory: raise"),
    (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(h)`"), "GPU is out of memory: ra"),
    (torch.AcceleratorError("CUDA error: an illegal memory access was encountered\nCUDA kernel errors"),
     r"the GPU failed \(CUDA error: an illegal memory access was encountered\): .*nvidia-smi"),
    (RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you"),
     "this machine is out of memory: lower workers=0, batch_size=4"),
    (MemoryError(), "this machine is out of memory: lower workers"),
    (OSError(errno.ENOMEM, "Cannot allocate memory"), "this machine is out of memory: lower workers"),
    (RuntimeError("DataLoader worker (pid 99) is killed by signal: Killed. "),
     r"a process that reads photos died \(killed by signal: Killed\), most likely for want of memory: lower work"),
    (RuntimeError("DataLoader worker (pid(s) 99, 100) exited unexpectedly"), r"exited unexpectedly\), most likely for"),
    (RuntimeError("DataLoader worker (pid 99) exited unexpectedly with exit code 1. Details are lost"),
     r"died \(exited unexpectedly with exit code 1\): workers=0 shows more"),
    (RuntimeError("DataLoader worker (pid 99) is killed by signal: Segmentation fault. "),
     r"died \(killed by signal: Segmentation fault\): workers=0 shows more"),
    (RuntimeError("DataLoader worker (pid 99) is killed by signal: Bus error. It is possible that dataloader's workers "
                  "are out of shared memory. Please try to raise your shared memory limit."), "/dev/shm is too small"),
    (RuntimeError("Caught RuntimeError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n"
                  "RuntimeError: unable to allocate shared memory(shm) for file </torch_1>: No space left on device"),
     "/dev/shm is too small for what workers=0 hand over: .*--shm-size"),
    (RuntimeError("Too many open files. Communication with the workers is no longer possible."), "raise `ulimit -n`"),
    (RuntimeError("[../third_party/gloo/gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:123"),
     r"another process of the run does not answer \(.*Connection closed by peer"),
    (OSError(errno.ENOSPC, "No space left on device", "runs/a/events"), "runs/a/events: cannot be .*: No space left"),
]  # fmt: skip


@pytest.mark.parametrize(("error", "says"), SAID, ids=lambda value: type(value).__name__)
def test_what_it_is_called(error, says, config):
    assert re.search(says, in_words(error, config)), in_words(error, config)


def test_what_is_not_known_is_left_as_it_is(config):
    assert in_words(RuntimeError("mat1 and mat2 shapes cannot be multiplied (4x3 and 5x2)"), config) is None


# -- out of memory, workers, data --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_out_of_gpu_memory_keeps_the_state_of_the_step_before(config, tmp_path, monkeypatch):
    step = hemline.train.train_step

    def full(run, pieces, config):
        if (run.epoch, run.step) == (1, 1):
            step(run, pieces, config)                    # weights that have moved are not what is kept
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        step(run, pieces, config)

    monkeypatch.setattr(hemline.train, "train_step", full)
    with pytest.raises(StoppedError, match=r"out of memory, 2.00 GiB .*; --resume goes on from step 1 of epoch 2$"):
        train(config)
    monkeypatch.undo()
    assert not litter(tmp_path / "tiny")
    assert_goes_on_as_if_nothing_had_happened(config)


def test_nothing_is_kept_before_the_first_save(config, monkeypatch):
    def full(*_):
        raise MemoryError

    monkeypatch.setattr(hemline.train, "train_step", full)
    with pytest.raises(StoppedError, match=r"out of memory: lower .*; begin anew: no state is kept yet$"):
        train(config)


@pytest.mark.slow
def test_a_worker_that_is_killed(config):
    def kill():
        os.kill(active_children()[0].pid, signal.SIGKILL)
        time.sleep(20)                                   # torch's handler of the worker's end cuts it short

    with pytest.raises(StoppedError, match=r"process that reads photos died \(killed by signal: Killed\), .*workers=2"):
        train(replace(config, workers=2), watcher=At(1, kill))


class Strange(Synthetic):
    """A dataset whose code has a mistake that one photo shows."""

    def __getitem__(self, index):
        return {}["colour"] if index == 3 else super().__getitem__(index)


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_a_mistake_in_a_datasets_code_names_the_photo_and_the_line(config, workers, monkeypatch):
    monkeypatch.setitem(DATASETS, "synthetic", Strange)
    says = r"^Strange, photo \S+: KeyError: 'colour' \(test_troubles.py, line \d+\)$"
    with pytest.raises(DataError, match=says):
        train(replace(config, validation=0.0, workers=workers))


def test_shared_memory_that_is_too_small_ends_the_run_and_does_not_hang_it(config, monkeypatch):
    def full(_):
        raise RuntimeError("unable to allocate shared memory(shm) for file </torch_1>: No space left on device (28)")

    monkeypatch.setattr(torch.Tensor, "share_memory_", full)
    with pytest.raises(StoppedError, match="/dev/shm is too small for what workers=2 hand over"):
        train(replace(config, workers=2))


# -- a full disk -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("file", ["state.pt", "last.safetensors", "metrics.jsonl"])
def test_a_full_disk(config, file, tmp_path, monkeypatch):
    """From the second epoch on: what was there before stays, and the run goes on when there is room."""
    folder, before = tmp_path / "tiny", {}

    def fill():
        before.update({path.name: path.read_bytes() for path in folder.iterdir()})
        for name in ("write_bytes", "write_text"):
            monkeypatch.setattr(Path, name, half(getattr(Path, name)))

    def half(write):
        def written(path, content, **options):
            if path.suffix == Path(file).suffix:
                write(path, content[: len(content) // 2], **options)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return write(path, content, **options)

        return written

    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(config.to_dict()))
    second = "hemline.training_view.TrainingView.step", lambda _, report: report.epoch == report.step == 1 and fill()
    with monkeypatch.context() as patch:
        patch.setattr(*second)
        ran = CliRunner().invoke(app, ["train", str(tmp_path / "recipe.yaml")])
    assert ran.exit_code == 1
    said = f"error: {folder / file}: cannot be written: No space left on device; make room or take another out=..., and"
    assert ran.stderr.splitlines()[-1].startswith(f"{said} --resume goes on from ")
    assert not litter(folder)
    assert (folder / file).read_bytes() == before[file]
    load(folder / "best.safetensors")
    monkeypatch.undo()
    assert_goes_on_as_if_nothing_had_happened(config)


# -- a loss that is no number ------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_loss_that_is_no_number_in_a_resumed_run(config, tmp_path, monkeypatch):
    """The state of before stays as it was, and the same recipe comes to the same again, as it says."""
    train(replace(config, epochs=1))
    last = (tmp_path / "tiny/last.safetensors").read_bytes()
    spoil = At(1, lambda: monkeypatch.setattr(mask_losses, "SMOOTH", math.nan))
    says = r"the loss is nan .* at epoch 2, step 2: lower lr=0.001, .*same again, and --resume goes on from step 1 of"
    with pytest.raises(StoppedError, match=says):
        train(config, resume=True, watcher=spoil)
    state = load_state(tmp_path / "tiny/state.pt")
    assert (state["epoch"], state["step"]) == (1, 1)
    assert all(bool(tensor.isfinite().all()) for tensor in [*state["loss"].values(), *state["average"].values()])
    assert (tmp_path / "tiny/last.safetensors").read_bytes() == last
    with pytest.raises(StoppedError, match=says):
        train(config, resume=True)
    monkeypatch.setattr(mask_losses, "SMOOTH", 1.0)
    train(replace(config, lr=config.lr / 2), resume=True)


# -- being stopped -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_stop_in_a_validation_comes_at_once(config, monkeypatch):
    add, photos = evaluate.Tally.add, []

    def added(tally, *arguments):
        photos.append(0)
        add(tally, *arguments)
        if len(photos) == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(evaluate.Tally, "add", added)
    says = "stopped in the validation of epoch 1 of 2; --resume goes on from step 2 of epoch 1"
    many = replace(config, data=(Data(name="synthetic", options={"count": 60, "canvas": [64, 64]}),), batch_size=16)
    with pytest.raises(StoppedError, match=says):
        train(many)
    assert len(photos) <= 8, "eight photos are measured at a time"
    monkeypatch.undo()
    assert_goes_on_as_if_nothing_had_happened(many)


@pytest.mark.slow
@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_in_a_save(config, times, tmp_path, monkeypatch):
    """Once: the save is finished and the next step is the last. Twice: it ends at once, and the state before stands."""
    fsync, calls = os.fsync, []

    def interrupted(descriptor):
        fsync(descriptor)
        if stat.S_ISREG(os.fstat(descriptor).st_mode) and (tmp_path / "tiny/state.pt").exists():
            calls.append(descriptor)
            for _ in range(times if len(calls) == 1 else 0):
                os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(StoppedError if times == 1 else KeyboardInterrupt):
        train(config)
    monkeypatch.undo()
    assert not litter(tmp_path / "tiny")
    state = load_state(tmp_path / "tiny/state.pt")
    assert (state["epoch"], state["step"]) == ((0, 2) if times == 1 else (0, 1))
    assert_goes_on_as_if_nothing_had_happened(config)


# -- the folder --------------------------------------------------------------------------------------------------------


def test_one_process_trains_in_a_folder_and_a_kill_lets_it_go(tmp_path):
    """Also where a child of the killed one, such as a worker, lives on."""
    folder = tmp_path / "run"
    heard, tell = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # fork beside torch's threads: none is needed here
        holder = os.fork()
    if holder == 0:
        with held(folder):
            worker = os.fork()
            if worker:
                os.write(tell, f"{worker}\n".encode())
            time.sleep(60)
        os._exit(0)
    worker = int(os.read(heard, 20))
    try:
        says = rf"{folder}: process {holder} on \S+, since [\d-]+ [\d:]+, is training in it: wait for its end, or"
        with pytest.raises(ConfigError, match=says), held(folder):
            pass
        os.kill(holder, signal.SIGKILL)
        os.waitpid(holder, 0)
        (folder / "state.pt").touch()
        with held(folder):
            pass
    finally:
        os.kill(worker, signal.SIGKILL)


def test_what_kills_left_is_swept_and_nothing_else(tmp_path):
    left = [
        ".best.123.safetensors", ".last.7.safetensors", ".state.123456.pt", ".metrics.9.jsonl", ".config.1.yaml",
        ".environment.3.jsonl", ".report.4.html", ".wandb.5.txt",
    ]  # fmt: skip
    others = [".best.old.safetensors", ".best.safetensors", "best.safetensors", ".other.12.pt", ".state.12.txt"]
    for name in left + others:
        (tmp_path / name).touch()
    with held(tmp_path):
        assert {file.name for file in tmp_path.iterdir()} == {*others, LOCK}


def test_a_folder_that_nothing_was_written_into_is_taken_away(tmp_path):
    with pytest.raises(DataError), held(tmp_path / "a"):
        raise DataError("as when a dataset is missing")
    assert not (tmp_path / "a").exists()
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"out: .*file.a cannot be made: Not a directory"), held(tmp_path / "file/a"):
        pass


@pytest.mark.slow
def test_a_run_killed_before_its_first_save_can_be_resumed_too(config, tmp_path):
    best = train(replace(config, epochs=1))
    (tmp_path / "tiny/state.pt").unlink()
    for resume in (True, False):
        with pytest.raises(ConfigError, match=r"holds weights and no state\.pt"):
            train(replace(config, epochs=1), resume=resume)
    best.unlink()
    assert_goes_on_as_if_nothing_had_happened(replace(config, epochs=1))


def test_a_new_name_is_on_the_disk_before_the_next_file_is_written(tmp_path, monkeypatch):
    synced, fsync = [], os.fsync

    def sync(descriptor):
        mode = os.fstat(descriptor).st_mode
        synced.append(("folder" if stat.S_ISDIR(mode) else "file", (tmp_path / "state.pt").exists()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", sync)
    save_state(tmp_path / "state.pt", {"epoch": 1})
    assert synced == [("file", False), ("folder", True)]
