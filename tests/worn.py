"""A label space with trousers, a belt, and parts that lie on them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hemline.data.sample import UNKNOWN
from hemline.labels import LabelSpace
from hemline.metadata import Metadata

KINDS: list[dict[str, Any]] = [
    {"id": 6, "name": "pants", "supercategory": "lowerbody", "outfit_part": "lower body"},
    {"id": 19, "name": "belt", "supercategory": "waist", "outfit_part": "accessories"},
    {"id": 32, "name": "pocket", "supercategory": "garment parts"},
    {"id": 34, "name": "buckle", "supercategory": "closures"},
    {"id": 30, "name": "epaulette", "supercategory": "garment parts", "shown": False},
]
GROUPS: list[dict[str, Any]] = [
    {"name": "pocket type", "choice": "one", "carried_by": ["pocket"],
     "labels": [{"id": 228, "name": "patch"}, {"id": 229, "name": "welt"}]},
    {"name": "pattern", "choice": "many", "labels": [{"id": 317, "name": "plain"}]},
]  # fmt: skip
SPACE = LabelSpace.from_dict({"name": "worn", "version": 1, "categories": KINDS, "pixels": ["skin"], "groups": GROUPS})
PANTS, BELT, POCKET, BUCKLE, EPAULETTE, SKIN = range(6)
PATCH, WELT, PLAIN = 5, 6, 7
K, L = SPACE.num_masks, SPACE.num_labels


def metadata(space: LabelSpace = SPACE, **changes: Any) -> Metadata:
    return Metadata("p", space, (40, 40), (0.5,) * space.num_masks, (0.5,) * space.num_labels, **changes)


def row(*yes: int, **others: tuple[int, ...]) -> NDArray[np.int8]:
    target = np.zeros(K, np.int8)
    target[list(yes)] = 1
    target[list(others.get("unknown", ()))] = UNKNOWN
    return target
