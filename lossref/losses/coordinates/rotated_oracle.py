"""Rotated boxes in scalars: the oracle part of rbox2dist that the losses share.

Source: spec/10-geometry.md section 9.
"""

from __future__ import annotations

from typing import Any


def oracle_sides_of(m: Any, point: Any, box: Any) -> tuple[Any, ...]:
    """Distances l, t, r, b from a point to the sides of a rotated box, along its own axes."""
    x, y, w, h, r = box
    right = (point[0] - x) * m.cos(r) + (point[1] - y) * m.sin(r)  # how far the point lies along the w axis
    down = (point[1] - y) * m.cos(r) - (point[0] - x) * m.sin(r)
    return w / 2 + right, h / 2 + down, w / 2 - right, h / 2 - down
