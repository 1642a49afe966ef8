"""Checkpoint -> one file for phones and browsers: `NAME.web.onnx`, and its words in `NAME.web.json`.

The graph (`hemline.web_graph`) takes a photo of any size and answers with nothing left to compute; ONNX Runtime runs it
in browsers, on phones and here. It must answer as `Tagger` does on photos, or nothing is written.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from onnx import helper
from torch import nn

from hemline._regions import sigmoid
from hemline.checkpoint import halve, load_network
from hemline.errors import ConfigError, DeviceError, WeightsError
from hemline.graphs import to_onnx
from hemline.metadata import Metadata
from hemline.model import Network
from hemline.photo import find_photos, place, read_photo
from hemline.predict import demo_photo
from hemline.result import Result
from hemline.runtime import Answer
from hemline.scores import odds
from hemline.tagger import Tagger
from hemline.web_graph import attributes_of, web_graph
from hemline.whole_files import whole_file

WEB_KEY = "hemline.web"
"""Key of the words in the graph's `metadata_props`."""
WEB_VERSION = 1
"""Of the words: keys are only added within a version."""
MAX_PIXELS = 0.03
"""Share of a photo's pixels that another category, or none, may hold than in `Tagger`'s answer."""
MAX_SCORE = 0.05
"""Largest difference of a probability of the photo's attributes, or of a category that both find."""
MAX_ODD = 0.1
"""Share of the photos in which that is otherwise, at most: where two classes are all but even, the two do not round
alike, and a garment changes its name."""
SMALL = 0.01
"""Share of the photo below which a garment may be in one answer alone."""
BY_MASK, BY_LABEL = 1, 2
"""Values of `found`."""


class WebAnswer(NamedTuple):
    """What the graph answers for one photo; see `hemline.web_graph`."""

    masks: NDArray[np.uint8]
    found: NDArray[np.uint8]
    scores: NDArray[np.float32]
    boxes: NDArray[np.float32]
    attributes: NDArray[np.uint8]
    attribute_scores: NDArray[np.float32]


class WebSession:
    """Runs such a graph by ONNX Runtime on the CPU.

    Args:
        graph: Path or bytes of a `.web.onnx` file.
        threads: CPU threads; all if None.

    Raises:
        DeviceError: ONNX Runtime is not here.
    """

    def __init__(self, graph: Path | bytes, threads: int | None = None) -> None:
        try:
            from hemline._runtimes import import_onnxruntime

            onnxruntime = import_onnxruntime()
        except ModuleNotFoundError as error:
            raise DeviceError('the web graph is tried by onnxruntime: pip install "hemline[onnxruntime]"') from error
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = threads or 0
        source = graph if isinstance(graph, bytes) else str(graph)
        self._session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])

    def __call__(self, photo: NDArray[np.uint8]) -> WebAnswer:
        """A photo (H, W, 3) RGB, or (H, W, 4) whose last channel is not read."""
        return WebAnswer(*self._session.run(list(WebAnswer._fields), {"photo": photo}))


@dataclass(frozen=True)
class Agreement:
    """How the graph answers beside `Tagger`, on photos."""

    path: Path
    photos: int
    odd: int
    """Photos that it answers otherwise."""
    pixels: float
    """Share of a photo's pixels that another category, or none, holds; mean over the photos."""
    score: float
    """Largest difference, in a photo, of a probability of its attributes and of the categories that both find; mean."""


