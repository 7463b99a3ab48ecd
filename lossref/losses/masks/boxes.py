"""Families of masks, of boxes in mask pixels and of areas, and the corner cases of cropping.

All numbers are multiples of 1/16, exact in every dtype. H and W are the size of the mask (`dims`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from lossref.core.families import LOGIT_FAMILIES, hard_labels
from lossref.core.nouns import Case, Derived
from lossref.core.picking import Array, Draw, Pick

MASK_FAMILIES: dict[str, Draw] = {"numbers": LOGIT_FAMILIES["moderate"], "binary": hard_labels}


def _boxes(pick: Pick, rows: int, dims: Mapping[str, Any], low: float, high: float, per_unit: int) -> Array:
    """Edges between low and high beyond the mask, first below second, multiples of 1 / per_unit."""
    edges = []
    for length in (dims["W"], dims["H"]):
        first, last = round(low * per_unit), round((length + high) * per_unit)
        edges.append(np.sort(pick(first, max(first, last), 2 * rows).reshape(2, rows), axis=0))
    (x1, x2), (y1, y2) = edges
    return np.stack([x1, y1, x2, y2], axis=1) / per_unit


def integer_box(pick: Pick, rows: int, given: Array | None, dims: Mapping[str, Any]) -> Array:
    """Whole pixels inside the mask: all rules agree."""
    return _boxes(pick, rows, dims, 0, 0, 1)


def fractional_box(pick: Pick, rows: int, given: Array | None, dims: Mapping[str, Any]) -> Array:
    """Quarters of a pixel inside the mask."""
    return _boxes(pick, rows, dims, 0, 0, 4)


def half_box(pick: Pick, rows: int, given: Array | None, dims: Mapping[str, Any]) -> Array:
    """Halves: rounding half to even decides."""
    return _boxes(pick, rows, dims, 0, -1, 1) + 0.5


def overhanging_box(pick: Pick, rows: int, given: Array | None, dims: Mapping[str, Any]) -> Array:
    """Up to 3 pixels beyond the mask on any side: slices of negative edges wrap."""
    return _boxes(pick, rows, dims, -3, 3, 4)


def distant_box(pick: Pick, rows: int, given: Array | None, dims: Mapping[str, Any]) -> Array:
    """Far beyond the mask on both sides: everything is kept."""
    far = pick(8, 40, 4 * rows).reshape(rows, 4) / 4 * np.array([-1, -1, 1, 1])
    return np.asarray(far + np.array([-dims["W"], -dims["H"], dims["W"], dims["H"]]))


def empty_box(pick: Pick, rows: int, given: Array | None, dims: Mapping[str, Any]) -> Array:
    """The second corner not beyond the first: nothing is kept."""
    return fractional_box(pick, rows, given, dims)[:, [2, 3, 0, 1]]


MASK_BOX_FAMILIES: dict[str, Draw] = {
    "integer": integer_box,
    "fractional": fractional_box,
    "half": half_box,
    "overhanging": overhanging_box,
    "distant": distant_box,
    "empty": empty_box,
}


def some_area(pick: Pick, rows: int, given: Array | None, dims: Mapping[str, Any]) -> Array:
    """1/16 to 1, as a part of the image."""
    return pick(1, 16, rows).reshape(rows, 1) / 16


def no_area(pick: Pick, rows: int, given: Array | None, dims: Mapping[str, Any]) -> Array:
    """0: the object is too small to be seen."""
    return np.zeros((rows, 1))


AREA_FAMILIES: dict[str, Draw] = {"some": some_area, "none": no_area}


def areas_left_out(params: Mapping[str, Any]) -> tuple[str, ...]:
    """The families that are undefined where every cost is divided by its area."""
    return () if params.get("zero_area_mask", "none") == "none" else ("none",)


def areas_legal(x: Array, params: Mapping[str, Any]) -> str | None:
    """None, or what is wrong with these areas."""
    if (x < 0).any() or (areas_left_out(params) and (x == 0).any()):
        return "expected positive areas (0 only where zero_area_mask is 'none')"
    return None


SIX = [[[6 * j + i for i in range(6)] for j in range(6)]]
BOXES = (
    ("fractional", "the worked example: three columns, three rows", (1.25, 1.5, 4.5, 4.5)),
    ("left of the mask", "an edge below 0", (-2, 1, 3, 5)),
    ("halves", "other pixels under the other rule", (0.5, 0.5, 2.5, 2.5)),
    ("odd halves", "1.5 and 3.5 round to 2 and 4", (1.5, 1.5, 3.5, 3.5)),
    ("whole and beyond", "everything is kept", (0, 0, 10, 10)),
    ("no area", "nothing is kept", (2, 2, 2, 2)),
    ("inverted", "nothing is kept", (3, 3, 1, 1)),
    ("from far outside", "both first edges below -6", (-10, -10, 3, 3)),
    ("ends at -1", "a wrapping slice keeps 25 pixels", (0, 0, -1, -1)),
)


def box_corners(corner: Callable[..., Case]) -> tuple[Case, ...]:
    """The boxes of the specification on a 6 x 6 mask, under every rule."""
    return tuple(
        corner(f"{name}, {crop}", why, params={"crop": crop}, masks=SIX, boxes=[box])
        for name, why, box in BOXES
        for crop in ("exact", "rounded", "clipped")
    )


def ones(count: int) -> dict[str, Any]:
    """Masks (count, 2, 3) of ones and fractional boxes."""
    return {"masks": np.ones((count, 2, 3)), "boxes": [(0.5, 0.25, 2.5, 1.5)] * count}


def masks_of(overlap: bool, b: int, n: int) -> int:
    """How many masks a batch has: one for each image, in which objects overlap, or one for each object."""
    return b if overlap else n


MASKS = {"M": Derived(("overlap", "b", "n"), masks_of)}
