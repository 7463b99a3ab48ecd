"""Corners to centre and size: ((x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1).

No clamping and no ordering: an inverted box keeps negative sizes. Source: spec/10-geometry.md section 1.
Where sources differ: older releases return float32 whatever comes in, and integer boxes truncate (QG7);
here the dtype is kept and integers are refused.
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
from lossref.core.nouns import Array, Spec
from lossref.core.precision import compute_dtype, require_floating
from lossref.losses.coordinates.maps import ANY_BOX_FAMILIES, ROW_SIZES, inverted_by, length_domain, scales


def xyxy2xywh(x: Tensor) -> Tensor:
    """Boxes (..., 4) as (cx, cy, w, h), any length unit; a new tensor of the same shape and dtype.

    Raises AssertionError if the last axis is not 4, TypeError if `x` is not floating. float16 and
    bfloat16 are computed in float32 and rounded once. Formula: spec/10-geometry.md section 1.
    """
    if x.ndim < 1 or x.shape[-1] != 4:
        raise AssertionError(f"x: expected shape (..., 4), got {tuple(x.shape)}")
    require_floating(x=x)
    compute, result = compute_dtype(x)
    low, high = x.to(compute).chunk(2, dim=-1)
    return torch.cat(((low + high) / 2, high - low), dim=-1).to(result)


def oracle(m: Arithmetic, x: Any) -> Any:
    """The boxes in scalars."""
    return tuple(oracle_box(m, *box) for box in x)


def oracle_box(m: Arithmetic, x1: Any, y1: Any, x2: Any, y2: Any) -> tuple[Any, ...]:
    """Centre and size of one box."""
    return x1 + (x2 - x1) / 2, y1 + (y2 - y1) / 2, x2 - x1, y2 - y1


def corners_again(boxes: Array, x: Mapping[str, Array], params: Mapping[str, Any]) -> Array:
    """The inverse map."""
    return np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], axis=1)


def moving(f: Any, x: Mapping[str, Array], params: Mapping[str, Any], tol: Array) -> str | None:
    """Moving a box moves its centre and keeps its size."""
    step = np.array([64.0, -32.0, 0.0, 0.0])
    moved = f({"x": x["x"] + np.array([64.0, -32.0, 64.0, -32.0])})
    return differs(moved, f(x) + step, 4 * (tol + 64 * tol), "moving the box")


def exchanged(f: Any, x: Mapping[str, Array], params: Mapping[str, Any], tol: Array) -> str | None:
    """Exchanging the two corners keeps the centre and negates the size."""
    turned = f({"x": x["x"][:, [2, 3, 0, 1]]})
    return differs(turned, f(x) * np.array([1.0, 1.0, -1.0, -1.0]), 2 * tol, "exchanging the corners")


def from_the_corner(x: Tensor) -> Tensor:
    return torch.cat((x[..., :2], x[..., 2:] - x[..., :2]), dim=-1)


def inclusive_pixels(x: Tensor) -> Tensor:
    return xyxy2xywh(x) + x.new_tensor([0.0, 0.0, 1.0, 1.0])


def absolute_sizes(x: Tensor) -> Tensor:
    low, high = x.chunk(2, dim=-1)
    return torch.cat(((low + high) / 2, (high - low).abs()), dim=-1)


def in_place(x: Tensor) -> Tensor:
    x.data[..., 2:] = x.data[..., 2:] - x.data[..., :2]
    return torch.cat((x[..., :2] + x[..., 2:] / 2, x[..., 2:]), dim=-1)


def always_float32(x: Tensor) -> Tensor:
    return xyxy2xywh(x.float())


def centre_detached(x: Tensor) -> Tensor:
    box = xyxy2xywh(x)
    return torch.cat((box[..., :2].detach(), box[..., 2:]), dim=-1)


SPEC = Spec(
    name="xyxy2xywh",
    summary="Corners of a box to centre and size",
    cite="spec/10-geometry.md section 1",
    inputs={
        "x": length_domain(
            "n 4", "boxes xyxy, any length unit", ANY_BOX_FAMILIES, refused="4", flat=flat_corners, leading=True
        )
    },
    wrt=("x",),
    params={},
    terms=("xywh",),
    reference=xyxy2xywh,
    oracle=oracle,
    sizes=ROW_SIZES,
    laws=(scales("x"), inverted_by(corners_again, "x"), moving, exchanged, rows_independent("x")),
    corners=(
        corner("worked", "the anchor of the specification", x=[(1, 2, 5, 8)]),
        corner("zeros", "zeros give zeros; not a kink", "kink", x=[(0, 0, 0, 0)]),
        corner("inverted", "sizes stay negative", x=[(5, 8, 1, 2)]),
        corner("half inverted", "only the height is negative", x=[(1, 8, 5, 2)]),
        corner("point far out", "no size, large centre", "kink", x=[(30000, -30000, 30000, -30000)]),
        corner("tiny", "P1 scaled by 2^-20", x=[(2.0**-20, 2.0**-19, 2.0**-18, 6.5 * 2.0**-20)]),
        corner("one box", "(4,) stays (4,)", "shape", x=(1, 2, 5, 8)),
        corner("three axes", "(1, 2, 4) stays (1, 2, 4)", "shape", x=[[(1, 2, 5, 8), (0, 0, 1, 3)]]),
    ),
    impostors=(
        impostor("corner as centre", "x, y are the top left corner (COCO)", "value", from_the_corner),
        impostor("inclusive pixels", "w = x2 - x1 + 1", "value laws", inclusive_pixels),
        impostor("absolute sizes", "inverted boxes are mended", "value laws", absolute_sizes),
        impostor("in place", "writes the sizes into its argument", "pure", in_place),
        impostor("always float32", "float64 is narrowed, as in older releases", "dtype", always_float32),
        impostor("centre detached", "no gradient through the centre", "gradient", centre_detached),
    ),
    api="xyxy2xywh(x)",
    returns="(n, 4): cx, cy, w, h",
)
