"""What the families of rotated boxes, points, distances, angles and mask boxes mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from lossref.core.families import BOX_FAMILIES
from lossref.losses.coordinates.maps import ANGLE_FAMILIES, ANY_BOX_FAMILIES, DISTANCE_FAMILIES, POINT_FAMILIES
from lossref.losses.coordinates.rotated import ROTATED_FAMILIES, ROTATED_PAIR_FAMILIES
from lossref.losses.masks.boxes import MASK_BOX_FAMILIES, MASK_FAMILIES
from lossref.losses.masks.crop_mask import SPEC as CROP
from shared.box_families import BOXES, Array, Meaning

HEIGHT, WIDTH = CROP.sizes["single"][0]["H"], CROP.sizes["single"][0]["W"]
END = np.array([WIDTH, HEIGHT, WIDTH, HEIGHT])


def grid(row: Array, per_unit: float) -> bool:
    return bool(np.all(row * per_unit == np.round(row * per_unit)))


# Rotated boxes ------------------------------------------------------------------------------------------


def label(row: Array) -> bool:
    """An angle as labels have it, in 64ths."""
    return grid(row[4:], 64) and bool(-np.pi / 4 <= row[4] < 3 * np.pi / 4)


def ordinary(row: Array) -> bool:
    """Sides 1 to 16 in eighths; the centre lies half a side beyond a corner in [0, 32)."""
    first = row[:2] - row[2:4] / 2
    sized = grid(row[2:4], 8) and bool(row[2:4].min() >= 1 and row[2:4].max() <= 16)
    return sized and grid(first, 8) and bool(first.min() >= 0 and first.max() < 32)


def thin(row: Array) -> bool:
    return bool(row[2:4].max() == 50 * row[2:4].min() > 0)


def huge(row: Array) -> bool:
    return grid(row[2:4], 1 / 16) and bool(16 <= row[2:4].min() <= row[2:4].max() <= 65536)


def shrunk(row: Array) -> Array:
    return row * np.array([1024, 1024, 1024, 1024, 1])


ROTATED: dict[str, Meaning] = {
    "ordinary": lambda row, other, bins: ordinary(row) and label(row),
    "square": lambda row, other, bins: bool(row[2] == row[3] and 1 <= row[2] <= 16 and label(row)),
    "thin 1:50": lambda row, other, bins: thin(row) and label(row),
    "upright": lambda row, other, bins: ordinary(row) and row[4] == 0,
    "tiny angle": lambda row, other, bins: ordinary(row) and grid(row[4:], 4096) and 0 < abs(row[4]) <= 2**-9,
    "angle beyond pi": lambda row, other, bins: ordinary(row) and np.pi < abs(row[4]) < 4 * np.pi,
    "tiny": lambda row, other, bins: ordinary(shrunk(row)) and label(row),
    "huge": lambda row, other, bins: huge(row) and label(row),
}


def moved(row: Array, other: Array) -> Array:
    """How far the centre is from that of the other box, along x and y."""
    return np.abs(row[:2] - other[:2])


def resized(row: Array, other: Array, low: float, high: float) -> bool:
    ratio = row[2:4] / other[2:4]
    return grid(ratio, 8) and bool(low <= ratio.min() <= ratio.max() <= high)


def turned(row: Array, other: Array, low: float, high: float) -> bool:
    return grid(row[4:] - other[4:], 8) and bool(low <= row[4] - other[4] <= high)


def around(row: Array, other: Array, low: float, high: float, side: float) -> bool:
    away = moved(row, other) / side
    changed = resized(row, other, 0.5, 1.5) and turned(row, other, -0.75, 0.75)
    return bool(low <= away.min() <= away.max() <= high and changed)


def same_place(row: Array, other: Array) -> bool:
    return bool((moved(row, other) == 0).all())


ROTATED_PAIRS: dict[str, Meaning] = {
    "overlapping": lambda row, other, bins: around(row, other, 0, 0.5, other[2:4].min()),
    "identical": lambda row, other, bins: np.array_equal(row, other),
    "nested": lambda row, other, bins: (
        same_place(row, other) and resized(row, other, 0.125, 0.875) and row[4] == other[4]
    ),
    "turned": lambda row, other, bins: (
        same_place(row, other) and np.array_equal(row[2:4], other[2:4]) and turned(row, other, 0.125, 1.5)
    ),
    "beside": lambda row, other, bins: around(row, other, 1, 2, other[2:4].min()),
    "far": lambda row, other, bins: around(row, other, 20, 40, other[2:4].max()),
}

# Points, distances, angles ------------------------------------------------------------------------------

POINTS: dict[str, Meaning] = {
    "cell centre": lambda row, other, bins: grid(row - 0.5, 1) and bool(row.min() > 0 and row.max() < 80),
    "cell corner": lambda row, other, bins: grid(row, 1) and bool(row.min() >= 0 and row.max() < 80),
    "anywhere": lambda row, other, bins: grid(row, 8) and bool(row.min() >= -32 and row.max() <= 96),
}
DISTANCES: dict[str, Meaning] = {
    "ordinary": lambda row, other, bins: grid(row, 8) and bool(row.min() >= 0 and row.max() <= 16),
    "symmetric": lambda row, other, bins: np.array_equal(row[:2], row[2:]) and bool(row.min() > 0),
    "zero": lambda row, other, bins: not row.any(),
    "negative": lambda row, other, bins: grid(row, 8) and bool(row.max() <= 0),
    "large": lambda row, other, bins: grid(row, 1) and bool(row.min() >= 0 and row.max() <= 1024),
}
ANGLES: dict[str, Meaning] = {
    "label range": lambda row, other, bins: grid(row, 32) and bool(-np.pi / 4 <= row[0] < 3 * np.pi / 4),
    "zero": lambda row, other, bins: not row.any(),
    "tiny": lambda row, other, bins: bool(0 < abs(row[0]) < 2**-9),
    "beyond pi": lambda row, other, bins: bool(np.pi < row[0] < 4 * np.pi),
}

# Masks --------------------------------------------------------------------------------------------------


def inside(row: Array) -> bool:
    return bool((row >= 0).all() and (row <= END).all() and (row[:2] <= row[2:]).all())


MASK_BOXES: dict[str, Meaning] = {
    "integer": lambda row, other, bins: grid(row, 1) and inside(row),
    "fractional": lambda row, other, bins: grid(row, 4) and inside(row),
    "half": lambda row, other, bins: grid(row - 0.5, 1) and inside(row),
    "overhanging": lambda row, other, bins: grid(row, 4) and bool((row >= -3).all() and (row <= END + 3).all()),
    "distant": lambda row, other, bins: bool((row[:2] <= -END[:2]).all() and (row[2:] > END[2:]).all()),
    "empty": lambda row, other, bins: bool((row[2:] <= row[:2]).all()),
}
MASKS: dict[str, Meaning] = {
    "numbers": lambda row, other, bins: grid(row, 8) and bool(np.abs(row).max() <= 4),
    "binary": lambda row, other, bins: bool(np.isin(row, (0, 1)).all()),
}

assert set(BOXES) == set(BOX_FAMILIES)
ANY_BOXES: dict[str, Meaning] = {
    **BOXES,
    "inverted": lambda row, other, bins: BOXES["ordinary"](row[[2, 3, 0, 1]], other, bins),
}
MEANINGS: list[tuple[Mapping[str, Any], dict[str, Meaning]]] = [
    (ANY_BOX_FAMILIES, ANY_BOXES),
    (ROTATED_FAMILIES, ROTATED),
    (ROTATED_PAIR_FAMILIES, ROTATED_PAIRS),
    (POINT_FAMILIES, POINTS),
    (DISTANCE_FAMILIES, DISTANCES),
    (ANGLE_FAMILIES, ANGLES),
    (MASK_BOX_FAMILIES, MASK_BOXES),
    (MASK_FAMILIES, MASKS),
]
# (spec, input, family, aspect, number of values that occur at least): for test_family_is_not_one_point
VARIETY: list[tuple[str, str, str, Callable[[Array], Any], int]] = [
    ("probiou", "obb1", "thin 1:50", lambda row: bool(row[2] > row[3]), 2),
    ("probiou", "obb1", "tiny angle", lambda row: float(row[4]), 16),
    ("probiou", "obb1", "angle beyond pi", lambda row: bool(row[4] > 0), 2),
    ("probiou", "obb1", "ordinary", lambda row: float(row[4]), 40),
    ("dist2rbox", "pred_dist", "symmetric", lambda row: float(row[0]), 30),
    ("dist2rbox", "pred_angle", "tiny", lambda row: bool(row[0] > 0), 2),
    ("crop_mask", "boxes", "overhanging", lambda row: bool(row[0] < 0), 2),
    ("crop_mask", "boxes", "half", lambda row: tuple(row[:2]), 4),
]
