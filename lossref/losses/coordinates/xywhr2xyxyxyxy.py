"""Corners of a rotated box, in the order that the assigner relies on.

u = (w / 2) (cos r, sin r), v = (h / 2) (-sin r, cos r), c = (cx, cy): [c+u+v, c+u-v, c-u-v, c-u+v]. Corner
0 to 1 is an h edge, corner 0 to 3 a w edge. Source: spec/10-geometry.md section 2. Where sources differ:
the order of the corners, the direction of r (here y points down, r turns x towards y), degrees.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lossref.core.arithmetic import Arithmetic
from lossref.core.declare import corner, impostor
from lossref.core.families import flat_sizes
from lossref.core.laws import differs, rows_independent
from lossref.core.nouns import Array, Spec
from lossref.core.precision import compute_dtype, require_floating
from lossref.losses.coordinates.maps import ROW_SIZES, length_domain, turning_room
from lossref.losses.coordinates.rotated import ROTATED_FAMILIES


def xywhr2xyxyxyxy(x: Tensor) -> Tensor:
    """Corners (..., 4, 2) of boxes (..., 5) = (cx, cy, w, h, r), any length unit, r in radians; same dtype.

    Raises ValueError if the last axis is not 5, TypeError if `x` is not floating. float16 and bfloat16
    are computed in float32 and rounded once. Formula: spec/10-geometry.md section 2.
    """
    if x.ndim < 1 or x.shape[-1] != 5:
        raise ValueError(f"x: expected shape (..., 5), got {tuple(x.shape)}")
    require_floating(x=x)
    compute, result = compute_dtype(x)
    return around(*half_sides(x.to(compute))).to(result)


def half_sides(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """c, u and v, each (..., 2)."""
    centre, w, h, r = x[..., :2], x[..., 2:3], x[..., 3:4], x[..., 4:]
    cos, sin = r.cos(), r.sin()
    return centre, w / 2 * torch.cat((cos, sin), dim=-1), h / 2 * torch.cat((-sin, cos), dim=-1)


def around(centre: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """The four corners, in the order of the specification."""
    return torch.stack((centre + u + v, centre + u - v, centre - u - v, centre - u + v), dim=-2)


def oracle(m: Arithmetic, x: Any) -> Any:
    """The corners in scalars."""
    return tuple(oracle_corners(m, *box) for box in x)


def oracle_corners(m: Arithmetic, cx: Any, cy: Any, w: Any, h: Any, r: Any) -> tuple[tuple[Any, Any], ...]:
    """Four corners of one box: the signs of the two half sides, in the order of the specification."""
    cos, sin = m.cos(r), m.sin(r)
    signs = ((1, 1), (1, -1), (-1, -1), (-1, 1))
    sides = ((w / 2 * along, h / 2 * across) for along, across in signs)
    return tuple((cx + p * cos - q * sin, cy + p * sin + q * cos) for p, q in sides)


def centre_of_corners(f: Any, x: Mapping[str, Array], params: Mapping[str, Any], tol: Array) -> str | None:
    """The mean of the four corners is the centre."""
    mean, centre = f(x).mean(axis=1), x["x"][:, :2]
    return differs(mean, centre, 2 * tol.max(axis=1), "the mean of the corners")


def edges(f: Any, x: Mapping[str, Array], params: Mapping[str, Any], tol: Array) -> str | None:
    """Corner 0 to 1 is as long as h, corner 0 to 3 as w, and the two are perpendicular."""
    c = f(x)
    across, along = c[:, 0] - c[:, 1], c[:, 0] - c[:, 3]
    lengths = np.hypot(along[:, 0], along[:, 1]), np.hypot(across[:, 0], across[:, 1])
    room = 8 * tol.max(axis=(1, 2))
    wrong = differs(np.stack(lengths, 1), np.abs(x["x"][:, 2:4]), np.stack([room] * 2, 1), "the length of an edge")
    skew = (along * across).sum(axis=1)
    return wrong or differs(skew, np.zeros_like(skew), room * sum(lengths), "the right angle")


def half_turn(f: Any, x: Mapping[str, Array], params: Mapping[str, Any], tol: Array) -> str | None:
    """Negating both sides, which is half a turn, moves every corner to the opposite one."""
    turned = f({"x": x["x"] * np.array([1.0, 1.0, -1.0, -1.0, 1.0])})
    return differs(turned, f(x)[:, [2, 3, 0, 1]], 2 * tol, "half a turn")


def quarter_turn(f: Any, x: Mapping[str, Array], params: Mapping[str, Any], tol: Array) -> str | None:
    """Exchanging the sides and turning by pi / 2 gives the same corners, one further on."""
    turned = f({"x": x["x"][:, [0, 1, 3, 2, 4]] + np.array([0.0, 0.0, 0.0, 0.0, np.pi / 2])})
    arms = x["x"][:, 2:4].sum(axis=1)[:, None, None]
    room = tol + tol[:, [3, 0, 1, 2]] + turning_room(arms)
    return differs(turned, f(x)[:, [3, 0, 1, 2]], room, "exchanging the sides and turning by pi / 2")


def mirrored(f: Any, x: Mapping[str, Array], params: Mapping[str, Any], tol: Array) -> str | None:
    """Negating y and r mirrors the corners, each pair along h exchanged."""
    mirror = f({"x": x["x"] * np.array([1.0, -1.0, 1.0, 1.0, -1.0])})
    wanted = f(x)[:, [1, 0, 3, 2]] * np.array([1.0, -1.0])
    return differs(mirror, wanted, 2 * tol, "the mirror image")


def turned_backwards(x: Tensor) -> Tensor:
    return xywhr2xyxyxyxy(torch.cat((x[..., :4], -x[..., 4:]), dim=-1))


def angle_in_degrees(x: Tensor) -> Tensor:
    return xywhr2xyxyxyxy(torch.cat((x[..., :4], torch.deg2rad(x[..., 4:])), dim=-1))


def full_sides(x: Tensor) -> Tensor:
    centre, u, v = half_sides(x)
    return around(centre, 2 * u, 2 * v)


def sheared(x: Tensor) -> Tensor:
    centre, u, v = half_sides(x)
    return around(centre, u, v * v.new_tensor([-1.0, 1.0]))


def from_the_top_left(x: Tensor) -> Tensor:
    return xywhr2xyxyxyxy(x)[..., [2, 1, 0, 3], :]


def w_edge_first(x: Tensor) -> Tensor:
    return xywhr2xyxyxyxy(x)[..., [0, 3, 2, 1], :]


def angle_detached(x: Tensor) -> Tensor:
    return xywhr2xyxyxyxy(torch.cat((x[..., :4], x[..., 4:].detach()), dim=-1))


SPEC = Spec(
    name="xywhr2xyxyxyxy",
    summary="Corners of a rotated box",
    cite="spec/10-geometry.md section 2",
    inputs={
        "x": length_domain(
            "n 5", "boxes xywhr, any length unit, r in radians", ROTATED_FAMILIES, flat=flat_sizes, leading=True
        )
    },
    wrt=("x",),
    params={},
    terms=("corners",),
    reference=xywhr2xyxyxyxy,
    oracle=oracle,
    sizes=ROW_SIZES,
    laws=(centre_of_corners, edges, half_turn, quarter_turn, mirrored, rows_independent("x")),
    corners=(
        corner("upright", "the anchor of the specification", x=[(4, 3, 2, 1, 0)]),
        corner("turned", "the anchor of the specification at r = 0.5", x=[(4, 3, 2, 1, 0.5)]),
        corner("turned back", "a negative angle", x=[(4, 3, 2, 1, -0.75)]),
        corner("beyond pi", "more than half a turn", x=[(4, 3, 2, 1, 3.75)]),
        corner("flat", "no height: corners 0 and 1 coincide; not a kink", "kink", x=[(4, 3, 2, 0, 0.5)]),
        corner("negative side", "w < 0 exchanges the corners", x=[(4, 3, -2, 1, 0.5)]),
        corner("one box", "(5,) is (4, 2)", "shape", x=(4, 3, 2, 1, 0.5)),
        corner("three axes", "(1, 2, 5) is (1, 2, 4, 2)", "shape", x=[[(4, 3, 2, 1, 0.5), (0, 0, 1, 3, 1)]]),
    ),
    impostors=(
        impostor("turned backwards", "-r: y points up", "value", turned_backwards),
        impostor("degrees", "r taken in degrees", "value laws", angle_in_degrees),
        impostor("full sides", "w and h are not halved", "value laws", full_sides),
        impostor("sheared", "v = (sin r, cos r)", "value laws", sheared),
        impostor("from the top left", "another corner comes first", "value", from_the_top_left),
        impostor("w edge first", "the order of the corners is turned round", "value laws", w_edge_first),
        impostor("angle detached", "no gradient through r", "gradient", angle_detached),
    ),
    api="xywhr2xyxyxyxy(x)",
    returns="(n, 4, 2): x, y of the corners c+u+v, c+u-v, c-u-v, c-u+v",
)
