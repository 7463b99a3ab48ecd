"""IoU, GIoU, DIoU and CIoU of axis-aligned boxes, on whole tensors, of corners only, and of one pair mapped over all.

Written from `lossref/spec/10-geometry.md` section 3 alone.
"""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor

import lossref

PAIR = ((0, 2), (1, 3))  # first and second edge on each axis


def edges(box: Tensor, xywh: bool) -> tuple[Tensor, Tensor, Tensor]:
    """First edge, second edge and side on both axes, each (..., 2); the side before any eps."""
    if xywh:
        centre, side = box[..., :2], box[..., 2:]
        return centre - side / 2, centre + side / 2, side
    return box[..., :2], box[..., 2:], box[..., 2:] - box[..., :2]


def lengths(box1: Tensor, box2: Tensor, xywh: bool, eps: float) -> dict[str, Tensor]:
    """What all four formulas are made of: intersection, union, hull sides, squared distance, sides."""
    low1, high1, side1 = edges(box1, xywh)
    low2, high2, side2 = edges(box2, xywh)
    if not xywh:
        tall = side1.new_tensor([0.0, eps])
        side1, side2 = side1 + tall, side2 + tall
    gap = torch.minimum(high1, high2) - torch.maximum(low1, low2)
    inter = torch.where(gap >= 0, gap, 0 * gap).prod(-1)
    return {
        "inter": inter,
        "union": side1.prod(-1) + side2.prod(-1) - inter + eps,
        "hull": torch.maximum(high1, high2) - torch.minimum(low1, low2),
        "rho2": ((low2 + high2 - low1 - high1) ** 2).sum(-1) / 4,
        "slant": torch.atan(side2[..., 0] / side2[..., 1]) - torch.atan(side1[..., 0] / side1[..., 1]),
    }


@lossref.target("iou")
def iou(box1: Tensor, box2: Tensor, xywh: bool = True, eps: float = 1e-7) -> Tensor:
    """Intersection over union."""
    part = lengths(box1, box2, xywh, eps)
    return (part["inter"] / part["union"]).unsqueeze(-1)


@lossref.target("giou")
def giou(box1: Tensor, box2: Tensor, xywh: bool = True, eps: float = 1e-7) -> Tensor:
    """IoU + U/C - 1: the same as IoU - (C - U)/C."""
    part = lengths(box1, box2, xywh, eps)
    hull = part["hull"].prod(-1) + eps
    return (part["inter"] / part["union"] + part["union"] / hull - 1).unsqueeze(-1)


@lossref.target("diou")
def diou(box1: Tensor, box2: Tensor, xywh: bool = True, eps: float = 1e-7) -> Tensor:
    """IoU less the squared distance of the centres in units of the hull's diagonal."""
    part = lengths(box1, box2, xywh, eps)
    diagonal = torch.einsum("...k,...k->...", part["hull"], part["hull"]) + eps
    return (part["inter"] / part["union"] - part["rho2"] / diagonal)[..., None]


@lossref.target("ciou")
def ciou(box1: Tensor, box2: Tensor, xywh: bool = True, eps: float = 1e-7) -> Tensor:
    """DIoU less the aspect term."""
    part = lengths(box1, box2, xywh, eps)
    overlap = part["inter"] / part["union"]
    aspect = (part["slant"] * (2 / math.pi)).square()
    with torch.no_grad():
        factor = aspect / (aspect - overlap + (1 + eps))
    diagonal = (part["hull"] ** 2).sum(dim=-1) + eps
    return (overlap - part["rho2"] / diagonal - factor * aspect).unsqueeze(-1)


@lossref.target("ciou", xywh=False)
def ciou_corners(box1: Tensor, box2: Tensor, eps: float = 1e-7) -> Tensor:
    """CIoU of corners alone: overlap by clamp, angle by atan2, the hull by a sort of the four edges."""
    first, second = torch.broadcast_tensors(box1, box2)
    over, hull, far = [], [], []
    for low, high in PAIR:
        stacked = torch.stack((first[..., low], first[..., high], second[..., low], second[..., high]), -1)
        hull.append(stacked[..., 1::2].amax(-1) - stacked[..., 0::2].amin(-1))
        over.append((stacked[..., 1::2].amin(-1) - stacked[..., 0::2].amax(-1)).clamp(min=0))
        far.append((first[..., low] + first[..., high]) / 2 - (second[..., low] + second[..., high]) / 2)
    wide1, high1 = first[..., 2] - first[..., 0], first[..., 3] - first[..., 1] + eps
    wide2, high2 = second[..., 2] - second[..., 0], second[..., 3] - second[..., 1] + eps
    inter = over[0] * over[1]
    overlap = inter / (wide1 * high1 + wide2 * high2 - inter + eps)
    slant = torch.atan2(wide2, high2) - torch.atan2(wide1, high1)
    aspect: Tensor = slant.square() * (4 / math.pi**2)
    factor = (aspect / (aspect - overlap + (1 + eps))).detach()
    distance = (far[0] * far[0] + far[1] * far[1]) / (hull[0] * hull[0] + hull[1] * hull[1] + eps)
    found: Tensor = overlap - (distance + factor * aspect)
    return found.unsqueeze(-1)


def one_pair(a: Tensor, b: Tensor, eps: float) -> Tensor:
    """GIoU of two boxes xyxy, number by number; ties share the gradient as torch.minimum does."""
    width = torch.clamp(torch.minimum(a[2], b[2]) - torch.maximum(a[0], b[0]), 0)
    height = torch.clamp(torch.minimum(a[3], b[3]) - torch.maximum(a[1], b[1]), 0)
    area = (a[2] - a[0]) * (a[3] - a[1] + eps) + (b[2] - b[0]) * (b[3] - b[1] + eps)
    union = area - width * height + eps
    left, top = torch.minimum(a[0], b[0]), torch.minimum(a[1], b[1])
    around = (torch.maximum(a[2], b[2]) - left) * (torch.maximum(a[3], b[3]) - top) + eps
    return width * height / union - (around - union) / around


@lossref.target("giou", xywh=False)
def giou_pairs(box1: Tensor, box2: Tensor, eps: float = 1e-7) -> Tensor:
    """GIoU of one pair, mapped over all, in float64 whatever comes in."""
    one, two = torch.broadcast_tensors(box1.double(), box2.double())
    shape = one.shape[:-1]
    pairs = one.reshape(-1, 4), two.reshape(-1, 4)
    rows = torch.func.vmap(partial(one_pair, eps=eps))(*pairs) if one.numel() else (one + two).sum(-1)
    result = rows.reshape(*shape, 1)
    kind = torch.promote_types(box1.dtype, box2.dtype)
    return result.to(kind) if kind.is_floating_point else result
