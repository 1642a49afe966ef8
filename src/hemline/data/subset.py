"""Which photos of a dataset a recipe takes: what `only` says beside its name.

    data:
      - name: ccp
        path: CCP
        only: {categories: [dress], supercategories: [feet], count: 200, seed: 1}

Classes choose for training and validation alike: photos that show a dress, or anything worn on the feet. `count` then
chooses among those that train, so that whatever it is, the figures are of the same photos.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

from hemline._reading import nearest
from hemline.config import Only
from hemline.data import Dataset
from hemline.errors import ConfigError
from hemline.labels import LabelSpace


def wrong_names(only: Only, space: LabelSpace) -> Iterator[str]:
    """What is wrong with the names in `only`, one sentence each, beginning with the key."""
    known = {
        "categories": [category.name for category in space.categories],
        "supercategories": sorted({category.supercategory for category in space.categories}),
    }
    for key, names in known.items():
        for name in getattr(only, key) or ():
            if name not in names:
                yield f"{key}: label space {space.name} has no {name!r}{nearest(name, names)}"


def photos_of_classes(dataset: Dataset, only: Only | None, space: LabelSpace, where: str) -> list[int]:
    """Positions of the photos that show a category that `only` asks for; all of them where it asks for none.

    A photo shows what its labels say for sure: one that may be a coat or a jacket is taken for neither.

    Args:
        dataset: The dataset.
        only: What is asked for.
        space: The label space of both.
        where: The place in the recipe, for messages: `data.0.only`.

    Raises:
        ConfigError: a name is not in the label space, or no photo shows what is asked for.
    """
    if only is None or (only.categories is None and only.supercategories is None):
        return list(range(len(dataset)))
    if problems := [f"{where}.{problem}" for problem in wrong_names(only, space)]:
        raise ConfigError("; ".join(problems))
    names, kinds = only.categories or (), only.supercategories or ()
    wanted = [c.index for c in space.categories if c.name in names or c.supercategory in kinds]
    taken = [i for i in range(len(dataset)) if (dataset.photo_labels(i)[wanted] == 1).any()]
    if not taken:
        asked = ", ".join([*names, *kinds])
        raise ConfigError(f"{where}: none of {len(dataset)} photos is said to show {asked}; ask for other categories")
    return taken


def at_most(indices: Sequence[int], keys: Sequence[str], count: int | None, seed: int = 0) -> list[int]:
    """At most `count` of these photos, in their order, chosen by the hashes of their keys.

    So photos that are added to a dataset, or taken from it, change as few of the others as they can.

    Args:
        indices: Positions.
        keys: The stable name of every photo of the dataset.
        count: None takes all.
        seed: Another seed takes others.
    """
    if count is None:
        return list(indices)
    taken = set(sorted(indices, key=lambda i: _hash(seed, keys[i]))[:count])
    return [i for i in indices if i in taken]


def _hash(seed: int, key: str) -> bytes:
    return hashlib.sha256(f"{seed}/{key}".encode()).digest()