def write_web(
    checkpoint: str | Path,
    out: str | Path | None = None,
    *,
    photos: Sequence[str | Path] = (),
    head: nn.Module | None = None,
) -> Agreement:
    """Write the graph for phones and browsers, and its words beside it in JSON.

    Args:
        checkpoint: A `.safetensors` file.
        out: The `.onnx` file, with the `.json` of its name beside it; `NAME.web.onnx` beside the checkpoint if None.
        photos: Files, folders and globs of photos to try it on, all of them; the demo photo where there are none.
        head: The mask head, where it was trained with one of your own.

    Raises:
        ConfigError: the file's name ends otherwise.
        PhotoError: a photo cannot be found or read.
        DeviceError: ONNX Runtime is not here.
        WeightsError: the checkpoint cannot be read or finds instances, or the graph answers otherwise than `Tagger`.
        UnwritableError: the files cannot be written.
    """
    out = Path(checkpoint).with_suffix(".web.onnx") if out is None else Path(out)
    if out.suffix.lower() != ".onnx":
        raise ConfigError(f"{out}: what phones and browsers read ends in .onnx: name it {out.stem}.onnx")
    network, metadata = load_network(checkpoint, head=head)
    network.load_state_dict(halve(network.state_dict()))
    if metadata.labels.num_masks > 255:
        raise WeightsError(f"{metadata.name}: {metadata.labels.num_masks} mask classes; a byte of `masks` holds 255")
    words = json.dumps(words_of(metadata), ensure_ascii=False, indent=1)
    model = web_graph(to_onnx(network, metadata), metadata)
    helper.set_model_props(model, {WEB_KEY: words})
    content = model.SerializeToString()
    session = WebSession(content)
    tagger = Tagger(_Checkpoint(network), metadata)
    paths = find_photos(list(photos) or [demo_photo()])
    drifts = [compare(session, tagger, path) for path in paths]
    odd = [(path, drift.problems) for path, drift in zip(paths, drifts, strict=True) if drift.problems]
    if len(odd) > MAX_ODD * len(paths):
        path, problems = odd[0]
        raise WeightsError(
            f"{metadata.name}: on {len(odd)} of {len(paths)} photos the web graph answers otherwise than the "
            f"checkpoint, the first {path}: {'; '.join(problems)}; nothing is written"
        )
    with ExitStack() as stack:
        graph, names = (stack.enter_context(whole_file(path)) for path in (out, out.with_suffix(".json")))
        graph.write_bytes(content)
        names.write_text(words + "\n", encoding="utf-8")
    pixels, score = (sum(values) / len(paths) for values in list(zip(*drifts, strict=True))[:2])
    return Agreement(out, len(paths), len(odd), pixels, score)


def words_of(metadata: Metadata) -> dict[str, Any]:
    """What the numbers of the graph's outputs mean, in plain JSON."""
    space = metadata.labels
    choices = {group.name: group.choice for group in space.groups}
    return {
        "hemline_web": WEB_VERSION,
        "name": metadata.name,
        "label_space": space.name,
        "weights_sha256": metadata.weights_sha256,
        "license": metadata.license,
        "canvas": {"height": metadata.canvas[0], "width": metadata.canvas[1]},
        "layers": [
            [space.categories[k].name for k in layer if k < len(space.categories) and space.categories[k].shown]
            for layer in metadata.layers
        ],
        "categories": [
            {
                "name": category.name,
                "id": category.id,
                "outfit_part": category.outfit_part,
                "shown": category.shown,
                "part": category.index in space.parts,
                "mask_threshold": metadata.mask_thresholds[category.index],
                "label_threshold": metadata.of_photo[category.index],
            }
            for category in space.categories
        ],
        "attributes": [
            {
                "group": label.group,
                "name": label.name,
                "id": label.id,
                "choice": choices[label.group],
                "threshold": metadata.label_thresholds[label.index],
                "photo_threshold": metadata.of_photo[label.index],
            }
            for label in attributes_of(space)
        ],
    }


class _Checkpoint:
    """A network as `Tagger` runs it."""

    name = "torch"
    device = "cpu"
    dtype = "f32"

    def __init__(self, network: Network) -> None:
        self._network = network

    def __call__(self, pixels: NDArray[np.uint8], valid: NDArray[np.uint8]) -> Answer:
        with torch.inference_mode():
            return Answer(*(x.numpy() for x in self._network(torch.from_numpy(pixels), torch.from_numpy(valid))))


