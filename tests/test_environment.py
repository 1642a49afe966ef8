"""What `environment.jsonl` says of a start, and what it never says."""

import json
import subprocess
from pathlib import Path

import pytest

from hemline import environment
from hemline.environment import append_start, command
from hemline.errors import UnwritableError

KEYS = {
    "started", "resumed_at", "command", "hemline", "python", "platform", "packages", "cuda", "cudnn", "cpu", "gpus",
    "processes", "git",
}  # fmt: skip


def test_a_line_a_start(tmp_path):
    append_start(tmp_path, num_processes=1, resumed_at=None)
    append_start(tmp_path, num_processes=8, resumed_at=(2, 14))
    text = (tmp_path / "environment.jsonl").read_text()
    assert text.endswith("\n")
    first, second = (json.loads(line) for line in text.splitlines())
    assert set(first) == set(second) == KEYS
    assert (first["resumed_at"], second["resumed_at"]) == (None, {"epoch": 2, "step": 14})
    assert (first["processes"], second["processes"]) == (1, 8)
    assert set(first["packages"]) == {"torch", "torchvision", "timm", "numpy"}
    assert set(first["cpu"]) == {"model", "cores", "threads"}
    assert first["cpu"]["model"]
    assert first["cpu"]["cores"] >= 1
    assert first["started"].endswith("+00:00")
    assert not list(tmp_path.glob(".*"))
    with pytest.raises(UnwritableError, match=r"environment.jsonl: cannot be written"):
        append_start(tmp_path / "gone", num_processes=1, resumed_at=None)


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (["/home/ann/env/bin/hemline", "train", "street", "lr=5e-4"], "hemline train street lr=5e-4"),
        (["/home/ann/env/hemline/__main__.py", "train"], "hemline train"),
        (["C:/x/train.py", "data.0.path=/home/ann/ccp"], "train.py data.0.path=~/ccp"),
        (["x", "/home/ann", "/home/anna/ccp", "a:/home/ann:b"], "x ~ /home/anna/ccp a:~:b"),
        (["x", "data=own:https://ann:hunter2@shop.com/a?b=1"], "x data=own:https://***@shop.com/a?b=1"),
        (["x", "path=https://shop.com/a?size=2&token=abc&x=1"], "x path=https://shop.com/a?size=2&token=***&x=1"),
        (["x", "MY_API_KEY=abc", "a.api-key=abc", "Password:abc"], "x MY_API_KEY=*** a.api-key=*** Password:***"),
        (["x", "--token", "abc", "epochs=3", "--secret-name=abc"], "x --token *** epochs=3 --secret-name=***"),
        (["x", "data=[{name: own, token: abc}]"], "x data=[{name: own, token: ***}]"),
        (["x", "head.widths=[96,64]", "name=monkey"], "x head.widths=[96,64] name=monkey"),
    ],
)
def test_a_command_line_without_secrets_and_names(given, shown, monkeypatch):
    monkeypatch.setattr(Path, "home", lambda: Path("/home/ann"))
    assert command(given) == shown


def test_no_environment_variable_is_said(monkeypatch):
    for name in ("HEMLINE_KEY", "WANDB_API_KEY", "HOSTNAME", "USER", "LOGNAME"):
        monkeypatch.setenv(name, "hunter2hunter2")
    assert "hunter2" not in json.dumps(environment.environment())


def test_the_checkout_it_was_started_in(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert environment.environment()["git"] is None
    who = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    (tmp_path / "file").write_text("one")
    for words in (["init", "-q"], ["add", "file"], [*who, "commit", "-q", "-m", "first"]):
        subprocess.run(["git", *words], check=True, capture_output=True)
    (tmp_path / "untracked").write_text("x")
    said = environment.environment()["git"]
    assert len(said["commit"]) == 40
    assert said["dirty"] is False
    (tmp_path / "file").write_text("two")
    assert environment.environment()["git"] == {"commit": said["commit"], "dirty": True}
    monkeypatch.setenv("PATH", "")
    assert environment.environment()["git"] is None, "no git, no failure"
