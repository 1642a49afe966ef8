"""The public names, and that answering never imports what only learning needs."""

import subprocess
import sys
from importlib.metadata import version

import pytest

import hemline

PUBLIC = {
    "Colour",
    "Config",
    "ConfigError",
    "DataError",
    "DeviceError",
    "Failure",
    "Garment",
    "HemlineError",
    "LabelError",
    "LabelSpace",
    "PhotoError",
    "Result",
    "ScoredLabel",
    "StoppedError",
    "Tagger",
    "WeightsError",
    "__version__",
    "list_configs",
    "load_config",
    "load_label_space",
}
ANSWER_HALF = [
    "errors", "labels", "config", "metadata", "photo", "colour", "masks", "result", "draw", "runtime", "tagger",
    "borders", "instances", "kaggle", "kaggle_scores", "submission", "predict", "licenses", "console", "cli",
    "run_folders", "runs", "run_tables", "listings", "notebook", "vocabulary",
    "coarse", "coco_answers", "whole_files", "_runtimes", "_weights_files", "_held", "catalog.main_garment",
    "catalog._hint_words", "catalog._index", "catalog.ahead", "catalog.ask_cli", "catalog.ask_photo",
    "catalog.ask_view", "catalog.cli", "catalog.contact_sheet", "catalog.diff", "catalog.diff_view",
    "catalog.folders", "catalog.items", "catalog.language", "catalog.local", "catalog.parts", "catalog.processes",
    "catalog.products", "catalog.query", "catalog.ray_engine", "catalog.remote", "catalog.shards", "catalog.sheets",
    "catalog.similar", "catalog.similar_index", "catalog.tables", "catalog.vectors", "catalog.view", "catalog.views",
    "catalog.vote", "catalog.words", "catalog.work",
    "serve.app", "serve.body", "serve.cli", "serve.docs_page", "serve.engine", "serve.around", "serve.metrics",
    "serve.openapi", "serve.settings", "serve.words", "__main__",
]  # fmt: skip
LEARNING_HALF = ["torch", "timm", "torchvision", "sklearn", "albumentations", "scipy", "safetensors", "onnx"]


def test_exported_names_are_exactly_the_intended_ones() -> None:
    assert set(hemline.__all__) == PUBLIC == set(dir(hemline))
    for name in PUBLIC - {"__version__"}:
        assert getattr(hemline, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'tager'"):
        hemline.tager  # noqa: B018


def test_the_version_is_that_of_the_package() -> None:
    assert hemline.__version__ == version("hemline")


def in_a_fresh_interpreter(script: str) -> str:
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_answer_half_imports_nothing_of_the_learning_half() -> None:
    said = in_a_fresh_interpreter(
        "import importlib, sys\n"
        f"for name in {ANSWER_HALF}:\n"
        "    importlib.import_module(f'hemline.{name}')\n"
        f"    leaked = [x for x in {[*LEARNING_HALF, 'matplotlib']} if x in sys.modules]\n"
        "    assert not leaked, (name, leaked)\n"
        "print('done')\n"
    )
    assert said == "done\n"


def test_help_waits_for_nothing_heavy() -> None:
    said = in_a_fresh_interpreter(
        "import sys\n"
        "from hemline.cli import app\n"
        "try:\n"
        "    app(['predict', '--help'])\n"
        "except SystemExit as end:\n"
        "    assert not end.code\n"
        "names = ('numpy', 'cv2', 'openvino', 'PIL', 'yaml', 'torch', 'fastapi', 'uvicorn')\n"
        "heavy = [x for x in names if x in sys.modules]\n"
        "assert not heavy, heavy\n"
    )
    assert "--mask-format" in said
