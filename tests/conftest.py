"""What several test files share."""

import gc
import os
import signal
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
os.environ.pop("COLUMNS", None)  # pytest-xdist sets it; tables are to be as wide as a pipe has them

import pytest
import torch

from hemline.config import Backbone, Config, Head, LabelHead
from hemline.labels import load_label_space
from hemline.model import build

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:    # what a shell starts in the background ignores Ctrl-C, and so
    signal.signal(signal.SIGINT, signal.default_int_handler)    # would all that is started here

# one thread in each process where pytest-xdist runs several
torch.set_num_threads(1 if "PYTEST_XDIST_WORKER" in os.environ else int(os.environ.get("OMP_NUM_THREADS", "2")))


def pytest_collection_finish():
    """What the imports made stays to the end: the garbage collector need not look through it again and again."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish():
    gc.unfreeze()


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    """Tests that train in forks of this process run in a new one where autograd has threads here: no fork has them.

    Whether it has depends on the tests that ran before.
    """
    if not hasattr(pyfuncitem.module, "together") or _autograd_forks():
        return None
    path = pyfuncitem.path
    if path not in _alone:
        chosen = pyfuncitem.config.option.markexpr
        folder = pyfuncitem.config._tmp_path_factory.mktemp("alone")
        command = [sys.executable, "-m", "pytest", "-n", "0", "-m", chosen, f"--junitxml={folder / 'said.xml'}", path]
        done = subprocess.run(command, cwd=pyfuncitem.config.rootpath, capture_output=True, text=True, check=False)
        cases = ElementTree.parse(folder / "said.xml").iter("testcase")
        _alone[path] = {
            case.attrib["name"]: case.find("failure") is None and case.find("error") is None for case in cases
        }, done.stdout  # fmt: skip
    passed, said = _alone[path]
    assert passed[pyfuncitem.name], said
    return True


_alone: dict[Path, tuple[dict[str, bool], str]] = {}


def _autograd_forks() -> bool:
    child = os.fork()
    if child == 0:
        try:
            torch.ones(1, requires_grad=True).sum().backward()
        except RuntimeError:
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


@pytest.fixture(scope="session", autouse=True)
def shared_folder(request, tmp_path_factory):
    """Where the processes of a run find what one of them has made for all, as `tests.exported` does."""
    folder = tmp_path_factory.getbasetemp()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEMLINE_TESTS_FOLDER", str(folder.parent if hasattr(request.config, "workerinput") else folder))
        yield


@pytest.fixture
def tiny_config():
    """A recipe small enough for tests: an untrained MobileNet at 64x64."""
    return Config(
        name="tiny",
        epochs=1,
        canvas=(64, 64),
        backbone=Backbone(name="mobilenetv2_035", pretrained=False),
        head=Head(name="unet", options={"widths": [24, 16, 12]}),
        label_head=LabelHead(hidden=16, dropout=0.2),
        batch_size=4,
        workers=0,
    )


@pytest.fixture
def tiny_network(tiny_config):
    """(label space, network) of that recipe, with fixed random weights."""
    space = load_label_space("street")
    torch.manual_seed(0)
    return space, build(tiny_config, space)
