"""`hemline serve`: a thin command over `hemline.serve.app`."""

from __future__ import annotations

import os
import signal
import socket
import sys
from pathlib import Path
from threading import Thread
from types import FrameType
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from hemline._choices import DeviceName, DtypeName, RuntimeName
from hemline._exits import clean_exit, needs_extra
from hemline._options import ENGINE, Device, Dtype, Flip, Instances, Precision, Runtime
from hemline.data_commands.cli import FLAG
from hemline.errors import HemlineError

if TYPE_CHECKING:
    from fastapi import FastAPI

    from hemline.serve.settings import Settings

LIMITS = "Limits"
LAST_REQUESTS = 8
"""Seconds that requests have to end when the server is stopped: less than the 10 after which Docker kills it."""

app = typer.Typer()


@app.command()
def serve(
    port: Annotated[int, typer.Option(envvar="PORT", metavar="N", help="Where it listens; 0 takes a free one.")] = 8000,
    host: Annotated[
        str, typer.Option(envvar="HEMLINE_HOST", help="Of which address; `0.0.0.0` lets the network in.")
    ] = "127.0.0.1",
    token: Annotated[
        str | None,
        typer.Option(envvar="HEMLINE_TOKEN", metavar="WORD", help="Answer none but those who send it."),
    ] = None,
    cors: Annotated[
        list[str] | None,
        typer.Option(
            envvar="HEMLINE_CORS", metavar="ORIGIN", help="Sites whose pages may ask, `*` for any; several times."
        ),
    ] = None,
    no_open: Annotated[bool, typer.Option("--no-open", metavar=FLAG, help="Open no browser.")] = False,
    max_mb: Annotated[
        int, typer.Option(envvar="HEMLINE_MAX_MB", metavar="MB", help="Of a request.", rich_help_panel=LIMITS)
    ] = 32,
    max_megapixels: Annotated[
        float,
        typer.Option(envvar="HEMLINE_MAX_MEGAPIXELS", metavar="MP", help="Of a photo.", rich_help_panel=LIMITS),
    ] = 70,
    max_photos: Annotated[
        int, typer.Option(envvar="HEMLINE_MAX_PHOTOS", metavar="N", help="Of a request.", rich_help_panel=LIMITS)
    ] = 16,
    max_seconds: Annotated[
        float,
        typer.Option(envvar="HEMLINE_MAX_SECONDS", metavar="S", help="Until an answer.", rich_help_panel=LIMITS),
    ] = 60,
    max_requests: Annotated[
        int, typer.Option(envvar="HEMLINE_MAX_REQUESTS", metavar="N", help="At a time.", rich_help_panel=LIMITS)
    ] = 128,
    weights: Annotated[
        Path | None,
        typer.Option(
            "--weights", "-w", metavar="FILE", help="Other weights than those in the package.", rich_help_panel=ENGINE
        ),
    ] = None,
    precision: Precision = None,
    instances: Instances = False,
    runtime: Runtime = RuntimeName.AUTO,
    device: Device = DeviceName.AUTO,
    dtype: Dtype = DtypeName.F32,
    flip: Flip = False,
) -> None:
    """Serve a page to try photos on, and an HTTP API, on this machine.

    - `hemline serve`, then drop a photo on the page
    - `curl -F photo=@photo.jpg http://127.0.0.1:8000/v1/predict`
    """
    with clean_exit(), needs_extra("serve", "serve"):
        signal.signal(signal.SIGTERM, _end)
        from hemline import console
        from hemline.serve.app import make_app
        from hemline.serve.settings import Settings
        from hemline.tagger import Tagger

        settings = Settings(
            host=host,
            port=port,
            token=token,
            cors=tuple(cors or ()),
            max_bytes=max_mb * 1_000_000,
            max_pixels=round(max_megapixels * 1_000_000),
            max_photos=max_photos,
            max_seconds=max_seconds,
            max_requests=max_requests,
        )
        with _bound(settings) as listener:  # before the weights are read, so that a port that is taken is said at once
            tagger = Tagger.load(
                None if weights == Path("default") else weights,
                runtime=runtime.value,
                device=device.value,
                dtype=dtype.value,
                flip=flip,
                instances=instances,
                precision=precision,
            )
            engine = tagger.runtime
            console.note(f"{tagger.metadata.name} weights, {engine.name} on {engine.device} in {engine.dtype}")
            console.note_silent(tagger.silent, precision)
            if not settings.on_loopback and settings.token is None:
                console.note("warning: anyone who reaches this machine may ask: add --token, or HEMLINE_TOKEN")
            _run(make_app(tagger, settings), settings, listener, open_page=not no_open)


def _run(app: FastAPI, settings: Settings, listener: socket.socket, *, open_page: bool) -> None:
    """Serve until Ctrl-C or SIGTERM; says where on stdout once requests are taken.

    uvicorn takes both while it serves, and raises them again once the last requests have ended.
    """
    import uvicorn

    from hemline import console

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            address = _address(settings.host, listener.getsockname()[1])
            console.plain(address)
            if open_page and _has_browser():
                Thread(target=_open, args=(address,), daemon=True).start()

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            await super().shutdown(sockets)
            if self.force_exit:  # a second Ctrl-C: the engine is closed all the same
                await self.lifespan.shutdown()

    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=LAST_REQUESTS,
        ws="none",
    )
    Server(config).run([listener])


def _end(number: int, frame: FrameType | None) -> NoReturn:
    """What SIGTERM does before and after requests are taken; a container's first process ignores it else."""
    raise SystemExit(0)


def _bound(settings: Settings) -> socket.socket:
    """A socket that has its port, and does not listen yet."""
    host, port = settings.host, settings.port
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError) as error:
        raise HemlineError(f"host {host!r} is no address here: take 127.0.0.1, or 0.0.0.0 for all") from error
    listener = socket.socket(family, kind, protocol)
    try:
        if os.name == "posix":  # elsewhere it would let two servers have one port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        listener.close()
        said = f"{host}:{port} cannot be had ({error.strerror}): name another with --port or --host"
        raise HemlineError(said) from error
    return listener


def _address(host: str, port: int) -> str:
    """What to type into a browser on this machine."""
    name = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"


def _has_browser() -> bool:
    """Whether there is a display; a browser in the terminal would take it from us."""
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _open(address: str) -> None:
    import webbrowser

    webbrowser.open(address)
