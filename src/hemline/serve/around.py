"""Around every request: what is counted of it, the headers of every answer, and a body that nobody wants."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from contextlib import suppress

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hemline.serve.metrics import ELSEWHERE, Metrics

PREDICT = "/v1/predict"
ROUTES = ("/", PREDICT, "/v1/labels", "/healthz", "/metrics", "/docs", "/openapi.json")
"""Paths that are counted by their names."""
CSP = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "connect-src 'self' data: blob:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
"""What a page from here may load: nothing from another host, and no script or style that stands in the HTML."""
HEADERS = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Of every answer that does not say otherwise."""
DRAINED = 64 * 1024 * 1024
"""Bytes of a refused request that are read and dropped, so that its client comes to read why."""
DRAIN_SECONDS = 5.0

log = logging.getLogger("hemline.serve")


class Around:
    """Counts requests, adds `HEADERS`, and answers with one sentence where nobody else does.

    That is 500 where a handler failed, and 503 where it is cut off as the server stops.

    Args:
        app: What answers.
        metrics: Is told.
        seconds: After which nobody reads on a body that is refused, at most `DRAIN_SECONDS`.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, seconds: float) -> None:
        self._app, self._metrics = app, metrics
        self._seconds = min(seconds, DRAIN_SECONDS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = _Body(scope, receive)
        status = 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                if status >= 400:
                    await body.drain(self._seconds)
            await send(message)

        begun, metrics = time.monotonic(), self._metrics
        metrics.in_flight.inc()
        try:
            await self._app(scope, body.receive, answer)
        except asyncio.CancelledError:  # it had its last seconds: see `hemline.serve.cli.LAST_REQUESTS`
            if not status:
                body.leave()
                await _say(answer, 503, "the server is being stopped")
        except Exception:
            log.exception("a request could not be answered")
            if not status:
                await _say(answer, 500, "something went wrong here, and the server's log says what")
        finally:
            metrics.in_flight.dec()
            self._count(scope["path"], status or 499, time.monotonic() - begun)  # 499: the client has gone

    def _count(self, path: str, status: int, seconds: float) -> None:
        self._metrics.requests.labels(_route(path), str(status)).inc()
        if path == PREDICT:
            self._metrics.answer.observe(seconds)


class _Body:
    """A request's body, and whether all of it was read."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        headers = Headers(scope=scope)
        sent = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
        self._receive = receive
        self._open = sent and "expect" not in headers  # who sends `Expect: 100-continue` waits for our word

    async def receive(self) -> Message:
        message = await self._receive()
        self._open = self._open and message["type"] == "http.request" and message.get("more_body", False)
        return message

    def leave(self) -> None:
        """Read no more of it."""
        self._open = False

    async def drain(self, seconds: float) -> None:
        """Read the rest and drop it, up to `DRAINED`."""
        dropped = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._open and dropped < DRAINED:
                    dropped += len((await self.receive()).get("body", b""))


def _route(path: str) -> str:
    return path if path in ROUTES else ELSEWHERE


async def _say(send: Send, status: int, sentence: str) -> None:
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps({"error": sentence}).encode()})
