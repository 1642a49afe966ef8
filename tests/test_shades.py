"""Shades and multicolour: which words may be said, of which colours, and that queries find them."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hemline.catalog import tables
from hemline.catalog.diff import diff
from hemline.catalog.parts import Form
from hemline.catalog.products import write_products
from hemline.catalog.query import query_sql
from hemline.catalog.similar_index import up_to_date_index
from hemline.catalog.views import open_views
from hemline.colour import PROTOTYPES, SHADES, Colour, colours, is_multicolour
from hemline.errors import QueryError

from . import asked
from .test_colour import PURE, everywhere, patch, rgb, shaded

EVERY_SHADE = [(shade, code) for shade, codes in SHADES.items() for code in codes.split()]


def only(text: str) -> Colour:
    photo = patch(text)
    (colour,) = colours(photo, everywhere(photo))
    return colour


@pytest.mark.parametrize(("shade", "code"), EVERY_SHADE)
def test_every_shade_is_said_of_its_own_colours_and_their_hex_is_exact(shade: str, code: str) -> None:
    colour = only(code)
    assert (colour.shade, colour.hex, colour.share) == (shade, f"#{code}", 1.0)


def test_no_shade_is_called_as_a_name() -> None:
    assert not set(SHADES) & set(PROTOTYPES)


@pytest.mark.parametrize(("text", "name", "shade"), [
    ("#800020", "red", "burgundy"), ("#808000", "green", "olive"), ("#008080", "turquoise", "teal"),
    ("#c3b091", "beige", "khaki"), ("#fffff0", "white", "ivory"), ("#36454f", "gray", "charcoal"),
    ("#d4af37", "yellow", "old gold"), ("#c0c0c0", "gray", "silver gray"), ("#d2b48c", "beige", "tan"),
    ("#ffffff", "white", None), ("#ff0000", "red", None), ("#0000ff", "blue", None), ("#000000", "black", None),
    ("#ffff00", "yellow", None), ("#808080", "gray", None), ("#000080", "navy", None), ("#800080", "purple", None),
])  # fmt: skip
def test_shades_are_those_of_the_web_and_of_shops(text: str, name: str, shade: str | None) -> None:
    assert (only(text).name, only(text).shade) == (name, shade)


@pytest.mark.parametrize(("text", "name", "shade"), [
    ("#fdfdfd", "white", None), ("#ededed", "white", None), ("#fcfafb", "white", None), ("#d0d0d0", "white", None),
    ("#f1ebdf", "white", "ivory"), ("#6f6a67", "gray", None), ("#64605f", "gray", None), ("#888380", "gray", None),
    ("#9b897b", "gray", "taupe"), ("#bdb0a7", "gray", "stone"), ("#b3b3b3", "gray", "light gray"),
    ("#818971", "green", None), ("#716b53", "green", "olive"), ("#4c433c", "brown", None), ("#36363e", "black", None),
    ("#ff848c", "pink", "coral"), ("#fdb3a8", "pink", "peach"), ("#b19b35", "yellow", "mustard"),
    ("#1e2132", "navy", None), ("#303d4d", "navy", None), ("#5e7eb7", "blue", None), ("#a0adbd", "blue", "light blue"),
])  # fmt: skip
def test_colours_measured_on_garments_have_the_words_a_shop_says(text: str, name: str, shade: str | None) -> None:
    assert (only(text).name, only(text).shade) == (name, shade)


@pytest.mark.parametrize("text", ["#6e675a", "#5b5448", "#565c6c", "#8a93a3", "#a59c8e"])
def test_cloth_that_light_tinges_a_little_is_gray(text: str) -> None:
    assert only(text).name == "gray"


@given(st.tuples(*[st.integers(0, 255)] * 3))
@settings(max_examples=150, deadline=None)
def test_a_flat_patch_has_its_hex_and_one_name(code: tuple[int, int, int]) -> None:
    colour = only("#" + bytes(code).hex())
    assert colour.hex == "#" + bytes(code).hex()
    assert colour.name in PROTOTYPES
    assert colour.shade is None or colour.shade in SHADES
    assert colour.share == 1.0


@pytest.mark.parametrize(("text", "name", "shade"), [
    ("#7e1b30", "red", "burgundy"), ("#1f5a2b", "green", "forest green"), ("#2850c8", "blue", "royal blue"),
])  # fmt: skip
def test_shade_stays_under_falling_light_and_glare(text: str, name: str, shade: str) -> None:
    photo = shaded(text, 0.6)
    photo[5:12, 5:40] = np.minimum(photo[5:12, 5:40].astype(int) + 150, 255)      # glare on a twentieth
    first = colours(photo, everywhere(photo))[0]
    assert (first.name, first.shade) == (name, shade)
    assert first.share > 0.9
    assert np.abs(rgb(first.hex).astype(int) - rgb(text)).max() < 40              # the cloth, neither fold nor glare


@pytest.mark.parametrize(("emerald", "shade", "code"), [(60, "emerald", "#00a050"), (40, "olive", "#6b6b2f")])
def test_a_name_has_the_share_of_all_its_groups_and_the_shade_of_the_largest(
    emerald: int, shade: str, code: str
) -> None:
    photo = patch("#6b6b2f", 100, 60)
    photo[:emerald] = rgb("#00a050")
    assert colours(photo, everywhere(photo)) == [Colour("green", code, 1.0, shade)]


def test_multicolour_is_three_colours_and_none_of_half() -> None:
    def of(*shares: float) -> bool:
        return is_multicolour([Colour(name, "#000000", share) for name, share in zip(PROTOTYPES, shares, strict=False)])

    assert of(0.4, 0.3, 0.2)
    assert not of(0.5, 0.3, 0.2)
    assert not of(0.45, 0.45)
    assert not of()
    photo = patch(PURE["red"], 90, 60)
    photo[30:60], photo[60:] = rgb(PURE["yellow"]), rgb(PURE["blue"])
    assert is_multicolour(colours(photo, everywhere(photo)))


def coat(*listed: Colour) -> dict[str, object]:
    return asked.garment("coat") | {"colour": listed[0].name, "colours": [one._asdict() for one in listed]}


WARDROBE = [
    coat(Colour("red", "#800020", 0.9, "burgundy")),
    coat(Colour("red", "#ff0000", 0.7), Colour("green", "#808000", 0.2, "olive")),
    coat(Colour("yellow", "#d4af37", 0.4, "old gold"), Colour("black", "#000000", 0.3), Colour("red", "#ff0000", 0.2)),
]


@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_queries_know_shades_and_multicolour(tmp_path: Path, form: Form) -> None:
    folder = asked.write_tags(tmp_path / "tags", [({}, [one]) for one in WARDROBE], form=form)
    views = open_views(folder)
    for text, expected in [
        ("colour=burgundy", [0]), ("burgundy coat", [0]), ("colour=red", [0, 1]),
        ("colours=red", [0, 1, 2]), ("red not burgundy", [1]),
        ("colour=olive", []), ("colours=olive", [1]), ("olive>0.1", [1]), ("olive>0.3", []), ("colour=gold", [2]),
        ("colour=silver", []),
        ("colour!=burgundy", [1, 2]), ("colours!=olive", [0, 2]), ("multicolour", [2]), ("colour=multicolor", [2]),
        ("coat not multicolour", [0, 1]), ("colour=teal", []),
    ]:  # fmt: skip
        found = views.read(query_sql(views, text)).read_all()
        assert found["position"].to_pylist() == expected, text
    with pytest.raises(QueryError, match="without a number"):
        query_sql(views, "multicolour>0.3")


def bare_colours(listed: Any) -> list[dict[str, object]]:
    return [{key: one[key] for key in ("name", "hex", "share")} for one in listed]


@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_tables_of_before_have_no_shades(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: Form) -> None:
    garments = [[{**one, "is_main": True, "embedding": [1.0, 0.0]}] for one in WARDROBE]
    new = asked.write_tags(tmp_path / "new", [({"sku": "a"}, one) for one in garments], form=form, embedding=2)
    with monkeypatch.context() as before:
        before.setattr(tables, "COLOUR", pa.struct([field for field in tables.COLOUR if field.name != "shade"]))
        garments = [[{**one, "colours": bare_colours(one["colours"])}] for (one,) in garments]
        old = asked.write_tags(tmp_path / "old", [({"sku": "a"}, one) for one in garments], form=form, embedding=2)
        bare = asked.write_tags(tmp_path / "bare", [({}, [asked.garment("coat")])], form=form)
    views = open_views(old)
    for text, expected in [("colour=red", [0, 1]), ("colours=red", [0, 1, 2]), ("multicolour", [2])]:
        assert views.read(query_sql(views, text)).read_all()["position"].to_pylist() == expected, text
    for text in ("colour=burgundy", "colours=olive", "old gold"):
        with pytest.raises(QueryError, match="tag the photos again, into another folder"):
            query_sql(views, text)
    for folders in ((old, new), (new, old)):
        found = diff(*folders)
        assert (found.both, found.changed) == (3, 0)
    assert len(up_to_date_index(views)["coat"]) == 3
    assert write_products(old, "sku").products == 1
    assert open_views(bare).read("SELECT colours FROM garments").read_all()["colours"].to_pylist() == [[]]


def test_a_new_table_without_any_colour_may_be_asked_for_shades(tmp_path: Path) -> None:
    views = open_views(asked.write_tags(tmp_path, [({}, [asked.garment("coat")])], form="csv"))
    assert views.read(query_sql(views, "colour=burgundy")).read_all().num_rows == 0


def test_the_hex_is_a_pixel_of_the_better_lit_half_and_no_glare() -> None:
    photo = shaded("#c81e1e", 0.4)
    (colour,) = colours(photo, everywhere(photo))
    there = {"#" + pixel.tobytes().hex() for pixel in photo.reshape(-1, 3)}
    assert colour.hex in there
    low, high = np.quantile(photo[:, :, 0], [0.65, 0.85])
    assert low <= rgb(colour.hex)[0] <= high
