"""The routes of `hemline serve`."""

from __future__ import annotations

from fastapi import FastAPI

from hemline.serve.settings import Settings
from hemline.tagger import Tagger


def make_app(tagger: Tagger, settings: Settings) -> FastAPI:
    """The server's application: the page, the API, its description and its metrics.

    `GET /healthz` answers `{"status": "ok", "version", "weights", "token": whether /v1 asks for one,
    "limits": {"bytes", "pixels", "photos", "seconds"}}` and needs no token. Files of `serve/page/` are served under
    their names, `index.html` as `/`. The page's CSP: `default-src 'none'; script-src 'self'; style-src 'self';
    img-src 'self' data: blob:; connect-src 'self' data: blob:; base-uri 'none'; form-action 'none';
    frame-ancestors 'none'` (no inline script or style; a style set from script is fine).

    Args:
        tagger: Reads the photos.
        settings: Who may ask, and how much.
    """
    raise NotImplementedError
