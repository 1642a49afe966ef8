"""Masks of many garments as one map of segments.

A mask comes as the borders of its runs (`hemline.borders`) and is never unpacked alone: `overlay` draws the masks of a
photo, overlaps included, as one map, at about the cost of one of them.

Shapes: H W photo, N masks, S segments.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from hemline.borders import Borders
from hemline.data.sample import MOST_SEGMENTS, Segments


def overlay(masks: Sequence[Borders], size: tuple[int, int]) -> tuple[Segments, list[tuple[int, ...]]]:
    """Draw masks on one map, where they overlap a segment of its own.

    Args:
        masks: N masks.
        size: (H, W).

    Returns:
        (H, W) segment ids, 0 where there is no mask, and for each of the S segments the masks that cover it.

    Raises:
        ValueError: more segments than 65,536.
    """
    # a stretch of pixels is told by the exclusive or of the random keys of the masks that have begun and not ended
    keys = np.random.default_rng(0).integers(1, 2**63, len(masks), dtype=np.uint64)
    places = np.concatenate([np.zeros(1, np.int64), *masks])
    toggles = np.concatenate([np.zeros(1, np.uint64), np.repeat(keys, [len(mask) for mask in masks])])
    order = np.argsort(places, kind="stable")
    places = places[order]
    lengths = np.diff(places, append=size[0] * size[1])
    some = lengths > 0
    places, lengths = places[some], lengths[some]
    stretch = np.bitwise_xor.accumulate(toggles[order])[some]
    kinds, where, of_kind = np.unique(stretch, return_index=True, return_inverse=True)
    if len(kinds) + (0 not in kinds) > 65536:
        raise ValueError(f"{len(masks)} masks overlap in {len(kinds)} ways; 65,536 at most")
    bare = [()] * (0 not in kinds)                        # keys are sorted: where some pixels are bare, they are first
    covering = np.stack([mask.searchsorted(places[where], "right") % 2 == 1 for mask in masks] or [kinds != 0])
    members = bare + [tuple(np.flatnonzero(column).tolist()) for column in covering.T]
    ids = np.arange(len(kinds)) + len(bare)
    small = np.uint8 if len(members) <= MOST_SEGMENTS else np.uint16
    columns = np.repeat(ids[of_kind].astype(small), lengths).reshape(size[1], size[0])
    return cv2.transpose(columns), members  # type: ignore[return-value]
