"""Distances from boxes: (p - x1y1, x2y2 - p), in the order l, t, r, b; the inverse of dist2bbox in corners.

With `reg_max`, clamped to [0, reg_max - 0.01]; both bounds pass the gradient. Source: spec/10-geometry.md
section 7. Where sources differ: the losses pass R - 1, so that R = 16 bins give the bound 14.99.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lossref.core.arithmetic import Arithmetic
from lossref.core.declare import corner, impostor
from lossref.core.families import flat_corners
from lossref.core.laws import differs, rows_independent
from lossref.core.nouns import Array, Param, Span, Spec
from lossref.core.precision import compute_dtype
from lossref.losses.coordinates.dist2bbox import coordinate_axis
from lossref.losses.coordinates.maps import ANY_BOX_FAMILIES, POINT_FAMILIES, ROW_SIZES, length_domain


def bbox2dist(anchor_points: Tensor, bbox: Tensor, reg_max: int | None = None) -> Tensor:
    """Distances l, t, r, b (..., 4) of points (..., 2) to the sides of boxes (..., 4) xyxy; stride units.

    The result has the promoted dtype of the two; float16 and bfloat16 are computed in float32 and
    rounded once. Raises ValueError for last axes other than 2 and 4, TypeError for inputs that are not
    floating. Formula: spec/10-geometry.md section 7.
    """
    coordinate_axis(-1, bbox, anchor_points=(anchor_points, 2), bbox=(bbox, 4))
    compute, result = compute_dtype(anchor_points, bbox)
    point = anchor_points.to(compute)
    low, high = bbox.to(compute).chunk(2, dim=-1)
    distance = torch.cat((point - low, high - point), dim=-1)
    return within_bins(distance, reg_max).to(result)


def within_bins(distance: Tensor, reg_max: int | None) -> Tensor:
    """The distances limited to [0, reg_max - 0.01], or as they are without `reg_max`."""
    return distance if reg_max is None else distance.clamp(0, reg_max - 0.01)


def oracle(m: Arithmetic, anchor_points: Any, bbox: Any, reg_max: int | None = None) -> Any:
    """The distances in scalars."""
    pairs = zip(anchor_points, bbox, strict=True)
    return tuple(oracle_bbox2dist(m, point, box, reg_max) for point, box in pairs)


def oracle_bbox2dist(m: Arithmetic, point: Any, box: Any, reg_max: int | None) -> tuple[Any, ...]:
    """Four distances from one point to the sides of one box."""
    (x, y), (x1, y1, x2, y2) = point, box
    return tuple(oracle_limited(m, d, reg_max) for d in (x - x1, y - y1, x2 - x, y2 - y))


def oracle_limited(m: Arithmetic, distance: Any, reg_max: int | None) -> Any:
    """A distance within the bins, if there are any."""
    return distance if reg_max is None else m.clamp(distance, low=0.0, high=reg_max - 0.01)


def together(f: Any, x: Mapping[str, Array], params: Mapping[str, Any], tol: Array) -> str | None:
    """Moving point and box together changes nothing."""
    step = np.array([64.0, -32.0])
    moved = f({"anchor_points": x["anchor_points"] + step, "bbox": x["bbox"] + np.tile(step, 2)})
    return differs(moved, f(x), 64 * tol, "moving point and box together")


def reflected(f: Any, x: Mapping[str, Array], params: Mapping[str, Any], tol: Array) -> str | None:
    """Negating all coordinates and exchanging the corners exchanges l with r and t with b."""
    turned = f({"anchor_points": -x["anchor_points"], "bbox": -x["bbox"][:, [2, 3, 0, 1]]})
    return differs(turned, f(x)[:, [2, 3, 0, 1]], tol + tol[:, [2, 3, 0, 1]], "the reflection in the origin")


def adds_up(f: Any, x: Mapping[str, Array], params: Mapping[str, Any], tol: Array) -> str | None:
    """Unclamped, l + r is the width and t + b the height."""
    if params["reg_max"] is not None:
        return None
    distance, size = f(x), x["bbox"][:, 2:] - x["bbox"][:, :2]
    return differs(distance[:, :2] + distance[:, 2:], size, 4 * tol[:, :2] + 4 * tol[:, 2:], "the sum of two distances")


def bounded(f: Any, x: Mapping[str, Array], params: Mapping[str, Any], tol: Array) -> str | None:
    """With reg_max, every distance lies in [0, reg_max - 0.01]."""
    if params["reg_max"] is None:
        return None
    value, top = f(x), params["reg_max"] - 0.01
    wrong = (value < 0) | (value > top + tol)
    return f"{value[wrong].flat[0]:.9g} is outside [0, {top:g}]" if wrong.any() else None


def box_minus_point(anchor_points: Tensor, bbox: Tensor, reg_max: int | None) -> Tensor:
    distance = bbox2dist(anchor_points, bbox)
    return within_bins(distance * distance.new_tensor([-1.0, -1.0, 1.0, 1.0]), reg_max)


def right_and_bottom_exchanged(anchor_points: Tensor, bbox: Tensor, reg_max: int | None) -> Tensor:
    return bbox2dist(anchor_points, bbox, reg_max)[..., [0, 1, 3, 2]]


def never_below_zero(anchor_points: Tensor, bbox: Tensor, reg_max: int | None) -> Tensor:
    return within_bins(bbox2dist(anchor_points, bbox).clamp(min=0), reg_max)


def not_clamped(anchor_points: Tensor, bbox: Tensor, reg_max: int | None) -> Tensor:
    return bbox2dist(anchor_points, bbox)


def one_taken_off_twice(anchor_points: Tensor, bbox: Tensor, reg_max: int | None) -> Tensor:
    return bbox2dist(anchor_points, bbox, None if reg_max is None else reg_max - 1)


def bound_without_margin(anchor_points: Tensor, bbox: Tensor, reg_max: int | None) -> Tensor:
    distance = bbox2dist(anchor_points, bbox)
    return distance if reg_max is None else distance.clamp(0, reg_max)


def within_bins_by_relu(distance: Tensor, reg_max: int | None) -> Tensor:
    """A careless limit: no gradient at exactly 0."""
    return distance if reg_max is None else torch.minimum(distance.relu(), distance.new_tensor(reg_max - 0.01))


def relu_bound(anchor_points: Tensor, bbox: Tensor, reg_max: int | None) -> Tensor:
    return within_bins_by_relu(bbox2dist(anchor_points, bbox), reg_max)


_P = [(0.5, 0.5)]
_BINS = {"reg_max": 3}

SPEC = Spec(
    name="bbox2dist",
    summary="Distances from a point to the sides of a box",
    cite="spec/10-geometry.md section 7",
    inputs={
        "anchor_points": length_domain("n 2", "points x, y in stride units", POINT_FAMILIES),
        "bbox": length_domain("n 4", "boxes xyxy in stride units", ANY_BOX_FAMILIES, flat=flat_corners),
    },
    wrt=("anchor_points", "bbox"),
    params={
        "reg_max": Param(
            None, (15, 3), "R - 1 of the losses: distances stay in [0, reg_max - 0.01]", span=Span(1, 40, whole=True)
        )
    },
    terms=("distances",),
    reference=bbox2dist,
    oracle=oracle,
    sizes={**ROW_SIZES, "small": ({"n": 5}, {"n": 4, "reg_max": 3})},
    laws=(together, reflected, adds_up, bounded, rows_independent("anchor_points", "bbox")),
    corners=(
        corner("worked", "the anchor of the specification", anchor_points=_P, bbox=[(-0.5, 0, 9, 3)]),
        corner("clamped above", "2.99 at reg_max 3", params=_BINS, anchor_points=_P, bbox=[(-0.5, 0, 9, 3)]),
        corner("clamped below", "the point is outside", params=_BINS, anchor_points=_P, bbox=[(2, 1, 3, 2)]),
        corner("outside", "negative without reg_max", anchor_points=_P, bbox=[(2, 1, 3, 2)]),
        corner(
            "on two sides",
            "the bound 0 passes the gradient",
            params=_BINS,
            anchor_points=_P,
            bbox=[(0.5, 0.5, 3.25, 2.5)],
        ),
        corner("sixteen bins", "15 becomes 14.99", params={"reg_max": 15}, anchor_points=_P, bbox=[(-15, 0, 16, 15)]),
        corner("point box", "all distances are 0; not a kink", "kink", anchor_points=_P, bbox=[(0.5, 0.5, 0.5, 0.5)]),
        corner("one point for all", "(2,) and (1, 1, 4)", "shape", anchor_points=(0.5, 0.5), bbox=[[(-0.5, 0, 9, 3)]]),
    ),
    impostors=(
        impostor("box minus point", "l = x1 - p", "value laws", box_minus_point),
        impostor("ltbr", "right and bottom exchanged", "value laws", right_and_bottom_exchanged),
        impostor("never below 0", "clamped without reg_max", "value laws", never_below_zero),
        impostor("not clamped", "reg_max has no effect", "value params", not_clamped),
        impostor("bound R - 1.01", "1 is taken off twice", "value params", one_taken_off_twice),
        impostor("bound without 0.01", "15 instead of 14.99", "value params", bound_without_margin),
        impostor("relu", "no gradient at exactly 0", "kinks", relu_bound),
    ),
    api="bbox2dist(anchor_points, bbox, reg_max=None)",
    returns="(n, 4): l, t, r, b",
)
