"""Which garment of a photo is the one for sale."""

from __future__ import annotations

from hemline.result import Result


def main_garment(result: Result, hint: str | None = None) -> int | None:
    """Which of `result.garments` the photo is about: the largest; None where there is none."""
    return 0 if result.garments else None
