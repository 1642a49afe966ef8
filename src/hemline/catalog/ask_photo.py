"""A photo read as a catalogue was tagged, so that its garments can be compared."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from hemline.catalog.contact_sheet import contact_sheet
from hemline.catalog.main_garment import main_garment
from hemline.catalog.similar import Hit
from hemline.catalog.work import Plan
from hemline.errors import CatalogError, ConfigError, PhotoError
from hemline.result import Garment, Result
from hemline.runtime import DeviceName, RuntimeName, weights_file
from hemline.tagger import Tagger
from hemline.whole_files import whole_file


class Read(NamedTuple):
    """A photo and what it shows."""

    result: Result
    main: int | None
    """Which of its garments is the main one."""
    sha256: str
    """Of the bytes of its file."""


def read_as_tagged(
    photo: Path,
    made: Mapping[str, Any],
    *,
    weights: Path | None = None,
    runtime: RuntimeName = "auto",
    device: DeviceName = "auto",
) -> Read:
    """Read a photo with the weights and options of an OUT.

    Args:
        photo: Its file.
        made: `Manifest.made` of the OUT.
        weights: Their file; those in the package if None.
        runtime: As of `Tagger.load`.
        device: As of `Tagger.load`.

    Raises:
        CatalogError: the OUT was tagged by other weights.
        PhotoError: the photo cannot be read.
    """
    plan = Plan(weights="default" if weights is None else str(weights))
    if plan.weights_sha256 != made.get("weights_sha256"):
        raise CatalogError(
            f"the tags were made by weights {made.get('weights')} ({str(made.get('weights_sha256'))[:8]}), and these "
            f"are {plan.metadata.name} ({plan.weights_sha256[:8]}): name the others by --weights"
        )
    try:
        data = photo.read_bytes()
    except OSError as error:
        raise PhotoError(f"{photo}: cannot be read: {error.strerror or error}") from error
    tagger = Tagger.load(
        weights_file(plan.weights),
        runtime=runtime,
        device=device,
        flip=bool(made.get("flip")),
        min_score=made.get("min_score"),
        precision=made.get("asked_precision"),
        instances=bool(made.get("instances")),
    )
    try:
        result = replace(tagger(data), photo=str(photo))
    except PhotoError as error:
        raise PhotoError(str(error).replace(f"photo of {len(data):,} bytes", str(photo), 1)) from error
    return Read(result, main_garment(result), hashlib.sha256(data).hexdigest())


def form_of(path: Path) -> str:
    """The form of a picture, by its file's ending.

    Raises:
        ConfigError: it is neither JPEG's nor PNG's.
    """
    form = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG"}.get(path.suffix.lower())
    if form is None:
        raise ConfigError(f"--draw writes .jpg or .png, not {path.name!r}")
    return form


def save_sheet(path: Path, result: Result, garment: Garment, hits: Sequence[Hit]) -> None:
    """Write a photo and what was found for it as a JPEG or PNG.

    Raises:
        ConfigError: the file's ending is another one.
        UnwritableError: the file cannot be written.
    """
    form = form_of(path)
    with whole_file(path) as temporary:
        contact_sheet(result, garment, hits).save(temporary, format=form)
