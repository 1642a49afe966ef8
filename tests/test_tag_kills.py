"""A tagging run that is killed again and again ends, when it is run again, as if nothing had happened."""

import os
import random
import signal
import time
from pathlib import Path

import pytest

from hemline.catalog.parts import MANIFEST, read_manifest
from tests.shop import command, members, run, start, write_shop
from tests.tag_killed import EVENTS
from tests.tagging import tables

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs process groups")]
PHOTOS, KILLS = 300, 24


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    return write_shop(tmp_path_factory.mktemp("shop"), PHOTOS)


@pytest.fixture(scope="module")
def whole(shop, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole") / "out"
    code, said = run(command(shop, out, workers=1))
    assert code == 1, said                                 # some are damaged
    photos, garments = tables(out)
    assert set(photos["status"].to_pylist()) == {"ok", "failed", "duplicate"}
    assert garments.num_rows > PHOTOS // 2
    return photos, garments


def assert_same(out, whole):
    photos, garments = tables(out)
    assert photos["position"].to_pylist() == list(range(PHOTOS))
    assert len(set(photos["path"].to_pylist())) == PHOTOS
    assert photos.equals(whole[0])
    assert garments.equals(whole[1])
    manifest = read_manifest(out)
    standing = sorted(file for table in ("photos", "garments") for file in (out / table).iterdir())
    assert standing == sorted(manifest.files("photos") + manifest.files("garments"))


def test_kills_lose_no_photo_and_repeat_none(shop, whole, tmp_path):
    draw = random.Random(5)
    deaths = [(event, 1 + draw.randrange(2)) for event in EVENTS[:-1]]
    deaths += [("seconds", draw.uniform(0.0, 0.15)) for _ in range(KILLS - 2 * len(deaths))]
    deaths += [(event, 1 + draw.randrange(4)) for event in EVENTS[:-1]]
    draw.shuffle(deaths)
    grown = []
    for turn, (event, number) in enumerate(deaths):
        code, said = run(command(shop, tmp_path, event=event, number=number, workers=1 + turn % 2))
        assert code == -signal.SIGKILL, f"{event} {number}: {said}"
        grown.append(read_manifest(tmp_path).photos)
    assert len(deaths) >= 20
    assert grown == sorted(grown)
    assert grown[-1] < PHOTOS
    code, said = run(command(shop, tmp_path))
    assert code == 1, said
    assert_same(tmp_path, whole)


def test_killed_workers_cost_nobody_an_answer(shop, whole, tmp_path):
    draw = random.Random(6)
    process = start(command(shop, tmp_path))
    kills = before = 0
    while process.poll() is None and kills < 2:            # three that never begin would be an error
        time.sleep(0.01)
        workers = [pid for pid in members(process.pid) if b"spawn_main" in _called(pid)]
        stand = read_manifest(tmp_path).photos if (tmp_path / MANIFEST).exists() else 0
        if len(workers) == 2 and stand > before:
            os.kill(draw.choice(workers), signal.SIGKILL)
            kills, before = kills + 1, stand
    said = process.communicate(timeout=120)[1]
    assert process.returncode == 1, said
    assert kills == 2
    assert_same(tmp_path, whole)


def _called(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
