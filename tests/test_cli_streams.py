"""The command line where stdin, stdout or a file lets it down: one sentence, exit status 2, never a traceback."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from hemline.cli import app
from hemline.predict import Asked, gather
from hemline.tagger import Failure, Tagger
from tests.primary import paint

SCRIPT = (
    "import sys; from tests import primary; from hemline import cli; from hemline.tagger import Tagger\n"
    "Tagger.load = lambda *a, **k: primary.colour_tagger()\n"
    "cli.main()\n"
)
posix = pytest.mark.skipif(os.name != "posix", reason="needs sh and /dev/full")


def in_shell(redirected: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run `hemline` with its streams redirected as a shell would."""
    command = ["sh", "-c", f'exec "$@" {redirected}', "sh", sys.executable, "-c", SCRIPT, *map(str, arguments)]
    return subprocess.run(command, cwd=Path(__file__).parent.parent, capture_output=True, text=True, check=False)


@posix
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize("form", ["--json", "--jsonl", None])
def test_a_full_disk(tmp_path: Path, form: str | None) -> None:
    photo = paint(tmp_path / "a.png", "red")
    ran = in_shell(">/dev/full", "predict", photo, *([form] if form else []))
    assert ran.returncode == 2
    assert ran.stderr.splitlines()[1:] == ["error: stdout: cannot be read or written: No space left on device"]
    assert in_shell(">/dev/full", "--version").returncode == 2


@posix
def test_closed_streams(tmp_path: Path) -> None:
    photo = paint(tmp_path / "a.png", "red")
    ran = in_shell(">&-", "predict", photo)
    assert (ran.returncode, ran.stderr) == (
        2, "error: stdout is closed: send it to a terminal, a file or /dev/null\n",
    )  # fmt: skip
    ran = in_shell("<&-", "predict", "-", photo, "--json")
    assert ran.returncode == 1
    closed, answered = json.loads(ran.stdout)
    assert closed["error"] == "stdin is closed: pipe a photo into it, or name a file"
    assert answered["photo"] == str(photo)
    ran = in_shell("2>&-", "predict", photo, "--json")
    assert (ran.returncode, len(json.loads(ran.stdout))) == (0, 1)


def test_stdin_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def read() -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=SimpleNamespace(read=read)))
    assert gather(["-"]) == [Asked("stdin", Failure("stdin", "stdin cannot be read: Input/output error"))]


def test_a_file_that_fails_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def load(*_: object, **__: object) -> Tagger:
        raise NotADirectoryError(20, "Not a directory", "runs/model")

    monkeypatch.setattr(Tagger, "load", load)
    ran = CliRunner().invoke(app, ["predict", str(paint(tmp_path / "a.png", "red"))], catch_exceptions=False)
    assert (ran.exit_code, ran.stderr) == (2, "error: runs/model: cannot be read or written: Not a directory\n")
