"""Machinery of `hemline.result`: which garment holds a part, such as a collar or a pocket.

Shapes: H W photo. A mask is True where the garment is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np

from hemline import masks as mask_forms
from hemline.labels import LabelSpace
from hemline.masks import Mask

if TYPE_CHECKING:
    from hemline.result import Garment

LEAST_HELD = 0.5
"""Share of a part, or of its border, that the garment which holds it must cover."""
CLOSE = 0.1
"""Shares that differ by no more than this are alike: outlines are no more exact."""
BORDER = 0.01
"""Width of the border around a part, as a share of the photo's longer side; a pixel at least."""


def hold(garments: Sequence[Garment], space: LabelSpace) -> list[Garment]:
    """Put every part that was found by its mask among the `parts` of the garment that holds it; the others are left.

    A garment that was not found by its mask holds nothing: where it is, is a guess.
    """
    names = {space.categories[k].name for k in space.parts}
    found = [(g, g.drawn.cells) for g in garments if g.drawn is not None and g.found_by == "mask"]
    holders = [(garment, mask) for garment, mask in found if garment.category not in names]
    held = set()
    for part, mask in found:
        if part.category in names and (number := holder(mask, [own for _, own in holders])) is not None:
            holders[number][0].parts.append(part)
            held.add(id(part))
    return [garment for garment in garments if id(garment) not in held]


def holder(part: Mask, garments: Sequence[Mask]) -> int | None:
    """Which garment a part belongs to: the one that covers most of it, and half of it at least.

    Where garments lie over one another and cover about as much of it (`CLOSE`), it is the smallest of them: a buckle is
    the belt's, even if the trousers' mask goes on under it. A part that no garment covers so, since masks share no
    pixel, is judged by the border just outside of it, by the same rule: a pocket is that of the trousers around it. A
    sleeve that is cut out of its coat touches it at the shoulder alone, and is nobody's.

    Args:
        part: (H, W), somewhere True.
        garments: (H, W) each.

    Returns:
        A position in `garments`, or None where nobody holds the part.
    """
    if not garments:
        return None
    height, width = part.shape
    edge = max(1, round(BORDER * max(height, width)))
    x, y, across, down = mask_forms.box(part)
    crop = slice(max(0, y - edge), y + down + edge), slice(max(0, x - edge), x + across + edge)
    own = part[crop]
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * edge + 1, 2 * edge + 1))
    around = (cv2.dilate(own.view(np.uint8), disc) > 0) & ~own
    for pixels in (own, around):
        total = max(1, int(np.count_nonzero(pixels)))
        shares = [int(np.count_nonzero(pixels & garment[crop])) / total for garment in garments]
        if (most := max(shares)) >= LEAST_HELD:
            alike = [i for i, share in enumerate(shares) if share >= max(LEAST_HELD, most - CLOSE)]
            return min(alike, key=lambda i: int(np.count_nonzero(garments[i])))
    return None
