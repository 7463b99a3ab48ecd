"""Families of rotated boxes (cx, cy, w, h, r), and of a second box in relation to a first one; laws of pairs.

All numbers are integers over a power of two, exact in float32; angles are multiples of 1/64, in radians.
Labels have r in [-pi/4, 3 pi/4); nothing in the formulas enforces it (spec/00-conventions.md section 2).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lossref.core.families import huge_box, ordinary_box, thin_box, xyxy_to_xywh
from lossref.core.laws import differs
from lossref.core.nouns import Params
from lossref.core.picking import Array, Draw, Pick

FIRST_ANGLE, LAST_ANGLE = -50, 150  # 64ths within [-pi/4, 3 pi/4)


def _turned(box: Array, angle: Array) -> Array:
    """Axis-aligned boxes xyxy, turned around their centres."""
    return np.concatenate([xyxy_to_xywh(box), angle[:, None]], axis=1)


def _label_angle(pick: Pick, rows: int) -> Array:
    return pick(FIRST_ANGLE, LAST_ANGLE, rows) / 64


def _turned_family(box: Draw) -> Draw:
    def draw(pick: Pick, rows: int, given: Array | None, dims: Mapping[str, Any]) -> Array:
        return _turned(box(pick, rows, given, dims), _label_angle(pick, rows))

    return draw


def square_box(pick: Pick, rows: int, given: Array | None, dims: Mapping[str, Any]) -> Array:
    """Equal sides: the angle has no effect."""
    x, y, side = pick(0, 255, rows), pick(0, 255, rows), pick(8, 128, rows)
    return np.stack([x, y, side, side, pick(FIRST_ANGLE, LAST_ANGLE, rows) / 8], axis=1) / 8


def upright_box(pick: Pick, rows: int, given: Array | None, dims: Mapping[str, Any]) -> Array:
    """Angle 0: the covariance has no cross term."""
    return _turned(ordinary_box(pick, rows, given, dims), np.zeros(rows))


def tiny_angle(pick: Pick, rows: int, given: Array | None, dims: Mapping[str, Any]) -> Array:
    """Angles of 1 to 8 times 2^-12, of both signs."""
    sign = 2 * pick(0, 1, rows) - 1
    return _turned(ordinary_box(pick, rows, given, dims), sign * pick(1, 8, rows) / 4096)


def angle_beyond_pi(pick: Pick, rows: int, given: Array | None, dims: Mapping[str, Any]) -> Array:
    """Angles of pi to 4 pi, of both signs."""
    sign = 2 * pick(0, 1, rows) - 1
    return _turned(ordinary_box(pick, rows, given, dims), sign * pick(202, 804, rows) / 64)


def small_box(pick: Pick, rows: int, given: Array | None, dims: Mapping[str, Any]) -> Array:
    """An ordinary box scaled by 2^-10: eps decides; 2^-20 would underflow in float32 (w^4 h^4)."""
    return ordinary_box(pick, rows, given, dims) * 2.0**-10


ROTATED_FAMILIES: dict[str, Draw] = {
    "ordinary": _turned_family(ordinary_box),
    "square": square_box,
    "thin 1:50": _turned_family(thin_box),
    "upright": upright_box,
    "tiny angle": tiny_angle,
    "angle beyond pi": angle_beyond_pi,
    "tiny": _turned_family(small_box),
    "huge": _turned_family(huge_box),
}


def _parts(given: Array | None) -> tuple[Array, Array, Array]:
    """Centre (rows, 2), size (rows, 2) and angle (rows, 1) of the first box."""
    assert given is not None
    return given[:, :2], given[:, 2:4], given[:, 4:]


def _eighths(pick: Pick, rows: int, low: int, high: int, columns: int = 2) -> Array:
    return pick(low, high, columns * rows).reshape(rows, columns) / 8


def identical_rotated(pick: Pick, rows: int, given: Array | None, dims: Mapping[str, Any]) -> Array:
    """The same box again."""
    assert given is not None
    return given.copy()


def overlapping_rotated(pick: Pick, rows: int, given: Array | None, dims: Mapping[str, Any]) -> Array:
    """Shifted by up to half a side along x and y, sides 1/2 to 3/2, another angle."""
    centre, size, angle = _parts(given)
    shift = _eighths(pick, rows, -4, 4) * size.min(axis=1, keepdims=True)
    turn = _eighths(pick, rows, -6, 6, 1)
    return np.concatenate([centre + shift, size * _eighths(pick, rows, 4, 12), angle + turn], axis=1)


def nested_rotated(pick: Pick, rows: int, given: Array | None, dims: Mapping[str, Any]) -> Array:
    """The same centre and angle, sides 1/8 to 7/8."""
    centre, size, angle = _parts(given)
    return np.concatenate([centre, size * _eighths(pick, rows, 1, 7), angle], axis=1)


def turned_rotated(pick: Pick, rows: int, given: Array | None, dims: Mapping[str, Any]) -> Array:
    """The same centre and size, turned by 1/8 to 3/2."""
    centre, size, angle = _parts(given)
    return np.concatenate([centre, size, angle + _eighths(pick, rows, 1, 12, 1)], axis=1)


def _away(pick: Pick, rows: int, given: Array | None, low: int, high: int, side: Array) -> Array:
    """Sides 1/2 to 3/2, low to high times a side away along x and y, in any of the four quadrants."""
    centre, size, angle = _parts(given)
    sign = 2 * pick(0, 1, 2 * rows).reshape(rows, 2) - 1
    shift = sign * _eighths(pick, rows, 8 * low, 8 * high) * side[:, None]
    turn = _eighths(pick, rows, -6, 6, 1)
    return np.concatenate([centre + shift, size * _eighths(pick, rows, 4, 12), angle + turn], axis=1)


def beside_rotated(pick: Pick, rows: int, given: Array | None, dims: Mapping[str, Any]) -> Array:
    """1 to 2 shortest sides away along x and y: little in common, but no clamp."""
    return _away(pick, rows, given, 1, 2, _parts(given)[1].min(axis=1))


def far_rotated(pick: Pick, rows: int, given: Array | None, dims: Mapping[str, Any]) -> Array:
    """20 to 40 longest sides away along x and y: beyond the clamp at 100, but for tiny boxes."""
    return _away(pick, rows, given, 20, 40, _parts(given)[1].max(axis=1))


ROTATED_PAIR_FAMILIES: dict[str, Draw] = {
    "overlapping": overlapping_rotated,
    "identical": identical_rotated,
    "nested": nested_rotated,
    "turned": turned_rotated,
    "beside": beside_rotated,
    "far": far_rotated,
}


def has_area(x: Array, params: Params) -> str | None:
    """Legal where w > 0 and h > 0."""
    flat = (x[..., 2:4] <= 0).any()
    return "expected w > 0 and h > 0, because a box without an area has no gradient" if flat else None


def shortest_side(x: Array, params: Params) -> Array:
    """The length in which gradients are measured, (n, 1)."""
    return np.asarray(x[:, 2:4].min(axis=1, keepdims=True))


# Laws of a similarity of two boxes, obb1 and obb2 ---------------------------------------------------------


def symmetric(f: Any, x: Mapping[str, Array], params: Mapping[str, Any], tol: Array) -> str | None:
    """Swapping the boxes does not change the value."""
    return differs(f({"obb1": x["obb2"], "obb2": x["obb1"]}), f(x), 2 * tol, "swapping the boxes")


def half_turn(f: Any, x: Mapping[str, Array], params: Mapping[str, Any], tol: Array) -> str | None:
    """Adding pi to an angle does not change the box."""
    turned = {**x, "obb2": x["obb2"] + np.array([0, 0, 0, 0, np.pi])}
    return differs(f(turned), f(x), 8 * tol, "adding pi to an angle")


def quarter_turn(f: Any, x: Mapping[str, Array], params: Mapping[str, Any], tol: Array) -> str | None:
    """Exchanging w and h of a box and turning it by pi / 2 does not change it (the aspect term does)."""
    if params["CIoU"]:
        return None
    turned = {**x, "obb2": x["obb2"][:, [0, 1, 3, 2, 4]] + np.array([0, 0, 0, 0, np.pi / 2])}
    return differs(f(turned), f(x), 8 * tol, "exchanging w and h and turning by pi / 2")


def mirror(f: Any, x: Mapping[str, Array], params: Mapping[str, Any], tol: Array) -> str | None:
    """Negating x and r of both boxes is the mirror image."""
    mirrored = {name: box * np.array([-1, 1, 1, 1, -1]) for name, box in x.items()}
    return differs(f(mirrored), f(x), 2 * tol, "mirroring both boxes")


def transposed(f: Any, x: Mapping[str, Array], params: Mapping[str, Any], tol: Array) -> str | None:
    """Exchanging x with y and w with h, and negating r, is the other mirror image."""
    turned = {name: box[:, [1, 0, 3, 2, 4]] * np.array([1, 1, 1, 1, -1]) for name, box in x.items()}
    return differs(f(turned), f(x), 2 * tol, "exchanging x and y")
