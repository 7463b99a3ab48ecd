"""Structured inputs: families of boxes, logits, labels and bin targets, all exact in float32.

A family is a function (pick, rows, given, dims) -> array (rows, row size), where pick(low, high, size)
gives integers, both ends included. With NumPy behind `pick` it fills a batch at once; with Hypothesis
behind it, it can be searched and shrunk. Every number is an integer over a power of two.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from lossref.core.picking import Array, Draw, Pick

# Boxes -------------------------------------------------------------------------------------------

CELL = 1 / 8


def _box(x: Array, y: Array, w: Array, h: Array, cell: Any = CELL) -> Array:
    return np.asarray(np.stack([x, y, x + w, y + h], axis=1) * cell)


def ordinary_box(pick: Pick, rows: int, given: Array | None, dims: Mapping[str, Any]) -> Array:
    """Sides 1 to 16, corner in [0, 32), multiples of 1/8."""
    x, y = pick(0, 255, rows), pick(0, 255, rows)
    return _box(x, y, pick(8, 128, rows), pick(8, 128, rows))


def thin_box(pick: Pick, rows: int, given: Array | None, dims: Mapping[str, Any]) -> Array:
    """Sides 1 : 50, lying or standing."""
    side = pick(1, 16, rows)
    lying = pick(0, 1, rows).astype(bool)
    w, h = np.where(lying, 50 * side, side), np.where(lying, side, 50 * side)
    return _box(pick(0, 255, rows), pick(0, 255, rows), w, h)


def tiny_box(pick: Pick, rows: int, given: Array | None, dims: Mapping[str, Any]) -> Array:
    """An ordinary box scaled by 2^-20: the absolute eps decides here."""
    return ordinary_box(pick, rows, given, dims) * 2.0**-20


def huge_box(pick: Pick, rows: int, given: Array | None, dims: Mapping[str, Any]) -> Array:
    """Sides up to 65536, multiples of 16."""
    x, y = pick(0, 1023, rows), pick(0, 1023, rows)
    return _box(x, y, pick(1, 4095, rows), pick(1, 4095, rows), 16)


def negative_box(pick: Pick, rows: int, given: Array | None, dims: Mapping[str, Any]) -> Array:
    """Wholly or partly at negative coordinates."""
    return ordinary_box(pick, rows, given, dims) - 32


def flat_box(pick: Pick, rows: int, given: Array | None, dims: Mapping[str, Any]) -> Array:
    """Zero height: the box has no area, its corners are ordinary."""
    return _box(pick(0, 255, rows), pick(0, 255, rows), pick(8, 128, rows), np.zeros(rows, dtype=int))


BOX_FAMILIES: dict[str, Draw] = {
    "ordinary": ordinary_box,
    "thin 1:50": thin_box,
    "tiny": tiny_box,
    "huge": huge_box,
    "negative": negative_box,
    "zero area": flat_box,
}


def _sides(given: Array | None) -> tuple[Array, Array, Array]:
    """Corner (rows, 2), size (rows, 2) and, where a side is zero, the other one in its place."""
    assert given is not None
    corner, size = given[:, :2], given[:, 2:] - given[:, :2]
    return corner, size, np.where(size > 0, size, size[:, ::-1])


def identical_box(pick: Pick, rows: int, given: Array | None, dims: Mapping[str, Any]) -> Array:
    """The same box again."""
    assert given is not None
    return given.copy()


def nested_box(pick: Pick, rows: int, given: Array | None, dims: Mapping[str, Any]) -> Array:
    """Strictly inside, at eighths of the other box."""
    corner, size, _ = _sides(given)
    start = np.stack([pick(1, 4, rows), pick(1, 4, rows)], axis=1)
    length = np.stack([pick(1, 3, rows), pick(1, 3, rows)], axis=1)
    return np.concatenate([corner + size * start / 8, corner + size * (start + length) / 8], axis=1)


def overlapping_box(pick: Pick, rows: int, given: Array | None, dims: Mapping[str, Any]) -> Array:
    """Shifted by less than a side, so long that both share an interior (where the other has one)."""
    corner, _, side = _sides(given)
    shift = np.stack([pick(-7, 7, rows), pick(-7, 7, rows)], axis=1)
    length = np.stack([pick(np.maximum(1 - s, 1), 16, rows) for s in shift.T], axis=1)
    first = corner + side * shift / 8
    return np.concatenate([first, first + side * length / 8], axis=1)


def _apart(pick: Pick, rows: int, given: Array | None, gap_x: Array, gap_y: Array, along: bool) -> Array:
    """A box beyond the right edge by gap_x sides and, unless `along`, below by gap_y."""
    corner, size, side = _sides(given)
    far = corner + size
    length = np.stack([pick(1, 16, rows), pick(1, 16, rows)], axis=1)
    low_y = corner[:, 1] + side[:, 1] * pick(0, 4, rows) / 8 if along else far[:, 1] + side[:, 1] * gap_y / 8
    first = np.stack([far[:, 0] + side[:, 0] * gap_x / 8, low_y], axis=1)
    return np.concatenate([first, first + side * length / 8], axis=1)


def edge_box(pick: Pick, rows: int, given: Array | None, dims: Mapping[str, Any]) -> Array:
    """Touches the right edge of the other box."""
    return _apart(pick, rows, given, np.zeros(rows), np.zeros(rows), along=True)


def corner_box(pick: Pick, rows: int, given: Array | None, dims: Mapping[str, Any]) -> Array:
    """Touches the lower right corner of the other box."""
    return _apart(pick, rows, given, np.zeros(rows), np.zeros(rows), along=False)


def near_box(pick: Pick, rows: int, given: Array | None, dims: Mapping[str, Any]) -> Array:
    """Disjoint by 1/8 to 1 side."""
    return _apart(pick, rows, given, pick(1, 8, rows), pick(1, 8, rows), along=False)


def far_box(pick: Pick, rows: int, given: Array | None, dims: Mapping[str, Any]) -> Array:
    """Disjoint by 20 to 40 sides."""
    return _apart(pick, rows, given, pick(160, 320, rows), pick(160, 320, rows), along=False)


PAIR_FAMILIES: dict[str, Draw] = {
    "overlapping": overlapping_box,
    "identical": identical_box,
    "nested": nested_box,
    "edge": edge_box,
    "corner": corner_box,
    "disjoint near": near_box,
    "disjoint far": far_box,
}


def xyxy_to_xywh(x: Array) -> Array:
    """Corners to centre and size, exact for multiples of a power of two."""
    low, high = x[..., :2], x[..., 2:]
    return np.concatenate([(low + high) / 2, high - low], axis=-1)


def flat_corners(x: Array, params: Mapping[str, Any], side: int) -> Array:
    """Boxes xyxy with one side, 0 the width or 1 the height, at 0."""
    found = x.copy()
    found[..., 2 + side] = found[..., side]
    return found


def flat_sizes(x: Array, params: Mapping[str, Any], side: int) -> Array:
    """Boxes xywh or xywhr with one side, 0 the width or 1 the height, at 0."""
    found = x.copy()
    found[..., 2 + side] = 0.0
    return found


# Elements ----------------------------------------------------------------------------------------


def _signed(pick: Pick, rows: int, row: int, magnitude: float) -> Array:
    return (2 * pick(0, 1, rows * row) - 1).reshape(rows, row) * float(magnitude)


def _eighths(low: float, high: float, per_unit: int = 8) -> Draw:
    def draw(pick: Pick, rows: int, given: Array | None, dims: Mapping[str, Any]) -> Array:
        row = dims["row"]
        return pick(int(low * per_unit), int(high * per_unit), rows * row).reshape(rows, row) / per_unit

    return draw


def _plus_minus(magnitude: float) -> Draw:
    def draw(pick: Pick, rows: int, given: Array | None, dims: Mapping[str, Any]) -> Array:
        return _signed(pick, rows, dims["row"], magnitude)

    return draw


def _constant(value: float) -> Draw:
    def draw(pick: Pick, rows: int, given: Array | None, dims: Mapping[str, Any]) -> Array:
        return np.full((rows, dims["row"]), value)

    return draw


NUMBER_FAMILIES: dict[str, Draw] = {
    "moderate": _eighths(-4, 4),
    "zero": _constant(0.0),
    "small": _eighths(-1, 1, 1024),
    "+-1000": _plus_minus(1000),
}

LOGIT_FAMILIES: dict[str, Draw] = {
    "moderate": _eighths(-4, 4),
    "zero": _constant(0.0),
    "+-20": _plus_minus(20),
    "+-88": _plus_minus(88),
    "+-1e4": _plus_minus(1e4),
}

hard_labels = _eighths(0, 1, 1)
soft_labels = _eighths(0, 1, 16)
HARD_LABEL_FAMILIES: dict[str, Draw] = {"hard": hard_labels, "all zero": _constant(0.0), "all one": _constant(1.0)}
LABEL_FAMILIES: dict[str, Draw] = {**HARD_LABEL_FAMILIES, "soft": soft_labels}


def unit_interval(x: Array, params: Mapping[str, Any]) -> str | None:
    """Legal where every number is in [0, 1]."""
    return None if x.size == 0 or (x.min() >= 0 and x.max() <= 1) else "expected numbers in [0, 1]"


def _quality(draw_inside: Draw) -> Draw:
    def draw(pick: Pick, rows: int, given: Array | None, dims: Mapping[str, Any]) -> Array:
        assert given is not None
        return draw_inside(pick, rows, given, dims) * given

    return draw


QUALITY_FAMILIES: dict[str, Draw] = {
    "soft": _quality(soft_labels),
    "hard": _quality(_constant(1.0)),
    "all zero": _constant(0.0),
}


def _bin_target(low: Callable[[int], float], high: Callable[[int], float], per_unit: int) -> Draw:
    """Distances between two bounds that depend on the number of bins."""

    def draw(pick: Pick, rows: int, given: Array | None, dims: Mapping[str, Any]) -> Array:
        bins, row = dims["R"], dims["row"]
        first, last = round(low(bins) * per_unit), round(high(bins) * per_unit)
        return pick(first, last, rows * row).reshape(rows, row) / per_unit

    return draw


BIN_TARGET_FAMILIES: dict[str, Draw] = {
    "inside": _bin_target(lambda R: 0, lambda R: R - 1.25, 16),
    "integral": _bin_target(lambda R: 0, lambda R: R - 2, 1),
    "near the upper bound": _bin_target(lambda R: R - 1 - 1 / 64, lambda R: R - 1, 1024),
    "above": _bin_target(lambda R: R - 1, lambda R: 2 * R, 8),
    "below": _bin_target(lambda R: -3, lambda R: 0, 8),
}
