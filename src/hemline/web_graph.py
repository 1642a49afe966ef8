"""The graph for phones and browsers: a photo of any size in, the answer out, with nothing left to compute.

    input     photo             uint8 (H, W, C)      RGB, or RGBA whose alpha is not read; H W any, C 3 or 4
    outputs   masks             uint8 (M, h, w)      0 nobody, else 1 + category; a map for each layer of `layers`
              found             uint8 (K,)           0 not worn, 1 found by its mask, 2 by the photo's label alone
              scores            float (K,)           of each category, 0..1
              boxes             float (K, 4)         x, y, width, height as shares of the photo; 0 without a mask
              attributes        uint8 (1 + K, A)     1 what is said: of the photo, then of each category's garment
              attribute_scores  float (1 + K, A)     0..1; 0 of a garment without a mask

K categories, A attributes of the shown groups. (h, w) is the photo's size on the canvas, so that the maps cover the
photo and nothing else. Around the network stand the two halves below, in ONNX's textual syntax and its default domain:
`_BEFORE` places the photo as `hemline.photo.place` does, `_layer` and `_AFTER` decide as `hemline.result.read_answer`
does, but that masks are decided at (h, w), and are not freed of speckles nor their holes filled.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import compose, helper, numpy_helper, parser

from hemline._regions import LEAST_RIVALRY, logit
from hemline.labels import Label, LabelSpace
from hemline.masks import MIN_PART
from hemline.metadata import Metadata
from hemline.photo import PADDING

INPUT = "uint8[height, width, channels] photo"
OUTPUTS = (
    "uint8[layers, mask_height, mask_width] masks, uint8[categories] found, float[categories] scores, "
    "float[categories, 4] boxes, uint8[rows, attributes] attributes, float[rows, attributes] attribute_scores"
)
FAR = 1e4
"""Stands for an infinite logit, of thresholds 0 and 1: no logit is as large."""


def web_graph(core: onnx.ModelProto, metadata: Metadata) -> onnx.ModelProto:
    """The graph of a network (`hemline.export.to_onnx`) between the photo and the answer, without metadata.

    Args:
        core: `pixels` and `valid` in, `masks` and `labels` out.
        metadata: Of the same weights.
    """
    network = compose.add_prefix(core, "network_")
    layers = "".join(_layer(number) for number in range(len(metadata.layers)))
    text = f"answer ({INPUT}) => ({OUTPUTS}) {{ {_BEFORE} {layers} {_gathered(len(metadata.layers))} {_AFTER} }}"
    graph = parser.parse_graph("\n".join(line.partition("#")[0] for line in text.splitlines()))
    before = next(i for i, node in enumerate(graph.node) if "network_valid" in node.output) + 1
    nodes = [*graph.node[:before], *network.graph.node, *graph.node[before:]]
    constants = {name: numpy_helper.from_array(value, name) for name, value in _constants(metadata).items()}
    read = {name for node in nodes for name in node.input}
    initializers = [*network.graph.initializer, *(value for name, value in constants.items() if name in read)]
    whole = helper.make_graph(nodes, "hemline", list(graph.input), list(graph.output), initializers)
    sizes = {"layers": len(metadata.layers), "categories": len(metadata.labels.categories)}
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
        "label_thresholds": _finite(metadata.label_thresholds), "shown": shown, "alike": alike,
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
    thresholds = _finite(metadata.mask_thresholds)
    for number, layer in enumerate(metadata.layers):
        constants[f"layer{number}"] = np.array(layer, np.int64)
        constants[f"thresholds{number}"] = thresholds[list(layer)].reshape(-1, 1, 1)
    return constants


def _whole(*values: int) -> NDArray[np.int64]:
    return np.array(values, np.int64)


def _finite(probabilities: tuple[float, ...]) -> NDArray[np.float32]:
    return np.asarray(logit(probabilities).clip(-FAR, FAR), np.float32)


def _boxes_of(name: str, source: str, length: str, target: str) -> str:
    """Scale the first side of a matrix (length, ...) to `target`: each row is the mean of the rows around it.

    That many rows where it shrinks, which is OpenCV's INTER_AREA, and one where it grows, which is its INTER_LINEAR.
    Sums are of whole numbers up to 255 times a side, exact in 32-bit floats up to sides of 65,793.
    """
    text = f"""
    {name}_sums = CumSum<exclusive=1>({source}, first)
    {name}_length = Cast<to=1>({length})
    {name}_target = Cast<to=1>({target})
    {name}_ratio = Div({name}_length, {name}_target)
    {name}_rows = Max({name}_ratio, one_f)
    {name}_stop = Squeeze({target})
    {name}_range = Range(first, {name}_stop, step)
    {name}_floats = Cast<to=1>({name}_range)
    {name}_middles = Add({name}_floats, half)
    {name}_centres = Mul({name}_middles, {name}_ratio)
    {name}_reach = Mul({name}_rows, half)
    {name}_starts = Sub({name}_centres, {name}_reach)
    {name}_room = Sub({name}_length, {name}_rows)
    {name}_inside = Max({name}_starts, zero_f)
    {name}_low = Min({name}_inside, {name}_room)
    {name}_high = Add({name}_low, {name}_rows)
    {name}_last = Sub({name}_length, one_f)
    """
    for edge in ("low", "high"):
        text += f"""
        {name}_{edge}_floor = Floor({name}_{edge})
        {name}_{edge}_cell = Min({name}_{edge}_floor, {name}_last)
        {name}_{edge}_part = Sub({name}_{edge}, {name}_{edge}_cell)
        {name}_{edge}_share = Unsqueeze({name}_{edge}_part, one)
        {name}_{edge}_index = Cast<to=7>({name}_{edge}_cell)
        {name}_{edge}_before = Gather<axis=0>({name}_sums, {name}_{edge}_index)
        {name}_{edge}_row = Gather<axis=0>({source}, {name}_{edge}_index)
        {name}_{edge}_within = Mul({name}_{edge}_row, {name}_{edge}_share)
        {name}_{edge}_sum = Add({name}_{edge}_before, {name}_{edge}_within)
        """
    return f"""{text}
    {name}_total = Sub({name}_high_sum, {name}_low_sum)
    {name} = Div({name}_total, {name}_rows)
    """


_BEFORE = f"""
    size = Shape(photo)
    height = Gather(size, zero)
    width = Gather(size, one)
    height_d = Cast<to=11>(height)
    width_d = Cast<to=11>(width)
    scale_h = Div(canvas_hd, height_d)
    scale_w = Div(canvas_wd, width_d)
    scale = Min(scale_h, scale_w)
    scaled_h = Mul(height_d, scale)
    scaled_w = Mul(width_d, scale)
    round_h = Round(scaled_h)
    round_w = Round(scaled_w)
    least_h = Max(round_h, one_d)
    least_w = Max(round_w, one_d)
    fitted_h = Min(least_h, canvas_hd)
    fitted_w = Min(least_w, canvas_wd)
    inner_h = Cast<to=7>(fitted_h)
    inner_w = Cast<to=7>(fitted_w)
    spare_h = Sub(canvas_h, inner_h)
    spare_w = Sub(canvas_w, inner_w)
    top = Div(spare_h, two)
    left = Div(spare_w, two)
    below = Sub(spare_h, top)
    right = Sub(spare_w, left)

    photo_f = Cast<to=1>(photo)
    by_rows = Reshape(photo_f, keep_both)
    {_boxes_of("tall", "by_rows", "height", "inner_h")}
    tall_shape = Concat<axis=0>(inner_h, width, minus_one)
    tall_photo = Reshape(tall, tall_shape)
    tall_rgb = Slice(tall_photo, zero, three, two)
    columns = Transpose<perm=[1, 0, 2]>(tall_rgb)
    by_columns = Reshape(columns, keep_both)
    {_boxes_of("wide", "by_columns", "width", "inner_w")}
    wide_shape = Concat<axis=0>(inner_w, inner_h, three)
    wide_photo = Reshape(wide, wide_shape)
    placed = Transpose<perm=[1, 0, 2]>(wide_photo)
    rounded = Round(placed)
    bytes = Cast<to=2>(rounded)
    margins = Concat<axis=0>(top, left, zero, below, right, zero)
    canvas = Pad(bytes, margins, padding)
    network_pixels = Unsqueeze(canvas, zero)
    inner = Concat<axis=0>(inner_h, inner_w)
    inside = ConstantOfShape<value=uint8[1] {{1}}>(inner)
    margins_2d = Concat<axis=0>(top, left, below, right)
    valid = Pad(inside, margins_2d, outside)
    network_valid = Unsqueeze(valid, zero)

    # which cells of the network's maps touch the photo
    logits = Squeeze(network_masks, zero)
    map_size = Shape(logits)
    cells_h = Gather(map_size, one)
    cells_w = Gather(map_size, two)
    bottom = Add(top, inner_h)
    end = Add(left, inner_w)
    top_cells = Mul(top, cells_h)
    top_cell = Div(top_cells, canvas_h)
    left_cells = Mul(left, cells_w)
    left_cell = Div(left_cells, canvas_w)
    bottom_cells = Mul(bottom, cells_h)
    bottom_round = Add(bottom_cells, canvas_h)
    bottom_less = Sub(bottom_round, one)
    bottom_cell = Div(bottom_less, canvas_h)
    end_cells = Mul(end, cells_w)
    end_round = Add(end_cells, canvas_w)
    end_less = Sub(end_round, one)
    end_cell = Div(end_less, canvas_w)
    cells_start = Concat<axis=0>(top_cell, left_cell)
    cells_end = Concat<axis=0>(bottom_cell, end_cell)
    map_axes = Concat<axis=0>(one, two)
    last_row = Sub(bottom_cell, one)
    last_column = Sub(end_cell, one)
    rows_stop = Squeeze(cells_h)
    columns_stop = Squeeze(cells_w)
    all_rows = Range(first, rows_stop, step)
    all_columns = Range(first, columns_stop, step)
    rows_from = Max(all_rows, top_cell)
    columns_from = Max(all_columns, left_cell)
    nearest_rows = Min(rows_from, last_row)
    nearest_columns = Min(columns_from, last_column)
    photo_start = Concat<axis=0>(top, left)
    photo_end = Concat<axis=0>(bottom, end)
    canvas_2d = Concat<axis=0>(canvas_h, canvas_w)
    one_cell = Concat<axis=0>(one, cells_h, cells_w)
    nobody = ConstantOfShape<value=float[1] {{0}}>(one_cell)
    inner_hf = Cast<to=1>(inner_h)
    inner_wf = Cast<to=1>(inner_w)
    inner_pixels = Mul(inner_hf, inner_wf)
