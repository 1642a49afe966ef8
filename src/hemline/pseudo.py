"""Draws pseudo-masks on photos of which a dataset knows words alone: `hemline pseudo`.

Self-training (Lee, 2013, "Pseudo-Label") with what the words know as a gate. A class that they deny is never drawn; a
class that annotators take for one that they name is drawn as the named one; what they name and the network hardly sees
is made as sure as the network's best guess of where it is. Of datasets whose photos show a single item laid flat, the
item is what stands out from the background.

Shapes: K mask classes, L labels, H W photo.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hemline._regions import rivals
from hemline.data import VALIDATION_SHARE, as_trained, build_dataset, split_indices, wrong_sets
from hemline.data.pseudo import NOBODY, ONE_OF, UNSURE
from hemline.data.sample import Sample
from hemline.data.stratify import held_out_of
from hemline.errors import ConfigError, DataError
from hemline.foreground import foreground
from hemline.labels import LabelSpace
from hemline.metadata import Metadata, read_metadata, with_teaching
from hemline.photo import place, unplace
from hemline.runtime import Runtime, open_runtime

SURE = 0.6
"""Probability, among the classes that the words allow and nobody, below which a pixel is unsure."""
FAINT, CLEAR = -3.0, 2.0
"""Logits: a named class whose highest lies between them is lifted until it reaches the upper one."""


def write_pseudo_masks(
    weights: str | Path,
    sets: Mapping[str, Path | None],
    out: Path,
    *,
    progress: Callable[[str, int, int], object] = lambda *_: None,
) -> int:
    """Draw the photos that train and have no mask, and return how many were drawn. What is in `out` already is left.

    Args:
        weights: The network that draws; answers of the photo and of its mirror image are averaged.
        sets: Datasets by name, and their folders.
        out: A folder, made if it is missing.
        progress: Is told of each photo: what happens, photos done, photos in all.

    Raises:
        ConfigError: an unknown set, or one without its path.
        DataError: a dataset is not laid out as published, or `out` was drawn by other weights.
        WeightsError: the weights are missing or damaged.
    """
    metadata = read_metadata(Path(weights))
    space = with_teaching(metadata)
    if problems := wrong_sets(sets):
        raise ConfigError("; ".join(problems))
    datasets = {name: build_dataset(as_trained(metadata.recipe, name, path), space) for name, path in sets.items()}
    answer = open_runtime(Path(weights), metadata)
    fingerprint = {"weights_sha256": metadata.weights_sha256, "precision": metadata.precision}
    _claim(out, {"classes": list(space.mask_names), **fingerprint})
    share = float(metadata.recipe.get("validation", VALIDATION_SHARE))
    held_out = held_out_of(metadata.data)
    todo = [
        (name, index)
        for name, dataset in datasets.items()
        for index in split_indices(dataset, "train", share, held_out.get(name))
    ]
    drawn = 0
    for done, (name, index) in enumerate(todo, start=1):
        file = out / f"{datasets[name].keys[index]}.png"
        if not file.exists():
            sample = datasets[name][index]
            numbers = None
            if len(sample.targets) == 1:
                flat = space.teach.get(name, {}).get("single_item", False)
                numbers = draw_sample(sample, space, answer, metadata, single_item=flat)
            if numbers is not None:
                file.parent.mkdir(parents=True, exist_ok=True)
                half = file.with_suffix(".part")
                Image.fromarray(numbers).save(half, "PNG", optimize=True)
                half.replace(file)
        drawn += file.exists()
        progress("drawing", done, len(todo))
    return drawn


def draw_sample(
    sample: Sample, space: LabelSpace, answer: Runtime, metadata: Metadata, *, single_item: bool
) -> NDArray[np.uint8] | None:
    """(H, W) class numbers of one photo; None where nothing can be told.

    Args:
        sample: The photo and what its words say.
        space: The label space.
        answer: The network.
        metadata: Its canvas.
        single_item: The photo shows one item, mostly without a person: it is what stands out from the background.
    """
    whole = sample.regions[0]
    if not single_item:
        drawn = draw(_logits(sample.photo, answer, metadata), whole.labels, whole.one_of, space)
        return np.asarray(cv2.resize(drawn, sample.photo.shape[1::-1], interpolation=cv2.INTER_NEAREST_EXACT), np.uint8)
    named = [k for k in space.competing if k < len(space.categories) and whole.labels[k] == 1]
    item = foreground(sample.photo) if len(named) + len(whole.one_of) == 1 else None
    return None if item is None else np.where(item, named[0] if named else ONE_OF, NOBODY).astype(np.uint8)


def draw(
    logits: NDArray[np.float32],
    labels: NDArray[np.int8],
    one_of: Sequence[NDArray[np.bool_]],
    space: LabelSpace,
) -> NDArray[np.uint8]:
    """The likeliest class at each pixel among those that the words allow: (K, H, W) logits -> (H, W) class numbers.

    Args:
        logits: Of every class.
        labels: (L,) what the words say of the photo.
        one_of: (L,) sets of labels of which they say that one is true.
        space: The label space.
    """
    num = len(space.categories)
    logits = logits.copy()
    for k in space.competing:
        peak = logits[k].max()
        if k < num and labels[k] == 1 and FAINT < peak < CLEAR:
            logits[k] += CLEAR - peak
    kept = np.isin(np.arange(len(logits)), space.competing)[:, None, None]
    chance = rivals(np.where(kept, logits, -np.inf))     # (1 + K, H, W), nobody first
    named, either = _named(chance, labels, one_of, space)
    taken = _taken_for(space, named | {k for group in either for k in group})
    allowed = np.zeros(len(chance), bool)
    for k in space.competing:
        allowed[1 + k] = k >= num or k in named or (labels[k] != 0 and k not in taken)
    for k, others in taken.items():                       # what annotators take for a named class is that class
        if k in named or not (others := [o for o in others if o in named]):
            continue
        best = np.array([0, *(1 + o for o in others)])[1 + chance[[1 + o for o in others]].argmax(0)]
        np.put_along_axis(chance, best[None], np.take_along_axis(chance, best[None], 0) + chance[1 + k], 0)
        chance[1 + k] = 0
    planes, numbers = [chance[0]], [NOBODY]
    for group in either:
        planes.append(chance[[1 + k for k in group]].sum(0))
        numbers.append(ONE_OF if len(group) > 1 else UNSURE)  # a vest may be what no pixel is answered as
        allowed[[1 + k for k in group]] = False
    for number in np.flatnonzero(allowed[1:]).tolist():
        planes.append(chance[1 + number])
        numbers.append(number)
    stack = np.stack(planes)
    drawn: NDArray[np.uint8] = np.array(numbers, np.uint8)[stack.argmax(0)]
    asked = np.isin(drawn, [*named, ONE_OF, *range(num, num + len(space.pixels))])
    enough = SURE * np.where(asked, stack.sum(0), 1)      # the rest must be likelier than what is denied, too
    drawn[stack.max(0) < enough] = UNSURE
    return drawn


def _named(
    chance: NDArray[np.float32], labels: NDArray[np.int8], one_of: Sequence[NDArray[np.bool_]], space: LabelSpace
) -> tuple[set[int], list[list[int]]]:
    """Classes that the words name, and sets of classes of which they name one that the network cannot tell either."""
    num = len(space.categories)
    named = {k for k in space.competing if k < num and labels[k] == 1}
    either = []
    for labels_of_set in one_of:
        group = [k for k in space.competing if k < num and labels_of_set[k]]
        if not group or named & set(group):
            continue
        sums = chance[[1 + k for k in group]].sum((1, 2))
        if len(group) > 1 and sums.max() >= SURE * sums.sum() > 0:
            named.add(group[int(sums.argmax())])
        else:
            either.append(group)
    return named, either


def _taken_for(space: LabelSpace, named: set[int]) -> dict[int, list[int]]:
    """Of each class that annotators take for some of the `named` ones: those."""
    taken: dict[int, list[int]] = {}
    for names in space.alike:
        group = {space.find(name).index for name in names}
        for k in group:
            taken.setdefault(k, []).extend(sorted((group & named) - {k}))
    return {k: others for k, others in taken.items() if others}


def _logits(photo: NDArray[np.uint8], answer: Runtime, metadata: Metadata) -> NDArray[np.float32]:
    """(K, h, w), averaged over the photo and its mirror image, at the size that the photo has on the canvas."""
    canvas = place(photo, metadata.canvas)
    views = np.stack([canvas.pixels, canvas.pixels[:, ::-1]]), np.stack([canvas.valid, canvas.valid[:, ::-1]])
    masks = answer(*views).masks
    size = canvas.frame.height, canvas.frame.width
    return unplace((masks[0] + masks[1][..., ::-1]) / 2, canvas.frame, metadata.canvas, size)


def _claim(out: Path, about: dict[str, object]) -> None:
    """Make the folder, or see that it was drawn by the same weights in the same classes."""
    out.mkdir(parents=True, exist_ok=True)
    file = out / "classes.json"
    text = json.dumps(about)
    if not file.exists():
        if any(out.iterdir()):
            raise DataError(f"{out} holds other files: name a new folder for the masks")
        file.write_text(text, encoding="utf-8")
    elif file.read_text(encoding="utf-8") != text:
        raise DataError(f"{out} was drawn by other weights: name a new folder")
