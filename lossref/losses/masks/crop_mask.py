"""Zero everything outside a box, one box for each mask.

A pixel (column i, row j) is kept where x1 <= i < x2 and y1 <= j < y2. Source: spec/10-geometry.md section 11,
spec/05-decisions.md D1. Where sources differ (`crop`): "rounded" first rounds the edges half to even and reads
the ranges as Python slices, so that an edge left of the mask wraps; "clipped" rounds the edges, too, but takes
those left of the mask for 0 (8.4.60); "by_count" takes "rounded" for fewer than 50 masks off CUDA, else "exact", as
the releases 8.4.14 to 8.4.24 do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lossref.core.arithmetic import Arithmetic
from lossref.core.declare import corner, impostor
from lossref.core.laws import differs, rows_independent
from lossref.core.nouns import Array, Domain, Param, Spec
from lossref.core.precision import compute_dtype, require_floating
from lossref.losses.masks.boxes import MASK_BOX_FAMILIES, MASK_FAMILIES, box_corners, ones

CROPS = ("exact", "rounded", "clipped", "by_count")
CROP_MEANS = {
    "exact": "a pixel is kept where x1 <= column < x2 and y1 <= row < y2",
    "rounded": "the edges are rounded half to even and read as Python slices, so that one left of the mask wraps",
    "clipped": "the edges are rounded half to even, and those left of the mask count as 0",
    "by_count": "rounded below 50 masks off CUDA, else exact",
}
CROP = Param(
    "exact",
    CROPS[1:],
    "which pixels a box keeps, see crop_mask (D1)",
    means=CROP_MEANS,
    on_cuda=(("by_count", "exact"),),
)
FEW = 50
Kept = Callable[[Tensor, Tensor, Tensor], Tensor]  # whether, by low edge, index and high edge


def crop_mask(masks: Tensor, boxes: Tensor, crop: str = "exact") -> Tensor:
    """Masks (n, H, W), zero outside boxes (n, 4) xyxy in mask pixels; a new tensor, dtype of `masks`.

    "exact" multiplies by the indicator of the box, the others write 0. A box with NaN makes its mask NaN.
    Raises ValueError for shapes that do not match or an unknown `crop`, TypeError for inputs that are not
    floating. Rules: spec/10-geometry.md section 11.
    """
    if crop not in CROPS:
        raise ValueError(f"crop: expected one of {', '.join(CROPS)}, got {crop!r}")
    if masks.ndim != 3 or boxes.shape != (len(masks), 4):
        raise ValueError(f"boxes: expected shape (n, 4) for masks (n, H, W), got {_shapes(masks, boxes)}")
    require_floating(masks=masks, boxes=boxes)
    compute, _ = compute_dtype(boxes)
    edges = boxes.detach().to(compute)
    unknown = edges.isnan().any(-1)
    if crop == "exact" or (crop == "by_count" and (len(masks) >= FEW or masks.is_cuda)):
        rows, columns = _inside(edges, masks.shape)
        # Two thin factors: no indicator of the size of the masks is kept for the backward pass.
        height = rows.to(masks.dtype).masked_fill(unknown[:, None], torch.nan)
        return masks * height[:, :, None] * columns.to(masks.dtype)[:, None, :]
    whole = edges.round()
    rows, columns = _inside(whole if crop == "clipped" else _as_slices(whole, masks.shape), masks.shape)
    outside = torch.zeros_like(edges[:, 0], dtype=masks.dtype).masked_fill(unknown, torch.nan)
    return torch.where(rows[:, :, None] & columns[:, None, :], masks, outside[:, None, None])


def _shapes(masks: Tensor, boxes: Tensor) -> str:
    return f"masks {tuple(masks.shape)} and boxes {tuple(boxes.shape)}"


def _inside(edges: Tensor, shape: torch.Size) -> tuple[Tensor, Tensor]:
    """Which rows (n, H) and columns (n, W) lie in [low, high)."""
    x1, y1, x2, y2 = edges.unsqueeze(-1).unbind(1)
    j = torch.arange(shape[1], dtype=edges.dtype, device=edges.device)
    i = torch.arange(shape[2], dtype=edges.dtype, device=edges.device)
    return (y1 <= j) & (j < y2), (x1 <= i) & (i < x2)


def _as_slices(edges: Tensor, shape: torch.Size) -> Tensor:
    """Integral edges as Python slicing reads them: beyond the end is the end, negative counts from the end."""
    length = edges.new_tensor([shape[2], shape[1], shape[2], shape[1]])
    counted = torch.where(edges < 0, (edges + length).clamp(min=0), edges)
    return torch.minimum(counted, length)


def oracle(m: Arithmetic, masks: Any, boxes: Any, crop: str = "exact") -> Any:
    """The masks in scalars, pixel by pixel."""
    return tuple(
        oracle_one(m, mask, box, oracle_rule(m, len(masks), crop)) for mask, box in zip(masks, boxes, strict=True)
    )


def oracle_rule(m: Arithmetic, count: int, crop: str) -> str:
    """The rule for so many masks on a CPU."""
    return crop if crop != "by_count" else "rounded" if count < 50 else "exact"


def oracle_one(m: Arithmetic, mask: Any, box: Any, rule: str) -> Any:
    """One mask; a dropped pixel is a constant 0."""
    kept_rows, kept_columns = oracle_crop(m, box, len(mask), len(mask[0]) if mask else 0, rule)
    return tuple(
        tuple(pixel if j in kept_rows and i in kept_columns else 0.0 for i, pixel in enumerate(row))
        for j, row in enumerate(mask)
    )


def oracle_crop(m: Arithmetic, box: Any, height: int, width: int, rule: str) -> tuple[frozenset[int], frozenset[int]]:
    """The rows and the columns that a box keeps."""
    x1, y1, x2, y2 = box
    return oracle_kept(m, y1, y2, height, rule), oracle_kept(m, x1, x2, width, rule)


def oracle_kept(m: Arithmetic, low: Any, high: Any, length: int, rule: str) -> frozenset[int]:
    """The indices of one axis between two edges; "rounded" is a Python slice, "clipped" one that does not wrap."""
    if rule == "clipped":
        return frozenset(range(max(oracle_round(m, low), 0), min(oracle_round(m, high), length)))
    if rule == "rounded":
        return frozenset(range(length)[oracle_round(m, low) : oracle_round(m, high)])
    return frozenset(i for i in range(length) if not low > i and high > i)


def oracle_round(m: Arithmetic, x: Any) -> int:
    """The nearest integer, of two the even one."""
    below = m.floor(x)
    twice = (x - below) * 2
    if m.less(twice, 1.0):
        return int(below)
    return int(below + 1 if twice > 1.0 else below + below % 2)


def idempotent(f: Any, x: Mapping[str, Array], params: Mapping[str, Any], tol: Array) -> str | None:
    """Cropping twice is cropping once."""
    once = f(x)
    return differs(f({**x, "masks": once}), once, tol, "cropping twice")


def linear(f: Any, x: Mapping[str, Array], params: Mapping[str, Any], tol: Array) -> str | None:
    """The crop of a multiple is the multiple of the crop."""
    return differs(f({**x, "masks": -4 * x["masks"]}), -4 * f(x), 4 * tol, "minus four times the masks")


def kept_or_zero(f: Any, x: Mapping[str, Array], params: Mapping[str, Any], tol: Array) -> str | None:
    """Every pixel is that of the mask, or 0, and the kept ones form a rectangle."""
    value, kept = f(x), f({**x, "masks": np.ones_like(x["masks"])})
    wrong = differs(value, kept * x["masks"], tol, "the indicator times the masks")
    rectangle = kept.max(axis=2, keepdims=True) * kept.max(axis=1, keepdims=True)
    return wrong or differs(kept, rectangle, tol, "the rectangle around the kept pixels")


def transposed(f: Any, x: Mapping[str, Array], params: Mapping[str, Any], tol: Array) -> str | None:
    """Exchanging x and y in masks and boxes transposes the result."""
    turned = {"masks": x["masks"].transpose(0, 2, 1).copy(), "boxes": x["boxes"][:, [1, 0, 3, 2]]}
    value = f(turned).reshape(turned["masks"].shape)
    return differs(value.transpose(0, 2, 1), f(x), tol, "exchanging x and y")


def half_open(low: Tensor, index: Tensor, high: Tensor) -> Tensor:
    return (low <= index) & (index < high)


def outside_of(masks: Tensor, boxes: Tensor, kept: Kept = half_open) -> Tensor:
    """Which pixels (n, H, W) a box does not keep, by its edges and the numbers of rows and columns."""
    x1, y1, x2, y2 = boxes.detach()[:, :, None].unbind(1)
    rows, columns = (torch.arange(size, dtype=boxes.dtype) for size in masks.shape[1:])
    return ~(kept(y1, rows, y2)[:, :, None] & kept(x1, columns, x2)[:, None, :])


def closed_upper_edge(masks: Tensor, boxes: Tensor, crop: str) -> Tensor:
    return masks.masked_fill(outside_of(masks, boxes, lambda low, index, high: (low <= index) & (index <= high)), 0)


def open_lower_edge(masks: Tensor, boxes: Tensor, crop: str) -> Tensor:
    return masks.masked_fill(outside_of(masks, boxes, lambda low, index, high: (low < index) & (index < high)), 0)


def by_pixel_centres(masks: Tensor, boxes: Tensor, crop: str) -> Tensor:
    outside = outside_of(masks, boxes, lambda low, index, high: half_open(low, index + 0.5, high))
    return masks.masked_fill(outside, 0)


def edges_rounded_down(masks: Tensor, boxes: Tensor, crop: str) -> Tensor:
    return masks.masked_fill(outside_of(masks, boxes.floor()), 0)


def negative_edges_wrap(masks: Tensor, boxes: Tensor, crop: str) -> Tensor:
    return masks.masked_fill(outside_of(masks, _as_slices(boxes.detach().ceil(), masks.shape)), 0)


def columns_by_y(masks: Tensor, boxes: Tensor, crop: str) -> Tensor:
    return masks.masked_fill(outside_of(masks, boxes[:, [1, 0, 3, 2]]), 0)


def always_rounded(masks: Tensor, boxes: Tensor, crop: str) -> Tensor:
    return crop_mask(masks, boxes, "rounded")


def always_exact(masks: Tensor, boxes: Tensor, crop: str) -> Tensor:
    return crop_mask(masks, boxes, "exact")


def in_place(masks: Tensor, boxes: Tensor, crop: str) -> Tensor:
    masks.data[outside_of(masks, boxes)] = 0
    return masks * 1


SPEC = Spec(
    name="crop_mask",
    summary="Zero everything outside a box",
    cite="spec/10-geometry.md section 11; spec/05-decisions.md D1",
    inputs={
        "masks": Domain("n H W", "any numbers, one mask for each box", MASK_FAMILIES, row=2),
        "boxes": Domain("n 4", "boxes xyxy in mask pixels", MASK_BOX_FAMILIES, nan_free=True),
    },
    wrt=("masks",),
    params={"crop": replace(CROP, doc="which pixels are kept: see the module")},
    terms=("cropped",),
    reference=crop_mask,
    oracle=oracle,
    sizes={
        "single": ({"n": 1, "H": 3, "W": 4},),
        "small": ({"n": 3, "H": 4, "W": 5}, {"n": 5, "H": 3, "W": 3}),
        "bulk": ({"n": 64, "H": 40, "W": 48},),
        "empty": ({"n": 0, "H": 4, "W": 5}, {"n": 2, "H": 0, "W": 3}),
    },
    laws=(idempotent, linear, kept_or_zero, transposed, rows_independent("masks", "boxes")),
    corners=(
        *box_corners(corner),
        corner("not square", "columns by x, rows by y", "shape", masks=np.ones((2, 2, 5)), boxes=[(1, 0, 4, 1)] * 2),
        corner("fifty masks", "by_count takes exact edges", params={"crop": "by_count"}, **ones(50)),
        corner("forty-nine masks", "by_count rounds", params={"crop": "by_count"}, **ones(49)),
    ),
    impostors=(
        impostor("closed upper edge", "i <= x2", "value", closed_upper_edge),
        impostor("open lower edge", "x1 < i", "value", open_lower_edge),
        impostor("pixel centres", "i + 0.5 is compared", "value", by_pixel_centres),
        impostor("floor", "edges rounded down", "value", edges_rounded_down),
        impostor("negative edges wrap", "an edge below 0 counts from the end", "value", negative_edges_wrap),
        impostor("x and y exchanged", "columns by y", "value", columns_by_y),
        impostor("rounded", "edges rounded, negative ones wrap, as upstream for few masks", "value", always_rounded),
        impostor("always exact", "crop has no effect", "params", always_exact),
        impostor("in place", "zeroes its argument, as upstream for few masks", "pure", in_place),
    ),
    api="crop_mask(masks, boxes, crop='exact')",
    returns="(n, H, W), 0 outside the boxes",
)