class PhotoDrift(NamedTuple):
    """How the graph answers one photo beside `Tagger`."""

    pixels: float
    score: float
    """As of `Agreement`."""
    problems: list[str]
    """What is otherwise, beyond the bounds."""


def compare(session: WebSession, tagger: Tagger, path: Path) -> PhotoDrift:
    """How the graph answers a photo beside `Tagger`.

    What hangs by a thread may fall either way: garments smaller than `SMALL`, and labels within `MAX_SCORE` of their
    threshold.

    Raises:
        PhotoError: the photo cannot be read.
    """
    metadata, photo = tagger.metadata, read_photo(path)
    result, got = tagger(photo), session(photo)
    canvas = place(photo, metadata.canvas)
    labels = sigmoid(odds(tagger.run(canvas.pixels[None], canvas.valid[None]).labels[0], metadata))  # (1 + K, L)
    want = {garment.category: garment for garment in result.garments_and_parts}
    attributes = attributes_of(metadata.labels)
    channels = [label.index for label in attributes]

    pixels = float((_class_maps(result, metadata, got.masks.shape[1:]) != got.masks).any(0).mean())
    score = float(np.abs(got.attribute_scores[0] - labels[0, channels]).max(initial=0))
    problems = []
    for category in metadata.labels.categories:
        k, garment = category.index, want.get(category.name)
        found_by = 0 if garment is None else BY_MASK if garment.found_by == "mask" else BY_LABEL
        area = max(0.0 if garment is None else garment.area, float((got.masks == 1 + k).any(0).mean()))
        close = abs(float(labels[0, k]) - metadata.of_photo[k]) <= MAX_SCORE
        if found_by != got.found[k] and area >= SMALL:
            problems.append(f"{category.name} is found otherwise")
        elif found_by != got.found[k] and BY_MASK not in (found_by, got.found[k]) and not close:
            problems.append(f"{category.name} is found by one alone")
        elif garment is not None and found_by == got.found[k] and (area >= SMALL or found_by == BY_LABEL):
            score = max(score, abs(garment.score - float(got.scores[k])))
    thresholds = np.array([metadata.of_photo, *[metadata.label_thresholds] * len(got.found)])[:, channels]
    there = np.concatenate([[True], got.found == BY_MASK])
    near = (np.abs(got.attribute_scores - thresholds)[there] <= MAX_SCORE).any(0)
    loose = {label.group for label, close in zip(attributes, near, strict=True) if close}
    said = {(x.group, x.label) for x in result.labels if x.group != "category"}
    now = {(x.group, x.name) for x, yes in zip(attributes, got.attributes[0], strict=True) if yes}
    problems += [f"{label} is said by one alone" for group, label in sorted(said ^ now) if group not in loose]
    if not pixels <= MAX_PIXELS:
        problems.append(f"{pixels:.1%} of the pixels are another category's, more than {MAX_PIXELS:.0%}")
    if not score <= MAX_SCORE:
        problems.append(f"a score differs by {score:.2f}, more than {MAX_SCORE}")
    return PhotoDrift(pixels, score, problems)


def _class_maps(result: Result, metadata: Metadata, size: tuple[int, ...]) -> NDArray[np.uint8]:
    """`Tagger`'s masks as `WebAnswer.masks` has them, (M, h, w)."""
    layer_of = {k: number for number, layer in enumerate(metadata.layers) for k in layer}
    index = {category.name: category.index for category in metadata.labels.categories}
    maps = np.zeros((len(metadata.layers), *result.size), np.uint8)
    for garment in result.garments_and_parts:
        if garment.found_by == "mask" and garment.mask is not None:
            k = index[garment.category]
            maps[layer_of[k]][garment.mask] = 1 + k
    return np.stack([cv2.resize(one, size[::-1], interpolation=cv2.INTER_NEAREST) for one in maps])
