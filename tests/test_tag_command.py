"""`hemline tag` as a command that is stopped, killed, or has no room: what stands is true, and the same goes on."""

import os
import random
import resource
import signal
import time

import pytest

from hemline.catalog.parts import read_columns, read_manifest
from tests.shop import all_gone, command, members, run, start, write_shop
from tests.tagging import tables

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs process groups")]
PHOTOS = 300
NAMES = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    return write_shop(tmp_path_factory.mktemp("shop"), PHOTOS)


@pytest.fixture(scope="module")
def whole(shop, tmp_path_factory):
    """Both tables of a run that nobody disturbed, by one process, in one part."""
    out = tmp_path_factory.mktemp("whole") / "out"
    code, said = run(command(shop, out, workers=1, part_size=1000))
    assert code == 1, said                                 # some are damaged
    return tables(out)


def assert_begun(out, whole):
    """Its parts hold the first photos of the whole -> how many."""
    stand = read_manifest(out).photos
    if not stand:
        return 0
    photos, garments = tables(out)
    assert photos == whole[0][:stand]
    assert garments == whole[1][: sum(whole[0]["garments"][:stand].drop_null().to_pylist())]
    return stand


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=NAMES.get)
def test_signals_at_any_moment_are_one_sentence_and_the_same_command_goes_on(shop, whole, tmp_path, number):
    draw = random.Random(number)
    out, turn, stops, finished = tmp_path / "0", 0, 0, 0
    while stops < 6:
        process = start(command(shop, out, workers=1 + turn % 2, part_size=20))
        before = read_manifest(out).photos if (out / "manifest.jsonl").exists() else 0
        while process.poll() is None and len(members(process.pid)) < 3:  # it, a worker, and who watches semaphores
            time.sleep(0.01)
        time.sleep(draw.choice([draw.uniform(0, 0.3), draw.uniform(0, 3)]))
        signals = draw.choice([1, 2, 2, 3])                # an impatient user; in a terminal all processes hear it
        for _ in range(signals):
            if process.poll() is None:
                os.killpg(process.pid, number)
                time.sleep(draw.choice([0, draw.uniform(0, 0.01), draw.uniform(0, 0.1)]))
        said = process.communicate(timeout=60)[1]
        assert all_gone(process.pid)
        stand = assert_begun(out, whole)
        turn += 1
        if process.returncode in (0, 1, -number):          # it was done before it heard any, or nothing was left to do
            assert stand == PHOTOS
            out = tmp_path / str(turn)
            continue
        stops += 1
        assert process.returncode == 130, said
        assert stand >= before
        at_once = "error: stopped at once; the same command goes on from the last whole part\n"
        if signals > 1 and said == at_once:                # a busy machine may hear the second long after the first
            continue
        finished += 1
        assert said == f"error: stopped; {stand} photos stand in {out}: the same command goes on from there\n"
    assert finished >= stops / 2
    code, said = run(command(shop, out, part_size=20))
    assert code in (0, 1), said
    assert assert_begun(out, whole) == PHOTOS


def test_what_was_answered_before_a_signal_stands_in_a_short_part(shop, whole, tmp_path):
    process = start(command(shop, tmp_path, event="asleep", number=5, part_size=1000))
    while not (tmp_path / "asleep").exists() and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130, process.stderr.read()
    process.stderr.close()
    assert assert_begun(tmp_path, whole) >= 5 * 3          # five chunks of three were taken in
    assert len(read_manifest(tmp_path).parts) == 1


def test_workers_end_with_the_first_process(shop, tmp_path):
    for wait in (0.0, 1.0):                                # while they begin, and while they work
        process = start(command(shop, tmp_path))
        while len(members(process.pid)) < 3:
            time.sleep(0.01)
        time.sleep(wait)
        process.kill()
        process.communicate()
        assert all_gone(process.pid)


def test_a_full_disk_is_one_sentence_and_the_same_command_goes_on(shop, whole, tmp_path):
    def little_room():
        resource.setrlimit(resource.RLIMIT_FSIZE, (15_000, 15_000))  # as large as a file may be

    out = tmp_path / "out"
    code, said = run(command(shop, out, part_size=100), preexec_fn=little_room)
    assert code == 2, said
    stand = assert_begun(out, whole)
    assert said.startswith(f"error: {out}")
    assert "cannot be written: " in said
    assert "File too large; " in said
    assert said.endswith(f"{stand} photos stand in {out}, and the same command goes on from there\n")
    assert len(said.splitlines()) == 1
    code, said = run(command(shop, out, part_size=100))
    assert code in (0, 1), said
    assert assert_begun(out, whole) == PHOTOS


def test_a_csv_says_what_parquet_says(shop, whole, tmp_path):
    code, said = run(command(shop, tmp_path, "--format", "csv", part_size=100))
    assert code == 1, said
    manifest = read_manifest(tmp_path)
    names = ["position", "path", "status", "sha256", "error_message", "duplicate_of"]
    rows = [row for file in manifest.files("photos") for row in read_columns(file, names, "csv").to_pylist()]
    assert rows == whole[0].select(names).to_pylist()
    names = ["position", "path", "category", "colour", "mask"]
    rows = [row for file in manifest.files("garments") for row in read_columns(file, names, "csv").to_pylist()]
    assert rows == whole[1].select(names).to_pylist()
