"""A tiny label space, and what every label space holds to."""

from typing import Any

from hemline.labels import Category, Label, LabelSpace

TINY: dict[str, Any] = {
    "name": "tiny",
    "version": 1,
    "categories": [
        {"id": 4, "name": "jacket", "supercategory": "upperbody", "outfit_part": "upper body"},
        {"id": 5, "name": "vest", "supercategory": "upperbody", "outfit_part": "upper body", "shown": False},
        {"id": 32, "name": "pocket", "supercategory": "garment parts"},
    ],
    "pixels": ["hair"],
    "groups": [
        {
            "name": "pattern",
            "choice": "one",
            "carried_by": ["jacket"],
            "labels": [{"id": 1, "name": "plain"}, {"id": "dot", "name": "dot", "carried_by": []}],
        },
        {"name": "fit", "choice": "many", "shown": False, "labels": [{"id": 1, "name": "loose"}]},
    ],
}


def assert_tiled(space: LabelSpace) -> None:
    """The slices lie end to end over 0..L, in the groups' order, and each holds its own labels."""
    slices = list(space.label_slices.values())
    assert list(space.label_slices) == ["category", *(g.name for g in space.groups)]
    assert [0, *(part.stop for part in slices)] == [*(part.start for part in slices), space.num_labels]
    channels: list[Category | Label] = [*space.categories, *space.labels]
    for group in space.groups:
        assert tuple(channels[space.label_slices[group.name]]) == group.labels
