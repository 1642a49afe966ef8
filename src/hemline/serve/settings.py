"""What may be set of `hemline serve`."""

from __future__ import annotations

from dataclasses import dataclass

from hemline.errors import ConfigError

LOOPBACK = ("127.0.0.1", "::1", "localhost")
"""Hosts that only this machine reaches."""


@dataclass(frozen=True)
class Settings:
    """Where a server listens, who may ask, and how much.

    Raises:
        ConfigError: a value is impossible; the text names it.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    """0 takes a free one."""
    token: str | None = None
    """What `/v1/...` and `/metrics` ask for (`Authorization: Bearer TOKEN`); None asks for nothing."""
    cors: tuple[str, ...] = ()
    """Origins whose pages may ask from a browser, such as `https://shop.example`; `*` is any."""
    max_bytes: int = 32 * 1024 * 1024
    """Of a request's body."""
    max_pixels: int = 70_000_000
    """Of a photo, width times height; looked at before it is decoded."""
    max_photos: int = 16
    """Of a request."""
    max_seconds: float = 60.0
    """From a request's first byte to its answer."""
    max_requests: int = 128
    """That are read, wait or are answered at a time; the next is turned away."""

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise ConfigError(f"port is a number from 0 to 65535, not {self.port}")
        if self.token is not None and not (self.token and all("!" <= sign <= "~" for sign in self.token)):
            raise ConfigError("token is one word of letters, digits and signs (ASCII, no spaces)")
        for name in ("max_bytes", "max_pixels", "max_photos", "max_seconds", "max_requests"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} is above 0, not {getattr(self, name)}")
        for origin in self.cors:
            scheme, _, rest = origin.partition("://")
            if origin != "*" and (scheme not in ("http", "https") or not rest or set(rest) & set("/ ?#*,")):
                raise ConfigError(f"cors names origins like https://shop.example, no slash at the end, not {origin!r}")

    @property
    def on_loopback(self) -> bool:
        """Whether only this machine reaches the server."""
        return self.host in LOOPBACK or self.host.startswith("127.")
