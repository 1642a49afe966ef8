"""The tables of a card, from measurements: what stands under "Figures" in `src/hemline/weights/CARD.md`.

`one.json` is what `hemline evaluate default --json` says of all three sets, `flip.json` what it says of CCP
with `--flip`:

    python benchmarks/card_tables.py one.json flip.json
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

NAMES = {
    "ccp": "Clothing Co-Parsing",
    "clothing_attributes": "Stanford clothing attributes",
    "clothing_dataset": "clothing-dataset",
}
MASK_ROWS = {
    "mean_iou": "mean IoU",
    "frequent_mean_iou": "mean IoU of the classes in 15 photos or more",
    "pixel_accuracy": "pixel accuracy",
    "foreground_accuracy": "foreground accuracy",
}


def figure(entry: dict[str, Any]) -> str:
    """A figure and its interval."""
    if entry["value"] is None:
        return "not known"
    return f"{entry['value']:.3f} ({entry['low']:.3f} to {entry['high']:.3f})"


def share(value: float | None) -> str:
    """A number from 0 to 1, empty where it cannot be said."""
    return "" if value is None else f"{value:.3f}"


def tables(one: dict[str, Any], flip: dict[str, Any]) -> Iterator[str]:
    """The lines of all tables."""
    ccp, flipped = (next(part for part in report["sets"] if part["name"] == "ccp") for report in (one, flip))
    yield f"### Masks: {ccp['masks']['photos']} photos of Clothing Co-Parsing"
    yield ""
    yield "| | one pass | with `--flip` | all background | to beat |"
    yield "|---|---|---|---|---|"
    for key, name in MASK_ROWS.items():
        row, mirrored = ccp["masks"][key], flipped["masks"][key]
        floor = ccp["floor"].get(key)
        yield f"| {name} | {figure(row)} | {figure(mirrored)} | {share(row['trivial'])} | {floor or ''} |"
    yield ""
    yield "| class | photos | IoU |"
    yield "|---|---|---|"
    for row in ccp["masks"]["classes"]:
        yield f"| {row['name']} | {row['photos']} | {figure(row['iou'])} |"
    yield ""
    yield "### What each set is judged by"
    yield ""
    yield "| set | score | photos | figure | chance | wanted |"
    yield "|---|---|---|---|---|---|"
    for part in one["sets"]:
        for row in part["targets"]:
            wanted = row["wanted"]
            yield (f"| {NAMES[part['name']]} | {row['what']} | {row['photos']} | {figure(row['score'])} "
                   f"| {share(row['score']['trivial'])} | {wanted} |")
    yield ""
    yield "### Labels"
    yield ""
    yield "Of the whole photo, then (marked *) of garments, under the mask that the network finds."
    yield ""
    yield "| label | source | yes / known | average precision | chance | F1 | threshold |"
    yield "|---|---|---|---|---|---|---|"
    for part in one["sets"]:
        for kind, mark in (("labels", ""), ("garments", "*")):
            for row in (part[kind] or {"labels": []})["labels"]:
                never = "never answered" if row["threshold"] >= 1 else f"{row['threshold']:.2f}"
                f1 = "" if row["threshold"] >= 1 else f"{row['f1']['value']:.2f}"
                yield (f"| {row['name']}{mark} | {NAMES[part['name']]} | {row['positives']} / {row['known']} "
                       f"| {figure(row['average_precision'])} | {row['prior']:.3f} | {f1} | {never} |")
    if ccp["transplant"] is not None:
        yield ""
        yield "### Transplant test: a garment repainted"
        yield ""
        yield "| painted | trials | passed | rose | trials with another garment beside | of these, the others stayed |"
        yield "|---|---|---|---|---|---|"
        for row in ccp["transplant"]["patterns"]:
            yield (f"| {row['pattern']} | {row['trials']} | {figure(row['passed'])} | {share(row['rose'])} "
                   f"| {row['beside']} | {share(row['stayed'])} |")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    print("\n".join(tables(*(json.loads(Path(name).read_text(encoding="utf-8")) for name in sys.argv[1:]))))
