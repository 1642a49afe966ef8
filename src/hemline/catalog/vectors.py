"""What garments are compared by: the network's embedding of what they are, joined with their measured colours.

The embedding was taught to tell labels apart, never colours, so like garments of any colour lie together in it. Colours
are a soft histogram over points of CIE Lab; the square root of its shares makes the cosine of two of them what they
have in common. Joined, the cosine is the weighted mean of the two.

Shapes: N garments, D embedding, C colour points.
"""

from __future__ import annotations

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Floats = NDArray[np.float32]

RECIPE = 1
"""Raised when vectors of old and new can no longer be compared."""
COLOUR_WEIGHT = 0.3
"""Of the colours in the cosine; the rest is the embedding's. Chosen on the Clothing Attributes photos, whose colours
and patterns people labelled (`docs/catalog.md`): more finds more of the same colour and fewer of the same pattern."""
REACH = 12.0
"""Standard deviation, in Lab units, of the points that a colour counts for."""


def _points() -> Floats:
    """(C, 3) Lab: a grid, where sRGB has colours."""
    steps = np.arange(-60, 81, 25)
    grid = np.stack(np.meshgrid(np.arange(10, 100, 20), steps, steps, indexing="ij"), -1).reshape(-1, 3)
    lab = grid.astype(np.float32)
    there = cv2.cvtColor(cv2.cvtColor(lab[None], cv2.COLOR_Lab2RGB), cv2.COLOR_RGB2Lab)[0]
    points: Floats = lab[np.linalg.norm(there - lab, axis=1) < 8]
    return points


_POINTS = _points()


def join_vectors(embeddings: Floats, colours: Floats, weight: float = COLOUR_WEIGHT) -> Floats:
    """Vectors whose dot product is the weighted mean of two cosines.

    Args:
        embeddings: (N, D).
        colours: (N, C), of `colour_vectors`.
        weight: Of the colours, 0 to 1.

    Returns:
        (N, D + C) of length 1; shorter where a part of them is all 0.
    """
    long = np.linalg.norm(embeddings, axis=1, keepdims=True)
    parts = [np.sqrt(1 - weight) * embeddings / np.maximum(long, 1e-12), np.sqrt(weight) * colours]
    return np.concatenate(parts, axis=1).astype(np.float32)


def colour_vectors(colours: pa.ListArray) -> Floats:
    """Colours of garments (`tables.COLOUR`, N lists) -> (N, C) of length 1; 0 where a garment has none."""
    lengths = pc.fill_null(pc.list_value_length(colours), 0).to_numpy(zero_copy_only=False)
    members = colours.flatten()
    vectors = np.zeros((len(colours), len(_POINTS)), np.float32)
    if len(members):
        codes = members.field("hex").dictionary_encode()
        near = _near(codes.dictionary.to_pylist())[codes.indices.to_numpy()]
        near *= members.field("share").to_numpy(zero_copy_only=False)[:, None]
        starts = np.cumsum(lengths) - lengths
        vectors[lengths > 0] = np.sqrt(np.add.reduceat(near, starts[lengths > 0], axis=0))
    long = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Floats = vectors / np.maximum(long, 1e-12)
    return unit


def _near(codes: list[str]) -> Floats:
    """`#rrggbb` -> (n, C) how much of each point a colour is, 1 in sum."""
    rgb = np.array([list(bytes.fromhex(code[1:])) for code in codes], np.float32) / 255
    lab = cv2.cvtColor(rgb[None], cv2.COLOR_RGB2Lab)[0]
    distances = ((lab[:, None] - _POINTS) ** 2).sum(2)
    near = np.exp((distances.min(1, keepdims=True) - distances) / (2 * REACH**2)).astype(np.float32)
    shares: Floats = near / near.sum(1, keepdims=True)
    return shares
