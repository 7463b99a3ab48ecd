"""Centre and size to corners: (cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2).

No clamping and no ordering. Source: spec/10-geometry.md section 1. Where sources differ: older releases
return float32 whatever comes in, and integer boxes truncate (QG7); here the dtype is kept and integers
are refused.
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
from lossref.core.nouns import Array, Params, Spec
from lossref.core.precision import compute_dtype, require_floating
from lossref.losses.coordinates.maps import ANY_BOX_FAMILIES, ROW_SIZES, inverted_by, length_domain, scales


def xywh2xyxy(x: Tensor) -> Tensor:
    """Boxes (..., 4) as (x1, y1, x2, y2), any length unit; a new tensor of the same shape and dtype.

    Raises AssertionError if the last axis is not 4, TypeError if `x` is not floating. float16 and
    bfloat16 are computed in float32 and rounded once. Formula: spec/10-geometry.md section 1.
    """
    if x.ndim < 1 or x.shape[-1] != 4:
        raise AssertionError(f"x: expected shape (..., 4), got {tuple(x.shape)}")
    require_floating(x=x)
    compute, result = compute_dtype(x)
    centre, size = x.to(compute).chunk(2, dim=-1)
    half = size / 2
    return torch.cat((centre - half, centre + half), dim=-1).to(result)


def oracle(m: Arithmetic, x: Any) -> Any:
    """The boxes in scalars."""
    return tuple(oracle_box(m, *box) for box in x)


def oracle_box(m: Arithmetic, cx: Any, cy: Any, w: Any, h: Any) -> tuple[Any, ...]:
    """Corners of one box."""
    return cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2


def centre_again(boxes: Array, x: Mapping[str, Array], params: Mapping[str, Any]) -> Array:
    """The inverse map."""
    return xyxy_to_xywh(boxes)


def moving(f: Any, x: Mapping[str, Array], params: Mapping[str, Any], tol: Array) -> str | None:
    """Moving the centre moves both corners by the same step."""
    step = np.array([64.0, -32.0])
    moved = f({"x": x["x"] + np.append(step, [0.0, 0.0])})
    return differs(moved, f(x) + np.tile(step, 2), 4 * (tol + 64 * tol), "moving the centre")


def negated_size(f: Any, x: Mapping[str, Array], params: Mapping[str, Any], tol: Array) -> str | None:
    """Negating the size exchanges the corners."""
    turned = f({"x": x["x"] * np.array([1.0, 1.0, -1.0, -1.0])})
    return differs(turned, f(x)[:, [2, 3, 0, 1]], 2 * tol, "negating the size")


def from_the_corner(x: Tensor) -> Tensor:
    return torch.cat((x[..., :2], x[..., :2] + x[..., 2:]), dim=-1)


def full_sizes(x: Tensor) -> Tensor:
    return torch.cat((x[..., :2] - x[..., 2:], x[..., :2] + x[..., 2:]), dim=-1)


def width_for_the_centre(x: Tensor) -> Tensor:
    return xywh2xyxy(torch.cat((x[..., 2:3], x[..., 2:3], x[..., 2:]), dim=-1))


def interleaved(x: Tensor) -> Tensor:
    return xywh2xyxy(x)[..., [0, 2, 1, 3]]


def clamped_sizes(x: Tensor) -> Tensor:
    half = x[..., 2:].clamp(min=0) / 2
    return torch.cat((x[..., :2] - half, x[..., :2] + half), dim=-1)


def in_place(x: Tensor) -> Tensor:
    box = xywh2xyxy(x)
    x.data.copy_(box.detach())
    return box


def always_float32(x: Tensor) -> Tensor:
    return xywh2xyxy(x.float())


def size_detached(x: Tensor) -> Tensor:
    return xywh2xyxy(torch.cat((x[..., :2], x[..., 2:].detach()), dim=-1))


def layout(x: Array, params: Params) -> Array:
    """Boxes are drawn by their corners."""
    return xyxy_to_xywh(x)


SPEC = Spec(
    name="xywh2xyxy",
    summary="Centre and size of a box to corners",
    cite="spec/10-geometry.md section 1",
    inputs={
        "x": length_domain(
            "n 4",
            "boxes xywh, any length unit",
            ANY_BOX_FAMILIES,
            layout=layout,
            refused="4",
            flat=flat_sizes,
            leading=True,
        )
    },
    wrt=("x",),
    params={},
    terms=("xyxy",),
    reference=xywh2xyxy,
    oracle=oracle,
    sizes=ROW_SIZES,
    laws=(scales("x"), inverted_by(centre_again, "x"), moving, negated_size, rows_independent("x")),
    corners=(
        corner("worked", "the anchor of the specification, backwards", x=[(3, 5, 4, 6)]),
        corner("zeros", "zeros give zeros; not a kink", "kink", x=[(0, 0, 0, 0)]),
        corner("inverted", "negative sizes exchange the corners", x=[(3, 5, -4, -6)]),
        corner("half inverted", "only the height is negative", x=[(3, 5, 4, -6)]),
        corner("point far out", "no size, large centre", "kink", x=[(30000, -30000, 0, 0)]),
        corner("tiny", "P1 scaled by 2^-20", x=[(2.5 * 2.0**-20, 4.25 * 2.0**-20, 3 * 2.0**-20, 4.5 * 2.0**-20)]),
        corner("one box", "(4,) stays (4,)", "shape", x=(3, 5, 4, 6)),
        corner("three axes", "(1, 2, 4) stays (1, 2, 4)", "shape", x=[[(3, 5, 4, 6), (0.5, 1.5, 1, 3)]]),
    ),
    impostors=(
        impostor("corner as centre", "x, y are the top left corner (COCO)", "value", from_the_corner),
        impostor("full sizes", "the sizes are not halved", "value laws", full_sizes),
        impostor("width for the centre", "one wrong column stands for x and y", "value laws", width_for_the_centre),
        impostor("interleaved", "x1, x2, y1, y2", "value", interleaved),
        impostor("clamped sizes", "negative sizes become 0", "value laws", clamped_sizes),
        impostor("in place", "writes the corners into its argument", "pure", in_place),
        impostor("always float32", "float64 is narrowed, as in older releases", "dtype", always_float32),
        impostor("size detached", "no gradient through the size", "gradient", size_detached),
    ),
    api="xywh2xyxy(x)",
    returns="(n, 4): x1, y1, x2, y2",
)
