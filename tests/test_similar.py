"""`hemline similar`: what is found, what the index covers, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from hemline.catalog.contact_sheet import contact_sheet
from hemline.catalog.similar import Similar, choose_garment
from hemline.catalog.similar_index import STATE
from hemline.catalog.tables import COLOUR
from hemline.catalog.vectors import colour_vectors, join_vectors
from hemline.colour import Colour
from hemline.errors import CatalogError, ConfigError
from hemline.labels import load_label_space
from hemline.photo import ReadPhoto
from hemline.result import Garment, Result
from tests.asked import garment, write_tags

SIZE = 16
HEXES = ("#14213d", "#c81e1e", "#f0f0f0")


def drawn(count: int, seed: int = 0) -> list[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Photos of a coat and a skirt each; every seventh is a copy of the first."""
    random = np.random.default_rng(seed)
    photos: list[tuple[dict[str, Any], list[dict[str, Any]]]] = []
    for number in range(count):
        rows = [
            garment(name, embedding=np.maximum(random.normal(size=SIZE), 0).astype(np.float16))
            | {"colours": [{"name": "x", "hex": HEXES[random.integers(3)], "share": 1.0}], "attributes": []}
            for name in ("coat", "skirt")
        ]  # fmt: skip
        copy = number % 7 == 6
        photos.append(({"sha256": f"{0 if copy else number:064x}"}, [] if copy else rows))
    return photos


def asked(row: dict[str, Any]) -> Garment:
    colours = [Colour(**colour) for colour in row["colours"]]
    embedding = np.asarray(row["embedding"], np.float32)
    return Garment(row["category"], 1, None, 0.9, 0.2, (2, 3, 4, 5), None, "mask", colours, [], embedding=embedding)


def likeness(one: dict[str, Any], other: dict[str, Any]) -> float:
    """A second way: 0.7 of the embeddings' cosine and 0.3 of the colours', each of which is one colour here."""
    a, b = (np.asarray(row["embedding"], np.float64) for row in (one, other))
    same = [colour_vectors(pa.array([row["colours"]], pa.list_(COLOUR)))[0] for row in (one, other)]
    return float(0.7 * a @ b / np.linalg.norm(a) / np.linalg.norm(b) + 0.3 * same[0] @ same[1])


def test_the_most_alike_of_the_category_are_found(tmp_path: Path) -> None:
    photos = drawn(40)
    catalogue = Similar.open(write_tags(tmp_path / "tags", photos, embedding=SIZE))
    kept = {at: rows for at, (_, rows) in enumerate(photos) if rows}
    assert len(catalogue) == 2 * len(kept)
    for at in (0, 9, 17):
        wanted = kept[at][0]
        hits = catalogue.find(asked(wanted), top=8)
        best = sorted((likeness(wanted, rows[0]) for rows in kept.values()), reverse=True)[:8]
        assert [hit.similarity for hit in hits] == pytest.approx(best, abs=0.03)       # 8 bits a number
        assert {hit.category for hit in hits} == {"coat"}
        assert hits[0].position == at
        assert all(hit.similarity == pytest.approx(likeness(wanted, kept[hit.position][0]), abs=0.03) for hit in hits)
    first = catalogue.find(asked(kept[0][0]), top=1)[0]
    assert first.copies == [f"photos/{at}.jpg" for at in range(6, 40, 7)]
    without = catalogue.find(asked(kept[0][0]), top=40, without=f"{0:064x}")
    assert 0 not in {hit.position for hit in without}
    assert len(without) == len(kept) - 1
    anything = catalogue.find(asked(kept[0][0]), top=40, any_category=True)
    assert len({hit.position for hit in anything}) == len(anything) == len(kept)


def test_colours_are_alike_as_they_look(tmp_path: Path) -> None:
    def vector(*colours: tuple[str, float]) -> NDArray[np.float32]:
        rows = [[{"name": "x", "hex": code, "share": share} for code, share in colours]]
        found: NDArray[np.float32] = colour_vectors(pa.array(rows, pa.list_(COLOUR)))[0]
        return found

    navy, near, red = vector(("#14213d", 1.0)), vector(("#1c2541", 1.0)), vector(("#c81e1e", 1.0))
    both = vector(("#14213d", 0.5), ("#c81e1e", 0.5))
    assert navy @ near > 0.95
    assert navy @ red < 0.1
    assert 0.6 < both @ navy < 0.8
    assert 0.6 < both @ red < 0.8
    assert not vector().any()
    mixed = pa.array([[], [{"name": "x", "hex": "#c81e1e", "share": 0.4}], None], pa.list_(COLOUR))
    np.testing.assert_allclose(colour_vectors(mixed), [0 * red, red, 0 * red], atol=1e-6)
    joined = join_vectors(np.array([[3.0, 4.0]], np.float32), red[None], 0.25)[0]
    np.testing.assert_allclose([joined @ joined, (joined[:2] ** 2).sum()], [1, 0.75], rtol=1e-5)


