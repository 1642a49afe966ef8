"""The routes of `hemline serve`."""

from __future__ import annotations

import asyncio
import json
import mimetypes
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import Depends, FastAPI, Query, Request, params
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, PlainTextResponse, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware

from hemline import __version__
from hemline._choices import MaskForm
from hemline.errors import PhotoError
from hemline.predict import demo_photo
from hemline.serve.around import PREDICT, Around
from hemline.serve.body import Place, Refused, Room, read_photos
from hemline.serve.docs_page import docs_page
from hemline.serve.engine import Engine, Entry, Options
from hemline.serve.metrics import CONTENT_TYPE, Metrics
from hemline.serve.openapi import BODY, DESCRIPTION, describe, refusals
from hemline.serve.settings import Settings
from hemline.serve.words import Health, Words, health, words
from hemline.tagger import Tagger
from hemline.vocabulary import Vocabulary, load_vocabulary

PAGE = Path(__file__).with_name("page")
"""Files that are served under their names; `index.html` is `/`."""
TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml",
         ".webp": "image/webp", ".webmanifest": "application/manifest+json"}  # fmt: skip
"""What files of the page are; a system's own list may not know them."""
SENTENCES = {
    404: "there is nothing at this address: / is the page, /docs describes the API",
    405: "this address does not answer this method: /docs describes the API",
}
OPTIONS = {"masks", "min_score", "vocabulary"}
"""Query parameters of `/v1/predict`."""
BEARER = {"WWW-Authenticate": "Bearer"}

_bearer = HTTPBearer(auto_error=False)
Login = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
Masks = Annotated[MaskForm, Query(description="How masks stand in the answer.")]
MinScore = Annotated[float | None, Query(ge=0, le=1, description="Leave out what scores less.")]
ShopName = Annotated[Literal["shopify", "google"] | None, Query(description="Say a shop's words beside ours.")]


def make_app(tagger: Tagger, settings: Settings) -> FastAPI:
    """The server's application: the page, the API, its description and its metrics.

    Files of `serve/page/` are served under their names, `index.html` as `/`. `hemline.serve.around.CSP` says what they
    may load. `GET /healthz` needs no token, and says whether the API does.

    Args:
        tagger: Reads the photos.
        settings: Who may ask, and how much.
    """
    metrics = Metrics()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.engine = engine = Engine(tagger, metrics, max_pixels=settings.max_pixels)
        try:
            yield
        finally:
            await asyncio.to_thread(engine.close)  # which waits; those who are cut off are told meanwhile

    app = FastAPI(
        title="Hemline",
        version=__version__,
        description=DESCRIPTION,
        lifespan=lifespan,
        servers=[{"url": "."}],  # where this description lies, which a proxy may have put below a path
        docs_url=None,
        redoc_url=None,
        exception_handlers={Refused: _refused, HTTPException: _no_route, RequestValidationError: _wrong_query},
    )
    app.add_middleware(Around, metrics=metrics, seconds=settings.max_seconds)
    if settings.cors:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors,
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type"],
            expose_headers=["Retry-After"],
        )
    _add_api(app, tagger, settings)
    _add_about(app, tagger, settings, metrics)
    if PAGE.is_dir():
        _add_page(app, PAGE)
    describe(app)
    return app


def _add_api(app: FastAPI, tagger: Tagger, settings: Settings) -> None:
    silent = () if tagger.silent is None else tagger.silent.altogether
    room, known, secured = Room(settings), words(tagger.metadata, silent), _secured(settings)

    @cache
    def shop(name: str) -> Vocabulary:
        return load_vocabulary(name, tagger.metadata.labels)

    @app.post(
        PREDICT,
        dependencies=secured,
        summary="Say what is worn in photos",
        responses=refusals(400, 401, 408, 413, 415, 422, 500, 503, 504),
        openapi_extra={"requestBody": BODY},
    )
    async def predict(
        request: Request, masks: Masks = MaskForm.RLE, min_score: MinScore = None, vocabulary: ShopName = None
    ) -> Response:
        """One entry a photo, in their order: what is worn, or why it could not be read; 422 where none could."""
        if unknown := set(request.query_params) - OPTIONS:
            names = ", ".join(sorted(OPTIONS))
            raise Refused(422, f"query parameter {min(unknown)[:40]!r} is not known: there are {names}")
        said = None if vocabulary is None else await asyncio.to_thread(shop, vocabulary)
        options = Options(masks.value, min_score, said)
        with room.place() as place:
            entries = await _answer(request, settings, place, app.state.engine, options)
        if all(entry.error is not None for entry in entries):
            several = "" if len(entries) == 1 else f"none of the {len(entries)} photos can be read; the first is "
            raise Refused(422, f"{several}{entries[0].error}")
        return Response(f"[{', '.join(entry.text for entry in entries)}]", media_type="application/json")

    @app.get("/v1/labels", dependencies=secured, summary="What the weights can answer", responses=refusals(401))
    async def labels() -> Words:
        """The words that may stand in an answer: categories, values of attributes, colours."""
        return known


