"""The server under load, over the loopback: nothing is lost or mixed up, turns are fair, who has gone costs nothing."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import BytesIO

import httpx2
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from hemline.cli import app as commands
from hemline.serve.engine import Engine, Sent
from hemline.serve.metrics import Metrics
from hemline.serve.settings import Settings
from hemline.tagger import Tagger
from tests.primary import ColourRuntime, colour_tagger
from tests.served import noise, painted, serving

PHOTO = painted("red")


class Gate(ColourRuntime):
    """The colour network, which answers no batch before it is let; notes the red of each photo's first pixel."""

    def __init__(self, device="cpu"):
        super().__init__()
        self.device, self.open, self.seen = device, threading.Event(), []

    def __call__(self, pixels, valid):
        if not self.open.wait(5):  # the test has failed: hold up nothing else
            self.open.set()
            raise TimeoutError
        self.seen += [int(x) for x in pixels[:, 32, 32, 0]]
        return super().__call__(pixels, valid)


def gated(device="cpu"):
    plain = colour_tagger()
    return Tagger(Gate(device), plain.metadata)


def painted_plain(red):
    """A photo of one colour."""
    out = BytesIO()
    Image.new("RGB", (32, 32), (red, 0, 0)).save(out, "PNG")
    return out.getvalue()


def until(condition):
    ends = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.005)


@pytest.fixture
def made():
    """Makes engines that are closed in the end."""
    engines = []

    def make(tagger, **options):
        engines.append(Engine(tagger, Metrics(), max_pixels=10**6, **options))
        return engines[-1]

    yield make
    for engine in engines:
        engine._tagger.runtime.open.set()
        engine.close()


def test_a_request_of_one_photo_does_not_wait_for_all_of_another(made):
    tagger = gated()
    engine = made(tagger, workers=1)
    many = engine.submit([Sent("x", painted_plain(10 + i)) for i in range(6)])
    one = engine.submit([Sent("x", painted_plain(200))])
    tagger.runtime.open.set()
    assert len(many.result(10)) == 6
    assert len(one.result(10)) == 1
    assert tagger.runtime.seen.index(200) <= 2
    assert [x for x in tagger.runtime.seen if x != 200] == list(range(10, 16))


def test_what_is_cancelled_is_not_begun(made):
    tagger = gated()
    engine = made(tagger, workers=1)
    first = engine.submit([Sent("x", painted_plain(1))] * 8)
    second = engine.submit([Sent("x", painted_plain(2))])
    first.cancel()
    tagger.runtime.open.set()
    second.result(10)
    assert tagger.runtime.seen.count(1) <= 1


def test_photos_of_several_requests_are_one_batch_on_a_gpu(made):
    tagger = gated("cuda")
    engine = made(tagger, batch_size=4)
    reds = [0, 250, 250, 0, 250, 0, 0, 250, 250]
    jobs = [engine.submit([Sent(str(i), painted_plain(red))]) for i, red in enumerate(reds)]
    until(lambda: len(engine._network._asked) >= 5)
    tagger.runtime.open.set()
    entries = [json.loads(job.result(10)[0].text) for job in jobs]
    assert [entry["photo"] for entry in entries] == [str(i) for i in range(9)]
    assert [bool(entry["garments"]) for entry in entries] == [red > 0 for red in reds]
    assert max(tagger.runtime.batches) == 4
    assert sum(tagger.runtime.batches) == 9


def test_one_photo_that_breaks_the_network_fails_its_request_alone(made):
    tagger = colour_tagger()

    class Touchy(Gate):
        def __call__(self, pixels, valid):
            if pixels[0, 32, 32, 0] == 66:
                raise RuntimeError("no")
            return super().__call__(pixels, valid)

    tagger.runtime = Touchy()
    tagger.runtime.open.set()
    engine = made(tagger)
    jobs = [engine.submit([Sent("x", painted_plain(red))]) for red in (1, 66, 2)]
    assert len(jobs[0].result(10)) == len(jobs[2].result(10)) == 1
    with pytest.raises(RuntimeError):
        jobs[1].result(10)


def test_nothing_is_lost_or_mixed_up():
    photos = {f"{i}.png": noise(i, size=(30 + i, 40)) for i in range(24)}
    tagger = colour_tagger()
    expected = {name: tagger(data).to_dict() | {"photo": name} for name, data in photos.items()}

    def ask(number):
        names = [f"{(number * 7 + i) % 24}.png" for i in range(1 + number % 5)]
        answer = client.post("/v1/predict", files=[("photo", (name, photos[name])) for name in names])
        return answer.status_code == 200 and answer.json() == [expected[name] for name in names]

    with serving(tagger, Settings()) as client:
        with ThreadPoolExecutor(12) as pool:
            assert all(pool.map(ask, range(60)))
        figures = client.get("/metrics").text
    assert 'hemline_requests_total{route="/v1/predict",status="200"} 60.0' in figures
    assert "hemline_photos_waiting 0.0" in figures


def test_too_many_requests_are_turned_away_and_late_ones_end():
    tagger = gated()
    with serving(tagger, Settings(max_requests=2, max_seconds=1.0)) as client, ThreadPoolExecutor(6) as pool:
        answers = [
            pool.submit(client.post, "/v1/predict", files=[("photo", ("x", PHOTO))]) for _ in range(6)
        ]
        got = sorted(answer.result().status_code for answer in answers)
        assert got == [503] * 4 + [504] * 2
        busy = next(answer.result() for answer in answers if answer.result().status_code == 503)
        assert busy.headers["retry-after"] == "1"
        tagger.runtime.open.set()
        assert client.post("/v1/predict", files=[("photo", ("x", PHOTO))]).status_code == 200