def test_the_index_grows_with_the_parts_and_is_built_anew_where_it_is_another_s(tmp_path: Path) -> None:
    photos = drawn(30)
    folder = write_tags(tmp_path / "tags", photos[:12], embedding=SIZE)
    Similar.open(folder)
    state = json.loads((folder / "index" / STATE).read_text())
    before = {file: (folder / "index" / file).stat().st_mtime_ns for file in state["files"].values()}
    Similar.open(folder)
    assert before == {file: (folder / "index" / file).stat().st_mtime_ns for file in before}   # nothing to do
    write_tags(folder, photos[12:], embedding=SIZE)
    grown = Similar.open(folder)
    whole = Similar.open(write_tags(tmp_path / "whole", photos, embedding=SIZE))
    assert len(grown) == len(whole) == 2 * sum(bool(rows) for _, rows in photos)
    wanted = asked(photos[19][1][1])
    assert [hit[:3] for hit in grown.find(wanted, top=5)] == [hit[:3] for hit in whole.find(wanted, top=5)]
    assert {file.name for file in (folder / "index").glob("*.usearch")} == set(
        json.loads((folder / "index" / STATE).read_text())["files"].values()
    )
    for key, value in (("covers", "0"), ("recipe", [0]), ("files", {"coat": "gone.usearch"})):
        changed = json.loads((folder / "index" / STATE).read_text()) | {key: value}
        (folder / "index" / STATE).write_text(json.dumps(changed))
        assert len(Similar.open(folder)) == len(whole)
    (folder / "index" / STATE).write_text("{")
    assert len(Similar.open(folder)) == len(whole)


def test_what_cannot_be_compared_is_said(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="no embeddings"):
        Similar.open(write_tags(tmp_path / "none", [({}, [garment("coat")])]))
    catalogue = Similar.open(write_tags(tmp_path / "tags", drawn(3), embedding=SIZE))
    wanted = asked(drawn(1)[0][1][0])
    wanted.embedding = np.ones(SIZE + 1, np.float32)
    with pytest.raises(CatalogError, match="other weights"):
        catalogue.find(wanted)
    wanted.embedding = None
    with pytest.raises(CatalogError, match="no embedding"):
        catalogue.find(wanted)
    bare = Garment("tie", 1, None, 0.9, 0.0, None, None, "label", [], [])
    skirt, coat = asked(drawn(1)[0][1][1]), asked(drawn(1)[0][1][0])
    read = ReadPhoto.of(np.zeros((4, 4, 3), np.uint8))
    shown = Result("x.jpg", (4, 4), [bare, coat, skirt], [], read, load_label_space("street"))
    assert choose_garment(shown, None, 0) is coat
    assert choose_garment(shown, None, 2) is skirt
    assert choose_garment(shown, "SKIRT", 1) is skirt
    assert choose_garment(shown, "2", None) is skirt
    for named, says in (("hat", "0 tie, 1 coat, 2 skirt"), ("7", "no garment '7'"), ("tie", "compared")):
        with pytest.raises(ConfigError, match=says):
            choose_garment(shown, named, None)


def test_the_contact_sheet_has_a_place_for_each_and_leaves_what_is_gone_empty(tmp_path: Path) -> None:
    photos = drawn(9)
    catalogue = Similar.open(write_tags(tmp_path / "tags", photos, embedding=SIZE))
    wanted = asked(photos[0][1][0])
    pixels = np.full((60, 40, 3), (0, 200, 0), np.uint8)
    result = Result("x.jpg", (60, 40), [wanted], [], ReadPhoto.of(pixels), load_label_space("street"))
    sheet = np.asarray(contact_sheet(result, wanted, catalogue.find(wanted, top=7)))
    assert sheet.shape[2] == 3
    assert sheet.shape[1] > 6 * 240
    assert sheet.shape[0] > 2 * 320
    green = (sheet == (0, 200, 0)).all(2)
    assert green[:, :252].sum() > 50_000
    assert not green[:, 264:].any()
