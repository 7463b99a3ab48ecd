"""Boxes from distances: x1y1 = p - (l, t), x2y2 = p + (r, b), as corners or as centre and size.

No clamping: negative distances give inverted boxes. Source: spec/10-geometry.md section 6. Where sources
differ: `xywh` (the losses use corners), and the axis of the coordinates.
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
from lossref.core.nouns import Array, Param, Spec
from lossref.core.precision import compute_dtype, require_floating
from lossref.losses.coordinates.maps import (
    DISTANCE_FAMILIES,
    POINT_FAMILIES,
    ROW_SIZES,
    inverted_by,
    length_domain,
    scales,
)


def dist2bbox(distance: Tensor, anchor_points: Tensor, xywh: bool = True, dim: int = -1) -> Tensor:
    """Boxes of distances l, t, r, b (..., 4) around points (..., 2), broadcast; both in stride units.

    `dim` is the coordinate axis of the distances. The result has the promoted dtype of the two; float16
    and bfloat16 are computed in float32 and rounded once. Raises ValueError for coordinate axes other
    than 4 and 2, TypeError for inputs that are not floating. Formula: spec/10-geometry.md section 6.
    """
    axis = coordinate_axis(dim, distance, distance=(distance, 4), anchor_points=(anchor_points, 2))
    compute, result = compute_dtype(distance, anchor_points)
    before, after = distance.to(compute).chunk(2, dim=axis)
    point = anchor_points.to(compute)
    low, high = point - before, point + after
    parts = ((low + high) / 2, high - low) if xywh else (low, high)
    return torch.cat(parts, dim=axis).to(result)


def coordinate_axis(dim: int, like: Tensor, **expected: tuple[Tensor, int]) -> int:
    """`dim` of `like` counted from the end, after every tensor was found to be floating and of its size there."""
    axis = dim if dim < 0 else dim - like.ndim
    for name, (tensor, size) in expected.items():
        if tensor.ndim < -axis or axis >= 0 or tensor.shape[axis] != size:
            raise ValueError(f"{name}: expected size {size} along axis {axis}, got shape {tuple(tensor.shape)}")
    require_floating(**{name: tensor for name, (tensor, _) in expected.items()})
    return axis


def oracle(m: Arithmetic, distance: Any, anchor_points: Any, xywh: bool = True) -> Any:
    """The boxes in scalars."""
    pairs = zip(distance, anchor_points, strict=True)
    return tuple(oracle_dist2bbox(m, sides, point, xywh) for sides, point in pairs)


def oracle_dist2bbox(m: Arithmetic, sides: Any, point: Any, xywh: bool) -> tuple[Any, ...]:
    """The box of four distances around one point."""
    (left, top, right, bottom), (x, y) = sides, point
    if xywh:
        return x + (right - left) / 2, y + (bottom - top) / 2, left + right, top + bottom
    return x - left, y - top, x + right, y + bottom


def distances_again(boxes: Array, x: Mapping[str, Array], params: Mapping[str, Any]) -> Array:
    """The inverse map."""
    point, first, last = x["anchor_points"], boxes[:, :2], boxes[:, 2:]
    if params["xywh"]:
        return np.concatenate([last / 2 - (first - point), last / 2 + (first - point)], axis=1)
    return np.concatenate([point - first, last - point], axis=1)


def moving(f: Any, x: Mapping[str, Array], params: Mapping[str, Any], tol: Array) -> str | None:
    """Moving the point moves the box."""
    step = np.array([64.0, -32.0])
    moved = f({**x, "anchor_points": x["anchor_points"] + step})
    shift = np.concatenate([step, 0 * step if params["xywh"] else step])
    return differs(moved, f(x) + shift, 64 * tol, "moving the point")


def reflected(f: Any, x: Mapping[str, Array], params: Mapping[str, Any], tol: Array) -> str | None:
    """Exchanging l with r and t with b is the reflection in the point."""
    turned, box, point = f({**x, "distance": x["distance"][:, [2, 3, 0, 1]]}), f(x), x["anchor_points"]
    if params["xywh"]:
        wanted = np.concatenate([2 * point - box[:, :2], box[:, 2:]], axis=1)
    else:
        wanted = np.concatenate([2 * point - box[:, 2:], 2 * point - box[:, :2]], axis=1)
    return differs(turned, wanted, 8 * tol, "exchanging the sides")


def clamped_at_zero(distance: Tensor, anchor_points: Tensor, xywh: bool) -> Tensor:
    return dist2bbox(distance.clamp(min=0), anchor_points, xywh)


def right_and_bottom_exchanged(distance: Tensor, anchor_points: Tensor, xywh: bool) -> Tensor:
    return dist2bbox(distance[..., [0, 1, 3, 2]], anchor_points, xywh)


def added_on_both_sides(distance: Tensor, anchor_points: Tensor, xywh: bool) -> Tensor:
    return dist2bbox(torch.cat((-distance[..., :2], distance[..., 2:]), dim=-1), anchor_points, xywh)


def layouts_exchanged(distance: Tensor, anchor_points: Tensor, xywh: bool) -> Tensor:
    return dist2bbox(distance, anchor_points, not xywh)


def point_detached(distance: Tensor, anchor_points: Tensor, xywh: bool) -> Tensor:
    return dist2bbox(distance, anchor_points.detach(), xywh)


def writes_into_distance(distance: Tensor, anchor_points: Tensor, xywh: bool) -> Tensor:
    distance.data[..., :2] *= -1
    return added_on_both_sides(distance, anchor_points, xywh)


_P = [(0.5, 0.5)]

SPEC = Spec(
    name="dist2bbox",
    summary="Boxes from distances to their sides",
    cite="spec/10-geometry.md section 6",
    inputs={
        "distance": length_domain("n 4", "distances l, t, r, b in stride units", DISTANCE_FAMILIES),
        "anchor_points": length_domain("n 2", "points x, y in stride units", POINT_FAMILIES),
    },
    wrt=("distance", "anchor_points"),
    params={
        "xywh": Param(
            True,
            (False,),
            "centre and size rather than corners",
            True,
            means={True: "boxes come as (cx, cy, w, h)", False: "boxes come as (x1, y1, x2, y2)"},
        )
    },
    terms=("boxes",),
    reference=dist2bbox,
    oracle=oracle,
    sizes=ROW_SIZES,
    laws=(
        scales("distance", "anchor_points"),
        inverted_by(distances_again, "distance"),
        moving,
        reflected,
        rows_independent("distance", "anchor_points"),
    ),
    corners=(
        corner("corners", "the worked example", params={"xywh": False}, distance=[(1, 2, 3, 4)], anchor_points=_P),
        corner("centre", "the worked example", params={"xywh": True}, distance=[(1, 2, 3, 4)], anchor_points=_P),
        corner("symmetric", "the point is the centre", distance=[(2, 3, 2, 3)], anchor_points=_P),
        corner("zero", "the box is the point; not a kink", "kink", distance=[(0, 0, 0, 0)], anchor_points=_P),
        corner(
            "negative", "inverted, not clamped", params={"xywh": False}, distance=[(-1, -2, -3, 1)], anchor_points=_P
        ),
        corner("point outside", "l < 0 only", distance=[(-1, 2, 3, 4)], anchor_points=[(-7.5, 100.5)]),
        corner(
            "one point for all",
            "(1, 2, 4) and (2,)",
            "shape",
            distance=[[(1, 2, 3, 4), (0, 1, 0, 2)]],
            anchor_points=(3, 4),
        ),
        corner(
            "points for every image",
            "(2, 2, 4) and (2, 2)",
            "shape",
            distance=[[(1, 2, 3, 4), (0, 1, 0, 2)]] * 2,
            anchor_points=[(0.5, 0.5), (1.5, 0.5)],
        ),
    ),
    impostors=(
        impostor("clamped at 0", "negative distances are cut off", "value laws", clamped_at_zero),
        impostor("ltbr", "right and bottom exchanged", "value laws", right_and_bottom_exchanged),
        impostor("added on both sides", "x1 = p + l", "value laws", added_on_both_sides),
        impostor("layouts exchanged", "corners for xywh and the reverse", "value", layouts_exchanged),
        impostor("point detached", "no gradient to the points", "gradient", point_detached),
        impostor("writes into distance", "negates l and t in place", "pure", writes_into_distance),
    ),
    api="dist2bbox(distance, anchor_points, xywh=True, dim=-1)",
    returns="(n, 4): xywh or xyxy",
)
