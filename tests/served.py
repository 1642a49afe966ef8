"""A server of a test's own on the loopback, by uvicorn, as `hemline serve` runs it."""

import socket
import threading
import time
from contextlib import contextmanager
from io import BytesIO

import httpx2
import numpy as np
import uvicorn
from PIL import Image

from hemline.serve.app import make_app


def painted(*colours, size=(48, 60), form="PNG"):
    """The bytes of an image of coloured bands on grey: see tests/primary.py."""
    image = Image.new("RGB", size, "grey")
    for i, colour in enumerate(colours):
        image.paste(colour, (8, 4 + 16 * i, size[0] - 8, 18 + 16 * i))
    out = BytesIO()
    image.save(out, form)
    return out.getvalue()


def noise(seed, size=(40, 40)):
    """The bytes of a PNG that no other seed gives."""
    out = BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)).save(out, "PNG")
    return out.getvalue()


@contextmanager
def serving(tagger, settings, last=None):
    """A client of a server that runs in a thread; `client.stop()` stops it, and requests have `last` seconds to end."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(make_app(tagger, settings), log_level="error", ws="none", access_log=False,
                            timeout_graceful_shutdown=last)  # fmt: skip
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    until = time.monotonic() + 20
    while not server.started and time.monotonic() < until:
        time.sleep(0.01)
    try:
        with httpx2.Client(
            base_url=f"http://127.0.0.1:{listener.getsockname()[1]}", trust_env=False, timeout=30
        ) as client:
            client.stop = lambda: setattr(server, "should_exit", True)
            yield client
    finally:
        server.should_exit = True
        thread.join()
        listener.close()
