"""Rotated boxes from distances in the rotated frame, without the angle.

f = ((r - l) / 2, (b - t) / 2), centre = p + (f_x cos a - f_y sin a, f_x sin a + f_y cos a), size = (l + r, t + b).
No clamping. Source: spec/10-geometry.md section 8. Where sources differ: the offset unrotated, or turned
the other way.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lossref.core.arithmetic import Arithmetic
from lossref.core.declare import corner, impostor
from lossref.core.laws import differs, rows_independent
from lossref.core.nouns import Array, Spec
from lossref.core.precision import compute_dtype
from lossref.losses.coordinates.dist2bbox import coordinate_axis
from lossref.losses.coordinates.maps import (
    ANGLE_FAMILIES,
    DISTANCE_FAMILIES,
    POINT_FAMILIES,
    ROW_SIZES,
    length_domain,
    scales,
    turning_room,
)


def dist2rbox(pred_dist: Tensor, pred_angle: Tensor, anchor_points: Tensor, dim: int = -1) -> Tensor:
    """Boxes (..., 4) xywh of distances l, t, r, b (..., 4), angles (..., 1) in radians, points (..., 2).

    Stride units; the three broadcast, `dim` is the coordinate axis of the distances. The result has the
    promoted dtype; float16 and bfloat16 are computed in float32 and rounded once. Raises ValueError for
    coordinate axes other than 4, 1 and 2, TypeError for inputs that are not floating. Formula:
    spec/10-geometry.md section 8.
    """
    axis = coordinate_axis(
        dim, pred_dist, pred_dist=(pred_dist, 4), pred_angle=(pred_angle, 1), anchor_points=(anchor_points, 2)
    )
    compute, result = compute_dtype(pred_dist, pred_angle, anchor_points)
    before, after = pred_dist.to(compute).chunk(2, dim=axis)
    angle = pred_angle.to(compute)
    cos, sin = angle.cos(), angle.sin()
    fx, fy = ((after - before) / 2).chunk(2, dim=axis)
    turned = torch.cat((fx * cos - fy * sin, fx * sin + fy * cos), dim=axis)
    centre, size = anchor_points.to(compute) + turned, before + after
    return torch.cat((centre, size.expand_as(centre)), dim=axis).to(result)


def oracle(m: Arithmetic, pred_dist: Any, pred_angle: Any, anchor_points: Any) -> Any:
    """The boxes in scalars."""
    rows = zip(pred_dist, pred_angle, anchor_points, strict=True)
    return tuple(oracle_dist2rbox(m, sides, angle, point) for sides, (angle,), point in rows)


def oracle_dist2rbox(m: Arithmetic, sides: Any, angle: Any, point: Any) -> tuple[Any, ...]:
    """Centre and size of one box, without its angle."""
    (left, top, right, bottom), (x, y) = sides, point
    along, across = (right - left) / 2, (bottom - top) / 2
    cos, sin = m.cos(angle), m.sin(angle)
    return x + along * cos - across * sin, y + along * sin + across * cos, left + right, top + bottom


def moving(f: Any, x: Mapping[str, Array], params: Mapping[str, Any], tol: Array) -> str | None:
    """Moving the point moves the centre and keeps the size."""
    moved = f({**x, "anchor_points": x["anchor_points"] + np.array([64.0, -32.0])})
    return differs(moved, f(x) + np.array([64.0, -32.0, 0.0, 0.0]), 64 * tol, "moving the point")


def half_turn(f: Any, x: Mapping[str, Array], params: Mapping[str, Any], tol: Array) -> str | None:
    """Adding pi to the angle reflects the centre in the point."""
    turned, own = f({**x, "pred_angle": x["pred_angle"] + np.pi}), f(x)
    wanted = np.concatenate([2 * x["anchor_points"] - own[:, :2], own[:, 2:]], axis=1)
    return differs(turned, wanted, 8 * tol + turning_room(_arm(x)), "half a turn")


def quarter_turn(f: Any, x: Mapping[str, Array], params: Mapping[str, Any], tol: Array) -> str | None:
    """Turning by pi / 2 and naming the sides anew gives the same centre, w and h exchanged."""
    renamed = {**x, "pred_dist": x["pred_dist"][:, [1, 2, 3, 0]], "pred_angle": x["pred_angle"] + np.pi / 2}
    room = tol + tol[:, [0, 1, 3, 2]] + turning_room(_arm(x))
    return differs(f(renamed), f(x)[:, [0, 1, 3, 2]], room, "naming the sides anew")


def offset_length(f: Any, x: Mapping[str, Array], params: Mapping[str, Any], tol: Array) -> str | None:
    """The centre is as far from the point as it would be without an angle."""
    away = f(x)[:, :2] - x["anchor_points"]
    return differs(np.hypot(*away.T), _arm(x)[:, 0], 8 * tol.max(axis=1), "turning the offset")


def _arm(x: Mapping[str, Array]) -> Array:
    """From the point to the centre of the box, (n, 1)."""
    offset = (x["pred_dist"][:, 2:] - x["pred_dist"][:, :2]) / 2
    return np.asarray(np.hypot(offset[:, :1], offset[:, 1:]))


def offset_unrotated(pred_dist: Tensor, pred_angle: Tensor, anchor_points: Tensor) -> Tensor:
    return dist2rbox(pred_dist, 0 * pred_angle, anchor_points)


def turned_backwards(pred_dist: Tensor, pred_angle: Tensor, anchor_points: Tensor) -> Tensor:
    return dist2rbox(pred_dist, -pred_angle, anchor_points)


def angle_in_degrees(pred_dist: Tensor, pred_angle: Tensor, anchor_points: Tensor) -> Tensor:
    return dist2rbox(pred_dist, torch.deg2rad(pred_angle), anchor_points)


def as_corners(pred_dist: Tensor, pred_angle: Tensor, anchor_points: Tensor) -> Tensor:
    centre, size = dist2rbox(pred_dist, pred_angle, anchor_points).chunk(2, dim=-1)
    return torch.cat((centre - size / 2, centre + size / 2), dim=-1)


def clamped_at_zero(pred_dist: Tensor, pred_angle: Tensor, anchor_points: Tensor) -> Tensor:
    return dist2rbox(pred_dist.clamp(min=0), pred_angle, anchor_points)


def with_the_angle(pred_dist: Tensor, pred_angle: Tensor, anchor_points: Tensor) -> Tensor:
    return torch.cat((dist2rbox(pred_dist, pred_angle, anchor_points), pred_angle), dim=-1)


def angle_detached(pred_dist: Tensor, pred_angle: Tensor, anchor_points: Tensor) -> Tensor:
    return dist2rbox(pred_dist, pred_angle.detach(), anchor_points)


_P, _D = [(2, 3)], [(1, 2, 3, 4)]

SPEC = Spec(
    name="dist2rbox",
    summary="Rotated boxes from distances in the rotated frame",
    cite="spec/10-geometry.md section 8",
    inputs={
        "pred_dist": length_domain("n 4", "distances l, t, r, b in the rotated frame, stride units", DISTANCE_FAMILIES),
        "pred_angle": length_domain("n 1", "angles in radians", ANGLE_FAMILIES),
        "anchor_points": length_domain("n 2", "points x, y in stride units", POINT_FAMILIES),
    },
    wrt=("pred_dist", "pred_angle", "anchor_points"),
    params={},
    terms=("boxes",),
    reference=dist2rbox,
    oracle=oracle,
    sizes=ROW_SIZES,
    laws=(
        scales("pred_dist", "anchor_points"),
        moving,
        half_turn,
        quarter_turn,
        offset_length,
        rows_independent("pred_dist", "pred_angle", "anchor_points"),
    ),
    corners=(
        corner("worked", "the anchor of the specification", pred_dist=_D, pred_angle=[(0.5,)], anchor_points=_P),
        corner("upright", "angle 0: dist2bbox", pred_dist=_D, pred_angle=[(0,)], anchor_points=_P),
        corner("turned back", "a negative angle", pred_dist=_D, pred_angle=[(-0.75,)], anchor_points=_P),
        corner("beyond pi", "more than half a turn", pred_dist=_D, pred_angle=[(3.75,)], anchor_points=_P),
        corner("symmetric", "no offset to rotate", pred_dist=[(2, 3, 2, 3)], pred_angle=[(0.5,)], anchor_points=_P),
        corner("zero", "no size; not a kink", "kink", pred_dist=[(0, 0, 0, 0)], pred_angle=[(0.5,)], anchor_points=_P),
        corner("negative", "not clamped", pred_dist=[(-1, 2, -3, 1)], pred_angle=[(0.5,)], anchor_points=_P),
        corner(
            "one angle for all",
            "(1, 2, 4), (1,) and (2,)",
            "shape",
            pred_dist=[[(1, 2, 3, 4), (0, 1, 0, 2)]],
            pred_angle=(0.5,),
            anchor_points=(2, 3),
        ),
    ),
    impostors=(
        impostor("offset unrotated", "the angle has no effect", "value laws", offset_unrotated),
        impostor("turned backwards", "-a: y points up", "value", turned_backwards),
        impostor("degrees", "the angle taken in degrees", "value laws", angle_in_degrees),
        impostor("corners", "xyxy instead of xywh", "value laws", as_corners),
        impostor("clamped at 0", "negative distances are cut off", "value laws", clamped_at_zero),
        impostor("with the angle", "five numbers instead of four", "reduced shape", with_the_angle),
        impostor("angle detached", "no gradient to the angle", "gradient", angle_detached),
    ),
    api="dist2rbox(pred_dist, pred_angle, anchor_points, dim=-1)",
    returns="(n, 4): cx, cy, w, h",
)
