"""What `/healthz` and `/v1/labels` answer: the server, and the words of its weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel

from hemline import __version__
from hemline.colour import PROTOTYPES, SHADES
from hemline.metadata import Metadata
from hemline.serve.settings import Settings
from hemline.vocabulary import VOCABULARIES


class Limits(BaseModel):
    """What a request may ask for at most."""

    bytes: int
    pixels: int
    photos: int
    seconds: float


class Health(BaseModel):
    """That the server is there, and what a client must know before it asks."""

    status: Literal["ok"] = "ok"
    version: str
    weights: str
    token: bool
    limits: Limits


class Failed(BaseModel):
    """Why there is no answer."""

    error: str


class CategoryWord(BaseModel):
    """What a garment can be."""

    name: str
    id: int
    outfit_part: str | None


class LabelWord(BaseModel):
    """A value of an attribute."""

    name: str
    id: int | str


class GroupWords(BaseModel):
    """The values of one attribute; of `one`, a garment has at most one."""

    name: str
    choice: Literal["one", "many"]
    labels: list[LabelWord]


class Words(BaseModel):
    """What the weights can answer."""

    name: str
    license: str
    finds: Literal["classes", "instances"]
    categories: list[CategoryWord]
    groups: list[GroupWords]
    colours: list[str]
    shades: list[str]
    """Finer words, which may stand beside a colour."""
    vocabularies: list[str]
    silent: list[str]
    """Categories and values that never reach the precision that the server was asked for; they are not said."""


def health(metadata: Metadata, settings: Settings) -> Health:
    """The server, as `/healthz` says."""
    limits = Limits(
        bytes=settings.max_bytes,
        pixels=settings.max_pixels,
        photos=settings.max_photos,
        seconds=settings.max_seconds,
    )
    return Health(version=__version__, weights=metadata.name, token=settings.token is not None, limits=limits)


def words(metadata: Metadata, silent: Sequence[str] = ()) -> Words:
    """What may stand in an answer of these weights; what they never report is left out.

    Args:
        metadata: Of the weights.
        silent: What stands nowhere at the precision that is asked for.
    """
    space = metadata.labels
    return Words(
        name=metadata.name,
        license=metadata.license,
        finds=metadata.finds,
        categories=[
            CategoryWord(name=category.name, id=category.id, outfit_part=category.outfit_part)
            for category in space.categories
            if category.shown
        ],
        groups=[
            GroupWords(
                name=group.name,
                choice=group.choice,
                labels=[LabelWord(name=label.name, id=label.id) for label in group.labels if label.shown],
            )
            for group in space.groups
            if group.shown
        ],
        colours=list(PROTOTYPES),
        shades=list(SHADES),
        vocabularies=list(VOCABULARIES),
        silent=list(silent),
    )
