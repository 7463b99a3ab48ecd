"""IoU of axis-aligned boxes: I / U.

I is the area of the intersection, U = w h + w' h' - I + eps; in xyxy mode eps also stands on both
heights. Source: spec/10-geometry.md section 3.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lossref.core.arithmetic import Arithmetic
from lossref.core.declare import impostor
from lossref.core.nouns import Spec
from lossref.losses.overlap.bbox_iou import Overlap, bbox_iou, corners, overlap
from lossref.losses.overlap.pairs import box_fields, oracle_overlap, pairwise


def oracle(m: Arithmetic, a: Any, b: Any, eps: float) -> Any:
    """IoU of one pair in scalars."""
    return oracle_overlap(m, a, b, eps)[0]


def eps_missing(box1: Tensor, box2: Tensor, xywh: bool, eps: float) -> Tensor:
    o = overlap(box1, box2, xywh, 0.0)
    return o.iou[..., None]


def eps_on_width_too(box1: Tensor, box2: Tensor, xywh: bool, eps: float) -> Tensor:
    o = overlap(box1, box2, xywh, eps)
    extra = 0.0 if xywh else eps
    return (o.inter / ((o.w1 + extra) * o.h1 + (o.w2 + extra) * o.h2 - o.inter + eps))[..., None]


def no_trailing_axis(box1: Tensor, box2: Tensor, xywh: bool, eps: float) -> Tensor:
    return overlap(box1, box2, xywh, eps).iou


def inclusive_pixels(box1: Tensor, box2: Tensor, xywh: bool, eps: float) -> Tensor:
    grow = torch.tensor([0, 0, 1, 1], dtype=box1.dtype)
    return bbox_iou(box1 + grow, box2 + grow, xywh, eps=eps)


def inclusive_areas(box1: Tensor, box2: Tensor, xywh: bool, eps: float) -> Tensor:
    o = overlap(box1, box2, xywh, eps)
    return (o.inter / ((o.w1 + 1) * (o.h1 + 1) + (o.w2 + 1) * (o.h2 + 1) - o.inter + eps))[..., None]


def size_of_the_other(box1: Tensor, box2: Tensor, xywh: bool, eps: float) -> Tensor:
    if not xywh:
        return bbox_iou(box1, box2, xywh, eps=eps)
    o = overlap(box1, torch.cat((box2[..., :2], box1[..., 2:]), -1), xywh, eps)
    return (o.inter / (o.w1 * o.h1 + box2[..., 2] * box2[..., 3] - o.inter + eps))[..., None]


def overlap_without_touch(box1: Tensor, box2: Tensor, xywh: bool, eps: float) -> Overlap:
    """The terms of a careless version: no gradient of the intersection where boxes only touch."""
    o = overlap(box1, box2, xywh, eps)
    inter = torch.relu(o.inter)
    union = o.w1 * o.h1 + o.w2 * o.h2 - inter + eps
    return o._replace(inter=inter, union=union, iou=inter / union)


def relu_overlap(box1: Tensor, box2: Tensor, xywh: bool, eps: float) -> Tensor:
    return overlap_without_touch(box1, box2, xywh, eps).iou[..., None]


def one_sided_ties(box1: Tensor, box2: Tensor, xywh: bool, eps: float) -> Tensor:
    ax1, ay1, ax2, ay2, *_ = corners(box1, xywh)
    bx1, by1, bx2, by2, *_ = corners(box2, xywh)
    across = torch.where(ax2 <= bx2, ax2, bx2) - torch.where(ax1 >= bx1, ax1, bx1)
    down = torch.where(ay2 <= by2, ay2, by2) - torch.where(ay1 >= by1, ay1, by1)
    inter, o = across.clamp(min=0) * down.clamp(min=0), overlap(box1, box2, xywh, eps)
    return (inter / (o.w1 * o.h1 + o.w2 * o.h2 - inter + eps))[..., None]


SPEC = Spec(
    name="iou",
    summary="Intersection over union of axis-aligned boxes",
    cite="spec/10-geometry.md section 3",
    terms=("iou",),
    reference=bbox_iou,
    oracle=pairwise(oracle),
    impostors=(
        impostor("no eps", "union without eps", "value reduced params", eps_missing),
        impostor("eps on both sides", "eps on the width as on the height", "value params", eps_on_width_too),
        impostor("flat result", "no trailing axis: (n,) instead of (n, 1)", "shape", no_trailing_axis),
        impostor("inclusive pixels", "x2 - x1 + 1, as for pixel indices", "value params", inclusive_pixels),
        impostor("inclusive areas", "x2 - x1 + 1 in the areas, not in the intersection", "value", inclusive_areas),
        impostor("size of the other box", "corners of box2 from w and h of box1", "value", size_of_the_other),
        impostor("relu", "no gradient of the intersection where boxes only touch", "kinks", relu_overlap),
        impostor("one-sided ties", "equal edges give one box all of the gradient", "kinks", one_sided_ties),
    ),
    api="bbox_iou(box1, box2, xywh=True, eps=1e-7)",
    **box_fields(0, 1),
)
