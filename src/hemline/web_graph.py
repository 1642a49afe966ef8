"""The graph for phones and browsers: a photo of any size in, the answer out, with nothing left to compute.

    input     photo             uint8 (H, W, C)      RGB, or RGBA whose alpha is not read; H W any, C 3 or 4
    outputs   masks             uint8 (M, h, w)      0 nobody, else 1 + category; a map for each layer of `layers`
              found             uint8 (K,)           0 not worn, 1 found by its mask, 2 by the photo's label alone
              scores            float (K,)           of each category, 0..1
              boxes             float (K, 4)         x, y, width, height as shares of the photo; 0 without a mask
              attributes        uint8 (1 + K, A)     1 what is said: of the photo, then of each category's garment
              attribute_scores  float (1 + K, A)     0..1; 0 of a garment without a mask

K categories, A attributes of the shown groups. (h, w) is the photo's size on the canvas, so that the maps cover the
photo and nothing else. Around the network stand the two halves of `hemline._web_text`, of ONNX's default domain:
`BEFORE` places the photo as `hemline.photo.place` does, `layer` and `AFTER` decide as `hemline.result.read_answer`
does, but that masks are decided at (h, w), and are not freed of speckles nor their holes filled.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import compose, helper, numpy_helper, parser

from hemline._regions import LEAST_RIVALRY, logit
from hemline._web_text import AFTER, AS_SAID, BEFORE, FOUND, TURNED, gathered, layer
from hemline.labels import Label, LabelSpace
from hemline.masks import MIN_PART
from hemline.metadata import Metadata
from hemline.photo import PADDING
from hemline.scores import SUREST, Scores

INPUT = "uint8[height, width, channels] photo"
OUTPUTS = (
    "uint8[layers, mask_height, mask_width] masks, uint8[categories] found, float[categories] scores, "
    "float[categories, 4] boxes, uint8[rows, attributes] attributes, float[rows, attributes] attribute_scores"
)
FAR = 1e4
"""Stands for an infinite logit, of thresholds 0 and 1: no logit is as large."""


def web_graph(core: onnx.ModelProto, metadata: Metadata) -> onnx.ModelProto:
    """The graph of a network (`hemline.graphs.to_onnx`) between the photo and the answer, without metadata.

    Args:
        core: `pixels` and `valid` in, `masks` and `labels` out.
        metadata: Of the same weights.
    """
    network = compose.add_prefix(core, "network_")
    count = len(metadata.layers)
    layers = "".join(layer(number) for number in range(count))
    reading = f"{FOUND} {AS_SAID if metadata.scores is None else TURNED} {AFTER}"
    text = f"answer ({INPUT}) => ({OUTPUTS}) {{ {BEFORE} {layers} {gathered(count)} {reading} }}"
    graph = parser.parse_graph("\n".join(line.partition("#")[0] for line in text.splitlines()))
    before = next(i for i, node in enumerate(graph.node) if "network_valid" in node.output) + 1
    nodes = [*graph.node[:before], *network.graph.node, *graph.node[before:]]
    constants = {name: numpy_helper.from_array(value, name) for name, value in _constants(metadata).items()}
    read = {name for node in nodes for name in node.input}
    initializers = [*network.graph.initializer, *(value for name, value in constants.items() if name in read)]
    whole = helper.make_graph(nodes, "hemline", list(graph.input), list(graph.output), initializers)
    sizes = {"layers": count, "categories": len(metadata.labels.categories)}
    sizes |= {"rows": 1 + sizes["categories"], "attributes": len(attributes_of(metadata.labels))}
    for output in whole.output:
        for side in output.type.tensor_type.shape.dim:
            if side.dim_param in sizes:
                side.dim_value = sizes[side.dim_param]
    model = helper.make_model(whole, opset_imports=list(core.opset_import), ir_version=core.ir_version)
    onnx.checker.check_model(model, full_check=True)
    return model


def attributes_of(space: LabelSpace) -> tuple[Label, ...]:
    """The labels of the shown groups, in the order of the outputs."""
    return tuple(label for group in space.groups if group.shown for label in group.labels)


def _constants(metadata: Metadata) -> dict[str, NDArray[Any]]:
    space = metadata.labels
    height, width = metadata.canvas
    categories, classes = len(space.categories), space.num_masks
    shown = np.array([c.shown for c in space.categories])
    names = [c.name for c in space.categories]
    labels = attributes_of(space)
    groups = [group for group in space.groups if group.shown]
    alike = np.zeros((categories, categories), np.bool_)
    for names_alike in space.alike:
        inside = np.array([c.shown and c.name in names_alike for c in space.categories])
        alike |= inside[:, None] & inside
    np.fill_diagonal(alike, False)
    constants: dict[str, NDArray[Any]] = {
        "zero": _whole(0), "one": _whole(1), "two": _whole(2), "three": _whole(3), "four": _whole(4),
        "minus_one": _whole(-1),
        "first": np.array(0, np.int64), "step": np.array(1, np.int64),
        "zero_f": np.array(0, np.float32), "one_f": np.array(1, np.float32), "half": np.array(0.5, np.float32),
        "one_f_1d": np.array([1], np.float32), "next_to_end": _whole(categories + 2),
        "one_d": np.array([1], np.float64), "padding": np.array(PADDING, np.uint8), "outside": np.array(0, np.uint8),
        "keep_both": _whole(0, -1), "canvas_h": _whole(height), "canvas_w": _whole(width),
        "canvas_hd": np.array([height], np.float64), "canvas_wd": np.array([width], np.float64),
        "rivalry": np.array(LEAST_RIVALRY, np.float32), "min_part": np.array(MIN_PART, np.float32),
        "classes": _whole(classes), "next_to_classes": _whole(classes + 1), "categories": _whole(categories),
        "one_and_categories": _whole(1 + categories), "lowest": np.array(-3e38, np.float32),
        "photo_thresholds": _finite(metadata.of_photo), "shown": shown, "alike": alike,
        "row_thresholds": np.stack([_finite(metadata.of_photo), *[_finite(metadata.label_thresholds)] * categories]),
        "shown_class": np.concatenate([shown, np.zeros(classes + 1 - categories, np.bool_)]),
        "attribute_channels": np.array([x.index for x in labels], np.int64),
        "carried": np.array([[name in x.carried_by for x in labels] for name in names], np.bool_),
        "free": np.array([[not x.carried_by for x in labels]], np.bool_),
        "many": np.array([[g.choice == "many" for g in groups for _ in g.labels]], np.bool_),
        "member": np.array([[x.group == g.name for x in labels] for g in groups], np.bool_).reshape(
            1, len(groups), len(labels)
        ),
        "group_of": np.array([i for i, g in enumerate(groups) for _ in g.labels], np.int64),
    }  # fmt: skip
    if metadata.scores is not None:
        constants |= _lines(metadata.scores, classes)
    thresholds = _finite(metadata.mask_thresholds)
    for number, classes_of in enumerate(metadata.layers):
        constants[f"layer{number}"] = np.array(classes_of, np.int64)
        constants[f"thresholds{number}"] = thresholds[list(classes_of)].reshape(-1, 1, 1)
    return constants


def _lines(scores: Scores, classes: int) -> dict[str, NDArray[Any]]:
    """The weights of scores: of the labels' rows (1 + K, L), the photo's first, and of garments found by masks (C,)."""
    photo, garments, masks = scores.photo.lines, scores.garments.lines, scores.masks.lines
    rows = np.stack([photo, *[garments] * classes])
    return {
        "label_slopes": rows[..., 0], "label_intercepts": rows[..., 1],
        "mask_slopes": masks[:, 0], "mask_label_slopes": masks[:, 1], "mask_intercepts": masks[:, 2],
        "least_score": np.array(SUREST, np.float32), "most_score": np.array(1 - SUREST, np.float32),
    }  # fmt: skip


def _whole(*values: int) -> NDArray[np.int64]:
    return np.array(values, np.int64)


def _finite(probabilities: tuple[float, ...]) -> NDArray[np.float32]:
    return np.asarray(logit(probabilities).clip(-FAR, FAR), np.float32)
