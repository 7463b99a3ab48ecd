"""What the families of axis-aligned boxes, and of pairs of them, mean."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Meaning = Callable[[Array, Array, int], bool]  # (row, the row it is drawn in relation to, bins)


def gaps(row: Array, other: Array) -> Array:
    """Free space between two boxes along x and y; negative where they overlap."""
    return np.maximum(row[:2], other[:2]) - np.minimum(row[2:], other[2:])


def size_of(row: Array) -> Array:
    return row[2:] - row[:2]


def relative_gaps(row: Array, other: Array) -> Array:
    """Gaps in sides of the other box; a side of zero is replaced by the other side."""
    size = size_of(other)
    return gaps(row, other) / np.where(size > 0, size, size[::-1])


def on_grid(row: Array, per_unit: float) -> bool:
    return bool(np.all(row * per_unit == np.round(row * per_unit)))


def ordinary(row: Array, other: Array, bins: int) -> bool:
    w, h = size_of(row)
    return on_grid(row, 8) and 1 <= min(w, h) <= max(w, h) <= 16 and 0 <= row[:2].min() <= row[:2].max() < 32


def strictly_inside(row: Array, other: Array, bins: int) -> bool:
    """Away from all four edges; a box without height has no inside, only a line to lie on."""
    low, high = row[:2] > other[:2], row[2:] < other[2:]
    flat = (size_of(other) == 0) & (row[:2] == other[:2]) & (row[2:] == other[2:])
    return bool(np.all((low & high & (size_of(row) > 0)) | flat))


def touches_edge(row: Array, other: Array, bins: int) -> bool:
    """The left edge on the other's right edge, over some length; a flat box has no length to share."""
    across, along = gaps(row, other)
    return bool(across == 0 and row[0] == other[2] and (along < 0 or size_of(other)[1] == 0))


def overlaps(row: Array, other: Array, bins: int) -> bool:
    """A common interior; with a flat box at least a common line or point."""
    flat = size_of(other) == 0
    return bool(np.all((gaps(row, other) < 0) | flat))


BOXES: dict[str, Meaning] = {
    "ordinary": ordinary,
    "thin 1:50": lambda row, other, bins: bool(max(size_of(row)) == 50 * min(size_of(row)) > 0),
    "tiny": lambda row, other, bins: ordinary(row * 2.0**20, other, bins),
    "huge": lambda row, other, bins: on_grid(row, 1 / 16) and 16 <= min(size_of(row)) <= max(size_of(row)) <= 65536,
    "negative": lambda row, other, bins: bool(row.min() < 0 and ordinary(row + 32, other, bins)),
    "zero area": lambda row, other, bins: bool(size_of(row)[1] == 0 < size_of(row)[0]),
}
PAIRS: dict[str, Meaning] = {
    "overlapping": overlaps,
    "identical": lambda row, other, bins: np.array_equal(row, other),
    "nested": strictly_inside,
    "edge": touches_edge,
    "corner": lambda row, other, bins: np.array_equal(row[:2], other[2:]),
    "disjoint near": lambda row, other, bins: bool(
        np.all(gaps(row, other) > 0) and relative_gaps(row, other).max() <= 1
    ),
    "disjoint far": lambda row, other, bins: bool(
        20 <= relative_gaps(row, other).min() <= relative_gaps(row, other).max() <= 40
    ),
}
