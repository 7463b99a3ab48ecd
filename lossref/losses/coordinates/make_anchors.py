"""Anchor points of all levels: (column + offset, row + offset), row-major, levels one after the other.

In stride units, with the stride of each point beside it. Source: spec/10-geometry.md section 5. Where
sources differ: pixels instead of stride units, offset 0, feature maps given as a tuple or as rows (h, w)
(QG8, refused here).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from lossref.core.arithmetic import Arithmetic
from lossref.core.declare import corner, impostor
from lossref.core.families import LOGIT_FAMILIES
from lossref.core.laws import differs
from lossref.core.nouns import Array, Domain, Param, Span, Spec
from lossref.core.precision import compute_dtype, require_floating

Shapes = tuple[tuple[int, int], ...]
Strides = tuple[float, ...]


class Anchors(NamedTuple):
    """points (A, 2) x, y in stride units; strides (A, 1) in pixels per cell."""

    points: Tensor
    strides: Tensor


def make_anchors(feats: list[Tensor], strides: Sequence[float] | Tensor, grid_cell_offset: float = 0.5) -> Anchors:
    """Points (A, 2) in stride units and strides (A, 1) of feature maps (b, C, h, w), dtype of the first.

    Only the shapes, the dtype and the device of `feats` are read; extra strides are ignored. Raises
    AssertionError if `feats` is None, TypeError if it is not a list or not floating, IndexError if it is
    empty or there are fewer strides than levels. Source: spec/10-geometry.md section 5.
    """
    if feats is None:
        raise AssertionError("feats: expected a list of feature maps, got None")
    if not isinstance(feats, list):
        raise TypeError(f"feats: expected a list of feature maps, got {type(feats).__name__}")
    first = feats[0]
    require_floating(feats=first)
    compute, result = compute_dtype(first)
    sizes = [(feat.shape[2], feat.shape[3]) for feat in feats]
    points = [_grid(h, w, grid_cell_offset, compute, first.device) for h, w in sizes]
    steps = [
        torch.full((h * w, 1), float(strides[level]), dtype=result, device=first.device)
        for level, (h, w) in enumerate(sizes)
    ]
    return Anchors(torch.cat(points).to(result), torch.cat(steps))


def _grid(h: int, w: int, offset: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    x = torch.arange(w, dtype=dtype, device=device) + offset
    y = torch.arange(h, dtype=dtype, device=device) + offset
    return torch.stack((x.expand(h, w), y[:, None].expand(h, w)), dim=-1).reshape(-1, 2)


def anchors_of(
    like: Tensor,
    shapes: Shapes = ((3, 4), (2, 3)),
    strides: Strides = (8, 16),
    grid_cell_offset: float = 0.5,
) -> Anchors:
    """The form in which lossref asks: maps (1, 1, h, w) of the given shapes, dtype and device of `like`."""
    feats = [like.new_zeros((1, 1, h, w)) for h, w in shapes]
    return make_anchors(feats, strides, grid_cell_offset)


def oracle(
    m: Arithmetic,
    like: Any,
    shapes: Shapes = ((3, 4), (2, 3)),
    strides: Strides = (8, 16),
    grid_cell_offset: float = 0.5,
) -> tuple[Any, Any]:
    """Points and strides in scalars, cell by cell."""
    points, steps = [], []
    for (h, w), stride in zip(shapes, strides, strict=False):
        for row in range(h):
            for column in range(w):
                points.append((column + grid_cell_offset, row + grid_cell_offset))
                steps.append((stride,))
    return tuple(points), tuple(steps)


class Level(NamedTuple):
    """The numbers of one level, as a law sees them."""

    h: int
    w: int
    stride: float
    points: Array
    steps: Array


def _levels(flat: Array, params: Mapping[str, Any]) -> list[Level]:
    """All numbers in a row (points, then strides), cut into levels."""
    shapes, count = params["shapes"], flat.size // 3
    ends = np.cumsum([h * w for h, w in shapes])[:-1]
    points = np.split(flat[: 2 * count].reshape(count, 2), ends)
    steps = np.split(flat[2 * count :], ends)
    rows = zip(shapes, params["strides"], points, steps, strict=False)
    return [Level(h, w, stride, mine, own) for (h, w), stride, mine, own in rows]


def content_is_not_read(f: Any, x: Mapping[str, Array], params: Mapping[str, Any], tol: Array) -> str | None:
    """Other numbers in the feature maps give the same points."""
    return differs(f({"like": 3 * x["like"] + 1}), f(x), tol, "other feature maps")


def own_stride(f: Any, x: Mapping[str, Array], params: Mapping[str, Any], tol: Array) -> str | None:
    """Every point of a level has the stride of that level."""
    for level in _levels(f(x), params):
        if (level.steps != level.stride).any():
            return f"a stride of {level.steps.max():g} in the level of stride {level.stride:g}"
    return None


def centred(f: Any, x: Mapping[str, Array], params: Mapping[str, Any], tol: Array) -> str | None:
    """The mean of the points of a level is the centre of its map, at offset 0.5."""
    for level in _levels(f(x), params):
        middle = np.array([level.w - 1, level.h - 1]) / 2 + params["grid_cell_offset"]
        wrong = differs(level.points.mean(axis=0), middle, np.full(2, tol.max()), "averaging a level")
        if wrong:
            return wrong
    return None


def row_after_row(f: Any, x: Mapping[str, Array], params: Mapping[str, Any], tol: Array) -> str | None:
    """From one point of a level to the next, x grows by 1 and y stays, or a new row begins."""
    for level in _levels(f(x), params):
        column, row = (level.points - params["grid_cell_offset"]).T
        wanted = np.arange(level.h * level.w, dtype=float)
        wrong = differs(row * level.w + column, wanted, np.full_like(wanted, tol.max()), "counting the cells")
        if wrong:
            return wrong
    return None


def y_first(like: Tensor, shapes: Shapes, strides: Strides, grid_cell_offset: float) -> Anchors:
    points, steps = anchors_of(like, shapes, strides, grid_cell_offset)
    return Anchors(points.flip(-1), steps)


def column_major(like: Tensor, shapes: Shapes, strides: Strides, grid_cell_offset: float) -> Anchors:
    points, steps = anchors_of(like, shapes, strides, grid_cell_offset)
    levels = points.split([h * w for h, w in shapes])
    grids = [level.reshape(h, w, 2).transpose(0, 1) for level, (h, w) in zip(levels, shapes, strict=True)]
    return Anchors(torch.cat([grid.reshape(-1, 2) for grid in grids]), steps)


def levels_reversed(like: Tensor, shapes: Shapes, strides: Strides, grid_cell_offset: float) -> Anchors:
    return anchors_of(like, shapes[::-1], strides[: len(shapes)][::-1], grid_cell_offset)


def in_pixels(like: Tensor, shapes: Shapes, strides: Strides, grid_cell_offset: float) -> Anchors:
    points, steps = anchors_of(like, shapes, strides, grid_cell_offset)
    return Anchors(points * steps, steps)


def no_offset(like: Tensor, shapes: Shapes, strides: Strides, grid_cell_offset: float) -> Anchors:
    points, steps = anchors_of(like, shapes, strides, grid_cell_offset)
    return Anchors(points - grid_cell_offset, steps)


def offset_fixed(like: Tensor, shapes: Shapes, strides: Strides, grid_cell_offset: float) -> Anchors:
    return anchors_of(like, shapes, strides, 0.5)


def flat_strides(like: Tensor, shapes: Shapes, strides: Strides, grid_cell_offset: float) -> Anchors:
    points, steps = anchors_of(like, shapes, strides, grid_cell_offset)
    return Anchors(points, steps[:, 0])


def always_float32(like: Tensor, shapes: Shapes, strides: Strides, grid_cell_offset: float) -> Anchors:
    points, steps = anchors_of(like, shapes, strides, grid_cell_offset)
    return Anchors(points.float(), steps.float())


_LIKE = [(0.5, -1)]
_THREE = {"shapes": ((3, 4), (2, 3), (1, 1)), "strides": (8, 16, 32)}
_WORKED = {"shapes": ((2, 3), (1, 2)), "strides": (8, 16)}

_SIZES: dict[str, tuple[dict[str, Any], ...]] = {
    "single": ({"b": 1, "C": 1, "shapes": ((1, 1),), "strides": (8,)}, {"b": 1, "C": 1, "shapes": ((2, 3), (1, 2))}),
    "small": ({"b": 2, "C": 3},),
    "bulk": ({"b": 2, "C": 3, "shapes": ((60, 300), (270, 40), (15, 20)), "strides": (8, 16, 32)},),
    "empty": ({"b": 1, "C": 1, "shapes": ((0, 3), (2, 0))},),
}

SPEC = Spec(
    name="make_anchors",
    summary="Anchor points of all levels",
    cite="spec/10-geometry.md section 5",
    inputs={"like": Domain("b C", "feature maps: only their dtype and device are read", LOGIT_FAMILIES, nan_free=True)},
    wrt=(),
    params={
        "shapes": Param(
            ((3, 4), (2, 3)), (((2, 5), (1, 1)), ((4, 2), (2, 1))), "height and width of each level", stated=False
        ),
        "strides": Param((8, 16), ((4, 32), (6.5, 13)), "pixels per cell; extra ones are ignored", stated=False),
        "grid_cell_offset": Param(0.5, (0.0, 0.25), "where in its cell the point lies", span=Span(0.0, 1.0)),
    },
    terms=("points", "strides"),
    reference=anchors_of,
    oracle=oracle,
    sizes=_SIZES,
    laws=(content_is_not_read, own_stride, centred, row_after_row),
    corners=(
        corner("worked", "the anchor of the specification", params=_WORKED, like=_LIKE),
        corner("one cell", "a single point", params={"shapes": ((1, 1),), "strides": (8,)}, like=_LIKE),
        corner("wide and high", "no level is square", params={"shapes": ((1, 5), (4, 1))}, like=_LIKE),
        corner("extra strides", "more strides than levels", params={"strides": (8, 16, 32)}, like=_LIKE),
        corner("strides not in order", "each level has its own", params={"strides": (32, 8)}, like=_LIKE),
        corner("a level of size 0", "contributes nothing", params={"shapes": ((2, 0), (1, 2))}, like=_LIKE),
        corner("offset 0", "the corner of the cell", params={"grid_cell_offset": 0.0}, like=_LIKE),
        corner("three levels", "A = 12 + 6 + 1", "shape", params=_THREE, like=_LIKE),
    ),
    impostors=(
        impostor("y first", "row before column", "value reduced laws", y_first),
        impostor("column-major", "y runs fastest", "value reduced laws", column_major),
        impostor("levels reversed", "the coarsest level first", "value reduced laws", levels_reversed),
        impostor("pixels", "multiplied by the stride", "value reduced laws", in_pixels),
        impostor("no offset", "the corner of the cell", "value reduced laws", no_offset),
        impostor("offset fixed", "0.5 whatever is asked for", "params", offset_fixed),
        impostor("strides (A,)", "the last axis is lost", "shape", flat_strides),
        impostor("always float32", "the dtype of the maps is not kept", "dtype", always_float32),
    ),
    api="make_anchors(feats, strides, grid_cell_offset=0.5)",
    returns="(A, 2) points x, y in stride units, and (A, 1) strides",
)
