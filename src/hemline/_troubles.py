"""What can end a training run from outside, each in one sentence: what happened, what helps, where `--resume` goes on.

Nothing is written here: after such an end the state on the disk is the last that was whole, at most five minutes old.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from hemline.checkpoint import load_state
from hemline.config import Config
from hemline.errors import HemlineError, StoppedError, UnwritableError, WeightsError, in_short


@contextmanager
def told_in_words(config: Config, folder: Path) -> Iterator[None]:
    """Turn what a machine does to a training run into one sentence; what is not known here stays as it is.

    Raises:
        StoppedError: the disk, a memory or a device failed, or a process of the run died.
    """
    try:
        yield
    except UnwritableError as error:
        raise StoppedError(f"{error}; make room or take another out=..., and {going_on(folder)}") from error
    except HemlineError:
        raise
    except (OSError, MemoryError, RuntimeError) as error:
        said = in_words(error, config)
        if said is None:
            raise
        raise StoppedError(f"{said}; {going_on(folder)}") from error


def going_on(folder: Path) -> str:
    """The end of a sentence that says why a run stopped: what is kept of it, as the disk has it."""
    try:
        state = load_state(folder / "state.pt", mmap=True)
        if "pooled" in state:                            # of `hemline.finetune`
            return "--resume goes on from the photos that it has pooled"
        epoch, step = int(state["epoch"]), int(state["step"])
    except (WeightsError, KeyError):
        return "begin anew: no state is kept yet"
    return f"--resume goes on from {f'step {step} of epoch {epoch + 1}' if step else f'the end of epoch {epoch}'}"


def in_words(error: OSError | MemoryError | RuntimeError, config: Config) -> str | None:
    """What an error means for a training run and what helps; None for one that is nobody's but the program's."""
    text, short = str(error), in_short(error)
    workers, batch = f"workers={config.workers}", f"batch_size={config.batch_size}"
    if _out_of_gpu_memory(error):
        asked = re.search(r"[Tt]ried to allocate ([\d.]+ \w+)", text)
        return (
            f"the GPU is out of memory{f', {asked[1]} were asked for' if asked else ''}: raise "
            f"grad_accum_steps={config.grad_accum_steps} (the same steps in smaller pieces), lower {batch} or "
            f"canvas={list(config.canvas)}, or take precision=bf16"
        )
    if isinstance(error, MemoryError) or "DefaultCPUAllocator" in text or getattr(error, "errno", 0) == errno.ENOMEM:
        return f"this machine is out of memory: lower {workers}, {batch} or canvas={list(config.canvas)}"
    if "shared memory" in text or "Bus error" in text:
        return (
            f"/dev/shm is too small for what {workers} hand over: make it larger (docker run --shm-size=8g), "
            f"or take fewer workers, or workers=0"
        )
    if "Too many open files" in text:
        return f"too many files are open: raise `ulimit -n`, or lower {workers}"
    if died := re.search(r"DataLoader worker \(pid.*?(killed by signal: [\w ]+|exited unexpectedly[\w ]*)", text):
        memory = "Killed" in died[1] or died[1] == "exited unexpectedly"
        why = f", most likely for want of memory: lower {workers} or {batch}" if memory else ": workers=0 shows more"
        return f"a process that reads photos died ({died[1]}){why}"
    if isinstance(error, torch.AcceleratorError) or re.search(r"CUDA error|CUBLAS_|CUDNN_|cuDNN error", text):
        return (
            f"the GPU failed ({short}): look at nvidia-smi whether it is well; if it comes again, "
            "CUDA_LAUNCH_BLOCKING=1 shows where"
        )
    if isinstance(error, torch.distributed.DistError) or re.search(r"gloo.*(?:[Cc]onnection|[Tt]imed out)", text):
        return f"another process of the run does not answer ({short}): look at what that one says"
    if isinstance(error, OSError):
        return f"{error.filename or 'a file'}: cannot be read or written: {error.strerror or error}"
    return None


def _out_of_gpu_memory(error: BaseException) -> bool:
    said = re.search(r"CUDA error: out of memory|CUBLAS_STATUS_ALLOC_FAILED|CUDNN_STATUS_ALLOC_FAILED", str(error))
    return isinstance(error, torch.OutOfMemoryError) or said is not None
