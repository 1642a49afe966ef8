"""How a command ends: one sentence and an exit code for whatever goes wrong."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import typer

from hemline.errors import ElsewhereError, HemlineError, StoppedError

LET_SPEAK = 2.0
"""Seconds that a process waits for another to say why they end: `torchrun` ends all as soon as one has ended."""


@contextmanager
def clean_exit() -> Iterator[None]:
    """Turn what goes wrong into one sentence and an exit code."""
    from hemline import console

    try:
        if sys.stdout is None:
            raise HemlineError("stdout is closed: send it to a terminal, a file or /dev/null")
        yield
    except ElsewhereError:
        time.sleep(LET_SPEAK)
        raise typer.Exit(1) from None
    except StoppedError as error:
        console.error(str(error))
        raise typer.Exit(1) from None
    except HemlineError as error:
        console.error(str(error))
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        console.error("stopped by Ctrl-C")
        raise typer.Exit(130) from None
    except BrokenPipeError:  # whoever read our output has had enough
        _let_stdout_go()
        raise typer.Exit(141) from None
    except OSError as error:  # a full disk, a folder that may not be written
        if error.filename == console.STDOUT:
            _let_stdout_go()
        with suppress(OSError):  # stderr may lie on the same disk
            console.error(f"{error.filename or 'a file'}: cannot be read or written: {error.strerror or error}")
        raise typer.Exit(2) from None


def _let_stdout_go() -> None:
    """Send what stdout still holds nowhere, so that leaving does not fail on it once more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def said_once() -> Iterator[None]:
    """Of the processes that `torchrun` starts on a machine, the first alone says what all of them find wrong within."""
    try:
        yield
    except HemlineError as error:
        if os.environ.get("LOCAL_RANK", "0") != "0":
            raise ElsewhereError(str(error)) from error
        raise


@contextmanager
def needs_train(command: str) -> Iterator[None]:
    """`needs_extra` of the `train` extra."""
    with needs_extra(command, "train"):
        yield


@contextmanager
def needs_extra(command: str, extra: str) -> Iterator[None]:
    """Turn a missing package of an extra into the sentence that says how to install it."""
    try:
        yield
    except ModuleNotFoundError as error:
        missing = str(error.name).partition(".")[0]
        if missing == "hemline":
            raise
        raise HemlineError(
            f'`hemline {command}` needs {missing}, which is not installed: pip install "hemline[{extra}]"'
        ) from error
