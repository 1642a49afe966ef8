"""A small shop on the disk, and `hemline tag` in processes of its own that are stopped and killed."""

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from hemline.checkpoint import save
from hemline.export import export
from tests.exported import small_network

ROOT = Path(__file__).parent.parent


def write_shop(folder, photos):
    """`photos/`, some of them twice and some damaged, and `small.onnx`, weights without training -> the folder."""
    (folder / "photos").mkdir()
    random = np.random.default_rng(0)
    for i in range(photos):
        photo = folder / "photos" / f"{i:03}.jpg"
        blotches = random.integers(0, 256, (6, 4, 3), np.uint8).repeat(16, 0).repeat(16, 1)
        Image.fromarray(blotches).save(photo, quality=90)
        if i % 7 == 6:
            shutil.copy(folder / "photos" / f"{i - 6 * (i % 5 > 2) - 1:03}.jpg", photo)
        if i % 20 == 10:
            photo.write_bytes(photo.read_bytes()[:200])
    write_weights(folder)
    return folder


def write_weights(folder):
    """`small.onnx`, without training, which is sure of few garments, so that a photo takes little time."""
    network, metadata = small_network()
    checkpoint = folder / "small.safetensors"
    save(checkpoint, network.state_dict(), replace(metadata, label_thresholds=(0.95,) * metadata.labels.num_labels))
    export(checkpoint)


def command(shop, out, *options, event="never", number=1.0, workers=2, part_size=3):
    """`hemline tag` of the shop, which kills itself at an event of tag_killed.py."""
    return [
        sys.executable, "-m", "tests.tag_killed", event, str(number), "--", str(shop / "photos"), "--out", str(out),
        "--weights", str(shop / "small.onnx"), "--workers", str(workers), "--part-size", str(part_size), *options,
    ]  # fmt: skip


def start(arguments, **options):
    """A process, the first of a session, whose stderr is kept."""
    return subprocess.Popen(
        arguments, cwd=ROOT, start_new_session=True, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"}, **options,
    )  # fmt: skip


def run(arguments, **options):
    """Its exit code, and what it says, when it has ended."""
    process = start(arguments, **options)
    try:
        said = process.communicate(timeout=120)[1]
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    return process.returncode, said


def members(session):
    """Processes of a session that have not ended."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, of = stat.read_text().rpartition(")")[2].split()[:4]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(of) == session and state != "Z":
            found.append(int(stat.parent.name))
    return found


def all_gone(session):
    """Whether all processes of a session end within 20 seconds of its first."""
    until = time.monotonic() + 20
    while members(session) and time.monotonic() < until:
        time.sleep(0.02)
    return not members(session)
