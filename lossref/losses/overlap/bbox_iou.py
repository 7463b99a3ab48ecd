"""The torch reference for the overlap of axis-aligned boxes: IoU, GIoU, DIoU, CIoU.

Source: spec/10-geometry.md section 3; GIoU arXiv 1902.09630, DIoU and CIoU arXiv 1911.08287.
Where sources differ: eps stands on the height in xyxy mode only, on the union, on the enclosing area
or diagonal, and in 1 + eps of alpha; alpha of CIoU carries no gradient.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from lossref.core.precision import compute_dtype, require_floating


class Overlap(NamedTuple):
    """The named terms of the formulas, each of the broadcast leading shape."""

    inter: Tensor
    union: Tensor
    iou: Tensor
    enclosing_w: Tensor
    enclosing_h: Tensor
    centre_distance2: Tensor
    w1: Tensor
    h1: Tensor
    w2: Tensor
    h2: Tensor


def corners(box: Tensor, xywh: bool) -> tuple[Tensor, ...]:
    """x1, y1, x2, y2, w, h of one set of boxes."""
    if xywh:
        x, y, w, h = box.unbind(-1)
        return x - w / 2, y - h / 2, x + w / 2, y + h / 2, w, h
    x1, y1, x2, y2 = box.unbind(-1)
    return x1, y1, x2, y2, x2 - x1, y2 - y1


def overlap(box1: Tensor, box2: Tensor, xywh: bool, eps: float) -> Overlap:
    """All terms that the four overlaps are made of; boxes (..., 4), floating.

    The span of the enclosing box is taken as w1 + w2 - across, since min(a, b) + max(a, b) = a + b: value and
    gradient are the same, also at a tie, and four of the eight comparisons are saved.
    """
    ax1, ay1, ax2, ay2, w1, h1 = corners(box1, xywh)
    bx1, by1, bx2, by2, w2, h2 = corners(box2, xywh)
    across = torch.minimum(ax2, bx2) - torch.maximum(ax1, bx1)
    down = torch.minimum(ay2, by2) - torch.maximum(ay1, by1)
    enclosing_w, enclosing_h = w1 + w2 - across, h1 + h2 - down
    inter = across.clamp(min=0) * down.clamp(min=0)
    if not xywh:
        h1, h2 = h1 + eps, h2 + eps
    union = w1 * h1 + w2 * h2 - inter + eps
    distance2 = ((bx1 + bx2 - ax1 - ax2) ** 2 + (by1 + by2 - ay1 - ay2) ** 2) / 4
    return Overlap(inter, union, inter / union, enclosing_w, enclosing_h, distance2, w1, h1, w2, h2)


def giou_of(o: Overlap, eps: float) -> Tensor:
    """IoU - (C - U) / C, with C the enclosing area + eps."""
    area = o.enclosing_w * o.enclosing_h + eps
    return o.iou - (area - o.union) / area


def distance_of(o: Overlap, eps: float) -> Tensor:
    """Squared centre distance over squared enclosing diagonal + eps."""
    return o.centre_distance2 / (o.enclosing_w**2 + o.enclosing_h**2 + eps)


def aspect_of(o: Overlap) -> Tensor:
    """v = (4 / pi^2) (atan(w2/h2) - atan(w1/h1))^2."""
    return (4 / math.pi**2) * (torch.atan(o.w2 / o.h2) - torch.atan(o.w1 / o.h1)) ** 2


def ciou_of(o: Overlap, eps: float, alpha: str = "detached") -> Tensor:
    """DIoU - v alpha, alpha = v / (v - IoU + 1 + eps): without gradient, with it, or gated by IoU >= 0.5."""
    v, iou = aspect_of(o), o.iou
    if alpha == "attached":
        return iou - (distance_of(o, eps) + v * v / (v - iou + (1 + eps)))
    fixed, gate = v.detach(), iou.detach()
    factor = fixed / (fixed - gate + (1 + eps))
    if alpha == "gated":
        factor = factor * (gate >= 0.5)
    elif alpha != "detached":
        raise ValueError(f"alpha: expected 'detached', 'attached' or 'gated', got {alpha!r}")
    return torch.addcmul(iou - distance_of(o, eps), v, factor, value=-1)


def bbox_iou(
    box1: Tensor,
    box2: Tensor,
    xywh: bool = True,
    GIoU: bool = False,
    DIoU: bool = False,
    CIoU: bool = False,
    eps: float = 1e-7,
    alpha: str = "detached",
) -> Tensor:
    """Overlap of boxes (..., 4), broadcast against each other, any length unit; returns (..., 1).

    The result has the promoted dtype of the boxes; float16 and bfloat16 are computed in float32 and
    rounded once. CIoU wins over DIoU, DIoU over GIoU; `alpha` says how CIoU's factor is taken. Raises
    ValueError if the last axis is not 4, TypeError if a box is not floating. Formulas:
    spec/10-geometry.md section 3.
    """
    for name, box in (("box1", box1), ("box2", box2)):
        if box.ndim < 1 or box.shape[-1] != 4:
            raise ValueError(f"{name}: expected shape (..., 4), got {tuple(box.shape)}")
    require_floating(box1=box1, box2=box2)
    compute, result = compute_dtype(box1, box2)
    o = overlap(box1.to(compute), box2.to(compute), xywh, eps)
    if CIoU:
        value = ciou_of(o, eps, alpha)
    elif DIoU:
        value = o.iou - distance_of(o, eps)
    else:
        value = giou_of(o, eps) if GIoU else o.iou
    return value.unsqueeze(-1).to(result)