"""


def _layer(number: int) -> str:
    """The classes of one layer -> their map (1, h, w), and of nobody and of each that competes: what it holds."""
    text = """
    ? = Gather<axis=0>(logits, layer?)
    ?_margins = Sub(?, thresholds?)
    ?_touching = Slice(?_margins, cells_start, cells_end, map_axes)
    ?_flat = Reshape(?_touching, keep_both)
    ?_passes = Greater(?_flat, zero_f)
    ?_passing = Cast<to=1>(?_passes)
    ?_most = ReduceMax<keepdims=1>(?_flat, zero)
    ?_leads = GreaterOrEqual(?_flat, ?_most)
    ?_leading = Cast<to=1>(?_leads)
    ?_won = Mul(?_passing, ?_leading)
    ?_won_t = Transpose<perm=[1, 0]>(?_won)
    ?_there = MatMul(?_passing, ?_won_t)
    ?_rival = ReduceMax<keepdims=0>(?_there, one)
    ?_least = Mul(?_rival, rivalry)
    ?_own = ReduceSum<keepdims=0>(?_won, one)
    ?_enough = GreaterOrEqual(?_own, ?_least)
    ?_any = ReduceMax<keepdims=0>(?_passing, one)
    ?_some = Greater(?_any, zero_f)
    ?_good = And(?_enough, ?_some)
    ?_contenders = Compress<axis=0>(?_margins, ?_good)
    ?_classes = Compress<axis=0>(layer?, ?_good)
    ?_ids = Concat<axis=0>(classes, ?_classes)
    ?_maps = Concat<axis=0>(nobody, ?_contenders)
    ?_rows = Gather<axis=1>(?_maps, nearest_rows)
    ?_cells = Gather<axis=2>(?_rows, nearest_columns)
    ?_batch = Unsqueeze(?_cells, zero)
    ?_shape = Shape(?_ids)
    ?_sizes = Concat<axis=0>(one, ?_shape, canvas_2d)
    ?_canvas = Resize<mode="linear", coordinate_transformation_mode="half_pixel">(?_batch, , , ?_sizes)
    ?_large = Squeeze(?_canvas, zero)
    ?_full = Slice(?_large, photo_start, photo_end, map_axes)
    ?_best = ReduceMax<keepdims=1>(?_full, zero)
    ?_owner = ArgMax<axis=0, keepdims=1>(?_full)
    ?_stop = Squeeze(?_shape)
    ?_numbers = Range(first, ?_stop, step)
    ?_tall = Unsqueeze(?_numbers, map_axes)
    ?_each = Equal(?_owner, ?_tall)
    ?_held = Cast<to=1>(?_each)
    ?_pixels = ReduceSum<keepdims=0>(?_held, map_axes)
    ?_share = Div(?_pixels, inner_pixels)
    ?_large_enough = GreaterOrEqual(?_share, min_part)
    ?_may_show = Gather<axis=0>(shown_class, ?_ids)
    ?_kept = And(?_large_enough, ?_may_show)
    ?_sure = Sigmoid(?_best)
    ?_sure_held = Mul(?_held, ?_sure)
    ?_sum = ReduceSum<keepdims=0>(?_sure_held, map_axes)
    ?_counts = Max(?_pixels, one_f)
    ?_mean = Div(?_sum, ?_counts)
    ?_in_rows = ReduceMax<keepdims=0>(?_held, two)
    ?_in_columns = ReduceMax<keepdims=0>(?_held, one)
    ?_y0 = ArgMax<axis=1, keepdims=1>(?_in_rows)
    ?_y1 = ArgMax<axis=1, keepdims=1, select_last_index=1>(?_in_rows)
    ?_x0 = ArgMax<axis=1, keepdims=1>(?_in_columns)
    ?_x1 = ArgMax<axis=1, keepdims=1, select_last_index=1>(?_in_columns)
    ?_dy = Sub(?_y1, ?_y0)
    ?_dx = Sub(?_x1, ?_x0)
    ?_h = Add(?_dy, one)
    ?_w = Add(?_dx, one)
    ?_box_cells = Concat<axis=1>(?_x0, ?_y0, ?_w, ?_h)
    ?_box = Cast<to=1>(?_box_cells)
    ?_numbered = Add(?_ids, one)
    ?_table = Where(?_kept, ?_numbered, zero)
    ?_shown = Gather<axis=0>(?_table, ?_owner)
    ?_map = Cast<to=2>(?_shown)
    """
    text = text.replace("layer?", f"layer{number}").replace("thresholds?", f"thresholds{number}")
    return text.replace("?", f"of{number}")


def _gathered(layers: int) -> str:
    """What the layers hold, together."""
    parts = {"masks": "map", "every_id": "ids", "every_kept": "kept", "every_mean": "mean", "every_box": "box"}
    lines = []
    for name, part in parts.items():
        lines.append(f"{name} = Concat<axis=0>({', '.join(f'of{number}_{part}' for number in range(layers))})")
    return "\n".join(lines)


_AFTER = """
    # of every class, with a place for nobody behind them, then of the categories alone
    kept_f = Cast<to=1>(every_kept)
    none = ConstantOfShape<value=float[1] {0}>(next_to_classes)
    kept_all = ScatterElements<axis=0>(none, every_id, kept_f)
    mean_all = ScatterElements<axis=0>(none, every_id, every_mean)
    by_mask_f = Slice(kept_all, zero, categories, zero)
    mean = Slice(mean_all, zero, categories, zero)
    by_mask = Greater(by_mask_f, zero_f)
    by_mask_column = Unsqueeze(by_mask_f, one)
    box_shape = Concat<axis=0>(next_to_classes, four)
    no_boxes = ConstantOfShape<value=float[1] {0}>(box_shape)
    id_column = Unsqueeze(every_id, one)
    id_shape = Shape(every_id)
    box_id_shape = Concat<axis=0>(id_shape, four)
    box_ids = Expand(id_column, box_id_shape)
    box_all = ScatterElements<axis=0>(no_boxes, box_ids, every_box)
    box_cells = Slice(box_all, zero, categories, zero)
    box_units = Concat<axis=0>(inner_wf, inner_hf, inner_wf, inner_hf)
    box_shares = Div(box_cells, box_units)
    boxes = Mul(box_shares, by_mask_column)

    # categories that the photo's label alone names: none that is taken by one alike, found by its mask, or surer
    labels = Squeeze(network_labels, zero)
    of_photo = Gather<axis=0>(labels, zero)
    photo_logits = Squeeze(of_photo, zero)
    photo_margins = Sub(photo_logits, label_thresholds)
    category_logits = Slice(photo_logits, zero, categories, zero)
    category_margins = Slice(photo_margins, zero, categories, zero)
    margins_row = Unsqueeze(category_margins, zero)
    margins_column = Unsqueeze(category_margins, one)
    surer = Greater(margins_row, margins_column)
    by_mask_row = Unsqueeze(by_mask, zero)
    ahead = Or(surer, by_mask_row)
    rivals = And(ahead, alike)
    rivals_f = Cast<to=1>(rivals)
    outdone_f = ReduceMax<keepdims=0>(rivals_f, one)
    outdone = Greater(outdone_f, zero_f)
    not_outdone = Not(outdone)
    not_by_mask = Not(by_mask)
    label_passes = Greater(category_margins, zero_f)
    label_shown = And(label_passes, shown)
    label_free = And(label_shown, not_outdone)
    by_label = And(label_free, not_by_mask)
    by_label_f = Cast<to=1>(by_label)
    twice = Add(by_label_f, by_label_f)
    found_f = Add(by_mask_f, twice)
    found = Cast<to=2>(found_f)
    category_scores = Sigmoid(category_logits)
    scores = Where(by_mask, mean, category_scores)

    # attributes: of the categories' garments, of the photo among what is worn, and among what has no mask
    rows = Slice(labels, zero, one_and_categories, zero)
    attribute_logits = Gather<axis=1>(rows, attribute_channels)
    attribute_thresholds = Gather<axis=0>(label_thresholds, attribute_channels)
    attribute_margins = Sub(attribute_logits, attribute_thresholds)
    garment_margins = Slice(attribute_margins, one, one_and_categories, zero)
    photo_margins_row = Slice(attribute_margins, zero, one, zero)
    three_margins = Concat<axis=0>(garment_margins, photo_margins_row, photo_margins_row)
    can_carry = Or(carried, free)
    by_mask_bool = Unsqueeze(by_mask, one)
    garment_may = And(can_carry, by_mask_bool)
    worn = Or(by_mask, by_label)
    worn_column = Unsqueeze(worn, one)
    worn_carry = And(carried, worn_column)
    worn_carry_f = Cast<to=1>(worn_carry)
    worn_any_f = ReduceMax<keepdims=1>(worn_carry_f, zero)
    worn_any = Greater(worn_any_f, zero_f)
    worn_may = Or(worn_any, free)
    label_column = Unsqueeze(by_label, one)
    label_carry = And(carried, label_column)
    label_carry_f = Cast<to=1>(label_carry)
    label_any_f = ReduceMax<keepdims=1>(label_carry_f, zero)
    label_any = Greater(label_any_f, zero_f)
    label_may = Or(label_any, free)
    may = Concat<axis=0>(garment_may, worn_may, label_may)
    over = Greater(three_margins, zero_f)
    pass = And(over, may)
    rivals_margins = Where(pass, three_margins, lowest)
    spread = Unsqueeze(rivals_margins, one)
    by_group = Where(member, spread, lowest)
    group_best = ReduceMax<keepdims=0>(by_group, two)
    own_best = Gather<axis=1>(group_best, group_of)
    is_best = GreaterOrEqual(rivals_margins, own_best)
    may_say = Or(is_best, many)
    said = And(pass, may_say)
    said_f = Cast<to=1>(said)
    garment_said = Slice(said_f, zero, categories, zero)
    seen = ReduceMax<keepdims=1>(garment_said, zero)
    possible = Slice(said_f, minus_one, next_to_end, zero)
    backed = Max(seen, possible)
    photo_place = Add(categories, one)
    photo_said = Slice(said_f, categories, photo_place, zero)
    photo_backed = Mul(photo_said, backed)
    attributes_f = Concat<axis=0>(photo_backed, garment_said)
    attributes = Cast<to=2>(attributes_f)
    probabilities = Sigmoid(attribute_logits)
    ones_row = Unsqueeze(one_f_1d, one)
    rows_known = Concat<axis=0>(ones_row, by_mask_column)
    attribute_scores = Mul(probabilities, rows_known)
"""
