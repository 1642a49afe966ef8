"""A web server on this machine that answers as a test tells it to."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Reply:
    """One answer."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    wait: float = 0.0
    """Seconds before it."""
    promised: int | None = None
    """The length that it claims to have, if another than its own."""


class Server:
    """What was asked, and where to ask."""

    def __init__(self, port: int) -> None:
        self.address = f"127.0.0.1:{port}"
        self.url = f"http://{self.address}"
        self.asked: list[str] = []
        """Paths with their queries, in order."""
        self.logins: list[str | None] = []
        self.most = 0
        """Requests that were answered at the same time."""


@contextmanager
def serving(answer: Callable[[str, int], Reply]) -> Iterator[Server]:
    """Serve what `answer` gives for a path (with its query) and the number of times that it was asked for, from 1."""
    times: Counter[str] = Counter()
    lock = threading.Lock()
    busy = 0

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            nonlocal busy
            with lock:
                times[self.path] += 1
                number = times[self.path]
                server.asked.append(self.path)
                server.logins.append(self.headers.get("Authorization"))
                busy += 1
                server.most = max(server.most, busy)
            reply = answer(self.path, number)
            time.sleep(reply.wait)
            with lock:
                busy -= 1
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(reply.body) if reply.promised is None else reply.promised))
            self.end_headers()
            self.wfile.write(reply.body)
            self.close_connection = reply.promised is not None

        def log_message(self, *_: object) -> None:
            pass

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """A client that has left is no news."""

    with Quiet(("127.0.0.1", 0), Handler) as web:
        server = Server(web.server_address[1])
        thread = threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            web.shutdown()
            thread.join()