def test_a_client_that_has_gone_costs_no_more_work():
    tagger = gated()
    with serving(tagger, Settings()) as client:
        with pytest.raises(httpx2.ReadTimeout):
            client.post("/v1/predict", files=[("photo", ("x", PHOTO))] * 16, timeout=0.3)
        until(lambda: 'status="499"' in client.get("/metrics").text)
        tagger.runtime.open.set()
        assert client.post("/v1/predict", files=[("photo", ("x", PHOTO))]).status_code == 200
    assert sum(tagger.runtime.batches) < 16


def test_who_sends_too_much_still_reads_why():
    with serving(colour_tagger(), Settings(max_bytes=100_000, token="t")) as client:
        big = np.zeros(8_000_000, np.uint8).tobytes()
        login = {"Authorization": "Bearer t"}
        by_length = client.post("/v1/predict", files=[("photo", ("x", big))], headers=login)
        form = login | {"Content-Type": "multipart/form-data; boundary=x"}
        head = b'--x\r\nContent-Disposition: form-data; name="photo"; filename="a"\r\n\r\n'
        in_chunks = client.post("/v1/predict", content=iter([head, *[big[:50_000]] * 100]), headers=form)
        for answer in (by_length, in_chunks):
            assert answer.status_code == 413
            assert "100,000 bytes" in answer.json()["error"]
        assert client.post("/v1/predict", files=[("photo", ("x", big))]).status_code == 401


def test_a_body_that_never_comes_ends():
    head = "POST /v1/predict HTTP/1.1", "Host: x", "Content-Type: application/json", "Content-Length: 9", "", "{"
    with (
        serving(colour_tagger(), Settings(max_seconds=0.3)) as client,
        socket.create_connection((client.base_url.host, client.base_url.port), timeout=10) as slow,
    ):
        slow.sendall("\r\n".join(head).encode())
        assert b"408" in slow.recv(1000).partition(b"\r\n")[0]


@pytest.fixture
def command():
    """Runs the command in this process, where it ends before it listens."""
    before = signal.getsignal(signal.SIGTERM)
    yield lambda *words: CliRunner().invoke(commands, ["serve", "--no-open", *words], env={"HEMLINE_TOKEN": ""})
    signal.signal(signal.SIGTERM, before)


def test_a_port_that_is_taken_is_one_sentence(command):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = command("--port", str(port))
    assert ended.exit_code == 2
    assert ended.stdout == ""
    assert ended.stderr.startswith(f"error: 127.0.0.1:{port} cannot be had")
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "named"),
    [(("--token", "a b"), "token"), (("--max-photos", "0"), "max_photos"), (("--host", "a..b"), "host")],
)
def test_impossible_options_are_one_sentence(command, arguments, named):
    ended = command(*arguments)
    assert ended.exit_code == 2
    assert ended.stderr.startswith(f"error: {named}")
    assert ended.stderr.count("\n") == 1


@contextmanager
def started(*arguments):
    """The command in a process of its own, and a client of it."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HEMLINE_TOKEN": "", "PORT": ""}
    process = subprocess.Popen(
        [sys.executable, "-m", "hemline", "serve", "--no-open", "--port", "0", *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip
    try:
        with httpx2.Client(base_url=process.stdout.readline().strip(), trust_env=False, timeout=60) as client:
            yield process, client
    finally:
        process.kill()
        process.communicate()


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_the_command_serves_until_it_is_stopped_and_ends_its_requests(number, code):
    with started("--host", "0.0.0.0") as (process, client):
        assert client.get("/healthz").json()["status"] == "ok"
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(client.post, "/v1/predict", files=[("photo", ("x", PHOTO))] * 16)
            until(lambda: "hemline_photos_waiting 0.0" not in httpx2.get(client.base_url.join("/metrics")).text)
            process.send_signal(number)
            assert answer.result().status_code == 200
            assert len(answer.result().json()) == 16
        _, said = process.communicate(timeout=30)
    assert process.returncode == code
    assert "Traceback" not in said
    assert said.count("warning:") == 1


@pytest.mark.slow
def test_who_stops_it_twice_waits_for_no_request():
    with started() as (process, client), ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(client.post, "/v1/predict", files=[("photo", ("x", PHOTO))] * 16) for _ in range(8)]
        until(lambda: "hemline_requests_in_flight 9.0" in httpx2.get(client.base_url.join("/metrics")).text)
        process.send_signal(signal.SIGINT)
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
        late = [answer.result() for answer in answers if answer.result().status_code != 200]
    assert process.returncode == 130
    assert "Traceback" not in said
    assert [answer.status_code for answer in late] == [503] * len(late)
    assert all(answer.json() == {"error": "the server is being stopped"} for answer in late)
    assert late


def test_a_request_that_is_cut_off_as_the_server_stops_is_told_so():
    tagger = gated()
    with serving(tagger, Settings(), last=0.2) as client, ThreadPoolExecutor(1) as pool:
        answer = pool.submit(client.post, "/v1/predict", files=[("photo", ("x", PHOTO))] * 16)
        until(lambda: "hemline_requests_in_flight 2.0" in client.get("/metrics").text)
        client.stop()
        assert answer.result().status_code == 503
        assert answer.result().json() == {"error": "the server is being stopped"}
        tagger.runtime.open.set()
    assert sum(tagger.runtime.batches) < 16  # more than workers had begun
