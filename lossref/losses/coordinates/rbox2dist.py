"""Distances in the rotated frame from rotated boxes: the exact inverse of dist2rbox.

o = centre - p, f = (o_x cos a + o_y sin a, -o_x sin a + o_y cos a), result (w/2 - f_x, h/2 - f_y, w/2 + f_x,
h/2 + f_y); with `reg_max`, clamped to [0, reg_max - 0.01]. Source: spec/10-geometry.md section 9. Where
sources differ: releases before 8.4 used the distances of the unrotated box.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lossref.core.arithmetic import Arithmetic
from lossref.core.declare import corner, impostor
from lossref.core.families import flat_sizes, xyxy_to_xywh
from lossref.core.laws import differs, rows_independent
from lossref.core.nouns import Array, Param, Params, Span, Spec
from lossref.core.precision import compute_dtype
from lossref.losses.coordinates.bbox2dist import bounded, oracle_limited, within_bins, within_bins_by_relu
from lossref.losses.coordinates.dist2bbox import coordinate_axis
from lossref.losses.coordinates.maps import (
    ANGLE_FAMILIES,
    ANY_BOX_FAMILIES,
    POINT_FAMILIES,
    ROW_SIZES,
    length_domain,
    turning_room,
)

Bins = int | None


def rbox2dist(
    target_bboxes: Tensor, anchor_points: Tensor, target_angle: Tensor, dim: int = -1, reg_max: int | None = None
) -> Tensor:
    """Distances l, t, r, b (..., 4) of points (..., 2) to the sides of boxes (..., 4) xywh, angles (..., 1).

    Stride units, radians; the three broadcast, `dim` is the coordinate axis of the boxes. The result has
    the promoted dtype; float16 and bfloat16 are computed in float32 and rounded once. Raises ValueError
    for coordinate axes other than 4, 2 and 1, TypeError for inputs that are not floating. Formula:
    spec/10-geometry.md section 9.
    """
    axis = coordinate_axis(
        dim,
        target_bboxes,
        target_bboxes=(target_bboxes, 4),
        anchor_points=(anchor_points, 2),
        target_angle=(target_angle, 1),
    )
    compute, result = compute_dtype(target_bboxes, anchor_points, target_angle)
    centre, size = target_bboxes.to(compute).chunk(2, dim=axis)
    angle = target_angle.to(compute)
    cos, sin = angle.cos(), angle.sin()
    ox, oy = (centre - anchor_points.to(compute)).chunk(2, dim=axis)
    offset = torch.cat((ox * cos + oy * sin, oy * cos - ox * sin), dim=axis)
    half = size / 2
    return within_bins(torch.cat((half - offset, half + offset), dim=axis), reg_max).to(result)


def oracle(m: Arithmetic, target_bboxes: Any, anchor_points: Any, target_angle: Any, reg_max: int | None = None) -> Any:
    """The distances in scalars."""
    rows = zip(target_bboxes, anchor_points, target_angle, strict=True)
    return tuple(oracle_rbox2dist(m, box, point, angle, reg_max) for box, point, (angle,) in rows)


def oracle_rbox2dist(m: Arithmetic, box: Any, point: Any, angle: Any, reg_max: int | None) -> tuple[Any, ...]:
    """Four distances, in the frame of the box, from one point to its sides."""
    return tuple(oracle_limited(m, d, reg_max) for d in oracle_sides_of(m, point, (*box, angle)))


def oracle_sides_of(m: Arithmetic, point: Any, box: Any) -> tuple[Any, ...]:
    """Distances l, t, r, b from a point to the sides of a rotated box (cx, cy, w, h, r), along its own axes."""
    x, y, w, h, r = box
    right = (point[0] - x) * m.cos(r) + (point[1] - y) * m.sin(r)  # how far the point lies along the w axis
    down = (point[1] - y) * m.cos(r) - (point[0] - x) * m.sin(r)
    return w / 2 + right, h / 2 + down, w / 2 - right, h / 2 - down


def together(f: Any, x: Mapping[str, Array], params: Mapping[str, Any], tol: Array) -> str | None:
    """Moving point and box together changes nothing."""
    step = np.array([64.0, -32.0])
    box = x["target_bboxes"] + np.append(step, [0.0, 0.0])
    moved = f({**x, "anchor_points": x["anchor_points"] + step, "target_bboxes": box})
    return differs(moved, f(x), 64 * tol, "moving point and box together")


def half_turn(f: Any, x: Mapping[str, Array], params: Mapping[str, Any], tol: Array) -> str | None:
    """Adding pi to the angle exchanges l with r and t with b."""
    turned = f({**x, "target_angle": x["target_angle"] + np.pi})
    room = tol + tol[:, [2, 3, 0, 1]] + turning_room(_arm(x))
    return differs(turned, f(x)[:, [2, 3, 0, 1]], room, "half a turn")


def quarter_turn(f: Any, x: Mapping[str, Array], params: Mapping[str, Any], tol: Array) -> str | None:
    """Exchanging w and h and turning by pi / 2 names the sides anew."""
    renamed = {"target_bboxes": x["target_bboxes"][:, [0, 1, 3, 2]], "target_angle": x["target_angle"] + np.pi / 2}
    room = tol + tol[:, [1, 2, 3, 0]] + turning_room(_arm(x))
    return differs(f({**x, **renamed}), f(x)[:, [1, 2, 3, 0]], room, "naming the sides anew")


def _arm(x: Mapping[str, Array]) -> Array:
    """From the point to the centre, (n, 1)."""
    away = x["target_bboxes"][:, :2] - x["anchor_points"]
    return np.asarray(np.hypot(away[:, :1], away[:, 1:]))


def adds_up(f: Any, x: Mapping[str, Array], params: Mapping[str, Any], tol: Array) -> str | None:
    """Unclamped, l + r is the width and t + b the height, whatever the angle."""
    if params["reg_max"] is not None:
        return None
    distance = f(x)
    room = 4 * (tol[:, :2] + tol[:, 2:])
    return differs(distance[:, :2] + distance[:, 2:], x["target_bboxes"][:, 2:], room, "the sum of two distances")


def turned_backwards(target_bboxes: Tensor, anchor_points: Tensor, target_angle: Tensor, reg_max: Bins) -> Tensor:
    return rbox2dist(target_bboxes, anchor_points, -target_angle, reg_max=reg_max)


def unrotated(target_bboxes: Tensor, anchor_points: Tensor, target_angle: Tensor, reg_max: Bins) -> Tensor:
    return rbox2dist(target_bboxes, anchor_points, 0 * target_angle, reg_max=reg_max)


def right_and_bottom_exchanged(
    target_bboxes: Tensor, anchor_points: Tensor, target_angle: Tensor, reg_max: Bins
) -> Tensor:
    return rbox2dist(target_bboxes, anchor_points, target_angle, reg_max=reg_max)[..., [0, 1, 3, 2]]


def corner_as_centre(target_bboxes: Tensor, anchor_points: Tensor, target_angle: Tensor, reg_max: Bins) -> Tensor:
    first, size = target_bboxes[..., :2] - target_bboxes[..., 2:] / 2, target_bboxes[..., 2:]
    return rbox2dist(torch.cat((first, size), dim=-1), anchor_points, target_angle, reg_max=reg_max)


def not_clamped(target_bboxes: Tensor, anchor_points: Tensor, target_angle: Tensor, reg_max: Bins) -> Tensor:
    return rbox2dist(target_bboxes, anchor_points, target_angle)


def one_taken_off_twice(target_bboxes: Tensor, anchor_points: Tensor, target_angle: Tensor, reg_max: Bins) -> Tensor:
    bound = None if reg_max is None else reg_max - 1
    return rbox2dist(target_bboxes, anchor_points, target_angle, reg_max=bound)


def relu_bound(target_bboxes: Tensor, anchor_points: Tensor, target_angle: Tensor, reg_max: Bins) -> Tensor:
    return within_bins_by_relu(rbox2dist(target_bboxes, anchor_points, target_angle), reg_max)


def angle_detached(target_bboxes: Tensor, anchor_points: Tensor, target_angle: Tensor, reg_max: Bins) -> Tensor:
    return rbox2dist(target_bboxes, anchor_points, target_angle.detach(), reg_max=reg_max)


def layout(x: Array, params: Params) -> Array:
    """Boxes are drawn by their corners."""
    return xyxy_to_xywh(x)


def _corner(name: str, why: str, *flags: str, box: Any, point: Any, angle: float, reg_max: int | None = None) -> Any:
    given = {"target_bboxes": [box], "anchor_points": [point], "target_angle": [(angle,)]}
    return corner(name, why, *flags, params={"reg_max": reg_max}, **given)


SPEC = Spec(
    name="rbox2dist",
    summary="Distances from a point to the sides of a rotated box",
    cite="spec/10-geometry.md section 9",
    inputs={
        "target_bboxes": length_domain(
            "n 4", "boxes xywh in stride units", ANY_BOX_FAMILIES, layout=layout, flat=flat_sizes
        ),
        "anchor_points": length_domain("n 2", "points x, y in stride units", POINT_FAMILIES),
        "target_angle": length_domain("n 1", "angles in radians", ANGLE_FAMILIES),
    },
    wrt=("target_bboxes", "anchor_points", "target_angle"),
    params={
        "reg_max": Param(
            None, (15, 3), "R - 1 of the losses: distances stay in [0, reg_max - 0.01]", span=Span(1, 40, whole=True)
        )
    },
    terms=("distances",),
    reference=rbox2dist,
    oracle=oracle,
    sizes={**ROW_SIZES, "small": ({"n": 5}, {"n": 4, "reg_max": 3})},
    laws=(
        together,
        half_turn,
        quarter_turn,
        adds_up,
        bounded,
        rows_independent("target_bboxes", "anchor_points", "target_angle"),
    ),
    corners=(
        _corner("turned", "an offset in both axes", box=(2.375, 4.25, 4, 6), point=(2, 3), angle=0.5),
        _corner("clamped above", "2.99 at reg_max 3", box=(2.375, 4.25, 4, 6), point=(2, 3), angle=0.5, reg_max=3),
        _corner("far point", "(9, 1, 0, 1): the clamp at 0", box=(2, 3, 2, 2), point=(10, 3), angle=0, reg_max=15),
        _corner("far point, unclamped", "negative without reg_max", box=(2, 3, 2, 2), point=(10, 3), angle=0.5),
        _corner("on a side", "the bound 0 passes the gradient", box=(3, 3, 2, 4), point=(2, 3), angle=0, reg_max=15),
        _corner("at the centre", "no offset; not a kink", "kink", box=(2, 3, 4, 6), point=(2, 3), angle=0.5),
        _corner("beyond pi", "more than half a turn", box=(2.5, 4, 4, 6), point=(2, 3), angle=3.75),
        corner(
            "one angle for all",
            "(1, 2, 4), (2,) and (1,)",
            "shape",
            target_bboxes=[[(2.5, 4, 4, 6), (1, 2, 3, 4)]],
            anchor_points=(2, 3),
            target_angle=(0.5,),
        ),
    ),
    impostors=(
        impostor("turned backwards", "+a instead of -a", "value laws", turned_backwards),
        impostor("unrotated", "the distances of the upright box, as in 8.3", "value laws", unrotated),
        impostor("ltbr", "right and bottom exchanged", "value laws", right_and_bottom_exchanged),
        impostor("corner as centre", "half a size off", "value laws", corner_as_centre),
        impostor("not clamped", "reg_max has no effect", "value params", not_clamped),
        impostor("bound R - 1.01", "1 is taken off twice", "value params", one_taken_off_twice),
        impostor("relu", "no gradient at exactly 0", "kinks", relu_bound),
        impostor("angle detached", "no gradient to the angle", "gradient", angle_detached),
    ),
    api="rbox2dist(target_bboxes, anchor_points, target_angle, dim=-1, reg_max=None)",
    returns="(n, 4): l, t, r, b",
)
