"""Public bugs of IoU and GIoU: spec/10-geometry.md section 3 with one step as the thread describes it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from known_bugs.bug import Bug, require

BOXES = ("xywh", "eps")


class Pair(NamedTuple):
    """Corners and sizes (n, 2) of two boxes, and how far they reach into each other."""

    low1: Tensor
    high1: Tensor
    size1: Tensor
    low2: Tensor
    high2: Tensor
    size2: Tensor
    across: Tensor


def sides(box: Tensor, xywh: bool, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    require(box, 4)
    first, second = box[..., :2], box[..., 2:]
    if xywh:
        return first - second / 2, first + second / 2, second
    return first, second, second - first + second.new_tensor([0.0, eps])


def pair(box1: Tensor, box2: Tensor, xywh: bool, eps: float) -> Pair:
    low1, high1, size1 = sides(box1, xywh, eps)
    low2, high2, size2 = sides(box2, xywh, eps)
    across = torch.minimum(high1, high2) - torch.maximum(low1, low2)
    return Pair(low1, high1, size1, low2, high2, size2, across)


def area(size: Tensor) -> Tensor:
    return size[..., 0] * size[..., 1]


def clamped(across: Tensor) -> Tensor:
    return area(across.clamp(min=0))


def not_clamped(across: Tensor) -> Tensor:
    """Two negative overlaps make a positive area."""
    return area(across)


def iou_and_union(p: Pair, eps: float) -> tuple[Tensor, Tensor]:
    inter = clamped(p.across)
    union = area(p.size1) + area(p.size2) - inter + eps
    return inter / union, union


def enclosing(p: Pair) -> Tensor:
    return torch.maximum(p.high1, p.high2) - torch.minimum(p.low1, p.low2)


# IoU ------------------------------------------------------------------------------------------------------------


def iou(
    box1: Tensor,
    box2: Tensor,
    xywh: bool = True,
    eps: float = 1e-7,
    *,
    wider: float = 0.0,
    deeper: float = 0.0,
    meet: Callable[[Tensor], Tensor] = clamped,
) -> Tensor:
    """`wider` is added to the sizes, `deeper` to the overlap of the sides."""
    p = pair(box1, box2, xywh, eps)
    inter = meet(p.across + deeper)
    return (inter / (area(p.size1 + wider) + area(p.size2 + wider) - inter + eps))[..., None]


def iou_of_the_first_size(box1: Tensor, box2: Tensor, xywh: bool = True, eps: float = 1e-7) -> Tensor:
    """The corners of box2 are taken from the size of box1."""
    if not xywh:
        return iou(box1, box2, xywh, eps)
    (low1, high1, size1), centre = sides(box1, True, eps), box2[..., :2]
    across = torch.minimum(high1, centre + size1 / 2) - torch.maximum(low1, centre - size1 / 2)
    inter = clamped(across)
    return (inter / (area(size1) + area(box2[..., 2:]) - inter + eps))[..., None]


# GIoU -----------------------------------------------------------------------------------------------------------


def giou(box1: Tensor, box2: Tensor, xywh: bool = True, eps: float = 1e-7, *, less: str = "union") -> Tensor:
    """What is taken off the enclosing box: the union, or the intersection."""
    p = pair(box1, box2, xywh, eps)
    found, union = iou_and_union(p, eps)
    c = area(enclosing(p)) + eps
    return (found - (c - (union if less == "union" else clamped(p.across))) / c)[..., None]


def giou_of_corners(box1: Tensor, box2: Tensor, eps: float = 1e-7, *, xywh: bool = True) -> Tensor:
    """Boxes are given as centre and size; `xywh` is whether that is heeded."""
    return giou(box1, box2, xywh, eps)


BUGS = (
    Bug(
        "inclusive pixels",
        "fizyr/keras-retinanet#1317",
        "issues",
        "iou",
        "1 is added to every width and height, so that IoU of small boxes is too large and depends on their scale",
        partial(iou, wider=1.0, deeper=1.0),
        iou,
        BOXES,
        says="inclusive pixels",
    ),
    Bug(
        "inclusive areas",
        "xg-chu/CrowdDet#47",
        "issues",
        "iou",
        "1 is added to the sides of both boxes, not of their intersection: a box has no IoU of 1 with itself",
        partial(iou, wider=1.0),
        iou,
        BOXES,
        says="inclusive areas",
    ),
    Bug(
        "intersection not clamped",
        "LongxingTan/tfyolo#4",
        "pull",
        "iou",
        "boxes that are apart on both axes have an intersection, the product of two negative numbers",
        partial(iou, meet=not_clamped),
        iou,
        BOXES,
        says="clamp of the formula is left out",
    ),
    Bug(
        "size of the other box",
        "eriklindernoren/PyTorch-YOLOv3#25",
        "issues",
        "iou",
        "the corners of the second box are computed from width and height of the first",
        iou_of_the_first_size,
        iou,
        BOXES,
        says="size of the other box",
    ),
    Bug(
        "intersection for union",
        "Megvii-BaseDetection/YOLOX#712",
        "issues",
        "giou",
        "the intersection instead of the union is taken off the enclosing box",
        partial(giou, less="intersection"),
        giou,
        BOXES,
        says="intersection for U",
    ),
    Bug(
        "centres as corners",
        "stevebottos/owl-vit-object-detection#14",
        "issues",
        "giou",
        "boxes as centre and size are handed to a GIoU that reads corners",
        partial(giou_of_corners, xywh=False),
        giou_of_corners,
        ("eps",),
        says="xywh",
    ),
)