async def _answer(
    request: Request, settings: Settings, place: Place, engine: Engine, options: Options
) -> list[Entry]:
    """The answers to a request's photos; they are dropped where it takes too long, or its client has gone."""
    now = asyncio.get_running_loop().time
    ends = now() + settings.max_seconds
    try:
        async with asyncio.timeout_at(ends):
            photos = await read_photos(request, settings, place)
    except TimeoutError:
        raise Refused(408, f"the body did not come within {settings.max_seconds:g} seconds") from None
    answer = asyncio.wrap_future(engine.submit(photos, options))
    gone = asyncio.create_task(_gone(request))
    try:
        waiting: set[asyncio.Future[Any]] = {answer, gone}
        await asyncio.wait(waiting, timeout=ends - now(), return_when=asyncio.FIRST_COMPLETED)
        if answer.cancelled():
            raise Refused(503, "the server is being stopped")
        if answer.done():
            return answer.result()
        if gone.done():
            raise Refused(499, "the client has gone")
        raise Refused(504, f"no answer within {settings.max_seconds:g} seconds: ask later, or with fewer photos")
    finally:
        answer.cancel()
        gone.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _secured(settings: Settings) -> list[params.Depends]:
    """What a route depends on that asks for the token; nothing where there is none, and so the description says."""
    token = settings.token
    if token is None:
        return []

    async def check(login: Login) -> None:
        said = "" if login is None else login.credentials
        if not secrets.compare_digest(said.encode(), token.encode()):
            raise Refused(401, "this server asks for its token: send the header Authorization: Bearer TOKEN", BEARER)

    return [Depends(check)]


def _add_about(app: FastAPI, tagger: Tagger, settings: Settings, metrics: Metrics) -> None:
    state = health(tagger.metadata, settings)

    @app.get("/healthz", summary="Whether the server is there, and its limits")
    async def healthz() -> Health:
        """Needs no token; `token` says whether the API does."""
        return state

    @app.get(
        "/metrics",
        summary="Figures for Prometheus",
        dependencies=_secured(settings),
        response_class=PlainTextResponse,
        responses=refusals(401),
    )
    async def figures() -> Response:
        """Requests, photos, seconds, in Prometheus' text form."""
        return Response(metrics.text(), media_type=CONTENT_TYPE)

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        html, policy = docs_page(app.openapi())
        return HTMLResponse(html, headers={"Content-Security-Policy": policy})


def _add_page(app: FastAPI, folder: Path) -> None:
    """A route for each file, so that no path of a client reaches the disk."""
    files = StaticFiles(directory=folder)
    for suffix, kind in TYPES.items():
        mimetypes.add_type(kind, suffix)

    def route(name: str) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            response = await files.get_response(name, request.scope)
            response.headers["Cache-Control"] = "no-cache"  # kept, and asked for anew by its ETag
            return response

        return answer

    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder).as_posix()
        app.add_route("/" if name == "index.html" else f"/{name}", route(name), include_in_schema=False)
    with suppress(PhotoError):  # matplotlib is not installed: the page then shows no sample
        demo = demo_photo()
        app.add_route(f"/samples/{demo.name}", lambda _: FileResponse(demo), include_in_schema=False)


class _Json(JSONResponse):
    """JSON in ASCII, so that no name that a client gives a photo can break it."""

    def render(self, content: object) -> bytes:
        return json.dumps(content, allow_nan=False).encode()


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return _Json({"error": error.sentence}, error.status, error.headers)


async def _no_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _Json({"error": SENTENCES.get(error.status_code, error.detail)}, error.status_code, error.headers)


async def _wrong_query(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    return _Json({"error": f"query parameter {first['loc'][-1]}: {first['msg']}"}, 422)
