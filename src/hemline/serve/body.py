"""A request's body to the photos in it, within the limits: each is checked while the body is read.

Whatever is wrong with a body is `Refused`, with a status and one sentence.
"""

from __future__ import annotations

import asyncio
import json
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fastapi import Request
from multipart import MultipartError, PushMultipartParser, parse_options_header
from starlette.requests import ClientDisconnect

from hemline.serve.engine import Sent
from hemline.serve.settings import Settings

FIELD = "photo"
"""Of a form, where photos are; and what a photo is called that comes without a name."""
LONGEST_NAME = 255
"""Characters."""
MOST_HELD = 1024 * 1024 * 1024
"""Bytes that the bodies of all requests take together; the next ones are turned away."""
SIGNS = 64
"""Commas, colons and brackets that JSON may have a photo: a list of a million empty objects takes no memory then."""
RETRY_AFTER = {"Retry-After": "1"}
FORMS = 'send photos as multipart/form-data in the field photo, or as application/json: {"photos": [{"data": BASE64}]}'


class Refused(Exception):  # noqa: N818  it is an answer, not a mistake of the program
    """A request that gets no answer but a status and one sentence."""

    def __init__(self, status: int, sentence: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(sentence)
        self.status, self.sentence, self.headers = status, sentence, headers


class Room:
    """What requests take up at a time. For one event loop."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._requests = 0
        self._held = 0

    @contextmanager
    def place(self) -> Iterator[Place]:
        """Room for one request, as long as it is answered.

        Raises:
            Refused: there is none.
        """
        if self._requests >= self._settings.max_requests:
            raise Refused(503, f"{self._requests} requests are being answered: ask again in a moment", RETRY_AFTER)
        self._requests += 1
        place = Place(self)
        try:
            yield place
        finally:
            self._requests -= 1
            self._held -= place.held

    def hold(self, count: int) -> None:
        """Make room for so many bytes.

        Raises:
            Refused: there is none.
        """
        if self._held + count > MOST_HELD:
            raise Refused(503, "the photos of other requests take all memory: ask again in a moment", RETRY_AFTER)
        self._held += count


class Place:
    """The room of one request."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self.held = 0
        """Bytes of its body so far."""

    def hold(self, count: int, limit: int) -> None:
        """Make room for so many bytes more.

        Raises:
            Refused: the body is over its limit, or there is no room.
        """
        if self.held + count > limit:
            raise _too_large(limit)
        self._room.hold(count)
        self.held += count


async def read_photos(request: Request, settings: Settings, place: Place) -> list[Sent]:
    """The photos of a request, one or more.

    Raises:
        Refused: there are none or too many, the body is too large, or it is not what its type says.
    """
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length[:20]) > settings.max_bytes:
        raise _too_large(settings.max_bytes)
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    try:
        if kind == "multipart/form-data":
            photos = await _of_form(request, options.get("boundary", ""), settings, place)
        elif kind == "application/json":
            body = bytearray()
            async for chunk in request.stream():
                place.hold(len(chunk), settings.max_bytes)
                body += chunk
            photos = await asyncio.to_thread(_of_json, body, settings.max_photos)
        else:
            raise Refused(415, FORMS)
    except ClientDisconnect:
        raise Refused(400, "the request ended before its body did") from None
    if not photos:
        raise Refused(422, f"no photo is in the request: {FORMS}")
    return photos


async def _of_form(request: Request, boundary: str, settings: Settings, place: Place) -> list[Sent]:
    photos: list[Sent] = []
    name, data = "", bytearray()
    try:
        with PushMultipartParser(boundary, strict=True) as parser:
            async for chunk in request.stream():
                place.hold(len(chunk), settings.max_bytes)
                if not chunk:
                    continue
                for event in parser.parse(chunk):
                    if event is None:
                        photos.append(Sent(name, bytes(data)))
                    elif isinstance(event, bytes | bytearray):
                        data += event
                    else:
                        name, data = _name_of(event, len(photos), settings.max_photos), bytearray()
    except MultipartError as error:
        raise Refused(400, f"the body is no whole multipart/form-data ({error})") from error
    return photos


def _name_of(segment: Any, before: int, most: int) -> str:  # noqa: ANN401  multipart ships no types
    """What the photo is called whose head this is."""
    if segment.name != FIELD:
        raise Refused(
            422, f"field {segment.name[:40]!r} is not known: photos go into the field photo, options into the query"
        )
    if before >= most:
        raise _too_many(most)
    name = segment.filename or FIELD
    if len(name) > LONGEST_NAME:
        raise Refused(422, f"the name of photo {before + 1} is longer than {LONGEST_NAME} characters")
    return str(name)


def _of_json(body: bytearray, most: int) -> list[Sent]:
    if sum(body.count(sign) for sign in b",:[{") > SIGNS * (most + 1):
        raise Refused(413, f"the JSON holds more than {most} photos can need: {FORMS}")
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        reason = "nested too deep" if isinstance(error, RecursionError) else _in_line(error)
        raise Refused(400, f"the body is not JSON ({reason})") from error
    if not isinstance(value, dict) or set(value) != {"photos"} or not isinstance(value["photos"], list):
        raise Refused(422, 'the JSON is not of the form {"photos": [{"name": "x.jpg", "data": BASE64}, ...]}')
    if len(value["photos"]) > most:
        raise _too_many(most)
    return [_of_entry(entry, f"photos[{i}]") for i, entry in enumerate(value["photos"])]


def _of_entry(entry: object, where: str) -> Sent:
    if not isinstance(entry, dict) or "data" not in entry or set(entry) - {"name", "data"}:
        raise Refused(422, f'{where} is not of the form {{"name": "x.jpg", "data": BASE64}}; name may be left out')
    name, data = entry.get("name", FIELD), entry["data"]
    if not isinstance(name, str) or len(name) > LONGEST_NAME:
        raise Refused(422, f"{where}.name is not a text of at most {LONGEST_NAME} characters")
    if not isinstance(data, str):
        raise Refused(422, f"{where}.data is not a text in base64")
    try:
        return Sent(name or FIELD, b64decode(data, validate=True))
    except ValueError:
        hint = "; leave out what stands before the comma" if data.startswith("data:") else ""
        raise Refused(422, f"{where}.data is not base64{hint}") from None


def _too_large(limit: int) -> Refused:
    return Refused(413, f"the request is over the limit of {limit:,} bytes: send smaller or fewer photos")


def _too_many(most: int) -> Refused:
    return Refused(413, f"a request has at most {most} photos: send the others in further requests")


def _in_line(error: ValueError) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "not text in UTF-8"
    return str(error).partition(" (char")[0]
