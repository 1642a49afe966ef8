"""`hemline data stats --html FILE`: what datasets hold as one page that needs no network and no library."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path

import numpy as np
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

from hemline.config import Config
from hemline.data.loading import Source
from hemline.data_commands.charts import (
    Cell,
    area_strips,
    bar,
    heat_map,
    known_bar,
    parts_bar,
    size_map,
    times_bars,
)
from hemline.data_commands.stats import RARE, LabelCount, SetStats, Stats, Together
from hemline.data_commands.stats_table import percent, sample_said, times_said
from hemline.data_commands.thumbnails import Strip, strips
from hemline.errors import DataError
from hemline.labels import LabelSpace
from hemline.page import card, document, sort_table, tiles
from hemline.whole_files import whole_file

MOST_ROWS, MOST_COLUMNS = 80, 46
"""Of a heat map: what is more frequent is shown, the JSON has the rest."""
PICTURES, PICTURE_BYTES = 700, 4_000_000
"""Small pictures of a page, and their bytes, at most; as text they are a third more."""
UNREADABLE = 20
"""Photos that could not be read and are told of."""


def write_page(file: Path, stats: Stats, config: Config, space: LabelSpace, sources: Sequence[Source]) -> None:
    """Write the page; it is whole or not there.

    Raises:
        DataError: it cannot be written there.
    """
    wrong_page_file(file)
    num_strips = sum(label.yes > 0 for part in stats.sets for label in part.labels if label.group == "category")
    each = max(1, min(8, PICTURES // max(1, num_strips)))
    left = PICTURE_BYTES
    pictures = []
    for part, source in zip(stats.sets, sources, strict=True):
        found = strips(part, source, space, each=each, workers=config.workers)
        for name, strip in found.items():
            kept = []
            for key, picture in strip:
                if (left := left - len(picture)) >= 0:
                    kept.append((key, picture))
            found[name] = kept
        pictures.append(found)
    with whole_file(file) as temporary:
        temporary.write_text(page(stats, pictures), encoding="utf-8")


def wrong_page_file(file: Path) -> None:
    """Refuse a file that no page can be written to, before anything is counted.

    Raises:
        DataError: another suffix, or no such folder.
    """
    if file.suffix.lower() not in {".html", ".htm"}:
        raise DataError(f"{file}: the page is written as .html")
    if not file.parent.is_dir():
        raise DataError(f"{file}: no folder {file.parent}; make it first")


def page(stats: Stats, pictures: Sequence[Mapping[str, Strip]]) -> str:
    """The page as text.

    Args:
        stats: The figures.
        pictures: For each set, small pictures of its categories.
    """
    names = " · ".join(part.name for part in stats.sets)
    links = [f'<li><a href="#set-{i}">{escape(part.name)}</a></li>' for i, part in enumerate(stats.sets)]
    overview = _overview(stats) if len(stats.sets) > 1 else ""
    sections = [_section(i, part, pictures[i]) for i, part in enumerate(stats.sets)]
    total = sum(part.photos for part in stats.sets)
    body = (
        f"<header><h1>{escape(names)}</h1><p class='said'>{total:,} photos in the words of the label space "
        f"{escape(stats.label_space)}. Labels are counted over all photos, what needs pixels on a sample (seed "
        f"{stats.seed}), and each figure says which. Unknown is never counted as no.</p></header>"
        f"<nav><ul>{''.join(links)}</ul></nav><main>{overview}{''.join(sections)}</main>"
    )
    return document(f"{names}: what the data hold", body, "data stats")


def _overview(stats: Stats) -> str:
    """The sets beside each other: how much of an epoch each is, and which labels it shows."""
    sets = stats.sets
    epoch = parts_bar({part.name: part.draws.an_epoch for part in sets})
    rows: list[str] = []
    cells: list[list[Cell]] = []
    for several in zip(*(part.labels for part in sets), strict=True):
        if any(label.yes for label in several):
            rows.append(several[0].name)
            cells.append([_known_cell(label, part) for label, part in zip(several, sets, strict=True)])
    names, few = [part.name for part in sets], 24
    chunks = range(0, len(rows), few)
    tables = [heat_map(rows[i : i + few], names, cells[i : i + few], "photos", turned=False) for i in chunks]
    table = f'<div class="beside">{"".join(tables)}</div>'
    taught = "Photos that show a label. Hatched: nobody said; 0: what is known is its absence."
    return (
        "<section><h2>Together</h2>"
        + card("An epoch", "Photos drawn an epoch, by dataset: their weights and repeats in the recipe.", epoch)
        + card("What each set teaches", taught, table)
        + "</section>"
    )


def _known_cell(label: LabelCount, part: SetStats) -> Cell:
    if not label.known:
        return None
    heat = (np.log10(1 + label.yes) / np.log10(1 + max(10, part.photos))) if label.yes else 0.0
    said = f"{part.name}, {label.name}: {label.yes:,} yes, {label.no:,} no, {label.unknown:,} unknown"
    return float(heat), f"{label.yes:,}", said


def _section(number: int, part: SetStats, pictures: Mapping[str, Strip]) -> str:
    shown = [label for label in part.labels if label.yes]
    parts = [
        f'<section id="set-{number}"><h2>{escape(part.name)}</h2><p class="said">{escape(part.terms)}</p>',
        _tiles(part),
        _troubles(part),
        '<div class="pair">',
        card(
            "The split", f"{part.groups:,} groups of photos, each on one side.",
            parts_bar({side: count for side, count in part.sides.items() if count}),
        ),
        card("An epoch", _epoch_said(part), times_bars(part.draws.times) if len(part.draws.times) > 1 else ""),
        "</div>",
        card("Labels", _labels_said(part), _label_table(part, shown)),
    ]  # fmt: skip
    if pictures:
        what = f"Picked by the seed; of what is drawn, the garment. {len(pictures)} categories."
        parts.append(card("What the categories look like", what, _strips(part, pictures)))
    parts.append(_co_occurrence(part.together))
    parts.append(_attributes(part))
    if part.areas:
        areas = sorted(part.areas, key=lambda area: -area.percentiles[2])
        what = (
            f"Shares of the photo, from {sample_said(part)}; of a category, each garment's own. Bar: half of them; "
            "line: nine of ten; dot: the median; the scale is logarithmic."
        )
        parts.append(card("Mask areas", what, area_strips(areas) + _area_table(part)))
    what = f"Pixels, from {sample_said(part)}: {_sizes_said(part)}. The larger a dot, the more photos."
    parts.append(card("Photo sizes", what, size_map(part.sizes)))
    parts.append("</section>")
    return "".join(parts)


def _tiles(part: SetStats) -> str:
    garments, pixels, shown = part.garments, part.pixels, sum(label.yes > 0 for label in part.labels)
    sampled = "all photos" if garments.photos == part.photos else sample_said(part)
    a_photo = f"{garments.count / garments.drawn:.1f}" if garments.drawn else "none"
    unknown_pixels = percent(pixels.unknown) if pixels.photos else "all"
    where = f"where garments are drawn; {sample_said(part)}" if pixels.photos else "nothing is drawn"
    figures = [
        ("photos", f"{part.photos:,}", f"{part.sides['train']:,} to train on"),
        ("garments drawn", f"{garments.count:,}", f"on {garments.drawn:,} photos; {sampled}"),
        ("garments a photo", a_photo, f"of photos with any; at most {garments.most}"),
        ("labels shown", f"{shown}", f"of {len(part.labels)} in the label space"),
        ("rare labels", f"{sum(label.rare for label in part.labels)}", f"shown by under {RARE} photos"),
        ("labels unknown", percent(part.unknown), "of all labels of all photos"),
        ("pixels unknown", unknown_pixels, where),
        ("median size", f"{part.sizes.width[2]:.0f} x {part.sizes.height[2]:.0f}", sample_said(part)),
    ]
    return tiles(figures)


def _troubles(part: SetStats) -> str:
    if not part.unreadable and not part.left_out:
        return ""
    items = "".join(f"<li>{escape(text)}</li>" for text in part.unreadable[:UNREADABLE])
    said = (
        f"{part.left_out:,} rows were left out and {len(part.unreadable):,} photos could not be read; "
        "<code>hemline data check</code> lists all."
    )
    return f'<div class="card bad"><h3>Damaged</h3><p>{said}</p><ul>{items}</ul></div>'


def _epoch_said(part: SetStats) -> str:
    draws = part.draws
    return (
        f"{draws.photos:,} training photos, drawn {draws.an_epoch:,.0f} times an epoch: {times_said(part)} times each "
        f"(weight {draws.weight:g})."
    )


def _labels_said(part: SetStats) -> str:
    said = f"Counted over all {part.photos:,} photos. A click on a heading sorts."
    if part.garments.count and part.garments.photos != part.photos:
        said += f" Garments are those drawn in {sample_said(part)}."
    return said


def _label_table(part: SetStats, shown: Sequence[LabelCount]) -> str:
    most = max((label.yes for label in shown), default=1)
    ordered = sorted(shown, key=lambda label: (label.group != "category", -label.yes))
    columns: list[tuple[str, Callable[[LabelCount], float]]] = [
        ("train", lambda x: x.train), ("validation", lambda x: x.validation),
        *([("test", lambda x: x.test)] if part.sides["test"] else []), ("drawn an epoch", lambda x: x.an_epoch),
        *([("garments", lambda x: x.garments)] if part.garments.count else []),
    ]  # fmt: skip
    heads = [("label", "ascending"), ("group", "ascending"), ("yes", "descending"), ("", ""), ("known", "descending")]
    rows = []
    for x in ordered:
        mark = f'<span class="rare" title="under {RARE} photos: nobody learns it">rare</span>' if x.rare else ""
        rows.append(
            f'<tr><td>{escape(x.name)}{mark}</td><td class="group">{escape(x.group)}</td>'
            f'<td data-value="{x.yes}">{x.yes:,}</td><td class="long">{bar(x.yes, x.no, x.unknown, most=most)}</td>'
            f'<td data-value="{x.known}">{known_bar(x.yes, x.no, x.unknown)}</td>'
            + "".join(f'<td data-value="{value(x)}">{value(x):,.0f}</td>' for _, value in columns)
            + "</tr>"
        )
    said = ""
    for what, names in (
        ("shown by no photo, but known of some", [x.name for x in part.labels if x.no and not x.yes]),
        ("of which nothing is known", [x.name for x in part.labels if not x.known]),
    ):
        if names:
            listed = escape(", ".join(names))
            said += f"<details><summary>{len(names):,} labels {what}</summary><p>{listed}</p></details>"
    return sort_table([*heads, *((name, "descending") for name, _ in columns)], rows) + said


def _strips(part: SetStats, pictures: Mapping[str, Strip]) -> str:
    rows = []
    for label in part.labels:
        if strip := pictures.get(label.name) if label.group == "category" else None:
            images = "".join(
                f'<img loading="lazy" alt="{escape(key)}" title="{escape(key)}" width="90" height="120" '
                f'src="data:image/jpeg;base64,{base64.b64encode(picture).decode()}">'
                for key, picture in strip
            )
            rows.append(
                f'<div class="strip"><div><h4>{escape(label.name)}</h4><p>{label.yes:,} photos</p></div>'
                f"<div>{images}</div></div>"
            )
    return "".join(rows)


def _co_occurrence(together: Together) -> str:
    shown = sorted(range(len(together.names)), key=lambda i: -together.photos[i][i])[:MOST_COLUMNS]
    if not any(together.photos[i][j] for i in shown for j in shown if i != j):
        return ""
    order = [shown[i] for i in _alike([[together.photos[i][j] for j in shown] for i in shown])]
    cells = [[_together_cell(together, i, j) for j in order] for i in order]
    names = [together.names[i] for i in order]
    what = (
        "Of the photos that show the row's category, and of which the column's is known, the percentage that shows "
        "both; hatched where only yes is ever said. Rows that keep the same company stand together. Over all photos."
    )
    return card("What is worn together", what, heat_map(names, names, cells, "% of the row"))


def _together_cell(together: Together, i: int, j: int) -> Cell:
    row, column, both = together.names[i], together.names[j], together.photos[i][j]
    if i == j:
        return 0.0, "·", f"{row}: {both:,} photos"
    share, lift = together.share[i][j], together.lift(i, j)
    if share is None:
        return None
    said = f"{row} with {column}: {both:,} photos, {percent(share)}"
    return share, f"{100 * share:.0f}" if both else "", said if lift is None else f"{said}; {lift:.1f} times chance"


def _alike(photos: Sequence[Sequence[int]]) -> list[int]:
    """An order in which categories that are often in the same photos stand side by side."""
    both = np.array(photos, float)
    if len(both) < 3:
        return list(range(len(both)))
    own = both.diagonal()
    distance = 1 - both / np.maximum(1, own[:, None] + own - both)
    distance = (distance + distance.T) / 2
    np.fill_diagonal(distance, 0)
    tree = linkage(squareform(distance, checks=False), "average", optimal_ordering=True)
    order: list[int] = leaves_list(tree).tolist()
    return order


def _attributes(part: SetStats) -> str:
    table = part.attributes
    if not table.attributes:
        return ""
    yes, known = np.array(table.yes), np.array(table.known)
    rows = np.sort(np.argsort(-yes.sum(1), kind="stable")[:MOST_ROWS]).tolist()
    columns = np.sort(np.argsort(-yes.sum(0), kind="stable")[:MOST_COLUMNS]).tolist()
    cells: list[list[Cell]] = []
    for a in rows:
        cells.append([])
        for c in columns:
            of, count = int(known[a, c]), int(yes[a, c])
            said = f"{table.categories[c]}, {table.attributes[a]}: {count:,} of {of:,} {table.of} of which it is known"
            cells[-1].append((count / of, f"{count}" if count else "", said) if of else None)
    counted = f"all {part.photos:,} photos" if table.photos == part.photos else sample_said(part)
    what = f"Numbers are {table.of} of the category that show the attribute; colour is their share of those known. "
    what += f"From {counted}."
    body = heat_map(
        [table.attributes[a] for a in rows], [table.categories[c] for c in columns], cells, f"{table.of}"
    )
    return card("Attributes of categories", what, body)


def _area_table(part: SetStats) -> str:
    heads = ["masks", "5 %", "25 %", "median", "75 %", "95 %"]
    rows = [
        f"<tr><td>{escape(x.name)}</td><td data-value='{x.count}'>{x.count:,}</td>"
        + "".join(f"<td data-value='{share}'>{percent(share)}</td>" for share in x.percentiles)
        + "</tr>"
        for x in part.areas
    ]
    table = sort_table([("class", "ascending"), *((head, "descending") for head in heads)], rows)
    return f"<details><summary>as a table</summary>{table}</details>"


def _sizes_said(part: SetStats) -> str:
    sizes = part.sizes
    return (
        f"width {sizes.width[0]:.0f} to {sizes.width[4]:.0f}, height {sizes.height[0]:.0f} to {sizes.height[4]:.0f}, "
        f"width / height {sizes.aspect[0]:.2f} to {sizes.aspect[4]:.2f} (nine of ten)"
    )
