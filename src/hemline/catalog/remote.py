"""What lies at a URL: photos, tables, shards and folders, read through fsspec.

A try that fails for a passing reason (a time-out, a broken connection, HTTP 408, 425, 429 or 5xx) is made again, after
a pause that doubles and is never quite the same; stores' own packages have their own rules for that.
Passwords and query strings stand in no message.
"""

from __future__ import annotations

import io
import math
import os
import random
import re
import ssl
import time
from collections.abc import Callable
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urljoin, urlsplit

from hemline.errors import PhotoError
from hemline.photo import is_photo

PACKAGES = {
    "http": "aiohttp", "https": "aiohttp", "s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs",
    "abfs": "adlfs", "abfss": "adlfs", "memory": "fsspec", "file": "",
}  # fmt: skip
"""The protocols that are read, and the package that each needs. Others are refused, as some run code or open files of
this machine in the name of a catalogue that may come from a stranger."""
WEB = ("http", "https")
CONTAINERS = ("abfs", "abfss", "az")
"""Where what stands before an `@` is no user: `abfs://CONTAINER@ACCOUNT/...`."""
MAX_BYTES = 200_000_000
"""The largest file that is read as a photo."""
TRIES = 3
TIMEOUT = 30.0
"""Seconds to wait for a connection, and for more bytes."""
WHOLE = 4
"""How many times `TIMEOUT` a try may take in all, for as long as its bytes keep coming; after that long, no further try
of the photo begins, so that it is answered within twice that time."""
PAUSE = 0.5
"""Seconds before the second try, about; twice as long before the third."""
LONGEST_PAUSE = 30.0
"""Seconds to wait at most, where the server says how long (`Retry-After`)."""

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)(?:://|::.*://)", re.DOTALL)
_USER = re.compile(r"((?:^|::)([^/?#:]*)://)[^/?#]*@")
_AS_IT_IS = re.compile(r"(?:[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=]|%[0-9A-Fa-f]{2})+")
_NO_CREDENTIALS = ("NoCredentialsError", "DefaultCredentialsError", "ClientAuthenticationError")
T = TypeVar("T")


def protocol_of(text: str) -> str | None:
    """`https` of `https://...`, in lower case; None of a path."""
    found = _SCHEME.match(text)
    return found[1].lower() if found else None


def public(url: str) -> str:
    """A URL without user and password, also within a chain (`zip://a.jpg::https://...`)."""
    return _USER.sub(lambda found: found[0] if found[2].lower() in CONTAINERS else found[1], url)


def shown(url: str) -> str:
    """A URL as it may stand in a message: without user, password and query string, which may be a signature."""
    head, mark, _ = public(url).partition("?")
    return f"{head}?..." if mark else head.partition("#")[0]


def name_of(url: str) -> str:
    """The end of a URL's path, after its last `/`; a key in a store may hold a `?` or `#`.

    Raises:
        ValueError: it is no address, as `https://[x/a.jpg`; so say `beside` and `is_glob`.
    """
    return (urlsplit(url).path if protocol_of(url) in WEB else url).rpartition("/")[2]


def beside(url: str, path: str) -> str:
    """The URL of what a table at `url` names by a path of its own."""
    if protocol_of(url) in WEB:
        return urljoin(url, path)
    return f"{url.rpartition('/')[0]}/{path.lstrip('/')}"


def fetch(url: str, *, max_bytes: int = MAX_BYTES, tries: int = TRIES, timeout: float = TIMEOUT) -> bytes:
    """Read a file.

    Raises:
        PhotoError: it cannot be read, or is larger than `max_bytes`.
    """
    system, path = _system(url, timeout)

    def read() -> bytes:
        if protocol_of(url) in WEB:
            buffer = _Limited(max_bytes)
            system.get_file(path, buffer)
            return buffer.getvalue()
        content: bytes = system.cat_file(path, start=0, end=max_bytes + 1)  # one request, no more than that
        if len(content) > max_bytes:
            raise _TooLargeError
        return content

    try:
        return _patiently(read, url, tries, WHOLE * timeout)
    except _TooLargeError:
        raise PhotoError(f"{shown(url)}: larger than {max_bytes:,} bytes") from None


def download(url: str, to: Path, *, tries: int = TRIES, timeout: float = TIMEOUT) -> None:
    """Copy a file of any size.

    Raises:
        PhotoError: it cannot be read.
    """
    system, path = _system(url, timeout, whole=None)
    _patiently(lambda: system.get_file(path, str(to)), url, tries)


def listing(url: str, *, tries: int = TRIES, timeout: float = TIMEOUT) -> list[str]:
    """The URLs of all files that a folder holds or a glob matches, sorted by the parts of their paths; none is hidden.

    Args:
        url: A folder, a file or a glob (`*`, `?`, `[a-z]`, `**`) of a store that can list its files.
        tries: As in `fetch`.
        timeout: As in `fetch`.

    Raises:
        PhotoError: it cannot be listed.
    """
    protocol = protocol_of(url)
    if protocol in WEB:
        raise PhotoError(f"{shown(url)}: a web server does not list its files; give a table of their addresses")
    system, path = _system(url, timeout)
    names: list[str] = _patiently(lambda: system.glob(path) if is_glob(url) else system.find(path), url, tries)
    rooted = [f"{protocol}://{name.lstrip('/')}" for name in names]
    visible = [name for name in rooted if not any(part.startswith(".") for part in name.split("/"))]
    return sorted(visible, key=lambda name: name.split("/"))


def is_glob(url: str) -> bool:
    """Whether a URL is a glob; a web address with a `?` is none."""
    web = protocol_of(url) in WEB
    return bool(re.search(r"\*" if web else r"[*?\[]", urlsplit(url).path if web else url))


def is_one_photo(url: str, *, tries: int = TRIES, timeout: float = TIMEOUT) -> bool:
    """Whether a URL is a photo, and no folder of them.

    Raises:
        PhotoError: the store does not answer.
    """
    if is_glob(url) or url.endswith("/"):
        return False
    if protocol_of(url) in WEB or is_photo(name_of(url)):
        return True
    system, path = _system(url, timeout)
    return not _patiently(lambda: system.isdir(path), url, tries)


class _TooLargeError(Exception):
    """More bytes than are allowed."""


class _Limited(io.BytesIO):
    def __init__(self, max_bytes: int) -> None:
        super().__init__()
        self._max_bytes = max_bytes

    def write(self, chunk: bytes, /) -> int:  # type: ignore[override]  # the only kind it is given
        if self.tell() + len(chunk) > self._max_bytes:
            raise _TooLargeError
        return super().write(chunk)


def _system(url: str, timeout: float, whole: float | None = WHOLE) -> tuple[Any, str]:
    """The file system of a URL, by fsspec, and its path there.

    Raises:
        PhotoError: this protocol is not read, or its package is missing.
    """
    protocol = protocol_of(url)
    if protocol not in PACKAGES:
        raise PhotoError(f"{shown(url)}: {protocol}:// is not read; {', '.join(PACKAGES)} are")
    try:
        system = _shared(os.getpid(), protocol, bool(_AS_IT_IS.fullmatch(url)), timeout, whole)
        path: str = system._strip_protocol(url)
    except ImportError:
        package = PACKAGES[protocol]
        more = f" {package}" if package not in ("aiohttp", "fsspec") else ""
        raise PhotoError(
            f'{shown(url)}: {protocol}:// needs one more package: pip install "hemline[catalog]"{more}'
        ) from None
    except Exception as error:  # a store's own package asks for its settings here
        raise PhotoError(f"{shown(url)}: {_why(error)[0]}") from None
    return system, path


@cache
def _shared(process: int, protocol: str, as_it_is: bool, timeout: float, whole: float | None) -> Any:  # noqa: ANN401
    """One for all threads of a process: fsspec's own cache has one for each, and keeps those of threads that ended."""
    import fsspec

    if protocol not in WEB:
        return fsspec.filesystem(protocol, skip_instance_cache=True)
    import aiohttp

    waits = aiohttp.ClientTimeout(total=whole and whole * timeout, sock_connect=timeout, sock_read=timeout)
    return fsspec.filesystem(
        protocol,
        skip_instance_cache=True,
        client_kwargs={"timeout": waits, "trust_env": True},
        encoded=as_it_is,  # a signature may not survive being written another way
    )


def _patiently(do: Callable[[], T], url: str, tries: int, longest: float = math.inf) -> T:
    """Do it, up to `tries` times; no further try begins later than `longest` seconds after the first.

    Raises:
        PhotoError: it failed.
        _TooLargeError: as `do` says.
    """
    if protocol_of(url) not in WEB:
        tries = 1  # the packages of stores try again by themselves
    begun = time.monotonic()
    for number in range(1, tries + 1):
        try:
            return do()
        except _TooLargeError:
            raise
        except Exception as error:  # each store's package has its own
            why, passing = _why(error)
            pause = _pause(error, number)
            if number == tries or not passing or time.monotonic() - begun + pause > longest:
                tried = f" ({number} tries)" if number > 1 else ""
                raise PhotoError(f"{shown(url)}: {why}{tried}") from None
            time.sleep(pause)
    raise ValueError(f"tries={tries}: at least 1")


def _pause(error: Exception, number: int) -> float:
    asked = str((getattr(error, "headers", None) or {}).get("Retry-After", ""))
    least = min(float(asked), LONGEST_PAUSE) if asked.isdecimal() else 0.0
    return max(least, PAUSE * 2.0 ** (number - 1) * random.uniform(0.5, 1.5))


def _why(error: Exception) -> tuple[str, bool]:
    """What went wrong, never in the error's own words, which may hold the URL; and whether it may pass."""
    status = error.status if hasattr(error, "status") else getattr(error, "code", None)  # aiohttp's, gcsfs's
    if isinstance(error, FileNotFoundError):
        return "nothing is there (HTTP 404, or no such bucket or file)", False
    if isinstance(error, TimeoutError):
        return "timed out", True
    if isinstance(error, PermissionError) or type(error).__name__ in _NO_CREDENTIALS:
        return "access is refused; are the store's credentials set in the environment?", False
    if isinstance(error, ssl.CertificateError):
        return "the server's certificate is not valid", False
    if type(error).__name__ == "TooManyRedirects":
        return "redirected again and again", False
    if isinstance(status, int) and status in list(HTTPStatus):
        return f"HTTP {status} {HTTPStatus(status).phrase}", status in (408, 425, 429) or status >= 500
    if isinstance(error, ValueError):
        return "not an address that can be read", False
    passing = isinstance(error, OSError) or type(error).__module__.partition(".")[0] in ("aiohttp", "botocore")
    said = type(error).__name__
    if isinstance(error, OSError) and error.errno:
        said = os.strerror(error.errno)
    if isinstance(error, ConnectionError) or re.search("Connect|Disconnect|Payload", type(error).__name__):
        said = f"the connection failed ({said})"
    return said, passing
