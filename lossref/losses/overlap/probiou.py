"""Similarity of rotated boxes as Gaussians: 1 - Hellinger distance, arXiv 2106.06072.

a0 = w^2/12, b0 = h^2/12, (a, b, c) the covariance turned by r; S = sums over both boxes, Delta = S_a S_b - S_c^2;
t1 = (S_a dy^2 + S_b dx^2) / (4 (Delta + eps)), t2 = -S_c dx dy / (2 (Delta + eps)),
t3 = ln(Delta / (4 sqrt(d1 d2) + eps) + eps) / 2 with d = max(0, a b - c^2),
BD = clamp(t1 + t2 + t3, eps, 100), result 1 - sqrt(1 - exp(-BD) + eps). Source: spec/10-geometry.md section 4.

Where sources differ: `cov_floor`, which later releases add to both variances a0 and b0 of both boxes (8.4.190:
argument `floor`, 0 by default, 0.01 in its rotated box loss); 0 here and in the paper. The
result never reaches 1 (QG3). A box without an area has a value but no gradient (QG4).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lossref.core.arithmetic import Arithmetic
from lossref.core.declare import corner, impostor
from lossref.core.laws import rows_independent
from lossref.core.nouns import Array, Domain, Param, Span, Spec
from lossref.core.precision import compute_dtype, require_floating
from lossref.losses.coordinates.maps import ROW_SIZES
from lossref.losses.coordinates.rotated import (
    ROTATED_FAMILIES,
    ROTATED_PAIR_FAMILIES,
    half_turn,
    has_area,
    mirror,
    quarter_turn,
    shortest_side,
    symmetric,
    transposed,
)
from lossref.losses.overlap.gaussians import FLOOR, Covariance, aspect_penalty, bhattacharyya, covariance, similarity

Turned = Callable[[Tensor, Tensor, Tensor, float], Covariance]  # of w, h, r and the floor


def probiou(obb1: Tensor, obb2: Tensor, CIoU: bool = False, eps: float = 1e-7, cov_floor: float = 0.0) -> Tensor:
    """Similarity of boxes (..., 5) xywhr, broadcast against each other, r in radians; returns (..., 1).

    Any length unit, but eps is absolute. The result has the promoted dtype of the boxes; float16 and
    bfloat16 are computed in float32 and rounded once. Raises ValueError if the last axis is not 5,
    TypeError if a box is not floating. Formula: spec/10-geometry.md section 4, arXiv 2106.06072.
    """
    for name, box in (("obb1", obb1), ("obb2", obb2)):
        if box.ndim < 1 or box.shape[-1] != 5:
            raise ValueError(f"{name}: expected shape (..., 5), got {tuple(box.shape)}")
    require_floating(obb1=obb1, obb2=obb2)
    compute, result = compute_dtype(obb1, obb2)
    x1, y1, w1, h1, r1 = obb1.to(compute).unbind(-1)
    x2, y2, w2, h2, r2 = obb2.to(compute).unbind(-1)
    one, two = covariance(w1, h1, r1, cov_floor), covariance(w2, h2, r2, cov_floor)
    value = similarity(bhattacharyya(x1 - x2, y1 - y2, one, two, eps), eps)
    if CIoU:
        value = value - aspect_penalty(value, w1, h1, w2, h2, eps)
    return value.unsqueeze(-1).to(result)


def oracle(m: Arithmetic, obb1: Any, obb2: Any, CIoU: bool = False, eps: float = 1e-7, cov_floor: float = 0.0) -> Any:
    """The similarity in scalars, pair by pair."""
    pairs = zip(obb1, obb2, strict=True)
    return tuple((oracle_probiou(m, a, b, CIoU, eps, cov_floor),) for a, b in pairs)


def oracle_probiou(m: Arithmetic, a: Any, b: Any, CIoU: bool = False, eps: float = 1e-7, cov_floor: float = 0) -> Any:
    """The similarity of a pair of boxes (cx, cy, w, h, r)."""
    dx, dy = a[0] - b[0], a[1] - b[1]
    (a1, b1, c1), (a2, b2, c2) = (oracle_covariance(m, box[2], box[3], box[4], cov_floor) for box in (a, b))
    sa, sb, sc = a1 + a2, b1 + b2, c1 + c2
    delta = sa * sb - sc * sc
    t1 = (sa * dy * dy + sb * dx * dx) / (delta + eps) * 0.25
    t2 = sc * dx * dy / (delta + eps) * -0.5
    d1, d2 = m.clamp(a1 * b1 - c1 * c1, low=0.0), m.clamp(a2 * b2 - c2 * c2, low=0.0)
    t3 = m.log(delta / (m.sqrt(d1 * d2) * 4 + eps) + eps) * 0.5
    distance = m.clamp(t1 + t2 + t3, low=eps, high=100.0)
    similar = 1 - m.sqrt(1 - m.exp(-distance) + eps)
    if not CIoU:
        return similar
    turn = m.atan(b[2] / b[3]) - m.atan(a[2] / a[3])
    v = turn * turn * 4 / (m.pi * m.pi)
    return similar - v * m.stop(v / (v - similar + (1 + eps)))


def oracle_covariance(m: Arithmetic, w: Any, h: Any, r: Any, cov_floor: float) -> tuple[Any, Any, Any]:
    """a, b, c of one box."""
    a0, b0, cos, sin = w * w / 12 + cov_floor, h * h / 12 + cov_floor, m.cos(r), m.sin(r)
    cos2, sin2 = cos * cos, sin * sin
    return a0 * cos2 + b0 * sin2, a0 * sin2 + b0 * cos2, (a0 - b0) * (cos * sin)


def bounded(f: Any, x: Mapping[str, Array], params: Mapping[str, Any], tol: Array) -> str | None:
    """The similarity lies between 1 - sqrt(1 + eps) and 1 - sqrt(2 eps)."""
    eps, value = params["eps"], f(x)
    low, high = (-1.0 if params["CIoU"] else 1 - math.sqrt(1 + eps)), 1 - math.sqrt(1 - math.exp(-eps) + eps)
    wrong = (value < low - tol) | (value > high + tol)
    return f"{value[wrong].flat[0]:.9g} is outside [{low:.9g}, {high:.9g}]" if wrong.any() else None


class Box(NamedTuple):
    """Rotated boxes, one number each; of the leading shape."""

    x: Tensor
    y: Tensor
    w: Tensor
    h: Tensor
    r: Tensor


def boxes(obb1: Tensor, obb2: Tensor) -> tuple[Box, Box]:
    return Box(*obb1.unbind(-1)), Box(*obb2.unbind(-1))


def distance_by(turned: Turned, one: Box, two: Box, eps: float, cov_floor: float) -> Tensor:
    first, second = (turned(box.w, box.h, box.r, cov_floor) for box in (one, two))
    return bhattacharyya(one.x - two.x, one.y - two.y, first, second, eps)


def less_aspect(value: Tensor, one: Box, two: Box, CIoU: bool, eps: float) -> Tensor:
    """A careless aspect term: with a gradient through alpha."""
    if not CIoU:
        return value[..., None]
    v = (4 / math.pi**2) * (torch.atan(two.w / two.h) - torch.atan(one.w / one.h)) ** 2
    return (value - v * (v / (v - value + (1 + eps))))[..., None]


def similar_by(turned: Turned, obb1: Tensor, obb2: Tensor, CIoU: bool, eps: float, cov_floor: float) -> Tensor:
    one, two = boxes(obb1, obb2)
    return less_aspect(similarity(distance_by(turned, one, two, eps, cov_floor), eps), one, two, CIoU, eps)


def alpha_attached(obb1: Tensor, obb2: Tensor, CIoU: bool, eps: float, cov_floor: float) -> Tensor:
    return similar_by(covariance, obb1, obb2, CIoU, eps, cov_floor)


def cross_term_of_the_other_sign(obb1: Tensor, obb2: Tensor, CIoU: bool, eps: float, cov_floor: float) -> Tensor:
    mirror = obb1.new_tensor([-1.0, 1.0, 1.0, 1.0, 1.0])
    return alpha_attached(obb1 * mirror, obb2 * mirror, CIoU, eps, cov_floor)


def c_from_a_sum(obb1: Tensor, obb2: Tensor, CIoU: bool, eps: float, cov_floor: float) -> Tensor:
    def added(w: Tensor, h: Tensor, r: Tensor, cov_floor: float) -> Covariance:
        return covariance(w, h, r, cov_floor)._replace(c=(w**2 + h**2) / 12 * r.cos() * r.sin())

    return similar_by(added, obb1, obb2, CIoU, eps, cov_floor)


def sigma_half_a_side(obb1: Tensor, obb2: Tensor, CIoU: bool, eps: float, cov_floor: float) -> Tensor:
    return similar_by(enlarged(3**0.5), obb1, obb2, CIoU, eps, cov_floor)


def sigma_a_side(obb1: Tensor, obb2: Tensor, CIoU: bool, eps: float, cov_floor: float) -> Tensor:
    return similar_by(enlarged(12**0.5), obb1, obb2, CIoU, eps, cov_floor)


def enlarged(factor: float) -> Turned:
    return lambda w, h, r, cov_floor: covariance(w * factor, h * factor, r, cov_floor)


def no_eps(obb1: Tensor, obb2: Tensor, CIoU: bool, eps: float, cov_floor: float) -> Tensor:
    one, two = boxes(obb1, obb2)
    value = similarity(distance_by(covariance, one, two, 1e-15, cov_floor), 1e-15)
    return less_aspect(value, one, two, CIoU, eps)


def angles_in_degrees(obb1: Tensor, obb2: Tensor, CIoU: bool, eps: float, cov_floor: float) -> Tensor:
    return similar_by(lambda w, h, r, floor: covariance(w, h, r.deg2rad(), floor), obb1, obb2, CIoU, eps, cov_floor)


def coefficient(obb1: Tensor, obb2: Tensor, CIoU: bool, eps: float, cov_floor: float) -> Tensor:
    one, two = boxes(obb1, obb2)
    return less_aspect((-distance_by(covariance, one, two, eps, cov_floor)).exp(), one, two, CIoU, eps)


def aspect_ignored(obb1: Tensor, obb2: Tensor, CIoU: bool, eps: float, cov_floor: float) -> Tensor:
    return probiou(obb1, obb2, False, eps, cov_floor)


def nan_to_zero(obb1: Tensor, obb2: Tensor, CIoU: bool, eps: float, cov_floor: float) -> Tensor:
    return torch.nan_to_num(alpha_attached(obb1, obb2, CIoU, eps, cov_floor))


_ONE, _TWO = [(4, 4, 6, 2, 0.5)], [(5, 4.5, 4, 3, -0.25)]
_UNITS = "boxes xywhr, any length unit, r in radians"
_ADDED = "added to both variances; `floor` of ultralytics 8.4.190"

SPEC = Spec(
    name="probiou",
    summary="Similarity of rotated boxes, the box term of the rotated losses",
    cite="spec/10-geometry.md section 4; arXiv 2106.06072",
    inputs={
        "obb1": Domain("n 5", _UNITS, ROTATED_FAMILIES, legal=has_area, unit=None, extent=shortest_side),
        "obb2": Domain(
            "n 5", _UNITS, ROTATED_PAIR_FAMILIES, given="obb1", legal=has_area, unit=None, extent=shortest_side
        ),
    },
    wrt=("obb1", "obb2"),
    params={
        "CIoU": Param(False, (True,), "subtract the aspect term of CIoU"),
        "eps": Param(1e-7, (1e-3, 1e-9), "absolute constant against division by zero", small=True, span=Span(0.0, 1.0)),
        "cov_floor": Param(0.0, (0.01, 1e-7), _ADDED, means=FLOOR, span=Span(0.0, 1.0)),
    },
    terms=("probiou",),
    reference=probiou,
    oracle=oracle,
    sizes=ROW_SIZES,
    laws=(symmetric, half_turn, quarter_turn, mirror, transposed, bounded, rows_independent("obb1", "obb2")),
    corners=(
        corner("worked", "the anchor of the specification", obb1=_ONE, obb2=_TWO),
        corner("worked, CIoU", "alpha carries no gradient", params={"CIoU": True}, obb1=_ONE, obb2=_TWO),
        corner("identical", "clamped at eps: no gradient", obb1=_ONE, obb2=_ONE),
        corner(
            "beyond the clamp", "clamped at 100: no gradient", "kink", obb1=[(0, 0, 1, 1, 0)], obb2=[(100, 0, 1, 1, 0)]
        ),
        corner("upright", "no cross term", obb1=[(4, 4, 6, 2, 0)], obb2=[(5, 4.5, 4, 3, 0)]),
        corner("same centre", "only the logarithm is left", obb1=[(4, 4, 6, 2, 0.5)], obb2=[(4, 4, 6, 2, 1.5)]),
        corner("squares", "the angles have no effect", obb1=[(4, 4, 3, 3, 0.5)], obb2=[(5, 4.5, 3, 3, -0.25)]),
        corner("crossing", "thin boxes at right angles", obb1=[(4, 4, 50, 1, 0.75)], obb2=[(4, 5, 1, 50, 0.75)]),
        corner(
            "tiny",
            "eps is all there is",
            obb1=[(0, 0, 2.0**-10, 2.0**-11, 0.5)],
            obb2=[(2.0**-10, 0, 2.0**-10, 2.0**-10, 0)],
        ),
        corner(
            "same aspect", "v = 0 is not a kink", "kink", params={"CIoU": True}, obb1=_ONE, obb2=[(5, 4, 3, 1, 0.25)]
        ),
        corner("one with many", "(1, 5) with (3, 5) is (3, 1)", "shape", obb1=_ONE, obb2=_TWO + _ONE + _TWO),
        corner("many with one", "(2, 5) with (1, 5) is (2, 1)", "shape", obb1=_ONE + _TWO, obb2=_TWO),
    ),
    impostors=(
        impostor("cross term of the other sign", "+ S_c dx dy", "value", cross_term_of_the_other_sign),
        impostor("c from a sum", "c = (a0 + b0) cos sin", "value laws", c_from_a_sum),
        impostor("sigma = w / 2", "variance w^2 / 4", "value", sigma_half_a_side),
        impostor("sigma = w", "variance w^2", "value", sigma_a_side),
        impostor("no eps", "1 for identical boxes", "value laws", no_eps),
        impostor("degrees", "r taken in degrees", "value laws", angles_in_degrees),
        impostor("squared distance", "exp(-BD), the Bhattacharyya coefficient", "value laws", coefficient),
        impostor("alpha attached", "gradient through alpha; the value is right", "gradient", alpha_attached),
        impostor("CIoU ignored", "the flag has no effect", "params", aspect_ignored),
        impostor("NaN to zero", "a NaN box gives a finite number", "refuses", nan_to_zero),
    ),
    api="probiou(obb1, obb2, CIoU=False, eps=1e-7)",
    returns="(n, 1): one number for each pair",
)
